"""Tasks of lesson 15."""
import math

import torch

from lessons.grade.task import Case, Law, Mistake, Task
from nanouft.objective import Batch, Columns, Seqs
from nanouft.objectives import ppo
from nanouft.objectives.on_policy import clipped


# ==== Advantages and the clip =====================================================================
def draw(random, n, low, high):
    return torch.tensor([random.uniform(low, high) for _ in range(n)])


# ---- 15a: advantages -----------------------------------------------------------------------------
def project_gae(R, V, lam, gamma):
    """The project's GAE on one answer without padding."""
    return ppo.gae(R[None], V[None], torch.ones(1, len(R)), gamma, lam)[0]


def gae_by_hand(R, V, lam, gamma):
    found, later, following = [], 0, 0
    for t in reversed(range(len(R))):
        delta = R[t] + gamma * following - V[t]
        later = delta + gamma * lam * later
        following = V[t]
        found.append(later)
    return torch.stack(found[::-1])


def gae(R, V, lam, gamma, beyond=False, forwards=False, tail="gamma lam", subtract=True,
        give="advantages", in_delta=True, critic=True):
    """GAE of one answer, and its mistakes by flag."""
    T = len(R)
    V = V if critic else 0 * V
    decay = {"gamma lam": gamma * lam, "gamma": gamma, "lam": lam, "none": 0.0}[tail]
    A, later = [0.0] * T, 0.0
    for t in range(T) if forwards else reversed(range(T)):
        if t + 1 < T:
            following = V[t + 1]
        else:
            following = {False: 0.0, "last": V[t], "first": V[0]}[beyond]
        factor = {True: gamma, False: 1, "lam": gamma * lam}[in_delta]
        delta = R[t] + factor * following - (V[t] if subtract else 0)
        later = delta + decay * later
        A[t] = later
    A = torch.stack(A)
    return {"advantages": A, "returns": A + V, "reversed": A.flip(0),
            "whitened": (A - A.mean()) / A.std(correction=int(T > 1))}[give]


def one_answer(random):
    T = random.randint(1, 5)
    lam, gamma = random.choice([0.3, 0.5, 0.95]), random.choice([0.8, 0.9, 1.0])
    return draw(random, T, -1, 1), draw(random, T, 0.2, 1), lam, gamma


def no_lam_is_delta(advantages, args):
    R, V, _, _ = args
    return torch.allclose(torch.as_tensor(advantages(R, V, 0.0, 0.0)), R - V, atol=1e-3)


def no_reward_reaches_later_tokens(advantages, args):
    R, V, lam, gamma = args
    more = R.clone()
    more[0] += 5
    one, other = (torch.as_tensor(advantages(r, V, lam, gamma))[1:] for r in (R, more))
    return torch.allclose(one, other, atol=1e-3)


