"""Two pictures: the curves of a run, and how hard methods push the tokens of one answer.

    draw_curves(Path("out/ift"))                # writes out/ift/curves.png; train does this itself
    draw_pushes(strips, Path("out/pushes.png"), title, note)    # nanouft.pushes

The title says what was found. 1,080 pixels wide, colours and marks from colours.py.
"""
import json
import math
import os
import sys
import textwrap
from io import BytesIO
from pathlib import Path
from typing import Any

if "ipykernel" not in sys.modules:          # programs that a notebook starts inherit its
    os.environ.pop("MPLBACKEND", None)      # backend, which may not be installed for them
import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from nanouft.pictures.colours import DOWN, SOFT, line, look, push_colour
from nanouft.plumbing.files import read_json, remove
from nanouft.plumbing.printing import quantity
from nanouft.run.folder import read_lines
from nanouft.run.plan import as_passes

STYLE: Any = {"font.size": 13, "figure.dpi": 100, "text.parse_math": False,     # a $ is a dollar
              "axes.spines.top": False, "axes.spines.right": False}
WIDTH = 10.8                                    # inches
CUT = 97                                        # per cent of the losses that the axis shows
LONGEST_BAR = 3.0                               # a longer bar ends here; its number tells all
UNWEIGHTED = ("sft", "neftune")                 # losses that are the mean of -log p, as held out
WEIGHTED = ("ift detached", "ift released")     # or a weighted mean
UNIT, TEXT = 0.33, 0.26                         # inches of a push of 1, and of a line of text
LEFT = 2.3                                      # inches of the methods' names
SIDE_BY_SIDE, LETTERS = 7, 10                   # tokens in one row, letters of each
DRAWN = 70                                      # tokens of an answer in the picture

Strip = tuple[str, str, list[str], list[float]]     # method, which answer, tokens, pushes


# ---- the curves of a run -------------------------------------------------------------------------
@matplotlib.rc_context(STYLE)
def draw_curves(folder: Path) -> Path:
    """Draw curves.png of a run folder: the scores of each task before and after, or the figure of
    held-out rows; and the loss of every step (for methods that sample: the reward). Reads run.json,
    metrics.jsonl and eval.json."""
    run, scored = read_json(folder / "run.json"), read_json(folder / "eval.json")
    before, after = scored.get("before") or {}, scored.get("after") or {}
    log = read_lines(folder / "metrics.jsonl")
    name = run["objective"] + " " + run["hp"].get("variant", "")
    passes = as_passes(run["passes"]) if "passes" in run else ""
    tasks = bool(before.get("families") and after.get("families"))
    figure, held_out = held_out_points(log, before, after)
    one_unit = figure == "nll" and name.strip() in UNWEIGHTED
    both = tasks or bool(held_out) and not one_unit
    fig = Figure(figsize=(WIDTH, 4.6 if tasks else 3.6), layout="constrained")
    axes = fig.subplots(1, 1 + both, width_ratios=[3, 2] if both else [1], squeeze=False)[0]
    if tasks:
        draw_scores(axes[0], before["families"], after["families"], name)
    elif both:
        draw_held_out(axes[0], held_out, name)
    draw_steps(axes[-1], log, name, held_out if one_unit else {}, passes)
    if not tasks:
        told = [change(figure, held_out, after)]
        if passes and not both:
            told.append(passes)
        axes[0].set_title(f"{display_name(name)}: {' in '.join(told)}", loc="left", weight="bold",
                          fontsize=13)
    return save(fig, folder / "curves.png")


def display_name(name: str) -> str:
    """"ift detached" or "ift --variant detached" -> "IFT (detached)"."""
    method, _, form = name.replace("--variant ", "").strip().partition(" ")
    method = method.upper().replace("_", "-")
    return f"{method} ({form})" if form else method


def held_out_points(log: list[dict], before: dict, after: dict) -> tuple[str, dict[int, float]]:
    """(the first figure on held-out rows, {step: its value}): before, at --eval-every, after."""
    old, new = before.get("held_out") or {}, after.get("held_out") or {}
    figure = next((key for key in new if key in old), "")
    if not figure:
        return "", {}
    between = {m["step"]: m["held_out"][figure] for m in log if figure in m.get("held_out", ())}
    last = max((m["step"] for m in log), default=0)
    return figure, {0: old[figure], **between, last: new[figure]}


