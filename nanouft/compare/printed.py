"""The lines that a comparison prints: conditions, table, verdicts, notes."""
import shlex
import textwrap
from collections.abc import Iterable

import numpy as np

from nanouft.compare import runs, stats
from nanouft.compare.arms import Arm
from nanouft.compare.plan import TRIES, Comparison, short_rate
from nanouft.compare.power import unit, would_decide
from nanouft.compare.splits import DOES
from nanouft.compare.testset_reuse import Look
from nanouft.compare.verdicts import (
    MEASURES,
    Measure,
    Question,
    Result,
    may_be_the_rate,
    mean_of,
    missed,
)
from nanouft.data.holdout import leak, question_keys
from nanouft.data.rows import read
from nanouft.plumbing.printing import quantity
from nanouft.run.folder import questions_of_run


def wrapped(text: str, indent: str = "", first: str = "") -> list[str]:
    return textwrap.wrap(text, 80, initial_indent=first, subsequent_indent=indent,
                         break_long_words=False, break_on_hyphens=False)


def between(values: Iterable[int]) -> str:
    """"48", or "12 to 96"."""
    low, *_, high = [*sorted(values)] * 2
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def conditions(c: Comparison) -> list[str]:
    """What is the same for all, and what is not."""
    paces = [c.paces[stage] for arm in c.arms for stage in arm.stages if stage in c.paces]
    spec, tries = c.eval_spec("test"), c.cfg.tries
    if c.parts:
        counts = {part: len(file.read_text(encoding="utf-8").splitlines())
                  for part, file in c.parts.items()}
        what = f"Your rows ({', '.join(c.train.data or ())}): " + ", ".join(
            f"{counts[part]:,} to {does}" for part, does in DOES.items()
        ) + ". Each seed trains on a bootstrap sample of the training prompts"
    else:
        what = (f"NanoWorld: {quantity(spec.items * len(spec.tasks), 'test prompts')} from "
                f"{quantity(len(spec.tasks), 'tasks')} (seed {spec.seed})")
    tried = (f"{tries} values of each method, on validation prompts with one seed, and one more if "
             f"the best is at the edge; then its own and the two best with {len(TRIES)} seeds"
             if tries > 1 else "each method's own, not searched")
    copies = " (those of a second name 500 more)" if any(arm.copy for arm in c.arms) else ""
    return wrapped(
        f"{what}. Initial model: {c.train.init}, on {paces[0].device} in {paces[0].dtype}. Each "
        f"stage: {between(x.steps for x in paces)} steps at batch size "
        f"{between(x.batch_size for x in paces)}, on {between(x.rows for x in paces)} training "
        f"examples. Learning rate: {tried}. Evaluated: seeds {c.seeds[0]} to {c.seeds[-1]}{copies}."
    )


# ---- the table -----------------------------------------------------------------------------------
def scores(c: Comparison, results: list[Result]) -> list[str]:
    measure, others = MEASURES[results[0].measure], [*results[-1].others]
    columns = [(measure.title, 15), *((MEASURES[x].title, 12) for x in others),
               ("learning rate", 8), ("steps", 5), ("sequences", 9), ("CPU s", 6)]
    titles = [textwrap.wrap(title, width) for title, width in columns]
    lines = [["", *(x[0] if len(x) > 1 else "" for x in titles)], ["", *(x[-1] for x in titles)]]
    for x in results:
        cells = [f"{measure.text(x.mean)} ± {measure.text(x.half)}"]
        cells += [MEASURES[what].text(x.others[what]) if what in x.others else ""
                  for what in others]
        if x.arm:
            cells += [short_rate(c.rate(x.arm)), f"{x.cost['steps']:.0f}",
                      f"{x.cost['sequences']:,.0f}", f"{x.cost['seconds']:.1f}"]
        lines.append([x.name, *cells])
    return [*in_columns(lines, [width for _, width in columns]),
            *wrapped(" ".join(legends(c, results)))]


def in_columns(lines: list[list[str]], widths: list[int]) -> list[str]:
    """The first cell to the left, the others to the right."""
    first = max(len(line[0]) for line in lines)
    return ["  ".join([f"{name:{first}}", *(f"{cell:>{width}}" for cell, width in zip(
        cells, widths))]).rstrip() for name, *cells in lines]


