# %% [markdown]
# # 05 · What if the model sees its own guess?
# *Afternoon path · about 25 minutes (estimated, n=0) · needs 03 · IFT, arXiv:2405.11870, Eq. 17; `objectives/ift.py`*
#
# SFT always shows the **demonstrator's** words so far. But when the model talks, it reads its **own**, and nobody ever
# taught it what to say after those (the papers: *exposure bias*). IFT mixes the two: each word of the answer is blended
# with the word that the model itself would have put there (*temporal residual*). You will make such a guess, shift it,
# blend it, and watch over a short training run where guess and demonstration differ. We call such a place a **ghost**:
# the model stands beside the true path there. `python lessons/05_ift_residual.py`, under half a minute.
#
# Two old questions: (01) what may place $i$ not look at? (03) which targets does the mask keep?

# %% Guess before you run. Nothing is checked, but the lesson will remind you.
MY_GUESS = None   # 40 steps of training on two families: "Reverse pig bee saw." has one right answer, "Name two
                  # cities but not Doha. End on fox." has many. In the end nearly no ghost is left in ...
                  # "a" both   "b" the first only   "c" the second only   "d" neither

# %% [markdown]
# ## Make the guess, shift it
# Standing at place $i-1$, with the true words so far, the model names the next one: its guess **for place $i$**. So the
# row of guesses is shifted by one, once. Only words of the answer are replaced, never the prompt. The guess is the
# likeliest word: a choice, not a number, so no gradient flows through it. Look at two unseen prompts:

# %%
import torch
from nanouft import plots, runs, world
from nanouft.batches import collate, encode
from nanouft.data import demo_rows
from nanouft.objectives import OBJECTIVES
from nanouft.objectives.ift import own_guess

BREAK = False                                           # the switch, see "Break it"
STEPS, SHOW, FAMILIES = 40, (0, 4, 8, 20, 40), ("reverse", "list")
torch.set_num_threads(2)                                # fp32, two threads, fixed seeds: nearly equal on each machine
base, tok = runs.start_model("base")


def batch(rows: list):
    return collate(encode(demo_rows(rows, None), tok, base.cfg.n_ctx)[0], range(len(rows)), tok.pad)


def guesses(model, s):                      # (B,T) the ids of the guess, gold elsewhere; (B,T) where it is a ghost
    guess = own_guess(s.inputs, s.attend if BREAK else s.mask, model(s.inputs, want="argmax"))
    return guess, (guess != s.inputs) & (s.attend > 0)


rows = {f: world.rows("val", "demos", 40, 0, skills=(f,)) for f in FAMILIES}        # never trained on
tests = {f: batch(r).seqs["answer"] for f, r in rows.items()}
words = {f: [1 + (m[:-1] * a[1:]).nonzero()[:, 0] for m, a in zip(s.mask, s.attend)] for f, s in tests.items()}
for name, ids in ("gold", tests["reverse"].inputs), ("guess", guesses(base, tests["reverse"])[0]):
    print(f"{rows['reverse'][0].prompt[0].text}  {name:<6}", tok.decode(ids[0, words["reverse"][0]]))

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
    mixed = (1 - lam) * gold + lam * own                                            # Eq. 17
    return -base(embeds=mixed, want="logp", targets=s.targets, at=s.mask.bool()).detach()


for f, s in tests.items():
    moved, read = (nll(s, 1.0) - nll(s, 0.0)).abs(), guesses(base, s)[1].cumsum(1) > 0
    print(f"{f}: mean loss at lam 0, 0.2 and 1:", *(f"{nll(s, lam).sum() / s.mask.sum():.2f}" for lam in (0, 0.2, 1)),
          f"nats; the first word's moves by {moved[s.mask.cumsum(1) == 1].max():.4f}")
    assert moved[s.mask.cumsum(1) == 1].max() < 1e-3, "the loss of the first response token does not depend on lam"
    assert moved[~read].max() < 1e-3 < moved[read].max(), "until the first ghost is read, lam changes nothing"

# %% [markdown]
# ## Watch the ghosts
# A short run of IFT on both families, its second idea switched off (`gamma=0`; lesson 06), and beside it one of SFT.

# %%
def learn(name: str, **hp) -> list[dict]:   # before and after each step: {family: (guess, ghost)}
    model, hp, seen = runs.start_model("base")[0], OBJECTIVES[name].hp(**hp), []
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
    for step in range(STEPS + 1):
        seen.append({f: guesses(model, s) for f, s in tests.items()})
        b = batch(train[32 * step:32 * step + 32])
        OBJECTIVES[name].forward(model, b, hp)
        optimizer.zero_grad(), OBJECTIVES[name].loss(b, hp)[0].backward(), optimizer.step()
    return seen


def fine(f: str, r: int, j: int) -> bool:   # would answer r be right, too, with the base's guess at place j?
    ids = [(seen[0][f][0] if i == j else tests[f].inputs)[r, i] for i in words[f][r]]
    return world.score(rows[f][r].prompt[0].text, tok.decode(ids)) == 1


train = world.rows("train", "demos", 32 * STEPS + 32, 0, skills=FAMILIES)
seen, seen_sft = learn("ift", gamma=0), learn("sft", reduction="sequence")
ghosts = {f: [[100 * look[f][1].sum().item() / sum(map(len, words[f])) for look in run] for run in (seen, seen_sft)]
          for f in FAMILIES}
for f, (ift, sft) in ghosts.items():
    could = [fine(f, r, j) for r, j in seen[0][f][1].nonzero().tolist()]
    print(f"{f}: ghosts {ift[0]:.0f} % -> {ift[-1]:.0f} % of the words (SFT {sft[-1]:.0f} %);",
          f"{sum(could)} of the first {len(could)} would have been right, too")

# %%
cells = [(f, r, j) for f in FAMILIES for r in [seen[0][f][1].sum(1).argmax()] for j in words[f][r]]
text = [["× " * seen[n][f][1][r, j].item() + tok.decode([seen[n][f][0][r, j]]) for f, r, j in cells] for n in SHOW]
plots.plt.rcParams["font.size"] = 16
fig, (left, right) = plots.plt.subplots(1, 2, figsize=(17, 6), width_ratios=(5, 3))
left.table(text, [["#F5B985" if "×" in word else "white" for word in line] for line in text], "center", bbox=(0, 0, 1, 1),
           colLabels=[tok.decode([tests[f].inputs[r, j]]) for f, r, j in cells], rowLabels=[f"step {n}" for n in SHOW])
left.set_axis_off()
for f, colour in zip(FAMILIES, plots.LINES):
    for run, style, name in zip(ghosts[f], ("-", "--"), ("IFT", "SFT")):
        right.plot(run, style, color=colour, lw=3, label=f"{f}, {name}")
right.set(title="ghosts (% of unseen answers' words)", xlabel="step", ylim=(0, None))
right.legend(frameon=False)
print("\npicture:", plots.save(fig, plots.Path("out/lessons/05.png")))
