"""What models can do: exact scores on NanoWorld; with --data, figures on rows of your files.

    python -m nanouft.evaluate out/ift                          # 100 test items a family, about 6 s
    python -m nanouft.evaluate out/sft out/ift --data my.jsonl  # loss, preferences
    python -m nanouft.evaluate out/my-run --data my.jsonl --reward my.py:right  # reward of answers
    python -m nanouft.evaluate out/sft --best-of 16 --reward out/reward         # best of 16 samples
    python -m nanouft.evaluate out/sft --samples 16     # pass@k, majority vote; a picture

Files of eval/ explain the figures: scores.py, held_out.py (your data). Several models are compared
with the first one: the difference of the first figure and its 95 % bootstrap interval
over the rows that all of them can read.
"""
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nanouft import world
from nanouft.data.batches import encode
from nanouft.data.rows import Row, contents, demo_rows, each_prompt, pair_rows, score_rows
from nanouft.data.tokenizer import Tokenizer
from nanouft.errors import UserError, in_range, say, visible
from nanouft.eval.held_out import Measured, held_out_lines, measured
from nanouft.eval.scores import families, table
from nanouft.eval.stats import bootstrap
from nanouft.files.read import read
from nanouft.gpt import GPT
from nanouft.loop import Device
from nanouft.models.load import start_model
from nanouft.rewards import best_of, samples
from nanouft.rewards.scorer import Scorer, exact, figures, is_reward_model, scorer
from nanouft.rewards.scorer import score_rows as score_rows_by
from nanouft.run import config, devices, provenance
from nanouft.run.runs import run_about
from nanouft.run.words import choose
from nanouft.sampling import Answer, answer_rows, stops

Models = list[tuple[str, GPT, Tokenizer]]               # name, model, tokenizer


@dataclass
class Evaluate:
    init: str = "base"              # the first model; you can also name it in front of the flags
    data: list[str] | None = None   # your files: loss, preferences, grades
    split: str = "test"             # NanoWorld split: val to choose, test to report
    items: int = 100                # prompts per family
    best_of: int = 1                # answer with the best of this many samples, by --reward
    samples: int = 1                # so many samples to each prompt: pass@k, majority, best of k
    reward: str = ""                # exact, FILE.py:FUNCTION or a reward model's folder [exact]
    max_new: int = 44               # with --data and --reward: longest answer, in tokens
    seed: int = 0                   # which prompts
    device: str = "auto"            # auto | cpu | cuda | mps
    dtype: str = "auto"             # auto | fp32 | bf16 | fp16
    threads: int | None = None      # CPU threads
    prompt_field: str | None = None     # field with the prompt, if it is not detected
    response_field: str | None = None   # field with the response, if it is not detected
    grades: str = ""                # worst and best grade of your data, such as 1:5 [of each file]
    strict: bool = False            # stop at the first row of your data that is not understood

    def check(self, given: set[str]) -> None:
        choose("--split", self.split, ("val", "test"))
        in_range(self, "items", low=1, high=10_000)
        in_range(self, "seed")
        in_range(self, "max_new", low=1)
        if "max_new" in given and not (self.data and self.reward):
            raise UserError("--max-new is the longest answer to your own prompts; "
                            "give --data and --reward")
        many = self.best_of > 1 or self.samples > 1
        config.refuse_idle(self.data, given, {"split", "items"} if many else
                           {"split", "items", "seed"})
        in_range(self, "samples", low=1, high=best_of.MOST)
        best_of.check(self.best_of, self.reward, self.data or self.samples > 1)
        self.check_samples()
        if self.best_of > 1 and self.data and not self.reward:
            raise UserError("--best-of with --data needs a reward for such answers: --reward")

    def check_samples(self) -> None:
        """UserError where nothing says which of the samples are right."""
        if self.samples == 1:
            return
        if self.best_of > 1:
            raise UserError("--samples has figures of its own; leave --best-of out (best of k is "
                            "among them)")
        if self.data and (not self.reward or is_reward_model(self.reward)):
            raise UserError("--samples with --data needs a function that says what is right (1, or "
                            "true): --reward my.py:right. A reward model does not say it")


