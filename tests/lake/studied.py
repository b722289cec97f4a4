"""What the page of the lake is made from in the tests: settings, and a study of three rows."""
from frozen_lake.measure import CONTRASTS

HP = {"lam": 0.2, "gamma": 0.95, "beta": 0.1, "lr": 5e-3, "steps": 200}
VERDICTS = ("holds", "does not hold", "undecided")
STUDY = {"verdict": "does not hold", "maps": 3, "seeds": 2, "verdicts": dict.fromkeys(VERDICTS, 1), "settings": [
    {"name": f"setting {i}, changed in one thing", "order_share": 0.25, "maps": 3,
     "contrasts": {n: [-0.01, 0.002, v] for n in CONTRASTS}, "verdict": v} for i, v in enumerate(VERDICTS)]}
