# %% [markdown]
# # 03 · Which tokens should pay?
# *Core, afternoon path · about 25 minutes (estimated, n=0) · needs 00, better 01 too · supervised fine-tuning (SFT),
# `nanouft/objectives/sft.py`*
#
# Asked for a sum, the base of lessons 00 and 02 says your words back, and instead of stopping it asks **itself** the
# next question. We show it right answers and train with the loop of lesson 01. One thing is new: a row now holds
# somebody's question, our answer, and `<|end|>`. Which of these tokens should cost the model something when it did
# not foresee them? That list of zeros and ones is the **mask**. You will change it by one token an answer.
#
# Two old questions: (01) Why can a row of 64 tokens be 64 questions? (00) Each pair of answers had `<|end|>` in both:
# what came of that in DPO?

# %% Guess before you run. Nothing is checked, but the lesson will remind you.
MY_GUESS = None   # if <|end|> costs nothing, the trained model's sums will be  "a" worse
                  # "b" as right, and most of them stop   "c" as right, and few of them stop

# %%
from nanouft.models.load import start_model
from nanouft.models.generate import answer_rows
from nanouft.objective import Batch, pushes
from nanouft import world
from nanouft.look import plots
from nanouft.shell import runs
from nanouft.data.batches import collate, encode, order, show_mask


from nanouft.objectives import OBJECTIVES
import torch                                            # after nanouft, which lets idle threads sleep

BREAK = "end"                                           # the switch, see "Break it": "end" | "prompt"
SEED, STEPS, SKILLS = 0, 40, ("sum", "sort")
torch.set_num_threads(2)                                # fp32, two threads, fixed seeds: nearly equal on each machine
sft, hp, (base, tok) = OBJECTIVES["sft"], OBJECTIVES["sft"].hp(), start_model("base")
tests = world.rows("val", "prompts", 80, seed=0, skills=SKILLS)                 # 40 sums, then 40 times words to sort
data, _ = encode(sft.rows(world.rows("train", "demos", 400, seed=0, skills=SKILLS), hp), tok, base.cfg.n_ctx)
print("what pays stands in [[ ]]:\n" + show_mask(short := min(data, key=lambda e: e.length), tok, colour=False))

# %% [markdown]
# ## One equation
# With $m_t=1$ where token $t$ pays, else 0, and $N=\sum_t m_t$ (over all answers of a step):
# $$L=-\frac1N\sum_t m_t\,\log\pi(y_t\mid y_{<t}),\qquad\text{so}\qquad
# -\frac{\partial L}{\partial\log\pi(y_t)}=\frac{m_t}{N}.$$
# The second half is SFT's row of lesson 00's **weight ledger** (there times $N$: +1 each), now as a law. It is the
# plainest of all: one and the same push for each token that pays, and none for the rest. The question pays nothing
# here: it is the user's part.

# %%
def who_pays(batch: Batch, rule: str) -> Batch:
    s = batch.seqs["answer"]                            # s.attend is 1 on each real token, the question included
    s.mask = {"sft": s.mask, "end": s.mask * (s.targets != tok.end), "prompt": s.attend}[rule]
    batch.tokens["answer"] = int(s.mask.sum())          # N
    return batch


def train(rule: str) -> runs.GPT:
    model, _ = start_model("base")
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4, betas=(0.9, 0.95), weight_decay=0.0)
    slower = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, total_iters=STEPS)
    for rows in order([e.length for e in data], 32, STEPS, SEED):
        batch = who_pays(collate(data, rows, tok.pad), rule)                        # data
        sft.forward(model, batch, hp)                                               # forward: writes the log-probs
        loss, _ = sft.loss(batch, hp)                                               # objective
        optimizer.zero_grad(), loss.backward(), optimizer.step(), slower.step()     # update
    return model


# The marks of a model, in per cent: right words in sums, sums that stop there, the same for sorting. Right words: the
# exact score of what stands before the next control token, cut to the length of the right answer. Stops there:
# <|end|> comes after just as many words as the right answer has.
def exam(name: str, model: runs.GPT) -> list[float]:
    marks, answers = [], answer_rows(model, tok, tests)
    for row, a in zip(tests, answers):
        said, right = tok.decode(a.ids), row.answer[0].text.split()
        words = " ".join(said.split("<|")[0].split()[:len(right)])
        marks.append((world.score(row.prompt[0].text, words), a.ended and len(said.split()) == len(right)))
    marks = (torch.tensor(marks).view(2, 40, 2).mean(1) * 100).flatten().tolist()
    print(f"\n{name}: {tests[0].prompt[0].text} ->{tok.decode(answers[0].ids)}{'<|end|>' * answers[0].ended}")
    print("    sums: {:.0f} % right words, {:.0f} % stop there; sort: {:.0f} %, {:.0f} %".format(*marks))
    return marks


models = {"base": base, "SFT": train("sft"), f'SFT, BREAK = "{BREAK}"': train(BREAK)}
result = {name: exam(name, model) for name, model in models.items()}

