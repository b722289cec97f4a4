"""Reward over-optimisation: the learnt reward rises, the exact score rises and falls. How far can a
reward be trusted?

    python -m lab.overoptimise              # best-of-n and PPO, 5 seeds, 20 minutes of one core
    python -m lab.overoptimise --write      # only the table and the picture, from what is there

Gao, Schulman, Hilton 2022 (arXiv:2210.10760) measure a proxy reward against a larger reward model
that stands for the truth. Here the truth is NanoWorld's exact score. For each seed: an SFT model;
reward models from 100, 400 and 1,600 pairs of two samples of that model; then two ways to optimise
each:
  best-of-n   n = 1 to 64 from one set of 64 samples a prompt (best_of.py); distance: `best_of.kl`
  PPO         without a KL term, so that it moves as far as it can; score, reward and KL of its own
              rollouts
Beside them stand the exact score as the reward (the search is not to blame) and noise (it is: any
search by a wrong reward leaves the usual answers, which are better than the rare ones). Nats of KL
are per answer, to the SFT model. Rewards are shown in standard deviations of the SFT model's
samples to one prompt, from their mean. Prompts of pairs, of best-of-n and of SFT are drawn by
different seeds; a few of the 576 questions about creatures come again.
"""
import sys
import zlib
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from lab.cell import Cell, kept_model, quiet
from lab.runner import open_store, read_lines, results_of, run_missing
from lab.words import format_interval, markdown_table, read_template
from nanouft import reward, world
from nanouft.data.batches import encode
from nanouft.data.rows import pair_rows
from nanouft.errors import UserError, in_range
from nanouft.eval import plots
from nanouft.eval.stats import interval
from nanouft.models.load import start_model
from nanouft.rewards import best_of
from nanouft.rewards.scorer import RewardModel, exact, load, save
from nanouft.run import config, devices
from nanouft.run.storage import Lines, made_once, write_text
from nanouft.sampling import answer_rows

# pairs -> optimizer steps: four times the pairs, twice the steps
SIZES = {100: 25, 400: 50, 1600: 100}
SEEDS = 5                                   # a seed draws demonstrations, pairs, samples and order
NS = (1, 2, 4, 8, 16, 32, 64)
# of best-of-n: prompts, the same number of every family; answers to each
PROMPTS = 48
SAMPLES = 64
# No end penalty: it is in units of the reward, so each reward model would have another one. A large
# rate, to go far in few steps.
PPO = ("--objective", "ppo", "--beta", "0", "--samples", "4", "--minibatches", "2", "--passes", "1",
       "--vf", "1", "--end-penalty", "0", "--lr", "3e-4", "--steps", "48", "--show-every", "0")
RESULTS = "docs/results"
WORK = Path("out/over_optimisation")  # folder of the models; once lines are there it may be deleted


@dataclass
class OverOptimise:
    write: bool = False             # table and picture from what is there; trains nothing
    out: str = RESULTS              # folder of over_optimisation.jsonl, .md and .png
    workers: int = 2                # processes of one thread each


# ---- models, made once ---------------------------------------------------------------------------
def sft(seed: int) -> Cell:
    return Cell(("--objective", "sft"), seed)


def reward_models(seed: int, work: Path) -> dict[int, Path]:
    """{pairs: folder}, from the first 100, 400 and 1,600 of one draw of pairs; all begin at the SFT
    model."""
    folders = {n: work / f"reward-{n}-{seed}" for n in SIZES}
    if all((f / "model.safetensors").exists() for f in folders.values()):
        return folders
    start = kept_model(sft(seed), work)
    model, tok = start_model(start)
    rows = reward.sampled_pairs(model.eval(), tok, "train", max(SIZES), 100 + seed)
    pairs, _ = encode(pair_rows(rows, None), tok, model.cfg.n_ctx - 1)

    def make(n: int, place: Path) -> None:
        made = RewardModel(start_model(start)[0])
        reward.fit(made, pairs[:n], reward.Reward(seed=seed), SIZES[n], tok.pad,
                   devices.pick("cpu", "fp32", 1), place)
        save(place, made, tok)

    return {n: made_once(folder, partial(make, n)) for n, folder in folders.items()}


# ---- best-of-n -----------------------------------------------------------------------------------
def draw(seed: int, work: Path) -> tuple[list[str], list[str], np.ndarray]:
    """(prompts, answers, exact scores (prompts, samples)): `samples` answers of the SFT model to
    each prompt."""
    model, tok = start_model(kept_model(sft(seed), work))
    rows = [r for r in world.rows("train", "prompts", PROMPTS, 200 + seed) for _ in range(SAMPLES)]
    answers = answer_rows(model.eval(), tok, rows, temperature=1.0, seed=200 + seed)
    asked, texts = [r.prompt[-1].text for r in rows], [tok.decode(a.ids).strip() for a in answers]
    return asked, texts, exact(asked, texts).reshape(-1, SAMPLES)


