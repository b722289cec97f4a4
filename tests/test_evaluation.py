"""What is measured of a model before and after a run (nanouft/run/evaluation.py and
eval_metrics.py)."""
import json
import statistics

import golden
import numpy as np
import pytest
import torch
from made import CPU, DATA, NANO, nano, say, tiny
from test_plan import planned

from nanouft import evaluate, world
from nanouft.data.batches import Encoded, Tokens, encode
from nanouft.data.row import Row
from nanouft.objectives import OBJECTIVES
from nanouft.pictures import plots
from nanouft.plumbing.files import write_json
from nanouft.run import checkpoint, eval_metrics, evaluation
from nanouft.run.config import read_flags
from nanouft.run.eval_metrics import Measurement, held_out_metrics
from nanouft.run.evaluation import EvalResult, evaluate_run, scores_answers
from nanouft.run.reference import FrozenModels, Numbers

COMPARED = [name for name, cls in OBJECTIVES.items()
            if not cls().on_policy and cls().kinds() != ["demos"]]


@pytest.mark.parametrize("name", COMPARED)
def test_what_an_answer_gained_is_measured_whether_the_loss_reads_the_start_model_or_not(name):
    """SimPO, ORPO and others read none; their pairs are measured as DPO's are."""
    objective, model = OBJECTIVES[name](), nano()
    held, _ = encode(objective.choose(DATA), NANO, model.cfg.n_ctx)
    FrozenModels(model, NANO.pad, CPU).add_reference(held, objective)
    told = held_out_metrics(model, held, NANO.pad, CPU)
    assert all(t.ref_logp is not None for e in held for t in e.seqs.values())
    assert told.get("accuracy", told.get("auc")) == 0.5, "nothing has moved, so all of them tie"


def evaluated(line: str, rows: list[Row], score=lambda rows, texts: [0.5] * len(rows)):
    """What a run with these flags would say of these rows."""
    cfg, objective, data = planned(f"--data x --objective {line}", rows)
    return evaluate_run(nano(), NANO, cfg, objective, data.train, CPU, score)


@pytest.mark.parametrize("line", ["uft", "uft --feedback binary", "uft --feedback pair",
                                  "chord --reward r.py:f --max-new 4",
                                  "hpt --reward r.py:f --max-new 4"])
def test_a_method_that_reads_demonstrations_beside_other_rows_tells_their_loss(line, capsys):
    """That of `evaluate`, in a line of its own. UFT told the order alone, which is right after a
    few steps although no answer has changed."""
    objective = read_flags(["--data", "x", "--objective", *line.split()]).objective()
    rows = world.mixed_rows("val", objective.kinds(), 40, 0)
    told = evaluated(line, rows)
    wanted = evaluate.measure_kinds("", nano(), NANO, rows, CPU)["demonstrations"].metrics
    assert told.metrics["demos"] == pytest.approx(wanted) and wanted["rows"] >= 20
    evaluation.print_report(told, told, {})
    said = capsys.readouterr().out
    for of in (told.metrics["demos"], told.metrics["held_out"]):
        assert said.count(f"{[*of.values()][0]:.3f}   ({of['rows']} rows)") == 1


@pytest.mark.parametrize("given", golden.read("scores_of_tasks"))
def test_what_a_run_gained_is_split_into_words_and_stopping_and_what_it_lost_is_named(
        given, recorded, capsys):
    """Of 40 points 10 may be for better words: the other 30 had the words before, and did not
    stop. A task is forgotten if it loses 20 points."""
    was, now = ({name: dict(zip(("score", "words", "ends"), x)) for name, x in tasks.items()}
                for tasks in json.loads(given))
    evaluation.print_tasks(was, now)
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= 80
    recorded("scores_of_tasks", given, said)


def test_the_words_of_an_answer_end_where_it_begins_another_turn():
    assert evaluation.words_of("hen fox <|user|> Say hen.") == "hen fox"


def test_the_picture_of_scores_says_which_task_fell_most_on_the_way():
    """Of one point, as in a run that an older version began, too."""
    scores = {step: {"fact": fact, "sum": 0.5} for step, fact in ((0, 1.0), (8, 0.0), (96, 0.9))}
    assert plots.title_of_scores(scores, "ift").endswith("fact falls from 100 to 0 and ends at 90")
    assert plots.title_of_scores({96: scores[96]}, "ift") == (
        "IFT: score by task, 0-100, while it trains")


def test_the_question_that_is_shown_gained_as_much_as_the_mean():
    """Neither the best nor the worst. One whose answer is the same is not shown, but it counts."""
    scores = [0.0, 0.0, 0.0, 0.1, 0.45, 1.0]
    before, after = (EvalResult({"families": {}}, [
        {"prompt": str(score), "answer": when * score, "score": when * score}
        for score in scores]) for when in (0, 1))
    assert evaluation.pick_question(before, after)["prompt"] == "0.1"
    assert evaluation.pick_question(before, before) == {}


