"""Debug task of lesson 17: two recipes are compared over seeds."""
from lessons.grade.debug import Bug, debug
from lessons.grade.task import Case

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


A = [run(one(.5, .5), one(.9, .8)), run(one(.6, .4), one(.4, .9)), run(one(.7, .6), one(.8, .5))]
B = [run(one(.6, .7), one(.5, .9)), run(one(.4, .5), one(.3, .3)), run(one(.5, .4), one(.9, .2))]


def random_runs(draw):
    seeds = draw.randint(3, 5)

    def scores():
        return [draw.random() for _ in range(3)]
    return tuple([run(*[(scores(), scores()) for _ in range(3)]) for _ in range(seeds)]
                 for _ in "ab")


TASKS = [debug(
    "17d", level=2, minutes=20, core=True, heading="One equation",
    signature="compare(runs_a, runs_b)", program=PROGRAM, random=random_runs,
    text="""\
Two recipes are compared: the mean difference and its 95 % interval over seeds. One bug is
planted. Repair it.

Each seed has one run of a and one run of b. Each run has some checkpoints. Validation chooses the
checkpoint, test reports it. The seeds are paired.""",
    cases=(
        Case((A[:2], B[:2]), "two seeds: mean, half width"),
        Case((A, B), "three seeds"),
        Case((B, A), "three seeds, recipes exchanged"),
    ),
    log=("the mean difference is the same, the interval is too narrow",
         "the mean difference has another sign",
         "the mean difference is the same, the interval is another one because other runs are "
         "compared",
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
