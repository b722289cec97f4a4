"""KTO: binary feedback, thumbs up or down; gains and losses are valued as people value them.

    python -m nanouft.train --objective kto
    Ethayarajh et al. 2024, arXiv:2402.01306v5 (section 4); TRL's kto_trainer.py

People value an outcome relative to a reference point, and further gains or losses count less and
less (Kahneman and Tversky). Here the outcome is r = log pi(y|x)/pi_ref(y|x), as in dpo.py. The
reference point k is how far the policy has moved in general: the mean of r over MISMATCHED pairs
of a prompt and the answer to another prompt.
    L = lam_D label sigmoid(beta (k - r)) + lam_U (1 - label) sigmoid(beta (r - k))
    k = sg(max(0, mean_i r_mismatch))
    label: 1 good, 0 bad
    lam_D, lam_U: --desirable-weight, --undesirable-weight
k stands for KL(pi || pi_ref). It is one detached number per step: a mean over all its rows, clamped
afterwards. If all answers become more likely alike, k rises too and nothing is gained.

Each row also has a mismatched answer, that of the next row with another prompt. Of a dialogue this
is the last answer, and one that is too long for the row's context is truncated. TRL pairs within a
batch instead: each prompt with the PREVIOUS answer, whatever its prompt (the first one with the
last; kto_trainer.py:1151). So k differs from TRL's, and at batch size 6 the gradient by 1 to 41 %.
Good answers should be as frequent among mismatched answers as among all. So all chosen answers of
pairs come before all rejected ones. Rows with labels keep their order, unless good answers would be
far more or less frequent, say if each prompt has its good answer first. Then the order is shuffled.

k is noisy and couples the rows of a step, so --accumulate is refused; a smaller --batch-size saves
memory, with a noisier k. The authors advise lam_D n_D / (lam_U n_U) from 1 to 3/2 for n_D good and
n_U bad rows (Eq. 9), so raise lam_D if good rows are rare.
Traps: clamping before the mean; a row's own answer in k; dividing by the weights; only chosen
answers in k.
"""
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from nanouft.batch import Batch, over_processes, write_logp
from nanouft.data.batches import MISMATCHED
from nanouft.data.row import Row, up_to_last_answer
from nanouft.data.selection import label_rows
from nanouft.gpt import GPT
from nanouft.models.tokenizer import Turns
from nanouft.objective import AtLeast0, Objective, Positive
from nanouft.objectives.dpo import log_ratio
from nanouft.objectives.una import graded_metrics
from nanouft.plumbing.errors import UserError

UNEVEN = 0.1        # largest difference of the share of good answers, borrowed ones against all


class KTO(Objective):
    data = "labels"
    lr = 3e-5
    reference = True
    coupled = True
    reads_sums = True
    beta: Positive = 0.1                # how quickly gains and losses saturate
    desirable_weight: AtLeast0 = 1.0    # lam_D: how much a good answer counts
    undesirable_weight: AtLeast0 = 1.0  # lam_U: how much a bad answer counts

    def choose(self, rows: list[Row]) -> list[Row]:
        """Roles "answer", and "mismatch": the prompt with the next answer to another prompt."""
        labelled = sorted(label_rows(rows),             # rejected answers of pairs come last
                          key=lambda row: row.chosen is not None and row.label == 0)
        prompts, answers = zip(*(row.roles["answer"] for row in labelled))
        if len(set(prompts)) == 1:
            raise UserError(f"{labelled[0].where}: the only prompt with labels; kto needs two, so "
                            "add rows, or give train held-out ones with --eval-data")
        partner = next_with_another_prompt(prompts, list(range(len(prompts))))
        if abs(share_of_good(labelled) - share_of_good([labelled[j] for j in partner])) > UNEVEN:
            shuffled = np.random.default_rng(0).permutation(len(prompts)).tolist()
            partner = next_with_another_prompt(prompts, shuffled)
        borrowed = [up_to_last_answer(answers[j])[-1:] for j in partner]
        return [replace(row, roles=row.roles | {MISMATCHED: (prompt, answer)})
                for row, prompt, answer in zip(labelled, prompts, borrowed)]

    def forward(self, model: GPT, batch: Batch) -> None:
        with torch.no_grad():
            write_logp(model, replace(batch, seqs={MISMATCHED: batch.seqs[MISMATCHED]}))
        write_logp(model, replace(batch, seqs={"answer": batch.seqs["answer"]}))

    def loss(self, batch: Batch) -> tuple[Tensor, dict]:
        r = log_ratio(batch.seqs["answer"])
        share = len(r) / batch.n        # of the step's rows; below 1 if other processes have some
        k = over_processes(share * log_ratio(batch.seqs[MISMATCHED]).mean().detach()).clamp_min(0)
        good = self.desirable_weight * torch.sigmoid(-self.beta * (r - k))      # 1 - sigmoid(x)
        bad = self.undesirable_weight * torch.sigmoid(-self.beta * (k - r))
        losses = torch.where(batch.per_row["label"] > 0.5, good, bad)
        metrics = graded_metrics(batch, self.beta * (r - k), "label", self.beta)
        metrics["k"] = share * k                        # metrics of the parts of a step add up
        return losses.sum() / batch.n, metrics


def next_with_another_prompt(prompts: Sequence[Turns], order: list[int]) -> list[int]:
    """For each row the next one in this order with another prompt. After the last row comes the
    first."""
    n, partner = len(order), [0] * len(order)
    for at, i in enumerate(order):
        partner[i] = next(j for k in range(at + 1, at + n)
                          if prompts[j := order[k % n]] != prompts[i])
    return partner


def share_of_good(rows: list[Row]) -> float:
    return sum(row.label or 0 for row in rows) / len(rows)
