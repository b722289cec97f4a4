"""The grader: does it say the right thing? Whether the tasks are in order says `python -m
lessons.grade --check`."""
from __future__ import annotations

import inspect
import json
import math
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from running import ROOT

from lessons.grade import __main__ as command
from lessons.grade import engine, folder, solution, ui, worker
from lessons.grade import watch as watching
from lessons.grade.engine import judge
from lessons.grade.folder import My
from lessons.grade.outcome import numbers, same
from lessons.grade.task import Case, Law, Mistake, Task
from lessons.grade.tasks import check, factory, t00, used
from nanouft.errors import UserError
from nanouft.objectives import ift
from nanouft.run.config import run, tomllib

TASKS = {task.id: task for task in folder.all_tasks()}
DPO = TASKS["07a"]


# ---- a toy task, so that every branch can be tried -----------------------------------------------
def mean(x, scale):
    return scale * x.mean()


def mean_model(x, scale, total=False, sign=1, alive=True, twice=False):
    x = x if alive else x.detach()
    if twice:
        x.mul_(1)
    y = sign * scale * (x.sum() if total else x.mean())
    return y


def draw(random):
    return torch.tensor(
        [random.random() for _ in range(random.randint(2, 4))]), random.choice([1.0, 2.0])


TOY = Task("99z", "implement", 1, 1, False, "mean(x, scale)", "The mean.", "One equation", mean,
           mean_model, (Case((torch.tensor([1.0, 3.0]), 1.0), "two"),
                        Case((torch.tensor([1.0, 2.0, 6.0]), 2.0), "three")), draw,
           (Mistake("a sum is taken", {"total": True}, "Why?", "It is a mean."),
            Mistake("the sign is wrong", {"sign": -1}, "Why?", "Plus."),
            Mistake("no gradient flows", {"alive": False}, "Why?", "It must.")), gradients=(0,),
           laws=(Law("twice the scale must be twice the mean",
                     lambda f, args: bool(abs(f(args[0], 2 * args[1]) - 2 * f(*args)) < 1e-3)),))


def says(function, task=TOY) -> tuple:
    found = judge(task, function)
    return found["state"], found["mistake"]


@pytest.mark.parametrize("right", [
    lambda x, scale: scale * x.mean(),
    lambda x, scale: (scale * x.sum() / len(x)).double(),
    lambda x, scale: [[scale * x.mean()]],
    lambda x, scale: scale * torch.einsum("i->", x)[None] / x.numel(),
    lambda x, scale: [scale * x.mean().double()]])
def test_style_is_free(right):
    assert says(right) == ("right", None)


@pytest.mark.parametrize("right, note", [
    (lambda x, scale: scale * sum(x.tolist()) / len(x), "no gradient"),
    (lambda x, scale: scale * x.mean().item(), "no gradient"),
    (lambda x, scale: float(scale * np.asarray(x).mean()), "stops with gradients"),
    (lambda x, scale: 1 / 0 if x.requires_grad else scale * x.mean(), "stops with gradients")])
def test_plain_numbers_do_where_no_gradient_is_asked_for(right, note):
    assert judge(replace(TOY, gradients=()), right)["state"] == "right"
    few = replace(TOY, mistakes=TOY.mistakes[:2])
    found = judge(few, right)
    assert (found["state"], found["note"]) == ("amber", note)


def test_mistakes_have_names_alone_and_in_pairs():
    assert says(lambda x, scale: scale * x.sum()) == ("wrong", "a sum is taken")
    assert says(lambda x, scale: -scale * x.sum()) \
        == ("wrong", "a sum is taken and the sign is wrong")
    found = judge(TOY, lambda x, scale: -scale * (3 * x - 2 * x.detach()).sum())
    assert (found["by"], found["mistake"]) == ("values", "a sum is taken and the sign is wrong")
    assert judge(TOY, lambda x, scale: -scale * x.sum())["readings"] \
        == [["a sum is taken", "the sign is wrong"]]


def test_right_values_with_another_gradient_are_amber():
    assert says(lambda x, scale: scale * x.detach().mean()) == ("amber", "no gradient flows")
    found = judge(TOY, lambda x, scale: scale * (2 * x - x.detach()).mean())
    assert (found["state"], found["mistake"], found["note"]) == ("amber", None, "gradient")


def test_arguments_must_stay_as_they_are():
    def spoils(x, scale):
        y = scale * x.mean()
        with torch.no_grad():
            x.zero_()
        return y
    found = judge(replace(TOY, gradients=()), spoils)
    assert (found["state"], found["note"]) == ("amber", "changes its arguments")
    found = judge(TOY, lambda x, scale: scale * x.mul_(2).sum() / 2)
    assert (found["mistake"], found["note"]) == ("a sum is taken", "changes its arguments")


