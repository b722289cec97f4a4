"""Tasks of lesson 13."""
import itertools

import numpy as np
import torch
import torch.nn.functional as F

from lessons.grade.cards import Plan, Rule
from lessons.grade.task import Case, Law, Mistake, Task
from nanouft.reward import bradley_terry
from nanouft.rewards import best_of


# ==== A reward model, and best-of-n ===============================================================
# ---- 13a: the loss of a reward model -------------------------------------------------------------
def project_loss(r, ids, end):
    """The project's Bradley-Terry loss on what the head says at each row's first `end`."""
    last = (ids == end).int().argmax(1)
    reward = r.gather(1, last[:, None])[:, 0]
    return bradley_terry(reward[0::2], reward[1::2])


def reward_by_hand(r, ids, end):
    last = [row.tolist().index(end) for row in ids]
    reward = torch.stack([r[i, place] for i, place in enumerate(last)])
    return -F.logsigmoid(reward[0::2] - reward[1::2])


def reward_loss(r, ids, end, at="end", pairs="neighbours", sign=1, form="logsigmoid",
                reduce="none", token=None):
    """The loss of each pair, and its mistakes by flag."""
    end = end if token is None else token
    first = (ids == end).int().argmax(1)
    places = {"end": first, "last": torch.full_like(first, r.shape[1] - 1),
              "before": (first - 1).clamp_min(0),
              "after": (first + 1).clamp_max(r.shape[1] - 1), "first": torch.zeros_like(first)}
    answer = (ids != end).to(r.dtype)
    if at.endswith("with its end"):
        answer = answer.scatter(1, first[:, None], 1)
    if at == "mean":
        reward = r.mean(1)
    elif at.startswith("answer"):
        reward = (r * answer).sum(1) / (answer.sum(1) if "mean" in at else 1)
    else:
        reward = r.gather(1, places[at][:, None])[:, 0]
    if pairs == "halves":
        better, worse = reward.chunk(2)
    else:
        better, worse = reward[0::2], reward[1::2]
    gap = sign * (better - worse)
    forms = {"logsigmoid": -F.logsigmoid(gap), "log(sigmoid)": -torch.log(torch.sigmoid(gap)),
             "no log": 1 - torch.sigmoid(gap), "hinge": torch.relu(1 - gap)}
    loss = forms[form]
    return {"none": loss, "mean": loss.mean(), "sum": loss.sum()}[reduce]


def judged_pairs(random):
    places, end = 5, random.choice([0, 9, 9])
    far = random.choice([1.0, 1.0, 1.0, 100.0])
    r = [[far * random.uniform(-3, 3) for _ in range(places)] for _ in range(4)]
    ids = []
    for _ in range(4):
        length = random.randint(1, places - 2)
        ids.append([random.randint(1, 8) for _ in range(length)] + [end] * (places - length))
    return torch.tensor(r), torch.tensor(ids), end


def padding_does_not_count(loss, args):
    r, ids, end = args
    padding = (ids == end).cumsum(1) > 1
    one, other = loss(r, ids, end), loss(r.masked_fill(padding, 50.0), ids, end)
    return torch.allclose(torch.as_tensor(one), torch.as_tensor(other))


