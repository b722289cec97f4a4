"""Tasks of lesson 04."""
import math
from random import Random

import torch

from lessons.grade.cards import Blank, Ledger
from lessons.grade.predictions import Predict
from lessons.grade.task import Case, Law, Mistake, Task


# ==== Errors that add up, and the policy gradient of one state ====================================
# ---- 04a -----------------------------------------------------------------------------------------
def drift(eps, n):
    return (1 - eps) ** n


def drift_model(eps, n, how="right"):
    return {"right": (1 - eps) ** n, "line": 1 - n * eps, "cut": max(0.0, 1 - n * eps),
            "few": (1 - eps) ** (n - 1), "many": (1 - eps) ** (n + 1),
            "slip": 1 - (1 - eps) ** n, "all": eps ** n, "not all": 1 - eps ** n,
            "e": math.exp(-n * eps)}[how]


def random_walk(rng: Random):
    return rng.choice([0.05, 0.1, 0.2, 0.3]), rng.randint(2, 12)


def halves_multiply(drift, args) -> bool:
    """First half, then second half: the two chances are multiplied."""
    eps, n = args
    return abs(drift(eps, 2 * n) - drift(eps, n) ** 2) < 1e-4


DRIFT = Task(
    "04a", "implement", level=1, minutes=5, core=False,
    signature="drift(eps, n)",
    text="""A model errs with probability eps at each token, and it never finds back.

    eps     a number from 0 to 1
    n       how many tokens it says
    return  the probability that it is still on the path after n tokens

The errors at different tokens are independent of each other.
Example: eps = 0.1 and n = 2 -> 0.81. After n = 0 tokens the probability is 1.""",
    heading="The surprise",
    right=drift, model=drift_model,
    cases=(
        Case((0.0, 5), "no errors"),
        Case((0.1, 8), "eight tokens, one error in ten"),
        Case((0.01, 200), "two hundred tokens, one error in a hundred"),
    ),
    random=random_walk,
    laws=(Law("two stretches of n tokens must multiply their chances", halves_multiply),),
    mistakes=(
        Mistake("each token takes eps away from the chance", dict(how="line"),
                "Is your number a probability, if an answer has two hundred tokens?",
                "1 - n eps is a good guess for small n only. Chances of steps are multiplied."),
        Mistake("each token takes eps away, and the rest is cut at 0", dict(how="cut"),
                "Can a chance be exactly 0 if each step may go well?",
                "Cutting hides that the formula is wrong. Chances multiply and never reach 0."),
        Mistake("one token too few is counted", dict(how="few"),
                "What is your number for a single token?",
                "Test with n = 1: one token, one chance to err."),
        Mistake("one token too many is counted", dict(how="many"),
                "What is your number for a single token?",
                "Test with n = 1: one token, one chance to err."),
        Mistake("the chance of leaving the path is returned", dict(how="slip"),
                "What is your number if the model never errs?",
                "This is the other side: the chance that at least one token went wrong."),
        Mistake("the path is left only if all tokens go wrong", dict(how="not all"),
                "Two tokens, one of them wrong: is the model still on the path?",
                "One error is enough. 1 minus the chance of n errors counts far too few cases."),
        Mistake("e to the power of -n eps stands for the product", dict(how="e"),
                "What is your number for a single token?",
                "1 - eps is near to e^-eps for small eps only."),
        Mistake("the chance that every token goes wrong is returned", dict(how="all"),
                "Which chance do you multiply: that of an error, or that of no error?",
                "Still on the path means: right, and right, and right again."),
    ),
    hints=("What is the chance that one token is right? And two in a row?",
           "Lesson 04, \"The surprise\": 8 moves in a row.",
           "eps = 0.1: one token 0.9, two tokens 0.9 x 0.9 = 0.81\n"
           "three tokens 0.9 x 0.9 x 0.9 = 0.729"),
)


# ---- 04b -----------------------------------------------------------------------------------------
def policy_gradient(p, r):
    """By autograd: the derivative of sum(softmax(logits) r) by the logits."""
    logits = p.log().requires_grad_(True)
    expected = (logits.softmax(-1) * r).sum()
    return torch.autograd.grad(expected, logits)[0]


def policy_gradient_by_hand(p, r):
    mean = (p * r).sum()
    return p * (r - mean)


def gradient_model(p, r, how="right", sign=1):
    mean = (p * r).sum()
    return sign * {"right": p * (r - mean), "unweighted": r - mean, "alone": p * r,
                   "plain mean": p * (r - r.mean()), "chosen": p * (1 - p) * r, "by p": r}[how]


def random_policy(rng: Random):
    n = rng.randint(2, 4)
    p = torch.tensor([rng.uniform(0.2, 1) for _ in range(n)])
    return p / p.sum(), torch.tensor([float(rng.randint(-1, 3)) for _ in range(n - 1)] + [4.0])


