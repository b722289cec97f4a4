"""What a training run needs around the loop: flags, set-up, devices, checkpoints, the log, run folders."""
