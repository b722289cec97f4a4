"""Extra: the tangent space. What if a network were straight in its weights?

    python lessons/extras/tangent.py        # about two minutes on two cores: two tables

Linearise the base at its weights, and train only their change delta (nanouft/models/tangent.py).
Each logit is then linear in delta. Two questions:
1. DPO (TS-DPO, arXiv:2602.01128): while delta is small, the straight and the bent network say the
   same. How soon do they part? Guess: ten times the rate, how many times the KL?
2. One run learns skills, another one honesty. Their directions are added, nobody trains again.
   Guess: does the sum know both? And in the ordinary network at the same weights?
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

STEPS, ROWS = 16, 16                    # of a run; rows of a step
TESTS = 30                              # prompts of each exam
CPU = Device("cpu", "fp32")
TAUGHT = {"skills": ("rules", "list"), "honesty": ("truth", "unknown")}


def rows_of(name: str, n: int, split: str = "train", **which) -> list:
    """Rows for this objective, in tokens, with the base's log-probs beside them."""
    objective = OBJECTIVES[name]
    rows = world.rows(split, objective.data, n, 0, **which)
    encoded, _ = encode(objective.rows(rows, objective.hp()), tok, 512)
    add_columns(encoded, objective.columns, base, tok.pad, CPU)
    return encoded


def train(model, name: str, data: list, lr: float, look=None):
    """`model` after STEPS steps; look(step, model) after each."""
    objective, hp = OBJECTIVES[name], OBJECTIVES[name].hp()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=lr)
    plan = order([e.length for e in data], ROWS, STEPS, seed=0)
    for step, rows in enumerate(tqdm(plan, f"{name} {lr:g}", STEPS, leave=False), 1):
        batch = collate(data, rows, tok.pad)
        objective.forward(model, batch, hp)
        loss, _ = objective.loss(batch, hp)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if look:
            look(step, model)
    return model


def exam(model) -> str:
    """Exact scores in percent, for what each run has taught."""
    out = []
    for families in TAUGHT.values():
        tests = world.rows("val", "prompts", TESTS, 0, skills=families)
        said = [tok.decode(a.ids).strip() for a in answer_rows(model, tok, tests)]
        right = sum(world.score(row.prompt[0].text, text) for row, text in zip(tests, said))
        out.append(f"{100 * right / TESTS:7.0f} %")
    return "".join(out)


def part_ways() -> None:
    """DPO in the tangent space, in the ordinary network, and how far from each other they are."""
    pairs, held = rows_of("dpo", 256), rows_of("dpo", 50, "val")
    print("DPO: KL(straight || bent at the same weights), nats a token   pairs learnt (50 % = none)")
    print("lr         " + "".join(f"step {STEPS // k:<8}" for k in (4, 2, 1))
          + "straight   bent there   ordinary DPO")
    for lr in (3e-5, 3e-4, 3e-3):
        apart = {}

        def look(step, model):
            if step * 4 % STEPS == 0:
                apart[step] = held_out(model, held, tok.pad, CPU)["ordinary_kl"]
        straight = train(TangentGPT(fresh()), "dpo", pairs, lr, look)
        models = straight, straight.ordinary(), train(fresh(), "dpo", pairs, lr)
        learnt = [f"{100 * held_out(m, held, tok.pad, CPU)['accuracy']:.0f} %" for m in models]
        kls = "".join(f"{apart[STEPS // k]:<13.5f}" for k in (4, 2, 1))
        print(f"{lr:<11g}{kls}" + "{:<11}{:<13}{}".format(*learnt))


def add_up() -> None:
    """SFT on skills, SFT on honesty, and their directions added."""
    a, b = (train(TangentGPT(fresh()), "sft", rows_of("sft", 256, skills=families), 1e-3)
            for families in TAUGHT.values())
    print(f"\nexact score          straight: {'  '.join(TAUGHT)}    bent: {'  '.join(TAUGHT)}")
    for name, shares in (("base", (0, 0)), ("d1 = skills", (1, 0)), ("d2 = honesty", (0, 1)),
                         ("d1 + d2", (1, 1)), ("d1 + d2 / 2", (1, 0.5)), ("d1 - d2", (1, -1))):
        whole = combined([a, b], shares)
        print(f"{name:<22}{exam(whole)}{exam(whole.ordinary()):>28}")


def fresh():
    return start_model("base")[0]


base, tok = start_model("base")
if __name__ == "__main__":
    torch.set_num_threads(1)
    part_ways()
    add_up()
