"""The map's pictures: winners over demonstrations and samples (heat), rewards over steps (curves)."""
from pathlib import Path

from nanouft.look.plots import LINES, UP, plt, save

SHORT = {"SFT on the right ones": "SFT on right ones"}


def heat(regimes: list[dict], file: Path) -> None:
    """One square a regime: its winner, the gain over SFT, and which rows are equal or not told from it."""
    demos, samples = sorted({r["demos"] for r in regimes}), sorted({r["samples"] for r in regimes})
    fig, ax = plt.subplots(figsize=(4.3 * len(samples) + 1, 1.75 * len(demos) + 1))
    for r in regimes:
        x, y = samples.index(r["samples"]), demos.index(r["demos"])
        best, sft = r["rows"][0], next(row for row in r["rows"] if row["name"] == "SFT")
        gain, half = best["gain"][0], best["widened"]
        better = gain > half and best is not sft
        strength = min(1, gain / 0.10) if better else 0
        ax.add_patch(plt.Rectangle((x, y), 1, 1, facecolor=UP, alpha=0.08 + 0.5 * strength, edgecolor="white", lw=3))
        title = best["name"] if better or best is sft else f"{best['name']}: not told from SFT"
        level = f"SFT's {100 * sft['endpoint'][0]:.0f}"
        ax.text(x + 0.5, y + 0.22, SHORT.get(title, title), ha="center", va="center", fontsize=14, weight="bold")
        ax.text(x + 0.5, y + 0.44, level if best is sft else f"{100 * gain:+.1f} ± {100 * half:.1f} over {level}",
                ha="center", va="center", fontsize=11)
        near = [SHORT.get(row["name"], row["name"]) for row in r["rows"][1:]
                if row["to_best"]["verdict"] in ("equal", "undecided")]
        ax.text(x + 0.5, y + 0.72, near_line(near) if near or better else "", ha="center", va="center", fontsize=10)
    ax.set(xlim=(0, len(samples)), ylim=(len(demos), 0),
           xlabel="scored answers of the SFT model (4 a prompt)", ylabel="demonstrations")
    ax.set_xticks([i + 0.5 for i in range(len(samples))], [f"{s:,}" for s in samples])
    ax.set_yticks([i + 0.5 for i in range(len(demos))], [f"{d:,}" for d in demos])
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    save(fig, file)


def near_line(names: list[str]) -> str:
    if not names:
        return "alone"
    lines = ["not told from it:"]
    for name in names:
        if len(lines[-1]) + len(name) > 34:
            lines.append("")
        lines[-1] += f" {name}" if name == names[-1] else f" {name},"
    return "\n".join(line.strip() for line in lines)


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
