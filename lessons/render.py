"""The lessons as pages that GitHub shows, docs/lessons/00.md, and as notebooks, notebooks/00.ipynb.

    python -m lessons.render                # every lesson whose page or notebook is not current
    python -m lessons.render 07             # this one
    python -m lessons.render 07 --run       # ... even if only its words have changed

A page has the outputs and the pictures. They are folded, and so is the text that gives the answer
away. A notebook has no outputs. A lesson and its switches (switches.py) run only if its code has
changed, about a minute each, one after the other. If only its words have changed, the outputs of
the page are kept.
"""
import contextlib
import io
import json
import os
import re
import subprocess
import sys
import types
from pathlib import Path

from lessons import switches
from lessons.grade.folder import ROOT, lesson_files
from nanouft.errors import UserError
from nanouft.eval import plots
from nanouft.run.config import Parser, run, tomllib
from nanouft.run.storage import checksum

sys.path.append(str(ROOT / "lessons"))      # lessons import course.py and draw.py from there
PAGES = ROOT / "docs" / "lessons"
NOTEBOOKS = ROOT / "notebooks"
DPI = 72                                    # of the pictures in the pages; a lesson's own has 110


def address() -> str:
    """Where the project can be cloned from: `urls.Repository` in pyproject.toml; "" if unknown."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return settings["project"].get("urls", {}).get("Repository", "")


def number(lesson: Path) -> str:
    """04 of 04_mdp.py"""
    return lesson.stem.split("_")[0]


# ---- what a lesson consists of -------------------------------------------------------------------
def cells(source: str) -> list[tuple[str, str]]:
    """[("code" | "markdown", text)] of a lesson. A line `# %%` begins a cell."""
    found = []
    for part in re.split(r"^# %%", "\n" + source, flags=re.M)[1:]:
        head, _, text = part.partition("\n")
        if "[markdown]" in head:
            lines = [line.removeprefix("#").removeprefix(" ") for line in text.splitlines()]
            found.append(("markdown", "\n".join(lines).strip()))
        else:
            title = f"# {head.strip()}\n" if head.strip() else ""
            found.append(("code", (title + text).strip("\n")))
    return found


def code_of(source: str) -> list[str]:
    return [text for kind, text in cells(source) if kind == "code"]


def key(text: str) -> str:
    """Twelve letters that change with the text."""
    return checksum(text)[:12]


def keys(source: str) -> str:
    """The first line of a page: the key of its lesson, and that of the code alone."""
    return f"<!-- lesson {key(source)} code {key(without_comments(code_of(source)))} -->"


def without_comments(code: list[str]) -> str:
    lines = [line.split("  #")[0].rstrip() for text in code for line in text.splitlines()]
    return "\n".join(line for line in lines if line and not line.startswith("#"))


# ---- running it ----------------------------------------------------------------------------------
def outputs(lesson: Path) -> list[str]:
    """What each code cell prints, as text and pictures. A page shows nobody's guess."""
    import course
    course.GUESSES = Path(os.devnull)
    module = types.ModuleType("lesson")
    sys.modules["lesson"] = module          # data classes look for their module
    found = []
    with pictures_into(number(lesson)) as drawn:
        for code in code_of(lesson.read_text(encoding="utf-8")):
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                exec(compile(code, str(lesson), "exec"), module.__dict__)
            found.append(page_output(out.getvalue(), drawn))
            drawn.clear()
    return found


@contextlib.contextmanager
def pictures_into(lesson: str):
    """The lesson's own picture is also saved, smaller, beside its page; its name goes to a list."""
    drawn, save = [], plots.save
    name = f"{lesson}.png"

    def save_both(fig, file, **layout):
        if file.name == name:               # not the curves of a training run
            fig.tight_layout(**layout)
            fig.savefig(PAGES / name, dpi=DPI)
            drawn.append(name)
        return save(fig, file, **layout)

    plots.save = save_both
    yield drawn
    plots.save = save


def page_output(text: str, pictures: list[str]) -> str:
    """The lines that a cell printed, as a block, and its pictures."""
    blocks = [f"```text\n{text.strip(chr(10))}\n```"] if text.strip() else []
    blocks += [f"![]({name})" for name in pictures]         # `page` says what is seen
    return "\n\n".join(blocks)


# ---- the page ------------------------------------------------------------------------------------
BEGIN, END = "<!-- output -->", "<!-- end -->"


def outputs_of_page(page: str) -> list[str]:
    """The outputs that a page holds, one for each code cell."""
    found = re.findall(f"{BEGIN}\n(.*?){END}", page, re.S)
    return [text.strip() for text in found]


