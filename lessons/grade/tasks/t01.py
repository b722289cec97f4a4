"""Tasks of lesson 01."""
import math
from random import Random

import torch
import torch.nn.functional as F

from lessons.grade.debug import Bug, debug
from lessons.grade.task import Case, Law, Mistake, Task


# ==== Attention, and the loss of the next token ===================================================
# ---- 01a -----------------------------------------------------------------------------------------
def attention(q, k, v):
    """PyTorch's own, which the GPT of this project calls."""
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def attention_by_hand(q, k, v):
    T, h = q.shape[-2:]
    scores = q @ k.transpose(-1, -2) / math.sqrt(h)             # (B,T,T)
    seen = torch.ones(T, T).tril() > 0                          # row i: places 0 to i
    return scores.masked_fill(~seen, -math.inf).softmax(-1) @ v


def attention_model(q, k, v, scale="root", over=-1, mask="right"):
    T, h = q.shape[-2:]
    divisor = {"root": math.sqrt(h), "none": 1, "h": h, "contents": math.sqrt(v.shape[-1])}[scale]
    scores = q @ k.transpose(-1, -2) / divisor                          # (B,T,T)
    diagonal = {"not itself": -1, "large": -1, "one ahead": 1}.get(mask, 0)
    seen = torch.tril(torch.ones(T, T, dtype=torch.bool), diagonal)
    seen = seen.T if mask == "upside down" else seen
    if mask == "after":
        return (scores.softmax(over) * seen) @ v
    if mask == "minus one":
        return (scores - (~seen).float()).softmax(over) @ v
    if mask != "none":
        scores = scores.masked_fill(~seen, {"zero": 0, "large": -1e9}.get(mask, -math.inf))
    return scores.softmax(over) @ v


def random_attention(rng: Random):
    torch.manual_seed(rng.randrange(10**6))
    B, T, h = rng.randint(1, 2), rng.randint(2, 4), rng.choice([2, 3, 8])
    return torch.randn(B, T, h), torch.randn(B, T, h), torch.randn(B, T, rng.choice([1, 2, 5]))


def future_is_hidden(attention, args) -> bool:
    """Another last key and content: the outputs before the last place stay."""
    q, k, v = args
    if q.shape[1] < 2:
        return True
    other_k, other_v = k.clone(), v.clone()
    other_k[:, -1] += 1
    other_v[:, -1] += 1
    before, after = attention(q, k, v), attention(q, other_k, other_v)
    return torch.allclose(before[:, :-1], after[:, :-1], atol=1e-4)


def adds_up_to_one(attention, args) -> bool:
    q, k, v = args
    return torch.allclose(attention(q, k, torch.ones_like(v)), torch.ones_like(v), atol=1e-4)


LN3 = math.log(3)
Q = torch.tensor([[[1.0, 1, 1, 1], [1, 1, 1, 1], [2, 0, 0, 0]]])
K = torch.tensor([[[LN3 / 2] * 4, [0.0] * 4, [0, 0, 0, 1]]])
V = torch.tensor([[[0.0, 1], [4, 1], [8, 1]]])

