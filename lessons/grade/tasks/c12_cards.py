"""Cards of lesson 12."""
from functools import lru_cache

from lessons.grade.cards import Blank, Ledger, whose
from lessons.grade.task import Mistake

TOKENS = "a weight on tokens is taken for one on pairs"
LABEL = "doubt about a label is taken for the size of a margin"
ALONE = "it is overlooked that a pair is compared with other pairs"
METHODS = ("DPO", "TIS-DPO", "GDPO", "Ada-DPO", "RPO")


def slip(true: str, said: str) -> str:
    if "TIS-DPO" in (true, said):
        return TOKENS
    return ALONE if "RPO" in (true, said) else LABEL


@lru_cache
def found() -> dict[str, list[str]]:
    from lessons.grade import strips
    return {method: strips.two_pairs(method.lower().replace("-", "_")) for method in METHODS}


def blanks(name: str) -> list[Blank]:
    slips = {(true, said): slip(true, said) for true in METHODS for said in METHODS if true != said}
    return whose(found(), slips, name, "12c")


TASKS = [Ledger(
    "12c", level=2, minutes=15, core=False, heading="One push, three factors", blanks=blanks,
    text="""\
Whose row is it? One step has two pairs, each answer has two tokens. The label of pair 1 is sure
(p = .99), that of pair 2 is not (p = .75). Pair 1 is ahead by 5 nats, pair 2 by 3. Each row shows
the pushes on the tokens of chosen | rejected, for both pairs, in units of beta = 0.1.""",
    mistakes=(
        Mistake(TOKENS, {}, "Are the two tokens of one answer pushed equally?",
                "Only TIS-DPO tells the tokens of an answer apart."),
        Mistake(LABEL, {}, "Which pair is pushed less than by DPO: the unsure one, or the one "
                "that is ahead?",
                "GDPO knows p and doubts labels. Ada-DPO sees the margin and never p."),
        Mistake(ALONE, {}, "Are chosen and rejected of one pair pushed equally hard?",
                "RPO compares across pairs, so the two sides of a pair need not balance.")),
    hints=("Which row has unequal numbers inside one answer?",
           'Lesson 12, "One push, three factors".',
           "DPO:   beta sigma(-h), the same on all four tokens but for the sign"),
)]
