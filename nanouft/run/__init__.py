"""What surrounds the loop of a run: flags, folder, reference model, sampling, rewards, evaluation."""
