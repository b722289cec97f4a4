"""Scores, held-out figures, pictures, and the printed report of a run."""
