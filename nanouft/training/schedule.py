"""How the learning rate moves: up over the warm-up, then down. Each function gives a factor between 0 and 1."""
import math


def warmup(step: int, steps: int) -> float:
    """Linear, from nearly 0 to 1 over `steps` steps; then 1."""
    return min(1.0, (step + 1) / steps)


def cosine(step: int, steps: int) -> float:
    """From 1 at step 0 down to 0 at `steps`."""
    return 0.5 * (1 + math.cos(math.pi * step / steps))


def warmup_cosine(step: int, steps: int, share: float) -> tuple[float, float]:
    """(factor of the learning rate, warm-up 0 -> 1): linear over this share of the steps, then a cosine to 0."""
    up = max(1, round(share * steps))
    risen = warmup(step, up)
    if step < up:
        return risen, risen
    return cosine(step - up, max(1, steps - up)), risen