@pytest.mark.parametrize("more, scored", [
    ("", 120), ("--eval-every 25", 40), ("--eval-every 25 --eval-data y", 250), ("--plain", 0),
    ("--steps 4", 32), ("--steps 400", 200)])
def test_held_out_rows_that_are_scored_more_often_are_fewer(more, scored):
    """A tenth of the cost of 100 steps of 8 rows, of all parts of the file; but all rows of a file
    that is named for it."""
    rows = world.rows("train", "demos", 250, 0)
    line = f"--objective sft --data x --steps 100 --batch-size 8 {more}"
    held_out = planned(line, rows, held=tuple(rows))[2].held_out
    assert len(held_out) == scored
    assert not scored or held_out[-1].row.prompt in [row.prompt for row in rows[-9:]]


@pytest.mark.parametrize("max_new", [3, 40])
def test_answers_that_a_reward_scores_are_as_long_as_in_training(max_new):
    """And without white space around them, as there."""
    rows = [Row(say("user", x)) for x in ("Say fig.", "Say pig.")]
    told = evaluated(f"grpo --reward r.py:f --max-new {max_new}", rows, lambda rows, texts: [
        len(text) - len(text.strip()) + i for i, text in enumerate(texts, 1)])
    assert told.metrics["held_out"]["reward"] == 1.5 and told.metrics["held_out"]["rows"] == 2
    assert {x["unfinished"] for x in told.answers} == {f"cut at {max_new} tokens"}


@pytest.mark.parametrize("line, scored", [
    ("grpo", True), ("distill", False), ("distill --reward r.py:f", True), ("sft", False)])
def test_answers_are_scored_where_a_method_samples_and_there_is_a_reward(line, scored):
    cfg = read_flags(["--data", "x", "--objective", *line.split()])
    objective = cfg.objective()
    assert scores_answers(cfg, objective) == scored


def test_the_answers_that_are_shown_are_to_different_questions():
    """Rows may have one question and several answers."""
    long = say("assistant", "the dova lives in a small green house and eats two red nuts " * 2)
    rows = [Row(say("user", f"Say {x}."), long) for x in "aaabbc"]
    told = evaluated("sft --batch-size 4 --steps 2", rows)
    assert [x["prompt"] for x in told.answers] == ["Say a.", "Say b."]


@pytest.mark.parametrize("figure, values, kept", [
    ("accuracy", (0.5, 0.5, 0.5), 1), ("auc", (0.5, 0.7, 0.6), 2), ("nll", (2.0, 1.0, 1.0), 2)])
def test_of_steps_that_are_equally_good_the_first_is_kept(figure, values, kept, tmp_path):
    for step, value in enumerate(values, 1):
        checkpoint.keep_best(tmp_path, step, {figure: value, "rows": 1}, tiny(step))
    best = tiny()
    assert checkpoint.load_best(tmp_path, best) == {"step": kept, figure: values[kept - 1]}
    assert torch.equal(best.wte.weight, tiny(kept).wte.weight)


def test_a_figure_that_is_not_there_is_null_in_json(tmp_path):
    """NaN is no JSON: jq and JavaScript refuse the file."""
    write_json(tmp_path / "eval.json", {"auc": 0.5, "low": float("nan"), "high": [float("inf")]})
    assert json.loads((tmp_path / "eval.json").read_text(), parse_constant=pytest.fail) == {
        "auc": 0.5, "low": None, "high": [None]}


def test_an_interval_holds_the_truth_in_95_of_100_draws():
    """Of a mean, and of an AUC, also with few good answers (rows drawn again as if only the better
    answer varied: 53 to 84 of 100). A share of 4 of 4 has the exact interval."""
    rng = np.random.default_rng(0)
    hits = sum(low <= 0.3 <= high for low, high in
               (eval_metrics.bootstrap(rng.random(80) < 0.3) for _ in range(200)))
    assert 180 <= hits <= 198
    low, high = eval_metrics.bootstrap([2.0, 4.0, 6.0], [1, 2, 3])
    assert low == high == 2, "sums over tokens: their ratio"
    truth = statistics.NormalDist().cdf(1 / 2 ** 0.5)
    for good, bad in ((30, 30), (60, 15)):
        grade = np.repeat([1.0, 0.0], [good, bad])
        found = [eval_metrics.auc_of_grades(rng.normal(size=good + bad) + grade, grade).metrics
                 for _ in range(200)]
        assert 180 <= sum(x["low"] <= truth <= x["high"] for x in found) <= 198
    assert np.allclose(eval_metrics.interval(np.ones(4), np.ones(4)), (0.3976, 1), atol=1e-4)


