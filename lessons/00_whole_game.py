# %% [markdown]
# # 00 · What does each method change in the *same* answer?
# *Afternoon path · about 20 minutes (our estimate) · needs nothing · the whole game in one
# run; details come later*
#
# After this lesson you can
# - read a weight ledger: which tokens does a method push, which way, and how hard;
# - tell what SFT, IFT and DPO are shown, and why one of them seldom learns to stop;
# - test one explanation of a result against another one, by one more run.
#
# A **base** is a model that has read a lot of text. It continues whatever you begin. Asked for a
# list, it gets most of the words right. But then it does not stop: it asks itself the next
# question. Fine-tuning shows the base what we want. In this lesson you train the same base in
# three ways. Then you ask all four models the same question:
# - `SFT` (*supervised fine-tuning*) sees a right answer and learns to say it. All words count the
#   same.
# - `IFT` (*intuitive fine-tuning*) sees the same answers. A word counts more if it and the words
#   after it go wrong.
# - `DPO` (*direct preference optimization*) sees a right and a wrong answer and learns to prefer
#   the right one.
#
# `python lessons/00_whole_game.py` takes half a minute the first time, and some seconds afterwards.
# The three models are kept in `out/lessons/00`. Delete that folder to train them again.

# %%
import random
import textwrap
from itertools import permutations

from course import Lesson, progress

ORDERS = ["".join(letters) for letters in permutations("ABCD")]
lesson = Lesson("00", ORDERS, ask=False)        # you are asked when you have seen the answers
BREAK = None                                    # the switch, see "Break it": None | "rate" | "end"

# %% [markdown]
# ## Teach
# The questions come from NanoWorld, a made-up world. There a rule of a few lines scores each
# answer, without a judge or an opinion. Below is the loop that trains a model. It is the same for
# all three methods. A method says which rows it wants, what its forward pass computes, and its
# loss. Each row of the data has a **mask**: it is 1 on the tokens of the answer, where we train,
# and 0 on the question.

# %%
from dataclasses import replace
from pathlib import Path

from nanouft import ledger, world
from nanouft.batches import collate, encode, order
from nanouft.rows import Row, Turn
from nanouft.loop import Device
from nanouft.models.load import start_model
from nanouft.models.save import save_model
from nanouft.objectives import OBJECTIVES
from nanouft.reference import Models, add_columns
from nanouft.sampling import answer_rows, stops
import draw
import torch

STEPS = 48
ROWS = 32                                       # rows that a step reads
HOME = Path("out/lessons/00", BREAK or "")
base, tok = start_model("base")


def train(name: str, learning_rate: float, **settings):
    """The base after STEPS steps of one method."""
    model, _ = start_model("base")
    method = OBJECTIVES[name]
    hp = method.hp(**settings)
    kind = "pairs" if name == "dpo" else "demos"
    rows = world.rows("train", kind, STEPS * ROWS, seed=0)
    data, _ = encode(method.rows(rows, hp), tok, base.cfg.n_ctx)        # words become tokens
    add_columns(data, method.columns, Models(base, tok.pad))    # DPO: how likely the base finds it
    optimizer = torch.optim.AdamW(model.parameters(), learning_rate, betas=(0.9, 0.95))
    for numbers in progress(order([row.length for row in data], ROWS, STEPS, seed=0), name):
        batch = collate(data, numbers, tok.pad)                 # 1. data
        if name == "dpo" and BREAK == "end":
            rejected = batch.seqs["rejected"]
            mask = rejected.mask * (rejected.targets != tok.end)
            batch.seqs["rejected"] = replace(rejected, mask=mask)
        method.forward(model, batch, hp)                        # 2. forward
        loss, _ = method.loss(batch, hp)                        # 3. objective
        optimizer.zero_grad()                                   # 4. update
        loss.backward()
        optimizer.step()
    return model


def trained(name: str, learning_rate: float, **settings):
    """The model of an earlier run of this lesson, or a new one."""
    folder = HOME / name
    if not (folder / "model.safetensors").exists():
        save_model(folder, train(name, learning_rate, **settings), tok)
    return start_model(str(folder))[0]


models = {
    "base": base,
    "SFT": trained("sft", 1.5e-5 if BREAK == "rate" else 1.25e-4),
    "IFT": trained("ift", 6e-5, variant="released"),            # as published, see lesson 06
    "DPO": trained("dpo", 1.5e-5),
}

# %% [markdown]
# ## Four answers to one question
# All four models answer the same 60 questions. No model was trained on these questions. Below you
# see one of them. A model that says `<|user|>` goes on talking to itself. Below the answers you see
# how many of the 60 answers of each model stop. An answer stops if `<|end|>` comes before any other
# mark such as `<|user|>`.

# %%
tests = world.rows("val", "prompts", 60, seed=0, skills=("list",))
SHOWN = 45                      # the question that you see
texts = {}                      # model -> its 60 answers
words = {}                      # model -> right words, in per cent
stop = {}                       # model -> answers that stop, in per cent


