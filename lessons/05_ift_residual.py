# %% [markdown]
# # 05 · What if the model sees its own guess?
# *Afternoon path · about 25 minutes (our estimate) · needs 03 · IFT, arXiv:2405.11870v3, Eq. 17*
#
# After this lesson you can
# - make the model's own guess, shift it, and blend it with the demonstration;
# - say when IFT is the same as SFT, and when not;
# - tell a ghost that is a mistake from a ghost that is right, too.
#
# In SFT the model always reads the **demonstrator's** words so far. But when the model talks, it
# reads its **own** words. Nobody taught it what to say after those. The papers call this *exposure
# bias*.
#
# IFT mixes the two (*temporal residual*). For each word of the answer, the model itself has a guess
# which word comes there. IFT blends the two words. You will compute these guesses, shift them and
# blend them. Then you will watch a short training run, and see where guess and demonstration
# differ. We call such a place a **ghost**: there the model has left the true path. The code is in
# `nanouft/objectives/ift.py`.
#
# Two old questions: (00) In IFT, which words count more than others? (03) Which targets does the
# mask keep? (A third one, if you did lesson 01: to which places can place $i$ not look?)

# %% [markdown]
# ## Guess before you run
# We train for 40 steps on two families: "Reverse pig bee saw." and "Name two cities but not Doha,
# Oslo or Rome. End on fox." In the end the model's own guess is nearly always the demonstrator's
# word in ...
# - **a** both families;
# - **b** the first only;
# - **c** the second only;
# - **d** neither.

# %%
from course import Lesson, progress

lesson = Lesson("05", "abcd")

# %% [markdown]
# ## Make the guess, shift it
# At place $i-1$ the model has read the true words so far. It names the next word: this is its guess
# **for place $i$**. So we shift the row of guesses by one place, once. Only words of the answer are
# replaced, never the prompt. The guess is the likeliest word. Choosing a word is not
# differentiable, so no gradient flows through it.
#
# The last lines of this cell print an answer that no model was trained on. Below it you see what
# the base guesses for the same places.

# %%
from nanouft import world
from nanouft.batches import collate, encode
from nanouft.models.load import start_model
from nanouft.objectives import OBJECTIVES, ift
from nanouft.sampling import answer_rows, stops
from frozen_lake.demos import gold
from frozen_lake.lake import make_lake
from frozen_lake.learn import learn as learn_on_lake, method, task_of
from frozen_lake.planning import success
from frozen_lake.policies import start_policy
import draw
import torch

BREAK = False                   # the switch, see "Break it"
STEPS = 40
FAMILIES = ("reverse", "list")
base, tok = start_model("base")


def batch(rows: list):
    examples = OBJECTIVES["sft"].rows(rows, None)
    data, _ = encode(examples, tok, base.cfg.n_ctx)
    return collate(data, range(len(rows)), tok.pad)


def guesses(model, s):
    """(B,T) ids of the guess, the true ids elsewhere; (B,T) where it is a ghost."""
    likeliest = model(s.inputs, want="argmax")
    where = s.real if BREAK else s.mask           # these tokens are replaced
    guess = ift.own_guess(s.inputs, where, likeliest)
    ghost = (guess != s.inputs) & (s.real > 0)    # nobody reads what comes after an answer's end
    return guess, ghost


def word_places(s, r: int):
    """The places of the words of answer r. Its <|end|> is no word."""
    return 1 + (s.mask[r, :-1] * s.real[r, 1:]).nonzero()[:, 0]


rows = {f: world.rows("val", "demos", 40, 0, skills=(f,)) for f in FAMILIES}    # never trained on
tests = {f: batch(rows[f]).seqs["answer"] for f in FAMILIES}
words = {f: [word_places(tests[f], r) for r in range(40)] for f in FAMILIES}
of_base = {f: guesses(base, tests[f]) for f in FAMILIES}
first = words["reverse"][0]
print(tok.decode(tests["reverse"].inputs[0, first]))
print(tok.decode(of_base["reverse"][0][0, first]))

