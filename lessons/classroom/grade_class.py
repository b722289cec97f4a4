"""Points for a class: exercises, the parts of mine.py, guesses, papers and longer pieces.

    python -m lessons grade class                       # all of them, into out/class
    python -m lessons grade class 02a 06 parts          # an exercise, those of a lesson, the parts
    python -m lessons grade class paper "piece ift"     # all papers and one piece
    python -m lessons grade class guesses --out marks   # into another folder

`class` holds one folder for each student, with ex02.py, notebooks, mine.py, psft.py, ift.py or
out/guesses in it or in its folders (submissions.py). A paper or piece that nobody has handed in is
left out, unless it is asked for. It writes points.csv, and a file to hand back to each student into
feedback. Every program runs in a process of its own, with limits (sandbox.py), and on Linux in a
container of its own (shut_in.py).

All students get the same inputs, which are drawn anew for each table. What has been graded is kept
in graded.jsonl until the table is written. So if the command is stopped, the same command goes on.
"""
import argparse
import csv
import json
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random

import torch
from tqdm import tqdm

from lessons.classroom import grade_own, guesses
from lessons.classroom.build_parts import PARTS
from lessons.classroom.exercise import exercises, key_of, known, pieces
from lessons.classroom.grade import Graded, grade, submission
from lessons.classroom.paper_list import PAPERS
from lessons.classroom.shut_in import can_shut_in
from lessons.classroom.submissions import Program, handed_in
from nanouft import simple
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.files import check_writable
from nanouft.plumbing.printing import say, visible
from nanouft.plumbing.progress import progress

FORMULA = tuple("=+-@")                             # what a formula of a spreadsheet begins with
BY_CHOICE = ("paper", "piece")
FEW = 5                                             # names of others with the same program
WORDS = 600                                         # letters of a cell
COLUMNS = ["student", "exercise", "points", "what the check says", "the same program as",
           "reaches for", "file"]
Job = tuple[str, str]                               # a student's name and a piece of work


@dataclass
class Work:
    """What is graded in one process."""
    names: list[str]                                # each has a line of its own
    submitted: Callable[[Path, str], Program | None]
    graded: Callable[[Path, Program | None], list[Graded]]
    keys: dict[str, Program | None] = field(default_factory=dict)


def all_work(seed: str) -> dict[str, Work]:
    """In the order of the table."""
    work = {name: Work([name], submission, lambda _, program, name=name: [
                grade(name, program, seed=seed)], {name: handed_in(
                    *key_of(name), known(name).name)})
            for name in [*exercises(), *pieces()]}
    work["parts"] = Work(
        list(PARTS), grade_own.submission,
        lambda _, program: grade_own.grade_parts(program, seed),
        {name: grade_own.part_of(Path(simple.__file__), name) for name in PARTS})
    for name, facts in PAPERS.items():
        work[f"paper {name}"] = Work(
            [f"paper {name}"], grade_own.submission,
            lambda _, program, name=name: grade_own.grade_paper(name, program, seed),
            {f"paper {name}": grade_own.class_in(facts.key)})
    work["guesses"] = Work(["guesses"], lambda *_: None,
                           lambda student, _: [guesses.grade_guesses(student)])
    return work


# ---- grading ------------------------------------------------------------------------------------
def grade_class(folder: Path, which: list[str], out: Path) -> None:
    """UserError without students, or if there is no such work."""
    students = folders_of(folder)
    if not can_shut_in():
        say("This system lets a student's program write files and use the network: see Grading in "
            "docs/teaching.md.")
    check_writable(out / "points.csv")
    kept = out / "graded.jsonl"
    seed, results = read_kept(kept)
    work = chosen(all_work(seed), which)
    programs = {(student.name, name): one.submitted(student, name) for student in students
                for one in work.values() for name in one.names}
    work = {kind: one for kind, one in work.items() if which or not kind.startswith(BY_CHOICE)
            or any(programs[student.name, kind] for student in students)}
    jobs = [(student, kind) for student in students for kind in work
            if (student.name, kind) not in results]

    def graded(student: Path, kind: str) -> list[Graded]:
        return work[kind].graded(student, programs[student.name, work[kind].names[0]])
    with kept.open("a", encoding="utf-8") as file:
        for job, found in in_parallel(graded, jobs):
            results[job] = found
            line = {"student": job[0], "work": job[1], "graded": [*map(asdict, found)]}
            file.write("\n" + json.dumps(line))      # after a line that was never finished, too
            file.flush()
            if all((job[0], kind) in results for kind in work):
                show_total(job[0], [x for kind in work for x in results[job[0], kind]])
    lines = [(student, name, one) for student in students for kind, some in work.items()
             for name, one in zip(some.names, results[student.name, kind])]
    keys = {name: key for one in work.values() for name, key in one.keys.items()}
    same = same_programs(programs, keys)
    write_table(out / "points.csv", lines, programs, same)
    for student in students:
        write_feedback(out, student.name, [(name, x) for who, name, x in lines if who == student])
    kept.unlink()
    say(f"{len(students)} students in {out / 'points.csv'}, a file for each in {out / 'feedback'}")


