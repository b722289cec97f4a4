"""What the functions of ex17.py must do."""
import torch
import torch.nn.functional as F

from lessons.check import expect, same

V, RATE = 5, 0.5


class Tiny(torch.nn.Module):
    """from lessons.exercises.check17 import Tiny, Plain. A model with one row of logits a token."""

    def __init__(self, seed: int, scale: float):
        super().__init__()
        rng = torch.Generator().manual_seed(seed)
        self.seed, self.scale = seed, scale
        self.table = torch.nn.Parameter(torch.randn(V, V, generator=rng))
        self.bias = torch.nn.Parameter(torch.randn(V, generator=rng))

    def forward(self, ids):
        return self.scale * (self.table[ids] + self.bias)

    def __repr__(self):
        return f"Tiny({self.seed}, {self.scale})"


class Plain(torch.optim.SGD):
    def __repr__(self):
        return f"Plain(model.parameters(), lr={RATE})"


def gradients(model, loss):
    """All gradients in one row, and their norm."""
    flat = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])
    return flat, flat.norm()


def weights(model):
    return torch.cat([p.detach().flatten().clone() for p in model.parameters()])


def train_step(mine, draw):
    B, T, seed, scale = draw.randint(1, 3), draw.randint(2, 4), draw.randint(0, 99), 0.3
    scale = draw.choice([scale, 6.0])                           # a small or a large gradient
    inputs, targets, mask = draw.ids(B, T) % V, draw.ids(B, T) % V, draw.mask(B, T)
    model = Tiny(seed, scale)
    before = weights(model)
    each = F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten(), reduction="none")
    loss = (each * mask.flatten()).sum() / mask.sum()
    flat, norm = gradients(model, loss)
    for p in model.parameters():
        p.grad = torch.ones_like(p)                             # of a step that was made before
    got = mine(model, Plain(model.parameters(), lr=RATE), inputs, targets, mask)
    same(got, loss.item(), f"The mean of -log p(target) over the {mask.sum()} answer tokens is "
         f"{loss:.4f} before the step.")
    expect(not got.requires_grad, "The loss should be a plain number: loss.item().")
    moved = (before - weights(model)) / RATE
    expect(moved.abs().sum() > 0, "The weights have not moved. The gradient comes from "
           "loss.backward(), and optimizer.step() moves them.")
    clipped = flat / norm.clamp(min=1)
    if torch.allclose(moved, clipped, atol=1e-4):
        return
    old = flat + 1
    slips = {"the gradient of an earlier step was still there: optimizer.zero_grad()":
             (old, old / old.norm().clamp(min=1), torch.ones_like(flat),
              torch.ones_like(flat) / len(flat) ** 0.5),
             f"the norm of the gradient is {norm:.3f}, and it was not scaled to 1 before the step":
             (flat,),
             "it was scaled to 1 although it was smaller": (flat / norm,),
             "the weights moved uphill": (-flat, -clipped)}
    why = [text for text, wrong in slips.items()
           if any(torch.allclose(moved, x, atol=1e-4) for x in wrong)]
    expect(False, "The loss is right, but the weights do not move as they should"
           + (f", since {why[0]}." if why else f": by {RATE} times the gradient, whose norm is "
              f"{norm:.3f}, or 1 if that is larger. Yours move by {moved.norm():.3f} times that."))


def score(mine, draw):
    numbers = [draw.randint(1, 9) for _ in range(draw.randint(2, 5))]
    if draw.random() < 0.3:
        numbers.append(draw.randint(1000, 99_000))
    total = sum(numbers)
    question = f"Add up {' '.join(map(str, numbers))} step by step."
    other = total + draw.randint(1, 9)
    for text, wanted in (
            (f"{numbers[0]} and {numbers[1]} is {numbers[0] + numbers[1]}, so it is {total}", 1),
            (f"The total is **{total}**.", 1), (f"It is {total:,}", 1),
            (f"not {other}, but {total}", 1), (f"It is {numbers[0]}, {total}", 1),
            (f"{total}, no, {other}", 0), (f"It is 1{total}", 0), (f"It is {total}0", 0),
            ("I do not know.", 0), ("", 0)):
        got = mine(question, text)
        expect(got == wanted, f"The sum is {total}, so the answer {text!r} scores {wanted}. Yours "
               f"is {got}.")


EXERCISES = {"17a": train_step, "17b": score}
