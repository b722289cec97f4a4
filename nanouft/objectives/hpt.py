"""HPT: imitate a demonstration where no answer of the model is right, explore everywhere else.

    python -m nanouft.train --objective hpt
    Lv et al. 2025, arXiv:2509.04419
    released code: TsinghuaC3I/Unify-Post-Training at ae332f5

Two things differ from grpo.py: a prompt that the model fails gets the loss of SFT on its
demonstration instead of the loss of its samples, and there is no KL:
    L = (1 - g) mean_t( -min(rho_t adv, clip(rho_t, .8, 1.2) adv) ) - g K coef A_demo
    adv = (reward - mean_K reward) / (std_K reward + 1e-4)
    rho_t = p_t / old_t
    g: 1 for all K rows of a prompt that is failed and has a demonstration, else 0
The demonstration is in one of the K rows, so K gives each prompt the same weight, as in the
paper. A prompt is failed if at most the share --gate of its answers earns --right or more (0 for
Qwen, 2 of 8 for Llama: train.sh:25, train_llama.sh:25). The released scripts have neither the clip
nor the division by the spread (train.sh:107, 109). In each micro-batch they sum over all explored
tokens, divide by the longest answer allowed (8,192; ppo/core_algos.py:317), and add the mean over
all imitated tokens (mix_core_alg.py:9) and a bonus of .001 for entropy (train.sh:79).
Trap: with few demonstrations, few prompts have one; --share repeats those prompts.
"""
from typing import Annotated

from torch import Tensor

from nanouft.batch import Batch
from nanouft.data.row import Row
from nanouft.objective import AnyNumber, AtLeast0, GroupSize, Objective, Range, Share
from nanouft.objectives.grpo import standardise
from nanouft.policy_gradient import policy_gradient

PartOfPrompts = Annotated[float, Range(at_least=0, at_most=0.95)]  # others are for exploring


class HPT(Objective):
    data = "demos + prompts"
    lr = 2.5e-4
    measures_demos = False
    samples: GroupSize = 4          # K, the group size: answers to each prompt
    gate: Share = 0.0               # share of right answers up to which a prompt is imitated
    right: AnyNumber = 1.0          # smallest reward of a right answer
    coef: AtLeast0 = 1.0            # weight of the demonstrations
    share: PartOfPrompts = 0.0      # repeat prompts with a demonstration up to this share of all

    def choose(self, rows: list[Row]) -> list[Row]:
        return more_demos(super().choose(rows), self.share)

    def credit(self, batch: Batch) -> tuple[Batch, dict]:
        R, has_demo = (batch.per_row[name].view(-1, self.samples) for name in ("reward", "demo"))
        passed = (R > self.right - 1e-6).to(R).mean(-1, keepdim=True)       # (P,1); R was fp32
        failed = ((passed <= self.gate) & (has_demo[:, :1] > 0)).to(R)
        batch.per_row["advantage"] = standardise(R).flatten()
        batch.per_row["imitate"] = failed.expand_as(R).flatten()
        return batch, {"imitated": float(failed.mean())}

    def loss(self, batch: Batch) -> tuple[Tensor, dict]:
        demo, g = batch.seqs["demo"], batch.per_row["imitate"]              # (B,)
        imitate = -g * self.samples * self.coef * demo.mean(demo.logp)
        total = (1 - g) * policy_gradient(batch) + imitate
        return total.sum() / batch.n, {"imitate": imitate.detach().sum() / batch.n}


def more_demos(rows: list[Row], share: float) -> list[Row]:
    """The rows; prompts with a demonstration are repeated until they are this share of all."""
    prompts = [row for row in rows if "prompt" in row.roles]
    both = [row for row in prompts if "demo" in row.roles]
    times = round(share / (1 - share) * (len(prompts) - len(both)) / max(1, len(both)))
    return rows + both * max(0, times - 1)