def in_parallel(graded: Callable[[Path, str], list[Graded]], jobs: list[tuple[Path, str]]
                ) -> Iterator[tuple[Job, list[Graded]]]:
    """Each job as soon as it is done. Ctrl-C ends after those that run."""
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        waiting = {pool.submit(graded, *job): (job[0].name, job[1]) for job in jobs}
        for done in progress(len(jobs), "grading", as_completed(waiting)):
            yield waiting[done], done.result()
    finally:
        pool.shutdown(cancel_futures=True)


def read_kept(file: Path) -> tuple[str, dict[Job, list[Graded]]]:
    """The seed of the inputs and what has been graded; both are new if nothing was begun."""
    results: dict[Job, list[Graded]] = {}
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"seed": Random().randrange(10**9)}))
    first, *lines = file.read_text(encoding="utf-8").splitlines()
    for line in lines:
        try:
            read = json.loads(line)
        except ValueError:                          # the last one of a command that was ended
            continue
        results[read["student"], read["work"]] = [Graded(**x) for x in read["graded"]]
    if results:
        say(f"{file}: goes on after {len(results)} pieces of work")
    return str(json.loads(first)["seed"]), results


def chosen(work: dict[str, Work], which: list[str]) -> dict[str, Work]:
    for name in which:
        if not any(kind.startswith(name) for kind in work):
            raise UserError(f"there is no exercise {name}; give exercises as 06a, a lesson as 06, "
                            "parts, guesses, paper, piece, or one as \"piece ift\"")
    return {kind: x for kind, x in work.items() if kind.startswith(tuple(which) or "")}


def folders_of(folder: Path) -> list[Path]:
    """The folder of each student. UserError if there is none."""
    students = [x for x in sorted(folder.glob("*")) if x.is_dir() and x.name[0] not in "._"]
    if not students:
        raise UserError(f"{folder}: no folder of a student is there; it should hold one folder for "
                        "each of them")
    return students


# ---- the same program ---------------------------------------------------------------------------
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
            owners[name, program.fingerprint].append(student)
    return {job: first_names(x for x in owners[job[1], program.fingerprint] if x != job[0])
            if program and program.fingerprint else "" for job, program in programs.items()}


def first_names(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - FEW} more" if len(names) > FEW else ""
    return ", ".join(names[:FEW]) + more


# ---- what is written ----------------------------------------------------------------------------
def show_total(student: str, found: list[Graded]) -> None:
    points = sum(x.points for x in found)
    say(f"{one_line(student):<24} {points:g} of {len(found)}", write=tqdm.write)


def write_table(table: Path, lines: list[tuple[Path, str, Graded]],
                programs: dict[Job, Program | None], same: dict[Job, str]) -> None:
    """A line for each student and piece of work, and one with the total. An earlier table stays
    until all lines are there."""
    part, found = table.with_name(table.name + ".part"), defaultdict(list)
    with part.open("w", newline="", encoding="utf-8") as file:
        write = csv.writer(file).writerow
        write(COLUMNS)
        for k, (student, name, one) in enumerate(lines):
            program = programs[student.name, name]
            where = program.file.relative_to(student) if program else ""
            write(cells(student.name, name, f"{one.points:g}", one_line(one.said)[:WORDS],
                        same[student.name, name], program.reaches if program else "", where))
            found[student].append(one.points)
            if k + 1 == len(lines) or lines[k + 1][0] != student:
                write(cells(student.name, "total", f"{sum(found[student]):g}",
                            f"of {len(found[student])}", "", "", ""))
    part.replace(table)


def write_feedback(out: Path, student: str, found: list[tuple[str, Graded]]) -> None:
    """The file to hand back: points, and what the check says in full."""
    points = sum(x.points for _, x in found)
    lines = [f"# {one_line(student)}: {points:g} of {len(found)} points"]
    for name, one in found:
        lines += ["", f"## {name}: {one.points:g}", ""]
        lines += [f"    {visible(line)}" for line in one.said.splitlines()]
    (out / "feedback").mkdir(exist_ok=True)
    text = "\n".join(lines) + "\n"
    (out / "feedback" / f"{student}.md").write_bytes(text.encode("utf-8", "backslashreplace"))


def one_line(text: object) -> str:
    """Without control characters, and without letters that no file can hold."""
    found = visible(" ".join(str(text).split()))
    return found.encode("utf-8", "backslashreplace").decode()


def cells(*values: object) -> list[str]:
    """Cells of a table that any terminal and spreadsheet shows as they are: none is a formula."""
    texts = [one_line(x) for x in values]
    return ["'" + x if x[:1] in FORMULA else x for x in texts]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m lessons grade", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("students", type=Path, help="the folder that holds a folder for each")
    parser.add_argument("which", nargs="*", help="an exercise as 06a, a lesson as 06, parts, "
                        "guesses, paper, piece [all]")
    parser.add_argument("--out", type=Path, default="out/class",
                        help="where points and files go [out/class]")
    flags = parser.parse_args(arguments)
    torch.set_num_threads(1)
    grade_class(flags.students, flags.which, flags.out)
    return 0


if __name__ == "__main__":
    sys.exit(command(main))
