"""One thread, so that numbers and times are the same on every machine."""
import torch

pytest_plugins = ["browser"]             # the fixture of the tests of pages

torch.set_num_threads(1)
