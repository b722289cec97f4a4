"""The map's pictures: winners over demonstrations and samples (heat), rewards over steps (curves)."""
import textwrap
from pathlib import Path

import numpy as np

from lab.map_text import sft_of, winner
from lab.words import format_gain
from nanouft.look.plots import LINES, UP, plt, save


def heat(regimes: list[dict], file: Path) -> None:
    """One square a regime: the choice (the cheapest row of the top group), its gain, and the rows not significantly
    worse."""
    demos, samples = sorted({r["demos"] for r in regimes}), sorted({r["samples"] for r in regimes})
    fig, ax = plt.subplots(figsize=(4.3 * len(samples) + 1, 1.75 * len(demos) + 1))
    for r in regimes:
        x, y, (best, near) = samples.index(r["samples"]), demos.index(r["demos"]), winner(r)
        level = f"SFT's {100 * sft_of(r)['endpoint'][0]:.0f}"
        strength = min(1, best["gain"][0] / 0.10)
        ax.add_patch(plt.Rectangle((x, y), 1, 1, facecolor=UP, alpha=0.08 + 0.5 * strength, edgecolor="white", lw=3))
        nothing = best["name"] == "SFT"
        title, line = ("no row is significantly better than SFT", level) if nothing else (
            best["name"], f"{format_gain(*best['gain'])} over {level}")
        others = wrapped("not significantly worse:", near) if near else "alone"
        for height, text, size in ((0.22, title, 12 if nothing else 14), (0.44, line, 11), (0.72, others, 10)):
            ax.text(x + 0.5, y + height, text, ha="center", va="center", fontsize=size,
                    weight="bold" if text is title else "normal")
    ax.set(xlim=(0, len(samples)), ylim=(len(demos), 0),
           xlabel="scored answers of the SFT model (4 a prompt)", ylabel="demonstrations")
    ax.set_xticks([i + 0.5 for i in range(len(samples))], [f"{s:,}" for s in samples])
    ax.set_yticks([i + 0.5 for i in range(len(demos))], [f"{d:,}" for d in demos])
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    save(fig, file)


def wrapped(title: str, names: list[str]) -> str:
    return "\n".join(textwrap.wrap(f"{title} {', '.join(names)}", 36))


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
        bars(below, {name: since_sft(rows[name]) for name in names}, colours)
        below.legend(ncols=2, fontsize=9)
    save(fig, file)


def since_sft(row: dict) -> dict[str, list]:
    """{what: [mean, half width, ...]} minus SFT."""
    return {"endpoint": row["gain"]} | {f: row["changes"][f] for f in ("truth", "unknown", "fact", "ends", "diversity")}


def bars(ax, rows: dict[str, dict], colours: dict) -> None:
    """Points minus SFT, side by side, with 95 % intervals."""
    width = 0.8 / len(rows)
    for i, (name, parts) in enumerate(rows.items()):
        places = [x + (i - (len(rows) - 1) / 2) * width for x in range(len(parts))]
        ax.bar(places, [100 * f[0] for f in parts.values()], width, yerr=[100 * f[1] for f in parts.values()],
               capsize=2, color=colours[name], label=name)
    ax.axhline(0, color="black", lw=1)
    ax.set_xticks(range(len(parts)), list(parts))
    ax.set_ylabel("points minus SFT")
