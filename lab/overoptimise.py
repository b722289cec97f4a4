"""Reward over-optimisation: the learnt reward rises, the exact score rises and falls. How far can a reward be trusted?

    python -m lab.overoptimise                  # best-of-n and PPO, 5 seeds, about 20 minutes of one core
    python -m lab.overoptimise --part best-of   # without PPO, about 10 minutes
    python -m lab.overoptimise --part table     # only the table and the picture, from what is there

Gao, Schulman, Hilton 2022 (arXiv:2210.10760) measure a proxy reward against a larger reward model that stands for the
truth. Here the truth is NanoWorld's exact score. For each seed: an SFT model; reward models from 100, 400 and 1,600
pairs, of two samples of that SFT model ("samples", as in RLHF) or of right and spoilt answers ("corruptions"); then
two ways to optimise each:
  best-of-n   n = 1 to 64 from one set of 64 samples a prompt (best_of.py); distance: `best_of.kl`
  PPO         --objective ppo --reward DIR --beta 0: no KL term, so that it moves as far as it can; reward models of
              "samples" only; score, reward and KL are those of its own rollouts
Beside them stand the exact score as the reward (the search is not to blame) and noise (it is: any search by a wrong
reward leaves the usual answers, which are better than the rare ones).
Nats of KL are per answer, to the SFT model. Rewards have no unit: they are shown in standard deviations of the SFT
model's samples to one prompt, from their mean. Resumable: a finished piece is a line of docs/results/. Prompts of
pairs, of best-of-n and of SFT are drawn by different seeds; a few of the 576 questions about creatures come again.
"""
import sys
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from lab.cell import quiet, train_into
from lab.runner import Store, open_store, read_lines, refuse_other_form, results_of, run_missing
from lab.words import format_interval, markdown_table, read_template
from nanouft import reward, world
from nanouft.data.batches import encode
from nanouft.data.rows import pair_rows
from nanouft.look import plots
from nanouft.look.stats import interval
from nanouft.models.generate import answer_rows
from nanouft.models.load import start_model
from nanouft.rollout import best_of
from nanouft.rollout.scorer import RewardModel, exact, load, save
from nanouft.shell import config, devices
from nanouft.shell.errors import UserError, in_range
from nanouft.shell.files import Lines, checksum, made_once, write_text

SIZES = {100: 25, 400: 50, 1600: 100}       # pairs -> optimizer steps: four times the pairs, twice the steps
SOURCES = ("samples", "corruptions")
NS = (1, 2, 4, 8, 16, 32, 64)
PPO = ("--objective", "ppo", "--beta", "0", "--samples", "4", "--minibatches", "2", "--passes", "1", "--vf", "1",
       "--end-penalty", "0")                # in units of the reward, so another one for each reward model
RESULTS = "docs/results"
VERSION = 2             # raised by hand when code changes what lines hold


PROMPTS, SAMPLES = 48, 64                   # of best-of-n: prompts, the same number of every family; answers to each
PPO_STEPS, PPO_LR = 48, 3e-4                # two steps a rollout; a larger rate than usual, to go far in few steps


@dataclass
class OverOptimise:
    part: Literal["all", "best-of", "table"] = "all"        # all = best-of-n, then PPO; table = nothing is run
    seeds: int = 5                  # a seed draws demonstrations, pairs, samples and order
    out: str = RESULTS              # folder of over_optimisation.jsonl, .md and, but for the committed one, .png
    work: str = "out/over_optimisation"     # folder of the models; once lines are there it may be deleted
    workers: int = 2                # processes of one thread each

    def check(self) -> None:
        in_range(self, "seeds", low=1, high=1_000)
        in_range(self, "workers", low=1, high=64)


def settings(part: str) -> dict:
    """What a line of this part depends on, beside its source, pairs and seed."""
    if part == "ppo":
        return {"version": VERSION, "ppo_steps": PPO_STEPS, "ppo_lr": PPO_LR, "ppo": list(PPO[2:])}
    return {"version": VERSION, "prompts": PROMPTS, "samples": SAMPLES}


# ---- models, made once -----------------------------------------------------------------------------------------------
def quietly(flags: Sequence[str], init: str, seed: int, folder: Path) -> None:
    with quiet():
        train_into(folder, flags, init, seed)


def sft(seed: int, work: Path) -> Path:
    return made_once(work / f"sft-{seed}", partial(quietly, ("--objective", "sft"), "base", seed))


