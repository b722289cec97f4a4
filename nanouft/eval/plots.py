"""Pictures: the curves of a run, and the ledger (how hard an objective pushes each token).

Readable at slide size, colour-blind safe (Okabe-Ito), signs as well as colours. Files, never a
window; in a notebook also below the cell.
"""
import os
import sys
from io import BytesIO
from pathlib import Path

os.environ["MPLBACKEND"] = "Agg"        # matplotlib does not load with an unknown name there
import matplotlib  # noqa: E402

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

from nanouft.errors import UserError  # noqa: E402
from nanouft.run.storage import Lines, write_bytes  # noqa: E402
from nanouft.run.words import quoted  # noqa: E402

# In all figures and pages + is blue, likelier; - is orange, less likely; the sign is shown, too.
UP, DOWN, GREY = "#0072B2", "#D55E00", "#777777"
LINES = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"]
SLIDE = (15, 7.3)           # inches of a lesson's picture: a page of 16:9 below one line of text
plt.rcParams.update({"font.size": 12, "axes.spines.top": False, "axes.spines.right": False,
                     "figure.dpi": 110, "text.parse_math": False})  # a $ in a prompt is a dollar


def curves(run: Path) -> Path:
    """curves.png of a run folder: the loss, then what else the objective reports. Log-probs share a
    panel, and so do KLs."""
    log = Lines(run / "metrics.jsonl").read()
    steps = [m for m in log if "grad_norm" in m]
    held = [m for m in log if "held_out" in m]
    left_out = ("step", "lr", "tokens", "grad_norm", "decode_gap", "kl_answer", "kl_step")
    names = [k for k in steps[0] if k not in left_out and all(k in m for m in steps)]
    joint = [[n for n in names if n.startswith(start)] for start in ("logp_", "kl_")]
    panels = [[n] for n in names if not n.startswith(("logp_", "kl_"))]
    panels += [panel for panel in joint if panel]
    wide, high = min(3, len(panels)), -(-len(panels) // 3)      # at most three side by side
    fig, axes = plt.subplots(high, wide, figsize=(4.2 * wide, 3.6 * high), squeeze=False)
    x = [m["step"] for m in steps]
    for ax in axes.flat[len(panels):]:
        ax.set_axis_off()
    for ax, panel in zip(axes.flat, panels):
        for name, c, style in zip(panel, LINES, ("-", "--", ":")):
            y = [m[name] for m in steps]
            ax.plot(x, y, color=c, alpha=0.3, lw=1)
            ax.plot(x, smooth(y), style, color=c, lw=2.4, label=name.replace("_", " "))
        name = panel[0]
        points = [(m["step"], m["held_out"][name]) for m in held if name in m["held_out"]]
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


UNIT, TEXT = 0.4, 0.25      # inches of the ledger: a weight of 1, a line of text


def ledger(rows: list[tuple[str, list[str], list[float]]], file: Path, title: str = "") -> Path:
    """A label and a strip of bars per (label, tokens, weights): blue and + pushes a token up,
    orange and - down. One scale for all strips. A bar longer than 3 (an unusual scale, such as
    IPO's) is cut there, its number is not."""
    strips = [[max(-3.0, min(3.0, w)) for w in weights] for _, _, weights in rows]
    lowest = [min(0.0, *bars, 0.0) for bars in strips]
    heights = []                                    # a row has room for its text and for its bars
    for (label, _, _), bars, low in zip(rows, strips, lowest):
        drawn = UNIT * (max(0.0, *bars, 0.0) - low) + 2 * TEXT + TEXT * (low < 0)
        heights.append(max(0.3 + 0.21 * (1 + label.count("\n")), drawn))
    widest = max(len(tokens) for _, tokens, _ in rows)
    longest = max(len(line) for label, _, _ in rows for line in label.split("\n"))
    columns = (0.4 + 0.09 * longest, max(5.0, 0.95 * widest))
    fig, axes = plt.subplots(len(rows), 2, figsize=(sum(columns), sum(heights) + 1.2),
                             squeeze=False, width_ratios=columns, height_ratios=heights)
    for (text, ax), (label, tokens, weights), bars, low, high in zip(
            axes, rows, strips, lowest, heights):
        text.set_axis_off()
        ax.set_axis_off()
        name, _, more = label.partition("\n")
        text.text(0, 1, name, va="top", fontsize=12, weight="bold", transform=text.transAxes)
        text.text(0, 1, "\n" + more, va="top", fontsize=12, linespacing=1.25,
                  transform=text.transAxes)
        floor = low - (2 if low < 0 else 1) * TEXT / UNIT   # tokens, then numbers of falling bars
        ax.set(xlim=(-0.6, widest - 0.4), ylim=(floor, floor + high / UNIT))
        colours = [UP if w >= 0 else DOWN for w in weights]
        ax.bar(range(len(tokens)), bars, color=colours, width=0.7)
        ax.axhline(0, color=GREY, lw=0.8)
        for i, (token, bar, w) in enumerate(zip(tokens, bars, weights)):
            ax.annotate(f"{w:+.2f}", (i, bar), xytext=(0, 2 if w >= 0 else -2),
                        va="bottom" if w >= 0 else "top", ha="center", fontsize=10,
                        textcoords="offset points")
            ax.text(i, floor, token.strip() or repr(token), va="bottom", ha="center", fontsize=11)
    if title:
        fig.suptitle(title, x=0.02, y=1 - 0.12 / fig.get_figheight(), va="top", ha="left",
                     weight="bold")
    return save(fig, file, h_pad=1.6)


def picture_file(flag: str, name: str) -> Path:
    """The picture that a flag names. UserError, before anything slow, for other kinds of file."""
    if Path(name).suffix.lower() not in (".png", ".pdf", ".svg"):
        raise UserError(f"{flag} {quoted(name)}: give a name that ends with .png, .pdf or .svg")
    return Path(name)


def save(fig, file: Path, **layout) -> Path:
    fig.tight_layout(**layout)
    write(fig, file)
    if in_notebook() and file.suffix == ".png":
        from IPython.display import Image, display
        display(Image(filename=str(file)))
    return file


def write(fig, file: Path, **how) -> None:
    drawn = BytesIO()
    fig.savefig(drawn, format=file.suffix[1:], **how)
    plt.close(fig)
    write_bytes(file, drawn.getvalue())


def in_notebook() -> bool:
    """Is there a shell with a kernel (Jupyter, VS Code), not IPython in a terminal?"""
    return "IPython" in sys.modules and hasattr(sys.modules["IPython"].get_ipython(), "kernel")
