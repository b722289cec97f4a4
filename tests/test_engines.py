"""Whatever trains an objective meets the whole contract: it checks the settings, lets the objective
change the model before it trains, and, compiled or not, takes the same step. (test_trainer.py asks
the same of transformers' Trainer.)"""
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from made import (
    NANO,
    Form,
    killed_in_step,
    nano,
    one_error,
    start_folder,
    tiny,
)
from test_lake import TASK, TWOWAY
from torch._dynamo.utils import counters

from frozen_lake.learn import learn
from frozen_lake.policies import Net
from nanouft import train, world
from nanouft.data.batches import Batching, encode
from nanouft.loop import Device, grad_scaler
from nanouft.objectives import OBJECTIVES
from nanouft.playground.record import taught
from nanouft.plumbing.entry import command
from nanouft.rollout import Rollouts, Sampler
from nanouft.run.folder import read_lines

SAMPLED = [name for name, o in OBJECTIVES.items() if o().on_policy]


@pytest.fixture(scope="module")
def start(tmp_path_factory) -> str:
    return start_folder(tmp_path_factory.mktemp("engines") / "start")


@pytest.fixture
def hooks(monkeypatch) -> list[str]:
    """Which hooks have been called, of any method; `setup` with the seed of the run, which is 0."""
    seen: list[str] = []

    def watch(cls: type, hook: str) -> None:
        real = getattr(cls, hook)

        def called(self, *args, **named):
            right = hook == "check" or [*args[1:], *named.values()] == [0]
            seen.append(hook if right else f"{hook} with {args[1:]} {named}")
            return real(self, *args, **named)
        monkeypatch.setattr(cls, hook, called)
    for cls in OBJECTIVES.values():
        for hook in ("check", "setup"):
            watch(cls, hook)
    return seen


def arguments(name: str, start: str, *more: str) -> list[str]:
    """The command line of a short run; the last of two equal flags counts."""
    first = OBJECTIVES[name].first_models
    others = [f"--{first.setting}", *[start] * len(first.flags)] if first else []
    sampled = ["--max-new", "5"] if name in SAMPLED else []
    return ["--objective", name, "--init", start, *others, *sampled, "--steps", "1", "--rows", "12",
            "--batch-size", "4", "--plain", "--threads", "1", "--save-every", "0", "--device",
            "cpu", *more]


def logged(name: str, start: str, out: Path, *more: str) -> list[float]:
    """The losses of a short run of `nanouft.train`."""
    assert command(train.main, [*arguments(name, start, *more), "--out", str(out)]) == 0
    return [line["loss"] for line in read_lines(out / "metrics.jsonl")]


# ---- torch.compile and fp16 ----------------------------------------------------------------------
@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_run_calls_every_hook(name, start, tmp_path, hooks):
    logged(name, start, tmp_path / "run")
    assert {*hooks} == {"check", "setup"}


def test_a_compiled_run_that_goes_on_is_one_that_was_not_stopped(start, tmp_path, monkeypatch):
    """Its losses are the plain ones. Its steps are cut into micro-batches, which are compiled as
    whole steps are."""
    def eager(*args, **how):
        return compiler(*args, **how | {"backend": "eager"})
    compiler = torch.compile
    monkeypatch.setattr(torch, "compile", eager)
    torch._dynamo.reset()
    counters.clear()
    flags = ("--compile", "--steps", "4", "--save-every", "2")
    whole, cut = (tmp_path / name for name in ("whole", "cut"))
    losses = logged("ift", start, whole, *flags)
    assert losses == pytest.approx(logged("ift", start, tmp_path / "plain", *flags[1:]), rel=1e-5)
    assert counters["stats"]["unique_graphs"] == 2 and not counters["graph_break"]
    assert logged("ift", start, tmp_path / "parts", *flags, "--accumulate", "2") == pytest.approx(
        losses, rel=1e-5)
    with killed_in_step(3):
        assert command(train.main, [*arguments("ift", start, *flags), "--out", str(cut)]) == 130
    assert command(train.main, ["--resume", str(cut)]) == 0
    assert [line["loss"] for line in read_lines(cut / "metrics.jsonl")] == losses


