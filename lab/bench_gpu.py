"""One GPU in one command: numbers, speed and memory.

    python -m lab.bench --gpu --out out/gpu.json                # one CUDA device; needs only torch
    python -m lab.bench --gpu --shape tiny --out out/try.json   # the same parts, tiny, anywhere

objectives   five steps of every objective of the registry, on the device in fp32 (no TF32) and in
             half precision, against the same steps on the CPU in fp32: all finite; in fp32 loss and
             gradient norm equal to TOLERANCE
speed        SFT, IFT and DPO, 16 sequences of 1,024 tokens: tokens a second, MFU, peak memory; in
             half precision, in fp32 (TF32, as train has it), and in half precision compiled, with
             the seconds that it took to compile
waits        one of these steps in torch.profiler: how often somebody asks for a number (on a CPU
             AdamW does so for each tensor), how often the CPU waits for the GPU, and the share of
             the time in which the GPU works
sampling     256 answers of 128 tokens, as in a rollout of GRPO: tokens a second, peak memory
grpo         whole steps of GRPO (sample, measure, train) with the vocabulary of Qwen, 151,936
             tokens, answers of 512; then with GPT-2's own, 124M parameters from scratch, which
             fits where that does not: answer tokens a second, peak memory
The memory of the loss: python -m lab.bench --device cuda --only memory.
Each part is on its own: one that fails is reported in its place, and the others go on; after 8
minutes none begins. The file is written after each. Half precision is bf16, on a GPU without bf16
fp16.
"""
import copy
import gc
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch.profiler import profile

from lab.bench_steps import Clock, Learner, random_rows, settings
from nanouft import world
from nanouft.data.batches import Epochs, collate, encode
from nanouft.data.rows import demo_rows
from nanouft.data.tokenizer import Tokenizer, nano
from nanouft.errors import UserError
from nanouft.gpt import GPT, GPT2, GPTConfig
from nanouft.loop import DTYPES, Device, steps
from nanouft.models.load import start_model
from nanouft.models.save import add_value_head
from nanouft.objective import Batch
from nanouft.objectives import OBJECTIVES, neftune
from nanouft.objectives import grpo as grpo_file
from nanouft.reference import Models, add_columns
from nanouft.run import devices
from nanouft.run.storage import write_json
from nanouft.run.words import one_line
from nanouft.sampling import Rollouts, as_if_sampled, generate
from nanouft.seeds import uniform_rows

SECONDS = 480
WAITS = ("cudaStreamSynchronize", "cudaEventSynchronize", "cudaMemcpy")
# of loss and gradient norm in each of five steps, fp32 against fp32, relative above 1
TOLERANCE = 1e-3
CPU = Device("cpu", "fp32")
# Dense bf16 FLOPs a second, NVIDIA's data sheets of A100, H100 and H200 (theirs are with sparsity:
# twice as much). The first name that fits counts. TF32 has half.
PEAK = {"H200 NVL": 835e12, "H200": 989e12, "H100 NVL": 835e12, "H100 PCIe": 756e12, "H100": 989e12,
        "A100": 312e12}
QWEN = 151_936                          # tokens of its vocabulary
FORWARDS = {"sft": 1, "ift": 2, "dpo": 1}  # of a step; a backward, over one of them, costs two more


@dataclass
class Shape:
    gpt: GPTConfig
    rows: int = 16          # sequences of a step (a pair is two)
    length: int = 1024      # tokens of each, all of them paid for but the first
    steps: int = 20         # timed steps
    answers: int = 256      # in the part "sampling"
    new: int = 128          # tokens of each
    prompts: int = 4        # of a step of GRPO, four answers each
    long: int = 512         # tokens of each answer


SHAPES = {"gpt2": Shape(GPT2),
          "tiny": Shape(GPTConfig(n_ctx=64, n_layer=1, n_head=2, n_embd=16), 2, 32, 2, 8, 4, 2, 8)}


@dataclass
class Bench:
    shape: Shape
    device: Device          # in half precision
    fp32: Device            # the same in fp32

    def model(self, device: str = "") -> GPT:
        return GPT(replace(self.shape.gpt), seed=0).to(device or self.device.name)


# ---- the parts -----------------------------------------------------------------------------------
def objectives(b: Bench) -> dict:
    """A model of NanoWorld, since its rows are real and a CPU is fast enough: the shipped base."""
    each = {name: attempt(partial(compared, b, name)) for name in OBJECTIVES}
    return {"tolerance": TOLERANCE,
            "equal": f"{sum(x.get('ok', False) for x in each.values())} of {len(each)}",
            "each": each}


