"""How a student's program is called, and what is kept of a call: plain values under their names, or
an error. This is what the student's process (child.py) does; it needs no key.
"""
import copy
import json
import linecache
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from lessons.behind.tasks.limits import TooLong, at_most
from nanouft import simple
from nanouft.objectives import find
from nanouft.plumbing.errors import UserError, lines_in, load

SECONDS = 20                        # of computing, for a task
NO_TENSOR = (TypeError, ValueError, RuntimeError, OverflowError)    # of as_tensor
NOT_STARTED = "not started"
UNTOUCHED = f"{NOT_STARTED}: it is still ours"
IN_PLACE = ("It changes its arguments in place. Make a new tensor or list, such as x.clone(), "
            "because the caller still needs the old one.")


@dataclass
class Seen:
    """What one call gave."""
    values: dict = field(default_factory=dict)
    error: str = ""
    words: str = ""


# ---- what is looked at ---------------------------------------------------------------------------
def result(function: Callable, *args) -> dict:
    return {"gives": function(*args)}


def with_gradient(name: str, function: Callable, x: torch.Tensor, *args) -> dict:
    """The result, and the gradient of the sum of its squares by the first argument."""
    x = x.clone().requires_grad_()
    out = function(x, *args)
    parts = [] if out is None else out if isinstance(out, tuple) else [out]    # of any shapes
    total = sum((as_tensor(part).square().sum() for part in parts), torch.zeros(()))
    slope = torch.autograd.grad(total, x, allow_unused=True, materialize_grads=True)[0] \
        if total.requires_grad else torch.zeros_like(x)
    return {"gives": out,
            f"the sum of its squared results has this gradient with respect to {name}:": slope}


class OwnAttention(TorchFunctionMode):
    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is F.scaled_dot_product_attention:
            raise UserError("Write this exercise without PyTorch's own function "
                            "scaled_dot_product_attention.")
        return function(*args, **(kwargs or {}))


def own_attention(function: Callable, q, k, v) -> dict:
    """The result, the gradient of its sum, and the result for large queries. PyTorch's own function
    is refused."""
    by = [x.clone().requires_grad_() for x in (q, k, v)]
    with OwnAttention():
        out, large = function(*by), function(50 * q, k, v)
    total = torch.zeros(()) if out is None else as_tensor(out).sum()
    slopes = torch.autograd.grad(total, by, allow_unused=True, materialize_grads=True) \
        if total.requires_grad else [torch.zeros_like(x) for x in by]
    return ({"gives": out}
            | {f"its sum has this gradient with respect to {x}:": s for x, s in zip("qkv", slopes)}
            | {"gives for a 50 times larger q": large})


# ---- a call --------------------------------------------------------------------------------------
def program_in(file: Path, name: str, seconds: float = SECONDS) -> tuple[Callable | None, str]:
    """The function of this name in a file, without a name its one subclass of Objective; or why
    there is none: a file may loop when it is loaded. What it has only imported from the project is
    nobody's work."""
    ours, methods = dict(vars(simple)), dict(simple.METHODS)
    try:
        if not file.exists():
            return None, f"{NOT_STARTED}: there is no file {file}"
        with at_most(seconds):
            program = getattr(load(file), name, None) if name else find(str(file))
    except UserError as error:
        return None, str(error)
    except (Exception, SystemExit, TooLong) as error:           # a typing mistake, for example
        why = "cannot be read." if isinstance(error, SyntaxError) else "stops when it is loaded:"
        return None, f"{file.name} {why} {error_line(error, str(file))}"
    finally:                                                    # a constant of ours stays ours
        vars(simple).update(ours)
        simple.METHODS.update(methods)
    if program is None:
        return None, f"{NOT_STARTED}: {file.name} has no function {name}"
    where = str(getattr(program, "__module__", ""))
    return (None, UNTOUCHED) if where.startswith(("nanouft.", "lessons.")) else (program, "")


