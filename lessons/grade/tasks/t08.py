"""Tasks of lesson 08."""
from functools import lru_cache
from random import Random

import torch
import torch.nn.functional as F

from lessons.grade.cards import Blank, Ledger, whose
from lessons.grade.task import Case, Law, Mistake, Task
from lessons.grade.tasks.project import seqs
from nanouft.objectives import kto, orpo, simpo


# ==== SimPO, and log-odds =========================================================================
def logps(rng: Random, n: int) -> torch.Tensor:
    return torch.tensor([-3 * rng.random() - 0.05 for _ in range(n)])


# ---- 08a -----------------------------------------------------------------------------------------
def simpo_loss(chosen, rejected, beta, gamma):
    w, l = seqs(chosen[None]), seqs(rejected[None])
    return simpo.simpo_loss(beta * w.mean(w.logp), beta * l.mean(l.logp), gamma)[0]


def simpo_by_hand(chosen, rejected, beta, gamma):
    return -F.logsigmoid(beta * (chosen.mean() - rejected.mean()) - gamma)


def simpo_model(chosen, rejected, beta, gamma, mean="own", margin="asked", scale=True, side=1,
                careful=True, hinge=None):
    w, l = chosen.mean(), rejected.mean()
    if mean == "sum":
        w, l = chosen.sum(), rejected.sum()
    if mean == "one length":
        w, l = chosen.sum() / len(chosen), rejected.sum() / len(chosen)
    if mean == "p":
        w, l = w.exp(), l.exp()
    asked = {"asked": gamma, "added": -gamma, "times beta": gamma * beta, "none": 0,
             "by beta": gamma / beta}[margin]
    z = side * (beta if scale else 1) * (w - l) - asked
    if hinge is not None:
        return torch.relu(hinge - z)
    return -F.logsigmoid(z) if careful else -torch.log(torch.sigmoid(z))


def random_simpo(rng: Random):
    n, m = rng.sample([1, 2, 3, 4], 2)
    far = rng.choice([1, 1, 1, 1000])
    return far * logps(rng, n), logps(rng, m), rng.choice([0.5, 2.0, 3.0]), rng.choice([0.3, 0.8])


def never_below_0(loss, args) -> bool:
    return float(loss(*args)) > -1e-4


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
    return    one number; its gradient must flow to chosen and rejected

