"""What the command prints: the estimates, and five methods on the paper's small network.

    print_estimates(page_data(lake))
    print_table(task_of(lake), seeds=20)
"""
from frozen_lake.planning import success
from frozen_lake.policies import Policy, start_policy
from frozen_lake.temporal_residual import distance
from frozen_lake.train import Task, learn
from nanouft.plumbing.printing import if_in_checkout, say

NAMES = {"sft": "SFT", "ift": "IFT detached", "ift released": "IFT as released",
         "dpo": "DPO", "orpo": "ORPO"}
UPDATES = 200           # by RMSprop
STARTS = {"fresh": "from scratch", "habit": "with a habit"}


def in_order(found: dict[str, tuple[float, float]]) -> str:
    """{name: (mean, half of its interval)} -> "IFT, SFT (tied); DPO": the least mean first. Names
    whose intervals overlap are tied, which is no order."""
    groups: list[list[str]] = []
    high = 0.0
    for name, (mean, half) in sorted(found.items(), key=lambda item: item[1]):
        if groups and mean - half <= high:
            groups[-1].append(name)
        else:
            groups.append([name])
        high = max(high, mean + half)
    return "; ".join(", ".join(names) + " (tied)" * (len(names) > 1) for names in groups)


def print_estimates(data: dict) -> None:
    """Of page_data: what SFT, IFT and the placebo estimate of tables with a habit, less the true
    value, over the hundred lakes and on the first lake of the page."""
    setting, t, lake = "table with a habit", data["opens"], data["lakes"][0]
    kept, of = data["hundred"][setting], lake["of"][setting]
    points = {name: tuple(100 * kept[part][what][0][t] for part in ("gaps", "gaps half"))
              for name, what in (("SFT", "SFT"), ("IFT", "residual"), ("placebo", "random cell"))}
    off = {name: (abs(mean), half) for name, (mean, half) in points.items()}
    here = [100 * (estimate[t] - of["true"][t])
            for estimate in (of["SFT"], of["residual"][0], of["placebo"][0])]
    closer, farther = (kept[part]["random cell"][0][t] for part in ("closer", "farther"))
    say(f"\nHow likely is a best move? Estimate minus true value, in points, of tables with\n"
        f"a habit after {t} updates by SFT; lambda {data['lams'][0]}; ± is the 95 % CI over lakes.")
    say(f"\n{'':<17}" + "".join(f"{name:>14}" for name in points))
    say(f"{'100 random lakes':<17}"
        + "".join(f"{f'{mean:+.1f} ±{half:.1f}':>14}" for mean, half in points.values()))
    say(f"{lake['name'][:16]:<17}" + "     ".join(f"{gap:>+9.1f}" for gap in here))
    say(f"Closest to the true value first: {in_order(off)}.\n"
        f"IFT is closer than the placebo on {closer} of 100 lakes, the placebo on {farther}.")


def result_cell(task: Task, start: Policy, name: str) -> tuple[float, float, str]:
    """One method from one start: (its distance, half of the 95 % interval over seeds, the words of
    the table): with them in % how often it arrives."""
    lake = task.lake
    after = learn(task, start, name, UPDATES, every=UPDATES)[-1]
    far = distance(lake, after)[:, lake.live].mean(-1)
    arrives = success(lake, after)[:, lake.start].mean()
    half = 1.96 * far.std() / len(far) ** 0.5
    return float(far.mean()), float(half), f"{far.mean():>8.3f} ±{half:.3f}{100 * arrives:>6.0f} %"


def print_table(task: Task, seeds: int) -> None:
    """Train and print, a line for each method."""
    starts = [start_policy("net", start, task.lake, seeds) for start in STARTS]
    say("\nWhere training ends; ± is the 95 % CI over the networks. A network starts\n"
        "from scratch, or with a habit: it has first learned to walk the worse path.\n"
        "distance: of the trained policy from the nearest optimal one;\n"
        "success: how often it reaches the goal."
        + if_in_checkout("docs/results/lake.md", "\nMore: {}"))
    say(f"\n{f'{seeds} networks':<17}" + "".join(f"{text:>23}" for text in STARTS.values()))
    say(f"{f'{UPDATES} updates':<17}" + f"{'distance':>15}{'success':>8}" * 2)
    rows = [[result_cell(task, start, name) for start in starts] for name in NAMES]
    for text, cells in zip(NAMES.values(), rows):
        say(f"{text:<17}" + "".join(cell for _, _, cell in cells))
    say("\nThe paper expects DPO closest to the optimum, then IFT, then ORPO and SFT.\n"
        "Here, by mean distance, the least first:")
    for k, text in enumerate(STARTS.values()):
        say(f"  {text}: " + in_order({name: cells[k][:2] for name, cells in
                                      zip(NAMES.values(), rows)}))
