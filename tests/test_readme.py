"""README and docs against the house: links, commands, files and numbers."""
import importlib.util
import inspect
import json
import re
from pathlib import Path

import pytest

from nanouft.look.stats import interval
from nanouft.lab import compare

from nanouft.objectives import OBJECTIVES
from nanouft.lab.table import MEASURES

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROSE = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "lessons").glob("*.py"))]


def test_links_lead_somewhere():
    for target in re.findall(r"\]\((?!http|#)([^)]+)\)", README):
        assert (ROOT / target).exists(), f"README links to {target}, which is not there"


@pytest.mark.parametrize("file", PROSE, ids=lambda f: f.name)
def test_commands_exist(file):
    for name in set(re.findall(r"python -m ((?:nanouft|frozen_lake)[\w.]*)", file.read_text(encoding="utf-8"))):
        assert importlib.util.find_spec(name), f"{file.name} names {name}, which cannot be run"


def test_the_map_names_what_is_there():
    files = set(re.findall(r"\b(\w+\.py)\b", README[README.index("## The map"):README.index("## Add an objective")]))
    there = {f.name for package in ("nanouft", "frozen_lake") for f in (ROOT / package).rglob("*.py")}
    assert files <= there, f"the map names {sorted(files - there)}"
    top = {f.name for package in ("nanouft", "frozen_lake") for f in (ROOT / package).glob("*.py")}
    top -= {"__init__.py", "__main__.py"}
    assert top <= files, f"the map leaves out {sorted(top - files)}"


def test_the_numbers_of_the_lake():
    """README's sentence on twoway5, counted again."""
    from frozen_lake.demos import ghosts, gold, loser, moves_of_loser
    from frozen_lake.lake import make_lake
    lake = make_lake("twoway5")
    told = ghosts(lake, gold(lake))
    moves = moves_of_loser(lake, gold(lake), loser(lake))
    text = " ".join(README.split())
    assert (f"can stand in {len(told)} places, and the move copied onto them is optimal in "
            f"{sum(g.right for g in told)}") in text
    assert (f"{len(moves)} moves: {moves.count('shared')} cancel in DPO, {moves.count('optimal')} are optimal in their "
            f"own cell and pushed down all the same, {moves.count('wrong')} are wrong") in text


def test_every_objective_is_in_the_table():
    for name, o in OBJECTIVES.items():
        file = Path(inspect.getfile(o.loss)).name                  # near relatives share one
        assert f"| `{name}` | [{file}](nanouft/objectives/{file}) |" in README, f"README's table leaves out {name}"


def test_cards_lead_to_files():
    """Every method over pairs has a reference card, and every link of the cards leads to its file."""
    cards = (ROOT / "docs" / "cards.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!http|#)([^)]+)\)", cards):
        assert (ROOT / "docs" / target).exists(), f"docs/cards.md links to {target}, which is not there"
    for name, o in OBJECTIVES.items():
        if o.data == "pairs" and name != "dpo":
            assert re.search(rf"`{name}[ `]", cards), f"{name} has no card in docs/cards.md"


def test_the_table_of_results_is_that_of_the_committed_cells():
    """Every number that "What holds here" shows is computed again from docs/results/compare/cells.jsonl."""
    cells = [json.loads(line) for line in (ROOT / "docs/results/compare/cells.jsonl").read_text().splitlines()]
    base = next(c for c in cells if not c["flags"])
    alone = [c for c in cells if "after" not in c]
    rows = {name: sorted((c for c in alone if c["flags"] == f"--objective {name}"), key=lambda c: c["seed"])
            for name in OBJECTIVES if re.search(rf"^\| `{name}`[^|]*\| -?\d", README, re.M)}
    assert {"sft", "ift", "dpo"} <= rows.keys(), "the table shows at least these"
    assert all([c["seed"] for c in got] == list(range(5)) for got in rows.values()), "five seeds of each"
    for line in compare.table(rows, base, "")[4:]:
        name, *figures = [x.strip() for x in line.strip("|").split("|")][:5]
        shown = re.search(rf"^\| `?{name}`?[^|]*\|(.*)\|$", README, re.M)
        assert shown, f"README has no row of {name}"
        assert [x.strip() for x in shown[1].split("|")] == figures, f"README's row of {name} is not what the cells give"


