"""What models can do: exact scores on NanoWorld; with --data, losses and preferences on rows of a file.

    python -m nanouft.evaluate out/ift                          # 100 test items a family, about 6 s
    python -m nanouft.evaluate out/ift --probes                 # what a score does not show (eval/probes.py)
    python -m nanouft.evaluate out/sft out/ift --data my.jsonl      # loss, pair accuracy (eval/held_out.py)
    python -m nanouft.evaluate out/my-run --data my.jsonl --reward my.py:right      # what its answers earn
    python -m nanouft.evaluate out/sft --best-of 16 --reward out/reward             # the best of 16, by a reward

eval/scores.py says what `score` and `strict` are, and what the intervals mean. Several models are compared with the
first one: the difference of the first figure and its 95 % bootstrap interval over the rows that all share.
"""
import os
import sys
from dataclasses import dataclass

import numpy as np

from nanouft.data.batches import encode
from nanouft.data.rows import Row, contents, demo_rows, pair_rows, score_rows
from nanouft.data.tokenizer import Tokenizer
from nanouft.errors import UserError, choose, in_range, visible
from nanouft.eval.held_out import Measured, held_out_lines, measured
from nanouft.eval.probes import lines, probe
from nanouft.eval.scores import families, table
from nanouft.eval.stats import bootstrap
from nanouft.files.containers import sources
from nanouft.files.read import read
from nanouft.gpt import GPT
from nanouft.loop import Device
from nanouft.models.load import start_model
from nanouft.rewards import best_of
from nanouft.rewards.scorer import figures, scorer
from nanouft.run import config, devices
from nanouft.run.runs import run_about, run_settings

Models = list[tuple[str, GPT, Tokenizer]]               # name, model, tokenizer


@dataclass
class Evaluate:
    init: str = "base"              # the first model; its name in front of the flags says the same
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
        config.refuse_idle(self.data, given, {"split", "items", *({"seed"} if self.best_of == 1 else ())})
        best_of.check(self.best_of, self.reward, self.data)
        if self.best_of > 1 and self.data and not self.reward:
            raise UserError("--best-of with --data needs a reward that knows such answers: --reward")
        if self.best_of > 1 and self.probes:
            raise UserError("--best-of chooses among NanoWorld answers; it changes nothing with --probes")


def main(argv=None) -> int:
    cfg, given, first = config.parse_list(Evaluate, argv, "python -m nanouft.evaluate", __doc__, "models",
                                          "'base', run folders, model folders, hub:owner/name")
    cfg.check(given)
    names = [*[cfg.init] * ("init" in given or not first), *first]
    if model := next((path for path in cfg.data or [] if os.path.isfile(os.path.join(path, "config.json"))), None):
        raise UserError(f"--data {model}: is a model; put models in front of --data")
    device = devices.pick(cfg.device, cfg.dtype, cfg.threads)
    models = [(name, *start_model(name)) for name in names]
    for _, model, _ in models:
        model.to(device.name).eval()
    if cfg.data:
        score = scorer(cfg.reward, device.name) if cfg.reward else None
        rows, report = read(cfg.data, cfg.prompt_field, cfg.response_field, bool(score), cfg.strict, cfg.grades,
                            cfg.reward)
        print(*report, sep="\n")
        rows = not_trained_on(rows, names)
        on_data(models, rows, device, earns=bool(score))
        for n in sorted({1, cfg.best_of}) if score else ():
            found = [best_of.rewarded(model, tok, rows, score, n, cfg.max_new, cfg.seed) for _, model, tok in models]
            show("greedy answers" if n == 1 else f"best of {n}", names,
                 [(figures(*x), x[0], np.ones(len(x[0]))) for x in found])
    else:
        found = [on_world(*model, cfg, device) for model in models]
        if len(found) > 1:
            show("all prompts", names, found)
    return 0


def show(what: str, names: list[str], found: list[Measured]) -> None:
    """Print the figures of each model, and how far it is from the first one, whose counts divide all sums: where
    tokenizers cut answers into other tokens, nats are compared all the same."""
    (_, first, counts), wide = found[0], max(map(len, names))
    for i, (name, (now, sums, _)) in enumerate(zip(names, found)):
        line = f"{what:<15}" + (f"{name:<{wide}}  " if len(names) > 1 else "") + held_out_lines(now)
        if i:
            low, high = bootstrap(sums - first, counts)
            gap = (sums - first).sum() / counts.sum()
            line += f"   minus {names[0]}: {gap:+.3f} [{low:+.3f}, {high:+.3f}]"
        print(visible(line))


