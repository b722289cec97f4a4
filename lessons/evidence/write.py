"""Pictures of the verdicts and the table of docs/claims.md: python -m lessons.evidence --write"""
import re
from collections import Counter
from pathlib import Path

from lessons.evidence import judge, stats
from nanouft.errors import say

PAGE = Path(__file__).parents[2] / "docs" / "claims.md"
TABLE = re.compile(r"(?<=<!-- table -->\n).*?(?=<!-- end of table -->)", re.S)
COLOURS = {"holds": "#15222b", "does not hold": "#15222b", "undecided": "#8a969e"}
MARKS = {"holds": "✓", "does not hold": "✗", "undecided": "?"}
BASE_MARKS = "os"                       # first base, second base


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


def picture(lines: list[judge.Line], title: str, file: Path) -> None:
    """One row a question: its interval on each base, and the verdict. 1,080 pixels wide."""
    from matplotlib import pyplot as plt
    from PIL import Image
    fig, ax = plt.subplots(figsize=(10.8, 1.25 + 0.38 * len(lines)), dpi=100)
    for y, line in enumerate(lines):
        colour = COLOURS[line.verdict]
        for base, finding in enumerate(line.findings):
            ax.errorbar(100 * finding.mean, y + 0.26 * base - 0.13, xerr=100 * finding.half,
                        fmt=BASE_MARKS[base], color=colour, markersize=5, linewidth=2)
        for limit in stats.LIMITS.get(line.test, ()):
            ax.plot([100 * limit] * 2, [y - 0.42, y + 0.42], color="black", linewidth=1)
        if not line.findings:
            ax.text(0.5, y, line.figures, color=colour, va="center", ha="center", fontsize=8,
                    transform=ax.get_yaxis_transform())
        ax.text(1.01, y, f"{MARKS[line.verdict]} {line.verdict}", color=colour, va="center",
                weight="bold", fontsize=9, transform=ax.get_yaxis_transform())
    ax.set_yticks(range(len(lines)), [line.question for line in lines], fontsize=8.5)
    ax.set_xlabel("difference in points of 100, 95 % interval over seeds and prompts; "
                  "● first base, ■ second; black: the limit of the question", fontsize=8, x=0.2)
    ax.set_ylim(len(lines) - 0.4, -0.6)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="x", color="#DDDDDD", linewidth=0.6)
    ax.set_axisbelow(True)
    fig.suptitle(title, x=0.01, ha="left", weight="bold", fontsize=12)
    fig.subplots_adjust(left=0.475, right=0.87, top=1 - 0.42 / fig.get_figheight(),
                        bottom=0.55 / fig.get_figheight())
    fig.savefig(file)
    plt.close(fig)
    Image.open(file).convert("RGB").quantize(48).save(file, optimize=True)      # half the bytes
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
