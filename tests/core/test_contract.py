"""The contract in use: an objective from outside, row columns, kinds of data, runs that come first,
coupled losses."""
import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from running import DEMOS, PAIRS, QUICK, call, lines, metrics, one_error
from tiny import CPU, FORMS, NANO, Form, as_if_rolled, batch_of, same, same_each, say, some_rows

from nanouft import evaluate, train, world
from nanouft.data.batches import encode
from nanouft.data.rows import Row, holdout
from nanouft.eval import held_out
from nanouft.files.read import read
from nanouft.models.load import start_model
from nanouft.objectives import OBJECTIVES
from nanouft.reference import Models, logps
from nanouft.run import rows as run_rows
from nanouft.run.flags import Train
from nanouft.world import __main__ as show

pytestmark = pytest.mark.usefixtures("brief")
FILE = '''"""Confidence-weighted likelihood: an objective that nobody has published."""
from dataclasses import dataclass

from nanouft.data.rows import score_rows
from nanouft.objective import Objective


@dataclass
class Mine:
    power: float = 1.0              # how strongly a score weighs


def loss(batch, hp):
    s = batch.seqs["answer"]
    each = batch.per_row.score ** hp.power * -s.mean(s.logp)
    return each.sum() / batch.rows, {"nll": -s.mean(s.logp).sum().detach() / batch.rows}


MINE = Objective(paper="nowhere yet", rows=score_rows, loss=loss, hp=Mine, data="scores", lr=1e-3)
'''


def test_a_new_objective_is_one_file_and_one_line(here, tiny_base, monkeypatch, capsys):
    (here / "mine.py").write_text(FILE, encoding="utf-8")
    monkeypatch.syspath_prepend(here)
    monkeypatch.setitem(OBJECTIVES, "mine", __import__("mine").MINE)                    # the line
    assert call(train.main, "--objective", "list") == 0
    assert "how strongly a score weighs" in capsys.readouterr().out
    argv = ("--objective", "mine", "--init", tiny_base, "--steps", 3, "--batch-size", 4, *QUICK)
    assert call(train.main, *argv, "--rows", 16, "--power", 2, "--out", here / "w") == 0
    assert json.loads((here / "w/run.json").read_text(encoding="utf-8"))["hp"] == {"power": 2.0}
    assert {"loss", "nll"} <= metrics(here / "w")[0].keys()
    scored = lines(here / "s.jsonl", [{**d, "score": i % 3 / 2} for i, d in enumerate(DEMOS)])
    assert call(train.main, *argv, "--data", scored, "--out", here / "f") == 0
    demos = lines(here / "d.jsonl", DEMOS)
    one_error(call(train.main, *argv, "--data", demos), capsys.readouterr().err, "needs scores",
              "16 demonstrations")
    one_error(call(train.main, *argv, "--powr", 2), capsys.readouterr().err, "--power?")


def test_a_column_of_one_method_is_computed_where_answers_are_sampled(here, tiny_base, capsys):
    file, one = lines(here / "p.jsonl",
                      [{"prompt": d["prompt"]} for d in DEMOS]), ("--teacher", tiny_base)
    argv = ("--objective", "distill", "--init", tiny_base, "--steps", 2, "--batch-size", 2, *QUICK,
            "--data", file)
    assert call(train.main, *argv, *one, "--out", here / "d") == 0
    same_each(start_model(here / "d")[0].state_dict(), start_model(str(tiny_base))[0].state_dict(),
              "LAW: the model itself as its teacher teaches nothing", 0)
    assert "teaches nothing" not in capsys.readouterr().out, "no reward is missed"
    one_error(call(train.main, *argv, "--teacher", "no"), capsys.readouterr().err, "no such folder")
    answers, _ = encode([Row(roles={"answer": (say("user", "a green"), say("assistant", "house"))})]
                        * 2, NANO, 64)
    distill, model = OBJECTIVES["distill"], start_model(str(tiny_base))[0]
    form = Form("distill", distill.hp(["base"]))
    batch = as_if_rolled(form, answers, [0.0, 1.0], model, model)
    s = batch.seqs["answer"]
    for row, known in zip(s.extra["teacher_gap"] + s.sampled_logp,
                          logps(answers, start_model("base")[0], NANO.pad, CPU)):
        same(row, known["answer"], "sampled or given, the teacher says the same", 1e-5)


