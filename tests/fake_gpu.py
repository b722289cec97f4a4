"""A GPU that is not there, for tests on any CPU.

    with fake_gpu() as seen:            # a Counter of (what is read, sent or drawn, by which line)
        train.main(["--objective", "dpo", "--device", "cuda", "--dtype", "bf16", ...])

All tensors are a CPU's. What is made on "cuda", or of such a tensor, is marked in its storage.
Then, as on a GPU, an operation reads tensors of one device (but numbers () of the CPU, where
PyTorch takes them), .numpy() fails, and a generator belongs to a device.

It sees a tensor, an index or a generator of another device, each time that the CPU waits for the
GPU (item, nonzero, a boolean mask, .cpu() ...), each copy to the GPU, draws by a global generator,
and results in half precision. It can't see speed, streams (a copy that comes too early is right
here), real memory, kernels that compute something else (TF32, flash attention, CUDA's own list of
what autocast leaves in fp32), compiled code, or NCCL. It replaces private parts of PyTorch, so
test_gpu.py is skipped with any version but that of constraints.txt.
"""
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.cuda.amp.common
from torch import Tensor
from torch.utils._device import _device_constructors
from torch.utils._python_dispatch import TorchDispatchMode

import nanouft

CPU = torch.device("cpu")
INSIDE = "made by PyTorch itself"       # in the middle of an operation: of any device
FACTORIES = [f.__name__ for f in _device_constructors() if getattr(torch, f.__name__, 0) is f]
LIKE = "zeros_like ones_like full_like empty_like rand_like randn_like".split()
NEW = "new_zeros new_ones new_full new_empty new_tensor".split()
READS = {"_local_scalar_dense": "item"} | {name: name for name in (
    "nonzero equal _unique2 unique_consecutive unique_dim masked_select bincount "
    "repeat_interleave").split()}
NUMBERS = {"copy_", "masked_fill", "masked_fill_", "where", "fill_", "index_put_", "clamp"}
INDEX = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"}
PROGRAMS = (str(Path(nanouft.__file__).parent), "/transformers/")
real = {name: getattr(Tensor, name) for name in ("to", "tolist", "numpy")}
deepcopy = Tensor.__deepcopy__
real_device = Tensor.device.__get__     # type: ignore[attr-defined]


def place(x: Tensor) -> Any:
    """"cuda:0" of a tensor on the GPU, INSIDE, or None on the CPU."""
    return getattr(x.untyped_storage(), "place", None) if real_device(x) == CPU else None


def mark(out: Any, where: Any) -> Any:
    """The same; new tensors in it are at this place."""
    for x in tensors_in([out]) if where else ():
        if not place(x):
            x.untyped_storage().place = where   # type: ignore[attr-defined]
    return out


def tensors_in(values: Iterable) -> list[Tensor]:
    """tree_leaves, which takes much longer. An operation is given, and returns, lists at most."""
    found = []
    for x in values:
        if isinstance(x, Tensor):
            found.append(x)
        elif isinstance(x, (list, tuple)):
            found += tensors_in(x)
    return found


