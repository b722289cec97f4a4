# %% [markdown]
# # 07 · Pairs in place of a reward
# Derive DPO's loss in a few lines and train with it. Every pair is soon won, and the loss keeps
# falling. But how likely is the better answer now? And what does the reference model do?
#
# *About 45 minutes; read 02 first. Direct preference optimization (DPO): arXiv:2305.18290,
# `nanouft/objectives/dpo.py`. Its relatives CPO: arXiv:2401.08417, and SimPO: arXiv:2405.14734.*
#
# So far somebody wrote down the right answer. Often nobody can, and yet almost anybody can say
# which of two answers is better. DPO learns from such **preference pairs**: a *chosen* and a
# *rejected* answer (response) to one question (prompt; `docs/terms.md` has the terms). Ours are
# about creatures that do not exist. The chosen answer is always "I do not know.", and the rejected
# one is invented. Then we look at a number that the loss does not show, the probability of the
# chosen answer.
#
# ## Guess
# The log-probability of the chosen answers, log p(chosen), is -2.5 nats at the start, where 0 would
# be certainty. After two steps every pair is won, also on unseen questions: the chosen answer has
# gained more than the rejected one. Where is log p(chosen) after step 40? Enter a number from -20
# to 0.

# %%
from course import Lesson, train

CHANGE = ""                     # change one thing: "" | "no reference", see below
lesson = Lesson("07", CHANGE)
CHANGE = lesson.change

# %% [markdown]
# ## How far is one model from another?
# DPO wants a better model that stays near the one it began with, so we need a distance. Let $p$ and
# $q$ be two lists of probabilities for the same next token. The **Kullback-Leibler divergence**,
# $$\mathrm{KL}(p\,\|\,q)=\sum_y p(y)\,\log\frac{p(y)}{q(y)},$$
# is the mean extra surprise, in nats, of a model that expects $q$ where the tokens come from $p$.
# Its two directions differ. It is 0 if both lists are equal and positive otherwise (**Gibbs'
# inequality**): since $\log x\le x-1$, and equal only at $x=1$,
# $$-\mathrm{KL}(p\,\|\,q)=\sum_yp(y)\log\frac{q(y)}{p(y)}
# \le\sum_yp(y)\Big(\frac{q(y)}{p(y)}-1\Big)=\sum_yq(y)-\sum_yp(y)=0.$$
#
# The **reference** is the model that training starts from, and the policy the model that we train.
# DPO starts from a penalty on KL(policy || reference). It is small if the policy only drops answers
# of the reference, and large if the policy often gives an answer that is rare there.
#
# ## From pairs to a loss
# Assume that an answer $y$ to a question $x$ has a hidden reward $r(x,y)$. The probability that a
# judge prefers the better answer $w$ to the worse one $l$ depends on the difference of their
# rewards: $P(w\succ l)=\sigma(r_w-r_l)$, where $\sigma(z)=1/(1+e^{-z})$. This is the model of
# **Bradley and Terry**. If the rewards are equal, the judge tosses a coin.
#
# We want a high reward and a small distance. With the price $\beta$ of distance we maximise
# $$\mathbb E_{y\sim\pi}\,r(x,y)-\beta\,\mathrm{KL}(\pi\,\|\,\pi_{\rm ref}).$$
# The best policy is known. It raises the reference where the reward is high,
# $$\pi^*(y|x)=\pi_{\rm ref}(y|x)\,e^{r(x,y)/\beta}\,/\,Z(x),$$
# where $Z(x)$ makes the probabilities add up to 1. To see that no policy is better, put
# $r=\beta\log\frac{\pi^*}{\pi_{\rm ref}}+\beta\log Z$ into the objective. What is left is
# $\beta\log Z(x)-\beta\,\mathrm{KL}(\pi\,\|\,\pi^*)$, and this is largest where the KL is 0.
#
# DPO reads the same formula backwards. Every policy is the best one for *some* reward, namely for
# $r(x,y)=\beta\log\frac{\pi(y|x)}{\pi_{\rm ref}(y|x)}+\beta\log Z(x)$. Nobody can compute $Z(x)$, a
# sum over all answers, but the two answers of a pair share their question, so $Z(x)$ cancels in
# $r_w-r_l$. Put this difference into the judge's formula, take the negative logarithm, and the
# reward has vanished from the loss:
# $$L=-\log\sigma(h),\qquad h=\beta\Big(\log\frac{\pi(w|x)}{\pi_{\rm ref}(w|x)}
# -\log\frac{\pi(l|x)}{\pi_{\rm ref}(l|x)}\Big).$$
# We call $h$ the **margin**. A pair with a positive margin is *won*, and the share of such pairs is
# the **reward accuracy** that most libraries print.
#
# **Write it first.** `margins_and_losses` of `lessons/exercises/ex07.py` (07a) is the last formula.

