"""What a pass without gradient holds at once: the same for every vocabulary, length and number of
rows. Counted are all bytes that PyTorch allocates on the CPU, and when it gives them back."""
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import CPU, TINY
from torch.profiler import ProfilerActivity, profile

from nanouft import reference, sampling
from nanouft.data.batches import Encoded, Tokens, collate
from nanouft.data.rows import Row
from nanouft.gpt import GPT

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


@pytest.fixture(params=[1_000, 20_000, 152_000])
def model(request, monkeypatch):
    for module in (sampling, reference):
        monkeypatch.setattr(module, "LOGITS", LOGITS)
    monkeypatch.setattr(sampling, "CACHE", CACHE)
    return GPT(replace(TINY, vocab_size=request.param), seed=0)


def some_rows(vocab: int) -> list[Encoded]:
    ids = np.random.default_rng(0).integers(0, vocab, (ROWS, PROMPT + ANSWER))
    mask = np.repeat([0, 1], [PROMPT, ANSWER])
    return [Encoded({"answer": Tokens(row, mask)}, Row()) for row in ids]


def test_measuring_a_rollout(model):
    vocab = model.cfg.vocab_size
    batch = collate(some_rows(vocab), range(ROWS), 0)
    start = GPT(replace(TINY, vocab_size=vocab), seed=1)
    used = peak(lambda: sampling.measure(batch, model, start, CPU))
    assert used < 4 * LOGITS + 2**20, f"{used:,} bytes"
    assert used > 2 * LOGITS or vocab == 1_000, "the law is not empty"


def test_reading_for_a_reference(model):
    data = some_rows(model.cfg.vocab_size)
    one_row = ANSWER * model.cfg.vocab_size
    used = peak(lambda: reference.logps(data, model, 0, CPU))
    # logits so small are not overwritten: logits and their log-softmax
    assert used < 8 * max(LOGITS, one_row) + 2**20, f"{used:,} bytes"


def test_decoding(model):
    prompts = [[1, 2, 3]] * 200
    used = peak(lambda: sampling.generate(model, prompts, stop=-1, pad=0, max_new=40,
                                          temperature=1.0))
    assert used < CACHE + 4 * LOGITS + 2**20, f"{used:,} bytes"


def test_a_model_with_few_heads_of_keys_has_room_for_more(monkeypatch):
    model = GPT(TINY, seed=0)
    monkeypatch.setattr(sampling, "CACHE", 10**6)
    few = sampling.answers_together(model, 50)
    model.key_width = TINY.n_embd // 4
    assert sampling.answers_together(model, 50) == pytest.approx(4 * few, abs=4) and few > 10
    assert torch.finfo(model.wte.weight.dtype).bits == 32
