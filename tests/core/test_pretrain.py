"""The shipped base is what its command makes.

    python -m pytest tests/core/test_pretrain.py                below 5 s
    python -m pytest -m slow tests/core/test_pretrain.py        makes the base again, about 6 minutes on two idle cores
"""
import json
from dataclasses import asdict, replace

import pytest
from tiny import CPU, NANO

from nanouft import pretrain
from nanouft.gpt import SIZES, GPTConfig
from nanouft.look.scores import families
from nanouft.models.load import BASE, start_model
from nanouft.pretrain import Pretrain, base_key

SHAPE = GPTConfig(**{**asdict(SIZES["nano"]), "vocab_size": NANO.n_vocab})
SHIPPED = json.loads((BASE / "run.json").read_text(encoding="utf-8"))


def test_the_shipped_base_belongs_to_this_world():
    """Whoever changes corpus, shape or settings has to make the base again."""
    assert SHIPPED["key"] == base_key(Pretrain(), SHAPE, 3300, NANO), (
        "the corpus or the settings changed: make the base again (nanouft/pretrain.py says how)")
    assert SHIPPED["base_version"] == pretrain.BASE_VERSION


def test_the_key_knows_what_a_base_is_made_of(tmp_path, monkeypatch):
    text = tmp_path / "a.txt"
    text.write_text("one")
    keys = [base_key(c, SHAPE, n, NANO) for c, n in [
        (Pretrain(), 3300), (Pretrain(), 100), (Pretrain(seed=1), 3300), (Pretrain(lr=1e-3), 3300),
        (Pretrain(corpus=str(text)), 3300)]]
    text.write_text("two")
    keys += [base_key(Pretrain(corpus=str(text)), SHAPE, 3300, NANO),
             base_key(Pretrain(), replace(SHAPE, n_layer=5), 3300, NANO)]
    elsewhere = base_key(Pretrain(out="x", threads=1, half=True), SHAPE, 100, NANO)
    assert elsewhere == keys[1], "where it is kept and how fast it was made is not what it is"
    monkeypatch.setattr(pretrain, "BASE_VERSION", pretrain.BASE_VERSION + 1)
    keys.append(base_key(Pretrain(), SHAPE, 3300, NANO))
    assert len(set(keys)) == len(keys), "each of these changes gives another key"


def test_a_short_pretraining_learns_and_keeps_its_key(tmp_path):
    folder = pretrain.pretrain(Pretrain(steps=12, tokens=512, out=str(tmp_path / "b"), threads=1, device="cpu"))
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert run["held_out_loss"]["after"] < run["held_out_loss"]["before"] - 0.3
    assert run["key"] != SHIPPED["key"]


@pytest.mark.slow
def test_the_base_can_be_made_again(tmp_path):
    """Not bit for bit (threads and machines differ), but the same base: loss, knowledge and habits within a band."""
    folder = pretrain.pretrain(Pretrain(out=str(tmp_path / "again"), device="cpu"))
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert run["key"] == SHIPPED["key"]
    assert abs(run["held_out_loss"]["after"] - SHIPPED["held_out_loss"]["after"]) < 0.06
    (old, _), (new, _) = (families(*start_model(name), CPU, "val") for name in ("base", str(folder)))
    for family, was in old.items():
        assert abs(new[family]["score"] - was["score"]) < 0.15, f"{family}: {was} -> {new[family]}"
        assert abs(new[family]["ends"] - was["ends"]) < 0.25, family
    assert new["fact"]["score"] > 0.95
