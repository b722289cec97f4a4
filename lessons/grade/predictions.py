"""Predictions: a probability for each of four statements, scored by the experiment.

    reveal(task, my)            # runs the experiment; from then on these numbers count
"""
import contextlib
import io
from collections.abc import Callable
from dataclasses import dataclass

from lessons.grade.cards import Card, Judged, read, told
from lessons.grade.task import Mistake
from nanouft.errors import UserError


@dataclass(frozen=True)
class Predict(Card):
    statements: tuple[str, ...] = ()
    experiment: Callable[[], list[tuple[bool, str]]] = list     # [(is it so?, the number), ...]
    kind: str = "predict"
    mistakes: tuple[Mistake, ...] = ()      # nobody fails a prediction

    def starter(self, name: str) -> str:
        lines = ["# How probable is each statement? From 0 (certainly not) to 1 (certain).", ""]
        for letter, words in zip(self.letters, self.statements):
            lines += [f"# {words}", f'{letter} = ""', ""]
        return self.head() + "\n".join(lines)

    @property
    def letters(self) -> str:
        return "abcdef"[:len(self.statements)]

    def numbers(self, values: dict) -> list:
        return [values.get(letter, "") for letter in self.letters]

    def judge(self, values: dict, name: str) -> Judged:
        numbers = self.numbers(values)
        if all(x == "" for x in numbers):
            return "not begun", None, []
        bad = [letter for letter, x in zip(self.letters, numbers) if not is_share(x)]
        if bad:
            return "unknown", None, [f"a number from 0 to 1 is needed for {', '.join(bad)}"]
        coin = ["1/2 for all costs 0.25, whatever comes: is there none that you would bet on?"]
        return "amber", None, coin if all(x == 0.5 for x in numbers) else []

    def verdict(self, values: dict, my) -> dict:
        """After the reveal only the numbers before it count."""
        state, mistake, lines = self.judge(values, my.name)
        if state != "amber":
            return told(state, mistake, lines)
        if done := self.revealed(my):
            changed = "the numbers are others now; those before the reveal count"
            other = self.numbers(values) != done[0]["said"]
            return told("right", None, score_lines(self, done[0]) + [changed] * other) | {
                "complete": True}
        line = f"complete; now: python -m lessons.grade {self.id} --reveal"
        return told("amber", None, [*lines, line]) | {"complete": True}

    def revealed(self, my) -> list[dict]:
        """The reveals in the log. The log is the student's: what has another form is left
        out, and no points rest on the rest."""
        def known(entry: dict) -> bool:
            given, came, words = (entry.get(name) for name in ("said", "came", "found"))
            return (all(isinstance(some, list) and len(some) == len(self.letters)
                        for some in (given, came, words))
                    and all(map(is_share, [*given, entry.get("brier")])))
        return [entry for entry in my.entries(self.id, "reveal") if known(entry)]

    def solution(self, name: str) -> str:
        raise UserError(f"{self.id} is a prediction: --reveal runs the experiment")

    def good(self, name: str) -> dict:
        return dict.fromkeys(self.letters, 0.7)

    def wrong(self, name: str) -> dict[str, dict]:
        return {}


def is_share(x) -> bool:
    return type(x) in (int, float) and 0 <= x <= 1


def brier(said: list[float], came: list[bool]) -> float:
    """The mean squared error: 0 is perfect, 1/2 for all is 0.25, certain and wrong is 1."""
    return sum((p - y) ** 2 for p, y in zip(said, came)) / len(came)


def reveal(task: Predict, my) -> list[str]:
    """Run the experiment of a prediction. -> what to print."""
    values = read(my.file(task))
    numbers = task.numbers(values)
    if task.judge(values, my.name)[0] != "amber":
        raise UserError(f"fill in {my.file(task)} first: a number from 0 to 1 for each statement")
    if task.revealed(my):
        raise UserError(f"{task.id} is revealed; python -m lessons.grade {task.id} shows the score")
    print("The experiment runs, about a minute; then these numbers count ...", flush=True)
    with contextlib.redirect_stdout(io.StringIO()):
        found = task.experiment()
    came = [bool(is_so) for is_so, _ in found]
    my.log(task.id, "reveal", said=numbers, came=came,
           found=[words for _, words in found], brier=round(brier(numbers, came), 4))
    return score_lines(task, task.revealed(my)[0])


def score_lines(task: Predict, entry: dict) -> list[str]:
    rows = zip(task.statements, entry["said"], entry["came"], entry["found"])
    lines = [f"  {'yes' if came else 'no':3}  you said {said:g}   {words}  ({number})"
             for words, said, came, number in rows]
    return [*lines, f"  Brier score {entry['brier']:.3f}: 0 is perfect, 1/2 for all gets 0.25"]
