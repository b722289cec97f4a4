"""The pictures of docs/papers.md: numbers of a figure (papers.py) -> a file."""
from pathlib import Path

import numpy as np

from nanouft.eval.plots import DOWN, GREY, LINES, UP, plt, save

LAMS, GAMMAS = ("0", "0.2", "0.5", "0.8", "1"), ("0", "0.5", "0.8", "0.95", "1")
# of arXiv:2405.11870v3, which gives no hours of SFT alone
HOURS = {"IFT": 20, "ORPO": 30, "SFT -> DPO": 40}
MIXES = ("7:1", "3:1", "1:1", "1:3", "1:7")
SHARES = ("0", "0.1", "0.2", "0.4", "0.6")

MARKS, STYLES = ("o", "s", "^", "D"), ("-", "--", ":", "-.")
SIZE = (9, 4.8)


def rounded(x):
    """The same numbers as a page prints them: shares in percent, one digit."""
    if isinstance(x, dict):
        return {key: rounded(value) for key, value in x.items()}
    if isinstance(x, (list, tuple)):
        return [rounded(value) for value in x]
    return Percent(x) if isinstance(x, float) else x


class Percent(float):
    """A share; f"{x}" and f"{x:+}" give percent with one digit, f"{x:.2f}" with two, f"{x:x}" the
    number itself."""

    def __format__(self, spec: str) -> str:
        if spec == "x":
            return f"{float(self):.2f}"
        return f"{100 * self:{spec if '.' in spec else spec + '.1f'}}"


def lines(ax, x, series: dict) -> None:
    """series = {name: [[mean, half], ...]}, in shares; drawn in percent with intervals, side by
    side."""
    aside = 0.008 * (max(x) - min(x))
    for k, (name, points) in enumerate(series.items()):
        mean, half = 100 * np.array(points).T
        ax.errorbar(np.array(x) + (k - (len(series) - 1) / 2) * aside, mean, yerr=half,
                    fmt=MARKS[k] + STYLES[k], color=LINES[k], ms=8, lw=2.2, capsize=3, label=name)
    ax.legend(frameon=False)


def heat(fig, ax, values, rows, columns, title: str, xlabel: str, ylabel: str,
         every=None) -> None:
    """Shares as a map with the number in each place. every: all values that share the colours
    [these]."""
    x, y = 100 * np.array(values), 100 * np.array(values if every is None else every)
    low, high = y.min(), y.max()
    ax.imshow(x, cmap="Blues", aspect="auto", vmin=low - 0.25 * (high - low + 1e-9), vmax=high)
    for i, line in enumerate(x):
        for j, value in enumerate(line):
            dark = value > low + 0.6 * (high - low)
            ax.text(j, i, f"{value:.0f}", ha="center", va="center",
                    color="white" if dark else "black", fontsize=13)
    ax.set_xticks(range(len(columns)), columns)
    ax.set_yticks(range(len(rows)), rows)
    ax.set(title=title, xlabel=xlabel, ylabel=ylabel)
    ax.spines[:].set_visible(False)


def grid(n: dict, file: Path) -> Path:
    """Marked: no blend and no propagation, which is SFT, and the paper's setting."""
    fig, axes = plt.subplots(1, 2, figsize=(12.5, 5))
    for ax, (form, values) in zip(axes, n["scores"].items()):
        heat(fig, ax, values, LAMS, GAMMAS, f"IFT {form}: score, %", "gamma (propagation)",
             "lambda (own guess)", every=list(n["scores"].values()))
        for row, column, name in ((0, 0, "SFT"), (1, 3, "paper")):
            ax.add_patch(plt.Rectangle((column - 0.47, row - 0.47), 0.94, 0.94, fill=False,
                                       ec=DOWN, lw=3))
            ax.text(column, row + 0.36, name, ha="center", color=DOWN, fontsize=10, weight="bold",
                    bbox={"fc": "white", "ec": "none", "pad": 1})
    return save(fig, file)


def noisy(n: dict, file: Path) -> Path:
    from lab.pictures import interval_picture
    rows = [("IFT as released: noisy\nminus plain lambda", [(b["mean"], b["half"], b["verdict"])
             for b in n["bases"].values()], (0.0,))]
    return interval_picture({"IFT: noisy lambda (.5)": rows}, file)


def cost(n: dict, file: Path) -> Path:
    fig, (left, right) = plt.subplots(1, 2, figsize=(11, 3.6))
    for ax, found, title, unit in ((left, HOURS, "the paper: hours", "{:.0f}"),
                                   (right, n, "here: FLOPs, as multiples of SFT's", "{:.2f}")):
        names = list(n)[::-1]
        values = [found.get(name, 0) for name in names]
        drawn = ax.barh(names, values, color=[UP if name == "IFT" else GREY for name in names])
        ax.bar_label(drawn, [unit.format(v) if v else "not given" for v in values], padding=4)
        ax.set(title=title, xlim=(0, 1.2 * max(values)))
    return save(fig, file)


