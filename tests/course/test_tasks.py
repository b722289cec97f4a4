"""Each task: its stub is not started, the right program passes, each common mistake is refused and
named; right programs in another style pass; wrong ones without a sentence are refused."""
import os
from dataclasses import replace
from functools import cache
from inspect import getsource
from itertools import takewhile
from pathlib import Path

import pytest
import torch
from programs.examples import EXAMPLES
from programs.of_papers import OTHERS
from programs.of_parts import HEAD as PARTS_HEAD
from programs.of_parts import OTHERWISE, WRITTEN
from programs.right import HEAD as RIGHT_HEAD
from programs.right import RIGHT
from programs.wrong import HEAD, WRONG

from lessons.tasks import check, parts
from lessons.tasks.call import as_tensor, attempt, attempts, shown
from lessons.tasks.task import (
    NOT_STARTED,
    STUBS,
    Judge,
    Verdict,
    chosen,
    program_of,
    source_with,
    tasks,
)
from nanouft import simple, world
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import load

KNOWN = tasks()
EXERCISES = [name for name in KNOWN if name[0].isdigit()]
PAPERS = [name for name, task in KNOWN.items() if not task.name]
SLOW = {*PAPERS, "train", "chord_loss", "ift: run", "reward: reward"}


def marked(names) -> list:
    return [pytest.param(x, marks=pytest.mark.slow if x in SLOW else ()) for x in names]


@cache
def judge_of(name: str) -> Judge:
    return Judge(KNOWN[name], 5)


def judged(name: str, program) -> Verdict:
    judge = judge_of(name)
    return judge.verdict([*attempts(judge.task.look, program, judge.cases, "", 200)])


def of_text(name: str, text: str, folder: Path) -> Verdict:
    file = folder / KNOWN[name].file
    file.write_text(text)
    return check.judge_file(name, file, "5")[1]


@pytest.fixture
def a_small_base(monkeypatch, request):
    """A model that is computed fast, and sure enough of its tokens that each of them counts. No
    answer of it is right or ends, so another score and other lengths stand in."""
    def ended(*asked):
        return [replace(x, ids=x.ids[:3 + sum(x.ids) % 9]) for x in answers_of(*asked)]
    model, answers_of = parts.small(2).float(), simple.answers_of
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(4)
    caches = parts.noisy_model, judge_of
    monkeypatch.setattr(parts, "base", lambda: model)
    monkeypatch.setattr(simple, "answers_of", ended)
    monkeypatch.setattr(simple, "ROWS", 2)                      # short steps of `train`
    if "grpo_loss" in request.node.name:
        monkeypatch.setattr(world, "score", lambda question, answer: len({*answer}) / 99)
    for some in caches:
        some.cache_clear()
    yield
    for some in caches:
        some.cache_clear()


@pytest.mark.parametrize("name", marked(KNOWN))
def test_the_right_program_passes_and_each_mistake_is_refused_and_named(name, request):
    if name in parts.PARTS and name != "chord_loss":
        request.getfixturevalue("a_small_base")
    task, judge = KNOWN[name], judge_of(name)
    assert judged(name, task.right).told == ""
    programs = dict(takewhile(lambda some: len(some[0]) == 1, judge.programs()))
    assert [*programs] == [(x,) for x in task.mistakes], "each is one part of the right program"
    for (mistake,), program in programs.items():
        seen = [judge.ours(program, k) for k in range(len(judge.cases))] \
            if task.properties is None else [*attempts(task.look, program, judge.cases, "", 200)]
        assert judge.verdict(seen).told.endswith("\n    " + mistake[2])


@pytest.mark.parametrize("name", [pytest.param(x, marks=pytest.mark.slow if x in {
    *SLOW, *parts.PARTS} else ()) for x in KNOWN])
def test_no_mistake_is_called_right_by_any_of_twelve_draws(name, request):
    """One draw tells little: iw-SFT without its cap was called right by one in twenty."""
    if name in parts.PARTS and name != "chord_loss":
        request.getfixturevalue("a_small_base")
    task = KNOWN[name]
    judges = [Judge(task, seed) for seed in range(12)]
    for mistake in task.mistakes:
        program = program_of(task, source_with(task, (mistake,)))
        for judge in judges:
            calls = (judge.compared(attempt(task.look, program, case), k)
                     for k, case in enumerate(judge.cases))
            assert any(call.words or judge.difference(call, judge.ours(task.right, k))
                       for k, call in enumerate(calls)), mistake


