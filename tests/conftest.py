"""One thread of the CPU, so that numbers and times are the same on every machine, and no graphics
card. What a GPU computes is compared with that by `python -m tests.bench --gpu`."""
import gc
import os
import sys
import warnings
from functools import cache

gc.disable()                                    # until all files are read
os.environ["OMP_NUM_THREADS"] = "1"             # of this process and of all that it starts
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import pytest  # noqa: E402
import torch  # noqa: E402 (it reads both when it is loaded)

pytest_plugins = ["browser", "commands"]        # fixtures of the tests of pages and of commands

torch.backends.mps.is_available = cache(lambda: False)      # of this process alone


def pytest_configure():
    """A warning is no error, here and in all that a test starts: PyTorch's compiler has some."""
    if os.environ.pop("PYTHONWARNINGS", ""):
        sys.warnoptions.clear()
        warnings.resetwarnings()


def pytest_collection_finish():
    """What the files have read is no garbage, here and in the copies of this process."""
    gc.freeze()
    gc.set_threshold(20_000)
    gc.enable()


@pytest.fixture(autouse=True)
def nothing_outlives_a_test():
    """What one test leaves changed another one reads, and only the order of the files says which:
    a student's loss once stayed in simple.py, whose own test then failed."""
    before, path = state(), [*sys.path]
    yield
    sys.path[:] = path                      # a file of one's own puts its folder there
    now = state()
    assert [name for name, value in before.items()
            if now.get(name) is not value and now.get(name) != value] == []


def state() -> dict:
    """The settings of this process, and what the names of the package stand for; a table by a copy
    of it."""
    of_process = {"threads": torch.get_num_threads(), "type": torch.get_default_dtype(),
                  "gradient": torch.is_grad_enabled(), "folder": os.getcwd(),
                  "products": torch.get_float32_matmul_precision(),
                  "autocast": torch.is_autocast_enabled("cpu")}
    environment = {f"${name}": value for name, value in os.environ.items()
                   if name != "PYTEST_CURRENT_TEST"}
    return of_process | environment | {
        f"{module}.{name}": {**value} if type(value) is dict else value
        for module, file in [*sys.modules.items()] if module.partition(".")[0] == "nanouft"
        for name, value in vars(file).items() if not name.startswith("__")}
