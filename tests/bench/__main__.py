"""How fast is a training step, compared with TRL's?

    python -m tests.bench                             # NanoWorld's base, on the CPU
    python -m tests.bench --init out/smollm2          # a real model, such as SmolLM2-135M

Both programs take turns on the same rows in the same order, and the ratio of their times is
printed: above 1 nanouft is faster. Both compute in fp32, both in bf16, and each as it does by
default. A step has 32 rows, with a real model 8; GRPO samples 4 answers to each of as many
prompts. The clock is CPU time, which other programs on the machine disturb less. What is
printed goes into docs/benchmarks.md.
"""
import argparse
import os
import sys
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import torch

from nanouft.compare.report import cpu_name
from nanouft.device import choose_device, cores, processor
from nanouft.models.folders import folder_of
from nanouft.plumbing.entry import command
from nanouft.plumbing.printing import say
from tests.bench.beside_trl import DTYPES, METHODS, Subject, against_trl, nano


def machine() -> str:
    """Processor, its instruction set, how busy the machine is, and versions."""
    busy = f"load {os.getloadavg()[0]:.0f} on " if hasattr(os, "getloadavg") else ""    # Windows
    found = [cpu_name(), processor(), "one thread", f"{busy}{cores()} cores"]
    found += [f"{name} {version(name)}" for name in ("torch", "transformers", "trl")]
    return ", ".join([*found, time.strftime("%Y-%m-%d")])


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--init", metavar="FOLDER", help="measure this model [NanoWorld's base]")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=[*METHODS])
    parser.add_argument("--dtype", nargs="+", choices=DTYPES, default=[*DTYPES],
                        help=f"precision; {DTYPES['defaults'][0]} [all three]")
    parser.add_argument("--device", default="cpu", help="where both compute, such as cuda [cpu]")
    flags = parser.parse_args(argv)
    torch.set_num_threads(1)
    here = machine()                                    # raises before any training without TRL
    subject = Subject(str(folder_of(flags.init)), rows=8, turns=3) if flags.init else nano()
    subject = replace(subject, device=choose_device(flags.device).name)
    say(f"| {Path(flags.init or 'NanoWorld').name}: {here} | {subject.turns} steps together "
        "(quartiles of single ones) |", "|---|---|", sep="\n")
    for method in flags.methods:
        for dtype in flags.dtype:                       # each line as soon as it is measured
            ratio = against_trl(method, subject, dtype)
            say(f"| {METHODS[method][0]}, {DTYPES[dtype][0]}: TRL's time / ours | {ratio} |")
    return 0


if __name__ == "__main__":
    sys.exit(command(main))
