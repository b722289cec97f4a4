"""The initial model's log-probs of the training rows, which many runs of a comparison need: the
tries of a method, and other methods at the same seed, read the same rows in the same order. One run
reads them, and the others have its numbers (reference.read_or_compute), to the last digit those of
their own.

    train.run_from_config(config, CachedLogProbs(folder, package))

A file has 4 bytes for each token of an answer. The folder may be removed at any time.
"""
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from nanouft.compare.fingerprint import hash_of_input, hash_own_code, library_versions
from nanouft.models.folders import folder_of
from nanouft.plumbing.files import HOST, read_arrays

OF_RUN = ("key", "tokenizer", "device", "processor")    # key: initial weights, rows and their order


@dataclass
class CachedLogProbs:
    """The file of a run. package: see fingerprint.hash_own_code."""
    folder: Path
    package: Mapping[str, str]
    file: Path | None = None

    def __call__(self, run: dict) -> Path:
        """run: its run.json. The name of the file has a hash of all that its numbers depend on."""
        code = {name: x for name, x in hash_own_code(self.package).items()
                if not name.startswith("nanouft:objectives/")}      # they only read the numbers
        own = [run["hp"], run["config"]["seed"]] if run["code"] else []     # setup() has them
        start = hash_of_input(str(folder_of(run["config"]["init"])))    # with config and template
        gpu = torch.cuda.get_device_name() if torch.cuda.is_initialized() else ""
        parts = [HOST, gpu, torch.get_num_threads(), *map(run.get, OF_RUN), start,
                 library_versions(), code, own]
        name = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
        self.file = self.folder / f"{name[:24]}.npz"
        return self.file

    def seconds_saved(self) -> float:
        """CPU seconds that another run has spent for this one. Without them a method would look
        cheaper because its run came second."""
        kept = read_arrays(self.file) if self.file else {}
        return float(kept["seconds"]) if kept and kept["reader"] != os.getpid() else 0.0
