"""How fast is a training step beside TRL's?

    python -m lessons.bench                             # NanoWorld's base, on the CPU
    python -m lessons.bench --real out/smollm2          # SmolLM2-135M as well
    python -m lessons.bench --gpu --real out/smollm2    # on a CUDA device: is it right?

Both programs take turns on the same rows in the same order, and the ratio of their times is
printed: above 1 nanouft is faster. A step has 32 rows, with the real model 8; GRPO samples 4
answers to each of as many prompts. The clock is CPU time, which other programs on the machine
disturb less. What is printed goes into docs/benchmarks.md.
"""
import argparse
import contextlib
import importlib.metadata
import os
import platform
import re
import sys
import time
from pathlib import Path

import torch

from lessons.bench.beside_trl import METHODS, Subject, against_trl, if_installed, nano, real
from nanouft.plumbing.entry import command
from nanouft.plumbing.printing import say


def table(name: str, subject: Subject) -> None:
    """Markdown, each line as soon as it is measured."""
    say(f"| {name}: {machine()} | {subject.turns} steps together (quartiles of single ones) |",
        "|---|---|", sep="\n")
    for method, (what, _, _) in METHODS.items():
        ratio = if_installed(lambda method=method: against_trl(method, subject))
        say(f"| {what}: TRL's time / ours | {ratio} |")


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