# ---- rows and columns ----------------------------------------------------------------------------
def test_places_are_those_of_the_mask_whoever_changes_it():
    s = batch_of(some_rows()).to("cpu").seqs["answer"]
    other = torch.zeros_like(s.mask).index_fill(1, torch.tensor([0]), 1)                # (B,T)
    there = other.flatten().nonzero()[:, 0].tolist()
    assert s.places is s.places, "noted once, so a GPU need not count"
    assert replace(s, mask=other).places.tolist() == there \
        and len(s.take([0]).places) == s.mask[0].sum()
    s.mask[:] = other                                                   # written into
    assert s.places.tolist() == there


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_kinds_are_kinds_of_the_world(form):
    kinds = form.objective.kinds(form.hp)
    assert set(kinds) <= set(world.KINDS) and kinds
    rows = world.mixed_rows("train", kinds, 12, 0)
    assert len(form.objective.rows(rows, form.hp)) >= 12, \
        "NanoWorld's rows of these kinds serve the objective"


# ---- --skills, --mix -----------------------------------------------------------------------------
def test_skills_choose_families():
    assert world.skills_named("A") == [world.GROUP_A] \
        and world.skills_named("B,fact") == [(*world.GROUP_B, "fact")]
    assert world.skills_named("A:B", 2) == [world.GROUP_A, world.GROUP_B]
    assert world.skills_named("sum", 2) == [("sum",), ("sum",)]
    for words, why in (("sums", "unknown family 'sums'"), ("A:B:A", "3 sets"), ("A:", "unknown")):
        with pytest.raises(ValueError, match=why):
            world.skills_named(words, 2)
    got = world.mixed_rows("train", ["demos"], 30, 4, skills="sum,fact")
    assert {r.family for r in got} == {"sum", "fact"} and len(got) == 30
    assert world.mixed_rows("train", ["pairs"], 20, 4) == world.rows("train", "pairs", 20, 4), \
        "all is the default"
    for side in run_rows.load_rows(Train(skills="sum", rows=20), OBJECTIVES["sft"], None):
        assert {r.family for r in side} == {"sum"}, \
            "rows to train on and rows held out are of the families wanted"


