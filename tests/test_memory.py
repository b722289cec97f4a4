"""What is held at once: by a pass without gradient no more for a large vocabulary, many rows or
long answers; by training no more than a run announces. All bytes count that PyTorch allocates on
the CPU, until it gives them back; at the end a whole process."""
import hashlib
import re
import subprocess
import sys
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from commands import dpo
from made import (
    CPU,
    DATA,
    FORMS,
    NANO,
    TINY,
    batch_of,
    learn,
    one_error,
    same,
    tiny,
)
from torch.profiler import ProfilerActivity, profile

from nanouft import generate, rollout, train
from nanouft.batch import Batch
from nanouft.data.batches import Encoded, Tokens, collate
from nanouft.data.rows import Row
from nanouft.gpt import GPT, GPTConfig
from nanouft.loop import Device
from nanouft.plumbing import fast
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import UserError
from nanouft.rollout import Sampler
from nanouft.run import memory, reference
from nanouft.run.folder import hash_of
from nanouft.run.load import Rows
from nanouft.run.memory import bytes_of_training, bytes_per_token, check_memory
from nanouft.run.plan import Plan, plan_run
from nanouft.run.settings import read_flags

LOGITS, CACHE = 2**21, 2**21            # small ones: 8 MiB in fp32, and 2 MiB
PROMPT, ANSWER, ROWS = 4, 20, 32
VOCAB = 10_000                          # a large one


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
    used = peak(lambda: rollout.measure_rollout(batch, model, start, CPU))
    assert used < 4 * LOGITS + 2**20, f"{used:,} bytes"
    assert used > 2 * LOGITS or model.cfg.vocab_size == 1_000, "the law is not empty"


def test_reading_for_the_start_model(model):
    data, one_row = some_rows(model.cfg.vocab_size), ANSWER * model.cfg.vocab_size
    used = peak(lambda: reference.logps(data, model, 0, CPU))
    assert used < 8 * max(LOGITS, one_row) + 2**20, f"{used:,} bytes"   # logits, their log-softmax
    assert len([*reference.batches(data, model, 0, CPU, "")]) == 1, \
        "a large vocabulary does not part the rows"


def test_decoding(model):
    """Of more than fit at once. Keys and values fill the cache, with the copy that is made of them
    when some answers have ended."""
    together = generate.answers_together(model, 23)
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
    assert peak(lambda: sampler.sample([], 0, 0)) < 0.6 * held


def test_a_hash_reads_a_file_in_pieces(tmp_path):
    with open(tmp_path / "large", "wb") as file:
        file.truncate(2**26 + 1)
    tracemalloc.start()
    found = hash_of(str(tmp_path / "large"))
    assert tracemalloc.get_traced_memory()[1] < 2**26
    tracemalloc.stop()
    assert found == hashlib.sha256(bytes(2**26 + 1)).hexdigest()[:16]


# ---- training ------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype, tol", [(torch.float32, 0), (torch.bfloat16, 1e-5),
                                        (torch.float16, 1e-5)], ids=str)
def test_large_logits_are_overwritten_and_give_the_numbers_of_cross_entropy_in_fp32(dtype, tol,
                                                                                   monkeypatch):
    """Of fp32 bit for bit; so are the gradients. Of what is overwritten there can be one backward
    pass only."""
    monkeypatch.setattr(fast, "PART", 2**16)            # the last part is not full
    rng = torch.Generator().manual_seed(0)
    z = torch.randn(500, 4096, generator=rng).to(dtype).requires_grad_()
    y, g = torch.randint(4096, (500,), generator=rng), torch.randn(500, generator=rng)
    (want := -F.cross_entropy(z.float(), y, reduction="none")).backward(g)
    for large in (2**24, 0):
        monkeypatch.setattr(fast, "LARGE", large)
        copy = z.detach().clone().requires_grad_()
        (got := fast.logp_(copy * 1, y)).backward(g, retain_graph=True)
        assert got.dtype == torch.float32
        same(got.detach(), want.detach(), tol)
        same(copy.grad.float(), z.grad.float(), tol / 10)
    with pytest.raises(RuntimeError, match="call forward again"):
        got.backward(g)


