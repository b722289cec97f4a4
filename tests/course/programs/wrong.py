"""Wrong programs, as a class might hand them in. No sentence of a key may be written for one."""
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
"""}
