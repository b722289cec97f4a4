"""Rollouts: the model's answers to prompts, scored, as a source of steps for the one training loop.

    python -m nanouft.train --objective rloo --init out/sft        # NanoWorld's exact score is the reward; or --reward

A rollout serves `stride` optimizer steps (minibatches x passes of the objective). It is one Batch, all the way:
1. sample    `samples` answers to each prompt, at temperature 1 with no cut of the tail: from any other distribution the
             gradient would be that of another policy. Their log-probs are kept: Seqs.old.
2. score     Columns.reward: the exact score, or --reward's. (Then the exact score is reported beside it.)
3. measure   one pass without gradient over policy and start model: Seqs.ref, the columns of the method, and what is
             reported.
4. credit    the objective says who earned the reward: adv, returns, or pairs of answers.
5. take      minibatches, `passes` times, answers to one prompt together.
Every draw is a function of (seed, number of the rollout), and checkpoints are written between rollouts only: a resumed
run samples the same answers from the same weights. What `stats` holds is explained in docs/metrics.md.
Of several processes each answers and measures its share of the rows, and the first one scores; then all know all of it.
Simplified: the scorer sees only the last turn of a prompt.
"""
import copy

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from nanouft.data.batches import Encoded, Plan, Tokens, collate
from nanouft.data.tokenizer import Tokenizer
from nanouft.gpt import GPT
from nanouft.models.generate import Answer, generate, stops
from nanouft.objective import Batch, Column, Columns, Objective, Seqs
from nanouft.objectives.reinforce import k3
from nanouft.rollout.scorer import alike, earned, exact, figures, scorer, unit, unscored
from nanouft.shell.devices import DTYPES, Device
from nanouft.shell.errors import Diverged, UserError
from nanouft.shell.processes import all_gather, all_reduce_sum, broadcast
from nanouft.shell.streams import minibatch_seed, rollout_seed
from nanouft.shell.text import one_line

CHUNK = 256             # answers that are decoded together
SHOWN = 3               # answers printed every --show-every steps


