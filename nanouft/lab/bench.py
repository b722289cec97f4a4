"""Speed, as ratios of two arms in one run on one machine.

    python -m nanouft.lab.bench --quick --out out/bench.json          # about 30 s on two cores

ift_over_sft   seconds of one optimizer step, IFT over SFT, both as `train` runs them: same rows, same batches, same
               head, same precision. Two forwards and a backward over one of each are 4/3, if a backward is two
               forwards.
tangent        seconds of one optimizer step of SFT, --tangent over the ordinary network.
sampling       seconds of transformers.generate over nanouft.generate, the same exported model (SFT, 10 s to make the
               first time), 64 prompts, temperature 1, until all answers stop, at most 64 tokens: what a rollout does.
decoding       the same for 32 greedy tokens of each answer, none of which may stop. (Both are skipped where
               transformers is not installed.)
Arms take turns on the same work; each piece of work counts with its fastest turn, since a busy neighbour can only slow.
"""
import contextlib
import io
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from nanouft import train, world
from nanouft.data.batches import Epochs, encode
from nanouft.lab.cells import Cell, kept_model
from nanouft.models.generate import generate
from nanouft.models.load import start_model
from nanouft.models.tangent import TangentGPT
from nanouft.objectives import OBJECTIVES
from nanouft.shell import config, devices
from nanouft.shell.files import write_json


@dataclass
class Bench:
    quick: bool = False             # fewer turns
    out: str | None = None          # also write the figures as JSON
    device: str = "auto"            # auto | cpu | cuda
    dtype: str = "auto"             # auto | fp32 | bf16 | fp16
    threads: int | None = None      # CPU threads


def stepper(name: str, device: devices.Device, tangent: bool = False) -> Callable[[int], None]:
    """A function that makes optimizer step i of objective `name`, exactly as train.fit does between its fences."""
    model, tok = start_model("base")
    model = (TangentGPT(model) if tangent else model).to(device.name)
    objective = OBJECTIVES[name]
    cfg, hp = train.Train(lr=objective.lr), objective.hp()
    encoded, _ = encode(objective.rows(world.rows("train", "demos", 1020, 0), hp), tok, model.cfg.n_ctx)
    source = Epochs(encoded, cfg.batch_size, 96, 0, tok.pad)
    optimizer, scaler = train.make_optimizer(model, cfg, device), device.scaler()

    def step(i: int) -> None:
        batch = source(i % 96).piece(0, 1).to(device.name)
        with device.autocast():
            objective.forward(model, batch, hp)
        loss, _ = objective.loss(batch, hp)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(model.parameters(), cfg.clip)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)
    return step


def seconds(work: Callable[[], None], device: devices.Device) -> float:
    if device.kind == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if device.kind == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def paired(a: Callable[[int], None], b: Callable[[int], None], jobs: int, turns: int, device: devices.Device) -> dict:
    """Seconds of a over seconds of b. Each arm does the same `jobs` in each of `turns` turns, in alternating order; a
    job counts with its fastest turn, which a busy neighbour disturbs least. The first turn warms up and is not
    counted. `low` and `high` are the quartiles of the ratio turn by turn: how disturbed the machine was."""
    times = np.zeros((turns + 1, jobs, 2))
    for turn in range(turns + 1):
        for job in range(jobs):
            arms = [(0, a), (1, b)] if (turn + job) % 2 else [(1, b), (0, a)]
            for which, work in arms:
                times[turn, job, which] = seconds(lambda: work(job), device)
    best = times[1:].min(0).sum(0)                                       # (2,)
    low, high = np.quantile(times[1:, :, 0].sum(1) / times[1:, :, 1].sum(1), [0.25, 0.75])
    return {"ratio": float(best[0] / best[1]), "low": float(low), "high": float(high), "turns": turns,
            "seconds_a": float(best[0] / jobs), "seconds_b": float(best[1] / jobs)}


def over_transformers(turns: int, device: devices.Device, new: int, sample: bool) -> dict | None:
    """transformers' seconds over ours for 64 answers of at most `new` tokens: above 1, ours is faster. Drawn at
    temperature 1 until they stop, or greedy and endless."""
    try:
        from transformers import GPT2LMHeadModel
        from transformers.utils import logging
    except ImportError:
        return None
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    with contextlib.redirect_stdout(io.StringIO()), devices.threads(1):             # a cell is trained with one
        tuned = kept_model(Cell(("--objective", "sft"), 0))
    theirs = GPT2LMHeadModel.from_pretrained(tuned).to(device.name).eval()
    model, tok = start_model(tuned)
    model.to(device.name)
    drawn = np.random.default_rng(0).permutation(world.rows("test", "prompts", 64 * 9, 0))
    batches = [[tok.prompt_ids(r.prompt) for r in part] for part in drawn.reshape(9, 64)[:4]]

    def ours(i: int) -> None:
        generate(model, batches[i], stop=tok.end if sample else -1, pad=tok.pad, max_new=new,
                 temperature=float(sample), seed=i)

    @torch.no_grad()
    def other(i: int) -> None:
        width = max(map(len, batches[i]))
        ids = torch.tensor([[tok.pad] * (width - len(p)) + p for p in batches[i]], device=device.name)
        how = {"do_sample": True, "top_k": 0, "top_p": 1.0, "eos_token_id": tok.end} if sample else {
            "do_sample": False, "min_new_tokens": new, "eos_token_id": None}
        torch.manual_seed(i)
        theirs.generate(ids, attention_mask=(ids != tok.pad).long(), max_new_tokens=new, pad_token_id=tok.pad, **how)
    return paired(other, ours, len(batches), turns, device)


def main(argv=None) -> int:
    cfg, _ = config.parse(Bench, argv, "python -m nanouft.lab.bench", __doc__)
    device = devices.pick(cfg.device, cfg.dtype, cfg.threads)
    turns = 7 if cfg.quick else 25
    result = {"device": f"{device.name} {device.dtype}", "threads": torch.get_num_threads(), "torch": torch.__version__}
    print(f"{result['device']}, {result['threads']} threads, torch {result['torch']}")
    r = paired(stepper("ift", device), stepper("sft", device), 8, turns, device)      # the first steps of a default run
    result["ift_over_sft"] = r
    print(f"ift_over_sft  {r['ratio']:.2f} (turn by turn [{r['low']:.2f}, {r['high']:.2f}]); "
          f"a step is {1000 * r['seconds_a']:.0f} ms (ift), {1000 * r['seconds_b']:.0f} ms (sft)")
    r = paired(stepper("sft", device, tangent=True), stepper("sft", device), 8, turns, device)
    result["tangent_over_ordinary"] = r
    print(f"tangent       {r['ratio']:.2f} (turn by turn [{r['low']:.2f}, {r['high']:.2f}])")
    for name, new, sample in (("sampling", 64, True), ("decoding", 32, False)):
        s = result[f"{name}_over_transformers"] = over_transformers(3 if cfg.quick else 9, device, new, sample)
        print(f"{name:<13} " + ("skipped: transformers is not installed" if s is None else
                                f"{s['ratio']:.2f} x transformers.generate (turn by turn [{s['low']:.2f}, "
                                f"{s['high']:.2f}]); 64 answers in {1000 * s['seconds_b']:.0f} ms"))
    if cfg.out:
        Path(cfg.out).parent.mkdir(parents=True, exist_ok=True)
        write_json(Path(cfg.out), result)
    return 0


if __name__ == "__main__":
    sys.exit(config.run(main))
