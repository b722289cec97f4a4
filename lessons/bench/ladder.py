"""The rungs of speed on one card: the same steps plain and with compiled blocks.

    rungs("cuda")       # {name of a line: () -> (is it as expected, what was measured)}

Rows are random, and so are the weights of GPT-2's and SmolLM2's shapes: speed does not depend on
them. `kernels` is the card's own time of a step. Near the whole time, the card's arithmetic and
memory bound it, and fewer bytes help (--compile); far below, it waits for launches.
"""
import copy
import functools
import itertools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from lessons.bench.subjects import quiet
from nanouft.batch import Batch
from nanouft.data.batches import Batching, Encoded, RowSource, Tokens
from nanouft.data.rows import Row
from nanouft.gpt import GPT, GPTConfig, shipped_base
from nanouft.loop import Device, Update, make_optimizer, steps
from nanouft.models.hf import HFModel
from nanouft.models.tokenizer import Turn
from nanouft.objectives import OBJECTIVES
from nanouft.rollout import Rollouts, Sampler
from nanouft.run.device import CompiledBlocks, choose_device


@dataclass(frozen=True)
class Size:
    """How much a line has to do."""
    rows: int = 32              # of a step; GRPO: 8 prompts with 4 answers each
    steps: int = 6              # different batches
    rounds: int = 3             # how often each of them is counted
    new: int = 64               # tokens of an answer
    short: tuple[int, int] = (40, 80)           # tokens: of a typical row, of the longest
    full: tuple[int, int] = (330, 1000)


TO_TRY = Size(rows=4, steps=2, rounds=1, new=3, short=(12, 16), full=(24, 32))
ALL = ("plain", "compiled")
LADDER = [("sft", "base", "short", ALL), ("sft", "smollm2", "short", ALL),
          ("sft", "smollm2", "full", ALL), ("sft", "gpt2", "full", ALL),
          ("ift", "base", "short", ("plain",)), ("ift", "gpt2", "full", ALL),
          ("dpo", "base", "short", ("plain",)), ("dpo", "smollm2", "full", ALL),
          ("grpo", "base", "short", ("plain",)), ("grpo", "smollm2", "short", ALL),
          *(("decoding", shape, "short", ("plain",)) for shape in ("base", "gpt2", "smollm2"))]
Verdict = tuple[bool, str]              # is it as expected, and what was seen


class NoEnd:
    """A tokenizer for random ids: no answer ends by itself."""
    stops, pad, user, assistant = frozenset({-1}), 0, -1, -1

    def decode(self, ids: list[int]) -> str:
        return " ".join(map(str, ids))


def gpt2(small: bool) -> GPT:
    return GPT(GPTConfig(500, 1024, 2, 2, 64) if small else
               GPTConfig(50304, 1024, 12, 12, 768), seed=0)


def smollm2(small: bool) -> GPT:
    import transformers
    size = (500, 72, 96, 2) if small else (49152, 576, 1536, 30)
    names = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers")
    config = transformers.LlamaConfig(
        **dict(zip(names, size)), num_attention_heads=9, num_key_value_heads=3,
        max_position_embeddings=8192, tie_word_embeddings=True)
    torch.manual_seed(0)
    return HFModel(transformers.LlamaForCausalLM(config).float().eval(), 8192)


SHAPES: dict[str, Callable[[bool], GPT]] = {
    "base": lambda small: shipped_base(), "gpt2": gpt2, "smollm2": smollm2}