RW = torch.tensor([[5.0, 1, 9, 9], [5, 7, 0, 3]])
IDS = torch.tensor([[4, 9, 9, 9], [4, 4, 9, 9]])
MORE = torch.tensor([[5.0, 1, 9, 9], [5, 7, 0, 3], [2, 6, 3, 1], [1, 2, 4, 8]])
MORE_IDS = torch.tensor([[4, 9, 9, 9], [4, 4, 9, 9], [4, 4, 4, 9], [4, 9, 9, 9]])
FAR = torch.tensor([[5.0, -1000, 9, 9], [5, 7, 0, 3]])
A = Task(
    "13a", "implement", level=2, minutes=15, core=True,
    signature="reward_loss(r, ids, end)",
    text="""The loss of a reward model on P pairs of answers.

r    (2P,T) what the head says after every token. Rows 0 and 1 are the first pair, rows 2
     and 3 the second one, and so on; the chosen answer stands before the rejected one.
ids  (2P,T) the tokens of these rows
end  the id of <|end|>. It is the padding, too: after its <|end|> a row is filled with it.
The reward of an answer is what the head says at its own <|end|>, the first in its row.
Returns (P,), with a gradient by r: Bradley and Terry's loss of each pair. Rewards may be 1000
apart.

With end 9, the rows "4 9 9 9" and "4 4 9 9", and r = 5 1 9 9 and 5 7 0 3,
the rewards are 1 and 0, and the loss is 0.3133.""",
    heading="One equation",
    right=project_loss, by_hand=reward_by_hand,
    model=reward_loss,
    cases=(Case((RW, IDS, 9), "rewards 1 and 0"),
           Case((RW, IDS.masked_fill(IDS == 9, 0), 0), "the same, with end = 0"),
           Case((RW * 0, IDS, 9), "equal rewards"),
           Case((MORE, MORE_IDS, 9), "two pairs: rewards 1, 0 and 1, 2"),
           Case((FAR, IDS, 9), "the chosen answer has 1000 less")),
    random=judged_pairs,
    mistakes=(
        Mistake("the reward is read at the last place, in the padding", {"at": "last"},
                "Which token stands at the place that you read, and what came before it?",
                "The padding is made of <|end|>, too: the first one counts, not the last."),
        Mistake("the number 9 stands for <|end|>, whatever `end` is", {"token": 9},
                "Which of your lines reads `end`?",
                "Every tokenizer has another number for <|end|>."),
        Mistake("the reward is read one place before <|end|>", {"at": "before"},
                "Has the head seen that the answer is over at the place that you read?",
                "Only at <|end|> has the head read the whole answer."),
        Mistake("the reward is read one place after <|end|>", {"at": "after"},
                "Which token stands at the place that you read, and what came before it?",
                "As many tokens as come before <|end|>: that is already its place, from 0."),
        Mistake("the reward is read at place 0", {"at": "first"},
                "How much of the answer has the head read at the place that you read?",
                "A causal model knows nothing of what comes later."),
        Mistake("the reward is the mean over all places", {"at": "mean"},
                "What does the head say in the padding, and does anybody train that?",
                "One number is read for each answer, at its <|end|>."),
        Mistake("the reward is the sum over the tokens before <|end|>", {"at": "answer's sum"},
                "Which of two answers has the larger sum by its length alone?",
                "The head speaks after every token, but only its last word is asked for."),
        Mistake("the reward is the sum over the tokens up to <|end|>",
                {"at": "answer's sum with its end"},
                "Which of two answers has the larger sum by its length alone?",
                "The head speaks after every token, but only its last word is asked for."),
        Mistake("the reward is the mean over the tokens up to <|end|>",
                {"at": "answer's mean with its end"},
                "How much of the answer has the head read at its first token?",
                "Early numbers know little of the answer. One is read, at <|end|>."),
        Mistake("the reward is the mean over the tokens before <|end|>", {"at": "answer's mean"},
                "How much of the answer has the head read at its first token?",
                "Early numbers know little of the answer. One is read, at <|end|>."),
        Mistake("chosen and rejected are exchanged", {"sign": -1},
                "Does your loss fall if the chosen answer gets a higher reward?",
                "The gap is chosen minus rejected."),
        Mistake("the logarithm is taken of a number that has become 0 or infinite",
                {"form": "log(sigmoid)"},
                "What is the sigmoid of -1000 in a computer, and what is its logarithm?",
                "Use logsigmoid. Far out the sigmoid is rounded to 0, and its log is infinite."),
        Mistake("there is no logarithm", {"form": "no log"},
                "What should a pair of equal rewards cost?",
                "The loss is minus the log of the probability that the chosen answer wins."),
        Mistake("it is a hinge: max(0, 1 - gap)", {"form": "hinge"},
                "Does a pair that is won by 3 still cost something in your loss?",
                "Bradley and Terry's loss is minus the log of a sigmoid, and never flat."),
        Mistake("the first half of the rows is paired with the second half", {"pairs": "halves"},
                "In which rows does the second pair stand?",
                "Both layouts are in use. Read how the rows are arranged before you pair them."),
        Mistake("one mean is given for all pairs", {"reduce": "mean"},
                "How many pairs come in, and how many losses should come out?",
                "The loss of each pair is asked for; the loop takes the mean."),
        Mistake("the losses of all pairs are added up", {"reduce": "sum"},
                "How many pairs come in, and how many losses should come out?",
                "The loss of each pair is asked for; the loop takes the mean."),
    ),
    gradients=(0,),
    laws=(Law("what the head says in the padding must not change the loss",
              padding_does_not_count),),
    hints=("Which single number of each row is its reward?",
           "Lesson 13, \"One equation\".",
           "Row 4 9 9 9: the first 9 stands at place 1, and r = 5 1 9 9 says 1 there.\n"
           "Rewards 1 and 0: the loss is -log sigmoid(1) = .3133."))


# ---- 13b: best-of-n ------------------------------------------------------------------------------
def project_best_of(n, likes, scores):
    return float(best_of.best_of(n, np.array(likes), np.array(scores)))


def best_by_hand(n, likes, scores):
    pairs, kept = list(zip(likes, scores)), []
    for subset in itertools.combinations(pairs, n):
        like, score = max(subset)
        kept.append(score)
    return sum(kept) / len(kept)


