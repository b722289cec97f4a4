"""Speed and memory beside transformers and TRL, as ratios of two programs that take turns.

    python -m lessons.bench                             # about three minutes on an idle core
    python -m lessons.bench --real out/smollm2          # and SmolLM2-135M: 12 minutes more
    python -m lessons.bench --write                     # the same, and docs/benchmarks.md
    python -m lessons.bench --gpu --real out/smollm2    # one CUDA device: checks, costs

A step has 32 rows; sampling answers 64 prompts at temperature 1 until every answer stops; GRPO
samples 4 answers to each of 32 prompts. With the real model all three are 8 rows and prompts. The
clock is CPU time, which busy neighbours disturb less.
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
from numpy.typing import ArrayLike

from lessons.bench.beside_trl import trl_steps
from lessons.bench.subjects import Subject, nano, our_steps, quiet, real
from nanouft import world
from nanouft.data.batches import Epochs, encode
from nanouft.errors import command, say
from nanouft.gpt import BASE, GPT, NANO
from nanouft.models.folders import start_model
from nanouft.models.generate import generate
from nanouft.objectives import OBJECTIVES

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"
TURNS, GPT2_VOCAB = 15, 50_257
Work = Callable[[int], object]


def race(theirs: Work, ours: Work, turns: int = TURNS) -> str:
    """The seconds of `theirs` over those of `ours`, which take turns; whoever is first changes."""
    seconds: dict[Work, list[float]] = {theirs: [], ours: []}
    for turn in range(turns + 1):
        for work in (theirs, ours) if turn % 2 else (ours, theirs):
            start = time.process_time()
            work(turn)
            seconds[work].append(time.process_time() - start)
    return ratio(seconds[theirs], seconds[ours])


def ratio(theirs: ArrayLike, ours: ArrayLike) -> str:
    """Median and quartiles; the first turn has warmed up."""
    low, middle, high = np.quantile(np.divide(theirs, ours)[1:], [0.25, 0.5, 0.75])
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def theirs_of(folder: str | Path) -> torch.nn.Module:
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def step() -> str:
    net = theirs_of(BASE)
    model, tok = start_model("base")
    demos = world.rows("train", "demos", 1020, 0)
    rows, _ = encode(OBJECTIVES["sft"]().choose(demos), tok, 512)
    source = Epochs(rows, 32, TURNS + 1, 0, tok.pad)
    batches = [source(i).seqs["answer"] for i in range(TURNS + 1)]

    def ours(i: int) -> None:
        (-model(batches[i].inputs, want="logp", targets=batches[i].targets).mean()).backward()
        model.zero_grad()

    def theirs(i: int) -> None:
        net(batches[i].inputs, labels=batches[i].inputs,
            shift_labels=batches[i].targets).loss.backward()
        net.zero_grad()
    return race(theirs, ours)


def sampling(subject: Subject) -> str:
    net, (model, tok) = theirs_of(subject.folder), start_model(subject.folder)
    rows = np.random.default_rng(0).permutation(world.rows("test", "prompts", 576, 0))
    rows = rows[:subject.prompts]
    prompts = [tok.prompt_ids(row.prompt) for row in rows]
    width = max(map(len, prompts))
    ids = torch.tensor([[tok.pad] * (width - len(p)) + p for p in prompts])

    def ours(_: int) -> None:
        generate(model, prompts, stop=tok.end, pad=tok.pad, max_new=64, temperature=1.0, seed=0)

    @torch.no_grad()
    def theirs(_: int) -> None:
        torch.manual_seed(0)
        net.generate(ids, attention_mask=(ids != tok.pad).long(), max_new_tokens=64, do_sample=True,
                     top_k=0, top_p=1.0, eos_token_id=tok.end, pad_token_id=tok.pad)
    return race(theirs, ours, subject.turns)


def memory() -> str:
    model = GPT(replace(NANO, vocab_size=GPT2_VOCAB), seed=0)
    ids = torch.randint(GPT2_VOCAB, (8, 129), generator=torch.Generator().manual_seed(0))
    inputs, targets = ids[:, :-1], ids[:, 1:]

    def ours() -> None:
        (-model(inputs, want="logp", targets=targets).mean()).backward()
        model.zero_grad()

    def theirs() -> None:
        F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten()).backward()
        model.zero_grad()
    mine, other = peak_memory(ours), peak_memory(theirs)
    return f"{mine / other:.2f} ({mine / 1e6:.0f} of {other / 1e6:.0f} MB)"


def checkpointing(subject: Subject) -> str:
    """The peak of a step of SFT, gradients included, with and without activation checkpointing."""
    model, tok = start_model(subject.folder)
    demos = OBJECTIVES["sft"]().choose(world.rows("train", "demos", 1020, 0))
    batch = Epochs(encode(demos, tok, 512)[0], subject.rows, 1, 0, tok.pad)(0).seqs["answer"]

    def work() -> None:
        (-model(batch.inputs, want="logp", targets=batch.targets).mean()).backward()
        model.zero_grad()
    other = peak_memory(work)
    model.activation_checkpointing_enable()
    mine = peak_memory(work)
    return f"{mine / other:.2f} ({mine / 1e6:,.0f} of {other / 1e6:,.0f} MB)"


def peak_memory(work: Callable[[], None]) -> int:
    """Bytes: the most that tensors made by `work` take at one time."""
    with torch.profiler.profile(profile_memory=True) as profile:
        work()
    notes = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    notes.sort(key=lambda e: e.start_ns())              # each time memory is taken or given back
    return int(np.cumsum([e.nbytes() for e in notes]).max())


# ---- optimizer steps beside TRL's trainers -------------------------------------------------------
def against_trl(name: str, subject: Subject, **settings) -> str:
    """The seconds of TRL's steps over ours; after each of theirs we make one of ours."""
    with quiet():
        ours = our_steps(name, subject)
    clock = [time.process_time()]

    def after_their_step() -> None:
        clock.append(time.process_time())
        next(ours)
        clock.append(time.process_time())
    with quiet():
        trl_steps(name, subject, after_their_step, settings)
    seconds = np.diff(clock)
    return ratio(seconds[::2], seconds[1::2])


