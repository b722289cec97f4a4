"""The kinds of pictures that the lessons share. Each function draws into one panel (`ax`).

Colours are safe for colour-blind readers, and never alone: bars also have hatches, lines have
styles or marks, pushes have signs.
"""
import torch
from matplotlib.colors import LinearSegmentedColormap

from nanouft.eval import plots

HATCHES = ("", "//", "..", "xx", "\\\\")
STYLES = ("-", "--", ":", "-.", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 3)))
COLOURS = (*plots.LINES, "black")
UP_AND_DOWN = LinearSegmentedColormap.from_list("push", [plots.DOWN, "white", plots.UP])


def panels(*numbers: int, **how):
    """A picture as large as a slide, and its panels: panels(1, 2) has two beside each other.
    panels([["a", "b"], ["a", "c"]]) names them."""
    if numbers and isinstance(numbers[0], list):
        return plots.plt.subplot_mosaic(numbers[0], figsize=plots.SLIDE, **how)
    return plots.plt.subplots(*numbers, figsize=plots.SLIDE, **how)


def looks(names) -> list[tuple]:
    """[(colour, hatch)] of these names; the base is grey."""
    colours = [plots.GREY] * ("base" in names) + plots.LINES
    hatches = [""] * ("base" in names) + list(HATCHES)
    return list(zip(colours, hatches))


def bars(ax, series: dict, groups, title: str, top: float | None = 100, number: str = "%.0f",
         legend: bool = True, size: int = 18) -> None:
    """Bars side by side: series = {name: one value for each group}. The legend stands below."""
    wide = 0.84 / len(series)
    middle = wide * (len(series) - 1) / 2
    places = torch.arange(len(groups))
    for k, ((name, values), (colour, hatch)) in enumerate(zip(series.items(), looks(series))):
        drawn = ax.bar(places + wide * k - middle, values, 0.94 * wide, color=colour, hatch=hatch,
                       ec="white", label=name)
        if number:
            ax.bar_label(drawn, fmt=number, fontsize=size, padding=2)
    ax.set_title(title, pad=14)
    ax.set_xticks(places, groups)
    ax.set_ylim(None if top is None else 0, top)
    if legend:
        below(ax, 2 if len(series) in (2, 4) else 3)


def stacked(ax, parts: dict, names, title: str) -> None:
    """One bar for each name: parts = {part: its per cent of each bar}."""
    under = torch.zeros(len(names))
    white = {"fc": "white", "ec": "none", "pad": 2}
    for (part, values), (colour, hatch) in zip(parts.items(), looks(parts)):
        drawn = ax.bar(names, values, 0.7, under, label=part, hatch=hatch, color=colour, ec="white")
        ax.bar_label(drawn, fmt="%.0f", label_type="center", bbox=white)
        under = under + torch.tensor(values)
    ax.set(title=title, ylim=(0, 100))
    below(ax, 2)


def lines(ax, x, series: dict, title: str, xlabel: str, legend: str = "inside", **how) -> None:
    """series = {name: its values at each x}. `how`: limits of the axes."""
    for (name, values), style, colour in zip(series.items(), STYLES, COLOURS):
        ax.plot(x, values, linestyle=style, color=colour, lw=3, label=name)
    ax.set(title=title, xlabel=xlabel, **how)
    if legend == "inside":
        ax.legend(frameon=False)
    if legend == "below":
        below(ax, 2)


def strip(ax, words: list[str], push, title: str, number: str = "%+.2f", size: int = 18,
          **how) -> None:
    """How hard each token is pushed: blue up, orange down."""
    push = [float(x) for x in push]
    colours = [plots.UP if x >= 0 else plots.DOWN for x in push]
    drawn = ax.bar(range(len(push)), push, color=colours, tick_label=[w.strip() for w in words])
    ax.bar_label(drawn, fmt=number, fontsize=size, padding=3)
    ax.axhline(0, color=plots.GREY, lw=1)
    ax.set(title=title, **how)


def numbers(ax, grid, columns, rows, title: str, size: int = 16) -> None:
    """A table of pushes (rows, columns): the stronger the colour, the harder the push."""
    ax.imshow(grid, cmap=UP_AND_DOWN, vmin=-1.5, vmax=1.5, aspect="auto")
    for y, line in enumerate(grid.tolist()):
        for x, push in enumerate(line):
            shown = f"{push:+.2f}".replace("0.", ".") if push else "0"
            colour = "white" if abs(push) > 1 else "black"
            ax.text(x, y, shown, color=colour, ha="center", va="center", fontsize=size)
    ax.set_xticks(range(len(columns)), columns)
    ax.set_yticks(range(len(rows)), rows)
    ax.set_title(title)


def table(ax, head: list[str], rows: dict, title: str) -> None:
    """A table of words, rows = {name: its words}. Words with a cross are grey."""
    grey = [["#CCCCCC" if "×" in word else "w" for word in words] for words in rows.values()]
    drawn = ax.table(list(rows.values()), grey, "center", colLabels=head, rowLabels=list(rows),
                     colColours=["#A6CEE8"] * len(head), bbox=(0, 0, 1, 1))
    drawn.auto_set_font_size(False)
    drawn.set_fontsize(15)
    ax.set_title(title)
    ax.set_axis_off()


def lake(ax, lake, texts: dict, title: str, shades: dict | None = None) -> None:
    """A lake seen from above. texts, shades: {cell: what is written there, per cent of blue}."""
    holes = [[letter == "H" for letter in row] for row in lake.rows]
    ax.imshow(holes, cmap="Greys", vmax=2, aspect="auto")
    if shades:
        blue = torch.full((lake.height * lake.width,), float("nan"))
        blue[list(shades)] = torch.tensor(list(shades.values()))
        ax.imshow(blue.view(lake.height, lake.width), cmap="Blues", vmin=0, vmax=160, aspect="auto")
    for cell, text in {**texts, lake.goal: "goal"}.items():
        ax.text(cell % lake.width, cell // lake.width, text, ha="center", va="center")
    corner = (lake.goal % lake.width - 0.5, lake.goal // lake.width - 0.5)
    ax.add_patch(plots.plt.Rectangle(corner, 1, 1, color=plots.LINES[4]))
    ax.set(title=title, xticks=[], yticks=[])


def below(ax, columns: int) -> None:
    """A legend below the panel and the words of its axis."""
    words = [label.get_text() for label in ax.get_xticklabels()]
    under = 1 + max(word.count("\n") for word in words) + bool(ax.get_xlabel())      # lines of text
    ax.legend(frameon=False, ncol=columns, loc="upper center", bbox_to_anchor=(0.5, 0),
              borderaxespad=0.4 + 1.2 * under)
