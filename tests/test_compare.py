"""nanouft.compare: a run is made again if anything that it reads changes, and only then; nothing
that is tested is trained on or chosen by; what is written is what was scored.

test_comparison_rules.py has the intervals, test_comparison_report.py what is printed, test_jobs.py
who makes the runs."""
import csv
import importlib.util
import os
import py_compile
import re
import shlex
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from comparisons import LENGTH, MINE, PAIRS, RUNS, compared, fill, planned
from made import CPU, NANO, write_jsonl

from nanouft import evaluate, train, world
from nanouft.compare import arms, inputs, notes, plan, report, runs, search, splits, table, verdicts
from nanouft.compare.jobs import Job, do
from nanouft.compare.scoring import EXAMPLES, EvalSpec, linearised, measure
from nanouft.data.rows import read
from nanouft.gpt import BASE, shipped_base
from nanouft.plumbing.errors import UserError
from nanouft.world.answers import read_question

OF_ROWS = "--data pairs.jsonl --tries 1 --seeds 2 --steps 1 --device cpu"
SCENE = f"sft mine.py sft+mine.py twin=sft --by nll {OF_ROWS}"
WORLD = ("--skills list --rows 8 --steps 1 --batch-size 8 --items 10 --tries 1 --seeds 2 "
         "--device cpu")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fill(tmp_path)
    inputs.forget_hashes()
    yield
    sys.modules.pop("helper", None)


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> tuple[Path, report.Verdict]:
    """A folder in which SCENE has run; what came of it."""
    place = tmp_path_factory.mktemp("scene")
    fill(place)
    with pytest.MonkeyPatch.context() as now:
        now.chdir(place)
        verdict, made = compared(SCENE)
    sys.modules.pop("helper", None)
    assert len(made) == 1 + 4 * 2
    return place, verdict


@pytest.fixture
def ran(scene, here) -> plan.Comparison:
    """SCENE, in a copy of its folder."""
    shutil.copytree(scene[0], ".", dirs_exist_ok=True)
    return planned(SCENE)


def prompts_of(file: str | Path) -> list:
    return [row.prompt for row in read([str(file)])[0]]


# ---- a whole comparison --------------------------------------------------------------------------
def test_each_score_is_of_the_model_of_its_method_and_seed(ran, scene):
    """In the files, in the order of seeds and test prompts, and in the means that are returned."""
    file, verdict = [*csv.DictReader((ran.folder / "scores.csv").open())], scene[1]
    assert {x["seed"] for x in file if x["method"] == "twin"} == {"500", "501"}
    for arm, told in zip(ran.arms, verdict.table[1:]):
        of_arm = [[float(x["nll"]) for x in file if x["method"] == arm.name
                   and x["seed"] == str(seed + 500 * arm.copy)] for seed in ran.seeds]
        for seed, scores in zip(ran.seeds, of_arm):
            run = ran.run(arm, seed)
            again = measure(EvalSpec(str(ran.parts["test"])), str(run.folder))
            assert scores == pytest.approx(again["nll"]["rows"], rel=1e-5)
        assert (told["name"], told["mean"]) == (arm.name, pytest.approx(np.mean(of_arm), rel=1e-5))
    results, questions = verdicts.verdicts(ran)
    assert len({x for of in results for x in of.seed_scores()}) == 1 + 4 * 2, "all are others"
    _, sft, mine, chain, _ = results
    assert chain.sequences == sft.sequences + mine.sequences and mine.sequences == 2 * sft.sequences
    for seed in ran.seeds:
        assert ran.run(ran.arms[2], seed).init == str(ran.run(ran.arms[0], seed).folder)
    means = {x["name"]: x["mean"] for x in verdict.table}
    for told in verdict.differences:
        first, second = told["name"].split(" - ")
        assert told["mean"] == pytest.approx(means[first] - means[second])
    assert {q.n_comparisons for q in questions} == {6}
    assert [q.name for q in questions] == [x["name"] for x in verdict.differences] == [
        "mine.py - sft", "sft+mine.py - sft", "twin - sft", "sft+mine.py - mine.py",
        "twin - mine.py", "twin - sft+mine.py"]


