"""One table for a class.

    python -m lessons grade class                       # all tasks, into out/class
    python -m lessons grade class 02a 06 mine psft      # as for check

`class` holds one folder for each student, with ex02.py, mine.py, psft.py or notebooks in it or in
its folders. It writes points.csv with a line for each student, and for each a file to hand back
(ada.md) and Gradescope's results.json (ada.json). Without names it leaves out what nobody has
handed in. All students get the same cases.

A mark belongs to the bytes that it was given for: the program, what it may import, and the judge.
The same command grades whatever has changed since, also in tasks of earlier calls, and keeps the
other marks. With another --out it begins anew.

Programs run in processes of their own, with limits, and with bubblewrap in a container (child.py).
A point for what is right; what is wrong has half of the share of its cases that is right.
"""
import argparse
import ast
import csv
import hashlib
import inspect
import json
import os
import re
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from pathlib import Path
from random import Random

import torch

from lessons.tasks.call import Seen
from lessons.tasks.child import ROOT, Job, no_container, run_all
from lessons.tasks.task import HERE, KEYS, STUBS, Judge, Verdict, chosen, tasks
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.files import write_json, write_text
from nanouft.plumbing.printing import progress, quantity, say, visible

LARGEST = 2**22                     # bytes of a file
SHORT = 50                          # nodes of a program that everybody writes alike
DEFINED = (ast.FunctionDef, ast.ClassDef)
BROKEN = (SyntaxError, ValueError, RecursionError, MemoryError)
NOT_HANDED_IN, FREE, NOT_READ = "not handed in", "without a container", "not read"


# ---- what was handed in --------------------------------------------------------------------------
def files(student: Path) -> list[Path]:
    """Programs and notebooks, those that lie least deep first. In a clone of the project only the
    exercises are the student's."""
    found = []
    for folder, inside, here in os.walk(student):
        inside[:] = sorted(x for x in inside if x[0] not in "._"
                           and not Path(folder, x, "pyvenv.cfg").exists())
        found += [Path(folder, x) for x in sorted(here) if x.endswith((".py", ".ipynb"))]
    return sorted((x for x in found if not is_ours(x.relative_to(student))),
                  key=lambda x: (len(x.parts), x.suffix))


def is_ours(file: Path) -> bool:
    """Has the project a file in such a place, other than an exercise?"""
    ends = (Path(*file.parts[k:]) for k in range(len(file.parts) - 1))
    return file.parent.name != STUBS.name and any((ROOT / x).exists() for x in ends)


def text_of(file: Path) -> str:
    """Of a notebook: imports, definitions and constants of all cells that Python can read."""
    if file.is_symlink() or not file.is_file() or file.stat().st_size > LARGEST:
        raise OSError("a link, no plain file, or too large")
    text = file.read_text(encoding="utf-8-sig", errors="replace")
    if file.suffix == ".py":
        return text
    kept = []
    for cell in json.loads(text)["cells"]:
        lines = "".join(cell["source"] if cell["cell_type"] == "code" else "").splitlines()
        try:
            tree = ast.parse("\n".join("" if x.lstrip()[:1] in ("%", "!") else x for x in lines))
        except BROKEN:
            continue
        kept += [ast.unparse(x) for x in tree.body if isinstance(
            x, (*DEFINED, ast.Import, ast.ImportFrom)) or isinstance(x, ast.Assign)
            and not any(isinstance(y, ast.Call) for y in ast.walk(x))]
    return "\n".join(kept)


def definition(text: str, name: str) -> ast.stmt | None:
    """Of this name, or of the last class; None if there is none or it is still a stub."""
    try:
        made = [x for x in ast.parse(text).body if isinstance(x, DEFINED)
                and (x.name == name if name else isinstance(x, ast.ClassDef))]
        stub = made and "NotImplementedError" in ast.unparse(made[-1].body[-1])
    except BROKEN:                                      # nested too deep, for example
        return None
    return None if stub or not made else made[-1]


