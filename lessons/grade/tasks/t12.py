"""Tasks of lesson 12."""
import math
from functools import lru_cache

import torch
import torch.nn.functional as F

from lessons.grade.cards import Blank, Ledger, whose
from lessons.grade.task import Case, Law, Mistake, Task
from nanouft.objective import Batch, Columns, Seqs, pushes
from nanouft.objectives import OBJECTIVES, tis_dpo


# ==== Which tokens, which pairs ===================================================================
# ---- 12a: weights of tokens ----------------------------------------------------------------------
def one_side(ratio, weights, mu):
    """A row of the project's batch whose token weights are these. They come from token rewards."""
    one = torch.ones(1, len(ratio))
    extra = {"token_reward": mu * weights.detach().log()[None]}
    return Seqs(one, one, one, one, logp=ratio[None], ref_logp=torch.zeros_like(one), extra=extra)


def project_tis(c, r, w_c, w_r, beta):
    """The project's TIS-DPO. It takes weights up to 4.48 in chosen and 1.65 in rejected."""
    batch = Batch.of({"chosen": one_side(c, w_c, 1), "rejected": one_side(r, w_r, -1)}, Columns())
    loss, _ = tis_dpo.loss(batch, tis_dpo.TISDPO(beta=beta))
    return loss


def tis_by_hand(c, r, w_c, w_r, beta):
    chosen, rejected = (w_c.detach() * c).sum(), (w_r.detach() * r).sum()
    return -F.logsigmoid(beta * (chosen - rejected))


def tis_loss(c, r, w_c, w_r, beta, end=True, normed=False, detached=True, weigh="both",
             with_beta=True, sign=1, careful=True):
    """TIS-DPO's loss of one pair, and its mistakes by flag."""
    if weigh == "chosen":
        w_r = torch.ones_like(w_r)
    if weigh == "none":
        w_c, w_r = torch.ones_like(w_c), torch.ones_like(w_r)
    if weigh == "chosen's twice":
        w_r = w_c
    if weigh == "exchanged":
        w_c, w_r = w_r, w_c

    def weighted(ratio, w):
        w = w.detach() if detached else w
        if normed == "sums":
            return w.sum() * ratio.sum()
        w = w if end else torch.cat([w[:-1], torch.zeros(1)])
        return (ratio * w).sum() / {False: 1, True: w.sum(), "length": len(w)}[normed]

    h = (beta if with_beta else 1) * (weighted(c, w_c) - weighted(r, w_r))
    return -F.logsigmoid(sign * h) if careful else -torch.log(torch.sigmoid(sign * h))


def weighted_pair(random):
    def draw(n, low, high):
        return torch.tensor([random.uniform(low, high) for _ in range(n)])
    n = random.randint(1, 4)
    weights = draw(n, 0.7, 4), draw(n, 0.3, 1.6)
    far = random.choice([0, 0, 0, 3000])
    return draw(n, -1, 2) - far, draw(n, -2, 1), *weights, random.choice([0.1, 0.5, 1.0, 2.0])


def a_lost_pair_costs_its_margin(loss, args):
    one, far = torch.ones(1), torch.tensor([-1000.0])
    return abs(float(loss(far, 0 * far, one, one, 1.0)) - 1000) < 1


def equal_weights_are_beta(loss, args):
    c, r, _, _, beta = args
    one_c, one_r = torch.ones_like(c), torch.ones_like(r)
    weighted = float(loss(c, r, 1.5 * one_c, 1.5 * one_r, beta))
    return math.isclose(weighted, float(loss(c, r, one_c, one_r, 1.5 * beta)), rel_tol=1e-4,
                        abs_tol=1e-3)


