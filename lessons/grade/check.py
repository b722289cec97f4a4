"""Are the tasks themselves in order? python -m lessons.grade --check [07a ...]

For every task: right passes in five styles; the model without flags is right; every mistake is refused and gets its own
name, on the shown cases alone and on random ones alone; two mistakes at once are refused, too; and programs with
mistakes drawn at random never get a name that is not theirs.
"""
import time
from dataclasses import replace
from random import Random

import torch

from lessons.grade.cards import tomllib
from lessons.grade.engine import RANDOM, Exam, judge, leaves
from lessons.grade.folder import all_tasks, lesson_file
from lessons.grade.task import Task

DRAWN = 200                                 # programs with mistakes at random


def main(ids: list[str]) -> int:
    """The tasks whose number begins so, all of them without any."""
    torch.set_num_threads(1)
    start, bad, mistakes, some = time.time(), 0, 0, []
    for task in all_tasks():
        if not ids or task.id.startswith(tuple(ids)):
            before = time.time()
            found = (check(task) if hasattr(task, "signature") else check_card(task)) + heading(task)
            print(f"{task.id}  {len(task.mistakes):2} mistakes  {time.time() - before:4.1f} s  {'' if found else 'ok'}",
                  *found, sep="\n      " if found else "", flush=True)
            bad += bool(found)
            mistakes += len(task.mistakes)
            some.append(task)
    print(f"{len(some)} tasks, {sum(t.core for t in some)} of them core, {mistakes} named mistakes, "
          f"{time.time() - start:.0f} s; {bad or 'none'} not in order")
    return 1 if bad else 0


def check(task: Task) -> list[str]:
    """What is not in order, one line each."""
    exam = Exam(task, "check")
    shown, hidden = range(exam.shown), range(exam.shown, exam.shown + RANDOM)
    bad = words(task) + styles(task, exam)
    model = exam.answer()
    for i in range(len(exam.args)):
        if exam.right[i].values is None:
            bad.append(f"{place(exam, i)}: right raises {exam.right[i].error}")
        elif not model.agrees(exam.right, [i]) or (model.gradient(i) is None) != (exam.right.gradient(i) is None):
            bad.append(f"{place(exam, i)}: model without flags says {model[i].values} {model.gradient(i)}, "
                       f"right {exam.right[i].values} {exam.right.gradient(i)}")
    if bad:
        return bad[:8]
    for where, cases in ("the shown cases", shown), ("random cases", hidden):
        for i, mistake in enumerate(task.mistakes):
            wrong = exam.answer(mistake)
            if wrong.agrees(exam.right, cases):
                bad.append(f"{mistake.name!r} is not refused on {where}")
            for other in task.mistakes[:i]:
                if wrong.agrees(exam.answer(other), cases):
                    bad.append(f"{mistake.name!r} is the same as {other.name!r} on {where}")
    for mistake in task.mistakes:
        found = judge(task, exam.answer(mistake), exam=exam)
        if found["state"] not in ("wrong", "amber") or found["mistake"] != mistake.name:
            bad.append(f"{mistake.name!r} is judged {found['state']}, {found['mistake']!r}")
    for a, b in exam.pairs():
        if exam.answer(a, b).agrees(exam.right):
            bad.append(f"{a.name!r} and {b.name!r} at once are right: give them a flag in common")
    return bad + laws(task, exam) + wrong_names(task, exam)


def heading(task) -> list[str]:
    """A task names a heading of its lesson."""
    text = lesson_file(task.id).read_text(encoding="utf-8")
    return [] if f" {task.heading}" in text else [f"the lesson has no heading {task.heading!r}"]


def place(exam: Exam, i: int) -> str:
    return f"case {i + 1}" if i < exam.shown else f"random case {i - exam.shown + 1}"


def words(task: Task) -> list[str]:
    """The texts of a task."""
    bad = []
    names = [m.name for m in task.mistakes]
    if len(set(names)) < len(names):
        bad.append("two mistakes have one name")
    if len(names) < 3:
        bad.append(f"{len(names)} mistakes: at least three are needed")
    if len(task.hints) != 3:
        bad.append(f"{len(task.hints)} hints: three are needed")
    bad += [f"{m.name!r}: the question has no question mark" for m in task.mistakes if "?" not in m.question]
    bad += [f"{m.name!r}: nothing to say on Monday" for m in task.mistakes if not m.say]
    return bad


# ---- right answers in other styles -----------------------------------------------------------------------------------

def plain(y):
    """Lists and floats."""
    return y.tolist() if hasattr(y, "tolist") else y


def array(y):
    import numpy as np
    return np.array(plain(y)) if isinstance(y, (torch.Tensor, float, int)) else y


def double(y):
    return torch.as_tensor(y).double() if isinstance(y, (torch.Tensor, float, int)) else y


def boolean(y):
    """Truth values, where there are only 0 and 1."""
    parts = list(leaves(y))
    whole = all(isinstance(part, (torch.Tensor, float, int)) for part in parts)
    if not whole or not all(v in (0, 1) for part in parts for v in torch.as_tensor(part).flatten().tolist()):
        return y
    return y.bool() if isinstance(y, torch.Tensor) else [bool(v) for v in parts]


def deeper(y):
    """One more dimension, of size 1."""
    return y[None] if isinstance(y, torch.Tensor) else [y]


def each(style, y):
    """The style, in every part of a tuple."""
    return tuple(style(part) for part in y) if isinstance(y, tuple) else style(y)


def styles(task: Task, exam: Exam) -> list[str]:
    bad = []
    for style in plain, array, double, boolean, deeper:
        state = judge(task, lambda *args: each(style, task.right(*args)), exam=exam)["state"]
        if state != "right":
            bad.append(f"right in the style {style.__name__!r} is judged {state}")
    return bad


def laws(task: Task, exam: Exam) -> list[str]:
    """A law holds for the right answer, and some mistake breaks it."""
    bad = []
    for law in task.laws:
        bad += [f"right breaks the law {law.words!r}" for args in exam.args if not law.holds(task.right, args)][:1]
    return bad


def wrong_names(task: Task, exam: Exam) -> list[str]:
    """Programs with one to all mistakes. A name that is not among them is allowed if no fresh case tells the two apart."""
    draw, bad, seen = Random(0), [], set()
    again = Exam(replace(task, cases=()), "again")
    by_name = {m.name: m for m in task.mistakes}
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
        found = judge(task, exam.answer(*chosen), exam=exam)
        for reading in found.get("readings", ()):
            said = [by_name[name] for name in reading]
            if set(reading) != key and not again.answer(*chosen).agrees(again.answer(*said)):
                bad.append(f"{' and '.join(sorted(key))!r} is called {' and '.join(reading)!r}")
    return bad


# ---- cards -----------------------------------------------------------------------------------------------------------

def check_card(card) -> list[str]:
    """Right values pass, each mistake gets its name, the untouched file is not begun; for three students' names."""
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
