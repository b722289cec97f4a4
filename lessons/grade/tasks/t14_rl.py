"""Exercises of lesson 14: what is a score compared with?"""
import torch

from lessons.grade.task import Case, Law, Mistake, Task
from nanouft.objectives.grpo import standardised
from nanouft.objectives.rloo import leave_one_out


def scores(random):
    """(P,K) scores of K answers to P prompts; K is never 4."""
    P, K = random.randint(2, 3), random.choice([3, 5])
    rows = [random.sample([0.0, 0.1, 0.3, 0.5, 0.8, 1.0], K) for _ in range(P)]
    if random.random() < 0.3:
        rows[0] = [0.5] * K
    return (torch.tensor(rows),)


def a_constant_changes_nothing(advantages, args):
    R = args[0]
    one, other = torch.as_tensor(advantages(R)), torch.as_tensor(advantages(R + 3))
    return torch.allclose(one, other, atol=1e-3)


def adds_up_to_zero(advantages, args):
    A = torch.as_tensor(advantages(args[0])).reshape(args[0].shape)
    return A.sum(1).abs().max().item() < 1e-3


# ---- 14a: RLOO -----------------------------------------------------------------------------------
def rloo(R, baseline="others", down=False, sign=1):
    """RLOO's advantages, and the mistakes by flag."""
    R = R.T if down else R
    K, total = R.shape[1], R.sum(1, keepdim=True)
    own = R.mean(1, keepdim=True)
    if baseline == "spread":
        A = (R - own) / (R.std(1, keepdim=True) + 1e-4)
    else:
        A = R - {"others": (total - R) / (K - 1), "own": own, "sum": total - R,
                 "K": (total - R) / K, "batch": R.mean(), "four": (total - R) / 3}[baseline]
    return sign * (A.T if down else A)


A = Task(
    "14a", "implement", level=2, minutes=10, core=True,
    signature="rloo(R)",
    text="""RLOO's advantages: each score minus the mean score of the OTHER answers to its prompt.

R  (P,K) the scores of K answers to each of P prompts; K is at least 2
Returns (P,K).

The scores 1 0 0 0 of one prompt become 1 -.3333 -.3333 -.3333.""",
    heading="One equation",
    right=leave_one_out, model=rloo,
    cases=(Case((torch.tensor([[1.0, 0, 0, 1], [1, 0, 0, 0]]),), "two prompts, four answers each"),
           Case((torch.tensor([[1.0, 0, 0.5], [0.5, 0.5, 0.5]]),), "two prompts, three each")),
    random=scores,
    mistakes=(
        Mistake("the answer's own score is in its baseline", {"baseline": "own"},
                "May the baseline know the answer that it is compared with?",
                "The own score in the baseline makes all advantages too small by (K - 1) / K."),
        Mistake("the scores of a prompt are read down, not across", {"down": True},
                "Which of the two dimensions are the answers to one prompt?",
                "Answers to different prompts are compared. No error says so."),
        Mistake("the others' scores are added up, not averaged", {"baseline": "sum"},
                "All answers have score 1. What should their advantages be?",
                "Four equal scores must give 0: the baseline is a mean."),
        Mistake("the others' sum is divided by K", {"baseline": "K"},
                "How many OTHER answers are there?",
                "There are K - 1 others, so a mean of them divides by K - 1."),
        Mistake("the mean of all prompts is the baseline", {"baseline": "batch"},
                "One prompt is easy, one is hard. What is a good score for each?",
                "The mean of the whole batch does not know how hard the prompt is."),
        Mistake("the sign is turned", {"sign": -1},
                "Is the advantage of the best answer above 0?",
                "Score minus baseline: better than the others is positive."),
        Mistake("it is divided by the spread: that is GRPO", {"baseline": "spread"},
                "Scores 1 0 and scores .6 .5: should both push equally hard here?",
                "RLOO keeps the size of the difference; GRPO divides it out."),
        Mistake("the number of answers is always taken for 4", {"baseline": "four"},
                "What changes in your function for three answers?",
                "A number that comes from the example belongs to the shape of R."),
    ),
    laws=(Law("the advantages of one prompt must add up to 0", adds_up_to_zero),
          Law("a constant added to all scores must change nothing", a_constant_changes_nothing)),
    hints=("Which scores know how hard the prompt is, and nothing of this answer?",
           "Lesson 14, \"One equation\": the baseline of RLOO.",
           "1 0 .5: the first answer's others have the mean .25, so its advantage is .75.\n"
           "The second one's have .75: -.75."))


