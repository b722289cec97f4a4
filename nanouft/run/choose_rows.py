"""Which demonstrations to learn from, and grades that replace those of the data.

--keep 0.8 learns from the best 80 % of the demonstrations (`kept_rows`). It is the plain remedy for
wrong ones, with which PoFT (arXiv:2412.12865) is compared. The best are those that an aligned
model, the judge, finds likeliest, or those with the highest --reward:
    python -m nanouft.train --objective sft --noise 0.4 --keep 0.6
    python -m nanouft.train --objective sft --data my.jsonl --keep 0.8 --judge DIR
    python -m nanouft.train --objective sft --data my.jsonl --keep 0.8 --reward my.py:right
For NanoWorld a judge is made at first use. The likelihoods of several judges are averaged. Fewer
rows are fewer steps at equal --epochs.

--reward grades the answers of a method that learns from scores or labels (`graded`). The grades of
the file do not count then:
    python -m nanouft.train --objective kto --data my.jsonl --reward my.py:right
"""
from dataclasses import replace

import numpy as np

from nanouft.data.batches import encode
from nanouft.data.rows import Row, demo_rows, is_demo
from nanouft.errors import UserError, say
from nanouft.loop import Device
from nanouft.models.load import start_model
from nanouft.reference import Models
from nanouft.rewards.scorer import constant_reward_note, score_answers, scorer, to_unit_interval
from nanouft.run.flags import Train


# ---- --keep: the best demonstrations -------------------------------------------------------------
def kept_rows(rows: list[Row], cfg: Train, judges: list[str], device: Device) -> list[Row]:
    """The share --keep of the rows, in their order: those that --reward or the judges rate best."""
    ratings: list[float] | np.ndarray
    if cfg.reward == "exact":
        ratings = likelihoods(rows, judges, device)
    else:
        ratings = by_reward(rows, cfg.reward, device.name)
    n = max(1, round(cfg.keep * len(rows)))
    best = sorted(range(len(rows)), key=lambda i: -ratings[i])[:n]
    say(f"{len(best):,} of {len(rows):,} demonstrations are left")
    return [rows[i] for i in sorted(best)]


def likelihoods(rows: list[Row], judges: list[str], device: Device) -> list[float]:
    """Log-prob of each demonstration, on average per token, under the judges."""
    model, tok = start_model(judges[0])
    encoded, _ = encode(demo_rows(rows, None), tok, model.cfg.n_ctx)
    if len(encoded) < len(rows):
        raise UserError(f"--keep: {len(rows) - len(encoded):,} of {len(rows):,} rows are no "
                        f"demonstrations or too long for {judges[0]}; leave them out")
    return Models(model, tok.pad, device, start_model).mean_logp(encoded, judges)


def by_reward(rows: list[Row], reward: str, device: str) -> np.ndarray:
    """(n,) the reward of each row's own answer; of a dialogue, of its last one."""
    talks = [r.prompt + (r.answer or r.chosen or ()) for r in rows]
    if bare := sum(talk[-1].role != "assistant" for talk in talks):
        raise UserError(f"--reward {reward}: {bare:,} of {len(rows):,} rows have no answer that it "
                        "could judge")
    prompts, answers = [talk[:-1] for talk in talks], [talk[-1].text for talk in talks]
    return score_answers(scorer(reward, device), prompts, answers, [r.extra for r in rows])


# ---- --reward: grades for scores or labels -------------------------------------------------------
def graded(rows: list[Row], kinds: list[str], reward: str, device: str) -> list[Row]:
    """Each answer with the grade that --reward gives it; a pair becomes two answers. A method that
    also learns from demonstrations (uft) gets those as they are, in front."""
    demos: list[Row] = []
    answers: list[Row] = []
    for row in rows:
        if "demos" in kinds and is_demo(row):
            demos.append(row)
        else:
            answers += single_answers(row)
    grades = to_unit_interval(reward, by_reward(answers, reward, device))
    mean = f", {grades.mean():.3f} on average" if answers else ""
    say(f"{reward} grades {len(answers):,} answers{mean}")
    if answers and (note := constant_reward_note(grades)):
        say(note)
    if "labels" in kinds:
        return demos + [replace(r, label=bool(g > 0.5)) for r, g in zip(answers, grades)]
    return demos + [replace(r, score=float(g)) for r, g in zip(answers, grades)]


def single_answers(row: Row) -> list[Row]:
    """A row without its grades, once for each of its answers."""
    answers = [a for a in (row.answer, row.chosen, row.rejected) if a is not None]
    bare = replace(row, chosen=None, rejected=None, p=None, score=None, label=None, unjudged=False)
    return [replace(bare, answer=a) for a in answers]
