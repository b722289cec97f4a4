"""What train.py does around the rows and before the loop: check, adapt the model, open the run.

train.main calls them in this order; read that first.
"""
import contextlib
import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from nanouft import world
from nanouft.data.batches import Epochs
from nanouft.data.rows import Row
from nanouft.data.tokenizer import Tokenizer
from nanouft.errors import UserError, say
from nanouft.eval.held_out import held_out
from nanouft.gpt import GPT
from nanouft.loop import Device, Source
from nanouft.objective import Columns, Objective
from nanouft.objectives import OBJECTIVES
from nanouft.reference import Models
from nanouft.run import provenance, runs
from nanouft.run.flags import CHOSEN, Train
from nanouft.run.rows import Data
from nanouft.run.words import one_line, optional
from nanouft.sampling import CHUNK, Rollouts, generate, stops

WIDTH = 128             # of the model for which the learning rates of the methods were chosen
SHOWN = 3               # answers printed every --show-every steps


# ---- before anything is read ---------------------------------------------------------------------
def check(name: str, cfg: Train, device: Device) -> None:
    """Fail early: refuse impossible combinations before reading data."""
    if cfg.log != "none":
        optional(cfg.log, f"--log {cfg.log}", "log")
    pieces = device.processes * cfg.accumulate
    if cfg.batch_size < pieces:
        raise UserError(f"--batch-size {cfg.batch_size} cannot be cut into {pieces} pieces")
    if cfg.shard:
        check_shard(name, cfg, device)
    if cfg.reward != "exact":
        from nanouft.rewards.scorer import scorer  # only if a reward is named
        scorer(cfg.reward, device.name)         # an error now if it cannot be read


def check_shard(name: str, cfg: Train, device: Device) -> None:
    """UserError for what --shard does not go together with."""
    if device.processes == 1 and not cfg.resume:
        raise UserError("--shard shares the weights out among processes, and there is one; "
                        "start several by torchrun (docs/data.md)")
    sampling = f"{name} samples answers, which needs all weights at each token"
    for is_so, what in (
            (OBJECTIVES[name].on_policy, sampling),
            (cfg.compile == "on", "--compile on is not tried with it"),
            (cfg.freeze == "half", "--freeze half holds rows of whole matrices"),
            (device.dtype == "fp16", "--dtype fp16 is not tried with it; use bf16 or fp32")):
        if is_so:
            raise UserError(f"--shard does not go together with this run: {what}")


# ---- the model -----------------------------------------------------------------------------------
def own_rate(cfg: Train, origin: dict, model: GPT) -> None:
    """Without --lr, a model of other people or of another width gets its own rate, and a note."""
    width, old = model.cfg.n_embd, cfg.rate
    rate = old * WIDTH / width * (10 if cfg.lora else 1)    # LoRA's matrices want ten times as much
    if cfg.resume or cfg.init == "base" or origin["lr"] == "command line" or rate == old:
        return
    cfg.lr, origin["lr"] = rate, f"{origin['lr']}, for width {width}"
    say(f"note: --lr {rate:.2g}, since {old:g} was chosen for a width of {WIDTH}, and this model "
        f"has {width}{'; LoRA wants ten times as much' * bool(cfg.lora)}. "
        f"Try {rate / 3:.1g} to {rate * 3:.1g}")


def adapted(cfg: Train, hp: Any, model: Any, tok: Tokenizer, dtype: torch.dtype) -> GPT:
    """`model`, with --lora or --checkpointing if it is one of transformers. Prints which chat
    template is used."""
    if hasattr(model, "add_lora"):                              # a model of transformers
        if cfg.freeze == "half":
            raise UserError("--freeze half knows the layers of nanouft's own GPT only; drop it, "
                            "or use --lora")
        if cfg.checkpointing:
            model.checkpoint()
        if cfg.lora:
            model.add_lora(cfg.lora, cfg.seed)
        if getattr(hp, "detach_embeddings", False) and len(model.tables()) == 2:
            model.wte.requires_grad_(False)     # with its own head: torchrun would wait for a grad
        if cfg.lora:
            trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
            model.keep_frozen_in(dtype)
            say(f"LoRA of rank {cfg.lora}: {trained / 1e6:.2f}M of {model.n_params() / 1e6:.2f}M "
                "weights are trained")
        if getattr(model.net.config.get_text_config(), "output_router_logits", False):
            say("note: the loss of its routers (output_router_logits) is left out")
    if tok.about:
        say(tok.about)
    return model


