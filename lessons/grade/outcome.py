"""What a function does with one case: the numbers that it returns, and their gradients.

Style is free: a float, a list, a numpy array, a tensor of any shape, True for 1 are all the same
numbers.
"""
import math
import traceback
from dataclasses import dataclass

import torch

RELATIVE, ABSOLUTE = 2e-3, 2e-4             # two numbers closer than this are equal


# ---- numbers, whatever they are wrapped in -------------------------------------------------------

def leaves(x):
    """Flat tensors, numbers and texts, in order, of whatever a function returns."""
    if isinstance(x, torch.Tensor):
        yield x.flatten()
    elif x is None or isinstance(x, (str, int, float)):
        yield x
    elif hasattr(x, "tolist"):              # numpy, which need not be imported for this
        yield from leaves(x.tolist())
    elif isinstance(x, dict):
        for key in sorted(x, key=str):
            yield key
            yield from leaves(x[key])
    elif isinstance(x, (set, frozenset)):
        yield from sorted(x, key=lambda y: (isinstance(y, str), y))
    else:
        for y in x:
            yield from leaves(y)


def numbers(x) -> list:
    """A flat list of floats (and texts): 1, [1], [[1.0]] and True are the same."""
    out = []
    for leaf in leaves(x):
        if isinstance(leaf, torch.Tensor):
            out += leaf.detach().double().tolist()
        else:
            out.append(leaf if leaf is None or isinstance(leaf, str) else float(leaf))
    return out


def close(a, b) -> bool:
    if not isinstance(a, float) or not isinstance(b, float):
        return a == b
    if math.isnan(a) or math.isnan(b):
        return math.isnan(a) and math.isnan(b)
    if math.isinf(a) or math.isinf(b):
        return a == b
    return abs(a - b) <= ABSOLUTE + RELATIVE * min(abs(a), abs(b))


def same(a: list, b: list) -> bool:
    return len(a) == len(b) and all(map(close, a, b))


# ---- outcomes ------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Outcome:
    """What a function does with one case."""
    values: list | None = None              # None: it raised `error`
    changed: bool = False                   # did it change its arguments in place?
    error: str = ""

    def same_values(self, other: "Outcome") -> bool:
        """Or the same kind of exception."""
        if self.values is None or other.values is None:
            return self.error.split(":")[0] == other.error.split(":")[0]
        return same(self.values, other.values)


def fresh(x, live: bool = False):
    """A copy; with `live` its float tensors collect gradients."""
    if isinstance(x, torch.Tensor):
        return x.clone().requires_grad_(live and x.is_floating_point())
    if isinstance(x, (list, tuple)):
        return type(x)(fresh(y, live) for y in x)
    if isinstance(x, dict):
        return {key: fresh(y, live) for key, y in x.items()}
    return x


def outcome(function, args: tuple) -> Outcome:
    """The values, on plain tensors, which numpy can read, too."""
    mine = fresh(args)
    try:
        values = numbers(function(*mine))
    except (Exception, SystemExit) as e:
        code = getattr(function, "__code__", None)
        return Outcome(error=told(e, code.co_filename if code else ""))
    changed = not same(numbers([readable(x) for x in mine]), numbers([readable(x) for x in args]))
    return Outcome(values, changed)


def told(e: BaseException, file: str) -> str:
    """An exception in one line, with the last line of the student's file that it passed."""
    lines = [frame.lineno for frame in traceback.extract_tb(e.__traceback__)
             if frame.filename == file]
    where = f" (line {lines[-1]})" if lines else ""
    return f"{type(e).__name__}: {' '.join(str(e).split())[:160]}{where}"


def readable(x):
    """An argument as something that `numbers` can read; a function is only named."""
    known = x is None or isinstance(x, (str, int, float, list, tuple, dict, set, torch.Tensor))
    return x if known else type(x).__name__


def gradients(function, args: tuple, places: tuple[int, ...]) -> list | None:
    """The gradient of (y * (1, 2, 3, ...)).sum() by the arguments at these places: a plain sum
    hides much. None: plain numbers came back, which have none."""
    live = tuple(fresh(x, i in places) for i, x in enumerate(args))
    try:
        parts = list(leaves(function(*live)))
        if not any(isinstance(part, torch.Tensor) for part in parts):
            return None
        total, count = torch.zeros((), dtype=torch.float64), 0
        for part in parts:
            size = part.numel() if isinstance(part, torch.Tensor) else 1
            if isinstance(part, torch.Tensor) and part.requires_grad:
                total = total + (part.double() * torch.arange(count + 1, count + size + 1)).sum()
            count += size
        if total.requires_grad:
            total.backward()
    except (Exception, SystemExit):         # numpy cannot read a tensor with a graph
        return None
    out = []
    for i in places:
        for leaf in tensors(live[i]):
            out += numbers(torch.zeros_like(leaf) if leaf.grad is None else leaf.grad)
    return out


def tensors(x) -> list:
    """The float tensors in an argument."""
    if isinstance(x, torch.Tensor):
        return [x] if x.is_floating_point() else []
    return [t for y in x for t in tensors(y)] if isinstance(x, (list, tuple)) else []
