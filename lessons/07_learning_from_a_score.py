# %% [markdown]
# # 07 · Learning from a score
# No demonstrations and no pairs: the model samples answers, and a program scores them. What makes a
# wrong answer rarer, the blame for it or the praise for another one?
#
# *30 minutes; needs 00. GRPO: arXiv:2402.03300. You write `sample_answers` and `grpo_loss`.*
#
# This is **reinforcement learning**, and the score is its **reward**. **GRPO** samples several
# answers to each question, a **group**, and compares them with each other. An answer above the mean
# of its group is pushed up (praise), and one below it is pushed down (blame).

# %%
import torch
from course import ask, curves, ours, tell
from mine import answers_of, sample_answers, token_logp

from nanouft import world
from nanouft.gpt import shipped_base
from nanouft.models.tokenizer import nano

K, STEPS = 4, 20                        # K: answers to a question
RATE = 3e-4
tok, base = nano(), shipped_base()
rows = world.rows("train", "prompts", 450, seed=0, skills=("fact", "truth", "sort"))
rows = [rows[i % 3 * 150 + i // 3] for i in range(450)]                 # the three tasks in turn
test, asked = rows[:100], rows[100:]
guess = ask("""The base answers "Sort green hammer brown from a to z." four times:
   brown green hammer                                score 1
   brown hammer green                                score 0.33
   brown green hammer, then a question of its own    score 0.17
   green hammer brown, a mere copy                   score 0
The copy has a probability of 17 %. One step of GRPO praises the first answer and blames the other
three, and then the copy has 2 %. Take the same step with praise only, so that nothing is pushed
down. What is the probability of the copy then, in %?""", "0 to 100")

# %% [markdown]
# ## Sampling
# To sample is to draw the next token by its probability, and to go on until `<|end|>`. Here are two
# answers to one question. `sample_answers` draws K answers to each of many.

# %%
torch.manual_seed(0)
for _ in range(2):
    ids = prompt = tok.prompt_ids(test[48].prompt)
    while ids[-1] != tok.end and len(ids) < len(prompt) + 44:
        p = base.head(base(torch.tensor([ids])))[0, -1].softmax(-1)     # (V,) of the next token
        ids = ids + [torch.multinomial(p, 1).item()]
    print(f"{test[48].prompt[0].text} {tok.decode(ids[len(prompt):])}")

# %% [markdown]
# ## One step through one group
# Let R be the scores of a group. The **advantage** of an answer is its distance from the mean, in
# standard deviations: $A=(R-\mathrm{mean}(R))/\mathrm{std}(R)$. GRPO raises the mean of A log p. So
# the push on an answer is its A, shared equally by its tokens. Here is the group of the guess, and
# one step by hand: each weight moves by 0.006 times its gradient. Praise only makes each A < 0 a 0.

# %%
def advantages(R):                                                      # (P,K) scores
    return (R - R.mean(1, keepdim=True)) / (R.std(1, keepdim=True) + 1e-4)


def logp_of(model, inputs, targets, mask):
    """(N,) mean log p of the tokens of each answer, and (N,) their sum."""
    logp = token_logp(model.head(model(inputs)), targets) * mask
    return logp.sum(1) / mask.sum(1), logp.sum(1)


inputs, targets, mask, R = ours["sample_answers"](base, test, tok, step=1000)   # (400,T); (100,K)
A = advantages(R)


def after_step(k, A):
    """(K,) probability of the answers to test[k], in %, after one plain step of the base."""
    group, model = [x[K * k:K * k + K] for x in (inputs, targets, mask)], shipped_base()
    (A * logp_of(model, *group)[0]).mean().backward()
    with torch.no_grad():
        for weights in model.parameters():
            weights += 0.006 * weights.grad                             # uphill
        return 100 * logp_of(model, *group)[1].exp()


none, both, praise = 0 * A, A, A.clamp(min=0)                           # (100,K) each
p = [after_step(48, none[48]), after_step(48, both[48]), after_step(48, praise[48])]
print(" score       A      base      step   praise only   answer")
for j, at in enumerate(range(K * 48, K * 49)):
    print(f"{R[48, j]:6.2f}{A[48, j]:+8.2f}{p[0][j]:8.1f} %{p[1][j]:8.1f} %{p[2][j]:12.1f} %  "
          f"{tok.decode(targets[at][mask[at] == 1].tolist())[:50]}")
uneven = [k for k in range(100) if R[k].max() == 1 and R[k].min() == 0]
wrong = []                              # the probabilities of the wrong answers in these groups
for pushes in (none, both, praise):
    wrong.append(torch.cat([after_step(k, pushes[k])[R[k] == 0] for k in uneven]))
wrong = torch.stack(wrong)                                              # (3,N)
print(f"{len(uneven)} groups have a right and a wrong answer. Wrong ones above 5 %, on average:",
      " %, ".join(f"{x:.1f}" for x in wrong[:, wrong[0] > 5].mean(1)), "%")
print(f"{(R.amax(1) == R.amin(1)).sum()} of 100 groups have four equal scores")
tell(guess, p[2][3].item(), "%")

# %% [markdown]
# **Only praise** takes the copy from 17.2 to 4.6 %, without a push on it. The first tokens of all
# four answers share one softmax: what raises *brown* lowers *green*. In 41 groups praise does two
# thirds of the work: 42.7 to 30.5 %, where both reach 24.9. **A blamed answer can rise.** A push a
# on log p of a token moves its own logit by a(1 - p), and each other logit by -a times its p. So
# blame (a < 0) lifts all others. The second answer has little of its own, A = -0.10. Praise of
# the first takes it from 8.6 to 7.1 %; with the blame of the other two it has 9.2 %. **Equal
# scores** teach nothing: in 45 of 100 groups each A is 0.
#
# ## Why this is right
# We want a high mean score $J=\sum_y\pi(y)R(y)$. Here $\pi(y)$ is the probability of an answer y,
# and $\nabla$ is the gradient by the weights. By the chain rule $\nabla\log\pi=\nabla\pi/\pi$, so
# $$\nabla J=\sum_yR(y)\,\nabla\pi(y)=\sum_y\pi(y)\,R(y)\,\nabla\log\pi(y).$$
# The last sum is a mean over sampled answers, so push each by its R. A **baseline** b that does not
# depend on y may be subtracted: it adds $b\sum_y\pi\,\nabla\log\pi=b\,\nabla\sum_y\pi=0$, for all
# $\pi(y)$ together are always 1. GRPO takes the mean of the group. Its
# division by std(R) gives more weight to close groups.
#
# ## Twenty steps

# %%
scores = {name: [R.mean().item()] for name in ("praise and blame", "praise only")}
for name in scores:
    model = shipped_base()
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.95), weight_decay=0.0)
    for step in range(STEPS):
        prompts = asked[16 * step:16 * step + 16]
        inputs, targets, mask, R = sample_answers(model, prompts, tok, step)    # 1. sample, score
        A = advantages(R)                                               # 2. compare within groups
        if name == "praise only":
            A = A.clamp(min=0)                                          # change one thing here
        logp, _ = logp_of(model, inputs, targets, mask)
        loss = -(A.flatten() * logp).mean()                             # 3. praise and blame
        optimizer.zero_grad()
        loss.backward()
        optimizer.param_groups[0]["lr"] = RATE * (1 - step / STEPS)
        optimizer.step()                                                # 4. step, and forget them
        if step % 4 == 3:
            scores[name].append(sample_answers(model, test, tok, step=1000)[3].mean().item())
    print(f"{name}: mean score", " -> ".join(f"{x:.2f}" for x in scores[name]))
    for row in test[:4]:
        said = [tok.decode(answers_of(x, [row], tok)[0].ids).strip() for x in (base, model)]
        print(f"   {row.prompt[0].text}   {said[0]} -> {said[1]}")