class FakeDeviceMode(TorchDispatchMode):
    """Sees every operation of PyTorch."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = Counter[tuple[str, str]]()
        self.made_on = INSIDE                   # place of what is made of no tensor
        self.gpu: dict[int, str] = {}           # generator -> its GPU
        self.current = "cuda:0"                 # what "cuda" means

    def set_device(self, device: Any) -> None:
        self.current = self.gpu_of(device)

    def gpu_of(self, device: Any) -> str:
        """"cuda:0", or "" if this isn't a GPU."""
        device = CPU if device is None else torch.device(device)
        if device.type != "cuda":
            return ""
        return self.current if device.index is None else str(device)

    def note(self, what: str) -> None:
        """Count it, with the line of nanouft or transformers that caused it."""
        frame: Any = sys._getframe(1)
        while frame.f_back and not any(x in frame.f_code.co_filename for x in PROGRAMS):
            frame = frame.f_back
        name = frame.f_code.co_filename.rpartition("/nanouft/")[2].rpartition("/transformers/")[2]
        self.seen[what, f"{name}:{frame.f_lineno}"] += 1

    def device(self, x: Tensor) -> torch.device:
        where = place(x)
        return torch.device(where) if where and where != INSIDE else real_device(x)

    def to(self, x: Tensor, *args: Any, **more: Any) -> Tensor:
        if isinstance(more.get("other", args[0] if args else None), Tensor):
            other = more.get("other", args[0] if args else None)
            args, more = (self.device(other), other.dtype), {}
        named = [a for a in (*args, more.get("device")) if isinstance(a, (str, torch.device))]
        args = tuple(CPU if isinstance(a, (str, torch.device)) else a for a in args)
        out = real["to"](x, *args, **more | ({"device": CPU} if more.get("device") else {}))
        if not named or self.gpu_of(named[0]) == (place(x) or ""):
            return out
        sent = "sent without waiting" if more.get("non_blocking") else "sent"
        self.note(sent if self.gpu_of(named[0]) else "read: cpu")
        out = out.clone()
        out.untyped_storage().place = self.gpu_of(named[0])          # type: ignore[attr-defined]
        return out

    def tolist(self, x: Tensor) -> list:
        if place(x):
            self.note("read: tolist")
        return real["tolist"](x)

    def numpy(self, x: Tensor, **more: Any) -> Any:
        if self.device(x) != CPU:
            raise TypeError("can't convert cuda:0 device type tensor to numpy; use Tensor.cpu()")
        return real["numpy"](x, **more)

    def factory(self, make: Any, like: bool = False) -> Any:
        """The same function; what it makes is where its caller wants it."""
        def made(*args: Any, **more: Any) -> Any:
            where, before = self.gpu_of(more.get("device")), self.made_on
            if like and more.get("device") is None:
                where = place(args[0])
            of = place(args[0]) if args and isinstance(args[0], Tensor) else None
            if where and where != of and make.__name__ in ("tensor", "as_tensor", "asarray"):
                self.note("sent")
            self.made_on = where
            try:
                return mark(make(*args, **more | ({"device": CPU} if where else {})), where)
            finally:
                self.made_on = before
        return made

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, more = func._schema.name.partition("::")[2], kwargs or {}
        if torch.is_inference_mode_enabled() and func._can_decompose():     # item, in its parts
            with self:
                return func.decompose(*args, **more)
        given = tensors_in([*args, *more.values()])
        places = [place(x) for x in given]
        gpus = {x for x in places if x and x != INSIDE}
        where = max(gpus, default=None) if given else self.made_on
        if gpus and (None in places or len(gpus) > 1):
            self.check(func, name, args, given, places, where)
        if gpus and name in READS:
            self.note(f"read: {READS[name]}")
        if gpus and name in INDEX and any(x is not None and x.dtype == torch.bool for x in args[1]):
            self.note("read: a mask")
        draws = torch.Tag.nondeterministic_seeded in func.tags
        if draws and "dropout" not in str(func) and "attention" not in name:
            own = more.get("generator")
            self.note(f"draws on {where or 'cpu'}" + " without a generator" * (own is None))
            if own is not None and self.gpu.get(own._cdata, "") != (where or ""):
                raise RuntimeError(f"{name}: the generator is of another device")
        return mark(func(*args, **more), where or (INSIDE if {*places} == {INSIDE} else None))

    def check(self, func: Any, name: str, args: Any, given: list[Tensor], places: list,
              where: Any) -> None:
        """RuntimeError, as PyTorch's, for an operation on tensors of two devices."""
        if name == "copy_":
            self.note("sent" if places[0] else "read: copy_")
            return
        numbers = torch.Tag.pointwise in func.tags or name in NUMBERS or "foreach" in name
        first = places[0]
        if name in INDEX and first:             # the index may be a CPU's: it is copied
            n = 1 + len([x for x in args[1] if x is not None])
            if None in places[1:n]:
                self.note("sent: an index")
            given, places = [given[0], *given[n:]], [first, *places[n:]]
        for x, at in zip(given, places):
            number = at is None and numbers and x.dim() == 0 and (first or not name.endswith("_"))
            if at not in (INSIDE, where) and not number:
                raise RuntimeError(f"{name}: tensors on two devices, {where} and {at or 'cpu'} "
                                   f"{tuple(x.shape)}")


