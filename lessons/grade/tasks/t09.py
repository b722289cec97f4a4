"""Tasks of lesson 09."""
import math

import torch
import torch.nn.functional as F

from lessons.grade.predictions import Predict
from lessons.grade.task import Case, Law, Mistake, Task
from nanouft.objective import Batch, Columns, Seqs, pushes
from nanouft.objectives import OBJECTIVES
from nanouft.objectives.una import score_loss


# ==== UNA, one grade for each answer ==============================================================
# ---- 09a: the loss -------------------------------------------------------------------------------
def una_loss(i, grade, form, stray_minus=False, reduce="none", first=False, log="logsigmoid",
             squash=True, power="square", second_half=True, squash_grade=False, always="",
             turned=False, rounded=False):
    """UNA's loss of each answer, and its mistakes by flag."""
    form = {"mse": "bce", "bce": "mse"}[form] if always == "other" else always or form
    if first:
        grade = grade[:1].expand_as(grade)
    if squash_grade:
        grade = torch.sigmoid(grade)
    if rounded:
        grade = (grade >= 0.5).float()
    if form == "mse":
        gap = (torch.sigmoid(i) if squash else i) - grade
        each = {"square": gap ** 2, "half": gap ** 2 / 2, "absolute": gap.abs()}[power]
        each = -each if stray_minus else each
    elif log == "cut off":
        each = F.binary_cross_entropy(torch.sigmoid(i), grade, reduction="none")
    else:
        log_sigmoid = F.logsigmoid if log == "logsigmoid" else log_of_sigmoid
        i = -i if turned else i
        each = -grade * log_sigmoid(i)
        if second_half:
            each = each - (1 - grade) * log_sigmoid(-i)
    return {"none": each, "mean": each.mean(), "sum": each.sum()}[reduce]


def log_of_sigmoid(x):
    return torch.log(torch.sigmoid(x))


def graded_answers(random):
    i = [random.choice([random.uniform(-3, 3), random.uniform(-3, 3), -1000.0]) for _ in range(3)]
    grades = [random.choice([0.0, 0.25, 0.5, 0.75, 1.0]) for _ in range(3)]
    return torch.tensor(i), torch.tensor(grades), random.choice(["mse", "bce"])


def hopeless_costs_all(una, args):
    cost = una(torch.tensor([-1000.0]), torch.tensor([1.0]), "bce")
    return abs(torch.as_tensor(cost).item() - 1000) < 1


def each_by_itself(una, args):
    i, grade, form = args
    together = torch.as_tensor(una(i, grade, form)).flatten()
    alone = torch.as_tensor(una(i[-1:], grade[-1:], form)).flatten()
    return torch.allclose(together[-1], alone[0], atol=1e-3)


