"""A class at once: every submission is graded, and a page says what the class believes.

    main("submissions", "class.csv", "secret.txt")      # class.csv and class.html beside it
    main("submissions", "class.csv", tasks=["07", "17c"])
    mine("submissions")                     # failures that no named mistake explains, in groups
    pack("my", "")                          # the student's part: my/ as <name>.zip

Each submission is copied and graded in a process of its own, with a time limit for each task. That
keeps endless loops and crashes away. It is no cage: a program may do what its user may do.
"""
import ast
import csv
import os
import tempfile
import time
import zipfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from lessons.grade import class_page, folder, worker
from lessons.grade.folder import My
from lessons.grade.results import Klass, Result, attempts, hints, mark_equal, minutes, points, tries
from lessons.grade.submissions import KINDS, Unreadable, clean_copy, handed_in
from nanouft.shell.errors import UserError
from nanouft.shell.files import write_text
from nanouft.shell.text import one_line, regular, said, visible

COLUMNS = ("name", "task", "kind", "state", "points", "of", "mistake", "note", "tries", "minutes",
           "hints", "seed", "hash", "same_as")
AT_ONCE = 2                             # submissions that are graded at a time
SECONDS = 20                            # for a task
LINES = 20                              # of code that --mine prints
TIMEOUTS, ALL_TIMEOUTS = 2, 8           # after so many the rest of a file, of all, is left out


# ---- the teacher's commands ----------------------------------------------------------------------

def main(submissions: str, out: str, seed_file: str | None = None, tasks: list = ()) -> None:
    """--class FOLDER --out class.csv [--seed secret.txt] [07a ...]"""
    table = Path(out or "class.csv")
    if table.suffix.lower() != ".csv":
        raise UserError(f"--out {said(out)}: the table is a .csv file; the page stands beside it")
    klass = graded(Path(submissions), secret(seed_file), tasks)
    table.parent.mkdir(parents=True, exist_ok=True)
    write_csv(table, klass)
    page = table.with_suffix(".html")
    write_text(page, class_page.page(klass))
    begun = sum(result.state != "not begun" for result in klass.results)
    print(f"{len(klass.names)} submissions, {len(klass.tasks)} tasks, {begun} answers, "
          f"{klass.seconds:.0f} s")
    print(f"{table}\n{page}")


def mine(submissions: str, tasks: list = ()) -> None:
    """--mine FOLDER: failures that no mistake explains, equal ones together, many first."""
    found = attempts(graded(Path(submissions), "", tasks).results)
    if not found:
        print("no unknown failures")
    for (id, outcome), who in sorted(found.items(), key=lambda pair: (-len(pair[1]), pair[0])):
        print(f"\n{id}  {len(who)} x  {visible(', '.join(sorted(who)))[:80]}")
        print(f"  {visible(outcome)[:200]}")
        code = max(who.values(), key=bool)
        for line in visible(code).splitlines()[:LINES]:
            print(f"    {line[:96]}")


def pack(my: str, out: str = "") -> None:
    """--pack: my/ as a zip. Only text files, so that it stays small."""
    home = Path(my)
    if not home.is_dir():
        raise UserError(f"--my {said(my)}: no such folder; python -m lessons.grade makes it")
    name = "".join(c if c.isalnum() or c in "-_" else "_" for c in My(home).name) or "my"
    target = Path(out or f"{name}.zip")
    files = [p for p in sorted(home.rglob("*")) if p.is_file() and p.suffix.lower() in KINDS]
    files = [p for p in files if "__pycache__" not in p.parts]
    if not files:
        raise UserError(f"--my {said(my)}: holds nothing to hand in")
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as packed:
        for file in files:
            packed.write(file, "my/" + file.relative_to(home).as_posix())
    print(f"{target}: {len(files)} files")


def secret(seed_file: str | None) -> str:
    """What draws the hidden cases. Without a file: each student's name, as at home."""
    if not seed_file:
        return ""
    try:
        text = regular(Path(seed_file)).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as e:
        why = getattr(e, "strerror", None) or "is no text"
        raise UserError(f"--seed {said(seed_file)}: cannot be read ({why})") from None
    if not text:
        raise UserError(f"--seed {said(seed_file)}: is empty; write any line into it")
    return text


# ---- grading -------------------------------------------------------------------------------------

def graded(submissions: Path, seed: str, words: list = ()) -> Klass:
    """These tasks, or all, of every submission in this folder."""
    start = time.perf_counter()
    tasks = [folder.find(id) for id in folder.ids_of(words)] or folder.all_tasks()
    entries = handed_in(submissions)
    klass = Klass(tasks, [], {})
    with tempfile.TemporaryDirectory(prefix="nanouft-class-") as scratch:
        names = [name_of(entry, entries) for entry in entries]
        places = [Path(scratch) / str(i) for i in range(len(entries))]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            parts = pool.map(partial(one, tasks=tasks, seed=seed), entries, names, places)
            for name, part in zip(names, parts):
                if isinstance(part, str):
                    klass.unread[name] = part
                    print(f"{visible(name)}: {visible(part)}; not graded", flush=True)
                else:
                    klass.results += part
    if not klass.results:
        raise UserError(f"--class {said(str(submissions))}: no submission could be read")
    mark_equal(klass.results)
    klass.seconds = time.perf_counter() - start
    return klass


