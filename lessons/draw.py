"""The few kinds of pictures that the lessons share. Each function draws into one panel (`ax`).

A method has the same colour and mark everywhere (nanouft/pictures/colours.py), and what is not a
method the next of SERIES. Blue and orange say only "pushed up" and "pushed down". Lines carry their
names at their ends, so they need no legend.
"""
import itertools
import os
import re
import sys

if "ipykernel" not in sys.modules:
    os.environ["MPLBACKEND"] = "agg"        # files, never a window
import matplotlib.pyplot as plt
from matplotlib.colors import LinearSegmentedColormap

from nanouft.pictures import colours

plt.rcParams.update({
    "font.size": 18, "axes.titlesize": 20, "axes.titleweight": "bold", "axes.titlelocation": "left",
    "axes.titlepad": 12, "axes.spines.top": False, "axes.spines.right": False,
    "lines.linewidth": 3, "lines.markersize": 9, "hatch.linewidth": 0.6, "text.parse_math": False})
SLIDE = (15, 7.3)                           # inches: 1080 x 525 pixels, 18 points are readable
STYLES = ("-", "--", ":", "-.")
UP, DOWN = colours.UP.light, colours.DOWN.light
INKS = (colours.style_of("sft").light, colours.SOFT.light)
SERIES = (INKS[0], "#b07d00", "#c2255c")    # far apart in hue and in brightness
PUSHES = {"praise": {"color": UP, "marker": "^", "linestyle": "-"},
          "blame": {"color": DOWN, "marker": "v", "linestyle": "-"}}
UP_AND_DOWN = LinearSegmentedColormap.from_list("push", [DOWN, "white", UP])


def panels(rows: int = 1, columns: int = 1, **how):
    """A picture and its panels; `how` goes to matplotlib (width_ratios, sharey ...)."""
    return plt.subplots(rows, columns, figsize=SLIDE, layout="constrained", **how)


def looks(names) -> list[dict]:
    """Colour, mark and kind of line of each name: those of the method that it mentions, else the
    next colour of SERIES. Of several names with the same look the second is dashed or dotted."""
    methods = [method_look(name) for name in names]
    taken = [look["color"] for look in methods if look]
    others = itertools.cycle(ink for ink in SERIES if ink not in taken)
    seen, out = [], []
    for of_method in methods:
        look = of_method or {"color": next(others), "marker": "", "linestyle": "-"}
        while (look["color"], look["linestyle"]) in seen and look["linestyle"] != STYLES[-1]:
            look = look | {"linestyle": STYLES[STYLES.index(look["linestyle"]) + 1]}
        seen.append((look["color"], look["linestyle"]))
        out.append(look)
    return out


def method_look(name: str) -> dict | None:
    """"lists, IFT released" -> the look of IFT as released; None if no method is named."""
    words = re.findall(r"\w+", name.lower().replace("online ", "online_"))
    for word, after in zip(words, words[1:] + [""]):
        if word in PUSHES:
            return PUSHES[word]
        if colours.family(word):
            return colours.line(f"{word} {after}" if after == "released" else word)
    return None


