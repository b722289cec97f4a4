"""What a student has handed in: which file counts for a task, and what its mark belongs to."""
import ast
import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from lessons.tasks.child import ROOT, Job, no_container
from lessons.tasks.task import STUBS, Judge, tasks
from nanouft.plumbing.printing import say

LARGEST = 2**22                     # bytes of a file
SHORT = 50                          # nodes of a program that everybody writes alike
DEFINED = (ast.FunctionDef, ast.ClassDef)
BROKEN = (SyntaxError, ValueError, RecursionError, MemoryError)
NOT_HANDED_IN, FREE, NOT_READ = "not handed in", "without a container", "not read"


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


def definition(text: str, name: str) -> ast.FunctionDef | ast.ClassDef | None:
    """Of this name, or of the last class; None if there is none or it is still a stub."""
    try:
        made = [x for x in ast.parse(text).body if isinstance(x, DEFINED)
                and (x.name == name if name else isinstance(x, ast.ClassDef))]
        stub = made and "NotImplementedError" in ast.unparse(made[-1].body[-1])
    except BROKEN:                                      # nested too deep, for example
        return None
    return None if stub or not made else made[-1]


def arguments(made: ast.FunctionDef | ast.ClassDef) -> int:
    return len(made.args.args) if isinstance(made, ast.FunctionDef) else 0


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
            made = definition(text, task.name)
            if file.name == task.file or (file.suffix == ".ipynb" and task.name and made
                                          and not task.is_another(arguments(made))):
                found.append((made is None, len(found), file, text))
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


def hashed(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def marks_in(file: Path) -> dict[str, dict]:
    """Those of an earlier call, by the names of their tasks."""
    with suppress(OSError, ValueError, LookupError, TypeError):
        return {x["name"]: x for x in json.loads(file.read_text(encoding="utf-8"))["tests"]
                if "belongs_to" in x["extra_data"]}
    return {}


def others(student: Path) -> list[Path]:
    """Folders beside a student's, perhaps those of classmates."""
    beside = student.parent.iterdir() if len(student.parent.parts) > 1 else []
    return [x for x in beside if x != student and x.name[0] not in "._" and x.is_dir()]


def warn_without_container() -> None:
    if why := no_container():
        say(f"Programs run without a container ({why}). They can read keys, write files and use "
            "the network, so grade where nothing else is.")


def job_for(name: str, judge: Judge, file: Path, text: str) -> Job:
    task = judge.task
    return Job(name, task.name, task.file, file.parent.resolve(), text, task.look, judge.cases,
               task.seconds)