The reward of an answer is the MEAN log-prob of its own tokens. The loss is DPO's: minus the log
of a sigmoid. What stands in the sigmoid is beta times the difference of the two rewards, minus
gamma. Gamma itself is subtracted: it is not multiplied by beta. (The released code has another
flag: gamma / beta.) The loss must be finite, however unlikely an answer is.
Example: chosen -1 -3, rejected -2, beta 2, gamma .5. The means are equal. The loss is 0.9741.""",
    heading="One family",
    right=simpo_loss, by_hand=simpo_by_hand,
    model=simpo_model, random=random_simpo, gradients=(0, 1),
    cases=(
        Case((torch.tensor([-1.0, -3]), torch.tensor([-2.0]), 2.0, 0.5), "equal means"),
        Case((torch.tensor([-1.0, -1]), torch.tensor([-2.0]), 2.0, 0.5), "chosen is likelier"),
        Case((torch.tensor([-500.0, -500]), torch.tensor([-2.0]), 2.0, 0.5), "chosen is absurd"),
    ),
    laws=(Law("an answer said twice over must cost the same", length_is_free),
          Law("the loss must not be below 0", never_below_0)),
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
        Mistake("it is a hinge: max(0, 1 - z)", dict(hinge=1),
                "Does a pair that is won by 3 still cost something in your loss?",
                "A hinge is flat where a pair is won. The log of the sigmoid never is."),
        Mistake("it is a hinge at 0: max(0, -z)", dict(hinge=0),
                "Does a pair that is just won still cost something in your loss?",
                "A hinge is flat where a pair is won. The log of the sigmoid never is."),
        Mistake("gamma is divided by beta", dict(margin="by beta"),
                "What is the loss at equal means: does it depend on beta?",
                "The released flag is the ratio gamma / beta. Here gamma stands by itself."),
        Mistake("the rewards are probabilities, not log-probs", dict(mean="p"),
                "In which unit is the margin: is it a difference of logarithms?",
                "Probabilities of unlikely answers are all near 0. Their logarithms still differ."),
        Mistake("the logarithm is taken of a number that has become 0 or infinite",
                dict(careful=False),
                "What is the sigmoid of -1000 in a computer, and what is its logarithm?",
                "Use logsigmoid. Far out the sigmoid is rounded to 0, and its log is infinite."),
    ),
    hints=("What is the reward of each answer, without any reference?",
           "Lesson 08, \"One family\": the row simpo of the table.",
           "chosen -1 -1 (mean -1), rejected -2: beta 2 times the difference is 2\n"
           "2 - .5 = 1.5, and the loss is log(1 + e^-1.5) = 0.2014"),
)


# ---- 08b -----------------------------------------------------------------------------------------
def log_odds(logp):
    return orpo.log_odds(seqs(logp[None]))[0]


def log_odds_by_hand(logp):
    A = logp.mean().clamp(max=-1e-6)
    return A - torch.log(1 - A.double().exp())


def odds_model(logp, mean="logs", result="log-odds", cut=True, alive=True):
    logp = logp if alive else logp.detach()
    A = logp.sum() if mean == "sum" else logp.exp().mean().log() if mean == "p" else logp.mean()
    if mean == "odds":
        each = logp.clamp_max(-1e-6) if cut else logp
        A, other = each.mean(), torch.log(-torch.expm1(each)).mean()
    else:
        A = A.clamp_min(-1e-6) if cut == "other side" else A.clamp_max(-1e-6) if cut else A
        other = torch.log(-torch.expm1(A))                  # log(1 - p)
    return {"log-odds": A - other, "odds": (A - other).exp(), "turned": other - A, "p": A,
            "rest": other}[result]


def random_answer(rng: Random):
    if rng.random() < 0.2:
        return (torch.zeros(rng.randint(2, 3)),)
    return (logps(rng, rng.randint(1, 4)),)


def even_odds(odds, args) -> bool:
    return abs(float(odds(torch.full((2,), 0.5).log()))) < 1e-3


def twice_is_free(odds, args) -> bool:
    once, twice = float(odds(args[0])), float(odds(args[0].repeat(2)))
    return once == twice or abs(once - twice) < 1e-3


ODDS = Task(
    "08b", "implement", level=2, minutes=10, core=False,
    signature="log_odds(logp)",
    text="""The log-odds of an answer, as ORPO and ASFT use them.

    logp    (n,) the log-probs of the answer's tokens
    return  one number: log(p / (1 - p))

