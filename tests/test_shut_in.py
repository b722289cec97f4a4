"""A program of a class changes nothing beside its own folder, whatever it tries (Linux)."""
import os
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
import torch

from lessons.classroom.sandbox import run_and_read, run_limited
from lessons.classroom.shut_in import can_shut_in

pytestmark = pytest.mark.skipif(not can_shut_in(), reason="a system that refuses namespaces")
REMOUNT = "mount -o remount,bind,rw /; unshare --map-root-user --mount mount -o remount,bind,rw /"


def told(what: str, *words: str) -> str:
    return run_and_read(ATTACKS[what], list(words), 5, 60)[0].decode()


def write_beside(beside: str, written: str) -> None:
    Path("work").write_text("x" * 2**20)
    subprocess.run(REMOUNT, shell=True, stderr=subprocess.DEVNULL)
    try:
        Path(beside).write_text("overwritten")
    except OSError as error:
        Path(written).write_text(error.strerror)


def fill(written: str) -> None:
    try:
        for k in range(99):
            Path(f"work{k}").write_bytes(bytes(2**25))
    except OSError as error:
        Path(written).write_text(error.strerror)


def end_others(neighbour: str, written: str) -> None:
    try:
        os.kill(int(neighbour), 9)
    except OSError as error:
        Path(written).write_text(f"{error.strerror}, {os.getpid() < 9}")


def leave_a_process(written: str) -> None:
    if os.fork() == 0:
        os.setsid()
        out = os.open(written, os.O_WRONLY | os.O_APPEND)
        while True:
            os.write(out, b"I am here.")
            time.sleep(0.1)
    time.sleep(0.5)


def find_network(written: str) -> None:
    Path(written).write_text(Path("/proc/self/net/dev").read_text())


def make_an_optimizer(written: str) -> None:
    """PyTorch makes a folder of its own for it."""
    torch.optim.AdamW([torch.nn.Parameter(torch.zeros(2))])
    with tempfile.TemporaryFile():
        (Path.home() / "cache").mkdir()
    Path(written).write_text("made")


ATTACKS = {x.__name__: x for x in (write_beside, fill, end_others, leave_a_process, find_network,
                                   make_an_optimizer)}


def test_it_writes_into_its_own_folder_alone(tmp_path):
    kept = tmp_path / "ex02.py"
    kept.write_text("a neighbour's")
    assert told("write_beside", str(kept)) == "Read-only file system"
    assert kept.read_text() == "a neighbour's"


def test_it_cannot_fill_the_disk():
    assert told("fill") == "No space left on device"


def test_it_ends_no_other_process():
    neighbour = subprocess.Popen(["sleep", "60"])
    try:
        assert told("end_others", str(neighbour.pid)) == "No such process, True"
        assert neighbour.poll() is None
    finally:
        neighbour.kill()
        neighbour.wait()


def test_what_it_leaves_behind_ends_with_it(tmp_path):
    """A process that has left its group, too."""
    out = tmp_path / "out"
    out.touch()
    with out.open() as written:
        run_limited(leave_a_process, [str(out)], 5, 60, tmp_path, Path(os.devnull), True)
        before = written.read()
        time.sleep(0.5)
        assert before and not written.read()


def test_it_has_no_network():
    assert "eth" not in told("find_network") and "lo:" in told("find_network")


def test_an_honest_program_finds_temporary_files_and_a_home():
    assert told("make_an_optimizer") == "made"
