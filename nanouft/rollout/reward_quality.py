"""How good is a reward model? Accuracy on held-out pairs, in all and per family, and its own guess of that.

    python -m nanouft.reward --out out/reward                   # its last lines come from here

All of it is made of differences of rewards, r_w - r_l, one a pair: above 0 the better answer has the higher reward.
"""
from collections.abc import Callable

import numpy as np

from nanouft.look.stats import bootstrap
from nanouft.rollout.scorer import sigmoid


def quality(margin: np.ndarray, families: list[str]) -> dict:
    """(n,) r_w - r_l of held-out pairs and the family of each: `accuracy` with its 95 % interval, `nll` (log 2 says
    nothing), `confidence` (what the model expects its accuracy to be), accuracy per family."""
    grouped: dict[str, list[float]] = {}
    for family, m in zip(families, margin, strict=True):
        grouped.setdefault(family, []).append(m)
    return {**accuracy(margin), "nll": float(np.logaddexp(0, -margin).mean()),
            "confidence": float(sigmoid(np.abs(margin)).mean()), "margin": float(margin.mean()),
            "families": {f: accuracy(np.array(m)) for f, m in sorted(grouped.items()) if f}}


def accuracy(margin: np.ndarray) -> dict:
    won = 0.5 + 0.5 * np.sign(margin)
    low, high = bootstrap(won)
    return {"accuracy": float(won.mean()), "low": low, "high": high, "pairs": len(won)}


def report(held: dict, say: Callable = print) -> None:
    say(f"held-out accuracy {100 * held['accuracy']:.1f} % [{100 * held['low']:.1f}, {100 * held['high']:.1f}] of "
        f"{held['pairs']} pairs (a coin: 50); its own guess of that {100 * held['confidence']:.1f} %; "
        f"nll {held['nll']:.3f} (log 2 = .693)")
    if held["low"] <= 0.5 <= held["high"]:
        say("that cannot be told from a coin: what it likes best will be a rare answer, and mostly a wrong one")
    for name, f in held["families"].items():
        say(f"  {name:<10} {100 * f['accuracy']:5.1f} % [{100 * f['low']:3.0f}, {100 * f['high']:3.0f}]"
            f"   {f['pairs']:>4} pairs")
