"""On a GPU every form of every method, and each command, keeps to the GPU and computes what a CPU
does. fake_gpu.py plays the GPU, and says what it can't see."""
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from commands import call, is_like
from fake_gpu import fake_gpu
from made import FORMS, NANO, Form, batch_of, killed_in_step, llama, nano
from torch.utils._pytree import tree_leaves

import nanouft.compare.__main__ as compare
from nanouft import trainer
from nanouft.batch import NOT_SET
from nanouft.compare import runs, workers
from nanouft.loop import DTYPES, Device, Update, grad_scaler, make_optimizer, steps, warmup_cosine
from nanouft.models.folders import save_model
from nanouft.run.checkpoint import to_floats
from nanouft.run.folder import read_lines

CONSTRAINTS = (Path(__file__).parents[1] / "constraints.txt").read_text()
pytestmark = pytest.mark.xfail(f"torch=={torch.__version__.partition('+')[0]}\n" not in CONSTRAINTS,
                               reason="fake_gpu.py replaces private parts of PyTorch as pinned")
READS = {"sftmix": {"read: item", "read: nonzero"}}     # the only method that waits for a GPU


class Watched:
    """An objective that keeps the batches that its loss reads."""

    def __init__(self, objective):
        self.forward, self.real, self.batches = objective.forward, objective.loss, []

    def loss(self, batch):
        self.batches.append(batch)
        return self.real(batch)


def two_steps(form, name, dtype, model, lr=1e-3):
    """(numbers, what was seen) of two steps, in two micro-batches if that is possible. All that
    comes after the logits is in fp32."""
    device, batch = Device(name, dtype), batch_of(form)
    if dtype != "fp32" and form.objective.on_policy and "answer" in batch.seqs:
        batch.seqs["answer"].sampled_logp = NOT_SET     # as Rollouts.cut does
    batch = replace(batch, accumulate=1 if form.objective.coupled else 2)
    form.objective.setup(model, 0)
    with fake_gpu() as counted:
        model = model.to(name)
        optimizer, watched = make_optimizer(model, lr, fused=True), Watched(form.objective)
        update = Update(optimizer, warmup_cosine(lr, 2, 0.5), 1.0, grad_scaler(device))
        counted.clear()
        done = list(steps(model, watched, lambda number: batch, update, range(2), device))
        seen = Counter(counted)
        numbers = [x for step in done for x in (*step.sums.values(), step.norm)]
        for s in watched.batches[0].seqs.values():
            s.extra.pop("values", None)                 # of PPO, whose head computes in half
        read = [[part.per_row, *map(vars, part.seqs.values())] for part in watched.batches[:1]]
        for x in tree_leaves([numbers, read, [*optimizer.state.values()]]):
            if isinstance(x, torch.Tensor):
                assert x.dtype in (torch.float32, torch.int64) and x.device.type == name
        for s in watched.batches[0].seqs.values() if dtype != "fp32" else ():
            logp = s.logp[s.mask > 0]
            assert not len(logp) or (logp != logp.to(DTYPES[dtype])).any(), "rounded, then cast"
        return [float(x) for x in numbers], seen


@pytest.mark.parametrize("wrong", [
    lambda x, y: x + y, lambda x, y: torch.cat([x, y]), lambda x, y: y.add_(x[0]),
    lambda x, y: y[x], lambda x, y: x.numpy(), lambda x, y: x + y.to("cuda:1"),
    lambda x, y: torch.rand(2, device="cuda", generator=torch.Generator())])
def test_what_a_gpu_refuses_is_refused(wrong):
    with fake_gpu(), pytest.raises((RuntimeError, TypeError)):
        wrong(torch.ones(2, dtype=torch.int64, device="cuda"), torch.ones(2, dtype=torch.int64))


def waits(seen):
    return {what for what, line in seen if what.startswith(("read", "sent: an index"))
            or what == "sent" and not line.startswith("batch.py")}


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_steps_keep_to_the_gpu_and_wait_for_nothing(form):
    for dtype in DTYPES:
        numbers, seen = two_steps(form, "cuda", dtype, nano(n_layer=1))
        assert waits(seen) == READS.get(form.name, set()), seen
        assert not any("without a generator" in x for x, _ in seen), seen
        assert form.name == "sftmix" or "draws on cpu" not in {x for x, _ in seen}, seen
        if dtype == "fp32":
            assert numbers == two_steps(form, "cpu", dtype, nano(n_layer=1))[0]


# ---- models of transformers ----------------------------------------------------------------------
@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
@pytest.mark.parametrize("name", ["sft", "ift", "dpo", "grpo"])
def test_lora_is_added_in_fp32_and_one_wait_a_forward_is_that_of_transformers(name, dtype):
    """At first B A x is so small that a sum in half precision would lose most of it."""
    model = llama(tied=True)
    model.add_lora(4, 0, DTYPES[dtype])
    _, seen = two_steps(Form(name), "cuda", dtype, model, lr=1e-4)
    assert {(what, line.partition(":")[0]) for what, line in seen if what in waits(seen)} == {
        ("read: item", "masking_utils.py")}, seen
    unchanged = []

    def look(layer, x, y):
        unchanged.append((y == layer.base_layer(*x)).float().mean())
    for part in model.modules():
        if hasattr(part, "lora_A"):
            part.register_forward_hook(look)
    with fake_gpu(), torch.no_grad(), Device("cuda", dtype).autocast():
        model.to("cuda")(torch.arange(20, device="cuda")[None])
    assert torch.stack(unchanged).mean() < 0.01, unchanged


