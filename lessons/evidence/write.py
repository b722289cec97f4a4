"""docs/all_questions.md, the tables of claims.md, README's answers and a picture:

    python -m lessons.evidence --write

What stands between two marks such as <!-- papers --> and <!-- end of papers --> is written here
from the kept scores, so no figure or verdict in it is typed by hand.
"""
import re
import textwrap
from functools import cache
from pathlib import Path

from lessons.evidence import judge, losses, papers, readme, reads, searches, stats
from lessons.evidence.claims import CLAIMS, packed
from lessons.evidence.papers import Sentence
from lessons.evidence.reported import REPORTED
from lessons.evidence.verdicts import Line, moments, points
from lessons.marks import written
from nanouft.pictures.colours import SOFT, look
from nanouft.pictures.plots import save
from nanouft.plumbing.printing import say

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "claims.md"
ALL = ROOT / "docs" / "all_questions.md"
README = ROOT / "README.md"
MARKS = {"holds": "✓", "does not hold": "✗", "undecided": "?"}
REACH = 20                              # points; an interval beyond is written, not drawn
WIDEST, LINE = 41, 0.85                 # letters of a question's label; height of one of its lines
FAMILY = {"rules": "small instructions", "rules_new": "new combinations", "list": "lists",
          "sum": "running sums", "sort": "sorting", "reverse": "reversed words",
          "truth": "facts against myths", "unknown": "\"I do not know\"", "fact": "known facts"}
EXPLAINED = """Difference of two methods in points of 100, with its
95 % interval over seeds and prompts: ● first start
model, or SmolLM2; ■ second start model. Intervals that
reach beyond 20 are written. Black lines are the limits of
a question: "better" holds if both intervals lie right of 0,
"not inferior" if right of −2, "as good" if between −2 and 2,
once they are made wider for the number of questions.
"Rests on": without this kind of question little is left.
"Detached": no gradient flows through IFT's weights.
Grey: questions that we asked beside the paper's own."""


@cache
def all_lines() -> dict[str, Line]:
    """{its key: its line}, of all questions, and of Frozen Lake's as the page has them."""
    found = [line for name in judge.RUN for line in judge.lines(name)]
    return {judge.key(line): line for line in found + judge.told(reads.page_lines())}


def link(sentence: Sentence) -> str:
    """ "[IFT v3](https://arxiv.org/abs/...)" """
    version = "v" + sentence.version.partition("v")[2]
    return f"[{sentence.paper} {version}](https://arxiv.org/abs/{sentence.version})"


# ---- README --------------------------------------------------------------------------------------
def in_short() -> str:
    """What came of each paper's main sentence, a paragraph each, with a link to its section."""
    found = all_lines()
    return "\n\n".join(f"{told(short.text, found)} [{paper} in full]"
                       f"(docs/claims.md#{paper.lower()})"
                       for paper, short in readme.IN_SHORT.items()) + "\n"


def told(text: str, found: dict[str, Line]) -> str:
    """The text with its figures: {key} is how far the first row is ahead, {-key} how far behind,
    and {+key} is the difference with its sign and its 95 % interval."""
    def figure(name: re.Match) -> str:
        known = differences(name[2], found)
        sign = -1 if name[1] == "-" else 1
        each = [points(mean, half) if name[1] == "+" else f"{100 * sign * mean:.1f}"
                for mean, half in known]
        return " and ".join(dict.fromkeys(each))
    return re.sub(r"\{([-+]?)([^}]+)\}", figure, text)


def differences(key: str, found: dict[str, Line]) -> list[tuple[float, float]]:
    """(mean, half of its 95 % interval) on each start model, of a question, or of another
    difference of the same runs, which no question asks and which so has no verdict."""
    if key in found:
        return [(finding.mean, finding.half) for finding in found[key].findings]
    name, formula = key.split(" ", 1)
    claim, kept = CLAIMS[name], packed(name)
    out = []
    for base in range(len(claim.bases)):
        mean, variance, freedom = moments(judge.asked_of(claim, kept, formula, base))
        out.append((mean, stats.half_width(variance, freedom)))
    return out


