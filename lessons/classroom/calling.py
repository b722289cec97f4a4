"""How a student's function is called, and what is kept of a call. No key is needed for it.

check.py calls it in its own process. For a class (grade.py) `run` does so in the
student's process, which gets nothing but the arguments: neither the right functions nor what they
give. There the keys cannot be imported either. A program can still read their files by path, if
the checkout lies on the same computer.
"""
import json
import os
import pickle
import re
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from numbers import Real
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from nanouft.plumbing.user_code import error_line, load

WORDS, BYTES_OF_A_CALL = 2000, 2**20            # of an error, and of what one call gives
NO_TENSOR = (TypeError, ValueError, RuntimeError, OverflowError)    # of as_tensor
KEYS = re.compile(r"lessons\.(\w+\.)?(exercise|grade|judge|mistakes)|(^|\.)key(\d\d|_\w+)$")


# ---- what is looked at --------------------------------------------------------------------------
def result(function, *args) -> dict:
    return {"gives": function(*args)}


@dataclass(frozen=True)
class gradient:
    """Look at the result, and at the gradient of its sum by the first arguments, as they are named
    in the exercise."""
    names: tuple[str, ...]

    def __init__(self, *names: str):
        object.__setattr__(self, "names", names)

    def __call__(self, function, *args) -> dict:
        by = [x.clone().requires_grad_() for x in args[:len(self.names)]]
        out = function(*by, *args[len(self.names):])
        total = torch.zeros(()) if out is None else as_tensor(out).sum()
        slopes = torch.autograd.grad(total, by, allow_unused=True, materialize_grads=True) \
            if total.requires_grad else [torch.zeros_like(x) for x in by]
        return {"gives": out} | {f"has the gradient by {name}": x
                                 for name, x in zip(self.names, slopes)}


