# %% [markdown]
# # 04 · The model's own guess
# IFT lets a model read its own guesses in training. Then you put a wrong first word into its mouth:
# who finds back to the right answer?
#
# *About 15 minutes; read 03 first. Intuitive fine-tuning (IFT), arXiv:2405.11870v3, Eq. 17,
# `nanouft/objectives/ift.py`.*
#
# In SFT the model reads a demonstrator's words and never its own mistakes. Lesson 03 called this
# exposure bias. IFT answers with the **temporal residual**: wherever the model reads a word of the
# answer, a share $\lambda$ of it is the word that the model itself would have put there,
# $$s_i=(1-\lambda)\,E(x_i)+\lambda\,E(g_i),$$
# and it must still predict the demonstrator's *next* word. $E(x)$ is the embedding of a word, $x_i$
# the demonstrator's word and $g_i$ the guess, which is **wrong** if it is another word. The mixture
# $s_i$ is the **blend**. With $\lambda=0$ it is what SFT reads; the paper takes 0.2.
# It promises a better *estimate* of what the model prefers, which lesson 05 tests. Here we ask for
# something that its idea suggests: does such a model recover from a mistake?
#
# ## Guess
# Models learn to reverse a list. Say that the answer is "saw bee pig cow hen" and we force "cow" as
# its first word. Whoever finds back goes on with "bee pig cow hen". After SFT 37 % of the answers
# do. How many per cent do if all words of the answers that the model read in training were its own
# guesses (lam 1)? Write down a number from 0 to 100.

# %%
from course import Lesson, train

CHANGE = ""                     # change one thing: "" | "another", see below
lesson = Lesson("04", CHANGE)
CHANGE = lesson.change

# %% [markdown]
# ## What the model reads
# **Write it first.** The guess *for* a position is made one position earlier, so the row of guesses
# has to be shifted before it lies beside the answer; the question is never guessed. `own_guess` of
# `lessons/exercises/ex04.py` (04a) does this. The lesson runs with yours if it is right, and with
# ours until you begin.

# %%
import draw
import torch

from nanouft import world
from nanouft.generate import generate
from nanouft.gpt import shipped_base
from nanouft.simple import token_logp, tokens
from nanouft.models.tokenizer import nano

STEPS, ROWS, SETS, LAMS = 56, 32, (3, 4, 5), (0.0, 0.2, 0.5, 1.0)
base, tok, chance = shipped_base(), nano(), torch.Generator()
own_guess = lesson.yours("04a")


@torch.no_grad()
def guesses(model, inputs, mask):
    """(B,T) ids: what is read, with lam 1, in the place of each word of the answer."""
    guess = own_guess(inputs, mask, model(inputs).argmax(-1))
    if CHANGE == "another":                     # a wrong guess becomes any word of the answer
        word = torch.zeros_like(mask)
        word[:, 1:] = mask[:, :-1] * (inputs[:, 1:] != tok.end)
        drawn = torch.multinomial(word, word.shape[1], True, generator=chance)
        guess = torch.where(guess != inputs, inputs.gather(1, drawn), inputs)
    return guess


def loss_of(lam: float):
    def loss(model, some):
        """No gradient flows into what is read, as in the code released with the paper."""
        inputs, targets, mask = tokens(some, "answer", tok)
        with torch.no_grad():
            read = model(inputs, want="embeds")
            if lam:
                read = (1 - lam) * read + lam * model(guesses(model, inputs, mask), want="embeds")
        nll = -token_logp(model(embeds=read), targets) * mask
        return (nll.sum(-1) / mask.sum(-1)).mean()
    return loss


# %% [markdown]
# ## A mistake that cannot be taken back
# Each model answers 80 new questions alone, and again after a wrong first word, a later word of the
# right answer. **Recovered** means that all the rest is the demonstrator's. Another model may say
# the missed first word after all: then each word after it comes one place too late. Everything
# is done with three sets of rows, for training and for the questions.

# %%
def tried(model, tests) -> dict[str, float]:
    """Per cent: whole answers and single words that are right, alone and after the mistake."""
    prompts = [tok.prompt_ids(row.prompt) for row in tests]
    right = [tok.chat(row.prompt, row.answer)[0][len(ids):-1] for row, ids in zip(tests, prompts)]
    forced = [answer[2 + k % (len(answer) - 3)] for k, answer in enumerate(right)]  # 3rd, 4th ...
    out = {}
    for what, begun, rest in (("right alone", prompts, right),
                              ("recovers", [p + [w] for p, w in zip(prompts, forced)],
                               [answer[1:] for answer in right])):
        said = [answer.ids for answer in generate(model, begun, stop=tok.stops, pad=tok.pad)]
        same = [k < len(a) and a[k] == w for a, b in zip(said, rest) for k, w in enumerate(b)]
        out[what] = 100 * sum(a == b for a, b in zip(said, rest)) / len(rest)
        out[f"words, {what}"] = 100 * sum(same) / len(same)
    out["first word after all"] = 100 * sum(a[:1] == b[:1] for a, b in zip(said, right)) / len(said)
    return out


