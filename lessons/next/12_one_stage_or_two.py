# %% [markdown]
# # 12 · One stage or two
# SFT and then UNA are two stages, and the second forgets what the first has taught. UFT makes one
# stage of them and forgets less. Is it the shared loss that keeps the skills, or the mixed order of
# the rows?
#
# *25 minutes; needs 06. UFT: arXiv:2410.21438v1, Eq. 6 and 7.*
#
# Demonstrations teach sums and sorting. Scores, 0 or 1, teach the truth about creatures, which the
# base has mostly read as a popular myth. We train one model in two stages, SFT on the
# demonstrations and then UNA on the scores. After SFT it has 92 % of the sums right, after UNA
# only 55 %. **UFT** reads the same rows in one stage: demonstrations and scored answers in turn,
# with the loss of lesson 06, in which a demonstration has the score 1. It ends with 94 %.

# %%
import copy

import torch
from course import ask, curves, tell
from mine import answers_of, log_ratio, sft_loss, una_loss

from nanouft import world
from nanouft.gpt import shipped_base
from nanouft.models.tokenizer import nano

BETA, STEPS, ROWS = 0.1, 40, 16
TASKS = ("sum", "sort", "truth", "fact")
tok, base = nano(), shipped_base()
demos = world.rows("train", "demos", STEPS * ROWS, seed=0, skills=("sum", "sort"))
scored = world.rows("train", "scores", STEPS * ROWS, seed=1, skills=("truth",))
mixed = [row for both in zip(demos, scored) for row in both]
tests = world.rows("val", "prompts", 160, seed=0, skills=TASKS)
guess = ask("UFT once more, with the same rows and the same loss, but sorted: first all "
            "demonstrations, then all scored answers. What percentage of the sums is right?",
            "0 to 100")

# %% [markdown]
# ## Why a second stage may forget
# Nothing in the rows of a second stage protects the skills of the first. What could stop it is the
# loss: UNA's push on an answer of score 1 vanishes as its own score $\sigma(i)$ nears 1. But
# $\sigma(i)=0.9$ takes $i=2.2$, a gain of $2.2/\beta$ nats. With $\beta=0.1$ these are 22 nats. An
# answer that starts at -10 nats can gain at most 10. So the push goes on to the last step.
#
# UFT differs from two stages in two things at once: the loss on demonstrations, and the order. To
# separate them we need all four combinations:
#
# | | sorted | mixed |
# |---|---|---|
# | **SFT's loss on demonstrations** | SFT, then UNA | SFT and UNA, mixed |
# | **UNA's loss on demonstrations** | UFT, sorted | UFT |
#
# A step of 16 rows takes SFT's loss of its demonstrations plus UNA's loss of its scored answers, or
# UNA's loss of both. SFT's gradients are larger here: its push on a token of an answer of N tokens
# is 1/N, that of UNA at most $\beta/3.4$. So the fourth model has a factor of its own, 0.1.