ATTENTION = Task(
    "01a", "implement", level=2, minutes=20, core=True,
    signature="attention(q, k, v)",
    text="""Causal attention, without PyTorch's own function for it.

    q, k    (B,T,h) what each place asks with, and the label of each place
    v       (B,T,c) the content of each place
    return  (B,T,c) what each place fetches: a weighted mean of the contents v

The weights of place i are a softmax over all places j up to and including i. The softmax runs
over the scores q_i . k_j / sqrt(h). Places after i get weight 0. (B rows of T places, h numbers
each.) In the cases, the second number of each content is 1. So the second number of each output
is the sum of the weights of that place.
Example with T = 2, h = 4: q = 1 1 1 1 at both places. k_0 is such that q . k_0 = 2 ln 3, and
k_1 is 0. The contents are 0 and 4. Place 0 sees only itself: 0. Place 1 has the scores ln 3 and
0, so the weights 3/4 and 1/4, and fetches 1.""",
    heading="One equation",
    right=attention, by_hand=attention_by_hand,
    model=attention_model,
    cases=(
        Case((Q[:, :1], K[:, :1], V[:, :1]), "one place: it sees itself"),
        Case((Q[:, :2], K[:, :2], V[:, :2]), "two places, the example"),
        Case((Q, K, V), "three places"),
    ),
    random=random_attention,
    laws=(Law("another last place must not change the places before it", future_is_hidden),
          Law("the weights of each place must add up to 1", adds_up_to_one)),
    mistakes=(
        Mistake("the scores are not divided by the square root of h", dict(scale="none"),
                "With larger h, how do the scores grow, and what does the softmax do then?",
                "A sum of h products grows with the root of h. Divide, or the softmax saturates."),
        Mistake("the scores are divided by h, not by its square root", dict(scale="h"),
                "How large is a sum of h random products: h, or the square root of h?",
                "The standard deviation of a sum of h products is the root of h."),
        Mistake("the scores are divided by the root of the width of v", dict(scale="contents"),
                "Over how many numbers does the sum q . k run?",
                "The scores are sums of h products. What v holds has no part in them."),
        Mistake("the softmax runs over the places that ask", dict(over=-2),
                "Each place shares out one unit of attention. Along which axis is that?",
                "Each row of scores belongs to the place that asks. Each row must add up to 1."),
        Mistake("the mask is applied after the softmax", dict(mask="after"),
                "What do the remaining weights of the first place add up to?",
                "What is cut off after the softmax is lost. Mask the scores before it."),
        Mistake("a place may not look at itself", dict(mask="not itself"),
                "What can the first place look at?",
                "A place has read its own token. It may use it; it must not see the next one."),
        Mistake("the diagonal is masked, too: the first place looks at all places alike",
                dict(mask="large"),
                "What can the first place look at?",
                "If all scores of a row are equally low, the softmax makes all weights equal."),
        Mistake("each place sees one place of the future", dict(mask="one ahead"),
                "Which token is place i asked to predict, and can it see that token?",
                "One place ahead is just the answer. The training loss then goes to 0."),
        Mistake("the mask is upside down", dict(mask="upside down"),
                "Which places can the last place of a row see?",
                "Draw the matrix: rows ask, columns are looked at. The upper right is forbidden."),
        Mistake("the mask subtracts 1, not infinity", dict(mask="minus one"),
                "Which weight has a forbidden place after your softmax?",
                "A softmax makes a weight 0 only where the score is minus infinity."),
        Mistake("the mask sets scores to 0, not to minus infinity", dict(mask="zero"),
                "e to the power of 0 is 1. Which weight has a forbidden place after that?",
                "A score of 0 is a score like any other. Only minus infinity means: never."),
        Mistake("nothing is masked", dict(mask="none"),
                "What does the first place fetch, if it may see one place only?",
                "Without the mask, the answer is read off the right: lesson 01's second model."),
    ),
    hints=("Which axis of the (T,T) scores is the place that asks?",
           "Lesson 01, \"One equation\": the matrix M, and when it is added.",
           "scores of place 1:   ln 3, 0, 0.7   ->   ln 3, 0, -inf\n"
           "its weights:         3/4, 1/4, 0"),
)


# ---- 01b -----------------------------------------------------------------------------------------
def next_token_loss(logits, ids):
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())


def next_token_by_hand(logits, ids):
    logp = logits[:, :-1].log_softmax(-1)
    return -logp.gather(-1, ids[:, 1:, None]).mean()


def loss_model(logits, ids, shift=1, over=-1, log=True, unit=1.0, mean="all", sign=-1):
    T = ids.shape[1]
    places = {1: slice(0, T - 1), 0: slice(0, T), -1: slice(1, T)}[shift]
    targets = {1: slice(1, T), 0: slice(0, T), -1: slice(0, T - 1)}[shift]
    chosen = ids[:, targets, None]
    if log == "twice":
        logits = logits.softmax(-1)
    logp = logits[:, places].log_softmax(over).gather(-1, chosen)[..., 0]       # (B,T-1)
    found = logp / unit if log else logp.exp()
    if mean == "of p":
        return sign * found.exp().mean().log()
    if mean in ("sum", "places"):
        return sign * found.sum() / (ids.numel() if mean == "places" else 1)
    return sign * (found.sum(1).mean() if mean == "rows" else found.mean())


def random_loss(rng: Random):
    torch.manual_seed(rng.randrange(10**6))
    B, T, n = rng.randint(2, 3), rng.randint(3, 4), rng.randint(4, 6)
    return 2 * torch.randn(B, T, n), torch.randint(n, (B, T))


def shift_of_logits(loss, args) -> bool:
    logits, ids = args
    return abs(float(loss(logits + 3, ids)) - float(loss(logits, ids))) < 1e-3


