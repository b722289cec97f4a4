"""Claims: fixed rows become fixed cells, and verdicts are computed from finished cells by the rule, never written.

    python -m pytest tests/lab/test_claims.py        below 10 s; no model is trained, but for one slow test

Cells are made by hand here, so that it is known what the verdict must be.
"""
import json
from types import SimpleNamespace

import pytest
from running import ROOT
from tiny import same

from nanouft import world
from nanouft.lab import cells as the_cells
from nanouft.lab import claim_pictures, claims, judge
from nanouft.lab.cells import Cell, read_cells, timeless
from nanouft.lab.claims import CLAIMS, Claims
from nanouft.look.stats import verdict
from nanouft.shell.config import UserError
from nanouft.shell.files import read_json, write_json
from nanouft.training import flags

C1 = CLAIMS["C1"]


def made(cell: Cell, score: float, **extra) -> dict:
    """A finished cell as run_cell writes it, with one score in every family."""
    family = {"score": score, "strict": score / 2, "ends": 1.0, "length": 5.0, "gold_logp": -0.1}
    return {"key": cell.key, "flags": " ".join(cell.flags), "seed": cell.seed, "split": cell.split, "items": cell.items,
            "mean": score, "families": {f: dict(family) for f in world.FAMILIES}, "tokens": 1, "last_loss": 0.1,
            "seconds": 8.0, **extra}


@pytest.fixture
def lab(monkeypatch, tmp_path):
    """An empty results folder, and a trainer that gives made-up scores: `scores(cell)`, or cells: `cell(cell)`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(the_cells, "fingerprint", lambda init: f"weights of {init}")
    lab = SimpleNamespace(folder=tmp_path / "trial", asked=[], scores=lambda cell: 0.5)
    lab.cell = lambda c: made(c, lab.scores(c))
    lab.folder.mkdir()

    def run_cells(cells, file, workers=2):
        done = read_cells(file)
        for c in cells:
            if c.key not in done:
                lab.asked.append(c)
                done[c.key] = lab.cell(c)
        file.write_text("".join(json.dumps(c) + "\n" for c in done.values()))
        return done
    monkeypatch.setattr(judge, "run_cells", run_cells)
    return lab


def trial(**kw) -> Claims:
    return Claims(out="trial", **kw)


def settings(claim=C1) -> dict:
    return {n: ("--lr", "1e-4") for n in claim.rows}


def choose(lab, name="C1") -> None:
    write_json(lab.folder / f"{name}-chosen.json", {"chosen": settings(CLAIMS[name])})


def contrasts(lab, name="C1") -> dict:
    return read_json(lab.folder / f"{name}.json")["contrasts"]


@pytest.mark.parametrize("name", CLAIMS)
def test_the_committed_cells_are_those_of_the_rows(name):
    """No row, no control and no contrast is missing, none is left over, none has other flags."""
    claim, results = CLAIMS[name], ROOT / "docs" / "results"
    chosen = judge.chosen_settings(name, claim, results)
    keys = {judge.cell(claim, row, chosen, seed, "base", "test", 100).key for row in claim.rows for seed in range(10)}
    done = read_cells(results / f"{name}.jsonl")
    assert keys == {k for k, c in done.items() if c["base"] == "base" and c["flags"]}
    assert contrasts(SimpleNamespace(folder=results), name).keys() == {c.text for c in claim.contrasts}


def test_every_claim_speaks_of_its_own_rows():
    for name, claim in CLAIMS.items():
        assert claim.baseline in claim.rows
        for r in claim.rows.values():
            assert r.after is None or r.after in claim.rows, name
            assert r.like is None or not claim.rows[r.like].like, f"{name}: settings come from a row that is tuned"
            train_flags = [f.replace("BASE", "base") for f in r.flags]
            flags.read_flags([*train_flags, "--seed", "1"])                 # a flag that means nothing is an error
        for c in claim.contrasts:
            assert {c.row, c.other, *(c.minus or ())} <= claim.rows.keys(), c.text
        budgets = {(len(r.lrs), len(r.second[1])) for r in claim.rows.values() if not r.like}
        assert budgets == {(4, 3 if name == "C3" else 2)}, f"{name}: every row is tuned over as many settings"
    assert len(claim_pictures.STYLES) >= len(CLAIMS["C3"].rows), "no row is left out of the picture"


def test_c3_gives_every_row_the_same_data():
    """570 demonstrations of A, 610 rows of B; the union has A's 570 and as many of B as were right among 610."""
    mixed = world.mixed_rows("train", ["demos", "scores"], 1180, 3, 0.0, "A:B", "57:61")
    alone = world.mixed_rows("train", ["demos"], 570, 3, 0.0, "A")
    assert mixed[:570] == alone and len(mixed) == 1180
    good = sum(r.score == 1 for r in mixed[570:])
    union = world.mixed_rows("train", ["demos"], 875, 3, 0.0, "A,B")
    assert sum(r.family in world.GROUP_A for r in union) == 570 and abs(875 - 570 - good) <= 2


