"""A class at once: every submission is graded, and a page says what the class believes.

    main("submissions", "class.csv", "secret.txt")      # class.csv and class.html beside it
    main("submissions", "class.csv", tasks=["07", "17c"])
    mine("submissions")                     # failures that no named mistake explains, in groups
    pack("my", "")                          # the student's part: my/ as <name>.zip

Each submission is copied when its turn comes, and graded in a process of its own, with limits of
time, memory and files. Whatever happens to one, the others are graded, and the files are written
as they go. It is no cage: a program may do what its user may do. What is odd is marked.
"""
import ast
import csv
import os
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from tqdm import tqdm

from lessons.grade import class_page, folder, worker
from lessons.grade.folder import My
from lessons.grade.results import Klass, Result, attempts, hints, mark_equal, minutes, points, tries
from lessons.grade.submissions import KINDS, Unreadable, clean_copy, handed_in
from nanouft.shell.errors import UserError
from nanouft.shell.files import write_text
from nanouft.shell.text import one_line, regular, said, visible

COLUMNS = ("name", "task", "kind", "state", "points", "of", "mistake", "note", "tries", "minutes",
           "hints", "seed", "hash", "same_as", "odd")
AT_ONCE = 2                             # submissions that are graded at a time
SECONDS = 20                            # for a task
PAUSE = 10                              # seconds between two writings of the files
LINES = 20                              # of code that --mine prints
TIMEOUTS, ALL_TIMEOUTS = 2, 8           # after so many the rest of a file, of all, is left out
CHANGED = "the copy was changed before it was judged"
STRANGE = frozenset("""lessons nanouft inspect gc ctypes importlib os sys shutil pathlib subprocess
    multiprocessing threading signal socket open eval exec getattr setattr globals __import__
    __globals__ __closure__ __subclasses__ _getframe tb_frame f_back""".split())


# ---- the teacher's commands ----------------------------------------------------------------------

def main(submissions: str, out: str, seed_file: str | None = None, tasks: list = ()) -> None:
    """--class FOLDER --out class.csv [--seed secret.txt] [07a ...]"""
    table = Path(out or "class.csv")
    if table.suffix.lower() != ".csv":
        raise UserError(f"--out {said(out)}: the table is a .csv file; the page stands beside it")
    table.parent.mkdir(parents=True, exist_ok=True)
    klass, written = None, time.monotonic()
    try:
        for klass in graded(Path(submissions), secret(seed_file), tasks):
            if time.monotonic() - written > PAUSE:
                write(table, klass)
                written = time.monotonic()
    finally:                                            # also after Ctrl-C
        if klass:
            write(table, klass)
    begun = sum(result.state != "not begun" for result in klass.results)
    print(f"{len(klass.names)} submissions, {len(klass.tasks)} tasks, {begun} answers, "
          f"{klass.seconds:.0f} s")
    if odd := klass.odd:
        print(f"{len(odd)} with something odd, see the page: {visible(', '.join(odd))[:200]}")
    print(f"{table}\n{table.with_suffix('.html')}")


def write(table: Path, klass: Klass) -> None:
    """class.csv; class_sums.csv with a line for each student; the page."""
    mark_equal(klass.results)
    rows = [row(result) for result in klass.results]
    rows += [{"name": name, "state": "not graded", "note": why}
             for name, why in klass.unread.items()]
    write_csv(table, COLUMNS, rows)
    sums = [{"name": name, **klass.sums(name)} for name in klass.names]
    write_csv(table.with_stem(table.stem + "_sums"), list(sums[0]) if sums else ["name"], sums)
    write_text(table.with_suffix(".html"), class_page.page(klass))


def mine(submissions: str, tasks: list = ()) -> None:
    """--mine FOLDER: failures that no mistake explains, equal ones together, many first."""
    *_, klass = graded(Path(submissions), "", tasks)
    found = attempts(klass.results)
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

def graded(submissions: Path, seed: str, words: list = ()) -> Iterator[Klass]:
    """These tasks, or all, of every submission in this folder: what is known after each of them."""
    start = time.perf_counter()
    tasks = [folder.find(id) for id in folder.ids_of(words)] or folder.all_tasks()
    entries = handed_in(submissions)
    check_grader(tasks[0].id)
    klass = Klass(tasks, [], {})
    pool = ThreadPoolExecutor(AT_ONCE)
    waiting = {pool.submit(one, entry, name_of(entry, entries), tasks, seed):
               name_of(entry, entries) for entry in entries}
    try:
        for done in tqdm(as_completed(waiting), total=len(entries), desc="grading", unit="student"):
            name, part = waiting[done], done.result()
            if isinstance(part, str):
                klass.unread[name] = part
                tqdm.write(f"{visible(name)}: {visible(part)}; not graded")
            klass.results += part if isinstance(part, list) else []
            klass.results.sort(key=lambda result: (result.name.casefold(), result.task.id))
            klass.seconds = time.perf_counter() - start
            yield klass
    finally:
        pool.shutdown(cancel_futures=True)
    if not klass.results:
        raise UserError(f"--class {said(str(submissions))}: no submission could be read")


def name_of(entry: Path, entries: list[Path]) -> str:
    """The folder's or the zip's name; with .zip only where both exist."""
    stem = entry.stem if entry.is_file() else entry.name
    return entry.name if any(e != entry and e.stem == stem for e in entries) else stem


