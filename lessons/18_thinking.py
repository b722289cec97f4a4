# %% [markdown]
# # 18 · Does it start to think?
# *Core · about 20 minutes (our estimate) · needs 14 · thinking that grows under a reward for the
# result: DeepSeek-R1 2501.12948; the length bias: Dr. GRPO 2503.20783; `nanouft/sampling.py`,
# `nanouft/objectives/grpo.py`*
#
# After this lesson you can
# - say when GRPO makes a model write more steps, and when it makes the steps vanish;
# - measure the border before any training;
# - tell what a reward for the result can teach, and what only a demonstration can.
#
# Models that "think" write steps before their result. Some of them learnt it from a reward for the
# result alone. People repeat this with small models and ask: where is it? My answers get *shorter*!
#
# Here is the same game with one million parameters. NanoWorld has three kinds of questions whose
# answer is a row of words: add up numbers (a running sum), sort words, say words backwards. Only
# the **last word** of an answer is paid. So the model may write all steps, or say the last word at
# once:
# - *Add up 9 3 5 step by step.* It thinks: `9 and 3 is 12 and 5 is 17`. At once: `17`.
# - *Sort pig bee saw from a to z.* It thinks: `bee pig saw`. At once: `saw`.
# - *Say pig bee saw backwards.* It thinks: `saw bee pig`. At once: `pig`.
#
# First SFT shows both forms. Then GRPO pays for the last word. Nothing pays for steps.
#
# An old question: (14) What do four answers to one prompt teach if all of them are wrong?

# %% [markdown]
# ## Guess before you run
# At first the model thinks in a third of its answers, to each kind of question. After a few steps
# of GRPO, for how many of the three kinds does it think in nearly ALL answers?
# - **a** none: a short answer has fewer places for a mistake;
# - **b** one;
# - **c** all three: whoever writes steps is right more often.

# %%
from course import Lesson, progress

lesson = Lesson("18", "abc")
SHARE = 0.3             # of the demonstrations that write steps: a switch, see "Break it"
LENGTH = 0.0            # what each word of an answer pays: a switch
HOW = "grpo"            # how tokens add up, "grpo" or "dr_grpo": a switch

# %% [markdown]
# ## One equation
# GRPO compares the scores $R$ of the answers to one prompt (lesson 14). Let the model think in a
# share $s$ of them. Those are right with probability $p_{\rm think}$, the others with
# $p_{\rm once}$. The mean score is $\bar R=s\,p_{\rm think}+(1-s)\,p_{\rm once}$. So on average
# $${\rm E}[R-\bar R\mid{\rm think}]=(1-s)\,\Delta,\qquad{\rm E}[R-\bar R\mid{\rm once}]=-s\,
# \Delta,\qquad\Delta=p_{\rm think}-p_{\rm once}$$
# The first token of an answer decides whether it thinks. This token is pushed like all others. If
# $\Delta$ is above 0, the steps are pushed up. If it is below 0, they are pushed down. Nobody asks
# whether thinking is clever. **The border is $\Delta=0$**, and you can measure $\Delta$ before any
# training.

# %%
import random
from pathlib import Path

from nanouft import world
from nanouft.batches import collate, encode, order
from nanouft.rows import Row, Turn
from nanouft.eval.stats import bootstrap
from nanouft.loop import steps
from nanouft.models.load import start_model
from nanouft.models.save import save_model
from nanouft.objectives import OBJECTIVES
from nanouft.sampling import Rollouts, answer_rows
import draw
import numpy as np
import torch

KINDS = {"sum": "add up", "sort": "sort", "reverse": "backwards"}
DEMOS = 900             # demonstrations of SFT ...
PASSES = 3              # ... and how often it reads them
STEPS = 24              # of GRPO: 8 prompts each, 8 answers to a prompt
HOME = Path("out/lessons/18", str(SHARE))


def last(text: str) -> str:
    return (text.split() or [""])[-1]


def thinks(answers) -> np.ndarray:
    """(n,) is there more than one word?"""
    return np.array([len(text.split()) > 1 for text in answers])


def right(rows, answers) -> np.ndarray:
    """(n,) 1 if the last word is the right one, else 0."""
    wanted = [last(world.reference(row.prompt[-1].text)) for row in rows]
    return np.array([float(last(text) == word) for text, word in zip(answers, wanted)])


def optimizer_of(model, rate):
    return torch.optim.AdamW(model.parameters(), rate, betas=(0.9, 0.95), weight_decay=0.0)


# %% [markdown]
# ## Teach both forms
# SFT on right answers. Three in ten write their steps, the others say the last word alone. This
# model is trained once and kept in `out/lessons/18`.

