"""Pictures of the verdicts and the table of docs/claims.md: python -m lessons.evidence --write"""
import re
import textwrap
from collections import Counter
from pathlib import Path

from lessons.evidence import judge, stats
from nanouft.colours import DOWN, SOFT, UP
from nanouft.errors import say

PAGE = Path(__file__).parents[2] / "docs" / "claims.md"
TABLE = re.compile(r"(?<=<!-- table -->\n).*?(?=<!-- end of table -->)", re.S)
COLOURS = {"holds": UP.light, "does not hold": DOWN.light, "undecided": SOFT.light}
MARKS = {"holds": "✓", "does not hold": "✗", "undecided": "?"}
REACH = 20                              # points; an interval beyond is written, not drawn
BASE_MARKS = "os"                       # first base, second base
EXPLAINED = """Points of 100 between two methods, 95 % interval over seeds and prompts:
● shipped base (or the real model), ■ second base. Intervals beyond 20 are written.
Black lines are the limits of a question. "Better" holds if both intervals lie right of 0,
"not inferior" if right of −2, and "as good" if between −2 and 2."""


def table(lines: list[judge.Line]) -> str:
    """A table of Markdown; the name of a claim stands at its first question and links to it."""
    out = ["| | claim | verdict here | points of 100, on each base |", "|---|---|---|---|"]
    before = ""
    for line in lines:
        section = "c4" if line.claim == "C4b" else line.claim.lower()
        name = "" if line.claim == before else f"[{line.claim}](#{section})"
        out.append(f"| {name} | {line.question} | **{line.verdict}** | {line.figures} |")
        before = line.claim
    return "\n".join(out) + "\n"


def wrapped(text: str) -> str:
    """Lines of nearly equal length, at most 42 characters."""
    rows = -(-len(text) // 42)
    return textwrap.fill(text, min(42, len(text) // rows + 9))


def picture(lines: list[judge.Line], title: str, file: Path) -> None:
    """One row a question: its interval on each base, and the verdict. 1,080 pixels wide."""
    from matplotlib import pyplot as plt
    from PIL import Image
    plt.rcParams["font.size"] = 12.5
    high = 2.1 + 0.56 * len(lines)
    fig, ax = plt.subplots(figsize=(10.8, high), dpi=100)
    for y, line in enumerate(lines):
        colour = COLOURS[line.verdict]
        outside = any(100 * (abs(x.mean) + x.half) > REACH for x in line.findings)
        for base, finding in enumerate(() if outside else line.findings):
            ax.errorbar(100 * finding.mean, y + 0.3 * base - 0.15, xerr=100 * finding.half,
                        fmt=BASE_MARKS[base], color=colour, markersize=7, linewidth=3)
        for limit in () if outside else stats.LIMITS.get(line.test, ()):
            ax.plot([100 * limit] * 2, [y - 0.42, y + 0.42], color="black", linewidth=1.5)
        if outside or not line.findings:
            ax.text(0.5, y, wrapped(line.figures), color=colour, va="center",
                    ha="center", transform=ax.get_yaxis_transform())
        ax.text(1.01, y, f"{MARKS[line.verdict]} {line.verdict}", color=colour, va="center",
                weight="bold", transform=ax.get_yaxis_transform())
    ax.set_yticks(range(len(lines)), [wrapped(line.question) for line in lines])
    ax.set_ylim(len(lines) - 0.4, -0.6)
    ax.set_xlim(max(-REACH, ax.get_xlim()[0]), min(REACH, ax.get_xlim()[1]))
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="x", color="#DDDDDD", linewidth=0.6)
    ax.set_axisbelow(True)
    fig.text(0.01, 1 - 0.12 / high, title, va="top", weight="bold", fontsize=14)
    fig.text(0.01, 0.1 / high, EXPLAINED, va="bottom", color=SOFT.light)
    fig.subplots_adjust(left=0.4, right=0.84, top=1 - 0.5 / high, bottom=1.45 / high)
    fig.savefig(file)
    plt.close(fig)
    Image.open(file).convert("RGB").quantize(24).save(file, optimize=True)      # half the bytes
    say(file)


def finding(lines: list[judge.Line]) -> str:
    """The title of the picture of all claims."""
    n = Counter(line.verdict for line in lines)
    return (f"{len(lines)} claims about IFT, UFT, UNA and PoFT, tested by runs: {n['holds']} "
            f"hold, {n['does not hold']} do not, {n['undecided']} are undecided")


def main() -> None:
    lines = judge.page_lines()
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(TABLE.sub(lambda _: table(lines), page), encoding="utf-8")
    say(PAGE)
    picture(lines, finding(lines), PAGE.with_suffix(".png"))
    Path("out/evidence").mkdir(parents=True, exist_ok=True)
    for name in dict.fromkeys(line.claim for line in lines):
        title = judge.CLAIMS[name].title if name in judge.CLAIMS else name
        picture(judge.lines(name), title, Path(f"out/evidence/{name}.png"))
