"""The map's pictures: winners over demonstrations and samples (heat), rewards over steps (curves)."""
import textwrap
from pathlib import Path

from nanouft.lab.map_text import sft_of, winner
from nanouft.look.plots import LINES, UP, plt, save


def heat(regimes: list[dict], file: Path) -> None:
    """One square a regime: its choice (the cheapest row of the top group), the gain over SFT, and who is as good."""
    demos, samples = sorted({r["demos"] for r in regimes}), sorted({r["samples"] for r in regimes})
    fig, ax = plt.subplots(figsize=(4.3 * len(samples) + 1, 1.75 * len(demos) + 1))
    for r in regimes:
        x, y, (best, near) = samples.index(r["samples"]), demos.index(r["demos"]), winner(r)
        (gain, half), level = best["gain"], f"SFT's {100 * sft_of(r)['endpoint'][0]:.0f}"
        strength = min(1, gain / 0.10)
        ax.add_patch(plt.Rectangle((x, y), 1, 1, facecolor=UP, alpha=0.08 + 0.5 * strength, edgecolor="white", lw=3))
        nothing = best["name"] == "SFT"
        title, line = ("no row is surely better than SFT", level) if nothing else (
            best["name"], f"{100 * gain:+.1f} ± {100 * half:.1f} over {level}")
        others = wrapped("not surely worse:" if nothing else "as good:", near) if near else "alone"
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
    """Left on each base: reward of samples and of greedy answers to prompts held out, over steps. Right: what changed
    since SFT, family by family."""
    fig, axes = plt.subplots(2, len(regimes), figsize=(6.6 * len(regimes), 8.6), squeeze=False)
    for (top, bottom), r in zip(axes.T, regimes):
        rows = [row for row in r["rows"] if "curve" in row]
        for colour, row in zip(LINES, rows):
            top.plot(*zip(*row["curve"]["samples"]), color=colour, alpha=0.5, ls="--")
            top.plot(*zip(*row["curve"]["held"]), color=colour, label=row["name"], marker="o", ms=3)
        top.set(title=f"{r['demos']:,} demonstrations, {r['base']}",
                xlabel=f"optimizer steps ({r['samples'] // r['steps']} samples each)",
                ylabel="reward: greedy —, samples - -", ylim=(0.4, 1))
        top.legend(loc="lower right")
        parts = [("endpoint", lambda row: row["gain"]), *((f, lambda row, f=f: row["changes"][f]) for f in
                                                        ("truth", "unknown", "fact", "ends", "diversity"))]
        width = 0.8 / max(1, len(rows))
        for i, (colour, row) in enumerate(zip(LINES, rows)):
            places = [x + (i - (len(rows) - 1) / 2) * width for x in range(len(parts))]
            figures = [of(row) for _, of in parts]
            bottom.bar(places, [100 * f[0] for f in figures], width, yerr=[100 * f[1] for f in figures], capsize=2,
                       color=colour, label=row["name"])
        bottom.axhline(0, color="black", lw=1)
        bottom.set_xticks(range(len(parts)), [name for name, _ in parts])
        bottom.set_ylabel("points minus SFT")
    save(fig, file)
