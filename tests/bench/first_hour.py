"""The first hour on a GPU: does all of nanouft run there, is it right, how fast, in what memory?

    python -m tests.bench.first_hour                            # writes out/first-hour.json
    python -m tests.bench.first_hour --show out/first-hour.json # its tables, for docs/benchmarks.md
    python -m tests.bench.first_hour --device cpu --only LoRA   # a part of it, smaller, on a CPU

Each line is a command in a process of its own, so one that fails ends no other. The same command
goes on after a break and tries again what has failed. first_hour.ipynb is this for a hosted GPU.
It needs the extra `hf`; with TRL (pip install trl) it also times both programs.
"""
import argparse
import importlib.util
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import torch

from nanouft.compare.report import environment_text
from nanouft.objectives import OBJECTIVES
from nanouft.plumbing.entry import command
from nanouft.plumbing.files import read_json, remove, write_json
from nanouft.plumbing.printing import say
from nanouft.run.evaluation import mean_score
from nanouft.run.folder import read_lines

MODEL = "hub:HuggingFaceTB/SmolLM2-135M-Instruct"
LONGEST = 1200                  # seconds of a command
WITH_MEMORY = """
import atexit, runpy, sys, torch
if torch.cuda.is_available():
    atexit.register(lambda: print(f"peak {torch.cuda.max_memory_allocated() / 1e9:.2f} GB"))
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


def lines_of(device: str, model: str, gpus: int) -> dict[str, str]:
    """{what is tried: its command}, the most telling first."""
    train = f"nanouft.train --device {device} --objective"
    real = f"--init {model} --items 0 --plain --steps {20 if device == 'cuda' else 1}"
    halves = ["fp32", "bf16"] + ["fp16"] * (device != "cpu")
    lines = {"README's first run": f"{train} ift",
             "is it right?": f"tests.bench --gpu {device}"}
    lines |= {f"{name}, three steps": f"{train} {name} --steps 3 --rows 96 --items 0 --plain"
              for name in OBJECTIVES}
    lines |= {f"{name}, all weights, {dtype}": f"{train} {name} --dtype {dtype} {real}"
              for name in ("sft", "dpo") for dtype in halves}
    lines |= {"sft, all weights, bf16, compiled": f"{train} sft --dtype bf16 --compile {real}"}
    lines |= {f"{name}, LoRA, {dtype}": f"{train} {name} --lora 16 --dtype {dtype} {real}"
              for name in ("sft", "dpo", "grpo") for dtype in halves}
    lines["a comparison on all GPUs"] = (
        f"nanouft.compare sft dpo --device {device} --skills list --rows 96 --steps 6 --tries 1 "
        f"--seeds {max(2, gpus)} --items 20 --workers {max(1, gpus)}")
    if importlib.util.find_spec("trl"):
        lines["beside TRL"] = f"tests.bench --device {device} --init {model} --dtype fp32 bf16"
    return lines


def tried(line: str, run: Path) -> dict:
    """How a command ended, and its figures."""
    module, *words = line.split()
    if module.startswith("nanouft."):
        words += ["--out", str(run)]
    # transformers' Trainer, beside which ours is timed, would give each GPU a batch of its own
    one_gpu = {"CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]}
    began = time.time()
    try:
        done = subprocess.run([sys.executable, "-c", WITH_MEMORY, module, *words], text=True,
                              capture_output=True, timeout=LONGEST, encoding="utf-8",
                              env=os.environ | (one_gpu if module == "tests.bench" else {}))
        code, out, err = done.returncode, done.stdout, done.stderr
    except subprocess.TimeoutExpired:
        code, out, err = -1, "", f"not done after {LONGEST} s"
    found = {"command": f"python -m {module} {' '.join(words)}", "code": code,
             "seconds": round(time.time() - began, 1)}
    speeds = re.findall(r"([\d,]+) tok/s", err)
    if speeds:
        found["tokens a second"] = int(speeds[-1].replace(",", ""))
    if peak := re.search(r"peak ([\d.]+) GB", out):
        found["GB"] = float(peak[1])
    if (run / "metrics.jsonl").exists():
        rows = read_lines(run / "metrics.jsonl")
        found["losses"] = [row["loss"] for row in rows if "loss" in row]
    if (run / "eval.json").exists():
        scores = read_json(run / "eval.json")
        found["scores"] = [round(100 * mean_score(scores[when]["families"]), 1)
                           for when in ("before", "after") if scores[when].get("families")]
    if code or module == "tests.bench":
        found["printed"] = (out + err[-2000:]).splitlines()[-40:]
    return found


def tables(hour: dict) -> list[str]:
    """Markdown: a line for each command, then what the benches have printed."""
    rows = ["| command | s | tok/s | GB | loss, or score: first, last | |",
            "|---|---|---|---|---|---|"]
    for what, x in hour["tried"].items():
        numbers = x.get("scores") or x.get("losses") or []
        told = ", ".join(f"{number:.4}" for number in numbers[:1] + numbers[-1:])
        rows.append(f"| {what} | {x['seconds']:.0f} | {x.get('tokens a second', '')} | "
                    f"{x.get('GB', '')} | {told} | {'**failed**' if x['code'] else 'ran'} |")
    printed = [f"**{what}:**\n```\n" + "\n".join(x["printed"]) + "\n```"
               for what, x in hour["tried"].items() if "printed" in x]
    return [f"**{hour['machine']}**, {hour['date']}\n", *rows, "", *printed]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.first_hour", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--init", metavar="FOLDER", default=MODEL, help=f"the real model [{MODEL}]")
    parser.add_argument("--only", metavar="WORDS", default="", help="lines that have these words")
    parser.add_argument("--out", metavar="FILE", default="out/first-hour.json")
    parser.add_argument("--show", metavar="FILE", help="print a file's tables, and run nothing")
    flags = parser.parse_args(argv)
    if flags.show:
        say(*tables(read_json(Path(flags.show))), sep="\n")
        return 0
    file = Path(flags.out)
    gpus = torch.cuda.device_count() if flags.device == "cuda" else 0
    hour = read_json(file) if file.exists() else {
        "machine": f"{gpus} GPUs: {environment_text(flags.device)}",
        "date": time.strftime("%Y-%m-%d"),
        "tried": {}}
    for what, line in lines_of(flags.device, flags.init, gpus).items():
        if flags.only not in what or hour["tried"].get(what, {}).get("code") == 0:
            continue
        run = file.parent / "first-hour"
        remove(run)
        found = hour["tried"][what] = tried(line, run)
        write_json(file, hour)
        say(f"{'ok  ' if found['code'] == 0 else 'LOOK'}  {what:<36} {found['seconds']:.0f} s")
    remove(file.parent / "first-hour")
    failed = [what for what, x in hour["tried"].items() if x["code"]]
    say(f"{len(hour['tried'])} commands, {len(failed)} failed. Please send {file} in an issue of "
        "this project, with the name of the GPU as its title")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(command(main))
