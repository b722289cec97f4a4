"""Points for a class: the eleven parts of each student's own program.

    python -m lessons.build --class class --csv points.csv

`class` holds one folder for each student, with mine.py in it or in its folders. The table is that
of lessons.check --class, with a line for each part. A program is tried in a process of its own,
with limits. Its parts are compared there, because simple.py has to be there, so a program that
changes the check can forge its points: read the column "reaches for". simple.py holds the keys.
"""
import json
import os
import re
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

from lessons.grade import Cell, folders_of, same_programs, write_table
from lessons.limits import BYTES, how_it_ended, run_limited
from lessons.parts import PARTS
from lessons.submissions import (
    BROKEN,
    SHORT,
    Program,
    bound,
    files,
    fingerprint,
    parsed,
    reaches_for,
    read,
)
from nanouft import simple
from nanouft.plumbing.files import check_writable
from nanouft.plumbing.progress import progress

IN_ALL, WAITING = 900, 1800             # seconds for all parts: of computing; on the clock
Try = Callable[[str, str, str], None]   # (a program's path, file for what is told, seed)
KEYS = re.compile(rf"\bkey\d\d\b|\blessons\.exercise|nanouft\.simple\.({'|'.join(PARTS)}|\*)$")
NO_FILE = "wrong: there is no file mine.py"


def grade_programs(folder: Path, table: Path, try_program: Try) -> None:
    """A row for each student and part, and one with the total. UserError without students."""
    students, names = folders_of(folder), list(PARTS)
    check_writable(table)
    seed, programs = str(Random().randrange(10**6)), {}
    for student in students:
        file = next((x for x in files(student, "mine.py") if x.suffix == ".py"), None)
        programs |= {(student, name): part_of(file, name) if file else None for name in names}
    same = same_programs(programs, {name: part_of(Path(simple.__file__), name) for name in names})

    def graded(student: Path) -> list[tuple[tuple[Path, str], Cell]]:
        told = tried(programs[student, names[0]], seed, try_program)
        return [((student, name), Cell(told[name], programs[student, name])) for name in names]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        done = progress(len(students), "grading", pool.map(graded, students))
        write_table(table, names, students, (line for lines in done for line in lines), same)


def tried(program: Program | None, seed: str, try_program: Try) -> dict[str, str]:
    """What is told of each part, by a process of its own."""
    if program is None:
        return dict.fromkeys(PARTS, NO_FILE)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        out = Path(scratch, "out")
        out.touch()
        words = [str(program.file.resolve()), str(out), seed]
        code = run_limited(try_program, words, IN_ALL, WAITING, Path(scratch), Path(os.devnull))
        written = out.read_bytes()[:BYTES] if out.is_file() else b""
    ended = f"no result: {how_it_ended(code, IN_ALL, WAITING)} while parts were tried"
    return words_of(written) or dict.fromkeys(PARTS, ended)


def words_of(written: bytes) -> dict[str, str]:
    """What a process wrote of each part; nothing if it is something else."""
    try:
        told = json.loads(written)
        return {name: " ".join(str(told[name]).split())[:600] for name in PARTS}
    except (ValueError, RecursionError, KeyError, TypeError):
        return {}


def part_of(file: Path, name: str) -> Program:
    """One function of a program, and what the whole program reaches for."""
    try:
        tree = parsed(read(file))
        mark, parts = fingerprint([x for x in tree.body if name in bound(x)][-1:], name)
        return Program(file, b"", mark, parts < SHORT, reaches_for(tree, KEYS))
    except (*BROKEN, OSError):
        return Program(file, reaches="cannot be read")
