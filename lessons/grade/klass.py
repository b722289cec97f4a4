"""A class at once: every submission is graded, and a page says what the class believes.

    main("submissions", "class.csv", "secret.txt")      # class.csv and class.html beside it
    main("submissions", "class.csv", tasks=["07", "17c"])

Each submission is copied when its turn comes, and graded in a process of its own, with limits of
time, memory and files. Whatever happens to one, the others are graded, and the files are written
as they go. On Linux it runs in a cage (cage.py); without one a program may do what its user may
do, and the output tells so. What is odd is marked.
"""
import csv
import io
import json
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from lessons.grade import cage, class_page, folder, worker
from lessons.grade.folder import My
from lessons.grade.program import strange_words, written
from lessons.grade.results import Klass, Result, earned, mark_equal, minutes, points, tries
from lessons.grade.submissions import Unreadable, clean_copy, handed_in, links
from nanouft.errors import UserError, visible
from nanouft.run.storage import regular, write_text
from nanouft.run.words import one_line, quoted

AT_ONCE = 2                             # submissions that are graded at a time
SECONDS = 300                           # for all tasks of a submission
CHANGED = "the copy was changed before it was judged"


@dataclass
class Order:
    """What is graded, and how."""
    tasks: list
    seed: str = ""
    caged: bool = False
    hidden: list[Path] = field(default_factory=list)    # what no program in the cage may read

    def command(self, my: My) -> list[str]:
        if self.caged:
            return cage.command([my.path.resolve(), *self.hidden], [])
        return cage.command([], ["--open"])


def main(submissions: str, out: str | None, seed_file: str | None = None, tasks=(),
         open_air: bool = False) -> None:
    """--class FOLDER --out class.csv [--seed secret.txt] [--no-cage] [07a ...]"""
    table = Path(out or "class.csv")
    if table.suffix.lower() != ".csv":
        raise UserError(f"--out {quoted(out)}: the table is a .csv file; the page stands beside it")
    if folder.ROOT.is_relative_to(Path(submissions).resolve()):
        raise UserError(f"--class {quoted(submissions)}: holds the project itself; give the "
                        "submissions a folder of their own")
    table.parent.mkdir(parents=True, exist_ok=True)
    order = Order([folder.find(id) for id in folder.ids_of(tasks)] or folder.all_tasks(),
                  secret(seed_file))
    why = "--no-cage" if open_air else cage.missing()
    order.caged = not why
    order.hidden = private(table, submissions, *[seed_file] * (seed_file not in (None, "-")))
    if why:
        print(f"No cage ({why}): a program can read, change and send what you can, also the seed\n"
              "and the other submissions. Of people you do not trust: docs/teaching, a container.")
    for klass in graded(Path(submissions), order, Journal(table.with_suffix(".work"))):
        write(table, klass)                             # so nothing is lost by Ctrl-C
    begun = sum(result.state != "not begun" for result in klass.results)
    print(f"{len(klass.names)} submissions, {len(klass.tasks)} tasks, {begun} answers")
    if odd := klass.odd:
        print(f"{len(odd)} with something odd, see the page: {visible(', '.join(odd))[:200]}")
    print(f"{table}\n{table.with_suffix('.html')}")


def private(*names: Path | str) -> list[Path]:
    """These files and folders, the folders in which they lie, and the teacher's home. No folder at
    the top of the system is among the last ones: programs may need it."""
    own = [Path(name).resolve() for name in names]
    around = [path.parent for path in own if len(path.parent.parts) > 2]
    home = Path.home().resolve()
    return [*own, *around, *[home] * (home != home.parent)]


def secret(seed_file: str | None) -> str:
    """What draws the hidden cases. Without a file: each student's name, as at home."""
    if not seed_file:
        return ""
    try:
        text = sys.stdin.readline().strip() if seed_file == "-" else \
            regular(Path(seed_file)).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as e:
        why = getattr(e, "strerror", None) or "is no text"
        raise UserError(f"--seed {quoted(seed_file)}: cannot be read ({why})") from None
    if not text:
        raise UserError(f"--seed {quoted(seed_file)}: is empty; write any line into it")
    return text


# ---- grading -------------------------------------------------------------------------------------

