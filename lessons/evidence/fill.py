"""Figures of a text, from the kept scores. The texts are in texts/, the pages in docs/results/.

    filled("{size& C1 better: released - SFT} points behind", found)   # "4.3 and 4.3 points behind"

A field is a form and a key. The key is that of a question (judge.key), or of another difference of
the same runs, which nobody asked beforehand: it has no verdict and is called unplanned. "A & B" is
the mean of two keys, a difference and its repeat with other seeds and prompts: unplanned, too.
"C3 better, tasks alike: ..." weighs all tasks the same, where C3 has groups of tasks.
    pair    -4.3, -4.3                  of N1 and of N2, or of SmolLM2 alone
    wide    -4.3 ± 1.6, -4.3 ± 1.7
    size    4.3, 4.3                    without their sign, which must be the same
    broad   4.3 ± 1.6, 4.3 ± 1.7
    left    -3.8, -2.4                  without the largest task
    rest    -3.8 ± 1.6, -2.4 ± 1.7      the same with its interval, which is not corrected
    sign    ✓, ✗ or ?
    cells   cells of a table: N1, N2, SmolLM2, verdict, run; "cells left" also without the largest
            task. Two keys, with ";" between them: our models, then SmolLM2
    small   cells of a table: N1, N2, verdict, without the largest task, run
    score   78.7, 81.0                  "score C1 SFT": what a row scores
    stops   95.1, 95.4                  how many per cent of its answers stop
    task    58.2, 61.6                  "task C13 sft in unknown": its score in one task, or in the
            six skills of C13 ("in six skills")
    kl      3.1, 2.9                    "kl C17 FEW chord": its KL from the base, nats of an answer
    range   76 to 80                    "range IMITATE": scores of a group of losses, mean of N1, N2
            from C13, or "range C20 CONTRAST"; so does "group"
    count   8                           "count IMITATE": how many losses it has
    group   73.9 to 79.4 | 77.5 to ...  cells: all nine tasks on N1, N2, then six skills
    note    a figure of notes.py, by its name
"-" before a form turns signs round; "&" behind it joins two figures with "and".
"""
import re

import numpy as np

from lessons.evidence import judge, stats, which_loss
from lessons.evidence.claim import NO_FACTS, UNIT
from lessons.evidence.claims import CLAIMS, load_packed
from lessons.evidence.notes import NOTES
from lessons.evidence.verdicts import Asked, Line, largest, moments, weights

MARKS = {"holds": "✓", "does not hold": "✗", "undecided": "?"}
DASH = "–"
FORMS = ("pair wide size broad left rest sign cells small score stops task kl range count group "
         "note").split()
FIELD = re.compile(rf"\{{(-?)({'|'.join(FORMS)})(&?) ([^}}]+)\}}")
Figure = tuple[float, float]                        # mean, half of its 95 % interval; of 100


def fill(text: str, found: dict[str, Line]) -> str:
    """The text with its figures. `found` has all questions by key. No line ends before a "%", or
    between a name and its mark."""
    text = FIELD.sub(lambda field: form(found, *field.groups()), text)
    return re.sub(r" (?=%)|(?<=\w) (?=[?✓✗])", "\u00a0", text)


def form(found: dict[str, Line], minus: str, name: str, join: str, key: str) -> str:
    """What stands in the place of one field."""
    way, between = -1 if minus else 1, " and " if join else ", "
    match name:
        case "cells" | "small":
            left = key.startswith("left ")
            keys = key.removeprefix("left ").split("; ")
            return cells(found, keys, way, left or name == "small", models=2 if name == "small"
                         else 3)
        case "score" | "stops" | "task":
            return between.join(f"{x:.1f}" for x in of_row(name, key))
        case "kl":
            return between.join(f"{x:.2f}" for x in kl_of(key))
        case "sign":
            return MARKS[found[key].verdict]
        case "left":
            return between.join(with_sign(100 * way * x.without) for x in found[key].findings)
        case "note":
            return NOTES[key]()
        case "range":
            both = [np.mean(figures[:2]) for figures in scores_of(key)]
            return " to ".join(dict.fromkeys((f"{min(both):.0f}", f"{max(both):.0f}")))
        case "count":
            return str(len(members(key)))
        case "group":
            columns = zip(*scores_of(key))
            return " | ".join(" to ".join(dict.fromkeys((f"{min(x):.1f}", f"{max(x):.1f}")))
                              for x in columns)
    figures = without_largest(key) if name == "rest" else differences(key, found)
    figures = [(way * mean, half) for mean, half in figures]
    if name in ("size", "broad"):
        assert len({mean > 0 for mean, _ in figures}) == 1, f"{key}: two signs"
        figures = [(abs(mean), half) for mean, half in figures]
        return between.join(f"{mean:.1f}" + (f"\u00a0±\u00a0{half:.1f}" if name == "broad" else "")
                            for mean, half in figures)
    return between.join(with_sign(x[0]) if name == "pair" else interval(x) for x in figures)