class Rollouts:
    """A source of steps: source(step) -> the batch of that step, made of answers that the policy gave itself."""

    def __init__(self, prompts: list[Encoded], objective: Objective, hp, cfg, steps: int, model: GPT, tok: Tokenizer,
                 device: Device):
        """`model` is the policy, which training changes in place; the start model is a copy of it as it is now."""
        self.prompts, self.objective, self.hp, self.cfg = prompts, objective, hp, cfg
        self.policy, self.tok, self.device = model, tok, device
        lora = cfg.lora and model.adapters_alone()
        self.start = model.start if lora else copy.deepcopy(model).requires_grad_(False)
        silent = cfg.data and cfg.reward == "exact" and not objective.rewarded
        self.score = unscored if silent else scorer(cfg.reward, device.name)
        self.stride = hp.minibatches * hp.passes                # a run can be resumed at multiples of this many steps
        self.groups = cfg.batch_size * hp.minibatches           # prompts of a rollout
        self.plan = Plan([e.length for e in prompts], self.groups, -(-steps // self.stride), cfg.seed,
                         pool=1)                                # pool 1: a rollout is a random draw of all tasks
        self.number, self.batch = -1, None                      # the rollout that is there
        self.stats: dict[str, float] = {}

    def __call__(self, step: int) -> Batch:
        number, k = divmod(step, self.stride)
        if number != self.number:
            self.batch = self.collect(number)
            self.number = number
        turn, part = divmod(k, self.hp.minibatches)
        shuffled = np.random.default_rng(minibatch_seed(self.cfg.seed, number, turn)).permutation(self.groups)
        mine = shuffled[part * self.cfg.batch_size:(part + 1) * self.cfg.batch_size]
        per = self.batch.rows // self.groups                    # rows of one prompt: its answers, or one pair
        return self.batch.take((mine[:, None] * per + np.arange(per)).ravel())

    def collect(self, number: int) -> Batch:
        """Sample and score rollout `number`, prompt-major: answers to one prompt are neighbours."""
        asked = [self.prompts[i] for i in self.plan[number] for _ in range(self.hp.samples)]
        answers = self.sample([e.seqs["prompt"].ids.tolist() for e in asked], number)
        prompts = [e.example.seqs["prompt"][0][-1].text for e in asked]
        texts = [self.tok.decode(a.ids).strip() for a in answers]
        batch = answered(asked, answers, self.tok)
        batch.col = self.scored(asked, texts, answers)
        if number == 0 and self.objective.rewarded and (remark := alike(batch.col.reward.numpy())):
            tqdm.write(remark)
        seen = measure(batch, self.policy, self.start, self.device, self.objective.columns, self.hp)
        self.stats = stats(batch, seen)
        if not self.cfg.data:
            self.stats["score"] = float(exact(prompts, texts).mean())
        # Of bf16, `old` is what training's forward says, so that the ratio begins near 1. Not at 1: products of bf16
        # depend on a batch's shape (a ratio was off by .052; in fp32 by 1.6e-5).
        if self.device.dtype != "fp32":
            batch.seqs["answer"].old = seen["now"]
        col = batch.col
        batch, more = credited(batch, self.objective, self.hp)
        self.stats |= more
        self.show(number, prompts, texts, col)
        return batch

    def sample(self, prompts: list[list[int]], number: int) -> list[Answer]:
        """An answer to each prompt. Who samples it does not matter: its random numbers belong to its place."""
        out, voice, dtype = [], self.policy, DTYPES[self.device.dtype]
        if voice.wte.weight.dtype != dtype:
            voice = copy.deepcopy(voice).to(dtype)                          # half the weights to read for each token
        for i in range(0, len(prompts), CHUNK):
            chunk = prompts[i:i + CHUNK]
            mine = range(self.device.rank, len(chunk), self.device.processes)
            some = generate(voice, [chunk[j] for j in mine], stop=self.tok.stops, pad=self.tok.pad,
                            max_new=self.cfg.max_new, temperature=1.0, of=(mine, len(chunk)),
                            seed=rollout_seed(self.cfg.seed, number, i // CHUNK))
            out += all_gather(some, self.device)
        if not np.isfinite(sum(sum(a.logp) for a in out)):
            raise Diverged(f"nothing can be sampled at step {number * self.stride + 1}: the run diverged, its chances "
                           "are not finite. Lower --lr")
        return out

    def earned(self, asked: list[Encoded], texts: list[str]) -> np.ndarray:
        examples = [e.example for e in asked]
        return earned(self.score, [e.seqs["prompt"][0] for e in examples], texts, [e.extra for e in examples])

    def scored(self, asked: list[Encoded], texts: list[str], answers: list[Answer]) -> Columns:
        """reward in its own unit; score, for online_una the same on 0..1 (a learnt reward's sigmoid); ended."""
        chief = self.device.rank == 0                   # scores alone: a function of the user's need not be one twice
        rewards = np.asarray(broadcast(self.earned(asked, texts) if chief else None, self.device), np.float32)
        if not np.isfinite(rewards).all():
            raise UserError(f"--reward {self.cfg.reward}: gave a reward that is not finite; train it again")
        score = unit(self.cfg.reward, rewards) if self.objective.graded else rewards
        ended = torch.tensor([float(stops(a, self.tok)) for a in answers])
        return Columns(reward=torch.from_numpy(rewards), score=torch.from_numpy(score), ended=ended)

    @torch.no_grad()
    def held_out(self, prompts: list[Encoded]) -> dict[str, float]:
        """The mean reward of greedy answers to prompts held out, its 95 % bootstrap interval, how many stop; and the
        mean of every family, where prompts have one."""
        out: list[Answer] = []
        for i in range(0, len(prompts), CHUNK):
            ids = [e.seqs["prompt"].ids.tolist() for e in prompts[i:i + CHUNK]]
            out += generate(self.policy, ids, stop=self.tok.stops, pad=self.tok.pad, max_new=self.cfg.max_new)
        rewards = self.earned(prompts, [self.tok.decode(a.ids).strip() for a in out])
        grouped: dict[str, list[float]] = {}
        for e, x in zip(prompts, rewards):
            grouped.setdefault(e.example.family, []).append(float(x))
        families = {f: float(np.mean(x)) for f, x in grouped.items() if f}
        return figures(rewards, [stops(a, self.tok) for a in out]) | ({"families": families} if families else {})

    def show(self, number: int, prompts: list[str], texts: list[str], col: Columns) -> None:
        """Every --show-every steps, print a few answers: numbers go up for many reasons, the text shows which."""
        every, first = self.cfg.show_every, number * self.stride
        if not every or (first - self.stride) // every == first // every:
            return
        lines = [f"rollout {number}: " + ", ".join(f"{k} {v:.3f}" for k, v in self.stats.items())]
        for i in range(0, len(prompts), self.hp.samples)[:SHOWN]:
            said = "" if col.ended[i] else "   (does not stop)"
            lines += [f"  {one_line(prompts[i], 110)}",
                      f"    -> {one_line(texts[i], 110)}   (reward {col.reward[i]:.2f}){said}"]
        tqdm.write("\n".join(lines))


# ---- answers -> batch ------------------------------------------------------------------------------------------------
def answered(prompts: list[Encoded], answers: list[Answer], tok: Tokenizer) -> Batch:
    """Prompts with their sampled answers as one batch of role "answer", with `old`, the log-probs of decoding."""
    rows = []
    for e, a in zip(prompts, answers, strict=True):
        asked = e.seqs["prompt"].ids
        said = [*a.ids, a.stop] if a.ended else a.ids
        ids = np.concatenate([asked, np.array(said, np.int64)])
        mask = np.concatenate([np.zeros(len(asked), np.int64), np.ones(len(said), np.int64)])
        rows.append(Encoded({"answer": Tokens(ids, mask)}, e.example))
    batch = collate(rows, range(len(rows)), tok.pad)
    s = batch.seqs["answer"]
    s.old = torch.zeros_like(s.mask).masked_scatter(s.mask.bool(), torch.tensor([x for a in answers for x in a.logp]))
    return batch


@torch.no_grad()
def measure(batch: Batch, policy: GPT, start: GPT, device: Device, columns: tuple[Column, ...] = (),
            hp=None) -> dict[str, Tensor]:
    """Write Seqs.ref (log-probs under the start model) and the columns of the method. Returns {name: (B,T)}, 0 off the
    answer: now (log-probs under the policy), kl (exact KL(policy || start), whole vocabulary), entropy."""
    s = batch.seqs["answer"]
    columns = [column for column in columns if column.sampled]
    names = ["now", "ref", "kl", "entropy", *(column.name for column in columns)]
    seen = {name: torch.zeros_like(s.mask) for name in names}
    by_length = np.argsort(-s.attend.sum(-1).numpy(), kind="stable")
    mine = by_length[device.rank::device.processes]
    for i in range(0, len(mine), 64):
        rows = mine[i:i + 64]
        part: Seqs = s.take(rows).each(lambda x: x.to(device.name))
        at = part.mask.bool()
        with device.autocast():
            hidden = policy(part.inputs, want="hidden")
            p = policy(hidden=hidden, at=at).float().log_softmax(-1)                          # (N,V)
            q = start(part.inputs, at=at).float().log_softmax(-1)
            extra = {c.name: c.sampled(part, policy, hidden, hp).float()[at] for c in columns}
        token = part.targets[at][:, None]
        found = {"now": p.gather(1, token)[:, 0], "ref": q.gather(1, token)[:, 0],
                 "kl": (p.exp() * (p - q)).sum(-1), "entropy": -(p.exp() * p).sum(-1), **extra}
        for name, x in found.items():
            seen[name][rows, :at.shape[1]] = torch.zeros_like(part.mask).masked_scatter(at, x).cpu()
    seen = {name: all_reduce_sum(x, device) for name, x in seen.items()}
    s.ref = seen.pop("ref")
    s.extra |= {column.name: seen.pop(column.name) for column in columns}
    return seen


def stats(batch: Batch, seen: dict[str, Tensor]) -> dict[str, float]:
    """What a rollout tells (docs/metrics.md): means over answers, or over their tokens."""
    s, col, rows = batch.seqs["answer"], batch.col, batch.rows
    old, ref, now, kl, entropy = (x[s.mask > 0] for x in (s.old, s.ref, *seen.values()))
    return {"reward": float(col.reward.double().mean()), "ends": float(col.ended.double().mean()),
            "length": len(old) / rows, "kl_exact": float(kl.mean()), "kl_k1": float((old - ref).mean()),
            "kl_k3": float(k3(ref - old).mean()), "kl_answer": float(kl.sum() / rows),
            "entropy": float(entropy.mean()), "decode_gap": float((old - now).abs().max())}


def credited(batch: Batch, objective: Objective, hp) -> tuple[Batch, dict[str, float]]:
    """The rollout as the loss sees it, and what the method reports of it. Advantages are small differences of rewards,
    made in fp64: Adam would take what fp32 rounds where all rewards are equal for a gradient."""
    batch = objective.credit(batch.each(lambda x: x.double() if x.is_floating_point() else x), hp)
    more = objective.report(batch) if objective.report else {}
    return batch.each(lambda x: x.float() if x.is_floating_point() else x), more


def as_if_sampled(answers: list[Encoded], rewards: list[float], objective: Objective, hp, model: GPT, pad: int,
                  device: Device, start: GPT | None = None) -> Batch:
    """Given answers as if `model` had sampled them just now and they had earned these rewards: for the ledger and for
    tests. The answers must make whole groups of hp.samples."""
    earned = torch.tensor(rewards)
    col = Columns(reward=earned, score=earned, ended=torch.ones(len(earned)))
    batch = Batch.of(collate(answers, range(len(answers)), pad).seqs, col)
    batch.seqs["answer"].old = measure(batch, model, start or model, device, objective.columns, hp)["now"]
    return credited(batch, objective, hp)[0]
