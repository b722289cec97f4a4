"""nanouft.compare: a run is a function of its command and of all that it reads; nothing that is
tested is trained on or chosen by; equal methods are not decided, planted leads are; what is written
is what was scored. test_comparison_jobs.py has workers, test_comparison_rules.py the intervals."""
import csv
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from concurrent.futures import Future
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from made import CPU, NANO, write_jsonl
from safetensors.torch import load_file

from nanouft import evaluate, train
from nanouft.compare import __main__ as compare
from nanouft.compare import arms, inputs, notes, plan, report, runs, search, splits, table, verdicts
from nanouft.compare.jobs import Job, do
from nanouft.compare.scoring import EvalSpec, linearised, measure
from nanouft.data.rows import read
from nanouft.gpt import BASE, shipped_base
from nanouft.plumbing.errors import UserError

ROOT = Path(__file__).parents[1]
MINE = """import torch.nn.functional as F
from nanouft.objectives.dpo import Pairs
from helper import SCALE

class Mine(Pairs):
    lr = 1e-3

    def each(self, i_w, i_l, batch):
        return -F.logsigmoid(SCALE * (i_w - i_l)) * batch.n / len(i_w)
"""
LENGTH = "def f(completions):\n    return [len(x.split()) for x in completions]\n"
PAIRS = [{"prompt": f"Say {x} {y}.", "chosen": f"{x} {y}", "rejected": f"{y}"}
         for x in "fig pig bee oak nut elm".split() for y in "ant owl fox hen cat dog".split()]
FILES = {"mine.py": MINE, "helper.py": "SCALE = 1\n", "r.py": LENGTH,
         "pairs.jsonl": "\n".join(map(json.dumps, PAIRS))}
SMALL = ("--skills list --rows 32 --steps 2 --batch-size 8 --items 10 --tries 1 --seeds 2 "
         "--workers 2 --device cpu")
OF_ROWS = "--data pairs.jsonl --tries 1 --seeds 2 --steps 1 --device cpu"
SCENE = f"sft mine.py sft+mine.py twin=sft {OF_ROWS}"
RUNS = Path("out/compare/runs")


def fill(place: Path) -> None:
    """With the files of a person."""
    for name, text in FILES.items():
        (place / name).write_text(text)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fill(tmp_path)
    inputs.forget_hashes()
    yield
    sys.modules.pop("helper", None)


def planned(line: str) -> plan.Comparison:
    """At each method's own rate."""
    c = plan.plan(plan.parse_command(shlex.split(line)))
    c.rates = {arm.unlabelled: c.own_rate(arm) for arm in c.all_arms}
    return c


def compared(line: str) -> tuple[report.Verdict, list[runs.Run]]:
    """(the verdict, runs of which something was made), in this process: several times cheaper."""
    made: dict[runs.Run, None] = {}

    def submit(job: Job) -> Future:
        made[job.run] = None
        future: Future = Future()
        future.set_result(do(job))
        return future
    with pytest.MonkeyPatch.context() as now:
        now.setattr(compare, "workers", lambda *of: nullcontext(submit))
        return compare.compare(plan.parse_command(shlex.split(line))), [*made]


def made_for(line: str) -> list[str]:
    """Names of the runs of which something was made."""
    return [run.name for run in compared(line)[1]]


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


def weights(run: runs.Run) -> bytes:
    return (run.folder / "model.safetensors").read_bytes()


def evaluated(c: plan.Comparison) -> list[runs.Run]:
    return [c.initial(), *(c.run(arm, seed) for seed in c.seeds for arm in c.all_arms)]


# ---- a run is a function of its command and of what it reads -------------------------------------
def test_the_same_command_trains_nothing_again(ran, scene):
    """Though files have come that are named like a method, a device or the initial model."""
    before = {x: x.stat().st_mtime_ns for x in RUNS.rglob("*")}
    words = {word for run in evaluated(ran) for word in (run.config.argv() if run.config else ())}
    for word in {*words, "exact", "mean", "Mine"}:
        if not Path(word).exists():
            Path(word).touch()
    assert {"sft", "cpu", "fp32", "base"} < {x.name for x in Path().iterdir()}
    verdict, made = compared(SCENE)
    assert made == [] and verdict.text == scene[1].text
    assert {x: x.stat().st_mtime_ns for x in RUNS.rglob("*")} == before


@pytest.mark.slow
def test_a_changed_helper_makes_the_runs_of_its_method_anew_and_no_other(ran):
    was, of_mine = weights(ran.run(ran.arms[1], 0)), ["mine.py", "sft+mine.py"] * 2
    Path("helper.py").write_text("SCALE = -1\n")
    sys.modules.pop("helper")
    assert [x.split(",")[0] for x in made_for(SCENE)] == of_mine
    assert weights(planned(SCENE).run(ran.arms[1], 0)) != was
    Path("helper.py").write_text("SCALE = 1\n")
    assert made_for(SCENE) == []
    with Path("mine.py").open("a") as file:
        file.write("# more")
    assert [x.split(",")[0] for x in made_for(SCENE)] == of_mine


EDITS = """
import json, os, shlex, sys
from pathlib import Path
import nanouft
from nanouft.compare import plan
from nanouft.plumbing.errors import UserError

def edit(name, old, new):
    file = Path(nanouft.__file__).with_name("x").parent / name
    then, text = file.stat(), file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    os.utime(file, ns=(then.st_atime_ns, then.st_mtime_ns))

for what in (None, *json.loads(sys.argv[1])):
    if what:
        edit(*what)
    try:
        c = plan.plan(plan.parse_command(sys.argv[2:]))
        c.rates = {arm.unlabelled: 1e-4 for arm in c.all_arms}
        print([c.run(arm, 0).folder.name for arm in c.arms])
    except UserError as e:
        print([str(e)])
"""
SIGN = ["objectives/dpo.py", "-(1 - label_smoothing) * F", "+(1 - label_smoothing) * F"]


