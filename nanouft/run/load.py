"""The start of a run: its model, and rows of your files or NanoWorld, split and tokenized.

    rows = load_rows(cfg, objective)                            # to train on, held out, left out
    model, tok = open_model(cfg, objective, device)
    train, held_out = encode_rows(cfg, objective, rows, model.cfg.n_ctx, tok, max_new)

The way from a file to token ids, in nanouft/data:
    files.items         lines of a file -> items
    rows.read           items -> Rows, by rows.as_row
    holdout.holdout     Rows -> those to learn from, those held out
    Objective.choose    Rows -> the Rows that a method reads, with roles ("answer", "chosen" ...)
    batches.encode      roles -> ids, and a mask of what the model learns to say (`chats` of a
                        tokenizer)
    batches.collate     the rows of a step -> a padded Batch
"""
import hashlib
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from nanouft import world
from nanouft.data.batches import MISMATCHED, Encoded, EncodeReport, encode, encode_what_fits
from nanouft.data.files import file_names, hash_of_rows, items
from nanouft.data.holdout import holdout
from nanouft.data.report import describe, duplicates_note, grade_note, report_use, unread_fields
from nanouft.data.row import Row
from nanouft.data.rows import Parsed, as_rows, read, usable
from nanouft.data.selection import NoRows, label_rows
from nanouft.loop import DTYPES, Device
from nanouft.models.folders import hash_of_model, start_model
from nanouft.models.tokenizer import Tokenizer
from nanouft.objective import Objective
from nanouft.objectives import NAMES, OBJECTIVES
from nanouft.plumbing.errors import UserError, flag
from nanouft.plumbing.files import is_own_reward, remove
from nanouft.plumbing.printing import LeftOut, if_in_checkout, note, quantity, say
from nanouft.run.config import RunConfig, TrainFlags, parse_run
from nanouft.run.device import choose_device, fp32_if_small, precision_of_run
from nanouft.run.folder import hash_of_code, locked


class Rows(NamedTuple):
    """Rows of files or of NanoWorld, before an objective chooses among them."""
    train: list[Row]
    held_out: list[Row]
    left_out: LeftOut           # rows of the files that cannot be read


def open_model(cfg: TrainFlags, objective: Objective, device: Device) -> tuple[Any, Tokenizer]:
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
    dtype = dtype or precision_of_run(as_run or name, device)
    chosen = choose_device(device, dtype)
    model, tok = start_model(name)
    chosen = fp32_if_small(chosen, dtype, model.n_params())
    for p in model.parameters():                        # RoPE's frequencies stay in fp32
        p.data = p.data.to(DTYPES[chosen.dtype])
    return model.to(chosen.name).eval(), tok, chosen


def load_rows(cfg: TrainFlags, objective: Objective) -> Rows:
    """Rows of your files, or drawn from NanoWorld."""
    kinds = objective.kinds()
    if not cfg.data:
        how: dict = {"kinds": kinds, "skills": cfg.skills, "mix": cfg.mix}
        return Rows(world.mixed_rows("train", n=cfg.rows, seed=cfg.seed, noise=cfg.noise, **how),
                    world.mixed_rows("val", n=200, seed=0, **how), [])
    rows, left_out = read(cfg.data, kinds)
    say(f"{file_names(cfg.data)}: {describe(rows)}")
    exact = objective.scorer != "none" and objective.on_policy and cfg.reward == "exact"
    if cfg.init == "base":
        note("the shipped base model knows only NanoWorld; for other text give another --init"
             f"{if_in_checkout('docs/data.md')}")
    if exact:
        rows = world.name_tasks(rows)
    if objective.on_policy and not is_own_reward(cfg.reward):
        rows = [replace(r, extra={}) for r in rows]
    if not cfg.eval_data:
        return Rows(*holdout(rows), left_out)
    held_out, also_left_out = read(cfg.eval_data, kinds)
    return Rows(rows, held_out, left_out + also_left_out)


def encode_rows(cfg: TrainFlags, objective: Objective, rows: Rows, n_ctx: int,
                tok: Tokenizer, max_new: int) -> tuple[list[Encoded], list[Encoded]]:
    """(rows to train on, held-out rows) as tokens, with room for `max_new` more if the model
    samples. n_ctx: the context of the model. There may be no held-out row that fits."""
    room = min(cfg.max_length or n_ctx, n_ctx)
    remedy = "raise --max-length" if room < n_ctx else (
        "give --init a model with a longer context")
    if objective.on_policy:
        room = max(0, room - 1 - max_new)
        remedy = f"--max-new reserves {max_new:,} for the response: lower it, or {remedy}"
    kinds = objective.kinds()
    train, report = encode(chosen_rows(cfg, objective, rows), tok, room, EncodeReport(remedy))
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
        used, held = ({e.row.where for e in side} for side in (train, held_out))
        sides = {"to train on": (rows.train, used), "held out": (rows.held_out, held)}
        unused = {r.where for r in rows.train + rows.held_out} - used - held
        tell = note if rows.left_out or report.why or unused else say
        tell(report_use(sides, rows.left_out, report.why, kinds))
        read = [r for r in rows.train + rows.held_out if r.where in used | held]
        if not objective.on_policy and (text := duplicates_note(read)):
            note(text)
        report.notes += [(where, f"without one of its responses: {why}")
                         for where, why in report.why.items() if where in used | held]
        good, bad = (getattr(objective, f"{name}_weight", 0.0)
                     for name in ("desirable", "undesirable"))
        if kinds[-1] in ("labels", "scores") and (text := grade_note(
                [e.row for e in train], (good, bad) if good and bad else None)):
            note(text)
    for text in report.lines():
        note(text)
    return train, held_out


