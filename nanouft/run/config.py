"""Dataclasses become command-line flags: the comment after a field is its help, its type is its check.

    cfg, given = parse(Train, argv, "python -m nanouft.train", __doc__)    # given: what stood on the command line
    python -m nanouft.train --config my.toml --seed 1                       # flags from a file; those on the line win

    objective = "ift"                       # my.toml (https://toml.io): the names of the flags, with - or _
    lr = 1e-3
    data = ["a.jsonl", "b.jsonl"]

`train`, `pretrain` and `reward` leave such a file in their run folder: flags.toml repeats the run. A mistake is one
line that suggests the nearest name, and exit code 2.
"""
import argparse
import dataclasses
import inspect
import json
import math
import re
import sys
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nanouft.errors import UserError, choose, flag, nearest, one_line, quoted
from nanouft.run.command import run as run
from nanouft.run.storage import regular

if sys.version_info >= (3, 11):
    import tomllib as tomllib
else:
    import tomli as tomllib

MOST, LEAST = {int: 10**12, float: 1e30}, 1e-30      # of every number that is given: fp32 ends at 3e38
ELSEWHERE = {"learning_rate": "lr", "num_train_epochs": "epochs", "max_steps": "steps", "output_dir": "out",
             "per_device_train_batch_size": "batch_size", "gradient_accumulation_steps": "accumulate",
             "model_name_or_path": "init", "model": "init", "dataset": "data", "num_generations": "samples",
             "max_new_tokens": "max_new", "lora_r": "lora", "gradient_checkpointing": "checkpointing"}
#                                                     what other programs call our flags


class Help(argparse.Action):
    """--help shows one screen, where a parser names its `common` flags; --help all shows every flag."""

    def __call__(self, parser, namespace, value, option_string=None):
        if parser.common and value != "all":
            for action in parser._actions:
                action.help = action.help if action.dest in parser.common else argparse.SUPPRESS
            parser.epilog = "--help all has the rest, and the flags of the method that is named"
        parser.print_help()
        parser.exit()


class Parser(argparse.ArgumentParser):
    """argparse with one-line errors, the nearest name suggested, and no silent abbreviations."""

    def __init__(self, add_help: bool = True, **kw):
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, add_help=False, **kw)
        if add_help:
            self.add_argument("-h", "--help", nargs="?", action=Help, metavar="all", help="these lines, and end")
        self.add_argument("--config", metavar="FILE.toml", help="flags from a file (name = value); those given here "
                          "go before it")

    elsewhere: dict[str, str] = {}          # flags that other objectives have
    common: tuple[str, ...] = ()            # names of the flags that --help shows [all]
    config = ""                             # the file of --config

    def error(self, message: str):
        raise UserError(message)

    def parse_known_args(self, args=None, namespace=None):
        words = sys.argv[1:] if args is None else list(args)
        if empty := next((w for w in words if re.fullmatch(r"--?[\w-]+=--", w)), None):
            raise UserError(f"{empty}: no value stands after =")        # Python 3.11 would make an empty list of it
        got, extra = super().parse_known_args([*self.of_file(words), *words], namespace)
        for name, value in vars(got).items():
            called = flag(name) if flag(name) in self._option_string_actions else name
            for text in value if isinstance(value, list) else [value]:
                if isinstance(text, str) and not text.strip():
                    raise UserError(f"{called} {text!r}: is empty; leave the flag out, or give it a value")
        return got, extra

    def of_file(self, words: list[str]) -> list[str]:
        """The flags in the file of --config, if there is one."""
        files = [word for before, word in zip(words, words[1:]) if before == "--config"]
        files += [word.removeprefix("--config=") for word in words if word.startswith("--config=")]
        if len(files) > 1:
            raise UserError("--config is given twice; put all settings into one file")
        if not files:
            return []
        self.config = files[0]
        try:
            found = read_toml(self.config)
            for name, value in found.items():
                if why := self.misfit(name, value):
                    raise ValueError(f"{name} is {quoted(value)}: {why}")
        except ValueError as e:
            raise UserError(f"--config {self.config}: {one_line(str(e))}") from None
        unknown = [name for name, value in found.items() if value is False and name not in self._option_string_actions]
        return [*as_words(found, words), *unknown]                      # which argparse will refuse

    def misfit(self, name: str, value) -> str:
        """Why the value of a file is none for the flag `name`. Whether a word is a number, the flag's reader says."""
        action = self._option_string_actions.get(name)
        if action is None:
            return ""
        texts = list(map(str, value)) if isinstance(value, list) else value if isinstance(value, bool) else str(value)
        if action.nargs == "+":
            return misfit([texts] if isinstance(texts, str) else texts, list[str])
        return misfit(texts, bool if action.nargs == 0 else str)

    def parse_args(self, args=None, namespace=None):
        got, extra = self.parse_known_args(args, namespace)
        if extra and extra[0].startswith("-"):
            word = extra[0].split("=")[0]
            if word in self.elsewhere:
                raise UserError(f"{word} belongs to --objective {self.elsewhere[word]}; "
                                "this objective has no such setting")
            where = f", in {self.config} or on the line" if self.config else ""
            known = list(self._option_string_actions)
            meant = flag(ELSEWHERE.get(word.strip("-").replace("-", "_"), ""))
            hint = f"; did you mean {meant}?" if meant in known else nearest(word, known, 0.6)
            raise UserError(f"unknown flag {word}{hint}{where} (--help all lists them)")
        if extra:
            raise UserError(f"unexpected argument {quoted(extra[0])} (--help all lists the flags)")
        return got


def field_help(cls: type) -> dict[str, str]:
    """{field: the comment after it}, so that code and --help cannot drift apart."""
    found = re.findall(r"^ {4}(\w+)\s*:[^#\n]*#[ ]*(.+)$", inspect.getsource(cls), re.M)
    return dict(found)


