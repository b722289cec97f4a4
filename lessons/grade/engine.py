"""Judges an answer: is it right, and if not, whose mistake is it?

    verdict = judge(task, function, seed)       # worker.py calls it in a process of its own

A function is known by its outcomes: what it returns, and the gradients of that, on the shown cases
and on 30 random ones. Task.model with the flags of a mistake has outcomes, too. A mistake is named
only if all of them agree; or, if no mistake has these gradients, all values.
"""
import inspect
import itertools
import math
from collections.abc import Callable
from copy import copy
from functools import cache
from random import Random

from lessons.grade.call import call
from lessons.grade.facts import fact, slope_fact
from lessons.grade.forms import other_form
from lessons.grade.outcome import (
    Outcome,
    close,
    first_difference,
    freezes,
    fresh,
    gradients,
    outcome,
    same,
)
from lessons.grade.task import Mistake, Task

RANDOM = 30                                 # hidden cases
WIDE = 40                                   # more of them, and in other forms, to test a sentence
MOST = 0.75                                 # of the failing cases must agree for a "perhaps"


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
        self.more, self.others = draw.getrandbits(64), {}       # for `wider`: not the seed itself

    def answer(self, *mistakes: Mistake) -> "Answer":
        """The model with the flags of these mistakes."""
        flags = {name: value for mistake in mistakes for name, value in mistake.flags.items()}
        made = Answer(lambda *args: self.task.model(*args, **flags), self)
        return self.known.setdefault(frozenset(mistake.name for mistake in mistakes), made)

    def wider(self, name: str = "", n: int = WIDE) -> "Exam":
        """n other hidden cases, and n in other forms, as far as the task allows them: all known
        right solutions agree there, with finite numbers. Without a name: these cases, too."""
        if name not in self.others:
            draw, program = Random(f"{self.more} {name}"), hasattr(self.task, "program")
            new = Exam(self.task, hidden=0)
            new.args = [self.task.random(draw) for _ in range(n)]
            new.args += [other_form(draw, self.task.random(draw)) for _ in range(n * (not program))]
            known = [new.answer(), *[Answer(f, new) for f in [self.task.by_hand] if f]]
            good = [args for i, args in enumerate(new.args) if new.right.is_finite(i)
                    and all(answer.agrees(new.right, [i]) for answer in known)]
            self.others[name] = wide = Exam(self.task, hidden=0)
            wide.args = self.args * (not name) + good
            wide.all = range(len(wide.args))
        return self.others[name]

    def pairs(self) -> list[tuple[Mistake, Mistake]]:
        """Two mistakes that can be made at once: their flags have different keys."""
        two = itertools.combinations(self.task.mistakes, 2)
        return [(a, b) for a, b in two if not a.flags.keys() & b.flags.keys()]


class Answer:
    """A function, its outcomes on the cases of an exam, and their gradients: computed when asked
    for, and kept."""

    def __init__(self, function, exam: Exam):
        places, as_set = exam.task.gradients, exam.task.as_set
        self.function, self.exam = function, exam
        self.outcome = cache(lambda i: outcome(function, exam.args[i], as_set))
        self.gradient = cache(
            lambda i: gradients(function, exam.args[i], places) if places else None)

    def __getitem__(self, i: int) -> Outcome:
        return self.outcome(i)

    def is_finite(self, i: int) -> bool:
        numbers = [*(self[i].values or [math.nan]), *(self.gradient(i) or ())]
        return all(math.isfinite(x) for x in numbers if isinstance(x, (int, float)))

    def same_values(self, other: "Answer", cases=None) -> bool:
        return all(self[i].same_values(other[i]) for i in cases or self.exam.all)

    def agrees(self, other: "Answer", cases=None) -> bool:
        """Values first: most answers differ there already."""
        if self is other:
            return True
        cases = cases or self.exam.all
        return self.same_values(other, cases) and all(
            same(self.gradient(i), other.gradient(i)) for i in cases if self.has_numbers(i))

    def has_numbers(self, i: int) -> bool:
        """The gradient of a result that is infinite or no number says nothing."""
        return all(math.isfinite(x) for x in self[i].values or () if isinstance(x, (int, float)))


