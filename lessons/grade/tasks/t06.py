"""Tasks of lesson 06."""
from functools import lru_cache
from random import Random

import torch

from lessons.grade import forms
from lessons.grade.cards import Blank, Ledger, whose
from lessons.grade.task import Case, Law, Mistake, Task
from lessons.grade.tasks.project import seqs
from nanouft.objective import Batch, Columns
from nanouft.objectives import ift


# ==== Weights made of later losses, and the derivatives of the released loss ======================
# ---- 06a -----------------------------------------------------------------------------------------
def future_weights(losses, mask, gamma):
    """The released form, for one answer."""
    nll = (losses * mask)[None]
    return ift.weights(nll, seqs(-nll, mask[None]), ift.IFT("released", gamma=gamma))[0]


def future_weights_by_hand(losses, mask, gamma):
    paid, raw = losses * mask, []
    later = torch.zeros(())
    for loss in paid.flip(0):                               # from the last token to the first
        later = loss + gamma * later
        raw.append(later)
    raw = torch.stack(raw).flip(0) * mask                   # (T,)
    return raw / (raw.sum() / mask.sum())


def weights_model(losses, mask, gamma, discount="right", mean="mask", masked=True, alive=True):
    pays = mask if masked else torch.ones_like(mask)
    paid = losses if masked == "after" else losses * pays
    T = len(losses)
    place = mask.cumsum(0) if discount == "packed" else torch.arange(T)
    gap = place - place[:, None]                            # gap[t, k] = k - t
    power = gamma ** gap.clamp_min(0).float()
    share = torch.where(gap >= 0, power, 0)                 # (T,T): what loss k gives to weight t
    if discount == "wrong end":
        share = torch.where(gap >= 0, gamma ** (T - 1 - gap).clamp_min(0).float(), 0)
    if discount == "algorithm 1":
        share = torch.where(gap >= 0, gamma ** torch.arange(T - 1, -1, -1)[:, None].float(), 0)
    if discount == "one ahead":
        share = torch.where(gap <= 1, share, 0)
    if discount == "none":
        share = (gap >= 0).float()
    if discount in ("past", "sums of the past"):
        share = share.T if discount == "past" else (gap <= 0).float()
    if discount == "later only":
        share = torch.where(gap == 0, 0, share)
    if discount == "to the gap":                            # all places up to there pay
        free = (1 - mask).cumsum(0)
        share = share * (free == free[:, None])
    raw = share @ paid
    if mean == "prompt, too":
        return mask * raw * mask.sum() / raw.sum()
    if masked == "first n":
        pays = (torch.arange(T) < mask.sum()).float()
        raw = share @ (losses * pays)
    raw = raw if masked == "losses" else raw * pays
    raw = raw if alive else raw.detach()
    if mean == "none":
        return raw
    n = {"mask": pays.sum(), "fixed": pays.sum(), "places": T, "sum 1": 1}[mean]
    return n * raw / (raw.sum().detach() if mean == "fixed" else raw.sum())


def random_losses(rng: Random):
    T = rng.randint(5, 6)
    losses = torch.tensor([rng.uniform(0.2, 3) for _ in range(T)])
    mask = torch.tensor(forms.mask(rng, T))
    return losses, mask, rng.choice([0.3, 0.5, 0.9])


def mean_is_one(weights, args) -> bool:
    losses, mask, gamma = args
    return abs(float(torch.as_tensor(weights(losses, mask, gamma)).sum() - mask.sum())) < 1e-3


def scale_is_free(weights, args) -> bool:
    losses, mask, gamma = args
    once, twice = (torch.as_tensor(weights(x, mask, gamma)) for x in (losses, 2 * losses))
    return torch.allclose(once, twice, atol=1e-4)


