# %% [markdown]
# # 10 · One stage or two?
# *Core · about 25 minutes (our estimate) · needs 09 · UFT, arXiv:2410.21438v1, Eq. 6-7,
# `nanouft/objectives/uft.py`*
#
# After this lesson you can
# - say how UFT makes a demonstration one more graded answer;
# - name the control that separates the effect of merging from that of the grades;
# - plan an experiment in which two rows differ in one thing.
#
# The usual recipe has two stages. First imitate demonstrations (SFT), then *align*: learn from
# grades or preferences. The second stage teaches other things, and the model forgets some of the
# first. UFT (*unified fine-tuning*) has one stage. A demonstration is simply an answer with the
# best grade, 1. The loss of lesson 09 trains on it together with all other graded answers. Is one
# stage better? And, a question that papers often forget: **better than what?**
#
# Two old questions: (09) Where is UNA's push zero? (03) How hard does SFT push a token that the
# model knows for certain?

# %% [markdown]
# ## Guess before you run
# Demonstrations teach sums and sorting, grades teach truth. Which of these three models knows MOST
# truth?
# - **a** two stages: SFT, then grades;
# - **b** one stage: UFT;
# - **c** grades alone, no demonstration at all.

# %%
from course import Lesson, progress

lesson = Lesson("10", "abc")

# %% [markdown]
# ## One equation
# $$i=\beta\log\frac{\pi(y\mid x)}{\pi_{\rm ref}(y\mid x)},\qquad L=\big(\sigma(i)-1\big)^2,\qquad
# -\frac{\partial L}{\partial\log\pi(y_t)}=2\beta\,\sigma\,(1-\sigma)^2.$$
# For a demonstration this is SFT's push (the same on each token, summed over the answer) times a
# number. That number depends on how far the policy has moved. It is $\beta/4$ at the start and at
# most $\frac8{27}\beta$. It goes to zero when the answer is learnt (right end of the curve) or
# hopeless (left end). SFT's own push is a flat line: it never ends.
#
# The reference $\pi_{\rm ref}$ is the model that training starts from, here the base. If it were
# an SFT model, the demonstrations would already be learnt at the start.

# %%
import copy

from nanouft import world
from nanouft.batches import collate, encode, order
from nanouft.models.load import start_model
from nanouft.objectives import OBJECTIVES
from nanouft.reference import Models, add_columns
from nanouft.sampling import answer_rows
import draw
import torch

BREAK = "mse"                                   # the switch, see "Break it": "mse" | "bce"
SEED = 0                                        # the draw of rows
STEPS = 24                                      # of one stage
A = ("sum", "sort")                             # taught by demonstrations
B = ("truth", "fact")                           # the others
base, tok = start_model("base")
tests = world.rows("val", "prompts", 160, seed=0, skills=(*A, *B))
demos = world.rows("train", "demos", 640, SEED, skills=A)
grades = world.rows("train", "scores", 640, SEED + 1, skills=("truth",))    # half: the popular myth


def push(i):
    """(N,) implicit rewards -> (N,) pushes on a token of a demonstration, in units of beta."""
    i = i.clone().requires_grad_()
    L = (i.sigmoid() - 1) ** 2 if BREAK == "mse" else -i.sigmoid().log()
    slope, = torch.autograd.grad(L.sum(), i)
    return -slope


# %% [markdown]
# ## Live
# `truth` asks about creatures about which most people believe something wrong. The truth has grade
# 1, the myth has grade 0. `fact` is a bystander: the base knows these facts, no model trains on
# them, and they should stay.
# - `SFT`: demonstrations only. Then, from there, `SFT, then UNA`: grades. The reference is the SFT
#   model.
# - `UFT`: the same demonstrations and grades, shuffled, in one run of twice as many steps. So every
#   model reads each of its rows about equally often.
# - `grades only`: UNA on the grades, from the base. This is the **control**: what do the grades
#   teach alone?

# %%
def train(name: str, rows, steps: int, start):
    objective = OBJECTIVES[name]
    model = copy.deepcopy(start)
    lr = 1e-4 if name == "una" else 2.5e-4
    hp = objective.hp(loss=BREAK) if name == "uft" else objective.hp()
    data, _ = encode(objective.rows(rows, hp), tok, base.cfg.n_ctx)
    add_columns(data, objective.columns, Models(start, tok.pad), hp)        # the reference
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, betas=(0.9, 0.95), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, lr, steps + 1, pct_start=0.1, cycle_momentum=False)
    for chosen in progress(order([e.length for e in data], 32, steps, SEED), name):
        batch = collate(data, chosen, tok.pad)              # data
        objective.forward(model, batch, hp)                 # forward
        loss, _ = objective.loss(batch, hp)                 # objective
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()                                    # update
        schedule.step()
    return model


def exam(model) -> list[float]:
    """Returns the exact score in each of the four families, in per cent."""
    scores = []
    for row, answer in zip(tests, answer_rows(model, tok, tests)):
        text = tok.decode(answer.ids).strip()
        scores.append(world.score(row.prompt[0].text, text))
    return (torch.tensor(scores).view(4, 40).mean(1) * 100).tolist()


