"""What to run first on a GPU: does it compute what the CPU computes?

    python -m tests.bench --gpu                       # one CUDA device
    python -m tests.bench --gpu --init out/smollm2    # a model of transformers as well
    python -m tests.bench --gpu cpu                   # the same lines on the CPU, to try the code

A check prints `ok`, or `LOOK` where a figure is not as expected; then something is wrong, or the
bound does not fit this card. After a LOOK the exit code is 1.
"""
import contextlib
import copy
import io
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor
from torch._dynamo.utils import counters

from nanouft import __version__, train, world
from nanouft.batch import Batch
from nanouft.data.batches import Batching, RowSource, encode
from nanouft.data.rows import Row
from nanouft.gpt import GPT, NANO
from nanouft.loop import Device, Update, make_optimizer, steps
from nanouft.models.folders import start_model
from nanouft.models.tokenizer import Tokenizer
from nanouft.objectives import OBJECTIVES
from nanouft.plumbing.errors import UserError
from nanouft.rollout import Rollouts, Sampler
from nanouft.run import checkpoint
from nanouft.run.device import CompiledBlocks, choose_device
from nanouft.run.reference import FrozenModels

TRIED = ("sft", "ift", "dpo", "grpo")
Start = Callable[[], tuple[GPT, Tokenizer]]     # () -> the model that a check trains, made anew
Verdict = tuple[bool, str]                      # is it as expected, and what was seen
Figures = Callable[[int], Tensor]       # k -> (k, 2): loss and gradient norm of the next k steps


def report(what: str, check: Callable[[], Verdict]) -> bool:
    """Print the line of a check. One that raises is a LOOK, and the next ones follow."""
    try:
        fine, told = check()
    except Exception as e:
        fine, told = False, f"{type(e).__name__}: {' '.join(str(e).split())[:160]}"
    print(f"{'ok  ' if fine else 'LOOK'}  {what:<32} {told}", flush=True)
    return fine


# ---- steps that can be compared ------------------------------------------------------------------
def base() -> tuple[GPT, Tokenizer]:
    return start_model("base")


def batches_of(name: str, start: Start, n: int, rows: int) -> list[Batch]:
    """n steps of an objective on NanoWorld, made once, on the CPU and in fp32: every device sees
    the same numbers. rows: of a step; a method that samples has a quarter as many prompts."""
    (model, tok), objective = start(), OBJECTIVES[name]()
    some = objective.choose(world.mixed_rows("train", objective.kinds(), rows * n, 0))
    data, _ = encode(some, tok, 400)
    if not objective.on_policy:
        data = FrozenModels(model, tok.pad).prepare(data, objective)
        source = RowSource(data, Batching(rows, n), tok.pad)
        return [source(i) for i in range(n)]
    rollouts = Rollouts(data, objective, Sampler(model, copy.deepcopy(model), tok),
                        any_scores, Batching(rows // 4, n))
    made = [rollouts(i) for i in range(n)]
    for batch in made:                                  # as in the first step on a rollout
        batch.seqs["answer"].sampled_logp = None
    return made


def any_scores(rows: list[Row], answers: list[str]) -> np.ndarray:
    """(n,) numbers that differ between answers. NanoWorld's scores are all 0 for a model that knows
    nothing of it; then no advantage is left, and steps without a gradient only enlarge rounding."""
    return np.array([sum(answer.encode()) % 100 / 100 for answer in answers])


def learner(name: str, device: Device, batches: list[Batch], start: Start = base,
            wrap: Callable[[GPT], Any] = lambda model: model,
            scaler: torch.amp.GradScaler | None = None) -> tuple[GPT, Figures]:
    """A fresh model, and a function that makes its next steps. wrap: how it is called there."""
    model = start()[0].to(device.name)
    net = wrap(model)
    objective, lr = OBJECTIVES[name](), 2.5e-4 * NANO.n_embd / model.cfg.n_embd
    update = Update(make_optimizer(model, lr, fused=True), clip=1.0, scaler=scaler)
    run = steps(net, objective, lambda i: batches[i % len(batches)], update, range(999), device)
    return model, lambda k: torch.stack([torch.stack([step.sums["loss"], step.norm]).float()
                                         for _, step in zip(range(k), run)])


def gaps(found: Tensor, wanted: Tensor) -> tuple[float, float]:
    """The largest relative gap of loss and of gradient norm."""
    loss, norm = ((found.cpu() - wanted.cpu()).abs() / wanted.cpu().abs().clamp_min(1)).amax(0)
    return float(loss), float(norm)


# ---- checks --------------------------------------------------------------------------------------
def same_as_cpu(name: str, gpu: Device, start: Start = base, rows: int = 32) -> Verdict:
    """Loss and gradient are the CPU's in three steps, in bf16 in the first one, since updates
    enlarge what is rounded."""
    exact = choose_device(gpu.name, "fp32")             # without TF32, also on the CPU
    batches = batches_of(name, start, 3, rows)
    wanted = learner(name, Device(), batches, start)[1](3)
    full = max(gaps(learner(name, exact, batches, start)[1](3), wanted))
    gpu = choose_device(gpu.name, gpu.dtype)
    loss, norm = gaps(learner(name, gpu, batches, start)[1](1), wanted[:1])
    return (full < 1e-3 and loss < 0.02 and norm < 0.08,
            f"off by {full:.0e} in fp32; in bf16 loss {loss:.0e}, norm {norm:.0e}")


def scaler(gpu: Device, start: Start = base) -> Verdict:
    """In fp16 a step whose gradient overflows is left out, and the scale falls."""
    half = replace(gpu, dtype="fp16")
    high = torch.amp.GradScaler(gpu.kind, init_scale=2.0**40)
    model, go = learner("sft", half, batches_of("sft", start, 6, 32), start, scaler=high)
    first = model.wte.weight.detach().clone()
    go(1)
    skipped = bool((model.wte.weight == first).all()) and high.get_scale() == 2.0**39
    go(40)
    learns = bool(model.wte.weight.isfinite().all() and (model.wte.weight != first).any())
    return (skipped and learns,
            f"an overflow is left out: {skipped}; scale 2^40 -> {high.get_scale():,.0f}")


def resume(gpu: Device, half: int = 20) -> Verdict:
    """A run that is stopped halfway and resumed makes the steps of one that is not stopped."""
    flags = ["--objective", "ift", "--rows", "200", "--steps", str(2 * half), "--save-every",
             str(half), "--plain", "--items", "0", "--device", gpu.name]
    save_step = checkpoint.save_step

    def save_and_stop(*step) -> None:
        save_step(*step)
        raise KeyboardInterrupt                         # as Ctrl-C does

    def losses(run: Path) -> list[float]:
        lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line)["loss"] for line in lines]
    with (tempfile.TemporaryDirectory() as place,
          contextlib.redirect_stdout(io.StringIO()) as printed,
          contextlib.redirect_stderr(printed)):
        whole, cut = Path(place, "whole"), Path(place, "cut")
        train.main([*flags, "--out", str(whole)])
        with (mock.patch.object(checkpoint, "save_step", save_and_stop),
              contextlib.suppress(KeyboardInterrupt)):
            train.main([*flags, "--out", str(cut)])
        stopped = len(losses(cut))
        train.main(["--resume", str(cut)])
        off = max(abs(a - b) for a, b in zip(losses(whole), losses(cut), strict=True))
    resumed = f"resuming after step {half}\n" in printed.getvalue()     # it did not begin again
    return (stopped == half and resumed and off < (1e-2 if gpu.kind == "cuda" else 1e-12),
            f"stopped after step {stopped}, resumed there: {resumed}; losses off by {off:.0e} "
            "(0 is exact)")


