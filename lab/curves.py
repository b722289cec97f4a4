"""Curves of a run in few points."""
import numpy as np

CURVE = 24              # points of a learning curve


def four_digits(x: float) -> float:
    """Four digits are enough for a page."""
    return float(f"{x:.4g}")


def mean_curve(values: list[float]) -> list[list[float]]:
    """[[step, mean of the steps up to it]], at most CURVE of them."""
    parts = np.array_split(np.arange(len(values)), min(CURVE, len(values))) if values else []
    return [[int(p[-1]) + 1, four_digits(np.mean([values[i] for i in p]))] for p in parts]


def held_curve(log: list[dict], name: str) -> list[list[float]]:
    """[[step, value]] of a held-out figure on the way."""
    return [[line["step"], four_digits(line["held_out"][name])]
            for line in log if line.get("held_out")]
