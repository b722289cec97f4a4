"""Mistakes in a method's class that Python would not report: TypeError says what to write.

    check_class(cls, hooks)             # by Objective, for each class that is derived from it
"""
import inspect
import math
from collections.abc import Callable
from dataclasses import fields
from typing import Any

from nanouft.plumbing.errors import nearest

DECLARED: dict[str, tuple] = {          # class attribute -> its types, or its allowed words
    "data": (str,), "lr": (int, float), "reference": (bool,), "coupled": (bool,),
    "logit_copies": (int, float), "scorer": ("any", "grade", "none"), "demo": ("own", "any"),
    "about": (str,)}
ROLLOUT = ("samples", "minibatches", "passes", "oversample")    # may be turned into settings


def check_class(cls: Any, hooks: tuple[str, ...] = ()) -> None:
    """Check the attributes that a class adds to its parent, before it becomes a dataclass. hooks:
    its new public methods that subclasses may override."""
    typed, settings = inspect.get_annotations(cls), [f.name for f in fields(cls)]
    known = [name for base in cls.__mro__[1:-1] for name in vars(base)
             if name[0] != "_" and name not in settings]
    for name in typed:
        check_setting(name, cls, known)
    for name, value in vars(cls).items():
        check_declared(name, value)
        if inspect.isfunction(value) and name in known:
            check_signature(name, value, getattr(cls.__mro__[1], name))
        if name[0] != "_" and name not in (*typed, *known, *hooks):
            refuse_unknown(name, value, known)


def check_setting(name: str, cls: type, known: list[str]) -> None:
    """TypeError unless a setting has a name of its own, and a default."""
    if name in known and name not in ROLLOUT:
        raise TypeError(f"{name} has a meaning in every objective: write `{name} = ...` "
                        "without a type to change it, and give a setting another name")
    if name not in vars(cls):
        raise TypeError(f"{name}: a setting needs a default, `{name}: float = 0.1`")


def check_declared(name: str, value: Any) -> None:
    """TypeError unless a class attribute of DECLARED has its type, or is one of its words."""
    allowed = DECLARED.get(name, ())
    types = tuple(x for x in allowed if isinstance(x, type))
    if allowed and not (isinstance(value, types) if types else value in allowed):
        raise TypeError(f"{name} = {value!r}: it must be "
                        + " or ".join(x.__name__ if isinstance(x, type) else x for x in allowed))
    if name == "lr" and not 0 < value < math.inf:
        raise TypeError(f"lr = {value!r}: a learning rate must be above 0")


def check_signature(name: str, mine: Callable, theirs: Callable) -> None:
    """TypeError unless a method takes the same arguments as that of Objective."""
    wanted, found = (list(inspect.signature(f).parameters) for f in (theirs, mine))
    if len(found) != len(wanted):
        raise TypeError(f"{name}({', '.join(found)}): it must be {name}({', '.join(wanted)})")


def refuse_unknown(name: str, value: Any, known: list[str]) -> None:
    """TypeError for a public name that no objective has: a method that nothing calls, or a setting
    without a type."""
    if callable(value) or hasattr(value, "__get__"):
        raise TypeError(f"{name} is no method of an objective{nearest(name, known)} "
                        f"(a helper of your own: _{name})")
    raise TypeError(f"{name} = {value!r}: a setting needs a type, `{name}: "
                    f"{type(value).__name__} = {value!r}`{nearest(name, known)}")
