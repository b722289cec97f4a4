# %% [markdown]
# # 17 · Would you publish this?
# *Afternoon path · about 25 minutes (estimated, n=0) · needs 06 · data: the finished runs of the study C1*
#
# Sixteen recipes were trained with ten seeds each on two bases: a **seed** draws the demonstrations, their order and
# every random number. All scores are in `docs/results/C1.jsonl`, so nothing is trained here. You will first do what
# is often done (one seed, take the winner), then look at what nine other seeds say about that winner, and in the end
# pass a verdict on IFT by a rule that was fixed before anybody looked (`nanouft/claims.py`).
#
# Two old questions: (06) what does the released loss pay at `<|end|>`? (05) why is "after a few steps IFT is SFT" only
# half true on text?

# %% Guess before you run. Nothing is checked, but the lesson will remind you.
MY_GUESS = None   # on ONE seed take the best of all recipes that cost the same data. By how many points does it lead
                  # plain SFT on that seed, and how much of the lead is left on the other nine seeds?
                  # "a" nearly all   "b" about half   "c" next to nothing, or less

# %% [markdown]
# ## The cells
# One *cell* is one training run, scored on 100 test prompts in each of nine families. The endpoint was named before:
# the mean score of the seven families that the demonstrations teach.

# %%
import json
import math
from pathlib import Path

import numpy as np

from nanouft import claims, plots
from nanouft.compare import interval

PAIRED = True                                           # the switch, see "Break it"
folder = Path(claims.__file__).parents[1] / "docs" / "results"
chosen = json.loads((folder / "C1-chosen.json").read_text(encoding="utf-8"))["chosen"]
flags = {" ".join([*r.flags, *chosen[n]]): n for n, r in claims.CLAIMS["C1"].rows.items()}
score: dict = {}                                        # (base, row) -> {seed: endpoint in points}
for line in (folder / "C1.jsonl").read_text(encoding="utf-8").splitlines():
    c = json.loads(line)
    if c["flags"]:
        score.setdefault((c["base"], flags[c["flags"]]), {})[c["seed"]] = 100 * claims.endpoint(c)
bases, rows = sorted({b for b, _ in score}), [n for n in claims.CLAIMS["C1"].rows if "steps" not in n]
SFT, IFT, N = claims.SFT_ROW, claims.IFT_ROW, 10


def gaps(base: str, row: str, other: str = SFT) -> np.ndarray:          # (10,) points: row - other, seed by seed
    return np.array([score[base, row][s] - score[base, other][s] for s in range(N)])


# %% [markdown]
# ## One seed
# Take seed $s$, look for the best recipe, write the paper. Then somebody repeats it with nine other seeds. Rows that
# train longer than SFT are left out: more steps is not a method.

# %%
first, again = [], []
for base in bases:
    lead = np.array([gaps(base, n) for n in rows])      # (rows, 10)
    for s in range(N):
        best = lead[:, s].argmax()
        first.append(lead[best, s]), again.append(np.delete(lead[best], s).mean())
kept = np.mean(again) / np.mean(first)
wins = {b: int((gaps(b, IFT) > 0).sum()) for b in bases}
print(f"best of {len(rows)} rows on one seed: {np.mean(first):+.1f} points over SFT; "
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
        print(f"{base:<12} {n:<38} {mean:+5.1f} ± {half:.1f} (unpaired {wide:.1f})  {claims.verdict(mean, half, 0)}")

# %%
fig, axes = plots.plt.subplots(1, len(bases), figsize=(13.5, 6.5), sharey=True, squeeze=False)
for ax, base in zip(axes[0], bases):
    for y, n in enumerate(rows[1:]):
        mean, half = estimate(base, n)
        mark = {"holds": "^", "does not hold": "v", "undecided": "o"}[claims.verdict(mean, half, 0)]
        ax.plot(gaps(base, n), [y] * N, "|", color=plots.GREY, ms=12)
        ax.errorbar(mean, y, xerr=half, fmt=mark, ms=10, lw=3, color=plots.UP if mark == "^" else plots.DOWN
                    if mark == "v" else "black")
    ax.axvline(0, color="black", lw=1), ax.set_title(f"minus SFT, base {base}"), ax.set_xlabel("points; ticks: seeds")
axes[0, 0].set_yticks(range(len(rows) - 1), rows[1:]), axes[0, 0].invert_yaxis()
print("\npicture:", plots.save(fig, plots.Path("out/lessons/17.png")))
