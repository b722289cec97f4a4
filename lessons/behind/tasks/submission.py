"""What a student has handed in: which file counts for a task, and what its mark belongs to."""
import ast
import hashlib
import json
import os
import re
from collections.abc import Iterator
from inspect import signature
from pathlib import Path

from lessons.behind.tasks.child import ROOT, Job, no_container
from lessons.behind.tasks.task import STUBS, Judge, tasks
from nanouft.plumbing.files import read_text
from nanouft.plumbing.printing import say

LARGEST = 2**22                     # bytes of a file
DEFINED = (ast.FunctionDef, ast.ClassDef)
BROKEN = (SyntaxError, ValueError, RecursionError, MemoryError)
PLAIN = "float int range list tuple dict set sum max min len torch.tensor".split()
UNREADY = tuple(".zip .rar .7z .tar .gz .tgz .py.txt .ipynb.txt".split())
FOR_NOTEBOOK = re.compile(r"\s*(\w+\s*=\s*)?[%!?].*|\s*[\w.]+\?+\s*")
NOT_HANDED_IN, FREE, NOT_READ = "not handed in", "without a container", "not read"


def all_files(student: Path) -> list[Path]:
    """Programs, notebooks, archives and folders that are links, those that lie least deep first."""
    found = []
    for folder, inside, here in os.walk(student):
        inside[:] = sorted(x for x in inside if x[0] != "."
                           and not Path(folder, x, "pyvenv.cfg").exists())
        found += [Path(folder, x) for x in inside if Path(folder, x).is_symlink()]
        found += [Path(folder, x) for x in sorted(here)
                  if x.lower().endswith((".py", ".ipynb", *UNREADY))]
    return sorted(found, key=lambda x: (len(x.parts), x.suffix))


def files(student: Path) -> list[Path]:
    """Those that may be for a task. In a clone of the project only the exercises are the
    student's."""
    inside = ((x, x.relative_to(student)) for x in all_files(student))
    return [x for x, path in inside
            if not is_ours(path) and not any(part[0] == "_" for part in path.parts[:-1])]


def is_ours(file: Path) -> bool:
    """Has the project a file in such a place, other than an exercise?"""
    ends = (Path(*file.parts[k:]) for k in range(len(file.parts) - 1))
    return file.parent.name != STUBS.name and any((ROOT / x).exists() for x in ends)


def text_of(file: Path) -> tuple[str, list[str]]:
    """Of a notebook: imports, definitions and constants; and cells that Python cannot read."""
    if file.name.lower().endswith(UNREADY):
        raise OSError("unpack it, or rename it to .py or .ipynb")
    if file.is_symlink() or not file.is_file() or file.stat().st_size > LARGEST:
        raise OSError("a link, not a plain file, or too large")
    text = file.read_text(encoding="utf-8-sig", errors="replace")
    if file.suffix.lower() == ".py":
        return text, []
    kept, unread = ["from __future__ import annotations"], []       # none of which fails
    for cell in json.loads(text)["cells"]:
        code = "".join(cell["source"] if cell["cell_type"] == "code" else "")
        try:
            kept += [as_definition(x) for x in parsed(code).body
                     if is_kept(x) and getattr(x, "module", "") != "__future__"]
        except BROKEN as error:
            name = re.search(r"^(?:def|class) (\w+)", code, re.M)
            unread.append(f"cell {name[1] if name else code.strip()[:30]!r}: {error}")
    return "\n".join(kept), unread


def parsed(code: str) -> ast.Module:
    """A cell, where lines for the notebook itself, such as %time, do nothing. Of the lines that
    look so, these are the ones where Python ends: `% 2` may go on with a sum."""
    lines = code.split("\n")
    while True:
        try:
            return ast.parse("\n".join(lines), "this cell")
        except SyntaxError as error:
            at = (error.lineno or 1) - 1
            if at >= len(lines) or not FOR_NOTEBOOK.fullmatch(lines[at]):
                raise
            lines[at] = re.match(r"\s*", lines[at])[0] + "pass"


def is_kept(x: ast.stmt) -> bool:
    """An import, a definition, or a constant that is computed by nothing but such as float(1)."""
    if isinstance(x, ast.Try):                          # an import that may fail
        return all(map(is_kept, x.body))
    later = {z for y in ast.walk(x) if isinstance(y, ast.Lambda) for z in ast.walk(y)}
    calls = [ast.unparse(y.func) for y in ast.walk(x) if isinstance(y, ast.Call) and y not in later]
    return isinstance(x, (*DEFINED, ast.Import, ast.ImportFrom)) or (
        isinstance(x, (ast.Assign, ast.AnnAssign))
        and all(name in PLAIN or name.startswith("math.") for name in calls))


def as_definition(x: ast.stmt) -> str:
    """As text: half = lambda x: x / 2 is a definition, too. What fails and is no task, such as an
    import from Colab or from lessons/, does nothing."""
    match x:
        case ast.Assign([ast.Name(name)], ast.Lambda(given, body)):
            return f"def {name}({ast.unparse(given)}):\n    return {ast.unparse(body)}"
    bare = isinstance(x, ast.FunctionDef) and (
        not (x.decorator_list or x.args.defaults) or x.name in {y.name for y in tasks().values()})
    nothing = ast.ExceptHandler(ast.Name("Exception"), None, [ast.Pass()])
    return ast.unparse(x if bare else ast.Try([x], [nothing], [], []))


def definition(text: str, name: str) -> ast.FunctionDef | ast.ClassDef | None:
    """Of this name, or of the last class; None if there is none or it is still a stub."""
    try:
        made = [x for x in ast.parse(text).body if isinstance(x, DEFINED)
                and (x.name == name if name else isinstance(x, ast.ClassDef))]
        return made[-1] if made and not is_stub(made[-1]) else None
    except BROKEN:                                      # nested too deep, for example
        return None


