"""Half fine-tuning: half of every layer stays exactly what it was, with any objective.

    python -m nanouft.train --objective sft --freeze half       # which half depends on --seed
    python -m nanouft.train --objective dpo --freeze half --seed 1 --init out/sft   # another half
    Lesson 16 · Hui et al. 2024, arXiv:2404.18466 (HFT)

Fine-tuning forgets because every weight may move. HFT draws, once a round, half of each kind of
matrix in each layer and keeps it. The loss is unchanged, and so is the number of steps. It keeps of
each layer:
    attention   two of the four maps q, k, v, o
    MLP         one of its two matrices
    norms       one of the two
A bias goes with its matrix. Embeddings, output head and the last norm are always trained. A round
is a run; the next run (--init, another --seed) draws another half.

q, k and v are rows of one fused matrix, so a frozen map is a block of ROWS. To remove its gradient
is not enough, because weight decay moves a weight without any. So whole tensors are kept out of the
optimizer, and rows are put back after each of its steps, bit for bit.
Simplified: the paper's feed-forward layers have three matrices (two are frozen in half of the
layers, one in the rest).
"""
from functools import partial
from typing import Any

import torch
from torch import Tensor

from nanouft.gpt import GPT


def plan(n_layer: int, seed: int) -> list[dict[str, bool]]:
    """For each layer: which of q, k, v, o, the two MLP matrices and the two norms are frozen.
    Exactly half of each kind."""
    rng, out = torch.Generator().manual_seed(seed), []
    for _ in range(n_layer):
        layer: dict[str, bool] = {}
        for kind, half in (("qkvo", 2), (("c_fc", "c_proj"), 1), (("ln_1", "ln_2"), 1)):
            drawn = torch.randperm(len(kind), generator=rng)[:half].tolist()
            layer |= {name: i in drawn for i, name in enumerate(kind)}
        out.append(layer)
    return out


def half(model: GPT, seed: int) -> dict[Tensor, tuple[Tensor, Tensor]]:
    """Freeze half of `model` in place, before its optimizer is built. Returns what `hold` needs:
    {fused parameter: (bool mask of its frozen rows, their values)}."""
    rows, C = {}, model.cfg.n_embd
    blocks: Any = model.h
    for block, frozen in zip(blocks, plan(model.cfg.n_layer, seed)):
        modules = {"o": block.attn.c_proj, "c_fc": block.mlp.c_fc, "c_proj": block.mlp.c_proj,
                   "ln_1": block.ln_1, "ln_2": block.ln_2}
        for name, module in modules.items():
            if frozen[name]:
                module.requires_grad_(False)
        fused = [frozen[name] for name in "qkv"]
        if not any(fused):
            continue
        for p in block.attn.c_attn.parameters():
            mask = torch.tensor(fused, device=p.device).repeat_interleave(C)    # (3C,) of q, k, v
            rows[p] = (mask, p.detach()[mask].clone())
            p.register_hook(partial(without, mask))
    return rows


def without(mask: Tensor, gradient: Tensor) -> Tensor:
    """(3C,...) the gradient, 0 in the rows of the mask."""
    return gradient.masked_fill(mask.view(-1, *[1] * (gradient.dim() - 1)), 0)


def hold(optimizer: torch.optim.Optimizer, rows: dict[Tensor, tuple[Tensor, Tensor]]) -> None:
    """After every step of `optimizer` the frozen rows are what they were, whatever weight decay and
    momentum did."""
    def put_back(*_: Any) -> None:
        with torch.no_grad():
            for p, (mask, kept) in rows.items():
                p[mask] = kept
    optimizer.register_step_post_hook(put_back)