def copy_of_package(place: Path) -> dict[str, str]:
    """The environment of a process that reads nanouft there."""
    shutil.copytree(ROOT / "nanouft", place / "nanouft",
                    ignore=shutil.ignore_patterns("__pycache__"))
    known = {name: x for name, x in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return known | {"PYTHONPATH": str(place)}


@pytest.mark.slow
def test_an_edited_method_of_nanouft_names_its_runs_anew_and_no_others(tmp_path):
    """With the old time stamp. Text that is imported already ends the comparison in one line."""
    edits = [SIGN, ["compare/table.py", "Result", "result"], ["train.py", "\n", "\n\n"]]
    found = subprocess.run(
        [sys.executable, "-c", EDITS, json.dumps(edits), "sft", "dpo", "mine.py", "sft+dpo", "dft",
         "--device", "cpu"], capture_output=True, text=True, env=copy_of_package(tmp_path))
    first, of_dpo, of_table, of_train = map(eval, found.stdout.splitlines())
    assert [x == y for x, y in zip(first, of_dpo)] == [True, False, False, False, True]
    assert of_table == of_dpo and "start Python again" in of_train[0]


@pytest.mark.slow
def test_a_sign_in_a_loss_of_nanouft_trains_its_runs_anew_and_no_others(tmp_path):
    """The file is as long and as old as before, and Python has kept its bytecode."""
    environment = copy_of_package(tmp_path)

    def call() -> dict[str, bytes]:
        words = [sys.executable, "-m", "nanouft.compare", "sft", "dpo", *SMALL.split()]
        done = subprocess.run(words, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr
        return {x.parent.name: x.read_bytes() for x in RUNS.glob("*/model.safetensors")}
    before = call()
    file = tmp_path / "nanouft" / SIGN[0]
    then, text = file.stat(), file.read_text()
    file.write_text(text.replace(*SIGN[1:]))
    os.utime(file, ns=(then.st_atime_ns, then.st_mtime_ns))
    now = call()
    new = {name: now[name] for name in now.keys() - before.keys()}
    assert len(before) == 4 and len(new) == 2 and all(name[:4] == "dpo_" for name in new)
    assert not {*new.values()} & {*before.values()}


@pytest.mark.parametrize("line, files", [
    ("from helper import SCALE", ["helper.py"]),
    ("import pkg.sub.deep as d", ["pkg/__init__.py", "pkg/sub/__init__.py", "pkg/sub/deep.py"]),
    ("from pkg import sub", ["pkg/__init__.py", "pkg/sub/__init__.py"]),
    ("def f():\n    from pkg import beside\n", ["pkg/__init__.py", "pkg/beside.py"]),
    ("import pkg.near", ["pkg/__init__.py", "pkg/near.py", "pkg/beside.py"]),
    ("import pkg.sub.up", ["pkg/__init__.py", "pkg/sub/__init__.py", "pkg/sub/up.py",
                           "pkg/beside.py", "helper.py"]),
    ("import broken, torch, none", ["broken.py"])])
def test_code_of_your_own_is_the_file_with_all_that_it_imports_from_its_folder(line, files):
    """A run is named by each of them, and an edit renames it."""
    place = Path("mine")
    (place / "pkg/sub").mkdir(parents=True)
    for name, text in {"pkg/__init__.py": "", "pkg/sub/__init__.py": "", "pkg/sub/deep.py": "",
                       "pkg/beside.py": "", "pkg/near.py": "from . import beside",
                       "pkg/sub/up.py": "from ..beside import x\nimport helper",
                       "helper.py": "", "broken.py": "def ("}.items():
        (place / name).write_text(text)
    (place / "r.py").write_text(f"{line}\n{LENGTH}")
    (place / "other.py").write_text("")
    seen = dict(inputs.inputs_of(["mine/r.py"]))
    assert {x for x in seen if x.startswith("mine")} == {f"mine/{x}" for x in ["r.py", *files]}
    for name in files:
        inputs.forget_hashes()
        assert not inputs.changed_input((*seen.items(),))
        text = (place / name).read_text()
        (place / name).write_text(f"{text}# more")
        inputs.forget_hashes()
        assert inputs.changed_input((*seen.items(),)) == f"mine/{name}"
        (place / name).write_text(text)


def test_a_helper_that_is_imported_since_the_last_comparison_is_seen():
    """In a notebook, whose process goes on."""
    line = f"sft mine.py {SMALL}"
    Path("mine.py").write_text(MINE.replace("from helper import SCALE", "SCALE = 1"))
    seen = []
    for text in (Path("mine.py").read_text(), MINE):
        Path("mine.py").write_text(text)
        c = planned(line)
        seen.append("helper.py" in dict(c.run(c.arms[1], 0).inputs))
    assert seen == [False, True]


def test_all_that_a_run_reads_is_in_its_name(monkeypatch):
    """Content only: of files with their old time stamps, too. Scores have a name of their own."""
    shutil.copytree(BASE, "start")
    Path("start/chat_template.jinja").write_text("x")
    shutil.copy("start/model.safetensors", "start/model-2.safetensors")
    Path("r.py").write_text(f"import of_r\n{LENGTH}")
    Path("of_r.py").write_text("")
    rows = "--data pairs.jsonl --reward r.py:f --max-new 4 --device cpu"

    def names(line: str = rows) -> tuple[str, ...]:
        """Runs of sft, mine.py and grpo, and scores of sft."""
        c = planned(f"sft mine.py grpo --steps 2 --init start {line}")
        of_sft, *others = (c.run(arm, 0) for arm in c.arms)
        return *(run.folder.name for run in (of_sft, *others)), of_sft.scores.name
    first, found = names(), []
    assert names() == first == names(f"{rows} --workers 1 --margin 3")
    for name in ("config.json", "tokenizer.json", "chat_template.jinja", "model.safetensors",
                 "model-2.safetensors"):
        file = Path("start", name)
        was, text = file.stat(), file.read_bytes()
        file.write_bytes(text.replace(b" ", b"\n", 1) if b" " in text else b"y" * len(text))
        os.utime(file, ns=(was.st_atime_ns, was.st_mtime_ns))
        found.append(names())
        file.write_bytes(text)
    write_jsonl(Path("other.jsonl"), [*PAIRS[1:], {**PAIRS[0], "rejected": "x"}])
    found.append(names(rows.replace("pairs", "other")))
    for library in ("torch", "transformers"):
        with monkeypatch.context() as now:
            now.setattr(inputs, "version", lambda name, library=library: name == library and "0")
            found.append(names())
    assert all(x != y for other in found for x, y in zip(other[:3], first))
    assert len({x[0] for x in found}) == len(found) == 8
    Path("of_r.py").write_text("# more")
    now = names()
    assert [x == y for x, y in zip(now, first)] == [True, True, False, False]
    assert names(f"{rows} --dtype bf16")[0] != now[0]


def test_the_questions_are_in_the_name_of_scores_and_not_of_a_training():
    one, other, rows = (c.run(c.arms[0], 0) for c in map(planned, (
        f"sft dpo {SMALL}", f"sft dpo {SMALL} --items 11", f"sft dpo {SMALL} --rows 33")))
    assert one.folder == other.folder != rows.folder and one.scores != other.scores


def test_files_of_one_content_in_two_places_are_two_methods():
    """Each imports what is beside it."""
    for place in ("a", "b"):
        Path(place).mkdir()
        shutil.copy("mine.py", place)
        Path(place, "helper.py").write_text("SCALE = 1\n")
    c = planned(f"a/mine.py b/mine.py {SMALL}")
    one, other = (c.run(arm, 0) for arm in c.arms)
    assert one.folder != other.folder
    assert [name for name, _ in other.inputs if name.endswith("helper.py")] == ["b/helper.py"]
    Path("a/helper.py").write_text("SCALE = 2\n")
    c = planned(f"a/mine.py b/mine.py {SMALL}")
    assert c.run(c.arms[0], 0).folder != one.folder and c.run(c.arms[1], 0).folder == other.folder


@pytest.mark.parametrize("edit", [
    lambda: Path("helper.py").write_text("SCALE = 3\n"),
    lambda: Path(planned(SCENE).parts["train"]).with_name("train-0-of-2-0.jsonl").write_text(""),
    lambda: pytest.MonkeyPatch().setattr(inputs, "TEXT_WHEN_IMPORTED", {})])
def test_what_changes_while_a_comparison_runs_ends_it_in_one_line(edit, monkeypatch):
    run = planned(SCENE).run(planned(SCENE).arms[1], 0)
    text = {**inputs.TEXT_WHEN_IMPORTED}
    edit()
    inputs.forget_hashes()
    told = do(Job(run, False))
    inputs.TEXT_WHEN_IMPORTED, _ = text, inputs.forget_hashes()
    assert " has changed since the comparison began" in told and not run.folder.exists()


CUTS = [lambda whole: b"", lambda whole: whole[:-40], lambda whole: bytes(len(whole)),
        lambda whole: whole[:60] + bytes(8) + whole[68:]]       # what was not on the disk yet


@pytest.mark.parametrize("cut", CUTS)
def test_what_a_power_cut_has_left_is_made_again(cut, ran, scene):
    run = ran.run(ran.arms[1], 1)
    scores, file = repr(runs.scores_of(run)), run.folder / runs.MADE
    run.scores.write_bytes(cut(run.scores.read_bytes()))
    assert not runs.is_done(run) and runs.is_trained(run)
    file.write_bytes(cut(file.read_bytes()))
    assert not runs.is_trained(run) and runs.cpu_seconds(run) == 0
    verdict, made = compared(SCENE)
    assert made == [run] and repr(runs.scores_of(run)) == scores
    assert [x["mean"] for x in verdict.table] == [x["mean"] for x in scene[1].table]


def test_a_half_made_training_is_removed_and_nothing_else(ran):
    run = ran.run(ran.arms[2], 1)
    half = run.folder.with_name(f"{run.folder.name}.elsewhere-12.partial")
    shutil.move(run.folder, half)               # all is there, but it was not renamed
    own = [RUNS / "my.partial", RUNS / f"{run.folder.name}.partial", Path("out/my-1.partial"),
           run.folder.with_name(f"{run.folder.name}-copy")]
    for place in own:
        place.mkdir()
        (place / "file").touch()
    assert compared(SCENE)[1] == [run] and not half.exists()
    assert all((place / "file").exists() for place in own)


@pytest.mark.slow
def test_heavy_weights_go_when_they_are_scored_and_no_chain_starts_from_them(monkeypatch):
    monkeypatch.setattr(runs, "HEAVY", 0)
    left = []
    score = runs.score

    def look(run) -> None:
        score(run)
        left.append({x.parent.name.split("_")[0] for x in RUNS.glob("*/*.safetensors")})
    monkeypatch.setattr("nanouft.compare.jobs.score", look)
    line = f"sft dft sft+dpo {SMALL}"
    verdict, made = compared(line)
    assert {"sft"} in left and not [*RUNS.glob("*/*.safetensors")]
    assert len(made) == 7 and made_for(line) == []
    again, made = compared(f"{line} --items 11")        # they are trained once more
    assert len(made) == 7 and again.table[1]["mean"] != verdict.table[1]["mean"]


# ---- the learning rate ---------------------------------------------------------------------------
@pytest.fixture
def of_rates(monkeypatch):
    """A search among rates 1/3, 1, 3 of each arm; `curve` has the score of a method at a rate with
    a seed, -inf if it diverges. Nothing is trained. It gives (c, {arm: Tried}, runs of each
    round)."""
    def make(curve, words: str = "sft dpo", metric: str = "score"):
        c = planned(f"{words} {SMALL} --tries 3")
        c.stage_plans = {stage: x._replace(lr=1.0) for stage, x in c.stage_plans.items()}

        def scores(run):
            assert run.spec.split == "val" and run.config.seed % plan.COPY_SEEDS in (100, 101, 102)
            found = curve(run.config.method, run.config.lr, run.config.seed)
            return {metric: {"list": np.full(60, found)}} if found > -1e9 else None
        monkeypatch.setattr(search, "scores_of", scores)
        rounds: list[list[runs.Run]] = []
        found = {}
        for stages in (1, 2):
            of_stages = [arm for arm in c.all_arms if len(arm.stages) == stages]
            found |= search.search_rates(c, of_stages, lambda made: rounds.append([*made]))
        return c, {arm.name: x for arm, x in found.items()}, [x for x in rounds if x]
    return make


def test_a_best_rate_at_the_edge_gives_every_arm_one_more_try(of_rates):
    c, found, rounds = of_rates(lambda name, lr, _: lr if name == "dpo" else -abs(lr - 0.9),
                                "sft dpo kto")
    assert [sorted(found[x].scores) for x in ("sft", "dpo", "kto")] == [
        pytest.approx([1 / 9, 1 / 3, 1, 3]), pytest.approx([1 / 3, 1, 3, 9]),
        pytest.approx([1 / 9, 1 / 3, 1, 3])], "each has as many tries, beyond the better side"
    assert [found[x].taken for x in ("sft", "dpo")] == pytest.approx([1, 9])
    assert [*map(c.rate, c.arms)] == pytest.approx([1, 9, 1])
    # the own and the two best with two more seeds: two rates of sft and kto, three of dpo
    assert [*map(len, rounds)] == [9, 12, 14]
    assert [*notes.rate_at_edge("dpo", found["dpo"])][0].startswith("dpo: the best learning rate")
    assert not [*notes.rate_at_edge("sft", found["sft"])]


def test_the_best_mean_of_three_seeds_is_taken(of_rates):
    """The own rate is the third with the first seed, and the best in the mean."""
    scores = {1 / 3: (0.6, 0.3, 0.3), 1: (0.5, 0.55, 0.5), 3: (0.4, 0.9, 0.9), 9: (0.55, 0.1, 0.1)}

    def curve(name, lr, seed):
        return scores[min(scores, key=lambda x: abs(np.log(x / lr)))][seed - 100]
    scores[1 / 9] = (0.58, 0.5, 0.5)
    c, found, _ = of_rates(curve)
    assert found["sft"].taken == pytest.approx(1 / 9) == pytest.approx(c.rate(c.arms[0]))
    assert {round(lr, 2): len(x) for lr, x in found["sft"].scores.items()} == {
        0.11: 3, 0.33: 3, 1: 3, 3: 1}, "of one seed alone no rate is taken"


@pytest.mark.parametrize("diverges, taken", [(3, 1), (1, 1 / 3)])
def test_a_rate_that_diverges_with_another_seed_gives_way_to_the_others(of_rates, diverges, taken):
    _, found, _ = of_rates(lambda name, lr, seed: -np.inf if lr >= diverges and seed != 100 else
                           -abs(np.log(lr / 2)))
    assert found["sft"].taken == pytest.approx(taken, rel=1e-3)


def test_where_all_rates_diverge_it_is_one_line(of_rates):
    with pytest.raises(UserError, match="sft: training diverged at each learning rate .* nanouft"):
        of_rates(lambda *of: -np.inf)
    with pytest.raises(UserError, match="sft: training diverged at each learning rate"):
        of_rates(lambda name, lr, seed: -np.inf if seed != 100 else 0.5)


def test_of_losses_the_least_is_the_best_and_of_equal_scores_the_own_rate(of_rates):
    c, found, _ = of_rates(lambda name, lr, _: lr, metric="nll")
    assert found["sft"].taken == pytest.approx(1 / 9)
    assert of_rates(lambda *of: 0.5)[1]["dpo"].taken == 1


def test_a_chain_is_tried_from_the_first_stage_of_the_same_seed_at_its_chosen_rate(of_rates):
    c, found, rounds = of_rates(lambda name, lr, _: -abs(np.log(lr)), "sft+dpo b=sft+dpo")
    tries = [run for runs in rounds for run in runs if run.after]
    assert {run.config.seed for run in tries} == {100, 101, 102, 600, 601, 602}
    assert all(run.after.config.seed == run.config.seed and run.after.config.lr == 1
               and run.init == str(run.after.folder) for run in tries)
    assert [*found] == ["sft", "sft", "sft+dpo", "b"] or len(found) >= 3
    tested = c.run(c.arms[0], 1)
    assert tested.after.config.seed == 1 and tested.init == str(tested.after.folder)


@pytest.mark.slow
def test_a_comparison_searches_on_validation_prompts_and_tests_what_was_taken(capsys):
    verdict, made = compared(f"sft dpo {SMALL.replace('--tries 1', '--tries 2')}")
    tries = [x for x in made if x.config and x.config.seed in plan.SEARCH_SEEDS]
    tested = [x for x in made if x not in tries]
    assert {x.spec.split for x in tries} == {"val"} != {x.spec.split for x in tested} == {"test"}
    assert {x.config.seed for x in tested if x.config} == {0, 1}
    text = (verdict.folder / "report.md").read_text()
    for run in tested:
        if run.config:
            line, = (x for x in text.split("## Learning rates")[1].split("\n")
                     if x.startswith(f"| {run.config.method} |") and "taken" in x)
            assert f"| {plan.short_lr(run.config.lr)} |" in line


# ---- your rows -----------------------------------------------------------------------------------
def prompts_of(file: str | Path) -> list:
    return [row.prompt for row in read([str(file)])[0]]


def test_own_rows_have_four_parts_and_each_seed_draws_its_training_rows(ran):
    prompts = [{*prompts_of(ran.parts[x])} for x in splits.PURPOSES]
    assert sum(map(len, prompts)) == len(set.union(*prompts)) == len(PAIRS)
    assert [*map(len, prompts)] == [20, 4, 6, 6]
    files = splits.bootstrap_samples(ran.parts["train"], range(5))
    drawn = [*map(prompts_of, files.values())]
    assert drawn[0] != drawn[1] and all(len(x) == 20 and {*x} < prompts[0] for x in drawn)
    assert {*Counter(sum(drawn, [])).values()} == {5}               # together each as often
    samples = [tuple(prompts_of(ran.run(arm, seed).config.data[0]))
               for arm in ran.arms[::3] for seed in (*ran.seeds, *plan.SEARCH_SEEDS)]
    assert len({*samples}) == len(samples) == 10, "each draws its own, tries and twins too"
    assert ran.run(ran.arms[1], 1).config.data == ran.run(ran.arms[0], 1).config.data
    specs = [ran.run(ran.arms[0], seed).spec.data for seed in (100, 0)] + [ran.initial().spec.data]
    assert [Path(x).name for x in specs] == ["val.jsonl", "test.jsonl", "test.jsonl"]


def test_confirming_has_other_seeds_and_prompts():
    c, again, other = (planned(f"{words} {OF_ROWS} --confirm")
                       for words in ("sft dpo", "dpo sft", "sft mine.py"))
    assert Path(c.run(c.arms[0], c.seeds[0]).spec.data).name == "confirm.jsonl"
    assert c.first_seed == again.first_seed != other.first_seed
    assert not {*c.seeds} & {*range(plan.COPY_SEEDS * 2)}
    Path("helper.py").write_text("SCALE = 2\n")
    assert planned(f"sft mine.py {OF_ROWS} --confirm").first_seed != other.first_seed
    world = [planned(f"sft dpo {SMALL} {more}").spec("test").seed for more in ("", "--confirm")]
    assert world[0] != world[1] == c.first_seed
    assert table.setup_lines(c)[0].startswith("Confirmation: new seeds and prompts. ")


def test_the_same_method_under_two_names_is_noise(ran):
    """Its seeds and its rows are others."""
    runs_of = [ran.run(arm, 0) for arm in ran.arms[::3]]
    assert [x.config.seed for x in runs_of] == [0, 500]
    assert [ran.run(ran.arms[0], seed).config.seed for seed in ran.seeds] == [0, 1]
    one, two = (load_file(run.folder / "model.safetensors") for run in runs_of)
    assert any(not np.array_equal(one[name], two[name]) for name in one)
    found = verdicts.verdicts(ran)[1][2]
    assert {found.a.name, found.b.name} == {"sft", "twin"} and found.interval()[1] > 0
    c = planned(f"a=sft b=sft+dpo {SMALL} --seeds 3")       # these share their first stage
    assert [arm.copy for arm in c.arms] == [0, 0] and len(c.all_arms) == 2


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
    assert len({*Counter(r.extra["group"] for r in drawn).values()} - {3, 6}) == 0
    values = measure(EvalSpec(str(found["test"])), "base")
    numbers = [r.extra["group"] for r in rows["test"]]
    assert np.array_equal(*(np.equal.outer(x, x) for x in (
        np.array(numbers), values["prefers groups"]["rows"])))


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
    (PAIRS, "sft dpo", "--by nll", "nll"),
    (PAIRS, "sft grpo", "--reward r.py:f --max-new 4", "reward")])
