"""Every lesson as a page to read in a browser and as a notebook to run: made, never committed.

    python -m lessons.pages 04              # runs lesson 04: a page and a notebook in out/pages
    python -m lessons.pages                 # all lessons, about ten minutes
    python -m lessons.pages --notebooks     # the notebooks only, nothing is run

The lesson's .py file is the only source. jupytext turns its cells into a notebook, nbconvert runs
it and writes the page, in which every output is folded, so that a reader can guess before looking.
Both belong to the extra `pages`: pip install -e ".[pages]"
"""
import argparse
import sys
from importlib.util import find_spec
from pathlib import Path

from tqdm import tqdm

from lessons.course import HERE, LESSONS
from nanouft.errors import UserError, command, say

TEMPLATE = HERE / "fold"                    # nbconvert's own page, with outputs in <details>
PATHS = """import sys
sys.path[:0] = ["lessons", ".", "../../lessons", "../.."]   # from the project, or from out/pages"""
INDEX = """<!doctype html><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>nanouft: lessons</title><style>body {{ font: 1.1rem/1.6 system-ui; max-width: 40rem;
margin: 2rem auto; padding: 0 1rem; color-scheme: light dark }}</style>
<h1>nanouft: lessons</h1>
<p>Each page shows a lesson with its outputs folded. Guess first, then open them.</p>
<ol start="0">{lessons}</ol>
<ul>{others}</ul>"""
OTHERS = {                                  # linked if other commands have written them beside
    "playground": "Two models learn side by side",          # python -m nanouft.playground --out
    "lake": "What IFT estimates on a frozen lake"}          # python -m frozen_lake --out


def lesson_files(numbers: list[str]) -> list[Path]:
    """The lessons with these numbers; all if none is given."""
    found = [file for file in LESSONS if not numbers or file.name[:2] in numbers]
    if missing := sorted(set(numbers) - {file.name[:2] for file in found}):
        raise UserError(f"lesson {missing[0]}: there is none; "
                        f"the lessons are {LESSONS[0].name[:2]} to {LESSONS[-1].name[:2]}")
    return found


def title(file: Path) -> str:
    """"04 · The model's own guess", from the lesson's first line of text."""
    line = next(x for x in file.read_text(encoding="utf-8").splitlines() if x.startswith("# # "))
    return line.removeprefix("# # ")


def write(file: Path, out: Path, run: bool) -> None:
    """A lesson's notebook without outputs and, if it is run, its page."""
    import jupytext
    from nbconvert import HTMLExporter
    from nbconvert.preprocessors import ExecutePreprocessor
    from nbformat.v4 import new_code_cell
    notebook = jupytext.read(file)
    notebook.cells.insert(1, new_code_cell(PATHS))
    jupytext.write(notebook, out / f"{file.stem}.ipynb")
    if not run:
        return
    where = {"metadata": {"path": str(HERE.parent)}}
    ExecutePreprocessor(timeout=600).preprocess(notebook, where)
    for cell in notebook.cells:
        if cell.cell_type == "code":                    # progress bars have no place on a page
            cell.outputs = [x for x in cell.outputs if x.get("name") != "stderr"]
    exporter = HTMLExporter(extra_template_basedirs=[str(HERE)], template_name=TEMPLATE.name)
    page, _ = exporter.from_notebook_node(notebook)
    (out / f"{file.stem}.html").write_text(page, encoding="utf-8")


def write_index(files: list[Path], out: Path) -> None:
    """The first page: all lessons, and the other pages that lie in `out`."""
    lessons = "\n".join(f'<li><a href="{file.stem}.html">{title(file).split(" · ")[-1]}</a>, '
                        f'<a href="{file.stem}.ipynb">notebook</a></li>' for file in files)
    others = "\n".join(f'<li><a href="{folder}/index.html">{text}</a></li>'
                       for folder, text in OTHERS.items() if (out / folder / "index.html").exists())
    text = INDEX.format(lessons=lessons, others=others)
    (out / "index.html").write_text(text, encoding="utf-8")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m lessons.pages", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lessons", nargs="*", help="numbers, such as 04 [all]")
    parser.add_argument("--notebooks", action="store_true", help="notebooks only; nothing is run")
    parser.add_argument("--out", type=Path, default=Path("out/pages"), help="folder [out/pages]")
    args = parser.parse_args(argv)
    if missing := [name for name in ("jupytext", "nbconvert") if find_spec(name) is None]:
        raise UserError(f"{missing[0]} is missing: pip install -e \".[pages]\"")
    files = lesson_files(args.lessons)
    args.out.mkdir(parents=True, exist_ok=True)
    for file in tqdm(files, disable=len(files) == 1):
        write(file, args.out, run=not args.notebooks)
    if not args.lessons and not args.notebooks:
        write_index(files, args.out)
    say(f"{len(files)} lessons in {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(command(main))
