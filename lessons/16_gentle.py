# %% [markdown]
# # 16 · How to learn without forgetting?
# *Elective · about 25 minutes (our estimate) · needs 03 · NEFTune (arXiv:2310.05914), HFT
# (2404.18466), DFT (2508.05629), PreTTY (2404.16766); `nanouft/objectives/`*
#
# After this lesson you can
# - compare four gentle methods by what they push and what they leave alone;
# - find the first token where two models differ, and only then ask what was forgotten;
# - freeze weights so that they really do not move.
#
# Asked about a name that nobody knows, the base invents an answer. We show it "I do not know." for
# such names. SFT learns this too well: now it also denies facts that it knew. There are four
# gentler methods.
# - **NEFTune** adds noise to what the model reads.
# - **HFT** keeps half of every layer as it is.
# - **DFT** leaves alone what the model finds absurd.
# - **PreTTY** does not train at all. It forces the base to **begin** its answer as the fine-tuned
#   model would, and lets the base go on.
#
# Two old questions: (06) The weights of a loss are made of losses and not detached. What can this
# loss do? (03) What must be trained so that an answer ends?

# %% [markdown]
# ## Guess before you run
# The untrained base is forced to begin with SFT's FIRST token, nothing more. Of what SFT gained on
# unknown names this gives ...
# - **a** less than a fifth;
# - **b** about half;
# - **c** nearly all.

# %%
from course import Lesson, progress

lesson = Lesson("16", "abc")

# %% [markdown]
# ## One equation
# SFT's push on a token is $1/N$. DFT's is $p_t/N$, where $p_t$ is the token's own probability:
# **the row of the ledger**. So DFT hardly pushes what the model finds absurd. NEFTune and HFT do
# not change the push. NEFTune adds to each embedding uniform noise between $-a$ and $a$. HFT
# leaves half of the weights $\theta$ where they are:
# $$a=\frac{\alpha}{\sqrt{L\,C}},\qquad\qquad\theta_{\rm frozen}\ \text{bit for bit as before,}\quad
# \theta_{\rm free}\leftarrow\theta_{\rm free}-\eta\,\nabla L,$$
# for a row of $L$ tokens (its own length, without padding) and embeddings of width $C$.

# %%
from nanouft import world
from nanouft.batches import collate, encode, order
from nanouft.models.load import start_model
from nanouft.objective import pushes
from nanouft.objectives import OBJECTIVES
from nanouft.run import freeze
from nanouft.sampling import answer_rows
from dataclasses import replace
import copy
import draw
import torch

BREAK = ""                              # the switch, see "Break it": "" | "late"
SEED = 0
STEPS = 48
base, tok = start_model("base")
tests = world.rows("val", "prompts", 180, seed=0, skills=("rules", "unknown", "fact"))
demos = world.rows("train", "demos", 600, SEED, skills=("unknown", "rules", "list", "truth"))
data, _ = encode(OBJECTIVES["sft"].rows(demos, None), tok, 512)


def optimizer_of(model):
    """AdamW over all that is not frozen."""
    free = [p for p in model.parameters() if p.requires_grad]
    return torch.optim.AdamW(free, lr=5e-4, weight_decay=0.1)


def train(name: str, half: bool = False):
    """A copy of the base, trained with this objective; with `half`, half of every layer frozen."""
    objective = OBJECTIVES[name]
    hp = objective.hp()
    model = copy.deepcopy(base)
    if half and BREAK == "late":
        optimizer = optimizer_of(model)
        freeze.half(model, SEED)                        # too late, and nobody puts rows back
    elif half:
        frozen = freeze.half(model, SEED)
        optimizer = optimizer_of(model)
        freeze.hold(optimizer, frozen)                  # puts frozen rows back after each step
    else:
        optimizer = optimizer_of(model)
    for numbers in progress(order([e.length for e in data], 32, STEPS, SEED), name):
        batch = collate(data, numbers, tok.pad)                             # data
        batch = replace(batch, seed=SEED * 1_000_003 + int(numbers[0]))     # draws NEFTune's noise
        objective.forward(model, batch, hp)                                 # forward
        loss, _ = objective.loss(batch, hp)                                 # objective
        optimizer.zero_grad()                                               # update
        loss.backward()
        optimizer.step()
    return model.eval()


