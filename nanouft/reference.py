"""Columns: everything that needs a second model, computed once, cached, and put beside the tokens.

    add_columns(encoded, ("ref",), model, pad, folder, device, hp)
    hp = run_first(objective, hp, cfg, train.main)      # models that a column needs: trained once, kept in out/.first

A loss then sees one policy and numbers; no second model lives through training. A column is a function of the rows,
the start model and the folders of other models that `hp` names (a list of strings); nothing else of `hp` may matter,
so a setting that only weighs a column belongs into the loss. It gives one entry a row: {role: (L-1,) numbers, one a
target}, or for the whole row a number or a vector. The cache key is a hash of the function, of weights and shape of
all models, the token ids, device and precision: change any of them and it is computed again.
"""
import contextlib
import hashlib
import inspect
import io
import os
import shlex
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from tqdm import tqdm

from nanouft.shell import runs
from nanouft.data.batches import Encoded, collate, encode
from nanouft.shell.config import UserError
from nanouft.shell.devices import Device
from nanouft.gpt import GPT
from nanouft.objectives import Objective, plain


@torch.no_grad()
def ref(data: list[Encoded], model: GPT, pad: int, device: Device, hp: Any = None) -> list[dict[str, np.ndarray]]:
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


def aligned(data: list[Encoded], model: GPT, pad: int, device: Device, hp: Any) -> list[float]:
    """Nats a response token that the models of hp.aligned give each answer, averaged over the models. Each reads the
    text with its own tokenizer and template, so what is compared is the mean over its own tokens (PoFT)."""
    total = np.zeros(len(data))
    for folder in hp.aligned:
        other, tok = runs.start_model(folder)
        encoded, lost = encode([e.example for e in data], tok, other.cfg.n_ctx)
        if lost.skipped:
            raise UserError(f"--aligned {folder}: {lost.skipped:,} answers are longer than its context of "
                            f"{other.cfg.n_ctx} tokens; shorten them or take another model")
        scored = ref(encoded, other.to(device.name), tok.pad, device)
        total += [row["answer"].sum() / e.seqs["answer"].mask[1:].sum() for row, e in zip(scored, encoded)]
    return list(total / len(hp.aligned))


def tis(data: list[Encoded], model: GPT, pad: int, device: Device, hp: Any) -> list[dict[str, np.ndarray]]:
    """(L-1,) nats a sequence and role: log-prob of every response token under the first model of hp.estimates minus
    that under the second (TIS-DPO: how much the token carries the preference); 0 if there are no models."""
    if not hp.estimates:
        return [{role: np.zeros(len(t.ids) - 1) for role, t in e.seqs.items()} for e in data]
    plus, minus = (ref(data, runs.start_model(folder)[0].to(device.name), pad, device) for folder in hp.estimates)
    return [{role: p[role] - m[role] for role in p} for p, m in zip(plus, minus)]


def confidence(data: list[Encoded], model: GPT, pad: int, device: Device, hp: Any) -> list[float]:
    """Minus the perplexity of each answer, averaged over the models hp.runs (SFTMix): the higher, the surer."""
    perplexity = np.zeros(len(data))
    for folder in hp.runs:
        scored = ref(data, runs.start_model(folder)[0].to(device.name), pad, device)
        perplexity += [np.exp(-row["answer"].sum() / e.seqs["answer"].mask[1:].sum()) for row, e in zip(scored, data)]
    return list(-perplexity / len(hp.runs))


@torch.no_grad()
def prompt(data: list[Encoded], model: GPT, pad: int, device: Device, hp: Any) -> list[np.ndarray]:
    """(C,) a row: mean of the start model's final hidden states over the prompt, the headers included (RPO)."""
    out = []
    for e in tqdm(data, desc="reading prompts", leave=False, disable=len(data) < 500):
        t = next(iter(e.seqs.values()))
        ids = torch.from_numpy(t.ids[:int(t.mask.argmax())]).to(device.name)        # up to the first answer
        out.append(model(ids[None], want="hidden")[0].mean(0).float().cpu().numpy())
    return out


COLUMNS: dict[str, Callable] = {
    "ref": ref,
    "tis": tis,
    "prompt": prompt,
    "confidence": confidence,
    "aligned": aligned,
}


