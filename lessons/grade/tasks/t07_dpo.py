"""Lesson 07: the loss of DPO."""
import math
from random import Random

import torch
import torch.nn.functional as F

from lessons.grade.project import seqs
from lessons.grade.task import Case, Law, Mistake, Task
from nanouft.objectives import dpo


# ---- 07a -----------------------------------------------------------------------------------------
def dpo_loss(pi_w, ref_w, pi_l, ref_l, beta):
    chosen, rejected = seqs(pi_w, ref=ref_w.detach()), seqs(pi_l, ref=ref_l.detach())
    return dpo.dpo_loss(chosen, rejected, beta)


def dpo_model(pi_w, ref_w, pi_l, ref_l, beta, total="sum", reference=1, sign=1, end=True,
              where="both", last="right", fixed="reference", probabilities=False, pairs="apart"):
    """The loss in small steps; each argument after beta makes a mistake."""
    if fixed != "nothing":
        ref_w, ref_l = ref_w.detach(), ref_l.detach()
    if fixed == "chosen, too":
        pi_w = pi_w.detach()
    if not end:
        pi_w, ref_w, pi_l, ref_l = (x[:, :-1] for x in (pi_w, ref_w, pi_l, ref_l))
    gap_w, gap_l = pi_w - reference * ref_w, pi_l - reference * ref_l
    over = (-1, -2) if pairs == "one margin" else -1
    if total == "difference":
        gap_w, gap_l = gap_w - gap_l, torch.zeros(1)
    w, l = gap_w.sum(over), gap_l.sum(over)
    if total == "mean":
        w, l = gap_w.mean(over), gap_l.mean(over)
    if probabilities:
        w, l = w.exp(), l.exp()
    margin = beta * w - l if where == "chosen" else w - l
    h = sign * margin * (beta if where == "both" else 1)
    each = {"right": -F.logsigmoid(h), "no log": -torch.sigmoid(h), "one minus": torch.sigmoid(-h),
            "no sigmoid": -h, "no minus": F.logsigmoid(h),
            "overflows": -torch.log(torch.sigmoid(h))}[last]
    each = beta * each if where == "outside" else each
    return each.mean() if pairs == "averaged" else each


def random_pairs(rng: Random):
    B, n, m = rng.randint(1, 2), rng.randint(2, 4), rng.randint(2, 4)

    def logp(T):
        return torch.tensor([[-3 * rng.random() for _ in range(T)] for _ in range(B)])

    pi_w, pi_l, beta = logp(n), logp(m), rng.choice([0.1, 0.5, 2.0])
    far = rng.choice(["", "", "chosen", "rejected"])    # so far that log(sigmoid(h)) overflows
    if far:
        beta = 1.0
        pi_w = pi_w - 200 * (far == "chosen")
        pi_l = pi_l - 200 * (far == "rejected")
    return pi_w, logp(n), pi_l, logp(m), beta


def coin_toss(loss, args) -> bool:
    _, ref_w, _, ref_l, beta = args
    each = torch.as_tensor(loss(ref_w, ref_w, ref_l, ref_l, beta))
    return bool(((each - math.log(2)).abs() < 1e-3).all())


def offset_is_free(loss, args) -> bool:
    """Both answers one nat likelier: the margin stays."""
    pi_w, ref_w, pi_l, ref_l, beta = args
    both = [pi.clone() for pi in (pi_w, pi_l)]
    for pi in both:
        pi[:, 0] += 1
    before = torch.as_tensor(loss(*args))
    after = torch.as_tensor(loss(both[0], ref_w, both[1], ref_l, beta))
    return torch.allclose(before, after, atol=1e-3)


def row(*x):
    return torch.tensor([x])


PAIR = row(-1.0, -1.0), row(-2.0, -3.0), row(-1.0), row(-2.0)
STILL = row(-1.0, -2.0), row(-1.0, -2.0), row(-3.0), row(-3.0)
BOTH = tuple(torch.cat(two) for two in zip(PAIR, STILL))

