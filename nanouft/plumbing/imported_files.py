"""Which files the code of a file is in: itself, and what it imports from its own folder.

    imported_files(Path("mine.py"))         # {/me/mine.py, /me/helper.py, .../objectives/dpo.py}

What it imports of nanouft's methods belongs to it, too. Nothing that code opens or imports by a
computed name is seen.
"""
import ast
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]           # nanouft
METHODS = PACKAGE / "objectives"


def imported_files(file: Path) -> set[Path]:
    """A file of code, the files that it imports from its folder or of nanouft's methods, and the
    files that these import."""
    root, found, left = file.resolve().parent, set[Path](), [file]
    while left:
        if (file := left.pop().resolve()) not in found and file.is_file():
            found.add(file)
            modules = [*module_files(file)]
            inside = {x for x in file.parents if x.is_relative_to(root)}    # from ..helper import x
            left += [place / name for place in {root, file.parent} | inside
                     for name in modules if not name.startswith("nanouft/")]
            left += [PACKAGE.parent / name for name in modules
                     if name.startswith("nanouft/objectives/") and name.count("/") == 2]
    return found - {METHODS / "__init__.py"}


def module_files(file: Path) -> Iterator[str]:
    """Where the modules that a file imports may lie: of `import a.b` a.py, a/__init__.py, a/b.py
    and a/b/__init__.py."""
    for name in imported_names(file.read_bytes()):
        parts = name.split(".")
        for n in range(1, len(parts) + 1):
            yield f"{'/'.join(parts[:n])}.py"
            yield f"{'/'.join(parts[:n])}/__init__.py"


@cache
def imported_names(text: bytes) -> tuple[str, ...]:
    """"a", "a.b" of `from a import b`; of a relative import the same, as from the file's folder.
    A text that is not valid Python imports nothing."""
    names: list[str] = []
    tree = ast.Module([], [])
    with suppress(SyntaxError, ValueError):
        tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            before = [node.module] if node.module else []
            names += [".".join([*before, alias.name]) for alias in node.names]
    return tuple(names)
