"""Debug task of lesson 10: demonstrations among graded answers."""
from lessons.grade.debug import Bug, debug
from lessons.grade.task import Case

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


TASKS = [debug(
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