# ---- docs/claims.md ------------------------------------------------------------------------------
def carrying(paper: str) -> str:
    """The table of a paper's section: the questions that carry our answer."""
    found = all_lines()
    lines = ["| experiment | we asked whether | here it | difference in points of 100, on each "
             "start model | scores of the two, on each start model |", "|---|---|---|---|---|"]
    lines += [f"| {found[key].claim} | {found[key].question} | {found[key].verdict} "
              f"| {found[key].figures} | {levels(key)} |" for key in papers.CARRY[paper]]
    return "\n".join(lines) + "\n"


def levels(key: str) -> str:
    """ "75.4 and 79.7; 75.0 and 79.3": what both rows of a question score, on each start model."""
    name, formula = key.split(" ", 1)
    claim = CLAIMS.get(name)
    if claim is None or len(terms := judge.read_question(claim, formula)[1]) != 2:
        return ""
    test, kept = formula.partition(": ")[0], packed(name)
    return "; ".join(" and ".join(
        f"{100 * moments(judge.asked_of(claim, kept, f'{test}: {row}', base))[0]:.1f}"
        for _, row in terms) for base in range(len(claim.bases)))


def reported(paper: str) -> str:
    """The table of what a paper reports of its own models, beside what came out here."""
    found = all_lines()
    lines = ["| the paper's comparison | model and task | it reports | here | same sign? |",
             "|---|---|---|---|---|"]
    lines += [f"| {x.comparison} | {x.where} | {x.reports} | {told(x.here, found)} "
              f"| {x.same_sign} |" for x in REPORTED[paper]]
    return "\n".join(lines) + "\n"


# ---- docs/all_questions.md -----------------------------------------------------------------------
HEAD = """# All questions
Written by `python -m lessons.evidence --write` from the kept scores. [claims.md](claims.md) tells
what follows from them; this page is for those who check.

A row asks one question of the experiment in its first column (C: on our own start models, R: on
SmolLM2-135M; `python -m lessons.evidence C4` prints C4 with its runs). **Points of 100** is the
difference of the scores that are compared, with its 95 % interval, on the first and on the second
start model. Above the questions stands, in bold, the paper's sentence that they ask. The
**verdict** is *holds* if the interval lies on the claim's side on all start models, *does not hold*
if it lies on the other side on all of them, and *undecided* otherwise. "Not inferior" means less
than two points worse, "as good" means within two points. Verdicts are corrected for the number of
questions of their experiment by Holm's rule (not in C5), the intervals are not.

**Whose** says whether the paper says so itself (paper), whether we asked further (ours), or whether
it only asks if a paper's case occurred (premise).

**Without its largest family**: NanoWorld has nine families of questions: `rules` (several small
instructions), `rules_new` (the same in new combinations), `list`, `sum` (running sums), `sort`,
`reverse` (the last word first), `truth` (facts against a myth), `unknown` (where one should say: I
do not know) and `fact` (known from pretraining). This column names the family that adds most to the
difference, and has the difference without it. It is bold where a decided verdict rests on that
family, because it differs from the others by more than chance and without it the difference crosses
a limit of the question or, where that limit is 0, is less than half as large.

A **doubt** is a reason why a verdict may be wrong although its interval is right, for example that
the best learning rate was the lowest that was tried; in brackets stands the run that it is of. Of
names of runs, "SFT -> DPO" was trained with SFT and then with DPO; A are demonstrations of skills,
B scored answers to questions about honesty. In C3b it is the other way round: A are demonstrations
of honesty, B scored answers to skills, none of which is right.

"""


def all_questions() -> str:
    """The whole page: below each sentence of a paper the questions that ask it, below the last one
    of a paper our further questions; then the premises, and one correction for all."""
    left = {judge.key(line): line for line in judge.page_lines()}
    out = []
    for paper in papers.CLAIMS_OF:
        out += ["", f"## {paper}", "| experiment | question | whose | verdict "
                "| points of 100, on each start model | without its largest family | doubts |",
                "|---|---|---|---|---|---|---|"]
        for sentence in (x for x in papers.SENTENCES if x.paper == paper):
            out.append(f"| {link(sentence)} | **{sentence.says}** | | | | | {sentence.doubt} |")
            out += [row(left.pop(key)) for key in sentence.questions.values()]
        rest = [key for key, line in left.items() if line.claim in papers.CLAIMS_OF[paper]]
        if rest:
            out.append("| | **further questions** | | | | | |")
            out += [row(left.pop(key)) for key in rest]
    out += ["", *(f"{name}, a premise: {premise}."
                  for name in judge.RUN for premise in judge.premises(name))]
    questions, decided, stay = judge.as_one_family()
    return HEAD + "\n".join(out).lstrip() + (
        f"\n\nIf the {questions} questions of C1 to C6 shared one correction, {stay} of their "
        f"{decided} decided verdicts would stay.\n")


