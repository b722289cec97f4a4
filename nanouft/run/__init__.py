"""What a training run needs around the loop: flags, set-up, devices, checkpoints, run folders."""
