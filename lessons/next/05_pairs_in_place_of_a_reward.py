# %% [markdown]
# # 05 · Pairs in place of a reward
# DPO's loss sees only how far the better answer leads. It falls and falls. What happens to the
# better answer itself?
#
# *35 minutes; needs 00. Direct preference optimization: arXiv:2305.18290. You write `log_ratio` and
# `dpo_loss`.*
#
# Often nobody can write the right answer, but anybody can say which of two answers is better. Our
# pairs ask about creatures that do not exist. The chosen answer w is always "I do not know.", and
# the rejected answer l is made up.

# %%
import torch
import torch.nn.functional as F
from course import ask, curves, tell
from mine import answers_of, token_logp, tokens

from nanouft import world
from nanouft.gpt import shipped_base
from nanouft.models.tokenizer import nano

BETA, RATE, STEPS, ROWS = 0.1, 1e-4, 40, 32
tok, policy, reference = nano(), shipped_base(), shipped_base()
pairs = world.rows("train", "pairs", 300, seed=0, skills=("unknown",))
unseen = world.rows("val", "pairs", 40, seed=0, skills=("unknown",))
guess = ask("At the start the chosen answers have log p = -2.5 nats on average (0 is certainty). "
            "After two steps every pair is won, the unseen ones too: w has gained more than l. "
            "Where is log p of the chosen answers after step 40?", "-20 to 0")

# %% [markdown]
# ## From pairs to a loss
# Let x be a question, y an answer, $\pi(y)$ the probability of y under the model that we train (the
# **policy**), and $\pi_0(y)$ that under the model it started from (the **reference**).
#
# **1. A judge.** Each answer has a hidden reward r(y). A judge prefers w to l with the probability
# $\sigma(r(w)-r(l))$. If both rewards are equal, the judge tosses a coin (Bradley and Terry).
#
# **2. What we want.** A high reward, but near the reference. With a price $\beta$ for distance,
# maximise the mean over answers of the policy
# $$J(\pi)=\sum_y\pi(y)\Big(r(y)-\beta\log\frac{\pi(y)}{\pi_0(y)}\Big).$$
# The mean of the logarithm is the distance, **KL**$(\pi\,\|\,\pi_0)$. It is 0 if both models are
# equal, and positive otherwise.
#
# **3. The best policy** raises the reference where the reward is high, and Z makes the sum 1:
# $$\pi^*(y)=\pi_0(y)\,e^{r(y)/\beta}/Z,\qquad\text{so}\qquad
# r(y)=\beta\log\frac{\pi^*(y)}{\pi_0(y)}+\beta\log Z.$$
#
# **4. Why it is the best.** Put this r into J. The terms with $\pi_0$ cancel, and what is left is
# $J(\pi)=\beta\log Z-\beta\,\mathrm{KL}(\pi\,\|\,\pi^*)$. It is largest where the KL is 0.
#
# **5. Read it backwards.** Every policy is the best one for some reward: that of line 3. Nobody can
# compute Z, a sum over all answers. But both answers of a pair share it, so it cancels:
# $$r(w)-r(l)=\beta\Big(\log\frac{\pi(w)}{\pi_0(w)}-\log\frac{\pi(l)}{\pi_0(l)}\Big)=h.$$
# This is the **margin** h. A pair with h > 0 is won.
#
# **6. The loss** is the judge's surprise, $L=-\log\sigma(h)$. The reward is gone.
#
# **7. The pushes.** The slope of $\log\sigma(h)$ is $\sigma(-h)$. So each token of w is pushed up
# by $\beta\,\sigma(-h)$, and each token of l down by as much. At first h = 0, and this is
# $\beta/2$. It vanishes as the lead grows. Line 4, in numbers, with three answers and $\beta=1$:

# %%
pi0, r = torch.tensor([0.6, 0.3, 0.1]), torch.tensor([0.0, 1.0, 2.0])
best = pi0 * r.exp() / (pi0 * r.exp()).sum()
others = torch.randn(10000, 3).softmax(-1)
J = lambda pi: (pi * (r - (pi / pi0).log())).sum(-1)                                # noqa: E731
print(f"J: reference {J(pi0):.3f}, best policy {J(best):.3f} = log Z "
      f"{(pi0 * r.exp()).sum().log():.3f}, best of 10000 others {J(others).max():.3f}")

# %% [markdown]
# ## Forty steps
# The loop: log p of both answers, the margin, the loss, one step. Before every second step it
# measures the unseen pairs.

