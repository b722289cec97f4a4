# %% [markdown]
# # 05L · What does IFT copy, and where to?
# *Companion of 05, on the lake · about 15 minutes (estimated, n=0) · needs 04 · IFT, arXiv:2405.11870, Eq. 17*
#
# Lesson 05 blends a word of the demonstrator with the word that the model would have said. On the lake of lesson 04 the
# same idea can be seen whole. The demonstrator moves along its path. One move earlier, the student would perhaps have
# gone elsewhere: there stands its **ghost**. IFT blends the true cell with the ghost's, and trains the blend on the
# demonstrator's **next arrow**. So that arrow is stamped on a cell where the demonstrator never stood. Is it right
# there? On a lake we can ask every ghost, since value iteration knows the best arrows of each cell.
#
# Two old questions: (04) what has SFT learnt in cells beside the path? (05) at which place was the guess made?

# %% Guess before you run. Nothing is checked, but the lesson will remind you.
MY_GUESS = None   # the copied arrow is a best one where the ghost stands ...   "a" nearly always   "b" hardly ever
                  # "c" mostly on one lake, seldom on another

# %% [markdown]
# ## One equation
# $e(s)$ is the one-hot vector of cell $s$ (the lake's embedding). The student's own arrow at the true cell leads to
# $g_i$:
# $$s_i=(1-\lambda)\,e(s^*_i)+\lambda\,e(g_i),\qquad
# g_i=\mathrm{step}\big(s^*_{i-1},\ \arg\max\,\pi(\cdot\mid s^*_{i-1})\big).$$
# The ghost is **one** move away from the demonstrator, never more: this is not yet a walk of the student's own. A move
# into the wall is no move, so the ghost stays one step behind. A ghost in a hole is lost; it is not listed.

# %%
from nanouft.look import plots
from frozen_lake.demos import ghosts, gold
from frozen_lake.lake import ARROWS, make_lake
from frozen_lake.learn import learn, method, task_of
from frozen_lake.planning import optimal_actions
from frozen_lake.policies import Table
import torch                                            # after nanouft, which lets idle threads sleep

BREAK = False                                           # the switch, see "Break it"
N, STEPS = 20, 60                                       # students, each with other random numbers; updates
lakes = {name: make_lake(name) for name in ("twoway5", "corridor4")}
listed = {name: ghosts(lake, gold(lake)) for name, lake in lakes.items()}
words = "left", "down", "right", "up"
for name, lake in lakes.items():
    print(name, *lake.rows, sep="\n")
    for g in listed[name]:
        print(f"  cell {g.cell} -> ghost at {g.at}{' (wall)' * g.bump}, is told {words[g.copied]}: {g.right}")
right = {name: sum(g.right for g in gs) / len(gs) for name, gs in listed.items()}
for name, gs in listed.items():
    beside = [g for g in gs if g.at not in [cell for cell, _ in gold(lakes[name])]]
    print(f"{name}: {len(gs)} ghosts, {sum(g.bump for g in gs)} at a wall, {sum(g.right for g in gs)} told a best "
          f"arrow; beside the path {len(beside)}, {sum(g.right for g in beside)} told a best arrow")

# %% [markdown]
# Now look where they stand. Nearly all ghosts are *late*, not elsewhere: they are one or two steps behind on the path
# itself, where SFT teaches anyhow. Those beside the path are the ones that could help where SFT is silent. On these two
# lakes all of them are told a wrong arrow.
#
# ## Watch them fade
# The ghosts above are all that *could* stand there. Which of them do, depends on the student. So train 20 students by
# IFT, and before each update look which of their arrows still differ from the demonstrator's. SFT stands beside it.

# %%
lake, path = lakes["twoway5"], gold(lakes["twoway5"])
true = torch.tensor([cell for cell, _ in path])
off = [cell for cell in lake.live if cell not in true]
rules = {"IFT": method("ift sampled" if BREAK else "ift"), "SFT": method("sft")}
runs = {name: learn(task_of(lake, N), Table(N, lake.S, 0.3), rule, STEPS).policies for name, rule in rules.items()}
own = {name: lake.step[true, run[:, :, true].argmax(-1)] for name, run in runs.items()}      # (STEPS+1,N,8) next cells
fade = {name: (cells[..., :-1] != true[1:]).double().mean((1, 2)) * 100 for name, cells in own.items()}
last = 1 + max(t for t, share in enumerate(fade["IFT"]) if share > 0)       # the first update without any ghost
print(f"ghosts of IFT: {fade['IFT'][0]:.0f} % of the places at first, none from update {last} on")
changed = {name: [c for c in off if (run[-1, :, c] != run[0, :, c]).any()] for name, run in runs.items()}
print("cells beside the path that changed:", changed)

