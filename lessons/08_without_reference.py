# %% [markdown]
# # 08 · What holds a loss back if there is no reference?
# *Core · about 25 minutes (estimated, n=0) · needs 07 · CPO 2401.08417, SimPO 2405.14734, SLiC 2305.10425,
# ASFT 2409.10571, ORPO 2403.07691, TPO 2405.16681, KTO 2402.01306; a card of each is in `docs/cards.md`*
#
# DPO asks a second model, the reference, how likely both answers were at the start, and pays for that with memory and
# time. A whole shelf of methods does without. They look like a zoo; by this lesson's chart they are three ideas. First
# a guess about the reference itself: what did it hold back in lesson 07, where DPO ran away from it?
#
# Two old questions: (07) Why must both answers of a pair have the same question? (03) Token mean and sequence mean:
# which of them lets a long answer weigh more?

# %% Guess before you run. Nothing is checked, but the lesson will remind you.
MY_GUESS = None   # lesson 07's run again, and once more with all reference log-probs taken out of the loss. Without
                  # them, log p(chosen) falls   "a" much further   "b" about as far   "c" much less

# %% [markdown]
# ## One family
# With $\Delta$ the difference of the two answers' log-probs (summed or per token, against a reference or not), nearly
# all of them are
# $$L=\phi(\beta\,\Delta)+\alpha\cdot\mathrm{NLL}(\text{chosen}),\qquad
# -\frac{\partial L}{\partial\log\pi(w)}=-\beta\,\phi'(\beta\Delta)+\frac{\alpha}{N}.$$
# | | $\Delta$ | $\phi$ | $\alpha$ |
# |---|---|---|---|
# | `dpo` | sums, minus the reference's | $-\log\sigma$, $\beta=.1$ | 0 |
# | `cpo` | sums | $-\log\sigma$, $\beta=.1$ | 1 (here also 0: DPO without its reference) |
# | `simpo` | means | $-\log\sigma(\cdot-\gamma)$, $\beta=2$ | 0 |
# | `slic` | sums | hinge $\max(0,1-\Delta)$ | .1 of the *sum* |
#
# `asft` and `orpo` use log-odds, $\log\frac{p}{1-p}$ with $p$ the probability a token. ORPO ranks them; ASFT takes each
# side alone: $-\log p_w-\log(1-p_l)$, so what is said of one answer does not depend on the other at all.

# %%
from nanouft.models.load import start_model
from nanouft.reference import add_columns
from nanouft.models.generate import answer_rows
from nanouft.objective import pushes
from nanouft import world
from nanouft.look import plots
from nanouft.shell import devices
from nanouft.data.batches import collate, encode, order


from nanouft.objectives import OBJECTIVES
import torch                                            # after nanouft, which sets how threads wait

SIMPO, SEED, STEPS = {}, 0, 40                          # the switch, see "Break it"; the draw of pairs
torch.set_num_threads(2)                                # fp32, two threads, fixed seeds: nearly equal on each machine
LOSSES = {"DPO": ("dpo", {}), "the same, no reference": ("cpo", {"alpha": 0.0}), "CPO": ("cpo", {}),
          "SimPO": ("simpo", SIMPO), "SLiC": ("slic", {}), "ASFT": ("asft", {}), "ORPO": ("orpo", {})}
LOSSES = {label: (OBJECTIVES[name], OBJECTIVES[name].hp(**kw)) for label, (name, kw) in LOSSES.items()
          if name in OBJECTIVES}
base, tok = start_model("base")


def pairs(split: str, n: int, seed: int):
    rows = world.rows(split, "pairs", n, seed, skills="unknown")
    data, _ = encode(OBJECTIVES["dpo"].rows(rows, None), tok, base.cfg.n_ctx)
    add_columns(data, ("ref",), base, tok.pad, devices.pick("cpu", "fp32", 2))
    return rows, data


(_, data), (asked, unseen) = pairs("train", 300, SEED), pairs("val", 40, 0)


