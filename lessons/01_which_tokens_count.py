# %% [markdown]
# # 01 · Which tokens count?
# A training row has a question, an answer and the EOS token `<|end|>`. Take this one token out of
# the loss. The model still reads it in every row. How many answers still stop?
#
# *25 minutes; needs 00. Masked cross-entropy, as every SFT has it. You write `padded` and
# `sft_loss`.*
#
# The base repeats the numbers that it should add up, and then asks itself the next question. SFT
# shows it right answers. Not every token that the model reads has to count: the **mask** decides.

# %%
import torch
from course import ask, show, tell
from mine import answers_of, token_logp, tokens

from nanouft import world
from nanouft.data.row import Row
from nanouft.gpt import shipped_base
from nanouft.models.tokenizer import nano

RATE, STEPS, ROWS = 3e-4, 40, 32        # learning rate; steps; batch size
SEED = 0                                # of the training rows
tok, base = nano(), shipped_base()
demos = world.rows("train", "demos", STEPS * ROWS, seed=SEED, skills=("sum",))
tests = world.rows("val", "prompts", 40, seed=0, skills=("sum",))
guess = ask("With the usual mask all 40 answers to new sums stop right after the last number. If "
            "<|end|> is taken out of the mask, what percentage stops there?", "0 to 100")

# %% [markdown]
# ## From a row to three tensors
# `tokens` turns rows into three tensors (B,T), a line for each row. `inputs` holds the tokens that
# the model reads. `targets` holds the same row one place further: at each position the token that
# comes next. `mask` is 1 where the target belongs to the answer or is its `<|end|>`. It is 0 on the
# question, which a user will write. Short rows are filled up to the longest one with `<|pad|>`
# (**padding**), and there the mask is 0, too. Below are a short row and two other masks.

# %%
row = min(demos, key=lambda row: len(tok.chat(row.prompt, row.answer)[0]))
inputs, targets, mask = tokens([row], "answer", tok)                    # (1,T) each
no_end = mask * (targets != tok.end)
early = mask.roll(-1, 1)                                                # a mistake: one too early
show(tok, targets[0], mask=mask[0], no_end=no_end[0], early=early[0])

# %% [markdown]
# `early` is a common mistake: the mask is shifted once more, although it fits the targets already.
# Nothing crashes, and as many tokens count as before. But `<|assistant|>` counts, and `<|end|>`
# does not. So print one row of your own data like this before you train.
#
# ## What a token that counts does to all others
# Let $m_t$ be the mask and $N=\sum_t m_t$ the number of tokens that count in a batch. The loss of
# SFT is their **cross-entropy**, $L=-\frac1N\sum_t m_t\log p_t$. Its push on log p is $m_t/N$, the
# same for every token that counts, and 0 for the others (lesson 00).
#
# Now one level deeper. At one position the model gives a **logit** $z_v$ to each token v of the
# vocabulary. The softmax makes probabilities of them, and with the target y
# $$\log p_y=z_y-\log\sum_v e^{z_v},\qquad
# \frac{\partial\log p_y}{\partial z_v}=[v=y]-\frac{e^{z_v}}{\sum_u e^{z_u}}=[v=y]-p_v.$$
# (By the chain rule: $e^{z_v}$ is the only term of the sum that depends on $z_v$, and it is its own
# derivative.) So the logit of the target is pushed up by $1-p_y$. The logit of **every other
# token** is pushed down, by its own probability. All these pushes add up to 0.
#
# What does this mean for `<|end|>` when it never is a target? Wherever a word counts, `<|end|>` is
# one of the others. It is pushed down a little, and nowhere is it pushed up.
#
# ## Twice the same loop
# The base is trained twice. The two runs differ in one line.

# %%
models = {"base": base}
for name in ("usual mask", "other mask"):
    model = models[name] = shipped_base()
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.95), weight_decay=0.0)
    for step in range(STEPS):
        rows = demos[ROWS * step:ROWS * step + ROWS]
        inputs, targets, mask = tokens(rows, "answer", tok)             # 1. rows become tensors
        if name == "other mask":
            mask = mask * (targets != tok.end)                          # change one thing here
        logp = token_logp(model.head(model(inputs)), targets)           # 2. (B,T)
        loss = -(logp * mask).sum() / mask.sum()                        # 3. what counts
        optimizer.zero_grad()
        loss.backward()                                                 # 4. its gradient
        optimizer.step()                                                # 5. the weights move
    print(f"{name}: the last loss is {loss.item():.3f}, {int(mask.sum())} tokens count in it")