# %% [markdown]
# ## One equation
# $E(x)$ is the list of numbers that represents token $x$ (its *embedding*). In place of $E(x_i)$
# the model reads
# $$s_i=(1-\lambda)\,E(x_i)+\lambda\,E(g_i),\qquad g_i=\arg\max\,\pi(\cdot\mid x_{<i}),$$
# and must still say the demonstrator's next word. With $\lambda=0$ it reads the same as in SFT. The
# paper takes $\lambda=0.2$. Two laws follow:
# - The model says the **first** word of an answer before it reads any guess. So the loss of this
#   word does not depend on $\lambda$.
# - Where $g_i=x_i$, both halves are the same word. So **until the first ghost is read, $\lambda$
#   changes nothing**.

# %%
def nll(s, lam: float, model=base):
    """(B,T) nats: the model's loss of each target when it reads the blend."""
    guess, _ = guesses(model, s)
    blend = (1 - lam) * model(s.inputs, want="embeds") + lam * model(guess, want="embeds")
    return -model(embeds=blend, want="logp", targets=s.targets, at=s.mask.bool()).detach()


for f, s in tests.items():
    means = [nll(s, lam).sum() / s.mask.sum() for lam in (0, 0.2, 1)]
    print(f"{f}: loss at lam 0, 0.2 and 1:", *[f"{mean:.2f}" for mean in means])
    moved = (nll(s, 1.0) - nll(s, 0.0)).abs()
    is_first = s.mask.cumsum(1) == 1
    assert moved[is_first].max() < 1e-3, \
        "the loss of the first response token does not depend on lam"
    _, ghost = of_base[f]
    read = ghost.cumsum(1) > 0                      # a ghost has been read
    assert moved[~read].max() < 1e-3, "until the first ghost is read, lam changes nothing"
    assert moved[read].max() > 1e-3, "after that it does"

# %% [markdown]
# ## Watch the ghosts
# Now we train one model with IFT and one with SFT, on both families. IFT's second idea is switched
# off (`gamma=0`; see lesson 06). Before the first step and after each step we compute the guesses
# of both models, on answers that they never see in training.
#
# We ask one more question about each ghost of the base. Put the guess into the answer and leave all
# other words as they are. **Is that answer right as well?** If not, IFT teaches how to go on after
# a mistake. If it is, the ghost was no mistake at all.

# %%
def learn(name: str, **hp):
    """Before and after each step {family: (guess, ghost)}, and the trained model."""
    objective = OBJECTIVES[name]
    seen = []
    hp = objective.hp(**hp)
    model, _ = start_model("base")
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, betas=(0.9, 0.95))
    for step in progress(range(STEPS + 1), name):
        seen.append({f: guesses(model, s) for f, s in tests.items()})
        b = batch(world.rows("train", "demos", 32, step, skills=FAMILIES))
        objective.forward(model, b, hp)
        loss, _ = objective.loss(b, hp)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return seen, model


def also_right(f: str, r: int, place: int) -> bool:
    """Would answer r be right, too, with the base's guess at this place?"""
    ids = tests[f].inputs[r].clone()
    ids[place] = of_base[f][0][r, place]
    return world.score(rows[f][r].prompt[0].text, tok.decode(ids[words[f][r]])) == 1


def percent_of_words(f: str, ghost) -> float:
    return 100 * ghost.sum().item() / sum(map(len, words[f]))


runs, models = {}, {}
runs["IFT"], models["IFT"] = learn("ift", gamma=0)
runs["SFT"], models["SFT"] = learn("sft", reduction="sequence")
ghosts = {}                     # (family, name) -> per cent of the words, step by step
could = {}                      # family -> for each ghost of the base: would it be right, too?
for f in FAMILIES:
    could[f] = [also_right(f, r, place) for r, place in of_base[f][1].nonzero().tolist()]
    for name, seen in runs.items():
        share = [percent_of_words(f, look[f][1]) for look in seen]
        ghosts[f, name] = share
        print(f"{f}, {name}: {share[0]:.0f} % ghosts "
              f"({sum(could[f])} of {len(could[f])} right, too), then {share[-1]:.0f} %")

