"""Figures of the runs of lab/ift_help.py, the rules that judge them, and the page that tells them.

    total(gap(mixed, plain))            # (mean, half width of its 95 % interval) over seeds and prompts
    judge_propagation({"gain": (0.05, 0.02), "advantage": (0.04, 0.02)})            # "holds"

A rule knows figures only. `above` and `below` ask for the whole interval, so much noise makes "undecided".
"""
from pathlib import Path

import numpy as np

from lab import contrast
from lab.cells import unpack_scores
from lab.contrast import quantile, two_way
from lab.words import format_interval, markdown_table, prediction_verdict, read_template
from nanouft.look import plots
from nanouft.look.stats import interval
from nanouft.shell.files import write_json, write_text

Figure = tuple[float, float]    # mean, half width of its 95 % interval
LIMITS = {"gain": 0.02, "advantage": 0.02, "loss at 64": 0.03, "beyond": 0.0, "cut": 0.3, "strict": 0.01,
          "lists that stop": 0.98, "largest change": 0.01, "nats from the start": 0.01, "fact": 0.01, "truth": 0.01}
LEARNT, TASK = 0.8, ("plain at", "token")       # figures that say whether a task is what the prediction is about
NATS = ("gap", "end", "nats from the start")


# ---- figures ---------------------------------------------------------------------------------------------------------
def each(runs: list[dict], what: str = "scores") -> np.ndarray:
    """(S,P) of every seed and prompt; of a run that diverged nothing is right."""
    found = [unpack_scores({"each": r}, what) if what in r else None for r in runs]
    n = max((len(x) for x in found if x is not None), default=1)
    return np.array([np.zeros(n) if x is None else x for x in found])


def facts(runs: list[dict], family: str) -> np.ndarray:
    """(S,P) of a family of NanoWorld."""
    return each([r.get("each", {}) for r in runs], family)


def gap(a: list[dict], b: list[dict], what: str = "scores") -> np.ndarray:
    return each(a, what) - each(b, what)


def total(*gaps: np.ndarray, groups: str = "") -> Figure:
    """The interval of a sum of gaps that share their seeds. groups: the family of NanoWorld that these are prompts of;
    questions about one fact are drawn together."""
    drawn = [contrast.prompt_groups("test", gaps[0].shape[1])[groups]] if groups else None
    mean, half = two_way(list(gaps), drawn)
    return len(gaps) * mean, len(gaps) * half


def cut(new: list[dict], old: list[dict], key: str) -> Figure:
    """By which share a figure falls: 1 - mean(new) / mean(old), with the jackknife over seeds."""
    pairs = np.array([(a[key], b[key]) for a, b in zip(new, old) if key in a and key in b])
    n = len(pairs)
    share = 1 - pairs[:, 0].mean() / pairs[:, 1].mean()
    others = (pairs.sum(0) - pairs) / (n - 1)                   # means without each seed
    left = 1 - others[:, 0] / others[:, 1]
    return float(share), float(quantile(n - 1) * np.sqrt((n - 1) / n * ((left - left.mean()) ** 2).sum()))


def over(runs: list[dict], key: str) -> Figure:
    """A figure over seeds. Of a run that diverged nothing is right, and no distance is known."""
    return interval([r.get(key, 0.0) for r in runs if key in r or key not in NATS])


# ---- rules -----------------------------------------------------------------------------------------------------------
def limit(name: str) -> float | None:
    """Of the figure `name`; None if nothing is asked of it alone."""
    return next((value for start, value in LIMITS.items() if name.startswith(start)), None)


def above(figures: dict[str, Figure], name: str) -> bool:
    mean, half = figures[name]
    return mean - half > limit(name)


def below(figures: dict[str, Figure], name: str) -> bool:
    mean, half = figures[name]
    return mean + half < limit(name)


def judge_propagation(f: dict) -> str:
    """The control rises as much: the advantage over it is below 2 points."""
    return prediction_verdict(below(f, "gain") or below(f, "advantage"), above(f, "gain") and above(f, "advantage"))


