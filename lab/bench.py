"""Speed and memory, as ratios of arms in one run on one machine.

    python -m lab.bench --quick --threads 1 --out out/bench.json    # a minute or two, one idle core
    python -m lab.bench --only step ift                             # some parts

step        forward and backward of the nano model, all positions paid: transformers' GPT-2 over
            ours. The same weights and rows.
ift         one optimizer step of IFT over one of SFT, both as `train` runs them. Two forwards and a
            backward over one of each are 4/3, if a backward is two forwards.
sampling    transformers.generate over nanouft.generate, the same exported model (SFT, 10 s to make
            the first time), 64 prompts, temperature 1, until all answers stop, at most 64 tokens:
            what a rollout does.
decoding    the same for 32 greedy tokens of each answer, none of which may stop.
memory      the nano model with GPT-2's vocabulary, 1,024 positions paid, forward and backward: time
            and peak memory of forward(want="logp") over logits and F.cross_entropy.
trl         one optimizer step of SFT, DPO (with the reference's log-probs made before) and GRPO
            (with its answers): TRL's trainers over ours, and rows or answers a second. (Ours puts
            rows of like length into a step.)
Arms take turns, and whoever goes first changes; a ratio is the median of all pairs of neighbours,
with the quartiles beside it. With one CPU thread the clock is CPU time, which a busy neighbour
disturbs less. What needs transformers or TRL is skipped where they are not installed.
"""
import copy
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lab import bench_others
from lab.bench_steps import Clock, Learner
from lab.cell import Cell, kept_model, quiet
from nanouft import world
from nanouft.data.batches import Epochs, encode
from nanouft.gpt import GPT, NANO
from nanouft.loop import Device
from nanouft.models.load import folder_of, start_model
from nanouft.objectives import OBJECTIVES
from nanouft.reference import Models, add_columns
from nanouft.rewards.scorer import exact, score_rows
from nanouft.run import config, devices
from nanouft.run.flags import Train
from nanouft.run.storage import write_json
from nanouft.run.words import choose
from nanouft.sampling import Rollouts, generate, threads

VOCAB = 50_257              # GPT-2's
Arm = Callable[[int], object]


@dataclass
class Bench:
    quick: bool = False             # fewer turns
    only: list[str] | None = None   # only these: step ift sampling decoding memory trl
    gpu: bool = False               # instead: measure one GPU at 124M parameters (below 8 minutes)
    shape: Literal["gpt2", "tiny"] = "gpt2"     # of --gpu: tiny tries the command on any machine
    out: str | None = None          # also write the figures as JSON
    device: str = "auto"            # auto | cpu | cuda
    dtype: str = "auto"             # auto | fp32 | bf16 | fp16
    threads: int | None = None      # CPU threads


# ---- arms that take turns ------------------------------------------------------------------------
def race(arms: dict[str, Arm], jobs: int, turns: int, device: Device) -> dict[str, np.ndarray]:
    """{arm: (turns x jobs,) seconds}. All arms do a job before the next one begins, in alternating
    order. A first turn warms up and is not counted."""
    times, clock = {name: [] for name in arms}, Clock(device)
    for turn in range(turns + 1):
        for job in range(jobs):
            for name in list(arms)[::1 if (turn + job) % 2 else -1]:
                clock.seconds()
                arms[name](job)
                times[name].append(clock.seconds())
    return {name: np.array(t[jobs:]) for name, t in times.items()}


