"""Rows of intervals as a picture: contrasts of the claims, settings of the lake, figures of the
experiments.

    intervals = [(0.05, 0.02, "holds"), (0.06, 0.02, "holds")]      # one a base
    interval_picture({"C6": [("UNA is better than DPO", intervals, (0.0,)), ...]}, file)
"""
from pathlib import Path

from nanouft.eval.plots import DOWN, UP, plt, save

COLOURS = {"holds": UP, "does not hold": DOWN, "undecided": "black"}
MARKS = {"first base": "o", "second base": "s"}
Interval = tuple[float, float, str]                             # mean, half width, verdict
Row = tuple[str, list[Interval], tuple[float, ...]]             # label, intervals, limits (dotted)


def interval_picture(panels: dict[str, list[Row]], file: Path, columns: int = 1,
                     unit: str = "points", scale: float = 100) -> Path:
    """{title: rows}: every row with its 95 % intervals; the dotted line is what they must pass or
    stay within."""
    lines, most = -(-len(panels) // columns), max(map(len, panels.values()))
    size = (6.5 * columns + 4.5, (1.2 + 0.75 * most) * lines)
    fig, axes = plt.subplots(lines, columns, figsize=size, squeeze=False)
    for ax in axes.flat[len(panels):]:
        ax.set_axis_off()
    for ax, (title, rows) in zip(axes.flat, panels.items()):
        draw_rows(ax, rows, scale)
        ax.set(title=title, xlabel=f"{unit}, 95 % interval")
    bases = max(len(intervals) for rows in panels.values() for _, intervals, _ in rows)
    handles = [plt.Line2D([], [], marker=mark, ls="", color="black", label=base)
               for base, mark in MARKS.items()]
    handles = handles[:bases] * (bases > 1)
    handles += [plt.Line2D([], [], color=colour, lw=3, label=word)
                for word, colour in COLOURS.items()]
    handles.append(plt.Line2D([], [], color="black", ls=":", label="limit"))
    axes[0, -1].legend(handles=handles, fontsize=11, loc="upper left", bbox_to_anchor=(1.01, 1))
    return save(fig, file)


def draw_rows(ax, rows: list[Row], scale: float) -> None:
    for y, (_, intervals, limits) in enumerate(rows):
        for i, (mark, (mean, half, word)) in enumerate(zip(MARKS.values(), intervals)):
            ax.errorbar(scale * mean, y + 0.3 * i - 0.15 * (len(intervals) - 1), xerr=scale * half,
                        fmt=mark, ms=8, lw=2.2, capsize=3, color=COLOURS[word])
        for x in limits:
            ax.plot([scale * x] * 2, [y - 0.4, y + 0.4], ":", color="black", lw=1.6)
    ax.axvline(0, color="#bbbbbb", lw=1, zorder=0)
    ax.set_yticks(range(len(rows)), [label for label, _, _ in rows])
    ax.set_ylim(len(rows) - 0.4, -0.6)
