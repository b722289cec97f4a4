"""Flags from a file, and flags to a file: TOML (https://toml.io), one setting a line.

    python -m nanouft.train --config my.toml --seed 1           # a flag on the command line goes before the file

    objective = "ift"                       # my.toml: the names of the flags, with - or _
    lr = 1e-3
    data = ["a.jsonl", "b.jsonl"]

Every command reads such a file (`words`, called by config.Parser). `train`, `pretrain` and `reward` leave one in their
run folder (`toml`): flags.toml repeats the run.
"""
import json
import sys
from pathlib import Path

from nanouft.shell.text import regular, said

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def words(file: str, given: list[str]) -> list[str]:
    """The settings of a file as words of a command line, but those that stand in `given`. ValueError: what is wrong."""
    try:
        settings = tomllib.loads(regular(Path(file)).read_text(encoding="utf-8"))
    except OSError as e:
        raise ValueError(f"cannot be read ({e.strerror or e}); name a TOML file") from None
    except (ValueError, RecursionError) as e:
        raise ValueError(f"no TOML ({e}); a line is: lr = 1e-3") from None
    out = []
    for key, value in settings.items():
        name = "--" + key.replace("_", "-")
        if name == "--config":
            raise ValueError("a settings file cannot name another one; remove config")
        if not any(word.split("=")[0] == name for word in given):
            out += flags(name, value)
    return out


def flags(name: str, value) -> list[str]:
    """One setting: true is the bare flag, false is nothing, a list is one word for each of its values."""
    if value is True:
        return [name]
    if value is False:
        return []
    values = value if isinstance(value, list) else [value]
    if not values or not all(type(v) in (str, int, float) for v in values):
        raise ValueError(f"{name.strip('-')} is {said(value)}; a setting is a text, a number, true, false, or a list "
                         "of texts or numbers")
    return [f"{name}={v}" for v in values]


def toml(command: str, settings: dict) -> str:
    """A file that `words` reads back."""
    lines = [f"# the flags of this run; again: python -m nanouft.{command} --config flags.toml"]
    lines += [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in settings.items()]
    return "\n".join(lines) + "\n"
