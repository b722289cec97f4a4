"""What the papers claim, judged from the scores of training runs that are kept in results/.

    python -m lessons.evidence                      # all verdicts, a few seconds, numpy only
    python -m lessons.evidence C4                   # one claim, with the scores of each row
    python -m lessons.evidence --train C4           # train and score its rows again; resumable
    python -m lessons.evidence --train C4 --seeds 1 --workers 2     # a look
    python -m lessons.evidence --search C13         # try its settings; resumable
    python -m lessons.evidence --write              # picture, and the table of docs/claims.md
"""
import argparse
import sys
import textwrap

import numpy as np

from lessons.evidence import estimates, judge, mechanism, papers
from lessons.evidence.claims import CLAIMS, scores_file
from lessons.evidence.verdicts import Line
from nanouft.errors import UserError, choose, command, say


def print_lines(lines: list[Line], doubts: bool = False) -> None:
    """Two lines for a question: whose it is; its verdict, figures and largest family."""
    for line in lines:
        without = f"without {line.without}".replace("**", "") if line.without else ""
        beside = ", ".join(filter(None, (without, line.carried)))
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
    for name in judge.RUN:
        print_lines(judge.lines(name))
    questions, decided, stay = judge.as_one_family()
    print_wrapped("", (
        "Points of 100 on each of two bases, 95 % intervals. Each claim is corrected for its own "
        f"questions. If all {questions} of C1 to C6 shared one correction, {stay} of {decided} "
        "decided verdicts would stay. \"Without\" is the difference without the family that adds "
        "most to it; \"carried by\" says that the verdict rests on it (verdicts.py)."))


def print_one(name: str) -> None:
    claim = CLAIMS.get(name)
    if claim:
        say(f"{name}: {claim.title}")
    if expected := claim.expected if claim else {"C7": estimates.EXPECTED}.get(name):
        say(f"Expected before the runs: {expected}")
    if claim and name not in judge.RUN:
        say("Not judged yet: its runs have not all ended.",
            *(f"  {x}: {y}" for x, y in (claim.rows | claim.questions).items()), sep="\n")
        return
    if name != "C5":
        say(*(judge.row_lines(name) if claim else estimates.row_lines()), "", sep="\n")
    for line in judge.premises(name):
        say(f"Premise: {line}")
    print_lines(judge.lines(name), doubts=True)
    if name == "C13":
        say(*mechanism.report(), sep="\n")
    for sentence in papers.SENTENCES:
        if any(key.startswith(f"{name} ") for key in sentence.questions.values()):
            print_wrapped("Doubt: ", f"{sentence.says}: {sentence.doubt}")


def search(name: str, workers: int, rows: list[str]) -> None:
    from lessons.evidence import cells
    claim = CLAIMS.get(name)
    if claim is None or not claim.tries:
        raise UserError(f"--search {name}: it has no settings to try; claims that have: "
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


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m lessons.evidence", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("claims", nargs="*", help=f"{', '.join(judge.NAMES)} [all]")
    parser.add_argument("--train", action="store_true", help="train and score the rows again")
    parser.add_argument("--write", action="store_true", help="picture and table of the page")
    parser.add_argument("--seeds", type=int, default=0, metavar="N",
                        help="of --train: so many of the claim's seeds [all]")
    parser.add_argument("--search", action="store_true",
                        help="try the settings of a claim's rows on validation prompts")
    parser.add_argument("--rows", default="", metavar="ROW,ROW",
                        help="of --train and --search: these rows alone [all]")
    parser.add_argument("--workers", type=int, default=1,
                        help="of --train and --search: processes [1]")
    flags = parser.parse_args(argv)
    names = [choose("claim", name, judge.NAMES) for name in flags.claims]
    if (flags.train or flags.search) and not names:
        raise UserError(f"--{'train' if flags.train else 'search'} needs a claim, such as C13: all "
                        "of them take days")
    rows = list(filter(None, flags.rows.split(",")))
    for row in rows:
        for name in names:
            choose(f"row of {name}", row, list(CLAIMS[name].rows))
    if flags.write:
        from lessons.evidence import write
        write.main()
    elif not names:
        print_all()
    for name in names:
        if flags.search:
            search(name, flags.workers, [row for row in rows if row in CLAIMS[name].tries])
        if flags.train:
            train(name, flags.seeds, flags.workers, rows)
        if not (flags.train or flags.search):
            print_one(name)
    return 0


if __name__ == "__main__":
    sys.exit(command(main))
