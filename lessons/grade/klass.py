"""A class at once: every submission is graded, and a page says what the class believes.

    main("submissions", "class.csv", "secret.txt")      # class.csv and class.html beside it
    main("submissions", "class.csv", tasks=["07", "17c"])

Each submission is copied when its turn comes, and graded in a process of its own, with limits of
time, memory and files. Whatever happens to one, the others are graded, and the files are written
as they go. It is no cage: a program may do what its user may do. What is odd is marked.
"""
import csv
import io
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from tqdm import tqdm

from lessons.grade import class_page, folder, worker
from lessons.grade.folder import My
from lessons.grade.program import strange_words, written
from lessons.grade.results import Klass, Result, mark_equal, minutes, points, tries
from lessons.grade.submissions import Unreadable, clean_copy, handed_in
from nanouft.errors import UserError, visible
from nanouft.run.storage import regular, write_text
from nanouft.run.words import one_line, quoted

AT_ONCE = 2                             # submissions that are graded at a time
CHANGED = "the copy was changed before it was judged"


def main(submissions: str, out: str | None, seed_file: str | None = None, tasks=()) -> None:
    """--class FOLDER --out class.csv [--seed secret.txt] [07a ...]"""
    table = Path(out or "class.csv")
    if table.suffix.lower() != ".csv":
        raise UserError(f"--out {quoted(out)}: the table is a .csv file; the page stands beside it")
    table.parent.mkdir(parents=True, exist_ok=True)
    for klass in graded(Path(submissions), secret(seed_file), tasks):
        write(table, klass)                             # so nothing is lost by Ctrl-C
    begun = sum(result.state != "not begun" for result in klass.results)
    print(f"{len(klass.names)} submissions, {len(klass.tasks)} tasks, {begun} answers")
    if odd := klass.odd:
        print(f"{len(odd)} with something odd, see the page: {visible(', '.join(odd))[:200]}")
    print(f"{table}\n{table.with_suffix('.html')}")


def secret(seed_file: str | None) -> str:
    """What draws the hidden cases. Without a file: each student's name, as at home."""
    if not seed_file:
        return ""
    try:
        text = regular(Path(seed_file)).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as e:
        why = getattr(e, "strerror", None) or "is no text"
        raise UserError(f"--seed {quoted(seed_file)}: cannot be read ({why})") from None
    if not text:
        raise UserError(f"--seed {quoted(seed_file)}: is empty; write any line into it")
    return text


# ---- grading -------------------------------------------------------------------------------------

def graded(submissions: Path, seed: str, words: list = ()) -> Iterator[Klass]:
    """These tasks, or all, of every submission in this folder: what is known after each of them."""
    tasks = [folder.find(id) for id in folder.ids_of(words)] or folder.all_tasks()
    entries = handed_in(submissions)
    klass = Klass(tasks, [], {})
    pool = ThreadPoolExecutor(AT_ONCE)
    names = {entry: name_of(entry, entries) for entry in entries}
    waiting = {pool.submit(one, entry, name, tasks, seed): name for entry, name in names.items()}
    try:
        for done in tqdm(as_completed(waiting), total=len(entries), desc="grading", unit="student"):
            name, part = waiting[done], done.result()
            if isinstance(part, str):
                klass.unread[name] = part
                tqdm.write(f"{visible(name)}: {visible(part)}; not graded")
            klass.results += part if isinstance(part, list) else []
            klass.results.sort(key=lambda result: (result.name.casefold(), result.task.id))
            yield klass
    finally:
        pool.shutdown(cancel_futures=True)
    if not klass.results:
        raise UserError(f"--class {quoted(str(submissions))}: no submission could be graded")


def name_of(entry: Path, entries: list[Path]) -> str:
    """The folder's or the zip's name; with .zip only where both exist."""
    stem = entry.stem if entry.is_file() else entry.name
    return entry.name if any(e != entry and e.stem == stem for e in entries) else stem


def one(entry: Path, name: str, tasks: list, seed: str) -> list[Result] | str:
    """The results of one submission, or why there are none. Its copy lives as long."""
    try:
        found = graded_once(entry, name, tasks, seed)
        changed = any(CHANGED in result.odd for result in found)        # another may have done it
        return graded_once(entry, name, tasks, seed) if changed else found
    except (Unreadable, OSError) as e:
        return str(e)
    except Exception as e:                              # what no test has thought of
        return f"could not be graded ({type(e).__name__}: {one_line(str(e)[-100:])})"


def graded_once(entry: Path, name: str, tasks: list, seed: str) -> list[Result]:
    with tempfile.TemporaryDirectory(prefix="nanouft-", ignore_cleanup_errors=True) as scratch:
        my = My(clean_copy(entry, Path(scratch) / "my"))
        return results(my, name, tasks, seed or name)


def results(my: My, name: str, tasks: list, seed: str) -> list[Result]:
    log = my.entries()
    texts = {task.id: written(my, task) for task in tasks}
    begun = [task for task in tasks if texts[task.id]]
    for lesson in {task.id[:2] for task in begun}:
        my.begin(folder.tasks_of(lesson))               # as the child does
    hashes = {task.id: my.hash(task) for task in begun}
    strange = {task.id: strange_words(my.file(task)) for task in begun}
    own_name = my.name[:80]
    verdicts = worker.grade([task.id for task in begun], my, seed)
    found = []
    for task in tasks:
        verdict = verdicts.get(task.id, {"state": "not begun", "mistake": None})
        result = Result(name, task, verdict, texts[task.id], own_name,
                        [entry for entry in log if entry["task"] == task.id])
        changed = task.id in hashes and verdict.get("hash", hashes[task.id]) != hashes[task.id]
        result.odd = [*strange.get(task.id, []), *oddities(result), *[CHANGED] * changed]
        found.append(result)
    return found


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


# ---- the files -----------------------------------------------------------------------------------

def write(table: Path, klass: Klass) -> None:
    """class.csv; class_sums.csv with a line for each student; the page."""
    mark_equal(klass.results)
    rows = [row(result) for result in klass.results]
    rows += [{"name": name, "state": "not graded", "note": why}
             for name, why in klass.unread.items()]
    write_csv(table, rows)
    sums = [{"name": name, **klass.sums(name)} for name in klass.names]
    write_csv(table.with_stem(table.stem + "_sums"), sums)
    write_text(table.with_suffix(".html"), class_page.page(klass))


def row(r: Result) -> dict:
    return {"name": r.name, "task": r.task.id, "kind": r.task.kind, "state": r.state,
            "points": f"{points(r.task, r.state):g}", "of": f"{points(r.task, 'right'):g}",
            "mistake": r.verdict.get("mistake") or "", "note": r.note, "tries": len(tries(r.log)),
            "minutes": minutes(r.log), "hints": sum(e["event"] == "hint" for e in r.log),
            "seed": r.seed, "same_as": " ".join(r.same_as), "odd": " ".join(r.odd)}


def write_csv(file: Path, rows: list[dict]) -> None:
    """UTF-8 with a mark, so that spreadsheets read the names rightly."""
    text = io.StringIO()
    table = csv.DictWriter(text, rows[0] if rows else (), lineterminator="\n")
    table.writeheader()
    table.writerows({key: cell(value) for key, value in row.items()} for row in rows)
    write_text(file, "\ufeff" + text.getvalue())


def cell(value) -> str:
    """A spreadsheet takes =... for a formula."""
    text = visible(str(value)).replace("\n", " ")
    return "'" + text if text[:1] in ("=", "+", "-", "@") else text
