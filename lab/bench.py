"""Speed and memory, as ratios of arms in one run on one machine; or one GPU, in numbers of its own.

    python -m lab.bench --quick --threads 1 --out out/bench.json    # a minute or two, one idle core
    python -m lab.bench --only step ift                             # some parts
    python -m lab.bench --gpu --out out/gpu.json                    # one CUDA device; only torch
    python -m lab.bench --gpu --shape tiny                          # the same parts, tiny, anywhere

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

With --gpu:
objectives  three steps of every objective, in fp32 and half precision, against the CPU's (but for
            equal numbers of methods that draw some on the device: their own samples, or noise)
speed       tokens a second, MFU and peak memory of SFT and IFT at 124M parameters
rollout     256 answers of 128 tokens, as in GRPO: tokens a second
grpo        whole steps of GRPO, answers of 512 tokens, with the vocabularies of Qwen and GPT-2
A part that fails is reported in its place, and the others go on; after 8 minutes none begins.
"""
import copy
import itertools
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lab import bench_others
from lab.cell import Cell, kept_model, quiet
from nanouft import train, world
from nanouft.data.batches import Encoded, Epochs, Tokens, collate, encode
from nanouft.data.rows import Row
from nanouft.errors import UserError
from nanouft.gpt import GPT, GPT2, NANO, GPTConfig
from nanouft.loop import DTYPES, Device, steps
from nanouft.models.load import folder_of, start_model
from nanouft.models.save import add_value_head
from nanouft.objective import Batch
from nanouft.objectives import OBJECTIVES, grpo
from nanouft.reference import Models, add_columns
from nanouft.rewards.scorer import exact, score_rows
from nanouft.run import config, devices
from nanouft.run.flags import Train
from nanouft.run.storage import write_json
from nanouft.run.words import choose, one_line
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


