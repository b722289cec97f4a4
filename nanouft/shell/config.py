"""Dataclasses become command-line flags: the comment after a field is its help, its type is its check.

    cfg, given = parse(Train, argv, "python -m nanouft.train", __doc__)    # given: what stood on the command line

A mistake on the command line is one line that suggests the nearest name, and exit code 2.
"""
import argparse
import contextlib
import dataclasses
import errno
import inspect
import math
import os
import re
import signal
import sys
import types
import typing
from collections.abc import Callable

from nanouft.shell import settings, signals
from nanouft.shell.errors import UserError, flag
from nanouft.shell.text import acts, choose, nearest, one_line, said, shorter, visible

MOST, LEAST = {int: 10**12, float: 1e30}, 1e-30      # of every number that is given: fp32 ends at 3e38


# what other programs call our flags
ELSEWHERE = {"learning_rate": "lr", "num_train_epochs": "epochs", "max_steps": "steps", "output_dir": "out",
             "per_device_train_batch_size": "batch_size", "gradient_accumulation_steps": "accumulate",
             "model_name_or_path": "init", "model": "init", "dataset": "data", "num_generations": "samples",
             "max_new_tokens": "max_new", "lora_r": "lora", "gradient_checkpointing": "checkpointing"}


class Parser(argparse.ArgumentParser):
    """argparse with one-line errors, the nearest name suggested, and no silent abbreviations."""

    def __init__(self, **kw):
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **kw)
        self.add_argument("--config", metavar="FILE.toml", help="flags from a file (name = value); those given here "
                          "go before it")

    elsewhere: dict[str, str] = {}          # flags that other objectives have
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
                check_text(called, text)
        return got, extra

    def of_file(self, words: list[str]) -> list[str]:
        """The flags in the file of --config, if there is one."""
        files = [word for before, word in zip(words, words[1:]) if before == "--config"]
        files += [word.removeprefix("--config=") for word in words if word.startswith("--config=")]
        if len(files) > 1:
            raise UserError("--config is given twice; put all settings into one file")
        if not files:
            return []
        try:
            found = settings.read(files[0])
        except ValueError as e:
            raise UserError(f"--config {files[0]}: {one_line(str(e))}") from None
        for name, value in found.items():
            if why := settings.misfit(name, value, self.kind(name)):
                raise UserError(f"--config {files[0]}: {why}")
        self.config = files[0]
        unknown = [name for name, value in found.items() if value is False and not self.kind(name)]
        return [*settings.words(found, words), *unknown]                # which the parser will refuse

    def kind(self, name: str) -> str:
        """What a flag takes: "switch", "list" or "single"; "" if there is no such flag."""
        action = self._option_string_actions.get(name)
        if action is None:
            return ""
        return "switch" if action.nargs == 0 else "list" if action.nargs == "+" else "single"

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
            raise UserError(f"unknown flag {word}{hint}{where} (--help lists all)")
        if extra:
            raise UserError(f"unexpected argument {said(extra[0])} (--help lists all flags)")
        return got


def field_help(cls: type) -> dict[str, str]:
    """{field: the comment after it}, so that code and --help cannot drift apart."""
    found = re.findall(r"^ {4}(\w+)\s*:[^#\n]*#[ ]*(.+)$", inspect.getsource(cls), re.M)
    return dict(found)


def add_flags(parser: argparse.ArgumentParser, cls: type, title: str) -> None:
    """One flag a field: int, float, str, bool, X | None, Literal[...] and list[str]."""
    group, text, hints = parser.add_argument_group(title), field_help(cls), typing.get_type_hints(cls)
    for f in dataclasses.fields(cls):
        kind, kw = hints[f.name], {"default": argparse.SUPPRESS}
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
        group.add_argument(flag(f.name), **kw)


def _one_of(name: str, known: tuple) -> Callable[[str], str]:
    return lambda word: choose(f"value of {name}:", word, known)


def number(name: str, kind: type) -> Callable[[str], float]:
    """A reader of words: number("--lr", float)("1e-4")."""
    def read(word: str):
        try:
            value = kind(word)
        except ValueError:
            raise UserError(f"{name} {said(word)}: not {'a whole number' if kind is int else 'a number'}")
        check_size(f"{name} {said(word)}", value, kind)
        return value
    return read


