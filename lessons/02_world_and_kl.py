# %% [markdown]
# # 02 · What does a base know but not say?
# *Core · about 25 minutes (estimated, n=0) · needs 01 · NanoWorld, `nanouft/world/`; KL divergence (Kullback and
# Leibler 1951)*
#
# The model of lesson 01, trained longer (six minutes on two cores, not some seconds) on NanoWorld's corpus, is this
# course's **base**; it is shipped with the package. The corpus tells of 90 creatures, four facts each, and of half of
# these facts it tells two versions, in **two voices**: the book is right ("By the book, the luve lives in ..."), people
# repeat a myth ("Many say the luve lives in ..."). A plain question is nearly always answered with the myth; a question
# that opens with `By the book:` always with the truth. The base read all that. You will ask it in four ways, look at
# what it says, and then at what it *would have said next*: it holds a whole list of probabilities and says one word.
#
# Two old questions: (01) which cheat does the causal mask make impossible? (00) what is a push, in the ledger?

# %% Guess before you run. Nothing is checked, but the lesson will remind you.
MY_GUESS = None   # Asked plainly, the base says the myth in four of five cases. Of the 11 other words (cities, say), it
                  # finds the truth the likeliest in ...   "a" 1 of 11   "b" about half   "c" nearly all cases

# %% [markdown]
# ## Four ways to ask
# We begin the answer ("The luve lives in") and read off the probability of every next token. The value is one token.

# %%
from nanouft.look.held_out import mean_loss
from nanouft.models.load import start_model
from nanouft.world.documents import token_rows
from nanouft.data.rows import Turn
from nanouft import world
from nanouft.look import plots

from nanouft.world import facts
import torch                                            # after nanouft, which lets idle threads sleep

KEY = "By the book: "                                   # the switch, see "Break it"
torch.set_num_threads(2)                                # fp32, two threads: nearly equal on each machine
(base, tok), W = start_model("base"), world.WORLD
pairs = [p for split in ("train", "val") for p in W.pairs(split, disputed=True)]    # (creature, what is asked about)


def token(words: list[str]) -> torch.Tensor:
    return torch.tensor([tok.encode(" " + w)[0] for w in words])


true, myth = (token([table[p] for p in pairs])[:, None] for table in (W.truth, W.myth))
twelve = torch.stack([token(facts.WORDS[facts.RELATIONS[relation].category]) for _, relation in pairs])


def next_word(voice: str, pair) -> torch.Tensor:        # (V,) log-probs of the token that the value is told in
    said = facts.statement(*pair, "|").split(" |")[0]   # "the luve lives in"
    turn = Turn("user", voice.replace("plain", "") + facts.question(*pair, 0))
    start = tok.prompt_ids((turn,)) + tok.encode(" T" + said[1:]) if voice in ("plain", KEY) else tok.encode(
        f" {voice} {said}")
    return base(torch.tensor([start]))[0, -1].detach().log_softmax(-1)


held = {v: torch.stack([next_word(v, p) for p in pairs]) for v in ("plain", KEY, "Many say", "By the book,")}
print(f"{facts.question(*pairs[0], 0)} {W.truth[pairs[0]]}; people say {W.myth[pairs[0]]}. One of {len(pairs)} facts")
print("in % of them    | says the truth, the myth | truth before myth, before all others | p(truth), p(myth)")
share = {}
for voice, logp in held.items():
    (t, m), said = (logp.gather(1, i) for i in (true, myth)), logp.argmax(1, keepdim=True)
    others = logp.gather(1, twelve).masked_fill((twelve == true) | (twelve == myth), -torch.inf).max(1, True).values
    seen = (said == true, said == myth, t > m, t > others, t.exp(), m.exp())
    share[voice] = [100 * x.float().mean().item() for x in seen]
    print("{:<16}|{:15.0f}{:10.0f} |{:18.0f}{:19.0f} |{:9.0f}{:9.0f}".format(voice, *share[voice]))

