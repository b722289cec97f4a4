"""What the page reads: the shipped base, questions, methods, and a record.

    data = content()                            # plain numbers and strings, ready for JSON

The record is what the page plays first: four models after 0 to 4 steps, taught here by the
project's own losses. The page then computes the same and compares.
"""
import base64
import inspect
from copy import deepcopy
from dataclasses import replace
from typing import Any

import torch

from nanouft import world
from nanouft.data.batches import collate, encode
from nanouft.data.rows import Row
from nanouft.gpt import GPT
from nanouft.ledger import entries
from nanouft.loop import steps
from nanouft.models.folders import start_model
from nanouft.models.generate import generate, stops
from nanouft.models.tokenizer import Tokenizer
from nanouft.objective import Batch, Objective
from nanouft.objectives import OBJECTIVES, ift
from nanouft.run.reference import Models

STEPS, BATCH, RATE = 4, 8, 2.5e-4       # of the record
DEMOS, QUESTIONS = STEPS * BATCH, 8     # lists to learn from and to ask; the first one is shown
LONGEST = 28                    # tokens of an answer
RECORDED: dict[str, tuple[str, dict]] = {
    "sft": ("sft", {}), "released": ("ift", {"variant": "released"}), "detached": ("ift", {}),
    "dpo": ("dpo", {})}


# ---- questions and methods -----------------------------------------------------------------------
def lists(split: str, n: int) -> list[Row]:
    """List questions with a right and a wrong answer, for methods of either kind."""
    pairs = world.rows(split, "pairs", n, 0, skills=("list",))
    return [replace(row, answer=row.chosen) for row in pairs]


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
def frame(model: GPT, base: GPT, objective: Objective, questions: list[Row],
          tok: Tokenizer) -> dict[str, Any]:
    """What the page shows of a model; frame() in worker.js computes the same."""
    asks = [as_ids(row, tok) for row in questions]
    said = generate(model, [q["prompt"] for q in asks], stop=tok.end, pad=tok.pad, max_new=LONGEST)
    with torch.no_grad():
        chances = [model(torch.tensor([q["prompt"] + q["answer"][:-1]]))[0, -1].softmax(-1)[
            q["answer"][-1]] for q in asks]
    strips = entries(objective, questions[0], model, tok, reference=base)
    return {"said": said[0].ids + [said[0].stop] * said[0].ended,
            "stops": sum(stops(a, tok) for a in said),
            "chance": round(float(torch.stack(chances).mean()), 5),
            "push": [[round(x, 5) for x in weights] for _, _, weights in strips]}


def record(base: GPT, name: str, dials: dict[str, Any], demos: list[Row], questions: list[Row],
           tok: Tokenizer) -> dict[str, Any]:
    """Frames after 0 to STEPS steps of a method, as worker.js takes them."""
    model, objective = deepcopy(base), OBJECTIVES[name](**dials)
    optimizer = torch.optim.AdamW(model.parameters(), RATE, betas=(0.9, 0.95), weight_decay=0)
    encoded, _ = encode(objective.choose(demos), tok, base.cfg.n_ctx)
    encoded = Models(base, tok.pad).prepare(encoded, objective)

    def rows_of(step: int) -> Batch:
        return collate(encoded, range(step * BATCH, (step + 1) * BATCH), tok.pad)
    frames = [frame(model, base, objective, questions, tok)]
    for _ in steps(model, objective, rows_of, optimizer, range(STEPS), clip=1.0):
        frames.append(frame(model, base, objective, questions, tok))
    return {"name": name, "dials": vars(objective), "frames": frames}


# ---- all of it -----------------------------------------------------------------------------------
def content() -> dict[str, Any]:
    """Everything that the page reads, the record in it."""
    model, tok = start_model("base")
    cfg = model.cfg
    weights = torch.cat([p.detach().flatten() for p in model.parameters()]).half()  # as shipped
    demos = lists("train", DEMOS)
    questions = lists("val", QUESTIONS)
    questions.insert(0, questions.pop(6))               # first the one that is shown
    data = {"config": {"layers": cfg.n_layer, "heads": cfg.n_head, "width": cfg.n_embd,
                       "eps": cfg.eps, "vocab": cfg.vocab_size, "end": tok.end},
            "shapes": [[name, list(p.shape)] for name, p in model.named_parameters()],
            "weights": base64.b64encode(weights.numpy().tobytes()).decode(),
            "pieces": [tok.decode([i]) for i in range(cfg.vocab_size)],
            "demos": [as_ids(row, tok) for row in demos],
            "questions": [as_ids(row, tok) for row in questions],
            "rate": RATE, "line": differing_line()}
    data["record"] = {key: record(model, name, dials, demos, questions, tok)
                      for key, (name, dials) in RECORDED.items()}
    return data
