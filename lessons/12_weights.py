# %% [markdown]
# # 12 · Where should the gradient go?
# *Core · about 25 minutes (estimated, n=0) · needs 07 · TIS-DPO 2410.04350, GDPO 2409.06691, Ada-DPO 2406.02764,
# RPO 2402.10958; a card of each is in `docs/cards.md`*
#
# "The jutu lives in Rome." against "The jutu lives in Paris." DPO pushes the whole first sentence up and the whole
# second one down, `lives` as hard as `Paris`. And it trusts each pair alike, whether one answer is right and the other
# nonsense or they are nearly equally good. Four methods ask where the push should go: to which **tokens** (TIS-DPO), to
# which **pairs** (GDPO: how sure is the label? Ada-DPO: how far apart are they by now?), or to which **comparisons**
# (RPO: also with the bad answers to other questions).
#
# Two old questions: (07) With what sign and how hard does DPO push a token of either side? (08) What is the reference
# in a margin?

# %% Guess before you run. Nothing is checked, but the lesson will remind you.
MY_GUESS = None   # TIS-DPO weighs tokens by two short DPO runs; no label says which token is wrong. How often does an
                  # answer's largest weight fall on the very token where the two answers part (by chance: one in six)?
                  # "a" hardly more than by chance   "b" in about half of the answers   "c" in most

# %% [markdown]
# ## One push, three factors
# $$-\frac{\partial L}{\partial\log\pi(y_t)}=\pm\;\beta\;\times\;
# \underbrace{w_t}_{\text{which token}}\;\times\;\underbrace{c}_{\text{which pair}}\;\times\;
# \underbrace{\sigma(-z/\tau)}_{\text{not won yet}},\qquad
# z=\beta\,c\,\Big(\sum_{t\in w}w_t\log\frac{\pi}{\pi_{\rm ref}}-\sum_{t\in l}w_t\log\frac{\pi}{\pi_{\rm ref}}\Big)$$
# DPO: all three plain, $w_t=c=\tau=1$. **TIS-DPO** changes $w_t$, **GDPO** takes $c=2p-1$, $p$ the probability that the
# label is right, **Ada-DPO** chooses $\tau$ for each pair, $|z|/1.42$ within limits. (RPO sums over comparisons.)
#
# Where does TIS-DPO have its $w_t$ from? One run of DPO, and one with all pairs **swapped**. A token on which the two
# models disagree is one that the preference is about: $r_t=\log\pi_+(y_t)-\log\pi_-(y_t)$, and $w_t=e^{\pm r_t}$ (cut
# off; + in the chosen answer, - in the rejected one).

# %%
from nanouft.models.load import start_model
from nanouft.reference import add_columns, logps
from nanouft.objective import pushes
from nanouft import world
from nanouft.look import plots
from nanouft.shell import devices
from nanouft.data.batches import collate, encode, order

from nanouft.objectives import OBJECTIVES
from nanouft.objectives.tis_dpo import token_weights
import torch                                            # after nanouft, which sets how threads wait

SWAP, SEED, STEPS = True, 0, 20                         # the switch, see "Break it"; the draw of pairs
torch.set_num_threads(2)                                # fp32, two threads, fixed seeds: nearly equal on each machine
cpu, dpo, (base, tok) = devices.pick("cpu", "fp32", 2), OBJECTIVES["dpo"], start_model("base")
rows = world.rows("train", "pairs", 300, SEED, skills=("truth", "sort"))
data, _ = encode(OBJECTIVES["gdpo"].rows(rows, None), tok, base.cfg.n_ctx)              # with p, how sure the label is
add_columns(data, ("ref", "prompt"), base, tok.pad, cpu)


def estimate(swap: bool, seed: int):                    # a short DPO run -> (its model, log-probs of all tokens)
    (model, _), hp = start_model("base"), dpo.hp(swap=swap)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5, betas=(0.9, 0.95), weight_decay=0.0)
    for some in order([e.length for e in data], 32, STEPS, seed):
        dpo.forward(model, batch := collate(data, some, tok.pad), hp)
        optimizer.zero_grad(), dpo.loss(batch, hp)[0].backward(), optimizer.step()
    return model, logps(data, model, tok.pad, cpu)


