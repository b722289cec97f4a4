"""An objective of your own: one file with one subclass of Objective, wherever a name is asked for.

    python -m nanouft.train --objective mine.py --data my.jsonl
    find("mine.py")(beta=0.2)                   # from Python; mine.py:Name where there are several

The file is executed, like that of a reward function, but no other code from outside. It gets copies
of rows and batches, so it may change them.
"""
import copy
import functools
import math
import re
import sys
from collections.abc import Callable
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from nanouft.batch import Batch
from nanouft.data.selection import CHOOSE
from nanouft.objective import Objective
from nanouft.objectives import OBJECTIVES
from nanouft.objectives.dpo import Pairs
from nanouft.plumbing.errors import UserError, load, locate_errors, one_of
from nanouft.plumbing.files import plain_file

OWN = re.compile(r"(.+\.py)(?::(\w+))?")             # mine.py, mine.py:Name
# facts of a method -> what they must be, and how that is seen
NUMBER = "a number above 0", lambda x: isinstance(x, (int, float)) and 0 < x < math.inf
TRUTH = "True or False", lambda x: isinstance(x, bool)
TEXT = "a text", lambda x: isinstance(x, str)
FACTS: dict[str, tuple[str, Callable]] = {
    "lr": NUMBER, "logit_copies": NUMBER, "reference": TRUTH, "coupled": TRUTH, "data": TEXT,
    "about": TEXT, "scorer": ("any, grade or none", lambda x: x in ("any", "grade", "none")),
    "demo": ("own or any", lambda x: x in ("own", "any"))}
# metrics that the log of every run writes itself, and those of a run that samples
OF_RUN = {"step", "loss", "lr", "tokens", "grad_norm", "held_out"}
OF_SAMPLES = {"reward", "score", "ends", "ties", "length", "kl_exact", "kl_k1", "kl_k3",
              "kl_answer", "entropy", "decode_gap"}


def registry_name(name: str) -> str:
    """A name as the registry spells it: IFT becomes ift. The name of a file stays as it is."""
    return name.lower() if name.lower() in OBJECTIVES else name


def own_file(name: str) -> str:
    """The file of an objective of your own; "" for one of NAMES."""
    own = OWN.fullmatch(name)
    return own[1] if own else ""


def find(name: str) -> type[Objective]:
    """The class with one of NAMES, or the class in a file. A mistake in that file becomes a
    UserError of one line, now or in training."""
    if not (own := OWN.fullmatch(name)):
        return OBJECTIVES[one_of("objective", registry_name(name), OBJECTIVES)]
    file, class_name = own.groups()
    sys.path.insert(0, str(plain_file(file).resolve().parent))      # it may import its neighbour
    with locate_errors(file, "--objective"):
        module = load(file)
    classes = {cls.__name__: cls for cls in vars(module).values() if isinstance(cls, type)
               and issubclass(cls, Objective) and cls.__module__ == module.__name__}
    names = [class_name] if class_name else list(classes)
    if len(names) != 1 or names[0] not in classes:
        raise UserError(f"--objective {name}: one subclass of Objective is wanted in the file, it "
                        f"has {', '.join(classes) or 'none'}; {file}:NAME says which")
    cls = classes[names[0]]
    for fact, (wanted, is_right) in FACTS.items():
        if not is_right(getattr(cls, fact)):
            raise UserError(f"--objective {file}: {fact} = {getattr(cls, fact)!r}: it must be "
                            f"{wanted}")
    if cls.data not in CHOOSE and (cls.choose is Objective.choose
                                   or {*cls.data.split(" + ")} - {*CHOOSE}):
        raise UserError(f"--objective {file}: data = {cls.data!r}: one of {', '.join(CHOOSE)} is "
                        "known; others, joined by +, need a `choose` of your own")
    if cls.loss is Objective.loss or getattr(cls, "each", None) is Pairs.each:
        raise UserError(f"--objective {file}: {cls.__name__} has no `loss(self, batch)` "
                        "(of Pairs: no `each`)")
    for part in classes.values():
        for method, function in list(vars(part).items()):
            if method[0] != "_" and callable(function):
                setattr(part, method, wrap_errors(function, file))
    for method in ("loss", "credit"):
        setattr(cls, method, checked(getattr(cls, method), method, file))
    for method in ("choose", "prepare", "credit"):
        if getattr(cls, method) is not getattr(Objective, method):
            setattr(cls, method, on_a_copy(getattr(cls, method)))
    return cls


def wrap_errors(function: Callable, file: str) -> Callable:
    """The function with two additions: its errors name their line, and gradients stay on or off as
    they were before the call."""
    @functools.wraps(function)
    def call(*args: Any, **named: Any) -> Any:
        with locate_errors(file, "--objective"), torch.set_grad_enabled(torch.is_grad_enabled()):
            return function(*args, **named)
    return call


def on_a_copy(method: Callable) -> Callable:
    """The method, called on a copy of the rows or the batch, because others still need them."""
    @functools.wraps(method)
    def call(self: Objective, given: Any, *more: Any) -> Any:
        return method(self, copy.deepcopy(given), *more)
    return call


def checked(method: Callable, name: str, file: str) -> Callable:
    """`loss` or `credit` of your own. A wrong result becomes a UserError that says what it must
    return."""
    @functools.wraps(method)
    def call(self: Objective, batch: Batch) -> Any:
        out = method(self, batch)
        first, metrics = out if isinstance(out, tuple) and len(out) == 2 else (None, None)
        right, wanted = isinstance(first, Batch), "a batch"
        if name == "loss":
            right = isinstance(first, Tensor) and first.shape == () and first.is_floating_point() \
                and (first.requires_grad or not torch.is_grad_enabled())
            wanted = "a real number that depends on the log-probs, as a tensor of shape (),"
        if not (right and isinstance(metrics, dict) and all(
                x.shape == () if isinstance(x, Tensor) else isinstance(x, Real)
                for x in metrics.values())):
            raise UserError(f"--objective {file}: {name} must return {wanted} and a dictionary of "
                            "metrics, each a number or a tensor of shape ()")
        if taken := metrics.keys() & (OF_RUN | (OF_SAMPLES if self.on_policy else set())):
            raise UserError(f"--objective {file}: every run logs a number called {min(taken)!r} of "
                            "its own; give the metric another name")
        return out
    return call
