"""bench --gpu on a CPU with a tiny shape: every part has its figures, or its reason; no time is asserted."""
import math
import time
from dataclasses import replace

import pytest
import torch
from running import call, one_error

from lab import bench, bench_gpu, gpu_parts
from nanouft.gpt import GPT, GPT2
from nanouft.objectives import OBJECTIVES
from nanouft.shell import devices
from nanouft.shell.text import read_json

FEW = ("sft", "ift", "dpo", "tis_dpo", "sftmix", "ppo")         # columns, arranged rows, a critic


@pytest.fixture
def few(monkeypatch):
    """Some objectives, and a machine that cannot compile."""
    monkeypatch.setattr(gpu_parts, "OBJECTIVES", {name: OBJECTIVES[name] for name in FEW})

    def compiled(model, mode, device):
        if mode == "on":
            raise RuntimeError("no working\ncompiler")
        return model
    monkeypatch.setattr(devices, "compiled", compiled)


def test_every_part_has_its_figures_and_one_that_fails_stops_no_other(here, few, capsys):
    assert call(bench.main, "--gpu", "--shape", "tiny", "--threads", 1, "--out", "new/gpu.json") == 1
    got, said = read_json(here / "new" / "gpu.json"), capsys.readouterr().out
    assert got["torch"] == torch.__version__ and got["device"] == "cpu" and len(got["date"]) == 10
    for name, part in got["parts"].items():
        if "compiled" in name:
            assert part["error"] == "RuntimeError: no working compiler" and name in said.splitlines()[-1]
        else:
            assert "error" not in part, name
        if "eager" in name or "rollout" in name:
            assert part["tokens_per_s"] > 0
        if "numerics" in name:
            assert len(part["fp32_losses"]) == len(part["bf16_losses"]) == 3 and 0 < part["bf16_largest_gap"] < 0.1
    each = got["parts"]["objectives"]["each"]
    assert each.keys() == set(FEW) and all(one["ok"] and one["gap"] == 0 < one["gap_bf16"] for one in each.values())
    assert sum("eager" in name for name in got["parts"]) == sum("compiled" in name for name in got["parts"]) == 6


def test_an_objective_that_differs_from_the_cpu_or_breaks_is_named(few, monkeypatch):
    b = gpu_parts.Bench(gpu_parts.SHAPES["tiny"], True, devices.Device("cpu", "bf16"), devices.Device("cpu", "fp32"))
    sft, steps, out = OBJECTIVES["sft"], [], {}

    def drifts(batch, hp):
        steps.append(0)
        return sft.loss(batch, hp)[0] * (1.01 if len(steps) > 5 else 1), {}
    losses = {"sft": drifts, "dpo": lambda batch, hp: 1 / 0,
              "ift": lambda batch, hp: (batch.seqs["answer"].logp.sum() * math.nan, {})}
    for name, loss in losses.items():
        monkeypatch.setitem(OBJECTIVES, name, replace(OBJECTIVES[name], loss=loss))
    gpu_parts.objectives(b, out)
    assert not any(out["each"][name]["ok"] for name in losses) and out["equal"] == f"3 of {len(FEW)}"
    assert out["each"]["sft"]["gap"] > gpu_parts.TOLERANCE and "division" in out["each"]["dpo"]["error"]


def test_the_budget_is_kept_and_what_was_measured_stays():
    def slow(out):
        out["first"] = 1
        time.sleep(60)
    got = bench_gpu.attempt(slow, 1.01)
    assert got["first"] == 1 and got["error"] == "no time left" and got["seconds"] < 30
    assert bench_gpu.measure("tiny", devices.Device("cpu", "fp32"), None, budget=0) == 1


def test_the_mfu_is_that_of_palm_and_of_no_unknown_device(monkeypatch):
    small = replace(GPT2, n_layer=2, vocab_size=1000)
    model = GPT(small, seed=0)
    N, attention = model.n_params() - 1024 * 768, 12 * 2 * 768 * 512
    for name, flops in (("NVIDIA H100 80GB HBM3", 989e12), ("NVIDIA H100 PCIe", 756e12), ("NVIDIA H200", 989e12)):
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda name=name: name)
        for dtype, half in (("bf16", 1), ("fp32", 2)):
            got = gpu_parts.mfu(model, "sft", 512, 1e6, devices.Device("cuda", dtype))
            assert got == pytest.approx(1e6 * (6 * N + attention) * half / flops)
    assert gpu_parts.mfu(model, "ift", 512, 1e6, devices.Device("cuda", "fp32")) == pytest.approx(got * 4 / 3)
    for name in ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", "NVIDIA T4"):
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda name=name: name)
        assert gpu_parts.mfu(model, "sft", 512, 1e6, devices.Device("cuda", "bf16")) is None


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_one_line_says_so(here, capsys):
    one_error(call(bench.main, "--gpu"), capsys.readouterr().err, "no CUDA device", "--shape tiny")
