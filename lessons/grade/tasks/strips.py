"""Strips for the ledger cards: how hard the project's own losses push each token, by autograd."""
import torch

from lessons.grade.tasks.project import seqs
from nanouft.objective import Batch, Columns, Seqs, pushes
from nanouft.objectives import OBJECTIVES


def demonstration(name: str, losses: list[float], **settings) -> list[float]:
    """The pushes on one answer with these losses, times its length: SFT has 1 everywhere."""
    nll = torch.tensor([losses])
    objective = OBJECTIVES[name]
    batch = Batch.of({"answer": seqs(-nll)}, Columns())
    push = pushes(objective, batch, objective.hp(**settings))["answer"][0]
    return (push * len(losses)).tolist()


def one_pair(name: str) -> list[float]:
    """The pushes on a token of chosen (2 tokens) and of rejected (3 tokens), at the start of
    training, times 2."""
    objective = OBJECTIVES[name]
    sides = {"chosen": ratios([[0.0, 0.0]]), "rejected": ratios([[0.0, 0.0, 0.0]])}
    push = pushes(objective, Batch.of(sides, Columns()), objective.hp())
    return [2 * push[role][0, 0].item() for role in sides]


def ratios(rows: list[list[float]]) -> Seqs:
    """(B,T) log-ratios to a reference that gives each token the log-prob -1."""
    ratio = torch.tensor(rows)
    reference = -torch.ones_like(ratio)
    return seqs(reference + ratio, ref_logp=reference)


def words(numbers: list[float]) -> str:
    """+1.00 -0.67"""
    return " ".join(f"{x:+.3g}" for x in numbers)


def two_pairs(name: str) -> list[str]:
    """The rows of card 12c: two pairs of one step, all tokens, in units of beta = 0.1."""
    objective = OBJECTIVES[name]
    chosen, rejected = ratios([[1.0, 2.0], [0.5, 1.0]]), ratios([[-1.0, -1.0], [-0.5, -1.0]])
    chosen.extra["token_reward"] = torch.tensor([[0.0, 1.2], [0.8, 0.1]])
    rejected.extra["token_reward"] = torch.tensor([[0.0, -0.5], [-0.4, 0.1]])
    column = Columns(p=torch.tensor([0.99, 0.75]), extra={"prompt_embedding": torch.eye(2)})
    batch = Batch.of({"chosen": chosen, "rejected": rejected}, column)
    push = pushes(objective, batch, objective.hp())
    out = []
    for i in range(2):
        sides = [words((20 * push[role][i]).tolist()) for role in ("chosen", "rejected")]
        out.append(f"pair {i + 1}:  {' | '.join(sides)}")
    return out
