"""Right programs in a style that is not the key's: numpy where no gradient is asked for, einsum,
plain lists, ragged answers, fractions; the classes of papers with probabilities in place of their
logarithms. And the program of a student that grows from lesson to lesson, in one_program."""
from pathlib import Path

HEAD = """import copy, fractions, itertools, math, statistics
import numpy as np
import torch
import torch.nn.functional as F
from nanouft.objective import Objective
from nanouft import simple, world
from nanouft.simple import *


def chances(model, s):                          # of all tokens, and of those that stand there
    p = model.head(model(s.inputs)).double().softmax(-1)
    return p, p.gather(-1, s.targets[..., None])[..., 0]


"""
RIGHT = {                                       # papers: their programs
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
# Each part of mine.py in one file.
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
    nll = -token_logp(model.head(model(embeds=mix_in_own_guess(model, inputs, mask))), targets)
    losses = []
    for x, m in zip(nll, mask):                             # ragged: one answer after the other
        x = x[m == 1]
        apart = torch.arange(len(x))[None] - torch.arange(len(x))[:, None]
        weight = torch.where(apart >= 0, GAMMA ** apart.clamp(0), 0.0) @ x.detach()
        losses.append((weight / weight.mean()) @ x / len(x))
    return torch.stack(losses).mean()


def sft_loss(model, reference, rows, tok, step):       # each answer by itself, without padding
    total = 0
    for row in rows:
        inputs, targets, mask = tokens([row], "answer", tok)
        logp = model.head(model(inputs)).log_softmax(-1)[0]
        logp = logp[torch.arange(inputs.shape[1]), targets[0]]
        total = total - torch.dot(logp, mask[0]) / mask.sum()
    return total / len(rows)


def mix_in_own_guess(model, inputs, mask):      # by the matrix of embeddings
    with torch.no_grad():
        guess = F.pad(model.head(model(inputs)).argmax(-1)[:, :-1], (1, 0))
        on = F.pad(mask[:, :-1], (1, 0))[..., None] * LAM
        return torch.lerp(model.wte(inputs), model.wte(guess), on)


def log_ratio(model, reference, rows, side, tok):       # row by row
    nats, counts = [], []
    for row in rows:
        ids, on = tok.chat(row.prompt, getattr(row, side))
        ids, on = torch.tensor(ids), torch.tensor(on[1:]) == 1
        with torch.no_grad():
            q = reference.head(reference(ids[None, :-1])).log_softmax(-1)[0]
        p = model.head(model(ids[None, :-1])).log_softmax(-1)[0]
        nats.append((p - q).gather(1, ids[1:, None])[on, 0].sum())
        counts.append(int(on.sum()))
    return torch.stack(nats), torch.tensor(counts)


def dpo_loss(model, reference, rows, tok, step):        # logaddexp
    w, l = (log_ratio(model, reference, rows, x, tok)[0] for x in ("chosen", "rejected"))
    return torch.logaddexp(torch.zeros(()), BETA * (l - w)).mean()


def una_loss(model, reference, rows, tok, step):        # tanh in place of the sigmoid
    nats = log_ratio(model, reference, rows, "answer", tok)[0]
    total = 0
    for x, row in zip(nats, rows):
        score = 1 if row.score is None else row.score
        total = total + ((1 + torch.tanh(BETA * x / 2)) / 2 - score) ** 2
    return total / len(rows)


def poft_loss(model, aligned, rows, tok, step):
    nats, n = log_ratio(model, aligned, rows, "answer", tok)
    return torch.logaddexp(torch.zeros(()), -nats / n).sum() / len(rows)


@torch.no_grad()
def sample_answers(model, rows, tok, step):     # one answer after the other, by its own chance
    rng, chats, R = np.random.default_rng(step), [], []
    for row in rows:
        for _ in range(simple.SAMPLES):
            ids, prompt = [], tok.prompt_ids(row.prompt)
            while len(ids) < 44 and tok.end not in ids:
                logits = model.head(model(torch.tensor([prompt + ids])))[0, -1]
                p = logits.double().softmax(-1).numpy()
                ids.append(int(rng.choice(len(p), p=p / p.sum())))
            chats.append((prompt + ids, [0] * len(prompt) + [1] * len(ids)))
            said = tok.decode([x for x in ids if x != tok.end]).strip()
            R.append(world.score(row.prompt[0].text, said))
    return *padded(chats, tok), torch.tensor(R, dtype=torch.float).reshape(len(rows), -1)


def grpo_loss(model, reference, rows, tok, step):       # ragged, with the ratio of Eq. 3
    inputs, targets, mask, score = sample_answers(model, rows, tok, step)
    losses, logp = [], token_logp(model.head(model(inputs)), targets)
    for prompt, scores in enumerate(score.tolist()):
        mean, sd = statistics.mean(scores), statistics.stdev(scores)
        for k, own in enumerate(scores):
            at = prompt * len(scores) + k
            x = logp[at][mask[at] == 1]
            losses.append(-torch.mean((own - mean) / (sd + 1e-4) * (x - x.detach()).exp()))
    return sum(losses) / len(losses)


def chord_loss(model, reference, rows, tok, step):      # ragged, and a cosine squared
    inputs, targets, mask = tokens(rows, "answer", tok)
    logp = token_logp(model.head(model(inputs)), targets)[mask == 1]
    with torch.no_grad():
        weight = logp.exp() - (2 * logp).exp()
    w = MU_END + (MU - MU_END) * math.cos(math.pi / 2 * min(1, step / FALL)) ** 2
    return grpo_loss(model, None, rows, tok, step) * (1 - w) - w * (weight @ logp) / len(logp)


def clipped_loss(logp, old, A, mask, eps):      # answer by answer, in ratios of probabilities
    losses = []
    for x, y, a, on in zip(logp, old, A, mask):
        rho = x.exp()[on == 1] / y.exp()[on == 1]
        both = torch.stack([rho * a, torch.clip(rho, 1 - eps, 1 + eps) * a])
        losses.append(-both.amin(0).mean())
    return sum(losses) / len(losses)


def pass_at_k(n, c, k):                         # every set, counted
    sets = [*itertools.combinations([1] * c + [0] * (n - c), k)] if n < 20 else None
    if sets is None:
        return 1 - fractions.Fraction(math.comb(n - c, k), math.comb(n, k))
    return np.mean([any(some) for some in sets])


def best_of_n(n, likes, scores):                # by counting
    N, total = len(likes), 0
    for k, i in enumerate(np.argsort(likes)):
        total += fractions.Fraction(math.comb(k, n - 1), math.comb(N, n)) * scores[i]
    return total


def gae(R, V, gamma, lam):                      # a sum of later deltas, in lists
    R, V, T = R.tolist(), [[*row, 0] for row in V.tolist()], R.shape[1]
    delta = [[r[t] + gamma * v[t + 1] - v[t] for t in range(T)] for r, v in zip(R, V)]
    return [[sum((gamma * lam) ** (k - t) * d[k] for k in range(t, T)) for t in range(T)]
            for d in delta]


def attention(q, k, v):                         # the softmax by hand
    T, S = q.shape[1], k.shape[1]
    scores = torch.einsum("bth,bsh->bts", q, k) * q.shape[-1] ** -0.5
    later = torch.arange(S) > torch.arange(S - T, S)[:, None]
    scores = scores.masked_fill(later, -torch.inf)
    e = (scores - scores.amax(-1, keepdim=True)).exp()
    return torch.einsum("bts,bsc->btc", e / e.sum(-1, keepdim=True), v)


def with_lora(x, W, A, B, alpha):               # numpy, without the large product
    x, W, A, B = (y.double().numpy() for y in (x, W, A, B))
    return x @ W.T + (x @ A.T) @ B.T * (alpha / B.shape[1])


def paired_interval(a, b, t):                   # numpy
    lead = (a - b).double().numpy()
    return np.array([lead.mean(), t * lead.std(ddof=1) / np.sqrt(lead.size)])
'''


def stages() -> dict[str, str]:
    """By lesson: what a student has added to mine.py after it."""
    folder = Path(__file__).parents[1] / "one_program"
    return {x.stem[-2:]: x.read_text("utf-8") for x in sorted(folder.glob("after_*.txt"))}