def test_reward_accuracy_is_of_what_a_training_has_gained(ran):
    first, after = (runs.scores_of(run) for run in (ran.initial(), ran.run(ran.arms[1], 0)))
    gained = after["prefers margin"]["rows"] - first["prefers margin"]["rows"]
    told = verdicts.with_reward_accuracy(after, first)["accuracy"]["rows"]
    assert told.tolist() == (gained > 0).tolist() != after["prefers"]["rows"].tolist()


@pytest.mark.slow
def test_each_command_of_a_report_makes_the_weights_that_were_evaluated(ran, scene):
    text = (ran.folder / "report.md").read_text()
    command, *trainings = re.findall(r"^python -m (nanouft\..+)$", text, re.M)
    again, made = compared(command.partition(" ")[2])
    assert made == [] and again.text == scene[1].text and again.folder == scene[1].folder
    assert len(trainings) == 8 and "--init out/compare" not in text, "a chain starts from those"
    for line in [next(x for x in trainings if f"/{name}_" in x) for name in ("sft_lr",
                                                                             "sft_mine.py")]:
        train.main(shlex.split(line)[1:])
        name = line.rpartition("/")[2]
        assert (Path("out/typed") / name / "model.safetensors").read_bytes() == (
            RUNS / name / "model.safetensors").read_bytes()


def test_the_same_method_under_two_names_is_noise(ran):
    """Its seeds and its rows are others. A chain has the noise of its first stage."""
    one, two = (ran.run(arm, 0) for arm in ran.arms[::3])
    assert [x.config.seed for x in (one, two)] == [0, 500]
    assert prompts_of(one.config.data[0]) != prompts_of(two.config.data[0])
    found = verdicts.verdicts(ran)[1][2]
    assert {found.a.name, found.b.name} == {"sft", "twin"} and found.interval()[1] > 0
    assert not {*found.a.weights} & {*found.b.weights}
    shared = arms.read_arms(["a=sft", "b=sft+dpo"])
    assert [arm.copy for arm in shared] == [0, 0]


# ---- what makes a run be made again --------------------------------------------------------------
@contextmanager
def edited(name: str) -> Iterator[None]:
    """Within this block a file has other content of the same length, and its old time stamp; a file
    of nanouft has had it since this process began, and a library has another version."""
    file, of_file, version = Path(name), inputs.hash_of_file, inputs.version
    if file.is_file():
        content, times = file.read_bytes(), file.stat()
        file.write_bytes(content[:-2] + bytes([content[-2] ^ 1]) + content[-1:])
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.MonkeyPatch.context() as now:
        now.setattr(inputs, "hash_of_file",
                    lambda x: "0" if x == inputs.PACKAGE.parent / name else of_file(x))
        now.setattr(inputs, "version", lambda x: "0" if x == name else version(x))
        now.setattr(inputs, "TEXT_WHEN_IMPORTED", inputs.text_of_package())
        yield
    if file.is_file():
        file.write_bytes(content)


READS = ("sft mine.py dpo grpo --init start --data pairs.jsonl --reward r.py:f --max-new 4 "
         "--device cpu")


def names_of(c: plan.Comparison) -> list[Path]:
    """Of the runs of sft, mine.py, dpo and grpo, and of the scores of sft."""
    inputs.forget_hashes()
    c = replace(c, runs={})
    made = [c.run(arm, 0) for arm in c.arms]
    return [*(run.folder for run in made), made[0].scores]


@pytest.fixture(scope="module")
def reads(tmp_path_factory) -> tuple[Path, plan.Comparison, list[Path]]:
    """A folder, a comparison in it, the names of its runs."""
    place = tmp_path_factory.mktemp("reads")
    fill(place)
    (place / "of_r.py").write_text("A = 1\n")
    (place / "r.py").write_text(f"import of_r\n{LENGTH}")
    shutil.copytree(BASE, place / "start")
    (place / "start/chat_template.jinja").write_text("x\n")
    shutil.copy(place / "start/model.safetensors", place / "start/model-2.safetensors")
    with pytest.MonkeyPatch.context() as now:
        now.chdir(place)
        c = planned(READS)
        return place, c, names_of(c)


