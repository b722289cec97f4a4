"""One table for a class.

    python -m lessons grade class                       # all tasks, into out/class
    python -m lessons grade class 02a 06 mine psft      # as for check

`class` holds one folder for each student, with ex02.py, mine.py, psft.py or notebooks in it or in
its folders. It writes points.csv with a line for each student, and for each a file to hand back
(ada.md) and Gradescope's results.json (ada.json). Without names it skips what nobody has handed in.
All students get the same cases.

A mark belongs to the bytes that it was given for: the program, what it may import, and the judge.
The same command grades whatever has changed since, also in tasks of earlier calls, and keeps the
other marks. With another --out it starts again.

Programs run in processes of their own, with limits, and with bubblewrap in a container (child.py).
A point for what is right; what is wrong has half of the share of its cases that is right.
"""
import argparse
import csv
import inspect
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import torch
from tqdm import tqdm

from lessons.behind.tasks.call import Seen
from lessons.behind.tasks.child import OUT_OF_TIME, ROOT, no_container, run_all
from lessons.behind.tasks.submission import (
    FREE,
    NOT_HANDED_IN,
    NOT_READ,
    Student,
    hash_of_judge,
    job_for,
    warn_without_container,
)
from lessons.behind.tasks.task import HERE, KEYS, STUBS, Judge, Verdict, chosen, tasks
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.files import read_text, write_json, write_text
from nanouft.plumbing.printing import progress, quantity, say, visible
from nanouft.run.device import cores
from nanouft.run.folder import locked


# ---- marks ---------------------------------------------------------------------------------------
def version(name: str, seed: str) -> str:
    """Of the judge of a task: its programs, its key and its cases."""
    task = tasks()[name]
    used = {*HERE.glob("behind/tasks/*.py"), *HERE.glob("papers/pieces/*.py"),
            *ROOT.glob("nanouft/**/*.py"),
            KEYS / task.file, STUBS / task.file, Path(inspect.getfile(task.right))}
    return hash_of_judge(name, seed, *(x.read_bytes() for x in sorted(used) if x.exists()))


def mark_entry(name: str, verdict: Verdict, belongs_to: str = "") -> dict:
    """As in Gradescope's results.json, where extra_data is free."""
    return {"name": name, "max_score": 1, "output": visible(verdict.told or "right"),
            "score": 1 if verdict.state == "right" else int(5 * verdict.share + 1e-9) / 10,
            "extra_data": {"belongs_to": belongs_to, "container": not no_container()}}


def new_mark(judge: Judge, name: str, seen: list[Seen] | str, belongs_to: str) -> dict:
    """One result must not end the table of all. If the process was ended before its time, perhaps
    by a full computer, the mark belongs to nothing, and the next call tries it again."""
    if isinstance(seen, str):
        return mark_entry(name, Verdict(seen, 0), belongs_to if OUT_OF_TIME in seen else "")
    try:
        return mark_entry(name, judge.verdict(seen), belongs_to)
    except Exception as error:
        verdict = Verdict(f"its result cannot be compared ({type(error).__name__})", 0)
        return mark_entry(name, verdict, belongs_to)


# ---- a class -------------------------------------------------------------------------------------
def grade_class(folder: Path, which: list[str], out: Path) -> None:
    if not folder.is_dir():
        raise UserError(f"{folder}: does not exist")
    there = [x for x in sorted(folder.glob("*")) if x.name[0] != "."]
    folders = [x for x in there if x.is_dir() and not x.is_symlink() and x.name[0] != "_"]
    if not folders:
        raise UserError(f"{folder}: has no student folders; give the folder that has one for each "
                        "student")
    if no_student := [x.name for x in there if x not in folders]:
        say("Not graded (no folder, a link, or a name that begins with _): "
            + ", ".join(no_student))
    warn_without_container()
    out.mkdir(parents=True, exist_ok=True)
    if not (out / "seed.txt").exists():
        write_text(out / "seed.txt", str(Random().randrange(10**9)))
    with locked(out, "seed.txt"):
        grade_students([Student(x, out) for x in folders], folder, which, out)


