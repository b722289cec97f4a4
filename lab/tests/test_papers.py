"""docs/papers.md: every figure and every "agrees" once more, from the kept cells."""
import json
import re

import numpy as np
import pytest
from house import ROOT

from lab import papers
from lab.cells import read_cells
from nanouft.run.storage import Lines, read_json

RESULTS, PAGE = ROOT / "docs" / "results", (ROOT / "docs" / "papers.md").read_text("utf-8")
DATA = read_json(RESULTS / "papers" / "papers.json")
FILE = RESULTS / "papers" / "cells.jsonl"


def test_the_page_and_its_numbers_are_what_the_cells_give(monkeypatch):
    monkeypatch.chdir(ROOT)
    again = papers.numbers_of(list(papers.FIGURES), read_cells(papers.FILE))
    assert json.loads(json.dumps(again)) == DATA
    assert papers.page(DATA) == PAGE


def test_each_figure_of_the_page_has_its_picture_its_command_and_its_word():
    pictures = re.findall(r"\(papers/(\w+)\.png\)", PAGE)
    assert pictures == [n for n in papers.FIGURES if n in DATA]
    sections = PAGE.split("\n## ")[1:]
    assert len(sections) == len(pictures)
    for name, text in zip(pictures, sections):
        assert (ROOT / "docs" / "papers" / f"{name}.png").exists()
        assert f"`python -m lab.papers --figure {name}`" in text
        if name not in ("paradigm", "noisy"):
            assert f"**{DATA[name]['says']}**" in text
            assert "icture" in text or name in ("cost", "noise_ends", "aligned")


# ---- without lab's code --------------------------------------------------------------------------
@pytest.fixture(scope="module")
def mean():
    """Mean score of the cells whose flags hold all of these, over seeds and families."""
    cells = list(Lines(FILE).read()) if FILE.exists() else []

    def of(*flags: str, families=None, seeds=None) -> float:
        found = [c for c in cells if c["base"] == "base"
                 and all(f" {flag} " in f" {c['flags']} " for flag in flags)]
        assert len(found) == seeds, (flags, len(found))
        return float(np.mean([np.mean([c["families"][f]["score"]
                                       for f in families or c["families"]]) for c in found]))
    return of


def told(x: float) -> str:
    return "cannot be told" if abs(x) < 0.01 else "agrees" if x > 0 else "does not agree"


def test_figures_of_other_studies_recomputed():
    """Cost, online UNA, passes, settings, aligned models: from the comparison and the claims."""
    rows = read_json(RESULTS / "compare" / "results.json")["rows"]
    cost = {name: rows[key]["cost"]["flops"] / rows["sft"]["cost"]["flops"]
            for name, key in papers.COSTS.items()}
    assert DATA["cost"]["numbers"] == pytest.approx(cost)
    assert (DATA["cost"]["says"] == "agrees") == (cost["IFT"] < cost["ORPO"] < cost["SFT -> DPO"])
    ppo, una = (rows[f"sft->{n}"] for n in ("ppo", "online_una"))
    cheaper = una["cost"]["flops"] < 0.9 * ppo["cost"]["flops"]
    assert (DATA["online"]["says"] == "agrees") == cheaper
    for name, row in (("PPO", ppo), ("online UNA", una)):
        assert DATA["online"]["numbers"][name]["scores"] == list(row["scores"].values())
    claims = read_json(RESULTS / "claims" / "results.json")["claims"]
    search = claims["C4"]["search"]["base"]
    last = {}
    for row in ("SFT, 40 %", "PoFT, 40 %"):
        rate = search[row]["chosen"]["--lr"]
        means = {s.split()[1]: np.mean(list(x.values())) for s, x in search[row]["tried"].items()
                 if s.startswith(rate + " ")}
        assert DATA["passes"]["numbers"][row] == pytest.approx(means)
        last[row[:3]] = max(means.values()) - means["12"]
    assert (DATA["passes"]["says"] == "agrees") == (last["SFT"] > 0.01 > last["PoF"])
    tried = claims["C3"]["search"]["base"]["UFT (A + B)"]["tried"]
    best: dict[str, float] = {}
    for setting, x in tried.items():
        three = np.mean([np.mean([x[f] for f in part]) for part in papers.PARTS.values()])
        beta = setting.split()[1]
        best[beta] = max(three, best.get(beta, 0))
    smallest, *others = (best[beta] for beta in sorted(best, key=float))
    assert DATA["settings"]["says"] == told(smallest - max(others))
    assert "which of the two larger" not in PAGE.lower() or told(others[0] - others[1]) == told(0)
    rows = claims["C4"]["bases"]["base"]["rows"]
    gain = [rows[f"PoFT, {x} %"]["score"][0] - rows[f"SFT, {x} %"]["score"][0] for x in (0, 40)]
    if "noise_ends" in DATA:
        assert DATA["noise_ends"]["says"] == told(gain[1] - gain[0])
    strong, weak = (rows[r]["score"][0] - rows["SFT, 40 %"]["score"][0]
                    for r in ("PoFT, 40 %", "PoFT, weak aligned model, 40 %"))
    assert DATA["aligned"]["says"] == told(strong - weak)