WEIGHTS = Task(
    "06a", "implement", level=2, minutes=20, core=True,
    signature="future_weights(losses, mask, gamma)",
    text="""The weights of the released IFT, for one answer.

    losses  (T,) the loss of each target
    mask    (T,) 1 where the target pays, else 0; at least one target pays
    gamma   the discount, above 0 and at most 1
    return  (T,) the weights; 0 where the mask is 0

The raw weight of a token is its own loss, plus gamma times the next loss, plus gamma squared
times the one after that, and so on to the end. A loss where the mask is 0 counts as 0. Then all
raw weights are divided by their mean over the paying tokens, so that this mean is 1. The
gradient must flow through the weights to the losses: this is what the lesson is about.
Example: losses 2 1 0 9, mask 1 1 1 0, gamma .5. Raw: 2 + .5 = 2.5, then 1, then 0. The mean of
the three is 3.5 / 3. So the weights are 2.1429 0.8571 0 0.""",
    heading="Two tokens on paper",
    right=future_weights, by_hand=future_weights_by_hand, model=weights_model, gradients=(0,),
    cases=(
        Case((torch.tensor([2.0, 1, 0, 9]), torch.tensor([1.0, 1, 1, 0]), 0.5), "the example"),
        Case((torch.ones(4), torch.ones(4), 0.95), "equal losses, gamma = .95"),
        Case((torch.tensor([2.0, 1, 0, 9]), torch.tensor([1.0, 1, 1, 0]), 1.0), "gamma = 1"),
        Case((torch.tensor([5.0, 2, 5, 1]), torch.tensor([0.0, 1, 0, 1]), 0.5),
             "a prompt in front, and a gap"),
    ),
    random=random_losses,
    laws=(Law("the weights must have the mean 1 over the mask", mean_is_one),
          Law("losses twice as large must give the same weights", scale_is_free)),
    mistakes=(
        Mistake("the discount runs from the wrong end", dict(discount="wrong end"),
                "Which later loss should count most: the next one, or the last one?",
                "The further away, the less it counts: gamma to the power of the distance."),
        Mistake("gamma is not used, as if it were 1", dict(discount="none"),
                "Which of your lines would change if gamma were halved?",
                "Without gamma the last word is blamed on the first one in full."),
        Mistake("the power of gamma is that of Algorithm 1", dict(discount="algorithm 1"),
                "Does your power of gamma depend on two places, or on one?",
                "As printed, Algorithm 1 discounts by the distance to the end, not to the loss."),
        Mistake("only the next loss is added", dict(discount="one ahead"),
                "How far can a token see ahead in your weights?",
                "All later losses count. A test of three tokens with a last loss of 0 hides it."),
        Mistake("earlier losses are added, not later ones", dict(discount="past"),
                "Which weight should change if the LAST loss grows?",
                "A word is blamed for what goes wrong after it, not before it."),
        Mistake("earlier losses are added up without gamma", dict(discount="sums of the past"),
                "In which direction does your cumulative sum run, and where is gamma?",
                "cumsum runs forward and discounts nothing. Turn it round, and use gamma."),
        Mistake("the token's own loss is left out", dict(discount="later only"),
                "What weight should the last paying token have?",
                "The sum starts at the token itself: its power of gamma is 0."),
        Mistake("the weights add up to 1, not to the number of tokens", dict(mean="sum 1"),
                "How large is a weight if all losses are equal and gamma is nearly 0?",
                "Mean 1 keeps the loss at the size of SFT's, however long the answer is."),
        Mistake("the weights are not divided by their mean", dict(mean="none"),
                "What happens to your weights if all losses are doubled?",
                "The division by the mean is one of the two causes of the lesson's surprise."),
        Mistake("masked places are counted in the mean", dict(mean="places"),
                "How many tokens of the example pay?",
                "The mean runs over paying tokens. Padding must not change any weight."),
        Mistake("raw weights of places that do not pay are counted in the mean",
                dict(mean="prompt, too"),
                "Which raw weight has a place of the prompt, before you divide?",
                "A place of the prompt has later losses, too. Mask before you take the mean."),
        Mistake("the mean is cut off from the gradient, the raw weights are not",
                dict(mean="fixed"),
                "Does the mean of the raw weights change if training changes a loss?",
                "The derivative of a fraction has two parts. A detached mean leaves one out."),
        Mistake("the sum stops at the first place that does not pay", dict(discount="to the gap"),
                "Which losses does the first weight contain if the mask is 1 0 1?",
                "A gap adds 0 and passes on what comes after it."),
        Mistake("places that do not pay are left out of the distance", dict(discount="packed"),
                "How far apart are the two losses if the mask is 1 0 1?",
                "The distance counts all places. In a gap, too, gamma is multiplied once a place."),
        Mistake("masked places pay, too", dict(masked=False),
                "What does the 9 in the example do to your weights?",
                "The question and the padding have no loss of their own. Mask before you add up."),
        Mistake("losses where the mask is 0 are added to the weights of others",
                dict(masked="after"),
                "What does the 9 in the example do to your weights?",
                "Mask the losses before they are added up, not only the weights at the end."),
        Mistake("places where the mask is 0 get a weight, too", dict(masked="losses"),
                "Which weight has a place of the prompt in your result?",
                "Mask twice: the losses before they are added up, and the weights at the end."),
        Mistake("the first places pay, as many as the mask has ones", dict(masked="first n"),
                "Where does the answer begin if the mask is 0 1 1?",
                "A mask says where, not only how many. Rows begin with a prompt."),
        Mistake("the weights are cut off from the gradient", dict(alive=False),
                "Does your weight change if training changes a loss?",
                "Detached weights are another method, a milder one. The values do not show it."),
    ),
    hints=("Which losses does the weight of the first token contain?",
           "Lesson 06, \"Two tokens on paper\": the sum over k from t on.",
           "losses 4 0 2, gamma .5: raw weights 4 + 0 + .5, then 0 + 1, then 2\n"
           "their mean is 2.5, so the weights are 1.8 0.4 0.8"),
)


