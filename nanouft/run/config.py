"""Dataclasses become command-line flags: the comment after a field is its help, its type its check.

    cfg, given = parse(Train, argv, "python -m nanouft.train", __doc__)
    python -m nanouft.train --config my.toml --seed 1       # flags from a file; the line wins

    objective = "ift"               # my.toml (https://toml.io): the names of the flags, with - or _
    lr = 1e-3
    data = ["a.jsonl", "b.jsonl"]

`train`, `pretrain` and `reward` leave such a file in their run folder: flags.toml repeats the run.
A mistake is one line that suggests the nearest name, and exit code 2.
"""
import argparse
import dataclasses
import inspect
import json
import math
import os
import re
import sys
import types
import typing
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, TypeVar

from nanouft.errors import UserError, flag
from nanouft.run.command import run as run
from nanouft.run.storage import regular
from nanouft.run.words import choose, nearest, one_line, quoted

if sys.version_info >= (3, 11):
    import tomllib as tomllib
else:
    import tomli as tomllib

T = TypeVar("T")
MOST: dict[type, float] = {int: 10**12, float: 1e30}    # of every number: fp32 ends at 3e38
LEAST = 1e-30
ELSEWHERE = {                           # what other programs call our flags
    "learning_rate": "lr", "num_train_epochs": "epochs", "max_steps": "steps", "output_dir": "out",
    "per_device_train_batch_size": "batch_size", "gradient_accumulation_steps": "accumulate",
    "model_name_or_path": "init", "model": "init", "dataset": "data", "num_generations": "samples",
    "max_new_tokens": "max_new", "lora_r": "lora", "gradient_checkpointing": "checkpointing"}
JOINED = "several values become one text, with + between them"     # of a field: Annotated[str, ...]
OF_FILES = {"prompt_field", "response_field", "strict", "grades", "max_length", "eval_data"}


# ---- a command that is one dataclass -------------------------------------------------------------
def parse(cls: type[T], argv: list[str] | None, prog: str, about: str) -> tuple[T, set[str]]:
    """-> (instance, names that were given)."""
    parser = Parser(prog=prog, description=about)
    add_flags(parser, cls, "options")
    return fill(cls, vars(parser.parse_args(argv)))


def parse_list(cls: type[T], argv: list[str] | None, prog: str, about: str, name: str, what: str,
               nargs: str = "*") -> tuple[T, set[str], list[str]]:
    """A command with a list in front of its flags: -> (instance, names given, the list)."""
    parser = Parser(prog=prog, description=about)
    parser.add_argument(name, nargs=nargs, help=what)
    add_flags(parser, cls, "options")
    values = vars(parser.parse_args(argv))
    for option in ("data", "prompt"):
        for value in values.get(option) or ():
            if os.path.isfile(os.path.join(value, "config.json")):
                raise UserError(f"--{option} {value}: is a model; put models in front of it")
    return *fill(cls, values), values[name]


def fill(cls: type[T], values: dict) -> tuple[T, set[str]]:
    """(instance, names given) from parsed values; names of other dataclasses are left alone."""
    mine = {f.name: values[f.name] for f in fields(cls) if f.name in values}
    return cls(**mine), set(mine)


def fields(cls: Any) -> tuple[dataclasses.Field, ...]:
    return dataclasses.fields(cls)


def unused(given: set[str], idle: Collection[str], why: str) -> None:
    """UserError if a flag was given that would change nothing."""
    if found := sorted(given & set(idle)):
        raise UserError(f"{flag(found[0])}: {why}")


def refuse_idle(data: Any, given: set[str], of_world: Collection[str]) -> None:
    """UserError for a flag about NanoWorld with --data, and for one about files without it."""
    unused(given, of_world if data else OF_FILES,
           "belongs to NanoWorld; it changes nothing with --data" if data else
           "is about your own file; give it with --data")


