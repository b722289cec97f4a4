"""The plan of a run: all that it trains on and how, decided before training.

    plan = plan_run(cfg, objective, given, rows, model, tok)
    say(plan.headline(model, device))

If the flags leave them open, rate, batch size, steps and beta follow from the rows (defaults.py).
"""
import textwrap
from dataclasses import asdict, dataclass
from typing import Any

from nanouft.data.batches import Batching, Encoded
from nanouft.generate import MAX_NEW, longest_answer
from nanouft.gpt import GPT
from nanouft.loop import Device
from nanouft.models.tokenizer import Tokenizer
from nanouft.objective import Objective
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.printing import quantity
from nanouft.run.defaults import (
    DEFAULTS,
    choose_batch_size,
    choose_defaults,
    choose_steps,
    learning_rate,
    with_beta,
)
from nanouft.run.held_out import choose_held_out
from nanouft.run.load import Rows, encode_rows
from nanouft.run.settings import TrainFlags


@dataclass(frozen=True)
class Plan:
    """All that decides what a run learns; it never changes. If a flag was not given (lr,
    batch_size, steps, epochs, max_new), `cfg` has None and the plan has the chosen value."""
    cfg: TrainFlags             # the flags, as they were given
    objective: Objective        # the method with its settings
    rate: float                 # peak learning rate (defaults.learning_rate)
    batch_size: int             # rows of a step, or prompts if the model samples
    steps: int
    max_new: int                # longest sampled answer, in tokens
    train: list[Encoded]
    held_out: list[Encoded]     # held-out rows that are scored before and after

    @property
    def batching(self) -> Batching:
        return Batching(self.batch_size, self.steps, self.cfg.seed, self.cfg.accumulate)

    @property
    def epochs(self) -> float:
        """Passes over the training rows."""
        read = self.steps * self.batch_size * self.objective.oversample
        return read / (len(self.train) * self.objective.passes)

    def headline(self, model: GPT, device: Device) -> str:
        """The first lines of a run: method, steps, rows, rate, size and device; 80 columns."""
        size, trained = (sum(p.numel() for p in some) / 1e6 for some in (
            [*model.parameters()], [p for p in model.parameters() if p.requires_grad]))
        parameters = f"{size:.2f}M parameters"
        if trained < size:
            parameters = f"{trained:.2f}M of {parameters} trained"
        unit = "prompts" if self.objective.on_policy else "rows"
        precision = "" if device.dtype == "fp32" else f" {device.dtype}"
        lines = (f"{self.objective}: {quantity(self.steps, 'steps')} of "
                 f"{quantity(self.batch_size, unit)}, {as_passes(self.epochs)} over "
                 f"{quantity(len(self.train), unit)}",
                 f"{unit} of up to {max(e.length for e in self.train):,} tokens",
                 f"learning rate {self.rate:.2g}, {parameters}, on {device.name}{precision}")
        return "\n".join(textwrap.fill(line, 80, break_long_words=False) for line in lines)

    def settings(self) -> dict[str, Any]:
        """All flags for run.json, with the chosen values of those that were not given."""
        return asdict(self.cfg) | {"lr": self.rate, "batch_size": self.batch_size,
                                   "max_new": self.max_new}


def plan_run(cfg: TrainFlags, objective: Objective, given: set[str], rows: Rows, model: GPT,
             tok: Tokenizer) -> Plan:
    """Make the plan. `given`: names of the flags that were given; `rows`: from load_rows. It also
    prints which rows are used, which beta suits them, and how many are held out."""
    max_new = cfg.max_new or (longest_answer(model, tok) if cfg.data else MAX_NEW)
    train, held_out = encode_rows(cfg, objective, rows, model, tok, max_new)
    if cfg.data and "beta" not in given:
        objective = with_beta(objective, train)
    rate, batch_size, steps = choose_batching(cfg, objective, len(train), model)
    held_out = choose_held_out(cfg, objective, held_out, steps, batch_size)
    return Plan(cfg, objective, rate, batch_size, steps, max_new, train, held_out)


def choose_batching(cfg: TrainFlags, objective: Objective, rows: int,
                    model: GPT) -> tuple[float, int, int]:
    """(learning rate, batch size, steps): what the flags say, or else the defaults."""
    defaults = choose_defaults(objective, rows, model) if cfg.data else DEFAULTS
    batch_size = cfg.batch_size or choose_batch_size(objective, rows, defaults)
    check_batch(cfg, objective, rows, batch_size)
    steps = cfg.steps or choose_steps(objective, rows, defaults, batch_size, cfg.epochs)
    return cfg.lr or learning_rate(objective, model, defaults, cfg.lora > 0), batch_size, steps


def check_batch(cfg: TrainFlags, objective: Objective, rows: int, batch_size: int) -> None:
    """UserError if a step would have more rows than there are, or be cut into more micro-batches
    than it has rows."""
    if batch_size > rows and not objective.on_policy:
        there = "there is only" if rows == 1 else "there are only"
        raise UserError(f"--batch-size {batch_size}: {there} {quantity(rows, 'rows')} to "
                        "learn from")
    if cfg.accumulate > (rows := batch_size * objective.samples):
        raise UserError(f"--accumulate {cfg.accumulate}: a step has only {quantity(rows, 'rows')}; "
                        "give at most so many, or a larger --batch-size")


def as_passes(rows: float) -> str:
    """Rows read per row of the data, in words: "3 passes", "0.25 passes"."""
    text = f"{rows:,.0f}" if rows >= 9.95 else f"{rows:.2g}"
    return f"{text} {'pass' if text == '1' else 'passes'}"