@pytest.mark.slow
@pytest.mark.parametrize("name", [x for x in KNOWN if x not in {*SLOW, *parts.PARTS}])
def test_no_draw_gives_a_mistake_the_name_of_another(name):
    """Cases in which two of them give the same must not be all cases."""
    task = KNOWN[name]
    for judge in (Judge(task, seed) for seed in range(12)):
        for mistake in task.mistakes:
            program = program_of(task, source_with(task, (mistake,)))
            seen = [*attempts(task.look, program, judge.cases, "", 200)]
            assert judge.verdict(seen).told.endswith("\n    " + mistake[2])


@pytest.mark.parametrize("name", [*EXERCISES, *parts.PARTS])
def test_a_stub_is_not_started(name):
    assert check.judge_file(name, STUBS / KNOWN[name].file, "1")[1].told == NOT_STARTED


@pytest.mark.parametrize("name, sentence, args, wanted", EXAMPLES)
def test_the_example_of_a_stub_is_right(name, sentence, args, wanted):
    task = KNOWN[name]
    stub = getattr(load(STUBS / task.file), task.name)
    assert sentence in " ".join(stub.__doc__.split())
    torch.testing.assert_close(as_tensor(task.right(*args)).double(), as_tensor(wanted).double(),
                               atol=1e-4, rtol=1e-4)
    assert shown(args) in map(shown, task.always), "it is tried"


# ---- programs of somebody else -------------------------------------------------------------------
@pytest.mark.parametrize("name, program", RIGHT)
def test_a_right_program_in_another_style_is_right(name, program, tmp_path):
    assert of_text(name, RIGHT_HEAD + program, tmp_path).told == ""


@pytest.mark.parametrize("name", marked(OTHERS))
def test_a_right_class_in_another_style_is_right(name, tmp_path):
    assert of_text(name, OTHERS[name], tmp_path).told == ""


@pytest.mark.slow
@pytest.mark.parametrize("name", parts.PARTS)
def test_every_part_may_be_written_otherwise(name, tmp_path):
    """Loops, numpy, einsum, ragged rows, an optimizer by hand."""
    assert of_text(name, OTHERWISE, tmp_path).told == ""


@pytest.mark.parametrize("name, words", WRITTEN)
def test_a_mistake_in_a_students_own_style_has_its_one_sentence(name, words, tmp_path,
                                                                a_small_base):
    told = of_text(name, PARTS_HEAD + WRITTEN[name, words], tmp_path).told
    assert words in told.splitlines()[-1] and "And: " not in told, told


def test_a_loss_without_a_gradient_and_one_into_the_reference_are_told(tmp_path, a_small_base):
    numbers = "def sft_loss(*args):\n    return OURS['sft_loss'](*args).item()\n"
    ratio = getsource(simple.log_ratio).replace(".detach()", "")
    for name, text, words in (("sft_loss", f"from lessons.tasks.parts import OURS\n{numbers}",
                               "no gradient reaches the model"),
                              ("log_ratio", PARTS_HEAD + ratio, "reaches the reference as well")):
        assert words in of_text(name, text, tmp_path).told


