"""Tasks of lesson 17."""
import math
import statistics

from lessons.grade.cards import Plan, Rule
from lessons.grade.debug import Bug, debug
from lessons.grade.task import Case, Law, Mistake, Task
from nanouft.eval import stats

# ==== An interval, and a verdict by rule ==========================================================
# ---- 17a: the interval ---------------------------------------------------------------------------
STUDENT = {2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447}


def interval_by_hand(d):
    n = len(d)
    mean = sum(d) / n
    variance = sum((x - mean) ** 2 for x in d) / (n - 1)
    return mean, STUDENT[n - 1] * math.sqrt(variance / n)


def interval(d, t="student", spread="sample", divide="root n", give="half", centre="mean"):
    """Mean and half width of paired differences, and the mistakes by flag."""
    n = len(d)
    sd = {"sample": statistics.stdev(d), "population": statistics.pstdev(d),
          "variance": statistics.variance(d),
          "twice": statistics.stdev(d) * math.sqrt(n / (n - 1))}[spread]
    factor = {"student": STUDENT[n - 1], "normal": 1.96, "n": STUDENT[n],
              "none": 1, "two": 2}[t]
    half = factor * sd / {"root n": math.sqrt(n), "n": n, "one": 1}[divide]
    middle = statistics.median(d) if centre == "median" else sum(d) / n
    if give == "ends":
        return middle - half, middle + half
    return middle, 2 * half if give == "full" else half


def differences(random):
    n = random.choice([3, 4, 5, 6])
    return ([round(random.uniform(-3, 3), 2) for _ in range(n)],)


def a_shift_moves_the_mean(interval, args):
    (mean, half), (more, same) = (interval([x + by for x in args[0]]) for by in (0, 1))
    return abs(more - mean - 1) < 1e-4 and abs(same - half) < 1e-4


def another_unit(interval, args):
    mean, half = interval(args[0])
    percent, width = interval([100 * x for x in args[0]])
    return math.isclose(percent, 100 * mean) and math.isclose(width, 100 * half, rel_tol=1e-3)


