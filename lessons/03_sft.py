# %% [markdown]
# # 03 · Which tokens should pay?
# *Core, afternoon path · about 25 minutes (our estimate) · needs 00 (01 helps, but you can do
# without it) · supervised fine-tuning (SFT), `nanouft/objectives/sft.py`*
#
# After this lesson you can
# - write the mask and the loss of SFT, with both kinds of mean;
# - say what a model learns about a token that it reads but that does not pay;
# - cut a batch into pieces without changing its loss.
#
# Ask the base of lesson 00 for a sum. It repeats your words. Then it does not stop: it asks
# **itself** the next question. So we show it right answers and train it.
#
# A row of training data holds somebody's question, our answer, and `<|end|>`. The model reads all
# of it. For each token it has a probability that this token comes next. A token **pays** if it adds
# to the loss when the model did not expect it. Which tokens should pay? A list of zeros and ones
# says so: the **mask**. In this lesson you change it by one token in each answer.
#
# Two old questions, both from lesson 00: In each pair both answers had `<|end|>`. What did that do
# to DPO? And which push does SFT give to each token of an answer?

# %% [markdown]
# ## Guess before you run
# If `<|end|>` costs nothing, the trained model's sums will be ...
# - **a** worse;
# - **b** as right, and most of them stop;
# - **c** as right, and few of them stop.

# %%
from course import Lesson, progress

lesson = Lesson("03", "abc")

# %%
from nanouft import world
from nanouft.batches import collate, encode, order
from nanouft.eval.show import show_mask
from nanouft.gpt import GPT
from nanouft.models.load import start_model
from nanouft.objective import Batch, pushes
from nanouft.objectives import OBJECTIVES
from nanouft.sampling import answer_rows
import draw
import torch

BREAK = "end"                   # the switch, see "Break it": "end" | "prompt"
SEED = 0                        # the order of the demonstrations
STEPS = 40
SKILLS = ("sum", "sort")
base, tok = start_model("base")
sft = OBJECTIVES["sft"]
hp = sft.hp()                   # its settings
tests = world.rows("val", "prompts", 80, seed=0, skills=SKILLS)     # 40 sums, then 40 to sort
demos = world.rows("train", "demos", 400, seed=0, skills=SKILLS)
data, _ = encode(sft.rows(demos, hp), tok, base.cfg.n_ctx)
short = min(data, key=lambda row: row.length)
print("what pays stands in [[ ]]:")
print(show_mask(short, tok, colour=False))

# %% [markdown]
# ## One equation
# Let $m_t=1$ where token $t$ pays, else 0. $N=\sum_t m_t$ counts the paying tokens of all answers
# of a step. Then SFT's loss is
# $$L=-\frac1N\sum_t m_t\,\log\pi(y_t\mid y_{<t}),\qquad\text{so}\qquad
# -\frac{\partial L}{\partial\log\pi(y_t)}=\frac{m_t}{N}.$$
# The second half is SFT's row in the **weight ledger** of lesson 00, now as a law. (There the push
# is shown times $N$: +1 each.) It is the simplest row of all. Every token that pays gets the same
# push. The other tokens get none. The question does not pay here, because the user writes it.

# %%
def who_pays(batch: Batch, rule: str) -> Batch:
    """The batch with another mask: "sft" changes nothing, see "Break it" for the other rules."""
    s = batch.seqs["answer"]
    if rule == "end":
        s.mask = s.mask * (s.targets != tok.end)
    if rule == "prompt":
        s.mask = s.real                       # 1 on each real token, the question included
    batch.tokens["answer"] = int(s.mask.sum())  # N
    return batch


def train(rule: str) -> GPT:
    """The base after STEPS steps of SFT; `rule` says which tokens pay."""
    model, _ = start_model("base")
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4, betas=(0.9, 0.95), weight_decay=0.0)
    slower = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, total_iters=STEPS)
    lengths = [row.length for row in data]
    for rows in progress(order(lengths, 32, STEPS, SEED), "training"):
        batch = who_pays(collate(data, rows, tok.pad), rule)    # data
        sft.forward(model, batch, hp)                           # forward: writes the log-probs
        loss, _ = sft.loss(batch, hp)                           # objective
        optimizer.zero_grad()                                   # update
        loss.backward()
        optimizer.step()
        slower.step()                                           # a smaller learning rate
    return model


models = {"base": base, "SFT": train("sft"), f'SFT, BREAK = "{BREAK}"': train(BREAK)}

# %% [markdown]
# Now an exam with new questions. It gives two marks for each skill, in per cent:
# - *Right words*: the exact score of the words before the next control token, such as `<|user|>`.
#   If there are more words than in the right answer, the exam ignores the rest.
# - *Stops there*: `<|end|>` comes after exactly as many words as the right answer has.

# %%
def percent(values: list) -> float:
    return 100 * sum(values) / len(values)