def test_a_trained_number_is_announced_with_its_gradient_and_two_moments():
    """Beside the weights, which the process holds already. Frozen weights have none."""
    model = tiny()
    model.wte.weight.requires_grad_(False)
    optimizer = torch.optim.AdamW(p for p in model.parameters() if p.requires_grad)
    model(torch.zeros(1, 4, dtype=torch.long)).sum().backward()
    optimizer.step()
    held = [p.grad for p in model.parameters() if p.grad is not None]
    held += [x for state in optimizer.state.values() for x in state.values() if x.dim()]
    assert bytes_of_training(model) == sum(x.nbytes for x in held) > 0


def test_activations_take_no_more_than_is_announced():
    """With activation checkpointing, too: in the backward pass the activations of one block are
    there once more."""
    model, found = GPT(GPTConfig(50, 64, n_layer=4, n_head=4, n_embd=64), seed=0), []
    ids = torch.randint(50, (32, 64))
    for again in (False, True):
        if again:
            model.activation_checkpointing_enable()
        used = peak(lambda: model(ids, want="logp", targets=ids).mean().backward())
        model.zero_grad()
        gradients = bytes_of_training(model) / 3
        announced = gradients + ids.numel() * bytes_per_token(model)
        assert used < announced < 1.9 * used, f"{used:,} bytes, {announced:,.0f} announced"
        found.append(used)
    assert found[1] < 0.6 * found[0]


def whole_rows(batch: Batch) -> Batch:
    """Its rows as if all their tokens were the answer's, without what `forward` wrote."""
    return replace(batch, seqs={
        role: replace(s, mask=torch.ones_like(s.mask), positions=None,
                      not_padding=torch.ones_like(s.not_padding))
        for role, s in batch.seqs.items() if not role.startswith("mix_")})


def test_a_step_of_every_method_holds_no_more_copies_of_the_logits_than_are_announced(monkeypatch):
    """Nor fewer by a whole one, of every method. With a large vocabulary nearly all of the memory
    are logits."""
    monkeypatch.setattr(fast, "LARGE", 0)
    monkeypatch.setattr(fast, "PART", 2**16)
    model, wrong = GPT(replace(TINY, vocab_size=VOCAB, n_layer=1, n_head=1, n_embd=2), seed=0), []
    for form in FORMS:
        batch = whole_rows(batch_of(form).take([0, 1, 2]))
        tokens = sum(s.inputs.numel() for s in batch.seqs.values())
        used, copies = peak(lambda: learn(form, model, [batch])), form.objective.logit_copies
        low, high = (bytes_of_training(model) + tokens * bytes_per_token(model, n)
                     for n in (copies - 1, copies))
        if not low < used < high:
            held = used / (4 * tokens * VOCAB)
            wrong.append(f"{form}: {held:.2f} copies, and it says logit_copies = {copies}")
    assert wrong == []


# ---- what a run announces, and what it refuses ---------------------------------------------------
def plan_of(told: str) -> tuple[Plan, GPT]:
    objective, cfg, given = read_flags(["--objective", *told.split()])
    model = tiny(vocab_size=VOCAB, n_ctx=128)
    return plan_run(cfg, objective, given, Rows(64 * DATA, [], []), model, NANO), model


def has(size: float, monkeypatch) -> None:
    """A machine with so much memory, of which a process holds a fifth of a gigabyte."""
    monkeypatch.setattr(memory, "held_now", lambda: 0.2e9)
    monkeypatch.setattr(memory, "memory_there", lambda: size)


