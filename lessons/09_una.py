# %% [markdown]
# # 09 · Can one number per answer replace pairs?
# *Core · about 25 minutes (estimated, n=0) · needs 07 (DPO: pairs of a better and a worse answer, compared with the
# start model) · UNA, arXiv:2408.15339, Eq. 6-13, `nanouft/objectives/una.py`*
#
# DPO wants pairs: two answers to one question, and which is better. But people rate one answer at a time: a star, a
# thumb, a grade between 0 and 1. UNA (*unified alignment*) learns from that number alone. It keeps DPO's idea of an
# **implicit reward** $i$, how much likelier the policy finds an answer than its start model (the *reference*) does.
# Squashed into (0, 1) by the sigmoid $\sigma$, it is a grade; UNA makes it equal to the grade that was given.
#
# Two old questions: (03) What is the push on a token that pays, in SFT? (06) What if a weight is made of losses?

# %% Guess before you run. Nothing is checked, but the lesson will remind you.
MY_GUESS = None   # answers that all have grade 1/2, half right. Ten steps of UNA, starting at the reference: the model
                  # "a" answers half right   "b" says less of what it read   "c" has not moved, to the last bit

# %% [markdown]
# ## One equation
# For one answer $y$ of any length, all its tokens summed, with $\beta$ for how much a nat counts:
# $$i=\beta\log\frac{\pi(y\mid x)}{\pi_{\rm ref}(y\mid x)},\qquad L=\big(\sigma(i)-\text{grade}\big)^2,\qquad
# -\frac{\partial L}{\partial\log\pi(y_t)}=2\beta\,(\text{grade}-\sigma)\,\sigma\,(1-\sigma).$$
# The push is the same on each token of the answer. Its **sign** depends on where the policy is: too low, up; too
# high, down. SFT and DPO never stop pushing; UNA does, where $\sigma(i)$ is the grade. The dashed curves of the
# picture are the other form, `--loss bce`: $-\text{grade}\log\sigma(i)-(1-\text{grade})\log\sigma(-i)$. It rests at
# the same place.

# %%
import copy
from nanouft.models.load import start_model
from nanouft.models.generate import answer_rows
from nanouft.objective import Batch, Seqs, pushes
from nanouft import world
from nanouft.look import plots
from nanouft.data.batches import collate, encode, order


from nanouft.objectives import OBJECTIVES
import torch                                            # after nanouft, which sets how threads wait

BREAK, SEED, STEPS = 0.0, 0, 40                         # the switch, see "Break it"
torch.set_num_threads(2)                                # fp32, two threads, fixed seeds: nearly equal on each machine
(base, tok), SKILLS = start_model("base"), ("sum", "sort", "truth")
una, dpo = OBJECTIVES["una"], OBJECTIVES["dpo"]
tests = world.rows("val", "prompts", 120, seed=0, skills=SKILLS)


def push(i, grade: float, form: str):       # (N,) on one token of answers with implicit reward i, the project's loss
    one, hp = torch.ones(len(i), 1), una.hp(loss=form)
    s = Seqs(one, one, one, one, {"ref": 0 * one}, i[:, None] / hp.beta)
    return pushes(una, Batch({"answer": s}, {"score": 0 * i + grade}, tokens={"answer": 1}), hp)["answer"][:, 0]


# %% [markdown]
# ## Live
# Three learners start from the base, on sums, sorting and questions with a popular wrong answer (*truth*).
# - `DPO`: pairs, a right and a wrong answer to each question.
# - `UNA`: **torn** data. Each question stands there with ONE answer, right, partly right or wrong, and its grade. No
#   question has two answers, so DPO could not use a single row of it.
# - `halves`: UNA on answers that all have grade 1/2.
#
# The reference is the base itself, asked live about the same batch.

