"""Several rewards with weights: their sum is learnt from, each is logged by name."""
import numpy as np
import pytest
from running import QUICK, call, metrics, one_error

from nanouft import train
from nanouft.rewards import several
from nanouft.rewards.scorer import reward_hash, scorer
from nanouft.run.storage import read_json

pytestmark = pytest.mark.usefixtures("brief")
CODE = """from nanouft import world

def right(prompts, answers):
    return [world.score(p, a) for p, a in zip(prompts, answers)]

def short(prompts, answers):
    return [-len(a) for a in answers]
"""


@pytest.fixture
def code(here):
    (here / "a.py").write_text(CODE)
    (here / "b.py").write_text(CODE)
    return here


def go(tiny_base, out, *rewards: str) -> int:
    named = [word for reward in rewards for word in ("--reward", reward)]
    return call(train.main, "--objective", "grpo", "--init", tiny_base, "--rows", 24,
                "--batch-size", 4, "--max-new", 6, "--steps", 2, "--lr", 0.003, *QUICK, "--out",
                out, *named)


def test_names_and_weights():
    assert several.parts("a.py:f") == [("a.py:f", 1)] and several.is_plain("a.py:f")
    assert several.parts("exact + out/reward=-0.5") == [("exact", 1), ("out/reward", -0.5)]
    assert several.labels(["a.py:f", "b.py:g", "out/reward/"]) == ["f", "g", "reward"]
    assert several.labels(["a.py:f", "in/b.py:f", "exact"]) == ["a.f", "b.f", "exact"]


@pytest.mark.parametrize("name, words", [
    ("a.py:right=x", ["'x'", "a number"]), ("a.py:right=0", ["'0'"]), ("a.py:right=nan", ["nan"]),
    ("a.py:right=", ["''"]), ("a.py:right + a.py:right=2", ["two rewards", "a.right"]),
    ("a.py:right + a.py:sort", ["no function sort"]), ("exact + a.py:rigth", ["right"]),
    ("exact + nowhere", ["nowhere"])])
def test_a_bad_form_is_one_line(name, words, code, tiny_base, capsys):
    ended = go(tiny_base, "run", *name.split(" + "))
    one_error(ended, capsys.readouterr().err, *words)
    assert not (code / "run").exists()


def test_a_folder_with_an_equals_sign_in_its_name_is_a_folder(here):
    (here / "run=3").mkdir()
    assert several.parts("run=3") == [("run=3", 1)]


def test_the_sum_is_learnt_from_and_each_part_is_logged(code, tiny_base):
    assert go(tiny_base, "both", "a.py:right", "b.py:short=0.1") == 0
    for line in metrics(code / "both"):
        parts = line["reward_right"] + line["reward_short"]
        assert line["reward"] == pytest.approx(parts, abs=1e-6)
        assert line["reward_right"] == pytest.approx(line["score"]) and line["reward_short"] < 0
    about = read_json(code / "both" / "run.json")["config"]["reward"]
    assert about == "a.py:right + b.py:short=0.1"
    assert go(tiny_base, "text", about) == 0
    assert metrics(code / "text") == metrics(code / "both"), "LAW: one text is the same"
    prompts, answers = ["Say pig."] * 2, ["pig", "a pig"]
    judge = scorer("a.py:short=2 + b.py:short=-1")
    assert judge(prompts, answers).tolist() == [-3, -5], "LAW: weights multiply"
    assert np.array_equal(judge.apart(prompts, answers)["b.short"], [3, 5])


def test_one_reward_is_what_it_was(code, tiny_base):
    assert go(tiny_base, "one", "a.py:right") == 0 and go(tiny_base, "exact") == 0
    ours, exact = metrics(code / "one"), metrics(code / "exact")
    assert ours == exact and not [name for name in ours[0] if name.startswith("reward_")]


def test_a_run_goes_on_with_the_rewards_that_it_began_with(code, tiny_base, capsys):
    assert go(tiny_base, "run", "a.py:right", "b.py:short=0.1") == 0
    before = reward_hash("a.py:right + b.py:short=0.1", [])
    (code / "b.py").write_text(CODE + "# changed")
    assert reward_hash("a.py:right + b.py:short=0.1", []) != before
    (code / "run" / "eval.json").unlink()
    (code / "run" / "model.safetensors").unlink()
    assert call(train.main, "--resume", "run") == 2
    said = capsys.readouterr().err
    assert "--reward 'a.py:right + b.py:short=0.1'" in said
    named = ["--reward", "a.py:right", "--reward", "b.py:short=0.1"]
    assert call(train.main, "--resume", "run", *named) == 2
    assert "the reward" in capsys.readouterr().err, "the file has changed since"
    (code / "b.py").write_text(CODE)
    assert call(train.main, "--resume", "run", *named) == 0
