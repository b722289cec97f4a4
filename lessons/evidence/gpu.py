"""What to run first on a GPU: ten checks, then what a model of 124M parameters costs there.

    python -m lessons.evidence.bench --gpu      # one CUDA device, 2 to 4 minutes
    python -m lessons.evidence.gpu cpu          # the same lines with a tiny model, to try the code

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
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor
from torch._dynamo.utils import counters

from nanouft import train, world
from nanouft.batches import Encoded, Epochs, Tokens, collate, encode
from nanouft.errors import UserError, command
from nanouft.gpt import GPT, GPT2, GPTConfig
from nanouft.loop import Device, steps
from nanouft.models import start_model
from nanouft.objective import Batch
from nanouft.objectives import OBJECTIVES
from nanouft.reference import Models
from nanouft.rows import Row
from nanouft.sampling import Rollouts

TINY = GPTConfig(n_ctx=64, n_layer=1, n_head=2, n_embd=16)
# dense bf16 operations a second, from the makers' data sheets; the first name that fits counts
PEAK = {"H200": 989e12, "H100 PCIe": 756e12, "H100": 989e12, "A100": 312e12, "4090": 165e12,
        "L4": 121e12}
Figures = Callable[[int], Tensor]       # k -> (k, 2): loss and gradient norm of the next k steps


def report(what: str, fine: bool, told: str) -> None:
    print(f"{'ok  ' if fine else 'LOOK'}  {what:<16} {told}", flush=True)


# ---- steps that can be compared ------------------------------------------------------------------
def batches_of(name: str, n: int = 6) -> list[Batch]:
    """n steps of an objective on NanoWorld, made once, on the CPU and in fp32: every device sees
    the same numbers."""
    (model, tok), objective = start_model("base"), OBJECTIVES[name]
    hp = objective.hp()
    rows = objective.choose(world.mixed_rows("train", objective.kinds(hp), 32 * n, 0), hp)
    data, _ = encode(rows, tok, 400)
    if not objective.on_policy:
        data = Models(model, tok.pad).prepare(data, objective, hp)
        source = Epochs(data, 32, n, 0, tok.pad)
        return [source(i) for i in range(n)]
    source = Rollouts(data, objective, hp, model, copy.deepcopy(model), tok, world.exact_scores,
                      batch_size=8, steps=n)
    made = [source(i) for i in range(n)]
    for batch in made:                                  # as in the first step on a rollout
        batch.seqs["answer"].sampled_logp = None
    return made


def learner(name: str, device: Device, batches: list[Batch], model: GPT | None = None,
            compile: bool = False) -> tuple[GPT, Figures]:
    """A model, and a function that makes its next steps."""
    model = (model or start_model("base")[0]).to(device.name)
    if compile:
        torch._dynamo.reset()
    net = torch.compile(model, dynamic=True) if compile else model
    objective = OBJECTIVES[name]
    run = steps(net, objective, objective.hp(), lambda i: batches[i % len(batches)],
                train.make_optimizer(model, 2.5e-4, device), range(999), clip=1.0,
                device=device)
    return model, lambda k: torch.stack([torch.stack([step.sums["loss"], step.norm]).float()
                                         for _, step in zip(range(k), run)])


def gaps(found: Tensor, wanted: Tensor) -> tuple[float, float]:
    """The largest relative gap of loss and of gradient norm."""
    loss, norm = ((found.cpu() - wanted.cpu()).abs() / wanted.cpu().abs().clamp_min(1)).amax(0)
    return float(loss), float(norm)


# ---- checks 1 to 7 -------------------------------------------------------------------------------
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


# ---- the table, and checks 8 to 10 ---------------------------------------------------------------
@dataclass
class Cost:
    tokens_per_s: float
    mfu: float              # share of the card's peak; nan where it is not known
    peak_gib: float


def measured(device: Device, work: Callable[[], float], flops_per_token: float) -> Cost:
    """`work` returns how many tokens it handled; it runs once before the clock starts."""
    work()
    if device.kind == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    tokens = work()
    if device.kind == "cuda":
        torch.cuda.synchronize()
    speed = tokens / (time.perf_counter() - start)
    card = torch.cuda.get_device_name() if device.kind == "cuda" else "cpu"
    peak = next((value for name, value in PEAK.items() if name in card), float("nan"))
    memory = torch.cuda.max_memory_allocated() / 2**30 if device.kind == "cuda" else 0.0
    return Cost(speed, speed * flops_per_token / peak, memory)


def step_cost(name: str, shape: GPTConfig, device: Device, rows: int, compile: bool = False,
              n: int = 20) -> Cost:
    """Steps on one batch of random rows of full length. A token costs 6 N operations and attention
    12 L C T (PaLM, arXiv:2204.02311, appendix B); IFT's second forward a third more."""
    T = shape.n_ctx
    ids = np.random.default_rng(0).integers(0, shape.vocab_size, (rows, T), np.int32)
    mask = np.array([0] + [1] * (T - 1), np.int8)

    def tokens(row: np.ndarray) -> Tokens:
        return Tokens(row, mask, ref_logp=np.zeros(T - 1, np.float32))
    if name == "dpo":
        data = [Encoded({"chosen": tokens(a), "rejected": tokens(b)}, Row())
                for a, b in zip(ids[::2], ids[1::2])]
    else:
        data = [Encoded({"answer": tokens(row)}, Row()) for row in ids]
    batch = collate(data, range(len(data)), 0)
    model, go = learner(name, device, [batch], GPT(replace(shape), seed=0), compile)

    def work() -> float:
        go(n).tolist()
        return n * rows * (T - 1)
    weights = model.n_params() - model.wpe.weight.numel()
    forward = 2 * weights + 4 * shape.n_layer * shape.n_embd * T
    return measured(device, work, forward * (4 if name == "ift" else 3))


