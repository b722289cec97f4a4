"""Optimizer steps of ours beside those of TRL's trainers: they take turns on one machine.

    against_trl("dpo", nano(), "fp32")      # seconds of TRL's steps over ours

The subject of both is the base after SFT, or a real model. Both read the same rows once, in the
same order, which neither sorts by length, so step by step they have the same rows.
"""
import contextlib
import copy
import io
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from nanouft import world
from nanouft.compare.runs import ONLY_TRAIN
from nanouft.data.batches import Batching, RowSource, encode
from nanouft.data.row import Row
from nanouft.device import Device
from nanouft.generate import MAX_NEW
from nanouft.models.folders import start_model
from nanouft.objectives import OBJECTIVES
from nanouft.plumbing.files import remove
from nanouft.rollout import Rollouts, Sampler
from nanouft.run.config import RunConfig
from nanouft.run.hyperparameters import make_optimizer
from nanouft.run.reference import FrozenModels
from nanouft.train import Step, sampled_batch, steps, train

SAMPLES = 4         # answers that GRPO samples to each prompt
DTYPES: dict[str, tuple[str, str, dict]] = {    # how it is told, our precision, TRL's settings
    "fp32": ("both in fp32", "fp32", {"bf16": False, "gradient_checkpointing": False}),
    "bf16": ("both in bf16", "bf16", {"bf16": True, "gradient_checkpointing": False}),
    "defaults": ("defaults: ours fp32, TRL's bf16 with gradient checkpointing", "fp32", {})}
METHODS: dict[str, tuple[str, str, dict]] = {       # how it is told, kind of rows, TRL's settings
    "sft": ("optimizer step of SFT", "demos", {}),
    "dpo": ("optimizer step of DPO, references precomputed", "pairs",
            {"precompute_ref_log_probs": True}),
    "kto": ("optimizer step of KTO, references precomputed", "labels",
            {"precompute_ref_log_probs": True}),
    "grpo": ("step of GRPO with its answers", "prompts", {
        "num_generations": SAMPLES, "beta": 0.04, "max_completion_length": MAX_NEW,
        "shuffle_dataset": False})}


@dataclass(frozen=True)
class Subject:
    """A model, and how much it has to do."""
    folder: str
    rows: int           # of an optimizer step; prompts of a step of GRPO
    turns: int          # steps that are counted; one before them prepares memory
    device: str = "cpu"

    def choose(self, kind: str) -> list[Row]:
        """The rows of all steps, in their order."""
        return world.rows("train", kind, self.rows * (1 + self.turns), 0)


def nano() -> Subject:
    """The base after SFT, which is trained once. Its bar is shown."""
    folder = "out/bench/sft"
    remove(Path(folder))
    flags = {"seed": 0, "init": "base", "device": "cpu", "out": folder} | ONLY_TRAIN
    with contextlib.redirect_stdout(io.StringIO()):
        train(RunConfig.of("sft", flags))
    return Subject(folder, rows=32, turns=40)


def against_trl(name: str, subject: Subject, dtype: str) -> str:
    """The seconds of TRL's steps over ours, all together, and the quartiles of single steps. After
    each of theirs we make one of ours. On a CPU seconds are those of the processor, which other
    programs disturb less. dtype: a key of DTYPES."""
    _, precision, settings = DTYPES[dtype]
    clock = [now(subject.device)]

    def after_their_step() -> None:
        clock.append(now(subject.device))
        next(ours)
        clock.append(now(subject.device))
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        device = Device(subject.device, precision)
        ours = our_steps(name, subject, device)         # bars stay out of the table
        trl_steps(name, subject, settings, after_their_step)
    theirs, mine = np.diff(clock).reshape(-1, 2)[1:].T
    low, high = np.quantile(theirs / mine, [0.25, 0.75])
    return f"{theirs.sum() / mine.sum():.2f} ({low:.2f} to {high:.2f})"


def now(device: str) -> float:
    """Seconds, after the GPU has done what it has to do."""
    if device == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def our_steps(name: str, subject: Subject, device: Device) -> Iterator[Step]:
    """The optimizer steps of nanouft.train, on NanoWorld's rows."""
    (model, tok), objective = start_model(subject.folder), OBJECTIVES[name]()
    optimizer = make_optimizer(model.to(device.name), objective.lr, fused=True)
    rows = objective.choose(subject.choose(METHODS[name][1]))
    encoded, _ = encode(rows, tok, model.cfg.n_ctx - MAX_NEW)
    batching = Batching(subject.rows, steps=1 + subject.turns)
    source: RowSource | Rollouts
    if objective.on_policy:
        start = copy.deepcopy(model).requires_grad_(False)
        source = Rollouts(encoded, objective, Sampler(model, start, tok, device=device),
                          world.exact_scores, batching)
    else:
        encoded = FrozenModels(model, tok.pad, device).prepare(encoded, objective)
        source = RowSource(encoded, batching, tok.pad)
    source.order = np.arange(len(encoded)).reshape(-1, subject.rows)
    batch_of = partial(sampled_batch, source) if isinstance(source, Rollouts) else source
    return steps(model, objective, batch_of, optimizer, range(batching.steps), device, clip=1.0)


def trl_steps(name: str, subject: Subject, how: dict, after_step: Callable[[], None]) -> None:
    """TRL's trainer makes as many optimizer steps as ours, on NanoWorld's rows. how: settings of
    DTYPES."""
    import datasets
    import trl
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback

    class AfterStep(TrainerCallback):
        def on_step_end(self, *_, **__):
            after_step()
    _, kind, settings = METHODS[name]
    answers = SAMPLES if name == "grpo" else 1
    with tempfile.TemporaryDirectory() as place:
        file = Path(place, "rows.jsonl")
        file.write_text("\n".join(json.dumps(chat(row, kind)) for row in subject.choose(kind)),
                        encoding="utf-8")
        config = getattr(trl, f"{name.upper()}Config")(
            place, max_steps=1 + subject.turns, use_cpu=subject.device == "cpu", report_to="none",
            train_sampling_strategy="sequential",       # GRPO reads shuffle_dataset instead
            per_device_train_batch_size=subject.rows * answers, save_strategy="no",
            logging_strategy="no", disable_tqdm=True, **settings, **how)
        getattr(trl, f"{name.upper()}Trainer")(
            AutoModelForCausalLM.from_pretrained(subject.folder, dtype=torch.float32), args=config,
            train_dataset=datasets.load_dataset("json", data_files=str(file), split="train",
                                                cache_dir=place),
            processing_class=AutoTokenizer.from_pretrained(subject.folder), callbacks=[AfterStep()],
            **({"reward_funcs": reward} if name == "grpo" else {})).train()


def chat(row: Row, kind: str) -> dict:
    """A row of NanoWorld as TRL wants it."""
    answers = {"demos": {"completion": row.answer}, "prompts": {},
               "labels": {"completion": row.answer},
               "pairs": {"chosen": row.chosen, "rejected": row.rejected}}
    told = {name: [{"role": turn.role, "content": turn.text} for turn in turns]
            for name, turns in {"prompt": row.prompt, **answers[kind]}.items()}
    return told if row.label is None else told | {"label": row.label}


def reward(prompts: list, completions: list, **_) -> list[float]:
    return [world.score(prompt[-1]["content"], answer[0]["content"].strip())
            for prompt, answer in zip(prompts, completions)]
