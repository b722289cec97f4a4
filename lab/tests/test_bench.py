"""The benchmark runs and writes what it measured; its arms do the same work. No time is asserted:
the machine is shared. Peak memory is counted, not timed, so a bound holds."""
import math
import sys
import time

import numpy as np
import pytest
import torch
from running import call, one_error

from lab import bench
from nanouft import gpt as logp
from nanouft.loop import Device
from nanouft.run.storage import read_json
from nanouft.sampling import threads

CPU = Device("cpu", "fp32")


@pytest.fixture
def short(monkeypatch, tiny_base):
    """One turn of one job, on the tiny model, which is also the fine-tuned one; no TRL."""
    race, start = bench.race, bench.start_model
    monkeypatch.setattr(bench, "race", lambda arms, jobs, turns, device: race(arms, 1, 1, device))
    monkeypatch.setattr(bench, "start_model", lambda init: start(str(tiny_base)))
    monkeypatch.setattr(bench, "folder_of", lambda init: tiny_base)
    monkeypatch.setattr(bench, "kept_model", lambda cell: str(tiny_base))
    monkeypatch.setattr(bench, "VOCAB", 2_000)
    monkeypatch.setitem(sys.modules, "trl", None)  # what an import of it then raises


def test_quick_writes_its_figures(here, short, capsys):
    assert call(bench.main, "--quick", "--threads", 1, "--out", "new folder/bench.json") == 0
    figures, printed = read_json(here / "new folder" / "bench.json"), capsys.readouterr().out
    assert figures["threads"] == 1 and f"torch {torch.__version__}" in printed, (
        "the versions of all peers are printed")
    names = {"step": "transformers_over_ours", "ift": "ift_over_sft",
             "sampling": "transformers_over_ours", "decoding": "transformers_over_ours",
             "memory": "logp_over_plain"}
    for part, name in names.items():
        if figures[part] is None:  # transformers is not installed
            assert part in ("step", "sampling", "decoding")
        else:
            assert figures[part][name]["ratio"] > 0
            assert all(map(math.isfinite, figures[part][name].values()))
            assert f"{part:<9} {name}" in printed
    assert figures["trl"] is None and "TRL is not installed" in printed
    # ours beside TRL's; the parts above: one of SFT
    bench.stepper("dpo", CPU)(0), bench.stepper("grpo", CPU)(0)


def test_above_one_means_that_ours_is_faster(short, monkeypatch, tiny_base):
    pytest.importorskip("transformers")

    def kept_model(cell):
        torch.set_num_threads(1)                                                # as a cell does
        return str(tiny_base)
    monkeypatch.setattr(bench, "kept_model", kept_model)
    monkeypatch.setattr(bench, "generate", lambda *a, **k: None)  # nothing is faster than nothing
    with threads(2):
        assert bench.answers(1, CPU, 4, True)["transformers_over_ours"]["ratio"] > 10
        assert torch.get_num_threads() == 2, "making a model first leaves the threads as they were"


def test_without_transformers_its_parts_are_skipped_aloud(here, short, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    assert (call(bench.main, "--quick", "--threads", 1, "--only", "step", "ift", "decoding", "trl")
            == 0)
    printed = capsys.readouterr().out
    assert printed.count("skipped") == 3 and "ift_over_sft" in printed and "memory" not in printed


def test_arms_take_turns_and_the_first_turn_is_a_warm_up(monkeypatch):
    """A clock that ticks 2 for arm a and 1 for arm b; in the first turn and in one later pair the
    machine is busy."""
    who, now = [], [0.0]

    def arm(name, ticks):
        def work(job):
            who.append(name)
            now[0] += ticks * (9 if len(who) <= 4 or len(who) in (9, 10) else 1)
        return work
    for clock in ("perf_counter", "process_time"):
        monkeypatch.setattr(time, clock, lambda: now[0])
    times = bench.race({"a": arm("a", 2), "b": arm("b", 1)}, 2, 3, CPU)
    assert "".join(who) == "baab" "abba" "baab" "abba", "whoever goes first changes"
    assert times["a"].tolist() == [2, 2, 18, 2, 2, 2], "turn by turn, job by job"
    figures = bench.over(times["a"], times["b"])
    assert figures["ratio"] == 2 and figures["pairs"] == 6 and figures["seconds_b"] == 1
    assert bench.over(np.array([1.0, 2, 3]), np.ones(3)) == {
        "ratio": 2, "low": 1.5, "high": 2.5, "pairs": 3, "seconds_a": 2, "seconds_b": 1}


def test_log_probs_of_a_large_vocabulary_take_less_memory_than_cross_entropy(short, monkeypatch):
    monkeypatch.setattr(bench, "VOCAB", 8_000)
    monkeypatch.setattr(logp, "LARGE", 0)
    monkeypatch.setattr(logp, "PART", 2**20)
    peak = bench.memory(1, CPU)["peak"]
    logits = 4 * 1024 * 8_000
    assert peak["plain"] > 3 * logits, "logits, log-softmax and gradient"
    assert peak["ratio"] < 0.6


def test_mistakes_are_one_line(here, capsys):
    one_error(call(bench.main, "--only", "speed"), capsys.readouterr().err, "part", "step")
    one_error(call(bench.main, "--device", "cdua"), capsys.readouterr().err, "cdua", "cuda?")
    one_error(call(bench.main, "--dtype", "fp64"), capsys.readouterr().err, "--dtype", "fp16")
