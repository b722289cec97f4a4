"""The class of a paper that one student has handed in, in a process of its own (grade_class.py does
so for a class of students).

The file is psft.py for the paper psft. As with the parts, the right program has to be in the same
process, so "reaches for" matters.
"""
import ast
import json
from pathlib import Path

from lessons.classroom.grade import Graded
from lessons.classroom.grade_parts import graded_of
from lessons.classroom.judge import Verdict, assess
from lessons.classroom.paper_judge import Paper
from lessons.classroom.paper_list import PAPERS
from lessons.classroom.sandbox import SECONDS, TooLong, at_most, how_it_ended, run_and_read
from lessons.classroom.submissions import (
    BROKEN,
    SHORT,
    Program,
    files,
    fingerprint,
    parse,
    reaches_for,
    read,
    slice_of,
)
from nanouft.objectives.from_file import find
from nanouft.plumbing.errors import UserError

IN_ALL, WAITING = 120, 300              # seconds for all batches: of computing; on the clock


def submission(student: Path, name: str) -> Program | None:
    """name: as "paper psft"."""
    found = files(student, f"{name.split()[1]}.py")
    return next((class_in(file) for file in found if file.suffix == ".py"), None)


def class_in(file: Path) -> Program:
    """The last class of a file."""
    try:
        tree = parse(read(file))
        name = next((x.name for x in tree.body[::-1] if isinstance(x, ast.ClassDef)), "")
        mark, parts = fingerprint(slice_of(tree, name), name)
        return Program(file, b"", mark, parts < SHORT, reaches_for(tree))
    except (*BROKEN, OSError):
        return Program(file, reaches="cannot be read")


def grade_paper(name: str, program: Program | None, seed: str) -> Graded:
    if program is None:
        return Graded(f"wrong: there is no file {name}.py")
    words = [str(program.file.resolve()), name, seed]
    written, code = run_and_read(try_paper, words, IN_ALL, WAITING)
    return graded_of(written, how_it_ended(code, IN_ALL, WAITING) + " while it was", [name])[0]


def try_paper(path: str, name: str, seed: str, written: str) -> None:
    """In the student's process: write what is told."""
    try:
        with at_most(SECONDS):
            own = find(path)
        found = assess(Paper(PAPERS[name]), own, seed)
    except (UserError, TooLong) as error:
        found = Verdict(str(error), 0)
    Path(written).write_text(json.dumps({name: [found.told, found.share]}), encoding="utf-8")
