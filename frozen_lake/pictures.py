"""Pictures of the lake. Readable at slide size, colour-blind safe, signs and shapes as well as colours: blue is + and
orange is - (nanouft.eval.plots), nothing else; a method has the colour that it has on the page."""
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import Circle, FancyArrowPatch, Rectangle

from frozen_lake.demos import Path as Walk
from frozen_lake.lake import MOVES, Lake
from frozen_lake.learn import Method, Task, Trace
from frozen_lake.measure import first_update
from frozen_lake.planning import optimal_actions
from frozen_lake.policies import Policy
from nanouft.eval.plots import DOWN, GREY, UP, plt

ICE, HOLE, GIFT, GREEN = "#FFFFFF", "#3C4450", "#F0E442", "#009E73"
COLOUR = {"sft": "#777777", "ift": GREEN, "orpo": "#CC79A7", "dpo": "#5B3FB0", "orpo online": "#CC79A7",
          "dpo online": "#9C86E0", "pg": "#000000"}
SHORT = {"pg": "exact policy gradient"}
TITLES = {"net fresh": "network, from scratch", "net presub": "network with a detour habit",
          "net premix": "network with mixed habits"}
SLIDE = {"font.size": 16, "axes.titlesize": 16}


def label(name: str) -> str:
    words = SHORT.get(name, name).split()
    return " ".join(w.upper() if w in ("sft", "ift", "orpo", "dpo") else w for w in words)


def save(fig, file: Path) -> Path:
    """Cut to what was drawn: titles and labels beside a square board are never clipped."""
    file.parent.mkdir(parents=True, exist_ok=True)
    fig.savefig(file, bbox_inches="tight", pad_inches=0.15)
    plt.close(fig)
    return file


def place(lake: Lake, s: int) -> tuple[float, float]:
    """Centre of a cell: x to the right, y upwards."""
    return s % lake.width + 0.5, lake.height - 1 - s // lake.width + 0.5


def board(ax: Axes, lake: Lake) -> None:
    """The empty lake: dark squares with a cross are holes, the star is the gift."""
    for s, c in enumerate(lake.letters):
        x, y = place(lake, s)
        colour = HOLE if c == "H" else GIFT if c == "G" else ICE
        ax.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=colour, edgecolor="#B8C4CE", lw=1.5))
        if c in "SHG":
            ax.text(x - 0.46 * (c == "S"), y + 0.46 * (c == "S"), {"S": "S", "H": "✕", "G": "★"}[c],
                    ha="left" if c == "S" else "center", va="top" if c == "S" else "center",
                    color="white" if c == "H" else "black", fontsize=11 if c == "S" else 16)
    ax.set(xlim=(-0.05, lake.width + 0.05), ylim=(-0.05, lake.height + 0.05), aspect="equal", xticks=[], yticks=[])
    for side in ax.spines.values():
        side.set_visible(False)


def arrow(ax: Axes, lake: Lake, s: int, a: int, colour: str, style: str = "-", size: float = 0.34, **kw) -> None:
    x, y = place(lake, s)
    dr, dc = MOVES[a]
    ax.add_patch(FancyArrowPatch((x - size * dc, y + size * dr), (x + size * dc, y - size * dr), color=colour,
                                 arrowstyle="-|>", mutation_scale=22, lw=3, linestyle=style, **kw))


# ---- 1. one update of IFT -------------------------------------------------------------------------------------------
def update(lake: Lake, path: Walk, guess: list[int], lam: float, loss_true: list[float], loss_mixed: list[float],
           weights: list[float], file: Path) -> Path:
    """`guess` (T) the cell that the learner's own action would have led to; the losses and weights of every step."""
    with plt.rc_context(SLIDE):
        fig, (left, middle, right) = plt.subplots(1, 3, figsize=(19, 6.2), width_ratios=(1, 1, 1.25))
        board(left, lake), board(middle, lake)
        ghosts = [i for i, (s, _) in enumerate(path) if guess[i] != s]
        for i, (s, a) in enumerate(path):
            arrow(left, lake, s, a, "black")
        first = ghosts[0] if ghosts else 1
        for i in ghosts:
            s = path[i - 1][0]
            own = next(a for a in range(4) if int(lake.step[s, a]) == guess[i] and a != path[i - 1][1])
            arrow(left, lake, s, own, GREEN, "--", 0.26)
        left.set_title("black: the demonstrator's moves; green, dashed:\n"
                       f"the learner's own ({len(ghosts)} of {len(path)} differ)")
        s, a = path[first]
        for cell, share, colour in ((s, 1 - lam, GREY), (guess[first], lam, GREEN)):
            x, y = place(lake, cell)
            middle.add_patch(Circle((x, y), 0.44, facecolor=colour, alpha=max(share, 0.18), edgecolor=colour, lw=2))
            middle.text(x - 0.47, y + 0.47, f"{share:g}", ha="left", va="top", fontsize=14)
            arrow(middle, lake, cell, a, "black", size=0.26)
        middle.set_title(f"step {first + 1} is read as a blend of two cells;\n"
                         "the demonstrator's move is stamped on both")
        x = torch.arange(len(path)).numpy()
        right.bar(x - 0.27, loss_true, 0.26, color="#CCCCCC", edgecolor="black", label="loss in the true cell")
        right.bar(x, loss_mixed, 0.26, color=GREEN, hatch="//", edgecolor="white", label="loss on the blend")
        right.bar(x + 0.27, weights, 0.26, color=HOLE, hatch="..", edgecolor="white", label="weight: losses to come")
        right.axhline(1, color="black", ls="--", lw=1)
        right.set(xlabel="step", xticks=x, xticklabels=x + 1, title="IFT pays loss times weight (mean weight 1)")
        right.legend(frameon=False)
        fig.tight_layout(w_pad=4)
        return save(fig, file)