# %% [markdown]
# ## What the models answer
# **Right words** is the score of an answer that is cut off after as many words as the right answer
# has. So talking on does not lower it. **Stops there** is the share of answers in which `<|end|>`
# comes right after these words. `p_end` is the probability of `<|end|>` at the place where it
# belongs, after the right answer to a new question.

# %%
words, stops, p_end = {}, {}, {}                # in %, of the 40 new questions
full = [Row(x.prompt, world.as_answer(world.right_answer(x.prompt[0].text))) for x in tests]
inputs, targets, _ = tokens(full, "answer", tok)
for name, model in models.items():
    right, stopped = 0, 0
    answers = answers_of(model, tests, tok)
    for test, answer in zip(tests, answers):
        question, said = test.prompt[0].text, tok.decode(answer.ids)
        n = len(world.right_answer(question).split())
        right += world.score(question, " ".join(said.split("<|")[0].split()[:n]))
        stopped += answer.ended and len(said.split()) == n
    words[name], stops[name] = 100 * right / 40, 100 * stopped / 40
    with torch.no_grad():
        p = token_logp(model.head(model(inputs)), targets)[targets == tok.end].exp()  # (40,)
    p_end[name] = 100 * p.mean().item()
    print(f"\n{name}: {tests[0].prompt[0].text}\n   {tok.decode(answers[0].ids).strip()}"
          f"{'<|end|>' * answers[0].ended}\n   right words {words[name]:.0f} %, stops there "
          f"{stops[name]:.1f} %, p_end {p_end[name]:.1f} %")
tell(guess, stops["other mask"], "%")

# %% [markdown]
# ## What happened
# The words need no `<|end|>` in the loss: 93 % are right with the usual mask, 98 % with the other.
# Stopping needs it. With the usual mask all answers stop, with the other 5 of 40 (12.5 %). The
# others add numbers that nobody asked for. The losses, 0.115 and 0.121, show nothing of this.
#
# Has the second model only failed to learn it? No, it has unlearned it. The base, which met
# `<|end|>` in pretraining, gave it 38 % at the right place, and this model gives it 15 %. To read a
# token does not teach a model to output it, and each other target pushes it down, as derived above.
# These figures are of one run. The third edit below takes other rows.
#
# ## Change one thing
# Replace `mask = mask * (targets != tok.end)` in the loop, and guess before you run.
# 1. By `mask = (targets != tok.pad).float()`: the question counts too. How many words are right?
# 2. By `mask = mask.roll(-1, 1)`: one too early. What is p_end?
# 3. Leave the mask as it is, and set `SEED = 1`. How many stop?
#
# <details><summary>After your runs</summary>
#
# 1. 95 %, and all answers stop, so this small world loses nothing. But of the short row's 20 pushes
#    10 go into the question. If questions are long, the model mostly learns to imitate users.
# 2. 15 %, and 12.5 % stop: the same as before. The words are right (98 %), and the loss is as small
#    as ever. Only a printed row, or an answer, shows the mistake.
# 3. None stops, and p_end is 0.8 %. So the amount is a matter of the rows, the finding is not.
#
# </details>
#
# ## To hand in
# Let `<|end|>` count in the first n steps only (`if name == "other mask" and step >= n:`), for n =
# 1, 2, 5, 10 and 20. A curve of the answers that stop, and two sentences: how many steps are
# enough, and does the model forget it again?
#
# ## Your own program
# Two parts for `mine.py`. The loop above took the mean over all tokens. Your loss takes another.
#
#     def padded(chats, tok):
#         """chats: (ids, mask) of each row, two lists of equal length, the mask 1 on the tokens of
#         the answer and its <|end|>. Returns inputs, targets and mask (floats), each (B,T). The
#         target of a position is the token after it, and the mask is that of the TARGETS. Two
#         rows, with letters for ids (Q: question, E: <|end|>, P: tok.pad):
#             chats      Q a b E  0 1 1 1      Q a E  0 1 1
#             inputs     Q a b                 Q a E
#             targets    a b E                 a E P
#             mask       1 1 1                 1 1 0                                          """
#
#     def sft_loss(model, reference, rows, tok, step):
#         """One number: the mean of -log p over the tokens of each answer, then the mean over the
#         answers. tokens(rows, "answer", tok) is given; reference and step are not used."""
#
# ## Two questions
# 1. The second model read `<|end|>` in every row. Why does it take it less often than the base?
# 2. Two answers have 5 and 20 tokens. What share of the pushes has the short one in the loop's
#    loss, and what share in yours?
#
# <details><summary>Answers</summary>
#
# 1. It is never a target, so nothing pushes it up. At each target that counts it is one of the
#    other tokens, and is pushed down by its probability.
# 2. One fifth, since all tokens weigh the same. In yours one half, since all answers do.
#
# </details>
