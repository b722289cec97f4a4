"""`python -m lessons.bench --gpu` tried without a GPU: each of its lines says ok, and LOOK where
numbers are not the CPU's."""
import os
import re
import sys
from pathlib import Path

import pytest
import torch
from made import NANO, tiny

from lessons.bench import __main__, gpu, subjects
from nanouft import train
from nanouft.gpt import MLP
from nanouft.loop import Device

CPU = Device("cpu", "bf16")
ROOT = Path(__file__).parents[1]


def test_readme_has_the_range_of_the_page_of_benchmarks():
    """From the smallest to the largest median of the lines that compare a step with TRL's."""
    page, readme = (" ".join((ROOT / name).read_text(encoding="utf-8").split())
                    for name in ("docs/benchmarks.md", "README.md"))
    lines = re.findall(r"step of (\w+)[^|]*: TRL's time / ours \| ([\d.]+)", page)
    ranges = [[float(x) for name, x in lines if (name == "GRPO") == sampled]
              for sampled in (False, True)]
    assert len(lines) == 7
    step, sampled = [f"{min(some):.1f} to {max(some):.1f} times" for some in ranges]
    assert re.search(rf"{re.escape(step)} .{{,40}}SFT.{{,30}}GRPO {re.escape(sampled)}", readme)


def test_a_system_without_a_load_tells_its_cores(monkeypatch):
    """Such as Windows."""
    assert re.search(r", load \d+ on \d+ cores", __main__.machine())
    monkeypatch.delattr(os, "getloadavg")
    assert re.search(r", one thread, fp32, \d+ cores", __main__.machine())


def test_the_training_of_the_subject_shows_its_bar_alone(monkeypatch, capsys):
    def once(kind, words):
        print("a line")
        print("a bar", file=sys.stderr)
        return "folder"
    monkeypatch.setattr(subjects, "once", once)
    assert subjects.nano().folder == "folder"
    assert capsys.readouterr() == ("", "a bar\n")


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


def test_an_overflow_that_is_learnt_from_is_a_look(monkeypatch):
    assert gpu.scaler(CPU, small)[0]
    monkeypatch.setattr(torch.amp.GradScaler, "step", lambda self, optimizer: optimizer.step())
    assert not gpu.scaler(CPU, small)[0]


@pytest.mark.slow
def test_a_graph_that_breaks_is_a_look(monkeypatch):
    assert gpu.compiled(Device(), small, "eager")[0]
    mlp = MLP.forward

    def broken(self, x):
        torch._dynamo.graph_break()
        return mlp(self, x)
    monkeypatch.setattr(MLP, "forward", broken)
    fine, told = gpu.compiled(Device(), small, "eager")
    assert not fine and " 0 breaks" not in told


def forgets_the_moments(run, model, optimizer, scaler) -> int:
    done = LOAD(run, model, optimizer, scaler)
    optimizer.state.clear()
    return done


def begins_again(run, model, optimizer, scaler) -> int:
    return 0


LOAD = train.load_step


@pytest.mark.parametrize("load", [LOAD, forgets_the_moments, begins_again])
def test_a_run_that_is_not_resumed_well_is_a_look(load, monkeypatch):
    """Also one that makes all its steps once more, which gives the same losses."""
    monkeypatch.setattr(train, "load_step", load)
    fine, told = gpu.resume(Device(), half=2)
    assert fine == (load is LOAD), told
    assert ("losses off by 0e+00" in told) == (load is not forgets_the_moments), told


def test_a_check_that_raises_ends_nothing(monkeypatch, capsys):
    """Costs are printed behind it; and a LOOK is seen in the exit code."""
    def no_compiler(*told):
        raise RuntimeError("Failed to find\na C compiler")
    for check in ("same_as_cpu", "scaler", "resume", "cost", "exact_cost", "cost_with_cudnn",
                  "beside_trl"):
        monkeypatch.setattr(gpu, check, lambda *told, **more: (True, "as expected"))
    monkeypatch.setattr(gpu, "compiled", no_compiler)
    assert gpu.main("cpu", "some/folder") == 1
    lines = capsys.readouterr().out.splitlines()
    look, = (line for line in lines if line.startswith("LOOK"))
    assert look.split() == "LOOK compile RuntimeError: Failed to find a C compiler".split()
    assert len(lines) == 1 + 8 + 3 + 12 + 8 and "grpo beside TRL, folder" in lines[-1]


def test_without_trl_the_line_says_so(monkeypatch):
    def without(*told):
        raise ModuleNotFoundError("No module named 'trl'", name="trl")
    monkeypatch.setattr(gpu, "against_trl", without)
    told = gpu.beside_trl("sft", lambda: subjects.Subject("base", rows=2, turns=1), CPU)
    assert told == (True, "not measured: trl is not installed")


def test_a_cost_is_tokens_per_second(monkeypatch):
    monkeypatch.setattr(subjects, "start_model", lambda folder: small())
    monkeypatch.setattr(subjects, "MAX_NEW", 8)
    fine, told = gpu.cost("sft", lambda: subjects.Subject("base", rows=2, turns=1), CPU)
    assert fine and told.startswith("2 rows per step, ") and told.endswith(" tokens per second")
