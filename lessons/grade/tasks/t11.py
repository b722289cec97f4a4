"""Tasks of lesson 11."""
import torch
import torch.nn.functional as F

from lessons.grade import forms
from lessons.grade.predictions import Predict
from lessons.grade.task import Case, Law, Mistake, Task
from nanouft.objective import Batch, Columns, Seqs
from nanouft.objectives import poft


# ==== PoFT, trust in demonstrations ===============================================================
# ---- 11a: the loss -------------------------------------------------------------------------------
def project_loss(logp, mask, others):
    """PoFT's loss and tau of one row, by the project's own functions."""
    row = mask[None]
    answer = Seqs(row, row, row, row, logp=logp[None])
    opinion = torch.stack([other.mean() for other in others]).mean()
    batch = Batch.of({"answer": answer}, Columns(extra={"aligned_logp": opinion[None]}))
    loss, _ = poft.loss(batch, poft.PoFT())
    return loss, poft.tau(batch, poft.PoFT())[0].detach()


def poft_by_hand(logp, mask, others):
    own = logp[mask > 0].mean()
    opinion = torch.stack([other.mean() for other in others]).mean()
    gap = own - opinion
    return -F.logsigmoid(gap), torch.sigmoid(-gap).detach()


def poft_loss(logp, mask, others, reduce=torch.mean, sign=1, opinion="mean", own="answer",
              weighted=False, detached=True, careful=True, turned=False, loss_sign=1):
    """PoFT's loss and tau of one row, and the mistakes by flag."""
    if own == "prompt":
        policy = reduce(logp)
    elif own == "long divisor":
        policy = reduce(logp * mask)
    elif own == "last places":
        policy = reduce(logp[-int(mask.sum()):])
    elif own == "to the end":
        policy = reduce(logp[int(mask.argmax()):])
    else:
        policy = reduce(logp[mask > 0])
    each = torch.stack([reduce(other) for other in others])
    opinions = {"mean": each.mean(), "probabilities": each.exp().mean().log(), "first": each[0],
                "tokens": reduce(torch.cat(others)), "best": each.max()}
    gap = sign * (policy - opinions[opinion])
    logit = loss_sign * gap
    loss = -F.logsigmoid(logit) if careful else -torch.log(torch.sigmoid(logit))
    tau = torch.sigmoid(-gap)
    if weighted:
        loss = tau.detach() * loss
    tau = tau.detach() if detached else tau
    return (tau, loss) if turned else (loss, tau)


def demonstration(random):
    def log_prob(low=-4.0):
        return random.uniform(low, -0.1)
    mask = forms.mask(random, random.randint(4, 6))
    low = random.choice([-4.0, -4.0, -4.0, -400.0])
    logp = [log_prob(low) if pays else log_prob() for pays in mask]
    others = [torch.tensor([log_prob() for _ in range(n)])
              for n in random.sample([1, 2, 3, 4, 5], random.randint(1, 3))]
    return torch.tensor(logp), torch.tensor(mask), others


def half_when_they_agree(loss_and_tau, args):
    logp = torch.full((3,), -2.0)
    _, tau = loss_and_tau(logp, torch.ones(3), [torch.full((5,), -2.0)])
    return abs(float(tau) - 0.5) < 1e-3


