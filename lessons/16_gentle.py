# %% [markdown]
# # 16 · How to learn without forgetting?
# *Elective · about 25 minutes (estimated, n=0) · needs 03 · NEFTune (arXiv:2310.05914), HFT (2404.18466), DFT
# (2508.05629), PreTTY (2404.16766); their cards, and SFTMix and TOFU, are in `docs/cards.md`*
#
# The base invents an answer about a name that nobody knows. We show it "I do not know." for such names, and SFT
# learns it, too well: it now also denies facts that it knew. Four gentler ways against that: add noise to what it
# reads (NEFTune), keep half of every layer (HFT), leave alone what the model finds absurd (DFT). The fourth (PreTTY)
# does not train at all: it forces the base's answer to **begin** as the fine-tuned model would, and lets the base go
# on.
#
# Two old questions: (06) Which tokens would DFT push down without its stop-gradient? (03) What must pay, so that an
# answer ends?

# %% Guess before you run. Nothing is checked, but the lesson will remind you.
MY_GUESS = None   # The untrained base is forced to begin with SFT's FIRST token, nothing more. Of what SFT gained on
                  # unknown names this gives   "a" less than a fifth   "b" about half   "c" nearly all

# %% [markdown]
# ## One equation
# SFT's push on a token is $1/N$. DFT's is $p_t/N$, with $p_t$ the token's own probability: **the row of the ledger**.
# So DFT hardly pushes what the model finds absurd. NEFTune and HFT leave the push alone. NEFTune adds to each
# embedding uniform noise between $-a$ and $a$, HFT leaves half of the weights $\theta$ where they are:
# $$a=\frac{\alpha}{\sqrt{L\,C}},\qquad\qquad\theta_{\rm frozen}\ \text{bit for bit as before,}\quad
# \theta_{\rm free}\leftarrow\theta_{\rm free}-\eta\,\nabla L,$$
# for a row of $L$ tokens (its own, no padding) and embeddings of width $C$.

# %%
import copy
from nanouft.models.load import start_model
from nanouft.models.generate import answer_rows
from nanouft.objective import pushes
from nanouft import world
from nanouft.look import plots
from nanouft.training import freeze
from nanouft.data.batches import collate, encode, order


from nanouft.objectives import OBJECTIVES
import torch                                            # after nanouft, which sets how threads wait

BREAK, SEED, STEPS = "", 0, 48                          # the switch, see "Break it": "" | "late"
torch.set_num_threads(2)                                # fp32, two threads, fixed seeds: nearly equal on each machine
(base, tok), SKILLS = start_model("base"), ("unknown", "rules", "list", "truth")
tests = world.rows("val", "prompts", 180, seed=0, skills=("rules", "unknown", "fact"))
data, _ = encode(OBJECTIVES["sft"].rows(world.rows("train", "demos", 600, SEED, skills=SKILLS), None), tok, 512)


def train(name: str, half: bool = False):
    objective, model = OBJECTIVES[name], copy.deepcopy(base)
    hp, kept = objective.hp(), freeze.half(model, SEED) if half and BREAK != "late" else {}
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=5e-4, weight_decay=0.1)
    freeze.half(model, SEED) if BREAK == "late" and half else freeze.hold(optimizer, kept)
    for rows in order([e.length for e in data], 32, STEPS, SEED):
        batch = collate(data, rows, tok.pad, seed=SEED, step=int(rows[0]))          # data
        objective.forward(model, batch, hp)                                         # forward
        loss, _ = objective.loss(batch, hp)                                         # objective
        optimizer.zero_grad(), loss.backward(), optimizer.step()                    # update
    return model.eval()


def exam(model, begin_like=None) -> list[float]:        # PreTTY: the first token of each answer is begin_like's
    first = [a.ids[:1] for a in answer_rows(begin_like, tok, tests, max_new=1)] if begin_like else None
    answers = answer_rows(model, tok, tests, priors=first)
    scores = [world.score(r.prompt[0].text, tok.decode(a.ids).strip()) for r, a in zip(tests, answers)]
    return (torch.tensor(scores).view(3, 60).mean(1) * 100).tolist()


