"""NEFTune: noise on the embeddings, so that an answer is learnt and not its exact wording.

    python -m nanouft.train --objective neftune             # NanoWorld demonstrations
    Jain et al. 2023, arXiv:2310.05914 (Algorithm 1)

The loss is that of sft.py. What differs is one line of `forward`: noise is added to the embedding
e of every token that the model reads, prompt included.
    L = -mean log p_t
    p_t: with noise, e + U(-a, a) with a = alpha / sqrt(N C)
N is the number of tokens that the row really has, C the width. The noise of a whole row then has a
length of about alpha / sqrt(3), however long the row is.

alpha = 0 is SFT bit for bit. The paper sweeps alpha over 5, 10, 15; 5 is the common default.
Traps: with the padded length for N (transformers' form) a short answer gets less noise the longer
its neighbours are; evaluation and references must be without noise, which `model.eval()` ensures.
"""
from dataclasses import dataclass

from torch import Tensor

from nanouft.errors import in_range
from nanouft.objectives.bridge import Objective
from nanouft.objective import Batch, Seqs, write_logp
from nanouft.objectives.sft import SFT
from nanouft.objectives.sft import loss as sft_loss
from nanouft.seeds import uniform_rows


@dataclass
class NEFTune:
    alpha: float = 5.0              # size of the noise; 0 = SFT

    def check(self) -> None:
        in_range(self, "alpha")


def noise(s: Seqs, batch: Batch, alpha: float, width: int) -> Tensor:
    """(B,T,C) uniform on (-a, a): other numbers for every row and step, a by the row's length."""
    B, T = s.inputs.shape
    length = s.real.sum(-1)                                   # (B,) tokens read, without padding
    a = alpha / (length * width).sqrt()                         # (B,)
    unit = 2 * uniform_rows(batch, B, T * width, a.device).view(B, T, width) - 1
    return a[:, None, None] * unit


def forward(model, batch: Batch, hp: NEFTune) -> None:
    if hp.alpha == 0 or not model.training:
        return write_logp(model, batch, hp)
    s = batch.seqs["answer"]
    embeds = model(s.inputs, want="embeds")
    more = noise(s, batch, hp.alpha, embeds.shape[-1])
    embeds = embeds + more.to(embeds.dtype)                     # Algorithm 1
    s.logp = model(embeds=embeds, want="logp", targets=s.targets, at=s.positions)


def loss(batch: Batch, hp: NEFTune) -> tuple[Tensor, dict]:
    value, metrics = sft_loss(batch, SFT(reduction="token"))
    return value, {"nll_noisy": metrics["nll"]}                 # on noisy inputs: above SFT's nll


OBJECTIVE = Objective(data="demos", hp=NEFTune, loss=loss, lr=2.5e-4, forward=forward)