def main(argv=None) -> int:
    cfg, given, first = config.parse_list(
        Evaluate, argv, "python -m nanouft.evaluate", __doc__, "models",
        "'base', run folders, model folders, hub:owner/name")
    cfg.check(given)
    names = ([cfg.init] if "init" in given or not first else []) + first
    device = devices.pick(cfg.device, cfg.dtype, cfg.threads)
    models = [(name, *start_model(name)) for name in names]
    for _, model, _ in models:
        model.to(device.name).eval()
    if cfg.data:
        on_data(models, cfg, device)
        return 0
    if cfg.samples > 1:
        rows = world.rows(cfg.split, "prompts", cfg.items * len(world.FAMILIES), cfg.seed)
        for name, model, tok in models:
            by_reward = scorer(cfg.reward, device.name) if cfg.reward else None
            on_samples(name, model, tok, rows, exact, by_reward, cfg)
        return 0
    found = [on_world(*model, cfg, device) for model in models]
    if len(found) > 1:
        show("all prompts", names, found)
    return 0


def show(what: str, names: list[str], found: list[Measured]) -> None:
    """Print the figures of each model and how far it is from the first one. The counts of the first
    divide all sums: so nats are compared even if tokenizers cut answers differently."""
    (_, first, counts), wide = found[0], max(map(len, names))
    for i, (name, (now, sums, _)) in enumerate(zip(names, found)):
        line = f"{what:<15}" + (f"{name:<{wide}}  " if len(names) > 1 else "")
        line += held_out_lines(now)
        if i:
            low, high = bootstrap(sums - first, counts)
            gap = (sums - first).sum() / counts.sum()
            line += f"   minus {names[0]}: {gap:+.3f} [{low:+.3f}, {high:+.3f}]"
        say(line)


# ---- NanoWorld -----------------------------------------------------------------------------------
def on_world(name: str, model: GPT, tok: Tokenizer, cfg: Evaluate, device: Device) -> Measured:
    """Print the table of scores, with greedy answers beside those of --best-of. Returns the score
    of each answer."""
    judge = scorer(cfg.reward or "exact", device.name)         # a wrong --reward is told at once
    before, items = families(model, tok, device, cfg.split, cfg.items, cfg.seed)
    after = None
    if cfg.best_of > 1:
        def best(rows: list[Row]) -> list[Answer]:
            return best_of.best_answers(model, tok, rows, cfg.best_of, judge, cfg.seed)
        after, items = families(model, tok, device, cfg.split, cfg.items, cfg.seed, best)
    say(f"{name}: scores in percent on {cfg.items} {cfg.split} prompts a family; "
        "strict = fully right and stops; end = answers that stop")
    if after:
        say(f"before: greedy answers; after: the best of {cfg.best_of} samples by "
            f"{cfg.reward or 'the exact score (an upper bound)'}; "
            f"KL to the model at most {best_of.kl_bound(cfg.best_of):.2f} nats per answer")
    say(other_data(name), end="")
    table(before, after)
    scores = np.array([item.score for item in items])
    low, high = bootstrap(scores)
    mean = {"score": scores.mean(), "low": low, "high": high, "rows": len(scores)}
    return mean, scores, np.ones(len(scores))


def on_samples(name: str, model: GPT, tok: Tokenizer, rows: list[Row], truth: Scorer,
               by_reward: Scorer | None, cfg: Evaluate) -> None:
    """Print what more samples bring, and draw it. Right is what stops and scores at least 1."""
    n, shape = cfg.samples, (len(rows), cfg.samples)
    asked = [row for row in rows for _ in range(n)]
    answers = answer_rows(model, tok, asked, cfg.max_new, temperature=1.0, seed=cfg.seed)
    texts = [tok.decode(a.ids).strip() for a in answers]
    ended = np.array([stops(a, tok) for a in answers])
    right = (ended & (score_rows_by(truth, asked, texts) >= 1)).reshape(shape)
    likes = score_rows_by(by_reward, asked, texts).reshape(shape) if by_reward else None
    grouped = [texts[i:i + n] for i in range(0, len(texts), n)]
    found = samples.figures(grouped, right, likes)
    by = f"; best of k by {cfg.reward}" if by_reward else ""
    say(f"{name}: {len(rows):,} prompts, {n} samples each at temperature 1; percent of "
        f"the prompts that are answered right (and the answer stops){by}")
    say("\n".join(samples.lines(found)))
    place = Path("out", f"samples-{Path(name).name}.png")
    say(f"picture: {samples.picture(found, visible(name), place)}")


