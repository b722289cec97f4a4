# %% [markdown]
# # 04 · The model's own guess
# IFT mixes the model's own guesses into the answer that it reads. Build that blend, find two
# properties of it, check them, and watch which guesses become right.
#
# *About 20 minutes; read 03 first. Intuitive fine-tuning (IFT), arXiv:2405.11870v3, Eq. 17,
# `nanouft/objectives/ift.py`.*
#
# During SFT the model has an easy life. It is asked for the fourth word of an answer, but it may
# read the first three as a human wrote them. When it later answers by itself, it reads its own
# first three words, with all their mistakes. Nobody has ever shown it how to go on from there.
# Lesson 03 called this gap between training and use exposure bias.
#
# IFT tries to close part of the gap with a simple idea, the **temporal residual**. Wherever the
# model reads a word of the demonstrated answer, IFT mixes in the word that the model itself would
# have put there.
#
# ## Guess
# We train for 40 steps on two tasks: "Reverse pig bee saw." and "Name two cities but not Doha, Oslo
# or Rome. End on fox." At the end the model's own guess is nearly always the demonstrator's word in
# ...
# - **a** the lists only;
# - **b** neither of them;
# - **c** both;
# - **d** the reversals only.

# %%
from course import Lesson, train

CHANGE = ""                     # change one thing: "" | "prompt", see below
lesson = Lesson("04", CHANGE)
CHANGE = lesson.change

# %% [markdown]
# ## The guess
# We begin without any training. The base reads the right answer word by word, and we note which
# word it expects next.
#
# One detail decides whether the code is right. The guess *for* position $i$ is made *at* position
# $i-1$, after the model has read everything up to there. So the row of guesses has to be shifted to
# the right by one position before it can be laid beside the answer. Only words of the answer are
# replaced: the user wrote the question, and the model is never asked to guess it. Choosing the most
# likely word is not differentiable, so no gradient flows through a guess.
#
# **Write it first.** `own_guess` of `lessons/exercises/ex04.py` (04a) is this paragraph in a few
# lines. The lesson runs with yours if it is right. A wrong one is refused before anything is
# trained, and until you begin ours stands in.

# %%
import draw
import torch

from nanouft import world
from nanouft.gpt import shipped_base
from nanouft.simple import token_logp, tokens
from nanouft.models.tokenizer import nano

STEPS, ROWS, TASKS = 40, 32, ("reverse", "list")
base, tok = shipped_base(), nano()


own_guess = lesson.yours("04a")


@torch.no_grad()
def guesses(model, inputs, mask):
    """(B,T) ids: the model's guess for each token of the answer, elsewhere the true token."""
    if CHANGE == "prompt":
        mask = torch.ones_like(mask)                    # guesses for the question as well
    return own_guess(inputs, mask, model(inputs).argmax(-1))


def words_of(inputs, mask):
    """(B,T) True where the model reads a word of the answer; `mask` is about the targets."""
    word = torch.zeros_like(mask, dtype=torch.bool)
    word[:, 1:] = (mask[:, :-1] == 1) & (inputs[:, 1:] != tok.end)
    return word


rows = {task: world.rows("val", "demos", 40, 0, skills=(task,)) for task in TASKS}
tests = {task: tokens(rows[task], "answer", tok) for task in TASKS}
inputs, _, mask = tests["reverse"]
word = words_of(inputs, mask)[0]
print(rows["reverse"][0].prompt[0].text)
print("  right answer:", tok.decode(inputs[0][word].tolist()))
print("  base's guess:", tok.decode(guesses(base, inputs, mask)[0][word].tolist()))

# %% [markdown]
# The base sees the true beginning each time. Once it has read "cow melon pig goat", the list in the
# question tells it that "lemon" is next, so six of the eight guesses are right. It goes wrong at
# the first position, where it begins to copy the list from the front, and at the fourth. These two
# are its **wrong guesses**: here the model, left alone, would not have written the demonstrator's
# word.
#
# ## The blend
# A word enters the network as a list of numbers, its embedding $E(x)$. So we can mix two words,
# although there is no word halfway between "goat" and "rat". In place of $E(x_i)$ the model now
# reads
# $$s_i=(1-\lambda)\,E(x_i)+\lambda\,E(g_i),$$
# where $g_i$ is its own guess, and it must still predict the demonstrator's next word. With
# $\lambda=0$ the loss is that of SFT. The gradient lacks one part: none flows back into the blend.
# So the embeddings learn as weights of the output layer, with which they are shared, and not as
# what the model reads. The paper uses $\lambda=0.2$, so four fifths of that is still the truth.
#
# Two properties follow before we train anything. First, the loss of the first word of an answer
# cannot depend on $\lambda$, because that word is predicted from the question alone. Second, as
# long as guess and answer agree, both halves of the blend are the same word. So nothing changes
# until the model has read its first wrong guess. The next cell checks both on 80 answers that the
# base has never seen, and prints what the blend does to the loss.