def error_line(error: BaseException, file: str) -> str:
    """An error in one line; below it the line of the file in its traceback, if there is one."""
    lines = lines_in(file, error)
    where = f"\n    line {lines[-1]}: {linecache.getline(file, lines[-1]).strip()}" if lines else ""
    said = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
    if "in-place operation" in said:
        said = IN_PLACE
    if isinstance(error, SystemExit):
        said = "It calls exit() or sys.exit(). Return a result instead"
    return said.partition("\n")[0] + where


def call_program(look: Callable, program: Callable, case: tuple, file: str = "") -> Seen:
    """Look at a program in one case, a tuple of arguments."""
    own = copy.deepcopy(case)
    try:
        values = {what: plain(x) for what, x in look(program, *own).items()}
        if shown(own) != shown(case):
            raise UserError(IN_PLACE)
        return Seen(values)
    except (Exception, SystemExit, TooLong) as error:
        return Seen({}, type(error).__name__, error_line(error, file))


def call_in_all_cases(look: Callable, program: Callable, cases: list, file: str, seconds: float
                      ) -> Iterator[Seen]:
    """In all cases, until one of them does not end."""
    try:
        with at_most(seconds):
            for case in cases:
                yield (seen := call_program(look, program, case, file))
                if seen.error == "TooLong":
                    return
    except TooLong as error:                    # the clock ran out while an error was put in words
        yield Seen({}, "TooLong", error_line(error, file))


def calls_in_file(file: Path, name: str, look: Callable, cases: list, seconds: float) -> list[Seen]:
    """Of the program of this name in a file."""
    program, missing = program_in(file, name, seconds)
    if missing:
        return [Seen({}, "Missing", missing)]
    return [*call_in_all_cases(look, program, cases, str(file), seconds)]


# ---- plain data ----------------------------------------------------------------------------------
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
    return float(x) if isinstance(x, Real) else repr(x)[:80]


KINDS = {str(kind): kind for kind in (torch.double, torch.long, torch.bool)}


def to_line(name: str, calls: list[Seen]) -> bytes:
    """The calls of a task, by which they come out of the student's process."""
    def pack(x: torch.Tensor) -> dict:
        return {"kind": str(x.dtype), "numbers": x.tolist()}
    seen = [[x.values, x.error, x.words[:2000]] for x in calls]
    return json.dumps([name, seen], default=pack).encode() + b"\n"


def from_line(line: bytes, name: str) -> list[Seen]:
    """ValueError if it is something else: a student's process has written it."""
    def unpack(x):
        if isinstance(x, dict):
            return torch.tensor(x["numbers"], dtype=KINDS[x["kind"]])
        return [unpack(part) for part in x] if isinstance(x, list) else x
    try:
        of_task, calls = json.loads(line)
        assert of_task == name
        return [Seen({str(what): unpack(x) for what, x in values.items()}, str(error), str(words))
                for values, error, words in calls]
    except Exception as error:
        raise ValueError(f"its result cannot be read ({type(error).__name__})") from None


def as_tensor(x) -> torch.Tensor:
    """Numbers, lists, tuples, arrays of numpy, and lists of tensors become tensors."""
    if not isinstance(x, (list, tuple)):
        return torch.as_tensor(x)
    parts = [as_tensor(part).float() for part in x]
    return torch.stack(parts) if parts else torch.zeros(0)


def shown(x, digits: int = 4) -> str:
    """As Python code, with four decimals, and with four digits below 0.01."""
    if isinstance(x, (list, tuple)):
        return "[" + ", ".join(shown(part, digits) for part in x) + "]"
    if isinstance(x, float):
        return repr(round(x, digits) if abs(x) >= 0.01 else float(f"{x:.{digits}g}"))
    if not isinstance(x, torch.Tensor):
        return repr(x)
    if not x.ndim:
        return shown(x.item(), digits)
    return f"torch.tensor({shown(x.tolist(), digits)})"

