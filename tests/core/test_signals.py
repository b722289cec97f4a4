"""A signal ends a run when its step is done, keeps that step, and says how to go on: to the same
bits."""
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
from running import PAIRS, QUICK, call, environment, lines, one_error, signals_work, soon
from tiny import CPU, batch_of, some_rows, tiny

from nanouft import pretrain, reward, train
from nanouft.eval import report
from nanouft.objectives import OBJECTIVES
from nanouft.run import checkpoints, command, config
from nanouft.run.setup import Run

pytestmark = pytest.mark.usefixtures("brief")
CORPUS = "A pig saw an owl and a bee. The oak is old; the elm is not. " * 400
MAINS = {"train": train.main, "pretrain": pretrain.main, "reward": reward.main}


@pytest.fixture(autouse=True)
def as_at_a_terminal():
    with signals_work():
        yield


def strike(monkeypatch, number: int, owner, name: str, when: int) -> None:
    """The signal comes inside the call `when` of this function."""
    real, calls = getattr(owner, name), []

    def struck(*args, **kw):
        calls.append(1)
        if len(calls) == when:
            signal.raise_signal(number)
        return real(*args, **kw)
    monkeypatch.setattr(owner, name, struck)


STEP, BACK = (torch.optim.AdamW, "step"), (torch.Tensor, "backward")
CASES = {           # flags; where the signal comes, and in which call; the step that is kept
    "before any step": ("train --objective sft --steps 9 {world}", (report, "evaluate"), 1, None),
    "in backward": ("train --objective ift --residual replace --lam 0.5 --lam-noise 0.3 --steps 9 "
                    "{world}", BACK, 6, 6),  # draws that belong to a step
    "in the update": ("train --objective dpo --data pairs.jsonl --steps 9 {short}", STEP, 5, 5),
    "within a rollout": ("train --objective ppo --steps 8 --max-new 4 {world}", STEP, 5, 6),
    "in the last step": ("train --objective sft --steps 9 {world}", STEP, 9, 9),
    "after the last step": ("train --objective sft --steps 9 {world}", (report, "close_run"), 1,
                            None),
    "pretrain": ("pretrain --corpus text.txt --steps 6 --tokens 128 --threads 1", STEP, 3, 3),
    "reward": ("reward --data pairs.jsonl --steps 9 --init {tiny} --batch-size 4 --threads 1", STEP,
               4, 4)}
NUMBERS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.mark.parametrize("case", CASES)
def test_a_run_that_is_interrupted_goes_on_to_the_same_bits(case, tiny_base, here, capsys):
    line, place, when, kept = CASES[case]
    lines(here / "pairs.jsonl", PAIRS)
    (here / "text.txt").write_text(CORPUS)
    short = f"--init {tiny_base} --batch-size 4 {' '.join(QUICK)}"
    program, *argv = line.format(tiny=tiny_base, short=short, world=f"--rows 40 {short}").split()
    main, number = MAINS[program], NUMBERS[list(CASES).index(case) % 3]
    handlers = [signal.getsignal(n) for n in NUMBERS]
    with pytest.MonkeyPatch.context() as patch:
        strike(patch, number, *place, when)
        assert call(main, *argv, "--out", "run") == 128 + number
    *_, said = capsys.readouterr().err.strip().splitlines()
    goes_on = f"python -m nanouft.{program} --resume run"
    assert said == (f"interrupted ({number.name}): run holds "
                    f"{f'step {kept}' if kept else 'no step yet'}; go on with: {goes_on}")
    assert checkpoints.whole_steps(here / "run") == ([kept] if kept else [])
    assert handlers == [signal.getsignal(n) for n in NUMBERS] and not command.Loop.runs
    assert call(main, *goes_on.split()[3:]) == call(main, *argv, "--out", "whole") == 0
    for file in ("model.safetensors", "metrics.jsonl", "value_head.safetensors"):
        ours, theirs = here / "run" / file, here / "whole" / file
        assert ours.exists() == theirs.exists()
        assert not ours.exists() or ours.read_bytes() == theirs.read_bytes(), file


