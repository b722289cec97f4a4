"""Exercises of lesson 15: what is each token paid?"""
import torch

from lessons.grade.task import Case, Law, Mistake, Task
from nanouft.objective import Batch, Columns, Seqs
from nanouft.objectives import ppo


def project_rewards(score, logp, ref, beta):
    """The project's rewards of one sampled answer that ends."""
    one = torch.ones(1, len(logp))
    answer = Seqs(one, one, one, one, old=logp.detach()[None], ref=ref[None])
    batch = Batch.of({"answer": answer}, Columns(reward=torch.tensor([score]), ended=one[:, 0]))
    return ppo.rewards(batch, ppo.PPO(beta=beta))[0]


def token_rewards(score, logp, ref, beta, sign=1, at="last", detached=True, leash="each",
                  with_beta=True):
    """The reward of each token, and the mistakes by flag."""
    logp = logp.detach() if detached else logp
    paid = -sign * (beta if with_beta else 1) * (logp - ref)
    last = torch.arange(len(logp)) == len(logp) - 1
    if leash == "end":
        paid = torch.where(last, paid.sum(), 0.0)
    if leash == "no end":
        paid = torch.where(last, 0.0, paid)
    places = {"last": last.float(), "all": torch.ones_like(paid),
              "first": torch.arange(len(paid)).eq(0).float(),
              "shared": torch.full_like(paid, 1 / len(paid))}
    return paid + score * places[at]


def sampled(random):
    T = random.randint(2, 4)
    logp, ref = [[random.uniform(-3, -0.1) for _ in range(T)] for _ in range(2)]
    score, beta = random.uniform(0.3, 1), random.choice([0.1, 0.3, 0.5])
    return score, torch.tensor(logp), torch.tensor(ref), beta


def adds_up(rewards, args):
    score, logp, ref, beta = args
    total = torch.as_tensor(rewards(score, logp, ref, beta)).sum().item()
    return abs(total - (score - beta * (logp - ref).sum().item())) < 1e-3


TASKS = [Task(
    "15c", "implement", level=2, minutes=10, core=False,
    signature="token_rewards(score, logp, ref, beta)",
    text="""PPO's reward of each token of one answer.

score  the score of the whole answer, one number. It is paid once, with the last token.
logp   (T,) log-probs of the tokens by the policy that sampled them
ref    (T,) their log-probs by the start model
beta   the price of one nat of logp - ref: each token pays for its own, also the last one.
       (This penalty holds the policy near the start model, as if on a leash.)
Returns (T,), without gradient.

Score 1, logp -1 -2, ref -1.5 -1 and beta .1 give -.05 and 1.1.""",
    heading="One equation",
    right=project_rewards, model=token_rewards,
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
        Mistake("the whole penalty is paid at the end", {"leash": "end"},
                "Which token should pay if the first one has moved far?",
                "Paid at its own token, the penalty blames the token that moved."),
        Mistake("the last token does not pay the penalty", {"leash": "no end"},
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
