"""REINFORCE: sample answers, and make those more likely that score above the average.

    python -m nanouft.train --objective reinforce --init out/sft
    Williams 1992, Machine Learning 8; for language models: Ahmadian et al. 2024, arXiv:2402.14740

The gradient of an expected reward is an expectation again, so sampled answers estimate it:
    grad E[R] = E[ (R - b) grad log pi(y|x) ]
Any baseline b that does not depend on y leaves the mean unchanged and affects only the variance.
Here b is the mean reward of the whole rollout (--baseline). It includes the answer's own reward,
which multiplies the mean gradient by (N-1)/N for N answers in the rollout. The reward includes a KL
penalty to the reference, the initial model:
    L = -adv S
    adv = R - mean_i R
    R = reward - beta sum_t (log old_t - log ref_t)
An answer is one action, so all its tokens get the same push. Answers are used ONCE, because a
second step on them would need an importance ratio.
Only the gradient of the loss has a meaning, not its value: watch `reward`.

Trap: the mean over all prompts mistakes an easy prompt for a good answer; rloo.py's does not.
"""
from typing import Literal

from torch import Tensor

from nanouft.batch import Batch
from nanouft.objective import AtLeast0, Count, Objective
from nanouft.policy_gradient import penalised_reward


class Reinforce(Objective):
    data = "prompts"
    lr = 1e-5
    reference = True
    samples: Count = 4              # answers to each prompt
    beta: AtLeast0 = 0.02           # weight of the KL penalty to the reference; 0 = none
    baseline: Literal["mean", "none"] = "mean"  # compare a reward with the mean, or with 0

    def credit(self, batch: Batch) -> tuple[Batch, dict]:
        """A whole rollout with per_row["advantage"]."""
        R = penalised_reward(batch, self.beta)
        batch.per_row["advantage"] = R - R.mean() if self.baseline == "mean" else R
        return batch, {}

    def loss(self, batch: Batch) -> tuple[Tensor, dict]:
        s = batch.seqs["answer"]
        # The gradient of this number is the estimator.
        return -(batch.per_row["advantage"] * s.sum(s.logp)).sum() / batch.n, {}
