"""Tensors from files of safetensors, used only if name, shape and type are the wanted ones.

    stored = header(file)                       # {name: (shape, "F32")}; reads no tensor
    weights = load(file, wanted_of(model.state_dict()))

An optimizer step over tensors of the wrong size would write beyond their end. So nothing is loaded
unchecked.
"""
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from nanouft.run.storage import not_finite, regular
from nanouft.run.words import quoted

TYPES = {torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}
Wanted = dict[str, tuple[tuple[int, ...], str]]         # name -> (shape, type)


def header(file: Path) -> Wanted:
    """Shapes and types. SafetensorError or OSError if it is no such file."""
    with safe_open(regular(file), framework="pt") as f:
        parts = {name: f.get_slice(name) for name in f.keys()}
        return {name: (tuple(part.get_shape()), part.get_dtype()) for name, part in parts.items()}


def wanted_of(tensors: Mapping[str, Tensor]) -> Wanted:
    return {name: (tuple(x.shape), TYPES.get(x.dtype, str(x.dtype))) for name, x in tensors.items()}


def load(file: Path, wanted: Wanted) -> dict[str, Tensor]:
    """All tensors of `file`. ValueError unless they are exactly the wanted ones and finite."""
    stored = header(file)
    for name in [*wanted, *stored]:
        there, asked = stored.get(name, "missing"), wanted.get(name, "nothing")
        if there != asked:
            raise ValueError(f"{Path(file).name}: {quoted(name)} is {there}, wanted is {asked}")
    found = load_file(file)
    if bad := not_finite(found):
        raise ValueError(f"{Path(file).name}: {quoted(bad)} is not finite")
    return found
