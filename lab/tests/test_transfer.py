"""Other worlds and sizes: the second world's files are apart, a cell of it runs, rates are compared
as it says."""
import pytest

from lab import sums, transfer
from lab.cell import Cell
from lab.cells import pack_scores, run_cell, unpack_scores
from lab.contrast import contrast
from lab.own import Own
from lab.runner import Missing
from nanouft.run.storage import Lines


def test_no_question_of_the_exams_is_learnt_from(tmp_path):
    sums.write(tmp_path, 3)
    demos, asked, few = ([row["question"] for row in Lines(tmp_path / f"{name}.jsonl").read()]
                         for name in ("demos-1000", "questions-1000", "demos-30"))
    test, val = ({q["question"] for q in sums.split(name)} for name in ("test", "val"))
    assert (len(test), len(val)) == (300, 200)
    assert len({*demos, *asked, *test, *val}) == 2500, "all are different"
    assert few == demos[:30]


def test_a_cell_of_the_second_world(tmp_path):
    """Two steps on demonstrations, an answer to each of 250 questions, two steps of UNA on their
    scores."""
    flags = f"--objective sft --data {{world}}/demos-30.jsonl {sums.FIELDS} --steps 2".split()
    first = Cell(tuple(flags), 0, world="sums")
    own = Own(first, 250, samples=1)
    cell = Cell(("--objective", "una", "--data", "{own}/scores.jsonl", "--steps", "2"), 0, first,
                "val", 40, own=own, each=True, world="sums")
    done = run_cell(cell, tmp_path)
    assert "failed" not in done and done["world"] == "sums"
    assert unpack_scores(done, "sums").mean() == pytest.approx(done["mean"])
    assert len(unpack_scores(done, "sums")) == 40
    assert contrast([done,
                     {**done, "seed": 1}], parts=(("sums",),))[0] == pytest.approx(done["mean"])
    assert cell.key != Cell(cell.flags, 0, first, "val", 40, own=own, each=True).key


def test_a_judge_of_the_second_world_errs_as_often_as_he_says_and_says_the_same_twice():
    asked = sums.split("test")
    prompts, gold = [q["question"] for q in asked], [q["answer"] for q in asked]
    right, wrong = (sums.errs_30(prompts, answers, gold) for answers in (gold, ["#### 0"] * 300))
    assert [1 - sum(right) / 300, sum(wrong) / 300] == pytest.approx([0.3, 0.3], abs=0.08)
    assert right == sums.errs_30(prompts, gold, gold)


@pytest.mark.parametrize("answers, low, high, words",
                         [(30, 50, 90, "yes (1.1)"), (60, 60, 70, "overlap (2.1)"),
                          (60, 1, 40, "no (2.1)"), (30, -5, 90, "cannot be told")])
def test_a_rate_agrees_within_a_factor_or_its_interval_overlaps(answers, low, high, words):
    of_map = {"demos": 100, "samples": 4000, "row": "RFT", "errs": 0, "answers": 28, "low": 50,
              "high": 120}
    line = {**of_map, "answers": answers, "low": low, "high": high}
    assert transfer.agrees(line, [of_map]).endswith(words)


def test_what_came_out_follows_from_cells(monkeypatch):
    """Where SFT has 20 % with 30 demonstrations and 60 % with 100, a row with 40 % stands between;
    a place whose cells are missing is not told."""
    done = {}

    def look_up(cells):
        if any(c.own and c.own.prompts > 250 for c in cells):
            raise Missing("not there")
        done.update({c.key: in_sums(c) for c in cells})
        return done

    def in_sums(c):
        mean = (0.4 if c.own
                else {"30": 0.2, "100": 0.6, "300": 0.9}[c.flags[3].split("-")[1].split(".")[0]])
        return {"each": {"sums": pack_scores([mean] * c.items)}, "mean": mean, "seed": c.seed,
                "split": c.split, "items": c.items}
    monkeypatch.setattr(transfer, "PIECES", {"small": [], "large": []})
    lines = {(x["demos"], x["row"]): x for x in transfer.found(look_up, [])}
    assert {x["samples"] for x in lines.values()} == {1000}
    assert set(transfer.READS) < {row for _, row in lines}
    at_30 = lines[30, "RFT"]
    assert [at_30["gain"][0], at_30["sft"]] == pytest.approx([0.2, 0.2])
    assert at_30["verdict"] == "better"
    assert at_30["worth"] == pytest.approx(30 * (100 / 30) ** 0.5 - 30, rel=0.01)
    assert lines[100, "RFT"]["worth"] < 0
