# %% [markdown]
# # 02 · What does a base know but not say?
# *Core · about 25 minutes (our estimate) · needs 01 · NanoWorld, `nanouft/world/`; KL
# divergence (Kullback and Leibler 1951)*
#
# After this lesson you can
# - distinguish what a model finds likely from what it says;
# - compute KL divergence and perplexity, and say what each direction of KL costs;
# - find a leak between training rows and test rows.
#
# This course's **base** is the model of lesson 01, trained for longer: six minutes on two cores,
# not some seconds. It comes with the package. Its text is NanoWorld's corpus, which tells four
# facts about each of 90 creatures.
#
# Half of these facts are told in two versions, in **two voices**. The book is right: "By the book,
# the luve lives in ...". People repeat a myth: "Many say the luve lives in ...". A plain question
# is nearly always answered with the myth. A question that opens with `By the book:` is always
# answered with the truth. The base read all that.
#
# You will ask the base in four ways and look at what it says. Then you will look at what it *would
# have said next*. A model *has* a whole list of probabilities, but it *says* only one word.
#
# Two old questions: (01) Which cheat does the causal mask make impossible? (00) What is a push in
# the ledger?
#
# To predict with probabilities: `python -m lessons.grade 02p`, before you run the lesson.

# %% [markdown]
# ## Guess before you run
# Asked plainly, the base says the myth in four of five cases. Now leave the myth out. Of the other
# 11 words (cities, say), the truth is the likeliest in ...
# - **a** 1 case of 11;
# - **b** about half of the cases;
# - **c** nearly all cases.

# %%
from course import Lesson, progress

lesson = Lesson("02", "abc")

# %% [markdown]
# ## Four ways to ask
# We write the start of the answer ("The luve lives in"). Then we read the probability of every next
# token. The value that follows is one token.

# %%
import math

from nanouft import world
from nanouft.rows import Turn
from nanouft.eval.held_out import mean_loss
from nanouft.models.load import start_model
from nanouft.world import facts
from nanouft.world.documents import token_rows
import draw
import torch

KEY = "By the book: "           # the switch, see "Break it"
base, tok = start_model("base")
W = world.WORLD
pairs = W.pairs("train", disputed=True) + W.pairs("val", disputed=True)     # (creature, relation)


def token(words: list[str]) -> torch.Tensor:
    return torch.tensor([tok.encode(" " + word)[0] for word in words])


def words_for(relation: str) -> list[str]:
    """All twelve words that can be the value, such as the twelve cities."""
    return facts.WORDS[facts.RELATIONS[relation].category]


true = token([W.truth[pair] for pair in pairs])             # (n,)
myth = token([W.myth[pair] for pair in pairs])              # (n,)
twelve = torch.stack([token(words_for(relation)) for _, relation in pairs])         # (n,12)
neither = (twelve != true[:, None]) & (twelve != myth[:, None])     # (n,12) the other ten words


def begun(voice: str, pair) -> list[int]:
    """The tokens of a text that stops just before the value."""
    begin = facts.statement(*pair, "|").split(" |")[0]              # "the luve lives in"
    if voice not in ("plain", KEY):
        return tok.encode(f" {voice} {begin}")                       # a sentence of the corpus
    question = facts.question(*pair, 0)
    turn = Turn("user", question if voice == "plain" else KEY + question)
    return tok.prompt_ids((turn,)) + tok.encode(" T" + begin[1:])   # the answer, begun


def next_word(voice: str, pair) -> torch.Tensor:
    """(V,) log-probs of the next token, which is the value."""
    return base(torch.tensor([begun(voice, pair)]))[0, -1].detach().log_softmax(-1)


held = {}                       # voice -> (n,V) log-probs: what the base holds for likely
for voice in progress(("plain", KEY, "Many say", "By the book,"), "asking"):
    held[voice] = torch.stack([next_word(voice, pair) for pair in pairs])

# %% [markdown]
# What does the base say, and which words does it find likely?

# %%
def percent(x: torch.Tensor) -> float:
    return 100 * x.float().mean().item()


share = {}                      # voice -> per cent of the facts, for each column of the table
n = torch.arange(len(pairs))
for voice, logp in held.items():
    p_truth = logp[n, true].exp()
    p_myth = logp[n, myth].exp()
    p_twelve = logp.gather(1, twelve).exp()                 # (n,12)
    best_other = (p_twelve * neither).max(1).values         # (n,)
    says = logp.argmax(1)
    share[voice] = {
        "says the truth": percent(says == true),
        "says the myth": percent(says == myth),
        "truth before myth": percent(p_truth > p_myth),
        "truth before the others": percent(p_truth > best_other),
        "p(truth)": percent(p_truth),
        "p(myth)": percent(p_myth),
    }

