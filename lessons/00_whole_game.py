# %% [markdown]
# # 00 · The whole game
# Fine-tune one small model with SFT, IFT and DPO. All three teach the right words. Do they also
# teach the model to stop after them? Guess, and find the reason.
#
# *About 35 minutes, no prerequisites. `nanouft/simple.py` has the same methods on one page.*
#
# Language models learn first from text, then from answers. They read a great deal of text and learn
# to continue it. A model that has done only this is called a **base model**, or base for short. It
# knows a lot, but not what you want from it. Ask ours to "name four animals but not hen, fox or
# wolf, and end on white", and it answers
#
# `bat cat cow pig<|user|> List two cities without Oslo, Rome or Bonn. End on mango.<|assistant|>
# Delhi Paris mango<|end|>`
#
# The four animals are fine. But the base forgets the last word and does not stop: it invents the
# user's next question and answers that too, as in the text that it has read.
#
# This course is about learning from answers, **fine-tuning**. (Papers call a question a **prompt**,
# and an answer a **response** or **completion**. `docs/terms.md` explains the words of the field.)
# Here you do it in three ways:
#
# - **Supervised fine-tuning (SFT)** shows the model right answers. Every token counts the same.
# - **Intuitive fine-tuning (IFT)** uses the same right answers. In training the model reads each
#   true token blended with a little of its own prediction (lesson 04). A token weighs more where
#   the model gets it, or the tokens after it, wrong (lesson 06).
# - **Direct preference optimization (DPO)** shows the model a better and a worse answer to each
#   question, and trains it to prefer the better one.
#
# All take the same number of steps. DPO is usually given a smaller learning rate, so we train it
# twice: at an eighth of the learning rate of SFT and IFT, and at the full one. Every answer in the
# training data ends with `<|end|>`.
#
# ## Guess
# After SFT and after IFT all answers to new questions stop. Do most of them stop after DPO, too?
# - **a** at neither learning rate;
# - **b** only at an eighth of the learning rate;
# - **c** only at the full learning rate;
# - **d** at both.

# %%
from course import Lesson, progress

CHANGE = ""                     # change one thing: "" | "end", see below
lesson = Lesson("00", CHANGE)
CHANGE = lesson.change

# %% [markdown]
# ## One loop for all methods
# The questions come from **NanoWorld**, a small made-up world, where a program can score any
# answer. Text is cut into **tokens**, here words or pieces of words. **Special tokens** say who
# speaks, such as `<|user|>`, and where an answer ends: `<|end|>` is the **EOS** token (end of
# sequence). We train the model to answer and not to ask, so a **mask** has a 1 for each token of
# the answer, its `<|end|>` included, and a 0 for each token of the question.
#
# A model gives a probability to each possible next token. The function `token_logp` takes the
# natural logarithm of the probability of the token that really follows. Every loss of this course
# is made of such **log-probabilities**; their unit is the **nat**. The losses of SFT and IFT are in
# `nanouft/simple.py`, DPO's is below. It compares the gains of the two answers, where a gain is how
# much the log-probability of an answer has risen since training began. The more the better answer
# leads, the smaller the loss:
# $$L=-\log\sigma(\beta\,(\mathrm{gain}_w-\mathrm{gain}_l)).$$
# Here $w$ is the better answer, $l$ the worse one, and $\beta$ is 0.1. The logistic function
# (sigmoid) $\sigma$ turns a difference into a probability.

# %%
import draw
import torch
import torch.nn.functional as F

from nanouft import world
from nanouft.gpt import shipped_base
from nanouft.simple import BETA, ift_loss, token_logp, sft_loss, tokens
from nanouft.models.tokenizer import nano

STEPS, ROWS = 40, 16            # optimizer steps; batch size, the rows of each step
tok, base = nano(), shipped_base()


def dpo_loss(model, base, rows, tok, step):
    """The better answer should gain more than the worse one, both measured from the base."""
    gain = {}
    for side in ("chosen", "rejected"):                     # the better answer, the worse one
        inputs, targets, mask = tokens(rows, side, tok)                 # (B,T) each
        if CHANGE == "end" and side == "rejected":
            mask = mask * (targets != tok.end)
        before = token_logp(base(inputs), targets).detach()                   # (B,T) nats
        gain[side] = ((token_logp(model(inputs), targets) - before) * mask).sum(-1)
    return -F.logsigmoid(BETA * (gain["chosen"] - gain["rejected"])).mean()


def train(name: str, loss_of, kind: str, learning_rate: float):
    """The base after STEPS steps of one method."""
    model = shipped_base()
    rows = world.rows("train", kind, STEPS * ROWS, seed=0)
    # betas: AdamW's means of the gradient and of its square reach back about 10 and 20 steps
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, betas=(0.9, 0.95))
    for step in progress(STEPS, name, range(STEPS), training=True):
        batch = rows[step * ROWS:(step + 1) * ROWS]             # 1. data
        loss = loss_of(model, base, batch, tok, step)           # 2. forward pass, 3. objective
        optimizer.zero_grad()                                   # 4. update
        loss.backward()
        optimizer.step()
    return model


