"""Where and how precisely to compute: device, autocast, gradient scaler, threads, processes, compile.

CPU: fp32 always, so that numbers agree across machines as far as possible. CUDA: bf16 autocast and TF32; fp16 with a
gradient scaler where the card has no bf16 (said aloud). Losses are computed in fp32 whatever the forward uses.
"""
import os
import sys
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
import torch.nn as nn

from nanouft.errors import UserError, choose
from nanouft.loop import DTYPES, Device

MOST_THREADS = 256          # each needs a stack; where one cannot be had, the process ends without a word of ours
PATIENCE = timedelta(hours=2)   # the others wait while the first process looks or a judge is slow (nccl: 10 minutes)


def torchrun_rank(processes: int) -> int:
    """The number of this process. KeyError or ValueError unless torchrun has set all that is needed."""
    rank, _, _ = (int(os.environ[name]) for name in ("RANK", "LOCAL_RANK", "MASTER_PORT"))
    if not 0 <= rank < processes or not os.environ["MASTER_ADDR"]:
        raise ValueError
    return rank


def pick(device: str = "auto", dtype: str = "auto", threads: int | None = None) -> Device:
    """Resolve 'auto', check what was asked for, join the other processes of torchrun; only the first may speak."""
    choose("value of --device:", device.split(":")[0], ("auto", "cpu", "cuda", "mps"))
    choose("value of --dtype:", dtype, ("auto", *DTYPES))
    if threads is not None:
        if not 1 <= threads <= MOST_THREADS:
            raise UserError(f"--threads {threads}: must be at least 1 and at most {MOST_THREADS:,}")
        torch.set_num_threads(threads)
    has = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if device == "auto":
        device = "cuda" if has["cuda"] else "mps" if has["mps"] else "cpu"
    kind, colon, number = device.partition(":")
    if colon and (kind == "auto" or not number.isdecimal()):
        raise UserError(f"--device {device}: after the colon stands a number, as in cuda:1")
    if not has[kind]:
        raise UserError(f"--device {device}: this machine or this build of torch has none; use --device cpu")
    if number and int(number) >= has[kind]:
        raise UserError(f"--device {device}: there is no number {number}; {kind} has {has[kind]}, counted from 0")
    try:
        processes = int(os.environ.get("WORLD_SIZE", 1))
        rank = torchrun_rank(processes) if processes != 1 else 0
    except (KeyError, ValueError):
        raise UserError("WORLD_SIZE is set, but RANK, LOCAL_RANK, MASTER_ADDR or MASTER_PORT is not, or one of them "
                        "cannot be; start several processes by torchrun")
    if rank > 0:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")
    if dtype == "auto":
        dtype = "fp32"
        if kind == "cuda":
            dtype = "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
            if dtype == "fp16":
                print("this GPU has no bf16: fp16 with a gradient scaler instead")
    if dtype == "fp16" and kind == "cpu":
        raise UserError("--dtype fp16 needs a GPU; on a CPU use fp32 or bf16")
    if kind == "cuda" and processes > 1:
        if number or int(os.environ["LOCAL_RANK"]) >= has["cuda"]:
            raise UserError(f"--device {device}: torchrun gives each process a GPU of its own, this machine has "
                            f"{has['cuda']}; use --device cuda and --nproc_per_node of at most that number")
        device = f"cuda:{os.environ['LOCAL_RANK']}"
    if kind == "cuda":
        torch.set_float32_matmul_precision("high")                  # TF32
        torch.cuda.set_device(device if ":" in device else "cuda:0")       # what asks for "the" GPU shall mean this one
    if processes > 1:
        own = torch.device(device) if kind == "cuda" else None
        dist.init_process_group("nccl" if own else "gloo", timeout=PATIENCE, device_id=own)
    if processes == 1:
        return Device(device, dtype)
    from nanouft.run.processes import Team  # only for several
    return Team(device, dtype, rank, processes)


def compiled(model: nn.Module, mode: str, device: Device, steps: int) -> Any:
    """torch.compile where asked for ('on') or likely to pay ('auto': CUDA, more than 20M parameters
    and 500 steps, for it takes a minute or more). What cannot be compiled runs eagerly."""
    small = sum(p.numel() for p in model.parameters()) < 20e6 or steps < 500
    if mode == "off" or mode == "auto" and (device.kind != "cuda" or small):
        return model
    import torch._dynamo
    torch._dynamo.config.suppress_errors = True                     # fall back to eager, part by part
    print("compiling (the first steps are slow; --compile off to skip)")
    return torch.compile(model, dynamic=True)
