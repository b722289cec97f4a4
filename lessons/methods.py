"""docs/methods.md: every method on a line, written from the heads of the methods' files; and the
number of methods and of lessons on every page.

    python -m lessons.methods           # writes the pages; a test says when that is needed

README's list of methods is written too. A page that says how many methods or lessons there are has
the number behind a mark, which readers do not see: <!-- count of methods -->36 or <!-- count of
lessons -->18.

It also writes what the page of `python -m nanouft.playground` says of each method: equations,
paper, and the score after a whole run, from the kept scores of evidence/whole_runs.py.

The equations stand once, in the head of each method's file, in lines such as
    L = -log sigmoid( beta (r_w - r_l) )            (Eq. 7)
    --form down     L = ...                         a form of its own, with this setting
    lo = A - log(1 - exp(A))                        a name that the equation uses
    e_i: the embedding of prompt i                  one that is explained in words
tests/test_equations.py computes each of them and compares loss and gradient with the code. The last
three columns are measured: the push of the loss on one fixed pair of answers, from run/pushes.py.
"""
import argparse
import json
import re
import sys
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from lessons.evidence import whole_runs
from lessons.marks import written
from lessons.table import LESSONS
from nanouft import objectives
from nanouft.data.rows import Row
from nanouft.models.folders import start_model
from nanouft.models.tokenizer import Turn
from nanouft.objective import Objective
from nanouft.objectives import OBJECTIVES
from nanouft.plumbing.entry import command
from nanouft.plumbing.printing import say
from nanouft.run.pushes import parse_methods, token_pushes
from nanouft.world import as_answer

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "methods.md"
PLAYGROUND = ROOT / "nanouft" / "playground" / "web" / "methods.json"
EXTRAS = ("ts_dpo",)                    # methods of lessons/extras
COUNTS = {"methods": len(OBJECTIVES), "lessons": len(LESSONS)}
COUNT = re.compile(rf"(<!-- count of ({'|'.join(COUNTS)}) -->)\d*")
NAME = r"[^\W\d][\w']*"
LOSS = re.compile(r" {4,}(?:--(\S+ \w+) +)?L = (.+?)(?:  +(.+))?")
FORMULA = re.compile(rf" {{4,}}({NAME}) = (.+?)(?:  +.+)?")
WORDS = re.compile(rf" {{4,}}({NAME}(?:, {NAME})*(?:\(y\))?): (.+)")
PARENT = re.compile(r"(?:[Ff]rom|parent|parent is|parents are|loss is that of|, as in) (\w+)\.py")
FAMILIES = {
    "Demonstrations": "Right answers to imitate.",
    "Pairs": "A better and a worse answer to one prompt.",
    "Scores and labels": "Answers with a score from 0 to 1, or a label good or bad.",
    "The model's own samples": "Prompts, and something that scores the answers of the model.",
}
PROMPT = "Name four animals but not hen, fox or wolf. End on white."
RIGHT, WRONG = "bat cat cow pig white", "bat cat cow fox white"


@dataclass
class Line:
    """One form of a method."""
    name: str                   # as on the command line: "apo", "apo --form down"
    loss: str                   # after "L = "
    formulas: dict[str, str]    # what the loss uses: {"lo": "A - log(1 - exp(A))"}
    words: dict[str, str] = field(default_factory=dict)     # the same, explained in words

    def told(self) -> list[str]:
        """The equation, then what its names mean."""
        formulas = {"L": self.loss, **self.formulas}
        return [*(f"{name} = {text}" for name, text in formulas.items()),
                *(f"{name}: {text}" for name, text in self.words.items())]


# ---- read ----------------------------------------------------------------------------------------
def found(pattern: re.Pattern, head: str | None) -> list[tuple]:
    return [m.groups() for line in (head or "").split("\n") if (m := pattern.fullmatch(line))]


SHARED = dict(found(FORMULA, objectives.__doc__))       # the letters of all equations
LETTERS = dict(found(WORDS, objectives.__doc__))        # the same, those explained in words


def equations(name: str, head: str | None) -> list[Line]:
    """The forms of a method in the head of its file; the default is the first."""
    formulas = {x: text for x, text in found(FORMULA, head) if x not in {"L", *SHARED}}
    words = dict(found(WORDS, head))
    names = {each: names for names in words for each in names.split(", ")}
    lines: list[Line] = []
    for setting, loss, _ in found(LOSS, head):
        parts = used(loss, dict.fromkeys(names, "") | formulas)
        lines.append(Line(f"{name} --{setting}" if lines else name, loss,
                          {x: formulas[x] for x in parts if x in formulas},
                          {names[x]: words[names[x]] for x in parts if x in names}))
    return lines


def used(formula: str, told: dict[str, str]) -> list[str]:
    """Names that are told, in a formula and in the formulas of these."""
    out: list[str] = []
    for name in re.findall(NAME, formula):
        for here in (name, re.sub("_[wl]$", "", name), re.sub("_k$", "_t", name)):  # u_w: u of w
            if here in told and here not in out:
                out.append(here)
                out += [x for x in used(told[here], told) if x not in out]
    return out


def head_of(name: str) -> str:
    room = "lessons.extras" if name in EXTRAS else "nanouft.objectives"
    return import_module(f"{room}.{name}").__doc__ or ""


