"""The map: settings are searched as it says, rows of a regime share starts and prompts, figures
follow from cells."""
import json
import re
import shlex

import numpy as np
import pytest
from running import ROOT

from lab import cells, map_text, page
from lab import map as map_page
from lab import regimes as plan
from lab.cell import Cell, kept_own
from lab.cells import run_cell, unpack_scores
from lab.own import APART, Own
from lab.runner import kept
from lab.search import Search, beyond, run_searches
from lab.study import Study
from nanouft import world
from nanouft.errors import UserError
from nanouft.objectives import OBJECTIVES
from nanouft.rewards.scorer import scorer
from nanouft.run.flags import read_flags
from nanouft.run.rows import load_rows
from nanouft.run.storage import Lines, read_json

SFT = {"--lr": "5e-4", "--epochs": "6"}


# ---- search --------------------------------------------------------------------------------------
def searched(score, axes, ends=(), **effort):
    """(what run_searches chose, the settings tried, the number of cells) when score(lr, beta, seed)
    is what a cell would get."""
    tried = {}

    def cell_at(setting, seed):
        return Cell(setting, seed)

    def run(wanted):
        for c in wanted:
            assert c.key not in tried, "trained twice"
            tried[c.key] = {"mean": score(*map(float, c.flags), c.seed), "flags": c.flags,
                            "seed": c.seed}
        return tried
    chosen = run_searches({"row": Search(cell_at, {k: list(v) for k, v in axes.items()}, ends=ends,
                                         **effort)}, run)
    return chosen["row"], {c["flags"] for c in tried.values()}, len(tried)


def peak(lr, beta, seed):
    return -abs(np.log10(lr) + 4) - abs(np.log10(beta) - np.log10(0.3))


def test_the_best_inside_its_grid_is_chosen_with_four_seeds():
    chosen, tried, n = searched(peak,
                                {"--lr": ("3e-5", "1e-4", "3e-4"), "--beta": ("0.1", "0.3", "1")})
    assert chosen == {"--lr": "1e-4", "--beta": "0.3"}
    assert len(tried) == 9 and n == 9 + 3 * 3


def test_luck_of_the_first_seeds_is_looked_at_again():
    def lucky(lr, beta, seed):
        luck = 5.0 if seed < 1001 else -9.0
        return luck if (lr, beta) == (3e-4, 0.1) else peak(lr, beta, seed)
    chosen, _, _ = searched(lucky,
                            {"--lr": ("3e-5", "1e-4", "3e-4"), "--beta": ("0.1", "0.3", "1")})
    assert chosen == {"--lr": "1e-4", "--beta": "0.3"}


def test_a_grid_grows_where_its_best_lies_at_an_edge():
    chosen, tried, _ = searched(peak, {"--lr": ("1e-6", "3e-6", "1e-5"),
                                       "--beta": ("0.3", "1", "3")}, growths=3)
    assert float(chosen["--lr"]) == pytest.approx(1e-4, rel=0.2) and chosen["--beta"] == "0.3"
    assert any(float(beta) < 0.3 for _, beta in tried)


def test_a_value_with_nothing_beyond_is_no_edge():
    _, tried, _ = searched(peak, {"--lr": ("3e-5", "1e-4", "3e-4"), "--beta": ("0.3", "1")},
                           ends=("0.3",))
    assert {beta for _, beta in tried} == {"0.3", "1"}


def test_a_setting_with_all_seeds_stays_in_the_running_when_the_grid_grows():
    """Of the first seed "1" is fourth once the grid has grown, but by all its seeds it is the
    best."""
    first = {"1": 0.50, "2": 0.49, "4": 0.48, "0.5": 0.70, "0.25": 0.60}
    later = {"1": 0.90}

    def cell_at(setting, seed):
        return Cell(("--lr", *setting), seed)
    search = Search(cell_at, {"--lr": ["1", "2", "4"]})
    done = {}
    while wanted := search.wanted(done):
        for c in wanted:
            lr = c.flags[1]
            done[c.key] = {"mean": first[lr] if c.seed == 1000 else later.get(lr, 0.3)}
    assert search.best(done) == ("1",) and "0.5" in search.axes["--lr"]


@pytest.mark.parametrize("values, end, value",
                         [(["1e-5", "3e-5"], 0, 3.3e-6), (["0.3", "1"], -1, 3.3),
                          (["3", "6"], -1, 12)])
def test_beyond_an_axis(values, end, value):
    assert float(beyond(values, end)) == pytest.approx(value, rel=0.02)


