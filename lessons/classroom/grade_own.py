"""A student's mine.py, part by part, and the classes of papers, each in a process of its own
(grade_class.py does so for a class).

A program is tried with limits. It is compared in its own process, because the right program has to
be there: simple.py, or the paper's key. So a program that changes the check can forge its points:
read the column "reaches for".
"""
import ast
import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from lessons.classroom.build import IN_ALL, WAITING, try_program
from lessons.classroom.build_parts import PARTS
from lessons.classroom.grade import Graded, points_of
from lessons.classroom.judge import Verdict, assess
from lessons.classroom.paper_judge import Paper
from lessons.classroom.paper_list import PAPERS
from lessons.classroom.sandbox import SECONDS, TooLong, at_most, how_it_ended, run_and_read
from lessons.classroom.submissions import (
    BROKEN,
    KEY,
    SHORT,
    Program,
    bound,
    files,
    fingerprint,
    parse,
    reaches_for,
    read,
    slice_of,
)
from nanouft.objectives.from_file import find
from nanouft.plumbing.errors import UserError

OF_PAPER = 120, 300                     # seconds for all batches: of computing; on the clock
KEYS = re.compile(r"\bkey\d\d\b|\blessons\.(\w+\.)?exercise|"
                  rf"nanouft\.simple\.({'|'.join(PARTS)}|\*)$")


# ---- what was handed in --------------------------------------------------------------------------
def submission(student: Path, name: str) -> Program | None:
    """The student's program in which this part is looked at, or that of "paper psft"."""
    paper = name.startswith("paper ")
    found = files(student, f"{name.removeprefix('paper ')}.py" if paper else "mine.py")
    file = next((x for x in found if x.suffix == ".py"), None)
    if file is None:
        return None
    return class_in(file) if paper else part_of(file, name)


def part_of(file: Path, name: str) -> Program:
    """One function of a program, and what the whole program reaches for."""
    return read_own(file, lambda tree: (
        [x for x in tree.body if name in bound(x)][-1:], name), KEYS)


def class_in(file: Path) -> Program:
    """The last class of a file."""
    def last(tree: ast.Module) -> tuple[list[ast.stmt], str]:
        name = next((x.name for x in tree.body[::-1] if isinstance(x, ast.ClassDef)), "")
        return slice_of(tree, name), name
    return read_own(file, last, KEY)


def read_own(file: Path, wanted: Callable, keys: re.Pattern) -> Program:
    """wanted(tree): the statements that are compared, and the name that they bind."""
    try:
        tree = parse(read(file))
        mark, parts = fingerprint(*wanted(tree))
        return Program(file, b"", mark, parts < SHORT, reaches_for(tree, keys))
    except (*BROKEN, OSError):
        return Program(file, reaches="cannot be read")


# ---- grading -------------------------------------------------------------------------------------
def grade_parts(program: Program | None, seed: str) -> list[Graded]:
    """What is told of each part."""
    if program is None:
        return [Graded("wrong: there is no file mine.py")] * len(PARTS)
    words = [str(program.file.resolve()), seed]
    written, code = run_and_read(try_program, words, IN_ALL, WAITING)
    return graded_of(written, how_it_ended(code, IN_ALL, WAITING) + " while parts were")


def grade_paper(name: str, program: Program | None, seed: str) -> list[Graded]:
    if program is None:
        return [Graded(f"wrong: there is no file {name}.py")]
    words = [str(program.file.resolve()), name, seed]
    written, code = run_and_read(try_paper, words, *OF_PAPER)
    return graded_of(written, how_it_ended(code, *OF_PAPER) + " while it was", [name])


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


def try_paper(path: str, name: str, seed: str, written: str) -> None:
    """In the student's process: write what is told."""
    try:
        with at_most(SECONDS):
            own = find(path)
        found = assess(Paper(PAPERS[name]), own, seed)
    except (UserError, TooLong) as error:
        found = Verdict(str(error), 0)
    Path(written).write_text(json.dumps({name: [found.told, found.share]}), encoding="utf-8")
