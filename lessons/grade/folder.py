"""Where things are: the tasks by number, and the student's folder with starters, answers and log.

    my/07_dpo.py        functions to write
    my/bugs/07d.py      a program with one planted bug
    my/cards/07p.toml   a card to fill in; my/plans/10c.toml a plan of an experiment
    my/name.txt         the student's name: it draws bugs, cards and hidden cases, nothing else
    my/log.jsonl        one line for every try, hint, reveal, solution

What a student has written is never overwritten. A task that is new is put at the end of its file.
"""
import ast
import contextlib
import importlib
import json
import os
import re
import time
from pathlib import Path
from types import SimpleNamespace

from nanouft.errors import UserError
from nanouft.run.storage import checksum
from nanouft.run.words import nearest

AFTERNOON = ("00b", "03a", "05a", "06a", "07a", "17a")          # the tasks of one afternoon
ROOT = Path(__file__).resolve().parents[2]
TASKS = Path(__file__).with_name("tasks")


# ---- tasks ---------------------------------------------------------------------------------------

def lessons() -> list[str]:
    """["00", "01", ...]: the lessons that have tasks."""
    return sorted({file.stem[1:3] for file in TASKS.glob("t[0-9][0-9]*.py")})


def tasks_of(lesson: str) -> list:
    """The tasks of a lesson: tasks/t07.py, and what else begins so."""
    files = sorted(TASKS.glob(f"t{lesson}*.py"))
    modules = [importlib.import_module(f"lessons.grade.tasks.{file.stem}") for file in files]
    return sorted((task for module in modules for task in module.TASKS), key=lambda task: task.id)


def all_tasks() -> list:
    return [task for lesson in lessons() for task in tasks_of(lesson)]


