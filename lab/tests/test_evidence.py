"""Every committed figure is what the committed cells give: cells -> json -> page -> README. Nothing
is trained.

    python -m pytest lab/tests/test_evidence.py        20 s

test_recomputed.py computes the figures of claims, map and experiments a second time, without the
project's code.
"""
import json
import re

import pytest
from house import ROOT

from lab import claims, judge, lake_study, map_text, transfer
from lab import map as the_map
from lab import regimes as plan
from lab.cells import read_cells
from lab.study import Study
from nanouft.objectives import OBJECTIVES
from nanouft.run.storage import Lines, read_json

DOCS, RESULTS = ROOT / "docs", ROOT / "docs" / "results"
README, ACCOUNT = (file.read_text(encoding="utf-8")
                   for file in (ROOT / "README.md", DOCS / "claims.md"))


def rounded(x):
    """The same JSON with six digits: sums differ in the last ones from processor to processor."""
    if isinstance(x, dict):
        return {key: rounded(value) for key, value in x.items()}
    if isinstance(x, (list, tuple)):
        return [rounded(value) for value in x]
    return float(f"{x:.6g}") if isinstance(x, float) else x


def text_of(*place: str) -> str:
    return DOCS.joinpath(*place).read_text(encoding="utf-8")


# ---- claims --------------------------------------------------------------------------------------
CLAIMS = read_json(RESULTS / "claims" / "results.json")["claims"]


