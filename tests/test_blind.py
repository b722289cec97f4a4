"""A blind sheet: who votes cannot tell which model is which, each vote counts for the model that
gave the response, whatever a spreadsheet does to the file, and no vote is lost."""
import csv
from pathlib import Path

import pytest
import torch
from commands import DEMOS, TALK, call
from made import NANO, one_error, write_jsonl

from nanouft import blind, evaluate, sample
from nanouft.models.folders import save_model, start_model

ASK = "sample start other --data demos.jsonl --max-new 3 --blind"


@pytest.fixture(autouse=True)
def theirs(here) -> dict[str, str]:
    """{prompt: response} of another model, as `sample` shows it; two are those of `start`."""
    [file.unlink() for file in here.glob("*.csv")]
    model, rng = start_model("start")[0], torch.Generator().manual_seed(0)
    for p in model.parameters():
        p.data += 0.02 * torch.randn(p.shape, generator=rng)
    save_model(here / "other", model, NANO)
    told = sample.run("other", [row["prompt"] for row in DEMOS], max_new=3, device="cpu")
    return {x["prompt"]: x["answer"] for x in told}


def read(file: str) -> list[list[str]]:
    return [*csv.reader(Path(file).read_text("utf-8-sig").splitlines(keepends=True))]


def vote(sheet: str, choose, **how) -> None:
    """Vote by choose(number, prompt, response 1, response 2), sort, add columns, save."""
    head, *rows = read(sheet)
    voted = [[*row[:4], choose(*row[:4]), "", ""] for row in rows[::-1]]
    with open(sheet, "w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file, **how).writerows([[*head[:5], "", ""], *voted])


# ---- what is shown -------------------------------------------------------------------------------
def test_the_order_tells_nothing():
    """The same seed is the same sheet; other responses have another order."""
    def order(seed: int, max_new: int = 3) -> list[bool]:
        [file.unlink() for file in Path().glob("s.*")]
        sample.run(["start", "other"], data=DEMOS, max_new=max_new, blind="s.csv", seed=seed)
        return [x[2] == "1" for x in read("s.key.csv")[1:] if x[2] != "same"]
    assert order(0) == order(0) and order(0)[:6] != order(0, 4)[:6]
    assert not any(word in Path("s.csv").read_text() for word in ("start", "other", "<|end|>"))
    orders = [order(seed) for seed in range(20)]
    assert {sum(x) for x in orders} == {4} and len({*map(tuple, orders)}) > 14
    assert all(2 < sum(x) < 18 for x in zip(*orders))


def test_prompts_come_from_rows_of_any_format(here, capsys):
    write_jsonl(here / "talk.jsonl", [{"prompt": [*TALK[:2], {"role": "user", "content": "\0"}]}])
    line = ("sample run other --data mixed.jsonl signs.jsonl pairs.jsonl demos.jsonl wide.jsonl "
            "talk.jsonl --max-new 46 --system 'Be kind.' --temperature 2 --blind x/")
    assert call(line + "s.csv") == call(line + "t.csv --seed 1") == 0
    said, one, two = capsys.readouterr().out, read("x/s.csv")[-1], read("x/t.csv")[-1]
    for x in ("43 used, 31 skipped (21: too long", "also trained on", "(sampled at temperature 2"):
        assert x in said
    assert one[1] == "system: Be kind.\n\nuser: user 0\n\nassistant: assistant 0\n\nuser: \\x00"
    assert not {*one[2:4]} & {*two[2:4]}, "another seed draws other samples"


# ---- how votes are counted -----------------------------------------------------------------------
@pytest.mark.parametrize("seed", [0, 1])
def test_who_votes_for_one_model_makes_it_win(seed, theirs, capsys):
    """Seven of eight votes, in any order. If they are swapped, the other model wins."""
    assert call(f"{ASK} s.csv --seed {seed}") == 0
    for votes, said in (("12", "other is preferred to start"), ("21", "start is preferred to oth")):
        vote("s.csv", lambda i, prompt, one, two: votes[(two == theirs[prompt]) != (i == "3")])
        assert call("evaluate --votes s.csv") == 0
        told = capsys.readouterr().out
        assert said in told and ": 7 of 8 prompts, 95 % CI 53 to 98 %" in told


@pytest.mark.parametrize("wins, n, low, high", [(81, 263, 0.2553, 0.3662), (0, 20, 0, 0.1611)])
def test_the_interval_is_that_of_a_published_table(wins, n, low, high):
    """Newcombe 1998, Statistics in Medicine 17, 857-872, Table I, method 3."""
    assert blind.wilson(wins, n) == pytest.approx((low, high), abs=5e-5)


def test_each_prompt_goes_to_the_model_with_most_of_its_votes(theirs, capsys):
    """Of voters whose sheets have other orders. The last prompt has no vote."""
    for sheet, likes in (("a.csv", 8), ("b.csv", 5), ("c.csv", 1)):
        sample.run(["start", "other"], data=DEMOS, max_new=3, blind=sheet, seed=likes)
        vote(sheet, lambda i, prompt, one, two: "" if i == "8" else "12"[
            (two == theirs[prompt]) == (int(i) <= likes)])
    got = [*evaluate.run(votes=["a.csv", "b.csv", "c.csv"], verbose=True).values()]
    assert "b.csv: 7 votes, 1 missing" in capsys.readouterr().out
    assert got == [["start", "other"], 5, 2, 2, 2, 5 / 7, *blind.wilson(5, 7), "undecided"]


def test_a_spreadsheet_changes_no_text_and_loses_no_vote():
    """Separators, quotation marks, a byte order mark, columns without a name, dates."""
    for text in ("- Water it.", "=1+1", "+a", "@a", "1/2", "007", "12:30"):
        assert blind.cell(text) == f"'{text}"
    assert [*map(blind.cell, ("A, b", "1 fig", "日", ""))] == ["A, b", "1 fig", "日", "(empty)"]
    assert call(f"{ASK} s.csv") == 0
    votes = ["", "1", "2", "", "0", " = ", "TIE", "", ""]
    wins = sum(x[3] == votes[int(x[0])] for x in read("s.key.csv")[1:3])    # of other
    for how in ({}, {"quoting": 1}, {"delimiter": ";", "lineterminator": "\r\n"}):
        vote("s.csv", lambda i, *rest: votes[int(i)], **how)
        Path("t.csv").write_text(Path("s.csv").read_text().replace("Say", "1. Feb"))
        got = evaluate.run(votes="t.csv")
        assert (got["wins"], got["losses"], got["ties"], got["same"]) == (wins, 2 - wins, 5, 2)


def test_a_mistake_is_one_line_and_nothing_is_written_over(capsys):
    def refused(line: str, told: str) -> None:
        assert call(line) == 2 and told in one_error(capsys)
    assert call(f"{ASK} s.csv") == call(f"{ASK} t.csv --seed 9") == 0
    assert call(ASK.replace("start", "run") + " u.csv") == 0
    refused("evaluate --votes s.csv u.csv", "u.csv: is about run and other, and s.csv about start")
    vote("s.csv", lambda number, *rest: "left" if number == "3" else "1")
    refused("evaluate --votes s.csv", "s.csv, row 3: the vote 'left' is not 1, 2 or tie")
    refused(f"{ASK} s.csv", "s.csv exists, and votes may belong to it")
    Path("s.csv").replace("v.csv")
    refused(f"{ASK} s.csv", "s.key.csv exists, and votes may belong to it")
    Path("t.key.csv").replace("s.key.csv")
    refused("evaluate --votes v.csv", "v.csv, row 1: no *.key.csv beside it has the column 'sheet ")