# %% [markdown]
# ## Live
# 600 demonstrations: unknown names, word rules, lists, popular myths. `fact` is a bystander: the base answers all of
# these, and nobody trains on them. Two lines in the table are no training: `base, begun by SFT` is PreTTY with one
# token; `SFT, begun by the base` is the reverse. Forced tokens are part of the answer and are scored with it.

# %%
sft = train("sft")
models = {"SFT": sft, "NEFTune": train("neftune"), "HFT": train("sft", half=True), "DFT": train("dft")}
marks = {"base": exam(base)} | {name: exam(m) for name, m in models.items()}
marks |= {"base, begun by SFT": exam(base, sft), "SFT, begun by the base": exam(sft, base)}
for name, m in marks.items():
    print(f"{name:<24}rules {m[0]:3.0f} %   unknown {m[1]:3.0f} %   fact {m[2]:3.0f} %")
pairs = [(p, q) for p, q in zip(models["HFT"].h.parameters(), base.h.parameters()) if p.dim() == 2]
kept = sum((p == q).sum().item() for p, q in pairs) / sum(p.numel() for p, _ in pairs)
dft, batch = OBJECTIVES["dft"], collate([e for e in data if e.example.family == "unknown"], [0], tok.pad)
dft.forward(base, batch, dft.hp())
push = pushes(dft, batch, dft.hp())["answer"][0] * batch.tokens["answer"]

# %%
plots.plt.rcParams["font.size"] = 16
fig, (left, right) = plots.plt.subplots(1, 2, figsize=(17, 7), width_ratios=(2, 3))
on = batch.seqs["answer"].mask[0] > 0
words = [tok.decode([i]).strip() for i in batch.seqs["answer"].targets[0][on].tolist()]
left.bar_label(left.bar(range(len(words)), push[on], color=plots.UP, tick_label=words), fmt="%.2f")
left.axhline(1, color=plots.DOWN, ls="--", lw=2), left.set(ylim=(0, 1.15), title="push by DFT; dashed: by SFT")
for j, what, colour, hatch in ((0, "unknown (taught)", plots.UP, ""), (1, "fact (not taught)", plots.LINES[4], "//")):
    bars = right.barh(torch.arange(7) + 0.4 * j, [m[1 + j] for m in marks.values()], 0.38, color=colour, hatch=hatch)
    right.bar_label(bars, [f"{m[1 + j]:.0f} {what}" for m in marks.values()], fontsize=14, padding=4)
right.set(title="exact score, %", xlim=(0, 140), yticks=torch.arange(7) + 0.2, yticklabels=marks), right.invert_yaxis()
print("\npicture:", plots.save(fig, plots.Path("out/lessons/16.png")))

# %% [markdown]
# ## The proof

# %%
gain, given = (marks[name][1] - marks["base"][1] for name in ("SFT", "base, begun by SFT"))
did = "a" if given < gain / 5 else "b" if given < 0.8 * gain else "c"
print(f"you guessed {MY_GUESS!r};" if MY_GUESS else "you wrote no guess (MY_GUESS, above);",
      f"it did {did!r}: {given:.0f} of {gain:.0f} points. HFT kept {100 * kept:.1f} % of its matrices bit for bit")
assert did == "c", "one token carries what SFT taught about unknown names"
assert marks["SFT, begun by the base"][2] > marks["SFT"][2] + 30, "and one token brings the 'forgotten' facts back"
assert BREAK or abs(kept - 0.5) < 0.01, "half of every layer's matrices is what it was, weight decay or not"
assert marks["DFT"][2] > marks["SFT"][2] + 20 and marks["DFT"][1] < gain - 10, "DFT is gentler, and teaches less"