def test_what_nobody_knows():
    found = judge(TOY, lambda x, scale: x.mean() + 0.5)
    assert (found["state"], found["law"]) == ("unknown", "twice the scale must be twice the mean")
    constant = judge(TOY, lambda x, scale: 2.0 if scale == 1 and len(x) == 2 else 6.0)
    assert constant["state"] == "unknown" and [case["value"] for case in constant["cases"]] \
        == [True, True, False]
    assert "mean(torch.tensor([" in "\n".join(ui.table(constant["cases"])), \
        "the random case is printed"
    for function, note in ((lambda x, scale: 1 / 0, "ZeroDivisionError"),
                           (lambda x, scale: None, "returns nothing"),
                           (lambda x: x.mean(), "arguments"),
                           (lambda x, scale: (scale * x)[:, None], "shape (2, 1)")):
        assert judge(TOY, function)["note"].startswith(note)
    assert judge(TOY, lambda x, scale: object())["state"] == "unknown"


@pytest.mark.parametrize("function, fact", [
    (lambda x, scale: 3 * scale * x.mean(), "Your result is 3 times the right one."),
    (lambda x, scale: scale * x.mean() - 1, "Your result is the right one - 1."),
    (lambda x, scale: str((scale * x.mean()).item()),
     "Your result is right, but written in another way: a text for a "
                                                      "number, or other letters."),
    (lambda x, scale: scale ** 2 * x.mean(), "Your result is the right one, times scale."),
    (lambda x, scale: x.mean(), "Your result is the right one, divided by scale."),
    (lambda x, scale: (scale + 1) * x.mean(),
     "This would be the right result if scale were scale + 1."),
    (lambda x, scale: scale * x[1:].mean(), ""),
    (lambda x, scale: scale * x.mean() + (scale - 1) * x[0],
     "Your function would be right if scale were 1.")])
def test_a_fact_about_a_result_without_a_name(function, fact):
    found = judge(replace(TOY, gradients=(), mistakes=TOY.mistakes[:1]), function)
    assert (found["state"], found["mistake"], found["fact"]) == ("unknown", None, fact)
    line = "\n".join(ui.sentence({"hints": 3, "where": "lesson", "signature": ""}, found))
    assert (fact or "Compute the smallest case by hand") in line \
        and "--hint for more, 3 left; lesson" in line


def test_a_grader_that_was_changed_is_noticed(monkeypatch):
    exam = engine.Exam(TOY)
    assert engine.careful(exam, mean)["state"] == "right"
    monkeypatch.setattr(engine.Answer, "agrees", lambda *args: True)
    assert engine.careful(exam, lambda x, scale: 0)["note"] == "changed grader"


def test_numbers():
    assert numbers({"b": [True, np.float32(2)], "a": (torch.tensor([[3.0]]), "x", None)}) == [
        "a", 3.0, "x", None, "b", 1.0, 2.0]
    assert numbers({2, 1, "z"}) == [1.0, 2.0, "z"]
    assert same([math.nan, math.inf, 1.0], [math.nan, math.inf, 1.001])
    assert not same([math.inf], [-math.inf]) and not same([math.nan], [0.0]) \
        and not same([1.0], [1.0, 1.0])
    assert not same([1.0], [1.01]) and not same(["a"], [1.0])


# ---- the check finds what is not in order --------------------------------------------------------
def broken(**change) -> str:
    return "\n".join(check.check(replace(TOY, hints=("?", "?", "?"), **change)))


def test_the_check_passes_the_toy_and_finds_what_is_wrong_with_others():
    first, second, third = TOY.mistakes
    cancel = replace(second, flags={"alive": True, "sign": -1})
    again = Mistake("it has a minus", {"twice": False, "total": False, "sign": -1}, "Why?", "Plus.")
    assert broken() == ""
    for words, change in (
            ("not refused", {"mistakes": (first, second, replace(third, flags={"twice": False}))}),
            ("the same as", {"mistakes": (first, second, replace(first, name="another"), third)}),
            ("the same as", {"mistakes": (first, cancel, again)}),
            ("at least three", {"mistakes": (first, second)}),
            ("in the name of", {"mistakes": (first, second, replace(third, name="the sign"))}),
            ("no question mark", {"mistakes": (first, second, replace(third, question="Think."))}),
            ("model without flags", {"model": lambda x, scale: 1.1 * scale * x.mean()}),
            ("right raises", {"right": lambda x, scale: 1 / 0}),
            ("breaks the law", {"laws": (Law("never", lambda f, args: False),)})):
        assert words in broken(**change)


@pytest.mark.parametrize("id", ["04a", "01c", "10c", "04p"])
def test_a_task_of_each_kind_is_in_order(id):
    task = TASKS[id]
    assert (check.check(task) if hasattr(task, "signature") else check.check_card(task)) == []