def one(entry: Path, name: str, tasks: list, seed: str) -> list[Result] | str:
    """The results of one submission, or why there are none. Its copy lives as long."""
    try:
        for found in (graded_once(entry, name, tasks, seed) for _ in range(2)):
            if not any(result.odd and result.odd[-1] == CHANGED for result in found):
                break                                   # else once more: it may have been another
        return found
    except (Unreadable, OSError) as e:
        return str(e)
    except Exception as e:                              # what no test has thought of
        return f"could not be graded ({type(e).__name__}: {one_line(str(e))[:100]})"


def graded_once(entry: Path, name: str, tasks: list, seed: str) -> list[Result]:
    with tempfile.TemporaryDirectory(prefix="nanouft-", ignore_cleanup_errors=True) as scratch:
        my = My(clean_copy(entry, Path(scratch) / "my"))
        return results(my, name, tasks, seed or name)


def results(my: My, name: str, tasks: list, seed: str) -> list[Result]:
    log, own_name = log_of(my), name_in(my)
    texts = {task.id: written(my, task) for task in tasks}
    begun = sorted({task.id[:2] for task in tasks if texts[task.id]})
    my.begin([task for lesson in begun for task in folder.tasks_of(lesson)])    # as the child does
    hashes = {task.id: my.hash(task) for task in tasks}
    strange = {my.file(task): strange_words(my.file(task)) for task in tasks if texts[task.id]}
    verdicts = verdicts_on([task for task in tasks if texts[task.id]], my, seed)
    found = []
    for task in tasks:
        verdict = verdicts.get(task.id, {"state": "not begun", "mistake": None})
        result = Result(name, task, verdict, texts[task.id], own_name,
                        [entry for entry in log if entry["task"] == task.id])
        changed = verdict.get("hash", hashes[task.id]) != hashes[task.id]
        result.odd = [*strange.get(my.file(task), []), *oddities(result), *[CHANGED] * changed]
        found.append(result)
    return found


def strange_words(file: Path) -> list[str]:
    """Words in a program that an exercise does not need: a reason to read it, no verdict."""
    try:
        nodes = list(ast.walk(ast.parse(file.read_bytes()))) if file.suffix == ".py" else []
    except (SyntaxError, ValueError, RecursionError, MemoryError, OSError):
        return []
    words = [word for node in nodes for field in ("id", "attr", "name", "module")
             for word in str(getattr(node, field, "")).split(".")]
    return sorted(STRANGE.intersection(words))


def oddities(result: Result) -> list[str]:
    """What an honest answer cannot be."""
    found = [note for note in ("forged", "changed grader") if result.verdict.get("note") == note]
    untouched = result.code == result.task.starter(result.seed) if hasattr(
        result.task, "starter") else result.code.rstrip().endswith("raise NotImplementedError")
    if result.state in ("right", "amber", "wrong") and untouched:
        found.append("judged, but nothing is written")
    if result.state == "right" and folder.is_function(result.task) and not all(
            case.get("ok") for case in result.verdict.get("cases") or [{}]):
        found.append("right without cases")
    return found


def log_of(my: My) -> list[dict]:
    """The student's log, as far as it can be believed: it is a file like any other."""
    try:
        entries = my.entries()
    except (OSError, ValueError, TypeError, RecursionError):
        return []
    return [e for e in entries if isinstance(e["time"], (int, float)) and 0 < e["time"] < 1e11]


def name_in(my: My) -> str:
    try:
        return my.name[:80]
    except (OSError, ValueError):
        return ""


def verdicts_on(tasks: list, my: My, seed: str) -> dict[str, dict]:
    """As worker.grade, but a file that takes too long again and again is left, and at some point
    all is."""
    found: dict[str, dict] = {}
    lost: Counter = Counter()                           # tasks that the child did not survive
    while left := [task for task in tasks if task.id not in found]:
        file = my.file(left[0])
        if lost[file] >= TIMEOUTS or lost.total() >= ALL_TIMEOUTS:
            found[left[0].id] = worker.failed("not reached")
            continue
        try:
            some = worker.ask([task.id for task in left], my, seed, SECONDS)
        except RuntimeError:
            some = {left[0].id: worker.failed("ended")}
        except UserError:
            some = {left[0].id: worker.failed("no start")}
        found |= some
        last = left[len(some) - 1]
        lost[my.file(last)] += found[last.id].get("note") in worker.LOST
    return found


def check_grader(id: str) -> None:
    """Before all: a folder without answers must be judged without trouble."""
    with tempfile.TemporaryDirectory(prefix="nanouft-class-") as empty:
        try:
            worker.ask([id], My(empty), "0", 10 * SECONDS)
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

def row(r: Result) -> dict:
    return {"name": r.name, "task": r.task.id, "kind": r.task.kind, "state": r.state,
            "points": f"{points(r.task, r.state):g}", "of": f"{points(r.task, 'right'):g}",
            "mistake": r.verdict.get("mistake") or "", "note": r.note, "tries": len(tries(r.log)),
            "minutes": minutes(r.log), "hints": hints(r.log), "seed": r.seed, "hash": r.hash,
            "same_as": " ".join(r.same_as), "odd": " ".join(r.odd)}


def write_csv(file: Path, columns, rows: list[dict]) -> None:
    """UTF-8 with a mark, so that spreadsheets read the names rightly."""
    partial = file.with_name(file.name + ".partial")
    with open(partial, "w", encoding="utf-8-sig", errors="replace", newline="") as f:
        table = csv.DictWriter(f, columns)
        table.writeheader()
        table.writerows({key: cell(value) for key, value in row.items()} for row in rows)
    os.replace(partial, file)


def cell(value) -> str:
    """A spreadsheet takes =... for a formula."""
    text = visible(str(value)).replace("\n", " ")
    return "'" + text if text[:1] in ("=", "+", "-", "@") else text
