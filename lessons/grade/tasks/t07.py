"""Tasks of lesson 07."""
import math
from random import Random

import torch
import torch.nn.functional as F

from lessons.grade.debug import Bug, debug
from lessons.grade.predictions import Predict
from lessons.grade.task import Case, Law, Mistake, Task
from lessons.grade.tasks.project import seqs
from nanouft.objective import Batch, Columns, pushes
from nanouft.objectives import OBJECTIVES, dpo


# ==== The loss of DPO =============================================================================
# ---- 07a -----------------------------------------------------------------------------------------
def dpo_loss(pi_w, ref_w, pi_l, ref_l, beta):
    chosen, rejected = seqs(pi_w, ref_logp=ref_w.detach()), seqs(pi_l, ref_logp=ref_l.detach())
    return dpo.dpo_loss(chosen, rejected, beta)


def dpo_by_hand(pi_w, ref_w, pi_l, ref_l, beta):
    chosen = (pi_w - ref_w.detach()).sum(-1)
    rejected = (pi_l - ref_l.detach()).sum(-1)
    return -F.logsigmoid(beta * (chosen - rejected))


def dpo_model(pi_w, ref_w, pi_l, ref_l, beta, total="sum", reference=1, sign=1, end=True,
              where="both", last="right", fixed="reference", probabilities=False, pairs="apart"):
    """The loss in small steps; each argument after beta makes a mistake."""
    if fixed != "nothing":
        ref_w, ref_l = ref_w.detach(), ref_l.detach()
    if fixed == "chosen, too":
        pi_w = pi_w.detach()
    if end is not True:
        cut = slice(1, None) if end == "first" else slice(0, -1)
        pi_w, ref_w, pi_l, ref_l = (x[:, cut] for x in (pi_w, ref_w, pi_l, ref_l))
    gap_w, gap_l = pi_w - reference * ref_w, pi_l - reference * ref_l
    over = (-1, -2) if pairs == "one margin" else -1
    if total == "difference":
        gap_w, gap_l = gap_w - gap_l, torch.zeros(1)
    w, l = gap_w.sum(over), gap_l.sum(over)
    if total == "mean":
        w, l = gap_w.mean(over), gap_l.mean(over)
    if total in ("mean of chosen", "mean of rejected"):
        w = gap_w.mean(over) if total == "mean of chosen" else w
        l = gap_l.mean(over) if total == "mean of rejected" else l
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
    B, n, m = rng.randint(1, 2), rng.randint(1, 4), rng.randint(1, 4)

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
    right=dpo_loss, by_hand=dpo_by_hand,
    model=dpo_model, random=random_pairs, gradients=(0, 1, 2, 3),
    cases=(
        Case((*PAIR, 1.0), "beta = 1"),
        Case((*PAIR, 0.1), "beta = .1"),
        Case((*BOTH, 0.1), "two pairs; in the second nothing moved"),
        Case((row(-1.0), row(-3.0), row(-1.0, -2.0, -1.0), row(-1.5, -2.5, -1.5), 1.0),
             "one token against three"),
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
        Mistake("the tokens of chosen are averaged, those of rejected added up",
                dict(total="mean of chosen"),
                "Do you treat both answers in the same way?",
                "The log-prob of an answer is a sum, for chosen and for rejected."),
        Mistake("the tokens of rejected are averaged, those of chosen added up",
                dict(total="mean of rejected"),
                "Do you treat both answers in the same way?",
                "The log-prob of an answer is a sum, for chosen and for rejected."),
        Mistake("the first token of each answer is left out", dict(end="first"),
                "How many log-probs has an answer of two tokens in your sum?",
                "pi_w holds log-probs of targets already: nothing has to be shifted."),
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
        Mistake("the minus sign is missing", dict(last="no minus"),
                "Should a loss rise or fall when a pair is won by more?",
                "The log of a probability is below 0. A loss is minus it."),
        Mistake("the logarithm of a rounded sigmoid is infinite",
                dict(last="overflows", probabilities=False),
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


# ==== DPO's row of the weight ledger ==============================================================
def dpo_push(h, beta):
    """By autograd: answers of one token, and a policy that has moved by h / beta on the chosen."""
    zero = torch.zeros(1, 1, dtype=torch.float64)
    roles = {"chosen": seqs(zero + h / beta, ref_logp=zero), "rejected": seqs(zero, ref_logp=zero)}
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

TASKS += [PUSH]


# ==== A program with a bug: a whole DPO training on a model of six tokens =========================
PROGRAM = '''
import copy

import torch
import torch.nn.functional as F


class Model(torch.nn.Module):
    """Six tokens; the next one depends on the last one only."""

    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.embedding = torch.nn.Embedding(6, 8)
        self.head = torch.nn.Linear(8, 6)

    def logp(self, ids):
        """(T,) ids -> (T-1,) log-probs of ids[1:]."""
        logp = self.head(self.embedding(ids[:-1])).log_softmax(-1)
        return logp.gather(-1, ids[1:, None])[:, 0]


def answer_logp(model, ids, prompt):
    """The log-prob of a whole answer: a sum over its tokens, without those of the prompt."""
    return model.logp(ids)[prompt - 1:].sum()


def descend(model, learning_rate):
    """One step of plain gradient descent."""
    with torch.no_grad():
        for weight in model.parameters():
            weight -= learning_rate * weight.grad


def train(chosen, rejected, prompt, beta, seed, steps):
    """DPO on one pair. -> the loss of every step, the final margin, how far the reference moved.

    chosen, rejected    lists of tokens: `prompt` tokens of the prompt, then those of the answer
    """
    chosen, rejected = torch.tensor(chosen), torch.tensor(rejected)
    policy = Model(seed)
    reference = copy.deepcopy(policy)
    start = [weight.detach().clone() for weight in reference.parameters()]
    losses = []
    for _ in range(steps):
        w = answer_logp(policy, chosen, prompt)
        l = answer_logp(policy, rejected, prompt)
        with torch.no_grad():
            ref_w = answer_logp(reference, chosen, prompt)
            ref_l = answer_logp(reference, rejected, prompt)
        h = beta * ((w - ref_w) - (l - ref_l))
        loss = -F.logsigmoid(h)
        policy.zero_grad()
        loss.backward()
        descend(policy, 0.5)
        losses.append(loss.item())
    margin = (answer_logp(policy, chosen, prompt) - answer_logp(policy, rejected, prompt)).item()
    pairs = zip(reference.parameters(), start)
    moved = [(now - before).abs().max().item() for now, before in pairs]
    return losses, margin, max(moved)
'''

CASES = (([0, 1, 2, 5], [0, 1, 3, 5], 2, 0.5, 0, 1), ([0, 1, 2, 5], [0, 1, 3, 5], 2, 0.5, 0, 4),
         ([0, 1, 2, 2, 5], [0, 1, 3, 5], 2, 0.1, 1, 4))


def random_pair(draw):
    chosen = [draw.randrange(5) for _ in range(draw.randint(3, 5))]
    rejected = chosen[:2] + [draw.randrange(5) for _ in range(draw.randint(2, 4))]
    return [*chosen, 5], [*rejected, 5], 2, draw.choice([0.2, 0.5]), draw.randrange(1000), 3


TASKS += [debug(
    "07d", level=3, minutes=25, core=True, heading="From pairs to a loss",
    signature="train(chosen, rejected, prompt, beta, seed, steps)", program=PROGRAM,
    random=random_pair,
    text="""\
DPO on one pair, with a model of six tokens. One bug is planted. Repair it.

At the start policy and reference are equal, so the first loss is log 2 = 0.6931. The reference
must not move. After some steps the chosen answer is likelier than the rejected one.""",
    cases=(
        Case(CASES[0], "one step: loss, margin, how far the reference moved"),
        Case(CASES[1], "four steps: losses, margin, how far the reference moved"),
        Case(CASES[2], "answers of unequal length, beta = 0.1"),
    ),
    log=("the loss is log 2 in every step", "the loss does not begin at log 2",
         "the loss falls as nicely as it should; log p(chosen) - log p(rejected) falls, too",
         "the loss falls; the reference ends where the policy ends",
         "the loss falls from log 2, the margin rises, but more slowly or faster than it should",
         "nothing: no number of the run changes"),
    bugs=(
        Bug("the reference is the policy itself, not a copy", "copy.deepcopy(policy)", "policy",
            "a",
            "Print the loss of every step. What does it say about the margin?",
            "Without a copy the reference moves along, and the margin stays 0."),
        Bug("the reference exchanges its two answers", "(w - ref_w) - (l - ref_l)",
            "(w - ref_l) - (l - ref_w)", "b",
            "What is h before the first step, if policy and reference are equal?",
            "The first loss must be log 2. It is the cheapest test that DPO has."),
        Bug("the margin has the wrong sign", "loss = -F.logsigmoid(h)", "loss = -F.logsigmoid(-h)",
            "c",
            "Which answer is likelier at the end, and which should be?",
            "A falling loss says that something is learnt, not what."),
        Bug("log-probs are averaged over the answer", "[prompt - 1:].sum()", "[prompt - 1:].mean()",
            "e",
            "The probability of an answer is a product over its tokens. What is its logarithm?",
            "With means, an answer twice as long counts half."),
        Bug("gradients are never cleared", "        policy.zero_grad()\n", "", "e",
            "Which gradients does the second step use?",
            "PyTorch adds gradients up until somebody clears them."),
        Bug("the first token of the answer is left out", "[prompt - 1:]", "[prompt:]", "e",
            "logp[0] belongs to ids[1]. Which place belongs to the first token of the answer?",
            "Log-probs are shifted by one against the tokens. Draw both rows."),
        Bug("beta is forgotten", "h = beta * (", "h = 1.0 * (", "e",
            "What changes in your run if beta is halved?",
            "beta decides how far the policy may go before a pair counts as won."),
    ),
    hints=("Compute the first loss by hand. Which terms cancel?",
           'Lesson 07, "From pairs to a loss": which of the five numbers of a pair may change?',
           "case 1:   loss 0.6931\nthe reference moved by 0"),
)]


# ==== Cards =======================================================================================
def experiment():
    from lessons.grade.tasks.experiment import lesson
    plain = lesson("07", until="# %% [markdown]\n# ## The surprise")["seen"]
    held = lesson("07", until="# %% [markdown]\n# ## The surprise", HOLD=1.0)["seen"]
    strict = lesson("07", until="# %% [markdown]\n# ## The surprise", BETA=1.0)["seen"]
    first, last = plain[0]["logp_chosen"].item(), plain[-1]["logp_chosen"].item()
    won = plain[2]["accuracy"].item()                   # every second step is seen
    rejected, chosen = held[-1]["logp_rejected"].item(), strict[-1]["logp_chosen"].item()
    return [(last < first, f"{first:.1f} -> {last:.1f}"), (won == 1, f"{won:.0%}"),
            (rejected < -80, f"{rejected:.0f}"), (chosen > -3, f"{chosen:.1f}")]


TASKS += [Predict(
    "07p", level=2, minutes=15, core=True, heading="Does a push up make it go up?",
    experiment=experiment,
    text="""\
Lesson 07 trains DPO on 300 pairs for 40 steps: chosen is always "I do not know.", rejected is an
invented answer. The learning rate is 1e-4, beta 0.1. Predict before you run the lesson.""",
    statements=(
        "After 40 steps log p(chosen) is lower than at the start.",
        "After 4 steps all pairs are won, also on questions never seen in training.",
        "With the likelihood of chosen added to the loss (HOLD = 1), log p(rejected) still falls "
        "below -80.",
        "With beta = 1 log p(chosen) ends above -3."),
    hints=("Which numbers does the loss see, and which not?",
           'Lesson 07, "Does a push up make it go up?"',
           "chosen -5 -> -10, rejected -5 -> -30: the margin grew by 20 nats."),
)]
