"""Writes the project as one small site, and every lesson as a notebook to run.

    python -m lessons pages                 # all: open out/pages/index.html
    python -m lessons pages 04              # runs lesson 04; other pages of lessons have no outputs
    python -m lessons pages --notebooks     # the notebooks only, nothing is run

All takes 10 to 15 minutes at first, and longer on a busy computer. Outputs of lessons are kept in
out/cache, so later the command takes seconds, until code of the project has changed.

The texts are gathered in out/source, from which Sphinx makes the site (conf.py). A notebook is the
lesson without outputs, with a first cell, which finds the project or clones it from the
--repository, and with a stub of each part of mine.py that the lesson asks for. All this needs the
extra `pages`: pip install -e ".[pages]"
"""
import argparse
import hashlib
import re
import shutil
import sys
from collections.abc import Collection
from importlib.util import find_spec
from pathlib import Path

from lessons.behind.lesson_list import FOLDER, LESSONS, NUMBERS, ROOT, contracts, lesson_head
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.files import read_text, write_text
from nanouft.plumbing.printing import quantity, say

OUT, SOURCE = Path("out/pages"), Path("out/source")         # SOURCE: the texts that Sphinx reads
CACHE = Path("out/cache")
WEBSITE = Path(__file__).resolve().parent
SMOLLM2, READS_IT = ROOT / "out" / "smollm2", "21"
NEEDS = "jupytext myst_nb latex2mathml furo sphinx_copybutton".split()
TEXTS = ("README.md", "CONTRIBUTING.md", "docs/**/*.*", "lessons/README.md",
         "lessons/papers/**/*.md")
BEGIN = f"""import os, sys
os.chdir({str(ROOT)!r})
sys.path[:0] = [{str(ROOT)!r}, {str(FOLDER)!r}]
sys.argv = [{{name!r}}]"""
CODE = ("nanouft/**/*", "frozen_lake/**/*", "lessons/**/*")     # whatever a lesson may read
PROJECT = """# Find the project, where the lessons' own modules lie; where it is missing, fetch it.
import subprocess, sys
from pathlib import Path

REPOSITORY = {repository!r}
places = [Path.cwd(), *Path.cwd().parents, Path("nanouft").resolve()]
project = next((x for x in places if (x / {lessons!r} / "course.py").exists()), None)
if project is None and REPOSITORY:
    project = places[-1]
    subprocess.run(["git", "clone", "-q", "--depth", "1", REPOSITORY, str(project)], check=True)
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", str(project)], check=True)
if project is None:
    raise ModuleNotFoundError("Put the project's folder, under the name nanouft, beside this "
                              "notebook, and run this cell again.")
sys.path[:0] = [str(project), str(project / {lessons!r})]
sys.argv = [{name!r}]                           # of this lesson, for its guess"""


def lesson_files(numbers: list[str]) -> list[Path]:
    """The lessons with these numbers; all if none is given."""
    if missing := sorted(set(numbers) - {*NUMBERS}):
        raise UserError(f"lesson {missing[0]}: does not exist; the lessons are "
                        f"{', '.join(NUMBERS)}")
    return [file for number, file in NUMBERS.items() if not numbers or number in numbers]


# ---- the notebook -------------------------------------------------------------------------------
def write_notebook(file: Path, out: Path, repository: str) -> None:
    """The lesson without outputs, its first cell, and before the questions the parts to write."""
    import jupytext
    from nbformat.v4 import new_code_cell, new_markdown_cell
    notebook = jupytext.read(file)
    last = notebook.cells.pop()
    text, heading, questions = last.source.partition("## Two questions")
    notebook.cells.insert(1, new_code_cell(PROJECT.format(
        repository=repository, lessons=FOLDER.relative_to(ROOT).as_posix(), name=file.name)))
    parts = [new_code_cell(stub) for stub in stubs(file)]
    if parts:
        text += "In this notebook, write it here, and copy it into `mine.py` once it is right."
    notebook.cells += [new_markdown_cell(text), *parts, new_markdown_cell(heading + questions)]
    jupytext.write(notebook, out / f"{file.stem}.ipynb")


def stubs(file: Path) -> list[str]:
    """A cell for each part of mine.py that a lesson asks for: its contract, and its check."""
    return ["from lessons.behind.tasks.check import check\nfrom mine import *\n\n\n"
            f"{contract}\n    raise NotImplementedError\n\n\ncheck({name})"
            for name, contract in contracts(file).items()]


