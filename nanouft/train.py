"""The one training loop, for every objective.

    python -m nanouft.train --objective ift                         # NanoWorld: trained, scored, plotted in about 15 s
    python -m nanouft.train --objective dpo --data my.jsonl --init out/ift
    torchrun --nproc_per_node=2 -m nanouft.train --objective sft    # same batches, same losses, more processes
    python -m nanouft.train --objective list                        # what each objective needs

A batch of --batch-size rows makes one optimizer step; --accumulate and torchrun only cut it into pieces. All
randomness of step n is a function of (seed, n): a resumed run is the uninterrupted run, bit for bit.
The loop stands in `fit`, between five fences: data, forward, objective, update, report. The flags are in flags.py.
"""
import contextlib
import math
import sys
import time
from functools import partial
from pathlib import Path

import torch
from tqdm import tqdm

from nanouft import pretrain, reference as prepare, world
from nanouft.data import rows as data
from nanouft.look import report
from nanouft.rollout import rollouts
from nanouft.shell import config, devices, runs
from nanouft.training import curate, freeze
from nanouft.data.batches import Epochs, collate, encode
from nanouft.shell.config import UserError
from nanouft.training.flags import Train, read_flags
from nanouft.look.held_out import encode_held, held_out
from nanouft.objectives import OBJECTIVES, Objective


VALUE_RATE = 30         # of PPO's value head


def schedule(step: int, steps: int, warmup: float) -> tuple[float, float]:
    """(learning-rate factor, ramp 0 -> 1 of the warm-up): linear up, then a cosine down to 0."""
    up = max(1, round(warmup * steps))
    ramp = min(1.0, (step + 1) / up)
    return (ramp if step < up else 0.5 * (1 + math.cos(math.pi * (step - up) / max(1, steps - up)))), ramp


def make_optimizer(model: torch.nn.Module, cfg: Train, device: devices.Device) -> torch.optim.Optimizer:
    """AdamW or RMSprop; matrices decay, biases and LayerNorms do not. What is frozen does not get in. A value head
    starts from nothing, on a model that has learnt much: its rate is a multiple of the model's."""
    live = [p for name, p in model.named_parameters() if p.requires_grad and not name.startswith("value.")]
    head = [p for name, p in model.named_parameters() if name.startswith("value.")]
    groups = [{"params": [p for p in live if p.dim() >= 2], "weight_decay": cfg.weight_decay},
              {"params": [p for p in live if p.dim() < 2], "weight_decay": 0.0},
              *[{"params": head, "weight_decay": 0.0, "rate": VALUE_RATE}] * bool(head)]
    if cfg.optimizer == "rmsprop":
        return torch.optim.RMSprop(groups, lr=cfg.lr)
    return torch.optim.AdamW(groups, lr=cfg.lr, betas=(0.9, 0.95), fused=device.kind in ("cpu", "cuda"))


