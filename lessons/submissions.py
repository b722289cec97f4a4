"""What a student has handed in: which file, which program, and whether another is the same.

A student's folder may hold ex06.py itself, a folder that does (an unpacked zip, a clone of the
project), or notebooks. Of several, the one counts that has begun the exercise and lies least deep.
Of a notebook the program is the exercise's function and what it needs: definitions, imports and
assignments of other cells. Nothing here runs a student's program.

Two programs are the same if they differ only in names of their own, comments, docstrings, layout,
and in what the function does not need. Very short ones are compared with the key alone, because
everybody who is right may write them alike.
"""
import ast
import hashlib
import json
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

DEPTH = 6                                       # folders below the student's own
LARGEST = 2**24                                 # bytes of a file that is read
FEW = 5                                         # names of a list that is shown
SHORT = 50                                      # parts of a program, by ast: a line or two
BROKEN = (SyntaxError, ValueError, RecursionError, MemoryError)
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
IMPORTS = (ast.Import, ast.ImportFrom)


@dataclass
class Program:
    """The file, and the source of a notebook's function; None: the file itself is the program."""
    file: Path
    source: str | None = None
    fingerprint: str = ""                       # equal for the same program; "": not begun
    is_short: bool = False                      # everybody may have written it alike
    reaches: str = ""                           # what it names that no exercise needs


def handed_in(student: Path, file_name: str, name: str) -> Program | None:
    """The student's program for the function `name`: from a file of this name or a notebook."""
    found = []
    for file in files(student, file_name):
        text = read(file)
        tree = parsed(text)
        needed = slice_of(tree, name)
        is_notebook = file.suffix == ".ipynb"
        if not needed and is_notebook:
            continue
        program, rank = Program(file, text if is_notebook else None), 0
        program.reaches = reaches(needed if is_notebook else tree.body)
        with suppress(*BROKEN):                 # nested too deep for `ast`: Python may still run it
            rank = worth(tree, name)
            if is_notebook:
                program.source = "\n\n".join(map(ast.unparse, needed)) + "\n"
            program.fingerprint, program.is_short = fingerprint(needed, name)
        found.append((rank, program))
    return min(found, key=lambda x: x[0])[1] if found else None


def worth(tree: ast.Module, name: str) -> int:
    """0: the function has been begun. Then a file that Python cannot read, a stub, another file."""
    if not tree.body:
        return 1
    made = [node for node in tree.body if name in bound(node)]
    return 3 if not made else 2 if is_stub(made[-1]) else 0


def files(student: Path, name: str) -> list[Path]:
    """Plain files of this name and notebooks, those that lie least deep first. Reading a pipe might
    never end."""
    found = []
    for folder, inside, here in os.walk(student):
        depth = len(Path(folder).relative_to(student).parts)
        inside[:] = sorted(x for x in inside if x[0] not in "._" and depth < DEPTH)
        found += [Path(folder, x) for x in sorted(here)
                  if x == name or x.endswith(".ipynb") and x[0] not in "._"]
    found = [x for x in found if not x.is_symlink() and x.is_file()
             and x.stat().st_size <= LARGEST]
    return sorted(found, key=lambda x: (len(x.parts), x.suffix == ".ipynb"))


def read(file: Path) -> str:
    """The text of a file, or the cells of a notebook without lines such as %timeit and !pip. A cell
    that Python cannot read is left out."""
    text = file.read_text(encoding="utf-8-sig", errors="replace")
    if file.suffix != ".ipynb":
        return text
    try:
        cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
        sources = ["".join(cell["source"]) for cell in cells]
    except (*BROKEN, KeyError, TypeError):
        return ""
    kept = []
    for source in sources:
        lines = ["" if line.lstrip().startswith(("%", "!")) else line
                 for line in source.splitlines()]
        kept += ["\n".join(lines)] if parsed("\n".join(lines)).body else []
    return "\n\n".join(kept)


def parsed(source: str) -> ast.Module:
    """Empty if Python cannot read it."""
    try:
        return ast.parse(source)
    except BROKEN:
        return ast.Module([], [])


def is_stub(node: ast.stmt) -> bool:
    return isinstance(node, DEFINITIONS) and "NotImplementedError" in ast.unparse(node.body[-1])


# ---- the function and what it needs -------------------------------------------------------------
def slice_of(tree: ast.Module, name: str) -> list[ast.stmt]:
    """The statements that bind `name`, or a name that one of these uses, in their order; none if
    nothing binds it."""
    if not any(name in bound(node) for node in tree.body):
        return []
    wanted, kept = {name}, set()
    while True:
        more = {i for i, node in enumerate(tree.body)
                if i not in kept and (bound(node) & wanted or "*" in bound(node))}
        if not more:
            return [tree.body[i] for i in sorted(kept)]
        kept |= more
        wanted |= {x.id for i in more for x in ast.walk(tree.body[i]) if isinstance(x, ast.Name)}


