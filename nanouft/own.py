"""Code of your own, in a file: an objective, or a function as a reward.

    python -m nanouft.train --objective mine.py --data my.jsonl     # mine.py:Name if it has several

`find` (objectives/) asks `class_in` for the subclass of Objective in such a file. Its `choose` gets
copies of rows, so it may change them. A class that only Python has, as in a cell of a notebook, is
guarded in the same way; what it raises stays a traceback.

    score = reward_in("my.py", "right")         # or own_reward(right), of a function in Python
    score(rows, answers)                        # -> (n,) numbers

    def right(prompts, completions, final, **others):       # my.py: lists of equal length
        return [text.split()[-1:] == [word] for text, word in zip(completions, final)]

A reward is called as TRL 1.16 calls its reward functions (grpo_trainer.py:1626): everything by
name, all fields of the rows too, as texts where TRL has messages. It gets copies, so it may change
them. The working folder is put back after a call.

The file is executed, but no other code from outside. A mistake in it becomes a UserError of one
line, now or in training. `try_reward` calls a reward once before a model is opened.
"""
import copy
import functools
import gc
import inspect
import math
import os
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from numbers import Real
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from nanouft.batch import Batch
from nanouft.data.fields import NAMES
from nanouft.data.row import Score
from nanouft.data.rows import Row
from nanouft.data.selection import CHOOSE
from nanouft.objective import Objective
from nanouft.plumbing.errors import (
    UserError,
    as_written,
    flag,
    load,
    locate_errors,
    name_of_function,
    nearest,
)
from nanouft.plumbing.files import Reward, is_own_reward, own_file
from nanouft.plumbing.printing import note

CHECKED = "loss", "credit", "each"                  # what they return is checked
# metrics that the log of every run writes itself, and those of a run that samples
OF_RUN = {"step", "loss", "lr", "tokens", "grad_norm", "held_out"}
OF_SAMPLES = {"reward", "score", "ends", "ties", "length", "kl_exact", "kl_k1", "kl_k3",
              "kl_answer", "entropy", "decode_gap"}
LARGEST = 1e30                          # largest reward: a batch holds it in fp32


@contextmanager
def call_own_code(file: str, flag: str, shown: str = "") -> Iterator[None]:
    """What the code of a file raises names its line. The working folder is put back, or a later
    relative path, such as that of --out, would lead elsewhere."""
    here = os.getcwd()
    with locate_errors(file, flag, shown):
        try:
            yield
        finally:
            os.chdir(here)


def module_of(file: str, flag: str, name: str = "") -> ModuleType:
    """Execute a file, which may import its neighbours. name: of the module [own.NAME]."""
    if not Path(file).is_file():
        raise UserError(flag, f" {file}: there is no file {Path(file).absolute()}")
    sys.path.insert(0, str(Path(file).resolve().parent))
    with call_own_code(file, flag):
        return load(file, name)


# ---- an objective --------------------------------------------------------------------------------
def class_in(name: str) -> type[Objective]:
    """The subclass of Objective in mine.py, or that with the name in mine.py:Name. It is checked,
    and its methods are guarded."""
    file = own_file(name)
    module = module_of(file, flag("objective"))
    classes = {cls.__name__: cls for cls in vars(module).values() if isinstance(cls, type)
               and issubclass(cls, Objective) and cls.__module__ == module.__name__}
    asked = [name.removeprefix(f"{file}:")] if name != file else list(classes)
    if len(asked) != 1 or asked[0] not in classes:
        raise UserError(flag("objective"), f" {name}: expected one Objective subclass in the file, "
                        f"found {', '.join(classes) or 'none'}; choose one with {file}:NAME")
    cls = classes[asked[0]]
    if why := class_mistake(cls):
        raise UserError(flag("objective"), f" {file}: {why}")
    for method, function in guarded_methods(cls, file).items():
        setattr(cls, method, function)
    return cls


def guarded_methods(cls: type[Objective], file: str) -> dict[str, Callable]:
    """{name: the method with additions}. file: what errors and notes call it."""
    return {method: guarded(function, method, file)
            for method, function in inspect.getmembers(cls, inspect.isfunction)
            if method[0] != "_" and function.__module__ == cls.__module__
            or method in ("choose", *CHECKED) and function is not getattr(Objective, method)}


