"""Supervised fine-tuning (SFT): imitate demonstrations, token by token.

    python -m nanouft.train --objective sft

The loss is the cross-entropy of each response token, given the right tokens before it (teacher
forcing). s.mask is 1 on the answer and its EOS token <|end|>, so the model also learns to stop, and
0 on the prompt. Log-probs are computed, and summed, only where the mask is 1 (batch.py):
    L = -mean log p_t

--reduction says how the tokens are averaged. The two forms are different losses:
    token       mean over all response tokens of the step: a long answer weighs more (TRL's form,
                sft_trainer.py:1618)
    sequence    mean over the answer's tokens, then over answers: every answer weighs the same
Two answers with token losses [2] and [1,1,1,1] give 1.2 in the first form and 1.5 in the second.
IFT averages as the second form does.
"""
from typing import Literal

from torch import Tensor

from nanouft.batch import Batch
from nanouft.objective import Objective


class SFT(Objective):
    reduction: Literal["token", "sequence"] = "token"   # which weigh the same: tokens or answers

    def loss(self, batch: Batch) -> tuple[Tensor, dict]:
        s = batch.seqs["answer"]
        token_mean = nll(batch)
        sequence_mean = -s.mean(s.logp).sum() / batch.n
        value = token_mean if self.reduction == "token" else sequence_mean
        return value, {"nll": token_mean.detach()}


def nll(batch: Batch, role: str = "answer") -> Tensor:
    """Nats per response token of a role: this micro-batch's share of the mean over the step."""
    s = batch.seqs[role]
    return -s.sum(s.logp).sum() / batch.tokens[role]            # s.sum: where s.mask is 1
