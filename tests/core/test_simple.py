"""simple.py: one file, and yet the same losses as the loop for every objective."""
from copy import deepcopy
from dataclasses import dataclass
from functools import partial

import pytest
from running import call, losses

from nanouft import simple, train, world
from nanouft.data.batches import collate, encode
from nanouft.loop import Device, steps, warmup_cosine
from nanouft.models.load import start_model
from nanouft.objectives import OBJECTIVES
from nanouft.reference import Models, add_columns
from nanouft.rewards import scorer
from nanouft.run.flags import Train
from nanouft.run.setup import Run
from nanouft.sampling import Rollouts

STEPS, CPU = 10, Device("cpu", "fp32")


def in_order(step: int) -> range:
    """The rows as they come, 16 a step, as simple.teach takes them."""
    return range(step * simple.ROWS, (step + 1) * simple.ROWS)


@dataclass
class InOrder:
    """A source of steps."""
    encoded: list
    pad: int
    stride = 1
    stats = {}

    def __call__(self, step: int):
        return collate(self.encoded, in_order(step), self.pad)


class OrderedPlan:
    def __getitem__(self, step: int) -> range:
        return in_order(step)


def big_and_plain(name: str, folder, n: int):
    """(a model in double, its objective, settings and rows as tokens; what simple.py makes of it:
    model and losses). In double what differs is not rounding."""
    objective = OBJECTIVES[name]
    hp = objective.hp(minibatches=1) if name == "grpo" else objective.hp()
    kind = "demos" if name == "grpo" else objective.data
    rows = world.rows("train", kind, n * simple.ROWS, seed=0)
    taught, tok = start_model(str(folder))
    plain = simple.teach(taught.double(), rows, tok, name, n)
    model, _ = start_model(str(folder))
    encoded, _ = encode(objective.rows(rows, hp), tok, model.cfg.n_ctx)
    assert len(encoded) == len(rows), "the same rows a step"
    return model.double(), objective, hp, encoded, tok, taught, plain


@pytest.mark.parametrize("name", ["sft", "ift", "dpo"])
def test_its_losses_are_those_of_train(name, tiny_base, tmp_path, capsys):
    model, objective, hp, encoded, tok, taught, plain = big_and_plain(name, tiny_base, STEPS)
    add_columns(encoded, objective.columns, Models(model, tok.pad, CPU), hp)
    cfg = Train(lr=simple.LEARNING_RATE[name], batch_size=simple.ROWS, save_every=0)
    run = Run(name, cfg, hp, CPU, tmp_path, InOrder(encoded, tok.pad), None)
    train.fit(model, objective, hp, STEPS, run)
    assert losses(tmp_path) == pytest.approx(plain, abs=1e-6, rel=0)
    assert objective.lr == simple.LEARNING_RATE[name] and plain[-1] < plain[0]


def test_its_grpo_is_the_loop_over_rollouts(tiny_base, monkeypatch, capsys):
    """The same answers, losses and weights, at a rate at which the policy leaves its start.
    Rollouts keeps its columns in fp32. A tiny model never scores, so another score stands in."""
    n, rate = 4, 2e-3
    monkeypatch.setitem(simple.LEARNING_RATE, "grpo", rate)
    monkeypatch.setattr(world, "score", lambda question, answer: len({*answer}) / 99)
    model, objective, hp, encoded, tok, taught, plain = big_and_plain("grpo", tiny_base, n)
    assert (hp.samples, hp.beta, hp.minibatches, hp.passes) == (simple.SAMPLES, simple.KL, 1, 1)
    score = partial(scorer.score_rows, scorer.exact)
    source = Rollouts(encoded, objective, hp, model, deepcopy(model), tok, score,
                      rows=simple.ROWS, steps=n, seed=0)
    source.plan = OrderedPlan()
    optimizer = simple.torch.optim.AdamW(model.parameters(), betas=(0.9, 0.95), weight_decay=0.0)
    loop = steps(model, objective, hp, source, optimizer, range(n), clip=1.0,
                 schedule=warmup_cosine(rate, n, 0.1))
    big = [float(step.sums["loss"]) for step in loop]
    assert big == pytest.approx(plain, abs=1e-6, rel=0)
    was = dict(start_model(str(tiny_base))[0].named_parameters())
    theirs = dict(taught.named_parameters())
    for name, p in model.named_parameters():
        way, gap = (p - was[name]).detach().abs().max(), (p - theirs[name]).detach().abs().max()
        assert gap < 0.01 * way, f"{name}: both go the same way"


def test_it_prints_answers_before_and_after(capsys):
    for wrong in (("--steps", "0"), ("--objective", "ppo")):
        with pytest.raises(SystemExit, match="2"):
            call(simple.main, *wrong)
    assert len(capsys.readouterr().err.splitlines()) == 2, "one line each"
    assert call(simple.main, "--objective", "ift", "--steps", 4) == 0
    out = capsys.readouterr().out
    assert out.count("   before  ") == out.count("   after   ") == 3
