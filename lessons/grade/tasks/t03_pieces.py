"""Lesson 03: the loss of a step that was cut into pieces."""
from random import Random

import torch

from lessons.grade.task import Case, Law, Mistake, Task


def accumulate(pieces):
    return sum(loss for loss, _ in pieces) / sum(tokens for _, tokens in pieces)


def accumulate_model(pieces, how="right", alive=True):
    pieces = [(loss if alive else loss.detach(), tokens) for loss, tokens in pieces]
    means = [loss / tokens for loss, tokens in pieces]
    total = sum(loss for loss, _ in pieces)
    return {"right": total / sum(tokens for _, tokens in pieces), "mean": sum(means) / len(means),
            "added": sum(means), "pieces": total / len(pieces), "last": means[-1],
            "total": total}[how]


def random_pieces(rng: Random):
    sizes = rng.sample(range(2, 9), rng.randint(2, 4))
    return (pieces_of(*[(rng.uniform(0.5, 3) * n, n) for n in sizes]),)


def pieces_of(*pairs):
    return [(torch.tensor(loss), n) for loss, n in pairs]


def order_is_free(accumulate, args) -> bool:
    return abs(accumulate(args[0][::-1]) - accumulate(*args)) < 1e-4


PIECES = Task(
    "03c", "implement", level=2, minutes=10, core=True,
    signature="accumulate(pieces)",
    text="""A batch is too big for the memory. So a step is cut into pieces. What is its loss?

    pieces  a list of pairs (the losses of a piece's tokens added up, the number of its tokens);
            the first is a tensor of one number, through which the gradient flows
    return  one number: the mean loss per token, as if the whole step had been one piece

Pieces have different numbers of tokens. Each token must weigh the same.
Example: [(2.0, 1), (4.0, 4)] -> 1.2. One token has loss 2, four tokens have loss 1 each.""",
    heading="One equation",
    right=accumulate, model=accumulate_model,
    cases=(
        Case((pieces_of((6.0, 4)),), "one piece"),
        Case((pieces_of((2.0, 1), (4.0, 4)),), "the example"),
        Case((pieces_of((2.0, 2), (6.0, 3)),), "two and three tokens"),
    ),
    random=random_pieces, gradients=(0,),
    laws=(Law("the order of the pieces must change nothing", order_is_free),),
    mistakes=(
        Mistake("the means of the pieces are averaged", dict(how="mean"),
                "How much does a token weigh in a piece of one, and in a piece of four?",
                "A mean of means is another loss. Real libraries had this bug for years."),
        Mistake("the means of the pieces are added up", dict(how="added"),
                "What happens to your loss if a step is cut into more pieces?",
                "Each piece's mean is a loss of full size. Their sum grows with the pieces."),
        Mistake("the sum is divided by the number of pieces", dict(how="pieces"),
                "How many tokens are in a piece? Does your loss know it?",
                "The mean is per token. How the step was cut must not matter."),
        Mistake("the loss is cut off from the gradient", dict(alive=False),
                "What does torch.tensor(...), or .item(), do to a gradient?",
                "A new tensor is a constant. Add up the losses themselves: they can train."),
        Mistake("only the last piece counts", dict(how="last"),
                "What happens to the losses of the first piece?",
                "Each piece overwrote the one before. Its gradient is then lost, too."),
        Mistake("the sum is not divided at all", dict(how="total"),
                "Is your number a loss per token?",
                "A sum grows with the batch, and with it the size of the step."),
    ),
    hints=("How many tokens has the whole step?",
           "Lesson 03, \"One equation\": N counts the paying tokens of all answers of a step.",
           "[(2, 2), (6, 3)]: five tokens have 8 nats together\n"
           "that is 1.6 per token; the pieces alone have 1 and 2"),
)

TASKS = [PIECES]