def fit(model, objective: Objective, hp, cfg: Train, encoded, pad: int, steps: int, device: devices.Device,
        folder: Path, held=None, source=None) -> int:
    """Train `model` in place; returns the number of steps done now. Logs metrics.jsonl, saves steps/<n>/.

    source(step) gives rows and which of them make the step: those of `encoded`, epoch by epoch, or rollouts; held()
    the figures on rows that are held out.
    """
    source = source or Epochs(encoded, cfg.batch_size, steps, cfg.seed)
    kept = freeze.half(model, cfg.seed) if cfg.freeze == "half" else {}
    optimizer, scaler = freeze.hold(make_optimizer(model, cfg, device), kept), device.scaler()
    saved = runs.load_step(folder, model, optimizer) if cfg.resume else {"step": 0}
    start = saved["step"]
    if saved.get("scaler"):
        scaler.load_state_dict(saved["scaler"])
    net = devices.compiled(model, cfg.compile, device)
    if device.world > 1:
        net = torch.nn.parallel.DistributedDataParallel(net)
    save_every = -(-cfg.save_every // source.stride) * source.stride       # a rollout is never cut by a checkpoint
    parts, chief = cfg.accumulate * device.world, device.rank == 0
    log = report.Log(folder / "metrics.jsonl", start, device)
    bar = tqdm(range(start, steps), initial=start, total=steps, desc=prepare.title(folder), disable=not chief,
               mininterval=0.5 if sys.stderr.isatty() else 10)         # a log file wants fewer lines than a person
    for step in bar:
        factor, ramp = schedule(step, steps, cfg.warmup)
        rows, mine = source(step)               # epochs: always the same rows; rollouts: new ones every stride steps
        total: dict = {}
        for micro in range(cfg.accumulate):
            # ---- data: this process's piece of the step; its totals are those of the whole step
            batch = collate(rows, mine, pad, parts, device.rank * cfg.accumulate + micro,
                            seed=cfg.seed, step=step, ramp=ramp, device=device.name)
            last = micro == cfg.accumulate - 1
            with contextlib.nullcontext() if last or device.world == 1 else net.no_sync():
                # ---- forward: writes the log-probs
                with device.autocast():
                    objective.forward(net, batch, hp)
                # ---- objective: a sum over the step's totals, so pieces add up
                loss, metrics = objective.loss(batch, hp)
                # ---- update
                scaler.scale(loss * device.world).backward()        # DDP averages over processes; we want the sum
            for name, value in {"loss": loss.detach(), **metrics}.items():
                total[name] = total.get(name, 0) + value
        scaler.unscale_(optimizer)
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), cfg.clip or math.inf)
        for group in optimizer.param_groups:
            group["lr"] = cfg.lr * factor * group.get("rate", 1)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)
        # ---- report: numbers stay on the device until ten steps are together; reading each would stop a GPU
        log.add(step + 1, total | source.stats, norm, cfg.lr * factor, sum(batch.tokens.values()))
        done = step + 1
        save = save_every and done % save_every == 0 and done < steps
        look = cfg.eval_every and done % cfg.eval_every == 0 and held
        if done % 10 == 0 or done == steps or save or look or done == start + 1:
            bar.set_postfix_str(log.flush(), refresh=False)
        if look and chief:
            log.write({"step": done, "loss": log.loss, "held_out": held()})
        if save and chief:
            runs.save_step(folder, done, model, optimizer, {"loss": log.loss, "scaler": scaler.state_dict()})
    return steps - start


def load_rows(cfg: Train, objective: Objective, hp) -> tuple[list[data.Row], list[data.Row]]:
    """(rows to train on, rows held out): from the user's files, or drawn from NanoWorld."""
    kinds = objective.kinds(hp)
    if not cfg.data:
        return (world.mixed_rows("train", kinds, cfg.rows, cfg.seed, cfg.noise, cfg.skills, cfg.mix),
                world.mixed_rows("val", kinds, 200, 0, 0.0, cfg.skills, cfg.mix))
    rows, found = data.read(cfg.data, cfg.prompt_field, cfg.response_field, prompts=kinds == ["prompts"])
    print("\n".join(found.lines()))
    examples = objective.rows(rows, hp)         # what the objective lacks is said of the whole file, before the split
    if kinds == ["pairs"] and (equal := len([r for r in rows if r.chosen and r.rejected]) - len(examples)):
        print(f"{equal:,} pairs skipped: chosen equals rejected")
    if cfg.init == "base" and not cfg.corpus:
        print("note: the shipped base has read nothing but NanoWorld; for other text give --init or --corpus")
    return data.holdout(rows)