def last_place_is_free(loss, args) -> bool:
    logits, ids = args
    other = logits.clone()
    other[:, -1] = other[:, -1].flip(-1)
    return abs(float(loss(other, ids)) - float(loss(logits, ids))) < 1e-4


P = torch.tensor([[[0.5, 0.25, 0.25], [0.25, 0.5, 0.25], [0.8, 0.1, 0.1]],
                  [[0.1, 0.8, 0.1], [0.25, 0.25, 0.5], [0.2, 0.3, 0.5]]])
IDS = torch.tensor([[0, 1, 1], [2, 1, 2]])
SURE = torch.tensor([[[0.0, 40, 0], [0, 0, 40], [0, 0, 0]]])

LOSS = Task(
    "01b", "implement", level=2, minutes=15, core=True,
    signature="next_token_loss(logits, ids)",
    text="""The loss of a language model: how surprised is it by the next token, on average?

    logits  (B,T,V) at each place a number for each token that could come NEXT
    ids     (B,T)   the tokens themselves
    return  one number, in nats (natural logarithm); its gradient must flow to the logits

The logits at place t are about the token at place t + 1. So nobody predicts ids[:, 0], and the
logits of the last place are not used. The loss is minus the log-probability of the true next
token, as a mean over all B (T - 1) predictions.
Example: B = 1, T = 3, V = 3, ids 0 1 1. The probabilities are (.5 .25 .25) at place 0, and
(.25 .5 .25) at place 1. Token 1 got .25, then token 1 got .5: (ln 4 + ln 2) / 2 = 1.0397.""",
    heading="The loop that teaches it",
    right=next_token_loss, by_hand=next_token_by_hand,
    model=loss_model,
    cases=(
        Case((torch.zeros(1, 2, 4), torch.tensor([[0, 3]])), "equal logits, 4 tokens"),
        Case((SURE, torch.tensor([[0, 1, 2]])), "certain and right"),
        Case((P[:1].log(), IDS[:1]), "one row, the example"),
        Case((P.log(), IDS), "two rows"),
    ),
    random=random_loss, gradients=(0,),
    laws=(Law("adding 3 to all logits must change nothing", shift_of_logits),
          Law("the logits of the last place must not be used", last_place_is_free)),
    mistakes=(
        Mistake("each place predicts the token that it has just read", dict(shift=0),
                "Place t has read token t. Which token should it name?",
                "Predicting what is already there is easy, and it teaches nothing: shift by one."),
        Mistake("the shift goes the wrong way", dict(shift=-1),
                "Is the answer for place t on its left or on its right?",
                "Targets are ids[:, 1:]; the logits that lose a place lose the last one."),
        Mistake("the softmax runs over the places", dict(over=1),
                "Between what does the model choose: between tokens, or between places?",
                "At each place the probabilities of all V tokens add up to 1."),
        Mistake("the softmax runs over the rows of the batch", dict(over=0),
                "Between what does the model choose: between tokens, or between rows?",
                "At each place the probabilities of all V tokens add up to 1."),
        Mistake("the probability is taken without its logarithm", dict(log=False),
                "What should a token cost that was held for nearly impossible?",
                "Minus p is never below -1. The logarithm makes confident mistakes expensive."),
        Mistake("the softmax is taken twice", dict(log="twice"),
                "What does cross_entropy or log_softmax do with the numbers that it gets?",
                "cross_entropy has a softmax inside. A second one makes all tokens nearly equal."),
        Mistake("the sum is divided by B T, though nobody predicts the first tokens",
                dict(mean="places"),
                "How many predictions are there in a row of T tokens?",
                "T tokens ask T - 1 questions. The divisor counts predictions, not tokens."),
        Mistake("the loss is in bits, not in nats", dict(unit=math.log(2)),
                "Which base has your logarithm?",
                "Bits are nats divided by ln 2. PyTorch and this course use nats."),
        Mistake("the losses are added up, with no mean", dict(mean="sum"),
                "What happens to your loss if the batch is twice as large?",
                "A sum grows with the batch, and so would the steps of training."),
        Mistake("the mean is over rows only, and each row is a sum", dict(mean="rows"),
                "What happens to your loss if rows are twice as long?",
                "The loss is per token: divide by all predictions, not by the rows."),
        Mistake("the logarithm is taken of the mean probability", dict(mean="of p"),
                "In which order do you take the mean and the logarithm?",
                "First the log of each token, then the mean. A text's log-probs add up."),
        Mistake("the sign is missing", dict(sign=1),
                "The loss should fall as the true token gets likelier. Does yours?",
                "Log-probs are below 0. A loss is minus their mean, so it is above 0."),
    ),
    hints=("Which logits are about ids[:, 1]?",
           "Lesson 01, \"The loop that teaches it\": inputs ids[:, :-1], targets ids[:, 1:].",
           "ids 5 3 7: place 0 must name 3, place 1 must name 7, place 2 is not asked\n"
           "probabilities .25 and .5 for these -> (1.386 + 0.693) / 2"),
)

