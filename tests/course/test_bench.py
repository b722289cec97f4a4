"""lessons.bench: each line of --gpu, tried without a GPU, says ok, and LOOK where numbers are not
the CPU's; and README has the figures of the page of benchmarks."""
import itertools
import os
import re
from pathlib import Path

import pytest
import torch
from made import NANO, tiny

from lessons.bench import __main__, gpu, subjects
from nanouft import train
from nanouft.batch import Batch
from nanouft.gpt import MLP
from nanouft.loop import Device

CPU = Device("cpu", "bf16")
ROOT = Path(__file__).parents[2]


def small():
    return tiny(vocab_size=NANO.n_vocab, n_layer=1), NANO


@pytest.mark.parametrize("name", gpu.TRIED)
def test_every_method_is_as_on_the_cpu(name):
    fine, told = gpu.same_as_cpu(name, CPU, small, rows=8)
    assert fine and "off by 0e+00 in fp32" in told, told


def test_steps_that_are_compared_have_a_gradient():
    """Once the answers of a model without NanoWorld's skills all scored 0, and GRPO was compared
    where its gradient is 0: a LOOK on an H100, and on a CPU if weights change by a millionth."""
    batches = gpu.batches_of("grpo", small, 3, 8)
    assert (gpu.learner("grpo", CPU, batches, small)[1](3)[:, 1] > 0.1).all()


@pytest.mark.parametrize("fault", [1, 2], ids=["fp32", "bf16"])
def test_other_numbers_than_the_cpus_are_a_look(fault, monkeypatch):
    """The second or the third learner that the check makes is off."""
    made, real = [], gpu.learner

    def learner(*told):
        made.append(real(*told))
        off = 1.2 if len(made) - 1 == fault else 1
        return made[-1][0], lambda k, go=made[-1][1]: go(k) * off
    monkeypatch.setattr(gpu, "learner", learner)
    assert not gpu.same_as_cpu("sft", CPU, small, rows=4)[0]


def broken(self, x, old=MLP.forward):
    torch._dynamo.graph_break()
    return old(self, x)


@pytest.mark.parametrize("check, owner, name, fault", [
    (lambda: gpu.scaler(CPU, small), torch.amp.GradScaler, "step",      # an overflow is learnt from
     lambda self, optimizer: optimizer.step()),
    (lambda: gpu.accumulate(CPU, small), Batch, "micro_batches",        # one is left out
     lambda self, old=Batch.micro_batches: old(self)[:3]),
    (lambda: gpu.resume(Device(), half=2), train.checkpoint, "load_step",       # it begins again,
     lambda *told: 0),                                                  # with the same losses
    pytest.param(lambda: gpu.compiled(Device(), small, "eager"), MLP, "forward", broken,
                 marks=pytest.mark.slow)], ids=["scaler", "accumulate", "resume", "compile"])
def test_a_check_is_ok_and_with_a_fault_it_is_a_look(check, owner, name, fault, monkeypatch):
    fine, told = check()
    assert fine, told
    monkeypatch.setattr(owner, name, fault)
    fine, told = check()
    assert not fine, told


@pytest.fixture
def checks(monkeypatch, tmp_path):
    """All lines but "compile" are as expected."""
    def no_compiler(*told):
        raise RuntimeError("Failed to find\na C compiler")
    monkeypatch.chdir(tmp_path)
    for check in ("same_as_cpu", "accumulate", "scaler", "resume", "beside_trl"):
        monkeypatch.setattr(gpu, check, lambda *told, **more: (True, "as expected"))
    monkeypatch.setattr(gpu, "compiled", no_compiler)


def test_a_check_that_raises_ends_nothing(checks, capsys):
    """TRL is printed behind it; and a LOOK is seen in the exit code."""
    assert gpu.main("cpu", "some/folder") == 1
    lines = capsys.readouterr().out.splitlines()
    look, = (line for line in lines if line.startswith("LOOK"))
    assert look.split() == "LOOK compile RuntimeError: Failed to find a C compiler".split()
    assert len(lines) == 1 + len(gpu.lines_of(CPU, "some/folder"))
    assert "grpo beside TRL with Liger's kernels, folder" in lines[-1]


def test_it_stops_in_time_and_goes_on_where_it_stopped(checks, monkeypatch, capsys):
    """What was as expected is not measured again, and a LOOK is."""
    monkeypatch.setattr(gpu, "compiled", lambda *told: (False, "3 graphs"))
    clock = itertools.count()
    monkeypatch.setattr(gpu.time, "monotonic", lambda: next(clock))
    assert gpu.main("cpu", limit=9) == 1
    first = capsys.readouterr().out.splitlines()
    assert first[-1].startswith("9 seconds are over; the same command goes on with: dpo beside TRL")
    for check in ("same_as_cpu", "compiled"):
        monkeypatch.setattr(gpu, check, lambda *told: (True, "again"))
    assert gpu.main("cpu") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [x for x in lines if "again" in x] == [f"ok    {'compile':<32} again"]
    assert len(lines) == 1 + len(gpu.lines_of(CPU, None)) and lines[1] == first[1]


def test_without_trl_the_line_says_so(monkeypatch):
    def without(*told):
        raise ModuleNotFoundError("No module named 'trl'", name="trl")
    monkeypatch.setattr(gpu, "against_trl", without)
    told = gpu.beside_trl("sft", lambda: subjects.Subject("base", rows=2, turns=1), CPU)
    assert told == (True, "not measured: trl is not installed")


def test_a_system_without_a_load_tells_its_cores(monkeypatch):
    """Such as Windows."""
    assert re.search(r", load \d+ on \d+ cores", __main__.machine())
    monkeypatch.delattr(os, "getloadavg")
    assert re.search(r", one thread, fp32, \d+ cores", __main__.machine())


def test_readme_has_the_range_of_the_page_of_benchmarks():
    """From the smallest to the largest median of the lines that compare a step with TRL's."""
    page, readme = (" ".join((ROOT / name).read_text(encoding="utf-8").split())
                    for name in ("docs/benchmarks.md", "README.md"))
    lines = re.findall(r"step of (\w+)[^|]*: TRL's time / ours \| ([\d.]+)", page)
    ranges = [[float(x) for name, x in lines if (name == "GRPO") == sampled]
              for sampled in (False, True)]
    step, sampled = [f"{min(some):.1f} to {max(some):.1f} times" for some in ranges]
    assert re.search(rf"{re.escape(step)} .{{,40}}SFT.{{,30}}GRPO {re.escape(sampled)}", readme)
