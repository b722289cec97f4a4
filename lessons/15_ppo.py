# %% [markdown]
# # 15 · What do a critic, GAE and the clip buy?
# *Core · about 25 minutes (estimated, n=0) · needs 14 · PPO 1707.06347, GAE 1506.02438, for language models 1909.08593;
# `nanouft/objectives/ppo.py`*
#
# RLOO (14) gives every token of an answer the same push. But most tokens did not decide the score. PPO asks a second
# head of the model, the **critic** $V$, after every token: *what score is still to be expected?* A token is good if it
# made that number rise. And since answers are dear, it takes several steps on one rollout, held back by a **clip**.
#
# In this lesson nothing is a language model, so that everything is exactly known. An answer is a sum of eight steps,
# each right with probability .6, and the first slip costs the rest: score = right steps before it / 8. The policy is
# a table: one logit for each step, before the slip and after it. What is said after the slip does not matter.
#
# Two old questions: (14) Why may a baseline not look at the answer itself? (04) What is a state, in an answer?

# %% Guess before you run. Nothing is checked, but the lesson will remind you.
MY_GUESS = None   # four answers a step. RLOO's gradient is off by about 1.8 times its own length, by chance alone.
                  # With a critic that knows exactly what is to be expected, and lam = 0, it is off by about
                  # "a" 1.5   "b" 1   "c" .5   times its length

# %% [markdown]
# ## One equation
# $$\delta_t=R_t+V_{t+1}-V_t,\qquad A_t=\delta_t+\lambda A_{t+1},\qquad
# L_t=-\min\big(\rho_t A_t,\ {\rm clip}(\rho_t,1-\varepsilon,1+\varepsilon)\,A_t\big)$$
# $V_t$ is the critic's word BEFORE token $t$, 0 behind the end. $\lambda=1$: $A_t$ is the whole return minus $V_t$;
# right on average, whatever the critic says. $\lambda=0$: only how much the critic changed its mind; little noise, and
# right only if the critic is. $\rho_t=\pi/\pi_{\rm old}$: how much likelier the token is than when it was sampled.

# %%
from nanouft.look import plots
from nanouft.objectives.ppo import gae, whiten
from nanouft.objectives.reinforce import clipped
from nanouft.objectives.rloo import leave_one_out
import torch                                            # after nanouft, which sets how threads wait

CRITIC = 1.0                                            # the switch, see "Break it"
T, K, N, LAMS = 8, 4, 3000, (0, 0.25, 0.5, 0.75, 0.95, 1)                                   # steps, answers, rollouts
start, one = torch.full((T, 2), 0.405), torch.ones(N * K, T)        # logits of a right step, before and after the slip


def value(table):                                       # (..,T,2) -> (..,T): the score to expect, no slip before t
    V = [torch.ones(table.shape[:-2])]
    for t in reversed(range(T)):
        V.insert(0, (p := table[..., t, 0].sigmoid()) * V[0] + (1 - p) * t / T)
    return torch.stack(V[:-1], -1)


def logit(table, alive):                                # (..,T,2), (..,T): which of the two logits speaks
    return torch.where(alive > 0, table[..., 0], table[..., 1])


u = torch.rand(N * K, T, generator=torch.Generator().manual_seed(0))
before = (u < start[:, 0].sigmoid()).float().cumprod(1)                 # 1 while no slip has been made, step t included
alive, score = torch.cat([one[:, :1], before[:, :-1]], 1), before.mean(1)
right = (u < logit(start, alive).sigmoid()).float()     # (N K, T)
V = CRITIC * torch.where(alive > 0, value(start), score[:, None])       # after the slip the score is known
R = torch.cat([0 * one[:, 1:], score[:, None]], 1)      # paid once, at the end
true = torch.autograd.functional.jacobian(lambda table: value(table)[0], start)             # (T,2), exact


