"""Your own rows, few of them: what the run chooses by their number, which step it keeps, and what
it says about more steps or fewer."""
import random
from types import SimpleNamespace

import pytest
from running import DEMOS, PAIRS, QUICK, call, lines, metrics
from safetensors.torch import load_file

from nanouft import train
from nanouft.data.rows import Row
from nanouft.eval import report
from nanouft.objectives import OBJECTIVES
from nanouft.run import by_rows, checkpoints
from nanouft.run.best import PATIENCE, SLACK, Best
from nanouft.run.flags import CHOSEN, Train
from nanouft.run.storage import Lines, read_json

pytestmark = pytest.mark.usefixtures("brief")


def chosen(name: str, rows: int, family: str = "", held: int = 2, **given) -> tuple[Train, str]:
    """The settings of a run on so many rows, and what it says."""
    objective = OBJECTIVES[name]
    cfg = Train(**{"data": ["x"], "lr": 1.0} | given)
    data = SimpleNamespace(train=[0] * rows, held=[0] * held, train_rows=[Row(family=family)])
    origin = dict.fromkeys(given, "command line")
    said = by_rows.choose(cfg, objective, objective.hp(), data, origin)
    return cfg, said


@pytest.mark.parametrize("name, rows, batch, steps, rate", [
    ("sft", 5, 5, 200, 4), ("ift", 18, 8, 200, 4), ("sft", 36, 8, 360, 4), ("sft", 900, 8, 400, 4),
    ("sft", 4266, 8, 1600, 4), ("sft", 4267, 32, 400, 1),
    ("sft", 20_000, 32, 1875, 1), ("uft", 40, 8, 400, 1), ("dpo", 1, 1, 20, 1),
    ("dpo", 18, 8, 20, 1), ("kto", 90, 8, 34, 1), ("una", 213, 8, 80, 3e-5 / 5e-4),
    ("orpo", 40, 8, 20, 3e-5 / 2.5e-4), ("una", 214, 32, 20, 1), ("dpo", 2000, 32, 188, 1)])