class OwnAttention(TorchFunctionMode):
    """Inside, PyTorch's own function is refused."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is F.scaled_dot_product_attention:
            raise TypeError("This exercise is to be written without PyTorch's own function "
                            "scaled_dot_product_attention.")
        return function(*args, **(kwargs or {}))


def own_attention(function, q, k, v) -> dict:
    """Look at the result and its gradient, and at the result for large queries."""
    with OwnAttention():
        return (gradient("q", "k", "v")(function, q, k, v)
                | {"gives for a 50 times larger q": function(50 * q, k, v)})


# ---- what a call gives, as plain data -----------------------------------------------------------
def plain(x):
    """None, texts, numbers, tensors and lists of these, whatever they were. Anything else becomes
    the text that Python shows for it."""
    if x is None or type(x) in (bool, int, float, str):
        return x
    if isinstance(x, (list, tuple)):
        return [plain(part) for part in x]
    if isinstance(x, (np.ndarray, np.generic)) and x.dtype.kind in "biuf":
        x = torch.as_tensor(np.array(x, dtype={"b": bool, "f": float}.get(x.dtype.kind, int)))
    if isinstance(x, torch.Tensor) and not x.is_complex():
        x = x.detach().as_subclass(torch.Tensor).cpu().to_dense().clone()
        return x.double() if x.is_floating_point() else x if x.dtype == torch.bool else x.long()
    if isinstance(x, (Real, Decimal)):
        return float(x)
    return repr(x)[:80]


@dataclass
class Seen:
    """What one call gave: values under their names, or an error, its kind and its words."""
    values: dict = field(default_factory=dict)
    error: str = ""
    words: str = ""


def attempt(call: Callable[[], dict], file: str = "") -> Seen:
    """What a call gives, or its error, with its line in this file."""
    try:
        return Seen(call())
    except BaseException as error:                              # Ctrl-C: a loop without an end?
        return Seen(error=type(error).__name__, words=error_line(error, file))


def attempt_call(name: str, look: Callable, function: Callable, args: tuple) -> Seen:
    """Call the function of the exercise `name` with these arguments."""
    shown = as_call(name, args)

    def call() -> dict:
        values = {what: plain(x) for what, x in look(function, *args).items()}
        if as_call(name, args) != shown:
            raise TypeError("It changes its arguments. Make a new tensor or list, because the "
                            "caller still needs the old one.")
        return values
    return attempt(call, getattr(getattr(function, "__code__", None), "co_filename", ""))


def as_tensor(x) -> torch.Tensor:
    """Numbers, lists, tuples, arrays of numpy, and lists of tensors become tensors."""
    if not isinstance(x, (list, tuple)):
        return torch.as_tensor(x)
    parts = [as_tensor(part).float() for part in x]
    return torch.stack(parts) if parts else torch.zeros(0)


def as_call(name: str, args) -> str:
    """The call, to be copied to a Python prompt."""
    return "\n".join([f"    {name}(", *(f"        {show(x)}," for x in args), "    )\n"])


def show(x) -> str:
    """As Python code, with four decimals."""
    if isinstance(x, (list, tuple)):
        return "[" + ", ".join(show(part) for part in x) + "]"
    if isinstance(x, float):
        return repr(round(x, 4))
    if not isinstance(x, torch.Tensor):
        return repr(x)
    if not x.ndim:
        return show(x.item())
    x = (x.double() * 1e4).round() / 1e4 if x.is_floating_point() else x
    return f"torch.tensor({x.tolist()})"


def function_in(file: Path, name: str) -> tuple[Callable | None, str]:
    """The function of this name in a file, or None and why there is none."""
    if not file.exists():
        return None, f"There is no file {file}."
    try:
        function = getattr(load(file), name, None)
    except (Exception, SystemExit) as error:                    # a typing mistake, for example
        return None, f"{file.name} cannot be read. {error_line(error, str(file))}"
    return function, "" if function else f"{file.name} has no function {name}."


# ---- the student's process ----------------------------------------------------------------------
def to_json(seen: Seen) -> bytes:
    def packed(x):
        if isinstance(x, torch.Tensor):
            kind = {torch.double: "float", torch.bool: "bool"}.get(x.dtype, "int")
            return {"kind": kind, "shape": list(x.shape), "numbers": x.flatten().tolist()}
        return [packed(part) for part in x] if isinstance(x, list) else x
    values = {what: packed(x) for what, x in seen.values.items()}
    return json.dumps(asdict(Seen({}, seen.error, seen.words)) | {"values": values}).encode()


def line_of(seen: Seen) -> bytes:
    """A call in one line of JSON. If it gives too much, that is told in its place."""
    line = to_json(Seen(seen.values, seen.error, seen.words[:WORDS]))
    if len(line) > BYTES_OF_A_CALL:
        line = to_json(Seen(error="ValueError", words="ValueError: what it gives is too large"))
    return line + b"\n"


def out_of_memory(call: Seen) -> bool:
    return "MemoryError" in call.error + call.words or "allocate memory" in call.words


class NoKeys:
    """A finder of modules that refuses the keys."""

    def find_spec(self, name, path=None, target=None) -> None:
        if KEYS.search(name):
            raise ImportError(f"{name} cannot be imported while a program is graded")


def run(name: str, file_name: str, source: bytes, folder: str, calls: bytes, written: str) -> None:
    """Call the function `name` of a file with this source, and write a line for each call. folder:
    where it was handed in, alone or in a notebook. calls: how to look, and arguments."""
    file = Path(file_name).resolve()
    file.write_bytes(source)
    out = os.open(written, os.O_WRONLY)
    if os.name == "posix":
        os.unlink(written)                              # no other program finds it
    look, draws = pickle.loads(calls)
    sys.meta_path.insert(0, NoKeys())
    checker: Any = ModuleType("check")          # check(f) at the end of a file does nothing
    checker.check = lambda function: None
    sys.modules["lessons.classroom.check"] = checker
    sys.path.insert(0, folder)                          # a file may import its neighbour
    os.write(out, line_of(Seen()))                      # from here on it is the student's program
    function, missing = function_in(file, name)
    os.write(out, line_of(Seen(words=missing)))
    for args in draws if function else []:
        seen = attempt_call(name, look, function, args)
        os.write(out, line_of(seen))
        if seen.error == "NotImplementedError" or out_of_memory(seen):
            break
