"""A model's own answers as data: which answers go into which file, and the best of n of them."""
import itertools
import json
import math
import re

import numpy as np
import pytest
from running import call, lines, one_error

from nanouft import sample, world
from nanouft.data.rows import Row, Turn
from nanouft.errors import UserError
from nanouft.files.read import read
from nanouft.models.load import start_model
from nanouft.rewards import best_of, harvest, scorer
from nanouft.rewards.harvest import Sampled

ASKED = (Turn("user", "Sort pig bee saw from a to z."),)


def sampled(answers: list[str], rewards: list[float], ended=None, clean=None) -> Sampled:
    n = len(answers)
    return Sampled(ASKED, answers, rewards, ended or [True] * n, clean or [True] * n)


def test_a_pair_is_best_against_worst_and_ties_prefer_nothing():
    got, = pairs(sampled(["a", "b", "c", "d"], [0.5, 1.0, 0.25, 1.0]))
    assert (got["chosen"], got["rejected"], got["p"]) == ("b", "c", 0.875)
    learnt, = pairs(sampled(["a", "b"], [3.0, 1.0]), is_learnt=True)
    assert learnt["p"] == pytest.approx(1 / (1 + np.exp(-2))), "Bradley-Terry"
    assert pairs(sampled(["a", "b"], [0.5, 0.5])) == []
    assert pairs(sampled(["a", "b"], [1.0, 0.0], ended=[False, True])) == [], \
        "what never ends is not chosen"
    assert pairs(sampled(["", "b"], [0.0, 1.0])) == [], "an empty answer stands in no file"
    assert pairs(sampled(["a", "b"], [1.0, 0.0], clean=[False, True])) == []


def pairs(*file: harvest.Sampled, is_learnt: bool = False) -> list[dict]:
    chance = harvest.chance_of(list(file), is_learnt)
    return [row for s in file for row in harvest.pair(s, chance)]


@pytest.mark.parametrize("odd", [[30.0, 10.0], [1.0, -1.0], [2.0, 2.0]])
def test_of_rewards_that_are_no_grades_no_chance_is_known(odd):
    """Whatever the rewards of one prompt are: the same rule for the whole file."""
    file = sampled(["a", "b"], [0.2, 0.9]), sampled(["a", "b"], odd)
    assert not any("p" in row for row in pairs(*file))


def test_right_answers_are_demonstrations_once():
    s = sampled(["a", "b", "a", "c"], [1.0, 0.9, 1.0, 1.0], ended=[True, True, True, False])
    assert [r["response"] for r in harvest.demos(s, 1.0)] == ["a"]
    assert [r["response"] for r in harvest.demos(s, 0.9)] == ["a", "b"]
    assert [r["response"] for r in harvest.demos(sampled(["x", "y"], [-3.0, 2.0]), None)] \
        == ["y"], "best of k"


def test_labels_and_scores():
    s = sampled(["a", "b", "c"], [1.0, 0.5, 0.0])
    assert [r["label"] for r in harvest.labels(s, 1.0)] == [True, False, False]
    assert [r["label"] for r in harvest.labels(s, None)] == [True, True, False], \
        "the mean of the prompt is 0.5"
    assert [r["label"] for r in harvest.labels(sampled([*"abcd"], [1.0, 0.3, 0.0, 0.0]), None)] \
        == [True, False, False, False], "the mean is .325, the median .15"
    assert harvest.labels(sampled(["a", "b"], [2.0, 2.0]), None) == [], "equal rewards say nothing"
    assert harvest.labels(sampled(["", "a", "b"], [9.0, 1.0, 2.0]), None)[1]["label"], \
        "an empty answer counts nowhere"
    assert [r["score"] for r in harvest.scores(s, False)] == [1.0, 0.5, 0.0]
    assert harvest.scores(sampled(["a"], [0.0]), True)[0]["score"] == 0.5, \
        "a learnt reward goes through a sigmoid"


def test_a_dialogue_is_read_back_as_it_was(tmp_path):
    talk = (Turn("system", "Be brief."), Turn("user", "Hi."), Turn("assistant", "Yes?"),
            Turn("user", "Say pig."))
    harvest.write(tmp_path, [Sampled(talk, ["pig", "bee"], [1.0, 0.0], [True] * 2, [True] * 2)],
                  1.0, False)
    for name in ("pairs", "labels", "scores", "demos"):
        rows, _ = read([str(tmp_path / f"{name}.jsonl")], strict=True)
        assert all(row.prompt == talk for row in rows), name


