"""One exercise of one student, in a process of its own (grade_class.py does so for a class).

The process has limits (sandbox.py). It gets the arguments alone, calls the student's function and
writes what each call gives as JSON (calling.py). This program computes the right results and
compares, so that nothing that a program changes in its own process gives it a point.
"""
import json
import pickle
from dataclasses import dataclass
from pathlib import Path

import torch

from lessons.classroom.calling import Seen, out_of_memory, run
from lessons.classroom.exercise import file_of, known
from lessons.classroom.judge import NOT_STARTED, Verdict, state, verdict
from lessons.classroom.sandbox import GIGABYTES, how_it_ended, run_and_read
from lessons.classroom.submissions import Program, handed_in

WAITING = 120                                       # seconds on the clock, for one exercise
LOST = 255                                          # exit code, if the fork server was ended
TRIES = 3                                           # of one exercise, if it was


@dataclass(frozen=True)
class Graded:
    said: str                                       # "right", or what is wrong, in some lines
    points: float = 0.0


def points_of(found: Verdict) -> Graded:
    """1 if all is right, else half of the share that is, to a tenth below."""
    kind = state(found.told)
    if kind == "right":
        return Graded("right", 1.0)
    return Graded(f"wrong:\n{found.told}" if kind == "wrong" else found.told,
                  int(5 * found.share + 1e-9) / 10)


def submission(student: Path, name: str) -> Program | None:
    """A student's program for an exercise."""
    return handed_in(student, file_of(name), known(name).name)


def grade(name: str, program: Program | None, seconds: int = 0, seed: str = "0") -> Graded:
    """Judge a student's program for an exercise. seconds: in place of its own limit."""
    exercise, file_name = known(name), file_of(name)
    seconds = seconds or exercise.seconds
    if program is None:
        return Graded(f"wrong: there is no file {file_name}, and no notebook with {exercise.name}")
    cases = exercise.cases(seed)
    calls = pickle.dumps((exercise.look, [*map(exercise.arguments, cases)]))
    words = [exercise.name, file_name, program.source, str(program.file.resolve().parent), calls]
    for _ in range(TRIES):
        written, code = run_and_read(run, words, seconds, WAITING)
        if code != LOST:
            break
    try:
        return grade_words(exercise, written.splitlines(), code, seconds, cases)
    except Exception as error:                          # one result must not end the table of all
        return Graded(f"no result: what it gives cannot be compared ({type(error).__name__})")


def grade_words(exercise, lines: list[bytes], code: int | None, seconds: int, cases: list[str]
                ) -> Graded:
    """From what a process wrote, and how it ended."""
    if not lines:
        return Graded(f"no result: the check itself did not begin (exit code {code}); grade again")
    try:
        first, *calls = [from_json(line) for line in lines[1:]]
    except UNREADABLE:
        first, calls = None, []
    if first and any(map(out_of_memory, [first, *calls])):
        return Graded(f"no result: out of memory, it asked for more than {GIGABYTES} GB")
    if calls and calls[-1].error == "NotImplementedError":
        return Graded(NOT_STARTED)
    if first is None or (not first.words and len(calls) != len(cases)):
        begun = f"in call {len(calls) + 1} of {len(cases)}" if first else "while it was read"
        return Graded(f"no result: {how_it_ended(code, seconds, WAITING)} {begun}")
    if first.words:
        return points_of(Verdict(first.words, 0))
    compared = map(exercise.compared, calls, cases)
    return points_of(verdict(exercise, dict(zip(cases, compared))))


# ---- plain data of the other process ------------------------------------------------------------
KINDS = {"float": torch.double, "bool": torch.bool, "int": torch.long}
UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, RuntimeError, OverflowError)


def from_json(line: bytes) -> Seen:
    """One of UNREADABLE if it is something else."""
    def unpacked(x):
        if isinstance(x, dict):
            return torch.tensor(x["numbers"], dtype=KINDS[x["kind"]]).view(x["shape"])
        return [unpacked(part) for part in x] if isinstance(x, list) else x
    read = json.loads(line)
    values = {what: unpacked(x) for what, x in read["values"].items()}
    return Seen(values, str(read["error"]), str(read["words"]))
