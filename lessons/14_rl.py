# %% [markdown]
# # 14 · How little is enough to learn from a score?
# *Core · about 25 minutes (our estimate) · needs 07, 09 · REINFORCE and RLOO 2402.14740, GRPO
# 2402.03300, online DPO 2402.04792, online UNA 2408.15339; `nanouft/sampling.py`,
# `nanouft/objectives/`*
#
# After this lesson you can
# - write the advantages of RLOO and GRPO;
# - say which groups of answers teach RLOO and GRPO nothing, and why;
# - choose a baseline that only takes noise away.
#
# So far somebody else wrote every answer to learn from. Now the model answers by itself. It gets
# a score for each answer, and nobody says what would have been right. *Make likelier what scored
# well* is not enough: is .6 good? Five methods compare a score with different things:
# - **REINFORCE** with all other scores;
# - **RLOO** and **GRPO** with those of the other answers to the same prompt;
# - **online DPO** with one of them;
# - **online UNA** with 1/2.
#
# Two old questions: (09) What does a grade of 1/2 teach? (07) What cancels when two answers to
# one prompt are compared?

# %% [markdown]
# ## Guess before you run
# The base answers 100 prompts, each four times, at temperature 1. For how many of the prompts can
# RLOO and GRPO learn NOTHING from the four scores?
# - **a** hardly any;
# - **b** about a third;
# - **c** most.

# %%
from course import Lesson, progress

lesson = Lesson("14", "abc")

# %% [markdown]
# ## One equation
# $$\nabla\,{\rm E}[R]={\rm E}\big[(R-b)\,\nabla\log\pi(y)\big],\qquad
# A_i^{\rm RLOO}=R_i-\frac1{K-1}\sum_{j\ne i}R_j,\qquad
# A_i^{\rm GRPO}=\frac{R_i-\bar R}{{\rm std}(R)+10^{-4}}$$
# The first equation is why sampling works. It is an average over answers that were really drawn,
# and each of them is pushed by its own score. You may choose the baseline $b$ freely, as long as
# it does not look at $y$: ${\rm E}[\nabla\log\pi(y)]=0$, so $b$ only takes noise away.
#
# RLOO's baseline is the mean of the OTHER answers. It knows how hard the prompt is, and nothing
# about $y$. GRPO also divides by the standard deviation. Then every prompt counts equally, also one
# that is nearly solved. That is no longer the gradient of the mean score.

# %%
from nanouft import world
from nanouft.batches import encode
from nanouft.loop import Device
from nanouft.models.load import start_model
from nanouft.objective import pushes
from nanouft.objectives import OBJECTIVES
from nanouft.sampling import Rollouts, credited, measure
import draw
import numpy as np
import torch

ROLL = 0                                # the switch, see "Break it"
K = 4                                   # answers to each prompt
STEPS = 10
base, tok = start_model("base")
rows = world.rows("train", "prompts", 400, 0, skills=("fact", "truth", "sort"))
METHODS = {"REINFORCE": OBJECTIVES["reinforce"], "RLOO": OBJECTIVES["rloo"],
           "GRPO": OBJECTIVES["grpo"], "online UNA": OBJECTIVES["online_una"]}


def score(rows, answers) -> np.ndarray:
    """The exact score of each answer."""
    return np.array([world.score(row.prompt[-1].text, text) for row, text in zip(rows, answers)])


def rollouts_of(objective, model, prompts: int, steps: int, **more) -> Rollouts:
    """A source of steps: in each, `model` answers this many prompts, K times each."""
    hp = objective.hp(samples=K, **more)
    asked, _ = encode(objective.rows(rows, hp), tok, base.cfg.n_ctx)
    return Rollouts(asked, objective, hp, model, base, tok, score, rows=prompts, steps=steps,
                    max_new=24)


def exam(model):
    """K answers to each of 100 prompts: (the answers as a batch, their scores (100,K))."""
    batch = rollouts_of(METHODS["RLOO"], model, prompts=100, steps=1).collect(0)
    return batch, batch.per_row.reward.view(-1, K)


def kinds(R) -> list[float]:
    """Percent of the prompts: [all scores equal but not right, mixed scores, all right]."""
    equal = R.amax(1) == R.amin(1)
    groups = (equal & (R[:, 0] < 1), ~equal, equal & (R[:, 0] == 1))
    return [100 * group.float().mean().item() for group in groups]


sampled, R = exam(base)
exams = {"base": kinds(R)}
mixed_share = exams["base"][1]
print(f"base: mean score {R.mean():.2f}; "
      f"all {K} scores equal for {100 - mixed_share:.0f} % of the prompts")

