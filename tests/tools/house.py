"""How large is the house, and which room imports which? The sizes with their limits.

    python tests/tools/house.py            # below a second; tests/test_house.py holds structure and limits
"""
import ast
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Each room imports only from rooms above it in this list, and from itself.
ROOMS = ("shell", "gpt", "objective", "data", "hf", "models", "reference", "objectives", "world", "look", "rollout",
         "training", "train pretrain simple", "sample evaluate ledger reward playground")
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
    return {module(f): f for f in python_files("nanouft", "frozen_lake", "lab")}


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


def characters(*files: Path) -> int:
    return sum(len(f.read_text(encoding="utf-8")) for f in files)


def read_by(start: str) -> list[Path]:
    """Files that importing this module reads, late imports apart."""
    return [modules()[name] for name in reached(start, False)]


def sizes() -> list[tuple[str, int, int, int]]:
    """(what, lines or words, limit, characters). `tests/test_house.py` holds the limits."""
    grade = [f for f in python_files("lessons/grade") if f.parent.name != "tasks"]
    readme = ROOT / "README.md"
    losses = [name for name in modules() if name.startswith("nanouft.objectives.")]
    without_methods = [f for f in read_by("nanouft.train") if "objectives" not in f.parts]
    parts = [("the package: nanouft and frozen_lake", python_files("nanouft", "frozen_lake"), 14600),
             ("lab", python_files("lab"), 5180),                    # 4,600 is the aim
             ("tests", python_files("tests"), 16000),
             ("JavaScript, CSS and HTML by hand", [f for f in ROOT.rglob("*") if f.suffix in (".js", ".css", ".html")
                                                   and not {"out", ".venv", "node_modules"} & {*f.parts}], 3600),
             ("lessons/grade without its tasks", grade, 2600),
             ("what train imports, without the files of the methods", without_methods, 5000),
             ("what simple imports", read_by("nanouft.simple"), 2500),
             ("what one loss imports (dpo)", read_by("nanouft.objectives.dpo"), 400),
             ("what the widest loss imports", max(map(read_by, losses), key=lambda files: lines(*files)), 820),
             ("what gpt.py imports", read_by("nanouft.gpt"), 320),
             ("first afternoon: " + ", ".join(f.stem for f in FIRST_PATH), FIRST_PATH, 1150)]
    out = [(what, lines(*files), limit, characters(*files)) for what, files, limit in parts]
    return [*out, ("files flat in nanouft/", len(list((ROOT / "nanouft").glob("*.py"))), 12, 0),
            ("lines over 100 characters where students read", len(wide_lines(narrow_files(), 100)), 0, 0),
            ("words of README", len(readme.read_text(encoding="utf-8").split()), 1300, characters(readme))]


if __name__ == "__main__":
    for what, now, limit, length in sizes():
        print(f"{now:>7,}  (at most {limit:>6,})  {length:>9,} characters  {what}")
