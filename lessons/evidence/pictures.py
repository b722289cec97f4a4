"""The pictures of docs/results, from the kept scores: one for each paper, and that of all losses.

    python -m lessons.evidence --write

● is N1, ■ N2, ◆ SmolLM2. A bar is a 95 % interval over seeds and prompts.
"""
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from lessons.evidence import judge, plan
from nanouft.compare import stats
from nanouft.pictures.colours import FAMILIES, INK, PANEL, SOFT, style_of
from nanouft.pictures.plots import STYLE, as_svg, save
from nanouft.plumbing.files import write_text

MARKS = {"base": "o", "base-1": "s", "smollm2": "D"}
FORMS = {"SFT": "sft", "detached": "ift detached", "released": "ift released"}      # of C9
UNA = {"UNA, scores": ("una", "C6 UNA", "R8 UNA"), "DPO, pairs": ("dpo", "C6 DPO", "R8 DPO"),
       "KTO, labels": ("kto", "C6 KTO"), "SimPO, pairs": ("simpo", "C6 SimPO"),
       "SFT, right answers": ("sft", "C6 RFT", "R8 RFT"),
       "initial model": ("base", "C6 start", "R8 start")}
POFT = {"SFT on all": ("sft", "C11 SFT"), "PoFT, weak helper (C4)": ("poft", "C4 PoFT, weak"),
        "PoFT, good helper": ("poft", "C11 PoFT"), "SFT on the top 80 %": ("sft", "C11 filter .8"),
        "SFT on the top 60 %": ("sft", "C11 filter .6"),
        "SFT on the top 40 %": ("sft", "C11 filter .4"),
        "the helper (one for both)": ("truth", "C11 aligned model")}
UFT = {"UFT": ("UFT", "uft", "D"), "A and good B": ("SFT on all good", "sft", "o"),
       "A -> DPO": ("SFT, then DPO", "pairs", "s"), "A -> KTO": ("SFT, then KTO", "poft", "^"),
       "A -> UNA": ("SFT, then UNA", "ift", "v")}             # rows of C3, a colour for each
ONE_STAGE = {"SFT": ("sft", "SFT"), "SFT on passed": ("poft", "passed"),
             "GRPO": ("sampled", "GRPO"), "SFT, then GRPO": ("pairs", "chain"),
             "SFT, then 60 steps of GRPO": ("pairs", "chain, all"), "CHORD": ("graded", "chord"),
             "HPT": ("graded", "hpt"), "LUFFY": ("graded", "luffy"), "SRFT": ("graded", "srft")}
LENGTHS = {"SFT": (24, 48, 96, 192, 384), "detached": (24, 48, 96),     # steps of C9
           "released": (24, 48, 96, 192, 384)}
LOSSES = {                  # of C13 and C20, put into groups by their formulas before the runs
    "imitate right answers": "sft ift poft dft neftune hft tofu sftmix",
    "pairs, imitation term": "orpo slic cpo asft tpo tpo_l",
    "pairs only": "dpo ipo hinge simpo apo nca sppo robust_dpo rpo gdpo ada_dpo tis_dpo",
    "scores, labels": "una kto uft"}
MEASURES = {"skills without reversed words": "rules list sum sort", "reversed words": "reverse",
            "myths": "truth", "\"I do not know\"": "unknown", "known facts": "fact"}


def write_all(folder: Path) -> list[Path]:
    """All pictures into this folder. Returns the names of the files."""
    with plt.rc_context(STYLE):
        figures = {
            "ift": stopping(),
            "una": scores(
                UNA, "UNA leads DPO and KTO on N1 and N2; on SmolLM2 only SFT clearly rises"),
            "poft": scores(POFT, "40 % wrong demonstrations: SFT on filtered ones beats PoFT"),
            "uft": tasks(),
            "one_stage": one_stage()}
        told = [save(figure, folder / f"{name}.png") for name, figure in figures.items()]
        plt.close("all")
    write_text(folder / "losses.svg", losses_svg())
    return [*told, folder / "losses.svg"]


def losses_svg() -> str:
    """Each loss from a base."""
    shown = [[loss, [[round(x, 1) for x in figure] for figure in figures]]
             for group in losses_by_group().values() for loss, figures in group]
    colours = {name: (seen.light, seen.dark) for name, seen in
               (FAMILIES | {"panel": PANEL, "soft": SOFT, "ink": INK}).items() if name != "truth"}
    return as_svg(all_losses(), "Does the loss matter, from a base?", shown, colours)


