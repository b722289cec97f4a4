"""The one training loop, for every objective.

    python -m nanouft.train --objective ift            # NanoWorld: trained, scored, plotted in 15 s
    python -m nanouft.train --objective dpo --data my.jsonl --init out/ift
    torchrun --nproc_per_node=2 -m nanouft.train --objective sft      # same batches, same losses
    python -m nanouft.train --objective list           # what each objective needs

A batch of --batch-size rows makes one optimizer step. --accumulate and torchrun only cut it into
pieces. All randomness of step n is a function of (seed, n): on a CPU a resumed run equals
the uninterrupted one, bit for bit. The loop is `fit`; marks divide it: data, forward, objective ...
What comes before it is in training/setup.py, the flags are in training/flags.py.
"""
import contextlib
import io
import math
import re
import shlex
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from tqdm import tqdm

from nanouft.look import report
from nanouft.models.load import start_model
from nanouft.models.save import add_value_head, save_model
from nanouft.objective import Objective
from nanouft.objectives import OBJECTIVES
from nanouft.shell import checkpoints, config, devices, processes
from nanouft.shell.devices import Device
from nanouft.shell.files import made_once
from nanouft.shell.log import Log
from nanouft.shell.streams import step_seed
from nanouft.training import setup
from nanouft.training.flags import Train, list_objectives, read_flags
from nanouft.training.pieces import Pieces
from nanouft.training.schedule import warmup_cosine
from nanouft.training.setup import Run

VALUE_RATE = 30         # PPO's value head learns at 30 times the learning rate


# ---- the loop ------------------------------------------------------------------------------------
def make_optimizer(model: torch.nn.Module, cfg: Train, device: Device) -> torch.optim.Optimizer:
    """AdamW, bitsandbytes' or RMSprop. Matrices decay, biases and LayerNorms do not. Frozen weights
    are left out.
    A value head starts from nothing on a trained model: its learning rate is larger.
    With --freeze half it keeps half of every layer as it is."""
    frozen = {}
    if cfg.freeze == "half":
        from nanouft.training import freeze  # only for runs that ask for it
        frozen = freeze.half(model, cfg.seed)
    head = [p for name, p in model.named_parameters() if name.startswith("value.")]
    body = [p for name, p in model.named_parameters()
            if p.requires_grad and not name.startswith("value.")]
    groups = [{"params": [p for p in body if p.dim() >= 2], "weight_decay": cfg.weight_decay},
              {"params": [p for p in body if p.dim() < 2], "weight_decay": 0.0}]
    if head:
        groups.append({"params": head, "weight_decay": 0.0, "rate": VALUE_RATE})
    if cfg.optimizer == "rmsprop":
        optimizer = torch.optim.RMSprop(groups, lr=cfg.lr)
    elif cfg.optimizer == "adamw8bit":
        from bitsandbytes.optim import AdamW8bit  # optional: setup.check has looked for it
        optimizer = AdamW8bit(groups, lr=cfg.lr, betas=(0.9, 0.95))
    else:
        fused = device.kind in ("cpu", "cuda")
        optimizer = torch.optim.AdamW(groups, lr=cfg.lr, betas=(0.9, 0.95), fused=fused)
    if frozen:
        freeze.hold(optimizer, frozen)
    return optimizer


