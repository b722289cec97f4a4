"""Writes the project as one small site, and every lesson as a notebook to run.

    python -m lessons pages                 # all, in 10 to 15 minutes: open out/pages/index.html
    python -m lessons pages 04              # runs lesson 04: its page and its notebook
    python -m lessons pages --notebooks     # the notebooks only, nothing is run

The site is the front page, the page of all losses (nanouft.playground), Frozen Lake, the lessons
and the texts of docs/; layout.py joins them. Of a lesson the .py file is the only source.
jupytext turns its cells into a notebook, to which a first cell, which finds the project or clones
it from the --repository, and the exercises are added. nbconvert runs the lesson and writes the
page, in which every output is folded, with the text that tells its result, so a reader can guess
before looking (guess_form.py). Formulas are MathML. All this belongs to the extra `pages`:
pip install -e ".[pages]"
"""
import argparse
import ast
import logging
import os
import re
import sys
from html import escape
from importlib.util import find_spec
from pathlib import Path

from lessons.behind.lesson_list import LESSONS, NUMBERS, QUESTIONS, exercises_of, head_of, number_of
from lessons.behind.website.layout import DOCS, ROOT, Site
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.files import read_text
from nanouft.plumbing.printing import progress, quantity, say

OUT = Path("out/pages")
FRONT = Path(__file__).with_name("front.md")
HERE = Path(__file__).resolve().parents[2]
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
        raise UserError(f"lesson {missing[0]}: there is none; the lessons are {', '.join(NUMBERS)}")
    return [file for number, file in NUMBERS.items() if not numbers or number in numbers]


def title(file: Path) -> str:
    """"04 · The model's own guess"."""
    return head_of(file)[0]


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


# ---- the page -----------------------------------------------------------------------------------
def run(file: Path):
    """The lesson as a notebook with its outputs."""
    import jupytext
    from nbconvert.preprocessors import ExecutePreprocessor
    notebook = jupytext.read(file)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE.parent), str(HERE)])
    where = {"metadata": {"path": str(HERE.parent)}}
    logging.getLogger("traitlets").setLevel(logging.ERROR)      # how it speaks to the kernel
    quiet = ["--IPKernelApp.log_level=ERROR"]
    ExecutePreprocessor(timeout=600, extra_arguments=quiet).preprocess(notebook, where)
    return notebook


def write_lesson(notebook, file: Path, site: Site) -> None:
    """The page of a lesson, with links to the lessons before and after it."""
    from lessons.behind.website.guess_form import with_forms  # reads torch
    here = f"lessons/{file.stem}.html"
    for cell in notebook.cells:
        if cell.cell_type == "code":
            fold(cell, title(file))
        else:
            text = with_formulas(with_forms(cell.source, file))
            cell.source = with_links(text, here, site)
    fold_results(notebook.cells)
    k = site.lessons.index(file)
    near = [("←", x) for x in site.lessons[:k][-1:]] + [("→", x) for x in site.lessons[k + 1:][:1]]
    links = [f'<a href="{x.stem}.html">{arrow} {escape(title(x))}</a>' for arrow, x in near]
    links.append('<a href="index.html">All lessons</a>')
    site.write(here, notebook, title(file), QUESTIONS[file.stem], " ".join(links))


def fold(cell, name: str) -> None:
    """What a reader sees behind the fold: no progress bars, no file's name, no guess again."""
    cell.outputs = [x for x in cell.outputs if x.get("name") != "stderr"]
    for output in cell.outputs:
        if "text" in output:
            output.text = re.sub(r"\n*^picture: .*\n", "", output.text, flags=re.M)
    asks = "lesson = Lesson(" in cell.source
    cell.outputs = [x for x in cell.outputs if not asks and x.get("text", "x").strip()]
    pictures = sum("image/png" in x.get("data", {}) for x in cell.outputs)
    named = re.search(r'lesson\.picture\(fig, "(.+?)"\)', cell.source)
    cell.metadata["alt"] = f"Picture of lesson {name}" + (f": {named[1]}" if named else "")
    cell.metadata["summary"] = "The picture" if pictures else "What it prints"


def fold_results(cells: list) -> None:
    """The text right below an output tells its result, so it goes behind the same fold."""
    for above, below in zip(cells, cells[1:]):
        if above.get("outputs") and below.cell_type == "markdown":
            told, below.source = result_and_rest(below.source)
            above.metadata["told"] = told
            above.metadata["summary"] += ", and what it means" if told else ""


