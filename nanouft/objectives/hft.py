"""Half Fine-Tuning (HFT): freeze half of each layer's matrices, so that less is forgotten.

    python -m nanouft.train --objective hft
    Hui et al. 2024, arXiv:2404.18466

The loss is that of sft.py:
    L = -mean log p_t
Only `setup` differs. Before training, half of the matrices of each layer are drawn at random and
frozen. If a layer has an odd number of them, such as the seven of Llama, the half is rounded down
in the first layer, up in the second, and so on in turn. The draw depends only on --seed, so a
resumed run keeps the same half. Embeddings, the output head, biases and norms are trained.

Simplified: the paper draws half within each category of a layer (two of the four matrices of the
attention), and of the norms too, as others write it (gucci-j/ssu at e4421e9, model_utils.py:355; we
found no code by the authors). Here any half of a layer's matrices may be drawn, and Q, K and V of
GPT-2 are one matrix.
Traps: a gradient of 0 does not freeze a weight if the optimizer has weight decay. With LoRA all
matrices are frozen anyway, so the two cannot be combined.
"""
import re
from collections import defaultdict

import numpy as np
from torch import Tensor

from nanouft.batch import Batch
from nanouft.gpt import GPT
from nanouft.objective import Objective
from nanouft.objectives.sft import nll
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.seeds import HALF


class HFT(Objective):
    def setup(self, model: GPT, seed: int) -> None:
        """Freeze half of the matrices of each layer."""
        rng, layers = np.random.default_rng([seed, HALF]), defaultdict(list)
        for name, p in model.named_parameters():
            if p.dim() > 1 and (layer := re.match(r".*?\.\d+\.", name)):     # "h.0.", "layers.0."
                layers[layer[0]].append(p)
        for number, matrices in enumerate(layers.values()):
            half = (len(matrices) + number % 2) // 2                # of seven: 3, 4, 3, 4 ...
            drawn = [matrices[i] for i in rng.permutation(len(matrices))[:half]]
            already = {id(p) for p in matrices if not p.requires_grad}
            if already and already != {id(p) for p in drawn}:
                raise UserError("hft: some weights are frozen already, by LoRA or by hft with "
                                "another seed; remove --lora, or give a model without frozen ones")
            for p in drawn:
                p.requires_grad_(False)

    def loss(self, batch: Batch) -> tuple[Tensor, dict]:
        mean = nll(batch)
        return mean, {"nll": mean.detach()}
