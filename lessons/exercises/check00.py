"""What the functions of ex00.py must do."""
from lessons.check import same, shaped
from nanouft.world.facts import WORDS

FRUITS, FORBIDDEN = WORDS["fruit"], ("fig", "lime", "kiwi")
CHECKS = ("the last word is fox", "all items are fruits", "there are three items",
          "no item comes twice", "no item is forbidden")


def passed(answer):
    """Which of the five checks does the answer pass?"""
    words = answer.split()
    ends = words[-1] == "fox"
    items = words[:-1] if ends else words
    return (ends, set(items) <= set(FRUITS), len(items) == 3, len(set(items)) == len(items),
            not set(items) & set(FORBIDDEN))


def my_score(mine, draw):
    a, b, c, d = draw.sample([word for word in FRUITS if word not in FORBIDDEN], 4)
    bad = draw.choice(FORBIDDEN)
    tries = [[a, b, c, "fox"], [a, b, c], [a, b, bad + "s", "fox"], [a, b, "fox"],
             [a, b, c, d, "fox"], [a, a, b, "fox"], [a, bad, b, "fox"], ["fox", a, b, c],
             ["fox", a, b, "fox"], [a, b, c, "outfox"],
             draw.choices([a, b, c, bad, bad + "s", "fox"], k=draw.randint(2, 5))]
    for words in tries:
        answer = " ".join(words)
        holds = passed(answer)
        fails = "; ".join(text for text, yes in zip(CHECKS, holds) if not yes) or "none"
        got = mine(answer)
        shaped(got, (), "The score is one number.")
        same(got, sum(holds) / 5, f"Of the five checks, {answer!r} fails: {fails}. So its score is "
             f"{sum(holds) / 5:.1f}. Yours is {got:.2f}.")


EXERCISES = {"00a": my_score}
