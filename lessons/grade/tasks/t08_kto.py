"""Lesson 08: KTO."""
from random import Random

import torch
import torch.nn.functional as F

from lessons.grade.task import Case, Law, Mistake, Task
from nanouft.objectives import kto


def kto_loss(ratios, good, mismatched, beta):
    k = mismatched.mean().clamp_min(0).detach()             # as kto.loss has it
    return kto.kto_loss(ratios, good, k, kto.KTO(beta=beta))


def kto_model(ratios, good, mismatched, beta, point="right", loss="linear", side=1):
    k = mismatched.mean().clamp_min(0)
    k = {"right": k.detach(), "live": k, "none": 0 * k.detach(), "twice": beta * k.detach(),
         "early": mismatched.clamp_min(0).mean().detach(),
         "below 0": mismatched.mean().detach()}[point]
    z = side * beta * torch.where(good > 0, ratios - k, k - ratios)
    return -F.logsigmoid(z) if loss == "log" else 1 - torch.sigmoid(z)


def random_labels(rng: Random):
    n = rng.randint(2, 4)
    good = torch.tensor([float(i % 2 == 0) for i in range(n)])
    ratios = torch.tensor([rng.uniform(-2, 2) for _ in range(n)])
    centre = rng.choice([-0.5, 1.0])
    mismatched = torch.tensor([centre - 1.5] + [centre + rng.uniform(0, 1) for _ in range(n)])
    return ratios, good, mismatched, rng.choice([0.3, 0.5, 1.5])


def labels_are_opposite(loss, args) -> bool:
    """With the other label, each loss is 1 minus what it was."""
    ratios, good, mismatched, beta = args
    one, other = (torch.as_tensor(loss(ratios, x, mismatched, beta)) for x in (good, 1 - good))
    return torch.allclose(one + other, torch.ones_like(one), atol=1e-4)


def k_is_never_negative(loss, args) -> bool:
    """Far below 0, the mismatched ratios must not matter."""
    ratios, good, mismatched, beta = args
    one, other = (torch.as_tensor(loss(ratios, good, mismatched - far, beta)) for far in (50, 60))
    return torch.allclose(one, other, atol=1e-4)


LABELS = torch.tensor([1.0, 0])

KTO = Task(
    "08c", "implement", level=3, minutes=20, core=True,
    signature="kto_loss(ratios, good, mismatched, beta)",
    text="""The loss of KTO: single answers with a label, no pairs.

    ratios      (n,) log-ratio of each answer: log-prob by the policy minus by the reference
    good        (n,) 1 for a good answer, 0 for a bad one
    mismatched  (m,) log-ratios of answers that belong to other questions
    beta        how quickly gains and losses saturate
    return      (n,) the loss of each answer

The reference point k says how far the policy has moved in general. It is the mean of
`mismatched`, but not below 0: take the mean first. It is a constant: no gradient flows through
k. A good answer has the loss 1 - sigmoid(beta (r - k)), where r is its ratio. A bad answer has
the loss 1 - sigmoid(beta (k - r)).
Example: ratios 2 2, good 1 0, mismatched 1 1, beta .5 -> 0.3775 0.6225.""",
    heading="The proof",
    right=kto_loss, model=kto_model, random=random_labels, gradients=(0, 2),
    cases=(
        Case((torch.tensor([2.0, 2]), LABELS, torch.tensor([1.0, 1]), 0.5), "k = 1"),
        Case((torch.zeros(2), LABELS, torch.tensor([-1.0, 0.4]), 0.5), "a negative mean"),
        Case((torch.tensor([1.0, -1]), LABELS, torch.tensor([1.0, -0.4]), 0.1), "beta = .1"),
    ),
    laws=(Law("with the other label, a loss must be 1 minus what it was", labels_are_opposite),
          Law("k must never be below 0", k_is_never_negative)),
    mistakes=(
        Mistake("each ratio is cut at 0 before the mean is taken", dict(point="early"),
                "What is k for the ratios -1 and .4?",
                "Mean first, cut second. A cut of each ratio makes k too large."),
        Mistake("k may be below 0", dict(point="below 0"),
                "k stands for a KL divergence. Which values can that have?",
                "A mean of a few ratios can be negative by chance. A KL cannot."),
        Mistake("there is no reference point k", dict(point="none"),
                "Which of your lines reads `mismatched`?",
                "Without k, a policy that makes everything likelier would seem better."),
        Mistake("beta is applied to k twice", dict(point="twice"),
                "In which unit is k: in nats, or in beta times nats?",
                "Ratio and k are both in nats. beta scales their difference, once."),
        Mistake("gradient flows through k", dict(point="live"),
                "Should an answer to another question be trained on?",
                "Values do not show it: k is a measurement and must stay a constant."),
        Mistake("good and bad are exchanged", dict(side=-1),
                "Which answer should have the smaller loss: a good one that rose, or a bad one?",
                "Follow one good answer: its loss must fall when its ratio rises."),
        Mistake("the loss is a logarithm of the sigmoid", dict(loss="log"),
                "How large can the loss of one answer become?",
                "With the logarithm this is UNA. KTO's loss is never above 1: it saturates."),
    ),
    hints=("What is k if the mismatched ratios are -1 and .4?",
           "Lesson 08, \"The proof\": the paragraph about KTO.",
           "ratio 2, k = 1, beta .5: beta (r - k) = .5, and sigmoid(.5) = .6225\n"
           "good: 1 - .6225 = .3775     bad: 1 - sigmoid(-.5) = .6225"),
)

TASKS = [KTO]
