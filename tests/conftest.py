"""One thread of the CPU, so that numbers and times are the same on every machine. What a GPU
computes is compared with that by `python -m lessons.bench --gpu`."""
import os

os.environ["CUDA_VISIBLE_DEVICES"] = ""         # before torch looks for a card; commands inherit it

import torch  # noqa: E402

pytest_plugins = ["browser"]             # the fixture of the tests of pages

torch.set_num_threads(1)
torch.backends.mps.is_available = lambda: False
