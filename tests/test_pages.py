"""The colours of methods; the pictures of a run; the playground, beside torch and in a browser."""
import itertools

import numpy as np
import pytest

from nanouft import colours
from nanouft.objectives import OBJECTIVES

# Red-green blindness on linear RGB: Machado, Oliveira and Fernandes 2009, severity 1.
SEEN = {"everybody": np.eye(3),
        "deuteranopia": np.array([[.367322, .860646, -.227968], [.280085, .672501, .047413],
                                  [-.011820, .042940, .968881]]),
        "protanopia": np.array([[.152286, 1.052583, -.204868], [.114503, .786281, .099216],
                                [-.003882, -.048116, 1.051998]])}
TO_XYZ = np.array([[.4124, .3576, .1805], [.2126, .7152, .0722], [.0193, .1192, .9505]])


def linear(colour: str) -> np.ndarray:
    """(3,) light of red, green and blue, from "#rrggbb"."""
    x = np.array([int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(x <= .04045, x / 12.92, ((x + .055) / 1.055) ** 2.4)


def lab(light: np.ndarray) -> np.ndarray:
    """(3,) CIELAB."""
    x = np.clip(TO_XYZ @ np.clip(light, 0, 1) / [.9505, 1, 1.089], 1e-9, None)
    f = np.where(x > .008856, np.cbrt(x), 7.787 * x + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("side", ["light", "dark"])
def test_colours_can_be_read_and_told_apart(side):
    def of(look):
        return linear(getattr(look, side))
    methods = {k: x for k, x in colours.FAMILIES.items() if k not in ("base", "truth")}
    shown = [*methods.values(), colours.UP, colours.DOWN, colours.SOFT]
    for look, paper in itertools.product(shown, (colours.PAGE, colours.PANEL)):
        dim, bright = sorted(TO_XYZ[1] @ of(x) for x in (look, paper))
        assert (bright + .05) / (dim + .05) > 4.5, look
    for (a, x), (b, y) in itertools.combinations(methods.items(), 2):
        for who, eye in SEEN.items():
            far = np.linalg.norm(lab(eye @ of(x)) - lab(eye @ of(y)))
            assert far > (8 if {a, b} == {"graded", "sampled"} else 16), (a, b, who)
    assert len({look.mark for look in methods.values()}) == len(methods)


def test_every_method_has_a_colour():
    assert all(colours.look(name).light for name in OBJECTIVES)
    assert not colours.look("ift released").dashed and colours.look("ift").dashed
