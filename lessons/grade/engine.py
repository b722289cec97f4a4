"""Judges an answer: is it right, and if not, whose mistake is it?

    verdict = judge(task, function, seed)       # here; check.py and tests use this
    verdicts = grade(["07a", "07b"], folder)    # in a process of its own with a time limit (below)

A function is known by its outcomes: what it returns, and the gradients of that, on the shown cases and on 30 random
ones. Task.model with the flags of a mistake has outcomes, too. A mistake is named only if all of them agree.
"""
import inspect
import itertools
import math
import traceback
from dataclasses import dataclass
from random import Random

import torch

from lessons.grade.task import Mistake, Task

RANDOM = 30                                 # hidden cases
RELATIVE, ABSOLUTE = 2e-3, 2e-4             # two numbers closer than this are equal


# ---- numbers, whatever they are wrapped in ---------------------------------------------------------------------------

def leaves(x):
    """Tensors (flat), numbers and texts, in order: of a float, bool, text, tensor, array, list, dict or set."""
    if isinstance(x, torch.Tensor):
        yield x.flatten()
    elif x is None or isinstance(x, (str, int, float)):
        yield x
    elif hasattr(x, "tolist"):                              # numpy, which need not be imported for this
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
    """A flat list of floats (and texts). Shapes do not matter: 1, [1], [[1.0]] and True are the same."""
    out = []
    for leaf in leaves(x):
        if isinstance(leaf, torch.Tensor):
            out += leaf.detach().double().tolist()
        else:
            out.append(leaf if leaf is None or isinstance(leaf, str) else float(leaf))
    return out


def close(a, b) -> bool:
    if not isinstance(a, float) or not isinstance(b, float):
        return a == b
    if math.isnan(a) or math.isnan(b):
        return math.isnan(a) and math.isnan(b)
    return a == b or abs(a - b) <= ABSOLUTE + RELATIVE * min(abs(a), abs(b))


def same(a: list, b: list) -> bool:
    return len(a) == len(b) and all(map(close, a, b))


# ---- outcomes --------------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Outcome:
    """What a function does with one case."""
    values: list | None = None              # None: it raised `error`
    changed: bool = False                   # did it change its arguments in place?
    error: str = ""

    def same_values(self, other: "Outcome") -> bool:
        if self.values is None or other.values is None:
            return self.values is other.values and self.error.split(":")[0] == other.error.split(":")[0]
        return same(self.values, other.values)


def fresh(x, live: bool = False):
    """A copy; with `live` its float tensors collect gradients."""
    if isinstance(x, torch.Tensor):
        return x.clone().requires_grad_(live and x.is_floating_point())
    if isinstance(x, (list, tuple)):
        return type(x)(fresh(y, live) for y in x)
    if isinstance(x, dict):
        return {key: fresh(y, live) for key, y in x.items()}
    return x


def outcome(function, args: tuple) -> Outcome:
    """The values, on plain tensors, which numpy can read, too."""
    mine = fresh(args)
    try:
        values = numbers(function(*mine))
    except (Exception, SystemExit) as e:
        return Outcome(error=told(e, getattr(getattr(function, "__code__", None), "co_filename", "")))
    changed = not same(numbers([readable(x) for x in mine]), numbers([readable(x) for x in args]))
    return Outcome(values, changed)


def told(e: BaseException, file: str) -> str:
    """An exception in one line, with the last line of the student's file that it passed."""
    lines = [frame.lineno for frame in traceback.extract_tb(e.__traceback__) if frame.filename == file]
    where = f" (line {lines[-1]})" if lines else ""
    return f"{type(e).__name__}: {' '.join(str(e).split())[:160]}{where}"


def readable(x):
    """An argument as something that `numbers` can read; a function or another object is only named."""
    known = x is None or isinstance(x, (str, int, float, list, tuple, dict, set, torch.Tensor))
    return x if known else type(x).__name__


def gradients(function, args: tuple, places: tuple[int, ...]) -> list | None:
    """The gradient of (y * (1, 2, 3, ...)).sum() by the arguments at these places: a plain sum hides much.
    None: it cannot be seen, because plain numbers came back."""
    live = tuple(fresh(x, i in places) for i, x in enumerate(args))
    try:
        parts = list(leaves(function(*live)))
        if not any(isinstance(part, torch.Tensor) for part in parts):
            return None
        total, count = torch.zeros((), dtype=torch.float64), 0
        for part in parts:
            size = part.numel() if isinstance(part, torch.Tensor) else 1
            if isinstance(part, torch.Tensor) and part.requires_grad:
                total = total + (part.double() * torch.arange(count + 1, count + size + 1)).sum()
            count += size
        if total.requires_grad:
            total.backward()
    except (Exception, SystemExit):                         # numpy cannot read a tensor with a graph
        return None
    out = []
    for i in places:
        for leaf in tensors(live[i]):
            out += numbers(torch.zeros_like(leaf) if leaf.grad is None else leaf.grad)
    return out


def tensors(x) -> list:
    """The float tensors in an argument."""
    if isinstance(x, torch.Tensor):
        return [x] if x.is_floating_point() else []
    return [t for y in x for t in tensors(y)] if isinstance(x, (list, tuple)) else []


# ---- the cases of a task, and what each mistake does with them -------------------------------------------------------

