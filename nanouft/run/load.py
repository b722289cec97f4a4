"""The start of a run: its model, and your rows or NanoWorld's, split and tokenized.

    rows = load_rows(cfg, objective)                            # to train on, held out, left out
    model, tok = open_model(cfg, objective, device)
    train, held_out = encode_rows(cfg, objective, rows, model.cfg.n_ctx, tok, max_new)

own_rows.py reads your rows; helper_models.py trains the models that some methods need first.
"""
from typing import Any

from nanouft import world
from nanouft.data.batches import MISMATCHED, Encoded, EncodeReport, encode, encode_what_fits
from nanouft.data.row import Row, Rows
from nanouft.data.selection import NoRows, label_rows
from nanouft.device import DTYPES, Device, choose_device, fp32_if_small, trained_precision
from nanouft.models.folders import start_model
from nanouft.models.tokenizer import Tokenizer
from nanouft.objective import Objective
from nanouft.plumbing.printing import note, quantity, say
from nanouft.run.config import RunConfig


def open_model(cfg: RunConfig, objective: Objective, device: Device) -> tuple[Any, Tokenizer]:
    """The initial model as this run trains it, on the CPU, and its tokenizer."""
    model: Any
    model, tok = start_model(cfg.init, bool(cfg.lora))
    if cfg.lora:
        model.add_lora(cfg.lora, cfg.seed, DTYPES[device.dtype], cfg.lora_alpha, cfg.lora_targets)
        if tok.added and not model.new_rows:            # its embedding has rows to spare
            say(f"{quantity(tok.added, 'tokens')} of our chat template are new to this model, and "
                "LoRA does not train its embedding: they stay untrained")
    if cfg.activation_checkpointing:
        model.activation_checkpointing_enable()
    objective.setup(model, cfg.seed)
    for about in filter(None, (tok.about, objective.about)):
        say(about)
    return model, tok


def open_for_inference(name: str, device: str, dtype: str | None,
                       as_run: str = "") -> tuple[Any, Tokenizer, Device]:
    """A model that does not train. Its weights are kept in the precision in which it computes:
    `dtype`, or else that of its run (or of the run `as_run`)."""
    dtype = dtype or trained_precision(as_run or name, device)
    chosen = choose_device(device, dtype)
    model, tok = start_model(name)
    chosen = fp32_if_small(chosen, dtype, model.n_params())
    for p in model.parameters():                        # RoPE's frequencies stay in fp32
        p.data = p.data.to(DTYPES[chosen.dtype])
    return model.to(chosen.name).eval(), tok, chosen


def load_rows(cfg: RunConfig, objective: Objective) -> Rows:
    """Rows of your files, or drawn from NanoWorld."""
    kinds = objective.kinds()
    if not cfg.data:
        how: dict = {"kinds": kinds, "skills": cfg.skills, "mix": cfg.mix}
        return Rows(world.mixed_rows("train", n=cfg.rows, seed=cfg.seed, noise=cfg.noise, **how),
                    world.mixed_rows("val", n=200, seed=0, **how), [])
    from nanouft.run import own_rows
    return own_rows.read_rows(cfg, objective)


def encode_rows(cfg: RunConfig, objective: Objective, rows: Rows, n_ctx: int,
                tok: Tokenizer, max_new: int) -> tuple[list[Encoded], list[Encoded]]:
    """(rows to train on, held-out rows) as tokens, with room for `max_new` more if the model
    samples. n_ctx: the context of the model. There may be no held-out row that fits."""
    room = min(cfg.max_length or n_ctx, n_ctx)
    remedy = "raise --max-length" if room < n_ctx else (
        "give --init a model with a longer context")
    if objective.on_policy:
        room = max(0, room - 1 - max_new)
        if max_new:                 # of `data` there is none
            remedy = f"--max-new reserves {max_new:,} for the response: lower it, or {remedy}"
    kinds = objective.kinds()
    train, report = encode(choose(cfg, objective, rows), tok, room, EncodeReport(remedy))
    if cfg.data and report.why and MISMATCHED in train[0].seqs:  # what is left out lends nothing
        kept = [r for r in rows.train if r.where not in report.why]
        train, report = encode(objective.choose(kept) if kept else [], tok, room,
                               EncodeReport(remedy, report.why))
    try:                            # held-out labels need no mismatched answers
        of_held = label_rows if kinds == ["labels"] else objective.choose
        to_hold = of_held(rows.held_out) if rows.held_out else []
    except NoRows:
        to_hold = []
    held_out, report = encode_what_fits(to_hold, tok, room, report)
    if objective.on_policy:                     # a second demonstration asks nothing new
        held_out = [e for e in held_out if "prompt" in e.seqs]
    if cfg.data:
        from nanouft.run import own_rows
        own_rows.say_use(objective, rows, train, held_out, report)
    for text in report.lines():
        note(text)
    return train, held_out


def choose(cfg: RunConfig, objective: Objective, rows: Rows) -> list[Row]:
    """The rows that the objective learns from. NoRows if there are none."""
    if not cfg.data:
        return objective.choose(rows.train)
    from nanouft.run import own_rows
    return own_rows.chosen_rows(cfg, objective, rows)
