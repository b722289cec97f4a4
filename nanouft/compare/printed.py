"""The lines that a comparison prints: conditions, table, verdicts, notes."""
import shlex
import textwrap
from collections.abc import Iterable

from nanouft.compare import runs, stats
from nanouft.compare.arms import Arm
from nanouft.compare.plan import SEARCH_SEEDS, Comparison, short_lr
from nanouft.compare.power import least_lead
from nanouft.compare.row_notes import each_note_once
from nanouft.compare.splits import PURPOSES
from nanouft.compare.testset_reuse import PastTest
from nanouft.compare.verdicts import (
    MEASURES,
    Measure,
    Question,
    Result,
    arm_with_doubtful_rate,
    mean_over_tasks,
    missed_rate,
)
from nanouft.plumbing.printing import quantity


def wrapped(text: str, indent: str = "", first: str = "") -> list[str]:
    return textwrap.wrap(text, 80, initial_indent=first, subsequent_indent=indent,
                         break_long_words=False, break_on_hyphens=False)


def number_range(values: Iterable[int]) -> str:
    """"48", or "12 to 96"."""
    low, *_, high = [*sorted(values)] * 2
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def setup_lines(c: Comparison) -> list[str]:
    """What is the same for all, and what is not."""
    plans = [c.stage_plans[stage] for arm in c.arms for stage in arm.stages
             if stage in c.stage_plans]
    spec, tries = c.eval_spec("test"), c.cfg.tries
    if c.parts:
        counts = {part: len(file.read_text(encoding="utf-8").splitlines())
                  for part, file in c.parts.items()}
        data = f"Your rows ({', '.join(c.train.data or ())}): " + ", ".join(
            f"{counts[part]:,} to {does}" for part, does in PURPOSES.items()
        ) + ". Each seed trains on a bootstrap sample of the training prompts"
    else:
        data = (f"NanoWorld: {quantity(spec.items * len(spec.tasks), 'test prompts')} from "
                f"{quantity(len(spec.tasks), 'tasks')} (seed {spec.seed})")
    search = (f"{tries} values of each method, on validation prompts with one seed, and one more "
              "if the best is at the edge; then its own and the two best with "
              f"{len(SEARCH_SEEDS)} seeds"
              if tries > 1 else "each method's own, not searched")
    copies = " (those of a second name 500 more)" if any(arm.copy for arm in c.arms) else ""
    confirmed = "Confirmation: new seeds and prompts. " * c.cfg.confirm
    steps = number_range(x.steps for x in plans)
    unit = "step" if steps == "1" else "steps"
    return wrapped(
        f"{confirmed}{data}. Initial model: {c.train.init}, on {plans[0].device} in "
        f"{plans[0].dtype}. Each stage: {steps} {unit} at batch size "
        f"{number_range(x.batch_size for x in plans)}, on {number_range(x.rows for x in plans)} "
        f"training examples. Learning rate: {search}. Evaluated: seeds {c.seeds[0]} to "
        f"{c.seeds[-1]}{copies}.")


# ---- the result ----------------------------------------------------------------------------------
def conclusion(c: Comparison, questions: list[Question]) -> str:
    """Which method is ahead, and by how much; or why nothing is decided."""
    measure, beaten = MEASURES[questions[0].a.measure], dict[str, list[str]]()
    for q in questions:
        mean, half = q.interval()
        if q.verdict in ("better", "worse"):
            winner, loser = (q.a, q.b) if q.verdict == "better" else (q.b, q.a)
            caveats = "; ".join(caveats_of(c, q, 1 if q.verdict == "better" else -1))
            beaten.setdefault(winner.name, []).append(
                f"{loser.name} by {measure.text(abs(mean))} ± {measure.with_unit(half)}"
                + f" ({caveats})" * bool(caveats))
    sentences = [f"{winner} is better than {', '.join(losers)}."
                 for winner, losers in beaten.items()]
    sentences += [f"{q.a.name} and {q.b.name} are equivalent." for q in questions
                  if q.verdict == "equivalent"]
    undecided = [q for q in questions if q.verdict == "undecided"]
    if undecided:
        names = "; ".join(f"{q.a.name} - {q.b.name}" for q in undecided)
        sentences.append(f"Undecided, because the CI includes 0: {names}." if sentences else
                         "nothing is decided: each CI includes 0.")
        sentences.append(power_text(measure, [*map(least_lead, undecided)]))
    sample = questions[0].a.sample_text
    return " ".join([f"Result ({measure.title}; {sample}; ± is a 95 % CI):", *sentences])


def power_text(measure: Measure, least_leads: list[float]) -> str:
    low, high = min(least_leads), max(least_leads)
    if not (leads := measure.range_text(low, high)):
        return "No lead would have been decided."
    return f"In 80 of 100 such tests a lead of about {leads} would have been decided."