def quality(adv):                                       # (N K, T) advantages -> [bias, noise], in lengths of `true`
    push = adv * (right - logit(start, alive).sigmoid())
    g = torch.stack([push * alive, push * (1 - alive)], -1).view(N, K, T, 2).mean(1)        # N gradients
    return [(x.norm() / true.norm()).item() for x in (g.mean(0) - true, (g - g.mean(0)) / N ** 0.5)]


arms = {name: [quality(gae(R, v, one, 1.0, lam)) for lam in LAMS] for name, v in (("critic", V), ("blank", 0 * V))}
arms["RLOO"] = [quality(leave_one_out(score.view(N, K)).view(-1, 1) * one)]
for name, rows in arms.items():
    print(f"{name:<13} noise, bias at each lam:  ", "   ".join(f"{noise:.2f}, {bias:.2f}" for bias, noise in rows))

# %% [markdown]
# ## The clip
# 300 learners take ONE rollout of four answers 30 times, with Adam. In the later passes they still believe what four
# answers said of a policy that is long gone; the clip ends that. (A clip of 99 is none.) The scores drawn are the
# *true* ones.

# %%
def passes(eps: float, n: int = 300, M: int = 4):       # -> (30, n) exact scores after each pass
    said, on, adv = (x[:n * M].view(n, M, T) for x in (right, alive, gae(R, V, one, 1.0, 0.95)))
    adv, scores, table = torch.stack([whiten(a, 0 * a + 1) for a in adv]), [], start.repeat(n, 1, 1).requires_grad_()
    optimizer = torch.optim.Adam([table], lr=0.1)
    for i in range(30):
        scores.append(value(table.detach())[:, 0])
        logp = torch.nn.functional.logsigmoid(logit(table[:, None], on) * (2 * said - 1))
        old = logp.detach() if i == 0 else old
        optimizer.zero_grad(), clipped((logp - old).exp(), adv, eps, eps).sum().backward(), optimizer.step()
    return torch.stack(scores)


plots.plt.rcParams["font.size"] = 16
fig, (left, side) = plots.plt.subplots(1, 2, figsize=(17, 7))
left.axhline(arms["RLOO"][0][1], ls="--", color=plots.GREY, label="noise, RLOO")
for arm, eps, colour, mark in (("critic", 0.2, plots.UP, "o"), ("blank", 99, plots.DOWN, "v")):
    for k, what, line in ((1, "noise", "-"), (0, "bias", ":")):
        left.plot(LAMS, [q[k] for q in arms[arm]], mark + line, color=colour, ms=9, lw=2, label=f"{what}, {arm}")
    s = passes(eps)
    side.plot(s.mean(1), mark + "-", color=colour, ms=8, lw=2, markevery=3, label=f"clip {eps:g}: mean, 10 to 90 %")
    side.fill_between(range(30), s.quantile(0.1, 1), s.quantile(0.9, 1), color=colour, alpha=0.2)
    print(f"clip {eps:g}: score {s[-1].mean():.2f} after 30 passes; below start: {(s[-1] < s[0]).float().mean():.0%}")
left.set(title="one gradient, in lengths of the true one", xlabel="lam"), side.set(title="true score", xlabel="pass")
left.legend(frameon=False, fontsize=14, loc="upper left", bbox_to_anchor=(0, 0.86)), side.legend(frameon=False)
print("\npicture:", plots.save(fig, plots.Path("out/lessons/15.png")))

# %% [markdown]
# ## The proof

# %%
(bias, noise), rloo = arms["critic"][0], arms["RLOO"][0][1]
did = min("abc", key=lambda x: abs(noise - {"a": 1.5, "b": 1, "c": 0.5}[x]))
print(f"you guessed {MY_GUESS!r};" if MY_GUESS else "you wrote no guess (MY_GUESS, above);", f"it did {did!r}")
assert abs(arms["blank"][-1][0]) < 0.1, "at lam 1 the gradient is right on average, whatever the critic says"
assert max(q[0] for q in arms["critic"]) < 0.1, "a critic that is right leaves no bias at any lam"
assert noise < rloo / 3, "and it takes away most of the noise: what is said after the slip earns exactly nothing"

