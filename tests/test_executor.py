"""nanouft.compare by executors of concurrent.futures: the figures of a comparison on this machine,
whoever is killed."""
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from nanouft.compare.progress import RunsBar

from nanouft.compare import __main__ as compare
from nanouft.compare import executor, plan, power, runs, workers
from nanouft.plumbing.errors import UserError
from nanouft.run.config import RunConfig

LINE = ("sft sft+own.py --skills list --rows 64 --steps 12 --batch-size 8 --items 10 --tries 1 "
        "--seeds 2 --device cpu --workers 2")
OWN = "from nanouft.objectives.dft import DFT\n\n\nclass Own(DFT):\n    pass\n"
RUNS = Path("out/compare/runs")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(OWN)


def carried_by(some: Executor | None) -> dict[str, bytes]:
    """{file: its bytes} of what a comparison leaves, but for what says how long it took."""
    c = plan.plan(plan.parse_command(shlex.split(LINE)))
    c.executor = some
    c.lrs = {arm: c.stage_plans[arm.stages[-1]].lr for arm in c.all_arms}
    jobs = [c.initial_job(), c.job(c.arms[1], 0)]       # a chain, so one more is only trained
    with workers.lock_comparisons(c.root), RunsBar(len(jobs)) as bar:
        workers.run_jobs(jobs, compare.pool_of(c), bar)
    assert not [*Path("out").rglob("*.partial")]
    scores = {str(job.scored): repr(runs.scores_of(job)).encode() for job in jobs}
    return scores | {str(x): x.read_bytes() for x in RUNS.rglob("*")
                     if x.is_file() and x.suffix != ".npz" and x.name != runs.MADE}


@pytest.fixture(scope="module")
def local(tmp_path_factory) -> dict[str, bytes]:
    with pytest.MonkeyPatch.context() as now:
        now.chdir(tmp_path_factory.mktemp("local"))
        Path("own.py").write_text(OWN)
        return carried_by(None)


@pytest.mark.slow
@pytest.mark.parametrize("kind, how", [
    (ThreadPoolExecutor, {}), (ProcessPoolExecutor, {"mp_context": get_context("spawn")})])
def test_runs_and_figures_are_those_of_this_machine(kind, how, local):
    with kind(2, **how) as some:
        assert carried_by(some) == local


# ---- dask ----------------------------------------------------------------------------------------
@pytest.fixture
def cluster():
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(2, threads_per_worker=1, dashboard_address=None) as them, \
            distributed.Client(them) as client:
        yield client


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_run_of_a_killed_worker_is_made_again_by_another(cluster, local):
    killed = []

    def kill() -> None:
        while not (found := [*RUNS.glob("*.partial/metrics.jsonl")]):
            time.sleep(0.05)
        pid = int(found[0].parent.stem.rpartition("-")[2])
        killed.extend([pid, parent_of(pid)])
        os.kill(killed[1], signal.SIGKILL)
    threading.Thread(target=kill, daemon=True).start()
    assert carried_by(cluster.get_executor()) == local
    assert killed and not any(map(runs.is_alive, killed))


# ---- what goes wrong -----------------------------------------------------------------------------
class Odd(Executor):
    """It loses the first call, or all; or it has no worker."""

    def __init__(self, losses: int, idle: bool = False):
        self.losses, self.idle, self.calls, self.given = losses, idle, 0, []

    def submit(self, work, *args):
        future: Future = Future()
        self.calls += 1
        self.given.append(future)
        if self.calls <= self.losses:
            future.set_exception(OSError("gone"))
        elif not self.idle:
            future.set_result(work(*args))
        return future


def carry(some: Executor) -> None:
    job = runs.Job(RUNS / "start", None, plan.EvalSpec(items=10, tasks=("list",)), "base",
                   name="the initial model")
    with RunsBar(1) as bar:
        workers.run_jobs([job], executor.ExecutorPool(some), bar)
    assert runs.is_done(job)


def test_a_lost_part_is_handed_over_once_more(monkeypatch):
    carry(some := Odd(1))
    assert some.calls == 2
    Path(RUNS).rename("before")
    with pytest.raises(UserError, match=r"the initial model: .*lost its worker twice \(OSError: g"):
        carry(Odd(2))
    closed = ThreadPoolExecutor(1)
    closed.shutdown()
    with pytest.raises(UserError, match="accepts no more work"):
        carry(closed)
    assert not [*Path("out").rglob("*.partial")]


@pytest.mark.parametrize("kind", [ThreadPoolExecutor, ProcessPoolExecutor, None])
def test_where_nothing_is_left_to_do_other_files_stay(kind, monkeypatch):
    def make_here(jobs, pool, bar, keep=()) -> None:
        for part in (part for job in workers.missing_jobs(jobs) for part in runs.parts_of(job)):
            runs.run_part(part, workers.PACKAGE_AT_START)
    Path(".git").mkdir()
    Path(".git/config").write_text("theirs")

    def call(some: Any) -> str:
        return str(compare.run(["a=sft", "b=sft"], seeds=2, tries=1, steps=1, items=10, rows=8,
                               skills="list", device="cpu", executor=some))
    with monkeypatch.context() as now:
        now.setattr(compare, "run_jobs", make_here)
        first = call(None)
    there = {*Path().rglob("*")}
    some = kind(1) if kind else object()            # one without submit
    assert call(some) == first and there <= {*Path().rglob("*")}


