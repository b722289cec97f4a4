"""What a step takes in memory, told before the first one: on a CPU Linux ends a process that takes
too much without a word.

    memory_note(objective, train, model, device, batch_size=8)
    # "a step of 8 rows as long as the longest takes about 82 GB of memory; --max-length 512 would
    # keep 772 of 800 rows whole"
"""
import math
from typing import Any

import torch
from torch import Tensor

from nanouft.data.batches import MISMATCHED, Encoded
from nanouft.device import Device
from nanouft.objective import Objective
from nanouft.plumbing.printing import quantity

LONG = 512              # tokens of a row; told of longer rows,
MUCH = 2e9              # bytes of a step; and of a step that takes so much
FEW = 16                # tokens of a forward that only counts


def memory_note(objective: Objective, data: list[Encoded], model: Any, device: Device,
                batch_size: int, accumulate: int = 1, max_new: int = 0) -> str:
    """A line about the largest step, or "" if no row is LONG and the step doesn't take MUCH.
    max_new: the longest answer in tokens, which counts if the method samples."""
    max_new = max_new if objective.on_policy else 0
    longest = max(data, key=lambda e: e.length)
    tokens = longest.length - 1
    sequences = batch_size * len(longest.seqs)
    trained = batch_size * sum(int(t.mask.sum()) for t in longest.seqs.values())
    if objective.on_policy:
        tokens += max_new
        sequences = batch_size * objective.samples
        trained = sequences * max_new
    share = math.ceil(batch_size / accumulate) / batch_size     # of a step in a micro-batch
    size = bytes_of_step(model, device, share * sequences * tokens, share * trained)
    if tokens <= LONG and size < MUCH:
        return ""
    rows = quantity(batch_size, "prompts" if objective.on_policy else "rows")
    cut = f", in {accumulate:,} micro-batches," if accumulate > 1 else ""
    gb = max(0.1, size / 1e9)
    text = (f"a step of {rows}{cut} as long as the longest takes about "
            f"{gb:,.{0 if gb >= 10 else 1}f} GB of memory")
    if tokens <= LONG:
        return text
    whole = sum(length_of(e) + max_new <= LONG for e in data)
    return (f"{text}; --max-length {LONG} would keep {whole:,} of "
            f"{quantity(len(data), 'rows')} whole")


def length_of(e: Encoded) -> int:
    """Tokens that a model reads of the longest sequence. One that is borrowed may be cut."""
    return max(len(t.ids) for role, t in e.seqs.items() if role != MISMATCHED) - 1


def bytes_of_step(model: Any, device: Device, tokens: float, trained: float) -> float:
    """Roughly: weights with gradients and AdamW's moments, what the backward pass keeps of each
    token, and the logits. tokens: that the model reads, with padding. trained: response tokens."""
    weights = sum(p.nbytes + 12 * p.numel() * p.requires_grad for p in model.parameters())
    of_token, once = kept_for_backward(model, device)
    if model.recomputes:        # the input of each block, and all of the block that is computed now
        of_token = 4 * model.cfg.n_layer * model.cfg.n_embd + of_token / model.cfg.n_layer
    logits = model.cfg.vocab_size * (4 if device.dtype == "fp32" else 6)
    return weights + once + tokens * of_token + trained * logits


def kept_for_backward(model: Any, device: Device) -> tuple[float, float]:
    """(bytes of each token, bytes once) that a forward keeps for its backward pass, beside the
    weights and without the output head. Kept once: copies of weights in half precision. Counted in
    two short forwards without activation checkpointing."""
    few, more = (bytes_kept(model, device, tokens) for tokens in (FEW, 2 * FEW))
    of_token = (more - few) / FEW
    return of_token, few - FEW * of_token


def bytes_kept(model: Any, device: Device, tokens: int) -> int:
    """Bytes of all tensors but weights that a forward of so many tokens keeps."""
    weights = {p.untyped_storage()._cdata for p in model.parameters()}
    kept: dict[int, int] = {}           # a storage -> its bytes: several tensors may share one

    def count(x: Tensor) -> Tensor:
        storage = x.untyped_storage()
        if storage._cdata not in weights:
            kept[storage._cdata] = storage.nbytes()
        return x
    ids = torch.zeros(1, tokens, dtype=torch.long, device=device.name)
    recomputes, model.recomputes = model.recomputes, False
    with torch.autograd.graph.saved_tensors_hooks(count, lambda x: x), device.autocast():
        hidden = model(ids)          # held until all is counted
    model.recomputes = recomputes
    del hidden
    return sum(kept.values())
