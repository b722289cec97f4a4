"""What the comparison keeps of one model beyond its scores, in some four thousand characters.

    shown = snapshot_of(cell, init, model, tok, answers, log)        # see cells.py

probes      probes.py on PROBED prompts a family: diversity, KL to the base, own-prefix gap ...
pairs       how many nats the right and the wrong answers of 200 test pairs gained since the base
answers     what it says to the fixed prompts, with exact score and whether it stops
ledger      how hard its objective pushes each token of the right and of a wrong answer to these prompts, in the model
            that it started from ("first") and in the trained one ("last"); nothing else of the run is kept
curve       its training loss as at most 24 means; `held`: the held-out figure of its kind of data, on the way
seconds     processor time of its training, and of the runs it started from
Sizes are fixed here, before any timing. About 4 s a model on one thread, mostly for samples.
"""
import random
from pathlib import Path

import numpy as np

from nanouft import ledger, world
from nanouft.data.batches import encode
from nanouft.data.rows import Row, Turn, pair_rows
from nanouft.look import probes
from nanouft.look.held_out import token_logps
from nanouft.look.scores import Item
from nanouft.models.load import start_model
from nanouft.objectives import OBJECTIVES
from nanouft.shell import devices
from nanouft.shell.text import read_json

SHOWN = ("rules", "list", "sum", "truth", "unknown", "fact")    # families whose first prompt every row answers
PROBED = 20             # prompts a family of the probes
PAIRS = 200             # test pairs
CURVE = 24              # points of a learning curve


def snapshot_of(cell, init: str, model, tok, answers: list[Item], log: list[dict]) -> dict:
    """The snapshot of the model in `init`; `answers` are those that were scored, `log` its metrics.jsonl."""
    base, device = start_model(cell.base)[0], devices.pick("cpu", "fp32", 1)
    firsts = [next(a for a in answers if a.family == f) for f in SHOWN]
    values = probes.probe(model, base, tok, cell.split, min(cell.items, PROBED))
    return {"probes": {k: four_digits(v) for k, v in values.items()},
            "pairs": change(model, base, tok, cell.split, device),
            "answers": [{"says": a.answer, "score": four_digits(a.score), "stops": a.ended} for a in firsts],
            **({"ledger": pushes(init, [a.prompt for a in firsts], model, tok, device)} if cell.flags else {}),
            "curve": loss_curve([m["loss"] for m in log if "grad_norm" in m]), "held": held_curve(log),
            "seconds": seconds(init) if cell.flags else 0.0, **sampled_cost(init)}


def four_digits(x: float) -> float:
    """Four digits are enough for a page."""
    return float(f"{x:.4g}")


def change(model, base, tok, split: str, device) -> dict[str, float]:
    """Mean change of the log-prob of chosen and of rejected answers since the base, nats per answer."""
    encoded, _ = encode(pair_rows(world.rows(split, "pairs", PAIRS, 0), None), tok, model.cfg.n_ctx)
    now, then = (token_logps(m, encoded, tok.pad, device) for m in (model, base))
    return {role: four_digits(np.mean([a[role].sum() - b[role].sum() for a, b in zip(now, then)]))
            for role in ("chosen", "rejected")}


# ---- the ledger of the fixed prompts ---------------------------------------------------------------------------------
def pair_row(prompt: str) -> Row:
    """The prompt with its reference as demonstration and chosen answer, and a wrong answer as a pair would have it."""
    right, wrong = world.said(world.reference(prompt)), world.said(wrong_answer(prompt))
    return Row((Turn("user", prompt),), right, right, wrong)


def wrong_answer(prompt: str) -> str:
    return world.corrupt(random.Random(0), prompt)


def pushes(init: str, prompts: list[str], model, tok, device) -> list[dict]:
    """[{"first": {"right": [...], "wrong": [...]}, "last": ...}] of each prompt: a weight per token, as ledger.py gives
    them; a side that the objective does not train on is absent. Roles that hold the same answer are added up."""
    run = read_json(Path(init) / "run.json")
    hp = OBJECTIVES[run["objective"]].hp(**run["hp"])
    start = start_model(run["config"]["init"])[0]
    out = []
    for row in map(pair_row, prompts):
        sides = {"right": answer_tokens(tok, row.answer[0].text), "wrong": answer_tokens(tok, row.rejected[0].text)}
        seen: dict = {}
        for when, now in (("first", start), ("last", model)):
            sums: dict[str, np.ndarray] = {}
            for _, tokens, weights in ledger.entries(run["objective"], hp, row, now, tok, device, start):
                for side in (s for s, theirs in sides.items() if tokens == theirs):
                    sums[side] = sums.get(side, 0) + np.array(weights)
            seen[when] = {side: [round(float(w), 2) + 0.0 for w in total] for side, total in sums.items()}
        out.append(seen)
    return out


def answer_tokens(tok, answer: str) -> list[str]:
    """The tokens of an answer as they are trained on, <|end|> included."""
    ids, mask = tok.chat((Turn("user", "?"),), (Turn("assistant", answer),))
    return [tok.decode([i]) for i, m in zip(ids, mask) if m]


def seconds(init: str) -> float | None:
    """Processor seconds of the training command of the model in `init` and of those it descends from; None if one of
    them did not leave its time."""
    own, run = Path(init) / "spent.json", Path(init) / "run.json"
    if init == "base" or not run.exists() or read_json(run).get("command") != "train":
        return 0.0                                                       # a base: its making counts for all alike
    before = seconds(read_json(run)["config"]["init"])
    return None if before is None or not own.exists() else round(before + read_json(own)["seconds"], 2)


def sampled_cost(init: str) -> dict[str, float]:
    """{"flops": of its own stage} where it was counted in the run itself, because the model samples while it trains;
    looks at held-out prompts are in it, some hundredths of a run of 48 steps."""
    file = Path(init) / "spent.json"
    spent = read_json(file) if init != "base" and file.exists() else {}
    return {"flops": spent["flops"]} if spent.get("sampled") else {}


# ---- curves ----------------------------------------------------------------------------------------------------------
def loss_curve(losses: list[float]) -> list[list[float]]:
    """[[step, mean loss of the steps up to it]], at most CURVE of them."""
    parts = np.array_split(np.arange(len(losses)), min(CURVE, len(losses))) if losses else []
    return [[int(p[-1]) + 1, four_digits(np.mean([losses[i] for i in p]))] for p in parts]


def held_curve(log: list[dict]) -> dict:
    """{"name": the figure of this kind of data (nll, accuracy, auc ...), "points": [[step, value]]}; {} for none."""
    seen = [m for m in log if m.get("held_out")]
    if not seen:
        return {}
    name = next(iter(seen[0]["held_out"]))
    return {"name": name, "points": [[m["step"], four_digits(m["held_out"][name])] for m in seen]}
