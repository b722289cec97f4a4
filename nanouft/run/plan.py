"""The plan of a run: what the flags leave open is decided, said, and written to run.json.

    cfg, objective, data = settle(cfg, objective, rows, model, tok)     # nothing is left open
    say_plan(cfg, objective, data, model, tok, device)
    describe(cfg, objective, data, model, tok, device)                  # run.json

hyperparameters.py chooses learning rate, batch size and steps.
"""
import textwrap
from dataclasses import asdict, replace
from typing import Any, NamedTuple

import torch

from nanouft.data.batches import Encoded
from nanouft.data.files import hash_of_rows
from nanouft.data.holdout import leak, question_keys
from nanouft.data.report import example_lines
from nanouft.data.row import Row
from nanouft.generate import MAX_NEW, longest_answer
from nanouft.models.folders import hash_of_model
from nanouft.models.tokenizer import Tokenizer
from nanouft.objective import Objective
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.files import own_file
from nanouft.plumbing.printing import BRIEF, note, quantity, say
from nanouft.run.config import RunConfig
from nanouft.run.device import Device, processor
from nanouft.run.folder import fingerprint, hash_of, hash_of_class, trained_question_keys
from nanouft.run.hyperparameters import choose_hyperparameters, with_beta
from nanouft.run.load import Rows, encode_rows
from nanouft.run.memory import memory_note


class RunData(NamedTuple):
    """The rows of a run, as tokens."""
    train: list[Encoded]
    held_out: list[Encoded]     # those that are scored before and after
    asked: frozenset[str] = frozenset()     # keys of the questions that it or its start learned
    leak: str = ""              # "5 of 5 held-out questions are also trained on", or ""


def settle(cfg: RunConfig, objective: Objective, rows: Rows, model: Any,
           tok: Tokenizer) -> tuple[RunConfig, Objective, RunData]:
    """The run with all that its flags leave open: its rate, batch size, steps, longest answer, and
    perhaps its beta, which are chosen from the rows. `rows`: from load_rows. It also prints which
    rows are used, which beta suits them, and how many are held out. `cfg.given`, and with it the
    command line, stays as it was."""
    max_new = cfg.max_new or (longest_answer(model, tok) if cfg.data else MAX_NEW)
    train, held_out = encode_rows(cfg, objective, rows, model.cfg.n_ctx, tok, max_new)
    if cfg.data and "beta" not in cfg.given:
        objective = with_beta(objective, train)
    lr, batch_size, steps = choose_hyperparameters(cfg, objective, len(train), model)
    cfg = replace(cfg, lr=lr, batch_size=batch_size, steps=steps, max_new=max_new)
    asked = questions(rows.train, train) | trained_question_keys(cfg.init)
    leaks = leak(questions(rows.held_out, held_out), asked)
    held_out = choose_held_out(cfg, objective, held_out)
    if leaks:
        note(leaks)
    return cfg, objective, RunData(train, held_out, asked, leaks)


def epochs_of(cfg: RunConfig, objective: Objective, data: RunData) -> float:
    """Passes over the training rows."""
    return cfg.steps * cfg.batch_size / (len(data.train) * objective.passes)


def say_plan(cfg: RunConfig, objective: Objective, data: RunData, model: Any, tok: Tokenizer,
             device: Device) -> None:
    """The first lines of a run, and a row as it reads it."""
    first, _, more = headline(cfg, objective, data, model, device).partition("\n")
    say(first, at=BRIEF)
    say(more)
    if cfg.data and (text := memory_note(objective, data.train, model, device, cfg.batch_size,
                                         cfg.accumulate, cfg.max_new)):
        say(*textwrap.wrap(text, 80, break_on_hyphens=False), sep="\n", at=BRIEF)
    if not (objective.on_policy or cfg.plain):
        say("Only the tokens in [[ ]] are trained on:", *example_lines(data.train, tok), sep="\n")