def train(objective, hp):                   # lesson 07's run: -> (log p(chosen), log p(rejected)) every four steps
    (model, _), probe, path = start_model("base"), collate(unseen, range(40), tok.pad), []
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.0)
    for i, rows in enumerate(order([e.length for e in data], 32, STEPS + 1, SEED)):
        if i % 4 == 0:
            objective.forward(model, probe, hp)
            path.append([float(objective.loss(probe, hp)[1][k]) for k in ("logp_chosen", "logp_rejected")])
        objective.forward(model, batch := collate(data, rows, tok.pad), hp)
        optimizer.zero_grad(), objective.loss(batch, hp)[0].backward(), optimizer.step()
    said = tok.decode(answer_rows(model, tok, asked[2:3], max_new=12)[0].ids).strip()
    return path, said.encode("ascii", "replace").decode()                           # babble is not always text


ends = {label: train(*loss) for label, loss in LOSSES.items()}
print("log p(chosen) and log p(rejected), start -> end; and an answer to:", asked[2].prompt[0].text)
for label, (path, says) in ends.items():
    print(f"{label:<23}{path[0][0]:7.2f} -> {path[-1][0]:6.2f} {path[0][1]:8.2f} -> {path[-1][1]:6.1f}    {says}")

# %% [markdown]
# ## The surprise
# Take away the reference, and nearly the same happens: the chosen answer falls about as far, and the model babbles as
# much. In a pair the reference is a mere **offset** of the margin: it says where zero is, and holds nothing. What holds
# a loss back is how soon its push fades, or what outweighs it. The chart shows three ways:
# - **ask for less**: SimPO's push is gone at a margin of some two nats a token, SLiC's on the pair at one nat in all;
# - **hold on**: likelihood of the chosen answer (CPO, SLiC, ORPO, ASFT) is a push that stays when the pair is won;
# - **look at one answer only**: ASFT's push on the rejected answer fades with that answer's own probability.
#
# DPO with $\beta=.1$ asks for some forty nats a pair, and the damage is done on the way there. (Adam divides by the
# recent size of the gradient. So it matters how *fast* a push fades, more than how large it was.)

# %%
def pushes(objective, hp, margin: float) -> list[float]:    # on a token of chosen, and of rejected
    batch = collate(unseen, [0], tok.pad)
    for s, logp in zip(batch.seqs.values(), (-1.0, -1.0 - margin)):
        s.logp, s.ref = torch.full_like(s.mask, logp).double(), torch.full_like(s.mask, -1.0).double()
    return [abs(w[0][batch.seqs[role].mask[0] > 0][0].item()) for role, w in pushes(objective, batch, hp).items()]


plots.plt.rcParams["font.size"] = 16
fig, ax = plots.plt.subplots(1, 3, figsize=(21, 6.5))
MARGINS, STYLES = [x / 8 - 0.75 for x in range(70)], ("-", ":", "--", "-.", "-", "--", ":")
for (label, loss), style, colour in zip(LOSSES.items(), STYLES, [*plots.LINES, "black"]):
    curves = torch.tensor([pushes(*loss, m) for m in MARGINS]).T
    for a, y in zip(ax, curves):
        a.plot(MARGINS, y / y.max(), style, color=colour, lw=3, label=label)
    ax[2].plot(range(0, STEPS + 1, 4), [chosen for chosen, _ in ends[label][0]], style, color=colour, lw=3)
for a, side in zip(ax, ("UP on chosen", "DOWN on rejected")):
    a.set(title=f"push {side} (share of its largest)", xlabel="margin, nats a token")
ax[1].legend(frameon=False, loc="upper right"), ax[2].set(title="log p(chosen), live", xlabel="step")
print("\npicture:", plots.save(fig, plots.Path("out/lessons/08.png")))

# %% [markdown]
# ## The proof

# %%
start, fell = ends["DPO"][0][0][0], {label: path[0][0] - path[-1][0] for label, (path, _) in ends.items()}
with_it, without = fell["DPO"], fell["the same, no reference"]
did = "a" if without > 2 * with_it else "c" if without < with_it / 2 else "b"
print(f"you guessed {MY_GUESS!r};" if MY_GUESS else "you wrote no guess (MY_GUESS, above);", f"it did {did!r}")
assert did == "b" and with_it > 2, "the reference is an offset: without it, chosen falls about as far"
assert SIMPO or all(fell[x] < 0 for x in fell.keys() - {"DPO", "the same, no reference"}), "the others hold it back"

