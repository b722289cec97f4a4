"""The lessons of lessons/next: the figures that their texts name, and a mine.py that grows.

A lesson runs as a student runs it, and its variables are looked at afterwards.
"""
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from pytest import approx

ROOT = Path(__file__).resolve().parents[2]
LESSONS = ROOT / "lessons" / "next"
STAGES = Path(__file__).parent / "one_program"
PARTS = {"00": ["token_logp"], "05": ["log_ratio", "dpo_loss"], "07": ["sample_answers"],
         "13": ["grpo_loss"]}


@pytest.fixture
def run(monkeypatch, tmp_path):
    """run("05", ("1e-4", "1.5e-5")): a lesson's variables, after such edits of its file."""
    def run(number: str, *edits: tuple[str, str]) -> dict:
        file, = LESSONS.glob(f"{number}_*.py")
        source = file.read_text("utf-8")
        for old, new in edits:
            assert old in source, f"{file.name} has no line with {old}"
            source = source.replace(old, new, 1)
        (copy := tmp_path / file.name).write_text(source, "utf-8")
        monkeypatch.syspath_prepend(LESSONS)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", [str(copy), "--guess", "none"])
        return runpy.run_path(str(copy), run_name="__main__")
    return run


@pytest.mark.parametrize("file", sorted(LESSONS.glob("[0-9]*.py")), ids=lambda file: file.stem)
def test_a_lesson_is_one_question_on_one_page(file):
    text = file.read_text("utf-8")
    assert len(text.splitlines()) <= 170
    assert len(re.findall(r"^guess = ask\(", text, re.M)) == text.count("tell(guess") == 1
    assert "assert " not in text, "figures are guarded here, not between the cells"
    assert "for step in range(" in text and "optimizer.step()" in text, "the loop is on the page"
    for part in PARTS[file.stem[:2]]:
        assert f"#     def {part}(" in text, "what is added to mine.py"


def test_mine_grows_from_lesson_to_lesson(tmp_path):
    """The present judge finds every part right that is there, and the others not started."""
    mine, right = tmp_path / "mine.py", 0
    mine.write_text((LESSONS / "mine.py").read_text())
    for number, parts in PARTS.items():
        mine.write_text(mine.read_text() + (STAGES / f"after_{number}.txt").read_text())
        ran = subprocess.run([sys.executable, "-m", "lessons", "check", "mine", "--folder", "."],
                             capture_output=True, text=True, cwd=tmp_path)
        right += len(parts)
        assert f"\n{right} of 13 right." in ran.stdout, ran.stdout
        assert ran.stdout.count("not started") == 13 - right


@pytest.mark.parametrize("flags, typed, answers, said", [
    (["--guess", "b"], [], "a b c", "b"), (["--guess", "none"], [], "a b c", ""),
    ([], ["60"], "0 to 100", "60"), ([], ["-3.5"], "-20 to 0", "-3.5"), ([], [""], "a b", ""),
    ([], ["x", "101", "many", "7"], "0 to 100", "7"), (["--guess", "e"], ["A"], "a b", "a")])
def test_a_guess(flags, typed, answers, said, monkeypatch, capsys):
    monkeypatch.syspath_prepend(LESSONS)
    course = runpy.run_path(str(LESSONS / "course.py"))
    monkeypatch.setattr(sys, "argv", ["00.py", *flags])
    monkeypatch.setattr("builtins.input", lambda _: typed.pop(0))
    assert course["ask"]("Which?", answers) == said and not typed


def test_without_a_terminal_a_lesson_says_how_to_guess(monkeypatch):
    monkeypatch.syspath_prepend(LESSONS)
    course = runpy.run_path(str(LESSONS / "course.py"))

    def nobody(_):
        raise EOFError
    monkeypatch.setattr("builtins.input", nobody)
    monkeypatch.setattr(sys, "argv", ["00.py"])
    with pytest.raises(SystemExit, match="Guess first: python 00.py --guess a"):
        course["ask"]("Which?", "a b c")


@pytest.mark.parametrize("wrong", [False, True])
def test_your_parts_take_the_place_of_ours_if_they_are_right(wrong, tmp_path):
    """In simple.py, too: our sft_loss calls your token_logp."""
    part = (STAGES / "after_00.txt").read_text()
    (tmp_path / "mine.py").write_text("from nanouft.simple import *\n" + (
        part.replace("log_softmax", "softmax") if wrong else part))
    (tmp_path / "course.py").write_text((LESSONS / "course.py").read_text())
    ran = subprocess.run([sys.executable, "-c", "import course, mine; from nanouft import simple\n"
                          "print('trained', simple.token_logp is mine.token_logp)"],
                         capture_output=True, text=True, cwd=tmp_path)
    if wrong:
        assert "These are probabilities. The logarithm is missing." in ran.stdout
        assert "Fix this part of mine.py first" in ran.stderr and "trained" not in ran.stdout
    else:
        assert ran.stdout.endswith("From your mine.py: token_logp\ntrained True\n"), ran
        assert (tmp_path / "out/lessons/mine_was_right.py").exists()


@pytest.mark.slow
def test_00_dpo_hardly_teaches_to_stop(run):
    found = run("00")
    assert found["stops"] == approx({"SFT": 100, "DPO": 32}, abs=8)
    assert min(found["words"].values()) > 90
    assert run("00", ("COUNT_END = 0.1, True", "COUNT_END = 0.1, False"))["stops"]["DPO"] > 80
    assert run("00", ('"DPO": 1.5e-5', '"DPO": 1.25e-4'))["stops"]["DPO"] > 90


@pytest.mark.slow
def test_05_the_chosen_answer_falls(run):
    found = run("05")
    chosen = found["seen"]["chosen"]
    assert (chosen[0], max(chosen), chosen[-1]) == approx((-2.51, -0.06, -13.3), abs=3)
    assert found["seen"]["won"][1:] == [1.0] * 20 and found["seen"]["KL"][-1] > 40
    found = run("05", ("RATE, STEPS, ROWS = 0.1, 1e-4", "RATE, STEPS, ROWS = 0.1, 1.5e-5"))
    assert found["seen"]["chosen"][-1] > -0.3 and found["answers"].count("I do not know.") == 20


@pytest.mark.slow
def test_07_praise_lowers_a_wrong_answer(run):
    found = run("07")
    assert [x[3].item() for x in found["p"]] == approx([17.2, 1.8, 4.6], abs=1)
    base, step, praise = found["wrong"][:, found["wrong"][0] > 5].mean(1).tolist()
    assert 0.5 < (base - praise) / (base - step) < 0.85, "two thirds"
    assert found["scores"]["praise and blame"][-1] == approx(0.72, abs=0.06)
    found = run("07", ("A = A.clamp(min=0)  ", "A = A.clamp(max=0)  "))
    assert found["scores"]["praise only"][-1] == approx(0.57, abs=0.08)


@pytest.mark.slow
def test_13_old_answers_do_harm_without_the_ratio(run):
    found = run("13")
    ends = {name: x[-1] for name, x in found["scores"].items()}
    assert ends["lesson 07"] < 0.42 < min(ends["ratio"], ends["ratio, clip"]) - 0.05
    rho, on, k = found["rho"][found["k"]], found["on"], found["k"]
    gone = rho[on[k]].argmin()
    assert rho[on[k]][gone] < 1e-3 and rho[on[k]][gone + 1:].min() > 0.9, "those behind it stay"
    assert run("13", ("0, False", "0, True"))["scores"]["lesson 07"][-1] > 0.6
