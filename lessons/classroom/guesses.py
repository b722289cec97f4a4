"""All your guesses of the course, each beside what happened and a guess that knows nothing.

    python -m lessons guesses
    python -m lessons guesses --class FOLDER 02             # what a class guesses, before the run
    python -m lessons guesses --class FOLDER "02 prompt"    # the same for the switch

Every lesson asks twice, before its first run and before the run with its switch, and keeps your
first guess and what happened in out/guesses. This command only reads these files. The guess that
knows nothing is always "a" where letters are asked for, and the middle of the range that a question
names where it asks for a number. Whoever wrote the questions knew the answers, so read the
comparison as "have I learned to expect what happens?" and not as an examination.

The folder of a class has one folder for each student, with out/guesses or its files somewhere in
it. The command counts the guesses, and draws them for the projector in out/class/02.png. A lesson
keeps a guess before it trains, so students can guess, stop the lesson, and run it when the class
has seen the picture.
"""
import argparse
import statistics
import sys
from collections import Counter
from pathlib import Path

from lessons.classroom.submissions import files
from lessons.course import GUESSES, Question, short_path, switches
from lessons.lesson_list import LESSONS
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import UserError, one_of
from nanouft.plumbing.printing import quantity, say

LINE = "{:<15} {:>6} {:>13} {:>6} {:>9} {:>6}"
OUT = Path("out/class")
BINS = 10                                       # of a question that asks for a number


class Judgement:
    """A question that was guessed and run: how far away are you, and how far is the constant?

    The distances are parts of the range that was asked, 0 to 1; for letters 0 is right, 1 is wrong.
    """

    def __init__(self, question: Question):
        self.letters = bool(question.choices)
        self.constant = "a" if self.letters else f"{(question.low + question.high) / 2:g}"
        happened = question.happened.split()[0]
        if self.letters:
            self.away = float(question.guess != happened)
            self.constant_away = float(self.constant != happened)
            return
        try:
            self.true = float(happened)
        except ValueError:
            raise UserError(f"{short_path(question.file)}: the line \"happened ...\" must have a "
                            "number; delete the line and run the lesson again") from None
        width = question.high - question.low
        self.away = abs(float(question.guess) - self.true) / width
        self.constant_away = abs(float(self.constant) - self.true) / width
        self.above = float(question.guess) > self.true

    def shown(self, away: float) -> str:
        """"right", "wrong", or per cent of the range."""
        if self.letters:
            return "wrong" if away else "right"
        return f"{100 * away:.0f} %"


def questions() -> dict[str, Question]:
    """"02" and "02 prompt" -> what lesson 02 asks before either run."""
    return {f"{file.name[:2]} {change}".strip(): Question(file, change)
            for file in LESSONS for change in ("", *switches(file))}


def table(asked: dict[str, Question], judged: dict[str, Judgement]) -> str:
    """A line for each question that was guessed."""
    lines = [LINE.format("lesson, switch", "you", "happened", "away", "constant", "away")]
    for name, question in asked.items():
        if name in judged:
            one = judged[name]
            lines.append(LINE.format(name, question.guess, question.happened, one.shown(one.away),
                                     one.constant, one.shown(one.constant_away)))
        elif question.guess:
            lines.append(LINE.format(name, question.guess, "not run yet", "", "", "").rstrip())
    return "\n".join(lines)


def summary(judged: list[Judgement]) -> str:
    """How you did beside the constant guess, numbers and letters apart."""
    numbers = [one for one in judged if not one.letters]
    letters = [one for one in judged if one.letters]
    lines = []
    if numbers:
        you, constant = (100 * sum(x) / len(numbers) for x in (
            [one.away for one in numbers], [one.constant_away for one in numbers]))
        nearer = sum(one.away < one.constant_away for one in numbers)
        above = sum(one.above for one in numbers)
        lines.append(f"{quantity(len(numbers), 'numbers')}: on average you are {you:.0f} % of the "
                     f"range away, and its middle {constant:.0f} %. You are nearer in {nearer} of "
                     f"them, and your guess is too high in {above}.")
    if letters:
        you = sum(not one.away for one in letters)
        constant = sum(not one.constant_away for one in letters)
        lines.append(f"{quantity(len(letters), 'letters')}: you have {you} right, and \"a\" would "
                     f"have {constant}.")
    return "\n".join(lines)


# ---- a class ------------------------------------------------------------------------------------
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


def show_class(folder: Path, name: str) -> None:
    """Print and draw what a class guesses."""
    if not folder.is_dir():
        raise UserError(f"--class {folder}: there is no such folder")
    question = questions()[one_of("question", name, questions())]
    guesses = guesses_of_class(folder, question)
    if len(guesses) < 2:
        raise UserError(f"{quantity(len(guesses), 'guesses')} for {name} in {folder}: a class has "
                        f"at least two ({question.file.name} in each student's folder)")
    from lessons import draw
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
    parser = argparse.ArgumentParser(prog="python -m lessons guesses", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("question", nargs="?", default="00", help='of a class: 02, or "02 prompt"')
    parser.add_argument("--class", dest="folder", type=Path, metavar="FOLDER",
                        help="a folder with one for each student")
    args = parser.parse_args(argv)
    if args.folder:
        show_class(args.folder, args.question)
        return 0
    asked = questions()
    if not any(question.guess for question in asked.values()):
        say(f"No guess is kept in {short_path(GUESSES)} yet. Run a lesson, which asks for one: "
            f"python {LESSONS[0].parent.name}/{LESSONS[0].name}")
        return 0
    judged = {name: Judgement(question) for name, question in asked.items() if question.happened}
    say(table(asked, judged))
    if judged:
        say("\n" + summary(list(judged.values())))
    left = [name for name, question in asked.items() if not question.guess]
    if left:
        say(f"{quantity(len(left), 'questions')} of {len(asked)} not guessed yet, the first of "
            f"them that of {left[0]}.")
    return 0


if __name__ == "__main__":
    sys.exit(command(main))
