# %% [markdown]
# # 05 · What if the model sees its own guess?
# *Afternoon path · about 25 minutes (estimated, n=0) · needs 03 · IFT, arXiv:2405.11870, Eq. 17*
#
# SFT always shows the **demonstrator's** words so far. But when the model talks, it reads its **own**, and nobody ever
# taught it what to say after those (the papers: *exposure bias*). IFT mixes the two: each word of the answer is blended
# with the word that the model itself would have put there (*temporal residual*). You will make such a guess, shift it,
# blend it, and watch over a short training run where guess and demonstration differ. We call such a place a **ghost**:
# there the model stands beside the true path. The code is `nanouft/objectives/ift.py`.
#
# Two old questions: (01) what may place $i$ not look at? (03) which targets does the mask keep?

# %% Guess before you run. Nothing is checked, but the lesson will remind you.
MY_GUESS = None   # 40 steps of training on two families: "Reverse pig bee saw." has one right answer, "Name
                  # two cities but not Doha, Oslo or Rome. End on fox." has many. In the end ghosts are almost gone in
                  # ... "a" both   "b" the first only   "c" the second only   "d" neither

# %% [markdown]
# ## Make the guess, shift it
# Standing at place $i-1$, with the true words so far, the model names the next one: its guess **for place $i$**. So the
# row of guesses is shifted by one, once. Only words of the answer are replaced, never the prompt. The guess is the
# likeliest word: a choice, not a number, so no gradient flows through it. The last lines of this cell print an unseen
# answer and, below it, what the base guesses for the same places.

# %%
from nanouft.models.load import start_model
from nanouft import world
from nanouft.look import plots
from nanouft.data.batches import collate, encode
from nanouft.objectives import OBJECTIVES, ift
import torch                                            # after nanouft, which sets how threads wait

BREAK = False                                           # the switch, see "Break it"
STEPS, SHOW, FAMILIES = 40, (0, 4, 8, 20, 40), ("reverse", "list")
torch.set_num_threads(2)                                # fp32, two threads, fixed seeds: nearly equal on each machine
base, tok = start_model("base")


def batch(rows: list):
    return collate(encode(OBJECTIVES["sft"].rows(rows, None), tok, base.cfg.n_ctx)[0], range(len(rows)), tok.pad)


def guesses(model, s):                      # (B,T) the ids of the guess, gold elsewhere; (B,T) where it is a ghost
    guess = ift.own_guess(s.inputs, s.attend if BREAK else s.mask, model(s.inputs, want="argmax"))
    return guess, (guess != s.inputs) & (s.attend > 0)  # what stands behind an answer's end is read by nobody


rows = {f: world.rows("val", "demos", 40, 0, skills=(f,)) for f in FAMILIES}        # never trained on
tests = {f: batch(r).seqs["answer"] for f, r in rows.items()}
words = {f: [1 + (m[:-1] * a[1:]).nonzero()[:, 0] for m, a in zip(s.mask, s.attend)] for f, s in tests.items()}
now = {f: guesses(base, s) for f, s in tests.items()}                   # words[f][r]: the places of answer r's words
print(*(tok.decode(ids[0, words["reverse"][0]]) for ids in (tests["reverse"].inputs, now["reverse"][0])), sep="\n")

# %% [markdown]
# ## One equation
# $E(x)$ is the list of numbers that stands for token $x$ (*embedding*). The model reads, in place of $E(x_i)$,
# $$s_i=(1-\lambda)\,E(x_i)+\lambda\,E(g_i),\qquad g_i=\arg\max\,\pi(\cdot\mid x_{<i}),$$
# and must still say the demonstrator's next word. $\lambda=0$ is SFT; the paper takes $\lambda=0.2$. Two laws follow:
# the **first** word of an answer is said before any guess is read, so its loss ignores $\lambda$. And where $g_i=x_i$
# both halves are the same word: **until the first ghost is read, $\lambda$ changes nothing**.

# %%
def nll(s, lam: float):                     # (B,T) nats: the base's loss of each target when the blend is read
    gold, own = (base(ids, want="embeds") for ids in (s.inputs, guesses(base, s)[0]))
    return -base(embeds=(1 - lam) * gold + lam * own, want="logp", targets=s.targets, at=s.mask.bool()).detach()