# %% [markdown]
# KTO is not in the chart: it has no pairs. It pays for single answers with a label, each against what the policy gains
# on *mismatched* questions and answers, an estimate of how far it has moved as a whole. There the reference does work:
# without it nothing would say what moving means. TPO is CPO with a third answer to hold on to.
#
# ## Break it
# `SIMPO = {"beta": 0.2}` asks SimPO for ten times the margin. Where is its push gone now, and what becomes of the
# chosen answer? Guess from the chart alone, then run.
#
# ## Exercises (take away the first `# ` of the lines that check you)
# **08a** (D2) KTO measures its distance $k$ from the mean log-ratio (policy minus reference) on mismatched pairs, and a
# KL cannot be negative. Write `my_k(ratios)`, then `my_good(r, k, beta)`, the loss of one good answer with log-ratio
# $r$: $1-\sigma(\beta(r-k))$. What goes wrong: each ratio clamped before the mean (.2); $\beta$ applied to $k$ twice.

# %%
# assert abs(my_k([-1.0, 0.4])) < 1e-9 and abs(my_k([1.0, -0.4]) - 0.3) < 1e-9, "mean first (-.3), then no less than 0"
# assert abs(my_good(2.0, 1.0, 0.5) - 0.3775) < 1e-3, "1 - sigmoid(.5 x (2 - 1))"

# %% [markdown]
# **08b** (D2) Write `my_log_odds(losses)` of one answer from the losses of its tokens: the log-odds of its probability
# *a token*. For probabilities .8 and .2 they differ by $\log 16$. What goes wrong: sums for means; the odds of a
# probability of nearly 1, where $1-p$ is 0 in the computer (what does the project do there? See `asft.py`).

# %%
# import math
# up, down = my_log_odds([-math.log(0.8)] * 3), my_log_odds([-math.log(0.2)] * 5)
# assert abs(up - down - 2.7726) < 1e-3 and abs(my_log_odds([math.log(2)] * 2)) < 1e-6, "a token, not an answer"

# %% [markdown]
# **08c** (D2) Write `my_simpo(chosen, rejected, beta, gamma)` from log-probs of tokens. With equal means it is
# $\log(1+e^\gamma)$. What goes wrong: sums; $\gamma$ for $\gamma/\beta$ (the released code's flag is the ratio; ours is
# $\gamma$ itself); the margin added instead of asked for.

# %%
# assert abs(my_simpo([-1.0, -3.0], [-2.0], beta=2.0, gamma=0.5) - 0.9741) < 1e-3, "equal means: log(1 + e^.5)"
# assert abs(my_simpo([-1.0, -1.0], [-2.0], beta=2.0, gamma=0.5) - 0.2014) < 1e-3, "log(1 + e^-1.5)"

# %% [markdown]
# **08d** (D3) Prove on paper that TPO with gold = chosen is CPO. Write `my_cpo(chosen, rejected)` and
# `my_tpo(chosen, rejected, gold)` for answers of one token each, and break the equality with a gold answer of your own.
# What goes wrong: likelihood of chosen where gold's is asked for.

# %%
# case = (-1.0, -2.0, -3.0)                             # one token each; beta 1, alpha 1
# assert abs(my_cpo(*case[:2]) - 1.3133) < 1e-3 and abs(my_tpo(*case) - 3.3133) < 1e-3, "the same pair; another NLL"
# assert abs(my_tpo(-1.0, -2.0, -1.0) - my_cpo(-1.0, -2.0)) < 1e-9, "gold = chosen"

# %% [markdown]
# ## Recall, without looking up
# 1. What does the reference do in DPO's margin, and what does it not do?
# 2. Name the three ways in which a loss over pairs can be held back, and a method for each.
# 3. Why must SimPO take means and not sums, if it has no reference?
# 4. (07) Which two numbers are logged apart, and what can both of them do while the margin grows?
