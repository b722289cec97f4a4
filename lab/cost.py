"""What a training run costs, counted and not timed: gradient tokens and floating-point operations.

    python -m lab.cost --objective ift              # a second; takes every flag of train
    python -m lab.cost --objective tis_dpo          # with the runs that are made first

The steps that train would make are made once more by a twin: the same rows, batches and forwards,
but one layer of width 8, so that it takes no time. A hook on GPT.forward writes down what each call
would cost at the real size. Where the model samples while it trains, the hook sits in the run
itself (`counted`), and samples are paid too.
gradient tokens   response tokens that the loss pushes, summed over all steps.
FLOPs             multiplications and additions of all matrix products; a backward pass is two
                  forwards. Included: a reference model's scores (columns) and training runs that
                  must come first. Not included: evaluation.
Left out: embeddings, LayerNorm, GELU, softmax and the optimizer (a few per cent); padding counts.
"""
import contextlib
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch.nn.modules.module import register_module_forward_hook

from nanouft.data.batches import Encoded, Epochs, encode
from nanouft.errors import UserError
from nanouft.gpt import GPT, GPTConfig
from nanouft.models.load import start_model
from nanouft.objective import REF, Objective
from nanouft.objectives import OBJECTIVES
from nanouft.run import config
from nanouft.run.flags import read_flags
from nanouft.run.rows import load_rows
from nanouft.seeds import step_seed


@dataclass
class Cost:
    tokens: int = 0                     # gradient tokens
    flops: float = 0.0
    first: float = 0.0                  # of these FLOPs: runs made first
    steps: int = 0                      # optimizer steps

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.tokens + other.tokens, self.flops + other.flops, self.first + other.first,
                    self.steps + other.steps)


def forward_flops(cfg: GPTConfig, rows: int, new: int, heads: int, before: int = 0) -> float:
    """FLOPs of one forward: `new` tokens in each of `rows` rows, after `before` cached ones; the
    output head at `heads` positions in all. A product of (a,b) and (b,c) is 2abc; causal attention
    reads half of a square."""
    matrices = 24 * cfg.n_layer * cfg.n_embd ** 2  # a token: 12 C^2 weights a layer, times two
    pairs = new * before + new * (new + 1) / 2  # (query, key) pairs of a row
    return (rows * (new * matrices + 4 * cfg.n_layer * cfg.n_embd * pairs)
            + 2 * heads * cfg.n_embd * cfg.vocab_size)


class Meter:
    """Adds up what the calls of models cost; of shape `cfg` if it is given, else of their own."""

    def __init__(self, cfg: GPTConfig | None = None):
        self.cfg, self.flops = cfg, 0.0

    def note(self, model, args: tuple, kw: dict, out: torch.Tensor) -> None:
        what = kw.get("want", "logits")
        if not isinstance(model, GPT) or what == "embeds":  # (a part of a GPT; a look-up)
            return
        x = next(v for v in (*args, kw.get("ids"), kw.get("embeds"), kw.get("hidden"))
                 if v is not None)
        # embeddings and states have a width, ids none
        shape = x.shape[:-1] if x.is_floating_point() else x.shape
        (rows, new), at = (shape if len(shape) == 2 else (shape.numel(), 1)), kw.get("at")
        heads = 0 if what in ("hidden", "value") else rows * new if at is None else places(at)
        cache = kw.get("cache")
        before = cache.n - new if cache is not None else 0
        once = forward_flops(self.cfg or model.cfg, rows,
                             0 if kw.get("hidden") is not None else new, heads, before)
        self.flops += once * (3 if out.requires_grad else 1)


def places(at: torch.Tensor) -> int:
    """How many: of a mask, or of places in the flattened (B,T)."""
    return int(at.sum()) if at.dtype == torch.bool else at.numel()


@contextlib.contextmanager
def counted() -> Iterator[Meter]:
    """Counts every call of every GPT inside the block, that of a reward model's body too."""
    meter = Meter()
    hook = register_module_forward_hook(meter.note, with_kwargs=True)
    try:
        yield meter
    finally:
        hook.remove()


def cost_of(argv: list[str]) -> Cost:
    """The cost of `python -m nanouft.train ARGV` on NanoWorld."""
    name, cfg, hp, _ = read_flags(list(argv))
    if name == "list" or cfg.data:
        raise UserError("the cost is that of a run on NanoWorld: name an --objective, and give no "
                        "--data")
    objective, (base, tok) = OBJECTIVES[name], start_model("base")
    if objective.on_policy:
        raise UserError(f"{name} learns from answers that it samples on the way: what it costs is "
                        "known afterwards")
    encoded, _ = encode(objective.rows(load_rows(cfg, objective, hp)[0], hp), tok, base.cfg.n_ctx)
    total = Cost(flops=columns(objective, encoded, base.cfg)) + made_first(objective, cfg.seed)
    if objective.arrange:  # which rows meet depends on their columns; here on nothing
        for e in encoded:
            for column in objective.columns:
                e.per_row.extra[column.name] = 0.0
        encoded = objective.arrange(encoded, cfg.seed)
    steps = cfg.optimizer_steps(len(encoded))
    return total + trained(objective, hp, cfg, encoded, tok.pad, steps, base.cfg)


def made_first(objective: Objective, seed: int) -> Cost:
    """The runs that an objective asks for before its own."""
    total, wanted = Cost(), objective.prerequisite
    for flags in wanted.commands if wanted else ():
        made = cost_of([*shlex.split(flags), *(["--seed", str(seed)] * wanted.inherits)])
        total += replace(made, first=made.flops, steps=0)
    return total


def trained(objective: Objective, hp, cfg, encoded: list[Encoded], pad: int, steps: int,
            shape: GPTConfig) -> Cost:
    """`steps` optimizer steps, made by the twin (forwards only; a backward is counted as two)."""
    twin = GPT(replace(shape, n_layer=1, n_head=1, n_embd=8), seed=0)
    meter, tokens = Meter(shape), 0
    twin.register_forward_hook(meter.note, with_kwargs=True)
    source = Epochs(encoded, cfg.batch_size, steps, cfg.seed, pad)
    for step in range(steps):
        batch = replace(source(step), seed=step_seed(cfg.seed, step))
        objective.forward(twin, batch, hp)
        tokens += sum(n for role, n in batch.tokens.items() if batch.seqs[role].logp.requires_grad)
    return Cost(tokens, meter.flops, steps=steps)


def columns(objective: Objective, encoded: list[Encoded], shape: GPTConfig) -> float:
    """FLOPs of the columns that the loss reads: each row once through each other model."""
    total = 0.0
    for column in objective.columns:
        prompts = column.name == "prompt_embedding"
        wanted = objective.prerequisite
        models = len(wanted.commands) if wanted and column != REF else 1
        for e in encoded:
            for t in list(e.seqs.values())[:1 if prompts else None]:
                n = int(t.mask.argmax()) if prompts else len(t.ids) - 1
                heads = 0 if prompts else int(t.mask[1:].sum())
                total += models * forward_flops(shape, 1, n, heads)
    return total


def main(argv=None) -> int:
    cost = cost_of(sys.argv[1:] if argv is None else argv)
    print(f"{cost.steps:,} steps, {cost.tokens:,} gradient tokens, {cost.flops / 1e9:,.0f} GFLOP"
          + (f" ({cost.first / 1e9:,.0f} of them in runs made first)" if cost.first else ""))
    return 0


if __name__ == "__main__":
    sys.exit(config.run(main))