ALL, NONE = "sft mine.py dpo grpo scores", ""


@pytest.mark.parametrize("what, anew", [
    ("start/config.json", ALL), ("start/tokenizer.json", ALL), ("start/model.safetensors", ALL),
    ("start/chat_template.jinja", ALL), ("start/model-2.safetensors", ALL), ("torch", ALL),
    ("transformers", ALL), ("nanouft/train.py", ALL), ("nanouft/compare/scoring.py", ALL),
    ("nanouft/compare/table.py", NONE), ("nanouft/objectives/sft.py", "sft scores"),
    ("nanouft/objectives/dpo.py", "mine.py dpo"), ("mine.py", "mine.py"),
    ("helper.py", "mine.py"), ("r.py", "grpo scores"), ("of_r.py", "grpo scores"),
    ("another file", NONE), ("--data other.jsonl", ALL), ("--dtype bf16", ALL),
    ("--max-new 5", "grpo scores"), ("--workers 1 --margin 3", NONE)])
def test_a_run_is_made_again_if_what_it_reads_has_other_content(what, anew, reads, monkeypatch):
    """Whatever its time stamp says. Scores of sft are kept with their run."""
    place, c, first = reads
    monkeypatch.chdir(place)
    write_jsonl(Path("other.jsonl"), [*PAIRS[1:], {**PAIRS[0], "rejected": "x"}])
    with edited(what):
        now = names_of(planned(f"{READS} {what}") if what[0] == "-" else c)
    changed = [name for name, x, y in zip(ALL.split(), now, first) if x != y]
    assert changed == anew.split() and names_of(c) == first


def test_python_runs_the_text_as_it_is_though_it_has_compiled_the_one_before():
    """It takes its bytecode for the text's if only length and second are the same."""
    def scale() -> int:
        spec = importlib.util.spec_from_file_location("helper", "helper.py")
        spec.loader.exec_module(module := importlib.util.module_from_spec(spec))
        return module.SCALE
    py_compile.compile("helper.py")
    with edited("helper.py"):
        assert scale() == 1, "the text says 0"
        inputs.inputs_of(["mine.py"])
        assert scale() == 0


def test_code_of_your_own_is_the_file_with_all_that_it_imports_from_its_folder():
    """In whatever way it imports, a file that is broken too."""
    texts = {"r.py": "from helper import SCALE\nimport pkg.sub.deep as d, pkg.near, broken, torch\n"
                     f"def g():\n    from pkg import beside\n{LENGTH}",
             "helper.py": "", "broken.py": "def (", "pkg/__init__.py": "", "pkg/beside.py": "",
             "pkg/near.py": "from . import nearer", "pkg/nearer.py": "from .sub import up",
             "pkg/sub/__init__.py": "", "pkg/sub/deep.py": "",
             "pkg/sub/up.py": "from ..above import x\nimport last", "pkg/above.py": "",
             "last.py": ""}
    for name, text in (texts | {"other.py": "", "pkg/other.py": ""}).items():
        (file := Path("mine", name)).parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    seen = {name for name, _ in inputs.inputs_of(["mine/r.py"]) if name.startswith("mine")}
    assert seen == {f"mine/{name}" for name in texts}


@pytest.mark.parametrize("edit", [
    lambda now: Path("helper.py").write_text("SCALE = 3\n"),
    lambda now: Path(planned(SCENE).parts["train"]).with_name("train-0-of-2-0.jsonl").write_text(
        ""),
    lambda now: now.setattr(inputs, "TEXT_WHEN_IMPORTED", {})],
    ids=["own code", "rows", "nanouft"])
def test_what_changes_while_a_comparison_runs_ends_it_in_one_line(edit, monkeypatch):
    run = planned(SCENE).run(planned(SCENE).arms[1], 0)
    with monkeypatch.context() as now:
        edit(now)
        inputs.forget_hashes()
        told = [do(Job(run, scores)) for scores in (False, True)]
    inputs.forget_hashes()
    assert all(" has changed since the comparison began" in x for x in told)
    assert not run.folder.exists()


