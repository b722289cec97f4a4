"""Who makes the runs of a comparison: processes here or an executor's, whoever is killed."""
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import torch

from nanouft.compare import __main__ as compare
from nanouft.compare import jobs, plan, runs
from nanouft.compare.jobs import Job, RunsBar, make_runs, workers_of
from nanouft.compare.runs import Run, run_of
from nanouft.compare.scoring import EvalSpec
from nanouft.device import cores
from nanouft.plumbing.errors import UserError

ROOT = Path(__file__).parents[1]
LINE = ("sft sft+own.py --skills list --rows 64 --steps 12 --batch-size 8 --items 10 --tries 1 "
        "--seeds 2 --device cpu --workers 2")
OWN = """
import os, threading, time
from nanouft.objectives.dft import DFT
from nanouft.run import evaluation

class Own(DFT):             # it prints, leaves a thread, and would change its own scores
    def loss(self, batch):
        with open(f"seen-{os.getpid()}", "w") as file:
            file.write(os.environ.get("CUDA_VISIBLE_DEVICES", ""))
        os.write(1, b"raw")
        threading.Thread(target=time.sleep, args=(1e5,)).start()
        evaluation.score_tasks = lambda *more: 1 / 0
        time.sleep(float(os.environ.get("SECONDS", 0)))
        return super().loss(batch)
"""
RUNS = Path("out/compare/runs")
EXECUTORS = [ThreadPoolExecutor, ProcessPoolExecutor, None]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(OWN)


def planned(line: str = LINE) -> plan.Comparison:
    c = plan.plan(plan.parse_command(shlex.split(line)))
    c.rates = {arm.unlabelled: c.own_rate(arm) for arm in c.all_arms}
    return c


def initial(folder: str = "out/compare") -> Run:
    return run_of(Path(folder), "the initial model", None, EvalSpec(items=2, tasks=("list",)),
                  "base")


def made_by(executor: Executor | None) -> dict[str, str]:
    """{file of a run: its content}, but for what says how long it took."""
    c = planned()
    wanted = [c.initial(), c.run(c.arms[1], 0)]         # a chain, so one more is only trained
    with compare.workers(c, executor) as submit, RunsBar(3, 2) as bar:
        make_runs(wanted, submit, bar)
    assert all(map(runs.is_done, wanted))
    return {run.name: repr(runs.scores_of(run)) for run in wanted} | {
        str(x): repr(x.read_bytes()) for x in RUNS.rglob("*")
        if x.is_file() and x.suffix != ".npz" and x.name != runs.MADE and ".partial" not in str(x)}


@pytest.fixture(scope="module")
def local(tmp_path_factory) -> dict[str, str]:
    with pytest.MonkeyPatch.context() as now:
        now.chdir(tmp_path_factory.mktemp("local"))
        Path("own.py").write_text(OWN)
        return made_by(None)


@pytest.mark.slow
@pytest.mark.parametrize("kind, how", [
    (ThreadPoolExecutor, {}), (ProcessPoolExecutor, {"mp_context": get_context("spawn")})])
def test_runs_and_figures_are_those_of_this_machine(kind, how, local, capfd):
    """Also of a loss that prints, leaves a thread and changes what scores it."""
    with kind(2, **how) as some:
        assert made_by(some) == local
    assert "raw" not in "".join(capfd.readouterr())


# ---- a lost worker -------------------------------------------------------------------------------
@pytest.fixture
def cluster():
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(2, threads_per_worker=1, dashboard_address=None) as them, \
            distributed.Client(them) as client:
        yield client


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def lives(pid: int) -> bool:
    with suppress(OSError):
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    return False


