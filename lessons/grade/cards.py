"""Cards: tasks that are answered in a TOML file. Ledger cards and plans of experiments are here,
predictions in predictions.py.

    Ledger      blanks with one right answer each: whose strip is this?
    Plan        an experiment to lay out; rules say what it lacks

Each has: starter(name) -> the TOML text; judge(values, name) -> (state, mistake or None, lines).
For the check: good(name) -> values that are right; wrong(name) -> values that make each mistake.
"""
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from lessons.grade.task import Mistake
from nanouft.errors import UserError
from nanouft.run.config import misfit, tomllib
from nanouft.run.words import quoted

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
        text = f"{self.id}. {self.text.strip()}\n\nThen: python -m lessons.grade {self.id}"
        return "".join(f"# {line}".rstrip() + "\n" for line in text.split("\n")) + "\n"

    def solution(self, name: str) -> str:
        """Values that are right; of a plan, one of many."""
        return "\n".join(f"{key} = {json.dumps(value, ensure_ascii=False)}"
                         for key, value in self.good(name).items())

    def verdict(self, values: dict, my) -> dict:
        return told(*self.judge(values, my.name))


# ---- ledger cards --------------------------------------------------------------------------------

@dataclass(frozen=True)
class Blank:
    key: str
    text: str
    options: tuple[str, ...] = ()           # one of these is right; without them `test` decides
    right: Any = ""
    slips: dict[str, str] = field(default_factory=dict)     # wrong option -> name of a mistake
    test: Callable[[Any], str] | None = None                # -> "" if right, else what it lacks

    def lacks(self, value) -> str:
        """"": it is right, or a slip."""
        if value == "":
            return "is still empty"
        if self.test:
            return self.test(value)
        return "" if value in self.options else "is none of the options"


@dataclass(frozen=True)
class Ledger(Card):
    blanks: Callable[[str], list[Blank]] = list     # of the student's name: neighbours differ
    mistakes: tuple[Mistake, ...] = ()
    kind: str = "ledger"

    def starter(self, name: str) -> str:
        lines = []
        for blank in self.blanks(name):
            options = " | ".join(f'"{option}"' for option in blank.options)
            lines += [f"# {line}" for line in blank.text.split("\n")]
            lines += [f"#     {options}"] * bool(options) + [f'{blank.key} = ""', ""]
        return self.head() + "\n".join(lines)

    def judge(self, values: dict, name: str) -> Judged:
        blanks = self.blanks(name)
        given = [(blank, values.get(blank.key, "")) for blank in blanks]
        if all(value == "" for _, value in given):
            return "not begun", None, []
        lacks = [f"{blank.key} {words}" for blank, value in given if (words := blank.lacks(value))]
        other = [(blank, value) for blank, value in given
                 if not blank.lacks(value) and not blank.test and value != blank.right]
        lacks += [f"{blank.key}: another option is right" for blank, value in other
                  if value not in blank.slips]
        slips = Counter(blank.slips[value] for blank, value in other if value in blank.slips)
        wrong = len(lacks) + slips.total()
        if not wrong:
            return "right", None, []
        lines = [f"{len(blanks) - wrong} of {len(blanks)} right", *lacks]
        if not slips:
            return "unknown", None, lines
        names = [mistake.name for mistake in self.mistakes]
        return "wrong", self.mistakes[names.index(slips.most_common(1)[0][0])], lines

    def good(self, name: str) -> dict:
        return {blank.key: blank.right for blank in self.blanks(name)}

    def wrong(self, name: str) -> dict[str, dict]:
        good = self.good(name)
        return {mistake: good | {blank.key: option} for blank in self.blanks(name)
                for option, mistake in blank.slips.items()}


def whose(strips: dict[str, list[str]], slips: dict[tuple[str, str], str], name: str,
          id: str) -> list[Blank]:
    """Blanks "whose strip?": {method: its lines}, dealt to letters by the student's name.
    slips: (whose it is, who was said) -> the name of the mistake."""
    methods = list(strips)
    dealt = Random(f"{name} {id} strips").sample(methods, len(methods))
    blanks = []
    for letter, method in zip("ABCDEFGH", dealt):
        mine = {said: mistake for (true, said), mistake in slips.items() if true == method}
        strip = "\n".join(strips[method])
        blanks.append(Blank(letter, strip, tuple(sorted(methods)), method, mine))
    return blanks


# ---- plans ---------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Rule:
    mistake: Mistake
    broken: Callable[[dict], bool]          # of the plan
    example: dict                           # changes of the good plan that break this rule


@dataclass(frozen=True)
class Plan(Card):
    template: str = ""                      # TOML with "" for every blank
    allowed: dict[str, tuple] = field(default_factory=dict)     # texts, or (least, most)
    example: dict = field(default_factory=dict)     # breaks no rule; other plans may be good, too
    rules: tuple[Rule, ...] = ()
    kind: str = "design"

    @property
    def mistakes(self) -> tuple[Mistake, ...]:
        return tuple(rule.mistake for rule in self.rules)

    def starter(self, name: str) -> str:
        return self.head() + self.template.lstrip("\n")

    def judge(self, values: dict, name: str) -> Judged:
        if values == tomllib.loads(self.template):
            return "not begun", None, []
        lacks = []
        for key, example in self.example.items():
            if values.get(key, "") in ("", []):
                lacks.append(f"{key} is still empty")
            elif why := misfit(values[key], list[str] if type(example) is list else type(example)):
                lacks.append(f"{key} = {quoted(values[key])}: {why}")
            elif key in self.allowed and not within(values[key], self.allowed[key]):
                lacks.append(f"{key} should be {choice(self.allowed[key])}")
        if lacks:
            return "unknown", None, lacks
        broken = [rule.mistake for rule in self.rules if rule.broken(values)]
        kept = f"{len(self.rules) - len(broken)} of {len(self.rules)} rules are kept"
        if broken:
            return "wrong", broken[0], [kept]
        return "right", None, [kept, "Sentences are for a person to read: docs/teaching/rubric.md"]

    def sentences(self) -> list[str]:
        """The blanks that a person reads."""
        return [key for key, value in self.example.items()
                if type(value) is str and key not in self.allowed]

    def good(self, name: str) -> dict:
        return dict(self.example)

    def wrong(self, name: str) -> dict[str, dict]:
        return {rule.mistake.name: self.example | rule.example for rule in self.rules}


def within(value, allowed: tuple) -> bool:
    """One of these texts (or some of them), or a number from the least to the most."""
    if type(allowed[0]) is str:
        return set(value if type(value) is list else [value]) <= set(allowed)
    return allowed[0] <= value <= allowed[1]


def choice(allowed: tuple) -> str:
    if type(allowed[0]) is str:
        return "among " + ", ".join(f'"{word}"' for word in allowed)
    return f"from {allowed[0]:g} to {allowed[1]:g}"


# ---- a card in a file ----------------------------------------------------------------------------

def read(file) -> dict:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise UserError(f"{file}: cannot be read as TOML ({e})") from None


def told(state: str, mistake: Mistake | None, lines: list[str]) -> dict:
    return {"state": state, "note": "", "lines": [f"  {line.strip()}" for line in lines],
            "mistake": mistake and mistake.name, "question": mistake and mistake.question}


def judge_card(task: Card, file, my) -> dict:
    """The verdict on a file, as the engine gives it for functions."""
    try:
        values = read(file)
    except UserError as e:
        return told("unknown", None, []) | {"note": "file", "error": str(e)}
    return task.verdict(values, my)