def text_of(answer) -> str:
    """What a model answered, with <|end|> where it stopped."""
    text = tok.decode(answer.ids).strip()
    return text + "<|end|>" if answer.ended else text


for name, model in models.items():
    answers = answer_rows(model, tok, tests)
    texts[name] = [text_of(answer) for answer in answers]
    scores = [world.score(row.prompt[0].text, text.split("<|")[0])      # of the answer alone
              for row, text in zip(tests, texts[name])]
    words[name] = 100 * sum(scores) / 60
    stop[name] = 100 * sum(stops(answer, tok) for answer in answers) / 60

question = tests[SHOWN].prompt[0].text
shuffled = random.Random(7).sample(list(models), 4)
letters = dict(zip(shuffled, "ABCD"))           # model -> the letter that hides its name
answers_shown = [f"{letter}: {texts[name][SHOWN]}" for name, letter in letters.items()]
stop_line = "answers that stop, of 60: " + ", ".join(
    f"{letter} {stop[name]:.0f} %" for name, letter in letters.items())
print(question, *answers_shown, stop_line, sep="\n  ")

# %% [markdown]
# ## One equation: the weight ledger
# A method is a loss $L$. All it can do to an answer is to push the answer's tokens up or down. How
# hard does it push each token, and in which direction?
# $$\mathrm{push}(t)=-N\,\frac{\partial L}{\partial\log\pi(y_t\mid y_{<t})}$$
# $\pi(y_t\mid y_{<t})$ is the probability that the model gives to token $t$ after it has read all
# tokens before it. $N$ is the number of tokens of the answer. A positive push makes the token
# likelier. Each lesson of this course explains or adds one row of this ledger.
#
# Below is the ledger for one right answer. DPO also needs a wrong answer: ours leaves out the last
# word. The pushes are measured in the base, before the first step.

# %%
def turn(text: str) -> tuple[Turn]:
    return (Turn("assistant", text),)


right = world.reference(question)
wrong = right.rsplit(" ", 1)[0]                 # all words but the last
row = Row(tests[SHOWN].prompt, turn(right), chosen=turn(right), rejected=turn(wrong))
strips = []                                     # (title, tokens, push on each token)
for name, settings in (("sft", {}), ("ift", {"variant": "released"}), ("dpo", {})):
    hp = OBJECTIVES[name].hp(**settings)
    for role, tokens, push in ledger.entries(name, hp, row, base, tok, Device()):
        answer = {"chosen": "the same one", "rejected": "a worse one"}.get(role, "a right answer")
        strips.append((f"{name.upper()}: pushes on {answer}", tokens, push))

# Seen: Four answers to one question, and a bar for each token: how SFT, IFT and DPO push it.
fig, ax = draw.panels([["text", "text"], [0, 1], [2, 3]], height_ratios=(2.4, 1, 1))
short = [textwrap.shorten(line, 88, placeholder=" ...") for line in answers_shown]
below = "Below: other answers to the same question, and pushes before any training"
ax["text"].text(0, 1, "\n".join([question, *short, stop_line, below]), va="top", linespacing=1.5)
ax["text"].set_axis_off()
for k, (title, tokens, push) in enumerate(strips):
    draw.strip(ax[k], tokens, push, title, ylim=(-2, 3.6), yticks=[], xlim=(-0.6, 5.6))
lesson.picture(fig, BREAK=(BREAK, None))

# %% [markdown]
# ## Guess
# Which letter is the base, which is SFT, which is IFT, and which is DPO? One trained model stops in
# less than half of its answers. Which of the bars can explain that? The bars are clues. They may
# not be enough to name all four models.
#
# Give the letters of base, SFT, IFT and DPO, in this order, such as ABCD.

# %%
# without a terminal: run it again, python lessons/00_whole_game.py --guess ABCD
lesson.ask("Your letters of base, SFT, IFT and DPO, in this order, such as ABCD.")

# %% [markdown]
# ## The proof

# %%
if lesson.guess:
    hits = sum(letters[name] == guess for name, guess in zip(models, lesson.guess))
    print(f"you guessed {lesson.guess}: {hits} of 4 right (blindly: 1)")
    for name in models:
        print(f"  {letters[name]} = {name:<5} right words {words[name]:3.0f} %, "
              f"stops {stop[name]:3.0f} %   (60 lists)")
else:
    print("no names before a guess: python lessons/00_whole_game.py --guess ABCD "
          "(your letters of base, SFT, IFT, DPO)")
sft, ift, chosen, rejected = [push for _, _, push in strips]
assert max(abs(w - 1) for w in sft) < 1e-4, "SFT pushes each token of the answer by the same amount"
assert chosen[0] > 0 > rejected[0], "DPO pushes the chosen answer up and the rejected one down"
differences = [abs(c + r) for c in chosen for r in rejected]
assert max(differences) < 1e-4, "DPO pushes both answers by the same amount"
if BREAK != "end":
    assert stop["SFT"] > 90 > 80 > stop["DPO"], "DPO teaches least what both answers share"

