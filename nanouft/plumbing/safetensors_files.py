"""Files of tensors (safetensors): is one what was wanted, are its numbers finite? And a model in
another precision."""
import copy
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn
from safetensors.torch import load_file, save_file
from torch import Tensor

from nanouft.plumbing.files import removed_unless_whole, rename

NO_FLOATS = "quantized weights cannot be trained; give full-precision ones"


def not_finite(weights: Mapping[str, Tensor]) -> str:
    return next((name for name, p in weights.items() if not p.isfinite().all()), "")


def save_tensors(file: Path, tensors: Mapping[str, Tensor], **about: str) -> None:
    """Write a file of tensors, whole or not at all; until then the one before it stays, in a power
    cut too. `about` is kept in its head."""
    with removed_unless_whole(file.with_name(file.name + ".partial")) as partial:
        save_file({name: x.cpu().contiguous() for name, x in tensors.items()}, partial, about)
        with partial.open("rb+") as written:
            os.fsync(written.fileno())              # on the disk before it has its name
        rename(partial, file)


def read_tensors(file: Path) -> dict[str, Tensor]:
    """Copies of the tensors of a file, which could not be replaced or removed on Windows while
    tensors of this process are mapped to it."""
    return {name: x.clone() for name, x in load_file(file).items()}


def load_tensors(file: Path, wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of `file`. ValueError unless they have the wanted names, shapes and types, and
    are finite: an optimizer step over tensors of another size would write beyond their end."""
    tensors = read_tensors(file)
    for name in {**wanted, **tensors}:
        a, b = tensors.get(name), wanted.get(name)
        if a is None or b is None or (a.shape, a.dtype) != (b.shape, b.dtype):
            raise ValueError(f"{name} is missing, or its shape or dtype differs")
    if name := not_finite(tensors):
        raise ValueError(f"{name} is not finite")
    return tensors


def in_precision(policy: Any, dtype: torch.dtype) -> Any:
    """A model with its weights in `dtype`: itself, or a frozen copy, which reads half the bytes
    per token. Buffers, such as RoPE's frequencies, stay as they are."""
    if policy.wte.weight.dtype == dtype:
        return policy
    weights: dict[int, Any] = {id(p): nn.Parameter(p.detach().to(dtype), requires_grad=False)
                               for p in policy.parameters()}
    return copy.deepcopy(policy, weights)           # no copy in its own precision is made
