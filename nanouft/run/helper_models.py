"""Helper models, which are trained before a method: PoFT's aligned model, or a teacher.

    objective = with_helper_models(objective, cfg, device, train)       # with their folders

Each is trained once, in out/helpers. Its folder's name has a hash of flags, inputs and code.
"""
import shlex
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from nanouft.data.files import hash_of_rows
from nanouft.device import Device
from nanouft.models.folders import hash_of_model
from nanouft.objective import Objective
from nanouft.plumbing.errors import UserError, flag
from nanouft.plumbing.files import remove
from nanouft.plumbing.printing import BRIEF, say
from nanouft.run.config import RunConfig, parse_run
from nanouft.run.folder import hash_of_code, hash_of_texts, lock_when_free

HELPERS = Path("out", "helpers")
# flags that they take from the run, about its rows and its memory
INHERITED = ("init", "data", "rows", "skills", "mix", "noise", "seed", "max_length", "batch_size",
             "lora", "lora_alpha", "lora_targets", "dtype", "accumulate",
             "activation_checkpointing")


def with_helper_models(objective: Objective, cfg: RunConfig, device: Device,
                       train: Callable[[RunConfig], Any]) -> Objective:
    """The objective with the folders of its helper models, which `train` makes. Another process
    that needs the same one waits for it."""
    first = objective.first_models
    if first is None or getattr(objective, first.setting) is not None:
        return objective
    if cfg.data and not first.inherits:
        raise UserError(f"{flag(first.setting)} FOLDER ... is required with --data: models trained "
                        "on such responses; only for NanoWorld they are trained automatically")
    changed = {name: getattr(cfg, name) for name in INHERITED if first.inherits
               and getattr(cfg, name) != getattr(RunConfig, name)}
    content = [hash_of_code()]
    if first.inherits:
        content += [hash_of_model(cfg.init), *map(hash_of_rows, cfg.data or ())]
    folders = []
    for own_flags in first.flags:
        config = parse_run(shlex.split(own_flags)).with_flags(**changed)
        folder = HELPERS / f"{first.setting}-{hash_of_texts([*config.argv(), *content])}"
        folder.parent.mkdir(parents=True, exist_ok=True)
        with lock_when_free(folder.parent, f"{folder.name}.lock",
                            f"{folder}: another process makes it; waiting"):
            if not (folder / "model.safetensors").exists():
                remove(folder)          # what a stopped run has left
                say(f"{objective} needs {first.what}, once: python -m nanouft.train "
                    f"{shlex.join(config.argv())}", at=BRIEF)
                began = time.monotonic()
                train(config.with_flags(plain=True, save_every=0, out=str(folder),
                                        device=device.name))
                say(f"{folder}: trained in {time.monotonic() - began:.0f} s", at=BRIEF)
            else:
                say(f"{objective} needs {first.what}: {folder} is there", at=BRIEF)
        folders.append(str(folder))
    return replace(objective, **{first.setting: folders})
