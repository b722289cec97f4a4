"""Shared by all tests: one thread, so that times and numbers do not depend on who else is busy."""
import torch

torch.set_num_threads(1)