# ---- 06b -----------------------------------------------------------------------------------------
def two_token_slopes(a, b, gamma):
    """By autograd, through the project's loss."""
    losses = torch.tensor([[a, b]], dtype=torch.float64, requires_grad=True)
    batch = Batch.of({"answer": seqs(-losses)}, Columns())
    loss, _ = ift.loss(batch, ift.IFT("released", gamma=gamma))
    by_a, by_b = torch.autograd.grad(loss, losses)[0][0].tolist()
    return by_a, by_b


def by_hand(a, b, gamma):
    """The quotient rule for L = top / bottom."""
    top, bottom = a * (a + gamma * b) + b * b, a + (1 + gamma) * b
    top_a, top_b = 2 * a + gamma * b, gamma * a + 2 * b
    by_a = top_a / bottom - top / bottom ** 2
    by_b = top_b / bottom - (1 + gamma) * top / bottom ** 2
    return by_a, by_b


def slopes_model(a, b, gamma, how="right", order=1, sign=1):
    top = a * (a + gamma * b) + b * b
    bottom = a + (1 + gamma) * b
    top_a, top_b = 2 * a + gamma * b, gamma * a + 2 * b
    if how == "part":                                   # one factor of each product is a constant
        top_a, top_b = a, b
    by_a = top_a / bottom - top / bottom ** 2
    by_b = top_b / bottom - (1 + gamma) * top / bottom ** 2
    if how == "plus":
        by_a = top_a / bottom + top / bottom ** 2
        by_b = top_b / bottom + (1 + gamma) * top / bottom ** 2
    if how == "no 1":
        by_b = top_b / bottom - gamma * top / bottom ** 2
    if how == "constant":
        by_a, by_b = (a + gamma * b) / bottom, b / bottom
    if how == "top":
        by_a, by_b = top_a / bottom, top_b / bottom
    if how == "undivided":
        by_a, by_b = top_a, top_b
    if how == "sft":
        by_a, by_b = 0.5, 0.5
    return (by_a, sign * by_b)[::order]