def grade_students(students: list[Student], folder: Path, which: list[str], out: Path) -> None:
    """Those without a mark that belongs to them; then the table of all."""
    seed = read_text(out / "seed.txt")
    earlier = {name for student in students for name in student.marks}
    versions = {name: version(name, seed) for name in tasks() if name in {*earlier, *chosen(which)}}
    for student in students:
        student.find(versions)
    names = [name for name in versions if which or name in earlier
             or any(name in student.programs for student in students)]
    judges = {name: Judge(tasks()[name], seed) for name in names
              if any(name in student.unmarked() for student in students)}

    def run(student: Student) -> dict[str, list[Seen] | str]:
        jobs = [job_for(name, judges[name], *student.programs[name])
                for name in student.unmarked()]
        return run_all(jobs, student.folder.resolve(), [folder.resolve(), out.resolve()])
    pool = ThreadPoolExecutor(cores())
    try:
        for student, seen_by_task in progress(len(students), "grading", zip(
                students, pool.map(run, students)), unit="student"):
            for name, seen in seen_by_task.items():
                student.marks[name] = new_mark(judges[name], name, seen, student.belongs[name])
            for name in names:
                if name not in student.programs:
                    student.marks[name] = mark_entry(name, Verdict(NOT_HANDED_IN, 0))
            write_results(out, student, names)
    finally:
        pool.shutdown(cancel_futures=True)
    write_table(out, students, names)
    say(f"{quantity(len(students), 'students')} in {out / 'points.csv'}; beside it a file to hand "
        "back to each")
    if gone := {x.stem for x in out.glob("*.json")} - {x.name for x in students}:
        say(f"Not in the table, because {folder} has no such folder: {', '.join(sorted(gone))}")


def one_line(text: object) -> str:
    """As any terminal and spreadsheet shows it: no control characters, and no formula."""
    said = visible(" ".join(str(text).split())).encode("utf-8", "backslashreplace").decode()
    return "'" + said if said[:1] in tuple("=+-@") else said


def write_results(out: Path, student: Student, names: list[str]) -> None:
    """Gradescope's results.json, the same as a text, and a line."""
    marks = [student.marks[name] for name in names]
    total = sum(x["score"] for x in marks)
    line = "; ".join([f"{total:g} of {len(marks)}", *(
        f"{what}: {', '.join(remarks)}" for what, remarks in student.remarks(names).items()
        if remarks)])
    text = "".join(f"\n## {x['name']}: {x['score']:g}\n\n    " + "\n    ".join(
        x["output"].splitlines()) + "\n" for x in marks)
    write_text(out / f"{student.name}.md", f"# {one_line(student.name)}: {line}\n{text}")
    write_json(out / f"{student.name}.json", {"score": total, "output": line, "tests": marks})
    say(f"{one_line(student.name):<24} {one_line(line)}", write=tqdm.write)


def write_table(out: Path, students: list[Student], names: list[str]) -> None:
    with (out / "points.csv").open("w", newline="", encoding="utf-8") as file:
        write = csv.writer(file).writerow
        write(["student", "points", *names, FREE, NOT_READ])
        for student in students:
            scores = [student.marks[name]["score"] for name in names]
            remarks = student.remarks(names)
            write([one_line(x) for x in (
                student.name, f"{sum(scores):g}",
                *(f"{x:g}" if name in student.programs else NOT_HANDED_IN
                  for name, x in zip(names, scores)),
                " ".join(remarks[FREE]), ", ".join(remarks[NOT_READ]))])


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m lessons grade", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("students", type=Path, help="the folder with one folder for each student")
    parser.add_argument("which", nargs="*", help="06a, 06, mine, dpo_loss, psft, ift [all]")
    parser.add_argument("--out", type=Path, default="out/class", help="[out/class]")
    flags = parser.parse_args(arguments)
    torch.set_num_threads(1)
    grade_class(flags.students, flags.which, flags.out)
    return 0


if __name__ == "__main__":
    sys.exit(command(main))