def random_rows(n: int, name: str, lengths: tuple[int, int], vocab: int) -> list[Encoded]:
    """n rows for a method; two thirds of a row are its answer."""
    rng, (typical, longest), out = np.random.default_rng(1), lengths, []
    roles = {"dpo": ("chosen", "rejected"), "sft": ("answer",), "ift": ("answer",)}
    for _ in range(n):
        L = int(np.clip(rng.lognormal(math.log(typical), 0.6), 16, longest))
        mask = (np.arange(L) >= max(4, L // 3)).astype(np.int8)
        seqs = {role: Tokens(rng.integers(3, vocab, L).astype(np.int32), mask,
                             ref_logp=rng.normal(-2, 0.1, L - 1).astype(np.float32))
                for role in roles.get(name, ("prompt",))}
        out.append(Encoded(seqs, Row(prompt=(Turn("user", "?"),))))
    return out


def any_scores(rows: list[Row], answers: list[str]) -> np.ndarray:
    """(n,) numbers that differ between answers. NanoWorld's scores are all 0 for a model that knows
    nothing of it; then no advantage is left, and steps without a gradient only enlarge rounding."""
    return np.array([sum(answer.encode()) % 100 / 100 for answer in answers])


def work(name: str, model: GPT, net: Any, lengths: tuple[int, int], size: Size,
         device: Device) -> Callable[[int], int]:
    """go(k) makes k steps of a method, or decodes k times, and returns the number of tokens."""
    rows = random_rows(size.rows * size.steps, name, lengths, model.cfg.vocab_size)
    tok: Any = NoEnd()
    if name == "decoding":
        answers = Sampler(model, model, tok, size.new, device)
        return lambda k: sum(len(a.ids) for i in range(k)
                             for a in answers.sample(rows[:2 * size.rows], 0, i))
    source: Callable[[int], Batch]
    objective = OBJECTIVES[name]()
    if objective.on_policy:
        start = copy.deepcopy(model).requires_grad_(False)
        sampler = Sampler(model, start, tok, size.new, device, compiled=net)
        source = Rollouts(rows, objective, sampler, any_scores,
                          Batching(size.rows // objective.samples, 999))
    else:
        made = RowSource(rows, Batching(size.rows, size.steps), tok.pad)
        source = [made(i) for i in range(size.steps)].__getitem__
    update = Update(make_optimizer(model, 1e-5, fused=True), clip=1.0)
    numbers: Any = range(999) if objective.on_policy else itertools.cycle(range(size.steps))
    run = steps(net, objective, source, update, numbers, device)

    def go(k: int) -> int:
        done = [next(run) for _ in range(k)]
        float(done[-1].norm)                            # waits until the device has ended
        return sum(step.tokens_read for step in done)
    return go


def rung(name: str, shape: str, rows: str, way: str, where: str) -> Verdict:
    """Tokens a second (prompts too), and what bounds them."""
    on_card = where != "cpu"
    size = Size() if on_card else TO_TRY
    device = choose_device(where, "fp32" if shape == "base" or not on_card else "bf16")
    model = SHAPES[shape](not on_card).to(device.name)
    net: Any = model
    if way == "compiled":
        net = CompiledBlocks(model, "inductor" if on_card else "eager")
    go = work(name, model, net, getattr(size, rows), size, device)
    if on_card:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    first = seconds(lambda: go(1))
    go(size.steps - 1)                                  # every shape has been seen
    n = size.rounds * size.steps
    begun = time.perf_counter()
    tokens = go(n)
    each = (time.perf_counter() - begun) / n            # of a step
    told = f"{tokens / n / each:,.0f} tokens per second, {1000 * each:.1f} ms a step"
    if name in ("sft", "ift", "dpo"):
        share = 6 * model.n_params() * tokens / n / each / product_speed(where)
        told += f", MFU {share:.3f}"
    if on_card:
        busy, launches = kernels(go, size.steps)
        told += (f", kernels {1000 * busy:.1f} ms in {launches:,} launches, "
                 f"{torch.cuda.max_memory_reserved() / 2**30:.1f} GiB reserved")
    return True, f"{told}, first step {first:.1f} s"


def seconds(do: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    do()
    return time.perf_counter() - begun


def kernels(go: Callable[[int], int], n: int) -> tuple[float, int]:
    """Of a step: seconds in which the card computes, and how many kernels it was given."""
    from torch.profiler import ProfilerActivity, profile
    with profile(activities=[ProfilerActivity.CUDA]) as found:
        go(n)
    events = [e for e in found.events() if str(e.device_type).endswith("CUDA")]
    return sum(e.self_device_time_total for e in events) / 1e6 / n, len(events) // n


@functools.cache
def product_speed(where: str) -> float:
    """Operations per second of one large product: what MFU is a share of."""
    n, dtype = (8192, torch.bfloat16) if where != "cpu" else (512, torch.float32)
    x = torch.ones(n, n, device=where, dtype=dtype).normal_()

    def multiply(times: int) -> None:
        for _ in range(times):
            y = x @ x
        float(y[0, 0])                                  # waits until the device has ended
    multiply(3)
    return 20 * 2 * n**3 / seconds(lambda: multiply(20))


def measured(*line: str) -> Verdict:
    """A rung, without what its run prints. Too little memory or no transformers is no fault."""
    torch._dynamo.reset()
    try:
        with quiet():
            return rung(*line)                          # type: ignore[arg-type]
    except ModuleNotFoundError as e:
        return True, f"not measured: {e.name} is not installed"
    except torch.OutOfMemoryError:
        return True, "not measured: it does not fit into the memory of this card"


def rungs(where: str) -> dict[str, Callable[[], Verdict]]:
    return {f"{name}, {shape}, {rows}, {way}": functools.partial(
                measured, name, shape, rows, way, where)
            for name, shape, rows, ways in LADDER for way in ways}
