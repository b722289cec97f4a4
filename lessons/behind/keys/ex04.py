"""The right functions of ex04.py, and common mistakes."""
import torch

from lessons.behind.tasks.task import Task


def own_guess(inputs, mask, likeliest):
    guess = inputs.clone()
    guess[:, 1:] = torch.where(mask[:, :-1] == 1, likeliest[:, :-1], inputs[:, 1:])
    return guess


def rows(draw):
    B, T = draw.randint(1, 3), draw.randint(2, 6)
    return draw.ids(B, T), draw.mask(B, T), draw.ids(B, T)


def best_moves_alone(probs, step, best, ice, start, T):
    at = (torch.arange(len(probs)) == start).to(probs)  # (S,) the probability of standing there
    right, shares = (probs * best).sum(1), []           # (S,) that of a best move
    for _ in range(T):
        at = at * ice
        shares.append((at * right).sum() / at.sum())
        led = (at[:, None] * probs).flatten()
        at = torch.zeros_like(at).scatter_add(0, step.flatten(), led)
    return torch.stack(shares).mean()


def lake(draw):
    """A random policy on S cells. From each of them a move leads back to the first, which is ice,
    so that some walk is left."""
    S = draw.randint(2, 4)
    probs, step, best = draw.numbers(0.1, 1, S, 4), draw.ids(S, 4, S), draw.ids(S, 4, 2)
    ice, step[:, draw.randrange(4)] = draw.ids(1, S, 2)[0], 0
    ice[0] = 1
    start = draw.choice(ice.nonzero()[:, 0].tolist())
    return probs / probs.sum(1, keepdim=True), step, best, ice, start, draw.randint(1, 3)


TWO = torch.tensor([[.6, 0, .4, 0], [1, 0, 0, 0]]), torch.tensor([[0, 0, 1, 1], [0, 0, 1, 1]])
BEST, ICE = torch.tensor([[1, 0, 0, 0], [0, 0, 0, 0]]), torch.ones(2).long()
# half of the walks fall into cell 1, from where all moves lead to cell 2, which has a best move
BEYOND = (torch.tensor([[.5, 0, .5, 0]] * 3), torch.tensor([[0, 0, 1, 1], [2] * 4, [2] * 4]),
          torch.tensor([[0] * 4, [0] * 4, [1, 0, 0, 0]]), torch.tensor([1, 0, 1]), 0, 3)
# the first move is right in half of the walks, the second one in none of the half that is left
LOST = (BEYOND[0], torch.tensor([[1, 1, 2, 2], [1] * 4, [2] * 4]),
        torch.tensor([[1, 0, 0, 0], [0] * 4, [0] * 4]), torch.tensor([1, 1, 0]), 0, 2)
TASKS = {
    "04a": Task(own_guess, rows, [
    ("mask[:, :-1]", "mask[:, 1:]", "The mask is not shifted: it is about the targets, and the "
     "target at a position is read at the next one."),
    ("guess[:, 1:] = torch.where(mask[:, :-1] == 1, likeliest[:, :-1], inputs[:, 1:])",
     "guess = torch.where(mask == 1, likeliest, inputs)", "Nothing is shifted: prediction and mask "
     "at a position belong to the token of the next one."),
    ("torch.where(mask[:, :-1] == 1, likeliest[:, :-1], inputs[:, 1:])", "likeliest[:, :-1]",
     "The prompt is never predicted. Only tokens of the answer are replaced.")],
    always=[tuple(map(torch.tensor, case)) for case in (
        ([[5, 6, 7, 8]], [[0, 1, 1, 0]], [[1, 2, 3, 4]]),
        ([[5], [6], [7]], [[1], [0], [1]], [[1], [2], [3]]),    # no prediction, so no shift to see
        ([[5, 6]], [[1, 1]], [[1, 2]]), ([[5, 6, 7, 8]], [[1, 0, 1, 0]], [[1, 2, 3, 4]]),
        ([[5, 6, 7], [5, 6, 7]], [[0, 1, 0], [1, 0, 1]], [[1, 0, 3], [5, 0, 0]]))]),
    "04b": Task(best_moves_alone, lake, [
    ("at.sum())", "1)", "A walk that has fallen or arrived is counted. Divide by the chance that a "
     "walk is still on the ice."),
    ("(probs * best).sum(1)", "probs.max(1).values",
     "A best move is one that `best` names, whichever it is, not the most likely one."),
    ("(at[:, None] * probs)", "(at[:, None] * (probs == probs.max(1, keepdim=True).values))",
     "The policy draws its moves. Yours walks by the likeliest one alone.")],
    always=[BEYOND, LOST,                       # two moves, one, a hole, many best moves, two cells
        (*TWO, BEST, ICE, 0, 2), (*TWO, BEST, ICE, 0, 1),
        (*TWO, BEST, torch.tensor([1, 0]), 0, 3), (*TWO, 1 - BEST, ICE, 0, 2),
        (*TWO, BEST.roll(1, 0), ICE, 1, 2), (TWO[0], TWO[1].roll(1, 1), BEST, ICE, 0, 3)])}