def test_what_judges_rows_of_each_kind(rows, methods, more, what, capsys):
    """The mean over its prompts is what evaluate says. Responses are as long as in training."""
    write_jsonl(Path("rows.jsonl"), rows)
    line = f"{methods} {OF_ROWS.replace('pairs', 'rows')} {more}"
    verdict, _ = compared(line)
    c = planned(line)
    results, (question,) = verdicts.verdicts(c)
    assert results[0].measure == what and question.margin > 0 and results[1].redrawn
    assert [x["name"] for x in verdict.table] == ["initial model", *methods.split()]
    found, _ = read([str(c.parts["test"])])
    assert len({*results[0].groups["rows"]}) == len({row.prompt for row in found})
    scores = runs.scores_of(c.initial())[what]["rows"]
    if what == "reward":
        assert 0 < scores.max() <= 4
        assert "optimises the reward of this test" in " ".join(verdict.notes)
    else:
        told = evaluate.measure_kinds("", shipped_base(), NANO, found, CPU)
        of_kind = [m.metrics[what] for m in told.values() if what in m.metrics]
        assert scores.mean() == pytest.approx(of_kind[0])
    lead = verdict.table[2]["mean"] - verdict.table[1]["mean"]
    assert verdict.differences[0]["mean"] == pytest.approx(lead)
    assert ("Less is better" in capsys.readouterr().out) == (what == "nll")


