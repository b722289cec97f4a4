"""One GPU in one command: speed, memory and numbers, in less than 8 minutes.

    python -m lab.bench --gpu --out out/gpu.json                # one CUDA device; needs nothing but torch
    python -m lab.bench --gpu --shape tiny --out out/try.json   # the same parts with a tiny model, anywhere

objectives   five steps of every objective of the registry, on the device in fp32 (no TF32) and in half precision,
             against the same steps on the CPU in fp32: all finite; in fp32 loss and gradient norm equal to TOLERANCE
speed        SFT, IFT and DPO, 16 sequences of 1,024 tokens: tokens a second, MFU, peak memory; in half precision and in
             fp32 (TF32, as train has it)
loss         peak memory of forward(want="logp") and backward over 8,192 states and the whole vocabulary, beside logits
             and F.cross_entropy
rollout      GRPO, 256 answers of 128 tokens: tokens a second of sampling, of the look at policy and start, of the step
numerics     loss curves of 50 steps on NanoWorld from fresh weights: half precision and TF32 against fp32
compile      speed again under torch.compile; what cannot be compiled is an error here (train would go on eagerly)
Each part is on its own: one that fails is reported in its place, and the others go on. The file is written after each.
Parts that find no time are named. Half precision is bf16, on a GPU without bf16 fp16.
"""
import gc
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from lab.gpu_parts import SHAPES, Bench, error_line, parts, peak_flops
from nanouft.shell.devices import Device
from nanouft.shell.errors import UserError
from nanouft.shell.files import write_json
from nanouft.shell.time_limit import at_most

BUDGET = 450                # seconds; eight minutes are 480


class OutOfTime(BaseException):
    """Not an Exception: nothing on the way shall take it for a failure of its own and go on."""


def attempt(part: Callable[[dict], None], seconds: float) -> dict:
    """The figures of a part, and in "error" why some are missing."""
    out, start = {}, time.perf_counter()
    try:
        if seconds <= 1:
            raise OutOfTime
        with at_most(seconds, OutOfTime()):
            part(out)
    except OutOfTime:
        out["error"] = "no time left"
    except Exception as e:
        out["error"] = error_line(e)
    if dynamo := sys.modules.get("torch._dynamo"):
        dynamo.reset()
    if torch.cuda.is_available():
        gc.collect()                                            # what failed may hold tensors in a circle
        torch.cuda.empty_cache()
    return {**out, "seconds": time.perf_counter() - start}


# ---- the command -----------------------------------------------------------------------------------------------------
def measure(shape: str, device: Device, out: str | None, budget: float = BUDGET) -> int:
    """0 if every part has its figures, and every objective is finite and equal to the CPU; else 1."""
    if device.kind != "cuda" and shape != "tiny":
        raise UserError("--gpu: there is no CUDA device here; --shape tiny tries the command on this one")
    start, tiny = time.perf_counter(), shape == "tiny"
    half = "bf16" if device.kind != "cuda" or device.dtype == "fp32" else device.dtype
    b = Bench(SHAPES[shape], tiny, replace(device, dtype=half), replace(device, dtype="fp32"))
    name = torch.cuda.get_device_name() if device.kind == "cuda" else device.name
    result = {"device": name, "torch": torch.__version__, "python": sys.version.split()[0], "shape": shape,
              "date": time.strftime("%Y-%m-%d"), "parts": {}}
    print(f"{name}, torch {torch.__version__}, shape {shape}, at most {budget:.0f} s")
    if peak_flops(device) is None:
        print("MFU is left out: the peak of this device is not known (lab/gpu_parts.py, PEAK)")
    for part, work in parts(b).items():
        found = result["parts"][part] = attempt(work, budget - (time.perf_counter() - start))
        print(f"{part:<26} {figures(found)}", flush=True)
        result["seconds"] = time.perf_counter() - start
        if out:
            Path(out).parent.mkdir(parents=True, exist_ok=True)
            write_json(Path(out), result)
    missing = [part for part, found in result["parts"].items() if "error" in found]
    wrong = [n for n, one in result["parts"]["objectives"].get("each", {}).items() if not one["ok"]]
    print(f"{result['seconds']:.0f} s" + (f"; without figures, or not all: {', '.join(missing)}" if missing else "")
          + (f"; not equal to the CPU, or not finite: {', '.join(wrong)}" if wrong else ""))
    return 1 if missing or wrong else 0


def figures(found: dict) -> str:
    shown = {k: f"{v:.4g}" if isinstance(v, float) else str(v) for k, v in found.items()
             if v is not None and not isinstance(v, (dict, list))}
    return ", ".join(f"{k} {v}" for k, v in shown.items())