# %%
def taught():
    """The base after SFT on both forms."""
    model, tok = start_model("base")
    sft, rng, rows = OBJECTIVES["sft"], random.Random(0), []
    hp = sft.hp()
    for row in world.rows("train", "prompts", DEMOS, seed=0, skills=tuple(KINDS)):
        text = world.reference(row.prompt[-1].text)
        text = text if rng.random() < SHARE else last(text)
        rows.append(Row(row.prompt, (Turn("assistant", text),)))
    data, _ = encode(sft.rows(rows, hp), tok, model.cfg.n_ctx)
    plan = order([row.length for row in data], 16, DEMOS * PASSES // 16, seed=0, pool=1)
    optimizer = optimizer_of(model, 1e-3)
    for k, numbers in enumerate(progress(plan, "SFT")):
        batch = collate(data, numbers, tok.pad)
        sft.forward(model, batch, hp)
        loss, _ = sft.loss(batch, hp)
        optimizer.param_groups[0]["lr"] = 1e-3 * (1 - k / len(plan))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model, tok


if not (HOME / "model.safetensors").exists():
    save_model(HOME, *taught())
start, tok = start_model(str(HOME))


def asked(model, kind: str) -> dict[str, float]:
    """8 answers to each of 60 new prompts: how many think and how many are right, in %; the border
    (below) and its 95 % interval over prompts."""
    prompts = world.rows("train", "prompts", 60, seed=1, skills=(kind,))
    rows = [row for row in prompts for _ in range(8)]
    texts = [tok.decode(answer.ids).strip()
             for answer in answer_rows(model, tok, rows, temperature=1.0, max_new=40)]
    think, good = thinks(texts), 100 * right(rows, texts)

    def mean(of: np.ndarray) -> float:
        return float(of.mean()) if len(of) else np.nan

    R, T = good.reshape(60, 8), think.reshape(60, 8).astype(float)      # (prompt, answer)
    r, t = R - R.mean(1, keepdims=True), T - T.mean(1, keepdims=True)   # against the own group
    together, spread = (r * t).sum(1), (t * t).sum(1)                   # (60,) each
    low, high = bootstrap(together, spread) if spread.any() else (np.nan, np.nan)
    return {"thinks": mean(100 * think), "right": mean(good), "think": mean(good[think]),
            "once": mean(good[~think]), "words": np.mean([len(text.split()) for text in texts]),
            "border": together.sum() / spread.sum() if spread.any() else np.nan,
            "low": low, "high": high}


def shown(kind: str, found: dict[str, float]) -> str:
    border = f"{found['border']:+8.0f} [{found['low']:+.0f}, {found['high']:+.0f}]"
    if np.isnan(found["low"]):
        border = "     too few of one kind"
    return (f"  {KINDS[kind]:<10} {found['thinks']:5.0f} %  {found['think']:13.0f} %  "
            f"{found['once']:16.0f} %  {border}")


before = {kind: asked(start, kind) for kind in KINDS}
print("before GRPO    thinks   right if it thinks   right at once   the border [95 %]")
print(*[shown(kind, found) for kind, found in before.items()], sep="\n")

# %% [markdown]
# The last column is $\Delta$ in points, measured as GRPO compares: inside the group of one prompt.
# (If hard prompts get more steps, all answers in one pot say something else. Exercise 18a.)
#
# ## Live: pay for the last word
# Three times GRPO begins with this model, once for each kind of question.

# %%
def learn(kind: str):
    """(the model after GRPO on this kind, the share that thinks in each step's answers, in %)."""
    model, _ = start_model(str(HOME))
    grpo, curve = OBJECTIVES["grpo"], []
    hp = grpo.hp(samples=8, beta=0.0, aggregation=HOW, length=40)
    prompts = world.rows("train", "prompts", 8 * STEPS, seed=2, skills=(kind,))
    data, _ = encode(grpo.rows(prompts, hp), tok, model.cfg.n_ctx)

    def reward(rows, answers) -> np.ndarray:
        curve.append(100 * thinks(answers).mean())
        return right(rows, answers) + LENGTH * np.array([len(text.split()) for text in answers])

    source = Rollouts(data, grpo, hp, model, start, tok, reward, rows=8, steps=STEPS, max_new=40)
    numbers = progress(range(STEPS), KINDS[kind])
    for step in steps(model, grpo, hp, source, optimizer_of(model, 1e-4), numbers, clip=1.0):
        pass
    return model, curve


curves, after = {}, {}
print("after GRPO     thinks   right if it thinks   right at once   the border [95 %]")
for kind in KINDS:
    model, curves[kind] = learn(kind)
    after[kind] = asked(model, kind)
    print(shown(kind, after[kind]))
print("all answers    right            words")
for kind, now in after.items():
    was = before[kind]
    print(f"  {KINDS[kind]:<10} {was['right']:3.0f} % -> {now['right']:.0f} %     "
          f"{was['words']:4.1f} -> {now['words']:.1f}")

# %%
# Seen: How often three kinds of answers are right, with and without steps; the share that thinks.
fig, (left, middle) = draw.panels(1, 2, width_ratios=[2, 3])
names = list(KINDS.values())
draw.bars(left, {"if it thinks": [found["think"] for found in before.values()],
                 "at once": [found["once"] for found in before.values()]},
          names, "right before GRPO, %")
draw.lines(middle, range(1, STEPS + 1), dict(zip(names, curves.values())),
           "answers that think, %", "step of GRPO", ylim=(-3, 103))
lesson.picture(fig, SHARE=(SHARE, 0.3), LENGTH=(LENGTH, 0.0), HOW=(HOW, "grpo"))

# %% [markdown]
# ## The proof

# %%
nearly_all = sum(found["thinks"] > 90 for found in after.values())
lesson.compare("abcc"[nearly_all])
if SHARE and not LENGTH:
    assert after["sum"]["thinks"] > 90, "thinking spreads where it is right more often"
    assert after["reverse"]["thinks"] < 20, "thinking dies where it is right less often"
if not SHARE:
    assert max(found["thinks"] for found in after.values()) < 5, "what is never said is not paid"

# %% [markdown]
# - **It thinks where thinking pays.** A running sum is too much for one look: at once it is right
#   in 7 %. With steps each number needs one small addition. After some fifteen steps of GRPO
#   nearly all answers think, and twice as many are right as before.
# - **Thinking dies where it does not pay.** The last word of a row that is said backwards is the
#   first word of that row. One look is enough, and every written word is a place for a slip.
#   The answers get shorter, and far more of them are right. Nothing is broken: for this model and
#   this question the short answer *is* the better one. This is what many people see.
# - **The border moves.** For sorting, thinking leads at the start by as much as for the sums. But
#   GRPO also improves what is said at once: from 76 to 96 % right. Then thinking has no lead any
#   more, and no side has won in 24 steps. A sum that is said at once can hardly improve.
# - **Thinking is no aim, and a longer answer is no proof.** Three quarters of the sums are still
#   wrong, and every answer thinks.
#
# One model shows a mechanism. Claim C8 in `docs/claims.md` asked for a law: does the sign of
# $\Delta$ at the start decide? Four tasks, five seeds, half as many answers in a step. It is
# undecided: 29 of 40 runs moved as the sign said. Where $\Delta$ was above 20 points, 11 of 12 did.
# But ten of these twelve are one task, whose demonstrated steps were wrong on purpose. So measure
# the border again while you train.
#
# ## Break it
# First say what each switch will do to the three curves. Set one at a time.
# - `SHARE = 0.0`: no demonstration writes steps. Will GRPO find them for the sums, where they pay?
# - `LENGTH = 0.05`: each word of an answer is paid, too. What does *backwards* do now?
# - `HOW = "dr_grpo"`: `"grpo"` divides what an answer earned by its number of tokens, so the first
#   token of a long answer is pushed less. `"dr_grpo"` divides all by the same constant. Does the
#   border move, or only the speed?
#
# *Read on after your runs.* With `SHARE = 0.0` hardly an answer thinks, before and after: GRPO
# learns from its own answers, so it does not find what it never says. (`nan`: no answer to
# count. Where one or two answers think, the border means nothing.) With `LENGTH = 0.05` all answers
# think, to all questions. A sum has 34 words then, and none is right: the words are paid, so words
# are what comes. With `"dr_grpo"` the three curves end at 99, 37 and 13 % (before: 100, 39 and
# 5 %). So here the divisor changes little.
#
# ## Same letter, other meaning
# $s$ is a share here; elsewhere it is a state, or a seed. $p$ is a probability of a whole answer
# being right, not that of a token.
#
# ## Exercises
# `python -m lessons.grade 18a` judges them (`lessons/exercises/README.md` says how).
#
# - **18a** (D2) `border(R, thinks)`: by how much answers that think are better, prompt by prompt.
# - **18b** (D2) `first_push(A, n, how, longest)`: how hard the first token of each answer is
#   pushed.
#
# ## Recall, without looking up
# 1. Nothing pays for steps. Why do they spread?
# 2. A small model trained by GRPO answers shorter and shorter. Name a good reason and a bad one.
# 3. What would you measure before training, to predict which of the two it will be?
# 4. Why can GRPO not find steps that no demonstration has?
# 5. Under `"grpo"`, which first token is pushed harder: that of a short or of a long answer?
#
# <details><summary>Answers</summary>
#
# 1. Answers with steps are right more often than the mean of their group, so all of their tokens
#    are pushed up, the first one, too.
# 2. Good: it is right at once as often, and each step is a place for a slip. Bad: the reward or the
#    way in which tokens add up pays for short answers.
# 3. How often it is right if it thinks, and if it answers at once: on the same prompts, in sampled
#    answers.
# 4. It learns from its own answers only. What is never said is never paid.
# 5. That of a short answer, up and down: its push is divided by fewer tokens.
#
# The old question: (14) Nothing. The group has no spread, so all advantages are 0.
#
# </details>
#
# **Runs that failed:** story 15 of `docs/gallery.md`. What went wrong?
#
# **Next:** this was the last lesson. `docs/claims.md` has the results of all studies.
