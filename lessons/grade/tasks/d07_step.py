"""Debug task of lesson 07: a whole DPO training on a model of six tokens."""
from lessons.grade.debug import Bug, debug
from lessons.grade.task import Case

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


TASKS = [debug(
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
         "the loss falls, the margin rises; the KL from the start model is not what beta asks for",
         "the loss begins at log 2 and falls, but more slowly or faster than it should",
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
        Bug("beta is forgotten", "h = beta * (", "h = 1.0 * (", "d",
            "What changes in your run if beta is halved?",
            "beta decides how far the policy may go before a pair counts as won."),
    ),
    hints=("Compute the first loss by hand. Which terms cancel?",
           'Lesson 07, "From pairs to a loss": which of the five numbers of a pair may change?',
           "case 1:   loss 0.6931\nthe reference moved by 0"),
)]