sft = train("sft", demos, STEPS, base)
models = {
    "base": base,
    "SFT": sft,
    "SFT, then UNA": train("una", grades, STEPS, sft),
    "UFT": train("uft", demos + grades, 2 * STEPS, base),
    "grades only": train("una", grades, STEPS, base),
}
scores = {name: exam(model) for name, model in models.items()}
for name, marks in scores.items():
    print(f"{name:<14}", *(f" {skill} {x:3.0f} %" for skill, x in zip((*A, *B), marks)))

# %%
# Seen: The push of UFT and SFT on a token over the implicit reward; scores of five models.
fig, (top, bottom) = draw.panels(2, 1, height_ratios=(2, 3))
i = torch.linspace(-6, 6, 121)                  # i[60] = 0: the start
curve = push(i)
curves = {"UFT, demonstration": curve, "SFT (times 1/4)": torch.full_like(i, 1 / 4)}
draw.lines(top, i, curves, "push on a token / beta", "implicit reward i (0: start)",
           ylim=(0, None))
draw.bars(bottom, scores, (*A, *B), "exact score, %", size=16)
lesson.picture(fig, BREAK=(BREAK, "mse"), SEED=(SEED, 0))

# %% [markdown]
# ## The proof

# %%
sums = {name: marks[0] for name, marks in scores.items()}
truth = {name: marks[2] for name, marks in scores.items()}
best = max(("SFT, then UNA", "UFT", "grades only"), key=truth.get)
lesson.compare({"SFT, then UNA": "a", "UFT": "b", "grades only": "c"}[best])
if BREAK == "mse":
    assert abs(curve[60] - 1 / 4) < 1e-4, "beta/4 at the start"
    assert abs(curve.max() - 8 / 27) < 1e-4, "at most 8/27 beta"
assert sums["SFT, then UNA"] < sums["SFT"] - 8, "two stages forget sums"
assert sums["UFT"] > sums["SFT"] - 8, "one stage does not forget sums"
assert truth["grades only"] > truth["UFT"] - 5, "grades alone explain the gain in truth"

# %% [markdown]
# - **Two stages forget.** The second stage has no sums, and the score on sums falls by a quarter or
#   more. UFT keeps it: every batch has demonstrations that work against the forgetting.
# - **But the control changes the other half of the story.** Truth rises *most* in the model that
#   read no demonstration. What UFT and the two stages gained there came from the grades. A table
#   without this row (two stages against one) would let you believe that merging teaches truth.
# - **And the bystander?** Look at `fact`. Nobody trained on it. Each model that learnt truth lost
#   some facts, UFT the most.
#
# The honest sentence about this run: *merging kept what a second stage forgets; it did not teach
# more of what the grades teach.* `SEED = 1` and `2` agree. This holds for these learning rates,
# small runs and one base. The study C3 (`docs/claims.md`) tuned every row on validation, with five
# seeds and two bases. There UFT has fewer skills than each second stage; whether these forget any
# is undecided. Over all parts, neither is significantly better on both bases. The best row is plain
# SFT on as many good answers.
#
# ## Break it
# With `BREAK = "bce"` the loss of a demonstration is $-\log\sigma(i)$. Guess what the upper curve
# does where the policy is far below its reference, and whether the bars of UFT change.
#
# *Read on after your run.* At its left end the curve stays at full height. The weights differ, but
# the bars of UFT stay the same, to the percent.
#
# ## Same letter, other meaning
# $\sigma$ is the sigmoid, not a standard deviation. $\beta$: how much one nat of the *whole* answer
# counts. With the authors' .01 a demonstration of ten tokens is never learnt: $\sigma(i)=.9$ would
# need 220 nats.
#
# ## Exercises
# `python -m lessons.grade 10a` judges them (`lessons/exercises/README.md` says how).
#
# - **10a** (D1, debug) `merge(rows)`: a program that turns rows of two kinds into graded answers;
#   it has one bug.
# - **10b** (D2) `uft_push(i, beta)`: the push on a token of a demonstration.
# - **10c** (D3, plan) The experiment that would show whether merging teaches more truth.
#
# ## Recall, without looking up
# 1. A demonstration has grade 1. At which $\sigma(i)$ does it stop pushing, and is that ever
#    reached?
# 2. Which control shows the effect of merging, and which the effect of the grades?
# 3. Why does the push on a hopeless demonstration vanish under `mse` but not under `bce`?
# 4. (09) An answer of grade 1/2, at the start: which push? And after ten steps on other answers?
#
# <details><summary>Answers</summary>
#
# 1. At sigmoid(i) = 1. It is never reached: i would have to be infinite.
# 2. Two stages with the same rows and as many steps show the effect of merging. Grades alone show
#    the effect of the grades.
# 3. The derivative of the square has the factor sigmoid (1 - sigmoid), which goes to 0. The
#    derivative of the logarithm has only 1 - sigmoid, which goes to 1.
# 4. None. After ten steps on other answers the policy has moved; then the answer pulls it back
#    towards the reference.
#
# The two old questions: (09) Where sigmoid(i) is the grade. (03) By 1/N, as hard as any other
# token.
#
# </details>
#
# **Next:** `lessons/11_poft.py`.
