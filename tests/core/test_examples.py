"""The examples run as their docstrings say."""
import json
from pathlib import Path

import pytest
from running import call, example, lines, one_error

from nanouft.data.rows import contents
from nanouft.files.read import read as read_rows
from nanouft.rewards.scorer import score_answers, scorer


def read(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def made(here, capsys):
    rows = [{"q": f"Question {i}?", "poor": "no", "fair": f"maybe {i}", "good": f"yes {i}"}
            for i in range(100)]
    rows += [{"q": "Same?", "poor": "a", "fair": "a", "good": "a"},
             {"q": "Twice?", "poor": "a", "fair": "b", "good": "a"},
             {"q": "Empty?", "poor": "", "fair": None, "good": "c"}]
    file = lines(here / "g.jsonl", rows)
    assert call(example("graded_answers").main, file, "--prompt", "q", "--answers", "poor", "fair",
                "good", "--out", here / "graded") == 0
    return {f.stem: read(f) for f in (here / "graded").iterdir()}, capsys.readouterr().out


def test_grades_become_scores_labels_and_pairs(made):
    files, said = made
    assert {s["score"] for s in files["scores"]} == {0.0, 0.5, 1.0}
    good = {(s["prompt"], s["response"]) for s in files["scores"] if s["score"] > 0.5}
    assert {(s["prompt"], s["response"]) for s in files["labels"] if s["label"]} == good
    assert {(d["prompt"], d["response"]) for d in files["demos"]} == good
    assert {(p["prompt"], p["chosen"]) for p in files["pairs"]} == good
    assert all(p["chosen"] != p["rejected"] for p in files["pairs"]) \
        and len(files["mixed"]) == len(files["pairs"])
    assert 0.2 < sum(m["response"] == "no" for m in files["mixed"]) / len(files["mixed"]) < 0.5
    assert "2 of 103 rows left out" in said and "python -m nanouft.train" in said
    runs = [line.split("--out ")[1].split()[0] for line in said.splitlines()
            if "nanouft.train" in line]
    assert runs == [f"out/graded-{name}" for name in ("una", "kto", "uft", "sft", "poft")], \
        "no older run is taken"
    assert "--aligned out/graded-sft" in said and "evaluate --init out/graded-una " in said


def test_a_field_that_no_row_has_is_a_slip(here, capsys):
    file = lines(here / "g.jsonl", [{"prompt": f"Q {i}?", "poor": "no", "good": "yes"}
                                    for i in range(20)])
    for fields, words in ((["poor", "good", "gud"], ["gud", "good?"]),
                          (["poor", "good", "good"], ["twice"])):
        one_error(call(example("graded_answers").main, file, "--answers", *fields),
                  capsys.readouterr().err, *words)


def test_equal_answers_share_the_higher_grade(made):
    files, _ = made
    twice = [(s["response"], s["score"]) for s in files["scores"] + files["test"] if s["prompt"]
             == "Twice?"]
    assert sorted(twice) == [("a", 1.0), ("b", 0.5)]


def test_test_prompts_are_in_no_other_file(made):
    files, _ = made
    kept = {s["prompt"] for s in files["test"]}
    assert 3 <= len(kept) <= 20
    assert not kept & {row["prompt"] for name, rows in files.items() if name != "test"
                       for row in rows}


def test_what_it_writes_is_read(made, here):
    for name, kind in (("scores", "scored answers"), ("labels", "good answers"),
                       ("pairs", "pairs"), ("demos", "demonstrations")):
        assert kind in contents(read_rows([str(here / "graded" / f"{name}.jsonl")])[0])


def test_the_reward_of_gsm8k(here, capsys):
    sums = example("gsm8k_reward")
    assert call(sums.main, "--demos", 30, "--questions", 40, "--test", 20, "--out", here / "s") == 0
    files = {f.stem: read(f) for f in (here / "s").iterdir()}
    assert {name: len(rows) for name, rows in files.items()} \
        == {"demos": 30, "questions": 40, "test": 20}
    assert len({row["question"] for rows in files.values() for row in rows}) == 90, \
        "no question is in two files"
    rows, _ = read_rows([str(here / "s" / "test.jsonl")], "question", prompts=True)
    score, gold = scorer(f"{sums.__file__}:right"), [row["answer"] for row in files["test"]]
    said = [gold, ["It is 3."] * 20, [g.split("####")[0] + "####" for g in gold], ["nothing"] * 20]
    earns = [score_answers(score, [r.prompt for r in rows], answers, [r.extra for r in rows])
             for answers in said]
    assert earns[0].tolist() == [1] * 20 and earns[2].tolist() == [1] * 20 and earns[3].sum() == 0
    assert earns[1].tolist() == [float(g.endswith("#### 3")) for g in gold]
    assert [sums.last_number(t) for t in ("a 1,234 b", "-2.5 x", "3 4.")] == [1234, -2.5, 4]
    one_error(call(sums.main, "--demos", 0), capsys.readouterr().err, "--demos 0")