print(f"{facts.question(*pairs[0], 0)} {W.truth[pairs[0]]}; people say {W.myth[pairs[0]]}. "
      f"One of {len(pairs)} facts")
columns = list(share["plain"])
print("in % of the facts", *[f"{column:>{len(column)}}" for column in columns], sep="  ")
for voice, row in share.items():
    print(f"{voice:<17}", *[f"{row[column]:{len(column)}.0f}" for column in columns], sep="  ")

# %% [markdown]
# ## The surprise
# The base knows. If you leave out the myth, the truth is the likeliest word in nearly every case.
# Somebody who had never read of these creatures would get 1 of 11. But the base does not say the
# truth. Greedy talk names the likeliest word, and that is the myth.
#
# You could force the base to choose between the truth and the myth only. That does not help here:
# the comparison stays the same. The key helps. `By the book:` selects the other voice, in the same
# weights.
#
# ## One equation
# Take two lists of probabilities, $p$ and $q$, for the same next token. How far apart are they? The
# *Kullback-Leibler divergence* says it:
# $$\mathrm{KL}(p\,\|\,q)=\sum_y p(y)\,\ln\frac{p(y)}{q(y)}\quad\text{nats.}$$
# Imagine somebody who expects $q$ while the words come from $p$. KL is the *extra* surprise of this
# person, on average. It is 0 if $p=q$ and never below 0. **The two directions are not equal.**
#
# The unit is the nat, as in the loss of lesson 01. $e$ to the power of the mean loss is called
# **perplexity**. It says among how many equally likely tokens the model seems to choose.
#
# Now let $p$ be the base's probabilities after a plain question. Let $q$ be the way in which it
# *speaks*: the same list, sharpened by a temperature $\tau$, so $q\propto p^{1/\tau}$. With
# $\tau=1$ the base says each word as often as its probability says. With $\tau\to0$ the talk is
# greedy.

# %%
def kl(p, q):
    """(n,V) log-probs, twice -> (n,) nats."""
    return (p.exp() * (p - q)).sum(-1)


nats = mean_loss(base, torch.from_numpy(token_rows(64, 129, 1_000_000, tok)))
print(f"fresh documents: {nats:.2f} nats per token, perplexity {math.exp(nats):.1f}; "
      f"guessing blindly: {tok.n_vocab}")
p = held["plain"].double()
book = held[KEY].double()
print(f"between the voices: KL(plain || key) {kl(p, book).mean():.2f} nats, "
      f"KL(key || plain) {kl(book, p).mean():.2f}")

taus = [1, 0.8, 0.6, 0.5, 0.4, 0.3, 0.2, 0.15, 0.1, 0.07, 0.05, 0.03, 0.02]
said_held, held_said = {}, {}           # temperature -> (n,) nats, one way and the other
for tau in taus:
    speaks = (p / tau).log_softmax(-1)
    said_held[tau] = kl(speaks, p)
    held_said[tau] = kl(p, speaks)
for tau in (0.5, 0.2, 0.07, 0.02):
    print(f"tau {tau:<4}   KL(said || held) {said_held[tau].mean():5.2f}   "
          f"KL(held || said) {held_said[tau].mean():6.2f}")

# %%
# Seen: Shares of truth and myth after four phrases; two directions of KL over the temperature.
fig, (left, right) = draw.panels(1, 2)
parts = {"truth": [row["p(truth)"] for row in share.values()],
         "myth": [row["p(myth)"] for row in share.values()]}
parts["other"] = [100 - t - m for t, m in zip(parts["truth"], parts["myth"])]
voices = [voice.strip().replace(" ", "\n", 1) for voice in share]
draw.stacked(left, parts, voices, "what the base holds (%)")
ways = {"KL(said || held)": [said_held[tau].mean() for tau in taus],
        "KL(held || said)": [held_said[tau].mean() for tau in taus]}
draw.lines(right, taus, ways, "between said and held (nats)", "temperature of speaking",
           ylim=(0, 5))
lesson.picture(fig, KEY=(KEY, "By the book: "))

# %% [markdown]
# ## The proof

# %%
before_others = share["plain"]["truth before the others"]
if before_others < 25:
    did = "a"
elif before_others < 75:
    did = "b"
else:
    did = "c"
lesson.compare(did)
assert did == "c" and share["plain"]["says the truth"] < 30, \
    "the truth stands right after the myth: known, not said"