LOGP, MASK = torch.tensor([-7.0, -2.0, -2.0]), torch.tensor([0.0, 1.0, 1.0])
A = Task(
    "11a", "implement", level=1, minutes=15, core=False,
    signature="poft_loss(logp, mask, others)",
    text="""PoFT's loss of one demonstration, and tau, the trust in it.

logp    (T,) the policy's log-prob of each token, prompt included
mask    (T,) 1 on the tokens of the answer
others  a list, one tensor for each aligned model: its log-probs of ITS tokens of the
        answer. Each model has its own tokenizer, so the lengths differ.
Returns (loss, tau), two numbers. tau is only looked at: detach it.
The policy may find a token absurd: logp = -300.

Take logp -7 -2 -2, mask 0 1 1, and one aligned model that says -1 -1 -1 -1.
Then the loss is 1.3133 and tau .7311.""",
    heading="One equation",
    right=project_loss, by_hand=poft_by_hand,
    model=poft_loss,
    cases=(Case((LOGP, MASK, [torch.full((4,), -1.0)]), "one aligned model, four tokens"),
           Case((LOGP, MASK, [torch.tensor([-1.0]), torch.tensor([-9.0])]), "two that disagree"),
           Case((LOGP, MASK, [torch.tensor([-5.0]), torch.full((3,), -1.0)]),
                "two with one token and three tokens"),
           Case((torch.tensor([-7.0, -2, -4, -9]), torch.tensor([0.0, 1, 1, 0]),
                 [torch.tensor([-2.0])]), "with padding"),
           Case((torch.tensor([-7.0, -300.0]), torch.tensor([0.0, 1.0]), [torch.tensor([-1.0])]),
                "a token that the policy finds absurd")),
    random=demonstration,
    mistakes=(
        Mistake("log-probs are summed, not averaged over tokens", {"reduce": torch.sum},
                "One model cuts the answer into two tokens, another into four. Is that fair?",
                "Tokenizers differ, so only the mean per token can be compared."),
        Mistake("policy and aligned models are exchanged", {"sign": -1},
                "The aligned models find an answer likelier than the policy. Is it trusted?",
                "The policy should beat the aligned models. Where it does, tau is small."),
        Mistake("the margin has the wrong sign in the loss, but not in tau",
                {"loss_sign": -1},
                "Does your loss fall if the policy finds the answer likelier?",
                "The loss is small where the policy beats the aligned models."),
        Mistake("probabilities are averaged over the models, not log-probs",
                {"opinion": "probabilities"},
                "What is averaged over the models, and in which unit is the gap measured?",
                "The opinion is a mean of log-probs. A mean of probabilities follows the largest."),
        Mistake("the prompt is counted, too", {"own": "prompt"},
                "Which of the policy's tokens do the aligned models judge?",
                "The released code averages over prompt and answer on one side only."),
        Mistake("the answer is taken for the last tokens of the row, as many as the mask has ones",
                {"own": "last places"},
                "Where in the row does your mask begin and end?",
                "Rows have padding, and answers have gaps. Only the mask says which tokens pay."),
        Mistake("all tokens after the first one of the answer are counted", {"own": "to the end"},
                "What does your function do with mask 0 1 1 0?",
                "Rows have padding, and answers have gaps. Only the mask says which tokens pay."),
        Mistake("the answer's sum is divided by all tokens, the prompt's too",
                {"own": "long divisor"},
                "How many tokens has the answer, and by how many do you divide?",
                "mean() after a mask still divides by all places: divide by the mask's sum."),
        Mistake("the tokens of all aligned models are in one mean", {"opinion": "tokens"},
                "Two models, three tokens and one. How much does each model's opinion count?",
                "First the mean of each model, then the mean of models: each has one vote."),
        Mistake("only the first aligned model is asked", {"opinion": "first"},
                "How many aligned models are in the list?",
                "Each aligned model has one vote."),
        Mistake("only the highest opinion of the aligned models counts", {"opinion": "best"},
                "What does a second model change that finds the answer unlikely?",
                "The opinion is a mean, not a maximum: one model can doubt what another likes."),
        Mistake("the loss is multiplied by tau", {"weighted": True},
                "Take the derivative of the loss. Where does tau come from?",
                "Tau is the derivative of the loss already. Multiplying counts it twice."),
        Mistake("tau comes before the loss", {"turned": True},
                "Which of the two numbers comes first in the answer?",
                "Only an order. Ask which of the two can be larger than 1."),
        Mistake("gradient flows through tau", {"detached": False},
                "tau is a number to look at. What may it not carry?",
                "Tau is printed, not trained on: detach what is only looked at."),
        Mistake("the logarithm is taken of a number that has become 0 or infinite",
                {"careful": False},
                "What is the sigmoid of -299 in a computer, and what is its logarithm?",
                "Use logsigmoid. Far out the sigmoid is rounded to 0, and its log is infinite."),
    ),
    gradients=(0,),
    laws=(Law("where policy and aligned models agree, tau must be 1/2", half_when_they_agree),),
    hints=("Which two means are compared, and over which tokens is each of them taken?",
           "Lesson 11, \"One equation\": r, its bar, and tau.",
           "The policy says -2 per token, two aligned models -1 and -9.\n"
           "Their mean is -5, the policy is 3 ahead, and tau = sigmoid(-3) = .0474."))


# ---- 11b: which rows are doubted -----------------------------------------------------------------
def doubted_rows(tau, wrong, k):
    """As the lesson finds them: the k rows with the lowest tau, and the share of wrong ones."""
    places = tau.argsort()[:k]
    return places.tolist(), wrong[places].float().mean().item()


def doubted(tau, wrong, k, most=False, by="k lowest", share="precision", give="places"):
    """doubted_rows with mistakes by flag."""
    order = tau.argsort(descending=most)
    found = {"k lowest": order[:k], "sorted list": torch.arange(len(tau))[:k],
             "share": order[:int(k * len(tau))], "in order": order[:k].sort().values,
             "ranks": order.argsort()[:k],
             "threshold": (tau < k / len(tau)).nonzero().flatten()}[by]
    hits = wrong[found].sum().item()
    divisors = {"precision": len(found), "recall": wrong.sum().item(), "all": len(tau), "none": 1}
    part = hits / max(1, divisors[share])
    if share == "precision" and not len(found):
        part = 0.0
    return (tau[found] if give == "trust" else found).tolist(), part


def trust(random):
    n = random.randint(5, 8)
    tau = [x / 1000 for x in random.sample(range(350, 650), n)]
    wrong = [1.0, 1.0, 1.0] + [random.choice([0.0, 1.0]) for _ in range(n - 4)] + [0.0]
    random.shuffle(wrong)
    return torch.tensor(tau), torch.tensor(wrong), random.randint(2, n - 2)


def all_rows_hold_all_wrong_ones(doubt, args):
    tau, wrong, _ = args
    _, share = doubt(tau, wrong, len(tau))
    return abs(float(share) - wrong.mean().item()) < 1e-3