def reward_models(seed: int, source: str, work: Path) -> dict[int, Path]:
    """{pairs: folder}, from the first 100, 400 and 1,600 of one draw of pairs; all begin at the SFT model."""
    folders = {n: work / f"{source}-{n}-{seed}" for n in SIZES}
    if all((f / "model.safetensors").exists() for f in folders.values()):
        return folders
    start = sft(seed, work)
    model, tok = start_model(str(start))
    rows = (reward.sampled_pairs(model.eval(), tok, "train", max(SIZES), 100 + seed) if source == "samples" else
            world.rows("train", "pairs", max(SIZES), 100 + seed))
    pairs, _ = encode(pair_rows(rows, None), tok, model.cfg.n_ctx - 1)

    def make(n: int, place: Path) -> None:
        made = RewardModel(start_model(str(start))[0])
        reward.fit(made, pairs[:n], reward.Reward(seed=seed), SIZES[n], tok.pad, devices.pick("cpu", "fp32", 1), place)
        save(place, made, tok)

    return {n: made_once(folder, partial(make, n)) for n, folder in folders.items()}


# ---- best-of-n -------------------------------------------------------------------------------------------------------
def draw(seed: int, work: Path) -> tuple[list[str], list[str], np.ndarray]:
    """(prompts, answers, exact scores (prompts, samples)): `samples` answers of the SFT model to each prompt."""
    model, tok = start_model(str(sft(seed, work)))
    rows = [r for r in world.rows("train", "prompts", PROMPTS, 200 + seed) for _ in range(SAMPLES)]
    answers = answer_rows(model.eval(), tok, rows, temperature=1.0, seed=200 + seed)
    asked, said = [r.prompt[-1].text for r in rows], [tok.decode(a.ids).strip() for a in answers]
    return asked, said, exact(asked, said).reshape(-1, SAMPLES)


def noise(prompts: list[str], answers: list[str]) -> np.ndarray:
    """A reward that knows nothing, a number by lot for each text: what the search alone does."""
    return np.array([zlib.crc32(f"{p}\n{a}".encode()) / 2**32 for p, a in zip(prompts, answers)])


def curve(likes: np.ndarray, scores: np.ndarray, usual: np.ndarray) -> dict:
    """From rewards, exact scores and `usual`, the share of samples that say the same (each (prompts, N)): best-of-n for
    each n, what one unit of reward is, and `agreement`, the share of couples of unequally good answers to one prompt
    that the reward puts in the right order (a coin: .5)."""
    spread = float(np.sqrt(likes.var(1).mean())) or 1.0
    gap_r, gap_s = likes[:, :, None] - likes[:, None], scores[:, :, None] - scores[:, None]
    better = gap_s > 0
    return {"mean": float(likes.mean()), "spread": spread,
            "agreement": float((0.5 + 0.5 * np.sign(gap_r[better])).mean()) if better.any() else 0.5,
            "curve": [{"n": n, "kl": float(best_of.kl(n, likes).mean()), "bound": best_of.kl_bound(n),
                       "score": float(best_of.best_of(n, likes, scores).mean()),
                       "usual": float(best_of.best_of(n, likes, usual).mean()),
                       "reward": float((best_of.best_of(n, likes, likes).mean() - likes.mean()) / spread)}
                      for n in NS if n <= likes.shape[1]]}


def best_of_n(seed: int, work: Path) -> list[dict]:
    """One line for each reward model of a seed, and one each for the exact score and for noise as the reward."""
    prompts, answers, scores = draw(seed, work)
    times = Counter(zip(prompts, answers))
    usual = np.array([times[text] / SAMPLES for text in zip(prompts, answers)]).reshape(scores.shape)
    scorers = {("exact", 0): exact, ("noise", 0): noise}
    for source in SOURCES:
        models = reward_models(seed, source, work)
        scorers |= {(source, n): load(folder) for n, folder in models.items()}
    return [{"part": "best-of", "source": source, "pairs": n, "seed": seed, "with": settings("best-of"),
             **curve(score(prompts, answers).reshape(scores.shape), scores, usual)}
            for (source, n), score in scorers.items()]


