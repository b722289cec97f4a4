"""The probes: laws that hold for any model."""
import math

import pytest
import torch

from nanouft import world
from nanouft.look import probes
from nanouft.models.load import start_model


@pytest.fixture(scope="module")
def base():
    return start_model("base")


def test_a_model_has_no_distance_to_itself_and_a_positive_one_to_another(base):
    model, tok = base
    rows = world.rows("val", "prompts", 18, 0)
    s = probes.seqs_of([r.answer[0].text for r in rows], rows, model, tok)
    other, _ = start_model("base")
    with torch.no_grad():
        other.ln_f.weight.mul_(1.2)
    assert abs(probes.kl(model, model, s)) < 1e-6, "LAW: KL(p || p) = 0"
    assert probes.kl(model, other, s) > 0 < probes.kl(other, model, s), "LAW: KL between different models is positive"
    assert probes.kl(model, other, s) != pytest.approx(probes.kl(other, model, s), rel=1e-3), "KL has a direction"


def test_the_gap_is_zero_where_the_model_says_the_gold_answer(base, monkeypatch):
    model, tok = base
    rows = world.rows("val", "prompts", 10, 0, skills=("sort",))
    real = probes.own_prefix_gap(model, tok, rows)
    gold = [probes.answer_rows(model, tok, [r], prior=tok.encode(" " + r.answer[0].text), max_new=1)[0] for r in rows]
    monkeypatch.setattr(probes, "answer_rows", lambda *a, **k: gold)
    assert abs(probes.own_prefix_gap(model, tok, rows)) < 1e-6, "LAW: own prefix = gold prefix leaves no gap"
    assert real > 0.1, "the base copies its input: its own prefix must confuse it"


def test_recovery_counts_only_what_follows_the_slip(base, monkeypatch):
    model, tok = base
    rows = [r for r in world.rows("val", "prompts", 20, 0, skills=("reverse",))]

    def perfect(model, tok, group, prior):
        """Whoever was forced says the forced word, and then every right word in its place."""
        n = len(tok.decode(prior).split())
        texts = [" ".join(tok.decode(prior).split() + r.answer[0].text.split()[n:]) for r in group]
        return [type("A", (), {"ids": tok.encode(" " + t)}) for t in texts]

    monkeypatch.setattr(probes, "answer_rows", perfect)
    for wrong in (1, 2):
        assert probes.recovery(model, tok, rows, wrong) == 1, "LAW: all that follows the slip is right: recovery is 1"


def test_all_of_them_are_finite_and_repeat(base):
    model, tok = base
    first, second = (probes.probe(model, model, tok, "val", items=1) for _ in range(2))
    assert first == second and all(math.isfinite(v) for v in first.values())
    assert abs(first["kl_own"]) < 1e-6 and 0.25 <= first["diversity"] <= 1