def test_numbers_of_rows_scatter_as_a_ratio_does():
    """By hand: 2 nats of 1 token and 4 of 3 are 1.5 a token; the first row has .5 more than its
    token at 1.5, the other .5 less, of 2 tokens in the mean. Shares are as they were."""
    assert linearised(np.array([2.0, 4.0]), np.array([1.0, 3.0])).tolist() == [1.75, 1.25]
    shares = np.array([0.0, 1.0, 1.0])
    assert linearised(shares, np.ones(3)).tolist() == shares.tolist()


def test_a_prompt_that_another_group_trains_on_is_told():
    write_jsonl(Path("same.jsonl"), [{**PAIRS[0], "group": i} for i in range(40)])
    leak, *_ = planned(f"sft dpo {OF_ROWS.replace('pairs', 'same')}").early_notes
    assert leak == "1 of 1 held-out prompt is also trained on, in rows of another group"


def test_what_is_noticed_of_rows_names_your_own_file_and_line(capsys):
    """Once, of which method; a leak first. Before training, and with the result."""
    train.main(shlex.split("--objective sft --data pairs.jsonl --plain --steps 1 --out seen"))
    equal = [{**x, "rejected": x["chosen"], "prompt": f"{x['prompt']} {x['prompt']}"}
             for x in PAIRS[:12]]
    write_jsonl(Path("some.jsonl"), [*PAIRS, {**PAIRS[0], "rejected": ""}, *equal])
    capsys.readouterr()
    verdict, _ = compared(f"sft sft+dpo {OF_ROWS.replace('pairs', 'some')} --init seen")
    leak, skipped, of_dpo, two_seeds, *others = verdict.notes
    assert re.match("[1-9] of [1-9] held-out prompts are also trained on, by the run that made "
                    "seen, ", leak)
    assert skipped == (
        "1 row skipped (1: rejected is missing or empty, as in some.jsonl, line 37)")
    assert re.match("dpo: .* chosen and rejected are equal, as in some.jsonl, lines (3[89]|4.), "
                    "(3[89]|4.) and (3[89]|4.)[)]$", of_dpo)
    assert not re.search("trained on|skipped|train-0", " ".join(others))
    before = " ".join(capsys.readouterr().out.partition("Result")[0].split())
    assert "with two seeds" in two_seeds
    assert [before.count(f"Note: {x}") for x in verdict.notes] == [1] * 4 + [0] * len(others)
    write_jsonl(Path("odd.jsonl"), [{"prompt": str(i), "chosen": "a", "rejected": "b",
                                     "score_chosen": 8.5, "score_rejected": 1} for i in range(60)])
    with pytest.raises(UserError, match=r'^una: .*as in odd[.]jsonl, lines \d+, \d+ and \d+'):
        planned("una 'a=una --beta 1' --data odd.jsonl --device cpu")


