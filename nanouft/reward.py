"""A reward model: preferences between two answers become one number for each answer.

    python -m nanouft.reward --out out/reward                           # NanoWorld pairs, 20 s
    python -m nanouft.reward --init out/sft --pairs samples --rows 400  # the better of two samples
    python -m nanouft.reward --data pairs.jsonl --init path/to/gpt2     # your pairs
    python -m nanouft.sample out/sft --best-of 16 --reward out/reward   # use it; or train --reward

Bradley and Terry (1952): answer w beats answer l with probability sigmoid(R_w - R_l):
    L = -log sigmoid(R_w - R_l) + centre (R_w + R_l)^2
    R: the reward of an answer
rewards/scorer.py shows what R is. Without --centre only differences are learnt: R + c fits as well
as R, with another c for each prompt.

The command prints the accuracy on held-out pairs and the model's own guess of it.
Simplified: no margins between ratings, one process, fp32; only a signal saves a step.
"""
import math
import shlex
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from nanouft import world
from nanouft.data.batches import Encoded, Plan, encode
from nanouft.data.rows import Row, holdout, pair_rows
from nanouft.data.tokenizer import Tokenizer
from nanouft.errors import UserError, in_range, say
from nanouft.eval.stats import bootstrap
from nanouft.files.read import read
from nanouft.gpt import GPT
from nanouft.loop import Device, Schedule, steps
from nanouft.models.load import start_model
from nanouft.objective import Batch, Columns, Objective, Seqs
from nanouft.rewards.scorer import RewardModel, exact, padded, rewards, save, sigmoid
from nanouft.run import checkpoints, command, config, devices, runs
from nanouft.run.log import Log
from nanouft.run.storage import write_json
from nanouft.sampling import answer_rows
from nanouft.seeds import pair_seeds


@dataclass
class Reward:
    init: str = "base"              # the model that it starts from; RLHF takes its SFT model
    data: list[str] | None = None   # your pairs [NanoWorld's]
    pairs: Literal["corruptions", "samples"] = "corruptions"    # right and wrong, or two samples
    sampler: str = ""               # the model that answers for --pairs samples [--init]
    rows: int = 1600                # NanoWorld pairs
    skills: str = "all"             # NanoWorld families: A, B, all, or names with commas
    steps: int | None = None        # optimizer steps [--epochs]
    epochs: float = 2.0             # passes over the pairs
    batch_size: int = 32            # pairs per step
    lr: float = 5e-4                # peak learning rate
    centre: float = 0.0             # weight of (r_w + r_l)^2, keeps rewards near 0; TRL: .01
    seed: int = 0                   # seed of the pairs and their order
    device: str = "auto"            # auto | cpu | cuda | mps
    threads: int | None = None      # CPU threads
    prompt_field: str | None = None     # field with the prompt, if it is not detected
    strict: bool = False            # stop at the first row of your data that is not understood
    out: str | None = None          # run folder [out/reward]
    resume: str | None = None       # go on with the interrupted run in this folder; no other flag

    def check(self, given: set[str]) -> None:
        in_range(self, "rows", "batch_size", low=1, high=100_000)
        in_range(self, "steps", low=1, high=1_000_000_000)
        in_range(self, "centre", "seed")
        in_range(self, "lr", above=True)
        in_range(self, "epochs", above=True, high=1_000_000)
        config.refuse_idle(self.data, given, {"rows", "pairs", "sampler", "skills"})
        if self.steps is not None and "epochs" in given:
            raise UserError("--steps and --epochs set the same thing; give one")
        if self.sampler and self.pairs != "samples":
            raise UserError("--sampler makes the answers of --pairs samples; "
                            "these pairs need none")