def online(n: dict, file: Path) -> Path:
    n = n["methods"]
    fig, ax = plt.subplots(figsize=SIZE)
    each = 100 * np.array([x["scores"] for x in n.values()])                # (methods, seeds)
    ax.plot(range(len(n)), each, color=GREY, lw=0.8, alpha=0.6, zorder=1)
    for k, (name, x) in enumerate(n.items()):
        scores = 100 * np.array(x["scores"])
        ax.plot([k] * len(scores), scores, MARKS[k], color=LINES[k], ms=10, alpha=0.8)
        ax.plot([k - 0.18, k + 0.18], [scores.mean()] * 2, color="black", lw=2)
    labels = [f"{name}\n{x['cost']:.2f} x SFT's FLOPs\n{x['models']} model"
              f"{'s' * (x['models'] > 1)}{' + value head' * x['value head']}"
              for name, x in n.items()]
    ax.set_xticks(range(len(n)), labels)
    ax.set(ylabel="score, %", xlim=(-0.5, len(n) - 0.5),
           title="PPO and online UNA: thin lines join the runs of a seed, bars are means")
    return save(fig, file)


def loss(n: dict, file: Path) -> Path:
    fig, ax = plt.subplots(figsize=SIZE)
    scores = n["scores"]
    betas = list(scores["mse"])
    lines(ax, range(len(betas)), {form.upper(): [of[b] for b in betas]
                                  for form, of in scores.items()})
    ax.set_xticks(range(len(betas)), betas)
    ax.set(xlabel="beta", ylabel="score, %", title="UNA from the same labels: MSE or BCE")
    return save(fig, file)


def ratio(n: dict, file: Path) -> Path:
    fig, ax = plt.subplots(figsize=SIZE)
    lines(ax, range(len(MIXES)), n["scores"])
    ax.set_xticks(range(len(MIXES)), MIXES)
    ax.set(xlabel="demonstrations (A) : scored answers (B), of 600 rows", ylabel="score, %",
           ylim=(0, 120), title="UFT: skills, honesty and facts over the ratio")
    ax.legend(frameon=False, loc="lower center", ncol=3)
    return save(fig, file)


def settings(n: dict, file: Path) -> Path:
    parts = [name for name in n if name not in ("rates", "betas")]
    fig, axes = plt.subplots(1, len(parts), figsize=(4.9 * len(parts), 4.6), sharey=True)
    for ax, part in zip(axes, parts):
        heat(fig, ax, n[part], n["rates"], n["betas"], part, "beta",
             "learning rate" if part == parts[0] else "")
    return save(fig, file)


def noise(n: dict, file: Path) -> Path:
    fig, ax = plt.subplots(figsize=SIZE)
    lines(ax, [100 * float(s) for s in SHARES], n["scores"])
    ax.set(xlabel="wrong demonstrations, %", ylabel="score, %",
           title="PoFT, and a filter by the same aligned model")
    return save(fig, file)


def passes(n: dict, file: Path) -> Path:
    fig, ax = plt.subplots(figsize=SIZE)
    for k, (row, x) in enumerate(n.items()):
        ax.plot([float(e) for e in x], [100 * v for v in x.values()], MARKS[k] + STYLES[k],
                color=LINES[k], ms=9, lw=2.2, label=row.split(",")[0])
    ax.set(xlabel="passes over the demonstrations, 40 % of them wrong", ylabel="score, %",
           xticks=[1, 3, 6, 12], title="SFT and PoFT over passes: one run for each point")
    ax.legend(frameon=False)
    return save(fig, file)


def aligned(n: dict, file: Path) -> Path:
    fig, ax = plt.subplots(figsize=(11, 4.8))
    gains = n["gains"]
    names = list(gains["strong"])
    for k, (kind, colour, hatch) in enumerate((("strong", UP, ""), ("weak", DOWN, "//"))):
        ax.bar(np.arange(len(names)) + 0.4 * k - 0.2, [100 * gains[kind][f] for f in names], 0.38,
               color=colour, hatch=hatch, ec="white", label=f"{kind} aligned model")
    ax.axhline(0, color="black", lw=0.8)
    ax.set_xticks(range(len(names)), [name.replace("_", "\n") for name in names])
    ax.set(ylabel="PoFT minus SFT, points", title="40 % wrong demonstrations, by family")
    ax.legend(frameon=False)
    return save(fig, file)
