"""The pictures of the course in one PDF, to be projected: out/slides.pdf.

    python -m lessons slides                # the pictures of the lessons that you have run
    python -m lessons slides --run          # first runs the lessons whose picture is missing

Before each picture stands the lesson's guess, because the picture gives it away. Pictures of a
changed switch follow that of their lesson. At the end come the pictures of docs/.
"""
import argparse
import os
import re
import subprocess
import sys
from pathlib import Path
from textwrap import fill

from matplotlib.backends.backend_pdf import PdfPages

from lessons.course import OUT, section, switches
from lessons.draw import SLIDE, plt
from lessons.lesson_list import LESSONS, number_of
from lessons.website.pages import title
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.printing import say
from nanouft.plumbing.progress import progress

ROOT = Path(__file__).parents[2]
PDF = Path("out/slides.pdf")


def picture_of(lesson: Path) -> Path:
    """Where the lesson puts its picture."""
    return OUT / f"{number_of(lesson)}.png"


def pictures_of(lesson: Path) -> list[Path]:
    """All pictures of a lesson that are there, those of its switches last."""
    ends = tuple("-" + change.replace(" ", "-") for change in switches(lesson))
    own = [*OUT.glob(f"{number_of(lesson)}.png"), *OUT.glob(f"{number_of(lesson)}-*.png")]
    return sorted(own, key=lambda x: (x.stem.endswith(ends), x.stem))


def run_lessons(lessons: list[Path]) -> None:
    """Run them without a guess. UserError for one that leaves no picture."""
    for lesson in progress(len(lessons), "lessons", lessons):
        done = subprocess.run([sys.executable, str(lesson), "--guess", "none"], text=True,
                              errors="replace", stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              env=os.environ | {"PYTHONPATH": str(ROOT)})
        if not picture_of(lesson).exists():
            last = (done.stdout.strip().splitlines() or ["no word"])[-1]
            raise UserError(f"{lesson.name} left no picture; its last line was: {last}")


def guess_page(lesson: Path):
    """A figure with the lesson's title and its guess; formulas are set by matplotlib."""
    figure = plt.figure(figsize=SLIDE)
    figure.text(0.06, 0.9, title(lesson), size=30, weight="bold", va="top")
    guess = section(lesson.read_text(encoding="utf-8"), "Guess").replace("*", "")
    parts = re.split(r"\n\n|\n(?=- )", guess)               # paragraphs, and choices with letters
    text = "\n\n".join(in_lines(re.sub(r"^- (\w) ", r"\1)  ", part)) for part in parts)
    shown = figure.text(0.06, 0.75, text, size=24, va="top", linespacing=1.3, parse_math=True)
    while shown.get_window_extent().y0 < 0:                 # a long guess has smaller letters
        shown.set_size(shown.get_size() - 1)
    return figure


def in_lines(text: str) -> str:
    """The text in lines that fit; no line ends within a formula."""
    whole = re.sub(r"\$[^$]+\$", lambda formula: re.sub(r"\s", "\xa0", formula[0]), text)
    return fill(whole, 70, break_on_hyphens=False).replace("\xa0", " ")


def picture_page(picture: Path):
    """A figure of the picture's own shape; a high one is to be scrolled."""
    pixels = plt.imread(picture)                                        # (height, width, colours)
    figure = plt.figure(figsize=(SLIDE[0], SLIDE[0] * pixels.shape[0] / pixels.shape[1]))
    axes = figure.add_axes((0, 0, 1, 1), frameon=False, xticks=[], yticks=[])
    axes.imshow(pixels, interpolation="none")
    return figure


def write(pdf: Path, lessons: list[Path]) -> int:
    """The PDF with these lessons. Returns the number of its pages."""
    with PdfPages(pdf) as book:
        def add(figure) -> None:
            book.savefig(figure, dpi=144)
            plt.close(figure)

        for lesson in lessons:
            add(guess_page(lesson))
            for picture in pictures_of(lesson):
                add(picture_page(picture))
        for picture in sorted((ROOT / "docs").rglob("*.png")):
            add(picture_page(picture))
        return book.get_pagecount()


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m lessons slides", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", action="store_true", help="run lessons without a picture first")
    cfg = parser.parse_args(argv)
    if cfg.run:
        run_lessons([x for x in LESSONS if not picture_of(x).exists()])
    there = [x for x in LESSONS if picture_of(x).exists()]
    PDF.parent.mkdir(parents=True, exist_ok=True)
    say(f"{write(PDF, there)} pages in {PDF.as_posix()}")
    if missing := [number_of(x) for x in LESSONS if x not in there]:
        say(f"without a picture yet, and left out: {', '.join(missing)}; --run runs them first")
    return 0


if __name__ == "__main__":
    sys.exit(command(main))
