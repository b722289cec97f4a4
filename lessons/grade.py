"""Points for a class: each exercise of each student in a process of its own.

    python -m lessons.check 02a 03a 06a --class class --csv points.csv

`class` holds one folder for each student, with ex02.py, ex06.py ... or notebooks, in it or in its
folders (lessons/submissions.py). A process has limits (lessons/limits.py). It calls the student's
function and writes what each call gives as JSON. This program computes the right results and
compares, so that nothing that a program changes in its own process gives it a point. All students
get the same inputs, which are drawn anew for each table.
"""
import csv
import json
import os
import sys
import tempfile
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import IO

import torch

from lessons.exercise import (
    HERE,
    NOT_STARTED,
    Seen,
    attempt_draw,
    draws,
    exercises,
    function_in,
    verdict,
)
from lessons.limits import BYTES, GIGABYTES, SECONDS, how_it_ended, run_limited
from lessons.submissions import FEW, Program, handed_in
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.files import check_writable
from nanouft.plumbing.own_code import error_line
from nanouft.plumbing.printing import say, visible
from nanouft.plumbing.progress import progress

WAITING = 300                                       # seconds on the clock, for one exercise
FORMULA = ("=", "+", "-", "@", "\t")                # with these a formula begins in spreadsheets
COLUMNS = ["student", "exercise", "points", "what the check says", "the same program as",
           "reaches for", "file"]


@dataclass
class Cell:
    """One exercise of one student."""
    words: str                                      # "right", or what is wrong
    program: Program | None = None
    same: str = ""                                  # others who handed in the same program


def grade_class(folder: Path, names: list[str], table: Path) -> None:
    """A row for each student and exercise, and one with the total. UserError without students."""
    students = [x for x in sorted(folder.glob("*")) if x.is_dir() and x.name[0] not in "._"]
    if not students:
        raise UserError(f"{folder}: no folder of a student is there; --class wants a folder that "
                        "holds one folder for each of them")
    check_writable(table)
    seed, jobs = Random().random(), [(student, name) for student in students for name in names]
    unfinished = table.with_name(table.name + ".unfinished")
    with ThreadPoolExecutor(os.cpu_count()) as pool, opened(unfinished) as file:
        graded = pool.map(lambda job: cell_of(*job, seed), jobs)
        cells = {}
        for job, cell in zip(jobs, progress(len(jobs), "grading", graded)):
            cells[job] = cell
            csv.writer(file).writerow(row_of(*job, cell))
    mark_same_programs(cells)
    with opened(unfinished) as file:
        write = csv.writer(file).writerow
        write(COLUMNS)
        for student in students:
            points = sum(cells[student, name].words == "right" for name in names)
            for name in names:
                write(row_of(student, name, cells[student, name]))
            write([as_text(student.name), "total", points, f"of {len(names)}", "", "", ""])
            say(f"{student.name:<24} {points} of {len(names)}")
    unfinished.replace(table)                           # an older table stays until here
    say(f"{len(students)} students in {table}")


def cell_of(student: Path, name: str, seed: float) -> Cell:
    """Judge one exercise of one student. Whatever cannot be graded costs nobody else a point."""
    try:
        return grade(student, name, seed=seed)
    except Exception as error:                          # a file that may not be read, for example
        why = " ".join(error_line(error, "").split())
        return Cell(f"no result: it cannot be graded ({why}); look at it")


def opened(table: Path) -> IO[str]:
    """A table whose lines are kept one by one. Parts of names and texts that are no characters are
    written out."""
    return table.open("w", 1, encoding="utf-8", errors="backslashreplace", newline="")


def row_of(student: Path, name: str, cell: Cell) -> list:
    program = cell.program
    where, reaches = (program.file.relative_to(student), program.reaches) if program else ("", "")
    told = [as_text(x) for x in (cell.words, cell.same, reaches, where)]
    return [as_text(student.name), name, int(cell.words == "right"), *told]


def as_text(told: object) -> str:
    """What a student wrote, as a cell that shows it: a spreadsheet computes what begins with =."""
    text = visible(str(told))
    return f"'{text}" if text.startswith(FORMULA) else text


