"""Strips for the ledger cards: how hard the project's own losses push each token, by autograd."""
import torch

from nanouft.objective import Batch, Columns, Seqs, pushes
from nanouft.objectives import OBJECTIVES


def demonstration(name: str, losses: list[float], **settings) -> list[float]:
    """The pushes on one answer whose tokens have these losses, times its length: SFT has 1 everywhere."""
    nll = torch.tensor([losses])
    objective = OBJECTIVES[name]
    batch = Batch.of({"answer": seqs(-nll)}, Columns())
    push = pushes(objective, batch, objective.hp(**settings))["answer"][0]
    return (push * len(losses)).tolist()


def pairs(name: str, chosen: list[list[float]], rejected: list[list[float]], p=None, **settings) -> list[list[float]]:
    """Pairs of a step, given by log-ratios of their tokens. -> for each pair the pushes on its first chosen and its
    first rejected token, times the number of pairs."""
    objective = OBJECTIVES[name]
    sides = {"chosen": chosen, "rejected": rejected}
    column = Columns() if p is None else Columns(p=torch.tensor(p))
    batch = Batch.of({role: ratios(side) for role, side in sides.items()}, column)
    push = pushes(objective, batch, objective.hp(**settings))
    return [[len(chosen) * push[role][i, 0].item() for role in sides] for i in range(len(chosen))]


def ratios(rows: list[list[float]]) -> Seqs:
    """Answers of unequal length as (B,T). Each token has log-prob -1 plus its ratio; the reference says -1."""
    T = max(map(len, rows))
    mask = torch.tensor([[1.0] * len(row) + [0.0] * (T - len(row)) for row in rows])
    ratio = torch.tensor([row + [0.0] * (T - len(row)) for row in rows])
    return seqs((ratio - 1) * mask, mask, ref=-mask, tis=torch.zeros_like(mask))


def seqs(logp, mask=None, **columns) -> Seqs:
    mask = torch.ones_like(logp) if mask is None else mask
    ids = torch.zeros_like(mask, dtype=torch.long)
    return Seqs(ids, ids, mask, mask, logp=logp, **columns)


def words(numbers: list[float]) -> str:
    """+1.00 -0.67"""
    return " ".join(f"{x:+.3g}" for x in numbers)


def two_pairs(name: str) -> list[str]:
    """The rows of card 12c: two pairs of one step, all tokens, in units of beta = 0.1."""
    objective = OBJECTIVES[name]
    chosen, rejected = ratios([[1.0, 2.0], [0.5, 1.0]]), ratios([[-1.0, -1.0], [-0.5, -1.0]])
    chosen.tis = torch.tensor([[0.0, 1.2], [0.8, 0.1]])
    rejected.tis = torch.tensor([[0.0, -0.5], [-0.4, 0.1]])
    column = Columns(p=torch.tensor([0.99, 0.75]), prompt=torch.eye(2))
    batch = Batch.of({"chosen": chosen, "rejected": rejected}, column)
    push = pushes(objective, batch, objective.hp())
    return [f"pair {i + 1}:  {words((20 * push['chosen'][i]).tolist())} | {words((20 * push['rejected'][i]).tolist())}"
            for i in range(2)]