DAEMON = """
import multiprocessing, sys
from types import SimpleNamespace
from nanouft.compare import __main__ as compare, plan, runs, workers
from nanouft.compare.progress import RunsBar
from pathlib import Path

def task() -> None:
    c = SimpleNamespace(executor=None, device="cpu", cfg=SimpleNamespace(workers=1))
    job = runs.Job(Path("runs/start"), None, plan.EvalSpec(items=2, tasks=("list",)), "base")
    with RunsBar(1) as bar:
        workers.run_jobs([job], compare.pool_of(c), bar)

if __name__ == "__main__":
    process = multiprocessing.get_context("spawn").Process(target=task, daemon=True)
    process.start()
    process.join()
    sys.exit(process.exitcode)
"""


def test_a_daemonic_process_which_may_have_no_children_compares():
    Path("task.py").write_text(DAEMON)
    done = subprocess.run([sys.executable, "task.py"], capture_output=True, text=True,
                          env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])})
    assert done.returncode == 0 and [*Path("runs/start").glob("*.npz")], done.stderr


@pytest.mark.parametrize("library, was, told", [
    ("torch", "1.0", r"has torch .*, and the comparison 1\.0"),
    ("nanouft:loop.py", "0", "has another nanouft/loop.py"), ("own.py", "0", "another own.py")])
def test_a_worker_with_other_code_is_refused_in_one_line(library, was, told, monkeypatch):
    code = executor.code_fingerprint() | {library: was}
    assert re.search(told, executor.code_mismatch(code))
    if library == "own.py":                             # one of them in a process, which takes long
        monkeypatch.setattr(executor, "code_fingerprint", lambda: code)
        with pytest.raises(UserError, match=told):
            carry(Odd(0))


def test_what_workers_have_done_is_read_once_each_time(monkeypatch):
    read, share_done = [], workers.share_done
    for module in (workers, executor):
        monkeypatch.setattr(module, "share_done",
                            lambda part: read.append(part) or share_done(part), raising=False)
    carry(Odd(0))
    assert len(read) == 1


def test_the_time_of_a_plan_is_not_that_of_one_worker_of_an_executor(monkeypatch):
    c = SimpleNamespace(all_arms=["a"], seeds=[0], job=lambda *of: SimpleNamespace(key=0),
                        lr=lambda arm: 1.0, executor=Odd(0), cfg=SimpleNamespace(workers=8))
    monkeypatch.setattr(power, "missing_jobs", lambda jobs: [*jobs])
    monkeypatch.setattr(runs, "cpu_seconds", lambda job: 600.0)
    assert power.time_left(c) == ("The seeds take about 10 minutes more, divided among the "
                                  "executor's workers.")


def test_where_no_worker_begins_it_is_told_and_ctrl_c_cancels(monkeypatch, capsys):
    monkeypatch.setattr(executor, "PATIENCE", 0)
    some = Odd(0, idle=True)

    def interrupt(bar, text, **how):
        assert text == "0 of 1 runs, waiting for a worker"
        if "no worker of Odd has started" in capsys.readouterr().out:
            assert (RUNS / executor.unfinished(Path("wanted"))).exists()
            raise KeyboardInterrupt
    monkeypatch.setattr(workers.tqdm, "set_postfix_str", interrupt)
    with pytest.raises(KeyboardInterrupt):
        carry(some)
    assert all(x.cancelled() for x in some.given) and not [*Path("out").rglob("*.partial")]


@pytest.mark.slow
def test_a_part_ends_when_it_is_no_longer_wanted(tmp_path):
    """As when its comparison was stopped; what it has begun is removed."""
    Path("own.py").write_text(OWN.replace(
        "    pass", "    def loss(self, batch):\n        import time\n        time.sleep(60)"))
    config = RunConfig.of("own.py", dict(skills="list", rows=8, steps=2, device="cpu"))
    part = runs.Job(RUNS / "slow", config.with_flags(**runs.ONLY_TRAIN), init="base")
    RUNS.mkdir(parents=True)
    wanted = RUNS / "wanted"
    told = executor.pickle.dumps({}) + executor.pickle.dumps((part, {}))
    with ThreadPoolExecutor(1) as some:
        wanted.touch()
        future = some.submit(executor.run_on_worker, told, str(tmp_path), str(wanted))
        while not [*RUNS.glob("slow.*.partial/metrics.jsonl")]:
            time.sleep(0.1)
        wanted.unlink()
        assert "was killed" in future.result(20)
        assert "does not see" in executor.run_on_worker(told, str(tmp_path), str(wanted))
    assert not [*RUNS.iterdir()]


def test_what_another_machine_writes_stays_for_a_day():
    ours, theirs = (RUNS / f"a-{x}.{host}-{pid}.partial" for x, host, pid in (
        (1, runs.HOST, 2**22 + 1), (2, "elsewhere", os.getpid())))
    for place in (ours, theirs, executor.unfinished(RUNS / "a-3")):
        place.mkdir(parents=True)
        (place / "file").touch()
    workers.remove_abandoned([RUNS])
    assert not ours.exists() and theirs.exists() and len([*RUNS.iterdir()]) == 2
    for file in (theirs / "file", theirs):
        os.utime(file, (1e9, 1e9))
    workers.remove_abandoned([RUNS])
    assert not theirs.exists()