def best_of_n(n, likes, scores, choose="likes", subsets="all of n", value="scores"):
    """The mean score of the best of n, by counting, and its mistakes by flag."""
    by = {"likes": likes, "scores": scores, "worst": [-x for x in likes]}[choose]
    places = range(len(likes))
    some = {"all of n": itertools.combinations(places, n), "first": [places[:n]],
            "everything": [places], "again": itertools.product(places, repeat=n),
            "one": itertools.combinations(places, 1)}[subsets]
    values = likes if value == "likes" else scores
    kept = [max(subset, key=by.__getitem__) for subset in some]
    if value == "once":
        kept = set(kept)
    if value == "top n":
        kept = sorted(places, key=by.__getitem__)[-n:]
    best = [values[place] for place in kept]
    return max(best) if value == "luckiest" else sum(best) / len(best)


def samples(random):
    N = random.randint(4, 5)
    likes = [float(x) for x in random.sample(range(-9, 10), N)]
    scores = [x / 10 for x in random.sample(range(11), N)]
    return random.randint(1, N - 1), likes, scores


def all_is_the_best(best, args):
    _, likes, scores = args
    return abs(float(best(len(likes), likes, scores)) - scores[likes.index(max(likes))]) < 1e-3


def only_the_order_counts(best, args):
    n, likes, scores = args
    other = best(n, [x ** 3 + 5 for x in likes], scores)
    return abs(float(best(n, likes, scores)) - float(other)) < 1e-3


B = Task(
    "13b", "implement", level=2, minutes=15, core=True,
    signature="best_of_n(n, likes, scores)",
    text="""How good is the answer that a reward likes best of n?

n       how many of N answers to one prompt are drawn, from 1 to N
likes   a list of N numbers: the reward of each answer, all different
scores  a list of N numbers: their exact scores, which the reward does not see
Take every subset of n different answers, and keep from each the answer that is liked best.
Returns the mean score of the kept answers. itertools.combinations helps.

For likes 1 2 3 0 and scores 0 1 .5 .2 it is 0.425 with n = 1 and 0.5833 with n = 2.""",
    heading="Live",
    right=project_best_of, by_hand=best_by_hand,
    model=best_of_n,
    cases=(Case((1, [1.0, 2, 3, 0], [0.0, 1, 0.5, 0.2]), "n = 1"),
           Case((2, [1.0, 2, 3, 0], [0.0, 1, 0.5, 0.2]), "n = 2"),
           Case((4, [1.0, 2, 3, 0], [0.0, 1, 0.5, 0.2]), "n = 4")),
    random=samples,
    mistakes=(
        Mistake("the exact score chooses", {"choose": "scores"},
                "Who chooses the answer, and what does that judge know?",
                "The exact score is not known when an answer is chosen. The reward is."),
        Mistake("the answer that is liked least is kept", {"choose": "worst"},
                "Which answer is kept of likes 1 and 3?",
                "The search keeps the answer with the highest reward."),
        Mistake("only the first n answers are drawn", {"subsets": "first"},
                "Would another order of the answers change your number?",
                "One draw depends on luck. The mean over all subsets does not."),
        Mistake("the best of all N answers is taken, whatever n is", {"subsets": "everything"},
                "What should come out for n = 1?",
                "With n = 1 nothing is chosen: the mean score must come out."),
        Mistake("an answer can be drawn twice", {"subsets": "again"},
                "For n = 4 of 4 answers, how many subsets are there?",
                "The n answers are different samples, so each is drawn at most once."),
        Mistake("nothing is chosen: it is the mean of all scores", {"subsets": "one"},
                "What changes in your number if n grows?",
                "The mean is what n = 1 gives."),
        Mistake("the reward of the chosen answer is returned, not its score", {"value": "likes"},
                "In which unit is the number that you return?",
                "The reward always rises with n. The question is what the score does."),
        Mistake("every kept answer counts once, however many subsets keep it", {"value": "once"},
                "Which answer is kept by most subsets, and how often is it in your mean?",
                "A set drops what comes twice. The mean is over subsets, not over answers."),
        Mistake("it is the mean score of the n best liked", {"value": "top n"},
                "With n = N only one answer is kept. How many are in your mean?",
                "Each subset keeps one answer. The second best liked is kept less often."),
        Mistake("the luckiest subset is taken, not the mean over subsets", {"value": "luckiest"},
                "How many subsets are there, and how many does your number use?",
                "The best draw says what could happen; the mean says what to expect."),
    ),
    laws=(Law("only the order of the likes may count, not their size", only_the_order_counts),
          Law("with n = N it must be the score of the best liked", all_is_the_best)),
    hints=("Two lists: which one chooses, and which one is averaged?",
           "Lesson 13, \"Live\", the last lines before the code.",
           "likes 1 2 3 0, n = 2: there are 6 subsets. Of answers 0 and 1 the second is kept.\n"
           "The kept scores are 1 .5 0 .5 1 .5, and their mean is .5833."))

