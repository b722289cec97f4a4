# %% [markdown]
# # 05 · Pairs in place of a reward
# DPO learns from pairs, a better and a worse answer. Its loss falls as the better answer gains on
# the worse one, and it falls and falls. What happens to the better answer itself?
#
# *25 minutes; needs 00. Direct preference optimization: arXiv:2305.18290. You write `log_ratio` and
# `dpo_loss`.*
#
# Often nobody can write the right answer, but anybody can say which of two answers is better. Our
# pairs ask about creatures that do not exist. The **chosen** answer w is always "I do not know.",
# and the **rejected** answer l is made up. People run SFT before DPO, and so do we: 40 steps of
# SFT on other tasks.

# %%
import copy

import torch
from course import ask, curves, tell
from mine import answers_of, dpo_loss, log_ratio, sft_loss, token_logp, tokens

from nanouft import world
from nanouft.gpt import shipped_base
from nanouft.models.tokenizer import nano

RATE = 1e-4                                             # of DPO; beta is 0.1 in dpo_loss
STEPS = 40
SFT_STEPS = 40
tok, reference = nano(), shipped_base()
demos = world.rows("train", "demos", 640, 0, skills=[x for x in world.TASKS if x != "unknown"])
pairs = world.rows("train", "pairs", 300, seed=0, skills=("unknown",))
unseen = world.rows("val", "pairs", 40, seed=0, skills=("unknown",))
optimizer = torch.optim.AdamW(reference.parameters(), 1.25e-4, betas=(0.9, 0.95), weight_decay=0.0)
for step in range(SFT_STEPS):                           # lesson 00's SFT
    optimizer.zero_grad()
    sft_loss(reference, None, demos[16 * step:16 * step + 16], tok, step).backward()
    optimizer.step()


def says(model, rows) -> list[str]:
    return [tok.decode(x.ids).strip()[:48] for x in answers_of(model, rows, tok)]


for row, answer in zip(unseen[:3], says(reference, unseen[:3])):
    print(row.prompt[0].text, "  after SFT:", answer)
guess = ask("The chosen answers start at log p = -5.7 nats on average (0 is certainty). After two "
            "steps of DPO every pair is won, the unseen ones too: w has gained more than l. "
            "Where is log p of the chosen answers after step 40?", "-60 to 0")

# %% [markdown]
# ## From pairs to a loss
# Let y be an answer to a question. Its probability is $\pi(y)$ under the model that we train, the
# **policy**. It is $\pi_0(y)$ under the model from which training started, the **reference**.
#
# **1. A judge.** Each answer has a hidden reward r(y). A judge prefers w to l with the probability
# $\sigma(r(w)-r(l))$. If both rewards are equal, the judge tosses a coin (Bradley and Terry).
#
# **2. What we want** is a high reward, but near the reference. With a price beta for distance,
# maximise the mean over answers of the policy
# $$J(\pi)=\sum_y\pi(y)\Big(r(y)-\beta\log\frac{\pi(y)}{\pi_0(y)}\Big).$$
# The mean of the logarithm is the distance, **KL**$(\pi\,\|\,\pi_0)$. It is 0 if both models are
# equal, and positive otherwise: because $\log x\le x-1$, and both sums of probabilities are 1,
# $$-\mathrm{KL}=\sum_y\pi(y)\log\frac{\pi_0(y)}{\pi(y)}\le
# \sum_y\pi(y)\Big(\frac{\pi_0(y)}{\pi(y)}-1\Big)=1-1=0.$$
#
# **3. The best policy** raises the reference where the reward is high, and Z makes the sum 1:
# $$\pi^*(y)=\pi_0(y)\,e^{r(y)/\beta}/Z,\qquad\text{so}\qquad
# r(y)=\beta\log\frac{\pi^*(y)}{\pi_0(y)}+\beta\log Z.$$
# Why is it the best? Put this r into the bracket of J, and $\log\pi_0(y)$ cancels:
# $$\beta\log\frac{\pi^*(y)}{\pi_0(y)}+\beta\log Z-\beta\log\frac{\pi(y)}{\pi_0(y)}
# =\beta\log Z-\beta\log\frac{\pi(y)}{\pi^*(y)}.$$
# Its mean is $\beta\log Z-\beta\,\mathrm{KL}(\pi\,\|\,\pi^*)$, the largest where the KL is 0.
#
# **4. Read it backwards.** Every policy is the best one for some reward: that of line 3. Nobody can
# compute Z, a sum over all answers. But both answers of a pair share it, so it cancels:
# $$r(w)-r(l)=\beta\Big(\log\frac{\pi(w)}{\pi_0(w)}-\log\frac{\pi(l)}{\pi_0(l)}\Big)=h.$$
# This is the **margin** h. A pair with h > 0 is **won**.
#
# **5. The loss** is the judge's surprise, $L=-\log\sigma(h)$. The reward is gone. The derivative of
# $\log\sigma(h)$ is $\sigma(-h)$. So each token of w is pushed up by $\beta\,\sigma(-h)$, and each
# token of l down by as much: by 0.05 at first, where h = 0, and less and less as the lead grows.
#
# ## Forty steps
# Before every second step the loop measures 40 unseen pairs. `log_ratio` gives log p of each answer
# minus its log p under the reference.

