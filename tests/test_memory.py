"""What a pass without gradient holds at once: no more for a large vocabulary, for many rows or long
answers. Counted are all bytes that PyTorch allocates on the CPU, and when it gives them back; at
the end the memory of a whole process, beside what a run announces."""
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from made import CPU, TINY
from torch.profiler import ProfilerActivity, profile

from nanouft.data.batches import Encoded, Tokens, collate
from nanouft.data.rows import Row
from nanouft.gpt import GPT
from nanouft.models import generate
from nanouft.run import reference, sampling

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


@pytest.fixture(params=[1_000, 20_000])
def model(request, monkeypatch):
    for module in (sampling, reference, generate):
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
    used = peak(lambda: sampling.measure_rollout(batch, model, start, CPU))
    assert used < 4 * LOGITS + 2**20, f"{used:,} bytes"
    assert used > 2 * LOGITS or model.cfg.vocab_size == 1_000, "the law is not empty"


def test_reading_for_the_start_model(model):
    data, one_row = some_rows(model.cfg.vocab_size), ANSWER * model.cfg.vocab_size
    used = peak(lambda: reference.logps(data, model, 0, CPU))
    assert used < 8 * max(LOGITS, one_row) + 2**20, f"{used:,} bytes"   # logits, their log-softmax


def test_decoding(model):
    prompts = [[1, 2, 3]] * 200
    used = peak(lambda: generate.generate(model, prompts, stop=-1, pad=0, max_new=40,
                                          temperature=1.0))
    assert used < CACHE + 4 * LOGITS + 2**20, f"{used:,} bytes"


TRAINED = """
import re, torch
from pathlib import Path
from nanouft.gpt import GPT, GPTConfig
from nanouft.run.memory import memory_of_step
model, ids = GPT(GPTConfig(5000, 128), seed=0), torch.randint(5000, (64, 128))
for step in range(2):
    model(ids, want="logp", targets=ids).mean().backward()
    torch.optim.AdamW(model.parameters()).step()
peak = int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
memory_of_step(model, 64, 1, 128, there=0.9 * 1024 * peak)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak stands in /proc")
def test_no_less_is_announced_than_a_process_takes():
    """Python and PyTorch are in it, which no tensor shows, and the gaps between activations. A
    tenth is left for other builds of PyTorch."""
    told = subprocess.run([sys.executable, "-c", TRAINED], capture_output=True, text=True).stderr
    assert "--batch-size 64: a run needs up to " in told, told