def lines(ax, x, series: dict, title: str, xlabel: str, ylabel: str = "", legend: bool = False,
          **limits) -> None:
    """series = {name: its values at each x}. The names stand at the right ends of the lines, or, if
    the lines end in one point, in a legend."""
    x, styles = list(x), looks(series)
    for (name, values), look in zip(series.items(), styles):
        ax.plot(x, [float(y) for y in values], label=name, markevery=max(1, len(x) // 8), **look)
    ax.set(title=title, xlabel=xlabel, ylabel=ylabel, **limits)
    if legend:
        ax.legend(frameon=False)
        return
    low, high = ax.get_ylim()
    apart = 0.07 * (high - low)                         # two names never lie on each other
    ends = sorted((float(values[-1]), k, name) for k, (name, values) in enumerate(series.items()))
    at = [y for y, _, _ in ends]
    for i in range(1, len(at)):
        at[i] = max(at[i], at[i - 1] + apart)
    for i in reversed(range(len(at))):
        at[i] = min(at[i], at[i + 1] - apart if i + 1 < len(at) else high)
    for y, (_, k, name) in zip(at, ends):
        ax.annotate(name, (x[-1], y), (8, 0), textcoords="offset points", va="center",
                    color=styles[k]["color"], annotation_clip=False)


def bars(ax, series: dict, groups, title: str, ylabel: str = "", number: str = "%.0f",
         **limits) -> None:
    """Bars side by side from 0: series = {name: one value for each group}."""
    wide = 0.84 / len(series)
    middle = wide * (len(series) - 1) / 2
    for k, ((name, values), look) in enumerate(zip(series.items(), looks(series))):
        hatch = "" if look["linestyle"] == "-" else "//"
        at = [g + wide * k - middle for g in range(len(groups))]
        drawn = ax.bar(at, [float(v) for v in values], 0.94 * wide, color=look["color"],
                       hatch=hatch, ec="white", label=name)
        ax.bar_label(drawn, fmt=number, padding=2, fontsize=16)
    ax.set_xticks(range(len(groups)), groups)
    ax.margins(y=0.12)
    ax.set(title=title, ylabel=ylabel, **limits)
    if len(series) > 1:
        ax.legend(frameon=False, ncol=len(series), loc="upper center", bbox_to_anchor=(0.5, -0.1))


def dots(ax, points: dict, title: str, xlabel: str, ylabel: str = "", **limits) -> None:
    """points = {name: (x, y)}: one mark for each name, with the name beside it: to the right, or to
    the left if another mark is near there."""
    wide, high = (max(values) - min(values) for values in zip(*points.values()))
    for (name, (x, y)), look in zip(points.items(), looks(points)):
        near = any(0 < a - x < wide / 5 and abs(b - y) < high / 10 for a, b in points.values())
        ax.plot(x, y, **look | {"linestyle": "", "markersize": 14})
        ax.annotate(name, (x, y), (-12 if near else 12, 0), textcoords="offset points", va="center",
                    ha="right" if near else "left", color=look["color"], annotation_clip=False)
    ax.set(title=title, xlabel=xlabel, ylabel=ylabel, **limits)


def intervals(ax, rows: dict, limit: float, title: str,
              xlabel: str = "points minus SFT: mean, interval, and a tick for each seed") -> None:
    """rows = {name: (differences, their mean, half width)}: a tick for each seed, the interval, and
    a filled mark if it does not touch the limit."""
    for y, (differences, mean, half) in enumerate(rows.values()):
        decided = abs(mean - limit) > half
        ink = INKS[0] if decided else INKS[1]
        ax.plot(differences, [y] * len(differences), "|", color=INKS[1], ms=24, mew=2)
        ax.errorbar(mean, y, xerr=half, fmt="o", ms=14, lw=4, color=ink,
                    mfc=ink if decided else "white")
    ax.axvline(limit, color="black", lw=1)
    ax.set(title=title, xlabel=xlabel,
           yticks=range(len(rows)), yticklabels=rows, ylim=(len(rows) - 0.5, -0.5))


def heat(ax, grid, columns, rows, title: str, most: float = 1.5, number: str = "%+.2f") -> None:
    """A table of pushes (rows, columns): the stronger the colour, the harder the push. A cell that
    is nan stays empty."""
    ax.imshow(grid, cmap=UP_AND_DOWN, vmin=-most, vmax=most, aspect="auto")
    for y, line in enumerate(grid):
        for x, push in enumerate(line):
            colour = "white" if abs(push) > 0.7 * most else "black"
            if number and push == push:
                ax.text(x, y, number % float(push), color=colour, ha="center", va="center")
    ax.set_xticks(range(len(columns)), columns)
    ax.set_yticks(range(len(rows)), rows)
    ax.set_title(title)


def lake(ax, lake, texts: dict, title: str, shades: dict | None = None) -> None:
    """A lake from above. texts and shades: {cell: what stands there, per cent of the colour}."""
    ax.set(title=title, xticks=[], yticks=[], xlim=(0, lake.width), ylim=(len(lake.rows), 0))
    for cell in range(lake.S):
        row, column = divmod(cell, lake.width)
        hole = lake.rows[row][column] == "H"
        shade = (shades or {}).get(cell, 0) / 100
        fill = "#555555" if hole else UP if shade else "white"
        ax.add_patch(plt.Rectangle((column, row), 1, 1, fc=fill, alpha=1 if hole else 0.7 * shade))
        ax.add_patch(plt.Rectangle((column, row), 1, 1, fc="none", ec="#999999", lw=1))
        text = "goal" if cell == lake.goal else "hole" if hole else texts.get(cell, "")
        ax.text(column + 0.5, row + 0.5, text, ha="center", va="center",
                color="white" if hole else "black")


def masks(ax, words: list[str], rows: dict, title: str) -> None:
    """rows = {name: 1 for each token that counts, else 0}: the text once for each name."""
    starts = [sum(map(len, words[:k])) for k in range(len(words) + 1)]
    for y, mask in enumerate(rows.values()):
        for word, start, counts in zip(words, starts, mask):
            box = (start, y - 0.3), len(word), 0.6
            ax.add_patch(plt.Rectangle(*box, fc=UP if counts else "white", ec="#999999", lw=1))
            ax.text(start + len(word) / 2, y, word, size=15, family="monospace", ha="center",
                    va="center", color="white" if counts else "black")
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    ax.set(title=title, xticks=[], yticks=range(len(rows)), yticklabels=rows,
           xlim=(0, starts[-1]), ylim=(len(rows) - 0.5, -0.5))


def plain(words: str) -> str:
    """A token as it stands in a picture: without blanks and the signs of a control token."""
    return re.sub(r"[<|>]", "", words).strip()
