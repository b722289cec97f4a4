"""NEFTune: noise on the embeddings, so the model learns an answer rather than its exact wording.

    python -m nanouft.train --objective neftune
    Jain et al. 2023, arXiv:2310.05914 (Algorithm 1)

The loss is that of sft.py. Only `forward` differs: it adds noise to the embedding e of every token
that the model reads, prompt included.
    L = -mean log p_t
    p_t: with noise, e + U(-a, a) with a = alpha / sqrt(N C)
N is the number of real tokens in the row, C the width of the model. The noise of a whole row then
has a norm of about alpha / sqrt(3), however long the row is.

Traps: with the padded length for N (transformers 5.23, integrations/neftune.py:48), a short row
gets less noise in a batch with long ones. Evaluation and reference must run without noise, which
`model.eval()` ensures.
"""
from torch import Tensor

from nanouft.batch import Batch, Seqs, write_logp
from nanouft.gpt import GPT, log_probs
from nanouft.objective import Objective, Positive
from nanouft.objectives.sft import nll
from nanouft.plumbing.seeds import uniform_rows


class NEFTune(Objective):
    alpha: Positive = 5.0           # size of the noise on the embeddings

    def forward(self, model: GPT, batch: Batch) -> None:
        if not model.training:
            return write_logp(model, batch)
        s = batch.seqs["answer"]
        embeds = model.wte(s.inputs)
        added = noise(s, batch, self.alpha, embeds.shape[-1])
        embeds = embeds + added.to(embeds.dtype)                    # Algorithm 1
        s.logp = log_probs(model, model(embeds=embeds), s.targets, s.positions)

    def loss(self, batch: Batch) -> tuple[Tensor, dict]:
        noisy = nll(batch)
        return noisy, {"nll_noisy": noisy.detach()}                 # above SFT's nll


def noise(s: Seqs, batch: Batch, alpha: float, width: int) -> Tensor:
    """(B,T,C) uniform on (-a, a), drawn anew for each row and step; a by the row's length."""
    B, T = s.inputs.shape
    length = s.not_padding.sum(-1)                            # (B,) tokens read, without padding
    a = alpha / (length * width).sqrt()                         # (B,)
    unit = 2 * uniform_rows(batch, B, T * width, a.device).view(B, T, width) - 1
    return a[:, None, None] * unit