# %% [markdown]
# Three groups of four answers, one of each kind. What do four methods do with the same twelve
# answers?

# %%
mixed = int((R.std(1) > 0.4).nonzero()[0])              # the first prompt of each kind
all_right = int((R.amin(1) == 1).nonzero()[0])
all_wrong = int((R.amax(1) == 0).nonzero()[0])
numbers = [K * prompt + k for prompt in (mixed, all_right, all_wrong) for k in range(K)]
scores = R.flatten()[numbers]
s = sampled.seqs["answer"]
for i in numbers:
    length = int(s.real[i].sum())
    ids = [*s.inputs[i, :length].tolist(), s.targets[i, length - 1].item()]
    print(f"  {sampled.per_row.reward[i]:.2f}  {tok.decode(ids):.100}")


def push_of(objective):
    """(12,) how hard this method pushes each of the twelve answers."""
    hp = objective.hp(samples=K)
    batch = sampled.take(numbers)
    now = measure(batch, base, base, Device())["now"]
    batch.seqs["answer"].sampled_logp = now                          # as if sampled just now
    batch, _ = credited(batch, objective, hp)
    objective.forward(base, batch, hp)
    return pushes(objective, batch, hp)["answer"].sum(1)


push = {name: push_of(objective) for name, objective in METHODS.items()}

# %% [markdown]
# ## Live
# We train one model with each of three methods, in the loop of all lessons. Only the source of
# the rows is new. Afterwards each model takes the exam: the 100 prompts from above, four answers
# each. One seed and ten steps show that the models learn, but not which method is best.
#
# The shortest loop of this kind is GRPO in `nanouft/simple.py`: sampling, scores, advantages, loss
# and update stand on one page.

# %%
def learn(objective):
    """The base after STEPS steps of this method."""
    model, _ = start_model("base")
    hp = objective.hp(samples=K)
    source = rollouts_of(objective, model, prompts=16, steps=STEPS)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, betas=(0.9, 0.95), weight_decay=0.0)
    for step in progress(range(STEPS), "training"):
        batch = source(step)                            # data: its samples
        if batch.per_row.advantage is not None:
            batch.per_row.advantage = batch.per_row.advantage.roll(ROLL)  # 0 changes nothing
        objective.forward(model, batch, hp)             # forward
        loss, _ = objective.loss(batch, hp)             # objective
        optimizer.zero_grad()                           # update
        loss.backward()
        optimizer.step()
    return model


models = {}
for name in ("RLOO", "GRPO", "online UNA"):
    models[name] = learn(METHODS[name])
    _, after = exam(models[name])
    exams[name] = kinds(after)
    print(f"{name}: after {STEPS} steps of {16 * K} answers mean score {after.mean():.2f}")
    assert ROLL or after.mean() > R.mean() + 0.05, "a score is enough: the answers get better"

# %% [markdown]
# A group that ties costs as many tokens as another one. `grpo --resample 3` draws other prompts in
# its place, three times at most (DAPO's dynamic sampling). What is the price?

# %%
for name, model in (("base", base), ("after GRPO", models["GRPO"])):
    again = rollouts_of(METHODS["GRPO"], model, prompts=32, steps=1, resample=3)
    again.collect(0)
    told, once = again.stats, again.stats["length"] * 32 * K
    print(f"{name}: {100 * told['ties']:.0f} % of the groups tie, {100 * told['ties_left']:.0f} % "
          f"after three rounds, for {told['sampled'] / once:.1f} times the tokens")

# %%
# Seen: A table of the pushes of four methods on twelve answers; prompts by their scores, as bars.
fig, (left, right) = draw.panels(1, 2, width_ratios=[2, 1])
grid = torch.stack([p / p.abs().max() for p in push.values()])
draw.numbers(left, grid, [f"{score:g}" for score in scores], list(METHODS),
             "push on each answer; a row's largest is 1", size=13)
left.set_xlabel("scores: mixed | all right | all wrong")
parts = {label: [shares[k] for shares in exams.values()]
         for k, label in enumerate(("equal, not right", "mixed", "all right"))}
draw.stacked(right, parts, [name.replace(" ", "\n") for name in exams], "prompts by scores, %")
lesson.picture(fig, ROLL=(ROLL, 0), K=(K, 4))

# %% [markdown]
# ## The proof

# %%
if mixed_share >= 85:
    did = "a"
elif mixed_share >= 45:
    did = "b"
else:
    did = "c"
lesson.compare(did)
equal_groups = torch.cat([push["RLOO"][K:], push["GRPO"][K:]])
assert not equal_groups.any(), "to RLOO and GRPO, a group of equal scores teaches nothing"