# %%
def blend(model, inputs, mask, lam: float):
    """(B,T,C) what IFT reads; no gradient, as in the code that its authors released."""
    with torch.no_grad():
        guess = guesses(model, inputs, mask)
        return (1 - lam) * model(inputs, want="embeds") + lam * model(guess, want="embeds")


def nll(model, inputs, targets, mask, lam: float):
    """(B,T) nats: -log p of each target when the model reads the blend."""
    return -token_logp(model(embeds=blend(model, inputs, mask, lam)), targets)


holds = {}                          # (task, property) -> does it hold for these answers?
for task, (inputs, targets, mask) in tests.items():
    with torch.no_grad():
        losses = {lam: nll(base, inputs, targets, mask, lam) for lam in (0.0, 0.2, 1.0)}
    means = [f"{(x * mask).sum() / mask.sum():.2f} at lam {lam:.1f}" for lam, x in losses.items()]
    print(f"{task}: loss {', '.join(means)}")
    change = (losses[1.0] - losses[0.0]).abs()
    first = (mask.cumsum(1) == 1) & (mask > 0)
    holds[task, "first"] = bool(change[first].max() < 1e-3)
    assert CHANGE or holds[task, "first"], "the loss of the first word does not depend on lam"
    wrong = guesses(base, inputs, mask) != inputs
    read = wrong.cumsum(1) > 0                          # a wrong guess has been read here
    assert (~read).any(), "some targets come before a wrong guess"
    holds[task, "second"] = bool(change[~read].max() < 1e-3)
    assert CHANGE or holds[task, "second"], "until a wrong guess is read, lam changes nothing"
    assert change[read].max() > 1e-3, "after that it does"

# %% [markdown]
# ## Watching the guesses during training
# Now we train two models on both tasks: one with $\lambda=0.2$, and one with $\lambda=0$. The
# second is SFT with its input frozen: no gradient flows into what it reads. We call the first one
# `IFT's blend` and not IFT, because IFT has a second idea, different weights for words, that comes
# in lesson 06. After every fourth step both models guess the words of the 80 answers, and we count
# the wrong guesses.
#
# We also ask what a wrong guess is worth, of the base and at the end. We put each into the right
# answer, leave all other words as they are, and let NanoWorld score the result. If it is still a
# right answer, the guess was no mistake.

# %%
@torch.no_grad()
def wrong_guesses(model, task: str):
    """(B,T) True where the model's guess for a word is not the demonstrator's word."""
    inputs, _, mask = tests[task]
    return (guesses(model, inputs, mask) != inputs) & words_of(inputs, mask)


def percent_wrong(model) -> dict[str, float]:
    """task -> wrong guesses, in per cent of the words."""
    words = {task: words_of(inputs, mask).sum() for task, (inputs, _, mask) in tests.items()}
    return {task: (100 * wrong_guesses(model, task).sum() / words[task]).item() for task in TASKS}


def watch(name: str, lam: float) -> tuple:
    """A trained model, and its wrong guesses before training and after every fourth step."""
    def loss_of(model, demos):
        inputs, targets, mask = tokens(demos, "answer", tok)
        return ((nll(model, inputs, targets, mask, lam) * mask).sum(-1) / mask.sum(-1)).mean()

    seen = []
    model = train(base, loss_of, demos, STEPS, 3e-4, name,
                  look=lambda x: seen.append(percent_wrong(x)))
    return model, seen


def still_right(task: str, guess, row: int, position: int) -> bool:
    """Is this answer still right with the guess in this position?"""
    inputs, _, mask = tests[task]
    said = inputs[row].clone()
    said[position] = guess[row, position]
    text = tok.decode(said[words_of(inputs, mask)[row]].tolist()).strip()
    return world.score(rows[task][row].prompt[0].text, text) == 1


demos = [row for step in range(1, STEPS + 1)
         for row in world.rows("train", "demos", ROWS, step, skills=TASKS)]
