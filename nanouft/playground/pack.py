"""What the page reads as DATA: the shipped base in one byte per weight, questions, demonstrations,
every objective.

    data = content(folder)                          # plain numbers and strings, ready for JSON

Nothing is typed twice: the names, defaults, help and first sentence of each objective come from its
file, and the method's own check decides how far a dial reaches.
"""
import base64
import contextlib
import dataclasses
import itertools
import random
import typing
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import torch

from nanouft import world
from nanouft.errors import UserError
from nanouft.models.load import start_model
from nanouft.objectives import OBJECTIVES
from nanouft.objectives.grpo import GRPO
from nanouft.rows import Row
from nanouft.run import pages
from nanouft.run.config import field_help
from nanouft.tokenizer import Tokenizer
from nanouft.world.facts import WORDS
from nanouft.world.skills import CATEGORY, NUMBERS, forbidden
from nanouft.world.tasks import read

GROUP = 128                 # weights that share a scale
DEMOS, QUESTIONS = 128, 8   # lists to learn from, and lists to ask
# Settings that change nothing on the page, or need torch's random numbers or other runs. Each
# answer is used once, just after it was sampled: the ratio to the policy that sampled it is 1.
LEFT_OUT = set("samples minibatches passes resample eps eps_high eps_value surrogate vf feedback "
               "residual guess lam_min lam_noise weights aligned estimates runs teacher".split())
NOTES = {                   # where the page does less than the command
    "poft": "Here the start model is asked in place of an aligned one.",
    "tis_dpo": "Without the two runs that estimate them, all token weights are 1: this is DPO.",
    "sftmix": "Without the two runs that say which answers are easy, neighbours are mixed here.",
    "ppo": "There is no critic here: it expects 0 everywhere.",
    "distill": "The teacher is the model of the other column; if that has learnt nothing yet, a "
               "copy that SFT has taught for 4 steps.",
}
# Five forms of GRPO, as their papers set them: two steps or more on a rollout tell them apart.
FORMS = {
    "grpo": ("The clip holds each token. Mean over the tokens of an answer, then over answers.",
             GRPO(minibatches=2)),
    "dapo": ("A wider clip upwards, no KL penalty. Mean over all tokens: each weighs the same.",
             GRPO(minibatches=2, aggregation="dapo", eps_high=0.28, beta=0)),
    "dr_grpo": ("No division by the spread of the scores, nor by the length of an answer.",
                GRPO(minibatches=2, aggregation="dr_grpo", scale="none", beta=0)),
    "gspo": ("One ratio for the whole answer, with a narrow clip.",
             GRPO(minibatches=2, surrogate="gspo", eps=3e-4, eps_high=4e-4, beta=0)),
    "cispo": ("The clip holds the weight of a token, not its gradient: each token still learns.",
              GRPO(minibatches=2, surrogate="cispo", aggregation="dapo", eps=1, eps_high=0.2,
                   beta=0)),
}
NEEDS = {"demos": ("answer", "Demonstrations"), "pairs": ("pair", "Pairs"),
         "labels": ("graded", "Labels and scores"), "scores": ("graded", "Labels and scores"),
         "prompts": ("sampled", "The model's samples")}
LESSONS = {"03": "sft", "06": "ift", "07": "dpo robust_dpo ipo hinge apo nca sppo",
           "08": "orpo simpo cpo slic asft tpo tpo_l", "09": "una kto", "10": "uft", "11": "poft",
           "12": "tis_dpo gdpo ada_dpo rpo", "15": "ppo",
           "14": "reinforce rloo grpo online_dpo online_una distill",
           "16": "dft neftune tofu sftmix"}


# ---- the model -----------------------------------------------------------------------------------
def packed(model: torch.nn.Module) -> dict:
    """Every weight as a whole number from -127 to 127, times the scale of its group."""
    flat = torch.cat([p.detach().flatten() for p in model.parameters()]).view(-1, GROUP)
    scales = (flat.abs().amax(1) / 127).clamp_min(1e-12)
    whole = (flat / scales[:, None]).round().to(torch.int8)
    return {"shapes": [[name, list(p.shape)] for name, p in model.named_parameters()],
            "group": GROUP, "weights": as_text(whole), "scales": as_text(scales)}