# ---- the parser ----------------------------------------------------------------------------------
class Help(argparse.Action):
    """--help shows one screen if the parser names its `common` flags; --help all shows all."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:
        if parser.common and values != "all":
            for action in parser._actions:
                if action.dest not in parser.common:
                    action.help = argparse.SUPPRESS
            parser.epilog = "--help all shows every flag, also those of the method that is named"
        parser.print_help()
        parser.exit()


class Join(argparse.Action):
    """--reward a --reward b=0.1 is "a + b=0.1"."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:
        setattr(namespace, self.dest, joined([getattr(namespace, self.dest, ""), values]))


class Parser(argparse.ArgumentParser):
    """argparse with one-line errors, the nearest name suggested, and no silent abbreviations."""

    def __init__(self, **kw: Any):
        super().__init__(allow_abbrev=False, add_help=False,
                         formatter_class=argparse.RawDescriptionHelpFormatter, **kw)
        self.elsewhere: dict[str, list[str]] = {}       # flag -> the objectives that have it
        self.common: tuple[str, ...] = ()               # names of the flags that --help shows [all]
        self.add_argument("-h", "--help", nargs="?", action=Help, metavar="all",
                          help="show this message and exit")
        self.add_argument("--config", metavar="FILE.toml",
                          help="read flags from FILE.toml; the command line wins")

    def error(self, message: str) -> typing.NoReturn:
        raise UserError(message)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        given = sys.argv[1:] if args is None else list(args)
        if empty := next((w for w in given if re.fullmatch(r"--?[\w-]+=--", w)), None):
            raise UserError(f"{empty}: no value stands after =")    # Python 3.11: an empty list
        file = config_file(given)
        of_file = self.checked(file, given) if file else []
        got, extra = self.parse_known_args([*of_file, *given], namespace)
        for name, value in vars(got).items():
            called = flag(name) if flag(name) in self._option_string_actions else name
            for text in value if isinstance(value, list) else [value]:
                if isinstance(text, str) and not text.strip():
                    raise UserError(f"{called} {text!r}: is empty; leave the flag out, "
                                    "or give it a value")
        if extra:
            self.unknown(extra[0], file)
        return got

    def unknown(self, text: str, file: str) -> typing.NoReturn:
        """UserError for a word that is no flag here."""
        if not text.startswith("-"):
            raise UserError(f"unexpected argument {quoted(text)} (--help all lists the flags)")
        word = text.split("=")[0]
        if owners := self.elsewhere.get(word):
            more = f" and {len(owners) - 3} more" if len(owners) > 3 else ""
            raise UserError(f"this objective has no {word} ({', '.join(owners[:3])}{more} have it)")
        known = list(self._option_string_actions)
        meant = flag(ELSEWHERE.get(word.strip("-").replace("-", "_"), ""))
        hint = f"; did you mean {meant}?" if meant in known else nearest(word, known, 0.6)
        where = f", in {file} or on the line" if file else ""
        raise UserError(f"unknown flag {word}{hint}{where} (--help all lists them)")

    def checked(self, file: str, given: list[str]) -> list[str]:
        """The flags of a settings file as words, but not those in `given`. UserError for a value
        that does not fit."""
        settings = read_settings(file)
        unknown = []
        for name, value in settings.items():
            action = self._option_string_actions.get(name)
            if action is None:
                unknown += [name] if value is False else []     # argparse names all others
                continue
            texts: Any = value if isinstance(value, bool) else str(value)
            if isinstance(value, list):
                texts = list(map(str, value))
            kind: Any = bool if action.nargs == 0 else str
            if action.nargs == "+":
                texts, kind = [texts] if isinstance(texts, str) else texts, list[str]
            if why := misfit(texts, kind):
                raise UserError(f"--config {file}: {name} is {quoted(value)}: {why}")
        return [*as_words(settings, given), *unknown]