def random_two(rng: Random):
    return rng.uniform(0.5, 3), rng.uniform(0.1, 2), rng.choice([0.3, 0.6, 0.95])


def alone_is_sft(slopes, args) -> bool:
    return abs(float(slopes(args[0], 0.0, args[2])[0]) - 1) < 1e-3


def size_is_free(slopes, args) -> bool:
    a, b, gamma = args
    pairs = zip(slopes(a, b, gamma), slopes(3 * a, 3 * b, gamma))
    return all(abs(x - y) < 1e-3 for x, y in pairs)


SLOPES = Task(
    "06b", "ledger", level=3, minutes=25, core=False,
    signature="two_token_slopes(a, b, gamma)",
    text="""The derivatives of the released loss of two tokens, by hand: without autograd.

    a, b    the losses of the hard word and of <|end|>, a above 0
    gamma   the discount, above 0
    return  two numbers: (derivative of L by a, derivative of L by b)

    L = (w_1 a + w_2 b) / (w_1 + w_2)   with the weights   w_1 = a + gamma b   and   w_2 = b

The weights change with a and b, too. So write L as one fraction in a, b and gamma, and take the
derivative of that fraction.
Example: a = 2.5, b = 0, gamma = .95 -> (1, -1). The loss falls if <|end|> becomes LESS likely.""",
    heading="Two tokens on paper",
    right=two_token_slopes, by_hand=by_hand, model=slopes_model,
    cases=(
        Case((2.5, 0.0, 0.95), "<|end|> is learnt"),
        Case((1.0, 1.0, 0.95), "equal losses"),
        Case((2.0, 0.5, 0.5), "gamma = .5"),
    ),
    random=random_two,
    laws=(Law("three times the losses must give the same derivatives", size_is_free),
          Law("with b = 0 the derivative by a must be 1", alone_is_sft)),
    mistakes=(
        Mistake("the weights are taken for constants", dict(how="constant"),
                "Does the first weight change if b grows a little?",
                "With constant weights, nothing pushes <|end|> down. Live weights do."),
        Mistake("only the numerator is differentiated", dict(how="top"),
                "What happens to the sum of the weights if b grows?",
                "A fraction changes with its denominator, too. Here this makes the minus sign."),
        Mistake("the quotient rule has a plus", dict(how="plus"),
                "If only the denominator grows, does a fraction rise or fall?",
                "top' / bottom MINUS top bottom' / bottom squared."),
        Mistake("the derivative of the denominator by b is gamma, not 1 + gamma", dict(how="no 1"),
                "In how many of the two weights does b stand?",
                "w_1 has gamma b, and w_2 is b itself: their sum has 1 + gamma times b."),
        Mistake("a term of the product rule is missing", dict(how="part"),
                "The numerator contains a times a. What is its derivative?",
                "Each product has two factors that change. One was held fixed."),
        Mistake("the numerator alone is taken for the loss", dict(how="undivided"),
                "What happens to your derivatives if both losses are doubled?",
                "Without the division by the mean, the derivative by b is never negative."),
        Mistake("the answer is that of SFT: a half for each token", dict(how="sft"),
                "Do the weights of the two tokens differ?",
                "SFT pushes both equally. IFT's weights depend on the losses."),
        Mistake("the two derivatives are in the wrong order", dict(order=-1),
                "Which of the two losses belongs to <|end|>?",
                "First the hard word, then the end. At b = 0 the second one is negative."),
        Mistake("the derivative by b has the wrong sign", dict(sign=-1),
                "At b = 0: does L rise or fall, if b grows a little?",
                "Check with numbers: compute L at b = 0 and at b = 0.01."),
    ),
    hints=("Can you write L as one fraction, with no w in it?",
           "Lesson 06, \"Two tokens on paper\"; then the quotient rule.",
           "a = 2.5, gamma = .95: L is 2.5 at b = 0 and 2.4901 at b = 0.01\n"
           "so the derivative by b is -0.99 on average between the two"),
)

