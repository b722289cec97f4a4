# %% [markdown]
# # 00 · What does each method change in the *same* answer?
# *Afternoon path · about 20 minutes (estimated, n=0) · needs nothing · the whole game in one
# run; details come later*
#
# After this lesson you can
# - read a weight ledger: which tokens does a method push, which way, and how hard;
# - tell what SFT, IFT and DPO are shown, and why one of them half forgets to stop;
# - test one explanation of a result against another one, by one more run.
#
# A **base** is a model that has read a lot of text. It continues whatever you begin. Asked for a
# list, it gets most of the words right. But then it does not stop: it asks itself the next
# question. Fine-tuning shows the base what we want. In this lesson you train the same base in
# three ways. Then you ask all four models the same question:
# - `SFT` (*supervised fine-tuning*) sees a right answer and learns to say it. All words count the
#   same.
# - `IFT` (*intuitive fine-tuning*) sees the same answers. A word counts more if the words after it
#   go wrong.
# - `DPO` (*direct preference optimization*) sees a right and a wrong answer and learns to prefer
#   the right one.
#
# `python lessons/00_whole_game.py` takes half a minute the first time, and some seconds afterwards.
# The three models are kept in `out/lessons/00`. Delete that folder to train them again.

# %% Run once: you see four answers without names. Write your guess here. Run again for the names.
MY_GUESS = None   # the letters of base, SFT, IFT and DPO, in this order, such as "ABCD"

# %% [markdown]
# ## Teach
# The question comes from NanoWorld, a made-up world. There a rule of a few lines scores each
# answer, without a judge or an opinion. Each of the three runs is one call of the project's
# training command, with 48 steps and the learning rate of that method.

# %%
import contextlib
import dataclasses
import io
import random
import textwrap
from pathlib import Path

from nanouft import ledger, train, world
from nanouft.data.rows import Row, Turn
from nanouft.look import plots
from nanouft.models.generate import answer_rows, stops
from nanouft.models.load import start_model
from nanouft.objective import Batch
from nanouft.objectives import OBJECTIVES, dpo
from nanouft.shell import devices
from nanouft.shell.files import made_once

BREAK = None                    # the switch, see "Break it": None | "rate" | "end"
HOME = Path("out/lessons/00")
HOW = "--steps 48 --items 0 --save-every 0 --device cpu --threads 2"
cpu = devices.pick("cpu", "fp32", threads=2)    # fixed seeds, too: nearly equal on each machine
base, tok = start_model("base")


def loss_without_end(batch: Batch, hp):
    """DPO's loss if the <|end|> of the rejected answer does not count."""
    rejected = batch.seqs["rejected"]
    rejected.mask *= rejected.targets != tok.end
    return dpo.loss(batch, hp)


def taught(name: str, flags: str = "", broken: bool = False) -> str:
    """Train the base by one method, unless its folder is there. Returns the folder."""
    def make(folder: Path) -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            train.main(f"--objective {name} {flags} {HOW} --out {folder.as_posix()}".split())

    folder = HOME / (f"{name}-{BREAK}" if broken else name)
    return str(made_once(folder, make))


if BREAK == "end":
    OBJECTIVES["dpo"] = dataclasses.replace(OBJECTIVES["dpo"], loss=loss_without_end)
inits = {
    "base": "base",
    "SFT": taught("sft", "--lr 3e-5" if BREAK == "rate" else "", broken=BREAK == "rate"),
    "IFT": taught("ift", "--variant released --lr 1.25e-4"),    # as published, see lesson 06
    "DPO": taught("dpo", broken=BREAK == "end"),
}

# %% [markdown]
# All four models now answer the same 60 questions. No model was trained on these questions.

# %%
tests = world.rows("val", "prompts", 60, seed=0, skills=("list",))
questions = [row.prompt[0].text for row in tests]
said = {}                       # model -> its 60 answers
scores = {}                     # model -> their scores, from 0 to 1
stop = {}                       # model -> how many of them stop, in per cent


def text_of(answer) -> str:
    """What a model said, with <|end|> where it stopped."""
    text = tok.decode(answer.ids).strip()
    return text + "<|end|>" if answer.ended else text