I = torch.tensor([0.0, 0.0, 2.0])
GRADE = torch.tensor([1.0, 0.5, 0.0])
A = Task(
    "09a", "implement", level=1, minutes=10, core=True,
    signature="una_loss(i, grade, form)",
    text="""The loss of each answer in UNA: how far is its sigmoid(i) from its grade?

i      (N,) implicit rewards of N answers
grade  (N,) their grades, from 0 to 1
form   "mse": the squared distance
       "bce": the cross-entropy -grade log sigmoid(i) - (1 - grade) log sigmoid(-i)
Returns (N,), with a gradient by i: one loss for each answer. Answers may be very unlikely:
i = -1000.

For i = 0 and grade 1, "mse" gives 0.25 and "bce" gives 0.6931.""",
    heading="One equation",
    right=score_loss, model=una_loss,
    cases=(Case((I, GRADE, "mse"), '"mse", i = 0, 0, 2, grades 1, .5, 0'),
           Case((I, GRADE, "bce"), '"bce", the same answers'),
           Case((torch.tensor([-1000.0]), torch.tensor([1.0]), "bce"), '"bce", a hopeless answer')),
    random=graded_answers,
    mistakes=(
        Mistake('the "mse" form has a minus before the square', {"stray_minus": True},
                "Where is your loss least, and is that where the answer has its grade?",
                "The paper prints a minus before the square. With it the loss is best far away."),
        Mistake('the "mse" form is used whatever is asked', {"always": "mse"},
                "Which of your lines reads `form`?",
                "The two forms have their minimum at one place, but pull differently."),
        Mistake('the "bce" form is used whatever is asked', {"always": "bce"},
                "Which of your lines reads `form`?",
                "The two forms have their minimum at one place, but pull differently."),
        Mistake("the two forms are exchanged", {"always": "other"},
                "What does an answer with i = 0 and grade 1 cost in each form?",
                "mse is a squared distance; bce has logarithms."),
        Mistake("one mean is given for all answers", {"reduce": "mean"},
                "How many answers come in, and how many losses should come out?",
                "The loop divides by the rows of the whole step. Each answer keeps its own loss."),
        Mistake("the losses of all answers are added up", {"reduce": "sum"},
                "How many answers come in, and how many losses should come out?",
                "The loop adds the losses up later; here each answer keeps its own."),
        Mistake("the first grade is used for all answers", {"first": True},
                "Which grade does the second answer have?",
                "The released code reads one grade for all rows of a small batch."),
        Mistake("the logarithm is taken of a number that has become 0 or infinite",
                {"log": "log of sigmoid"},
                "What is the sigmoid of -1000 in a computer, and what is its logarithm?",
                "Use logsigmoid. Far out the sigmoid is rounded to 0, and its log is infinite."),
        Mistake("the logarithm is cut off at -100, as binary_cross_entropy does",
                {"log": "cut off"},
                "What does an answer with i = -1000 cost, and does it still get a gradient?",
                "binary_cross_entropy stops at 100. Its sister with_logits takes i itself."),
        Mistake('there is no sigmoid in "mse"', {"squash": False},
                "Which numbers can i be, and which can a grade be?",
                "The implicit reward has no bounds. Its sigmoid can be compared with a grade."),
        Mistake("half of the square is taken", {"power": "half"},
                "What should one answer with i = 0 and grade 1 cost?",
                "Half a square has the same minimum, but half the gradient."),
        Mistake("the distance is not squared", {"power": "absolute"},
                "How does the pull change as an answer comes near to its grade?",
                "The pull of a square fades near the goal, that of an absolute distance does not."),
        Mistake('the second half of "bce" is missing', {"second_half": False},
                "What does a bad answer, with grade 0, cost in your loss?",
                "With the first half alone a bad answer costs nothing: it is never pushed down."),
        Mistake('the signs of i are exchanged in "bce"', {"turned": True},
                "Which half of your loss counts for an answer of grade 1, and when is it small?",
                "An answer of grade 1 pays -log sigmoid(i): little if i is large."),
        Mistake("the grades are rounded to 0 and 1", {"rounded": True},
                "What should an answer of grade .75 cost at sigmoid(i) = .75?",
                "A grade is a goal between 0 and 1. Rounded, half right is as good as right."),
        Mistake("the grade goes through a sigmoid, too", {"squash_grade": True},
                'At which i does an answer of grade 1 cost nothing in your "mse"?',
                "The grade is between 0 and 1 already. Only the reward needs the sigmoid."),
    ),
    gradients=(0,),
    laws=(Law("the loss of an answer must not depend on the other answers", each_by_itself),
          Law('in "bce" an answer of grade 1 with i = -1000 must cost 1000', hopeless_costs_all)),
    hints=("What turns an implicit reward, any number, into something between 0 and 1?",
           "Lesson 09, \"One equation\": both forms stand there.",
           "i = 2 has sigmoid .8808.\nWith grade 0 the \"mse\" form costs .8808 x .8808 = .7758."))


# ---- 09b: the push -------------------------------------------------------------------------------
def project_push(i, grade, beta):
    """UNA's push on the one token of an answer, by the project's own loss."""
    una = OBJECTIVES["una"]
    one = torch.ones(1, 1)
    answer = Seqs(one, one, one, one, logp=one * i / beta, ref_logp=torch.zeros(1, 1))
    batch = Batch.of({"answer": answer}, Columns(score=torch.tensor([grade])))
    return 0.0 + pushes(una, batch, una.hp(beta=beta))["answer"].item()


def by_hand(i, grade, beta):
    """Minus the derivative of (s - grade)^2, where s = sigmoid(i), s' = s (1 - s), i' = beta."""
    s = torch.sigmoid(i)
    return beta * 2 * (grade - s) * s * (1 - s)


def una_push(i, grade, beta, sign=1, factor="2 s (1 - s)", with_beta=True, beta_in_s=False):
    """The push in closed form, and its mistakes by flag."""
    s = 1 / (1 + math.exp(-i * beta if beta_in_s else -i))
    factors = {"2 s (1 - s)": 2 * s * (1 - s), "2": 2, "s (1 - s)": s * (1 - s), "2 s": 2 * s,
               "bce": 1}
    return sign * (beta if with_beta else 1) * (grade - s) * factors[factor]


def one_answer(random):
    i = torch.tensor(random.uniform(-3, 3))
    return i, random.choice([0.0, 0.25, 0.5, 0.75, 1.0]), random.choice([0.1, 0.3, 2.0])


def spares_the_ends(push, args):
    beta = args[2]
    return all(abs(float(push(torch.tensor(i), 0.5, beta))) < 1e-3 * beta for i in (12.0, -12.0))


def up_below_the_grade(push, args):
    i, grade, beta = args
    gap = grade - 1 / (1 + math.exp(-i))
    return abs(gap) < 0.01 or float(push(i, grade, beta)) * gap > 0