# %% [markdown]
# ## Is the blend a better estimate?
# The paper gives a reason for the blend. SFT scores each word after the **true** words before it.
# So, it says, SFT *overestimates* what the model can do alone, and the blend estimates better. Here
# we can check. We ask the SFT model for reversals, 16 samples each. The **truth** is the share of
# right samples. The **estimate** is the chance that the model gives to the whole right answer:
# multiply the chances of its words, after the true words ($\lambda=0$) or after the blend. Is the
# estimate of SFT too high? Say what you think before you run.
#
# Beside it stands a frozen lake (more in lesson 04), where everything is exact. A walker who used
# to take the detour has learnt for ten updates. How likely does it walk the demonstrator's path?

# %%
LAMS = (0, 0.2, 0.5, 1)
solver = models["SFT"]
asked = [row for row in rows["reverse"] for _ in range(16)]
samples = answer_rows(solver, tok, asked, temperature=1.0, seed=0)
is_right = [stops(a, tok) and world.score(row.prompt[0].text, tok.decode(a.ids).strip()) == 1
            for row, a in zip(asked, samples)]
words_say = [-nll(tests["reverse"], lam, solver).sum(1) for lam in LAMS]     # log of a chance
estimates = {"reversals": [100 * sum(is_right) / len(is_right)]
             + [100 * x.exp().mean().item() for x in words_say]}

lake = make_lake("twoway5")
task = task_of(lake, 1)
walker = start_policy("table", "presub", task, [0])
policy = learn_on_lake(task, walker, method("sft"), steps=10, lr=2e-2).policies[-1][0]      # (S,4)


def chance_of_path(lam: float) -> float:
    """Per cent: all moves of the demonstrator, each made from the blend of its cell and of the cell
    where the walker's likeliest move would have led."""
    chance, ghost = 100.0, lake.start
    for cell, move in gold(lake):
        logits = (1 - lam) * policy[cell].log() + lam * policy[ghost].log()
        chance *= logits.softmax(-1)[move].item()
        ghost = int(lake.step[cell, policy[cell].argmax()])
    return chance


arrives = 100 * success(lake, policy)[lake.start].item()
exact = chance_of_path(0)           # own walk and demonstrator's path share every cell up to there
estimates["lake"] = [exact] + [chance_of_path(lam) for lam in LAMS]
for name, (truth, *said) in estimates.items():
    print(f"{name}: truth {truth:.1f} %; estimates at lam 0, 0.2, 0.5, 1:",
          *[f"{x:.1f}" for x in said])
print(f"the walker arrives, on any path: {arrives:.1f} %")
assert abs(estimates["reversals"][0] - estimates["reversals"][1]) < 5, "SFT's estimate is right"
assert exact < arrives, "the chance of one right path is no overestimate of arriving"
assert all(said[1] >= said[-1] for said in estimates.values()), "the full blend says less"

# %%
def guessed(step: int, f: str, place: int) -> str:
    """IFT's guess in the first answer of a family; a cross says that it is a ghost."""
    guess, ghost = runs["IFT"][step][f]
    word = tok.decode([int(guess[0, place])]).strip("<|> ")
    return f"× {word}" if ghost[0, place] else word