models = {
    "base": base,
    "SFT": train("SFT", sft_loss, "demos", 1.25e-4),
    "IFT": train("IFT", ift_loss, "demos", 1.25e-4),
    "DPO": train("DPO", dpo_loss, "pairs", 1.5e-5),
    "DPO, full lr": train("DPO, full lr", dpo_loss, "pairs", 1.25e-4),
}

# %% [markdown]
# ## The same questions to all five
# All five models answer 60 questions on which none of them was trained. An answer **stops** if the
# model outputs `<|end|>` before any other special token, such as `<|user|>`.

# %%
from nanouft.run.evaluation import answer_rows
from nanouft.generate import stops

tests = world.rows("val", "prompts", 60, seed=0, skills=("list",))
SHOWN = 45                      # the question that you see
question = tests[SHOWN].prompt[0].text
words, stop = {}, {}            # of each model, % of the 60 answers
print(f"{'model':<13}right words  stop with EOS   answer to: {question}")
for name, model in models.items():
    answers = answer_rows(model, tok, tests)
    texts = [tok.decode(answer.ids).strip() for answer in answers]
    words[name] = 100 * world.exact_scores(tests, [x.split("<|")[0] for x in texts]).mean()
    stop[name] = 100 * sum(stops(answer, tok) for answer in answers) / len(tests)
    print(f"{name:<13}{words[name]:9.0f} % {stop[name]:12.0f} %   {texts[SHOWN]}"
          f"{'<|end|>' if answers[SHOWN].ended else ''}")

# %% [markdown]
# ## What happened
# The methods differ in one token. All of them teach the words: 89 % are right in the base, 92 %
# after DPO at the full learning rate, and 97 or 98 % after the other three. After SFT or IFT every
# answer stops. After DPO at an eighth of their learning rate only 32 % do, though `<|end|>` closed
# both answers of every pair. At the full one all stop. Why did DPO hardly learn this token?
#
# ## What a loss does to each token
# A loss can only make the tokens of an answer more or less likely, and its gradient says how hard
# it does so. We call minus its gradient with respect to the log-probability of token $t$ the
# **push** on it:
# $$\mathrm{push}_t=-N\,\partial L/\partial\log\pi(y_t\mid y_{<t}).$$
# Here $\pi(y_t\mid y_{<t})$ is the probability of token $t$ after all tokens before it. The right
# answer has $N$ tokens, so each push of SFT is 1. A positive push would make the token more likely
# if the token had parameters of its own. It shares them with all others, so it may become less
# likely all the same (lesson 07).
#
# The cell draws the pushes in the base on a right answer to the question above. As its worse answer
# DPO gets the same words without the last one, because the base made this mistake.

# %%
from nanouft.pushes import token_pushes
from nanouft.objectives import OBJECTIVES
from nanouft.data.rows import Row

right = world.right_answer(question)
wrong = right.rsplit(" ", 1)[0]                             # all words but the last
row = Row(tests[SHOWN].prompt, answer=world.as_answer(right), chosen=world.as_answer(right),
          rejected=world.as_answer(wrong))
pushes = {}                     # (method, answer) -> its tokens, and the push on each
for name in ("sft", "ift", "dpo"):
    for answer, said, push in token_pushes(OBJECTIVES[name](), row, base, tok):
        if CHANGE == "end" and answer == "rejected":
            push[-1] = 0.0                                  # the loss does not count this <|end|>
        pushes[name.upper(), answer] = said, push
(said, of_sft), (_, of_ift) = pushes["SFT", "answer"], pushes["IFT", "answer"]
(_, up), (_, down) = pushes["DPO", "chosen"], pushes["DPO", "rejected"]
none = float("nan")             # the worse answer has its <|end|> instead of the last word
grid = torch.tensor([[*of_sft, none], [*of_ift, none], [*up, none],
                     [*down[:-1], none, none, down[-1]]])
net = grid[2:].nansum(0, keepdim=True)              # pushes on one token after the same tokens
fig, ax = draw.panels()
draw.heat(ax, torch.cat([grid, net]), [*map(draw.plain, said), "end, one\nword early"],
          ["SFT", "IFT", "DPO, better", "DPO, worse", "DPO, net"],
          "DPO's pushes on shared words cancel; one <|end|> goes up, "
          + ("none down" if CHANGE else "one down"), 2)
lesson.picture(fig, "pushes")

# %% [markdown]
# SFT pushes each token up by the same amount. IFT gives "bee" a push of 1.85 and `<|end|>` one of
# 0.25. Its weight is large where the base is unsure of this token and of those after it, and small
# at the end, because no token follows. Both push every token up, `<|end|>` included.
#
# DPO pushes every token of the better answer up and every token of the worse answer down, by the
# same amount. It is $N\beta/2=6\times0.1/2=0.30$: before training neither answer has gained
# anything, so $\sigma$ is one half. The first four words are the same in both answers and follow
# the same question, so their pushes cancel exactly, as the picture's last line shows. The two
# `<|end|>` follow different words, so both pushes stay. But to the base both positions look alike,
# since a list may end at either. Whatever makes `<|end|>` more likely at one of them makes it more
# likely at the other. So what the two pushes do to the weights nearly cancels.
#
# The next cell tests this with one small step of plain gradient descent on this pair, taken twice
# from the base: with only DPO's push on the `<|end|>` of the better answer, and with all pushes.