C, R = torch.tensor([0.5, 1.5]), torch.tensor([-0.25, 0.5])
ONES = torch.ones(2)
A = Task(
    "12a", "implement", level=2, minutes=15, core=True,
    signature="tis_loss(c, r, w_c, w_r, beta)",
    text="""TIS-DPO's loss of one pair: DPO in which every token has a weight.

c, r      (T,) log-ratios log pi - log pi_ref of the tokens of chosen and rejected; the
          last token is <|end|>
w_c, w_r  (T,) the weights of these tokens. They are constants: no gradient flows into them.
beta      as in DPO
Returns one number. It must be finite for any margin.

For c .5 1.5, r -.25 .5, weights 2 1 and 1.5 .5 and beta 1 it is 0.0699:
the two weighted sums are 2.5 and -.125.""",
    heading="One push, three factors",
    right=project_tis, by_hand=tis_by_hand,
    model=tis_loss,
    cases=(Case((C, R, torch.tensor([2.0, 1.0]), torch.tensor([1.5, 0.5]), 1.0), "beta = 1"),
           Case((C, R, ONES, ONES, 2.0), "all weights 1, beta = 2"),
           Case((C - 500, R, ONES, ONES, 1.0), "chosen fell by 500 nats a token")),
    random=weighted_pair,
    mistakes=(
        Mistake("the weight of <|end|> is set to 0", {"end": False},
                "Which token would never be learnt with your weights?",
                "The released code drops <|end|>; then nothing teaches the answer to stop."),
        Mistake("the sum is divided by the sum of the weights", {"normed": True},
                "If all weights are doubled, should the loss stay as it is?",
                "Weights that are all c are DPO with beta c, so nothing is divided out."),
        Mistake("the weighted ratios are averaged over the tokens", {"normed": "length"},
                "Which of two answers counts more in your loss: a long one or a short one?",
                "As in DPO the tokens are added up: a mean makes long answers count less."),
        Mistake("sums are multiplied: of the weights, and of the ratios", {"normed": "sums"},
                "Which weight belongs to the first token of chosen?",
                "Multiply token by token, then add up. Sums forget whose weight it was."),
        Mistake("the two answers' weights are exchanged", {"weigh": "exchanged"},
                "Whose tokens do the first weights belong to?",
                "Each answer has its own tokens, so each has its own weights."),
        Mistake("the logarithm is taken of a number that has become 0 or infinite",
                {"careful": False},
                "What is the sigmoid of -1000 in a computer, and what is its logarithm?",
                "Use logsigmoid. Far out the sigmoid is rounded to 0, and its log is infinite."),
        Mistake("gradient flows through the weights", {"detached": False},
                "What would training do with a weight, if it could move it?",
                "The weights come from other models. Training must not move them."),
        Mistake("only the chosen answer is weighted", {"weigh": "chosen"},
                "Which tokens of the rejected answer are really bad?",
                "Rejected answers have good tokens, too. The weights spare them."),
        Mistake("the weights are not used at all: that is DPO", {"weigh": "none"},
                "What would change in your loss if a weight were 10?",
                "Without weights every token of an answer is pushed alike."),
        Mistake("the weights of the chosen answer are used for both", {"weigh": "chosen's twice"},
                "Whose tokens do the second weights belong to?",
                "Each answer has its own tokens, so each has its own weights."),
        Mistake("beta is forgotten", {"with_beta": False},
                "Which of your lines would change if beta were doubled?",
                "With beta 1 nobody can see it. Always try a second beta."),
        Mistake("chosen and rejected are exchanged", {"sign": -1},
                "Does your loss fall if the chosen answer becomes likelier?",
                "The margin is chosen minus rejected."),
    ),
    gradients=(0, 1, 2, 3),
    laws=(Law("weights that are all 1.5 must be the same as a beta 1.5 times as large",
              equal_weights_are_beta),
          Law("with beta 1 and weights 1, c = -1000 and r = 0 must cost 1000",
              a_lost_pair_costs_its_margin)),
    hints=("Where in DPO's loss are tokens added up? What does a weight do there?",
           "Lesson 12, \"One push, three factors\": z, with c = tau = 1.",
           "c .5 1.5 with weights 2 1 gives 1 + 1.5 = 2.5.\n"
           "r -.25 .5 with weights 1.5 .5 gives -.375 + .25 = -.125."))


# ---- 12b: labels that one is not sure of ---------------------------------------------------------
def project_pushes(h, p, beta):
    """(GDPO's, cDPO's) push on the chosen answer's one token, by the project's own losses."""
    out = []
    for name, settings in ("gdpo", {}), ("dpo", {"label_smoothing": 1 - p}):
        one, objective = torch.ones(1, 1), OBJECTIVES[name]
        chosen = Seqs(one, one, one, one, logp=torch.full((1, 1), h), ref_logp=torch.zeros(1, 1))
        rejected = Seqs(one, one, one, one, logp=torch.zeros(1, 1), ref_logp=torch.zeros(1, 1))
        batch = Batch.of({"chosen": chosen, "rejected": rejected}, Columns(p=torch.tensor([p])))
        hp = objective.hp(beta=beta, **settings)
        out.append(pushes(objective, batch, hp)["chosen"].item())
    return tuple(out)


