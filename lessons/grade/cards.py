"""Cards: tasks that are answered in a TOML file. Predictions, ledger cards, plans of experiments.

    Predict     four statements, a probability for each; sealed before the experiment runs; scored by Brier
    Ledger      blanks with one right answer each: whose strip is this?
    Plan        an experiment to lay out; rules say what it lacks

Each has: starter(name) -> the TOML text, judge(values, name) -> (state, mistake or None, lines), and for the check
good(name) and wrong(name) -> answers that are right, and answers that make each mistake.
"""
import hashlib
import json
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from lessons.grade.task import Mistake
from nanouft.shell.config import UserError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Judged = tuple[str, Mistake | None, list[str]]


@dataclass(frozen=True)
class Card:
    id: str
    level: int
    minutes: int
    core: bool
    text: str
    heading: str
    hints: tuple[str, ...] = ()

    def head(self) -> str:
        lines = [f"{self.id}. {self.text.strip()}", "", f"Then: python -m lessons.grade {self.id}"]
        return "\n".join(f"# {line}".rstrip() for text in lines for line in text.split("\n")) + "\n\n"

    def named(self, name: str) -> Mistake:
        return next(mistake for mistake in self.mistakes if mistake.name == name)


# ---- predictions -----------------------------------------------------------------------------------------------------

PERCENT = Mistake("a probability stands there in percent", {}, "Is 60 a number from 0 to 1?",
                  "A probability is a number from 0 to 1.")
HALVES = Mistake("every probability is 1/2", {}, "Is there no statement that you would bet on?",
                 "1/2 for all costs 0.25, whatever comes. A prediction is a risk.")
CHANGED = Mistake("the numbers were changed after the experiment", {}, "Which numbers did you seal?",
                  "A prediction counts as it was before the experiment.")


@dataclass(frozen=True)
class Predict(Card):
    statements: tuple[str, ...] = ()
    experiment: Callable[[], list[tuple[bool, str]]] = list     # -> is it so, and the number, for each statement
    kind: str = "predict"
    mistakes: tuple[Mistake, ...] = (PERCENT, HALVES, CHANGED)

    def starter(self, name: str) -> str:
        lines = ["# For each statement: how probable is it? A number from 0 (surely not) to 1 (surely).", ""]
        for letter, words in zip("abcdef", self.statements):
            lines += [f"# {words}", f'{letter} = ""', ""]
        return self.head() + "\n".join(lines)

    def numbers(self, values: dict) -> list:
        return [values.get(letter, "") for letter, _ in zip("abcdef", self.statements)]

    def judge(self, values: dict, name: str) -> Judged:
        numbers = self.numbers(values)
        if all(x == "" for x in numbers):
            return "not begun", None, []
        if any(type(x) not in (int, float) for x in numbers):
            return "unknown", None, ["a number from 0 to 1 is needed for each statement"]
        if any(not 0 <= x <= 1 for x in numbers):
            return "wrong", PERCENT, []
        if all(x == 0.5 for x in numbers):
            return "wrong", HALVES, []
        return "amber", None, [f"sealed; now run the experiment: python -m lessons.grade {self.id} --reveal"]

    def good(self, name: str) -> dict:
        return dict(zip("abcdef", [0.7] * len(self.statements)))

    def wrong(self, name: str) -> dict[str, dict]:
        return {PERCENT.name: self.good(name) | {"a": 60}, HALVES.name: dict.fromkeys(self.good(name), 0.5)}


def seal(numbers: list) -> str:
    return hashlib.sha256(json.dumps([float(x) for x in numbers]).encode()).hexdigest()[:16]


def brier(said: list[float], came: list[bool]) -> float:
    """The mean squared error of probabilities: 0 is perfect, 1/2 for all is 0.25, certain and wrong is 1."""
    return sum((p - y) ** 2 for p, y in zip(said, came)) / len(came)


def reveal(task: Predict, my) -> list[str]:
    """Run the experiment of a sealed prediction. -> what to print."""
    numbers = task.numbers(read(my.file(task)))
    state, mistake, _ = task.judge(dict(zip("abcdef", numbers)), my.name)
    if state != "amber":
        raise UserError(f"fill in {my.file(task)} first: a number from 0 to 1 for each statement")
    if my.entries(task.id, "reveal"):
        raise UserError(f"{task.id} is revealed already; python -m lessons.grade {task.id} shows the score")
    if seal(numbers) not in [entry.get("hash") for entry in my.entries(task.id, "sealed")]:
        my.log(task.id, "sealed", hash=seal(numbers))
    print("The numbers are sealed. The experiment runs, about a minute ...", flush=True)
    found = task.experiment()
    came = [bool(is_so) for is_so, _ in found]
    score = brier(numbers, came)
    my.log(task.id, "reveal", hash=seal(numbers), said=numbers, came=came, found=[words for _, words in found],
           brier=round(score, 4))
    return score_lines(task, my.entries(task.id, "reveal")[0])


def score_lines(task: Predict, entry: dict) -> list[str]:
    lines = []
    for words, said, came, number in zip(task.statements, entry["said"], entry["came"], entry["found"]):
        lines.append(f"  {'yes' if came else 'no':3}  you said {said:g}   {words}  ({number})")
    return [*lines, f"  Brier score {entry['brier']:.3f}: 0 is perfect, 0.25 is what 1/2 for all would get"]


def judge_prediction(task: Predict, values: dict, my) -> dict:
    """After the reveal only the sealed numbers count."""
    state, mistake, lines = task.judge(values, my.name)
    extra: dict[str, Any] = {"seal": seal(task.numbers(values))} if state == "amber" else {}
    done = my.entries(task.id, "reveal")
    if done and state != "not begun":
        same = extra.get("seal") == done[0].get("hash")
        state, mistake, lines = ("right", None, score_lines(task, done[0])) if same else ("wrong", CHANGED, [])
        extra = {"brier": done[0].get("brier")}
    return told(state, mistake, lines) | extra


