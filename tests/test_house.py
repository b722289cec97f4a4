"""The house stays small, and each file reads only what stands above it.

A limit is what is reached and 5 % more. At the limit, merge or delete something there; raising it
needs a reason in the commit."""
import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lessons.course import NAMES

ROOT = Path(__file__).parents[1]
ORDER = """errors seeds gpt objective loop files rows selection tokenizer bpe batches generate
    objectives world sampling reference simple run hf_tokenizer hf models rewards colours plots
    evaluate before_after train trainer pretrain reward sample ledger playground""".split()
LIMITS = {                              # characters
    "nanouft/**/*.py": 466_000, "nanouft/playground/web/*": 36_000, "frozen_lake/**/*": 60_000,
    "lessons/*.py": 262_000, "lessons/exercises/*": 85_000, "lessons/evidence/*.py": 127_000,
    "tests/*": 378_500, "*.md": 22_500, "docs/*.md": 76_500}
COMMANDS = re.compile(r"python3? -m ((?:nanouft|frozen_lake|lessons)[\w.]*)")


def texts() -> dict[Path, str]:
    """Every text of the project."""
    files = [f for name in ("*.md", "docs/*.md", "nanouft/**/*.py", "frozen_lake/**/*.py",
                            "lessons/**/*.py", "lessons/**/*.md", "tests/*.py")
             for f in sorted(ROOT.glob(name))]
    return {f: f.read_text(encoding="utf-8") for f in files}


@pytest.mark.parametrize("files", LIMITS)
def test_a_folder_is_no_larger_than_its_limit(files):
    found = [f for f in ROOT.glob(files) if f.suffix not in (".png", ".pyc") and f.is_file()
             and (f.stem in NAMES or not re.match(r"\d\d_", f.name))]     # no student's copy
    size = sum(len(f.read_bytes()) for f in found)
    assert 0 < size <= LIMITS[files], f"{size:,} characters"


def test_a_file_imports_only_what_stands_above_it():
    for file in sorted((ROOT / "nanouft").rglob("*.py")):
        module, *rest = file.relative_to(ROOT / "nanouft").with_suffix("").parts
        if module == "__init__":
            continue
        assert module in ORDER, f"{file.name}: where does it stand in the order?"
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [f"{node.module}.{a.name}" for a in node.names]
            elif isinstance(node, ast.Import):
                names = [a.name for a in node.names]
            else:
                continue
            for top, _, read in (name.partition(".") for name in names):
                assert top not in ("lessons", "frozen_lake", "tests"), f"{file} imports {top}"
                other = read.partition(".")[0]
                if top == "nanouft" and other in ORDER:
                    assert ORDER.index(other) <= ORDER.index(module), f"{file} imports {other}"


@pytest.mark.parametrize("code, files, lines", [
    ("from nanouft import train; train.OBJECTIVES['dpo']", 29, 5_100),
    ("import nanouft.simple", 12, 2_300)])
def test_what_a_run_loads(code, files, lines):
    code += "; import sys; print(*(m.__file__ for n, m in sys.modules.items() if %s))" % (
        "n.split('.')[0] == 'nanouft'")
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True,
                            check=True).stdout.split()
    count = sum(len(Path(f).read_text(encoding="utf-8").splitlines()) for f in loaded)
    assert len(loaded) <= files and count <= lines, f"{len(loaded)} files, {count:,} lines"


def test_the_readme_names_both_commands():
    """The workflow takes them from there."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for line in (r"pip install.*--objective ift$", r"pip install.*pytest -n 2$"):
        assert len(re.findall(line, text, re.MULTILINE)) == 1, line


def test_every_program_begins_with_command():
    """Which makes what a person can cause one line, and any text printable."""
    programs = {f: text for f, text in texts().items() if 'if __name__ == "__main__"' in text
                and f.parent.name not in ("tests", "extras")}
    assert len(programs) > 15 and not [f for f, x in programs.items() if "command(" not in x]


def exists(module: str) -> bool:
    return any((ROOT / f"{module}{end}").exists() for end in (".py", "/__main__.py"))


def test_every_command_that_is_named_exists():
    named = {(m, f.name) for f, text in texts().items() if f.name != "CHANGELOG.md"
             for m in COMMANDS.findall(text)}
    gone = sorted((m, f) for m, f in named if not exists(m.strip(".").replace(".", "/")))
    assert len(named) > 30 and not gone, gone


def test_no_text_names_the_place_where_it_was_written():
    words = re.compile(r"/work/|\.\./shared|/opt/env|/root/")
    found = [f for f, text in texts().items() if words.search(text) and f != Path(__file__)]
    assert not found, found
