"""Which demonstrations to learn from, and whose answers: the plain remedies for wrong ones that PoFT competes with.

    python -m nanouft.train --objective sft --noise 0.4 --keep 0.6        # the 60 % likeliest to an aligned model
    python -m nanouft.train --objective sft --noise 0.4 --rewrite         # its own answers in place of the given ones
    python -m nanouft.train --objective sft --noise 0.4 --clean           # the right ones only: what an oracle would do
    python -m nanouft.train --objective sft --data my.jsonl --keep 0.8 --judge DIR

A judge is a folder of an aligned model, as for PoFT (arXiv:2412.12865); for NanoWorld one is made at first use. Several
judges: likelihoods are averaged, the first one answers. Fewer rows are fewer steps at equal --epochs.
"""
from dataclasses import replace

from nanouft import world
from nanouft.data.batches import encode
from nanouft.data.rows import Row, demo_rows
from nanouft.models.generate import answer_rows
from nanouft.models.load import start_model
from nanouft.reference import opinion
from nanouft.shell.config import UserError
from nanouft.shell.devices import Device


def curate(rows: list[Row], cfg, judges: list[str], device: Device) -> list[Row]:
    """The rows to train on, in their order, as --clean, --keep and --rewrite ask."""
    given = len(rows)
    if cfg.clean:
        rows = [r for r in rows if world.score(r.prompt[0].text, r.answer[-1].text) == 1]
    if cfg.keep < 1:
        rows = likeliest(rows, judges, cfg.keep, device)
    if cfg.rewrite:
        rows = rewritten(rows, judges[0], device)
    print(f"{len(rows):,} of {given:,} demonstrations are left" + (", in the judge's words" if cfg.rewrite else ""))
    return rows


def likeliest(rows: list[Row], judges: list[str], share: float, device: Device) -> list[Row]:
    """The share of the demonstrations with the highest log-prob, on average per token, under the judges."""
    model, tok = start_model(judges[0])
    encoded, _ = encode(demo_rows(rows, None), tok, model.cfg.n_ctx)
    if len(encoded) < len(rows):
        raise UserError(f"--keep: {len(rows) - len(encoded):,} of {len(rows):,} rows are no demonstrations or too long "
                        f"for {judges[0]}; leave them out")
    likes = opinion(encoded, judges, device)
    best = sorted(range(len(rows)), key=lambda i: -likes[i])[:max(1, round(share * len(rows)))]
    return [rows[i] for i in sorted(best)]


def rewritten(rows: list[Row], judge: str, device: Device) -> list[Row]:
    """The same prompts with the judge's greedy answers; where it does not stop or says nothing, the row is dropped."""
    model, tok = start_model(judge)
    answers = answer_rows(model.to(device.name).eval(), tok, rows)
    said = [tok.decode(a.ids).strip() if a.ended else "" for a in answers]
    if not any(said):
        raise UserError(f"--rewrite: {judge} never ends an answer; take an aligned model")
    return [replace(row, answer=world.said(text)) for row, text in zip(rows, said) if text]