def wait_for(what, seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_run_of_a_killed_worker_of_dask_is_made_again(cluster, local):
    killed = []

    def kill() -> None:
        while not (found := [*RUNS.glob("*.partial/metrics.jsonl")]):
            time.sleep(0.05)
        pid = int(found[0].parent.stem.rpartition("-")[2])
        killed.extend([pid, parent_of(pid)])
        os.kill(killed[1], signal.SIGKILL)
    threading.Thread(target=kill, daemon=True).start()
    assert made_by(cluster.get_executor()) == local
    wait_for(lambda: killed and not any(map(lives, killed)), 30)
    with compare.alone_in(Path("out/compare")):         # the next comparison there
        assert not [*Path("out").rglob("*.partial")]


@pytest.mark.slow
def test_the_run_of_a_killed_process_is_made_again_once(monkeypatch):
    """Here, in processes of this machine: those that are killed give no answer."""
    Path("own.py").write_text("import os, pathlib\n" + OWN.replace(
        "        os.write", "        if not os.path.exists('killed'):\n            "
        "pathlib.Path('killed').touch()\n            os.kill(os.getpid(), 9)\n        os.write"))
    c = planned(LINE.replace("sft+own.py", "own.py"))
    run = c.run(c.arms[1], 0)
    with compare.workers(c, None) as submit, RunsBar(1, 1) as bar:
        make_runs([run], submit, bar)
    assert runs.is_done(run) and Path("killed").exists()
    Path("own.py").write_text(OWN.replace("os.write(1, b\"raw\")", "os.kill(os.getpid(), 9)"))
    c = planned(LINE.replace("sft+own.py", "own.py"))
    with compare.workers(c, None) as submit, RunsBar(1, 1) as bar, pytest.raises(
            UserError, match=r"own\.py, lr .*its process was killed \(exit code -9\).*nanouft\.trai"
            ".*the same command continues"):
        make_runs([c.run(c.arms[1], 0)], submit, bar)
    assert not [*Path("out").rglob("*.partial/model.safetensors")]


class Odd(Executor):
    """It loses the first calls."""

    def __init__(self, losses: int):
        self.losses, self.calls = losses, 0

    def submit(self, work, *args, **how):
        future: Future = Future()
        self.calls += 1
        if self.calls <= self.losses:
            future.set_exception(OSError("gone"))
        else:
            future.set_result(work(*args, **how))
        return future


def carry(some: Executor) -> None:
    with RunsBar(1, 1) as bar:
        make_runs([run := initial()], workers_of(some), bar)
    assert runs.is_done(run)


def test_a_lost_job_is_handed_over_once_more_and_a_broken_executor_is_told():
    carry(some := Odd(1))
    assert some.calls == 2
    Path("out").rename("before")
    with pytest.raises(UserError, match=r"initial model: its worker was lost \(OSError: gone\)"):
        carry(Odd(2))
    closed = ThreadPoolExecutor(1)
    closed.shutdown()
    with pytest.raises(UserError, match="accepts no more work"):
        carry(closed)


@pytest.mark.skipif(os.name == "nt", reason="a program with #!")
def test_a_worker_without_nanouft_ends_the_comparison_with_its_own_error(monkeypatch):
    Path("python").write_text("#!/bin/sh\necho \"ModuleNotFoundError: No module named 'nanouft'\""
                              " >&2\nexit 1\n")
    Path("python").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(Path("python").resolve()))
    with ThreadPoolExecutor(1) as some, pytest.raises(UserError, match="No module named 'nanouft'"):
        carry(some)


def test_what_an_executor_repeats_is_not_made_twice():
    """A scheduler makes again what a lost worker had finished; its scores stay."""
    carry(Odd(0))
    there = {x: x.stat().st_mtime_ns for x in Path("out").rglob("*")}
    assert jobs.do(Job(initial(), True)) == ""
    assert {x: x.stat().st_mtime_ns for x in Path("out").rglob("*")} == there


# ---- nothing else is touched ---------------------------------------------------------------------
@contextmanager
def in_this_process(c: Any, executor: Any) -> Iterator[Any]:
    def submit(job: Job) -> Future:
        future: Future = Future()
        future.set_result(jobs.do(job))
        return future
    yield submit


@pytest.mark.parametrize("kind", EXECUTORS)
def test_where_nothing_is_left_to_do_other_files_stay(kind, monkeypatch):
    Path(".git").mkdir()
    Path(".git/config").write_text("theirs")

    def call(some: Any) -> str:
        return str(compare.run(["a=sft", "b=sft"], seeds=2, tries=1, steps=1, items=10, rows=8,
                               skills="list", device="cpu", executor=some))
    with monkeypatch.context() as now:
        now.setattr(compare, "workers", in_this_process)
        first = call(None)
    there = {*Path().rglob("*")}
    some = kind(1) if kind else object()            # one without submit
    assert call(some) == first and there <= {*Path().rglob("*")}


def test_a_second_comparison_in_a_folder_waits_for_the_first(capsys):
    entered: list[bool] = []

    def second() -> None:
        with compare.alone_in(Path("x")):
            entered.append(True)
    with compare.alone_in(Path("x")):
        thread = threading.Thread(target=second)
        thread.start()
        wait_for(lambda: "in use by another comparison" in capsys.readouterr().out)
        assert not entered
    thread.join(30)
    assert entered


SCRIPT = """
import multiprocessing
import sys
from pathlib import Path
from nanouft.compare import __main__ as compare, jobs, runs
from nanouft.compare.scoring import EvalSpec

with open("imports", "a") as file:
    file.write(__name__ + " ")

def task() -> None:
    run = runs.run_of(Path(), "start", None, EvalSpec(items=2, tasks=("list",)), "base")
    with jobs.local_workers(1) as submit, jobs.RunsBar(1, 1) as bar:
        jobs.make_runs([run], submit, bar)
    assert runs.is_done(run)

if __name__ == "__main__" and sys.argv[1:]:
    process = multiprocessing.get_context("spawn").Process(target=task, daemon=True)
    process.start()
    process.join()
    sys.exit(process.exitcode)
elif __name__ == "__main__":
    task()
"""