def score(question: str, text: str) -> float:
    """NanoWorld's score of the answer alone: what the model says to itself does not count."""
    return world.score(question, text.split("<|")[0])


for name, init in inits.items():
    model, _ = start_model(init)
    answers = answer_rows(model, tok, tests)
    said[name] = [text_of(answer) for answer in answers]
    scores[name] = [score(q, text) for q, text in zip(questions, said[name])]
    stop[name] = 100 * sum(stops(answer, tok) for answer in answers) / 60

# %% [markdown]
# ## Four answers to one question
# We take the first question for which three things hold. All four models say something different.
# All words of the three trained models are right. But not all three stop where the answer ends:
# a model that says `<|user|>` goes on talking to itself. Below the answers you see how many of the
# 60 answers of each model stop.

# %%
TRAINED = ("SFT", "IFT", "DPO")


def fits(i: int) -> bool:
    all_differ = len({texts[i] for texts in said.values()}) == 4
    all_right = all(scores[name][i] == 1 for name in TRAINED)
    all_stop = all("<|user|>" not in said[name][i] for name in TRAINED)
    return all_differ and all_right and (BREAK or not all_stop)


shown = next((i for i in range(60) if fits(i)), 0)
shuffled = random.Random(7).sample(list(inits), 4)
letters = dict(zip(shuffled, "ABCD"))           # model -> the letter that hides its name
print(questions[shown])
for name, letter in letters.items():
    print(f"  {letter}: {said[name][shown]}")
stop_marks = [f"{letter} {stop[name]:.0f} %" for name, letter in letters.items()]
stop_line = "answers that stop, of 60: " + ", ".join(stop_marks)
print(stop_line)

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
# word. The pushes are measured in the base, before the first step. **Look at them before you
# guess.** One trained model stops in only half of its answers. Which of the bars can explain that?
# The bars are clues. They may not be enough to name all four models. (The first picture of the
# README shows a longer run of released IFT, with twice this learning rate. There it does not stop.)

# %%
def turn(text: str) -> tuple[Turn]:
    return (Turn("assistant", text),)


def pushes(name: str, **hp) -> list[tuple]:
    """[(title, tokens, push on each token)]: what one method does with the row below."""
    whose = {"answer": "a right answer", "chosen": "the same one", "rejected": "a worse one"}
    entries = ledger.entries(name, OBJECTIVES[name].hp(**hp), row, base, tok, cpu)
    return [(f"{name.upper()}: pushes on {whose[role]}", tokens, push)
            for role, tokens, push in entries]


right = world.reference(questions[shown])
forgets = right.rsplit(" ", 1)[0]               # all words but the last
row = Row(tests[shown].prompt, turn(right), chosen=turn(right), rejected=turn(forgets))
strips = pushes("sft") + pushes("ift", variant="released") + pushes("dpo")

plots.plt.rcParams["font.size"] = 18
layout = [["text", "text"], [0, 1], [2, 3]]
fig, ax = plots.plt.subplot_mosaic(layout, figsize=plots.SLIDE, height_ratios=(2.4, 1, 1))
lines = [questions[shown]]
for name, letter in letters.items():
    label = f"{letter} = {name}" if MY_GUESS else letter
    lines.append(f"{label}:  {textwrap.shorten(said[name][shown], 85, placeholder=' ...')}")
lines += [stop_line, "Below: other answers to the same question, and pushes before any training"]
ax["text"].text(0, 1, "\n".join(lines), va="top", linespacing=1.5)
ax["text"].set_axis_off()
for k, (title, tokens, push) in enumerate(strips):
    colors = [plots.UP if w > 0 else plots.DOWN for w in push]
    bars = ax[k].bar(range(len(push)), push, color=colors)
    ax[k].bar_label(bars, fmt="%+.2f", padding=3)
    ax[k].axhline(0, color=plots.GREY, lw=1)
    ax[k].set(title=title, ylim=(-2, 3.6), yticks=[], xlim=(-0.6, len(strips[0][1]) - 0.4))
    ax[k].set_xticks(range(len(push)), [token.strip() for token in tokens])
