"""A reward function of your own, from a Python file of your own.

    python -m nanouft.train --objective grpo --data my.jsonl --init out/sft --reward my_reward.py:right

    def right(prompts, answers, gold, **others):            # lists of one length
        return [a.strip() == g for a, g in zip(answers, gold)]

It is called with two lists, prompts and answers, and by name with the other fields of the rows that it names, all of
them if it has **others: also lists, None where a row lacks the field. One with an argument `completions` is called as
TRL calls its reward functions. It gives one finite number an answer. The file is run: the only thing from outside that
is. What goes wrong in it is one line, with its own line number. What it sets in torch is set back.
"""
import contextlib
import inspect
import os
import sys
import traceback
import types
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import islice
from numbers import Real
from pathlib import Path

import numpy as np
import torch

from nanouft.errors import UserError, nearest, one_line, quoted
from nanouft.files.words import quoted_names
from nanouft.run.storage import regular

MOST = 1e30             # fp32 ends at 3e38
SETTINGS: tuple[tuple[Callable, Callable], ...] = (          # what reads it, what sets it
    (torch.is_grad_enabled, torch.set_grad_enabled), (torch.get_default_dtype, torch.set_default_dtype),
    (torch.get_num_threads, torch.set_num_threads), (os.getcwd, os.chdir),
    (lambda: torch.empty(0).device, lambda device: torch.set_default_device(None)))     # "cpu" would slow every call


def split(name: str) -> tuple[str, str] | None:
    """"my.py:right" -> ("my.py", "right"); "my.py" -> ("my.py", ""); None for anything else."""
    file, _, function = name.rpartition(":")
    if name.endswith(".py"):
        file, function = name, ""
    return (file, function) if file.endswith(".py") else None


def load(name: str) -> Callable[..., np.ndarray]:
    """The function of `--reward FILE.py:FUNCTION` as a Scorer. UserError if it cannot be had."""
    path, function = split(name)
    found = functions(path)
    mine = [n for n, f in found.items() if inspect.isfunction(f) and f.__module__ == found.get("__name__")]
    if not callable(found.get(function)):
        what = (f"{function} is no function there" if function in found else f"no function {function} there"
                if function else "which function?")
        raise UserError(f"--reward {name}: {what}; write --reward {path}:NAME (it has {quoted_names(mine) or 'none'})"
                        + nearest(function, mine))
    call = found[function]

    def scorer(prompts: list[str], answers: list[str], /, **fields: list) -> np.ndarray:
        with theirs(path):
            first, fields = wanted(call, list(prompts), list(answers), fields, path)
            got = call(*first, **fields)
            if not isinstance(got, (str, bytes, dict, set, frozenset)) and hasattr(got, "__iter__"):
                got = list(islice(got, len(answers) + 1))                       # one more: too many is told, too
            return numbers(got, answers, f"--reward {name}")
    return scorer


@contextlib.contextmanager
def theirs(path: str) -> Iterator[None]:
    """Inside, code of the user's runs. What it raises is one line; torch computes afterwards as it did before."""
    before = [get() for get, _ in SETTINGS]
    try:
        yield
    except (UserError, KeyboardInterrupt):
        raise
    except BaseException as e:
        raise failed(path, e) from None
    finally:
        for (get, put), value in zip(SETTINGS, before):
            if get() != value:
                put(value)


def functions(path: str) -> dict:
    """What a Python file defines."""
    try:
        text = regular(Path(path)).read_bytes()
    except OSError as e:
        raise UserError(f"--reward {path}: {e.strerror or e}; name a Python file and its function, "
                        "such as my.py:right") from None
    return run(path, text)


@lru_cache
def run(path: str, text: bytes) -> dict:
    """The names that a Python file leaves. It is run once a process; no .pyc is kept, which may be of an older text."""
    module = types.ModuleType(f"reward_of_{Path(path).stem}")
    module.__file__ = path
    sys.modules[module.__name__] = module
    if (folder := str(Path(path).resolve().parent)) not in sys.path:
        sys.path.append(folder)                                                 # what stands beside it can be imported
    with theirs(path):
        exec(compile(text, path, "exec"), vars(module))
    return vars(module)


def failed(path: str, e: BaseException) -> UserError:
    """What the user's code raised, in one line with the last line of their file that was being run."""
    lines = [where.lineno for where in traceback.extract_tb(e.__traceback__) if where.filename == path]
    if isinstance(e, SyntaxError) and e.filename == path:
        lines.append(e.lineno)
    text = one_line(traceback.format_exception_only(e)[-1])
    return UserError(f"{path}{f', line {lines[-1]}' if lines else ''}: {text}")


def wanted(call: Callable, prompts: list, answers: list, fields: dict[str, list], path: str) -> tuple[list, dict]:
    """(arguments by place, arguments by name) for a function: prompts, answers and the fields that it takes. One that
    has an argument `completions` is called as TRL does, all by name. UserError if it cannot be called with them."""
    signature = inspect.signature(call)
    known = list(signature.parameters)
    every = any(p.kind == p.VAR_KEYWORD for p in signature.parameters.values())
    if "completions" in known:
        first, named = [], {**fields, "prompts": prompts, "completions": answers}
    else:
        first, named = [prompts, answers], {name: x for name, x in fields.items() if name not in known[:2]}
        if "prompts" in known[1:] or known[:1] == ["answers"] and known[1:]:
            raise UserError(f"{path}: takes ({', '.join(known[:2])}), but it gets the prompts first; write (prompts, "
                            "answers)")
        if known[1:2] and known[1] in fields and known[1] not in ("answers", "responses"):
            raise UserError(f"{path}: its second argument is called {quoted(known[1])}, like a field of the rows, but it "
                            "gets the answers; write (prompts, answers, and fields by their names)")
    passed = {name: values for name, values in named.items() if every or name in known}
    try:
        signature.bind(*first, **passed)
    except TypeError as e:
        line = f", line {call.__code__.co_firstlineno}" if inspect.isfunction(call) else ""
        raise UserError(f"{path}{line}: {e}; it is called with prompts and answers, and by name with the other fields "
                        f"of the rows ({quoted_names(fields) or 'there are none'})") from None
    return first, passed


def numbers(got, answers: list[str], who: str) -> np.ndarray:
    """(n,) what the function gave. UserError unless it is one finite number an answer; true and false are 1 and 0."""
    if not isinstance(got, list):
        raise UserError(f"{who}: gave {one_line(quoted(got))}, not a list of numbers, one an answer")
    if len(got) != len(answers):
        raise UserError(f"{who}: gave {'more' if len(got) > len(answers) else len(got)} numbers for {len(answers)} "
                        "answers; one an answer is wanted")
    out = np.zeros(len(got))
    for i, (x, answer) in enumerate(zip(got, answers)):
        x = x.item() if hasattr(x, "item") else x                               # of an array or a tensor
        if not isinstance(x, Real) or not abs(x) <= MOST:
            raise UserError(f"{who}: gave {one_line(quoted(x), 60)} for the answer {quoted(one_line(answer, 60))}; "
                            "a finite number is wanted")
        out[i] = float(x)
    return out