# ---- NanoWorld -------------------------------------------------------------------------------------------------------
def on_world(name: str, model: GPT, tok: Tokenizer, cfg: Evaluate, device: Device) -> Measured:
    """Print the table of scores; with --best-of, greedy answers beside them; with --probes, the probes. Returns the
    score of each answer."""
    def scored(answer=None) -> tuple:
        return families(model, tok, device, cfg.split, cfg.items, cfg.seed, answer)

    def best(rows: list[Row]):
        return best_of.best_answers(model, tok, rows, cfg.best_of, judge, cfg.seed)

    judge = scorer(cfg.reward or "exact", device.name) if cfg.best_of > 1 else None
    columns = [scored(), scored(best)] if judge else [scored()]
    print(f"{name}: scores in percent on {cfg.items} {cfg.split} prompts a family; strict = fully right and stops; "
          "end = answers that stop")
    if judge:
        print(f"before: greedy answers; after: the best of {cfg.best_of} samples by "
              f"{cfg.reward or 'the exact score (an upper bound)'}; "
              f"KL to the model at most {best_of.kl_bound(cfg.best_of):.2f} nats per answer")
    print(other_data(name), end="")
    table(*(found for found, _ in columns))
    if cfg.probes:
        base, shipped = start_model("base")
        if base.cfg != model.cfg or shipped.name != tok.name:
            raise UserError("--probes compare with the shipped base; this model has another shape or tokenizer")
        values = probe(model, base.to(device.name).eval(), tok, cfg.split, min(cfg.items, 30), cfg.seed)
        print("\n" + "\n".join(lines(values)))
    scores = np.array([item.score for item in columns[-1][1]])
    low, high = bootstrap(scores)
    return {"score": scores.mean(), "low": low, "high": high, "rows": len(scores)}, scores, np.ones(len(scores))


def other_data(init: str) -> str:
    """A note for a model that has learnt from something else: of NanoWorld it knows little or nothing."""
    about = run_settings(init)
    if init == "base" or run_about(init) and not (about.get("data") or about.get("corpus")):
        return ""
    return visible(f"note: {init} has learnt from other text than NanoWorld, whose questions stand here; for its own "
                   "figures give --data\n")


# ---- files that a user brings ----------------------------------------------------------------------------------------
def not_trained_on(rows: list[Row], names: list[str]) -> list[Row]:
    """The rows that no model was trained on, as run.json tells; all of them, where none is left. Says so."""
    left = rows
    for name in names:
        files = {os.path.abspath(file) for given in run_settings(name).get("data") or () for file in sources(given)}
        held = {place(where) for where in run_about(name).get("held_out_rows", ())}
        left = [row for row in left if place(row.where)[0] not in files or place(row.where) in held]
    if many := len(rows) - len(left):
        print(f"{many:,} of these {len(rows):,} rows were trained on ({', '.join(names)}); " +
              (f"scored are the {len(left):,} others" if left else "they are scored: these are no held-out figures"))
    return left or rows


def place(where: str) -> tuple[str, str]:
    """(file, line) of a row, wherever one stands when it is named."""
    file, _, line = where.rpartition(", ")
    return os.path.abspath(file), line


def on_data(models: Models, rows: list[Row], device: Device, earns: bool = False) -> None:
    """Print the figures of the user's demonstrations, pairs and graded answers, on the rows that all models can read.
    There must be some, or a reward (`earns`) of which more is said elsewhere."""
    reasons, n_ctx = [], min(model.cfg.n_ctx for _, model, _ in models)
    for kind, rows_of in (("demonstrations", demo_rows), ("pairs", pair_rows), ("graded", score_rows)):
        try:
            examples = rows_of(rows, None)
        except UserError as e:
            reasons.append(str(e))
            continue
        if kind == "graded" and len({e.score for e in examples}) == 1:
            reasons.append("all answers have the same grade")
            continue
        encoded = [encode(examples, tok, n_ctx) for _, _, tok in models]
        shared = set.intersection(*({id(e.row) for e in each} for each, _ in encoded))
        if not shared:
            raise UserError(f"no row of the {kind} can be read by all of these models; evaluate them one by one")
        show(kind, [name for name, _, _ in models],
             [measured(model, [e for e in each if id(e.row) in shared], tok.pad, device)
              for (_, model, tok), (each, _) in zip(models, encoded)])
        print("".join(line + "\n" for line in dict.fromkeys(x for _, cut in encoded for x in cut.lines(n_ctx))), end="")
    if len(reasons) == 3 and not earns:
        raise UserError(f"nothing to evaluate on: {contents(rows)}; "
                        "demonstrations, pairs, labels or scores are needed")


if __name__ == "__main__":
    sys.exit(config.run(main))