def legends(c: Comparison, results: list[Result]) -> list[str]:
    """What the columns are."""
    first = runs.values(c.initial_job()) or {}
    told = [f"{results[-1].n}; ± is the 95 % confidence interval (CI) of this mean alone."]
    told += [MEASURES[what].legend for what in (results[0].measure, *results[-1].others)]
    lengths = [f"{role} {mean_of(first[f'prefers {role} tokens']):.1f} tokens"
               for role in ("chosen", "rejected") if f"prefers {role} tokens" in first]
    if lengths:
        told.append(f"Mean length: {', '.join(lengths)}.")
    if any(x.cost["sequences"] != x.cost["rows"] for x in results[1:]):
        told.append("Sequences: trained on; two of a pair, and all that are sampled.")
    return [*filter(None, told)]


def differences(c: Comparison, questions: list[Question]) -> list[str]:
    measure, of = MEASURES[questions[0].a.measure], questions[0].of
    over = "seeds, prompts and training rows" if c.parts else "seeds and prompts"
    shared = f", Bonferroni-corrected for {of} comparisons" if of > 1 else ""
    less = " Less is better." if measure.sign < 0 else ""
    out = wrapped(f"Paired differences: mean ± 95 % CI over {over}{shared}. "
                  f"{what_is_equivalent(measure, questions[0].margin)}{less}")
    heads = [f"{q.a.name} - {q.b.name}" for q in questions]
    for head, q in zip(heads, questions):
        verdict = f"{q.verdict}; {q.distance:.1f} half widths from 0" if q.verdict in (
            "better", "worse") else q.verdict
        out.append(f"  {head:{max(map(len, heads))}}  {signed(q):>14}  {verdict}")
        out += wrapped("; ".join(doubts(c, q)), " " * 4, " " * 4)
    return out


def what_is_equivalent(measure: Measure, margin: float) -> str:
    if not margin:              # a share of how far rewards of the initial model are spread
        return "No CI is called equivalent: the initial model has one reward; give --margin."
    return f"Equivalent: the CI is within ±{measure.text(margin)} {measure.unit}".rstrip() + "."


def signed(q: Question) -> str:
    """"-8.4 ± 6.9", first minus second as it was measured."""
    measure, (mean, half) = MEASURES[q.a.measure], q.interval()
    return f"{measure.text(measure.sign * mean, '+')} ± {measure.text(half)}"


def doubts(c: Comparison, q: Question) -> list[str]:
    """What to know of a verdict."""
    measure, (task, rest) = MEASURES[q.a.measure], q.driven_by()
    told = ["all scores are the same to the last digit"] if q.same else []
    if task:
        told.append(f"driven by task {task} (without it {measure.text(measure.sign * rest, '+')})")
    if arm := may_be_the_rate(c, q):
        told.append(f"the learning rate of {arm} may be the reason")
    if text := what_decides(c, q):
        told.append(text)
    return told


def what_decides(c: Comparison, q: Question) -> str:
    if q.verdict != "undecided" or abs(q.interval()[0]) < q.margin:
        return ""
    if (times := would_decide(q)) == np.inf:
        return ""
    spec = c.eval_spec("test")
    n = times * (spec.draws() if c.parts else spec.items * len(spec.tasks))
    how = f"{times:g} times the rows" if c.parts else f"--items {spec.items * times:.0f}"
    figure = signed(q).partition(" ")[0]
    return f"about {quantity(round(n), unit(c))} ({how}) would decide {figure}"


# ---- notes ---------------------------------------------------------------------------------------
def notes(c: Comparison, results: list[Result], earlier: list[Look]) -> list[str]:
    """Why a verdict may be unfair although its interval is right."""
    measure = MEASURES[results[0].measure]
    told = at_an_end(c, results)
    told += [text for arm in c.tried for text in about_rates(c, arm, measure)]
    told += unequal_work(results)
    told += [text for arm in c.every
             for text in runs.made(c.job(arm, c.seeds[0]).folder).get("told", ())]
    told += [x for x in [measure.trained] if x]
    told += [f"{arm.name} optimises the reward of this test" for arm in c.arms
             if any("reward" in c.configs[stage].given for stage in arm.stages)]
    if len(c.seeds) < 3:
        two, three, five = (stats.student(0.025, freedom) for freedom in (1, 2, 4))
        told.append(f"with two seeds a 95 % CI is ±{two:.1f} standard errors; with three "
                    f"{three:.1f}, with five {five:.1f}: give --seeds 3 or more")
    if c.parts:
        rows = c.eval_spec("test").rows()
        if text := leak({*question_keys(rows)}, questions_of_run(c.train.init)):
            told.append(f"{text}, by the run that made {c.train.init}")
        learned, _ = read([str(c.parts["train"])], ["demos", "pairs", "labels"])
        if text := leak({*question_keys(rows)}, question_keys(learned)):
            told.append(f"{text}, in rows of another group")
    return told + about_looks(c, earlier)


