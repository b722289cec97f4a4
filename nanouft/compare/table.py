"""What a comparison prints: conditions, the result, its table, differences."""
import textwrap
from collections.abc import Iterable

from nanouft.compare.notes import caveats
from nanouft.compare.plan import COPY_SEEDS, SEARCH_SEEDS, Comparison, short_lr
from nanouft.compare.search import Found, validation_results
from nanouft.compare.splits import PURPOSES
from nanouft.compare.verdicts import (
    MEASURES,
    Question,
    Result,
    mean_over_tasks,
    values_of,
)
from nanouft.plumbing.printing import quantity


def wrapped(text: str, indent: str = "", first: str = "") -> list[str]:
    return textwrap.wrap(text, 80, initial_indent=first, subsequent_indent=indent,
                         break_long_words=False, break_on_hyphens=False)


def note_lines(text: str) -> list[str]:
    return wrapped(f"Note: {text}", "  ")


def number_range(values: Iterable[int]) -> str:
    """"48", or "12 to 96"."""
    low, *_, high = [*sorted(values)] * 2
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def setup_lines(c: Comparison) -> list[str]:
    """What is the same for all, and what is not."""
    plans, spec, tries = [*c.stage_plans.values()], c.spec("test"), c.cfg.tries
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
    copies = (f" (those of a second name {COPY_SEEDS} more)" if any(arm.copy for arm in c.arms)
              else "")
    confirmed = "Confirmation: new seeds and prompts. " * c.cfg.confirm
    steps = number_range(x.steps for x in plans)
    unit = "step" if steps == "1" else "steps"
    return wrapped(
        f"{confirmed}{data}. Initial model: {c.train.init}, on {plans[0].device} in "
        f"{plans[0].dtype}. Each stage: {steps} {unit} at batch size "
        f"{number_range(x.batch_size for x in plans)}, on {number_range(x.rows for x in plans)} "
        f"training examples. Learning rate: {search}. Evaluated: seeds {c.seeds[0]} to "
        f"{c.seeds[-1]}{copies}.")


def conclusion(questions: list[Question], more: Iterable[str] = ()) -> str:
    """Which method is ahead, and by how much; or that nothing is decided. more: sentences that
    belong to it."""
    measure, beaten = MEASURES[questions[0].a.measure], dict[str, list[str]]()
    for q in questions:
        mean, half = q.interval()
        if q.verdict in ("better", "worse"):
            winner, loser = (q.a, q.b) if q.verdict == "better" else (q.b, q.a)
            told = "; ".join(caveats(q, 1 if q.verdict == "better" else -1))
            beaten.setdefault(winner.name, []).append(
                f"{loser.name} by {measure.text(abs(mean))} ± {measure.with_unit(half)}"
                + f" ({told})" * bool(told))
    sentences = [f"{winner} is better than {', '.join(losers)}."
                 for winner, losers in beaten.items()]
    sentences += [f"{q.a.name} and {q.b.name} are equivalent "
                  f"({'; '.join([signed_interval(q), *caveats(q, 1)])})." for q in questions
                  if q.verdict == "equivalent"]
    undecided = [f"{q.name} {signed_interval(q)}" for q in questions if q.verdict == "undecided"]
    if undecided:
        sentences.append(f"Undecided, because the CI includes 0: {'; '.join(undecided)}.")
    first = questions[0]
    return " ".join([f"Result ({measure.title}; {first.a.sample_text}; ± is the 95 % CI of a "
                     f"difference{corrected_text(first)}):", *sentences, *more])


def corrected_text(q: Question) -> str:
    return (f", Bonferroni-corrected for {q.n_comparisons} comparisons"
            if q.n_comparisons > 1 else "")


def score_table(c: Comparison, results: list[Result]) -> list[str]:
    measure, others = MEASURES[results[0].measure], [*results[-1].others]
    columns = [(measure.title, 15), *((MEASURES[x].title, 12) for x in others),
               ("learning rate", 8), ("steps", 5), ("sequences", 9), ("CPU s", 6)]
    titles = [textwrap.wrap(title, width) for title, width in columns]
    lines = [["", *(x[0] if len(x) > 1 else "" for x in titles)], ["", *(x[-1] for x in titles)]]
    for x in results:
        cells = [mean_text(x)]
        cells += [MEASURES[what].text(x.others[what]) if what in x.others else ""
                  for what in others]
        if x.arm:
            cells += [short_lr(c.rate(x.arm)), f"{x.steps:.0f}", f"{x.sequences:,.0f}",
                      f"{x.seconds:.1f}"]
        lines.append([x.name, *cells])
    first = max(len(line[0]) for line in lines)
    return ["  ".join([f"{name:{first}}", *(f"{cell:>{width}}" for cell, (_, width) in zip(
        cells, columns))]).rstrip() for name, *cells in lines] + wrapped(" ".join(legends(
            c, results)))


