"""Judges an answer: is it right, and if not, whose mistake is it?

    verdict = judge(task, function, seed)       # worker.py calls it in a process of its own

A function is known by its outcomes: what it returns, and the gradients of that, on the shown cases
and on 30 random ones. Task.model with the flags of a mistake has outcomes, too. A mistake is named
only if all of them agree.
"""
import inspect
import itertools
from random import Random

from lessons.grade.outcome import Outcome, fresh, gradients, outcome, same
from lessons.grade.task import Mistake, Task

RANDOM = 30                                 # hidden cases


# ---- the cases of a task, and what each mistake does with them -----------------------------------

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
        """Two mistakes that can be made at once: their flags have different keys."""
        two = itertools.combinations(self.task.mistakes, 2)
        return [(a, b) for a, b in two if not a.flags.keys() & b.flags.keys()]


class Answer:
    """A function, and its outcomes on the cases of an exam: computed when asked for, and kept."""

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
        if not self.same_values(other, cases):
            return False
        if any(self[i].changed != other[i].changed for i in cases):
            return False
        return self.same_gradients(other, cases)


# ---- the verdict ---------------------------------------------------------------------------------

def judge(task: Task, function, seed="0", exam: Exam | None = None) -> dict:
    """{"state": right | amber | wrong | unknown | not begun, "mistake": its name or None, ...}"""
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
    return verdict(exam, mine, "unknown", note=reason(mine), law=broken_law(task, function),
                   perhaps=nearest(exam, mine))


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


def nearest(exam: Exam, mine: Answer) -> str:
    """The mistake that most of the shown cases agree with, of those that are not right."""
    wrong = [i for i in range(exam.shown) if not mine[i].same_values(exam.right[i])]
    count = {m.name: sum(mine[i].same_values(exam.answer(m)[i]) for i in wrong)
             for m in exam.task.mistakes}
    best = max(count, key=count.get)
    return best if count[best] > len(wrong) / 2 else ""


def verdict(exam: Exam, mine: Answer, state: str, found=(), **more: str) -> dict:
    """`found`: readings that all fit, each of one mistake or of two. more: note, law, perhaps."""
    readings = [[m.name for m in reading] for reading in found]
    name = " or ".join(" and ".join(names) for names in readings) or None
    first = found[0][0] if found else None
    return {"state": state, "mistake": name, "readings": readings,
            "question": first.question if first else None, "say": first.say if first else None,
            "cases": [row(exam, mine, i) for i in range(exam.shown)], **more}


def row(exam: Exam, mine: Answer, i: int) -> dict:
    """One shown case. ok: value and gradient are right; value: the value is."""
    yours = mine[i].values
    return {"words": exam.task.cases[i].words, "wanted": exam.right[i].values,
            "yours": mine[i].error if yours is None else yours,
            "ok": mine.agrees(exam.right, [i]), "value": mine.same_values(exam.right, [i])}
