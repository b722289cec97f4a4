"""The plan of a run: all that it trains on and how, decided before training.

    plan = plan_run(cfg, objective, given, rows, model, tok)
    say(plan.headline(model, device))

If the flags leave them open, the learning rate, batch size, steps and beta follow from the rows.
"""
import math
import statistics
import textwrap
from dataclasses import asdict, dataclass, replace
from typing import Any

from nanouft.data.batches import Encoded, Pace
from nanouft.generate import MAX_NEW, longest_answer
from nanouft.gpt import GPT
from nanouft.loop import Device
from nanouft.models.tokenizer import Tokenizer
from nanouft.objective import WIDTH, Objective
from nanouft.plumbing.errors import UserError, flag
from nanouft.plumbing.printing import counted, say
from nanouft.run.held_rows import choose_held_out
from nanouft.run.load import Rows, encode_rows
from nanouft.run.settings import Train


@dataclass(frozen=True)
class Plan:
    """All that decides what a run learns; it never changes. If a flag was not given (lr,
    batch_size, steps, epochs, max_new), `cfg` has None and the plan has the chosen value."""
    cfg: Train                  # the flags, as they were given
    objective: Objective        # the method with its settings
    rate: float                 # peak learning rate (choose_rate)
    batch_size: int             # rows of a step, or prompts if the model samples
    steps: int
    max_new: int                # longest sampled answer, in tokens
    train: list[Encoded]
    held: list[Encoded]         # held-out rows that are scored before and after

    @property
    def pace(self) -> Pace:
        return Pace(self.batch_size, self.steps, self.cfg.seed, self.cfg.accumulate)

    @property
    def epochs(self) -> float:
        """Passes over the training rows."""
        return self.steps * self.batch_size / (len(self.train) * self.objective.passes)

    def headline(self, model: GPT, device: Device) -> str:
        """The first lines of a run: method, steps, rows, rate, size and device; 80 columns."""
        size, trained = (sum(p.numel() for p in some) / 1e6 for some in (
            [*model.parameters()], [p for p in model.parameters() if p.requires_grad]))
        parameters = f"{size:.2f}M parameters"
        if trained < size:
            parameters = f"{trained:.2f}M of {parameters} trained"
        unit = "prompts" if self.objective.on_policy else "rows"
        precision = "" if device.dtype == "fp32" else f" {device.dtype}"
        lines = (f"{self.objective}: {counted(self.steps, 'steps')} of "
                 f"{counted(self.batch_size, unit)}, {as_passes(self.epochs)} over "
                 f"{counted(len(self.train), unit)}",
                 f"learning rate {self.rate:.2g}, {parameters}, on {device.name}{precision}")
        return "\n".join(textwrap.fill(line, 80, break_long_words=False) for line in lines)

    def chosen_here(self) -> str:
        """A line with the flags among steps, batch size and rate that were not given."""
        cfg = self.cfg
        given = {"epochs": cfg.epochs or cfg.steps, "batch_size": cfg.batch_size, "lr": cfg.lr}
        names = [flag(name) for name, value in given.items() if value is None]
        return f"chosen by the run, since not given: {', '.join(names)}" if names else ""

    def settings(self) -> dict[str, Any]:
        """All flags for run.json, with the chosen values of those that were not given."""
        return asdict(self.cfg) | {"lr": self.rate, "batch_size": self.batch_size,
                                   "max_new": self.max_new}


def plan_run(cfg: Train, objective: Objective, given: set[str], rows: Rows, model: GPT,
             tok: Tokenizer) -> Plan:
    """Make the plan. `given`: names of the flags that were given; `rows`: from load_rows. It also
    prints which rows are used, which beta suits them, and how many are held out."""
    max_new = cfg.max_new or (longest_answer(model, tok) if cfg.data else MAX_NEW)
    train, held = encode_rows(cfg, objective, rows, model, tok, max_new)
    if cfg.data and "beta" not in given:
        objective = with_beta(objective, train)
    fit = choose_fit(cfg, objective, len(train), model)
    batch_size = choose_batch_size(cfg, objective, len(train), fit)
    check_accumulate(cfg.accumulate, batch_size * objective.samples)
    steps = choose_steps(cfg, objective, len(train), fit, batch_size)
    rate = choose_rate(cfg, objective, model, fit)
    held = choose_held_out(cfg, objective, held, steps, batch_size)
    return Plan(cfg, objective, rate, batch_size, steps, max_new, train, held)


# ---- rate, batch and steps, if they are not given ------------------------------------------------
PASSES = 3              # over the rows; more passes learn a small file by heart (docs/data.md)
SMALL_STEP = 8          # rows of a step: small steps make more steps out of PASSES
FEW_PROMPTS = 4         # prompts of a step, because each has several answers
SOME = (20, 20)         # least number of steps: fewer change nothing
MANY = (200, 400)       # least number of steps for a narrow model and few demonstrations:
STEPS_PER_ROW = 10      # this many for each row, but within the two bounds of MANY
LOW = 3e-5              # highest rate for pairs and grades: a higher one makes answers worse