def page(source: str, outputs: list[str], file: str) -> str:
    """The page of a lesson, in Markdown."""
    waiting = list(outputs)
    name = file.split("_")[0]
    parts = [f"{keys(source)}\n<!-- made by python -m lessons.render -->{colab(name)}",
             f"*Run it yourself: [`python lessons/{file}`](../../lessons/{file}), or cell by cell "
             f"as a notebook: `notebooks/{name}.ipynb` in VS Code, Jupyter or Colab. Here all "
             "outputs and answers are folded. Guess first.*"]
    for title, blocks in sections(source):
        shown = []
        for kind, text in blocks:
            if kind == "markdown":
                shown.append(fold_answers(maths(links(text))))
            else:
                shown.append(f"```python\n{text}\n```\n\n{folded_output(waiting.pop(0))}")
        body = "\n\n".join(text for text in shown if text)
        if title.startswith(ANSWERS):
            body = fold("Open it after your run", body)
        parts.append(f"## {links(title)}\n\n{body}" if title else body)
    text = "\n\n".join(parts) + "\n"
    return re.sub(r"!\[[^]]*\](?=\(\w+\.png\))", lambda _: f"![{seen(source)}]", text)


def colab(name: str) -> str:
    """A button that opens the notebook in Colab, if the project has an address on GitHub."""
    place = address().removeprefix("https://github.com/")
    if not place or place == address():
        return ""
    site = "https://colab.research.google.com"
    return (f"\n[![Open in Colab]({site}/assets/colab-badge.svg)]"
            f"({site}/github/{place}/blob/main/notebooks/{name}.ipynb)")


def seen(source: str) -> str:
    """The comment `# Seen: ...` of a lesson says what its picture shows."""
    found = re.search(r"^# Seen: (.+)", source, re.M)
    return found[1] if found else ""


ANSWERS = ("The surprise", "The proof")         # sections that give away what happens


def sections(source: str) -> list[tuple[str, list[tuple[str, str]]]]:
    """[(heading, [("code" | "markdown", text), ...])]: the cells below each heading."""
    found: list = [("", [])]
    for kind, text in cells(source):
        if kind == "code":
            found[-1][1].append((kind, text))
            continue
        for part in re.split(r"^(?=## )", text, flags=re.M):
            if part.startswith("## "):
                title, _, part = part.removeprefix("## ").partition("\n")
                found.append((title, []))
            found[-1][1].append((kind, part.strip()))
    return found


def fold(summary: str, text: str) -> str:
    return f"<details><summary>{summary}</summary>\n\n{text}\n\n</details>"


def folded_output(text: str) -> str:
    """What a cell printed; a cell that prints nothing has nothing to open."""
    marked = f"{BEGIN}\n{text}\n{END}"
    return fold("What it prints", marked) if text else marked


def fold_answers(text: str) -> str:
    """A paragraph that begins with *Read on after your run.* is folded."""
    return re.sub(r"^\*(Read on after [^*]+)\*\s(.*?)(?=\n\n|\Z)", lambda m: fold(m[1], m[2]), text,
                  flags=re.M | re.S)


def maths(text: str) -> str:
    """$x$ and $$x$$ in the form in which GitHub leaves every backslash alone."""
    text = re.sub(r"\s*\$\$(.+?)\$\$\s*", r"\n\n```math\n\1\n```\n\n", text, flags=re.S)
    parts = re.split(r"(```math\n.*?\n```|`[^`]*`)", text, flags=re.S)      # blocks, and code
    for i in range(0, len(parts), 2):
        parts[i] = re.sub(r"\$([^$]+?)\$", lambda m: f"$`{' '.join(m[1].split())}`$", parts[i])
    return "".join(parts)


def links(text: str) -> str:
    """`lessons/08_x.py` becomes a link to its page, and `docs/gallery.md` one to that page."""
    text = re.sub(r"`docs/(\w+\.md)`", r"[docs/\1](../\1)", text)
    exercises = "lessons/exercises/README.md"
    text = text.replace(f"`{exercises}`", f"[exercises](../../{exercises})")
    return re.sub(r"`lessons/(\d+L?)_(\w+)\.py`", r"[\1 \2](\1.md)", text)


