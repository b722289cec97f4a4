"""docs/results, docs/all_questions.md and README's results:

    python -m lessons.evidence --write

A page of docs/results is a text of texts/ with its figures filled in (fill.py), so no figure or
verdict in it is typed by hand. To change a sentence, change the text and run the command.
"""
from functools import cache
from pathlib import Path

from lessons.evidence import frozen, judge, papers, pictures, searches
from lessons.evidence.fill import fill
from lessons.evidence.papers import Sentence
from lessons.evidence.verdicts import Line
from lessons.page_marks import write_between
from nanouft.plumbing.printing import say

ROOT = Path(__file__).parents[2]
TEXTS = Path(__file__).parent / "texts"
RESULTS = ROOT / "docs" / "results"
ALL = ROOT / "docs" / "all_questions.md"
README = ROOT / "README.md"
FRONT = "front"                         # the text of README's results
WRITTEN = "<!-- `python -m lessons.evidence --write` writes this of lessons/evidence/texts/{} -->\n"


@cache
def all_lines() -> dict[str, Line]:
    """{its key: its line}, of all questions, and of Frozen Lake's as the page has them."""
    found = [line for name in judge.RUN for line in judge.lines(name)]
    return {judge.key(line): line for line in found + judge.with_doubts(frozen.page_lines())}


def link(sentence: Sentence) -> str:
    """ "[IFT v3](https://arxiv.org/abs/...)" """
    version = "v" + sentence.version.partition("v")[2]
    return f"[{sentence.paper} {version}](https://arxiv.org/abs/{sentence.version})"


# ---- docs/results --------------------------------------------------------------------------------
def pages() -> dict[Path, str]:
    """{file: its text} of docs/results."""
    return {RESULTS / text.name: WRITTEN.format(text.name) + page(text)
            for text in sorted(TEXTS.glob("*.md")) if text.stem != FRONT}


def page(text: Path) -> str:
    """A text with its figures."""
    return fill(text.read_text(encoding="utf-8"), all_lines())


def front() -> str:
    """README's results."""
    return page(TEXTS / f"{FRONT}.md")


# ---- docs/all_questions.md -----------------------------------------------------------------------
HEAD = """# All questions
Written by `python -m lessons.evidence --write` from the kept scores. [Results](results/README.md)
tell what follows from them; this page is for those who check.

A row of the table asks one question of the run in its first column. C is for our own models N1 and
N2, R for SmolLM2-135M; `python -m lessons.evidence C4` prints C4 with its trainings. **Points of
100** is the difference of the scores that are compared, with its 95 % interval, on N1 and on N2.
Above the questions, in bold, is the paper's sentence that they ask. The **verdict** is *holds* if
the interval is on the claim's side on all models, *does not hold* if it is on the other side on all
of them, and *undecided* otherwise. "Not inferior" means less than two points worse, "as good" means
within two points. Verdicts are corrected for the number of questions of their run by Holm's rule
(not in C5), the intervals are not.

**Whose** says whether the paper says so itself (paper), whether we asked further (ours), or whether
it only asks if a paper's case occurred (premise).

**Without its largest task**: NanoWorld has nine tasks: `rules` (several small instructions),
`rules_new` (the same in new combinations), `list`, `sum` (running sums), `sort`, `reverse` (the
last word first), `truth` (facts against a myth), `unknown` (where one should say: I do not know)
and `fact` (known from pretraining). This column names the task that adds most to the difference,
and has the difference without it. It is bold where a decided verdict rests on that task: the task
differs from the others by more than chance, and without it the difference crosses a limit of the
question or, where that limit is 0, is less than half as large.

A **doubt** is a reason why a verdict may be wrong although its interval is right, for example that
the best learning rate was the lowest that was tried; in brackets is the training that it is of. Of
names of trainings, "SFT -> DPO" was trained with SFT and then with DPO; A are demonstrations of
skills, B scored answers to questions about honesty. In C3b it is the other way round: A are
demonstrations of honesty, B scored answers to skills, none of which is right. The *top 60 %* are
the demonstrations that PoFT's helper finds most likely.

"""


def all_questions() -> str:
    """The whole page: below each sentence of a paper the questions that ask it, below the last one
    of a paper our further questions; then the premises, and one correction for all."""
    left = {judge.key(line): line for line in judge.page_lines()}
    out = []
    for paper in papers.CLAIMS_OF:
        out += ["", f"## {paper}", "| run | question | whose | verdict "
                "| points of 100, on each model | without its largest task | doubts |",
                "|---|---|---|---|---|---|---|"]
        for sentence in (x for x in papers.SENTENCES if x.paper == paper):
            doubt = fill(sentence.doubt, all_lines())
            out.append(f"| {link(sentence)} | **{sentence.says}** | | | | | {doubt} |")
            out += [row(left.pop(key)) for key in sentence.questions]
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


def main() -> None:
    ALL.write_text(all_questions(), encoding="utf-8")
    RESULTS.mkdir(exist_ok=True)
    for file, text in pages().items():
        file.write_text(text, encoding="utf-8")
    readme = README.read_text(encoding="utf-8")
    README.write_text(write_between(readme, "results", front()), encoding="utf-8")
    say(ALL, *pages(), README, *pictures.write_all(RESULTS), sep="\n")
