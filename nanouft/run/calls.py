"""A command as a function of Python: `run` of train, sample, evaluate and compare.

    @python_call(SampleFlags)
    def run(models="base", prompt=None, **flags): ...

The call leaves the process as it was (plumbing/isolation.py), an error speaks of arguments ("lr -1:
must be above 0"), and help(run) and completion name each flag with its default and its help.
"""
import dataclasses
import functools
import inspect
import re
import sys
import typing
from collections.abc import Callable, Collection, Iterator
from inspect import Parameter
from pathlib import Path
from typing import Any, TypeVar

from nanouft.plumbing.errors import UserError, as_arguments
from nanouft.plumbing.isolation import isolated
from nanouft.plumbing.ranges import strip_annotations

COMMENT = re.compile(r"^ {4}(\w+)\s*:[^#\n]*#[ ]*(.+)$", re.M)
F = TypeVar("F", bound=Callable[..., Any])


def python_call(*classes: type, only: Collection[str] | None = None,
                rest: str = "") -> Callable[[F], F]:
    """A decorator of a function with **flags, which are the fields of these dataclasses, or those
    in `only`. rest: what else it takes, such as "settings" of a method."""
    def decorate(function: F) -> F:
        @functools.wraps(function)
        def call(*args: Any, **named: Any) -> Any:
            try:
                with isolated():
                    return function(*args, **named)
            except UserError as e:
                e.args = (as_arguments(str(e), texts_of([*args, *named.values()])),)
                raise
        flags: Flags = {}
        for cls in classes:
            for f in dataclasses.fields(cls):
                if only is None or f.name in only:
                    flags.setdefault(f.name, (f, cls))
        shown = signature(function, flags, rest)
        call.__signature__ = shown                      # type: ignore[attr-defined]
        call.__doc__ = docstring(function.__doc__, shown, flags)
        return typing.cast(F, call)
    return decorate


def texts_of(values: list) -> Iterator[str]:
    """The texts among some values, and in lists of them."""
    for value in values:
        items = value if isinstance(value, (list, tuple)) else [value]
        yield from (x for x in items if isinstance(x, str))


Flags = dict[str, tuple[dataclasses.Field, type]]   # {flag: its field, the dataclass that has it}


def classes_of(flags: Flags) -> set[type]:
    return {cls for _, cls in flags.values()}


def comments(cls: type) -> dict[str, str]:
    """{flag: its help}, what flags.comments finds. This is called at each import, so the text of
    the class is cut out of its file: `inspect` would parse the file, which wakes the collector of
    garbage, and takes 0.1 seconds."""
    file = sys.modules[cls.__module__].__file__ or ""
    text = Path(file).read_text("utf-8") if Path(file).is_file() else ""     # or an archive
    of_class = re.search(rf"^class {cls.__name__}\b.*\n(?:(?: .*)?\n)*", text, re.M)
    lines = COMMENT.findall(of_class[0]) if of_class else []
    return {f.name: "" for f in dataclasses.fields(cls)} | dict(lines)


def signature(function: Callable, flags: Flags, rest: str) -> inspect.Signature:
    """The parameters of the function, the flags in place of its **flags. A flag may be given by
    name, also one that has a place. One that may be several things, as a list may be one of its
    items, shows no type."""
    own = {name: p for name, p in inspect.signature(function).parameters.items()
           if p.kind != Parameter.VAR_KEYWORD}
    parameters = [p.replace(kind=Parameter.POSITIONAL_OR_KEYWORD)
                  if p.kind == Parameter.POSITIONAL_ONLY and name in flags else p
                  for name, p in own.items()]
    hints_of = {cls: typing.get_type_hints(cls) for cls in classes_of(flags)}
    for name, (f, cls) in flags.items():
        hint = hints_of[cls][name]
        kind, _ = strip_annotations(hint)
        shown = Parameter.empty if typing.get_origin(kind) in (list, tuple) else hint
        if name not in own:
            parameters.append(Parameter(name, Parameter.KEYWORD_ONLY, default=f.default,
                                        annotation=shown))
    if rest:
        parameters.append(Parameter(rest, Parameter.VAR_KEYWORD))
    return inspect.signature(function).replace(parameters=parameters)


def docstring(about: str | None, shown: inspect.Signature, flags: Flags) -> str | None:
    """That of the function, and below it a line for each flag. None by python -OO."""
    if not about:
        return None
    help_of = {cls: comments(cls) for cls in classes_of(flags)}
    lines = [f"    {f'{name}={p.default!r}':<22}  {as_arguments(help_of[flags[name][1]][name])}"
             for name, p in shown.parameters.items() if name in flags]
    return "\n".join([inspect.cleandoc(about), "", "Flags, with their defaults:", *lines])