# ---- one step, and a clock -----------------------------------------------------------------------
class Learner:
    """A model, and the steps that train.fit makes: one for each batch that it is given."""

    def __init__(self, name: str, model: GPT, device: Device, hp=None):
        objective, self.model = OBJECTIVES[name], model
        optimizer = train.make_optimizer(model, Train(lr=objective.lr), device)
        self.batches: list[Batch] = []
        self.loop = steps(model, objective, hp or settings(name), lambda number: self.batches.pop(),
                          optimizer, itertools.count(), clip=1.0, device=device)

    def step(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """(loss, norm of the gradient); both wait on the device."""
        self.batches.append(batch)
        made = next(self.loop)
        return made.sums["loss"], made.norm


def settings(name: str):
    """Hyper-parameters of an objective; where it asks other models, the shipped base stands for
    each."""
    wanted = OBJECTIVES[name].prerequisite
    return OBJECTIVES[name].hp(**({wanted.setting: ["base"] * len(wanted.commands)}
                                  if wanted else {}))


class Clock:
    """seconds() since the last call; waits for the device first. Of CPU time, where one thread does
    all the work."""

    def __init__(self, device: Device):
        self.device, self.last = device, 0.0
        alone = device.kind == "cpu" and torch.get_num_threads() == 1
        self.now = time.process_time if alone else time.perf_counter
        self.seconds()

    def seconds(self) -> float:
        if self.device.kind == "cuda":
            torch.cuda.synchronize()
        before, self.last = self.last, self.now()
        return self.last - before


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


def stepper(name: str, device: Device, init: str = "base", n: int = 1020) -> Arm:
    """A function that makes optimizer step i of objective `name` on n rows of NanoWorld, as `train`
    would; -> (loss, norm of the gradient)."""
    model, tok = start_model(init)
    objective = OBJECTIVES[name]
    if objective.value_head:
        add_value_head(model, init)
    model.to(device.name)
    cfg, hp = Train(lr=objective.lr), settings(name)
    rows = objective.rows(world.mixed_rows("train", objective.kinds(hp), n, 0), hp)
    encoded, _ = encode(rows, tok, model.cfg.n_ctx - (cfg.max_new if objective.on_policy else 0))

    def opened(folder: str):
        other, its_tok = start_model(folder)
        return other.to(device.name), its_tok
    models = Models(model, tok.pad, device, opened)
    if objective.on_policy:
        start = copy.deepcopy(model).requires_grad_(False)
        source = Rollouts(encoded, objective, hp, model, start, tok, partial(score_rows, exact),
                          rows=cfg.batch_size, steps=96, max_new=cfg.max_new, device=device,
                          others=models.of_columns(objective, hp))
    else:
        add_columns(encoded, objective.columns, models, hp)
        encoded = objective.arrange(encoded, 0) if objective.arrange else encoded
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
        given = {"per_device_train_batch_size": rows, "use_cpu": device.kind == "cpu"}
        try:
            with quiet():
                bench_others.trl_steps(name, tuned(), given, turns + 1, after_step)
        except ImportError:
            return None
        theirs, mine = (np.array(t[1:]) for t in times.values())  # the first turn warms up
        found[f"{name}_trl_over_ours"] = {**over(theirs, mine), "rows_a": rows / np.median(theirs),
                                          "rows_b": rows / np.median(mine)}
    return found


PARTS = {"step": step, "ift": ift, "sampling": partial(answers, new=64, sample=True),
         "decoding": partial(answers, new=32, sample=False), "memory": memory, "trl": trl}


def told(what: str, r: dict) -> str:
    """One figure of a part as a line."""
    if what == "peak":
        return f"peak {r['logp'] / 1e6:.0f} MB over {r['plain'] / 1e6:.0f} MB: {r['ratio']:.2f}"
    line = (f"{what} {r['ratio']:.2f} (quartiles {r['low']:.2f} to {r['high']:.2f}); "
            f"{1000 * r['seconds_a']:.0f} and {1000 * r['seconds_b']:.0f} ms")
    return line + (f"; {r['rows_a']:.0f} and {r['rows_b']:.0f} rows a second"
                   if "rows_a" in r else "")


# ---- one GPU -------------------------------------------------------------------------------------
SECONDS = 480
TOLERANCE = 1e-3    # of loss and gradient norm in each step, fp32 against fp32, relative above 1
CPU = Device("cpu", "fp32")
# Dense bf16 FLOPs a second, NVIDIA's data sheets of A100, H100 and H200 (theirs are with sparsity:
# twice as much). The first name that fits counts. TF32 has half.
PEAK = {"H200 NVL": 835e12, "H200": 989e12, "H100 NVL": 835e12, "H100 PCIe": 756e12, "H100": 989e12,
        "A100": 312e12}
QWEN = 151_936                          # tokens of its vocabulary
FORWARDS = {"sft": 1, "ift": 2}  # of a step; a backward, over one of them, costs two more


@dataclass
class Shape:
    gpt: GPTConfig
    rows: int = 16          # sequences of a step
    length: int = 1024      # tokens of each, all of them paid for but the first
    steps: int = 20         # timed steps
    answers: int = 256      # of a rollout
    new: int = 128          # tokens of each
    prompts: int = 4        # of a step of GRPO, four answers each
    long: int = 512         # tokens of each answer


SHAPES = {"gpt2": Shape(GPT2),
          "tiny": Shape(GPTConfig(n_ctx=64, n_layer=1, n_head=2, n_embd=16), 2, 32, 2, 8, 4, 2, 8)}


def objectives(half: Device, fp32: Device) -> dict:
    """A model of NanoWorld, since its rows are real and a CPU is fast enough: the shipped base."""
    each = {name: attempt(partial(compared, half, fp32, name)) for name in OBJECTIVES}
    return {"ok": f"{sum(x.get('ok', False) for x in each.values())} of {len(each)}", "each": each}


def compared(half: Device, fp32: Device, name: str) -> dict:
    """`gap`: the largest of loss and gradient norm, fp32 against the CPU, without TF32."""
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        arms = [stepper(name, device, n=48) for device in (CPU, fp32, half)]
        cpu, other, low = (np.array([float(x) for i in range(3) for x in arm(i)]) for arm in arms)
    finally:
        torch.set_float32_matmul_precision(precision)
    gap = float(np.max(np.abs(other - cpu) / np.maximum(1, np.abs(cpu))))
    own_numbers = OBJECTIVES[name].on_policy or name == "neftune"
    finite = bool(np.isfinite(np.concatenate([cpu, other, low])).all())
    return {"ok": finite and (own_numbers or gap <= TOLERANCE), "gap": gap}


def speed(shape: Shape, name: str, device: Device, compile: str = "off") -> dict:
    """Tokens a second and MFU of steps on one batch of random rows."""
    model, rng = GPT(replace(shape.gpt), seed=0).to(device.name), np.random.default_rng(0)
    mask = np.array([0] + [1] * shape.length, np.int8)
    ids = rng.integers(0, model.cfg.vocab_size, (shape.rows, shape.length + 1), np.int32)
    batch = collate([Encoded({"answer": Tokens(row, mask, None)}, Row()) for row in ids],
                    range(shape.rows), 0)
    learner = Learner(name, devices.compiled(model, compile, device, shape.steps), device)
    clock = Clock(device)
    for _ in range(3):                                          # warms up
        learner.step(batch)
    first = clock.seconds()
    for _ in range(shape.steps):
        loss, _ = learner.step(batch)
    tokens_per_s = shape.steps * sum(batch.real_tokens.values()) / clock.seconds()
    torch._dynamo.reset()
    if not math.isfinite(loss):
        raise ValueError(f"the loss is {loss.item()}")
    return {"tokens_per_s": tokens_per_s,
            "mfu": mfu(model, name, shape.length, tokens_per_s, device),
            **({"compiled_s": first} if compile == "on" else {})}


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


def rollout(shape: Shape, device: Device) -> dict:
    """Tokens a second of answers that cannot stop."""
    model = GPT(replace(shape.gpt), seed=0).to(device.name).to(DTYPES[device.dtype])
    prompts = [[1 + i % 50] * min(64, shape.length) for i in range(shape.answers)]
    for _ in range(2):                                          # the first time warms up
        clock = Clock(device)
        generate(model, prompts, stop=-1, pad=0, max_new=shape.new, temperature=1.0)
    return {"tokens_per_s": len(prompts) * shape.new / clock.seconds()}


def grpo_step(shape: Shape, device: Device, vocab: int) -> dict:
    """Two steps, the second one timed. No answer stops; every other one earns 1."""
    objective, n = grpo.OBJECTIVE, shape.prompts
    hp, model = objective.hp(), GPT(replace(shape.gpt, vocab_size=vocab), seed=0).to(device.name)
    start = copy.deepcopy(model).requires_grad_(False)
    ids = np.arange(min(64, shape.length), dtype=np.int32)
    prompt = Tokens(ids, np.zeros(len(ids), np.int8), None)
    asked = [Encoded({"prompt": prompt}, Row()) for _ in range(n)]
    tok: Any = SimpleNamespace(decode=lambda ids: "", stops={-1}, pad=0, user=-1, assistant=-1)
    source = Rollouts(asked, objective, hp, model, start, tok,
                      lambda rows, texts: np.arange(len(texts)) % 2, rows=n, steps=2,
                      max_new=shape.long, device=device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6)
    clock = Clock(device)
    for step in steps(model, objective, hp, source, optimizer, range(2), device=device):
        seconds = clock.seconds()                               # since the last call
    return {"tokens_per_s": step.tokens / seconds, "loss": float(step.sums["loss"]),
            "step_s": seconds}


def gpu_parts(shape: Shape, half: Device, fp32: Device) -> dict[str, Callable[[], dict]]:
    out = {"objectives": partial(objectives, half, fp32)}
    for device in (half, fp32):
        out |= {f"speed {name} {device.dtype}": partial(speed, shape, name, device)
                for name in FORWARDS}
        out[f"rollout {device.dtype}"] = partial(rollout, shape, device)
    for vocab in (QWEN, GPT2.vocab_size):
        out[f"grpo V {vocab:,}"] = partial(grpo_step, shape, half, vocab)
    return out | {f"speed {name} {half.dtype} compiled": partial(speed, shape, name, half, "on")
                  for name in FORWARDS}


def attempt(part: Callable[[], dict], end: float = math.inf) -> dict:
    """The figures of a part and, on a GPU, the most memory that its tensors took; or in "error" why
    there are none."""
    start = time.perf_counter()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    try:
        found = part() if start < end else {"error": f"not begun: {SECONDS} s are over"}
    except Exception as e:
        found = {"error": one_line(f"{type(e).__name__}: {e}")}
    if torch.cuda.is_available():
        found["peak_gib"] = torch.cuda.max_memory_allocated() / 2**30
    return {**found, "seconds": time.perf_counter() - start}


def measure_gpu(cfg: Bench, device: Device) -> int:
    """0 if every part has its figures, and every objective is finite and equal to the CPU."""
    if device.kind != "cuda" and cfg.shape != "tiny":
        raise UserError("--gpu: there is no CUDA device here; --shape tiny tries the command on "
                        "this one")
    dtype = "bf16" if device.kind != "cuda" or device.dtype == "fp32" else device.dtype
    half, fp32 = replace(device, dtype=dtype), replace(device, dtype="fp32")
    name = torch.cuda.get_device_name() if device.kind == "cuda" else device.name
    result = {"device": name, "shape": cfg.shape, "date": time.strftime("%Y-%m-%d"),
              **bench_others.versions(), "parts": {}}
    print(f"{name}, torch {torch.__version__}, shape {cfg.shape}"
          + "; no MFU: its peak is not known (PEAK in lab/bench.py)" * (not peak_flops(device)))
    end = time.perf_counter() + SECONDS
    for part, work in gpu_parts(SHAPES[cfg.shape], half, fp32).items():
        found = result["parts"][part] = attempt(work, end)
        shown = {k: f"{v:.4g}" if isinstance(v, float) else v for k, v in found.items()
                 if v is not None and not isinstance(v, dict)}
        print(f"{part:<26} {', '.join(f'{k} {v}' for k, v in shown.items())}", flush=True)
        save(cfg, result)
    missing = [part for part, found in result["parts"].items() if "error" in found]
    wrong = [n for n, one in result["parts"]["objectives"].get("each", {}).items()
             if not one.get("ok")]
    print(f"without figures: {', '.join(missing) or 'none'}; not equal to the CPU, or not finite: "
          f"{', '.join(wrong) or 'none'}")
    return 1 if missing or wrong else 0


# ---- the command ---------------------------------------------------------------------------------
def save(cfg: Bench, result: dict) -> None:
    if cfg.out:
        Path(cfg.out).parent.mkdir(parents=True, exist_ok=True)
        write_json(Path(cfg.out), result)


def main(argv=None) -> int:
    cfg, _ = config.parse(Bench, argv, "python -m lab.bench", __doc__)
    names = [choose("part", name, PARTS) for name in cfg.only or PARTS]
    device = devices.pick(cfg.device, cfg.dtype, cfg.threads)
    if cfg.gpu:
        return measure_gpu(cfg, device)
    result = {"device": f"{device.name} {device.dtype}", "threads": torch.get_num_threads(),
              **bench_others.versions()}
    print(", ".join(f"{key} {value}" for key, value in result.items()))
    for name in names:
        result[name] = PARTS[name](7 if cfg.quick else 25, device)
        if result[name] is None:
            needed = "TRL" if name == "trl" else "transformers"
            print(f"{name:<9} skipped: {needed} is not installed")
        for what, r in (result[name] or {}).items():
            print(f"{name:<9} {told(what, r)}")
    save(cfg, result)
    return 0


if __name__ == "__main__":
    sys.exit(config.run(main))