@pytest.mark.parametrize("figure", ["noise", "ratio", "loss", "grid"])
def test_figures_with_cells_of_their_own_recomputed(figure, mean):
    n, seeds = DATA[figure]["numbers"], DATA[figure]["seeds"]
    if figure == "noise":
        gain = [mean("--objective poft", f"--noise {x}", "--epochs 3", seeds=seeds)
                - mean("--objective sft", f"--noise {x}", "--epochs 3", seeds=seeds)
                for x in ("0", "0.4")]
        shown = [n["PoFT"][i][0] - n["SFT"][i][0] for i in (0, 3)]
        assert shown == pytest.approx(gain, abs=1e-6)
        assert DATA[figure]["says"] == told(gain[1] - gain[0])
    if figure == "ratio":
        honesty = [mean(f"--mix {m}", families=("truth", "unknown"), seeds=seeds)
                   for m in ("7:1", "1:7")]
        assert [n["honesty"][i][0] for i in (0, -1)] == pytest.approx(honesty, abs=1e-6)
        assert DATA[figure]["says"] == told(honesty[1] - honesty[0])
    if figure == "loss":
        best = [max(mean(f"--loss {form}", f"--beta {b}", seeds=seeds) for b in ("0.3", "1", "3"))
                for form in ("mse", "bce")]
        assert (DATA[figure]["says"] == "agrees") == (abs(best[0] - best[1]) < 0.02)
        for (mse, half), (bce, _) in zip(n["mse"].values(), n["bce"].values()):
            assert 0 < mse - bce < half, "the page says so"
    if figure == "grid":
        at = [mean("--variant released", f"--lam {lam}", f"--gamma {gamma}", seeds=seeds)
              for lam, gamma in (("0.2", "0.95"), ("0", "0"))]
        assert [n["released"][1][3], n["released"][0][0]] == pytest.approx(at, abs=1e-6)
        assert DATA[figure]["says"] == told(at[0] - at[1])


# ---- how it is written ---------------------------------------------------------------------------
@pytest.mark.parametrize("section", PAGE.split("\n## "), ids=lambda s: s.split("\n")[0][:30])
def test_the_page_reads_plainly(section):
    """At most 6 figures in 100 words, no sentence over 30 words; it begins with what to do."""
    prose = re.sub(r"!\[.*?\]\(.*?\)|`[^`]*`|\(http[^)]*\)|arXiv:\S+|\d{4}\.\d{5}v\d", "", section)
    words, figures = prose.split(), re.findall(r"(?<![\w.])[-+]?\d[\d,.]*", prose)
    assert len(figures) <= max(3, 0.06 * len(words)), figures
    assert max(len(s.split()) for s in re.split(r"(?<=[.:?!])\s+", prose)) <= 30