def checked_class(cls: type[Objective]) -> type[Objective]:
    """A class that is in no file of its own, guarded for one run; itself it stays as it is."""
    if why := class_mistake(cls):
        raise UserError(f"{cls.__name__}: {why}")
    methods = guarded_methods(cls, cls.__name__)
    return type(cls.__name__, (cls,), {"__module__": cls.__module__, **methods})


def class_mistake(cls: type[Objective]) -> str:
    """What a run would take without a word, or end in a riddle. "" if all is well."""
    if not (isinstance(cls.lr, (int, float)) and 0 < cls.lr < math.inf):
        return f"lr = {cls.lr!r}: it must be a number above 0"
    for fact, known in (("scorer", ("any", "grade", "none")), ("demo", ("own", "any"))):
        if getattr(cls, fact) not in known:
            return f"{fact} = {getattr(cls, fact)!r}: it must be one of {', '.join(known)}"
    data = str(cls.data)
    if data not in CHOOSE and (cls.choose is Objective.choose
                               or {*data.split(" + ")} - {*CHOOSE}):
        return (f"data = {cls.data!r}: it must be one of {', '.join(CHOOSE)}; other combinations "
                "with + need your own `choose`")
    if inspect.getmembers(cls, lambda x: getattr(x, "__isabstractmethod__", False)):
        return f"{cls.__name__} has no `loss(self, batch)` (of Pairs: no `each`)"
    return ""


def guarded(function: Callable, method: str, file: str) -> Callable:
    """The function of a method with additions. `choose` gets copies of the rows, which may be
    chosen from again. Errors name their line, and what `loss` or `credit` returns is checked.
    Gradients stay on or off as they were before the call. In the first step a look is taken at
    `loss`, unless the object cannot be copied, as with an open file, or the loss fails on fewer
    rows. A metric that still has its gradient is named once."""
    looked = method != "loss"
    graph_noted = False

    @functools.wraps(function)
    def call(self: Objective, *given: Any, **named: Any) -> Any:
        if method == "choose":
            given = copy.deepcopy(given[:1]) + given[1:]
        nonlocal looked, graph_noted
        new = None
        if not (looked or given[0].progress or self.coupled) and torch.is_grad_enabled():
            looked = True
            with suppress(Exception):
                new = copy.deepcopy(self)
        with (locate_errors(file, flag("objective")),
              torch.set_grad_enabled(torch.is_grad_enabled())):
            out = function(self, *given, **named)
        why = ""
        if method == "each":
            why = each_mistake(out, given[0])
        elif method in CHECKED:
            why = result_mistake(out, method, self.on_policy)
        if why:
            raise UserError(flag("objective"), f" {file}: {why}")
        if not graph_noted and (name := metric_with_graph(out[1]) if method == "loss" else ""):
            graph_noted = True
            note(f"{file}: the metric {name!r} keeps the gradient's whole graph in memory; give it "
                 "without, by .detach()", write=tqdm.write)
        if new and count_rows(given[0]) > 1:
            with suppress(Exception), torch.random.fork_rng(devices=[]):
                warn_if_halves_differ(lambda batch: function(copy.deepcopy(new), batch)[0],
                                      given[0], out[0], file)
        return out
    return call


def metric_with_graph(metrics: dict[str, Any]) -> str:
    """The name of the first metric that still has its gradient, or ""."""
    return next((name for name, x in metrics.items()
                 if isinstance(x, Tensor) and x.requires_grad), "")


