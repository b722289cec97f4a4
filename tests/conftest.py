"""One thread of the CPU, so that numbers and times are the same on every machine, and no graphics
card."""
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

pytest_plugins = ["browser", "commands", "golden"]     # fixtures: pages, commands, printed text

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
    a student's loss once stayed in simple.py, whose own test then failed. A table is known by a
    copy of it."""
    before = {of: {name: {**value} if type(value) is dict else value
                   for name, value in names.items() if name[:2] != "__"}
              for of, names in state().items()}
    path = [*sys.path]
    yield
    sys.path[:] = path                      # a file of one's own puts its folder there
    now = state()
    assert [f"{of} {name}" for of, names in before.items() for name, value in names.items()
            if (found := now.get(of, {}).get(name)) is not value and found != value] == []


def state() -> dict[str, dict]:
    """The settings of this process, and what the names of the package stand for."""
    of_process = {"threads": torch.get_num_threads(), "type": torch.get_default_dtype(),
                  "gradient": torch.is_grad_enabled(), "folder": os.getcwd(),
                  "products": torch.get_float32_matmul_precision(),
                  "autocast": torch.is_autocast_enabled("cpu")}
    environment = {name: value for name, value in os.environ.items()
                   if name != "PYTEST_CURRENT_TEST"}
    return {"process": of_process, "environment": environment} | {
        name: vars(sys.modules[name]) for name in [*sys.modules] if name[:7] == "nanouft"}
