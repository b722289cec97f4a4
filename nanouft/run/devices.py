"""Where and how precisely to compute: device, precision, threads, processes, torch.compile.

CPU: fp32 always, so that numbers agree across machines as far as possible. CUDA: bf16 autocast and
TF32; fp16 with a gradient scaler if the card has no bf16. Losses are computed in fp32 whatever the
forward uses.
"""
import os
import sys
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
import torch.nn as nn

from nanouft.errors import UserError, say
from nanouft.loop import DTYPES, Device
from nanouft.run.words import choose

MOST_THREADS = 256              # each needs a stack; without one the process ends without a message
PATIENCE = timedelta(hours=2)   # the others wait while the first process evaluates (nccl: 10 min)


def pick(device: str = "auto", dtype: str = "auto", threads: int | None = None,
         team: bool = False) -> Device:
    """Resolve 'auto', check what was given; `team`: join the other processes of torchrun."""
    choose("value of --device:", device.split(":")[0], ("auto", "cpu", "cuda", "mps"))
    choose("value of --dtype:", dtype, ("auto", *DTYPES))
    if threads is not None:
        if not 1 <= threads <= MOST_THREADS:
            raise UserError(f"--threads {threads}: must be at least 1 and at most {MOST_THREADS:,}")
        torch.set_num_threads(threads)
    if device == "auto":
        has_mps = torch.backends.mps.is_available()
        device = "cuda" if torch.cuda.device_count() else "mps" if has_mps else "cpu"
    rank, processes = torchrun_rank()
    if processes > 1 and not team:
        raise UserError("only nanouft.train works in several processes; drop torchrun")
    if rank > 0:                                        # only the first process prints
        sys.stdout = open(os.devnull, "w", encoding="utf-8")
    if device != "cpu":
        device, dtype = pick_gpu(device, dtype, processes)
    if dtype == "fp16" and device.startswith("cpu"):
        raise UserError("--dtype fp16 needs a GPU; on a CPU use fp32 or bf16")
    dtype = "fp32" if dtype == "auto" else dtype
    return Device(device, dtype) if processes == 1 else join(device, dtype, rank, processes)


def pick_gpu(device: str, dtype: str, processes: int) -> tuple[str, str]:
    """(device, precision) of an accelerator that is there."""
    kind, colon, number = device.partition(":")
    if colon and (kind == "auto" or not number.isdecimal()):
        raise UserError(f"--device {device}: after the colon stands a number, as in cuda:1")
    has = {"cpu": 1, "cuda": torch.cuda.device_count(),
           "mps": int(torch.backends.mps.is_available())}[kind]
    if not has:
        raise UserError(f"--device {device}: this machine or this build of torch has none; "
                        "use --device cpu")
    if number and int(number) >= has:
        raise UserError(f"--device {device}: there is no number {number}; {kind} has {has}, "
                        "counted from 0")
    if kind != "cuda":
        return device, dtype
    if processes > 1:
        if number or int(os.environ["LOCAL_RANK"]) >= has:
            raise UserError(f"--device {device}: torchrun gives each process a GPU of its own, "
                            f"this machine has {has}; use --device cuda and --nproc_per_node of at "
                            "most that number")
        device = f"cuda:{os.environ['LOCAL_RANK']}"
    if dtype == "auto":
        dtype = "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
        if dtype == "fp16":
            say("this GPU has no bf16: fp16 with a gradient scaler instead")
    torch.set_float32_matmul_precision("high")                      # TF32
    torch.cuda.set_device(device if ":" in device else "cuda:0")    # what "the" GPU is from here on
    return device, dtype


# ---- several processes ---------------------------------------------------------------------------
def torchrun_rank() -> tuple[int, int]:
    """(number of this process, number of processes); (0, 1) without torchrun."""
    wrong = UserError("WORLD_SIZE is set, but RANK, LOCAL_RANK, MASTER_ADDR or MASTER_PORT is not, "
                      "or one of them cannot be; start several processes by torchrun")
    try:
        processes = int(os.environ.get("WORLD_SIZE", 1))
        if processes == 1:
            return 0, 1
        rank, _, _ = (int(os.environ[name]) for name in ("RANK", "LOCAL_RANK", "MASTER_PORT"))
    except (KeyError, ValueError):
        raise wrong from None
    if not 0 <= rank < processes or not os.environ.get("MASTER_ADDR"):
        raise wrong
    return rank, processes


def join(device: str, dtype: str, rank: int, processes: int) -> Device:
    """The Device of this process among the others."""
    from nanouft.run.processes import Team  # only for several
    own = torch.device(device) if device.startswith("cuda") else None
    dist.init_process_group("nccl" if own else "gloo", timeout=PATIENCE, device_id=own)
    return Team(device, dtype, rank, processes)


def compiled(model: nn.Module, mode: str, device: Device, steps: int) -> Any:
    """torch.compile where asked for ('on') or likely to pay ('auto': CUDA, more than 20M parameters
    and 500 steps, for it takes a minute or more). What cannot be compiled runs eagerly."""
    small = sum(p.numel() for p in model.parameters()) < 20e6 or steps < 500
    if mode == "off" or mode == "auto" and (device.kind != "cuda" or small):
        return model
    import torch._dynamo
    torch._dynamo.config.suppress_errors = True             # fall back to eager, part by part
    say("compiling (the first steps are slow; --compile off to skip)")
    return torch.compile(model, dynamic=True)
