"""A lesson as a page: its text and its code, and behind folds what it printed and what that means.

A lesson is run as a notebook, once: its outputs are kept in out/cache. The name of such a file has
a hash of the lesson and of all code and data that lessons read, so once one of these has changed,
the lesson is run again.
"""
import hashlib
import logging
import os
import re
from functools import cache
from pathlib import Path

from lessons.behind.lesson_list import LESSONS, lesson_head
from nanouft.plumbing.files import read_text, write_text

ROOT = Path(__file__).resolve().parents[3]
CACHE = Path("out/cache")
READ = ("nanouft/**/*", "frozen_lake/**/*", "lessons/*.py", "lessons/behind/*.py",
        "lessons/behind/[kt]*/*.py", "lessons/evidence/**/*")       # keys and tasks


# ---- its outputs, once ---------------------------------------------------------------------------
def read_by_lessons() -> list[Path]:
    """The files that a lesson may read besides its own. Its exercises are solved by our keys."""
    found = [file for where in READ for file in ROOT.glob(where) if file not in LESSONS]
    return sorted(x for x in found if x.is_file() and x.suffix not in (".pyc", ".md"))


@cache
def hash_of_code() -> bytes:
    """A hash of these files."""
    return hashlib.sha256(b"".join(x.read_bytes() for x in read_by_lessons())).digest()


def cache_file(name: str, *sources: Path) -> Path:
    """Where the result of these files, with the code of today, is kept once it was made."""
    CACHE.mkdir(parents=True, exist_ok=True)
    source = b"".join(x.read_bytes() for x in sources) + hash_of_code()
    return CACHE / f"{name}-{hashlib.sha256(source).hexdigest()[:16]}.json"


def keep(file: Path, text: str) -> None:
    """Keep a result in the place of those that older code gave."""
    for old in CACHE.glob(f"{file.stem.rpartition('-')[0]}-*"):
        old.unlink()
    write_text(file, text)


def run(lesson: Path) -> str:
    """The notebook of a lesson with its outputs."""
    import jupytext
    import nbformat
    from nbclient import NotebookClient
    notebook = jupytext.read(lesson)
    path = os.pathsep.join(map(str, [ROOT, ROOT / "lessons"]))
    logging.getLogger("traitlets").setLevel(logging.ERROR)      # how it speaks to the kernel
    quiet = ["--IPKernelApp.log_level=CRITICAL"]
    client = NotebookClient(notebook, timeout=600, kernel_name="python3", extra_arguments=quiet,
                            resources={"metadata": {"path": str(ROOT)}})
    try:
        client.execute(env=os.environ | {"PYTHONPATH": path})
    except AssertionError:              # at Ctrl-C nbclient ends its kernel, and then misses it
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)
        raise KeyboardInterrupt("lessons that have run are kept") from None
    return nbformat.writes(notebook)


# ---- its page ------------------------------------------------------------------------------------
def write_page(lesson: Path, out: Path) -> None:
    """The Markdown of a lesson that was run."""
    import nbformat

    from lessons.behind.website.guess_form import with_forms  # reads torch
    cells = nbformat.reads(read_text(cache_file(lesson.stem, lesson)), as_version=4).cells
    parts = []
    for k, cell in enumerate(cells):
        if cell.cell_type == "markdown":
            parts.append(with_formulas(with_forms(with_links(cell.source), lesson)))
            continue
        parts.append(f"```python\n{cell.source}\n```")
        printed, pictures = cell_output(cell)
        named = re.findall(r'lesson\.picture\(fig, "(.+?)"\)', cell.source)
        alt = ": ".join([f"Picture of lesson {lesson_head(lesson)[0]}", *named])
        printed += "".join(f"![{alt}](data:image/png;base64,{x.strip()})\n\n" for x in pictures)
        if printed:
            parts.append(folded(printed, bool(pictures), cells[k + 1:k + 2]))
    parts.insert(1, f'<a href="{lesson.stem}.ipynb" download>This lesson as a notebook</a>')
    write_text(out / f"{lesson.stem}.md", "\n\n".join(parts))


def cell_output(cell) -> tuple[str, list[str]]:
    """What a reader sees behind the fold: the Markdown of what was printed, and pictures. No
    progress bars, no file's name, no guess again."""
    if "lesson = Lesson(" in cell.source:
        return "", []
    pictures = [x.data["image/png"] for x in cell.outputs if "image/png" in x.get("data", {})]
    text = "".join(x.text for x in cell.outputs if x.get("name") == "stdout")
    text = re.sub(r"\n*^picture: .*\n", "", text, flags=re.M)
    return f"````text\n{text}\n````\n\n" if text.strip() else "", pictures


def folded(printed: str, picture: bool, below: list) -> str:
    """An output behind a fold. The text right below tells its result, so it goes there, too."""
    summary, meaning = "The picture" if picture else "What it prints", ""
    if below and below[0].cell_type == "markdown":
        meaning, below[0].source = result_and_rest(below[0].source)
    if meaning:
        summary += ", and what it means"
        meaning = with_formulas(with_links(meaning))
        meaning = re.sub(r"^## (.*)", r"<h2>\1</h2>\n", meaning, flags=re.M)
    return f"<details><summary>{summary}</summary>\n\n{printed}{meaning}\n\n</details>"


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


def with_links(text: str) -> str:
    """The name of a file or folder of the project leads to it; a lesson has its title there."""
    def link(match: re.Match) -> str:
        file = ROOT / match[1]
        label = lesson_head(file)[0] if file in LESSONS else match[0]
        return f"[{label}](../{match[1]})" if file.exists() else match[0]
    return re.sub(r"`([a-z_]+/[\w/.]*)`", link, text)
