"""torchrun with two processes (gloo): the losses of one process, and only the first process speaks and writes."""
import os
import subprocess
import sys

import pytest
import torch.distributed as dist
from running import QUICK, ROOT, call, environment, losses, metrics, one_error

from nanouft import train
from nanouft.shell.devices import Device
from nanouft.shell.files import read_json

pytestmark = pytest.mark.skipif(not dist.is_available() or not dist.is_gloo_available(), reason="torch without gloo")


# rows of a step that two processes (and two micro-batches each) cannot share equally
RUNS = {
    "neftune": (7, ["--accumulate", "2", "--freeze", "half", "--weight-decay", "0.1"]),          # SFT with noise
    "ift": (5, ["--residual", "replace", "--lam", "0.5", "--lam-noise", "0.3"]),
    "dpo": (3, ["--save-every", "2", "--eval-every", "3"])}
TRAIN = """
import sys
import torch.distributed as dist
from running import be_brief
from nanouft import train
from nanouft.shell import config

be_brief()
meet, part = dist.init_process_group, dist.destroy_process_group
dist.init_process_group = lambda *args: dist.is_initialized() or meet(*args)         # gloo cannot meet twice
dist.destroy_process_group = lambda: line is last and part()
*_, last = sys.argv
for line in sys.argv[1:]:
    assert config.run(train.main, line.split()) == 0, line
"""


def flags(objective: str, init) -> list[str]:
    rows, more = RUNS[objective]
    return ["--init", str(init), "--objective", objective, "--steps", "5", "--rows", "30", "--batch-size", str(rows),
            *more, *QUICK]


@pytest.fixture(scope="module")
def two(tiny_base, tmp_path_factory):
    """(folder, what was said): all runs, one after the other, by the same two processes. The system picks a free port
    (--standalone), so that tests may run side by side."""
    place = tmp_path_factory.mktemp("two")
    (place / "brief_train.py").write_text(TRAIN)
    env = environment()
    env["PYTHONPATH"] += os.pathsep + str(ROOT / "tests")
    got = subprocess.run([sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2",
                          "brief_train.py", *(" ".join(flags(o, tiny_base)) for o in RUNS)], cwd=place, env=env,
                         stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", errors="replace", timeout=90)
    assert got.returncode == 0, got.stderr
    return place / "out", got.stdout


@pytest.mark.parametrize("objective", RUNS)
def test_two_processes_give_the_losses_of_one(objective, two, here, tiny_base, brief):
    assert call(train.main, *flags(objective, tiny_base), "--out", "one") == 0
    both, one = two[0] / objective, here / "one"
    assert len(losses(both)) == 5 and losses(both) == pytest.approx(losses(one), rel=1e-5)
    norms = [[m.get("grad_norm", 0) for m in metrics(f)] for f in (both, one)]
    assert norms[0] == pytest.approx(norms[1], rel=1e-3)
    looks = [read_json(f / "eval.json")["before"]["held_out"] for f in (both, one)]
    assert looks[0] == pytest.approx(looks[1])


def test_only_the_first_process_speaks_and_writes(two):
    folder, said = two
    assert said.count("of 30 rows serve") == said.count("Everything is in") == len(RUNS)
    assert {f.name for f in folder.iterdir()} == set(RUNS)


def test_a_mistake_is_told_once_a_machine(here, tiny_base, capsys, monkeypatch):
    """All processes make it; the first of each machine tells it (torchrun adds its own report about the processes)."""
    for rank in ("0", "1"):
        monkeypatch.setenv("LOCAL_RANK", rank)
        code, err = call(train.main, "--init", tiny_base, "--batch-sise", 1), capsys.readouterr().err
        if rank == "0":
            one_error(code, err, "--batch-sise", "--batch-size?")
        else:
            assert code == 2 and err == ""


def test_each_process_needs_a_row(here, tiny_base, capsys, monkeypatch):
    """Checked before the processes meet, by each of them."""
    monkeypatch.setattr(train.devices, "pick", lambda *a: Device("cpu", "fp32", 0, 4))
    code = call(train.main, "--init", tiny_base, "--objective", "sft", "--rows", 30, "--batch-size", 7,
                "--accumulate", 2, *QUICK)
    one_error(code, capsys.readouterr().err, "--batch-size 7", "8 pieces")
