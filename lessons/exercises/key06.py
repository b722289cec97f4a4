"""The right functions of ex06.py, and common mistakes."""
import math

import torch

from lessons.exercise import Exercise


def balance(losses, gamma):
    l, n = losses.tolist()[:-1], len(losses) - 1
    v = [sum(gamma ** (k - t) * l[k] for k in range(t, n)) for t in range(n)]
    A, U = sum(x * y for x, y in zip(v, l)), sum(v)
    B, G = (sum(gamma ** (n - t) * x for t, x in enumerate(y)) for y in (l, [1] * n))
    return (-U + math.sqrt(U * U + (G + 1) * ((G + 1) * A - B * U))) / (G + 1)


def losses_and_discount(draw):
    return draw.numbers(0.3, 3, draw.randint(2, 5)), draw.choice([0.3, 0.6, 0.95])


def ift_loss(model, inputs, targets, mask):
    with torch.no_grad():
        best, guess = model(inputs).argmax(-1), inputs.clone()
        guess[:, 1:] = torch.where(mask[:, :-1] == 1, best[:, :-1], inputs[:, 1:])
        read = 0.8 * model(inputs, want="embeds") + 0.2 * model(guess, want="embeds")
    nll = -model(embeds=read).log_softmax(-1).gather(-1, targets[..., None])[..., 0] * mask
    later, weights = 0, torch.zeros_like(nll)
    for t in reversed(range(nll.shape[1])):
        later = nll[:, t].detach() + 0.95 * later
        weights[:, t] = later * mask[:, t]
    return ((weights * nll).sum(1) / weights.sum(1)).mean()


class Watched(torch.nn.Module):
    """A small model with the signature of GPT: each position reads those before it, too. It
    remembers whether it has read embeddings."""

    def __init__(self, draw):
        super().__init__()
        self.E, self.head = (torch.nn.Parameter(draw.numbers(-2, 2, *shape))
                             for shape in ((6, 3), (3, 6)))
        self.read = False

    def forward(self, ids=None, *, embeds=None, want="logits"):
        self.read = self.read or embeds is not None
        embeds = self.E[ids] if embeds is None else embeds
        return embeds if want == "embeds" else embeds.cumsum(-2) @ self.head


def step(draw):
    B, T = draw.randint(1, 2), draw.randint(3, 5)
    return Watched(draw), draw.ids(B, T, 6), draw.ids(B, T, 6), draw.mask(B, T).float()


def look(function, model, *args):
    loss = function(model, *args)
    assert model.read, "the model never read a blend, by model(embeds=...)"
    assert getattr(loss, "requires_grad", False), "no gradient reaches the model"
    by = torch.autograd.grad(loss, list(model.parameters()), materialize_grads=True,
                             allow_unused=True)
    return {"gives": loss, "has the gradient by the embeddings": by[0],
            "has the gradient by the head": by[1]}


BLEND = "The model does not read the right blend: "
EXERCISES = {
    "06a": Exercise(balance, losses_and_discount, [
        ("return (", "return 0 * (", "With detached weights it would be 0. Here the weights are "
         "losses: at b = 0 the loss falls if b rises."),
        ("losses.tolist()[:-1], len(losses) - 1", "losses.tolist(), len(losses)",
         "The last loss is what you look for, so its own value is not used.")], tolerance=1e-3),
    "06b": Exercise(ift_loss, step, [
        ("best[:, :-1], inputs", "best[:, 1:], inputs", BLEND + "the guess for position i is made "
         "at position i - 1."),
        ("mask[:, :-1] == 1", "mask[:, 1:] == 1", BLEND + "the token at position i is in the "
         "answer if the mask is 1 at position i - 1."),
        ("mask[:, :-1] == 1", "mask[:, :-1] < 2", BLEND + "outside the answer the true tokens "
         "stay."),
        ("0.8 * model(inputs, want=\"embeds\") + 0.2", "0.2 * model(inputs, want=\"embeds\") + 0.8",
         BLEND + "0.8 belongs to the true token, 0.2 to the guess."),
        ("with torch.no_grad():", "if True:", "Gradient flows through the blend into the "
         "embeddings."),
        (".detach()", "", "Gradient flows through the weights, which should be constants."),
        ("0.95 * later", "later", "The weights have gamma 1 and not 0.95."),
        ("(weights * nll).sum(1) / weights.sum(1)", "nll.sum(1) / mask.sum(1)",
         "There are no weights."),
        ("(weights * nll).sum(1) / weights.sum(1)", "(weights * nll).sum(1) / mask.sum(1)",
         "Raw weights are not divided by their mean, so a row with large losses counts more."),
        ("weights[:, t] = later * mask[:, t]", "weights[:, t] = (later - nll[:, t].detach()) * "
         "mask[:, t]", "A token's own loss is missing in its weight."),
        ("later = nll[:, t].detach() + 0.95 * later", "later = nll[:, t].detach()",
         "The later losses are missing in the weights."),
        ("reversed(range(nll.shape[1]))", "range(nll.shape[1])", "The weights look back. A token "
         "weighs by what follows it, so go through the row from its end."),
        ("return ((weights", "return -((weights", "The sign is wrong: the answers become less "
         "likely."),
        ("(weights * nll).sum(1) / weights.sum(1)",
         "(weights * nll).sum(1) * mask.sum(1) / weights.sum(1)", "The losses of a row are added "
         "up. Take their mean."),
        ("((weights * nll).sum(1) / weights.sum(1)).mean()",
         "(weights * nll * mask.sum(1, keepdim=True) / weights.sum(1, keepdim=True)).sum() / "
         "mask.sum()", "The tokens of all rows are averaged at once. Each row has the same share.")
        ], look)}
