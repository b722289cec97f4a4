"""House rules that a reader relies on: short lines, a small core, objectives that touch neither files nor optimizers.

    python -m pytest tests/test_house.py        below 1 s
"""
import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CODE = sorted([*(ROOT / "nanouft").rglob("*.py"), *(ROOT / "examples").glob("*.py")])
LAKE = sorted((ROOT / "frozen_lake").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))


def lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").split("\n")


def imported(file: Path) -> set[str]:
    """Every part of every module name that the file imports, inside functions too."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= {part for alias in node.names for part in alias.name.split(".")}
        if isinstance(node, ast.ImportFrom):
            names |= set((node.module or "").split("."))
    return names


def test_lines_have_at_most_120_characters():
    assert len(CODE) > 20 and len(TESTS) > 10, "the files were not found"
    long = [f"{f.relative_to(ROOT)}:{i}: {len(line)} characters"
            for f in CODE + LAKE + TESTS for i, line in enumerate(lines(f), 1) if len(line) > 120]
    assert not long, "\n".join(long)


@pytest.mark.parametrize("name, most", [("gpt.py", 320), ("train.py", 250)])
def test_the_core_fits_on_a_few_screens(name, most):
    n = (ROOT / "nanouft" / name).read_text(encoding="utf-8").count("\n")
    assert 100 < n <= most, f"nanouft/{name} has {n} lines, at most {most} are allowed"


def test_objectives_touch_neither_files_nor_optimizers():
    files = sorted((ROOT / "nanouft" / "objectives").glob("*.py"))
    assert len(files) >= 4
    for file in files:
        found = re.findall(r"torch\.load|torch\.save|\boptim\b|\bopen\(", file.read_text(encoding="utf-8"))
        assert not found, f"{file.name} mentions {found}: that is the loop's business, not an objective's"


def test_the_package_imports_no_lesson():
    for file in CODE:
        wrong = imported(file) & {"lessons", "frozen_lake"}
        assert not wrong, f"{file.relative_to(ROOT)} imports {wrong}: lessons may use the package, not the reverse"


def test_the_list_of_commands_names_every_command(capsys):
    """`python -m nanouft` lists what has a main, and nothing else."""
    from nanouft import __main__ as commands
    runnable = {f.stem for f in (ROOT / "nanouft").glob("*.py") if "sys.exit(" in f.read_text(encoding="utf-8")}
    assert set(commands.COMMANDS) == runnable - {"__main__"} | {"world"}
    assert commands.main() == 0 and "nanouft.train" in capsys.readouterr().out