def test_steps_batch_and_rate_by_the_number_of_rows(name, rows, batch, steps, rate):
    cfg, said = chosen(name, rows)
    assert (cfg.batch_size, cfg.steps) == (batch, steps) and cfg.lr == pytest.approx(rate)
    assert f"{steps:,} of them" in said and (f"steps of {batch} rows" in said) == (batch < 32)
    assert cfg.eval_every == (steps // 10 if name in ("sft", "ift") else 0)


def test_a_second_stage_is_gentle():
    objective, cfg = OBJECTIVES["sft"], Train(data=["x"], lr=2.5e-4)
    data = SimpleNamespace(train=[0] * 28, held=[0] * 4, train_rows=[Row()])
    said = by_rows.choose(cfg, objective, objective.hp(), data, {}, taught=True)
    assert (cfg.steps, cfg.batch_size, cfg.lr) == (20, 8, pytest.approx(3e-5))
    assert "new topic" in said


GIVEN = {"steps": 7, "epochs": 2.0, "batch_size": 3, "lr": 0.5, "eval_every": 0}


@pytest.mark.parametrize("name", GIVEN)
def test_what_is_given_wins(name):
    cfg, said = chosen("sft", 18, **{name: GIVEN[name]})
    assert getattr(cfg, name) == GIVEN[name] and said
    assert name != "epochs" or cfg.steps is None


@pytest.mark.parametrize("more", [{"data": None}, {"family": "list"}, {"resume": "out/x"}])
def test_rows_of_nanoworld_and_resumed_runs_keep_what_they_have(more):
    cfg, said = chosen("sft", 18, **more)
    assert not said and (cfg.batch_size, cfg.steps, cfg.lr, cfg.eval_every) == (32, None, 1.0, 0)
    cfg, said = chosen("grpo", 18)
    assert not said and cfg.batch_size == 32


def test_pieces_of_a_step_have_a_row_each():
    cfg = Train(data=["x"], lr=1.0, accumulate=12)
    data = SimpleNamespace(train=[0] * 18, held=[], train_rows=[Row()])
    by_rows.choose(cfg, OBJECTIVES["sft"], OBJECTIVES["sft"].hp(), data, {}, 12)
    assert cfg.batch_size == 12


# ---- which step is kept --------------------------------------------------------------------------
@pytest.mark.parametrize("losses, step, rises", [
    ([], 0, False), ([3, 2, 1], 3, False), ([3, 1, 1.09, 1.1], 4, False),
    ([3, 1, 1.2, 1.3], 2, False), ([3, 1, 1.2, 1.2, 1.2], 2, True),
    ([3, 1, 1.2, 1.2, 0.9, 1.2], 5, False)])
def test_the_last_step_before_the_loss_rises_is_kept(tmp_path, losses, step, rises):
    """Also where the run is resumed: the log tells what was seen before."""
    assert (SLACK, PATIENCE) == (0.1, 3)
    log = tmp_path / "metrics.jsonl"
    best = Best(log)
    for number, loss in enumerate(losses, 1):
        best.look(number, loss)
        Lines(log).add({"step": number, "held_out": {"nll": loss}}, {"step": number, "loss": 1.0})
    for now in (best, Best(log)):
        assert (now.step, now.rises) == (step, rises)


class Kill(BaseException):
    """What a killed process does not get to say."""


@pytest.fixture
def noise(here):
    """Questions with answers that nobody can know: the held-out loss falls, and then rises."""
    dice = random.Random(0)
    words = "pig bee fox owl ant cat dog hen".split()
    return lines(here / "noise.jsonl", [
        {"prompt": f"Say {i}.", "response": " ".join(dice.choices(words, k=3))}
        for i in range(20)])


def test_a_run_that_memorises_stops_and_keeps_an_earlier_step(noise, here, tiny_base, capsys,
                                                              monkeypatch):
    """... and one that is killed after any save, or at the very end, gives the same bytes."""
    argv = ["--objective", "sft", "--data", noise, "--init", tiny_base, *QUICK, "--out"]
    assert call(train.main, *argv, here / "whole") == 0
    said, log = capsys.readouterr().out, metrics(here / "whole")
    kept = read_json(here / "whole" / "eval.json")["step"]
    assert log[-1]["step"] < 200 and f"step {log[-1]['step']}; step {kept} is kept" in said
    looks = {line["step"]: line["held_out"]["nll"] for line in Lines(
        here / "whole" / "metrics.jsonl").read() if "held_out" in line}
    best = load_file(here / "whole" / "steps" / str(kept) / "model.safetensors")
    final = load_file(here / "whole" / "model.safetensors")
    assert looks[kept] <= 1.1 * min(looks.values()) and any(
        x.equal(y) for x in best.values() for y in final.values() if x.shape == y.shape)
    saves = len([n for n in looks if n <= kept]) + log[-1]["step"] // 50
    real, finish = checkpoints.save_step, train.report.close_run
    for number in (1, saves - 1, 99):
        calls = []

        def save(*args):
            real(*args)
            calls.append(1)
            if len(calls) == number:
                raise Kill

        def end(*args):
            raise Kill
        run = here / str(number)
        with monkeypatch.context() as patch:
            patch.setattr(checkpoints, "save_step", save)
            patch.setattr(train.report, "close_run", end if number == 99 else finish)
            with pytest.raises(Kill):
                train.main([*map(str, argv), str(run)])
        assert call(train.main, "--resume", run) == 0
        for file in ("model.safetensors", "metrics.jsonl"):
            assert (run / file).read_bytes() == (here / "whole" / file).read_bytes(), (number, file)
        assert read_json(run / "eval.json")["step"] == kept


def test_without_checkpoints_and_with_given_steps_the_last_step_stays(noise, here, tiny_base,
                                                                       capsys):
    argv = ["--objective", "sft", "--data", noise, "--init", tiny_base, *QUICK, "--out"]
    for name, more in (("a", ["--save-every", 0]), ("b", ["--steps", 150])):
        assert call(train.main, *argv, here / name, *more) == 0
        said = capsys.readouterr().out
        assert "is kept" not in said and "the held-out loss was lowest at step" in said
        assert "step" not in read_json(here / name / "eval.json")


@pytest.mark.parametrize("name, rows", [("dpo", PAIRS), ("sft", DEMOS)])
def test_a_small_file_says_what_was_chosen(name, rows, here, tiny_base, capsys):
    file = lines(here / "x.jsonl", rows)
    assert call(train.main, "--objective", name, "--data", file, "--init", tiny_base, *QUICK,
                "--lr", 1e-6) == 0
    about, said = read_json(here / "out" / name / "run.json"), capsys.readouterr().out
    assert "rows are few: steps of 8 rows, " in said and about["from"]["lr"] == "command line"
    assert about["steps"] == {"dpo": 20, "sft": 200}[name]
    assert about["from"]["batch_size"] == about["from"]["steps"] == CHOSEN


# ---- more steps, or fewer? -----------------------------------------------------------------------
@pytest.mark.parametrize("losses, said", [
    ([], ""), ([9], ""), ([9, 5], "still falls at the end (9.000 -> 5.000 in the last part of the "
                          "run): try --steps 4"),
    ([9, 5, 3, 2, 1], "(3.000 -> 1.000 in the last part of the run): try --steps 10"),
    ([9, 5, 3, 2.99, 2.98], ""), ([9, 1, 1.02, 1.05, 1.09], ""),
    ([9, 1, 2, 3, 4], "was lowest at step 2 (1.000; 4.000 at the end): try --steps 2")])
def test_more_steps_or_fewer_by_the_held_out_loss(losses, said):
    looks = list(enumerate(losses, 1))
    assert (said or "x") in (report.how_long(looks) or "x")
    if "lowest" in said:
        assert report.how_long(looks, keeps_best=True) == ""
