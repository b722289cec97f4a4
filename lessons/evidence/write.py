"""The tables of docs/claims.md and README.md, and a picture: python -m lessons.evidence --write

What stands between <!-- table --> and <!-- end of table --> of docs/claims.md, and `papers` in
README.md, is written here from the kept scores, so no figure or verdict in it is typed by hand.
"""
import re
import textwrap
from pathlib import Path
from string import ascii_lowercase

from lessons.evidence import judge, papers, searches, stats
from lessons.evidence.papers import Sentence
from lessons.evidence.verdicts import Line
from nanouft.errors import say
from nanouft.pictures.colours import SOFT, look

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "claims.md"
README = ROOT / "README.md"
COLOURS = {"IFT": look("ift").light, "UFT": look("uft").light, "UNA": look("una").light,
           "PoFT": look("poft").light, "DFT": look("sft").light}
COMMA = ", "
SECTIONS = {"c1": ("C1c", "C1d"), "c3": ("C3b", "C12"), "c4": ("C4b", "C11"), "c6": ("C10",),
            "r1": ("R1s", "R5", "R6")}      # {section of the page: claims that it tells as well}
MARKS = {"holds": "✓", "does not hold": "✗", "undecided": "?"}
REACH = 20                              # points; an interval beyond is written, not drawn
BASE_MARKS = "os"                       # first base, second base
EXPLAINED = """Points of 100 between two methods, 95 % interval over seeds and prompts:
● first base (or the real model), ■ second base.
Intervals beyond 20 are written. Black lines are the limits of a question: "better" holds if both
intervals lie right of 0, "not inferior" if right of −2, "as good" if between −2 and 2.
A colour says nothing about the verdict. Grey labels: our own questions."""


def between(name: str) -> re.Pattern:
    """What stands between the two marks of this name on a page."""
    return re.compile(rf"(?<=<!-- {name} -->\n).*?(?=<!-- end of {name} -->)", re.S)


def all_lines() -> dict[str, Line]:
    """{its key: its line}, of all questions, and of Frozen Lake's as the page has them."""
    found = [line for name in judge.NAMES for line in judge.lines(name)] + judge.lake_lines()
    return {judge.key(line): line for line in found}


# ---- tables --------------------------------------------------------------------------------------
def link(sentence: Sentence) -> str:
    """ "[IFT v3](https://arxiv.org/abs/...)" """
    version = "v" + sentence.version.partition("v")[2]
    return f"[{sentence.paper} {version}](https://arxiv.org/abs/{sentence.version})"


def by_paper() -> str:
    """README's table: what each paper says and what came of it, without intervals."""
    found = all_lines()
    out = ["| paper | it says | we found |", "|---|---|---|"]
    for sentence in papers.SENTENCES:
        if sentence.in_readme:
            says, doubt = sentence.in_readme
            asked, ours = (in_short({where: found[key] for where, key in questions.items()})
                           for questions in (sentence.asked, sentence.also))
            told = f"{asked}." + (f" *Ours:* {ours}." if ours else "")
            out.append(f"| {link(sentence)} | {says} | {told} *Doubt:* {doubt}. |")
    return "\n".join(out) + "\n"


def in_short(lines: dict[str, Line]) -> str:
    """ "**holds**: than DPO (+5.0, +6.3); KTO (+3.7, +4.3), each by truth. **undecided**: as good",
    of what was run."""
    found: dict[str, dict[str, Line]] = {}
    for where, line in lines.items():
        if line.verdict != judge.NOT_RUN:
            found.setdefault(line.verdict, {})[where] = line
    return ". ".join(f"**{verdict}**: {figures(of_it)}" for verdict, of_it in found.items())


def figures(lines: dict[str, Line]) -> str:
    """The means of lines that have one verdict; a family that carries all of them is said once."""
    by = {where: line.carried.replace("carried by", "by") for where, line in lines.items()}
    once = by[min(by)] if len(by) > 1 and len(set(by.values())) == 1 else ""
    told = []
    for where, line in lines.items():
        means = ", ".join(f"{100 * finding.mean:+.1f}" for finding in line.findings)
        shown = [x for x in (means, by[where]) if x and x != once and line.verdict != "undecided"]
        told.append(f"{where} ({', '.join(shown)})" if shown else where)
    return "; ".join(told) + (f", each {once}" if once else "")


