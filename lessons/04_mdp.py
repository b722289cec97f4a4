# %% [markdown]
# # 04 · Whose states do you train on?
# *Core · about 25 minutes (estimated, n=0) · needs 03 · language as an MDP: arXiv:2405.11870, section 3 and Table 1*
#
# A model that talks is a walker. Where it stands (the **state**): all tokens so far. What it does (the **action**): it
# names the next one. Where that leads: to the same text, one token longer; nothing slips. Such a thing is called a
# *Markov decision process*. Texts are too many to look at one by one. So we take a lake: 17 cells of ice, four arrows
# each, holes, a flag. There we can ask, of **every** state, what a model has learnt to do there.
#
# | text | lake |
# |---|---|
# | tokens so far | cell |
# | next token | arrow |
# | demonstration | the best path: 8 cells, 8 arrows |
# | a right answer that ends with `<\|end\|>` | the flag |
#
# Two old questions: (03) what is the push of SFT on a token that pays? (01) one row asks how many questions at once?

# %% Guess before you run. Nothing is checked, but the lesson will remind you.
MY_GUESS = None   # One student imitates the best path (SFT), one walks by itself and is paid for arriving. From the
                  # start both arrive, always. Dropped on one of the 9 other cells, who mostly arrives?
                  # "a" both   "b" only the one that walked by itself   "c" neither

# %% [markdown]
# ## The same loss, other states
# Nothing of SFT has to be rewritten. In a row for SFT, `inputs` are the tokens so far and `targets` what comes next;
# here they are the cells of the path and the arrows taken there. The student is a table: four numbers (logits) a cell,
# softmax makes chances of them. There are 20 students, each with other small random numbers at the start.

# %%
from nanouft.look import plots
from frozen_lake.demos import gold
from frozen_lake.lake import ARROWS, make_lake
from frozen_lake.learn import learn, method, seqs_of, task_of
from frozen_lake.planning import greedy, success
from frozen_lake.policies import Net, Table

BREAK = False                                           # the switch, see "Break it"
N, STEPS, RATE = 20, 200, 0.02                          # students, updates, learning rate
lake = make_lake("twoway5")
row, S = seqs_of([path := gold(lake)]), lake.S
on = [cell for cell, _ in path]                         # the demonstrator's states
off = [cell for cell in lake.live if cell not in on]    # the rest of the ice
print(*lake.rows, sep="\n")
print("inputs: ", *row.inputs[0].tolist(), "\ntargets:", *(("<v>^"[a]) for a in row.targets[0].tolist()))

# %% [markdown]
# ## One equation
# Nearly all methods of this course push log-probabilities up and down. They differ in three things:
# $$\text{push}=\mathbb E_{s\sim d}\;\mathbb E_{a\sim q(\cdot\mid s)}\big[\,w(s,a)\,\nabla\log\pi(a\mid s)\,\big].$$
# **Whose states** $d$, **whose actions** $q$, **which weight** $w$. Lesson 03 was about $w$ (0 or 1). SFT takes both
# states and actions from the demonstrator. *Policy gradient* takes both from the student itself, and its weight is what
# the rest of the walk brings in: a flag reached after $n$ moves is worth $0.99^{n-1}$. On a lake this expectation can
# be computed over all walks at once, so no luck is involved. Each student starts from S; nobody is dropped anywhere.

# %%
start = (Net(N, S) if BREAK else Table(N, S, 0.1)).probs()                      # (N,S,4) before any training
students = {}                                                                   # {name: (N,S,4) chances of each arrow}
for name, rule in (("imitates (SFT)", "sft"), ("walks by itself", "pg")):
    trace = learn(task_of(lake, N), Net(N, S) if BREAK else Table(N, S, 0.1), method(rule), STEPS, RATE, every=STEPS)
    students[name] = trace.policies[-1]

# From each cell each student takes its likeliest arrow until the flag, a hole or 100 moves: 1 if it arrives, else 0.
arrives = {name: success(lake, greedy(p)) for name, p in students.items()}      # (N,S)
share = {name: (100 * a[:, on].mean().item(), 100 * a[:, off].mean().item()) for name, a in arrives.items()}
for name, (at_home, aside) in share.items():
    print(f"{name}: from the path's 8 cells {at_home:.0f} % arrive, from the 9 others {aside:.0f} %")

# %% [markdown]
# ## The surprise
# In its own exam, from the start, the imitator is perfect. One cell aside it is lost: **in the cells where the
# demonstrator never stood it has learnt nothing**. There it does what it did before training; those that arrive all the
# same were lucky with their first numbers. No loss on demonstrations can show this: all their states are on the path.
# The other student was never told a right move; but while it was still clumsy it walked everywhere, and learnt there.
#
# The exam changes as soon as a student slips. Below, each move goes wrong with probability $\varepsilon$ (one of the
# other three arrows). Then 8 moves in a row are right with probability $(1-\varepsilon)^8$, and that is a floor. What
# lies above the floor was won back *after* a slip. In text every long answer has slips: a model samples its words. The
# papers call the gap between the states of training and those of talking *exposure bias*; that errors then pile
# up is known since imitation learning (Ross and Bagnell 2010).

# %%
slips = [0.0, 0.05, 0.1, 0.2, 0.3]
with_slips = {name: [success(lake, (1 - e) * g + e / 3 * (1 - g))[:, lake.start].mean().item() for e in slips]
              for name, g in ((name, greedy(p)) for name, p in students.items())}
floor = [(1 - e) ** len(path) for e in slips]
assert all(x >= f - 1e-9 for y in with_slips.values() for x, f in zip(y, floor)), "8 right moves in a row arrive"

