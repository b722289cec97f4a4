"""PPO, as in RLHF: each token is an action, and a critic estimates the rewards to come.

    python -m nanouft.train --objective ppo --init out/sft
    Schulman et al. 2017, arXiv:1707.06347 (Eq. 7); GAE: arXiv:1506.02438 (Eq. 16)
    for language models: Ziegler et al. 2019, arXiv:1909.08593

Its parent is reinforce.py, with a baseline for each token and a clipped ratio. The last token gets
the score; an answer that does not stop loses end_penalty. Each token gets its own KL penalty:
    R_t = -beta log pi_old/pi_ref (token t) + [t is the last token] score
A value head V on the policy's hidden states estimates the rewards to come. The advantage of a token
is how it changed that estimate (GAE):
    delta_t = R_t + gamma V_{t+1} - V_t
    adv_t   = delta_t + gamma lam adv_{t+1}                                                (Eq. 16)
The target of the critic is the return, adv_t + V_t. Then advantages are whitened over all tokens of
the rollout, and both losses are clipped:
    L = mean ( policy_t + vf value_t )
    policy_t = max(-rho_t A_t, -clip(rho_t, 1 - eps, 1 + eps) A_t)                          (Eq. 7)
    rho_t = p_t / old_t
    A_t: the whitened advantage
    value_t = max((v_t - G_t)^2, (clip(v_t, V_t - eps_value, V_t + eps_value) - G_t)^2) / 2
    v_t, V_t: the critic's value now, and when the answer was sampled
    G_t: the return

The value head starts at 0 and has 30 times the model's learning rate; the folder of a run has the
model without it. Simplified: one network with two heads, so vf is 1. end_penalty is in units of the
reward.
Traps: returns before whitening, not after; whitening over the rollout, not the minibatch; V_t
belongs to the state BEFORE token t.
"""
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor

from nanouft.batch import Batch, Seqs
from nanouft.gpt import log_probs
from nanouft.objective import AtLeast0, Count, Objective, Positive, Share
from nanouft.policy_gradient import clip_ratio, log_rho, step_metrics


class PPO(Objective):
    data = "prompts"
    lr = 1e-5
    reference = True
    samples: Count = 4              # answers to each prompt
    beta: AtLeast0 = 0.02           # weight of the KL penalty to the reference; 0 = none
    gamma: Share = 1.0              # discount of later rewards
    lam: Share = 0.95               # GAE: 1 = whole returns, 0 = one step, then the critic
    eps: Positive = 0.2             # clip: how far a token's ratio may move on one rollout
    eps_value: Positive = 0.2       # clip: how far a value may move on one rollout
    vf: AtLeast0 = 1.0              # weight of the critic's loss
    end_penalty: AtLeast0 = 1.0     # subtracted from the reward of a response without EOS
    minibatches: Count = 2          # optimizer steps that a rollout is cut into
    passes: Count = 1               # how often a rollout is used

    def setup(self, model: Any, seed: int) -> None:
        """Add the critic: a value head, one number for each state, 0 at first. A value head that
        the model has already is kept."""
        if not hasattr(model, "value_head"):
            model.value_head = nn.Linear(model.cfg.n_embd, 1, device=model.wte.weight.device)
            for p in model.value_head.parameters():
                nn.init.zeros_(p)

    def forward(self, model: Any, batch: Batch) -> None:
        """One pass, two heads: `logp`, and `values` of the critic now.
        (Under autocast `values` are rounded to bf16; the loss continues in fp32.)"""
        s = batch.seqs["answer"]
        hidden = model(s.inputs)                                    # (B,T,C)
        s.logp = log_probs(model, hidden, s.targets, s.positions)
        s.extra["values"] = model.value_head(hidden)[..., 0]

    def credit(self, batch: Batch) -> tuple[Batch, dict]:
        """A whole rollout with adv and returns, token by token; and the share of the returns'
        variance that the critic explained before this rollout's steps."""
        s = batch.seqs["answer"]
        V = s.extra["old_values"]
        R = token_rewards(batch, self.beta, self.end_penalty)
        adv = gae(R, V, s.mask, self.gamma, self.lam)
        s.extra["returns"] = adv + V                            # the critic's target: not whitened
        s.token_advantage = whiten(adv, s.mask)
        returns, values = s.extra["returns"][s.mask > 0], V[s.mask > 0]
        total = returns.var(correction=0).clamp_min(1e-8)
        unexplained = (returns - values).var(correction=0) / total
        return batch, {"explained_variance": float(1 - unexplained)}

    def loss(self, batch: Batch) -> tuple[Tensor, dict]:
        s, n = batch.seqs["answer"], batch.tokens["answer"]
        rho = torch.exp(log_rho(s).clamp(-20, 20))              # (B,T) e^20 is far beyond any clip
        adv = s.token_advantage.masked_fill(s.mask == 0, 0)
        policy = s.sum(clip_ratio(rho, adv, self.eps, self.eps)).sum() / n                  # Eq. 7
        value = s.sum(value_loss(s, self.eps_value)).sum() / n
        metrics = {"policy_loss": policy.detach(), "value_loss": value.detach()}
        return policy + self.vf * value, metrics | step_metrics(batch, self.eps, self.eps)


def token_rewards(batch: Batch, beta: float, end_penalty: float) -> Tensor:
    """(B,T) R_t: the KL penalty at every answer token, the score at the last."""
    s = batch.seqs["answer"]
    penalty = (s.sampled_logp - s.ref_logp).masked_fill(s.mask == 0, 0)
    remaining = s.mask.flip(-1).cumsum(-1).flip(-1)             # answer tokens from here to the end
    last = (s.mask > 0) & (remaining == 1)
    score = batch.per_row["reward"] - end_penalty * (1 - batch.per_row["ended"])
    return -beta * penalty + torch.where(last, score[:, None], 0)


def gae(R: Tensor, V: Tensor, mask: Tensor, gamma: float, lam: float) -> Tensor:
    """(B,T) advantages from rewards and values, both (B,T); 0 off the mask.
    The answer tokens of a row are contiguous. After the last one the value is 0."""
    R = R.masked_fill(mask == 0, 0)
    V = V.masked_fill(mask == 0, 0)
    adv = torch.zeros_like(R)
    later = R.new_zeros(len(R))
    for t in reversed(range(R.shape[1])):
        following = V[:, t + 1] if t + 1 < R.shape[1] else 0
        delta = R[:, t] + gamma * following - V[:, t]
        later = (delta + gamma * lam * later) * (mask[:, t] > 0)                            # Eq. 16
        adv[:, t] = later
    return adv


def whiten(x: Tensor, mask: Tensor) -> Tensor:
    """(B,T) mean 0, variance 1 (Bessel's) over all masked tokens of the rollout; 0 elsewhere."""
    on = x[mask > 0]
    variance = on.var() if len(on) > 1 else on.new_zeros(())
    return ((x - on.mean()) * torch.rsqrt(variance + 1e-8)).masked_fill(mask == 0, 0)


def value_loss(s: Seqs, eps: float) -> Tensor:
    """(B,T) the worse of two squared errors: that of the value, and that of the clipped value."""
    off = s.mask == 0
    v = s.extra["values"].masked_fill(off, 0)
    old = s.extra["old_values"].masked_fill(off, 0)
    target = s.extra["returns"].masked_fill(off, 0)
    clipped = old + (v - old).clamp(-eps, eps)
    return 0.5 * torch.maximum((v - target) ** 2, (clipped - target) ** 2)