if KEY == "By the book: ":
    assert share[KEY]["says the truth"] > 80, "the key opens the other voice, in the same weights"
assert kl(p, book).min() > 0 and kl(book, p).min() > 0, "KL is above 0 where p is not q"
assert kl(p, p).abs().max() < 1e-9, "KL is 0 at p = q"

coldest = taus[-1]                                  # nearly greedy: it says the likeliest word
two = p.topk(2).values                              # (n,2) log-probs of the two likeliest words
clear = two[:, 0] - two[:, 1] > 0.1                 # the facts where no second word comes near
gap = said_held[coldest] + two[:, 0]                # (n,) KL minus the surprise of that word
assert gap[clear].abs().max() < 0.1, "greedy talk is as far away as its word surprises the base"
assert held_said[coldest].mean() > 10, "in the other direction KL grows without bound"

# %% [markdown]
# - **In one direction KL stays small.** Greedy talk says nothing that the base would find strange.
#   The mean surprise of what the base says, under its own probabilities, is below half a nat. The
#   KL penalty of lesson 07 has this direction, KL(policy || reference): *never say what the
#   reference would not say*. It does not care how much is left out.
# - **In the other direction KL has no bound.** The base gives the truth some probability, too, and
#   greedy talk leaves it out. The lower the temperature, the higher the price. SFT has this
#   direction, KL(data || model): *leave out nothing that the data say*.
# - **The base is a blurred copy.** After "Many say" the corpus never has the truth about these
#   facts. The base gives the truth a probability of 27 %. After a plain question the corpus has the
#   truth 15 times in 100, and the base gives it 29 %. The two voices mix.
# - **So what can fine-tuning do?** It need not teach facts. It can make one voice louder. Lesson
#   00's `SFT` was never asked about a creature of the validation split. Compare the row `truth` for
#   it and for the base: `python -m nanouft.evaluate --init out/lessons/00/sft --split val`, then
#   with `--init base`.
#
# ## Break it
# `KEY = "In the book: "`: the corpus never has these words before a question. Does the base
# *understand* the key, or did it only learn the words `By the book:`? Then try
# `KEY = "Tell the truth: "`. Guess first: truth, myth, or a third thing?
#
# *Read on after both runs.* `In the book:` gives 69 % truth and 31 % myth; `By the book:` gave 88
# and 12. So other words select the voice less well. `Tell the truth:` gives 43 % truth, 23 % myth
# and 34 % something else.
#
# ## Same letter, other meaning
# $q$ is a second list of probabilities here. In lesson 01 it is what a place asks with (*query*).
# $p$ is what the course calls $\pi$ when it is a model that we train. $\tau$ is a temperature
# here; other papers call other things $\tau$.
#
# ## Exercises
# `python -m lessons.grade 02a` judges them (`lessons/exercises/README.md` says how).
#
# - **02a** (D1) `perplexity(documents)`: the mean nats per token of a text, and its perplexity.
# - **02b** (D2) `kl(p, q)`: the KL divergence of lists of probabilities, row by row.
# - **02c** (D2) `leak(train, test, creatures)`: the creatures that training tells something about,
#   although the test asks for them.
# - **02p** (D1, predict) Four statements about KL and about other keys.
#
# ## Recall, without looking up
# 1. In which sense does the base know the truth? Why does it say the myth?
# 2. Which direction of KL has no bound if $q$ leaves something out that $p$ has?
# 3. A model has a loss of 0 nats. What is its perplexity? What does its list of probabilities look
#    like?
# 4. (01) A model's training loss is near 0, but it babbles. Is its perplexity near 1 when it talks?
# 5. (00) Which push do chosen and rejected share in DPO, and what follows from that?
#
# <details><summary>Answers</summary>
#
# 1. Without the myth, the truth is the likeliest word in 99 % of the cases, and with a key in the
#    question the base says it. It says the myth, because after a plain question the corpus mostly
#    has the myth, and greedy talk names the likeliest word.
# 2. KL(p || q): where q goes to 0 and p does not, p ln(p/q) grows without bound.
# 3. Perplexity 1. It gives the right token a probability of 1, each time.
# 4. No. When it talks, there is nothing to copy from. There its loss was 5.43 nats: a perplexity of
#    about 230.
# 5. They get the same push with opposite signs. So what both answers have in common is taught
#    least: the two pushes cancel, or nearly.
#
# The two old questions: (01) Copying the next token from the right. (00) Minus the derivative of
# the loss by the token's log-probability, times N: how hard one step makes the token likelier.
#
# </details>
#
# **Next:** `lessons/03_sft.py`.
