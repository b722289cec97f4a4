"""The start model's log-probs of the training rows, which many runs of a comparison need: the tries
of a method, and other methods at the same seed, read the same rows in the same order. One run reads
them, and the others have its numbers (reference.once), to the last digit those of their own.

    train.carry_out(config, pass_file_in(folder, since, began))

A file has 4 bytes for each token of an answer. The folder may be removed at any time.
"""
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import torch

from nanouft.compare.code import hashes, versions
from nanouft.models.folders import OF_HUB, folder_of
from nanouft.plumbing.files import HOST

OF_RUN = ("key", "tokenizer", "device", "processor")    # key: start weights, rows and their order


def pass_file_in(folder: Path, since: float, began: float) -> Callable[[dict], Path]:
    """run.json of a run -> its file, whose name has a hash of all that its numbers depend on. since
    and began: see code.hashes."""
    def file_of(run: dict) -> Path:
        code = {name: x for name, x in hashes(since, began).items()
                if not name.startswith("nanouft:objectives/")}      # they only read the numbers
        own = [run["hp"], run["config"]["seed"]] if run["code"] else []     # setup() has them
        start = folder_of(run["config"]["init"])        # its config.json and buffers, too
        files = sorted((x.name, x.stat().st_size, x.stat().st_mtime_ns)
                       for pattern in OF_HUB for x in start.glob(pattern))
        card = torch.cuda.get_device_name() if torch.cuda.is_initialized() else ""
        told = [HOST, card, torch.get_num_threads(), *map(run.get, OF_RUN), files,
                versions(), code, own]
        name = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
        return folder / f"{name[:24]}.npz"
    return file_of
