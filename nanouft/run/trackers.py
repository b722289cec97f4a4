"""The lines of metrics.jsonl also go to TensorBoard.

    python -m nanouft.train --log tensorboard       # then: tensorboard --logdir out

The project itself reads metrics.jsonl only. TensorBoard is optional: pip install nanouft[log].
"""
from collections.abc import Callable, Iterator
from pathlib import Path

Track = Callable[[list[dict]], None]                # lines of metrics.jsonl, in order


def tensorboard(run: Path, start: int) -> Track:
    """Where lines of a run that goes on after step `start` are sent."""
    from torch.utils.tensorboard import SummaryWriter  # needs the library of that name
    # purge_step drops what an earlier process logged after the step that this run goes on from
    writer = SummaryWriter(str(run / "tensorboard"), purge_step=start + 1)

    def track(lines: list[dict]) -> None:
        for line in lines:
            for name, value in numbers(line):
                writer.add_scalar(name, value, line["step"])
        writer.flush()
    return track


def numbers(line: dict, before: str = "") -> Iterator[tuple[str, float]]:
    """Names and numbers of a line; those of held-out rows get their own group: held_out/nll."""
    for name, value in line.items():
        if isinstance(value, dict):
            yield from numbers(value, f"{name}/")
        elif value is not None and name != "step":
            yield before + name, value