def blend(colour: str, share: float) -> tuple[float, ...]:
    """`share` of a colour on white, as an opaque colour."""
    return tuple(1 - share * (1 - c) for c in to_rgb(colour))


# ---- 2. what went up and down ---------------------------------------------------------------------------------------
def changes(lake: Lake, best: torch.Tensor, panels: dict[str, torch.Tensor], paths: tuple[Walk, Walk], file: Path,
            updates: int) -> Path:
    """panels: {method: (S,4) change of the policy}. Shown: the change of the probability of the optimal actions."""
    with plt.rc_context(SLIDE):
        fig, axes = plt.subplots(1, len(panels), figsize=(5.2 * len(panels), 5.9), squeeze=False)
        for ax, (name, change) in zip(axes[0], panels.items()):
            board(ax, lake)
            for walk, aside, style in ((paths[0], 0.06, "-"), (paths[1], -0.06, ":")):      # through the cells
                ends = [s for s, _ in walk] + [int(lake.step[walk[-1]])]
                xs, ys = zip(*[place(lake, s) for s in ends])
                ax.plot([x - aside for x in xs], [y + aside for y in ys], color="black", lw=2.5, ls=style, zorder=2)
            for s in lake.live:
                gain = float((change[s] * best[s]).sum())
                x, y = place(lake, s)
                share = 0.85 * min(1, abs(gain)) ** 0.7                                  # black digits stay legible
                colour = blend(UP if gain >= 0 else DOWN, share)
                ax.add_patch(Rectangle((x - 0.48, y - 0.48), 0.96, 0.96, facecolor=colour, zorder=1))
                said = f"{gain:+.2f}" if abs(gain) >= 0.005 else "0"
                ax.text(x, y, said, ha="center", va="center", fontsize=14, weight="bold", zorder=3,
                        bbox={"facecolor": colour, "edgecolor": "none", "boxstyle": "round,pad=0.12"})
            ax.set_title(label(name))
        fig.tight_layout()
        fig.suptitle(f"Chance of an optimal move: after {updates} updates minus before (blue +, orange -). "
                     "Solid line: the good path; dotted: the worse one", fontsize=18, y=1.0, va="bottom")
        return save(fig, file)


# ---- 3. distance over updates ---------------------------------------------------------------------------------------
def curves(panels: dict[str, dict[str, dict]], file: Path) -> Path:
    """panels: {title: {method: {steps, distance, low, high, elsewhere}}}."""
    with plt.rc_context(SLIDE):
        fig, axes = plt.subplots(1, len(panels), figsize=(8.5 * len(panels), 6.6), sharey=True, squeeze=False)
        for ax, (title, methods) in zip(axes[0], panels.items()):
            ends = []
            for name, c in methods.items():
                if name not in COLOUR:
                    continue
                style = "--" if "online" in name else "-"
                ax.plot(c["steps"], c["distance"], style, color=COLOUR[name], lw=3)
                ax.fill_between(c["steps"], c["low"], c["high"], color=COLOUR[name], alpha=0.18, lw=0)
                ends.append([c["distance"][-1], name])
            ends.sort()
            for (value, name), y in zip(ends, apart([v for v, _ in ends], 0.055 * max(ax.get_ylim()[1], 0.45))):
                ax.annotate(label(name), (c["steps"][-1], value), (c["steps"][-1] * 1.07, y), color=COLOUR[name],
                            va="center", annotation_clip=False,         # the line ends at the label's left side
                            arrowprops=dict(arrowstyle="-", color=COLOUR[name], lw=1, relpos=(0, 0.5), shrinkA=2))
            ax.set(title=TITLES.get(title, title), xlabel="updates", ylim=(0, None), xlim=(0, c["steps"][-1]))
        axes[0][0].set_ylabel("distance to the optimal policy")
        fig.subplots_adjust(wspace=0.68)                            # room for the labels at the ends
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


# ---- all of one experiment ------------------------------------------------------------------------------------------
def everything(task: Task, policy: Policy, traces: dict[str, Trace], lines: dict[str, dict], ift: Method,
               folder: Path) -> list[Path]:
    """The pictures of the networks of one map: their policy at the start, {method: its training}."""
    made, lake = [], task.lakes.each[0]
    main = [name for name in traces if name in ("sft", "ift", "orpo", "dpo")]
    if not lake.slippery:
        guess, *rest = first_update(task, policy, ift)
        row = next((n for n, cells in enumerate(guess) if lost(lake, task.golds[n], cells)), 0)
        made.append(update(lake, task.golds[row], guess[row], ift.hp.lam, *[x[row] for x in rest],
                           folder / "update.png"))
    if main:
        steps = traces[main[0]].steps
        early = steps.index(25) if 25 in steps else -1
        panels = {name: (traces[name].policies[early] - traces[name].policies[0]).mean(0) for name in main}
        made.append(changes(lake, optimal_actions(lake).double(), panels, (task.golds[0], task.losers[0]),
                            folder / "changes.png", steps[early]))
    made.append(curves({title: c for title, c in lines.items() if title.startswith("net")}, folder / "curves.png"))
    return made


def lost(lake: Lake, path: Walk, guess: list[int]) -> bool:
    """Do the learner's own moves, one each from the path's cells, lead off the path onto a live cell anywhere?"""
    return any(cell != s and cell in lake.live for cell, (s, _) in zip(guess, path))
