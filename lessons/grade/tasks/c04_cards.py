"""Cards of lesson 04."""
from lessons.grade.cards import Blank, Ledger
from lessons.grade.predictions import Predict
from lessons.grade.task import Mistake


def experiment():
    from lessons.grade.experiment import lesson
    space = lesson("04")
    imitator, walker = (space["with_slips"][name] for name in space["students"])
    aside = [share for _, share in space["share"].values()]
    floor = space["floor"]
    return [(imitator[3] <= walker[3] / 2, f"{imitator[3]:.2f} against {walker[3]:.2f}"),
            (aside[0] < 25, f"{aside[0]:.0f} %"), (aside[1] > 90, f"{aside[1]:.0f} %"),
            (imitator[3] > 2 * floor[3], f"{imitator[3]:.2f} against {floor[3]:.2f}")]


STATES = ("the demonstrator's", "its own, now", "its own, of the past", "none: it does not train")


def card(key: str, text: str, right: str, **slips: str) -> Blank:
    return Blank(key, text, STATES, right,
                 {STATES[int(number[1])]: name for number, name in slips.items()})


STORED = "stored answers are taken for the model's own"
PROMPT = "who wrote the prompt is taken for who wrote the answer"
PATH = "IFT is taken to walk its own path"
TRAINS = "best-of-n is taken to train the model"


def blanks(name: str) -> list[Blank]:
    return [
        card("sft", "SFT on demonstrations: in whose states does it push?", STATES[0], _1=PROMPT),
        card("ppo", "PPO: in whose states?", STATES[1], _0=PROMPT),
        card("dpo_stored", "DPO; its rejected answers were written by the start model: in whose "
             "states, there?",
             STATES[2], _1=STORED),
        card("dpo_fresh", "DPO whose answers are written anew in each step: in whose states?",
             STATES[1], _2=STORED),
        card("ift", "IFT: it reads a demonstration with its own guess blended in, one step beside "
             "it. On whose path?",
             STATES[0], _1=PATH),
        card("best_of_n", "Best-of-n: it draws n answers and keeps one. In whose states does it "
             "push?", STATES[3],
             _1=TRAINS)]


TASKS = [
    Ledger(
        "04c", level=1, minutes=10, core=True, heading="One equation", blanks=blanks,
        text="Whose states does a method train on? Fill in one card for each method.",
        mistakes=(
            Mistake(STORED, {}, "Would today's model still write that answer?",
                    "Stored answers are states of the model that wrote them, and that model is "
                    "gone."),
            Mistake(PROMPT, {}, "The state in the middle of an answer: who wrote its last tokens?",
                    "A state is everything so far. Most of it was written by who answers."),
            Mistake(PATH, {}, "Which token comes next in IFT after a wrong guess: the guess, or "
                    "the demonstration?",
                    "IFT looks one step aside and returns to the demonstration."),
            Mistake(TRAINS, {}, "Which weights are different after best-of-n?",
                    "Choosing among answers changes no weight.")),
        hints=("Who wrote the tokens before the one that is pushed?", 'Lesson 04, "One equation".',
               "policy gradient:   its own states, its own actions, the reward as weight")),
    Predict(
        "04p", level=1, minutes=5, core=False, heading="The surprise", experiment=experiment,
        text="""\
A student imitates the best path over a frozen lake (the imitator). Another one walks by itself
and is paid for arriving (the walker). Both are perfect from the start. Now each move slips with
20 %.""",
        statements=(
            "With slips of 20 % a move, the imitator arrives at most half as often as the walker.",
            "Dropped on one of the other cells, without slips, the imitator arrives in fewer than "
            "25 % of cases.",
            "Dropped there, the walker arrives in more than 90 % of cases.",
            "With slips of 20 % the imitator arrives at least twice as often as 8 right moves in "
            "a row would say."),
        hints=("Where does a slip lead to, mostly: beside the path, or to another cell of it?",
               "Lesson 04: the map of the lake.", "0.8 to the power of 8 is 0.17.")),
]