# ---- pairs ---------------------------------------------------------------------------------------
def sampled_pairs(model: GPT, tok: Tokenizer, split: str, n: int, seed: int,
                  skills=world.FAMILIES) -> list[Row]:
    """`n` NanoWorld pairs of the model's own answers: two samples per prompt at temperature 1; the
    one with the better exact score is chosen, equal ones make no pair. UserError if too few are
    left."""
    out: list[Row] = []
    rows = world.rows(split, "demos", 8 * n + 200, seed, skills=skills)
    for i in tqdm(range(0, len(rows), 256), desc="sampling pairs", leave=False, disable=n < 200):
        part = rows[i:i + 256]
        prompts = [row.prompt[-1].text for row in part]
        texts, scores = [], []
        for draw in pair_seeds(seed, i):
            answers = answer_rows(model, tok, part, temperature=1.0, seed=draw)
            texts.append([tok.decode(a.ids).strip() for a in answers])
            scores.append(exact(prompts, texts[-1]))
        for row, a, b, score_a, score_b in zip(part, *texts, *scores):
            if score_a == score_b or len(out) == n:
                continue
            better, worse = (a, b) if score_a > score_b else (b, a)
            out.append(replace(row, answer=None, chosen=world.as_answer(better),
                               rejected=world.as_answer(worse),
                               p=(1 + abs(score_a - score_b)) / 2))
        if len(out) == n:
            return out
    raise UserError(f"--pairs samples: only {len(out):,} of {n:,} pairs in {len(rows):,} prompts: "
                    "the sampler nearly always gives two answers of one score. Ask for fewer "
                    "--rows, or take another --sampler")


def find_pairs(cfg: Reward, device: Device) -> tuple[list[Row], list[Row]]:
    """(rows to train on, rows held out)."""
    if cfg.data:
        rows, found = read(cfg.data, cfg.prompt_field, strict=cfg.strict)
        say(*found, sep="\n")
        return holdout(rows)
    try:
        families, = world.skills_named(cfg.skills)
        world.check("train", "pairs", cfg.rows, 0.0, families)
    except ValueError as e:
        raise UserError(f"--skills {cfg.skills}: {e}") from None
    if cfg.pairs == "corruptions":
        return (world.rows("train", "pairs", cfg.rows, cfg.seed, skills=families),
                world.rows("val", "pairs", 400, 0, skills=families))
    model, tok = start_model(cfg.sampler or cfg.init)
    model.to(device.name).eval()
    return (sampled_pairs(model, tok, "train", cfg.rows, cfg.seed, families),
            sampled_pairs(model, tok, "val", 400, 0, families))


class PairBatches:
    """A source of steps: the chosen answers of the step, then the rejected ones, with prompts."""
    stride = 1
    stats: dict[str, float] = {}

    def __init__(self, pairs: list[Encoded], rows: int, steps: int, seed: int, pad: int):
        self.pairs, self.pad = pairs, pad
        self.plan = Plan([e.length for e in pairs], rows, steps, seed)

    def __call__(self, step: int) -> Batch:
        chosen, rejected = zip(*[ids_of(self.pairs[i]) for i in self.plan[step]])
        ids, last = padded([*chosen, *rejected], self.pad, "cpu")
        real = (torch.arange(ids.shape[1]) <= last[:, None]).float()
        answers = Seqs(ids, ids, real, real)                    # nothing is predicted
        return Batch({"answer": answers}, Columns(extra={"last": last}), rows=len(chosen),
                     tokens={"answer": ids.numel()})


def ids_of(e: Encoded) -> tuple[list[int], list[int]]:
    """(chosen, rejected) as token ids, prompt included."""
    return list(e.seqs["chosen"].ids), list(e.seqs["rejected"].ids)


# ---- training ------------------------------------------------------------------------------------
def bradley_terry(r_w: Tensor, r_l: Tensor, centre: float = 0.0) -> Tensor:
    """(B,) losses (arXiv:2009.01325). `centre` (TRL: center_rewards_coefficient) picks one of the
    many rewards that fit equally well."""
    return -F.logsigmoid(r_w - r_l) + centre * (r_w + r_l) ** 2