# %%
def logp(model, rows, side):
    """(B,) log p of each answer: the sum over its tokens."""
    inputs, targets, mask = tokens(rows, side, tok)
    return (token_logp(model(inputs), targets) * mask).sum(1)


def margins(rows):
    """(B,) each: log p of w and of l under the policy, and the margin h."""
    w, l = logp(policy, rows, "chosen"), logp(policy, rows, "rejected")
    with torch.no_grad():
        w0, l0 = logp(reference, rows, "chosen"), logp(reference, rows, "rejected")
    return w, l, BETA * ((w - w0) - (l - l0))


@torch.no_grad()
def distance(rows):
    """KL(policy || reference) at each token of the chosen answers, added up, in nats."""
    inputs, _, mask = tokens(rows, "chosen", tok)
    log_pi, log_0 = policy(inputs).log_softmax(-1), reference(inputs).log_softmax(-1)   # (B,T,V)
    return ((log_pi.exp() * (log_pi - log_0)).sum(-1) * mask).sum(1).mean().item()


def says(rows):
    return [tok.decode(x.ids).strip()[:60] for x in answers_of(policy, rows, tok)]


seen = {name: [] for name in ("chosen", "rejected", "margin", "won", "KL")}
optimizer = torch.optim.AdamW(policy.parameters(), lr=RATE, betas=(0.9, 0.95), weight_decay=0.0)
print("step      loss pairs won   margin   log p(w)   log p(l)     KL  ", unseen[0].prompt[0].text)
for step in range(STEPS + 1):
    if step % 2 == 0:
        with torch.no_grad():
            w, l, h = margins(unseen)
        now = w.mean(), l.mean(), h.mean(), (h > 0).float().mean(), distance(unseen)
        for values, x in zip(seen.values(), now):
            values.append(float(x))
        if step in (0, 2, 6, 20, 40):
            print(f"{step:4}{-F.logsigmoid(h).mean():10.4f}{now[3]:9.0%}{now[2]:9.2f}{now[0]:11.2f}"
                  f"{now[1]:11.2f}{now[4]:7.1f}   {says(unseen[:1])[0]}")
    batch = [pairs[i % 300] for i in range(ROWS * step, ROWS * step + ROWS)]
    w, l, h = margins(batch)
    loss = -F.logsigmoid(h).mean()
    optimizer.zero_grad()
    loss.backward()
    if step < STEPS:
        optimizer.step()
answers = says(unseen[:20])
print(answers.count("I do not know."), "of 20 new answers are \"I do not know.\"; the first four:")
print(*(f"   {row.prompt[0].text}  {x}" for row, x in zip(unseen[:4], answers)), sep="\n")
curves("05", range(0, STEPS + 1, 2), {x: seen[x] for x in ("chosen", "rejected")}, "log p, nats")
tell(guess, seen["chosen"][-1], "nats")

# %% [markdown]
# ## What happened
# After two steps every pair is won. For six steps the chosen answer becomes more likely, until it
# is nearly certain. Then it falls, to -13 nats, while the margin grows and the loss falls on. The
# loss sees only the difference, and a larger difference is easier to get by making both answers
# less likely. What both lose goes to answers that the loss never looks at. Half of the twenty
# answers are such nonsense at the end.
#
# Should the price of distance not prevent this? The pairs say that w always wins. In line 1 this
# takes an infinite difference of rewards, and such a reward is worth any distance: the KL ends at
# 63 nats. Lesson 11 finds out why a push up can bring an answer down, and what $\beta$ does.
#
# ## Change one thing
# `RATE = 1.5e-5`, the rate of lesson 00. Guess: where does log p(chosen) end, and how many pairs
# are won? (Most libraries print the share of pairs won, as "reward accuracy".)
#
# <details><summary>After your run</summary>
#
# It ends at -0.09, all twenty answers are right, and all pairs are won as before. So reward
# accuracy does not tell the two runs apart, and the worse model has the larger margin. Print
# log p(chosen) and log p(rejected), each by itself.
#
# </details>
#
# ## Your own program
# Two parts for `mine.py`. Your later losses, UNA and PoFT, will call the same `log_ratio`.
#
#     def log_ratio(model, reference, rows, side, tok):
#         """(B,) log p of each answer under the model minus that under the reference, and (B,) how
#         many tokens it has. No gradient reaches the reference."""
#
#     def dpo_loss(model, reference, rows, tok, step):
#         """One number, the mean of -log sigmoid(h). `step` is not used. h may be some hundreds."""
#
# ## Two questions
# 1. Why must the two answers of a pair have the same question?
# 2. All pairs are won and the loss still falls. Which two numbers do you look at?
