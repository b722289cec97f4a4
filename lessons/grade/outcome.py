"""What a function does with one case: the numbers that it returns, and their gradients.

Style is free: a float, a list, a numpy array, a tensor of any shape, True for 1 are all the same
numbers.
"""
import math
import traceback
from dataclasses import dataclass

import torch
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map_only

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
    """A flat list of floats (texts, truth values): 1, [1] and [[1.0]] are the same."""
    out = []
    for leaf in leaves(x):
        if isinstance(leaf, torch.Tensor):
            out += leaf.detach().double().tolist()
        else:
            out.append(leaf if leaf is None or isinstance(leaf, (str, bool)) else float(leaf))
    return out


def close(a, b) -> bool:
    if not isinstance(a, (int, float)) or not isinstance(b, (int, float)):
        return a == b
    both_nan = math.isnan(a) and math.isnan(b)
    return both_nan or math.isclose(a, b, rel_tol=RELATIVE, abs_tol=ABSOLUTE)


def same(a: list | None, b: list | None) -> bool:
    if a is None or b is None:
        return a is b
    return len(a) == len(b) and all(map(close, a, b))


def first_difference(a: list, b: list) -> int:
    """The first place where two lists differ; where one ends, if they agree so far."""
    ends = min(len(a), len(b))
    return next((i for i in range(ends) if not close(a[i], b[i])), ends)


# ---- outcomes ------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Outcome:
    """What a function does with one case."""
    values: list | None = None              # None: it raised `error`
    shape: tuple = ()
    changed: bool = False                   # did it change its arguments in place?
    error: str = ""

    @property
    def has_texts(self) -> set[bool]:
        """Texts, numbers, or both."""
        return {isinstance(x, str) for x in self.values}

    def same_values(self, other: "Outcome") -> bool:
        """Or the same kind of exception."""
        if self.values is None or other.values is None:
            return self.error.split(":")[0] == other.error.split(":")[0]
        return same(self.values, other.values)


def fresh(x, live: bool = False):
    """A copy; with `live` its float tensors collect gradients."""
    return tree_map_only(torch.Tensor, lambda t: t.clone().requires_grad_(
        live and t.is_floating_point()), x)


def outcome(function, args: tuple, as_set: bool = False) -> Outcome:
    """The values, on plain tensors, which numpy can read, too."""
    mine = fresh(args)
    try:
        y = function(*mine)
        values = numbers(set(numbers(y))) if as_set else numbers(y)
    except (Exception, SystemExit) as e:
        code = getattr(function, "__code__", None)
        return Outcome(error=told(e, code.co_filename if code else ""))
    shape = tuple(getattr(y, "shape", (len(values),)))
    return Outcome(values, shape, changed=not unchanged(mine, args))


def told(e: BaseException, file: str) -> str:
    """An exception in one line, with the last line of the student's file that it passed."""
    lines = [frame.lineno for frame in traceback.extract_tb(e.__traceback__)
             if frame.filename == file]
    where = f" (line {lines[-1]})" if lines else ""
    return f"{type(e).__name__}: {' '.join(str(e).split())[:160]}{where}"


def unchanged(x, before) -> bool:
    """Are arguments still what they were?"""
    (now, form), (then, old_form) = tree_flatten(x), tree_flatten(before)
    return form == old_form and all(
        type(a) is type(b) and (torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b)
        for a, b in zip(now, then))


def freezes(function, args: tuple, places: tuple[int, ...]) -> bool:
    """Does it turn off the gradient of an argument itself?"""
    live = tuple(fresh(x, i in places) for i, x in enumerate(args))
    try:
        function(*live)
    except (Exception, SystemExit):
        return False
    return any(isinstance(leaf, torch.Tensor) and leaf.is_floating_point()
               and not leaf.requires_grad for i in places for leaf in tree_leaves(live[i]))


def gradients(function, args: tuple, places: tuple[int, ...]) -> list | None:
    """The gradient of (y * (1, 2, 3, ...)).sum() by the arguments at these places: a plain sum
    hides much. Plain numbers are constants: it is 0. None: the function stops on live tensors."""
    live = tuple(fresh(x, i in places) for i, x in enumerate(args))
    total, count = torch.zeros((), dtype=torch.float64), 0
    try:
        for part in leaves(function(*live)):
            size = part.numel() if isinstance(part, torch.Tensor) else 1
            if isinstance(part, torch.Tensor) and part.requires_grad:
                total = total + (part.double() * torch.arange(count + 1, count + size + 1)).sum()
            count += size
        if total.requires_grad:
            total.backward()
    except (Exception, SystemExit):         # as numpy does
        return None
    out = []
    for i in places:
        for leaf in tree_leaves(live[i]):
            if isinstance(leaf, torch.Tensor) and leaf.is_floating_point():
                out += numbers(torch.zeros_like(leaf) if leaf.grad is None else leaf.grad)
    return out
