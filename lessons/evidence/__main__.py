"""What the papers claim, judged from the scores of training runs that are kept in results/.

    python -m lessons.evidence                      # what was found, a sentence or two a page
    python -m lessons.evidence C4                   # one run, with the score of each training
    python -m lessons.evidence all                  # all verdicts; nothing is trained
    python -m lessons.evidence --commands C4        # the commands that train it, to be typed
    python -m lessons.evidence --train C4           # train it again; goes on where it stopped
    python -m lessons.evidence --train C4 --seeds 1 --workers 2     # one seed, in two processes
    python -m lessons.evidence --train C4 --keep    # of a new or changed plan: keep its scores
    python -m lessons.evidence --train my.ini --keep    # a plan of your own, then: evidence my.ini
    python -m lessons.evidence --write              # the pages and pictures that show verdicts

C4 is a run: a set of trainings that are alike but for what is compared, and questions about their
scores; its plan is questions/C4.ini. C and R12 are for our own models N1 and N2, R1 to R11 for a
real model, SmolLM2-135M. What was expected is printed as it was written then: there the first base
is N1, a family is a task.
"""
import sys
import textwrap
from dataclasses import dataclass
from typing import Annotated

from lessons.evidence import judge, plan
from lessons.evidence.judge import Line
from lessons.evidence.pages import fill, found, write
from lessons.evidence.plan import MODELS, UNIT
from nanouft import __version__
from nanouft.compare.judge import mean_without
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import UserError, one_of
from nanouft.plumbing.printing import say
from nanouft.plumbing.ranges import Natural
from nanouft.run.flags import parse

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
    """The answer of each page of docs/results, and its runs."""
    for page, (answer, runs) in found().items():
        head, asked = (f"{page:12}", f" ({', '.join(runs)})") if page != "README" else ("", "")
        print_wrapped(head, answer + asked, 80)
    say("\nTwo figures are for our models N1 and N2. In brackets are runs; ask for one:",
        "  python -m lessons.evidence C4     # or all, for every verdict",
        "Conditions, and what speaks against each answer: docs/results/ift.md and so on", sep="\n")


def print_all() -> None:
    print_wrapped("", EXPLAINED)
    for name in judge.RUNS:
        say(f"\n{name}: {title(name)}")
        print_lines(judge.lines(name))


def title(name: str) -> str:
    """What a run asks."""
    return plan.read(name).run["asks"]


def print_one(name: str) -> None:
    say(f"{name}: {title(name)}")
    run = plan.read(name)
    if expected := run.run.get("expected"):
        print_wrapped("Expected before the runs: ", expected)
    say(*(print_scores(name) if run.trainings else plan.FROZEN["table"].get(name, [])), "",
        sep="\n")
    for line in judge.premises(name):
        say(f"Premise: {line}")
    if lines := judge.lines(name):
        print_wrapped("", EXPLAINED)
        print_lines(lines, doubts=True)
    if run.afterwards:
        say(run.afterwards["report"])
    for x in plan.PAPERS:
        if any(key.startswith(f"{name} ") for key in x.asked + x.also):
            say()
            print_wrapped("", f"The paper's sentence \"{x.says}\". Doubt: {fill(x.doubt)}.")


def print_scores(name: str) -> list[str]:
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
            out.append(f"{training:{width}}{MODELS.get(of, of):>10}"
                       + "".join(f"{100 * x:10.1f}" for x in numbers))
        out += [f"    {line or '(not trained)'}" for line in flags.split("\n")]
    return out + [f"{{{folder}}} = {flags}" for folder, flags in run.made.items()]


@dataclass
class EvidenceFlags:
    runs: list[str] | None = None   # runs, as listed below, plans, or all [what was found]
    commands: bool = False          # print what trains a run
    train: bool = False             # train and score a run again
    write: bool = False             # write docs/results and README's results
    seeds: Natural = 0              # with --train or --commands: only the first N [all]
    keep: bool = False              # with --train: put the scores of all seeds into results/
    workers: Annotated[int, ">= 1"] = 1     # with --train: processes


def main(argv: list[str] | None = None) -> int:
    known = sorted({*judge.RUNS, *plan.NAMES}, key=plan.number)
    listed = "".join(f"\n  {x:5}{title(x)}" for x in known)
    flags = parse(EvidenceFlags, argv, "python -m lessons.evidence", f"{__doc__}\nRuns:{listed}\n",
                  words="runs")
    names = [name if name.endswith(".ini") else one_of("run", name, [*known, "all"])
             for name in flags.runs or ()]
    if flags.train or flags.commands:
        if not names or not all(plan.read(name).trainings for name in names):
            raise UserError("--train and --commands need a run with a plan, such as C13; the code "
                            "that measured C5 and C7 is that of version 1.1.0, commit ffb6a607")
        for name in names:
            retrain(name, flags)
        return 0
    if flags.write:
        write()
    elif not names:
        print_found()
    for name in names:
        print_all() if name == "all" else print_one(name)
    return 0


def retrain(name: str, flags: EvidenceFlags) -> None:
    """Train a run, or print the commands that do. Compare its scores with those that are kept."""
    from lessons.evidence import train
    if flags.commands:
        return say(*train.commands(name, flags.seeds), sep="\n")
    whole = flags.seeds in (0, len(plan.read(name).seeds()))
    if flags.keep and not whole:
        raise UserError("--keep needs all seeds: leave out --seeds")
    if flags.keep:
        plan.check_free(name, __version__)
    else:
        plan.scores(name)               # are there any, of this plan?
    trained = train.train(name, flags.seeds, flags.workers)
    if flags.keep:
        plan.keep(name, trained, __version__)
    say(*train.compare(name, trained), sep="\n")
    if whole:
        say("Judged from these trainings:")
        print_lines(judge.judged(name, trained))


if __name__ == "__main__":
    sys.exit(command(main))
