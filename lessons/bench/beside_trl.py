"""TRL's trainers on NanoWorld's rows: what the bench sets our optimizer steps beside."""
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

from lessons.bench.subjects import MAX_NEW, Subject
from nanouft import world
from nanouft.data.rows import Row

SAMPLES = 4
OF_METHOD: dict[str, tuple[str, int, dict]] = {     # kind of rows, answers to each, TRL's settings
    "sft": ("demos", 1, {}),
    "dpo": ("pairs", 1, {}),
    "kto": ("labels", 1, {}),
    "grpo": ("prompts", SAMPLES, {"num_generations": SAMPLES, "beta": 0.04,
                                  "max_completion_length": MAX_NEW}),
}


def trl_steps(name: str, subject: Subject, after_step: Callable[[], None],
              settings: dict) -> None:
    """TRL's trainer of sft, dpo, kto or grpo makes one optimizer step more than there are turns."""
    import datasets
    import trl
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback

    class AfterStep(TrainerCallback):
        def on_step_end(self, *_, **__):
            after_step()
    kind, answers, of_method = OF_METHOD[name]
    with tempfile.TemporaryDirectory() as place:
        file = Path(place, "rows.jsonl")
        rows = world.rows("train", kind, subject.rows * (subject.turns + 1), 0)
        file.write_text("\n".join(json.dumps(chat(row, kind)) for row in rows), encoding="utf-8")
        config = getattr(trl, f"{name.upper()}Config")(
            place, max_steps=subject.turns + 1, use_cpu=True, bf16=False, report_to="none",
            per_device_train_batch_size=subject.rows * answers, gradient_checkpointing=False,
            save_strategy="no", logging_strategy="no", disable_tqdm=True, **of_method, **settings)
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
    turns_of = {"prompt": row.prompt, **answers[kind]}
    told = {name: [{"role": turn.role, "content": turn.text} for turn in turns]
            for name, turns in turns_of.items()}
    return told if row.label is None else told | {"label": row.label}


def reward(prompts: list, completions: list, **_) -> list[float]:
    return [world.score(prompt[-1]["content"], answer[0]["content"].strip())
            for prompt, answer in zip(prompts, completions)]