# ---- the table -----------------------------------------------------------------------------------
def score_table(c: Comparison, results: list[Result]) -> list[str]:
    measure, others = MEASURES[results[0].measure], [*results[-1].others]
    columns = [(measure.title, 15), *((MEASURES[x].title, 12) for x in others),
               ("learning rate", 8), ("steps", 5), ("sequences", 9), ("CPU s", 6)]
    titles = [textwrap.wrap(title, width) for title, width in columns]
    lines = [["", *(x[0] if len(x) > 1 else "" for x in titles)], ["", *(x[-1] for x in titles)]]
    for x in results:
        cells = [f"{measure.text(x.mean)} ± {measure.text(x.half_width)}"]
        cells += [MEASURES[what].text(x.others[what]) if what in x.others else ""
                  for what in others]
        if x.arm:
            cells += [short_lr(c.lr(x.arm)), f"{x.cost['steps']:.0f}",
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
    first = runs.scores_of(c.initial_job()) or {}
    texts = [f"{results[-1].sample_text}; ± is the 95 % confidence interval (CI) of this mean "
             "alone."]
    texts += [score_definition(c, what) for what in (results[0].measure, *results[-1].others)]
    lengths = [f"{role} {mean_over_tasks(first[f'prefers {role} tokens']):.1f} tokens"
               for role in ("chosen", "rejected") if f"prefers {role} tokens" in first]
    if lengths:
        texts.append(f"Mean length: {', '.join(lengths)}.")
    if any(len(arm.stages) > 1 for arm in c.arms):
        texts.append("Learning rate: of a chain's last stage.")
    if any(x.cost["sequences"] != x.cost["rows"] for x in results[1:]):
        texts.append("Sequences: trained on; two of a pair, and all that are sampled.")
    return [*filter(None, texts)]


def score_definition(c: Comparison, name: str) -> str:
    if name not in ("score", "reward"):
        return MEASURES[name].legend
    spec = c.eval_spec("test")
    longest = spec.longest or next(iter(c.stage_plans.values())).model.longest
    if name == "score":
        return ("Score: of 100, the mean over tasks and prompts of the exact score of one greedy "
                f"response, at most {longest} tokens long.")
    return (f"Reward: the mean over test prompts of {spec.reward}, for one response to each, "
            f"sampled at temperature 1, at most {longest} tokens long.")


def difference_lines(c: Comparison, questions: list[Question]) -> list[str]:
    measure, of = MEASURES[questions[0].a.measure], questions[0].n_comparisons
    over = "seeds, prompts and training rows" if c.parts else "seeds and prompts"
    shared = f", Bonferroni-corrected for {of} comparisons" if of > 1 else ""
    less = " Less is better." if measure.sign < 0 else ""
    out = wrapped(f"Paired differences: mean ± 95 % CI over {over}{shared}. "
                  f"{equivalence_text(measure, questions[0].margin)}{less}")
    heads = [f"{q.a.name} - {q.b.name}" for q in questions]
    for head, q in zip(heads, questions):
        verdict = f"{q.verdict}; {q.distance:.1f} half widths from 0" if q.verdict in (
            "better", "worse") else q.verdict
        out.append(f"  {head:{max(map(len, heads))}}  {signed_interval(q):>14}  {verdict}")
        out += wrapped("; ".join(caveats_of(c, q, measure.sign)), " " * 4, " " * 4)
    return out


def equivalence_text(measure: Measure, margin: float) -> str:
    if not margin:              # a share of how far rewards of the initial model are spread
        return "No CI is called equivalent: the initial model has one reward; give --margin."
    return f"Equivalent: the CI is within ±{measure.with_unit(margin)}."


def signed_interval(q: Question) -> str:
    """"-8.4 ± 6.9", first minus second as it was measured."""
    measure, (mean, half) = MEASURES[q.a.measure], q.interval()
    return f"{measure.text(measure.sign * mean, '+')} ± {measure.text(half)}"


def caveats_of(c: Comparison, q: Question, sign: int) -> list[str]:
    """What to know of a verdict. sign: -1 where the lead beside it is not that of q.a over q.b."""
    measure, (task, rest) = MEASURES[q.a.measure], q.driven_by()
    texts = ["all scores are the same to the last digit" + (
        "; ± as if one of two more prompts differed" if q.least_variance else "")
             ] if q.is_identical else []
    if task:
        texts.append(f"driven by task {task}: without it {measure.text(sign * rest, '+')}")
    if arm := arm_with_doubtful_rate(c, q):
        texts.append(f"the learning rate of {arm} may be the reason")
    return texts


# ---- notes ---------------------------------------------------------------------------------------
def note_lines(text: str) -> list[str]:
    return wrapped(f"Note: {text}", "  ")


def notes(c: Comparison, results: list[Result], earlier: list[PastTest]) -> list[str]:
    """Why a verdict may be unfair although its interval is right."""
    measure = MEASURES[results[0].measure]
    texts = c.row_notes + floor_ceiling_notes(c, results)
    texts += [text for arm in c.search_scores for text in notes_on_rates(c, arm, measure)]
    texts += notes_on_compute(results)
    texts += notes_of_runs(c)
    texts += [x for x in [measure.trained] if x]
    texts += [f"{arm.name} optimises the reward of this test" for arm in c.arms
              if any("reward" in c.configs[stage].given for stage in arm.stages)]
    if len(c.seeds) < 3:
        two, three, five = (stats.student(0.025, freedom) for freedom in (1, 2, 4))
        texts.append(f"with two seeds a 95 % CI is ±{two:.1f} standard errors; with three "
                     f"{three:.1f}, with five {five:.1f}: give --seeds 3 or more")
    return texts + notes_on_reuse(c, earlier)


def notes_of_runs(c: Comparison) -> list[str]:
    """What a run with the first seed has noticed of a loss or reward of your own."""
    return each_note_once({arm.name: runs.made_record(c.job(arm, c.seeds[0]).folder).get("told", ())
                           for arm in c.all_arms})


def floor_ceiling_notes(c: Comparison, results: list[Result]) -> list[str]:
    """A line of the methods whose scores are all 0, and one of those whose scores are all 100."""
    measure, texts = MEASURES[results[0].measure], []
    for end, name in ((0.0, "floor"), (1.0, "ceiling")):
        at_end = [x.name for x in results[1:]
                  if all((part == end).all() for part in x.scores.values())]
        if at_end and (measure.unit == "points" or end == 0):           # a reward may be 1 or more
            other = "; another metric (--by nll, --reward) may show more" if c.parts else ""
            texts.append(f"{measure.title}: {measure.text(end)} at each prompt for "
                         f"{', '.join(at_end)}, a {name} that hides differences{other}")
    return texts


def notes_on_rates(c: Comparison, arm: Arm, measure: Measure) -> list[str]:
    """Is the learning rate at the edge of the search? Did another one score more?"""
    tried, best, texts = [*c.search_scores[arm]], c.lr(arm), []
    if len(tried) > 2 and best in (min(tried), max(tried)):
        side = ("lowest", "lower") if best == min(tried) else ("highest", "higher")
        texts.append(f"{arm.name}: the best learning rate, {short_lr(best)}, is the {side[0]} of "
                     f"{len(tried)} values searched; a {side[1]} one may be better (--tries 5, or "
                     "another --lr in its quotes)")
    if x := missed_rate(c, arm):
        texts.append(f"{arm.name}: its learning rates cannot be told apart; {short_lr(x.lr)} "
                     f"scored {measure.text(x.lead)} more than {short_lr(best)} with "
                     f"{len(SEARCH_SEEDS)} seeds (standard error {measure.text(x.error)}), so the "
                     "one nearer to its own was taken")
    return texts


def notes_on_compute(results: list[Result]) -> list[str]:
    """A line for each chain beside single methods, and one that says in what those, or the chains
    alone, differ."""
    texts, trained = [], [(x, x.arm.stages) for x in results if x.arm]
    single = [x for x, stages in trained if len(stages) == 1]
    for x, (first, *more) in trained:
        if more and single and all(other.cost["steps"] < x.cost["steps"] for other in single):
            equal = shlex.join([*first, "--steps", f"{x.cost['steps']:.0f}"])
            texts.append(f"{x.name} takes {x.cost['steps']:.0f} steps, the others fewer, so "
                         f"compute is not matched; add \"{equal}\" as a baseline that is")
    alike = single or [x for x, _ in trained]
    work = {x.name: {"steps": x.cost["steps"], "batch size": x.cost["rows"] / x.cost["steps"],
                     "sequences per row": x.cost["sequences"] / x.cost["rows"]} for x in alike}
    unequal = [text for what in ("steps", "batch size", "sequences per row")
               for text in times_as_much({name: of[what] for name, of in work.items()}, what)]
    if unequal:
        texts.append(f"compute is not equal: {'; '.join(unequal)}. See sequences and CPU seconds")
    return texts


def times_as_much(amounts: dict[str, float], what: str) -> list[str]:
    """["big has 4 times the batch size of sft"]; [] if all have as many."""
    least = min(amounts, key=amounts.__getitem__)
    names: dict[str, list[str]] = {}
    for name, amount in amounts.items():
        times = float(f"{amount / amounts[least]:.2g}")
        names.setdefault(f"{times:g}", []).append(name)
    return [f"{' and '.join(arms)} {'has' if len(arms) == 1 else 'have'} {times} times the {what} "
            f"of {least}" for times, arms in names.items() if times != "1"]


def notes_on_reuse(c: Comparison, earlier: list[PastTest]) -> list[str]:
    if not earlier:
        return []
    before = dict.fromkeys(f"{', '.join(x.arms)} with {x.seeds[1]} seeds" for x in earlier)
    what = "confirmation" if c.cfg.confirm else "test"
    texts = (f"this is {what} {len(earlier) + 1} on the same prompts. Before: "
             f"{'; '.join([*before][-4:])}. Adding seeds until a verdict comes, or testing losses "
             "one by one, finds a difference by chance more often than once in twenty")
    return [texts if c.cfg.confirm else
            f"{texts}. --confirm tests once, with new seeds and prompts"]
