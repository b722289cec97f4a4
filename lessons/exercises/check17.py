"""What the functions of ex17.py must do."""
import torch
import torch.nn.functional as F

from lessons.check import expect, same

V, RATE = 5, 0.5
SCALES = (0.3, 6.0)             # a small or a large gradient


class Tiny(torch.nn.Module):
    """A model with one row of logits a token (from lessons.exercises.check17 import *)."""

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


def weights(model):
    return torch.cat([p.detach().flatten().clone() for p in model.parameters()])


def train_step(mine, draw):
    B, T = draw.randint(1, 3), draw.randint(2, 4)
    inputs, targets, mask = draw.ids(B, T) % V, draw.ids(B, T) % V, draw.mask(B, T)
    model = Tiny(draw.randint(0, 99), draw.choice(SCALES))
    before = weights(model)
    each = F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten(), reduction="none")
    loss = (each * mask.flatten()).sum() / mask.sum()
    slope = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])
    norm = slope.norm()
    for p in model.parameters():
        p.grad = torch.ones_like(p)                             # of an earlier step
    got = mine(model, Plain(model.parameters(), lr=RATE), inputs, targets, mask)
    same(got, loss.item(), f"The mean of -log p(target) over the {mask.sum()} answer tokens is "
         f"{loss:.4f} before the step.")
    expect(not got.requires_grad, "The loss should be a plain number: loss.item().")
    step = (before - weights(model)) / RATE
    expect(norm < 1e-6 or step.abs().sum() > 0, "The weights have not moved. The gradient comes "
           "from loss.backward(), and optimizer.step() moves them.")
    both = slope + 1
    old = (both, both / both.norm().clamp(min=1), both / both / len(both) ** 0.5, both / both)
    expect(not any(torch.allclose(step, x, atol=1e-4) for x in old), "The gradient of an earlier "
           "step was still there. optimizer.zero_grad() takes it away.")
    fits = torch.allclose(step, slope / norm.clamp(min=1), atol=1e-4)
    cut = slope.clamp(-1, 1)                        # another step only where a number is above 1
    value = torch.allclose(step, cut, atol=1e-4) and not torch.allclose(cut, slope, atol=1e-4)
    expect(fits or not value, "Each number of the gradient is cut off by itself "
           "(clip_grad_value_), which changes its direction. Scale all of them together, by "
           "clip_grad_norm_.")
    expect(fits or not torch.allclose(step, slope, atol=1e-4), f"The weights move by the whole "
           f"gradient, whose norm is {norm:.3f}, and not by one that is scaled to the norm 1. "
           "Clipping changes the gradients that are there, so it belongs between loss.backward() "
           "and optimizer.step().")
    same(step, slope / norm.clamp(min=1), f"The norm of the gradient is {norm:.3f}, so the weights "
         f"should move by {RATE} times the gradient, scaled to the norm 1 if it is larger. Yours "
         f"move by {RATE} times {step.norm():.3f}.")


def score(mine, draw):
    numbers = [draw.randint(1, 9) for _ in range(draw.randint(2, 5))]
    if draw.random() < 0.3:
        numbers.append(draw.randint(1000, 99_000))
    total = sum(numbers)
    question = f"Add up {' '.join(map(str, numbers))} step by step."
    other = total + draw.randint(1, 9)
    row = f"{numbers[0]},{numbers[1]},{total % 100}"            # three numbers, as in 9,3,12
    for text, wanted in (
            (f"{numbers[0]} and {numbers[1]} is {numbers[0] + numbers[1]}, so it is {total}", 1),
            (f"The total is **{total}**.", 1), (f"It is {total:,}", 1),
            (f"not {other}, but {total}", 1), (f"It is {numbers[0]}, {total}", 1),
            (f"{total}, no, {other}", 0), (f"It is 1{total}", 0), (f"It is {total}0", 0),
            (row, total < 100), ("I do not know.", 0), ("", 0)):
        got = mine(question, text)
        expect(got == wanted, f"The sum is {total}, so the answer {text!r} scores {wanted:d}. "
               f"Yours is {got}.")


EXERCISES = {"17a": train_step, "17b": score}
