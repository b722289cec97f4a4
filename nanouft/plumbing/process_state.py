"""A call in Python leaves the process as it was, and is not changed by how it was.

    @isolated()
    def run(...):

A notebook may have an open block of autocast or no_grad, another default type or device, and random
numbers of its own. They are put aside until the call ends, however it ends. The number of CPU
threads is the caller's unless a flag gives another, and comes back, too.
"""
import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from nanouft.plumbing.printing import volume_lock

at_end = ExitStack()            # of the call that is running now; outside of calls nobody closes it


@contextmanager
def isolated() -> Iterator[None]:
    """Around a whole call, in one thread at a time, because generators belong to the process."""
    global at_end
    with volume_lock, ExitStack() as own:
        before, at_end = at_end, own
        put_generators_aside(own)
        put_settings_aside(own)
        try:
            yield
        finally:
            at_end = before


def put_settings_aside(own: ExitStack) -> None:
    """Those of PyTorch that a run changes, or that would change it; `own` brings them back."""
    import torch
    own.callback(torch.set_num_threads, torch.get_num_threads())
    own.callback(torch.set_default_dtype, torch.get_default_dtype())
    torch.set_default_dtype(torch.float32)
    if torch.get_default_device().type != "cpu":
        own.enter_context(torch.device("cpu"))
    for kind in filter(torch.is_autocast_enabled, ("cpu", "cuda", "mps")):
        own.enter_context(torch.autocast(kind, enabled=False))
    own.enter_context(torch.inference_mode(False))
    own.enter_context(torch.enable_grad())
    with suppress(RuntimeError):        # it was set by newer functions, and cannot be read by this
        own.callback(torch.set_float32_matmul_precision, torch.get_float32_matmul_precision())
        torch.set_float32_matmul_precision("highest")
    own.callback(torch.backends.cuda.enable_cudnn_sdp, torch.backends.cuda.cudnn_sdp_enabled())


def put_generators_aside(own: ExitStack) -> None:
    """Those of Python, numpy and torch. A GPU that nobody has used yet is not woken: it will begin
    with the seed of the CPU's generator, as after torch.manual_seed."""
    import numpy as np
    import torch

    from nanouft.plumbing.seeds import seed_globals
    if torch.cuda.is_initialized():
        own.callback(torch.cuda.set_rng_state_all, torch.cuda.get_rng_state_all())
        own.callback(torch.cuda.set_device, torch.cuda.current_device())
    else:
        own.callback(lambda: torch.cuda.manual_seed_all(torch.initial_seed()))
    if torch.backends.mps.is_available():
        own.callback(torch.mps.set_rng_state, torch.mps.get_rng_state())
    own.callback(torch.set_rng_state, torch.get_rng_state())
    own.callback(np.random.set_state, np.random.get_state())
    own.callback(random.setstate, random.getstate())
    seed_globals(0)


def mute(logging: Any) -> None:
    """Let transformers.logging warn of nothing and show no bars until the call ends."""
    at_end.callback(logging.set_verbosity, logging.get_verbosity())
    if logging.is_progress_bar_enabled():
        at_end.callback(logging.enable_progress_bar)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
