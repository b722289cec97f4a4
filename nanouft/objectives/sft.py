"""Supervised fine-tuning (SFT): imitate demonstrations, token by token.

    python -m nanouft.train --objective sft

The loss is the negative log-probability of each token of the answer, given the right tokens before
it. s.mask is 1 on the answer with its <|end|>, so the model also learns to stop, and 0 on the
prompt. `forward` computes log-probs where it is 1; s.sum and s.mean add up no others (batch.py):
    L = -mean log p_t

--reduction says how the tokens are averaged, and the two forms are different losses:
    token       mean over all response tokens of the step: a long answer weighs more (TRL's form,
                sft_trainer.py:1618)
    sequence    mean over the answer's tokens, then over answers: every answer weighs the same
Two answers with losses [2] and [1,1,1,1] give 1.2 in the first form and 1.5 in the second. IFT is
compared with the second form.
"""
from typing import Literal

from torch import Tensor

from nanouft.batch import Batch
from nanouft.objective import Objective


class SFT(Objective):
    reduction: Literal["token", "sequence"] = "token"   # what counts alike: tokens or answers

    def loss(self, batch: Batch) -> tuple[Tensor, dict]:
        s = batch.seqs["answer"]
        token_mean = nll(batch)
        sequence_mean = -s.mean(s.logp).sum() / batch.n
        value = token_mean if self.reduction == "token" else sequence_mean
        return value, {"nll": token_mean.detach()}


def nll(batch: Batch, role: str = "answer") -> Tensor:
    """Nats per response token of a role: this micro-batch's part of the mean over the step."""
    s = batch.seqs[role]
    return -s.sum(s.logp).sum() / batch.tokens[role]            # s.sum: where s.mask is 1
