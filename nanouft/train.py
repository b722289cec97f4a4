"""Train a model with any objective: from flags to a run folder.

    python -m nanouft.train --objective ift            # NanoWorld: trained, scored, plotted in 15 s
    python -m nanouft.train --objective dpo --data my.jsonl --init out/ift
    torchrun --nproc_per_node=2 -m nanouft.train --objective sft      # same batches, same losses
    python -m nanouft.train --objective list           # what each objective needs

A batch of --batch-size rows (on-policy: prompts) makes one optimizer step. --accumulate and
torchrun only cut it into pieces. All randomness of step n is a function of (seed, n): on a CPU a
resumed run equals the uninterrupted one, bit for bit. The loop itself is in loop.py; `fit` logs,
evaluates and saves around it. What comes before is in run/setup.py, the flags are in run/flags.py.
"""
import math
import re
import sys
import time
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from nanouft.errors import Diverged, UserError, say, visible
from nanouft.eval import report
from nanouft.gpt import GPT
from nanouft.loop import DTYPES, Cut, Device, steps, warmup_cosine
from nanouft.models.load import start_model
from nanouft.models.save import add_value_head, save_model
from nanouft.objective import Objective
from nanouft.objectives import OBJECTIVES
from nanouft.reference import Models
from nanouft.run import checkpoints, command, config, devices, first, processes, runs, setup
from nanouft.run.best import Best
from nanouft.run.flags import Train, list_objectives, read_flags
from nanouft.run.log import Log
from nanouft.run.rows import encode_rows, load_rows, write_columns
from nanouft.run.setup import Run

VALUE_RATE = 30         # PPO's value head learns at 30 times the learning rate


# ---- around the loop -----------------------------------------------------------------------------
def make_optimizer(model: GPT, cfg: Train, device: Device) -> torch.optim.Optimizer:
    """AdamW or RMSprop. Matrices decay, biases and LayerNorms do not. Frozen weights
    are left out. A value head starts from nothing on a trained model: it learns faster."""
    kept = {}
    if cfg.freeze == "half":
        from nanouft.run import freeze  # only for runs that ask for it
        kept = freeze.half(model, cfg.seed)
    head = [p for name, p in model.named_parameters() if name.startswith("value.")]
    body = [p for name, p in model.named_parameters()
            if p.requires_grad and not name.startswith("value.")]
    groups = [{"params": [p for p in body if p.dim() >= 2], "weight_decay": cfg.weight_decay},
              {"params": [p for p in body if p.dim() < 2], "weight_decay": 0.0}]
    if head:
        groups.append({"params": head, "weight_decay": 0.0, "rate": VALUE_RATE})
    optimizer: torch.optim.Optimizer
    if cfg.optimizer == "rmsprop":
        optimizer = torch.optim.RMSprop(groups, lr=cfg.rate)
    else:
        optimizer = torch.optim.AdamW(groups, lr=cfg.rate, betas=(0.9, 0.95),
                                      fused=device.kind in ("cpu", "cuda"))
    if kept:
        freeze.hold(optimizer, kept)
    return optimizer


def fit(model: GPT, objective: Objective, hp: Any, total: int, run: Run) -> None:
    """Train `model` in place for `total` steps. Logs metrics.jsonl, saves steps/<n>/."""
    cfg, device = run.cfg, run.device
    optimizer, scaler = make_optimizer(model, cfg, device), device.scaler()
    start = resumed(run, model, optimizer, scaler) if cfg.resume else 0
    net, cut = for_processes(model, objective, hp, cfg, device, total - start)
    alone, saves = device.processes == 1, run.save_every > 0
    takes_part = alone or processes.takes_part(model, device)
    log = Log(run.folder / "metrics.jsonl", start, device, cfg.log)
    best = Best(log.file) if run.keeps_best else None
    end = start if best and best.rises else total
    pause = 0.5 if sys.stderr.isatty() else 10              # a log file wants fewer lines
    bar = tqdm(range(start, end), initial=start, total=total, desc=title(run.folder),
               disable=device.rank > 0, mininterval=pause)
    loop = steps(net, objective, hp, run.source, optimizer, bar, device=device, scaler=scaler,
                 schedule=warmup_cosine(cfg.rate, total, cfg.warmup), clip=cfg.clip or math.inf,
                 cut=cut)

    def save(done: int) -> None:
        log.flush()
        extra = {"loss": log.loss, "scaler": scaler.state_dict(), "best": best and best.step}
        checkpoints.save_step(run.folder, done, model, optimizer, extra, device.rank == 0)

    n, held_out = start, run.held_out
    try:
        with command.after_the_step(saves and alone) as signal:
            for step in loop:
                n, last = step.number, step.number == total
                log.add(step, run.source.stats)
                due = saves and n % run.save_every == 0 and not last
                evaluates = cfg.eval_every > 0 and n % cfg.eval_every == 0 or last and best
                if n % 10 == 0 or last or due or evaluates or n == start + 1:
                    bar.set_postfix_str(log.flush(), refresh=False)
                if held_out and evaluates and takes_part:
                    figures = held_out()
                    log.write({"step": n, "loss": log.loss, "held_out": figures})
                    if best and best.look(n, figures["nll"]):
                        due = not last
                if due and takes_part:
                    save(n)
                if best and best.rises:
                    break
                if signal.asked and n % run.source.stride == 0:
                    save(n)
                    break
    except UserError as e:                          # such as a reward function that fails
        whole = n % run.source.stride == 0          # a run cannot go on from within a rollout
        if saves and n and whole and alone and not isinstance(e, Diverged):
            save(n)
            about = {"command": "train", "config": {"reward": cfg.reward}}
            e.args = (f"{e}; {run.folder} holds step {n}; go on with: "
                      f"{runs.resuming(run.folder, about)}",)
        raise
    if best:
        run.kept = keep_best(run.folder, best, n, model)