def noise(prompts: list[str], answers: list[str]) -> np.ndarray:
    """A reward that knows nothing, a number by lot for each text: what the search alone does."""
    return np.array([zlib.crc32(f"{p}\n{a}".encode()) / 2**32 for p, a in zip(prompts, answers)])


def curve(likes: np.ndarray, scores: np.ndarray, usual: np.ndarray) -> dict:
    """From rewards, exact scores and `usual`, the share of samples that say the same (each
    (prompts, N)): best-of-n for each n, what one unit of reward is, and `agreement`, the share of
    couples of unequally good answers to one prompt that the reward puts in the right order (a coin:
    .5)."""
    spread = float(np.sqrt(likes.var(1).mean())) or 1.0
    gap_r, gap_s = likes[:, :, None] - likes[:, None], scores[:, :, None] - scores[:, None]
    better = gap_s > 0
    agreement = float((0.5 + 0.5 * np.sign(gap_r[better])).mean()) if better.any() else 0.5
    points = [{"n": n, "kl": float(best_of.kl(n, likes).mean()), "bound": best_of.kl_bound(n),
               "score": float(best_of.best_of(n, likes, scores).mean()),
               "usual": float(best_of.best_of(n, likes, usual).mean()),
               "reward": float((best_of.best_of(n, likes, likes).mean() - likes.mean()) / spread)}
              for n in NS if n <= likes.shape[1]]
    return {"mean": float(likes.mean()), "spread": spread, "agreement": agreement,
            "curve": points}


def best_of_n(seed: int, work: Path) -> list[dict]:
    """One line for each reward model of a seed, and one each for the exact score and for noise as
    the reward."""
    prompts, answers, scores = draw(seed, work)
    times = Counter(zip(prompts, answers))
    usual = np.array([times[text] / SAMPLES
                      for text in zip(prompts, answers)]).reshape(scores.shape)
    scorers = {("exact", 0): exact, ("noise", 0): noise}
    scorers |= {("samples", n): load(folder) for n, folder in reward_models(seed, work).items()}
    return [{**about("best-of", *reward, seed),
             **curve(score(prompts, answers).reshape(scores.shape), scores, usual)}
            for reward, score in scorers.items()]


# ---- PPO -----------------------------------------------------------------------------------------
def ppo(unit: dict, work: Path) -> dict:
    """Train against the reward of `unit`, a line of best-of-n, which says where this reward starts
    and how large it is; -> what the rollouts of the run said."""
    source, n, seed = unit["source"], unit["pairs"], unit["seed"]
    name = "exact" if source == "exact" else str(reward_models(seed, work)[n])
    folder = Path(kept_model(Cell((*PPO, "--reward", name), 200 + seed, sft(seed)), work))
    points = [{"step": m["step"], "kl": m["kl_answer"], "score": m["score"], "ends": m["ends"],
               "reward": (m["reward"] - unit["mean"]) / unit["spread"]}
              for m in Lines(folder / "metrics.jsonl").read()[::2]]  # two steps are one rollout
    return {**about("ppo", source, n, seed), "curve": points}


# ---- a job: all lines of a seed ------------------------------------------------------------------
def about(part: str, source: str, pairs: int, seed: int) -> dict:
    """What a line is about, and its key."""
    return {"key": f"{part} {source} {pairs} {seed}", "part": part, "source": source,
            "pairs": pairs, "seed": seed}


@dataclass
class Seed:
    seed: int
    work: Path

    @property
    def keys(self) -> list[str]:
        rewards = [("exact", 0), *(("samples", n) for n in SIZES)]
        lines = [*((part, *r) for part in ("best-of", "ppo") for r in rewards),
                 ("best-of", "noise", 0)]
        return [about(*line, self.seed)["key"] for line in lines]

    @property
    def key(self) -> str:
        return self.keys[0]

    def __str__(self) -> str:
        return f"seed {self.seed}"


def run_seed(job: Seed) -> list[dict]:
    devices.pick("cpu", "fp32", 1)
    with quiet():
        lines = best_of_n(job.seed, job.work)
        return lines + [ppo(unit, job.work) for unit in lines if unit["source"] != "noise"]


read_study = partial(read_lines, names=(*about("", "", 0, 0), "curve"))


# ---- what came out -------------------------------------------------------------------------------
def arms(lines: list[dict]) -> dict[tuple[str, str, int], list[dict]]:
    """{(part, source, pairs): its lines, one a seed}."""
    out: dict = {}
    for x in sorted(lines, key=lambda x: (x["part"], x["source"], x["pairs"], x["seed"])):
        out.setdefault((x["part"], x["source"], x["pairs"]), []).append(x)
    return out