LOSS = Task(
    "07a", "implement", level=2, minutes=15, core=True,
    signature="dpo_loss(pi_w, ref_w, pi_l, ref_l, beta)",
    text="""The loss of DPO, one number for each pair.

    pi_w, ref_w   (B,T) log-probs of the tokens of the chosen answers, by the policy and by the
                  reference; the last token is <|end|>, and there is no padding
    pi_l, ref_l   (B,T) the same for the rejected answers; their T may be another one
    beta          the strength of the KL penalty
    return        (B,) the loss of each pair

The log-prob of an answer is the sum over its tokens. The policy learns from this loss, the
reference does not: no gradient flows into ref_w and ref_l. It must be finite for any margin.
Example, one pair: pi_w = -1 -1, ref_w = -2 -3, pi_l = -1, ref_l = -2, beta = 1. The chosen
answer rose by 3 nats, the rejected one by 1. The margin h is 2, and the loss is 0.1269.""",
    heading="From pairs to a loss",
    right=dpo_loss, model=dpo_model, random=random_pairs, gradients=(0, 1, 2, 3),
    cases=(
        Case((*PAIR, 1.0), "beta = 1"),
        Case((*PAIR, 0.1), "beta = .1"),
        Case((*BOTH, 0.1), "two pairs; in the second nothing moved"),
        Case((row(-900.0, -1.0), *PAIR[1:], 1.0), "a policy that has moved far"),
    ),
    laws=(Law("a policy that equals its reference must have the loss log 2", coin_toss),
          Law("both answers one nat likelier: the loss must stay", offset_is_free)),
    mistakes=(
        Mistake("log-probs are averaged, not summed", dict(total="mean"),
                "An answer twice as long: should its log-prob move the margin more, or equally?",
                "DPO compares probabilities of whole answers: sums of log-probs."),
        Mistake("the two answers are subtracted token by token, before they are added up",
                dict(total="difference"),
                "What is subtracted from the second token, if the other answer has only one?",
                "Answers differ in length. Each is summed by itself; then the sums are compared."),
        Mistake("there is no reference", dict(reference=0),
                "What is the loss of a policy that has not moved yet, and what should it be?",
                "Without the reference, likely answers are rewarded, not those that rose."),
        Mistake("chosen and rejected are exchanged", dict(sign=-1),
                "Which of the two answers does a step against your loss make likelier?",
                "A falling loss does not say which answer goes up. Look at log p(chosen)."),
        Mistake("the reference is added, or taken from the other answer", dict(reference=-1),
                "Take a policy that equals its reference. Which terms should cancel?",
                "Each answer is compared with itself, under another model."),
        Mistake("the last token, <|end|>, is left out", dict(end=False),
                "How many tokens has the shortest answer, and how many do you add up?",
                "The end is a token like any other: a model must learn when to stop."),
        Mistake("beta is forgotten", dict(where="nowhere"),
                "Which of your lines would change if beta were doubled?",
                "With beta = 1 nobody sees that beta is missing. Test with two values."),
        Mistake("beta scales the chosen answer only", dict(where="chosen"),
                "If both answers move equally, what should the margin be?",
                "beta turns nats into reward, and it does so for both answers."),
        Mistake("beta stands outside the logarithm of the sigmoid", dict(where="outside"),
                "When is a pair won: does that depend on beta in your loss?",
                "Outside, beta is another learning rate. Inside, it says how far is enough."),
        Mistake("the logarithm is missing", dict(last="no log"),
                "Can minus the logarithm of a probability be below 0? Can your loss?",
                "Without the logarithm, a pair that is badly lost gets almost no gradient."),
        Mistake("the loss is the probability of being wrong, with no logarithm",
                dict(last="one minus"),
                "How large can your loss become if a pair is lost by 100 nats?",
                "Without the logarithm, a pair that is badly lost gets almost no gradient."),
        Mistake("the minus before the logarithm is missing", dict(last="no minus"),
                "Should a loss rise or fall when a pair is won by more?",
                "The log of a probability is below 0. A loss is minus it."),
        Mistake("the logarithm of a rounded sigmoid is infinite", dict(last="overflows"),
                "What is sigmoid(-897) in float32?",
                "The logarithm of a sigmoid has a function of its own. Taken apart, it overflows."),
        Mistake("the sigmoid is missing", dict(last="no sigmoid"),
                "When should a pair that is already won stop pushing?",
                "Without the sigmoid every pair pushes for ever, won or not."),
        Mistake("the reference gets a gradient", dict(fixed="nothing"),
                "Whose parameters should this loss change, and whose not?",
                "Values do not show it: the reference must be a constant."),
        Mistake("the chosen answer gets no gradient", dict(fixed="chosen, too"),
                "Which of your four inputs belong to the policy that learns?",
                "Values do not show it: half of DPO's push is on the chosen answer."),
        Mistake("probabilities stand where log-probs should", dict(probabilities=True),
                "In which unit is the margin: is it a difference of logarithms?",
                "Differences of probabilities vanish for long answers. Log-ratios do not."),
        Mistake("the pairs are averaged into one number", dict(pairs="averaged"),
                "How many numbers does a batch of two pairs give?",
                "The function was asked for each pair. The mean comes later, in the loop."),
        Mistake("the pairs are thrown together into one margin", dict(pairs="one margin"),
                "Which axis holds the tokens of one answer, and which the pairs?",
                "A sum without an axis adds up everything. Each pair has a margin of its own."),
    ),
    hints=("By how much did the policy raise the log-prob of each answer, against the reference?",
           "Lesson 07, \"From pairs to a loss\", its last formula.",
           "chosen rose by 3 nats, rejected by 1, beta = .1: h = .2\n"
           "a pair that is hardly won has a loss a little below log 2: 0.5981"),
)

TASKS = [LOSS]
