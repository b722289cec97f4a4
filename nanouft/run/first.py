"""Models that must be trained before a run: PoFT's aligned model, the estimates of TIS-DPO ...

They are made once, in out/.first, by training runs of their own.
"""
import contextlib
import io
import shlex
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from nanouft.errors import UserError, flag, say
from nanouft.loop import Device
from nanouft.models.load import folder_of
from nanouft.objective import Objective, Prerequisite
from nanouft.objectives import OBJECTIVES
from nanouft.run import processes
from nanouft.run.config import as_words
from nanouft.run.flags import Train
from nanouft.run.storage import checksum, made_once

FIRST = Path("out/.first")
SAME = ("init", "data", "prompt_field", "response_field", "strict", "rows", "skills", "mix",
        "noise", "seed")                        # settings that such a run takes over
OF_WORLD = ("rows", "skills", "mix", "noise")   # those that mean nothing with --data
TrainMain = Callable[[list[str]], object]      # train.main


def first_models(objective: Objective, hp: Any, cfg: Train, device: Device,
                 train: TrainMain) -> Any:
    """`hp` with the folders of the training runs that must come first. Each is made once."""
    wanted = objective.prerequisite
    if wanted is None or getattr(hp, wanted.setting) is not None:
        return hp
    made = [str(made_once(folder, partial(train_quietly, train, argv, device)))
            for folder, argv in prerequisite_runs(wanted, cfg)]
    return replace(hp, **{wanted.setting: made})


def judges(cfg: Train, device: Device, train: TrainMain) -> list[str]:
    """The aligned models that --keep asks; PoFT asks the same."""
    if not cfg.asks_judges:
        return []
    poft = OBJECTIVES["poft"]
    return first_models(poft, poft.hp(aligned=cfg.judge), cfg, device, train).aligned


def prerequisite_runs(wanted: Prerequisite, cfg: Train) -> list[tuple[Path, list[str]]]:
    """[(folder, command line of train)]. The folder's name is a hash of the command, the start
    model and the data."""
    if cfg.data and not wanted.inherits:
        raise UserError(f"{flag(wanted.setting)} DIR ... is needed with --data: the folders of "
                        "models that know such answers; only for NanoWorld can one be made")
    given = {}
    for name in ("dtype", *(SAME if wanted.inherits else ())):
        value = getattr(cfg, name)
        if value and value != "auto" and not (cfg.data and name in OF_WORLD):
            given[flag(name)] = value
    argv = as_words(given, [])
    start = folder_of(cfg.init if wanted.inherits else "base")
    files = sorted(start.glob("model*.safetensors"))
    if cfg.data:
        from nanouft.files.containers import parts
        files += parts(cfg.data)
    commands = [[*shlex.split(flags), *argv] for flags in wanted.commands]
    return [(FIRST / f"{wanted.setting}-{checksum(repr(c), *files)[:16]}", c) for c in commands]


def train_quietly(train: TrainMain, argv: list[str], device: Device, folder: Path) -> None:
    """A training run for its model alone: no table, no checkpoints. One process makes it."""
    say(f"first, once: python -m nanouft.train {shlex.join(argv)}")
    quiet = ["--plain", "--save-every", "0", "--device", device.name]
    quiet += ["--threads", str(torch.get_num_threads())]
    with contextlib.redirect_stdout(io.StringIO()), processes.alone():
        train([*argv, *quiet, "--out", str(folder)])
