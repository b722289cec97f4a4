"""Masks as real rows have them."""
from random import Random


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
