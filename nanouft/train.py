"""The one training loop, for every objective.

    python -m nanouft.train --objective ift                         # NanoWorld: trained, scored, plotted in about 15 s
    python -m nanouft.train --objective dpo --data my.jsonl --init out/ift
    torchrun --nproc_per_node=2 -m nanouft.train --objective sft    # same batches, same losses, more processes
    python -m nanouft.train --objective list                        # what each objective needs

A batch of --batch-size rows makes one optimizer step; --accumulate and torchrun only cut it into pieces. All
randomness of step n is a function of (seed, n): a resumed run is the uninterrupted run, bit for bit.
The loop stands in `fit`, between five fences: data, forward, objective, update, report.
"""
import contextlib
import math
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch
from tqdm import tqdm

from nanouft import config, data, devices, prepare, pretrain, report, runs, world
from nanouft.batches import collate, encode, order
from nanouft.config import UserError
from nanouft.evaluate import encode_held, held_out
from nanouft.objectives import OBJECTIVES, Objective


@dataclass
class Train:
    data: list[str] | None = None       # your files (JSON list or JSON lines); NanoWorld when absent
    prompt_field: str | None = None     # name of the prompt in your data, where it is none of the usual
    response_field: str | None = None   # name of the response in your data
    init: str = "base"                  # start from: 'base' (shipped) or a GPT-2 folder, such as another run
    corpus: str | None = None           # pretrain a base on this text first (once; kept under out/), and start from it
    size: Literal["nano", "gpt2"] = "nano"      # size of the base that --corpus makes
    rows: int = 1020                    # NanoWorld rows to train on
    noise: float = 0.0                  # share of NanoWorld demonstrations that are wrong
    steps: int | None = None            # optimizer steps
    epochs: float | None = None         # or passes over the data [3]
    batch_size: int = 32                # rows of one optimizer step
    accumulate: int = 1                 # cut each step into this many micro-batches, to save memory
    lr: float | None = None             # peak learning rate [the objective's own]
    optimizer: Literal["adamw", "rmsprop"] = "adamw"    # rmsprop is what the IFT paper used
    weight_decay: float = 0.0           # on matrices only
    warmup: float = 0.1                 # share of the steps in which the rate rises; then it falls as a cosine to 0
    clip: float = 1.0                   # largest gradient norm; 0 = no clipping
    seed: int = 0                       # draws the demonstrations, their order and every random number
    device: str = "auto"                # auto | cpu | cuda | mps
    dtype: Literal["auto", "fp32", "bf16", "fp16"] = "auto"     # precision of the forward; auto = bf16 on CUDA
    compile: Literal["auto", "on", "off"] = "auto"      # torch.compile; auto = on CUDA, for models above 20M parameters
    threads: int | None = None          # CPU threads
    save_every: int = 50                # steps between checkpoints for --resume; 0 = none
    eval_every: int = 0                 # steps between held-out losses; 0 = only before and after
    items: int = 100                    # NanoWorld prompts a family in the before/after table; 0 = no table
    split: Literal["test", "val"] = "test"      # which of them: val to choose settings, test to report
    out: str | None = None              # run folder [out/<objective>]
    resume: str | None = None           # go on with the run in this folder; takes no other flag

    def check(self) -> None:
        least = dict.fromkeys(("batch_size", "accumulate", "rows", "steps"), 1) | dict.fromkeys(
            ("save_every", "eval_every", "items", "weight_decay", "clip", "seed", "noise", "warmup"), 0)
        most = {"rows": 1_000_000, "items": 10_000, "noise": 1, "warmup": 1}
        for name, low in least.items():
            value, high = getattr(self, name), most.get(name, math.inf)
            if value is not None and not low <= value <= high:
                raise UserError(f"--{name.replace('_', '-')} {value}: must be at least {low}"
                                + (f" and at most {high:,}" if name in most else ""))
        for name in ("lr", "epochs"):
            if (value := getattr(self, name)) is not None and value <= 0:
                raise UserError(f"--{name} {value}: must be above 0")
        if self.steps is not None and self.epochs is not None:
            raise UserError("--steps and --epochs say the same thing twice; give one")
        if self.accumulate > self.batch_size:
            raise UserError(f"--accumulate {self.accumulate}: a step has only --batch-size {self.batch_size} rows")


def schedule(step: int, steps: int, warmup: float) -> tuple[float, float]:
    """(learning-rate factor, ramp 0 -> 1 of the warm-up): linear up, then a cosine down to 0."""
    up = max(1, round(warmup * steps))
    ramp = min(1.0, (step + 1) / up)
    return (ramp if step < up else 0.5 * (1 + math.cos(math.pi * (step - up) / max(1, steps - up)))), ramp


