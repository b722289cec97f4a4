"""The plan of a run: decide what the flags leave open, print it, describe it (run.json).

    cfg, objective, data = settle(cfg, objective, rows, model, tok)     # nothing is left open
    say_plan(cfg, objective, data, model, tok, device)
    describe(cfg, objective, data, tok, device)                         # run.json

hyperparameters.py chooses learning rate, batch size and steps.
"""
import textwrap
from dataclasses import asdict
from itertools import groupby
from typing import Any

import torch

from nanouft import __version__
from nanouft.data.batches import MISMATCHED, Encoded, RunData, Tokens
from nanouft.data.row import Rows
from nanouft.device import Device, processor
from nanouft.generate import MAX_NEW, longest_answer
from nanouft.models.tokenizer import Tokenizer
from nanouft.objective import Objective
from nanouft.plumbing.printing import BRIEF, quantity, say
from nanouft.run.config import RunConfig, SettledConfig
from nanouft.run.folder import hash_inputs, hash_of_code, trained_question_keys
from nanouft.run.hyperparameters import choose_hyperparameters, with_beta
from nanouft.run.load import encode_rows


def settle(cfg: RunConfig, objective: Objective, rows: Rows, model: Any,
           tok: Tokenizer) -> tuple[SettledConfig, Objective, RunData]:
    """The run with all that its flags leave open: its rate, batch size, steps, longest answer, and
    perhaps its beta, which are chosen from the rows. `rows`: from load_rows. It also prints which
    rows are used, which beta suits them, and how many are held out. `cfg.given`, and with it the
    command line, stays as it was."""
    max_new = cfg.max_new or (longest_answer(model, tok) if cfg.data else MAX_NEW)
    train, held_out = encode_rows(cfg, objective, rows, model.cfg.n_ctx, tok, max_new)
    if cfg.data and "beta" not in cfg.given:
        objective = with_beta(objective, train)
    lr, batch_size, steps = choose_hyperparameters(cfg, objective, len(train), model)
    settled = SettledConfig(**vars(cfg) | {
        "lr": lr, "batch_size": batch_size, "steps": steps, "max_new": max_new})
    data = RunData(train, held_out, trained_question_keys(cfg.init))
    if cfg.data:
        from nanouft.run import own_rows
        data = own_rows.with_leaks(rows, data)
    held_out = rows_to_evaluate(settled, objective, data.held_out)
    return settled, objective, data._replace(held_out=held_out)


def rows_to_evaluate(cfg: SettledConfig, objective: Objective,
                     held_out: list[Encoded]) -> list[Encoded]:
    """The held-out rows that a run scores."""
    if cfg.plain and not cfg.eval_every:
        return []
    if not cfg.data:
        return held_out
    from nanouft.run import own_rows
    return own_rows.choose_held_out(cfg, objective, held_out)


def epochs_of(cfg: SettledConfig, objective: Objective, data: RunData) -> float:
    """Passes over the training rows."""
    return cfg.steps * cfg.batch_size / (len(data.train) * objective.passes)


def say_plan(cfg: SettledConfig, objective: Objective, data: RunData, model: Any, tok: Tokenizer,
             device: Device) -> None:
    """The first lines of a run, and a row as it reads it."""
    first, _, more = headline(cfg, objective, data, model, device).partition("\n")
    say(first, at=BRIEF)
    say(more)
    if cfg.data:
        from nanouft.run.memory import memory_note
        text = memory_note(objective, data.train, model, device, cfg.batch_size, cfg.accumulate,
                           cfg.max_new)
        if text:
            say(*textwrap.wrap(text, 80, break_on_hyphens=False), sep="\n", at=BRIEF)
    if not (objective.on_policy or cfg.plain):
        say("Only the tokens in [[ ]] are trained on:", *example_lines(data.train, tok), sep="\n")


def headline(cfg: SettledConfig, objective: Objective, data: RunData, model: Any,
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
             f"{unit} of up to {max(e.length for e in data.train) - 1:,} tokens",
             f"learning rate {cfg.lr:.2g}{usual}, {parameters}, on {device.name}{precision}"]
    if cfg.lora and model.new_rows:
        head = model.net.get_output_embeddings()
        full = sum(p.numel() for p in {*model.wte.parameters(), *head.parameters()}) / 1e6
        lines += [f"new tokens: embedding and output head are trained in full, {full:.2f}M of "
                  f"{size:.2f}M parameters, at LoRA's learning rate of {cfg.lr:.2g}; so "
                  "the whole model is saved, without adapter/"]
    return "\n".join(textwrap.fill(line, 80, break_long_words=False) for line in lines)


def with_brackets(t: Tokens, tok: Tokenizer) -> str:
    """A sequence as text, with the trained tokens in [[ ]]. Long parts are shortened."""
    out = ""
    for counts, part in groupby(zip(t.mask, t.ids), key=lambda pair: pair[0]):
        text = tok.decode([i for _, i in part])
        text = text if len(text) <= 240 else f"{text[:110]} ... {text[-110:]}"
        text = text.replace("\n", "\\n")
        out += f"[[{text}]]" if counts else text
    return out


def example_lines(data: list[Encoded], tok: Tokenizer) -> list[str]:
    """The row that a run prints, as text within 80 columns: the first one. If rows have grades, it
    is the best and the worst, each below its grade: "<|user|> Hi<|assistant|>[[ Ho<|end|>]]"."""
    name = next((name for name in ("score", "label") if name in data[0].per_row), "")
    rows = [data[0]]
    if name:
        best, worst = (pick(data, key=lambda e: e.per_row[name]) for pick in (max, min))
        rows = [best] if best is worst else [best, worst]
    out = []
    for e in rows:
        texts = {role: with_brackets(t, tok) for role, t in e.seqs.items() if role != MISMATCHED}
        out += [f" {name} {e.per_row[name]:.3g}:"] if name else []
        out += [textwrap.fill(text if len(texts) == 1 else f"{role}: {text}", 80,
                              initial_indent="  ", subsequent_indent="  ")
                for role, text in texts.items()]
    return out


# ---- run.json ------------------------------------------------------------------------------------
def describe(cfg: SettledConfig, objective: Objective, data: RunData, tok: Tokenizer,
             device: Device) -> dict:
    """The contents of run.json, to compare a resumed run with."""
    first_turns = {e.row.prompt[:1] for e in data.train}
    system = [t.text for turns in first_turns for t in turns if t.role == "system"]
    return {"command": "train", "version": __version__, "objective": objective.name,
            "steps": cfg.steps, "passes": epochs_of(cfg, objective, data), "config": cfg.flags(),
            "hp": asdict(objective), "argv": cfg.argv(), "tokenizer": tok.name,
            "system": system[0] if len(first_turns) == len(system) == 1 else "",  # of all rows
            "inputs": hash_inputs(cfg.init, cfg.method, cfg.own_reward(), objective,
                                  data.train, data.held_out),
            "asked": " ".join(sorted(data.asked)),
            "code": hash_of_code(), "torch": torch.__version__,
            "device": f"{device.name} {device.dtype}",
            "processor": processor() if device.kind == "cpu" else None}


def format_epochs(rows: float) -> str:
    """Rows read per row of the data, in words: "3 epochs", "0.25 epochs"."""
    text = f"{rows:,.0f}" if rows >= 9.95 else f"{rows:.2g}"
    return f"{text} {'epoch' if text == '1' else 'epochs'}"
