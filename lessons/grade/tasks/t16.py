"""Tasks of lesson 16."""
import math

import torch

from lessons.grade import forms
from lessons.grade.debug import Bug, debug
from lessons.grade.task import Case, Law, Mistake, Task
from nanouft.objective import Batch, Columns, Seqs
from nanouft.objectives import dft, neftune
from nanouft.seeds import uniform_rows


# ==== Noise, and a gentler loss ===================================================================
# ---- 16a: NEFTune's noise ------------------------------------------------------------------------
def project_bound(length, padded, width, alpha):
    """The bound of the project's noise on one row: its noise, divided by the draws in (-1, 1)."""
    one = torch.ones(1, padded)
    read = torch.tensor([[1.0] * length + [0.0] * (padded - length)])
    batch = Batch({})
    noise = neftune.noise(Seqs(one, one, one, read), batch, alpha, width)
    unit = 2 * uniform_rows(batch, 1, padded * width) - 1
    return (noise.abs().max() / unit.abs().max()).item()


def bound_by_hand(length, padded, width, alpha):
    return alpha / math.sqrt(length * width)


def noise_bound(length, padded, width, alpha, tokens="own", with_width=True, root="size",
                fixed=False):
    """NEFTune's bound on the noise of one row, and the mistakes by flag."""
    size = {"own": length, "padded": padded, "none": 1}[tokens] * (width if with_width else 1)
    alpha = 5 if fixed else alpha
    return {"size": alpha / math.sqrt(size), "none": alpha / size,
            "times": alpha * math.sqrt(size), "all": math.sqrt(alpha / size)}[root]


def row(random):
    length = random.randint(5, 40)
    padded = length + random.randint(5, 40)
    return length, padded, random.choice([8, 16, 32]), random.choice([1.0, 2.0, 10.0, 15.0])


def four_times_is_half(bound, args):
    length, padded, width, alpha = args
    one, other = (float(bound(n, 4 * padded, width, alpha)) for n in (length, 4 * length))
    return abs(one - 2 * other) < 1e-4


def padding_does_not_count(bound, args):
    length, padded, width, alpha = args
    one, other = (float(bound(length, n, width, alpha)) for n in (padded, 4 * padded))
    return abs(one - other) < 1e-4


A = Task(
    "16a", "implement", level=1, minutes=5, core=False,
    signature="noise_bound(length, padded, width, alpha)",
    text="""NEFTune's a: the noise on each number of an embedding is between -a and a.

length  how many tokens the row has
padded  how many places it has in the batch, padding included
width   how many numbers an embedding has
alpha   the size of the noise of a whole row
Returns one number.

For length 100, padded 160, width 64 and alpha 5 it is 0.0625.""",
    heading="One equation",
    right=project_bound, by_hand=bound_by_hand,
    model=noise_bound,
    cases=(Case((100, 160, 64, 5.0), "a row of 100 tokens"),
           Case((25, 160, 64, 5.0), "a row of 25 tokens in the same batch"),
           Case((25, 30, 16, 2.0), "alpha = 2")),
    random=row,
    mistakes=(
        Mistake("the padded length is used", {"tokens": "padded"},
                "What happens to a short row if a long one joins its batch?",
                "With the padded length a row gets less noise the longer its neighbours are."),
        Mistake("there is no root", {"root": "none"},
                "If a row is four times as long, how does the length of its noise vector grow?",
                "A vector of n equal numbers has length root n: the bound shrinks with the root."),
        Mistake("it is multiplied by the root", {"root": "times"},
                "Should each number of a longer row get more noise or less?",
                "The size of all noise together is fixed, so a longer row has less in each place."),
        Mistake("alpha stands inside the root", {"root": "all"},
                "If alpha is doubled, should the noise double?",
                "Alpha is the size of the noise itself: twice alpha is twice the noise."),
        Mistake("the width is forgotten", {"with_width": False},
                "How many numbers of a row get noise?",
                "Noise falls on every number of every embedding, so the width counts, too."),
        Mistake("the length is forgotten", {"tokens": "none"},
                "How many tokens of a row get noise?",
                "The noise of a whole row has one size, however long the row is."),
        Mistake("alpha is always taken for 5", {"fixed": True},
                "What changes in your function for another alpha?",
                "A number from the example belongs to the argument alpha."),
    ),
    laws=(Law("more padding must not change the noise", padding_does_not_count),
          Law("four times the length must halve the noise", four_times_is_half)),
    hints=("How many numbers of this row get noise?",
           "Lesson 16, \"One equation\": a, with L and C.",
           "100 tokens of width 64 are 6400 numbers, and the root of 6400 is 80.\n"
           "5 / 80 = .0625."))


# ---- 16b: DFT ------------------------------------------------------------------------------------
def project_dft(logp, mask):
    """The project's DFT."""
    batch = Batch.of({"answer": Seqs(mask, mask, mask, mask, logp=logp)}, Columns())
    loss, _ = dft.loss(batch, dft.DFT())
    return loss


def dft_by_hand(logp, mask):
    p = logp.detach().exp()
    return -(p * logp * mask).sum() / mask.sum()