def idea(name: str) -> str:
    """What a method does, in a sentence: the title of its file, behind the name."""
    title = " ".join(head_of(name).split("\n\n")[0].split())
    return title.partition(": ")[2] or title


def parent(name: str) -> str:
    """ " From `dpo`.": the method from which a method grew, by the head of its file, or nothing."""
    above = PARENT.search(" ".join(head_of(name).split()))
    return f" From `{above[1]}`." if above else ""


def paper(name: str) -> str:
    """The number of a method's paper at arXiv, or nothing."""
    found = re.search(r"arXiv:(\d{4}\.\d{5})", head_of(name))
    return found[1] if found else ""


def family(objective: Objective) -> str:
    """What a method learns from with its default settings: a title of FAMILIES."""
    kinds = objective.kinds()
    demos, pairs, graded, sampled = FAMILIES
    if kinds == ["demos"]:
        return demos
    return {"pairs": pairs, "prompts": sampled}.get(kinds[0], graded)


# ---- measure -------------------------------------------------------------------------------------
def pushed(name: str, model, tok) -> list[str]:
    """The push on a chosen, a rejected and a last token, from the start model; "" if there is none:
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
def rows_of(name: str, model, tok) -> list[str]:
    """The lines of the table of one method; a further form says what is new in it."""
    objective, lines = OBJECTIVES[name](), equations(name, head_of(name))
    arxiv = paper(name)
    link = f"<br>[{arxiv}](https://arxiv.org/abs/{arxiv})" if arxiv else ""
    needs = "; ".join([*objective.kinds(), *objective.other_models()])
    needs = needs.replace("the start model's log-probs", "reference")
    facts, said, out = [idea(name) + parent(name), needs], [], []
    for line in lines:
        equation = "<br>".join(f"`{x}`" for x in line.told() if x not in said)
        shown = (f"`{line.name}`" if out else
                 f"[`{name}`](../nanouft/objectives/{name}.py){link}")
        cells = [shown, equation, *facts, *pushed(line.name, model, tok)]
        out.append(f"| {' | '.join(cells)} |")
        facts, said = [""] * len(facts), lines[0].told()
    return out


def tables() -> str:
    """The part of the page between its two marks."""
    model, tok = start_model("base")
    titles = ["method", "loss", "idea", "needs", "chosen", "rejected", "last"]
    out = ["Letters that all equations share:", "",
           *(f"- `{name}`: {text}" for name, text in LETTERS.items()),
           *(f"- `{name} = {text}`" for name, text in SHARED.items())]
    for title, about in FAMILIES.items():
        out += ["", f"## {title}", about, "", f"| {' | '.join(titles)} |",
                "|---" * len(titles) + "|"]
        for name in OBJECTIVES:
            if family(OBJECTIVES[name]()) == title:
                out += rows_of(name, model, tok)
    return "\n".join(out)


def by_family() -> str:
    """README's list: for each kind of rows its methods, with their papers."""
    out = ["| learns from | methods |", "|---|---|"]
    for title, about in FAMILIES.items():
        names = [name for name in OBJECTIVES if family(OBJECTIVES[name]()) == title]
        out.append(f"| **{title}**: {about[0].lower()}{about[1:]} "
                   f"| {', '.join(map(linked, names))} |")
    return "\n".join(out) + "\n"


def linked(name: str) -> str:
    """ "[ift](nanouft/objectives/ift.py) ([2405.11870](https://arxiv.org/abs/2405.11870))" """
    arxiv = paper(name)
    link = f" ([{arxiv}](https://arxiv.org/abs/{arxiv}))" if arxiv else ""
    return f"[{name}](nanouft/objectives/{name}.py){link}"


def with_counts(text: str) -> str:
    """The text of a page with the numbers behind its marks as they are now."""
    return COUNT.sub(lambda m: f"{m[1]}{COUNTS[m[2]]}", text)


# ---- for the playground --------------------------------------------------------------------------
def for_playground() -> dict[str, Any]:
    """What the page of the playground says of each method."""
    measured, told = whole_runs.scores(), {}
    for name in [*OBJECTIVES, *EXTRAS]:
        told[name] = {
            "idea": idea(name), "paper": paper(name),
            "equations": {line.name.removeprefix(name).strip(): line.told()
                          for line in equations(name, head_of(name))},
            "scores": measured.get(name, {})}
    letters = [f"{name}: {text}" for name, text in LETTERS.items()]
    return {"letters": letters + [f"{name} = {text}" for name, text in SHARED.items()],
            "methods": told}


def main(argv: list[str] | None = None) -> int:
    argparse.ArgumentParser(prog="python -m lessons.methods", description=__doc__,
                            formatter_class=argparse.RawDescriptionHelpFormatter).parse_args(argv)
    page = written(PAGE.read_text(encoding="utf-8"), "tables", f"{tables()}\n\n")
    PAGE.write_text(page, encoding="utf-8")
    for file in [ROOT / "README.md", *ROOT.glob("docs/*.md")]:
        page = written(file.read_text(encoding="utf-8"), "methods", by_family())
        file.write_text(with_counts(page), encoding="utf-8")
    told = json.dumps(for_playground(), ensure_ascii=False, indent=1)
    PLAYGROUND.write_text(told + "\n", encoding="utf-8")
    say(f"README.md, docs/methods.md, the playground's methods.json: {COUNTS['methods']} methods")
    return 0


if __name__ == "__main__":
    sys.exit(command(main))
