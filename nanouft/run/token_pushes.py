"""How hard a method pushes each token of an answer in one step, and which way.

    for which, tokens, push in token_pushes(OBJECTIVES["ift"](), row, model, tok):
        print(which, list(zip(tokens, push)))           # "answer", [("fig", 1.02), ...]

The push on token t is -dL/dlogp_t: the gradient of the loss with respect to the token's log-prob,
times -1. + makes the token more likely, - less likely. `python -m nanouft.pushes` prints and draws
pushes.
"""
import dataclasses
import shlex
from collections.abc import Iterator

import torch

from nanouft import world
from nanouft.batch import Batch, Seqs
from nanouft.data.batches import collate, encode
from nanouft.data.rows import Row
from nanouft.data.selection import score_rows
from nanouft.gpt import GPT
from nanouft.loop import Device
from nanouft.models.tokenizer import Tokenizer, Turn
from nanouft.objective import Objective
from nanouft.objectives import find
from nanouft.plumbing.errors import UserError
from nanouft.rollout import credit_rollout, measure_rollout
from nanouft.run.flags import Parser, add_flags, fill
from nanouft.run.reference import FrozenModels


def token_pushes(objective: Objective, row: Row, model: GPT, tok: Tokenizer,
                 device: Device = Device(), reference: GPT | None = None,
                 ) -> list[tuple[str, list[str], list[float]]]:
    """[(which answer, its tokens, the push on each)] of one row under one method. `row` has an
    `answer`, a `chosen` and a `rejected`. The reference is the model itself unless it is given."""
    models = FrozenModels(model if reference is None else reference, tok.pad, device)
    batch_of = sampled_batch if objective.on_policy else batch_of_row
    batch = batch_of(objective, row, model, models, tok).to(device.name)
    objective.forward(model, batch)
    n = next(iter(batch.tokens.values()))               # one scale for all sides
    out = []
    for role, weights in batch_pushes(objective, batch).items():
        s, labels = batch.seqs[role], ("good answer", "bad answer") if batch.n == 2 else (role,)
        labels = ("demonstrated answer",) if role == "demo" else labels
        for i, label in enumerate(labels):
            on = s.mask[i] > 0
            tokens = [tok.decode([token]) for token in s.targets[i][on].tolist()]
            out.append((label, tokens, (weights[i][on] * n).tolist()))
    return out


def batch_pushes(objective: Objective, batch: Batch) -> dict[str, torch.Tensor]:
    """{role: (B,T) -dL/dlogp}: how hard the loss pushes each token, and which way.
    forward() must have written logp; it is detached from the network first. Roles that the loss
    only reads (KTO's mismatch) are left out."""
    for s in batch.seqs.values():
        s.logp = s.logp.detach().requires_grad_(True)
    loss, _ = objective.loss(batch)
    grads = torch.autograd.grad(loss, [s.logp for s in batch.seqs.values()], allow_unused=True)
    return {role: -g for role, g in zip(batch.seqs, grads) if g is not None}


def batch_of_row(objective: Objective, row: Row, model: GPT, models: FrozenModels,
                 tok: Tokenizer) -> Batch:
    """The row as the method reads it. A method that reads grades gets a good and a bad answer."""
    graded = bool({"labels", "scores"} & set(objective.kinds()))
    rows = objective.choose(grade_pair(row) if graded else [row])
    encoded, _ = encode(rows, tok, model.cfg.n_ctx)
    return collate(models.prepare(encoded, objective), range(2 if graded else 1), tok.pad)


def sampled_batch(objective: Objective, row: Row, model: GPT, models: FrozenModels,
                  tok: Tokenizer) -> Batch:
    """A good and a bad answer as if `model` had just sampled both, with the rewards 1 and 0. A
    method may make one pair of them. The good one is also the demonstration."""
    answers, _ = encode(score_rows(grade_pair(row)[:2]), tok, model.cfg.n_ctx)
    reward = torch.tensor([1.0, 0.0])
    seqs = collate(answers, range(2), tok.pad).seqs
    per_row = {"reward": reward, "score": reward, "ended": torch.ones(2)}
    if "demos" in objective.kinds():
        s = seqs["answer"]
        seqs["demo"] = Seqs(s.inputs, s.targets, s.mask * reward[:, None], s.not_padding)
        per_row |= {"demo": reward, "demo_reward": reward}
    batch = Batch.of(seqs, per_row)
    for role in seqs:
        measure_rollout(batch, model, models.start, models.device, role)
    two_each = {"samples": 2}                   # methods that read rows have no such setting
    return credit_rollout(batch, dataclasses.replace(objective, **two_each))[0]


def grade_pair(row: Row) -> list[Row]:
    """A pair as two graded answers, and a third to another prompt, because KTO needs one."""
    return [Row(row.prompt, row.chosen, score=1.0, label=True),
            Row(row.prompt, row.rejected, score=0.0, label=False),
            Row((Turn("user", "Say no."),), world.as_answer("No."), score=0.0, label=False)]


def parse_methods(shown: list[str], init: str = "base") -> Iterator[tuple[str, Objective]]:
    """(the text as given, the method with its settings). Flags are read as train reads them. If a
    method needs other models, the model of --init stands in for them, so PoFT's weight is 1/2."""
    for text in shown:
        try:
            name, *flags = shlex.split(text) or [""]
        except ValueError as e:
            raise UserError(f"--show {text!r}: cannot be read ({e})") from None
        cls = find(name)
        parser = Parser(prog=name)
        add_flags(parser, cls, name)
        others = cls.first_models.stand_in(init) if cls.first_models else {}
        objective = fill(cls, others | vars(parser.parse_args(flags)))
        objective.check()
        yield text, objective


def chance_to_end(model: GPT, tok: Tokenizer, row: Row) -> float:
    """Probability of the last token of the answer after all others."""
    ids, _ = tok.chat(row.prompt, row.answer or ())
    x = torch.tensor([ids[:-1]], device=model.wte.weight.device)
    with torch.no_grad():
        return float(model(x)[0, -1].softmax(-1)[ids[-1]])
