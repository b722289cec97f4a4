"""One thread of the CPU, so that numbers and times are the same on every machine. What a GPU
computes is compared with that by `python -m lessons.bench --gpu`."""
import os
from functools import cache

import torch

pytest_plugins = ["browser"]             # the fixture of the tests of pages

torch.set_num_threads(1)
os.environ["CUDA_VISIBLE_DEVICES"] = ""         # of this process and of all that it starts
torch.backends.mps.is_available = cache(lambda: False)      # of this process alone