def compared(b: Bench, name: str) -> dict:
    """Five steps of one objective on three arms, without TF32: fp32 is fp32. `gap`: the largest of
    loss and gradient norm, fp32 against the CPU."""
    base = b.model("cpu") if b.shape is SHAPES["tiny"] else start_model("base")[0]
    if OBJECTIVES[name].value_head:
        add_value_head(base, "base")
    batches = five(name, base, nano())
    seen, precision = [], torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        for device in (CPU, b.fp32, b.device):
            learner = Learner(name, copy.deepcopy(base).to(device.name), device)
            with mock.patch.object(neftune, "uniform_rows", drawn_on_cpu):
                seen.append([[float(x) for x in learner.step(batch)] for batch in batches])
    finally:
        torch.set_float32_matmul_precision(precision)

    def gap(arm: list) -> float:
        gaps = [abs(x - y) / max(1, abs(y)) for got, want in zip(arm, seen[0])
                for x, y in zip(got, want)]
        # max() of a NaN may be anything
        return max(gaps) if all(map(math.isfinite, gaps)) else math.inf
    half = gap(seen[2])
    return {"ok": gap(seen[1]) <= TOLERANCE and half < math.inf, "gap": gap(seen[1]),
            f"gap_{b.device.dtype}": half}


def drawn_on_cpu(batch: Batch, B: int, T: int, device="cpu") -> torch.Tensor:
    """A GPU's own noise would be other noise."""
    return uniform_rows(batch, B, T).to(device)


