"""One colour and one mark for each method, everywhere: plots, lessons, the lake, the playground.

    look("ift released").light          # "#007a57": its colour on a light background
    ax.plot(x, y, **line("dpo"))        # matplotlib: colour, mark and kind of line
    css()                               # the same colours as variables of a page
    write_page(Path(__file__).parent / "web", data, Path("out/playground"))    # -> its index.html

A method keeps its hue. Blue and orange say that a push makes a token more or less likely and are
never a method. Not everybody can tell seven hues apart, so a mark always goes with them.
tests/course/test_playground_page.py computes the contrast.
"""
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nanouft.plumbing.files import write_text


@dataclass(frozen=True)
class Style:
    """How a method or a quantity is drawn."""
    light: str              # colour on a light background
    dark: str               # and on a dark one
    mark: str               # as text
    marker: str             # the same mark in matplotlib
    dashed: bool = False    # its line; the mark of a dashed one is hollow
    hollow: bool = False


PAGE = Style("#f7f8f9", "#10171c", "", "")          # the background of a page
PANEL = Style("#ffffff", "#18222a", "", "")         # of a card on it
SOFT = Style("#4d5f6a", "#a5b5bf", "", "")          # secondary text, axes, outlines
INK = Style("#1f2328", "#e6edf3", "", "")           # text

UP = Style("#0072b2", "#62b8ec", "▲", "^")          # pushed up, more likely
DOWN = Style("#b84700", "#ff9a5c", "▼", "v")        # pushed down, less likely

FAMILIES = {
    "base": Style("#9aa6ae", "#6f808b", "○", "o", hollow=True),
    "sft": Style("#15222b", "#e8eef2", "●", "o"),           # the ink: the yardstick
    "ift": Style("#007a57", "#35c99a", "▲", "^"),
    "pairs": Style("#5b3fb0", "#b8a4ff", "■", "s"),
    "graded": Style("#a8307a", "#f29bcd", "◆", "D"),        # answers with a score or a label
    "poft": Style("#9a6200", "#e9b44c", "▼", "v"),          # PoFT and filters
    "sampled": Style("#2a7890", "#5cc8dc", "✚", "P"),       # the model's own samples
    "truth": Style(SOFT.light, SOFT.dark, "□", "s", hollow=True),   # measured, not estimated
}
OF_LESSONS = {"filter": "poft", "ts_dpo": "pairs"}      # what lessons draw beside the methods


def family(name: str) -> str:
    """The one of FAMILIES that a method belongs to; "" for another name. IFT and PoFT have families
    of their own; the others are drawn by what they learn from."""
    from nanouft.objectives import OBJECTIVES  # the methods read torch, the colours do not
    if name in FAMILIES:
        return name
    if name in OBJECTIVES:
        learns_from = OBJECTIVES[name]().family
        return "sft" if learns_from == "demos" else learns_from
    return OF_LESSONS.get(name, "")


def style_of(name: str) -> Style:
    """The look of a method, with or without its form ("ift", "ift released", "ift detached"), of
    a family of methods ("pairs") or of "base" and "truth". IFT as released is solid; with constant
    weights ("ift", "ift detached") and in its other forms it is dashed. What has no family, such
    as a method in a file of yours, is grey."""
    method, _, form = name.lower().replace("--variant", "").partition(" ")
    of_family = FAMILIES[family(method) or "truth"]
    if method == "ift" and form.strip() != "released":
        return replace(of_family, dashed=True, hollow=True)
    return of_family


def line(name: str) -> dict:
    """Keywords for matplotlib's `plot` of a method."""
    x = style_of(name)
    return {"color": x.light, "marker": x.marker, "linestyle": "--" if x.dashed else "-",
            "markerfacecolor": PANEL.light if x.hollow else x.light}


def css() -> str:
    """`--sft: light-dark(#15222b, #e8eef2);` and so on: a page takes the lines into :root."""
    named = {"page": PAGE, "panel": PANEL, "soft": SOFT, "up": UP, "down": DOWN, **FAMILIES}
    return "\n".join(f"  --{name}: light-dark({x.light}, {x.dark});" for name, x in named.items())


def write_page(web: Path, data: Any, out: Path) -> Path:
    """web/page.html -> out/index.html. `data` is the script's DATA. In page.html, /*STYLE*/ becomes
    pictures/page.css with the colours, and /*SCRIPT*/ the data and the scripts of web/."""
    def text(file: Path) -> str:
        return file.read_text(encoding="utf-8")
    facts = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    style = f":root {{\n{css()}\n}}\n{text(Path(__file__).parent / 'page.css')}"
    scripts = "\n".join(map(text, sorted(web.glob("*.js"))))
    script = f'"use strict";\nconst DATA = {facts};\n{scripts}'
    page = text(web / "page.html").replace("/*STYLE*/", style).replace("/*SCRIPT*/", script)
    out.mkdir(parents=True, exist_ok=True)
    file = out / "index.html"
    write_text(file, page)
    return file
