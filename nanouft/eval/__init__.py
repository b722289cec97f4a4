"""Scores, figures on rows that are held out, probes, pictures, and the printed report of a run."""
