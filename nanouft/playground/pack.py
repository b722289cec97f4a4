"""What the page reads: the shipped base in one byte a weight, questions, methods, and a record.

    data, record = content()                    # plain numbers and strings, ready for JSON

The record is what the page plays first: three models after 0 to 4 steps, taught here by the
project's own losses. The page then computes the same and compares. Names, defaults and help of the
methods come from their files.
"""
import base64
import dataclasses
import random
from importlib import import_module
from typing import Any

import numpy as np
import torch

from nanouft import world
from nanouft.batches import collate, encode
from nanouft.colours import look
from nanouft.generate import generate, stops
from nanouft.gpt import GPT
from nanouft.ledger import entries
from nanouft.models import start_model
from nanouft.objectives import OBJECTIVES
from nanouft.plots import called
from nanouft.rows import Row, Turn
from nanouft.run.flags import Parser, add_flags
from nanouft.tokenizer import Tokenizer

GROUP = 128                     # weights that share a scale
DEMOS, QUESTIONS, SHOWN = 128, 8, 1     # lists to learn from and to ask; the question on the page
STEPS, BATCH, RATE = 4, 8, 2.5e-4       # of the record
LONGEST = 28                    # tokens of an answer
DIALS: dict[str, dict] = {      # the main settings of each method: choices, or (low, high, step)
    "sft": {},
    "ift": {"variant": ["detached", "released"], "lam": (0, 1, .05), "gamma": (0, 1, .05)},
    "dpo": {"beta": (.02, 1, .02)},
}
RECORDED = {"sft": ("sft", {}), "released": ("ift", {"variant": "released"}),
            "detached": ("ift", {"variant": "detached"})}


# ---- the model -----------------------------------------------------------------------------------
def packed(model: GPT) -> dict[str, Any]:
    """Every weight as a whole number from -127 to 127, times the scale of its group."""
    flat = torch.cat([p.detach().flatten() for p in model.parameters()]).view(-1, GROUP)
    scales = (flat.abs().amax(1) / 127).clamp_min(1e-12)
    whole = (flat / scales[:, None]).round().to(torch.int8)
    return {"shapes": [[name, list(p.shape)] for name, p in model.named_parameters()],
            "group": GROUP, "weights": as_text(whole), "scales": as_text(scales)}


def as_text(x: torch.Tensor) -> str:
    return base64.b64encode(x.numpy().tobytes()).decode()


def unpacked(model: GPT, data: dict[str, Any]) -> GPT:
    """`model` with the weights of the page."""
    whole = np.frombuffer(base64.b64decode(data["weights"]), np.int8).reshape(-1, GROUP)
    scales = np.frombuffer(base64.b64decode(data["scales"]), np.float32)
    flat = torch.from_numpy(whole * scales[:, None]).flatten()
    parts = flat.split([int(np.prod(shape)) for _, shape in data["shapes"]])
    model.load_state_dict({name: part.view(shape)
                           for (name, shape), part in zip(data["shapes"], parts)})
    return model


# ---- questions and methods -----------------------------------------------------------------------
def asked(row: Row, tok: Tokenizer) -> dict[str, Any]:
    """A list question, a right and a wrong answer."""
    text, right = row.prompt[-1].text, row.chosen or row.answer or ()
    wrong = row.rejected or world.as_answer(world.corrupt(random.Random(text), text))
    prompt = tok.prompt_ids(row.prompt)
    answer, rejected = (tok.chat(row.prompt, side)[0][len(prompt):] for side in (right, wrong))
    return {"text": text, "prompt": prompt, "answer": answer, "rejected": rejected}


def method(name: str) -> dict[str, Any]:
    """The first line of its file, its family of colours, its dials and default settings."""
    cls, about = OBJECTIVES[name].hp, import_module(f"nanouft.objectives.{name}").__doc__ or ""
    parser = Parser()
    add_flags(parser, cls, name)
    text = {action.dest: action.help for action in parser._actions}
    settings = dataclasses.asdict(cls())
    dials = [{"name": dial, "help": text[dial], "default": settings[dial],
              **({"choices": reach} if isinstance(reach, list)
                 else dict(zip(("low", "high", "step"), reach)))}
             for dial, reach in DIALS[name].items()]
    return {"name": called(name), "title": about.split("\n")[0], "mark": look(name).mark,
            "colour": [look(name).light, look(name).dark], "dials": dials,
            "settings": {dial: settings[dial] for dial in DIALS[name]}}


