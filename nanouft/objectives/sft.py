"""Supervised fine-tuning (SFT): imitate demonstrations, token by token.

    python -m nanouft.train --objective sft                 # NanoWorld demonstrations
    Lesson 03

Every response token pays its own negative log-probability, given the TRUE tokens before it:
    L = -mean log p_t
The prompt pays nothing, <|end|> does. SFT is the baseline of every paper here.

--reduction says how the tokens are averaged:
    token       mean over all response tokens of the step: a long answer weighs more (TRL's form)
    sequence    mean over the answer's tokens, then over answers: every answer weighs the same
On two answers with losses [2] and [1,1,1,1] they are 1.2 and 1.5. IFT is compared with the second.
"""
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from nanouft.objective import Batch, Objective


@dataclass
class SFT:
    reduction: Literal["token", "sequence"] = "token"   # what weighs the same: tokens, or answers


def loss(batch: Batch, hp: SFT) -> tuple[Tensor, dict]:
    s = batch.seqs["answer"]
    token_mean = -s.sum(s.logp).sum() / batch.tokens["answer"]
    sequence_mean = -s.mean(s.logp).sum() / batch.rows
    value = token_mean if hp.reduction == "token" else sequence_mean
    return value, {"nll": token_mean.detach()}


OBJECTIVE = Objective(
    paper="Supervised fine-tuning: maximum likelihood of demonstrations, prompt masked",
    data="demos", hp=SFT, loss=loss, lr=2.5e-4)
