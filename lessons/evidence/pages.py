"""docs/results and README's results: `python -m lessons.evidence --write`.

A page of docs/results is a text of texts/ with its marks filled in, so that no figure of a
difference is typed by hand. A mark is a form and a key, "{size& C1 better: released - SFT}". The
key is that of a question, or of another difference of the same runs, which nobody asked beforehand:
it has no verdict and is called unplanned. "A & B" is the mean of two keys, a difference and its
repeat with other seeds and prompts: unplanned, too.
    pair    -4.3, -4.3                  of N1 and of N2, or of SmolLM2 alone
    wide    -4.3 ± 1.6, -4.3 ± 1.7
    fine    -0.014 ± 0.006, the same with three digits
    size    4.3, 4.3                    without their sign, which must be the same
    broad   4.3 ± 1.6, 4.3 ± 1.7
    left    -3.8, -2.4                  without the largest task
    rest    -3.8 ± 1.6, -2.4 ± 1.7      the same with its interval, which is not corrected
    sign    ✓, ✗ or ?
    cells   cells of a table: N1, N2, SmolLM2, verdict, run; "cells left" also without the largest
            task. Two keys, with ";" between them: our models, then SmolLM2
    small   cells of a table: N1, N2, verdict, without the largest task, run
    score   78.7, 81.0                  "score C1 SFT": what a training scores
    stops   95.1, 95.4                  how many per cent of its answers stop
    task    58.2, 61.6                  "task C13 sft in unknown": its score in one task, or "in six
                                        skills"
"-" before a form turns signs round; "&" behind it joins two figures with "and". "{fragile}" is a
list of the verdicts of the page that hang on one seed. "{together}" is what stays of C1 to C6 if
all their questions share one correction.

A figure that no form can take from the scores is typed with its runs, and with the version of
nanouft whose scores of these runs it was taken from: "{C13 3.0.0: 12 of 12}". The page has the
figure alone. Scores that are kept anew make it an error, until it is taken from them again.
"""
import re
from functools import cache
from pathlib import Path

from lessons.evidence import judge, plan
from lessons.evidence.judge import Figure, Line, in_points, mean_of
from lessons.evidence.page_marks import write_between
from lessons.evidence.plan import NO_FACTS, UNIT
from nanouft.compare.by_task import dominant_task, mean_and_variance, weights
from nanouft.plumbing.errors import UserError, one_of
from nanouft.plumbing.printing import say

ROOT = Path(__file__).parents[2]
TEXTS, RESULTS = plan.HERE / "texts", ROOT / "docs" / "results"
README = ROOT / "README.md"
FRONT = "front"                         # the text of README's results
WRITTEN = "<!-- `python -m lessons.evidence --write` writes this of lessons/evidence/texts/{} -->\n"
MARKS = {"holds": "✓", "does not hold": "✗", "undecided": "?"}
FORMS = "pair wide fine size broad left rest sign cells small score stops task"
FIELD = re.compile(rf"\{{(-?)({FORMS.replace(' ', '|')})(&?) ([^}}]+)\}}")
TYPED = re.compile(r"\{((?:[CR]\w+ )+)([\d.]+): ([^}]+)\}")


@cache
def all_lines() -> dict[str, Line]:
    """{its key: its line}, of all questions, and of Frozen Lake's as the page has them."""
    found = [line for name in judge.RUNS for line in judge.verdict_lines(name)]
    return {line.key: line for line in found + judge.frozen("lake", "C5")}


# ---- marks ---------------------------------------------------------------------------------------
def fill(text: str) -> str:
    """No line ends before a "%", or between a name and its mark."""
    text = text.replace("{fragile}", fragile(text)) if "{fragile}" in text else text
    text = text.replace("{together}", judge.as_one_family()) if "{together}" in text else text
    text = TYPED.sub(lambda field: frozen_figure(*field.groups()), text)
    text = FIELD.sub(lambda field: fill_mark(*field.groups()), text)
    if left := re.search(r'\{[^"].{,60}', text):                    # {"prompt": ...} is data
        raise UserError(f"no mark, because no form reads it: {left[0]}")
    return re.sub(r" (?=%)|(?<=\w) (?=[?✓✗])", "\u00a0", text)


def verdicts_of(text: str) -> list[str]:
    """The keys of all questions whose verdict or figures a text shows."""
    return [key for _, _, _, keys in FIELD.findall(text)
            for key in keys.removeprefix("left ").split("; ") if key in all_lines()]


def fragile(text: str) -> str:
    """The verdicts of a text that hang on one seed, as a list; those of C5 and C7 have none."""
    shown = verdicts_of(text)
    runs = dict.fromkeys(key.split()[0] for key in shown)
    return "".join(f"\n  - {MARKS[line.verdict]} {line.question} ({line.claim}: {seeds})"
                   for run in runs if run in plan.NAMES
                   for line, seeds in judge.fragile(run) if line.key in shown)


def fill_mark(minus: str, name: str, join: str, key: str) -> str:
    """What stands in the place of one mark."""
    way, between, found = -1 if minus else 1, " and " if join else ", ", all_lines()
    if name in ("cells", "small"):
        keys = key.removeprefix("left ").split("; ")
        return cells(keys, way, key.startswith("left ") or name == "small",
                     models=2 if name == "small" else 3)
    if name in ("score", "stops", "task"):
        return between.join(f"{x:.1f}" for x in of_training(name, key))
    if name == "sign":
        return MARKS[found[key].verdict]
    if name == "left":
        return between.join(with_sign(100 * way * x.without) for x in found[key].findings)
    figures = [(way * mean, half) for mean, half in
               (without_largest(key) if name == "rest" else differences(key))]
    if name in ("size", "broad"):
        assert len({mean > 0 for mean, _ in figures}) == 1, f"{key}: two signs"
        return between.join(f"{abs(mean):.1f}" + f"\u00a0±\u00a0{half:.1f}" * (name == "broad")
                            for mean, half in figures)
    digits = 3 if name == "fine" else 1
    return between.join(with_sign(x[0]) if name == "pair" else interval(x, digits) for x in figures)