def change(figure: str, held_out: dict[int, float], after: dict) -> str:
    """What happened to a figure on held-out rows, in words."""
    if not held_out:
        return "the loss of every step"
    first, *_, last = [*held_out.values()] * 2
    n = after["held_out"].get("rows")
    return (f"{figure} of {quantity(n, 'held-out rows') if n else 'held-out rows'} "
            f"{first:.2f} → {last:.2f}")


def draw_held_out(ax: Axes, held_out: dict[int, float], name: str) -> None:
    """The figure of held-out rows over the steps, with its first and last value."""
    x, y = [*held_out], [*held_out.values()]
    colour = look(name).light
    ax.plot(x, y, "s-", color=colour, markerfacecolor="white", ms=8, lw=2.5)
    for i, beside in ((0, 1), (-1, -2)):
        ax.annotate(f"{y[i]:.2f}", (x[i], y[i]), xytext=(0, -22 if y[beside] > y[i] else 10),
                    textcoords="offset points", ha="center", color=colour, weight="bold")
    ax.margins(0.08, 0.35)
    ax.set_xlabel("step")


def draw_scores(ax: Axes, before: dict, after: dict, name: str) -> None:
    """A line from the score before to the score after, for each task; the best on top."""
    tasks = sorted(after, key=lambda task: after[task]["score"])
    green = look(name).light
    for y, task in enumerate(tasks):
        old, new = (100 * side[task]["score"] for side in (before, after))
        colour = DOWN.light if new < old - 0.5 else green
        ax.plot([old, new], [y, y], color=colour, lw=2.5, alpha=0.5)
        ax.plot(old, y, "o", color=SOFT.light, markerfacecolor="white", ms=8, mew=1.8)
        ax.plot(new, y, look(name).marker, color=colour, ms=9)
        ax.annotate(f"{new:.0f}", (max(old, new), y), xytext=(11, 0), textcoords="offset points",
                    va="center", color=colour, weight="bold")
    means = [100 * np.mean([x["score"] for x in side.values()]) for side in (before, after)]
    ax.set_title(f"{display_name(name)}: {means[0]:.0f} → {means[1]:.0f} points of 100", loc="left",
                 weight="bold", fontsize=15)
    ax.set_yticks(range(len(tasks)), [task.replace("_", " ") for task in tasks])
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.set(xlim=(-4, 112), xlabel=f"score of 100:  ○ before   {look(name).mark} after")


def draw_steps(ax: Axes, log: list[dict], name: str, held_out: dict[int, float],
               passes: str) -> None:
    """The loss of every step and its running mean; the reward if the method learns from it.
    held_out: {step: nats per token of held-out rows}, for a loss that has the same unit."""
    steps = [m for m in log if "grad_norm" in m]
    key = "reward" if steps and "reward" in steps[0] else "loss"
    x, y = [m["step"] for m in steps], np.array([m[key] for m in steps])
    colour = look(name).light
    ax.plot(x, y, color=colour, alpha=0.25, lw=1)
    ax.plot(x, smooth(y), color=colour, lw=3, label="rows of a step, running mean")
    title = f"{key} of a step, {passes}" if passes else f"{key} of a step"
    ax.set_title(title, loc="left", weight="bold", fontsize=13)
    ax.locator_params(axis="x", integer=True)
    unit = "nats per token" if name.strip() in UNWEIGHTED + WEIGHTED else ""
    if name.strip() in WEIGHTED:
        unit += ", weighted"
    ax.set(xlabel="step", ylabel=unit)
    if key == "loss" and len(y):
        low, high = min(0.0, y.min()), np.percentile(y, CUT)        # the first steps would hide all
        high = max(high, *held_out.values(), 0.0) * (1.1 if held_out else 1)
        ax.set_ylim(low, high if high > low else None)
    if held_out:
        ax.plot([*held_out], [*held_out.values()], "s--", color=SOFT.light, markerfacecolor="white",
                ms=8, label="held-out rows")
        ax.legend(frameon=False, loc="best")


def smooth(y: np.ndarray) -> list[float]:
    """Exponential mean, corrected at the start."""
    keep = 0.9                                      # of the mean so far
    out, total, weight = [], 0.0, 0.0
    for value in y:
        total, weight = keep * total + (1 - keep) * value, keep * weight + (1 - keep)
        out.append(total / weight)
    return out