def dft_loss(logp, mask, weight="p", reduce="token", sign=1, masked=True):
    """DFT's loss, and its mistakes by flag."""
    counted = mask
    mask = mask if masked is True else torch.ones_like(mask)
    p = logp.exp()
    whole = (logp * mask).sum(1, keepdim=True).exp().detach()
    paid = {"p": -p.detach() * logp, "live": -p * logp, "1 - p": -(1 - p.detach()) * logp,
            "none": -logp, "minus p": -p, "answer": -whole * logp}[weight]
    paid = paid * mask
    n = (counted if masked == "below" else mask).sum(1)
    divided = {"token": paid.sum() / n.sum(), "sequence": (paid.sum(1) / n).mean(),
               "weights": paid.sum() / (p.detach() * mask).sum(), "places": paid.mean(),
               "sum": paid.sum(), "answers": paid.sum() / len(mask)}
    return sign * divided[reduce]


def demonstrations(random):
    T = random.randint(4, 5)
    mask = [forms.mask(random, T) for _ in range(3)]
    logp = [[math.log(random.uniform(0.02, 0.9)) for _ in range(T)] for _ in mask]
    return torch.tensor(logp), torch.tensor(mask)


def each_token_is_pushed_up(loss, args):
    logp, mask = args
    logp = logp.clone().requires_grad_(True)
    value = loss(logp, mask)
    (slope,) = torch.autograd.grad(value.sum(), [logp])
    return bool((slope[mask > 0] < 0).all())


LOGP = torch.tensor([[0.5, 0.1, 0.9], [0.25, 0.4, 0.4]]).log()
MASK = torch.tensor([[1.0, 1, 0], [1, 0, 0]])
B = Task(
    "16b", "implement", level=2, minutes=15, core=True,
    signature="dft_loss(logp, mask)",
    text="""DFT's loss: every token of an answer pays -log p times its own probability p.

logp  (B,T) log-probs of the tokens by the policy
mask  (B,T) 1 on the tokens of the answers, 0 elsewhere
The factor p is a weight, a plain number: gradient flows only through log p.
Returns one number, the mean over all tokens of all answers.

Take one answer with p .5 and .1, and one with p .25. The loss is 0.3078.
Its gradient by logp is -p/3 on each of the three tokens.""",
    heading="One equation",
    right=project_dft, by_hand=dft_by_hand,
    model=dft_loss,
    cases=(Case((LOGP, MASK), "p .5 .1 | .25"),
           Case((LOGP[1:], torch.ones(1, 3)), "p .25 .4 .4, all of it answer")),
    random=demonstrations,
    mistakes=(
        Mistake("gradient flows through the weight: an unlikely token is pushed down",
                {"weight": "live"},
                "Look at the sign of the gradient on the token with p = .1. Is it taught?",
                "Without the stop-gradient all tokens below p = 1/e are pushed down."),
        Mistake("the weight is 1 - p", {"weight": "1 - p"},
                "Which tokens should DFT leave alone: the absurd ones or the certain ones?",
                "DFT hardly teaches what the model finds absurd."),
        Mistake("there is no weight: that is SFT", {"weight": "none"},
                "What changes in your loss for a token that the model finds absurd?",
                "SFT pushes every token equally. DFT pushes each by its own probability."),
        Mistake("it is minus the mean of p: the right gradient, another value",
                {"weight": "minus p"},
                "Your gradient is right. What does a certain token cost in your loss?",
                "Minus the mean of p has DFT's gradient, but it is another number."),
        Mistake("the sum is divided by the sum of the weights", {"reduce": "weights"},
                "If the model finds all tokens unlikely, should the push be as large as ever?",
                "Divided by its weights, an absurd answer is pushed as hard as a good one."),
        Mistake("each answer's mean is taken first", {"reduce": "sequence"},
                "Does a token of a short answer weigh as much as one of a long answer?",
                "The mean is over all tokens: a long answer counts more."),
        Mistake("the sum is divided by the number of answers", {"reduce": "answers"},
                "How many tokens pay, and by how many do you divide?",
                "The mean is over tokens. By answers, a long one is pushed harder."),
        Mistake("the losses are added up, not averaged", {"reduce": "sum"},
                "What happens to your loss if every answer comes twice?",
                "A loss that grows with the batch needs another learning rate."),
        Mistake("the sign is turned", {"sign": -1},
                "Does your loss fall if a token becomes likelier?",
                "A loss is minus the log-prob."),
        Mistake("the tokens outside the mask pay, too", {"masked": False},
                "How many tokens does the second answer have?",
                "Only the answer is taught, not the question and not the padding."),
        Mistake("the tokens outside the mask pay, though they are not counted", {"masked": "below"},
                "How many losses do you add up, and by how many tokens do you divide?",
                "The mask stands twice: over the losses that are added, and in their number."),
        Mistake("the weight is the probability of the whole answer", {"weight": "answer"},
                "How many weights has an answer of two tokens in your loss?",
                "Each token has its own weight. The whole answer is always unlikely."),
        Mistake("the sum is divided by all places, the padding counted", {"reduce": "places"},
                "How many tokens pay, and by how many do you divide?",
                "mean() after a mask still divides by all places: divide by the mask's sum."),
    ),
    gradients=(0,),
    laws=(Law("every token of a demonstration must be pushed up", each_token_is_pushed_up),),
    hints=("SFT pushes each token equally. What multiplies its push here, and has it a gradient?",
           "Lesson 16, \"One equation\": DFT's push.",
           "p = .5 pays .5 x .6931 = .3466, and p = .25 pays .25 x 1.3863 = .3466.\n"
           "p = .1 pays .2303. The mean of the three is .3078."))

