"""Log-probs of frozen models (reference, helper, teacher) beside the tokens of the rows.

    models = FrozenModels(start, pad, device)
    encoded = models.prepare(encoded, objective)                # before training

Many methods need the initial model's log-probs (DPO and its relatives, KTO, UNA, UFT). They are
made here once, before the first step, and kept in memory beside the tokens: Tokens.ref_logp, from
where each batch takes Seqs.ref_logp. A resumed run makes them again. Of sampled answers they are
made in each rollout (rollout.py). The files of the methods compute other numbers.
"""
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nanouft.batch import Batch, write_logp
from nanouft.data.batches import Encoded, collate, encode
from nanouft.device import Device
from nanouft.generate import LOGIT_BUDGET, rows_per_batch
from nanouft.gpt import GPT, log_probs
from nanouft.models.folders import start_model
from nanouft.models.tokenizer import Tokenizer
from nanouft.objective import Objective
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.printing import progress

Numbers = list[dict[str, np.ndarray]]           # per row: {role: (L-1,) numbers, one per target}


@dataclass
class FrozenModels:
    """The initial model, and a way to open the other models that a method reads."""
    start: Any                      # GPT or HFModel; with LoRA, HFModel.start
    pad: int
    device: Device = Device()
    open: Callable[[str], tuple[GPT, Tokenizer]] = start_model      # folder -> model, tokenizer
    tok: Tokenizer | None = None    # of the run; other tokenizers are compared with it

    def prepare(self, data: list[Encoded], objective: Objective,
                seed: int = 0) -> list[Encoded]:
        """The rows, with the numbers of other models that the method reads."""
        self.add_reference(data, objective)
        return objective.prepare(data, self, seed)      # it may change the rows

    def add_reference(self, data: list[Encoded], objective: Objective, what: str = "rows") -> None:
        """Write ref_logp, the initial model's log-probs, beside the tokens. Metrics of pairs and
        grades read them even if the loss does not. what: these rows, on the progress bar."""
        if objective.reference or objective.kinds() != ["demos"]:
            for e, logp in zip(data, self.logps(data, what=what)):
                for role, t in e.seqs.items():
                    t.ref_logp = logp[role]

    def logps(self, data: list[Encoded], folder: str | None = None,
              what: str = "rows") -> Numbers:
        """The log-prob of every response token, nats, by the initial model or that in `folder`;
        0 elsewhere."""
        model = self.start if folder is None else self.open_with_same_tokenizer(folder)
        what = f"{folder or 'initial model'}: log-probs of {what}"
        return logps(data, model, self.pad, self.device, what)

    def batches(self, data: list[Encoded]) -> Iterator[tuple[np.ndarray, Batch]]:
        """(row numbers, their batch on the device) until all rows have been read."""
        return batches(data, self.start, self.pad, self.device, "initial model: log-probs of rows")

    def reference_model(self, objective: Objective, lora: bool) -> Any:
        """The model that measures sampled answers: the teacher in distillation, else the start
        model. With LoRA the initial model is the model without its adapters, if nothing else is
        trained. Otherwise it is a copy."""
        if teacher := objective.first_models:
            return self.open_with_same_tokenizer(getattr(objective, teacher.setting)[0])
        if lora and not self.start.new_rows:
            return self.start.start
        return copy.deepcopy(self.start).requires_grad_(False)

    def open_with_same_tokenizer(self, folder: str) -> GPT:
        """The model in `folder`. UserError unless it has the run's own tokenizer."""
        other, tok = self.open(folder)
        mine, theirs = self.start.cfg.vocab_size, other.cfg.vocab_size
        own = tok if self.tok is None else self.tok
        other_words = (own.decode([i]) != tok.decode([i]) for i in range(own.n_vocab))
        if mine != theirs or any(other_words):
            raise UserError(f"{folder}: its tokenizer ({theirs:,} tokens) differs from that of the "
                            f"trained model ({mine:,}); both must use the same one")
        return other.to(self.device.name)

    def mean_logp(self, data: list[Encoded], folders: list[str]) -> list[float]:
        """The mean log-prob per response token of each answer, in nats, averaged over the models in
        `folders` (PoFT). Each model has its own tokenizer and template, and so its own tokens."""
        total = np.zeros(len(data))
        for folder in folders:
            other, tok = self.open(folder)
            encoded, lost = encode([e.row for e in data], tok, other.cfg.n_ctx)
            if lost.why or any(e.lost_turns for e in encoded):
                raise UserError(f"{folder}: some of {len(data):,} rows exceed its context of "
                                f"{other.cfg.n_ctx} tokens, or its chat template rejects them; "
                                "remove them, or use another helper model")
            other = other.to(self.device.name)
            scored = logps(encoded, other, tok.pad, self.device, f"{folder}: log-probs of rows")
            total += [row["answer"].sum() / e.seqs["answer"].mask[1:].sum()
                      for row, e in zip(scored, encoded)]
        return list(total / len(folders))


@torch.no_grad()
def logps(data: list[Encoded], model: GPT, pad: int, device: Device,
          what: str = "reading") -> Numbers:
    """The log-prob of every response token by `model`, in nats; 0 elsewhere. what: who reads which
    rows, on the progress bar."""
    out: Numbers = [{} for _ in data]
    for picked, batch in batches(data, model, pad, device, what):
        with device.autocast():
            write_logp(model, batch, log_probs_in_pieces)
        for role, s in batch.seqs.items():
            for i, x in zip(picked, s.logp.float().cpu().numpy()):
                out[i][role] = x[:len(data[i].seqs[role].ids) - 1].copy()
    return out


def log_probs_in_pieces(model: Any, hidden: Tensor, targets: Tensor, at: Tensor) -> Any:
    """gpt.log_probs, with at most LOGIT_BUDGET logits at once: without gradient none are kept."""
    pieces = at.split(max(1, LOGIT_BUDGET // model.cfg.vocab_size))
    return sum(log_probs(model, hidden, targets, piece) for piece in pieces)


def batches(data: list[Encoded], model: GPT, pad: int, device: Device,
            what: str) -> Iterator[tuple[np.ndarray, Batch]]:
    """(row numbers, their batch on the device), with a progress bar. Rows of similar length are
    read together; the longest come first."""
    by_length, start = np.argsort([-e.length for e in data], kind="stable"), 0
    with progress(len(data), what) as bar:
        while start < len(data):
            longest = data[by_length[start]]
            n = rows_per_batch(model, longest.length * len(longest.seqs))
            picked = by_length[start:start + n]
            yield picked, collate(data, picked, pad).to(device.name)
            start += n
            bar.update(len(picked))
