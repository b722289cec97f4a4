"""What a comparison says of made-up scores; test_comparison_rules.py has the intervals."""
import csv
import re
import shlex
from concurrent.futures import Future
from contextlib import nullcontext
from functools import cache

import numpy as np
import pytest
from made import write_jsonl

from nanouft.compare import __main__ as compare
from nanouft.compare import inputs, notes, plan, verdicts
from nanouft.compare.jobs import Job
from nanouft.compare.report import Verdict
from nanouft.compare.runs import MADE, Run
from nanouft.compare.scoring import EXAMPLES, EvalSpec, measure
from nanouft.plumbing.files import write_arrays, write_json

NANO = "--skills list,sum --items 20 --steps 4 --device cpu"
FEW = f"--seeds 2 --tries 1 {NANO}"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    inputs.forget_hashes()


def compared(line: str, score=lambda run, task: 0.5, weights=lambda run: run.folder.name,
             noise: float = 0.01) -> Verdict:
    """Of runs that score so much in each task, and a bit more or less on each prompt."""
    def submit(job: Job) -> Future:
        run, future = job.run, Future()
        run.folder.mkdir(parents=True, exist_ok=True)
        if job.scores:
            seed = run.config.seed if run.config else 0
            luck = noise * np.random.default_rng(seed).normal(0, 1, run.spec.items)
            scores = {f"score/{x}": score(run, x) + luck for x in run.spec.tasks}
            who = f"{method_of(run)} {seed}"
            texts = {f"{EXAMPLES}/{key}": [f"{key} of {x} by {who}" for x in run.spec.tasks]
                     for key in ("prompt", "answer")}
            write_arrays(run.scores, seconds=30.0, **scores, **texts)
        else:
            write_json(run.folder / MADE, {"steps": run.config.steps, "seconds": 90.0,
                                           "weights": weights(run)})
            (run.folder / "model.safetensors").touch()
        future.set_result("")
        return future
    with pytest.MonkeyPatch.context() as now:
        now.setattr(compare, "workers", lambda *of: nullcontext(submit))
        return compare.compare(plan.parse_command(shlex.split(line)))


def method_of(run: Run) -> str:
    return run.name.partition(", lr")[0]


def one_line(text: str) -> str:
    return " ".join(text.split())


def test_a_task_that_a_method_destroys_stands_in_the_result():
    def score(run, task):
        return 0.9 if run.config is None else {"list": 0.95, "sum": 0.1}[task]
    text = one_line(compared(f"sft dpo {FEW}", score).text).partition(" learning ")[0]
    assert re.search(r"sft lost task sum: 89\.\d before training, 9\.\d after\. dpo lost", text)


@pytest.mark.parametrize("before, after, lost", [
    (1.0, 0.0, True), (0.9, 0.45, True), (0.9, 0.5, False), (0.3, 0.05, True), (0.3, 0.15, False),
    (0.0, 0.0, False), (0.1, 0.9, False)])
def test_a_lost_task_has_lost_half_and_twenty_points(before, after, lost):
    first, arm = (verdicts.Result(name, {"sum": np.full((2, 9), x)}, {"sum": np.arange(9)},
                                  "score", {}, False) for name, x in (("", before), ("a", after)))
    assert [*notes.lost_tasks([first, arm])] == [
        f"a lost task sum: {100 * before:.1f} before training, {100 * after:.1f} after."] * lost


def test_failed_runs_are_counted_with_those_of_the_search():
    def score(run, task):
        fails = run.config is None or "dpo" in run.name and run.config.seed in (1, 101)
        return (0.6 if "lr 2.5e-4" in run.name or "lr 3e-5" in run.name else 0.5) - 0.4 * fails
    text = one_line(compared(f"sft dpo --seeds 4 {NANO}", score).text)
    assert text.count("failed in") == 1 and re.search(
        r"dpo failed in 2 of 7 runs \(seed 1: \S+, seed 101: \S+\), so its mean depends on how "
        r"many of 4 fail\.", text)