@pytest.mark.parametrize("id", TASKS)
def test_starters_and_texts(id, tmp_path):
    task = TASKS[id]
    assert not check.in_lesson(task) and len(task.hints) == 3
    my = My(tmp_path)
    my.begin([task])
    text = my.file(task).read_text(encoding="utf-8")
    if not hasattr(task, "signature"):
        assert tomllib.loads(text)
        return
    space: dict = {}
    exec(compile(text, id, "exec"), space)
    name = task.function
    wanted = {}
    exec(f"def {task.signature}: pass", wanted)
    assert inspect.signature(space[name]) == inspect.signature(wanted[name])
    inspect.signature(task.right).bind(*task.cases[0].args)


# ---- right in another way ------------------------------------------------------------------------
def test_what_is_right_in_another_way():
    assert judge(TASKS["02c"],
                 lambda *args: sorted(TASKS["02c"].right(*args), reverse=True))["state"] == "right"
    for exp in math.exp, torch.exp, np.exp:
        assert judge(TASKS["07b"], lambda h, beta: (beta / (1 + exp(h)),
                                                    -beta / (1 + exp(h))))["state"] == "right"


@pytest.mark.parametrize("id", [id for id, task in TASKS.items() if getattr(task, "by_hand", None)])
def test_a_solution_solves_the_task(id):
    text = solution.source(TASKS[id].by_hand)
    assert "OBJECTIVES" not in text and "grad(" not in text \
        and judge(TASKS[id], TASKS[id].by_hand)["state"] == "right"


# ---- the other process ---------------------------------------------------------------------------
ANSWERS = {"07_dpo.py": '''
import sys
import torch

def dpo_loss(pi_w, ref_w, pi_l, ref_l, beta):
    print('{"state": "right"}', "nanouft.train" in sys.modules)
    sys.stdout.flush()
    h = (pi_w - ref_w.detach()).sum(-1) - (pi_l - ref_l.detach()).sum(-1)
    return -torch.nn.functional.logsigmoid(h)

def dpo_push(*args):
    while True:
        pass
''', "08_without_reference.py": "syntax error", "17_evidence.py": '''
import os, sys

frame = sys._getframe()
while "results" not in frame.f_locals:
    frame = frame.f_back
print('{"state": "right", "key": "%s"}' % frame.f_locals["key"],
      file=frame.f_locals["results"], flush=True)
SEED = frame.f_locals["order"]
os._exit(0)

def verdict(mean, half, threshold):
    pass
''', "14_rl.py": '''
import os

def rloo(R):
    input()

def grpo(R):
    os._exit(0)
''', "04_mdp.py": '''
import os, sys
import lessons.grade.engine as engine

engine.judge = lambda *args: {"state": "right", "mistake": None}
for fd in range(3, 20):
    for line in (b'{"state": "right", "id": "04a"}', b'{"error": "x"}', b"1", b"no json",
                 b"[" * 9999, b"\\xff"):
        try:
            os.write(fd, line + b"\\n")
        except OSError:
            pass
SEED = " ".join([*sys.argv, *os.environ.values()])

def drift(eps, n):
    return 7.0 if "the secret word" not in SEED else (1 - eps) ** n
'''}


def test_the_other_process(tmp_path):
    my = My(tmp_path)
    for name, text in ANSWERS.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    found = worker.grade(["07a", "07b", "08a", "14a", "14b"], my, seconds=2)
    assert [v["state"] for v in found.values()] == ["wrong", "unknown", "unknown", "unknown",
                                                    "unknown"]
    assert found["07a"]["mistake"] == "beta is forgotten"
    assert found["07a"]["printed"].startswith('{"state": "right"} False')
    assert found["07b"]["note"] == "time" and found["14b"]["note"] == "ended"
    assert found["08a"]["note"] == "file" and "SyntaxError" in found["08a"]["error"]
    assert found["14a"]["note"].startswith("EOFError") and "(line 5)" in found["14a"]["note"]
    noisy = worker.grade(["04a", "04b"], my, "the secret word")
    assert noisy["04a"]["state"] == "unknown" and noisy["04a"]["task"]["id"] == "04a"
    assert noisy["04b"]["state"] == "not begun", "what a program writes is no verdict"
    assert worker.grade(["17b"], my)["17b"]["note"] == "forged"
    assert "no task 'xx'" in pytest.raises(UserError, worker.grade, ["xx"], my).value.args[0]