def warn_if_halves_differ(loss: Callable, batch: Batch, known: Tensor, file: str) -> None:
    """Say so if two halves of a step push its tokens otherwise than all its rows together. Pushes
    are compared, because the loss itself is about 0 where rewards are centred. `known`: the loss of
    the step; one that draws numbers gives another each time, and cannot be judged."""
    rows = count_rows(batch)
    loss_again, whole = loss_and_push_norm(loss, batch)
    halves = (batch.cut(half) for half in (slice(0, rows // 2), slice(rows // 2, rows)))
    parts = math.hypot(*(loss_and_push_norm(loss, half)[1] for half in halves))
    draws = not math.isclose(loss_again, known.item(), rel_tol=1e-5, abs_tol=1e-6)
    if not (draws or math.isclose(parts, whole, rel_tol=1e-2, abs_tol=1e-7)):
        note(f"{file}: the gradient with respect to the log-probs has the norm {parts:.3g} over "
             f"two half batches, and {whole:.3g} over the whole batch. So --accumulate or several "
             "processes would train another loss: divide by batch.n or batch.tokens",
             write=tqdm.write)


def loss_and_push_norm(loss: Callable, batch: Batch) -> tuple[float, float]:
    """The loss, and the length of its gradient by all that the network has written."""
    here = batch.map(lambda x: x.detach().requires_grad_(x.requires_grad))
    written = [x for s in here.seqs.values() for x in (s.logp, *s.extra.values())
               if x is not None and x.requires_grad]
    value = loss(here)
    slopes = torch.autograd.grad(value, written, allow_unused=True)
    return value.item(), math.hypot(*(x.norm().item() for x in slopes if x is not None))


def count_rows(batch: Batch) -> int:
    return len(next(iter(batch.seqs.values())).inputs)


def each_mistake(out: Any, i_w: Tensor) -> str:
    """What is wrong with that which `each` of Pairs returned; "" if all is well."""
    losses, metrics = out if isinstance(out, tuple) and len(out) == 2 else (out, {})
    if isinstance(losses, Tensor) and losses.shape == i_w.shape and isinstance(metrics, dict):
        return ""
    shape = f"shape {tuple(losses.shape)}" if isinstance(losses, Tensor) else str(losses)[:80]
    return (f"each must return a loss for each pair, a tensor of shape {tuple(i_w.shape)}, perhaps "
            f"with a dictionary of metrics, not {shape}")


def result_mistake(out: Any, method: str, on_policy: bool) -> str:
    """What is wrong with that which `loss` or `credit` returned; "" if all is well."""
    first, metrics = out if isinstance(out, tuple) and len(out) == 2 else (None, None)
    right, wanted = isinstance(first, Batch), "a batch"
    if method == "loss":
        right = isinstance(first, Tensor) and first.shape == () and first.is_floating_point() \
            and (first.requires_grad or not torch.is_grad_enabled())
        wanted = "a real number that depends on the log-probs, as a tensor of shape (),"
    if not (right and isinstance(metrics, dict)):
        return (f"{method} must return {wanted} and a dictionary of metrics, not "
                f"{str(out)[:80]}")
    for name, x in metrics.items():
        if not (x.shape == () if isinstance(x, Tensor) else isinstance(x, Real)):
            return (f"the metric {name!r} must be a number or a tensor of shape (), not "
                    f"{str(x)[:80]}")
    rows = count_rows(first) if isinstance(first, Batch) and first.seqs else 0
    for name, x in first.per_row.items() if rows else ():       # type: ignore[union-attr]
        if x.shape != (rows,):
            return (f"credit: per_row[{name!r}] must have shape ({rows},), a number for each "
                    f"answer, and has {tuple(x.shape)}")
    taken = metrics.keys() & (OF_RUN | (OF_SAMPLES if on_policy else set()))
    return "" if not taken else (f"the metric name {min(taken)!r} is reserved, because every run "
                                 "logs it; choose another")


# ---- a reward ------------------------------------------------------------------------------------
def open_reward(reward: Reward) -> Score:
    """A function of yours as a reward: that of FILE.py:FUNCTION, which is executed, or one of
    Python. UserError for <name>, a function that another call in Python had."""
    if callable(reward):
        return own_reward(reward)
    if reward.startswith("<"):
        raise UserError(f"--reward {reward}: the run's reward is {reward[1:-1]}, which only Python "
                        f"has: nanouft.train.run(reward={reward[1:-1]}, resume=FOLDER)")
    file, _, function = reward.rpartition(":")
    return reward_in(file, function)


def reward_in(file: str, function: str) -> Score:
    """The function in a file as a reward."""
    module = module_of(file, "--reward", f"reward_{Path(file).stem}")
    call = vars(module).get(function)
    if not callable(call):
        raise UserError(f"--reward {file}: the file has no function {function!r}"
                        + nearest(function, [name for name, x in vars(module).items()
                                             if getattr(x, "__module__", "") == module.__name__]))
    return own_reward(call, f"{file}:{function}", file)


def own_reward(call: Callable[..., Any], name: str = "", file: str = "") -> Score:
    """A function as a reward. What it raises becomes a UserError with the line. name, file: what
    errors call it, and the file in which lines are looked for [its own name, and where it was
    written]."""
    name = name or name_of_function(call)
    file = file or getattr(getattr(as_written(call), "__code__", None), "co_filename", "")
    shown = file if Path(file).is_file() else name              # a cell of a notebook is no file
    takes = inspect.signature(call).parameters
    every = any(p.kind == p.VAR_KEYWORD for p in takes.values())
    needed = [name for name, p in takes.items()
              if p.default is p.empty and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]

    def score(rows: list[Row], answers: list[str]) -> np.ndarray:
        names = {name for r in rows for name in r.extra if every or name in takes}
        fields: dict[str, list] = {name: [copy.deepcopy(r.extra.get(name)) for r in rows]
                                   for name in names}   # a copy for each answer to one prompt
        fields |= {"prompts": [r.prompt[-1].text for r in rows], "completions": list(answers)}
        wanted = {k: v for k, v in fields.items() if every or k in takes}
        if missing := [name for name in needed if name not in fields]:
            of_rows = ", ".join(sorted({name for r in rows for name in r.extra})) or "none"
            raise UserError(f"--reward {name}: needs {', '.join(missing)}, but a reward "
                            "function gets only prompts and completions, as texts, and the rows' "
                            f"fields ({of_rows}); TRL's other arguments are not passed")
        values, got = np.array([]), None
        with call_own_code(file, "--reward", shown):
            try:
                got = call(**wanted)
            except TypeError as e:
                if "string indices" in str(e):          # TRL's completion[0]["content"]
                    e.args = f"{e}; prompts and completions are texts here, not messages",
                raise
        if isinstance(got, (list, tuple, np.ndarray, torch.Tensor)):
            with suppress(Exception):       # values that are no numbers are refused below
                values = np.array([float(x) for x in got], np.float64)
        if len(values) != len(answers) or not (np.abs(values) <= LARGEST).all():
            raise UserError(f"--reward {name}: must return a list of one finite number, at most "
                            f"{LARGEST:g}, for each of the {len(answers):,} answers, not "
                            f"{str(got)[:80]}")
        return values
    return score


def try_reward(reward: Reward, rows: list[Row], samples: int = 2) -> None:
    """Call a function of yours once, as a run does with its answers to one prompt, so that one that
    cannot run is told before a model is opened. The answers are those of the first rows; a row
    without one has its question in its place. The run executes the file anew and draws the same
    random numbers, so it is as without this call (unless a module that it imports, or a file, keeps
    something; a function of Python is the same one)."""
    if not is_own_reward(reward):
        return
    n = max(2, samples)
    answers = [answer_of(r) or r.prompt[-1].text for r in rows[:n]]
    row = max(rows, key=lambda r: len(r.extra))         # the first that has all fields
    with repeat_random_draws():
        score = open_reward(reward)
        score([row] * n, [answers[i % len(answers)] for i in range(n)])
    gc.collect()                        # a model that the file has opened


def answer_of(r: Row) -> str:
    """The answer that a row holds, also if the method does not read it; or ""."""
    responses = [turn.text for turn in r.answer or r.chosen or () if turn.role == "assistant"]
    responses += [x for name, x in r.extra.items()
                  if NAMES.get(name, name) == "response" and isinstance(x, str)]
    return responses[0] if responses else ""


@contextmanager
def repeat_random_draws() -> Iterator[None]:
    """Random numbers that are drawn in here are drawn again after it."""
    before = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        yield
    random.setstate(before[0])
    np.random.set_state(before[1])
