"""Holm's correction, and a search that keeps what was best. (Prices in demonstrations: test_recomputed.py.)"""
from dataclasses import replace

from made_cells import made

from lab import judge
from lab.cell import Cell
from lab.judge import Contrast
from lab.search import Search
from lab.study import Plan, Row, Study


def cells(mean: float, seeds: int = 4, spread: float = 0.0) -> list[dict]:
    return [made(Cell(("--objective", "sft"), seed), mean + spread * (seed - 1.5)) for seed in range(seeds)]


def test_holm_asks_more_of_the_clearest_contrast_and_nothing_after_a_doubt():
    """At 5 % each alone: both hold. Of two, the clearer one must hold at 2.5 %; if it does not, neither holds."""
    def verdicts(*gains: float) -> list[str]:
        found = {"base": {"SFT": cells(0.5)} | {f"row {i}": cells(0.5 + g, spread=0.01) for i, g in enumerate(gains)}}
        claim = Plan({}, "SFT", tuple(Contrast(f"{i}", f"row {i}", "SFT") for i in range(len(gains))))
        contrasts = [judge.compared(c, claim, found) for c in claim.contrasts]
        assert all(c["verdict"] == "holds" for c in contrasts), "alone"
        judge.correct(contrasts, claim, found)
        return [c["verdict"] for c in contrasts]
    assert verdicts(0.023) == ["holds"], "one contrast needs no correction"
    assert verdicts(0.023, 0.10) == ["holds", "holds"], "the weaker one is asked as if alone"
    assert verdicts(0.023, 0.0231) == ["undecided", "undecided"]


def test_a_setting_with_all_seeds_stays_in_the_running_when_the_grid_grows():
    """Of the first seed "1" is fourth once the grid has grown, but by all its seeds it is the best."""
    first = {"1": 0.50, "2": 0.49, "4": 0.48, "0.5": 0.70, "0.25": 0.60}
    later = {"1": 0.90}

    def cell_at(setting, seed):
        return Cell(("--lr", *setting), seed)
    search = Search(cell_at, {"--lr": ["1", "2", "4"]})
    done = {}
    while wanted := search.wanted(done):
        for c in wanted:
            lr = c.flags[1]
            done[c.key] = made(replace(c, items=100), first[lr] if c.seed == 1000 else later.get(lr, 0.3))
    assert search.best(done) == ("1",) and "0.5" in search.axes["--lr"]


def test_a_row_may_take_the_settings_of_another_with_a_part_of_its_rate():
    plan = Plan({"a": Row("", {"--lr": ("3e-5",)}), "b": Row("", like="a"), "c": Row("", like="a", scale=1 / 3)}, "a")
    study = Study(lambda key: plan, {("X", "a", "base"): {"--lr": "3e-5"}})
    assert study.setting("X", "b", "base") == {"--lr": "3e-5"} == study.setting("X", "a", "second base")
    assert study.setting("X", "c", "base") == {"--lr": "1.0e-05"}