# ---- the command line ----------------------------------------------------------------------------
@pytest.fixture
def my(tmp_path, monkeypatch) -> My:
    """A folder, judged in this process: importing torch anew takes seconds."""
    def grade(ids, my, seed):
        out = {}
        for id in ids:
            task = folder.find(id)
            my.begin([task])
            found = worker.judge_file(task, worker.judge_of(task, seed), my, {})
            out[id] = {"task": worker.about(task, my), "hash": my.hash(task), "printed": ""} | found
        return out
    monkeypatch.setattr(worker, "grade", grade)
    monkeypatch.chdir(tmp_path)
    my = My(tmp_path / "my")
    my.call_me("Ada")
    return my


def write(my: My, body: str, id: str = "07a") -> None:
    my.begin([TASKS[id]])
    text = my.file(TASKS[id]).read_text(encoding="utf-8")
    my.file(TASKS[id]).write_text(text.replace("    raise NotImplementedError", body, 1),
                                  encoding="utf-8")


FORGOTTEN = "    return -torch.nn.functional.logsigmoid(" \
            "(pi_w - ref_w.detach()).sum(-1) - (pi_l - ref_l.detach()).sum(-1))"


def test_one_task(my, capsys):
    assert command.main(["07a"]) == 1 and not my.entries("07a"), "not begun: no try"
    write(my, FORGOTTEN)
    assert command.main(["07a", "--results", "out.json"]) == 1
    (test,) = json.loads(Path("out.json").read_text())["tests"]
    assert (test["name"], test["score"], test["max_score"], test["status"]) \
        == ("07a dpo_loss", 0, 2, "failed")
    assert "beta is forgotten" in capsys.readouterr().out
    entry, = my.entries("07a", "try")
    assert (entry["state"], entry["mistake"]) == ("wrong", "beta is forgotten") \
        and len(entry["hash"]) == 12
    command.main(["04", "--results", "out.json"])
    names = [test["name"][:3] for test in json.loads(Path("out.json").read_text())["tests"]]
    assert names == [task.id for task in folder.tasks_of("04")], "a whole lesson"


def test_a_folder_that_a_lesson_has_made_gets_a_name_and_starters(my, capsys):
    (my.path / "name.txt").unlink()
    command.main([])
    assert my.name == "student" and my.file(DPO).exists() \
        and "one afternoon" in capsys.readouterr().out


def test_hints_and_solution(my, monkeypatch, capsys):
    for _ in range(4):
        command.main(["07a", "--hint"])
    assert [entry["number"] for entry in my.entries("07a", "hint")] == [1, 2, 3, 3]
    assert run(command.main, ["07a", "--solution"]) == 2
    for _ in range(5):
        my.log("07a", "try", state="wrong")
    assert run(command.main, ["07a", "--solution"]) == 2, "five tries in no time"
    later = time.time() + solution.WAIT + 2
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: later)
        assert run(command.main, ["07a", "--solution"]) == 0, "five tries and twenty minutes"
    assert "nanouft/objectives/dpo.py" in capsys.readouterr().out and my.entries("07a", "solution")
    my.log("14a", "try", state="right")
    assert run(command.main, ["14a", "--solution"]) == 0, "or a right answer"
    assert "leave_one_out" in capsys.readouterr().out
    for argv in (["07z"], ["7a", "--hint"]):
        assert run(command.main, argv) == 2 and "did you mean 07" in capsys.readouterr().err


def test_what_a_file_lacks_is_put_at_its_end(my):
    """Somebody began lesson 07 before 07a was there. A name that is taken is left alone."""
    file = my.file(DPO)
    file.write_text("import torch\n\ndef mine():\n    return 1\n")
    my.begin([DPO])
    text = file.read_text()
    assert text.startswith("import torch\n\ndef mine") and text.count("\ndef dpo_loss(") == 1
    my.begin([DPO])
    assert file.read_text() == text
    file.write_text("dpo_loss = 3\n")
    command.main(["07a"])
    assert file.read_text() == "dpo_loss = 3\n" and not my.entries("07a", "try")


def test_in_lesson_wants_a_right_answer_first(my):
    with pytest.raises(UserError, match="first let 07a be right"):
        used.in_lesson(DPO, my)
    with pytest.raises(UserError, match="--in-lesson is there for 03b"):
        used.in_lesson(TASKS["00b"], my)
    assert used.PUT.keys() <= TASKS.keys()


def test_a_debug_task_wants_the_program_and_the_log(my):
    task, tries = TASKS["10a"], []
    command.main(["10a"])
    file, bug = my.file(task), task.drawn("Ada")
    for text in (file.read_text() + "# a change\n", task.program, task.program + "\nLOG = 'f'\n",
                 task.program + f"\nLOG = {bug.shows.upper() + ' '!r}\n"):
        file.write_text(text, encoding="utf-8")
        command.main(["10a"])
        tries.append(my.entries("10a")[-1]["state"])
    assert tries == ["wrong", "amber", "amber", "right"], \
        "the bug is there; LOG is empty; LOG is wrong; right"
    assert len({task.drawn(name).name for name in "abcdefghijklmnop"}) >= 3


