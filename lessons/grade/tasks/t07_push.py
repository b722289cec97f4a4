"""Lesson 07: DPO's row of the weight ledger."""
import math
from random import Random

import torch

from lessons.grade.project import seqs
from lessons.grade.task import Case, Law, Mistake, Task
from nanouft.objective import Batch, Columns, pushes
from nanouft.objectives import OBJECTIVES


def dpo_push(h, beta):
    """By autograd: answers of one token, and a policy that has moved by h / beta on the chosen."""
    zero = torch.zeros(1, 1, dtype=torch.float64)
    roles = {"chosen": seqs(zero + h / beta, ref=zero), "rejected": seqs(zero, ref=zero)}
    objective = OBJECTIVES["dpo"]
    found = pushes(objective, Batch.of(roles, Columns()), objective.hp(beta=beta))
    return found["chosen"].item(), found["rejected"].item()


def by_hand(h, beta):
    """The derivative of -log sigmoid(h) by h is -sigmoid(-h), and that of h by a log-prob beta."""
    push = beta * sigmoid(-h)
    return push, -push


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z))


def push_model(h, beta, size="right", sides=(1, -1)):
    push = {"right": beta * sigmoid(-h), "grows": beta * sigmoid(h), "no beta": sigmoid(-h),
            "curve": beta * sigmoid(h) * sigmoid(-h), "constant": beta / 2,
            "twice": beta * sigmoid(-beta * h), "inside": sigmoid(-beta * h)}[size]
    return sides[0] * push, sides[1] * push


def random_margin(rng: Random):
    h = rng.choice([-3.0, -1.5, -0.5, 0.5, 1.5, 3.0])
    return torch.tensor(h), rng.choice([0.1, 0.5, 2.0])


def opposite(push, args) -> bool:
    chosen, rejected = push(*args)
    return abs(chosen + rejected) < 1e-4


def fades(push, args) -> bool:
    """One more unit of margin: a smaller push."""
    h, beta = args
    return abs(push(h + 1, beta)[0]) < abs(push(h, beta)[0])


PUSH = Task(
    "07b", "ledger", level=2, minutes=15, core=True,
    signature="dpo_push(h, beta)",
    text="""DPO's row of the weight ledger: how hard does one pair push its two answers?

    h       the margin of the pair; beta is in it already:
            h = beta x (log-ratio of chosen - log-ratio of rejected);
            a tensor of one number: math and torch both take it
    beta    the strength of the KL penalty
    return  two numbers: (push on a token of chosen, push on a token of rejected)

The push is MINUS the derivative of the pair's loss by the log-prob of that token. It is
positive where the token becomes likelier. All tokens of an answer get the same push: log-probs
are added up. Take the derivative of -log sigmoid(h) on paper first, then think of how h depends
on the log-prob.
Example: h = 0, beta = .1 -> (.05, -.05).""",
    heading="From pairs to a loss",
    right=dpo_push, by_hand=by_hand, model=push_model, random=random_margin,
    cases=(
        Case((torch.tensor(0.0), 0.1), "at the start"),
        Case((torch.tensor(2.0), 0.1), "a pair that is won"),
        Case((torch.tensor(-2.0), 1.0), "a pair that is lost, beta = 1"),
    ),
    laws=(Law("the two pushes must be opposite and equally large", opposite),
          Law("a pair that is won by more must push less", fades)),
    mistakes=(
        Mistake("both answers are pushed up", dict(sides=(1, 1)),
                "What should happen to the rejected answer?",
                "The margin is a difference: one side enters with a minus."),
        Mistake("the derivative of the loss is returned, not the push", dict(sides=(-1, 1)),
                "Does a training step go along the derivative of the loss, or against it?",
                "The ledger shows minus the derivative: + means that a token becomes likelier."),
        Mistake("rejected is pushed half as hard", dict(sides=(1, -0.5)),
                "Does the margin treat its two log-ratios differently?",
                "Both pushes are equal. That is why all that both answers share cancels."),
        Mistake("the push grows when the pair is won", dict(size="grows"),
                "Which pair needs the push: one that is won, or one that is lost?",
                "The push is the chance that the judge would choose wrongly. It fades."),
        Mistake("beta is forgotten", dict(size="no beta"),
                "How much does h change if a log-prob changes by 1?",
                "The chain rule: h moves by beta for each nat."),
        Mistake("the derivative of the sigmoid stands alone, without its logarithm",
                dict(size="curve"),
                "How hard should a pair push that is lost by far?",
                "The derivative of a sigmoid fades on both sides. That of its logarithm does not."),
        Mistake("the push is the same for every margin", dict(size="constant"),
                "Should a pair that is won by far push as hard as at the start?",
                "At the start the push is half of beta. Then it depends on the margin."),
        Mistake("beta stands inside the sigmoid, where it is already, and not before it",
                dict(size="inside"),
                "h has beta in it. By how much does h change if a log-prob changes by 1?",
                "beta comes from the chain rule: it is a factor of the push."),
        Mistake("beta is applied to the margin a second time", dict(size="twice"),
                "Is beta in h already, or not?",
                "Read what h is. The margin of the lesson contains beta."),
    ),
    hints=("What is the derivative of -log sigmoid(h) by h?",
           "Lesson 07, \"From pairs to a loss\": the new row of the ledger, at its end.",
           "h = 0: the derivative of the loss by h is -1/2\n"
           "h rises by beta per nat of chosen: .1 x 1/2 = .05 up"),
)

TASKS = [PUSH]
