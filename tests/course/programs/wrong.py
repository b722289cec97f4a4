"""Wrong programs for the exercises, as a class might hand them in.

They were written before the sentences of the keys and are kept apart from them: no sentence may be
written for one of them. Each has the words that a sentence must hold if the check names one; a
program with two mistakes has the words of both. tests/test_tasks.py counts how many are named.
"""
HEAD = """import itertools
import math
import statistics

import numpy as np
import torch
import torch.nn.functional as F
"""

WRONG: list[tuple[str, list[str], str]] = [     # exercise, words of the right sentences, program
    ("00a", ["place"], """
def net_push(chosen, rejected):
    out = []
    for i, token in enumerate(chosen):
        out.append(0 if i < len(rejected) and rejected[i] == token else 1)
    return out
"""),
    ("01a", ["root"], """
def attention(q, k, v):
    scores = torch.einsum("bth,bsh->bts", q, k) / q.shape[-1]
    n = k.shape[1] - q.shape[1]
    later = torch.arange(k.shape[1])[None] > torch.arange(q.shape[1])[:, None] + n
    scores[:, later] = float("-inf")
    return torch.softmax(scores, 2) @ v
"""),
    ("01a", ["root", "n + i"], """
def attention(q, k, v):
    T, S = q.shape[1], k.shape[1]
    seen = torch.tril(torch.ones(T, S)).bool()
    return torch.where(seen, q @ k.mT, float("-inf")).softmax(-1) @ v
"""),
    ("02a", ["header"], """
def response_mask(tokens):
    out, inside = [], False
    for token in tokens:
        if token == "assistant":
            inside = True
        elif token == "user":
            inside = False
        out.append(int(inside))
    return out[1:]
"""),
    ("02a", ["shift", "header"], """
def response_mask(tokens):
    speaker, out = None, []
    for token in tokens:
        if token in ("user", "assistant"):
            speaker = token
        out.append(1 if speaker == "assistant" else 0)
    return out[:-1]
"""),
    ("02b", ["all positions"], """
def sft_loss(logp, mask, reduction):
    kept = -torch.where(mask == 1, logp, torch.zeros_like(logp))
    if reduction == "token":
        return kept.mean()
    return kept.mean(1).mean()
"""),
    ("02b", ["same share", "0 times infinity"], """
def sft_loss(logp, mask, reduction):
    return -(logp * mask).sum() / mask.sum()
"""),
    ("03a", ["other actions"], """
def policy_gradient(p, r):
    return torch.tensor([float(a) * float(b) for a, b in zip(p, r)])
"""),
    ("04a", ["move to the right", "mask is about targets"], """
def depends_on_blend(tokens, guesses, mask):
    changed = [bool(m) and g != t for m, g, t in zip(mask, guesses, tokens)]
    return [int(m == 1 and any(changed[:i + 1])) for i, m in enumerate(mask)]
"""),
    ("04a", ["not read before it is predicted"], """
def depends_on_blend(tokens, guesses, mask):
    out = np.zeros(len(mask), int)
    differs = [g != t for g, t in zip(guesses, tokens[1:])]
    for i in range(len(mask)):
        read = [d for d, m in zip(differs[:i + 1], mask) if m]
        out[i] = mask[i] * any(read)
    return out.tolist()
"""),
    ("05a", ["each time that the path is in it"], """
def estimates(probs, path, step, best):
    good = (probs * best).sum(1)
    whole = math.prod(float(probs[s, a]) for s, a in path)
    cells = {s for s, _ in path}
    at, told = torch.eye(len(probs))[path[0][0]], []
    for _ in path:
        told.append(float(at @ good))
        after = torch.zeros(len(probs))
        for s in range(len(probs)):
            for a in range(4):
                after[step[s, a]] += at[s] * probs[s, a]
        at = after
    return whole, float(np.mean([good[s] for s in cells])), float(np.mean(told))
"""),
    ("06a", ["own value is not used"], """
def balance(losses, gamma):
    l, n = losses.tolist(), len(losses)
    v = [sum(gamma ** (k - t) * l[k] for k in range(t, n)) for t in range(n)]
    A, U = sum(x * y for x, y in zip(v, l)), sum(v)
    B = sum(gamma ** (n - t) * l[t] for t in range(n))
    G = sum(gamma ** (n - t) for t in range(n))
    return (-U + math.sqrt(U * U + (G + 1) * ((G + 1) * A - B * U))) / (G + 1)
"""),
    ("07a", ["larger than"], """
def both_fall(g_w):
    other = torch.zeros_like(g_w)
    other[0] = 0.1
    return 0.9 * g_w + other
"""),
    ("07a", ["of its own length"], """
def both_fall(g_w):
    g_l = 2 * g_w
    g_l[0] += 1
    return g_l
"""),
    ("08a", ["gamma is added"], """
def fades_at(share, beta, gamma):
    return math.log((1 - share) / share) / beta + gamma
"""),
    ("08a", ["beta D is gamma", "less is left"], """
def fades_at(share, beta, gamma):
    logit = math.log(share / (1 - share))
    return (logit - gamma) / beta
"""),
    ("09a", ["other zero"], """
def largest_push(score):
    return float(max(np.roots([3, -2 * (1 + score), score])))
"""),
    ("10a", ["upside down"], """
def wrong_shares(r, r_bar, wrong, k):
    trust = torch.exp(r) / (torch.exp(r) + torch.exp(r_bar))
    order = torch.argsort(trust)
    return wrong.sum() / len(wrong), (wrong @ trust) / trust.sum(), wrong[order[k:]].mean()
"""),
    ("10a", ["sigmoid is missing", "k = 0"], """
def wrong_shares(r, r_bar, wrong, k):
    trust = torch.exp(r_bar) / torch.exp(r)
    keep = trust > trust.sort().values[k - 1]
    return wrong.mean(), trust[wrong == 1].sum() / trust.sum(), wrong[keep].mean()
"""),
    ("11a", ["twice"], """
def best_of_n(n, likes, scores):
    N = len(likes)
    order = sorted(range(N), key=lambda i: likes[i])
    return sum(scores[i] * (((k + 1) / N) ** n - (k / N) ** n) for k, i in enumerate(order))
"""),
    ("12a", ["all answers are wrong"], """
def answers_needed(p, share):
    return max(2, math.ceil(math.log(1 - share) / math.log(p) - 1e-12))
"""),
    ("12b", ["smaller of both", "pushed up"], """
def grpo_push(logp, old, ref, A, eps, beta):
    rho = torch.exp(logp - old)
    active = ((rho > 1 - eps) & (rho < 1 + eps)).float()
    return rho * A * active - beta * (torch.exp(ref - logp) - 1)
"""),
    ("13a", ["sign"], """
def pushes(p):
    x = torch.tensor(math.log(p), requires_grad=True)
    with_sg = torch.autograd.grad(-p * x, x)[0].item()
    without = torch.autograd.grad(-x.exp() * x, x)[0].item()
    return with_sg, without
"""),
    ("13a", ["derivative with respect to p", "constant factor"], """
def pushes(p):
    return 1.0, 1 + math.log(p)
"""),
    ("14a", ["touch"], """
def seeds_needed(difference, sd, t):
    for k in sorted(t):
        n = k + 1
        if abs(difference) >= t[k] * sd / math.sqrt(n):
            return n
    return None
"""),
    ("14a", ["negative", "degrees of freedom"], """
def seeds_needed(difference, sd, t):
    for n in range(2, len(t) + 2):
        if difference > t[n] * sd / math.sqrt(n):
            return n
    return None
"""),
    ("16a", ["as well"], """
def push_on_steps(s, delta, long, short):
    return s * (1 - s) ** 2 * delta / long
"""),
    ("17a", ["gives up"], """
def tokens_until(share, gamma):
    for N in range(2, 20):
        weights = np.cumsum([gamma ** k for k in range(N)])
        if weights[0] / weights.mean() < share:
            return N
    return None
"""),
    ("18a", ["left out"], """
def pushes_of_hpt(scores, lengths, shown, gate):
    s = torch.tensor(scores)
    failed = shown > 0 and (s == 1).float().mean() <= gate
    A = (s - s.mean()) / (s.std() + 1e-4)
    return [*(A / torch.tensor(lengths) / len(s)).tolist(), 1 / shown if failed else 0.0]
"""),
    ("18a", ["any score", "divide by their number"], """
def pushes_of_hpt(scores, lengths, shown, gate):
    s = torch.tensor(scores)
    if shown and (s > 0).float().mean() <= gate:
        return [0.0] * len(s) + [1.0]
    A = (s - s.mean()) / (s.std() + 1e-4)
    return [*(A / torch.tensor(lengths) / len(s)).tolist(), 0.0]
"""),
    ("18a", ["last"], """
def pushes_of_hpt(scores, lengths, shown, gate):
    s = torch.tensor(scores)
    if shown and (s == 1).float().mean() <= gate:
        return [1 / shown] + [0.0] * len(s)
    A = (s - s.mean()) / (s.std() + 1e-4)
    return [0.0, *(A / torch.tensor(lengths) / len(s)).tolist()]
"""),
]
