"""A plan of an experiment for lesson 13."""
from lessons.grade.cards import Plan, Rule
from lessons.grade.task import Mistake

TEMPLATE = '''
# How many of the sixty pairs are about ... (the names of these creatures exist, or they do not)
unknown_names = ""          # questions about creatures that do not exist
known_names = ""            # questions about creatures that do exist
sums_and_sorting = ""       # questions whose answer can be computed

# In how many of the sixty is "I do not know." the chosen answer, in how many the rejected one?
chosen_says_it = ""
rejected_says_it = ""

prompts_from = ""           # "train", "val" or "test"
measured_by = ""            # "accuracy of the reward model on pairs" or "exact score of best-of-64"
measured_on = ""            # "train", "val" or "test"
'''

SPLITS = ("train", "val", "test")
MEASURES = ("accuracy of the reward model on pairs", "exact score of best-of-64")
ALLOWED = dict.fromkeys(("unknown_names", "known_names", "sums_and_sorting", "chosen_says_it",
                         "rejected_says_it"), (0, 60)) | {
    "prompts_from": SPLITS, "measured_by": MEASURES, "measured_on": SPLITS}
GOOD = {"unknown_names": 20, "known_names": 30, "sums_and_sorting": 10, "chosen_says_it": 20,
        "rejected_says_it": 40, "prompts_from": "train",
        "measured_by": "exact score of best-of-64", "measured_on": "val"}


def total(plan: dict) -> int:
    return plan["unknown_names"] + plan["known_names"] + plan["sums_and_sorting"]


TASKS = [Plan(
    "13c", level=3, minutes=25, core=False, heading="Live", template=TEMPLATE, example=GOOD,
    allowed=ALLOWED,
    text="""\
Lesson 13's reward model has a hole: best-of-64 finds that "I do not know." earns much, also where
the answer is known. You may write sixty more pairs. Which?""",
    rules=(
        Rule(Mistake("the pairs are about unknown names only", {},
                     "Where is the sentence right, and where is it the hole?",
                     "The hole is where the answer is known. Pairs must stand there, too."),
             lambda plan: plan["known_names"] + plan["sums_and_sorting"] == 0,
             {"unknown_names": 60, "known_names": 0, "sums_and_sorting": 0, "chosen_says_it": 30,
              "rejected_says_it": 30}),
        Rule(Mistake("the sentence never loses", {},
                     "From which pair could the reward model learn that the sentence can be wrong?",
                     "What always wins in the pairs always wins in the search."),
             lambda plan: plan["rejected_says_it"] == 0,
             {"rejected_says_it": 0, "chosen_says_it": 60}),
        Rule(Mistake("the sentence always loses", {},
                     "What will the model say about a creature that does not exist?",
                     "A hole that is closed too hard opens another: invented answers."),
             lambda plan: plan["chosen_says_it"] == 0,
             {"chosen_says_it": 0, "rejected_says_it": 60}),
        Rule(Mistake("all known questions are of one family", {},
                     "Does the reward model know that a sum is like a question about a creature?",
                     "A lesson about one family need not reach another."),
             lambda plan: (plan["known_names"] == 0) != (plan["sums_and_sorting"] == 0),
             {"known_names": 40, "sums_and_sorting": 0}),
        Rule(Mistake("there are not sixty pairs", {}, "How many pairs are there in all?",
                     "The budget is part of the task."),
             lambda plan: total(plan) != 60
             or plan["chosen_says_it"] + plan["rejected_says_it"] > 60,
             {"known_names": 50}),
        Rule(Mistake("the prompts of the measurement are used for training", {},
                     "Which questions should the model meet for the first time when you measure?",
                     "Whoever trains on the test has measured memory."),
             lambda plan: plan["prompts_from"] != "train" or plan["measured_on"] == "train",
             {"prompts_from": "test", "measured_on": "test"}),
        Rule(Mistake("accuracy on pairs is measured, not what the search finds", {},
                     "Which number looked fine while the hole was there?",
                     "A reward is judged by what it does when it is optimised."),
             lambda plan: plan["measured_by"] == MEASURES[0],
             {"measured_by": "accuracy of the reward model on pairs"}),
    ),
    hints=("Where is the sentence the right answer, and where does it only pay?",
           'Lesson 13, "Live".',
           "one pair:   What is 3 plus 4?   chosen: 7   rejected: I do not know."),
)]
