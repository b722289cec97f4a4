"""What the papers claim, judged from the scores of training runs that are kept in results/.

    python -m lessons.evidence                      # all verdicts; nothing is trained
    python -m lessons.evidence C4                   # one run, with the score of each training
    python -m lessons.evidence --train C4           # train it again; goes on where it stopped
    python -m lessons.evidence --train C4 --seeds 1 --workers 2     # one seed, in two processes
    python -m lessons.evidence --search C13         # try the settings of its trainings
    python -m lessons.evidence --write              # the pages and pictures that show verdicts

C4 is a run: a set of trainings that are alike but for what is compared, and questions about their
scores. C is for our own models N1 and N2, R for a real model, SmolLM2-135M. What was expected is
printed as it was written then: there the first base is N1, a family is a task.
"""
import argparse
import sys
import textwrap

import numpy as np

from lessons.evidence import frozen, judge, mechanism, papers
from lessons.evidence.claims import CLAIMS, scores_file
from lessons.evidence.verdicts import Line
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import UserError, in_range, one_of
from nanouft.plumbing.printing import say

TITLES = {"C5": "Frozen Lake: where training ends, and is SFT's estimate of its policy too high?",
          "C7": "Is what SFT estimates of its model too high, step by step?"}

EXPLAINED = (
    "Below each question are its verdict and the difference in points of 100, with its 95 % "
    "interval, on N1 and on N2 (R: on SmolLM2). Brackets say who asks: the paper, we, or (premise) "
    "whether a paper's case occurred. \"Without reverse\" is the difference without the task that "
    "adds most to it. A verdict rests on this task if the task differs from the others by more "
    "than chance, and without it the difference crosses a limit of the question or is less than "
    "half as large.")


def print_lines(lines: list[Line], doubts: bool = False) -> None:
    """Two lines for a question: whose it is; its verdict, figures and largest task."""
    for line in lines:
        without = f"without {line.without}".replace("**", "") if line.without else ""
        rests = f"the verdict rests on {line.rests_on}" if line.rests_on else ""
        beside = "; ".join(filter(None, (without, rests)))
        print_wrapped(f"{line.claim:5}", f"{line.question} ({line.whose})")
        print_wrapped(f"{'':5}{line.verdict:14}", "; ".join(filter(None, (line.figures, beside))))
        if doubts and line.doubts:
            print_wrapped(f"{'':19}Doubt: ", "; ".join(
                f"{text} ({', '.join(rows)})" if rows else text
                for text, rows in line.doubts.items()))


def print_wrapped(head: str, text: str) -> None:
    """The text behind the head, in lines of at most 100 characters that stand below each other."""
    say(textwrap.fill(text, 100, initial_indent=head, subsequent_indent=" " * len(head)))


def print_all() -> None:
    print_wrapped("", EXPLAINED)
    for name in judge.RUN:
        say(f"\n{name}: {title(name)}")
        print_lines(judge.lines(name))
    questions, decided, stay = judge.as_one_family()
    say()
    print_wrapped("", (
        "Each run is corrected for the number of its own questions. If all "
        f"{questions} questions of C1 to C6 shared one correction, {stay} of their {decided} "
        "decided verdicts would stay."))


def title(name: str) -> str:
    """What a run asks."""
    return CLAIMS[name].title if name in CLAIMS else TITLES[name]


def print_one(name: str) -> None:
    claim = CLAIMS.get(name)
    say(f"{name}: {title(name)}")
    if expected := claim.expected if claim else frozen.EXPECTED.get(name):
        print_wrapped("Expected before the runs: ", expected)
    if claim and name not in judge.RUN:
        say("Not judged yet, because its trainings have not all ended. Its questions:",
            *(f"  {question}" for question in claim.questions), "Its trainings, with their flags "
            "for nanouft.train (two lines: for N1 and for N2):", sep="\n")
        for row, flags in claim.rows.items():
            lines = [flags] if isinstance(flags, str) else flags
            say(*(f"  {row}: {judge.start_of(line)}" for line in lines), sep="\n")
        return
    if rows := judge.row_lines(name) if claim else frozen.row_lines(name):
        say(*rows, "", sep="\n")
    for line in judge.premises(name):
        say(f"Premise: {line}")
    print_wrapped("", EXPLAINED)
    print_lines(judge.lines(name), doubts=True)
    if name == "C13":
        say(*mechanism.report(), sep="\n")
    for sentence in papers.SENTENCES:
        if any(key.startswith(f"{name} ") for key in sentence.questions):
            say()
            print_wrapped("", f"The paper's sentence \"{sentence.says}\". Doubt: "
                                f"{sentence.doubt}.")


