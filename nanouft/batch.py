"""What a loss reads: the rows of one optimizer step, as tensors.

    batch = collate(encoded, picked, tok.pad)   # data/batches.py: these rows
    write_logp(model, batch)                    # Seqs.logp, by one forward over all rows
"""
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, distributed

from nanouft.gpt import GPT, log_probs
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.printing import quantity

NOT_SET: Any = None                 # the value of a field that has not been written yet


@dataclass
class Seqs:
    """One role of a batch, as padded sequences: B rows, T tokens.
    Tokens are shifted once, in data/batches.py: targets[t] follows inputs[t]. The mask, made by
    `chat` of models/tokenizer.py, is shifted there with the targets. Prompt tokens have no log-prob
    because the output head runs only at `positions`. They have no loss either, because a loss adds
    up tokens by `sum` or `mean`, which are masked. (Only ORPO counts prompts too.)
    Log-probs are natural logarithms; their unit is the nat."""
    inputs: Tensor                  # (B,T) token ids
    targets: Tensor                 # (B,T) token ids
    mask: Tensor                    # (B,T) 1 where the TARGET is a response token, <|end|> included
    not_padding: Tensor             # (B,T) 1 where the target is a real token, prompt included; for
    #   counts and widths: attention needs no mask, because padding is on the right
    # written by forward():
    logp: Tensor = NOT_SET          # (B,T) nats, the policy's log-prob of each target; 0 off mask
    # written before training by run/reference.py; for sampled answers by rollout.py:
    ref_logp: Tensor = NOT_SET      # (B,T) nats, the reference's log-prob of each target
    # written by rollout.py, when answers are sampled:
    sampled_logp: Tensor = NOT_SET  # (B,T) nats, the log-prob of each token when it was sampled
    # written by an objective's credit():
    token_advantage: Tensor = NOT_SET   # (B,T) how much better a token is than expected (PPO)
    extra: dict[str, Tensor] = field(default_factory=dict)      # (B,T) numbers of one method
    positions: Tensor = NOT_SET     # (N,) indices into the flattened (B,T) where `mask` is 1
    rows: Tensor = NOT_SET          # (R,) rows with response tokens, in order [all]

    def __post_init__(self) -> None:
        if self.positions is None:      # on the CPU: a GPU would have to wait for their number
            self.positions = self.mask.flatten().nonzero()[:, 0]
            self.rows = self.mask.any(-1).nonzero()[:, 0]

    def sum(self, x: Tensor) -> Tensor:
        """(B,T) -> (B,). Masked numbers are replaced, not multiplied: 0 * inf would be NaN."""
        return x.masked_fill(self.mask == 0, 0).sum(-1)

    def mean(self, x: Tensor) -> Tensor:
        """(B,T) -> (B,) over response tokens."""
        return self.sum(x) / self.mask.sum(-1).clamp_min(1)

    def take(self, picked: Any) -> "Seqs":
        """The picked rows, without columns that are only padding."""
        T = int(self.not_padding[picked].sum(-1).max())
        return self.map(lambda x: x[picked, :T])

    def without_empty_rows(self) -> "Seqs":
        """The rows that a network has to read: those with response tokens."""
        if self.rows is None or len(self.rows) == len(self.inputs):
            return self
        width = max(1, self.inputs.shape[1])
        row, column = self.positions // width, self.positions % width
        positions = torch.searchsorted(self.rows, row) * width + column
        return Seqs(self.inputs[self.rows], self.targets[self.rows], self.mask[self.rows],
                    self.not_padding[self.rows], positions=positions)

    def map(self, change: Callable, positions: Tensor = NOT_SET,
            rows: Tensor = NOT_SET) -> "Seqs":
        """`change` applied to every tensor that is set. Positions and rows are recomputed unless
        given."""
        names = [f.name for f in fields(self) if f.name not in ("extra", "positions", "rows")]
        tensors = {name: change(x) for name in names if (x := getattr(self, name)) is not None}
        extra = {name: change(x) for name, x in self.extra.items()}
        return Seqs(**tensors, extra=extra, positions=positions, rows=rows)

    def to(self, device: torch.device | str) -> "Seqs":
        rows = NOT_SET if self.rows is None else send(self.rows, device)
        return self.map(lambda x: send(x, device), send(self.positions, device), rows)