@contextmanager
def fake_gpu(n: int = 1) -> Iterator[Counter]:
    """Within this block PyTorch has n GPUs."""
    room, auto, made = FakeDeviceMode(), torch.amp.autocast_mode.autocast, torch.Generator
    begin, enter, leave = auto.__init__, auto.__enter__, auto.__exit__
    is_on, dtype, kinds = torch.is_autocast_enabled, torch.get_autocast_dtype, ["cpu"]
    groups = torch._C._group_tensors_by_device_and_dtype

    class Generator(made):                      # type: ignore[misc,valid-type]
        def __new__(cls, device: Any = "cpu") -> "Generator":
            one = super().__new__(cls)
            room.gpu[one._cdata] = room.gpu_of(device)
            return one

    def begin_autocast(self: Any, device_type: str, *args: Any, **more: Any) -> None:
        """A GPU's is a CPU's here. Within it, a CPU's changes nothing, as on a GPU."""
        self.kind = device_type
        if device_type == "cpu" and kinds[-1] == "cuda":
            self.kind, args, more = "cuda", (dtype("cpu"), is_on("cpu")), {}
        begin(self, "cpu", *args, **more)
    with pytest.MonkeyPatch.context() as now:
        now.setattr(Tensor, "to", lambda x, *a, **k: room.to(x, *a, **k))
        now.setattr(Tensor, "tolist", lambda x: room.tolist(x))
        now.setattr(Tensor, "numpy", lambda x, **k: room.numpy(x, **k))
        now.setattr(Tensor, "cpu", lambda x: room.to(x, "cpu"))
        now.setattr(Tensor, "__deepcopy__", lambda x, memo: mark(deepcopy(x, memo), place(x)))
        now.setattr(Tensor, "type_as", lambda x, y: room.to(x, y))
        now.setattr(Tensor, "device", property(room.device))
        now.setattr(Tensor, "is_cpu", property(lambda x: room.device(x) == CPU))
        now.setattr(Tensor, "is_cuda", property(lambda x: room.device(x).type == "cuda"))
        for of, names in ((torch, FACTORIES), (torch, LIKE), (Tensor, NEW)):
            for name in names:
                now.setattr(of, name, room.factory(getattr(of, name), names is not FACTORIES))
        now.setattr(torch, "Generator", Generator)
        now.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
        now.setattr(auto, "__init__", begin_autocast)
        now.setattr(auto, "__enter__", lambda self: kinds.append(self.kind) or enter(self))
        now.setattr(auto, "__exit__", lambda self, *e: kinds.pop() and leave(self, *e))
        now.setattr(torch, "is_autocast_enabled",
                    lambda kind="cuda": kind == kinds[-1] and is_on("cpu"))
        now.setattr(torch, "get_autocast_dtype", lambda kind: dtype("cpu"))
        now.setattr(torch._C, "_group_tensors_by_device_and_dtype", lambda lists, *a: {
            (room.device(g[0][0][0]), kind): g for (_, kind), g in groups(lists, *a).items()})
        now.setattr(torch, "set_float32_matmul_precision", lambda precision: None)
        for name, value in {"device_count": n, "is_available": True, "is_bf16_supported": True,
                            "get_device_name": "a fake GPU"}.items():
            now.setattr(torch.cuda, name, lambda *a, value=value, **k: value)
        now.setattr(torch.cuda, "set_device", room.set_device)
        with room:
            yield room.seen
