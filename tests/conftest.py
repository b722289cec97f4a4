"""One thread, so that numbers and times are the same on every machine."""
import torch

torch.set_num_threads(1)
