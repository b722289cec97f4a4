"""Extra: the tangent space. What if a network were straight in its weights?

    python lessons/extras/tangent.py        # about a minute on one idle core: two tables

Linearise the base at its weights, and train only their change delta (nanouft/models/tangent.py).
Each logit is then linear in delta. Two questions:
1. DPO (TS-DPO, arXiv:2602.01128). While delta is small, the straight model and the bent one (the
   ordinary network at the same weights) say the same. Guess: ten times the learning rate is how
   many times the KL between them?
2. One run learns skills, another one honesty. Their directions are added, and nobody trains again.
   Guess: does the sum know both? And the bent model at the same weights?
Our answer: more than a hundred times, and from a rate of 3e-4 on, the weights are good for the
straight model only. So it is with the sum: both are known there, and little in the bent model.
One seed, one base, few steps: what is shown is the mechanism.
"""
import torch
from tqdm import tqdm

from nanouft import world
from nanouft.data.batches import collate, encode, order
from nanouft.look.held_out import held_out
from nanouft.models.combine import combined
from nanouft.models.generate import answer_rows
from nanouft.models.load import start_model
from nanouft.models.tangent import TangentGPT
from nanouft.objectives import OBJECTIVES
from nanouft.reference import add_columns
from nanouft.shell.devices import Device

STEPS = [4, 8, 16]                      # of a run; after each of them we look
RATES = [3e-5, 3e-4, 3e-3]
TESTS = 30                              # prompts of each exam
CPU = Device("cpu", "fp32")


def rows_of(name: str, n: int, split: str = "train", **which) -> list:
    """Rows for this objective, in tokens, with the base's log-probs beside them."""
    objective = OBJECTIVES[name]
    rows = world.rows(split, objective.data, n, 0, **which)
    encoded, _ = encode(objective.rows(rows, objective.hp()), tok, 512)
    add_columns(encoded, objective.columns, base, tok.pad, CPU)
    return encoded


def train(model, name: str, data: list, lr: float) -> list[float]:
    """Train `model` in place. Of a tangent model: its KL to the bent model at each of STEPS."""
    objective, hp, kl = OBJECTIVES[name], OBJECTIVES[name].hp(), []
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=lr)
    plan = order([e.length for e in data], 16, STEPS[-1], seed=0)
    for step, rows in enumerate(tqdm(plan, f"{name} {lr:g}", STEPS[-1], leave=False), 1):
        batch = collate(data, rows, tok.pad)
        objective.forward(model, batch, hp)
        loss, _ = objective.loss(batch, hp)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step in STEPS and isinstance(model, TangentGPT):
            kl.append(held_out(model, held, tok.pad, CPU)["ordinary_kl"])
    return kl


def exam(model, *skills: str) -> float:
    """Exact score in percent on prompts of these families."""
    tests = world.rows("val", "prompts", TESTS, 0, skills=skills)
    said = [tok.decode(a.ids).strip() for a in answer_rows(model, tok, tests)]
    scores = [world.score(row.prompt[0].text, text) for row, text in zip(tests, said)]
    return 100 * sum(scores) / TESTS


def part_ways() -> None:
    pairs = rows_of("dpo", 256)
    print(f"DPO          KL(straight || bent) after {STEPS} steps, nats a token;     "
          "pairs in order, %: straight, bent, ordinary DPO")
    for lr in RATES:
        straight, ordinary = TangentGPT(start_model("base")[0]), start_model("base")[0]
        kl = train(straight, "dpo", pairs, lr)
        train(ordinary, "dpo", pairs, lr)
        learnt = [100 * held_out(model, held, tok.pad, CPU)["accuracy"]
                  for model in (straight, straight.ordinary(), ordinary)]
        print(f"lr {lr:<8g}" + "".join(f"{x:12.5f}" for x in kl)
              + "".join(f"{x:12.0f}" for x in learnt))


def add_up() -> None:
    runs = []
    for skills in (("rules", "list"), ("truth", "unknown")):
        runs.append(TangentGPT(start_model("base")[0]))
        train(runs[-1], "sft", rows_of("sft", 256, skills=skills), 1e-3)
    print("\nexact score, %      straight: skills, honesty      bent: skills, honesty")
    for shares in ((0, 0), (1, 0), (0, 1), (1, 1), (1, 0.5), (1, -1)):
        whole = combined(runs, list(shares))
        marks = [exam(model, *skills) for model in (whole, whole.ordinary())
                 for skills in (("rules", "list"), ("truth", "unknown"))]
        print(f"{shares[0]} d1 {shares[1]:+} d2".ljust(16) + "".join(f"{m:14.0f}" for m in marks))


base, tok = start_model("base")
held = rows_of("dpo", 50, "val")
if __name__ == "__main__":
    torch.set_num_threads(1)
    part_ways()
    add_up()