def exam(name: str, model: GPT) -> list[float]:
    """Right words and stops of the sums, then of the sorting."""
    right, stops = [], []
    answers = answer_rows(model, tok, tests)
    for row, answer in zip(tests, answers):
        text = tok.decode(answer.ids)
        n = len(row.answer[0].text.split())             # words of the right answer
        words = text.split("<|")[0].split()[:n]
        right.append(world.score(row.prompt[0].text, " ".join(words)))
        stops.append(answer.ended and len(text.split()) == n)
    marks = [percent(x) for x in (right[:40], stops[:40], right[40:], stops[40:])]
    end = "<|end|>" if answers[0].ended else ""
    print(f"\n{name}: {tests[0].prompt[0].text} ->{tok.decode(answers[0].ids)}{end}")
    line = "    sums: {:.0f} % right words, {:.0f} % stop there; sort: {:.0f} %, {:.0f} %"
    print(line.format(*marks))
    return marks


result = {name: exam(name, model) for name, model in models.items()}

# %% [markdown]
# ## The surprise
# The words are as right as SFT's. But SFT stopped its sums in the right place. Now almost no sum
# stops there: the model goes on adding. It read `<|end|>` in every row, but it was **never asked**
# to predict it. Every word that it had to predict taught it that the answer goes on. One token in
# each answer decides whether anybody can use the model.
#
# Sorting is less clear. Many answers still stop, because the base already had this habit. But the
# habit is not trained, so it is not stable. Try `SEED = 1` or `2`: the right words stay near SFT's,
# and the share of answers that stop goes up and down.

# %%
# Seen: Above, the push on each token of one row; below, right words and right ends in two tasks.
fig, (top, bottom) = draw.panels(2, 1)
ledger = {}                     # rule -> push on each token of the row
differences = []                # between each push and the mask
for rule in ("sft", BREAK):
    batch = who_pays(collate([short], [0], tok.pad), rule)
    sft.forward(base, batch, hp)
    push = pushes(sft, batch, hp)["answer"][0] * batch.tokens["answer"]
    differences.append((push - batch.seqs["answer"].mask[0]).abs().max())
    ledger["SFT" if rule == "sft" else f'SFT, BREAK = "{rule}"'] = push
names = [tok.decode([i]).strip("<|> ") for i in short.seqs["answer"].ids[1:]]
draw.bars(top, ledger, names, "the weight ledger: push on each token of one row, times N", top=1.2,
          number="", legend=False)
marks = [f"{skill}:\n{mark}, %" for skill in SKILLS for mark in ("right words", "stops there")]
draw.bars(bottom, result, marks, "")
lesson.picture(fig, BREAK=(BREAK, "end"), SEED=(SEED, 0))

# %% [markdown]
# ## The proof

# %%
_, (right, stops, _, _), (free_right, free_stops, _, _) = result.values()
if BREAK != "end":
    did = "not asked"
elif free_right < right - 15:
    did = "a"
else:
    did = "b" if free_stops > 50 else "c"
lesson.compare(did)
assert max(differences) < 1e-5, "a token is pushed by 1/N if it pays, else not at all"
if BREAK == "end":
    assert abs(right - free_right) < 15, "what pays is learnt in both"
    assert stops - free_stops > 40, "what does not pay is not learnt"

# %% [markdown]
# ## Break it
# With `BREAK = "prompt"` the question pays, too, as in pretraining. Guess first: more right words,
# or fewer? Look at the ledger: what share of the push now goes to the question? Here little is
# lost, because the questions are easy and few are long. With long questions and short answers,
# most of the push would go into imitating users.
#
# *Read on after your run.* Right words fall from 83 to 79 % (sums), and from 84 to 76 % (sort).
#
# ## Exercises
# `python -m lessons.grade 03a` judges them (`lessons/exercises/README.md` says how).
#
# - **03a** (D1) `response_mask(tokens)`: the mask of the *targets* of a row with several turns.
# - **03b** (D2) `sft_loss(logp, mask, reduction)`: the loss of SFT with two kinds of mean: over all
#   tokens, or over answers first.
# - **03c** (D2) `accumulate(pieces)`: the loss of a step that is cut into pieces; it must equal the
#   loss of the whole batch.
#
# ## Recall, without looking up
# 1. Which tokens of a conversation pay in SFT, and why is `<|end|>` one of them?
# 2. N tokens of a step pay. What is the push on one of them? And on the question?
# 3. The model without `<|end|>` in its mask saw `<|end|>` in every row. Why did it not learn to say
#    it?
# 4. (00) DPO and this lesson's second model often do not stop. What is the same in both stories?
#
# Only if you did lesson 01:
#
# 5. (01) Which matrix makes sure that no place copies its answer from the right?
# 6. (01) The training loss was near zero, and the model babbled. What had it learnt?
#
# <details><summary>Answers</summary>
#
# 1. All tokens of the assistant's answers, also `<|end|>`: a model that is never asked when to stop
#    does not learn it.
# 2. 1/N. On the question: 0.
# 3. It read `<|end|>`, but it never had to predict it. All that it had to predict said: go on.
# 4. In both stories `<|end|>` gets no push in the end. Here it is masked out. In DPO two equal
#    pushes nearly cancel.
# 5. The causal mask.
# 6. To copy the next token from the right.
#
# The two old questions: (00) It got a push up and an equal push down, so it was taught least. (00)
# The same to each: +1.
#
# </details>
#
# **Runs that failed:** stories 1 and 3 of `docs/gallery.md`. What went wrong?
#
# **Next:** `lessons/04_mdp.py`. On the afternoon path: `lessons/05_ift_residual.py`.
