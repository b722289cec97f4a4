# %% [markdown]
# # 03 · Which tokens should pay?
# *Core, afternoon path · about 25 minutes (estimated, n=0) · needs 01 · supervised fine-tuning, `nanouft/objectives/sft.py`*
#
# The base has read a lot and answers as it pleases: it repeats your words, or answers and then asks **itself** the
# next question. We show it right answers and train as in lesson 01. One thing is new: a row now holds somebody's
# question, our answer, and `<|end|>`. Which of these tokens should cost the model something when it did not
# foresee them? That list of zeros and ones is the **mask**. You will change it by one token per answer.
#
# Two old questions: (01) Why can a row of 64 tokens be 64 questions? (01) What does a model do to say 20 tokens?

# %% Guess before you run. Nothing is checked, but the lesson will remind you.
MY_GUESS = None   # if <|end|> costs nothing, the trained model ... "a" answers worse   "b" answers as well and stops
                  # as often as the base did   "c" answers as well and stops LESS often than the base did

# %%
import torch
from nanouft import plots, runs, world
from nanouft.batches import collate, encode, order, show_mask
from nanouft.evaluate import answer_rows
from nanouft.ledger import weights_of
from nanouft.objectives import OBJECTIVES, Batch

BREAK = "end"                                           # the switch, see "Break it": "end" | "prompt"
SKILLS = ("sum", "reverse")                             # running sums, and words said backwards
torch.set_num_threads(2)                                # fp32, two threads, fixed seeds: nearly equal on each machine
sft = OBJECTIVES["sft"]
hp = sft.hp()
base, tok = runs.start_model("base")
demos, tests = world.rows("train", "demos", 400, seed=0, skills=SKILLS), world.rows("val", "prompts", 80, 0, skills=SKILLS)
data, _ = encode(sft.rows(demos, hp), tok, base.cfg.n_ctx)
example = min(range(len(data)), key=lambda i: data[i].length)
print("what pays stands in [[ ]]:\n" + show_mask(data[example], tok, colour=False))

# %% [markdown]
# ## One equation
# With $m_t=1$ where token $t$ pays, else 0, and $N=\sum_t m_t$ (over all answers of a step):
# $$L=-\frac1N\sum_t m_t\,\log\pi(y_t\mid y_{<t}),\qquad\text{so}\qquad -\frac{\partial L}{\partial\log\pi(y_t)}=\frac{m_t}{N}.$$
# The right half is the first row of this course's **weight ledger**: how hard does a method push each token of an
# answer? Every lesson adds a row. SFT's is the plainest: the same push for each token that pays, none for the others.
# The question pays nothing: learning it would teach the model to ask like the user, not to answer.

# %%
def who_pays(batch: Batch, broken: str) -> Batch:
    s = batch.seqs["answer"]
    if broken == "end":
        s.mask[s.targets == tok.end] = 0
    if broken == "prompt":
        s.mask = s.attend.clone()                       # every real token pays
    batch.tokens["answer"] = int(s.mask.sum())          # N: the loss divides by it
    return batch


def train(broken: str) -> runs.GPT:
    model, _ = runs.start_model("base")
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-4, betas=(0.9, 0.95), weight_decay=0.0)
    for rows in order([e.length for e in data], 32, steps=40, seed=0):
        batch = who_pays(collate(data, rows, tok.pad), broken)                  # data
        sft.forward(model, batch, hp)                                           # forward: writes the log-probs
        loss, _ = sft.loss(batch, hp)                                           # objective
        optimizer.zero_grad(), loss.backward(), optimizer.step()                # update
    return model


def exam(model: runs.GPT) -> list[list[float]]:
    marks = {family: [] for family in SKILLS}
    for row, a in zip(tests, answer_rows(model, tok, tests)):
        prompt, said = row.prompt[0].text, tok.decode(a.ids)
        words, right = said.split("<|")[0].split(), world.reference(prompt).split()
        content = world.score(prompt, " ".join(words[:len(right)]))             # exact score, what comes after cut off
        marks[row.family].append((content, a.ended and "<|" not in said and len(words) == len(right)))
    return [torch.tensor(m).float().mean(0).tolist() for m in marks.values()]


models = {"base": base, "SFT": train("nothing"), f"SFT, break {BREAK}": train(BREAK)}
result = {name: exam(model) for name, model in models.items()}
for i, family in enumerate(SKILLS):
    print(f"\n{family}: {tests[40 * i].prompt[0].text}")
    for name, model in models.items():
        (a,) = answer_rows(model, tok, tests[40 * i:40 * i + 1])
        print(f"{name:>16} | words right {result[name][i][0]:4.0%}, stops there {result[name][i][1]:4.0%} |",
              tok.decode(a.ids) + "<|end|>" * a.ended)