class Student:
    """What a student has handed in, and the marks of earlier calls."""

    def __init__(self, folder: Path, out: Path):
        self.folder, self.name = folder, folder.name
        self.texts: dict[Path, str] = {}
        self.not_read: list[str] = []
        for file in files(folder):
            try:
                self.texts[file] = text_of(file)
            except (*BROKEN, OSError, LookupError, TypeError) as error:
                self.not_read.append(f"{file.relative_to(folder)} ({error!r:.60})")
        self.beside = hashed(*self.neighbours())
        # by the names of tasks:
        self.programs: dict[str, tuple[Path, str]] = {}
        self.belongs: dict[str, str] = {}
        self.marks = marks_in(out / f"{self.name}.json")

    def neighbours(self) -> Iterator[tuple[str, bytes]]:
        """Files that a program may import: those for no task, and those that an import names."""
        imports = (line for text in self.texts.values() for line in text.splitlines()
                   if "import" in line)
        named = {word for line in imports for word in re.findall(r"\w+", line)}
        of_tasks = {task.file for task in tasks().values()}
        for file in self.texts:
            if file.suffix == ".py" and (file.name not in of_tasks or file.stem in named):
                yield str(file.relative_to(self.folder)), file.read_bytes()

    def program(self, name: str) -> tuple[Path, str] | None:
        """The file for a task, and its text: the first that has begun it, else the first."""
        task, found = tasks()[name], []
        for file, text in self.texts.items():
            if file.name == task.file or file.suffix == ".ipynb" and task.name:
                begun = definition(text, task.name) is not None
                if begun or file.suffix == ".py":
                    found.append((not begun, len(found), file, text))
        return min(found)[2:] if found else None

    def find(self, versions: dict[str, str]) -> None:
        """The programs for these tasks, and what the mark of each belongs to."""
        for name, version in versions.items():
            if program := self.program(name):
                file, text = self.programs[name] = program
                self.belongs[name] = hashed(version, str(file.relative_to(self.folder)), text,
                                            self.beside)

    def unmarked(self) -> list[str]:
        """Programs without a mark that belongs to them."""
        return [name for name, mine in self.belongs.items() if name not in self.marks
                or self.marks[name]["extra_data"]["belongs_to"] != mine]

    def remarks(self, names: list[str]) -> dict[str, list[str]]:
        return {NOT_HANDED_IN: [name for name in names if name not in self.programs],
                NOT_READ: self.not_read,
                FREE: [name for name in names if name in self.programs
                       and not self.marks[name]["extra_data"]["container"]]}


def fingerprint(text: str, name: str) -> tuple[str, bool]:
    """Equal for programs that differ in names of their own, comments and docstrings; is it
    short?"""
    made, numbers = definition(text, name), {}
    if made is None:
        return "", True
    for node in ast.walk(made):
        if isinstance(node, DEFINED) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    own = {x.id for x in ast.walk(made) if isinstance(x, ast.Name) and isinstance(x.ctx, ast.Store)}
    own |= {x.arg for x in ast.walk(made) if isinstance(x, ast.arg)} | {made.name}
    for node in ast.walk(made):
        for what in ("id", "arg", "name"):
            if (word := getattr(node, what, None)) in own:
                setattr(node, what, str(numbers.setdefault(word, len(numbers))))
        if isinstance(node, ast.arg):
            node.annotation = None
    return ast.dump(made), sum(1 for _ in ast.walk(made)) < SHORT


