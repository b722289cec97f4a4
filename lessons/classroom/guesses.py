"""All your guesses of the course, each beside what happened and a guess that knows nothing.

    python -m lessons guesses

Every lesson asks twice, before its first run and before the run with its switch, and keeps your
first guess and what happened in out/guesses. This command only reads these files. The guess that
knows nothing is always "a" where letters are asked for, and the middle of the range that a question
names where it asks for a number. Whoever wrote the questions knew the answers, so read the
comparison as "have I learned to expect what happens?" and not as an examination.
"""
import argparse
import sys

from lessons.course import GUESSES, Question, short_path, switches
from lessons.lesson_list import LESSONS, number_of
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.printing import quantity, say

LINE = "{:<15} {:>6} {:>13} {:>6} {:>9} {:>6}"


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


# ---- your own ------------------------------------------------------------------------------------
def questions() -> dict[str, Question]:
    """"02" and "02 prompt" -> what lesson 02 asks before either run."""
    return {f"{number_of(file)} {change}".strip(): Question(file, change)
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
    return "\n".join([*lines, "", "constant: always the letter a, or the middle of the range. "
                      "away: in per cent of the range."])


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
                     f"range away. Always guessing its middle would be {constant:.0f} % away. You "
                     f"are nearer in {nearer} of them, and your guess is too high in {above}.")
    if letters:
        you = sum(not one.away for one in letters)
        constant = sum(not one.constant_away for one in letters)
        lines.append(f"{quantity(len(letters), 'letters')}: you have {you} right, and \"a\" would "
                     f"have {constant}.")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m lessons guesses", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args(argv)
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
