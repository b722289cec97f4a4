"""The picture of results: each sentence once, above its difference on each model.

    python -m lessons.evidence --write          # docs/results/answers.svg, from texts/picture.ini

Above stands each method beside plain SFT on the best answers that the same data holds, below what
the papers say. ● is N1, ■ N2, ◆ SmolLM2. A bar is the interval that decides: corrected by Holm's
rule where a run asks several questions. A colour is a verdict over N1 and N2; SmolLM2's mark is
filled if its own interval decides. A hollow ● and ■ are of a difference that no plan asks.
"""
import configparser
from typing import NamedTuple

from lessons.evidence import judge, plan, stats
from nanouft.pictures.colours import INK

LIST = plan.HERE / "texts" / "picture.ini"
RIVAL, PAPER = "Beside plain SFT on the best answers", "What the papers say"
# of a light page and of a dark one; blue and orange part for all kinds of colour blindness
COLOURS = {"right": ("#0969da", "#58a6ff"), "left": ("#bc4c00", "#f0883e"),
           "open": ("#6e7781", "#9198a1"), "ink": (INK.light, INK.dark),
           "page": ("#ffffff", "#0d1117")}
SIDES = {"holds": "right", "does not hold": "left", "undecided": "open"}
WORDS = {RIVAL: {"right": "ahead", "left": "behind", "open": "open"},
         PAPER: {"right": "here, too", "left": "not here", "open": "open"}}
TIMES = ["never", "once", "twice", "three times"]
COUNTS = ["none", "one", "two", "three"]
EDGE = 16                               # points at which the axis is cut
WIDE, HIGH, LINE = 4.9, 13.8, 1.6       # inches of the picture; a row
UNITS = ("Points of 100. Right of the line: the method, or what the paper",
         "says, is ahead. A score is the mean of the tasks or groups of",
         "tasks that its row names; where SmolLM2 has fewer, ◆ names them.")
NUMBERS = "no one two three four five six seven eight nine".split()


class Dot(NamedTuple):
    """A difference on one model, and the interval that decides; of 100."""
    model: str
    mean: float
    half: float
    side: str                           # its own verdict: "right", "left", "open"


class Row(NamedTuple):
    block: str
    method: str
    says: str
    key: str                            # its question, "-" before it if turned round
    real: str                           # SmolLM2's
    score: str                          # what its mean is of: "nine tasks"
    real_score: str                     # SmolLM2's, where it is another
    remark: str
    dots: tuple[Dot, ...]
    side: str                           # over N1 and N2
    word: str
    planned: bool


# ---- what is drawn -------------------------------------------------------------------------------
def read_list() -> configparser.ConfigParser:
    """texts/picture.ini."""
    return plan.parse(LIST)


def read_rows() -> list[Row]:
    """The rows of the list with their figures."""
    listed, out = read_list(), []
    again = {key: told.split(" | ") for key, told in listed["asked again"].items()}
    for block in (RIVAL, PAPER):
        for title, told in listed[block].items():
            key, real, remark = (x.strip() for x in told.split("|"))
            score, real_score = (means_of(x) if x else "" for x in (key, real))
            method, _, says = title.partition(": ")
            dots, side = ask(key)
            word = word_of(block, key, side, [ask(x)[1] for x in again.get(key, [])])
            dots += ask(real)[0] if real else ()
            planned = line_of(key) is not None
            out.append(Row(block, method, says, key, real, score,
                           real_score if real_score != score else "", remark, dots, side,
                           word if planned else "not asked before", planned))
    return out


def means_of(key: str) -> str:
    """What the scores of a question are means of: "nine tasks", "six skills", "three groups"."""
    name, formula = key.removeprefix("-").split(" ", 1)
    _, _, _, parts = plan.parse_question(plan.read(name), formula)
    if len(parts) > 1:
        return f"{NUMBERS[len(parts)]} groups"
    return f"{NUMBERS[len(parts[0])]} {'skills' if {*parts[0]} <= {*plan.NO_FACTS} else 'tasks'}"


def word_of(block: str, key: str, side: str, others: list[str]) -> str:
    """A verdict in a word; where other runs asked the same and found something else, how many
    agree with the row."""
    if "as good" in key and side == "right":
        return "level"
    if others and side != "open" and set(others) != {side}:
        return f"{TIMES[1 + others.count(side)]} of {COUNTS[1 + len(others)]}"
    return WORDS[block][side]


def line_of(key: str) -> judge.Line | None:
    """The judged line of a question; None if no plan asks it."""
    key = key.removeprefix("-")
    return next((x for x in judge.lines(key.split(" ")[0]) if x.key == key), None)


