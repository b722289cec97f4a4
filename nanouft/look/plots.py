"""Pictures: the curves of a run, and the ledger (how hard an objective pushes each token of an answer).

Readable at slide size, colour-blind safe (Okabe-Ito), signs as well as colours. Files only, never a window.
"""
import textwrap
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

from nanouft.shell.files import Lines  # noqa: E402

UP, DOWN, GREY = "#0072B2", "#D55E00", "#777777"
LINES = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"]
plt.rcParams.update({"font.size": 12, "axes.spines.top": False, "axes.spines.right": False, "figure.dpi": 110,
                     "text.parse_math": False})                # a dollar sign in a prompt is a dollar sign


def curves(run: Path) -> Path:
    """curves.png of a run folder: the loss, then what else the objective reports; log-probs share a panel, KLs, too."""
    log = Lines(run / "metrics.jsonl").read()
    steps, held = [m for m in log if "grad_norm" in m], [m for m in log if "held_out" in m]
    left_out = ("step", "lr", "tokens", "grad_norm", "decode_gap", "kl_answer", "kl_step")
    names = [k for k in steps[0] if k not in left_out]
    joint = [[n for n in names if n.startswith(start)] for start in ("logp_", "kl_")]
    panels = [[n] for n in names if not any(n in panel for panel in joint)] + joint
    panels = [p for p in panels if p]
    wide, high = min(3, len(panels)), -(-len(panels) // 3)                 # at most three beside each other
    fig, axes = plt.subplots(high, wide, figsize=(4.2 * wide, 3.6 * high), squeeze=False)
    x = [m["step"] for m in steps]
    for ax in axes.flat[len(panels):]:
        ax.set_axis_off()
    for ax, panel in zip(axes.flat, panels):
        for name, c, style in zip(panel, LINES, ("-", "--", ":")):
            y = [m[name] for m in steps]
            ax.plot(x, y, color=c, alpha=0.3, lw=1)
            ax.plot(x, smooth(y), style, color=c, lw=2.4, label=name.replace("_", " "))
        points = [(m["step"], m["held_out"][panel[0]]) for m in held if panel[0] in m["held_out"]]
        if points:
            ax.plot(*zip(*points), "o--", color="black", ms=5, label="held out")
        if points or len(panel) > 1:
            ax.legend(frameon=False)
        ax.set(title=" and ".join(panel).replace("_", " "), xlabel="step")
    fig.suptitle(run.name)
    return save(fig, run / "curves.png")


def smooth(y: list[float], keep: float = 0.9) -> list[float]:
    """Exponential mean, corrected at the start."""
    out, total, weight = [], 0.0, 0.0
    for v in y:
        total, weight = keep * total + (1 - keep) * v, keep * weight + (1 - keep)
        out.append(total / weight)
    return out


def fold(text: str, width: int = 40) -> str:
    """Text in lines short enough for a label."""
    return "\n".join(textwrap.wrap(text, width, max_lines=3, placeholder=" ..."))


def ledger(rows: list[tuple[str, list[str], list[float]]], file: Path, title: str = "",
           heads: tuple[str, str] = ("", "")) -> Path:
    """A line of text and a strip of bars per (label, tokens, weights): blue and + pushes a token up, orange and - down.
    One scale for all strips; a bar longer than 3 (an unusual scale, such as IPO's) is cut there, its number is not."""
    widest = max(len(tokens) for _, tokens, _ in rows)
    drawn = [max(-3.0, min(3.0, w)) for _, _, weights in rows for w in weights] or [1.0]
    high, low = max(0.0, *drawn), min(0.0, *drawn)
    room = 0.35 * max(high - low, 1e-9)                         # for the numbers above and below the bars
    heights = [0.42 + 0.19 * max(4 if tokens else 0, 1 + label.count("\n")) for label, tokens, _ in rows]
    wide = max(5.0, 0.95 * widest)
    fig, axes = plt.subplots(len(rows), 2, figsize=(4.2 + wide, sum(heights) + 1.1), squeeze=False,
                             width_ratios=(4.2, wide), height_ratios=heights)
    for (text, ax), (label, tokens, weights) in zip(axes, rows):
        text.set_axis_off()
        text.text(0, 0.5, label, va="center", fontsize=12, linespacing=1.3, transform=text.transAxes)
        ax.set_axis_off()
        if not tokens:
            continue
        ax.set(xlim=(-0.6, widest - 0.4), ylim=(low - room, high + room))
        bars = [max(-3.0, min(3.0, w)) for w in weights]
        ax.bar(range(len(tokens)), bars, color=[UP if w >= 0 else DOWN for w in weights], width=0.7)
        ax.axhline(0, color=GREY, lw=0.8)
        for i, (token, bar, w) in enumerate(zip(tokens, bars, weights)):
            gap = 0.12 * room if w >= 0 else -0.12 * room
            ax.text(i, bar + gap, f"{w:+.2f}", ha="center", va="bottom" if w >= 0 else "top", fontsize=10)
            ax.text(i, low - room, token.strip() or repr(token), ha="center", va="top", fontsize=11)
    for ax, head in zip(axes[0], heads):
        ax.set_title(head, loc="left", fontsize=11, color=GREY)
    if title:
        fig.suptitle(title, x=0.02, y=0.99, va="top", ha="left", weight="bold")
    return save(fig, file)


def save(fig, file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    fig.tight_layout()
    fig.savefig(file)
    plt.close(fig)
    return file
