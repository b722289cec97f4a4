# %% [markdown]
# # 18 · Examples and rewards
# SFT imitates demonstrations, GRPO explores by its own answers, and CHORD does both in each step.
# Can demonstrations that are all right stop the exploration?
#
# *25 minutes; needs 13. CHORD: arXiv:2508.11408. You write `chord_loss`.*
#
# The base learns three tasks at once: to sort, to tell facts about creatures that it has read of,
# and to **refuse** about creatures that nobody knows. There only "I do not know." scores 1, and all
# else is a **hallucination**. At first the base samples this refusal in 10 % of its answers. After
# 24 steps of GRPO it refuses on nearly all unknown creatures. CHORD takes the same steps, and reads
# 16 right demonstrations in each. They sort or tell facts. None is about an unknown creature.

# %%
import math

import torch
from course import ask, curves, tell
from mine import answers_of, sample_answers, token_logp, tokens

from nanouft import world
from nanouft.gpt import shipped_base
from nanouft.models.tokenizer import nano

STEPS, K, RATE, SEED = 24, 4, 2.5e-4, 0
REFUSALS_SHOWN = 0              # demonstrations of each 16 that are about an unknown creature
tok, base, tasks = nano(), shipped_base(), ("sort", "truth", "unknown")   # facts: "truth"
others = tokens(world.rows("test", "demos", 40, seed=9, skills=("unknown",)), "answer", tok)
guess = ask("On what percentage of unknown creatures does CHORD refuse?", "0 to 100")

# %% [markdown]
# ## Two halves
# GRPO pushes the tokens of a sampled answer by its advantage. SFT pushes those of a demonstration
# up, whatever it is compared with. CHORD's loss is
# $$L=(1-w)\,L_{\rm explore}+w\,L_{\rm imitate}.$$
# Its weight $w$ falls from 0.9 to 0.05: the model is shown something, then corrects itself.

# %%
def logp_of(model, inputs, targets, mask):
    """(N,) log p of each answer, and (N,) how many tokens it has."""
    return (token_logp(model.head(model(inputs)), targets) * mask).sum(1), mask.sum(1)


def explore(model, answers, R):
    """GRPO's loss on sampled answers; R (P,K)."""
    A = (R - R.mean(1, keepdim=True)) / (R.std(1, keepdim=True) + 1e-4)
    logp, n = logp_of(model, *answers)
    return -(A.flatten() * logp / n).mean()


def imitate(model, rows):
    """SFT's loss: the mean over all tokens of the demonstrations."""
    logp, n = logp_of(model, *tokens(rows, "answer", tok))
    return -logp.sum() / n.sum()


def data(seed):
    """The prompts of each step, and 16 right demonstrations."""
    prompts = world.rows("train", "demos", 16 * STEPS, seed, skills=tasks)
    rows = world.rows("train", "demos", 32 * STEPS, seed, skills=tasks)
    shown = 3 * [row for row in rows if row.task != "unknown"]              # enough for all steps
    unknown = [row for row in rows if row.task == "unknown"]
    n, steps = REFUSALS_SHOWN, []
    for k in range(0, 16 * STEPS, 16):
        refusals = unknown[n * k // 16:n * k // 16 + n]                     # the next n
        steps.append((prompts[k:k + 16], refusals + shown[k + n:k + 16]))
    return steps


def refusal(model):
    """Mean probability of "I do not know." for 40 unknown creatures of the test, in %."""
    return 100 * logp_of(model, *others)[0].exp().mean().item()


# %% [markdown]
# ## One step, four answers
# The first step, three times, by plain gradient descent: with only the scores, with only the
# examples, and with both. Here is what it does to four answers about one unknown creature.

# %%
asked, shown = data(5)[0]
*answers, R = sample_answers(base, asked, tok, 0)
models = {"before": base}
for name, w in (("scores", 0), ("examples", 1), ("both", 0.9)):
    models[name] = shipped_base()
    ((1 - w) * explore(models[name], answers, R) + w * imitate(models[name], shown)).backward()
    with torch.no_grad():
        for weights in models[name].parameters():
            weights -= 0.05 * weights.grad
one = max(k for k in range(16) if asked[k].task == "unknown" and R[k].max() > R[k].min())
p = {name: 100 * logp_of(model, *answers)[0].exp()[K * one:K * one + K]
     for name, model in models.items()}
print(asked[one].prompt[0].text, "\nscore", *(f"{name:>10}" for name in models))
for j in range(K):
    text = tok.decode(answers[1][K * one + j][answers[2][K * one + j] == 1].tolist())
    print(f"{R[one, j]:5.2f}", *(f"{x[j]:8.2f} %" for x in p.values()), text)
mean = {name: refusal(model) for name, model in models.items()}
print(f"{'mean':5}", *(f"{x:8.2f} %" for x in mean.values()), "I do not know. (40 others)")

# %% [markdown]
# ## Twenty-four steps
# The whole run, with $w=0$ (GRPO), $w=1$ (SFT) and the falling $w$ (CHORD).

# %%
weights = {"GRPO": [0.0] * STEPS, "SFT": [1.0] * STEPS, "CHORD": [
    0.05 + 0.85 * (1 + math.cos(math.pi * min(1, 2 * step / STEPS))) / 2 for step in range(STEPS)]}
steps, test = data(SEED), world.rows("test", "prompts", 120, seed=9, skills=tasks)   # 40 of each
paths, scores = {}, {}
print("score of 100    sort   truth unknown   refuses on known creatures")
for name in weights:
    model, paths[name] = shipped_base(), []
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.95), weight_decay=0.0)
    for step in range(STEPS):
        paths[name].append(refusal(model))
        (asked, shown), w, loss = steps[step], weights[name][step], 0.0
        if w > 0:
            loss = w * imitate(model, shown)                            # 1. imitate
        if w < 1:
            *answers, R = sample_answers(model, asked, tok, 1000 * SEED + step)
            loss = loss + (1 - w) * explore(model, answers, R)          # 2. explore
        optimizer.zero_grad()
        loss.backward()
        optimizer.param_groups[0]["lr"] = RATE * (1 - step / STEPS)
        optimizer.step()                                                # 3. step
    paths[name].append(refusal(model))
    said = [tok.decode(x.ids).strip() for x in answers_of(model, test, tok)]
    scores[name] = [*(100 * world.exact_scores(test, said).reshape(3, 40).mean(1)),
                    100 * sum(text.startswith("I do not know") for text in said[40:80]) / 40]
    print(f"{name:<12}" + "".join(f"{x:8.0f}" for x in scores[name]) + " %")
    print(*(f"   {test[k].prompt[0].text} {said[k]}" for k in (40, 80)), sep="\n")
    print("   p(I do not know.), %:", " -> ".join(f"{x:.1f}" for x in paths[name][::4]))
