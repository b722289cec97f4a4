"""Inputs of every form that real rows have: masks with a prompt and gaps, one token, equal numbers.

    mask(rng, 6)                # [0, 1, 1, 0, 1, 0], or another one
    other_form(rng, args)       # arguments of a case in another form
"""
from random import Random

import torch


def mask(rng: Random, T: int) -> list[float]:
    """T numbers, 1 where something pays, at least one of them: a prompt in front, one or more
    turns, padding at the end. Each of these may be missing."""
    while True:
        found, pays = [], rng.random() < 0.3
        while len(found) < T:
            found += [float(pays)] * rng.randint(1, 3)
            pays = not pays
        if any(found[:T]):
            return found[:T]


def other_form(rng: Random, args: tuple) -> tuple:
    """Another mask; one place only; equal numbers; larger, smaller or turned numbers. Whether the
    text of a task allows them must be seen: Exam.wider."""
    form = rng.choice(["mask", "one", "equal", "large", "small", "turned"])
    return tuple(of_form(rng, x, form) for x in args)


def of_form(rng: Random, x, form: str):
    if isinstance(x, list) and x and isinstance(x[0], (float, torch.Tensor)):
        return x[:1] if form == "one" else x[:1] * len(x) if form == "equal" else x
    if not isinstance(x, torch.Tensor) or not x.dim():
        return x
    if form == "one":
        return torch.ones_like(x[..., :1]) if is_mask(x) else x[..., :1]
    if is_mask(x):
        rows = [mask(rng, x.shape[-1]) for _ in range(x.numel() // x.shape[-1])]
        return torch.tensor(rows).reshape(x.shape).to(x.dtype) if form == "mask" else x
    if not x.is_floating_point() or form == "mask":
        return x
    if form == "turned":                            # what has both signs may have the other ones
        return -x if (x < 0).any() and (x > 0).any() else x
    return {"equal": torch.full_like(x, x.flatten()[0]), "large": 20 * x, "small": x / 20}[form]


def is_mask(x: torch.Tensor) -> bool:
    return bool(((x == 0) | (x == 1)).all() and (x == 1).any())