file = plots.lesson_file("00", BREAK=(BREAK, None))
print("picture:", plots.save(fig, file))

# %% [markdown]
# ## The proof

# %%
words = {name: 100 * sum(scores[name]) / 60 for name in inits}      # per cent
if MY_GUESS:
    hits = sum(letters[name] == guess for name, guess in zip(inits, MY_GUESS))
    print(f"you guessed {MY_GUESS!r}: {hits} of 4 right (blindly: 1)")
    for name in inits:
        print(f"  {letters[name]} = {name:<5} right words {words[name]:3.0f} %, "
              f"stops {stop[name]:3.0f} %   (60 lists)")
else:
    print("no names before a guess: write yours into MY_GUESS and run again, it takes some seconds")
sft, ift, chosen, rejected = [push for _, _, push in strips]
assert max(abs(w - 1) for w in sft) < 1e-4, "SFT pushes each token of the answer by the same amount"
assert chosen[0] > 0 > rejected[0], "DPO pushes the chosen answer up and the rejected one down"
differences = [abs(c + r) for c in chosen for r in rejected]
assert max(differences) < 1e-4, "DPO pushes both by the same amount: what they share cancels"
if BREAK != "end":
    assert stop["SFT"] > 90 > 80 > stop["DPO"], "what both answers share is taught least"

# %% [markdown]
# ## The surprise (read on after you have seen the names)
# All three trained models say nearly all the words that they should. But half of DPO's answers do
# not stop. Yet DPO never saw an answer without `<|end|>`: both answers of each pair have one. Now
# look at the pushes. A token that is in both answers is pushed up once and down once, by the same
# amount. So DPO mostly teaches the difference between the two answers, such as the last word. SFT
# is different: it pushes every `<|end|>` up.
#
# And how could you tell SFT from IFT? Their bars differ a lot. IFT even pushes `<|end|>` *down*
# here. Yet their answers look alike, and over 60 lists they have the same marks. If you named both
# correctly, you were lucky. **A bar is a push on one token of one answer in one step. It is not a
# result.** And one answer proves nothing. With a higher learning rate, released IFT does stop
# less often. Lesson 06 explains its bar at `<|end|>` and compares the settings.
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
# *Read on after both runs.* At DPO's learning rate SFT keeps 97 % right words, and 100 % of its
# answers stop. So the rival story fails. Without the `<|end|>` of the rejected answer, 98 % of
# DPO's answers stop (before: 52 %). That is what the first story predicts.
#
# ## Talk to all four
# `python -m nanouft.sample base out/lessons/00/sft out/lessons/00/ift out/lessons/00/dpo` opens a
# chat with them. Try "Sort pig bee saw from a to z." Then try a question of your own, one about the
# colour of the luve, and no question at all.
#
# ## Exercises
# Write in `my/`, not here. `python -m lessons.grade 00b` checks your answer: it names the mistake
# and asks one question (`--hint` for more). The full text of each task is in the file that the
# command names.
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
# 3. Each pair of answers had `<|end|>` in both. Why did only half of DPO's answers learn to stop?
# 4. "DPO seldom stops because its learning rate is low": which run tested that, and what came out?
#
# <details><summary>Answers</summary>
#
# If you changed nothing, A is IFT, B is the base, C is SFT and D is DPO.
#
# 1. SFT sees a right answer. DPO sees a right and a wrong answer to the same question.
# 2. This step makes the token likelier, just as hard as SFT does. It does not say what the model
#    will say after training.
# 3. In each pair `<|end|>` is pushed up once and down once, by the same amount. What both answers
#    share is taught least.
# 4. `BREAK = "rate"`: SFT at DPO's learning rate still had 97 % right words, and all its answers
#    stopped. So the low learning rate is not the cause.
#
# </details>
#
# **Runs that failed:** stories 4 and 5 of `docs/gallery.md`. What went wrong?
#
# **Watch it:** `python -m nanouft.playground` writes a page for your browser. There this base
# learns while you look, with each of these objectives.
#
# **Next:** `lessons/01_gpt.py`. On the afternoon path: `lessons/03_sft.py`.
