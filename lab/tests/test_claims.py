"""Claims: rows become cells, settings come from validation, verdicts are computed from finished
cells by the rule.

    python -m pytest lab/tests/test_claims.py        below 15 s; no model is trained

Cells are made by hand here, so that it is known what the verdict must be.
"""
from collections import Counter
from types import SimpleNamespace

import pytest
from made_cells import made
from running import ROOT, call, one_error

from lab import cell as the_cell
from lab import claims, judge, study
from lab.cell import Cell
from lab.cells import read_cells
from lab.claims import BASES, CLAIMS, UFT_01, UFT_1
from lab.judge import Contrast
from lab.study import Plan, Row, Study
from lab.words import claim_verdict
from nanouft import world
from nanouft.eval.stats import verdict
from nanouft.run import flags
from nanouft.run.storage import Lines, read_json


@pytest.fixture
def lab(monkeypatch, tmp_path):
    """An empty results folder, and a trainer that gives made-up cells: `cell(cell)`, or
    `scores(cell)` as the mean."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(the_cell, "fingerprint", lambda init: f"weights of {init}")
    monkeypatch.setattr(judge, "interval_picture", lambda panels, file: file)
    lab = SimpleNamespace(folder=tmp_path / "trial", asked=[], scores=lambda cell: 0.5)
    lab.cell = lambda c: made(c, lab.scores(c))

    def run_cells(cells, file, workers=2):
        done = read_cells(file) if file.exists() else {}
        new = [c for c in dict.fromkeys(cells) if c.key not in done]
        lab.asked += new
        file.parent.mkdir(exist_ok=True)
        Lines(file).add(*(lab.cell(c) for c in new))
        return read_cells(file)
    monkeypatch.setattr(study, "run_cells", run_cells)
    lab.run = lambda *argv: call(claims.main, *argv, "--out", "trial")
    lab.results = lambda: read_json(lab.folder / "results.json")
    lab.verdicts = lambda name: {c["text"]: c["verdict"]
                                 for c in lab.results()["claims"][name]["contrasts"]}
    return lab


# ---- rows and contrasts --------------------------------------------------------------------------
def test_every_claim_speaks_of_its_own_rows_with_flags_that_train_knows():
    for name, claim in CLAIMS.items():
        assert claim.baseline in claim.rows
        for row in claim.rows.values():
            assert row.after is None or row.after in claim.rows, name
            assert ("{aligned}" in row.flags) == (row.aligned is not None), row.flags
            settings = [w for flag, values in row.axes.items() for w in (flag, values[0])]
            # a flag that means nothing is an error
            flags.read_flags([*row.flags.split(), *settings, "--seed", "1"])
        for c in claim.contrasts:
            assert {c.row, c.other, *(c.minus or ())} <= claim.rows.keys(), c.text
    texts = Counter(c.text for claim in CLAIMS.values() for c in claim.contrasts)
    assert max(texts.values()) == 1


def test_c3_gives_every_row_the_same_data():
    """570 demonstrations of A, 610 rows of B; the union has A's 570 and as many of B as were right
    among 610."""
    mixed = world.mixed_rows("train", ["demos", "scores"], 1180, 3, 0.0, "A:B", "57:61")
    alone = world.mixed_rows("train", ["demos"], 570, 3, 0.0, "A")
    assert mixed[:570] == alone and len(mixed) == 1180
    good = sum(r.score == 1 for r in mixed[570:])
    union = world.mixed_rows("train", ["demos"], 875, 3, 0.0, "A,B")
    assert sum(r.family in world.GROUP_A for r in union) == 570 and abs(875 - 570 - good) <= 2


def test_c4_gives_every_row_the_same_updates():
    """The filter leaves 60 % of the rows, so it passes over them more often."""
    axes = [row.axes["--epochs"] for row in CLAIMS["C4"].rows.values() if "--epochs" in row.axes]
    kept = CLAIMS["C4"].rows[claims.LIKELIEST].axes["--epochs"]
    for few, many in zip(kept, axes[0], strict=True):
        assert round(float(few) * 612 / 32) == round(float(many) * 1020 / 32)
    assert set(axes) == {axes[0], kept}
    assert not any("--batch-size" in r.flags for r in CLAIMS["C4"].rows.values())


# ---- the rule ------------------------------------------------------------------------------------
@pytest.mark.parametrize("mean, half, threshold, want", [
    (0.03, 0.02, 0.0, "holds"), (-0.03, 0.02, 0.0, "does not hold"), (0.01, 0.02, 0.0, "undecided"),
    (-0.01, 0.005, -0.02, "holds"), (-0.03, 0.005, -0.02, "does not hold"),
    (-0.02, 0.005, -0.02, "undecided"),
    (0.5, float("inf"), 0.0, "undecided")])
def test_the_rule(mean, half, threshold, want):
    assert verdict(mean, half, threshold) == want
    assert claim_verdict(mean, half, "non-inferiority" if threshold else "superiority") == want


@pytest.mark.parametrize("mean, half, want", [
    (0.005, 0.01, "holds"), (-0.005, 0.01, "holds"), (0.015, 0.01, "undecided"),
    (0.03, 0.02, "undecided"), (-0.03, 0.02, "undecided"), (0.04, 0.01, "does not hold"),
    (-0.04, 0.01, "does not hold"), (0.0, 0.03, "undecided")])
def test_the_rule_of_equivalence(mean, half, want):
    assert claim_verdict(mean, half, "equivalence") == want


def row(mean: float, seeds: int = 4, spread: float = 0.0) -> list[dict]:
    return [made(Cell(("--objective", "sft"), seed), mean + spread * (seed - 1.5))
            for seed in range(seeds)]


def test_holm_asks_more_of_the_clearest_contrast_and_nothing_after_a_doubt():
    """At 5 % each alone: both hold. Of two, the clearer one must hold at 2.5 %; if it does not,
    neither holds."""
    def verdicts(*gains: float) -> list[str]:
        found = {"base": {"SFT": row(0.5)}
                 | {f"row {i}": row(0.5 + g, spread=0.01) for i, g in enumerate(gains)}}
        asked = [Contrast(f"{i}", f"row {i}", "SFT") for i in range(len(gains))]
        for c in asked:
            (alone,) = judge.contrasts_of(Plan({}, "SFT", (c,)), found)
            assert alone["verdict"] == "holds"
        return [c["verdict"] for c in judge.contrasts_of(Plan({}, "SFT", (*asked,)), found)]
    assert verdicts(0.023) == ["holds"], "one contrast needs no correction"
    assert verdicts(0.023, 0.10) == ["holds", "holds"], "the weaker one is asked as if alone"
    assert verdicts(0.023, 0.0231) == ["undecided", "undecided"]


def test_holm_measures_an_equivalence_by_its_nearer_limit():
    """A difference of .0135 is close to the limit of .02. So the superiority is asked first, at
    2.5 %, and the equivalence as if it stood alone."""
    found = {"base": {"SFT": row(0.5), "better": row(0.6, spread=0.01),
                      "equal": row(0.5135, spread=0.0025)}}
    claim = Plan({}, "SFT", (Contrast("a", "better", "SFT"),
                             Contrast("b", "equal", "SFT", test="equivalence")))
    assert judge.difference(claim.contrasts[1], claim, found, "base", looks=2)[1] > 0.0065, \
        "at 2.5 % the equivalence would be undecided"
    assert [c["verdict"] for c in judge.contrasts_of(claim, found)] == ["holds", "holds"]


# ---- cells and settings --------------------------------------------------------------------------
def test_a_chain_starts_from_its_row_with_the_same_seed(lab):
    settings = {claims.SFT_ROW: {"--lr": "7e-4"}, claims.CHAIN: {"--lr": "1e-5", "--beta": "1"}}
    chosen = {("C1", row, "base"): setting for row, setting in settings.items()}
    c = Study(CLAIMS.__getitem__, chosen).cell("C1", claims.CHAIN, 3, BASES[1])
    assert c.flags == ("--objective", "dpo", "--lr", "1e-5", "--beta", "1")
    assert c.seed == 3
    assert c.each
    assert c.start == Cell((*"--objective sft --reduction sequence --lr 7e-4".split(),), 3,
                           BASES[1])


def test_settings_are_chosen_jointly_on_validation_and_chains_start_from_the_choice(lab):
    """C1 and C3 side by side: C3 on both bases and by its three parts, C1 on the first base by the
    nine families."""
    best = {"sft": ("5e-4", "16"), "dpo": ("3e-5", "9")}  # beta 9: beyond the grid, which grows

    def cell(c):
        mean = 0.5 + 0.1 * ((c.flags[-3], c.flags[-1]) == best.get(c.flags[1]))
        if c.flags[1] == "dpo":
            mean += 0.05 * (c.flags[-1] == "3")
        # counts in C1, not in C3
        return made(c, mean, rules_new=1.0 if c.flags[-3] == "1e-3" else mean)
    lab.cell = cell
    tuned = Study(CLAIMS.__getitem__)
    tuned.tune(["C1", "C3"], lambda cells: study.run_cells(cells, lab.folder / "cells.jsonl"))
    chosen = tuned.chosen
    places = {("C1", "base"), ("C3", "base"), ("C3", BASES[1])}
    assert {(key, base) for key, _, base in chosen} == places
    for base in BASES:
        assert chosen["C3", claims.SFT_A, base] == {"--lr": "5e-4", "--batch-size": "16"}
        assert chosen["C3", claims.CHAINS["dpo"], base] == {"--lr": "3e-5", "--beta": "9"}
    assert chosen["C1", claims.CHAIN, "base"] == {"--lr": "3e-5", "--beta": "9"}
    assert (all(c.split == "val" and c.seed >= 1000
                for c in lab.asked)), "test is not touched, seeds are its own"
    starts = {c.start.flags[-4:] for c in lab.asked if c.flags[1] == "dpo"}
    assert starts == {("--lr", "5e-4", "--batch-size",
                       "16")}, "a chain starts from the SFT that was chosen first"
    one = Counter(c.flags for c in lab.asked
                  if c.base == BASES[1] and c.flags[1] == "sft" and "A" in c.flags)
    assert set(one.values()) == {1, 4}, "four seeds for finalists, one for others"


def test_a_row_may_take_the_settings_of_another_with_a_part_of_its_rate():
    rows = {"a": Row("", {"--lr": ("3e-5",)}), "b": Row("", like="a"),
            "c": Row("", like="a", scale=1 / 3)}
    taken = Study(lambda key: Plan(rows, "a"), {("X", "a", "base"): {"--lr": "3e-5"}})
    assert taken.setting("X", "b", "base") == {"--lr": "3e-5"}
    assert taken.setting("X", "a", "second base") == {"--lr": "3e-5"}
    assert taken.setting("X", "c", "base") == {"--lr": "1.0e-05"}


def test_borrowed_settings_are_marked_where_their_search_ended_at_an_edge():
    """KTO of C6b takes those of C6, whose beta might go on."""
    found = read_json(ROOT / "docs/results/claims/results.json")["claims"]
    kto = [found[name]["search"]["base"]["KTO"] for name in ("C6", "C6b")]
    assert kto[0]["edges"] == kto[1]["edges"] == ["--beta"] and not kto[1]["tried"]


def test_a_weak_aligned_model_is_a_cell_of_its_own(lab, monkeypatch, tmp_path):
    """Its folder stands in place of {aligned}; it is part of the key."""
    seen, row = [], f"{claims.WEAK_POFT}, 40 %"
    monkeypatch.setattr(the_cell, "kept_model", lambda cell, keep: f"kept/{cell.seed}")
    monkeypatch.setattr(the_cell.train, "main",
                        lambda argv: (tmp_path / "run").mkdir() or seen.append(argv))
    c = Study(CLAIMS.__getitem__).cell("C4", row, 2, "base",
                                       setting={"--lr": "1e-4", "--epochs": "1"})
    the_cell.train_cell(c, tmp_path / "run")
    assert seen[0][:4] == ["--objective", "poft", "--aligned", "kept/900"]
    assert claims.WEAK.flags[-2:] == ("--noise", "0.4")
    assert c.key != Cell(c.flags, c.seed, c.start, each=True).key


# ---- verdicts from finished cells ----------------------------------------------------------------
def test_verdicts_follow_the_cells(lab):
    gains = {"0.01": 0.05, "0.1": -0.01}                            # of UFT, by its beta

    def scores(c):
        gain = next((g for b, g in gains.items() if b in c.flags[5:6]), 0)
        return 0.5 + 0.01 * (c.seed % 3) + gain
    lab.scores = scores
    assert lab.run("C2") == 0 and lab.run("C2", "--write") == 0
    assert lab.verdicts("C2") == {
        f"{UFT_01} is better than SFT": "holds", f"{UFT_01} is not inferior to SFT": "holds",
        f"{UFT_1} is better than SFT": "does not hold", f"{UFT_1} is not inferior to SFT": "holds"}
    written = {c["text"]: c["bases"]["base"]["mean"]
               for c in lab.results()["claims"]["C2"]["contrasts"]}
    assert written == {text: pytest.approx(0.05 if UFT_01 in text else -0.01, abs=1 / 240)
                       for text in written}
    assert sum(c.split == "test" for c in lab.asked) == 2 + 2 * 5 * 3, (
        "two bases, three rows, five seeds")
    assert (lab.folder / "C2.md").read_text().count("**holds**") == 3
    before = len(lab.asked)
    assert lab.run("C2") == 0 and len(lab.asked) == before, "finished cells are not run again"


def test_bases_that_disagree_leave_the_claim_undecided(lab):
    lab.scores = lambda c: 0.6 + (0.05 if c.base == "base" else -0.05) * ("uft" in c.flags)
    assert lab.run("C2") == 0 and lab.run("C2", "--write") == 0
    found = lab.results()["claims"]["C2"]["contrasts"]
    assert {c["verdict"] for c in found} == {"undecided"}
    assert {b["verdict"] for c in found for b in c["bases"].values()} == {"holds", "does not hold"}


def test_where_a_cell_is_missing_there_is_no_verdict(lab, capsys):
    assert lab.run("C2") == 0
    file = lab.folder / "cells.jsonl"
    file.write_text("".join(file.read_text().splitlines(True)[:-1]))
    one_error(lab.run("C2", "--write"), capsys.readouterr().err, "1 of 5 cells")
    assert {f.name for f in lab.folder.iterdir()} == {"cells.jsonl"}


def test_a_new_verdict_replaces_the_old_one(tmp_path, monkeypatch):
    monkeypatch.setattr(judge, "page", lambda name, claim: "")
    monkeypatch.setattr(judge, "picture", lambda name, claim, file: file)

    def claim(verdict: str) -> dict:
        return {"contrasts": [{"preset": True, "verdict": verdict}]}
    judge.write(tmp_path, {"C1": claim("holds"), "C2": claim("holds")})
    judge.write(tmp_path, {"C1": claim("undecided")})
    found = read_json(tmp_path / "results.json")
    assert {name: c["contrasts"][0]["verdict"] for name, c in found["claims"].items()} == {
        "C1": "undecided", "C2": "holds"}
    assert found["contrasts"] == found["preset"] == 2


def test_pictures_are_drawn(tmp_path):
    committed = read_json(ROOT / "docs/results/claims/results.json")["claims"]["C3"]
    assert judge.picture("C3", committed, tmp_path / "C3.png").stat().st_size > 10_000


def test_mistakes_are_one_line(lab, capsys):
    for argv, words in ((["C5"], "lab.lake_study"), (["C7"], "did you mean"),
                        (["--workers", "0"], "at least 1")):
        one_error(lab.run(*argv), capsys.readouterr().err, words)
