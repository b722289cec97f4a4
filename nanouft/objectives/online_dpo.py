"""Online DPO: the best and the worst of the model's own samples are the pair.

    python -m nanouft.train --objective online_dpo --init out/sft
    Guo et al. 2024, arXiv:2402.04792 (OAIF, Algorithm 1)

DPO is off-policy: its pairs come from elsewhere, and to push down an answer that the policy would
never give is of no use. Here both answers are on-policy: of `samples` answers to a prompt the best
is chosen and the worst rejected (the paper: two answers and a judge). The reference stays the
initial model. Two things differ from dpo.py: `credit` makes the pairs, and a tie has no loss:
    L = -untied log sigmoid( beta (r_w - r_l) )
    untied: 0 if all answers have one reward, else 1

A tie has no preference, but it counts in the mean, so a step in which most prompts tie has a small
gradient. rloo.py uses all answers and the size of their differences.
"""
import torch
from torch import Tensor

from nanouft.batch import Batch
from nanouft.objective import GroupSize, Objective, Positive
from nanouft.objectives.dpo import dpo_loss, log_ratio, pair_metrics


class OnlineDPO(Objective):
    data = "prompts"
    lr = 1e-5
    reference = True
    samples: GroupSize = 4          # answers to each prompt; the best and the worst are used
    beta: Positive = 0.1            # strength of the KL penalty; larger = closer to the reference

    def credit(self, batch: Batch) -> tuple[Batch, dict]:
        """One row of roles "chosen" and "rejected" for each prompt of the rollout."""
        R = batch.per_row["reward"].view(-1, self.samples)          # (P,K)
        first = torch.arange(len(R)) * self.samples                 # each prompt's first answer
        best, worst = best_and_worst(R)
        s = batch.seqs["answer"]
        pairs = {"chosen": s.take(first + best), "rejected": s.take(first + worst)}
        untied = (R.amax(-1) > R.amin(-1)).to(R.dtype)
        return Batch.of(pairs, {"untied": untied}), {}

    def loss(self, batch: Batch) -> tuple[Tensor, dict]:
        w, l = batch.seqs["chosen"], batch.seqs["rejected"]
        untied = batch.per_row["untied"]                # (B,) 0 where nothing is preferred
        r_w, r_l = log_ratio(w), log_ratio(l)
        losses = untied * dpo_loss(r_w, r_l, self.beta)
        metrics = pair_metrics(batch, self.beta * r_w, self.beta * r_l, self.beta)
        return losses.sum() / batch.n, metrics | {"ties": (1 - untied).sum() / batch.n}


def best_and_worst(R: Tensor) -> tuple[Tensor, Tensor]:
    """(P,K) rewards of K answers to P prompts -> (P,) indices of the best and of the worst."""
    best, worst = R.argmax(-1), R.argmin(-1)
    any_other = (best + 1) % R.shape[1]                         # where all rewards are equal
    return best, torch.where(worst == best, any_other, worst)