# ---- ledger cards ----------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Blank:
    key: str
    text: str
    options: tuple[str, ...] = ()           # one of these is right; or, without options, `test` decides
    right: Any = ""
    slips: dict[str, str] = field(default_factory=dict)         # a wrong option -> the name of the mistake
    test: Callable[[Any], str] | None = None                    # -> "" if the value is right, else what it lacks


@dataclass(frozen=True)
class Ledger(Card):
    blanks: Callable[[str], list[Blank]] = list                 # of the student's name, so that neighbours differ
    mistakes: tuple[Mistake, ...] = ()
    kind: str = "ledger"

    def starter(self, name: str) -> str:
        lines = []
        for blank in self.blanks(name):
            one_of = f"     # one of: {', '.join(blank.options)}" if blank.options else ""
            lines += [f"# {line}" for line in blank.text.split("\n")] + [f'{blank.key} = ""{one_of}', ""]
        return self.head() + "\n".join(lines)

    def judge(self, values: dict, name: str) -> Judged:
        blanks = self.blanks(name)
        given = {blank.key: values.get(blank.key, "") for blank in blanks}
        if all(value == "" for value in given.values()):
            return "not begun", None, []
        slips, lines, right = Counter(), [], 0
        for blank in blanks:
            value = given[blank.key]
            if blank.test and value != "" and (lacks := blank.test(value)):
                lines.append(f"{blank.key}: {lacks}")
            elif not blank.test and value != blank.right:
                if value in blank.slips:
                    slips[blank.slips[value]] += 1
                elif value not in blank.options:
                    lines.append(f"{blank.key}: {'is still empty' if value == '' else 'is none of the options'}")
            elif value != "":
                right += 1
        lines.insert(0, f"{right} of {len(blanks)} right")
        if right == len(blanks):
            return "right", None, []
        if not slips:
            return "unknown", None, lines
        return "wrong", self.named(slips.most_common(1)[0][0]), lines

    def good(self, name: str) -> dict:
        return {blank.key: blank.right for blank in self.blanks(name)}

    def wrong(self, name: str) -> dict[str, dict]:
        out = {}
        for blank in self.blanks(name):
            for option, mistake in blank.slips.items():
                out.setdefault(mistake, self.good(name) | {blank.key: option})
        return out


def whose(strips: dict[str, list[str]], slips: dict[tuple[str, str], str], name: str, id: str) -> list[Blank]:
    """Blanks "whose strip?": {method: its lines}, dealt to letters by the student's name.
    slips: (whose it is, who was said) -> the name of the mistake."""
    methods = list(strips)
    dealt = Random(f"{name} {id} strips").sample(methods, len(methods))
    blanks = []
    for letter, method in zip("ABCDEFGH", dealt):
        mine = {said: mistake for (true, said), mistake in slips.items() if true == method}
        blanks.append(Blank(letter, "\n".join(strips[method]), tuple(sorted(methods)), method, mine))
    return blanks


# ---- plans -----------------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Rule:
    mistake: Mistake
    broken: Callable[[dict], bool]          # of the plan
    example: dict                           # what to change in the good plan, so that only this rule is broken


@dataclass(frozen=True)
class Plan(Card):
    template: str = ""                      # TOML with "" for every blank
    example: dict = field(default_factory=dict)                 # a plan that breaks no rule; other plans may be good, too
    rules: tuple[Rule, ...] = ()
    kind: str = "design"

    @property
    def mistakes(self) -> tuple[Mistake, ...]:
        return tuple(rule.mistake for rule in self.rules)

    def starter(self, name: str) -> str:
        return self.head() + self.template.lstrip("\n")

    def judge(self, values: dict, name: str) -> Judged:
        blank = tomllib.loads(self.template)
        if values == blank:
            return "not begun", None, []
        empty = [key for key in blank if values.get(key, "") in ("", [])]
        wrong = [key for key in blank if key not in empty and type(values[key]) is not type(self.example[key])]
        if empty or wrong:
            kinds = [f"{key} should be a {KINDS[type(self.example[key])]}" for key in wrong]
            return "unknown", None, [*kinds, *([f"still empty: {', '.join(empty)}"] if empty else [])]
        broken = [rule.mistake for rule in self.rules if rule.broken(values)]
        if broken:
            return "wrong", broken[0], [f"{len(self.rules) - len(broken)} of {len(self.rules)} rules are kept"]
        return "right", None, ["All rules are kept. The last sentence is for a person to read: docs/teaching/rubric.md"]

    def good(self, name: str) -> dict:
        return dict(self.example)

    def wrong(self, name: str) -> dict[str, dict]:
        return {rule.mistake.name: self.example | rule.example for rule in self.rules}


KINDS = {str: "text", bool: "true or false", int: "whole number", float: "number", list: "list"}


# ---- a card in a file ------------------------------------------------------------------------------------------------

def read(file) -> dict:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise UserError(f"{file}: cannot be read as TOML ({e})") from None


def told(state: str, mistake: Mistake | None, lines: list[str]) -> dict:
    return {"state": state, "mistake": mistake and mistake.name, "question": mistake and mistake.question,
            "say": mistake and mistake.say, "note": "", "lines": [f"  {line.strip()}" for line in lines]}


def judge_card(task: Card, file, my) -> dict:
    """The verdict on a file, as the engine gives it for functions."""
    try:
        values = read(file)
    except UserError as e:
        return told("unknown", None, []) | {"note": "file", "error": str(e)}
    if task.kind == "predict":
        return judge_prediction(task, values, my)
    return told(*task.judge(values, my.name))
