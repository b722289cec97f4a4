"""Lesson 08: SimPO, and log-odds."""
from random import Random

import torch
import torch.nn.functional as F

from lessons.grade.project import seqs
from lessons.grade.task import Case, Law, Mistake, Task
from nanouft.objectives import orpo, simpo


def logps(rng: Random, n: int) -> torch.Tensor:
    return torch.tensor([-3 * rng.random() - 0.05 for _ in range(n)])


# ---- 08a -----------------------------------------------------------------------------------------
def simpo_loss(chosen, rejected, beta, gamma):
    w, l = seqs(chosen[None]), seqs(rejected[None])
    return simpo.simpo_loss(beta * w.mean(w.logp), beta * l.mean(l.logp), gamma)[0]


def simpo_model(chosen, rejected, beta, gamma, mean="own", margin="asked", scale=True, side=1):
    w, l = chosen.mean(), rejected.mean()
    if mean == "sum":
        w, l = chosen.sum(), rejected.sum()
    if mean == "one length":
        w, l = chosen.sum() / len(chosen), rejected.sum() / len(chosen)
    asked = {"asked": gamma, "added": -gamma, "times beta": gamma * beta, "none": 0}[margin]
    return -F.logsigmoid(side * (beta if scale else 1) * (w - l) - asked)


def random_simpo(rng: Random):
    n, m = rng.sample([1, 2, 3, 4], 2)
    return logps(rng, n), logps(rng, m), rng.choice([0.5, 2.0, 3.0]), rng.choice([0.3, 0.8])


def length_is_free(loss, args) -> bool:
    """Each answer said twice over: its mean stays."""
    chosen, rejected, beta, gamma = args
    twice = loss(chosen.repeat(2), rejected.repeat(3), beta, gamma)
    return abs(float(twice) - float(loss(*args))) < 1e-3


SIMPO = Task(
    "08a", "implement", level=2, minutes=15, core=True,
    signature="simpo_loss(chosen, rejected, beta, gamma)",
    text="""The loss of SimPO for one pair. There is no reference model.

    chosen    (n,) log-probs of the tokens of the chosen answer
    rejected  (m,) the same for the rejected answer; n and m can differ
    beta      the scale of the difference
    gamma     the margin by which a pair should be won, above 0
    return    one number

The reward of an answer is the MEAN log-prob of its own tokens. The loss is DPO's: minus the log
of a sigmoid. What stands in the sigmoid is beta times the difference of the two rewards, minus
gamma. Gamma itself is subtracted: it is not multiplied by beta. (The released code has another
flag: gamma / beta.)
Example: chosen -1 -3, rejected -2, beta 2, gamma .5. The means are equal. The loss is 0.9741.""",
    heading="One family",
    right=simpo_loss, model=simpo_model, random=random_simpo, gradients=(0, 1),
    cases=(
        Case((torch.tensor([-1.0, -3]), torch.tensor([-2.0]), 2.0, 0.5), "equal means"),
        Case((torch.tensor([-1.0, -1]), torch.tensor([-2.0]), 2.0, 0.5), "chosen is likelier"),
    ),
    laws=(Law("an answer said twice over must cost the same", length_is_free),),
    mistakes=(
        Mistake("log-probs are added up, not averaged", dict(mean="sum"),
                "Which of two answers wins by its length alone?",
                "Without a reference, a sum makes the longer answer lose. SimPO takes means."),
        Mistake("both sums are divided by one length", dict(mean="one length"),
                "How many tokens has each of the two answers?",
                "Each answer is divided by its own length."),
        Mistake("the margin is added, not asked for", dict(margin="added"),
                "Is the loss larger or smaller with gamma than without, at equal means?",
                "A margin to win by makes the pair harder, so the loss is larger."),
        Mistake("gamma is multiplied by beta", dict(margin="times beta"),
                "What is the loss at equal means: does it depend on beta?",
                "The released flag is the ratio gamma / beta. Here gamma stands by itself."),
        Mistake("gamma is forgotten", dict(margin="none"),
                "By how much must a pair be won in your loss?",
                "At equal means the loss is log(1 + e^gamma), not log 2."),
        Mistake("beta is forgotten", dict(scale=False),
                "Which of your lines would change if beta were doubled?",
                "At equal means nobody sees that beta is missing. Test with two pairs."),
        Mistake("chosen and rejected are exchanged", dict(side=-1),
                "Which of the two answers does a step against your loss make likelier?",
                "A loss that falls does not say which answer goes up."),
    ),
    hints=("What is the reward of each answer, without any reference?",
           "Lesson 08, \"One family\": the row simpo of the table.",
           "chosen -1 -1 (mean -1), rejected -2: beta 2 times the difference is 2\n"
           "2 - .5 = 1.5, and the loss is log(1 + e^-1.5) = 0.2014"),
)