A = Task(
    "17a", "implement", level=2, minutes=15, core=True,
    signature="interval(d)",
    text="""The 95 % interval of paired differences: mean and half width.

d  a list of n differences, one for each seed; n is from 3 to 6
You need Student's t by degrees of freedom:
T = {2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447}
Returns (mean, half): the interval goes from mean - half to mean + half.

The differences 1 2 3 2 2 give (2, 0.8778).""",
    heading="One equation",
    right=stats.interval, by_hand=interval_by_hand,
    model=interval,
    cases=(Case(([1.0, 2, 3, 2, 2],), "five seeds"),
           Case(([0.5, -0.5, 1.5],), "three seeds"),
           Case(([0.5, 0.5, 0.5, 2.5],), "four seeds, one of them lucky")),
    random=differences,
    mistakes=(
        Mistake("1.96 is used, not Student's t", {"t": "normal"},
                "Is the spread known, or is it estimated from these few seeds?",
                "With few seeds the spread is a guess, too. For three seeds t is 4.3, not 1.96."),
        Mistake("2 is used, not Student's t", {"t": "two"},
                "For how many seeds is Student's t near 2, and how many have you?",
                "2 is for many seeds. With few seeds the spread is a guess, too: for three 4.3."),
        Mistake("there is no factor t", {"t": "none"},
                "One standard error: how often does the truth lie within it?",
                "One standard error is an interval of 68 %, or less with few seeds. 95 % needs t."),
        Mistake("the degrees of freedom are n, not n - 1", {"t": "n"},
                "One number was used up for the mean. How many are left for the spread?",
                "The mean is made of the same n numbers, so n - 1 degrees of freedom are left."),
        Mistake("the standard deviation is divided by n, not n - 1", {"spread": "population"},
                "Which standard deviation is asked for: of the sample or of the population?",
                "Differences from their own mean are too small, and n - 1 makes up for it."),
        Mistake("the variance stands for the standard deviation", {"spread": "variance"},
                "In which unit is your half width: points or points squared?",
                "The root is missing: a half width has the unit of the differences."),
        Mistake("it is divided by n, not by the root of n", {"divide": "n"},
                "With four times as many seeds, how much narrower is the interval?",
                "Four times as many seeds make the interval half as wide, not a quarter as wide."),
        Mistake("it is divided by the root of n - 1, not of n", {"spread": "twice"},
                "How many seeds are in the mean, and where is n - 1 used already?",
                "n - 1 belongs to the variance and to t. The mean is of n seeds."),
        Mistake("the spread of one seed is given, not that of the mean", {"divide": "one"},
                "Does your interval get narrower with more seeds?",
                "The interval is of the mean: it narrows as seeds are added."),
        Mistake("the two ends of the interval are given", {"give": "ends"},
                "Which of your two numbers is the mean?",
                "An interval is written as mean and half width, or by its ends. Say which."),
        Mistake("the full width is given", {"give": "full"},
                "From where to where does your interval go?",
                "The number after the plus-minus sign is half of the width."),
        Mistake("the median is given, not the mean", {"centre": "median"},
                "One seed was very lucky. How does it change your middle?",
                "Student's t belongs to the mean. A median needs another interval."),
    ),
    laws=(Law("if all differences are 100 times as large, both numbers must be, too",
              another_unit),
          Law("1 more in all seeds must move the mean by 1, and nothing else",
              a_shift_moves_the_mean)),
    hints=("The mean of n seeds is surer than one seed. By which factor?",
           "Lesson 17, \"One equation\".",
           "1 2 3 2 2: the squares around the mean add up to 2, and the root of 2 / 4 is .7071.\n"
           "2.776 x .7071 / root of 5 = .8778."))


# ---- 17b: the verdict ----------------------------------------------------------------------------
def verdict(mean, half, threshold, width="half", unsure="undecided", at="threshold", turned=False,
            touching=False):
    """The verdict by the rule of the project, and the mistakes by flag."""
    threshold = {"threshold": threshold, "zero": 0, "negative": -threshold}[at]
    half = {"half": half, "none": 0, "half of it": half / 2}[width]
    names = {"above": "holds", "below": "does not hold", "unsure": unsure}
    if turned:
        names["above"], names["below"] = names["below"], names["above"]
    if mean - half > threshold or touching and mean - half == threshold:
        return names["above"]
    if touching and mean + half == threshold:
        return names["below"]
    return names["below"] if mean + half < threshold else names["unsure"]


def estimate(random):
    threshold = random.choice([0.0, 0.0, -2.0, 2.0])
    near = random.choice([threshold, threshold, 0.0, -threshold])
    if random.random() < 0.2:                       # it touches
        return threshold + random.choice([0.5, -0.5]), 0.5, threshold
    return near + random.uniform(-1.2, 1.2), random.uniform(0.5, 1), threshold


def signs_turn_the_verdict(verdict, args):
    mean, half, threshold = args
    other = {"holds": "does not hold", "does not hold": "holds"}
    one = verdict(mean, half, threshold)
    return verdict(-mean, half, -threshold) == other.get(one, one)


def a_lower_threshold_is_easier(verdict, args):
    mean, half, threshold = args
    order = ["does not hold", "undecided", "holds"]
    later, now = (order.index(verdict(mean, half, t)) for t in (threshold - 20, threshold))
    return later == 2 and now <= later