# %%
def ends(model) -> list[float]:
    """log p of <|end|>, in nats, after the better answer and after the worse one."""
    found = []
    for side in ("chosen", "rejected"):
        inputs, targets, _ = tokens([row], side, tok)
        found.append(token_logp(model(inputs), targets)[targets == tok.end].item())
    return found


def gains(loss_of) -> list[float]:
    """What one step along the gradient of this loss adds to both."""
    model = shipped_base()
    slopes = torch.autograd.grad(loss_of(model), list(model.parameters()))
    with torch.no_grad():
        for weight, slope in zip(model.parameters(), slopes):
            weight -= 1e-3 * slope
    return [after - before for before, after in zip(ends(base), ends(model))]


def end_alone(model):
    inputs, targets, _ = tokens([row], "chosen", tok)
    return -BETA / 2 * token_logp(model(inputs), targets)[targets == tok.end].sum()


alone, all_of_dpo = gains(end_alone), gains(lambda model: dpo_loss(model, base, [row], tok, 0))
print(f"{'log p(<|end|>), nats':<30}after the better answer   after the worse answer")
for name, (better, worse) in (("in the base", ends(base)), ("gain by the first push only", alone),
                              ("gain by all pushes of DPO", all_of_dpo)):
    print(f"{name:<30}{better:+23.3f}{worse:+25.3f}")
assert alone[1] > alone[0] / 2 > 0, "what is pushed up at one position rises at the other as well"
if not CHANGE:
    assert all_of_dpo[0] < alone[0] / 2, "DPO takes most of the push up back"

# %% [markdown]
# Pushed up only after the better answer, `<|end|>` gains 0.013 nats there. It gains nearly as much
# after the worse answer, where nothing pushed it. With all pushes of DPO it gains only 0.002 where
# it is pushed up, because the push down takes most of it back. After the worse answer it falls, and
# the last word takes its place: it is the difference between the two answers, and DPO teaches it.

# %%
fig, ax = draw.panels()
draw.bars(ax, {name: [words[name], stop[name]] for name in models},
          ["right words", "answers that stop with EOS"],
          f"All learn the words; with DPO at a small learning rate {'' if CHANGE else 'only '}"
          f"{stop['DPO']:.0f} % stop", "%")
lesson.picture(fig)
if not CHANGE:
    assert max(abs(a + b) for a in up for b in down) < 1e-4, "DPO pushes both by the same amount"
    assert of_ift[0] > 2 * of_ift[-1], "IFT pushes the first word harder than the end"
    assert min(words.values()) > 80 and min(stop["SFT"], stop["IFT"]) > 90, "SFT and IFT stop"
    most = stop["DPO"] > 50, stop["DPO, full lr"] > 50
    lesson.compare({(False, False): "a", (True, False): "b", (False, True): "c"}.get(most, "d"))
else:
    lesson.compare(stop["DPO"], "%")

# %% [markdown]
# ## Change one thing
# Another explanation sounds as convincing: at 1.5e-5, an eighth of the others' learning rate, DPO
# simply learned less of everything. To test the cancellation, `CHANGE = "end"` drops the `<|end|>`
# of the worse answer from the loss at this learning rate, so nothing takes back the push on that of
# the better one. What does each explanation predict? With the whole loss 32 % of the answers stop;
# what percentage stops now? Enter a number from 0 to 100.
#
# <details><summary>After your run</summary>
#
# Now 88 % of DPO's answers stop, at the same learning rate. So the two pushes do cancel.
#
# The second explanation is not wrong either, since at the full learning rate all answers stop. What
# the two pushes leave works slowly, and a larger learning rate makes up for it. The learning rate
# is a **hyperparameter**, which training does not learn. Before you compare two methods, try
# several values for each.
#
# </details>
#
# A push belongs to one token of one answer in one step. SFT and IFT push very differently here, yet
# their models score nearly the same. Pushes suggest what a method may do; answers show what it did.
#
# ## Exercise
# - **00a** `net_push(chosen, rejected)` of `lessons/exercises/ex00.py`: which pushes of DPO are
#   left, as in the picture's last line? `python -m lessons check 00` tests your function.
#
# **In your own program**, which begins in lesson 02, the part `train` is a loop like the one above.
#
# ## Two questions
# 1. A token has a push of +1. What does this tell you about the token, and about the trained model?
# 2. Both answers of each pair ended with `<|end|>`. Why did DPO hardly teach the model to stop?
#
# <details><summary>Answers</summary>
#
# 1. One step pushes it up as hard as SFT would. It does not say what the model will answer.
# 2. It is pushed up in one answer and down in the other. To the base both positions look alike, so
#    the pushes nearly cancel, and at DPO's small learning rate too little is left.
#
# </details>
