"""Tasks of lesson 10."""
import math

import torch

from lessons.grade.cards import Plan, Rule
from lessons.grade.debug import Bug, debug
from lessons.grade.task import Case, Law, Mistake, Task
from nanouft.objective import Batch, Columns, Seqs, pushes
from nanouft.objectives import OBJECTIVES


# ==== UFT, demonstrations and grades in one loss ==================================================
# ---- 10b: the push on a demonstration ------------------------------------------------------------
def project_push(i, beta):
    """UFT's push on the one token of a demonstration, by the project's own loss."""
    uft = OBJECTIVES["uft"]
    one = torch.ones(1, 1)
    answer = Seqs(one, one, one, one, logp=torch.full((1, 1), i / beta), ref_logp=torch.zeros(1, 1))
    batch = Batch.of({"answer": answer}, Columns(score=torch.ones(1)))
    return pushes(uft, batch, uft.hp(beta=beta))["answer"].item()


def by_hand(i, beta):
    """Minus the derivative of (s - 1)^2, where s = sigmoid(i), s' = s (1 - s), i' = beta."""
    s = 1 / (1 + math.exp(-i))
    return beta * 2 * (1 - s) * s * (1 - s)


def uft_push(i, beta, sign=1, with_beta=True, factor="2 s (1 - s)^2", beta_in_s=False):
    """The push in closed form, and its mistakes by flag."""
    s = 1 / (1 + math.exp(-i * beta if beta_in_s else -i))
    factors = {
        "2 s (1 - s)^2": 2 * s * (1 - s) ** 2,
        "s (1 - s)^2": s * (1 - s) ** 2,
        "2 s (1 - s)": 2 * s * (1 - s),
        "2 (1 - s)^2": 2 * (1 - s) ** 2,
        "2 s^2 (1 - s)": 2 * s ** 2 * (1 - s),
        "2 (1 - s)": 2 * (1 - s),
        "bce": 1 - s,
    }
    return sign * (beta if with_beta else 1) * factors[factor]


def one_demonstration(random):
    return random.uniform(-3, 3), random.choice([0.01, 0.1, 0.5, 2.0])


def always_up(push, args):
    return float(push(*args)) > 0


def spares_the_hopeless(push, args):
    beta = args[1]
    return abs(float(push(-12.0, beta))) < 1e-3 * beta


TASKS = [Task(
    "10b", "ledger", level=2, minutes=10, core=False,
    signature="uft_push(i, beta)",
    text="""How hard does UFT, with form "mse", push each token of a demonstration?

A demonstration is an answer of grade 1.
i     its implicit reward: beta times its log-ratio, summed over its tokens
beta  what one nat of log-ratio counts for
Returns one number: minus the derivative of the loss by the log-prob of one token.
Up is positive, down is negative.

At the start, i = 0, with beta 0.01 it is 0.0025.
Afterwards find the sigmoid(i) at which the push is largest.""",
    heading="One equation",
    right=project_push, by_hand=by_hand,
    model=uft_push,
    cases=(Case((0.0, 0.01), "at the start, beta = .01"),
           Case((2.0, 0.1), "half learnt, beta = .1"),
           Case((-math.log(2), 1.0), "sigmoid(i) = 1/3, beta = 1")),
    random=one_demonstration,
    mistakes=(
        Mistake("one of the two factors 1 - s is missing", {"factor": "2 s (1 - s)"},
                "One factor comes from the square. Where does the other one come from?",
                "One 1 - s is the distance to grade 1, the other belongs to the sigmoid."),
        Mistake("beta is missing", {"with_beta": False},
                "If beta is doubled, by how much does one nat change i?",
                "One nat changes i by beta, so the push has a factor beta."),
        Mistake("beta is applied to i a second time", {"beta_in_s": True},
                "Read what i is. Is beta in it already, or not?",
                "The implicit reward contains beta. The sigmoid takes it as it is."),
        Mistake("the sign is that of the loss's derivative", {"sign": -1},
                "Should a demonstration become likelier or less likely?",
                "The push is minus the derivative: a demonstration is always pushed up."),
        Mistake("the factor s is missing", {"factor": "2 (1 - s)^2"},
                "How hard is a hopeless demonstration pushed, far to the left in the picture?",
                "The sigmoid is flat on the left, too: a hopeless demonstration gets no push."),
        Mistake('it is the push of the form "bce"', {"factor": "bce"},
                "What does your push do for a hopeless demonstration, far to the left?",
                'In "bce" the flat ends of the sigmoid cancel. In "mse" they stay.'),
        Mistake("s is squared in place of 1 - s", {"factor": "2 s^2 (1 - s)"},
                "At which side of i = 0 is your push larger, and at which side should it be?",
                "The distance to grade 1 is 1 - s, so it is 1 - s that comes twice."),
        Mistake("the factor 2 is missing", {"factor": "s (1 - s)^2"},
                "What is the derivative of a square?",
                "The derivative of a square is twice what stands in it."),
        Mistake("the derivative of the sigmoid is missing", {"factor": "2 (1 - s)"},
                "Far out the sigmoid is flat. Does your push know that?",
                "The square is of sigmoid(i), so the chain rule goes through the sigmoid."),
    ),
    laws=(Law("a demonstration must always be pushed up", always_up),
          Law("a hopeless demonstration, i = -12, must hardly be pushed", spares_the_hopeless)),
    hints=("UFT is UNA with one grade for all demonstrations. Which grade?",
           "Lesson 10, \"One equation\", and the left picture.",
           "At i = 0 the distance to grade 1 is 1/2 and the sigmoid's derivative 1/4.\n"
           "With beta .01: .02 x 1/2 x 1/4 = .0025."))]


