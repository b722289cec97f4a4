"""What a model says and what it is worth: scores, held-out figures, probes, pictures, the report of a run."""
