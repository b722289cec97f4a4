"""Shared by methods that learn from sampled answers: importance ratio, KL and clip.

The ratio is pi / pi_old: the policy now, and the policy that sampled (Seqs.sampled_logp).
Sources: PPO, arXiv:1707.06347; GRPO, arXiv:2402.03300; k3: Schulman 2020, Approximating KL
Divergence.
"""
import torch
from torch import Tensor

from nanouft.batch import Batch, Seqs


def penalised_reward(batch: Batch, beta: float) -> Tensor:
    """(B,) the reward of each sampled answer minus its KL penalty.
    The penalty is beta times the answer's log-ratio to the reference, as it was when the answer
    was sampled: the k1 estimate of the KL, summed over the answer."""
    s = batch.seqs["answer"]
    return batch.per_row["reward"] - beta * s.sum(s.sampled_logp - s.ref_logp)


def log_rho(s: Seqs) -> Tensor:
    """(B,T) nats: log pi(token) now minus when it was sampled; 0 off the mask. In half precision
    `sampled_logp` is not set at the first step on a rollout. There the policy is still the one that
    sampled, and only its own log-probs give a ratio of exactly 1. (In fp32 it is 1 up to 2e-5.)"""
    old = s.logp.detach() if s.sampled_logp is None else s.sampled_logp
    return (s.logp - old).masked_fill(s.mask == 0, 0)


def k3(x: Tensor) -> Tensor:
    """Schulman's estimate of KL(pi || pi_ref), token by token (arXiv:2402.03300, Eq. 4).
    x = log pi_ref(token) - log pi(token), on tokens that pi has drawn. Its mean is this KL, but
    the mean of its gradient on such tokens is the gradient of KL(pi_ref || pi)."""
    x = x.clamp_max(20)             # both terms: fp32 stays finite, no gradient has the wrong sign
    return torch.expm1(x) - x       # exp(x) - x - 1 falls below 0 by rounding at a small x


def clip_ratio(rho: Tensor, adv: Tensor, low: float, high: float) -> Tensor:
    """PPO's clipped surrogate, to be minimised (arXiv:1707.06347, Eq. 7)."""
    return -torch.minimum(rho * adv, rho.clamp(1 - low, 1 + high) * adv)


def policy_gradient(batch: Batch) -> Tensor:
    """(B,) GRPO's loss of each answer, without a KL penalty: Eq. 3 with eps = .2."""
    s = batch.seqs["answer"]
    rho = torch.exp(log_rho(s).clamp(-20, 20))
    return s.mean(clip_ratio(rho, batch.per_row["advantage"][:, None], 0.2, 0.2))


@torch.no_grad()
def step_metrics(batch: Batch, low: float, high: float) -> dict[str, Tensor]:
    """How far the policy has moved from the one that sampled: 0 at the first step on a rollout."""
    s = batch.seqs["answer"]
    n = batch.tokens["answer"]
    log_ratio = log_rho(s)
    outside = (log_ratio.exp() < 1 - low) | (log_ratio.exp() > 1 + high)
    return {"clip_fraction": s.sum(outside.to(log_ratio.dtype)).sum() / n,
            "kl_step": s.sum(k3(log_ratio)).sum() / n}