curves("18", range(STEPS + 1), paths, "probability of \"I do not know.\", %")
tell(guess, float(scores["CHORD"][2]), "%")

# %% [markdown]
# ## What happened
# **Right examples stop exploration.** GRPO refuses on all unknown creatures and CHORD on none. One
# step shows why. Facts begin with *The*, as hallucinations do, and what raises this token
# lowers *I*. One step of examples takes "I do not know." from 10.0 to 7.9 %, for creatures that
# no example mentions. One step of scores takes it to 16.7 %, and both to 8.6 %. After four steps
# of CHORD it is at 1.5 %: hardly a group of four has a right answer, and equal scores teach
# nothing (lesson 07). When $w$ is small at last, it is at 0.4 %.
#
# **Scores have a cost, too.** GRPO refuses on 98 % of the known creatures, where this scores 0: the
# questions are alike. With `SEED` 1 and 2 CHORD refuses on none, and GRPO on 100 and 72 % of these.
#
# ## Change one thing
# Guess first: on how many unknown creatures does CHORD refuse then?
# 1. `REFUSALS_SHOWN = 1`: 24 times "I do not know." among 384 demonstrations. (SFT: on 5 %.)
# 2. Replace `row.task != "unknown"` by `row.task == "sort"`: no facts are shown.
#
# <details><summary>After your runs</summary>
#
# 1. On 70 %, and on 22 % of the known ones. All examples together now raise "I do not know." from
# 10.0 to 12.2 %, so it is still sampled, and the scores do the rest. (GRPO alone
# refuses on more of both.)
# 2. On all, so it was the facts that stopped exploration. The price is GRPO's: 90 % of the known.
#
# </details>
#
# ## To hand in
# At which weight does exploration survive? Give CHORD `[W] * STEPS`, with five W from 0 to 0.9, and
# draw the scores of `unknown` and `truth` against W. Does one W have both? Two sentences.
#
# ## Your own program
#     def chord_loss(model, reference, rows, tok, step):
#         """One number, (1 - w) explore + w imitate. explore: GRPO's loss (lesson 13). imitate:
#         minus the mean of p (1 - p) log p over all tokens of the rows' answers, where p (1 - p) is
#         a constant, small for tokens that are nearly certain or impossible. w falls from MU at
#         step 0 to MU_END at step FALL as half a cosine, and stays. `reference` is not used."""
#
# ## Two questions
# 1. No demonstration mentions an unknown creature. Why do they get fewer refusals?
# 2. When can a reward teach what no demonstration shows, and when not?
#
# <details><summary>Answers</summary>
#
# 1. All answers share weights, and their first tokens one softmax. What raises *The* lowers *I*.
# 2. It can if the model samples it sometimes. It cannot once imitation has made it too rare.
#
# </details>
