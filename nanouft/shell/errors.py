"""Errors for the person at the keyboard, and the range checks of settings.

    raise UserError("rows.jsonl:3: no prompt; give --prompt-field NAME")    # one line: what, where, what to do
    in_range(hp, "beta", low=0, above=True)                                 # "--beta 0.0: must be above 0"
"""
import importlib
import math


class UserError(Exception):
    """One clear line: what is wrong, where, what to do. Commands print it and exit with code 2."""


class Diverged(UserError):
    """A loss, a gradient or a weight is no longer finite. The one failure that is a result of an experiment."""


def flag(name: str) -> str:
    """batch_size -> --batch-size"""
    return "--" + name.replace("_", "-")


def in_range(record, *names: str, low: float = 0, high: float = math.inf, above: bool = False) -> None:
    """UserError unless these fields lie from `low` (or above it) to `high`. A field that is None or absent passes."""
    for name in names:
        value = getattr(record, name, None)
        if value is not None and (value < low or value > high or above and value == low):
            most = f" and at most {high:,}" if high < math.inf else ""
            raise UserError(f"{flag(name)} {value}: must be {'above' if above else 'at least'} {low}{most}")


def optional(name: str, what: str, extra: str = "hf"):
    """A library that not everybody has, imported only here. UserError, one line that says how to get it."""
    try:
        return importlib.import_module(name)
    except ImportError as e:
        lacks = f"cannot be imported ({str(e)[:80]!r})" if getattr(e, "name", None) is None else "is not installed"
        raise UserError(f"{what} needs {name.split('.')[0]}, which {lacks}: pip install nanouft[{extra}]") from None