# %% [markdown]
# - **A group of equal scores teaches RLOO and GRPO nothing**, whether all are right or all are
#   wrong. If all are right, nothing is left to learn. If all are wrong, the model never tried an
#   answer that would have scored, and nobody shows it one. That is the limit of all methods of
#   this lesson: they reinforce what the model already says sometimes. (A demonstration, lesson 03,
#   teaches it directly.) If there is a better model, **distillation** (`distill`) asks it about
#   each sampled token. So every answer teaches something, but only about what the model says.
# - **So the better the model gets, the less the score teaches**: look at the bars. A prompt that
#   has moved to *all right* is still sampled and scored, but its answers are then thrown away.
#   `--resample` draws other prompts in their place (DAPO does), for more tokens. So it helps where
#   many groups tie and a step is dear; for the same tokens plain GRPO takes more steps
#   (`docs/LOG.md`). If no answer is ever right, it finds nothing either. The *equal,
#   not right* bars shrink, too: the model learnt from *other* prompts of their kind.
# - **REINFORCE** compares with the mean of ALL answers. It pushes up the group that is all right,
#   because its prompt was easy. It pushes down the group that is all wrong, because its prompt was
#   hard. It is right on average, but noisy: an easy prompt looks like a good answer. **Online
#   UNA** pushes up all that scores above 1/2. It needs no group: one answer is enough, as in 09.
# - **Online DPO** (07, so not in the picture) pairs the best answer of a group with the worst. A
#   tie is thrown away.
# - **GRPO** divides by the spread: scores (1, 1, 1, .9) push as hard as (1, 1, 1, 0). And it
#   takes the mean over an answer's tokens where RLOO takes the sum. Look at the mixed group's
#   wrong answers: RLOO pushes the longest hardest.
# - **A KL penalty** keeps all five near the start model (`--beta`). A high score does not mean that
#   the answer is good English (13).
#
# ## Break it
# With `ROLL = 1` each advantage goes to the next answer, as if the code had mixed up the answers
# to a prompt. Nothing crashes, and the loss looks as before. Guess what the exam says about RLOO,
# and why online UNA does not care. Then set `ROLL = 0` again and `K = 2`: half the cost. How many
# groups have equal scores now?
#
# *Read on after both runs.* With `ROLL = 1` the mean score of RLOO falls from .50 to .01. Online
# UNA reaches .76 as before: it reads no advantage. With `K = 2`, 62 % of the groups have equal
# scores (`K = 4`: 41 %).
#
# ## Same letter, other meaning
# $A$ is an advantage here, and the mean log-prob in ORPO (08). $R$ is a score in [0, 1]; in UNA
# $r$ is an implicit reward.
#
# ## Exercises
# `python -m lessons.grade 14a` judges them (`lessons/exercises/README.md` says how).
#
# - **14a** (D2) `rloo(R)`: RLOO's advantages.
# - **14b** (D2) `grpo(R)`: GRPO's advantages, also where all scores are equal.
# - **14c** (D2) `aggregate(loss, mask, how)`: one number for the losses of all tokens of a step, in
#   three ways.
# - **14d** (D3, debug) `learn(seed, steps)`: a bandit with eight tokens; it has one bug.
#
# ## Recall, without looking up
# 1. Why may the baseline not depend on the answer that it is compared with? What happens in
#    REINFORCE, where it does?
# 2. Four answers, all right. What do RLOO, GRPO, REINFORCE and online UNA do?
# 3. What does dividing by the spread do to a prompt that is nearly always answered well?
# 4. Why is every answer drawn at temperature 1, and used once?
# 5. (09) Why is a score of 1/2 special for UNA and for nobody else here?
#
# <details><summary>Answers</summary>
#
# 1. Only then is the mean of b times the gradient of log pi zero. REINFORCE's mean of all scores
#    includes the answer's own score: that shrinks each advantage by a small factor, but keeps its
#    sign.
# 2. RLOO and GRPO do nothing. REINFORCE pushes all four up, because 1 is above the mean of all.
#    Online UNA pushes them up, too, because 1 is above 1/2.
# 3. It makes its push large: one slightly worse answer to a nearly solved prompt is pushed as hard
#    as a complete failure.
# 4. The first equation is a mean over answers of the present policy. Temperature 1 samples from
#    that policy; after a step it is another policy.
# 5. UNA compares with its own grade, and sigmoid(0) is 1/2. The others compare with other scores.
#
# The two old questions: (09) Nothing, at the start. (07) All that depends on the prompt only, such
# as beta log Z(x).
#
# </details>
#
# **Runs that failed:** stories 13 and 14 of `docs/gallery.md`. What went wrong?
#
# **Next:** `lessons/15_ppo.py`.
