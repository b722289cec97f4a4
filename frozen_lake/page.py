"""The page: six screens on one small lake, five scenes of "commit, then see" and the verdict, in one file.

    python -m frozen_lake                           # writes it beside the pictures: out/frozen_lake/index.html

It needs nothing else: open it with any browser, from the disk, without a network. What a table learns is computed in
the page (lake.js: 140 lines, checked against the losses of this project by tests/lake/test_lake_page.py), so that paths
drawn by a visitor work.
What a network learns is computed here and put into the page as numbers, and so is the verdict of the study, if it has
been run. draw.js and scenes.js show it; page.html and page.css are the frame.
Simplified: always the map twoway5, never slippery; the experiment itself knows more maps, starts and methods.
"""
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from frozen_lake.demos import LOSERS, ghosts, gold, loser
from frozen_lake.lake import Lake, make_lake
from frozen_lake.learn import learn, method, task_of
from frozen_lake.measure import distance
from frozen_lake.planning import greedy, success
from frozen_lake.policies import Net
from nanouft.shell import text

HERE, MAP = Path(__file__).parent, "twoway5"
METHODS = ("sft", "ift", "dpo", "orpo")
STUDY = "python -m frozen_lake --study"             # the command that fills the last scene
SEEDS = 20                                          # networks in each mean; the first of them walks in scene 5
SPREAD = 0.3                                        # the student of the page: logits ~ N(0, SPREAD^2), it knows nothing
START_SEED = 189                                    # not any student: the first seed with five ghosts, all on ice, two
                                                    # of them off the path. That is chosen for having something to see


def student(lake: Lake, seed: int = START_SEED) -> Tensor:
    """(S,4) logits of the student that all tables of the page start from."""
    rng = torch.Generator().manual_seed(seed)
    return (SPREAD * torch.randn(lake.S, 4, generator=rng, dtype=torch.float64)).round(decimals=3)


def networks(lake: Lake, hp: dict) -> dict:
    """What SEEDS networks learn: {"seeds", "start": numbers, "losers": {loser: {method: numbers and one policy}}}."""
    def numbers(policy: Tensor) -> dict:            # (SEEDS,S,4) -> means over seeds
        return {"distance": distance(lake, policy)[:, lake.live].mean().item(),
                "arrives": success(lake, greedy(policy))[:, lake.live].mean().item()}

    def trained(name: str, kind: str) -> dict:
        net = Net(SEEDS, lake.S)
        how = method(name, lam=hp["lam"], gamma=hp["gamma"], beta=hp["beta"], orpo_lam=hp.get("orpo_lam", 1.0))
        trace = learn(task_of(lake, SEEDS, kind), net, how, hp["steps"], hp["lr"], every=hp["steps"])
        policy = trace.policies[-1]
        return numbers(policy) | {"policy": policy[0].round(decimals=4).tolist()}

    runs = [(kind, name) for kind in LOSERS for name in METHODS]
    done: dict = {}
    for kind, name in tqdm(runs, desc="networks of the page", leave=False):
        seen = name in ("dpo", "orpo")              # the others never see the loser: one training is enough
        done[kind, name] = trained(name, kind) if seen or kind == LOSERS[0] else done[LOSERS[0], name]
    return {"seeds": SEEDS, "start": numbers(Net(SEEDS, lake.S).probs()),
            "losers": {kind: {name: done[kind, name] for name in METHODS} for kind in LOSERS}}


def verdicts(study: dict | None) -> dict | None:
    """The study (docs/results/C5.json) as the last scene shows it; scenes.js takes its texts for HTML."""
    if not study:
        return None
    rows = [{"name": s["name"], "verdict": s["verdict"], "share": s["order_share"], "maps": s["maps"],
             "contrasts": [{"name": name, "mean": c[0], "half": c[1], "verdict": c[2]}
                           for name, c in s["contrasts"].items()]} for s in study["settings"]]
    found = {"seeds": study["seeds"], "verdict": study["verdict"], "counts": study["verdicts"], "settings": rows}
    return text.each_string(found, text.html)


def content(hp: dict, study: dict | None) -> dict:
    """Everything that scenes.js reads as DATA. hp: lam, gamma, beta, lr, steps."""
    lake = make_lake(MAP)
    best = gold(lake)
    return {"rows": lake.rows, "gold": [a for _, a in best],
            "losers": {kind: [a for _, a in loser(lake, kind)] for kind in LOSERS},
            "start": student(lake).tolist(), "ghosts": [{"right": g.right} for g in ghosts(lake, best)],
            "hp": {k: hp[k] for k in ("lam", "gamma", "beta", "lr", "steps")} | {"lamOdds": hp.get("orpo_lam", 1.0)},
            "net": networks(lake, hp), "study": verdicts(study), "command": STUDY}


def fill(data: dict) -> str:
    parts = {"/*DATA*/": text.script_json(data)}
    for name in ("page.css", "lake.js", "draw.js", "scenes.js"):
        parts[f"/*{name.replace('.', '_').upper()}*/"] = (HERE / name).read_text(encoding="utf-8")
    return text.fill((HERE / "page.html").read_text(encoding="utf-8"), parts)


def write(folder: Path, data: dict) -> Path:
    """index.html in folder. data: what results.json holds; its hyper-parameters ("hp") and its "study" are used."""
    file = Path(folder) / "index.html"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(fill(content(data["hp"], data.get("study"))), encoding="utf-8")
    return file
