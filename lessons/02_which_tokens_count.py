# %% [markdown]
# # 02 · Which tokens count?
# A row has a question, an answer and the EOS token `<|end|>`. Remove this one token from the loss
# and count how many answers still stop.
#
# *About 20 minutes; read 00 first. Supervised fine-tuning, `nanouft/objectives/sft.py`.*
#
# The base of lesson 00 repeats the numbers that it should add up, and then asks itself the next
# question. SFT shows it right answers. The model reads all of a row and gives a probability to each
# token, but not every token has to count towards the loss. The **mask**, a list of zeros and ones,
# says which ones do (`docs/terms.md` has the terms). You will change it only at `<|end|>`, which
# the model still reads every time.
#
# ## Guess
# With the usual mask the answers to all 40 new sums stop right after the last number. If `<|end|>`
# does not count towards the loss, what percentage stop there? Enter a number from 0 to 100.

# %%
from course import Lesson, train

CHANGE = ""                     # change one thing: "" | "prompt", see below
lesson = Lesson("02", CHANGE)
CHANGE = lesson.change

# %% [markdown]
# ## From a row to a loss
# The function `tokens` of `nanouft/simple.py` turns rows into three tensors, with one line for each
# row. `inputs` holds the tokens that the model reads. `targets` holds, at each position, the token
# that comes next: the same row, shifted by one. `mask` is 1 where the target belongs to the answer
# or is its `<|end|>`. It is 0 on the question, which a user will write, and on the padding that
# makes all rows equally long.
#
# **Write it first.** `response_mask` of `lessons/exercises/ex02.py` (02a) makes this mask from the
# words of a row. Our function `count_targets` can change it. It can also make a common mistake, a
# mask that is one position too early.

# %%
import draw
import torch

from nanouft import world
from nanouft.run.evaluation import answer_rows
from nanouft.gpt import GPT, shipped_base
from nanouft.simple import token_logp, tokens
from nanouft.models.tokenizer import nano

OTHER = CHANGE or "no end"      # the rule of the second run
STEPS, ROWS = 40, 32            # optimizer steps; batch size, the rows of each step
base, tok = shipped_base(), nano()
demos = world.rows("train", "demos", STEPS * ROWS, seed=0, skills=("sum",))
tests = world.rows("val", "prompts", 40, seed=0, skills=("sum",))
response_mask = lesson.yours("02a")


def mask_of(inputs, targets):
    """(B,T) floats, 1 where the target counts. After the end of a row there is only padding."""
    mask = torch.zeros(targets.shape)
    for row, (first, ids) in enumerate(zip(inputs[:, 0], targets)):
        ids = [int(first), *ids[ids != tok.pad].tolist()]
        words = [tok.decode([i]).strip(" <|>") for i in ids]            # "<|user|>" is "user"
        mask[row, :len(words) - 1] = torch.as_tensor(response_mask(words)).float()
    return mask


def count_targets(rows: list, rule: str):
    """inputs, targets and mask, each (B,T). `rule` says which targets the mask counts."""
    inputs, targets, ours = tokens(rows, "answer", tok)
    mask = mask_of(inputs, targets)
    assert torch.equal(mask, ours), "it is the mask of nanouft/simple.py"
    if rule == "no end":
        mask = mask * (targets != tok.end)
    if rule == "prompt":
        mask = (targets != tok.pad).float()             # every token of the row, the question too
    if rule == "early":                                 # a mistake: each target has the next mask
        mask = torch.cat([mask[:, 1:], torch.zeros(len(mask), 1)], 1)
    return inputs, targets, mask


short = [min(demos, key=lambda row: len(tok.chat(row.prompt, row.answer)[0]))]
shown = {}                      # rule -> the mask of one row
for rule in ("answer", OTHER, "early"):
    _, targets, mask = count_targets(short, rule)
    shown[rule] = mask[0].tolist()
    pairs = zip(targets[0].tolist(), mask[0].tolist())
    text = [f"[{tok.decode([i])}]" if on else tok.decode([i]) for i, on in pairs]
    print(f"{rule:<7}{''.join(text)}   ({int(mask.sum())} of {len(text)} count)")
assert mask.sum() == count_targets(short, "answer")[2].sum(), "as many tokens count as before"
assert not mask[targets == tok.end].any(), "but <|end|> is not among them"
fig, ax = draw.panels()
draw.masks(ax, [tok.decode([i]) for i in targets[0].tolist()], shown,
           f"<|end|> counts in {sum(int(mask[-1]) for mask in shown.values())} of 3 masks")
lesson.picture(fig, "masks")

# %% [markdown]
# The tokens in brackets, coloured in the picture, count. In the last line the mask is off by one.
# Nothing crashes, and as many tokens count as before, but `<|assistant|>` counts instead of
# `<|end|>`. Print one row of your own data like this before you train.
#
# Let $m_t$ be the mask of target $t$ and $N=\sum_t m_t$ the number of tokens that count in all rows
# of a batch. The loss of SFT is the **cross-entropy**, the mean of $-\log p$, over these. Its
# derivative says how hard it pushes each token, as in lesson 00:
# $$L=-\frac1N\sum_t m_t\log\pi(y_t\mid y_{<t}),\qquad
# -N\,\partial L/\partial\log\pi(y_t\mid y_{<t})=m_t.$$
# Every token that counts is pushed up by the same amount, whether the model predicts it already or
# not. A token that does not count is not pushed at all.
#
# The base is trained twice. From now on the loop of lesson 00 is `train` of `lessons/course.py`.

