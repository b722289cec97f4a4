"""What surrounds the loop: flags, run folder, reference model, sampling, rewards, evaluation."""
