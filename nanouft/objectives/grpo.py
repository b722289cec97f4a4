"""GRPO: rewards standardised within the group of answers to one prompt, a ratio for every token.

    python -m nanouft.train --objective grpo --init out/sft            # --aggregation dapo: every token weighs the same
    Shao et al. 2024, arXiv:2402.03300 (Eq. 3, 4); Yu et al. 2025, arXiv:2503.14476 (DAPO, Eq. 8); Liu et al. 2025,
    arXiv:2503.20783 (Dr. GRPO); defaults of TRL where the papers are silent

    adv_i = (R_i - mean) / (std + 1e-4), over the K answers to the prompt; every token of answer i gets adv_i
    token loss = -min(rho adv, clip(rho, 1 - eps, 1 + eps_high) adv) + beta k3                   (Eq. 3)
    k3 = pi_ref/pi - log(pi_ref/pi) - 1: never negative, 0 with gradient 0 where the policies agree        (Eq. 4)
The leash stands in the loss, not in the reward. Three ways to add tokens up, and they are three different losses:
    --aggregation grpo      mean over the tokens of an answer, then over answers: a token of a long answer counts less
    --aggregation dapo      mean over all tokens of the step
    --aggregation dr_grpo   sum over tokens / (answers x --length): no term that depends on what was sampled

Needs prompts; at least two answers each. A group of equal rewards teaches nothing. std is Bessel's (K - 1). Dividing by
it gives nearly solved prompts the same weight as hard ones; --scale none leaves it out (Dr. GRPO).
Defaults that differ from TRL's: 4 answers, not 8; beta .04, not 0; `grpo`, not `dapo`.
Left out: TRL's factor rho on k3; filtering of groups without spread (DAPO's dynamic sampling).
"""
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from nanouft.shell.config import UserError
from nanouft.data.rows import prompt_rows
from nanouft.objective import Batch, Objective
from nanouft.objectives.reinforce import check_sampling, clipped, log_rho, step_metrics


@dataclass
class GRPO:
    samples: int = 4                # K: answers to each prompt
    beta: float = 0.04              # strength of the leash (k3) to the start model; 0 = none
    aggregation: Literal["grpo", "dapo", "dr_grpo"] = "grpo"    # how the tokens of a step are added up
    scale: Literal["group", "none"] = "group"       # divide by the spread of the group's rewards
    eps: float = 0.2               # eps: how far a token's chance may move on one rollout
    eps_high: float | None = None  # upper side, if it shall be another (DAPO: 0.28)
    length: int = 44                # dr_grpo: the constant that tokens are divided by
    minibatches: int = 1            # optimizer steps that a rollout is cut into
    passes: int = 1                 # how often a rollout is used

    def check(self, given: set[str]) -> None:
        check_sampling(self, least=2)
        if "length" in given and self.aggregation != "dr_grpo":
            raise UserError(f"--length changes nothing with --aggregation {self.aggregation}")
        if min(self.length, 1 if self.eps_high is None else self.eps_high) <= 0:
            raise UserError("--length and --eps-high must be above 0")


def standardised(R: Tensor, scale: str = "group") -> Tensor:
    """(P,K) rewards of K answers to P prompts -> (P,K) advantages."""
    centred = R - R.mean(-1, keepdim=True)
    return centred / (R.std(-1, keepdim=True) + 1e-4) if scale == "group" else centred


def k3(x: Tensor) -> Tensor:
    """Schulman's estimate of KL(pi || pi_ref) from x = log pi_ref(token) - log pi(token), token by token (Eq. 4)."""
    return torch.exp(x.clamp_max(20)) - x - 1                           # the clamp keeps fp32 finite


def credit(batch: Batch, hp: GRPO) -> Batch:
    """A whole rollout with col.adv."""
    batch.col.adv = standardised(batch.col.reward.view(-1, hp.samples), hp.scale).flatten()
    return batch


def loss(batch: Batch, hp: GRPO) -> tuple[Tensor, dict]:
    s, high = batch.seqs["answer"], hp.eps if hp.eps_high is None else hp.eps_high
    rho = torch.exp(log_rho(s).clamp(-20, 20))                          # (B,T)
    leash = k3((s.ref - s.logp).masked_fill(s.mask == 0, 0))
    each = clipped(rho, batch.col.adv[:, None], hp.eps, high) + hp.beta * leash               # Eq. 3
    total = {"grpo": lambda: s.mean(each).sum() / batch.rows,
             "dapo": lambda: s.sum(each).sum() / batch.tokens["answer"],
             "dr_grpo": lambda: s.sum(each).sum() / (batch.rows * hp.length)}[hp.aggregation]()
    return total, step_metrics(batch, hp.eps, high)


OBJECTIVE = Objective(
    paper="DeepSeekMath: GRPO, arXiv:2402.03300, Eq. 3, 4",
    data="prompts", rows=prompt_rows, hp=GRPO, loss=loss, lr=1e-5, credit=credit)