def at_an_end(c: Comparison, results: list[Result]) -> list[str]:
    """A line of the methods whose scores are all 0, and one of those whose scores are all 100."""
    measure, told = MEASURES[results[0].measure], []
    for end, name in ((0.0, "floor"), (1.0, "ceiling")):
        there = [x.name for x in results[1:]
                 if all((part == end).all() for part in x.scores.values())]
        if there and (measure.unit == "points" or end == 0):            # a reward may be 1 or more
            other = "; another metric (--by nll, --reward) may show more" if c.parts else ""
            told.append(f"{measure.title}: {measure.text(end)} at each prompt for "
                        f"{', '.join(there)}, a {name} that hides differences{other}")
    return told


def about_rates(c: Comparison, arm: Arm, measure: Measure) -> list[str]:
    """Is the learning rate at the edge of the search? Did another one score more?"""
    tried, best, told = [*c.tried[arm]], c.rate(arm), []
    if len(tried) > 2 and best in (min(tried), max(tried)):
        side = ("lowest", "lower") if best == min(tried) else ("highest", "higher")
        told.append(f"{arm.name}: the best learning rate, {short_rate(best)}, is the {side[0]} of "
                    f"{len(tried)} values searched; a {side[1]} one may be better (--tries 5, or "
                    "another --lr in its quotes)")
    if x := missed(c, arm):
        told.append(f"{arm.name}: its learning rates cannot be told apart; {short_rate(x.rate)} "
                    f"scored {measure.text(x.lead)} more than {short_rate(best)} with "
                    f"{len(TRIES)} seeds (standard error {measure.text(x.error)}), so the one "
                    "nearer to its own was taken")
    return told


def unequal_work(results: list[Result]) -> list[str]:
    """A line for each chain, and one that says in what the others differ."""
    told, trained = [], [(x, x.arm.stages) for x in results if x.arm]
    single = [x for x, stages in trained if len(stages) == 1]
    for x, (first, *more) in trained:
        if more and all(other.cost["steps"] < x.cost["steps"] for other in single):
            equal = shlex.join([*first, "--steps", f"{x.cost['steps']:.0f}"])
            told.append(f"{x.name} takes {x.cost['steps']:.0f} steps, the others fewer, so compute "
                        f"is not matched; add \"{equal}\" as a baseline that is")
    work = {x.name: {"steps": x.cost["steps"], "batch size": x.cost["rows"] / x.cost["steps"],
                     "sequences per row": x.cost["sequences"] / x.cost["rows"]} for x in single}
    unequal = [text for what in ("steps", "batch size", "sequences per row")
               for text in in_what({name: of[what] for name, of in work.items()}, what)]
    if unequal:
        told.append(f"compute is not equal: {'; '.join(unequal)}. See sequences and CPU seconds")
    return told


def in_what(amounts: dict[str, float], what: str) -> list[str]:
    """["big has 4 times the batch size of sft"]; [] if all have as many."""
    least = min(amounts, key=amounts.__getitem__)
    names: dict[str, list[str]] = {}
    for name, amount in amounts.items():
        times = float(f"{amount / amounts[least]:.2g}")
        names.setdefault(f"{times:g}", []).append(name)
    return [f"{' and '.join(some)} {'has' if len(some) == 1 else 'have'} {times} times the {what} "
            f"of {least}" for times, some in names.items() if times != "1"]


def about_looks(c: Comparison, earlier: list[Look]) -> list[str]:
    if not earlier:
        return []
    before = dict.fromkeys(f"{', '.join(x.arms)} with {x.seeds[1]} seeds" for x in earlier)
    what = "confirmation" if c.cfg.confirm else "test"
    told = (f"this is {what} {len(earlier) + 1} on the same prompts. Before: "
            f"{'; '.join([*before][-4:])}. Adding seeds until a verdict comes, or testing losses "
            "one by one, finds a difference by chance more often than once in twenty")
    return [told if c.cfg.confirm else
            f"{told}. --confirm tests once, with new seeds and prompts"]
