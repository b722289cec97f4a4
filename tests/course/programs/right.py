"""Right programs in a style that is not the key's: numpy where no gradient is asked for, einsum,
autograd in place of paper, plain lists, fractions; the classes of papers with probabilities in
place of their logarithms."""
HEAD = """import copy, fractions, itertools, math, statistics
import numpy as np
import torch
import torch.nn.functional as F
from nanouft.objective import Objective
from nanouft.simple import GAMMA, KL, METHODS, ROWS, sample_answers, tokens


def chances(model, s):                          # of all tokens, and of those that stand there
    p = model(s.inputs).double().softmax(-1)
    return p, p.gather(-1, s.targets[..., None])[..., 0]


"""
RIGHT = {                                       # exercise or paper: its program
    "00a": """
def net_push(chosen, rejected):                 # a trie of prefixes
    prefixes = {tuple(rejected[:n]) for n in range(1, len(rejected) + 1)}
    return np.array([tuple(chosen[:n]) not in prefixes for n in range(1, len(chosen) + 1)])
""",
    "01a": """
def attention(q, k, v):                         # einsum, and the softmax by hand
    T, S = q.shape[1], k.shape[1]
    scores = torch.einsum("bth,bsh->bts", q, k) * q.shape[-1] ** -0.5
    later = torch.arange(S) > torch.arange(S - T, S)[:, None]
    scores = scores.masked_fill(later, -torch.inf)
    e = (scores - scores.amax(-1, keepdim=True)).exp()
    return torch.einsum("bts,bsc->btc", e / e.sum(-1, keepdim=True), v)
""",
    "02a": """
def response_mask(tokens):
    out, inside = [], 0
    for token in tokens:
        if token in {"user", "assistant"}:
            inside = 1 if token == "assistant" else 0
            out += [0]
        else:
            out += [inside]
    return np.asarray(out, dtype=np.int8)[1:]
""",
    "04a": """
def own_guess(inputs, mask, likeliest):         # lists, row by row
    return [[int(likeliest[b, i - 1] if i and mask[b, i - 1] else inputs[b, i])
             for i in range(inputs.shape[1])] for b in range(len(inputs))]
""",
    "04b": """
def best_moves_alone(probs, step, best, ice, start, T):     # numpy, a matrix of transitions
    P, S = probs.double().numpy(), len(probs)
    M = np.zeros((S, S))
    for s, a in itertools.product(range(S), range(4)):
        M[s, int(step[s, a])] += P[s, a] * int(ice[s])
    at = [np.eye(S)[start] @ np.linalg.matrix_power(M, n) * ice.numpy() for n in range(T)]
    return np.mean([x @ (P * best.numpy()).sum(1) / x.sum() for x in at])
""",
    "06a": """
def weights_of(losses, mask, gamma, divided):   # a matrix of discounts
    at = torch.arange(losses.shape[1])
    v = losses @ (gamma ** (at[None] - at[:, None]).clamp(min=0)).triu().T * mask
    return v * mask.sum(1, keepdim=True) / v.sum(1, keepdim=True) if divided else v
""",
    "07a": """
def margins_and_losses(now, ref, beta):         # softplus
    h = beta * (now[0] - now[1] - ref[0] + ref[1])
    return h, F.softplus(-h)
""",
    "09a": """
def largest_push(score):                        # a grid
    s = np.linspace(0, score, 100001)
    return s[np.argmax((score - s) * s * (1 - s))]
""",
    "10a": """
def wrong_shares(r, r_bar, wrong, k):           # numpy
    trust, wrong = 1 / (1 + np.exp((r - r_bar).double().numpy())), wrong.numpy()
    return wrong.mean(), np.average(wrong, weights=trust), wrong[np.argsort(trust)[k:]].mean()
""",
    "11a": """
def best_of_n(n, likes, scores):                # by counting
    order = np.argsort(likes)
    N = len(likes)
    return sum(fractions.Fraction(math.comb(k, n - 1), math.comb(N, n))
               * fractions.Fraction(scores[i]) for k, i in enumerate(order))
""",
    "11b": """
def pass_at_k(n, c, k):                         # one sample after the other is wrong
    wrong = [max(0, n - c - i) / (n - i) for i in range(k)]
    return 1 - np.prod(wrong)
""",
    "12a": """
def advantages(method, R):                      # what the others have, in numpy
    R = R.double().numpy()
    K, total = R.shape[1], R.sum(1, keepdims=True)
    return {"REINFORCE": R - R.mean(), "RLOO": R - (total - R) / (K - 1), "online UNA": R - 1 / 2,
            "GRPO": (R - total / K) / (R.std(1, ddof=1, keepdims=True) + 1e-4)}[method]
""",
    "12b": """
def grpo_push(logp, old, ref, A, eps, beta):    # autograd in place of paper
    x = logp.clone().requires_grad_()
    rho, d = (x - old).exp(), ref - x
    loss = -torch.minimum(rho * A, rho.clamp(1 - eps, 1 + eps) * A) + beta * (d.exp() - d - 1)
    return -torch.autograd.grad(loss.sum(), x)[0]
""",
    "12c": """
def gae(R, V, gamma, lam):                      # a sum of later deltas, in lists
    R, V, T = R.tolist(), [[*row, 0] for row in V.tolist()], R.shape[1]
    delta = [[r[t] + gamma * v[t + 1] - v[t] for t in range(T)] for r, v in zip(R, V)]
    return [[sum((gamma * lam) ** (k - t) * d[k] for k in range(t, T)) for t in range(T)]
            for d in delta]
""",
    "14a": """
def seeds_needed(difference, sd, t):            # in squares
    fits = [k + 1 for k in t if difference ** 2 * (k + 1) > (t[k] * sd) ** 2]
    return min(fits, default=None)
""",
    "17a": """
def with_lora(x, W, A, B, alpha):               # numpy, without the large product
    x, W, A, B = (y.double().numpy() for y in (x, W, A, B))
    return x @ W.T + (x @ A.T) @ B.T * (alpha / B.shape[1])
""",
    "18a": """
def pushes_of_hpt(scores, lengths, shown, gate):    # numpy
    s = np.array(scores)
    if shown > 0 and np.mean(s == 1) <= gate:
        return np.append(0 * s, 1 / shown)
    advantage = (s - s.mean()) / (s.std(ddof=1) + 1e-4)
    return np.append(advantage / np.array(lengths) / len(s), 0)
""",
    "iw_sft": """
class Mine(Objective):
    temp: float = 1.0
    cap: float = 16.0
    def setup(self, model, seed):
        self.start = copy.deepcopy(model)
    def forward(self, model, batch):
        self.p, self.q = (chances(x, batch.seqs["answer"])[1] for x in (model, self.start))
    def loss(self, batch):
        total = 0
        for p, q, m in zip(self.p, self.q, batch.seqs["answer"].mask == 1):
            lead = math.prod((p / q)[m].tolist()) ** (1 / sum(m.tolist()))  # a geometric mean
            total = total - min(self.cap, lead ** self.temp) * p[m].log().sum()
        return total / batch.tokens["answer"], {}
""",
    "luffy": """
class Mine(Objective):
    data = "demos + prompts"
    samples: int = 4
    gamma: float = 0.1
    def credit(self, batch):
        row, K = batch.per_row, self.samples
        own, demo = row["reward"].clone(), row["demo_reward"].clone()
        for i in range(0, batch.n, K):
            group = [*row["reward"][i:i + K]]
            if row["demo"][i] == 1:
                group.append(row["demo_reward"][i])
            own[i:i + K] -= sum(group) / len(group)
            demo[i] -= sum(group) / len(group)
        row["own"], row["shown"] = own, demo
        return batch, {}
    def loss(self, batch):
        s, d, row = batch.seqs["answer"], batch.seqs["demo"], batch.per_row
        rho, p = (s.logp - s.sampled_logp).exp(), d.logp.exp()
        gain = (s.mask * rho).sum(1) @ row["own"]
        gain = gain + (d.mask * p / (p + self.gamma)).sum(1) @ row["shown"]
        return -gain / sum(batch.tokens.values()), {}
""",
    "srft": """
class Mine(Objective):
    data = "demos + prompts"
    samples: int = 4
    sft: float = 0.5
    rl: float = 0.1
    gamma: float = 0.1
    def credit(self, batch):
        row, K = batch.per_row, self.samples
        H, H_demo = ((s.mask * s.extra["entropy"]).sum(1) / s.mask.sum(1).clamp(min=1)
                     for s in (batch.seqs["answer"], batch.seqs["demo"]))
        row["own"] = torch.stack([self.rl * h.exp() if R >= 1 else -torch.ones_like(h)
                                  for R, h in zip(row["reward"], H)])
        row["copied"], row["shown"] = self.sft / H_demo.exp(), row["demo_reward"].clone()
        for i in range(0, batch.n, K):
            group = [*row["reward"][i:i + K]] + [row["demo_reward"][i]] * bool(row["demo"][i])
            row["shown"][i] -= sum(group) / len(group)
        return batch, {}
    def loss(self, batch):
        s, d, row = batch.seqs["answer"], batch.seqs["demo"], batch.per_row
        rho, p = (s.logp - s.sampled_logp).exp(), d.logp.exp()
        gain = (s.mask * rho).sum(1) @ row["own"]
        gain = gain + (d.mask * p / (p + self.gamma)).sum(1) @ row["shown"]
        copied = (d.mask * d.logp).sum(1) @ row["copied"] / max(1, batch.tokens["demo"])
        return -gain / sum(batch.tokens.values()) - copied, {}
""",
}
# Of mine.py a part of each kind of case: padding, a number of each token, a run, a loss, and a loss
# whose gradient alone counts.
OTHERWISE = '''
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


def train(model, rows, tok, objective, steps, reference=None):
    loss_of, _, rate, _ = METHODS[objective]
    start = copy.deepcopy(model) if reference is None else reference
    weights, losses = list(model.parameters()), []
    up = max(1, int(steps / 10 + 0.5))
    adam = torch.optim.Adam(weights, rate, (0.9, 0.95))     # and the rate by a schedule
    schedule = torch.optim.lr_scheduler.LambdaLR(adam, lambda k: (k + 1) / up if k < up else (
        1 + math.cos(math.pi * (k - up) / max(1, steps - up))) / 2)
    for k in range(steps):
        loss = loss_of(model, start, rows[k * ROWS:][:ROWS], tok, k)
        slopes = torch.autograd.grad(loss, weights)
        norm = sum(g.square().sum() for g in slopes).sqrt().item()
        for p, g in zip(weights, slopes):
            p.grad = g / max(1.0, norm)
        adam.step()
        schedule.step()
        losses.append(loss.item())
        print("a line for each step")
    return np.array(losses)


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
            gain = (own - mean) / (sd + 1e-4) * x           # no ratio, but its gradient
            losses.append(torch.mean(KL * (torch.expm1(d) - d) - gain))
    return sum(losses) / len(losses)
'''
