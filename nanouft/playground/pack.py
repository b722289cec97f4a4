"""What the page reads: the shipped base in one byte a weight, questions, methods, and a record.

    data = content()                            # plain numbers and strings, ready for JSON

The record is what the page plays first: four models after 0 to 4 steps, taught here by the
project's own losses. The page then computes the same and compares. Names, defaults and help of the
methods come from their files, and so does the line in which the two forms of IFT differ.
"""
import base64
import inspect
import random
from typing import Any

import numpy as np
import torch

from nanouft import world
from nanouft.batches import collate, encode
from nanouft.colours import look
from nanouft.generate import generate, stops
from nanouft.gpt import GPT
from nanouft.ledger import entries
from nanouft.loop import steps
from nanouft.models import start_model
from nanouft.objective import Batch
from nanouft.objectives import OBJECTIVES, ift
from nanouft.reference import Models
from nanouft.rows import Row
from nanouft.tokenizer import Tokenizer

GROUP = 128                     # weights that share a scale
DEMOS, QUESTIONS, SHOWN = 128, 8, 1     # lists to learn from and to ask; the question on the page
STEPS, BATCH, RATE = 4, 8, 2.5e-4       # of the record
LONGEST = 28                    # tokens of an answer
METHODS = {"sft": [], "ift": ["variant", "lam", "gamma"], "dpo": ["beta"]}      # their settings
RECORDED: dict[str, tuple[str, dict]] = {
    "sft": ("sft", {}), "released": ("ift", {"variant": "released"}), "detached": ("ift", {}),
    "dpo": ("dpo", {})}


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
def paired(row: Row) -> Row:
    """A list question with a right and a wrong answer, for methods of either kind."""
    right = row.chosen or row.answer or ()
    text = row.prompt[-1].text
    wrong = row.rejected or world.as_answer(world.corrupt(random.Random(text), text))
    return Row(row.prompt, right, right, wrong)


def as_ids(row: Row, tok: Tokenizer) -> dict[str, Any]:
    """The tokens of a pair."""
    prompt = tok.prompt_ids(row.prompt)
    answer, rejected = (tok.chat(row.prompt, side or ())[0][len(prompt):]
                        for side in (row.chosen, row.rejected))
    return {"text": row.prompt[-1].text, "prompt": prompt, "answer": answer, "rejected": rejected}


def differing_line() -> dict[str, Any]:
    """The line of objectives/ift.py that cuts the gradient through the weights, or does not."""
    lines, first = inspect.getsourcelines(ift.weights)
    at = next(i for i, line in enumerate(lines) if ".detach()" in line)
    code = lines[at].partition("#")[0].strip()
    return {"file": "nanouft/objectives/ift.py", "number": first + at, "text": code}


# ---- the record ----------------------------------------------------------------------------------
def frame(model: GPT, base: GPT, name: str, hp: Any, questions: list[Row],
          tok: Tokenizer) -> dict[str, Any]:
    """What the page shows of a model; frame() in worker.js computes the same."""
    asks = [as_ids(row, tok) for row in questions]
    said = generate(model, [q["prompt"] for q in asks], stop=tok.end, pad=tok.pad, max_new=LONGEST)
    with torch.no_grad():
        chances = [model(torch.tensor([q["prompt"] + q["answer"][:-1]]))[0, -1].softmax(-1)[
            q["answer"][-1]] for q in asks]
    strips = entries(name, hp, questions[SHOWN], model, tok, reference=base)
    answer = said[SHOWN]
    return {"said": answer.ids + [answer.stop] * answer.ended,
            "stops": sum(stops(a, tok) for a in said),
            "chance": round(float(torch.stack(chances).mean()), 5),
            "push": [[round(x, 5) for x in weights] for _, _, weights in strips]}


def record(base: GPT, name: str, dials: dict[str, Any], demos: list[Row], questions: list[Row],
           tok: Tokenizer) -> dict[str, Any]:
    """Frames after 0 to STEPS steps of a method, as worker.js takes them."""
    model, objective = GPT(base.cfg), OBJECTIVES[name]
    hp = objective.hp(**dials)
    model.load_state_dict(base.state_dict())
    optimizer = torch.optim.AdamW(model.parameters(), RATE, betas=(0.9, 0.95), weight_decay=0)
    encoded, _ = encode(objective.choose(demos, hp), tok, base.cfg.n_ctx)
    encoded = Models(base, tok.pad).prepare(encoded, objective, hp)

    def rows_of(step: int) -> Batch:
        return collate(encoded, range(step * BATCH, (step + 1) * BATCH), tok.pad)
    frames = [frame(model, base, name, hp, questions, tok)]
    for _ in steps(model, objective, hp, rows_of, optimizer, range(STEPS), clip=1.0):
        frames.append(frame(model, base, name, hp, questions, tok))
    return {"name": name, "dials": {field: getattr(hp, field) for field in METHODS[name]},
            "frames": frames}


# ---- all of it -----------------------------------------------------------------------------------
def content() -> dict[str, Any]:
    """Everything that the page reads, the record in it."""
    model, tok = start_model("base")
    cfg = model.cfg
    pairs = world.rows("train", "pairs", DEMOS, 0, skills=("list",))
    demos = [paired(row) for row in pairs[:STEPS * BATCH]]
    questions = [paired(row)
                 for row in world.rows("val", "prompts", QUESTIONS, 0, skills=("list",))]
    data = {"config": {"layers": cfg.n_layer, "heads": cfg.n_head, "width": cfg.n_embd,
                       "eps": cfg.eps, "vocab": cfg.vocab_size, "end": tok.end},
            **packed(model), "pieces": [tok.decode([i]) for i in range(cfg.vocab_size)],
            "demos": [as_ids(row, tok) for row in demos],
            "questions": [as_ids(row, tok) for row in questions],
            "methods": {name: vars(look(name)) for name in METHODS},
            "shown": SHOWN, "rate": RATE, "line": differing_line()}
    base = unpacked(model, data)
    data["record"] = {key: record(base, name, dials, demos, questions, tok)
                      for key, (name, dials) in RECORDED.items()}
    return data