def outline() -> list[SimpleNamespace]:
    """id, kind, level, minutes and core of all tasks, read from the text of their files: importing
    them takes seconds."""
    kinds = {"Task": "", "debug": "debug", "Ledger": "ledger", "Predict": "predict",
             "Plan": "design"}
    found = []
    for file in sorted(TASKS.glob("t[0-9][0-9]*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            kind = getattr(getattr(node, "func", None), "id", None)
            if isinstance(node, ast.Call) and kind in kinds:
                id, *more = (arg.value for arg in node.args[:5] if isinstance(arg, ast.Constant))
                named = {word.arg: word.value.value for word in node.keywords
                         if isinstance(word.value, ast.Constant)}
                fields = dict(zip(("kind", "level", "minutes", "core"), more)) | named
                found.append(SimpleNamespace(id=id, **{"kind": kinds[kind]} | {
                    name: fields[name] for name in ("kind", "level", "minutes", "core")
                    if name in fields}))
    return sorted(found, key=lambda task: task.id)


def find(id: str):
    here = {task.id: task for task in tasks_of(id[:2])} if id[:2] in lessons() else {}
    if id not in here:
        close = nearest(id.zfill(3), here or [task.id for task in all_tasks()])
        raise UserError(f"there is no task {id!r}{close}; python -m lessons.grade lists all")
    return here[id]


def ids_of(words: list[str]) -> list[str]:
    """07a stays 07a; 07 stands for all tasks of lesson 07."""
    return [id for word in words for id in
            ([task.id for task in tasks_of(word)] if word in lessons() else [word])]


def lesson_files() -> dict[str, Path]:
    """{"07": lessons/07_dpo.py, ...}, in order."""
    files = sorted((ROOT / "lessons").glob("[0-9]*_*.py"))
    return {file.stem.split("_")[0]: file for file in files}


def lesson_file(id: str) -> Path:
    """07a -> lessons/07_dpo.py"""
    return lesson_files()[id[:2]]


def environment(**more: str) -> dict[str, str]:
    """For other processes: they find the project, and say what they say in UTF-8."""
    path = [str(ROOT), str(ROOT / "lessons"), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(path), "PYTHONIOENCODING": "utf-8"} | more


# ---- the student's folder ------------------------------------------------------------------------

class My:
    def __init__(self, path: Path | str = "my"):
        self.path = Path(path)

    @property
    def name(self) -> str:
        file = self.path / "name.txt"
        return file.read_text(encoding="utf-8", errors="replace").strip() if file.exists() else ""

    def call_me(self, name: str) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        (self.path / "name.txt").write_text(name + "\n", encoding="utf-8")

    def file(self, task) -> Path:
        """Where the answer to a task is written."""
        if task.kind == "debug" and hasattr(task, "program"):
            return self.path / "bugs" / f"{task.id}.py"
        if hasattr(task, "signature"):
            return self.path / lesson_file(task.id).name
        return self.path / ("plans" if task.kind == "design" else "cards") / f"{task.id}.toml"

    def begin(self, tasks: list) -> None:
        """Starters for these tasks: a new file, or what a file lacks, at its end."""
        for task in [task for task in tasks if not self.has(task)]:
            file = self.file(task)
            if not file.exists():
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(beginning(task, self.name), encoding="utf-8")
            if is_function(task):
                with open(file, "a", encoding="utf-8") as f:
                    f.write(function_starter(task))

    def has(self, task) -> bool:
        """Is there a file, and does it name the function of this task, in whatever way?"""
        file = self.file(task)
        if not file.exists() or not is_function(task):
            return file.exists()
        text = file.read_text(encoding="utf-8", errors="replace")
        return re.search(rf"\b{task.function}\b", text) is not None

    def log(self, task: str, event: str, **more) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        entry = {"time": round(time.time()), "task": task, "event": event} | more
        with open(self.path / "log.jsonl", "a", encoding="utf-8") as f:
            f.write(json.dumps(entry) + "\n")

    def entries(self, task: str = "", event: str = "") -> list[dict]:
        """What the log says, oldest first; of one task, of one kind of event."""
        file = self.path / "log.jsonl"
        text = file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""
        found = filter(None, map(read_entry, text.splitlines()))
        return [e for e in found if task in ("", e["task"]) and event in ("", e["event"])]

    def states(self) -> dict[str, str]:
        """What came out at the last try of each task."""
        return {entry["task"]: entry.get("state") for entry in self.entries(event="try")}

    def last_hash(self, task) -> str:
        """Of the file at the last try."""
        return ([""] + [entry.get("hash", "") for entry in self.entries(task.id, "try")])[-1]

    def hash(self, task) -> str:
        """Twelve letters that tell two versions of an answer apart."""
        file = self.file(task)
        return checksum(file)[:12] if file.exists() else ""


def is_function(task) -> bool:
    return hasattr(task, "signature") and not hasattr(task, "program")


def read_entry(line: str) -> dict | None:
    """None for a line that somebody has edited out of shape."""
    with contextlib.suppress(ValueError, RecursionError, TypeError):
        entry = json.loads(line)
        if {"time", "task", "event"} <= set(entry) and 0 < entry["time"] < 1e11:
            return entry
    return None


# ---- starters: made from the tasks, so that there is no second source ----------------------------

def beginning(task, name: str) -> str:
    """The head of a file of functions; or a whole program or card."""
    if not is_function(task):
        return task.starter(name)
    command = f"python -m lessons.grade {task.id}"
    return (f'"""Exercises of lessons/{lesson_file(task.id).name}. Graded by: {command}"""\n'
            "import torch\n")


def function_starter(task) -> str:
    text = "\n".join(f"    {line}".rstrip() for line in task.text.strip().splitlines()).strip()
    raw = "r" if "\\" in text else ""
    about = f"# ---- {task.id}: {task.kind}, level {task.level}, about {task.minutes} minutes "
    body = f'    {raw}"""{text}\n    """\n    raise NotImplementedError\n'
    return f"\n\n{about:-<100}\ndef {task.signature}:\n{body}"
