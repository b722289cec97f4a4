"""Where could IFT help: the tasks are right and the control independent, every rule can say each of
its words, and a tiny run of each kind goes from training to its line.
"""
import random
import re
from dataclasses import replace

import numpy as np
import pytest
from running import call, one_error

from lab import ift_help
from lab.cell import Cell
from lab.cells import pack_scores
from lab.ift_tasks import Job, Moved, exact, reference, results, rows, score
from lab.runner import Missing, open_store
from nanouft import world
from nanouft.data.rows import holdout
from nanouft.data.tokenizer import nano


# ---- tasks ---------------------------------------------------------------------------------------
def test_right_answers():
    answers = {"Add all of 3 1 2.": "3 and 1 is 4 and 2 is 6",
               "Add neighbours of 3 1 2.": "3 and 1 is 4 and 2 is 3"}
    for asked, answer in answers.items():
        assert reference(asked, random.Random(0)) == answer
        assert score(asked, answer) == score(asked, answer + " fox") == 1 and score(asked, "") == 0
        assert score(asked, answer.replace("is 4", "is 5")) == 1 / 2, "one slip costs one result"
        assert exact(asked, answer) and not exact(asked, answer + " fox")
    assert world.reference("Add up 3 1 2 step by step.") == answers["Add all of 3 1 2."], (
        "as in NanoWorld")
    assert not world.named(rows("chain", (2, 3), 5, 1)), "train holds out a tenth, as of `steps`"


def test_a_slip_spoils_the_rest_of_a_chain_and_nothing_of_the_control():
    rng = random.Random(0)
    for _ in range(50):
        numbers = [rng.randint(1, 9) for _ in range(25)]
        other = [*numbers[:10], numbers[10] % 9 + 1, *numbers[11:]]
        changed = {t: [a != b for a, b in zip(results(t, numbers), results(t, other))]
                   for t in ("chain", "steps")}
        assert changed["chain"] == [False] * 9 + [True] * 15, "the tenth result and all after it"
        assert changed["steps"] == [False] * 9 + [True] * 2 + [False] * 13, (
            "the two that read this number")


def test_the_control_has_the_same_length_and_format():
    tok = nano()
    for chain, steps in zip(*(rows(task, ift_help.STEPS, 30, 1) for task in ("chain", "steps"))):
        shape, other = (re.sub(r"is \d+", "is 1", r.answer[0].text) for r in (chain, steps))
        sizes = {len(tok.encode(" " + r.answer[0].text)) for r in (chain, steps)}
        assert re.sub(r"\d", "1", shape) == re.sub(r"\d", "1", other) and len(sizes) == 1
        assert all(score(r.prompt[0].text, r.answer[0].text) == 1 for r in (chain, steps))
    assert rows("chain", (2, 3), 5, 1) == rows("chain", (2, 3), 5, 1) != rows("chain", (2, 3), 5, 2)


def test_named_things():
    tok = nano()
    for tokens in ift_help.LENGTHS:
        made = rows("things", ift_help.things(tokens, ()).lengths, 300, 0)
        sizes = [len(tok.encode(" " + r.answer[0].text)) for r in made]
        assert abs(np.mean(sizes) - tokens) < 0.1 * tokens and max(sizes) <= 1.25 * tokens, (
            "two tokens a thing")
        assert all(score(r.prompt[0].text, r.answer[0].text) == 1 for r in made)
        numbers = [{r.prompt[0].text.split()[1] for r in part} for part in (made, holdout(made)[0])]
        assert numbers[0] == numbers[1], "holding out prompts takes no number of things away"
    asked = "Name 2 things, fox first."
    assert score(asked, "1 fox 2 fox") == 1, "nobody can know which things"
    assert [score(asked, a) for a in ("1 fox", "1 fox 2 bee 3 pig", "2 fox 1 bee", "1 fox 2 what",
                                      "1 bee 2 fox", "")] == [0] * 6


# ---- rules ---------------------------------------------------------------------------------------
NARROW = 0.005                          # half of an interval
SOLVED = {"plain at 8": (0.9, NARROW), "plain at 64": (0.9, NARROW)}
LENGTH = {"loss at 8": (0.2, NARROW), "loss at 64": (0.01, NARROW), "beyond": (0.17, NARROW),
          **SOLVED}
EXPOSURE = {"cut": (0.5, 0.1), "strict": (0.05, NARROW), "token": (0.95, NARROW)}
STILL = {"largest change": (0.002, 0.001), "nats from the start": (1e-4, 1e-5)}
LISTS = {f"lists that stop at {lr}": (0.99, 0.005) for lr in ift_help.GENTLE}
GAINS = dict.fromkeys(ift_help.KEEPS, (0.03, 0.01))
SPREAD = {"gain": (0.08, NARROW), "advantage": (0.06, NARROW)}


