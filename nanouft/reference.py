"""Numbers that another model leaves beside the tokens, before training starts. So a loss sees one policy and numbers.

    add_columns(encoded, objective.columns, model, tok.pad, device, hp)     # `model` is the start model

REF, the start model's log-probs, serves many methods (DPO and its relatives, KTO, UNA, UFT). Other columns are declared
in the files of their methods. Columns are computed at each start of a run: that costs less than one pass of training.
"""
from dataclasses import replace

import numpy as np
import torch
from tqdm import tqdm

from nanouft.data.batches import Encoded, collate, encode
from nanouft.gpt import GPT
from nanouft.models.load import start_model
from nanouft.objective import REF, Batch, Column, write_logp
from nanouft.shell.devices import Device
from nanouft.shell.errors import UserError
from nanouft.shell.processes import all_gather, is_sharded

Numbers = list[dict[str, np.ndarray]]           # one entry a row: {role: (L-1,) numbers, one a target}
ROWS, LOGITS = 64, 2**28                        # of one forward, at most: 2^28 logits are 1 GiB in fp32


def logps(data: list[Encoded], model: GPT, pad: int, device: Device) -> Numbers:
    """Nats: the log-prob of every response token under `model`, 0 elsewhere. Of several processes, which must all ask,
    each reads its share of the chunks; of shared weights all read everything together."""
    if is_sharded(model):
        device = replace(device, rank=0, processes=1)
    all_chunks = chunks(data, model.cfg.vocab_size)
    mine = all_chunks[device.rank::device.processes]
    bar = tqdm(mine, desc="scoring", leave=False, disable=len(mine) < 8 or device.rank > 0)
    out: Numbers = [{} for _ in data]
    scored = all_gather([chunk_logps(data, rows, model, pad, device) for rows in bar], device)
    for rows, found in zip(all_chunks, scored):
        for i, numbers in zip(rows, found, strict=True):
            out[i] = numbers
    return out


def chunks(data: list[Encoded], vocab: int) -> list[np.ndarray]:
    """Numbers of rows that are read together: of like length, the longest first."""
    by_length, out, start = np.argsort([-e.length for e in data], kind="stable"), [], 0
    while start < len(data):
        longest = data[by_length[start]]
        n = max(1, min(ROWS, LOGITS // (longest.length * len(longest.seqs) * vocab)))
        out.append(by_length[start:start + n])
        start += n
    return out


def batch_of(data: list[Encoded], rows: np.ndarray, pad: int, device: Device) -> Batch:
    """These rows, on the device."""
    return collate(data, rows, pad).to(device.name)


@torch.no_grad()
def chunk_logps(data: list[Encoded], rows: np.ndarray, model: GPT, pad: int, device: Device) -> Numbers:
    batch = batch_of(data, rows, pad, device)
    with device.autocast():
        write_logp(model, batch, None)
    nats = {role: s.logp.float().cpu().numpy() for role, s in batch.seqs.items()}
    return [{role: x[k, :len(data[i].seqs[role].ids) - 1].copy() for role, x in nats.items()}
            for k, i in enumerate(rows)]


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
    """The model in `folder`, beside `model` on its device; it reads the ids of the run's own tokenizer."""
    other, _ = start_model(folder)
    if other.cfg.vocab_size != model.cfg.vocab_size:
        raise UserError(f"{folder}: knows {other.cfg.vocab_size:,} tokens, the model that is trained "
                        f"{model.cfg.vocab_size:,}; both must have one tokenizer")
    return other.to(model.wte.weight.device)


def add_columns(data: list[Encoded], columns: tuple[Column, ...], model: GPT, pad: int, device: Device,
                hp=None) -> None:
    """Write these columns beside the rows or their tokens; `model` is the start model."""
    for column in columns:
        if column == REF:
            for e, logp in zip(data, logps(data, model, pad, device)):
                for role, t in e.seqs.items():
                    t.ref = logp[role]
            continue
        for e, numbers in zip(data, column.before(data, model, pad, device, hp), strict=True):
            if column.per_token:
                for role, t in e.seqs.items():
                    t.extra[column.name] = numbers[role]
            else:
                e.col.extra[column.name] = numbers
