"""What is measured of a model before and after a run (nanouft/run/evaluation.py, before_after.py,
held_rows.py)."""
from dataclasses import replace

import pytest
from made import CPU, DATA, NANO, nano, say
from test_plan import planned

from nanouft.data.batches import encode
from nanouft.data.rows import Row
from nanouft.objectives import OBJECTIVES
from nanouft.run.before_after import evaluate_run
from nanouft.run.evaluation import held_out_metrics
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


def test_the_answers_that_are_shown_are_to_different_questions():
    """Rows may have one question and several answers."""
    long = say("assistant", "the dova lives in a small green house and eats two red nuts " * 2)
    rows = [Row(say("user", f"Say {x}."), long) for x in "aaabbc"]
    plan = planned("--objective sft --data x --batch-size 4 --steps 2", rows)
    told = evaluate_run(nano(), NANO, replace(plan, held=plan.train), CPU, None)
    assert [x["prompt"] for x in told.answers] == ["Say a.", "Say b."]
