"""Programs for parts of mine.py as students might write them, right and wrong."""
HEAD = """import copy, math, statistics
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from nanouft.simple import BETA, FALL, GAMMA, KL, LAM, METHODS, MU, MU_END, ROWS
from nanouft.simple import sample_answers, tokens


"""
OTHERWISE = HEAD + '''
def padded(chats, tok):
    T = max(len(ids) for ids, _ in chats) + 3               # longer than needed
    ids = np.full((len(chats), T), tok.pad)
    counts = np.zeros((len(chats), T), dtype=np.float32)
    for k, (some, mask) in enumerate(chats):
        ids[k, :len(some)], counts[k, :len(some)] = some, mask
    return torch.tensor(ids[:, :-1]), torch.tensor(ids[:, 1:]), torch.tensor(counts[:, 1:])


def token_logp(logits, targets):
    return -F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view(
        targets.shape)


def sft_loss(model, reference, rows, tok, step):
    total = 0
    for row in rows:                                        # each alone, without padding
        inputs, targets, mask = tokens([row], "answer", tok)
        total = total - token_logp(model(inputs), targets)[mask == 1].mean() / len(rows)
    return total


def train(model, rows, tok, objective, steps, reference=None):
    loss_of, _, rate, _ = METHODS[objective]
    start = copy.deepcopy(model) if reference is None else reference
    weights = list(model.parameters())
    m, v = [torch.zeros_like(p) for p in weights], [torch.zeros_like(p) for p in weights]
    up, losses = max(1, int(steps / 10 + 0.5)), []
    for k in range(steps):                                  # AdamW by hand
        loss = loss_of(model, start, rows[k * ROWS:][:ROWS], tok, k)
        slopes = torch.autograd.grad(loss, weights)
        norm = sum(g.square().sum() for g in slopes).sqrt().item()
        share = (k - up) / max(1, steps - up)
        now = rate * ((k + 1) / up if k < up else (1 + math.cos(math.pi * share)) / 2)
        with torch.no_grad():
            for p, g, a, b in zip(weights, slopes, m, v):
                g = g / max(1.0, norm)
                a.mul_(0.9).add_(0.1 * g)
                b.mul_(0.95).add_(0.05 * g * g)
                p -= now * a / (1 - 0.9 ** (k + 1)) / ((b / (1 - 0.95 ** (k + 1))).sqrt() + 1e-8)
        losses.append(loss.item())
        print("a line for each step")
    return np.array(losses)


def log_ratio(model, reference, rows, side, tok):
    inputs, targets, mask = tokens(rows, side, tok)
    with torch.no_grad():
        before = torch.einsum("bt,bt->b", token_logp(reference(inputs), targets), mask)
    return torch.einsum("bt,bt->b", token_logp(model(inputs), targets), mask) - before, mask.sum(1)


def dpo_loss(model, reference, rows, tok, step):
    margins = [log_ratio(model, reference, [row], "chosen", tok)[0]
               - log_ratio(model, reference, [row], "rejected", tok)[0] for row in rows]
    return F.softplus(-BETA * torch.cat(margins)).mean()


def una_loss(model, reference, rows, tok, step):
    nats, _ = log_ratio(model, reference, rows, "answer", tok)
    score = np.array([1 if row.score is None else row.score for row in rows], dtype=np.float32)
    return F.mse_loss(1 / (1 + torch.exp(-BETA * nats)), torch.from_numpy(score))


def poft_loss(model, aligned, rows, tok, step):
    nats, n = log_ratio(model, aligned, rows, "answer", tok)
    return torch.logaddexp(torch.zeros(len(rows)), -nats / n).sum() / len(rows)


def mix_in_own_guess(model, inputs, mask):
    guess, ids, counts = model(inputs).detach().numpy().argmax(-1), inputs.numpy(), mask.numpy()
    read = ids.copy()
    for row, t in zip(*counts[:, :-1].nonzero()):
        read[row, t + 1] = guess[row, t]
    embeds = [model(x, want="embeds").detach() for x in (inputs, torch.from_numpy(read))]
    return torch.lerp(*embeds, LAM)


def ift_loss(model, reference, rows, tok, step):
    inputs, targets, mask = tokens(rows, "answer", tok)
    nll = -token_logp(model(embeds=mix_in_own_guess(model, inputs, mask)), targets)
    losses = []
    for x, m in zip(nll, mask):                             # ragged: one answer after the other
        x = x[m == 1]
        apart = torch.arange(len(x))[None] - torch.arange(len(x))[:, None]
        weight = torch.where(apart >= 0, GAMMA ** apart.clamp(0), 0.0) @ x.detach()
        losses.append((weight / weight.mean()) @ x / len(x))
    return torch.stack(losses).mean()


def grpo_loss(model, reference, rows, tok, step):
    inputs, targets, mask, score = sample_answers(model, rows, tok, step)
    with torch.no_grad():
        before = token_logp(reference(inputs), targets)
    losses, logp = [], token_logp(model(inputs), targets)
    for prompt, scores in enumerate(score.tolist()):
        mean, sd = statistics.mean(scores), statistics.stdev(scores)
        for k, own in enumerate(scores):
            at = prompt * len(scores) + k
            x, d = logp[at][mask[at] == 1], (before - logp)[at][mask[at] == 1]
            gain = (own - mean) / (sd + 1e-4) * torch.exp(x - x.detach())
            losses.append(torch.mean(KL * (torch.expm1(d) - d) - gain))
    return sum(losses) / len(losses)


def chord_loss(model, reference, rows, tok, step):
    total, n = 0, 0
    for row in rows:                                        # one demonstration after the other
        inputs, targets, mask = tokens([row], "answer", tok)
        x = token_logp(model(inputs), targets)[mask == 1]
        with torch.no_grad():
            weight = torch.exp(x) - torch.exp(2 * x)
        total, n = total - weight @ x, n + len(x)
    inputs, targets, mask, score = sample_answers(model, rows, tok, step)
    logp = (token_logp(model(inputs), targets) * mask).sum(1) / mask.sum(1)
    gain = (score - score.mean(1)[:, None]) / (score.std(1)[:, None] + 1e-4)
    w = MU_END if step >= FALL else MU_END + (MU - MU_END) * math.cos(math.pi * step / FALL / 2)**2
    return w * total / n - (1 - w) * torch.mean(gain.flatten() * logp)
'''

