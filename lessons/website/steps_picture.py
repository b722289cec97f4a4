"""The steps of two methods as a strip of frames: one still picture for a README, in SVG.

    python -m lessons.website.steps_picture docs/steps.svg

A row is a step: how many of the eight answers stop by then, and the answer to the first question.
A line below says how many stop at another rate after the last step.
Nothing moves, and the picture follows the reader's choice of light or dark.
"""
import sys
from html import escape
from pathlib import Path
from typing import Any

from nanouft.pictures.colours import DOWN, FAMILIES, PAGE, SOFT, Look
from nanouft.playground.record import rate_text, record
from nanouft.plumbing.entry import command
from nanouft.plumbing.files import write_text

RATES = 1e-4, 2.5e-4                    # both methods' in the picture, and in its last line

WIDE, HIGH, TOP = 840, 34, 128          # of the picture, of a row, of all above the rows
STEP, SIDES = 24, (88, 470)             # where a row's name begins, and where each method does
DOT, LETTER = 11, 7.4                   # width of a dot and of a letter of an answer


def strip(data: dict[str, Any], rate: str, other: str) -> str:
    """The first two methods of `record()`'s data at this rate, and their ends at another one."""
    names = list(data["methods"])[:2]
    frames = [data["methods"][name]["runs"][rate] for name in names]
    rows = range(len(frames[0]))
    foot = TOP + HIGH * len(rows) + 22
    asked = data["questions"]
    parts = [line_of(STEP, 32, f"Who learns to stop? Four training steps at {rate}", "title"),
             line_of(STEP, 57, f"A dot is one of {len(asked)} answers, full if it stops.", "soft"),
             line_of(STEP, 78, f"Beside the dots, the answer to: {asked[0]}", "soft")]
    for x, name, steps in zip(SIDES, names, frames, strict=True):
        method = data["methods"][name]
        parts.append(line_of(x, TOP - 8, f"{method['mark']} {method['called']}",
                             f"name {method['family']}"))
        for row in rows:
            answers = answers_of(data, steps[row][0])
            parts.append(frame(x, TOP + HIGH * row + 20, answers, method["family"]))
    parts += [line_of(STEP, TOP + HIGH * row + 20, f"step {row}", "soft") for row in rows]
    parts.append(line_of(STEP, foot, ends(data, names, other), "soft"))
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDE} {foot + 14}" role="img">',
        "<title>Who learns to stop?</title>",
        f"<style>\n{style()}</style>",
        f'<rect width="{WIDE}" height="{foot + 14}" class="page"/>', *parts, "</svg>\n"])


def has_end(answer: list[str]) -> bool:
    """Whether the first mark among its tokens is <|end|>."""
    return next((token for token in answer if token.startswith("<|")), "") == "<|end|>"


def answers_of(data: dict[str, Any], said: list[int]) -> list[list[str]]:
    """The tokens of each of these answers."""
    return [data["texts"][i].split("\t") for i in said]


def count(answers: list[list[str]]) -> int:
    """How many of these answers stop."""
    return sum(map(has_end, answers))


def ends(data: dict[str, Any], names: list[str], rate: str) -> str:
    """How many answers stop after the last step at this rate."""
    last = {data["methods"][name]["called"]: data["methods"][name]["runs"][rate][-1][0]
            for name in names}
    found = ", ".join(f"{called} {count(answers_of(data, said))} of {len(said)}"
                      for called, said in last.items())
    return f"At the learning rate {rate} these stop after the last step: {found}"


def frame(x: float, y: float, answers: list[list[str]], family: str) -> str:
    """One step of one method: a full dot for each answer that stops, and the first answer."""
    n, shown = count(answers), answers[0]
    until = next((k for k, token in enumerate(shown) if token.startswith("<|")), len(shown))
    dots = line_of(x, y, "●" * n + "○" * (len(answers) - n), f"dots {family}", DOT)
    x += DOT * len(answers) + 14
    words = line_of(x, y, " ".join(shown[:until]), "said", LETTER)
    x += LETTER * (len(" ".join(shown[:until])) + 1)
    if has_end(shown):
        box = f'<rect x="{x:.1f}" y="{y - 14}" width="62" height="19" rx="5" class="{family}"/>'
        return dots + words + box + line_of(x + 5, y, "<|end|>", "said end", LETTER)
    mark = " ".join([*shown[until:until + 1], "…"])
    return dots + words + line_of(x, y, mark, "said down", LETTER)


def line_of(x: float, y: float, words: str, look: str, letter: float = 0) -> str:
    """A line of text; with the width of a letter, as wide as that makes it in any font."""
    wide = f' textLength="{letter * len(words):.1f}"' if letter else ""
    return f'<text x="{x:.1f}" y="{y}"{wide} class="{look}">{escape(words)}</text>'


def style() -> str:
    """Colours for light and for dark, and the fonts."""
    looks = {"page": PAGE, "soft": SOFT, "down": DOWN, **FAMILIES}
    return f"""text {{ font: 14px system-ui, "DejaVu Sans", sans-serif; }}
text {{ fill: {FAMILIES["sft"].light}; }}
.title {{ font-size: 17px; font-weight: 650; }}
.name {{ font-weight: 650; }}
.said {{ font: 12px ui-monospace, "DejaVu Sans Mono", monospace; }}
{colours(looks, "light")}
@media (prefers-color-scheme: dark) {{
text {{ fill: {FAMILIES["sft"].dark}; }}
{colours(looks, "dark")}
}}
"""


def colours(looks: dict[str, Look], side: str) -> str:
    """The colour of each class on a light or a dark background."""
    fills = [f".{name} {{ fill: {getattr(look, side)}; }}" for name, look in looks.items()]
    return "\n".join([*fills, f".end {{ fill: {getattr(PAGE, side)}; }}"])


def main(argv: list[str] | None = None) -> int:
    file, = sys.argv[1:] if argv is None else argv
    write_text(Path(file), strip(record(["sft", "dpo"], RATES), *map(rate_text, RATES)))
    return 0


if __name__ == "__main__":
    sys.exit(command(main))