# %%
def train(objective, rows, lr: float, steps: int):
    print(f"training on {len(rows):,} rows for {steps} steps ...")
    model, hp = copy.deepcopy(base), objective.hp()
    data, _ = encode(objective.rows(rows, hp), tok, base.cfg.n_ctx)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, betas=(0.9, 0.95), weight_decay=0.0)
    for batch in (collate(data, rows, tok.pad) for rows in order([e.length for e in data], 32, steps, SEED)):   # data
        with torch.no_grad():
            objective.forward(base, batch, hp)
        for s in batch.seqs.values():                                               # the reference, a column of numbers
            s.ref = s.logp + BREAK * torch.randn(s.logp.shape)
        objective.forward(model, batch, hp)                                         # forward
        loss, _ = objective.loss(batch, hp)                                         # objective
        optimizer.zero_grad(), loss.backward(), optimizer.step()                    # update
    return model


def exam(model) -> list[float]:
    answers = answer_rows(model, tok, tests)
    scores = [world.score(r.prompt[0].text, tok.decode(a.ids).strip()) for r, a in zip(tests, answers)]
    return (torch.tensor(scores).view(3, 40).mean(1) * 100).tolist()


pairs, torn = (world.rows("train", kind, 600, SEED, skills=SKILLS) for kind in ("pairs", "scores"))
halves = [r for r in world.rows("train", "scores", 9000, SEED, skills=SKILLS) if r.score == 0.5]
models = {"base": base, "DPO, pairs": train(dpo, pairs, 3e-5, STEPS), "UNA, torn": train(una, torn, 1e-4, STEPS),
          "UNA, halves": train(una, halves, 1e-4, 10)}
marks = {name: exam(model) for name, model in models.items()}
moved = max((p - q).abs().max().item() for p, q in zip(models["UNA, halves"].parameters(), base.parameters()))

# %%
plots.plt.rcParams["font.size"] = 16
fig, (left, right) = plots.plt.subplots(1, 2, figsize=(16, 7))
i, pulls = torch.linspace(-6, 6, 61), {}
for grade, colour, style in ((1.0, plots.UP, "^-"), (0.5, plots.GREY, "o-"), (0.0, plots.DOWN, "v-")):
    for form, look in (("mse", style), ("bce", "--")):
        pulls[grade, form] = push(i, grade, form)
        left.plot(i, pulls[grade, form], look, color=colour, markevery=6, ms=9, lw=2, label=f"grade {grade:g}, {form}")
left.set(title="push on each token: + up, - down", xlabel="implicit reward i (0 = at the reference)")
for k, (name, m) in enumerate(marks.items()):
    print(f"{name:<12}" + "".join(f"  {skill} {x:3.0f} %" for skill, x in zip(SKILLS, m)))
    look = {"color": (plots.GREY, *plots.LINES)[k], "hatch": ("", "", "//", "..")[k], "ec": "white", "label": name}
    right.bar_label(right.bar(torch.arange(3) + 0.22 * k, m, 0.2, **look), fmt="%.0f")
right.set(title="exact score, %", ylim=(0, 115), xticks=[0.33, 1.33, 2.33], xticklabels=SKILLS)
left.legend(frameon=False, fontsize=14), right.legend(frameon=False, ncol=2, loc="upper center", fontsize=14)
print("\npicture:", plots.save(fig, plots.Path("out/lessons/09.png")))

# %% [markdown]
# ## The proof

# %%
print(f"you guessed {MY_GUESS!r};" if MY_GUESS else "you wrote no guess (MY_GUESS, above);",
      "it did 'c';" * (not moved), f"the largest change of a weight is {moved:g}")
assert pulls[0.5, "mse"][30].abs() < 1e-6 and (BREAK or not moved), "at the start, a grade of 1/2 teaches nothing"
assert sum(marks["UNA, torn"]) > sum(marks["DPO, pairs"]) - 15, "here torn answers with a number do the work of pairs"

