"""Other worlds and sizes: the second world's files are apart, a cell of it runs, rates are compared as it says."""
import json

import pytest

from lab import sums, transfer
from lab.cell import BASES, Cell, check_base, fingerprint
from lab.cells import run_cell, unpack_scores
from lab.contrast import contrast
from lab.own import Own
from nanouft.shell.errors import UserError
from nanouft.shell.files import Lines


def test_no_question_of_the_exams_is_learnt_from(tmp_path):
    sums.write(tmp_path, 3)
    read = {name: [row["question"] for row in Lines(tmp_path / f"{name}.jsonl").read()]
            for name in ("demos-30", "demos-1000", "questions-1000")}
    exams = [{q["question"] for q in sums.split(name)} for name in ("test", "val")]
    assert [len(x) for x in exams] == [300, 200] and not exams[0] & exams[1]
    assert not {*read["demos-1000"], *read["questions-1000"]} & (exams[0] | exams[1])
    assert read["demos-30"] == read["demos-1000"][:30] and not {*read["demos-1000"]} & {*read["questions-1000"]}


def test_a_cell_of_the_second_world(tmp_path):
    """Two steps on demonstrations, an answer to each of 250 questions, two steps of UNA on their scores."""
    flags = f"--objective sft --data {{world}}/demos-30.jsonl {transfer.FIELDS} --steps 2".split()
    first = Cell(tuple(flags), 0, world="sums")
    own = Own(first, 250, samples=1)
    cell = Cell(("--objective", "una", "--data", "{own}/scores.jsonl", "--steps", "2"), 0, first, "val", 40, own=own,
                each=True, world="sums")
    done = run_cell(cell, tmp_path)
    assert "failed" not in done and done["world"] == "sums" and 0 <= done["right"]["answers"] <= 1
    assert unpack_scores(done, "sums").mean() == pytest.approx(done["mean"]) and len(unpack_scores(done, "sums")) == 40
    assert contrast([done, {**done, "seed": 1}], parts=(("sums",),))[0] == pytest.approx(done["mean"])
    assert cell.key != Cell(cell.flags, 0, first, "val", 40, own=own, each=True).key


@pytest.mark.parametrize("answers, low, high, said", [(30, 50, 90, "yes (1.1)"), (60, 60, 70, "overlap (2.1)"),
                                                      (60, 1, 40, "no (2.1)"), (30, -5, 90, "cannot be told")])
def test_a_rate_agrees_within_a_factor_or_its_interval_overlaps(answers, low, high, said):
    of_map = {"demos": 100, "samples": 4000, "row": "RFT", "errs": 0, "answers": 28, "low": 50, "high": 120}
    line = {**of_map, "answers": answers, "low": low, "high": high}
    assert transfer.agrees(line, [of_map]).endswith(said)
    assert transfer.agrees({**line, "demos": 7}, [of_map]) == "cannot be told"


def test_what_came_out_follows_from_cells(tmp_path, monkeypatch):
    """A place whose cells are not there is not told."""
    monkeypatch.setattr(transfer, "GROUPS", {"sums": transfer.GROUPS["sums"]})
    assert transfer.found(tmp_path, []) == []


def test_a_base_that_git_does_not_carry(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    BASES.parent.mkdir(parents=True)
    BASES.write_text(json.dumps({"out/far": {"fingerprint": "abc", "command": "python -m nanouft.pretrain --far"}}))
    assert fingerprint("out/far") == "abc" and Cell((), 0, "out/far").key
    with pytest.raises(UserError, match="out/far: .* make it with: python -m nanouft.pretrain --far"):
        check_base("out/far")