def five(name: str, model: GPT, tok: Tokenizer) -> list[Batch]:
    """Batches of an objective, made on the CPU. On-policy: given answers as if they had been
    sampled, five times."""
    objective, hp = OBJECTIVES[name], settings(name)
    if objective.on_policy:
        rows = demo_rows(world.rows("train", "demos", 4 * hp.samples, 0), hp)
        answers, _ = encode(rows, tok, model.cfg.n_ctx)
        answers = answers[:len(answers) // hp.samples * hp.samples]
        rewards = [(7 * i % 11) / 11 for i in range(len(answers))]
        return [as_if_sampled(answers, rewards, objective, hp, model, tok.pad, CPU)] * 5
    encoded, _ = encode(objective.rows(world.mixed_rows("train", objective.kinds(hp), 40, 0), hp),
                        tok, model.cfg.n_ctx)
    add_columns(encoded, objective.columns, Models(model, tok.pad, CPU, start_model), hp)
    encoded = objective.arrange(encoded, 0) if objective.arrange else encoded
    source = Epochs(encoded, 8, 5, 0, tok.pad)
    return [replace(source(i), seed=i) for i in range(5)]


def step_of(b: Bench, name: str, device: Device, compile: str = "off") -> tuple[Learner, Batch]:
    model = b.model()
    n = b.shape.rows // (2 if name == "dpo" else 1)
    batch = collate(random_rows(name, n, 1, b.shape.length, model.cfg.vocab_size), range(n), 0)
    return Learner(name, devices.compiled(model, compile, device, b.shape.steps), device), batch


def speed(b: Bench, name: str, device: Device, compile: str = "off") -> dict:
    learner, batch = step_of(b, name, device, compile)
    clock = Clock(device)
    for _ in range(3):                                          # warms up
        learner.step(batch)
    first = clock.seconds()
    for _ in range(b.shape.steps):
        loss, _ = learner.step(batch)
    tokens_per_s = b.shape.steps * sum(batch.real_tokens.values()) / clock.seconds()
    torch._dynamo.reset()
    if not math.isfinite(loss):
        raise ValueError(f"the loss is {loss.item()}")
    plain = getattr(learner.model, "_orig_mod", learner.model)
    return {"tokens_per_s": tokens_per_s,
            "mfu": mfu(plain, name, b.shape.length, tokens_per_s, device),
            **({"compiled_s": first} if compile == "on" else {})}


def waits(b: Bench, name: str) -> dict:
    """Of one step. Reading a number makes the CPU wait until the GPU has come so far."""
    learner, batch = step_of(b, name, b.device)
    learner.step(batch)
    clock = Clock(b.device)
    with profile() as seen:
        learner.step(batch)
        wall = clock.seconds()
    events = seen.key_averages()
    busy = (sum(e.self_device_time_total for e in events if e.device_type.name == "CUDA") / 1e6
            / wall)
    return {"asked": sum(e.count for e in events if e.key == "aten::_local_scalar_dense"),
            "waited": sum(e.count for e in events if e.key in WAITS),
            "busy": busy if b.device.kind == "cuda" else None}


def mfu(model: GPT, name: str, T: int, tokens_per_s: float, device: Device) -> float | None:
    """Model FLOPs utilisation (PaLM, arXiv:2204.02311, appendix B): a token costs 6 N + 12 L C T
    operations, forward and backward; N counts the weights that multiply (the tied embedding as the
    head, positions not), and attention counts whole squares. A forward alone is a third. None for a
    device whose peak is not in PEAK."""
    flops = peak_flops(device)
    if flops is None or device.dtype == "fp16":
        return None
    forward = (2 * (model.n_params() - model.wpe.weight.numel())
               + 4 * model.cfg.n_layer * model.cfg.n_embd * T)
    peak = flops if device.dtype == "bf16" else flops / 2
    return (FORWARDS[name] + 2) * forward * tokens_per_s / peak


def peak_flops(device: Device) -> float | None:
    name = torch.cuda.get_device_name() if device.kind == "cuda" else ""
    return next((flops for key, flops in PEAK.items() if key in name and "MIG" not in name), None)


def sampling(b: Bench, device: Device) -> dict:
    tok, model = nano(), b.model().to(DTYPES[device.dtype])
    rows = random_rows("grpo", b.shape.answers, min(64, b.shape.length), 0, model.cfg.vocab_size)
    prompts = [row.seqs["prompt"].ids.tolist() for row in rows]
    for _ in range(2):                                          # the first time warms up
        clock = Clock(device)
        generate(model, prompts, stop=-1, pad=tok.pad, max_new=b.shape.new, temperature=1.0)
    return {"tokens_per_s": len(prompts) * b.shape.new / clock.seconds()}


def grpo(b: Bench, vocab: int) -> dict:
    """Two steps, the second one timed. No answer stops; every other one earns 1."""
    objective, device, n = grpo_file.OBJECTIVE, b.device, b.shape.prompts
    hp, model = objective.hp(), GPT(replace(b.shape.gpt, vocab_size=vocab), seed=0).to(device.name)
    start = copy.deepcopy(model).requires_grad_(False)
    asked = random_rows("grpo", n, min(64, b.shape.length), 0, vocab)
    tok: Any = SimpleNamespace(decode=lambda ids: "", stops={-1}, pad=0, user=-1, assistant=-1)
    source = Rollouts(asked, objective, hp, model, start, tok,
                      lambda rows, texts: np.arange(len(texts)) % 2, rows=n, steps=2,
                      max_new=b.shape.long, device=device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6)
    clock = Clock(device)
    for step in steps(model, objective, hp, source, optimizer, range(2), device=device):
        seconds = clock.seconds()                               # since the last call
    return {"tokens_per_s": step.tokens / seconds, "loss": float(step.sums["loss"]),
            "step_s": seconds}


def parts(b: Bench) -> dict[str, Callable[[], dict]]:
    arms = (b.device, b.fp32)
    timed = {f"speed {name} {d.dtype}": partial(speed, b, name, d) for d in arms
             for name in FORWARDS}
    asked = {f"waits {name}": partial(waits, b, name) for name in FORWARDS}
    drawn = {f"sampling {d.dtype}": partial(sampling, b, d) for d in arms}
    compiled = {f"speed {name} {b.device.dtype} compiled": partial(speed, b, name, b.device, "on")
                for name in FORWARDS}
    rl = {f"grpo V {vocab:,}": partial(grpo, b, vocab) for vocab in (QWEN, GPT2.vocab_size)}
    return {"objectives": partial(objectives, b), **timed, **asked, **drawn, **rl, **compiled}


# ---- the command ---------------------------------------------------------------------------------
def measure(shape: str, device: Device, out: str | None) -> int:
    """0 if every part has its figures, and every objective is finite and equal to the CPU."""
    if device.kind != "cuda" and shape != "tiny":
        raise UserError("--gpu: there is no CUDA device here; --shape tiny tries the command on "
                        "this one")
    half = "bf16" if device.kind != "cuda" or device.dtype == "fp32" else device.dtype
    b = Bench(SHAPES[shape], replace(device, dtype=half), replace(device, dtype="fp32"))
    name = torch.cuda.get_device_name() if device.kind == "cuda" else device.name
    result = {"device": name, "torch": torch.__version__, "python": sys.version.split()[0],
              "shape": shape, "date": time.strftime("%Y-%m-%d"), "parts": {}}
    print(f"{name}, torch {torch.__version__}, shape {shape}"
          + ("; no MFU, for its peak is not known (PEAK in lab/bench_gpu.py)"
             if peak_flops(device) is None else ""))
    end = time.perf_counter() + SECONDS
    for part, work in parts(b).items():
        found = result["parts"][part] = attempt(work, end)
        print(f"{part:<26} {figures(found)}", flush=True)
        if out:
            Path(out).parent.mkdir(parents=True, exist_ok=True)
            write_json(Path(out), result)
    missing = [part for part, found in result["parts"].items() if "error" in found]
    wrong = [n for n, one in result["parts"]["objectives"].get("each", {}).items()
             if not one.get("ok")]
    print(f"without figures, or not all: {', '.join(missing) or 'none'}; not equal to the CPU, or "
          f"not finite: {', '.join(wrong) or 'none'}")
    return 1 if missing or wrong else 0


def attempt(part: Callable[[], dict], end: float = math.inf) -> dict:
    """The figures of a part and, on a GPU, the most memory that its tensors took; or in "error" why
    there are none."""
    start = time.perf_counter()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    try:
        found = part() if start < end else {"error": f"not begun: {SECONDS} s are over"}
    except Exception as e:
        found = {"error": one_line(f"{type(e).__name__}: {e}")}
    if torch.cuda.is_available():
        found["peak_gib"] = torch.cuda.max_memory_allocated() / 2**30
        gc.collect()  # what failed may hold tensors in a circle
        torch.cuda.empty_cache()
    return {**found, "seconds": time.perf_counter() - start}


def figures(found: dict) -> str:
    shown = {k: f"{v:.4g}" if isinstance(v, float) else str(v) for k, v in found.items()
             if v is not None and not isinstance(v, (dict, list))}
    return ", ".join(f"{k} {v}" for k, v in shown.items())
