"""Helpers of every program, without machine learning: files, errors, printing, seeds."""
