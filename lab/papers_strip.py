"""The training paradigm in the token MDP, one picture: SFT, PPO, DPO and IFT side by side.

    python -m lab.papers --figure paradigm

After figure 1 of IFT's paper (arXiv:2405.11870v3), drawn anew. A state is what has been read so
far; an action is the next token. Upper lane: the demonstrator's answer. Lower lane: the model's
own. Each panel shows in which states the loss is computed, and what tells a token whether it was
good. The ground is white everywhere, so that it can be read on a dark page, too.
"""
from collections.abc import Sequence
from pathlib import Path

from matplotlib.patches import FancyArrowPatch, Wedge

from nanouft.eval.plots import DOWN, GREY, LINES, UP, plt, save

QUESTION = "? = Say pig bee saw backwards."
RIGHT, OWN = ("saw", "bee", "pig", "end"), ("pig", "bee", "saw", "end")
DEMO, MODEL, PALE = UP, LINES[4], "#BDBDBD"
HIGH, LOW, R = 2.0, 0.0, 0.27           # heights of the lanes, radius of a state
WORDS = {                               # states, then signal
    "SFT": ("reads the demonstrator's words", "pushes each of them up"),
    "PPO": ("reads its own words", "credits one score, given at the\nend, to each of them"),
    "DPO": ("reads two given answers", "pushes all words of one up,\nof the other one down"),
    "IFT (detached)": ("reads the demonstrator's words,\nblended with its own guesses",
                       "pushes each of them up, more\nwhere the next ones go wrong"),
}


def state(ax, x: float, y: float, colour: str, text: str, size: int = 15) -> None:
    ax.add_patch(plt.Circle((x, y), R, fc=colour, ec="black", lw=1.4, zorder=3))
    ax.text(x, y + 0.44, text, ha="center", va="bottom", fontsize=size)


def arrow(ax, start: tuple, end: tuple, colour: str, width: float = 2.2, curve: float = 0.0,
          style: str = "-|>", line: str = "-") -> None:
    ax.add_patch(FancyArrowPatch(start, end, arrowstyle=style, color=colour, lw=width, zorder=2,
                                 mutation_scale=16, linestyle=line,
                                 connectionstyle=f"arc3,rad={curve}"))


def lane(ax, y: float, words: Sequence[str], colour: str, sign: str = "", push: str = "") -> None:
    """A question, then a state for each word. sign: on each move that is trained."""
    for x, word in enumerate(words, 1):
        before = (0.28, HIGH / 2 + (y - HIGH / 2) * 0.2) if x == 1 else (x - 1 + R, y)
        arrow(ax, before, (x - R, y), push or PALE, 3.2 if push else 1.6)
        state(ax, x, y, colour, word)
        if sign and x > 1:
            ax.text(x - 0.5, y - 0.14, sign, ha="center", va="top", fontsize=20, weight="bold",
                    color=push)
        elif sign:
            ax.text(0.22, y * 0.78 + 0.16, sign, ha="center", va="center", fontsize=20,
                    weight="bold", color=push)


def question(ax) -> None:
    ax.add_patch(plt.Rectangle((-0.42, HIGH / 2 - 0.4), 0.7, 0.8, fc="white", ec="black", lw=1.4,
                               zorder=3))
    ax.text(-0.07, HIGH / 2, "?", ha="center", va="center", fontsize=22, zorder=4)


def sft(ax) -> None:
    lane(ax, HIGH, RIGHT, DEMO, "+", UP)


def ppo(ax) -> None:
    lane(ax, LOW, OWN, MODEL, "±", GREY)
    ax.plot(5.0, LOW, marker="*", ms=24, color="black", zorder=3)
    ax.text(5.0, LOW + 0.42, "score", ha="center", va="bottom", fontsize=15)
    arrow(ax, (4 + R, LOW), (4.82, LOW), PALE, 1.6)
    arrow(ax, (5.0, LOW - 0.32), (0.7, LOW - 0.42), "black", 1.6, -0.16, line="--")


def dpo(ax) -> None:
    lane(ax, HIGH, RIGHT, DEMO, "+", UP)
    lane(ax, LOW, OWN, MODEL, "−", DOWN)
    ax.annotate("", (4.75, HIGH), (4.75, LOW), arrowprops={"arrowstyle": "<->", "lw": 1.8})
    ax.text(4.92, HIGH / 2, "better\nthan", ha="left", va="center", fontsize=15)


def ift(ax) -> None:
    lane(ax, HIGH, RIGHT, DEMO, "+", UP)
    for x, word in enumerate(OWN[:3], 1):
        ax.add_patch(Wedge((x, HIGH), R, 234, 306, fc=MODEL, ec="black", lw=1.0, zorder=4))
        ax.add_patch(plt.Circle((x, LOW + 0.35), R * 0.8, fc=MODEL, ec="black", lw=1.2, zorder=3))
        ax.text(x, LOW - 0.02, word, ha="center", va="top", fontsize=15)
        arrow(ax, (x, LOW + 0.35 + R * 0.8), (x, HIGH - R), MODEL, 2.0, line=":")
    for x, width in ((3, 3.0), (2, 2.0), (1, 1.2)):
        arrow(ax, (4, HIGH + 0.86), (x + 0.05, HIGH + 0.86), "black", width, 0.30)


PANELS = {"SFT": sft, "PPO": ppo, "DPO": dpo, "IFT (detached)": ift}


def paradigm(file: Path) -> Path:
    fig, axes = plt.subplots(1, 4, figsize=(19, 5.6))
    for ax, (name, draw) in zip(axes, PANELS.items()):
        question(ax)
        draw(ax)
        states, signal = WORDS[name]
        ax.set_title(name, fontsize=26, weight="bold", pad=10)
        ax.text(2.4, LOW - 1.15, f"{states},\n{signal}", ha="center", va="top", fontsize=17,
                color="black", linespacing=1.3)
        ax.set(xlim=(-0.5, 5.45), ylim=(LOW - 3.0, HIGH + 1.6))
        ax.set_aspect("equal")
        ax.set_axis_off()
    fig.set_facecolor("white")
    handles = [plt.Line2D([], [], marker="o", ls="", ms=14, mfc=colour, mec="black", label=label)
               for colour, label in ((DEMO, "the demonstrator's token"),
                                     (MODEL, "the model's own (DPO: the worse one)"))]
    handles.insert(0, plt.Line2D([], [], ls="", label=QUESTION))
    fig.legend(handles=handles, loc="lower center", ncol=3, frameon=False, fontsize=17)
    return save(fig, file, rect=(0, 0.05, 1, 1), w_pad=0.2)
