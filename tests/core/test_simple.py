"""simple.py: one file, and yet the same losses as the loop for every objective."""
from dataclasses import dataclass

import pytest
from running import call, losses

from nanouft import simple, train, world
from nanouft.data.batches import collate, encode
from nanouft.loop import Device
from nanouft.models.load import start_model
from nanouft.objectives import OBJECTIVES
from nanouft.reference import Models, add_columns
from nanouft.run.flags import Train
from nanouft.run.setup import Run

STEPS, CPU = 10, Device("cpu", "fp32")


@dataclass
class InOrder:
    """A source of steps: the rows as they come, 16 a step, as simple.teach takes them."""
    encoded: list
    pad: int
    stride = 1
    stats = {}

    def __call__(self, step: int):
        return collate(self.encoded, range(step * simple.ROWS, (step + 1) * simple.ROWS), self.pad)


@pytest.mark.parametrize("name", ["sft", "ift", "dpo"])
def test_its_losses_are_those_of_train(name, tiny_base, tmp_path, capsys):
    objective = OBJECTIVES[name]
    hp = objective.hp()
    rows = world.rows("train", objective.data, STEPS * simple.ROWS, seed=0)
    model, tok = start_model(str(tiny_base))
    plain = simple.teach(model.double(), rows, tok, name, STEPS)    # double: what differs is not rounding

    model, tok = start_model(str(tiny_base))
    model.double()
    encoded, _ = encode(objective.rows(rows, hp), tok, model.cfg.n_ctx)
    add_columns(encoded, objective.columns, Models(model, tok.pad, CPU), hp)
    cfg = Train(lr=simple.LEARNING_RATE[name], batch_size=simple.ROWS, save_every=0)
    train.fit(model, objective, hp, STEPS, Run(name, cfg, hp, CPU, tmp_path, InOrder(encoded, tok.pad), None))
    assert losses(tmp_path) == pytest.approx(plain, abs=1e-6, rel=0)
    assert objective.lr == simple.LEARNING_RATE[name] and plain[-1] < plain[0]


def test_it_prints_answers_before_and_after(capsys):
    assert call(simple.main, "--steps", "0") == 2
    with pytest.raises(SystemExit, match="2"):
        call(simple.main, "--objective", "ppo")
    assert len(capsys.readouterr().err.splitlines()) == 2, "one line each"
    assert call(simple.main, "--objective", "ift") == 0
    out = capsys.readouterr().out
    assert out.count("   before  ") == out.count("   after   ") == 3
