"""Right answers in other styles: all of them must pass. Where a gradient is wanted, plain numbers
are amber: they have none."""
import torch

from lessons.grade.engine import Exam, judge
from lessons.grade.outcome import leaves
from lessons.grade.task import Task


def plain(y):
    """Lists and floats."""
    return y.tolist() if hasattr(y, "tolist") else y


def array(y):
    import numpy as np
    return np.array(plain(y)) if isinstance(y, (torch.Tensor, float, int)) else y


def double(y):
    return torch.as_tensor(y).double() if isinstance(y, (torch.Tensor, float, int)) else y


def boolean(y):
    """Truth values, where there are only 0 and 1."""
    parts = list(leaves(y))
    whole = all(isinstance(part, (torch.Tensor, float, int)) for part in parts)
    if not whole or not all(v in (0, 1) for part in parts
                            for v in torch.as_tensor(part).flatten().tolist()):
        return y
    return y.bool() if isinstance(y, torch.Tensor) else [bool(v) for v in parts]


def deeper(y):
    """One more dimension, of size 1."""
    return y[None] if isinstance(y, torch.Tensor) else [y]


def each(style, y):
    """The style, in every part of a tuple."""
    return tuple(style(part) for part in y) if isinstance(y, tuple) else style(y)


def check(task: Task) -> list[str]:
    """Styles in which the reference solution is refused."""
    bad, few = [], Exam(task, "check", hidden=5)
    for style in plain, array, double, boolean, deeper:
        state = judge(task, lambda *args: each(style, task.right(*args)), exam=few)["state"]
        cut = task.gradients and style in (plain, array, boolean)
        if state != "right" and not (cut and state == "amber"):
            bad.append(f"right in the style {style.__name__!r} is judged {state}")
    return bad