models, runs = {"base": base}, {}
for name, lam in (("IFT's blend", 0.2), ("SFT, input frozen", 0.0)):
    models[name], runs[name] = watch(name, lam)
also_right = {}                 # (model, task) -> of each wrong guess: is it right as well?
for task, (inputs, _, mask) in tests.items():
    for name, model in models.items():
        guess, wrong = guesses(model, inputs, mask), wrong_guesses(model, task).nonzero().tolist()
        fine = also_right[name, task] = [still_right(task, guess, *at) for at in wrong]
        print(f"{task}, {name}: {percent_wrong(model)[task]:.0f} % of the guesses are wrong; of "
              f"these {len(fine)} make {sum(fine)} another right answer")

# %% [markdown]
# ## What happened
# In a reversal only one word can be right at each position. Half of the base's guesses are wrong,
# and 1 % after 40 steps. Then the two parts of the blend are nearly always the same word, and by
# the second property every $\lambda$ trains alike, 0 included.
#
# In a list many words are right, and nobody can know which cities the demonstrator will name. So 54
# % of the guesses still differ from the demonstration at the end. Most are no mistakes: of the
# base's 102 wrong guesses 84 make another right answer, and after training with the blend 85 of 97.
# So the blend mostly adds another good word, and no error from which the model could learn to
# recover. Nor does it make the next word much harder to predict: the base's loss on lists, printed
# above, only rises from 1.36 to 1.39.
#
# Both runs end alike, although with $\lambda=0$ no guess is read. The share of wrong guesses is one
# minus the accuracy of predicting the next word, and any training on these answers raises that. So
# the guesses do not become right because the model reads them.

# %%
fig, ax = draw.panels()
names = {"reverse": "reversals", "list": "lists"}
curves = {f"{names[task]}, {name}": [look[task] for look in seen]
          for name, seen in runs.items() for task in TASKS}
title = "Wrong guesses go where one word is right, and stay where many are"
if CHANGE:
    title = "The words of the question are guesses as well"
draw.lines(ax, range(0, STEPS + 1, 4), curves, title, "step", "wrong guesses, % of the words",
           ylim=(-4, 65))
lesson.picture(fig)

# %%
last = runs["IFT's blend"][-1]
if not CHANGE:
    for name in models:
        reverse, lists = (also_right[name, task] for task in TASKS)
        assert sum(reverse) == 0, "no wrong guess of a reversal is right as well"
        assert 2 * sum(lists) > len(lists), "most wrong guesses of a list are right as well"
    agrees = last["reverse"] < 10, last["list"] < 10
    lesson.compare({(True, True): "c", (True, False): "d", (False, True): "a"}.get(agrees, "b"))
else:
    kept = tuple(all(holds[task, which] for task in TASKS) for which in ("first", "second"))
    print("both kinds: the first property", "holds" if kept[0] else "fails",
          "and the second", "holds" if kept[1] else "fails")
    lesson.compare({(True, True): "a", (True, False): "b", (False, True): "c"}.get(kept, "d"))

# %% [markdown]
# ## Change one thing
# With `CHANGE = "prompt"` the words of the question are replaced by guesses as well. Count a wrong
# guess wherever it is read, in the question too. Which of the two properties above still holds, and
# why?
# - **a** both;
# - **b** only the first;
# - **c** only the second;
# - **d** neither.
#
# <details><summary>After your run</summary>
#
# The first fails, because the model now reads guesses before the first word of the answer. The
# second still holds: until any wrong guess is read, both halves of the blend are the same. Few
# words come before one, since a question's first words can hardly be guessed. Training suffers: the
# wrong guesses in reversals stay at 51 %, where $\lambda=0$ brings them to 1 %.
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
# 02 says how it begins): the guesses, shifted, only in the answer, and mixed into the embeddings.
# A value alone cannot show whether gradient flows
# through your blend; `python -m lessons check mine` compares gradients too.
#
# ## Two questions
# 1. Each guess starts from the demonstrator's words so far. Why is that not yet the model's own
#    path?
# 2. In one of your runs 30 % of the guesses stay wrong. Name a harmless reason and a serious one.
#
# <details><summary>Answers</summary>
#
# 1. Each guess is one step away from the demonstration, and the next one starts from the true words
#    again. When a model answers by itself, every word follows its own words, and mistakes add up.
# 2. A harmless one is that many words are right, as in lists. A serious one is that the model does
#    not learn, or that the row of guesses is not shifted.
#
# </details>