def test_noisy_demonstrations_of_the_world(here):
    assert call(show.main, "--demos", 20, "--noise", 1) == 0
    rows = [json.loads(line)
            for line in (here / "out/demos.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 20 and sum(world.score(r["prompt"], r["response"]) == 1 for r in rows) <= 2


# ---- held-out figures ----------------------------------------------------------------------------
def graded(grades: list[float], gains: list[float], prompts: list[str]) -> dict:
    """held_out.graded on answers of one token whose log-ratio to the start model is given."""
    rows = [Row(roles={"answer": (say("user", p), say("assistant", "a"))}, score=g)
            for p, g in zip(prompts, grades)]
    encoded, _ = encode(rows, NANO, 64)
    for e in encoded:
        e.seqs["answer"].ref_logp = np.array([-2.0])
    return held_out.graded(encoded, [{"answer": np.array([-2.0 + g])} for g in gains],
                           np.array(grades))[0]


def test_accuracy_of_graded_answers():
    got = graded([1.0, 0.5, 0.0, 1.0, 0.0], [3.0, 2.0, 2.5, 0.0, 0.0], ["p", "p", "p", "q", "q"])
    assert got["couples"] == 4
    same(got["accuracy"], (2 + 0 + 0.5) / 4,
         "to one prompt: 3 > 2, 3 > 2.5; 2 < 2.5; a tie counts half")
    same([got["logp_good"], got["logp_bad"]], [-0.5, -0.75],
         "a grade of one half is neither good nor bad")
    got = graded([1.0, 1.0, 0.0], [3.0, 0.0, 1.0], ["p", "q", "r"])
    assert "accuracy" not in got and got["couples"] == 2
    same(got["auc"], 0.5, "no prompt with two answers: all couples of a better and a worse one")
    same([got["logp_good"], got["logp_bad"]], [-0.5, -1.0],
         "log-probs of good and of bad answers apart")


@pytest.mark.parametrize("objective", ["una", "kto", "dpo"])
def test_preferences_are_reported_before_and_after(here, tiny_base, objective, capsys):
    name = "label" if objective == "kto" else "score"
    data = PAIRS if objective == "dpo" else [{**d, "response": d["response"] if good else "no",
                                              name: good * 1} for d in DEMOS
                                             for good in (True, False)]
    file = lines(here / "x.jsonl", data)
    assert call(train.main, "--objective", objective, "--data", file, "--init", tiny_base,
                "--steps", 30, "--lr", 1e-2, "--batch-size", 4, *QUICK, "--out", here / "r") == 0
    held = json.loads((here / "r/eval.json").read_text(encoding="utf-8"))
    before, after = (held[when]["held_out"]["accuracy"] for when in ("before", "after"))
    assert before == 0.5 and after > 0.5, \
        f"{objective} learns to prefer the better answer: {before} -> {after}"
    assert "accuracy 0.500 -> " in capsys.readouterr().out
    first = metrics(here / "r")[0]
    sides = ("chosen", "rejected") if objective == "dpo" else ("good", "bad")
    assert {"margin", "accuracy", "kl", *(f"logp_{s}" for s in sides)} <= first.keys()


def test_evaluate_compares_pairs_and_graded_answers(here, tiny_base, capsys):
    grades = [{**d, "score": i / 2} for d in DEMOS for i in range(3)]
    files = [lines(here / "p.jsonl", PAIRS), lines(here / "g.jsonl", grades)]
    assert call(evaluate.main, "--init", tiny_base, "--data", *files) == 0
    out = capsys.readouterr().out
    assert "pairs " in out and "graded " in out and "48 couples" in out and "accuracy" not in out


def test_models_are_compared_on_rows_that_none_was_trained_on(here, tiny_base, capsys):
    file = lines(here / "d.jsonl", DEMOS)
    for out, rate in (("a", 1e-2), ("b", 1e-4)):
        assert call(train.main, "--objective", "sft", "--data", file, "--init", tiny_base,
                    "--steps", 3, "--lr", rate, *QUICK, "--plain", "--out", out) == 0
    held = json.loads((here / "a/run.json").read_text(encoding="utf-8"))["held_out_rows"]
    assert held == [r.where for r in holdout(read([str(file)])[0])[1]] and len(held) == 2
    capsys.readouterr()
    assert call(evaluate.main, "a", "b", "a", "--data", "d.jsonl") == 0, \
        "the same file under another name"
    said, *found = capsys.readouterr().out.splitlines()[1:]
    assert said == "14 of these 16 rows were trained on (a, b); scored are the 2 others"
    a, b, again = (float(line.split("nll ")[1].split()[0]) for line in found)
    gap, low, high = map(float, re.findall(r"minus a: (\S+) \[(\S+), (\S+)\]", found[1])[0])
    assert gap == pytest.approx(b - a, abs=2e-3) and low <= gap <= high and a == again
    assert found[2].endswith("minus a: +0.000 [+0.000, +0.000]") \
        and "so few tell little" in found[0]
    (here / "d.jsonl").write_text(json.dumps(DEMOS[0]) + "\n")
    assert call(evaluate.main, "a", "--data", "d.jsonl") == 0
    assert "1 of these 1 rows were trained on (a); they are scored" in capsys.readouterr().out


def test_a_difference_is_in_nats_whatever_the_tokens(capsys):
    one = {"nll": 3.0, "low": 2.0, "high": 4.0, "rows": 40}, np.array([2.0, 4.0]), np.array([1, 1])
    evaluate.show("x", ["a", "b"], [one, (one[0], np.array([1.0, 3.0]), np.array([5, 5]))])
    assert "minus a: -1.000 [-1.000, -1.000]" in capsys.readouterr().out


@pytest.mark.parametrize("name, train, held",
                         [("sft", set(), None), ("poft", {"aligned_logp"}, None),
                          ("simpo", {"ref"}, {"ref"}), ("dpo", {"ref"}, {"ref"}),
                          ("una", {"ref"}, {"ref"}), ("ppo", set(), None)])
def test_what_compares_answers_logs_its_distance_to_the_start(name, train, held, monkeypatch):
    """Its own columns, and `ref` where answers are compared; who samples measures them at each
    rollout."""
    asked: list[set] = []
    monkeypatch.setattr(run_rows, "add_columns",
                        lambda data, columns, *_: asked.append({c.name for c in columns}))
    data = run_rows.Data(NANO, [], [], [], [], "")
    models = Models(None, NANO.pad, CPU)
    run_rows.write_columns(data, OBJECTIVES[name], OBJECTIVES[name].hp(), Train(), models)
    assert asked == [names for names in (train, held) if names]
