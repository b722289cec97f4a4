# %% [markdown]
# # 04 · The model's own prediction
# IFT lets a model read its own predictions in training. Then you force a wrong first word: which
# model gets back to the right answer? And does such reading tell better how good a policy is?
#
# *About 25 minutes; read 03 first. Intuitive fine-tuning (IFT), arXiv:2405.11870v3, Eq. 17,
# `nanouft/objectives/ift.py`; scheduled sampling, arXiv:1506.03099.*
#
#     SFT reads     saw     bee     pig       cow
#     its target    bee     pig     cow       hen
#
#     IFT reads     saw     bee     pig|hen   cow       after "saw bee" it predicted "hen"
#     its target    bee     pig     cow       hen
#
# `python -m frozen_lake` shows the same on ice, where you can switch the prediction off.
#
# SFT reads only the expert's tokens (teacher forcing), never the model's mistakes; lesson 03 called
# what follows exposure bias. **Scheduled sampling** replaces some of these tokens by the model's
# own predictions. IFT softens that: wherever the model reads a token of the answer, a share
# $\lambda$ of its embedding is that of the token that the model itself would have put there,
# $$s_i=(1-\lambda)\,E(x_i)+\lambda\,E(\hat x_i),$$
# and the target is still the expert's *next* token. $E(x)$ is the embedding of a token, $x_i$ the
# expert's and $\hat x_i$ the **prediction**, the likeliest token; it is **wrong** if it is another
# one. The paper calls this a **temporal residual**: as a residual connection adds what a layer
# read to what it computed, so here what the previous *step* computed is added to what the next one
# reads. With $\lambda=0$ this is SFT; the paper takes 0.2.
#
# ## Guess
# Models learn to reverse a list. Say that the answer is "saw bee pig cow hen" and we force "cow" as
# its first word. The answer recovers if it goes on with "bee pig cow hen". After SFT 37 % do. What
# percentage recovers with lam 1, when every token of the answer in the input is the model's own
# prediction? Enter a number from 0 to 100.

# %%
from course import Lesson, train

CHANGE = ""                     # change one thing: "" | "another", see below
lesson = Lesson("04", CHANGE)
CHANGE = lesson.change

# %% [markdown]
# ## What the model reads
# **Write it first.** The prediction *for* a position is made one position earlier, so the row of
# predictions has to be shifted before it lies beside the answer; nothing is predicted for the
# prompt. `own_guess` of `lessons/exercises/ex04.py` (04a) does this.

# %%
import draw
import torch

from nanouft import world
from nanouft.generate import generate
from nanouft.gpt import shipped_base
from nanouft.models.tokenizer import nano
from nanouft.simple import token_logp, tokens

STEPS, ROWS, SETS = 56, 32, (3, 4, 5)
LAMS = (0.0, 1.0) if CHANGE else (0.0, 0.2, 0.5, 1.0)
base, tok, chance = shipped_base(), nano(), torch.Generator()
own_guess = lesson.yours("04a")


@torch.no_grad()
def predictions(model, inputs, mask):
    """(B,T) ids: what is read, with lam 1, instead of each token of the answer."""
    predicted = own_guess(inputs, mask, model(inputs).argmax(-1))
    if CHANGE == "another":                     # a wrong prediction becomes any word of the answer
        word = torch.zeros_like(mask)
        word[:, 1:] = mask[:, :-1] * (inputs[:, 1:] != tok.end)
        drawn = torch.multinomial(word, word.shape[1], True, generator=chance)
        predicted = torch.where(predicted != inputs, inputs.gather(1, drawn), inputs)
    return predicted


def loss_of(lam: float):
    def loss(model, some):
        """No gradient flows into what is read, as in the released code (src/trainers.py:264)."""
        inputs, targets, mask = tokens(some, "answer", tok)
        with torch.no_grad():
            read = model(inputs, want="embeds")
            if lam:
                own = model(predictions(model, inputs, mask), want="embeds")
                read = (1 - lam) * read + lam * own
        nll = -token_logp(model(embeds=read), targets) * mask
        return (nll.sum(-1) / mask.sum(-1)).mean()
    return loss

# %% [markdown]
# ## A mistake that cannot be taken back
# Each model answers 80 new prompts alone, and again after a wrong first word, a later word of the
# right answer. **Recovered** means that all the rest is the expert's. Everything is done with three
# data sets, for training and for the prompts.