def over_seeds(some: list[dict], key: str) -> tuple[np.ndarray, np.ndarray]:
    """(means, half widths of 95 % t-intervals) of a figure along the curve; curves end where the
    shortest ends."""
    short = min(len(x["curve"]) for x in some)
    both = [interval([x["curve"][i][key] for x in some]) for i in range(short)]
    return np.array([m for m, _ in both]), np.array([h for _, h in both])


def page(lines: list[dict]) -> str:
    """Markdown: exact score at the start, at its best and at the end of every curve, and how far
    the reward went."""
    rows = []
    for (part, source, pairs), some in arms(lines).items():
        score, half = over_seeds(some, "score")
        far, _ = over_seeds(some, "kl")
        likes, wide = over_seeds(some, "reward")
        top = int(score.argmax())
        change = interval([x["curve"][len(score) - 1]["score"] - x["curve"][0]["score"]
                           for x in some])
        agree = (format_interval(*interval([x["agreement"] for x in some]))
                 if part == "best-of" else "")
        names = {"exact": "the exact score", "noise": "noise"}
        name = names.get(source, f"{pairs:,} pairs of {source}")
        often = over_seeds(some, "usual")[0] if part == "best-of" else None
        start, best, end = (format_interval(score[at], half[at]) for at in (0, top, -1))
        rows.append(["best of 64" if part == "best-of" else "PPO", name, agree, start,
                     f"{best}, {far[top]:.1f}", f"{end}, {far[-1]:.1f}", format_interval(*change),
                     format_interval(likes[-1], wide[-1], 1),
                     "" if often is None else f"{100 * often[0]:.0f}, {100 * often[-1]:.0f}"])
    table = markdown_table(["optimised by", "reward", "agreement", "start", "best, at KL",
                            "end, at KL", "change", "its reward", "usual"], rows)
    return read_template("over_optimisation.md")[0].format(table="\n".join(table))


def picture(lines: list[dict], file: Path) -> Path:
    """Above the exact score, below the learnt reward, over KL; a column for each way to
    optimise."""
    titles = {"best-of": "best of n", "ppo": "PPO without a KL penalty"}
    styles = {n: (f"{mark}-", colour) for n, mark, colour in zip(SIZES, "os^", plots.LINES)}
    # PPO's KL by the exact score comes and goes: points, no line
    plain = {("best-of", "exact"): "--", ("best-of", "noise"): ":", ("ppo", "exact"): "x"}
    fig, axes = plots.plt.subplots(2, 2, figsize=(13, 10), sharey="row")
    for (part, source, pairs), some in arms(lines).items():
        above, below = axes[:, list(titles).index(part)]
        line, colour = styles[pairs] if pairs else (plain[part, source], "black")
        label = f"{pairs:,} pairs" if pairs else "noise" if source == "noise" else "the exact score"
        for ax, key, scale in ((above, "score", 100), (below, "reward", 1))[:2 if pairs else 1]:
            (y, half), (x, _) = over_seeds(some, key), over_seeds(some, "kl")
            order = np.argsort(x, kind="stable")                # PPO's KL goes up and down a little
            x, y, half = x[order], scale * y[order], scale * half[order]
            ax.plot(x, y, line, color=colour, label=label,
                    markevery=max(1, len(x) // 8) if pairs else None)
            if pairs and len(some) > 2:  # two seeds give an interval of no use
                ax.fill_between(x, y - half, y + half, color=colour, alpha=0.15, lw=0)
        above.set(title=titles[part], ylim=(0, 103))
        below.set_xlabel("KL to the SFT model, nats per answer")
    axes[0, 0].set_ylabel("exact score, %")
    axes[1, 0].set_ylabel("learnt reward, SD from the start")
    axes[0, 0].legend(frameon=False, loc="lower left", title="reward from (bands: 95 %)")
    return plots.save(fig, file)


def main(argv=None) -> int:
    cfg, _ = config.parse(OverOptimise, argv, "python -m lab.overoptimise", __doc__)
    in_range(cfg, "workers", low=1, high=64)
    file = Path(cfg.out) / "over_optimisation.jsonl"
    if not cfg.write:
        jobs = [Seed(seed, WORK) for seed in range(SEEDS)]
        with open_store(file, read_study) as store:
            run_missing(jobs, store, cfg.workers, run_seed)
            results_of(jobs, store.done, "Run the same command again, and it makes them")
    lines = list(read_study(file).values())
    if not lines:
        raise UserError(f"{file}: nothing is there yet; run the study first, from the project's "
                        "root")
    text, committed = page(lines), file.parent.resolve() == Path(RESULTS).resolve()
    drawn = picture(lines,
                    Path("docs/over_optimisation.png") if committed else file.with_suffix(".png"))
    write_text(file.with_suffix(".md"), text)
    print(f"{text}\npicture: {drawn}")
    return 0


if __name__ == "__main__":
    sys.exit(config.run(main))
