"""How fast is a training step beside TRL's, and how much memory does it take at most?

    python -m lessons.bench                             # NanoWorld's base, on the CPU
    python -m lessons.bench --real out/smollm2          # SmolLM2-135M as well
    python -m lessons.bench --gpu --real out/smollm2    # on a CUDA device: is it right?

Both programs take turns, and a ratio of their times is printed: above 1 nanouft is faster.
A step has 32 rows, with the real model 8; GRPO samples 4 answers to each of as many prompts. The
clock is CPU time, which other programs on the machine disturb less. What is printed goes into
docs/benchmarks.md.
"""
import argparse
import contextlib
import importlib.metadata
import os
import platform
import re
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from lessons.bench.beside_trl import METHODS, Subject, against_trl, if_installed, nano, real
from nanouft import world
from nanouft.data.batches import Batching, RowSource, encode
from nanouft.gpt import GPT, NANO
from nanouft.models.folders import start_model
from nanouft.objectives import OBJECTIVES
from nanouft.plumbing.entry import command
from nanouft.plumbing.printing import say

GPT2_VOCAB = 50_257


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
    source = RowSource(encode(demos, tok, 512)[0], Batching(subject.rows, steps=1), tok.pad)
    s = source(0).seqs["answer"]

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
        say(f"| {what} | {if_installed(measure)} |")


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
                        help="check one device in place of that [cuda]; cpu only tries this code")
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