def chosen_rows(cfg: TrainFlags, objective: Objective, rows: Rows) -> list[Row]:
    """The rows that the objective learns from. If there are none, the error is about all rows of
    the files, held-out ones too, and names the unread fields itself, and the methods that read
    such rows."""
    data = rows.train if cfg.eval_data else rows.train + rows.held_out
    try:
        chosen = objective.choose(rows.train)
    except NoRows:
        try:
            held_out = objective.choose(data)[0].where
        except NoRows as e:
            files = cfg.data or ()
            parsed = as_rows(x for file in files for x in items(file))
            counts, _ = count_rows_per_method(parsed, file_names(files))
            readers = [first + (f" and {quantity(len(rest), 'others')}" if rest else "")
                       + f": {quantity(n, 'rows')}" for (first, *rest), n in counts.items()]
            raise NoRows(f"{e}; methods that read these rows: {'; '.join(readers)}") from None
        raise UserError(f"{held_out}: all rows that {objective.name} can use are held out, this "
                        "one too; add rows, or give held-out ones with --eval-data") from None
    by_reward = is_own_reward(cfg.reward)               # it may read every field
    if cfg.data and not by_reward and (names := unread_fields(data, objective.kinds(), chosen)):
        what = "fields for your own reward function only" if objective.on_policy else (
            "ignored fields" if objective.name in NAMES else "fields for your own code only")
        say(f"{what}: {names}")
    return chosen


def count_rows_per_method(
        parsed: Parsed, source: str, fit: Callable[[Objective, list[Row]], list[Row]] | None = None
        ) -> tuple[dict[tuple[str, ...], int], dict[str, list[str]]]:
    """({methods: how many rows they read}, {why: methods that refuse them}). fit: those of the
    chosen rows that a method can use; by default all."""
    methods: dict[tuple[str, ...], list[str]] = {}      # that learn from these kinds, by default
    for name, cls in OBJECTIVES.items():
        methods.setdefault((*cls().kinds(),), []).append(name)
    counts: dict[tuple[str, ...], int] = {}
    refused: dict[str, list[str]] = {}
    for kinds, names in methods.items():
        objective = OBJECTIVES[names[0]]()
        try:
            rows = objective.choose(usable(parsed, kinds, source)[0])
        except NoRows:
            continue
        except UserError as e:
            refused.setdefault(str(e), []).extend(names)
            continue
        counts[tuple(names)] = len({r.where for r in (fit(objective, rows) if fit else rows)})
    return counts, refused


# ---- models that must be trained before a method -------------------------------------------------
# flags that they take from the run, about its rows and its memory
INHERITED = ("init", "data", "rows", "skills", "mix", "noise", "seed", "max_length", "batch_size",
             "lora", "lora_alpha", "lora_targets", "dtype", "accumulate",
             "activation_checkpointing")


def with_first_models(objective: Objective, cfg: TrainFlags, device: Device,
                      train: Callable[[RunConfig], Any]) -> Objective:
    """The objective with the folders of its first models. `train` makes each of them once."""
    first = objective.first_models
    if first is None or getattr(objective, first.setting) is not None:
        return objective
    if cfg.data and not first.inherits:
        raise UserError(f"{flag(first.setting)} FOLDER ... is required with --data: models trained "
                        "on such responses; only for NanoWorld they are trained automatically")
    changed = {name: getattr(cfg, name) for name in INHERITED if first.inherits
               and getattr(cfg, name) != getattr(TrainFlags, name)}
    content = [hash_of_model(cfg.init), *map(hash_of_rows, cfg.data or ())]
    folders = []
    for own_flags in first.flags:
        config = parse_run(shlex.split(own_flags)).with_flags(**changed)
        inputs = [config.argv(), *content, hash_of_code()]
        key = hashlib.sha256(repr(inputs).encode()).hexdigest()[:16]
        folder = Path("out/.first", f"{first.setting}-{key}")
        config = config.with_flags(plain=True, save_every=0, out=str(folder))
        if not (folder / "model.safetensors").exists():
            if (folder / "run.json").exists():
                with locked(folder):            # UserError if a run trains there now
                    pass
            remove(folder)                      # what a stopped run has left
            say("a model that this method needs, trained once: python -m nanouft.train "
                f"{shlex.join(config.argv())}")
            train(config.with_flags(device=device.name))
        folders.append(str(folder))
    return replace(objective, **{first.setting: folders})
