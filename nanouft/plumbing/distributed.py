"""Work that the processes of a run share.

    models = FrozenModels(start, pad, device, share=shared)     # each row is read once
    results = share(work, things)               # as work(things): a list, one result for each thing

All processes call it, at the same place.
"""
from collections.abc import Callable, Sequence
from typing import Any

Share = Callable[[Callable[[Any], list], Sequence], list]


def one_process(work: Callable[[Any], list], things: Sequence) -> list:
    """One process does all of the work."""
    return work(things)


def split_over_processes(work: Callable[[Any], list], things: Sequence) -> list:
    """Each process does its part, neighbours together, and all get all results. A single thing is
    done by the first process."""
    from accelerate import PartialState
    from accelerate.utils import gather_object
    me, n = PartialState().process_index, PartialState().num_processes
    begins, ends = (-(-len(things) * i // n) for i in (me, me + 1))     # rounded up
    return gather_object(work(things[begins:ends]))