def add_columns(data: list[Encoded], names: tuple[str, ...], model: GPT, pad: int, folder: Path | None,
                device: Device, hp: Any = None) -> None:
    """Write tok[name] of every sequence, or col[name] of every row, from the cache in `folder` where it was computed
    before; None = no cache."""
    about = runs.fingerprint(model, data) if names and folder else ""
    for name in names:
        file = folder / f"{_key(name, about, model, device, hp)}.safetensors" if folder else None
        flat = _read(file) if file else None
        if flat is None:
            made = COLUMNS[name](data, model, pad, device, hp)
            flat = {f"{i}.{role}".rstrip("."): np.asarray(column, np.float32) for i, row in enumerate(made)
                    for role, column in (row.items() if isinstance(row, dict) else [("", row)])}
            if file:
                _write(file, flat)
        for i, e in enumerate(data):
            if str(i) in flat:
                e.col[name] = flat[str(i)]
            else:
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


def _key(name: str, about: str, model: GPT, device: Device, hp: Any) -> str:
    """All that the column depends on: the function, device and precision, the model's shape and weights, the tokens
    (`about`), and the weights of the other models that hp names."""
    others = [(Path(f) if f != "base" else runs.BASE) / "model.safetensors"
              for value in (vars(hp).values() if hp else []) if isinstance(value, list) for f in value]
    about += "".join(hashlib.sha256(f.read_bytes()).hexdigest() for f in others if f.is_file())
    about = f"{inspect.getsource(COLUMNS[name])} {device.kind} {device.dtype} {model.cfg} {about}"
    return f"{name}-{hashlib.sha256(about.encode()).hexdigest()[:24]}"


# ---- models that a column needs --------------------------------------------------------------------------------------
def run_first(objective: Objective, hp: Any, cfg: Any, main: Callable) -> Any:
    """`hp` with the folders of the training runs that must come first. Each is made by train's own command (`main`),
    once, and kept in out/.first under a hash of that command, of the start model and of the files it reads."""
    first = objective.first
    if first is None or getattr(hp, first.field) is not None:
        return hp
    flag = "--" + first.field.replace("_", "-")
    if cfg.data and not first.same_data:
        raise UserError(f"{flag} DIR ... is needed with --data: the folders of models that know such answers; "
                        "only for NanoWorld can one be made")
    same = ["init", "data", "prompt_field", "response_field", "rows", "skills", "mix", "noise", "seed"]
    world = {"rows", "skills", "mix", "noise"}
    argv = []
    for name in ["device", "dtype", *(same if first.same_data else [])]:
        value = getattr(cfg, name)
        if value and value != "auto" and not (cfg.data and name in world):
            argv += ["--" + name.replace("_", "-"), *map(str, value if isinstance(value, list) else [value])]
    start = runs.BASE if cfg.init == "base" or not first.same_data else Path(cfg.init)
    files = [start / "model.safetensors", *map(Path, cfg.data or [])]
    return replace(hp, **{first.field: [_first_run(first.field, [*shlex.split(f), *argv], files, main)
                                        for f in first.flags]})


def title(folder: Path) -> str:
    """What a progress bar calls the run in `folder`."""
    kind = folder.name.split("-")[0].rstrip("s")
    return f"{kind} model (made once)" if folder.parent.name == ".first" else folder.name


def _first_run(field: str, argv: list[str], files: list[Path], main: Callable) -> str:
    h = hashlib.sha256(repr(argv).encode())
    for file in files:
        h.update(file.read_bytes())
    folder = Path("out") / ".first" / h.hexdigest()[:16]
    command = "python -m nanouft.train " + shlex.join(argv)
    if not (folder / "model.safetensors").exists():
        if int(os.environ.get("WORLD_SIZE", 1)) > 1:
            raise UserError(f"several processes cannot make one model; make it first: {command} --out DIR")
        print(f"first, once: {command}")
        partial = folder.with_name(f"{field}-{folder.name}-{os.getpid()}.partial")   # others may make it, too
        with contextlib.redirect_stdout(io.StringIO()):
            main([*argv, "--items", "0", "--save-every", "0", "--threads", str(torch.get_num_threads()),
                  "--out", str(partial)])
        if folder.exists():
            shutil.rmtree(partial)
        else:
            partial.rename(folder)
    return str(folder)
