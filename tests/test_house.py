"""The house stays small, and each file reads only what stands above it.

At the limit, merge or delete something: one total counts for all rooms together."""
import ast
import re
import subprocess
import sys
from pathlib import Path

from lessons.course import NAMES

ROOT = Path(__file__).parents[1]
# Rooms: folders of nanouft/ and files at its top. Each imports only what stands before it.
ORDER = """errors seeds disk fast gpt objective loop models data objectives world simple run trainer
    pictures evaluate pretrain reward sample train ledger playground __main__""".split()
LIMIT = 1_676_000           # characters of all rooms together: what is reached (1.1.0: 1,456,000)
ROOMS = ("nanouft", "frozen_lake", "lessons", "tests", "docs")
COMMANDS = re.compile(r"python3? -m ((?:nanouft|frozen_lake|lessons)[\w.]*)")


def texts() -> dict[Path, str]:
    """Every text of the project."""
    files = [f for name in ("*.md", "docs/*.md", "nanouft/**/*.py", "frozen_lake/**/*.py",
                            "lessons/**/*.py", "lessons/**/*.md", "tests/*.py")
             for f in sorted(ROOT.glob(name))]
    return {f: f.read_text(encoding="utf-8") for f in files}


def test_all_rooms_together_are_no_larger_than_the_limit():
    """One total counts, so that a text goes where it is read, and nobody cuts a docstring."""
    found = [f for room in ROOMS for f in (ROOT / room).rglob("*")
             if f.suffix in (".py", ".js", ".css", ".html", ".md")
             and (f.stem in NAMES or not re.match(r"\d\d_", f.name))]     # no student's copy
    size = sum(len(f.read_text(encoding="utf-8")) for f in [*found, *ROOT.glob("*.md")])
    assert size <= LIMIT, f"{size:,} characters"


def test_a_room_imports_only_what_stands_before_it():
    for file in sorted((ROOT / "nanouft").rglob("*.py")):
        room = file.relative_to(ROOT / "nanouft").with_suffix("").parts[0]
        if room == "__init__":
            continue
        assert room in ORDER, f"{file.name}: where does it stand in the order?"
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, (ast.Import, ast.ImportFrom)):
                continue
            before = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
            for name in (before + alias.name for alias in node.names):
                top, other = (*name.split("."), "")[:2]
                assert top not in ("lessons", "frozen_lake", "tests"), f"{file} imports {name}"
                if top == "nanouft" and other in ORDER:
                    assert ORDER.index(other) <= ORDER.index(room), f"{file} imports {name}"


def test_every_program_begins_with_command():
    """Which makes what a person can cause one line, and any text printable."""
    programs = {f: text for f, text in texts().items() if 'if __name__ == "__main__"' in text
                and f.parent.name != "tests"}
    assert len(programs) > 15 and not [f for f, x in programs.items() if "command(" not in x]


def exists(module: str) -> bool:
    return any((ROOT / f"{module}{end}").exists() for end in (".py", "/__main__.py"))


def test_every_command_that_is_named_exists():
    named = {(m, f.name) for f, text in texts().items() if f.name != "CHANGELOG.md"
             for m in COMMANDS.findall(text)}
    gone = sorted((m, f) for m, f in named if not exists(m.strip(".").replace(".", "/")))
    assert len(named) > 30 and not gone, gone


def test_importing_changes_nothing():
    """Neither the environment nor what a signal does: both are for commands (python -m)."""
    code = ("import os, signal; before = dict(os.environ), signal.getsignal(signal.SIGINT); "
            "import nanouft; assert before == (dict(os.environ), signal.getsignal(signal.SIGINT))")
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_no_page_says_what_is_not_so():
    """nanouft is installed from its checkout, and nobody holds its name in a registry; nor does a
    text name the place where it was written."""
    words = re.compile(r"pip install nanouft|/work/|\.\./shared|/opt/env|/root/")
    found = [f for f, text in texts().items() if words.search(text)
             and f != Path(__file__) and f.name != "CHANGELOG.md"]
    assert not found, found
