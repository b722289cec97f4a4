"""An optimizer step of ours beside one of TRL's trainers: they take turns on one machine.

    against_trl("dpo", nano())      # seconds of TRL's steps over ours: median and quartiles
"""
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from lessons.bench.subjects import Subject, our_steps, quiet
from nanouft import world
from nanouft.data.rows import Row
from nanouft.generate import MAX_NEW

SAMPLES = 4         # answers that GRPO samples to each prompt
METHODS: dict[str, tuple[str, str, dict]] = {       # how it is told, kind of rows, TRL's settings
    "sft": ("optimizer step of SFT", "demos", {}),
    "dpo": ("optimizer step of DPO, references precomputed", "pairs",
            {"precompute_ref_log_probs": True}),
    "kto": ("optimizer step of KTO, references precomputed", "labels",
            {"precompute_ref_log_probs": True}),
    "grpo": ("step of GRPO with its answers", "prompts", {
        "num_generations": SAMPLES, "beta": 0.04, "max_completion_length": MAX_NEW})}


def against_trl(name: str, subject: Subject) -> str:
    """The seconds of TRL's steps over ours, median and quartiles; after each of theirs we make one
    of ours, and the first ones warm up. Seconds are those of the processor, which other programs
    disturb less."""
    with quiet():
        ours = our_steps(name, subject)
    clock = [time.process_time()]

    def after_their_step() -> None:
        clock.append(time.process_time())
        next(ours)
        clock.append(time.process_time())
    with quiet():
        trl_steps(name, subject, after_their_step)
    seconds = np.diff(clock)
    ratios = (seconds[::2] / seconds[1::2])[1:]
    low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75])
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def if_installed(measure: Callable[[], str]) -> str:
    """What it measures, or which library is missing."""
    try:
        return measure()
    except ImportError as e:                        # transformers raises it without a name
        return f"not measured: {f'{e.name} is not installed' if e.name else e}"


def trl_steps(name: str, subject: Subject, after_step: Callable[[], None]) -> None:
    """TRL's trainer makes as many optimizer steps as ours, on NanoWorld's rows."""
    import datasets
    import trl
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback

    class AfterStep(TrainerCallback):
        def on_step_end(self, *_, **__):
            after_step()
    _, kind, settings = METHODS[name]
    answers = SAMPLES if name == "grpo" else 1
    turns = 1 + subject.turns
    with tempfile.TemporaryDirectory() as place:
        file = Path(place, "rows.jsonl")
        rows = world.rows("train", kind, subject.rows * turns, 0)
        file.write_text("\n".join(json.dumps(chat(row, kind)) for row in rows), encoding="utf-8")
        config = getattr(trl, f"{name.upper()}Config")(
            place, max_steps=turns, use_cpu=True, bf16=False, report_to="none",
            per_device_train_batch_size=subject.rows * answers, gradient_checkpointing=False,
            save_strategy="no", logging_strategy="no", disable_tqdm=True, **settings)
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