def is_begun(name: str) -> bool:
    """Has this task been begun in the student's file?"""
    file = STUBS / tasks()[name].file
    return file.exists() and definition(read_text(file), tasks()[name].name) is not None


def is_stub(made: ast.FunctionDef | ast.ClassDef) -> bool:
    """Does it, or the last method of a class, do nothing but raise NotImplementedError?"""
    last = made.body[-1]
    if isinstance(made, ast.ClassDef):
        return isinstance(last, DEFINED) and is_stub(last)
    return (isinstance(last, ast.Raise) and "NotImplementedError" in ast.unparse(last)
            and len(made.body) == 1 + (ast.get_docstring(made) is not None))


def imported(text: str) -> list[str]:
    """Words of all imports; if Python cannot read the program, of all lines that have that word."""
    try:
        imports = [ast.unparse(x) for x in ast.walk(ast.parse(text))
                   if isinstance(x, (ast.Import, ast.ImportFrom))]
    except BROKEN:
        imports = [line for line in text.splitlines() if "import" in line]
    return re.findall(r"\w+", " ".join(imports))


class Student:
    """What a student has handed in, and the marks of earlier calls."""

    def __init__(self, folder: Path, out: Path):
        self.folder, self.name = folder, folder.name
        self.texts: dict[Path, str] = {}
        self.not_read: list[str] = []
        for file in files(folder):
            try:
                self.texts[file], unread = text_of(file)
                self.not_read += [f"{file.relative_to(folder)} ({cell})" for cell in unread]
            except (*BROKEN, OSError, LookupError, TypeError) as error:
                self.not_read.append(f"{file.relative_to(folder)} ({error!r:.60})")
        self.named = {word for text in self.texts.values() for word in imported(text)}
        self.not_read += self.misnamed()
        self.beside = hash_of_judge(*self.neighbours())
        # by the names of tasks:
        self.programs: dict[str, tuple[Path, str]] = {}
        self.belongs: dict[str, str] = {}
        self.marks = marks_in(out / f"{self.name}.json")

    def misnamed(self) -> list[str]:
        """Programs that nothing reads though their name is nearly that of a task's file."""
        names = {task.file for task in tasks().values()}
        words = "|".join(name[:-3] for name in names if name[:2] != "ex")
        like = re.compile(rf"(?<![a-z])(ex(ercise)?[\W_]*\d|({words})(?![a-z]))", re.I)
        return [f"{file.relative_to(self.folder)} (no task has a file of this name)"
                for file in self.texts if file.name not in names and file.stem not in self.named
                and file.suffix.lower() == ".py" and file.name[0] != "."
                and like.search(file.stem)]

    def neighbours(self) -> Iterator[tuple[str, bytes]]:
        """Files that a program may import: those for no task, and those that an import names."""
        of_tasks = {task.file for task in tasks().values()}
        for file in all_files(self.folder):
            if file.suffix == ".py" and file.is_file() and (file.name not in of_tasks
                                                            or file.stem in self.named):
                yield str(file.relative_to(self.folder)), file.read_bytes()

    def program(self, name: str) -> tuple[Path, str] | None:
        """The file for a task, and its text: the first that has begun it, else the first. mine.py
        comes first, and last a lesson's own helper of this name, with other arguments."""
        task, found = tasks()[name], []
        part, asked = task.file == "mine.py", [*signature(task.right).parameters]
        for file, text in self.texts.items():
            made, own = definition(text, task.name), file.name == task.file
            given = [x.arg for x in made.args.args] if isinstance(made, ast.FunctionDef) else asked
            last = not own and (part or given != asked)
            if own or (file.suffix.lower() == ".ipynb" and task.name and made
                       and (given == asked or not part)):
                found.append((made is None, last, len(found), file, text))
        return min(found)[3:] if found else None

    def find(self, versions: dict[str, str]) -> None:
        """The programs for these tasks, and what the mark of each belongs to."""
        for name, version in versions.items():
            if program := self.program(name):
                file, text = self.programs[name] = program
                self.belongs[name] = hash_of_judge(
                    version, str(file.relative_to(self.folder)), text, self.beside)

    def unmarked(self) -> list[str]:
        """Programs without a mark that belongs to them."""
        return [name for name, mine in self.belongs.items() if name not in self.marks
                or self.marks[name]["extra_data"]["belongs_to"] != mine]

    def remarks(self, names: list[str]) -> dict[str, list[str]]:
        return {NOT_HANDED_IN: [name for name in names if name not in self.programs],
                NOT_READ: self.not_read,
                FREE: [name for name in names if name in self.programs
                       and not self.marks[name]["extra_data"]["container"]]}


def hash_of_judge(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def marks_in(file: Path) -> dict[str, dict]:
    """Those of an earlier call, by the names of their tasks."""
    try:
        return {x["name"]: x for x in json.loads(file.read_text(encoding="utf-8"))["tests"]
                if "belongs_to" in x["extra_data"]}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, LookupError, TypeError) as error:
        say(f"{file}: its marks are lost, because it cannot be read ({error!r:.60})")
        return {}


def warn_without_container() -> None:
    if why := no_container():
        say(f"Programs run without a container ({why}). They can read the keys, write files (the "
            "judge's, too) and use the network, so grade on a computer with nothing else on it.")
    elif os.geteuid() == 0:
        say("You are root, and the limit on processes does not apply to root. Grade as another "
            "user, or a program may start any number of processes.")


def job_for(name: str, judge: Judge, file: Path, text: str) -> Job:
    task = judge.task
    return Job(name, task.name, task.file, file.parent.resolve(), text, task.look, judge.cases,
               task.seconds, file.name)
