"""Scores, held-out figures, probes, pictures, and the printed report of a run."""
