"""TRL's trainers on NanoWorld beside our own steps: the part of bench.py that needs TRL."""
import contextlib
import copy
import io
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from lessons.evidence.bench import ROWS, ratio
from nanouft import train, world
from nanouft.batches import Epochs, encode
from nanouft.loop import Device, Step, steps
from nanouft.models import start_model
from nanouft.objectives import OBJECTIVES
from nanouft.reference import Models
from nanouft.rewards import exact
from nanouft.rows import Row
from nanouft.sampling import Rollouts

SAMPLES, MAX_NEW = 4, 44
OF_METHOD = {       # kind of rows, rows of a step, TRL's settings
    "sft": ("demos", ROWS, {}),
    "dpo": ("pairs", ROWS, {"precompute_ref_log_probs": True}),
    "grpo": ("prompts", ROWS * SAMPLES, {"num_generations": SAMPLES, "beta": 0.04,
                                         "max_completion_length": MAX_NEW}),
}


def our_steps(name: str, folder: str) -> Iterator[Step]:
    """The optimizer steps of nanouft.train, on NanoWorld's rows, from the model in `folder`."""
    (model, tok), objective = start_model(folder), OBJECTIVES[name]
    hp, optimizer = objective.hp(), train.make_optimizer(model, objective.lr, Device())
    rows = objective.rows(world.mixed_rows("train", objective.kinds(hp), 1020, 0), hp)
    encoded, _ = encode(rows, tok, model.cfg.n_ctx - MAX_NEW)
    if objective.on_policy:
        start = copy.deepcopy(model).requires_grad_(False)
        source = Rollouts(encoded, objective, hp, model, start, tok, exact, rows=ROWS, steps=96)
    else:
        encoded = Models(model, tok.pad).prepare(encoded, objective, hp)
        source = Epochs(encoded, ROWS, 96, 0, tok.pad)
    return steps(model, objective, hp, source, optimizer, range(96), clip=1.0)


def against_trl(name: str, folder: str, turns: int = 6) -> str:
    """The seconds of TRL's steps over ours; after each of theirs we make one of ours."""
    ours = our_steps(name, folder)
    seconds: dict[str, list[float]] = {"theirs": [], "ours": []}
    clock = time.process_time()

    def lap(who: str) -> None:
        nonlocal clock
        now = time.process_time()
        seconds[who].append(now - clock)
        clock = now

    def after_their_step() -> None:
        lap("theirs")
        next(ours)
        lap("ours")
    silent = io.StringIO()
    with contextlib.redirect_stdout(silent), contextlib.redirect_stderr(silent):
        trl_steps(name, folder, turns + 1, after_their_step)
    return ratio(seconds["theirs"], seconds["ours"])


def trl_steps(name: str, folder: str, n: int, after_step: Callable[[], None]) -> None:
    """TRL's trainer of sft, dpo or grpo makes n optimizer steps."""
    import datasets
    import trl
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback

    class AfterStep(TrainerCallback):
        def on_step_end(self, *_, **__):
            after_step()
    kind, batch, settings = OF_METHOD[name]
    with tempfile.TemporaryDirectory() as place:
        file = Path(place, "rows.jsonl")
        rows = world.rows("train", kind, 1020, 0)
        file.write_text("\n".join(json.dumps(chat(row, kind)) for row in rows), encoding="utf-8")
        config = getattr(trl, f"{name.upper()}Config")(
            place, max_steps=n, per_device_train_batch_size=batch, use_cpu=True, bf16=False,
            gradient_checkpointing=False, report_to="none", save_strategy="no",
            logging_strategy="no", disable_tqdm=True, **settings)
        getattr(trl, f"{name.upper()}Trainer")(
            AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), args=config,
            train_dataset=datasets.load_dataset("json", data_files=str(file), split="train",
                                                cache_dir=place),
            processing_class=AutoTokenizer.from_pretrained(folder), callbacks=[AfterStep()],
            **({"reward_funcs": reward} if name == "grpo" else {})).train()


def chat(row: Row, kind: str) -> dict:
    """A row of NanoWorld as TRL wants it."""
    answers = {"demos": {"completion": row.answer}, "prompts": {},
               "pairs": {"chosen": row.chosen, "rejected": row.rejected}}
    return {name: [{"role": turn.role, "content": turn.text} for turn in turns]
            for name, turns in {"prompt": row.prompt, **answers[kind]}.items()}


def reward(prompts: list, completions: list, **_) -> list[float]:
    return [world.score(prompt[-1]["content"], answer[0]["content"].strip())
            for prompt, answer in zip(prompts, completions)]