def main(argv=None) -> int:
    name, cfg, hp, source = read_flags(argv, __doc__)
    if name == "list":
        report.list_objectives()
        return 0
    started, objective = time.time(), OBJECTIVES[name]
    device = devices.pick(cfg.device, cfg.dtype, cfg.threads)
    chief = device.rank == 0
    sampled = objective.source == "rollouts"
    if sampled:
        rollouts.check(cfg, objective, device)
    train_rows, held_rows = load_rows(cfg, objective, hp)
    train_rows = curate.curate(train_rows, cfg, device, main)
    if cfg.corpus:
        cfg.init = str(pretrain.cached_base(cfg.corpus, cfg.size, device))
    model, tok = runs.start_model(cfg.init)
    hp = prepare.run_first(objective, hp, cfg, main)
    if (room := model.cfg.n_ctx - (1 + cfg.max_new) * sampled) < 1:                # of a prompt that is to be answered
        raise UserError(f"--max-new {cfg.max_new}: leaves no room for a prompt in the context of {model.cfg.n_ctx}")
    encoded, lost = encode(examples := objective.rows(train_rows, hp), tok, room)
    held = encode_held(objective, hp, held_rows, tok, room)
    kinds = objective.kinds(hp)
    print("\n".join([f"{len(encoded):,} of {len(train_rows):,} rows serve {name} (it needs {' + '.join(kinds)}); "
                     f"{len(held)} of {len(held_rows)} rows held out do, too",
                     *report.counts(name, kinds, train_rows, len(examples)), *lost.lines(room)]))
    print(report.example(encoded, tok, objective.constant))
    if cfg.batch_size < device.world * cfg.accumulate:
        raise UserError(f"--batch-size {cfg.batch_size} cannot be cut into {device.world * cfg.accumulate} pieces")
    if objective.coupled and device.world * cfg.accumulate > 1:
        raise UserError(f"{name} couples the rows of a step, so a step cannot be cut: "
                        "use one process and --accumulate 1")
    steps = cfg.steps or max(1, round((cfg.epochs or 3) * len(encoded) / objective.together / cfg.batch_size)
                             ) * getattr(hp, "passes", 1)
    if objective.value:
        model.add_value_head(Path(cfg.init) if cfg.init != "base" else None)
    model.to(device.name)
    key = runs.fingerprint(model, encoded) + (rollouts.mark(cfg.reward) if sampled else "")
    folder = report.open_run(name, cfg, hp, source, tok, steps, device, key)
    cache, columns = folder.parent / ".columns", objective.measured(hp)
    prepare.add_columns(encoded, columns, model, tok.pad, cache, device, hp)
    encoded = objective.arrange(encoded, cfg.seed) if objective.arrange and not sampled else encoded
    prepare.add_columns(held, tuple(c for c in columns if c == "ref"), model, tok.pad, cache, device)
    own = rollouts.Rollouts(encoded, objective, hp, cfg, steps, model, tok, device) if sampled else None
    figures = partial(own.held_out, held) if own else partial(held_out, model, held, tok.pad, device)
    figures = figures if held else None
    each = "rows" if own is None else f"prompts x {hp.samples} own answers" + (
        f" (a rollout serves {own.stride} steps)" * (own.stride > 1))
    print(f"{name}: {steps:,} steps of {cfg.batch_size} {each}, lr {cfg.lr:g}, {model.n_params() / 1e6:.2f}M "
        f"parameters, {device.name} {device.dtype} x {device.world} -> {folder}")
    before = report.look_before(folder, model, tok, cfg, figures, held_rows, device) if chief else None
    doubts = report.trusts(objective, hp, model, encoded, tok.pad, device) if chief else None
    fit(model, objective, hp, cfg, encoded, tok.pad, steps, device, folder, figures, own)
    if chief:
        runs.save_final(folder, model, tok)
        after = report.look(model, tok, cfg, figures, held_rows, device)
        report.write_trusts(folder, encoded, doubts,
                            report.trusts(objective, hp, model, encoded, tok.pad, device))
        report.close_run(folder, name, cfg, before, after, time.time() - started)
    device.close()
    return 0


if __name__ == "__main__":
    sys.exit(config.run(main))
