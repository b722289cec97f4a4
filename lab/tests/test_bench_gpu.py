"""bench --gpu on a CPU with a tiny shape: every part has its figures, or its reason; no time is
asserted."""
import math
from dataclasses import replace

import pytest
import torch
from running import call, one_error

from lab import bench, bench_gpu
from nanouft.gpt import GPT, GPT2
from nanouft.loop import Device
from nanouft.objectives import OBJECTIVES
from nanouft.run.storage import read_json

FEW = ("sft", "ift", "dpo", "tis_dpo", "sftmix", "ppo")         # columns, arranged rows, a critic


@pytest.fixture
def few(monkeypatch):
    """Some objectives; what is compiled is only traced."""
    monkeypatch.setattr(bench_gpu.devices, "compiled", lambda model, mode, *_: torch.compile(
        model, backend="eager", dynamic=True) if mode == "on" else model)
    monkeypatch.setattr(bench_gpu, "OBJECTIVES", {name: OBJECTIVES[name] for name in FEW})


def test_every_part_has_its_figures_and_one_that_fails_stops_no_other(here, few, monkeypatch,
                                                                      capsys):
    speed = bench_gpu.speed

    def broken(b, name, *how):
        if name == "dpo":
            raise RuntimeError("out of\nmemory")
        return speed(b, name, *how)
    monkeypatch.setattr(bench_gpu, "speed", broken)
    assert (call(bench.main, "--gpu", "--shape", "tiny", "--threads", 1, "--out", "new/gpu.json")
            == 1)
    got, printed = read_json(here / "new" / "gpu.json"), capsys.readouterr().out
    assert got["torch"] == torch.__version__ and got["device"] == "cpu" and len(got["date"]) == 10
    for name, part in got["parts"].items():
        broke = name.startswith("speed dpo")
        assert part.get("error") == ("RuntimeError: out of memory" if broke else None), name
        assert part.get("tokens_per_s", 1) > 0 and (not broke or name in printed.splitlines()[-1])
    assert got["parts"]["speed sft bf16 compiled"]["compiled_s"] > 0
    assert {"sampling bf16", "sampling fp32", "waits sft", "waits ift"} <= got["parts"].keys()
    for vocab in ("151,936", "50,261"):
        assert got["parts"][f"grpo V {vocab}"]["tokens_per_s"] > 0
    each = got["parts"]["objectives"]["each"]
    assert each.keys() == set(FEW)
    assert all(one["ok"] and one["gap"] == 0 < one["gap_bf16"] for one in each.values())


def test_an_objective_that_differs_from_the_cpu_or_breaks_is_named(few, monkeypatch):
    b = bench_gpu.Bench(bench_gpu.SHAPES["tiny"], Device("cpu", "bf16"), Device("cpu", "fp32"))
    sft, steps = OBJECTIVES["sft"], []

    def drifts(batch, hp):
        steps.append(0)
        return sft.loss(batch, hp)[0] * (1.01 if len(steps) > 5 else 1), {}
    losses = {"sft": drifts, "dpo": lambda batch, hp: 1 / 0,
              "ift": lambda batch, hp: (batch.seqs["answer"].logp.sum() * math.nan, {})}
    for name, loss in losses.items():
        monkeypatch.setitem(OBJECTIVES, name, replace(OBJECTIVES[name], loss=loss))
    out = bench_gpu.objectives(b)
    assert not any(out["each"][name].get("ok") for name in losses)
    assert out["equal"] == f"3 of {len(FEW)}"
    assert out["each"]["sft"]["gap"] > bench_gpu.TOLERANCE
    assert "division" in out["each"]["dpo"]["error"]


def test_the_mfu_is_that_of_palm_and_of_no_unknown_device(monkeypatch):
    small = replace(GPT2, n_layer=2, vocab_size=1000)
    model = GPT(small, seed=0)
    N, attention = model.n_params() - 1024 * 768, 12 * 2 * 768 * 512
    for name, flops in (("NVIDIA H100 80GB HBM3", 989e12), ("NVIDIA H100 PCIe", 756e12),
                        ("NVIDIA H200", 989e12)):
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda name=name: name)
        for dtype, half in (("bf16", 1), ("fp32", 2)):
            got = bench_gpu.mfu(model, "sft", 512, 1e6, Device("cuda", dtype))
            assert got == pytest.approx(1e6 * (6 * N + attention) * half / flops)
    ift = bench_gpu.mfu(model, "ift", 512, 1e6, Device("cuda", "fp32"))
    assert ift == pytest.approx(got * 4 / 3)
    for name in ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", "NVIDIA T4"):
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda name=name: name)
        assert bench_gpu.mfu(model, "sft", 512, 1e6, Device("cuda", "bf16")) is None


def test_who_asks_for_a_number_is_counted_and_no_part_begins_late(few, monkeypatch):
    b = bench_gpu.Bench(bench_gpu.SHAPES["tiny"], Device("cpu", "bf16"), Device("cpu", "fp32"))
    before, sft = bench_gpu.waits(b, "sft"), OBJECTIVES["sft"]

    def asks(batch, hp):
        batch.seqs["answer"].logp.sum().item()
        return sft.loss(batch, hp)
    monkeypatch.setitem(OBJECTIVES, "sft", replace(sft, loss=asks))
    assert bench_gpu.waits(b, "sft")["asked"] == before["asked"] + 1 and before["waited"] == 0
    assert "480 s are over" in bench_gpu.attempt(lambda: {}, end=0)["error"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_one_line_says_so(here, capsys):
    one_error(call(bench.main, "--gpu"), capsys.readouterr().err, "no CUDA device", "--shape tiny")
