"""One picture a claim, drawn from finished cells: docs/results/C2.png, C3.png, C4.png.

    python -m nanouft.lab.claims C3               # draws it again, in seconds, once the cells are finished

Each function takes {base: {row: cells}}, the claim and the file to write. Intervals are 95 % t-intervals over seeds.
"""
from pathlib import Path

import numpy as np

from nanouft.lab.cells import read_cells
from nanouft.look.plots import LINES, plt, save
from nanouft.look.stats import interval

STYLES = [{"marker": m, "color": c} for m, c in zip("os^DvPX*", [*LINES, "black", "#666666"])]      # of a row


def panels(every: dict) -> tuple:
    fig, axes = plt.subplots(1, len(every), figsize=(6.5 * len(every), 5.2), squeeze=False, sharex=True, sharey=True)
    return fig, axes[0]


def gap_over_length(every: dict, claim, file: Path) -> None:
    """C2: each row minus the baseline, family by family, over the length of the baseline's answers in tokens."""
    fig, axes = panels(every)
    for ax, (base, rows) in zip(axes, every.items()):
        families, start = claim.parts[0], [c for c in rows[claim.baseline] if "families" in c]
        length = {f: np.mean([c["families"][f]["length"] for c in start]) for f in families}
        order = sorted(families, key=length.get)
        for style, name in zip(STYLES, [n for n in rows if n.startswith("UFT")]):
            gaps = [interval([100 * (a["families"][f]["score"] - b["families"][f]["score"]) for a, b in
                              zip(rows[name], rows[claim.baseline]) if "families" in a and "families" in b])
                    for f in order]
            ax.errorbar(range(len(order)), [g[0] for g in gaps], [g[1] for g in gaps], label=name, capsize=3, **style)
        ax.axhline(0, color="black", lw=1)
        ax.set_xticks(range(len(order)), [f"{f}\n{length[f]:.1f}" for f in order])
        ax.set(xlabel="family, and tokens of its answers", ylabel=f"points minus {claim.baseline}",
               title=f"base `{base}`")
    axes[0].legend(fontsize=11)
    save(fig, file)


def frontier(every: dict, claim, file: Path) -> None:
    """C3: skills against honesty. Left, every setting that was tried (validation, means over seeds); then the chosen
    ones, a panel a base."""
    skills, honesty, _ = claim.parts
    def score(cells, families):
        return interval([100 * np.mean([c["families"][f]["score"] for f in families]) for c in cells
                         if "families" in c])
    fig, axes = panels({"every setting tried": None, **every})
    tried = tried_settings(claim, file.with_name(f"{file.stem}-tuning.jsonl"))
    for style, name in zip(STYLES, claim.rows):
        points = [(score(cells, skills)[0], score(cells, honesty)[0]) for cells in tried.get(name, [])]
        if points:
            axes[0].plot(*zip(*points), ls="", ms=8, alpha=0.7, **style)
        for ax, rows in zip(axes[1:], every.values()):
            (x, dx), (y, dy) = score(rows[name], skills), score(rows[name], honesty)
            ax.errorbar([x], [y], [dy], [dx], ms=10, ls="", capsize=3, label=name, **style)
    for ax, title in zip(axes, ["every setting tried (validation)", *(f"base `{b}`, chosen (test)" for b in every)]):
        ax.set(xlabel="skills A, %", ylabel="honesty B, %", title=title)
    axes[-1].legend(fontsize=11, loc="upper left", bbox_to_anchor=(1.02, 1))
    save(fig, file)


def tried_settings(claim, file: Path) -> dict[str, list[list[dict]]]:
    """The cells of tuning: {row: [the seeds of one setting, ...]}."""
    out: dict[str, dict[tuple, list]] = {}
    for c in read_cells(file).values():
        for name, recipe in claim.rows.items():
            chained = bool(recipe.after) == ("after" in c)
            if chained and c["flags"].startswith(" ".join(recipe.flags) + " --lr"):
                out.setdefault(name, {}).setdefault((c.get("after"), c["flags"]), []).append(c)
    return {name: list(settings.values()) for name, settings in out.items()}


def gain_over_noise(every: dict, claim, file: Path) -> None:
    """C4: every way of dealing with wrong demonstrations minus SFT on all of them, over their share."""
    fig, axes = panels(every)
    for ax, (base, rows) in zip(axes, every.items()):
        names = dict.fromkeys(n.rsplit(", ", 1)[0] for n in rows if n.endswith("%"))
        for style, name in zip(STYLES, [n for n in names if n != "SFT" and "DPO" not in n]):
            at = [x for x in (0, 20, 40) if f"{name}, {x} %" in rows]
            gaps = [interval([100 * (np.mean([a["families"][f]["score"] - b["families"][f]["score"]
                                              for f in claim.parts[0]]))
                              for a, b in zip(rows[f"{name}, {x} %"], rows[f"SFT, {x} %"])
                              if "families" in a and "families" in b]) for x in at]
            ax.errorbar(at, [g[0] for g in gaps], [g[1] for g in gaps], label=name, capsize=3, **style)
        ax.axhline(0, color="black", lw=1)
        ax.set(xlabel="wrong demonstrations, %", ylabel="points minus SFT", title=f"base `{base}`", xticks=(0, 20, 40))
    axes[0].legend(fontsize=11)
    save(fig, file)