def right(margin: Tensor) -> Tensor:
    """1 where the better answer has the higher reward, 1/2 for a tie."""
    return 0.5 + 0.5 * margin.detach().sign()


def write_rewards(model: RewardModel, batch: Batch, hp: Reward) -> None:
    """Write the reward of each answer, read at its <|end|>."""
    batch.per_row.reward = model(batch.seqs["answer"].inputs, batch.per_row.extra["last"])


def loss(batch: Batch, hp: Reward) -> tuple[Tensor, dict]:
    r_w, r_l = batch.per_row.reward.chunk(2)
    metrics = {"accuracy": right(r_w - r_l).mean(), "margin": (r_w - r_l).detach().mean(),
               "reward": (r_w + r_l).detach().mean() / 2}
    return bradley_terry(r_w, r_l, hp.centre).mean(), metrics


BRADLEY_TERRY = Objective("Learning to Summarize from Human Feedback, arXiv:2009.01325",
                          data="pairs", hp=Reward, loss=loss, lr=Reward.lr, forward=write_rewards)


def schedule(peak: float, steps: int) -> Schedule:
    """Linear up over a tenth of the steps, times a cosine down to 0."""
    def rate(step: int) -> tuple[float, float]:
        up = min(1, 10 * (step + 1) / steps)
        return peak * up * (0.5 * (1 + math.cos(math.pi * step / steps))), up
    return rate


