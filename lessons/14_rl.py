# %% [markdown]
# # 14 · How little is enough to learn from a score?
# *Core · about 25 minutes (estimated, n=0) · needs 07, 09 · REINFORCE and RLOO 2402.14740, GRPO 2402.03300, online DPO
# 2402.04792, online UNA 2408.15339; `nanouft/rollout/rollouts.py`, `nanouft/objectives/`*
#
# So far every answer to learn from was written by somebody else. Now the model answers by itself, somebody says a
# number, and nobody says what would have been right. *Make likelier what scored well* is not enough: is .6 well? Five
# methods differ in what they compare a score with: with all other scores (**REINFORCE**), with those of the other
# answers to the same prompt (**RLOO**, **GRPO**), with one of them (**online DPO**), with 1/2 (**online UNA**).
#
# Two old questions: (09) What does a grade of 1/2 teach? (07) What cancels when two answers to one prompt are
# compared?

# %% Guess before you run. Nothing is checked, but the lesson will remind you.
MY_GUESS = None   # the base answers 100 prompts, each four times, at temperature 1. For how many of the prompts can
                  # RLOO and GRPO learn NOTHING from the four scores?   "a" hardly any   "b" about a third   "c" most

# %% [markdown]
# ## One equation
# $$\nabla\,{\rm E}[R]={\rm E}\big[(R-b)\,\nabla\log\pi(y)\big],\qquad
# A_i^{\rm RLOO}=R_i-\frac1{K-1}\sum_{j\ne i}R_j,\qquad A_i^{\rm GRPO}=\frac{R_i-\bar R}{{\rm std}(R)+10^{-4}}$$
# The first is why sampling works: an average over answers that were really drawn, each pushed by its own score. The
# baseline $b$ is free as long as it does not look at $y$: ${\rm E}[\nabla\log\pi(y)]=0$. It only takes noise away.
# The mean of the OTHERS knows how hard the prompt is, and nothing of $y$. GRPO divides by the spread, too: every prompt
# then counts alike, the nearly solved one as well; that is no longer the gradient of the mean score.

# %%
import copy
from nanouft.models.load import start_model
from nanouft.rollout.rollouts import as_if_sampled
from nanouft.objective import pushes
from nanouft import train, world
from nanouft.look import plots
from nanouft.rollout import rollouts
from nanouft.shell import devices
from nanouft.data.batches import collate, encode

from nanouft.objectives import OBJECTIVES
import torch                                            # after nanouft, which sets how threads wait

ROLL = 0                                                # the switch, see "Break it"
torch.set_num_threads(2)                                # fp32, two threads, fixed seeds: nearly equal on each machine
(base, tok), cpu, K, STEPS = start_model("base"), devices.pick("cpu", "fp32", 2), 4, 10
rows = world.rows("train", "prompts", 400, 0, skills=("fact", "truth", "sort"))
ARMS = {"REINFORCE": "reinforce", "RLOO": "rloo", "GRPO": "grpo", "online UNA": "online_una"}


def setting(arm: str, model, prompts: int, steps: int):         # -> objective, its settings, its source of answers
    objective, hp = OBJECTIVES[ARMS[arm]], OBJECTIVES[ARMS[arm]].hp(samples=K)
    asked, _ = encode(objective.rows(rows, hp), tok, base.cfg.n_ctx)
    cfg = train.Train(batch_size=prompts, max_new=24, show_every=0)
    return objective, hp, rollouts.Rollouts(asked, objective, hp, cfg, steps, model, tok, cpu)


def exam(model):                    # 100 prompts -> K answers to each, their scores (100,K), % of prompts of each kind
    said, _ = setting("RLOO", model, 100, 1)[2](0)
    R = torch.tensor([e.col.reward for e in said]).view(-1, K)
    flat = R.amax(1) == R.amin(1)
    return said, R, [100 * on.float().mean().item() for on in (flat & (R[:, 0] < 1), ~flat, flat & (R[:, 0] == 1))]