def make_optimizer(model: torch.nn.Module, cfg: Train, device: devices.Device) -> torch.optim.Optimizer:
    """AdamW or RMSprop; matrices decay, biases and LayerNorms do not."""
    groups = [{"params": [p for p in model.parameters() if p.dim() >= 2], "weight_decay": cfg.weight_decay},
              {"params": [p for p in model.parameters() if p.dim() < 2], "weight_decay": 0.0}]
    if cfg.optimizer == "rmsprop":
        return torch.optim.RMSprop(groups, lr=cfg.lr)
    return torch.optim.AdamW(groups, lr=cfg.lr, betas=(0.9, 0.95), fused=device.kind in ("cpu", "cuda"))


def fit(model, objective: Objective, hp, cfg: Train, encoded, pad: int, steps: int, device: devices.Device,
        folder: Path, held=None) -> int:
    """Train `model` in place; returns the number of steps done now. Logs metrics.jsonl, saves steps/<n>/."""
    optimizer, scaler = make_optimizer(model, cfg, device), device.scaler()
    saved = runs.load_step(folder, model, optimizer) if cfg.resume else {"step": 0}
    start = saved["step"]
    if saved.get("scaler"):
        scaler.load_state_dict(saved["scaler"])
    net = devices.compiled(model, cfg.compile, device)
    if device.world > 1:
        net = torch.nn.parallel.DistributedDataParallel(net)
    plan = order([e.length for e in encoded], cfg.batch_size, steps, cfg.seed)
    parts, chief = cfg.accumulate * device.world, device.rank == 0
    log = report.Log(folder / "metrics.jsonl", start, device)
    bar = tqdm(range(start, steps), initial=start, total=steps, desc=folder.name, disable=not chief,
               mininterval=0.5 if sys.stderr.isatty() else 10)         # a log file wants fewer lines than a person
    for step in bar:
        factor, ramp = schedule(step, steps, cfg.warmup)
        total: dict = {}
        for micro in range(cfg.accumulate):
            # ---- data: this process's piece of the step; its totals are those of the whole step
            batch = collate(encoded, plan[step], pad, parts, device.rank * cfg.accumulate + micro,
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
            group["lr"] = cfg.lr * factor
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)
        # ---- report: numbers stay on the device until ten steps are together; reading each would stop a GPU
        log.add(step + 1, total, norm, cfg.lr * factor, sum(batch.tokens.values()))
        done = step + 1
        save = cfg.save_every and done % cfg.save_every == 0 and done < steps
        look = cfg.eval_every and done % cfg.eval_every == 0 and held
        if done % 10 == 0 or done == steps or save or look or done == start + 1:
            bar.set_postfix_str(log.flush(), refresh=False)
        if look and chief:
            log.write({"step": done, "loss": log.loss, "held_out": held_out(model, held, pad, device)})
        if save and chief:
            runs.save_step(folder, done, model, optimizer, {"loss": log.loss, "scaler": scaler.state_dict()})
    return steps - start


def read_flags(argv: list[str] | None):
    """-> (objective name, Train, hyper-parameters, {value: where it came from})."""
    known = config.Parser(add_help=False)
    known.add_argument("--objective")
    known.add_argument("--resume")
    first, others = known.parse_known_args(argv)
    if first.objective == "list":
        return "list", None, None, {}
    if first.resume is not None and not {"-h", "--help"} & set(others):
        if first.objective or others:
            other = "--objective" if first.objective else others[0]
            raise UserError(f"--resume takes no other flag, but {other} was given: every setting comes from run.json")
        return runs.reopen(first.resume, Train)
    name = config.choose("objective", first.objective or "ift", [*OBJECTIVES, "list"])
    objective = OBJECTIVES[name]
    parser = config.Parser(prog="python -m nanouft.train", description=__doc__)
    parser.elsewhere = {f: n for n, o in OBJECTIVES.items() for f in config.flags_of(o.hp)}
    parser.add_argument("--objective", default="ift", metavar="NAME",
                        help=f"{', '.join(OBJECTIVES)}, or 'list' for what each needs [ift]; "
                             "--help shows the flags of the one that is named")
    config.add_flags(parser, Train, "the run")
    config.add_flags(parser, objective.hp, f"{name}: {objective.paper}")
    values = vars(parser.parse_args(argv))
    cfg, given = config.fill(Train, values)
    hp, hp_given = config.fill(objective.hp, values)
    cfg.check()
    if hasattr(hp, "check"):
        hp.check(hp_given)
    if cfg.data and (idle := sorted(given & {"rows", "noise", "split"})):
        raise UserError(f"--{idle[0]} belongs to NanoWorld; it changes nothing with --data")
    if cfg.noise and objective.data != "demos":
        raise UserError(f"--noise spoils demonstrations; {name} learns from {objective.data}")
    if cfg.prompt_field and cfg.prompt_field == cfg.response_field:
        raise UserError(f"--prompt-field and --response-field both name {cfg.prompt_field!r}; they must differ")
    if cfg.warmup == 0 and getattr(hp, "lam_min", None) is not None:
        raise UserError("--lam-min ramps lam over the warm-up, and --warmup is 0: it changes nothing")
    if not cfg.data and given & {"prompt_field", "response_field"}:
        raise UserError("--prompt-field and --response-field name fields of your own file; give it with --data")
    if "size" in given and not cfg.corpus:
        raise UserError("--size is the size of the base that --corpus makes; without --corpus it changes nothing")
    if cfg.corpus and "init" in given:
        raise UserError("--corpus makes a base of its own; it cannot be combined with --init")
    source = {k: "command line" if k in given | hp_given else "default" for k in {**asdict(cfg), **asdict(hp)}}
    if cfg.lr is None:
        cfg.lr, source["lr"] = objective.lr, f"default of {name}"
    return name, cfg, hp, source


