"""The plan of a run: all that it trains on and how, decided before training.

    plan = plan_run(cfg, objective, rows, model, tok)
    say(plan.headline(model, device))
    plan.describe(tok, device)                                  # run.json

hyperparameters.py chooses learning rate, batch size and steps where the flags leave them open.
"""
import textwrap
from dataclasses import asdict, dataclass
from typing import Any

import torch

from nanouft import __version__
from nanouft.data.batches import Encoded
from nanouft.data.files import hash_of_rows
from nanouft.data.holdout import leak, question_keys
from nanouft.data.row import Row
from nanouft.generate import MAX_NEW, longest_answer
from nanouft.gpt import GPT
from nanouft.loop import Device
from nanouft.models.tokenizer import Tokenizer
from nanouft.objective import Objective
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.printing import note, quantity, say
from nanouft.run.config import RunConfig, TrainFlags
from nanouft.run.device import processor
from nanouft.run.folder import hash_inputs, trained_question_keys
from nanouft.run.hyperparameters import choose_hyperparameters, with_beta
from nanouft.run.load import Rows, encode_rows


@dataclass(frozen=True)
class Plan:
    """All that decides what a run learns; it never changes. If a flag was not given (lr,
    batch_size, steps, epochs, max_new), `cfg` has None and the plan has the chosen value."""
    cfg: RunConfig              # the flags, as they were given
    objective: Objective        # the method with its settings
    lr: float                   # peak learning rate (hyperparameters.learning_rate)
    batch_size: int             # rows of a step, or prompts if the model samples
    steps: int
    max_new: int                # longest sampled answer, in tokens
    train: list[Encoded]
    held_out: list[Encoded]     # held-out rows that are scored before and after
    asked: frozenset[str] = frozenset()     # keys of the questions that it or its start learned
    leak: str = ""              # "5 of 5 held-out questions are also trained on", or ""

    @property
    def epochs(self) -> float:
        """Passes over the training rows."""
        return self.steps * self.batch_size / (len(self.train) * self.objective.passes)

    def headline(self, model: Any, device: Device) -> str:
        """The first lines of a run: method, steps, rows, rate, size and device; 80 columns."""
        size, trained = (sum(p.numel() for p in tensors) / 1e6 for tensors in (
            [*model.parameters()], [p for p in model.parameters() if p.requires_grad]))
        parameters = f"{size:.2f}M parameters"
        if trained < size:
            parameters = f"{trained:.2f}M of {parameters} trained"
        unit = "prompts" if self.objective.on_policy else "rows"
        own = self.objective.lr
        usual = "" if self.lr == own else f" ({self.objective}'s own: {own:.2g})"
        precision = "" if device.dtype == "fp32" else f" {device.dtype}"
        lines = [f"{self.objective}: {quantity(self.steps, 'steps')} at batch size "
                 f"{self.batch_size:,}, {format_epochs(self.epochs)} over "
                 f"{quantity(len(self.train), unit)}",
                 f"{unit} of up to {max(e.length for e in self.train):,} tokens",
                 f"learning rate {self.lr:.2g}{usual}, {parameters}, on {device.name}{precision}"]
        if self.cfg.lora and model.new_rows:
            head = model.net.get_output_embeddings()
            full = sum(p.numel() for p in {*model.wte.parameters(), *head.parameters()}) / 1e6
            lines += [f"new tokens: embedding and output head are trained in full, {full:.2f}M of "
                      f"{size:.2f}M parameters, at LoRA's learning rate of {self.lr:.2g}; so "
                      "the whole model is saved, without adapter/"]
        return "\n".join(textwrap.fill(line, 80, break_long_words=False) for line in lines)

    def describe(self, tok: Tokenizer, device: Device) -> dict:
        """The contents of run.json, to compare a resumed run with."""
        cfg, objective = self.cfg, self.objective
        chosen = {"lr": self.lr, "batch_size": self.batch_size, "max_new": self.max_new}
        inputs = hash_inputs(cfg.init, cfg.method, cfg.reward, objective, self.train,
                             self.held_out)
        first_turns = {e.row.prompt[:1] for e in self.train}
        system = [t.text for turns in first_turns for t in turns if t.role == "system"]
        return {"command": "train", "version": __version__, "objective": objective.name,
                "steps": self.steps, "passes": self.epochs,
                "config": cfg.flags() | chosen, "hp": asdict(objective),
                "argv": cfg.argv(), "tokenizer": tok.name,
                "system": system[0] if len(first_turns) == len(system) == 1 else "",  # of all rows
                "inputs": inputs,
                "files": [hash_of_rows(file) for file in cfg.data or ()],
                "asked": " ".join(sorted(self.asked)),
                "torch": torch.__version__, "device": f"{device.name} {device.dtype}",
                "processor": processor() if device.kind == "cpu" else None}


def plan_run(cfg: RunConfig, objective: Objective, rows: Rows, model: GPT, tok: Tokenizer) -> Plan:
    """Make the plan. `rows`: from load_rows. It also prints which rows are used, which beta suits
    them, and how many are held out."""
    max_new = cfg.max_new or (longest_answer(model, tok) if cfg.data else MAX_NEW)
    train, held_out = encode_rows(cfg, objective, rows, model.cfg.n_ctx, tok, max_new)
    if cfg.data and "beta" not in cfg.given:
        objective = with_beta(objective, train)
    lr, batch_size, steps = choose_hyperparameters(cfg, objective, len(train), model)
    asked = questions(rows.train, train) | trained_question_keys(cfg.init)
    leaks = leak(questions(rows.held_out, held_out), asked)
    held_out = choose_held_out(cfg, objective, held_out, steps, batch_size)
    if leaks:
        note(leaks)
    return Plan(cfg, objective, lr, batch_size, steps, max_new, train, held_out, asked, leaks)


def questions(rows: list[Row], encoded: list[Encoded]) -> frozenset[str]:
    """Keys of the questions of your rows that are encoded."""
    used = {e.row.where for e in encoded} - {""}
    return frozenset(question_keys(r for r in rows if r.where in used))


def format_epochs(rows: float) -> str:
    """Rows read per row of the data, in words: "3 epochs", "0.25 epochs"."""
    text = f"{rows:,.0f}" if rows >= 9.95 else f"{rows:.2g}"
    return f"{text} {'epoch' if text == '1' else 'epochs'}"


# ---- the held-out rows that a run scores ---------------------------------------------------------
def choose_held_out(cfg: TrainFlags, objective: Objective, held_out: list[Encoded],
                    steps: int, batch_size: int) -> list[Encoded]:
    """The held-out rows that a run scores before and after: all of a file that is named, else from
    32 to 200, spread over the file. Scoring them may cost a tenth of the training, if a step costs
    three forwards."""
    if cfg.plain and not cfg.eval_every:
        return []
    if not cfg.data:
        return held_out
    if not held_out:
        if cfg.keep == "best":
            raise UserError("--keep best: no rows are held out; give some with --eval-data FILE")
        note("no rows are held out, so nothing is evaluated; give some with --eval-data FILE")
        return held_out
    if not cfg.eval_data:
        times = 2 + (steps // cfg.eval_every if cfg.eval_every else 0)
        trained = steps * batch_size * objective.samples
        n = min(len(held_out), max(32, min(200, int(0.1 * 3 * trained / times))))
        held_out = [held_out[i * len(held_out) // n] for i in range(n)]
    say(f"held-out rows evaluated: {len(held_out):,}")
    return held_out
