"""IFT that reads another's mistakes in place of its own: the control of its residual (R12).

    python -m nanouft.train --objective lessons/evidence/another_mistake.py --lam 1 --gamma 0

From ift.py one thing differs. Where the model's guess is wrong, it reads another word: any word of
the right answer but the one that belongs there. So it reads as many mistakes as it makes, in the
same places, but not its own. If it learns from them what IFT learns, the mistakes taught it, and
not that they were its own.
"""
import torch
from torch import Tensor

from nanouft.batch import Batch, Seqs
from nanouft.gpt import GPT
from nanouft.objectives.ift import IFT, own_guess
from nanouft.plumbing.seeds import uniform_rows


class AnotherMistake(IFT):
    def forward(self, model: GPT, batch: Batch) -> None:
        s = batch.seqs["answer"]
        at = s.positions
        with torch.no_grad():
            embeds = model(s.inputs, want="embeds")                             # (B,T,C)
            argmax = model(embeds=embeds, want="argmax", at=at)
            guess = own_guess(s.inputs, s.mask, argmax)
            draw = uniform_rows(batch, *s.inputs.shape, s.inputs.device)
            read = torch.where(guess == s.inputs, guess, other_words(s, draw))
            embeds = (1 - self.lam) * embeds + self.lam * model(read, want="embeds")
        s.logp = model(embeds=embeds, want="logp", targets=s.targets, at=at)


def other_words(s: Seqs, draw: Tensor) -> Tensor:
    """(B,T) draws in [0,1) -> (B,T) ids: for each position a word of the row's answer that is not
    the one there; where the answer has no other, the one there. <|end|> is no word."""
    B, T = s.inputs.shape
    word = torch.zeros_like(s.inputs, dtype=torch.bool)
    word[:, 1:] = (s.mask[:, :-1] > 0) & (s.mask[:, 1:] > 0)        # something follows: not the end
    other = word[:, None, :] & (s.inputs[:, None, :] != s.inputs[:, :, None])       # (B,T,T) i, j
    n = other.sum(-1)                                                               # (B,T)
    before = (other.cumsum(-1) <= (draw * n).long()[..., None]).sum(-1)             # (B,T) j
    at = torch.where(n > 0, before, torch.arange(T, device=draw.device).expand(B, T))
    return s.inputs.gather(1, at)
