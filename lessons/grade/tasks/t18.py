"""Tasks of lesson 18."""
import torch

from lessons.grade.task import Case, Law, Mistake, Task
from nanouft.objective import Batch, Columns, Seqs, pushes
from nanouft.objectives import OBJECTIVES


# ==== 18a: the border =============================================================================
def border(R, thinks, where="prompt", sign=1, each="mean", missing="left out"):
    """How much better answers are that think, and the mistakes by flag."""
    think, once = thinks.to(R.dtype), 1 - thinks.to(R.dtype)
    if where == "all":
        return sign * ((R * think).sum() / think.sum() - (R * once).sum() / once.sum())
    if where == "against all":
        once = torch.ones_like(once)
    sums = (R * think).sum(1), (R * once).sum(1)
    if each == "mean":
        sums = sums[0] / think.sum(1).clamp_min(1), sums[1] / once.sum(1).clamp_min(1)
    both = thinks.any(1) & ~thinks.all(1)
    gap = sign * (sums[0] - sums[1])
    if missing == "zero":
        return (gap * both).sum() / len(R)
    if missing == "counted":
        return gap.mean()
    if missing == "answers":
        return (gap * both * R.shape[1] * think.mean(1)).sum() / (think * both[:, None]).sum()
    return gap[both].mean()


def border_by_hand(R, thinks):
    gaps = []
    for scores, think in zip(R, thinks):
        if think.any() and not think.all():
            gaps.append(scores[think].mean() - scores[~think].mean())
    return torch.stack(gaps).mean()


def groups(random):
    """(P,K) scores and whether each answer thinks. Some prompts have one kind only, two have both;
    in hard prompts more answers think, so that what is pooled says something else."""
    P, K = random.randint(4, 5), random.choice([4, 5])
    scores, think = [], []
    for p in range(P):
        n = random.randint(1, K - 1) if p < 2 else random.choice([0, K, random.randint(1, K - 1)])
        marks = [True] * n + [False] * (K - n)
        random.shuffle(marks)
        think.append(marks)
        scores.append([random.choice([0.0, 0.2, 0.5, 0.7, 1.0]) for _ in range(K)])
    think[-1] = [random.random() < 0.5] * K
    order = random.sample(range(P), P)
    return torch.tensor([scores[p] for p in order]), torch.tensor([think[p] for p in order])


def a_prompt_may_be_hard(of, args):
    """The same number added to all scores of a prompt changes nothing."""
    R, thinks = args
    harder = R + torch.arange(len(R))[:, None]
    return abs(float(of(R, thinks)) - float(of(harder, thinks))) < 1e-3


YES, NO = True, False
HARD = torch.tensor([[1.0, 1, 1, 0], [1, 0, 0, 0]])
WHO = torch.tensor([[YES, NO, NO, NO], [YES, YES, YES, NO]])
OTHERS = torch.tensor([[YES, NO, NO, NO], [YES, YES, NO, NO]])
ONE = torch.tensor([[1.0, 0, 1, 0], [1, 1, 1, 1], [0, 0, 0, 0]])
ONE_WHO = torch.tensor([[YES, NO, NO, NO], [YES, YES, YES, YES], [NO, NO, NO, NO]])
A = Task(
    "18a", "implement", level=2, minutes=15, core=True, heading="One equation",
    signature="border(R, thinks)",
    text="""By how much are answers better that think, on the same prompts?

R       (P,K) the scores of K answers to each of P prompts
thinks  (P,K) bool: does this answer write steps?
For each prompt take the mean score of its answers that think, minus the mean score of its other
answers. Return the mean of this over the prompts that have answers of both kinds. At least one
prompt has.

Scores 1 1 1 0, and only the first answer thinks: 1 - 2/3 = 1/3.
Scores 1 0 0 0, and all but the last one think: 1/3 - 0 = 1/3.
The mean of both is 0.3333. (All eight answers in one pot: 1/2 and 1/2, a border of 0.)""",
    right=border_by_hand, by_hand=border_by_hand, model=border, random=groups,
    cases=(Case((HARD, WHO), "an easy and a hard prompt"),
           Case((ONE, ONE_WHO), "two of three prompts have one kind only"),
           Case((HARD, OTHERS), "1/3 and 1/2")),
    mistakes=(
        Mistake("the answers of all prompts are thrown into one pot", {"where": "all"},
                "Which prompts have most of the answers that think: the easy or the hard ones?",
                "If hard prompts get more thinking, the pot blames thinking for them."),
        Mistake("it is at once minus thinks", {"sign": -1},
                "Which sign says that thinking pays?",
                "The border is thinking minus at once: above 0, thinking spreads."),
        Mistake("the answers that think are compared with all answers", {"where": "against all"},
                "Do the answers that you subtract write steps?",
                "That is the advantage in the group, which is (1 - s) times the border."),
        Mistake("a prompt with one kind of answers counts as 0", {"missing": "zero"},
                "What do you know about thinking from a prompt where nobody did?",
                "No comparison is not a comparison that came out at 0."),
        Mistake("in a prompt with one kind of answers the other kind gets the score 0",
                {"missing": "counted"},
                "How many answers is the mean of nothing taken over?",
                "A mean over no answers is not 0. Such a prompt says nothing here."),
        Mistake("scores are added up, not averaged, within a prompt", {"each": "sum"},
                "Three answers think, one does not: which sum is larger by its number alone?",
                "Shares are compared, so the number of answers must not count."),
        Mistake("a prompt counts more if more of its answers think", {"missing": "answers"},
                "How much does each prompt weigh in your mean?",
                "The mean over prompts gives every prompt the same weight."),
    ),
    laws=(Law("a number added to all scores of one prompt must change nothing",
              a_prompt_may_be_hard),),
    hints=("Which answers had the same chance, apart from thinking?",
           "Lesson 18, \"One equation\": all of it is about the answers to one prompt.",
           "R = 1 0 0 1, thinks = yes yes no no: 1/2 - 1/2 = 0."))


