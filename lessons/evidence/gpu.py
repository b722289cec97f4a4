"""What to run first on a GPU: does it compute what the CPU computes, and at what cost?

    python -m lessons.evidence.bench --gpu      # one CUDA device, a minute or two
    python -m lessons.evidence.gpu cpu          # the same lines on the CPU, to try the code

A check prints `ok`, or `LOOK` where a figure is not as expected; then something is wrong, or the
bound does not fit this card.
"""
import contextlib
import copy
import io
import json
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from torch._dynamo.utils import counters

from lessons.evidence.subjects import Subject, nano, our_steps, quiet, real
from nanouft import train, world
from nanouft.batches import Epochs, encode
from nanouft.errors import UserError, command
from nanouft.gpt import GPT
from nanouft.loop import Device, steps
from nanouft.models import start_model
from nanouft.objective import Batch
from nanouft.objectives import OBJECTIVES
from nanouft.reference import Models
from nanouft.sampling import Rollouts

Figures = Callable[[int], Tensor]       # k -> (k, 2): loss and gradient norm of the next k steps


def report(what: str, fine: bool, told: str) -> None:
    print(f"{'ok  ' if fine else 'LOOK'}  {what:<16} {told}", flush=True)


# ---- steps that can be compared ------------------------------------------------------------------
def batches_of(name: str, n: int = 6) -> list[Batch]:
    """n steps of an objective on NanoWorld, made once, on the CPU and in fp32: every device sees
    the same numbers."""
    (model, tok), objective = start_model("base"), OBJECTIVES[name]()
    rows = objective.choose(world.mixed_rows("train", objective.kinds(), 32 * n, 0))
    data, _ = encode(rows, tok, 400)
    if not objective.on_policy:
        data = Models(model, tok.pad).prepare(data, objective)
        source = Epochs(data, 32, n, 0, tok.pad)
        return [source(i) for i in range(n)]
    source = Rollouts(data, objective, model, copy.deepcopy(model), tok, world.exact_scores,
                      batch_size=8, steps=n)
    made = [source(i) for i in range(n)]
    for batch in made:                                  # as in the first step on a rollout
        batch.seqs["answer"].sampled_logp = None
    return made


def learner(name: str, device: Device, batches: list[Batch],
            compile: bool = False) -> tuple[GPT, Figures]:
    """The base, and a function that makes its next steps."""
    model = start_model("base")[0].to(device.name)
    if compile:
        torch._dynamo.reset()
    net = torch.compile(model, dynamic=True) if compile else model
    objective = OBJECTIVES[name]()
    run = steps(net, objective, lambda i: batches[i % len(batches)],
                train.make_optimizer(model, 2.5e-4, device), range(999), clip=1.0,
                device=device)
    return model, lambda k: torch.stack([torch.stack([step.sums["loss"], step.norm]).float()
                                         for _, step in zip(range(k), run)])


def gaps(found: Tensor, wanted: Tensor) -> tuple[float, float]:
    """The largest relative gap of loss and of gradient norm."""
    loss, norm = ((found.cpu() - wanted.cpu()).abs() / wanted.cpu().abs().clamp_min(1)).amax(0)
    return float(loss), float(norm)


# ---- checks --------------------------------------------------------------------------------------
def same_as_cpu(name: str, gpu: Device) -> None:
    """Loss and gradient are the CPU's, and no step makes the CPU wait for the device."""
    batches = batches_of(name)
    wanted = learner(name, Device(), batches)[1](3)
    torch.set_float32_matmul_precision("highest")
    full = max(gaps(learner(name, replace(gpu, dtype="fp32"), batches)[1](3), wanted))
    torch.set_float32_matmul_precision("high")
    _, half = learner(name, gpu, batches)
    loss, norm = gaps(half(3), wanted)
    with warnings.catch_warnings(record=True) as seen, sync_warnings(gpu):
        warnings.simplefilter("always")
        half(2)
    waits = sum("synchroniz" in str(w.message) for w in seen) / 2
    report(f"{name} = CPU", full < 1e-3 and loss < 0.02 and norm < 0.08 and not waits,
           f"off by {full:.0e} in fp32; in bf16 loss {loss:.0e}, norm {norm:.0e}; "
           f"waits a step {waits:g}")


