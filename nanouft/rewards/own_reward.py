"""A reward function of your own, from a Python file of your own.

    python -m nanouft.train --objective grpo --data my.jsonl --init out/sft --reward my.py:right

    def right(prompts, answers, gold, **others):            # lists of equal length
        return [a.strip() == g for a, g in zip(answers, gold)]

It is called with two lists, prompts and answers, and by name with those other fields of the rows
that it has as arguments (all of them, if it has **others): also lists, None where a row has no such
field. A function with an argument `completions` is called as TRL calls its reward functions. It
returns one finite number an answer. The file is run: it is the only code from outside that is.
A mistake in it is one line, with the number of its own line.
"""
import contextlib
import inspect
import os
import sys
import traceback
import types
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nanouft.errors import UserError
from nanouft.files.words import quoted_names
from nanouft.run.storage import regular
from nanouft.run.words import nearest, one_line, quoted

MOST = 1e30             # fp32 ends at 3e38


def split(name: str) -> tuple[str, str] | None:
    """"my.py:right" -> ("my.py", "right"); "my.py" -> ("my.py", ""); None for anything else."""
    if name.endswith(".py"):
        return name, ""
    file, _, function = name.rpartition(":")
    return (file, function) if file.endswith(".py") else None


def load(name: str) -> Callable[..., np.ndarray]:
    """The function of `--reward FILE.py:FUNCTION` as a Scorer. UserError if there is none."""
    path, function = split(name) or (name, "")
    try:
        text = regular(Path(path)).read_bytes()
    except OSError as e:
        raise UserError(f"--reward {path}: {e.strerror or e}; name a Python file and its function, "
                        "such as my.py:right") from None
    found = run(path, text)
    call = found.get(function)
    if not callable(call):
        mine = [key for key, value in found.items()
                if inspect.isfunction(value) and value.__module__ == found["__name__"]]
        problem = "which function?"
        if function:
            problem = (f"{function} is no function there" if function in found else
                       f"no function {function} there")
        raise UserError(f"--reward {name}: {problem}; write --reward {path}:NAME "
                        f"(it has {quoted_names(mine) or 'none'}){nearest(function, mine)}")

    def scorer(prompts: list[str], answers: list[str], /, **fields: list) -> np.ndarray:
        with one_line_errors(path):
            first, named = arguments(call, list(prompts), list(answers), fields, path)
            return numbers(call(*first, **named), answers, f"--reward {name}")
    return scorer


@lru_cache
def run(path: str, text: bytes) -> dict[str, Any]:
    """The names that a Python file defines. It is run once a process."""
    module = types.ModuleType(f"reward_of_{Path(path).stem}")
    module.__file__ = path
    sys.modules[module.__name__] = module
    sys.path.append(str(Path(path).resolve().parent))   # it may import the files beside it
    with one_line_errors(path):
        exec(compile(text, path, "exec"), vars(module))
    return vars(module)


@contextlib.contextmanager
def one_line_errors(path: str) -> Iterator[None]:
    """Inside, code of the user's runs: what it raises becomes a UserError with the last line of the
    file that was run, and so does an exit, os._exit too. The grad mode is afterwards what it was
    before."""
    leave, here = os._exit, os.getpid()

    def refused(code: int) -> None:
        if os.getpid() != here:                         # a child of its own may end so
            leave(code)
        raise SystemExit(f"os._exit({code})")
    os._exit = refused                  # type: ignore[assignment]
    try:
        with torch.set_grad_enabled(torch.is_grad_enabled()):
            yield
    except (UserError, KeyboardInterrupt):
        raise
    except BaseException as e:                          # an exit, too
        lines = [frame.lineno for frame in traceback.extract_tb(e.__traceback__)
                 if frame.filename == path]
        if isinstance(e, SyntaxError) and e.filename == path:
            lines.append(e.lineno)
        where = f"{path}, line {lines[-1]}" if lines else path
        raise UserError(f"{where}: {one_line(traceback.format_exception_only(e)[-1])}") from None
    finally:
        os._exit = leave


def arguments(call: Callable, prompts: list[str], answers: list[str], fields: dict[str, list],
           path: str) -> tuple[list, dict[str, list]]:
    """(arguments by place, arguments by name) for a function. UserError if it does not take them.
    """
    signature = inspect.signature(call)
    known = list(signature.parameters)
    first = [prompts, answers]
    named = {name: values for name, values in fields.items() if name not in known[:2]}
    if "completions" in known:                          # TRL's form: all by name
        first, named = [], {**fields, "prompts": prompts, "completions": answers}
    elif "prompts" in known[1:] or known[:1] == ["answers"] and known[1:]:
        raise UserError(f"{path}: takes ({', '.join(known[:2])}), but it gets the prompts first; "
                        "write (prompts, answers)")
    elif known[1:2] and known[1] in fields and known[1] not in ("answers", "responses"):
        raise UserError(f"{path}: its second argument is called {quoted(known[1])}, like a field "
                        "of the rows, but it gets the answers; write (prompts, answers, and "
                        "fields by their names)")
    if all(p.kind != p.VAR_KEYWORD for p in signature.parameters.values()):
        named = {name: values for name, values in named.items() if name in known}
    try:
        signature.bind(*first, **named)
    except TypeError as e:
        line = f", line {call.__code__.co_firstlineno}" if inspect.isfunction(call) else ""
        raise UserError(f"{path}{line}: {e}; it is called with prompts and answers, and by name "
                        "with the other fields of the rows "
                        f"({quoted_names(fields) or 'there are none'})") from None
    return first, named


def numbers(got: Any, answers: list[str], who: str) -> np.ndarray:
    """(n,) what the function returned; true and false are 1 and 0. UserError unless it is one
    finite number an answer."""
    if isinstance(got, (str, bytes, dict, set, frozenset)) or not isinstance(got, Iterable):
        raise UserError(f"{who}: gave {one_line(quoted(got))}, not a list of numbers, one an "
                        "answer")
    values = [x.item() if hasattr(x, "item") else x for x in got]   # of an array or a tensor
    if len(values) != len(answers):
        raise UserError(f"{who}: gave {len(values):,} numbers for {len(answers):,} answers; give "
                        "one an answer")
    for x, answer in zip(values, answers):
        if not isinstance(x, Real) or not abs(float(x)) <= MOST:
            raise UserError(f"{who}: gave {one_line(quoted(x), 60)} for the answer "
                            f"{quoted(one_line(answer, 60))}; it must be a finite number")
    return np.array(values, dtype=float)
