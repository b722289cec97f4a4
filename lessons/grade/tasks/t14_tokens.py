"""Exercises of lesson 14: how do the tokens of a step add up?"""
import torch

from lessons.grade.task import Case, Law, Mistake, Task
from nanouft.objective import Batch, Columns, Seqs
from nanouft.objectives import grpo


def project_aggregate(loss, mask, how):
    """The project's GRPO with ratios that are these losses: at advantage -1 a token pays its ratio.
    eps is so large that nothing is clipped."""
    none = torch.zeros_like(loss)
    answer = Seqs(mask, mask, mask, mask, logp=loss.log(), ref=none, old=none)
    batch = Batch.of({"answer": answer}, Columns(adv=-torch.ones(len(loss))))
    hp = grpo.GRPO(beta=0.0, aggregation=how, length=loss.shape[1], eps=100.0)
    return grpo.loss(batch, hp)[0]


def aggregate(loss, mask, how, asked="as asked", masked=True, constant="T", rows="mean"):
    """The mean loss of a step in three ways, and the mistakes by flag."""
    exchanged = {"grpo": "dapo", "dapo": "grpo"}
    how = {"as asked": how, "exchanged": exchanged.get(how, how)}.get(asked, asked)
    mask = mask if masked else torch.ones_like(mask)
    n = mask.sum(1)
    each = (loss * mask).sum(1)
    if how == "dapo":
        return each.sum() / n.sum()
    each = each / (n if how == "grpo" else n.max() if constant == "longest" else loss.shape[1])
    return each.mean() if rows == "mean" else each.sum()


def answers(random):
    T = random.randint(4, 6)
    lengths = [random.randint(1, T - 1) for _ in range(2)] + [random.randint(1, 2)]
    mask = [[1.0] * n + [0.0] * (T - n) for n in lengths]
    loss = [[random.uniform(0.1, 3) for _ in range(T)] for _ in lengths]
    return torch.tensor(loss), torch.tensor(mask), random.choice(["grpo", "dapo", "dr_grpo"])


def padding_does_not_count(mean, args):
    loss, mask, how = args
    value = float(mean(loss, mask, how))
    return how == "dr_grpo" or abs(value - float(mean(loss + 7 * (1 - mask), mask, how))) < 1e-3


LOSS = torch.tensor([[2.0, 9, 9, 9, 9, 9], [1, 1, 1, 1, 9, 9]])
MASK = torch.tensor([[1.0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 0, 0]])
TASKS = [Task(
    "14c", "implement", level=2, minutes=10, core=False,
    signature="aggregate(loss, mask, how)",
    text="""One number for the losses of all tokens of a step, in three ways.

loss  (B,T) the loss of each token of B answers
mask  (B,T) 1 on the tokens of an answer, 0 on the padding
how   "grpo": the mean over the tokens of an answer, then the mean over answers
      "dapo": the mean over all tokens of all answers
      "dr_grpo": the sum over all tokens, divided by B times T, padding counted
Returns one number.

Take two answers with the losses 2 and 1 1 1 1, and T = 6.
"grpo" gives 1.5, "dapo" 1.2 and "dr_grpo" 0.5.""",
    heading="The proof",
    right=project_aggregate, model=aggregate,
    cases=(Case((LOSS, MASK, "grpo"), '"grpo"'), Case((LOSS, MASK, "dapo"), '"dapo"'),
           Case((LOSS, MASK, "dr_grpo"), '"dr_grpo"')),
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
        Mistake("the padding is counted", {"masked": False},
                "How many tokens does the first answer have?",
                "Padding has no loss: its numbers mean nothing."),
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