def frozen_figure(runs: str, version: str, figure: str) -> str:
    for name in runs.split():
        kept = (plan.scores(name)["version"] if one_of("run", name, judge.RUNS) in plan.NAMES
                else plan.FROZEN["version"])
        if version != kept:
            raise UserError(f"{figure!r}: measured by version {version}, but the scores of {name} "
                            f"are those of {kept}; measure it again, and update lessons/evidence/"
                            "texts")
    return figure


def with_sign(x: float, digits: int = 1) -> str:
    zero = f"0.{digits * '0'}"
    return f"{x:+.{digits}f}".replace(f"-{zero}", f"+{zero}").replace("-", "−")


def interval(figure: Figure, digits: int = 1) -> str:
    """In a cell it stays on one line."""
    return f"{with_sign(figure[0], digits)}\u00a0±\u00a0{figure[1]:.{digits}f}"


def differences(key: str) -> list[Figure]:
    """On each model, of a question, or of another difference of the same runs."""
    if key in all_lines():
        return [(100 * x.mean, 100 * x.half) for x in all_lines()[key].findings]
    parts = key.split(" & ")
    if len({(*plan.read(part.split()[0]).models,) for part in parts}) > 1:
        raise UserError(f"{key}: no mean, because these runs have different models")
    of_keys = [map(mean_and_variance, asked_on_each(part)) for part in parts]
    return [in_points(mean_of(runs)) for runs in zip(*of_keys, strict=True)]


def without_largest(key: str) -> list[Figure]:
    return [in_points(mean_and_variance(asked, weights(asked.parts, dominant_task(asked))))
            for asked in asked_on_each(key)]


def asked_on_each(key: str) -> list[judge.Difference]:
    run, formula = plan.read(key.split(" ", 1)[0]), key.split(" ", 1)[1]
    return [judge.asked_of(run, formula, model) for model in range(len(run.models))]


def cells(keys: list[str], way: int, left: bool, models: int) -> str:
    """Cells of a row of a table; a dash where nothing was asked."""
    out, verdicts, without, runs = ["–"] * models, [], [], []
    for key in keys:
        figures = [interval((way * mean, half)) for mean, half in differences(key)]
        real = key.startswith("R") and len(figures) == 1
        line, at = all_lines().get(key), 2 if real else 0
        out[at:at + len(figures)] = figures
        verdicts.append(MARKS[line.verdict] if line else "unplanned")
        runs += [part.partition(" ")[0] for part in key.split(" & ")]
        if line and any(x.largest for x in line.findings):
            bold = ["**" if x.rests and line.verdict != "undecided" else "" for x in line.findings]
            without.append(", ".join(mark + with_sign(100 * way * x.without) + mark
                                     for mark, x in zip(bold, line.findings)))
        elif len(keys) > 1:
            without.append("–")
    return " | ".join([*out, "; ".join(verdicts), *(["; ".join(without)] if left else []),
                       ", ".join(dict.fromkeys(runs))])


def of_training(what: str, key: str) -> list[float]:
    """ "C13 sft in unknown" or "C13 sft in six skills": on each model, of 100."""
    name, training = key.split(" ", 1)
    training, _, task = training.partition(" in " if what == "task" else "\n")
    run, kept = plan.read(name), plan.scores(name)
    models, at = range(len(run.models)), [*run.trainings].index(training)
    if what == "score":
        return [100 * judge.score_of(name, training, model)[0] for model in models]
    names = NO_FACTS if task == "six skills" else (task,)
    x = kept["ended" if "ended" in kept else "stops"] if what == "stops" else \
        kept["scores"][..., [run.tasks.index(name) for name in names], :] / UNIT
    return [100 * x[at, model].mean() for model in models]


# ---- pages ---------------------------------------------------------------------------------------
def pages() -> dict[Path, str]:
    """{file: its text} of all pages that are written, README's results apart."""
    return {RESULTS / text.name: WRITTEN.format(text.name) + fill(text.read_text("utf-8"))
            for text in sorted(TEXTS.glob("*.md")) if text.stem != FRONT}


def answers_of_pages() -> dict[str, tuple[str, list[str]]]:
    """{page: (its answer, which stands in bold below its title; the runs that it shows)}."""
    out = {}
    for file in sorted(TEXTS.glob("*.md")):
        if file.stem != FRONT:
            text = file.read_text("utf-8")
            runs = [key.partition(" ")[0] for key in verdicts_of(text)]
            out[file.stem] = fill(text.split("**")[1]), [*dict.fromkeys(runs)]
    return out


def readme_results() -> str:
    return fill((TEXTS / f"{FRONT}.md").read_text("utf-8"))


def write() -> None:
    from lessons.evidence import pictures  # it needs matplotlib
    for file, text in pages().items():
        file.write_text(text, encoding="utf-8")
    readme = README.read_text(encoding="utf-8")
    README.write_text(write_between(readme, "results", readme_results()), encoding="utf-8")
    say(*pages(), README, *pictures.write_all(RESULTS), sep="\n")
