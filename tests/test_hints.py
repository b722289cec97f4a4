"""What is computed about a wrong answer is found where it is true, and told nowhere else."""
from random import Random

import pytest
import torch

from lessons.classroom.exercise import ROUNDS, exercises
from lessons.classroom.hints import Answer, how_many, relation, what_decides, wrong_place
from lessons.classroom.judge import Measure, assess, far_apart, judge

KNOWN = exercises()
NUMBERS = ["03a", "06a", "08a", "09a", "11a", "12b", "16a"]     # their right answers are tensors


def far(x, y):
    return far_apart(x, y, Measure())


def changed(name: str, change):
    """The right function, with a change of what it gives: change(right answer, arguments)."""
    def function(*args):
        return change(torch.as_tensor(KNOWN[name].right(*args)), args)
    return function


CHANGES = {
    "2.5 times the right one": lambda y, args: 2.5 * y, "minus the right one": lambda y, args: -y,
    "the right one plus 0.75": lambda y, args: y + 0.75, "always 3": lambda y, args: 0 * y + 3,
    "the right one minus 1.5": lambda y, args: y - 1.5,
    "1 minus the right one": lambda y, args: 1 - y}


@pytest.mark.parametrize("words", CHANGES)
@pytest.mark.parametrize("name", NUMBERS)
def test_a_relation_that_holds_is_found(name, words):
    function, exercise = changed(name, CHANGES[words]), KNOWN[name]
    exercise_without = type(exercise)(**{**vars(exercise), "mistakes": []})
    assert f"yours is {words}." in judge(exercise_without, function, seed=1)


@pytest.mark.parametrize("name, argument, at", [
    ("08a", "beta", 1), ("08a", "gamma", 2), ("12b", "beta", 5), ("16a", "delta", 1)])
def test_a_relation_to_an_argument_is_found(name, argument, at):
    for words, change in (("times", lambda y, args: y * args[at]),
                          ("plus", lambda y, args: y + args[at])):
        said = judge(KNOWN[name], changed(name, change), seed=2)
        assert f"the right one {words} {argument}." in said


def noise(seed: int):
    """Wrong in a way that no sentence tells."""
    def change(y, args):
        random = Random(f"{seed} {y.tolist()}")
        return y + torch.tensor([random.uniform(1, 2) for _ in range(y.numel())]).view(y.shape)
    return change


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", NUMBERS)
def test_nothing_is_told_about_noise(name, seed):
    said = judge(KNOWN[name], changed(name, noise(seed)), seed)
    assert said.splitlines()[0] == f"    Right in 0 of {ROUNDS} calls."
    assert "yours is" not in said and "exactly where" not in said


@pytest.mark.parametrize("name", KNOWN)
def test_whatever_is_computed_about_a_mistake_is_true(name):
    """The relation, computed again for each call that is wrong."""
    exercise = KNOWN[name]
    for mistake in exercise.mistakes:
        function = exercise.with_mistakes((mistake,))
        cases = exercise.cases(3)
        pairs = [Answer(exercise.attempt(function, case).values.get("gives"),
                        exercise.attempt_ours(exercise.right, case).values.get("gives"),
                        exercise.arguments_of(case)) for case in cases]
        wrong = [pair for pair in pairs if not pair.is_right(far)]
        if wrong and relation(wrong, far).endswith("times the right one"):
            times = float(relation(wrong, far).split()[0])
            for x, y in (pair.tensors() for pair in wrong):
                torch.testing.assert_close(x, times * y, rtol=1e-3, atol=1e-3)


def test_the_place_of_a_fault_is_told():
    def with_fault(at: int, length: int) -> Answer:
        right = torch.arange(float(length))
        got = right.clone()
        got[at] += 1 + length
        return Answer(got, right)
    lengths = (2, 4, 5)
    assert wrong_place([with_fault(0, n) for n in lengths], far) == "only the first number is"
    assert wrong_place([with_fault(-1, n) for n in lengths], far) == "only the last number is"
    assert wrong_place([with_fault(n // 2, n) for n in (2, 4, 7)], far) == "only one number is"
    assert wrong_place([Answer([1.0, 2], [2.0, 1])], far) == ""


def test_an_argument_that_decides_is_told():
    def answers(of) -> list[Answer]:
        return [Answer(0, None if k % 4 == 1 else 1, {"how": "ab"[k % 2], "x": k % 3 - 1.0,
                                                      "some": [0] * (k % 5)}) for k in range(60)]
    def told(right) -> str:
        asked = answers(None)
        return what_decides(asked, [right(answer) for answer in asked])
    assert told(lambda x: x.arguments["how"] == "a") in ("right exactly where how is 'a'",
                                                         "wrong exactly where how is 'b'")
    assert told(lambda x: x.arguments["x"] >= 0) == "wrong exactly where x is -1"
    assert told(lambda x: len(x.arguments["some"]) == 2) == (
        "right exactly where the length of some is 2")
    assert told(lambda x: x.right is not None) == "wrong exactly where the right result is None"
    assert told(lambda x: True) == told(lambda x: False) == ""


def test_the_numbers_of_an_answer_are_counted_apart():
    """And are worth a part of it."""
    def estimates(*args):
        whole, of_sft, does = KNOWN["05a"].right(*args)
        return whole, of_sft, does / 2
    found = assess(KNOWN["05a"], estimates, seed=0)
    assert found.told.startswith(
        f"    Right in 5 of {ROUNDS} calls: number 1 in 60, number 2 in 60, number 3 in 5.\n")
    assert "Where number 3 is wrong, it is 0.5 times the right one." in found.told
    assert found.share == pytest.approx((60 + 60 + 5) / 180)
    assert how_many([True, False], {}, "cases") == "Right in 1 of 2 cases."


def test_where_none_is_legal_nobody_is_asked_for_a_return():
    def never(difference, sd, t):
        return None

    def seeds_needed(difference, sd, t):
        return KNOWN["14a"].right(difference, 1.1 * sd, t)
    for function in (never, seeds_needed):
        assert "`return`" not in judge(KNOWN["14a"], function, seed=0)
    assert "Is there a `return`?" in judge(KNOWN["16a"], lambda *args: None)


def test_a_chat_of_an_input_is_possible():
    """It begins with the user, and no answer goes on after its end."""
    for k in range(200):
        tokens, = KNOWN["02a"].arguments(f"{k} 0")
        assert tokens[0] == "user"
        for answer in " ".join(tokens).split("assistant")[1:]:
            said = answer.split("user")[0].split()
            assert "end" not in said[:-1]