# ---- methods, as they are typed ------------------------------------------------------------------
def test_the_words_of_an_arm():
    arm = arms.read_arm("x=sft --lr=1e-4 + mine.py --gamma 1e+0")
    assert arm.stages == (("sft", "--lr=1e-4"), ("mine.py", "--gamma", "1e+0"))
    assert [x.name for x in arm.chain] == ["sft --lr=1e-4", "x"]
    assert arms.read_arm("sft --lr=1e-4").label == ""


@pytest.mark.parametrize("text, label, stages", [
    ("c++/mine.py --end 3", "", [["c++/mine.py", "--end", "3"]]),
    ("lr=0.1/mine.py", "", [["lr=0.1/mine.py"]]),
    ("sp ace/mine.py:Mine", "", [["sp ace/mine.py:Mine"]]),
    ("new=lr=0.1/mine.py --end 1e+3", "new", [["lr=0.1/mine.py", "--end", "1e+3"]]),
    ("sft + sp ace/mine.py+c++/mine.py", "", [["sft"], ["sp ace/mine.py"], ["c++/mine.py"]]),
    ("mine.py --table 'c++/a b.txt'", "", [["mine.py", "--table", "c++/a b.txt"]]),
    (r".\mine.py", "", [[r".\mine.py"]]),
    (r"sub\mine.py --end 3", "", [[r"sub\mine.py", "--end", "3"]])])
