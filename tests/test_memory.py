"""Peak memory: a pass without gradient needs no more of it for a large vocabulary, many rows or
long answers. Every byte that PyTorch allocates on the CPU counts until it is freed."""
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from made import CPU, NANO, TINY, llama, same
from torch.profiler import ProfilerActivity, profile

from nanouft import generate, rollout
from nanouft.data.batches import Encoded, Tokens, collate
from nanouft.data.row import Row
from nanouft.device import Device
from nanouft.gpt import GPT, GPTConfig
from nanouft.objectives import OBJECTIVES
from nanouft.plumbing import fast_ops
from nanouft.rollout import Sampler
from nanouft.run import reference
from nanouft.run.hyperparameters import make_optimizer
from nanouft.run.memory import bytes_of_step
from nanouft.train import steps

LOGITS, CACHE = 2**21, 2**21            # small ones: 8 MiB in fp32, and 2 MiB
PROMPT, ANSWER, ROWS = 4, 20, 32


def peak(work) -> int:
    """The most bytes that are held at once while `work()` runs."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        work()
    now = most = 0
    for event in seen.profiler.kineto_results.events():
        if event.name() == "[memory]":
            now += event.nbytes()
            most = max(most, now)
    return most


# ---- without gradient ----------------------------------------------------------------------------
@pytest.fixture(params=[1_000, 20_000])
def model(request, monkeypatch):
    for module in (reference, generate):
        monkeypatch.setattr(module, "LOGIT_BUDGET", LOGITS)
    monkeypatch.setattr(generate, "CACHE", CACHE)
    return GPT(replace(TINY, vocab_size=request.param), seed=0)


def some_rows(vocab: int) -> list[Encoded]:
    ids = np.random.default_rng(0).integers(0, vocab, (ROWS, PROMPT + ANSWER))
    mask = np.repeat([0, 1], [PROMPT, ANSWER])
    return [Encoded({"answer": Tokens(row, mask)}, Row()) for row in ids]


def test_measuring_a_rollout(model):
    batch = collate(some_rows(model.cfg.vocab_size), range(ROWS), 0)
    start = GPT(model.cfg, seed=1)
    used = peak(lambda: rollout.write_rollout_logps(batch, model, start, CPU))
    assert used < 4 * LOGITS + 2**20, f"{used:,} bytes"
    assert used > 2 * LOGITS or model.cfg.vocab_size == 1_000, "the test is not empty"


def test_reading_for_the_start_model(model):
    data, one_row = some_rows(model.cfg.vocab_size), ANSWER * model.cfg.vocab_size
    used = peak(lambda: reference.logps(data, model, 0, CPU))
    assert used < 8 * max(LOGITS, one_row) + 2**20, f"{used:,} bytes"   # logits, their log-softmax
    assert len([*reference.batches(data, model, 0, CPU, "")]) == 1, \
        "a large vocabulary does not part the rows"


def test_decoding(model):
    """Of more than fit at once. Keys and values fill the cache, with the copy that is made of them
    when some answers have ended."""
    together = generate.answers_per_batch(model, 23)
    if model.cfg.vocab_size == 1_000:                   # else the logits are the limit
        one, more = (model.new_cache(n, 23).kv.nbytes for n in (together, together + 1))
        assert 2 * one <= CACHE < 2 * more
    used = peak(lambda: generate.generate(model, [[1, 2, 3]] * (9 * together // 8), stop=-1, pad=0,
                                          max_new=20, temperature=1.0))
    assert used < CACHE + 4 * LOGITS + 2**20, f"{used:,} bytes"


def test_the_copy_that_samples_in_half_precision_needs_no_copy_in_fp32():
    model = GPT(GPTConfig(5_000, 32, 2, 2, 128), seed=0)
    held = sum(p.nbytes for p in model.parameters())
    sampler = Sampler(model, model, NANO, 9, Device("cpu", "bf16"))
    assert 0.4 * held < peak(lambda: sampler.sample([], 0, 0)) < 0.6 * held


# ---- training ------------------------------------------------------------------------------------
@pytest.mark.slow
@pytest.mark.parametrize("kind, recomputes", [("gpt", False), ("gpt", True), ("llama", True),
                                              ("lora", False)])
def test_what_is_told_of_a_step_is_what_it_takes(kind, recomputes):
    """Within half as much again, for short rows and long ones."""
    if kind == "gpt":
        model = GPT(GPTConfig(NANO.n_vocab, 2048, 4, 2, 64), seed=0)
    else:
        model = llama(tied=True)
        if kind == "lora":
            pytest.importorskip("peft")
            model.add_lora(4, seed=0)
    if recomputes:
        model.activation_checkpointing_enable()
    held = sum(p.nbytes for p in model.parameters())
    for tokens in (128, 1024):
        answered = tokens // 4
        ids, mask = np.arange(tokens + 1), np.repeat([0, 1], [tokens + 1 - answered, answered])
        row = Encoded({"answer": Tokens(ids % NANO.n_vocab, mask)}, Row())
        batch = collate([row] * 2, range(2), 0)
        told = bytes_of_step(model, CPU, 2 * tokens, 2 * answered)
        optimizer = make_optimizer(model, 1e-4)
        used = held + peak(lambda: [*steps(model, OBJECTIVES["sft"](), lambda number: batch,
                                           optimizer, range(2))])
        assert 2 / 3 < told / used < 3 / 2, f"{tokens} tokens: {told:,.0f} told, {used:,} used"


@pytest.mark.parametrize("dtype, tol", [(torch.float32, 0), (torch.bfloat16, 1e-5),
                                        (torch.float16, 1e-5)], ids=str)
def test_large_logits_are_overwritten_and_give_the_numbers_of_cross_entropy_in_fp32(dtype, tol,
                                                                                   monkeypatch):
    """Of fp32 bit for bit; so are the gradients. Of what is overwritten there can be one backward
    pass only."""
    monkeypatch.setattr(fast_ops, "PART", 2**16)            # the last part is not full
    rng = torch.Generator().manual_seed(0)
    z = torch.randn(500, 4096, generator=rng).to(dtype).requires_grad_()
    y, g = torch.randint(4096, (500,), generator=rng), torch.randn(500, generator=rng)
    (want := -F.cross_entropy(z.float(), y, reduction="none")).backward(g)
    for large in (2**24, 0):
        monkeypatch.setattr(fast_ops, "LARGE", large)
        copy = z.detach().clone().requires_grad_()
        (got := fast_ops.logp_(copy * 1, y)).backward(g, retain_graph=True)
        assert got.dtype == torch.float32
        same(got.detach(), want.detach(), tol)
        same(copy.grad.float(), z.grad.float(), tol / 10)
    with pytest.raises(RuntimeError, match="call forward again"):
        got.backward(g)
