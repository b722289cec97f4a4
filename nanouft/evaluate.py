"""What a model can do: exact scores on NanoWorld; with --data, losses and preferences on all rows of a file.

    python -m nanouft.evaluate --init out/ift                       # 100 test items a family, about 6 s
    python -m nanouft.evaluate --init out/ift --probes              # what a score does not show (look/probes.py)
    python -m nanouft.evaluate --init out/my-run --data my.jsonl    # loss, pair accuracy (look/held_out.py)
    python -m nanouft.evaluate --init out/my-run --data my.jsonl --reward my.py:right       # what its answers earn
    python -m nanouft.evaluate --init out/sft --best-of 16 --reward out/reward      # the best of 16, by a reward

look/scores.py says what `score` and `strict` are, and what the intervals mean.
"""
import sys
from dataclasses import dataclass

from nanouft.data.batches import encode
from nanouft.data.read import read
from nanouft.data.rows import Row, contents, demo_rows, pair_rows, score_rows
from nanouft.data.tokenizer import Tokenizer
from nanouft.gpt import GPT
from nanouft.look.held_out import held_out, held_out_lines
from nanouft.look.probes import lines, probe
from nanouft.look.scores import families, table
from nanouft.models.load import start_model
from nanouft.rollout import best_of
from nanouft.rollout.scorer import scorer
from nanouft.rollout.voice import run_about
from nanouft.shell import config, devices
from nanouft.shell.devices import Device
from nanouft.shell.errors import UserError, flag, in_range
from nanouft.shell.text import choose, visible


@dataclass
class Evaluate:
    init: str = "base"              # 'base' or a run folder / model folder
    data: list[str] | None = None   # your files: nats per token of demonstrations, preferences of pairs and grades
    split: str = "test"             # NanoWorld split: val to choose, test to report
    items: int = 100                # prompts a family
    probes: bool = False            # also: own-prefix gap, recovery, diversity, KL to the base, corpus loss
    best_of: int = 1                # answer with the best of so many samples (at temperature 1) by --reward
    reward: str = ""                # of --best-of or --data: exact, FILE.py:FUNCTION or a reward model's folder [exact]
    max_new: int = 44               # with --data and --reward: longest answer, in tokens
    seed: int = 0                   # which prompts
    device: str = "auto"            # auto | cpu | cuda | mps
    dtype: str = "auto"             # auto | fp32 | bf16 | fp16
    threads: int | None = None      # CPU threads
    prompt_field: str | None = None     # name of the prompt in your data, where it is none of the usual
    response_field: str | None = None   # name of the response in your data
    grades: str = ""                # worst and best grade of your data, such as 1:5 [a file's least and largest]
    strict: bool = False            # stop at the first row of your data that is not understood

    def check(self, given: set[str]) -> None:
        choose("--split", self.split, ("val", "test"))
        in_range(self, "items", low=1, high=10_000)
        in_range(self, "seed")
        in_range(self, "max_new", low=1)
        if "max_new" in given and not (self.data and self.reward):
            raise UserError("--max-new is the longest answer to your own prompts; give --data and --reward")
        idle = {"split", "items"} if self.best_of > 1 else {"split", "items", "seed"}
        if self.data and (idle := sorted(given & idle)):
            raise UserError(f"--{idle[0]} belongs to NanoWorld; it changes nothing with --data")
        if not self.data and (idle := sorted(given & {"prompt_field", "response_field", "strict", "grades"})):
            raise UserError(f"{flag(idle[0])} is about your own file; give it with --data")
        best_of.check(self.best_of, self.reward, self.data)
        if self.best_of > 1 and self.data and not self.reward:
            raise UserError("--best-of with --data needs a reward that knows such answers: --reward")
        if self.best_of > 1 and self.probes:
            raise UserError("--best-of chooses among NanoWorld answers; it changes nothing with --probes")