# ---- cells of a regime ---------------------------------------------------------------------------
def rows(r: plan.Regime, seeds: int = 2) -> dict[str, list[Cell]]:
    study = Study(plan.plan)
    for place, name in study.homes(r):
        axes = plan.plan(place).rows[name].axes
        first = {flag: axes[flag][0] for flag in axes}
        study.chosen[place, name, "base"] = SFT if name == "SFT" else first
    return {name: cells[:seeds] for name, cells in study.test_cells(r)[r.base].items()}


def test_rows_of_a_regime_share_the_sft_model_and_the_answers():
    some = rows(plan.Regime(100, 1000))
    assert len({c[0].own.key for n, c in some.items() if c[0].own}) == 1
    assert {c[0].start.model_key for n, c in some.items() if isinstance(c[0].start, Cell)} == {
        some["SFT"][0].model_key}
    assert some["DPO"][0].own.prompts * some["DPO"][0].own.samples == 1000


def test_rows_of_spoilt_answers_read_the_same_pairs():
    some = rows(plan.Regime(100, 1000, source="spoilt"))
    read = {(c.seed, c.flags[c.flags.index("--rows") + 1])
            for name, (c, *_) in some.items() if name != "SFT"}
    assert read == {(APART, "500")} and not any(c[0].own for c in some.values())


def test_what_samples_while_it_trains_sees_the_prompts_of_the_answers(tmp_path):
    """The file of answers is read for its prompts, each once."""
    cell = rows(plan.Regime(100, 1000))["RLOO"][0]
    answers = [{"prompt": r.prompt[-1].text, "response": a, "score": 1.0}
               for r in world.rows("train", "demos", 6, APART) for a in ("x", "y")]
    Lines(tmp_path / "scores.jsonl").rewrite(answers)
    name, cfg, hp, _ = read_flags([f.replace("{own}", str(tmp_path)) for f in cell.flags])
    read, _ = load_rows(cfg, OBJECTIVES[name], hp)
    assert [row.roles["prompt"][0][-1].text for row in OBJECTIVES[name].rows(read, hp)] == [
        a["prompt"] for a in answers[::2]]
    assert cfg.steps * cfg.batch_size == 248 and not cfg.noise


@pytest.mark.parametrize("r", [r for piece in plan.PIECES.values() for r in piece],
                         ids=lambda r: r.name)
def test_every_row_is_a_command_that_train_reads(r):
    for name, (cell, *_) in rows(r).items():
        made: set[str] = set()
        if cell.flags:
            read_flags([*cell.flags, "--seed", str(cell.seed)])
        assert re.fullmatch(r"[\w-]+", map_page.folder_name(r))
        for line in map_page.commands(cell):
            words = shlex.split(line)
            if words[2] == "nanouft.train":
                read_flags(words[3:])
            made |= {w for before, w in zip(words, words[1:]) if before == "--out"}
            used = [w for w in words if w.startswith("out/") and w not in made]
            assert all(any(w.startswith(place)
                           for place in made) for w in used), f"{used} were not made before"


def test_wrong_demonstrations_are_wrong_for_all_that_read_them():
    some = rows(plan.Regime(300, 1000, noise=0.4))
    assert "--noise" in some["SFT"][0].flags and some["KTO"][0].own.noise == 0.4
    assert some[plan.CLEANED][0].start == "base" and some[plan.CLEANED][0].own.prompts == 0


def test_the_right_demonstrations_are_kept_and_a_judge_errs_as_often_as_it_says(tmp_path):
    right = kept_own(Own(Cell(()), 0, 3, 0, 0, 200, 0.4), tmp_path) / "right.jsonl"
    assert len(right.read_text().splitlines()) == 120
    prompts = [r.prompt[-1].text for r in world.rows("train", "demos", 400, 0)]
    answers = [world.reference(p) if i % 2 else "no" for i, p in enumerate(prompts)]
    exact = np.array([world.score(p, a) for p, a in zip(prompts, answers)])
    judged = np.array(scorer("examples/judge_that_errs.py:errs_15")(prompts, answers))
    assert np.allclose(judged, np.where(judged == exact, exact, 1 - exact))
    assert 0.1 < np.mean(judged != exact) < 0.2