# %% [markdown]
# - **Grade 1/2 means: stay where you are.** At the reference $\sigma(0)=1/2$: the push is exactly zero and stays
#   zero. So 1/2 is the border between *more of this* and *less of this*, whatever your raters meant by it. Move all
#   grades up by 0.2, and every mediocre answer becomes something to imitate.
# - **One number was enough**, in these runs of one seed, with each method's default rate: torn answers, half as many
#   of them, did not do worse than pairs. A grade also says by how much. But a wrong one has no partner to correct it.
# - **The same trap as DPO's.** Add the family `unknown`, where "I do not know." is the right answer: it is then the
#   cheapest way to many grades, and `python -m nanouft.train --objective una` says it about nearly everything
#   (families `unknown` and `fact` of its table: 100 and 4 %, one seed).
# - **The price**: an answer's reward is only known up to a number that depends on the question ($\beta\log Z(x)$, see
#   07). In a pair it cancels. UNA has one answer, and **assumes** that it is zero. Exercise 09b shows what that
#   hides.
# - **The end of the curves**: for an answer far below its grade (left end, grade 1) `mse` gives up, `bce` does not.
#
# ## Break it
# `BREAK = 1e-7`: the reference is wrong by a ten-millionth of a nat, less than rounding does when the same row is
# read in another batch. Guess the largest change of a weight after 10 steps with rate 1e-4, then look. (Adam divides
# each gradient by its own size: for it, *tiny* is not *zero*.)
#
# ## Same letter, other meaning
# $\beta$ here and in DPO: what a nat counts for. Its value belongs to the answers' length: the paper's .01 fits
# hundreds of tokens, ours have ten. In TOFU $\beta$ is a temperature.
#
# ## Exercises (take away the first `# ` of the lines that check you)
# **09a** (D1) Write `my_una(i, grade, form)`, the loss of each answer, for `"mse"` and `"bce"`. What goes wrong: the
# minus sign that the paper prints before the square; the mean where each answer's own loss is asked for; the first
# grade read for all rows; `log(sigmoid(i))` where `logsigmoid(i)` is needed.

# %%
# i, grade = torch.tensor([0.0, 0.0, 2.0]), torch.tensor([1.0, 0.5, 0.0])
# assert torch.allclose(my_una(i, grade, "mse"), torch.tensor([0.25, 0.0, 0.7758]), atol=1e-4), "at 0: 1/4, 0"
# assert torch.allclose(my_una(i, grade, "bce"), torch.tensor([0.6931, 0.6931, 2.1269]), atol=1e-4)
# pair = my_una(torch.tensor([1.0, 0.0]), torch.tensor([1.0, 0.0]), "bce")
# assert abs(pair.sum() - 1.006) < 1e-3, "both sides of a pair, each by itself; DPO, which compares them, has .313"
# assert my_una(torch.tensor([-1000.0]), torch.tensor([1.0]), "bce").isfinite().all(), "a hopeless answer, too"

# %% [markdown]
# **09b** (D3, on paper) Two answers, $\pi_{\rm ref}=(\frac12,\frac12)$, true rewards $r=(\beta\ln3,\,0)$. Find $Z$,
# the best policy $\pi^*=\pi_{\rm ref}\,e^{r/\beta}/Z$, its implicit rewards $i$, and $(r-i)/\beta$: UNA takes that
# number for zero. What goes wrong: "Z cancels" (in which method?); the logarithm of base 2; $\pi_{\rm ref}$
# forgotten.

# %%
# assert abs(my_z - 2) < 1e-6, "Z = sum of pi_ref exp(r / beta)"
# assert abs(my_gap - 0.6931) < 1e-3, "(r - i) / beta is log Z for both answers, so UNA's grade would be off by it"

# %% [markdown]
# **09c** (D2, in reverse) `python -m nanouft.train --objective una` makes good answers likelier (`held out`,
# `logp_good`). With `--beta 0.001` they become *less* likely than before training. Why? Which log-ratio of a whole
# answer is needed for $\sigma(i)=0.1$, and what happens to the words that good and bad answers share?
#
# ## Recall, without looking up
# 1. When does UNA's push on an answer change its sign, and what has DPO in its place?
# 2. Why does an answer of grade 1/2 teach nothing at the start, and would it teach something later?
# 3. What does a pair know that one number does not, and the other way round?
# 4. (03) Which tokens pay? Does the question, in UNA?
