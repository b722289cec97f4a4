"""A reward function of your own, from a Python file of your own.

    python -m nanouft.train --objective grpo --data my.jsonl --init out/sft --reward my_reward.py:right

    def right(prompts, answers, gold, **others):            # lists of one length
        return [a.strip() == g for a, g in zip(answers, gold)]

It is called with two lists, prompts and answers, and with the other fields of the rows of --data by their names: also
lists, None where a row lacks the field. It gets the fields that it names, all of them if it has **others; a field that
is called like its first two arguments is not passed. It gives one finite number an answer.
The file is run: the only thing from outside that is. What goes wrong in it is one line, with its own line number.
"""
import inspect
import sys
import types
from collections.abc import Callable
from functools import lru_cache
from itertools import islice
from numbers import Real
from pathlib import Path

import numpy as np

from nanouft.data.forms import quoted
from nanouft.shell.config import UserError, nearest, one_line
from nanouft.shell.text import regular, said

MOST = 1e30             # fp32 ends at 3e38
FAILS = (Exception, SystemExit)         # what the user's code may raise; an interrupt stays one


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
    mine = [n for n, f in found.items() if inspect.isfunction(f) and f.__module__ == found["__name__"]]
    if not callable(found.get(function)):
        what = (f"{function} is no function there" if function in found else f"no function {function} there"
                if function else "which function?")
        raise UserError(f"--reward {name}: {what}; write --reward {path}:NAME (it has {quoted(mine) or 'none'})"
                        + nearest(function, mine))
    call = found[function]

    def scorer(prompts: list[str], answers: list[str], /, **fields: list) -> np.ndarray:
        fields = wanted(call, fields, f"{path}{line(call)}: {function}")
        try:
            got = call(list(prompts), list(answers), **fields)
            if not isinstance(got, (str, bytes, dict)) and hasattr(got, "__iter__"):
                got = list(islice(got, len(answers) + 1))                       # one more: too many is told, too
        except FAILS as e:
            raise failed(path, e) from None
        return numbers(got, answers, f"--reward {name}")
    return scorer


def functions(path: str) -> dict:
    """What a Python file defines."""
    try:
        text = regular(Path(path)).read_bytes()
    except OSError as e:
        raise UserError(f"--reward {path}: {e.strerror or e}; name a Python file and its function: my.py:right") from None
    return run(path, text)


@lru_cache
def run(path: str, text: bytes) -> dict:
    """The names that a Python file leaves. It is run once a process; no .pyc is kept, which may be of an older text."""
    module = types.ModuleType(f"reward_of_{Path(path).stem}")
    module.__file__ = path
    sys.modules[module.__name__] = module
    if (folder := str(Path(path).resolve().parent)) not in sys.path:
        sys.path.append(folder)                                                 # what stands beside it can be imported
    try:
        exec(compile(text, path, "exec"), vars(module))
    except FAILS as e:
        raise failed(path, e) from None
    return vars(module)


def failed(path: str, e: BaseException) -> UserError:
    """What the user's code raised, in one line with the last line of their file that was being run."""
    here, trace = getattr(e, "lineno", None) if isinstance(e, SyntaxError) and e.filename == path else None, e.__traceback__
    while trace is not None:
        here = trace.tb_lineno if trace.tb_frame.f_code.co_filename == path else here
        trace = trace.tb_next
    text = e.msg if isinstance(e, SyntaxError) else str(e)
    return UserError(f"{path}{f', line {here}' if here else ''}: {type(e).__name__}: {one_line(text)}")


def line(call: Callable) -> str:
    return f", line {call.__code__.co_firstlineno}" if inspect.isfunction(call) else ""


def wanted(call: Callable, fields: dict[str, list], who: str) -> dict[str, list]:
    """The fields that a function takes beside prompts and answers. UserError if it needs one that no row has."""
    try:
        known = list(inspect.signature(call).parameters.values())
    except (TypeError, ValueError):                                             # something built in
        return {}
    if any(p.kind == p.VAR_POSITIONAL for p in known[:2]):                      # def f(*both)
        first, more = [], known
    else:
        first, more = known[:2], known[2:]
    if len(first) == 1 or any(p.kind in (p.KEYWORD_ONLY, p.VAR_KEYWORD) for p in first):
        raise UserError(f"{who} must take prompts and answers, two lists: def {call.__name__}(prompts, answers, **others)")
    every = any(p.kind == p.VAR_KEYWORD for p in more)
    there = {k: v for k, v in fields.items() if k not in {p.name for p in first}}
    for p in more:
        if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) and p.name not in there:
            raise UserError(f"{who} wants {p.name}, and the rows have no such field beside the prompt (they have "
                            f"{quoted(there) or 'none'}){nearest(p.name, there)}")
    return there if every else {p.name: there[p.name] for p in more if p.name in there}


def numbers(got, answers: list[str], who: str) -> np.ndarray:
    """(n,) what the function gave. UserError unless it is one finite number an answer; true and false are 1 and 0."""
    if not isinstance(got, list):
        raise UserError(f"{who}: gave {one_line(said(got))}, not a list of numbers, one an answer")
    if len(got) != len(answers):
        raise UserError(f"{who}: gave {'more' if len(got) > len(answers) else len(got)} numbers for {len(answers)} "
                        "answers; one an answer is wanted")
    out = np.zeros(len(got))
    for i, (x, answer) in enumerate(zip(got, answers)):
        x = x.item() if getattr(x, "size", None) == 1 or callable(getattr(x, "numel", None)) and x.numel() == 1 else x
        if not isinstance(x, Real) or not abs(x) <= MOST:
            raise UserError(f"{who}: gave {one_line(said(x), 60)} for the answer {said(one_line(answer, 60))}; "
                            "a finite number is wanted")
        out[i] = float(x)
    return out