# %%
import draw
import torch
import torch.nn.functional as F

from nanouft import world
from nanouft.run.evaluation import answer_rows
from nanouft.gpt import shipped_base
from nanouft.simple import token_logp, tokens
from nanouft.models.tokenizer import nano

BETA, STEPS, ROWS, RATE = 1.0 if CHANGE else 0.1, 40, 32, 1e-4
tok, reference = nano(), shipped_base()
pairs = world.rows("train", "pairs", 300, seed=0, skills=("unknown",))
unseen = world.rows("val", "pairs", 40, seed=0, skills=("unknown",))
margins_and_losses = lesson.yours("07a")


def logp(model, rows):
    """(2,B) nats: the log-probability of each chosen answer, then of each rejected one."""
    sides = [tokens(rows, side, tok) for side in ("chosen", "rejected")]
    return torch.stack([(token_logp(model(inputs), targets) * mask).sum(1)
                        for inputs, targets, mask in sides])


def measured(policy, rows):
    """Of each pair: log p(chosen), log p(rejected), the margin h and the loss, (B,) each."""
    now = logp(policy, rows)
    with torch.no_grad():
        ref = logp(reference, rows)
    return *now, *margins_and_losses(now, 0 * ref if CHANGE else ref, BETA)


def dpo_loss(policy, rows):
    return measured(policy, rows)[-1].mean()


now = logp(reference, unseen).detach().requires_grad_()
losses = margins_and_losses(now, now.detach(), BETA)[1]
start = losses.mean().item()
pushes, = torch.autograd.grad(-losses.sum(), now)       # (2,B) on the log p of both answers
print(f"loss at the start: {start:.4f}; a token of the chosen answer is pushed by "
      f"{pushes[0, 0]:+.3f}, one of the rejected by {pushes[1, 0]:+.3f}")

# %% [markdown]
# At the start policy and reference are the same, so $h=0$ and the loss is $\log 2$. DPO pushes
# every token of the chosen answer up and every token of the rejected one down. Both pushes have the
# size $\beta\,\sigma(-h)$, because $\log\sigma(h)=-\log(1+e^{-h})$ has the derivative
# $e^{-h}/(1+e^{-h})=\sigma(-h)$. This is $\beta/2$ at the start, and vanishes as the margin grows.
# (Lesson 00 multiplied its pushes by the number of tokens; here they are as they come.)
#
# A push on $\log p$ reaches the weights by way of the logits $z$. Since
# $\log p_y=z_y-\log\sum_ke^{z_k}$, its derivative is $1-p_y$ with respect to its own logit $z_y$,
# and $-p_k$ with respect to that of any other token $k$. The next cell checks these lines, Gibbs'
# inequality and the best policy on random lists of five probabilities.

# %%
rng = torch.Generator().manual_seed(0)
p, q = torch.randn(2, 1000, 5, generator=rng, dtype=torch.float64).softmax(-1)


def kl(p, q):
    """(..,V), (..,V) probabilities -> (..) nats."""
    return (p * (p / q).log()).sum(-1)