def as_text(x: torch.Tensor) -> str:
    return base64.b64encode(x.numpy().tobytes()).decode()


# ---- questions and answers -----------------------------------------------------------------------
def asked(row: Row, tok: Tokenizer) -> dict:
    """A list question with a right and a wrong answer, and what the score of an answer checks."""
    text, right = row.prompt[-1].text, row.chosen or row.answer or ()
    wrong = row.rejected or world.as_answer(world.corrupt(random.Random(text), text))
    fields = read(text)[1]
    task = {"count": NUMBERS[fields["number"]], "words": WORDS[CATEGORY[fields["plural"]]],
            "without": forbidden(fields), "last": fields["close"]}
    prompt = tok.prompt_ids(row.prompt)
    answer, rejected = (tok.chat(row.prompt, side)[0][len(prompt):] for side in (right, wrong))
    return {"text": text, "prompt": prompt, "answer": answer, "rejected": rejected, "task": task}


# ---- objectives ----------------------------------------------------------------------------------
def described(name: str) -> dict:
    """An objective: what it learns from, its first sentence, its dials."""
    objective = OBJECTIVES[name]
    needs, family = NEEDS[objective.kinds(objective.hp())[-1]]
    about = import_module(f"nanouft.objectives.{name}").__doc__ or ""
    title, _, sentence = " ".join(about.split("\n\n")[0].split()).partition(": ")
    return {"name": name, "family": family, "title": title,
            "sentence": sentence[:1].upper() + sentence[1:], "needs": needs,
            "note": NOTES.get(name, ""), "dials": list(dials(objective.hp)),
            "settings": dataclasses.asdict(objective.hp()), "lr": objective.lr,
            "reads": bool(objective.columns or objective.on_policy)}


def dials(cls: type) -> Iterator[dict]:
    """What can be set: a switch, one of some words, or a number from `low` to `high`."""
    hints, text = typing.get_type_hints(cls), field_help(cls)
    for name, default in dataclasses.asdict(cls()).items():
        if name in LEFT_OUT:
            continue
        dial = {"name": name, "default": default, "help": text[name]}
        if typing.get_origin(hints[name]) is typing.Literal:
            yield dial | {"choices": list(typing.get_args(hints[name]))}
        elif hints[name] is bool:
            yield dial | {"choices": [False, True]}
        else:
            yield dial | reach(cls, name, default)


def reach(cls: type, name: str, default: float) -> dict:
    """{low, high, step}: the widest of some ranges whose every step passes the method's check."""
    for high, first in itertools.product((max(1, 4 * default), 1, 0.6, 0.4), (0, None, 1)):
        step = 1 if type(default) is int else 0.01 if high <= 1 else 0.1
        low = step if first is None else first
        with contextlib.suppress(UserError):
            for i in range(round((high - low) / step) + 1):
                cls(**{name: low + step * i}).check()
            if low <= default <= high:
                return {"low": low, "high": high, "step": step}
    raise ValueError(f"{cls.__name__}.{name}: no range of values passes its check")


# ---- all of it -----------------------------------------------------------------------------------
def content(folder: Path) -> dict:
    """Everything. Links to lessons start from a page in `folder`."""
    model, tok = start_model("base")
    cfg = model.cfg
    config = {"layers": cfg.n_layer, "heads": cfg.n_head, "width": cfg.n_embd,
              "context": cfg.n_ctx, "eps": cfg.eps, "vocab": cfg.vocab_size,
              "end": tok.end, "user": tok.user, "assistant": tok.assistant}
    pairs = world.rows("train", "pairs", DEMOS, 0, skills=("list",))
    questions = world.rows("val", "prompts", QUESTIONS, 0, skills=("list",))
    lessons = {name: pages.doc(folder, f"lessons/{lesson}.md")
               for lesson, names in LESSONS.items() for name in names.split()}
    return {"config": config, **packed(model),
            "pieces": [tok.decode([i]) for i in range(cfg.vocab_size)],
            "demos": [asked(row, tok) for row in pairs],
            "questions": [asked(row, tok) for row in questions],
            "forms": [{"name": name, "says": says, "hp": dataclasses.asdict(hp)}
                      for name, (says, hp) in FORMS.items()],
            "objectives": [described(name) for name in OBJECTIVES], "lessons": lessons}
