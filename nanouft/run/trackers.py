"""The lines of metrics.jsonl also go to a tracker that people know.

    python -m nanouft.train --log tensorboard       # then: tensorboard --logdir out
    python -m nanouft.train --log wandb             # without a network: WANDB_MODE=offline

The project itself reads metrics.jsonl only. Both are optional: pip install nanouft[log].
"""
from collections.abc import Callable, Iterator
from pathlib import Path

from nanouft.errors import UserError
from nanouft.run.storage import checksum, read_json
from nanouft.run.words import one_line, optional

Track = Callable[[list[dict]], None]                # lines of metrics.jsonl, in order


def tracker(kind: str, run: Path, start: int) -> Track:
    """Where lines of a run that goes on after step `start` are sent."""
    return tensorboard(run, start) if kind == "tensorboard" else wandb(run)


def tensorboard(run: Path, start: int) -> Track:
    from torch.utils.tensorboard import SummaryWriter  # needs the library of that name
    # purge_step drops what an earlier process logged after the step that this run goes on from
    writer = SummaryWriter(str(run / "tensorboard"), purge_step=start + 1)

    def track(lines: list[dict]) -> None:
        for line in lines:
            for name, value in numbers(line):
                writer.add_scalar(name, value, line["step"])
        writer.flush()
    return track


def wandb(run: Path) -> Track:
    library = optional("wandb", "--log wandb", "log")
    same = checksum(run / "run.json")[:16]          # a resumed run has the same id
    try:
        writer = library.init(project="nanouft", name=run.name, dir=str(run), id=same,
                              config=read_json(run / "run.json"), resume="allow")
    except library.Error as e:                      # no key, no network
        raise UserError(f"--log wandb: {one_line(str(e))}; without an account: "
                        "WANDB_MODE=offline") from None

    def track(lines: list[dict]) -> None:
        for line in lines:
            writer.log(dict(numbers(line)), step=line["step"])
    return track


def numbers(line: dict, before: str = "") -> Iterator[tuple[str, float]]:
    """Names and numbers of a line; those of held-out rows get their own group: held_out/nll."""
    for name, value in line.items():
        if isinstance(value, dict):
            yield from numbers(value, f"{name}/")
        elif value is not None and name != "step":
            yield before + name, value