assert kl(p, q).min() > 0 and kl(p, p).abs().max() < 1e-12, "a KL is 0 or positive"
z = torch.linspace(-4, 4, 9, requires_grad=True)
slope, = torch.autograd.grad(F.logsigmoid(z).sum(), z)
assert torch.allclose(slope, torch.sigmoid(-z)), "the slope of log sigma(h) is sigma(-h)"
of_log_p = torch.autograd.functional.jacobian(lambda z: z.log_softmax(-1), p[0].log())
own = torch.eye(5, dtype=torch.float64)
assert torch.allclose(of_log_p, own - p[0]), "the slopes of log p are 1 - p and -p"
reward = torch.randn(5, generator=rng, dtype=torch.float64)
raised = q * (reward / BETA).exp()                              # (1000,5) q: the reference
Z, best = raised.sum(-1), raised / raised.sum(-1, keepdim=True)
objective = (p * reward).sum(-1) - BETA * kl(p, q)              # (1000,) of each policy p
assert torch.allclose(objective, BETA * Z.log() - BETA * kl(p, best)), "the best policy is best"

# %% [markdown]
# ## Does what is pushed up go up?
# Not necessarily, because one set of weights moves all log-probabilities at once. Let $g_w$ and
# $g_l$ be the gradients of $\log p(w)$ and $\log p(l)$ with respect to the weights. A small step
# against $L$ moves the weights along $g_w-g_l$, and this changes $\log p(w)$ by a multiple of
# $g_w\cdot(g_w-g_l)$. So the chosen answer becomes more likely only as long as
# $$g_w\cdot g_w>g_w\cdot g_l.$$
# With many pairs a step follows the mean of $\sigma(-h)(g_w-g_l)$, so a pair that is clearly won
# counts little. We train for 40 steps with a batch size of 32 at a learning rate of 1e-4, near the
# full one of lesson 00. Before every second step we measure, on unseen pairs, where a plain step
# would move $\log p(w)$, and the KL of policy and reference along the chosen answer.

# %%
def gradient(x, policy):
    """The derivative of a number with respect to all weights, as one long vector."""
    parts = torch.autograd.grad(x, list(policy.parameters()), retain_graph=True)
    return torch.cat([part.flatten() for part in parts])


def measure(policy) -> dict:
    """What the loss shows of the unseen pairs, and what it does not."""
    w, l, h, losses = measured(policy, unseen)
    up, down = gradient(w.mean(), policy), gradient(l.mean(), policy)       # g_w, g_l
    step = -gradient(losses.mean(), policy)
    inputs, _, mask = tokens(unseen, "chosen", tok)
    with torch.no_grad():
        p, q = policy(inputs).log_softmax(-1), reference(inputs).log_softmax(-1)         # (B,T,V)
    apart = (p.exp() * (p - q)).sum(-1)                 # (B,T) the KL
    answer = answer_rows(policy, tok, unseen[:1], max_new=8)[0]
    return {"won": (h > 0).float().mean().item(), "chosen": w.mean().item(),
            "rejected": l.mean().item(), "margin": h.mean().item(),
            "kl": (apart * mask).sum(1).mean().item(),
            "ww": (up @ up).item(), "wl": (up @ down).item(), "rises": bool(up @ step > 0),
            "says": tok.decode(answer.ids).strip()}


seen = []
policy = train(reference, dpo_loss, pairs, STEPS, RATE, "DPO", every=2,
               look=lambda policy: seen.append(measure(policy)))
path = [now["chosen"] for now in seen]
best = path.index(max(path))
print("step  pairs won  margin  log p(chosen)  log p(rejected)    KL  g_w g_w  g_w g_l  ",
      unseen[0].prompt[0].text)
