"""The right function of ex05.py, and common mistakes."""
import torch

from lessons.tasks.task import Task


def moved(at, probs, step):
    """(S,) the chance of standing in each cell after one more move."""
    return torch.stack([((step == s) * probs * at[:, None]).sum() for s in range(len(probs))])


def estimates(probs, path, step, best):
    cells = [s for s, _ in path]
    right = (probs * best).sum(1)                       # (S,) the chance of a best move
    whole, does = torch.tensor(1.0), []
    at = torch.zeros(len(probs))                        # (S,) the chance of standing there
    at[cells[0]] = 1
    for pair in path:
        whole = whole * probs[pair]
        does.append((at * right).sum())
        at = moved(at, probs, step)
    return whole, right[cells].mean(), torch.stack(does).mean()


def lake(draw):
    """A random policy on S cells, a path of T moves, where moves lead, and which are best."""
    S, path = draw.randint(2, 4), []
    probs, step, best = draw.numbers(0.1, 1, S, 4), draw.ids(S, 4, S), draw.ids(S, 4, 2)
    s = draw.randrange(S)
    for _ in range(draw.randint(1, 3)):
        path.append((s, draw.randrange(4)))
        s = int(step[path[-1]])
    return probs / probs.sum(1, keepdim=True), path, step, best


TASKS = {"05a": Task(estimates, lake, [
    ("(at * right)", "(moved(at, probs, step) * right)", "The third number looks at each cell "
     "after the move. The first move is made in the first cell of the path: look before it."),
    ("return whole,", "return sum(probs[pair] for pair in path) / len(path),",
     "The moves of the path are made one after the other, so their chances are multiplied."),
    ("(probs * best).sum(1)", "probs.max(1).values",
     "A best move is one that `best` names, whichever it is, not the most likely one."),
    ("right[cells].mean()", "torch.stack([probs[pair] for pair in path]).mean()", "The second "
     "number asks for any best move in the cells of the path, not for the demonstrated one."),
    ("moved(at, probs, step)\n    return", "moved(at, (probs == probs.max(1, keepdim=True).values) "
     "* 1.0, step)\n    return", "The policy draws its moves. Yours walks by the likeliest one "
     "alone."),
    ("right[cells].mean(), torch.stack(does).mean()", "torch.stack(does).mean(), "
     "right[cells].mean()", "The second number and the third are exchanged."),
    ("does.append((at * right).sum())", "does.append(right[pair[0]])", "The third number follows "
     "the path. The policy walks by itself, and may stand in another cell after the first move."),
    ("does.append((at * right).sum())", "does.append(right.mean())",
     "The third number gives each cell the same share. The policy is in some cells more often.")],
    always=[
        (torch.tensor([[.6, 0, .4, 0], [1, 0, 0, 0]]), path,
         torch.tensor([[0, 0, 1, 1], [0, 0, 1, 1]]),
         torch.tensor([[1, 0, 0, 0], [0, 0, 0, 0]]))
        for path in ([(0, 0), (0, 0)], [(0, 2), (1, 0)])])}