@contextlib.contextmanager
def sync_warnings(gpu: Device) -> Iterator[None]:
    if gpu.kind != "cuda":
        yield
        return
    torch.cuda.set_sync_debug_mode("warn")
    yield
    torch.cuda.set_sync_debug_mode(0)


def scaler(gpu: Device) -> None:
    """In fp16 a step whose gradient overflows is left out, and the scale falls."""
    half = replace(gpu, dtype="fp16")
    half.scaler._init_scale = 2.0**40
    model, go = learner("sft", half, batches_of("sft"))
    first = model.wte.weight.detach().clone()
    go(1)
    skipped = bool((model.wte.weight == first).all()) and half.scaler.get_scale() == 2.0**39
    go(40)
    learns = bool(model.wte.weight.isfinite().all() and (model.wte.weight != first).any())
    report("fp16 scaler", skipped and learns,
           f"an overflow is left out: {skipped}; scale 2^40 -> {half.scaler.get_scale():,.0f}")


def resume(gpu: Device) -> None:
    """A run that is cut at step 20 goes on as the one that was not."""
    silent = io.StringIO()
    with (tempfile.TemporaryDirectory() as place, contextlib.redirect_stdout(silent),
          contextlib.redirect_stderr(silent)):
        run = Path(place, "run")
        train.main(["--objective", "ift", "--rows", "200", "--steps", "40", "--save-every", "20",
                    "--plain", "--items", "0", "--device", gpu.name, "--out", str(run)])
        whole = (run / "metrics.jsonl").read_text()
        for file in ("eval.json", "model.safetensors"):
            (run / file).unlink(missing_ok=True)
        train.main(["--resume", str(run)])
        again = (run / "metrics.jsonl").read_text()
    off = max(abs(json.loads(a)["loss"] - json.loads(b)["loss"])
              for a, b in zip(whole.splitlines(), again.splitlines(), strict=True))
    report("resume", off < (1e-2 if gpu.kind == "cuda" else 1e-12),
           f"losses of steps 21 to 40 off by {off:.0e} (0 is exact)")


def compiled(gpu: Device) -> None:
    """Six steps of six shapes: compiled once for each of IFT's three forwards, never broken."""
    batches = batches_of("ift")
    eager = learner("ift", gpu, batches)[1](6)
    counters.clear()
    start = time.time()
    loss, norm = gaps(learner("ift", gpu, batches, compile=True)[1](6), eager)
    graphs, breaks = counters["stats"]["unique_graphs"], sum(counters["graph_break"].values())
    report("compile", loss < 0.02 and norm < 0.08 and graphs == 3 and not breaks,
           f"loss off by {loss:.0e}, norm {norm:.0e}; {graphs} graphs, {breaks} breaks, "
           f"{time.time() - start:.0f} s")


# ---- costs ---------------------------------------------------------------------------------------
def cost(name: str, subject: Subject, device: Device) -> str:
    """Tokens a second of the wall clock, prompts too, and a GPU's peak memory."""
    with quiet():
        ours = our_steps(name, subject, device)
    on_gpu = device.kind == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    float(next(ours).norm)                              # the first step warms up
    start = time.perf_counter()
    done = [next(ours) for _ in range(subject.turns)]
    float(done[-1].norm)                                # waits until the device has ended
    speed = sum(step.read for step in done) / (time.perf_counter() - start)
    peak = f", {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB" if on_gpu else ""
    return f"{speed:,.0f} tokens a second{peak}"


def main(where: str = "cuda", folder: str | None = None) -> int:
    if where == "cuda" and not torch.cuda.is_available():
        raise UserError("--gpu: there is no CUDA device here")
    gpu = Device(where, "bf16")
    card = torch.cuda.get_device_name() if where == "cuda" else "cpu"
    print(f"{card}; torch {torch.__version__}; bf16; {time.strftime('%Y-%m-%d')}")
    for name in ("sft", "ift", "dpo", "grpo"):
        same_as_cpu(name, gpu)
    scaler(gpu)
    resume(gpu)
    compiled(gpu)
    for subject in (nano(), *([real(folder)] if folder else [])):
        for name in ("sft", "ift", "dpo", "grpo"):
            print(f"{subject.folder}: {name}, {subject.rows} rows a step, "
                  f"{cost(name, subject, gpu)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(command(lambda argv: main(*sys.argv[1:2])))
