"""Two pictures: the curves of a run, and how hard methods push the tokens of one answer.

    draw_curves(Path("out/ift"))                # writes out/ift/curves.png; train does this itself
    draw_pushes(strips, Path("out/pushes.png"), note)           # nanouft.pushes

The title says what was found. 1,080 pixels wide, colours and marks from colours.py.
"""
import json
import os
import re
import sys
import textwrap
from collections.abc import Mapping
from html import escape
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

# programs that a notebook starts inherit its backend, which may not be installed for them
if "ipykernel" in sys.modules or (backend := os.environ.pop("MPLBACKEND", None)) is None:
    import matplotlib
else:
    import matplotlib
    os.environ["MPLBACKEND"] = backend
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure, SubFigure
from matplotlib.text import Text
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from nanouft.pictures.colours import DOWN, SOFT, UP, line, style_of
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.files import read_json
from nanouft.plumbing.printing import quantity
from nanouft.run.folder import read_lines
from nanouft.run.plan import format_epochs

STYLE: Any = {"font.size": 13, "figure.dpi": 100, "text.parse_math": False,     # a $ is a dollar
              "axes.spines.top": False, "axes.spines.right": False}
WIDTH = 10.8                                    # inches
FELL = 20                                       # points that a task must fall for the title
CUT = 97                                        # per cent of the losses that the axis shows
LONGEST_BAR = 3.0                               # a longer bar ends here; its number tells all
UNIT, TEXT = 0.33, 0.26                         # inches of a push of 1, and of a line of text
LEFT = 2.3                                      # inches of the methods' names
SIDE_BY_SIDE, LETTERS = 7, 10                   # tokens in one row, letters of each

Strip = tuple[str, str, list[str], list[float]]     # method, which answer, tokens, pushes


# ---- the curves of a run -------------------------------------------------------------------------
@matplotlib.rc_context(STYLE)
def draw_curves(folder: Path) -> Path:
    """Draw curves.png of a run folder: the figure of held-out rows, and the loss of every step (for
    methods that sample: the reward); above them, of a run on NanoWorld, the score of each task.
    Reads run.json, metrics.jsonl and eval.json."""
    run, scored = read_json(folder / "run.json"), read_json(folder / "eval.json")
    before, after = scored.get("before") or {}, scored.get("after") or {}
    log = read_lines(folder / "metrics.jsonl")
    name = run["objective"] + " " + run["hp"].get("variant", "")
    figure, held_out = held_out_points(log, before, after)
    scores = {m["step"]: m["scores"] for m in log if "scores" in m}
    fig = Figure(figsize=(WIDTH, 6.2 if scores else 3.6), layout="constrained")
    below: Any = fig
    if scores:
        parts: Any = fig.subfigures(2, 1, height_ratios=(2.6, 3.6))
        above, below = parts
        draw_scores(above, scores, name, run["config"]["curve_items"])
    *left, right = below.subplots(1, 1 + bool(held_out), squeeze=False)[0]
    for ax in left:
        x, y = [*held_out], [*held_out.values()]
        ax.plot(x, y, "s-", color=style_of(name).light, markerfacecolor="white", ms=8, lw=2.5)
        ax.margins(0.08, 0.35)
        rows = quantity(after["held_out"]["rows"], "held-out rows")
        set_titles(ax, f"{display_name(name)}: {figure} of {rows} {y[0]:.2f} → {y[-1]:.2f}")
    draw_steps(right, log, name, format_epochs(run["passes"]))
    return save(fig, folder / "curves.png")


def display_name(name: str) -> str:
    """"ift detached" or "ift --variant detached" -> "IFT (detached)"; of a file its name."""
    method, _, form = name.replace("--variant ", "").strip().partition(" ")
    is_file = method.endswith(".py")
    method = Path(method).name if is_file else method.upper().replace("_", "-")
    return f"{method} ({form})" if form else method


def held_out_points(log: list[dict], before: dict, after: dict) -> tuple[str, dict[int, float]]:
    """(the first figure on held-out rows, {step: its value}): before, at --eval-every, after."""
    old, new = before.get("held_out") or {}, after.get("held_out") or {}
    figure = next((key for key in new if key in old), "")
    if not figure:
        return "", {}
    between = {m["step"]: m["held_out"][figure] for m in log if figure in m.get("held_out", ())}
    last = max((m["step"] for m in log), default=0)
    return figure, dict(sorted({0: old[figure], last: new[figure], **between}.items()))


