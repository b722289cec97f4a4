"""The memory of a run, known before it is spent.

    say(check_memory(cfg, objective, data, model, device))      # "memory: up to 2.1 GB, ..."
"""
import math

import torch

from nanouft.data.batches import Encoded
from nanouft.errors import UserError
from nanouft.gpt import GPT
from nanouft.loop import Device
from nanouft.objective import Objective
from nanouft.run import device as devices
from nanouft.run.settings import Train

LIBRARIES = 0.5e9       # bytes: .44 GB are Python, PyTorch and transformers; or a card's context
IN_PIECES = 1.4         # bytes held for each byte of activations, with the gaps between them
IN_MORE = 2.2           # the same with LoRA, where no large gradients fill the gaps


def check_memory(cfg: Train, objective: Objective, data: list[Encoded], model: GPT,
                 device: Device) -> str:
    """What this run needs at most, in words. UserError if there is less memory; half
    precision is not refused, because it takes less than is estimated."""
    longest = max(data, key=lambda e: e.length)
    new = (cfg.max_new or 0) if objective.on_policy else 0
    tokens = objective.samples * len(longest.seqs) * (longest.length + new)     # of a row, at most
    there = devices.memory(device) if device.dtype == "fp32" else math.inf
    return memory_of_step(model, cfg.batch_size, cfg.accumulate, tokens, there)


def memory_of_step(model: GPT, batch_size: int, accumulate: int, tokens: int,
                   there: float = math.inf) -> str:
    """What a process needs in fp32 for steps over rows of so many tokens, without the start model's
    copy; "" if a step takes less than 1 GB. SmolLM2-135M, 1,020 tokens: 4.9 GB, at the peak 4.3 to
    4.5; with LoRA, 768 tokens: 3.5, at the peak 3.4. UserError, with what would fit, if that is
    more than `there` bytes."""
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    pieces = IN_PIECES if trained > model.n_params() / 4 else IN_MORE
    weights = LIBRARIES + sum(p.numel() * (16 if p.requires_grad else p.element_size())
                              for p in model.parameters())      # weight, gradient, two moments
    logits = 4 * model.cfg.vocab_size
    of_row = pieces * tokens * (activation_bytes_per_token(model) + logits)
    rows = math.ceil(batch_size / accumulate)
    wanted, less = weights + rows * of_row, "--activation-checkpointing" * (not model.recomputes)
    if wanted > there:
        fits = int((there - weights) / of_row)
        remedy = (f"--batch-size {fits} would fit, or --accumulate {math.ceil(batch_size / fits)}"
                  if fits > 0 else
                  "no batch would fit: give --lora or a smaller --max-length or model")
        raise UserError(f"--batch-size {batch_size}: a run needs up to {wanted / 1e9:.1f} GB, and "
                        f"there are {there / 1e9:.1f}; {remedy}"
                        + (less and f"; {less} takes less"))
    if wanted - LIBRARIES < 1e9:
        return ""
    return (f"memory: up to {wanted / 1e9:.1f} GB, for steps of {rows * tokens:,} tokens"
            + (less and f"; less: {less}"))


def activation_bytes_per_token(model: GPT) -> float:
    """Activation memory that the backward pass needs, measured in a forward over 16 tokens."""
    kept: dict[int, torch.Tensor] = {}              # address -> tensor; held, so none comes twice

    def keep(x: torch.Tensor) -> torch.Tensor:
        kept[x.untyped_storage().data_ptr()] = x
        return x
    ids = torch.zeros(1, 16, dtype=torch.long, device=model.wte.weight.device)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        model(ids, want="hidden")
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    sizes = [x.untyped_storage().nbytes() for place, x in kept.items() if place not in weights]
    return sum(sizes) / ids.numel()