class Journal:
    """Whose submissions are in work, in a file: after a sudden end it names who did it.

    Who was in work at the end is graded alone at the next start. Who was alone is left out then,
    until the file is deleted.
    """

    def __init__(self, file: Path):
        self.file, self.lock = file, threading.Lock()
        known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        self.left_out, last = known.get("left out", []), known.get("in work", [])
        self.left_out += last if len(last) == 1 else []
        self.alone = last if len(last) > 1 else []      # these are graded one by one
        self.in_work: list[str] = []

    def begin(self, name: str) -> None:
        with self.lock:
            self.in_work.append(name)
            self.write()

    def end(self, name: str) -> None:
        with self.lock:
            self.in_work.remove(name)
            self.write()

    def write(self) -> None:
        entries = {"left out": self.left_out, "in work": self.in_work}
        if any(entries.values()):
            write_text(self.file, json.dumps(entries))
        else:
            self.file.unlink(missing_ok=True)


def graded(submissions: Path, order: Order, journal: Journal) -> Iterator[Klass]:
    """These tasks, or all, of every submission in this folder: what is known after each of them."""
    entries = handed_in(submissions)
    names = {entry: name_of(entry, entries) for entry in entries}
    klass = Klass(order.tasks, [], {})
    for name in names.values():
        if name in journal.left_out:
            klass.unread[name] = f"with it the grading ended suddenly; {journal.file} has its name"
    groups = [[e for e in entries if names[e] not in journal.alone + journal.left_out],
              *[[e] for e in entries if names[e] in journal.alone]]
    bar = tqdm(total=len(entries) - len(klass.unread), desc="grading", unit="student")
    for name, why in klass.unread.items():
        tqdm.write(f"{visible(name)}: {visible(why)}; not graded")
    for some in groups:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            waiting = {pool.submit(one, entry, names[entry], order, journal): names[entry]
                       for entry in some}
            try:
                for done in as_completed(waiting):
                    bar.update()
                    add(klass, waiting[done], done.result())
                    yield klass
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
    bar.close()
    if not klass.results:
        raise UserError(f"--class {quoted(str(submissions))}: no submission could be graded")


def add(klass: Klass, name: str, part: list[Result] | str) -> None:
    """What came out for one student: results, or why there are none."""
    if isinstance(part, str):
        klass.unread[name] = part
        tqdm.write(f"{visible(name)}: {visible(part)}; not graded")
    else:
        klass.results += part
        klass.results.sort(key=lambda result: (result.name.casefold(), result.task.id))


def name_of(entry: Path, entries: list[Path]) -> str:
    """The folder's or the zip's name; with .zip only where both exist."""
    stem = entry.stem if entry.is_file() else entry.name
    return entry.name if any(e != entry and e.stem == stem for e in entries) else stem


def one(entry: Path, name: str, order: Order, journal: Journal | None = None) -> list[Result] | str:
    """The results of one submission, or why there are none. Its copy lives as long."""
    if journal:
        journal.begin(name)
    try:
        found = graded_once(entry, name, order)
        changed = any(CHANGED in result.odd for result in found)        # another may have done it
        return graded_once(entry, name, order) if changed else found
    except (Unreadable, OSError) as e:
        return str(e)
    except Exception as e:                              # what no test has thought of
        return f"could not be graded ({type(e).__name__}: {one_line(str(e)[-100:])})"
    finally:
        if journal:
            journal.end(name)


def graded_once(entry: Path, name: str, order: Order) -> list[Result]:
    with tempfile.TemporaryDirectory(prefix="nanouft-", ignore_cleanup_errors=True) as scratch:
        my = My(clean_copy(entry, Path(scratch) / "my"))
        found = results(my, name, order)
        found[0].odd += [f"is a link, so not read: {link}" for link in links(entry)]
        return found


def results(my: My, name: str, order: Order) -> list[Result]:
    log = my.entries()
    (my.path / "log.jsonl").unlink(missing_ok=True)     # its owner could write into it: no verdict
    texts = {task.id: written(my, task) for task in order.tasks}        # rests on it
    begun = [task for task in order.tasks if texts[task.id]]
    for lesson in {task.id[:2] for task in begun}:
        my.begin(folder.tasks_of(lesson))               # as the child does
    hashes = {task.id: my.hash(task) for task in begun}
    strange = {task.id: strange_words(my.file(task)) for task in begun}
    own_name = my.name[:80]
    verdicts = worker.grade([task.id for task in begun], my, order.seed or name, total=SECONDS,
                            command=order.command(my))
    found = []
    for task in order.tasks:
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
            "points": f"{earned(r.task, r.verdict):g}", "of": f"{points(r.task, 'right'):g}",
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
