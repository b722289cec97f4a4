# %% [markdown]
# # 22 · Would you publish this?
# You try 38 methods on one seed, and the best one leads plain SFT by more than a point. You could
# write a paper about it. How much of this lead is luck?
#
# *30 minutes; needs 08. Nothing is trained. You write `paired_interval`.*
#
# The methods and chains of this project were trained at their default settings: 38 recipes and
# plain SFT, with five seeds each. A **seed** fixes the demonstrations, their order and every random
# number. The score was fixed beforehand: the mean over nine tasks, in points of 100. On one seed,
# the best of the 38 recipes leads SFT by 1.18 points. (This is the mean over the five seeds.)
#
# Now suppose that all 38 were exactly as good as SFT. Their leads would still differ from seed to
# seed. Among the kept recipes near SFT, the lead of one recipe has a standard deviation of 1.13
# points over the seeds.

# %%
import csv
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from course import OUT, ask, tell

import nanouft

METHODS, SEEDS, SPREAD = 38, 5, 1.13    # SPREAD: of a recipe's lead over the seeds, in points
guess = ask("""Simulate 38 methods that are exactly as good as SFT, on one seed.
By how many points does the best of them lead SFT, on average?""", "0 to 10")

# %% [markdown]
# ## Methods without a difference
# A score is the same true value for all, plus the luck of the seed, plus a method's own luck on it.
# Lucky demonstrations raise every score of their seed. In a lead this part cancels, and two own
# lucks are left, the method's and SFT's. Their variances add up. So a lead has the spread 1.13 if
# each own luck has $1.13/\sqrt2=0.80$.
#
# The experiment is run 5,000 times. Each time somebody picks the winner and publishes its lead.
# Then somebody else trains the same method with the four other seeds.

# %%
rng = np.random.default_rng(0)
found = []
for experiment in range(5000):
    seed_luck = rng.normal(0, 1.8, SEEDS)                               # 1. the same for all
    own_luck = rng.normal(0, SPREAD / 2 ** 0.5, (1 + METHODS, SEEDS))   # 2. SFT, then 38 methods
    score = 80 + seed_luck + own_luck                                   # 3. nobody is better
    lead = score[1:] - score[0]                                         # 4. (38,5)
    best = lead[:, 0].argmax()                                          # 5. the winner on one seed
    found.append((lead[best, 0], lead[best, 1:].mean(), lead.mean(1).max()))
found = np.array(found)
one_seed, again, all_seeds = found.mean(0)
print(f"{METHODS} equal methods, the winner of one seed: leads by {one_seed:.2f} points, and on the "
      f"other four seeds by {again:+.2f}\nthe winner by its mean of {SEEDS} seeds: leads by "
      f"{all_seeds:.2f}")
tell(guess, one_seed, "points")

# %% [markdown]
# ## The kept recipes
# The same with what was trained. One file has all scores, a line for each recipe and seed.

# %%
TABLE = Path(nanouft.__file__).parents[1] / "lessons" / "evidence" / "results" / "methods.csv"
TASKS = ("rules", "rules_new", "list", "sum", "sort", "reverse", "truth", "unknown", "fact")
points: dict = {}                       # recipe -> (5,) its score, by seed
for row in csv.DictReader(TABLE.open(encoding="utf-8")):
    score = 100 * np.mean([float(row[task]) for task in TASKS])
    points[row["method"]] = np.append(points.get(row["method"], []), score)
del points["base"]
leads = {name: points[name] - points["sft"] for name in points if name != "sft"}
kept, real = np.stack(list(leads.values())), []                         # (38,5)
for seed in range(5):
    best = kept[:, seed].argmax()
    real.append((kept[best, seed], np.delete(kept[best], seed).mean()))
    print(f"seed {seed}: SFT has {points['sft'][seed]:.1f} points; the winner leads it by "
          f"{real[-1][0]:+.1f}, and on the other four seeds by {real[-1][1]:+.1f}")
own, others = np.mean(real, axis=0)
print(f"38 kept recipes, the winner of one seed: leads by {own:.2f} points, and on the other four "
      f"by {others:+.2f} ({100 * others / own:.0f} %)\nthe winner by its mean of 5 seeds: leads by "
      f"{kept.mean(1).max():.2f}")
near = np.abs(kept.mean(1)) < 1.2
print(f"{near.sum()} recipes are within 1.2 points of SFT; the spread of their leads: "
      f"{kept[near].std(axis=1, ddof=1).mean():.2f}")

# %%
plt.figure(figsize=(8, 4), layout="constrained")
plt.hist(found[:, 0], 60, alpha=0.6, label="best of 38 equal methods, one seed")
plt.hist(found[:, 2], 60, alpha=0.6, label="the same, mean of five seeds")
for x, text in ((own, "kept recipes,\none seed"), (kept.mean(1).max(), "five seeds")):
    plt.axvline(x, color="black")
    plt.text(x, 0.9 * plt.ylim()[1], f" {text}")
plt.gca().set(xlabel="lead over SFT, points", ylabel="of 5,000 experiments")
plt.legend(frameon=False)
OUT.mkdir(parents=True, exist_ok=True)
plt.savefig(OUT / "22.png")
for name in ("poft", "ift", "uft", "sft->dpo", "sft->una", "sft->grpo", "sft, twice the steps"):
    print(f"{name:<21}", *(f"{x:+6.1f}" for x in leads[name]), f"   mean {leads[name].mean():+.2f}")