class Exam:
    """The shown and the hidden cases of a task, and the answers that are known."""

    def __init__(self, task: Task, seed="0", hidden: int = RANDOM):
        self.task = task
        self.shown = len(task.cases)
        draw = Random(f"{seed} {task.id}")
        self.args = [case.args for case in task.cases] + [task.random(draw) for _ in range(hidden)]
        self.all = range(len(self.args))
        self.right = Answer(task.right, self)
        self.known: dict[frozenset, Answer] = {}

    def answer(self, *mistakes: Mistake) -> "Answer":
        """The model with the flags of these mistakes."""
        key = frozenset(mistake.name for mistake in mistakes)
        if key not in self.known:
            flags = {name: value for mistake in mistakes for name, value in mistake.flags.items()}
            self.known[key] = Answer(lambda *args: self.task.model(*args, **flags), self)
        return self.known[key]

    def pairs(self) -> list[tuple[Mistake, Mistake]]:
        """Two mistakes at once, where one does not exclude the other: their flags have different keys."""
        two = itertools.combinations(self.task.mistakes, 2)
        return [(a, b) for a, b in two if not a.flags.keys() & b.flags.keys()]


class Answer:
    """A function, and its outcomes on the cases of an exam; they are computed when they are asked for, and kept."""

    def __init__(self, function, exam: Exam):
        self.function, self.exam = function, exam
        self.outcomes, self.slopes = {}, {}

    def __getitem__(self, i: int) -> Outcome:
        if i not in self.outcomes:
            self.outcomes[i] = outcome(self.function, self.exam.args[i])
        return self.outcomes[i]

    def gradient(self, i: int) -> list | None:
        if i not in self.slopes:
            places = self.exam.task.gradients
            self.slopes[i] = gradients(self.function, self.exam.args[i], places) if places else None
        return self.slopes[i]

    def same_values(self, other: "Answer", cases=None) -> bool:
        return all(self[i].same_values(other[i]) for i in cases or self.exam.all)

    def same_gradients(self, other: "Answer", cases=None) -> bool:
        """Gradients that cannot be seen are equal to all."""
        for i in cases or self.exam.all:
            mine, others = self.gradient(i), other.gradient(i)
            if mine is not None and others is not None and not same(mine, others):
                return False
        return True

    def agrees(self, other: "Answer", cases=None) -> bool:
        """Values first: most answers differ there already."""
        if self is other:
            return True
        cases = cases or self.exam.all
        if not self.same_values(other, cases) or any(self[i].changed != other[i].changed for i in cases):
            return False
        return self.same_gradients(other, cases)


# ---- the verdict -----------------------------------------------------------------------------------------------------

def judge(task: Task, function, seed="0", exam: Exam | None = None) -> dict:
    """{"state": "right" | "amber" | "wrong" | "unknown" | "not begun", "mistake": its name or None, ...}"""
    exam = exam or Exam(task, seed)
    mine = function if isinstance(function, Answer) else Answer(function, exam)
    function = mine.function
    if misfit := arguments(task, function):
        return verdict(exam, mine, "unknown", note=misfit)
    if mine[0].error.startswith("NotImplementedError"):
        return {"state": "not begun", "mistake": None}
    if mine.agrees(exam.right):
        unseen = bool(task.gradients) and all(mine.gradient(i) is None for i in exam.all)
        return verdict(exam, mine, "right", note="plain numbers" if unseen else "")
    values = mine.same_values(exam.right)
    found = [[m] for m in task.mistakes if mine.agrees(exam.answer(m))]
    found = found or [list(pair) for pair in exam.pairs() if mine.agrees(exam.answer(*pair))][:1]
    if found:
        return verdict(exam, mine, "amber" if values else "wrong", found)
    if values:
        changed = any(mine[i].changed for i in exam.all)
        return verdict(exam, mine, "amber", note="changes its arguments" if changed else "gradient")
    return verdict(exam, mine, "unknown", note=reason(mine), law=broken_law(task, function))


def arguments(task: Task, function) -> str:
    """Can it be called as the task says? Else what is wrong."""
    try:
        inspect.signature(function).bind(*task.cases[0].args)
    except TypeError:
        return "arguments"
    except ValueError:                                      # a built-in function does not say
        pass
    return ""


def reason(mine: Answer) -> str:
    """Why nothing fits, if that is plain to see."""
    if all(mine[i].values is None for i in range(mine.exam.shown)):
        return mine[0].error
    if all(mine[i].values == [None] for i in range(mine.exam.shown)):
        return "returns nothing"
    return ""


def broken_law(task: Task, function) -> str:
    """The first law that does not hold on a shown case."""
    for law, case in itertools.product(task.laws, task.cases):
        try:
            if not law.holds(function, fresh(case.args)):
                return law.words
        except (Exception, SystemExit):
            continue
    return ""


def verdict(exam: Exam, mine: Answer, state: str, found=(), note: str = "", law: str = "") -> dict:
    """`found`: readings that all fit, each a list of mistakes made at once."""
    name = " or ".join(" and ".join(m.name for m in reading) for reading in found) or None
    readings = [[m.name for m in reading] for reading in found]
    first = found[0][0] if found else None
    rows = []
    for i in range(exam.shown):
        ok, value = mine.agrees(exam.right, [i]), mine.same_values(exam.right, [i])
        rows.append({"words": exam.task.cases[i].words, "ok": ok, "value": value, "wanted": exam.right[i].values,
                     "yours": mine[i].values if mine[i].values is not None else mine[i].error})
    return {"state": state, "mistake": name, "question": first.question if first else None,
            "say": first.say if first else None, "note": note, "law": law, "cases": rows, "readings": readings}