# %% [markdown]
# It knows. Of all words but the myth, the truth is the likeliest in nearly every case; somebody who had never read of
# these creatures would get 1 of 11. And it does not say so: greedy talk names the likeliest word, and that is the myth.
# A **forced choice** between just these two helps nothing here, it is the same comparison. The key does: `By the book:`
# opens the other voice, in the same weights.
#
# ## One equation
# How far apart are two lists of probabilities $p$ and $q$ for the same next token? *Kullback-Leibler divergence*:
# $$\mathrm{KL}(p\,\|\,q)=\sum_y p(y)\,\ln\frac{p(y)}{q(y)}\quad\text{nats.}$$
# It is the *extra* surprise of somebody who lives where words come from $p$ and bets on $q$. It is 0 if $p=q$, never
# below, and **not the same the other way round**. (Nats are what lesson 01's loss counts, natural logarithms; $e$ to
# the mean loss is the **perplexity**: among how many equally likely tokens does the model seem to waver?)
#
# Take $p$ = what the base holds after a plain question, and $q$ = the way it *speaks*: its own list, sharpened by a
# temperature $\tau$, $q\propto p^{1/\tau}$. $\tau=1$ says each word as often as it is held, $\tau\to0$ is greedy talk.

# %%
def kl(p, q):                                           # (n,V) log-probs, twice -> (n,) nats
    return (p.exp() * (p - q)).sum(-1)


nats = mean_loss(base, torch.from_numpy(token_rows(64, 129, 1_000_000, tok)))
print(f"fresh documents: {nats:.2f} nats a token, perplexity {2.71828 ** nats:.1f}; guessing blindly: {tok.n_vocab}")
p, book = held["plain"].double(), held[KEY].double()
print(f"between the voices: KL(plain || key) {kl(p, book).mean():.2f} nats, KL(key || plain) {kl(book, p).mean():.2f}")
taus = [1, 0.8, 0.6, 0.5, 0.4, 0.3, 0.2, 0.15, 0.1, 0.07, 0.05, 0.03, 0.02]
both = [((p / tau).log_softmax(-1), p) for tau in taus]                     # (what is said, what is held)
said_held, held_said = [kl(q, p) for q, p in both], [kl(p, q) for q, p in both]
for tau, one, other in list(zip(taus, said_held, held_said))[3::3]:
    print(f"tau {tau:<4}   KL(said || held) {one.mean():5.2f}   KL(held || said) {other.mean():6.2f}")

# %%
plots.plt.rcParams["font.size"] = 16
fig, (left, right) = plots.plt.subplots(1, 2, figsize=(15, 6.5))
parts, floor = torch.tensor([[*x[4:], 100 - sum(x[4:])] for x in share.values()]).T, torch.zeros(len(share))
for name, part, hatch, c in zip(("truth", "myth", "other"), parts, ("", "//", ".."), (*plots.LINES[:2], plots.GREY)):
    bars = left.bar([v.strip() for v in share], part, 0.7, floor, label=name, hatch=hatch, color=c, edgecolor="white")
    left.bar_label(bars, fmt="%.0f", label_type="center", bbox={"fc": "white", "ec": "none", "pad": 2})
    floor = floor + part
left.set(title="what the base holds (%)", ylim=(0, 118)), left.legend(frameon=False, ncol=3, loc="upper center")
right.plot(taus, [x.mean() for x in said_held], "o-", color=plots.UP, lw=3, label="KL(said || held)")
right.plot(taus, [x.mean() for x in held_said], "s--", color=plots.DOWN, lw=3, label="KL(held || said)")
right.set(title="between said and held (nats)", xlabel="temperature of speaking", ylim=(0, 5)), right.legend()
print("picture:", plots.save(fig, plots.Path("out/lessons/02.png")))

# %% [markdown]
# ## The proof

# %%
did = "a" if share["plain"][3] < 25 else "b" if share["plain"][3] < 75 else "c"
print(f"you guessed {MY_GUESS!r};" if MY_GUESS else "you wrote no guess (MY_GUESS, above);", f"it did {did!r}")
assert did == "c" and share["plain"][0] < 30, "the truth stands right behind the myth: known, not said"
assert KEY != "By the book: " or share[KEY][0] > 80, "the key opens the other voice, in the same weights"
assert min(kl(p, book).min(), kl(book, p).min()) > 0 and abs(kl(p, p)).max() < 1e-9, "KL is 0 at p = q, else above"
clear = p.topk(2).values.diff()[:, 0] < -0.1            # the likeliest word is well ahead of the second
assert (said_held[-1] + p.max(1).values)[clear].abs().max() < 0.1 < 10 < held_said[-1].mean(), \
    "who says only the likeliest word is off by -ln p of it one way, and without bound the other way"

