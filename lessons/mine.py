"""My own program. It starts as nanouft/simple.py, and lesson by lesson I write it myself.

A function below takes the place of ours: in the lessons, and in `python -m lessons check mine`,
which says whether it is right. At the end the first import can go.
"""
from nanouft.simple import *  # noqa: F403
