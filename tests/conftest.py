"""One thread of the CPU, so that numbers and times are the same on every machine, and no graphics
card. What a GPU computes is compared with that by `python -m lessons.bench --gpu`."""
import gc
import os
from functools import cache

gc.disable()                                    # until all files are read
os.environ["OMP_NUM_THREADS"] = "1"             # of this process and of all that it starts
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import torch  # noqa: E402 (it reads both when it is loaded)

pytest_plugins = ["browser", "commands"]        # fixtures of the tests of pages and of commands

torch.backends.mps.is_available = cache(lambda: False)      # of this process alone


def pytest_collection_finish():
    """What the files have read is no garbage, here and in the copies of this process."""
    gc.freeze()
    gc.set_threshold(20_000)
    gc.enable()