# ---- the record ----------------------------------------------------------------------------------
def frame(model: GPT, base: GPT, name: str, hp: Any, data: dict[str, Any],
          tok: Tokenizer) -> dict[str, Any]:
    """What the page shows of a model; frame() in worker.js computes the same."""
    asks = data["questions"]
    said = generate(model, [q["prompt"] for q in asks], stop=tok.end, pad=tok.pad, max_new=LONGEST)
    with torch.no_grad():
        chances = [model(torch.tensor([q["prompt"] + q["answer"][:-1]]))[0, -1].softmax(-1)[
            q["answer"][-1]] for q in asks]
    text, right, wrong = shown(data, tok)
    row = Row((Turn("user", text),), right, right, wrong)
    strips = entries(name, hp, row, model, tok, reference=base)
    answer = said[SHOWN]
    return {"said": answer.ids + [answer.stop] * answer.ended,
            "stops": sum(stops(a, tok) for a in said),
            "chance": round(float(torch.stack(chances).mean()), 5),
            "push": [[round(x, 5) for x in weights] for _, _, weights in strips]}


def shown(data: dict[str, Any], tok: Tokenizer) -> tuple[str, Any, Any]:
    """The question on the page, its right and its wrong answer."""
    q = data["questions"][SHOWN]
    right, wrong = (world.as_answer(tok.decode(q[side][:-1]).strip())
                    for side in ("answer", "rejected"))
    return q["text"], right, wrong


def record(base: GPT, name: str, hp: Any, demos: list[Row], data: dict[str, Any],
           tok: Tokenizer) -> list[dict[str, Any]]:
    """Frames after 0 to STEPS steps of a method, as worker.js takes them."""
    model, objective = GPT(base.cfg), OBJECTIVES[name]
    model.load_state_dict(base.state_dict())
    optimizer = torch.optim.AdamW(model.parameters(), RATE, betas=(0.9, 0.95), weight_decay=0)
    encoded, _ = encode(objective.choose(demos, hp), tok, base.cfg.n_ctx)
    frames = [frame(model, base, name, hp, data, tok)]
    for step in range(STEPS):
        batch = collate(encoded, range(step * BATCH, (step + 1) * BATCH), tok.pad)
        objective.forward(model, batch, hp)
        loss, _ = objective.loss(batch, hp)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        frames.append(frame(model, base, name, hp, data, tok))
    return frames


# ---- all of it -----------------------------------------------------------------------------------
def content() -> dict[str, Any]:
    """Everything that the page reads, the record in it."""
    model, tok = start_model("base")
    cfg = model.cfg
    pairs = world.rows("train", "pairs", DEMOS, 0, skills=("list",))
    questions = world.rows("val", "prompts", QUESTIONS, 0, skills=("list",))
    data = {"config": {"layers": cfg.n_layer, "heads": cfg.n_head, "width": cfg.n_embd,
                       "eps": cfg.eps, "vocab": cfg.vocab_size, "end": tok.end},
            **packed(model), "pieces": [tok.decode([i]) for i in range(cfg.vocab_size)],
            "demos": [asked(row, tok) for row in pairs],
            "questions": [asked(row, tok) for row in questions],
            "methods": {name: method(name) for name in DIALS}, "shown": SHOWN, "rate": RATE}
    base = unpacked(model, data)
    demos = [Row(row.prompt, row.chosen) for row in pairs]
    data["record"] = {key: {"name": name, "dials": dials, "frames": record(
        base, name, OBJECTIVES[name].hp(**dials), demos, data, tok)}
        for key, (name, dials) in RECORDED.items()}
    return data