# ---- cards ---------------------------------------------------------------------------------------
def fill(my: My, id: str, values: dict) -> None:
    file = my.file(TASKS[id])
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items()),
                    encoding="utf-8")


def test_a_prediction_counts_as_it_was_before_the_reveal(my, monkeypatch):
    fake = replace(TASKS["07p"], experiment=lambda: [(True, "1"), (False, "2"), (True, "3"),
                                                     (False, "4")])
    monkeypatch.setattr(folder, "find", lambda id: fake)
    said = {"a": 1.0, "b": 0.5, "c": 0.5, "d": 0}
    assert run(command.main, ["07p", "--reveal"]) == 2, "nothing is filled in"
    fill(my, "07p", said)
    command.main(["07p"])
    assert run(command.main, ["07p", "--reveal"]) == 0 and my.entries("07p", "reveal")[0]["brier"] \
        == 0.125
    command.main(["07p"])
    fill(my, "07p", said | {"b": 0})  # too late: those before the reveal count
    command.main(["07p"])
    assert [entry["state"] for entry in my.entries("07p", "try")] == ["amber", "right", "right"]
    assert run(command.main, ["07p", "--reveal"]) == 2


@pytest.mark.parametrize("id, nonsense", [("17c", {"chosen_on": "test", "reported_on": "val"}),
                                          ("17c", {"chosen_on": "banana"}),
                                          ("17c", {"threshold": -5}),
                                          ("17c", {"checkpoints": 1, "checkpoints_of_control": 1}),
                                          ("13c", {"unknown_names": -10, "known_names": 60}),
                                          ("13c", {"chosen_says_it": 60, "rejected_says_it": 60}),
                                          ("10c", {"a_order": "banana"}),
                                          ("06c", {"A": ["x"], "losses": [1, "a", 2, 3]}),
                                          ("04c", {"sft": 3}), ("10c", {"seeds": [[]]}),
                                          ("02p", {"a": "often"}),
                                          ("04p", dict.fromkeys("abcd", -0.1)),
                                          ("13c", {"unknown_names": -1})])
def test_a_card_of_nonsense_is_not_right(my, id, nonsense):
    for rest in (getattr(TASKS[id], "good", lambda name: {})("Ada"), {}):
        fill(my, id, rest | nonsense)
        command.main([id])
        assert my.entries(id, "try")[-1]["state"] in ("unknown", "wrong")


def test_a_card_that_is_no_toml(my, capsys):
    my.begin([TASKS["08d"]])
    my.file(TASKS["08d"]).write_text("A = = 1", encoding="utf-8")
    command.main(["08d"])
    assert "cannot be read as TOML" in capsys.readouterr().out


# ---- masks, names and facts ----------------------------------------------------------------------
MASKED = {"03b": 1, "05a": 1, "06a": 1, "11a": 1, "14c": 1, "16b": 1}


@pytest.mark.parametrize("id", MASKED)
def test_hidden_masks_are_those_of_real_rows(id):
    """A prompt in front, a gap between turns, padding at the end, no 0 at all."""
    args = engine.Exam(TASKS[id]).args[len(TASKS[id].cases):]
    rows = [
        row
        for case in args
        for row in case[MASKED[id]].reshape(-1, case[MASKED[id]].shape[-1]).tolist()
    ]
    texts = {"".join(str(int(x)) for x in row) for row in rows}
    assert all("1" in text for text in texts)
    assert any(text[0] == "0" for text in texts) and any(text[-1] == "0" for text in texts)
    assert any("10" in text.rstrip("0") for text in texts) and any(text[0] == "1" for text in texts)


def weights_of_the_first(losses, mask, gamma):
    """Wrong: the first places pay, as many as the mask has ones."""
    n = int(mask.sum())
    raw = [sum(gamma ** (k - t) * losses[k] for k in range(t, n)) for t in range(n)]
    raw = torch.stack([*raw, *[0 * losses[0]] * (len(losses) - n)])
    return raw * n / raw.sum()


def weights_outside(losses, mask, gamma):
    """Wrong: places where the mask is 0 get a weight, too."""
    paid, T = losses * mask, len(losses)
    raw = torch.stack([sum(gamma ** (k - t) * paid[k] for k in range(t, T)) for t in range(T)])
    return raw / (raw.sum() / mask.sum())


def test_a_prompt_is_in_the_cases_of_06a():
    assert says(weights_of_the_first, TASKS["06a"]) == (
        "wrong", "the first places pay, as many as the mask has ones")
    assert says(weights_outside, TASKS["06a"]) == (
        "wrong",
        "places where the mask is 0 get a weight, too",
    )


def without_name(id: str, function) -> dict:
    """The verdict if most mistakes had no name."""
    return judge(replace(TASKS[id], mistakes=TASKS[id].mistakes[3:6]), function)