@pytest.mark.parametrize("number, holds, others", [
    ("1a", SPREAD, {"does not hold": [{"advantage": (0.0, NARROW)}], "undecided": [
        {"gain": (0.08, 0.1), "advantage": (0.06, 0.1)},
        {"gain": (0.02, 0.01), "advantage": (0.05, 0.01)}]}),
    ("2", LENGTH, {
        "does not hold": [{"loss at 64": (0.05, NARROW), "beyond": (0.05, NARROW)}],
        "undecided": [{"plain at 64": (0.1, NARROW)}, {"loss at 8": (0.2, 0.3)},
                      {"loss at 8": (0.3, NARROW), "loss at 64": (0.03, 0.02),
                       "beyond": (0.1, 0.05)}]}),
    ("3", EXPOSURE, {
        "does not hold": [{"strict": (0.0, NARROW)}, {"strict": (-0.05, NARROW)}],
        "undecided": [{"strict": (0.0, NARROW), "token": (0.5, NARROW)}]}),
    ("4", LISTS, {"does not hold": [{"lists that stop at 6e-5": (0.9, 0.02)}],
                  "undecided": [{"lists that stop at 1e-5": (0.97, 0.1)}]}),
    ("6a", GAINS,
     {"does not hold": [{"truth, first base": (0.0, NARROW)}],
      "undecided": [{"fact, first base": (0.03, 0.04)}, {"fact, second base": (0.009, 0.008)}]}),
    ("5", STILL, {"does not hold": [{"nats from the start": (0.05, 0.01)}],
                  "undecided": [{"largest change": (0.01, 0.01)}]})])
def test_every_rule_can_say_each_word(number, holds, others):
    rule = next(e for e in ift_help.EXPERIMENTS if e.name.startswith(number))
    assert ift_help.judge(rule, holds) == "holds"
    for word, changes in others.items():
        assert [ift_help.judge(rule, holds | change) for change in changes] == [word] * len(changes)


def test_holm_asks_most_of_the_clearest_gamma():
    """At gamma .5 chains gain ten points, at .8 nearly three, at .95 two: the second is undecided,
    so the third is asked as much as the second."""
    gains = {"0.5": 0.10, "0.8": 0.028, "0.95": 0.021}

    def run(job: Job) -> dict:
        gain = gains.get(job.flags[job.flags.index("--gamma") + 1], 0.0) * (job.task == "chain")
        spread = 0.05 * (job.seed % 2 - 0.5) * ("released" in job.flags)
        scores = pack_scores([0.5 + gain + spread] * 200)
        return {"key": job.key, "rows": job.rows, "scores": scores, "score": 0.5}

    def get(rows):
        return {name: list(map(run, jobs)) for name, jobs in rows.items()}
    found = {e.name[:2]: ift_help.judged(e, get)
             for e in ift_help.EXPERIMENTS if e.name[:2] in ("1c", "1d", "1e")}
    assert [found[n]["verdict"] for n in ("1c", "1d", "1e")] == ["holds", "undecided", "undecided"]
    c, d, e = (found[n]["judged"]["gain"][1] for n in ("1c", "1d", "1e"))
    assert c > d == pytest.approx(e)


# ---- real runs -----------------------------------------------------------------------------------
def test_runs_are_trained_once_and_kept(tiny_base, tmp_path, here, capsys):
    flags = (*ift_help.IFT, *ift_help.PLAIN, "--steps", "2", "--lr", "1e-3")
    run = Job("chain", (2, 3), 20, flags, 0, items=6, start=str(tiny_base))
    with open_store(tmp_path / "cells.jsonl") as store:
        with pytest.raises(Missing, match="1 of 1 cells are missing"):
            ift_help.results_from(store, 0, {"row": [run]})
    line = run.run()
    assert 0 <= line["token"] <= 1
    assert 0.5 < line["differ"] <= 1
    assert line["gap"] == pytest.approx(0, abs=0.5)
    assert ift_help.each([line]).shape == (1, 6) == ift_help.each([line], "stricts").shape
    store.add(line)
    with open_store(tmp_path / "cells.jsonl") as store:
        got, = ift_help.results_from(store, 0, {"row": [run]})["row"]
    assert got["key"] == run.key == line["key"]
    assert replace(run, seed=1).key != run.key
    one_error(call(ift_help.main, "--only", "9"), capsys.readouterr().err, "--only 9", "1a, 1b, 1c")


def test_how_far_a_model_moved(tiny_base, tmp_path):
    sft = Cell(("--objective", "sft", "--rows", "20", "--batch-size", "4", "--steps", "1"), 0,
               str(tiny_base))
    flags = (*ift_help.RELEASED, "--rows", "20", "--steps", "1", "--optimizer", "rmsprop", "--lr")
    still, far = (Moved(Cell((*flags, lr), 0, sft, items=1)).run(tmp_path / "keep")
                  for lr in ("1e-9", "1e-2"))
    assert abs(still["nats from the start"]) < 1e-4 < far["nats from the start"]
    assert still["largest change"] <= far["largest change"] <= 1 and still["key"] != far["key"]