def draw_scores(fig: SubFigure, scores: dict[int, dict[str, float]], name: str,
                prompts: int) -> None:
    """A panel for each task: its score, 0 to 100, over the steps. scores: {step: {task: 0 to 1}},
    of so many prompts of each task."""
    steps, tasks = [*scores], [*scores[max(scores)]]
    for ax, task in zip(fig.subplots(1, len(tasks), sharey=True, squeeze=False)[0], tasks):
        ax.plot(steps, [100 * scores[step][task] for step in steps], "o-", ms=5, lw=2,
                color=style_of(name).light)
        ax.set(ylim=(-5, 105), xticks=[steps[0], steps[-1]])
        ax.set_title(task, fontsize=12)
    fig.suptitle(title_of_scores(scores, name), x=0.01, ha="left", weight="bold", fontsize=13)
    fig.supxlabel(f"step ({quantity(prompts, 'validation prompts')} of each task)", fontsize=13)


def title_of_scores(scores: dict[int, dict[str, float]], name: str) -> str:
    """The task that fell most on the way, from which score to which; else only what is shown."""
    first, last = scores[min(scores)], scores[max(scores)]
    lowest = {task: min(x[task] for x in scores.values()) for task in last}
    task = max(last, key=lambda one: first[one] - lowest[one])
    way = [round(100 * x) for x in (first[task], lowest[task], last[task])]
    text = f"{display_name(name)}: score by task, 0-100, while it trains"
    if way[0] - way[1] < FELL:
        return text
    return f"{text}; {task} falls from {way[0]} to {way[1]} and ends at {way[2]}"


def set_titles(ax: Axes, text: str) -> None:
    ax.set_title(text, loc="left", weight="bold", fontsize=13)
    ax.set_xlabel("step")


def draw_steps(ax: Axes, log: list[dict], name: str, passes: str) -> None:
    """The loss of every step and its running mean; the reward if the method learns from it."""
    steps = [m for m in log if "grad_norm" in m]
    key = "reward" if steps and "reward" in steps[0] else "loss"
    x, y = [m["step"] for m in steps], np.array([m[key] for m in steps])
    colour = style_of(name).light
    ax.plot(x, y, color=colour, alpha=0.25, lw=1)
    ax.plot(x, smooth(y), color=colour, lw=3)
    set_titles(ax, f"{display_name(name)}: {key} of a step, {passes}")
    ax.locator_params(axis="x", integer=True)
    if key == "loss" and len(y):
        low, high = min(0.0, y.min()), np.percentile(y, CUT)        # the first steps would hide all
        ax.set_ylim(low, high if high > low else None)


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
def draw_pushes(strips: list[Strip], file: Path, note: str = "") -> Path:
    """A row of bars for every SIDE_BY_SIDE tokens of a strip: blue and + makes a token more likely,
    orange and - less. The tokens stand above a row where they differ from those of the last."""
    rows = [(method if i == 0 else "", which, tokens[i:i + SIDE_BY_SIDE],
             weights[i:i + SIDE_BY_SIDE])
            for method, which, tokens, weights in strips
            for i in range(0, len(tokens), SIDE_BY_SIDE)]
    title = textwrap.wrap(title_of_pushes(strips), 88)
    notes = [part for line in note.split("\n") for part in textwrap.wrap(line, 115)]
    bars = np.clip([w for *_, weights in rows for w in weights], -LONGEST_BAR, LONGEST_BAR)
    up, down = UNIT * max(0.0, bars.max()), UNIT * max(0.0, -bars.min())    # inches, as all below
    height = up + down + 3 * TEXT
    bottom = 0.5 + TEXT * (len(title) + len(notes)) + height * len(rows)
    fig = Figure(figsize=(WIDTH, bottom))
    ax = fig.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, WIDTH), ylim=(bottom, 0))           # down is positive
    ax.set_axis_off()
    ax.text(0.15, 0.12, "\n".join(title), va="top", weight="bold", fontsize=15)
    ax.text(0.15, 0.2 + TEXT * len(title), "\n".join(notes), va="top", color=SOFT.light)
    most = max(len(tokens) for _, _, tokens, _ in rows)
    space = min(1.3, (WIDTH - LEFT) / most)             # of a token
    for i, (method, which, tokens, weights) in enumerate(rows):
        zero = bottom - height * (len(rows) - i) + up + 2 * TEXT
        if method:
            style = line(method)
            ax.plot(0.3, zero - 0.2, style["marker"], color=style["color"], ms=9,
                    markerfacecolor=style["markerfacecolor"])
            ax.text(0.55, zero - 0.2, display_name(method), va="center", weight="bold")
            ax.text(0.55, zero + 0.06, which, va="center", color=SOFT.light, fontsize=12)
        ax.plot([LEFT, LEFT + most * space], [zero, zero], color=SOFT.light, lw=1)
        for k, (token, weight) in enumerate(zip(tokens, weights)):
            x = LEFT + (k + 0.5) * space
            colour, way = (DOWN.light, -1) if weight < 0 else (UP.light, 1)
            end = zero - UNIT * max(-LONGEST_BAR, min(LONGEST_BAR, weight))
            ax.bar(x, end - zero, 0.62 * space, bottom=zero, color=colour)
            ax.text(x, end - 0.03 * way, with_sign(weight), ha="center", fontsize=12, color=colour,
                    va="bottom" if way > 0 else "top")
            if i == 0 or tokens != rows[i - 1][2]:
                ax.text(x, zero - up - TEXT, token_name(token), ha="center", va="bottom")
    return save(fig, file)