def test_prompts_of_nanoworld_are_known_by_their_text():
    rows = world.rows("train", "demos", 12, 0)
    bare = [type(r)(r.prompt, r.answer) for r in rows]
    assert [r.family for r in world.named(bare)] == [r.family for r in rows]
    assert world.named([*bare, type(rows[0])((Turn("user", "Hi."),))]) == []
    mine = {r.prompt for r in world.rows("train", "demos", 200, 0, skills=("rules", "list", "sum"))}
    other = harvest.find_prompts(harvest.Harvest(prompts=200, skills="rules,list,sum"))
    assert len(mine & {r.prompt for r in other}) < 20, \
        "the demonstrations of that seed ask other questions"


def by_row(file) -> dict[int, dict]:
    return {line["row"]: line for line in map(json.loads, file.read_text().splitlines())}


@pytest.mark.parametrize("rewards", [[-1.0, 0.5], [0.5, 1.5]])
def test_a_grade_lies_between_0_and_1(rewards):
    with pytest.raises(UserError, match="from 0 to 1"):
        scorer.to_unit_interval("my.py:f", np.array(rewards))


def test_prompts_of_a_file_are_answered(tiny_base, here, capsys):
    lines(here / "rows.jsonl", [{"question": "Say pig.", "gold": "pig"},
                                {"question": "Say bee.", "gold": "bee"}])
    (here / "my.py").write_text("def right(prompts, answers, gold): return [a == g for a, g in "
                                "zip(answers, gold)]")
    assert call(harvest.main, "--init", tiny_base, "--data", "rows.jsonl", "--prompt-field",
                "question", "--reward", "my.py:right", "--samples", "2", "--max-new", "2",
                "--threads", "1", "--out", "said") == 0
    said = capsys.readouterr().out
    assert 'only for the reward: "gold"' in said and said.count("No answer ends within --max-new 2 "
                                                                "tokens, so") == 2
    rows, _ = read([str(here / "said/scores.jsonl")], strict=True)
    assert [r.prompt[0].text for r in rows] == ["Say pig.", "Say pig.", "Say bee.", "Say bee."]


@pytest.fixture(scope="module")
def made(tiny_base, tmp_path_factory):
    """A harvest of the tiny model, whose answers are noise, scored by their length."""
    place = tmp_path_factory.mktemp("harvest")
    (place / "length.py").write_text("def short(prompts, answers):\n    return [-len(a) for a in "
                                     "answers]\n")
    flags = ["--init", str(tiny_base), "--prompts", "9", "--samples", "4", "--max-new", "3",
             "--threads", "1", "--reward", f"{place}/length.py:short"]
    assert call(harvest.main, *flags, "--out", place / "own") == 0
    return place, flags


def test_an_interrupted_harvest_ends_as_it_would_have(made, monkeypatch):
    place, flags = made
    monkeypatch.setattr(harvest, "CHUNK", 8)
    assert call(harvest.main, *flags, "--out", place / "whole") == 0
    whole, half = (place / "whole" / "answers.jsonl").read_text(), place / "half"
    half.mkdir()
    (half / "harvest.json").write_text((place / "whole" / "harvest.json").read_text())
    (half / "answers.jsonl").write_text("".join(whole.splitlines(True)[:5]))
    assert call(harvest.main, *flags, "--out", half) == 0
    assert by_row(half / "answers.jsonl") == by_row(place / "whole" / "answers.jsonl")
    assert (half / "scores.jsonl").read_text() == (place / "whole" / "scores.jsonl").read_text()


@pytest.mark.parametrize("more, words", [(["--seed", "1"], "choose another name"),
                                         (["--data", "x"], "NanoWorld")])
def test_other_settings_are_another_harvest(made, capsys, more, words):
    place, flags = made
    one_error(call(harvest.main, *flags, *more, "--out", place / "own"), capsys.readouterr().err,
              words)


