"""Exercises of lesson 07: DPO."""
import torch
import torch.nn.functional as F

from lessons.grade.project import seqs
from lessons.grade.task import Case, Law, Mistake, Task
from nanouft.objectives import dpo

# ---- 07a: the loss of a pair -----------------------------------------------------------------------------------------


def dpo_loss(pi_w, ref_w, pi_l, ref_l, beta):
    return dpo.dpo_loss(seqs(pi_w, ref=ref_w.detach()), seqs(pi_l, ref=ref_l.detach()), beta)


def dpo_model(pi_w, ref_w, pi_l, ref_l, beta, total="sum", reference=1, sign=1, end=True, where="both", last="right",
              detached=True, probabilities=False):
    """The loss in small steps; each argument after beta makes a mistake."""
    if detached:
        ref_w, ref_l = ref_w.detach(), ref_l.detach()
    if not end:
        pi_w, ref_w, pi_l, ref_l = (x[:, :-1] for x in (pi_w, ref_w, pi_l, ref_l))
    gap_w, gap_l = pi_w - reference * ref_w, pi_l - reference * ref_l
    w, l = (gap_w.mean(-1), gap_l.mean(-1)) if total == "mean" else (gap_w.sum(-1), gap_l.sum(-1))
    if probabilities:
        w, l = w.exp(), l.exp()
    if where == "chosen":
        h = beta * w - l
    else:
        h = sign * (beta if where == "both" else 1.0) * (w - l)
    outside = beta if where == "outside" else 1.0
    if last == "no log":
        return outside * -torch.sigmoid(h)
    if last == "no sigmoid":
        return outside * -h
    if last == "overflows":
        return outside * -torch.log(torch.sigmoid(h))
    return outside * -F.logsigmoid(h)


def dpo_random(draw):
    def logp(n):
        return torch.tensor([[-3 * draw.random() for _ in range(n)]])
    n, m = draw.randint(2, 4), draw.randint(2, 4)
    pi_w, pi_l, beta = logp(n), logp(m), draw.choice([0.1, 0.5, 2.0])
    far = draw.choice(["", "", "chosen", "rejected"])       # moved so far that log(sigmoid(h)) overflows
    if far:
        beta = 1.0
        pi_w = pi_w - 200 * (far == "chosen")
        pi_l = pi_l - 200 * (far == "rejected")
    return pi_w, logp(n), pi_l, logp(m), beta


def row(*x):
    return torch.tensor([x])


PAIR = row(-1.0, -1.0), row(-2.0, -3.0), row(-1.0), row(-2.0)

TASKS = [
    Task(
        "07a", "implement", level=2, minutes=15, core=True,
        signature="dpo_loss(pi_w, ref_w, pi_l, ref_l, beta)",
        text="""\
The loss of DPO, one number for each pair.

pi_w, ref_w   (B,T) log-probs of the tokens of the chosen answer, by the policy and by the reference
pi_l, ref_l   (B,T) the same for the rejected answer; T may differ. The last token is <|end|>.
beta          the strength of the KL penalty
returns       (B,)

One pair: pi_w = -1 -1, ref_w = -2 -3, pi_l = -1, ref_l = -2, beta = 1. The loss is 0.1269.
The policy learns from this loss, the reference does not.""",
        heading="From pairs to a loss",
        right=dpo_loss, model=dpo_model, random=dpo_random, gradients=(0, 1, 2, 3),
        cases=(
            Case((*PAIR, 1.0), "beta = 1"),
            Case((*PAIR, 0.1), "beta = 0.1"),
            Case((row(-1.0, -2.0), row(-1.0, -2.0), row(-3.0, -0.5), row(-3.0, -0.5), 0.1),
                 "the policy is the reference"),
            Case((row(-900.0, -1.0), *PAIR[1:], 1.0), "a policy that has moved far"),
        ),
        mistakes=(
            Mistake("log-probs are averaged, not summed", {"total": "mean"},
                    "An answer twice as long: should its log-prob move the margin more, or equally?",
                    "DPO compares probabilities of whole answers, and those are sums of log-probs."),
            Mistake("there is no reference", {"reference": 0},
                    "What is the loss of a policy that has not moved yet, and what should it be?",
                    "Without the reference the loss rewards likely answers, not answers that became likelier."),
            Mistake("chosen and rejected are exchanged", {"sign": -1},
                    "Which of the two answers does a small step against your loss make likelier?",
                    "A falling loss does not say which answer goes up. Look at log p(chosen)."),
            Mistake("the reference is added, or taken from the other answer", {"reference": -1},
                    "Take a policy that equals its reference. Which terms should cancel?",
                    "Each answer is compared with itself, under another model."),
            Mistake("the last token, <|end|>, is left out", {"end": False},
                    "How many tokens has the shortest answer of the case, and how many do you add up?",
                    "The end is a token like any other: a model must learn when to stop."),
            Mistake("beta is forgotten", {"where": "nowhere"},
                    "Which of your lines would change if beta were doubled?",
                    "With beta = 1 nobody sees that beta is missing. Test with two values."),
            Mistake("beta scales the chosen answer only", {"where": "chosen"},
                    "If both answers move equally, what should the margin be?",
                    "beta is a unit, nats to reward, and both answers are paid in it."),
            Mistake("beta stands outside the logarithm of the sigmoid", {"where": "outside"},
                    "When is a pair won: does that depend on beta in your loss?",
                    "Outside, beta is only another learning rate. Inside, it says how far the policy may move."),
            Mistake("the logarithm is missing", {"last": "no log"},
                    "Can your loss be negative? Can that of a probability be?",
                    "Without the logarithm a pair that is badly lost gets almost no gradient."),
            Mistake("the logarithm of a rounded sigmoid is infinite", {"last": "overflows"},
                    "What is sigmoid(-897) in float32?",
                    "log(sigmoid(h)) overflows where it matters most. PyTorch has a function for the two together."),
            Mistake("the reference gets a gradient", {"detached": False},
                    "Whose parameters should this loss change, and whose not?",
                    "Values do not show it: the reference must be a constant."),
            Mistake("probabilities stand where log-probs should", {"probabilities": True},
                    "In which unit is the margin: is it a difference of logarithms?",
                    "The reward in DPO is a log-ratio. Differences of probabilities vanish for long answers."),
            Mistake("the sigmoid is missing", {"last": "no sigmoid"},
                    "When should a pair that is already won stop to push?",
                    "Without the sigmoid every pair pushes for ever, won or not."),
        ),
        laws=(
            Law("a policy that equals its reference has loss log 2",
                lambda f, args: bool(torch.as_tensor(abs(f(args[1], args[1], args[3], args[3], args[4]) - 0.6931)
                                                     < 1e-3).all())),
        ),
        hints=(
            "By how much did the policy raise the log-prob of each answer, compared with the reference?",
            'Lesson 07, "From pairs to a loss", and the docstring of nanouft/objectives/dpo.py.',
            "Chosen rose by 3 nats, rejected by 1 nat, beta = 1: h = 2.\nA won pair has a small loss: 0.1269.",
        ),
    ),
]
