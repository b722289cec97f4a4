"""The picture of a comparison: above the scores, a dot for each seed; below the differences."""
import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nanouft.compare.verdicts import MEASURES, Question, Result
from nanouft.pictures.colours import DOWN, INK, PANEL, SOFT, UP, style_of
from nanouft.pictures.plots import STYLE, as_svg

WIDTH, ROW = 4.4, 0.36          # inches; a page of 400 pixels shows the letters at full size
LONGEST = 22                    # letters of a name
COLOURS = {"better": UP, "worse": DOWN}


def picture(results: list[Result], questions: list[Question]) -> str:
    """SVG for light and dark pages."""
    styles = [style_of(method_of(x)) for x in results]
    measure = MEASURES[results[0].measure]
    scale, way = measure.scale, measure.sign * measure.scale
    with matplotlib.rc_context({**STYLE, "font.size": 11}):
        fig = Figure(figsize=(WIDTH, 2.4 + ROW * (len(results) + 1.5 * len(questions))),
                     layout="constrained")
        above, below = fig.subplots(2, 1, height_ratios=(len(results) + 0.5,
                                                         1.5 * len(questions) + 0.5))
        legend = {"marker": "o", "linestyle": "", "color": SOFT.light}
        above.plot([], [], **legend, markersize=4, alpha=0.45, label="a seed")
        above.errorbar([], [], xerr=[], **legend, markersize=7, label="mean, 95 % CI")
        for y, (x, style) in enumerate(zip(results, styles)):
            seed_scores = scale * x.seed_scores()
            above.plot(seed_scores, [y + 0.3] * len(seed_scores), "o", color=style.light,
                       alpha=0.45, markersize=4, markeredgewidth=0)
            above.errorbar(scale * x.mean, y, xerr=scale * x.half_width, fmt=style.marker,
                           color=style.light, markersize=7,
                           markerfacecolor=PANEL.light if style.hollow else style.light)
        for y, q in enumerate(questions):
            mean, half = q.interval()
            colour = COLOURS.get(q.verdict, SOFT).light
            below.errorbar(way * mean, y, xerr=scale * half, fmt="o", color=colour, markersize=6)
            below.annotate(q.verdict, (way * mean, y), (0, 7), ha="center", color=colour,
                           textcoords="offset points", fontsize=10)
        below.axvline(0, color=SOFT.light, linewidth=1, alpha=0.45)
        n = questions[0].n_comparisons
        corrected = f" (Bonferroni, {n})" if n > 1 else ""
        name_rows(above, [short(x.name) for x in results], results[-1].sample_text, measure.title)
        name_rows(below, [f"{short(q.a.name)}\n− {short(q.b.name)}" for q in questions],
                  "difference, 95 % CI", (measure.unit or measure.title) + corrected)
        fig.legend(loc="outside upper left", ncols=2, frameon=False, labelcolor=INK.light,
                   handletextpad=0.4, columnspacing=1.2)
        themes = dict.fromkeys((x.light, x.dark) for x in [*styles, UP, DOWN, PANEL, SOFT, INK])
        return as_svg(fig, "Scores and differences",
                      [[x.name, scale * x.mean] for x in results],
                      {f"c{i}": pair for i, pair in enumerate(themes)})


def method_of(x: Result) -> str:
    """The method that the colours know it by: the last stage."""
    return x.arm.stages[-1][0] if x.arm else "base"


def short(name: str) -> str:
    return name if len(name) <= LONGEST else f"{name[:LONGEST - 1]}…"


def name_rows(ax: Axes, names: list[str], title: str, unit: str) -> None:
    ax.set(yticks=range(len(names)), ylim=(len(names) - 0.4, -0.8))
    ax.set_yticklabels(names, color=INK.light)
    ax.set_title(title, loc="left", fontsize=11, color=INK.light)
    ax.set_xlabel(unit, color=INK.light)
    ax.locator_params(axis="x", nbins=5)
    ax.tick_params(colors=SOFT.light, labelcolor=INK.light)
    for side in ("left", "bottom"):
        ax.spines[side].set_color(SOFT.light)
