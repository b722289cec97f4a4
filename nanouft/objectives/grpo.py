"""GRPO: rewards standardised within the group of answers to one prompt, and a ratio for each token.

    python -m nanouft.train --objective grpo --init out/sft
    Shao et al. 2024, arXiv:2402.03300 (Eq. 3, 4); Yu et al. 2025, arXiv:2503.14476 (DAPO, Eq. 8)
    Liu et al. 2025, arXiv:2503.20783 (Dr. GRPO); TRL's defaults where they are silent

The model samples the answers in rollout.py.

1. Plain GRPO, the default. Four things differ from rloo.py. A reward is centred on the mean of its
whole group and divided by the group's standard deviation. Each token has its own ratio and clip.
The loss is a mean over the tokens of an answer. The KL penalty is in the loss, not in the reward:
    L = mean_t ( -min(rho_t adv, clip(rho_t, 1 - eps, 1 + eps_high) adv) + beta k3_t )      (Eq. 3)
    adv = (reward - mean_K reward) / (std_K reward + 1e-4)
    rho_t = p_t / old_t
    k3_t = ref_t/p_t - log(ref_t/p_t) - 1                                                   (Eq. 4)
In PyTorch, from rewards (P,K), and log-probs and mask (P K,T) of the answers:
    spread = rewards.std(-1, keepdim=True) + 1e-4
    advantages = ((rewards - rewards.mean(-1, keepdim=True)) / spread).view(-1, 1)
    ratio = torch.exp(logp - old_logp)
    clipped = ratio.clamp(1 - eps, 1 + eps)
    gain = torch.minimum(ratio * advantages, clipped * advantages)
    k3 = torch.exp(ref_logp - logp) - (ref_logp - logp) - 1
    each = (beta * k3 - gain) * mask
    loss = (each.sum(-1) / mask.sum(-1)).mean()
k3 is above 0, or 0 with gradient 0 if the two policies agree. Its expected gradient is that of
KL(pi_ref || pi), not of KL(pi || pi_ref) as in rloo, reinforce and ppo. TRL's default has the
latter since 1.10: it multiplies k3 by rho (grpo_trainer.py:3105). In a zero-variance group all
advantages are 0 (`ties` in the log is the share of such groups).

2. Its settings:
    --aggregation dapo      mean over all tokens of the step: every token weighs the same
    --aggregation dr_grpo   sum over tokens / (answers x --length): nothing sampled divides it
    --scale none            do not divide by std_K: nearly solved prompts weigh less (Dr. GRPO)
Defaults that differ from TRL's (grpo_config.py:481, 682, 802, 973): 4 answers, not 8; beta .04, not
0; aggregation grpo, not dapo; k3 without rho. log(pi_ref/pi) in k3 is clamped at 20.
"""
from typing import Literal

import torch
from torch import Tensor

from nanouft.batch import Batch
from nanouft.objective import AtLeast0, Count, GroupSize, Objective, Positive
from nanouft.policy_gradient import clip_ratio, k3, log_rho, step_metrics


class GRPO(Objective):
    data = "prompts"
    lr = 1e-5
    reference = True
    samples: GroupSize = 4          # K, the group size: answers to each prompt
    beta: AtLeast0 = 0.04           # strength of the KL penalty (k3) to the reference; 0 = none
    aggregation: Literal["grpo", "dapo", "dr_grpo"] = "grpo"    # how the tokens of a step add up
    scale: Literal["group", "none"] = "group"   # divide advantages by the group's std of rewards
    eps: Positive = 0.2             # clip: how far a token's ratio may move on one rollout
    eps_high: Positive | None = None  # upper clip, if different (DAPO: 0.28) [eps]
    length: Count = 44              # with dr_grpo: divides the sum over an answer's tokens
    minibatches: Count = 1          # optimizer steps that a rollout is cut into
    passes: Count = 1               # how often a rollout is used

    def credit(self, batch: Batch) -> tuple[Batch, dict]:
        """A whole rollout with per_row["advantage"]."""
        R = batch.per_row["reward"].view(-1, self.samples)                  # (P,K)
        batch.per_row["advantage"] = standardise(R, self.scale).flatten()
        return batch, {}

    def loss(self, batch: Batch) -> tuple[Tensor, dict]:
        s = batch.seqs["answer"]
        low, high = self.eps, self.eps if self.eps_high is None else self.eps_high
        rho = torch.exp(log_rho(s).clamp(-20, 20))                          # (B,T)
        losses = clip_ratio(rho, batch.per_row["advantage"][:, None], low, high)            # Eq. 3
        losses = losses + self.beta * k3(s.ref_logp - s.logp)
        if self.aggregation == "grpo":
            total = s.mean(losses).sum() / batch.n
        elif self.aggregation == "dapo":
            total = s.sum(losses).sum() / batch.tokens["answer"]
        else:
            total = s.sum(losses).sum() / (batch.n * self.length)
        return total, step_metrics(batch, low, high)


def standardise(R: Tensor, scale: str = "group") -> Tensor:
    """(P,K) rewards of K answers to P prompts -> (P,K) advantages."""
    centred = R - R.mean(-1, keepdim=True)
    return centred if scale == "none" else centred / (R.std(-1, keepdim=True) + 1e-4)