def test_a_difference_of_gains_is_paired(lab):
    """Gains 3, 5, 4 at 40 % and 1, 2, 3 at 0 %: differences 2, 3, 1."""
    claim = CLAIMS["C4"]
    gains = {"PoFT, 40 %": (3, 5, 4), "PoFT, 0 %": (1, 2, 3)}
    rows = {n: [made(Cell((), s), (0.5 + gains.get(n, (0, 0, 0))[s] / 100)) for s in range(3)] for n in claim.rows}
    contrast = next(c for c in claim.contrasts if c.minus == ("PoFT, 0 %", "SFT, 0 %") and "40" in c.row)
    same(judge.difference(contrast, claim, rows), [0.02, 4.303 * 0.01 / 3 ** 0.5], "2 ± t s / sqrt(3)", 1e-9)


def test_rows_like_another_take_its_settings_and_cost_no_tuning(lab, capsys):
    claim = CLAIMS["C4"]
    judge.tune("C4", claim, trial(bases=["base"], tune_seeds=1))
    assert all("0.4" not in c.flags and (isinstance(c.start, str) or "0.4" not in c.start.flags) for c in lab.asked)
    chosen = judge.chosen_settings("C4", CLAIMS["C4"], lab.folder)
    assert chosen.keys() == {n for n, r in claim.rows.items() if not r.like}
    c = judge.cell(claim, "PoFT against the base, 40 %", chosen, 0, "out/base-1", "test", 100)
    assert c.flags[:6] == ("--objective", "poft", "--aligned", "out/base-1", "--noise", "0.4"), "its own base"
    assert c.flags[6:] == chosen["PoFT against the base, 20 %"]


def test_a_study_before_tuning_says_what_to_do(lab):
    with pytest.raises(UserError, match="--tune first"):
        judge.study("C1", C1, trial(bases=["base"]))
    some = {n: s for n, s in settings().items() if n != claims.CHAIN}
    write_json(lab.folder / "C1-chosen.json", {"chosen": some})
    with pytest.raises(UserError, match=r"SFT -> DPO.*--tune"):
        judge.study("C1", C1, trial(bases=["base"], seeds=1))


@pytest.mark.parametrize("name", ["C2", "C3", "C4"])
def test_a_study_draws_its_picture_and_fills_its_table(lab, capsys, name):
    claim = CLAIMS[name]
    choose(lab, name)
    lab.scores = lambda c: 0.4 + len(str(c.flags)) / 1000 + c.seed / 100
    judge.study(name, claim, trial(bases=["base", "other"], seeds=2))
    assert (lab.folder / f"{name}.png").stat().st_size > 10_000
    table = (lab.folder / f"{name}.md").read_text().splitlines()
    assert all(sum(line.startswith(f"| {n} |") for line in table) == 2 for n in claim.rows)
    assert contrasts(lab, name).keys() == {c.text for c in claim.contrasts}


@pytest.mark.parametrize("mean, half, threshold, want", [
    (0.03, 0.02, 0.0, "holds"), (-0.03, 0.02, 0.0, "does not hold"), (0.01, 0.02, 0.0, "undecided"),
    (-0.01, 0.005, -0.02, "holds"), (-0.03, 0.005, -0.02, "does not hold"), (-0.02, 0.005, -0.02, "undecided"),
    (0.5, float("inf"), 0.0, "undecided")])
def test_the_rule(mean, half, threshold, want):
    assert verdict(mean, half, threshold) == want


