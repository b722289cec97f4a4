"""Numbers that another model leaves beside the tokens, before training starts. So a loss sees one policy and numbers.

    add_columns(encoded, ("ref",), model, tok.pad, device, hp)      # each row gets the start model's log-probs

A function each: ref (DPO and its relatives, KTO, UNA, UFT), prompt (RPO); and of models whose folders are named by hp,
or made first by train.py (objective.First): aligned (PoFT), tis (TIS-DPO), confidence (SFTMix).
Made anew at each start of a run: they depend on weights, data and code, and cost less than one pass of training.
"""
from collections.abc import Callable

import numpy as np
import torch
from tqdm import tqdm

from nanouft.data.batches import Encoded, collate, encode
from nanouft.gpt import GPT
from nanouft.models.load import start_model
from nanouft.objective import plain
from nanouft.shell.devices import Device
from nanouft.shell.errors import UserError

Numbers = list[dict[str, np.ndarray]]           # one entry a row: {role: (L-1,) numbers, one a target}


@torch.no_grad()
def logps(data: list[Encoded], model: GPT, pad: int, device: Device) -> Numbers:
    """Nats: the log-prob of every response token under `model`, 0 elsewhere."""
    out: Numbers = [{} for _ in data]
    by_length = np.argsort([-e.length for e in data], kind="stable")
    chunks = [by_length[i:i + 64] for i in range(0, len(data), 64)]
    for rows in tqdm(chunks, desc="scoring", leave=False, disable=len(chunks) < 8):
        batch = collate(data, rows, pad).to(device.name)
        with device.autocast():
            plain(model, batch, None)
        for role, s in batch.seqs.items():
            for i, logp in zip(rows, s.logp.float().cpu().numpy()):
                out[i][role] = logp[:len(data[i].seqs[role].ids) - 1].copy()
    return out


def ref(data: list[Encoded], model: GPT, pad: int, device: Device, hp) -> None:
    """Seqs.ref, nats: the log-prob of every response token under `model`, the start model; 0 elsewhere."""
    for e, scored in zip(data, logps(data, model, pad, device)):
        for role, t in e.seqs.items():
            t.ref = scored[role]


def aligned(data: list[Encoded], model: GPT, pad: int, device: Device, hp) -> None:
    """Columns.aligned, nats on average per token: opinion() of the models hp.aligned."""
    for e, nats in zip(data, opinion(data, hp.aligned, device)):
        e.col.aligned = nats


def opinion(data: list[Encoded], folders: list[str], device: Device) -> list[float]:
    """Nats on average per response token that these models give each answer, averaged over the models. Each reads the
    text with its own tokenizer and template, so what is compared is the mean over its own tokens (PoFT)."""
    total = np.zeros(len(data))
    for folder in folders:
        other, tok = start_model(folder)
        encoded, lost = encode([e.example for e in data], tok, other.cfg.n_ctx)
        if lost.skipped or lost.refused:
            raise UserError(f"{folder}: {len(data) - len(encoded):,} of {len(data):,} rows do not fit into its context "
                            f"of {other.cfg.n_ctx} tokens, or its chat template refuses them; leave them out, or take "
                            "another aligned model")
        scored = logps(encoded, other.to(device.name), tok.pad, device)
        total += [row["answer"].sum() / e.seqs["answer"].mask[1:].sum() for row, e in zip(scored, encoded)]
    return list(total / len(folders))


def same_tokens(folder: str, model: GPT) -> GPT:
    """The model in `folder`, which reads the ids of the run's own tokenizer."""
    other, _ = start_model(folder)
    if other.cfg.vocab_size != model.cfg.vocab_size:
        raise UserError(f"{folder}: knows {other.cfg.vocab_size:,} tokens, the model that is trained "
                        f"{model.cfg.vocab_size:,}; both must have one tokenizer")
    return other


def tis(data: list[Encoded], model: GPT, pad: int, device: Device, hp) -> None:
    """Seqs.tis, nats: log-prob of every response token under the first model of hp.estimates minus that under the
    second (how much the token carries the preference); 0 if there are no models."""
    if not hp.estimates:
        for t in (t for e in data for t in e.seqs.values()):
            t.tis = np.zeros(len(t.ids) - 1)
        return
    plus, minus = (logps(data, same_tokens(folder, model).to(device.name), pad, device) for folder in hp.estimates)
    for e, p, m in zip(data, plus, minus):
        for role, t in e.seqs.items():
            t.tis = p[role] - m[role]


def confidence(data: list[Encoded], model: GPT, pad: int, device: Device, hp) -> None:
    """Columns.confidence: minus the perplexity of each answer, averaged over the models hp.runs."""
    perplexity = np.zeros(len(data))
    for folder in hp.runs:
        scored = logps(data, same_tokens(folder, model).to(device.name), pad, device)
        perplexity += [np.exp(-row["answer"].sum() / e.seqs["answer"].mask[1:].sum()) for row, e in zip(scored, data)]
    for e, x in zip(data, -perplexity / len(hp.runs)):
        e.col.confidence = np.float32(x)


@torch.no_grad()
def prompt(data: list[Encoded], model: GPT, pad: int, device: Device, hp) -> None:
    """Columns.prompt, (C,) a row: mean of the start model's final hidden states over the prompt, headers included.
    (A row without a prompt, which `encode` never makes, is known by its first token.)"""
    for e in tqdm(data, desc="reading prompts", leave=False, disable=len(data) < 500):
        t = next(iter(e.seqs.values()))
        ids = torch.from_numpy(t.ids[:max(1, int(t.mask.argmax()))]).to(device.name)        # up to the first answer
        hidden = model(ids[None], want="hidden")[0]
        e.col.prompt = hidden.mean(0).float().cpu().numpy()


COLUMNS: dict[str, Callable] = {"ref": ref, "aligned": aligned, "tis": tis, "confidence": confidence, "prompt": prompt}


def add_columns(data: list[Encoded], names: tuple[str, ...], model: GPT, pad: int, device: Device, hp=None) -> None:
    """Write these columns into Tokens and Encoded.col; `model` is the start model."""
    for name in names:
        COLUMNS[name](data, model, pad, device, hp)