TASKS = [ATTENTION, LOSS]


# ==== A program with a bug: the loop that makes a model talk ======================================
PROGRAM = '''
def likeliest(scores):
    """The number of the largest score."""
    return max(range(len(scores)), key=lambda token: scores[token])


def generate(step, start, end, max_new):
    """The answer of a model: at most max_new tokens, without `end`.

    step    step(ids) -> a score for each token that could come next
    start   the tokens of the prompt
    """
    ids = list(start)
    answer = []
    for _ in range(max_new):
        token = likeliest(step(ids))
        if token == end:
            break
        answer.append(token)
        ids.append(token)
    return answer
'''


def sums(n: int):
    """A model of n tokens: the next token is the sum of all tokens so far, modulo n."""
    def step(ids):
        return [float(token == sum(ids) % n) for token in range(n)]
    return step


def random_prompt(draw):
    n = draw.randint(5, 9)
    start = [draw.randrange(n) for _ in range(draw.randint(2, 4))]
    return sums(n), start, draw.randrange(n), draw.randint(3, 6)


TASKS += [debug(
    "01c", level=2, minutes=10, core=False, heading="The loop that teaches it",
    signature="generate(step, start, end, max_new)", program=PROGRAM, random=random_prompt,
    text="""\
A model talks: it names a token, reads it, names the next one. One bug is planted. Repair it.

The model of the tests is a joke: its next token is the sum of all tokens so far, modulo 5. After
1 2 it says 3, then 6 modulo 5 = 1, then 2 ... With end = 2 the answer is 3 1.""",
    cases=(
        Case((sums(5), [1, 2], 4, 2), "start 1 2, end 4, at most 2"),
        Case((sums(5), [1, 2], 4, 6), "start 1 2, end 4, at most 6"),
        Case((sums(5), [1, 2], 2, 6), "start 1 2, end 2, at most 6"),
        Case((sums(7), [3, 3, 2], 1, 4), "seven tokens, start 3 3 2, end 1"),
    ),
    log=("the training loss is higher", "the training loss is lower",
         "the training loss is the same, answers have more tokens than they should",
         "the training loss is the same, answers lose the thread after a token or two",
         "the training loss is not a number",
         "the training loss is the same, answers are never the likeliest words"),
    bugs=(
        Bug("only the last token is read", "likeliest(step(ids))", "likeliest(step(ids[-1:]))", "d",
            "What does the model know of the prompt when it names its second word?",
            "A model has no memory but its input: all tokens so far."),
        Bug("only the prompt is read", "likeliest(step(ids))", "likeliest(step(start))", "dc",
            "How does the model learn what it has just said?",
            "What is said must become part of the input."),
        Bug("the end token is kept in the answer",
            "            break\n        answer.append(token)",
            "            answer.append(token)\n            break\n        answer.append(token)",
            "c",
            "Is the end token a word for the reader?",
            "The end token is for the loop, not for the reader."),
        Bug("the end token stops nothing", "            break\n", "            pass\n", "c",
            "What should the loop do when the model says that it is done?",
            "A loop that ignores the end talks until max_new."),
        Bug("the answer may be one token too long", "range(max_new)", "range(max_new + 1)", "c",
            "How many times does the loop run if max_new is 1?",
            "Count the passes of the loop for max_new = 1."),
        Bug("the least likely token is taken", "    return max(", "    return min(", "f",
            "Which of the scores does the loop follow?",
            "Training never calls this loop. Only reading answers shows its bugs."),
        Bug("a token is named twice as input", "        ids.append(token)",
            "        ids += [token, token]", "d",
            "After two new words, how many tokens are in ids?",
            "The input must be exactly what was said, once."),
    ),
    hints=("Follow the second pass of the loop by hand. What is in ids?",
           "Lesson 01: the causal model, and how it talks.",
           "start 1 2, end 4:   3, 1, 2   then 9 modulo 5 = 4: the end.\nSo the answer is 3 1 2."),
)]