def mark_same_programs(cells: dict[tuple[Path, str], Cell]) -> None:
    """Write into each cell who has handed in the same program, the key included. A short program
    is compared with the key alone."""
    owners, keys = defaultdict(list), {}
    for name in dict.fromkeys(name for _, name in cells):
        key = handed_in(HERE, f"key{name[:2]}.py", exercises()[name].name)
        keys[name] = key.fingerprint if key else ""
    begun = {job: cell for job, cell in cells.items() if cell.program and cell.program.fingerprint}
    for (student, name), cell in begun.items():
        if not cell.program.is_short:
            owners[name, cell.program.fingerprint].append(student.name)
    for (student, name), cell in begun.items():
        found = [x for x in owners[name, cell.program.fingerprint] if x != student.name]
        if cell.program.fingerprint == keys[name]:
            found.insert(0, "the key (short)" if cell.program.is_short else "the key")
        cell.same = first_names(found)


def first_names(names: list[str]) -> str:
    more = f" and {len(names) - FEW} more" if len(names) > FEW else ""
    return ", ".join(names[:FEW]) + more


def grade(student: Path, name: str, seconds: int = SECONDS, seed: float = 0) -> Cell:
    """Judge one exercise of one student."""
    exercise = exercises()[name]
    file_name = f"ex{name[:2]}.py"
    program = handed_in(student, file_name, exercise.name)
    if program is None:
        return Cell(f"wrong: there is no file {file_name}, and no notebook with {exercise.name}")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        file, out = program.file.resolve(), Path(scratch, "out")
        if program.source is not None:
            file = Path(scratch, file_name)
            file.write_text(program.source, encoding="utf-8")
        out.touch()
        words = [name, str(file), str(program.file.resolve().parent), str(out), str(seed)]
        code = run_limited(run, words, seconds, WAITING, Path(scratch), Path(os.devnull))
        with out.open("rb") as written:
            lines = written.read(BYTES).splitlines()
    return Cell(grade_words(exercise, lines, code, seconds, draws(seed)), program)


def grade_words(exercise, lines: list[bytes], code: int | None, seconds: int, keys: list[str]
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
    if first is None or (not first.words and len(calls) != len(keys)):
        begun = f"in call {len(calls) + 1} of {len(keys)}" if first else "while it was read"
        return f"no result: {how_it_ended(code, seconds, WAITING)} {begun}"
    wrong = first.words or verdict(exercise, dict(zip(keys, calls)))
    return f"wrong: {' '.join(wrong.split())[:600]}" if wrong else "right"


def out_of_memory(call: Seen) -> bool:
    return "MemoryError" in call.error + call.words or "allocate memory" in call.words


# ---- plain data between the processes -----------------------------------------------------------
KINDS = {"float": torch.double, "bool": torch.bool, "int": torch.long}


UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, RuntimeError, OverflowError)


def to_json(seen: Seen) -> bytes:
    def packed(x):
        if isinstance(x, torch.Tensor):
            kind = {torch.double: "float", torch.bool: "bool"}.get(x.dtype, "int")
            return {"kind": kind, "shape": list(x.shape), "numbers": x.flatten().tolist()}
        return [packed(part) for part in x] if isinstance(x, list) else x
    values = {what: packed(x) for what, x in seen.values.items()}
    return json.dumps(asdict(Seen({}, seen.error, seen.words)) | {"values": values}).encode()


def from_json(line: bytes) -> Seen:
    """One of UNREADABLE if it is something else."""
    def unpacked(x):
        if isinstance(x, dict):
            return torch.tensor(x["numbers"], dtype=KINDS[x["kind"]]).view(x["shape"])
        return [unpacked(part) for part in x] if isinstance(x, list) else x
    read = json.loads(line)
    values = {what: unpacked(x) for what, x in read["values"].items()}
    return Seen(values, str(read["error"]), str(read["words"]))


# ---- the student's process ----------------------------------------------------------------------
def run(name: str, file: str, folder: str, written: str, seed: str) -> None:
    """Call the function of an exercise in a file, and write a line for each call. folder: where the
    file was handed in, or the notebook from which it was taken."""
    out, exercise = os.open(written, os.O_WRONLY), exercises()[name]
    sys.path.insert(0, folder)                          # a file may import its neighbour
    os.write(out, to_json(Seen()) + b"\n")              # from here on it is the student's program
    function, missing = function_in(Path(file), exercise.name)
    os.write(out, to_json(Seen(words=missing)) + b"\n")
    for k in draws(seed) if function else []:
        seen = attempt_draw(exercise, function, k)
        os.write(out, to_json(seen) + b"\n")
        if seen.error == "NotImplementedError" or out_of_memory(seen):
            break