def legends(c: Comparison, results: list[Result]) -> list[str]:
    """What the columns are."""
    first, spec = values_of(c, None, c.seeds[:1])[0], c.spec("test")
    longest = f"at most {spec.longest or c.stage_plan.model.longest} tokens long."
    texts = ["± is the 95 % confidence interval (CI) of this mean alone."]
    texts += [MEASURES[x].legend.format(reward=spec.reward, longest=longest)
              for x in (results[0].measure, *results[-1].others)]
    lengths = [f"{role} {mean_over_tasks(first[f'prefers {role} tokens']):.1f} tokens"
               for role in ("chosen", "rejected") if f"prefers {role} tokens" in first]
    if lengths:
        texts.append(f"Mean length: {', '.join(lengths)}.")
    if any(len(arm.stages) > 1 for arm in c.arms):
        texts.append("Learning rate: of a chain's last stage.")
    if any(x.sequences != x.rows for x in results):
        texts.append("Sequences: trained on; two of a pair, and all that are sampled.")
    texts.append("CPU s: of one seed's training and scoring.")
    return [*filter(None, texts)]


def difference_lines(c: Comparison, questions: list[Question]) -> list[str]:
    first, over = questions[0], "seeds, prompts and training rows" if c.parts else (
        "seeds and prompts")
    measure = MEASURES[first.a.measure]
    on_file = (" In brackets the ± of a narrower claim: on this file of rows, not on another like "
               "it." * bool(c.parts))
    out = wrapped(f"Paired differences: mean ± 95 % CI over {over}, and p"
                  f"{corrected_text(first)}. {equivalence_text(first)}"
                  f"{' Less is better.' * (measure.sign < 0)}{on_file}")
    for q in questions:
        narrow = f"  (± {measure.text(q.half_width_on_this_file())})" if c.parts else ""
        out.append(f"  {q.name:{max(len(x.name) for x in questions)}}  "
                   f"{signed_interval(q):>14}{narrow}  {'p ' + p_text(q.p_value):9}  {q.verdict}")
        out += wrapped("; ".join(caveats(q, measure.sign)), " " * 4, " " * 4)
    return out


def p_text(p: float) -> str:
    """"= .0213", "< .001". It is below .05 where p is."""
    return "< .001" if p < 0.001 else f"= {p:.3g}".replace("= 0.", "= .")


def rate_lines(c: Comparison, found: Found) -> list[str]:
    """The mean of each learning rate that has three seeds."""
    out = wrapped(f"Learning rates: mean of {len(SEARCH_SEEDS)} seeds on validation prompts ± 95 % "
                  "CI; the best mean is taken (*).") if found else []
    for arm, tried in found.items():
        means = ", ".join(f"{short_lr(lr)}{'*' * (lr == tried.taken)} {mean_text(x)}"
                          for lr, x in validation_results(c, arm, tried).items())
        out += wrapped(f"{arm.name}: {means}", " " * 4, "  ")
    return out


def mean_text(x: Result) -> str:
    """"61.2 ± 3.0"."""
    measure = MEASURES[x.measure]
    return f"{measure.text(x.mean)} ± {measure.text(x.half_width)}"


def equivalence_text(q: Question) -> str:
    if not q.margin:            # a share of how far rewards of the initial model are spread
        return "No CI is called equivalent: the initial model has one reward; give --margin."
    return f"Equivalent: the CI is within ±{MEASURES[q.a.measure].with_unit(q.margin)}."


def signed_interval(q: Question) -> str:
    """"-8.4 ± 6.9", first minus second as it was measured."""
    measure, (mean, half) = MEASURES[q.a.measure], q.interval()
    return f"{measure.text(measure.sign * mean, '+')} ± {measure.text(half)}"