# ==== A program with a bug: demonstrations among graded answers ===================================
PROGRAM = '''
BEST = 1.0


def grade(row):
    """The grade of a row. A demonstration has none, and is as good as an answer can be."""
    score = row.get("score")
    if score is None:
        score = BEST
    return score


def merge(rows):
    """The grades of all rows, in their order. A row is a dict; a demonstration has no "score"."""
    scores = []
    for row in rows:
        scores.append(grade(row))
    return scores
'''


def rows_of(*scores):
    """None: a demonstration."""
    return [{"prompt": "?", "response": "!"} | ({} if s is None else {"score": s}) for s in scores]


def random_rows(draw):
    scores = [draw.choice([None, 0.0, 0.3, 0.5, 0.7, 1.0]) for _ in range(draw.randint(4, 8))]
    return (rows_of(*scores, None, 0.0, 0.3),)


TASKS += [debug(
    "10a", level=1, minutes=10, core=True, heading="One equation",
    signature="merge(rows)", program=PROGRAM, random=random_rows,
    text="""\
UFT learns from demonstrations and from graded answers at once. A demonstration becomes an answer
with the best grade, 1. One bug is planted. Repair it.

Example: no score, 0, 0.3, 1 -> 1, 0, 0.3, 1.""",
    cases=(
        Case((rows_of(1.0, 0.3),), "grades 1 and 0.3"),
        Case((rows_of(0.0),), "grade 0"),
        Case((rows_of(None),), "a demonstration"),
        Case((rows_of(None, 0.0, 0.3, 1.0),), "a demonstration, then grades 0, 0.3, 1"),
    ),
    log=("the loss rises",
         "the loss falls; demonstrated answers become less likely than at the start",
         "the loss falls; demonstrated answers are learnt, but bad answers are imitated, too",
         "the loss falls; demonstrated answers are as likely as if there were no demonstrations",
         "the loss falls; no answer of grade 0.3 is told from one of grade 0",
         "the loss is not a number"),
    bugs=(
        Bug("a demonstration gets grade 0", "BEST = 1.0", "BEST = 0.0", "b",
            "What does UNA do with an answer of grade 0?", "Grade 0 means: say this less often."),
        Bug("a demonstration gets grade 1/2", "BEST = 1.0", "BEST = 0.5", "d",
            "What does an answer of grade 1/2 teach at the start?",
            "Grade 1/2 means: stay where you are."),
        Bug("demonstrations are dropped", "        scores.append(grade(row))",
            '        if "score" in row:\n            scores.append(grade(row))', "d",
            "How many grades come back for four rows?",
            "Count the rows before and after every step of the data."),
        Bug("grade 0 is taken for no grade", "    if score is None:", "    if not score:", "c",
            "What does Python say about `not 0.0`?",
            "0 and None are both false. Ask `is None` if you mean None."),
        Bug("grades are rounded to good and bad", "    return score\n",
            "    return float(score > 0.5)\n", "e",
            "Is the grade of the second answer still what it was?",
            "A number says by how much; a label does not."),
    ),
    hints=("Which row comes out with another grade than it came in with?",
           "Lesson 10, the first paragraph: which grade is a demonstration worth?",
           "no score, 0   ->   1, 0"),
)]


