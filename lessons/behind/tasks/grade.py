"""One table for a class.

    python -m lessons grade class                       # all tasks, into out/class
    python -m lessons grade class 05 gae luffy          # as for check

`class` holds one folder for each student, with mine.py or luffy.py in it, or a clone of the
project, of which the folder lessons counts. The command judges each file as `check` does, all
students by the same cases. It writes points.csv with a line for each student, and for each a file
to hand back (ada.md) and Gradescope's results.json (ada.json). Without names it skips what nobody
has handed in.

A point for what is right; what is wrong has half of the share of its cases that is right. What a
program may do to your computer, and how to shut it in: docs/teaching.md.
"""
import argparse
import csv
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import torch

from lessons.behind.lesson_list import FOLDER
from lessons.behind.tasks.child import ROOT, Called, call_file, verdict_of
from lessons.behind.tasks.task import Judge, Verdict, chosen, tasks
from nanouft.device import cores
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.files import write_json, write_text
from nanouft.plumbing.printing import quantity, say, visible

NOT_HANDED_IN = "not handed in"
OURS = [x.name for x in FOLDER.iterdir()]           # of the project: nobody's own


def grade(folder: Path, which: list[str], out: Path, seed: str) -> None:
    """Call the files of all students, then compare and write. UserError without students."""
    students = [x for x in sorted(folder.glob("*")) if x.is_dir() and x.name[0] not in "._"]
    if not students:
        raise UserError(f"{folder}: has no student folders; give the folder that has one for each "
                        "student")
    files = {name: tasks()[name].file for name in chosen(which)}
    names = [name for name, file in files.items()
             if which or any((place_of(student) / file).is_file() for student in students)]
    judges = {name: Judge(tasks()[name], seed) for name in names}

    def call_student(student: Path) -> Called:
        called: Called = {}
        for file in {files[name]: None for name in names}:      # once each, in this order
            if (place := place_of(student) / file).is_file():
                called |= call_file(place, {x: judges[x] for x in names if files[x] == file})
        return called
    rows = []
    out.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(cores()) as pool:
        for student, called in zip(students, pool.map(call_student, students)):
            marks = [mark_entry(name, verdict_of(judges[name], called[name])) if name in called
                     else {"name": name, "max_score": 1, "score": 0, "output": NOT_HANDED_IN}
                     for name in names]
            others = [x.name for x in sorted(place_of(student).iterdir())
                      if x.name not in {*files.values(), *OURS} and x.name[0] not in "._"]
            rows.append([student.name, *write_student(out, student.name, marks),
                         ", ".join(others)])
    with (out / "points.csv").open("w", newline="", encoding="utf-8",
                                   errors="backslashreplace") as file:
        csv.writer(file).writerows([["student", "points", *names, "other files"], *rows])
    say(f"{quantity(len(students), 'students')} in {out / 'points.csv'}; beside it a file to hand "
        "back to each")


def place_of(student: Path) -> Path:
    """Where the files are: in a clone of the project beside its lessons."""
    lessons = student / FOLDER.relative_to(ROOT)
    return lessons if lessons.is_dir() else student


def mark_entry(name: str, verdict: Verdict) -> dict:
    """As in Gradescope's results.json."""
    score = 1 if verdict.state == "right" else int(5 * verdict.share + 1e-9) / 10
    told = visible(verdict.told or "right")
    return {"name": name, "max_score": 1, "score": score, "output": told}


def write_student(out: Path, student: str, marks: list[dict]) -> list[str]:
    """Gradescope's results.json, and the same as a text. Points and marks, for the table."""
    points = f"{sum(x['score'] for x in marks):g}"
    text = "".join(f"\n## {x['name']}: {x['score']:g}\n\n    " + "\n    ".join(
        x["output"].splitlines()) + "\n" for x in marks)
    write_text(out / f"{student}.md", f"# {student}: {points} of {len(marks)}\n{text}")
    write_json(out / f"{student}.json", {"tests": marks})
    say(f"{student:<24} {points} of {len(marks)}")
    return [points, *(NOT_HANDED_IN if x["output"] == NOT_HANDED_IN else f"{x['score']:g}"
                      for x in marks)]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m lessons grade", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("students", type=Path, help="the folder with one folder for each student")
    parser.add_argument("which", nargs="*", help="05, mine, dpo_loss, luffy, ift [all]")
    parser.add_argument("--out", type=Path, default="out/class", help="[out/class]")
    parser.add_argument("--seed", help="seed of the cases, to repeat them [another in each run]")
    flags = parser.parse_args(arguments)
    torch.set_num_threads(1)
    seed = f"{Random().random()}" if flags.seed is None else flags.seed
    grade(flags.students, flags.which, flags.out, seed)
    return 0


if __name__ == "__main__":
    sys.exit(command(main))