# ---- PPO -------------------------------------------------------------------------------------------------------------
def ppo(seed: int, source: str, n: int, unit: dict, work: Path) -> dict:
    """Train against the reward model of `n` sampled pairs, or (source "exact") the exact score; -> what its rollouts
    said. `unit` is the line of best-of-n with the same reward: where it starts, and how large it is."""
    name = "exact" if source == "exact" else str(reward_models(seed, source, work)[n])
    flags = [*PPO, "--reward", name, "--lr", str(PPO_LR), "--steps", str(PPO_STEPS), "--show-every", "0"]
    folder = work / f"ppo-{source}-{n}-{seed}-{checksum(repr(flags))[:8]}"      # another setting, another folder
    made_once(folder, partial(quietly, flags, str(sft(seed, work)), 200 + seed))
    points = [{"step": m["step"], "kl": m["kl_answer"], "score": m["score"], "ends": m["ends"],
               "reward": (m["reward"] - unit["mean"]) / unit["spread"]}
              for m in Lines(folder / "metrics.jsonl").read()[::2]]            # two steps are one rollout
    return {"part": "ppo", "source": source, "pairs": n, "seed": seed, "with": settings("ppo"), "curve": points}


# ---- what came out ---------------------------------------------------------------------------------------------------
def arms(lines: list[dict]) -> dict[tuple[str, str, int], list[dict]]:
    """{(part, source, pairs): its lines, one a seed}."""
    out: dict = {}
    for x in sorted(lines, key=lambda x: (x["part"], x["source"], x["pairs"], x["seed"])):
        out.setdefault((x["part"], x["source"], x["pairs"]), []).append(x)
    return out


def over_seeds(some: list[dict], key: str) -> tuple[np.ndarray, np.ndarray]:
    """(means, half widths of 95 % t-intervals) of a figure along the curve; curves end where the shortest ends."""
    short = min(len(x["curve"]) for x in some)
    both = [interval([x["curve"][i][key] for x in some]) for i in range(short)]
    return np.array([m for m, _ in both]), np.array([h for _, h in both])


def page(lines: list[dict]) -> str:
    """Markdown: exact score at the start, at its best and at the end of every curve, and how far the reward went."""
    rows = []
    for (part, source, pairs), some in arms(lines).items():
        (score, half), (far, _), (likes, wide) = (over_seeds(some, key) for key in ("score", "kl", "reward"))
        top = int(score.argmax())
        change = interval([x["curve"][len(score) - 1]["score"] - x["curve"][0]["score"] for x in some])
        agree = format_interval(*interval([x["agreement"] for x in some])) if part == "best-of" else ""
        name = {"exact": "the exact score", "noise": "noise"}.get(source, f"{pairs:,} pairs of {source}")
        often = over_seeds(some, "usual")[0] if part == "best-of" else None
        start, best, end = (format_interval(score[at], half[at]) for at in (0, top, -1))
        rows.append(["best of 64" if part == "best-of" else "PPO", name, agree, start, f"{best}, {far[top]:.1f}",
                     f"{end}, {far[-1]:.1f}", format_interval(*change), format_interval(likes[-1], wide[-1], 1),
                     "" if often is None else f"{100 * often[0]:.0f}, {100 * often[-1]:.0f}"])
    table = markdown_table(["optimised by", "reward", "agreement", "start", "best, at KL", "end, at KL", "change",
                            "its reward", "usual"], rows)
    return read_template("over_optimisation.md")[0].format(table="\n".join(table))


