"""Online UNA: fit the implicit score of each sampled answer to the score that it was given.

    python -m nanouft.train --objective online_una --init out/sft
    Wang et al. 2024, arXiv:2408.15339v2 (Eq. 13, its online form)
    released code: ZhichaoWang970201/UNA-UFT at 9a49524

The loss is that of una.py, on the model's own samples: with r = log pi(y|x)/pi_ref(y|x)
    L = (sigmoid(beta r) - score)^2
It is a regression, without advantage, critic or ratio. Paper and code differ on what pi_ref is:
    --against start     the initial model, as in the paper
    --against rollout   the policy that has just sampled the answer, as in the released code
                        (una_peft.py:332). Each rollout then begins at sigmoid(0) = 1/2 for every
                        answer, and nothing keeps the policy close to the initial model.
Scores are from 0 to 1: the exact score, the sigmoid of a learned reward, or your own reward
function. A learned reward is defined only up to a constant for each prompt, and here that constant
would count as quality; train such a reward model with --centre 0.01.

Answers to one prompt are not compared. Even if all are right, they are pushed up until beta r is
logit(score), which is infinite for a score of 1.
"""
from typing import Literal

from torch import Tensor

from nanouft.batch import Batch
from nanouft.objective import Count, Objective, Positive
from nanouft.objectives.una import graded_metrics, score_loss
from nanouft.policy_gradient import log_rho


class OnlineUNA(Objective):
    data = "prompts"
    lr = 3e-5
    reference = True
    scorer = "grade"                    # the reward, from 0 to 1, is the target itself
    samples: Count = 4              # answers to each prompt
    beta: Positive = 0.1            # factor of the log-ratio; smaller for longer answers
    distance: Literal["mse", "bce"] = "mse"         # squared error or cross-entropy of the score
    against: Literal["start", "rollout"] = "start"  # the reference: initial or sampling policy

    def loss(self, batch: Batch) -> tuple[Tensor, dict]:
        s = batch.seqs["answer"]
        log_ratio = log_rho(s) if self.against == "rollout" else s.logp - s.ref_logp
        i = self.beta * s.sum(log_ratio)
        losses = score_loss(i, batch.per_row["reward"], self.distance)
        return losses.sum() / batch.n, graded_metrics(batch, i.detach(), "reward", self.beta)
