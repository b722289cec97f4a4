"""What a class guesses, counted and drawn before the run.

    python -m lessons histogram FOLDER 02               # a lesson's guess
    python -m lessons histogram FOLDER "02 prompt"      # that for its switch

FOLDER has a folder for each student, with out/guesses or its files somewhere in it. The picture for
the projector is out/class/02.png. A lesson keeps a guess before it trains, so students can guess,
stop the lesson, and run it when the class has seen the picture.
"""
import argparse
import statistics
import sys
from collections import Counter
from pathlib import Path

from lessons import draw
from lessons.classroom.guesses import questions
from lessons.classroom.submissions import files
from lessons.course import Question
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import UserError, one_of
from nanouft.plumbing.printing import quantity, say

OUT = Path("out/class")
BINS = 10                                       # of a question that asks for a number


def guesses_of_class(folder: Path, question: Question) -> list[str]:
    """The guess of each student who has one that can be read."""
    found = []
    for student in sorted(x for x in folder.iterdir() if x.is_dir()):
        for file in [x for x in files(student, question.file.name) if x.suffix == ".txt"][:1]:
            question.file = file
            try:
                found.append(question.read()[0])
            except UserError as error:
                say(f"left out: {error}")
    return found


def counts(question: Question, guesses: list[str]) -> dict[str, int]:
    """{letter, or the numbers of a bin: how many guess it}."""
    if question.choices:
        return {letter: Counter(guesses)[letter] for letter in question.choices}
    width = (question.high - question.low) / BINS
    bins = Counter(min(int((float(guess) - question.low) / width), BINS - 1) for guess in guesses)
    return {f"{question.low + k * width:g} to\n{question.low + (k + 1) * width:g}": bins[k]
            for k in range(BINS)}


def finding(question: Question, guesses: list[str]) -> str:
    """What the class thinks, in one line."""
    if question.choices:
        letter, many = Counter(guesses).most_common(1)[0]
        return f"{many} of {len(guesses)} guess {letter}: {question.choices[letter]}"
    low, _, high = statistics.quantiles(map(float, guesses), n=4, method="inclusive")
    return f"Half of {len(guesses)} guesses are from {low:g} to {high:g}"


def show(folder: Path, name: str) -> None:
    """Print and draw what a class guesses."""
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder")
    question = questions()[one_of("question", name, questions())]
    guesses = guesses_of_class(folder, question)
    if len(guesses) < 2:
        raise UserError(f"{quantity(len(guesses), 'guesses')} for {name} in {folder}: a class has "
                        f"at least two ({question.file.name} in each student's folder)")
    counted, title = counts(question, guesses), finding(question, guesses)
    say(title)
    for group, many in counted.items():
        say(f"{' '.join(group.split()):>14} {many:>4} {'#' * many}")
    figure, ax = draw.panels()
    draw.bars(ax, {"guesses": list(counted.values())}, list(counted), title, yticks=[])
    OUT.mkdir(parents=True, exist_ok=True)
    picture = OUT / f"{name.replace(' ', '-')}.png"
    figure.savefig(picture, dpi=72)
    say(f"picture: {picture.as_posix()}")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m lessons histogram", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="with a folder for each student")
    parser.add_argument("question", help='02, or "02 prompt"')
    args = parser.parse_args(argv)
    show(args.folder, args.question)
    return 0


if __name__ == "__main__":
    sys.exit(command(main))
