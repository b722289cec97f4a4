"""Points for a class: the twelve parts of each student's own program.

    python -m lessons build --class class --csv points.csv

`class` holds one folder for each student, with mine.py in it or in its folders. The table is that
of `lessons check --class`, with a line for each part. A program is tried in a process of its own,
with limits. Its parts are compared there, because simple.py has to be there, so a program that
changes the check can forge its points: read the column "reaches for". simple.py holds the keys.
"""
import json
import re
from collections.abc import Callable
from pathlib import Path
from random import Random

from lessons.classroom.build_parts import PARTS
from lessons.classroom.grade import in_words, write_class
from lessons.classroom.sandbox import how_it_ended, run_and_read
from lessons.classroom.submissions import (
    BROKEN,
    SHORT,
    Program,
    bound,
    files,
    fingerprint,
    parse,
    reaches_for,
    read,
)
from nanouft import simple

IN_ALL, WAITING = 900, 1800             # seconds for all parts: of computing; on the clock
Try = Callable[[str, str, str], None]   # (a program's path, seed, file for what is told)
KEYS = re.compile(r"\bkey\d\d\b|\blessons\.(\w+\.)?exercise|"
                  rf"nanouft\.simple\.({'|'.join(PARTS)}|\*)$")


def grade_programs(folder: Path, table: Path, try_program: Try) -> None:
    """Points for the parts."""
    seed, keys = str(Random().randrange(10**6)), Path(simple.__file__)
    write_class(folder, table, [list(PARTS)], submission,
                {name: part_of(keys, name) for name in PARTS},
                lambda _, program: try_parts(program, seed, try_program))


def submission(student: Path, name: str) -> Program | None:
    """The student's program, in which this part is looked at."""
    found = (x for x in files(student, "mine.py") if x.suffix == ".py")
    return next((part_of(file, name) for file in found), None)


def try_parts(program: Program | None, seed: str, try_program: Try) -> list[str]:
    """What is told of each part, by a process of its own."""
    if program is None:
        return ["wrong: there is no file mine.py"] * len(PARTS)
    words = [str(program.file.resolve()), seed]
    written, code = run_and_read(try_program, words, IN_ALL, WAITING)
    ended = f"no result: {how_it_ended(code, IN_ALL, WAITING)} while parts were tried"
    return words_of(written) or [ended] * len(PARTS)


def words_of(written: bytes) -> list[str]:
    """What a process wrote of each part; nothing if it is something else."""
    try:
        told = json.loads(written)
        return [in_words(str(told[name])) for name in PARTS]
    except (ValueError, RecursionError, KeyError, TypeError):
        return []


def part_of(file: Path, name: str) -> Program:
    """One function of a program, and what the whole program reaches for."""
    try:
        tree = parse(read(file))
        mark, parts = fingerprint([x for x in tree.body if name in bound(x)][-1:], name)
        return Program(file, b"", mark, parts < SHORT, reaches_for(tree, KEYS))
    except (*BROKEN, OSError):
        return Program(file, reaches="cannot be read")