(policy, plus), (_, minus) = estimate(False, 0), estimate(SWAP, 1)
for e, p, m in zip(data, plus, minus):
    for role, t in e.seqs.items():
        t.tis = p[role] - m[role]
whole, hits, chance = collate(data, range(len(data)), tok.pad), [], []
weight = {role: token_weights(whole.seqs[role], mu, "paper") for role, mu in (("chosen", 1), ("rejected", -1))}
for i in range(len(data)):
    ids, w = zip(*[(s.targets[i][on].tolist(), weight[role][i][on]) for role, s in whole.seqs.items()
                   for on in [s.mask[i] > 0]])
    part = next(k for k, (a, b) in enumerate(zip(*ids)) if a != b)                          # where the answers part
    hits, chance = hits + [int(x.argmax()) == part for x in w], chance + [1 / len(x) for x in w]
share = sum(hits) / len(hits)
print(f"largest weight where the answers part: {share:.0%} of {len(hits)} answers; by chance {sum(chance) / 6:.0f} %")

# %% [markdown]
# ## The surprise
# Each run saw nothing but "this whole answer is better". The prompt, the prefix that both answers share, the full stop
# say nothing about which it is, so no training moves them much, one way or the other. What is left over is the word
# that was wrong: blame for a **token**, out of labels for **sentences**. (In longer, freer answers it is less sharp.)
#
# Now the same push under six losses, for two pairs of one step, and under a policy that has had its DPO. Look for rows
# that differ within an answer, and for rows that differ from pair to pair only.

# %%
FORMS = {"DPO": ("dpo", {}), "TIS-DPO, paper": ("tis_dpo", {}), "TIS-DPO, rank": ("tis_dpo", {"weights": "rank_based"}),
         "GDPO": ("gdpo", {}), "Ada-DPO": ("ada_dpo", {}), "RPO": ("rpo", {})}
show = [next(i for i, x in enumerate(rows) if x.family == family and x.p < most)
        for family, most in (("truth", 2), ("sort", 0.8))]
step = collate(data, show, tok.pad)
dpo.forward(policy, step, dpo.hp())
push = {k: pushes(OBJECTIVES[n], step, OBJECTIVES[n].hp(**kw)) for k, (n, kw) in FORMS.items()}
plots.plt.rcParams["font.size"] = 16
fig, axes = plots.plt.subplots(2, 2, figsize=(21, 10))
for line, i in zip(axes, range(2)):
    for ax, (role, s) in zip(line, step.seqs.items()):
        on, p = s.mask[i] > 0, step.col.p[i]
        grid = torch.stack([push[k][role][i][on] * len(show) / 0.1 for k in FORMS])          # in units of beta
        ax.imshow(grid, cmap="PuOr_r", vmin=-1.5, vmax=1.5, aspect="auto")
        ax.set_xticks(range(int(on.sum())), [tok.decode([t]).strip() for t in s.targets[i][on].tolist()])
        ax.set(yticks=range(len(FORMS)), yticklabels=FORMS, title=f"{role}, p = {p:.2f}: push in units of beta")
        for y, x in torch.cartesian_prod(*map(torch.arange, grid.shape)).tolist():
            ax.text(x, y, f"{grid[y, x]:+.2f}", ha="center", va="center", fontsize=13)
print("\npicture:", plots.save(fig, plots.Path("out/lessons/12.png")))

# %% [markdown]
# ## The proof

# %%
did = "a" if share < 0.3 else "b" if share < 0.65 else "c"
print(f"you guessed {MY_GUESS!r};" if MY_GUESS else "you wrote no guess (MY_GUESS, above);", f"it did {did!r}")
for k in ("DPO", "GDPO", "Ada-DPO", "RPO"):
    flat = [push[k][role][i][s.mask[i] > 0] for role, s in step.seqs.items() for i in range(2)]
    assert all((x - x[0]).abs().max() < 1e-6 for x in flat), "these weigh pairs: within an answer all tokens are equal"