def test_the_interval_of_a_share_stays_within_0_and_1():
    """Six good answers and two bad ones, of which one is ahead of two good ones: 1.26 was its
    end."""
    grade = np.repeat([1.0, 0.0], [6, 2])
    for gain, side in (([5, 6, 7, 8, 1, 2, 0, 3], 1), ([-5, -6, -7, -8, -1, -2, 0, -3], 0)):
        found = eval_metrics.auc_of_grades(np.array(gain), grade).metrics
        assert 0 <= found["low"] < found["auc"] < found["high"] <= 1
        assert side in (found["low"], found["high"])


def rows_of(*rows: dict[str, list[float]]) -> tuple[list[Encoded], Numbers]:
    """Rows whose answers have these log-probs, a number a token."""
    encoded = [Encoded({role: Tokens(np.zeros(len(x) + 1), np.r_[0, np.ones(len(x))])
                        for role, x in row.items()}, Row()) for row in rows]
    return encoded, [{role: np.array(x) for role, x in row.items()} for row in rows]


def ranked(*gains: float) -> Measurement:
    return eval_metrics.auc_of_grades(np.array(gains), np.array([1.0, 0, 1, 0]))


def read(where: str, counts: str) -> Measurement:
    return Measurement({"nll": 1.0}, np.ones(3), np.array([*counts], float), tuple(where))


@pytest.mark.parametrize("one, other, told", [
    (ranked(5, 1, 0, 2), ranked(50, 10, 0, 20), "no difference in any row"),
    (ranked(5, 1, 0, 2), ranked(0, 1, 5, 2), "+0.000 [-"),
    (ranked(5, 1, 0, 2), ranked(5, 1, 6, 2), "+0.500 ["),
    (read("abc", "231"), read("abc", "231"), "no difference in any row"),
    (read("abc", "231"), read("abd", "231"), "not compared, because different rows fit"),
    (read("abc", "231"), read("abc", "211"), "")], ids=lambda x: x if isinstance(x, str) else "")
def test_models_are_compared_on_the_same_tokens_of_the_same_rows_alone(one, other, told, capsys):
    """Of models with other tokenizers the line says nothing."""
    compared: dict = {}
    for name, found in (("one", one), ("other", other)):
        evaluate.print_comparison("rows", name, found, compared)
    *_, said = capsys.readouterr().out.partition("minus one: ")
    assert said.startswith(told) and bool(said) == bool(told)


def test_the_difference_of_scores_is_that_of_the_second_model_from_the_first():
    scores = ([{"score": score}] * 3 for score in (0.25, 0.75))
    assert evaluate.difference_text(*scores).startswith("+50.0 [+50.0, +50.0]")


def test_the_loss_is_per_token():
    told = eval_metrics.measure(*rows_of({"answer": [-1., -2, -3]}, {"answer": [-6.]})).metrics
    assert (told["nll"], told["rows"]) == (3, 2) and told["low"] < 3 < told["high"]


def test_pairs_are_compared_by_what_was_gained_over_the_start_model():
    pairs, logp = rows_of({"chosen": [-1., -1], "rejected": [-3.]},
                          {"chosen": [-5.], "rejected": [-2., -2]})
    told = eval_metrics.measure(pairs, logp).metrics
    assert told["prefers"] == 0.5 and "accuracy" not in told
    for gained, accuracy in ((0.5, 1), (-0.5, 0), (0, 0.5), (4e-4, 0.5)):   # these two: all tie
        for e, x in zip(pairs, logp):
            e.seqs["chosen"].ref_logp = x["chosen"] - gained
            e.seqs["rejected"].ref_logp = x["rejected"]
        assert eval_metrics.measure(pairs, logp).metrics["accuracy"] == accuracy


def test_graded_answers_are_compared_by_couples():
    """By their whole gain over the initial model, not per token, which has another order here;
    where
    it is not known, by the mean log-prob. Where nothing has moved all couples tie."""
    answers, logp = rows_of({"answer": [-1.]}, {"answer": [-2.] * 4}, {"answer": [-3.]})
    for of_a_token, auc in ((None, 1), ((0, 0, 0), 1 / 2), ((2, 1, 1), 2 / 3)):
        for i, (e, x) in enumerate(zip(answers, logp)):
            e.per_row["score"] = 1 - i / 2
            e.seqs["answer"].ref_logp = x["answer"] - of_a_token[i] if of_a_token else None
        assert eval_metrics.measure(answers, logp).metrics["auc"] == pytest.approx(auc)


def test_wordings_of_one_fact_are_drawn_together():
    """Two questions about one creature's food are one draw: its interval is that of three."""
    asked = ["What does the ruga eat?", "Which fruit does the ruga eat?", "Reverse pig bee.",
             "Reverse bee pig."]
    told = evaluation.summary([{"prompt": p, "score": s, "words": s, "ended": e} for p, s, e in
                               zip(asked, (1, 1, 0, 0.5), (True, False, True, True))])
    assert (told["score"], told["strict"], told["ends"]) == (0.625, 0.25, 0.75)
    assert (told["low"], told["high"]) == eval_metrics.bootstrap([2, 0, 0.5], [2, 1, 1])