def table() -> str:
    """The table of docs/claims.md: below each sentence of a paper the questions that ask it, below
    the last sentence of a paper our further questions; then the doubts by letter."""
    left = {judge.key(line): line for line in judge.page_lines()}
    out = ["| claim | question | whose | here it | points of 100, on each base "
           "| without its largest family | doubts |", "|---|---|---|---|---|---|---|"]
    letters: dict[str, tuple[str, list[str]]] = {}      # {doubt: (its letter, rows)}
    linked: set[str] = set()
    last_of = {sentence.paper: sentence for sentence in papers.SENTENCES}
    for sentence in papers.SENTENCES:
        out.append(f"| {link(sentence)} | **{sentence.says}** | | | | | {sentence.doubt} |")
        out += [row(left.pop(key), letters, linked) for key in sentence.questions.values()
                if key in left]
        rest = [key for key, line in left.items()
                if line.claim in papers.CLAIMS_OF[sentence.paper]]
        if rest and sentence is last_of[sentence.paper]:
            out += [f"| {sentence.paper} | **further questions** | | | | | |",
                    *(row(left.pop(key), letters, linked) for key in rest)]
    notes = [f"- **{letter}** {doubt}" + (f" ({COMMA.join(rows)})"
                                          if rows and doubt != searches.NOT_SEARCHED else "")
             for doubt, (letter, rows) in letters.items()]
    return "\n".join([*out, "", *notes]) + "\n" + measured_premises() + not_run() + together()


def row(line: Line, letters: dict[str, tuple[str, list[str]]], linked: set[str]) -> str:
    """A line of the table. Its doubts are added to `letters`; a claim is linked once."""
    for doubt, rows in line.doubts.items():
        known = letters.setdefault(doubt, (ascii_lowercase[len(letters)], []))[1]
        known += [name for name in rows if name not in known]
    name = line.claim if line.claim in linked else f"[{line.claim}](#{section(line.claim)})"
    linked.add(line.claim)
    whose = line.whose.removeprefix("the ").removesuffix("'s")
    return (f"| {name} | {line.question} | {whose} | {line.verdict} | {line.figures} "
            f"| {line.marked} | {COMMA.join(letters[doubt][0] for doubt in line.doubts)} |")


def section(claim: str) -> str:
    """Where the page tells a claim."""
    return next((at for at, names in SECTIONS.items() if claim in names), claim.lower())


def measured_premises() -> str:
    found = [f"{name}, a premise: {line}." for name in judge.NAMES for line in judge.premises(name)]
    return "\n" + "\n".join(found) + "\n"


def not_run() -> str:
    """A sentence on the claims whose runs have not ended."""
    names = [name for name in judge.NAMES if name != "C5" and not judge.was_run(name)]
    if not names:
        return ""
    return (f"\nWritten down before their runs, which have not ended: {', '.join(names)} "
            f"(`python -m lessons.evidence {names[0]}` prints the questions, "
            f"`python -m lessons.evidence --train {names[0]}` goes on with the runs).\n")


def together() -> str:
    questions, decided, stay = judge.as_one_family()
    return (f"\nIf the {questions} questions of C1 to C6 shared one correction, {stay} of their "
            f"{decided} decided verdicts would stay.\n")