TASKS = [A, B]


# ==== A plan of an experiment =====================================================================
TEMPLATE = '''
# How many of the sixty pairs are about ... (the names of these creatures exist, or they do not)
unknown_names = ""          # questions about creatures that do not exist
known_names = ""            # questions about creatures that do exist
sums_and_sorting = ""       # questions whose answer can be computed

# In how many of the sixty is "I do not know." the chosen answer, in how many the rejected one?
chosen_says_it = ""
rejected_says_it = ""

prompts_from = ""           # "train", "val" or "test"
measured_by = ""            # "accuracy of the reward model on pairs" or "exact score of best-of-64"
measured_on = ""            # "train", "val" or "test"
'''

SPLITS = ("train", "val", "test")
MEASURES = ("accuracy of the reward model on pairs", "exact score of best-of-64")
ALLOWED = dict.fromkeys(("unknown_names", "known_names", "sums_and_sorting", "chosen_says_it",
                         "rejected_says_it"), (0, 60)) | {
    "prompts_from": SPLITS, "measured_by": MEASURES, "measured_on": SPLITS}
GOOD = {"unknown_names": 20, "known_names": 30, "sums_and_sorting": 10, "chosen_says_it": 20,
        "rejected_says_it": 40, "prompts_from": "train",
        "measured_by": "exact score of best-of-64", "measured_on": "val"}


def total(plan: dict) -> int:
    return plan["unknown_names"] + plan["known_names"] + plan["sums_and_sorting"]


TASKS += [Plan(
    "13c", level=3, minutes=25, core=False, heading="Live", template=TEMPLATE, example=GOOD,
    allowed=ALLOWED,
    text="""\
Lesson 13's reward model has a hole: best-of-64 finds that "I do not know." earns much, also where
the answer is known: of creatures that exist, and in sums and sorting. You may write sixty more
pairs. Which?""",
    rules=(
        Rule(Mistake("the pairs are about unknown names only", {},
                     "Where is the sentence right, and where is it the hole?",
                     "The hole is where the answer is known. Pairs must stand there, too."),
             lambda plan: plan["known_names"] + plan["sums_and_sorting"] == 0,
             {"unknown_names": 60, "known_names": 0, "sums_and_sorting": 0, "chosen_says_it": 30,
              "rejected_says_it": 30}),
        Rule(Mistake("the sentence never loses", {},
                     "From which pair could the reward model learn that the sentence can be wrong?",
                     "What always wins in the pairs always wins in the search."),
             lambda plan: plan["rejected_says_it"] == 0,
             {"rejected_says_it": 0, "chosen_says_it": 60}),
        Rule(Mistake("the sentence always loses", {},
                     "What will the model say about a creature that does not exist?",
                     "A hole that is closed too hard opens another: invented answers."),
             lambda plan: plan["chosen_says_it"] == 0,
             {"chosen_says_it": 0, "rejected_says_it": 60}),
        Rule(Mistake("all known questions are of one family", {},
                     "Does the reward model know that a sum is like a question about a creature?",
                     "A lesson about one family need not reach another."),
             lambda plan: (plan["known_names"] == 0) != (plan["sums_and_sorting"] == 0),
             {"known_names": 40, "sums_and_sorting": 0}),
        Rule(Mistake("there are not sixty pairs", {}, "How many pairs are there in all?",
                     "The budget is part of the task."),
             lambda plan: total(plan) != 60
             or plan["chosen_says_it"] + plan["rejected_says_it"] > 60,
             {"known_names": 50}),
        Rule(Mistake("the prompts of the measurement are used for training", {},
                     "Which questions should the model meet for the first time when you measure?",
                     "Whoever trains on the test has measured memory."),
             lambda plan: plan["prompts_from"] != "train" or plan["measured_on"] == "train",
             {"prompts_from": "test", "measured_on": "test"}),
        Rule(Mistake("accuracy on pairs is measured, not what the search finds", {},
                     "Which number looked fine while the hole was there?",
                     "A reward is judged by what it does when it is optimised."),
             lambda plan: plan["measured_by"] == MEASURES[0],
             {"measured_by": "accuracy of the reward model on pairs"}),
    ),
    hints=("Where is the sentence the right answer, and where does it only pay?",
           'Lesson 13, "Live".',
           "one pair:   What is 3 plus 4?   chosen: 7   rejected: I do not know."),
)]