def add_flags(parser: argparse.ArgumentParser, cls: type, title: str, apart: dict[str, str] | None = None) -> None:
    """One flag a field: int, float, str, bool, X | None, Literal[...] and list[str]. `apart`: title of another group ->
    its fields."""
    group, text, hints = parser.add_argument_group(title), field_help(cls), typing.get_type_hints(cls)
    groups = [(names.split(), parser.add_argument_group(other)) for other, names in (apart or {}).items()]
    for f in dataclasses.fields(cls):
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
        elif origin is list:
            kw.update(nargs="+", action="extend", metavar=f.name.upper())     # --data a b and --data a --data b alike
        elif origin is typing.Literal:
            kw.update(type=_one_of(flag(f.name), inner), metavar="{" + ",".join(inner) + "}")
        else:
            read = number(flag(f.name), kind) if kind in (int, float) else kind
            kw.update(type=read, metavar=kind.__name__.upper())
        here = next((other for names, other in groups if f.name in names), group)
        here.add_argument(flag(f.name), **kw)


def _one_of(name: str, known: tuple) -> Callable[[str], str]:
    return lambda word: choose(f"value of {name}:", word, known)


# ---- is this value of this kind? -------------------------------------------------------------------------------------
def misfit(value, kind) -> str:
    """Why a value, from the command line or from a file, is none for a setting of this type; "" if it is one.
    A whole number is a float, too; true is no number."""
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
    def read(word: str):
        try:
            value = kind(word)
        except ValueError:
            raise UserError(f"{name} {quoted(word)}: not {'a whole number' if kind is int else 'a number'}")
        if why := misfit(value, kind):
            raise UserError(f"{name} {quoted(word)}: {why}")
        return value
    return read


def of_json(cls: type, values, what: str):
    """An instance of a dataclass from a JSON object that somebody may have edited. UserError unless every field has a
    value of its type; a field that is not there has its default."""
    hints, names = typing.get_type_hints(cls), [f.name for f in dataclasses.fields(cls)]
    if not isinstance(values, dict):
        raise UserError(f"{what} is {quoted(values)}, not an object")
    for name, value in values.items():
        if name not in names:
            raise UserError(f"{what} holds {quoted(name)}, which is no setting{nearest(name, names)}")
        if why := misfit(value, hints[name]):
            raise UserError(f"{what}: {flag(name)} is {quoted(value)}: {why}")
    return cls(**values)


def fill(cls: type, values: dict):
    """(instance, names given) from parsed values; names of other dataclasses are left alone."""
    mine = {f.name: values[f.name] for f in dataclasses.fields(cls) if f.name in values}
    return cls(**mine), set(mine)


def parse(cls: type, argv: list[str] | None, prog: str, about: str):
    """A command that is one dataclass: -> (instance, names given)."""
    parser = Parser(prog=prog, description=about)
    add_flags(parser, cls, "options")
    return fill(cls, vars(parser.parse_args(argv)))


def parse_list(cls: type, argv: list[str] | None, prog: str, about: str, name: str, what: str, nargs: str = "*"):
    """A command with a list in front of its flags: -> (instance, names given, the list)."""
    parser = Parser(prog=prog, description=about)
    parser.add_argument(name, nargs=nargs, help=what)
    add_flags(parser, cls, "options")
    values = vars(parser.parse_args(argv))
    return *fill(cls, values), values[name]


OF_FILES = {"prompt_field", "response_field", "strict", "grades", "max_length", "eval_data"}


def refuse_idle(data, given: set[str], of_world: set[str]) -> None:
    """UserError for a flag about NanoWorld with --data, and for one about the user's files without it."""
    if idle := sorted(given & (of_world if data else OF_FILES)):
        raise UserError(f"{flag(idle[0])} " + ("belongs to NanoWorld; it changes nothing with --data" if data else
                                               "is about your own file; give it with --data"))


# ---- TOML ------------------------------------------------------------------------------------------------------------
def read_toml(file: str) -> dict:
    """{"--flag": value} of a file. ValueError: what is wrong with it."""
    try:
        settings = tomllib.loads(regular(Path(file)).read_text(encoding="utf-8"))
    except OSError as e:
        raise ValueError(f"cannot be read ({e.strerror or e}); name a TOML file") from None
    except (ValueError, RecursionError) as e:
        raise ValueError(f"no TOML ({e}); a line is: lr = 1e-3") from None
    found = {"--" + key.replace("_", "-"): value for key, value in settings.items()}
    if "--config" in found:
        raise ValueError("a settings file cannot name another one; remove config")
    for name, value in found.items():
        values = value if isinstance(value, list) else [value]
        if not values or not all(type(v) in (str, int, float, bool) for v in values):
            raise ValueError(f"{name.strip('-')} is {quoted(value)}; a setting is a text, a number, true, false, or a "
                             "list of texts or numbers")
    return found


def as_words(found: dict, given: list[str]) -> list[str]:
    """The settings as words of a command line, but those that stand in `given`: true is the bare flag, false is
    nothing, a list is one word for each of its values."""
    out = []
    for name, value in found.items():
        if any(word.split("=")[0] == name for word in given):
            continue
        if value is True:
            out.append(name)
        elif value is not False:
            out += [f"{name}={v}" for v in (value if isinstance(value, list) else [value])]
    return out


def as_toml(command: str, settings: dict) -> str:
    """A file that --config reads back."""
    lines = [f"# the flags of this run; again: python -m nanouft.{command} --config flags.toml"]
    return "\n".join([*lines, *assignments(settings)]) + "\n"


def assignments(settings: dict) -> list[str]:
    """Lines of TOML: key = value."""
    return [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in settings.items()]
