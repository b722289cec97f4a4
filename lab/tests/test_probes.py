"""The probes: laws, and figures of the shipped base that must not move."""
import pytest
import torch

from lab import probes
from nanouft import world
from nanouft.models.load import start_model

# Of the shipped base with other weights in its last layer. What is sampled is left out: torch may
# draw it anew.
KNOWN = {"own_prefix_gap": 0.5695, "recovery_1": 0.3204, "recovery_2": 0.0516, "kl_gold": 0.0093,
         "kl_back": 0.0119, "corpus_nll": 1.0068}


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
    assert probes.kl(model, other, s) > 0 < probes.kl(other, model, s), \
        "LAW: KL between different models is positive"
    assert probes.kl(model, other, s) != pytest.approx(probes.kl(other, model, s), rel=1e-3), \
        "KL has a direction"


def test_the_gap_is_zero_where_the_model_says_the_gold_answer(base, monkeypatch):
    model, tok = base
    rows = world.rows("val", "prompts", 10, 0, skills=("sort",))
    real = probes.own_prefix_gap(model, tok, rows)
    gold = [probes.answer_rows(model, tok, [r], prior=tok.encode(" " + r.answer[0].text),
                               max_new=1)[0] for r in rows]
    monkeypatch.setattr(probes, "answer_rows", lambda *a, **k: gold)
    assert abs(probes.own_prefix_gap(model, tok, rows)) < 1e-6, \
        "LAW: own prefix = gold prefix leaves no gap"
    assert real > 0.1, "the base copies its input: its own prefix must confuse it"


def test_one_answer_a_prompt_has_the_least_diversity(base, monkeypatch):
    """Four equal samples of each prompt: one of four is different, whatever other prompts get."""
    real = probes.answer_rows
    monkeypatch.setattr(probes, "answer_rows",
                        lambda *args, temperature=0, **how: real(*args, **how))
    assert probes.probe(*base[:1], *base, "val", items=1)["diversity"] == 0.25


def test_the_figures_have_not_moved(base):
    (model, tok), (other, _) = base, start_model("base")
    with torch.no_grad():
        other.ln_f.weight.mul_(1.2)
    found = probes.probe(other, model, tok, "val", items=2)
    assert {name: found[name] for name in KNOWN} == pytest.approx(KNOWN, abs=2e-3)


def test_the_command_prints_each_with_its_meaning(capsys):
    assert probes.main(["--items", "1"]) == 0
    said = capsys.readouterr().out
    assert all(name in said and words in said for name, words in probes.MEANING.items())