def picture(lines: list[dict], file: Path) -> Path:
    """Above the exact score, below the learnt reward, over KL; a column for each way to optimise."""
    found = arms(lines)
    titles = {("best-of", "samples"): "best of n, rewards from\npairs of own samples",
              ("best-of", "corruptions"): "best of n, rewards from\nright against spoilt answers",
              ("ppo", "samples"): "PPO without leash, rewards\nfrom pairs of own samples"}
    columns = [column for column in titles if any(key[:2] == column for key in found)]
    with plots.plt.rc_context({"font.size": 16}):
        fig, axes = plots.plt.subplots(2, len(columns), figsize=(6.4 * len(columns), 11), squeeze=False, sharey="row")
        for column, (part, kind) in zip(axes.T, columns):
            for ax, key, scale in zip(column, ("score", "reward"), (100, 1)):
                for n, colour, mark in zip(SIZES, plots.LINES, "os^"):
                    if (some := found.get((part, kind, n))) is None:
                        continue
                    (y, half), (x, _) = over_seeds(some, key), over_seeds(some, "kl")
                    half = half if len(some) > 2 else 0 * x         # two seeds give an interval of no use
                    order = np.argsort(x, kind="stable")
                    x, y, half = x[order], y[order], half[order]            # PPO's KL goes up and down a little
                    every = max(1, len(x) // 8)
                    ax.plot(x, scale * y, mark + "-", color=colour, ms=9, lw=2, markevery=every, label=f"{n:,} pairs")
                    ax.fill_between(x, scale * (y - half), scale * (y + half), color=colour, alpha=0.15, lw=0)
                for source, style in (("exact", "--"), ("noise", ":")):
                    if key == "score" and (some := found.get((part, source, 0))):
                        style = style if part == "best-of" else "x"     # PPO's KL comes and goes: points, no line
                        ax.plot(over_seeds(some, "kl")[0], 100 * over_seeds(some, "score")[0], style, color="black",
                                lw=2, label={"exact": "the exact score", "noise": "noise"}[source])
            column[0].set(title=titles[part, kind], ylim=(0, 103))
            column[1].set_xlabel("KL to the SFT model, nats per answer")
        axes[0, 0].set_ylabel("exact score, %")
        axes[1, 0].set_ylabel("learnt reward, SD from the start")
        axes[0, 0].legend(frameon=False, loc="lower left", title="reward from (bands: 95 %)")
        return plots.save(fig, file)


# ---- run, kept, written ----------------------------------------------------------------------------------------------
ABOUT = ("part", "source", "pairs", "seed")


def line_key(line: dict) -> str:
    """What a line is about, and the settings that made it."""
    return repr([line[name] for name in ABOUT] + [sorted(line["with"].items())])


read_study = partial(read_lines, names=(*ABOUT, "with", "curve"), key_of=line_key)


@dataclass
class Piece:
    """The lines of one seed that are made together: best-of-n with each reward, or PPO with one, in its unit."""
    work: Path
    part: str
    seed: int
    rewards: list[tuple[str, int]]      # (source, pairs)
    unit: dict | None = None

    @property
    def keys(self) -> list[str]:
        mine = {"part": self.part, "seed": self.seed, "with": settings(self.part)}
        return [line_key({**mine, "source": source, "pairs": n}) for source, n in self.rewards]

    @property
    def key(self) -> str:
        return self.keys[0]

    def __str__(self) -> str:
        return f"{self.part} {self.rewards[0]}, seed {self.seed}"


def run_piece(piece: Piece) -> list[dict]:
    devices.pick("cpu", "fp32", 1)
    if piece.unit:
        return [ppo(piece.seed, *piece.rewards[0], piece.unit, piece.work)]
    return best_of_n(piece.seed, piece.work)


def study(cfg: OverOptimise, store: Store) -> None:
    """Makes what is missing: best-of-n, then PPO, which needs its lines."""
    def made(part: str, arms: list[tuple], units: list | None = None) -> list[dict]:
        pieces = [Piece(Path(cfg.work), part, *arm, unit) for arm, unit in zip(arms, units or [None] * len(arms))]
        run_missing(pieces, store, cfg.workers, run_piece)
        return results_of(pieces, store.done, "Run the same command again, and it makes them")
    rewards = [("exact", 0), ("noise", 0), *((source, n) for source in SOURCES for n in SIZES)]
    made("best-of", [(seed, rewards) for seed in range(cfg.seeds)])
    if cfg.part == "all":
        arms = [(seed, [(source, n)]) for seed in range(cfg.seeds) for source, n in rewards
                if source in ("samples", "exact")]
        made("ppo", arms, made("best-of", arms))


def main(argv=None) -> int:
    cfg, _ = config.parse(OverOptimise, argv, "python -m lab.overoptimise", __doc__)
    cfg.check()
    refuse_other_form(cfg, Path(cfg.out), Path(RESULTS), "seeds")
    file = Path(cfg.out) / "over_optimisation.jsonl"
    if cfg.part != "table":
        with open_store(file, read_study, line_key) as store:
            study(cfg, store)
    mine = [x for x in read_study(file).values() if x["with"] == settings(x["part"])]       # others are not shown
    if not mine:
        raise UserError(f"{file}: nothing is there yet; run the study first, from the project's root")
    text, committed = page(mine), file.parent.resolve() == Path(RESULTS).resolve()
    drawn = picture(mine, Path("docs/over_optimisation.png") if committed else file.with_suffix(".png"))
    write_text(file.with_suffix(".md"), text)
    print(f"{text}\npicture: {drawn}")
    return 0


if __name__ == "__main__":
    sys.exit(config.run(main))
