"""A command as a Python function: `run` of train, sample, evaluate and compare.

    @python_call(SampleFlags)
    def run(models="base", prompt=None, **flags): ...

The call leaves the process as it was (plumbing/process_state.py). An error names arguments ("lr -1:
must be above 0"). help(run) and completion show each flag and its default, help(run) its help too.
"""
import functools
import inspect
import typing
from collections.abc import Callable, Collection
from dataclasses import fields
from inspect import Parameter
from typing import Any, TypeVar

from nanouft.plumbing.errors import UserError, as_arguments, loading
from nanouft.plumbing.process_state import isolated
from nanouft.plumbing.ranges import strip_annotations
from nanouft.run.flags import comments

F = TypeVar("F", bound=Callable[..., Any])


def python_call(*classes: type, only: Collection[str] | None = None,
                rest: str = "") -> Callable[[F], F]:
    """A decorator of a function with **flags, which are the fields of these dataclasses, or those
    in `only`. rest: what else it takes, such as "settings" of a method."""
    def decorate(function: F) -> F:
        @functools.wraps(function)
        def call(*args: Any, **named: Any) -> Any:
            if loading:                 # it would begin again wherever the file is read
                raise UserError(f"{loading[-1]}: has your own code and calls nanouft; put its "
                                "calls below `if __name__ == \"__main__\":`")
            try:
                with isolated():
                    return function(*args, **named)
            except UserError as e:
                e.args = (as_arguments(str(e)),)
                raise
        parameters = {name: p for name, p in inspect.signature(function).parameters.items()
                      if p.kind != Parameter.VAR_KEYWORD}
        lines, named_before = ["", "Flags, with their defaults:"], set[str]()
        for cls in classes:
            hints, help_of = typing.get_type_hints(cls), comments(cls)
            for f in fields(cls):                       # type: ignore[arg-type]
                if only is not None and f.name not in only:
                    continue
                is_list = typing.get_origin(strip_annotations(hints[f.name])[0]) in (list, tuple)
                shown = Parameter.empty if is_list else hints[f.name]   # a list may be one item
                if f.name in named_before:
                    continue
                named_before.add(f.name)
                parameters.setdefault(f.name, Parameter(
                    f.name, Parameter.KEYWORD_ONLY, default=f.default, annotation=shown))
                default = f"{f.name}={parameters[f.name].default!r}"
                lines.append(f"    {default:<22}  {as_arguments(help_of.get(f.name, ''))}")
        if rest:
            parameters[rest] = Parameter(rest, Parameter.VAR_KEYWORD)
        call.__signature__ = inspect.signature(function).replace(       # type: ignore[attr-defined]
            parameters=[*parameters.values()])
        call.__doc__ = "\n".join([inspect.cleandoc(function.__doc__ or ""), *lines])
        return typing.cast(F, call)
    return decorate