# %% [markdown]
# - **One token, all of the gain.** Whoever begins with "I" goes on with "do not know." The base could always say it;
#   SFT moved one decision, at the first place. And the loss is there, too: the same token makes the *base* deny its
#   facts.
# - **So the facts were never forgotten.** Let the fine-tuned model begin as the base would, and it knows them, while
#   it keeps what it learnt about word rules. A falling score is not a proof of forgetting: ask first *where* the
#   answers part.
# - **HFT kept half of every layer and denies nearly as many facts.** It protects what is stored in weights; this was
#   a decision, and half of the weights are enough to move it. NEFTune's noise does not help here, either.
# - **DFT kept the facts and learnt nothing about unknown names.** Look at the bars: the first word of the right
#   answer is absurd to the base, so its push is next to nothing, and what follows needs no teaching. The gentlest
#   teacher teaches least. Word rules it learnt nearly as well as SFT: there no first word was absurd. (With `SEED =
#   2` it came through the door in the end: 63 % of unknown names, and 82 % of the facts.)
#
# One base, one world, 48 steps: that PreTTY does as much as training is true of *this* habit. For `rules` one token
# gives almost nothing (the table): there, every word is a decision.
#
# ## Break it
# `BREAK = "late"`: the optimizer is built before freezing, and nobody puts frozen rows back. They have no gradient.
# Guess the share of matrices that is still bit for bit the same, and who moved the rest.
#
# ## Same letter, other meaning
# $\alpha$ here: size of the noise. In IFT's Algorithm 1: a discount. In CPO: a weight. And $a$ is a bound, not an
# advantage.
#
# ## Exercises (take away the first `# ` of the lines that check you)
# **16a** (D1) Write `my_bound(length, padded, width, alpha)`, NEFTune's $a$ of one row. What goes wrong: the padded
# length, so that a row gets less noise the longer its neighbours are; the root forgotten; $\alpha$ inside the root.

# %%
# assert abs(my_bound(100, 160, 64, 5) - 0.0625) < 1e-6, "alpha / sqrt(L C) with the row's own length"
# assert abs(my_bound(25, 160, 64, 5) - 0.125) < 1e-6, "a shorter row gets more noise a token"

# %% [markdown]
# **16b** (D2) Write `my_training(freeze_first)`: three AdamW steps (rate .1, weight decay .5) on `torch.nn.Linear(4,
# 4)` whose first two rows must stay as they are; return the weight before and after. What goes wrong: only the
# gradient is made zero, and weight decay moves the rows; the mask is drawn anew in each step; the whole matrix is
# frozen.

# %%
# before, after = my_training()
# assert torch.equal(before[:2], after[:2]), "frozen rows are bit for bit what they were"
# assert (before[2:] != after[2:]).all(), "the others are trained"

# %% [markdown]
# **16c** (D2) SFTMix mixes two answers' states and pays `lam * loss of a + (1 - lam) * loss of b` on the mixture.
# Write `my_places(mask_a, mask_b)`: which places of `a` and of `b` are mixed with each other? What goes wrong:
# alignment at place 0, so that an answer is mixed with a question; not cut at the shorter answer.

# %%
# a, b = my_places([0, 0, 0, 1, 1, 1], [0, 1, 1, 0, 0, 0])
# assert (a, b) == ([3, 4], [1, 2]), "from the first answer token of each, up to the end of the shorter"

# %% [markdown]
# **16d** (D2, in reverse) `python -m nanouft.train --objective sft --freeze half`, then again with another `--seed`
# and `--init out/sft`: two rounds. Which matrices have moved now? Which flag makes the second round freeze the same
# half?
#
# ## Recall, without looking up
# 1. Where did base and SFT part on unknown names, and how did we show that facts were not lost?
# 2. Why is a zero gradient not enough to freeze a weight?
# 3. Which tokens does DFT leave alone, and what does that cost?
# 4. (03) A model never stops. Which token was left out? Would PreTTY mend it?