def pushes_by_hand(h, p, beta):
    def sigmoid(x):
        return 1 / (1 + math.exp(-x))
    sure = 2 * p - 1
    gdpo = beta * sure * sigmoid(-beta * sure * h)
    cdpo = beta * (p * sigmoid(-beta * h) - (1 - p) * sigmoid(beta * h))
    return gdpo, cdpo


def soft_pushes(h, p, beta, exchanged=False, gdpo="both", cdpo="subtracted", scale="beta",
                sign=1, pick="right"):
    """Both pushes in closed form, and the mistakes by flag."""
    def sigmoid(x):
        return 1 / (1 + math.exp(-x))
    p = 1 - p if exchanged else p
    beta = 1 if scale == "forgotten" else beta
    before = 1 if scale == "inside only" else beta
    sure = {"p": p, "turned": 1 - 2 * p}.get(gdpo, 2 * p - 1)
    outside = 1 if gdpo == "inside only" else sure
    inside = 1 if gdpo == "outside only" else sure
    first = before * outside * sigmoid(-beta * inside * h)
    q = 1 - p if cdpo == "exchanged" else p
    doubt = (1 - q) * sigmoid(-beta * h if cdpo == "same sigmoid" else beta * h)
    second = before * (q * sigmoid(-beta * h) + (doubt if cdpo == "added" else -doubt))
    both = {"right": (first, second), "gdpo": (first, first), "cdpo": (second, second),
            "turned": (second, first)}[pick]
    return sign * both[0], sign * both[1]


def unsure_pair(random):
    return random.uniform(-2, 3), random.uniform(0.6, 0.95), random.choice([0.1, 0.5, 1.0, 2.0])


def undecided_is_silent(soft, args):
    h, _, beta = args
    return abs(float(soft(h, 0.5, beta)[0])) < 1e-3


def sure_pairs_are_dpo(soft, args):
    h, _, beta = args
    dpo = beta / (1 + math.exp(beta * h))
    return all(abs(float(push) - dpo) < 1e-3 for push in soft(h, 1.0, beta))


B = Task(
    "12b", "ledger", level=2, minutes=15, core=True,
    signature="soft_pushes(h, p, beta)",
    text="""A label is right with probability p. How hard do GDPO and cDPO push a token of chosen?

h     the margin in nats: log-ratio of chosen minus log-ratio of rejected
p     the probability that chosen is really the better answer
beta  as in DPO
GDPO's loss is -log sigmoid(beta (2p - 1) h). cDPO mixes two losses of DPO: p times that of
the pair as labelled, and 1 - p times that of the pair swapped.
Returns (gdpo, cdpo), two numbers: minus the derivative of the loss by h. Up is positive.

For h = 2, p = .8 and beta 1 it is (0.1389, -0.0808).""",
    heading="One push, three factors",
    right=project_pushes, by_hand=pushes_by_hand,
    model=soft_pushes,
    cases=(Case((2.0, 0.8, 1.0), "h = 2, p = .8, beta = 1"),
           Case((2.0, 0.5, 1.0), "an undecided pair, p = .5"),
           Case((2.0, 0.8, 0.1), "beta = .1")),
    random=unsure_pair,
    mistakes=(
        Mistake("p and 1 - p are exchanged", {"exchanged": True},
                "If p is 1, which answer should become likelier?",
                "p is the probability that the label is right, e = 1 - p that it is wrong."),
        Mistake("in GDPO 2p - 1 stands outside the sigmoid only", {"gdpo": "outside only"},
                "At p = .6 the sigmoid of the loss is flatter. Does your push know that?",
                "2p - 1 multiplies the margin, so the chain rule keeps it in both places."),
        Mistake("in GDPO 2p - 1 stands inside the sigmoid only", {"gdpo": "inside only"},
                "What should an undecided pair teach?",
                "With p = 1/2 GDPO's loss does not depend on h: there is no push."),
        Mistake("in GDPO p stands where 2p - 1 belongs", {"gdpo": "p"},
                "What should an undecided pair teach?",
                "p = 1/2 means that nothing is known, and 2p - 1 is then 0."),
        Mistake("in GDPO 1 - 2p stands where 2p - 1 belongs", {"gdpo": "turned"},
                "If p is 1, should GDPO push chosen up or down?",
                "2p - 1 is 1 for a sure label: then GDPO is DPO."),
        Mistake("beta is forgotten", {"scale": "forgotten"},
                "Which of your lines would change if beta were doubled?",
                "Beta stands inside the sigmoid and, by the chain rule, before it."),
        Mistake("beta is missing before the sigmoids", {"scale": "inside only"},
                "By what do you take the derivative: by h, or by beta times h?",
                "Beta stands inside the sigmoid and, by the chain rule, before it."),
        Mistake("both pushes are GDPO's", {"pick": "gdpo"},
                "What does cDPO do with an undecided pair that is already won?",
                "GDPO is silent on an undecided pair; cDPO pulls it back to a margin of 0."),
        Mistake("both pushes are cDPO's", {"pick": "cdpo"},
                "What does GDPO do with an undecided pair?",
                "GDPO is silent on an undecided pair; cDPO pulls it back to a margin of 0."),
        Mistake("the two pushes are in the other order", {"pick": "turned"},
                "Which of the two methods comes first in the answer?",
                "Only an order: GDPO first. Ask which of them is silent at p = 1/2."),
        Mistake("in cDPO the swapped pair pushes up, too", {"cdpo": "added"},
                "In the swapped pair, which answer is called the better one?",
                "The swapped pair pulls the other way: it holds the margin back."),
        Mistake("in cDPO the swapped pair has the sigmoid of the pair as labelled",
                {"cdpo": "same sigmoid"},
                "What is the margin of the swapped pair, if that of the pair is h?",
                "Swapped, the margin is -h, so its push is sigmoid(beta h)."),
        Mistake("cDPO gets 1 - p in place of p", {"cdpo": "exchanged"},
                "In cDPO, which of the two losses gets the larger weight at p = .8?",
                "p weighs the pair as labelled, 1 - p the swapped one."),
        Mistake("the sign is that of the loss's derivative", {"sign": -1},
                "Should a chosen answer with a sure label become likelier?",
                "The push is minus the derivative."),
    ),
    laws=(Law("with p = 1 both must push as DPO does", sure_pairs_are_dpo),
          Law("with p = 1/2 GDPO must not push", undecided_is_silent)),
    hints=("What do both losses become at p = 1, and what at p = 1/2?",
           "Lesson 12, \"One push, three factors\": which pair.",
           "GDPO, h = 2, p = .8: the margin becomes 1.2, and sigmoid(-1.2) is .2315.\n"
           "Times .6 that is .1389."))

