"""Tasks of lesson 14."""
import torch

from lessons.grade import forms
from lessons.grade.debug import Bug, debug
from lessons.grade.task import Case, Law, Mistake, Task
from nanouft.objective import Batch, Columns, Seqs
from nanouft.objectives import grpo
from nanouft.objectives.grpo import standardised
from nanouft.objectives.rloo import leave_one_out


# ==== What is a score compared with? ==============================================================
def scores(random):
    """(P,K) scores of K answers to P prompts; K is never 4."""
    P, K = random.randint(2, 3), random.choice([3, 5])
    rows = [random.sample([0.0, 0.1, 0.3, 0.5, 0.8, 1.0], K) for _ in range(P)]
    if random.random() < 0.3:
        rows[0] = [0.5] * K
    if random.random() < 0.3:                       # nearly equal: here 1e-4 counts
        rows[-1] = [0.5] * (K - 1) + [random.choice([0.5005, 0.501])]
    return (torch.tensor(rows),)


def a_constant_changes_nothing(advantages, args):
    R = args[0]
    one, other = torch.as_tensor(advantages(R)), torch.as_tensor(advantages(R + 3))
    return torch.allclose(one, other, atol=1e-3)


def adds_up_to_zero(advantages, args):
    A = torch.as_tensor(advantages(args[0])).reshape(args[0].shape)
    return A.sum(1).abs().max().item() < 1e-3


# ---- 14a: RLOO -----------------------------------------------------------------------------------
def rloo(R, baseline="others", down=False, sign=1):
    """RLOO's advantages, and the mistakes by flag."""
    R = R.T if down else R
    K, total = R.shape[1], R.sum(1, keepdim=True)
    own = R.mean(1, keepdim=True)
    if baseline == "spread":
        A = (R - own) / (R.std(1, keepdim=True) + 1e-4)
    elif baseline == "scaled batch":
        A = (R - R.mean()) * K / (K - 1)
    else:
        A = R - {"others": (total - R) / (K - 1), "own": own, "sum": total - R,
                 "K": (total - R) / K, "batch": R.mean(), "four": (total - R) / 3}[baseline]
    return sign * (A.T if down else A)


A = Task(
    "14a", "implement", level=2, minutes=10, core=True,
    signature="rloo(R)",
    text="""RLOO's advantages: each score minus the mean score of the OTHER answers to its prompt.

R  (P,K) the scores of K answers to each of P prompts; K is at least 2
Returns (P,K).

The scores 1 0 0 0 of one prompt become 1 -.3333 -.3333 -.3333.""",
    heading="One equation",
    right=leave_one_out, model=rloo,
    cases=(Case((torch.tensor([[1.0, 0, 0, 1], [1, 0, 0, 0]]),), "two prompts, four answers each"),
           Case((torch.tensor([[1.0, 0, 0.5], [0.5, 0.5, 0.5]]),), "two prompts, three each")),
    random=scores,
    mistakes=(
        Mistake("the answer's own score is in its baseline", {"baseline": "own"},
                "May the baseline know the answer that it is compared with?",
                "The own score in the baseline makes all advantages too small by (K - 1) / K."),
        Mistake("the scores of a prompt are read down, not across", {"down": True},
                "Which of the two dimensions are the answers to one prompt?",
                "Answers to different prompts are compared. No error says so."),
        Mistake("the others' scores are added up, not averaged", {"baseline": "sum"},
                "All answers have score 1. What should their advantages be?",
                "Four equal scores must give 0: the baseline is a mean."),
        Mistake("the others' sum is divided by K", {"baseline": "K"},
                "How many OTHER answers are there?",
                "There are K - 1 others, so a mean of them divides by K - 1."),
        Mistake("scores minus the mean of all prompts are multiplied by K / (K - 1)",
                {"baseline": "scaled batch"},
                "One prompt is easy, one is hard. What is a good score for each?",
                "The factor is right; the mean must be that of the prompt's own answers."),
        Mistake("the mean of all prompts is the baseline", {"baseline": "batch"},
                "One prompt is easy, one is hard. What is a good score for each?",
                "The mean of the whole batch does not know how hard the prompt is."),
        Mistake("the sign is turned", {"sign": -1},
                "Is the advantage of the best answer above 0?",
                "Score minus baseline: better than the others is positive."),
        Mistake("it is divided by the spread: that is GRPO", {"baseline": "spread"},
                "Scores 1 0 and scores .6 .5: should both push equally hard here?",
                "RLOO keeps the size of the difference; GRPO divides it out."),
        Mistake("the number of answers is always taken for 4", {"baseline": "four"},
                "What changes in your function for three answers?",
                "A number that comes from the example belongs to the shape of R."),
    ),
    laws=(Law("the advantages of one prompt must add up to 0", adds_up_to_zero),
          Law("a constant added to all scores must change nothing", a_constant_changes_nothing)),
    hints=("Which scores know how hard the prompt is, and nothing of this answer?",
           "Lesson 14, \"One equation\": the baseline of RLOO.",
           "1 0 .5: the first answer's others have the mean .25, so its advantage is .75.\n"
           "The second one's have .75: -.75."))


