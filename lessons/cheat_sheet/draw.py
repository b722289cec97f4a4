"""The cheat sheet as two A4 pages to print.

    draw(lines, ["p_t: the probability ...", ...], Path("docs/cheat_sheet.pdf"))
"""
import hashlib
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import zip_longest
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextToPath

from nanouft.eval.plots import plt
from nanouft.run.storage import write_bytes

A4 = (595, 842)                 # points
TOP, BOTTOM, LEFT, RIGHT = 812, 30, 30, 567
LOSS, WHEN = 124, 368           # where the second and the third column begin
PITCH = 10.1                    # from one line to the next
SIZE, SMALL, LEAST = 8, 7.3, 7  # of the letters: a loss, most words, what is lowered or raised
GREY, LIGHT = "#505050", "#c8c8c8"
WIDE, NARROW = 60, 49           # letters in a line of an equation, of a reason
TITLE = "nanouft: every method and its loss"
ABOUT = (
    "L is the loss of one answer or pair with the default settings, or in another form (--form "
    "down); the step takes the mean. Other letters: settings (β is --beta); "
    "σ(x) = 1/(1 + exp(−x)). On the right: when to take a method, and in grey what it needs. "
    "Below its name: arXiv number, equation. Its file: nanouft/objectives/NAME.py.")


@dataclass
class Text:
    """One line of words on the page."""
    x: float
    words: str
    size: float = SIZE
    colour: str = "black"
    weight: str = "normal"
    formula: bool = False


@dataclass
class Block:
    """Lines that stay on one page, and whether a rule stands above them."""
    rows: list[list[Text]]
    rule: bool = False


def parts(formula: str) -> Iterator[tuple[str, int]]:
    """("p", 0), ("t", -1) of "p_t": words on the line, below it (_) and above it (^)."""
    at = 0
    for m in re.finditer(r"_(?!weight)\{?([\w≥]+)\}?|\^(\([^)]*\)|\w+)", formula):
        yield formula[at:m.start()], 0
        yield (m[1], -1) if m[1] else (m[2], 1)
        at = m.end()
    yield formula[at:], 0


def width(words: str, font: FontProperties) -> float:
    """In points; blanks at the end count."""
    def ink(x: str) -> float:
        return TextToPath().get_text_width_height_descent(x, font, ismath=False)[0]
    return ink(words + "|") - ink("|")


def write(fig, text: Text, y: float) -> float:
    """One line of words; -> where it ends."""
    x = text.x
    for words, shift in parts(text.words) if text.formula else [(text.words, 0)]:
        font = FontProperties(family="DejaVu Sans", weight=text.weight,
                              size=LEAST if shift else text.size)
        x += 0.6 * abs(shift)                           # or r and l below it would look like η
        fig.text(x / A4[0], (y + 2.2 * shift) / A4[1], words, color=text.colour, font=font)
        x += width(words, font)
    return x


def equation(loss: str, *names: str) -> Iterator[Text]:
    """The loss, and below it in grey what its names mean, as many on a line as it holds."""
    for i, part in enumerate(textwrap.wrap(loss, WIDE)):
        yield Text(LOSS + 12 * (i > 0), part, formula=True)
    line = ""
    for told in [*names, ""]:
        if line and (not told or len(line + told) > WIDE):
            for i, part in enumerate(textwrap.wrap(line, WIDE + 6)):
                yield Text(LOSS + 6 + 12 * (i > 0), part, SMALL, GREY, formula=True)
            line = ""
        line += ("   ·   " if line else "") + told


def block(line: Any) -> Block:
    """A method, or another form of one: three columns."""
    method, _, form = line.name.partition(" ")
    names = [Text(LEFT + 6, form, SMALL)] if form else [Text(LEFT, method, SIZE, weight="bold")]
    source = ", ".join(x for x in (line.paper, line.equation) if x)
    sources = [source] if len(source) < 22 else [line.paper, line.equation]
    names += [Text(LEFT, x, SMALL, GREY) for x in sources if x and not form]
    reasons = [Text(WHEN, x, SMALL) for x in textwrap.wrap(line.when, NARROW)]
    wants = textwrap.wrap("; ".join(line.needs), NARROW) if not form else []
    reasons += [Text(WHEN, x, SMALL, GREY) for x in wants]
    rows = [[x for x in row if x] for row in zip_longest(names, equation(*line.new), reasons)]
    return Block(rows, rule=not form)


def heading(family: str) -> Block:
    return Block([[], [Text(LEFT, family, 9.5, weight="bold")]])


def head(letters: Sequence[str]) -> Block:
    """Title, and what the letters mean, in two columns."""
    rows = [[Text(LEFT, TITLE, 13, weight="bold")], []]
    rows += [[Text(LEFT, x, SMALL)] for x in textwrap.wrap(ABOUT, 140)]
    left, right = letters[:-(-len(letters) // 2)], letters[-(-len(letters) // 2):]
    for pair in zip_longest(left, right, fillvalue=""):
        rows.append([Text(x, words, SMALL, formula=True) for x, words in zip((LEFT, 300), pair)])
    return Block(rows)


def pages(blocks: Sequence[Block]) -> list[list[tuple[float, Block]]]:
    """Which blocks stand on each page, and at which height. A heading stays with what follows."""
    out: list[list[tuple[float, Block]]] = [[]]
    y: float = TOP
    for this, following in zip(blocks, [*blocks[1:], Block([])]):
        rows = len(this.rows) + (0 if this.rule else len(following.rows))
        if y - PITCH * rows < BOTTOM:
            out.append([])
            y = TOP
        out[-1].append((y, this))
        y -= PITCH * len(this.rows) + 2.2
    return out


def figure(placed: list[tuple[float, Block]]):
    """One page."""
    fig = plt.figure(figsize=(A4[0] / 72, A4[1] / 72))
    for y, this in placed:
        if this.rule:
            x, height = [LEFT / A4[0], RIGHT / A4[0]], (y + 9) / A4[1]
            fig.add_artist(plt.Line2D(x, [height, height], lw=0.4, color=LIGHT))
        for i, row in enumerate(this.rows):
            for text in row:
                write(fig, text, y - PITCH * i)
    return fig


def blocks_of(lines: Sequence[Any], letters: Sequence[str]) -> list[Block]:
    blocks, family = [head(letters)], ""
    for line in lines:
        if line.family != family:
            family = line.family
            blocks.append(heading(family))
        blocks.append(block(line))
    return blocks


def mark(blocks: Sequence[Block]) -> str:
    """A checksum of all words. It stands in the file: a test sees when it must be drawn again."""
    return hashlib.sha256(repr(blocks).encode()).hexdigest()


def draw(lines: Sequence[Any], letters: Sequence[str], file: Path) -> None:
    blocks = blocks_of(lines, letters)
    buffer = BytesIO()
    with PdfPages(buffer, metadata={"CreationDate": None, "Keywords": mark(blocks)}) as pdf:
        for placed in pages(blocks):
            fig = figure(placed)
            pdf.savefig(fig)
            plt.close(fig)
    write_bytes(file, buffer.getvalue())
