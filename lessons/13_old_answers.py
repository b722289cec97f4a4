# %% [markdown]
# # 13 · Old answers
# Lesson 07 forgot its answers after one step. Sampling is the expensive part of such a step. May we
# take many steps on the same answers?
#
# *25 minutes; needs 07. PPO: arXiv:1707.06347; GRPO: arXiv:2402.03300. You write `clipped_loss`.*
#
# The base answers 16 questions four times each, once. Then we take 24 steps with the loss of lesson
# 07 on these answers. On 100 new questions the base has a mean score of 0.42. After eight steps
# it has 0.52.

# %%
import torch
from course import ask, curves, show, tell
from mine import sample_answers, token_logp

from nanouft import world
from nanouft.gpt import shipped_base
from nanouft.models.tokenizer import nano

STEPS, RATE, EPS, FRESH = 24, 1e-4, 0.2, False
tok, base = nano(), shipped_base()
rows = world.rows("train", "prompts", 400, seed=0, skills=("fact", "truth", "sort"))
rows = [rows[i % 3 * 133 + i // 3] for i in range(399)]                 # the three tasks in turn
test, batches = rows[:100], [rows[100 + 16 * b:116 + 16 * b] for b in range(3)]
guess = ask("What is the mean score after 24 steps on the same answers?", "0 to 1")

# %% [markdown]
# ## A ratio in place of a sample
# Lesson 07 needs the mean of A over answers of the present model $\pi$. But these answers come from
# an older model $\pi_0$: they are **off-policy**. So weigh each of them by how much likelier it has
# become:
# $$\sum_y\pi_0(y)\,\frac{\pi(y)}{\pi_0(y)}\,A(y)=\sum_y\pi(y)\,A(y).$$
# The weight $\rho=\pi/\pi_0$ is the **importance ratio**. PPO and GRPO take one for each token, and
# raise $\rho A$ in place of $A\log\pi$. The gradient of $\rho$ is $\rho\,\nabla\log\pi$. So the
# push on a token is $\rho A$. In lesson 07 it is A, however likely the token has become.
#
# The **clip** ends a push once $\rho$ has moved by $\varepsilon=0.2$ in the direction of this push.
# Of two terms the smaller one counts. One is $\rho A$. In the other, $\rho$ is held between 0.8
# and 1.2, and a held $\rho$ has no gradient.

# %%
objectives = {                          # what is raised: the mean of this over an answer's tokens
    "lesson 07":   lambda logp, rho, A: A * logp,
    "ratio":       lambda logp, rho, A: A * rho,
    "ratio, clip": lambda logp, rho, A: torch.min(A * rho, A * rho.clamp(1 - EPS, 1 + EPS)),
}


def sampled(model, asked, step):
    """Inputs, targets, mask (N,T); A (N,1); log p now (N,T). Answers with A = 0 are left out."""
    inputs, targets, mask, R = sample_answers(model, asked, tok, step)
    A = ((R - R.mean(1, keepdim=True)) / (R.std(1, keepdim=True) + 1e-4)).flatten()
    inputs, targets, mask, A = (x[A != 0] for x in (inputs, targets, mask, A))
    logp = token_logp(model.head(model(inputs)), targets).detach()
    return inputs, targets, mask, A[:, None], logp


def exam(model):
    """The mean score of four answers to each test question, and two of the answers as words."""
    _, targets, mask, R = sample_answers(model, test, tok, step=1000)
    return R.mean().item(), [tok.decode(targets[k][mask[k] == 1].tolist()) for k in (0, 8)]


start, words = exam(base)
print(f"the base: {start:.2f}   " + "  |  ".join(f"{test[k].prompt[0].text} {x}"
                                                for k, x in zip((0, 2), words)))
ends, after_8, kept = {}, {}, {}
for b, asked in enumerate(batches):
    first = sampled(base, asked, 0)
    worse = first[3][:, 0] < 0
    print(f"batch {b}: of 64 answers {int((~worse).sum())} have A > 0, {int(worse.sum())} A < 0")
    for name, objective in objectives.items():
        model = shipped_base()
        optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.95))
        for step in range(STEPS):
            inputs, targets, mask, A, old = sampled(model, asked, step + 1) if FRESH else first
            logp = token_logp(model.head(model(inputs)), targets)       # 1. log p now (N,T)
            rho = (logp - old).exp()                                    # 2. the ratio
            each = objective(logp, rho, A)                              # 3. what is raised
            loss = -((each * mask).sum(1) / mask.sum(1)).mean()
            optimizer.zero_grad()
            loss.backward()                                             # 4. its gradient
            optimizer.step()                                            # 5. a step, same answers
            if b == 0 and step == 7:
                after_8[name] = exam(model)[0]
        ends[name, b], words = exam(model)
        with torch.no_grad():                           # what has become of the first answers
            nats = (token_logp(model.head(model(first[0])), first[1]) - first[4]) * first[2]
        kept[name, b] = (*first[:4], nats.exp())
        print(f"   {name:<12}{ends[name, b]:.2f}   worse answers {nats[worse].sum(1).mean():+.0f} "
              "nats   " + "  |  ".join(words))
