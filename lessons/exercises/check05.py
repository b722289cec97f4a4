"""What the function of ex05.py must do."""
import torch

from lessons.check import same, shaped


def lake(draw, S, T):
    """A random policy on S cells, a path of T moves, where moves lead, and which are best."""
    probs = draw.numbers(0.1, 1, S, 4)
    step = torch.tensor([[draw.randrange(S) for _ in range(4)] for _ in range(S)])
    best = torch.tensor([[draw.randrange(2) for _ in range(4)] for _ in range(S)])
    path, s = [], draw.randrange(S)
    for _ in range(T):
        path.append((s, draw.randrange(4)))
        s = int(step[path[-1]])
    return probs / probs.sum(1, keepdim=True), path, step, best


def estimates(mine, draw):
    probs, path, step, best = lake(draw, draw.randint(2, 4), draw.randint(1, 3))
    got = mine(probs, path, step, best)
    shaped(got, (3,), "The result is three numbers.")
    whole, says, does = got
    each = torch.stack([probs[pair] for pair in path])
    same(whole, each.prod(), "The first number is the chance of the whole path. The moves are made "
         f"one after the other, with the chances {[round(x, 4) for x in each.tolist()]}.")
    right = (probs * best).sum(1)
    same(says, right[[s for s, _ in path]].mean(), "The second number is what SFT says: the mean "
         "chance of a best move, whichever it is, in the cells of the path.")
    first = mine(probs, path[:1], step, best)
    same(first[2], first[1], "On a path of one move the policy has not moved yet and stands in the "
         "first cell, so the third number is the second.")
    at, chances = torch.zeros(len(probs)), []
    at[path[0][0]] = 1
    for move in range(len(path)):
        chances.append((at * right).sum())
        where = ", ".join(f"{x:.3f}" for x in at.tolist())
        same(mine(probs, path[:move + 1], step, best)[2], torch.stack(chances).mean(),
             "The third number is what the policy does where it stands by itself. Before move "
             f"{move + 1} it stands in the cells 0, 1, ... with the chances {where}.")
        at = torch.zeros(len(probs)).index_add(0, step.flatten(), (at[:, None] * probs).flatten())


EXERCISES = {"05a": estimates}