# %% [markdown]
# - **A critic buys silence**: at $\lambda=0$ only the steps that changed the expected score are pushed. RLOO rewards
#   and blames the tokens after the slip like all others, and needs (1.84/.43)$^2\approx$ 18 times as many.
# - **If it is right.** A value head starts at 0 (*blank*). Then $\lambda=0$ teaches the last token and nothing else:
#   bias 1, the whole gradient missing. $\lambda=.95$ is the usual bargain: bias .3 of a blank critic, next to none of a
#   good one. That is why one watches `explained_variance`: at 0 or below, what $V$ says is of no use.
# - **A real critic is paid for**: a second loss on the same weights, a second learning problem. Where answers are
#   short and four of them are cheap, the mean of the others is a fair critic already. On this project's world see
#   `python -m nanouft.lab.compare`; the numbers, not the pedigree, decide.
# - **The clip buys no score here**: on average the learners *without* it end higher, for the reward is exact
#   and 30 passes are few. It buys that fewer of them end below the start (1 % against 6 %), and that the policy stays
#   where the rollout, the critic and a *learnt* reward (13) still say something about it.
#
# ## Break it
# `CRITIC = 0.0`: the critic is blank from the first line on. Which of the three laws of the proof falls, and which
# cannot? Then `CRITIC = 0.5`: guess the bias at $\lambda=0$ before you look. Last, behind the line that makes `start`,
# put `start[0, 0] = -3` (the first step nearly always slips): who still learns something about step 5?
#
# ## Same letter, other meaning
# $\lambda$ in IFT (05) blends a guess into what is read; here it says how far a surprise is handed back. $\rho$ is a
# ratio here and a constant in Ada-DPO (12). $\gamma$ (1 here) discounts later rewards; in SimPO it is a margin.
#
# ## Exercises (take away the first `# ` of the lines that check you)
# **15a** (D2) Write `my_gae(R, V, lam)` for one answer (lists of numbers), $\gamma=1$. What goes wrong: a value taken
# behind the end; the loop run forwards; the critic's goals, $A_t+V_t$, computed after whitening (no number shows it).

# %%
# R, V = [0.0, 0.0, 1.0], [0.5, 0.5, 0.5]
# for lam, want in ((0.0, [0, 0, 0.5]), (0.5, [0.125, 0.25, 0.5]), (1.0, [0.5, 0.5, 0.5])):
#     assert all(abs(a - b) < 1e-6 for a, b in zip(my_gae(R, V, lam), want)), f"lam {lam:g}: {want}"
# assert abs(my_gae([0.0, 1.0], [0.2, 0.8], 1.0)[0] - 0.8) < 1e-6, "lam 1: the whole return minus V"

# %% [markdown]
# **15b** (D3) Write `my_clip(rho, A, eps)`, the loss of one token. What goes wrong: one side of the clip for both signs
# of A; maximum for minimum; old log-probs computed anew at every pass: the ratio is then always 1.

# %%
# assert abs(my_clip(1.5, 1.0, 0.2) + 1.2) < 1e-6, "likelier already, and good: nothing more to gain"
# assert abs(my_clip(1.5, -1.0, 0.2) - 1.5) < 1e-6, "likelier, though bad: the full loss stays, it must come back"
# assert abs(my_clip(0.5, 1.0, 0.2) + 0.5) < 1e-6 and abs(my_clip(0.5, -1.0, 0.2) - 0.8) < 1e-6, "and below 1 - eps"

# %% [markdown]
# ## Recall, without looking up
# 1. What does lam = 0 need that lam = 1 does not?
# 2. Why does `V` belong to the state BEFORE the token, and what would go wrong with the state after it?
# 3. A ratio of 3 and a positive advantage: what does the clip do to the gradient? And with a negative one?
# 4. Explained variance is -0.2. What does the critic add at lam = 1, and what at lam = 0?
# 5. (14) All answers to a prompt score alike. What does RLOO learn from them, and what may PPO learn?
