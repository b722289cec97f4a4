"""What is measured of a model before and after a run (nanouft/run/evaluation.py, before_after.py,
held_rows.py)."""
from dataclasses import replace

import pytest
from made import CPU, DATA, NANO, nano, say
from test_plan import planned

from nanouft import world
from nanouft.data.batches import encode
from nanouft.data.rows import Row
from nanouft.data.selection import label_rows
from nanouft.objectives import OBJECTIVES
from nanouft.run.before_after import Evaluated, evaluate_run, pick_question, print_families
from nanouft.run.evaluation import answer_rows, held_out_metrics
from nanouft.run.held_rows import short_answers
from nanouft.run.reference import Models

COMPARED = [name for name, cls in OBJECTIVES.items()
            if not cls().on_policy and cls().kinds() != ["demos"]]


@pytest.mark.parametrize("name", COMPARED)
def test_what_an_answer_gained_is_measured_whether_the_loss_reads_the_start_model_or_not(name):
    """SimPO, ORPO and others read none; their pairs are measured as DPO's are."""
    objective, model = OBJECTIVES[name](), nano()
    held, _ = encode(objective.choose(DATA), NANO, model.cfg.n_ctx)
    Models(model, NANO.pad, CPU).add_reference(held, objective)
    told = held_out_metrics(model, held, NANO.pad, CPU)
    assert all(t.ref_logp is not None for e in held for t in e.seqs.values())
    assert told.get("accuracy", told.get("auc")) == 0.5, "nothing has moved, so all of them tie"


@pytest.mark.parametrize("lost, told", [(0.19, False), (0.21, True)])
def test_a_family_is_called_unlearnt_if_it_loses_more_than_20_points(lost, told, capsys):
    was, now = ({name: {"score": score, "ends": 1.0} for name, score in
                 (("sum", 0.9), ("sort", sort))} for sort in (0.5, 0.5 - lost))
    print_families(was, now)
    said = capsys.readouterr().out
    assert ("it has unlearnt something: sort -21 points" in said) == told == ("unlearnt" in said)


def test_the_question_that_is_shown_gained_as_much_as_the_mean():
    """Neither the best nor the worst. One whose answer is the same is not shown."""
    scores = [0.0, 0.1, 0.45, 1.0]
    before, after = (Evaluated({"families": {}}, [
        {"prompt": str(i), "answer": when * (i > 0), "score": when and score}
        for i, score in enumerate(scores)]) for when in (0, 1))
    assert pick_question(before, after)["prompt"] == "2"
    assert pick_question(before, before) == {}


@pytest.mark.parametrize("more, scored", [("", 120), ("--eval-every 25", 40),
                                          ("--eval-every 25 --eval-data y", 150), ("--plain", 0)])
def test_held_out_rows_that_are_scored_more_often_are_fewer(more, scored):
    """A tenth of the cost of 100 steps of 8 rows; but all rows of a file that is named for it."""
    rows = world.rows("train", "demos", 150, 0)
    line = f"--objective sft --data x --steps 100 --batch-size 8 {more}"
    assert len(planned(line, rows, held=tuple(rows)).held) == scored


def test_only_right_answers_are_compared_word_by_word():
    rows = [Row(say("user", f"Is {i} even?"), say("assistant", "No." if i % 2 else "Yes."),
                label=i % 3 > 0) for i in range(12)]
    held, _ = encode(label_rows(rows), NANO, 128)
    assert [row.label for row in short_answers(held)] == [True] * 8


def test_answers_stand_in_the_order_of_their_questions():
    """Those of like length are decoded together."""
    rows = [Row(say("user", f"Say {x}.")) for x in ("fig " * 9, "a", "pig bee", "fig", "the " * 5)]
    model = nano()
    alone = [answer_rows(model, NANO, [row], max_new=4)[0].ids for row in rows]
    together = answer_rows(model, NANO, rows, max_new=4, chunk=2)
    assert [a.ids for a in together] == alone and len({*map(tuple, alone)}) > 2


@pytest.mark.parametrize("max_new", [3, 40])
def test_answers_that_a_reward_scores_are_as_long_as_in_training(max_new):
    rows = [Row(say("user", x)) for x in ("Say fig.", "Say pig.")]
    plan = planned(f"--objective grpo --data x --reward r.py:f --max-new {max_new}", rows)
    plan, asked = replace(plan, held=plan.train), []
    told = evaluate_run(nano(), NANO, plan, CPU, lambda rows, texts: asked.append(texts) or [1, 2])
    assert told.metrics["held_out"]["reward"] == 1.5 and len(asked[0]) == 2
    assert {x["unfinished"] for x in told.answers} == {f"cut at {max_new} tokens"}


def test_the_answers_that_are_shown_are_to_different_questions():
    """Rows may have one question and several answers."""
    long = say("assistant", "the dova lives in a small green house and eats two red nuts " * 2)
    rows = [Row(say("user", f"Say {x}."), long) for x in "aaabbc"]
    plan = planned("--objective sft --data x --batch-size 4 --steps 2", rows)
    told = evaluate_run(nano(), NANO, replace(plan, held=plan.train), CPU, None)
    assert [x["prompt"] for x in told.answers] == ["Say a.", "Say b."]