@dataclass
class Batch:
    """The rows of one optimizer step, or a micro-batch of it with the totals of the whole step."""
    seqs: dict[str, Seqs]           # role -> Seqs: "answer" | "chosen", "rejected" | "mismatch" ...
    #   "demo" beside sampled answers: a demonstration in a prompt's first row, or nothing
    per_row: dict[str, Tensor] = field(default_factory=dict)    # (B,) of whole rows:
    #   from the data: score 0..1; label 1 good, 0 bad; p 0..1, how sure that `chosen` is better
    #   of sampled answers: reward, in the scorer's unit; ended, 1 if the answer ends by itself
    #   of demonstrations beside them: demo, 1 where there is one; demo_reward
    #   by credit(): advantage, how much better the answer is than expected
    n: int = 1                      # rows of the whole step: the batch size
    tokens: dict[str, Any] = field(default_factory=dict)    # role -> response tokens of the step
    seed: int = 0                   # of this step: all its micro-batches draw the same numbers
    progress: float = 0.0           # share of the run's steps that are done
    accumulate: int = 1             # number of micro-batches of this step, to save memory
    offset: int = 0                 # number of this micro-batch's first row in the step
    part_of: "Batch | None" = None      # the whole step, on the CPU, if this is a micro-batch

    @property
    def full_step(self) -> "Batch":
        """The whole step, for a loss or metric that counts something over all of it."""
        return self if self.part_of is None else self.part_of

    @classmethod
    def of(cls, seqs: dict[str, Seqs], per_row: dict[str, Tensor]) -> "Batch":
        """A whole step, with its totals."""
        first = next(iter(seqs.values()))
        tokens = {role: int(s.mask.sum()) for role, s in seqs.items()}
        return cls(seqs, per_row, n=len(first.inputs), tokens=tokens)

    def take(self, picked: Any) -> "Batch":
        """The picked rows (a list or array of numbers) as a step of their own."""
        seqs = {role: s.take(picked) for role, s in self.seqs.items()}
        return Batch.of(seqs, {name: x[picked] for name, x in self.per_row.items()})

    def micro_batches(self) -> "list[Batch]":
        """This step as `accumulate` micro-batches, each with the totals of the whole step.
        UserError if it has fewer rows than that."""
        n = self.accumulate
        if n > self.n:
            raise UserError(f"accumulate {n}: a step has only {quantity(self.n, 'rows')}")
        return [self.micro_batch(i, n) for i in range(n)] if n > 1 else [self]

    def micro_batch(self, part: int, parts: int) -> "Batch":
        return self.cut(slice(self.n * part // parts, self.n * (part + 1) // parts))

    def cut(self, rows: slice) -> "Batch":
        """A slice of its rows, with their place in the whole step and its totals."""
        seqs = {role: s.take(rows) for role, s in self.seqs.items()}
        per_row = {name: x[rows] for name, x in self.per_row.items()}
        return replace(self, seqs=seqs, per_row=per_row, offset=self.offset + rows.start,
                       part_of=self.full_step)

    def map(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        """`change` applied to every tensor; it may change the order of the rows."""
        seqs = {role: s.map(change) for role, s in self.seqs.items()}
        per_row = {name: change(x) for name, x in self.per_row.items()}
        return replace(self, seqs=seqs, per_row=per_row)

    def cast(self, dtype: torch.dtype) -> "Batch":
        """All numbers in another precision; token ids stay integers."""
        return self.map(lambda x: x.to(dtype) if x.is_floating_point() else x)

    def to(self, device: torch.device | str) -> "Batch":
        per_row = {name: send(x, device) for name, x in self.per_row.items()}
        seqs = {role: s.to(device) for role, s in self.seqs.items()}
        return replace(self, seqs=seqs, per_row=per_row)


def send(x: Tensor, device: torch.device | str) -> Tensor:
    """A copy on the device. PyTorch doesn't wait for the end of a copy to a GPU: what is computed
    there comes after it. A copy back to the CPU could be read before it is complete."""
    return x.to(device, non_blocking=torch.device(device).type != "cpu")


def over_processes(x: Tensor) -> Tensor:
    """The sum of x over the processes that share a step (trainer.py)."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.all_reduce(x)
    return x


def write_logp(model: GPT, batch: Batch, read_states: Callable = log_probs) -> None:
    """Write `logp` of every role, by one forward pass over all rows with response tokens. The
    output head runs only at these tokens. read_states: makes the log-probs of the final states."""
    roles = list(batch.seqs.values())
    read = [s.without_empty_rows() for s in roles]
    T = max(s.inputs.shape[1] for s in read)

    def stack(name: str) -> Tensor:
        """All roles, one below the other. Causal attention never reads padding on the right."""
        padded = [F.pad(getattr(s, name), (0, T - s.inputs.shape[1])) for s in read]
        return torch.cat(padded)

    at = stacked_positions(read, T)
    logp = read_states(model, model(stack("inputs")), stack("targets"), at)         # (rows,T)
    for s, x in zip(roles, logp.split([len(s.inputs) for s in read])):
        s.logp = x[:, :s.inputs.shape[1]]
        if len(x) < len(s.inputs):
            s.logp = x.new_zeros(s.mask.shape).index_copy(0, s.rows, s.logp)


def stacked_positions(roles: list[Seqs], T: int) -> Tensor:
    """(N,) positions of all roles' response tokens, if the roles are padded to T columns, stacked
    and flattened."""
    positions, above = [], 0            # positions of each role; number of rows above it
    for s in roles:
        width = s.inputs.shape[1]
        row, column = s.positions // width, s.positions % width
        positions.append((above + row) * T + column)
        above += len(s.inputs)
    return torch.cat(positions)