# ---- the verdict ---------------------------------------------------------------------------------

def judge(task: Task, function, seed="0", exam: Exam | None = None) -> dict:
    """{"state": right | amber | wrong | unknown | not begun, "mistake": its name or None, ...}"""
    exam = exam or Exam(task, seed)
    mine = Answer(function, exam)
    if not fits(task, function):
        return verdict(exam, mine, "unknown", note="arguments")
    if mine[0].error.split("(line")[0].strip() == "NotImplementedError:":   # torch's has a text
        return {"state": "not begun", "mistake": None}
    found = diagnosis(exam, mine)
    if found["state"] == "unknown":
        found |= {"note": reason(mine) or found["note"], "perhaps": nearest(exam, mine),
                  "law": broken_law(task, function), "fact": fact_everywhere(exam, mine)}
        if other := strange_texts(exam, mine):
            found |= {"note": "texts", "error": other, "fact": ""}
    elif found["note"] == "gradient" and "found" not in found:
        found["fact"] = slope_fact(exam, mine)
    return verdict(exam, mine, **found)


def fact_everywhere(exam: Exam, mine: Answer) -> str:
    """A fact that holds in a wider exam, too, wherever the function does not stop."""
    wide = copy(exam.wider())
    own = Answer(mine.function, wide)
    wide.all = [i for i in wide.all if own[i].values is not None]
    return fact(wide, own) if len(wide.all) > len(exam.all) / 2 else ""


def careful(exam: Exam, function, judge=judge) -> dict:
    """As `judge`. If it says "right", a known mistake must still be refused: a student's file could
    have changed the grader."""
    found = judge(exam.task, function, exam=exam)
    control = exam.answer(exam.task.mistakes[0]).function
    if found["state"] == "right" and judge(exam.task, control, exam=exam)["state"] == "right":
        return {"state": "unknown", "mistake": None, "note": "changed grader"}
    return found


def diagnosis(exam: Exam, mine: Answer) -> dict:
    """The state; the readings that fit, each of one mistake or of two; by: "values", if the
    gradients are others; note: what else is the matter."""
    places = exam.task.gradients
    frozen = places and freezes(mine.function, exam.args[0], places)
    note = "changes its arguments" * bool(frozen or any(mine[i].changed for i in exam.all))
    if mine.agrees(exam.right):
        return {"state": "amber" if note else "right", "note": note}
    right_values = mine.same_values(exam.right)
    if found := readings(exam, mine.agrees):
        return {"state": "amber" if right_values else "wrong", "found": found, "note": note}
    if right_values:
        return {"state": "amber", "note": note or gradient_note(exam, mine)}
    if found := readings(exam, mine.same_values):
        note = note or gradient_note(exam, mine)
        return {"state": "wrong", "found": found, "note": note, "by": "values"}
    return {"state": "unknown", "note": note}


def readings(exam: Exam, fits: Callable[[Answer], bool]) -> list[list[Mistake]]:
    """All single mistakes that fit; else the first two at once that do."""
    found = [[m] for m in exam.task.mistakes if fits(exam.answer(m))]
    return found or [list(pair) for pair in exam.pairs()
                     if fits(exam.answer(*pair)) and not undone(exam, pair)][:1]


def undone(exam: Exam, pair: tuple[Mistake, Mistake]) -> bool:
    """Is a number right with both mistakes that is wrong with one of them alone? Then nobody knows
    whether both were made: another mistake may do the same."""
    both = exam.answer(*pair)
    return any(close(x, y) and not close(x, z) for m in pair for i in exam.all
               for x, y, z in zip(exam.right[i].values or (), both[i].values or (),
                                  exam.answer(m)[i].values or ()))


def strange_texts(exam: Exam, mine: Answer) -> str:
    """The texts that are allowed, if the right results are single texts and yours is another."""
    right, own = ({str(answer[i].values[0]) for i in exam.all if answer[i].values}
                  for answer in (exam.right, mine))
    single = all(len(exam.right[i].values) == 1 and isinstance(exam.right[i].values[0], str)
                 and len(mine[i].values or [0, 0]) == 1 for i in exam.all)
    return ", ".join(f'"{text}"' for text in sorted(right)) if single and own - right else ""


