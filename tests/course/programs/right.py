"""Right programs in a style that is not the key's: numpy where no gradient is asked for, einsum,
loops over ragged rows, nanmean, bisection, autograd in place of paper, plain lists, fractions. The
check has to accept all of them."""
HEAD = """import fractions
import functools
import itertools
import math
import random

import numpy as np
import torch
import torch.nn.functional as F
"""

RIGHT: list[tuple[str, str]] = [                # exercise, program
    ("00a", """
def net_push(chosen, rejected):                 # a trie of prefixes
    prefixes = {tuple(rejected[:n]) for n in range(1, len(rejected) + 1)}
    return np.array([tuple(chosen[:n]) not in prefixes for n in range(1, len(chosen) + 1)])
"""),
    ("01a", """
def attention(q, k, v):                         # einsum, and the softmax by hand
    T, S = q.shape[1], k.shape[1]
    scores = torch.einsum("bth,bsh->bts", q, k) * q.shape[-1] ** -0.5
    later = torch.arange(S) > torch.arange(S - T, S)[:, None]
    scores = scores.masked_fill(later, -torch.inf)
    e = (scores - scores.amax(-1, keepdim=True)).exp()
    return torch.einsum("bts,bsc->btc", e / e.sum(-1, keepdim=True), v)
"""),
    ("02a", """
def response_mask(tokens):
    out, inside = [], 0
    for token in tokens:
        if token in {"user", "assistant"}:
            inside = 1 if token == "assistant" else 0
            out += [0]
        else:
            out += [inside]
    return np.asarray(out, dtype=np.int8)[1:]
"""),
    ("02b", """
def sft_loss(logp, mask, reduction):            # nanmean
    x = torch.where(mask > 0, logp, torch.nan)
    return -x.nanmean() if reduction == "token" else -x.nanmean(-1).mean()
"""),
    ("03a", """
def policy_gradient(p, r):                      # the Jacobian of the softmax
    J = np.diag(p.numpy()) - np.outer(p.numpy(), p.numpy())
    return J @ r.numpy()
"""),
    ("04a", """
def depends_on_blend(tokens, guesses, mask):    # where the first mixture of two words stands
    T = len(mask)
    read = [j for j in range(1, T) if mask[j - 1] and guesses[j - 1] != tokens[j]]
    first = min(read, default=T)
    return np.array([bool(m) and i >= first for i, m in enumerate(mask)])
"""),
    ("05a", """
def estimates(probs, path, step, best):         # numpy, matrices of transition
    P, S = probs.double().numpy(), len(probs)
    M = np.zeros((S, S))
    for s, a in itertools.product(range(S), range(4)):
        M[s, int(step[s, a])] += P[s, a]
    good = (P * best.numpy()).sum(1)
    start = np.eye(S)[path[0][0]]
    does = [start @ np.linalg.matrix_power(M, n) @ good for n in range(len(path))]
    return np.prod([P[s, a] for s, a in path]), np.mean([good[s] for s, _ in path]), np.mean(does)
"""),
    ("06a", """
def balance(losses, gamma):                     # bisection on the derivative, by autograd
    head = losses[:-1].double()

    def slope(b):
        b = torch.tensor(b, dtype=torch.double, requires_grad=True)
        l = torch.cat([head, b[None]])
        v = torch.stack([sum(gamma ** (k - t) * l[k] for k in range(t, len(l)))
                         for t in range(len(l))])
        return torch.autograd.grad((v * l).sum() / v.sum(), b)[0].item()
    low, high = 0.0, 1000.0
    for _ in range(80):
        mid = (low + high) / 2
        low, high = (mid, high) if slope(mid) < 0 else (low, mid)
    return low
"""),
    ("07a", """
def both_fall(g_w):
    u = torch.randn_like(g_w)
    u -= (u @ g_w) / (g_w @ g_w) * g_w
    return (3 * g_w + 0.2 * g_w.norm() * u / u.norm()).tolist()
"""),
    ("08a", """
def fades_at(share, beta, gamma):               # bisection
    low, high = -1e4, 1e4
    for _ in range(200):
        D = (low + high) / 2
        x = min(700.0, beta * D - gamma)
        low, high = (D, high) if 1 / (1 + math.exp(x)) > share else (low, D)
    return D
"""),
    ("09a", """
def largest_push(score):                        # a grid
    s = np.linspace(0, score, 100001)
    return s[np.argmax((score - s) * s * (1 - s))]
"""),
    ("10a", """
def wrong_shares(r, r_bar, wrong, k):           # lists
    rows = sorted((1 / (1 + math.exp(a - b)), w) for a, b, w in zip(*(
        x.tolist() for x in (r, r_bar, wrong))))
    kept = [w for _, w in rows[k:]]
    return [sum(w for _, w in rows) / len(rows), sum(t * w for t, w in rows)
            / sum(t for t, _ in rows), sum(kept) / len(kept)]
"""),
    ("11a", """
def best_of_n(n, likes, scores):                # by counting
    order = np.argsort(likes)
    N = len(likes)
    return sum(fractions.Fraction(math.comb(k, n - 1), math.comb(N, n))
               * fractions.Fraction(scores[i]) for k, i in enumerate(order))
"""),
    ("12a", """
def answers_needed(p, share):                   # a list of all sizes
    K = np.arange(2, 2000)
    return K[np.argmax(1 - p ** K - (1 - p) ** K >= share)]
"""),
    ("12b", """
def grpo_push(logp, old, ref, A, eps, beta):    # autograd in place of paper
    x = logp.clone().requires_grad_()
    rho, d = (x - old).exp(), ref - x
    loss = -torch.minimum(rho * A, rho.clamp(1 - eps, 1 + eps) * A) + beta * (d.exp() - d - 1)
    return -torch.autograd.grad(loss.sum(), x)[0]
"""),
    ("13a", """
def pushes(p):                                  # autograd
    x = torch.tensor(math.log(p), dtype=torch.double, requires_grad=True)
    return [-torch.autograd.grad(loss, x)[0] for loss in (-x.exp().detach() * x, -x.exp() * x)]
"""),
    ("14a", """
def seeds_needed(difference, sd, t):            # in squares
    fits = [k + 1 for k in t if difference ** 2 * (k + 1) > (t[k] * sd) ** 2]
    return min(fits, default=None)
"""),
    ("16a", """
def push_on_steps(s, delta, long, short):       # the mean over a group, by autograd
    x = torch.logit(torch.tensor(s, dtype=torch.double)).requires_grad_()
    gain = (s * (1 - s) * delta / long * F.logsigmoid(x)
            + (1 - s) * -s * delta / short * F.logsigmoid(-x))
    return torch.autograd.grad(gain, x)[0]
"""),
    ("17a", """
def tokens_until(share, gamma):                 # closed forms
    for N in range(2, 5000):
        if gamma == 1:
            weight = 2 / (N + 1)
        else:
            weight = N * (1 - gamma) / (N - gamma * (1 - gamma ** N) / (1 - gamma))
        if weight < share:
            return N
"""),
    ("18a", """
def pushes_of_hpt(scores, lengths, shown, gate):    # by autograd
    scores, K = torch.tensor(scores, dtype=torch.double), len(scores)
    logp = [torch.zeros(n, dtype=torch.double, requires_grad=True) for n in [*lengths, shown or 1]]
    A = (scores - scores.mean()) / (scores.std() + 1e-4)
    loss = -sum(A[k] * logp[k].mean() for k in range(K)) / K
    if shown > 0 and (scores == 1).double().mean() <= gate:
        loss = -logp[K].mean()
    slopes = torch.autograd.grad(loss, logp, allow_unused=True)
    return [0.0 if slope is None else -slope[0].item() for slope in slopes]
"""),
]