@pytest.fixture(scope="module")
def again() -> tuple[dict, dict]:
    """The claims and their one family, judged from the cells."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        found = claims.judged([*CLAIMS], read_cells(claims.FOLDER / "cells.jsonl"))
    return json.loads(json.dumps(found))


@pytest.mark.parametrize("name", CLAIMS)
def test_verdicts_and_pages_of_the_claims(name, again):
    """No row, no contrast and no cell is missing; every figure is what the rules make of the
    cells."""
    committed = CLAIMS[name]
    assert again[0][name] == committed
    assert text_of("results", "claims", f"{name}.md") == judge.page(name, committed)


def effects(contrast: dict) -> str:
    return " and ".join(f"{100 * b['mean']:+.1f} ± {100 * b['half']:.1f}"
                        for b in contrast["bases"].values())


# {page: {claim: {contrast: the words of its line}}}
LINES = read_json(ROOT / "lab" / "tests" / "lines_of_claims.json")


@pytest.mark.parametrize("page, text", [("README.md", README), ("docs/claims.md", ACCOUNT)],
                         ids=["README", "claims.md"])
def test_tables_of_effects_show_contrasts_with_their_verdicts(page, text):
    """Every line with an effect is one of LINES: its words, the effect of its contrast, and the
    verdict."""
    every = {**CLAIMS, "C7": read_json(RESULTS / "C7.json")}
    expected = [[name, words, f"**{c['verdict']}**", effects(c)]
                for name, lines in LINES[page].items() for contrast, words in lines.items()
                for c in every[name]["contrasts"] if c["text"] == contrast]
    assert len(expected) == sum(map(len, LINES[page].values()))
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()
            if line.startswith("|")]
    effect = re.compile(r"[-+]\d+\.\d ± \d+\.\d and [-+]\d+\.\d ± \d+\.\d")
    shown = [[*row[:3], effect.search(row[-1])[0]] for row in rows if effect.search(row[-1])]
    assert shown == expected
    assert {name[:2] for name in LINES[page]} - {"C7"} == {name[:2] for name in CLAIMS}


def test_doubts_about_all_claims_together_are_those_of_the_results(again):
    results = read_json(RESULTS / "claims" / "results.json")
    told, page = results["one family"], " ".join(ACCOUNT.split())
    stay = told["decided"] - len(told["undecided together"])
    assert (f"all {told['preset']} preset contrasts counted as one family, {stay} of the "
            f"{told['decided']} decided verdicts would stay") in page
    assert f"Of {results['searches']} searches {results['at a border']} ended at the border" in page
    assert again[1] == told


@pytest.mark.parametrize("name", CLAIMS)
def test_the_account_of_a_claim_shows_numbers_of_its_table(name):
    part = ACCOUNT.split(f"\n## {name}")[1].split("\n## ")[0].split("**Mechanism.**")[0]
    number = r"(?<![\d.])[-+]?\d+\.\d ± \d+\.\d(?![\d.])"  # never a part of another number
    missing = (set(re.findall(number, part))
               - set(re.findall(number, text_of("results", "claims", f"{name}.md"))))
    assert not missing, (f"docs/claims.md says {missing}, which docs/results/claims/{name}.md does "
                         "not")


def test_the_table_of_predicted_gains_shows_the_closed_study():
    """One line a prediction: its verdict, and the figure that decides it, in points."""
    study = read_json(RESULTS / "ift_help" / "results.json")
    told = {"detached weights": ("1a", "gain"), "as released": ("1b", "gain"),
            "as released, twenty seeds, gamma .5": ("1c", "gain"),
            "as released, twenty seeds, gamma .8": ("1d", "gain"),
            "as released, twenty seeds, gamma .95": ("1e", "gain"),
            "mixing against exposure bias, answers without a mistake": ("3", "strict"),
            "mixing keeps facts, against frozen input embeddings": ("6b", "fact, second base")}
    for line, (number, figure) in told.items():
        (found,) = [x for name, x in study.items() if name.startswith(f"{number}.")]
        mean, half = (100 * x for x in found["judged"][figure])
        assert f"| {line} | {found['verdict']} | {mean:+.1f} ± {half:.1f} |" in ACCOUNT
    advantage = [x for name, x in study.items() if name.startswith("1b.")][0]["judged"]["advantage"]
    assert "{:+.1f} ± {:.1f}".format(*(100 * x for x in advantage)) in ACCOUNT


# ---- the map -------------------------------------------------------------------------------------
@pytest.mark.parametrize("piece, i",
                         [("grid", 0), ("long", 0), ("source", 0), ("source", 2), ("noise", 0)])
def test_the_map_is_made_of_its_cells(piece, i, monkeypatch):
    r = plan.PIECES[piece][i]
    regimes = read_json(RESULTS / "map" / "map.json")["regimes"]
    committed = next(x for x in regimes if x["name"] == r.name)
    done = read_cells(RESULTS / "map" / "cells.jsonl")
    monkeypatch.setattr(plan, "PIECES", {piece: [r]})
    assert rounded(the_map.summary(done)["regimes"]) == [rounded(committed)]


def test_every_test_cell_of_the_map_belongs_to_a_figure():
    """Nothing stale: whoever selects cells by their flags finds those of the page."""
    done = read_cells(RESULTS / "map" / "cells.jsonl")
    used: set[str] = set()
    for r in (r for places in plan.PIECES.values() for r in places):
        study = Study(plan.plan)
        study.tune([r], lambda cells: done)
        used |= {c.key for row in study.test_cells(r)[r.base].values() for c in row}
    assert used == {key for key, c in done.items() if c["split"] == "test"}


def test_every_test_cell_of_the_transfer_belongs_to_a_figure():
    done, used = read_cells(transfer.FILE), set()
    for p in (p for places in transfer.PIECES.values() for p in places):
        study = Study(transfer.plan)
        study.tune([p], lambda cells: done)
        used |= {c.key for rows in study.test_cells(p).values() for row in rows.values()
                 for c in row}
    assert used == {key for key, c in done.items() if c["split"] == "test"}


# ---- the lake ------------------------------------------------------------------------------------
def test_the_study_of_the_lake_is_what_its_cells_give():
    data = read_json(RESULTS / "C5.json")
    assert data["maps"] >= 100 and data["seeds"] >= 8
    done = {c["key"]: c for c in Lines(RESULTS / "C5.jsonl").read()}
    again, text = lake_study.report(done, data["maps"], data["seeds"], list(lake_study.SETTINGS))
    assert json.loads(json.dumps(again)) == data and text_of("results", "C5.md") == text
    shown = [line for line in text_of("lake.md").splitlines()
             if line.split("|")[1:2] and line.split("|")[1].strip() in lake_study.SETTINGS]
    assert len(shown) > 3 and set(shown) <= set(text.splitlines()), (
        "docs/lake.md shows another table")
    for text, begins in ((text_of("lake.md"), "**C5**"), (README, "| C5 |"), (ACCOUNT, "| C5 |")):
        line, = (x for x in text.splitlines() if x.startswith(begins))
        assert f"**{data['verdict']}**" in line, begins


def test_the_numbers_of_the_lake_on_twoway5():
    from frozen_lake.demos import ghosts, gold, loser, moves_of_loser
    from frozen_lake.lake import make_lake
    lake = make_lake("twoway5")
    told, moves = ghosts(lake, gold(lake)), moves_of_loser(lake, gold(lake), loser(lake))
    counted = [len(told), sum(g.right for g in told), len(moves),
               *map(moves.count, ("shared", "optimal", "wrong"))]
    page = re.search(r"can stand in (\d+) places, .*? optimal in (\d+).*? (\d+) moves: (\d+) "
                     r"cancel in DPO, (\d+) are optimal .*?, (\d+) are wrong",
                     " ".join(text_of("lake.md").split()))
    assert [int(n) for n in page.groups()] == counted


# ---- the papers ----------------------------------------------------------------------------------
VERSIONS = {"2405.11870": "v3", "2410.21438": "v1", "2408.15339": "v2", "2402.01306": "v5",
            "2502.01237": "v3"}     # IFT, UFT, UNA, KTO, and the form of ASFT: those that were read


def test_equations_are_those_of_the_version_that_is_cited():
    """Papers change their equations and titles from version to version. PoFT's text is that of
    AAAI 2025."""
    told = set()
    for file in [ROOT / "README.md", *(f for room in ("nanouft", "frozen_lake", "lab", "lessons")
                                       for f in (ROOT / room).rglob("*.py")), *DOCS.rglob("*.md")]:
        for number, version in re.findall(r"arXiv:(\d{4}\.\d{5})(v\d+)?",
                                          file.read_text(encoding="utf-8")):
            assert version == VERSIONS.get(number, version), f"{file}: arXiv:{number}"
            told.add(number)
    assert told >= VERSIONS.keys() and "AAAI 2025" in OBJECTIVES["poft"].paper


# ---- the other studies ---------------------------------------------------------------------------
def test_the_account_of_over_optimisation_shows_numbers_of_its_table():
    table = text_of("results", "over_optimisation.md")
    figures = re.findall(r"\d+\.\d",
                         ACCOUNT[ACCOUNT.index("## Over-optimisation"):].split("\n## ")[0])
    assert len(figures) > 10 and all(x in table for x in figures), [x for x in figures
                                                                    if x not in table]


def test_the_page_of_the_map_is_that_of_its_results():
    the_json = read_json(RESULTS / "map" / "map.json")
    assert text_of("map.md") == map_text.page(the_json), "python -m lab.map --write"