def grpo_cost(shape: GPTConfig, device: Device, prompts: int = 4) -> Cost:
    """Whole steps of GRPO: four answers to each prompt, half as long as the context, that never
    stop; every other one is rewarded. Tokens are those of the answers."""
    objective, half = OBJECTIVES["grpo"], shape.n_ctx // 2
    model = GPT(replace(shape), seed=0).to(device.name)
    asked = [Encoded({"prompt": Tokens(np.arange(half // 2, dtype=np.int32),
                                       np.zeros(half // 2, np.int8))}, Row())
             for _ in range(prompts)]
    tok = SimpleNamespace(decode=lambda ids: "", stops={-1}, pad=0, user=-1, assistant=-1)
    source = Rollouts(asked, objective, objective.hp(), model,
                      copy.deepcopy(model).requires_grad_(False), tok,
                      lambda rows, texts: np.arange(len(texts)) % 2, batch_size=prompts, steps=2,
                      max_new=half, device=device)
    run = steps(model, objective, objective.hp(), source,
                train.make_optimizer(model, 1e-6, device), range(2), device=device)
    return measured(device, lambda: next(run).tokens, float("nan"))


def table(gpu: Device) -> dict[str, Cost]:
    shape, rows = (GPT2, 16) if gpu.kind == "cuda" else (TINY, 4)
    out = {"SFT": step_cost("sft", shape, gpu, rows),
           "SFT compiled": step_cost("sft", shape, gpu, rows, compile=True),
           "IFT": step_cost("ift", shape, gpu, rows),
           "IFT compiled": step_cost("ift", shape, gpu, rows, compile=True),
           "DPO": step_cost("dpo", shape, gpu, rows),
           "GRPO with sampling": grpo_cost(shape, gpu)}
    eager, quick = out["SFT"], out["SFT compiled"]
    report("peak memory", eager.peak_gib < 24,
           f"{eager.peak_gib:.1f} GiB eager, {quick.peak_gib:.1f} compiled")
    report("tokens a second", quick.tokens_per_s > eager.tokens_per_s,
           f"{eager.tokens_per_s:,.0f} eager, {quick.tokens_per_s:,.0f} compiled")
    report("MFU", not quick.mfu < 0.3, f"{quick.mfu:.0%} compiled; 30 to 45 % is usual "
           "(nan: the peak of this card is not known)")
    return out


def main(where: str = "cuda") -> int:
    if where == "cuda" and not torch.cuda.is_available():
        raise UserError("--gpu: there is no CUDA device here")
    gpu = Device(where, "bf16")
    card = torch.cuda.get_device_name() if where == "cuda" else "cpu, a tiny model"
    print(f"{card}; torch {torch.__version__}; bf16; {time.strftime('%Y-%m-%d')}")
    for name in ("sft", "ift", "dpo", "grpo"):
        same_as_cpu(name, gpu)
    scaler(gpu)
    resume(gpu)
    compiled(gpu)
    print("\n| step | tokens a second | MFU | peak GiB |\n|---|---|---|---|\n" + "\n".join(
        f"| {name} | {cost.tokens_per_s:,.0f} | {cost.mfu:.0%} | {cost.peak_gib:.1f} |"
        for name, cost in table(gpu).items()))
    return 0


if __name__ == "__main__":
    sys.exit(command(lambda argv: main(*sys.argv[1:2])))
