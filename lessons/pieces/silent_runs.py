"""The five runs of piece silent, each with one bug, and run 0 without one.

    python -m lessons.pieces.silent_runs        # writes silent.json; about half a minute

A bug is the first mistake of a function in key_silent.py, put into the loop below.
"""
import copy
import json
import sys
from pathlib import Path

import torch

from lessons.classroom.mistakes import with_mistakes
from lessons.pieces.key_silent import EXERCISES
from nanouft import world
from nanouft.generate import stops
from nanouft.gpt import shipped_base
from nanouft.models.tokenizer import nano
from nanouft.plumbing.entry import command
from nanouft.plumbing.printing import say
from nanouft.run.evaluation import answer_rows
from nanouft.simple import score_of, token_logp, tokens

FILE = Path(__file__).with_name("silent.json")
RUNS = [("SFT", ""), ("SFT", "answer_mask"), ("DPO", "pair_loss"), ("SFT", "next_token_loss"),
        ("UNA", "own_scores"), ("SFT", "descend")]
KINDS = {"SFT": "demos", "DPO": "pairs", "UNA": "scores"}
RATES = {"SFT": 2.5e-4, "DPO": 1e-4, "UNA": 2.5e-4}
SKILLS, STEPS, ROWS, EVERY, BETA = ("list", "sort", "truth"), 48, 16, 8, 0.1


def loss_of(method: str, f: dict, model, start, rows: list) -> torch.Tensor:
    """f: the functions of the piece, one of them with its bug."""
    tok = nano()

    def logp(some, side):
        inputs, targets, mask = tokens(rows, side, tok)
        return (token_logp(some(inputs), targets) * mask).sum(1)
    if method == "DPO":
        now = [logp(model, side) for side in ("chosen", "rejected")]
        before = [logp(start, side).detach() for side in ("chosen", "rejected")]
        return f["pair_loss"](*now, *before, BETA)
    if method == "UNA":
        path = torch.stack([logp(start, "answer").detach(), logp(model, "answer")])
        score = torch.tensor([row.score for row in rows])
        return (f["own_scores"](path, BETA)[-1] - score).square().mean()
    chats = [tok.chat(row.prompt, row.answer) for row in rows]
    starts = torch.tensor([mask.index(1) for _, mask in chats])
    ends = torch.tensor([len(ids) for ids, _ in chats])
    T = int(ends.max())
    ids = torch.tensor([ids + [tok.pad] * (T - len(ids)) for ids, _ in chats])
    return f["next_token_loss"](model(ids), ids, f["answer_mask"](starts, ends, T))


def run(method: str, bug: str, steps: int = STEPS) -> list[dict]:
    """A line after every four steps; scores of 60 questions after every eight."""
    f = {name: with_mistakes(x.right, x.mistakes[0]) if name == bug else x.right
         for name, x in EXERCISES.items()}
    model, tok, lines = shipped_base(), nano(), []
    start = copy.deepcopy(model)
    rows = world.rows("train", KINDS[method], STEPS * ROWS, seed=0, skills=SKILLS)
    asked = world.rows("val", "prompts", 60, seed=0, skills=SKILLS)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATES[method], weight_decay=0.0)
    for step in range(steps):
        loss = loss_of(method, f, model, start, rows[step * ROWS:(step + 1) * ROWS])
        if bug != "descend":
            optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), float("inf")).item()
        optimizer.step()
        line = {"step": step + 1, "loss": round(loss.item(), 3), "gradient": round(norm, 2)}
        if (step + 1) % EVERY == 0:
            answers = answer_rows(model, tok, asked, max_new=24)
            score = sum(score_of(row, x, tok) for row, x in zip(asked, answers)) / len(asked)
            line |= {"score": round(100 * score), "stops": round(
                100 * sum(stops(x, tok) for x in answers) / len(asked)),
                "answer": tok.decode(answers[0].ids).strip()}
        if step == 0 or (step + 1) % (EVERY // 2) == 0:
            lines.append(line)
    return lines


def main(argv: list[str] | None = None) -> int:
    torch.set_num_threads(1)
    runs = [{"method": method, "log": run(method, bug)} for method, bug in RUNS]
    FILE.write_text(json.dumps(runs, indent=0) + "\n", encoding="utf-8")
    say(f"{FILE}: python -m lessons piece silent shows it")
    return 0


if __name__ == "__main__":
    sys.exit(command(main))