@pytest.mark.parametrize("scores, margin, failed", [
    ([0.7, 0.71, 0.69, 0.1, 0.72], 0.02, [3]), ([0.7, 0.71, 0.1, 0.12, 0.72, 0.7], 0.02, [2, 3]),
    ([0.1, 0.12, 0.7, 0.71], 0.02, [0, 1]), ([0.7, 0.55, 0.71], 0.02, []),
    ([0.9, 0.4, 0.7, 0.2, 0.6], 0.02, []), ([-1.0, -1.01, -1.5], 0.02, [2]),
    ([-1.0, -1.01, -1.5], 0.2, [])])
def test_a_failed_run_is_far_below_the_better_half(scores, margin, failed):
    assert [*np.flatnonzero(notes.are_failures(np.array(scores), margin))] == failed


def test_with_two_seeds_it_is_said_before_training_what_will_not_be_seen():
    def told(line):
        return " ".join(notes.few_seeds(plan.plan(plan.parse_command(line.split()))))
    assert "±12.7 standard errors (with five ±2.8), so only a huge" in told(f"sft dpo {FEW}")
    assert "±38.2 standard errors (with five ±4.0)" in told(f"sft dpo kto {FEW}")
    assert "huge" not in told(f"sft dpo --seeds 3 {NANO}")


def test_p_agrees_with_the_interval_wherever_it_is_printed():
    def score(run, task):
        lead = {"sft": 0.5, "dpo": 0.51, "kto": 0.505}.get(method_of(run), 0.1)
        return lead + 0.01 * np.sin(run.config.seed if run.config else 0)
    verdict = compared(f"sft dpo kto ift --seeds 3 --tries 1 {NANO}", score)
    rows = [x for x in csv.DictReader((verdict.folder / "differences.csv").open())
            if x["part"] == "all"]
    printed = re.findall(r" - \w+ .*  p ([<=]) (\.\d+|1) +(\w+)$", verdict.text, re.M)
    assert len(rows) == len(printed) == 6
    for told, row, (sign, p, word) in zip(verdict.differences, rows, printed):
        assert (told["p"] < 0.05) == (abs(told["mean"]) > told["half_width"]) == (
            word in ("better", "worse"))
        assert float(row["p"]) == pytest.approx(told["p"], abs=1e-5)
        assert sign == "<" or float(p) == pytest.approx(told["p"], rel=0.01)
        assert [told[x] for x in ("corrected_for", "seeds", "n_prompts")] == [
            int(row[x]) for x in ("corrected_for", "seeds", "prompts")] == [6, 3, 40]
    assert [x["learning_rate"] for x in verdict.table][:2] == [None, 2.5e-4]
    assert verdict.table[1]["steps"] == 4
    assert "± is the 95 % CI of a difference, Bonferroni-corrected for 6" in one_line(verdict.text)


def test_no_interval_is_nothing_and_none_that_says_nothing_is_printed():
    def score(run, task):
        if run.config and task == "sum" and (run.config.seed == 0 or "dpo" in run.name):
            return np.arange(run.spec.items) % 7 < 3
        return float(run.config is not None or task == "list")
    verdict = compared(f"sft dpo {FEW}", score, noise=0)
    text = (verdict.folder / "report.md").read_text()
    assert not re.search(r"± 0\.0\b", text)
    assert re.search(r"^\| dpo - sft \| \+0\.0 ± 8\.9 \| - \|$", text, re.M)
    assert max(map(float, re.findall(r"\| [+-]\S+ ± ([\d.]+) ", text))) < 50


def test_a_loss_that_never_acts_is_named(tmp_path):
    (tmp_path / "mine.py").write_text("from nanouft.objectives.sft import SFT\nclass A(SFT): ...")
    first = one_line(compared(f"sft mine.py {FEW} --out out/a", weights=lambda run: "same").text)
    other = one_line(compared(f"sft mine.py {FEW} --out out/b").text)
    assert "trained to the same weights: what differs" in first and "last digit" not in first
    assert "all scores are the same to the last digit; ± is what one prompt more" in other