def name_of(entry: Path, entries: list[Path]) -> str:
    """The folder's or the zip's name; with .zip only where both exist."""
    stem = entry.stem if entry.is_file() else entry.name
    return entry.name if any(e != entry and e.stem == stem for e in entries) else stem


def one(entry: Path, name: str, place: Path, tasks: list, seed: str) -> list[Result] | str:
    """The results of one submission, or why there are none."""
    try:
        my = My(clean_copy(entry, place))
    except (Unreadable, OSError) as e:
        return str(e)
    log = log_of(my)
    texts = {task.id: written(my, task) for task in tasks}
    there = [task for task in tasks if texts[task.id]]
    verdicts = verdicts_on(there, my, seed or name)
    results = []
    for task in tasks:
        found = verdicts.get(task.id, {"state": "not begun", "mistake": None})
        code = texts[task.id]
        mine_only = [entry for entry in log if entry["task"] == task.id]
        results.append(Result(name, task, found, code, name_in(my), mine_only))
    return results


def log_of(my: My) -> list[dict]:
    """The student's log, as far as it can be believed: it is a file like any other."""
    try:
        entries = my.entries()
    except (OSError, ValueError, TypeError):
        return []
    return [e for e in entries if isinstance(e["time"], (int, float)) and 0 < e["time"] < 1e11]


def name_in(my: My) -> str:
    try:
        return my.name[:80]
    except (OSError, ValueError):
        return ""


def verdicts_on(tasks: list, my: My, seed: str) -> dict[str, dict]:
    """As worker.grade, but a file that takes too long again and again is left, and at some point
    all is. What happens to a submission is its own fault, if the grader is in order."""
    found: dict[str, dict] = {}
    lost: Counter = Counter()                           # tasks that the child did not survive
    while left := [task for task in tasks if task.id not in found]:
        file = my.file(left[0])
        if lost[file] >= TIMEOUTS or lost.total() >= ALL_TIMEOUTS:
            found[left[0].id] = worker.failed("not reached")
            continue
        try:
            some = worker.ask([task.id for task in left], my, seed, SECONDS)
        except (RuntimeError, UserError):
            check_grader(left[0].id)
            some = {left[0].id: worker.failed("ended")}
        found |= some
        last = left[len(some) - 1]
        lost[my.file(last)] += found[last.id].get("note") in worker.LOST
    return found


def check_grader(id: str) -> None:
    """Whose fault is it? A folder without answers must be judged without trouble."""
    with tempfile.TemporaryDirectory(prefix="nanouft-class-") as empty:
        try:
            worker.ask([id], My(empty), "0", SECONDS)
        except RuntimeError as e:
            raise UserError(f"the grader itself fails: {one_line(str(e)[-300:])}") from None


def written(my: My, task) -> str:
    """The student's text for a task: its function, or the whole file. "" if there is none."""
    try:
        text = my.file(task).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    if not folder.is_function(task):
        return text
    name = task.function
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return text                                     # the grader says what is the matter
    if not any(isinstance(node, ast.FunctionDef) and node.name == name for node in body):
        return text if name in text else ""             # dpo_loss = ..., or not begun
    return "\n\n".join(ast.get_source_segment(text, node) or "" for node in used_by(name, body))


def used_by(name: str, body: list[ast.stmt]) -> list[ast.stmt]:
    """The definition of a name in a file, and those of all names that it uses, in their order."""
    used, new = set(), {name}
    while new:
        used |= new
        here = [node for node in body if defines(node) & used]
        new = {word.id for node in here for word in ast.walk(node) if isinstance(word, ast.Name)}
        new -= used
    return here


def defines(node: ast.stmt) -> set[str]:
    """The names that a line of a file defines; imports are left out."""
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else []
    return {word.id for target in targets for word in ast.walk(target)
            if isinstance(word, ast.Name)}


# ---- the table -----------------------------------------------------------------------------------

def write_csv(file: Path, klass: Klass) -> None:
    """UTF-8 with a mark, so that spreadsheets read the names rightly."""
    partial = file.with_name(file.name + ".partial")
    with open(partial, "w", encoding="utf-8-sig", errors="replace", newline="") as f:
        table = csv.DictWriter(f, COLUMNS)
        table.writeheader()
        for r in klass.results:
            row = {"name": r.name, "task": r.task.id, "kind": r.task.kind, "state": r.state,
                   "points": f"{points(r.task, r.state):g}", "of": f"{points(r.task, 'right'):g}",
                   "mistake": r.verdict.get("mistake") or "", "note": r.note,
                   "tries": len(tries(r.log)), "minutes": minutes(r.log), "hints": hints(r.log),
                   "seed": r.seed, "hash": r.hash, "same_as": " ".join(r.same_as)}
            table.writerow({key: cell(value) for key, value in row.items()})
        for name, why in klass.unread.items():
            table.writerow({"name": cell(name), "state": "not graded", "note": cell(why)})
    os.replace(partial, file)


def cell(value) -> str:
    """A spreadsheet takes =... for a formula."""
    text = visible(str(value)).replace("\n", " ")
    return "'" + text if text[:1] in ("=", "+", "-", "@") else text