def compiled(gpu: Device, start: Start = base, backend: str = "inductor") -> Verdict:
    """Six steps of six shapes: a block is compiled with gradient and without, and never broken."""
    batches = batches_of("ift", start, 6, 32)
    eager = learner("ift", gpu, batches, start)[1](6)
    torch._dynamo.reset()
    counters.clear()
    begun = time.time()
    loss, norm = gaps(learner("ift", gpu, batches, start,
                              lambda model: CompiledBlocks(model, backend))[1](6), eager)
    graphs, breaks = counters["stats"]["unique_graphs"], sum(counters["graph_break"].values())
    return (loss < 0.02 and norm < 0.08 and graphs == 2 and not breaks,
            f"loss off by {loss:.0e}, norm {norm:.0e}; {graphs} graphs, {breaks} breaks, "
            f"{time.time() - begun:.0f} s")


def accumulate(gpu: Device, start: Start = base) -> Verdict:
    """Steps in four micro-batches are the steps in one."""
    exact = choose_device(gpu.name, "fp32")             # without TF32
    batches = batches_of("ift", start, 3, 32)
    whole = learner("ift", exact, batches, start)[1](3)
    parts = [replace(batch, accumulate=4) for batch in batches]
    off = max(gaps(learner("ift", exact, parts, start)[1](3), whole))
    return off < 1e-3, f"off by {off:.0e} in fp32"


def checks_of(gpu: Device, folder: str | None) -> dict[str, Callable[[], Verdict]]:
    """{name of a line: what makes it}."""
    checks: dict[str, Callable[[], Verdict]] = {}
    for name in TRIED:
        checks[f"{name} = CPU"] = partial(same_as_cpu, name, gpu)
        if folder:
            checks[f"{name} = CPU, {Path(folder).name}"] = partial(
                same_as_cpu, name, gpu, partial(start_model, folder), rows=8)
    return checks | {"accumulate": partial(accumulate, gpu), "fp16 scaler": partial(scaler, gpu),
                     "resume": partial(resume, gpu), "compile": partial(compiled, gpu)}


def main(where: str = "cuda", folder: str | None = None) -> int:
    """Print all lines; 1 if one of them says LOOK."""
    if where == "cuda" and not torch.cuda.is_available():
        raise UserError("--gpu: there is no CUDA device here")
    gpu = choose_device(where, "bf16")
    card = torch.cuda.get_device_name() if where == "cuda" else "cpu"
    print(f"{card}; torch {torch.__version__}; nanouft {__version__}; {time.strftime('%Y-%m-%d')}")
    held = []
    for what, check in checks_of(gpu, folder).items():
        choose_device(where, "bf16")                # the check before may have left other settings
        held.append(report(what, check))
    return int(not all(held))
