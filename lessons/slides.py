"""Slides: a lesson's own pictures at 16:9, with one line each.

    python -m lessons.slides 07 --out out/slides      # out/slides/07.png; none: all

The lesson is run in an empty folder, as a student would run it. The line is the sentence to
remember of docs/teaching/07.md; where there are no notes, it is the lesson's question.
"""
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from lessons.grade.folder import ROOT, environment, lesson_files
from nanouft.errors import UserError
from nanouft.run.config import Parser, run
from nanouft.run.words import choose, shorter

NOTES = ROOT / "docs" / "teaching"
SHARP = 200                             # dots per inch of a picture
WIDE, HIGH, DPI = 16, 9, 120            # a page of 1920 x 1080
LETTERS = 30                            # points of the line
RUN = """
import runpy, sys
from nanouft.eval import plots
plots.plt.rcParams["savefig.dpi"] = int(sys.argv.pop())
runpy.run_path(sys.argv.pop(), run_name="__main__")         # it has flags of its own
"""


def main(argv: list[str] | None = None) -> None:
    flags = Parser(prog="python -m lessons.slides", description=__doc__)
    flags.add_argument("lessons", nargs="*", metavar="NN", help="07 ...; none: all lessons")
    flags.add_argument("--out", default="out/slides", metavar="DIR", help="folder [out/slides]")
    args = flags.parse_args(argv)
    known = lesson_files()
    for number in args.lessons:
        choose("lesson", number, known)
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    for number in args.lessons or known:
        for file in slides(known[number], out):
            print(file, flush=True)


def slides(lesson: Path, out: Path) -> list[Path]:
    """Run the lesson, lay each of its pictures on a page."""
    with tempfile.TemporaryDirectory(prefix="nanouft-slides-") as place:
        done = subprocess.run(
            [sys.executable, "-c", RUN, str(lesson), str(SHARP)], cwd=place, env=environment(),
            stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", errors="replace")
        pictures = sorted(Path(place, "out", "lessons").glob("*.png"))
        if done.returncode or not pictures:
            last = (done.stderr.strip().splitlines() or ["it made no picture"])[-1]
            raise UserError(f"lessons/{lesson.name}: {shorter(last)}")
        return [lay(picture, line_of(lesson), question(lesson), out) for picture in pictures]


def question(lesson: Path) -> str:
    """07 · Can pairs replace a reward?"""
    text = lesson.read_text(encoding="utf-8")
    return re.search(r"^# # (.+)$", text, re.M)[1].replace("*", "")


def line_of(lesson: Path) -> str:
    """The sentence to remember: the quoted line of the notes."""
    notes = NOTES / f"{lesson.stem.split('_')[0]}.md"
    if not notes.exists():
        return question(lesson)
    found = re.search(r"^> (.+)$", notes.read_text(encoding="utf-8"), re.M)
    return found[1].replace("`", "") if found else question(lesson)


def lay(picture: Path, line: str, footer: str, out: Path) -> Path:
    """One page: the line on top, the picture as large as it gets, the lesson's question below."""
    from nanouft.eval.plots import GREY, plt
    fig = plt.figure(figsize=(WIDE, HIGH), dpi=DPI)
    write(fig, line)
    fig.text(0.03, 0.02, footer, size=16, color=GREY, va="bottom")
    ax = fig.add_axes((0.03, 0.06, 0.94, 0.82))
    ax.imshow(plt.imread(picture), interpolation="antialiased")
    ax.set_axis_off()
    file = out / picture.name
    fig.savefig(file)
    plt.close(fig)
    return file


def write(fig, line: str):
    """The line on top; in smaller letters if it does not fit the page."""
    text = fig.text(0.03, 0.96, line, size=LETTERS, weight="bold", va="top")
    room = 0.94 * fig.bbox.width
    text.set_size(LETTERS * min(1, room / text.get_window_extent().width))
    return text


if __name__ == "__main__":
    raise SystemExit(run(main))
