# %% [markdown]
# # 17 · Would you publish this?
# *Afternoon path · about 25 minutes (estimated, n=0) · needs 06 · data: the finished runs of the study C1*
#
# Sixteen recipes were trained with ten seeds each on two bases (13 of them stand here): a **seed** draws the
# demonstrations, their order and every random number. All scores are in `docs/results/C1.jsonl`, so nothing is trained
# here. You will first do what is often done (one seed, take the winner), then look at what nine other seeds say about
# that winner, and in the end pass a verdict on IFT by a rule that was fixed before anybody looked
# (`nanouft/lab/claims.py`).
#
# Two old questions: (06) what does the released loss pay at `<|end|>`? (05) why is "after a few steps IFT is SFT" only
# half true on text?

# %% Guess before you run. Nothing is checked, but the lesson will remind you.
MY_GUESS = None   # on ONE seed take the best of all recipes that read the data as often. By how many points does it
                  # lead plain SFT on that seed, and how much of the lead is left on the other nine seeds?
                  # "a" nearly all   "b" about half   "c" next to nothing, or less

# %% [markdown]
# ## The cells
# One *cell* is one training run, scored on 100 test prompts in each of nine families. The endpoint was named before:
# the mean score of the seven families that the demonstrations teach.

# %%
import json
import math

import numpy as np

from nanouft.look.stats import verdict
from nanouft.look.stats import interval
from nanouft.lab import claims, judge as study
from nanouft.look import plots


PAIRED = True                                           # the switch, see "Break it"
folder = plots.Path(claims.__file__).parents[2] / "docs" / "results"
chosen = json.loads((folder / "C1-chosen.json").read_text(encoding="utf-8"))["chosen"]
flags = {" ".join([*r.flags, *chosen[n]]): n for n, r in claims.CLAIMS["C1"].rows.items()}
score: dict = {}                                        # (base, row) -> {seed: endpoint in points}
for line in (folder / "C1.jsonl").read_text(encoding="utf-8").splitlines():
    c = json.loads(line)
    if c["flags"]:
        score.setdefault((c["base"], flags[c["flags"]]), {})[c["seed"]] = 100 * study.endpoint(c)
rows = [n for n, r in claims.CLAIMS["C1"].rows.items() if "--epochs" not in r.flags and not r.after]
bases = sorted({b for b, _ in score})
SFT, IFT, N = claims.SFT_ROW, claims.IFT_ROW, 10


def gaps(base: str, row: str, other: str = SFT) -> np.ndarray:          # (10,) points: row - other, seed by seed
    return np.array([score[base, row][s] - score[base, other][s] for s in range(N)])


# %% [markdown]
# ## One seed
# Take seed $s$, look for the best recipe, write the paper. Then somebody repeats it with nine other seeds. Rows that
# see the data more often (4 or 6 passes, SFT -> DPO) are left out: more compute is not a method.

# %%
first, again = [], []
for base in bases:
    lead = np.array([gaps(base, n) for n in rows[1:]])      # (rows, 10)
    for s in range(N):
        best = lead[:, s].argmax()
        first.append(lead[best, s]), again.append(np.delete(lead[best], s).mean())
kept, wins = np.mean(again) / np.mean(first), {b: int((gaps(b, IFT) > 0).sum()) for b in bases}
print(f"best of {len(rows) - 1} rows on one seed: {np.mean(first):+.1f} points over SFT; "
      f"the same row on the other nine: {np.mean(again):+.1f}, {100 * kept:.0f} % of it")
print("seeds on which released IFT beats SFT:", ", ".join(f"{w} of {N} ({b})" for b, w in wins.items()))

# %% [markdown]
# ## One equation
# Two rows share their seeds: the same demonstrations in the same order. Lucky demonstrations lift both, so take the
# difference $d_s$ **seed by seed**, then
# $$\bar d\;\pm\;t_{n-1}\,\frac{\mathrm{sd}(d)}{\sqrt n},\qquad t_9=2.26.$$
# A claim *holds* if the whole interval lies on its side of the threshold, *does not hold* if the whole interval lies
# on the other, and is *undecided* in between. Undecided is not "no difference": it is "these runs cannot tell".

# %%
def unpaired(base: str, row: str, other: str = SFT) -> tuple[float, float]:     # as if the seeds were different ones
    a, b = (np.array([score[base, n][s] for s in range(N)]) for n in (row, other))
    return a.mean() - b.mean(), 2.10 * math.sqrt((a.var(ddof=1) + b.var(ddof=1)) / N)       # t of 18 degrees


def estimate(base: str, row: str) -> tuple[float, float]:
    return interval(gaps(base, row)) if PAIRED else unpaired(base, row)


for base in bases:
    for n in rows[1:]:
        (mean, half), (_, wide) = estimate(base, n), unpaired(base, n)
        print(f"{base:<12} {n:<38} {mean:+5.1f} ± {half:.1f} (unpaired {wide:.1f})  {verdict(mean, half, 0)}")

# %%
fig, axes = plots.plt.subplots(1, len(bases), figsize=(13.5, 6.5), sharey=True, squeeze=False)
for ax, base in zip(axes[0], bases):
    for y, n in enumerate(rows[1:]):
        mean, half = estimate(base, n)
        mark = {"holds": "^", "does not hold": "v", "undecided": "o"}[verdict(mean, half, 0)]
        ax.plot(gaps(base, n), [y] * N, "|", color=plots.GREY, ms=12)
        ax.errorbar(mean, y, xerr=half, fmt=mark, ms=10, lw=3, color=plots.UP if mark == "^" else plots.DOWN
                    if mark == "v" else "black")
    ax.axvline(0, color="black", lw=1), ax.set_xlabel(f"points minus SFT, base {bases.index(base) + 1}; ticks: seeds")
