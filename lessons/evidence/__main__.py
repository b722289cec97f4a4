"""What the papers claim, judged from the scores of training runs that are kept in results/.

    python -m lessons.evidence                      # all verdicts; nothing is trained
    python -m lessons.evidence C4                   # one experiment, with the score of each run
    python -m lessons.evidence --train C4           # its runs again; goes on where it stopped
    python -m lessons.evidence --train C4 --seeds 1 --workers 2     # one seed, in two processes
    python -m lessons.evidence --search C13         # try the settings of its runs on validation
    python -m lessons.evidence --write              # the pages and pictures that show verdicts

C4 is an experiment: runs that were trained alike but for what is compared, and questions about
their scores. C stands for our own start models, R for a real model, SmolLM2-135M.
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
    "Below each question stand its verdict and the difference in points of 100, with its 95 % "
    "interval, on each of two start models (R: on one). The brackets say who asks: the paper, we, "
    "or, as a premise, whether the case of which a paper speaks occurred. \"Without reverse\" is "
    "the difference without that family of questions, the one of NanoWorld's nine that adds most "
    "to it; the verdict rests on it where without it the difference crosses a limit of the "
    "question or is less than half as large.")


def print_lines(lines: list[Line], doubts: bool = False) -> None:
    """Two lines for a question: whose it is; its verdict, figures and largest family."""
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
        "Each experiment is corrected for the number of its own questions. If all "
        f"{questions} questions of C1 to C6 shared one correction, {stay} of their {decided} "
        "decided verdicts would stay."))


def title(name: str) -> str:
    """What an experiment asks."""
    return CLAIMS[name].title if name in CLAIMS else TITLES[name]


def print_one(name: str) -> None:
    claim = CLAIMS.get(name)
    say(f"{name}: {title(name)}")
    if expected := claim.expected if claim else frozen.EXPECTED.get(name):
        print_wrapped("Expected before the runs: ", expected)
    if claim and name not in judge.RUN:
        say("Not judged yet, because its runs have not all ended. Its questions:",
            *(f"  {question}" for question in claim.questions), "Its runs, with their flags for "
            "nanouft.train (two lines: one for each start model):", sep="\n")
        for row, flags in claim.rows.items():
            lines = [flags] if isinstance(flags, str) else flags
            say(*(f"  {row}: {judge.started(line)}" for line in lines), sep="\n")
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
        if any(key.startswith(f"{name} ") for key in sentence.questions.values()):
            say()
            print_wrapped("", f"The paper's sentence \"{sentence.says}\". Doubt: "
                                f"{sentence.doubt}.")


def search(name: str, workers: int, rows: list[str]) -> None:
    from lessons.evidence import cells
    claim = CLAIMS.get(name)
    if claim is None or not claim.tries:
        raise UserError(f"--search {name}: it has no settings to try; experiments that have: "
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
        say("Judged from these runs:")
        print_lines(judge.told(judge.judged(name, trained)))


def check_rows(rows: list[str], names: list[str], to_train: bool, to_search: bool) -> None:
    """Runs that are named belong to one experiment, which has something to do for each of them."""
    if not rows:
        return
    if not (to_train or to_search):
        raise UserError("--rows needs --train or --search")
    if len(names) != 1:
        raise UserError(f"--rows names runs of one experiment, not of {len(names)}")
    claim = CLAIMS.get(names[0])
    if claim is None:
        raise UserError(f"{names[0]}: its runs have no names, so leave --rows out")
    for row in rows:
        one_of(f"run of {names[0]}", row, claim.rows)
        if to_search and row not in claim.tries:
            raise UserError(f"--search {names[0]} --rows: {row!r} has no settings to try")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m lessons.evidence", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="experiments:\n" + "\n".join(f"  {x:5}{title(x)}" for x in judge.NAMES))
    parser.add_argument("claims", nargs="*", metavar="NAME",
                        help="experiments, as listed below [all]")
    parser.add_argument("--train", action="store_true",
                        help="train and score the runs of an experiment again")
    parser.add_argument("--write", action="store_true",
                        help="write docs/results, docs/all_questions.md and README's table")
    parser.add_argument("--seeds", type=int, default=0, metavar="N",
                        help="with --train, only the first N of the seeds [all]")
    parser.add_argument("--search", action="store_true",
                        help="try the settings of an experiment's runs on validation prompts")
    parser.add_argument("--rows", nargs="+", default=[], metavar="RUN",
                        help="with --train or --search of one experiment, these runs alone [all]")
    parser.add_argument("--workers", type=int, default=1, metavar="N",
                        help="with --train or --search, the number of processes [1]")
    flags = parser.parse_args(argv)
    in_range(flags, "workers", low=1)
    in_range(flags, "seeds")
    names = [one_of("experiment", name, judge.NAMES) for name in flags.claims]
    if (flags.train or flags.search) and not names:
        raise UserError(f"--{'train' if flags.train else 'search'} needs an experiment, such as "
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
