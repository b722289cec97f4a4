"""Models that must be trained before a method (poft, sftmix, tis_dpo, distill).

    objective = with_first_models(objective, cfg, device, train=main)   # made once, in out/.first
"""
import hashlib
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from nanouft.loop import Device
from nanouft.models.folders import folder_of
from nanouft.objective import Objective
from nanouft.plumbing.errors import UserError, flag
from nanouft.plumbing.files import plain_folder, remove
from nanouft.plumbing.printing import say
from nanouft.run.flags import as_flags
from nanouft.run.folder import hash_of, locked
from nanouft.run.settings import TrainFlags

# flags that they take from the run, about its rows and its memory
INHERITED = ("init", "data", "rows", "skills", "mix", "noise", "seed", "max_length", "batch_size",
             "lora", "dtype", "accumulate", "activation_checkpointing")
OF_MEMORY = INHERITED[-2:]              # these change a model by rounding only


def with_first_models(objective: Objective, cfg: TrainFlags, device: Device,
                      train: Callable[[list[str]], int]) -> Objective:
    """The objective with the folders of its first models. train(argv) makes each of them once."""
    first = objective.first_models
    if first is None or getattr(objective, first.setting) is not None:
        return objective
    if cfg.data and not first.inherits:
        raise UserError(f"{flag(first.setting)} FOLDER ... is needed with --data: models that "
                        "know such answers; they are made only for NanoWorld")
    changed = {name: getattr(cfg, name) for name in INHERITED
               if getattr(cfg, name) != getattr(TrainFlags, name)}
    if not first.inherits:
        changed = {}
    memory = as_flags({name: changed.pop(name) for name in OF_MEMORY if name in changed})
    folders = []
    for own_flags in first.flags:
        argv = [*shlex.split(own_flags), *as_flags(changed)]
        files = [str(folder_of(cfg.init) / "model.safetensors"), *(cfg.data or ())]
        key = hashlib.sha256(repr([argv, *map(hash_of, files)]).encode()).hexdigest()[:16]
        folder = plain_folder(Path("out/.first", f"{first.setting}-{key}"))
        argv += [*memory, "--plain", "--save-every", "0", "--out", str(folder)]
        if not (folder / "model.safetensors").exists():
            remove_unfinished(folder)
            say(f"needed first, made once: python -m nanouft.train {shlex.join(argv)}")
            train([*argv, "--device", device.name])
        folders.append(str(folder))
    return replace(objective, **{first.setting: folders})


def remove_unfinished(folder: Path) -> None:
    """Delete the rest of a stopped run. UserError if a run trains there now."""
    if folder.exists():
        if (folder / "run.json").exists():      # not there if the run was stopped at its start
            with locked(folder):
                pass
        remove(folder)              # after the block: Windows deletes no open file