def test_all_that_is_read_of_a_row_is_announced(monkeypatch):
    """Of a prompt each sampled answer, behind it, as long as it may be, and a demonstration once
    beside them."""
    has(1e15, monkeypatch)
    for told, sequences, new in (("grpo --samples 2 --max-new 40", 2, 40), ("sft", 1, 0),
                                 ("chord --samples 4 --max-new 9", 4 + 1, 9), ("dpo", 2, 0)):
        plan, model = plan_of(told)
        longest = max(len(s.ids) for e in plan.train for s in e.seqs.values()) + new
        announced = check_memory(replace(plan, batch_size=5000), model, CPU)
        assert f", for steps of {5000 * sequences * longest:,} tokens" in announced, told


def refused(told: str, device: Device = CPU) -> str:
    """The remedy of a run that does not fit, or ""."""
    try:
        check_memory(*plan_of(told), device)
    except UserError as e:
        return str(e)
    return ""


def test_what_does_not_fit_is_refused_with_the_most_that_would(monkeypatch):
    """kto compares all rows of a step, so there only a smaller step is named."""
    has(0.6e9, monkeypatch)
    for name in ("sft", "kto"):
        text = refused(f"{name} --batch-size 300")
        fits, parts = re.search(r"there are 0.6; --batch-size (\d+) would fit(?:, or --accumulate "
                                r"(\d+))?; --activation-checkpointing takes less", text).groups()
        assert not refused(f"{name} --batch-size {fits}")
        assert refused(f"{name} --batch-size {int(fits) + 1}")
        assert (parts is None) == (name == "kto"), text
        for size in (300, 2 * int(fits) + 1) if parts else ():
            parts = re.search(r"--accumulate (\d+)", refused(f"sft --batch-size {size}"))[1]
            assert not refused(f"sft --batch-size {size} --accumulate {parts}")
    low, high = 0.4e9, 0.6e9            # where one row just fits, one is named
    for _ in range(20):
        has(middle := (low + high) / 2, monkeypatch)
        low, high = (middle, high) if refused("sft --batch-size 1") else (low, middle)
    has(high, monkeypatch)
    assert "; --batch-size 1 would fit" in refused("sft --batch-size 300")
    has(0.4e9, monkeypatch)
    assert "; no batch would fit: give --lora" in refused("sft --batch-size 1")


def test_steps_in_half_precision_are_not_refused_but_weights_that_do_not_fit_are(monkeypatch):
    """The steps take less than is estimated; weights, gradients and moments are in fp32."""
    has(0.6e9, monkeypatch)
    half = Device("cpu", "bf16")
    for other in (half, Device("cuda", "fp32")):
        assert not refused("sft --batch-size 300", other)
    has(0.4e9, monkeypatch)
    assert "no batch would fit" in refused("sft --batch-size 300", half)


def test_a_run_that_does_not_fit_leaves_nothing_behind(belongings, monkeypatch, capsys):
    has(1e7, monkeypatch)
    assert command(train.main, dpo(belongings, out="large")) == 2
    assert "and there are 0.0; no batch would fit" in one_error(capsys)
    assert not (belongings / "large").exists()


TRAINED = """
import re, torch
from pathlib import Path
from nanouft.gpt import GPT, GPTConfig
from nanouft.run.memory import MARGIN, bytes_of_training, bytes_per_token, held_now
model, ids = GPT(GPTConfig(5000, 128), seed=0), torch.randint(5000, (64, 128))
fixed = held_now() + MARGIN + bytes_of_training(model)
print(int(fixed + 64 * 128 * bytes_per_token(model)))
for step in range(2):
    model(ids, want="logp", targets=ids).mean().backward()
    torch.optim.AdamW(model.parameters()).step()
print(int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak stands in /proc")
def test_no_less_is_announced_than_a_process_takes():
    """Python and PyTorch are in it, which no tensor shows, and the gaps between activations. It
    holds for every build of PyTorch, because what a process holds is measured in it."""
    ran = subprocess.run([sys.executable, "-c", TRAINED], capture_output=True, text=True)
    build = f"with torch {torch.__version__} (CUDA: {torch.version.cuda})"
    assert ran.returncode == 0, f"{build}: {ran.stderr}"
    announced, took = map(int, ran.stdout.split())
    assert took <= announced < 1.5 * took, f"{took:,} bytes of {announced:,} announced, {build}"
