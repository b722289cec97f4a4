"""The token twin: each scene of the lake's page on one sentence of NanoWorld, with nanouft's objectives and base model.

    python -c "from frozen_lake import twin; print(twin.content(0.2))"      # about 20 seconds

A cell is the text so far, a move is the next word. The question is one where each right word is fixed by the word
before it (say these words backwards), so that a word can be right in its place after a wrong one, as a move can.
Four copies of the shipped base learn for STEPS steps of ROWS rows; the question is not among the rows.
"""
import copy

import torch
from tqdm import tqdm

from nanouft import ledger, world
from nanouft.data.batches import collate, encode
from nanouft.data.rows import Row
from nanouft.models.generate import answer_rows
from nanouft.models.load import start_model
from nanouft.objectives import OBJECTIVES
from nanouft.reference import add_columns
from nanouft.shell import devices

METHODS = ("sft", "ift", "dpo", "orpo")
STEPS, ROWS, LOOK = 40, 16, 4               # steps of training, rows of one, steps between two looks


def question() -> Row:
    """The first short pair whose worse answer repeats a word and goes on rightly."""
    def short(row: Row) -> bool:
        best, worse = row.chosen[0].text.split(), row.rejected[0].text.split()
        return len(best) <= 4 and any(a == b for a, b in zip(worse, worse[1:-2]))
    return next(row for row in world.rows("train", "pairs", 300, 0, skills=("reverse",)) if short(row))


def pieces(tok, turns) -> tuple[list[int], list[str]]:
    """Ids and words of an answer, its end included."""
    ids, mask = tok.chat((), turns)
    ids = [i for i, m in zip(ids, mask) if m]
    return ids, [tok.decode([i]).strip() for i in ids]


def blame(best: list[str], worse: list[str]) -> list[str]:
    """Per word of the worse answer: cancels (the same text so far), right (it follows the word before it in the right
    answer, too), or wrong."""
    follows = set(zip(["", *best], best))
    same = next((i for i, (a, b) in enumerate(zip(best, worse)) if a != b), min(len(best), len(worse)))
    return ["cancels" if i < same else "right" if pair in follows else "wrong"
            for i, pair in enumerate(zip(["", *worse], worse))]


@torch.no_grad()
def ghosts(model, tok, row: Row) -> list[dict]:
    """Where the model's own guess differs from the right word, and the next right word that IFT stamps on it."""
    ids, words = pieces(tok, row.chosen)
    prompt = tok.prompt_ids(row.prompt)
    guesses = model(torch.tensor([prompt + ids]), want="logits").argmax(-1)[0, len(prompt) - 1:].tolist()
    said, follows = [tok.decode([g]).strip() for g in guesses], set(zip(words, words[1:]))
    return [{"before": words[:i], "guess": said[i], "truth": words[i], "next": words[i + 1],
             "right": (said[i], words[i + 1]) in follows}
            for i in range(len(words) - 1) if said[i] != words[i]]


def hyper(name: str, lam: float):
    """IFT as on the lake: the released form, with the same share of the ghost."""
    return OBJECTIVES[name].hp(**({"variant": "released", "lam": lam} if name == "ift" else {}))


def taught(model, tok, row: Row, name: str, lam: float, steps: int, look) -> list:
    """Train a copy of the model; [look(copy)] before, every LOOK steps, and at the end. Last: the copy."""
    objective, hp, device = OBJECTIVES[name], hyper(name, lam), devices.Device("cpu", "fp32")
    rows = [r for r in world.rows("train", objective.kinds(hp)[0], steps * ROWS, 0) if r.prompt != row.prompt]
    encoded, _ = encode(objective.rows(rows, hp), tok, model.cfg.n_ctx)
    add_columns(encoded, objective.columns, model, tok.pad, device, hp)
    model = copy.deepcopy(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=objective.lr, betas=(0.9, 0.95), weight_decay=0.0)
    seen = [look(model)]
    for step in range(steps):
        batch = collate(encoded, [i % len(encoded) for i in range(step * ROWS, (step + 1) * ROWS)], tok.pad)
        objective.forward(model, batch, hp)
        loss, _ = objective.loss(batch, hp)
        optimizer.param_groups[0]["lr"] = objective.lr * (1 - step / steps)         # down to nothing
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if (step + 1) % LOOK == 0 or step + 1 == steps:
            seen.append(look(model))
    return [*seen, model]


def says(model, tok, row: Row, forced: str) -> dict:
    """The greedy answer, when its first word is `forced` (or nothing is), and its exact score."""
    answer = answer_rows(model, tok, [row], prior=tok.encode(" " + forced if forced else ""))[0]
    said = tok.decode(answer.ids).strip()
    return {"text": said, "score": round(world.score(row.prompt[-1].text, said), 2)}


def content(lam: float, steps: int = STEPS) -> dict:
    """All that web/twin.js shows."""
    model, tok = start_model("base")
    row, device = question(), devices.Device("cpu", "fp32")
    (_, best), (_, worse) = pieces(tok, row.chosen), pieces(tok, row.rejected)
    roles = {"best": encode_one(tok, row, row.chosen), "worse": encode_one(tok, row, row.rejected)}
    def look(net) -> dict:
        return {way: round(chance(net, *tensors), 3) for way, tensors in roles.items()}
    found: dict = {"prompt": row.prompt[-1].text, "best": best, "worse": worse, "end": best[-1], "steps": steps,
                   "parts": blame(best, worse), "ghosts": ghosts(model, tok, row), "forced": best[1],
                   "pushes": {}, "said": {}, "curve": {"steps": [*range(0, steps, LOOK), steps]}}
    as_demo = Row(row.prompt, answer=row.chosen, chosen=row.chosen, rejected=row.rejected)
    for name in tqdm(METHODS, desc="the same with words", leave=False):
        strips = ledger.entries(name, hyper(name, lam), as_demo, model, tok, device)
        found["pushes"][name] = {role: [round(w, 3) for w in weights] for role, _, weights in strips}
        *curve, net = taught(model, tok, row, name, lam, steps, look)
        found["curve"][name] = {way: [at[way] for at in curve] for way in roles}
        found["said"][name] = {"start": says(net, tok, row, ""), "aside": says(net, tok, row, found["forced"])}
    return found


def encode_one(tok, row: Row, turns) -> tuple[torch.Tensor, torch.Tensor]:
    """(1,T) ids and mask of the question with one answer."""
    ids, mask = tok.chat(row.prompt, turns)
    return torch.tensor([ids]), torch.tensor([mask])


@torch.no_grad()
def chance(model, ids: torch.Tensor, mask: torch.Tensor) -> float:
    """Log-probability of the whole answer, in nats."""
    logp = model(ids[:, :-1], want="logits").log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0]
    return float((logp * mask[:, 1:]).sum())