said, R, kinds = exam(base)
print(f"base: mean score {R.mean():.2f}; all {K} scores equal for {100 - kinds[1]:.0f} % of the prompts")
groups = [on.int().argmax().item() for on in (R.std(1) > 0.4, R.amin(1) == 1, R.amax(1) == 0)]     # the first of each
few, push, exams, scores = [said[K * g + k] for g in groups for k in range(K)], {}, {"base": kinds}, R[groups].view(-1)
print("\n".join(f"  {r:.2f}  {tok.decode(e.seqs['answer'].ids):.100}" for e, r in zip(few, scores)))
for arm in ARMS:
    objective, hp, _ = setting(arm, base, 1, 1)
    made = as_if_sampled(few, scores.tolist(), objective, hp, base, tok.pad, cpu)
    objective.forward(base, batch := collate(made, range(len(made)), tok.pad), hp)
    push[arm] = pushes(objective, batch, hp)["answer"].sum(1)                         # (12,) on a whole answer

# %% [markdown]
# ## Live
# Three learners, the loop of all lessons; only the source of the rows is new. Afterwards each sits the exam: the 100
# prompts of the beginning, four answers each. One seed, ten steps: enough to see that they learn, not who is best.

# %%
for arm in ("RLOO", "GRPO", "online UNA"):
    model = copy.deepcopy(base)
    objective, hp, source = setting(arm, model, 16, STEPS)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, betas=(0.9, 0.95), weight_decay=0.0)
    for step in range(STEPS):
        batch = collate(*source(step), tok.pad)                                             # data: its own answers
        batch.col |= {"adv": batch.col.adv.roll(ROLL)} if "adv" in batch.col else {}
        objective.forward(model, batch, hp)                                                 # forward
        loss, _ = objective.loss(batch, hp)                                                 # objective
        optimizer.zero_grad(), loss.backward(), optimizer.step()                            # update
    _, after, exams[arm] = exam(model)
    print(f"{arm}: after {STEPS} steps of {16 * K} answers mean score {after.mean():.2f}")
    assert ROLL or after.mean() > R.mean() + 0.05, "a score is enough: the answers get better"

# %%
plots.plt.rcParams["font.size"] = 16
fig, (left, side) = plots.plt.subplots(1, 2, figsize=(20, 7), width_ratios=[3, 2])
left.imshow(grid := torch.stack([p / p.abs().max() for p in push.values()]), cmap="PuOr_r", vmin=-1.5, vmax=1.5)
left.set(aspect="auto", yticks=range(len(ARMS)), yticklabels=ARMS, title="push on each answer; a row's largest is 1",
         xticks=range(len(few)), xticklabels=[f"{r:g}" for r in scores], xlabel="scores: mixed | all right | all wrong")
for y, x in torch.cartesian_prod(*map(torch.arange, grid.shape)).tolist():
    left.text(x, y, f"{grid[y, x]:+.2f}" if grid[y, x] else "0", ha="center", va="center", fontsize=14)
for k, (label, hatch) in enumerate((("alike, not right", "//"), ("mixed", ""), ("all right", ".."))):
    part, under = ([sum(x[i:j]) for x in exams.values()] for i, j in ((k, k + 1), (0, k)))
    bars = side.bar(list(exams), part, bottom=under, ec="white", label=label, hatch=hatch, color=plots.LINES[k])
    side.bar_label(bars, fmt="%.0f", label_type="center", fontweight="bold")
side.set(title="prompts by their four scores, %", ylim=(0, 115)), side.legend(frameon=False, ncol=3, fontsize=14)
print("\npicture:", plots.save(fig, plots.Path("out/lessons/14.png")))

# %% [markdown]
# ## The proof

# %%
print("you guessed", MY_GUESS or "nothing (MY_GUESS, above)", "and it was", "abc"[(kinds[1] < 85) + (kinds[1] < 45)])
assert not torch.cat([push[arm][K:] for arm in ("RLOO", "GRPO")]).any(), "a group of equal scores teaches nothing"

