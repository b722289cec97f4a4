"""Direct Preference Optimization (DPO): the better answer up, the worse one down; no reward model.

    python -m nanouft.train --objective dpo
    Rafailov et al. 2023, arXiv:2305.18290 (Eq. 7)
    label smoothing: Mitchell 2023 (cDPO, Eq. 3), and in his code
    (eric-mitchell/direct-preference-optimization at f8b8c0f, trainers.py:82)

We want a high reward R, but little KL from the reference pi_ref, the initial model:
    maximise  E[R(x, y)] - beta KL(pi || pi_ref)
The optimal policy is proportional to pi_ref e^(R/beta). Solved for R, this gives the reward for
which a policy is optimal:
    R(x, y) = beta log pi(y|x)/pi_ref(y|x) + beta log Z(x)                              (Eq. 5)
Z(x) is the same for two answers to one prompt, so it cancels in their difference. Bradley-Terry's
probability that `chosen` (w) beats `rejected` (l) reads only that difference, so no reward model is
needed. With r for log pi(y|x)/pi_ref(y|x) the loss is
    L = -log sigmoid( beta (r_w - r_l) )                                                (Eq. 7)
It is a logistic regression on how much further the policy has moved towards one answer than
towards the other.

A log-ratio is summed over tokens, so a long answer moves more. --reduction mean divides it by the
number of tokens (length-normalised DPO: Tulu 3, arXiv:2411.15124, Eq. 6); a larger beta suits that
form (Tulu 3: 5; tulu3_dpo_8b.yaml:22 of allenai/open-instruct at 011a899). Not implemented: other
f-divergences.
"""
import math
from abc import abstractmethod
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from nanouft.batch import Batch, Seqs
from nanouft.objective import Objective, Positive, Range

BelowHalf = Annotated[float, Range(at_least=0, below=0.5)]    # at 0.5 labels carry no information


class DPO(Objective):
    data = "pairs"
    lr = 3e-5
    reference = True
    beta: Positive = 0.1            # strength of the KL penalty; larger = closer to the reference
    label_smoothing: BelowHalf = 0.0    # probability that a label is flipped (cDPO); 0 is plain DPO
    swap: bool = False              # prefer the rejected answers, for the second model of tis_dpo
    reduction: Literal["sum", "mean"] = "sum"   # an answer's log-ratio: sum or mean over its tokens

    def loss(self, batch: Batch) -> tuple[Tensor, dict]:
        w, l = batch.seqs["chosen"], batch.seqs["rejected"]
        r_w, r_l = log_ratio(w, self.reduction), log_ratio(l, self.reduction)
        better, worse = (r_l, r_w) if self.swap else (r_w, r_l)
        losses = dpo_loss(better, worse, self.beta, self.label_smoothing)
        metrics = pair_metrics(batch, self.beta * r_w, self.beta * r_l, self.beta)
        return losses.sum() / batch.n, metrics


def log_ratio(s: Seqs, reduction: str = "sum") -> Tensor:
    """(B,) nats: log pi(y|x) - log pi_ref(y|x), the sum or the mean over response tokens."""
    return (s.mean if reduction == "mean" else s.sum)(s.logp - s.ref_logp)


def dpo_loss(r_w: Tensor, r_l: Tensor, beta: float, label_smoothing: float = 0.0) -> Tensor:
    """(B,) loss of each pair, from the log-ratios (B,) of its answers. log 2 at the reference.
    Without label_smoothing it has no minimum."""
    h = beta * (r_w - r_l)                                              # reward margin
    return -(1 - label_smoothing) * F.logsigmoid(h) - label_smoothing * F.logsigmoid(-h)    # Eq. 7


# ---- DPO with another comparison -----------------------------------------------------------------
class Pairs(Objective, hooks=("reward", "each")):
    """DPO with another comparison. A subclass overrides `each`, the loss of a pair of implicit
    rewards, and perhaps `reward`. i = beta r includes beta, so `each` does not multiply by it
    again. (In the heads r is in nats, without beta.)"""
    data = "pairs"
    lr = 3e-5
    reference = True
    beta: Positive = 0.1            # strength of the KL penalty; larger = closer to the reference

    def reward(self, s: Seqs) -> Tensor:
        """(B,) the reward of each answer. If you override this, the metrics take it as nats."""
        return self.beta * log_ratio(s)

    @abstractmethod
    def each(self, i_w: Tensor, i_l: Tensor, batch: Batch) -> Tensor | tuple[Tensor, dict]:
        """(B,) loss of each pair, from its rewards i_w and i_l (B,); perhaps with metrics."""
        raise NotImplementedError

    def loss(self, batch: Batch) -> tuple[Tensor, dict]:
        i_w, i_l = self.reward(batch.seqs["chosen"]), self.reward(batch.seqs["rejected"])
        losses = self.each(i_w, i_l, batch)
        losses, metrics = losses if isinstance(losses, tuple) else (losses, {})
        per_nat = self.beta if type(self).reward is Pairs.reward else 1.0
        return losses.sum() / batch.n, pair_metrics(batch, i_w, i_l, per_nat) | metrics


# ---- what every method over pairs reports --------------------------------------------------------
def pair_metrics(batch: Batch, i_w: Tensor, i_l: Tensor, beta: float = 1.0) -> dict[str, Tensor]:
    """Metrics of this micro-batch, as shares of the step's means, without gradient. i_w, i_l: (B,)
    the method's rewards of the two answers. beta: the reward of one nat of log-ratio."""
    w, l = batch.seqs["chosen"], batch.seqs["rejected"]
    margin = i_w.detach() - i_l.detach()
    out = {"margin": margin.sum() / batch.n,
           "accuracy": pair_accuracy(margin, beta).sum() / batch.n,
           # Watch both: the margin can grow while BOTH of these fall.
           "logp_chosen": w.sum(w.logp.detach()).sum() / batch.n,
           "logp_rejected": l.sum(l.logp.detach()).sum() / batch.n}
    if w.ref_logp is not None:
        kl = w.sum(binary_kl(w)) + l.sum(binary_kl(l))
        out["kl"] = kl.sum() / (batch.tokens["chosen"] + batch.tokens["rejected"])
    return out


def pair_accuracy(margin: Tensor, beta: float) -> Tensor:
    """(B,) 1 for a positive margin, 1/2 if it is within 1e-3 nats of 0, as in metrics.wins.
    The errors of bf16 are larger than that."""
    return torch.where(margin.abs() < 1e-3 * beta, 0.5, (margin > 0).to(margin.dtype))


def binary_kl(s: Seqs) -> Tensor:
    """(B,T) nats, no gradient: how far the policy is from the reference at each token of the data.
    It is KL(pi || ref) after all other tokens are merged into one, so it is never above the KL over
    the whole vocabulary."""
    off = s.mask == 0
    logp = s.logp.detach().masked_fill(off, -1.0).clamp_max(-1e-6)
    ref = s.ref_logp.detach().masked_fill(off, -1.0).clamp_max(-1e-6)
    p = logp.exp()
    return p * (logp - ref) + (1 - p) * (log1mexp(logp) - log1mexp(ref))


def log1mexp(x: Tensor) -> Tensor:
    """log(1 - e^x) for x < 0 without cancellation: expm1 where e^x is near 1, else log1p."""
    return torch.where(x > -math.log(2), torch.log(-torch.expm1(x)), torch.log1p(-torch.exp(x)))
