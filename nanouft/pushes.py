"""How hard a method pushes each token of one answer, and which way.

    python -m nanouft.pushes --init out/sft     # sft, ift, ift as released, dpo
    python -m nanouft.pushes --show sft "ift --lam 0.5" kto grpo
    python -m nanouft.pushes --prompt "..." --answer "..." --rejected "..."

One training step pushes each token of an answer up or down. The push is the gradient of the loss
with respect to the token's log-prob, times -1 (-dL/dlogp_t). A push above 0 makes the token more
likely, one below 0 less likely. Pushes are scaled by the number of response tokens (of a pair:
those of the chosen answer), so SFT pushes every token by 1. The command prints and draws them.
"""
import dataclasses
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from nanouft import world
from nanouft.batch import Batch, Seqs
from nanouft.data.batches import collate, encode
from nanouft.data.row import Row
from nanouft.data.selection import score_rows
from nanouft.gpt import GPT
from nanouft.models.folders import start_model
from nanouft.models.tokenizer import Tokenizer, Turn
from nanouft.objective import Objective
from nanouft.objectives import find
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.printing import say
from nanouft.plumbing.process_state import isolated
from nanouft.rollout import credit_rollout, write_rollout_logps
from nanouft.run.flags import Parser, add_flags, fill, parse
from nanouft.run.reference import FrozenModels

SHOWN = ["sft", "ift", "ift --variant released", "dpo"]


# ---- the push on each token ----------------------------------------------------------------------
def token_pushes(objective: Objective, row: Row, model: GPT, tok: Tokenizer,
                 reference: GPT | None = None) -> list[tuple[str, list[str], list[float]]]:
    """[("answer", ["fig", ...], [1.02, ...]), ...]: which answer, its tokens, the push on each, of
    one row under one method. `row` has an `answer`, a `chosen` and a `rejected`. The reference is
    the model itself unless it is given."""
    models = FrozenModels(model if reference is None else reference, tok.pad)
    batch_of = sampled_batch if objective.on_policy else batch_of_row
    batch = batch_of(objective, row, model, models, tok)
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
        write_rollout_logps(batch, model, models.start, models.device, role)
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
            name, *flags = [text] if Path(text).is_file() else shlex.split(text) or [""]
        except ValueError as e:
            raise UserError(f"--show {text!r}: cannot be parsed ({e})") from None
        cls = find(name)
        parser = Parser(prog=name)
        add_flags(parser, cls, name)
        others = cls.first_models.stand_in(init) if cls.first_models else {}
        objective = fill(cls, others | vars(parser.parse_args(flags)))
        objective.check()
        yield text, objective


def end_probability(model: GPT, tok: Tokenizer, row: Row) -> float:
    """Probability of the last token of the answer after all others."""
    ids, _ = tok.chat(row.prompt, row.answer or ())
    x = torch.tensor([ids[:-1]])
    with torch.no_grad():
        return float(model.head(model(x))[0, -1].softmax(-1)[ids[-1]])


def like_dpo(strips: list, dpo: list) -> list[str]:
    """The methods but DPO with the same pushes. strips: (method, which answer, tokens, pushes)."""
    pushes: dict[str, list] = {}
    for method, _, tokens, weights in strips:
        pushes.setdefault(method, []).append((tokens, weights))
    return [method for method, own in pushes.items() if method.split()[0] != "dpo"
            and [x for x, _ in own] == [x for x, _ in dpo]
            and np.allclose([w for _, x in own for w in x], [w for _, x in dpo for w in x])]


# ---- the command ---------------------------------------------------------------------------------
@dataclass
class PushesFlags:
    init: str = "base"              # the model: base, a run or a model folder
    prompt: str | None = None       # the prompt [one of NanoWorld's list questions]
    answer: str | None = None       # the answer to train on [the right one]
    rejected: str | None = None     # the worse answer of a pair [--answer without its last word]
    show: list[str] | None = None   # methods with their flags [sft, ift, ift as released, dpo]
    out: str = "out/pushes.png"     # file of the picture


@isolated()
def main(argv: list[str] | None = None) -> int:
    cfg = parse(PushesFlags, argv, "python -m nanouft.pushes", __doc__)
    from nanouft.pictures import plots  # half a second that no lesson should wait for
    row = row_of(cfg)
    prompt = row.prompt[0].text
    model, tok = start_model(cfg.init)
    strips = [(text, which, tokens, weights)
              for text, objective in parse_methods(cfg.show or SHOWN, cfg.init)
              for which, tokens, weights in token_pushes(objective, row, model, tok)]
    say(f"Model:  {cfg.init}\nPrompt: {prompt}")
    say("The push of one training step, minus the gradient with respect to the log-prob:",
        "above 0 the token becomes more likely, below 0 less. SFT pushes each token by 1.",
        sep="\n")
    for text, which, tokens, weights in strips:
        answer = "answer" if which == "answer" else f"{which.removesuffix(' answer')} answer"
        say(f"\n{text}: the {answer}")
        for i in range(0, len(tokens), plots.SIDE_BY_SIDE):
            row_of_tokens = slice(i, i + plots.SIDE_BY_SIDE)
            say("".join(f"{plots.token_name(token):>11}" for token in tokens[row_of_tokens]))
            say("".join(f"{weight:>+11.2f}" for weight in weights[row_of_tokens]))
    dpo = [x[1:] for x in token_pushes(find("dpo")(), row, model, tok)]
    if alike := like_dpo(strips, dpo):
        say(f"\nPushes as dpo here: {', '.join(alike)}. The reference is the model itself, so\n"
            "each log-ratio is 0; the losses differ once the model has moved.")
    chance = 100 * end_probability(model, tok, row)
    note = (f"{prompt}\nOne step on this response (probability of EOS after it: {chance:.0f} %). "
            "Blue, + : more likely.  Orange, − : less likely.")
    Path(cfg.out).parent.mkdir(parents=True, exist_ok=True)
    say(f"\npicture: {plots.draw_pushes(strips, Path(cfg.out), note)}")
    return 0


def row_of(cfg: PushesFlags) -> Row:
    """The prompt and its answers, as given or from NanoWorld."""
    prompt = cfg.prompt or world.rows("test", "prompts", 9, 0, skills=("list",))[0].prompt[-1].text
    try:
        answer = cfg.answer or world.right_answer(prompt)
    except ValueError:
        raise UserError("--answer: is required, because the right response is known only for "
                        "NanoWorld's prompts") from None
    better = world.as_answer(answer)
    worse = world.as_answer(cfg.rejected or " ".join(answer.split()[:-1]) or "no")
    return Row((Turn("user", prompt),), better, better, worse)


if __name__ == "__main__":
    sys.exit(command(main))
