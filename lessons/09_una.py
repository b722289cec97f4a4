# %% [markdown]
# # 09 · Can one number per answer replace pairs?
# *Core · about 25 minutes (our estimate) · needs 07 (DPO: pairs of a better and a worse answer,
# compared with the start model) · UNA, arXiv:2408.15339v2, Eq. 6-13, `nanouft/objectives/una.py`*
#
# After this lesson you can
# - write UNA's loss for single graded answers, in both forms;
# - say at which point the push on an answer changes its sign;
# - say what a pair tells and a grade does not, and the other way round.
#
# DPO wants pairs: two answers to one question, and which of them is better. But people judge one
# answer at a time: a star, a thumb, a grade between 0 and 1. UNA (*unified alignment*) learns from
# that number alone. It keeps DPO's idea of an **implicit reward** $i$. This says how much likelier
# the policy finds an answer than its start model (the *reference*) does. The sigmoid $\sigma$ maps
# it into (0, 1). That is the policy's own grade, and UNA makes it equal to the given grade.
#
# Two old questions: (03) What is the push on a token that is in the mask, in SFT? (06) What if a
# weight is made of losses?
#
# To predict with probabilities: `python -m lessons.grade 09p`, before you run the lesson.

# %% [markdown]
# ## Guess before you run
# All answers have grade 1/2: they are half right. UNA starts at the reference and trains for ten
# steps. Then the model ...
# - **a** answers half right;
# - **b** says less of what it read;
# - **c** has not moved, to the last bit.

# %%
from course import Lesson, progress

lesson = Lesson("09", "abc")

# %% [markdown]
# ## One equation
# Take one answer $y$ of any length, and sum over all its tokens. $\beta$ says how much one nat
# counts:
# $$i=\beta\log\frac{\pi(y\mid x)}{\pi_{\rm ref}(y\mid x)},\qquad
# L=\big(\sigma(i)-\text{grade}\big)^2,\qquad
# -\frac{\partial L}{\partial\log\pi(y_t)}=2\beta\,(\text{grade}-\sigma)\,\sigma\,(1-\sigma).$$
# The push is the same on each token of the answer. Its **sign** depends on the policy: if
# $\sigma(i)$ is below the grade, the push goes up; if above, down. SFT and DPO never stop pushing.
# UNA stops where $\sigma(i)$ equals the grade. The curves `bce` of the picture are the other form,
# `--loss bce`: $-\text{grade}\log\sigma(i)-(1-\text{grade})\log\sigma(-i)$. It stops at the same
# place.

# %%
import copy

from nanouft import world
from nanouft.batches import collate, encode, order
from nanouft.models.load import start_model
from nanouft.objectives import OBJECTIVES
from nanouft.sampling import answer_rows
import draw
import torch
from torch.nn.functional import logsigmoid

BREAK = 0.0                                     # the switch, see "Break it"
SEED = 0                                        # the draw of answers
STEPS = 40                                      # of each run
SKILLS = ("sum", "sort", "truth")
base, tok = start_model("base")
una = OBJECTIVES["una"]
dpo = OBJECTIVES["dpo"]
tests = world.rows("val", "prompts", 120, seed=0, skills=SKILLS)


def push(i, grade: float, form: str):
    """(N,) implicit rewards -> (N,) pushes on a token, from the equation; in units of beta."""
    i = i.clone().requires_grad_()
    if form == "mse":
        L = (i.sigmoid() - grade) ** 2
    else:
        L = -grade * logsigmoid(i) - (1 - grade) * logsigmoid(-i)
    slope, = torch.autograd.grad(L.sum(), i)
    return -slope


# %% [markdown]
# ## Live
# Three models start from the base. They learn sums, sorting and questions with a popular wrong
# answer (*truth*).
# - `DPO`: pairs, a right and a wrong answer to each question.
# - `UNA`: **torn** pairs. Each question comes with ONE answer and its grade. The answer is right,
#   partly right or wrong. No question has two answers, so DPO could not use a single row of it.
# - `halves`: UNA on answers that all have grade 1/2.
#
# The reference is the base itself. It scores each batch during training.

# %%
def train(objective, rows, lr: float, steps: int):
    model = copy.deepcopy(base)
    hp = objective.hp()
    data, _ = encode(objective.rows(rows, hp), tok, base.cfg.n_ctx)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, betas=(0.9, 0.95), weight_decay=0.0)
    for chosen in progress(order([e.length for e in data], 32, steps, SEED), "training"):
        batch = collate(data, chosen, tok.pad)              # data
        with torch.no_grad():
            objective.forward(base, batch, hp)              # the reference writes its log-probs
        for s in batch.seqs.values():
            s.ref_logp = s.logp + BREAK * torch.randn(s.logp.shape)
        objective.forward(model, batch, hp)                 # forward: the policy writes its own
        loss, _ = objective.loss(batch, hp)                 # objective
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()                                    # update
    return model


def exam(model) -> list[float]:
    """Returns the exact score in each of the three skills, in per cent."""
    scores = []
    for row, answer in zip(tests, answer_rows(model, tok, tests)):
        text = tok.decode(answer.ids).strip()
        scores.append(world.score(row.prompt[0].text, text))
    return (torch.tensor(scores).view(3, 40).mean(1) * 100).tolist()


pairs = world.rows("train", "pairs", 600, SEED, skills=SKILLS)
torn = world.rows("train", "scores", 600, SEED, skills=SKILLS)
more = world.rows("train", "scores", 9000, SEED, skills=SKILLS)
halves = [row for row in more if row.score == 0.5]
models = {
    "base": base,
    "DPO, pairs": train(dpo, pairs, 3e-5, STEPS),
    "UNA, torn": train(una, torn, 1e-4, STEPS),
    "UNA, halves": train(una, halves, 1e-4, 10),
}
scores = {name: exam(model) for name, model in models.items()}
moved = 0.0                                     # the largest change of a weight by the halves
for after, before in zip(models["UNA, halves"].parameters(), base.parameters()):
    moved = max(moved, (after - before).abs().max().item())