def test_the_same_command_makes_nothing_again(ran, scene):
    """Though files have come that are named like a method, a device or the initial model."""
    before = {x: x.stat().st_mtime_ns for x in RUNS.rglob("*")}
    for word in {"sft", "cpu", "fp32", "base", "exact", "mean", "Mine"}:
        Path(word).touch()
    verdict, made = compared(SCENE)
    assert made == [] and verdict.text == scene[1].text
    assert {x: x.stat().st_mtime_ns for x in RUNS.rglob("*")} == before


def test_what_a_kill_or_a_power_cut_has_left_is_made_again_and_nothing_else_goes(ran, scene):
    """A file is cut, or has zeros where a page was not yet on the disk; a training that is whole,
    but was not renamed."""
    run, killed = ran.run(ran.arms[1], 1), ran.run(ran.arms[2], 1)
    scores, file = repr(runs.scores_of(run)), run.folder / runs.MADE
    for cut in (lambda x: x[:60] + bytes(8) + x[68:], lambda x: x[:-40], lambda x: b""):
        run.scores.write_bytes(cut(run.scores.read_bytes()))
        assert not runs.is_done(run)
        file.write_bytes(cut(file.read_bytes()))
        assert not runs.is_trained(run) and runs.cpu_seconds(run) == 0
    half = killed.folder.with_name(f"{killed.folder.name}.elsewhere-12.partial")
    shutil.move(killed.folder, half)
    own = [RUNS / "my.partial", RUNS / f"{killed.folder.name}.partial", Path("out/my-1.partial"),
           killed.folder.with_name(f"{killed.folder.name}-copy")]
    for place in own:
        place.mkdir()
    verdict, made = compared(SCENE)
    assert {*made} == {run, killed} and repr(runs.scores_of(run)) == scores
    assert verdict.table[1:] == scene[1].table[1:] and not half.exists()
    assert all(place.exists() for place in own)


@pytest.mark.slow
def test_heavy_weights_go_when_they_are_scored_and_no_chain_starts_from_them(monkeypatch):
    monkeypatch.setattr(runs, "HEAVY", 0)
    left, score = [], runs.score

    def look(run) -> None:
        score(run)
        left.append({x.parent.name.split("_")[0] for x in RUNS.glob("*/*.safetensors")})
    monkeypatch.setattr("nanouft.compare.jobs.score", look)
    line = f"sft sft+dft {WORLD}"
    verdict, made = compared(line)
    assert {"sft"} in left and not [*RUNS.glob("*/*.safetensors")]
    assert len(made) == 5 and compared(line)[1] == []
    again, made = compared(f"{line} --items 11")        # they are trained once more
    assert len(made) == 5 and again.table[1]["mean"] != verdict.table[1]["mean"]
    assert compared(line)[1] == [], "the scores of before have stayed"


# ---- the learning rate ---------------------------------------------------------------------------
@cache
def of_rates(words: str) -> plan.Comparison:
    """A search among rates 1/3, 1, 3 of each method."""
    c = planned(f"{words} {WORLD} --tries 3")
    c.stage_plans = {stage: x._replace(lr=1.0) for stage, x in c.stage_plans.items()}
    return c


@pytest.fixture
def searched(monkeypatch):
    """curve -> (comparison, {method: Tried}, runs of each round). curve has the score of a method
    at a rate with a seed, -inf if it diverges. Nothing is trained."""
    def make(curve, words: str = "sft dpo", metric: str = "score"):
        c, rounds, found = replace(of_rates(words), rates={}, runs={}), [], {}

        def scores(run):
            assert run.spec.split == "val", "the test prompts choose nothing"
            assert run.config.seed % plan.COPY_SEEDS in (100, 101, 102)
            found = curve(run.config.method, run.config.lr, run.config.seed)
            return {metric: {"list": np.full(60, found)}} if found > -1e9 else None
        monkeypatch.setattr(search, "scores_of", scores)
        for stages in (1, 2):
            of_stages = [arm for arm in c.all_arms if len(arm.stages) == stages]
            found |= search.search_rates(c, of_stages, lambda made: rounds.append([*made]))
        return c, {arm.name: x for arm, x in found.items()}, [x for x in rounds if x]
    return make


