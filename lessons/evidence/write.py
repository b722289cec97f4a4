"""The tables of docs/claims.md and README.md, and a picture: python -m lessons.evidence --write

What stands between <!-- table --> and <!-- end of table --> of docs/claims.md, and `papers` in
README.md, is written here from the kept scores, so no figure or verdict in it is typed by hand.
"""
import re
import textwrap
from pathlib import Path
from string import ascii_lowercase

from lessons.evidence import judge, papers, reads, searches, stats
from lessons.evidence.papers import Sentence
from lessons.evidence.verdicts import Line
from nanouft.errors import say
from nanouft.pictures.colours import SOFT, look
from nanouft.pictures.plots import save

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "claims.md"
README = ROOT / "README.md"
SECTIONS = {"c1": ("C1c", "C1d"), "c3": ("C3b", "C12"), "c4": ("C4b", "C11"), "c6": ("C10",),
            "r1": ("R1s", "R5", "R6")}      # {section of the page: claims that it tells as well}
MARKS = {"holds": "✓", "does not hold": "✗", "undecided": "?"}
REACH = 20                              # points; an interval beyond is written, not drawn
EXPLAINED = """Points of 100 between two methods, 95 % interval over
seeds and prompts: ● first base (or the real model),
■ second base. Intervals beyond 20 are written.
Black lines are the limits of a question: "better" holds
if both intervals lie right of 0, "not inferior" if right
of −2, "as good" if between −2 and 2. A colour says
nothing about the verdict. Grey labels: our own questions."""


def between(name: str) -> re.Pattern:
    """What stands between the two marks of this name on a page."""
    return re.compile(rf"(?<=<!-- {name} -->\n).*?(?=<!-- end of {name} -->)", re.S)


def all_lines() -> dict[str, Line]:
    """{its key: its line}, of all questions, and of Frozen Lake's as the page has them."""
    found = [line for name in judge.RUN for line in judge.lines(name)]
    return {judge.key(line): line for line in found + judge.told(reads.page_lines())}


def link(sentence: Sentence) -> str:
    """ "[IFT v3](https://arxiv.org/abs/...)" """
    version = "v" + sentence.version.partition("v")[2]
    return f"[{sentence.paper} {version}](https://arxiv.org/abs/{sentence.version})"


# ---- README's table ------------------------------------------------------------------------------
def by_paper() -> str:
    """What each paper says and what came of it, without intervals."""
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
    """ "**holds**: than DPO (+5.0, +6.3); KTO (+3.7, +4.3), each by truth. **undecided**: ..." """
    found: dict[str, dict[str, Line]] = {}
    for where, line in lines.items():
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


# ---- the page's table ----------------------------------------------------------------------------
def table() -> str:
    """Below each sentence of a paper the questions that ask it, below the last sentence of a paper
    our further questions; then the doubts by letter, the premises, and one correction for all."""
    left = {judge.key(line): line for line in judge.page_lines()}
    last_of = {sentence.paper: sentence for sentence in papers.SENTENCES}
    told: list[str | Line] = []
    for sentence in papers.SENTENCES:
        told.append(f"| {link(sentence)} | **{sentence.says}** | | | | | {sentence.doubt} |")
        told += [left.pop(key) for key in sentence.questions.values()]
        rest = [key for key, line in left.items()
                if line.claim in papers.CLAIMS_OF[sentence.paper]]
        if rest and sentence is last_of[sentence.paper]:
            told.append(f"| {sentence.paper} | **further questions** | | | | | |")
            told += [left.pop(key) for key in rest]
    doubts: dict[str, dict[str, None]] = {}             # {doubt: its rows}
    first: dict[str, Line] = {}                         # the first line of a claim has a link
    for line in told:
        if isinstance(line, Line):
            first.setdefault(line.claim, line)
            for doubt, rows in line.doubts.items():
                doubts.setdefault(doubt, {}).update(dict.fromkeys(rows))
    letters = dict(zip(doubts, ascii_lowercase))
    out = ["| claim | question | whose | here it | points of 100, on each base "
           "| without its largest family | doubts |", "|---|---|---|---|---|---|---|"]
    out += [line if isinstance(line, str) else row(line, first[line.claim] is line, letters)
            for line in told]
    out += ["", *(f"- **{letters[doubt]}** {doubt}" + (
        f" ({', '.join(rows)})" if rows and doubt != searches.NOT_SEARCHED else "")
        for doubt, rows in doubts.items())]
    out += ["", *(f"{name}, a premise: {premise}."
                  for name in judge.RUN for premise in judge.premises(name))]
    questions, decided, stay = judge.as_one_family()
    return "\n".join(out) + (
        f"\n\nIf the {questions} questions of C1 to C6 shared one correction, {stay} of their "
        f"{decided} decided verdicts would stay.\n")