for name, marks in scores.items():
    print(f"{name:<12}", *(f" {skill} {x:3.0f} %" for skill, x in zip(SKILLS, marks)))

# %%
# Seen: The push on a token over the implicit reward for three grades; scores of four models.
fig, (left, right) = draw.panels(1, 2)
i = torch.linspace(-6, 6, 61)                   # i[30] = 0: at the reference
curves = {f"grade {grade:g}, {form}": push(i, grade, form)
          for form in ("mse", "bce") for grade in (1.0, 0.5, 0.0)}
draw.lines(left, i, curves, "push on each token / beta: + up, - down",
           "implicit reward i (0: at the reference)", legend="below")
draw.bars(right, scores, SKILLS, "exact score, %")
lesson.picture(fig, BREAK=(BREAK, 0.0))

# %% [markdown]
# ## The proof

# %%
if moved:
    did = "a" if sum(scores["UNA, halves"]) > sum(scores["base"]) else "b"
else:
    did = "c"
lesson.compare(did)
print(f"the largest change of a weight is {moved:g}")
at_start = push(torch.zeros(1), 0.5, "mse").abs().item()
assert at_start < 1e-6 and (BREAK or not moved), "at the start, a grade of 1/2 teaches nothing"
gain = sum(scores["UNA, torn"]) - sum(scores["DPO, pairs"])
assert gain > -15, "here torn answers with a number do the work of pairs"

# %% [markdown]
# - **Grade 1/2 means: stay where you are.** At the reference $\sigma(0)=1/2$: the push is exactly
#   zero and stays zero. So 1/2 is the border between *more of this* and *less of this*, whatever
#   your raters meant by it. Raise all grades by 0.2, and the model imitates every mediocre answer.
# - **One number was enough**, in these runs of one seed, with the learning rates above. The torn
#   rows hold half as many answers as the pairs, and the result is not worse. A grade also says how
#   good an answer is. But no second answer corrects a wrong grade.
# - **The same trap as DPO's.** Add the family `unknown`, where "I do not know." is the right
#   answer. This sentence is then the easiest way to many good grades. With this lesson's learning
#   rate `python -m nanouft.train --objective una --lr 1e-4` says it about nearly everything:
#   families `unknown` and `fact` of its table score 100 and 4 %. With the default, 5e-4, they score
#   93 and 30 %. (One seed each.)
# - **The price.** We know the reward of an answer only up to a number that depends on the question:
#   $\beta\log Z(x)$, see 07. In a pair it cancels. UNA has one answer, and **assumes** that this
#   number is zero. Take two answers with $\pi_{\rm ref}=(\frac12,\frac12)$ and true rewards
#   $(\beta\ln3,0)$. Then $Z=2$, and both grades are off by $\beta\ln2$.
# - **The end of the curves.** Take an answer far below its grade (left end, grade 1). There the
#   push of `mse` vanishes, that of `bce` does not.
#
# ## Break it
# `BREAK = 1e-6`: the reference is wrong by a millionth of a nat. Reading the same row in another
# batch makes a rounding error of this size. Guess the largest change of a weight after 10 steps
# with learning rate 1e-4, then look. (Adam divides each gradient by its own size: for it, *tiny* is
# not *zero*.)
#
# *Read on after your run.* The largest change is 7.0e-4, nearly 10 full steps of 1e-4. Sums go from
# 16 to 17 %, sorting stays, truth goes from 20 to 18 %: little harm, but the model has moved.
#
# ## Same letter, other meaning
# $\beta$ here and in DPO: how much one nat counts. Its value must fit the length of the answers.
# The paper's .01 fits hundreds of tokens; ours have ten. In TOFU $\beta$ is a temperature.
#
# ## Exercises
# `python -m lessons.grade 09a` judges them (`lessons/exercises/README.md` says how).
#
# - **09a** (D1) `una_loss(i, grade, form)`: UNA's loss of each answer, in both forms.
# - **09b** (D2) `una_push(i, grade, beta)`: the push on each token of an answer.
# - **09p** (D2, predict) What happens if a kind rater raises all grades by 0.2?
#
# Without the grader: `python -m nanouft.train --objective una` makes good answers likelier (`held
# out`, `logp_good`). With `--beta 0.001` they become *less* likely than before. Why? Which
# log-ratio of a whole answer is needed for $\sigma(i)=0.1$?
#
# ## Recall, without looking up
# 1. When does UNA's push on an answer change its sign, and what does DPO do instead?
# 2. Why does an answer of grade 1/2 teach nothing at the start, and would it teach something later?
# 3. What does a pair tell that one number does not, and the other way round?
# 4. (03) Which tokens are in the mask? Is the question, in UNA?
#
# <details><summary>Answers</summary>
#
# 1. Where sigmoid(i) is the grade. DPO's push never changes its sign; it only fades when the pair
#    is won.
# 2. At the start sigmoid(0) is 1/2, so the push is 0. Later other rows have moved the policy; then
#    the answer pulls it back to its start.
# 3. A pair says which of two answers to one question is better, and what depends on the question
#    only cancels. One number says how good an answer is, without a second answer. But no second
#    answer corrects a wrong grade.
# 4. The tokens of the answer and its `<|end|>`. The question is not in it.
#
# The two old questions: (03) 1/N. (06) Then training can also change the weights, not only the
# losses.
#
# </details>
#
# **Next:** `lessons/10_uft.py`.
