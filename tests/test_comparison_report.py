"""What a comparison reports for made-up scores (tests/recorded/comparison.txt has three), and to
which scores, runs and prompts its notes apply."""
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from comparisons import fill, method_of, planned, pretended

from nanouft.compare import inputs, notes
from nanouft.compare.arms import read_arm
from nanouft.compare.search import Tried
from nanouft.compare.verdicts import Result

WORLD = "--skills list,sum --items 40 --steps 4 --device cpu"
OF_ROWS = "--data pairs.jsonl --tries 1 --steps 4 --device cpu"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fill(tmp_path)
    inputs.forget_hashes()
    yield
    inputs.forget_hashes()


def luck_of(name: str, seed: int, n: int, of_seed: float, of_prompt: float) -> np.ndarray:
    """(n,) numbers around 0, always the same."""
    rng = np.random.default_rng([seed, *name.encode()])
    return rng.normal(0, of_seed) + rng.normal(0, of_prompt, n)


# ---- three comparisons ---------------------------------------------------------------------------
def test_a_difference(recorded):
    """dpo leads, most of all in one task, and wants a lower rate than are tried. kto destroys that
    task, answers without an end, and fails as a whole in one seed of the search and of the test."""
    best_rate = {"sft": 2.5e-4, "dpo": 1e-6, "kto": 3e-5}

    def scores(run):
        name, seed = method_of(run), run.config.seed if run.config else 0
        of_list = 0.6 + luck_of(name, seed, run.spec.items, 0.002, 0.02)
        of_sum = of_list + {"dpo": 0.15, "kto": -0.4}.get(name, 0)
        if run.config:
            off = 0.02 * abs(np.log(run.config.lr / best_rate[name]))
            of_list, of_sum = of_list - off, of_sum - off
        if name == "kto" and seed in (1, 101):
            of_list = of_sum = np.zeros(run.spec.items)
        ends = np.full(run.spec.items, 0.4 if name == "kto" else 1.0)
        return {"score/list": of_list, "score/sum": of_sum, "stops/list": ends, "stops/sum": ends}
    line = f"sft dpo kto --seeds 3 {WORLD}"
    verdict = pretended(line, scores)
    report = (verdict.folder / "report.md").read_text()
    report = re.sub(r"^nanouft 7.*", "nanouft ...", report, flags=re.M)
    report = re.sub(r"\b[0-9a-f]{10,16}\b", "...", report).partition("## Reproduce")[0]
    recorded("comparison", f"compare {line}: report.md", report)
    recorded("comparison", f"compare {line}: differences.csv",
             (verdict.folder / "differences.csv").read_text())
    for row in verdict.differences:
        assert (row["p"] < 0.05) == (row["verdict"] in ("better", "worse"))