def other_data(init: str) -> str:
    """A note for a model that was trained on something else."""
    run = run_about(init)
    about = run.get("config", {})
    if init == "base" or run and not (about.get("data") or about.get("corpus")):
        return ""
    return (f"note: {init} was not trained on NanoWorld, so these scores mean little; pass "
            "--data\n")


# ---- files that a user brings --------------------------------------------------------------------
def on_data(models: Models, cfg: Evaluate, device: Device) -> None:
    """Print the figures of the user's rows, and what answers to their prompts earn."""
    names = [name for name, _, _ in models]
    score = scorer(cfg.reward, device.name) if cfg.reward else None
    rows, report = read(cfg.data or [], cfg.prompt_field, cfg.response_field, bool(score),
                        cfg.strict, cfg.grades, cfg.reward)
    say(*report, sep="\n")
    rows = not_trained_on(rows, names)
    if score and cfg.samples > 1:
        for name, model, tok in models:
            on_samples(name, model, tok, each_prompt(rows), score, None, cfg)
        return
    reasons = on_answers(models, rows, device)
    if score:
        for n in sorted({1, cfg.best_of}):
            found = [rewards_of(model, tok, rows, score, n, cfg) for _, model, tok in models]
            show("greedy answers" if n == 1 else f"best of {n}", names, found)
    elif len(reasons) == len(KINDS):
        raise UserError(f"nothing to evaluate on: {contents(rows)}; "
                        "demonstrations, pairs, labels or scores are needed")


def rewards_of(model: GPT, tok: Tokenizer, rows: list[Row], score: Scorer, n: int,
               cfg: Evaluate) -> Measured:
    """The rewards of greedy answers, or of the best of n samples."""
    rewards, ends = best_of.rewarded(model, tok, rows, score, n, cfg.max_new, cfg.seed)
    return figures(rewards, ends), rewards, np.ones(len(rewards))


def not_trained_on(rows: list[Row], names: list[str]) -> list[Row]:
    """The rows whose question no model was trained on, by trained_on.json in their folders; all, if
    none is left. Says so."""
    known = {name: provenance.trained_on(name) for name in names}
    left = provenance.unseen(rows, set().union(*known.values()))
    if many := len(rows) - len(left):
        whose = [name for name in known if len(provenance.unseen(rows, known[name])) < len(rows)]
        say(f"{many:,} of these {len(rows):,} rows were trained on ({', '.join(whose)}); "
            + (f"scored are the {len(left):,} others" if left else
               "they are scored: these are no held-out figures"))
    for name in known:
        if not known[name] and run_about(name).get("config", {}).get("data"):
            say(f"note: {name} does not tell which rows it was trained on")
    return left or rows


KINDS = (("demonstrations", demo_rows), ("pairs", pair_rows), ("graded", score_rows))


def on_answers(models: Models, rows: list[Row], device: Device) -> list[str]:
    """Print the figures of demonstrations, pairs and graded answers, on the rows that all models
    can read. Returns why kinds are missing."""
    names = [name for name, _, _ in models]
    missing, n_ctx = [], min(model.cfg.n_ctx for _, model, _ in models)
    for kind, rows_of in KINDS:
        try:
            wanted = rows_of(rows, None)
        except UserError as e:
            missing.append(str(e))
            continue
        if kind == "graded" and len({row.score for row in wanted}) == 1:
            missing.append("all answers have the same grade")
            continue
        encoded = [encode(wanted, tok, n_ctx) for _, _, tok in models]
        shared = set.intersection(*({id(e.row) for e in each} for each, _ in encoded))
        if not shared:
            raise UserError(f"no row of the {kind} can be read by all of these models; "
                            "evaluate them one by one")
        show(kind, names, [
            measured(model, [e for e in each if id(e.row) in shared], tok.pad, device)
            for (_, model, tok), (each, _) in zip(models, encoded)])
        remarks = dict.fromkeys(line for _, cut in encoded for line in cut.lines(n_ctx))
        say("".join(line + "\n" for line in remarks), end="")
    return missing


if __name__ == "__main__":
    sys.exit(config.run(main))