def row(line: Line) -> str:
    whose = line.whose.removeprefix("the ").removesuffix("'s")
    doubts = "; ".join(f"{doubt} ({', '.join(rows)})" if rows and doubt != searches.NOT_SEARCHED
                       else doubt for doubt, rows in line.doubts.items())
    return (f"| {line.claim} | {line.question} | {whose} | {line.verdict} | {line.figures} "
            f"| {line.without} | {doubts} |")


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
        told = textwrap.fill(told, 54)
        ax.text(-REACH, y + 0.3, told, weight="bold", va="top", color=colour)
        y += 1.7 + LINE * told.count("\n")
        for where, key in sentence.questions.items():
            label = textwrap.fill(where, WIDEST)
            draw(ax, label, found[key], y, colour)
            y += 2.3 + LINE * more_lines(label, found[key])
        y += 0.4
    ax.set(xlim=(-REACH, REACH), ylim=(y, 0), yticks=[])
    ax.tick_params(top=True, labeltop=True)
    ax.spines[["right", "left"]].set_visible(False)
    ax.set_title("What the papers say, and what we found", weight="bold", fontsize=10)
    ax.set_xlabel(EXPLAINED, color=SOFT.light, loc="left")
    high = 0.15 * y + 2.25
    fig.set_size_inches(4.2, high)
    fig.subplots_adjust(left=0.04, right=0.96, top=1 - 0.5 / high, bottom=1.75 / high)
    say(save(fig, file))
    plt.close(fig)


def verdict_of(line: Line) -> str:
    """ "✓ holds", in a second line the family on which it rests on all start models."""
    told = f"{MARKS[line.verdict]} {line.verdict}"
    rests = line.rests_on and all(finding.rests for finding in line.findings)
    return f"{told}\nrests on {FAMILY[line.rests_on]}" if rests else told


def more_lines(label: str, line: Line) -> int:
    """Lines that a question takes beyond its first one."""
    return max(label.count("\n"), verdict_of(line).count("\n"))


def draw(ax, label: str, line: Line, y: float, colour: str) -> None:
    """One question: its label, at the right its verdict, and below them the intervals. y: of the
    label's first line."""
    ink = "black" if line.whose == "the paper's" else SOFT.light
    ax.text(-REACH, y, label, color=ink, va="top", linespacing=1.1)
    ax.text(REACH, y, verdict_of(line), ha="right", va="top", linespacing=1.1,
            color=SOFT.light if line.verdict == "undecided" else "black")
    y += LINE * more_lines(label, line) + 0.4
    if not line.findings or any(100 * (abs(x.mean) + x.half) > REACH for x in line.findings):
        ax.text(0, y + 0.95, line.figures.replace("-", "−"), color=colour, ha="center", va="center")
        return
    ax.vlines([100 * limit for limit in stats.LIMITS[line.test]], y + 0.45, y + 1.35, "black", lw=1)
    places = (0.7, 1.1) if len(line.findings) > 1 else (0.9,)
    for finding, mark, below in zip(line.findings, "os", places):
        ax.errorbar(100 * finding.mean, y + below, xerr=100 * finding.half, fmt=mark, color=colour,
                    markersize=3.5, linewidth=1.8)


def main() -> None:
    ALL.write_text(all_questions(), encoding="utf-8")
    say(ALL)
    parts = {README: {"papers": in_short()},
             PAGE: {f"rows of {paper}": carrying(paper) for paper in papers.CARRY}
             | {f"reported by {paper}": reported(paper) for paper in REPORTED}}
    for file, texts in parts.items():
        page = file.read_text(encoding="utf-8")
        for name, text in texts.items():
            page = written(page, name, text)
        file.write_text(page, encoding="utf-8")
        say(file)
    picture(PAGE.with_suffix(".png"))
    say(losses.picture(ROOT / "docs" / "losses.png", packed("C13"), packed("C14")))