def score(key: str, families: tuple[str, ...] = ()) -> dict[str, tuple[float, float]]:
    """{model: (mean, half of the interval) of 100} of a row, "C6 UNA"; of some tasks alone."""
    name, row = key.split(" ", 1)
    run, out = plan.read(name), {}
    for base, model in enumerate(run.models):
        asked = judge.asked_of(run, f"better: {row}", base)
        shares = {family: 1 / len(families) for family in families} or None
        mean, variance, freedom = judge.mean_and_variance(asked, shares)
        out[model] = 100 * mean, 100 * stats.half_width(variance, freedom)
    return out


def dots(ax, y: float, key: str, style: str, places: Sequence[float]) -> list[str]:
    """The score of a row on each of its models, in these places above and below. Returns the
    models."""
    found = score(key)
    for model, (mean, half) in found.items():
        ax.errorbar(mean, y + places[[*MARKS].index(model)], xerr=half, fmt=MARKS[model],
                    color=style_of(style).light, markersize=6, linewidth=1.5)
    return [*found]


def name_rows(ax, names: Iterable[str], **more) -> None:
    names = [*names]
    ax.set(yticks=range(len(names)), yticklabels=names, ylim=(len(names) - 0.5, -0.5), **more)
    ax.grid(axis="x", alpha=0.3)
    ax.tick_params(axis="y", length=0)


def finish(fig, title: str, ax=None, models: Iterable[str] = ()):
    """The title, and below an axis a legend of models."""
    fig.suptitle(title, weight="bold", x=0.01, ha="left", fontsize=13)
    for model in models:
        ax.plot([], [], MARKS[model], color=SOFT.light, label=plan.MODELS[model])
    if ax:
        ax.legend(frameon=False, ncols=len(models), loc="upper left", bbox_to_anchor=(0, -0.15),
                  handletextpad=0.2, columnspacing=1.2)
    return fig


def scores(rows: Mapping[str, tuple[str, ...]], title: str):
    """A row of dots for each method: its score on each model."""
    fig, ax = plt.subplots(figsize=(9, 0.45 * len(rows) + 1.5), layout="constrained")
    seen: dict[str, None] = {}
    for y, (style, *keys) in enumerate(rows.values()):
        for key in keys:
            seen |= dict.fromkeys(dots(ax, y, key, style, (-0.22, 0, 0.22)))
    name_rows(ax, rows, xlabel="score of 100")
    return finish(fig, title, ax, [*seen])


def stopping():
    """% of answers that end with EOS, against the steps: both forms of IFT beside SFT (C9)."""
    claim, kept = plan.read("C9"), plan.scores("C9")
    fig, axes = plt.subplots(1, 2, figsize=(9, 3.2), sharey=True, layout="constrained")
    for base, (ax, model) in enumerate(zip(axes, claim.models)):
        for name, style in FORMS.items():
            ended = [100 * kept["ended"][[*claim.trainings].index(f"{name} {steps}"),
                                         base].mean((1, 2)) for steps in LENGTHS[name]]
            seen = style_of(style)
            ax.plot(LENGTHS[name], [x.mean() for x in ended], color=seen.light,
                    marker=seen.marker, linestyle="--" if seen.dashed else "-",
                    label={"SFT": "SFT"}.get(name, f"IFT, {name}"))
            for steps, of_seeds in zip(LENGTHS[name], ended):
                ax.plot([steps] * len(of_seeds), of_seeds, ".", color=seen.light, alpha=0.4)
        ax.set_xscale("log", base=2)
        every = sorted({steps for name in FORMS for steps in LENGTHS[name]})
        ax.set(xlabel="training steps", title=plan.MODELS[model], ylim=(0, 103), xticks=every)
        ax.set_xticklabels([str(steps) for steps in every])
        ax.minorticks_off()
    axes[0].set_ylabel("end with EOS, %")
    axes[1].legend(frameon=False, loc="lower right")
    return finish(fig, "Both forms of IFT learn to stop later than SFT")


