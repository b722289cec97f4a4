"""`python -m lessons.bench --gpu` tried without a GPU: each of its lines says ok, and LOOK as soon
as the fault is planted that it looks for."""

import pytest
import torch
from made import NANO, tiny

from lessons.bench import gpu, subjects
from nanouft.gpt import GPT
from nanouft.loop import Device
from nanouft.run import follow

CPU, NO_FAULT = Device("cpu", "bf16"), [0.0, 0.0, 0.0]


def small():
    return tiny(vocab_size=NANO.n_vocab, n_layer=1), NANO


# ---- the same as on the CPU ----------------------------------------------------------------------
def planted(faults: list[float], monkeypatch):
    """The n-th learner that a check makes is off by faults[n]: that of the CPU, fp32, bf16."""
    made, real = [], gpu.learner

    def learner(*told):
        made.append(real(*told))
        model, go = made[-1]
        return model, lambda k: go(k) * (1 + faults[len(made) - 1])
    monkeypatch.setattr(gpu, "learner", learner)


@pytest.mark.parametrize("name", gpu.TRIED)
def test_every_method_is_as_on_the_cpu(name):
    fine, told = gpu.same_as_cpu(name, CPU, small, rows=8)
    assert fine and "off by 0e+00 in fp32" in told, told


@pytest.mark.parametrize("faults, fine", [(NO_FAULT, True), ([0, 0.01, 0], False),
                                          ([0, 0, 0.2], False)])
def test_other_numbers_than_the_cpus_are_a_look(faults, fine, monkeypatch):
    planted(faults, monkeypatch)
    assert gpu.same_as_cpu("sft", CPU, small, rows=4)[0] == fine


# ---- the other checks ----------------------------------------------------------------------------
def test_an_overflow_that_is_learnt_from_is_a_look(monkeypatch):
    assert gpu.scaler(CPU, small)[0]
    monkeypatch.setattr(torch.amp.GradScaler, "step", lambda self, optimizer: optimizer.step())
    assert not gpu.scaler(CPU, small)[0]


def forgets_the_moments(run, model, optimizer) -> dict:
    saved = LOAD(run, model, optimizer)
    optimizer.state.clear()
    return saved


LOAD = follow.load_step


@pytest.mark.parametrize("load", [LOAD, forgets_the_moments])
def test_a_run_that_is_not_resumed_well_is_a_look(load, monkeypatch):
    monkeypatch.setattr(follow, "load_step", load)
    fine, told = gpu.resume(Device(), half=2)
    assert fine == (load is LOAD) == ("losses off by 0e+00" in told), told


def test_a_graph_that_breaks_and_other_numbers_are_a_look(monkeypatch):
    assert gpu.compiled(Device(), small, "eager")[0]
    head = GPT.head

    def broken(self, hidden):
        torch._dynamo.graph_break()
        return head(self, hidden)
    with monkeypatch.context() as now:
        now.setattr(GPT, "head", broken)
        fine, told = gpu.compiled(Device(), small, "eager")
    assert not fine and " 0 breaks" not in told
    planted([0, 0.1], monkeypatch)
    fine, told = gpu.compiled(Device(), small, "eager")
    assert not fine and "3 graphs, 0 breaks" in told


# ---- all lines -----------------------------------------------------------------------------------
def test_a_check_that_raises_ends_nothing(monkeypatch, capsys):
    """Costs are printed behind it; and a LOOK is seen in the exit code."""
    def no_compiler(*told):
        raise RuntimeError("Failed to find\na C compiler")
    for check in ("same_as_cpu", "scaler", "resume", "cost"):
        monkeypatch.setattr(gpu, check, lambda *told, **more: (True, "as expected"))
    monkeypatch.setattr(gpu, "compiled", no_compiler)
    assert gpu.main("cpu", "some/folder") == 1
    lines = capsys.readouterr().out.splitlines()
    look, = (line for line in lines if line.startswith("LOOK"))
    assert look.split() == "LOOK compile RuntimeError: Failed to find a C compiler".split()
    assert len(lines) == 1 + 8 + 3 + 8 and "cost of grpo, folder" in lines[-1]


def test_a_cost_is_tokens_per_second(monkeypatch):
    monkeypatch.setattr(subjects, "start_model", lambda folder: small())
    monkeypatch.setattr(subjects, "MAX_NEW", 8)
    fine, told = gpu.cost("sft", lambda: subjects.Subject("base", rows=2, turns=1), CPU)
    assert fine and told.startswith("2 rows per step, ") and told.endswith(" tokens per second")