def test_own_answers_become_a_row(tmp_path):
    """A real one: 4 answers to each of 8 prompts, learnt from for two steps, every answer's score
    kept."""
    first = Cell(("--objective", "sft", "--rows", "32", "--steps", "2"), 0)
    own = Own(first, 8, 0, rows=32)
    cell = Cell(("--objective", "una", "--data", "{own}/scores.jsonl", "--steps", "2"), 0, "base",
                "val", 2, own=own, each=True)
    done = run_cell(cell, tmp_path)
    assert "failed" not in done and len(list(tmp_path.glob("own-*"))) == 1
    assert np.mean([unpack_scores(done, f).mean()
                    for f in world.FAMILIES]) == pytest.approx(done["mean"], abs=1 / 240)
    spent = [json.loads(f.read_text()) for f in tmp_path.glob("*/spent.json")]
    assert len(spent) == 2 and done["spent"]["flops"] > sum(s["flops"] for s in spent) > 0
    assert done["spent"]["tokens"] > sum(s["tokens"] for s in spent) > 0


# ---- the page ------------------------------------------------------------------------------------
def test_an_unfinished_regime_is_said(monkeypatch, tmp_path):
    """Two regimes; of one the last cell is taken away. (What a finished one says:
    test_evidence.py.)"""
    whole, part = plan.Regime(100, 1000), plan.Regime(100, 1000, noise=0.4)
    monkeypatch.setattr(plan, "PIECES", {"grid": [whole], "noise": [part]})
    done = cells.read_cells(ROOT / "docs/results/map/cells.jsonl")
    study = Study(plan.plan)
    study.tune([part], kept(done, ""))
    del done[study.test_cells(part)["base"]["KTO"][-1].key]
    map_page.write(tmp_path, done, tmp_path)
    found = read_json(tmp_path / "map.json")
    assert found["unfinished"] == ["100 x 1,000, 40 % wrong"]
    assert [r["name"] for r in found["regimes"]] == [whole.name]
    assert len(page.small(found)["regimes"]) == 1
    assert not (tmp_path / "map.md").exists(), "the page needs all but the judges that err"


@pytest.mark.parametrize("demos, samples, at", [
    (30, 250, (100, 1000)), (30, 1000, (100, 1000)), (300, 4000, (300, 4000)),
    (1020, 250, (1020, 1000)),
    (1020, 4000, (1020, 1000))])
def test_where_the_settings_of_a_row_come_from(demos, samples, at):
    assert plan.anchor(plan.Regime(demos, samples), "RFT") == plan.Regime(*at)
    assert plan.anchor(plan.Regime(30, 4000), "RLOO") == plan.Regime(30, 4000)


def test_the_rule_on_top_of_the_page_follows_from_the_rates():
    """Below 10 no interval of 4,000 answers begins; with up to 100 demonstrations none ends above
    75, also where 5 of 100 judgements are wrong. 12,288 answers: 80 lies inside."""
    found = read_json(ROOT / "docs/results/map/map.json")
    page, lines = " ".join(map_text.read_template("map.md")[0].split()), found["exchange"]
    assert "Below 10: write demonstrations. Above 75, with up to 100 demonstrations:" in page
    rates = {(n, errs): map_text.of_rft(lines, n, 4000, errs)
             for n in (30, 100, 200, 300) for errs in (0, map_text.PERSON)}
    assert min(4000 / x["high"] for x in rates.values() if x) > 10
    assert all(50 < 4000 / rates[n, map_text.PERSON]["low"] < 75 for n in (30, 100))
    assert "For 12,288 answers, a ratio of 80 is open." in page
    many = map_text.of_rft(lines, 100, 12288)
    assert many["samples"] / many["high"] < 80 < many["samples"] / many["low"]


def test_so_few_answers_show_no_gain():
    """"With 100 or more demonstrations, our own 250 judged answers were too few to see a gain."""
    seen = {r["demos"]: map_text.row(r, "RFT")["gain"]
            for r in read_json(ROOT / "docs/results/map/map.json")["regimes"]
            if r["samples"] == 250 and r["base"] == "base"}
    assert {n: mean > half for n, (mean, half) in seen.items()} == {
        30: True, 100: False, 300: False, 1020: False}


def test_a_price_names_what_to_pay_for_outside_the_interval_only():
    line = {"samples": 4000, "answers": 25, "low": 80, "high": 400}
    assert [map_text.next_to_pay(ratio, line) for ratio in (9, 11, 26, 49, 51)] == [
        "demonstrations", "open; guess: demonstrations", "open; guess: judged answers",
        "open; guess: judged answers", "judged answers"]
    never = {**line, "low": -5}
    assert map_text.next_to_pay(1e6, never).startswith("open") and not map_text.of_rft([], 9, 4000)


def test_without_cells_nothing_is_said():
    with pytest.raises(UserError, match="no regime"):
        map_page.summary({})