def with_sign(x: float) -> str:
    return f"{x:+.1f}".replace("-0.0", "+0.0").replace("-", "−")


def interval(figure: Figure) -> str:
    """In a cell it stays on one line."""
    return f"{with_sign(figure[0])}\u00a0±\u00a0{figure[1]:.1f}"


# ---- questions -----------------------------------------------------------------------------------
def differences(key: str, found: dict[str, Line]) -> list[Figure]:
    """On each start model, of a question, or of another difference of the same runs."""
    if key in found:
        return [(100 * finding.mean, 100 * finding.half) for finding in found[key].findings]
    of_keys = [map(moments, asked_on_each(part)) for part in key.split(" & ")]
    return [of_100(mean_of(runs)) for runs in zip(*of_keys)]


def without_largest(key: str) -> list[Figure]:
    """The difference without its largest task, on each start model."""
    return [of_100(moments(asked, weights(asked.parts, largest(asked))))
            for asked in asked_on_each(key)]


def asked_on_each(key: str) -> list[Asked]:
    name, formula = key.split(" ", 1)
    claim, kept = CLAIMS[name], load_packed(name)
    return [judge.asked_of(claim, kept, formula, base) for base in range(len(claim.bases))]


def mean_of(runs: tuple[stats.Moments, ...]) -> stats.Moments:
    """The mean of runs that share neither seeds nor prompts; freedom as Welch has it."""
    means, variances, freedoms = zip(*runs)
    variance = sum(variances)
    freedom = variance ** 2 / max(1e-30, sum(v ** 2 / n for v, n in zip(variances, freedoms)))
    return sum(means) / len(runs), variance / len(runs) ** 2, freedom


def of_100(difference: stats.Moments) -> Figure:
    mean, variance, freedom = difference
    return 100 * mean, 100 * stats.half_width(variance, freedom)


def cells(found: dict[str, Line], keys: list[str], way: int, left: bool, models: int) -> str:
    """Cells of a row of a table; a dash where nothing was asked."""
    out, verdicts, without, runs = [DASH] * models, [], [], []
    for key in keys:
        figures = [interval((way * mean, half)) for mean, half in differences(key, found)]
        line, at = found.get(key), 2 if key.startswith("R") else 0
        out[at:at + len(figures)] = figures
        verdicts.append(MARKS[line.verdict] if line else "unplanned")
        runs += [part.partition(" ")[0] for part in key.split(" & ")]
        if line and any(x.largest for x in line.findings):
            without.append(", ".join(bold(with_sign(100 * way * x.without),
                                          x.rests and line.verdict != "undecided")
                                     for x in line.findings))
        elif len(keys) > 1:
            without.append(DASH)
    out += ["; ".join(verdicts)]
    out += ["; ".join(without)] if left else []
    return " | ".join([*out, ", ".join(dict.fromkeys(runs))])


def bold(text: str, yes: bool) -> str:
    return f"**{text}**" if yes else text


# ---- rows ----------------------------------------------------------------------------------------
def of_row(what: str, key: str) -> list[float]:
    """ "C13 sft in unknown" or "C13 sft in six skills": on each start model, of 100."""
    name, row = key.split(" ", 1)
    row, _, family = row.partition(" in ")
    claim, kept = CLAIMS[name], load_packed(name)
    bases = range(len(claim.bases))
    if what == "score":
        return [100 * judge.score_of(claim, kept, row, base)[0] for base in bases]
    names = NO_FACTS if family == "six skills" else (family,)
    x = kept["ended" if "ended" in kept else "stops"] if what == "stops" else \
        kept["scores"][..., [claim.families.index(name) for name in names], :] / UNIT
    return [100 * x[judge.place(kept, claim, row, base), base].mean() for base in bases]


def kl_of(key: str) -> list[float]:
    """ "C17 FEW chord": how far a row has moved, on each start model, over its tasks."""
    name, row = key.split(" ", 1)
    claim, kept = CLAIMS[name], load_packed(name)
    return [float(kept["kl"][judge.place(kept, claim, row, base), base].mean())
            for base in range(len(claim.bases))]


def members(group: str) -> tuple[str, ...]:
    """Losses of a group of which_loss.py, or one loss by its name."""
    if group == "IMITATE":
        return which_loss.IMITATE + which_loss.LATER
    return getattr(which_loss, group, (group,))


def scores_of(key: str) -> list[list[float]]:
    """Of each loss of a group from a base: all nine tasks on N1 and N2, then the six skills."""
    name, _, group = key.rpartition(" ")
    claim, kept = CLAIMS[name or "C13"], load_packed(name or "C13")
    skills = [claim.families.index(family) for family in NO_FACTS]
    out = []
    for loss in members(group):
        each = [kept["scores"][judge.place(kept, claim, loss, base), base].mean((0, 2)) / UNIT
                for base in range(2)]
        out.append([100 * x.mean() for x in each] + [100 * x[skills].mean() for x in each])
    return out

