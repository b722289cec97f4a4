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
from dataclasses import dataclass
from pathlib import Path

DEPTH = 6                                       # folders below the student's own
LARGEST = 2**24                                 # bytes of a file that is read
SHORT = 50                                      # parts of a program, by ast: a line or two
BROKEN = (SyntaxError, ValueError, RecursionError, MemoryError)
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
IMPORTS = (ast.Import, ast.ImportFrom)


@dataclass
class Program:
    """A file, and what is run of it: all, or a notebook's function and what this needs."""
    file: Path
    source: bytes = b""
    fingerprint: str = ""                       # equal for the same program; "" if not begun
    short: bool = False                         # so that everybody writes it alike
    reaches: str = ""                           # for what no exercise needs


def handed_in(student: Path, file_name: str, name: str) -> Program | None:
    """The student's program for the function `name`: from a file of this name or a notebook."""
    found = []
    for file in files(student, file_name):
        try:
            rank, program = read_program(file, name)
        except OSError:                                 # one that nobody may read, for example
            continue
        if program:
            found.append((rank, program))
    return min(found, key=lambda x: x[0])[1] if found else None


def read_program(file: Path, name: str) -> tuple[int, Program | None]:
    """A program for this function, and its worth. A notebook without the function has none."""
    source = file.read_bytes()
    try:
        tree = parse(read(file))
        needed, rank = slice_of(tree, name), worth(tree, name)
        if file.suffix == ".ipynb":
            source = "\n\n".join(map(ast.unparse, needed)).encode("utf-8", "replace") + b"\n"
        mark, parts = fingerprint(needed, name)
        program = Program(file, source, mark, parts < SHORT, reaches_for(tree))
    except BROKEN:                                      # nested too deep for ast
        return 1, Program(file, source, reaches="too deep to be read")
    return rank, program if needed or file.suffix != ".ipynb" else None


def worth(tree: ast.Module, name: str) -> int:
    """0: the function has been begun. Then a file that Python cannot read, a stub, another file."""
    if not tree.body:
        return 1
    made = [node for node in tree.body if name in bound(node)]
    return 3 if not made else 2 if is_stub(made[-1]) else 0


def files(student: Path, name: str) -> list[Path]:
    """Files of this name and notebooks, those that lie least deep first."""
    found = []
    for folder, inside, here in os.walk(student):
        depth = len(Path(folder).relative_to(student).parts)
        inside[:] = sorted(x for x in inside if x[0] not in "._" and depth < DEPTH)
        found += [Path(folder, x) for x in sorted(here)
                  if x == name or x.endswith(".ipynb") and x[0] not in "._"]
    found = [x for x in found
             if not x.is_symlink() and x.is_file() and x.stat().st_size <= LARGEST]
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
        kept += ["\n".join(lines)] if parse("\n".join(lines)).body else []
    return "\n\n".join(kept)


def parse(source: str) -> ast.Module:
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
KEY = re.compile(r"\bkey\d\d\b|(^|[./\\])key_\w+|\blessons\.(\w+\.)?exercise|"
                 r"\blessons\.(evidence|pieces\.silent)|nanouft[./\\]simple\b")
INSIDES = {"builtins", "ctypes", "gc", "glob", "importlib", "inspect", "io", "os", "pathlib",
           "pickle", "runpy", "shutil", "socket", "subprocess", "sys"}
CALLS = {"open", "exec", "eval", "compile", "__import__", "globals", "__builtins__"}


def reaches_for(tree: ast.Module, key: re.Pattern = KEY) -> str:
    """"the key, files or Python's insides": what a program reaches for that no exercise needs. It
    is a hint to read it and no proof: whoever wants to hide it can. key: names of keys."""
    found = set()
    for node in ast.walk(tree):
        modules = modules_of(node)
        text = node.value if isinstance(node, ast.Constant) else ""
        if any(map(key.search, modules)) or isinstance(text, str) and key.search(text):
            found.add("the key")
        if (any(x.split(".")[0] in INSIDES for x in modules)
                or isinstance(node, ast.Name) and node.id in CALLS):
            found.add("files or Python's insides")
    return ", ".join(sorted(found, reverse=True))


def modules_of(node: ast.AST) -> list[str]:
    """What an import names, as nanouft.simple, also from `from nanouft import simple`."""
    if isinstance(node, ast.Import):
        return [x.name for x in node.names]
    if isinstance(node, ast.ImportFrom):
        return [f"{node.module or ''}.{x.name}".strip(".") for x in node.names]
    return []


# ---- the same program ---------------------------------------------------------------------------
def fingerprint(needed: list[ast.stmt], name: str) -> tuple[str, int]:
    """A hash of the program, in which its own names are replaced by numbers, and how many parts it
    has; "" if it has not been begun."""
    imported = {}
    for node in needed:
        if isinstance(node, ast.Import):
            imported |= {x.asname or x.name: x.name for x in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported |= {x.asname or x.name: f"{node.module}.{x.name}" for x in node.names}
    own = [node for node in needed if not isinstance(node, IMPORTS)]
    own.sort(key=lambda node: name not in bound(node))          # the function itself first
    if not own or is_stub(own[0]):
        return "", 0
    copy = ast.parse("\n".join(map(ast.unparse, own)))
    renamed = RenameLocals(imported, own_names(copy)).visit(copy)
    mark = hashlib.sha256(ast.dump(renamed).encode("utf-8", "backslashreplace")).hexdigest()
    return mark, sum(1 for _ in ast.walk(renamed))


def own_names(tree: ast.Module) -> set[str]:
    """Names that the program itself gives a meaning to: the others are Python's or a library's."""
    names = {x.id for x in ast.walk(tree) if isinstance(x, ast.Name)
             and isinstance(x.ctx, ast.Store)}
    names |= {x.arg for x in ast.walk(tree) if isinstance(x, ast.arg)}
    return names | {x.name for x in ast.walk(tree) if isinstance(x, DEFINITIONS)}


class RenameLocals(ast.NodeTransformer):
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
    visit_ClassDef = visit_FunctionDef
