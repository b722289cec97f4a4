"""Are the tasks themselves in order? python -m lessons.grade --check [07a ...]

For every task: right passes in five styles; the model without flags is right; every mistake is
refused and gets its own name, on the shown cases alone and on random ones alone; two mistakes at
once are refused, too; and programs with mistakes drawn at random never get a name that is not
theirs. A lesson names its tasks.
"""
import itertools
import time
from dataclasses import replace
from random import Random

import numpy as np
import torch

from lessons.grade.engine import RANDOM, Answer, Exam, diagnosis, judge
from lessons.grade.folder import all_tasks, lesson_file
from lessons.grade.outcome import leaves
from lessons.grade.task import Task
from nanouft.run.config import tomllib

DRAWN = 200                                 # programs with mistakes at random


def main(ids: list[str]) -> int:
    """The tasks whose number begins so, all of them without any."""
    torch.set_num_threads(1)
    start, bad, mistakes, some = time.time(), 0, 0, []
    for task in all_tasks():
        if not ids or task.id.startswith(tuple(ids)):
            before = time.time()
            found = check(task) if hasattr(task, "signature") else check_card(task)
            found += in_lesson(task)
            seconds = time.time() - before
            print(f"{task.id}  {len(task.mistakes):2} mistakes  {seconds:4.1f} s  ",
                  *(found or ["ok"]), sep="\n      " if found else "", flush=True)
            bad += bool(found)
            mistakes += len(task.mistakes)
            some.append(task)
    core = sum(task.core for task in some)
    print(f"{len(some)} tasks, {core} of them core, {mistakes} named mistakes, "
          f"{time.time() - start:.0f} s; {bad or 'none'} not in order")
    return 1 if bad else 0


def check(task: Task) -> list[str]:
    """What is not in order, one line each."""
    exam = Exam(task, "check")
    if bad := words(task) + styles(task) + model(exam):
        return bad[:8]
    shown, hidden = range(exam.shown), range(exam.shown, exam.shown + RANDOM)
    if task.by_hand and not Answer(task.by_hand, exam).agrees(exam.right):
        return ["by_hand, the solution that is shown, is not right"]
    bad = told_apart(exam, shown, "the shown cases") + told_apart(exam, hidden, "random cases")
    for mistake in task.mistakes:
        found = diagnosis(exam, exam.answer(mistake))
        if found["state"] not in ("wrong", "amber") or found.get("found") != [[mistake]]:
            bad.append(f"{mistake.name!r} is judged {found['state']}, not by its own name")
    for a, b in exam.pairs():
        if exam.answer(a, b).agrees(exam.right):
            bad.append(f"{a.name!r} and {b.name!r} at once are right: give them a flag in common")
    return bad + laws(task, exam) + wrong_names(task, exam)


def model(exam: Exam) -> list[str]:
    """The model without flags equals the reference, values and gradients."""
    bad, right, without = [], exam.right, exam.answer()
    for i in exam.all:
        where = f"case {i + 1}" if i < exam.shown else f"random case {i - exam.shown + 1}"
        if right[i].values is None:
            bad.append(f"{where}: right raises {right[i].error}")
        elif not without.agrees(right, [i]):
            bad.append(f"{where}: model without flags says {without[i].values} "
                       f"{without.gradient(i)}, right {right[i].values} {right.gradient(i)}")
    return bad


def told_apart(exam: Exam, cases: range, where: str) -> list[str]:
    """Every mistake is refused on these cases alone, and no two are equal."""
    bad, mistakes = [], exam.task.mistakes
    for i, mistake in enumerate(mistakes):
        wrong = exam.answer(mistake)
        if wrong.agrees(exam.right, cases):
            bad.append(f"{mistake.name!r} is not refused on {where}")
        for other in mistakes[:i]:
            if wrong.agrees(exam.answer(other), cases):
                bad.append(f"{mistake.name!r} is the same as {other.name!r} on {where}")
    return bad


def in_lesson(task) -> list[str]:
    """The lesson has the heading that the task names, and its exercises name the task."""
    text = lesson_file(task.id).read_text(encoding="utf-8")
    known = task.heading and f" {task.heading}" in text
    bad = [] if known else [f"the lesson has no heading {task.heading!r}"]
    if f"**{task.id}" not in text:
        bad.append(f"the lesson's exercises do not name **{task.id}**: add a line there")
    return bad


