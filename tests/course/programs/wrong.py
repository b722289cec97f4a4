"""Wrong programs, as a class might hand them in. They were there before the sentences of the keys:
no sentence may be written for one of them."""
TWO = [         # mistakes in one exercise, a word of the sentence of either
    ("01a", ["root", "n + i"], """
def attention(q, k, v):
    T, S = q.shape[1], k.shape[1]
    seen = torch.tril(torch.ones(T, S)).bool()
    return torch.where(seen, q @ k.mT, float("-inf")).softmax(-1) @ v
"""),
    ("08a", ["beta D is gamma", "less is left"], """
def fades_at(share, beta, gamma):
    logit = math.log(share / (1 - share))
    return (logit - gamma) / beta
"""),
    ("10a", ["sigmoid is missing", "k = 0"], """
def wrong_shares(r, r_bar, wrong, k):
    trust = torch.exp(r_bar) / torch.exp(r)
    keep = trust > trust.sort().values[k - 1]
    return wrong.mean(), trust[wrong == 1].sum() / trust.sum(), wrong[keep].mean()
"""),
    ("12b", ["smaller of both", "pushed up"], """
def grpo_push(logp, old, ref, A, eps, beta):
    rho = torch.exp(logp - old)
    active = ((rho > 1 - eps) & (rho < 1 + eps)).float()
    return rho * A * active - beta * (torch.exp(ref - logp) - 1)
"""),
    ("13a", ["derivative with respect to p", "constant factor"], """
def pushes(p):
    return 1.0, 1 + math.log(p)
"""),
    ("14a", ["negative", "degrees of freedom"], """
def seeds_needed(difference, sd, t):
    for n in range(2, len(t) + 2):
        if difference > t[n] * sd / math.sqrt(n):
            return n
    return None
"""),
    ("18a", ["any score", "divide by their number"], """
def pushes_of_hpt(scores, lengths, shown, gate):
    s = torch.tensor(scores)
    if shown and (s > 0).float().mean() <= gate:
        return [0.0] * len(s) + [1.0]
    A = (s - s.mean()) / (s.std() + 1e-4)
    return [*(A / torch.tensor(lengths) / len(s)).tolist(), 0.0]
"""),
]
OWN_STYLE = {   # (part of mine.py, its sentence): one mistake
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
