"""Several rewards at once, with weights: what is learnt from is their sum.

    train --reward my.py:right --reward my.py:short=0.1     # right + 0.1 short

Given as one text it is "my.py:right + my.py:short=0.1"; run.json has this form. The log has what
each part adds to the mean reward (reward_right, reward_short): so one sees which part a model has
learnt to please. A part is anything that --reward takes. A weight below 0 is a penalty.
"""
import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from nanouft.errors import UserError
from nanouft.run.words import quoted

Scorer = Callable[..., np.ndarray]
WEIGHT = re.compile(r"(.+)=([^=/\\]*)")


def parts(name: str) -> list[tuple[str, float]]:
    """[(reward, weight)] of --reward NAME. UserError for a weight that is no number."""
    out = []
    for part in re.split(r"\s+\+\s+", name.strip()):
        reward, weight = part, "1"
        if not Path(part).exists() and (found := WEIGHT.fullmatch(part)):
            reward, weight = found.groups()
        try:
            number = float(weight)
        except ValueError:
            number = 0.0
        if not number or not math.isfinite(number):
            raise UserError(f"--reward {part}: the weight is {quoted(weight)}; write a number that "
                            "is not 0, such as my.py:short=0.1")
        out.append((reward, number))
    return out


def is_plain(name: str) -> bool:
    """Is it one reward without a weight?"""
    return parts(name) == [(name, 1.0)]


def labels(names: list[str]) -> list[str]:
    """What the log calls each: its function, or its folder; with the file where two are alike."""
    short = [Path(name).name.rpartition(":")[2] for name in names]
    long = [Path(name).name.replace(".py:", ".") for name in names]
    out = [b if short.count(a) > 1 else a for a, b in zip(short, long)]
    if twice := [name for name, label in zip(names, out) if out.count(label) > 1]:
        raise UserError(f"--reward {twice[0]}: two rewards would be called "
                        f"{out[names.index(twice[0])]} in the log; give each once, or another name")
    return out


class Several:
    """A Scorer: the weighted sum of others. `open` makes one of a name."""

    def __init__(self, name: str, open: Callable[[str], Scorer]):
        named = parts(name)
        called = labels([reward for reward, _ in named])
        self.parts = {label: (open(reward), weight)
                      for label, (reward, weight) in zip(called, named)}

    def apart(self, prompts: list[str], answers: list[str], /, **fields: list
              ) -> dict[str, np.ndarray]:
        """{label: (n,) what this part adds to the reward of each answer}."""
        return {label: weight * np.asarray(score(prompts, answers, **fields), float)
                for label, (score, weight) in self.parts.items()}

    def __call__(self, prompts: list[str], answers: list[str], /, **fields: list) -> np.ndarray:
        return np.sum([*self.apart(prompts, answers, **fields).values()], 0)