TASKS = [A, B]


# ==== A program with a bug: a matrix of which some rows are frozen ================================
PROGRAM = '''
import torch


def choose(rows, seed):
    """Half of the rows of a matrix, drawn once: they are frozen."""
    return torch.randperm(rows, generator=torch.Generator().manual_seed(seed))[:rows // 2]


def new_layer(seed):
    torch.manual_seed(seed)
    return torch.nn.Linear(3, 4)


def train(seed, steps):
    """-> how far each row of the weight moved (4 numbers), and how far each bias moved.

    Frozen rows do not move at all, nor do their biases. The others are trained by AdamW.
    """
    layer = new_layer(seed)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1, weight_decay=0.5)
    before = [p.detach().clone() for p in layer.parameters()]
    x = torch.ones(2, 3)
    frozen = choose(4, seed)
    for step in range(steps):
        kept = [p.detach().clone() for p in layer.parameters()]
        loss = layer(x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            layer.weight[frozen] = kept[0][frozen]
            layer.bias[frozen] = kept[1][frozen]
    weight, bias = [(p - start).detach().abs() for p, start in zip(layer.parameters(), before)]
    return weight.sum(1), bias
'''

TASKS += [debug(
    "16c", level=2, minutes=15, core=True, heading="One equation",
    signature="train(seed, steps)", program=PROGRAM,
    random=lambda draw: (draw.randrange(10**6), draw.randint(2, 4)),
    text="""\
Half of the rows of a matrix are frozen, to forget less. One bug is planted. Repair it.

The optimizer is AdamW. It moves a weight even if its gradient is 0: by weight decay, and by
momentum from earlier steps. So the frozen rows are put back after every step.""",
    cases=(
        Case((0, 1), "one step: how far 4 rows move, then 4 biases"),
        Case((0, 3), "three steps"),
        Case((1, 3), "three steps, other rows"),
    ),
    log=("the loss falls; the frozen rows learn, too, or in place of the others",
         "the loss falls as it should; all that is frozen is where it was, nothing else is wrong",
         "the loss stays where it is",
         "the loss falls; the frozen rows learn nothing, but they move towards 0",
         "the loss falls; the frozen weights are where they were, what is added to them is not",
         "the loss is not a number"),
    bugs=(
        Bug("gradients are set to 0, but weight decay still moves the rows",
            """        optimizer.step()
        with torch.no_grad():
            layer.weight[frozen] = kept[0][frozen]
            layer.bias[frozen] = kept[1][frozen]
""", """        layer.weight.grad[frozen] = 0
        layer.bias.grad[frozen] = 0
        optimizer.step()
""", "d", "What does AdamW do with a weight whose gradient is 0?",
            "Weight decay needs no gradient. Look at the weights, not at the gradients."),
        Bug("the frozen rows are drawn again in each step", "        kept = [",
            "        frozen = choose(4, seed + step)\n        kept = [", "a",
            "Print the frozen rows in every step. Are they the same?",
            "A mask that changes freezes nothing in the end."),
        Bug("all rows are frozen",
            """            layer.weight[frozen] = kept[0][frozen]
            layer.bias[frozen] = kept[1][frozen]
""", """            layer.weight[:] = kept[0]
            layer.bias[:] = kept[1]
""", "c",
            "Which rows should still move?",
            "Freezing too much looks like a learning rate that is too small."),
        Bug("the biases of frozen rows are free",
            "            layer.bias[frozen] = kept[1][frozen]\n", "", "e",
            "A row has a weight and a bias. Are both where they were?",
            "A row of a layer is more than a row of its matrix."),
        Bug("the others are frozen",
            """            layer.weight[frozen] = kept[0][frozen]
            layer.bias[frozen] = kept[1][frozen]
""", """            for row in set(range(4)) - set(frozen.tolist()):
                layer.weight[row] = kept[0][row]
                layer.bias[row] = kept[1][row]
""", "a",
            "Which rows does the drawing name, and which ones stand still?",
            "Say for every mask what a 1 means."),
        Bug("the rows are put back to what they were after the step",
            """        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
""", """        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        kept = [p.detach().clone() for p in layer.parameters()]
""", "a", "When is the copy made that is put back?",
            "A copy must be older than the change that it is to undo."),
    ),
    hints=("Which numbers of a frozen row are not 0 at the end?",
           "Lesson 16: which weights stand still, and why gradients of 0 are not enough.",
           "two of the four rows:   weight moved by 0, bias moved by 0"),
)]
