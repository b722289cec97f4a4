"""How good is a reward model? Accuracy on held-out pairs, in all and per family, and calibration.

    python -m nanouft.reward --out out/reward                   # its last lines and calibration.png come from here

All of it is made of differences of rewards, r_w - r_l, one a pair: above 0 the better answer has the higher reward.
"""
from collections.abc import Callable
from pathlib import Path

import numpy as np

from nanouft.look.stats import bootstrap
from nanouft.rollout.scorer import sigmoid


def quality(margin: np.ndarray, families: list[str]) -> dict:
    """(n,) r_w - r_l of held-out pairs and the family of each: `accuracy` with its 95 % interval, `nll` (log 2 says
    nothing), `confidence` (what the model expects its accuracy to be), accuracy per family, calibration."""
    grouped: dict[str, list[float]] = {}
    for family, m in zip(families, margin, strict=True):
        grouped.setdefault(family, []).append(m)
    return {**accuracy(margin), "nll": float(np.logaddexp(0, -margin).mean()),
            "confidence": float(sigmoid(np.abs(margin)).mean()), "margin": float(margin.mean()),
            "families": {f: accuracy(np.array(m)) for f, m in sorted(grouped.items()) if f},
            "calibration": calibration(margin)}


def accuracy(margin: np.ndarray) -> dict:
    won = 0.5 + 0.5 * np.sign(margin)
    low, high = bootstrap(won)
    return {"accuracy": float(won.mean()), "low": low, "high": high, "pairs": len(won)}


def calibration(margin: np.ndarray, bins: int = 5) -> list[dict]:
    """What was expected against what came, in `bins` groups of equal size, from unsure to sure.
    margin: (n,) r_w - r_l. The model names the answer with the higher reward and says sigmoid(|margin|), 1/2 to 1;
    `share` is how often that answer is the better one. (Naming the other one adds the mirror image, nothing new.)"""
    out = []
    for part in np.array_split(np.argsort(np.abs(margin), kind="stable"), min(bins, len(margin))):
        found = accuracy(margin[part])
        out.append({"expected": float(sigmoid(np.abs(margin[part])).mean()), "share": found["accuracy"],
                    "low": found["low"], "high": found["high"], "pairs": len(part)})
    return out


def report(held: dict, say: Callable = print) -> None:
    say(f"held-out accuracy {100 * held['accuracy']:.1f} % [{100 * held['low']:.1f}, {100 * held['high']:.1f}] of "
        f"{held['pairs']} pairs (a coin: 50); its own guess of that {100 * held['confidence']:.1f} %; "
        f"nll {held['nll']:.3f} (log 2 = .693)")
    if held["low"] <= 0.5 <= held["high"]:
        say("that cannot be told from a coin: what it likes best will be a rare answer, and mostly a wrong one")
    for name, f in held["families"].items():
        say(f"  {name:<10} {100 * f['accuracy']:5.1f} % [{100 * f['low']:3.0f}, {100 * f['high']:3.0f}]"
            f"   {f['pairs']:>4} pairs")


def picture(held: dict, file: Path, title: str) -> Path:
    """calibration.png: the expected accuracy against the observed one."""
    from nanouft.look import plots  # matplotlib only where a picture is made
    with plots.plt.rc_context({"font.size": 16}):
        fig, ax = plots.plt.subplots(figsize=(7, 6.5))
        bins = held["calibration"]
        ax.plot([0.5, 1], [0.5, 1], color="black", lw=1)
        error = [[b["share"] - b["low"] for b in bins], [b["high"] - b["share"] for b in bins]]
        ax.errorbar([b["expected"] for b in bins], [b["share"] for b in bins], error, fmt="o-", color=plots.UP, ms=9,
                    capsize=4)
        ax.set(xlim=(0.48, 1.02), ylim=(0, 1.05))
        ax.set_xlabel("expected: sigma(|difference of rewards|)")
        ax.set_ylabel("share of pairs judged rightly")
        ax.set_title(f"{title}\non the line: knows how sure to be\nbelow it: too sure ({held['pairs']} held-out pairs)")
        return plots.save(fig, file)