def result_and_rest(text: str) -> tuple[str, str]:
    """The text up to its first heading, or to its second if the first is "What happened"."""
    found = re.match(r"(## What happened[^\n]*\n)?(.*?)(?=^## |\Z)", text, re.S | re.M)
    return found[0], text[found.end():]


def with_formulas(text: str) -> str:
    """$...$ and $$...$$ as MathML, which every browser sets without a program."""
    from latex2mathml.converter import convert

    def formula(found: re.Match) -> str:
        if found[2]:
            return convert(found[2])
        return f'<span class="formula" tabindex="0">{convert(found[1], display="block")}</span>'

    text = text.replace(r"\log", r"\log\,")            # TeX sets this space by itself
    return re.sub(r"\$\$(.+?)\$\$|\$(.+?)\$", formula, text, flags=re.S)


def with_links(text: str, here: str, site: Site) -> str:
    """The name of a file or folder of the project leads to it; a lesson has its title there."""
    def link(found: re.Match) -> str:
        file = ROOT / found[1]
        told = title(file) if file in LESSONS else found[0]
        return f"[{told}]({site.address(found[1], here)})" if file.exists() else found[0]
    return re.sub(r"`([a-z_]+/[\w/.]*)`", link, text)


# ---- the other pages ----------------------------------------------------------------------------
def lesson_list(site: Site) -> str:
    """The page of all lessons: their questions, pages and notebooks."""
    def link(name: str, text: str) -> str:
        return f"[{text}]({name})" if (site.out / "lessons" / name).exists() else text

    lines = [f"- {link(f'{file.stem}.html', title(file))}<br>{QUESTIONS[file.stem]} "
             f"({link(f'{file.stem}.ipynb', 'notebook')})" for file in LESSONS]
    about = "Each page shows a lesson with its outputs folded. Guess first, then open them."
    return f"# The lessons of nanouft\n\n{about}\n\n" + "\n".join(lines)


def write_texts(site: Site) -> None:
    """The front page, which is front.md with README's commands, the list of lessons, and docs/."""
    commands = re.search(r"^## Quick start\n(.*?)(?=^<details>|^## )",
                         read_text(ROOT / "README.md"), re.S | re.M)
    front = read_text(FRONT).replace("<!-- quick start -->", commands[1])
    site.write_file("lessons/behind/website/front.md", front, "index.html")
    site.write_text("lessons/index.html", lesson_list(site))
    for file in DOCS:
        site.write_file(file, read_text(ROOT / file))


def write_drawn(site: Site) -> None:
    """The page of all losses and that of Frozen Lake."""
    from frozen_lake import record as lake
    from frozen_lake.lake import make_lake
    from nanouft.playground import record as playground
    site.write_drawn({"playground": (playground.WEB, playground.record(also=EXTRAS)),
                      "lake": (lake.WEB, lake.page_data(make_lake("twoway5")))})


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m lessons pages", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lessons", nargs="*", help="numbers of lessons, such as 04 [all]")
    parser.add_argument("--notebooks", action="store_true", help="write no pages and run nothing")
    parser.add_argument("--repository", default="", metavar="URL", help="where a notebook clones "
                        "the project from, and where links to its files lead")
    args = parser.parse_args(argv)
    needs = ("jupytext", "nbconvert", "ipykernel", "latex2mathml")
    if missing := [name for name in needs if find_spec(name) is None]:
        raise UserError(f"{missing[0]} is missing: pip install -e \".[pages]\"")
    files = lesson_files(args.lessons)
    site, folder = Site(OUT, files, args.repository), OUT / "lessons"
    folder.mkdir(parents=True, exist_ok=True)
    if not (args.lessons or args.notebooks):
        write_drawn(site)
    if not args.notebooks:
        say(f"Running {quantity(len(files), 'lessons')}, each for up to a minute.")
    for file in progress(len(files), "lessons", files):
        write_notebook(file, folder, args.repository)
        if not args.notebooks:
            write_lesson(run(file), file, site)
    say(f"lessons: {len(files)}, in {folder}")
    if not args.notebooks:
        write_texts(site)
        say(f"page: {OUT / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(command(main))