# ---- the run -------------------------------------------------------------------------------------
@dataclass
class Run:
    """A run that is ready for the loop."""
    name: str                                   # of the objective
    cfg: Train
    hp: Any
    device: Device
    folder: Path
    source: Source
    held_out: Callable[[], dict] | None         # figures on the rows that are held out
    held_reward: Callable[[], dict] | None = None   # off-policy: what greedy answers to them earn
    keeps_best: bool = False                    # the step of the lowest held-out loss, not the last
    kept: int = 0                               # the step whose weights are kept; 0: the last

    @property
    def save_every(self) -> int:
        """--save-every, rounded up to whole rollouts: a run cannot go on from within one."""
        return math.ceil(self.cfg.save_every / self.source.stride) * self.source.stride


def steps_of(cfg: Train, objective: Objective, hp: Any, data: Data, origin: dict,
             device: Device = Device()) -> int:
    """The number of optimizer steps. Prints what is chosen by the number of rows."""
    if cfg.data:
        from nanouft.run import by_rows  # NanoWorld's rows have their own defaults
        pieces = device.processes * cfg.accumulate
        taught = bool(provenance.trained_on(cfg.init))
        say(by_rows.choose(cfg, objective, hp, data, origin, pieces, taught), end="")
    given = origin.get("batch_size") == "command line"
    if not objective.on_policy and given and cfg.batch_size > len(data.train):
        raise UserError(f"--batch-size {cfg.batch_size:,}: there are {len(data.train):,} rows "
                        "only, so a step would hold rows twice")
    return cfg.optimizer_steps(len(data.train), hp.passes if objective.on_policy else 1)


@contextlib.contextmanager
def open_run(name: str, cfg: Train, hp: Any, origin: dict, data: Data, model: GPT, models: Models,
             steps: int) -> Iterator[Run]:
    """The run: its folder, in which nobody else works, and where its steps come from."""
    objective, device = OBJECTIVES[name], models.device
    place = f"{device.name} {device.dtype}"
    place += f" x {device.processes}" if device.processes > 1 else ""
    own_rows = [] if cfg.eval_data else [r.where for r in data.held_rows if not r.family]
    about = {"command": "train", "objective": name, "steps": steps, "config": asdict(cfg),
             "hp": asdict(hp), "from": origin, "tokenizer": data.tok.name,
             "torch": torch.__version__, "threads": torch.get_num_threads(), "device": place,
             "held_out_rows": own_rows, "key": data.key}
    figures = None
    if cfg.reward != "exact":
        about["key"] = data.key + reward_key(cfg, objective, data)
        figures = held_reward(cfg, objective, data, model, device)
    basis = "the data, the start model, the reward or the version of nanouft"
    settings = asdict(cfg) | asdict(hp)
    given = {k: v for k, v in settings.items() if origin.get(k) == "command line"}
    # before a folder is made: a model may be missing
    others = models.of_columns(objective, hp) if objective.on_policy else {}
    with runs.open_folder(cfg, about, name, basis, device, {"objective": name, **given}) as folder:
        if cfg.data and device.rank == 0:
            provenance.remember(folder, data.train_rows, cfg.init)
        if objective.on_policy:
            source, what = rollouts(cfg, objective, hp, data, model, others, steps, device)
            held = partial(rewarded_prompts, source, data.held)
        else:
            source = Epochs(data.train, cfg.batch_size, steps, cfg.seed, data.tok.pad)
            held, what = partial(held_out, model, data.held, data.tok.pad, device), "rows"
        say(f"{name}{getattr(hp, 'form', '')}: {steps:,} steps of {cfg.batch_size} {what}, "
            f"learning rate {cfg.lr:g}, {model.n_params() / 1e6:.2f}M parameters, {place} "
            f"-> {folder}")
        if chosen := [f"{k} {v}" for k, v in asdict(hp).items() if v not in (None, False, 0, "")]:
            say(f"settings of {name} (--help explains them): {', '.join(chosen)}")
        keeps_best = (origin.get("steps") == CHOSEN and cfg.eval_every > 0 and not cfg.plain
                      and cfg.save_every > 0 and device.processes == 1
                      and objective.kinds(hp) == ["demos"] and bool(data.held))
        yield Run(name, cfg, hp, device, folder, source, held if data.held else None, figures,
                  keeps_best)


# ---- rewards -------------------------------------------------------------------------------------
def reward_key(cfg: Train, objective: Objective, data: Data) -> str:
    """What tells one --reward from another, for --resume. It is tried on some rows first."""
    from nanouft.rewards import scorer
    rows = data.train_rows + data.held_rows
    scorer.try_out(cfg.reward, rows, objective.graded)
    return scorer.reward_hash(cfg.reward, rows)


