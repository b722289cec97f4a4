"""How hard does a method push each token of one answer, and which way?

    python -m nanouft.ledger --init out/sft             # SFT, IFT, IFT as released, DPO
    python -m nanouft.ledger --show sft "ift --lam 0.5" kto grpo
    python -m nanouft.ledger --prompt "..." --answer "..." --rejected "..."
    python -m nanouft.ledger --end --init FOLDER --data my.jsonl    # does it stop?

The push on token t is -dL/dlogp_t, by autograd through the pure loss: + makes the token likelier,
- less likely. It is shown times the response tokens of the batch (of a pair: of the chosen answer),
so SFT's push is +1 on every token. --end asks about the end tokens alone (run/ends.py).
"""
import dataclasses
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from nanouft import world
from nanouft.data.batches import Encoded, collate, encode
from nanouft.data.rows import LeftOut, Row, read
from nanouft.data.selection import demo_rows, report_use, score_rows
from nanouft.disk import read_json
from nanouft.errors import UserError, command, counted, flag, say
from nanouft.gpt import GPT
from nanouft.loop import Device
from nanouft.models.folders import start_model
from nanouft.models.tokenizer import Tokenizer, Turn
from nanouft.objective import Batch, Objective
from nanouft.objectives.own import find
from nanouft.pictures import plots
from nanouft.run import ends
from nanouft.run.device import choose_device
from nanouft.run.flags import Parser, add_flags, fill, parse
from nanouft.run.reference import Models
from nanouft.run.sampling import credited, measure_rollout

SHOWN = ["sft", "ift", "ift --variant released", "dpo"]
CPU = Device("cpu", "fp32")


# ---- the pushes ----------------------------------------------------------------------------------
def entries(objective: Objective, row: Row, model: GPT, tok: Tokenizer, device: Device = CPU,
            reference: GPT | None = None) -> list[tuple[str, list[str], list[float]]]:
    """[(which answer, its tokens, the push on each)] of one row under one method. `row` has an
    `answer`, a `chosen` and a `rejected`. The reference is the model itself unless it is given."""
    models = Models(model if reference is None else reference, tok.pad, device)
    graded = bool({"labels", "scores", "prompts"} & set(objective.kinds()))
    shown = 2 if graded else 1                  # a good and a bad answer, or one row
    if objective.on_policy:
        answers, _ = encode(score_rows(judged(row)[:2]), tok, model.cfg.n_ctx)
        objective = dataclasses.replace(objective, **{"samples": 2})
        batch = as_if_sampled(objective, answers, model, models)
        graded = "answer" in batch.seqs         # or the method made a pair of them
        shown = batch.n
    else:
        rows = objective.choose(judged(row) if graded else [row])
        encoded, _ = encode(rows, tok, model.cfg.n_ctx)
        batch = collate(models.prepare(encoded, objective), range(shown), tok.pad)
    batch = batch.to(device.name)
    objective.forward(model, batch)
    n = int(next(iter(batch.seqs.values())).mask[:shown].sum())     # one scale for all sides
    out = []
    for role, weights in pushes(objective, batch).items():
        s = batch.seqs[role]
        for i, label in enumerate(("good answer", "bad answer") if graded else (role,)):
            on = s.mask[i] > 0
            tokens = [tok.decode([token]) for token in s.targets[i][on].tolist()]
            out.append((label, tokens, (weights[i][on] * n).tolist()))
    return out


def pushes(objective: Objective, batch: Batch) -> dict[str, torch.Tensor]:
    """{role: (B,T) -dL/dlogp}: how hard the loss pushes each token, and which way.
    forward() must have written logp, which is first detached from the network. Roles that the loss
    reads without training on them (KTO's mismatch) are left out."""
    for s in batch.seqs.values():
        s.logp = s.logp.detach().requires_grad_(True)
    loss, _ = objective.loss(batch)
    grads = torch.autograd.grad(loss, [s.logp for s in batch.seqs.values()], allow_unused=True)
    return {role: -g for role, g in zip(batch.seqs, grads) if g is not None}


def as_if_sampled(objective: Objective, answers: list[Encoded], model: GPT,
                  models: Models) -> Batch:
    """A good and a bad answer as if `model` had just sampled both, with the rewards 1 and 0."""
    reward = torch.tensor([1.0, 0.0])
    batch = collate(answers, range(2), models.pad)
    batch.per_row = {"reward": reward, "score": reward, "ended": torch.ones(2)}
    measure_rollout(batch, model, models.start, models.device)
    return credited(batch, objective)[0]


def judged(row: Row) -> list[Row]:
    """A pair as two graded answers, and a third one to another prompt, which KTO needs."""
    return [Row(row.prompt, row.chosen, score=1.0, label=True),
            Row(row.prompt, row.rejected, score=0.0, label=False),
            Row((Turn("user", "Say no."),), world.as_answer("No."), score=0.0, label=False)]


def views(shown: list[str], init: str = "base") -> Iterator[tuple[str, Objective]]:
    """(the text as given, the method with its settings); flags are read as train reads them. Where
    a method needs other models, the model of --init stands in for them, so PoFT's weight is 1/2."""
    for text in shown:
        name, *flags = shlex.split(text) or [""]
        cls = find(name)
        parser = Parser(prog=name)
        add_flags(parser, cls, name)
        others = {cls.first.field: [init] * len(cls.first.runs)} if cls.first else {}
        objective = fill(cls, others | vars(parser.parse_args(flags)))
        objective.check()
        yield text, objective