WRITTEN = {
    ("ift_loss", "The losses of the padding count"): """
def ift_loss(model, reference, rows, tok, step):
    inputs, targets, mask = tokens(rows, "answer", tok)
    nll = -token_logp(model(embeds=mix_in_own_guess(model, inputs, mask)), targets)
    weight, rest = torch.zeros_like(nll), 0
    for t in reversed(range(nll.shape[1])):
        rest = nll[:, t].detach() + GAMMA * rest
        weight[:, t] = rest
    weight = weight / ((weight * mask).sum(1, keepdim=True) / mask.sum(1, keepdim=True))
    return ((weight * nll * mask).sum(1) / mask.sum(1)).mean()
""",
    ("log_ratio", "The question and the padding count"): """
def padded(chats, tok):                                     # it fills with 0, which is right
    T = max(len(ids) for ids, _ in chats) - 1
    inputs = torch.zeros(len(chats), T, dtype=torch.long)
    targets, mask = inputs.clone(), torch.zeros(len(chats), T)
    for b, (ids, m) in enumerate(chats):
        n = len(ids) - 1
        inputs[b, :n], targets[b, :n] = torch.tensor(ids[:-1]), torch.tensor(ids[1:])
        mask[b, :n] = torch.tensor(m[1:])
    return inputs, targets, mask


def log_ratio(model, reference, rows, side, tok):
    inputs, targets, mask = tokens(rows, side, tok)
    with torch.no_grad():
        theirs = token_logp(reference(inputs), targets).sum(1)
    return token_logp(model(inputs), targets).sum(1) - theirs, mask.sum(1)
""",
    ("mix_in_own_guess", "The mask is shifted the wrong way"): """
def mix_in_own_guess(model, inputs, mask):
    with torch.no_grad():
        own = torch.cat([inputs[:, :1], model(inputs).argmax(-1)[:, :-1]], 1)
        answer = torch.cat([mask[:, 1:], torch.zeros(len(mask), 1)], 1) == 1
        guess = model(torch.where(answer, own, inputs), want="embeds")
        return (1 - LAM) * model(inputs, want="embeds") + LAM * guess
"""}