# ---- pictures ------------------------------------------------------------------------------------
def wrapped(text: str, width: int = 42) -> str:
    """Lines of nearly equal length."""
    rows = -(-len(text) // width)
    return textwrap.fill(text, min(width, len(text) // rows + 9))


def rows_of_papers() -> list[tuple[str, str, Line | None]]:
    """(paper, label, line) of the table by paper; a sentence stands above its lines, with None."""
    found, rows = all_lines(), []
    for sentence in papers.SENTENCES:
        rows.append((sentence.paper, f"{sentence.paper}: {sentence.says}", None))
        rows += [(sentence.paper, where, found[key])
                 for where, key in sentence.questions.items()
                 if found[key].verdict != judge.NOT_RUN]
    return rows


def picture(rows: list[tuple[str, str, Line | None]], title: str, file: Path) -> None:
    """One row for each question: its interval on each base, and the verdict. 1,080 pixels wide."""
    from matplotlib import pyplot as plt
    from PIL import Image
    plt.rcParams["font.size"] = 12
    labels = [wrapped(label.replace("->", "→"), 42 if line else 104) for _, label, line in rows]
    heights = [0.30 + (max(0.19 * label.count("\n"), 0.1 if line.carried else 0) if line else
                       0.14 + 0.19 * label.count("\n"))
               for label, (_, _, line) in zip(labels, rows)]
    high, y = sum(heights) + 2.0, 0.0
    fig, ax = plt.subplots(figsize=(10.8, high), dpi=100)
    for (paper, _, line), label, height in zip(rows, labels, heights):
        y += height
        middle = y - height / 2
        if line is None:
            ax.text(0.01, 1 - (0.5 + middle) / high, label, weight="bold", va="center",
                    color=COLOURS[paper], fontsize=11.5, transform=fig.transFigure)
        else:
            draw(ax, line, middle, COLOURS[paper])
            ink = "black" if line.whose == "the paper's" else SOFT.light
            ax.text(-0.02, middle, label, ha="right", va="center", color=ink,
                    transform=ax.get_yaxis_transform())
    ax.set_yticks([])
    ax.set_ylim(y, 0)
    ax.set_xlim(-REACH, REACH)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.set_axisbelow(True)
    fig.text(0.01, 1 - 0.12 / high, title, va="top", weight="bold", fontsize=14)
    fig.text(0.01, 0.1 / high, EXPLAINED, va="bottom", color=SOFT.light, fontsize=10.5)
    fig.subplots_adjust(left=0.42, right=0.84, top=1 - 0.5 / high, bottom=1.5 / high)
    fig.savefig(file)
    plt.close(fig)
    Image.open(file).convert("RGB").quantize(20, method=1).save(file, optimize=True)
    say(file)


def draw(ax, line: Line, y: float, colour: str) -> None:
    """A line's intervals around y, and its verdict."""
    across = ax.get_yaxis_transform()
    outside = any(100 * (abs(x.mean) + x.half) > REACH for x in line.findings)
    if outside or not line.findings:
        ax.text(0.5, y, line.figures.replace("-", "−"), color=colour, va="center", ha="center",
                transform=across)
    else:
        for limit in stats.LIMITS.get(line.test, ()):
            ax.plot([100 * limit] * 2, [y - 0.13, y + 0.13], color="black", linewidth=1.5)
        spread = 0.07 if len(line.findings) > 1 else 0.0
        for finding, mark, side in zip(line.findings, BASE_MARKS, (-spread, spread)):
            ax.errorbar(100 * finding.mean, y + side, xerr=100 * finding.half, fmt=mark,
                        color=colour, markersize=5, linewidth=2.5)
    decided = line.verdict != "undecided"
    ink = "black" if decided else SOFT.light
    carried = line.carried if all(finding.carried for finding in line.findings) else ""
    ax.text(1.01, y, f"{MARKS.get(line.verdict, '')} {line.verdict}", color=ink, transform=across,
            va="bottom" if carried else "center")
    if carried:
        ax.text(1.05, y, carried, color=ink, fontsize=9.5, transform=across, va="top")


def main() -> None:
    for file, name, text in ((PAGE, "table", table()), (README, "papers", by_paper())):
        page = between(name).sub(lambda _, text=text: text, file.read_text(encoding="utf-8"))
        file.write_text(page, encoding="utf-8")
        say(file)
    picture(rows_of_papers(), "What the papers say, and what we found", PAGE.with_suffix(".png"))