def test_a_person_may_judge_and_what_is_empty_is_not_there(made):
    place, flags = made
    (place / "my.py").write_text("def nobody(prompts, answers, **others):\n    return [0.0] * "
                                 "len(answers)\n")
    assert call(harvest.main, *flags, "--reward", f"{place / 'my.py'}:nobody", "--good", "1",
                "--out", place / "blank") == 0
    assert set(re.findall(r'"label": (\w+)', (place / "blank" / "labels.jsonl").read_text())) \
        == {"false"}
    assert not (place / "blank" / "demos.jsonl").exists() \
        and not (place / "blank" / "pairs.jsonl").exists()


# ---- best of n: the estimate against enumeration, the KL against exact policies ------------------
def enumerate_best(n: int, rewards, values) -> float:
    """The mean over all subsets of n samples of what the best one is worth, ties drawn by lot."""
    out = []
    for some in itertools.combinations(range(len(rewards)), n):
        top = max(rewards[i] for i in some)
        out.append(np.mean([values[i] for i in some if rewards[i] == top]))
    return float(np.mean(out))


@pytest.mark.parametrize("rewards", [[3, 1, 2, 5, 4, 0], [1, 1, 2, 2, 2, 0], [7, 7, 7, 7, 7, 7]])
def test_the_estimate_is_the_mean_over_all_subsets(rewards):
    values = np.array([0.3, 0.9, -1.0, 0.5, 2.0, 0.25])
    for n in range(1, 7):
        want = enumerate_best(n, rewards, values)
        assert best_of.best_of(n, np.array(rewards), values) == pytest.approx(want, abs=1e-12), \
            f"LAW: the estimate is the mean over all subsets of {n}"


def test_the_first_of_equals_is_the_best_and_of_three_nobody_tells_four():
    assert best_of.choose(np.array([[1, 3, 3], [2, 0, 1]])).tolist() == [1, 0]
    for n in (0, 4):
        with pytest.raises(ValueError, match="cannot be told"):
            best_of.best_of(n, np.arange(3.0), np.arange(3.0))


def test_kl_of_a_policy_with_two_answers():
    """Three of four samples are the worse answer: the best of n is the worse one with chance
    (3/4)^n."""
    rewards = np.array([0.0, 0.0, 1.0, 0.0])
    for n in (1, 2, 5):
        q = np.array([0.75 ** n, 1 - 0.75 ** n])
        assert best_of.kl(n, rewards) == pytest.approx((q * np.log(q / [0.75, 0.25])).sum(),
                                                       abs=1e-12)
    assert best_of.kl(64, np.ones(5)) == pytest.approx(0), "one answer only: there is nowhere to go"


def test_kl_stays_below_its_bound_and_reaches_it_where_no_answer_comes_twice():
    rng = np.random.default_rng(0)
    assert best_of.kl_bound(1) == 0 and best_of.kl_bound(4) == pytest.approx(math.log(4) - 0.75)
    for n in (2, 4, 16):
        assert (best_of.kl(n, rng.integers(0, 5, (50, 64))) <= best_of.kl_bound(n)).all()
        assert best_of.kl(n, rng.random(2000)) == pytest.approx(best_of.kl_bound(n), abs=0.02)


def test_the_best_answer_is_the_one_that_the_scorer_likes(tiny_base):
    model, tok = start_model(str(tiny_base))
    rows = [Row((Turn("user", text),)) for text in ("Say fig twice.", "What?", "Sort bee ant.")]
    seen = {}

    def longest(prompts, answers):
        for p, a in zip(prompts, answers):
            seen.setdefault(p, []).append(len(a))
        return np.array([len(a) for a in answers], float)

    best = best_of.best_answers(model, tok, rows, 5, longest)
    assert [len(x) for x in seen.values()] == [5, 5, 5]
    assert [len(tok.decode(a.ids).strip()) for a in best] == [max(x) for x in seen.values()]
    assert len({tuple(x) for x in seen.values()}) == 3, "samples differ"


def test_sample_shows_the_best(capsys):
    prompt = world.rows("test", "prompts", 1, 0, skills=("list",))[0].prompt[0].text
    assert call(sample.main, "base", "--prompt", prompt, "--best-of", 12) == 0
    out = capsys.readouterr().out
    score, likes = (float(out.split(word)[1].split()[0].rstrip(","))
                    for word in ("score", "reward"))
    assert score == likes and "mean of 12" in out, out


def test_sample_asks_the_base_three_questions_of_nanoworld():
    said = sample.prompts_for("base", start_model("base")[1])
    assert [world.family_of(prompt) for prompt in said] == ["list", "sort", "truth"]
