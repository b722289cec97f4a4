"""Extra: the tangent space. What if a network were linear in its weights?

    python lessons/extras/tangent.py        # about a minute on one idle core: three tables

Linearise a model at its weights, and train only their change delta (tangent_model.py).
Each logit is then linear in delta. Two questions:
1. DPO (TS-DPO, arXiv:2602.01128). While delta is small, the linear model and the ordinary network
   at the same weights say the same. Guess: ten times the learning rate, how many times the KL
   between them? And which learns more from the pairs, the linear model or ordinary DPO?
2. One run learns to add numbers, another one to say "I do not know." Their directions are
   summed, and nobody trains again. Guess: does the sum know both? And the ordinary network?

1. Their logits differ by O(|delta|^2), so their KL is O(|delta|^4): ten times the rate, up to
   10,000 times the KL. So it is after 4 steps, from 3e-5 to 3e-4. It saturates at some nats.
   At 3e-5 (DPO's default) nothing tells the linear model from ordinary DPO, at 3e-4 hardly
   anything. At 3e-3 ordinary DPO has learnt nothing; the linear model has. From 3e-4 on its weights
   serve the ordinary network worse than itself.
2. The sum keeps all of "I do not know.", and adds numbers no better than the start: what d1
   gained, d2 takes. Over both exams it is better than either direction alone. The ordinary
   network at the whole sum cannot add numbers at all. With half of d2 both models keep most of d1.
One seed, one base, few steps; the intervals are over prompts and pairs, not over seeds.
"""
import copy

import numpy as np
import torch
from tangent_model import TangentGPT, add_directions, ordinary_kl
from tqdm import tqdm

from nanouft import world
from nanouft.data.batches import collate, encode, order
from nanouft.eval.held_out import token_logps, wins
from nanouft.eval.stats import bootstrap
from nanouft.loop import Device
from nanouft.models.load import start_model
from nanouft.objectives import OBJECTIVES
from nanouft.reference import Models, add_columns
from nanouft.sampling import answer_rows

STEPS = [4, 8, 16]                      # of a run; after each of them we look
RATES = [3e-5, 3e-4, 3e-3]
PAIRS = 200                             # held-out pairs that must be put in order
TESTS = 100                             # prompts of each exam
SKILLS = ("sum", "unknown")             # one direction each
CPU = Device()


def rows_of(name: str, n: int, split: str = "train", **which) -> list:
    """Rows for this objective, in tokens, with the base's log-probs beside them."""
    objective = OBJECTIVES[name]
    rows = world.rows(split, objective.data, n, 0, **which)
    encoded, _ = encode(objective.rows(rows, objective.hp()), tok, 512)
    add_columns(encoded, objective.columns, Models(base, tok.pad))
    return encoded


def train(model, name: str, data: list, lr: float) -> list[float]:
    """Train `model` in place. DPO of a linear model: its KL to the ordinary network at STEPS."""
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
        if name == "dpo" and step in STEPS and isinstance(model, TangentGPT):
            kl.append(ordinary_kl(model, collate(held[:50], range(50), tok.pad), CPU))
    return kl


def mean_and_interval(x: np.ndarray) -> str:
    """In percent, with a 95 % bootstrap interval over prompts (no other seed of training)."""
    low, high = bootstrap(100 * x)
    return f"{100 * x.mean():+5.0f} [{low:+.0f}, {high:+.0f}]".ljust(18)


# ---- 1: how far the two models part --------------------------------------------------------------
def in_order(model) -> np.ndarray:
    """Per held-out pair 1 if chosen gained more log-prob over the base than rejected."""
    rows, start = token_logps(model, held, tok.pad, CPU), [e.seqs for e in held]
    gain = {
        role: np.array([r[role].sum() - s[role].ref_logp.sum().item() for r, s in zip(rows, start)])
        for role in ("chosen", "rejected")
    }
    return wins(gain["chosen"] - gain["rejected"])


def part_ways() -> None:
    pairs = rows_of("dpo", 256)
    print(f"DPO: KL(linear || ordinary network at its weights), nats a token, after {STEPS} steps")
    print("pairs in order, %: linear, ordinary network at its weights, ordinary DPO; linear - DPO")
    for lr in RATES:
        linear, ordinary = TangentGPT(copy.deepcopy(base)), copy.deepcopy(base)
        kl = train(linear, "dpo", pairs, lr)
        train(ordinary, "dpo", pairs, lr)
        learnt = [in_order(model) for model in (linear, linear.ordinary(), ordinary)]
        print(f"lr {lr:<15g}" + "".join(f"{x:9.2g}" for x in kl)
              + "".join(f"{100 * x.mean():9.0f}" for x in learnt)
              + "  " + mean_and_interval(learnt[0] - learnt[2]))


# ---- 2: two directions are added -----------------------------------------------------------------
def exam(model) -> np.ndarray:
    """(2,TESTS) exact scores: a row for each of SKILLS."""
    tests = world.rows("val", "prompts", len(SKILLS) * TESTS, 0, skills=SKILLS)     # skill by skill
    texts = [tok.decode(a.ids).strip() for a in answer_rows(model, tok, tests)]
    scores = [world.score(row.prompt[0].text, text) for row, text in zip(tests, texts)]
    return np.array(scores).reshape(len(SKILLS), TESTS)


def add_up() -> None:
    start = copy.deepcopy(base)             # it learns to answer and to stop, on other families
    train(start, "sft", rows_of("sft", 256, skills=("fact", "list")), 2.5e-4)
    runs = [TangentGPT(copy.deepcopy(start)) for _ in SKILLS]
    for run, skill in zip(runs, SKILLS):
        train(run, "sft", rows_of("sft", 256, skills=(skill,)), 3e-4)
    marks = {}
    print(f"\nexact score, %: linear {', '.join(SKILLS)}; ordinary network {', '.join(SKILLS)}")
    for shares in ((0, 0), (1, 0), (0, 1), (1, 1), (1, 0.5)):
        whole = add_directions(runs, list(shares))
        marks[shares] = [exam(model) for model in (whole, whole.ordinary())]
        print(f"{shares[0]} d1 + {shares[1]} d2".ljust(18)
              + "".join(f"{100 * x:12.0f}" for m in marks[shares] for x in m.mean(1)))
    print("\nsum minus: d1 in its exam; d2 in its exam; the better of d1 and d2, both exams")
    for share in (1, 0.5):
        for i, name in enumerate(("linear", "ordinary")):
            both, d1, d2 = (marks[shares][i] for shares in ((1, share), (1, 0), (0, 1)))
            gaps = both[0] - d1[0], both[1] - d2[1], (both - max(d1, d2, key=np.mean)).mean(0)
            print(f"{name}, {share} d2".ljust(18) + "".join(map(mean_and_interval, gaps)))


base, tok = start_model("base")
held = rows_of("dpo", PAIRS, "val")
if __name__ == "__main__":
    torch.set_num_threads(1)
    part_ways()
    add_up()
