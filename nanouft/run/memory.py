"""The memory of a run on a CPU, estimated before it starts.

    say(check_memory(plan, model, device))      # "memory: up to 2.1 GB, ..."

Linux ends a process that takes too much without a word; a card says itself what it cannot hold. A
run needs the memory that its process holds already (Python, PyTorch and the weights), plus the
memory of its steps. The first part is measured, because it differs between builds of PyTorch.
"""
import math
import os
from pathlib import Path

import torch

from nanouft.gpt import GPT
from nanouft.loop import Device
from nanouft.plumbing.errors import UserError
from nanouft.run.plan import Plan

# A first step loads code, and the allocator keeps gaps between tensors. Nothing measures this
# beforehand: we saw .14 to .22 GB on x86-64 Linux, with PyTorch 2.13.0 (CPU and CUDA) and 2.14.1.
MARGIN = 0.3e9
STATM = Path("/proc/self/statm")        # its second number: pages of this process in main memory
IN_PIECES = 1.4         # bytes held for each byte of activations, with the gaps between them
IN_MORE = 2.2           # the same with LoRA, where no large gradients fill the gaps


def check_memory(plan: Plan, model: GPT, device: Device) -> str:
    """The most memory that this run needs in fp32, in words, or "" if its steps add less than 1 GB;
    a copy of the start model is not counted. UserError with a remedy if there is less: in fp32 less
    than the whole estimate, in half precision less than the weights and AdamW need, because its
    steps take less than the estimate. On a card, and where there is no /proc, nothing is said."""
    if device.kind != "cpu" or not STATM.exists():
        return ""
    cfg, objective = plan.cfg, plan.objective
    there = memory_there()
    rows = math.ceil(plan.batch_size / cfg.accumulate)
    tokens = tokens_of_row(plan)
    fixed = held_now() + MARGIN + bytes_of_training(model)
    of_row = tokens * bytes_per_token(model, objective.logit_copies)
    total = fixed + rows * of_row
    if (total if device.dtype == "fp32" else fixed) > there:
        fits = int((there - fixed) / of_row)
        remedy = "no batch would fit: give --lora or a smaller --max-length or model"
        if fits > 0:
            remedy = f"--batch-size {fits} would fit"
            if not objective.coupled:
                remedy += f", or --accumulate {math.ceil(plan.batch_size / fits)}"
        if there > fixed and not model.recomputes:
            remedy += "; --activation-checkpointing takes less"
        raise UserError(f"--batch-size {plan.batch_size}: a run needs up to {total / 1e9:.1f} GB, "
                        f"and there are {there / 1e9:.1f}; {remedy}")
    if bytes_of_training(model) + rows * of_row < 1e9:
        return ""
    return f"memory: up to {total / 1e9:.1f} GB, for steps of {rows * tokens:,} tokens"


def memory_there() -> float:
    """Bytes of memory of the whole machine."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def held_now() -> float:
    """Bytes that this process holds, weights included."""
    torch.optim.SGD([torch.zeros(1)])           # PyTorch loads more of itself for an optimizer
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


# ---- what the steps add --------------------------------------------------------------------------
def tokens_of_row(plan: Plan) -> int:
    """The most tokens that a row takes: all its sequences, or all sampled answers to its prompt."""
    new = plan.max_new if plan.objective.on_policy else 0
    sequences = plan.objective.samples - 1 + max(len(e.seqs) for e in plan.train)
    return sequences * (max(e.length for e in plan.train) + new)


def bytes_of_training(model: GPT) -> int:
    """The gradient of each trained number and AdamW's two moments, in fp32."""
    return sum(3 * 4 * p.numel() for p in model.parameters() if p.requires_grad)


def bytes_per_token(model: GPT, logit_copies: float = 1) -> float:
    """Bytes of activations and logits of a token, until the end of the backward pass."""
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    pieces = IN_PIECES if trained > model.n_params() / 4 else IN_MORE
    logits = logit_copies * 4 * model.cfg.vocab_size
    return pieces * (activation_bytes_per_token(model) + logits)


def activation_bytes_per_token(model: GPT) -> float:
    """Activation memory that the backward pass needs. With activation checkpointing, the inputs of
    all blocks, and the activations of the one block that is computed again."""
    kept = saved_bytes_per_token(model)
    if not model.recomputes:
        return kept
    model.recomputes = False
    try:
        of_all_blocks = saved_bytes_per_token(model)
    finally:
        model.recomputes = True
    return kept + (of_all_blocks - kept) / model.cfg.n_layer


def saved_bytes_per_token(model: GPT) -> float:
    """What a forward saves for the backward pass, measured with 16 tokens."""
    tensors: dict[int, torch.Tensor] = {}           # address -> tensor; held, so none comes twice

    def keep(x: torch.Tensor) -> torch.Tensor:
        tensors[x.untyped_storage().data_ptr()] = x
        return x
    ids = torch.zeros(1, 16, dtype=torch.long, device=model.wte.weight.device)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        model(ids, want="hidden")
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    sizes = [x.untyped_storage().nbytes() for place, x in tensors.items() if place not in weights]
    return sum(sizes) / ids.numel()