def title_of_pushes(strips: list[Strip]) -> str:
    """The title of the picture: the methods that push the last token of the right answer least
    and most."""
    last = token_name(strips[0][2][-1])
    at_end = {display_name(method): weights[-1] for method, which, _, weights in strips
              if which in ("answer", "chosen", "good answer", "sure")}
    least, most = ((name, "down" if at_end[name] < 0 else "up", with_sign(at_end[name]))
                   for name in (min(at_end, key=at_end.__getitem__),
                                max(at_end, key=at_end.__getitem__)))
    text = f"{least[0]} pushes {last} {least[1]} ({least[2]})"
    return text + f", {most[0]} {most[1]} ({most[2]})" * (most != least)


def token_name(token: str) -> str:
    """A token for pictures and the terminal: a line feed as \\n, at most LETTERS letters."""
    name = token.strip() or repr(token)
    return name if len(name) <= LETTERS else name[:LETTERS - 1] + "…"


def with_sign(weight: float) -> str:
    """ "+1.00", "−0.90", with the minus of print."""
    return f"{weight:+.2f}".replace("-", "−")


def save(fig: Figure, file: Path) -> Path:
    """A PNG with a palette, a third of the bytes, and with what is drawn as text: `figures`.
    UserError if a folder has this name."""
    if file.is_dir():
        raise UserError(f"{file}: is a folder; give the name of a picture, such as "
                        f"{file / 'picture.png'}")
    drawn, info = BytesIO(), PngInfo()
    fig.savefig(drawn)
    info.add_text("figures", figures(fig))
    file.unlink(missing_ok=True)        # its hard links keep the old picture
    image = Image.open(drawn).convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE)
    image.save(file, "png", optimize=True, pnginfo=info)
    return file


def figures(fig: Figure) -> str:
    """The words and numbers of a picture as JSON. With them a test finds a kept picture that no
    longer shows what its command draws."""
    parts = [part for ax in fig.axes for part in ax.collections if isinstance(part, LineCollection)]
    drawn = [*(one.get_xydata() for ax in fig.axes for one in ax.lines),
             *(line for part in parts for line in part.get_segments())]
    return json.dumps({
        "texts": [text for one in fig.findobj(Text) if (text := one.get_text())],
        "drawn": [np.round(np.asarray(x), 2).tolist() for x in drawn]})


# ---- SVG -----------------------------------------------------------------------------------------
def as_svg(fig: Figure, about: str, shown: object, colours: Mapping[str, tuple[str, str]]) -> str:
    """The picture with its words as paths, in colours that follow the reader's light or dark page:
    {a name: (on a light page, on a dark one)}. `shown` stands in it as data, so that a test can
    compare."""
    out = StringIO()
    with matplotlib.rc_context({"svg.fonttype": "path", "svg.hashsalt": "nanouft"}):
        fig.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = re.sub(r"^.*?(?=<svg)|<metadata>.*?</metadata>", "", out.getvalue(), flags=re.DOTALL)
    text = re.sub(r"\b[1-9]\d*\.\d{3,}", lambda x: f"{float(x[0]):.2f}", text)   # of a point
    for name, (light, _) in colours.items():
        text = text.replace(light, f"var(--{name})")
    light, dark = ("; ".join(f"--{name}: {pair[k]}" for name, pair in colours.items())
                   for k in (0, 1))
    head, _, rest = text.partition(">")
    return (f'{head} role="img">\n<title>{escape(about)}</title>\n'
            f"<desc>{escape(json.dumps(shown))}</desc>\n<style>svg {{ {light} }}\n"
            f"@media (prefers-color-scheme: dark) {{ svg {{ {dark} }} }}</style>{rest}")
