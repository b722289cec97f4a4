"""Which demonstrations to learn from, and whose answers: the plain remedies for wrong ones that PoFT competes with.

    python -m nanouft.train --objective sft --noise 0.4 --keep 0.6        # the 60 % likeliest to an aligned model
    python -m nanouft.train --objective sft --noise 0.4 --rewrite         # its own answers in place of the given ones
    python -m nanouft.train --objective sft --noise 0.4 --clean           # the right ones only: what an oracle would do
    python -m nanouft.train --objective sft --data my.jsonl --keep 0.8 --judge DIR
    python -m nanouft.train --objective sft --data my.jsonl --keep 0.8 --reward my.py:right      # the highest rewards
    python -m nanouft.train --objective kto --data my.jsonl --reward my.py:right        # its grades, not the file's

A judge is a folder of an aligned model, as for PoFT (arXiv:2412.12865); for NanoWorld one is made at first use. Several
judges: likelihoods are averaged, the first one answers. Fewer rows are fewer steps at equal --epochs.
"""
from dataclasses import replace

import numpy as np

from nanouft import world
from nanouft.data.batches import encode
from nanouft.data.rows import Row, Turns, demo_rows
from nanouft.models.generate import answer_rows
from nanouft.models.load import start_model
from nanouft.reference import opinion
from nanouft.rollout.scorer import alike, earned, scorer, unit
from nanouft.shell.devices import Device
from nanouft.shell.errors import UserError


def curate(rows: list[Row], cfg, judges: list[str], device: Device) -> list[Row]:
    """The rows to train on, in their order, as --clean, --keep and --rewrite ask."""
    given = len(rows)
    if cfg.clean:
        rows = [r for r in rows if world.score(r.prompt[0].text, r.answer[-1].text) == 1]
    if cfg.keep < 1:
        likes = opinions(rows, judges, device) if cfg.reward == "exact" else by_reward(rows, cfg.reward, device.name)
        best = sorted(range(len(rows)), key=lambda i: -likes[i])[:max(1, round(cfg.keep * len(rows)))]
        rows = [rows[i] for i in sorted(best)]
    if cfg.rewrite:
        rows = rewritten(rows, judges[0], device)
    print(f"{len(rows):,} of {given:,} demonstrations are left" + (", in the judge's words" if cfg.rewrite else ""))
    return rows


def opinions(rows: list[Row], judges: list[str], device: Device) -> list[float]:
    """Log-prob of each demonstration, on average per token, under the judges."""
    model, tok = start_model(judges[0])
    encoded, _ = encode(demo_rows(rows, None), tok, model.cfg.n_ctx)
    if len(encoded) < len(rows):
        raise UserError(f"--keep: {len(rows) - len(encoded):,} of {len(rows):,} rows are no demonstrations or too long "
                        f"for {judges[0]}; leave them out")
    return opinion(encoded, judges, device)


def by_reward(rows: list[Row], reward: str, device: str) -> np.ndarray:
    """(n,) the reward of each row's own answer; of a dialogue, of its last one."""
    talks = [r.prompt + (r.answer or r.chosen or ()) for r in rows]
    if bare := sum(talk[-1].role != "assistant" for talk in talks):
        raise UserError(f"--reward {reward}: {bare:,} of {len(rows):,} rows have no answer that it could judge")
    return earned(scorer(reward, device), [talk[:-1] for talk in talks], [talk[-1].text for talk in talks],
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
    grades = unit(reward, by_reward(judged, reward, device))
    print(f"{reward} grades {len(judged):,} answers" + (f", {grades.mean():.3f} on average" if judged else ""))
    if judged and (remark := alike(grades)):
        print(remark)
    known = "label" if "labels" in kinds else "score"
    return kept + [replace(r, **{known: bool(g > 0.5) if known == "label" else float(g)})
                   for r, g in zip(judged, grades)]


def rewritten(rows: list[Row], judge: str, device: Device) -> list[Row]:
    """The same prompts with the judge's greedy answers; where it does not stop or says nothing, the row is dropped."""
    model, tok = start_model(judge)
    answers = answer_rows(model.to(device.name).eval(), tok, rows)
    said = [tok.decode(a.ids).strip() if a.ended else "" for a in answers]
    if not any(said):
        raise UserError(f"--rewrite: {judge} never ends an answer; take an aligned model")
    return [replace(row, answer=world.said(text)) for row, text in zip(rows, said) if text]