# %% [markdown]
# ## The surprise (read on after you have seen the names)
# All three trained models say nearly all the words that they should. But most of DPO's answers do
# not stop. Yet DPO never saw an answer without `<|end|>`: both answers of each pair have one. Now
# look at the pushes. The `<|end|>` of the chosen answer is pushed up. The one of the rejected
# answer is pushed down, by the same amount. SFT is different: it pushes every `<|end|>` up.
#
# **Does that cancel?** The first words of both answers are the same, after the same question. There
# the two pushes cancel exactly. The two `<|end|>` stand after different words, so they do not
# cancel exactly. But to the base both places look alike: "a list may end here". What raises
# `<|end|>` in one place raises it in the other. We measured it in the base: the push down takes
# back 94 % of what the push up gives to `<|end|>` in new lists
# (`python lessons/extras/cancel.py`). So DPO mostly teaches the difference between the two answers,
# such as the last word.
#
# And how could you tell SFT from IFT? Their bars differ a lot. IFT even pushes `<|end|>` *down*
# here. Yet their answers look alike, and over 60 lists they have the same marks. If you named both
# correctly, you were lucky. **A bar is a push on one token of one answer in one step. It is not a
# result.** And one answer proves nothing: in a third of the lists DPO does stop. IFT as released
# has two faces, too: with a higher learning rate it stops less often, and then not at all. Lesson
# 06 explains its bar at `<|end|>` and compares the settings.
#
# ## Break it
# The story about `<|end|>` sounds good. Is it true? There is a rival story: DPO's learning rate is
# only an eighth of SFT's, so perhaps DPO just learnt less.
# - `BREAK = "rate"` trains SFT at DPO's learning rate. Will SFT get fewer words right? Will it stop
#   less often?
# - `BREAK = "end"` changes DPO: the `<|end|>` of the rejected answer does not count. How many of
#   DPO's answers will stop?
#
# Before you run each one, say what the first story predicts, and what the rival story predicts.
#
# *Read on after both runs.* At DPO's learning rate SFT keeps 97 % right words, and 98 % of its
# answers stop. So the rival story fails. Without the `<|end|>` of the rejected answer, 97 % of
# DPO's answers stop (before: 37 %). That is what the first story predicts.
#
# ## Talk to all four
# `python -m nanouft.sample base out/lessons/00/sft out/lessons/00/ift out/lessons/00/dpo` opens a
# chat with them. Try "Sort pig bee saw from a to z." Then try a question of your own, one about the
# colour of the luve, and no question at all.
#
# ## Exercises
# `python -m lessons.grade 00b` makes your folder `my/`, judges what you write there, and names the
# mistake (`lessons/exercises/README.md` says more).
#
# - **00b** (D1) `my_score(answer)`: the score of an answer to *Name three fruits but not fig, lime
#   or kiwi. End on fox.*
#
# Without the grader: give reasons for your guess. Write one clue beside each letter before you see
# the names. For two of the letters no clue tells which is which. Which two?
#
# ## Recall, without looking up
# 1. What does the model see in SFT, and what in DPO?
# 2. What does a push of +1 say about a token? What does it not say about the trained model?
# 3. Each pair of answers had `<|end|>` in both. Why did only a third of DPO's answers stop?
# 4. "DPO seldom stops because its learning rate is low": which run tested that, and what came out?
#
# <details><summary>Answers</summary>
#
# If you changed nothing, A is IFT, B is the base, C is SFT and D is DPO. Over the 60 lists:
#
# | | right words | answers that stop |
# |---|---|---|
# | A, IFT as released | 97 % | 100 % |
# | B, base | 89 % | 2 % |
# | C, SFT | 97 % | 100 % |
# | D, DPO | 98 % | 37 % |
#
# 1. SFT sees a right answer. DPO sees a right and a wrong answer to the same question.
# 2. This step makes the token likelier, just as hard as SFT does. It does not say what the model
#    will say after training.
# 3. In each pair `<|end|>` is pushed up once and down once, by the same amount. The push down takes
#    back nearly all that the push up gives, because the base sees both places as "a list may end
#    here".
# 4. `BREAK = "rate"`: SFT at DPO's learning rate still had 97 % right words, and 98 % of its
#    answers stopped. So the low learning rate is not the cause.
#
# </details>
#
# **Runs that failed:** stories 4 and 5 of `docs/gallery.md`. What went wrong?
#
# **Watch it:** `python -m nanouft.playground` writes a page for your browser. There this base
# learns while you look, with each of these objectives.
#
# **Next:** `lessons/01_gpt.py`. On the afternoon path: `lessons/03_sft.py`.