# %%
def loss_of(rule: str):
    """SFT's loss with this rule, a function of a model and some rows."""
    def loss(model, rows):
        inputs, targets, mask = count_targets(rows, rule)
        return -(token_logp(model(inputs), targets) * mask).sum() / mask.sum()
    return loss


labels = {"answer": "SFT", "no end": "<|end|> not counted", "prompt": "question counted"}
models = {"base": base} | {
    labels[rule]: train(base, loss_of(rule), demos, STEPS, 3e-4, f"SFT, {rule}")
    for rule in ("answer", OTHER)}

# %% [markdown]
# ## What the models answer
# **Right words** is the score of the answer, cut off after as many words as the right answer has,
# so running on does not lower it. **Stops there** says how often `<|end|>` comes right after these.

# %%
def evaluate(name: str, model: GPT) -> list[float]:
    """Right words, and answers that stop after the last of them; both in %."""
    right, stops = 0, 0
    answers = answer_rows(model, tok, tests)
    for row, answer in zip(tests, answers):
        question, said = row.prompt[0].text, tok.decode(answer.ids)
        n = len(world.right_answer(question).split())              # words of the right answer
        right += world.score(question, " ".join(said.split("<|")[0].split()[:n]))
        stops += answer.ended and len(said.split()) == n
    end = "<|end|>" if answers[0].ended else ""
    print(f"\n{name}: {tests[0].prompt[0].text}\n    {tok.decode(answers[0].ids).strip()}{end}")
    print(f"    of {len(tests)} answers: right words {right / len(tests):.0%}, "
          f"stops after the last {stops / len(tests):.1%}")
    return [100 * right / len(tests), 100 * stops / len(tests)]


result = {name: evaluate(name, model) for name, model in models.items()}

# %% [markdown]
# ## What happened
# The words do not need `<|end|>` in the loss: with the usual mask 93 % of them are right, without
# `<|end|>` in the mask 98 %. Stopping needs it: with the usual mask all 40 answers stop at the
# right position, without `<|end|>` in it only 5 of 40 (12.5 %). The others add numbers that nobody
# has asked for, and more than half of them then ask a new question, as the base does. The base
# knows `<|end|>` from pretraining: it ended its second sum with it. The five may come from there.
#
# The model read `<|end|>` in every row of both runs, so reading a token is not enough to learn to
# output it. In the second run every supervised target was a word, so the model learned that answers
# never end. One token decides whether a model can be used.

# %%
fig, ax = draw.panels()
stop = result[labels[OTHER]][1]
what = {"no end": "<|end|>", "prompt": "the question"}[OTHER]
draw.bars(ax, result, ["right words", "stops after the last of them"],
          f"{'With' if CHANGE else 'Without'} {what} in the loss {stop:.3g} % of the answers "
          "stop", "%", number="%.3g")
lesson.picture(fig)
assert CHANGE or result["SFT"][1] - stop > 40, "what does not count is not learned"
lesson.compare(result[labels[OTHER]][0] if CHANGE else stop, "%")

# %% [markdown]
# ## Change one thing
# `CHANGE = "prompt"` counts the tokens of the question (the prompt) as well, as pretraining does.
# What part of the push goes into the question of the row that is printed first? And what percentage
# of the words is right, where the usual mask gives 93 %? Enter a number from 0 to 100.
#
# <details><summary>After your run</summary>
#
# 95 % of the words are right, and all answers stop, so this small world loses nothing. In the
# printed row 10 of 20 pushes go into the question, but the questions of NanoWorld are short and all
# alike. Where questions are long and answers short, the model would mostly learn to imitate users.
#
# </details>
#
# ## Exercise
# **In your own program.** Over the course you can write `nanouft/simple.py` yourself, in twelve
# parts, in `lessons/exercises/mine.py`. `python -m lessons check mine` puts each of your parts into
# the real program and says whether its loss and gradient stay the same.
#
# This lesson unlocks the first three: `padded`, `token_logp` and `sft_loss`. Unlike the loss above,
# the part `sft_loss` first takes the mean over the tokens of each answer and then the mean over the
# answers. The fourth part, `train`, belongs to lesson 00; with it your program trains the base and
# shows its answers before and after.
#
# ## Two questions
# 1. Which tokens of a conversation count in SFT, and why is `<|end|>` one of them?
# 2. The second model read `<|end|>` in every row. Why did it not learn to output it?
#
# <details><summary>Answers</summary>
#
# 1. The tokens of the assistant's answers, with the `<|end|>` of each. A model that never has to
#    predict the end does not learn to stop.
# 2. It never had to predict it. Every token that it had to predict was a word.
#
# </details>