# ==== A plan of an experiment =====================================================================
TEMPLATE = '''
# The four rows of the lesson. Each has 24 steps on what it reads.
#   SFT             demonstrations, from the base
#   SFT then UNA    grades (UNA, learning rate 1e-4), from the SFT model, also the reference
#   UFT             demonstrations and grades shuffled (UFT, learning rate 2.5e-4), from the base
#   grades only     grades (UNA, learning rate 1e-4), from the base
# Which two rows differ in ONE thing, and in which? (start, demonstrations, order, learning rate)
first = ""
second = ""
thing = ""

# "Merging teaches more truth" needs two more rows beside UFT. Both use UFT's loss.
# Row A has the same rows in another order. Row B has no demonstrations.
a_start = ""                # "base" or "SFT"
a_order = ""                # "together" or "one after the other"
a_demonstration_steps = ""
a_grade_steps = ""
a_learning_rate = ""
b_start = ""
b_demonstration_steps = ""
b_grade_steps = ""
b_learning_rate = ""

# What is measured (of "sum", "sort", "truth", "fact": what should grow, and what should stay), and
# over how many paired seeds?
measured = []
seeds = ""
claim = ""                  # one sentence: which row must beat which other, and by how much
'''

ROWS = ("SFT", "SFT then UNA", "UFT", "grades only")
STARTS = ("base", "SFT")
ALLOWED = {"first": ROWS, "second": ROWS, "thing": ("start", "demonstrations", "order",
                                                    "learning rate"),
           "a_start": STARTS, "b_start": STARTS, "a_order": ("together", "one after the other"),
           "a_learning_rate": (1e-7, 1), "b_learning_rate": (1e-7, 1), "seeds": (1, 1000),
           "measured": ("sum", "sort", "truth", "fact")}
ALLOWED |= dict.fromkeys(("a_demonstration_steps", "a_grade_steps", "b_demonstration_steps",
                          "b_grade_steps"), (0, 10_000))
GOOD = {"first": "SFT then UNA", "second": "grades only", "thing": "start",
        "a_start": "base", "a_order": "one after the other", "a_demonstration_steps": 24,
        "a_grade_steps": 24, "a_learning_rate": 2.5e-4, "b_start": "base",
        "b_demonstration_steps": 0, "b_grade_steps": 24,
        "b_learning_rate": 2.5e-4, "measured": ["truth", "fact", "sum", "sort"], "seeds": 8,
        "claim": "UFT beats A and B in truth by more than the half width of the paired 95 % "
                 "interval."}


def two_rows(plan: dict) -> bool:
    rows = {plan["first"], plan["second"]}
    return rows != {"SFT then UNA", "grades only"} or plan["thing"] != "start"


def no_control(plan: dict) -> bool:
    """Row B must see the grades of UFT and nothing else; row A the same rows, not merged."""
    b_has_more = plan["b_demonstration_steps"] != 0 or plan["b_grade_steps"] == 0
    return b_has_more or plan["a_order"] == "together"


def more_steps(plan: dict) -> bool:
    steps = {plan["a_demonstration_steps"], plan["a_grade_steps"], plan["b_grade_steps"]}
    return steps != {24}


TASKS += [Plan(
    "10c", level=3, minutes=30, core=True, heading="The proof", template=TEMPLATE, example=GOOD,
    allowed=ALLOWED,
    text="Plan the experiment that would show whether merging two stages teaches more truth.",
    rules=(
        Rule(Mistake("two rows that differ in more than one thing are compared", {},
                     "UFT and SFT then UNA: name everything that differs. Is it one thing?",
                     "Two things differ between the rows, so the result has two explanations."),
             two_rows, {"first": "UFT", "thing": "order"}),
        Rule(Mistake("there is no control with the same grades", {},
                     "If UFT knows more truth: from merging, or from the grades?",
                     "The control gets everything but the thing that is tested."),
             no_control, {"b_demonstration_steps": 24}),
        Rule(Mistake("a row has more steps than another", {},
                     "How many steps on grades has each row?",
                     "More steps are another explanation."),
             more_steps, {"b_grade_steps": 48}),
        Rule(Mistake("another start model is used", {},
                     "From which model does UFT start, and from which do your rows?",
                     "The start model is also the reference: it must be the same in all rows."),
             lambda plan: {plan["a_start"], plan["b_start"]} != {"base"}, {"a_start": "SFT"}),
        Rule(Mistake("the learning rate differs, too", {},
                     "With which learning rate does UFT train?",
                     "A rate that nobody wanted to test is tested, too."),
             lambda plan: {plan["a_learning_rate"], plan["b_learning_rate"]} != {2.5e-4},
             {"b_learning_rate": 1e-4}),
        Rule(Mistake("the bystander is not measured", {},
                     "Which family did nobody train on, and what may have happened to it?",
                     "Measure what should stay, not only what should grow."),
             lambda plan: not {"truth", "fact"} <= set(plan["measured"]), {"measured": ["truth"]}),
        Rule(Mistake("the claim rests on one or two seeds", {},
                     "How large is the interval of one seed?", "One seed has no interval."),
             lambda plan: plan["seeds"] < 3, {"seeds": 1}),
    ),
    hints=("Write all four rows as a table: start, rows, order, learning rate.",
           'Lesson 10, "Live".',
           "SFT against SFT then UNA:   the second one has read more rows. That is not order."),
)]
