"""The benchmark runs and writes what it measured; its arms do the same work; --gpu on a CPU with a
tiny shape. No time is asserted: the machine is shared. Peak memory is counted, not timed, so a
bound holds."""
import math
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from running import call, one_error

from lab import bench
from nanouft import gpt as logp
from nanouft.gpt import GPT, GPT2
from nanouft.loop import Device
from nanouft.objectives import OBJECTIVES
from nanouft.run.storage import read_json
from nanouft.sampling import threads

CPU, HALF = Device("cpu", "fp32"), Device("cpu", "bf16")


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


# ---- one GPU -------------------------------------------------------------------------------------
@pytest.fixture
def few(short, monkeypatch):
    """Some objectives: columns, arranged rows, a critic, a teacher. What is compiled is traced."""
    monkeypatch.setattr(bench.devices, "compiled", lambda model, mode, *_: torch.compile(
        model, backend="eager", dynamic=True) if mode == "on" else model)
    names = ("sft", "ift", "dpo", "tis_dpo", "ppo", "distill")
    monkeypatch.setattr(bench, "OBJECTIVES", {name: OBJECTIVES[name] for name in names})


def test_every_part_of_a_gpu_has_its_figures_and_one_that_fails_stops_no_other(
        here, few, monkeypatch, capsys):
    speed = bench.speed

    def broken(shape, name, *how):
        if name == "ift":
            raise RuntimeError("out of\nmemory")
        return speed(shape, name, *how)
    monkeypatch.setattr(bench, "speed", broken)
    argv = ("--gpu", "--shape", "tiny", "--threads", 1, "--out", "new/gpu.json")
    assert call(bench.main, *argv) == 1
    got, printed = read_json(here / "new" / "gpu.json"), capsys.readouterr().out
    assert got["torch"] == torch.__version__ and got["device"] == "cpu" and len(got["date"]) == 10
    for name, part in got["parts"].items():
        broke = name.startswith("speed ift")
        assert part.get("error") == ("RuntimeError: out of memory" if broke else None), name
        assert part.get("tokens_per_s", 1) > 0 and (not broke or name in printed.splitlines()[-1])
    assert got["parts"]["speed sft bf16 compiled"]["compiled_s"] > 0
    assert {"rollout bf16", "rollout fp32"} <= got["parts"].keys()
    for vocab in ("151,936", "50,261"):
        assert got["parts"][f"grpo V {vocab}"]["tokens_per_s"] > 0
    each = got["parts"]["objectives"]["each"]
    assert each.keys() == set(bench.OBJECTIVES) and all(one["ok"] for one in each.values())
    assert "480 s are over" in bench.attempt(lambda: {}, end=0)["error"]


def test_an_objective_that_differs_from_the_cpu_or_breaks_is_named(few, monkeypatch):
    sft, made = OBJECTIVES["sft"], []

    def drifts(batch, hp):
        made.append(0)
        return sft.loss(batch, hp)[0] * (1.01 if len(made) > 3 else 1), {}
    losses = {"sft": drifts, "dpo": lambda batch, hp: 1 / 0,
              "ift": lambda batch, hp: (batch.seqs["answer"].logp.sum() * math.nan, {})}
    for name, loss in losses.items():
        monkeypatch.setitem(bench.OBJECTIVES, name, replace(OBJECTIVES[name], loss=loss))
    out = bench.objectives(HALF, CPU)
    assert not any(out["each"][name].get("ok") for name in losses)
    assert out["ok"] == "3 of 6" and out["each"]["sft"]["gap"] > bench.TOLERANCE
    assert "division" in out["each"]["dpo"]["error"]


def test_the_mfu_is_that_of_palm_and_of_no_unknown_device(monkeypatch):
    model = GPT(replace(GPT2, n_layer=2, vocab_size=1000), seed=0)
    N, attention = model.n_params() - 1024 * 768, 12 * 2 * 768 * 512
    for name, flops in (("NVIDIA H100 80GB HBM3", 989e12), ("NVIDIA H100 PCIe", 756e12),
                        ("NVIDIA H200", 989e12)):
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda name=name: name)
        for dtype, half in (("bf16", 1), ("fp32", 2)):
            got = bench.mfu(model, "sft", 512, 1e6, Device("cuda", dtype))
            assert got == pytest.approx(1e6 * (6 * N + attention) * half / flops)
    ift = bench.mfu(model, "ift", 512, 1e6, Device("cuda", "fp32"))
    assert ift == pytest.approx(got * 4 / 3)
    for name in ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", "NVIDIA T4"):
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda name=name: name)
        assert bench.mfu(model, "sft", 512, 1e6, Device("cuda", "bf16")) is None


def test_mistakes_are_one_line(here, capsys):
    if not torch.cuda.is_available():
        one_error(call(bench.main, "--gpu"), capsys.readouterr().err, "no CUDA device", "--shape")
    one_error(call(bench.main, "--only", "speed"), capsys.readouterr().err, "part", "step")
    one_error(call(bench.main, "--device", "cdua"), capsys.readouterr().err, "cdua", "cuda?")
    one_error(call(bench.main, "--dtype", "fp64"), capsys.readouterr().err, "--dtype", "fp16")