def load_rows(cfg: Train, objective: Objective) -> tuple[list[data.Row], list[data.Row]]:
    """(rows to train on, rows held out): from the user's files, or drawn from NanoWorld."""
    if not cfg.data:
        return (world.rows("train", objective.data, cfg.rows, cfg.seed, noise=cfg.noise),
                world.rows("val", objective.data, 200, 0))
    rows, found = data.read(cfg.data, cfg.prompt_field, cfg.response_field)
    print("\n".join(found.lines()))
    examples = objective.rows(rows, None)       # what the objective lacks is said of the whole file, before the split
    if objective.data == "pairs" and (equal := len([r for r in rows if r.chosen and r.rejected]) - len(examples)):
        print(f"{equal:,} pairs skipped: chosen equals rejected")
    if cfg.init == "base" and not cfg.corpus:
        print("note: the shipped base has read nothing but NanoWorld; for other text give --init or --corpus")
    return data.holdout(rows)


def main(argv=None) -> int:
    name, cfg, hp, source = read_flags(argv)
    if name == "list":
        report.list_objectives()
        return 0
    started, objective = time.time(), OBJECTIVES[name]
    device = devices.pick(cfg.device, cfg.dtype, cfg.threads)
    chief = device.rank == 0
    train_rows, held_rows = load_rows(cfg, objective)
    if cfg.corpus:
        cfg.init = str(pretrain.cached_base(cfg.corpus, cfg.size, device))
    model, tok = runs.start_model(cfg.init)
    encoded, lost = encode(objective.rows(train_rows, hp), tok, model.cfg.n_ctx)
    held = encode_held(objective, hp, held_rows, tok, model.cfg.n_ctx)
    print("\n".join([f"{len(encoded):,} of {len(train_rows):,} rows serve {name} (it needs {objective.data}); "
                     f"of {len(held_rows)} rows held out, {len(held)} do", *lost.lines(model.cfg.n_ctx)]))
    print(report.example(encoded, tok))
    if cfg.batch_size < device.world * cfg.accumulate:
        raise UserError(f"--batch-size {cfg.batch_size} cannot be cut into {device.world * cfg.accumulate} pieces")
    steps = cfg.steps or max(1, round((cfg.epochs or 3) * len(encoded) / cfg.batch_size))
    model.to(device.name)
    folder = report.open_run(name, cfg, hp, source, tok, steps, device, runs.fingerprint(model, encoded))
    prepare.add_columns(encoded, objective.columns, model, tok.pad, folder.parent / ".columns", device)
    prepare.add_columns(held, objective.columns, model, tok.pad, folder.parent / ".columns", device)
    print(f"{name}: {steps:,} steps of {cfg.batch_size} rows, lr {cfg.lr:g}, {model.n_params() / 1e6:.2f}M parameters, "
        f"{device.name} {device.dtype} x {device.world} -> {folder}")
    before = report.look_before(folder, model, tok, cfg, held, held_rows, device) if chief else None
    fit(model, objective, hp, cfg, encoded, tok.pad, steps, device, folder, held)
    if chief:
        runs.save_final(folder, model, tok)
        after = report.look(model, tok, cfg, held, held_rows, device)
        report.close_run(folder, name, cfg, before, after, time.time() - started)
    device.close()
    return 0


if __name__ == "__main__":
    sys.exit(config.run(main))