R = torch.tensor([0.0, 0, 1])
FLAT, FALLING = torch.full((3,), 0.5), torch.tensor([0.5, 0.4, 0.3])
A = Task(
    "15a", "implement", level=2, minutes=20, core=True,
    signature="gae(R, V, lam, gamma)",
    text="""The advantages of the tokens of one answer (GAE).

R           (T,) the reward of each token
V           (T,) what the critic expects before each token; after the end it is 0
lam, gamma  numbers from 0 to 1. gamma discounts: V_{t+1} counts gamma times in delta_t,
            and A_{t+1} counts gamma times lam in A_t. (In the lesson gamma is 1.)
Returns (T,), not whitened.

R 0 0 1, V .5 .5 .5, lam .5 and gamma 1 give .125 .25 .5.""",
    heading="One equation",
    right=project_gae, by_hand=gae_by_hand,
    model=gae,
    cases=(Case((R, FLAT, 0.5, 1.0), "lam = .5"),
           Case((R, FALLING, 1.0, 1.0), "lam = 1, V .5 .4 .3"),
           Case((R, FALLING, 0.0, 0.9), "lam = 0, gamma = .9"),
           Case((R, FALLING, 0.5, 0.9), "lam = .5, gamma = .9")),
    random=one_answer,
    mistakes=(
        Mistake("after the end the last value is expected once more", {"beyond": "last"},
                "What is still to come after the last token?",
                "After the end nothing is expected: the next value is 0."),
        Mistake("after the end the first value comes again", {"beyond": "first"},
                "What is still to come after the last token?",
                "torch.roll puts the first value behind the last one. There it is 0."),
        Mistake("the loop runs forwards", {"forwards": True},
                "When you compute A_0, do you know A_1 already?",
                "A token is judged by what comes after it, so the loop starts at the end."),
        Mistake("lam is never used", {"tail": "gamma"},
                "What changes in your function if lam is 0?",
                "Lam says how far back a surprise is handed."),
        Mistake("only the token's own delta is given", {"tail": "none"},
                "What changes in your function if lam is 1?",
                "With lam above 0 a token also gets a part of the later surprises."),
        Mistake("V is not used at all", {"critic": False},
                "What changes in your function if the critic expects more?",
                "Without the critic these are rewards to come, not advantages."),
        Mistake("V_t is not subtracted", {"subtract": False},
                "All goes as the critic expected. What should the advantages be?",
                "An advantage is what came minus what was expected."),
        Mistake("gamma is missing where later advantages are added", {"tail": "lam"},
                "Over one step both numbers shrink what is to come. Do both appear?",
                "Gamma stands twice: before the next value and before the next advantage."),
        Mistake("gamma is missing before the next value", {"in_delta": False},
                "In delta, how much is the next value worth now?",
                "Gamma stands twice: before the next value and before the next advantage."),
        Mistake("lam stands before the next value, too", {"in_delta": "lam"},
                "With lam = 0, what is left of the next value in your delta?",
                "delta knows gamma only. lam says how many later deltas are added."),
        Mistake("the critic's goals are given, advantage plus value", {"give": "returns"},
                "Is your first number what was earned, or what was earned beyond V?",
                "The returns are what the critic should learn; the policy needs advantages."),
        Mistake("the advantages come in the order of the loop, the last token first",
                {"give": "reversed"},
                "Which token does the first number of your result belong to?",
                "The loop runs from the end; the result must not."),
        Mistake("the advantages are whitened", {"give": "whitened"},
                "Over which tokens should a mean be taken: of one answer or of all?",
                "Whitening comes last, over the whole rollout, after the critic's goals."),
    ),
    laws=(Law("a reward must not change the advantages of later tokens",
              no_reward_reaches_later_tokens),
          Law("with lam = 0 and gamma = 0 it must be R - V", no_lam_is_delta)),
    hints=("At which token do you know everything that you need?",
           "Lesson 15, \"One equation\": delta first, then A.",
           "R 0 0 1, V .5 .5 .5: the deltas are 0 0 .5.\n"
           "With lam .5: A_2 = .5, A_1 = 0 + .25, A_0 = 0 + .125."))


# ---- 15b: the clip -------------------------------------------------------------------------------
def project_clip(logp, old, A, eps):
    """The project's clipped loss."""
    return clipped((logp - old.detach()).exp(), A, eps, eps)


def clip_by_hand(logp, old, A, eps):
    ratio = (logp - old.detach()).exp()
    near = ratio.clamp(1 - eps, 1 + eps)
    return -torch.minimum(ratio * A, near * A)