def judge_length(f: dict) -> str:
    """`beyond`: the loss at 8 tokens minus three times that at 64. Where nothing is lost at 8, nothing can shrink;
    where SFT has not learnt the task, nothing is said."""
    if min(f["plain at 8"][0], f["plain at 64"][0]) < LEARNT:
        return "undecided"
    lost = f["loss at 8"][0] > f["loss at 8"][1]
    return prediction_verdict(above(f, "loss at 64") or below(f, "beyond"),
                              lost and above(f, "beyond") and below(f, "loss at 64"))


def judge_exposure(f: dict) -> str:
    """Nothing is said where the share of numbers that SFT says right is not in the range of the prediction."""
    if not 0.9 <= f["token"][0] <= 0.97:
        return "undecided"
    return prediction_verdict(below(f, "strict") or below(f, "cut"), above(f, "strict") and above(f, "cut"))


def judge_still(f: dict) -> str:
    return prediction_verdict(any(above(f, name) for name in f), all(below(f, name) for name in f))


def judge_each(f: dict) -> str:
    return prediction_verdict(any(below(f, name) for name in f), all(above(f, name) for name in f))


# ---- the page --------------------------------------------------------------------------------------------------------
def write(results: dict[str, dict], folder: Path, page: Path) -> None:
    """results.json in `folder`, the page and its picture."""
    write_json(folder / "results.json", results)
    write_text(page, page_text(results))
    picture(results, page.with_suffix(".png"))


def page_text(results: dict[str, dict]) -> str:
    """The template, filled: {table} of all experiments; {n2[rows][64 released][ends]} is a figure of experiment 2."""
    told, lines = {}, []
    for name, r in results.items():
        told["n" + name.split(".")[0]] = {"judged": formatted(r["judged"]), "best": r.get("best"), "rows": {
            row: formatted(columns) for row, columns in r["rows"].items()}}
        judged = "; ".join(f"{what} {figure}" for what, figure in formatted(r["judged"]).items())
        lines.append([name, r["prediction"], r["falsified_if"], judged, f"**{r['verdict']}**"])
    table = markdown_table(["experiment", "predicted", "false if", "judged", "verdict"], lines)
    (template,) = read_template("ift_help.md")
    return template.format(table="\n".join(table), **told)


def formatted(figures: dict) -> dict[str, str]:
    return {name: format_figure(name, value) for name, value in figures.items()}


def format_figure(name: str, value) -> str:
    """Shares in percent, nats as they are, a learning rate and a number of examples as they are written."""
    if isinstance(value, (str, int)):
        return f"{value}"
    return format_interval(*value, 1, 4) if name in NATS else format_interval(*value)


def picture(results: dict[str, dict], file: Path) -> Path:
    """A panel an experiment: every judged share with its interval, in percent, and the limit of the prediction."""
    fig, axes = plots.plt.subplots(4, 2, figsize=(15, 13))
    for ax in axes.flat[len(results):]:
        ax.set_axis_off()
    for ax, (name, r) in zip(axes.flat, results.items()):
        shares = {k: f for k, f in r["judged"].items() if k not in NATS and not k.startswith(TASK)}
        for y, (name_of, (mean, half)) in enumerate(shares.items()):
            ax.errorbar(100 * mean, -y, xerr=100 * half, fmt="o", color=plots.LINES[0], capsize=4, ms=8)
            if limit(name_of) is not None:
                ax.plot([100 * limit(name_of)] * 2, [-y - 0.3, -y + 0.3], color=plots.LINES[1], lw=3)
        ax.axvline(0, color=plots.GREY, lw=1)
        ax.set_yticks([-y for y in range(len(shares))], list(shares))
        ax.set(title=f"{name}: {r['verdict']}", ylim=(0.6 - len(shares), 0.6), xlabel="percent, 95 %")
    return plots.save(fig, file)