# ---- 14b: GRPO -----------------------------------------------------------------------------------
def project_advantages(R):
    return standardised(R).detach()


def grpo_by_hand(R):
    spread = R.std(1, keepdim=True) + 1e-4
    return ((R - R.mean(1, keepdim=True)) / spread).detach()


def grpo_model(R, spread="sample", careful=True, down=False, centred=True, detached=True):
    """GRPO's advantages, and the mistakes by flag."""
    R = R.T if down else R
    spreads = {"sample": R.std(1, keepdim=True),
               "population": R.std(1, keepdim=True, correction=0),
               "batch": R.std(), "variance": R.var(1, keepdim=True),
               "inside": (R.var(1, keepdim=True) + 1e-4).sqrt() - 1e-4,
               "0.01": R.std(1, keepdim=True) + 0.01 - 1e-4,
               "1e-8": R.std(1, keepdim=True) + 1e-8 - 1e-4}
    A = R - R.mean(1, keepdim=True) if centred else R
    if centred == "over all":
        A = R - R.mean()
    if spread == "times":
        A = A * (R.std(1, keepdim=True) + 1e-4)
    elif spread != "none":
        A = A / (spreads[spread] + (1e-4 if careful else 0))
    A = A.T if down else A
    return A.detach() if detached else A


B = Task(
    "14b", "implement", level=2, minutes=10, core=False,
    signature="grpo(R)",
    text="""GRPO's advantages: the scores of each prompt, centred and divided by their spread.

R  (P,K) the scores of K answers to each of P prompts
The spread is the standard deviation (its sum is divided by K - 1) plus 1e-4.
Returns (P,K), without gradient: R may hold a KL penalty that is made of log-probs.

1 0 0 becomes 1.1545 -.5773 -.5773, and .5 .5 .5 becomes 0 0 0.""",
    heading="One equation",
    right=project_advantages, by_hand=grpo_by_hand,
    model=grpo_model,
    cases=(Case((torch.tensor([[1.0, 0, 0], [0.5, 0.5, 0.5]]),), "two prompts, one of equals"),
           Case((torch.tensor([[1.0, 1, 1, 0.9], [1, 1, 1, 0]]),), "nearly all right"),
           Case((torch.tensor([[0.5, 0.5, 0.501]]),), "nearly equal")),
    random=scores,
    mistakes=(
        Mistake("the spread is divided by K, not K - 1", {"spread": "population"},
                "Which standard deviation is asked for: of the sample or of the population?",
                "With few answers it matters: K = 3 makes all pushes 22 % larger."),
        Mistake("a group of equal scores is divided by 0", {"careful": False},
                "What is the spread of .5 .5 .5, and what do you divide by it?",
                "0 / 0 is no number, and it makes the whole step not a number."),
        Mistake("the scores of a prompt are read down, not across", {"down": True},
                "Which of the two dimensions are the answers to one prompt?",
                "Answers to different prompts are compared. No error says so."),
        Mistake("the spread of the whole batch is used", {"spread": "batch"},
                "Should a nearly solved prompt push as hard as a mixed one?",
                "The spread of each group makes all prompts count equally, the solved ones too."),
        Mistake("the variance is used, not the standard deviation", {"spread": "variance"},
                "If all scores are doubled, should the advantages change?",
                "The variance has another unit: scores in percent would push less."),
        Mistake("1e-4 stands inside the root", {"spread": "inside"},
                "What is the root of 1e-4?",
                "Inside the root 1e-4 becomes 0.01, a hundred times as much."),
        Mistake("0.01 is added to the spread, not 1e-4", {"spread": "0.01"},
                "How many zeros has 1e-4?",
                "The number only keeps a group of equals from dividing by 0. Small is enough."),
        Mistake("much less than 1e-4 is added to the spread", {"spread": "1e-8"},
                "Scores .5 .5 .5005: how large is their spread, and how much is 1e-4 of it?",
                "With a tiny number, a group of nearly equal scores pushes as hard as any."),
        Mistake("mean and spread are those of all prompts", {"centred": "over all",
                                                             "spread": "batch"},
                "One prompt is easy, one is hard. What is a good score for each?",
                "A score is compared with the other answers to its prompt: the G is for group."),
        Mistake("it is multiplied by the spread", {"spread": "times"},
                "Which group should be pushed harder by GRPO: a narrow one or a wide one?",
                "Divide: then every group has the same size of advantages."),
        Mistake("the scores are not centred", {"centred": False},
                "What should an answer push that is as good as the mean?",
                "Without the mean every score above 0 is pushed up, the worst one, too."),
        Mistake("it is not divided by the spread: that is Dr. GRPO", {"spread": "none"},
                "How hard should 1 1 1 .9 push, compared with 1 1 1 0?",
                "Without the spread a small difference pushes little."),
        Mistake("gradient flows through the advantages", {"detached": False},
                "What may training change: the log-probs, or the grades that they get?",
                "An advantage is a weight. With gradient the policy learns to change it."),
    ),
    gradients=(0,),
    laws=(Law("the advantages of one prompt must add up to 0", adds_up_to_zero),
          Law("a constant added to all scores must change nothing", a_constant_changes_nothing)),
    hints=("Two steps: which one is the comparison, and which one sets the size?",
           "Lesson 14, \"One equation\": the advantage of GRPO.",
           "1 0 0 has the mean 1/3 and the standard deviation .5774.\n"
           "2/3 divided by .5775 is 1.1545."))

