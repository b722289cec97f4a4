"""What the functions of ex06.py must do."""
import torch

from lessons.check import expect, same, shaped, show


def future_weights(losses, mask, gamma):
    """(T,) the weights of the released loss."""
    raw, later = [], 0.0
    for loss in (losses * mask).flip(0):
        later = loss + gamma * later
        raw.insert(0, later)
    raw = torch.stack(raw) * mask                                   # (T,)
    return raw * mask.sum() / raw.sum()


def slope_at(b, losses, gamma):
    """The derivative of the released loss by the loss b of the last token."""
    b = torch.as_tensor(b, dtype=torch.float64).clone().requires_grad_()
    all_losses = torch.cat([losses[:-1].double(), b[None]])
    weights = future_weights(all_losses, torch.ones(len(losses)), gamma)
    return torch.autograd.grad((weights * all_losses).mean(), b)[0]


def balance(mine, draw):
    losses, gamma = draw.numbers(0.3, 3, draw.randint(2, 5)), draw.choice([0.3, 0.6, 0.95])
    a = losses[0]
    two = mine(torch.stack([a, a * 0]), gamma)
    shaped(two, (), "The result is one number, a loss.")
    expect(two > 1e-3, f"Yours is {two:.4f}. At b = 0 the loss falls if b rises, so the balance "
           "lies above 0. (With detached weights it would be 0.)")
    wanted = a * ((2 + gamma) ** 0.5 - 1) / (1 + gamma)
    same(two, wanted, f"Here are two tokens, and gamma is {gamma}. The derivative by b is 0 where "
         "(1 + gamma) b^2 + 2 a b - a^2 = 0.", tolerance=1e-3)
    other = losses.clone()
    other[-1] += 1
    same(mine(other, gamma), mine(losses, gamma), "The last loss was changed, and the result with "
         "it. It is the loss that is asked for, so its own value is not used.")
    b = mine(losses, gamma)
    slope = slope_at(b, losses, gamma)
    expect(b >= 0 and abs(slope) < 1e-3, f"With your b = {b:.4f} the derivative of L by b is "
           f"{slope:+.4f}, and it should be 0: b is too {'small' if slope < 0 else 'large'}.")


class Watched(torch.nn.Module):
    """A small model with the signature of GPT. It remembers what it has read as embeddings."""

    def __init__(self, draw, V: int, C: int = 3):
        super().__init__()
        self.E, self.head = (torch.nn.Parameter(draw.numbers(-2, 2, *shape))
                             for shape in ((V, C), (C, V)))
        self.read, self.logits = [], []

    def __repr__(self):
        return "model"

    def forward(self, ids=None, *, embeds=None, want="logits"):
        if embeds is None:
            return self.E[ids] if want == "embeds" else self.E[ids] @ self.head
        self.read.append(embeds)
        self.logits.append(embeds @ self.head)
        return self.logits[-1]


def ift_loss(mine, draw):
    B, T, V = draw.randint(1, 2), draw.randint(3, 5), 6
    model, mask = Watched(draw, V), draw.mask(B, T).float()
    ids, targets = draw.ids(B, T) % V, draw.ids(B, T) % V
    got = mine(model, ids, targets, mask)
    shaped(got, (), "The loss is one number for the whole step.")
    expect(model.read, "The model never read a blend, by model(embeds=...).")
    read = torch.cat(model.read)[-B:]               # it may have made its guess from embeddings
    E, guess = model.E.detach(), model(ids).argmax(-1)[:, :-1]
    shaped(read, (B, T, 3), "The blend has an embedding at each position of each row.")
    for b in range(B):
        for t in range(T):
            x = ids[b, t]
            if t == 0 or mask[b, t - 1] == 0:
                same(read[b, t], E[x], f"Position {t} of row {b} is not in the answer, so the "
                     "model should read its true token there.")
            else:
                g = guess[b, t - 1]
                same(read[b, t], torch.lerp(E[x], E[g], 0.2), f"At position {t} of row {b} the "
                     f"model should read 0.8 of the embedding of the true token {x} and 0.2 of "
                     f"that of the guess {g}, which it made at position {t - 1}. It reads "
                     f"{show(read[b, t])}.")
    expect(not read.requires_grad, "The blend is right, but gradient flows through it into the "
           "embeddings.")
    at_target = torch.nn.functional.one_hot(targets, V)
    p = (torch.cat(model.logits)[-B:].detach().softmax(-1) * at_target).sum(-1)
    losses, n = -p.log(), mask.sum(1, keepdim=True)

    weights = torch.stack([future_weights(*row, 0.95) for row in zip(losses, mask)])
    wanted = (weights * losses / n).sum() / B
    slips = {
        "gamma is 1 and not 0.95": (torch.stack(
            [future_weights(*row, 1.0) for row in zip(losses, mask)]) * losses / n).sum() / B,
        "there are no weights": (losses * mask / n).sum() / B,
        "each row is added up": (weights * losses).sum() / B,
        "the mean is taken over all positions": (weights * losses).mean(),
        "the tokens of all rows are averaged at once": (weights * losses).sum() / n.sum(),
    }
    for slip, other in slips.items():
        expect(abs(got - wanted) < 1e-4 or abs(got - other) > 1e-4, "The model reads the right "
               f"blend, but your loss, {got:.4f}, is what comes out if {slip}.")
    same(got, wanted, f"The model reads the right blend, and its losses are {show(losses)}. With "
         f"the mask {show(mask)} the weights are {show(weights)}.")
    expect(got.requires_grad, "No gradient reaches the model that reads the blend. Only the guess, "
           "the blend and the weights are constants.")
    slope = torch.autograd.grad(got, model.logits, materialize_grads=True, allow_unused=True)
    by_loss = (torch.cat(slope)[-B:] * at_target).sum(-1) / (p - 1)
    same(by_loss, weights / (B * n), "The loss is right, but not its gradient: weights are no "
         "constants, or a part of the loss is one.")


EXERCISES = {"06a": balance, "06b": ift_loss}