# ==== 18b: how hard is the first token pushed? ====================================================
def project_push(A, n, how, longest):
    """The project's GRPO: -dL/dlogp of the first token of answers with n tokens."""
    T = int(max(n))
    mask = (torch.arange(T) < n[:, None]).float()
    zero = torch.zeros_like(mask)
    s = Seqs(zero.long(), zero.long(), mask, mask, logp=zero, ref_logp=zero, sampled_logp=zero)
    batch = Batch.of({"answer": s}, Columns(advantage=A))
    hp = OBJECTIVES["grpo"].hp(beta=0.0, aggregation=how, length=longest)
    return pushes(OBJECTIVES["grpo"], batch, hp)["answer"][:, 0]


def push_by_hand(A, n, how, longest):
    if how == "grpo":
        return A / n / len(A)
    return A / (len(A) * longest)


def first_push(A, n, how, longest, asked="as asked", constant="longest", rows="mean", sign=1,
               of="first"):
    """How hard the first token of each answer is pushed, and the mistakes by flag."""
    how = how if asked == "as asked" else asked
    n = n.to(A.dtype)
    if how == "dapo":
        return A / n.sum()
    if how == "grpo":
        each = A / (1 if of == "answer" else n)
    else:
        each = A / {"longest": longest, "batch": n.max(), "mean": n.mean()}[constant]
        each = each * (n if of == "answer" else 1)
    return sign * each / (len(A) if rows == "mean" else 1)


def step(random):
    B = random.choice([3, 5])
    A = [random.choice([-1.5, -0.5, 0.7, 1.2]) for _ in range(B)]
    n = random.sample(range(1, 9), B)
    return torch.tensor(A), torch.tensor(n), random.choice(["grpo", "dr_grpo"]), 12


def same_sign(of, args):
    A = args[0]
    return bool((torch.as_tensor(of(*args)).reshape(A.shape) * A >= 0).all())


ADV, LEN = torch.tensor([1.0, -1.0]), torch.tensor([5, 1])
B = Task(
    "18b", "implement", level=2, minutes=15, core=False, heading="Break it",
    signature="first_push(A, n, how, longest)",
    text="""How hard is the first token of each answer pushed? It decides whether the model thinks.

A        (B,) the advantage of each of B answers
n        (B,) its number of tokens
how      "grpo": the loss is the mean over the tokens of an answer, then the mean over answers
         "dr_grpo": the sum over all tokens, divided by B times `longest`
longest  a constant, not the longest answer of this step
Returns (B,): minus the derivative of the loss by the log-prob of that answer's first token. Each
token's loss is -A times its log-prob.

A = 1 -1 with n = 5 1, and longest = 10: "grpo" gives 0.1 -0.5, "dr_grpo" 0.05 -0.05.""",
    right=project_push, by_hand=push_by_hand, model=first_push, random=step,
    cases=(Case((ADV, LEN, "grpo", 10), '"grpo"'), Case((ADV, LEN, "dr_grpo", 10), '"dr_grpo"'),
           Case((torch.tensor([0.5, 2, -1.5]), torch.tensor([2, 4, 8]), "grpo", 10), "three"),
           Case((torch.tensor([0.5, 2, -1.5]), torch.tensor([2, 4, 8]), "dr_grpo", 10), "three")),
    mistakes=(
        Mistake('"dr_grpo" is given whatever is asked', {"asked": "dr_grpo"},
                "Which of your lines reads `how`?",
                "A constant divisor does not know how long an answer is; a mean over it does."),
        Mistake('"grpo" is given whatever is asked', {"asked": "grpo"},
                "Which of your lines reads `how`?",
                "A constant divisor does not know how long an answer is; a mean over it does."),
        Mistake("the mean over all tokens of the step is taken", {"asked": "dapo"},
                "Is each answer's mean taken first in what is asked?",
                "That is the third way, \"dapo\": one divisor for all tokens of the step."),
        Mistake('in "dr_grpo" the longest answer of the step stands for the constant',
                {"constant": "batch"}, "Does your divisor change with the answers that came?",
                "The idea of Dr. GRPO is a divisor that no sampled answer can change."),
        Mistake('in "dr_grpo" the mean length of the step stands for the constant',
                {"constant": "mean"}, "Does your divisor change with the answers that came?",
                "The idea of Dr. GRPO is a divisor that no sampled answer can change."),
        Mistake("the answers are added up, not averaged", {"rows": "sum"},
                "What happens to your push if every answer comes twice?",
                "A loss that grows with the batch needs another learning rate."),
        Mistake("it is the derivative, without the minus", {"sign": -1},
                "Which way does the step go for an answer with a positive advantage?",
                "A push is minus the derivative: what earned more goes up."),
        Mistake("it is the push on the whole answer, not on its first token", {"of": "answer"},
                "How many tokens share what you have returned?",
                "One token decides whether the model thinks; its push is one token's share."),
    ),
    laws=(Law("the push must have the sign of the advantage", same_sign),),
    hints=("By what is the loss of one token divided, in each of the two ways?",
           "Lesson 18, \"Break it\".",
           "A = 1, n = 4, one answer: \"grpo\" pushes its first token by 0.25."))

TASKS = [A, B]
