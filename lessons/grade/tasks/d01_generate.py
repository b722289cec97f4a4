"""Debug task of lesson 01: the loop that makes a model talk."""
from lessons.grade.debug import Bug, debug
from lessons.grade.task import Case

PROGRAM = '''
def likeliest(scores):
    """The number of the largest score."""
    return max(range(len(scores)), key=lambda token: scores[token])


def generate(step, start, end, max_new):
    """The answer of a model: at most max_new tokens, without `end`.

    step    step(ids) -> a score for each token that could come next
    start   the tokens of the prompt
    """
    ids = list(start)
    answer = []
    for _ in range(max_new):
        token = likeliest(step(ids))
        if token == end:
            break
        answer.append(token)
        ids.append(token)
    return answer
'''


def sums(n: int):
    """A model of n tokens: the next token is the sum of all tokens so far, modulo n."""
    def step(ids):
        return [float(token == sum(ids) % n) for token in range(n)]
    return step


def random_prompt(draw):
    n = draw.randint(5, 9)
    start = [draw.randrange(n) for _ in range(draw.randint(2, 4))]
    return sums(n), start, draw.randrange(n), draw.randint(3, 6)


TASKS = [debug(
    "01c", level=2, minutes=10, core=False, heading="The loop that teaches it",
    signature="generate(step, start, end, max_new)", program=PROGRAM, random=random_prompt,
    text="""\
A model talks: it names a token, reads it, names the next one. One bug is planted. Repair it.

The model of the tests is a joke: its next token is the sum of all tokens so far, modulo 5. After
1 2 it says 3, then 6 modulo 5 = 1, then 2 ... With end = 2 the answer is 3 1.""",
    cases=(
        Case((sums(5), [1, 2], 4, 2), "start 1 2, end 4, at most 2"),
        Case((sums(5), [1, 2], 4, 6), "start 1 2, end 4, at most 6"),
        Case((sums(5), [1, 2], 2, 6), "start 1 2, end 2, at most 6"),
        Case((sums(7), [3, 3, 2], 1, 4), "seven tokens, start 3 3 2, end 1"),
    ),
    log=("the training loss is higher", "the training loss is lower",
         "the training loss is the same, answers have more tokens than they should",
         "the training loss is the same, answers lose the thread after a token or two",
         "the training loss is not a number",
         "the training loss is the same, answers are never the likeliest words"),
    bugs=(
        Bug("only the last token is read", "likeliest(step(ids))", "likeliest(step(ids[-1:]))", "d",
            "What does the model know of the prompt when it names its second word?",
            "A model has no memory but its input: all tokens so far."),
        Bug("only the prompt is read", "likeliest(step(ids))", "likeliest(step(start))", "d",
            "How does the model learn what it has just said?",
            "What is said must become part of the input."),
        Bug("the end token is kept in the answer",
            "            break\n        answer.append(token)",
            "            answer.append(token)\n            break\n        answer.append(token)",
            "c",
            "Is the end token a word for the reader?",
            "The end token is for the loop, not for the reader."),
        Bug("the end token stops nothing", "            break\n", "            pass\n", "c",
            "What should the loop do when the model says that it is done?",
            "A loop that ignores the end talks until max_new."),
        Bug("the answer may be one token too long", "range(max_new)", "range(max_new + 1)", "c",
            "How many times does the loop run if max_new is 1?",
            "Count the passes of the loop for max_new = 1."),
        Bug("the least likely token is taken", "    return max(", "    return min(", "f",
            "Which of the scores does the loop follow?",
            "Training never calls this loop. Only reading answers shows its bugs."),
        Bug("a token is named twice as input", "        ids.append(token)",
            "        ids += [token, token]", "d",
            "After two new words, how many tokens are in ids?",
            "The input must be exactly what was said, once."),
    ),
    hints=("Follow the second pass of the loop by hand. What is in ids?",
           "Lesson 01: the causal model, and how it talks.",
           "start 1 2, end 4:   3, 1, 2   then 9 modulo 5 = 4: the end.\nSo the answer is 3 1 2."),
)]