def clip_loss(logp, old, A, eps, pick="min", ratio="exp", sign=1, detached=True, fixed=False,
              one_mean=False):
    """The loss of each token, and its mistakes by flag."""
    old = old.detach() if detached else old
    eps = 0.2 if fixed else eps
    rho = {"exp": (logp - old).exp(), "inverse": (old - logp).exp(),
           "again": (logp - logp.detach()).exp(),
           "difference": logp - old, "quotient": logp / old,
           "answer": (logp - old).sum().exp().expand_as(logp)}[ratio]
    far, near = rho * A, rho.clamp(1 - eps, 1 + eps) * A
    upper = rho.clamp(max=1 + eps) * A
    gain = {"min": torch.minimum(far, near), "max": torch.maximum(far, near), "near": near,
            "far": far, "upper": torch.minimum(far, upper), "no ratio": logp * A,
            "around 0": torch.minimum(far, rho.clamp(-eps, eps) * A),
            "of logs": torch.minimum(far, (logp - old).clamp(-eps, eps).exp() * A)}[pick]
    return -sign * (gain.mean() if one_mean else gain)


def tokens(random):
    old = draw(random, 3, -3, -0.5)
    far = random.choice([1.2, 1.2, 4.0])
    logp = old + draw(random, 3, -far, far)
    return logp, old, draw(random, 3, -2, 2), random.choice([0.1, 0.2, 0.3])


def moved(ratio, advantage, eps=0.2):
    """One token whose chance has changed by this ratio."""
    old = torch.tensor([-2.0])
    return old + math.log(ratio), old, torch.tensor([advantage]), eps


def two_tokens():
    logp, old, A, eps = moved(1.5, 1.0)
    less, _, _, _ = moved(0.5, 2.0)
    return torch.cat([logp, less]), torch.cat([old, old]), torch.cat([A, 2 * A]), eps


def no_move_pays_the_advantage(loss, args):
    _, old, A, eps = args
    return torch.allclose(torch.as_tensor(loss(old, old, A, eps)), -A, atol=1e-3)