TASKS = [A, B]


# ==== How do the tokens of a step add up? =========================================================
def project_aggregate(loss, mask, how):
    """The project's GRPO with ratios: at advantage -1 a token pays its ratio. These are 1 more than
    the losses, and what a ratio of 1 pays is taken off: a loss of 0 has no logarithm. eps is so
    large that nothing is clipped."""
    none = torch.zeros_like(loss)
    hp = grpo.GRPO(beta=0.0, aggregation=how, length=loss.shape[1], eps=100.0)

    def pays(ratio):
        answer = Seqs(mask, mask, mask, mask, logp=ratio.log(), ref_logp=none, sampled_logp=none)
        batch = Batch.of({"answer": answer}, Columns(advantage=-torch.ones(len(loss))))
        return grpo.loss(batch, hp)[0]
    return pays(loss + 1) - pays(none + 1)


def aggregate_by_hand(loss, mask, how):
    sums, n = (loss * mask).sum(1), mask.sum(1)
    if how == "grpo":
        return (sums / n).mean()
    if how == "dapo":
        return sums.sum() / n.sum()
    return sums.mean() / loss.shape[1]


def aggregate(loss, mask, how, asked="as asked", unmasked=(), constant="T", rows="mean",
              tokens="mask"):
    """The mean loss of a step in three ways, and the mistakes by flag."""
    exchanged = {"grpo": "dapo", "dapo": "grpo"}
    how = {"as asked": how, "exchanged": exchanged.get(how, how)}.get(asked, asked)
    mask = torch.ones_like(mask) if how in unmasked else mask
    if tokens == "first places":
        mask = mask.sort(1, descending=True).values
    n = (mask * (loss != 0) if tokens == "not 0" else mask).sum(1)
    each = (loss * mask).sum(1)
    if how == "dapo":
        return each.sum() / n.sum()
    constants = {"T": loss.shape[1], "longest": n.max(), "none": 1}
    each = each / (n if how == "grpo" else constants[constant])
    return each.mean() if rows == "mean" else each.sum()


def answers(random):
    T = random.randint(4, 6)
    mask = [forms.mask(random, T) for _ in range(3)]
    some = random.choice([0.0, 0.1])                # a certain token has loss 0
    loss = [[random.choice([some, random.uniform(0.1, 3)]) for _ in range(T)] for _ in mask]
    return torch.tensor(loss), torch.tensor(mask), random.choice(["grpo", "dapo", "dr_grpo"])


def padding_does_not_count(mean, args):
    loss, mask, how = args
    value = float(mean(loss, mask, how))
    return how == "dr_grpo" or abs(value - float(mean(loss + 7 * (1 - mask), mask, how))) < 1e-3