def test_none_of_a_loss_that_never_acts_with_two_seeds(recorded, capsys):
    """On rows judged by a loss, of which less is better; three rows are a group. A chain trains
    longer. It is the second test of these prompts."""
    def scores(run):
        n, seed = len(run.spec.rows()), run.config.seed if run.config else 0
        name = method_of(run).replace("mine.py", "sft")
        loss = {"sft": 1.0, "sft+dpo": 1.5}.get(name, 2.0) + luck_of(name, seed, n, 0.001, 0.02)
        return {"nll/rows": loss, "nll groups/rows": np.arange(n) // 3, "prefers/rows": loss > 1}

    def weights(run):
        return f"{'chain' if run.after else 'both'} {run.config.seed}"
    line = f"sft mine.py sft+dpo --by nll --batch-size 8 --seeds 2 {OF_ROWS}"
    before = pretended(line.replace("mine.py ", ""), scores, weights)
    assert not any("this is test" in x for x in before.notes)
    capsys.readouterr()
    verdict = pretended(line, scores, weights)
    recorded("comparison", f"compare {line}", capsys.readouterr().out)
    recorded("comparison", f"compare {line}: differences.csv",
             (verdict.folder / "differences.csv").read_text())


def test_rewards_of_sampled_responses(recorded):
    """Their margin is a tenth of how far rewards were apart before training. Now all are 0."""
    def scores(run):
        n = len(run.spec.rows())
        reward = np.zeros(n) if run.config else np.arange(n) % 2 * 0.5
        return {"reward/rows": reward, "reward groups/rows": np.arange(n)}
    line = f"sft grpo --reward r.py:f --max-new 4 --seeds 3 {OF_ROWS}"
    recorded("comparison", f"compare {line}", pretended(line, scores).text)


# ---- what notes are about ------------------------------------------------------------------------
def of_score(name: str, scores: np.ndarray, **more) -> Result:
    return Result(name, {"sum": scores}, {"sum": np.arange(scores.shape[1])}, "score", {}, False,
                  **more)


@pytest.mark.parametrize("before, after, lost", [
    (1.0, 0.0, True), (0.9, 0.45, True), (0.9, 0.5, False), (0.3, 0.05, True), (0.3, 0.15, False),
    (0.0, 0.0, False), (0.1, 0.9, False)])
def test_a_lost_task_has_lost_half_and_twenty_points(before, after, lost):
    first, method = (of_score(name, np.full((2, 9), x)) for name, x in (("", before), ("a", after)))
    assert [*notes.lost_tasks([first, method])] == [
        f"a lost task sum: {100 * before:.1f} before training, {100 * after:.1f} after."] * lost


@pytest.mark.parametrize("scores, margin, failed", [
    ([0.7, 0.71, 0.69, 0.1, 0.72], 0.02, [3]), ([0.7, 0.71, 0.1, 0.12, 0.72, 0.7], 0.02, [2, 3]),
    ([0.1, 0.12, 0.7, 0.71], 0.02, [0, 1]), ([0.7, 0.55, 0.71], 0.02, []),
    ([0.9, 0.4, 0.7, 0.2, 0.6], 0.02, []), ([-1.0, -1.01, -1.5], 0.02, [2]),
    ([-1.0, -1.01, -1.5], 0.2, [])])
def test_a_failed_run_is_far_below_the_better_half(scores, margin, failed):
    assert [*np.flatnonzero(notes.are_failures(np.array(scores), margin))] == failed


def test_a_method_has_not_failed_where_the_search_had_easier_prompts():
    """Six rows that all score 1 choose the rate, nine others test it."""
    c = planned(f"sft dpo --seeds 3 {OF_ROWS}")
    found = {arm: Tried({1.0: [1.0, 1.0, 1.0]}, 1.0) for arm in c.arms}
    results = [of_score(name, np.full((3, 9), 5 / 9)) for name in ("", "sft", "dpo")]
    assert [*notes.failures(c, found, results, 0.02)] == []


def test_a_ceiling_is_of_shares_alone():
    """A reward of 1 may become 2."""
    full = of_score("a", np.ones((2, 9)))
    c = SimpleNamespace(parts={})
    assert ["100.0 at each prompt for a, a ceiling" in x
            for x in notes.floor_ceiling(c, [full, full])] == [True]
    reward = full._replace(measure="reward")
    assert not [*notes.floor_ceiling(c, [reward, reward])]


@pytest.mark.parametrize("methods, told", [
    ({"sft": 4, "sft+dpo": 8, "sft+kto": 8}, 'sft 32; sft+dpo, sft+kto 64; add "sft --steps 8" as'),
    ({"sft": 4, "sft --steps 8": 8, "sft+dpo": 8}, "sft 32; sft --steps 8, sft+dpo 64"),
    ({"sft": 4, "dpo": 4}, "")])
def test_unequal_compute_names_the_baseline_that_is_missing(methods, told):
    found = [*notes.unequal_compute([of_score(name, np.ones((2, 9)), arm=read_arm(name),
                                              steps=steps, rows=8 * steps)
                                     for name, steps in methods.items()])]
    assert len(found) == bool(told) and told in "".join(found)
    assert ("baseline" in "".join(found)) == ("baseline" in told or "add" in told)


def test_each_comparison_on_the_same_prompts_is_counted_once(monkeypatch):
    """Other versions, another margin or a repetition are no other test; other prompts or another
    text of your own method are."""
    def count(line: str) -> tuple[int, int]:
        inputs.forget_hashes()
        return notes.count_test(planned(f"{line} --seeds 2 --tries 1 --rows 8 {WORLD}"))
    assert [*map(count, ("sft dpo", "sft kto", "sft dpo"))] == [(1, 1), (2, 2), (1, 2)]
    assert [*map(count, ("sft dpo --test-seed 7", "sft dpo --confirm"))] == [(1, 1), (1, 1)]
    monkeypatch.setattr(inputs, "version", lambda name: "another")
    assert [*map(count, ("sft dpo --margin 9", "kto dpo", "sft mine.py"))] == [
        (1, 2), (3, 3), (4, 4)]
    Path("helper.py").write_text("SCALE = 2\n")
    assert count("sft mine.py") == (5, 5), "and it has a report of its own"