def test_a_file_that_is_there_is_read_as_it_is_typed(text, label, stages):
    """And again from a report, where the file may have gone."""
    for folder in ("c++", "lr=0.1", "sp ace"):
        Path(folder).mkdir()
        Path(folder, "mine.py").write_text(MINE)
    arm = arms.read_arm(text)
    assert (arm.label, [*map(list, arm.stages)]) == (label, stages)
    for folder in ("c++", "lr=0.1", "sp ace"):
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


@pytest.mark.parametrize("words, told", [
    ("", "name two methods"), ("sft", "name two methods"), ("sft dpoo", "did you mean dpo"),
    ("sft sft", "named twice"), ("sft 'dpo --seed 1'", "--seeds N outside"),
    ("sft 'dpo --bta 1'", "did you mean --beta"), ("sft 'dpo --dtype=bf16'", "--dtype outside"),
    ("sft none.py", "there is no file"), ("sft dpo --seeds 1", "--seeds 1: must be at least 2"),
    ("sft dpo --by nll", "need --data"), ("sft dpo --data few.jsonl", "at least 30 are needed"),
    ("sft dpo --data pairs.jsonl --items 50", "apply only to NanoWorld"),
    ("sft dpo --data pairs.jsonl --reward no.py:f", "there is no file"),
    ("sft dpo --data pairs.jsonl --reward wrong.py:f", "wrong.py, line 2: ZeroDivisionError"),
    ("sft '+dpo'", "must begin with a method"), ("sft dpo --out .", "empty")])
def test_a_mistake_is_one_line_before_anything_is_trained(words, told):
    write_jsonl(Path("few.jsonl"), PAIRS[:9])
    Path("wrong.py").write_text("def f(completions):\n    return 1 / 0\n")
    with pytest.raises((UserError, OSError), match=told):
        compared(words)
    assert not RUNS.exists()


def test_all_methods_take_equal_steps_on_one_device_and_in_one_precision():
    c = planned("sft 'dpo --batch-size 4' grpo sft+dpo --rows 20 --epochs 2 --device cpu")
    assert len(c.stage_plans) == 4
    assert [x.batch_size for x in c.stage_plans.values()] == [20, 4, 20, 20]
    for stage, stage_plan in c.stage_plans.items():
        assert stage_plan == arms.plan_stage(stage, c.configs[stage])
    assert {(x.device, x.dtype) for x in c.stage_plans.values()} == {("cpu", "fp32")}
    assert {run.steps for run in planned("sft dpo --device cpu").configs.values()} == {plan.STEPS}


# ---- the verdict ---------------------------------------------------------------------------------
def of_scores(a: list[np.ndarray], b: list[np.ndarray], redrawn: bool = False, of: int = 1,
              measure: str = "score") -> verdicts.Question:
    """Of two arms with these (seeds, prompts) of each task."""
    both = [verdicts.Result(name, dict(zip("0123456789", x)),
                            {str(i): np.arange(part.shape[1]) for i, part in enumerate(x)},
                            measure, {}, redrawn) for name, x in (("a", a), ("b", b))]
    return verdicts.Question(*both, of, 0.02)