LOSS = torch.tensor([[2.0, 9, 9, 9, 9, 9], [1, 1, 1, 1, 9, 9]])
MASK = torch.tensor([[1.0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 0, 0]])
LATER, LATER_MASK = torch.tensor([[9.0, 0, 2], [9, 3, 9]]), torch.tensor([[0.0, 1, 1], [0, 1, 0]])
TASKS += [Task(
    "14c", "implement", level=2, minutes=10, core=False,
    signature="aggregate(loss, mask, how)",
    text="""One number for the losses of all tokens of a step, in three ways.

loss  (B,T) the loss of each token of B answers
mask  (B,T) 1 on the tokens of an answer, 0 elsewhere: prompt, padding
how   "grpo": the mean over the tokens of an answer, then the mean over answers
      "dapo": the mean over all tokens of all answers
      "dr_grpo": the sum over all tokens, divided by B times T, padding counted
Returns one number, with a gradient by loss.

Take two answers with the losses 2 and 1 1 1 1, and T = 6.
"grpo" gives 1.5, "dapo" 1.2 and "dr_grpo" 0.5.""",
    heading="The proof",
    right=project_aggregate, by_hand=aggregate_by_hand,
    model=aggregate,
    cases=(Case((LOSS, MASK, "grpo"), '"grpo"'), Case((LOSS, MASK, "dapo"), '"dapo"'),
           Case((LOSS, MASK, "dr_grpo"), '"dr_grpo"'),
           Case((LATER, LATER_MASK, "grpo"), '"grpo", a prompt in front, a token of loss 0')),
    random=answers,
    mistakes=(
        Mistake('"grpo" and "dapo" are exchanged', {"asked": "exchanged"},
                'In which of the two does every token weigh the same?',
                "A mean of means gives a token of a short answer more weight."),
        Mistake("the mean of the answers' means is given whatever is asked", {"asked": "grpo"},
                "Which of your lines reads `how`?",
                "Ask which tokens weigh the same: those of one answer, or those of the step."),
        Mistake("the mean over all tokens is given whatever is asked", {"asked": "dapo"},
                "Which of your lines reads `how`?",
                "Ask which tokens weigh the same: those of one answer, or those of the step."),
        Mistake("the sum divided by B times T is given whatever is asked", {"asked": "dr_grpo"},
                "Which of your lines reads `how`?",
                "A constant divisor does not depend on what was sampled, the others do."),
        Mistake("the padding is counted", {"unmasked": ("grpo", "dapo", "dr_grpo")},
                "How many tokens does the first answer have?",
                "Padding has no loss: its numbers mean nothing."),
        *(Mistake(f'the mask is forgotten in "{how}"', {"unmasked": (how,)},
                  f'What does your "{how}" say if a number outside the mask grows?',
                  "Padding has no loss: its numbers mean nothing.")
          for how in ("grpo", "dapo", "dr_grpo")),
        Mistake("the answer is taken for the first tokens of the row, as many as the mask has ones",
                {"tokens": "first places"},
                "Where in the row does the mask begin, and where does it end?",
                "A prompt stands in front, and answers have gaps. Only the mask says who pays."),
        Mistake("a token with loss 0 is not counted", {"tokens": "not 0"},
                "What does a token cost that the model is certain of, and is it a token?",
                "Count the ones of the mask, not the losses that are not 0."),
        Mistake('in "dr_grpo" it is not divided by T', {"constant": "none"},
                'How large is your "dr_grpo" if all losses are 1 and T is 6?',
                "B times T is one constant. Without T the loss grows with the length."),
        Mistake('in "dr_grpo" the longest answer stands for T', {"constant": "longest"},
                "Does your divisor change with the answers that were sampled?",
                "The idea of Dr. GRPO is a divisor that no sampled answer can change."),
        Mistake("the answers are added up, not averaged", {"rows": "sum"},
                "What happens to your loss if every answer comes twice?",
                "A loss that grows with the batch needs another learning rate."),
    ),
    gradients=(0,),
    laws=(Law("what stands in the padding must not change the loss", padding_does_not_count),),
    hints=("For each of the three ways: what is the divisor?",
           "Lesson 14, \"The proof\": GRPO and the tokens of an answer.",
           "Losses 2 and 1 1 1 1: the means are 2 and 1, so \"grpo\" gives 1.5.\n"
           "All five tokens together give 6 / 5 = 1.2."))]