curves("07", range(0, STEPS + 1, 4), scores, "mean score of 100 other questions")

# %% [markdown]
# ## What happened
# In twenty steps, without one demonstration, the mean score rises from 0.42 to 0.72, with praise
# only to 0.70. One seed does not rank the two. The words show what both have learned: to stop.
#
# ## Change one thing
# Replace `A.clamp(min=0)` in the loop by `A.clamp(max=0)`: blame only. Guess the last score first.
#
# <details><summary>After your runs</summary>
#
# 0.57. What a wrong answer loses goes to all others, the right one too. But both sorted lists still
# go on with another question. No answer that stops was ever praised.
#
# </details>
#
# ## To hand in
# Leave out the division, `A = R - R.mean(1, keepdim=True)`. (RLOO does so, times K / (K - 1).) Draw
# both curves at `RATE` 1e-4, 3e-4 and 1e-3. In two sentences: when does the division matter?
#
# ## Your own program
# The first part needs no gradient. `tok.prompt_ids(row.prompt)` are the ids of a prompt.
#
#     def sample_answers(model, rows, tok, step):
#         """SAMPLES answers to each of the B prompts, drawn at temperature 1, of 44 tokens at most:
#         inputs, targets and mask (B*SAMPLES,T) as `padded` gives them, and the scores (B,SAMPLES)
#         by score_of(row, answer, tok). Answers to one prompt are neighbours. The mask is 1 on the
#         tokens of an answer and on its <|end|>. `step` is the seed."""
#
#     def grpo_loss(model, reference, rows, tok, step):
#         """One number: the mean over the answers of the mean over their tokens of -A log p, with A
#         from the scores of sample_answers. Only its gradient has a meaning. No reference."""
#
# ## Two questions
# 1. Why may the baseline not depend on the answer that it is compared with?
# 2. Why are the answers forgotten after one step? (Lesson 13 keeps them.)
#
# <details><summary>Answers</summary>
#
# 1. Only then can b be taken out of the sum over y, and what is left is the gradient of 1.
# 2. The formula is a mean over answers of the present model, and a step makes another model of it.
#
# </details>
