"""Who makes the runs of a comparison: processes here or an executor's, whoever is killed."""
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from comparisons import compared, planned

from nanouft.compare import __main__ as compare
from nanouft.compare import jobs, runs
from nanouft.compare.jobs import Job, RunsBar, make_runs, workers_of
from nanouft.compare.runs import Run, run_of
from nanouft.compare.scoring import EvalSpec
from nanouft.device import cores
from nanouft.plumbing.errors import UserError

ROOT = Path(__file__).parents[1]
SMALL = ("--skills list --rows 8 --steps 2 --batch-size 8 --items 10 --tries 1 --seeds 2 "
         "--device cpu")
LINE = f"sft own.py {SMALL} --workers 2"
OWN = """
import os, threading, time
from pathlib import Path
from nanouft.objectives.dft import DFT
from nanouft.run import evaluation

class Own(DFT):             # it prints, leaves a thread, and would change its own scores
    def loss(self, batch):
        Path(f"seen-{os.getpid()}").write_text(os.environ.get("CUDA_VISIBLE_DEVICES", ""))
        if Path("kill").exists():                   # once, what it says; it does not go on itself
            whom = {"me": os.getpid(), "parent": os.getppid()}[Path("kill").read_text()]
            Path("kill").unlink()
            Path("killed").write_text(str(whom))
            os.kill(whom, 9)
            time.sleep(1e5)
        if Path("wait").exists():
            time.sleep(1e5)
        os.write(1, b"raw")
        threading.Thread(target=time.sleep, args=(1e5,)).start()
        evaluation.score_tasks = lambda *more: 1 / 0
        return super().loss(batch)
"""
RUNS = Path("out/compare/runs")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(OWN)


def initial(folder: str = "out/compare") -> Run:
    return run_of(Path(folder), "the initial model", None, EvalSpec(items=2, tasks=("list",)),
                  "base")


def make(wanted: list[Run], submit: jobs.Submit) -> None:
    with RunsBar(len(wanted), 2) as bar:
        make_runs(wanted, submit, bar)
    assert all(map(runs.is_done, wanted))


# ---- the same runs -------------------------------------------------------------------------------
def made_by(executor: Executor | None) -> dict[str, str]:
    """{file of a run: its content}, but for what says how long it took."""
    c = planned(f"sft sft+own.py {SMALL} --workers 2")
    wanted = [c.initial(), c.run(c.arms[1], 0)]         # a chain, so one more is only trained
    with compare.workers(c, executor) as submit:
        make(wanted, submit)
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
def test_runs_of_an_executor_are_those_of_this_machine(local, capfd):
    """Also of a loss that prints, leaves a thread and changes what scores it."""
    with ThreadPoolExecutor(2) as some:
        assert made_by(some) == local
    assert "raw" not in "".join(capfd.readouterr())


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
def test_the_run_of_a_killed_worker_of_dask_is_made_again(local):
    """And the process that it had started for the run ends."""
    distributed = pytest.importorskip("distributed")
    Path("kill").write_text("parent")
    with distributed.LocalCluster(2, threads_per_worker=1, dashboard_address=None) as them, \
            distributed.Client(them) as client:
        assert made_by(client.get_executor()) == local
    wait_for(lambda: not any(lives(int(x.name[5:])) for x in Path().glob("seen-*")), 30)
    assert Path("killed").exists()


# ---- a lost worker -------------------------------------------------------------------------------
@pytest.mark.slow
def test_the_run_of_a_killed_process_is_made_again_once():
    """Here, in processes of this machine: those that are killed give no answer."""
    c = planned(LINE)
    Path("kill").write_text("me")
    with compare.workers(c, None) as submit:
        make([c.run(c.arms[1], 0)], submit)
    assert Path("killed").exists()
    Path("own.py").write_text(OWN.replace('Path("kill").unlink()', ""))
    Path("kill").write_text("me")
    c = planned(LINE)
    with compare.workers(c, None) as submit, pytest.raises(
            UserError, match=r"own\.py, lr .*its process was killed \(exit code -9\).*nanouft\.trai"
            ".*the same command continues"):
        make([c.run(c.arms[1], 0)], submit)


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


def test_a_lost_job_is_handed_over_once_more():
    """What it had finished is not made twice: its scores stay."""
    make([initial()], workers_of(some := Odd(1)))
    assert some.calls == 2
    there = {x: x.stat().st_mtime_ns for x in Path("out").rglob("*")}
    assert jobs.do(Job(initial(), True)) == ""
    assert {x: x.stat().st_mtime_ns for x in Path("out").rglob("*")} == there