def against_our_sft(name: str, subject: Subject) -> str:
    """The seconds of our steps of another method over those of our SFT."""
    with quiet():
        theirs, ours = our_steps(name, subject), our_steps("sft", subject)
    return race(lambda _: next(theirs), lambda _: next(ours), subject.turns)


# ---- the table -----------------------------------------------------------------------------------
Lines = dict[str, Callable[[], str]]


def nano_lines() -> Lines:
    return {"forward and backward: transformers' time / ours": step,
            "loss over 50,257 tokens: our peak memory / that of logits and cross-entropy": memory,
            **common_lines(nano())}


def real_lines(subject: Subject) -> Lines:
    return {**common_lines(subject),
            "optimizer step of DPO: TRL's time without precomputed references / ours with them":
                lambda: against_trl("dpo", subject),
            "optimizer step: IFT's time / SFT's, both ours":
                lambda: against_our_sft("ift", subject),
            "step of SFT: peak memory with --activation-checkpointing / without":
                lambda: checkpointing(subject)}


def common_lines(subject: Subject) -> Lines:
    return {"sampled answers: transformers' time / ours": lambda: sampling(subject),
            "optimizer step of SFT: TRL's time / ours": lambda: against_trl("sft", subject),
            "optimizer step of DPO, references precomputed: TRL's time / ours":
                lambda: against_trl("dpo", subject, precompute_ref_log_probs=True),
            "optimizer step of KTO, references precomputed: TRL's time / ours":
                lambda: against_trl("kto", subject, precompute_ref_log_probs=True),
            "step of GRPO with its answers: TRL's time / ours":
                lambda: against_trl("grpo", subject)}


HEAD = """# Benchmarks

Each figure is a ratio of two programs that take turns on one machine: the median, with quartiles in
brackets. Above 1 means that nanouft is faster. The ratio measures the processor and its load as
well, because a large part of both times are the same matrix products, whose speed differs between
processors. So compare two versions of nanouft only in one run on one machine. With a real model
both programs run the same layers of transformers, so that only the rest can differ, above all
padding and logits that the loss does not need.

```bash
python -m lessons.bench --real out/smollm2 --write      # 15 minutes of a core; needs TRL
python -m lessons.bench --gpu --real out/smollm2        # one CUDA device
```

A processor with AVX-512 computes as one with AVX2 after `export ATEN_CPU_CAPABILITY=avx2
MKL_ENABLE_INSTRUCTIONS=AVX2 ONEDNN_MAX_CPU_ISA=AVX2`. Such a table is copied from what is printed.

On a GPU: not measured. `--gpu` compares losses, gradients, resume and compilation with those of the
CPU, and then prints tokens per second and peak memory of SFT, IFT, DPO and GRPO. `train --compile`
compiles the model in its first steps (three graphs for IFT), which is meant for long runs on CUDA.

"""


def machine() -> str:
    """Processor, its instruction set, how busy the machine is, and versions."""
    file = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.*)", file.read_text()) if file.exists() else []
    processor = names[0] if names else platform.processor()
    found = [f"{processor} with {torch.backends.cpu.get_cpu_capability()}", "one thread, fp32",
             f"load {os.getloadavg()[0]:.0f} on {os.cpu_count()} cores"]
    for name in ("torch", "transformers", "trl"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found.append(f"{name} {importlib.metadata.version(name)}")
    return ", ".join([*found, time.strftime("%Y-%m-%d")])


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m lessons.bench", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md")
    parser.add_argument("--real", metavar="FOLDER", help="measure the model in this folder as well")
    parser.add_argument("--gpu", nargs="?", const="cuda", choices=("cuda", "cpu"),
                        help="checks and costs of one device [cuda]; cpu tries the code")
    flags = parser.parse_args(argv)
    if flags.gpu:
        from lessons.bench import gpu
        return gpu.main(flags.gpu, flags.real)
    torch.set_num_threads(1)
    page = HEAD + table(f"NanoWorld's base: {machine()}", nano_lines())
    if flags.real:
        page += "\n" + table(f"{Path(flags.real).name}: {machine()}", real_lines(real(flags.real)))
    if flags.write:
        PAGE.write_text(page, encoding="utf-8")
    return 0


def table(title: str, lines: Lines) -> str:
    """Markdown, and each line as soon as it is measured."""
    say(title)
    out = f"| {title} | |\n|---|---|\n"
    for what, measure in lines.items():
        try:
            figure = measure()
        except ImportError as e:
            figure = f"not measured: {e.name} is not installed"
        say(f"{what:78} {figure}")
        out += f"| {what} | {figure} |\n"
    return out


if __name__ == "__main__":
    sys.exit(command(main))