Here p is the probability on average per token: e to the power of A, and A is the mean of logp.
If A is 0, then p is 1 and the odds are infinite. So first cut A: take -0.000001 (that is -1e-6)
if A is larger than this. The gradient must flow through it to logp: it is a part of a loss.
Example: three tokens with probability .8 each -> log(.8 / .2) = 1.3863.""",
    heading="One family",
    right=log_odds, by_hand=log_odds_by_hand,
    model=odds_model, random=random_answer, gradients=(0,),
    cases=(
        Case((torch.full((3,), 0.8).log(),), "three tokens with p = .8"),
        Case((torch.full((5,), 0.2).log(),), "five tokens with p = .2"),
        Case((torch.tensor([0.9, 0.4]).log(),), "p = .9 and .4: on average per token .6"),
        Case((torch.zeros(2),), "an answer that is certain"),
        Case((torch.tensor([0, 0, -3 * 2 ** -16]),), "two certain tokens, one nearly so"),
    ),
    laws=(Law("an answer said twice over must have the same log-odds", twice_is_free),
          Law("an answer with p = 1/2 must have the log-odds 0", even_odds)),
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
        Mistake("log(1 - p) is returned, without log p", dict(result="rest"),
                "Should a likelier answer have a higher or a lower number?",
                "Log-odds are a difference of two logarithms. The first one is log p."),
        Mistake("log p is returned, without the odds", dict(result="p"),
                "What happens to your number if p comes near to 1?",
                "log p ends at 0. Log-odds go on: that is what ORPO needs of them."),
        Mistake("the log-odds are cut off from the gradient", dict(alive=False),
                "What would ORPO learn from a number without a gradient?",
                "The log-odds are a part of the loss. Detached, they train nothing."),
        Mistake("the cut is on the wrong side", dict(cut="other side"),
                "Your A is cut. Which answers still differ after that?",
                "An upper bound is clamp(max=...). A lower bound makes all answers equal."),
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


# ==== KTO =========================================================================================
def kto_loss(ratios, good, mismatched, beta):
    k = mismatched.mean().clamp_min(0).detach()             # as kto.loss has it
    return kto.kto_loss(ratios, good, k, kto.KTO(beta=beta))


def kto_by_hand(ratios, good, mismatched, beta):
    k = mismatched.mean().clamp(min=0).detach()
    gain = torch.where(good > 0, ratios - k, k - ratios)
    return 1 - torch.sigmoid(beta * gain)


def kto_model(ratios, good, mismatched, beta, point="right", loss="linear", side=1, scale=True):
    k = mismatched.mean().clamp_min(0)
    k = {"right": k.detach(), "live": k, "none": 0 * k.detach(), "twice": beta * k.detach(),
         "early": mismatched.clamp_min(0).mean().detach(),
         "batch": ratios.mean().clamp_min(0).detach(),
         "sum": mismatched.sum().clamp_min(0).detach(),
         "below 0": mismatched.mean().detach()}[point]
    z = side * (beta if scale else 1) * torch.where(good > 0, ratios - k, k - ratios)
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
    return      (n,) the loss of each answer; its gradient must flow to the ratios

The reference point k says how far the policy has moved in general. It is the mean of
`mismatched`, but not below 0: take the mean first. It is a constant: no gradient flows through
k. A good answer has the loss 1 - sigmoid(beta (r - k)), where r is its ratio. A bad answer has
the loss 1 - sigmoid(beta (k - r)).
Example: ratios 2 2, good 1 0, mismatched 1 1, beta .5 -> 0.3775 0.6225.""",
    heading="The proof",
    right=kto_loss, by_hand=kto_by_hand,
    model=kto_model, random=random_labels, gradients=(0, 2),
    cases=(
        Case((torch.tensor([2.0, 2]), LABELS, torch.tensor([1.0, 1]), 0.5), "k = 1"),
        Case((torch.zeros(2), LABELS, torch.tensor([-1.0, 0.4]), 0.5), "a negative mean"),
        Case((torch.tensor([1.0, -1]), LABELS, torch.tensor([1.0, -0.4]), 0.1), "beta = .1"),
    ),
    laws=(Law("with the other label, a loss must be 1 minus what it was", labels_are_opposite),
          Law("mismatched ratios far below 0 must all give the same", k_is_never_negative)),
    mistakes=(
        Mistake("each ratio is cut at 0 before the mean is taken", dict(point="early"),
                "What is k for the ratios -1 and .4?",
                "Mean first, cut second. A cut of each ratio makes k too large."),
        Mistake("k is the sum of the mismatched ratios, not their mean", dict(point="sum"),
                "Should k grow with the number of mismatched answers?",
                "k says how far the policy has moved: a mean, whatever the size of the batch."),
        Mistake("k may be below 0", dict(point="below 0"),
                "k stands for a KL divergence. Which values can that have?",
                "A mean of a few ratios can be negative by chance. A KL cannot."),
        Mistake("there is no reference point k", dict(point="none"),
                "Which of your lines reads `mismatched`?",
                "Without k, a policy that makes everything likelier would seem better."),
        Mistake("k is the mean of the answers' own ratios", dict(point="batch"),
                "Which of your lines reads `mismatched`?",
                "k asks how far the policy has moved on OTHER questions than these."),
        Mistake("beta is forgotten", dict(scale=False),
                "Which of your lines would change if beta were doubled?",
                "beta says how soon a gain is enough. With beta 1 nobody can see it missing."),
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

TASKS += [KTO]


# ==== Cards =======================================================================================
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
    from lessons.grade.tasks import strips
    return {method: ["chosen, rejected: " + strips.words(strips.one_pair(method))]
            for method in METHODS}


def blanks(name: str) -> list[Blank]:
    slips = {(true, said): slip(true, said) for true in METHODS for said in METHODS if true != said}
    return whose(found(), slips, name, "08d")


TASKS += [Ledger(
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
