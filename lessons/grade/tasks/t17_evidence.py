"""Exercises of lesson 17: an interval, and a verdict by rule."""
import math
import statistics

from lessons.grade.task import Case, Law, Mistake, Task
from nanouft.look import stats

# ---- 17a: the interval ---------------------------------------------------------------------------
STUDENT = {2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447}


def interval(d, t="student", spread="sample", divide="root n", give="half", centre="mean"):
    """Mean and half width of paired differences, and the mistakes by flag."""
    n = len(d)
    sd = {"sample": statistics.stdev(d), "population": statistics.pstdev(d),
          "variance": statistics.variance(d)}[spread]
    factor = {"student": STUDENT[n - 1], "normal": 1.96, "n": STUDENT[n]}[t]
    half = factor * sd / {"root n": math.sqrt(n), "n": n, "one": 1}[divide]
    middle = statistics.median(d) if centre == "median" else sum(d) / n
    if give == "ends":
        return middle - half, middle + half
    return middle, 2 * half if give == "full" else half


def differences(random):
    n = random.choice([3, 4, 5, 6])
    return ([round(random.uniform(-3, 3), 2) for _ in range(n)],)


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
    right=stats.interval, model=interval,
    cases=(Case(([1.0, 2, 3, 2, 2],), "five seeds"),
           Case(([0.5, -0.5, 1.5],), "three seeds"),
           Case(([0.5, 0.5, 0.5, 2.5],), "four seeds, one of them lucky")),
    random=differences,
    mistakes=(
        Mistake("1.96 is used, not Student's t", {"t": "normal"},
                "Is the spread known, or is it estimated from these few seeds?",
                "With few seeds the spread is a guess, too. For three seeds t is 4.3, not 1.96."),
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
              another_unit),),
    hints=("The mean of n seeds is surer than one seed. By which factor?",
           "Lesson 17, \"One equation\".",
           "1 2 3 2 2: the squares around the mean add up to 2, and the root of 2 / 4 is .7071.\n"
           "2.776 x .7071 / root of 5 = .8778."))


# ---- 17b: the verdict ----------------------------------------------------------------------------
def verdict(mean, half, threshold, width="half", unsure="undecided", at="threshold", turned=False):
    """The verdict by the rule of the project, and the mistakes by flag."""
    threshold = {"threshold": threshold, "zero": 0, "negative": -threshold}[at]
    half = {"half": half, "none": 0, "half of it": half / 2}[width]
    names = {"above": "holds", "below": "does not hold", "unsure": unsure}
    if turned:
        names["above"], names["below"] = names["below"], names["above"]
    if mean - half > threshold:
        return names["above"]
    return names["below"] if mean + half < threshold else names["unsure"]


def estimate(random):
    threshold = random.choice([0.0, 0.0, -2.0, 2.0])
    near = random.choice([threshold, threshold, 0.0, -threshold])
    return near + random.uniform(-1.2, 1.2), random.uniform(0.5, 1), threshold


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
"undecided"      otherwise

.4 +- .6 against the threshold 0 is undecided.""",
    heading="One equation",
    right=stats.verdict, model=verdict,
    cases=(Case((0.4, 0.6, 0), ".4 +- .6 against 0"), Case((0.9, 0.6, 0), ".9 +- .6 against 0"),
           Case((-1.4, 0.5, 0), "-1.4 +- .5 against 0"),
           Case((-1.4, 0.5, -2), "-1.4 +- .5 against -2"),
           Case((-1.8, 0.5, -2), "-1.8 +- .5 against -2"),
           Case((-0.4, 0.6, 0), "-.4 +- .6 against 0"),
           Case((-1.0, 0.5, 2), "-1 +- .5 against 2")),
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
              a_lower_threshold_is_easier),),
    hints=("Which end of the interval must you look at, to say that a claim holds?",
           "Lesson 17, \"One equation\": the three points below it.",
           ".4 +- .6 goes from -.2 to 1: 0 lies inside.\n"
           ".9 +- .6 goes from .3 to 1.5: all of it is above 0."))

TASKS = [A, B]
