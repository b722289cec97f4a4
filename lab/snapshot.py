"""What the comparison keeps of one model beyond its scores, and curves of a run in few points.

    shown = snapshot_of(cell, init, model, tok)                     # see cells.py

probes      probes.py on PROBED prompts a family: diversity, KL to the base, own-prefix gap ...
pairs       nats per answer that the right and the wrong answers of 200 test pairs gained since the
            base, on average
flops       of its own stage, where it samples while it trains, counted in the run (looks at
            held-out prompts are in it)
"""
from pathlib import Path

import numpy as np

from nanouft import world
from nanouft.data.batches import encode
from nanouft.data.rows import pair_rows
from nanouft.eval import probes
from nanouft.eval.held_out import token_logps
from nanouft.models.load import start_model
from nanouft.run import devices
from nanouft.run.storage import read_json

PROBED = 20             # prompts a family of the probes
PAIRS = 200             # test pairs
CURVE = 24              # points of a learning curve


def snapshot_of(cell, init: str, model, tok) -> dict:
    """The snapshot of the model in `init`."""
    base = start_model(cell.base)[0]
    values = probes.probe(model, base, tok, cell.split, min(cell.items, PROBED))
    encoded, _ = encode(pair_rows(world.rows(cell.split, "pairs", PAIRS, 0), None), tok,
                        model.cfg.n_ctx)
    now, then = (token_logps(m, encoded, tok.pad, devices.pick("cpu", "fp32", 1))
                 for m in (model, base))
    gained = {role: four_digits(np.mean([a[role].sum() - b[role].sum() for a, b in zip(now, then)]))
              for role in ("chosen", "rejected")}
    out = {"probes": {k: four_digits(v) for k, v in values.items()}, "pairs": gained}
    file = Path(init) / "spent.json"
    spent = read_json(file) if init != "base" and file.exists() else {}
    return out | ({"flops": spent["flops"]} if spent.get("sampled") else {})


def four_digits(x: float) -> float:
    """Four digits are enough for a page."""
    return float(f"{x:.4g}")


# ---- curves --------------------------------------------------------------------------------------
def mean_curve(values: list[float]) -> list[list[float]]:
    """[[step, mean of the steps up to it]], at most CURVE of them."""
    parts = np.array_split(np.arange(len(values)), min(CURVE, len(values))) if values else []
    return [[int(p[-1]) + 1, four_digits(np.mean([values[i] for i in p]))] for p in parts]


def held_curve(log: list[dict], name: str) -> list[list[float]]:
    """[[step, value]] of a held-out figure on the way."""
    return [[line["step"], four_digits(line["held_out"][name])]
            for line in log if line.get("held_out")]
