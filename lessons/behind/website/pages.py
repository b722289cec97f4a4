"""Writes the project as one small site, and every lesson as a notebook to run.

    python -m lessons pages                 # all: open out/pages/index.html
    python -m lessons pages 04              # runs lesson 04: its page and its notebook
    python -m lessons pages --notebooks     # the notebooks only, nothing is run

All takes 10 to 15 minutes at first, and longer on a busy computer: after the lessons it trains the
models of the playground and makes the page of Frozen Lake. A lesson is run once (lesson_page.py),
so later the command takes seconds, until code that lessons use has changed. A lesson that was never
run has no page.

The texts are gathered in out/source, from which Sphinx makes the site (conf.py). A notebook is the
lesson without outputs, with a first cell, which finds the project or clones it from the
--repository, and with the exercises. All this needs the extra `pages`: pip install -e ".[pages]"
"""
import argparse
import ast
import json
import re
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

from lessons.behind.lesson_list import LESSONS, NUMBERS, exercises_of, number_of
from lessons.behind.website.lesson_page import ROOT, cache_file, keep, run, write_page
from nanouft.pictures import colours
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.files import read_text, write_text
from nanouft.plumbing.printing import progress, quantity, say

OUT, SOURCE = Path("out/pages"), Path("out/source")         # SOURCE: the texts that Sphinx reads
SMOLLM2 = ROOT / "out" / "smollm2"
WEBSITE = Path(__file__).resolve().parent
HERE = WEBSITE.parents[1]
NEEDS = "jupytext nbclient ipykernel latex2mathml myst_parser furo sphinx_copybutton".split()
TEXTS = ("README.md", "CONTRIBUTING.md", "docs/**/*.*", "lessons/README.md",
         "lessons/papers/**/*.md")
EXTRAS = [str(HERE / "papers" / "extras" / "ts_dpo.py")]    # more methods for the page of losses
PROJECT = """# Find the project, where the lessons' own modules lie; where it is missing, fetch it.
import subprocess, sys
from pathlib import Path

REPOSITORY = {repository!r}
places = [Path.cwd(), *Path.cwd().parents, Path("nanouft").resolve()]
project = next((x for x in places if (x / "lessons" / "course.py").exists()), None)
if project is None and REPOSITORY:
    project = places[-1]
    subprocess.run(["git", "clone", "-q", "--depth", "1", REPOSITORY, str(project)], check=True)
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", str(project)], check=True)
if project is None:
    raise ModuleNotFoundError("Put the project's folder, under the name nanouft, beside this "
                              "notebook, and run this cell again.")
sys.path[:0] = [str(project), str(project / "lessons")]"""


def lesson_files(numbers: list[str]) -> list[Path]:
    """The lessons with these numbers; all if none is given."""
    if missing := sorted(set(numbers) - {*NUMBERS}):
        raise UserError(f"lesson {missing[0]}: does not exist; the lessons are "
                        f"{', '.join(NUMBERS)}")
    return [file for number, file in NUMBERS.items() if not numbers or number in numbers]


# ---- the notebook -------------------------------------------------------------------------------
def write_notebook(file: Path, out: Path, repository: str) -> None:
    """The lesson without outputs and its first cell. An exercise with which it runs stands before
    the cell that asks for it, all others before the questions."""
    import jupytext
    from nbformat.v4 import new_code_cell, new_markdown_cell
    notebook = jupytext.read(file)
    last = notebook.cells.pop()
    text, heading, questions = last.source.partition("## Two questions")
    notebook.cells.insert(1, new_code_cell(PROJECT.format(repository=repository)))
    later = []
    for name, stub in stubs(file).items():
        asked = [k for k, x in enumerate(notebook.cells) if f"{name} = lesson.yours(" in x.source]
        if asked:
            notebook.cells.insert(asked[0], new_code_cell(stub))
        else:
            later.append(new_code_cell(stub))
    if later:
        text += "In this notebook, write them here."
    notebook.cells += [new_markdown_cell(text), *later, new_markdown_cell(heading + questions)]
    jupytext.write(notebook, out / f"{file.stem}.ipynb")


def stubs(file: Path) -> dict[str, str]:
    """A cell for each exercise of a lesson, which may have none: its stub, and its check."""
    exercises = HERE / "exercises" / f"ex{number_of(file)[:2]}.py"
    source = read_text(exercises) if exercises.exists() else ""
    imports = [ast.unparse(x) for x in ast.parse(source).body if isinstance(x, ast.Import)]
    head = "\n".join(["from lessons.behind.tasks.check import check", *imports])
    return {x.name: f"{head}\n\n\n{ast.get_source_segment(source, x)}\n\n\ncheck({x.name})"
            for x in exercises_of(file, ast.parse(source))}


# ---- the site ------------------------------------------------------------------------------------
def write_drawn(out: Path) -> None:
    """The page of all losses and that of Frozen Lake; what they show is kept like an output."""
    from frozen_lake import record as lake
    from nanouft.playground import record as playground
    drawn = {"playground": (playground.WEB, lambda: playground.record(also=EXTRAS)),
             "lake": (lake.WEB, lake.page_data)}
    for folder, (web, data) in drawn.items():
        file = cache_file(folder, *map(Path, EXTRAS))
        if not file.exists():
            keep(file, json.dumps(data()))
        colours.write_page(web, json.loads(read_text(file)), out / folder,
                           navigation=read_text(WEBSITE / "drawn_head.html"))


def gather(source: Path) -> None:
    """All texts of the site and their pictures in one folder, with the lessons that were run."""
    shutil.rmtree(source, ignore_errors=True)
    for file in [file for where in TEXTS for file in ROOT.glob(where)]:
        there = source / file.relative_to(ROOT)
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, there)
    commands = re.search(r"^## Quick start\n(.*?)(?=^<details>|^## )",
                         read_text(ROOT / "README.md"), re.S | re.M)
    front = read_text(WEBSITE / "front.md").replace("<!-- quick start -->", commands[1])
    ran = [lesson for lesson in LESSONS if cache_file(lesson.stem, lesson).exists()]
    front = front.replace("<!-- lessons -->", "\n".join(f"lessons/{x.stem}" for x in ran))
    write_text(source / "index.md", front.replace("../../../", ""))
    for lesson in ran:
        write_page(lesson, source / "lessons")


def build(source: Path, out: Path, repository: str) -> int:
    """The site of these texts; 0 if Sphinx has nothing to say of them."""
    from sphinx.cmd.build import build_main
    return build_main(["-q", "-E", "-W", "--keep-going", "-c", str(WEBSITE),
                       "-d", str(source.with_name("doctrees")), "-D", f"repository={repository}",
                       str(source), str(out)])


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
    todo = [x for x in files if not cache_file(x.stem, x).exists()]
    if not SMOLLM2.exists() and NUMBERS["17"] in todo:
        todo.remove(NUMBERS["17"])
        say(f"No page of lesson 17, which needs {SMOLLM2}: python {NUMBERS['17']} says how.")
    if todo:
        say(f"Running {quantity(len(todo), 'lessons')}, each for up to a minute.")
    for file in progress(len(todo), "lessons", todo, unit="lesson"):
        keep(cache_file(file.stem, file), run(file))
    if not args.lessons:
        write_drawn(OUT)
    gather(SOURCE)
    failed = build(SOURCE, OUT, args.repository)
    say(f"page: {OUT / 'index.html'}")
    return failed


if __name__ == "__main__":
    sys.exit(command(main))