def words(task: Task) -> list[str]:
    """The texts of a task."""
    bad = []
    names = [m.name for m in task.mistakes]
    if any(a in b for a, b in itertools.permutations(names, 2)):
        bad.append("the name of a mistake stands in the name of another one")
    if len(names) < 3:
        bad.append(f"{len(names)} mistakes: at least three are needed")
    if len(task.hints) != 3:
        bad.append(f"{len(task.hints)} hints: three are needed")
    for mistake in task.mistakes:
        if "?" not in mistake.question:
            bad.append(f"{mistake.name!r}: the question has no question mark")
        if not mistake.say:
            bad.append(f"{mistake.name!r}: nothing to say on Monday")
    return bad


def laws(task: Task, exam: Exam) -> list[str]:
    """A law holds for the right answer."""
    bad = []
    for law in task.laws:
        bad += [f"right breaks the law {law.words!r}" for args in exam.args
                if not law.holds(task.right, args)][:1]
    return bad


def wrong_names(task: Task, exam: Exam) -> list[str]:
    """Programs with one to all mistakes. Another name than theirs is allowed if no fresh case tells
    the two apart.
    """
    draw, bad, seen = Random(0), [], set()
    again = Exam(replace(task, cases=()), "again")
    for _ in range(DRAWN):
        some = draw.sample(task.mistakes, draw.randint(1, len(task.mistakes)))
        used, chosen = set(), []
        for mistake in some:
            if not used & mistake.flags.keys():
                used |= mistake.flags.keys()
                chosen.append(mistake)
        key = frozenset(m.name for m in chosen)
        if key in seen:
            continue
        seen.add(key)
        found = diagnosis(exam, exam.answer(*chosen))
        own = again.answer(*chosen)
        fits = own.same_values if found.get("by") == "values" else own.agrees
        for reading in found.get("found", ()):
            said = {mistake.name for mistake in reading}
            if said != key and not fits(again.answer(*reading)):
                bad.append(f"{' and '.join(sorted(key))!r} is called {' and '.join(said)!r}")
    return bad


# ---- right answers in other styles: all must pass; plain numbers, without a gradient, are amber --

def plain(y):
    """Lists and floats."""
    return y.tolist() if hasattr(y, "tolist") else y


def array(y):
    return np.array(plain(y)) if isinstance(y, (torch.Tensor, float, int)) else y


def double(y):
    return torch.as_tensor(y).double() if isinstance(y, (torch.Tensor, float, int)) else y


def boolean(y):
    """Truth values, where there are only 0 and 1."""
    parts = list(leaves(y))
    whole = all(isinstance(part, (torch.Tensor, float, int)) for part in parts)
    if not whole or not all(v in (0, 1) for part in parts
                            for v in torch.as_tensor(part).flatten().tolist()):
        return y
    return y.bool() if isinstance(y, torch.Tensor) else [bool(v) for v in parts]


def deeper(y):
    """One more dimension, of size 1."""
    return y[None] if isinstance(y, torch.Tensor) else [y]


def in_parts(style, y):
    """The style, in every part of a tuple."""
    return tuple(style(part) for part in y) if isinstance(y, tuple) else style(y)


def styles(task: Task) -> list[str]:
    """Styles in which the reference solution is refused."""
    bad, few = [], Exam(task, "check", hidden=5)
    for style in plain, array, double, boolean, deeper:
        state = judge(task, lambda *args: in_parts(style, task.right(*args)), exam=few)["state"]
        cut = task.gradients and style in (plain, array, boolean)
        if state != "right" and not (cut and state == "amber"):
            bad.append(f"right in the style {style.__name__!r} is judged {state}")
    return bad


# ---- cards ---------------------------------------------------------------------------------------

def check_card(card) -> list[str]:
    """Right values pass, each mistake has its name, the untouched file is not begun; for three
    students.
    """
    bad = [f"{len(card.hints)} hints: three are needed"] if len(card.hints) != 3 else []
    for name in ("Ada", "Zoë 学", ""):
        blank = tomllib.loads(card.starter(name))
        if card.judge(blank, name)[0] != "not begun":
            bad.append("the starter is not `not begun`")
        state = card.judge(card.good(name), name)[0]
        if state != ("amber" if card.kind == "predict" else "right"):
            bad.append(f"right values are judged {state}")
        for mistake, values in card.wrong(name).items():
            state, found, _ = card.judge(values, name)
            if state != "wrong" or found.name != mistake:
                bad.append(f"{mistake!r} is judged {state}, {found and found.name!r}")
    left = {m.name for m in card.mistakes} - {m for name in ("Ada", "Bo") for m in card.wrong(name)}
    return bad + [f"nothing makes the mistake {name!r}" for name in left if card.kind != "predict"]