# %%
def tried(model, tests) -> dict[str, float]:
    """% of the answers, alone and after the mistake."""
    prompts = [tok.prompt_ids(row.prompt) for row in tests]
    right = [tok.chat(row.prompt, row.answer)[0][len(ids):-1] for row, ids in zip(tests, prompts)]
    wrong = [answer[2 + k % (len(answer) - 3)] for k, answer in enumerate(right)]   # 3rd, 4th ...
    alone, after = ([answer.ids for answer in generate(model, begun, stop=tok.stops, pad=tok.pad)]
                    for begun in (prompts, [p + [word] for p, word in zip(prompts, wrong)]))
    hits = {"right alone": [a == b for a, b in zip(alone, right)],
            "recovers": [a == b[1:] for a, b in zip(after, right)],
            "inserts the skipped word": [a[:1] == b[:1] for a, b in zip(after, right)]}
    return {what: 100 * sum(x) / len(x) for what, x in hits.items()}


found: dict = {lam: [] for lam in LAMS}         # lam -> what was found with each data set
for rows in SETS:
    demos = [row for step in range(STEPS) for row in world.rows(
        "train", "demos", ROWS, 1000 * rows + step + 1, skills=("reverse",))]
    tests = world.rows("val", "demos", 80, rows, skills=("reverse",))
    for lam in LAMS:
        chance.manual_seed(rows)
        model = train(base, loss_of(lam), demos, STEPS, 3e-4, f"lam {lam}", falls=True)
        found[lam].append(tried(model, tests))
mean = {lam: {what: sum(x[what] for x in sets) / len(sets) for what in sets[0]}
        for lam, sets in found.items()}
for lam in LAMS:
    print(f"lam {lam}:", "; ".join(f"{what} {x:.0f} %" for what, x in mean[lam].items())
          + "; recovers, by data set:", *(f"{x['recovers']:.0f}" for x in found[lam]))

# %% [markdown]
# ## A better estimate?
# The paper promises something else: SFT overestimates its model, and the mixture estimates better.
# On lakes both can be compared with the true value. A **policy** is a table of four logits for each
# cell. It has imitated walks along another way to the goal, its *habit*, and then takes two updates
# of SFT on the shortest path. An **estimate** is its mean probability of a best move at the steps
# of this path: in the expert's cells (SFT), or where their logits are mixed with those of the cell
# to which the policy's likeliest move would have led (IFT). The **true value** is the same
# probability in the cells that its own walks reach, while they last.
#
# **Write it first.** `best_moves_alone` of `lessons/exercises/ex04.py` (04b) computes this value.
#
# Where SFT is too high, whatever lowers it is closer. So each IFT stands beside a **placebo**: a
# random cell instead of the predicted one, at the share that moves as much probability.

# %%
from frozen_lake.estimate import best_moves, placebo, residual
from frozen_lake.learn import METHODS, learn, task_of
from frozen_lake.planning import optimal_actions, success
from frozen_lake.policies import Table, start_policy
from frozen_lake.record import random_lake
from nanouft.objectives.ift import IFT

N, EARLY, UPDATES, RATE = 20, 2, 10, 0.05       # policies on each lake, updates, learning rate
best_moves_alone = lesson.yours("04b")
METHODS |= {f"lam {lam}": IFT(lam=lam, gamma=0) for lam in (0.2, 1)}        # gamma 0: equal weights


def on_lake(lake) -> tuple[dict, dict]:
    """In points, how far each estimate lies above the true value; and in %, how often policies
    that have learned by each method reach the goal."""
    task, habit = task_of(lake), start_policy("table", "habit", lake, N)
    trained = {name: learn(task, habit, name, UPDATES, RATE)                # (...,N,S,4)
               for name in ("sft", "lam 0.2", "lam 1")}
    early, path = trained["sft"][EARLY], task.best                          # early: (N,S,4)
    policy = Table(lake, N)
    policy.table.data = early.log()
    read = {"SFT": residual(policy, path, 0)}
    for lam in (0.2, 1.0):
        read[f"IFT, lam {lam:g}"] = residual(policy, path, lam)
        read[f"its placebo, lam {lam:g}"] = placebo(policy, path, lam, "random cell")
    true = sum(best_moves_alone(probs, lake.step, optimal_actions(lake), (~lake.terminal).long(),
                                lake.start, len(path)) for probs in early) / N
    return ({name: 100 * (best_moves(lake, moves, path).mean() - true).item()
             for name, moves in read.items()},
            {name: 100 * success(lake, probs[-1])[:, lake.start].mean().item()
             for name, probs in trained.items()})


if not CHANGE:
    off, goal = zip(*(on_lake(random_lake(seed)) for seed in range(1000, 1010)))
    print("\nestimates are off by, in points, in the mean of ten lakes:", "; ".join(
        f"{name} {sum(abs(x[name]) for x in off) / 10:.1f}" for name in off[0]))
    print("% that reach the goal after learning by:", "; ".join(
        f"{name} {sum(x[name] for x in goal) / 10:.1f}" for name in goal[0]))
    high = sum(x["SFT"] > 0 for x in off)
    worse = sum(x["lam 1"] < x["sft"] for x in goal)
    print(f"SFT overestimates on {high} of 10; lam 1 reaches the goal less often on {worse} of 10")
    assert high >= 9 and worse >= 7, "SFT overestimates; what lowers the estimate trains no better"

