"""Pictures of the lake, readable at slide size. As everywhere in this project, blue is + and orange
is - (nanouft.eval.plots). A method has the colour that it has on the page."""
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle

from frozen_lake.lake import Lake
from frozen_lake.learn import Task, Trace
from frozen_lake.planning import optimal_actions
from nanouft.eval.plots import DOWN, UP, plt, write

FILL = {"S": "#FFFFFF", "F": "#FFFFFF", "H": "#3C4450", "G": "#F0E442"}
COLOUR = {"sft": "#777777", "ift": "#009E73", "orpo": "#CC79A7", "dpo": "#5B3FB0",
          "orpo online": "#CC79A7", "dpo online": "#9C86E0", "pg": "#000000"}
SLIDE: Any = {"font.size": 16, "axes.titlesize": 16}


def label(name: str) -> str:
    """A method as one reads it: "dpo online" -> "DPO online"."""
    special = {"pg": "exact policy gradient", "ift": "IFT as released"}
    if name in special:
        return special[name]
    first, *rest = name.split()
    return " ".join([first.upper() if first in ("sft", "ift", "orpo", "dpo") else first, *rest])


def save(fig, file: Path) -> Path:
    """Cut to what was drawn: titles and labels beside a square board are never clipped."""
    write(fig, file, bbox_inches="tight", pad_inches=0.15)
    return file


def place(lake: Lake, s: int) -> tuple[float, float]:
    """Centre of a cell: x to the right, y upwards."""
    return s % lake.width + 0.5, lake.height - 1 - s // lake.width + 0.5


def board(ax: Axes, lake: Lake) -> None:
    """The empty lake: dark squares with a cross are holes, the star is the goal."""
    for s, letter in enumerate(lake.letters):
        x, y = place(lake, s)
        ax.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=FILL[letter],
                               edgecolor="#B8C4CE", lw=1.5))
        if letter == "S":
            ax.text(x - 0.46, y + 0.46, "S", ha="left", va="top", fontsize=11)
        elif letter in "HG":
            mark, colour = ("✕", "white") if letter == "H" else ("★", "black")
            ax.text(x, y, mark, ha="center", va="center", color=colour, fontsize=16)
    ax.set(xlim=(-0.05, lake.width + 0.05), ylim=(-0.05, lake.height + 0.05), aspect="equal",
           xticks=[], yticks=[])
    for side in ax.spines.values():
        side.set_visible(False)


def changes(task: Task, traces: dict[str, Trace], file: Path) -> Path:
    """The change of the probability of the optimal actions, after 25 updates or the last one."""
    lake = task.lakes.each[0]
    best = optimal_actions(lake).double()
    steps = next(iter(traces.values())).steps
    early = steps.index(25) if 25 in steps else -1
    fig, axes = plt.subplots(1, len(traces), figsize=(5.2 * len(traces), 5.9), squeeze=False)
    for ax, (name, trace) in zip(axes[0], traces.items()):
        change = (trace.policies[early] - trace.policies[0]).mean(0)  # (S,4)
        board(ax, lake)
        for walk, aside, style in ((task.golds[0], 0.06, "-"), (task.losers[0], -0.06, ":")):
            ends = [s for s, _ in walk] + [int(lake.step[walk[-1]])]
            xs, ys = zip(*[place(lake, s) for s in ends])
            ax.plot([x - aside for x in xs], [y + aside for y in ys], color="black", lw=2.5,
                    ls=style, zorder=2)
        for s in lake.live:
            number_on(ax, place(lake, s), float((change[s] * best[s]).sum()))
        ax.set_title(label(name))
    fig.tight_layout()
    fig.suptitle(f"Chance of an optimal move: after {steps[early]} updates minus before "
                 "(blue +, orange -). Solid line: the good path; dotted: the worse one",
                 fontsize=18, y=1.0, va="bottom")
    return save(fig, file)


def number_on(ax: Axes, centre: tuple[float, float], gain: float) -> None:
    """A cell with its number, the darker the larger. Black digits stay legible on it."""
    x, y = centre
    share = 0.85 * min(1, abs(gain)) ** 0.7
    colour = tuple(1 - share * (1 - c) for c in to_rgb(UP if gain >= 0 else DOWN))
    ax.add_patch(Rectangle((x - 0.48, y - 0.48), 0.96, 0.96, facecolor=colour, zorder=1))
    ax.text(x, y, f"{gain:+.2f}" if abs(gain) >= 0.005 else "0", ha="center", va="center",
            fontsize=14, weight="bold", zorder=3,
            bbox={"facecolor": colour, "edgecolor": "none", "boxstyle": "round,pad=0.12"})


def curves(panels: dict[str, dict[str, dict]], file: Path) -> Path:
    """panels: {title: {method: {steps, distance, low, high}}}."""
    fig, axes = plt.subplots(1, len(panels), figsize=(8.5 * len(panels), 6.6), sharey=True,
                             squeeze=False)
    for ax, (title, methods) in zip(axes[0], panels.items()):
        shown = {name: c for name, c in methods.items() if name in COLOUR}
        for name, c in shown.items():
            ax.plot(c["steps"], c["distance"], "--" if "online" in name else "-",
                    color=COLOUR[name], lw=3)
            ax.fill_between(c["steps"], c["low"], c["high"], color=COLOUR[name], alpha=0.18,
                            lw=0)
        last = next(iter(methods.values()))["steps"][-1]
        ends = sorted((c["distance"][-1], name) for name, c in shown.items())
        gap = 0.055 * max(ax.get_ylim()[1], 0.45)
        for (value, name), y in zip(ends, apart([value for value, _ in ends], gap)):
            ax.annotate(label(name), (last, value), (last * 1.07, y), color=COLOUR[name],
                        va="center", annotation_clip=False,
                        arrowprops={"arrowstyle": "-", "color": COLOUR[name], "lw": 1,
                                    "relpos": (0, 0.5), "shrinkA": 2})
        ax.set(title=title, xlabel="updates", ylim=(0, None), xlim=(0, last))
    axes[0][0].set_ylabel("distance to the optimal policy")
    fig.subplots_adjust(wspace=0.68)  # room for the labels at the ends
    return save(fig, file)


def apart(y: list[float], gap: float) -> list[float]:
    """Sorted places of labels, moved as little as needed to stand `gap` apart."""
    y = list(y)
    for _ in range(200):
        for i in range(len(y) - 1):
            push = (gap - (y[i + 1] - y[i])) / 2
            if push > 0:
                y[i], y[i + 1] = y[i] - push, y[i + 1] + push
    return [v - min(0, y[0]) for v in y]


def everything(task: Task, traces: dict[str, Trace], lines: dict[str, dict],
               folder: Path) -> list[Path]:
    """Of the networks of one map. traces: {method: its training}, lines: {title: its curves}."""
    main = {name: trace for name, trace in traces.items() if name in ("sft", "ift", "orpo", "dpo")}
    made = []
    with plt.rc_context(SLIDE):
        if main:
            made.append(changes(task, main, folder / "changes.png"))
        made.append(curves(lines, folder / "curves.png"))
    return made
