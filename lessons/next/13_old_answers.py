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
    """Answers with A != 0: inputs, targets, mask (N,T); A (N,1); log p of their tokens (N,T)."""
    inputs, targets, mask, R = sample_answers(model, asked, tok, step)
    A = ((R - R.mean(1, keepdim=True)) / (R.std(1, keepdim=True) + 1e-4)).flatten()
    inputs, targets, mask, A = (x[A != 0] for x in (inputs, targets, mask, A))
    return inputs, targets, mask, A[:, None], token_logp(model(inputs), targets).detach()


def exam(model):
    """The mean score of four answers to each test question, and two of the answers as words."""
    _, targets, mask, R = sample_answers(model, test, tok, step=1000)
    return R.mean().item(), [tok.decode(targets[k][mask[k] == 1].tolist()) for k in (0, 8)]


start, words = exam(base)
print(f"the base: {start:.2f}   " + "  |  ".join(f"{test[k].prompt[0].text} {x}"
                                                for k, x in zip((0, 2), words)))
ends, path, kept = {}, {name: [start] for name in objectives}, {}
for b, asked in enumerate(batches):
    first = sampled(base, asked, 0)
    worse = first[3][:, 0] < 0
    print(f"batch {b}: of 64 answers {int((~worse).sum())} have A > 0, {int(worse.sum())} A < 0")
    for name, objective in objectives.items():
        model = shipped_base()
        optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.95))
        for step in range(STEPS):
            inputs, targets, mask, A, old = sampled(model, asked, step + 1) if FRESH else first
            logp = token_logp(model(inputs), targets)                   # (N,T)
            rho = (logp - old).exp()
            each = objective(logp, rho, A)
            loss = -((each * mask).sum(1) / mask.sum(1)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if b == 0 and step in (7, STEPS - 1):
                path[name].append(exam(model)[0])
        ends[name, b], words = exam(model)
        with torch.no_grad():                           # what has become of the first answers
            nats = (token_logp(model(first[0]), first[1]) - first[4]) * first[2]
        kept[name, b] = (*first[:4], nats.exp())
        print(f"   {name:<12}{ends[name, b]:.2f}   worse answers {nats[worse].sum(1).mean():+.0f} "
              "nats   " + "  |  ".join(words))
curves("13", (0, 8, STEPS), path, "mean score of 100 new questions, batch 0")
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
print(f"all worse answers: the median token has rho {rho[worse][on[worse]].median():.2f}, the "
      f"smallest rho of an answer is {rho[worse].amin(1).median():.4f} (median)")