def over(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
    """Seconds of a over seconds of b, pair by pair: median and quartiles."""
    low, ratio, high = np.quantile(a / b, [0.25, 0.5, 0.75])
    return {"ratio": float(ratio), "low": float(low), "high": float(high), "pairs": len(a),
            "seconds_a": float(np.median(a)), "seconds_b": float(np.median(b))}


def backward(loss: Callable[[int], Tensor], device: Device, *models) -> Arm:
    """Forward and backward of loss(i)."""
    def work(i: int) -> None:
        with device.autocast():
            value = loss(i)
        value.backward()
        for model in models:
            model.zero_grad(set_to_none=True)
    return work


# ---- the parts -----------------------------------------------------------------------------------
def step(turns: int, device: Device) -> dict | None:
    """Forward and backward, all positions paid."""
    model, tok = start_model("base")
    model.to(device.name)
    rows = OBJECTIVES["sft"].rows(world.rows("train", "demos", 1020, 0), None)
    source = Epochs(encode(rows, tok, model.cfg.n_ctx)[0], 32, 8, 0, tok.pad)
    batches = [source(i).seqs["answer"].map(lambda x: x.to(device.name)) for i in range(8)]

    def ours(i: int) -> Tensor:
        return -model(batches[i].inputs, want="logp", targets=batches[i].targets).mean()
    net = bench_others.gpt2(str(folder_of("base")), device.name)
    if net is None:
        return None

    def theirs(i: int) -> Tensor:
        return (net(batches[i].inputs, labels=batches[i].inputs, shift_labels=batches[i].targets)
                .loss)
    arms = {"transformers": backward(theirs, device, net), "ours": backward(ours, device, model)}
    times = race(arms, len(batches), turns, device)
    return {"transformers_over_ours": over(times["transformers"], times["ours"])}


def stepper(name: str, device: Device, init: str = "base") -> Arm:
    """A function that makes optimizer step i of objective `name` on NanoWorld, as `train` would."""
    model, tok = start_model(init)
    model.to(device.name)
    objective = OBJECTIVES[name]
    cfg, hp = Train(lr=objective.lr), objective.hp()
    rows = objective.rows(world.rows("train", objective.kinds(hp)[0], 1020, 0), hp)
    encoded, _ = encode(rows, tok, model.cfg.n_ctx - (cfg.max_new if objective.on_policy else 0))
    if objective.on_policy:
        start = copy.deepcopy(model).requires_grad_(False)
        source = Rollouts(encoded, objective, hp, model, start, tok, partial(score_rows, exact),
                          rows=cfg.batch_size, steps=96, max_new=cfg.max_new, device=device)
    else:
        add_columns(encoded, objective.columns, Models(model, tok.pad, device, start_model), hp)
        source = Epochs(encoded, cfg.batch_size, 96, 0, tok.pad)
    learner = Learner(name, model, device, hp)
    return lambda i: learner.step(source(i % 96))


def ift(turns: int, device: Device) -> dict:
    times = race({name: stepper(name, device) for name in ("ift", "sft")}, 8, turns, device)
    return {"ift_over_sft": over(times["ift"], times["sft"])}  # the first steps of a default run


def tuned() -> str:
    """The folder of an SFT model."""
    with quiet(), threads(1):             # a cell is trained with one
        return kept_model(Cell(("--objective", "sft"), 0))


def answers(turns: int, device: Device, new: int, sample: bool) -> dict | None:
    """64 answers of at most `new` tokens. Drawn at temperature 1 until they stop, or greedy and
    endless."""
    net = bench_others.gpt2(tuned(), device.name)
    if net is None:
        return None
    model, tok = start_model(tuned())
    model.to(device.name)
    batches = bench_others.prompts(tok)

    def ours(i: int) -> None:
        generate(model, batches[i], stop=tok.end if sample else -1, pad=tok.pad, max_new=new,
                 temperature=float(sample), seed=i)
    arms = {"transformers": lambda i: bench_others.answer(net, batches[i], tok, new, sample, i),
            "ours": ours}
    times = race(arms, len(batches), max(1, turns // 3), device)
    return {"transformers_over_ours": over(times["transformers"], times["ours"])}


def trl(turns: int, device: Device) -> dict | None:
    """TRL's steps over ours, which take turns: 32 rows; for GRPO 4 new answers to each of 32
    prompts."""
    found = {}
    for name, rows in {"sft": 32, "dpo": 32, "grpo": 128}.items():
        ours, clock, times = stepper(name, device, tuned()), Clock(device), {"trl": [], "ours": []}

        def after_step() -> None:
            times["trl"].append(clock.seconds())
            ours(len(times["ours"]))
            times["ours"].append(clock.seconds())
        settings = {"per_device_train_batch_size": rows, "use_cpu": device.kind == "cpu"}
        try:
            with quiet():
                bench_others.trl_steps(name, tuned(), settings, turns + 1, after_step)
        except ImportError:
            return None
        theirs, mine = (np.array(t[1:]) for t in times.values())  # the first turn warms up
        found[f"{name}_trl_over_ours"] = {**over(theirs, mine), "rows_a": rows / np.median(theirs),
                                          "rows_b": rows / np.median(mine)}
    return found


def memory(turns: int, device: Device) -> dict:
    """forward(want="logp") over logits and cross-entropy."""
    model = GPT(replace(NANO, vocab_size=VOCAB), seed=0).to(device.name)
    rng = torch.Generator().manual_seed(0)
    ids, targets = (torch.randint(VOCAB, (8, 128), generator=rng).to(device.name) for _ in range(2))

    def logp(_: int) -> Tensor:
        return -model(ids, want="logp", targets=targets).mean()

    def plain(_: int) -> Tensor:
        return F.cross_entropy(model(ids).view(-1, VOCAB), targets.view(-1))
    arms = {"logp": backward(logp, device, model), "plain": backward(plain, device, model)}
    peak = {name: peak_memory(lambda: work(0), device) for name, work in arms.items()}
    times = race(arms, 1, max(2, turns // 2), device)
    return {"logp_over_plain": over(times["logp"], times["plain"]),
            "peak": {**peak, "ratio": peak["logp"] / peak["plain"]}}


def peak_memory(work: Callable[[], None], device: Device) -> int:
    """Bytes: the most that tensors made by `work` take at one time."""
    if device.kind == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        work()
        return torch.cuda.max_memory_allocated() - before
    with torch.profiler.profile(profile_memory=True) as profile:
        work()
    # one event each time that memory is taken (bytes > 0) or given back (< 0)
    notes = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    notes.sort(key=lambda e: e.start_ns())
    return int(np.cumsum([e.nbytes() for e in notes]).max())


PARTS = {"step": step, "ift": ift, "sampling": partial(answers, new=64, sample=True),
         "decoding": partial(answers, new=32, sample=False), "memory": memory, "trl": trl}


def main(argv=None) -> int:
    cfg, _ = config.parse(Bench, argv, "python -m lab.bench", __doc__)
    names = [choose("part", name, PARTS) for name in cfg.only or PARTS]
    device = devices.pick(cfg.device, cfg.dtype, cfg.threads)
    if cfg.gpu:
        from lab import bench_gpu
        return bench_gpu.measure(cfg.shape, device, cfg.out)
    result = {"device": f"{device.name} {device.dtype}", "threads": torch.get_num_threads(),
              **bench_others.versions()}
    print(", ".join(f"{key} {value}" for key, value in result.items()))
    for name in names:
        result[name] = PARTS[name](7 if cfg.quick else 25, device)
        if result[name] is None:
            print(f"{name:<9} skipped: {'TRL' if name == 'trl' else 'transformers'} is not "
                  "installed")
        for what, r in (result[name] or {}).items():
            if what == "peak":
                print(f"{name:<9} peak {r['logp'] / 1e6:.0f} MB over {r['plain'] / 1e6:.0f} MB: "
                      f"{r['ratio']:.2f}")
            else:
                print(f"{name:<9} {what} {r['ratio']:.2f} (quartiles {r['low']:.2f} to "
                      f"{r['high']:.2f}); {1000 * r['seconds_a']:.0f} and "
                      f"{1000 * r['seconds_b']:.0f} ms"
                      + (f"; {r['rows_a']:.0f} and {r['rows_b']:.0f} rows a second"
                         if "rows_a" in r else ""))
    if cfg.out:
        Path(cfg.out).parent.mkdir(parents=True, exist_ok=True)
        write_json(Path(cfg.out), result)
    return 0


if __name__ == "__main__":
    sys.exit(config.run(main))
