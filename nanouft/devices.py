"""Where and how precisely to compute: device, autocast, gradient scaler, threads, processes, compile.

CPU: fp32 always, so that numbers agree across machines as far as possible. CUDA: bf16 autocast and TF32; fp16 with a
gradient scaler where the card has no bf16 (said aloud). Losses are computed in fp32 whatever the forward uses.
"""
import contextlib
import os
from dataclasses import dataclass

import torch
import torch.distributed as dist

from nanouft.config import UserError

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass
class Device:
    name: str                   # cpu | cuda | cuda:1 | mps
    dtype: str                  # fp32 | bf16 | fp16: precision of the forward
    rank: int = 0               # this process among `world` (torchrun)
    world: int = 1

    @property
    def kind(self) -> str:
        return self.name.split(":")[0]

    def autocast(self):
        """Context of every forward: matrix products in `dtype`, parameters and optimizer in fp32."""
        if self.dtype == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(self.kind, DTYPES[self.dtype])

    def scaler(self) -> torch.amp.GradScaler:
        """fp16 gradients underflow without a scale; for bf16 and fp32 this does nothing."""
        return torch.amp.GradScaler(self.kind, enabled=self.dtype == "fp16")

    def close(self) -> None:
        if self.world > 1:
            dist.destroy_process_group()


def pick(device: str = "auto", dtype: str = "auto", threads: int | None = None) -> Device:
    """Resolve 'auto', check what was asked for, join the other processes of torchrun."""
    if threads is not None:
        if threads < 1:
            raise UserError(f"--threads {threads}: must be at least 1")
        torch.set_num_threads(threads)
    mps = torch.backends.mps.is_available()
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if mps else "cpu"
    if device == "cuda" and not torch.cuda.is_available() or device == "mps" and not mps:
        raise UserError(f"--device {device}: this machine or this build of torch has none; use --device cpu")
    if dtype == "auto":
        dtype = "fp32"
        if device == "cuda":
            dtype = "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
            if dtype == "fp16":
                print("this GPU has no bf16: fp16 with a gradient scaler instead")
    if dtype == "fp16" and device == "cpu":
        raise UserError("--dtype fp16 needs a GPU; on a CPU use fp32 or bf16")
    if device == "cuda":
        torch.set_float32_matmul_precision("high")                  # TF32
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if world > 1:
        if device == "cuda":
            device = f"cuda:{os.environ['LOCAL_RANK']}"
            torch.cuda.set_device(device)
        dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    return Device(device, dtype, rank, world)


def compiled(model: torch.nn.Module, mode: str, device: Device) -> torch.nn.Module:
    """torch.compile where asked for ('on') or likely to pay ('auto': CUDA). What cannot be compiled runs eagerly."""
    if mode == "off" or mode == "auto" and device.kind != "cuda":
        return model
    import torch._dynamo
    torch._dynamo.config.suppress_errors = True                     # fall back to eager, part by part
    print("compiling (the first steps are slow; --compile off to skip)")
    return torch.compile(model, dynamic=True)