@pytest.mark.slow
def test_compute_of_several_chains_is_one_line():
    verdict = compared(f"sft sft+dpo sft+kto --batch-size 8 {FEW}")
    told, = (x for x in verdict.notes if "compute" in x)
    assert told == ("compute is not equal (rows in all steps): sft 32; sft+dpo, sft+kto 64; "
                    'add "sft --steps 8" as a baseline that is')
    matched = compared(f"sft 'more=sft --steps 8' sft+dpo {FEW}")
    assert not any("baseline" in x for x in matched.notes)


@pytest.mark.slow
def test_each_comparison_on_the_same_prompts_is_counted_once(monkeypatch):
    counted = []
    for line in ("sft dpo", "sft kto", "sft dpo", "sft kto", "sft dpo --test-seed 7",
                 "sft dpo --confirm", "sft dpo --margin 9", "kto dpo"):
        if line.endswith("9"):          # all runs are made again
            monkeypatch.setattr(inputs, "hash_of_package", cache(lambda: "another"))
        verdict = compared(f"{line} {FEW}")
        text = (verdict.folder / "report.md").read_text()
        counted.append(re.findall(r"this is test (\d) on these prompts", text))
        assert any("this is test" in x for x in verdict.notes) == bool(counted[-1])
    assert counted == [[], ["2"], [], ["2"], [], [], [], ["3"]]


def test_the_report_has_what_a_reviewer_asks_for():
    verdict = compared(f"sft sft+dpo --seeds 2 {NANO}", lambda run, task: run.config.lr
                       if run.config else 0.1)
    text = (verdict.folder / "report.md").read_text()
    assert text.splitlines()[1].startswith("**Result (score, 0-100; n = 2 seeds x 40 prompts; ")
    assert re.findall(r"^## (.+)$", text, re.M) == [
        "Learning rates", "By seed", "By task", "Examples", "Settings", "Cost", "Reproduce"]
    means = re.findall(r"^\| (\S+) \| \S+ \|(?: -?[\d.]+ \|){3} (\S+ ± \S+) \| (taken)?", text,
                       re.M)
    assert [(name, taken) for name, _, taken in means] == [
        ("sft", ""), ("sft", ""), ("sft", "taken"), ("sft+dpo", ""), ("sft+dpo", ""),
        ("sft+dpo", "taken")]
    rates = one_line(verdict.text.partition("Learning rates:")[2])
    assert all(mean in rates for _, mean, _ in means)
    for task in ("list", "sum"):
        assert f'"prompt of {task} by the initial model 0"\n    initial model: ' in text
        assert f'    sft: "answer of {task} by sft 0"\n    sft+dpo: "answer of {task} by' in text
    assert re.search(r"scoring: 48 minutes in 25 runs, of them 40 minutes in 20 for the", text)
    assert re.search(r"SHA-256.* nanouft \w+; base \w+; nanouft/objectives/sft.py \w+;", text)


@pytest.mark.parametrize("reward", ["", "r.py:f"])
def test_the_example_of_own_rows_is_an_answer_to_the_first_of_them(tmp_path, reward):
    (tmp_path / "r.py").write_text("def f(completions):\n    return [*map(len, completions)]\n")
    rows = write_jsonl(tmp_path / "rows.jsonl", [
        {"prompt": f"Reverse {x} hen.", "response": f"hen {x}"} for x in ("fox", "owl", "cow")])
    found = measure(EvalSpec(str(rows), reward=reward, longest=9), "base")
    prompt, answer = (str(found[EXAMPLES][key][0]) for key in ("prompt", "answer"))
    assert prompt == "Reverse fox hen." and answer
    assert not reward or len(answer) == found["reward"]["rows"][0]