def add_flags(parser: argparse.ArgumentParser, cls: type, title: str,
              apart: dict[str, str] | None = None) -> None:
    """One flag a field: int, float, str, bool, X | None, Literal[...] and list[str].
    `apart`: title of another group -> its fields."""
    group, text = parser.add_argument_group(title), field_help(cls)
    hints = typing.get_type_hints(cls)
    groups = [(names.split(), parser.add_argument_group(other))
              for other, names in (apart or {}).items()]
    for f in fields(cls):
        kind = hints[f.name]
        kw: dict[str, Any] = {"default": argparse.SUPPRESS}
        default = f.default if f.default is not dataclasses.MISSING else None
        shown = "" if default is None or default is False or default == "" else f" [{default}]"
        kw["help"] = (text.get(f.name, "") + shown).replace("%", "%%")
        if typing.get_origin(kind) in (typing.Union, types.UnionType):              # X | None
            kind = next(k for k in typing.get_args(kind) if k is not type(None))
        origin, inner = typing.get_origin(kind), typing.get_args(kind)
        if kind is bool:
            kw["action"] = "store_true"
        elif origin is list:                            # --data a b, and --data a --data b
            kw.update(nargs="+", action="extend", metavar=f.name.upper())
        elif origin is typing.Literal:
            kw.update(type=_one_of(flag(f.name), inner), metavar="{" + ",".join(inner) + "}")
        else:
            read = number(flag(f.name), kind) if kind in (int, float) else kind
            kw.update(type=read, metavar=kind.__name__.upper())
            if JOINED in getattr(f.type, "__metadata__", ()):
                kw["action"] = Join
        here = next((other for names, other in groups if f.name in names), group)
        here.add_argument(flag(f.name), **kw)


def field_help(cls: type) -> dict[str, str]:
    """{field: the comment after it}, so that code and --help cannot drift apart. A comment may go
    on in lines of its own."""
    comment = r"^ {4}(\w+)\s*:[^#\n]*#[ ]*(.+(?:\n {4}# {8,}.+)*)$"
    found = re.findall(comment, inspect.getsource(cls), re.M)
    return {name: re.sub(r"\s*\n\s*#\s*", " ", text) for name, text in found}


def _one_of(name: str, known: tuple) -> Callable[[str], str]:
    return lambda word: choose(f"value of {name}:", word, known)


# ---- words of a command line, before there is a parser -------------------------------------------
def words(argv: list[str] | None) -> list[str]:
    """The words of a command line, those of its --config file first."""
    given = sys.argv[1:] if argv is None else list(argv)
    file = config_file(given)
    return [*as_words(read_settings(file), given), *given] if file else given


def value_of(name: str, words: list[str]) -> str | None:
    """The last value of a flag."""
    return next(reversed(values_of(name, words)), None)


def values_of(name: str, words: list[str]) -> list[str]:
    out = []
    for word, after in zip(words, [*words[1:], ""]):
        if word == name and after and not after.startswith("--"):
            out.append(after)
        elif word.startswith(f"{name}="):
            out.append(word.removeprefix(f"{name}="))
    return out


def joined(values: list[str]) -> str:
    """The values of a flag that is JOINED, as one."""
    return " + ".join(filter(None, values))


def other_flag(words: list[str], *allowed: str) -> str:
    """The first flag that is none of these; "" if there is none."""
    names = [word.split("=")[0] for word in words if word.startswith("-")]
    return next((n for n in names if n not in (*allowed, "--config")), "")


def config_file(words: list[str]) -> str:
    """The value of --config; "" if it is not given."""
    if sum(word.split("=")[0] == "--config" for word in words) > 1:
        raise UserError("--config is given twice; put all settings into one file")
    return value_of("--config", words) or ""