found: dict = {lam: [] for lam in LAMS}         # lam -> what was found with each set of rows
for rows in SETS:
    demos = [row for step in range(STEPS) for row in world.rows(
        "train", "demos", ROWS, 1000 * rows + step + 1, skills=("reverse",))]
    tests = world.rows("val", "demos", 80, rows, skills=("reverse",))
    chance.manual_seed(rows)
    for lam in LAMS:
        model = train(base, loss_of(lam), demos, STEPS, 3e-4, f"lam {lam}", falls=True)
        found[lam].append(tried(model, tests))
mean = {lam: {what: sum(x[what] for x in sets) / len(sets) for what in sets[0]}
        for lam, sets in found.items()}
for lam in LAMS:
    print(f"lam {lam}:", "; ".join(f"{what} {x:.0f} %" for what, x in mean[lam].items()))

# %%
fig, ax = draw.panels()
WHAT = "right alone", "recovers"
draw.lines(ax, LAMS, {what: [mean[lam][what] for lam in LAMS] for what in WHAT},
           "Who finds back after a wrong first word?",
           "lam: share of " + ("another's mistakes" if CHANGE else "its own guesses") + " that it "
           "read in training", "% of 80 answers", ylim=(0, 103))
for lam in LAMS:
    for what, ink, mark in zip(WHAT, draw.INKS, "os"):                  # each set of rows
        ax.plot([lam] * len(SETS), [x[what] for x in found[lam]], mark, color=ink, alpha=0.6)
lesson.picture(fig)

# %%
for sft, most in zip(found[0.0], found[1.0]):
    assert most["recovers"] > sft["recovers"] + 20, "who reads mistakes recovers more often"
assert CHANGE or mean[0.2]["recovers"] < mean[0.0]["recovers"] + 15, "a fifth buys little of that"
lesson.compare(mean[1.0]["recovers"], "%")

# %% [markdown]
# ## What happened
# Reading its own guesses teaches a model to recover: 76 % do so with $\lambda=1$, and 37 % after
# SFT. With the paper's 0.2 it is 38 %, with 0.5 it is 48 %. Four fifths of the truth are still the
# truth, so such a model may go on trusting what it reads. The price is 10 points alone: 98 % of the
# answers of SFT are right, and 88 % of those with $\lambda=1$.
#
# **Exposure bias in two numbers.** Of the words that SFT says alone, 100 % are right, and 83 % of
# those after a mistake. With $\lambda=1$ these are 98 and 96 %: the gap is all but gone. SFT's
# typical fault is politeness: in 50 % of the answers it says the missed first word after all.
#
# The settings were chosen on three other sets of rows. On these three and five more, so eight of
# eight, more answers recover with $\lambda=1$ than after SFT: by 31 to 59 points, 79 % and 31 % on
# average. Alone 90 % and 98 % are right. One task and one base: nothing more is shown.
#
# ## Change one thing
# Do the model's *own* mistakes teach this? With `CHANGE = "another"` each wrong guess is replaced
# by any word of the right answer: about as many mistakes in the same places, but not the model's.
# How many per cent recover now with lam 1? Write down a number from 0 to 100.
#
# <details><summary>After your run</summary>
#
# 62 %, which is nearer to the 76 % of its own guesses than to the 37 % of SFT. Over the eight sets,
# with other draws, it is 69 %, beside 79 and 31. So most of the gain comes from reading wrong words
# at all, about as often as one makes them; that they are one's own adds a little. They also fade as
# the model learns. Noise that stays does not help: with a random word of the row in each place 3 %
# recover, and 3 % are right alone (three sets, not run here).
#
# </details>
#
# ## Exercise
# **On paper.** The answer x y z follows a question, and the guesses for it are x w z. For which of
# its losses does $\lambda$ matter: those of x, y, z and `<|end|>`?
#
# <details><summary>Answer</summary>
#
# Those of z and `<|end|>`: the first wrong guess, w, is read after y has been predicted. That z is
# guessed right changes nothing any more, because the mixture of y and w is still in view.
#
# </details>
#
# **In your own program.** This lesson unlocks the part `mix_in_own_guess` of your `mine.py` (lesson
# 02 says how it begins). A value alone cannot show whether gradient flows through your blend;
# `python -m lessons check mine` compares gradients too.
#
# ## Two questions
# 1. With $\lambda=1$ no word of the answer is read as it stands. Why does the model learn it?
# 2. Each guess follows the demonstrator's words. What has the model still never read?
#
# <details><summary>Answers</summary>
#
# 1. The question is read as it stands, and soon most of the guesses are the demonstrator's words.
# 2. A guess that was made after another wrong guess. Left alone, it reads those.
#
# </details>