def of_gaps(*gaps: np.ndarray, **how) -> verdicts.Question:
    return of_scores([*gaps], [0 * gap for gap in gaps], **how)


def test_differences_are_paired_by_seed_and_prompt():
    rng = np.random.default_rng(0)
    luck = rng.normal(0, 1, (5, 1)) + rng.normal(0, 1, (1, 90))
    a, b = (luck + lead + rng.normal(0, 0.01, (5, 90)) for lead in (0.1, 0))
    assert of_scores([a], [b]).verdict == "better" and of_scores([b], [a]).verdict == "worse"
    assert of_scores([a], [b], measure="nll").verdict == "worse"
    for other in (b[::-1], b[:, ::-1]):
        assert of_scores([a], [other], measure="reward").verdict == "undecided"


def test_a_result_has_the_scores_of_its_own_runs_seed_by_seed(ran):
    """The chain those of its own folder; all are in the order of the seeds, of the test prompts."""
    results, questions = verdicts.verdicts(ran)
    for x in results[1:]:
        for seed, found in zip(ran.seeds, x.scores["rows"]):
            run = ran.run(x.arm, seed)
            again = measure(EvalSpec(str(ran.parts["test"])), str(run.folder))
            assert np.array_equal(found, again["prefers"]["rows"])
            assert x.weights[seed] == runs.hash_of_file(run.folder / "model.safetensors")
    sft, mine, chain, twin = results[1:]
    assert [x.others["nll"] for x in results] == pytest.approx([
        np.mean([runs.scores_of(run)["nll"]["rows"] for run in of_arm])
        for of_arm in [[ran.initial()], *([ran.run(arm, seed) for seed in (0, 1)]
                                          for arm in ran.arms)]])
    assert len({x.others["nll"] for x in results}) == 5
    assert chain.sequences == sft.sequences + mine.sequences and mine.sequences == 2 * sft.sequences
    assert ran.run(ran.arms[2], 1).init == str(ran.run(ran.arms[0], 1).folder)
    names = [q.name for q in questions]
    assert names == ["mine.py - sft", "sft+mine.py - sft", "twin - sft", "sft+mine.py - mine.py",
                     "twin - mine.py", "twin - sft+mine.py"]
    assert {q.n_comparisons for q in questions} == {6}
    lone = questions[0]._replace(n_comparisons=1)
    assert lone.interval()[1] < questions[0].interval()[1]
    nanoworld = lone._replace(a=lone.a._replace(redrawn=False))
    assert nanoworld.interval()[1] <= lone.interval()[1], "rows that are drawn widen it"


def test_of_many_methods_each_is_compared_with_the_first():
    assert verdicts.compared_pairs([*"abcde"]) == [(x, "a") for x in "bcde"] or (
        verdicts.compared_pairs([*"abcde"]) == [("b", "a"), ("c", "a"), ("d", "a"), ("e", "a")])
    assert len(verdicts.compared_pairs([*"abcd"])) == 6


@pytest.mark.parametrize("seeds, tasks, luck, shares, of", [
    (5, 9, 0, False, 1), (3, 1, 0, False, 1), (3, 1, 0.1, False, 1), (5, 1, 0.4, True, 1),
    (5, 9, 0, False, 6)])
def test_equal_arms_are_seldom_called_different_and_a_planted_lead_is_seen(seeds, tasks, luck,
                                                                           shares, of):
    """luck: how far a file of rows, and each draw of it, moves an arm. Six questions share 5 %."""
    rng = np.random.default_rng(0)
    hard = rng.uniform(0.1, 0.9, (tasks, 40))

    def arm(gain: float) -> list[np.ndarray]:
        drawn = rng.normal(0, luck, (seeds, 1))
        moved = rng.normal(0, luck) + drawn - drawn.mean() + rng.normal(
            0, 0.03, (seeds, 1)) + rng.normal(0, 0.2, 40) * (luck > 0)
        found = [task + gain + moved for task in hard]
        return [(rng.random(x.shape) < x).astype(float) if shares else
                x + rng.normal(0, 0.1, x.shape) for x in found]

    def said(*gains: float) -> str:
        return of_scores(*map(arm, gains), redrawn=luck > 0, of=of).verdict
    wrong = sum(said(0, 0) in ("better", "worse") for _ in range(300))
    assert wrong <= {1: 24, 6: 8}[of]       # 15 and 2.5 are due; more come by chance once in 70
    lead = 1.5 if luck < 0.4 else 40
    assert shares or (said(lead, 0), said(0, lead)) == ("better", "worse")


@pytest.mark.parametrize("mean, half, word", [
    (0.01, 0.005, "equivalent"), (0.01, 0.02, "undecided"), (0.03, 0.02, "better"),
    (-0.03, 0.02, "worse"), (0, 0.019, "equivalent"), (0.0, 0.03, "undecided"),
    (0.015, 0.01, "better")])
def test_the_interval_that_is_printed_decides(mean, half, word):
    assert verdicts.verdict_word(mean, half, 0.02) == word


def test_questions_that_never_differ_are_not_called_equivalent_where_they_are_few():
    few, many = (of_gaps(np.zeros((3, n))) for n in (6, 200))
    assert few.interval() == (0, pytest.approx(1.96 / 8, abs=1e-3))         # Agresti and Min
    assert (few.verdict, many.verdict) == ("undecided", "equivalent")
    assert notes.caveats(few, 1) == ["all scores are the same to the last digit; ± is what one "
                                     "prompt more might change"]


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize("leads, part", [([0, 0.3, 0, 0], "1"), ([0.1, 0.3, 0.2, 0.2], "")])
def test_a_lead_is_driven_by_a_task_whichever_side_it_is_of(leads, part, side):
    rng = np.random.default_rng(1)
    asked = of_gaps(*(side * (lead + rng.normal(0, 0.2, (5, 100))) for lead in leads))
    assert (asked.verdict, asked.driven_by()[0]) == ({1: "better", -1: "worse"}[side], part)
    assert not part or abs(asked.driven_by()[1]) < 0.02         # without it nothing is left
    told = table.conclusion([asked])
    assert ("driven by task 1: without it" in told) == bool(part)
    alone = 3 * np.eye(40)[:1].repeat(5, 0)             # one prompt makes no lead
    assert of_gaps(side * alone, measure="reward").verdict == "undecided"


