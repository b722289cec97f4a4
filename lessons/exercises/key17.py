"""The right function of ex17.py, and common mistakes."""
import torch

from lessons.judge import Exercise


def train_step(model, optimizer, inputs, targets, mask):
    logp = model(inputs).log_softmax(-1).gather(2, targets[..., None])[..., 0]
    loss = -(logp * mask).sum() / mask.sum()
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.item()


def step(draw):
    B, T, scale = draw.randint(1, 3), draw.randint(2, 4), draw.choice([0.3, 3.0])
    model = torch.nn.Sequential(torch.nn.Embedding(5, 3), torch.nn.Linear(3, 5))
    for p in model.parameters():
        p.data = scale * draw.numbers(-1, 1, *p.shape)          # a small or a large gradient
        p.grad = torch.ones_like(p)                             # of an earlier step
    return (model, torch.optim.SGD(model.parameters(), lr=0.5), draw.ids(B, T, 5),
            draw.ids(B, T, 5), draw.mask(B, T))


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