# ---- the notebook --------------------------------------------------------------------------------
START = """\
# Run this cell first. In Colab it gets the project; elsewhere it only goes to its folder.
import os
import sys

if "google.colab" in sys.modules and not os.path.exists("nanouft"):
    address = "ADDRESS" or input("Address of the project (https://github.com/...): ")
    !git clone -q {address} nanouft
    %pip install -q -e ./nanouft
for folder in ("nanouft", ".."):
    if os.path.exists(f"{folder}/lessons/course.py") and not os.path.exists("lessons/course.py"):
        os.chdir(folder)
sys.path[:0] = [os.getcwd(), os.path.abspath("lessons")]"""
GRADER = """\
# The grader. The first call makes the folder my/; write your answer in its file, save, run again.
import subprocess
order = [sys.executable, "-m", "lessons.grade", "TASK"]
print(subprocess.run(order, stdin=subprocess.DEVNULL, capture_output=True, text=True).stdout)"""


def notebook(source: str) -> str:
    """The lesson as a Jupyter notebook without outputs. Between its cells and those of the file
    there is no difference, but a first cell finds the project and a last one calls the grader."""
    made = [("code", START.replace("ADDRESS", address())), *cells(source)]
    task = re.search(r"`python -m lessons\.grade (\d\d[a-z])`", source.split("## Exercise")[-1])
    if task:
        made.append(("code", GRADER.replace("TASK", task[1])))
    return json.dumps({"cells": [cell(*one) for one in made], "metadata": {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"}}, "nbformat": 4, "nbformat_minor": 4},
        indent=1, ensure_ascii=False) + "\n"


def cell(kind: str, text: str) -> dict:
    one = {"cell_type": kind, "metadata": {}, "source": text.splitlines(keepends=True)}
    return one | {"execution_count": None, "outputs": []} if kind == "code" else one


def notebook_file(lesson: Path) -> Path:
    return NOTEBOOKS / f"{number(lesson)}.ipynb"


# ---- what is written -----------------------------------------------------------------------------
def is_current(lesson: Path) -> bool:
    """Are the page, the notebook and what switches print those of the lesson as it is now?"""
    page, book = PAGES / f"{number(lesson)}.md", notebook_file(lesson)
    source = lesson.read_text(encoding="utf-8")
    if not page.exists() or not book.exists():
        return False
    text = page.read_text(encoding="utf-8")
    same = book.read_text(encoding="utf-8") == notebook(source)
    return (same and text.startswith(keys(source) + "\n")
            and switches.is_current(lesson, without_comments(code_of(source))))


def render(lesson: Path, again: bool) -> None:
    file = PAGES / f"{number(lesson)}.md"
    source = lesson.read_text(encoding="utf-8")
    before = file.read_text(encoding="utf-8") if file.exists() else ""
    same_code = before.split("\n")[0].split("code")[-1] == keys(source).split("code")[-1]
    found = outputs_of_page(before)
    if again or not same_code or len(found) != len(code_of(source)):
        print(f"{lesson.name}: running", flush=True)
        found = outputs(lesson)
    file.write_text(page(source, found, lesson.name), encoding="utf-8", newline="\n")
    code = without_comments(code_of(source))
    if again or not switches.is_current(lesson, code):
        switches.update(lesson, code, file.read_text(encoding="utf-8"))
    notebook_file(lesson).write_text(notebook(source), encoding="utf-8", newline="\n")
    print(f"{file.relative_to(ROOT)} written", flush=True)


def main(argv: list[str] | None = None) -> int:
    flags = Parser(prog="python -m lessons.render", description=__doc__)
    flags.add_argument("lessons", nargs="*", metavar="LESSON",
                       help="07 ...; none: all that are not current")
    flags.add_argument("--run", action="store_true",
                       help="run it even if only its words have changed")
    args = flags.parse_args(argv)
    known = lesson_files()
    for name in args.lessons:
        if name not in known:
            raise UserError(f"there is no lesson {name!r}; there are {', '.join(known)}")
    PAGES.mkdir(parents=True, exist_ok=True)
    NOTEBOOKS.mkdir(exist_ok=True)
    some = args.lessons or [name for name in known if not is_current(known[name])]
    if len(some) == 1:
        os.chdir(ROOT)
        render(known[some[0]], args.run)
        return 0
    done = [alone(name, args.run) for name in some]     # one after the other
    return max(done, default=0)


def alone(lesson: str, again: bool) -> int:
    """Render a lesson in a process of its own, so that no lesson changes another one."""
    command = [sys.executable, "-m", "lessons.render", lesson, *["--run"] * again]
    return subprocess.run(command, cwd=ROOT).returncode


if __name__ == "__main__":
    raise SystemExit(run(main))