def check_size(what: str, value: float, kind: type) -> None:
    """UserError for a number that no setting can mean."""
    if not abs(value) < math.inf:
        raise UserError(f"{what}: must be finite")
    if abs(value) > MOST[kind]:
        raise UserError(f"{what}: must be at most {MOST[kind]:,}")
    if 0 < abs(value) < LEAST:
        raise UserError(f"{what}: must be 0 or at least {LEAST}")


def check_text(what: str, text) -> None:
    """UserError for an empty name, and for one that could act on a terminal."""
    if isinstance(text, str) and not text.strip():
        raise UserError(f"{what} {text!r}: is empty; leave the flag out, or give it a value")
    if isinstance(text, str) and (sign := acts(text)):
        raise UserError(f"{what} {said(text)}: holds the control character {sign}; rename it, or leave it out")


def of_json(cls: type, values, what: str):
    """An instance of a dataclass from a JSON object that somebody may have edited. UserError unless every field has a
    value of its type; a field that is not there has its default."""
    hints, names = typing.get_type_hints(cls), [f.name for f in dataclasses.fields(cls)]
    if not isinstance(values, dict):
        raise UserError(f"{what} is {said(values)}, not an object")
    for name, value in values.items():
        if name not in names:
            raise UserError(f"{what} holds {said(name)}, which is no setting{nearest(name, names)}")
        if not fits(value, hints[name]):
            raise UserError(f"{what}: {name} is {said(value)}, which is no value of --{name.replace('_', '-')}")
    return cls(**values)


def fits(value, kind) -> bool:
    """Is a JSON value of this type? A whole number is a float, too; true is no number."""
    inner = typing.get_args(kind)
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return any(fits(value, k) for k in inner)
    if typing.get_origin(kind) is list:
        return isinstance(value, list) and bool(value) and all(fits(v, inner[0]) for v in value)
    if typing.get_origin(kind) is typing.Literal:
        return isinstance(value, str) and value in inner
    if kind in (int, float):
        return type(value) in (int, kind) and (value == 0 or LEAST <= abs(value) <= MOST[kind])
    return type(value) is kind and not (kind is str and acts(value))


def fill(cls: type, values: dict):
    """(instance, names given) from parsed values; names of other dataclasses are left alone."""
    mine = {f.name: values[f.name] for f in dataclasses.fields(cls) if f.name in values}
    return cls(**mine), set(mine)


def parse(cls: type, argv: list[str] | None, prog: str, about: str):
    """A command that is one dataclass: -> (instance, names given)."""
    parser = Parser(prog=prog, description=about)
    add_flags(parser, cls, "options")
    return fill(cls, vars(parser.parse_args(argv)))


REMEDY = dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "; make room: what was saved before is still whole")
REMEDY |= dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "; check the permissions, or choose another place")


def run(main: Callable, argv: list[str] | None = None) -> int:
    """Call an entry point: 0 when it went well, 2 and one line for a mistake, 128 + the signal when interrupted."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:              # closed by whoever started us
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))
        if hasattr(getattr(sys, name), "reconfigure"):      # consoles without UTF-8 get '?' instead of a crash
            getattr(sys, name).reconfigure(errors="replace")
    code, begins = 2, "error: "
    try:
        with signals.caught():
            return main(argv) or 0
    except UserError as e:
        said = str(e)
    except BrokenPipeError:                         # ... | head: nobody listens any more
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except OSError as e:
        if e.errno is None:
            raise
        said = f"{e.filename or 'writing a file'}: {e.strerror}{REMEDY.get(e.errno, '')}"
    except (MemoryError, RuntimeError) as e:
        if not isinstance(e, MemoryError) and not re.search("out of memory|not enough memory|allocate memory", str(e)):
            raise                                   # a mistake of ours: the traceback is wanted
        said = "out of memory; train's --accumulate N cuts a step into N pieces with the same result"
    except KeyboardInterrupt as e:
        code = 128 + getattr(e, "number", signal.SIGINT)
        begins, said = f"interrupted ({signal.Signals(code - 128).name}): ", signals.last_words(e)
    # Here and not inside `except`: a progress bar lives as long as the exception that holds its frame, and would
    # leave its line open. Under torchrun all processes make the same mistake; the first of each machine tells it.
    if os.environ.get("LOCAL_RANK", "0") == "0":
        with contextlib.suppress(OSError):          # SIGHUP: the terminal is gone
            print(begins + visible(shorter(" ".join(said.split("\n")))), file=sys.stderr)
    return code
