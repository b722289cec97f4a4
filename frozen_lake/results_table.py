"""The table below the page: five methods on the paper's small network, from two starts.

    print_table(task_of(lake), seeds=20)
"""
from frozen_lake.planning import success, visits
from frozen_lake.policies import Policy, start_policy
from frozen_lake.temporal_residual import distance, overlap, reads
from frozen_lake.train import Task, learn
from nanouft.plumbing.printing import if_in_checkout, say

NAMES = {"sft": "SFT", "ift": "IFT detached", "ift released": "IFT as released",
         "dpo": "DPO", "orpo": "ORPO"}
UPDATES = 200           # by RMSprop
STARTS = {"fresh": "from scratch", "habit": "with a habit of the detour"}


def result_cell(task: Task, start: Policy, name: str) -> tuple[float, str]:
    """One method from one start: (its distance, the words of the table): the distance with the 95 %
    interval over seeds, in % how often it arrives, and how much of what it reads lies where the
    policy goes."""
    before, lake = start.probs(), task.lake
    after = learn(task, start, name, UPDATES, every=UPDATES)[-1]
    far = distance(lake, after)[:, lake.live].mean(-1)
    arrives = success(lake, after)[:, lake.start].mean()
    read = overlap(reads(task, before, name), visits(lake, before)).mean()
    half = 1.96 * far.std() / len(far) ** 0.5
    cell = f"{far.mean():>8.3f} ±{half:.3f}{100 * arrives:>6.0f} %{100 * read:>6.0f} %"
    return float(far.mean()), cell


def print_table(task: Task, seeds: int) -> None:
    """Train and print, a line for each method."""
    starts = [start_policy("net", start, task.lake, seeds) for start in STARTS]
    say("\nWhere training ends; ± is the 95 % CI over the networks. A network starts\n"
        "from scratch, or with a habit: it has first learned to walk the detour, the\n"
        "worse path. distance: of the trained policy from the nearest optimal one;\n"
        "success: how often it reaches the goal; visited: share of the cells that a\n"
        "method learns from in which the policy was before training."
        + if_in_checkout("docs/results/lake.md", "\nMore: {}"))
    say(f"\n{f'{seeds} networks':<17}" + "".join(f"{text:>31}" for text in STARTS.values()))
    say(f"{f'{UPDATES} updates':<17}" + f"{'distance':>15}{'success':>8}{'visited':>8}" * 2)
    rows = [[result_cell(task, start, name) for start in starts] for name in NAMES]
    for text, cells in zip(NAMES.values(), rows):
        say(f"{text:<17}" + "".join(cell for _, cell in cells))
    say("\nThe paper expects DPO closest to the optimum, then IFT, then ORPO and SFT.\n"
        "Here, by mean distance, the least first:")
    for k, text in enumerate(STARTS.values()):
        order = sorted(zip(NAMES.values(), rows), key=lambda line: line[1][k][0])
        say(f"  {text}: {', '.join(name for name, _ in order)}")
