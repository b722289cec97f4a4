"""nanouft.compare: equal arms are not decided, planted leads are; nothing stale is judged; a
comparison that was stopped, killed or run twice has the figures of one that was not."""
import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import redirect_stdout, suppress
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from made import CPU, NANO, write_jsonl
from nanouft.compare.progress import RunsBar
from nanouft.compare.testset_reuse import PastTest, earlier_tests, record_test
from nanouft.compare.workers import missing_jobs
from safetensors.torch import load_file
from tqdm import tqdm

from nanouft import evaluate, train
from nanouft.compare import __main__ as compare
from nanouft.compare import (
    arms,
    by_task,
    cached_log_probs,
    fingerprint,
    plan,
    power,
    printed,
    progress,
    report,
    runs,
    scoring,
    splits,
    stats,
    testset_reuse,
    verdicts,
    workers,
)
from nanouft.data.batches import encode
from nanouft.data.rows import read
from nanouft.gpt import BASE, shipped_base
from nanouft.objectives import OBJECTIVES
from nanouft.plumbing import files, printing
from nanouft.plumbing.errors import UserError
from nanouft.run import folder as run_folder
from nanouft.run import reference
from nanouft.run.device import cores

ROOT = Path(__file__).parents[1]
MINE = """import torch.nn.functional as F
from nanouft.objectives.dpo import Pairs
from helper import SCALE

class Mine(Pairs):
    lr = 1e-3

    def each(self, i_w, i_l, batch):
        return -F.logsigmoid(SCALE * (i_w - i_l)) * batch.n / len(i_w)
"""
SLOW = """
import os, time
from pathlib import Path
from types import ModuleType
from nanouft.objectives.sft import SFT

class Slow(SFT):
    def loss(self, batch):
        Path(os.environ.get("PIDS", "."), str(os.getpid())).touch()
        time.sleep(float(os.environ.get("SECONDS", 0)))
        return super().loss(batch)
"""
CHEAT = """
import os
import threading
import time
from nanouft.objectives.sft import SFT
from nanouft.run import evaluation

class Cheat(SFT):
    def loss(self, batch):
        os.write(1, b"raw"), os.write(2, b"raw")
        threading.Thread(target=time.sleep, args=(1e5,)).start()
        evaluation.score_tasks = lambda *more: 1 / 0
        return super().loss(batch)
"""
OWN = """
from typing import Literal
from nanouft.objectives.sft import SFT

class Own(SFT):
    how: Literal["all", "some"] = "all"
    table: str = "a.txt"
    tables: list[str] | None = None
"""
SEEN = """
import os
from nanouft.objectives.sft import SFT

class Seen(SFT):
    def loss(self, batch):
        with open(f"seen-{os.getpid()}", "w") as file:
            file.write(os.environ.get("CUDA_VISIBLE_DEVICES", ""))
        pass
        return super().loss(batch)
"""
LENGTH = "def f(completions):\n    return [len(x.split()) for x in completions]\n"
PAIRS = [{"prompt": f"Say {x} {y}.", "chosen": f"{x} {y}", "rejected": f"{y}"}
         for x in "fig pig bee oak nut elm".split() for y in "ant owl fox hen cat dog".split()]
SMALL = ("--skills list --rows 32 --steps 2 --batch-size 8 --items 10 --tries 1 --seeds 2 "
         "--workers 2 --device cpu")
SCENE = ("sft mine.py sft+mine.py twin=sft --data pairs.jsonl --tries 1 --seeds 2 --steps 1 "
         "--device cpu")
RUNS = Path("out/compare/runs")
FILES = {"mine.py": MINE, "helper.py": "SCALE = 1\n", "slow.py": SLOW,
         "cheat.py": CHEAT, "pairs.jsonl": "\n".join(map(json.dumps, PAIRS)), "r.py": LENGTH}


def fill(place: Path) -> None:
    """With the files of a person."""
    for name, text in FILES.items():
        (place / name).write_text(text)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fill(tmp_path)
    yield
    sys.modules.pop("helper", None)


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> tuple[Path, str]:
    """A folder in which SCENE has run; what it said."""
    place, said = tmp_path_factory.mktemp("scene"), io.StringIO()
    fill(place)
    with pytest.MonkeyPatch.context() as now, redirect_stdout(said):
        now.chdir(place)
        assert call(SCENE) == 0
    sys.modules.pop("helper", None)
    return place, said.getvalue()


@pytest.fixture
def ran(scene, here) -> plan.Comparison:
    """SCENE, in a copy of its folder."""
    shutil.copytree(scene[0], ".", dirs_exist_ok=True)
    return planned(SCENE)


def call(line: str) -> int:
    return compare.main(shlex.split(line))


def trained() -> dict[str, int]:
    return {x.name: (x / runs.MADE).stat().st_mtime_ns for x in RUNS.iterdir()
            if (x / runs.MADE).exists()}


def planned(line: str) -> plan.Comparison:
    """At each method's own rate."""
    c = plan.plan(plan.parse_command(shlex.split(line)))
    c.lrs = {arm._replace(label=""): c.stage_plans[arm.stages[-1]].lr for arm in c.all_arms}
    return c


def make_here(jobs, pool, bar, keep=()) -> None:
    """run_jobs for tests that are not about processes: several times cheaper."""
    for part in (part for job in missing_jobs(jobs) for part in runs.parts_of(job)):
        runs.run_part(part, fingerprint.hash_package())


@pytest.fixture
def in_process(monkeypatch):
    monkeypatch.setattr(compare, "run_jobs", make_here)


# ---- nothing stale -------------------------------------------------------------------------------
def test_what_is_there_is_not_trained_again_and_what_has_changed_is(ran):
    """A changed file makes its own runs anew, a helper that it imports too, and no other: not one
    that has the name of a method, a device or any other word."""
    before, plan = trained(), str(ran.folder / "plan.ini")
    words = {x for job in compare.evaluated_jobs(ran) for x in (
        job.config.argv() if job.config else ()) if not Path(x).exists()}
    assert {"sft", "cpu", "fp32", "base"} < words
    for word in {*words, "exact", "mean", "Mine"}:
        Path(word).touch()
    weights = ran.job(ran.arms[1], 0).folder / "model.safetensors"
    was = weights.read_bytes()
    assert call(plan) == 0 and trained() == before
    Path("helper.py").write_text("SCALE = -1\n")
    assert call(plan) == 0 and weights.read_bytes() != was
    now = trained()
    assert [x for x in now if now[x] != before[x]] == [x for x in now if "mine.py" in x]
    Path("mine.py").write_text(f"{MINE}# more")
    anew = missing_jobs(compare.evaluated_jobs(planned(SCENE)))
    assert len(anew) == 4 and all("mine.py" in x.name for x in anew)


def test_a_helper_has_the_name_by_which_it_was_imported(monkeypatch):
    """A link that leads elsewhere is another helper, and a folder may be called as one likes."""
    place = Path("my-packages")
    place.mkdir()
    shutil.move("helper.py", place / "real.py")
    (place / "helper.py").symlink_to("real.py")
    monkeypatch.setitem(sys.modules, "helper", ModuleType("helper"))
    sys.modules["helper"].__file__ = str(place / "helper.py")
    assert "my-packages/helper.py" in fingerprint.own_code_files()


@pytest.mark.slow
def test_tries_of_older_code_choose_no_rate(in_process, monkeypatch):
    def edit_before_the_seeds(jobs, pool, bar, keep=None):
        if keep is None:
            Path("helper.py").write_text("SCALE = 2\n")
            sys.modules.pop("helper", None)
        make_here(jobs, pool, bar)
    monkeypatch.setattr(compare, "run_jobs", edit_before_the_seeds)
    monkeypatch.setattr(compare, "best_is_at_edge", lambda *more: False)        # no more rates
    monkeypatch.setattr(compare, "search_finalists", lambda *more: [])          # nor seeds
    with pytest.raises(UserError, match="mine.*, seed 100: its input changed"):
        compare.train_all(planned(f"sft mine.py {SMALL.replace('--tries 1', '--tries 2')}"))


def test_a_run_is_stale_with_the_files_that_it_imported_and_the_model_that_it_starts_from(ran):
    """nanouft's own files, too. A chain starts from the model of its seed."""
    sft, mine, chain, _ = (ran.job(arm, 0) for arm in ran.arms)
    assert chain.init == str(sft.folder) != ran.job(ran.arms[2], 1).init and len(ran.all_arms) == 4
    name, (few, more) = "nanouft:objectives/dpo.py", (runs.made_record(x.folder)["files"]
                                                      for x in (sft, mine))
    assert name in {*more} - {*few} and {"nanouft:loop.py", "nanouft:gpt.py"} <= few.keys()
    for job, word, stale in ((mine, f'"{name}": "', [mine]), (mine, '"left": "', [mine]),
                             (sft, '"left": "', [sft, chain])):
        file = job.folder / runs.MADE
        record = file.read_text()
        assert missing_jobs(compare.evaluated_jobs(ran)) == []
        file.write_text(record.replace(word, word + "0"))           # as if it were another now
        assert missing_jobs(compare.evaluated_jobs(ran)) == stale
        file.write_text(record)


