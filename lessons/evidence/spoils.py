"""What does training spoil? How far a model has moved where nobody trained it.

The start model answers fifty open questions, greedily, in at most 64 tokens. At each token of these
answers the exact KL(start || model), a sum over the whole vocabulary, says how many nats a model
that was trained from it has moved away; 0 means that it would go on as before.
"""
from functools import cache
from itertools import product

import numpy as np
import torch

from nanouft.data.batches import Encoded, collate, encode
from nanouft.data.rows import Row
from nanouft.models.folders import start_model
from nanouft.models.tokenizer import Turn
from nanouft.run.evaluation import answer_rows

THINGS = ("lighthouse", "bicycle", "market", "violin", "garden", "bridge", "storm", "kitchen",
          "library", "river")
OPEN = ("Describe a {}.", "What is a {} good for?", "Tell me a short story about a {}.",
        "Write two sentences about a {}.", "What should a child know about a {}?")
MAX_NEW = 64
TOGETHER = 5                        # answers of one forward: their logits take 60 MB


def moved(folder: str, model) -> np.ndarray:
    """(answers,) nats a token that `model` lies away from the start model in `folder`."""
    start, rows, pad = asked_once(folder)
    return kl(start, model, rows, pad)


@cache
def asked_once(folder: str) -> tuple:
    """(start model, its own answers, padding token): the same for every model of a process."""
    start, tok = start_model(folder)
    return start, own_answers(start, tok), tok.pad


def own_answers(start, tok) -> list[Encoded]:
    """The start model's answers to the open questions, as rows that it reads."""
    asked = [Row(prompt=(Turn("user", text.format(thing)),))
             for text, thing in product(OPEN, THINGS)]
    texts = [tok.decode(a.ids).strip() for a in answer_rows(start, tok, asked, max_new=MAX_NEW)]
    rows = [row.with_roles({"answer": (row.prompt, (Turn("assistant", text),))})
            for row, text in zip(asked, texts)]
    return encode(rows, tok, start.cfg.n_ctx)[0]


@torch.no_grad()
def kl(start, model, rows: list[Encoded], pad: int) -> np.ndarray:
    """(answers,) nats a token: the mean of KL(start || model) over the tokens of each answer."""
    out = []
    for i in range(0, len(rows), TOGETHER):
        batch = collate(rows, range(i, min(i + TOGETHER, len(rows))), pad)
        s = batch.seqs["answer"]
        p, q = (m(hidden=m(s.inputs, want="hidden"), at=s.positions).float().log_softmax(-1)
                for m in (start, model))                                        # (N,V) both
        each = torch.zeros(s.mask.numel())
        each[s.positions] = (p.exp() * (p - q)).sum(-1)
        out.append(each.view_as(s.mask).sum(-1) / s.mask.sum(-1))
    return torch.cat(out).numpy()
