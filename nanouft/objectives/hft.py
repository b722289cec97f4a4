"""Half Fine-Tuning (HFT): train one half of the weights, so that the other half keeps what it knew.

    python -m nanouft.train --objective hft
    Hui et al. 2024, arXiv:2404.18466

The loss is that of sft.py:
    L = -mean log p_t
What differs is `setup`. Before training half of the matrices of each layer are drawn at random and
frozen, so they are after training what they were before, bit for bit. The draw is a function of
--seed alone, and a resumed run keeps the same half. Embeddings, biases and norms are trained.

Simplified: the paper draws half of each kind of matrices (two of the four of the attention), while
here any half of a layer's matrices may be drawn, in which Q, K and V of GPT-2 are one matrix; and a
run is one stage, so nothing is drawn again.
Traps: a gradient of 0 freezes nothing where the optimizer decays weights; with LoRA all matrices
are frozen anyway, so the two do not go together.
"""
import re
from collections import defaultdict

import numpy as np
from torch import Tensor

from nanouft.errors import UserError
from nanouft.objective import Batch, Objective
from nanouft.objectives.sft import nll
from nanouft.seeds import half_seed


class HFT(Objective):
    def setup(self, model, seed: int) -> None:
        """Freeze half of the matrices of each layer."""
        rng, layers = np.random.default_rng(half_seed(seed)), defaultdict(list)
        for name, p in model.named_parameters():
            if p.dim() > 1 and (layer := re.match(r".*?\.\d+\.", name)):     # "h.0.", "layers.0."
                layers[layer[0]].append(p)
        for matrices in layers.values():
            if not all(p.requires_grad for p in matrices):
                raise UserError("hft with --lora: LoRA has frozen all matrices; leave out --lora")
            for i in rng.permutation(len(matrices))[:len(matrices) // 2]:
                matrices[i].requires_grad_(False)

    def loss(self, batch: Batch) -> tuple[Tensor, dict]:
        mean = nll(batch)
        return mean, {"nll": mean.detach()}