# ---- the push on each token ----------------------------------------------------------------------
@matplotlib.rc_context(STYLE)
def draw_pushes(strips: list[Strip], file: Path, title: str, note: str = "") -> Path:
    """A row of bars for every SIDE_BY_SIDE tokens of a strip: blue and + makes a token more likely,
    orange and - less. All rows have one scale. The tokens stand above a row where they differ from
    those of the last. Of a long answer the first DRAWN tokens are drawn."""
    rows = [(method if i == 0 else "", which, tokens[i:i + SIDE_BY_SIDE],
             weights[i:i + SIDE_BY_SIDE])
            for method, which, tokens, weights in strips
            for i in range(0, min(DRAWN, len(tokens)), SIDE_BY_SIDE)]
    if max(len(tokens) for _, _, tokens, _ in strips) > DRAWN:
        note += f"\nThe first {DRAWN} tokens; the terminal shows all."
    heights, y = [], 0.0                            # inches from the top: of names, of the axis
    for i, (_, _, tokens, weights) in enumerate(rows):
        new = i == 0 or tokens != rows[i - 1][2]
        up, down = (UNIT * min(LONGEST_BAR, max(0.0, *(sign * w for w in weights), 0.0))
                    for sign in (1, -1))
        names = y + TEXT if new else None
        zero = (y if names is None else names) + 0.18 + up + TEXT
        heights.append((names, zero))
        y = zero + down + (TEXT if down > 0 else 0) + 0.12
    title = textwrap.fill(title, 88)
    note = "\n".join(textwrap.fill(line, 115) for line in note.split("\n"))
    below = 0.45 + TEXT * title.count("\n")
    top = below + (TEXT * (1 + note.count("\n")) if note else 0)
    fig = Figure(figsize=(WIDTH, y + top + 0.1))
    ax = fig.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, WIDTH), ylim=(y + 0.1, -top))   # inches: down is positive
    ax.set_axis_off()
    ax.text(0.15, 0.12 - top, title, va="top", weight="bold", fontsize=15)
    ax.text(0.15, below - top, note, va="top", color=SOFT.light)
    most = max(len(tokens) for _, _, tokens, _ in rows)
    space = min(1.3, (WIDTH - LEFT) / most)         # inches of a token
    for (method, which, tokens, weights), (names, zero) in zip(rows, heights):
        if method:
            style = line(method)
            ax.plot(0.3, zero - 0.2, style["marker"], color=style["color"], ms=9,
                    markerfacecolor=style["markerfacecolor"])
            ax.text(0.55, zero - 0.2, display_name(method), va="center", weight="bold")
            ax.text(0.55, zero + 0.06, which, va="center", color=SOFT.light, fontsize=12)
        ax.plot([LEFT, LEFT + most * space], [zero, zero], color=SOFT.light, lw=1)
        for k, (token, weight) in enumerate(zip(tokens, weights)):
            x, colour = LEFT + (k + 0.5) * space, push_colour(weight)
            short = max(-LONGEST_BAR, min(LONGEST_BAR, weight))
            ax.bar(x, -UNIT * short, 0.62 * space, bottom=zero, color=colour)
            beyond = zero - UNIT * short - math.copysign(0.03, weight)
            ax.text(x, beyond, with_sign(weight), ha="center", fontsize=12, color=colour,
                    va="bottom" if weight >= 0 else "top")
            if names is not None:
                ax.text(x, names, token_name(token), ha="center", va="bottom")
    return save(fig, file)


def token_name(token: str) -> str:
    """A token for pictures and the terminal: a line feed as \\n, at most LETTERS letters."""
    name = token.strip() or repr(token)
    return name if len(name) <= LETTERS else name[:LETTERS - 1] + "…"


def with_sign(weight: float) -> str:
    """ "+1.00", "−0.90", with the minus of print."""
    return f"{weight:+.2f}".replace("-", "−")


def save(fig: Figure, file: Path) -> Path:
    """A PNG with a palette, which halves the bytes, and with what is drawn as text: `figures`."""
    drawn = BytesIO()
    fig.savefig(drawn)
    image = Image.open(drawn).convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE)
    remove(file)
    info = PngInfo()
    info.add_text("figures", figures(fig))
    image.save(file, "png", optimize=True, pnginfo=info)
    return file


def figures(fig: Figure) -> str:
    """The words and numbers of a picture as JSON. With them a test finds a kept picture that no
    longer shows what its command draws."""
    parts = [part for ax in fig.axes for part in ax.collections if isinstance(part, LineCollection)]
    drawn = [*(one.get_xydata() for ax in fig.axes for one in ax.lines),
             *(line for part in parts for line in part.get_segments())]
    return json.dumps({
        "texts": [told for one in fig.findobj(Text) if (told := one.get_text())],
        "drawn": [np.round(np.asarray(x), 2).tolist() for x in drawn]})