@pytest.mark.skipif(os.name == "nt", reason="a program with #!")
def test_an_executor_that_cannot_do_it_ends_the_comparison_with_its_own_error(monkeypatch):
    """It loses a job twice, is shut down, or its workers lack nanouft."""
    with pytest.raises(UserError, match=r"initial model: its worker was lost \(OSError: gone\)"):
        make([initial()], workers_of(Odd(2)))
    closed = ThreadPoolExecutor(1)
    closed.shutdown()
    with pytest.raises(UserError, match="accepts no more work"):
        make([initial()], workers_of(closed))
    Path("python").write_text("#!/bin/sh\necho \"ModuleNotFoundError: No module named 'nanouft'\""
                              " >&2\nexit 1\n")
    Path("python").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(Path("python").resolve()))
    with pytest.raises(UserError, match="No module named 'nanouft'"):
        make([initial()], workers_of(Odd(0)))


def test_a_worker_that_does_not_share_the_folder_is_told(monkeypatch):
    """It says that it has made a run, whose files do not come."""
    monkeypatch.setattr(jobs, "PATIENCE", 0)
    done: Future = Future()
    done.set_result("")
    with pytest.raises(UserError, match="all machines need the same folder"):
        make([initial()], lambda job: done)


# ---- nothing else is touched ---------------------------------------------------------------------
def test_where_nothing_is_left_to_do_no_executor_is_asked_and_other_files_stay():
    Path("mine.txt").write_text("theirs")
    first, made = compared(f"a=sft b=sft {SMALL}")
    there = {*Path().rglob("*")}
    again = compare.run(["a=sft", "b=sft"], seeds=2, tries=1, steps=2, batch_size=8, items=10,
                        rows=8, skills="list", device="cpu", executor=object())
    assert len(made) == 5 and str(again) == str(first) and there <= {*Path().rglob("*")}


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


# ---- cores, GPUs, costs --------------------------------------------------------------------------
def test_there_are_as_many_workers_as_cores_of_this_job_or_gpus(monkeypatch):
    """Played: the names of GPUs go to processes that compute on the CPU."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for given, names in ((None, ["0", "1"]), ("3, MIG-5,-1", ["3", "MIG-5"])):
        with monkeypatch.context() as now:
            now.setenv("CUDA_VISIBLE_DEVICES", given) if given else now.delenv(
                "CUDA_VISIBLE_DEVICES", raising=False)
            assert jobs.visible_gpus() == names
    assert planned(f"sft dft {SMALL}").cfg.workers == min(8, cores())
    monkeypatch.setattr(os, "cpu_count", lambda: 96)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {7}, raising=False)
    assert planned(f"sft dft {SMALL}").cfg.workers == 1


@pytest.mark.slow
def test_each_worker_sees_one_gpu_and_nothing_of_the_script_that_called(monkeypatch):
    Path("script.py").write_text("open('script-was-run', 'w')")
    script = ModuleType("__main__")
    script.__file__ = str(Path("script.py").resolve())
    monkeypatch.setitem(sys.modules, "__main__", script)
    c = planned(f"{LINE} --seeds 3")
    with jobs.local_workers(3, ["3", "MIG-5"]) as submit:
        make([c.run(c.arms[1], seed) for seed in range(3)], submit)
    seen = sorted(x.read_text() for x in Path().glob("seen-*"))
    assert seen in (["3", "3", "MIG-5"], ["3", "MIG-5", "MIG-5"])
    assert not Path("script-was-run").exists()


@pytest.mark.slow
def test_a_daemonic_process_compares_too(monkeypatch):
    """Of Celery, say. It may have no children of multiprocessing."""
    monkeypatch.setattr(jobs, "current_process", lambda: SimpleNamespace(daemon=True))
    monkeypatch.setattr(jobs.Processes, "do", None)
    with jobs.local_workers(1) as submit:
        make([initial()], submit)


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
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.slow
def test_after_any_kill_no_worker_is_left_and_the_next_comparison_cleans_up():
    Path("wait").touch()                    # in a loss
    for number, code in ((signal.SIGTERM, 130), (signal.SIGKILL, -9)):
        process = subprocess.Popen(
            [sys.executable, "-m", "nanouft.compare", *shlex.split(LINE)], stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, start_new_session=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)})
        wait_for(lambda: [*Path().glob("seen-*")] or process.poll() is not None)
        workers = [int(x.name[5:]) for x in Path().glob("seen-*")]
        os.kill(process.pid, number)
        said, _ = process.communicate(timeout=120)
        assert process.returncode == code and workers
        assert "resource_tracker" not in said and "Traceback" not in said
        wait_for(lambda: not any(map(lives, workers)), 30)
        assert [*RUNS.glob("*.partial")]
        with compare.alone_in(Path("out/compare")):
            assert not [*RUNS.glob("*.partial")]
        [x.unlink() for x in Path().glob("seen-*")]
