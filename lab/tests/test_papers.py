"""docs/papers.md: every figure and every "agrees" once more, from the kept cells."""
import json
import re

import numpy as np
import pytest
from house import ROOT
from scipy.stats import t as student

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
            assert "icture" in text or name in ("cost", "aligned")


# ---- without lab's code --------------------------------------------------------------------------
@pytest.fixture(scope="module")
def scores():
    """{seed: mean score over families} of the cells whose flags hold all of these."""
    cells = list(Lines(FILE).read()) if FILE.exists() else []

    def of(*flags: str, families=None) -> dict[int, float]:
        found = [c for c in cells if c["base"] == "base" and "own" not in c
                 and all(f" {flag} " in f" {c['flags']} " for flag in flags)]
        assert len(found) == 3, (flags, len(found))
        return {c["seed"]: float(np.mean([c["families"][f]["score"]
                                          for f in families or c["families"]])) for c in found}
    return of


def t_interval(values) -> tuple[float, float]:
    """Mean, and half width of its 95 % interval (Student's t)."""
    x = np.array(list(values))
    return x.mean(), student.ppf(0.975, len(x) - 1) * x.std(ddof=1) / len(x) ** 0.5


def agrees(figure: str, found, differences: dict[int, float], limit: float = 0.0) -> None:
    """The printed mean and half width of these differences, and the word that follows."""
    mean, half = t_interval(differences.values())
    assert found == pytest.approx([mean, half], abs=2e-4)
    word = ("agrees" if mean - half > limit else "does not agree" if mean + half < limit
            else "cannot be told")
    assert DATA[figure]["says"] == word


def minus(a: dict[int, float], b: dict[int, float]) -> dict[int, float]:
    return {seed: a[seed] - b[seed] for seed in a}


def test_figures_of_other_studies_recomputed():
    """Cost, online UNA, passes, aligned models: from the comparison and the claims."""
    rows = read_json(RESULTS / "compare" / "results.json")["rows"]
    cost = {name: rows[key]["cost"]["flops"] / rows["sft"]["cost"]["flops"]
            for name, key in papers.COSTS.items()}
    assert DATA["cost"]["numbers"] == pytest.approx(cost)
    assert (DATA["cost"]["says"] == "agrees") == (cost["IFT"] < cost["ORPO"] < cost["SFT -> DPO"])
    ppo, una = (rows[f"sft->{n}"] for n in ("ppo", "online_una"))
    cheaper = una["cost"]["flops"] < 0.9 * ppo["cost"]["flops"]
    assert (DATA["online"]["says"] == "agrees") == cheaper
    claims = read_json(RESULTS / "claims" / "results.json")["claims"]
    search = claims["C4"]["search"]["base"]
    for row in ("SFT, 40 %", "PoFT, 40 %"):
        rate = search[row]["chosen"]["--lr"]
        means = {s.split()[1]: np.mean(list(x.values())) for s, x in search[row]["tried"].items()
                 if s.startswith(rate + " ")}
        assert DATA["passes"]["numbers"][row] == pytest.approx(means)
    assert {DATA[name]["says"] for name in ("passes", "settings")} == {"cannot be told"}
    rows = claims["C4"]["bases"]["base"]["rows"]
    strong, weak = (rows[r]["score"][0]
                    for r in ("PoFT, 40 %", "PoFT, weak aligned model, 40 %"))
    mean, half = DATA["aligned"]["numbers"]["strong minus weak"]
    assert mean == pytest.approx(strong - weak, abs=1e-5)
    assert DATA["aligned"]["says"] == ("agrees" if mean > half else "cannot be told")


def test_what_the_page_says_of_single_runs():
    """UFT's smallest beta is behind both others; SFT is flat over passes, PoFT gains for six."""
    n = DATA["settings"]["numbers"]
    best = np.mean([n[part] for part in papers.PARTS], 0).max(0)
    assert best[0] < min(best[1:])
    sft, poft = DATA["passes"]["numbers"].values()
    assert max(sft.values()) - min(sft.values()) < 0.03
    assert poft["1"] < poft["3"] < poft["6"] > poft["12"]