axes[0, 0].set_yticks(range(len(rows) - 1), rows[1:]), axes[0, 0].invert_yaxis()
print("\npicture:", plots.save(fig, plots.Path("out/lessons/17.png")), "\n\nall claims, by the same rule:")
for name in ("C1", "C2", "C3", "C4"):
    for text, c in json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))["contrasts"].items():
        print(f"{name}  {text}: {c['verdict']}")

# %% [markdown]
# ## The proof
# Two rows are one method under two names: IFT without its two ideas, and SFT with a detached embedding (a theorem,
# `tests/test_ift.py`). A study that finds a difference between *them* is broken.

# %%
did = "a" if kept > 0.75 else "b" if kept > 0.35 else "c"
print(f"you guessed {MY_GUESS!r};" if MY_GUESS else "you wrote no guess (MY_GUESS, above);", f"it did {did!r}")
twins = [np.abs(gaps(b, "IFT lam 0, gamma 0", "SFT, detached embeddings")).max() for b in bases]
assert max(twins) == 0, "two names of one method agree on every seed, to the last digit"
narrower = [estimate(b, n)[1] < unpaired(b, n)[1] for b in bases for n in rows[1:]]
assert np.mean(narrower) > 0.75, "shared seeds, taken pair by pair, narrow the interval in most comparisons"
assert did == "c" and max(wins.values()) == 0, "the winner of one seed is luck; released IFT loses on every seed"

# %% [markdown]
# - **One seed finds a winner nearly always**, because the best of many lucky draws is lucky. The other seeds, which
#   had no say in the choice, give all of the lead back. The more rows one tries, the larger the first number.
# - **The same data say something sure, too.** Released IFT lies below SFT on every seed and both bases, by far more
#   than its interval. Each row was tuned with the same budget (six settings, four seeds, on validation;
#   `C1-chosen.json`). Lesson 06 says why: where its loss unlearns `<|end|>` a large rate costs the lists, and the small
#   rate and few updates that spare them leave other families half learnt. Detached, it cannot be told from SFT.
# - **Pairing is no magic.** In the first row the paired interval is the wider one: a row that goes wrong in its own way
#   does not share SFT's luck. It helps where two rows are alike, and that is where one needs it.
# - **Undecided is a verdict.** Against SFT -> DPO the threshold is -2 points, not 0 (`docs/results/C1.md`): on one base
#   the interval holds it, -2.3 ± 1.8, on the other it lies below, -3.5 ± 0.9. Two bases that disagree leave the claim
#   *undecided*, however sure each one is.
# - **Prompts are not seeds.** 900 prompts make the score of *one model* sure; they say nothing about the next model.
#
# One micro-world, one million parameters, two bases: verdicts of these studies, not of the papers' seven billion. The
# accounts, with mechanisms: `docs/claims.md`.
#
# ## Break it
# `PAIRED = False` treats the ten seeds of two rows as twenty different ones. Say first what happens to the verdicts of
# the rows that differ little from SFT, and which law falls.
#
# ## Same letter, other meaning
# $d$ here: a difference of two scores. $s$: a seed; in the lessons before, a state. sd: spread over seeds, not prompts.
#
# ## Exercises (take away the first `# ` of the lines that check you)
# **17a** (D2) Write `my_interval(d)` for the paired differences 1, 2, 3, 2, 2 (points): mean and half width. What goes
# wrong: 1.96 in place of Student's t, `T = {2: 4.303, 4: 2.776}` by degrees of freedom; dividing by $n$ and not by
# $n-1$; unpaired; prompts counted as if they were seeds.

# %%
# mean, half = my_interval([1, 2, 3, 2, 2])
# assert mean == 2 and abs(half - 0.878) < 1e-3, "t with n - 1 = 4 degrees of freedom, sd with n - 1, over root n"
# mean, half = my_interval([0.5, -0.5, 1.5])
# assert abs(mean - 0.5) < 1e-9 and abs(half - 2.484) < 1e-3, "three seeds: t = 4.303"

# %% [markdown]
# **17b** (D2) Write `my_verdict(mean, half, threshold)`: "holds", "does not hold" or "undecided". What goes wrong: the
# mean alone decides; undecided counted as "does not hold"; the threshold of non-inferiority taken for 0; two intervals
# that overlap taken for "no difference", although the difference itself is what was paired.

# %%
# tables = [(0.4, 0.6, 0), (0.9, 0.6, 0), (-1.4, 0.5, 0), (-1.4, 0.5, -2), (-1.8, 0.5, -2)]
# wanted = ["undecided", "holds", "does not hold", "holds", "undecided"]
# assert [my_verdict(*t) for t in tables] == wanted, "the whole interval on one side of the threshold, or undecided"

# %% [markdown]
# **17c** (D3) A paper reports its best checkpoint of twelve, picked by the benchmark that it reports. From the numbers
# of this lesson, say what its lead is worth, and design the smallest change that makes it worth something.
#
# ## Recall, without looking up
# 1. Why does the winner of one seed nearly always lose its lead on others?
# 2. What exactly is paired, and why does pairing narrow the interval?
# 3. When is a claim undecided, and what would you do next?
# 4. Name three things that must be fixed before anybody looks at the test split.