def test_the_interval_is_paired():
    """Seeds differ by 40 points, the rows by 2 on every seed: paired, the difference is certain."""
    cells = [Cell((), s) for s in range(5)]
    row, other = ([made(c, 0.1 * c.seed + more) for c in cells] for more in (0.02, 0.0))
    same(judge.paired(row, other), [0.02, 0], "differences are taken seed by seed", 1e-9)
    gains = [made(c, x) for c, x in zip(cells, (0.01, 0.02, 0.03, 0.02, 0.02))]
    got = judge.paired(gains, [made(c, 0) for c in cells])
    same(got, [0.02, 0.00878], "differences 1 2 3 2 2: 2 ± .878 by Student's t with four degrees of freedom", 1e-4)


def test_a_run_that_diverged_cannot_help_its_row():
    assert judge.endpoint({"failed": "loss is nan"}) == 0


def test_a_chain_starts_from_its_row_with_the_same_seed():
    c = judge.cell(C1, claims.CHAIN, {**settings(), claims.SFT_ROW: ("--lr", "7e-4")}, 3, "base", "test", 100)
    assert c.start == Cell((*claims.SEQ, "--lr", "7e-4"), 3, "base", "test", 100) and c.seed == 3


def test_tuning_gives_every_row_the_same_budget_and_takes_the_best(lab, capsys):
    best = ("--lr", "5e-4", "--batch-size", "16")
    lab.scores = lambda c: 0.9 if c.flags[-4:] == best else 0.6 if c.flags[-1] == "5e-4" else 0.5
    judge.tune("C1", C1, trial(bases=["base"], tune_seeds=2))
    chosen = read_json(lab.folder / "C1-chosen.json")
    assert {len(t) for t in chosen["tried"].values()} == {6}, "six settings a row"
    assert all(tuple(s) == best for n, s in chosen["chosen"].items() if not C1.rows[n].after)
    chains = [c for c in lab.asked if c.flags[1] in ("dpo", "ppo")]
    assert all(c.start.flags[-4:] == best for c in chains), "the chain starts from the SFT that was chosen first"
    assert all(c.split == "val" and c.seed >= 1000 for c in lab.asked), "test is not touched, seeds are its own"


def test_verdicts_follow_the_cells(lab, capsys):
    choose(lab)
    lab.scores = lambda c: 0.6 + 0.01 * (c.seed % 2) + 0.05 * (c.flags == (*claims.RELEASED, "--lr", "1e-4"))
    judge.study("C1", C1, trial(bases=["base", "other"], seeds=3))
    assert [c["verdict"] for c in contrasts(lab).values()] == ["holds", "holds"]
    assert "| SFT, 6 passes | 1e-4 | 60.3 ± 1.4 | +0.0 ± 0.0 |" in (lab.folder / "C1.md").read_text()


def test_where_a_cell_is_missing_there_is_no_verdict(lab, capsys, monkeypatch):
    """A full disk under one row: no table, no verdict, the cell is named; when there is room again, both are made."""
    choose(lab)
    full = [True]

    def run_cell(c):
        if full and c.flags[:2] == ("--objective", "dpo"):
            raise OSError(28, "No space left on device")
        return made(c, 0.5)
    monkeypatch.setattr(judge, "run_cells", the_cells.run_cells)
    monkeypatch.setattr(the_cells, "run_cell", run_cell)
    monkeypatch.setattr(the_cells, "start_model", lambda init: None)
    monkeypatch.setattr(the_cells, "finished", lambda work, jobs, workers: (work(*job) for job in jobs))
    with pytest.raises(UserError, match=r"2 of 35 cells are missing.*--objective dpo"):
        judge.study("C1", C1, trial(bases=["base"], seeds=2))
    said = capsys.readouterr()
    assert "holds" not in said.out and "No space left" in said.err
    assert {f.name for f in lab.folder.iterdir()} == {"C1-chosen.json", "C1.jsonl"}
    full.clear()
    judge.study("C1", C1, trial(bases=["base"], seeds=2))
    assert contrasts(lab)