def tasks():
    """UFT, SFT on all good answers and the three chains of C3, task by task. One stage is filled,
    two are hollow."""
    fig, axes = plt.subplots(1, 2, figsize=(9, 5), sharey=True, layout="constrained")
    for y, families in enumerate(MEASURES.values()):
        for place, (row, (name, style, mark)) in enumerate(UFT.items()):
            for ax, (model, (mean, half)) in zip(axes, score(f"C3 {row}",
                                                             tuple(families.split())).items()):
                colour = style_of(style).light
                ax.errorbar(mean, y + 0.16 * (place - 2), xerr=half, fmt=mark, color=colour,
                            markersize=6, label=None if y else name,
                            markerfacecolor=PANEL.light if "->" in row else colour)
                ax.set_title(plan.MODELS[model])
    for ax in axes:
        name_rows(ax, MEASURES, xlim=(-3, 103), xlabel="score of 100")
    handles, names = axes[0].get_legend_handles_labels()
    fig.legend(handles, names, ncols=5, columnspacing=1, handletextpad=0.3, frameon=False,
               loc="outside lower center")
    return finish(fig, "UFT trails in reversed words; SFT on all good answers does not")


def one_stage():
    """C17: each training's mean of six skills, with few demonstrations and with wrong ones."""
    claim = plan.read("C17")
    fig, axes = plt.subplots(1, 2, figsize=(9, 4.3), sharex=True, sharey=True,
                             layout="constrained")
    titles = {"FEW": "FEW: 64, all right", "WRONG": "WRONG: 1,020, 40 % wrong"}
    for ax, (condition, title) in zip(axes, titles.items()):
        for y, (style, name) in enumerate(ONE_STAGE.values()):
            if (row := f"{condition} {name}") in claim.trainings:
                dots(ax, y, f"C17 {row}", style, (-0.14, 0.14))
        name_rows(ax, ONE_STAGE, title=title, xlabel="mean of six skills, of 100")
    return finish(fig, "No joint loss leads two stages on both models; SFT on passed rows does",
                  axes[0], claim.models)


def of_both(name: str, row: str) -> judge.Figure:
    """The score of a row of a run, mean of N1 and N2, and half of its interval."""
    return judge.in_points(judge.mean_of(tuple(judge.score_of(name, row, base) for base in (0, 1))))


def losses_by_group() -> dict[str, list[tuple[str, list[judge.Figure]]]]:
    """{group: [(loss, its scores from a base: with its own weight searched, if it was, and with
    its default one)]}, the best first."""
    runs = ("C20", "C13")
    return {group: sorted(((loss, [of_both(run, loss) for run in runs
                                   if loss in plan.read(run).trainings])
                           for loss in losses.split()), key=lambda line: -line[1][0][0])
            for group, losses in LOSSES.items()}


def all_losses():
    """Each loss trained from a base, in groups; mean of N1 and N2. Filled: its own weight was
    searched, or it has none. Hollow: its default one."""
    fig = Figure(figsize=(4.9, 8.6))
    ax = fig.add_axes((0.22, 0.06, 0.75, 0.915))
    y, ticks = 0.0, {}
    for name, group in losses_by_group().items():
        ax.text(20, y, name, va="center", weight="bold", fontsize=10.5, color=INK.light)
        for loss, figures in group:
            y += 1
            seen = style_of(loss)
            for (mean, half), filled in zip(figures, (True, False)):
                ax.errorbar(mean, y, xerr=half, fmt=seen.marker, color=seen.light, markersize=5.5,
                            linewidth=1.5, zorder=2 + filled,
                            markerfacecolor=seen.light if filled else PANEL.light)
            ticks[y] = loss
        y += 1.6
    for row, name, style in (("base", "before", ":"), ("sft", "SFT", "--")):
        x, _ = of_both("C20" if row == "sft" else "C13", row)
        ax.axvline(x, color=SOFT.light, linestyle=style, linewidth=1, zorder=-1)
        ax.text(x, y - 0.9, f" {name} ", color=SOFT.light, fontsize=9.5,
                ha="right" if row == "sft" else "left")
    ax.set(ylim=(y - 0.5, -0.8), xlim=(19, 86), yticks=[*ticks])
    ax.set_xlabel("score of 100", color=SOFT.light, fontsize=9.5)
    ax.set_yticklabels([*ticks.values()], fontsize=10, color=INK.light)
    ax.tick_params(axis="y", length=0)
    ax.tick_params(axis="x", colors=SOFT.light, labelsize=9.5)
    for side in ("left", "right", "top"):
        ax.spines[side].set_visible(False)
    ax.spines["bottom"].set_color(SOFT.light)
    return fig
