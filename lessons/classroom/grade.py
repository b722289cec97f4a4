"""Points for a class: each exercise of each student in a process of its own.

    python -m lessons check 02a 03a 06a --class class --csv points.csv

`class` holds one folder for each student, with ex02.py, ex06.py ... or notebooks, in it or in its
folders (submissions.py). A process has limits (sandbox.py). It gets the arguments
alone, calls the student's function and writes what each call gives as JSON (calling.py).
This program computes the right results and compares, so that nothing that a program changes in its
own process gives it a point. All students get the same inputs, which are drawn anew for each table.
What all have handed in is read before the first program runs. Lines are written as they are known,
into points.csv.part, and take the place of an earlier table when all are there.
"""
import csv
import json
import os
import pickle
from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import torch
from tqdm import tqdm

from lessons.classroom.calling import Seen, out_of_memory, run
from lessons.classroom.exercise import HERE, exercises
from lessons.classroom.judge import NOT_STARTED, state, verdict
from lessons.classroom.sandbox import GIGABYTES, SECONDS, how_it_ended, run_and_read
from lessons.classroom.submissions import Program, handed_in
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.files import check_writable
from nanouft.plumbing.printing import say, visible
from nanouft.plumbing.progress import progress

WAITING = 120                                       # seconds on the clock, for one exercise
FORMULA = tuple("=+-@")                           # what a formula of a spreadsheet begins with
FEW = 5                                             # names of others with the same program
LOST = 255                                          # exit code, if the fork server was ended
TRIES = 3                                           # of one exercise, if it was
COLUMNS = ["student", "exercise", "points", "what the check says", "the same program as",
           "reaches for", "file"]
Job = tuple[Path, str]                              # a student's folder and an exercise


def grade_class(folder: Path, names: list[str], table: Path) -> None:
    """Points for exercises."""
    seed = Random().random()
    keys = {name: handed_in(HERE, f"key{name[:2]}.py", exercises()[name].name) for name in names}
    write_class(folder, table, [[name] for name in names], submission, keys,
                lambda group, program: [grade(*group, program, seed=seed)])


def write_class(folder: Path, table: Path, groups: list[list[str]], submitted: Callable,
                keys: dict[str, Program | None], graded: Callable) -> None:
    """A row for each student and name, and one with the total. UserError without students.

    groups                      names that are graded in one process
    submitted(student, name)    -> his program, or None
    graded(group, program)      -> for each name "right", or what is wrong
    """
    students, names = folders_of(folder), [name for group in groups for name in group]
    check_writable(table)
    programs = {(student, name): submitted(student, name) for student in students
                for name in names}
    same = same_programs(programs, keys)
    jobs = [(student, group) for student in students for group in groups]

    def lines(job: tuple[Path, list[str]]) -> list[list]:
        student, group = job
        words = graded(group, programs[student, group[0]])
        return [[student, name, said, same[student, name],
                 *reach_and_file(student, programs[student, name])]
                for name, said in zip(group, words)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        done = progress(len(jobs), "grading", pool.map(lines, jobs))
        write_table(table, names, (line for some in done for line in some))
    say(f"{len(students)} students in {table}")


def write_table(table: Path, names: list[str], lines: Iterable[list]) -> None:
    """Each line as soon as it is known. An earlier table stays until all lines are there."""
    part, points = table.with_name(table.name + ".part"), 0
    with part.open("w", newline="", encoding="utf-8") as file:
        write = csv.writer(file).writerow
        write(COLUMNS)
        for student, name, words, *more in lines:
            right = words == "right"
            points += right
            write(cells(student.name, name, int(right), words, *more))
            if name == names[-1]:
                write(cells(student.name, "total", points, f"of {len(names)}", "", "", ""))
                say(f"{cells(student.name)[0]:<24} {points} of {len(names)}", write=tqdm.write)
                points = 0
            file.flush()
    part.replace(table)


def folders_of(folder: Path) -> list[Path]:
    """The folder of each student. UserError if there is none."""
    students = [x for x in sorted(folder.glob("*")) if x.is_dir() and x.name[0] not in "._"]
    if not students:
        raise UserError(f"{folder}: no folder of a student is there; --class wants a folder that "
                        "holds one folder for each of them")
    return students


def reach_and_file(student: Path, program: Program | None) -> tuple[str, str]:
    """What a program reaches for, and in which file it stands."""
    return (program.reaches, str(program.file.relative_to(student))) if program else ("", "")


def cells(*values: object) -> list[str]:
    """Cells of a table that any terminal and spreadsheet shows as they are: in one line, without
    control characters, and none is a formula."""
    texts = [visible(" ".join(str(x).split())) for x in values]
    texts = [x.encode("utf-8", "backslashreplace").decode() for x in texts]
    return ["'" + x if x[:1] in FORMULA else x for x in texts]


def same_programs(programs: dict[Job, Program | None], keys: dict[str, Program | None]
                  ) -> dict[Job, str]:
    """Who has handed in the same program. The key counts whatever its length, others only if the
    program is long."""
    owners = defaultdict(list)
    for name, key in keys.items():
        if key:
            owners[name, key.fingerprint].append("the key")
    for (student, name), program in programs.items():
        if program and program.fingerprint and not program.short:
            owners[name, program.fingerprint].append(student.name)
    return {job: first_names(x for x in owners[job[1], program.fingerprint] if x != job[0].name)
            if program and program.fingerprint else "" for job, program in programs.items()}


def first_names(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - FEW} more" if len(names) > FEW else ""
    return ", ".join(names[:FEW]) + more


def submission(student: Path, name: str) -> Program | None:
    """A student's program for an exercise."""
    return handed_in(student, f"ex{name[:2]}.py", exercises()[name].name)


def grade(name: str, program: Program | None, seconds: int = SECONDS, seed: float = 0) -> str:
    """Judge a student's program for an exercise."""
    exercise, file_name = exercises()[name], f"ex{name[:2]}.py"
    if program is None:
        return f"wrong: there is no file {file_name}, and no notebook with {exercise.name}"
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
        return f"no result: what it gives cannot be compared ({type(error).__name__})"


def grade_words(exercise, lines: list[bytes], code: int | None, seconds: int, cases: list[str]
                ) -> str:
    """"right", or what is wrong, in one line: from what a process wrote, and how it ended."""
    if not lines:
        return f"no result: the check itself did not begin (exit code {code}); grade again"
    try:
        first, *calls = [from_json(line) for line in lines[1:]]
    except UNREADABLE:
        first, calls = None, []
    if first and any(map(out_of_memory, [first, *calls])):
        return f"no result: out of memory, it asked for more than {GIGABYTES} GB"
    if calls and calls[-1].error == "NotImplementedError":
        return NOT_STARTED
    if first is None or (not first.words and len(calls) != len(cases)):
        begun = f"in call {len(calls) + 1} of {len(cases)}" if first else "while it was read"
        return f"no result: {how_it_ended(code, seconds, WAITING)} {begun}"
    compared = map(exercise.compared, calls, cases)
    return in_words(first.words or verdict(exercise, dict(zip(cases, compared))))


def in_words(told: str) -> str:
    """What was told of a program, for a cell of the table."""
    lines = " ".join(told.split())[:600]
    return f"wrong: {lines}" if state(told) == "wrong" else told or "right"


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