columns = [(f, place) for f in FAMILIES for place in words[f][0]]
true_words = [tok.decode([int(tests[f].inputs[0, place])]).strip() for f, place in columns]
steps = (0, STEPS // 10, STEPS // 5, STEPS // 2, STEPS)
table = {f"step {step}": [guessed(step, f, place) for f, place in columns] for step in steps}
# Seen: Guesses at five steps; below, the share of ghosts over the steps, and truth and estimates.
fig, ax = draw.panels([["table", "table"], ["ghosts", "estimates"]], height_ratios=(6, 6),
                      width_ratios=(6, 5))
draw.table(ax["table"], true_words, table,
           "first line: a reversal, then a list; below: guesses (× ghost)")
curves = {f"{f}, {name}": share for (f, name), share in ghosts.items()}
draw.lines(ax["ghosts"], range(STEPS + 1), curves, "ghosts (% of the words)", "step",
           ylim=(0, None))
draw.bars(ax["estimates"], estimates, ["truth", "SFT", "lam .2", "lam .5", "lam 1"],
          "chance of the right answer (%)", top=None, size=15)
lesson.picture(fig, BREAK=(BREAK, False))

# %% [markdown]
# ## The proof

# %%
stay_in_list = ghosts["list", "IFT"][-1] > 10
if ghosts["reverse", "IFT"][-1] > 10:
    did = "d" if stay_in_list else "c"
else:
    did = "b" if stay_in_list else "a"
lesson.compare(did)
assert did == "b", "ghosts fade where one word is right"
assert ghosts["list", "IFT"][-1] > 30, "ghosts stay where many words are right"
assert sum(could["list"]) > len(could["list"]) / 2, "most ghosts of a list are right, too"
assert sum(could["reverse"]) == 0, "no ghost of a reversal is right"

# %% [markdown]
# - **One right word (`reverse`).** Once the model has learnt it, its guess *is* the demonstrator's
#   word. The ghosts go, and the second law applies. **From there on IFT is SFT**, whatever
#   $\lambda$ is. (Lesson 06 adds weights.) People say "after a few updates IFT is weighted SFT".
#   On text this is true only where one word is right.
# - **Many right words (`list`).** Nobody can guess which cities the demonstrator will name. The
#   ghosts never go away. But most of them would be *right, too*: the blend shows another good list,
#   not a mistake. And four fifths of the blend are still the true word. So the base hardly notices
#   (see its loss at $\lambda$ 0 and 0.2, above).
# - **The lines of SFT.** SFT loses its ghosts, too. The share of ghosts is 1 minus the accuracy of
#   the guess for the next word, and any training lowers it. IFT *reads* the ghosts, but that is not
#   why they disappear.
# - **The estimate.** SFT's estimate is not too high. For a whole answer the chances multiply to
#   exactly the chance that the model says it (the *chain rule*): a sample reaches the second word
#   only through a right first one. On the lake the two are equal to the last digit, and arriving is
#   even likelier, because other paths arrive, too. The full blend says *less* than the truth. In
#   claim C7 (`python -m lab.residual`) more models say the same.
#
# One base, one seed, one short run: this is a mechanism. Whether IFT helps is another question:
# lesson 17, and `docs/claims.md`.
#
# ## Break it
# With `BREAK = True` words of the prompt are replaced by guesses, too, not only words of the
# answer. First say which law will fail, and why the other one does not. The run stops at the law
# that fails: that is the answer.
#
# *Read on after your run.* The first law fails: now the model reads guesses before the first word
# of the answer. The second law still holds: a replaced word of the prompt counts as a ghost, too.
#
# ## Same letter, other meaning
# $\lambda$ here: the share of the model's own guess in what it reads. In GAE: how far a reward
# reaches back. In ORPO: the weight of a second loss. And $E$ here is the embedding, not an
# expectation.
#
# ## Exercises
# `python -m lessons.grade 05a` judges them (`lessons/exercises/README.md` says how).
#
# - **05a** (D1) `own_guess(inputs, mask, argmax)`: the row of the model's own guesses, each at its
#   place, and only in the answer.
# - **05b** (D2) `blend(E, gold, guess, lam)`: the embedding that IFT reads, with no gradient
#   through it.
# - **05d** (D3, debug) `is_broken(own_guess)`: a test of `own_guess` that has a mistake: it accepts
#   broken functions, or refuses the right one.
#
# ## Recall, without looking up
# 1. At which place does the model guess the word for place $i$, and what has it read there?
# 2. Why does the loss of the first word not depend on $\lambda$, although the whole prompt passes
#    through the network?
# 3. IFT's guess comes from the true words so far. Why is that not yet the model's own path?
# 4. A run shows 30 % ghosts that do not fade. Name a good and a bad reason.
#
# <details><summary>Answers</summary>
#
# 1. At place i - 1, after the true words up to there.
# 2. The prompt is never replaced. So what the model reads before the first word is the same for
#    each lam.
# 3. Each guess is one step away from the demonstrator's words. The next guess starts from the true
#    words again, so mistakes do not add up as they do in talking.
# 4. Good: many words are right, as in lists. Bad: nothing is learnt (learning rate, steps), or the
#    guess is not shifted.
#
# The old questions: (00) Words after which the answer goes wrong. (03) The tokens of the answer and
# its `<|end|>`. (01) To all places after i.
#
# </details>
#
# **Next:** `lessons/05L_ghosts.py`. On the afternoon path: `lessons/06_ift_propagation.py`.
