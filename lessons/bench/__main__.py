"""How fast is a training step beside TRL's, and how much memory does it take at most?

    python -m lessons.bench                             # NanoWorld's base, on the CPU
    python -m lessons.bench --real out/smollm2          # SmolLM2-135M as well
    python -m lessons.bench --gpu --real out/smollm2    # on a CUDA device: is it right, how fast?

Both programs take turns, and a ratio of their times is printed: above 1 nanouft is faster.
A step has 32 rows, with the real model 8; GRPO samples 4 answers to each of as many prompts. The
clock is CPU time, which other programs on the machine disturb less. What is printed goes into
docs/benchmarks.md.
"""
import argparse
import contextlib
import importlib.metadata
import json
import os
import platform
import re
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from lessons.bench.subjects import MAX_NEW, Subject, nano, our_steps, quiet, real
from nanouft import world
from nanouft.data.batches import Epochs, Pace, encode
from nanouft.data.rows import Row
from nanouft.gpt import GPT, NANO
from nanouft.models.folders import start_model
from nanouft.objectives import OBJECTIVES
from nanouft.plumbing.entry import command
from nanouft.plumbing.printing import say

GPT2_VOCAB, SAMPLES = 50_257, 4


# ---- memory -------------------------------------------------------------------------------------
def loss_memory() -> str:
    model = GPT(replace(NANO, vocab_size=GPT2_VOCAB), seed=0)
    ids = torch.randint(GPT2_VOCAB, (8, 129), generator=torch.Generator().manual_seed(0))
    inputs, targets = ids[:, :-1], ids[:, 1:]
    ours = peak_memory(model, lambda: -model(inputs, want="logp", targets=targets).mean())
    theirs = peak_memory(model, lambda: F.cross_entropy(model(inputs).flatten(0, 1),
                                                        targets.flatten()))
    return share(ours, theirs)


def checkpointing(subject: Subject) -> str:
    model, tok = start_model(subject.folder)
    demos = OBJECTIVES["sft"]().choose(world.rows("train", "demos", subject.rows, 0))
    s = Epochs(encode(demos, tok, 512)[0], Pace(subject.rows, steps=1), tok.pad)(0).seqs["answer"]

    def loss() -> torch.Tensor:
        return -model(s.inputs, want="logp", targets=s.targets).mean()
    plain = peak_memory(model, loss)
    model.activation_checkpointing_enable()
    return share(peak_memory(model, loss), plain)


def peak_memory(model: GPT, loss: Callable[[], torch.Tensor]) -> float:
    """Megabytes: the most that the tensors of a forward and a backward take at one time."""
    with torch.profiler.profile(profile_memory=True) as profile:
        loss().backward()
    model.zero_grad()
    notes = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    notes.sort(key=lambda e: e.start_ns())              # each time memory is taken or given back
    return np.cumsum([e.nbytes() for e in notes]).max() / 1e6


def share(mine: float, other: float) -> str:
    return f"{mine / other:.2f} ({mine:,.0f} of {other:,.0f} MB)"


# ---- optimizer steps beside TRL's trainers -------------------------------------------------------
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
    of ours, and the first two warm up."""
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
    low, middle, high = np.quantile((seconds[::2] / seconds[1::2])[1:], [0.25, 0.5, 0.75])
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def trl_steps(name: str, subject: Subject, after_step: Callable[[], None]) -> None:
    """TRL's trainer makes one optimizer step more than there are turns, on NanoWorld's rows."""
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
        rows = world.rows("train", kind, subject.rows * (subject.turns + 1), 0)
        file.write_text("\n".join(json.dumps(chat(row, kind)) for row in rows), encoding="utf-8")
        config = getattr(trl, f"{name.upper()}Config")(
            place, max_steps=subject.turns + 1, use_cpu=True, bf16=False, report_to="none",
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


# ---- the table -----------------------------------------------------------------------------------
def table(name: str, subject: Subject) -> None:
    """Markdown, each line as soon as it is measured."""
    say(f"| {name}: {machine()} | |\n|---|---|")
    lines: dict[str, Callable[[], str]] = {
        f"{what}: TRL's time / ours": lambda method=method: against_trl(method, subject)
        for method, (what, _, _) in METHODS.items()}
    lines["loss over 50,257 tokens: our peak memory / that of logits and cross-entropy"] = \
        loss_memory
    lines["step of SFT: peak memory with --activation-checkpointing / without"] = \
        lambda: checkpointing(subject)
    for what, measure in lines.items():
        try:
            figure = measure()
        except ImportError as e:
            figure = f"not measured: {e.name} is not installed"
        say(f"| {what} | {figure} |")


def machine() -> str:
    """Processor, its instruction set, how busy the machine is, and versions."""
    file = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.*)", file.read_text()) if file.exists() else []
    processor = names[0] if names else platform.processor()
    busy = f"load {os.getloadavg()[0]:.0f} on " if hasattr(os, "getloadavg") else ""    # Windows
    found = [f"{processor} with {torch.backends.cpu.get_cpu_capability()}", "one thread, fp32",
             f"{busy}{os.cpu_count()} cores"]
    for name in ("torch", "transformers", "trl"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found.append(f"{name} {importlib.metadata.version(name)}")
    return ", ".join([*found, time.strftime("%Y-%m-%d")])


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m lessons.bench", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", metavar="FOLDER", help="measure the model in this folder as well")
    parser.add_argument("--gpu", nargs="?", const="cuda", choices=("cuda", "cpu"),
                        help="check one device, and measure its speed and memory [cuda]; "
                             "cpu only tries this code")
    flags = parser.parse_args(argv)
    if flags.gpu:
        from lessons.bench import gpu
        return gpu.main(flags.gpu, flags.real)
    torch.set_num_threads(1)
    table("NanoWorld's base", nano())
    if flags.real:
        table(Path(flags.real).name, real(flags.real))
    return 0


if __name__ == "__main__":
    sys.exit(command(main))