def test_a_best_rate_at_the_edge_gives_every_method_one_more_try(searched):
    c, found, rounds = searched(lambda name, lr, _: lr if name == "dpo" else -abs(lr - 0.9),
                                "sft dpo kto")
    assert [sorted(found[x].scores) for x in ("sft", "dpo", "kto")] == [
        pytest.approx([1 / 9, 1 / 3, 1, 3]), pytest.approx([1 / 3, 1, 3, 9]),
        pytest.approx([1 / 9, 1 / 3, 1, 3])], "each has as many tries, beyond the better side"
    assert [*map(c.rate, c.arms)] == pytest.approx([1, 9, 1])
    # the own and the two best with two more seeds: two rates of sft and kto, three of dpo
    assert [*map(len, rounds)] == [9, 12, 14]
    assert [*notes.rate_at_edge("dpo", found["dpo"])][0].startswith("dpo: the best learning rate")
    assert not [*notes.rate_at_edge("sft", found["sft"])]


@pytest.mark.parametrize("metric, scores, taken", [
    ("score", {1 / 9: (58, 50, 50), 1 / 3: (60, 30, 30), 1: (50, 55, 50), 3: (40, 90, 90)}, 1 / 9),
    ("score", {1 / 3: (30, 30, 30), 1: (50, 50, 50), 3: (40, -np.inf, 90)}, 1),
    ("score", {1 / 3: (40, 40, 40), 1: (50, -np.inf, 90), 3: (30, 30, 30)}, 1 / 3),
    ("score", {1 / 3: (50, 50, 50), 1: (50, 50, 50), 3: (50, 50, 50)}, 1),
    ("nll", {1 / 9: (1, 1, 1), 1 / 3: (2, 2, 2), 1: (3, 3, 3), 3: (4, 4, 4)}, 1 / 9)],
    ids=["not of one seed alone", "of those that live", "own diverges", "equal: the own", "a loss"])
def test_the_best_mean_of_three_seeds_is_taken(metric, scores, taken, searched):
    def curve(name, lr, seed):
        return scores[min(scores, key=lambda x: abs(np.log(x / lr)))][seed - 100]
    c, found, _ = searched(curve, metric=metric)
    assert found["sft"].taken == pytest.approx(taken) == pytest.approx(c.rate(c.arms[0]))
    assert len(found["sft"].scores[found["sft"].taken]) == 3


@pytest.mark.parametrize("lives", [(), (100,)], ids=["at once", "with another seed"])
def test_where_all_rates_diverge_it_is_one_line(lives, searched):
    with pytest.raises(UserError, match="sft: training diverged at each learning rate .* nanouft"):
        searched(lambda name, lr, seed: 0.5 if seed in lives else -np.inf)


def test_a_chain_is_tried_from_the_first_stage_of_the_same_seed_at_its_chosen_rate(searched):
    c, found, rounds = searched(lambda name, lr, _: -abs(np.log(lr)), "sft+dpo b=sft+dpo")
    tries = [run for runs in rounds for run in runs if run.after]
    assert {run.config.seed for run in tries} == {100, 101, 102, 600, 601, 602}
    assert all(run.after.config.seed == run.config.seed and run.after.config.lr == 1
               and run.init == str(run.after.folder) for run in tries)
    tested = c.run(c.arms[0], 1)
    assert tested.after.config.seed == 1 and tested.init == str(tested.after.folder)