def bound(node: ast.stmt) -> set[str]:
    """Names that a statement of a file gives a meaning to."""
    if isinstance(node, DEFINITIONS):
        return {node.name}
    if isinstance(node, IMPORTS):
        return {(x.asname or x.name).split(".")[0] for x in node.names}
    return {x.id for x in ast.walk(node) if isinstance(x, ast.Name)
            and isinstance(x.ctx, ast.Store)} | {
                (x.asname or x.name).split(".")[0] for y in ast.walk(node)
                if isinstance(y, IMPORTS) for x in y.names}


# ---- what no exercise needs ---------------------------------------------------------------------
PLAIN = {"__future__", "collections", "copy", "dataclasses", "decimal", "fractions", "functools",
         "itertools", "lessons.check", "math", "numpy", "operator", "random", "re", "statistics",
         "string", "torch", "typing"}
OPENS = {"compile", "eval", "exec", "f_back", "globals", "locals", "open", "vars"}
USUAL = {"__init__", "__name__", "__post_init__"}
KEY = re.compile(r"\bkey\d\d")


def reaches(statements: list[ast.stmt]) -> str:
    """"the key, os, open": modules, files and Python's insides that a program names and that no
    exercise needs. A hint to read it and no proof: whoever wants to hide it can."""
    found = dict.fromkeys(x for part in statements for node in ast.walk(part) for x in named(node))
    told = ["the key" if KEY.search(x) else x for x in found if not is_plain(x)]
    return ", ".join(sorted(set(told), key=lambda x: (x != "the key", x))[:FEW])


def named(node: ast.AST) -> list[str]:
    """Modules that a node imports, and names and texts that reach for more than an exercise."""
    if isinstance(node, ast.Import):
        return [x.name for x in node.names]
    if isinstance(node, ast.ImportFrom):
        module = "." * node.level + (node.module or "")
        parts = node.level or module in ("lessons", "lessons.exercises")
        return [f"{module.rstrip('.')}.{x.name}" for x in node.names] if parts else [module]
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return KEY.findall(node.value)
    name = getattr(node, "id", getattr(node, "attr", ""))
    inside = name.startswith("__") and name.endswith("__") and name not in USUAL
    return [name] if name in OPENS or inside else []


def is_plain(module: str) -> bool:
    return module in PLAIN or module.split(".")[0] in PLAIN


# ---- the same program ---------------------------------------------------------------------------
def fingerprint(needed: list[ast.stmt], name: str) -> tuple[str, bool]:
    """A hash of the program, in which its own names are replaced by numbers, and whether it is
    short; "" if it has not been begun."""
    imported = {}
    for node in needed:
        if isinstance(node, ast.Import):
            imported |= {x.asname or x.name: x.name for x in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported |= {x.asname or x.name: f"{node.module}.{x.name}" for x in node.names}
    own = [node for node in needed if not isinstance(node, IMPORTS)]
    own.sort(key=lambda node: name not in bound(node))          # the function itself first
    if not own or is_stub(own[0]):
        return "", True
    copy = ast.parse("\n".join(map(ast.unparse, own)))
    renamed = Renamed(imported, own_names(copy)).visit(copy)
    is_short = sum(1 for _ in ast.walk(renamed)) < SHORT
    return hashlib.sha256(ast.dump(renamed).encode()).hexdigest(), is_short


def own_names(tree: ast.Module) -> set[str]:
    """Names that the program itself gives a meaning to: the others are Python's or a library's."""
    names = {x.id for x in ast.walk(tree) if isinstance(x, ast.Name)
             and isinstance(x.ctx, ast.Store)}
    names |= {x.arg for x in ast.walk(tree) if isinstance(x, ast.arg)}
    return names | {x.name for x in ast.walk(tree) if isinstance(x, DEFINITIONS)}


class Renamed(ast.NodeTransformer):
    """The program with a number for each of its own names, in the order in which they occur, and
    without docstrings and annotations."""

    def __init__(self, imported: dict[str, str], own: set[str]):
        self.imported, self.own, self.numbers = imported, own, {}

    def name(self, name: str) -> str:
        if name in self.own:
            return str(self.numbers.setdefault(name, len(self.numbers)))
        return self.imported.get(name, name)

    def visit_Name(self, node):
        return ast.Name(self.name(node.id), node.ctx)

    def visit_arg(self, node):
        return ast.arg(self.name(node.arg))

    def visit_AnnAssign(self, node):
        if node.value is None:
            return None
        return self.generic_visit(ast.Assign([node.target], node.value))

    def visit_FunctionDef(self, node):
        node.name, node.returns = self.name(node.name), None
        if ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        return self.generic_visit(node)

    visit_AsyncFunctionDef = visit_FunctionDef