# ---- the site ------------------------------------------------------------------------------------
def hash_of_code() -> str:
    """A name for the code and the data that lessons may read."""
    files = sorted(file for where in CODE for file in ROOT.glob(where) if file.is_file())
    code = b"".join(file.read_bytes() for file in files if file.suffix not in (".md", ".pyc"))
    return hashlib.sha256(code).hexdigest()[:16]


def write_lesson(file: Path, out: Path) -> None:
    """A lesson as Sphinx reads it: it runs in the project's folder, its outputs are folded, and a
    link leads to its notebook."""
    import jupytext
    from nbformat.v4 import new_code_cell
    notebook, picture = jupytext.read(file), f"Picture of lesson {lesson_head(file).title}"
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.metadata["tags"] = ["hide-output"]
            cell.metadata["mystnb"] = {"image": {"alt": picture}}
        else:
            cell.source = with_links(cell.source)
    notebook.cells[0].source += f'\n\n<a href="{file.stem}.ipynb" download>As a notebook</a>'
    begin = new_code_cell(BEGIN.format(name=file.name), metadata={"tags": ["remove-cell"]})
    notebook.cells.insert(1, begin)
    notebook.metadata.clear()                           # jupytext's would keep the tags out
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3",
                                       "language": "python"}
    jupytext.write(notebook, out / file.name, fmt="py:percent")


def with_links(text: str) -> str:
    """The name of a file or folder of the project leads to it."""
    def link(match: re.Match) -> str:
        return f"[{match[0]}](../{match[1]})" if (ROOT / match[1]).exists() else match[0]
    return re.sub(r"`([a-z_]+/[\w/.]*)`", link, text)


def gather(source: Path) -> None:
    """All texts of the site, their pictures and the lessons in one folder."""
    shutil.rmtree(source, ignore_errors=True)
    for file in [file for where in TEXTS for file in ROOT.glob(where)]:
        there = source / file.relative_to(ROOT)
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, there)
    for lesson in LESSONS:
        write_lesson(lesson, source / "lessons")
    names = "\n".join(f"lessons/{lesson.stem}" for lesson in LESSONS)
    write_text(source / "index.md", read_text(WEBSITE / "index.md").replace("LESSONS", names))


def build(source: Path, out: Path, repository: str, run: Collection[Path]) -> int:
    """The site of these texts with the outputs of these lessons; 0 if Sphinx has no complaint."""
    from sphinx.application import Sphinx
    cache = CACHE / hash_of_code()
    for old in CACHE.glob("*"):
        if old != cache:
            shutil.rmtree(old, ignore_errors=True)
    settings = {"repository": repository, "nb_execution_cache_path": str(cache.resolve()),
                "nb_execution_excludepatterns": [x.name for x in LESSONS if x not in run]}
    site = Sphinx(source, WEBSITE, out, source.with_name("doctrees"), "html", settings,
                  status=None, freshenv=True, warningiserror=True)
    site.build()
    return site.statuscode


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m lessons pages", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lessons", nargs="*", help="numbers of lessons, such as 04 [all]")
    parser.add_argument("--notebooks", action="store_true",
                        help="only write the notebooks, and run nothing")
    parser.add_argument("--repository", default="", metavar="URL", help="where a notebook clones "
                        "the project from, and where links to its files lead")
    args = parser.parse_args(argv)
    if missing := [name for name in NEEDS if find_spec(name) is None]:
        raise UserError(f"{missing[0]} is missing: pip install -e \".[pages]\"")
    files, folder = lesson_files(args.lessons), OUT / "lessons"
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        write_notebook(file, folder, args.repository)
    say(f"notebooks: {len(files)}, in {folder}")
    if args.notebooks:
        return 0
    if not SMOLLM2.exists() and (needing := NUMBERS.get(READS_IT)) in files:
        files.remove(needing)
        say(f"Lesson {READS_IT} is not run: it needs {SMOLLM2}; python {needing} says how.")
    say(f"Running {quantity(len(files), 'lessons')}, each for up to a minute, unless its outputs "
        "are kept.")
    gather(SOURCE)
    failed = build(SOURCE, OUT, args.repository, files)
    say(f"page: {OUT / 'index.html'}")
    return failed


if __name__ == "__main__":
    sys.exit(command(main))