def test_what_cannot_be_gone_on_with_is_one_line(tiny_base, here, capsys):
    (here / "text.txt").write_text(CORPUS)
    with pytest.MonkeyPatch.context() as patch:
        strike(patch, signal.SIGINT, *STEP, 2)
        assert call(pretrain.main, *"--corpus text.txt --steps 4 --tokens 128 --out run".split()) \
            == 130

    def says(main, *words, argv):
        capsys.readouterr()
        one_error(call(main, *argv), capsys.readouterr().err, *words)
    says(pretrain.main, "no other flag", "--lr", argv=["--resume", "run", "--lr", 1])
    says(reward.main, "not made by nanouft.reward", argv=["--resume", "run"])
    says(pretrain.main, "--resume run", argv=["--out", "run"])
    (here / "text.txt").write_text(CORPUS + "New.")
    says(pretrain.main, "changed", argv=["--resume", "run"])
    (here / "text.txt").write_text(CORPUS)
    assert call(pretrain.main, "--resume", "run") == 0
    says(pretrain.main, "finished", argv=["--resume", "run"])


# ---- when a loop may be left ---------------------------------------------------------------------
def fitted(folder, signals_in: dict[int, int], stride: int = 1,
           saves: bool = True) -> tuple[list[int], int]:
    """Ten steps; in step n so many signals come. -> (what was saved, how many steps came to their
    end)"""
    ended, sft = [], OBJECTIVES["sft"]

    def source(step):
        for _ in range(signals_in.get(step, 0)):
            signal.raise_signal(signal.SIGTERM)
        ended.append(step)
        return batch_of(some_rows())
    source.stride, source.stats = stride, {}
    cfg = train.Train(lr=1e-3, save_every=50 * saves, compile="off")
    run = Run("sft", cfg, sft.hp(), CPU, folder, source, None)
    with pytest.raises(command.Interrupted), command.caught():
        train.fit(tiny(double=False), sft, run.hp, 10, run)
    steps = checkpoints.whole_steps(folder)
    shutil.rmtree(folder / "steps", ignore_errors=True)
    return steps, len(ended)


def test_the_first_signal_waits_for_the_steps_end_and_the_second_does_not(tmp_path):
    assert fitted(tmp_path, {3: 1}) == ([4], 4) and fitted(tmp_path, {9: 1}) == ([10], 10)
    assert fitted(tmp_path, {3: 2}) == ([], 3), "who asks again does not want to wait"
    assert fitted(tmp_path, {3: 1}, saves=False) == ([], 3), \
        "where nothing is saved, nothing is waited for"
    assert fitted(tmp_path, {3: 1}, stride=4) == ([4], 4) \
        and fitted(tmp_path, {4: 1}, stride=4) == ([8], 8), "until a rollout starts"
    assert fitted(tmp_path, {9: 1}, stride=4) == ([], 10), "the last steps are not a whole rollout"


def test_what_is_ignored_stays_ignored():
    """nohup, and jobs that a script starts in the background."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert config.run(lambda argv: signal.raise_signal(signal.SIGHUP)) == 0
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number, when",
                         [(signal.SIGINT, "importing"), (signal.SIGTERM, "training")])
def test_a_process_ends_soon_in_one_line(number, when, tiny_base, here):
    argv = ["-m", "nanouft.train", "--objective", "sft", "--init", str(tiny_base), "--steps",
            "100000", *QUICK]
    process = subprocess.Popen([sys.executable, *argv], cwd=here, env=environment(), text=True,
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    end, log = time.time() + 60, here / "out" / "sft" / "metrics.jsonl"
    maps = f"/proc/{process.pid}/maps"
    while not (log.exists() and log.stat().st_size if when == "training" else       # a whole step
               os.path.exists(maps) and "libtorch_cpu" in open(maps).read()):
        assert time.time() < end and process.poll() is None
        time.sleep(0.02)
    began = time.time()
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert time.time() - began < soon() and process.returncode == 128 + number
    assert "Traceback" not in err and err.strip().splitlines()[-1].startswith("interrupted"), err
    if when == "training":
        assert checkpoints.whole_steps(here / "out" / "sft")