B = Task(
    "17b", "implement", level=1, minutes=10, core=False,
    signature="verdict(mean, half, threshold)",
    text="""A verdict by a rule that was fixed before anybody looked.

mean, half  an estimate and the half width of its interval
threshold   what the claim says: the true number is above it
Returns a text:
"holds"          if the whole interval lies above the threshold
"does not hold"  if the whole interval lies below it
"undecided"      otherwise, also if the interval only touches the threshold

.4 +- .6 against the threshold 0 is undecided.""",
    heading="One equation",
    right=stats.verdict, model=verdict,
    cases=(Case((0.4, 0.6, 0), ".4 +- .6 against 0"), Case((0.9, 0.6, 0), ".9 +- .6 against 0"),
           Case((-1.4, 0.5, 0), "-1.4 +- .5 against 0"),
           Case((-1.4, 0.5, -2), "-1.4 +- .5 against -2"),
           Case((-1.8, 0.5, -2), "-1.8 +- .5 against -2"),
           Case((-0.4, 0.6, 0), "-.4 +- .6 against 0"),
           Case((-1.0, 0.5, 2), "-1 +- .5 against 2"),
           Case((0.5, 0.5, 0), ".5 +- .5 against 0")),
    random=estimate,
    mistakes=(
        Mistake("the mean alone decides", {"width": "none"},
                "Where is the interval in your function?",
                "The mean of a few seeds is partly luck. The interval says how much of it."),
        Mistake('"undecided" counts as "does not hold"', {"unsure": "does not hold"},
                "Is it the same to know that nothing is there, and not to know?",
                "Undecided means: these runs cannot tell. More seeds may."),
        Mistake('"undecided" counts as "holds"', {"unsure": "holds"},
                "What have these runs shown if the interval contains the threshold?",
                "If the interval contains the threshold, these runs have not shown the claim."),
        Mistake("the threshold is taken for 0", {"at": "zero"},
                "What does -1.4 +- .5 say if one may lose up to two points?",
                'The threshold of "not inferior" is below 0: being a little worse is allowed.'),
        Mistake("an interval that only touches the threshold decides", {"touching": True},
                ".5 +- .5: which numbers does the interval contain, and is the threshold one?",
                "Above is not at. An interval that contains the threshold decides nothing."),
        Mistake("the sign of the threshold is turned", {"at": "negative"},
                "On which side of 0 is a threshold of -2?",
                "Compare with the threshold as it stands. Its sign is part of the claim."),
        Mistake("the half width is halved again", {"width": "half of it"},
                "From where to where does the interval go?",
                "The number after the plus-minus sign is half of the width already."),
        Mistake('"holds" and "does not hold" are exchanged', {"turned": True},
                "On which side of the threshold should the number be, if the claim is true?",
                "The claim says: above the threshold."),
    ),
    laws=(Law("a claim with a threshold far below the interval must hold",
              a_lower_threshold_is_easier),
          Law("with all signs turned, holds and does not hold must change places",
              signs_turn_the_verdict)),
    hints=("Which end of the interval must you look at, to say that a claim holds?",
           "Lesson 17, \"One equation\": the three points below it.",
           ".4 +- .6 goes from -.2 to 1: 0 lies inside.\n"
           ".9 +- .6 goes from .3 to 1.5: all of it is above 0."))

TASKS = [A, B]


# ==== A program with a bug: two recipes are compared over seeds ===================================
PROGRAM = '''
import math

T95 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776}         # Student's t by degrees of freedom


def mean(numbers):
    return sum(numbers) / len(numbers)


def interval(d):
    """(mean, half of the width of the 95 % interval) of the differences d."""
    n = len(d)
    m = mean(d)
    variance = sum((x - m) ** 2 for x in d) / (n - 1)
    return m, T95[n - 1] * math.sqrt(variance / n)


def best_checkpoint(run):
    """The number of the checkpoint with the best mean score on validation."""
    scores = [mean(prompts) for prompts in run["validation"]]
    return scores.index(max(scores))


def test_score(run):
    """The mean test score of the checkpoint that validation chose."""
    return mean(run["test"][best_checkpoint(run)])


def compare(runs_a, runs_b):
    """How much better is recipe a than recipe b? -> (mean, half width), over seeds.

    runs_a[i] and runs_b[i] were trained with the same seed. A run is
    {"validation": [scores of each prompt, for each checkpoint], "test": the same}.
    """
    a = [test_score(run) for run in runs_a]
    b = [test_score(run) for run in runs_b]
    return interval([x - y for x, y in zip(a, b)])
'''


