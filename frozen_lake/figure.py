"""lake.png: what SFT, IFT and a placebo estimate of policies on 100 lakes, and where SFT errs.

    draw_figure(lake, Path("out/frozen_lake"))      # python -m frozen_lake does this

Left: how likely a best move is, over updates, of tables with a habit, with 95 % intervals over
lakes. Right: the error of SFT's estimate after two updates, cell by cell. docs/lake.png is the
figure of the lake twoway5.
"""
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from frozen_lake.lake import Lake
from frozen_lake.policies import start_policy
from frozen_lake.record import OPENS, POLICIES, SETTINGS, SHOWN, hundred_lakes
from frozen_lake.temporal_residual import error_by_cell
from frozen_lake.train import learn, task_of
from nanouft.pictures.colours import FAMILIES, INK

SETTING = "table with a habit"
CURVES = {"true": ("true value", "truth"), "SFT": ("SFT's estimate", "sft"),
          "residual": ("IFT's estimate", "ift"), SHOWN: ("placebo's estimate", "graded")}
ASIDE = 0.12                            # updates by which a curve is moved, so that bars are seen


def draw_figure(lake: Lake, out: Path) -> Path:
    """Writes out/lake.png, 1,152 pixels wide."""
    with matplotlib.rc_context({"font.size": 14, "axes.titlesize": 14, "axes.titleweight": "bold",
                                "axes.titlelocation": "left", "text.parse_math": False}):
        figure = Figure(figsize=(9.6, 4.8), dpi=120, layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(11, 10))
        draw_estimates(left)
        draw_errors(right, lake)
        out.mkdir(parents=True, exist_ok=True)
        figure.savefig(out / "lake.png", metadata={"Software": None})
    return out / "lake.png"


def draw_estimates(ax: Axes) -> None:
    """The means and intervals of hundred.json at the paper's lam."""
    kept = hundred_lakes()[SETTING]
    for k, (what, (name, look)) in enumerate(CURVES.items()):
        mean, half = (100 * np.array(kept[part][what][0]) for part in ("values", "values half"))
        style = FAMILIES[look]
        ax.errorbar(np.arange(len(mean)) + (k - 1.5) * ASIDE, mean, half, label=name,
                    color=style.light, marker=style.marker, markersize=7, capsize=3, elinewidth=1.5,
                    markerfacecolor="white" if style.hollow else style.light)
    ax.set(title="From update 1 on SFT, IFT and\nplacebo overestimate alike",
           xlabel="updates by SFT; bars: 95 % CI, 100 lakes",
           ylabel="probability of a best move, %")
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, loc="lower right", title="tables with a habit")


def draw_errors(ax: Axes, lake: Lake) -> None:
    """A heat map: in which cells SFT's estimate errs, in points, a mean over policies."""
    task, (kind, start, lr) = task_of(lake), SETTINGS[SETTING]
    probs = learn(task, start_policy(kind, start, lake, POLICIES), "sft", OPENS, lr)[-1]
    error = 100 * error_by_cell(lake, probs, task.best).mean(0).numpy()         # (S,)
    most = abs(error).max()
    ax.imshow(error.reshape(-1, lake.width), cmap="PuOr", vmin=-most, vmax=most)
    for cell, letter in enumerate(lake.letters):
        row, column = divmod(cell, lake.width)
        if letter == "H":
            ax.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, color="0.75"))
        told = {"H": "hole", "G": "goal"}.get(letter, f"{error[cell]:+.1f}".replace("-", "−"))
        dark = abs(error[cell]) > most / 2
        ax.text(column, row, told, ha="center", va="center", color="white" if dark else INK.light,
                fontsize=min(14, 70 / lake.width))
    places = [divmod(cell, lake.width) for cell in [*(s for s, _ in task.best), lake.goal]]
    ax.plot([column for _, column in places], [row for row, _ in places], linewidth=9, alpha=0.2,
            color=INK.light, solid_capstyle="round", zorder=1)
    on_path = error[[s for s, _ in task.best]].sum()
    where = ",\nfrom wrong moves off the path" if error.sum() > 0 > on_path else ""
    title = f"{lake.name[:16]}: SFT errs by {error.sum():+.1f} points".replace("-", "−")
    ax.set(title=title + where,
           xlabel=f"points, after {OPENS} updates; line: path", xticks=[], yticks=[])