curves("13", (0, 8, STEPS), {name: [start, after_8[name], ends[name, 0]] for name in objectives},
       "mean score of 100 new questions, batch 0")
tell(guess, ends["lesson 07", 0])

# %% [markdown]
# ## One worse answer, token by token
# Here is an answer of batch 0 with A < 0, after the 24 steps with the ratio. The push is rho A.

# %%
_, targets, mask, A, rho = kept["ratio", 0]
on, worse = mask == 1, A[:, 0] < 0
k = int(torch.where(worse & (on.sum(1) > 2), rho.amin(1), 9.0).argmin())
show(tok, targets[k][on[k]], A=A[k].expand(on[k].sum()), rho=rho[k][on[k]],
     push=A[k] * rho[k][on[k]])
print(f"all worse answers: the median token has rho {rho[worse][on[worse]].median():.2f}; the "
      f"smallest rho of an answer is {rho[worse].amin(1).median():.4f} (median)")

# %% [markdown]
# ## What happened
# The mean score after 24 steps (the base has 0.42), and in brackets how many nats the worse answers
# lost. The three batches are three sets of 16 questions:
#
# | | batch 0 | batch 1 | batch 2 |
# |---|---|---|---|
# | lesson 07 | 0.35 (19) | 0.36 (35) | 0.44 (41) |
# | ratio | 0.64 (11) | 0.39 (19) | 0.50 (12) |
# | ratio, clip | 0.55 (5) | 0.47 (12) | 0.52 (8) |
#
# **Without the ratio** old answers teach at first and then do harm. This loss ends lowest on all
# three batches, and on two of them below the base. It pushes a worse answer down as hard in the
# last step as in the first, however rare the answer has become. Other answers share tokens and
# weights with it, and go down too. On batch 0 the three words to sort have become *grey saw*.
#
# **With the ratio** the push ends by itself, but only on the token that became rare. Above this is
# *spade*: its rho is 0.00002. The tokens behind it keep a rho near 1 and their whole push, though
# fresh samples would hardly ever get there. To be exact, each token needs the ratios of all tokens
# before it as well. PPO and GRPO leave them out, because their product is very noisy. This is a
# good approximation only near $\pi_0$.
#
# **The clip** stays near. It is the only one of the three losses that ends above the base on all
# three batches. On batch 0 it has stopped pushes that still helped.
#
# ## Change one thing
# Guess first, each time.
# 1. `FRESH = True`: new answers to the same questions in each step. Which lines become equal?
# 2. Replace `rho = (logp - old).exp()` in the loop by
#    `rho = ((logp - old) * mask).cumsum(1).exp()`: now all tokens before count, too.
#
# <details><summary>After your runs</summary>
#
# 1. All three: the answers come from the present model, so rho = 1 in each step, and the gradients
#    are equal. They reach 0.68, 0.69 and 0.67 on the three batches. So it was the old answers that
#    did the harm, and not the loss. The price is 1,536 answers for each run instead of 64.
# 2. The ratio ends at 0.62, 0.46 and 0.60: above the base on each batch, where the ratio of one
#    token was above it on two. With longer answers the product would be noisier.
#
# </details>
#
# ## To hand in
# Run `EPS = 0.05`, `0.2` and `0.8`. Make one table of the scores on the three batches, and of the
# nats that the worse answers lose. In two sentences: which EPS would you take, and do three batches
# suffice to say so?
#
# ## Your own program
# The page has the objective of one token. You write the whole loss, from log p to one number:
#
#     def clipped_loss(logp, old, A, mask, eps):
#         """One number to minimise: minus the mean over the answers of the mean over their tokens
#         of the clipped objective. logp and old (N,T): log p of each token, now and when it was
#         sampled; old is a constant. A (N,1), mask (N,T); where the mask is 0, nothing counts."""
#
# ## Two questions
# 1. Why does the push on a worse answer's rare token vanish with the ratio, and not without it?
# 2. A worse answer's token has rho = 1.5. Does the clip let its push through? Why is that right?
#
# <details><summary>Answers</summary>
#
# 1. The gradient of rho A is rho A times that of log pi, and rho vanishes with pi. The gradient of
#    A log pi has the factor A, however small pi becomes.
# 2. Yes. The smaller term counts. A is negative, so 1.5 A is below 1.2 A, and it has a gradient.
#    The token became more likely although its answer was bad. The push brings it back.
#
# </details>
