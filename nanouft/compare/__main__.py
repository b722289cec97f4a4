"""Which method is better? Several are trained on the same rows, with several seeds, and judged.

    python -m nanouft.compare sft dpo mine.py                   # NanoWorld
    python -m nanouft.compare sft dpo "mine.py --gamma 2" --data my.jsonl --init FOLDER --lora 16
    python -m nanouft.compare sft sft+dpo                       # DPO from each seed's SFT model
    python -m nanouft.compare out/compare/sft-dpo/plan.ini      # again, or on where it stopped

Each method, its flags in quotes, is trained by nanouft.train: as many rows in a step and as many
passes for all, and as many tries of the learning rate. A rate is chosen on validation questions
with one seed; then other seeds are trained, and judged by test questions that no try has seen. Of
your rows a tenth chooses and a fifth judges: by the reward of greedy answers with --reward, else by
the share of pairs won, the AUC of graded answers, or the loss of demonstrations.

A verdict says better, worse or undecided, at 5 % for all questions together (Holm). Its interval is
over seeds and questions; another sample of your training rows is not in it. Runs are kept, and the
next comparison takes them; if flags, rows, start model or your file have changed, it trains anew.
"""
import functools
import sys

import numpy as np
from tqdm import tqdm

from nanouft.compare import report, runs
from nanouft.compare.arms import Arm
from nanouft.compare.comparison import ALL, FACTORS, TRY, Comparison, plan
from nanouft.compare.judge import Asked, findings_of, moments
from nanouft.compare.report import Question, Result
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.printing import SILENT, say

ORDER = ("reward", "score", "prefers", "auc", "nll")        # what judges, if it is measured


def main(argv: list[str] | None = None) -> int:
    c = plan(sys.argv[1:] if argv is None else argv, __doc__)
    say(*report.conditions(c), "", sep="\n")
    train_all(c)
    results, questions = judge(c)
    lines = report.table(c, results, questions)
    say(*lines, sep="\n")
    say(f"\nPlan, scores, picture and the commands to type: {report.write(c, results, questions)}")
    return 0


# ---- training ------------------------------------------------------------------------------------
def train_all(c: Comparison) -> None:
    """Tries, then seeds; of chains the first stages first."""
    tries = c.cfg.tries if c.cfg.tries > 1 else 0
    workers = c.cfg.workers or 1
    levels = [[arm for arm in c.every if len(arm.stages) == depth]
              for depth in sorted({len(arm.stages) for arm in c.every})]
    seen, every = sys.stderr.isatty(), []
    with tqdm(total=len(c.every) * (tries + len(c.seeds)) + 1, unit="run", disable=SILENT,
              leave=False, smoothing=0, mininterval=0.5 if seen else 30) as bar:
        bar.set_description("tries of rates" if tries else "seeds", refresh=False)
        for level in levels:
            own = {arm: c.paces[arm.stages[-1]].rate for arm in level}
            rates = {arm: sorted(own[arm] * x for x in FACTORS[:tries]) for arm in level}
            every += (jobs := [c.job(arm, TRY, rates[arm][n]) for n in range(tries)
                               for arm in level])
            runs.carry_out(jobs, workers, bar)
            for arm in level:
                c.rates[arm.name] = choose(c, arm, rates[arm]) if tries else own[arm]
        bar.set_description("seeds", refresh=False)
        for level in levels:
            every += (jobs := [c.job(arm, seed) for seed in c.seeds for arm in level])
            runs.carry_out([*jobs, *([c.start()] if level is levels[-1] else [])], workers, bar)
    runs.drop_heavy(job.folder for job in every)


def choose(c: Comparison, arm: Arm, rates: list[float]) -> float:
    """The rate with the best validation score; c.tried has all."""
    found = {}
    for rate in rates:
        job = c.job(arm, TRY, rate)
        scores = runs.values(job.folder, job.asked)
        found[rate] = -np.inf if scores is None else sign(judged_by(c, scores)) * mean_of(
            scores[judged_by(c, scores)])
    c.tried[arm.name] = found
    best = max(found, key=found.__getitem__)
    if found[best] == -np.inf:
        raise UserError(f"{arm.name}: training diverged at each rate that was tried "
                        f"({', '.join(f'{x:.2g}' for x in rates)}); give it a lower --lr")
    return best