def headline(cfg: RunConfig, objective: Objective, data: RunData, model: Any,
             device: Device) -> str:
    """Method, steps, rows, rate, size and device, in lines of 80 columns."""
    size, trained = (sum(p.numel() for p in tensors) / 1e6 for tensors in (
        [*model.parameters()], [p for p in model.parameters() if p.requires_grad]))
    parameters = f"{size:.2f}M parameters"
    if trained < size:
        parameters = f"{trained:.2f}M of {parameters} trained"
    unit = "prompts" if objective.on_policy else "rows"
    usual = "" if cfg.lr == objective.lr else f" ({objective}'s own: {objective.lr:.2g})"
    precision = "" if device.dtype == "fp32" else f" {device.dtype}"
    epochs = format_epochs(epochs_of(cfg, objective, data))
    lines = [f"{objective}: {quantity(cfg.steps, 'steps')} at batch size {cfg.batch_size:,}, "
             f"{epochs} over {quantity(len(data.train), unit)}",
             f"{unit} of up to {max(e.length for e in data.train):,} tokens",
             f"learning rate {cfg.lr:.2g}{usual}, {parameters}, on {device.name}{precision}"]
    if cfg.lora and model.new_rows:
        head = model.net.get_output_embeddings()
        full = sum(p.numel() for p in {*model.wte.parameters(), *head.parameters()}) / 1e6
        lines += [f"new tokens: embedding and output head are trained in full, {full:.2f}M of "
                  f"{size:.2f}M parameters, at LoRA's learning rate of {cfg.lr:.2g}; so "
                  "the whole model is saved, without adapter/"]
    return "\n".join(textwrap.fill(line, 80, break_long_words=False) for line in lines)


def describe(cfg: RunConfig, objective: Objective, data: RunData, model: Any, tok: Tokenizer,
             device: Device) -> dict:
    """The contents of run.json, to compare a resumed run with. `model` is not trained yet."""
    reward = own_file(cfg.reward) or cfg.reward              # or a folder
    first = objective.first_models
    first_folders = getattr(objective, first.setting) if first else None
    content = [hash_of(reward), *map(hash_of_model, first_folders or ()),
               *map(hash_of_rows, cfg.eval_data or ())]
    code = None
    if user_code := own_file(cfg.method):
        code = hash_of(user_code)
    elif cfg.method.startswith("<"):
        code = hash_of_class(type(objective))
    first_turns = {e.row.prompt[:1] for e in data.train}
    system = [t.text for turns in first_turns for t in turns if t.role == "system"]
    return {"command": "train", "objective": objective.name, "steps": cfg.steps,
            "passes": epochs_of(cfg, objective, data), "config": cfg.flags(),
            "hp": asdict(objective), "argv": cfg.argv(), "tokenizer": tok.name,
            "system": system[0] if len(first_turns) == len(system) == 1 else "",  # of all rows
            "key": fingerprint(model, data.train, cfg.reward, *content),
            "start": hash_of_model(cfg.init),       # also config, tokenizer and template
            "held_out": fingerprint(torch.nn.Module(), data.held_out),
            "code": code,
            "files": [hash_of_rows(file) for file in cfg.data or ()],
            "asked": " ".join(sorted(data.asked)),
            "torch": torch.__version__, "device": f"{device.name} {device.dtype}",
            "processor": processor() if device.kind == "cpu" else None}


def questions(rows: list[Row], encoded: list[Encoded]) -> frozenset[str]:
    """Keys of the questions of your rows that are encoded."""
    used = {e.row.where for e in encoded} - {""}
    return frozenset(question_keys(r for r in rows if r.where in used))


def format_epochs(rows: float) -> str:
    """Rows read per row of the data, in words: "3 epochs", "0.25 epochs"."""
    text = f"{rows:,.0f}" if rows >= 9.95 else f"{rows:.2g}"
    return f"{text} {'epoch' if text == '1' else 'epochs'}"


# ---- the held-out rows that a run scores ---------------------------------------------------------
def choose_held_out(cfg: RunConfig, objective: Objective,
                    held_out: list[Encoded]) -> list[Encoded]:
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
        times = 2 + (cfg.steps // cfg.eval_every if cfg.eval_every else 0)
        trained = cfg.steps * cfg.batch_size * objective.samples
        n = min(len(held_out), max(32, min(200, int(0.1 * 3 * trained / times))))
        held_out = [held_out[i * len(held_out) // n] for i in range(n)]
    say(f"held-out rows evaluated: {len(held_out):,}")
    return held_out
