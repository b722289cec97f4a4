"""The weight ledger: how hard does an objective push each token of one answer, and which way?

    python -m nanouft.ledger --init base                       # every objective on the same answer -> out/ledger.png
    python -m nanouft.ledger --init out/sft --show sft ift "ift --variant released"
    python -m nanouft.ledger --init out/sft --prompt "..." --answer "..." --rejected "..."

Every method is (which states it trains on) x (a weight on the gradient of each token's log-prob) x (compared with
whom). The weight of token t is -dL/dlogp_t, by autograd through the pure loss: + makes the token likelier, - less
likely. It is shown times the number of tokens of the answer (for a pair: of the chosen one, on both sides), so that
token-mean SFT is +1 everywhere.
"""
import dataclasses
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from nanouft import world
from nanouft.data.batches import collate, encode
from nanouft.data.rows import Row, Turn, score_rows
from nanouft.errors import UserError, choose, visible
from nanouft.eval import plots
from nanouft.loop import Device
from nanouft.models.load import start_model
from nanouft.objective import pushes
from nanouft.objectives import OBJECTIVES
from nanouft.reference import Models, add_columns
from nanouft.run import config, devices
from nanouft.sampling import as_if_sampled

Strip = tuple[str, list[str], list[float]]          # label, tokens, weights


def entries(name: str, hp, row: Row, model, tok, device: Device, reference=None) -> list[Strip]:
    """[(role, tokens, weights x N)] of one row under one objective; the reference is the model itself unless given."""
    objective = OBJECTIVES[name]
    models = Models(reference or model, tok.pad, device, start_model)
    graded = set(objective.kinds(hp)) <= {"labels", "scores", "prompts"}
    shown = 2 if graded else 1                  # a good and a bad answer, or one row
    if objective.on_policy:                     # as if the model had just said both, and earned 1 and 0
        answers, _ = encode(score_rows(judged(row)[:2], hp), tok, model.cfg.n_ctx)
        hp = dataclasses.replace(hp, samples=2)
        batch = as_if_sampled(answers, [1.0, 0.0], objective, hp, model, tok.pad, device, reference,
                              models.of_columns(objective, hp))
        graded = "answer" in batch.seqs         # or a pair was made of them
        shown = batch.rows
    else:
        encoded, _ = encode(objective.rows(judged(row) if graded else [row], hp), tok, model.cfg.n_ctx)
        add_columns(encoded, objective.columns, models, hp)
        encoded = objective.arrange(encoded, 0) if objective.arrange else encoded
        batch = collate(encoded, range(shown), tok.pad)
    batch = batch.to(device.name)
    objective.forward(model, batch, hp)
    out: list[Strip] = []
    n = int(next(iter(batch.seqs.values())).mask[0].sum())               # one scale for all: both sides compare
    for role, w in pushes(objective, batch, hp).items():
        for i, label in enumerate(("good answer", "bad answer") if graded else (role,)):
            on = batch.seqs[role].mask[i] > 0
            pieces = [tok.decode([t]) for t in batch.seqs[role].targets[i][on].tolist()]
            out.append((label, pieces, (w[i][on] * n * shown).tolist()))
    return out


def judged(row: Row) -> list[Row]:
    """A pair as two graded answers; a third one to another prompt, since KTO wants somebody else's answer."""
    other = Row((Turn("user", "Say no."),), (Turn("assistant", "No."),), score=0.0, label=False)
    return [Row(row.prompt, row.chosen, score=1.0, label=True), Row(row.prompt, row.rejected, score=0.0, label=False),
            other]


@dataclass
class Ledger:
    init: str = "base"              # whose log-probs: 'base' or a run folder
    prompt: str | None = None       # the prompt [a NanoWorld list]
    answer: str | None = None       # the answer that is trained on [its reference]
    rejected: str | None = None     # the worse answer, for objectives over pairs [one that forgets the last word]
    show: list[str] | None = None   # these objectives only, with flags of theirs: "ift --lam 0.5" [all]
    out: str = "out/ledger.png"     # the picture
    threads: int | None = None      # CPU threads


def main(argv=None) -> int:
    cfg, _ = config.parse(Ledger, argv, "python -m nanouft.ledger", __doc__)
    picture = plots.picture_file("--out", cfg.out)
    prompt = cfg.prompt or world.rows("test", "prompts", 9, 0, skills=("list",))[0].prompt[-1].text
    try:
        answer = cfg.answer if cfg.answer is not None else world.reference(prompt)
    except ValueError:
        raise UserError("--answer is needed: only NanoWorld prompts have a reference answer")
    rejected = cfg.rejected if cfg.rejected is not None else " ".join(answer.split()[:-1]) or "no"
    if not answer.strip() or not rejected.strip():
        raise UserError("--answer and --rejected must not be empty")
    said = {key: (Turn("assistant", text),)
            for key, text in (("answer", answer), ("chosen", answer), ("rejected", rejected))}
    row, device = Row(prompt=(Turn("user", prompt),), **said), devices.pick("cpu", "fp32", cfg.threads)
    model, tok = start_model(cfg.init)
    print(visible(f"prompt  {prompt}") + "\n+ makes a token likelier, - less likely; token-mean SFT would be +1")
    shown = cfg.show or [*OBJECTIVES, "ift --variant released", "ift --variant eq21_mean1"]
    strips = [(f"{label}\n{role}", tokens, w) for label, name, hp in views(shown, cfg.init)
              for role, tokens, w in entries(name, hp, row, model, tok, device)]
    for label, tokens, w in strips:
        print("\n" + visible(" ".join(label.split())))
        print("  " + " ".join(f"{visible(t.strip()):>9}" for t in tokens) + "\n  " + " ".join(f"{x:>+9.2f}" for x in w))
    print(f"\npicture: {plots.ledger(strips, picture, prompt)}")
    return 0


def views(wanted: list[str], init: str = "base") -> Iterator[tuple[str, str, object]]:
    """(label, objective, hyper-parameters) of each strip: "ift --lam 0" is read as train would read it. Where other
    models are asked, --init itself is: PoFT then shows the weight 1/2 of a policy that equals them."""
    for text in wanted:
        name, *flags = shlex.split(text) or [""]
        objective = OBJECTIVES[choose("objective", name, OBJECTIVES)]
        parser = config.Parser()
        config.add_flags(parser, objective.hp, name)
        values = vars(parser.parse_args(flags))
        if first := objective.prerequisite:
            values.setdefault(first.setting, [init] * len(first.commands))
        hp, given = config.fill(objective.hp, values)
        if hasattr(hp, "check"):
            hp.check()
        yield text, name, hp


if __name__ == "__main__":
    sys.exit(config.run(main))