def held_reward(cfg: Train, objective: Objective, data: Data, model: GPT,
                device: Device) -> Callable[[], dict] | None:
    """Off-policy with --reward: figures of greedy answers to held-out prompts."""
    if objective.on_policy or not data.held_rows:
        return None
    from nanouft.rewards import best_of, scorer
    score = scorer.scorer(cfg.reward, device.name)
    return lambda: scorer.figures(*best_of.rewarded(model, data.tok, data.held_rows, score,
                                                    max_new=cfg.max_new))


def rollouts(cfg: Train, objective: Objective, hp: Any, data: Data, model: Any,
             others: dict[str, GPT], steps: int, device: Device) -> tuple[Source, str]:
    """(the source of an on-policy run, what it draws in words)."""
    lora = cfg.lora and model.adapters_alone()
    start = model.start if lora else copy.deepcopy(model).requires_grad_(False)
    score, grade = world.exact_scores, None
    if cfg.data or cfg.reward != "exact":
        score, grade = own_score(cfg, objective, device)
    source = Rollouts(
        data.train, objective, hp, model, start, data.tok, score,
        rows=cfg.batch_size, steps=steps, seed=cfg.seed, max_new=cfg.max_new,
        device=device, others=others, grade=grade,
        exact=None if cfg.data else world.exact_scores, show=partial(show_answers, cfg),
        show_every=cfg.show_every, accumulate=cfg.accumulate)
    serves = f" (a rollout serves {source.stride} steps)" if source.stride > 1 else ""
    return source, f"prompts x {hp.samples} samples{serves}"


def own_score(cfg: Train, objective: Objective, device: Device) -> tuple[Any, Any]:
    """(score of rows and answers, what makes grades of such scores) with --reward or --data."""
    from nanouft.rewards import scorer
    grade = partial(scorer.to_unit_interval, cfg.reward) if objective.graded else None
    if cfg.reward != "exact":
        score = scorer.scorer(cfg.reward, device.name)
        return partial(scorer.score_rows, getattr(score, "apart", score)), grade
    if objective.rewarded:
        return world.exact_scores, grade
    return partial(scorer.score_rows, scorer.unscored), grade


def show_answers(cfg: Train, source: Any, number: int, rows: list[Row], texts: list[str],
                 col: Columns) -> None:
    """A note if all rewards of the first rollout are equal; every --show-every steps a few
    answers: numbers go up for many reasons, the text shows which."""
    equal = len(rows) > 1 and col.reward.min() == col.reward.max()
    if number == 0 and source.objective.rewarded and equal:
        from nanouft.rewards.scorer import constant_reward_note  # only if there is such a note
        say(constant_reward_note(col.reward.numpy()), write=tqdm.write)
    if cfg.show_every:
        figures = ", ".join(f"{k} {v:.3f}" for k, v in source.stats.items())
        lines = [f"rollout {number}: {figures}"]
        for i in range(0, len(rows), source.hp.samples)[:SHOWN]:
            note = "" if col.ended[i] else "   (does not stop)"
            lines += [f"  {one_line(rows[i].prompt[-1].text, 110)}",
                      f"    -> {one_line(texts[i], 110)}   (reward {col.reward[i]:.2f}){note}"]
        say("\n".join(lines), write=tqdm.write)


def rewarded_prompts(source: Any, prompts: list) -> dict[str, Any]:
    """The mean reward of greedy answers to prompts held out, its 95 % bootstrap interval, how many
    stop; and the mean of every family, where prompts have one."""
    from nanouft.rewards import scorer
    tok, out = source.tok, []
    for i in range(0, len(prompts), CHUNK):
        ids = [e.seqs["prompt"].ids.tolist() for e in prompts[i:i + CHUNK]]
        out += generate(source.policy, ids, stop=tok.stops, pad=tok.pad, max_new=source.max_new)
    rows = [e.row for e in prompts]
    rewards = source.score(rows, [tok.decode(a.ids).strip() for a in out])
    if isinstance(rewards, dict):                       # several: what each adds
        rewards = sum(rewards.values())
    grouped: dict[str, list[float]] = {}
    for row, x in zip(rows, rewards):
        grouped.setdefault(row.family, []).append(float(x))
    families = {f: float(np.mean(x)) for f, x in grouped.items() if f}
    figures = scorer.figures(rewards, [stops(a, tok) for a in out])
    return figures | ({"families": families} if families else {})