plots.plt.rcParams["font.size"] = 16
fig, axes = plots.plt.subplots(1, 3, figsize=(18, 6), width_ratios=(5, 5, 6))
for ax, (name, a) in zip(axes, arrives.items()):
    now = {cell: 100 * a[:, cell].mean().item() for cell in lake.live}
    ax.imshow([[now.get(y * 5 + x, float("nan")) for x in range(5)] for y in range(5)], cmap="Blues", vmin=0, vmax=160)
    for cell in range(S):
        word = f"{now[cell]:.0f} %\n{ARROWS[dict(path)[cell]] if cell in on else ''}" if cell in now else "hole"
        ax.text(cell % 5, cell // 5, "flag" if cell == lake.goal else word, ha="center", va="center")
    ax.set(title=f"{name}, % that arrive", xticks=[], yticks=[], facecolor="#BBBBBB")
for (name, y), style, colour in zip(with_slips.items(), ("-", "--"), plots.LINES):
    axes[2].plot(slips, y, style, marker="o", color=colour, lw=3, label=name)
axes[2].plot(slips, floor, ":", color="black", lw=2, label="8 right moves in a row")
axes[2].set(title="from the start, with slips", xlabel="chance that a move goes wrong", ylabel="share that arrives")
axes[2].set_ylim(0, 1.02), axes[2].legend(frameon=False, loc="lower left")
print("\npicture:", plots.save(fig, plots.Path("out/lessons/04.png")))

# %% [markdown]
# ## The proof

# %%
did = {(True, True): "a", (False, True): "b", (False, False): "c"}[tuple(aside > 50 for _, aside in share.values())]
print(f"you guessed {MY_GUESS!r};" if MY_GUESS else "you wrote no guess (MY_GUESS, above);", f"it did {did!r}")
imitator = students["imitates (SFT)"]
assert (imitator[:, off] == start[:, off]).all(), "where the demonstrator never stood, not one bit has changed"
assert did == "b" and all(at_home == 100 for at_home, _ in share.values()), "perfect at home, lost one cell aside"

# %% [markdown]
# - **Why not always walk by oneself?** It takes somebody who pays, and walks that happen to arrive. Put `"reinforce"`
#   in place of `"pg"`: 16 sampled walks a step, not all walks at once. From the 9 other cells, how many arrive now?
# - **Between the two** stands the rest of the course. DPO reads a rejected answer, too: a few more states. IFT (lesson
#   05) asks: what if the demonstrator's state is *blended* with the one where the student would have gone?
#
# One lake, a table, exact gradients: a mechanism. That it matters for your text is a claim to be measured there.
#
# ## Break it
# `BREAK = True`: a network in place of the table, as for text. It shares its numbers between cells. Say first which
# assertion falls, and whether the imitator will now find its way from the other cells. (Is a change an improvement?)
# And the one that walks by itself: why is it worse than as a table?
#
# ## Same letter, other meaning
# $d$ here: a distribution of states. $\pi$: the model. $s$ is a state here, not a score.
#
# ## Exercises (take away the first `# ` of the lines that check you)
# **04a** (D1) A model errs with probability $\varepsilon$ a token and never finds back. Write `my_drift(eps, n)`: the
# chance that it is still on the path after `n` tokens. What goes wrong: $1-n\varepsilon$ (negative for long answers);
# one token too few.

# %%
# assert abs(my_drift(0.1, 8) - 0.430) < 1e-3, "0.9 to the power of 8"
# assert abs(my_drift(0.01, 200) - 0.134) < 1e-3, "one error in a hundred, 200 tokens: 13 % are still on the path"

# %% [markdown]
# **04b** (D2) Policy gradient by hand. One state, two actions with chances $p$ (softmax of two logits), rewards $r$.
# Write `my_gradient(p, r)`: how does the expected reward $\sum_a p_a r_a$ grow with each logit? Add it up over both
# actions, nothing is sampled. What goes wrong: $p$ forgotten; the sign; only the chosen logit moves.

# %%
# half, sure = my_gradient(torch.tensor([0.5, 0.5]), torch.tensor([1.0, 0])), torch.tensor([0.8, 0.2])
# assert torch.allclose(half, torch.tensor([0.25, -0.25])), "up by 1/4, down by 1/4"
# assert torch.allclose(my_gradient(sure, torch.tensor([1.0, 0])), torch.tensor([0.16, -0.16])), "p (r - mean reward)"
# assert my_gradient(sure, torch.tensor([1.0, 1])).abs().max() < 1e-6, "equal rewards teach nothing"

# %% [markdown]
# **04c** (D1, cards; the paper's Table 1) In which states does a method push? `d`: where the demonstrator stood; `o`:
# where the model goes *now*; `p`: where its start model went in the *past*. Give each method one or two letters: SFT,
# PPO, DPO on stored pairs whose losers the start model wrote, and DPO whose losers are written anew in each step. What
# goes wrong: stored losers are taken for own ones; the prompt's author for the answer's.

# %%
# right = {"SFT": "d", "PPO": "o", "DPO stored": "dp", "DPO anew": "do"}
# assert my_cards == right, "two methods read one kind of state, two read two kinds"

# %% [markdown]
# ## Recall, without looking up
# 1. What are state, action and transition when a model talks? Why is nothing slippery there?
# 2. The imitator's loss on its training path is near zero. What does that say about the other cells?
# 3. Which of $d$, $q$, $w$ does lesson 03 change, and which this lesson?
# 4. (03) What happened to the model whose mask left out `<|end|>`? Which *state* had it never been asked about?
# 5. Why did the table, trained on its own walks, know cells that it does not pass any more?