TASKS = [A, B]


# ==== Cards =======================================================================================
TOKENS = "the tokens of one answer are not compared with each other"
LABEL = "doubt about a label and the size of a margin are confused"
PAIR = "the push on a pair is not compared with DPO's"
ALONE = "chosen and rejected of one pair are not compared with each other"
METHODS = ("DPO", "TIS-DPO", "GDPO", "Ada-DPO", "RPO")


def slip(true: str, said: str) -> str:
    if "TIS-DPO" in (true, said):
        return TOKENS
    if "RPO" in (true, said):
        return ALONE
    return PAIR if "DPO" in (true, said) else LABEL


@lru_cache
def found() -> dict[str, list[str]]:
    from lessons.grade.tasks import strips
    return {method: strips.two_pairs(method.lower().replace("-", "_")) for method in METHODS}


def blanks(name: str) -> list[Blank]:
    slips = {(true, said): slip(true, said) for true in METHODS for said in METHODS if true != said}
    return whose(found(), slips, name, "12c")


TASKS += [Ledger(
    "12c", level=2, minutes=15, core=False, heading="One push, three factors", blanks=blanks,
    text="""\
Whose row is it? One step has two pairs, each answer has two tokens. The label of pair 1 is sure
(p = .99), that of pair 2 is not (p = .75). Pair 1 is ahead by 5 nats, pair 2 by 3. Each row shows
the pushes on the tokens of chosen | rejected, for both pairs, in units of beta = 0.1.""",
    mistakes=(
        Mistake(TOKENS, {}, "Are the two tokens of one answer pushed equally?",
                "Only TIS-DPO tells the tokens of an answer apart."),
        Mistake(LABEL, {}, "Which pair is pushed less than by DPO: the unsure one, or the one "
                "that is ahead?",
                "GDPO knows p and doubts labels. Ada-DPO sees the margin and never p."),
        Mistake(PAIR, {}, "What is sigmoid(-0.1 h) for each of the two pairs?",
                "DPO knows neither p nor tau. Its push follows from the margin alone."),
        Mistake(ALONE, {}, "Are chosen and rejected of one pair pushed equally hard?",
                "RPO compares across pairs, so the two sides of a pair need not balance.")),
    hints=("Which row has unequal numbers inside one answer?",
           'Lesson 12, "One push, three factors".',
           "DPO:   beta sigma(-h), the same on all four tokens but for the sign"),
)]
