"""GRPO: rewards standardised within the group of answers to one prompt, a ratio for every token.

    python -m nanouft.train --objective grpo --init out/sft
    Shao et al. 2024, arXiv:2402.03300 (Eq. 3, 4); Yu et al. 2025, arXiv:2503.14476 (DAPO, Eq. 8)
    Liu et al. 2025, arXiv:2503.20783 (Dr. GRPO); MiniMax 2025, arXiv:2506.13585 (CISPO, Eq. 4)
    Zheng et al. 2025, arXiv:2507.18071 (GSPO, Eq. 5, 7); TRL's defaults where they are silent
    Tajwar et al. 2026, arXiv:2602.02710 (MaxRL)

1. Plain GRPO, which is the default. From rloo.py four things differ. A reward is compared with the
mean of its whole group and divided by the group's spread. Each token has its own ratio and clip.
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
KL(pi_ref || pi), not of the KL in rloo, reinforce and ppo. TRL's is, by default since 1.10: it
multiplies k3 by rho. A group of equal rewards teaches nothing (`ties` in the log is their share).

2. Its settings. Surrogates differ only after the first step on a rollout:
    --surrogate gspo        rho is exp(mean log rho) of the whole answer, for all of its tokens; a
                            mean moves little, so its clip is 3e-4 below and 4e-4 above 1
    --surrogate cispo       -clip(rho, 1 - eps, 1 + eps_high) adv log pi(token); the clipped weight
                            is a constant, so every token keeps its gradient (the paper: --eps 1,
                            --beta 0, --aggregation dapo; TRL's epsilon_high 5 is --eps-high 4)
    --aggregation dapo      mean over all tokens of the step: those of long answers weigh the same
    --aggregation dr_grpo   sum over tokens / (answers x --length): nothing sampled divides it
    --scale none            do not divide by std_K: nearly solved prompts weigh less (Dr. GRPO)
    --scale mean            divide by mean_K reward: the less a prompt is solved, the more it
                            weighs, as in the gradient of the log of its share of right answers
                            (MaxRL, which has rewards 0 and 1)
    --oversample 2          answer twice as many prompts, leave those with ties out first: DAPO's
                            dynamic sampling (Eq. 11) in one round, where DAPO fills the step
Defaults that differ from TRL's: 4 answers, not 8; beta .04, not 0; aggregation grpo, not dapo; k3
without rho. At log(pi_ref/pi) = 20 k3 is cut off.
"""
from typing import Literal

import torch
from torch import Tensor

from nanouft.batch import Batch
from nanouft.objective import Objective
from nanouft.objectives.on_policy import check_sampling, clip_ratio, k3, log_rho, step_metrics
from nanouft.plumbing.errors import UserError


class GRPO(Objective):
    data = "prompts"
    lr = 1e-5
    reference = True
    samples: int = 4                # K, the group size: answers to each prompt
    beta: float = 0.04              # strength of the KL penalty (k3) to the start model; 0 = none
    aggregation: Literal["grpo", "dapo", "dr_grpo"] = "grpo"    # how the tokens of a step add up
    surrogate: Literal["ppo", "gspo", "cispo"] = "ppo"  # clips tokens, whole answers, or weights
    scale: Literal["group", "none", "mean"] = "group"   # divide by the rewards' spread, or mean
    eps: float | None = None        # how far a ratio may move on one rollout [0.2; gspo 3e-4]
    eps_high: float | None = None   # upper clip, if different (DAPO: 0.28) [eps; gspo 4e-4]
    length: int = 44  # with dr_grpo: divides the sum over an answer's tokens
    minibatches: int = 1            # optimizer steps that a rollout is cut into
    passes: int = 1                 # how often a rollout is used
    oversample: int = 1             # times as many prompts are answered; those with ties go first

    def check(self) -> None:
        check_sampling(self, least=2)
        if self.surrogate != "ppo" and self.minibatches * self.passes == 1:
            raise UserError(f"--surrogate {self.surrogate} changes nothing with one step on a "
                            "rollout (the ratio is 1); add --minibatches 4")

    def credit(self, batch: Batch) -> tuple[Batch, dict]:
        """A whole rollout with per_row["advantage"], of the rewards of rollout.scores."""
        R = batch.per_row["reward"].view(-1, self.samples)                  # (P,K)
        if self.scale == "mean" and (R < 0).any():
            raise UserError("--scale mean needs rewards of 0 or more")
        batch.per_row["advantage"] = standardise(R, self.scale).flatten()
        return batch, {}

    def loss(self, batch: Batch) -> tuple[Tensor, dict]:
        s = batch.seqs["answer"]
        low, high = clip_of(self)
        metrics = step_metrics(batch, low, high)
        log_ratio = log_rho(s)                                      # (B,T)
        if self.surrogate == "gspo":
            log_ratio = s.mean(log_ratio)[:, None].expand_as(log_ratio)     # Eq. 7: of all tokens
        rho = torch.exp(log_ratio.clamp(-20, 20))
        if self.surrogate == "cispo":
            weight = rho.detach().clamp(1 - low, 1 + high)
            each = -weight * batch.per_row["advantage"][:, None] * s.logp            # CISPO, Eq. 4
        else:
            each = clip_ratio(rho, batch.per_row["advantage"][:, None], low, high)           # Eq. 3
        if self.surrogate == "gspo":                                # clip_fraction: of answers
            outside = (rho < 1 - low) | (rho > 1 + high)
            metrics["clip_fraction"] = s.mean(outside.to(rho.dtype)).sum() / batch.n
        each = each + self.beta * k3(s.ref_logp - s.logp)
        if self.aggregation == "grpo":
            total = s.mean(each).sum() / batch.n
        elif self.aggregation == "dapo":
            total = s.sum(each).sum() / batch.tokens["answer"]
        else:
            total = s.sum(each).sum() / (batch.n * self.length)
        return total, metrics


def clip_of(grpo: GRPO) -> tuple[float, float]:
    """How far below and above 1 a ratio may move. GSPO's is a mean, which moves little."""
    usual = (3e-4, 4e-4) if grpo.surrogate == "gspo" else (0.2, 0.2)
    low, high = usual if grpo.eps is None else (grpo.eps, grpo.eps)
    return low, high if grpo.eps_high is None else grpo.eps_high


def standardise(R: Tensor, scale: str = "group") -> Tensor:
    """(P,K) rewards of K answers to P prompts -> (P,K) advantages."""
    mean = R.mean(-1, keepdim=True)
    if scale == "none":
        return R - mean
    return (R - mean) / ((mean if scale == "mean" else R.std(-1, keepdim=True)) + 1e-4)
