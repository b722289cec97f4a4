"""The initial model's log-probs of the training rows, which many runs of a comparison need: the
tries of a method, and other methods at the same seed, read the same rows in the same order. One run
reads them, and the others have its numbers (reference.read_or_compute), to the last digit those of
their own.

    train.run_from_config(config, CachedLogProbs(folder, since, began))

A file has 4 bytes for each token of an answer. The folder may be removed at any time.
"""
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from nanouft.compare.fingerprint import hash_own_code, library_versions
from nanouft.models.folders import OF_HUB, folder_of
from nanouft.plumbing.files import HOST

OF_RUN = ("key", "tokenizer", "device", "processor")    # key: initial weights, rows and their order


@dataclass
class CachedLogProbs:
    """The file of a run. since and began: see fingerprint.hash_own_code."""
    folder: Path
    since: float
    began: float
    file: Path | None = None

    def __call__(self, run: dict) -> Path:
        """run: its run.json. The name of the file has a hash of all that its numbers depend on."""
        code = {name: x for name, x in hash_own_code(self.since, self.began).items()
                if not name.startswith("nanouft:objectives/")}      # they only read the numbers
        own = [run["hp"], run["config"]["seed"]] if run["code"] else []     # setup() has them
        start = folder_of(run["config"]["init"])        # its config.json and buffers, too
        files = sorted((x.name, x.stat().st_size, x.stat().st_mtime_ns)
                       for pattern in OF_HUB for x in start.glob(pattern))
        gpu = torch.cuda.get_device_name() if torch.cuda.is_initialized() else ""
        parts = [HOST, gpu, torch.get_num_threads(), *map(run.get, OF_RUN), files,
                 library_versions(), code, own]
        name = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
        self.file = self.folder / f"{name[:24]}.npz"
        return self.file

    def seconds_saved(self) -> float:
        """CPU seconds that another run has spent for this one. Without them a method would look
        cheaper because its run came second."""
        if not self.file or not self.file.exists():
            return 0.0
        with np.load(self.file) as kept:
            return float(kept["seconds"]) if kept["reader"] != os.getpid() else 0.0
