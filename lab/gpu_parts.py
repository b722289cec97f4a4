"""What `bench --gpu` measures (bench_gpu.py says what each part is): objectives, speed, memory, sampling, numerics.

    out = {}
    part = parts(Bench(SHAPES["tiny"], ...))["speed sft bf16 eager"]
    part(out)                                                           # fills `out` as it goes
"""
import contextlib
import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F

from lab.bench_steps import Clock, Learner, random_rows, rollout, sample, settings
from nanouft import world
from nanouft.data.batches import Epochs, collate, encode
from nanouft.data.rows import demo_rows
from nanouft.data.tokenizer import Tokenizer
from nanouft.gpt import GPT, GPT2, GPTConfig
from nanouft.models.load import start_model
from nanouft.models.save import add_value_head
from nanouft.objective import Batch
from nanouft.objectives import OBJECTIVES
from nanouft.reference import add_columns
from nanouft.rollout.rollouts import as_if_sampled
from nanouft.shell.devices import Device
from nanouft.shell.text import one_line

TOLERANCE = 1e-3            # of loss and gradient norm in each of five steps, fp32 against fp32, relative above 1
CPU = Device("cpu", "fp32")
# Dense bf16 FLOPs a second, NVIDIA's data sheets of A100, H100 and H200 (theirs are with sparsity: twice as much). The
# first name that fits counts. TF32 has half.
PEAK = {"H200 NVL": 835e12, "H200": 989e12, "H100 NVL": 835e12, "H100 PCIe": 756e12, "H100": 989e12, "A100": 312e12}
FORWARDS = {"sft": 1, "ift": 2, "dpo": 1}           # of a step; a backward, over one of them, costs two more


@dataclass
class Shape:
    gpt: GPTConfig
    rows: int = 16          # sequences of a step (a pair is two)
    length: int = 1024      # tokens of each, all of them paid for but the first
    steps: int = 20         # timed steps
    states: int = 8192      # in the part "loss"
    prompts: int = 64       # in the part "rollout"
    new: int = 128
    curve: int = 50         # steps in the part "numerics"


SHAPES = {"gpt2": Shape(GPT2),
          "tiny": Shape(GPTConfig(n_ctx=64, n_layer=1, n_head=2, n_embd=16), 2, 32, 2, 64, 2, 4, 3)}


@dataclass
class Bench:
    shape: Shape
    tiny: bool
    device: Device          # in half precision
    fp32: Device            # the same in fp32

    def model(self, device: str = "") -> GPT:
        return GPT(replace(self.shape.gpt), seed=0).to(device or self.device.name)


# ---- the parts: each fills `out` as it goes --------------------------------------------------------------------------
def objectives(b: Bench, out: dict) -> None:
    """A model of NanoWorld, since its rows are real and a CPU is fast enough: the shipped base."""
    tok, equal = Tokenizer.load("nano"), 0
    out |= {"tolerance": TOLERANCE, "equal": "", "each": {}}
    for name in OBJECTIVES:
        try:
            out["each"][name] = compared(b, name, tok)
        except Exception as e:
            out["each"][name] = {"ok": False, "error": error_line(e)}
        equal += out["each"][name]["ok"]
        out["equal"] = f"{equal} of {len(OBJECTIVES)}"


def compared(b: Bench, name: str, tok: Tokenizer) -> dict:
    """Five steps of one objective on three arms. `gap`: the largest of loss and gradient norm, fp32 against the CPU."""
    base = b.model("cpu") if b.tiny else start_model("base")[0]
    if OBJECTIVES[name].value_head:
        add_value_head(base, "base")
    batches = five(name, base, tok)
    seen = []
    for device in (CPU, b.fp32, b.device):
        learner = Learner(name, copy.deepcopy(base).to(device.name), device)
        with exact_products():
            seen.append([[float(x) for x in learner.step(batch)] for batch in batches])

    def gap(arm: list) -> float:
        gaps = [abs(x - y) / max(1, abs(y)) for got, want in zip(arm, seen[0]) for x, y in zip(got, want)]
        return max(gaps) if all(map(math.isfinite, gaps)) else math.inf        # max() of a NaN may be anything
    half = gap(seen[2])
    return {"ok": gap(seen[1]) <= TOLERANCE and half < math.inf, "gap": gap(seen[1]), f"gap_{b.device.dtype}": half}