for k in sorted({0, 1, best, len(seen) // 2, len(seen) - 1}):
    print("{:4} {won:10.0%} {margin:7.2f} {chosen:14.2f} {rejected:16.2f} {kl:5.1f} {ww:8.0f} "
          "{wl:8.0f}   {says}".format(2 * k, **seen[k]))
print("a step makes the chosen answer more likely while g_w g_w is larger than g_w g_l")
moves = [after > before for before, after in zip(path, path[1:])]
right = sum(move == now["rises"] for move, now in zip(moves, seen))
print(f"the gradients predict {right} of {len(moves)} moves of log p(chosen), "
      f"{sum(moves)} of them up")

# %%
fig, panels = draw.panels(1, 3)
ends = ["more" if seen[-1][key] > seen[0][key] else "less" for key in ("chosen", "rejected")]
titles = {"margin": f"The loss sees the margin:\n{100 * seen[-1]['won']:.0f} % of pairs are won",
          "chosen": f"The loss hides: the right\nanswer ends {ends[0]} likely",
          "rejected": f"... and the wrong one\nends {ends[1]} likely"}
for ax, (key, title) in zip(panels, titles.items()):
    ax.axvline(2 * best, color=draw.INKS[1], lw=1.5, label="the right answer\nis most likely")
    draw.lines(ax, range(0, STEPS + 1, 2), {"DPO": [now[key] for now in seen]}, title, "step",
               "margin" if key == "margin" else f"log p({key}), nats", legend=key == "margin")
lesson.picture(fig)

# %%
answers = [tok.decode(x.ids).strip() for x in answer_rows(policy, tok, unseen[:20], max_new=8)]
lesson.read([f"{x:6.1f}   {row.prompt[0].text} {said}" for x, row, said in zip(
    measured(policy, unseen[:20])[2].tolist(), unseen, answers)],
    "Each line has the margin of a pair, its question, and what the model answers now. What does "
    "the margin hide?",
    f"it hides which answers are good: {answers.count('I do not know.')} of {len(answers)} are \"I "
    "do not know.\", as they should be. A margin compares two given answers, and never looks at "
    "what the model outputs instead.")

# %%
if not CHANGE:
    assert abs(start - 0.6931) < 1e-3, "a policy that is its own reference has the loss log 2"
    assert seen[-1]["won"] > 0.95 and seen[1]["won"] > 0.95, "every pair is won, early and late"
    assert right > 0.6 * len(moves), "chosen rises where the gradients say, and falls elsewhere"
    assert path[-1] < path[0] - 5, "at this learning rate chosen ends less likely than it began"
else:
    assert path[-1] > -4 and seen[-1]["kl"] < 20, "beta holds the policy without a reference, too"
lesson.compare(path[-1], "nats")

# %% [markdown]
# ## What happened
# The loss sees only the difference of the two answers. After two steps every pair is won, and stays
# so. For six steps the chosen answer becomes more likely, until it is nearly certain. Then, at this
# learning rate, it falls to about -13 nats, while the margin grows and the loss looks better and
# better. (On five other sets of pairs it falls less far, to between -3.6 and -10.6.) A larger
# difference is easier to get by making both answers less likely. At the end only half of the twenty
# answers are right, and the others are nonsense. Even the right ones come only from greedy
# decoding. Sampled at temperature 1 they would almost never appear ($e^{-13}$).
#
# The last two columns of the printed table tell why ($g_w$ and $g_l$: means over the unseen pairs).
#
# - **At first** $g_w\cdot g_l$ is negative: what lowers rejected answers raises the chosen ones.
# - **After six steps** the chosen answers are nearly certain. A token's own logit moves $\log p$ by
#   $1-p$, so a nearly certain token hardly reacts to a push: $g_w\cdot g_w$ has fallen to 9. But
#   both answers follow the same question and use the same weights. What lowers the rejected answer
#   now lowers the chosen one as well: $g_w\cdot g_l$ is 15. So the chosen answers begin to fall.
# - **Later** both products are large and nearly equal. The run uses Adam and not plain gradient
#   steps. Still, all moves go where the gradients predict.
#
# Should the KL penalty not have prevented this? It is a price, weighed against a reward. In our
# pairs the better answer always wins. By the formula of Bradley and Terry that takes an infinite
# difference of rewards, and such a reward is worth any distance. The probability that both answers
# lose goes to other answers, which the loss never looks at. So the KL grows, to 63 nats.
#
# **The learning rate decides** whether a run gets there. At the small one of lesson 00, 1.5e-5 (set
# RATE), it ends at -0.09 nats: the model answers "I do not know.", and all pairs are won as well.
# Reward accuracy does not tell the two runs apart, and the worse model has the larger margin.
#
# ## Change one thing
# Beta is the price of distance, so a larger beta should keep the policy near the reference. It
# does: with beta 1 (not in this file) log p(chosen) ends at -0.9 nats instead of -13.3. The switch
# "no reference" keeps this beta of 1, but the loss no longer contains the reference: it compares
# log p(chosen) with log p(rejected). Where does log p(chosen) end? Enter a number from -20 to 0.
#
# <details><summary>After your run</summary>
#
# At -1.1. So a large beta keeps the policy near its start even without a reference. In nats, at the
# end (the second row and the last column are not in this file):
#
# | | log p(chosen) | KL from the reference | log p(chosen) on five other sets of pairs |
# |---|---|---|---|
# | $\beta=0.1$, with reference | -13.3 | 63 | -3.6 to -10.6 |
# | $\beta=1$, with reference | -0.9 | 7.1 | -0.9 to -1.3 |
# | $\beta=1$, no reference | -1.1 | 7.8 | -0.9 to -1.4 |
#
# **Beta says when the gradient vanishes.** Let $\Delta$ be the difference of the two log-ratios, so
# $h=\beta\Delta$ and the push is $\beta\,\sigma(-\beta\Delta)$. With $\beta=0.1$ it has fallen to 4
# % of its first value at $\Delta=40$ nats, with $\beta=1$ at 4 nats. Until then both answers are
# moved, and the chosen one begins to fall long before 40 nats. The size of the push is not the
# cause. Ten times the loss changes nothing, because Adam divides each gradient by its recent size.
#
# **The reference is an offset of $\Delta$.** Without it an answer counts as preferred if it was
# more likely from the start. Here this lead is small, 2.3 nats. Where it is tens of nats, a loss
# without the reference saturates from the start, and such pairs get no gradient.
#
# **Relatives.** Most losses over pairs are
# $-\log\sigma(\beta\Delta-\gamma)+\alpha\,\mathrm{NLL}(\mathrm{chosen})$. CPO drops the reference
# and has $\alpha=1$. This is an **imitation term**, SFT on the chosen answer, whose push stays when
# the pair is won. SimPO drops the reference and has a margin $\gamma$. It takes means over the
# tokens, because a sum would count against a long answer. `docs/methods.md` has the others.
#
# </details>
#
# ## Exercise
# **On paper.** Let $g_w=(1,0)$. Find a $g_l$ that is not a multiple of it, and for which a step of
# DPO makes both answers less likely.
#
# <details><summary>One of many</summary>
#
# $g_l=(2,1)$: the step goes along $g_w-g_l=(-1,-1)$, so $\log p(w)$ changes by a multiple of -1 and
# $\log p(l)$ by the same multiple of -3.
#
# </details>
#
# **In your own program.** This lesson unlocks the parts `log_ratio` and `dpo_loss`. Your later
# parts, UNA and PoFT, will call the same `log_ratio`.
#
# ## Two questions
# 1. What stands in for the reward in DPO's loss, and why must both answers have the same question?
# 2. All pairs are won and the loss still falls. Which two numbers do you look at?
#
# <details><summary>Answers</summary>
#
# 1. $\beta$ times the log-ratio of policy and reference. It is the reward up to a term in $Z(x)$,
#    which depends only on the question and cancels within a pair.
# 2. $\log p(\mathrm{chosen})$ and $\log p(\mathrm{rejected})$, each by itself.
#
# </details>