B = Task(
    "15b", "implement", level=3, minutes=20, core=True,
    signature="clip_loss(logp, old, A, eps)",
    text="""PPO's clipped loss of each token.

logp  (T,) log-probs of the tokens by the policy as it is now
old   (T,) their log-probs when they were sampled: numbers, no gradient flows into them
A     (T,) their advantages
eps   how far the ratio may go from 1 until nothing more is gained
Returns (T,). Larger is worse, as in every loss.

A ratio of 1.5 with advantage 1 and eps .2 costs -1.2 and has no gradient;
with advantage -1 it costs 1.5.""",
    heading="One equation",
    right=project_clip, by_hand=clip_by_hand,
    model=clip_loss,
    cases=(Case(moved(1.5, 1.0), "likelier, and good"),
           Case(moved(1.5, -1.0), "likelier, though bad"),
           Case(moved(0.5, 1.0), "less likely, though good"),
           Case(moved(0.5, -1.0), "less likely, and bad"),
           Case(moved(1.5, 1.0, 0.1), "likelier, and good, eps = .1"),
           Case(two_tokens(), "ratios 1.5 and .5, advantages 1 and 2")),
    random=tokens,
    mistakes=(
        Mistake("the ratio is clipped whatever the sign: no minimum", {"pick": "near"},
                "A bad token has become likelier. Should its gradient stop?",
                "The clip stops only what has gone far enough in the right direction."),
        Mistake("the maximum is taken, not the minimum", {"pick": "max"},
                "Which of the two is the more careful estimate of what was gained?",
                "PPO is pessimistic: of two estimates of the gain it believes the lower one."),
        Mistake("the ratio is upside down: old by new", {"ratio": "inverse"},
                "A token became likelier. Is your ratio above 1?",
                "The ratio is new by old: it is above 1 where the token became likelier."),
        Mistake("nothing is clipped", {"pick": "far"},
                "What does eps change in your function?",
                "Without the clip the policy moves away from the answers that were sampled."),
        Mistake("the old log-probs are computed again, so the ratio is 1", {"ratio": "again"},
                "What is the ratio after three steps on one rollout, in your function?",
                "Old log-probs are kept from the moment of sampling, or the clip never acts."),
        Mistake("the ratio is clipped to -eps and eps", {"pick": "around 0"},
                "What is the ratio when the policy has not moved? Is it within your bounds?",
                "A ratio of 1 means that nothing has moved: the bounds are 1 - eps and 1 + eps."),
        Mistake("the difference of the log-probs is clipped, not the ratio", {"pick": "of logs"},
                "Ratio 1.5, eps .2: where does your clip end, at 1.2 or at e to the .2?",
                "The bounds are of the ratio. Clipped logs end at other ratios."),
        Mistake("only the upper side is clipped", {"pick": "upper"},
                "A bad token has become half as likely. Should it be pushed on?",
                "A bad token that has become unlikely enough needs no more push: the lower side."),
        Mistake("there is no ratio, but log-prob times advantage", {"pick": "no ratio"},
                "How does your loss know by how much the policy has moved?",
                "REINFORCE is right for the first step on a rollout; later steps need the ratio."),
        Mistake("one ratio of the whole answer is used for all tokens", {"ratio": "answer"},
                "How many ratios has an answer of two tokens in your loss?",
                "PPO clips each token by its own ratio. One for the whole answer is GSPO's idea."),
        Mistake("the difference of the log-probs stands for the ratio", {"ratio": "difference"},
                "What is your ratio when the policy has not moved?",
                "A difference of logs is the log of a ratio."),
        Mistake("the log-probs are divided by each other", {"ratio": "quotient"},
                "Which numbers form the ratio: probabilities or their logarithms?",
                "A difference of logs is the log of a ratio; a quotient of logs is not."),
        Mistake("the sign is turned", {"sign": -1},
                "Does your loss fall if a good token becomes likelier?",
                "The gain is maximised, so the loss is minus the gain."),
        Mistake("gradient flows into the old log-probs", {"detached": False},
                "What would training do with the old policy, if it could move it?",
                "The old log-probs say what was, when the answer was sampled. They do not change."),
        Mistake("one mean is given for all tokens", {"one_mean": True},
                "How many tokens come in, and how many losses should come out?",
                "How tokens are averaged is a choice of its own, see 14c."),
        Mistake("eps is always taken for .2", {"fixed": True},
                "What changes in your function for another eps?",
                "A number from the example belongs to the argument eps."),
    ),
    gradients=(0, 1),
    laws=(Law("a policy that has not moved must pay minus the advantage",
              no_move_pays_the_advantage),),
    hints=("For a good token, on which side of 1 is there nothing more to gain? And for a bad one?",
           "Lesson 15, \"One equation\", the last formula, and the proof's words on the clip.",
           "Ratio .5, advantage -1: the two candidates are -.5 and -.8.\n"
           "The lower one is -.8, so the loss is .8."))

TASKS = [A, B]


# ==== What is each token paid? ====================================================================
def project_rewards(score, logp, ref, beta):
    """The project's rewards of one sampled answer that ends."""
    one = torch.ones(1, len(logp))
    answer = Seqs(one, one, one, one, sampled_logp=logp.detach()[None], ref_logp=ref[None])
    batch = Batch.of({"answer": answer}, Columns(reward=torch.tensor([score]), ended=one[:, 0]))
    return ppo.rewards(batch, ppo.PPO(beta=beta))[0]


def rewards_by_hand(score, logp, ref, beta):
    paid = -beta * (logp - ref)
    paid[-1] += score
    return paid.detach()


def token_rewards(score, logp, ref, beta, sign=1, at="last", detached=True, payer="each",
                  with_beta=True):
    """The reward of each token, and the mistakes by flag."""
    logp = logp.detach() if detached else logp
    gap = logp - ref
    paid = -sign * (beta if with_beta else 1) * (gap.abs() if payer == "absolute" else gap)
    last = torch.arange(len(logp)) == len(logp) - 1
    if payer == "end":
        paid = torch.where(last, paid.sum(), 0.0)
    if payer == "no end":
        paid = torch.where(last, 0.0, paid)
    places = {"last": last.float(), "all": torch.ones_like(paid),
              "first": torch.arange(len(paid)).eq(0).float(),
              "shared": torch.full_like(paid, 1 / len(paid))}
    return paid + score * places[at]


