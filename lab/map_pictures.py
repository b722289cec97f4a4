"""The map's pictures: scores over demonstrations (lines), rewards over steps (curves)."""
from pathlib import Path

import numpy as np

from nanouft.look.plots import LINES, plt, save


def lines(found: dict, file: Path) -> None:
    """Score over demonstrations: SFT alone, and RFT with so many judged answers (intervals: of its gain over SFT)."""
    sizes = sorted({x["samples"] for x in found["exchange"] if x["row"] == "RFT"})
    fig, ax = plt.subplots(figsize=(10, 5.6))
    alone = {int(d): 100 * score for d, score in found["alone"].items()}
    ax.plot(list(alone), list(alone.values()), "o-", color="black", lw=2.5, label="SFT alone")
    for size, colour in zip(sizes, LINES):
        rows = {r["demos"]: next(row for row in r["rows"] if row["name"] == "RFT") for r in found["regimes"]
                if r["samples"] == size and r["piece"] in ("grid", "long") and r["base"] == "base"}
        means, halves = ([100 * row[key][i] for row in rows.values()] for key, i in (("endpoint", 0), ("gain", 1)))
        ax.errorbar(list(rows), means, halves, fmt="o-", capsize=3, color=colour,
                    label=f"and {size:,} judged answers (RFT)")
    ax.set(xscale="log", xlabel="demonstrations", ylabel="score, %")
    ax.set_xticks(list(alone), [f"{d:,}" for d in alone])
    ax.minorticks_off()
    ax.legend(loc="lower right")
    save(fig, file)


def curves(regimes: list[dict], file: Path) -> None:
    """A column a base. Above: reward of samples, and of greedy answers to prompts held out, over steps. Below: what
    changed since SFT. A method has one colour, a row of panels one range."""
    shown = [row for row in regimes[0]["rows"] if row["name"] != "SFT"]
    names = [row["name"] for row in sorted(shown, key=lambda row: ("curve" not in row, row["name"]))]
    colours = dict(zip(names, LINES))
    fig, axes = plt.subplots(2, len(regimes), figsize=(7 * len(regimes), 9.2), squeeze=False, sharey="row")
    for (above, below), r in zip(axes.T, regimes):
        rows = {row["name"]: row for row in r["rows"]}
        for name in (n for n in names if "curve" in rows[n]):
            for of, label, style in (("samples", "samples", "--"), ("held", "greedy", "o-")):
                steps, mean, half = map(np.array, zip(*rows[name]["curve"][of]))
                above.plot(steps, mean, style, color=colours[name], ms=4, label=f"{name}, {label}")
                if of == "held":
                    above.fill_between(steps, mean - half, mean + half, color=colours[name], alpha=0.15, lw=0)
        base = "first base" if r["base"] == "base" else r["base"]
        above.set(title=f"{r['demos']:,} demonstrations, {base}", ylabel="reward",
                  xlabel=f"optimizer steps ({r['samples'] // r['steps']} samples each)")
        above.legend(loc="lower right", ncols=2, fontsize=9)
        bars(below, {name: rows[name] for name in names}, colours)
        below.legend(ncols=2, fontsize=9)
    save(fig, file)


def bars(ax, rows: dict[str, dict], colours: dict) -> None:
    """Points minus SFT, side by side, with 95 % intervals."""
    width, names = 0.8 / len(rows), ("endpoint", "truth", "unknown", "fact", "ends", "diversity")
    for i, (name, row) in enumerate(rows.items()):
        parts = [row["gain"], *(row["changes"][f] for f in names[1:])]
        places = [x + (i - (len(rows) - 1) / 2) * width for x in range(len(parts))]
        ax.bar(places, [100 * f[0] for f in parts], width, yerr=[100 * f[1] for f in parts], capsize=2,
               color=colours[name], label=name)
    ax.axhline(0, color="black", lw=1)
    ax.set_xticks(range(len(names)), names)
    ax.set_ylabel("points minus SFT")
