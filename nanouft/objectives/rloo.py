"""RLOO: the other answers to the same prompt are the baseline.

    python -m nanouft.train --objective rloo --init out/sft
    Kool et al. 2019; Ahmadian et al. 2024, arXiv:2402.14740 (section on RLOO)
    the ratio: TRL's rloo_trainer.py:1824

A score of 0.6 is good for a hard prompt and bad for an easy one. Two things differ from
reinforce.py. The baseline is the mean of the K - 1 OTHER answers to the prompt. It depends on the
prompt and not on the answer, so it adds no bias and removes variance. And a ratio allows several
steps on a rollout:
    L = -min(rho adv, clip(rho, 1 - eps, 1 + eps) adv)
    rho = exp(sum_t (log p_t - log old_t))
    adv = K/(K - 1) (R - mean_K R)              which is R_i - mean over j != i of R_j
The ratio is sequence-level. With one step per rollout (the default) it is 1, and this is REINFORCE
with that baseline. The reward has the same KL penalty:
    R = reward - beta sum_t (log old_t - log ref_t)
The advantages of a group sum to 0, and in a zero-variance group all are 0. Defaults that differ
from TRL's: four answers, not two; beta .02, not .05 (rloo_config.py:302, 503).
Traps: answers to one prompt must stay neighbours; K - 1, not K.
"""
import torch
from torch import Tensor

from nanouft.batch import Batch
from nanouft.objective import AtLeast0, Count, GroupSize, Objective, Positive
from nanouft.policy_gradient import clip_ratio, log_rho, penalised_reward, step_metrics


class RLOO(Objective):
    data = "prompts"
    lr = 3e-5
    reference = True
    samples: GroupSize = 4          # K: answers to each prompt
    beta: AtLeast0 = 0.02           # weight of the KL penalty to the reference; 0 = none
    eps: Positive = 0.2             # clip: how far the ratio of an answer may move on one rollout
    minibatches: Count = 1          # optimizer steps that a rollout is cut into
    passes: Count = 1               # how often a rollout is used

    def credit(self, batch: Batch) -> tuple[Batch, dict]:
        """A whole rollout with per_row["advantage"]."""
        R = penalised_reward(batch, self.beta).view(-1, self.samples)       # (P,K)
        batch.per_row["advantage"] = leave_one_out(R).flatten()
        return batch, {}

    def loss(self, batch: Batch) -> tuple[Tensor, dict]:
        s = batch.seqs["answer"]
        rho = torch.exp(s.sum(log_rho(s)).clamp(-20, 20))       # (B,) e^20 is far beyond any clip
        losses = clip_ratio(rho, batch.per_row["advantage"], self.eps, self.eps)
        outside = ((rho.detach() - 1).abs() > self.eps).to(rho.dtype)
        metrics = step_metrics(batch, self.eps, self.eps)
        metrics["clip_fraction"] = outside.sum() / batch.n      # of answers, not of tokens
        return losses.sum() / batch.n, metrics


def leave_one_out(R: Tensor) -> Tensor:
    """(P,K) rewards of K answers to P prompts -> (P,K) advantages."""
    K = R.shape[-1]
    others = (R.sum(-1, keepdim=True) - R) / (K - 1)            # mean reward of the others
    return R - others                                           # the RLOO estimator