def sampled(random):
    T = random.randint(1, 4)
    logp, ref = [[random.uniform(-3, -0.1) for _ in range(T)] for _ in range(2)]
    score, beta = random.uniform(0.3, 1), random.choice([0.1, 0.3, 0.5])
    return score, torch.tensor(logp), torch.tensor(ref), beta


def adds_up(rewards, args):
    score, logp, ref, beta = args
    total = torch.as_tensor(rewards(score, logp, ref, beta)).sum().item()
    return abs(total - (score - beta * (logp - ref).sum().item())) < 1e-3


TASKS += [Task(
    "15c", "implement", level=2, minutes=10, core=False,
    signature="token_rewards(score, logp, ref, beta)",
    text="""PPO's reward of each token of one answer.

score  the score of the whole answer, one number. It is paid once, with the last token.
logp   (T,) log-probs of the tokens by the policy that sampled them
ref    (T,) their log-probs by the start model
beta   the price of one nat of logp - ref: each token pays for its own, also the last one.
       (This penalty holds the policy near the start model.)
Returns (T,), without gradient.

Score 1, logp -1 -2, ref -1.5 -1 and beta .1 give -.05 and 1.1.""",
    heading="One equation",
    right=project_rewards, by_hand=rewards_by_hand,
    model=token_rewards,
    cases=(Case((1.0, torch.tensor([-1.0, -2]), torch.tensor([-1.5, -1]), 0.1), "two tokens"),
           Case((0.5, torch.tensor([-1.0, -2, -1]), torch.tensor([-1.0, -2, -3]), 0.2),
                "three tokens, only the last one has moved")),
    random=sampled,
    mistakes=(
        Mistake("the sign of the penalty is turned", {"sign": -1},
                "A token is likelier now than under the start model. Does it pay or earn?",
                "The penalty must cost where the policy has moved up. Turned, it pays for moving."),
        Mistake("every token gets the whole score", {"at": "all"},
                "How often is the score paid for one answer?",
                "Paid at every token, a long answer earns more than a short one."),
        Mistake("the score is shared among the tokens", {"at": "shared"},
                "When does one know the score of an answer?",
                "The score comes once, at the end. GAE hands it back."),
        Mistake("the first token gets the score", {"at": "first"},
                "When does one know the score of an answer?",
                "The score comes with the last token. GAE then hands it back to the first ones."),
        Mistake("gradient flows through the reward", {"detached": False},
                "Who gives a reward: the policy or its surroundings?",
                "A reward is a number. With gradient the policy learns to change its own reward."),
        Mistake("the whole penalty is paid at the end", {"payer": "end"},
                "Which token should pay if the first one has moved far?",
                "Paid at its own token, the penalty blames the token that moved."),
        Mistake("the absolute difference is the penalty", {"payer": "absolute"},
                "A token is less likely than under the start model. Does it pay or earn?",
                "Only with its sign is the mean of logp - ref the KL. Some tokens earn."),
        Mistake("the last token does not pay the penalty", {"payer": "no end"},
                "What does the last token pay, beside what it earns?",
                "The score is added to what the last token pays. It does not replace it."),
        Mistake("beta is forgotten", {"with_beta": False},
                "Which of your lines would change if beta were doubled?",
                "Without beta one nat costs as much as a perfect answer earns."),
    ),
    gradients=(1,),
    laws=(Law("together the rewards must be the score minus beta times the sum of logp - ref",
              adds_up),),
    hints=("What does each token pay for itself, and what comes only once?",
           "Lesson 15, \"One equation\": R_t. Lesson 14 speaks of the KL penalty.",
           "logp -1, ref -1.5: the token is half a nat likelier than before.\n"
           "With beta .1 it pays .05."))]