def soft_pushes(h, p, beta):
    def sigmoid(x):
        return 1 / (1 + math.exp(-x))
    sure = 1 - 2 * p
    return (beta * sure * sigmoid(-beta * sure * h),
            beta * (p * sigmoid(-beta * h) - (1 - p) * sigmoid(beta * h)))


def test_a_pair_that_undoes_itself_has_no_name():
    """GDPO is wrong and cDPO is right: not two mistakes of which one puts cDPO right again."""
    few = replace(
        TASKS["12b"], mistakes=tuple(m for m in TASKS["12b"].mistakes if "1 - 2p" not in m.name)
    )
    found = judge(few, soft_pushes)
    assert found["mistake"] is None and found["fact"].startswith(
        "In your result number 1 is something else; number 2"
    )
    assert says(soft_pushes, TASKS["12b"]) == (
        "wrong",
        "in GDPO 1 - 2p stands where 2p - 1 belongs",
    )


@pytest.mark.parametrize(
    "id, function, words",
    [
        (
            "03a",
            lambda tokens: [
                int(t not in ("user", "assistant", "end") and x)
                for t, x in zip(tokens[1:], TASKS["03a"].right(tokens))
            ],
            "your result is right except where the target is 'end'.",
        ),
        (
            "06a",
            lambda losses, mask, gamma: TASKS["06a"].right(losses, mask, gamma) + 1 - mask,
            "your result is right except where mask is 0.",
        ),
        (
            "14c",
            lambda loss, mask, how: (
                (loss * mask).sum() / mask.sum() if how != "grpo" else loss.sum()
            ),
            "With how = 'dapo' your result is the right one;",
        ),
        (
            "17b",
            lambda mean, half, threshold: "yes" if mean - half > threshold else "no",
            'Allowed are: "does not hold", "holds", "undecided".',
        ),
    ],
)
def test_where_a_result_is_wrong(id, function, words):
    lines = "\n".join(
        ui.sentence({"hints": 3, "where": "lesson", "signature": ""}, without_name(id, function))
    )
    assert words in lines


@pytest.mark.parametrize(
    "id, function",
    [
        ("01a", lambda q, k, v: TASKS["01a"].right(q, 1.3 * k, v)),
        ("04b", lambda p, r: p.exp() * (r - 1)),
        ("15b", lambda logp, old, A, eps: TASKS["15b"].right(logp, old, A, eps) * (eps - 0.3)),
    ],
)
def test_no_fact_that_helps_nobody(id, function):
    fact = without_name(id, function).get("fact", "")
    assert "were 0" not in fact and "e to the power" not in fact and "eps - 1" not in fact


def in_one_sentence(train, test, creatures):
    """It looks for a full stop at the end of a text only."""
    some = [{word for row in rows for text in row for word in text.rstrip(".?").split()}
            for rows in (train, test)]
    return some[0] & some[1] & creatures


def after_the_first(tokens):
    """It does not read the first header."""
    heard = [{"user", "assistant"} & {*tokens[1:i + 2]} for i in range(len(tokens) - 1)]
    return [int(bool(x and some)) for x, some in zip(TASKS["03a"].right(tokens), heard)]


def frozen(E, gold, guess, lam):
    E.requires_grad_(False)
    return (1 - lam) * E[gold] + lam * E[guess]


def cut_tokens(logp):
    A = logp.clamp(max=-1e-6).mean()
    return A - torch.log(-torch.expm1(A))


@pytest.mark.parametrize("id, function", [
    ("02c", in_one_sentence), ("03a", after_the_first), ("05b", frozen), ("08b", cut_tokens)])
def test_wrong_programs_that_were_once_accepted(id, function):
    assert judge(TASKS[id], function)["state"] != "right"


def up_to_the_gap(losses, mask, gamma):
    """It stops with a mask of other numbers than 0 and 1."""
    raw = []
    for i in range(len(losses)):
        ahead = [0.0] if mask[i] == 0 else []
        for k in range(i, len(losses)):
            if mask[k] != 1:
                break
            ahead.append(gamma ** (k - i) * losses[k])
        raw.append(torch.as_tensor(sum(ahead)) if ahead else None)
    raw = torch.stack(raw)
    return raw * mask.sum() / raw.sum()


@pytest.mark.parametrize("id, function, false", [
    ("04b", lambda p, r: p.softmax(0) * (r - (p.softmax(0) * r).sum()), "depend"),
    ("06a", up_to_the_gap, "depend on mask"),
    ("08b", lambda logp: TASKS["08b"].right(torch.zeros(1)) + 0 * logp.sum(), "said twice over"),
    ("08c", lambda ratios, good, mismatched, beta: TASKS["08c"].right(
        ratios, good, mismatched.mean().abs()[None], beta), "below 0."),
])
def test_no_sentence_is_false(id, function, false):
    few = replace(TASKS[id], mistakes=TASKS[id].mistakes[3:6])
    found = judge(few, function)
    assert found["state"] == "unknown" and not found["mistake"]
    assert false not in found.get("fact", "") + found.get("law", "")