def row(line: Line, linked: bool, letters: dict[str, str]) -> str:
    name = f"[{line.claim}](#{section(line.claim)})" if linked else line.claim
    whose = line.whose.removeprefix("the ").removesuffix("'s")
    return (f"| {name} | {line.question} | {whose} | {line.verdict} | {line.figures} "
            f"| {line.without} | {', '.join(letters[doubt] for doubt in line.doubts)} |")


def section(claim: str) -> str:
    """Where the page tells a claim."""
    return next((at for at, names in SECTIONS.items() if claim in names), claim.lower())


# ---- the picture ---------------------------------------------------------------------------------
def picture(file: Path) -> None:
    """Below each sentence of a paper its questions: a label with the verdict, and below it the
    interval on each base. Narrow, so that a phone shows it without zooming."""
    from matplotlib import pyplot as plt
    plt.rcParams["font.size"] = 8
    fig, ax = plt.subplots(dpi=120)
    found, y = all_lines(), 0.0                             # y counts lines of text, downwards
    for sentence in papers.SENTENCES:
        told, colour = f"{sentence.paper}: {sentence.says}", look(sentence.paper).light
        told = textwrap.fill(told, 58)
        ax.text(-REACH, y + 0.3, told, weight="bold", va="top", color=colour)
        y += 2.0 + told.count("\n") * 0.9
        for where, key in sentence.questions.items():
            draw(ax, where, found[key], y, colour)
            y += 2.25
    ax.set(xlim=(-REACH, REACH), ylim=(y, 0), yticks=[])
    ax.tick_params(top=True, labeltop=True)
    ax.spines[["right", "left"]].set_visible(False)
    ax.set_title("What the papers say, and what we found", weight="bold", fontsize=10)
    ax.set_xlabel(EXPLAINED, color=SOFT.light, loc="left")
    high = 0.15 * y + 1.75
    fig.set_size_inches(4.2, high)
    fig.subplots_adjust(left=0.04, right=0.96, top=1 - 0.5 / high, bottom=1.25 / high)
    say(save(fig, file))
    plt.close(fig)


def draw(ax, label: str, line: Line, y: float, colour: str) -> None:
    ink = "black" if line.whose == "the paper's" else SOFT.light
    ax.text(-REACH, y, label, color=ink, va="center")
    carried = all(finding.carried for finding in line.findings) and line.carried
    ax.text(REACH, y, f"{MARKS[line.verdict]} {line.verdict}" + (f", {carried}" if carried else ""),
            ha="right", va="center", color=SOFT.light if line.verdict == "undecided" else "black")
    if not line.findings or any(100 * (abs(x.mean) + x.half) > REACH for x in line.findings):
        ax.text(0, y + 0.95, line.figures.replace("-", "−"), color=colour, ha="center", va="center")
        return
    ax.vlines([100 * limit for limit in stats.LIMITS[line.test]], y + 0.45, y + 1.35, "black", lw=1)
    places = (0.7, 1.1) if len(line.findings) > 1 else (0.9,)
    for finding, mark, below in zip(line.findings, "os", places):
        ax.errorbar(100 * finding.mean, y + below, xerr=100 * finding.half, fmt=mark, color=colour,
                    markersize=3.5, linewidth=1.8)


def main() -> None:
    for file, name, text in ((PAGE, "table", table()), (README, "papers", by_paper())):
        page = between(name).sub(lambda _, text=text: text, file.read_text(encoding="utf-8"))
        file.write_text(page, encoding="utf-8")
        say(file)
    picture(PAGE.with_suffix(".png"))
