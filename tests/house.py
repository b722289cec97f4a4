"""How large is the house, and which room imports which? The sizes with the aims beside them.

    python tests/house.py            # below a second; tests/test_house.py holds the structure
"""
import ast
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Each room imports only from rooms above it in this list, and from itself.
ROOMS = ("shell", "gpt", "objective", "data", "models", "objectives", "reference", "world", "look", "rollout",
         "training", "train pretrain simple", "sample evaluate ledger reward", "lab")
FIRST_PATH = [ROOT / "nanouft" / f for f in ("simple.py", "objective.py", "objectives/sft.py", "objectives/dpo.py",
                                             "objectives/ift.py", "gpt.py", "train.py")]


def python_files(*places: str) -> list[Path]:
    return sorted(f for place in places for f in (ROOT / place).rglob("*.py") if "__pycache__" not in f.parts)


def narrow_files() -> list[Path]:
    """Where students read: lines of at most 100 characters."""
    return [*python_files("lessons", "nanouft/objectives"),
            *(ROOT / "nanouft" / f"{name}.py" for name in ("simple", "objective", "gpt", "train"))]


def lines(*files: Path) -> int:
    return sum(f.read_text(encoding="utf-8").count("\n") for f in files)


def module(file: Path) -> str:
    """nanouft/data/rows.py -> nanouft.data.rows"""
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@lru_cache
def modules() -> dict[str, Path]:
    return {module(f): f for f in python_files("nanouft", "frozen_lake")}


def room(name: str) -> int | None:
    """Number of the room of a module of nanouft; None for the package itself and for python -m nanouft."""
    second = (name.split(".") + [""])[1]
    return next((i for i, names in enumerate(ROOMS) if second in names.split()), None)


def statements(tree: ast.AST, late: bool) -> Iterator[ast.AST]:
    """Statements of a file; with `late`, those inside functions too."""
    for node in ast.iter_child_nodes(tree):
        yield node
        if late or not isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)):
            yield from statements(node, late)


@lru_cache
def imports(file: Path, late: bool = True) -> set[str]:
    """Modules of this project that a file imports."""
    found, tree = set(), ast.parse(file.read_text(encoding="utf-8"))
    package = module(file).split(".") if file.name == "__init__.py" else module(file).split(".")[:-1]
    for node in statements(tree, late):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            start = package[:len(package) - node.level + 1] if node.level else []
            base = ".".join([*start, *([node.module] if node.module else [])])
            whole = {f"{base}.{alias.name}" for alias in node.names}
            found |= (whole & modules().keys()) or {base}
    if module(file) == "nanouft.objectives":                    # the registry imports its files by name
        found |= {name for name in modules() if name.startswith("nanouft.objectives.")}
    return found & modules().keys() - {module(file)}


def reached(start: str, late: bool) -> set[str]:
    """Every module that importing `start` reads (with `late`: may ever read)."""
    seen, waiting = set(), [start]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += imports(modules()[name], late)
    return seen


def wide_lines(files: list[Path], most: int) -> list[str]:
    return [f"{f.relative_to(ROOT)}:{i}: {len(line)} characters" for f in files
            for i, line in enumerate(f.read_text(encoding="utf-8").split("\n"), 1) if len(line) > most]


def sizes() -> list[tuple[str, int, int]]:
    """(what, lines or files, aim)."""
    def without_methods(late: bool) -> list[Path]:
        return [modules()[m] for m in reached("nanouft.train", late) if not m.startswith("nanouft.objectives.")]
    return [("lines that train imports (without the files of the methods)", lines(*without_methods(False)), 3900),
            ("... with what it imports only where needed", lines(*without_methods(True)), 3900),
            ("first afternoon: " + ", ".join(f.stem for f in FIRST_PATH), lines(*FIRST_PATH), 1150),
            ("files flat in nanouft/", len(list((ROOT / "nanouft").glob("*.py"))), 12),
            ("lines over 100 characters where students read", len(wide_lines(narrow_files(), 100)), 0),
            ("product: nanouft and frozen_lake", lines(*python_files("nanouft", "frozen_lake")), 11500),
            ("tests", lines(*python_files("tests")), 11000),
            ("words of README", len((ROOT / "README.md").read_text(encoding="utf-8").split()), 1300)]


if __name__ == "__main__":
    for what, now, aim in sizes():
        print(f"{now:>7,}  (aim {aim:>6,})  {what}")
