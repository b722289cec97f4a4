"""docs/methods.md: every method on a line, written from the heads of the methods' files; and the
number of methods and of lessons on every page.

    python -m lessons methods           # writes the pages and names those that have changed

README's lists of methods and of lessons are written too, and the table of lessons/README.md. A page
that says how many methods or lessons there are has the number behind a mark, which readers do not
see: <!-- count of methods -->36, <!-- count of lessons -->18, <!-- count of lines -->264.

docs/methods.md has three such parts. The tables have the equations of the heads
(nanouft/playground/docstrings.py), and the letters are those that all equations share. The pushes
are measured on one fixed pair of answers, by pushes.py. For the page of
`python -m nanouft.playground` the command writes the score of each method after a whole run, from
the kept scores: of C13 (from the base) and C14 (after SFT), where each loss had equally many tries
for its learning rate; of methods that these leave out, of evidence/results/methods.csv, whose
figures are exploratory.
"""
import argparse
import csv
import inspect
import json
import re
import sys
from pathlib import Path

import numpy as np

from lessons.behind.lesson_list import LESSONS, subject_table, table
from lessons.evidence import judge, plan
from nanouft import simple
from nanouft.compare import stats
from nanouft.compare.by_task import mean_and_variance
from nanouft.data.rows import Row
from nanouft.models.folders import start_model
from nanouft.models.tokenizer import Turn
from nanouft.objectives import FAMILIES, FIRST, OBJECTIVES
from nanouft.playground.docstrings import (
    LETTERS,
    SHARED,
    equations,
    method_docstring,
    name_and_idea,
    paper,
)
from nanouft.plumbing.entry import command
from nanouft.plumbing.printing import say
from nanouft.pushes import parse_methods, token_pushes
from nanouft.world import as_answer

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "methods.md"
LESSONS_PAGE = ROOT / "lessons" / "README.md"
SCORES = ROOT / "nanouft" / "playground" / "web" / "scores.json"
TABLE = plan.HERE / "results" / "methods.csv"
STARTS = {                              # {start: (claim, before a method there, in the table)}
    "from the base model": ("C13", "", ""), "after SFT": ("C14", "sft, ", "sft->")}
Score = tuple[float, float, str]        # mean of 100, half of the 95 % interval, where it is from
COUNTS = {"methods": len(OBJECTIVES), "lessons": len(LESSONS),
          "lines": len(inspect.getsource(simple).splitlines())}
COUNT = re.compile(rf"(<!-- count of ({'|'.join(COUNTS)}) -->)\d*")
PARENT = re.compile(r"(?:[Ff]rom|parent|parent is|parents are|loss is that of|, as in) (\w+)\.py")
PROMPT = "Name four animals but not hen, fox or wolf. End on white."
RIGHT, WRONG = "bat cat cow pig white", "bat cat cow fox white"


# ---- measure -------------------------------------------------------------------------------------
def push_cells(name: str, model, tok) -> list[str]:
    """The push on a chosen, a rejected and a last token in the initial model; "" if there is none:
    the mean over the tokens of an answer, and that on the chosen answer's <|end|>."""
    row = Row((Turn("user", PROMPT),), as_answer(RIGHT), as_answer(RIGHT), as_answer(WRONG))
    _, method = next(parse_methods([name]))
    by_answer = {which: weights for which, _, weights in token_pushes(method, row, model, tok)}
    good, bad = (next((by_answer[x] for x in names if x in by_answer), [])
                 for names in (("answer", "chosen", "good answer"), ("rejected", "bad answer")))
    chosen = f"{sum(good) / len(good):+.2f}" if good else ""
    rejected = f"{sum(bad) / len(bad):+.2f}" if bad else ""
    last = f"{good[-1]:+.2f}" if good else ""
    return [chosen, rejected, last]


# ---- write ---------------------------------------------------------------------------------------
def rows_of(name: str) -> list[str]:
    """The lines of the table of one method; a further form says what is new in it."""
    objective, head = OBJECTIVES[name](), method_docstring(OBJECTIVES[name])
    first, *forms = equations(name, head)
    arxiv = paper(head)
    link = f"<br>[{arxiv}](https://arxiv.org/abs/{arxiv})" if arxiv else ""
    needs = "; ".join([*objective.kinds(), *objective.other_models()])
    needs = needs.replace("the reference's log-probs", "reference")
    out = [as_row(f"{link_to(name)}{link}", as_code(first.equation_lines()),
                  name_and_idea(head)[1] + parent(head), needs)]
    for form in forms:
        new = [x for x in form.equation_lines() if x not in first.equation_lines()]
        out.append(as_row(f"`{form.name.removeprefix(name).strip()}`", as_code(new), "", ""))
    return out


def parent(head: str) -> str:
    """ " From `dpo`.": the parent of a method, or nothing."""
    above = PARENT.search(" ".join(head.split()))
    return f" From `{above[1]}`." if above else ""


def as_row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def as_code(lines: list[str]) -> str:
    return "<br>".join(f"`{x}`" for x in lines)


def link_to(name: str) -> str:
    return f"[`{name}`](../nanouft/objectives/{name}.py)"


def table_of(titles: list[str], rows: list[str]) -> list[str]:
    return [as_row(*titles), "|---" * len(titles) + "|", *rows]


