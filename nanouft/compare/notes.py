"""What an interval does not say: lost tasks, failed runs, and what may make a verdict unfair."""
import json
import shlex
from collections.abc import Iterator

import numpy as np

from nanouft.compare.data_notes import each_note_once
from nanouft.compare.inputs import LIBRARIES, short_hash
from nanouft.compare.plan import COPY_SEEDS, SEARCH_SEEDS, Comparison, short_lr
from nanouft.compare.runs import made_record
from nanouft.compare.search import Found, Tried, at_edge
from nanouft.compare.stats import student
from nanouft.compare.verdicts import MEASURES, Question, Result, compared_pairs
from nanouft.plumbing.files import read_text, write_text

UNEQUAL_EOS = 0.1       # of all responses: from here on a difference of their ends is told
LOST = 0.2              # of all points: a task that loses less is not destroyed


# ---- beside the result ---------------------------------------------------------------------------
def lost_tasks(results: list[Result]) -> Iterator[str]:
    """Tasks of NanoWorld that a method destroys: LOST points are gone, and half of what was there
    before."""
    for x in results[1:]:
        for task, before in results[0].scores.items() if not x.redrawn else ():
            was, now = before.mean(), x.scores[task].mean()
            if was - now >= max(LOST, was / 2):
                text = MEASURES[x.measure].text
                yield f"{x.name} lost task {task}: {text(was)} before training, {text(now)} after."


def failures(c: Comparison, found: Found, results: list[Result], margin: float) -> Iterator[str]:
    """A method whose runs at its learning rate do not all succeed, those of the search too, which
    other prompts score. An interval supposes that seeds scatter alike."""
    measure = MEASURES[results[0].measure]
    for x, arm in zip(results[1:], c.arms):
        parts = [(c.seeds, measure.sign * x.seed_scores())]
        if arm in found:
            parts.append((SEARCH_SEEDS, np.array(found[arm].scores[found[arm].taken])))
        failed = list[str]()
        for seeds, part in parts:
            failed += [f"seed {seed + COPY_SEEDS * arm.copy}: {measure.text(measure.sign * score)}"
                       for seed, score, fails in zip(seeds, part, are_failures(part, margin))
                       if fails]
        if failed:
            runs = sum(len(part) for _, part in parts)
            yield (f"{x.name} failed in {len(failed)} of {runs} runs ({', '.join(failed)}), "
                   f"so its mean depends on how many of {len(c.seeds)} fail.")