def adds_up_to_zero(gradient, args) -> bool:
    return abs(float(torch.as_tensor(gradient(*args)).sum())) < 1e-4


def constant_is_free(gradient, args) -> bool:
    p, r = args
    before, after = (torch.as_tensor(gradient(p, x)) for x in (r, r + 1))
    return torch.allclose(before, after, atol=1e-4)


GRADIENT = Task(
    "04b", "implement", level=2, minutes=20, core=True,
    signature="policy_gradient(p, r)",
    text="""The policy gradient in one state, over all actions at once: nothing is sampled.

    p       (n,) the probabilities of n actions; they are the softmax of n logits
    r       (n,) the reward of each action
    return  (n,) the derivative of the expected reward, sum of p r, by each LOGIT

Raising one logit makes its action likelier, and all other actions less likely. So the
derivative by a logit is not the one by p. Do it on paper first, for two actions.
It is a derivative of what should be LARGE: positive where the logit should rise.
Example: p = (.5, .5), r = (1, 0) -> (.25, -.25).""",
    heading="One equation",
    right=policy_gradient, by_hand=policy_gradient_by_hand,
    model=gradient_model,
    cases=(
        Case((torch.tensor([0.5, 0.5]), torch.tensor([1.0, 0.0])), "p = .5 .5, r = 1 0"),
        Case((torch.tensor([0.8, 0.2]), torch.tensor([1.0, 0.0])), "p = .8 .2, r = 1 0"),
        Case((torch.tensor([0.5, 0.3, 0.2]), torch.tensor([2.0, 2.0, 2.0])), "equal rewards"),
    ),
    random=random_policy,
    laws=(Law("the derivatives by all logits must add up to 0", adds_up_to_zero),
          Law("1 more for every action must change nothing", constant_is_free)),
    mistakes=(
        Mistake("the probability of the action is forgotten", dict(how="unweighted"),
                "How often does an action happen that is hardly ever taken?",
                "What is seldom done adds little to the mean, and so little to its derivative."),
        Mistake("the reward is not compared with the mean reward", dict(how="alone"),
                "All rewards are equal. Which action should become likelier?",
                "Only a reward above the mean reward is a reason to do something more often."),
        Mistake("the baseline is the plain mean of the rewards", dict(how="plain mean"),
                "Which mean reward does this policy really get?",
                "The mean is over what the policy does, so it is weighted by p."),
        Mistake("each action moves its own logit only", dict(how="chosen"),
                "What happens to the other probabilities if one logit rises?",
                "A softmax shares out one unit. What one action gains, the others lose."),
        Mistake("the derivative is taken by p, not by the logits", dict(how="by p"),
                "Can you raise one p and leave the others as they are?",
                "Probabilities are not free: they add up to 1. Only logits can be moved alone."),
        Mistake("the sign is that of a loss", dict(sign=-1),
                "Should the logit of the better action rise or fall?",
                "Rewards are to rise. A loss is minus the reward; here the reward was asked for."),
    ),
    hints=("What happens to BOTH probabilities if the first logit rises a little?",
           "Lesson 04, \"One equation\": what the weight does to a log-probability.",
           "p = (.8, .2), r = (1, 0): the mean reward is .8\n"
           "the first action is .2 better than that, and happens in .8 of the cases: .16"),
)

TASKS = [DRIFT, GRADIENT]


# ==== Cards =======================================================================================
def experiment():
    from lessons.grade.tasks.experiment import lesson
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
FRESH = "answers that are written again are taken for stored ones"
TRAINS = "best-of-n is taken to train the model"


def blanks(name: str) -> list[Blank]:
    return [
        card("sft", "SFT on demonstrations: in whose states does it push?", STATES[0], _1=PROMPT),
        card("ppo", "PPO: in whose states?", STATES[1], _0=PROMPT),
        card("dpo_stored", "DPO; its rejected answers were written by the start model: in whose "
             "states, there?",
             STATES[2], _1=STORED),
        card("dpo_fresh", "DPO whose answers are written again in each step: in whose states?",
             STATES[1], _2=FRESH),
        card("ift", "IFT: it reads a demonstration with its own guess blended in, one step beside "
             "it. On whose path?",
             STATES[0], _1=PATH),
        card("best_of_n", "Best-of-n: it draws n answers and keeps one. In whose states does it "
             "push?", STATES[3],
             _1=TRAINS)]


TASKS += [
    Ledger(
        "04c", level=1, minutes=10, core=True, heading="One equation", blanks=blanks,
        text="Whose states does a method train on? Fill in one card for each method.",
        mistakes=(
            Mistake(STORED, {}, "Would today's model still write that answer?",
                    "Stored answers are states of the model that wrote them, and that model is "
                    "gone."),
            Mistake(FRESH, {}, "Who writes the answers of this step, and when?",
                    "What is written again in each step comes from the model as it is now."),
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