def test_what_is_said_of_the_comparison_page():
    """Rows, seeds and minutes in README, and every number of the committed table, from the committed cells."""
    folder = ROOT / "docs/results/compare"
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    cells = {c["key"]: c for c in map(json.loads, (folder / "cells.jsonl").read_text(encoding="utf-8").splitlines())}
    rows = {name: sorted((c for c in cells.values() if (c["flags"], c.get("after", "")) == (r["flags"], r["after"])
                          and c["seed"] in r["seeds"]), key=lambda c: c["seed"]) for name, r in results["rows"].items()}
    table = (folder / "table.md").read_text(encoding="utf-8")
    for name, got in rows.items():
        figures = results["rows"][name]["figures"]
        assert len(got) == len(results["rows"][name]["seeds"]), f"{name}: cells are missing"
        for measure in set(MEASURES) - {"seconds"}:
            values = [MEASURES[measure].of(c) for c in got]
            assert figures[measure] == [v if v < float("inf") else None for v in interval(values)], (name, measure)
        assert f"| {name} | {MEASURES['score'].write(figures['score'])}" in table
    minutes = sum(c["seconds"] for c in cells.values()) / 120
    seeds = f"{results['seeds']} seed{'s' * (results['seeds'] > 1)}"
    said = f"{len(rows) - 1} rows, {seeds}, about {minutes:.0f} minutes of two cores"
    assert said in " ".join(README.split()), f"README should say: {said}"
    assert sum(f.stat().st_size for f in folder.iterdir()) < 2_000_000


def test_the_log_names_the_rates_that_are_default():
    log = (ROOT / "docs" / "LOG.md").read_text(encoding="utf-8")
    for name, o in OBJECTIVES.items():
        rate = f"{o.lr:.2e}".replace("e-0", "e-").replace(".00", "").replace("0e", "e")
        assert f"| {name} | {rate} |" in log, (f"the default rate of {name}, {rate}, "
                                               "is not among those that were compared")


CLAIMS = ("C1", "C2", "C3", "C4")
ACCOUNT = (ROOT / "docs" / "claims.md").read_text(encoding="utf-8")


def effects(contrast: dict) -> str:
    return " and ".join(f"{100 * b['mean']:+.1f} ± {100 * b['half']:.1f}" for b in contrast["bases"].values())


@pytest.mark.parametrize("text", [README, ACCOUNT], ids=["README", "claims.md"])
def test_the_verdicts_are_those_of_the_finished_cells(text):
    """Every row of a table that shows effects on two bases is a contrast of docs/results, with its verdict."""
    known = {}
    for name in CLAIMS:
        found = json.loads((ROOT / f"docs/results/{name}.json").read_text(encoding="utf-8"))["contrasts"]
        known |= {effects(c): (name, c["verdict"]) for c in found.values()}
    shown = set()
    for line in text.splitlines():
        if line.startswith("|") and (both := re.search(r"[-+]\d+\.\d ± \d+\.\d and [-+]\d+\.\d ± \d+\.\d", line)):
            assert both[0] in known, f"{both[0]}: no contrast of docs/results has these effects"
            name, verdict = known[both[0]]
            assert f"**{verdict}**" in line, f"{both[0]}: {verdict}, says docs/results/{name}.json"
            shown.add(name)
    assert shown == set(CLAIMS)


@pytest.mark.parametrize("name", CLAIMS)
def test_the_account_of_a_claim_shows_numbers_of_its_table(name):
    part = ACCOUNT[ACCOUNT.index(f"\n## {name}"):]
    part = part[:part.index("\n## ", 5)]
    part = part[:part.index("**Mechanism.**")]
    text = "".join(f.read_text(encoding="utf-8") for f in (ROOT / "docs" / "results").glob(f"{name}*.md"))
    whole = r"(?<![\d.])[-+]?\d+\.\d ± \d+\.\d(?![\d.])"                  # never a part of another number
    table = set(re.findall(whole, text))
    missing = [x for x in re.findall(whole, part) if x not in table]
    assert not missing, f"docs/claims.md says {missing}, which docs/results/{name}*.md do not"
