"""Flags from a file, and flags to a file: TOML (https://toml.io), one setting a line.

    python -m nanouft.train --config my.toml --seed 1           # a flag on the command line goes before the file

    objective = "ift"                       # my.toml: the names of the flags, with - or _
    lr = 1e-3
    data = ["a.jsonl", "b.jsonl"]

Every command reads such a file (config.Parser.of_file). `train`, `pretrain` and `reward` leave one in their
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


def read(file: str) -> dict:
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
            raise ValueError(f"{name.strip('-')} is {said(value)}; a setting is a text, a number, true, false, or a "
                             "list of texts or numbers")
    return found


def words(found: dict, given: list[str]) -> list[str]:
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


def misfit(name: str, value, kind: str) -> str:
    """Why a value cannot be that of a flag of this kind ("switch", "list", "single" or "" for an unknown one)."""
    if kind == "switch" and not isinstance(value, bool):
        return f"{name.strip('-')} is {said(value)}; it is a switch: true or false"
    if kind in ("single", "list") and isinstance(value, bool):
        return f"{name.strip('-')} is {said(value)}; it takes a value"
    if kind == "single" and isinstance(value, list):
        return f"{name.strip('-')} is {said(value)}; it takes one value, no list"
    return ""


def toml(command: str, settings: dict) -> str:
    """A file that `words` reads back."""
    lines = [f"# the flags of this run; again: python -m nanouft.{command} --config flags.toml"]
    return "\n".join([*lines, *assignments(settings)]) + "\n"


def assignments(settings: dict) -> list[str]:
    """Lines of TOML: key = value."""
    return [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in settings.items()]
