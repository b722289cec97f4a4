"""Rollouts: the model's own answers to prompts, scored and turned into rows, as a source of steps for the one loop.

    python -m nanouft.train --objective rloo --init out/sft                    # NanoWorld's exact score is the reward
    python -m nanouft.train --objective rloo --init out/sft --reward out/reward        # a model of nanouft.reward

A rollout, every `stride` optimizer steps (1, or minibatches x passes of the objective):
1. prompts -> `samples` answers each, drawn at temperature 1 with no cut of the tail: from any other distribution the
   gradient would be that of another policy. Log-probs are kept while decoding (column "old").
2. answers -> rewards (col "reward"): the exact score, or a learnt model, with the exact score beside it.
3. one pass without gradient over policy and start model: columns ref, entropy, kl, value.
4. objective.credit: rewards -> columns (adv, return ...); objective.arrange: answers -> pairs, where wanted.
5. rows -> minibatches, `passes` times, answers to one prompt together.
Every draw is a function of (seed, number of the rollout), and checkpoints are written between rollouts only: a resumed
run samples the same answers from the same weights. What `stats` reports is explained in docs/metrics.md.
Simplified: prompts of one turn are scored by it alone, longer ones by their last turn; one process only.
"""
import copy
import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from nanouft.data.batches import Encoded, Tokens, collate, order
from nanouft.shell.config import UserError
from nanouft.shell.devices import Device
from nanouft.evaluate import stops
from nanouft.models.generate import Answer, generate
from nanouft.gpt import GPT
from nanouft.look.held_out import bootstrap
from nanouft.objectives import Objective
from nanouft.reward import exact, scorer
from nanouft.rollout.reward_quality import sigma
from nanouft.data.tokenizer import Tokenizer

CHUNK = 256             # answers that are decoded together
SHOWN = 3               # answers printed every --show-every steps


def check(cfg, objective: Objective, device: Device) -> None:
    """UserError for what cannot work on the model's own answers."""
    if device.world > 1:
        raise UserError("on-policy objectives run in one process: each would sample answers of its own; "
                        "drop torchrun, --accumulate saves memory")
    if cfg.data and cfg.reward == "exact":
        raise UserError("the exact score exists for NanoWorld's prompts only; with --data give a reward model: "
                        "--reward DIR (python -m nanouft.reward makes one)")
    scorer(cfg.reward, device.name)                 # one that is not there is said before a run folder is made


def mark(name: str) -> str:
    """What tells one reward model from another: a run goes on with the reward it began with."""
    file = Path(name) / "model.safetensors"
    return "" if name == "exact" else "-" + hashlib.sha256(file.read_bytes()).hexdigest()[:8]


