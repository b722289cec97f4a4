"""Experiments as cells (cell.py): each trained once, scored, kept.

    done = run_cells([cell, ...], Path("out/mine.jsonl"))   # {cell.key: {"mean": ..., ...}}

Cells run in worker processes of one thread each, so a number does not depend on how many run beside
it. Only a run that diverged is a result without figures: {"failed": why}. Whatever else goes wrong
(a full disk, a worker that the system killed) says nothing about a method: it is shown, tried once
more, and then missing; and where a cell is missing there is no table and no verdict.
"""
import base64
import json
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from lab import sums
from lab.cell import KEEP, Cell, kept_reward, quiet, stages, train_cell
from lab.runner import open_store, results_of, run_missing, scratch
from nanouft import world
from nanouft.errors import Diverged
from nanouft.eval import scores
from nanouft.loop import Device
from nanouft.models.load import start_model
from nanouft.rewards.best_of import best_answers
from nanouft.rewards.scorer import load
from nanouft.run import devices
from nanouft.run.storage import Lines, read_json
from nanouft.sampling import answer_rows

# of the last loss, from processor to processor
ROUNDING = 1e-3
CURVE = 24              # points of a curve of rewards
# of a family; intervals over prompts are not kept
KEPT = ("score", "strict", "ends", "length", "gold_logp")


def run_cell(cell: Cell, keep: Path | None = KEEP) -> dict:
    """Train, score, forget the weights: -> a small JSON object. `keep` None: the models that the
    cell starts from are trained again."""
    about = {"key": cell.key, "base": cell.base, **read_by(cell), "flags": " ".join(cell.flags),
             "seed": cell.seed, "split": cell.split, "items": cell.items}
    return finished(about, lambda folder: scored(cell, folder, keep or folder / "starts"))


def finished(about: dict, work: Callable[[Path], dict]) -> dict:
    """`about` a run, with what work(a folder for the while) gives. A run that diverges is a result
    too: {failed: why}.
    """
    began = time.process_time()
    devices.pick("cpu", "fp32", 1)
    with scratch("nanouft-cell-") as folder, quiet():
        try:
            found = work(folder)
        except Diverged as e:
            found = {"failed": str(e).replace(str(folder), "...")}
    return {**about, **found, "seconds": round(time.process_time() - began, 1)}


def scored(cell: Cell, folder: Path, keep: Path) -> dict:
    init = train_cell(cell, folder / "run", keep)
    model, tok = start_model(init)
    if cell.world:
        result, answers = sums.scored(model, tok, cell.split, cell.items)
    else:
        likes = load(kept_reward(cell.own, keep)) if cell.best_of > 1 else None
        best = (partial(best_answers, model, tok, n=cell.best_of, scorer=likes, seed=cell.seed)
                if likes else None)
        result, answers = scores.families(model, tok, Device("cpu", "fp32"), cell.split, cell.items,
                                          cell.prompts, best)
    log = Lines(Path(init) / "metrics.jsonl").read() if cell.flags else []
    families = {f: {k: round(r[k], 4) for k in KEPT} for f, r in result.items()}
    out = {"mean": scores.mean_score(result), "families": families,
           "tokens": sum(m.get("tokens", 0) for m in log),
           "last_loss": log[-1]["loss"] if log else None}
    if cell.each:
        out |= each(cell, init, log, answers, keep)
        out |= {"diversity": diversity(model, tok,
                                       cell)} if cell.best_of == 1 and not cell.world else {}
    return out


def read_by(cell: Cell) -> dict:
    """What a cell stands on, where there is anything: the flags of its start, the seed of other
    prompts, the answers that it learns from (who answered how many prompts, pairs of a learnt
    reward, demonstrations and how many are wrong)."""
    out: dict = {"after": " ".join(cell.start.flags)} if isinstance(cell.start, Cell) else {}
    out |= {name: value
            for name, value in (("prompts", cell.prompts), ("world", cell.world)) if value}
    if own := cell.own:
        out["own"] = {"by": " ".join(own.model.flags), "prompts": own.prompts,
                      "samples": own.samples, "labelled": own.labelled, "demos": own.rows,
                      "noise": own.noise, "errs": own.errs}
        out["own"] |= {"good": own.good} if own.good is not None else {}
    return out


def each(cell: Cell, init: str, log: list[dict], answers: list, keep: Path) -> dict:
    """each: {family: the scores of its answers in 240ths, one byte an answer, base64}; spent:
    gradient tokens and FLOPs of all stages (of KTO those of its mismatched answers, too);
    agreement: the share of held-out pairs that the reward model orders rightly; curve: [[step,
    reward of samples]], and what greedy answers to validation prompts earn."""
    spent = stages(cell, init, keep).values()
    out = {"each": {f: pack_scores([a.score for a in answers if a.family == f])
                    for f in (("sums",) if cell.world else world.FAMILIES)},
           "spent": {"tokens": sum(s["tokens"] for s in spent),
                     "flops": sum(s["flops"] for s in spent)}}
    if cell.own and cell.own.labelled:
        out["agreement"] = (
            read_json(kept_reward(cell.own, keep) / "eval.json")["held_out"]["accuracy"])
    if cell.curve:
        held = [[line["step"], four_digits(line["held_out"]["reward"])]
                for line in log if line.get("held_out")]
        out["curve"] = {"samples": mean_curve([m["reward"] for m in log if "reward" in m]),
                        "held": {"name": "reward", "points": held}}
    return out


