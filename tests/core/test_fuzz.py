"""The fuzzers of tests/tools/fuzz.py, a few cases of each; with -m slow many.

    python -m pytest -m slow tests/core/test_fuzz.py            about half an hour
"""
import subprocess
import sys

import pytest
from running import ROOT

FUZZ = [sys.executable, ROOT / "tests" / "tools" / "fuzz.py"]
MANY = ["lines --n 3000", "models", "kills"]


def holds(*argv: str) -> None:
    """As a process of its own: every case is a fork of it, and forks of a process with threads may
    hang."""
    got = subprocess.run([*FUZZ, *argv], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert got.returncode == 0 and got.stdout.endswith(" | 0 |\n"), got.stdout + got.stderr


def test_nonsense_gives_one_clear_line_or_the_right_result():
    holds("lines", "models", "kills", "--short")


@pytest.mark.slow
@pytest.mark.parametrize("argv", MANY)
def test_much_nonsense_does_so_too(argv):
    holds(*argv.split())


def test_a_fuzzer_sees_what_is_wrong(tmp_path):
    """Each kind of bad end, planted."""
    planted = """
import os, signal, sys
import fuzz
from pathlib import Path

def ends(work, **kw):
    number[0] += 1
    return fuzz.run(fuzz.Case("planted", work, **kw), Path(sys.argv[1]) / str(number[0])).kind
number = [0]
fuzz.ENOUGH, fuzz.MOST = 0.2, 0.5
wait = lambda: __import__("time").sleep(9)
assert ends(lambda: 0) == "ok"
assert ends(lambda: 0, differs=lambda folder, said: "a bit") == "silently different"
assert ends(lambda: 1 // 0) == "traceback"
assert ends(lambda: os.kill(os.getpid(), signal.SIGSEGV)) == "crash"
assert ends(wait) == "never starts"
assert ends(lambda: print("begun", flush=True) or wait()) == "still going"
assert ends(lambda: print("\\x1b[2J")) == "raw control characters"
assert ends(lambda: print("error: so", file=sys.stderr) or 2) == "clean error"
assert ends(lambda: print("error: so", file=sys.stderr) or 2, may_refuse=False) == "other exit code"
assert ends(lambda: 2) == "other exit code", "two without a word"
assert ends(lambda: open("/etc/planted", "w")) == "traceback" and not Path("/etc/planted").exists()
assert ends(lambda: os.replace("x", "/etc/planted")) == "traceback"
"""
    subprocess.run([sys.executable, "-c", planted, tmp_path], cwd=ROOT / "tests" / "tools",
                   check=True, timeout=100)