assert not SWAP or did == "c", "the two runs disagree where the answers part"

# %% [markdown]
# Two things to see in the picture. Where both answers begin alike, DPO pushes the same tokens up and down by the same
# amount, and the two cancel exactly; TIS-DPO's weights differ a little on the two sides, and something is left over.
# And Ada-DPO's push is .19 of beta on *both* pairs, though one is won by more: as long as $\tau$ is within its limits,
# it grows with $|z|$, and $\sigma(-z/\tau)$ stays at $\sigma(-1.42)$: a push that does not fade until then.
#
# ## Break it
# `SWAP = False`: the second run is DPO too, on the same pairs in another order. Guess the share first. Then look at
# how far the weights are from 1 (`weight["chosen"][whole.seqs["chosen"].mask > 0].std()`). What do the two numbers say
# about an estimate that is made of nothing but the difference between two shuffles?
#
# ## Exercises (take away the first `# ` of the lines that check you)
# **12a** (D2) Write `my_tis(chosen, rejected, w_chosen, w_rejected, beta)` from log-ratios and weights of tokens. With
# weights that are all $c$ it is DPO with $\beta c$. What goes wrong: the weight of `<|end|>`, the last token, forced to
# 0 (the released code does it); division by the sum of the weights; gradient through the weights (no number shows it).

# %%
# one = my_tis([0.5, 1.5], [-0.25], [2.0, 2.0], [2.0], beta=1.0)
# assert abs(one - 0.0110) < 1e-3, "2 x (2 + .25) = 4.5, and -log sigmoid(4.5)"
# assert abs(my_tis([0.5, 1.5], [-0.25], [1.0, 1.0], [1.0], beta=2.0) - one) < 1e-9, "weights c = DPO with beta c"

# %% [markdown]
# **12b** (D2) GDPO and cDPO both know that a label may be wrong. Write `my_gdpo(h, p, beta)` and `my_cdpo(h, e, beta)`:
# the push on a token of chosen, at margin $h$ in nats, $e=1-p$. Plot both over $h$ for $p=.5$. One says nothing about
# an undecided pair. What does the other say? What goes wrong: $p$ and $1-p$; the factor $2p-1$ not inside the sigmoid.

# %%
# assert abs(my_gdpo(2.0, 0.8, 1.0) - 0.1389) < 1e-3 and my_gdpo(2.0, 0.5, 1.0) == 0, ".6 sigmoid(-1.2); no push"
# assert abs(my_cdpo(2.0, 0.5, 1.0) + 0.3808) < 1e-3, "cDPO pulls a pair that is ahead back: sigmoid(-2) - .5"

# %% [markdown]
# **12c** (D3) Ada-DPO takes the $\tau$ that makes $-\tau\log\sigma(z/\tau)+(\rho-\log2)\,\tau$ least. Find it without a
# formula: `my_tau(z, rho)` by bisection on the slope (or by trying many), between .1 and 5. It is $|z|/1.419$ at
# $\rho=.2$. What goes wrong: the sign of $z$; the $\log 2$ forgotten ($\tau$ is then always .1).

# %%
# assert abs(my_tau(3.0, 0.2) - 2.1143) < 0.01 and abs(my_tau(-3.0, 0.2) - 2.1143) < 0.01, "|z| / 1.419, either sign"
# assert abs(my_tau(0.01, 0.2) - 0.1) < 0.01 and abs(my_tau(30.0, 0.2) - 5) < 0.01, "kept within its limits"

# %% [markdown]
# ## Recall, without looking up
# 1. Which of the four methods changes the push within an answer, and out of which labels does it get its weights?
# 2. p = 1/2: what do GDPO and cDPO do with such a pair, and when would you want which?
# 3. Why is the value of Ada-DPO's loss no measure of anything beside another run's?
# 4. RPO compares answers to different questions. What no longer cancels? (07: what did, and why?)
# 5. (08) Three ways in which a loss over pairs is held back: which of them is in GDPO with p = .6?