# ---- marks ---------------------------------------------------------------------------------------
def hashed(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def version(name: str, seed: str) -> str:
    """Of the judge of a task: its programs, its key and its cases."""
    task = tasks()[name]
    used = {*HERE.glob("tasks/*.py"), *HERE.glob("pieces/*.py"), *ROOT.glob("nanouft/**/*.py"),
            KEYS / task.file, STUBS / task.file, Path(inspect.getfile(task.right))}
    return hashed(name, seed, *(x.read_bytes() for x in sorted(used) if x.exists()))


def marks_in(file: Path) -> dict[str, dict]:
    """Those of an earlier call, by the names of their tasks."""
    with suppress(OSError, ValueError, LookupError, TypeError):
        return {x["name"]: x for x in json.loads(file.read_text(encoding="utf-8"))["tests"]
                if "belongs_to" in x["extra_data"]}
    return {}


def mark(name: str, told: Verdict, belongs_to: str = "") -> dict:
    """As in Gradescope's results.json, where extra_data is free."""
    return {"name": name, "max_score": 1, "output": visible(told.told or "right"),
            "score": 1 if told.state == "right" else int(5 * told.share + 1e-9) / 10,
            "extra_data": {"belongs_to": belongs_to, "container": not no_container()}}


def new_mark(judge: Judge, name: str, seen: list[Seen] | str, belongs_to: str) -> dict:
    """One result must not end the table of all. If the process was ended, perhaps by a full
    computer, the mark belongs to nothing, and the next call tries it again."""
    if isinstance(seen, str):
        return mark(name, Verdict(seen, 0))
    try:
        return mark(name, judge.verdict(seen), belongs_to)
    except Exception as error:
        return mark(name, Verdict(f"what it gives cannot be compared ({type(error).__name__})", 0),
                    belongs_to)


# ---- a class -------------------------------------------------------------------------------------
def grade_class(folder: Path, which: list[str], out: Path) -> None:
    folders = [x for x in sorted(folder.glob("*")) if x.is_dir() and x.name[0] not in "._"]
    if not folders:
        raise UserError(f"{folder}: no folder of a student is there")
    if why := no_container():
        say(f"Programs run without a container ({why}). They can read keys, write files and use "
            "the network, so grade where nothing else is.")
    out.mkdir(parents=True, exist_ok=True)
    if not (out / "seed.txt").exists():
        write_text(out / "seed.txt", str(Random().randrange(10**9)))
    seed = (out / "seed.txt").read_text()
    students = [Student(x, out) for x in folders]
    earlier = {name for student in students for name in student.marks}
    versions = {name: version(name, seed) for name in tasks() if name in {*earlier, *chosen(which)}}
    for student in students:
        student.find(versions)
    names = [name for name in versions if which or name in earlier
             or any(name in student.programs for student in students)]
    judges = {name: Judge(tasks()[name], seed) for name in names
              if any(name in student.unmarked() for student in students)}

    def run(student: Student, left: list[str]) -> dict[str, list[Seen] | str]:
        jobs = [job(name, judges[name], *student.programs[name]) for name in left]
        return run_all(jobs, student.folder.resolve(), [folder.resolve(), out.resolve()])
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        waiting = {pool.submit(run, student, student.unmarked()): student for student in students}
        for done in progress(len(students), "grading", as_completed(waiting)):
            student = waiting[done]
            for name, seen in done.result().items():
                student.marks[name] = new_mark(judges[name], name, seen, student.belongs[name])
            for name in names:
                if name not in student.programs:
                    student.marks[name] = mark(name, Verdict(NOT_HANDED_IN, 0))
            write_results(out, student, names)
    finally:
        pool.shutdown(cancel_futures=True)
    write_table(out, students, names)
    say(f"{quantity(len(students), 'students')} in {out / 'points.csv'}; a file to hand back for "
        "each beside it")
    if gone := {x.stem for x in out.glob("*.json")} - {x.name for x in students}:
        say(f"Not in the table, because {folder} has no such folder: {', '.join(sorted(gone))}")


def job(name: str, judge: Judge, file: Path, text: str) -> Job:
    task = judge.task
    return Job(name, task.name, task.file, file.parent.resolve(), text, task.look, judge.cases,
               task.seconds)


def same_programs(students: list[Student], name: str) -> dict[Student, str]:
    """Who has handed in the same program for a task. The key counts whatever its length, and a
    folder with two names is one student."""
    key, _ = fingerprint(tasks()[name].source, tasks()[name].name)
    prints = {x: fingerprint(x.programs[name][1], tasks()[name].name)
              for x in students if name in x.programs}
    found = {}
    for student, (mine, short) in prints.items():
        others = [x.name for x, (theirs, _) in prints.items() if theirs == mine and not short
                  and x.folder.resolve() != student.folder.resolve()]
        found[student] = ", ".join((["the key"] * (mine == key) + others)[:5]) if mine else ""
    return found


def one_line(text: object) -> str:
    """As any terminal and spreadsheet shows it: no control characters, and no formula."""
    said = visible(" ".join(str(text).split())).encode("utf-8", "backslashreplace").decode()
    return "'" + said if said[:1] in tuple("=+-@") else said


def write_results(out: Path, student: Student, names: list[str]) -> None:
    """Gradescope's results.json, the same as a text, and a line."""
    marks = [student.marks[name] for name in names]
    total = sum(x["score"] for x in marks)
    line = "; ".join([f"{total:g} of {len(marks)}", *(
        f"{what}: {', '.join(some)}" for what, some in student.remarks(names).items() if some)])
    text = "".join(f"\n## {x['name']}: {x['score']:g}\n\n    " + "\n    ".join(
        x["output"].splitlines()) + "\n" for x in marks)
    write_text(out / f"{student.name}.md", f"# {one_line(student.name)}: {line}\n{text}")
    write_json(out / f"{student.name}.json", {"score": total, "output": line, "tests": marks})
    say(f"{one_line(student.name):<24} {one_line(line)}")


def write_table(out: Path, students: list[Student], names: list[str]) -> None:
    same = {name: same_programs(students, name) for name in names}
    with (out / "points.csv").open("w", newline="", encoding="utf-8") as file:
        write = csv.writer(file).writerow
        write(["student", "points", *names, "the same program as", FREE, NOT_READ])
        for student in students:
            scores = [student.marks[name]["score"] for name in names]
            others = [f"{name}: {same[name][student]}" for name in names
                      if same[name].get(student)]
            remarks = student.remarks(names)
            write([one_line(x) for x in (
                student.name, f"{sum(scores):g}",
                *(f"{x:g}" if name in student.programs else NOT_HANDED_IN
                  for name, x in zip(names, scores)),
                "; ".join(others), " ".join(remarks[FREE]), ", ".join(remarks[NOT_READ]))])


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m lessons grade", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("students", type=Path, help="the folder that holds a folder for each")
    parser.add_argument("which", nargs="*", help="06a, 06, mine, dpo_loss, psft, ift [all]")
    parser.add_argument("--out", type=Path, default="out/class", help="[out/class]")
    flags = parser.parse_args(arguments)
    torch.set_num_threads(1)
    grade_class(flags.students, flags.which, flags.out)
    return 0


if __name__ == "__main__":
    sys.exit(command(main))
