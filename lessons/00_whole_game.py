# %% [markdown]
# # 00 · What does each method change in the *same* answer?
# *Afternoon path · about 20 minutes (estimated, n=0) · needs nothing · the whole game in one run; no detail yet*
#
# A **base** has read a lot of text and goes on with whatever you begin: it does half of what it is asked, and instead
# of stopping it asks itself the next question. Fine-tuning shows it what we want. This lesson teaches one and the same
# base in three ways and puts one question to all four:
# - `SFT` (*supervised fine-tuning*): here is a right answer, say it. Each of its words counts the same.
# - `IFT` (*intuitive fine-tuning*): the same answers, but a word counts more if the words after it go wrong.
# - `DPO` (*direct preference optimization*): here are a right and a wrong answer, prefer the right one.
#
# `python lessons/00_whole_game.py`: half a minute the first time, some seconds afterwards (the three models are kept in
# `out/lessons/00`; delete that folder to train them again).

# %% Run once: you see four answers without names. Write your guess here. Run again: the names are shown.
MY_GUESS = None   # the letters of base, SFT, IFT and DPO, in this order, such as "ABCD"

# %% [markdown]
# ## Teach
# The question is one of NanoWorld's, a made-up world in which a rule of a few lines scores each answer: no judge, no
# opinion. The three runs are three calls of the project's training command, with 48 steps and each method's own rate.

# %%
import contextlib, dataclasses, io, random, shutil
from nanouft.models.load import start_model
from nanouft.data.rows import Row, Turn
from nanouft.models.generate import answer_rows, stops
from nanouft.objective import Batch
from nanouft import ledger, train, world
from nanouft.look import plots
from nanouft.shell import devices


from nanouft.objectives import OBJECTIVES, dpo

BREAK = None                                            # the switch, see "Break it": None | "rate" | "end"
HOME, STEPS = plots.Path("out/lessons/00"), "--steps 48 --items 0 --save-every 0 --device cpu --threads 2"
cpu = devices.pick("cpu", "fp32", threads=2)            # fp32, two threads, fixed seeds: nearly equal on each machine
base, tok = start_model("base")


def no_end(batch: Batch, hp):                           # DPO if the <|end|> of the rejected answer does not count
    batch.seqs["rejected"].mask *= batch.seqs["rejected"].targets != tok.end
    return dpo.loss(batch, hp)


def taught(name: str, breaks: str) -> str:              # -> the folder of the run; trained only if it is not there
    folder = HOME / (name + f"-{BREAK}" * (BREAK == breaks))        # IFT as it was published; lesson 06 says why
    if not (folder / "model.safetensors").exists():
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.redirect_stdout(io.StringIO()):
            rate = "--lr 3e-5" * (BREAK == breaks == "rate") + "--variant released --lr 1.25e-4" * (name == "ift")
            train.main(f"--objective {name} {rate} {STEPS} --out {folder.as_posix()}".split())
    return str(folder)


OBJECTIVES["dpo"] = dataclasses.replace(OBJECTIVES["dpo"], loss=no_end if BREAK == "end" else dpo.loss)
inits = {"base": "base", "SFT": taught("sft", "rate"), "IFT": taught("ift", ""), "DPO": taught("dpo", "end")}
tests = world.rows("val", "prompts", 60, seed=0, skills=("list",))      # none of these questions was trained on
prompts, said, result = [r.prompt[0].text for r in tests], {}, {}
for name, init in inits.items():
    answers = answer_rows(start_model(init)[0], tok, tests)
    said[name] = [tok.decode(a.ids).strip() + "<|end|>" * a.ended for a in answers]
    right = [world.score(p, t.split("<|")[0]) for p, t in zip(prompts, said[name])]
    result[name] = (right, sum(right) / 0.6, sum(stops(a, tok) for a in answers) / 0.6)

# %% [markdown]
# ## Four answers to one question
# The first question to which all four say something else and the three pupils have all their words right. What stands
# behind `<|user|>` is the model talking to itself.

# %%
good = [len({t[i] for t in said.values()}) == 4 and all(result[n][0][i] == 1 for n in ("SFT", "IFT", "DPO"))
        for i in range(60)]
letters, i = dict(zip(random.Random(7).sample(list(inits), 4), "ABCD")), (good + [True]).index(True) % 60
print(f"{prompts[i]}\n" + "\n".join(f"  {x}: {said[n][i]}" for n, x in letters.items()))

# %% [markdown]
# ## One equation: the weight ledger
# A method is a loss $L$, and all that it does to an answer is to push its tokens up or down. How hard, and which way?
# $$\mathrm{push}(t)=-N\,\frac{\partial L}{\partial\log\pi(y_t\mid y_{<t})}$$
# $\pi(y_t\mid y_{<t})$ is the probability that the model gives to token $t$ when it has read all that stands before,
# and $N$ is the number of tokens of the answer. Plus: the token gets likelier. Each lesson of this course explains or
# adds a row of this ledger. Here it is for one right answer, and, since DPO needs one, for a wrong one that forgets the
# last word; as the base sees them, before the first step. **Look at it before you guess.**

# %%
right = world.reference(prompts[i])
said_by = {"answer": right, "chosen": right, "rejected": right.rsplit(" ", 1)[0]}
row = Row(prompt=tests[i].prompt, **{k: (Turn("assistant", t),) for k, t in said_by.items()})
strips = [(f"{n.upper()}: {role}", tokens, w) for n, hp in (("sft", {}), ("ift", {"variant": "released"}), ("dpo", {}))
          for role, tokens, w in ledger.entries(n, OBJECTIVES[n].hp(**hp), row, base, tok, cpu)]