def first_tokens(model) -> list[list[int]]:
    """The first token of each of the model's answers."""
    return [a.ids[:1] for a in answer_rows(model, tok, tests, max_new=1)]


def exam(model, forced=None) -> list[float]:
    """Exact scores in percent: [rules, unknown, fact]. `forced`: how each answer must begin."""
    answers = answer_rows(model, tok, tests, priors=forced)
    scores = []
    for row, answer in zip(tests, answers):
        scores.append(world.score(row.prompt[0].text, tok.decode(answer.ids).strip()))
    return (torch.tensor(scores).view(3, 60).mean(1) * 100).tolist()


# %% [markdown]
# ## Live
# We train on 600 demonstrations: unknown names, word rules, lists, popular myths. `fact` is a
# bystander: the base answers all of these questions, and no model trains on them. Two lines of the
# table need no training. `base, begun by SFT` is PreTTY with one token. `SFT, begun by the base` is
# the reverse. Forced tokens are part of the answer and count in its score.

# %%
sft = train("sft")
hft = train("sft", half=True)
models = {"base": base, "SFT": sft, "NEFTune": train("neftune"), "HFT": hft, "DFT": train("dft")}
marks = {name: exam(model) for name, model in models.items()}
marks["base, begun by SFT"] = exam(base, first_tokens(sft))
marks["SFT, begun by the base"] = exam(sft, first_tokens(base))
for name, (rules, unknown, fact) in marks.items():
    print(f"{name:<24}rules {rules:3.0f} %   unknown {unknown:3.0f} %   fact {fact:3.0f} %")

# %%
same = 0                                                # matrix entries that HFT left as they were
total = 0                                               # all of them
for now, before in zip(hft.h.parameters(), base.h.parameters()):
    if now.dim() == 2:
        same += (now == before).sum().item()
        total += now.numel()
kept = same / total

dft = OBJECTIVES["dft"]
unknown_names = [e for e in data if e.row.family == "unknown"]
batch = collate(unknown_names, [0], tok.pad)
dft.forward(base, batch, dft.hp())
s = batch.seqs["answer"]
on = s.mask[0] > 0
push = pushes(dft, batch, dft.hp())["answer"][0][on] * batch.tokens["answer"]      # SFT: 1
words = [tok.decode([i]).strip() for i in s.targets[0][on].tolist()]

# %%
# Seen: The push of DFT on each token of one answer; what each model learnt and kept, as bars.
fig, (left, right) = draw.panels(1, 2, width_ratios=(3, 5))
draw.strip(left, words, push, "push by DFT (SFT: 1)", number="%.2f", ylim=(0, 1.15))
unknown = {"unknown (taught)": [scores[1] for scores in marks.values()],
           "fact (not taught)": [scores[2] for scores in marks.values()]}
names = [name.replace(", ", ",\n").replace(" by ", "\nby ") for name in marks]
draw.bars(right, unknown, names, "exact score, %", size=16)
right.tick_params(axis="x", labelsize=14)
lesson.picture(fig, BREAK=(BREAK, ""), SEED=(SEED, 0))

# %% [markdown]
# ## The proof

# %%
gain = marks["SFT"][1] - marks["base"][1]               # on unknown names
given = marks["base, begun by SFT"][1] - marks["base"][1]
if given < gain / 5:
    did = "a"
elif given < 0.8 * gain:
    did = "b"
else:
    did = "c"
lesson.compare(did)
print(f"{given:.0f} of {gain:.0f} points. HFT kept {100 * kept:.1f} % of its matrices bit for bit")
assert did == "c", "one token carries what SFT taught about unknown names"
brought_back = marks["SFT, begun by the base"][2] - marks["SFT"][2]
assert brought_back > 30, "and one token brings the 'forgotten' facts back"
if BREAK != "late":
    half_kept = abs(kept - 0.5) < 0.01
    assert half_kept, "half of every layer's matrices is what it was, weight decay or not"