def test_a_floor_and_unequal_ends_are_noted():
    ends = [of_gaps(np.zeros((2, 9))).a._replace(name=x, others={"stops": y})
            for x, y in (("a", 1.0), ("b", 0.7))]
    assert [*notes.unequal_ends(ends)] == ["part of a lead may be learning to stop: responses end "
                                           "with EOS in a 100 %, b 70 %"]
    assert not [*notes.unequal_ends([ends[0]._replace(others={"stops": 0.95}), ends[0]])]
    nothing: dict = {}
    told, = notes.floor_ceiling(SimpleNamespace(parts=nothing), [ends[0], *ends])
    assert "0.0 at each prompt for a, b, a floor" in told
    rewards = [of_gaps(x, measure="reward").a for x in (np.zeros((2, 9)), np.ones((2, 9)))]
    told, = notes.floor_ceiling(SimpleNamespace(parts={"val": 1}), [rewards[0], *rewards])
    assert "floor" in told, "a reward of 1 is no ceiling"


@pytest.mark.parametrize("line, told", [
    ("sft 'big=sft --batch-size 32'", "(rows in all steps): sft 16; big 64"),
    ("sft sft+dpo", 'add "sft --steps 4" as a baseline that is')])
def test_what_is_not_equal_is_named(line, told):
    assert told in " ".join(compared(f"{line} {SMALL}")[0].notes)


# ---- what it prints and leaves -------------------------------------------------------------------
def test_the_report_repeats_the_comparison_and_its_files_have_what_was_scored(ran, scene):
    """Each command of the report makes the weights that were evaluated."""
    verdict = scene[1]
    text = (ran.folder / "report.md").read_text()
    command, *trainings = re.findall(r"^python -m (nanouft\..+)$", text, re.M)
    again, made = compared(command.partition(" ")[2])
    assert made == [] and again.text == verdict.text and again.folder == verdict.folder
    assert len(trainings) == 8
    for line in trainings[1:3]:
        train.main(shlex.split(line)[1:])
        name = line.rpartition("/")[2]
        assert (Path("out/typed") / name / "model.safetensors").read_bytes() == (
            RUNS / name / "model.safetensors").read_bytes()
    rows = [*csv.DictReader((ran.folder / "differences.csv").open())]
    means = {x["name"]: x["mean"] for x in verdict.table}
    assert len(rows) == 6 and {x["corrected_for"] for x in rows} == {"6"}
    for row, told in zip(rows, verdict.differences):
        lead = 100 * float(row["difference"])
        assert lead == pytest.approx(means[row["method"]] - means[row["minus"]], abs=1e-2)
        assert told["name"] == f"{row['method']} - {row['minus']}"
        assert (told["mean"], told["half_width"]) == pytest.approx(
            (lead, 100 * float(row["half_width"])), abs=1e-2)


def test_scores_csv_has_each_seed_and_prompt_in_its_place(ran):
    file = [*csv.DictReader((ran.folder / "scores.csv").open())]
    assert {x["seed"] for x in file if x["method"] == "twin"} == {"500", "501"}
    for arm in ran.arms:
        for seed in ran.seeds:
            scores = [float(x["prefers"]) for x in file if x["method"] == arm.name
                      and x["seed"] == str(seed + 500 * arm.copy)]
            assert scores == [*runs.scores_of(ran.run(arm, seed))["prefers"]["rows"]]
    x = of_gaps(np.arange(6.0).reshape(2, 3)).a._replace(arm=arms.Arm((("sft",),)))
    _, *lines = report.prompt_scores(SimpleNamespace(seeds=range(5, 7)), [x])
    assert [(row[1], row[3], row[5]) for row in lines] == [
        ("5", "0", "0"), ("5", "1", "1"), ("5", "2", "2"),
        ("6", "0", "3"), ("6", "1", "4"), ("6", "2", "5")]


def test_reports_of_other_commands_have_other_folders():
    lines = ["sft dpo", f"sft dpo {SMALL}", f"sft dpo {SMALL} --seeds 3", "'sft --lr 1e-3' dpo"]
    folders = [planned(f"{line} --device cpu").folder for line in lines]
    assert len({*folders}) == 4
    same = [planned(f"sft dpo --device cpu {more}").folder for more in ("", "--workers 3")]
    assert same[0] == same[1]


@pytest.mark.parametrize("gaps, told", [
    ((0.2, 0.0), "b is better than a by 20.0 ± 0.0 points. c and a are equivalent "
                 "(+0.0 ± 0.0; all scores are the same"),
    ((-0.2, -0.3), "a is better than b by 20.0 ± 0.0 points, c by 30.0 ± 0.0 points."),
    ((0.2, np.array([[1.0, -1.0]])), "b is better than a by 20.0 ± 0.0 points. Undecided, because "
                                     "the CI includes 0: c - a +0.0 ±"),
    ((np.array([[1.0, -1.0]]),), "of a difference): Undecided, because the CI includes 0: b - a")])
def test_the_first_sentences_say_which_method_is_ahead(gaps, told, monkeypatch):
    monkeypatch.setattr(verdicts.Result, "least_variance", 0.0)
    questions = []
    for name, gap in zip("bc", gaps):
        q = of_gaps(np.tile(gap, (3, 20)))
        questions.append(q._replace(a=q.a._replace(name=name), b=q.b._replace(name="a")))
    said = table.conclusion(questions)
    assert told in said and said.startswith(f"Result (score, 0-100; {questions[0].a.sample_text};")