for f, s in tests.items():
    moved, read = (nll(s, 1.0) - nll(s, 0.0)).abs(), now[f][1].cumsum(1) > 0
    print(f"{f}: loss at lam 0, 0.2 and 1:", *(f"{nll(s, lam).sum() / s.mask.sum():.2f}" for lam in (0, 0.2, 1)))
    assert moved[s.mask.cumsum(1) == 1].max() < 1e-3, "the loss of the first response token does not depend on lam"
    assert moved[~read].max() < 1e-3 < moved[read].max(), "until the first ghost is read, lam changes nothing"

# %% [markdown]
# ## Watch the ghosts
# A short run of IFT on both families, its second idea switched off (`gamma=0`; lesson 06), and beside it one of SFT.
# Before and after each step both are asked for their guesses on answers they never see in training.
#
# One more question about each ghost: put the guess into the answer, leave all other words as they are. **Is that
# answer right as well?** If not, IFT teaches how to go on after a slip. If so, the ghost was no mistake at all.

# %%
def learn(name: str, **hp) -> list[dict]:   # before and after each step: {family: (guess, ghost)}
    model, hp, seen = start_model("base")[0], OBJECTIVES[name].hp(**hp), []
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, betas=(0.9, 0.95))
    for step in range(STEPS + 1):
        seen.append({f: guesses(model, s) for f, s in tests.items()})
        b = batch(world.rows("train", "demos", 32, step, skills=FAMILIES))
        OBJECTIVES[name].forward(model, b, hp)
        optimizer.zero_grad(), OBJECTIVES[name].loss(b, hp)[0].backward(), optimizer.step()
    return seen


def fine(f: str, r: int, j: int) -> bool:   # would answer r be right, too, with the base's guess at place j?
    ids = [(now[f][0] if i == j else tests[f].inputs)[r, i] for i in words[f][r]]
    return world.score(rows[f][r].prompt[0].text, tok.decode(ids)) == 1


seen, seen_sft = learn("ift", gamma=0), learn("sft", reduction="sequence")
ghosts = {(f, name): [100 * look[f][1].sum().item() / sum(map(len, words[f])) for look in run]
          for f in FAMILIES for name, run in (("IFT", seen), ("SFT", seen_sft))}
could = {f: [fine(f, r, j) for r, j in now[f][1].nonzero().tolist()] for f in FAMILIES}
for (f, name), run in ghosts.items():
    print(f"{f}, {name}: {run[0]:.0f} % ghosts ({sum(could[f])} of {len(could[f])} right, too), then {run[-1]:.0f} %")

# %%
at = [(f, j) for f in FAMILIES for j in words[f][0]]
text = [["×\n" * seen[n][f][1][0, j].item() + tok.decode([seen[n][f][0][0, j]]).strip() for f, j in at] for n in SHOW]
fig, (left, right) = plots.plt.subplots(1, 2, figsize=(13.5, 4.6), width_ratios=(7, 4))
left.table(text, [["#CCCCCC" if "×" in word else "w" for word in line] for line in text], "center", bbox=(0, 0, 1, 1),
           colColours=["#A6CEE8" if f[0] == "r" else "#F5BE9C" for f, j in at], rowLabels=[f"step {n}" for n in SHOW],
           colLabels=[tok.decode([tests[f].inputs[0, j]]).strip() for f, j in at]).auto_set_font_size(False)
for (label, y), style, colour in zip(ghosts.items(), ("-", "--") * 2, [c for c in plots.LINES[:2] for _ in "ab"]):
    right.plot(y, style, color=colour, lw=3, label=", ".join(label))
right.set(title="ghosts (% of the words)", xlabel="step", ylim=(0, None))
left.set(title="top: demonstration; below: guesses (× ghost)"), left.set_axis_off(), right.legend(frameon=False)
print("\npicture:", plots.save(fig, plots.Path("out/lessons/05.png")))

# %% [markdown]
# ## The proof

# %%
did = "abcd"[2 * (ghosts["reverse", "IFT"][-1] > 10) + (ghosts["list", "IFT"][-1] > 10)]
print(f"you guessed {MY_GUESS!r};" if MY_GUESS else "you wrote no guess (MY_GUESS, above);", f"it did {did!r}")
assert did == "b" and ghosts["list", "IFT"][-1] > 30, "ghosts fade where one word is right, and stay where many are"
assert sum(could["list"]) > len(could["list"]) / 2 > 0 == sum(could["reverse"]), "most ghosts of a list are right, too"

