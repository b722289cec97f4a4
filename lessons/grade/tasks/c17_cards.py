"""A plan of an experiment for lesson 17."""
from lessons.grade.cards import Plan, Rule
from lessons.grade.task import Mistake

TEMPLATE = '''
# A paper reports the best of twelve checkpoints, picked by the benchmark that it reports.
# Plan the smallest change that makes its lead over SFT worth something.
chosen_on = ""              # split on which the checkpoint is chosen: "train", "val" or "test"
reported_on = ""            # split on which its score is reported
checkpoints = ""            # how many checkpoints the method may choose from
checkpoints_of_control = ""                 # ... and how many SFT may choose from
seeds = ""                  # trainings of each method, from the same seeds
chosen_again_in_each_seed = ""              # true or false: is the choice repeated in every seed?
threshold = ""              # by how many points must the lead exceed 0?
threshold_fixed = ""        # "before" or "after" the test scores are seen
would_change_my_mind = ""   # one sentence: which result would say that the lead is luck?
'''

SPLITS = ("train", "val", "test")
ALLOWED = {"chosen_on": SPLITS, "reported_on": SPLITS, "checkpoints": (2, 1000),
           "checkpoints_of_control": (1, 1000), "seeds": (1, 1000), "threshold": (0.01, 100),
           "threshold_fixed": ("before", "after")}
GOOD = {"chosen_on": "val", "reported_on": "test", "checkpoints": 12, "checkpoints_of_control": 12,
        "seeds": 5,
        "chosen_again_in_each_seed": True, "threshold": 1.0, "threshold_fixed": "before",
        "would_change_my_mind": "The paired interval of the lead on the test split contains 1 "
                                "point."}

TASKS = [Plan(
    "17c", level=3, minutes=30, core=True, heading="The proof", template=TEMPLATE, example=GOOD,
    allowed=ALLOWED,
    text="The best of twelve checkpoints: plan what would make its lead worth something.",
    rules=(
        Rule(Mistake("the checkpoint is chosen and reported on one split", {},
                     "How good is the best of twelve equal models, on the split that chose it?",
                     "The luck of the choice stays on the split that chose."),
             lambda plan: plan["chosen_on"] == plan["reported_on"], {"chosen_on": "test"}),
        Rule(Mistake("the test split makes the choice", {},
                     "Which split must nobody have looked at before the score is reported?",
                     "The test split is read once, at the end."),
             lambda plan: plan["chosen_on"] == "test",
             {"chosen_on": "test", "reported_on": "val"}),
        Rule(Mistake("the choice is made on the training split", {},
                     "What does a checkpoint know of the rows that it has read?",
                     "Training rows know too much."),
             lambda plan: "train" in (plan["chosen_on"], plan["reported_on"]),
             {"chosen_on": "train"}),
        Rule(Mistake("the choice is not repeated in each seed", {},
                     "Which part of the procedure is as lucky in all your seeds?",
                     "A seed repeats the whole procedure, and choosing is part of it."),
             lambda plan: not plan["chosen_again_in_each_seed"],
             {"chosen_again_in_each_seed": False}),
        Rule(Mistake("the control may choose from fewer checkpoints", {},
                     "How many draws has each side in the lottery?",
                     "Equal effort for both sides, or none."),
             lambda plan: plan["checkpoints_of_control"] != plan["checkpoints"],
             {"checkpoints_of_control": 1}),
        Rule(Mistake("the threshold is set after looking", {},
                     "Would the threshold be the same if the lead were half as large?",
                     "A target that is drawn around the arrow is always hit."),
             lambda plan: plan["threshold_fixed"] != "before", {"threshold_fixed": "after"}),
        Rule(Mistake("there are too few seeds for an interval", {},
                     "How wide is the interval of two seeds?", "Two seeds: t is 12.7."),
             lambda plan: plan["seeds"] < 3, {"seeds": 1}),
    ),
    hints=("Which numbers has the reported split seen before it is reported?",
           'Lesson 17, "One seed" and "The proof".',
           "twelve equal models with sd 1:   the best one leads by about 1.6 on its own split, by "
           "0 on another"),
)]