B = Task(
    "11b", "implement", level=2, minutes=10, core=True,
    signature="doubted(tau, wrong, k)",
    text="""Which k demonstrations are trusted least, and how many of them are really wrong?

tau    (n,) the trust in each of n demonstrations
wrong  (n,) 1 where the demonstration is wrong, 0 where it is right
k      how many to doubt
Returns (places, precision): a list of k places, the least trusted first (places count
from 0), and the share of wrong ones among these k.

For tau .7 .2 .5 .1, wrong 0 1 0 0 and k = 2 it is ([3, 1], 0.5).""",
    heading="The proof",
    right=doubted_rows, model=doubted,
    cases=(Case((torch.tensor([0.7, 0.2, 0.5, 0.1]), torch.tensor([0.0, 1, 0, 0]), 2),
                "four rows, two of them doubted"),
           Case((torch.tensor([0.9, 0.1, 0.2, 0.8, 0.6]), torch.tensor([0.0, 1, 1, 0, 1]), 3),
                "five rows, three of them doubted")),
    random=trust,
    mistakes=(
        Mistake("the most trusted rows are returned", {"most": True},
                "Does a small tau mean much trust or little?",
                "Tau is trust: the suspects are the rows with the lowest tau."),
        Mistake("the share is taken of all wrong rows: that is recall", {"share": "recall"},
                "Share of what: of the rows that you doubted, or of the rows that are wrong?",
                "Precision divides by the number of suspects, recall by that of all wrong rows."),
        Mistake("the places are those of the sorted list", {"by": "sorted list"},
                "After sorting, where in the data does the first row of your list stand?",
                "Sort the places by tau, not tau itself: the row numbers are asked for."),
        Mistake("the ranks of the first k rows are returned, not the places of the lowest tau",
                {"by": "ranks"},
                "Your first number: is it a place in the data, or a place in the sorted list?",
                "argsort gives places. argsort of argsort gives ranks."),
        Mistake("the lowest tau are returned, not their places", {"give": "trust"},
                "With your numbers, which rows of the data would you read first?",
                "sort gives values and places. The row numbers are asked for."),
        Mistake("k is taken for a share of the rows", {"by": "share"},
                "How many places should come back for k = 2?",
                "k is a number of rows here."),
        Mistake("k / n is taken for a threshold on tau", {"by": "threshold"},
                "How many places should come back for k = 2, whatever tau looks like?",
                "All tau lie near 1/2, so a threshold is hard to choose; a rank is not."),
        Mistake("the places are in the order of the data", {"by": "in order"},
                "Which of your places is the least trusted one?",
                "The list begins with the row that one should read first."),
        Mistake("the number of wrong ones is divided by the number of all rows", {"share": "all"},
                "Share of what: of all rows, or of those that you doubted?",
                "Precision divides by the number of suspects."),
        Mistake("the wrong ones are counted, not a share", {"share": "none"},
                "Can a share be larger than 1?",
                "A count grows with k. A share can be compared with chance."),
    ),
    laws=(Law("if all rows are doubted, the share must be that of all wrong rows",
              all_rows_hold_all_wrong_ones),),
    hints=("You need row numbers in the end. What exactly should be sorted?",
           "Lesson 11, \"The proof\" and the function `found` above it.",
           "tau .7 .2 .5 .1: row 3 is trusted least, then row 1.\n"
           "One of the two is wrong, so the precision is 1/2."))

TASKS = [A, B]


# ==== Cards =======================================================================================
def experiment():
    from lessons.grade.tasks.experiment import lesson
    until = "right_rows = "
    shares, alone = {}, 0.0
    for judge in ("clean", "noisy", "self"):
        space = lesson("11", until=until, BREAK=judge)
        shares[judge] = space["found"](space["tau"])
        alone = space["found"](space["r_bar"]) if judge == "clean" else alone
    return [(shares["clean"] > 75, f"{shares['clean']:.0f} %"),
            (shares["noisy"] > 60, f"{shares['noisy']:.0f} %"),
            (abs(shares["self"] - 40) < 8, f"{shares['self']:.0f} %"),
            (alone > shares["clean"], f"{alone:.0f} % against {shares['clean']:.0f} %")]


TASKS += [Predict(
    "11p", level=1, minutes=10, core=False, heading="Live", experiment=experiment,
    text="""\
240 of 600 demonstrations are wrong (40 %). PoFT's trust tau says how much it believes each one.
We look at the 240 that it trusts least. The judge is the aligned model. It was trained on right
demonstrations, on others with the same noise, or it is the policy itself.""",
    statements=(
        "The judge learnt from right demonstrations: more than 75 % of the 240 are wrong.",
        "The judge learnt from rows with the same noise: still more than 60 % are wrong.",
        "The judge is the policy itself: between 32 and 48 % are wrong.",
        "The judge's own opinion, without the policy's, would find more wrong rows than tau does."),
    hints=("What is tau if both models say the same of every row?",
           'Lesson 11, "One equation" and "Live".',
           "equal opinions:   tau = 1/2 for all, so the order is that of the file."),
)]