def keep_best(folder: Path, best: Best, last: int, model: GPT) -> int:
    """Put the weights of the best step into the model, which is at step `last`. Returns the step
    whose weights it has."""
    if best.step == last or not checkpoints.load_weights(folder, best.step, model):
        return last
    say(f"stopped after step {last:,}; step {best.step:,} is kept: after it the held-out loss "
        f"rises (lowest: {best.lowest:.3f} nats per token)", write=tqdm.write)
    return best.step


def resumed(run: Run, model: GPT, optimizer: torch.optim.Optimizer,
            scaler: torch.amp.GradScaler) -> int:
    """Load the newest step that is saved; returns its number."""
    saved = checkpoints.load_step(run.folder, model, optimizer)
    if saved.get("scaler"):
        scaler.load_state_dict(saved["scaler"])
    return saved["step"]


def for_processes(model: GPT, objective: Objective, hp: Any, cfg: Train, device: Device,
                  steps: int) -> tuple[torch.nn.Module, Cut | None]:
    """(the network that the loop calls, how it cuts a step): compiled, of several processes."""
    net = model if cfg.shard else devices.compiled(model, cfg.compile, device, steps)
    if device.processes == 1 and cfg.accumulate == 1:
        return net, None
    from nanouft.run.micro_batches import MicroBatches
    if device.processes > 1:
        net = processes.averaged(net)
    return net, MicroBatches(objective, hp, net, device, cfg.accumulate)


def title(folder: Path) -> str:
    """What the progress bar calls the run in `folder`."""
    if folder.parent.name == ".first":
        return f"{folder.name.split('-')[0].rstrip('s')} model (made once)"
    return visible(re.sub(r"-\d+\.partial$", "", folder.name))     # made_once's sft-4711.partial


# ---- from flags to a finished run ----------------------------------------------------------------
def main(argv=None) -> int:
    name, cfg, hp, origin = read_flags(argv, __doc__)
    if name == "list":
        list_objectives()
        return 0
    began = time.time()
    objective = OBJECTIVES[name]
    device = devices.pick(cfg.device, cfg.dtype, cfg.threads, team=True)
    setup.check(name, cfg, device)
    adapter = bool(cfg.lora or cfg.checkpointing)
    model, tok = start_model(cfg.init, adapter)
    if cfg.init != "base" or adapter:
        setup.own_rate(cfg, origin, model)
        model = setup.adapted(cfg, hp, model, tok, DTYPES[device.dtype])
    rows = load_rows(cfg, objective, hp, device.name)
    if cfg.keep < 1:
        from nanouft.run.choose_rows import kept_rows
        rows = kept_rows(rows[0], cfg, first.judges(cfg, device, main), device), rows[1]
    if objective.value_head:
        add_value_head(model, cfg.init)
    if objective.prerequisite:
        hp = first.first_models(objective, hp, cfg, device, main)
    data = encode_rows(name, cfg, hp, rows, model, tok)
    model = processes.placed(model, device, cfg.shard) if cfg.shard else model.to(device.name)
    models = Models(model, tok.pad, device, start_model)
    write_columns(data, objective, hp, cfg, models)
    total = setup.steps_of(cfg, objective, hp, data, origin, device)
    with setup.open_run(name, cfg, hp, origin, data, model, models, total) as run:
        chief = device.rank == 0
        evaluates = chief and not cfg.plain
        before = report.evaluate_start(run, data, model) if evaluates else report.NOTHING
        fit(model, objective, hp, total, run)
        if cfg.shard:
            processes.unshard(model, chief)
        if chief:
            save_model(run.folder, model, tok)
        if evaluates:
            report.close_run(run, data, model, before, time.time() - began)
        elif chief:
            runs.finish(run.folder, before, report.NOTHING, time.time() - began, run.kept)
    device.close()
    return 0


if __name__ == "__main__":
    sys.exit(config.run(main))