def ask(key: str) -> tuple[tuple[Dot, ...], str]:
    """(a difference on each model, the verdict over them)."""
    sign, key = (-1, key[1:]) if key.startswith("-") else (1, key)
    name, formula = key.split(" ", 1)
    run = plan.read(name)
    if formula not in run.questions:
        asked = [[judge.asked_of(run, formula, model)] for model in range(len(run.models))]
        at = 0
    else:
        asked, at = judge.asked_by_model(name), [*run.questions].index(formula)
    dots = []
    for model, questions in zip(run.models, asked):
        found = [(*judge.moments(x), x.test) for x in questions]
        mean, (half, verdict) = found[at][0], stats.decide(found)[at]
        side = SIDES[verdict]
        side = {"right": "left", "left": "right"}.get(side, side) if sign < 0 else side
        dots.append(Dot(plan.MODELS[model], 100 * sign * mean, 100 * half, side))
    sides = {dot.side for dot in dots}
    return tuple(dots), sides.pop() if len(sides) == 1 else "open"


# ---- the picture ---------------------------------------------------------------------------------
def draw(rows: list[Row]):
    """Words stand above their interval, so one narrow picture serves a desk and a phone."""
    from matplotlib.figure import Figure
    fig = Figure(figsize=(WIDE, HIGH))
    ax = fig.add_axes((0.02, 0.065, 0.73, 0.91))
    beside, y, block = ax.get_yaxis_transform(), 0.0, ""
    ink, grey = COLOURS["ink"][0], COLOURS["open"][0]
    for row in rows:
        if row.block != block:
            y += 1.6 if block else 0.9
            ax.text(0, y, row.block, transform=beside, weight="bold", fontsize=12, color=ink)
            block = row.block
        y += LINE
        name = ax.text(0, y - 0.75, f"{row.method} ", transform=beside, weight="bold",
                       fontsize=10.5, color=ink, va="center")
        ax.annotate(row.says, (1, 0.5), xycoords=name, fontsize=10.5, color=ink, va="center")
        ax.text(0, y - 0.37, row.remark, transform=beside, color=grey, fontsize=9, va="center")
        ax.text(1.02, y - 0.17, row.word.replace(" before", "\nbefore"), transform=beside,
                color=colour_of(row), weight="bold", fontsize=10.5, va="top")
        ax.text(1.02, y - 0.37, row.score, transform=beside, color=grey, fontsize=8.5, va="center")
        if row.real_score:
            ax.text(1.02, y + 0.46, f"◆ {row.real_score}", transform=beside, color=grey,
                    fontsize=8.5, va="center")
        ax.plot([0, 0], [y - 0.17, y + 0.43], color=ink, linewidth=0.8, zorder=-1)
        for k, dot in enumerate(row.dots):
            draw_dot(ax, y + 0.2 * (k - 0.5 * (len(row.dots) - 1)) + 0.13, dot, row)
    ax.set(ylim=(y + 1, 0.2), yticks=[], xlim=(-EDGE, EDGE), xticks=range(-15, 16, 5))
    ax.tick_params(colors=grey, labelsize=9)
    for side in ("left", "right", "top"):
        ax.spines[side].set_visible(False)
    ax.spines["bottom"].set_color(grey)
    for k, text in enumerate(UNITS):
        fig.text(0.02, 0.028 - 0.0115 * k, text, color=grey, fontsize=9)
    for x, (mark, text) in zip((0.5, 0.62, 0.74), (("●", "N1"), ("■", "N2"), ("◆", "SmolLM2"))):
        fig.text(x, 0.977, f"{mark} {text}", color=grey, fontsize=9.5)
    return fig


def colour_of(row: Row) -> str:
    """Of its verdict over N1 and N2; what nobody asked before has none."""
    side = "ink" if row.word == "level" else row.side if row.planned else "open"
    return COLOURS[side][0]


def draw_dot(ax, y: float, dot: Dot, row: Row) -> None:
    """One model's difference; beyond the edge an arrow with its number."""
    marker = {"N1": "o", "N2": "s", "SmolLM2": "D"}[dot.model]
    real = dot.model == "SmolLM2"
    colour = COLOURS[dot.side][0] if real else colour_of(row)
    filled = dot.side != "open" if real else row.planned
    if abs(dot.mean) > EDGE:
        ax.annotate(f"{dot.mean:+.0f}", (EDGE, y), (EDGE - 3.5, y), va="center", ha="right",
                    fontsize=9, color=colour, arrowprops={"arrowstyle": "->", "color": colour})
        return
    ax.errorbar(dot.mean, y, xerr=dot.half, fmt=marker, color=colour, markersize=5, linewidth=1.5,
                markerfacecolor=colour if filled else COLOURS["page"][0])


def shown(rows: list[Row]) -> list:
    """What the picture shows, as data."""
    return [[row.method, row.says, row.word, row.score, row.real_score, row.remark,
             [[x.model, round(float(x.mean), 1), round(float(x.half), 1)] for x in row.dots]]
            for row in rows]