assert marks["DFT"][2] > marks["SFT"][2] + 20, "DFT is gentler: it keeps more facts"
assert marks["DFT"][1] < gain - 10, "and teaches less"

# %% [markdown]
# - **One token, all of the gain.** An answer that begins with "I" goes on with "do not know." The
#   base could always say it. SFT changed one decision, at the first place. The lost facts have the
#   same cause: the same token makes the *base* deny its facts.
# - **So the facts were never forgotten.** Let the fine-tuned model begin as the base would. Then
#   it knows the facts, and it keeps what it learnt about word rules. A falling score is not a
#   proof of forgetting. First ask *where* the answers of the two models differ.
# - **HFT kept half of every layer and denies about as many facts.** HFT protects what is stored
#   in weights. But this was a decision, and half of the weights are enough to move it. NEFTune's
#   noise does not help here, either.
# - **DFT kept the facts and learnt nothing about unknown names.** Look at the bars. The first
#   word of the right answer is absurd to the base, so its push is nearly zero. The words after it
#   need no teaching. The gentlest method teaches least. It learnt the word rules nearly as well as
#   SFT: there no first word was absurd. (With `SEED = 2` DFT did learn the first word
#   in the end: 63 % of unknown names, and 82 % of the facts.)
#
# This is one base, one world, 48 steps. PreTTY does as much as training for *this* habit. For
# `rules` one token gives almost nothing (see the table), because there every word is a decision.
#
# ## Break it
# With `BREAK = "late"` the optimizer is built before freezing, and no code restores the frozen
# rows. These rows have no gradient. Guess what share of the matrices is still bit for bit the same.
# What moved the rest?
#
# *Read on after your run.* 37.5 %, not 50 %. Weight decay moved the rest: it acts on a weight even
# where the gradient is zero.
#
# ## Same letter, other meaning
# $\alpha$ here is the size of the noise. In IFT's Algorithm 1 it is a discount, in CPO a weight.
# And $a$ is a bound, not an advantage.
#
# ## Exercises
# `python -m lessons.grade 16a` judges them (`lessons/exercises/README.md` says how).
#
# - **16a** (D1) `noise_bound(length, padded, width, alpha)`: NEFTune's $a$ of one row.
# - **16b** (D2) `dft_loss(logp, mask)`: DFT's loss, with its stop-gradient.
# - **16c** (D2, debug) `train(seed, steps)`: half of a matrix is frozen; the program has one bug.
#
# Without the grader: run `python -m nanouft.train --objective sft --freeze half`, then again with
# another `--seed` and `--init out/sft`. Which matrices have moved after both rounds? Which flag
# makes the second round freeze the same half?
#
# ## Recall, without looking up
# 1. Where did the answers of base and SFT differ first on unknown names, and how did we show that
#    facts were not lost?
# 2. Why is a zero gradient not enough to freeze a weight?
# 3. Which tokens does DFT leave alone, and what does that cost?
# 4. (03) A model never stops. Which token was left out of the loss? Would PreTTY repair it?
#
# <details><summary>Answers</summary>
#
# 1. At the first token. The fine-tuned model, forced to begin as the base would, knew the facts
#    again.
# 2. Weight decay and momentum of earlier steps move it all the same.
# 3. Those that it finds absurd. So it does not learn an answer whose first word is absurd to the
#    model.
# 4. `<|end|>`. No: PreTTY changes the beginning of an answer, and this fault is at its end.
#
# The two old questions: (06) It can push tokens down, because that changes the weights. (Without
# its stop-gradient, DFT would push down each token with p below 1/e.) (03) `<|end|>`.
#
# </details>
#
# **Runs that failed:** stories 6 and 7 of `docs/gallery.md`. What went wrong?
#
# **Next:** `lessons/17_evidence.py`.