# ---- commands ------------------------------------------------------------------------------------
START = "--init start --batch-size 4 OUT"
LLAMA = "--init llama --lora 4 --batch-size 4 --steps 2 --save-every 0 --plain OUT"
DOORS = {       # command: how often it waits for the GPU, in which file
    f"train --objective dpo --data pairs.jsonl --steps 3 --save-every 0 --plain {START}":
        {"checkpoint": 1, "reference": 2},
    "train --objective grpo --data pairs.jsonl --reward r.py:f --steps 4 --minibatches 2 --max-new "
    f"20 --save-every 0 --plain {START}": {"checkpoint": 1, "rollout": 2, "generate": 6},
    "train --objective sft --data demos.jsonl --dtype fp16 --activation-checkpointing --eval-every "
    f"1 {LLAMA}": {"checkpoint": 2, "reference": 2, "masking_utils": 4},
    f"train --objective grpo --data pairs.jsonl --reward r.py:f --dtype bf16 --max-new 6 {LLAMA}":
        {"checkpoint": 1, "rollout": 2, "generate": 4, "masking_utils": 20},
    f"reward --data pairs.jsonl --steps 3 --dtype fp16 {START}": {"checkpoint": 1, "reward": 1},
    "pretrain --steps 3 --width 32 OUT": {"pretrain": 3},
    "sample start llama --prompt Say --max-new 20 --temperature 1":     # it shows each token
        {"sample": 40, "generate": 46, "masking_utils": 20},
    "evaluate start llama --data pairs.jsonl --reward r.py:f --max-new 6":
        {"reference": 6, "generate": 4, "masking_utils": 9}}
SAVING = {"safetensors_files", "folders", "hf", "lora"}       # which waits for each weight


def waits_of(seen):
    """{file: how often the GPU is waited for}, without saving."""
    files = Counter()
    for (what, at), n in seen.items():
        if what.startswith(("read", "sent: an index")):
            files[at.partition(".py")[0].rpartition("/")[2]] += n
    return {name: n for name, n in files.items() if name not in SAVING}


@pytest.mark.parametrize("line, waits", DOORS.items(), ids=[*map(str, range(len(DOORS)))])
def test_a_command_computes_on_a_gpu_what_it_does_on_a_cpu(line, waits, here):
    if not Path("llama").exists():
        Path("llama").mkdir()
        save_model(Path("llama"), llama(tied=True), NANO)
    number, words = [*DOORS].index(line), line.split()
    with fake_gpu() as seen:
        assert call(f"{line} --device cuda".replace("OUT", f"--out gpu{number}")) == 0
    assert waits_of(seen) == waits, seen
    assert "draws on cuda:0 without a generator" not in {what for what, _ in seen}, seen
    if words[0] == "train" and "--dtype" not in words:
        assert call(line.replace("OUT", f"--out cpu{number}")) == 0
        logs = [read_lines(Path(f"{x}{number}", "metrics.jsonl")) for x in ("gpu", "cpu")]
        for got, want in zip(*logs, strict=True):
            assert got == pytest.approx(want, rel=1e-5, abs=1e-5)


def test_the_numbers_of_a_log_come_in_one_copy():
    with fake_gpu() as seen:
        numbers = [2, torch.ones((), device="cuda"), 0.5, torch.zeros((), device="cuda")]
        seen.clear()
        assert to_floats(numbers) == [2, 1, 0.5, 0]
    assert seen.total() == 1


def test_a_resumed_run_draws_what_an_unbroken_one_does(here):
    """NEFTune draws its noise on the GPU."""
    line = ("train --objective neftune --init start --data demos.jsonl --steps 4 --save-every 2 "
            "--plain --device cuda:1 --out ")
    with fake_gpu(2) as seen:
        assert call(line + "whole") == 0
        with killed_in_step(4):
            assert call(line + "cut") == 130
        assert call("train --resume cut") == 0
    assert "draws on cuda:1" in {what for what, _ in seen}
    is_like(Path("cut"), Path("whole"))


@pytest.mark.slow
def test_a_comparison_keeps_to_the_gpu(here, monkeypatch):
    """Here in this process."""
    def run_jobs(jobs, *more, **named):
        for job in workers.missing_jobs(jobs):
            for part in runs.parts_of(job):
                runs.run_part(part, time.time())
    monkeypatch.setattr(compare, "run_jobs", run_jobs)
    with fake_gpu() as seen:
        assert compare.main("sft dpo --skills list --rows 32 --items 10 --tries 1 --seeds 2 "
                            "--steps 2 --device cuda --out compared".split()) == 0
    assert waits_of(seen).keys() == {"checkpoint", "reference", "generate"}, seen


def test_the_trainer_keeps_to_the_gpu(here):
    """All but its checkpoints, which keep the state of CUDA's own generator."""
    accelerate = pytest.importorskip("accelerate")
    with fake_gpu() as seen:
        trainer.main("dpo --data pairs.jsonl --init start --max_steps 2 --output_dir trained --bf16"
                     " --save_strategy no".split())
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)    # forget the GPU
    assert waits_of(seen).keys() == {"trainer", "reference"}, seen
