"""Half fine-tuning: half of every layer stays exactly what it was, with any objective.

    python -m nanouft.train --objective sft --freeze half              # which half: a function of --seed
    python -m nanouft.train --objective dpo --freeze half --seed 1 --init out/sft        # a new round, another half
    Lesson 16 · Hui et al. 2024, arXiv:2404.18466 (HFT)

Fine-tuning forgets because every weight may move. HFT draws, once a round, half of each kind of matrix in each layer
and keeps it; the loss is unchanged, and so is the number of steps. Of each layer here:
    attention   two of the four maps q, k, v, o          MLP        one of its two matrices
    norms       one of the two                           always trained: embeddings, output head, the last norm
A bias goes with its matrix. A round is a run; the next run (--init, another --seed) draws another half.

q, k and v are rows of one fused matrix, so a frozen map is a block of ROWS. No gradient is not enough for it: weight
decay moves a weight without any. So a whole tensor is taken from the optimizer before that is built, and rows are put
back after each of its steps, bit for bit.
Simplified: the paper's feed-forward layers have three matrices (two are frozen in half of the layers, one in the rest).
"""
import torch
from torch import Tensor

from nanouft.gpt import GPT


def plan(n_layer: int, seed: int) -> list[dict[str, bool]]:
    """For each layer: which of q, k, v, o, the two MLP matrices and the two norms are frozen. Exactly half."""
    rng, out = torch.Generator().manual_seed(seed), []
    for _ in range(n_layer):
        layer = {}
        for kind, half in (("qkvo", 2), (("c_fc", "c_proj"), 1), (("ln_1", "ln_2"), 1)):
            drawn = torch.randperm(len(kind), generator=rng)[:half].tolist()
            layer |= {name: i in drawn for i, name in enumerate(kind)}
        out.append(layer)
    return out


def half(model: GPT, seed: int) -> dict[Tensor, tuple[Tensor, Tensor]]:
    """Freeze half of `model` in place, before its optimizer is built. Returns what `hold` needs:
    {fused parameter: (bool mask of its frozen rows, their values)}."""
    rows, C = {}, model.cfg.n_embd
    for block, frozen in zip(model.h, plan(model.cfg.n_layer, seed)):
        for name, module in (("o", block.attn.c_proj), ("c_fc", block.mlp.c_fc), ("c_proj", block.mlp.c_proj),
                             ("ln_1", block.ln_1), ("ln_2", block.ln_2)):
            if frozen[name]:
                module.requires_grad_(False)
        fused = [frozen[name] for name in "qkv"]
        if not any(fused):
            continue
        for p in block.attn.c_attn.parameters():
            mask = torch.tensor(fused, device=p.device).repeat_interleave(C)            # (3C,) rows of q, k, v
            rows[p] = (mask, p.detach()[mask].clone())
            p.register_hook(lambda g, mask=mask: g.masked_fill(mask.view(-1, *[1] * (g.dim() - 1)), 0))
    return rows


def hold(optimizer: torch.optim.Optimizer, rows: dict[Tensor, tuple[Tensor, Tensor]]) -> None:
    """After every step of `optimizer` the frozen rows are what they were (weight decay, momentum or not)."""
    def put_back(*_):
        with torch.no_grad():
            for p, (mask, kept) in rows.items():
                p[mask] = kept
    optimizer.register_step_post_hook(put_back)