class Rollouts:
    """A source of steps: source(step) -> (the answers of its rollout, which of them make this step)."""

    def __init__(self, prompts: list[Encoded], objective: Objective, hp, cfg, steps: int, model: GPT, tok: Tokenizer,
                 device: Device):
        """`model` is the policy, which training changes in place; the start model is a copy of it as it is now."""
        self.prompts, self.objective, self.hp, self.cfg = prompts, objective, hp, cfg
        self.policy, self.tok, self.device = model, tok, device
        self.start = copy.deepcopy(model).requires_grad_(False)
        self.score, self.learnt = scorer(cfg.reward, device.name), cfg.reward != "exact"
        self.minibatches, passes = getattr(hp, "minibatches", 1), getattr(hp, "passes", 1)
        self.stride = self.minibatches * passes                 # a run can be resumed at multiples of this many steps
        self.plan = order([e.length for e in prompts], cfg.batch_size * self.minibatches, -(-steps // self.stride),
                          cfg.seed, pool=1)                     # pool 1: a rollout is a random draw of all tasks
        self.number, self.rows = -1, []
        self.stats: dict[str, float] = {}

    def __call__(self, step: int) -> tuple[list[Encoded], np.ndarray]:
        number, k = divmod(step, self.stride)
        if number != self.number:
            self.collect(number)
        turn, part = divmod(k, self.minibatches)
        groups = self.cfg.batch_size * self.minibatches
        shuffled = np.random.default_rng([self.cfg.seed, number, turn]).permutation(groups)
        mine = shuffled[part * self.cfg.batch_size:(part + 1) * self.cfg.batch_size]
        per = len(self.rows) // groups                          # rows of one prompt: its answers, or one pair
        return self.rows, (mine[:, None] * per + np.arange(per)).ravel()

    def collect(self, number: int) -> None:
        """Sample and score rollout `number`, prompt-major: answers to one prompt are neighbours."""
        asked = [self.prompts[i] for i in self.plan[number] for _ in range(self.hp.samples)]
        drawn = self.sample([e.seqs["prompt"].ids.tolist() for e in asked], number)
        prompts = [e.example.seqs["prompt"][0][-1].text for e in asked]
        texts = [self.tok.decode(a.ids).strip() for a in drawn]
        rows = [answered(e, a, self.tok.end) for e, a in zip(asked, drawn)]
        rewards = np.asarray(self.score(prompts, texts), np.float32)
        if not np.isfinite(rewards).all():
            raise UserError(f"--reward {self.cfg.reward}: gave a reward that is not finite; train it anew")
        for e, reward, a in zip(rows, rewards, drawn):
            e.col |= {"reward": float(reward), "ended": float(stops(a, self.tok)),
                      "grade": float(sigma(reward)) if self.learnt else float(reward)}
        measure(rows, self.policy, self.start, self.tok.pad, self.device)
        self.stats = stats(rows)
        if self.device.dtype != "fp32":             # decoded in fp32, trained in bf16: the ratio is to begin at 1
            for e in rows:
                e.seqs["answer"].tok["old"] = e.seqs["answer"].tok["now"]
        if not self.cfg.data:
            self.stats["score"] = float((exact(prompts, texts) if self.learnt else rewards).mean())
        credited, more = credit(rows, self.objective, self.hp, self.tok.pad, self.cfg.seed)
        self.stats |= more
        self.number, self.rows = number, credited
        every, first = self.cfg.show_every, number * self.stride
        if every and (first - self.stride) // every != first // every:
            self.show(number, prompts, texts, rows)

    def sample(self, prompts: list[list[int]], number: int) -> list[Answer]:
        out = []
        for i in range(0, len(prompts), CHUNK):
            seed = (self.cfg.seed * 1_000_003 + number) * 1_009 + i // CHUNK
            out += generate(self.policy, prompts[i:i + CHUNK], stop=self.tok.end, pad=self.tok.pad,
                            max_new=self.cfg.max_new, temperature=1.0, seed=seed % 2**63)
        if not np.isfinite(sum(sum(a.logp) for a in out)):
            raise UserError(f"nothing can be sampled at step {number * self.stride + 1}: the run diverged, its chances "
                            "are not finite. Lower --lr")
        return out

    @torch.no_grad()
    def held_out(self, prompts: list[Encoded]) -> dict[str, float]:
        """The mean reward of greedy answers to prompts held out, its 95 % bootstrap interval, and how many stop."""
        out: list[Answer] = []
        for i in range(0, len(prompts), CHUNK):
            ids = [e.seqs["prompt"].ids.tolist() for e in prompts[i:i + CHUNK]]
            out += generate(self.policy, ids, stop=self.tok.end, pad=self.tok.pad, max_new=self.cfg.max_new)
        asked = [e.example.seqs["prompt"][0][-1].text for e in prompts]
        rewards = self.score(asked, [self.tok.decode(a.ids).strip() for a in out])
        low, high = bootstrap(rewards)
        return {"reward": float(np.mean(rewards)), "ends": float(np.mean([stops(a, self.tok) for a in out])),
                "low": low, "high": high, "rows": len(prompts)}

    def show(self, number: int, prompts: list[str], texts: list[str], rows: list[Encoded]) -> None:
        """Print a few answers of the rollout: numbers go up for many reasons, the text shows which."""
        K = self.hp.samples
        lines = [f"rollout {number}: " + ", ".join(f"{k} {v:.3f}" for k, v in self.stats.items())]
        for i in range(0, min(SHOWN, len(rows) // K) * K, K):
            said = "" if rows[i].col["ended"] else "   (does not stop)"
            lines += [f"  {_short(prompts[i])}",
                      f"    -> {_short(texts[i])}   (reward {rows[i].col['reward']:.2f}){said}"]
        tqdm.write("\n".join(lines))


def _short(text: str, n: int = 110) -> str:
    text = " ".join(text.split())
    return text if len(text) <= n else text[:n] + " ..."


# ---- answers -> rows -------------------------------------------------------------------------------------------------
def answered(prompt: Encoded, a: Answer, end: int) -> Encoded:
    """A prompt with its sampled answer as a row of role "answer"; the column "old" holds the log-probs of decoding."""
    asked = prompt.seqs["prompt"].ids
    ids = np.concatenate([asked, np.array(a.ids + [end] * (len(a.logp) - len(a.ids)), np.int64)])
    mask = np.concatenate([0 * asked, np.ones(len(a.logp), np.int64)])
    old = np.concatenate([np.zeros(len(asked) - 1), a.logp]).astype(np.float32)
    return Encoded({"answer": Tokens(ids, mask, {"old": old})}, {}, prompt.example)


@torch.no_grad()
def measure(rows: list[Encoded], policy: GPT, start: GPT, pad: int, device: Device) -> None:
    """Write the columns that need a forward: now (log-probs under the policy), ref (under the start model), kl (exact,
    KL(policy || start) over the whole vocabulary), entropy, value. Nats; 0 off the answer."""
    by_length = np.argsort([-e.length for e in rows], kind="stable")
    for i in range(0, len(rows), 64):
        here = by_length[i:i + 64]
        batch = collate(rows, here, pad, device=device.name)
        s, at = batch.seqs["answer"], batch.seqs["answer"].mask.bool()
        with device.autocast():
            hidden = policy(s.inputs, want="hidden")
            p = policy(hidden=hidden, at=at).float().log_softmax(-1)                          # (N,V)
            q = start(s.inputs, at=at).float().log_softmax(-1)
            value = policy(hidden=hidden, want="value").float()                               # (B,T)
        token = s.targets[at][:, None]
        columns = {"now": p.gather(1, token)[:, 0], "ref": q.gather(1, token)[:, 0],
                   "kl": (p.exp() * (p - q)).sum(-1), "entropy": -(p.exp() * p).sum(-1), "value": value[at]}
        for name, x in columns.items():
            full = torch.zeros_like(s.mask).masked_scatter(at, x).cpu().numpy()
            for e, row in zip((rows[j] for j in here), full):
                e.seqs["answer"].tok[name] = row[:len(e.seqs["answer"].ids) - 1].copy()


def stats(rows: list[Encoded]) -> dict[str, float]:
    """What a rollout tells (docs/metrics.md): means over answers, or over their tokens."""
    seqs = [e.seqs["answer"] for e in rows]
    tok = {name: np.concatenate([t.tok[name][t.mask[1:] > 0] for t in seqs]) for name in seqs[0].tok}
    n, k1 = len(tok["old"]), tok["old"] - tok["ref"]
    return {"reward": float(np.mean([e.col["reward"] for e in rows])),
            "ends": float(np.mean([e.col["ended"] for e in rows])), "length": n / len(rows),
            "kl_exact": float(tok["kl"].mean()), "kl_k1": float(k1.mean()),
            "kl_k3": float((np.exp(np.minimum(-k1, 20)) - 1 + k1).mean()),
            "kl_answer": float(tok["kl"].sum() / len(rows)), "entropy": float(tok["entropy"].mean()),
            "decode_gap": float(np.abs(tok["old"] - tok["now"]).max())}


def credit(rows: list[Encoded], objective: Objective, hp, pad: int,
           seed: int = 0) -> tuple[list[Encoded], dict[str, float]]:
    """The rollout as the rows that the loss sees, and what a critic has to report. Advantages are small differences of
    rewards, made in fp64: Adam would take what fp32 rounds where all rewards are equal for a gradient."""
    whole = collate(rows, np.arange(len(rows)), pad)
    s = whole.seqs["answer"]
    s.tok, whole.col = ({name: x.double() for name, x in group.items()} for group in (s.tok, whole.col))
    columns: dict[str, Tensor] = objective.credit(whole, hp)
    for name, x in columns.items():
        for e, value in zip(rows, x.numpy()):
            if x.dim() == 1:
                e.col[name] = float(value)
            else:
                e.seqs["answer"].tok[name] = value[:len(e.seqs["answer"].ids) - 1].copy()
    more = {}
    if "return" in columns:
        seqs = [e.seqs["answer"] for e in rows]
        goal, guess = (np.concatenate([t.tok[k][t.mask[1:] > 0] for t in seqs]) for k in ("return", "value"))
        more["explained_variance"] = float(1 - np.var(goal - guess) / max(np.var(goal), 1e-8))
    return (objective.arrange(rows, seed) if objective.arrange else rows), more


def pretend(answers: list[Encoded], rewards: list[float], objective: Objective, hp, model: GPT, pad: int,
            device: Device, start: GPT | None = None) -> list[Encoded]:
    """Given answers as if `model` had sampled them just now and they had earned these rewards: for the ledger and for
    tests. The answers must make whole groups of hp.samples."""
    rows = [Encoded({"answer": replace(e.seqs["answer"], tok={})}, {"reward": r, "grade": r, "ended": 1.0}, e.example)
            for e, r in zip(answers, rewards, strict=True)]
    measure(rows, model, start or model, pad, device)
    for e in rows:
        e.seqs["answer"].tok["old"] = e.seqs["answer"].tok["now"]
    return credit(rows, objective, hp, pad)[0]