# ==== A program with a bug: RLOO on a bandit of eight tokens ======================================
PROGRAM = '''
import torch


def advantages(R):
    """(P,K) rewards of K answers to P prompts -> (P,K): reward minus the mean of the others."""
    K = R.shape[1]
    others = (R.sum(1, keepdim=True) - R) / (K - 1)
    return R - others


def answers(logits, dice):
    """(T,8) logits and (P,K,T) dice in [0, 1) -> (P,K,T) tokens: sampled, but fixed by the dice."""
    ladder = logits.detach().softmax(-1).cumsum(-1)             # (T,8)
    return (dice[..., None] > ladder).sum(-1).clamp(max=7)


def learn(seed, steps):
    """RLOO on answers of two tokens. Right: the first token is 3. -> p(3) after every step.

    There is one logit for each place and token. Both tokens of an answer share its advantage.
    """
    dice = torch.Generator().manual_seed(seed)
    logits = torch.zeros(2, 8, requires_grad=True)
    curve = []
    for _ in range(steps):
        said = answers(logits, torch.rand(4, 4, 2, generator=dice))     # (P,K,T)
        R = (said[..., 0] == 3).float()                                 # (P,K)
        A = advantages(R)
        logp = logits.log_softmax(-1)[torch.arange(2), said]            # (P,K,T)
        loss = -(A[..., None] * logp).sum(-1).mean()
        loss.backward()
        with torch.no_grad():
            logits -= 4.0 * logits.grad
        logits.grad = None
        curve.append(logits.softmax(-1)[0, 3].item())
    return curve
'''

TASKS += [debug(
    "14d", level=3, minutes=25, core=True, heading="One equation",
    signature="learn(seed, steps)", program=PROGRAM,
    random=lambda draw: (draw.randrange(10**6), 5),
    text="""\
A bandit: one of eight tokens pays. RLOO finds it. One bug is planted. Repair it.

There are 4 prompts with 4 answers each. An answer has two tokens. The reward is 1 if the first
one is token 3, else 0. After 20 steps token 3 has a probability above 0.9.""",
    cases=(
        Case((0, 3), "three steps: p(3) after each"),
        Case((1, 6), "six steps, other dice"),
        Case((2, 20), "twenty steps"),
    ),
    log=("the mean reward rises, only faster or more slowly than it should",
         "the mean reward falls to 0", "the mean reward stays near 1/8, or ends at another token",
         "the mean reward jumps between 0 and 1 for ever",
         "the loss is not a number",
         "the mean reward is 1 from the start"),
    bugs=(
        Bug("each advantage goes to another answer", "A = advantages(R)",
            "A = advantages(R).roll(1, 1)", "cb",
            "Print R and A side by side. Who earned the reward?",
            "Groups that are laid out in another order pay somebody else's answer."),
        Bug("the loss has the wrong sign", "loss = -(A", "loss = (A", "bc",
            "Which way does the step go for an answer with a positive advantage?",
            "Gradient descent makes the loss smaller, so reward stands in it with a minus."),
        Bug("the own reward is part of the baseline",
            "others = (R.sum(1, keepdim=True) - R) / (K - 1)",
            "others = R.mean(1, keepdim=True)", "a",
            "Compute the advantages of 1 0 0 1 by hand. Are they 2/3?",
            "With its own reward in the baseline each advantage shrinks by (K - 1) / K."),
        Bug("the baseline divides by K", "/ (K - 1)", "/ K", "a",
            "How many others are there in a group of K?",
            "A mean of K - 1 numbers is divided by K - 1."),
        Bug("there is no baseline", "return R - others", "return R", "a",
            "What do answers without reward learn from their own failure?",
            "Without a baseline a success pushes up, but a failure pushes nothing down."),
        Bug("only the last token gets the advantage", ".sum(-1).mean()", "[..., -1].mean()", "c",
            "Which of the two tokens earned the reward, and which one is trained?",
            "A reward at the end belongs to every token of the answer."),
        Bug("groups are read down, over prompts",
            "R.shape[1]\n    others = (R.sum(1, keepdim=True) - R)",
            "R.shape[0]\n    others = (R.sum(0, keepdim=True) - R)", "a",
            "Whose rewards are averaged: those of answers to one prompt?",
            "An answer is compared with others to the same prompt."),
    ),
    hints=("Take one step by hand: R, then A, then the sign of each push.",
           'Lesson 14, "One equation".',
           "R = 1 0 0 1   ->   A = 0.667 -0.667 -0.667 0.667"),
)]