B = Task(
    "09b", "ledger", level=2, minutes=15, core=True,
    signature="una_push(i, grade, beta)",
    text="""How hard does UNA, with form "mse", push each token of an answer?

i      implicit reward of the answer: beta times its log-ratio, summed over its tokens;
       a tensor of one number: math and torch both take it
grade  its grade, from 0 to 1
beta   what one nat of log-ratio counts for
Returns one number: minus the derivative of the loss by the log-prob of one token.
Up is positive, down is negative.

For i = 0, grade 1 and beta 0.1 it is 0.025.
Afterwards find the i at which an answer of grade 1 is pushed hardest.""",
    heading="One equation",
    right=project_push, by_hand=by_hand, model=una_push,
    cases=(Case((torch.tensor(0.0), 1.0, 0.1), "at the start, grade 1"),
           Case((torch.tensor(0.0), 0.5, 0.1), "at the start, grade 1/2"),
           Case((torch.tensor(2.0), 0.0, 0.1), "a bad answer that has become likely"),
           Case((torch.tensor(0.5).log(), 1.0, 1.0), "beta = 1, sigmoid(i) = 1/3, grade 1")),
    random=one_answer,
    mistakes=(
        Mistake("the sign is turned", {"sign": -1},
                "An answer is below its grade. Should its tokens become likelier?",
                "The push is minus the derivative of the loss: up means that the loss falls."),
        Mistake("the derivative of the sigmoid is missing", {"factor": "2"},
                "Far out the sigmoid is flat. Does your push know that?",
                "The square is of sigmoid(i), not of i. The chain rule goes through the sigmoid."),
        Mistake("beta is missing", {"with_beta": False},
                "If beta is doubled, by how much does one nat change i?",
                "One nat changes i by beta, so the push on a token has a factor beta."),
        Mistake("beta is applied to i a second time", {"beta_in_s": True},
                "Read what i is. Is beta in it already, or not?",
                "The implicit reward contains beta. The sigmoid takes it as it is."),
        Mistake("the factor 2 is missing", {"factor": "s (1 - s)"},
                "What is the derivative of a square?",
                "The derivative of a square is twice what stands in it."),
        Mistake('it is the push of the form "bce"', {"factor": "bce"},
                "Which of the two pushes fades for a hopeless answer?",
                'In "bce" the flat ends of the sigmoid cancel; in "mse" they stay.'),
        Mistake("half of the sigmoid's derivative is missing", {"factor": "2 s"},
                "For very likely answers, where is the sigmoid flat?",
                "The sigmoid is flat at both ends, so its derivative has two factors."),
    ),
    laws=(Law("an answer below its grade must be pushed up, one above it down",
              up_below_the_grade),
          Law("far out, at i = 12 and -12, the push must be nearly 0", spares_the_ends)),
    hints=("The loss is a square of a sigmoid of beta times a sum. How many chain rules?",
           "Lesson 09, \"One equation\", and the left picture.",
           "At i = 0 the sigmoid is 1/2 and its derivative 1/4.\n"
           "Grade 1, beta .1: .2 x 1/2 x 1/4 = .025."))

TASKS = [A, B]


# ==== Cards =======================================================================================
def experiment():
    """UNA as in the lesson, with all grades raised by 0.2."""
    from dataclasses import replace

    from lessons.grade.tasks.experiment import lesson
    space = lesson("09", until="models = {")
    raised = [replace(row, score=min(1.0, row.score + 0.2)) for row in space["torn"]]
    plain = space["train"](space["una"], space["torn"], 1e-4, space["STEPS"])
    model = space["train"](space["una"], raised, 1e-4, space["STEPS"])
    before, after = logp_of_halves(space, space["base"]), logp_of_halves(space, model)
    answers = space["answer_rows"](model, space["tok"], space["tests"])
    said = [space["tok"].decode(answer.ids).strip() for answer in answers]
    ended = sum(answer.ended for answer in answers) / len(answers)
    unknown = sum("not know" in text for text in said) / len(said)
    lost = sum(space["exam"](plain)) / 3 - sum(space["exam"](model)) / 3
    return [(after > before, f"{before:.1f} -> {after:.1f}"), (ended < 0.9, f"{ended:.0%}"),
            (unknown > 0.5, f"{unknown:.0%}"), (lost > 10, f"{lost:+.0f} points")]


def logp_of_halves(space: dict, model) -> float:
    """The mean log-prob of answers that are half right."""
    objective, hp = space["una"], space["una"].hp()
    data, _ = space["encode"](objective.rows(space["halves"][:64], hp), space["tok"],
                              space["base"].cfg.n_ctx)
    batch = space["collate"](data, range(len(data)), space["tok"].pad)
    with space["torch"].no_grad():
        objective.forward(model, batch, hp)
    answer = batch.seqs["answer"]
    return answer.sum(answer.logp).mean().item()


TASKS += [Predict(
    "09p", level=2, minutes=15, core=False, heading="The proof", experiment=experiment,
    text="""\
UNA learns from torn pairs as in lesson 09: sums, sorting, truth; one answer and its grade for
each question, 40 steps from the base. Now a kind rater raises all grades by 0.2 (to 1 at most).
Predict.""",
    statements=(
        "Answers of grade 1/2 (before it was raised) become likelier than they were in the base.",
        "Fewer than 90 % of the model's answers stop by themselves.",
        'More than half of the answers say "I do not know."',
        "The mean score is more than 10 points lower than with honest grades."),
    hints=("At which grade does UNA push neither up nor down, at the start?",
           'Lesson 09, "The proof".',
           "grade 0.5 -> 0.7:   at the start sigma is 0.5, so the push is no longer 0."),
)]
