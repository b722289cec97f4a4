"""UNA: learn from one score per answer, instead of from pairs.

    python -m nanouft.train --objective una
    Wang et al. 2024, arXiv:2408.15339v2 (Eq. 6-13)
    released code: ZhichaoWang970201/UNA-UFT at 9a49524

Its parent is dpo.py. r = log pi(y|x)/pi_ref(y|x) says how far the policy has moved towards an
answer, and i, r times beta, is the implicit reward. DPO compares the rewards of two answers; UNA
gives each its own target:
    i = beta r                                  (Eq. 6 with f = c = 0, as in the paper)
sigmoid(i) is an implicit score between 0 and 1, and the loss fits it to the given score:
    --distance mse  L = (sigmoid(i) - score)^2                                          (Eq. 11, 13)
    --distance bce  L = -score log sigmoid(i) - (1 - score) log sigmoid(-i)             (Eq. 12)
--feedback says what the rows have: score, binary (a label is a score of 1 or 0) or pair (chosen is
1, rejected 0, and the two losses are added). The paper has both distances for binary feedback, made
of chosen and rejected answers, and only mse for scores. Its pairwise UNA is DPO itself (Eq. 10).
--feedback pair is not that: it is binary feedback, pair by pair.

At the start sigmoid(i) is 1/2. So answers with a higher score are pushed up and those with a lower
one down, until beta r is logit(score). A score of 0 pushes without end. A score near 1 may be out
of reach, because r is at most -log pi_ref(y|x). So beta must fit the length of the answers: the
authors' .01 to .03 (section 4) fits hundreds of tokens, and ours have about ten. The gradient of
mse vanishes at both ends, so answers that are far off hardly count; bce has the same optimum.
Traps: sums over tokens, not means. The released code reads one score for all rows of a micro-batch
(Mistral-offline/UNA_trainer_score_MSE_3e-5_0.03.py:251).
"""
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from nanouft.batch import Batch
from nanouft.objective import Objective, Positive
from nanouft.objectives.dpo import binary_kl, log_ratio, pair_accuracy, pair_metrics

KIND = {"score": "scores", "binary": "labels", "pair": "pairs"}


class UNA(Objective):
    data = "scores"                     # with --feedback score
    lr = 5e-4
    reference = True
    feedback: Literal["score", "binary", "pair"] = "score"  # the feedback that rows have
    distance: Literal["mse", "bce"] = "mse"     # squared error or cross-entropy of the score
    beta: Positive = 0.1            # factor of the log-ratio; smaller for longer answers

    def kinds(self) -> list[str]:
        return [KIND[self.feedback]]

    def loss(self, batch: Batch) -> tuple[Tensor, dict]:
        if self.feedback == "pair":
            i_w = self.beta * log_ratio(batch.seqs["chosen"])
            i_l = self.beta * log_ratio(batch.seqs["rejected"])
            losses = score_loss(i_w, 1.0, self.distance) + score_loss(i_l, 0.0, self.distance)
            return losses.sum() / batch.n, pair_metrics(batch, i_w, i_l, self.beta)
        name = "label" if self.feedback == "binary" else "score"
        i = self.beta * log_ratio(batch.seqs["answer"])
        losses = score_loss(i, batch.per_row[name], self.distance)
        return losses.sum() / batch.n, graded_metrics(batch, i, name, self.beta)


def score_loss(i: Tensor, score: Tensor | float, distance: str) -> Tensor:
    """(B,) distance between sigmoid(implicit reward) and a score. UFT and PoFT use it."""
    if distance == "mse":
        return (torch.sigmoid(i) - score) ** 2                                  # Eq. 11, 13
    return -score * F.logsigmoid(i) - (1 - score) * F.logsigmoid(-i)            # Eq. 12


@torch.no_grad()
def graded_metrics(batch: Batch, reward: Tensor, name: str, beta: float) -> dict[str, Tensor]:
    """The metrics of every method over graded answers, as this micro-batch's share of the step's.
    reward (B,): of the answers; name: of the column of grades; beta: as in pair_metrics.
    Good answers have a grade above 1/2, bad ones a lower grade. A step without bad answers counts 0
    for them. margin: mean reward of good minus bad answers; accuracy (reward accuracy): the share
    of them whose reward has the right sign (0 nats count half)."""
    s = batch.seqs["answer"]
    grade, whole = batch.per_row[name], batch.full_step.per_row[name]
    good = (grade > 0.5).to(reward.dtype)
    bad = (grade < 0.5).to(reward.dtype)
    n_good = (whole > 0.5).sum().clamp_min(1)                       # of the whole step
    n_bad = (whole < 0.5).sum().clamp_min(1)
    n_both = (whole != 0.5).sum().clamp_min(1)
    right = good * pair_accuracy(reward, beta) + bad * pair_accuracy(-reward, beta)
    logp = s.sum(s.logp)
    out = {"margin": (good * reward).sum() / n_good - (bad * reward).sum() / n_bad,
           "accuracy": right.sum() / n_both,
           "logp_good": (good * logp).sum() / n_good,
           "logp_bad": (bad * logp).sum() / n_bad}
    if s.ref_logp is not None:
        out["kl"] = s.sum(binary_kl(s)).sum() / batch.tokens["answer"]
    return out