def are_failures(scores: np.ndarray, margin: float) -> np.ndarray:
    """(runs,) True for a run that is below the median of the better half by ten margins, and by
    five times as far as that half is apart. In scores more is better."""
    better = np.sort(scores)[len(scores) // 2:]
    return np.median(better) - scores > max(10 * margin, 5 * np.ptp(better))


# ---- how often these prompts were asked ----------------------------------------------------------
def count_test(c: Comparison) -> tuple[int, int]:
    """(1, 2 ...: which test on these prompts in this folder this is, how many there were). The same
    settings and own code are one test. Who tests until it suits finds a difference that is not
    there."""
    spec, file = c.spec("test"), c.out / "tests.jsonl"
    prompts = spec.data or f"{spec.split} {spec.seed}"
    first = [c.run(part, c.seeds[0]) for arm in c.arms for part in arm.chain]
    settings = sorted([run.config.with_flags(init="").argv(),
                       [x for x in run.inputs if x[0] not in ("nanouft", *LIBRARIES)]]
                      for run in first if run.config)
    test = json.dumps({"prompts": prompts, "methods": [arm.words for arm in c.arms],
                       "by": c.cfg.by, "seeds": c.cfg.seeds, "settings": short_hash(settings)})
    tests = read_text(file).splitlines() if file.exists() else []
    if test not in tests:
        tests.append(test)
        write_text(file, "".join(f"{line}\n" for line in tests))
    same = [x for x in tests if json.loads(x)["prompts"] == prompts]
    return same.index(test) + 1, len(same)


def few_seeds(c: Comparison) -> list[str]:
    """What is known before training: two seeds decide little."""
    two, five = (student(0.025 / len(compared_pairs(c.arms)), freedom) for freedom in (1, 4))
    return [f"two seeds decide little: a CI is up to ±{two:.1f} standard errors (with five "
            f"±{five:.1f})"] * (len(c.seeds) == 2)


# ---- notes ---------------------------------------------------------------------------------------
def notes(c: Comparison, found: Found, results: list[Result], test: int, tests: int) -> list[str]:
    """test, tests: those of count_test."""
    measure, arms = MEASURES[results[0].measure], results[1:]
    texts = c.early_notes + [*floor_ceiling(c, results)]
    texts += [text for arm, tried in found.items() for text in rate_at_edge(arm.name, tried)]
    texts += [*unequal_compute(arms), *unequal_ends(arms)]
    texts += each_note_once({arm.name: made_record(c.run(arm, c.seeds[0])).get("notes", ())
                             for arm in c.all_arms})
    texts += [measure.trained] if measure.trained else []
    texts += [f"{arm.name} optimises the reward of this test" for arm in c.arms
              if any("reward" in c.configs[stage].given for stage in arm.stages)]
    if tests > 1:
        texts.append(f"this is test {test} of {tests} on these prompts in this folder, and each "
                     "may find by chance a difference that is not there"
                     + "; --confirm tests once with new seeds and prompts" * (not c.cfg.confirm))
    return texts


def floor_ceiling(c: Comparison, results: list[Result]) -> Iterator[str]:
    """A line of the methods whose scores are all 0, and one of those whose scores are all 100."""
    measure = MEASURES[results[0].measure]
    for end, name in ((0.0, "floor"), (1.0, "ceiling")):
        at_end = [x.name for x in results[1:]
                  if all((part == end).all() for part in x.scores.values())]
        if at_end and (measure.unit == "points" or end == 0):           # a reward may be 1 or more
            other = "; another metric (--by nll, --reward) may show more" if c.parts else ""
            yield (f"{measure.title}: {measure.text(end)} at each prompt for "
                   f"{', '.join(at_end)}, a {name} that hides differences{other}")


def rate_at_edge(name: str, tried: Tried) -> Iterator[str]:
    """Might a rate beyond those that were searched be better?"""
    if len(tried.scores) > 2 and at_edge(tried.taken, tried.scores):
        side = ("lowest", "lower") if tried.taken == min(tried.scores) else ("highest", "higher")
        yield (f"{name}: the best learning rate, {short_lr(tried.taken)}, is the {side[0]} of "
               f"{len(tried.scores)} values searched; a {side[1]} one may be better (--tries 5, or "
               "another --lr in its quotes)")


def unequal_compute(arms: list[Result]) -> Iterator[str]:
    """Rows that each method trains on in all its steps, if they differ; and for a chain that takes
    more steps than any single method, one that would not."""
    names: dict[int, list[str]] = {}
    for x in arms:
        names.setdefault(round(x.rows), []).append(x.name)
    single = [x.steps for x in arms if x.arm and len(x.arm.stages) == 1]
    baselines = [shlex.join([*x.arm.stages[0], "--steps", f"{x.steps:.0f}"]) for x in arms
                 if x.arm and single and x.steps > max(single)]
    if len(names) > 1:
        amounts = "; ".join(f"{', '.join(of)} {rows:,}" for rows, of in names.items())
        more = " and ".join(f'"{x}"' for x in dict.fromkeys(baselines))
        yield (f"compute is not equal (rows in all steps): {amounts}"
               + f"; add {more} as a baseline that is" * bool(more))


def unequal_ends(arms: list[Result]) -> Iterator[str]:
    """Part of a lead in NanoWorld's score may be that a method has learned to stop."""
    ends = {x.name: x.others["stops"] for x in arms if "stops" in x.others}
    if ends and max(ends.values()) - min(ends.values()) > UNEQUAL_EOS:
        shares = ", ".join(f"{name} {100 * x:.0f} %" for name, x in ends.items())
        yield f"part of a lead may be learning to stop: responses end with EOS in {shares}"


def caveats(q: Question, sign: int) -> list[str]:
    """What to know of a verdict. sign: -1 where the lead beside it is not that of q.a over q.b."""
    task, rest = q.driven_by()
    texts = [f"driven by task {task}: without it {MEASURES[q.a.measure].text(sign * rest, '+')}"]
    texts *= bool(task)
    if any(q.a.weights) and q.a.weights == q.b.weights:
        texts.append("both trained to the same weights: what differs between them never acted")
    elif not any(gap.any() for gap in q.gaps().values()):
        texts.append("all scores are the same to the last digit; ± is "
                     + ("what one prompt more might change" if q.a.is_share else "unknown"))
    return texts