@pytest.mark.parametrize("method", ["ift", "dpo"])
def test_a_run_calls_none_of_our_parts_where_all_are_a_students(method, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(OTHERWISE)
    monkeypatch.setattr(simple, "ROWS", 2)
    monkeypatch.setitem(simple.METHODS, method, (*simple.METHODS[method][:3], 2))
    mine = load(tmp_path / "mine.py")
    monkeypatch.setattr(parts, "OURS", dict.fromkeys(parts.PARTS))
    try:
        parts.run(method, {name: getattr(mine, name) for name in parts.PARTS})
    finally:
        monkeypatch.undo()
        parts.put({})


def test_wrong_programs_are_refused_and_most_are_named(tmp_path, capsys):
    """By no wrong name."""
    found = {1: [], 2: []}                                      # by the number of mistakes
    for name, words, program in WRONG:
        said = of_text(name, HEAD + program, tmp_path)
        assert said.state == "wrong", f"not refused: {program}"
        told = [sentence for *_, sentence in KNOWN[name].mistakes if sentence in said.told]
        for sentence in told:
            assert any(word in sentence for word in words), f"another mistake: {sentence}"
        found[len(words)].append(bool(told) and all(any(word in x for x in told) for word in words))
    for count, each in found.items():
        with capsys.disabled():
            print(f"\nwrong programs with {count} mistake{'s' * (count > 1)}: {sum(each)} of "
                  f"{len(each)} named, all refused", end="")
        assert sum(each) > len(each) / 2


@pytest.mark.parametrize("source, words", [
    ("def response_mask(:", "ex02.py cannot be read. SyntaxError"),
    ("x = 1", "ex02.py has no function response_mask"),
    ("def response_mask(*x):\n    return 'yes'", "gives 'yes'"),
    ("def response_mask(*x):\n    return 1 / 0", "ZeroDivisionError: division by zero\n    line 2"),
    ("def response_mask(*x):\n    x[0][0] = 0\n    return x[0]", "changes its arguments"),
    ("def response_mask(*x):\n    raise KeyboardInterrupt", "KeyboardInterrupt: \n    line 2"),
    ("def response_mask(*x):\n    exit()", "it ends Python with exit() or sys.exit()"),
    ("def response_mask(*x):\n    return [1.0] * 9", ", of the shape ("),
    ("def response_mask():\n    return []", "takes 0 positional arguments but 1 was given")])
def test_other_mistakes_get_a_line(source, words, tmp_path):
    assert words in of_text("02a", source, tmp_path).told


def test_a_word_means_a_task_a_file_or_a_lesson():
    for name, task in KNOWN.items():
        file = [x for x in KNOWN if KNOWN[x].file == task.file]
        assert chosen([task.file[:-3]]) == file
        assert chosen([name]) == (file if name == task.file[:-3] else [name])
    assert chosen(["6"]) == chosen(["06"]) == [x for x in KNOWN if x[:2] == "06"]


@pytest.mark.parametrize("stub", [*STUBS.glob("*.py")], ids=lambda x: x.name)
def test_whatever_is_written_below_a_docstring_the_empty_file_comes_back(stub, tmp_path):
    file, text = tmp_path / stub.name, stub.read_text(encoding="utf-8")
    old, words = tmp_path / f"{stub.name}.old", [stub.stem, "--stub", "--folder", str(tmp_path)]
    body = "if (:\n  return 1\nbroken\n\ndef helper(x):\n    return x"
    written = text.replace("raise NotImplementedError", body)
    file.write_text(written, encoding="utf-8")
    for _ in range(2):                                          # the second changes nothing
        assert command(check.main, words) == 0
        assert file.read_text(encoding="utf-8") == text
        assert old.read_text(encoding="utf-8") == written
    for again in (written, body):                               # another .old; no docstring
        file.write_text(again, encoding="utf-8")
        assert command(check.main, words) == 2
        assert file.read_text(encoding="utf-8") == again
        old.unlink(missing_ok=True)


@pytest.mark.parametrize("own", [True, False])
def test_somebody_elses_files_run_in_another_process(own, tmp_path, capsys, monkeypatch):
    """With what they import; own ones are those of the folder in which one is."""
    (tmp_path / "neighbour_of_ex02.py").write_text("import math\n" + KNOWN["02a"].source)
    (tmp_path / "ex02.py").write_text("import os\nfrom neighbour_of_ex02 import response_mask\n"
                                      "def sft_loss(*x):\n    raise ValueError(os.getpid())\n")
    if own:
        monkeypatch.chdir(tmp_path)
    assert command(check.main, ["2a", "2b", "3", "--folder", str(tmp_path)]) == 1
    told = capsys.readouterr().out
    for words in ("02a                       right\n", "There is no file", "1 of 3 right."):
        assert words in told
    assert (f"ValueError: {os.getpid()}\n" in told) == own
    assert "\n    line 4: raise ValueError(os.getpid())" in told
    if not own:
        assert command(check.main, ["2a", "--folder", str(tmp_path), "--run", "sft"]) == 2
        assert "your own process" in capsys.readouterr().err


def test_a_task_that_there_is_not(capsys):
    assert command(check.main, ["99"]) == 2
    assert "there is no task 99" in capsys.readouterr().err