def fit(model: RewardModel, pairs: list[Encoded], cfg: Reward, total: int, pad: int,
        device: Device, folder: Path) -> None:
    """Train in place; one line of metrics.jsonl per step. A signal saves the step that it
    interrupts. UserError if the loss is not finite."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=cfg.lr, betas=(0.9, 0.95),
                                  weight_decay=0.0)
    start = checkpoints.load_step(folder, model, optimizer)["step"] if cfg.resume else 0
    log = Log(folder / "metrics.jsonl", start, device)
    source = PairBatches(pairs, cfg.batch_size, total, cfg.seed, pad)
    bar = tqdm(range(start, total), initial=start, total=total, desc="reward",
               mininterval=0.5 if sys.stderr.isatty() else 10)
    loop = steps(model, BRADLEY_TERRY, cfg, source, optimizer, bar, clip=1.0, device=device,
                 schedule=schedule(cfg.lr, total))
    with command.after_the_step(True) as signal:
        for step in loop:
            log.add(step, source.stats)
            if step.number % 10 == 0 or step.number == total:
                bar.set_postfix_str(log.flush(), refresh=False)
            if signal.asked:
                log.flush()
                checkpoints.save_step(folder, step.number, model, optimizer, {})
                break


# ---- how good is it? -----------------------------------------------------------------------------
def judge(model: RewardModel, held: list[Encoded], pad: int) -> dict:
    """The `quality` of its rewards on held-out pairs."""
    chosen, rejected = zip(*[ids_of(e) for e in held])
    r_w, r_l = rewards(model, [*chosen, *rejected], pad).reshape(2, -1)
    return quality(r_w - r_l, [e.row.family for e in held])


def quality(margin: np.ndarray, families: list[str]) -> dict:
    """(n,) r_w - r_l of pairs and the family of each: `accuracy` with its 95 % interval, `nll` (log
    2 = a coin), `confidence` (the accuracy that the model expects), accuracy per family."""
    grouped: dict[str, list[float]] = {}
    for family, m in zip(families, margin, strict=True):
        grouped.setdefault(family, []).append(m)
    return {**accuracy(margin), "nll": float(np.logaddexp(0, -margin).mean()),
            "confidence": float(sigmoid(np.abs(margin)).mean()), "margin": float(margin.mean()),
            "families": {f: accuracy(np.array(m)) for f, m in sorted(grouped.items()) if f}}


def accuracy(margin: np.ndarray) -> dict:
    won = right(torch.as_tensor(margin)).numpy()
    low, high = bootstrap(won)
    return {"accuracy": float(won.mean()), "low": low, "high": high, "pairs": len(won)}


def report(held: dict) -> None:
    say(f"held-out accuracy {100 * held['accuracy']:.1f} % "
        f"[{100 * held['low']:.1f}, {100 * held['high']:.1f}] of {held['pairs']} pairs "
        f"(a coin: 50); its own guess of that {100 * held['confidence']:.1f} %; "
        f"nll {held['nll']:.3f} (log 2 = .693)")
    for name, f in held["families"].items():
        say(f"  {name:<10} {100 * f['accuracy']:5.1f} % "
            f"[{100 * f['low']:3.0f}, {100 * f['high']:3.0f}]   {f['pairs']:>4} pairs")


def next_steps(cfg: Reward, folder: Path, found: dict) -> list[str]:
    """Best-of-n is suggested only if the interval of the accuracy lies above a coin. The first
    command shows whether its best of 16 is better than the greedy answer."""
    if found["low"] <= 0.5:
        return ["It is no better than a coin: the best of many by it is a rare answer, mostly a "
                "wrong one. Give more pairs, or --init a model that knows such answers."]
    flags = shlex.join([cfg.init, "--best-of", "16", "--reward", str(folder)])
    if cfg.data:
        return ["Others wrote the held-out pairs: read some answers of its model before you trust "
                "it. Next:", f"  python -m nanouft.sample {flags}"]
    return ["It orders held-out pairs; its best of 16 may still have a mistake that they do not "
            "show. Next:",
            f"  python -m nanouft.evaluate --split val {flags}      # does it help?",
            f"  python -m nanouft.sample {flags}"]


def main(argv=None) -> int:
    cfg, given = config.parse(Reward, argv, "python -m nanouft.reward", __doc__)
    if cfg.resume:
        cfg, given = runs.reopen(cfg.resume, "reward", Reward, given), set()
    cfg.check(given)
    started, device = time.time(), devices.pick(cfg.device, "fp32", cfg.threads)
    gpt, tok = start_model(cfg.init)
    train_rows, held_rows = find_pairs(cfg, device)
    room = gpt.cfg.n_ctx - 1                                    # <|end|> is read, too
    pairs, lost = encode(pair_rows(train_rows, None), tok, room)
    try:
        held, _ = encode(pair_rows(held_rows, None), tok, room)
    except UserError:
        raise UserError("no pair is left to hold out, so nobody could say how good the reward "
                        "model is; give pairs of at least two prompts") from None
    total = cfg.steps or max(1, round(cfg.epochs * len(pairs) / cfg.batch_size))
    about = {
        "command": "reward", "steps": total, "config": asdict(cfg), "tokenizer": tok.name,
        "torch": torch.__version__, "device": device.name, "threads": torch.get_num_threads(),
        "pairs": len(pairs), "held_out": len(held), "key": runs.fingerprint(gpt, pairs)}
    with runs.open_folder(cfg, about, "reward", "the pairs or the start model", device) as folder:
        say(f"{len(pairs):,} pairs, {total:,} steps of {cfg.batch_size}, lr {cfg.lr:g} "
            f"-> {folder}", *lost.lines(gpt.cfg.n_ctx), sep="\n")
        torch.manual_seed(cfg.seed)
        model = RewardModel(gpt).to(device.name)
        fit(model, pairs, cfg, total, tok.pad, device, folder)
        found = judge(model.eval(), held, tok.pad)
        if not math.isfinite(found["nll"]):
            raise UserError("the rewards at the end are not finite: the run diverged; lower --lr")
        save(folder, model, tok)
        write_json(folder / "eval.json", {"held_out": found})
        report(found)
        say(f"\n{time.time() - started:.0f} s. Everything is in {folder} (eval.json, "
            "metrics.jsonl). " + "\n".join(next_steps(cfg, folder, found)))
    return 0


if __name__ == "__main__":
    sys.exit(config.run(main))