# ---- 14b: GRPO -----------------------------------------------------------------------------------
def project_advantages(R):
    return standardised(R).detach()


def grpo(R, spread="sample", careful=True, down=False, centred=True, detached=True):
    """GRPO's advantages, and the mistakes by flag."""
    R = R.T if down else R
    spreads = {"sample": R.std(1, keepdim=True),
               "population": R.std(1, keepdim=True, correction=0),
               "batch": R.std(), "variance": R.var(1, keepdim=True)}
    A = R - R.mean(1, keepdim=True) if centred else R
    if spread != "none":
        A = A / (spreads[spread] + (1e-4 if careful else 0))
    A = A.T if down else A
    return A.detach() if detached else A


B = Task(
    "14b", "implement", level=2, minutes=10, core=False,
    signature="grpo(R)",
    text="""GRPO's advantages: the scores of each prompt, centred and divided by their spread.

R  (P,K) the scores of K answers to each of P prompts
The spread is the standard deviation (its sum is divided by K - 1) plus 1e-4.
Returns (P,K), without gradient: R may hold a KL penalty that is made of log-probs.

1 0 0 becomes 1.1545 -.5773 -.5773, and .5 .5 .5 becomes 0 0 0.""",
    heading="One equation",
    right=project_advantages, model=grpo,
    cases=(Case((torch.tensor([[1.0, 0, 0], [0.5, 0.5, 0.5]]),), "two prompts, one of equals"),
           Case((torch.tensor([[1.0, 1, 1, 0.9], [1, 1, 1, 0]]),), "nearly all right")),
    random=scores,
    mistakes=(
        Mistake("the spread is divided by K, not K - 1", {"spread": "population"},
                "Which standard deviation is asked for: of the sample or of the population?",
                "With few answers it matters: K = 3 makes all pushes 22 % larger."),
        Mistake("a group of equal scores is divided by 0", {"careful": False},
                "What is the spread of .5 .5 .5, and what do you divide by it?",
                "0 / 0 is no number, and it makes the whole step not a number."),
        Mistake("the scores of a prompt are read down, not across", {"down": True},
                "Which of the two dimensions are the answers to one prompt?",
                "Answers to different prompts are compared. No error says so."),
        Mistake("the spread of the whole batch is used", {"spread": "batch"},
                "Should a nearly solved prompt push as hard as a mixed one?",
                "The spread of each group makes all prompts count equally, the solved ones too."),
        Mistake("the variance is used, not the standard deviation", {"spread": "variance"},
                "If all scores are doubled, should the advantages change?",
                "The variance has another unit: scores in percent would push less."),
        Mistake("the scores are not centred", {"centred": False},
                "What should an answer push that is as good as the mean?",
                "Without the mean every score above 0 is pushed up, the worst one, too."),
        Mistake("it is not divided by the spread: that is Dr. GRPO", {"spread": "none"},
                "How hard should 1 1 1 .9 push, compared with 1 1 1 0?",
                "Without the spread a small difference pushes little."),
        Mistake("gradient flows through the advantages", {"detached": False},
                "What may training change: the log-probs, or the grades that they get?",
                "An advantage is a weight. With gradient the policy learns to change it."),
    ),
    gradients=(0,),
    laws=(Law("the advantages of one prompt must add up to 0", adds_up_to_zero),
          Law("a constant added to all scores must change nothing", a_constant_changes_nothing)),
    hints=("Two steps: which one is the comparison, and which one sets the size?",
           "Lesson 14, \"One equation\": the advantage of GRPO.",
           "1 0 0 has the mean 1/3 and the standard deviation .5774.\n"
           "2/3 divided by .5775 is 1.1545."))

TASKS = [A, B]
