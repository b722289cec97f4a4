"""C7 and its laws. The committed figures a second time, from the cells: json and numpy."""
import base64
import json
import re

import numpy as np
import pytest
import torch
from house import ROOT

from lab import residual
from lab.probes import right_answer, seqs_of
from nanouft import world
from nanouft.models.load import start_model
from nanouft.objective import Batch
from nanouft.objectives import ift
from nanouft.run.storage import Lines, read_json
from nanouft.sampling import answer_rows

RESULTS = ROOT / "docs" / "results"
DATA = read_json(RESULTS / "C7.json")
CELLS = Lines(RESULTS / "C7.jsonl").read()


# ---- the committed figures -----------------------------------------------------------------------
def test_the_verdicts_of_c7_are_what_its_cells_give(monkeypatch):
    monkeypatch.chdir(ROOT)
    again = residual.judged({c["key"]: c for c in CELLS})
    assert json.loads(json.dumps(again)) == DATA
    assert (RESULTS / "C7.md").read_text(encoding="utf-8") == residual.page(DATA)


def numbers(text: str, kind: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), kind).astype(float)


def area(score: np.ndarray, positive: np.ndarray) -> float:
    """The share of couples (right, wrong) that are in order."""
    gap = score[positive][:, None] - score[~positive][None]
    return float(((gap > 0) + 0.5 * (gap == 0)).mean())


def measured(name: str, estimate: str, cell: dict) -> float:
    logp = numbers(cell["logp"][estimate], "<f2")
    truth = numbers(cell["right"], "u1") / 4
    if name == "auc":
        return area(logp, numbers(cell["greedy"], "u1") == 1)
    if name == "order":
        ahead = numbers(cell["margin"][estimate], "<f2")
        return float(np.mean([1 if np.isnan(x) else (x > 0) + 0.5 * (x == 0) for x in ahead]))
    if name == "bias":
        return float(np.exp(logp).mean() - truth.mean())
    p = np.exp(logp)
    return float((truth * (p - 1) ** 2 + (1 - truth) * p ** 2).mean())


def test_every_difference_of_c7_recomputed():
    assert {(c["base"], c["rows"], c["seed"]) for c in CELLS} == {
        (base, n, seed) for base in ("base", "docs/results/base-1") for n in DATA["sizes"]
        for seed in DATA["seeds"]}
    for c in DATA["contrasts"]:
        for base, found in c["bases"].items():
            here = [x for x in CELLS if x["base"] == base]
            gap = np.mean([measured(c["measure"], c["row"], x) for x in here])
            if c["other"]:
                gap -= np.mean([measured(c["measure"], c["other"], x) for x in here])
            assert found["mean"] == pytest.approx(gap, abs=2e-6), c["text"]
            low, high = found["mean"] - found["half"], found["mean"] + found["half"]
            if not c["preset"]:
                assert found["verdict"] == ("holds" if low > 0 else "does not hold" if high < 0
                                            else "undecided")
        words = {b["verdict"] for b in c["bases"].values()}
        assert c["verdict"] == (words.pop() if len(words) == 1 else "undecided")


def test_the_lake_s_page_has_the_exact_figures():
    found = DATA["lake"]
    assert found == residual.lake_estimates()
    assert found["walks"] == found["SFT"] < found["arrives"]        # the chain rule, a lower bound
    text = " ".join((ROOT / "docs" / "lake.md").read_text(encoding="utf-8").split())
    part = text[text.index("**C7**"):]
    shown = [float(x) for x in re.findall(r"(\d+\.\d) %", part)]
    assert shown == [round(100 * found[name], 1) for name in ("walks", "arrives", "lam .2",
                                                              "lam 1")]


# ---- laws ----------------------------------------------------------------------------------------
def test_the_placement_values_have_the_auc_as_their_mean():
    rng = np.random.default_rng(0)
    score, positive = rng.integers(0, 9, 80) / 8, rng.random(80) < 0.3      # with ties
    assert residual.placement(score, positive).mean() == pytest.approx(area(score, positive))


@torch.no_grad()
def test_the_estimates_are_what_the_objective_reads_and_greedy_is_right_where_no_guess_differs():
    model, tok = start_model("base")
    asked = world.rows("val", "prompts", 40, 3, skills=("sort", "reverse", "truth", "fact"))
    texts = [right_answer(row) for row in asked]
    s = seqs_of(texts, asked, model, tok)
    for lam, nll in residual.losses(model, s).items():
        batch = Batch({"answer": s})
        ift.forward(model, batch, ift.IFT(lam=lam))
        assert torch.allclose(nll, -s.logp * s.mask, atol=1e-6)
    guess = model(s.inputs, want="argmax", at=s.places)
    no_ghost = ((guess == s.targets) | (s.mask == 0)).all(-1).numpy()
    greedy = residual.right(tok, asked, answer_rows(model, tok, asked))
    assert (greedy == no_ghost).all() and 0 < greedy.sum() < len(asked)
