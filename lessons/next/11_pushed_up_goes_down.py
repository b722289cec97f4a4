# %% [markdown]
# # 11 · Pushed up, goes down
# In lesson 05 every step of DPO pushed the chosen answer up, and it went down to -13 nats. How can
# a push up bring an answer down? And what does beta change?
#
# *25 minutes; needs 05. Direct preference optimization: arXiv:2305.18290.*
#
# The pairs are those of lesson 05: w is "I do not know.", l is made up. Here we begin with the
# base, without SFT (the second edit of lesson 05). Every step pushes each token of w up by
# $\beta\,\sigma(-h)$, and each token of l down by as much, where h is the margin. With
# $\beta=0.1$ log p(w) goes from -2.5 to -13.3 nats in 40 steps.

# %%
import torch
import torch.nn.functional as F
from course import ask, curves, tell
from mine import answers_of, token_logp, tokens

from nanouft import world
from nanouft.gpt import shipped_base
from nanouft.models.tokenizer import nano

BETAS, RATE, STEPS, REFERENCE = (0.1, 1.0), 1e-4, 40, True
tok, reference = nano(), shipped_base()
pairs = world.rows("train", "pairs", 300, seed=0, skills=("unknown",))
unseen = world.rows("val", "pairs", 40, seed=0, skills=("unknown",))
guess = ask("Beta 1 in place of 0.1 makes every first push ten times as large. "
            "Where does log p of the chosen answers end then?", "-40 to 0")

# %% [markdown]
# ## Does what is pushed up go up?
# A push reaches an answer by way of the weights, and one set of weights makes all answers. Let
# $g_w$ and $g_l$ be the gradients of log p(w) and log p(l) with respect to all weights. A small
# step against the loss moves the weights by a multiple of $g_w-g_l$. To first order a number
# changes by its own gradient times this step. So log p(w) changes by a multiple of
# $$g_w\cdot(g_w-g_l)=g_w\cdot g_w-g_w\cdot g_l.$$
# The first product is what the push up does to w. The second is what the push down on l does to w,
# because the two answers share weights. The chosen answer rises only as long as
# $$g_w\cdot g_w>g_w\cdot g_l.$$
# When is the first product small? The last layer gives each token k a logit $z_k$, and
# $\log p_y=z_y-\log\sum_ke^{z_k}$. Its derivative with respect to the token's own logit is
# $1-p_y$. So a token that is nearly certain hardly reacts to a push.
#
# With many pairs, a step follows the mean of $\sigma(-h)(g_w-g_l)$. Before every second step we
# compute, on 40 unseen pairs, which way a plain step along this gradient would move log p(w). Two
# steps later we see which way it went.

# %%
def log_ps(model, rows):
    """(2,B) log p of each chosen answer and of each rejected one: the sum over its tokens."""
    sides = [tokens(rows, side, tok) for side in ("chosen", "rejected")]
    return torch.stack([(token_logp(model(inputs), targets) * mask).sum(1)
                        for inputs, targets, mask in sides])


def losses(policy, rows, beta):
    """log p of w and of l, the margin h and the loss -log sigmoid(h), (B,) each."""
    w, l = log_ps(policy, rows)
    with torch.no_grad():
        w0, l0 = log_ps(reference, rows) * REFERENCE
    h = beta * ((w - w0) - (l - l0))
    return w, l, h, -F.logsigmoid(h)


def gradient(number, policy):
    """The derivative of a number with respect to all weights, as one long vector."""
    parts = torch.autograd.grad(number, list(policy.parameters()), retain_graph=True)
    return torch.cat([part.flatten() for part in parts])


@torch.no_grad()
def distance(policy):
    """KL(policy || reference) at each token of the unseen chosen answers, added up, in nats."""
    inputs, _, mask = tokens(unseen, "chosen", tok)
    log_pi, log_0 = policy(inputs).log_softmax(-1), reference(inputs).log_softmax(-1)   # (B,T,V)
    return ((log_pi.exp() * (log_pi - log_0)).sum(-1) * mask).sum(1).mean().item()


path, rises, ends = {}, {}, {}
for beta in BETAS:
    policy, path[beta], rises[beta] = shipped_base(), [], []
    optimizer = torch.optim.AdamW(policy.parameters(), lr=RATE, betas=(0.9, 0.95), weight_decay=0.0)
    print(f"\nbeta {beta}\nstep  log p(w)  log p(l)   push up  g_w g_w  g_w g_l  ",
          unseen[0].prompt[0].text)
    for step in range(STEPS + 1):
        if step % 2 == 0:
            w, l, h, L = losses(policy, unseen, beta)
            up, down, along = (gradient(x.mean(), policy) for x in (w, l, -L))
            path[beta].append(w.mean().item())
            rises[beta].append(bool(up @ along > 0))
            if step in (0, 2, 6, 20, 40):
                text = tok.decode(answers_of(policy, unseen[:1], tok)[0].ids).strip()[:32]
                push = (beta * torch.sigmoid(-h)).mean()
                print(f"{step:4}{w.mean():10.2f}{l.mean():10.2f}{push:10.4f}{up @ up:9.0f}"
                      f"{up @ down:9.0f}   {text}")
        batch = [pairs[i % 300] for i in range(32 * step, 32 * step + 32)]
        loss = losses(policy, batch, beta)[-1].mean()
        optimizer.zero_grad()
        loss.backward()
        if step < STEPS:
            optimizer.step()
    moves = [after > before for before, after in zip(path[beta], path[beta][1:])]
    right = sum(move == rise for move, rise in zip(moves, rises[beta]))
    print(f"the gradients predict {right} of {len(moves)} moves of log p(w); {sum(moves)} of them "
          f"go up; KL at the end {distance(policy):.1f} nats")
curves("11", range(0, STEPS + 1, 2), {f"beta {beta}": x for beta, x in path.items()},
       "log p(chosen), nats")
tell(guess, path[BETAS[-1]][-1], "nats")