def test_without_a_compiler_a_run_ends_in_one_line(start, tmp_path, monkeypatch, capsys):
    """Such as on Windows without Triton."""
    def no_compiler(graph, inputs):
        raise RuntimeError("Cannot find\na working triton installation")
    compiler = torch.compile
    monkeypatch.setattr(torch, "compile", lambda forward, **how: compiler(
        forward, **how | {"backend": no_compiler}))
    torch._dynamo.reset()
    argv = [*arguments("sft", start, "--compile"), "--out", str(tmp_path / "out")]
    assert command(train.main, argv) == 2
    line = one_error(capsys)
    assert "leave --compile out" in line and "a working triton installation" in line


def test_no_first_step_in_fp16_is_left_out(tmp_path, monkeypatch):
    """Of SPPO on the shipped base, whose gradients are the largest of all methods."""
    scalers = []

    def kept(device: Device):
        scalers.append(grad_scaler(device))
        return scalers[-1]
    monkeypatch.setattr(train.devices, "choose_device", lambda *_: Device("cpu", "fp16"))
    monkeypatch.setattr(train.devices, "exact_if_small", lambda device, *_: device)
    monkeypatch.setattr(train, "grad_scaler", kept)
    logged("sppo", "base", tmp_path / "out", "--steps", "4", "--rows", "33", "--batch-size", "8")
    assert scalers[0].get_scale() == grad_scaler(Device("cpu", "fp16")).get_scale()


# ---- check and setup -----------------------------------------------------------------------------
def rollouts(name: str, model, **settings) -> Rollouts:
    o = OBJECTIVES[name](**settings)
    prompts, _ = encode(o.choose(world.rows("train", "prompts", 8, 0)), NANO, 50)
    return Rollouts(prompts, o, Sampler(model, deepcopy(model), NANO, max_new=4),
                    lambda rows, texts: [0.5] * len(rows), Batching(batch_size=2, steps=4))


def test_rollouts_call_every_hook(hooks):
    rollouts("grpo", nano())
    assert {*hooks} == {"check", "setup"}


def test_the_playground_calls_every_hook(hooks):
    def no_rows(rows):
        raise StopAsyncIteration
    o = Form("dpo").objective
    with pytest.MonkeyPatch.context() as now, pytest.raises(StopAsyncIteration):
        now.setattr(type(o), "choose", lambda self, rows: no_rows(rows))
        next(taught(o, nano(), NANO))
    assert {*hooks} == {"check", "setup"}


def test_the_lake_calls_every_hook(hooks):
    learn(TASK, Net(TWOWAY, 2), "dpo", 1)
    assert {*hooks} == {"check", "setup"}


def test_rollouts_give_ppo_its_critic_and_keep_one_that_is_there():
    model = tiny(vocab_size=NANO.n_vocab)
    assert model.value is None
    rollouts("ppo", model)
    assert model.value.weight.shape == (1, model.cfg.n_embd) and not model.value.weight.any()
    mine = nano()
    before = mine.value.weight.clone()
    rollouts("ppo", mine)
    assert torch.equal(mine.value.weight, before) and before.any()


@pytest.mark.parametrize("name", OBJECTIVES)
def test_setup_changes_nothing_when_it_is_called_again(name):
    def state(model) -> list:
        return [(key, p.requires_grad, p.detach().clone()) for key, p in model.named_parameters()]
    model, o = tiny(vocab_size=NANO.n_vocab), OBJECTIVES[name]()
    o.setup(model, 3)
    once = state(model)
    o.setup(model, 3)
    for (key, learns, weight), (again, still, same) in zip(once, state(model), strict=True):
        assert (key, learns) == (again, still) and torch.equal(weight, same)
