"""Lesson 07: the loss of DPO, and its push."""
import math
from random import Random

import torch
import torch.nn.functional as F

from lessons.grade.project import seqs
from lessons.grade.task import Case, Law, Mistake, Task
from nanouft.objective import Batch, Columns, pushes
from nanouft.objectives import OBJECTIVES, dpo


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
    w, l = gap_w.sum(over), gap_l.sum(over)
    if total == "mean":
        w, l = gap_w.mean(over), gap_l.mean(over)
    if probabilities:
        w, l = w.exp(), l.exp()
    margin = beta * w - l if where == "chosen" else w - l
    h = sign * margin * (beta if where == "both" else 1)
    each = {"right": -F.logsigmoid(h), "no log": -torch.sigmoid(h), "one minus": torch.sigmoid(-h),
            "no sigmoid": -h, "overflows": -torch.log(torch.sigmoid(h))}[last]
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
Example, one pair: pi_w = -1 -1, ref_w = -2 -3, pi_l = -1, ref_l = -2, beta = 1. The chosen answer
rose by 3 nats, the rejected one by 1. The margin h is 2, and the loss is 0.1269.""",
    heading="From pairs to a loss",
    right=dpo_loss, model=dpo_model, random=random_pairs, gradients=(0, 1, 2, 3),
    cases=(
        Case((*PAIR, 1.0), "beta = 1"),
        Case((*PAIR, 0.1), "beta = .1"),
        Case((*BOTH, 0.1), "two pairs; in the second one the policy is the reference"),
        Case((row(-900.0, -1.0), *PAIR[1:], 1.0), "a policy that has moved far"),
    ),
    laws=(Law("a policy that equals its reference must have the loss log 2", coin_toss),
          Law("both answers one nat likelier: the loss must stay", offset_is_free)),
    mistakes=(
        Mistake("log-probs are averaged, not summed", dict(total="mean"),
                "An answer twice as long: should its log-prob move the margin more, or equally?",
                "DPO compares probabilities of whole answers: sums of log-probs."),
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


# ---- 07b -----------------------------------------------------------------------------------------
def dpo_push(h, beta):
    """By autograd: answers of one token, and a policy that has moved by h / beta on the chosen."""
    zero = torch.zeros(1, 1, dtype=torch.float64)
    roles = {"chosen": seqs(zero + h / beta, ref=zero), "rejected": seqs(zero, ref=zero)}
    objective = OBJECTIVES["dpo"]
    found = pushes(objective, Batch.of(roles, Columns()), objective.hp(beta=beta))
    return found["chosen"].item(), found["rejected"].item()


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z))


def push_model(h, beta, size="right", sides=(1, -1)):
    push = {"right": beta * sigmoid(-h), "grows": beta * sigmoid(h), "no beta": sigmoid(-h),
            "curve": beta * sigmoid(h) * sigmoid(-h), "constant": beta / 2,
            "twice": beta * sigmoid(-beta * h)}[size]
    return sides[0] * push, sides[1] * push


def random_margin(rng: Random):
    return rng.choice([-3.0, -1.5, -0.5, 0.5, 1.5, 3.0]), rng.choice([0.1, 0.5, 2.0])


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
            h = beta x (log-ratio of chosen - log-ratio of rejected)
    beta    the strength of the KL penalty
    return  two numbers: (push on a token of chosen, push on a token of rejected)

The push is MINUS the derivative of the pair's loss by the log-prob of that token. It is positive
where the token becomes likelier. All tokens of an answer get the same push: log-probs are added up.
Take the derivative of -log sigmoid(h) on paper first, then think of how h depends on the log-prob.
Example: h = 0, beta = .1 -> (.05, -.05).""",
    heading="From pairs to a loss",
    right=dpo_push, model=push_model, random=random_margin,
    cases=(
        Case((0.0, 0.1), "at the start"),
        Case((2.0, 0.1), "a pair that is won"),
        Case((-2.0, 1.0), "a pair that is lost, beta = 1"),
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
        Mistake("beta is applied to the margin a second time", dict(size="twice"),
                "Is beta in h already, or not?",
                "Read what h is. The margin of the lesson contains beta."),
    ),
    hints=("What is the derivative of -log sigmoid(h) by h?",
           "Lesson 07, \"From pairs to a loss\": the new row of the ledger, at its end.",
           "h = 0: the derivative of the loss by h is -1/2\n"
           "h rises by beta per nat of chosen: .1 x 1/2 = .05 up"),
)

TASKS = [LOSS, PUSH]