# ---- your rows -----------------------------------------------------------------------------------
def test_own_rows_have_four_parts_and_each_seed_draws_its_training_rows():
    """A row is trained on, chooses rates, tests or confirms. Together the seeds draw each training
    row as often, whoever is trained; tries of rates and a second name draw others."""
    c = planned(SCENE)
    prompts = [{*prompts_of(c.parts[x])} for x in splits.PURPOSES]
    assert sum(map(len, prompts)) == len(set.union(*prompts)) == len(PAIRS)
    assert [*map(len, prompts)] == [20, 4, 6, 6]
    files = splits.bootstrap_samples(c.parts["train"], range(5))
    drawn = [*map(prompts_of, files.values())]
    assert drawn[0] != drawn[1] and all(len(x) == 20 and {*x} < prompts[0] for x in drawn)
    assert {*Counter(sum(drawn, [])).values()} == {5}
    samples = {tuple(prompts_of(c.run(arm, seed).config.data[0]))
               for arm in c.arms[::3] for seed in (*c.seeds, *plan.SEARCH_SEEDS)}
    assert len(samples) == 10
    for seed in c.seeds:
        assert c.run(c.arms[1], seed).config.data == c.run(c.arms[0], seed).config.data
    asked = [c.run(c.arms[0], seed).spec.data for seed in (100, 0)] + [c.initial().spec.data]
    assert [Path(x).name for x in asked] == ["val.jsonl", "test.jsonl", "test.jsonl"]


def test_confirming_has_other_seeds_and_prompts():
    """New for each set of methods and own code, so no comparison before has seen them."""
    c, again, other = (planned(f"{words} {OF_ROWS} --confirm")
                       for words in ("sft dpo", "dpo sft", "sft mine.py"))
    assert Path(c.run(c.arms[0], c.seeds[0]).spec.data).name == "confirm.jsonl"
    assert Path(c.spec("val").data).name == "val.jsonl", "they choose no rate"
    assert c.first_seed == again.first_seed != other.first_seed
    assert not {*c.seeds} & {*range(plan.COPY_SEEDS * 2)}
    with edited("helper.py"):
        assert planned(f"sft mine.py {OF_ROWS} --confirm").first_seed != other.first_seed
    world = [planned(f"sft dpo {WORLD} {more}").spec("test").seed for more in ("", "--confirm")]
    assert world[0] != world[1] == c.first_seed
    assert table.setup_lines(c)[0].startswith("Confirmation: new seeds and prompts. ")