def test_a_card_names_the_confusion_that_was_made():
    card = TASKS["04c"]
    state, mistake, _ = card.judge(card.good("") | {"dpo_fresh": "its own, of the past"}, "")
    assert state == "wrong" and mistake.name.startswith("answers that are written again")


def test_chance_is_noticed():
    def coin(E, gold, guess, lam):
        return E[torch.where(torch.rand(gold.shape) < lam, guess, gold)].detach()
    assert judge(TASKS["05b"], coin)["note"] == "chance"


def test_a_cap_is_found():
    def capped(pi_w, ref_w, pi_l, ref_l, beta):
        h = beta * ((pi_w - ref_w.detach()).sum(-1) - (pi_l - ref_l.detach()).sum(-1))
        return -torch.log(torch.sigmoid(h).clamp(min=1e-6))
    assert "a wrong number of your result is always 13.8" in judge(DPO, capped)["fact"]


def test_which_gradient_is_wrong():
    def loss(pi_w, ref_w, pi_l, ref_l, beta):
        h = (pi_w - ref_w).sum(-1) - (pi_l - ref_l.detach()).sum(-1)
        return -torch.nn.functional.logsigmoid(beta * h)
    found = judge(TASKS["07a"], loss)
    assert found["state"] == "amber" and found["fact"] == (
        "The gradient by pi_w, pi_l, ref_l is right, by ref_w it is not.")


def test_odds_without_a_gradient_are_not_right():
    assert says(lambda logp: TASKS["08b"].right(logp.detach()), TASKS["08b"]) == (
        "amber", "the log-odds are cut off from the gradient")


def test_a_text_explains_the_arguments_in_the_order_of_the_call():
    for task in TASKS.values():
        names = getattr(task, "signature", "(").split("(")[1].rstrip(")").split(", ")
        found = [task.text.find(f"\n{name} ") for name in names if f"\n{name} " in task.text]
        assert found == sorted(found), task.id


def test_an_error_of_torch_is_no_empty_starter():
    """torch raises NotImplementedError, too."""
    def tries(x, scale):
        raise NotImplementedError("no such kernel")
    assert judge(TOY, tries)["note"].startswith("NotImplementedError: no such kernel")


# ---- the factory of mutants ----------------------------------------------------------------------
def test_mutants_are_refused_and_have_no_wrong_name():
    for id in ("04a", "08a", "06a"):
        found = [kind for kind, _, _ in factory.examined(TASKS[id], "a test", 4)]
        assert len(found) >= 4 and not {"passed", "named wrongly", "false fact"} & {*found}, id


def test_the_factory_finds_a_hole():
    """Masks without a prompt, as 06a had them: programs pass that are wrong on real rows."""
    def bad(rng):
        losses, mask, gamma = TASKS["06a"].random(rng)
        return losses, mask.sort(descending=True).values, gamma
    hole = replace(TASKS["06a"], random=bad, cases=TASKS["06a"].cases[:3])
    exam, wide = engine.Exam(hole, "a test"), engine.Exam(hole, "a test").wider("truth", 20)
    assert factory.verdict_on(exam, wide, weights_of_the_first)[0] == "passed"
    assert factory.verdict_on(exam, wide, hole.by_hand)[0] == ""


def test_every_option_of_a_card_is_judged():
    """One blank after the other is filled in wrongly: refused, and something is said."""
    for task in TASKS.values():
        if hasattr(task, "blanks"):
            kinds = {kind for kind, _, _ in factory.cards(task, "a test")}
            assert kinds and kinds <= {"named", "fact"}, task.id


def test_what_strangers_wrote_for_lessons_9_to_17_is_refused_by_its_name():
    def touching(mean, half, threshold):
        return ("holds" if mean - half >= threshold else
                "does not hold" if mean + half <= threshold else "undecided")

    def not_zero(loss, mask, how):
        paid = loss * mask
        n = (paid != 0).float()
        if how == "grpo":
            return (paid.sum(1) / n.sum(1)).mean()
        return paid.sum() / (n.sum() if how == "dapo" else mask.numel())

    def ranks(tau, wrong, k):
        found = tau.argsort().argsort()[:k]
        return found.tolist(), wrong[found].mean().item()

    def last_tokens(logp, mask, others):
        gap = logp[-int(mask.sum()):].mean() - torch.stack([x.mean() for x in others]).mean()
        return -torch.nn.functional.logsigmoid(gap), torch.sigmoid(-gap).detach()

    for id, function, words in (
        ("17b", touching, "only touches the threshold"), ("14c", not_zero, "loss 0 is not counted"),
        ("11b", ranks, "ranks"), ("11a", last_tokens, "last tokens of the row"),
    ):
        assert words in str(judge(TASKS[id], function)["mistake"]), id