TASKS = [WEIGHTS, SLOPES]


# ==== Cards =======================================================================================
LIVE = "live weights are taken for constant ones"
PLACES = "a strip that counts places is taken for one that looks at losses"
FLAT = "a method that looks ahead is taken for SFT"
FORMS = {"SFT": ("sft", {}), "IFT, released": ("ift", {"variant": "released"}),
         "IFT, detached": ("ift", {"variant": "detached"}),
         "Eq. 21, mean 1": ("ift", {"variant": "eq21_mean1"})}
BUILD = """\
Build: four losses for which IFT, released, pushes the LAST token by less than -0.5,
and the FIRST one by less than +1. (gamma = 0.95.) Write them as [2.0, 1.0, 1.0, 0.0]."""
SLIPS = {("IFT, released", "IFT, detached"): LIVE, ("IFT, detached", "IFT, released"): LIVE,
         ("Eq. 21, mean 1", "IFT, detached"): PLACES, ("Eq. 21, mean 1", "IFT, released"): PLACES,
         ("IFT, detached", "Eq. 21, mean 1"): PLACES, ("IFT, released", "Eq. 21, mean 1"): PLACES,
         ("IFT, released", "SFT"): FLAT, ("IFT, detached", "SFT"): FLAT,
         ("Eq. 21, mean 1", "SFT"): FLAT,
         ("SFT", "IFT, released"): FLAT, ("SFT", "IFT, detached"): FLAT,
         ("SFT", "Eq. 21, mean 1"): FLAT}


def released_pushes_last_down(losses) -> str:
    """The construction: last below -0.5, first below 1."""
    from lessons.grade.tasks import strips
    kinds = {type(x) for x in losses} if type(losses) is list else set()
    if not kinds or not kinds <= {int, float} or len(losses) != 4:
        return "four numbers are needed: [0.0, 0.0, 0.0, 0.0]"
    if any(not 0 <= x < 100 for x in losses) or not sum(losses):
        return "losses are not negative, and not all 0"
    push = strips.demonstration("ift", [float(x) for x in losses], variant="released")
    found = f"these losses are pushed by {strips.words(push)}"
    if push[3] >= -0.5:
        return f"not yet: {found}; the last push is not below -0.5"
    return "" if push[0] < 1 else f"not yet: {found}; the first push is not below +1"


@lru_cache
def found() -> dict[str, list[str]]:
    from lessons.grade.tasks import strips
    return {method: [strips.words(strips.demonstration(loss, [2.0, 1.0, 1.0, 0.0], **settings))]
            for method, (loss, settings) in FORMS.items()}


def blanks(name: str) -> list[Blank]:
    build = Blank("losses", BUILD, right=[0.0, 2.0, 0.0, 0.0], test=released_pushes_last_down)
    return [*whose(found(), SLIPS, name, "06c"), build]


TASKS += [Ledger(
    "06c", level=2, minutes=15, core=True, heading="Two tokens on paper", blanks=blanks,
    text="""\
Whose strip? An answer of four tokens has the losses 2 1 1 0. Each strip says how hard one method
pushes these tokens: + makes a token likelier. (gamma = 0.95; times 4, so that SFT is +1
everywhere.)""",
    mistakes=(
        Mistake(LIVE, {}, "Can a constant weight push a token down whose loss is 0?",
                "Negative pushes in a strip: gradient flows through the weights."),
        Mistake(PLACES, {}, "Would the strip change if the losses were 0 1 1 2?",
                "Eq. 21 counts places. It does not look at losses."),
        Mistake(FLAT, {}, "Which method gives each token the same?",
                "SFT pushes each token equally. All others here weigh.")),
    hints=("Which strips have a negative number, and which method can make one?",
           'Lesson 06, "Two tokens on paper".',
           "losses 0 0 2 0, released:   +0.77 +0.37 +1.4 -0.49"),
)]