# ---- the command ---------------------------------------------------------------------------------
@dataclass
class Ledger:
    init: str = "base"              # the model: base, a run folder or a model folder
    prompt: str | None = None       # the prompt [a NanoWorld list]
    answer: str | None = None       # the answer that is trained on [the right one]
    rejected: str | None = None     # the worse answer of a pair [the answer without its last word]
    show: list[str] | None = None   # methods with their flags [sft, ift, ift as released, dpo]
    out: str = "out/pushes.png"     # the file of the picture
    end: bool = False               # ask instead whether the model stops, and whether rows teach it
    data: list[str] | None = None   # with --end, your files [held-out prompts of NanoWorld]
    device: str = "cpu"             # auto | cpu | cuda | mps

    def check(self) -> None:
        """UserError for flags that would not be read."""
        ours = ("prompt", "answer", "rejected", "show") if self.end else ("data",)
        for name in ours:
            if getattr(self, name):
                raise UserError(f"{flag(name)} is {'not read with' if self.end else 'for'} --end")


def row_of(cfg: Ledger) -> Row:
    """The prompt and its answers, as given or from NanoWorld."""
    prompt = cfg.prompt or world.rows("test", "prompts", 9, 0, skills=("list",))[0].prompt[-1].text
    try:
        answer = cfg.answer or world.right_answer(prompt)
    except ValueError:
        raise UserError("--answer is needed: it is known for NanoWorld's prompts alone") from None
    better = world.as_answer(answer)
    worse = world.as_answer(cfg.rejected or " ".join(answer.split()[:-1]) or "no")
    return Row((Turn("user", prompt),), better, better, worse)


def finding(strips: list[plots.Strip]) -> str:
    """The title: which methods push the last token of the right answer least and most."""
    last = strips[0][2][-1]
    ends = {plots.called(method): weights[-1] for method, which, _, weights in strips
            if which in ("answer", "chosen", "good answer")}
    low, high = min(ends, key=ends.__getitem__), max(ends, key=ends.__getitem__)
    way = "down" if ends[low] < 0 else "up"
    return f"{low} pushes {last} {way} ({signed(ends[low])}), {high} up ({signed(ends[high])})"


def signed(push: float) -> str:
    """ "+1.00", "−0.90", with the minus of print."""
    return f"{push:+.2f}".replace("-", "−")


def chance_to_end(model: GPT, tok: Tokenizer, row: Row) -> float:
    """How likely the last token of the answer is after all others."""
    ids, _ = tok.chat(row.prompt, row.answer or ())
    x = torch.tensor([ids[:-1]], device=model.wte.weight.device)
    with torch.no_grad():
        return float(model(x)[0, -1].softmax(-1)[ids[-1]])


def what_is_read(init: str) -> str:
    """The model of --init in a line, because a folder may hold another run than one remembers:
    "out/ift: ift, 1 step"."""
    if init == "base":
        return "base: the shipped base"
    file = Path(init) / "run.json"
    run = read_json(file, objective=str, steps=int) if file.is_file() else {}
    if "objective" not in run or "steps" not in run:
        return f"{init}: a model folder"
    return f"{init}: {run['objective']}, {counted(run['steps'], 'steps')}"


def show_ends(cfg: Ledger, device: Device) -> None:
    """--end: do the rows teach a model to stop, and does this one know how?"""
    left_out: LeftOut = []
    if cfg.data:
        rows, left_out = read(cfg.data, ["demos"])
    else:
        rows = world.rows("val", "prompts", ends.MEASURED, 0)
    model, tok = start_model(cfg.init)
    model.to(device.name).eval()
    say(what_is_read(cfg.init))
    encoded, report = encode(demo_rows(rows), tok, model.cfg.n_ctx)
    if cfg.data:
        used = {e.row.where for e in encoded}
        say(report_use({"with an answer": (rows, used)}, left_out, report.why, ["demos"]))
    say(*report.lines(model.cfg.n_ctx), ends.measure_ends(model, tok, encoded, device).text(),
        sep="\n")


def main(argv=None) -> int:
    cfg = parse(Ledger, argv, "python -m nanouft.ledger", __doc__)
    cfg.check()
    device = choose_device(cfg.device, "fp32")
    if cfg.end:
        show_ends(cfg, device)
        return 0
    row = row_of(cfg)
    prompt = row.prompt[0].text
    model, tok = start_model(cfg.init)
    model.to(device.name)
    say(what_is_read(cfg.init))
    strips = [(text, which, tokens, weights)
              for text, objective in views(cfg.show or SHOWN, cfg.init)
              for which, tokens, weights in entries(objective, row, model, tok, device)]
    say(prompt, "one step: + makes a token likelier, - less likely; SFT pushes each token by 1",
        sep="\n")
    for text, which, tokens, weights in strips:
        say(f"\n{text}: {which}")
        for i in range(0, len(tokens), plots.SIDE_BY_SIDE):
            row_of_tokens = slice(i, i + plots.SIDE_BY_SIDE)
            say("".join(f"{plots.token_name(token):>11}" for token in tokens[row_of_tokens]))
            say("".join(f"{weight:>+11.2f}" for weight in weights[row_of_tokens]))
    ends = chance_to_end(model, tok, row)
    note = (f"{prompt}\nOne step on this answer (chance to end after it: {100 * ends:.0f} %). "
            "Blue, + : more likely.  Orange, − : less likely.")
    Path(cfg.out).parent.mkdir(parents=True, exist_ok=True)
    say(f"\npicture: {plots.pushes(strips, Path(cfg.out), finding(strips), note)}")
    return 0


if __name__ == "__main__":
    sys.exit(command(main))
