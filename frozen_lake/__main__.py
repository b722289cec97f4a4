"""Frozen Lake: what SFT, IFT, DPO and ORPO do where every quantity is exact.

    python -m frozen_lake                   # the page in a few seconds, then one table
    python -m frozen_lake --map my.txt      # your lake: rows of S, F (ice), H (hole), G

There is a best path over the lake and a worse one. SFT and IFT imitate the first; DPO and ORPO
prefer it to the second (arXiv:2405.11870v3, section 5.3). The page shows how often SFT and IFT
believe that a policy makes a best move, and how often it does. The table compares the methods on
the paper's small network: how far it ends from the optimal policy, how often it arrives, and how
much of what the method reads lies where the policy goes. The paper does not give map, width,
learning rate and seeds.
"""
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

from frozen_lake.estimate import distance, overlap, reads
from frozen_lake.lake import make_lake
from frozen_lake.learn import Task, learn, task_of
from frozen_lake.planning import success, visits
from frozen_lake.policies import Policy, start_policy
from frozen_lake.record import LAMS, OPENS, PAGE_NAMES, record
from nanouft.errors import command, in_range, say
from nanouft.pictures.page import write_page
from nanouft.run.flags import parse

WEB = Path(__file__).parent / "web"
NAMES = {"sft": "SFT", "ift": "IFT detached", "ift released": "IFT as released",
         "dpo": "DPO", "orpo": "ORPO"}
STARTS = {"fresh": "from scratch", "habit": "with a habit of the detour"}


@dataclass
class Run:
    map: str = "twoway5"            # twoway5, default4, default8 or a text file
    updates: int = 200              # of RMSprop, for the table
    seeds: int = 20                 # networks of each method
    out: str = "out/frozen_lake"    # folder of the page

    def check(self) -> None:
        in_range(self, "updates", low=1, high=100_000)
        in_range(self, "seeds", low=2, high=10_000)


def half_line(task: Task, start: Policy, name: str, updates: int) -> str:
    """One method from one start: its distance with the 95 % interval over seeds, in % how often it
    arrives, and how much of what it reads lies where the policy goes."""
    before, lake = start.probs(), task.lake
    after = learn(task, start, name, updates, every=updates)[-1]
    far = distance(lake, after)[:, lake.live].mean(-1)
    arrives = success(lake, after)[:, lake.start].mean()
    read = overlap(reads(task, before, name), visits(lake, before)).mean()
    half = 1.96 * far.std() / len(far) ** 0.5
    return f"{far.mean():>8.3f} ±{half:.3f}{100 * arrives:>6.0f} %{100 * read:>4.0f} %"


def print_table(task: Task, cfg: Run) -> None:
    """Train and print, a line for each method."""
    starts = [start_policy("net", start, task.lake, cfg.seeds) for start in STARTS]
    say(f"\n{f'{cfg.seeds} networks':<21}" + "".join(f"{text:>29}" for text in STARTS.values()))
    say(f"{f'{cfg.updates} updates':<21}" + f"{'distance':>15}{'arrives':>8}{'reads':>6}" * 2)
    for name, text in NAMES.items():
        halves = [half_line(task, start, name, cfg.updates) for start in starts]
        say(f"{text:<21}" + "".join(halves))
    say("distance: from the nearest optimal policy; arrives: how often at the goal;\n"
        "reads: how much of what a method reads lies where the policy goes at first")
    say("\nThe paper expects DPO nearest to the optimum, then IFT, then ORPO and SFT.")


def main(argv: list[str] | None = None) -> int:
    cfg = parse(Run, argv, "python -m frozen_lake", __doc__)
    cfg.check()
    torch.set_num_threads(1)                        # tensors are small: a second would only wait
    lake = make_lake(cfg.map)
    others = [make_lake(name) for name in PAGE_NAMES if name != cfg.map]
    data = {"lams": LAMS, "opens": OPENS, "lakes": [record(one) for one in [lake, *others]]}
    say(f"page: {write_page(WEB, data, Path(cfg.out))}")
    print_table(task_of(lake), cfg)
    return 0


if __name__ == "__main__":
    sys.exit(command(main))