def five(name: str, model: GPT, tok: Tokenizer) -> list[Batch]:
    """Batches of an objective, made on the CPU. On-policy: given answers as if they had been sampled, five times."""
    objective, hp = OBJECTIVES[name], settings(name)
    if objective.on_policy:
        rows = demo_rows(world.rows("train", "demos", 4 * hp.samples, 0), hp)
        answers, _ = encode(rows, tok, model.cfg.n_ctx)
        answers = answers[:len(answers) // hp.samples * hp.samples]
        rewards = [(7 * i % 11) / 11 for i in range(len(answers))]
        return [as_if_sampled(answers, rewards, objective, hp, model, tok.pad, CPU)] * 5
    encoded, _ = encode(objective.rows(world.mixed_rows("train", objective.kinds(hp), 40, 0), hp), tok, model.cfg.n_ctx)
    add_columns(encoded, objective.columns, model, tok.pad, CPU, hp)
    encoded = objective.arrange(encoded, 0) if objective.arrange else encoded
    source = Epochs(encoded, 8, 5, 0, tok.pad)
    return [replace(source(i), seed=i) for i in range(5)]


def speed(b: Bench, out: dict, name: str, device: Device, compile: str) -> None:
    model = b.model()
    learner = Learner(name, model, device, compile=compile)
    if compile == "on":
        torch._dynamo.config.suppress_errors = False            # an eager run shall not be reported as a compiled one
    n = b.shape.rows // (2 if name == "dpo" else 1)
    batch = collate(random_rows(name, n, 1, b.shape.length, model.cfg.vocab_size), range(n), 0)
    clock = Clock(device)
    for _ in range(3):
        learner.step(batch)
    out["first_steps_s"] = clock.seconds()
    reset_peak(device)
    for _ in range(b.shape.steps):
        loss, _ = learner.step(batch)
    tokens = b.shape.steps * sum(batch.attended.values())
    out["tokens_per_s"] = tokens / clock.seconds()
    out["mfu"] = mfu(model, name, b.shape.length, out["tokens_per_s"], device)
    out["peak_gib"] = peak(device)
    if not math.isfinite(loss):
        raise ValueError(f"the loss is {loss.item()}")


def mfu(model: GPT, name: str, T: int, tokens_per_s: float, device: Device) -> float | None:
    """Model FLOPs utilisation (PaLM, arXiv:2204.02311, appendix B): a token costs 6 N + 12 L C T operations, forward
    and backward; N counts the weights that multiply (the tied embedding as the head, positions not), and attention
    counts whole squares. A forward alone is a third. None for a device whose peak is not in PEAK."""
    flops = peak_flops(device)
    if flops is None or device.dtype == "fp16":
        return None
    forward = 2 * (model.n_params() - model.wpe.weight.numel()) + 4 * model.cfg.n_layer * model.cfg.n_embd * T
    return (FORWARDS[name] + 2) * forward * tokens_per_s / (flops if device.dtype == "bf16" else flops / 2)


def peak_flops(device: Device) -> float | None:
    name = torch.cuda.get_device_name() if device.kind == "cuda" else ""
    return next((flops for key, flops in PEAK.items() if key in name and "MIG" not in name), None)


def loss_memory(b: Bench, out: dict) -> None:
    model = b.model()
    V, C = model.cfg.vocab_size, model.cfg.n_embd
    hidden = torch.randn(1, b.shape.states, C, device=b.device.name, requires_grad=True)
    targets = torch.randint(0, V, (1, b.shape.states), device=b.device.name)

    def ours() -> torch.Tensor:
        return -model(hidden=hidden, want="logp", targets=targets).mean()

    def plain() -> torch.Tensor:
        return F.cross_entropy(model(hidden=hidden)[0].float(), targets[0])
    out["logits_in_fp32_gib"] = 4 * V * b.shape.states / 2**30
    for device in (b.device, b.fp32):
        for what, loss in (("ours", ours), ("cross_entropy", plain)):
            model.zero_grad(set_to_none=True)
            hidden.grad = None
            reset_peak(device)
            before = peak(device)
            with device.autocast():
                value = loss()
            value.backward()
            out[f"{what}_{device.dtype}_gib"] = None if before is None else peak(device) - before
            del value


def rollouts(b: Bench, out: dict) -> None:
    """Tokens are those of the answers. Sampling is in fp32 whatever --dtype says, as in training."""
    tok, model = Tokenizer.load("nano"), b.model()
    learner, start = Learner("grpo", model, b.device), copy.deepcopy(model).requires_grad_(False)
    prompts = random_rows("grpo", b.shape.prompts, min(64, b.shape.length), 0, model.cfg.vocab_size)
    answers = b.shape.prompts * learner.hp.samples
    for _ in range(2):                                          # the first time warms up
        clock, times = Clock(b.device), {}
        asked, said = sample(model, prompts, learner.hp.samples, b.shape.new, tok)
        times["sampling"] = clock.seconds()
        batch = rollout(learner, start, asked, said, tok)
        times["look"] = clock.seconds()
        learner.step(batch)
        times["step"] = clock.seconds()
    out |= {f"{what}_tokens_per_s": answers * b.shape.new / s for what, s in times.items()}
    out["tokens_per_s"] = answers * b.shape.new / sum(times.values())
    out["peak_gib"] = peak(b.device)


def numerics(b: Bench, out: dict, name: str) -> None:
    """Gaps are |loss - loss in fp32|, in the unit of the loss: the largest, and the mean of the last ten steps."""
    tok, objective, hp = Tokenizer.load("nano"), OBJECTIVES[name], settings(name)
    encoded, _ = encode(objective.rows(world.rows("train", objective.kinds(hp)[0], 256, 0), hp), tok, b.shape.gpt.n_ctx)
    add_columns(encoded, objective.columns, b.model(), tok.pad, b.fp32, hp)
    source = Epochs(encoded, 32, b.shape.curve, 0, tok.pad)
    batches = [replace(source(i), seed=i) for i in range(b.shape.curve)]
    arms = {"fp32": b.fp32, "tf32": b.fp32, b.device.dtype: b.device}
    if b.device.kind != "cuda":
        del arms["tf32"]
    for arm, device in arms.items():
        learner = Learner(name, b.model(), device)
        with exact_products() if arm == "fp32" else contextlib.nullcontext():
            curve = torch.stack([learner.step(batch)[0].float() for batch in batches]).tolist()
        out[f"{arm}_losses"] = curve
        if arm != "fp32":
            gaps = [abs(x - y) for x, y in zip(curve, out["fp32_losses"])]
            out |= {f"{arm}_largest_gap": max(gaps), f"{arm}_last_gap": sum(gaps[-10:]) / len(gaps[-10:])}
    if not all(math.isfinite(x) for arm in arms for x in out[f"{arm}_losses"]):
        raise ValueError("a loss is not finite")


def parts(b: Bench) -> dict[str, Callable[[dict], None]]:
    """By worth: what comes last is what may find no time."""
    methods, arms = tuple(FORWARDS), (b.device, b.fp32)
    def timed(device: Device, compile: str) -> dict:
        how = "compiled" if compile == "on" else "eager"
        return {f"speed {name} {device.dtype} {how}": lambda out, name=name: speed(b, out, name, device, compile)
                for name in methods}
    return {"objectives": lambda out: objectives(b, out), **timed(arms[0], "off"), **timed(arms[1], "off"),
            "loss": lambda out: loss_memory(b, out), "rollout grpo": lambda out: rollouts(b, out),
            **{f"numerics {name}": lambda out, name=name: numerics(b, out, name) for name in methods},
            **timed(arms[0], "on"), **timed(arms[1], "on")}


# ---- memory, precision, errors ---------------------------------------------------------------------------------------
def reset_peak(device: Device) -> None:
    if device.kind == "cuda":
        torch.cuda.reset_peak_memory_stats()


def peak(device: Device) -> float | None:
    """GiB of tensors at the worst moment since reset_peak; a CPU does not say."""
    return torch.cuda.max_memory_allocated() / 2**30 if device.kind == "cuda" else None


@contextlib.contextmanager
def exact_products() -> Iterator[None]:
    """No TF32: fp32 is fp32."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def error_line(e: Exception) -> str:
    return one_line(f"{type(e).__name__}: {e}")
