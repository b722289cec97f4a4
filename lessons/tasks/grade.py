"""One table for a class.

    python -m lessons grade class                       # all tasks, into out/class
    python -m lessons grade class 02a 06 mine psft      # as for check
    python -m lessons grade class --again               # also who has been graded already

`class` holds one folder for each student, with ex02.py, mine.py, psft.py or notebooks in it or in
its folders. It writes points.csv with a line for each student, and for each a file to hand back
(ada.md) and one for Gradescope (ada.json). A task that nobody has handed in is left out. All
students get the same cases. If it is stopped, the same command goes on.

Programs run in processes of their own, with limits, and with bubblewrap in a container (child.py).
A point for what is right; what is wrong has half of the share of its cases that is right.
"""
import argparse
import ast
import csv
import json
import os
import sys
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from random import Random

import torch

from lessons.tasks.child import Job, container, run_all
from lessons.tasks.task import Judge, Verdict, chosen, tasks
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.printing import progress, say, visible

LARGEST, DEPTH = 2**22, 6           # bytes of a file; folders below the student's own
SHORT = 50                          # nodes of a program that everybody writes alike
DEFINED = (ast.FunctionDef, ast.ClassDef)
BROKEN = (SyntaxError, ValueError, RecursionError, MemoryError)


# ---- what was handed in --------------------------------------------------------------------------
def files(student: Path) -> list[Path]:
    """Programs and notebooks, those that lie least deep first."""
    found = []
    for folder, inside, here in os.walk(student):
        depth = len(Path(folder).relative_to(student).parts)
        inside[:] = sorted(x for x in inside if x[0] not in "._" and depth < DEPTH)
        found += [Path(folder, x) for x in sorted(here) if x.endswith((".py", ".ipynb"))]
    plain = [x for x in found if not x.is_symlink() and x.is_file() and x.stat().st_size < LARGEST]
    return sorted(plain, key=lambda x: (len(x.parts), x.suffix))


def text_of(file: Path) -> str:
    """Of a notebook: imports, definitions and constants of all cells that Python can read."""
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


def submission(student: Path, name: str) -> tuple[Path, str] | None:
    """The file for a task, and its text: the first that has begun it, else the first."""
    task, found = tasks()[name], []
    for file in files(student):
        if file.name == task.file or file.suffix == ".ipynb" and task.name:
            try:
                text = text_of(file)
            except (*BROKEN, OSError, KeyError, TypeError):
                continue
            begun = definition(text, task.name) is not None
            if begun or file.suffix == ".py":
                found.append((not begun, len(found), file, text))
    return min(found)[2:] if found else None


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


# ---- a class -------------------------------------------------------------------------------------
def grade_class(folder: Path, which: list[str], out: Path, again: bool) -> None:
    students = [x for x in sorted(folder.glob("*")) if x.is_dir() and x.name[0] not in "._"]
    if not students:
        raise UserError(f"{folder}: no folder of a student is there")
    if not container(folder, []):
        say("Programs run without a container, because bubblewrap is missing: they can read keys, "
            "write files and use the network. Install it, or grade where nothing else is.")
    out.mkdir(parents=True, exist_ok=True)
    if again or not (out / "seed.txt").exists():
        (out / "seed.txt").write_text(str(Random().randrange(10**9)))
    seed = (out / "seed.txt").read_text()
    handed = {(x.name, name): submission(x, name) for x in students for name in chosen(which)}
    names = [x for x in chosen(which) if which or any(handed[y.name, x] for y in students)]
    judges = {name: Judge(tasks()[name], seed) for name in names}
    todo = [x for x in students if again or not (out / f"{x.name}.json").exists()]

    def run(student: Path) -> dict:
        jobs = [Job(name, judge.task.name, judge.task.file, handed[student.name, name][1],
                    judge.task.look, judge.cases, judge.task.seconds)
                for name, judge in judges.items() if handed[student.name, name]]
        return run_all(jobs, student.resolve(), [folder.resolve()])
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        waiting = {pool.submit(run, student): student for student in todo}
        for done in progress(len(todo), "grading", as_completed(waiting)):
            student, seen = waiting[done].name, done.result()
            verdicts = {x: verdict(judges[x], seen.get(x), handed[student, x]) for x in names}
            write_results(out, student, verdicts)
    finally:
        pool.shutdown(cancel_futures=True)
    write_table(out, students, names, same_programs(handed, names))
    say(f"{len(students)} students in {out / 'points.csv'}; a file to hand back for each beside it")