# %% [markdown]
# - **A group of equal scores teaches nothing**, whether all are right or all are wrong. All right: nothing is left to
#   learn, fine. All wrong: the model never tried what would have paid, and nobody tells it. That is the limit of all
#   methods of this lesson: they sharpen what is sometimes said already. (A demonstration, 03, teaches it at once.)
# - **So the score begins to run dry by its own success**: look at the bars. Every prompt that moves to *all right* is
#   sampled, scored and thrown away from now on. Practitioners drop such prompts, or draw more answers (DAPO does).
#   The blue bars shrink, too: *other* prompts of their kind taught what these could not.
# - **REINFORCE** compares with the mean of ALL answers: it praises the group that is all right, as the prompt was easy,
#   and blames the one that is all wrong, as it was hard. Right on average, and noisy: luck with prompts is taken
#   for merit. **online UNA** praises whatever scores above 1/2 and needs no group: one answer is enough, as in 09.
# - **online DPO** (07, so not in the picture) pairs the best with the worst of a group; a tie is thrown away.
# - **GRPO** divides by the spread: scores (1, 1, 1, .9) push as hard as (1, 1, 1, 0). And it takes the mean over an
#   answer's tokens where RLOO takes the sum: of the mixed group's wrong answers RLOO pushes the longest hardest.
# - **A leash** to the start model holds all five (`--beta`): a score says what is liked, not what is English (13).
#
# ## Break it
# `ROLL = 1`: each advantage lands on the next answer, as if the answers to one prompt did not stand together. Nothing
# crashes, the loss looks as before. Guess what the exam says of RLOO, and why online UNA does not care. Then give back
# `ROLL = 0` and set `K = 2`: half as dear. How many groups are alike now?
#
# ## Same letter, other meaning
# $A$ is an advantage here, the mean log-prob in ORPO (08). $R$ is a score in [0, 1]; in UNA $r$ is an implicit reward.
#
# ## Exercises (take away the first `# ` of the lines that check you)
# **14a** (D2) Write `my_rloo(R)`: (P, K) scores -> (P, K) advantages. What goes wrong: the own score in the baseline
# (right on average but for a factor (K - 1) / K); the groups read down instead of across.

# %%
# got = my_rloo(torch.tensor([[1.0, 0.0, 0.0, 1.0], [1.0, 0.0, 0.0, 0.0]]))
# assert torch.allclose(got[0], torch.tensor([0.6667, -0.6667, -0.6667, 0.6667]), atol=1e-3), "1 - (0 + 0 + 1) / 3"
# assert torch.allclose(got[1], torch.tensor([1.0, -0.3333, -0.3333, -0.3333]), atol=1e-3)

# %% [markdown]
# **14b** (D2) Write `my_grpo(R)`. What goes wrong: the population's standard deviation (1.414 for the case below); no
# 1e-4 under the line, so that a group of equals is 0/0; gradient through the advantage (no number shows it).

# %%
# got = my_grpo(torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.5, 0.5]]))
# assert torch.allclose(got[0], torch.tensor([1.1545, -0.5773, -0.5773]), atol=1e-3), "std of (1, 0, 0) is .577"
# assert torch.equal(got[1], torch.zeros(3)), "a group of equals: zeros, no NaN"

# %% [markdown]
# **14c** (D3, in reverse) `tests/test_probe_worlds.py` has four worlds with one mistake each: a bandit of one token, a
# reward that comes late, a forbidden word, ties. Which world finds each of these? (i) the prompt's tokens pay, too;
# (ii) K where K - 1 belongs, with the own score left in; (iii) only the last token of an answer gets the push.
#
# ## Recall, without looking up
# 1. Why may the baseline not look at the answer that it is compared with, and what happens in REINFORCE, where it does?
# 2. Four answers, all right. What do RLOO, GRPO, REINFORCE and online UNA do?
# 3. What does dividing by the spread do to a prompt that is nearly always answered well?
# 4. Why is every answer drawn at temperature 1, and used once?
# 5. (09) Why is a score of 1/2 special for UNA and for nobody else here?