def search(name: str, workers: int, rows: list[str]) -> None:
    from lessons.evidence import cells
    claim = CLAIMS.get(name)
    if claim is None or not claim.tries:
        raise UserError(f"--search {name}: it has no settings to try; runs that have: "
                        + ", ".join(x for x in CLAIMS if CLAIMS[x].tries))
    say("The best on validation prompts:", *cells.search(name, workers, rows), sep="\n")


def train(name: str, seeds: int, workers: int, rows: list[str]) -> None:
    from lessons.evidence import cells
    if name not in CLAIMS:
        raise UserError(f"--train {name}: its figures are judged as they are kept; the code that "
                        "measured them is that of version 1.1.0, commit ffb6a607")
    every = len(CLAIMS[name].seeds)
    trained = cells.train_claim(name, seeds or every, workers, rows)
    if rows:
        return
    if name in judge.RUN:
        say(*cells.compare(name, trained), sep="\n")
    elif seeds in (0, every):
        np.savez_compressed(scores_file(name), **trained)
    if seeds in (0, every):
        say("Judged from these trainings:")
        print_lines(judge.with_doubts(judge.verdicts_of(name, trained)))


def check_rows(rows: list[str], names: list[str], to_train: bool, to_search: bool) -> None:
    """Trainings that are named belong to one run, which has something to do for each of them."""
    if not rows:
        return
    if not (to_train or to_search):
        raise UserError("--rows needs --train or --search")
    if len(names) != 1:
        raise UserError(f"--rows names trainings of one run, not of {len(names)}")
    claim = CLAIMS.get(names[0])
    if claim is None:
        raise UserError(f"{names[0]}: its trainings have no names, so leave --rows out")
    for row in rows:
        one_of(f"training of {names[0]}", row, claim.rows)
        if to_search and row not in claim.tries:
            raise UserError(f"--search {names[0]} --rows: {row!r} has no settings to try")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m lessons.evidence", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="runs:\n" + "\n".join(f"  {x:5}{title(x)}" for x in judge.NAMES))
    parser.add_argument("claims", nargs="*", metavar="NAME",
                        help="runs, as listed below [all]")
    parser.add_argument("--train", action="store_true",
                        help="train and score a run again")
    parser.add_argument("--write", action="store_true",
                        help="write docs/results, docs/all_questions.md and README's results")
    parser.add_argument("--seeds", type=int, default=0, metavar="N",
                        help="with --train, only the first N of the seeds [all]")
    parser.add_argument("--search", action="store_true",
                        help="try the settings of a run's trainings on validation prompts")
    parser.add_argument("--rows", nargs="+", default=[], metavar="NAME",
                        help="with --train or --search of one run, these trainings alone [all]")
    parser.add_argument("--workers", type=int, default=1, metavar="N",
                        help="with --train or --search, the number of processes [1]")
    flags = parser.parse_args(argv)
    in_range(flags, "workers", low=1)
    in_range(flags, "seeds")
    names = [one_of("run", name, judge.NAMES) for name in flags.claims]
    if (flags.train or flags.search) and not names:
        raise UserError(f"--{'train' if flags.train else 'search'} needs a run, such as "
                        "C13: all of them take days")
    check_rows(flags.rows, names, flags.train, flags.search)
    if flags.write:
        from lessons.evidence import write
        write.main()
    elif not names:
        print_all()
    for name in names:
        if flags.search:
            search(name, flags.workers, flags.rows)
        if flags.train:
            train(name, flags.seeds, flags.workers, flags.rows)
        if not (flags.train or flags.search):
            print_one(name)
    return 0


if __name__ == "__main__":
    sys.exit(command(main))