# %%
plots.plt.rcParams["font.size"] = 16
fig, axes = plots.plt.subplots(1, 3, figsize=(18, 6), width_ratios=(5, 5, 6))
for ax, (name, lk) in zip(axes, lakes.items()):
    ax.imshow([["SFHG".index(c) == 2 for c in row] for row in lk.rows], cmap="Greys", vmax=2)
    for cell in lk.live:
        told = [f"{ARROWS[g.copied]} {'✓' if g.right else '✗'}" for g in listed[name] if g.at == cell]
        ax.text(cell % lk.width, cell // lk.width, "\n".join(told), ha="center", va="center")
    ax.text(lk.goal % lk.width, lk.goal // lk.width, "flag", ha="center", va="center")
    ax.plot(*zip(*((c % lk.width, c // lk.width) for c, _ in gold(lk))), lw=14, alpha=0.25, color=plots.LINES[0])
    ax.set(title=f"{name}: arrows told to ghosts", xticks=[], yticks=[])
for (name, share), style, colour in zip(fade.items(), ("-", "--"), plots.LINES):
    axes[2].plot(share, style, color=colour, lw=3, label=name)
axes[2].set(title="places where a ghost stands, %", xlabel="update", ylim=(0, None)), axes[2].legend(frameon=False)
print("\npicture:", plots.save(fig, plots.Path("out/lessons/05L.png")))

# %% [markdown]
# ## The proof

# %%
did = "a" if min(right.values()) > 0.5 else "b" if max(right.values()) < 0.5 else "c"
print(f"you guessed {MY_GUESS!r};" if MY_GUESS else "you wrote no guess (MY_GUESS, above);", f"it did {did!r}")
assert not changed["SFT"] and set(changed["IFT"]) <= {g.at for g in listed["twoway5"]}, "IFT goes where ghosts stand"
assert (runs["IFT"][last:, :, off] == runs["IFT"][-1][:, off]).all(), "without ghosts IFT leaves the path no more"
assert did == "c" and not optimal_actions(lake)[1, 1], "and the arrow told at cell 1 leads into a hole"

# %% [markdown]
# - **A copied arrow is a bet.** It wins where the best arrow does not change over one step, as on a long straight way.
#   It loses at corners and beside the path. Nobody looked whether it is right: for that, an expert would have to
#   answer *at the ghost*.
# - **The bet is short.** After a few updates the guess is the demonstrator's arrow, the ghost stands on the true cell,
#   and the blend is no blend: from then on IFT is SFT with weights (lesson 06). Cells beside the path stay as they are.
# - **The dashed line.** SFT loses its ghosts as well, and reads none.
#
# ## Break it
# `BREAK = True` draws the guess at random from the student's chances, in place of its likeliest arrow. Which assertion
# falls, and why must it? Does the student now learn more beside the path, and is what it learns there right?
#
# ## Exercise (take away the first `# ` of the lines that check you)
# **05e** (D2) Write `my_ghosts(step, best, path, live)` and count: how many ghosts, how many told a best arrow? `step`
# gives the cell behind each of the four arrows of a cell, `best` whether an arrow is a best one there, `path` is the
# demonstrator's list of (cell, arrow). Only ghosts on `live` cells count. What goes wrong: the arrow is judged in the
# true cell; walls are forgotten; the ghost is told its own arrow, or the arrow of one place earlier.

# %%
# tables = {name: (on.step.tolist(), optimal_actions(on).tolist(), gold(on), on.live) for name, on in lakes.items()}
# found = {name: my_ghosts(*table) for name, table in tables.items()}
# assert found == {"twoway5": (17, 12), "corridor4": (7, 2)}, "walls count, holes do not; judged where the ghost stands"

# %% [markdown]
# ## Recall, without looking up
# 1. Where does a ghost stand if the student would have walked into the wall?
# 2. Who decided that the copied arrow is right at the ghost's cell?
# 3. Why does IFT change nothing beside the path any more, once the guesses are the demonstrator's arrows?
# 4. (04) Policy gradient learnt something in all 17 cells. What did it have that IFT has not?