# %%
@torch.no_grad()
def log_p(rows, side):
    """The mean log p of these answers: the sum over the tokens of each."""
    inputs, targets, mask = tokens(rows, side, tok)
    return (token_logp(policy.head(policy(inputs)), targets) * mask).sum(1).mean().item()


@torch.no_grad()
def look(step):
    gain_w, _ = log_ratio(policy, reference, unseen, "chosen", tok)         # (40,)
    gain_l, _ = log_ratio(policy, reference, unseen, "rejected", tok)
    won = (gain_w > gain_l).float().mean().item()
    w, l = log_p(unseen, "chosen"), log_p(unseen, "rejected")
    seen["won"].append(won)
    seen["chosen"].append(w)
    seen["rejected"].append(l)
    if step in (0, 2, 6, 10, 20, 40):
        loss = dpo_loss(policy, reference, unseen, tok, step)
        print(f"{step:4}{loss:9.4f}{won:7.0%}{w:10.2f}{l:10.2f}   {says(policy, unseen[:1])[0]}")


seen = {"won": [], "chosen": [], "rejected": []}
print("step     loss    won  log p(w)  log p(l)  ", unseen[0].prompt[0].text)
policy = copy.deepcopy(reference)
optimizer = torch.optim.AdamW(policy.parameters(), lr=RATE, betas=(0.9, 0.95), weight_decay=0.0)
for step in range(STEPS):
    if step % 2 == 0:
        look(step)
    batch = [pairs[i % 300] for i in range(32 * step, 32 * step + 32)]      # 1. pairs
    loss = dpo_loss(policy, reference, batch, tok, step)                    # 2. the loss of line 5
    optimizer.zero_grad()
    loss.backward()                                                         # 3. its gradient
    optimizer.step()                                                        # 4. the weights move
look(STEPS)
answers = says(policy, unseen[:20])
print(answers.count("I do not know."), "of 20 new answers are \"I do not know.\"")
curves("05", range(0, STEPS + 1, 2), {x: seen[x] for x in ("chosen", "rejected")}, "log p, nats")
tell(guess, seen["chosen"][-1], "nats")

# %% [markdown]
# ## What happened
# After two steps every pair is won. For six steps the chosen answer becomes more likely, until the
# model says "I do not know.". Then it falls, to -39 nats, far below where it began. Meanwhile
# the loss falls on. It sees only the difference of the two answers, and a larger difference is
# easier to get by making both less likely. What both lose goes to answers that the loss never looks
# at: the model ends with noise.
#
# Should the price of distance not prevent this? The pairs say that w always wins: a probability of
# 1. In line 1 $\sigma$ reaches 1 only for an infinite difference of rewards. In J such a difference
# outweighs the price of any distance. Lesson 11 finds
# out why a push up can bring an answer down, and what beta does. All this is one run on one set
# of pairs. Two other things could be at fault, and the edits try them.
#
# ## Change one thing
# Guess first: where does log p(chosen) end, and how many of the 20 answers are right?
# 1. `RATE = 1.5e-5`: the small learning rate of DPO in lesson 00.
# 2. `SFT_STEPS = 0`: DPO from the base. Is it SFT that makes the answer fall?
#
# <details><summary>After your runs</summary>
#
# 1. It ends at -0.36, all 20 are right, and all pairs are won as before. So the learning rate
# decides. The share of pairs won, which most libraries print as "reward accuracy", does not tell
# the two runs apart. 2. It starts at -2.51 and ends at -13.3, and 10 are right. So it falls
# without SFT, too.
#
# </details>
#
# ## To hand in
# Take a `RATE` of 3e-5 and 160 `STEPS`. Hand in the curve of log p(chosen), and two sentences: does
# a small rate prevent the fall or only delay it?
#
# ## Your own program
# Your later losses, UNA and PoFT, will call the same `log_ratio`.
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
#
# <details><summary>Answers</summary>
#
# 1. The reward that a policy stands for has a term in Z, a sum over all answers to this question.
#    It cancels only if both answers have the same question.
# 2. log p(chosen) and log p(rejected), each by itself.
#
# </details>
