"""Which demonstrations to learn from: the plain remedy for wrong ones that PoFT competes with; and grades of --reward.

    python -m nanouft.train --objective sft --noise 0.4 --keep 0.6        # the 60 % likeliest to an aligned model
    python -m nanouft.train --objective sft --data my.jsonl --keep 0.8 --judge DIR      # or --reward my.py:right
    python -m nanouft.train --objective kto --data my.jsonl --reward my.py:right        # its grades, not the file's

A judge is a folder of an aligned model, as for PoFT (arXiv:2412.12865); for NanoWorld one is made at first use. Several
judges: likelihoods are averaged. Fewer rows are fewer steps at equal --epochs.
"""
from dataclasses import replace

import numpy as np

from nanouft.data.batches import encode
from nanouft.data.rows import Row, Turns, demo_rows
from nanouft.errors import UserError
from nanouft.loop import Device
from nanouft.models.load import start_model
from nanouft.reference import Models
from nanouft.rewards.scorer import constant_reward_note, score_answers, scorer, to_unit_interval


def kept_rows(rows: list[Row], cfg, judges: list[str], device: Device) -> list[Row]:
    """The share --keep of the rows, in their order: those that the judges or --reward like best."""
    likes = opinions(rows, judges, device) if cfg.reward == "exact" else by_reward(rows, cfg.reward, device.name)
    best = sorted(range(len(rows)), key=lambda i: -likes[i])[:max(1, round(cfg.keep * len(rows)))]
    print(f"{len(best):,} of {len(rows):,} demonstrations are left")
    return [rows[i] for i in sorted(best)]


def opinions(rows: list[Row], judges: list[str], device: Device) -> list[float]:
    """Log-prob of each demonstration, on average per token, under the judges."""
    model, tok = start_model(judges[0])
    encoded, _ = encode(demo_rows(rows, None), tok, model.cfg.n_ctx)
    if len(encoded) < len(rows):
        raise UserError(f"--keep: {len(rows) - len(encoded):,} of {len(rows):,} rows are no demonstrations or too long "
                        f"for {judges[0]}; leave them out")
    return Models(model, tok.pad, device, start_model).mean_logp(encoded, judges)


def by_reward(rows: list[Row], reward: str, device: str) -> np.ndarray:
    """(n,) the reward of each row's own answer; of a dialogue, of its last one."""
    talks = [r.prompt + (r.answer or r.chosen or ()) for r in rows]
    if bare := sum(talk[-1].role != "assistant" for talk in talks):
        raise UserError(f"--reward {reward}: {bare:,} of {len(rows):,} rows have no answer that it could judge")
    return score_answers(scorer(reward, device), [talk[:-1] for talk in talks], [talk[-1].text for talk in talks],
                  [r.extra for r in rows])


def graded(rows: list[Row], kinds: list[str], reward: str, device: str) -> list[Row]:
    """For methods that learn from scores or labels: each answer with the grade that --reward gives it, whatever the
    file says; a pair becomes two answers. Where demonstrations are learnt beside them (uft), those stay as they are."""
    def answers(row: Row) -> list[Turns]:
        return [a for a in (row.answer, row.chosen, row.rejected) if a is not None]

    def stays(row: Row) -> bool:
        return "demos" in kinds and row.answer is not None and row.score is None and row.label is None
    kept = [r for r in rows if stays(r)]
    judged = [replace(r, answer=a, chosen=None, rejected=None, p=None, score=None, label=None)
              for r in rows if not stays(r) for a in answers(r)]
    grades = to_unit_interval(reward, by_reward(judged, reward, device))
    print(f"{reward} grades {len(judged):,} answers" + (f", {grades.mean():.3f} on average" if judged else ""))
    if judged and (remark := constant_reward_note(grades)):
        print(remark)
    known = "label" if "labels" in kinds else "score"
    return kept + [replace(r, **{known: bool(g > 0.5) if known == "label" else float(g)})
                   for r, g in zip(judged, grades)]