CHANGES = """
import os, time
from pathlib import Path
from nanouft.compare import fingerprint
from nanouft.plumbing.errors import UserError

def is_believed():
    try:
        return bool(fingerprint.hash_own_code({}))
    except UserError as e:
        assert "helper.py: changed while it ran" in str(e)
        return False

helper, then = Path("helper.py"), time.time() + 86400
os.utime(helper, (then, then))                          # from tomorrow
fingerprint.watch_code()
import helper as imported
found = [is_believed()]
helper.chmod(0o600)                                     # its ctime is new
Path("another").hardlink_to(helper)
os.utime(helper)
found.append(is_believed())
helper.write_text("SCALE = 2\\n")
os.utime(helper, (then, then))
found.append(is_believed())
helper.write_text("SCALE = 1\\n")
found.append(is_believed())
print(found)
"""


def test_code_that_changes_while_it_runs_is_not_believed_and_the_bytes_decide():
    """Not the time stamps, of any clock."""
    done = subprocess.run([sys.executable, "-c", CHANGES], capture_output=True, text=True,
                          env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert done.stdout.strip() == "[True, True, False, True]", done.stderr


def test_code_of_nanouft_is_that_with_which_the_comparison_began(tmp_path, monkeypatch):
    file = tmp_path / "site-packages/loop.py"
    file.parent.mkdir()
    file.touch()
    package = {"nanouft:loop.py": fingerprint.hash_of_file(file)}
    monkeypatch.setattr(fingerprint, "own_code_files", lambda: {"nanouft:loop.py": file})
    (tmp_path / "another").hardlink_to(file)            # as uv does for another environment
    os.utime(file)
    assert fingerprint.hash_own_code(package) == package
    file.write_text("pass")
    with pytest.raises(UserError, match="changed while it ran"):
        fingerprint.hash_own_code(package)


def test_precision_device_start_model_and_rows_are_in_a_runs_name():
    shutil.copytree(BASE, "start")

    def name(more: str) -> str:
        c = planned(f"sft dpo {SMALL} {more}")
        assert {(x.device, x.dtype) for x in c.stage_plans.values()} == {
            ("cpu", "bf16" if "bf16" in more else "fp32")}
        return c.job(c.arms[0], 0).folder.name
    names = [name(x) for x in ("", "--dtype fp32", "--dtype bf16", "--rows 33", "--init start")]
    assert names[0] == names[1] and len({*names}) == 4
    with Path("start/tokenizer.json").open("a") as file:
        file.write(" ")
    assert name("--init start") not in names


def test_what_a_text_among_the_settings_names_is_in_a_runs_name():
    Path("own.py").write_text(OWN)
    names = []
    for file in ("sft", "all", "a.txt", "b.txt", "c.txt"):
        with Path(file).open("a") as more:
            more.write("more")
        c = planned(f"sft 'own.py --tables b.txt c.txt' {SMALL}")
        names.append(c.job(c.arms[1], 0).folder.name)
    reads = [c.configs[arm.stages[0]].reads() for arm in c.arms]
    assert reads == [[], ["own.py", "a.txt", "b.txt", "c.txt"]]
    assert names[0] == names[1] and len({*names}) == 4


def test_a_plan_looks_ahead_once_at_each_stage(monkeypatch):
    """And has the pace of the runs as they will be, with what all of them share."""
    opened, open_model = [], arms.load.open_model
    monkeypatch.setattr(arms.load, "open_model",
                        lambda *more: opened.append(more) or open_model(*more))
    c = planned("sft 'dpo --batch-size 4' grpo sft+dpo --rows 20 --epochs 2 --device cpu")
    assert len(opened) == len(c.stage_plans) == 4
    assert [x.batch_size for x in c.stage_plans.values()] == [20, 4, 20, 20]
    for stage, stage_plan in c.stage_plans.items():
        assert stage_plan == arms.plan_stage(stage, c.configs[stage])


# ---- the initial model reads rows once -----------------------------------------------------------
@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_runs_with_the_same_rows_read_them_once_and_each_is_that_of_its_command(dtype, monkeypatch):
    """Which has no file of log-probs. A loss of your own, which could change how a model reads,
    shares one with itself alone."""
    readings, logps = [], reference.logps
    monkeypatch.setattr(reference, "logps", lambda *told: readings.append(told) or logps(*told))
    c = planned("dpo ipo mine.py --data pairs.jsonl --seeds 2 --steps 1 --batch-size 8 "
                f"--device cpu --dtype {dtype}")
    jobs = [c.job(arm, seed, lr) for arm in c.arms for seed in c.seeds for lr in (1e-3, 1e-4)]
    make_here([job.training for job in jobs], 1, None)
    assert len(jobs) == 12 and len({id(data) for data, *_ in readings if data}) == 2 + 2
    for file in (RUNS / "references").glob("*.npz"):        # as if they had been dear
        with np.load(file) as kept:
            files.write_arrays(file, **dict(kept) | {"seconds": 1000, "reader": 0})
    make_here([c.job(c.arms[1], 0, 2e-3).training], 1, None)
    assert len({id(data) for data, *_ in readings if data}) == 2 + 2
    assert runs.made_record(c.job(c.arms[1], 0, 2e-3).folder)["seconds"] > 1000
    for job in jobs[::2]:
        again = Path("again", job.folder.name)
        train.main([*job.config.argv(), "--out", str(again)])
        for file in ("model.safetensors", "metrics.jsonl"):
            assert (job.folder / file).read_bytes() == (again / file).read_bytes()
        first, = run_folder.read_lines(job.folder / "metrics.jsonl")
        assert first["margin"] == first["kl"] == 0


def test_what_a_prepare_of_your_own_reads_is_not_in_the_file(monkeypatch):
    """It may have changed the rows: another order would have other rows' numbers, in silence."""
    class Turned(OBJECTIVES["dpo"]):
        def prepare(self, data, models, seed):
            data = data[::-1]
            models.add_reference(data, self)
            return data
    pairs = [{**x, "chosen": f"{x['chosen']} {'yes ' * (i % 3)}"} for i, x in enumerate(PAIRS[:6])]
    write_jsonl(Path("few.jsonl"), pairs)
    rows = Turned().choose(read(["few.jsonl"])[0])
    refs = []
    for file in (None, Path("p/x.npz")):
        data, _ = encode(rows, NANO, 512)
        models = reference.FrozenModels(shipped_base(), NANO.pad, CPU, file=file)
        prepared = models.prepare(data, Turned())
        refs.append([x.seqs[role].ref_logp for x in prepared for role in x.seqs])
    assert all(np.array_equal(one, other) for one, other in zip(*refs, strict=True))


def test_all_that_log_probs_depend_on_is_in_the_name_of_their_file(monkeypatch):
    shutil.copytree(BASE, "start")
    Path("start/chat_template.jinja").write_text("x")

    def name(**other: Any) -> Path:
        run: dict[str, Any] = dict.fromkeys(cached_log_probs.OF_RUN, "x") | {
            "hp": {"beta": 1}, "code": None, "argv": [], "config": {}}
        run["config"] = {"seed": 0, "lr": 1, "init": "start"} | other.pop("config", {})
        return cached_log_probs.CachedLogProbs(Path("x"), fingerprint.hash_package())(run | other)
    monkeypatch.delitem(sys.modules, "nanouft.objectives.slic", raising=False)
    was = name()
    monkeypatch.setitem(sys.modules, "nanouft.objectives.slic", ModuleType("slic"))
    sys.modules["nanouft.objectives.slic"].__file__ = str(ROOT / "nanouft/objectives/slic.py")
    assert name(hp={}, config={"seed": 1, "lr": 2}, argv=["--lr"]) == was
    with monkeypatch.context() as now:                  # imported in another order
        now.setattr(cached_log_probs, "hash_own_code", lambda *told: dict(
            reversed(fingerprint.hash_own_code(*told).items())))
        assert name() == was
    found = [was, *(name(**{what: "y"}) for what in (*cached_log_probs.OF_RUN, "code")),
             name(code="y", hp={}), name(code="y", config={"seed": 1})]
    for library in fingerprint.LIBRARIES:
        with monkeypatch.context() as now:
            now.setattr(cached_log_probs, "library_versions",
                        lambda: fingerprint.library_versions() | {library: "0"})
            found.append(name())
    for module, what in ((torch, "get_num_threads"), (cached_log_probs, "HOST")):
        with monkeypatch.context() as now:
            now.setattr(module, what, "other" if what == "HOST" else lambda: 99)
            found.append(name())
    monkeypatch.setitem(sys.modules, "helper", ModuleType("helper"))
    sys.modules["helper"].__file__ = "helper.py"
    found.append(name())
    Path("helper.py").write_text("SCALE = 3")
    found.append(name())
    for one in ("config.json", "tokenizer.json", "chat_template.jinja"):
        file = Path("start", one)
        before = file.stat()
        file.write_text(f"{file.read_text()[1:]} ")             # as many bytes, at the same time
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        found.append(name())
    assert len({*found}) == len(found) == 19


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
@pytest.mark.parametrize("moment", ["reading", "writing"])
def test_who_waits_for_a_worker_that_is_killed_reads_the_rows_itself(moment, monkeypatch):
    data: Any = [SimpleNamespace(seqs={"chosen": SimpleNamespace(ids=[0] * n)}) for n in (3, 5)]
    numbers = [{"chosen": np.arange(n - 1, dtype=np.float32)} for n in (3, 5)]
    told: list[Any] = []

    def hang(*more) -> Any:
        Path("there").touch()
        time.sleep(600)

    def wait() -> None:
        told.extend(reference.read_or_compute(
            Path("p/x.npz"), data, lambda: told.append("read") or numbers))
    if not (pid := os.fork()):
        monkeypatch.setattr(files, "rename", hang)
        reference.read_or_compute(Path("p/x.npz"), data,
                                  hang if moment == "reading" else lambda: numbers)
    wait_for(Path("there").exists)
    threads = [threading.Thread(target=wait) for _ in range(2)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    assert not told
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    for thread in threads:
        thread.join(30)
    assert told[0] == "read" and len(told) == 1 + 2 * 2
    assert all(np.array_equal(x["chosen"], y["chosen"]) for x, y in zip(told[1:], numbers * 2))
    workers.remove_abandoned([Path(".")])
    assert not [*Path().rglob("*.partial")]


CUTS = [lambda whole: b"", lambda whole: whole[:-40], lambda whole: whole[:40],
        lambda whole: bytes(len(whole)),
        lambda whole: whole[:60] + bytes(8) + whole[68:]]       # what was not on the disk yet


@pytest.mark.parametrize("cut", CUTS)
def test_log_probs_that_a_power_cut_has_left_are_made_again(cut):
    data: Any = [SimpleNamespace(seqs={"chosen": SimpleNamespace(ids=[0] * n)}) for n in (3, 5)]
    numbers = [{"chosen": np.arange(n - 1, dtype=np.float32)} for n in (3, 5)]
    file, readings = Path("p/x.npz"), []

    def read() -> Any:
        readings.append(1)
        return numbers
    for reading in (1, 2, 2):
        found = reference.read_or_compute(file, data, read)
        assert all(np.array_equal(x["chosen"], y["chosen"]) for x, y in zip(found, numbers))
        assert len(readings) == reading
        if reading == 1:
            file.write_bytes(cut(file.read_bytes()))


@pytest.mark.parametrize("cut", CUTS)
def test_scores_that_a_power_cut_has_left_are_made_again(cut):
    job = runs.Job(RUNS / "start", eval_spec=scoring.EvalSpec(items=2, tasks=("list",)),
                   init="base")
    make_here([job], 1, None)
    scores, whole = repr(runs.scores_of(job)), job.scored.read_bytes()
    assert runs.is_done(job)
    job.scored.write_bytes(cut(whole))
    assert not runs.is_done(job) and runs.cpu_seconds(job) == 0
    make_here([job], 1, None)
    assert runs.is_done(job) and repr(runs.scores_of(job)) == scores


@pytest.mark.parametrize("text", ["", '{"files": {"nano'])
def test_a_folder_that_a_power_cut_has_left_is_made_again(text):
    c = planned(f"sft dft {SMALL}")
    job = c.job(c.arms[0], 0).training
    job.folder.mkdir(parents=True)
    (job.folder / runs.MADE).write_text(text)
    assert missing_jobs([job]) == [job] and runs.cpu_seconds(job) == 0


def test_who_comes_second_has_the_seconds_of_who_read_for_it(monkeypatch):
    monkeypatch.setattr(cached_log_probs.CachedLogProbs, "seconds_saved", lambda self: 1000.0)
    c = planned(f"sft dft {SMALL}")
    make_here([job := c.job(c.arms[0], 0).training], 1, None)
    assert runs.cpu_seconds(job) > 1000


# ---- stopped, killed, twice ----------------------------------------------------------------------
def start(words: str, seconds: float, pids: Path) -> subprocess.Popen:
    pids.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-m", "nanouft.compare", *shlex.split(words)], stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, start_new_session=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PIDS": str(pids), "SECONDS": str(seconds)})