# %% [markdown]
# - **One right word (`reverse`).** Once the model has learnt it, its guess *is* the demonstrator's word. The ghosts go,
#   the second law takes over, and **from there on IFT is SFT** (with the weights of lesson 06 on top), whatever
#   $\lambda$. That is how far "after a few updates IFT is weighted SFT" holds on text.
# - **Many right words (`list`).** Nobody can guess which cities the demonstrator will name. The ghosts stay for good.
#   But most of them would be *right, too*: the blend shows another good list, not a slip; and with four fifths of the
#   true word left, the base hardly notices (its loss at $\lambda$ 0 and 0.2, above).
# - **The dashed lines.** SFT loses its ghosts just as well. The share of ghosts is 1 minus the accuracy of the guess
#   for the next word: any training lowers it. IFT *reads* the ghosts; it is not what drives them away.
#
# One base, one seed, one short run: a mechanism, not yet evidence that IFT helps or does not.
#
# ## Break it
# `BREAK = True` forgets that only the answer is replaced: prompt words become guesses, too. Say first which law will
# fall, and why the other one would not. The run stops at the law that falls: that is the answer.
#
# ## Same letter, other meaning
# $\lambda$ here: the share of the own guess in what is read. In GAE: how far a reward reaches back. In ORPO:
# the weight of a second loss. And $E$ here is the embedding, not an expectation.
#
# ## Exercises (take away the first `# ` of the lines that check you)
# **05a** (D1) Write `my_guess(inputs, mask, argmax)`. By hand: gold `[P, a, b, E]`, most likely next tokens
# `[a, c, E, E]`: the guess is `[P, a, c, E]`. What goes wrong: not shifted; shifted twice; prompt or padding replaced.

# %%
# case = torch.tensor([[0, 1, 2, 9]]), torch.tensor([[1, 1, 1, 0]]), torch.tensor([[1, 3, 9, 9]])
# assert my_guess(*case).tolist() == [[0, 1, 3, 9]], "P a c E: position i gets the guess made at i - 1"
# more = torch.tensor([[7, 0, 1, 2, 9, 5]]), torch.tensor([[0, 1, 1, 1, 0, 0]]), torch.tensor([[8, 1, 3, 9, 6, 6]])
# assert my_guess(*more).tolist() == [[7, 0, 1, 3, 9, 5]], "prompt and padding stay as they are"

# %% [markdown]
# **05b** (D1) Write `my_blend(gold, own, lam)`. What goes wrong: $\lambda$ on the wrong half; ids or logits are mixed,
# not embeddings (which word is half-way between 3 and 9?); gradient flows into $E$, so the model may move its *inputs*.

# %%
# blend = my_blend(torch.tensor([1.0, 0]), torch.tensor([0.0, 1]), 0.2)
# assert torch.allclose(blend, torch.tensor([0.8, 0.2])), "four fifths gold, one fifth guess"

# %% [markdown]
# **05c** (D2, Frozen Lake on paper) Rows `SFFF`, `HFHF`, `HFHF`, `HFGF`: start S, floor F, holes H, goal G. The
# demonstrator goes right, down, down, down, right. A ghost: from a state of this path one *other* move, landing on S or
# F (into a wall: one stays). The demonstrator's **next** move is copied to it. List the ghosts of all states that have
# a next move; for how many is the copied move a best one where the ghost really stands? What goes wrong: judging it
# in the true state; forgetting the walls; counting holes. Then see them: `lessons/05L_ghosts.py`.

# %%
# assert (my_ghosts, my_right) == (7, 2), "three of the seven stay at a wall; two copied moves are right"

# %% [markdown]
# **05d** (D3) Write `ignores_lam(guess)`: is the first response token's loss the same at $\lambda$ 0 and 1, if `guess`
# stands for `own_guess`? Kill with it (1) prompt replaced, too; (2) zeros in place of the prompt; (3) the mask one
# place early, so that `<|assistant|>` is replaced. Number 3 may survive: is it innocent, or are your prompts too kind?
# (What does the base guess after a question?) And `own_guess` without the shift: which law here kills that one?
#
# ## Recall, without looking up
# 1. At which place was the guess for place $i$ made, and which words had the model read there?
# 2. Why does the first word's loss not depend on $\lambda$, although the whole prompt passes through the network?
# 3. IFT's guess comes from the true words so far. Why is that not yet the model's own path?
# 4. A run shows 30 % ghosts that do not fade. Name a good and a bad reason.