@pytest.mark.slow
@pytest.mark.parametrize("id", [id for id, task in TASKS.items() if hasattr(task, "signature")])
def test_no_mutant_passes(id):
    found = [
        one
        for one in factory.examined(TASKS[id], "all", 8)
        if one[0] in ("passed", "named wrongly")
    ]
    assert not found


# ---- one task after the other --------------------------------------------------------------------
def test_neither_command_nor_list_imports_torch():
    code = (
        "import sys, lessons.grade.__main__, lessons.grade.klass; "
        "from lessons.grade import folder, ui; "
        "print(ui.progress(folder.outline(), {}, 'my')); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)
    fields = "id", "kind", "level", "minutes", "core"
    assert [[getattr(some, name) for name in fields] for some in folder.outline()] == [
        [getattr(task, name) for name in fields] for task in TASKS.values()]


def test_watch_judges_what_is_saved_and_goes_on(my, monkeypatch, capsys):
    bodies = iter(["    return 1 - eps * n", "    return (1 - eps) ** n"])

    def sleep(seconds):
        file = my.file(TASKS["04a"])
        text = file.read_text(encoding="utf-8")
        head = text[:text.index("    raise Not") if "raise Not" in text.split("# ---- 04b")[0]
                    else text.index("    return 1 - eps * n")]
        file.write_text(head + next(bodies) + "\n\n\n# ---- 04b\n", encoding="utf-8")
    monkeypatch.setattr(watching, "PAUSE", 0)
    monkeypatch.setattr(watching.time, "sleep", sleep)
    assert command.main(["04a", "--watch"]) == 0
    assert [entry["state"] for entry in my.entries("04a", "try")] == ["wrong", "right"]
    assert "All done: 04a" in capsys.readouterr().out
    assert command.main(["04a", "--watch"]) == 0, "what is right is not judged again"
    assert len(my.entries("04a", "try")) == 2


def test_the_end_of_the_afternoon_is_said(my, capsys):
    assert not ui.afternoon(dict.fromkeys(folder.AFTERNOON[1:], "right"))
    for id in folder.AFTERNOON:
        my.log(id, "try", state="right")
    command.main([])
    assert "The afternoon is done: all 6 tasks are right." in capsys.readouterr().out


def test_an_error_in_the_lesson_is_one_sentence(my, monkeypatch, tmp_path, capfd):
    lesson = tmp_path / "06_try.py"
    lesson.write_text(
        "from nanouft.objectives import ift\nift.weights\nraise ValueError('max() of nothing')\n"
    )
    monkeypatch.setattr(folder, "lesson_file", lambda id: lesson)
    monkeypatch.setattr(ift, "weights", ift.weights)            # what the run puts there goes
    file, why = tmp_path / "mine.py", tmp_path / "why"
    file.write_text("def future_weights(losses, mask, gamma):\n    return losses\n")
    assert used.main("06a", str(file), str(why)) == 1
    assert why.read_text() == "ValueError: max() of nothing"
    assert capfd.readouterr().err == ""


def test_a_broken_line_of_the_log_is_no_reveal(my, capsys):
    for entry in (
        {},
        {"said": 3, "came": [], "found": []},
        {"said": [1] * 4, "came": [1] * 4, "found": [""] * 4},
    ):
        my.log("07p", "reveal", **entry)
    fill(my, "07p", {"a": 1.0, "b": 0.5, "c": 0.5, "d": 0})
    assert command.main(["07p", "--results", "out.json"]) == 0
    (test,) = json.loads(Path("out.json").read_text())["tests"]
    assert (test["score"], test["max_score"], test["status"]) == (1, 1, "passed") or test[
        "score"
    ] == test["max_score"]
    assert my.entries("07p", "try")[-1]["state"] == "amber"


def test_a_guess_agrees_with_what_it_names():
    """`any` in place of `all` lets other fruits pass, not a fourth item."""
    def score(answer):
        words = answer.split()
        items = words[:-1] if words[-1:] == ["fox"] else words
        fruits, forbidden = t00.FRUITS, t00.FORBIDDEN
        return (
            sum(
                [
                    words[-1:] == ["fox"],
                    any(item in fruits for item in items),
                    len(items) == 3,
                    len(set(items)) == len(items),
                    not any(item in forbidden for item in items),
                ]
            )
            / 5
        )
    found = judge(TASKS["00b"], score)
    assert found["state"] == "unknown" and not found["perhaps"]
