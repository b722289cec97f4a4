"""Exercises of lesson 10: UFT, demonstrations and grades in one loss."""
import math

import torch

from lessons.grade.task import Case, Law, Mistake, Task
from nanouft.objective import Batch, Columns, Seqs, pushes
from nanouft.objectives import OBJECTIVES


# ---- 10b: the push on a demonstration ------------------------------------------------------------
def project_push(i, beta):
    """UFT's push on the one token of a demonstration, by the project's own loss."""
    uft = OBJECTIVES["uft"]
    one = torch.ones(1, 1)
    answer = Seqs(one, one, one, one, logp=torch.full((1, 1), i / beta), ref=torch.zeros(1, 1))
    batch = Batch.of({"answer": answer}, Columns(score=torch.ones(1)))
    return pushes(uft, batch, uft.hp(beta=beta))["answer"].item()


def uft_push(i, beta, sign=1, with_beta=True, factor="2 s (1 - s)^2"):
    """The push in closed form, and its mistakes by flag."""
    s = 1 / (1 + math.exp(-i))
    factors = {
        "2 s (1 - s)^2": 2 * s * (1 - s) ** 2,
        "s (1 - s)^2": s * (1 - s) ** 2,
        "2 s (1 - s)": 2 * s * (1 - s),
        "2 (1 - s)^2": 2 * (1 - s) ** 2,
        "2 s^2 (1 - s)": 2 * s ** 2 * (1 - s),
        "2 (1 - s)": 2 * (1 - s),
        "bce": 1 - s,
    }
    return sign * (beta if with_beta else 1) * factors[factor]


def one_demonstration(random):
    return random.uniform(-3, 3), random.choice([0.01, 0.1, 0.5, 2.0])


def always_up(push, args):
    return float(push(*args)) > 0


def spares_the_hopeless(push, args):
    beta = args[1]
    return abs(float(push(-12.0, beta))) < 1e-3 * beta


TASKS = [Task(
    "10b", "ledger", level=2, minutes=10, core=False,
    signature="uft_push(i, beta)",
    text="""How hard does UFT, with form "mse", push each token of a demonstration?

A demonstration is an answer of grade 1.
i     its implicit reward: beta times its log-ratio, summed over its tokens
beta  what one nat of log-ratio counts for
Returns one number: minus the derivative of the loss by the log-prob of one token.
Up is positive, down is negative.

At the start, i = 0, with beta 0.01 it is 0.0025.
Afterwards find the sigmoid(i) at which the push is largest.""",
    heading="One equation",
    right=project_push, model=uft_push,
    cases=(Case((0.0, 0.01), "at the start, beta = .01"),
           Case((2.0, 0.1), "half learnt, beta = .1"),
           Case((-math.log(2), 1.0), "sigmoid(i) = 1/3, beta = 1")),
    random=one_demonstration,
    mistakes=(
        Mistake("one of the two factors 1 - s is missing", {"factor": "2 s (1 - s)"},
                "One factor comes from the square. Where does the other one come from?",
                "One 1 - s is the distance to grade 1, the other belongs to the sigmoid."),
        Mistake("beta is missing", {"with_beta": False},
                "If beta is doubled, by how much does one nat change i?",
                "One nat changes i by beta, so the push has a factor beta."),
        Mistake("the sign is that of the loss's derivative", {"sign": -1},
                "Should a demonstration become likelier or less likely?",
                "The push is minus the derivative: a demonstration is always pushed up."),
        Mistake("the factor s is missing", {"factor": "2 (1 - s)^2"},
                "How hard is a hopeless demonstration pushed, far to the left in the picture?",
                "The sigmoid is flat on the left, too: a hopeless demonstration gets no push."),
        Mistake('it is the push of the form "bce"', {"factor": "bce"},
                "What does your push do for a hopeless demonstration, far to the left?",
                'In "bce" the flat ends of the sigmoid cancel. In "mse" they stay.'),
        Mistake("s is squared in place of 1 - s", {"factor": "2 s^2 (1 - s)"},
                "At which side of i = 0 is your push larger, and at which side should it be?",
                "The distance to grade 1 is 1 - s, so it is 1 - s that comes twice."),
        Mistake("the factor 2 is missing", {"factor": "s (1 - s)^2"},
                "What is the derivative of a square?",
                "The derivative of a square is twice what stands in it."),
        Mistake("the derivative of the sigmoid is missing", {"factor": "2 (1 - s)"},
                "Far out the sigmoid is flat. Does your push know that?",
                "The square is of sigmoid(i), so the chain rule goes through the sigmoid."),
    ),
    laws=(Law("a demonstration must always be pushed up", always_up),
          Law("a hopeless demonstration, i = -12, must hardly be pushed", spares_the_hopeless)),
    hints=("UFT is UNA with one grade for all demonstrations. Which grade?",
           "Lesson 10, \"One equation\", and the left picture.",
           "At i = 0 the distance to grade 1 is 1/2 and the sigmoid's derivative 1/4.\n"
           "With beta .01: .02 x 1/2 x 1/4 = .0025."))]