plots.plt.rcParams["font.size"] = 16
fig, ax = plots.plt.subplot_mosaic([["text"] * 2, [0, 1], [2, 3]], figsize=(15, 9.5), height_ratios=(1.1, 1, 1))
text = [f"{x}" + f" = {n}" * bool(MY_GUESS) + ":  " + plots.fold(said[n][i], 92) for n, x in letters.items()]
ax["text"].text(0, 1, "\n".join([prompts[i], *text]), va="top", linespacing=1.5), ax["text"].set_axis_off()
for k, (title, tokens, push) in enumerate(strips):
    bars = ax[k].bar(range(len(push)), push, color=[plots.UP if w > 0 else plots.DOWN for w in push])
    ax[k].bar_label(bars, fmt="%+.2f", padding=3), ax[k].axhline(0, color=plots.GREY, lw=1)
    ax[k].set(title=title, ylim=(-2, 3.2), yticks=[], xlim=(-0.6, 5.6))
    ax[k].set_xticks(range(len(push)), [t.strip() for t in tokens])
print("picture:", plots.save(fig, plots.Path("out/lessons/00.png")))

# %% [markdown]
# ## The proof

# %%
if MY_GUESS:
    print(f"you guessed {MY_GUESS!r}: {sum(letters[n] == a for n, a in zip(inits, MY_GUESS))} of 4 right (blindly: 1)")
    for name, (_, words, stop) in result.items():
        print(f"  {letters[name]} = {name:<5} right words {words:3.0f} %, stops {stop:3.0f} %   (60 lists)")
else:
    print("no names before a guess: write yours into MY_GUESS and run again, it takes some seconds")
one, _, chosen, rejected = (push for _, _, push in strips)
assert max(abs(w - 1) for w in one) < 1e-4, "SFT pushes each token of the answer by the same amount"
assert chosen[0] > 0 > rejected[0] and max(abs(c + r) for c in chosen for r in rejected) < 1e-4, \
    "DPO pushes the chosen answer up and the rejected one down by the same amount: what they share cancels"
assert BREAK == "end" or result["SFT"][2] > 90 > 80 > result["DPO"][2], "what both answers share is taught least"

# %% [markdown]
# ## The surprise (read on when you have seen the names)
# All three say nearly all the words that they should. But half of DPO's answers do not stop, though it never saw an
# answer without `<|end|>`: both answers of each pair have one. What stands in both is pushed up and down by the same
# amount; what is left over is what tells the two apart, such as the last word. SFT is asked for each `<|end|>`.
#
# And SFT from IFT? The bars are far from alike, IFT even pushes `<|end|>` *down* here; yet the answers are of one
# make, and over 60 lists so are the marks. If you put the right names to these two, it was luck. **A bar is a push on
# one token of one answer in one step, not a result**; and one answer is an anecdote. Lesson 06 returns to that bar.
#
# ## Break it
# The story about `<|end|>` sounds well. Is it true? DPO's rate is an eighth of SFT's, too: perhaps it just learnt less.
# - `BREAK = "rate"` trains SFT at DPO's rate. Which of its two columns will suffer?
# - `BREAK = "end"` lets the rejected answer's `<|end|>` not count in DPO. How many answers will stop?
#
# Say first what the story predicts for each, and what the rival story does.
#
# ## Talk to all four
# `python -m nanouft.sample base out/lessons/00/sft out/lessons/00/ift out/lessons/00/dpo` is a chat with them. Try
# "Sort pig bee saw from a to z.", a question of your own, one about the colour of the luve, and no question at all.
#
# ## Exercises (take away the first `# ` of the lines that check you)
# **00a** (D0) Your guess with reasons: write one clue beside each letter before you look at the names. What goes wrong:
# the longest answer is taken for the best taught; the highest bar for the best answer; a pair that nothing tells apart
# is told apart all the same. And why is a question that was trained on no test?
#
# **00b** (D1) Write `my_score(answer)` for *Name three fruits but not fig, lime or kiwi. End on fox.* One fifth each:
# the last word is right; the other words, the items, are all fruits; there are three; none comes twice; none is
# forbidden. What goes wrong: the last word counts as an item; all or nothing; "figs" is taken for "fig".

# %%
# prompt = "Name three fruits but not fig, lime or kiwi. End on fox."
# answers = ("plum pear date fox", "plum fig fox", "plum pear date", "plum plum pear", "figs plum pear fox")
# marks = [1, 0.6, 0.8, 0.6, 0.8]
# assert all(abs(my_score(a) - m) < 1e-6 for a, m in zip(answers, marks)), "five checks, a fifth each, of whole words"
# assert all(abs(my_score(a) - world.score(prompt, a)) < 1e-6 for a in answers), "NanoWorld's own score says the same"

# %% [markdown]
# ## Recall, without looking up
# 1. What is shown to the model in SFT, and what in DPO?
# 2. What does a push of +1 say about a token, and what does it not say about the trained model?
# 3. Each pair of answers had `<|end|>` in both. Why did DPO only half learn to stop?
# 4. "DPO stops seldom because its rate is low": which run would have shown that, and what did it show?
