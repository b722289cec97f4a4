"""Does IFT as released unlearn stopping? The five losses, and the committed figures a second time,
from the cells."""
import json

import numpy as np
import pytest
import torch
from house import ROOT

from lab import stopping
from lab.stopping import ARMS
from nanouft.data.batches import collate, encode
from nanouft.data.tokenizer import nano
from nanouft.objective import pushes
from nanouft.run.storage import Lines, read_json

RESULTS = ROOT / "docs" / "results"


# ---- the losses ----------------------------------------------------------------------------------
def push_on_the_end(arm: str, hard: float, end: float) -> float:
    """N times the push on <|end|> of one list whose words all lose `hard` nats."""
    objective, hp = ARMS[arm]
    data, _ = encode(objective.rows(stopping.rows((5, 5), 1, 0), hp), nano(), 512)
    batch = collate(data, [0], nano().pad)
    s = batch.seqs["answer"]
    last = s.targets == nano().end
    s.logp = -torch.where(last, end, hard) * s.mask
    return float(pushes(objective, batch, hp)["answer"][last] * s.mask.sum())


def test_only_the_released_loss_pushes_a_learnt_end_down():
    """After words that are equally hard, whatever their loss."""
    for hard in (0.5, 2.0, 4.0):
        push = {arm: push_on_the_end(arm, hard, 0.0) for arm in ARMS}
        assert push.pop("released") == pytest.approx(-0.362, abs=1e-3)
        assert push == pytest.approx({"SFT": 1, "plain end": 1, "detached": 0,
                                      "last weight constant": 0}, abs=1e-5)


def test_a_list_ends_with_the_word_that_its_prompt_names():
    for row in stopping.rows((5, 7), 20, 1):
        words = row.answer[0].text.split()
        assert words[-2] == "and" and row.prompt[0].text.endswith(f"End on {words[-1]}.")
        assert len(set(words)) == len(words)


# ---- the committed figures -----------------------------------------------------------------------
def test_the_table_is_what_the_cells_give():
    """Means, differences to SFT and words, from the cells alone."""
    data, cells = read_json(RESULTS / "stopping.json"), list(Lines(RESULTS / "stopping.jsonl")
                                                             .read())
    assert [(p["place"], p["tokens"]) for p in data["places"]][:2] == [("words", 8), ("words", 32)]
    for p in data["places"]:
        seeds = range(p["seeds"])

        def ends(arm: str, p=p, seeds=seeds) -> np.ndarray:
            found = {c["seed"]: c["end"] for c in cells if (c["place"], c["tokens"], c["arm"])
                     == (p["place"], p["tokens"], arm)}
            return np.array([found[s] for s in seeds])
        start, = (c for c in cells if (c["place"], c["tokens"], c["arm"])
                  == (p["place"], p["tokens"], "untrained base"))
        assert p["untrained base"] == {"end": start["end"], "stops": start["stops"]}
        for c in p["compared"]:
            other = start["end"] if c["other"] == "untrained base" else ends(c["other"])
            gap = ends(c["arm"]) - other
            half = 4.3027 * gap.std(ddof=1) / np.sqrt(3)        # Student, 2 degrees
            assert c["gap"] == pytest.approx([gap.mean(), half], rel=2e-4, abs=2e-6)
            assert c["word"] == ("higher" if gap.mean() > half else "lower" if gap.mean() < -half
                                 else "undecided")
        for arm, a in p["arms"].items():
            gap = ends(arm) - ends("SFT")
            assert a["end"][0] == pytest.approx(ends(arm).mean(), abs=2e-6)
            assert a["minus SFT"][0] == pytest.approx(gap.mean(), abs=2e-6)
            half = a["minus SFT"][1]
            word = ("below" if gap.mean() + half < 0 and gap.mean() < -0.02 else "as SFT"
                    if abs(gap.mean()) + half < 0.02 else "undecided")
            assert a["word"] == word
    assert (RESULTS / "stopping.md").read_text(encoding="utf-8") == stopping.page(data)
    assert json.loads(json.dumps(stopping.judged({c["key"]: c for c in cells}))) == data


def test_the_claims_say_what_the_six_cases_show():
    """docs/claims.md: in how many of them, in words."""
    text = " ".join((ROOT / "docs" / "claims.md").read_text(encoding="utf-8").split())
    n = stopping.counts(read_json(RESULTS / "stopping.json"))
    assert n["of"] == 6 and n["released"]["below"] == 6
    lower, last = (n[pair] for pair in ("released - untrained base",
                                        "last weight constant - released"))
    words = ("none", "one", "two", "three", "four", "five", "six")
    assert (f"below the untrained base in {words[lower['lower']]} of six cases, and above it in "
            f"{words[lower['higher']]}") in text
    assert (f"more likely in {words[last['higher']]} of six, less likely in "
            f"{words[last['lower']]}") in text
    assert f"as well as SFT in {words[n['plain end']['as SFT']]} of six" in text