def mean_curve(values: list[float]) -> list[list[float]]:
    """[[step, mean of the steps up to it]], at most CURVE of them."""
    if not values:
        return []
    parts = np.array_split(np.arange(len(values)), min(CURVE, len(values)))
    return [[int(part[-1]) + 1, four_digits(np.mean([values[i] for i in part]))] for part in parts]


def four_digits(x: float) -> float:
    return float(f"{x:.4g}")


def diversity(model, tok, cell: Cell) -> float:
    """Share of different answers among four samples a prompt at temperature 1, ten prompts a
    family."""
    rows = world.rows(cell.split, "prompts", 10 * len(world.FAMILIES), cell.prompts)
    answers = answer_rows(model, tok, [r for r in rows for _ in range(4)], temperature=1.0, seed=0)
    texts = [tuple(a.ids) for a in answers]
    return float(np.mean([len(set(texts[4 * i:4 * i + 4])) / 4 for i in range(len(rows))]))


def pack(values: Sequence[float] | np.ndarray, kind: type) -> str:
    return base64.b64encode(np.asarray(values).astype(kind).tobytes()).decode()


def unpack(text: str, kind: type) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), kind).astype(np.float64)


def pack_scores(values: Sequence[float]) -> str:
    return pack(np.rint(240 * np.array(values)), np.uint8)


def unpack_scores(cell: dict, family: str) -> np.ndarray:
    """(P,) scores of a family's answers, of a cell that kept each."""
    return unpack(cell["each"][family], np.uint8) / 240


# ---- the store -----------------------------------------------------------------------------------
def read_cells(file: Path, wanted: Iterable[Cell] = ()) -> dict[str, dict]:
    """{key: finished cell} of a results file; of a cell that was run twice the later one. UserError
    with its number for a line that is no cell, or not all of the wanted cell whose key it has."""
    parts = {c.key: ("each",) * c.each for c in wanted}

    def wrong(line: dict) -> str:
        if not isinstance(line.get("key"), str):
            return "has no key"
        families = line.get("families")
        whole = (share(line.get("mean")) and isinstance(families, dict)
                 and families.keys() in ({*world.FAMILIES}, {"sums"})
                 and all(isinstance(f, dict) and all(is_number(f.get(k)) for k in KEPT)
                         and all(share(f[k])
                                 for k in ("score", "strict", "ends")) for f in families.values())
                 and is_number(line.get("seconds", 0)) and is_number(line.get("tokens", 0))
                 and all(isinstance(line.get(part), dict) for part in parts.get(line["key"], ())))
        return "" if whole or isinstance(line.get("failed"), str) else "is not a whole cell"
    return {c["key"]: c for c in Lines(file).read(wrong)}


def is_number(x) -> bool:
    return isinstance(x, (int, float)) and not isinstance(x, bool)


def share(x) -> bool:
    return is_number(x) and 0 <= x <= 1


# ---- many cells ----------------------------------------------------------------------------------
def run_cells(cells: Iterable[Cell], file: Path, workers: int = 2) -> dict[str, dict]:
    """Run what is missing in `file`, append each as it finishes; returns all of it by key. What
    fails is shown and tried once more. UserError if a cell is missing in the end: nothing is said
    from a part of the cells."""
    cells = list(dict.fromkeys(cells))
    with open_store(file, lambda file: read_cells(file, cells)) as store:
        for init in {c.base for c in cells if c.key not in store.done}:
            start_model(init)  # a folder that holds no model is named once
        for _ in range(2):
            run_missing(cells, store, workers, run_cell)
    results_of(cells, store.done,
               f"The others are kept in {file}: run the same command again, and it makes them")
    return store.done


def stops(cell: dict) -> float:
    """Share of answers that stop by themselves, macro mean over families."""
    return float(np.mean([f["ends"] for f in cell["families"].values()]))


def repeat_cell(cell: Cell, old: dict) -> tuple[dict, str]:
    """Train a finished cell once more, with all that it starts from -> (the new one, "the same" |
    "the same scores ..." | "DIFFERENT: ..."). Scores, stops and tokens must agree to the digit. Of
    the rest the last digits depend on the processor and on torch: rounding, below ROUNDING."""
    new = json.loads(json.dumps(run_cell(cell, keep=None)))
    old = {k: old[k] for k in new if k in old} | {"key": new["key"]}
    if timeless(new) == timeless(old):
        return new, "the same"
    if "mean" in new and "mean" in old and new["mean"] != old["mean"]:
        return new, f"DIFFERENT: mean {100 * new['mean']:.4f}, it was {100 * old['mean']:.4f}"
    if counted(new) != counted(old):
        names = [k for k in new if counted(new).get(k) != counted(old).get(k)]
        return new, f"DIFFERENT: {', '.join(names)}"
    losses = [x.get("last_loss") or 0.0 for x in (new, old)]
    if abs(losses[0] - losses[1]) > ROUNDING * max(map(abs, losses)):
        return new, f"DIFFERENT: last loss {losses[0]}, it was {losses[1]}"
    return new, "the same scores, rounding in the rest"


def counted(cell: dict) -> dict:
    """What of a cell is counted, and not a sum of many floats."""
    families = {f: {k: x for k, x in of.items() if k != "gold_logp"}
                for f, of in cell.get("families", {}).items()}
    kept = {k: cell.get(k) for k in ("mean", "failed", "tokens", "each")}
    return kept | {"families": families}


def timeless(cell: dict) -> dict:
    """A cell without what a clock says."""
    return {k: timeless(v) if isinstance(v, dict) else v for k, v in cell.items()} | {"seconds": 0}