def verdict(judge: Judge, seen: list | str | None, handed: tuple | None) -> Verdict:
    """One result must not end the table of all."""
    if handed is None:
        return Verdict(f"there is no file {judge.task.file}, and no notebook with it", 0)
    if isinstance(seen, str):
        return Verdict(seen, 0)
    try:
        return judge.verdict(seen)
    except Exception as error:
        return Verdict(f"what it gives cannot be compared ({type(error).__name__})", 0)


def same_programs(handed: dict, names: list[str]) -> dict[tuple[str, str], str]:
    """Who has handed in the same program. The key counts whatever its length."""
    owners, marks = defaultdict(list), {}
    for name in names:
        mark, _ = fingerprint(tasks()[name].source, tasks()[name].name)
        owners[name, mark].append("the key")
    for (student, name), program in handed.items():
        if program and name in names:
            mark, short = fingerprint(program[1], tasks()[name].name)
            marks[student, name] = mark
            if mark and not short:
                owners[name, mark].append(student)
    return {(student, name): ", ".join([x for x in owners[name, mark] if x != student][:5])
            for (student, name), mark in marks.items() if mark}


def one_line(text: object) -> str:
    """As any terminal and spreadsheet shows it: no control characters, and no formula."""
    said = visible(" ".join(str(text).split())).encode("utf-8", "backslashreplace").decode()
    return "'" + said if said[:1] in tuple("=+-@") else said


def write_results(out: Path, student: str, verdicts: dict[str, Verdict]) -> None:
    """Gradescope's results.json, and the same as a text."""
    found = [{"name": name, "max_score": 1, "output": visible(x.told or "right"),
              "score": 1 if x.state == "right" else int(5 * x.share + 1e-9) / 10}
             for name, x in verdicts.items()]
    total = sum(x["score"] for x in found)
    text = "".join(f"\n## {x['name']}: {x['score']:g}\n\n    " + "\n    ".join(
        x["output"].splitlines()) + "\n" for x in found)
    text = f"# {one_line(student)}: {total:g} of {len(found)} points\n{text}"
    (out / f"{student}.md").write_bytes(text.encode("utf-8", "backslashreplace"))
    (out / f"{student}.json").write_text(json.dumps({"score": total, "tests": found}))
    say(f"{one_line(student):<24} {total:g} of {len(found)}")


def write_table(out: Path, students: list[Path], names: list[str], same: dict) -> None:
    with (out / "points.csv").open("w", newline="", encoding="utf-8") as file:
        write = csv.writer(file).writerow
        write(["student", "points", *names, "the same program as"])
        for student in students:
            found = json.loads((out / f"{student.name}.json").read_text())
            points = {x["name"]: f"{x['score']:g}" for x in found["tests"]}
            others = "; ".join(f"{name}: {same[student.name, name]}" for name in names
                               if same.get((student.name, name)))
            write([one_line(student.name), f"{found['score']:g}",
                   *(points.get(name, "") for name in names), one_line(others)])


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m lessons grade", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("students", type=Path, help="the folder that holds a folder for each")
    parser.add_argument("which", nargs="*", help="06a, 06, mine, dpo_loss, psft, ift [all]")
    parser.add_argument("--out", type=Path, default="out/class", help="[out/class]")
    parser.add_argument("--again", action="store_true", help="also who has been graded already")
    flags = parser.parse_args(arguments)
    torch.set_num_threads(1)
    grade_class(flags.students, flags.which, flags.out, flags.again)
    return 0


if __name__ == "__main__":
    sys.exit(command(main))
