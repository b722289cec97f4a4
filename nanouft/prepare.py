"""Columns: everything that needs a second model, computed once, cached, and put beside the tokens.

    add_columns(encoded, ("ref",), model, pad, folder)

A loss then sees one policy and numbers; no second model lives through training. The cache key is a hash of the
function, the model's weights and shape, the token ids, device and precision: change any of them and it is computed
again.
"""
import hashlib
import inspect
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from tqdm import tqdm

from nanouft import runs
from nanouft.batches import Encoded, collate
from nanouft.devices import Device
from nanouft.gpt import GPT
from nanouft.objectives import plain


@torch.no_grad()
def ref(data: list[Encoded], model: GPT, pad: int, device: Device) -> list[dict[str, np.ndarray]]:
    """(L-1,) nats a sequence and role: log-prob of every response token under `model`, 0 elsewhere."""
    out: list[dict] = [{} for _ in data]
    by_length = np.argsort([-e.length for e in data], kind="stable")
    chunks = [by_length[i:i + 64] for i in range(0, len(data), 64)]
    for rows in tqdm(chunks, desc="scoring", leave=False, disable=len(chunks) < 8):
        batch = collate(data, rows, pad, device=device.name)
        with device.autocast():
            plain(model, batch, None)
        for role, s in batch.seqs.items():
            for i, logp in zip(rows, s.logp.float().cpu().numpy()):
                out[i][role] = logp[:len(data[i].seqs[role].ids) - 1].copy()
    return out


COLUMNS: dict[str, Callable] = {"ref": ref}


def add_columns(data: list[Encoded], names: tuple[str, ...], model: GPT, pad: int, folder: Path | None,
                device: Device) -> None:
    """Write tok[name] of every sequence, from the cache in `folder` where it was computed before; None = no cache."""
    for name in names:
        file = folder / f"{_key(name, data, model, device)}.safetensors" if folder else None
        flat = _read(file) if file else None
        if flat is None:
            made = COLUMNS[name](data, model, pad, device)
            flat = {f"{i}.{role}": column for i, row in enumerate(made) for role, column in row.items()}
            if file:
                _write(file, flat)
        for i, e in enumerate(data):
            for role, t in e.seqs.items():
                t.tok[name] = flat[f"{i}.{role}"]


def _write(file: Path, flat: dict[str, np.ndarray]) -> None:
    """Whole or not at all; a cache that cannot be written is computed again next time."""
    partial = file.with_suffix(f".{os.getpid()}.partial")               # several processes may compute it at once
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        save_file(flat, partial)
        partial.replace(file)
    except (SafetensorError, OSError):
        partial.unlink(missing_ok=True)


def _read(file: Path) -> dict[str, np.ndarray] | None:
    try:
        return load_file(file) if file.exists() else None
    except (SafetensorError, OSError):                # a damaged cache is no cache
        return None


def _key(name: str, data: list[Encoded], model: GPT, device: Device) -> str:
    """All that the column depends on: the function, device and precision, the model's shape and weights, the tokens."""
    about = (f"{inspect.getsource(COLUMNS[name])} {device.kind} {device.dtype} {model.cfg} "
             f"{runs.fingerprint(model, data)}")
    return f"{name}-{hashlib.sha256(about.encode()).hexdigest()[:24]}"
