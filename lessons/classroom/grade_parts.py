"""The twelve parts of one student's own program, in a process of its own (grade_class.py does so
for a class).

A program is tried with limits. Its parts are compared in its own process, because simple.py has to
be there, so a program that changes the check can forge its points: read the column "reaches for".
simple.py holds the keys.
"""
import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from lessons.classroom.build_parts import PARTS
from lessons.classroom.grade import Graded, points_of
from lessons.classroom.judge import Verdict
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

IN_ALL, WAITING = 900, 1800             # seconds for all parts: of computing; on the clock
Try = Callable[[str, str, str], None]   # (a program's path, seed, file for what is told)
KEYS = re.compile(r"\bkey\d\d\b|\blessons\.(\w+\.)?exercise|"
                  rf"nanouft\.simple\.({'|'.join(PARTS)}|\*)$")


def submission(student: Path, name: str) -> Program | None:
    """The student's program, in which this part is looked at."""
    found = (x for x in files(student, "mine.py") if x.suffix == ".py")
    return next((part_of(file, name) for file in found), None)


def grade_parts(program: Program | None, seed: str, try_program: Try) -> list[Graded]:
    """What is told of each part, by a process of its own."""
    if program is None:
        return [Graded("wrong: there is no file mine.py")] * len(PARTS)
    words = [str(program.file.resolve()), seed]
    written, code = run_and_read(try_program, words, IN_ALL, WAITING)
    return graded_of(written, how_it_ended(code, IN_ALL, WAITING) + " while parts were")


def graded_of(written: bytes, ended: str, names: Iterable[str] = PARTS) -> list[Graded]:
    """What a process wrote of each part before it ended."""
    try:
        found = dict(json.loads(written))
        verdicts = {name: Verdict(str(told), min(1.0, max(0.0, float(share))))
                    for name, (told, share) in found.items()}
    except (ValueError, RecursionError, TypeError, AttributeError):
        verdicts = {}
    return [points_of(verdicts[name]) if name in verdicts else
            Graded(f"no result: {ended} tried") for name in names]


def part_of(file: Path, name: str) -> Program:
    """One function of a program, and what the whole program reaches for."""
    try:
        tree = parse(read(file))
        mark, parts = fingerprint([x for x in tree.body if name in bound(x)][-1:], name)
        return Program(file, b"", mark, parts < SHORT, reaches_for(tree, KEYS))
    except (*BROKEN, OSError):
        return Program(file, reaches="cannot be read")
