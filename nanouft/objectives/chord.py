"""CHORD: imitate and explore in one step, with a weight that moves from one to the other.

    python -m nanouft.train --objective chord
    Zhang et al. 2025, arXiv:2508.11408
    released code: modelscope/Trinity-RFT at 0414330, chord_policy_loss.py and mix_chord.yaml

Two things differ from grpo.py: the loss of SFT on demonstrations is mixed in, and there is no KL:
    L = (1 - w) mean_t( -min(rho_t adv, clip(rho_t, .8, 1.2) adv) ) + w I_demo
    --weigh phi     L = (1 - w) mean_t( -min(rho_t adv, clip(rho_t, .8, 1.2) adv) ) + w J_demo
    I = -mean log p_t
    J = -mean sg(p_t (1 - p_t)) log p_t
    adv = (reward - mean_K reward) / (std_K reward + 1e-4)
    rho_t = p_t / old_t
    w = mu_end + (mu - mu_end) (1 + cos(pi min(1, progress / decay))) / 2
    progress: the share of the run's steps that are done
Equal mu and mu_end keep w constant: the authors take .1 (mix_chord.yaml:14) with --weigh phi, which
downweights tokens that are known or hopeless. Demonstrations come in an order of their own, one for
each prompt of the step. So with both at 0 it is GRPO with beta 0 on the same prompts, as is a step
without a demonstration, and with both at 1 it is SFT. The released code averages over each
micro-batch, and over all tokens of all answers, not first over those of an answer
(ppo_policy_loss.py:23 at 221b075). Not implemented: its second clip, at a ratio of 3 (the line
before), and its warm-up of w, 0 in the paper's runs (mix_chord.yaml:12).
"""
import math
from typing import Annotated, Literal

from torch import Tensor

from nanouft.batch import Batch
from nanouft.objective import GroupSize, Objective, Range, Share
from nanouft.objectives.grpo import standardise
from nanouft.policy_gradient import policy_gradient

PartOfRun = Annotated[float, Range(above=0, at_most=1)]


class CHORD(Objective):
    data = "demos + prompts"
    demo = "any"
    lr = 2.5e-4
    measures_demos = False
    samples: GroupSize = 4          # K, the group size: answers to each prompt
    mu: Share = 0.9                 # weight of the demonstrations at the start
    mu_end: Share = 0.05            # and at the end of its decay
    decay: PartOfRun = 0.5          # share of the run in which the weight falls
    weigh: Literal["same", "phi"] = "same"      # a demonstration's tokens: equally, or by p (1 - p)

    def credit(self, batch: Batch) -> tuple[Batch, dict]:
        R = batch.per_row["reward"].view(-1, self.samples)                  # (P,K)
        batch.per_row["advantage"] = standardise(R).flatten()
        return batch, {}

    def loss(self, batch: Batch) -> tuple[Tensor, dict]:
        demo, tokens = batch.seqs["demo"], batch.tokens["demo"]
        p = demo.logp.detach().masked_fill(demo.mask == 0, 0).exp()
        weight = p * (1 - p) if self.weigh == "phi" else 1.0
        imitate = -demo.sum(weight * demo.logp).sum() / max(1, tokens)
        explore = policy_gradient(batch).sum() / batch.n
        cosine = (1 + math.cos(math.pi * min(1, batch.progress / self.decay))) / 2
        w = self.mu_end + (self.mu - self.mu_end) * cosine if tokens else 0.0
        metrics = {"imitate": imitate.detach(), "explore": explore.detach()}
        return (1 - w) * explore + w * imitate, metrics