def main(argv=None) -> int:
    cfg, given = config.parse(Evaluate, argv, "python -m nanouft.evaluate", __doc__)
    cfg.check(given)
    device = devices.pick(cfg.device, cfg.dtype, cfg.threads)
    model, tok = start_model(cfg.init)
    model.to(device.name).eval()
    if cfg.data:
        score = scorer(cfg.reward, device.name) if cfg.reward else None
        rows, report = read(cfg.data, cfg.prompt_field, cfg.response_field, bool(score), cfg.strict, cfg.grades,
                            cfg.reward)
        print(*report, sep="\n")
        on_data(model, tok, rows, device, earns=bool(score))
        for n in sorted({1, cfg.best_of}) if score else ():
            found = best_of.rewarded(model, tok, rows, score, n, cfg.max_new, cfg.seed)
            print(f"{'greedy answers' if n == 1 else f'best of {n}':<15}" + held_out_lines(found))
    else:
        on_world(model, tok, cfg, device)
    return 0


# ---- NanoWorld -------------------------------------------------------------------------------------------------------
def on_world(model: GPT, tok: Tokenizer, cfg: Evaluate, device: Device) -> None:
    """Print the table of scores; with --best-of, greedy answers beside them; with --probes, the probes."""
    def scored(answer=None) -> dict:
        return families(model, tok, device, cfg.split, cfg.items, cfg.seed, answer)[0]

    def best(rows: list[Row]):
        return best_of.best_answers(model, tok, rows, cfg.best_of, judge, cfg.seed)

    judge = scorer(cfg.reward or "exact", device.name) if cfg.best_of > 1 else None
    columns = [scored(), scored(best)] if judge else [scored()]
    print(f"{cfg.init}: scores in percent on {cfg.items} {cfg.split} prompts a family; strict = fully right and stops; "
          "end = answers that stop")
    if judge:
        print(f"before: greedy answers; after: the best of {cfg.best_of} samples by "
              f"{cfg.reward or 'the exact score (an upper bound)'}; "
              f"KL to the model at most {best_of.kl_bound(cfg.best_of):.2f} nats per answer")
    print(other_data(cfg.init), end="")
    table(*columns)
    if cfg.probes:
        base, shipped = start_model("base")
        if base.cfg != model.cfg or shipped.name != tok.name:
            raise UserError("--probes compare with the shipped base; this model has another shape or tokenizer")
        values = probe(model, base.to(device.name).eval(), tok, cfg.split, min(cfg.items, 30), cfg.seed)
        print("\n" + "\n".join(lines(values)))


def other_data(init: str) -> str:
    """A note for a model that has learnt from something else: of NanoWorld it knows little or nothing."""
    run = run_about(init)
    about = run.get("config") if isinstance(run.get("config"), dict) else {}
    if init == "base" or run and not (about.get("data") or about.get("corpus")):
        return ""
    return visible(f"note: {init} has learnt from other text than NanoWorld, whose questions stand here; for its own "
                   "figures give --data\n")


# ---- files that a user brings ----------------------------------------------------------------------------------------
def on_data(model: GPT, tok: Tokenizer, rows: list[Row], device: Device, earns: bool = False) -> None:
    """Print the held-out figures of the user's demonstrations, pairs and graded answers, as far as there are any. There
    must be some, or a reward (`earns`) of which more is said elsewhere."""
    reasons = []
    for name, rows_of in (("demonstrations", demo_rows), ("pairs", pair_rows), ("graded", score_rows)):
        try:
            examples = rows_of(rows, None)
        except UserError as e:
            reasons.append(str(e))
            continue
        if name == "graded" and len({e.score for e in examples}) == 1:
            reasons.append("all answers have the same grade")
            continue
        encoded, cut = encode(examples, tok, model.cfg.n_ctx)
        print(f"{name:<15}" + held_out_lines(held_out(model, encoded, tok.pad, device)))
        print("".join(line + "\n" for line in cut.lines(model.cfg.n_ctx)), end="")
    if len(reasons) == 3 and not earns:
        raise UserError(f"nothing to evaluate on: {contents(rows)}; "
                               "demonstrations, pairs, labels or scores are needed")


if __name__ == "__main__":
    sys.exit(config.run(main))