def judged_by(c: Comparison, scores: runs.Values) -> str:
    if c.cfg.by and c.cfg.by not in scores:
        raise UserError(f"--by {c.cfg.by}: these rows give "
                        f"{', '.join(x for x in scores if ' ' not in x)}")
    return c.cfg.by or next(x for x in ORDER if x in scores)


def sign(measure: str) -> int:
    return -1 if measure == "nll" else 1


def mean_of(parts: dict[str, np.ndarray]) -> float:
    return float(np.mean([x.mean() for x in parts.values()]))


# ---- verdicts ------------------------------------------------------------------------------------
def judge(c: Comparison) -> tuple[list[Result], list[Question]]:
    """The figures of each arm, the start model first, and what came of all questions."""
    start = c.start()
    first = runs.values(start.folder, start.asked) or {}
    measure = judged_by(c, first)
    groups = {part: first[f"{measure} groups"][part] for part in first[measure]} if c.parts else (
        start.asked.groups())
    results = [result(c, None, [first] * len(c.seeds), groups, measure)]
    for arm in c.arms:
        found = [runs.values((job := c.job(arm, seed)).folder, job.asked) for seed in c.seeds]
        results.append(result(c, arm, [x for x in found if x], groups, measure))
    arms = results[1:]
    pairs = [(a, b) for i, b in enumerate(arms) for a in arms[i + 1:]
             if len(arms) <= ALL or i == 0]
    ask = functools.partial(ask_pairs, pairs, groups, sign(measure))
    whole = findings_of(ask(None))
    without = [findings_of(ask(seed)) for seed in range(len(c.seeds))] if len(c.seeds) > 2 else []
    questions = []
    for i, ((a, b), finding) in enumerate(zip(pairs, whole)):
        hangs = [seed for seed, others in zip(c.seeds, without)
                 if others[i].verdict != finding.verdict != "undecided"]
        questions.append(Question(a, b, finding, moments(ask(None)[i]), hangs, len(pairs),
                                  sign(measure)))
    return results, questions


def ask_pairs(pairs: list[tuple[Result, Result]], groups: dict, way: int,
              left_out: int | None) -> list[Asked]:
    """What `a` scores more than `b`, seed by seed and question by question."""
    def seeds(x: np.ndarray) -> np.ndarray:
        return x if left_out is None else np.delete(x, left_out, 0)
    return [Asked({part: way * seeds(a.scores[part] - b.scores[part]) for part in groups}, groups,
                  (tuple(groups),), "better") for a, b in pairs]


def result(c: Comparison, arm: Arm | None, found: list[runs.Values], groups: dict,
           measure: str) -> Result:
    scores = {part: np.array([x[measure][part] for x in found]) for part in groups}
    others = {what: float(np.mean([mean_of(x[what]) for x in found])) for what in found[0]
              if what != measure and " " not in what}
    mean, variance, freedom = moments(Asked(scores, groups, (tuple(groups),), "better"))
    if arm is None:
        return Result("start model", scores, mean, variance, freedom, measure, others)
    spent = [(part, runs.costs(c.job(part, seed).folder)) for part in arm.chain for seed in c.seeds]
    total = {what: sum(x.get(what, 0) for _, x in spent) / len(c.seeds)
             for what in ("steps", "rows", "tokens", "seconds")}
    total["answers"] = sum(x.get("rows", 0) * c.paces[part.stages[-1]].answers
                           for part, x in spent) / len(c.seeds)
    return Result(arm.name, scores, mean, variance, freedom, measure, others, arm, total)


if __name__ == "__main__":
    sys.exit(command(main, needs_less="give --workers 1 or --lora 16"))
