"""Several processes, started by torchrun: what they send each other, and shared weights (--shard).

Each has a Device with its `rank` among `processes`. In one process alone nothing here changes
anything. All processes call these functions at the same places in the same order. Otherwise they
would wait for each other without end.
"""
import contextlib
import os
import warnings
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
import torch.nn as nn
from torch import Tensor

from nanouft.loop import Device


class Team(Device):
    """The Device of one process among several: what they send each other. Where one process works
    alone for a while (eval/held_out.py), `processes` is 1."""

    def sum(self, x: Tensor) -> Tensor:
        if self.processes == 1:
            return x
        there = x.to(self.name, copy=True)              # nccl adds on GPUs only
        dist.all_reduce(there)
        return there.to(x.device)

    def gather(self, mine: list) -> list:
        if self.processes == 1:
            return mine
        parts: list = [None] * self.processes
        dist.all_gather_object(parts, mine)
        out: list = [None] * sum(map(len, parts))
        for rank, part in enumerate(parts):
            out[rank::self.processes] = part
        return out

    def broadcast(self, value: Any) -> Any:
        box = [value]
        if self.processes > 1:
            dist.broadcast_object_list(box, src=0)
        return box[0]

    def close(self) -> None:
        """Leave together. A process that goes while another still holds the group can be aborted.
        """
        dist.barrier()
        dist.destroy_process_group()


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Inside, this process works as if there were no others."""
    world = os.environ.pop("WORLD_SIZE", None)
    try:
        yield
    finally:
        if world:
            os.environ["WORLD_SIZE"] = world


# ---- the model -----------------------------------------------------------------------------------
def placed(model: Any, device: Device, shard: bool) -> Any:
    """`model` on its device. shard: each process keeps its rows of every tensor, and the optimizer
    will hold state for those only. A block is whole while it computes (torch's FSDP2; ZeRO stage 3:
    Rajbhandari et al. 2020, arXiv:1910.02054). Under bf16 they send each other weights of bf16, and
    gradients of fp32."""
    if not shard or device.processes == 1:      # one process can resume a run of several
        return model.to(device.name)
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
    warnings.filterwarnings("ignore", ".*returned a view tensor")           # nobody writes into it
    mesh = init_device_mesh(device.kind, (device.processes,))
    precision = MixedPrecisionPolicy()
    if device.dtype == "bf16":
        precision = MixedPrecisionPolicy(torch.bfloat16, torch.float32)
    lists = (m for m in model.modules()
             if isinstance(m, nn.ModuleList) and len(m) == model.cfg.n_layer)
    for part in [*next(lists, []), model]:
        fully_shard(part, mesh=mesh, reshard_after_forward=True, mp_policy=precision)
    return model


@contextlib.contextmanager
def gathered_once(net: Any) -> Iterator[None]:
    """Inside, shared embeddings and head stay whole from the first forward to the backward: IFT
    reads them four times."""
    shares = hasattr(net, "set_reshard_after_forward")
    if shares:
        net.set_reshard_after_forward(False, recurse=False)
    yield
    if shares:
        net.set_reshard_after_forward(True, recurse=False)


def averaged(net: nn.Module) -> nn.Module:
    """A network whose backward averages the gradients of all processes. Shared weights do so by
    themselves."""
    return net if is_sharded(net) else nn.parallel.DistributedDataParallel(net)


def takes_part(model: nn.Module, device: Device) -> bool:
    """Does this process evaluate and save? The first does. Of shared weights each gives its part.
    """
    return device.rank == 0 or is_sharded(model)


def is_sharded(model: nn.Module) -> bool:
    return any(map(is_shared, model.parameters()))


def is_shared(x: Any) -> bool:
    """Does this process hold a part of it only?"""
    return hasattr(x, "full_tensor")


def full(x: Any) -> Tensor:
    """All of x, which every process must ask for."""
    return x.full_tensor() if is_shared(x) else x


def whole(tensors: dict[str, Tensor], keep: bool = True) -> dict[str, Tensor]:
    """All of each tensor, on the CPU. Without `keep`: help the others, and forget it."""
    gathered = ((name, full(x)) for name, x in tensors.items())     # one after the other
    return {name: x.cpu().contiguous() for name, x in gathered if keep}


def part(x: Tensor, like: Any) -> Tensor:
    """x as `like` is held: of a shared tensor the rows of this process."""
    if not is_shared(like) or not x.dim():
        return x
    from torch.distributed.tensor import distribute_tensor
    return distribute_tensor(x.to(like.device), like.device_mesh, like.placements,
                             src_data_rank=None)


def unshard(model: nn.Module, keep: bool) -> None:
    """After training: make `model` whole again on the CPU, in the process that keeps it. It can be
    saved, not run."""
    made: dict[Tensor, nn.Parameter] = {}                           # a tied one stays one
    for module in model.modules():
        for name, p in list(module.named_parameters(recurse=False)):
            if is_shared(p) and p not in made:
                all_of_it = full(p.detach())
                values = all_of_it.cpu() if keep else torch.empty(0)
                made[p] = nn.Parameter(values, p.requires_grad)
            if p in made:
                setattr(module, name, made[p])
