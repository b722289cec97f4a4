"""On-policy distillation: a teacher judges every token of the answers that the model samples.

    python -m nanouft.train --objective distill --init out/sft      # NanoWorld; a teacher first, once
    python -m nanouft.train --objective distill --data my.jsonl --init DIR --teacher DIR
    Agarwal et al. 2023, arXiv:2306.13649 (GKD, section 3: on-policy data, reverse KL)
    Lu and Thinking Machines Lab 2025, On-Policy Distillation (the estimate from the sampled token)

SFT on a teacher's answers shows the model beginnings that the teacher wrote. At test time the
model goes on from its own. So here the model answers, and the teacher reads these answers:
    adv_t = log pi_T(y_t) - log pi_old(y_t)     nats; pi_old is the policy that sampled
    L     = - mean over all tokens of the step of adv_t log pi(y_t)
Where pi is pi_old, the expected gradient of token t is that of the reverse KL in its state s_t:
    E[-adv_t grad log pi(y_t)] = grad KL(pi(.|s_t) || pi_T(.|s_t))
As in GKD, no gradient goes through the draw of earlier tokens: a token pays for itself alone.
MiniLLM (arXiv:2306.08543) also lets it pay for what follows.

Needs prompts and a teacher with the same tokenizer, --teacher. For NanoWorld the teacher is SFT on
4,080 right answers (PoFT's aligned model), made at first use. No reward is needed: the score is
only shown, and it is 0 for prompts of --data without --reward. No KL to the start model.
A teacher that is the model itself gives adv 0: nothing is learnt.
`kl_teacher` is the mean of -adv_t: it falls, and one rollout's may be below 0.
The other way is the exact KL over the vocabulary (GKD's own; TRL's GKD trainer): less noise, but V
numbers of the teacher for each token. A Column here holds one.
Traps: one step per rollout, as in reinforce.py. The reverse KL seeks a mode: the model keeps some
of the teacher's answers and drops the others, and it never tries what it does not say already.
Left out: GKD's share of given answers, its forward KL and its generalised JSD.
"""
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

from torch import Tensor

from nanouft.gpt import GPT
from nanouft.objective import Batch, Column, Objective, Prerequisite, Seqs
from nanouft.objectives.reinforce import check_sampling
from nanouft.reference import same_tokens
from nanouft.shell.errors import UserError


@dataclass
class Distill:
    teacher: list[str] | None = None    # folder of the teacher [NanoWorld: one is made, once]
    samples: int = 4                # answers to each prompt
    minibatches: ClassVar[int] = 1  # a rollout is used once, so these are no flags
    passes: ClassVar[int] = 1

    def check(self, given: set[str]) -> None:
        check_sampling(self)
        if self.teacher and len(self.teacher) != 1:
            raise UserError(f"--teacher: one folder is needed, not {len(self.teacher)}")


@lru_cache(maxsize=1)               # a run asks its teacher for every 64 answers
def load_teacher(folder: str, policy: GPT, device: str) -> GPT:
    return same_tokens(folder, policy).to(device)


def teacher_logp(s: Seqs, policy, hidden: Tensor, hp: Distill) -> Tensor:
    """(B,T) nats: the teacher's log-prob of each sampled token."""
    teacher = load_teacher(hp.teacher[0], policy, str(s.inputs.device))
    return teacher(s.inputs, want="logp", targets=s.targets, at=s.mask.bool())


def credit(batch: Batch, hp: Distill) -> Batch:
    """A whole rollout with adv, token by token."""
    s = batch.seqs["answer"]
    s.adv = (s.extra["teacher_logp"] - s.old).masked_fill(s.mask == 0, 0)
    return batch


def loss(batch: Batch, hp: Distill) -> tuple[Tensor, dict]:
    s = batch.seqs["answer"]
    n = batch.tokens["answer"]
    # The gradient of this number is the estimator.
    return -s.sum(s.adv * s.logp).sum() / n, {"kl_teacher": -s.sum(s.adv).sum() / n}


OBJECTIVE = Objective(
    paper="GKD: On-Policy Distillation of Language Models, arXiv:2306.13649, section 3",
    data="prompts", hp=Distill, loss=loss, lr=1e-4, credit=credit, rewarded=False,
    columns=(Column("teacher_logp", "a teacher, made first", per_token=True,
                    sampled=teacher_logp),),
    prerequisite=Prerequisite(
        "teacher", ("--objective sft --rows 4080 --seed 900",), inherits=False))
