"""A plan of an experiment for lesson 10."""
from lessons.grade.cards import Plan, Rule
from lessons.grade.task import Mistake

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

# What is measured (of "sum", "sort", "truth", "fact"), and over how many paired seeds?
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


TASKS = [Plan(
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
