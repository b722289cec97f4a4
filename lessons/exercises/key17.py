"""The right function of ex17.py, and common mistakes."""
import torch

from lessons.check import Exercise


def train_step(model, optimizer, inputs, targets, mask):
    logp = model(inputs).log_softmax(-1).gather(2, targets[..., None])[..., 0]
    loss = -(logp * mask).sum() / mask.sum()
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.item()


class Tiny(torch.nn.Module):
    """A model with one row of logits for each token, and a small or a large gradient."""

    def __init__(self, draw):
        super().__init__()
        self.scale = draw.choice([0.3, 6.0])
        self.table, self.bias = (torch.nn.Parameter(draw.numbers(-2, 2, *shape))
                                 for shape in ((5, 5), (5,)))

    def forward(self, ids):
        return self.scale * (self.table[ids] + self.bias)

    def __repr__(self):
        return "model"


class Plain(torch.optim.SGD):
    def __repr__(self):
        return "optimizer"


def step(draw):
    B, T, model = draw.randint(1, 3), draw.randint(2, 4), Tiny(draw)
    for p in model.parameters():
        p.grad = torch.ones_like(p)                             # of an earlier step
    return (model, Plain(model.parameters(), lr=0.5), draw.ids(B, T, 5), draw.ids(B, T, 5),
            draw.mask(B, T))


def look(function, model, *args):
    def weights():
        return torch.cat([p.detach().flatten() for p in model.parameters()])
    before = weights()
    loss = function(model, *args)
    return {"gives": loss, "gives a plain number:": not isinstance(loss, torch.Tensor),
            "moves the weights by": weights() - before}


EXERCISES = {"17a": Exercise(train_step, step, [
    ("    optimizer.zero_grad()\n", "", "The gradient of an earlier step was still there. "
     "optimizer.zero_grad() takes it away."),
    ("    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n", "", "The weights move by "
     "the whole gradient. Clipping belongs between loss.backward() and optimizer.step()."),
    ("clip_grad_norm_", "clip_grad_value_", "Each number of the gradient is cut off by itself "
     "(clip_grad_value_), which changes its direction. Scale all of them together, by "
     "clip_grad_norm_."),
    ("    optimizer.step()\n", "", "The weights have not moved. optimizer.step() moves them."),
    ("/ mask.sum()", "/ mask.numel()", "The mean is that over the answer tokens."),
    ("loss.item()", "loss", "The loss should be a plain number: loss.item().")], look)}