@dataclass(frozen=True)
class Fit:
    """Values for a run whose flags leave them open."""
    batch_size: int                 # rows of a step, or prompts if the model samples
    least: tuple[int, int]          # least number of steps, within these bounds
    times: float = 1                # factor of the method's learning rate
    highest: float = math.inf       # highest learning rate, for a model as wide as the base


USUAL = Fit(32, (1, 1))             # NanoWorld, or a large file of yours
FITS = {                            # (why not USUAL, what the method learns from) -> Fit
    ("few rows", "demonstrations"): Fit(SMALL_STEP, MANY, times=4),
    ("few rows", "feedback"): Fit(SMALL_STEP, SOME, highest=LOW),
    ("wide model", "demonstrations"): Fit(SMALL_STEP, SOME),    # times=4 taught SmolLM2 no more
    ("wide model", "feedback"): Fit(SMALL_STEP, SOME, highest=LOW),
    ("wide model", "prompts"): Fit(FEW_PROMPTS, SOME)}


def choose_fit(cfg: Train, objective: Objective, rows: int, model: GPT) -> Fit:
    """USUAL for NanoWorld. On your rows there are other fits for a model wider than the base, and
    for few rows: so few that PASSES in usual batches are fewer steps than their Fit demands."""
    if not cfg.data:
        return USUAL
    learns_from = ("prompts" if objective.on_policy else
                   "demonstrations" if objective.kinds() == ["demos"] else "feedback")
    if model.cfg.n_embd > WIDTH:
        return FITS["wide model", learns_from]
    few = FITS.get(("few rows", learns_from), USUAL)
    return few if PASSES * rows < few.least[0] * USUAL.batch_size else USUAL


def choose_batch_size(cfg: Train, objective: Objective, rows: int, fit: Fit) -> int:
    """Rows of a step (there must be that many), or prompts of a step (they may repeat)."""
    if objective.on_policy:
        return cfg.batch_size or fit.batch_size
    if cfg.batch_size and cfg.batch_size > rows:
        there = "there is only" if rows == 1 else "there are only"
        raise UserError(f"--batch-size {cfg.batch_size}: {there} {counted(rows, 'rows')} to learn "
                        "from")
    return cfg.batch_size or min(fit.batch_size, rows)


def check_accumulate(accumulate: int, rows: int) -> None:
    """UserError if a step would be cut into more micro-batches than it has rows."""
    if accumulate > rows:
        raise UserError(f"--accumulate {accumulate}: a step has only {counted(rows, 'rows')}; give "
                        "at most so many, or a larger --batch-size")


def choose_steps(cfg: Train, objective: Objective, rows: int, fit: Fit, batch_size: int) -> int:
    """Optimizer steps: PASSES over the rows, or more if the Fit demands it."""
    if cfg.steps:
        return cfg.steps
    steps = max(1, round((cfg.epochs or PASSES) * rows / batch_size))
    if not cfg.epochs:
        low, high = fit.least
        steps = max(steps, min(high, max(low, STEPS_PER_ROW * rows)))
    return steps * objective.passes             # a rollout is used that often


def choose_rate(cfg: Train, objective: Objective, model: GPT, fit: Fit) -> float:
    """The peak of the learning rate."""
    if cfg.lr:
        return cfg.lr
    rate = objective.rate(model, cfg.lora > 0)
    if not cfg.lora:                            # LoRA's rate is ten times as high already
        rate *= fit.times
    return rate * min(1, fit.highest / objective.lr)


# ---- beta ----------------------------------------------------------------------------------------
def with_beta(objective: Objective, data: list[Encoded]) -> Objective:
    """UNA or UFT from scores, with the beta that suits the length of the answers: 1 / median, from
    .01 to .1. A score is reached after some 1 / beta nats of the whole answer (una.py)."""
    if getattr(objective, "feedback", "") != "score":
        return objective
    median = statistics.median(t.mask.sum() for e in data for t in e.seqs.values())
    beta = float(f"{min(0.1, max(0.01, 1 / median)):.2g}")
    say(f"beta {beta:g} suits answers of {median:g} tokens, the median (--beta changes it)")
    return replace(objective, **{"beta": beta})


def as_passes(rows: float) -> str:
    """Rows read per row of the data, in words: "3 passes", "0.25 passes"."""
    text = f"{rows:,.0f}" if rows >= 9.95 else f"{rows:.2g}"
    return f"{text} {'pass' if text == '1' else 'passes'}"
