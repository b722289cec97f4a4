"""A made-up map for the tests of the chooser: as map.py would write it; no number in it is
evidence."""
import random

METHODS = {"SFT": "nothing", "IFT": "nothing", "NEFTune": "nothing", "KTO": "labels",
           "UNA, labels": "labels", "RFT": "right answers", "DPO": "pairs", "SimPO": "pairs",
           "ORPO": "pairs", "IPO": "pairs", "UNA": "scores", "UFT": "scores", "RLOO": "reward",
           "GRPO": "reward", "best of 8": "reward"}


def map_row(name: str, place: int, sft: int, demos: int, samples: int) -> dict:
    """The row at this place, where SFT stands at place `sft`."""
    gain = 0.012 * (sft - place)
    word = ("baseline" if name == "SFT" else "better" if gain > 0.015 else "undecided" if gain >
            -0.015 else "worse")
    train = (f"python -m nanouft.train --objective {name.split(',')[0].lower()} --rows {demos} "
             "--lr 3e-5 --beta 0.1")
    return {"name": name, "needs": METHODS[name], "worse": [], "borrowed": name == "KTO",
            "endpoint": [0.7 + gain, 0.0123456], "gain": [gain, 0.0151234 * (name != "SFT")],
            "verdict": word, "cost": {"samples": samples, "tokens": 123456, "flops": 1.23456e12,
                                      "relative": 1 + 0.7 * place, "at_inference": 8
                                      if name == "best of 8" else 1},
            "changes": {"fact": [-0.1012345, 0.03, "worse"], "truth": [0.01, 0.03, "undecided"],
                        "unknown": [0.05, 0.02, "better"], "ends": [0.0, 0.001, "equal"],
                        "diversity": [-0.08, 0.05, "less varied"]},
            "settings": {"--lr": "3e-5", "--beta": "0.1"}, "failed": int(name == "IPO"),
            "commands": [f"python -m nanouft.train --objective sft --rows {demos} --out "
                         f"out/sft-{demos}", f"python -m nanouft.rewards.harvest "
                         f"--init out/sft-{demos} --rows {samples} --out out/own-{samples}",
                         f"{train} --init out/sft-{demos} --data out/own-{samples} --out "
                         f"out/own-{place}"]}


def regime(rng: random.Random, demos: int, samples: int, **more) -> dict:
    """Rows in a drawn order; without own samples those that need demonstrations only."""
    there = [n for n, needs in METHODS.items() if samples or needs == "nothing"]
    rng.shuffle(there)
    name = f"{demos:,} x {samples:,}" + "".join(f", {k} {v}" for k, v in more.items())
    return {"name": name, "demos": demos, "samples": samples, "noise": 0.0, "source": "own",
            "base": "base", **more, "rows": [map_row(n, place, there.index("SFT"), demos, samples)
                                             | {"worse": there[max(3, place + 1):]}
                                             for place, n in enumerate(there)]}


def the_map() -> dict:
    """As large as the real one will be: a grid of sizes, and some situations of their own."""
    rng = random.Random(1)
    sizes = [(d, s) for d in (30, 100, 300, 1020) for s in (0, 250, 1000, 4000)]
    more = [{"noise": 0.4}, {"source": "learnt"}, {"source": "spoilt"}, {"base": "second base"}]
    return {"world": 1, "exchange": [], "seeds": 5, "items": 100, "contrasts": 120,
            "command": "python -m lab.map", "endpoint": "mean of the nine families' scores",
            "margin": 0.02, "regimes": [regime(rng, *size) for size in sizes]
            + [regime(rng, demos, 1000, **how) for how in more for demos in (100, 300)]}