@pytest.mark.parametrize("less", [{"seeds": 2}, {"items": 50}, {"bases": ["base"]}])
def test_a_smaller_study_or_tuning_never_takes_the_place_of_a_larger_one(less, lab, capsys):
    choose(lab)
    both = {"bases": ["base", "other"], "seeds": 3, "items": 60, "tune_seeds": 3}
    judge.study("C1", C1, trial(**both))
    before = (lab.folder / "C1.json").read_bytes()
    with pytest.raises(UserError, match="C1.json: stands on --.*--out"):
        judge.study("C1", C1, trial(**{**both, **less}))
    judge.study("C1", C1, trial(**both))
    assert (lab.folder / "C1.json").read_bytes() == before
    if "bases" not in less:
        judge.tune("C1", C1, trial(**both))
        with pytest.raises(UserError, match="C1-chosen.json: stands on --.*--out"):
            judge.tune("C1", C1, trial(**{**both, **less, "tune_seeds": less.get("seeds", 3)}))


def test_bases_that_disagree_leave_the_claim_undecided(lab, capsys):
    choose(lab)
    lab.scores = lambda c: 0.6 + (0.05 if c.base == "base" else -0.05) * (c.flags == (*claims.RELEASED, "--lr", "1e-4"))
    judge.study("C1", C1, trial(bases=["base", "other"], seeds=3))
    found = contrasts(lab)
    assert [c["verdict"] for c in found.values()] == ["undecided", "undecided"]
    assert {b["verdict"] for c in found.values() for b in c["bases"].values()} == {"holds", "does not hold"}


def test_finished_cells_are_not_run_again(lab, capsys):
    choose(lab)
    judge.study("C1", C1, trial(bases=["base"], seeds=2))
    n = len(lab.asked)
    judge.study("C1", C1, trial(bases=["base"], seeds=2))
    assert len(lab.asked) == n == 1 + 2 * len(C1.rows)
    judge.study("C1", C1, trial(bases=["base"], seeds=3))
    assert len(lab.asked) == n + len(C1.rows), "one more seed, one more cell a row"


def test_again_finds_a_number_that_changed(lab, capsys, monkeypatch):
    choose(lab)
    judge.study("C1", C1, trial(bases=["base"], seeds=2))
    monkeypatch.setattr(the_cells, "run_cell", lambda c, keep: {**made(c, 0.5), "seconds": 99.0})
    judge.again("C1", C1, trial(bases=["base"], seeds=2, again=3))
    assert capsys.readouterr().out.count("the same") == 3
    monkeypatch.setattr(the_cells, "run_cell", lambda c, keep: made(c, 0.5001))
    with pytest.raises(UserError, match="other numbers"):
        judge.again("C1", C1, trial(bases=["base"], seeds=2, again=1))


def test_the_map_says_what_diverged(lab, capsys):
    probes = {"own_prefix_gap": 0.5, "recovery_1": 0.4}
    lab.cell = lambda c: ({"key": c.key, "failed": "loss is nan"} if c.flags[-1] == "2e-3" else
                          {**made(c, 0.5), "probes": probes})
    judge.lr_map("C1", C1, trial(bases=["base"]))
    text = (lab.folder / "C1-map.md").read_text()
    assert text.count("diverged") == 4 * len(C1.mapped) and "| 0.50 |" in text
    assert all(c.probes and c.split == "val" for c in lab.asked)


@pytest.mark.parametrize("short", [{"items": 50}, {"bases": ["base"]}, {"seeds": 5}, {"tune": True, "tune_seeds": 1},
                                   {"map": True}])
def test_a_shorter_form_never_overwrites_the_evidence(short, monkeypatch, tmp_path):
    both = ["base", str(tmp_path)]
    (tmp_path / "model.safetensors").touch()
    monkeypatch.setattr(claims, "BASES", tuple(both))
    with pytest.raises(UserError, match="--out out/trial"):
        Claims(**{"bases": both, "tune_seeds": 4, **short}).check(C1)
    monkeypatch.chdir(ROOT)
    with pytest.raises(UserError, match="--out out/trial"):
        Claims(**{"bases": both, "tune_seeds": 4, "out": f"{ROOT}/docs/../docs/results/", **short}).check(C1)
    for whole in ({"bases": both}, {"map": True, "bases": ["base"]}, {"tune": True, "bases": ["base"]}):
        Claims(tune_seeds=4, **whole).check(C1)


@pytest.mark.slow
def test_a_cell_gives_the_same_numbers_twice():
    cell = Cell(("--objective", "ift", "--steps", "20", "--rows", "100"), 3, "base", "val", 10, probes=True)
    a, b = (timeless(the_cells.run_cell(cell)) for _ in range(2))
    assert a == b and a["probes"]["kl_own"] > 0