@pytest.mark.slow
@pytest.mark.parametrize("words, imports", [
    ([], "__main__ "), (["daemonic"], "__main__ __mp_main__ ")])
def test_a_run_reads_nothing_of_the_script_and_a_daemonic_process_compares(words, imports):
    """A daemonic process, of Celery say, may have no children of multiprocessing."""
    Path("script.py").write_text(SCRIPT)
    done = subprocess.run([sys.executable, "script.py", *words], capture_output=True, text=True,
                          env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    assert Path("imports").read_text() == imports


# ---- cores, GPUs, costs --------------------------------------------------------------------------
def test_there_are_as_many_workers_as_cores_of_this_job_or_gpus(monkeypatch):
    """Played: the names of GPUs go to processes that compute on the CPU."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for given, names in ((None, ["0", "1"]), ("3, MIG-5,-1", ["3", "MIG-5"])):
        with monkeypatch.context() as now:
            now.setenv("CUDA_VISIBLE_DEVICES", given) if given else now.delenv(
                "CUDA_VISIBLE_DEVICES", raising=False)
            assert jobs.visible_gpus() == names
    assert planned(LINE.replace("--workers 2", "")).cfg.workers == cores()
    monkeypatch.setattr(os, "cpu_count", lambda: 96)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {7}, raising=False)
    assert planned(LINE.replace("--workers 2", "")).cfg.workers == 1


def test_each_worker_sees_one_gpu():
    c = planned(LINE.replace("sft+own.py", "own.py").replace("--seeds 2", "--seeds 3"))
    wanted = [c.run(c.arms[1], seed) for seed in range(3)]
    with jobs.local_workers(3, ["3", "MIG-5"]) as submit, RunsBar(3, 3) as bar:
        make_runs(wanted, submit, bar)
    seen = sorted(x.read_text() for x in Path(".").glob("seen-*"))
    assert seen in (["3", "3", "MIG-5"], ["3", "MIG-5", "MIG-5"])


@pytest.mark.slow
def test_what_workers_come_from_asks_for_no_gpu():
    """Else CUDA_VISIBLE_DEVICES of a worker would come too late."""
    code = ("import os, torch\nfor name in "
            "'is_available device_count init _lazy_init current_device set_device'.split():\n"
            "    setattr(torch.cuda, name, lambda *more, **how: os._exit(1))\n"
            f"import {', '.join(jobs.PRELOADED)}")
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_costs_are_told_after_the_first_runs_and_again_when_others_take_longer(monkeypatch, capsys):
    seconds = iter([1, 40, 50, 90, 100])
    monkeypatch.setattr(jobs, "wall_seconds", lambda run: next(seconds))
    with RunsBar(21, 1) as bar:
        for i in range(5):
            bar.count(initial(f"x{i}"))
    said = [x for x in capsys.readouterr().out.split("\n") if x]
    assert said == ["About 19 more trainings, the longest so far 40 seconds: 13 minutes with "
                    "1 worker", "About 17 more trainings, the longest so far 90 seconds: "
                    "26 minutes with 1 worker"]


# ---- stopped -------------------------------------------------------------------------------------
def start(words: str, seconds: float) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "nanouft.compare", *shlex.split(words)], stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, start_new_session=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "SECONDS": str(seconds)})


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.slow
def test_after_any_kill_no_worker_is_left_and_the_same_command_continues(tmp_path, monkeypatch):
    words = LINE.replace("sft+own.py", "own.py")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        for old in Path().glob("seen-*"):
            old.unlink()
        process = start(words, 60)
        wait_for(lambda: [*Path().glob("seen-*")] or process.poll() is not None)
        workers = [int(x.name[5:]) for x in Path().glob("seen-*")]
        os.kill(process.pid, number)
        said, _ = process.communicate(timeout=120)
        assert process.returncode == (-9 if number == signal.SIGKILL else 130)
        assert "resource_tracker" not in said and "Traceback" not in said
        wait_for(lambda: not any(map(lives, workers)), 30)
    assert start(words, 0).wait(300) == 0
    assert not [*Path("out").rglob("*.partial")]
    there = tmp_path / "there"
    there.mkdir()
    monkeypatch.chdir(there)
    Path("own.py").write_text(OWN)
    twice = [start(words, 0) for _ in range(2)]         # at once in one folder
    assert [x.wait(300) for x in twice] == [0, 0]
    for file in ("scores.csv", "picture.svg", "differences.csv"):
        one, other = (x / planned(words).folder / file for x in (tmp_path, there))
        assert one.read_text() == other.read_text()
