"""Distillation, on-policy: a teacher scores every token of the answers that the model samples.

    python -m nanouft.train --objective distill --init out/sft
    Agarwal et al. 2023, arXiv:2306.13649 (GKD, section 3: on-policy data, reverse KL)
    Lu and Thinking Machines Lab 2025, On-Policy Distillation (the estimate from one token)

Two things differ from reinforce.py: the advantage of a token is the log-ratio of the teacher to the
policy, and the mean is over all tokens of the step.
    L = -mean adv_t log p_t
    adv_t = log teacher_t - log old_t
The expected gradient of token t is that of the reverse KL given the tokens before it:
    E[-adv_t grad log pi(y_t)] = grad KL(pi(.|y_<t) || pi_T(.|y_<t))
As in GKD, no gradient flows through the sampling of earlier tokens.

The teacher needs the same tokenizer. For NanoWorld it is PoFT's helper, trained at first use. No
reward is needed: the score is only shown (0 for --data without --reward). Not implemented: GKD's
share of given answers, its forward KL and JSD; a KL to the initial model.
Traps: one step per rollout, as in reinforce.py. The reverse KL is mode-seeking: the model may drop
some of the teacher's answers, and it never learns one that it does not sample.
"""
from torch import Tensor

from nanouft.batch import Batch
from nanouft.objective import Count, FirstModels, Objective
from nanouft.plumbing.errors import UserError


class Distill(Objective):
    data = "prompts"
    lr = 1e-4
    scorer = "none"
    first_models = FirstModels("teacher", "a teacher, made first",
                               ("--objective sft --rows 4080 --seed 900",), inherits=False)
    teacher: list[str] | None = None    # folder of the teacher [NanoWorld: one is trained first]
    samples: Count = 4              # answers to each prompt

    def check(self) -> None:
        super().check()
        if self.teacher and len(self.teacher) != 1:
            raise UserError(f"--teacher: give one folder, not {len(self.teacher)}")

    def credit(self, batch: Batch) -> tuple[Batch, dict]:
        """A whole rollout with adv, token by token. The reference is the teacher."""
        s = batch.seqs["answer"]
        s.token_advantage = s.ref_logp - s.sampled_logp
        return batch, {}

    def loss(self, batch: Batch) -> tuple[Tensor, dict]:
        s, n = batch.seqs["answer"], batch.tokens["answer"]
        adv = s.token_advantage.masked_fill(s.mask == 0, 0)
        return -s.sum(adv * s.logp).sum() / n, {"kl_teacher": -adv.sum() / n}
