"""What the papers claim, judged from the scores of training runs that are kept in results/.

    python -m lessons.evidence                      # what was found, a sentence or two a page
    python -m lessons.evidence C4                   # one run, with the score of each training
    python -m lessons.evidence all                  # all verdicts; nothing is trained
    python -m lessons.evidence --table              # writes them into lessons/evidence/verdicts.csv

C4 is a run: a set of trainings that are alike but for what is compared, and questions about their
scores; its plan is questions/C4.ini. C and R12 are for our own models N1 and N2, R1 to R11 for a
real model, SmolLM2-135M. What was expected is printed as it was written then: there the first base
is N1, a family is a task.
"""
import re
import sys
import textwrap
from dataclasses import dataclass

from lessons.evidence import judge, plan, table
from lessons.evidence.by_task import mean_without
from lessons.evidence.judge import Line
from lessons.evidence.plan import MODELS, UNIT
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import one_of
from nanouft.plumbing.printing import say
from nanouft.run.flags import parse

PAGES = plan.HERE.parents[1] / "docs" / "results"
EXPLAINED = (
    "Below each question are its verdict and the difference in points of 100, with its 95 % "
    "interval, on N1 and on N2 (R1 to R11: on SmolLM2). Brackets say who asks: the paper, we, or "
    "(premise) whether a paper's case occurred. \"Without reverse\" is the difference without the "
    "task that adds most to it. A verdict rests on this task if the task differs from the others "
    "by more than chance, and without it the difference crosses a limit of the question or is less "
    "than half as large.")


def print_lines(lines: list[Line], doubts: bool = False) -> None:
    """Two lines for a question: whose it is; its verdict, figures and largest task."""
    for line in lines:
        without = f"without {line.without}" if line.without else ""
        rests = f"the verdict rests on {line.rests_on}" if line.rests_on else ""
        beside = "; ".join(filter(None, (without, rests)))
        print_wrapped(f"{line.claim:4} ", f"{line.question} ({line.whose})")
        print_wrapped(f"{'':5}{line.verdict:14}", "; ".join(filter(None, (line.figures, beside))))
        if doubts and line.doubts:
            print_wrapped(f"{'':19}Doubt: ", "; ".join(
                f"{text} ({', '.join(of)})" if of else text for text, of in line.doubts.items()))


def print_wrapped(head: str, text: str, width: int = 100) -> None:
    """The text behind the head, in lines of at most `width` that stand below each other."""
    say(textwrap.fill(text, width, initial_indent=head, subsequent_indent=" " * len(head)))


def print_found() -> None:
    """The answer of each page of docs/results, in bold below its title, and the page's runs."""
    for file in sorted(PAGES.glob("*.md")):
        text = file.read_text(encoding="utf-8")
        answer, runs = text.split("**")[1], dict.fromkeys(re.findall(r"\b[CR]\d+\w?\b", text))
        if file.stem == "README":
            print_wrapped("", answer, 80)
        else:
            print_wrapped(f"{file.stem:12}", f"{answer} ({', '.join(runs)})", 80)
    say("\nTwo figures are for our models N1 and N2. In brackets are runs; ask for one:",
        "  python -m lessons.evidence C4     # or all, for every verdict",
        "Conditions, and what speaks against each answer: docs/results/ift.md and so on", sep="\n")


def print_all() -> None:
    print_wrapped("", EXPLAINED)
    for name in judge.RUNS:
        say(f"\n{name}: {title(name)}")
        print_lines(judge.verdict_lines(name))


def title(name: str) -> str:
    """What a run asks."""
    return plan.read(name).run["asks"]


def print_one(name: str) -> None:
    say(f"{name}: {title(name)}")
    run = plan.read(name)
    if expected := run.run.get("expected"):
        print_wrapped("Expected before the runs: ", expected)
    say(*(score_lines(name) if run.trainings else plan.FROZEN["table"].get(name, [])), "",
        sep="\n")
    for line in judge.premises(name):
        say(f"Premise: {line}")
    if lines := judge.verdict_lines(name):
        print_wrapped("", EXPLAINED)
        print_lines(lines, doubts=True)
    if run.afterwards:
        say(run.afterwards["report"])
    for x in plan.PAPERS:
        if any(key.startswith(f"{name} ") for key in x.asked + x.also):
            say()
            print_wrapped("", f"The paper's sentence \"{x.says}\". Doubt: {x.doubt}.")


def score_lines(name: str) -> list[str]:
    """Each training: its score, that of each task, how many answers (C1 to C6: lists) stop."""
    run, kept = plan.read(name), plan.scores(name)
    ended = kept["ended" if "ended" in kept else "stops"]
    width = max(map(len, run.trainings))
    out = ["Score of each training in points of 100, in all tasks and in each, and how many per",
           f"cent of {'the' if 'ended' in kept else 'list'} answers stop (means over seeds; below "
           "each its flags for nanouft.train)", " " * (width + 10)
           + "".join(f"{column:>10}" for column in ("score", *run.tasks, "stops", *run.also))]
    for i, (training, flags) in enumerate(run.trainings.items()):
        for model, of in enumerate(run.models):
            asked = judge.asked_of(run, f"better: {training}", model)
            numbers = [mean_without(asked, ""),           # also of a run with one seed
                       *kept["scores"][i, model].mean((0, 2)) / UNIT, ended[i, model].mean()]
            for name in run.also:
                asked = judge.asked_of(run, f"better, {name}: {training}", model)
                numbers.append(mean_without(asked, ""))
            out.append(f"{training:{width}}{MODELS[of]:>10}"
                       + "".join(f"{100 * x:10.1f}" for x in numbers))
        out += [f"    {line or '(not trained)'}" for line in flags.split("\n")]
    return out + [f"{{{folder}}} = {flags}" for folder, flags in run.made.items()]


@dataclass
class EvidenceFlags:
    runs: list[str] | None = None   # runs, as listed below, or all [what was found]
    table: bool = False             # write lessons/evidence/verdicts.csv


def main(argv: list[str] | None = None) -> int:
    listed = "".join(f"\n  {x:5}{title(x)}" for x in plan.NAMES)
    flags = parse(EvidenceFlags, argv, "python -m lessons.evidence", f"{__doc__}\nRuns:{listed}\n",
                  words="runs")
    names = [one_of("run", name, [*plan.NAMES, "all"]) for name in flags.runs or ()]
    if flags.table:
        table.write()
    elif not names:
        print_found()
    for name in names:
        print_all() if name == "all" else print_one(name)
    return 0


if __name__ == "__main__":
    sys.exit(command(main))