# %% [markdown]
# ## The surprise
# The words are as right as SFT's. But SFT ended its sums where they end, and now almost none stops there: the model
# goes on adding. It read `<|end|>` in every row and was **never asked** for it, while each word that it was asked for
# taught it that an answer goes on. One token an answer decides whether anybody can use the model.
#
# Sorting is less clear-cut: many answers still stop, out of a habit that the base had brought along. What nobody
# trains, nobody holds: with `SEED = 1` or `2` the right words stay near SFT's, and this habit goes up and down.

# %%
plots.plt.rcParams["font.size"] = 16
fig, (top, bottom) = plots.plt.subplots(2, 1, figsize=(14, 9))
look = [{"color": c, "hatch": h, "ec": "white"} for c, h in zip((plots.GREY, *plots.LINES), ("", "", "//"))]
for i, rule in enumerate(("sft", BREAK), start=1):
    sft.forward(base, batch := who_pays(collate([short], [0], tok.pad), rule), hp)
    push = pushes(sft, batch, hp)["answer"][0] * batch.tokens["answer"]
    assert torch.allclose(push, batch.seqs["answer"].mask[0]), "a token is pushed by 1/N if it pays, else not at all"
    top.bar(torch.arange(len(push)) + 0.4 * i - 0.6, push, 0.38, **look[i])
top.set_title("the weight ledger: push on each token of one row, times N")
top.set_xticks(range(len(push)), [tok.decode([i]).strip("<|> ") for i in short.seqs["answer"].ids[1:]])
for i, (name, marks) in enumerate(result.items()):
    bottom.bar_label(bottom.bar(torch.arange(4) + 0.27 * i, marks, 0.25, label=name, **look[i]), fmt="%.0f")
bottom.set_xticks([0.27, 1.27, 2.27, 3.27], [f"{s}:\n{w}, %" for s in SKILLS for w in ("right words", "stops there")])
bottom.legend(frameon=False, ncol=3, loc="lower center", bbox_to_anchor=(0.5, 1))
print("\npicture:", plots.save(fig, plots.Path("out/lessons/03.png")))

# %% [markdown]
# ## The proof

# %%
_, (right, stops, *_), (free_right, free_stops, *_) = result.values()
did = "not asked" if BREAK != "end" else "a" if free_right < right - 15 else "b" if free_stops > 50 else "c"
print(f"you guessed {MY_GUESS!r};" if MY_GUESS else "you wrote no guess (MY_GUESS, above);", f"it did {did!r}")
assert BREAK != "end" or abs(right - free_right) < 15 and stops - free_stops > 40, "what does not pay is not learnt"

# %% [markdown]
# ## Break it
# `BREAK = "prompt"` lets the question pay too, as in pretraining. Guess first: more right words, or fewer? Look at
# the ledger: which share of the push now goes into asking? (Here the questions are easy and few are long, so little is
# lost; where questions are long and answers short, most of the push would go into imitating users.)
#
# ## Exercises (take away the first `# ` of the lines that check you)
# **03a** (D1) Write `my_mask(tokens, trained)`: the mask of the *targets* of one row. The row is a list of words in
# which `user` and `assistant` are headers and `end` is a token; the targets are the row without its first token. What
# goes wrong: `end` does not pay, the header pays, the mask is not shifted, or shifted twice.

# %%
# assert my_mask("user hi assistant yo end".split()) == [0, 0, 1, 1], "the answer and its end pay, on the TARGETS"

# %% [markdown]
# **03b** (D2) Two answers, of one token (loss 2) and of four (loss 1 each). Write `my_means(losses)`, which returns the
# mean over all tokens, and the mean over answers of each answer's mean: 1.2 and 1.5. Which of the two lets a long
# answer weigh more? What goes wrong: padding is counted, or a big batch is cut into pieces and their means averaged.

# %%
# token, sequence = my_means([[2.0], [1.0, 1.0, 1.0, 1.0]])
# assert abs(token - 1.2) < 1e-6 and abs(sequence - 1.5) < 1e-6, "token 6/5, sequence (2 + 1)/2"
# pieces = [my_means([[2.0]])[0], my_means([[1.0] * 4])[0]]                   # a batch cut into two, token mean of each
# assert abs(sum(pieces) / 2 - token) > 0.1, "the average of pieces is another loss: weigh them by tokens"

# %% [markdown]
# **03c** (D2, backwards) This lesson spoils the mask after it was made. Do it at the source: copy `Tokenizer.chat` and
# change **one line**, so that the content stays perfect and nothing learns to stop. The row must stay as it is.

# %%
# turns = [("user", "Sort bee ant.")], [("assistant", "ant bee")]
# (ids, mask), (my_ids, my_mask) = tok.chat(*turns), my_chat(tok, *turns)
# assert my_ids == ids and my_mask == mask[:-1] + [0], "only <|end|> may lose its 1"

# %% [markdown]
# ## Recall, without looking up
# 1. Which tokens of a conversation pay in SFT, and why is `<|end|>` one of them?
# 2. What is the push on a token that pays, in a step of N paying tokens? And on the question?
# 3. The model without `<|end|>` in its mask saw `<|end|>` in every row. Why did it not learn to say it?
# 4. (01) Which matrix makes sure that no place copies its answer from the right?
# 5. (01) Near-zero training loss, and babble: what had the model learnt?