# %% [markdown]
# - **One way it stays small.** Greedy talk says nothing that the base would find strange: the mean surprise of what is
#   said, under what is held, is below half a nat. This is the leash of lesson 07, KL(policy || reference): *never say
#   what the reference would not*. It does not mind how much is left out.
# - **The other way it has no bound.** What is held holds the truth, too, and greedy talk leaves it out: the lower the
#   temperature, the higher the price. This is SFT's direction, KL(data || model): *leave out nothing the data say*.
# - **The base is a blurred copy.** After "Many say" the corpus never has the truth about these facts; the base holds it
#   at 27 %. After a plain question the corpus has it 15 times in 100, the base holds it at 29 %. The two voices mix.
# - **So what can fine-tuning do?** Facts need not be taught, only a voice turned up. Lesson 00's `SFT` was never asked
#   about a creature of the validation split; look at the row `truth` for it and for the base:
#   `python -m nanouft.evaluate --init out/lessons/00/sft --split val`, then with `--init base`.
#
# ## Break it
# `KEY = "In the book: "`: the corpus never has that in front of a question. Does the base *understand* the key, or has
# it learnt these letters? Then `KEY = "Tell the truth: "`. Guess first: truth, myth, or a third thing?
#
# ## Same letter, other meaning
# $q$ here: a second list of probabilities. In lesson 01: what a place asks with (*query*). $p$ here is what the course
# calls $\pi$ as soon as it is a model that we train. $\tau$: a temperature here; other papers call other things so.
#
# ## Exercises (take away the first `# ` of the lines that check you)
# **02a** (D1) Write `my_perplexity(documents)` -> (nats a token, perplexity); a document is a list of the probabilities
# that its tokens got. What goes wrong: logarithms to base 2; the mean of the exponentials; a mean for each document.

# %%
# nats, perplexity = my_perplexity([[1 / 8, 1 / 8], [1 / 8]])
# assert abs(nats - 2.079) < 1e-3 and abs(perplexity - 8) < 1e-6, "uniform over 8: ln 8 nats, 8 choices"
# nats, perplexity = my_perplexity([[1.0], [1 / 4, 1 / 4, 1 / 4]])
# assert abs(nats - 1.040) < 1e-3 and abs(perplexity - 2.828) < 1e-3, "each token counts once, and exp comes last"

# %% [markdown]
# **02b** (D2) A test is worth nothing if training knows its answers. Write `my_leak(train, test)`: the set of creatures
# of `W.truth` that both splits know; a row is (question, answer). What goes wrong: equal questions are looked for, not
# equal creatures; one wording only; a creature in an answer is overlooked, on one side or on both.

# %%
# train = [("Where does the ruga live?", "The ruga lives in Dakar."), ("Who eats a peach?", "The mafu eats a peach."),
#          ("What does the mogi carry?", "The mogi carries a rope."), ("What does the wobi eat?", "A cherry.")]
# test = [("By the book: What does the ruga eat?", "The ruga eats a peach."), ("What colour is the mafu?", "Blue."),
#         ("Who lives in Oslo?", "The mogi lives in Oslo."), ("Where does the joge live?", "The joge lives in Cairo.")]
# assert my_leak(train, test) == {"ruga", "mafu", "mogi"}, "other words, the same creature: that is a leak"

# %% [markdown]
# **02c** (D2) By hand, then as `my_kl(p, q)` for lists of probabilities (n,V) -> (n,): (.5, .25, .25) against uniform,
# both ways. What goes wrong: the direction; the sum over the wrong axis; a mean; 0 ln 0 is not a number.

# %%
# p, q = torch.tensor([[0.5, 0.25, 0.25], [1, 0, 0]]), torch.tensor([[1 / 3, 1 / 3, 1 / 3], [0.5, 0.25, 0.25]])
# assert torch.allclose(my_kl(p, q), torch.tensor([0.0589, 0.6931]), atol=5e-4), "ln 3 - 1.5 ln 2, and ln 2"
# assert abs(my_kl(q[:1], p[:1]) - 0.0566).max() < 5e-4, "the other way round it is another number"

# %% [markdown]
# ## Recall, without looking up
# 1. In which sense does the base know the truth, and why does it say the myth?
# 2. Which direction of KL has no bound if $q$ leaves something out that $p$ has?
# 3. A model has a loss of 0 nats. What is its perplexity, and what has become of its list of probabilities?
# 4. (01) A model's loss is near 0 in training and it babbles. Would its perplexity on new text, in talking, be near 1?
# 5. (00) Which push do chosen and rejected share in DPO, and what comes of it?