# ---- 08b -----------------------------------------------------------------------------------------
def log_odds(logp):
    return orpo.log_odds(seqs(logp[None]))[0]


def odds_model(logp, mean="logs", result="log-odds", cut=True):
    A = logp.sum() if mean == "sum" else logp.exp().mean().log() if mean == "p" else logp.mean()
    if mean == "odds":
        each = logp.clamp_max(-1e-6) if cut else logp
        A, other = each.mean(), torch.log(-torch.expm1(each)).mean()
    else:
        A = A.clamp_max(-1e-6) if cut else A
        other = torch.log(-torch.expm1(A))                  # log(1 - p)
    return {"log-odds": A - other, "odds": (A - other).exp(), "turned": other - A, "p": A}[result]


def random_answer(rng: Random):
    if rng.random() < 0.2:
        return (torch.zeros(rng.randint(2, 3)),)
    return (logps(rng, rng.randint(2, 4)),)


def twice_is_free(odds, args) -> bool:
    return abs(float(odds(args[0].repeat(2))) - float(odds(args[0]))) < 1e-3


ODDS = Task(
    "08b", "implement", level=2, minutes=10, core=False,
    signature="log_odds(logp)",
    text="""The log-odds of an answer, as ORPO and ASFT use them.

    logp    (n,) the log-probs of the answer's tokens
    return  one number: log(p / (1 - p))

Here p is the probability on average per token: e to the power of A, and A is the mean of logp.
If A is 0, then p is 1 and the odds are infinite. So first cut A: take -0.000001 (that is -1e-6)
if A is larger than this.
Example: three tokens with probability .8 each -> log(.8 / .2) = 1.3863.""",
    heading="One family",
    right=log_odds, model=odds_model, random=random_answer,
    cases=(
        Case((torch.full((3,), 0.8).log(),), "three tokens with p = .8"),
        Case((torch.full((5,), 0.2).log(),), "five tokens with p = .2"),
        Case((torch.tensor([0.9, 0.4]).log(),), "p = .9 and .4: on average per token .6"),
        Case((torch.zeros(2),), "an answer that is certain"),
    ),
    laws=(Law("an answer said twice over must have the same log-odds", twice_is_free),),
    mistakes=(
        Mistake("log-probs are added up, not averaged", dict(mean="sum"),
                "Should a longer answer of equally likely tokens have lower odds?",
                "Per token: the mean makes answers of different length comparable."),
        Mistake("the probabilities are averaged, not their logarithms", dict(mean="p"),
                "What is the mean of log .9 and log .4, and which p is that?",
                "The probability of an answer is a product, so its mean is a geometric one."),
        Mistake("each token's log-odds are taken first, and then averaged", dict(mean="odds"),
                "Whose odds are asked for: those of the tokens, or those of their mean p?",
                "First the mean, then the odds. The order matters: odds are no logarithm."),
        Mistake("the odds are returned without their logarithm", dict(result="odds"),
                "What should the result be for p = 1/2?",
                "Log-odds are 0 at one half and count equally in both directions."),
        Mistake("the fraction is upside down", dict(result="turned"),
                "Should a likelier answer have higher or lower odds?",
                "p stands on top: what speaks for the answer against what speaks against it."),
        Mistake("log p is returned, without the odds", dict(result="p"),
                "What happens to your number if p comes near to 1?",
                "log p ends at 0. Log-odds go on: that is what ORPO needs of them."),
        Mistake("a certain answer has infinite log-odds", dict(cut=False),
                "What is 1 - p if p is 1?",
                "An infinite loss ends a run. Where p can be 1, cut it first."),
    ),
    hints=("What is p for tokens with the probabilities .9 and .4?",
           "Lesson 08, \"One family\"; the cut stands in nanouft/objectives/orpo.py.",
           "p = .9 and .4: the root of .36 is .6\n"
           "log(.6 / .4) = 0.4055"),
)

TASKS = [SIMPO, ODDS]