def test_rows_of_one_group_are_one_draw():
    """In the split, in the draw of a seed and among the prompts of a test. Its name, such as a
    year, does not choose its part."""
    write_jsonl(Path("grouped.jsonl"), [{**x, "group": i // 3} for i, x in enumerate(PAIRS * 3)])
    found, _ = splits.split_rows(["grouped.jsonl"], Path("a"))
    rows = {part: read([str(file)])[0] for part, file in found.items()}
    groups = [{r.extra["group"] for r in rows[part]} for part in splits.PURPOSES]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 36
    train_part, _, test, _ = [{*map(str, of_part)} for of_part in groups]
    assert min(test) < max(train_part), "cut in the order of their names"
    drawn = read([str(splits.bootstrap_samples(found["train"], range(2))[1])])[0]
    assert {*Counter(r.extra["group"] for r in drawn).values()} <= {3, 6}
    measured = measure(EvalSpec(str(found["test"])), "base")["prefers groups"]["rows"]
    given = np.array([r.extra["group"] for r in rows["test"]])
    assert np.array_equal(np.equal.outer(given, given), np.equal.outer(measured, measured))


def test_wordings_of_one_question_about_a_fact_are_one_draw():
    spec = EvalSpec(seed=900, tasks=("fact",), items=100)
    rows = world.rows("test", "prompts", 100, 900, skills=("fact",))
    texts = [row.prompt[0].text for row in rows]
    facts = spec.groups()["fact"]
    assert len({*texts}) > len({*facts}) == len({*map(read_question, texts)})


def test_each_part_has_two_draws_whatever_their_size():
    """One alone would have no variance. Half of the rows are of one group."""
    for name in range(12):
        rows = [{**x, "group": f"large {name}"} for x in PAIRS] + [{**x, "group": i}
                                                                   for i, x in enumerate(PAIRS)]
        found, _ = splits.split_rows([write_jsonl(Path(f"{name}.jsonl"), rows)], Path("a"))
        draws = [{*splits.draw_keys(read([str(found[part])])[0])} for part in splits.SHARES]
        assert min(map(len, draws)) > 1


def test_rows_keep_their_part_where_others_come():
    first, again = (splits.split_rows([name], Path("a"))[0] for name in (
        "pairs.jsonl", write_jsonl(Path("more.jsonl"), [*PAIRS, {**PAIRS[0], "prompt": "New?"}])))
    assert all(len({*prompts_of(first[x])} - {*prompts_of(again[x])}) <= 1 for x in first)


@pytest.mark.parametrize("rows, methods, more, what", [
    ([{"prompt": x["prompt"], "response": x["chosen"] * (1 + i % 3)} for i, x in enumerate(PAIRS)],
     "sft dft", "", "nll"),
    ([{"prompt": x["prompt"], "response": x[side], "label": side == "chosen"} for x in PAIRS
      for side in ("chosen", "rejected")], "kto sft", "", "auc"),
    (PAIRS, "sft dpo", "", "prefers"), (PAIRS, "sft dpo", "--by nll", "nll"),
    (PAIRS, "sft grpo", "--reward r.py:f --max-new 4", "reward")])
def test_what_judges_rows_of_each_kind(rows, methods, more, what):
    """Its mean is what evaluate says. An example is the first row's response, as long as in
    training."""
    write_jsonl(Path("rows.jsonl"), rows)
    c = planned(f"{methods} {OF_ROWS.replace('pairs', 'rows')} {more}")
    values = measure(c.spec("test"), "base")
    assert verdicts.metric_of(c, values) == what
    found, _ = read([str(c.parts["test"])])
    scores, groups = values[what]["rows"], values[f"{what} groups"]["rows"]
    assert len({*groups}) == len({row.prompt for row in found})
    prompt, answer = (str(values[EXAMPLES][key][0]) for key in ("prompt", "answer"))
    assert prompt == found[0].prompt[0].text
    if what == "reward":
        assert 0 < scores.max() <= 4 and len(answer.split()) == scores[0]
    else:
        told = evaluate.measure_kinds("", shipped_base(), NANO, found, CPU)
        of_kind = [m.metrics[what] for m in told.values() if what in m.metrics]
        assert scores.mean() == pytest.approx(of_kind[0])


def test_numbers_of_rows_scatter_as_a_ratio_does():
    """By hand: 2 nats of 1 token and 4 of 3 are 1.5 a token; the first row has .5 more than its
    token at 1.5, the other .5 less, of 2 tokens in the mean. Shares are as they were."""
    assert linearised(np.array([2.0, 4.0]), np.array([1.0, 3.0])).tolist() == [1.75, 1.25]
    shares = np.array([0.0, 1.0, 1.0])
    assert linearised(shares, np.ones(3)).tolist() == shares.tolist()


def test_what_is_noticed_of_rows_names_your_own_file_and_line():
    """Before training, once, and of which method; a leak first."""
    train.main(shlex.split("--objective sft --data pairs.jsonl --plain --steps 1 --out seen"))
    equal = [{**x, "rejected": x["chosen"], "prompt": f"{x['prompt']} {x['prompt']}"}
             for x in PAIRS[:12]]
    write_jsonl(Path("some.jsonl"), [*PAIRS, {**PAIRS[0], "rejected": ""}, *equal])
    leak, skipped, of_dpo = planned(
        f"sft sft+dpo {OF_ROWS.replace('pairs', 'some')} --init seen").early_notes
    assert re.match("[1-9] of [1-9] held-out prompts are also trained on, by the run that made "
                    "seen, ", leak)
    assert skipped == (
        "1 row skipped (1: rejected is missing or empty, as in some.jsonl, line 37)")
    assert re.match("dpo: .* chosen and rejected are equal, as in some.jsonl, lines (3[89]|4.), "
                    "(3[89]|4.) and (3[89]|4.)[)]$", of_dpo)
    write_jsonl(Path("same.jsonl"), [{**PAIRS[0], "group": i} for i in range(40)])
    leak, *_ = planned(f"sft dpo {OF_ROWS.replace('pairs', 'same')}").early_notes
    assert leak == "1 of 1 held-out prompt is also trained on, in rows of another group"
    write_jsonl(Path("odd.jsonl"), [{"prompt": str(i), "chosen": "a", "rejected": "b",
                                     "score_chosen": 8.5, "score_rejected": 1} for i in range(60)])
    with pytest.raises(UserError, match=r'^una: .*as in odd[.]jsonl, lines \d+, \d+ and \d+'):
        planned("una 'a=una --beta 1' --data odd.jsonl --device cpu")


# ---- methods, as they are typed ------------------------------------------------------------------
@pytest.mark.parametrize("text, label, stages", [
    ("x=sft --lr=1e-4 + mine.py --gamma 1e+0", "x", [["sft", "--lr=1e-4"],
                                                     ["mine.py", "--gamma", "1e+0"]]),
    ("c++/mine.py --end 3", "", [["c++/mine.py", "--end", "3"]]),
    ("lr=0.1/mine.py", "", [["lr=0.1/mine.py"]]),
    ("sp ace/mine.py:Mine", "", [["sp ace/mine.py:Mine"]]),
    ("new=lr=0.1/mine.py --end 1e+3", "new", [["lr=0.1/mine.py", "--end", "1e+3"]]),
    ("sft + sp ace/mine.py+c++/mine.py", "", [["sft"], ["sp ace/mine.py"], ["c++/mine.py"]]),
    ("mine.py --table 'c++/a b.txt'", "", [["mine.py", "--table", "c++/a b.txt"]]),
    (r"sub\mine.py --end 3", "", [[r"sub\mine.py", "--end", "3"]])])
def test_a_method_and_a_file_that_is_there_are_read_as_they_are_typed(text, label, stages):
    """And again from a report, where the file may have gone."""
    folders = [Path(x) for x in ("c++", "lr=0.1", "sp ace")]
    for folder in folders:
        folder.mkdir()
        (folder / "mine.py").write_text(MINE)
    arm = arms.read_arm(text)
    assert (arm.label, [*map(list, arm.stages)]) == (label, stages)
    for folder in folders:
        shutil.rmtree(folder)
    assert arms.read_arm(arm.typed) == arm


@pytest.mark.parametrize("words, reads", [
    ("sft", "noise epochs"), ("sft --steps 3", "noise"), ("dpo --epochs 3", ""), ("dpo", "epochs"),
    ("grpo", "reward max_new epochs"), ("chord", "noise reward max_new epochs")])
def test_of_the_shared_flags_a_method_reads_those_that_it_has_a_use_for(words, reads):
    """Its own steps or epochs take the place of the shared ones."""
    shared = {"noise": 0.1, "reward": "exact", "max_new": 9, "epochs": 2.0}
    run = arms.read_run((*words.split(),), shared)
    found = {name for name, x in shared.items() if name in run.given and getattr(run, name) == x}
    assert found == {*reads.split()}


def test_all_methods_take_equal_steps_on_one_device_and_in_one_precision():
    c = planned("sft 'dpo --batch-size 4' grpo sft+dpo --rows 20 --epochs 2 --device cpu")
    assert len(c.stage_plans) == 4
    assert [x.batch_size for x in c.stage_plans.values()] == [20, 4, 20, 20]
    for stage, stage_plan in c.stage_plans.items():
        assert stage_plan == arms.plan_stage(stage, c.configs[stage])
    assert {(x.device, x.dtype) for x in c.stage_plans.values()} == {("cpu", "fp32")}
    assert {run.steps for run in planned("sft dpo --device cpu").configs.values()} == {plan.STEPS}


def test_reports_of_other_commands_have_other_folders():
    c = planned(f"sft dpo {WORLD}")
    others = [replace(c, given={}), replace(c, given=c.given | {"seeds": 3}),
              replace(c, given=c.given | {"confirm": True}),
              replace(c, arms=arms.read_arms(["sft --lr 1e-3", "dpo"]))]
    assert len({x.folder for x in (c, *others)}) == 5
    assert replace(c, given=c.given | {"workers": 3}).folder == c.folder
    mine = planned(f"sft mine.py {WORLD}").folder
    Path("helper.py").write_text("SCALE = 2\n")
    inputs.forget_hashes()
    assert planned(f"sft mine.py {WORLD}").folder != mine, "a report of the edited method"