def fit(model: torch.nn.Module, objective: Objective, hp, steps: int, run: Run) -> None:
    """Train `model` in place. Logs metrics.jsonl, saves steps/<n>/."""
    cfg, device, source = run.cfg, run.device, run.source
    optimizer = make_optimizer(model, cfg, device)
    scaler = device.scaler()
    saved = {"step": 0}
    if cfg.resume:
        saved = checkpoints.load_step(run.folder, model, optimizer)
    start = saved["step"]
    if saved.get("scaler"):
        scaler.load_state_dict(saved["scaler"])
    net = processes.network(model, cfg.compile, device, steps - start)
    pieces = Pieces(objective, hp, net, device, cfg.accumulate)
    chief, looks = device.rank == 0, processes.looks(model, device)
    log = Log(run.folder / "metrics.jsonl", start, device, cfg.log)
    pause = 0.5 if sys.stderr.isatty() else 10              # a log file wants fewer lines
    bar = tqdm(range(start, steps), initial=start, total=steps, desc=title(run.folder),
               disable=not chief, mininterval=pause)

    def save(done: int) -> None:
        log.flush()
        extra = {"loss": log.loss, "scaler": scaler.state_dict()}
        checkpoints.save_step(run.folder, done, model, optimizer, extra, chief)
    for step in run.loop_steps(bar, save):
        # ---- data: the rows of this step; on-policy: answers that the model has just sampled
        batch = run.batch(step, save)
        factor, warmup = warmup_cosine(step, steps, cfg.warmup)
        batch = replace(batch, seed=step_seed(cfg.seed, step), warmup=warmup)
        total: dict = {}
        for piece in pieces(batch):
            # ---- forward: writes the log-probs
            with device.autocast():
                objective.forward(net, piece, hp)
            # ---- objective: divided by the whole step's totals, so pieces add up
            loss, metrics = pieces.loss(piece)
            # ---- update
            scaler.scale(loss * device.processes).backward()    # processes average; we want the sum
            for name, value in {"loss": loss.detach(), **metrics}.items():
                total[name] = total.get(name, 0) + value
        scaler.unscale_(optimizer)
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), cfg.clip or math.inf)
        for group in optimizer.param_groups:
            group["lr"] = cfg.lr * factor * group.get("rate", 1)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)
        # ---- report: numbers wait on the device, since reading each one would stop a GPU
        done = step + 1
        whole_step = source.stats | {"grad_norm": processes.full(norm)}
        log.add(done, total, whole_step, cfg.lr * factor, sum(batch.tokens.values()))
        due = run.save_every and done % run.save_every == 0 and done < steps
        look = cfg.eval_every and done % cfg.eval_every == 0 and run.look_held
        if done % 10 == 0 or done == steps or due or look or done == start + 1:
            bar.set_postfix_str(log.flush(), refresh=False)
        if look and looks:
            log.write({"step": done, "loss": log.loss, "held_out": run.look_held()})
        if due and looks:
            save(done)


def title(folder: Path) -> str:
    """What the progress bar calls the run in `folder`."""
    if folder.parent.name == ".first":
        return f"{folder.name.split('-')[0].rstrip('s')} model (made once)"
    return re.sub(r"-\d+\.partial$", "", folder.name)       # made_once works in sft-4711.partial


# ---- from flags to a finished run ----------------------------------------------------------------
def main(argv=None) -> int:
    name, cfg, hp, origin = read_flags(argv, __doc__)
    if name == "list":
        list_objectives()
        return 0
    began = time.time()
    objective = OBJECTIVES[name]
    device = devices.pick(cfg.device, cfg.dtype, cfg.threads)
    setup.check(name, cfg, device)
    model, tok = start_model(cfg.init, adapter=bool(cfg.lora or cfg.checkpointing))
    setup.own_rate(cfg, origin, model)
    model = setup.adapted(cfg, hp, model, tok, devices.DTYPES[device.dtype])
    rows = setup.load_rows(cfg, objective, hp, device.name)
    rows = setup.curated(rows, cfg, judges(cfg, device), device)
    if objective.value_head:
        add_value_head(model, cfg.init)
    hp = first_models(objective, hp, cfg, device)
    data = setup.encode_rows(name, cfg, hp, rows, model, tok)
    model = processes.placed(model, device, cfg.shard)
    setup.write_columns(data, objective, hp, cfg, model, device)
    with setup.open_run(name, cfg, hp, origin, data, model, device) as (steps, run):
        first_look = report.look_before(run, data, model) if device.rank == 0 else None
        fit(model, objective, hp, steps, run)
        processes.unshard(model, device.rank == 0)
        if device.rank == 0:
            save_model(run.folder, model, tok)
            report.close_run(run, data, model, first_look, time.time() - began)
    device.close()
    return 0


def first_models(objective: Objective, hp, cfg: Train, device: Device):
    """`hp` with the folders of the training runs that must come first. Each is made once."""
    wanted = objective.prerequisite
    if wanted is None or getattr(hp, wanted.setting) is not None:
        return hp
    made = [str(made_once(folder, partial(train_quietly, argv, device)))
            for folder, argv in setup.prerequisite_runs(wanted, cfg)]
    return replace(hp, **{wanted.setting: made})


def judges(cfg: Train, device: Device) -> list[str]:
    """The aligned models that --keep asks; PoFT asks the same."""
    if not cfg.asks_judges:
        return []
    poft = OBJECTIVES["poft"]
    return first_models(poft, poft.hp(aligned=cfg.judge), cfg, device).aligned


def train_quietly(argv: list[str], device: Device, folder: Path) -> None:
    """A training run for its model alone: no table, no checkpoints. One process makes it."""
    print(f"first, once: python -m nanouft.train {shlex.join(argv)}")
    quiet = ["--plain", "--save-every", "0", "--device", device.name]
    quiet += ["--threads", str(torch.get_num_threads())]
    with contextlib.redirect_stdout(io.StringIO()), processes.alone():
        main([*argv, *quiet, "--out", str(folder)])


if __name__ == "__main__":
    sys.exit(config.run(main))
