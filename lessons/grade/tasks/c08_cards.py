"""Cards of lesson 08."""
from functools import lru_cache

from lessons.grade.cards import Blank, Ledger, whose
from lessons.grade.task import Mistake

LENGTH = "sums and means over the tokens are confused"
IMITATES = "a likelihood of the chosen answer is overlooked"
SCALE = "the size of the push is not looked at"
METHODS = ("dpo", "ipo", "simpo", "cpo", "hinge", "orpo")
MEANS = ("ipo", "simpo", "orpo")
WITH_LIKELIHOOD = ("cpo", "orpo")


def slip(true: str, said: str) -> str:
    """Which mistake takes one method for another."""
    if (true in WITH_LIKELIHOOD) != (said in WITH_LIKELIHOOD):
        return IMITATES
    return LENGTH if (true in MEANS) != (said in MEANS) else SCALE


@lru_cache
def found() -> dict[str, list[str]]:
    from lessons.grade import strips
    return {method: ["chosen, rejected: " + strips.words(strips.one_pair(method))]
            for method in METHODS}


def blanks(name: str) -> list[Blank]:
    slips = {(true, said): slip(true, said) for true in METHODS for said in METHODS if true != said}
    return whose(found(), slips, name, "08d")


TASKS = [Ledger(
    "08d", level=2, minutes=15, core=False, heading="One family", blanks=blanks,
    text="""\
Whose strip? One pair at the start of training: the chosen answer has 2 tokens, the rejected one
3. All tokens have log-prob -1, and the reference says the same. Each strip is the push on a token
of chosen and on a token of rejected, times 2, with the project's default settings (beta 0.1;
SimPO's is 2).""",
    mistakes=(
        Mistake(LENGTH, {}, "If each side is averaged, how large is the push on 2 tokens against "
                "that on 3?",
                "Averages show at once: 1/2 against 1/3."),
        Mistake(IMITATES, {}, "Which method pushes chosen far harder than rejected, whatever "
                "their lengths?",
                "A likelihood term pushes the chosen answer only."),
        Mistake(SCALE, {}, "What is the derivative of each loss where the margin is 0?",
                "DPO: beta/2. Hinge: beta. IPO: 1/beta. Sizes tell methods apart at the start.")),
    hints=("Divide the two numbers of a strip: 1, 3/2, or something else?",
           "Lesson 08: the losses side by side.",
           "DPO at the start:   beta/2 on each token, up and down"),
)]