def wait_for(what, seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until
        time.sleep(0.1)


def lives(pid: int) -> bool:
    with suppress(OSError):
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.slow
def test_after_any_kill_the_same_command_goes_on_to_the_same_figures(tmp_path, monkeypatch):
    words = f"sft slow.py {SMALL}"
    for number, whom in ((signal.SIGINT, "parent"), (signal.SIGTERM, "parent"),
                         (signal.SIGKILL, "parent"), (signal.SIGKILL, "worker")):
        pids = tmp_path / f"{number}-{whom}"
        process = start(words, 60, pids)
        wait_for(lambda: pids.exists() and any(pids.iterdir()) or process.poll() is not None)
        workers = [int(x.name) for x in pids.iterdir()]
        os.kill(process.pid if whom == "parent" else workers[0], number)
        said, _ = process.communicate(timeout=120)
        assert process.returncode == (-number if (number, whom) == (signal.SIGKILL, "parent")
                                      else 2 if whom == "worker" else 130)
        assert whom == "parent" or "slow.py, lr" in said and "nanouft.train" in said
        assert "resource_tracker" not in said
        wait_for(lambda: not any(map(lives, workers)), 30)
    process = start(words, 0, tmp_path / "last")
    assert process.wait(300) == 0
    assert not [*Path("out").rglob("*.partial")]
    there = tmp_path / "there"
    there.mkdir()
    monkeypatch.chdir(there)
    (there / "slow.py").write_text(SLOW)
    twice = [start(words, 0, tmp_path / "twice") for _ in range(2)]         # at once in one folder
    assert [x.wait(300) for x in twice] == [0, 0]
    for file in ("scores.csv", "picture.svg", "plan.ini"):
        one, other = (x / planned(words).folder / file for x in (tmp_path, there))
        assert one.read_text() == other.read_text()
    runs_of = {x.name for x in (there / RUNS).iterdir()}
    assert runs_of == {x.name for x in (tmp_path / RUNS).iterdir()}


def test_a_method_whose_rewards_are_all_0_is_named():
    """Its learning rate was not searched either: all scored alike."""
    def result(name, scores):
        return SimpleNamespace(name=name, measure="reward", scores={"rows": scores})
    results = [result("initial model", np.zeros((3, 4))), result("sft", np.eye(3, 4)),
               result("dpo", np.zeros((3, 4)))]
    told, = printed.floor_ceiling_notes(SimpleNamespace(parts={"val": Path("x")}), results)
    assert told.startswith("reward: 0.000 at each prompt for dpo, a floor")


@pytest.mark.parametrize("measure, margin, told", [
    ("reward", 0.0, "No CI is called equivalent"), ("reward", 0.02, "within ±0.020."),
    ("nll", 0.02, "within ±0.020 nats."), ("score", 0.02, "within ±2.0 points.")])
def test_what_counts_as_equivalent_is_said(measure, margin, told):
    """Rewards of an initial model that are all alike have no spread, and so no margin."""
    assert told in printed.equivalence_text(verdicts.MEASURES[measure], margin)


def test_a_second_comparison_in_a_folder_waits_for_the_first(capsys):
    entered: list[bool] = []

    def second() -> None:
        with workers.lock_comparisons(Path("x")):
            entered.append(True)
    with workers.lock_comparisons(Path("x")):
        thread = threading.Thread(target=second)
        thread.start()
        wait_for(lambda: "in use by another comparison" in capsys.readouterr().out)
        assert not entered
        with pytest.raises(UserError, match="did you mean dpo"):        # it need not wait
            plan.parse_command(["sft", "dpoo", "--out", "x"])
    thread.join(30)
    assert entered


def test_of_two_comparisons_one_at_a_time_trains_other_models_first():
    """Whatever their --out: these models are in out/.first."""
    done = threading.Event()

    def train() -> None:
        with runs.own_turn(runs.Job(Path("x/runs/a"), trains_others=True)):
            done.set()
    thread = threading.Thread(target=train)
    with runs.own_turn(runs.Job(Path("y/runs/a"), trains_others=True)):
        thread.start()
        with runs.own_turn(runs.Job(Path("y/runs/b"))):
            assert not done.wait(0.5)
    assert done.wait(30)
    thread.join()


def test_of_runs_that_train_other_models_first_one_goes_at_a_time():
    first, second = (runs.Job(Path(x), trains_others=True) for x in "ab")
    plain, chain = runs.Job(Path("c")), runs.Job(Path("d"), needs=(first,))
    assert workers.ready_parts([first, second, plain, chain], []) == [first, plain]
    assert workers.ready_parts([second, plain], [first]) == [plain]
    assert workers.ready_parts([second, chain], [plain]) == [second, chain]


def test_a_model_is_scored_when_it_is_trained_and_starts_others_though_its_scores_are_there():
    """Its heavy weights may be gone while its scores are kept; then it is only trained."""
    first = runs.Job(Path("a"), ("--lr", "1"), eval_spec=scoring.EvalSpec(), trains_others=True)
    chain = runs.Job(Path("b"), ("--lr", "1"), needs=(first,))
    training, score = runs.parts_of(first)
    assert (training.eval_spec, score.trains_others) == (None, False)
    assert workers.ready_parts([training, score, chain], []) == [training]
    assert workers.ready_parts([score, chain], []) == [score]
    assert workers.ready_parts([chain], [training]) == []


@pytest.mark.parametrize("line, told", [
    ("raise ValueError('no' + ' x' * 50_000)", r"bad\.py.*line 7: ValueError: no x"),
    ("import os; os._exit(3)", r"bad\.py.*exit code 3"),
    ("return super().loss(batch)[0] * float('nan'), {}",
     r"bad\.py.*diverged at each learning rate"),
    ("raise RuntimeError('CUDA out of memory. Tried to allocate 2 GiB')",
     r"bad\.py.*: out of memory; fewer --workers, --lora 16 or a larger --accumulate need less")])
def test_an_arm_that_fails_ends_in_one_line_and_what_is_done_is_kept(line, told):
    Path("bad.py").write_text("from nanouft.objectives.sft import SFT\n\n\nclass Bad(SFT):\n"
                              f"    lr = 1e-4\n    def loss(self, batch):\n        {line}\n")
    with pytest.raises(UserError, match=told) as e:
        call(f"sft mine.py bad.py {SMALL.replace('--tries 1', '--tries 2')} --workers 1")
    assert "python -m nanouft.train --objective bad.py" in str(e.value)
    assert "\n" not in str(e.value) and any(x.startswith("mine.py") for x in trained())
    assert not [*Path("out").rglob("*.partial")]


def test_a_loss_reaches_neither_what_scores_it_nor_the_bar(capfd):
    """What it scores is what its weights score, to the last digit."""
    assert call(f"sft cheat.py {SMALL}") == 0
    said = "".join(capfd.readouterr())
    assert "raw" not in said and "the same to the last digit" in said


# ---- processes -----------------------------------------------------------------------------------
SCRIPT = """
import json
from pathlib import Path
from nanouft.compare import runs, scoring, workers
from nanouft.compare.progress import RunsBar

with open("imports", "a") as file:
    file.write(__name__)
if __name__ == "__main__":
    job = runs.Job(Path("runs/start"), None, scoring.EvalSpec(items=2, tasks=("list",)), "base")
    with RunsBar(1) as bar:
        workers.run_jobs([job], workers.LocalPool(1), bar)
    print(json.loads(str(runs.read_arrays(job.scored)["made"]))["files"].keys())
"""


def test_a_run_reads_nothing_of_the_script_that_calls():
    Path("script.py").write_text(SCRIPT)
    done = subprocess.run([sys.executable, "script.py"], capture_output=True, text=True,
                          env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert "nanouft:gpt.py" in done.stdout and "script.py" not in done.stdout, done.stderr
    assert Path("imports").read_text() == "__main__"


def test_a_job_on_few_cores_of_many_has_a_worker_for_each_of_its_own(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 96)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {7}, raising=False)
    assert planned(f"sft dft {SMALL.replace('--workers 2', '')}").cfg.workers == 1
    assert " 1 cores." in report.environment_text("cpu")


# ---- GPUs, the bar, heavy weights ----------------------------------------------------------------
def test_each_worker_sees_one_gpu_and_there_are_as_many_workers(monkeypatch):
    """Played: the names of GPUs go to processes that compute on the CPU."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for given, names in ((None, ["0", "1"]), ("3, MIG-5,-1", ["3", "MIG-5"])):
        with monkeypatch.context() as now:
            now.setenv("CUDA_VISIBLE_DEVICES", given) if given else now.delenv(
                "CUDA_VISIBLE_DEVICES", raising=False)
            assert workers.visible_gpus() == names
            for device, some in (("cuda", names), ("cuda:1", ()), ("cpu", ())):
                now.setattr(plan.Comparison, "device", device)
                c = planned(f"sft dpo {SMALL}".replace("--workers 2", ""))
                assert list(compare.pool_of(c).gpus) == list(some)
                assert c.cfg.workers == {"cuda": 2, "cuda:1": 1}.get(device, cores())
    Path("own.py").write_text(SEEN)
    c = planned(f"own.py sft {SMALL.replace('--seeds 2', '--seeds 3')}")
    jobs = [c.job(c.arms[0], seed)._replace(eval_spec=None) for seed in range(3)]
    pool = workers.LocalPool(3, ["3", "MIG-5"])
    with RunsBar(3) as bar:
        workers.run_jobs(jobs, pool, bar)
    seen = sorted(x.read_text() for x in Path(".").glob("seen-*"))
    assert seen in (["3", "3", "MIG-5"], ["3", "MIG-5", "MIG-5"])


@pytest.mark.slow
def test_what_workers_come_from_asks_for_no_gpu():
    """Else CUDA_VISIBLE_DEVICES of a worker would come too late."""
    code = ("import os, torch\nfor name in "
            "'is_available device_count init _lazy_init current_device set_device'.split():\n"
            "    setattr(torch.cuda, name, lambda *more, **how: os._exit(1))\n"
            f"import {', '.join(workers.PRELOADED)}")
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_the_bar_moves_by_what_runs_of_a_kind_cost(monkeypatch):
    """By hand: of two sft (8 s each) and two dpo (30 s), one of each and half of a dpo are done."""
    costs = {"sft": 8.0, "dpo": 30.0}
    monkeypatch.setattr(progress, "cpu_seconds", lambda job: costs[progress.kind_of(job)])
    sft, dpo, sft1, dpo1 = (runs.Job(Path(f"{x}{seed}"), name=f"{x}, seed {seed}")
                            for seed in range(2) for x in costs)
    with RunsBar(4) as bar:
        for share in (0.5, 0.0):                    # a run never goes back
            bar.advance({sft: share, dpo: 0.0})
            assert bar.n == pytest.approx(0.5)      # all alike, two of a later round
        bar.count_finished(sft)
        bar.count_finished(dpo)
        bar.advance({sft1: 0.0, dpo1: 0.5})
        assert bar.n == pytest.approx(4 * (38 + 15) / 76)
        bar.advance({dpo1: 0.5})                    # sft comes in a later round: 19 as the mean
        assert bar.n == pytest.approx(4 * (38 + 15) / (68 + 19))


def test_a_worker_writes_how_much_of_its_part_is_done(monkeypatch):
    for name, value in (("done", 0.0), ("training", False), ("sign", Path())):
        monkeypatch.setattr(progress.WorkerBar, name, value)
    monkeypatch.setattr(printing, "bar_class", tqdm)
    monkeypatch.setattr(progress, "POLL_SECONDS", 0)
    training = runs.Job(Path("a"), ("--lr", "1"))
    score = training._replace(eval_spec=scoring.EvalSpec())
    assert progress.share_done(training) is None
    progress.write_progress_of(training)

    def shares() -> list[float]:
        return [progress.share_done(x) for x in (training, score)]
    with printing.bar_class(total=4, unit="row", delay=0) as reading:
        reading.update(2)
        assert shares() == pytest.approx([0.8 / 4, 0.8 + 0.2 / 4])
        reading.update(2)
    with printing.bar_class(total=1, unit="row", delay=2):
        pass                                        # it was too short to be shown
    steps = iter(printing.bar_class(range(4), total=4, unit="step", delay=0, miniters=0))
    [next(steps) for _ in range(3)]
    assert shares()[0] == pytest.approx(0.8 * 3 / 4)
    with printing.bar_class(total=4, unit="row", delay=0) as sampling:
        sampling.update(4)
    assert shares()[0] == pytest.approx(0.8 * 3 / 4)


def test_the_bar_moves_while_a_run_goes_on(monkeypatch):
    Path("own.py").write_text(SEEN.replace("pass", "import time; time.sleep(0.5)"))
    job = planned(f"own.py sft {SMALL.replace('--steps 2', '--steps 12')}")
    moved = []
    monkeypatch.setattr(RunsBar, "update", lambda bar, n: moved.append(n))
    with RunsBar(1) as bar:
        workers.run_jobs([job.job(job.arms[0], 0)], workers.LocalPool(1), bar)
    assert len({round(x, 3) for x in moved if 0 < x < progress.TRAINING_SHARE}) >= 2, moved


@pytest.mark.slow
def test_heavy_weights_of_a_try_go_when_it_is_scored(monkeypatch):
    """But not of one that a chain may begin with; and before the seeds all do."""
    monkeypatch.setattr(runs, "HEAVY", 0)
    left = []

    def look(jobs, pool, bar, keep=()):
        left.append({x.parent.name.split("_")[0] for x in RUNS.glob("*/*.safetensors")})
        make_here(jobs, pool, bar)
        for job in jobs:                    # as run_jobs does where nothing needs it
            runs.delete_heavy_weights([job] if job.key not in {x.key for x in keep} else [])
    monkeypatch.setattr(compare, "run_jobs", look)
    compare.train_all(planned(f"sft dft sft+dpo {SMALL.replace('--tries 1', '--tries 2')}"))
    *tries, seeds = left
    assert {*map(frozenset, tries)} == {frozenset(), frozenset({"sft"})} and seeds == set()
    assert not [*RUNS.glob("*/*.safetensors")]


# ---- your rows -----------------------------------------------------------------------------------
def test_own_rows_have_four_parts_and_each_seed_draws_its_training_rows(ran):
    questions = [{r.prompt for r in read([str(ran.parts[x])])[0]} for x in splits.PURPOSES]
    assert sum(map(len, questions)) == len(set.union(*questions)) == len(PAIRS)
    assert [*map(len, questions)] == [20, 4, 6, 6]
    files = [splits.bootstrap_sample(ran.parts["train"], seed, range(5)) for seed in range(5)]
    drawn = [[r.prompt for r in read([str(file)])[0]] for file in files]
    assert drawn[0] != drawn[1] and all(len(x) == 20 and {*x} < questions[0] for x in drawn)
    assert {*Counter(sum(drawn, [])).values()} == {5}               # together each as often
    files = [ran.job(arm, seed).config.data
             for arm in ran.arms[::3] for seed in (*ran.seeds, *plan.SEARCH_SEEDS)]
    assert len({*map(tuple, files)}) == len(files) == 10, "each draws its own, tries and twins too"
    results, questions_asked = verdicts.verdicts(ran)
    assert results[0].measure == "prefers"
    assert [[*x.others] for x in results] == [["nll"], *[["accuracy", "nll"]] * 4]
    assert results[1].scores["rows"].shape == (2, 6) and results[1].redrawn
    luck = verdicts.luck_of(questions_asked[0].difference())
    assert questions_asked[0].interval()[1] > luck.interval(redrawn=False, comparisons=6)


@pytest.mark.parametrize("rows, arms, more, measure", [
    ([{"prompt": x["prompt"], "response": x["chosen"] * (1 + i % 3)} for i, x in enumerate(PAIRS)],
     "sft dft", "", "nll"),
    ([{"prompt": x["prompt"], "response": x[side], "label": side == "chosen"} for x in PAIRS
      for side in ("chosen", "rejected")], "kto sft", "", "auc"),
    (PAIRS, "sft grpo", "--reward r.py:f --max-new 4", "reward")])
def test_what_judges_rows_of_each_kind(rows, arms, more, measure, in_process):
    """The mean over its questions is what evaluate says. Answers are as long as in training."""
    write_jsonl(Path("rows.jsonl"), rows)
    c = planned(f"{arms} --data rows.jsonl --tries 1 --seeds 2 --steps 1 --device cpu {more}")
    compare.train_all(c)
    results, (question,) = verdicts.verdicts(c)
    assert results[0].measure == measure and question.margin > 0
    found, _ = read([str(c.parts["test"])])
    assert len({*results[0].groups["rows"]}) == len({row.prompt for row in found})
    scores = runs.scores_of(c.initial_job())[measure]["rows"]
    if measure == "reward":
        assert 0 < scores.max() <= 4
    else:
        told = evaluate.measure_kinds("", shipped_base(), NANO, found, CPU)
        of_kind, = (m.metrics for m in told.values() if measure in m.metrics)
        assert scores.mean() == pytest.approx(of_kind[measure])


def test_a_method_that_is_named_twice_draws_other_rows_the_second_time():
    one, other = (splits.bootstrap_sample(Path("pairs.jsonl"), 0, range(2), copy).read_text()
                  for copy in (0, 1))
    assert one != other


def test_rows_of_one_group_are_one_draw():
    """In the split, in the draw of a seed and among the questions that are asked. Its name, such as
    a year, does not choose its part."""
    write_jsonl(Path("grouped.jsonl"), [{**x, "group": i // 3} for i, x in enumerate(PAIRS * 3)])
    found, _ = splits.split_rows(["grouped.jsonl"], Path("a"))
    rows = {part: read([str(file)])[0] for part, file in found.items()}
    groups = [{r.extra["group"] for r in rows[part]} for part in splits.PURPOSES]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 36
    train, _, test, _ = [{*map(str, of_part)} for of_part in groups]
    assert min(test) < max(train), "cut in the order of their names"
    drawn = read([str(splits.bootstrap_sample(found["train"], 1, range(2)))])[0]
    assert len({*Counter(r.extra["group"] for r in drawn).values()} - {3, 6}) == 0
    assert scoring.EvalSpec(str(found["test"])).draws() == len(groups[2])


def test_a_test_question_that_another_group_trains_on_is_told(in_process, capsys):
    write_jsonl(Path("same.jsonl"), [{**PAIRS[0], "group": i} for i in range(40)])
    assert call("sft grpo --data same.jsonl --tries 1 --seeds 2 --steps 1 --device cpu "
                "--reward r.py:f --max-new 4") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "1 of 1 held-out prompt is also trained on, in rows of another group" in said
    assert "two of a pair, and all that are sampled" in said


def test_what_is_noticed_of_rows_is_said_before_training_and_with_the_result(in_process, capsys):
    """Once, of which method, with the place in the rows as they were given; a leak first."""
    train.main(shlex.split("--objective sft --data pairs.jsonl --plain --steps 1 --out seen"))
    equal = [{**x, "rejected": x["chosen"], "prompt": f"{x['prompt']} {x['prompt']}"}
             for x in PAIRS[:12]]
    how: dict[str, Any] = {"data": [*PAIRS, {**PAIRS[0], "rejected": ""}, *equal], "init": "seen",
                           "tries": 1, "seeds": 2, "steps": 1, "device": "cpu"}
    capsys.readouterr()
    verdict = compare.run(["sft", "sft+dpo"], **how)
    said = capsys.readouterr().out
    leak, skipped, of_dpo, *others = verdict.notes
    assert re.match("[1-9] of [1-9] held-out prompts are also trained on, by the run that made "
                    "seen, ", leak)
    assert skipped == "1 row skipped (1: rejected is missing or empty, as in data, row 36)"
    assert re.match("dpo: .* chosen and rejected are equal, as in data, row (3[7-9]|4[0-8])[)]$",
                    of_dpo)
    assert not re.search("trained on|skipped|train-0", " ".join(others))
    before = " ".join(said.split())
    assert [before.count(f"Note: {x}") for x in verdict.notes] == [1] * 3 + [0] * len(others)
    text = " ".join((verdict.folder / "report.md").read_text().split())
    assert text.startswith("# sft, sft+dpo **Result") and f"Note: {skipped}" in text
    assert "Learning rate: of a chain's last stage." in text
    verdict = compare.run(["sft", "sft+dpo"], **how, confirm=True)
    assert "# Confirmation: sft, sft+dpo\n" in (verdict.folder / "report.md").read_text()
    c = planned("sft dpo --confirm --device cpu")
    assert printed.setup_lines(c)[0].startswith("Confirmation: new seeds and prompts. ")
    write_jsonl(Path("odd.jsonl"), [{"prompt": str(i), "chosen": "a", "rejected": "b",
                                     "score_chosen": 8.5, "score_rejected": 1} for i in range(60)])
    with pytest.raises(UserError, match=r'^una: .*as in odd[.]jsonl, line \d+[)]$'):
        planned("una 'a=una --beta 1' --data odd.jsonl --device cpu")


def test_each_part_has_two_draws_whatever_their_size():
    """One alone would have no variance. Half of the rows are of one group."""
    for name in range(12):
        rows = [{**x, "group": f"large {name}"} for x in PAIRS] + [{**x, "group": i}
                                                                   for i, x in enumerate(PAIRS)]
        write_jsonl(Path(f"{name}.jsonl"), rows)
        found, _ = splits.split_rows([f"{name}.jsonl"], Path("a"))
        assert all(scoring.EvalSpec(str(found[part])).draws() > 1 for part in splits.SHARES)


def test_numbers_of_rows_scatter_as_a_ratio_does():
    """By hand: 2 nats of 1 token and 4 of 3 are 1.5 a token; the first row has .5 more than its
    token at 1.5, the other .5 less, of 2 tokens in the mean. Shares are as they were."""
    assert scoring.linearised(np.array([2.0, 4.0]), np.array([1.0, 3.0])).tolist() == [1.75, 1.25]
    shares = np.array([0.0, 1.0, 1.0])
    assert scoring.linearised(shares, np.ones(3)).tolist() == shares.tolist()


def test_rows_keep_their_part_where_others_come():
    first = splits.split_rows(["pairs.jsonl"], Path("a"))[0]["test"].read_text().splitlines()
    write_jsonl(Path("more.jsonl"), PAIRS + [{**PAIRS[0], "prompt": "New?"}])
    again = splits.split_rows(["more.jsonl"], Path("a"))[0]["test"].read_text().splitlines()
    assert len({*first} & {*again}) >= len(first) - 1


# ---- rates ---------------------------------------------------------------------------------------
def test_a_best_rate_at_the_edge_gives_every_arm_one_more_try(monkeypatch):
    """Of equal ones the nearest to the method's own is the best."""
    c = planned(f"sft dpo {SMALL} --tries 3")
    scores = {"sft": lambda x: -abs(x - 0.9), "dpo": lambda x: x}      # of rates 1/3, 1, 3
    c.stage_plans = {stage: x._replace(lr=1.0) for stage, x in c.stage_plans.items()}
    tried = []

    def values(job):
        found = scores[job.config.method](job.config.lr)
        return {"score": {"list": np.full(60, found)}}
    monkeypatch.setattr(compare, "run_jobs", lambda jobs, *more, **how: tried.append(len(jobs)))
    monkeypatch.setattr(runs, "scores_of", values)
    monkeypatch.setattr(runs, "is_done", lambda job: True)
    compare.train_all(c)
    assert tried == [6, 2, 10, 5]       # with two more seeds the own and the two best
    assert [sorted(c.search_scores[arm]) for arm in c.arms] == [
        pytest.approx([1 / 9, 1 / 3, 1, 3]), pytest.approx([1 / 3, 1, 3, 9])]
    assert [*map(c.lr, c.arms)] == pytest.approx([1, 9])
    scores["sft"] = lambda x: 0.0
    assert [compare.choose_rate(c, c.arms[0], x) for x in ([1 / 3, 1, 3], [1 / 9, 3])] == [1, 3]


@pytest.fixture
def of_rates(monkeypatch):
    """A comparison at rates 1/3, 1, 3 of each arm; the score of a try is that of its rate, with
    `luck` points of its seed. Nothing is trained."""
    def make(curve: dict[str, float], luck: float = 0.0,
             diverges: float = np.inf) -> plan.Comparison:
        c = planned(f"a=sft b=sft {SMALL} --tries 3")
        c.stage_plans = {stage: x._replace(lr=1.0) for stage, x in c.stage_plans.items()}

        def values(job):
            lr, seed = job.config.lr, job.config.seed
            if lr >= diverges and seed % 500 != 100:
                return None
            chance = luck * (seed % 500 % 3 - 1) * np.sign(np.log(lr))
            return {"score": {"list": curve[f"{lr:.2g}"] + chance + np.zeros(60)}}
        monkeypatch.setattr(compare, "run_jobs", lambda *jobs, **how: None)
        monkeypatch.setattr(runs, "scores_of", values)
        monkeypatch.setattr(runs, "is_done", lambda job: True)
        compare.train_all(c)
        return c
    return make


@pytest.mark.parametrize("diverges, lr", [(3, 1), (1, 1 / 3)])
def test_a_rate_that_diverges_with_another_seed_gives_way_to_the_others(of_rates, diverges, lr):
    c = of_rates({"0.33": 0.5, "1": 0.6, "3": 0.7, "9": 0.4}, diverges=diverges)
    assert [*map(c.lr, c.arms)] == pytest.approx([lr] * 2)


def test_a_lead_above_100_points_is_not_foretold(of_rates, monkeypatch):
    c = of_rates({"0.33": 0.5, "1": 0.6, "3": 0.55})
    monkeypatch.setattr(power, "detectable_range", lambda *of: [1.3, 2.5])
    assert " test prompts no lead would be decided (" in power.power_statement(c)
    monkeypatch.setattr(power, "detectable_range", lambda *of: [0.3501, 0.3502])
    assert " test prompts a lead of 35.0 points would be decided (" in power.power_statement(c)
    assert verdicts.MEASURES["nll"].text(-0.0001, "+") == "+0.000"


def test_a_report_that_says_something_else_is_kept_with_its_picture(tmp_path):
    for text in ("a", "b", "b", "c"):
        files = {"picture.svg": f"picture of {text}", "report.md": text}
        report.keep_earlier_report(tmp_path, files)
        for name, new in files.items():
            (tmp_path / name).write_text(new)
    for name, text in (("earlier-1", "a"), ("earlier-2", "b"), ("", "c")):
        assert (tmp_path / name / "report.md").read_text() == text
        assert (tmp_path / name / "picture.svg").read_text() == f"picture of {text}"


@pytest.mark.parametrize("luck, lr, told", [(0.01, 3, False), (0.1, 1, True)])
def test_a_rate_that_is_not_clearly_better_leaves_a_method_its_own(of_rates, luck, lr, told):
    """By a standard error of three seeds (luck / sqrt 3). A verdict that the better rate might undo
    says so."""
    c = of_rates({"0.33": 0, "1": 0.50, "3": 0.52, "9": 0.1}, luck)
    assert [*map(c.lr, c.arms)] == [lr, lr]
    taken = [line.split(" | ")[1:5] for line in report.rate_search_section(c) if "taken" in line]
    assert taken == [[plan.short_lr(lr), *{3: ("52.0", "53.0", "51.0"),
                                                     1: ("50.0",) * 3}[lr]]] * 2
    assert [verdicts.missed_rate(c, arm) is not None for arm in c.arms] == [told, told]
    for lead in (0.05, 0.5):
        q = of_gaps(lead + np.zeros((3, 200)))
        a, b = (x._replace(arm=arm) for x, arm in zip((q.a, q.b), c.arms))
        undone = told and lead < 0.2
        assert verdicts.arm_with_doubtful_rate(c, q._replace(a=a, b=b)) == ("b" if undone else "")


def test_of_losses_the_least_is_the_best(monkeypatch):
    c = planned(f"sft dft {SMALL}")
    arm, own = c.arms[0], c.stage_plans[c.arms[0].stages[-1]].lr
    nats = {own / 3: 2.0, own: 1.5, own * 3: 1.0}
    c.search_scores[arm], c.finalists[arm] = {}, [*nats]
    monkeypatch.setattr(compare, "search_result", lambda c, arm, lr: verdicts.Result(
        "", {"rows": nats[lr] + np.zeros((3, 40))}, {"rows": np.arange(40)}, "nll", {}))
    assert compare.choose_finalist(c, arm) and c.lr(arm) == own * 3


# ---- what will be seen ---------------------------------------------------------------------------
def test_before_the_seeds_it_is_told_which_lead_they_would_see(of_rates, capsys):
    """More where seeds differ more, less with twice the questions."""
    said = []
    for luck in (0.02, 0.05):
        of_rates({"0.33": 0.4, "1": 0.5, "3": 0.4}, luck)
        words = capsys.readouterr().out
        assert "With 2 seeds and 10 test prompts a lead of" in words and "--items 20:" in words
        said.append([float(x) for x in re.findall(r"[\d.]+ to [\d.]+", words)[0].split(" to ")])
    (low, high), (more_low, more_high) = said
    assert low < high and more_low > low and more_high > high


def test_a_plan_trains_the_tries_alone_and_needs_them(capsys):
    line = f"sft dpo {SMALL}".replace("--tries 1", "--tries 2") + " --plan"
    with printing.quiet(but_for=printing.BRIEF):        # as a call in Python
        assert call(line) == 0
    said = capsys.readouterr().out
    assert "a lead of" in said and "minute" in said and "score, 0-100" not in said
    assert all("seed_10" in x for x in trained())
    with pytest.raises(UserError, match="--tries 2 or more"):
        planned(f"sft dpo {SMALL} --plan")


def test_the_least_lead_that_would_have_been_decided():
    """By hand: 4 of 45 with a standard error of .109, of which 1.96 + .84 are needed."""
    q = of_gaps(np.tile(np.repeat([1.0, -1.0, 0.0], [14, 10, 21]), (5, 1)))
    assert q.verdict == "undecided" and power.least_lead(q) == pytest.approx(2.8 * 0.109, abs=2e-3)


# ---- verdicts ------------------------------------------------------------------------------------
def question(gains: tuple[float, float], seeds: int, tasks: int, rng: np.random.Generator,
             luck: float = 0.0, shares: bool = False, of: int = 1) -> verdicts.Question:
    """Scores of two arms as own rows (one task) or NanoWorld have them. luck: how much a file of
    rows, and each draw of it, moves an arm, and what each arm makes of each question. shares: 0 or
    1 for each question."""
    hard = rng.uniform(0.1, 0.9, (tasks, 40))

    def arm(gain: float) -> verdicts.Result:
        drawn = rng.normal(0, luck, (seeds, 1))
        moved = rng.normal(0, luck) + drawn - drawn.mean() + rng.normal(
            0, 0.03, (seeds, 1)) + rng.normal(0, 0.2, 40) * (luck > 0)
        found = [of_task + gain + moved for of_task in hard]
        scores = {str(t): (rng.random(x.shape) < x).astype(float) if shares else
                  x + rng.normal(0, 0.1, x.shape) for t, x in enumerate(found)}
        return verdicts.Result("", scores, dict.fromkeys(scores, np.arange(40)), "score", {},
                               redrawn=luck > 0)
    return verdicts.Question(arm(gains[0]), arm(gains[1]), of, 0.02)


@pytest.mark.parametrize("seeds, tasks, luck, shares, of", [
    (5, 9, 0, False, 1), (3, 1, 0, False, 1), (3, 1, 0.1, False, 1), (5, 1, 0.1, False, 1),
    (2, 1, 0.4, False, 1), (2, 1, 0.4, True, 1), (5, 1, 0.4, True, 1), (5, 9, 0, False, 6)])
def test_equal_arms_are_seldom_called_different_and_a_planted_lead_is_seen(seeds, tasks, luck,
                                                                           shares, of):
    """Six questions share the 5 %."""
    rng = np.random.default_rng(0)

    def said(*gains: float, shares: bool = False) -> str:
        return question(gains, seeds, tasks, rng, luck, shares, of).verdict
    wrong = sum(said(0, 0, shares=shares) in ("better", "worse") for _ in range(300))
    assert wrong <= {1: 24, 6: 8}[of]       # 15 and 2.5 are due; more come by chance once in 70
    lead = 0.9 if luck < 0.4 else 40
    assert shares or (said(lead, 0), said(0, lead)) == ("better", "worse")


@pytest.mark.parametrize("gaps, told", [
    ((0.2, 0.0), "b is better than a by 20.0 ± 0.0 points. c and a are equivalent."),
    ((-0.2, 0.0), "a is better than b by 20.0 ± 0.0 points. c and a are equivalent."),
    ((-0.2, -0.3), "a is better than b by 20.0 ± 0.0 points, c by 30.0 ± 0.0 points."),
    ((0.2, np.array([[1.0, -1.0]])), "b is better than a by 20.0 ± 0.0 points. Undecided, because "
                                     "the CI includes 0: c - a. In 80 of 100 such tests a lead"),
    ((np.array([[1.0, -1.0]]),), "nothing is decided: each CI includes 0. In 80")])
def test_the_first_sentences_say_which_method_is_ahead(gaps, told, monkeypatch):
    monkeypatch.setattr(verdicts.Question, "least_variance", 0.0)
    monkeypatch.setattr(printed, "arm_with_doubtful_rate", lambda *of: "")
    questions = []
    for name, gap in zip("bc", gaps):
        q = of_gaps(np.tile(gap, (3, 20)))
        questions.append(q._replace(a=q.a._replace(name=name), b=q.b._replace(name="a")))
    said = printed.conclusion(None, questions)
    assert said.startswith(
        f"Result (score, 0-100; {questions[0].a.sample_text}; ± is a 95 % CI): {told}")


@pytest.mark.parametrize("mean, half, word", [
    (0.01, 0.005, "equivalent"), (0.01, 0.02, "undecided"), (0.03, 0.02, "better"),
    (-0.03, 0.02, "worse"), (0, 0.019, "equivalent"), (0.0, 0.03, "undecided"),
    (0.015, 0.01, "better")])
def test_the_interval_that_is_printed_decides(mean, half, word):
    assert verdicts.verdict_word(mean, half, 0.02) == word


def of_gaps(*gaps: np.ndarray) -> verdicts.Question:
    """Of two arms that differ by (seeds, questions) of each task."""
    groups = {str(i): np.arange(gap.shape[1]) for i, gap in enumerate(gaps)}
    arms = (verdicts.Result("", {str(i): on * gap for i, gap in enumerate(gaps)}, groups, "score",
                            {}) for on in (1, 0))
    return verdicts.Question(*arms, 1, 0.02)


def test_questions_that_never_differ_are_not_called_level_where_they_are_few():
    """Agresti and Min by hand: 1.96 / (n + 2)."""
    few, many = (of_gaps(np.zeros((3, n))) for n in (6, 200))
    assert few.interval() == (0, pytest.approx(1.96 / 8, abs=1e-4))
    assert (few.verdict, many.verdict) == ("undecided", "equivalent")


def test_a_lead_tells_how_far_its_interval_is_from_0():
    """By hand: seeds 0, 1, 2 on prompts that are all alike are 1 ± 4.303 sqrt(1/3)."""
    q = of_gaps(np.repeat(np.array([[0.0], [1.0], [2.0]]), 4, 1))
    assert q.distance == pytest.approx(1 / 2.484, abs=1e-3) and not q.is_identical
    assert of_gaps(np.zeros((3, 4))).is_identical


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize("leads, task", [([0, 0.3, 0, 0], "1"), ([0.1, 0.3, 0.2, 0.2], "")])
def test_a_lead_is_driven_by_a_task_whichever_side_it_is_of(leads, task, side):
    rng = np.random.default_rng(1)
    asked = of_gaps(*(side * (lead + rng.normal(0, 0.2, (5, 100))) for lead in leads))
    assert (asked.verdict, asked.driven_by()[0]) == ({1: "better", -1: "worse"}[side], task)
    assert not task or abs(asked.driven_by()[1]) < 0.02         # without it nothing is left


def test_that_a_task_drives_a_lead_is_corrected_for_the_number_of_tasks():
    rng = np.random.default_rng(1)
    tasks = [*"abcdef"]
    gaps = {task: (x := rng.normal(0, 1, (5, 50))) - x.mean() for task in tasks}
    groups = {task: np.arange(50) for task in tasks}
    at_0 = by_task.Difference(gaps, groups, tuple((task,) for task in tasks))
    _, variance, freedom = by_task.mean_and_variance(at_0, {"a": 1.0} | dict.fromkeys("bcdef", -.2))
    half = stats.half_width(variance, freedom, comparisons=len(tasks))
    for lead, rests in ((0.95, False), (1.05, True)):
        found = at_0._replace(gaps=gaps | {"a": gaps["a"] + lead * half})
        assert by_task.dominant_task(found) == "a"
        assert by_task.rests_on_dominant_task(found) == rests


@pytest.mark.parametrize("side", [1, -1])
def test_without_its_task_the_lead_of_the_first_sentences_has_the_winners_side(side, monkeypatch):
    monkeypatch.setattr(printed, "arm_with_doubtful_rate", lambda *of: "")
    q = of_gaps(*(side * (lead + np.random.default_rng(1).normal(0, 0.2, (5, 100)))
                  for lead in (0.02, 0.3, 0.02, 0.02)))
    without = re.search(r"without it ([+-][\d.]+)", printed.conclusion(None, [q]))[1]
    assert float(without) == pytest.approx(100 * side * q.driven_by()[1], abs=0.06)
    assert float(without) > 0


def test_a_range_of_leads_ends_at_100_points():
    score = verdicts.MEASURES["score"]
    assert score.range_text(0.355, 1.106) == "35.5 points or more"
    assert score.range_text(0.202, 0.341) == "20.2 to 34.1 points"


def test_the_same_method_under_two_names_trains_with_other_seeds(ran):
    one, *_, two = (load_file(ran.job(arm, 0).folder / "model.safetensors") for arm in ran.arms)
    assert any(not np.array_equal(one[name], two[name]) for name in one)
    found = verdicts.verdicts(ran)[1][2]
    assert {found.a.name, found.b.name} == {"sft", "twin"} and found.interval()[1] > 0


@pytest.mark.slow
def test_looks_are_counted_and_confirming_is_done_once(in_process):
    words = f"sft dft {SMALL}"
    three = words.replace("--seeds 2", "--seeds 3")
    for line, earlier in ((words, 0), (words, 0), (three, 1), (f"sft mine.py {SMALL}", 2),
                          (words, 0), (f"{words} --confirm", 0)):       # it was the first
        c = planned(line)
        compare.train_all(c)
        assert len(earlier_tests(c)) == earlier, line
        record_test(c)
    assert not {*c.seeds} & {*range(plan.SEARCH_SEED)}
    assert c.eval_spec("test").seed != planned(words).eval_spec("test").seed
    before = trained()
    for again in (three, f"{words} --items 11", f"dft sft {SMALL} --items 12"):
        with pytest.raises(UserError, match="has already tested"):
            compare.train_all(planned(f"{again} --confirm"))
    assert trained() == before                                  # refused before it trains


def test_tests_of_other_methods_on_the_same_prompts_are_counted(monkeypatch):
    c: Any = SimpleNamespace(root=Path())
    for prompts, arm, earlier in (("p", "sft", 0), ("p", "kto", 1), ("q", "kto", 0),
                                  ("p", "dpo", 2), ("p", "kto", 1)):
        now = PastTest(prompts, {arm: arm}, [0, 5])
        monkeypatch.setattr(testset_reuse, "this_test", lambda c, now=now: now)
        record_test(c)
        assert len(earlier_tests(c)) == earlier


def test_a_test_counts_when_its_scores_are_shown(in_process, monkeypatch, capsys):
    monkeypatch.setattr(report, "picture", lambda *of: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        call(f"sft dft {SMALL} --out x")
    assert "Result" not in capsys.readouterr().out and not Path("x/looks.jsonl").exists()
    planned(f"sft mine.py {SMALL} --out x")
    assert "x already has the plan of another comparison" in capsys.readouterr().out


# ---- what it prints and leaves -------------------------------------------------------------------
@pytest.mark.slow
def test_a_plan_repeats_the_command_elsewhere(scene, tmp_path, in_process):
    """To the same figures, from the plan, the file and the rows alone. Each command of the report
    makes the weights that were judged. What training says of a loss of one's own is a note."""
    there, told = scene
    place = there / planned(SCENE).folder
    assert "--steps 2" in told and "sft+mine.py - sft" in told and told.count("two half") == 1
    Path("my.ini").write_bytes((place / "plan.ini").read_bytes())
    assert call("my.ini") == 0
    again = Path("out/compare") / place.name
    for file in ("scores.csv", "differences.csv", "picture.svg", "plan.ini"):
        assert (again / file).read_text() == (place / file).read_text()
    assert "prefers-color-scheme" in (place / "picture.svg").read_text()
    lines = (again / "report.md").read_text().splitlines()
    typed = [line for line in lines if "nanouft.train" in line]
    assert any(f"torch {runs.torch.__version__}" in line and "cores" in line for line in lines)
    assert len(typed) == 8
    for line in typed:
        train.main(shlex.split(line)[3:])
        name = line.rpartition("/")[2]
        assert (Path("out/typed") / name / "model.safetensors").read_bytes() == (
            there / RUNS / name / "model.safetensors").read_bytes()


def test_the_report_has_settings_and_the_scores_of_each_seed(ran):
    """And a definition of the score."""
    text = (ran.folder / "report.md").read_text()
    assert "| mine.py | beta 0.1 | 3e-5 | 1 | 0.4 | 8 | fp32 | all |" in text
    assert text.count("| sft+mine.py: ") == 2 and "● sft, " in text
    results, (q, *_) = verdicts.verdicts(ran)
    scores = [f"{100 * x:.1f}" for x in results[1].seed_scores()]
    assert f"| sft | {' | '.join(scores)} |" in text
    gaps = [f"{100 * x:+.1f}" for x in q.a.seed_scores() - q.b.seed_scores()]
    assert f"| {q.a.name} - {q.b.name} | {' | '.join(gaps)} |" in text
    c = planned(f"sft 'dpo --beta 1' {SMALL} --lora 4")
    assert "| dpo --beta 1 | beta 1.0 (0.1), " in (lines := "\n".join(report.settings_section(c)))
    assert lines.count("| LoRA, rank 4, alpha 8, all-linear |") == 2
    assert "Searched: nothing; " in lines and "linear warmup over 10 % of the steps" in lines
    for file in ("pairs.jsonl", "mine.py", "helper.py"):
        assert f" {file} {fingerprint.hash_of_file(Path(file))}" in text
    assert "one greedy response, at most 44 tokens" in printed.score_definition(c, "score")
    c = planned("sft dpo --data pairs.jsonl --reward r.py:f --tries 1 --device cpu")
    assert "prompts of r.py:f, for one response" in printed.score_definition(c, "reward")


def test_a_chain_reads_as_many_sequences_as_its_stages_alone(ran):
    """A demonstration has one, a pair two."""
    sft, mine, chain, _ = (x.cost["sequences"] for x in verdicts.verdicts(ran)[0][1:])
    assert chain == sft + mine and mine == 2 * sft


def test_scores_csv_has_the_mean_of_the_questions_for_each_seed(ran):
    def line(arm: arms.Arm, seed: int) -> str:
        score = runs.scores_of(ran.job(arm, seed))["prefers"]["rows"].mean()
        return f"{arm.name},{seed + 500 * arm.copy},rows,{score:.5f}"
    head, start, *lines = (ran.folder / "scores.csv").read_text().splitlines()
    assert head == "method,seed,part,prefers" and start.startswith("initial model,,rows,0.")
    assert lines == [line(arm, seed) for arm in ran.arms for seed in ran.seeds]


@pytest.mark.parametrize("line, told", [
    ("sft 'big=sft --batch-size 32'", "big has 4 times the batch size of sft. See"),
    pytest.param("sft 'long=sft --steps 4' dpo", "long has 2 times the steps of sft; dpo has 2 "
                 "times the sequences per row of sft. See", marks=pytest.mark.slow),
    ("sft 'same=sft --accumulate 2'", "last digit; ± as if one of two more prompts differed"),
    ("sft+dpo 'long=sft+dpo --steps 4'", "long has 1.5 times the steps of sft+dpo; "),
    pytest.param("sft sft+dpo", 'add "sft --steps 4" as a baseline that is',
                 marks=pytest.mark.slow)])
def test_what_is_not_equal_is_named_and_what_is_the_same(line, told, in_process, capsys):
    assert call(f"{line} {SMALL}") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert told in said and ("compute is not equal" in said) == ("times" in told)


def test_pairs_have_a_reward_accuracy_and_lengths_and_a_floor_is_told(in_process, capsys):
    """The chosen responses are long, so none is the more likely one, before or after."""
    write_jsonl(Path("long.jsonl"), [{**x, "chosen": f"{x['chosen']} " * 6} for x in PAIRS])
    line = "sft dpo --data long.jsonl --tries 1 --seeds 2 --steps 1 --device cpu"
    assert call(line) == 0
    c, said = planned(line), " ".join(capsys.readouterr().out.split())
    assert "0.0 at each prompt for sft, dpo, a floor" in said and "2 seeds x 6 prompts" in said
    margins = [runs.scores_of(job)["prefers margin"]["rows"]
               for job in (c.initial_job(), *(c.job(c.arms[1], seed) for seed in c.seeds))]
    gained = np.mean([margin > margins[0] for margin in margins[1:]])
    assert verdicts.verdicts(c)[0][2].others["accuracy"] == gained > 0
    rows, _ = read([str(c.parts["test"])])
    chosen, rejected = (np.mean([1 + len(NANO.encode(f" {getattr(row, role)[0].text}"))
                                 for row in rows]) for role in ("chosen", "rejected"))
    assert f"chosen {chosen:.1f} tokens, rejected {rejected:.1f} tokens" in said


@pytest.mark.slow
def test_out_keeps_the_report_of_another_comparison(in_process, capsys):
    """The same one writes its own anew, with more seeds too."""
    for line in ("sft dft", "sft mine.py", "sft dft --seeds 3", "sft mine.py"):
        assert call(f"{SMALL} {line} --out x") == 0
    assert capsys.readouterr().out.count("already has the plan and report of another") == 2
    other, = Path("x").glob("sft-mine.py-*/report.md")
    assert "# sft, dft\n" in Path("x/report.md").read_text()
    assert "# sft, mine.py\n" in other.read_text()


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
    """And again from a plan, where the file may have gone."""
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
    """Its own steps or passes take the place of the shared ones."""
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
    ("sft dpo --data pairs.jsonl --reward no.py:f", "there is no file"),
    ("sft dpo --data pairs.jsonl --reward wrong.py:f", "wrong.py, line 2: ZeroDivisionError"),
    ("x.ini sft", "a plan names its methods"), ("sft '+dpo'", "must begin with a method"),
    ("x.ini", "cannot be read"), ("pairs.ini", "not a valid plan"), ("sft dpo --out .", "empty")])
def test_a_mistake_is_one_line_before_anything_is_trained(words, told):
    write_jsonl(Path("few.jsonl"), PAIRS[:9])
    Path("pairs.ini").write_text("sft dpo")
    Path("wrong.py").write_text("def f(completions):\n    return 1 / 0\n")
    with pytest.raises((UserError, OSError), match=told):
        call(words)
    assert not RUNS.exists()