# ---- does this value fit this kind? --------------------------------------------------------------
def misfit(value: Any, kind: Any) -> str:
    """Why a value, from the command line or from a file, does not fit a setting of this type; "" if
    it does. A whole number is a float, too; true is no number."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        found = [misfit(value, k) for k in inner]
        return "" if "" in found else found[0]
    if origin is list:
        if not isinstance(value, list) or not value:
            return "it takes a list"
        return next(filter(None, (misfit(v, inner[0]) for v in value)), "")
    if origin is typing.Literal:
        return "" if value in inner else f"it must be one of {', '.join(inner)}"
    if kind is bool or kind is types.NoneType:
        return "" if type(value) is kind else "it is a switch: true or false"
    if kind is str:
        return "" if type(value) is str else "it takes one value"
    if type(value) not in (int, kind):
        return f"it takes {'a whole number' if kind is int else 'a number'}"
    if not abs(value) < math.inf:
        return "must be finite"
    if abs(value) > MOST[kind]:
        return f"must be at most {MOST[kind]:,}"
    return "" if value == 0 or abs(value) >= LEAST else f"must be 0 or at least {LEAST}"


def number(name: str, kind: type) -> Callable[[str], float]:
    """A reader of words: number("--lr", float)("1e-4")."""
    def read(word: str) -> float:
        try:
            value = kind(word)
        except ValueError:
            raise UserError(f"{name} {quoted(word)}: not "
                            f"{'a whole number' if kind is int else 'a number'}") from None
        if why := misfit(value, kind):
            raise UserError(f"{name} {quoted(word)}: {why}")
        return value
    return read


def of_json(cls: type[T], values: Any, what: str) -> T:
    """An instance of a dataclass from a JSON object that somebody may have edited. UserError unless
    every field has a value of its type; a missing field has its default."""
    hints, names = typing.get_type_hints(cls), [f.name for f in fields(cls)]
    if not isinstance(values, dict):
        raise UserError(f"{what} is {quoted(values)}, not an object")
    for name, value in values.items():
        if name not in names:
            raise UserError(f"{what} holds {quoted(name)}, which is no setting"
                            f"{nearest(name, names)}")
        if why := misfit(value, hints[name]):
            raise UserError(f"{what}: {flag(name)} is {quoted(value)}: {why}")
    return cls(**values)


# ---- TOML ----------------------------------------------------------------------------------------
def read_settings(file: str) -> dict[str, Any]:
    """{"--flag": value} of a file."""
    def wrong(why: str) -> UserError:
        return UserError(f"--config {file}: {one_line(why)}")
    try:
        settings = tomllib.loads(regular(Path(file)).read_text(encoding="utf-8"))
    except OSError as e:
        raise wrong(f"cannot be read ({e.strerror or e}); name a TOML file") from None
    except (ValueError, RecursionError) as e:
        raise wrong(f"no TOML ({e}); a line is: lr = 1e-3") from None
    found = {"--" + key.replace("_", "-"): value for key, value in settings.items()}
    if "--config" in found:
        raise wrong("a settings file cannot name another one; remove config")
    for name, value in found.items():
        values = value if isinstance(value, list) else [value]
        if not values or not all(type(v) in (str, int, float, bool) for v in values):
            raise wrong(f"{name.strip('-')} is {quoted(value)}; a setting is a text, a number, "
                        "true, false, or a list of texts or numbers")
    return found


def as_words(settings: dict[str, Any], given: list[str]) -> list[str]:
    """Settings as words of a command line, but not those in `given`: true is the bare flag, false
    is nothing, a list is one word for each of its values."""
    out, there = [], {word.split("=")[0] for word in given}
    for name, value in settings.items():
        if name in there:
            continue
        if value is True:
            out.append(name)
        elif value is not False:
            out += [f"{name}={v}" for v in (value if isinstance(value, list) else [value])]
    return out


def as_toml(command: str, settings: dict[str, Any]) -> str:
    """A file that --config reads back."""
    out = [f"# the flags of this run; again: python -m nanouft.{command} --config flags.toml"]
    out += [f"{key} = {json.dumps(x, ensure_ascii=False)}" for key, x in settings.items()]
    return "\n".join(out) + "\n"
