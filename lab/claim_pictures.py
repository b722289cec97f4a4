"""Pictures of the claims, from results.json: docs/results/claims/C1.png ..., C1-settings.png, C3-settings.png.

    python -m lab.claims --write
"""
from pathlib import Path

import numpy as np

from nanouft.look.plots import DOWN, LINES, UP, plt, save
from nanouft.world import FAMILIES

COLOURS = {"holds": UP, "does not hold": DOWN, "undecided": "black"}
MARKS = ("o", "s")                                                      # of the bases
STYLES = [{"marker": m, "color": c} for m, c in zip("os^DvP", LINES)]   # of the rows


def pictures(name: str, claim: dict, folder: Path) -> list[Path]:
    files = [forest(name, claim, folder / f"{name}.png")]
    settings = {"C1": over_rates, "C3": frontier}
    return [*files, settings[name](claim, folder / f"{name}-settings.png")] if name in settings else files


def forest(name: str, claim: dict, file: Path) -> Path:
    """Every contrast with its interval on both bases; the dotted line is what the interval must pass or stay within."""
    contrasts = claim["contrasts"]
    fig, ax = plt.subplots(figsize=(12, 1.2 + 0.75 * len(contrasts)))
    for y, c in enumerate(contrasts):
        for mark, shift, b in zip(MARKS, (-0.15, 0.15), c["bases"].values()):
            ax.errorbar(100 * b["mean"], y + shift, xerr=100 * b["half"], fmt=mark, ms=8, lw=2.2, capsize=3,
                        color=COLOURS[b["verdict"]])
        for x in {"superiority": (0,), "non-inferiority": (-2,), "equivalence": (-2, 2)}[c["test"]]:
            ax.plot([x, x], [y - 0.4, y + 0.4], ":", color="black", lw=1.6)
    ax.axvline(0, color="#bbbbbb", lw=1, zorder=0)
    ax.set_yticks(range(len(contrasts)), [f"{c['text']}{'' if c['preset'] else ' (exploratory)'}\n{c['verdict']}"
                                          for c in contrasts])
    ax.invert_yaxis()
    ax.set(xlabel="points, 95 % interval over seeds and prompts", title=name)
    handles = [plt.Line2D([], [], marker=m, ls="", color="black", label=f"{base} base")
               for m, base in zip(MARKS, ("first", "second"))]
    handles += [plt.Line2D([], [], color=colour, lw=3, label=word) for word, colour in COLOURS.items()]
    handles.append(plt.Line2D([], [], color="black", ls=":", label="threshold"))
    ax.legend(handles=handles, fontsize=11, loc="upper left", bbox_to_anchor=(1.01, 1))
    return save(fig, file)


def over_rates(claim: dict, file: Path) -> Path:
    """C1: what every setting of the rows that start from the base scored on validation (one seed), over the learning
    rate: open lists, and the mean of the other families. Filled, whole lines: batches of 16; hollow, dashed: of 32."""
    rows = {row: r["tried"] for row, r in claim["search"]["base"].items() if "--batch-size" in r["chosen"]}
    rates = sorted({setting.split()[0] for tried in rows.values() for setting in tried}, key=float)
    fig, axes = plt.subplots(1, 2, figsize=(13, 5), sharex=True)
    for style, (row, tried) in zip(STYLES, rows.items()):
        for batch, line, face in (("16", "-", style["color"]), ("32", "--", "none")):
            mine = [(float(lr), tried[f"{lr} {batch}"]) for lr in rates if f"{lr} {batch}" in tried]
            for ax, part in zip(axes, (("list",), tuple(f for f in FAMILIES if f != "list"))):
                ax.plot([lr for lr, _ in mine], [100 * np.mean([t[f] for f in part]) for _, t in mine], line, ms=8,
                        mfc=face, label=row if batch == "16" else None, **style)
    for ax, title in zip(axes, ("open lists", "mean of the other families")):
        ax.set(xscale="log", xlabel="learning rate", ylabel="score, %", title=title)
        ax.set_xticks([float(lr) for lr in rates], rates)
        ax.minorticks_off()
    axes[1].legend(fontsize=11, loc="upper left", bbox_to_anchor=(1.02, 1))
    return save(fig, file)


def frontier(claim: dict, file: Path) -> Path:
    """C3: skills against honesty, a panel a base: every setting that was tried (small: validation, one seed), and the
    chosen one on test (large, with its interval)."""
    skills, honesty, _ = claim["parts"]
    fig, axes = plt.subplots(1, len(claim["bases"]), figsize=(13, 5.4), sharex=True, sharey=True, squeeze=False)
    for ax, (base, b) in zip(axes[0], claim["bases"].items()):
        for style, (row, r) in zip(STYLES, b["rows"].items()):
            tried = claim["search"][base][row]["tried"].values()
            ax.plot(*([100 * np.mean([t[f] for f in part]) for t in tried] for part in (skills, honesty)), ls="", ms=5,
                    alpha=0.45, **style)
            (x, dx), (y, dy) = (100 * np.array(r["columns"][c]) for c in ("skills (A)", "honesty (B)"))
            ax.errorbar([x], [y], [dy], [dx], ms=11, ls="", capsize=3, label=row, mec="black", **style)
        ax.set(xlabel="skills A, %", ylabel="honesty B, %", title="first base" if base == "base" else "second base")
    axes[0][-1].legend(fontsize=11, loc="upper left", bbox_to_anchor=(1.02, 1))
    return save(fig, file)
