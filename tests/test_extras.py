"""lessons/extras: each equation is the loss of its code, and each trap is where its head says."""
import shlex
from pathlib import Path

import pytest
import torch
from formula import value
from made import CPU, NANO, Form, batch_of, killed_in_step, learn, nano, same, start_folder
from test_equations import known, step

from lessons.extras import ts_dpo
from lessons.extras.ts_dpo import TSDPO, linear_logits, weights_of
from nanouft import train
from nanouft.batch import write_logp
from nanouft.objectives.heads import equations
from nanouft.run.reference import FrozenModels

FILE = ts_dpo.__file__


def test_the_equation_of_ts_dpo_is_the_loss_of_the_code():
    line, = equations("ts_dpo", ts_dpo.__doc__)
    o = TSDPO(beta=0.7)
    batch = step("ts_dpo", o)
    leaves = [s.logp.requires_grad_() for s in (batch.seqs["chosen"], batch.seqs["rejected"])]
    told, ours = value(line.loss, known(line, batch, o, "answer")).mean(), o.loss(batch)[0]
    same(told.detach(), ours.detach(), 1e-9)
    for x, y in zip(*(torch.autograd.grad(loss, leaves) for loss in (told, ours))):
        same(x, y, 1e-9)


def test_the_logits_of_the_linear_model_are_the_tangent_of_the_networks():
    """By a central difference; and the changes of two directions add up."""
    model, inputs, at = nano().double(), torch.arange(12).view(2, 6), torch.arange(12)
    start, rng = weights_of(model), torch.Generator().manual_seed(0)
    one, two = ({name: torch.randn(p.shape, generator=rng, dtype=p.dtype)
                 for name, p in start.items()} for _ in range(2))
    both = {name: one[name] + two[name] for name in start}

    def moved(size: float) -> torch.Tensor:
        with torch.no_grad():
            for name, p in model.named_parameters():
                p.copy_(start[name] + size * one[name])
            return model(inputs).view(12, -1)

    def change(direction: dict) -> torch.Tensor:
        return (linear_logits(model, start, direction, inputs, at) - moved(0)).detach()
    same(change(one), (moved(1e-6) - moved(-1e-6)) / 2e-6, 1e-6)
    same(change(both), change(one) + change(two), 1e-9)


def prepared(model) -> TSDPO:
    objective = TSDPO()
    FrozenModels(model, NANO.pad, CPU).prepare([], objective)
    return objective


def of_start(batch, model):
    """The pairs of a batch, with the reference of this model."""
    with torch.no_grad():
        write_logp(model, batch)
    for s in batch.seqs.values():
        s.ref_logp = s.logp.clone()
    return batch


def test_the_first_step_of_ts_dpo_is_that_of_dpo():
    form, model = Form("dpo"), nano().double()
    batch = of_start(batch_of(form), model)
    loss, want = learn(form, model, [batch])
    same(loss, torch.tensor(2.0).double().log(), 1e-12)
    form.objective = prepared(model)
    same(learn(form, model, [batch])[0], loss, 1e-12)
    same(learn(form, model, [batch])[1], want, 1e-9)


def test_far_from_the_start_the_ordinary_network_is_another_model():
    """Which is the trap: a run's scores are of the ordinary one."""
    model = nano().double()
    batch, objective = batch_of(Form("dpo")), prepared(model)
    gaps = []
    for size in (0.001, 0.1):
        with torch.no_grad():
            for name, p in model.named_parameters():
                p.copy_(objective._start[name] * (1 + size))
            objective.forward(model, batch)
            linear = batch.seqs["chosen"].logp
            write_logp(model, batch)
            gaps.append((batch.seqs["chosen"].logp - linear).abs().max().item())
    assert gaps[0] < 1e-3 and gaps[1] > 0.1


def test_a_run_of_ts_dpo_goes_on_to_the_same_bytes(tmp_path, monkeypatch):
    """Its start is that of the run and not that of the checkpoint."""
    monkeypatch.chdir(tmp_path)
    start_folder(Path("start"))
    line = shlex.split(f"--objective {FILE} --init start --rows 8 --steps 4 --batch-size 4 --plain "
                       "--save-every 1 --out")
    train.main([*line, "whole"])
    with killed_in_step(3), pytest.raises(KeyboardInterrupt):
        train.main([*line, "broken"])
    train.main(["--resume", "broken", "--objective", FILE])
    whole, broken = (Path(name, "model.safetensors").read_bytes() for name in ("whole", "broken"))
    assert whole == broken