def gradient_note(exam: Exam, mine: Answer) -> str:
    """How the gradient differs from the right one."""
    slopes = [mine.gradient(i) for i in exam.all]
    if any(slope is None for slope in slopes):
        return "stops with gradients"
    return "gradient" if any(any(slope) for slope in slopes) else "no gradient"


def fits(task: Task, function) -> bool:
    """Can it be called as the task says? A built-in function does not tell (ValueError)."""
    try:
        inspect.signature(function).bind(*task.cases[0].args)
    except (TypeError, ValueError) as e:
        return isinstance(e, ValueError)
    return True


def reason(mine: Answer) -> str:
    """Why nothing fits: it stops in some case, or a shown case has another form."""
    pairs = [(mine[i], mine.exam.right[i]) for i in range(mine.exam.shown)]
    again = Answer(mine.function, mine.exam)
    if not hasattr(mine.exam.task, "program") and not mine.same_values(again):
        return "chance"
    if stopped := [mine[i].error for i in mine.exam.all if mine[i].values is None]:
        return stopped[0]
    if all(found.values == [None] for found, _ in pairs):
        return "returns nothing"
    if all(found.has_texts != wanted.has_texts for found, wanted in pairs):
        return "kind"
    odd = [pair for pair in pairs if len(pair[0].values) != len(pair[1].values)]
    if odd and not mine.exam.task.as_set:
        return f"shape {odd[0][0].shape}; {odd[0][1].shape} is wanted"
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
    """The mistake that most of the cases agree with, of those where it or you are wrong."""
    best, most = "", MOST
    for m in exam.task.mistakes:
        other = exam.answer(m)
        wrong = [i for i in exam.all if mine[i].values and not (
            mine[i].same_values(exam.right[i]) and other[i].same_values(exam.right[i]))]
        share = sum(mine[i].same_values(other[i]) for i in wrong) / max(1, len(wrong))
        if share > most:
            best, most = m.name, share
    return best


def verdict(exam: Exam, mine: Answer, state: str, found=(), **more: str) -> dict:
    """What is known about an answer, as JSON can hold it. more: note, by, law, perhaps."""
    names = [[m.name for m in reading] for reading in found]
    cases = [row(exam, mine, i) for i in range(exam.shown)]
    worst = failing(exam, mine)
    cases += [row(exam, mine, worst)] * (worst >= exam.shown)
    shows = [m for m in found[0] if not exam.answer(m).same_values(exam.right, [worst])
             ] or found[0] if found else []             # of two mistakes at once: the one seen here
    return {"state": state, "mistake": " or ".join(map(" and ".join, names)) or None,
            "readings": names, "question": shows[0].question if shows else None,
            "cases": cases, **more}


def failing(exam: Exam, mine: Answer) -> int:
    """The first case with another value; where there is none, with another gradient; else 0."""
    bad = (i for agrees in (mine.same_values, mine.agrees) for i in exam.all
           if not agrees(exam.right, [i]))
    return next(bad, 0)


def row(exam: Exam, mine: Answer, i: int) -> dict:
    """One case. ok: value and gradient are right; value: the value is. What is not right is shown
    as (wanted, yours, the first place where they differ)."""
    found = {"words": exam.task.cases[i].words if i < exam.shown else "drawn at random",
             "wanted": exam.right[i].values, "yours": mine[i].values, "error": mine[i].error,
             "value": mine.same_values(exam.right, [i]), "ok": mine.agrees(exam.right, [i]),
             "changed": mine[i].changed}
    slopes = (exam.right.gradient(i), mine.gradient(i)) if found["value"] else (None, None)
    wanted, yours = slopes if found["value"] else (found["wanted"], found["yours"])
    if not found["ok"]:
        found["call"] = call(exam.task.function, exam.args[i])
        if wanted is not None and yours is not None:
            found["differs"] = wanted, yours, first_difference(wanted, yours)
    return found
