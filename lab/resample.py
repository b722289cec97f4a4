"""Does it pay to draw other prompts where all answers to a prompt earn the same?

    python -m lab.resample                  # 30 runs of GRPO, a quarter of an hour of one thread
    python -m lab.resample --seeds 1        # the first seed alone; what is finished is kept
    python -m lab.resample --table          # the table of the seeds that are there

Two starts: the base, which is often wrong, and the model after SFT, which is often right. Three
rows each, five seeds, the same prompts: GRPO; the same steps with --resample 3; GRPO for so many
steps that it samples as many tokens as that. Counted are ties, tokens, the reward of the last ten
rollouts before anything is drawn again, and the exact score of greedy answers (validation prompts).

Predicted before the first run. (1) --resample more than halves the share of groups that tie in a
step, at both starts. (2) After the same steps the score is higher, more so after SFT, where more
groups tie. (3) With as many tokens, plain GRPO is as good: a prompt that ties costs as much as one
that does not, and here its answers are short.
"""
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lab.cell import quiet, train_into
from lab.runner import Missing, open_store, run_missing, scratch
from lab.words import format_gain, markdown_table
from nanouft.eval import scores
from nanouft.eval.stats import interval
from nanouft.models.load import start_model
from nanouft.run import config, devices
from nanouft.run.storage import Lines

GRPO = ("--objective grpo --lr 1e-4 --batch-size 16 --skills fact,truth,sort --show-every 0 "
        "--plain").split()
STEPS, LAST, ITEMS, SEEDS = 40, 10, 60, 5
STARTS = {"base": "", "after SFT": "--objective sft --plain"}
PLAIN, RESAMPLE, TOKENS = "GRPO", "GRPO --resample 3", "GRPO, as many tokens"
FAMILIES = ("fact", "truth", "sort")
FILE = Path("docs/results/resample.jsonl")
FIGURES = {"ties": "groups that tie in a step, %", "reward": "reward of the last rollouts, %",
           "score": "score, %", "tokens": "tokens sampled, thousands", "steps": "steps"}


@dataclass
class Resample:
    seeds: int = SEEDS              # how many
    table: bool = False             # of the seeds that are there; trains nothing


@dataclass(frozen=True)
class Job:
    """One seed: its two starts, three runs each."""
    seed: int

    @property
    def keys(self) -> list[str]:
        return [key(start, row, self.seed) for start in STARTS for row in (PLAIN, RESAMPLE, TOKENS)]


def key(start: str, row: str, seed: int) -> str:
    return f"{start}: {row}, seed {seed}"


def run(job: Job) -> list[dict]:
    out = []
    with scratch("nanouft-resample-") as place:
        for start, flags in STARTS.items():
            init = "base"
            if flags:
                init = str(place / "start")
                trained(Path(init), flags.split(), "base", job.seed)
            plain = measured(place / f"{start}-0", init, job.seed, [])
            more = measured(place / f"{start}-1", init, job.seed, ["--resample", "3"])
            steps = round(STEPS * more["tokens"] / plain["tokens"])
            equal = measured(place / f"{start}-2", init, job.seed, [], steps)
            out += [{"key": key(start, row, job.seed), **found} for row, found in
                    ((PLAIN, plain), (RESAMPLE, more), (TOKENS, equal))]
    return out


def trained(folder: Path, flags: list[str], init: str, seed: int) -> None:
    with quiet():
        train_into(folder, flags, init, seed)


def measured(folder: Path, init: str, seed: int, flags: list[str], steps: int = STEPS) -> dict:
    """Train and ask."""
    trained(folder, [*GRPO, "--steps", str(steps), *flags], init, seed)
    log = Lines(folder / "metrics.jsonl").read()
    model, tok = start_model(str(folder))
    found, _ = scores.families(model, tok, devices.pick("cpu", "fp32", 1), "val", ITEMS, seed)
    answers = 16 * 4                                            # of a step
    return {"steps": steps, "ties": mean(line.get("ties_left", line["ties"]) for line in log),
            "reward": mean(line["reward"] for line in log[-LAST:]),
            "score": mean(found[family]["score"] for family in FAMILIES),
            "tokens": sum(line.get("sampled", answers * line["length"]) for line in log)}


def mean(values) -> float:
    return float(np.mean([*values]))


def table(done: dict, seeds: list[int]) -> list[str]:
    """Means over seeds with 95 % intervals; the gain over plain GRPO is of pairs of one seed."""
    out = ["", f"Seeds: {', '.join(map(str, seeds))}"]
    for start in STARTS:
        rows = []
        for row in (PLAIN, RESAMPLE, TOKENS):
            cells = [done[key(start, row, seed)] for seed in seeds]
            base = [done[key(start, PLAIN, seed)] for seed in seeds]
            gains = [x["score"] - y["score"] for x, y in zip(cells, base)]
            scale = {"tokens": 1e-3, "steps": 1}
            rows.append([row, *(f"{mean(x[name] * scale.get(name, 100) for x in cells):.1f}"
                                for name in FIGURES),
                         "" if row == PLAIN else format_gain(*interval(gains))])
        out += ["", f"Start: {start}", "",
                *markdown_table(["run", *FIGURES.values(), "score minus GRPO's"], rows)]
    return out[1:]


def main(argv=None) -> int:
    cfg, _ = config.parse(Resample, argv, "python -m lab.resample", __doc__)
    jobs = [Job(seed) for seed in range(cfg.seeds)]
    with open_store(FILE) as store:
        if not cfg.table:
            run_missing(jobs, store, 1, run)
        seeds = [job.seed for job in jobs if not store.lacks(job)]
        if len(seeds) < (2 if cfg.table else cfg.seeds):
            raise Missing(f"{FILE}: only seeds {seeds} are there; run python -m lab.resample")
        print("\n".join(table(store.done, seeds)))
    return 0


if __name__ == "__main__":
    sys.exit(config.run(main))