def run(*checkpoints):
    """A checkpoint: (scores on validation, scores on test)."""
    return {"validation": [v for v, _ in checkpoints], "test": [t for _, t in checkpoints]}


def one(validation, test):
    return ([validation, validation], [test, test])


RUNS_A = [run(one(.5, .5), one(.9, .8)), run(one(.6, .4), one(.4, .9)),
          run(one(.7, .6), one(.8, .5))]
RUNS_B = [run(one(.6, .7), one(.5, .9)), run(one(.4, .5), one(.3, .3)),
          run(one(.5, .4), one(.9, .2))]


def random_runs(draw):
    seeds = draw.randint(3, 5)

    def scores():
        return [draw.random() for _ in range(3)]
    return tuple([run(*[(scores(), scores()) for _ in range(3)]) for _ in range(seeds)]
                 for _ in "ab")


TASKS += [debug(
    "17d", level=2, minutes=20, core=True, heading="One equation",
    signature="compare(runs_a, runs_b)", program=PROGRAM, random=random_runs,
    text="""\
Two recipes are compared: the mean difference and its 95 % interval over seeds. One bug is
planted. Repair it.

Each seed has one run of a and one run of b. Each run has some checkpoints. Validation chooses the
checkpoint, test reports it. The seeds are paired.""",
    cases=(
        Case((RUNS_A[:2], RUNS_B[:2]), "two seeds: mean, half width"),
        Case((RUNS_A, RUNS_B), "three seeds"),
        Case((RUNS_B, RUNS_A), "three seeds, recipes exchanged"),
    ),
    log=("runs of one seed are compared, the mean difference is the same, the interval is too "
         "narrow",
         "the mean difference has another sign",
         "the mean difference is the same, the interval is another one because runs of other "
         "seeds are compared with each other",
         "all scores are higher than a fresh test would give",
         "all scores are lower than those of the last checkpoint",
         "the interval cannot be computed"),
    bugs=(
        Bug("the checkpoint is chosen on the test split", 'for prompts in run["validation"]',
            'for prompts in run["test"]', "d",
            "Which split has seen the checkpoints before the number is reported?",
            "The best of twelve lucky draws is lucky. Choose on one split, report on another."),
        Bug("the seeds are not paired any more", "zip(a, b)", "zip(sorted(a), sorted(b))", "c",
            "Which run of b is compared with the first run of a?",
            "Pairs are runs with the same seed, in whatever order they come."),
        Bug("1.96 stands for Student's t", "T95[n - 1] *", "1.96 *", "a",
            "How sure is a spread that three numbers tell?",
            "Few seeds need Student's t: with three of them 4.3, not 1.96."),
        Bug("the spread is divided by n", "/ (n - 1)", "/ n", "a",
            "The mean was computed from the same numbers. How many of them are still free?",
            "n numbers around their own mean have n - 1 degrees of freedom."),
        Bug("the difference is b minus a", "x - y", "y - x", "b",
            "What should the sign say about recipe a?",
            "Say first what a positive number means."),
        Bug("the spread is taken for the error of the mean", "math.sqrt(variance / n)",
            "math.sqrt(variance) / n", "a",
            "With four times as many seeds, how much narrower should the interval be?",
            "The error of a mean falls with the root of n."),
    ),
    hints=("Compute the two test scores of the first seed by hand.",
           'Lesson 17: what is paired, and what is chosen on which split.',
           "first seed:   a is reported by its second checkpoint (.8), b by its first one (.7)"),
)]


# ==== A plan of an experiment =====================================================================
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

TASKS += [Plan(
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