def test_ten_seeds_of_ppo_and_online_una_recomputed():
    """Five of the comparison, five of this page's own; collapsed: five points below the start."""
    rows = read_json(RESULTS / "compare" / "results.json")["rows"]
    cells = [c for c in Lines(FILE).read() if c["seed"] in range(5, 10)]
    starts = {c["seed"]: c["mean"] for c in cells if c["flags"] == "--objective sft"}
    before = [*rows["sft"]["scores"].values(), *(starts[s] for s in range(5, 10))]
    every = {}
    for name, key in (("PPO", "ppo"), ("online UNA", "online_una")):
        own = {c["seed"]: c["mean"] for c in cells if f"--objective {key} " in f"{c['flags']} "}
        after = [*rows[f"sft->{key}"]["scores"].values(), *(own[s] for s in range(5, 10))]
        assert DATA["online"]["numbers"]["methods"][name]["scores"] == pytest.approx(after)
        every[name] = np.array(after)
        fell = sum(a - b > 0.05 for a, b in zip(before, after))
        assert DATA["online"]["numbers"]["methods"][name]["collapsed"] == fell
        assert fell == 0 or "No run ended five points" not in PAGE
    gap = t_interval(every["online UNA"] - every["PPO"])
    assert DATA["online"]["numbers"]["una minus ppo"] == pytest.approx(gap, abs=2e-4)


def test_figures_with_cells_of_their_own_recomputed(scores):
    def noise(row: str, share: str) -> dict[int, float]:
        return scores(f"--objective {row}", f"--noise {share}", "--rows 510", "--epochs 3")
    gains = [minus(noise("poft", share), noise("sft", share)) for share in ("0.4", "0")]
    agrees("noise", DATA["noise"]["numbers"]["growth"], minus(*gains))
    for row, title in (("sft", "SFT, filter"), ("poft", "PoFT, filter")):
        kept = scores(f"--objective {row}", "--noise 0.4", "--rows 510", "--keep 0.6")
        told = DATA["noise"]["numbers"]["scores"][title][papers.SHARES.index("0.4")]
        assert told == pytest.approx(t_interval(kept.values()), abs=2e-4)
    honesty = [scores(f"--mix {m}", families=("truth", "unknown")) for m in ("1:7", "7:1")]
    agrees("ratio", DATA["ratio"]["numbers"]["rise"]["honesty"], minus(*honesty))
    sft = scores("--variant released", "--lam 0", "--gamma 0")
    for form, variant in (("(detached weights)", "released --detach"), ("as released", "released")):
        both = scores(f"--variant {variant} --lam 0.2", "--gamma 0.95")
        found = DATA["grid"]["numbers"]["minus SFT"][form]
        assert found[0] == pytest.approx(np.mean(list(minus(both, sft).values())), abs=2e-4)
    agrees("grid", found, minus(both, sft))


def test_mse_against_bce_recomputed():
    """Each at its best beta, within two points."""
    cells = [c for c in Lines(FILE).read() if "--loss" in c["flags"]]
    best = []
    for form in ("mse", "bce"):
        of: dict[str, dict[int, float]] = {}
        for c in cells:
            if f"--loss {form} " in c["flags"]:
                beta = re.search(r"--beta (\S+)", c["flags"])[1]
                of.setdefault(beta, {})[c["seed"]] = np.mean([x["score"] for x
                                                              in c["families"].values()])
        assert {len(seeds) for seeds in of.values()} == {3}
        best.append(max(of.values(), key=lambda seeds: np.mean(list(seeds.values()))))
    mean, half = t_interval(minus(*best).values())
    assert DATA["loss"]["numbers"]["mse minus bce"] == pytest.approx([mean, half], abs=2e-4)
    inside = abs(mean) + half < 0.02
    outside = abs(mean) - half > 0.02
    assert DATA["loss"]["says"] == ("agrees" if inside else "does not agree" if outside
                                    else "cannot be told")


# ---- how it is written ---------------------------------------------------------------------------
@pytest.mark.parametrize("section", PAGE.split("\n## "), ids=lambda s: s.split("\n")[0][:30])
def test_the_page_reads_plainly(section):
    """At most 6 figures in 100 words, no sentence over 30 words; it begins with what to do."""
    prose = re.sub(r"!\[.*?\]\(.*?\)|`[^`]*`|\(http[^)]*\)|arXiv:\S+|\d{4}\.\d{5}v\d", "", section)
    words, figures = prose.split(), re.findall(r"(?<![\w.])[-+]?\d[\d,.]*", prose)
    assert len(figures) <= max(3, 0.06 * len(words)), figures
    assert max(len(s.split()) for s in re.split(r"(?<=[.:?!])\s+", prose)) <= 30
