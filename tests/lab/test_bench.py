"""The benchmark runs and writes what it measured. No time is asserted: the machine is shared."""
import math
import sys

import pytest
import torch
from running import call, one_error

from nanouft.lab import bench
from nanouft.shell import devices
from nanouft.shell.files import read_json


@pytest.fixture
def short(monkeypatch, tiny_base):
    """One turn of one job, on the tiny model, which is also the fine-tuned one."""
    real = bench.paired
    monkeypatch.setattr(bench, "paired", lambda a, b, jobs, turns, device: real(a, b, 1, 1, device))
    start = bench.start_model
    monkeypatch.setattr(bench, "start_model", lambda init: start(str(tiny_base)))
    monkeypatch.setattr(bench, "kept_model", lambda cell: str(tiny_base))


def test_quick_writes_its_figures(here, short, capsys):
    assert call(bench.main, "--quick", "--threads", 1, "--out", "new folder/bench.json") == 0
    figures = read_json(here / "new folder" / "bench.json")
    assert figures["ift_over_sft"]["ratio"] > 0 and figures["threads"] == 1
    assert all(math.isfinite(v) for v in figures["ift_over_sft"].values())
    assert figures["tangent_over_ordinary"]["ratio"] > 0
    assert "ift_over_sft" in capsys.readouterr().out
    for name in ("sampling", "decoding"):
        assert (figures[f"{name}_over_transformers"] or {"ratio": 1})["ratio"] > 0


def test_above_one_means_that_ours_is_faster(short, monkeypatch, tiny_base):
    pytest.importorskip("transformers")

    def kept_model(cell):
        torch.set_num_threads(1)                                                # as a cell does
        return str(tiny_base)
    monkeypatch.setattr(bench, "kept_model", kept_model)
    monkeypatch.setattr(bench, "generate", lambda *a, **k: None)                # nothing is faster than nothing
    with devices.threads(2):
        assert bench.over_transformers(1, devices.Device("cpu", "fp32"), 4, True)["ratio"] > 10
        assert torch.get_num_threads() == 2, "making a model first leaves the threads as they were"


def test_without_transformers_sampling_is_skipped_aloud(here, short, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)                      # what an import of it then raises
    assert call(bench.main, "--quick", "--threads", 1) == 0
    assert capsys.readouterr().out.count("skipped") == 2 and not list(here.iterdir())


def test_arms_take_turns_and_the_first_turn_is_a_warm_up(monkeypatch):
    """A clock that ticks 2 for arm a and 1 for arm b; in the first turn and in one later turn the machine is busy."""
    who, now = [], [0.0]

    def arm(name, ticks):
        def work(job):
            who.append(name)
            now[0] += ticks * (9 if len(who) <= 4 or len(who) > 12 else 1)
        return work
    monkeypatch.setattr(bench.time, "perf_counter", lambda: now[0])
    result = bench.paired(arm("a", 2), arm("b", 1), 2, 3, devices.Device("cpu", "fp32"))
    assert "".join(who) == "baab" "abba" "baab" "abba", "whoever goes first changes"
    assert result["ratio"] == 2 and (result["seconds_a"], result["seconds_b"]) == (2, 1), "the fastest turn counts"
    assert result["low"] <= result["ratio"] <= result["high"] and result["turns"] == 3


def test_mistakes_are_one_line(here, capsys):
    one_error(call(bench.main, "--device", "cdua"), capsys.readouterr().err, "cdua", "cuda?")
    one_error(call(bench.main, "--dtype", "fp64"), capsys.readouterr().err, "--dtype", "fp16")
