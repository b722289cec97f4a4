"""The weight ledger: how hard does an objective push each token of one answer, and which way?

    python -m nanouft.ledger --init base                # every objective -> out/ledger.png
    python -m nanouft.ledger --init out/sft --show sft ift "ift --variant released"
    python -m nanouft.ledger --init out/sft --prompt "..." --answer "..." --rejected "..."

A method chooses the states it trains on, a weight on the gradient of each token's log-prob, and
what an answer is compared with. The weight of token t is -dL/dlogp_t, by autograd through the pure
loss: + makes the token likelier, - less likely. It is shown times the number of tokens of the batch
(of all its answers; for a pair: of the chosen one, on both sides): token-mean SFT is +1 everywhere.
"""
import dataclasses
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from nanouft import world
from nanouft.batches import collate, encode
from nanouft.errors import UserError, say
from nanouft.eval import plots
from nanouft.gpt import GPT
from nanouft.loop import Device
from nanouft.models.load import start_model
from nanouft.objective import pushes
from nanouft.objectives import OBJECTIVES
from nanouft.reference import Models, add_columns
from nanouft.rows import Row, Turn, score_rows
from nanouft.run import config, devices
from nanouft.run.words import choose
from nanouft.sampling import as_if_sampled
from nanouft.tokenizer import Tokenizer

Strip = tuple[str, list[str], list[float]]          # label, tokens, weights


def entries(name: str, hp: Any, row: Row, model: GPT, tok: Tokenizer, device: Device,
            reference: GPT | None = None) -> list[Strip]:
    """[(role, tokens, weights x N)] of one row under one objective. The reference is the model
    itself unless given."""
    objective = OBJECTIVES[name]
    models = Models(reference or model, tok.pad, device, start_model)
    graded = set(objective.kinds(hp)) <= {"labels", "scores", "prompts"}
    shown = 2 if graded else 1                  # a good and a bad answer, or one row
    if objective.on_policy:                     # as if the model had sampled both, rewarded 1 and 0
        answers, _ = encode(score_rows(judged(row)[:2], hp), tok, model.cfg.n_ctx)
        hp = dataclasses.replace(hp, samples=2)
        batch = as_if_sampled(answers, [1.0, 0.0], objective, hp, model, tok.pad, device,
                              reference, models.of_columns(objective, hp))
        graded = "answer" in batch.seqs         # or the method made a pair of them
        shown = batch.rows
    else:
        rows = objective.rows(judged(row) if graded else [row], hp)
        encoded, _ = encode(rows, tok, model.cfg.n_ctx)
        add_columns(encoded, objective.columns, models, hp)
        encoded = objective.arrange(encoded, 0) if objective.arrange else encoded
        batch = collate(encoded, range(shown), tok.pad)
    batch = batch.to(device.name)
    objective.forward(model, batch, hp)
    out: list[Strip] = []
    first = next(iter(batch.seqs.values()))
    n = int(first.mask[:shown].sum())                           # one scale, so that sides compare
    for role, weights in pushes(objective, batch, hp).items():
        s = batch.seqs[role]
        for i, label in enumerate(("good answer", "bad answer") if graded else (role,)):
            on = s.mask[i] > 0
            tokens = [tok.decode([t]) for t in s.targets[i][on].tolist()]
            out.append((label, tokens, (weights[i][on] * n).tolist()))
    return out


def judged(row: Row) -> list[Row]:
    """A pair as two graded answers, and a third one to another prompt, which KTO needs."""
    return [Row(row.prompt, row.chosen, score=1.0, label=True),
            Row(row.prompt, row.rejected, score=0.0, label=False),
            Row((Turn("user", "Say no."),), world.as_answer("No."), score=0.0, label=False)]


@dataclass
class Ledger:
    init: str = "base"              # the model: 'base' or a run folder
    prompt: str | None = None       # the prompt [a NanoWorld list]
    answer: str | None = None       # the answer that is trained on [the reference of the prompt]
    rejected: str | None = None     # the worse answer of a pair [the answer without its last word]
    show: list[str] | None = None   # these objectives only, with their flags: "ift --lam 0.5" [all]
    out: str = "out/ledger.png"     # the picture
    threads: int | None = None      # CPU threads


def row_of(cfg: Ledger) -> Row:
    """The prompt and its answers, as given or from NanoWorld."""
    default = world.rows("test", "prompts", 9, 0, skills=("list",))[0].prompt[-1].text
    prompt = cfg.prompt or default
    try:
        answer = cfg.answer if cfg.answer is not None else world.right_answer(prompt)
    except ValueError:
        raise UserError("--answer is needed: only NanoWorld prompts have a reference") from None
    rejected = cfg.rejected
    if rejected is None:
        rejected = " ".join(answer.split()[:-1]) or "no"
    if not answer.strip() or not rejected.strip():
        raise UserError("--answer and --rejected must not be empty")
    better = world.as_answer(answer)
    return Row((Turn("user", prompt),), better, better, world.as_answer(rejected))


def main(argv=None) -> int:
    cfg, _ = config.parse(Ledger, argv, "python -m nanouft.ledger", __doc__)
    picture = plots.picture_file("--out", cfg.out)
    row, device = row_of(cfg), devices.pick("cpu", "fp32", cfg.threads)
    prompt = row.prompt[0].text
    model, tok = start_model(cfg.init)
    say(f"prompt  {prompt}")
    say("+ makes a token likelier, - less likely; token-mean SFT would be +1")
    shown = cfg.show or [*OBJECTIVES, "ift --variant released", "ift --variant eq21_mean1"]
    strips = [(f"{label}\n{role}", tokens, weights)
              for label, name, hp in views(shown, cfg.init)
              for role, tokens, weights in entries(name, hp, row, model, tok, device)]
    for label, tokens, weights in strips:
        say("\n" + " ".join(label.split()))
        say("  " + " ".join(f"{t.strip():>9}" for t in tokens))
        say("  " + " ".join(f"{x:>+9.2f}" for x in weights))
    say(f"\npicture: {plots.ledger(strips, picture, prompt)}")
    return 0


def views(wanted: list[str], init: str = "base") -> Iterator[tuple[str, str, Any]]:
    """(label, objective, hyper-parameters) of each strip; flags are read as train reads them.
    Instead of other models --init itself is asked: so PoFT shows the weight 1/2, that of a policy
    that equals them."""
    for text in wanted:
        name, *flags = shlex.split(text) or [""]
        objective = OBJECTIVES[choose("objective", name, OBJECTIVES)]
        parser = config.Parser()
        config.add_flags(parser, objective.hp, name)
        values = vars(parser.parse_args(flags))
        if first := objective.prerequisite:
            values.setdefault(first.setting, [init] * len(first.commands))
        hp: Any
        hp, _ = config.fill(objective.hp, values)
        if hasattr(hp, "check"):
            hp.check()
        yield text, name, hp


if __name__ == "__main__":
    sys.exit(config.run(main))