# %%
fig, ax = draw.panels()
WHAT = "right alone", "recovers"
draw.lines(ax, LAMS, {what: [mean[lam][what] for lam in LAMS] for what in WHAT},
           "Which model recovers from a wrong first word?",
           "lam: share of " + ("another's mistakes" if CHANGE else "its own predictions")
           + " that it read in training", "% of 80 answers", ylim=(0, 103))
for lam in LAMS:
    for what, ink, mark in zip(WHAT, draw.INKS, "os"):                  # each data set
        ax.plot([lam] * len(SETS), [x[what] for x in found[lam]], mark, color=ink, alpha=0.6)
lesson.picture(fig)
for sft, most in zip(found[0.0], found[1.0]):
    assert most["recovers"] > sft["recovers"] + 15, "who reads mistakes recovers more often"
assert CHANGE or mean[0.2]["recovers"] < mean[0.0]["recovers"] + 15, "a fifth buys little of that"
lesson.compare(mean[1.0]["recovers"], "%")

# %% [markdown]
# ## What happened
# **Reading wrong tokens teaches a model to recover:** 76 % do so with $\lambda=1$, and 37 % after
# SFT. SFT's typical error: in 50 % of the answers it inserts the skipped word, so everything after
# it is shifted by one. With $\lambda=1$ it is 6 %. The cost: without a mistake SFT has 98 % right,
# $\lambda=1$ has 88. **The paper's 0.2 buys nothing here:** 38 % recover, and 48 % with 0.5. Four
# fifths of the truth are still the truth, so such a model may go on trusting what it reads.
#
# The settings were chosen on other rows. On ten of ten data sets, these three and seven more,
# $\lambda=1$ leads SFT by 31 to 51 points. It is one task and one base, trained until most answers
# are right: in all tasks at once no such gain was seen (R12 in `docs/results/ift.md`).
#
# **SFT does overestimate,** by 5.3 points, on ten of ten lakes. The paper is right about that.
# **The residual is no better than its placebo.** With $\lambda=0.2$ both are off by 5.0 points.
# With 1 they are off by 3.3 and 3.0. On five sets of ten lakes IFT leads its placebo by 0.0 to 0.1
# points at 0.2, and is 0.1 to 0.5 behind at 1. `docs/results/lake.md` and the page have each
# update, for tables and networks, with a habit and from scratch.
#
# **And the lower estimate makes no better policy.** After ten updates with $\lambda=1$ policies
# reach the goal in 84.0 % of their walks, after SFT in 87.5: less often on 8 of 10 lakes, and on 42
# of 50. With 0.2 it is 87.1 %, and less often on 26 of 50. Off the path IFT teaches the expert's
# next move, and near a hole that is often wrong; and updates spent off the path are missing on it.
#
# ## Change one thing
# Do the model's *own* mistakes teach to recover? With `CHANGE = "another"` each wrong prediction is
# replaced by any word of the right answer, now and then by the right one: somewhat fewer mistakes
# in the same places, but not the model's. What percentage recovers now with lam 1? Write down a
# number from 0 to 100.
#
# <details><summary>After your run</summary>
#
# 68 %, which is nearer to the 76 % of its own predictions than to the 37 % of SFT. It costs less,
# too: alone 92 % are right, and 88 % with its own. On the seven other sets 71 % recover, beside 75
# and 33, and 94 % are right alone, beside 85 and 97. So it is wrong tokens that teach to recover;
# that they are one's own adds little. They also become rare by themselves as the model learns.
#
# </details>
#
# ## Exercise
# **On paper.** The answer x y z follows a prompt, and the predictions for it are x w z. For which
# of its losses does $\lambda$ matter: those of x, y, z and `<|end|>`?
#
# <details><summary>Answer</summary>
#
# Those of z and `<|end|>`: the first wrong prediction, w, is read after y has been predicted. That
# z is predicted right changes nothing any more, because the mixture of y and w is still in view.
#
# </details>
#
# **In your own program.** This lesson unlocks the part `mix_in_own_guess`. Equal values cannot
# show whether gradient flows through your mixture, so `python -m lessons check mine` compares
# gradients too.
#
# ## Two questions
# 1. Each prediction follows the expert's tokens. What has the model still never read?
# 2. SFT's estimate is too high. Why is it no merit of an estimate that it is lower?
#
# <details><summary>Answers</summary>
#
# 1. A prediction that was made after another wrong one. Left alone, it reads those.
# 2. Whatever lowers it is closer, a random cell as well. It has to beat a placebo of its size.
#
# </details>