def tables() -> str:
    """A table for each family of methods."""
    out = []
    for family, (title, about) in FAMILIES.items():
        names = [name for name in OBJECTIVES if OBJECTIVES[name]().family == family]
        rows = [row for name in names for row in rows_of(name)]
        out += [f"## {title}", about, "", *table_of(["method", "loss", "idea", "needs"], rows), ""]
    return "\n".join(out)


def letters() -> str:
    """What the letters mean that all equations share."""
    meanings = [*((f"`{name}`", text) for name, text in LETTERS.items()),
                *((f"`{name}`", f"`{text}`") for name, text in SHARED.items())]
    rows = [as_row(name, text) for name, text in meanings]
    return "\n".join(table_of(["letter", "meaning"], rows)) + "\n"


def push_table() -> str:
    """The push of each form of each method; the names of forms stand as on the command line."""
    model, tok = start_model("base")
    forms = [form.name for family in FAMILIES for name in OBJECTIVES
             if OBJECTIVES[name]().family == family
             for form in equations(name, method_docstring(OBJECTIVES[name]))]
    rows = [as_row(f"`{form}`", *push_cells(form, model, tok)) for form in forms]
    titles = ["method", "right answer", "wrong answer", "EOS of the right one"]
    return "\n".join(table_of(titles, rows)) + "\n"


def by_family() -> str:
    """README's list: for each kind of rows the methods that lists show first, and a link to its
    table of all."""
    out = ["| learns from | methods |", "|---|---|"]
    for family, (title, _) in FAMILIES.items():
        names = [name for name in OBJECTIVES if OBJECTIVES[name]().family == family]
        cells = [f"[{name}](nanouft/objectives/{name}.py)" for name in names if name in FIRST]
        if len(cells) < len(names):
            anchor = re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
            cells.append(f"[{len(names) - len(cells)} more](docs/methods.md#{anchor})")
        out.append(f"| **{title}** | {' · '.join(cells)} |")
    return "\n".join(out) + "\n"


def with_counts(text: str) -> str:
    """The text of a page with the numbers behind its marks as they are now."""
    return COUNT.sub(lambda m: f"{m[1]}{COUNTS[m[2]]}", text)


def scores() -> dict[str, dict[str, Score]]:
    """{method: {start: its score}}, without what was never measured, and without chains."""
    found: dict[str, dict[str, Score]] = {}
    table = {method: np.array(x) for method, x in of_table().items() if len(x) > 1}
    for start, (claim, before, in_table) in STARTS.items():
        known = {name.removeprefix(in_table): score_of(
            x.mean(), x.var(ddof=1) / len(x), len(x) - 1, "exploratory")
            for name, x in table.items() if name.startswith(in_table)}
        run = plan.read(claim)
        known |= {name.removeprefix(before): score_of(
            *mean_and_variance(judge.asked_of(run, f"better: {name}", 0)), claim)
                  for name, flags in run.trainings.items()
                  if flags and name.startswith(before)}
        for name in filter(str.isidentifier, known):
            found.setdefault(name, {})[start] = known[name]
    return found


def of_table() -> dict[str, list[float]]:
    """{recipe, such as "sft->dpo": the mean over tasks, of each seed}"""
    points: dict[str, list[float]] = {}
    with TABLE.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            mean = sum(float(row[family]) for family in plan.TASKS) / len(plan.TASKS)
            points.setdefault(row["method"], []).append(mean)
    return points


def score_of(mean: float, variance: float, freedom: float, source: str) -> Score:
    """A mean from 0 to 1 and its variance -> points of 100, in tenths."""
    half = stats.half_width(float(variance), freedom)
    return round(100 * float(mean), 1), round(100 * half, 1), source


def scores_text() -> str:
    """The scores of all methods, each on a line of JSON."""
    lines = [f" {json.dumps(name)}: {json.dumps(score)}" for name, score in scores().items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


PARTS = {       # of each page, those that are written between marks
    PAGE: {"tables": tables, "letters": letters, "pushes": push_table},
    ROOT / "README.md": {"methods": by_family, "lessons": subject_table},
    LESSONS_PAGE: {"lessons": table}}


def write_between(page: str, name: str, text: str) -> str:
    """The page with this text between its two marks, <!-- lessons --> and <!-- end of lessons -->,
    each on a line of its own."""
    between = re.compile(rf"(?<=<!-- {name} -->\n).*?(?=<!-- end of {name} -->)", re.S)
    return between.sub(lambda _: text, page)


def pages() -> dict[Path, str]:
    """{file: its text as it should be now}"""
    texts = {SCORES: scores_text()}
    front = Path(__file__).with_name("front.md")
    for file in sorted({*PARTS, front, *ROOT.glob("docs/*.md")}):
        text = file.read_text(encoding="utf-8")
        for name, part in PARTS.get(file, {}).items():
            text = write_between(text, name, part())
        texts[file] = with_counts(text)
    return texts


def main(argv: list[str] | None = None) -> int:
    argparse.ArgumentParser(prog="python -m lessons methods", description=__doc__,
                            formatter_class=argparse.RawDescriptionHelpFormatter).parse_args(argv)
    for file, text in pages().items():
        if text != file.read_text(encoding="utf-8"):
            file.write_text(text, encoding="utf-8")
            say(file.relative_to(ROOT).as_posix())
    return 0


if __name__ == "__main__":
    sys.exit(command(main))
