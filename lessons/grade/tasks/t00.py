"""Tasks of lesson 00."""

from random import Random

from lessons.grade.task import Case, Law, Mistake, Task
from nanouft import world

PROMPT = "Name three fruits but not fig, lime or kiwi. End on fox."
FRUITS = world.facts.WORDS["fruit"]
FORBIDDEN = ("fig", "lime", "kiwi")


def score(answer):
    """NanoWorld's own score of an answer to PROMPT."""
    return world.score(PROMPT, answer)


def by_hand(answer):
    said = answer.split()
    closed = said[-1:] == ["fox"]
    items = said[:-1] if closed else said
    checks = [closed,
              all(item in FRUITS for item in items),
              len(items) == 3,
              len(set(items)) == len(items),
              not any(item in FORBIDDEN for item in items)]
    return sum(checks) / 5


def model(answer, last="checked", words="list", named="words", count="equal", total="fifths",
          twice=False, forbids=FORBIDDEN, end="last", fruits=FRUITS):
    said = answer.split()
    closed = {"anywhere": "fox" in said, "letters": answer.endswith("fox")}.get(
        last, said[-1:] == ["fox"])
    cut = last == "never" or (closed and last != "always")
    items = said[:-1] if cut else said
    items = [word for word in items if word != "fox" or last != "every"]
    items = sorted(set(items)) if words == "set" else items
    forbidden = [w for w in forbids if w in (answer if named == "letters" else items)]
    enough = {"at most": len(items) <= 3, "at least": len(items) >= 3}.get(count, len(items) == 3)
    apart = twice or len(set(items)) == len(items)
    ends = closed if end == "last" else "fox" in said
    checks = [ends, set(items) <= set(fruits), enough, apart, not forbidden]
    if total == "all or nothing" or (total == "the end first" and not ends):
        return float(all(checks))
    return sum(checks) / {"fifths": 5, "fourths": 4, "count": 1}.get(total, 5)


def random(rng: Random):
    other = "".join(rng.choices("aeioprst", k=4))           # no list holds them all
    words = rng.choices([*FRUITS, "figs", other], k=rng.randint(1, 4))
    if rng.random() < 0.3:
        words.append(words[0])
    if rng.random() < 0.4:                                  # all is well, or nearly so
        words = rng.sample([w for w in FRUITS if w not in FORBIDDEN], rng.choice([3, 3, 4]))
        words += rng.choice([[], [], words[:1]])
    if rng.random() < 0.2:
        words.insert(0, "fox")
    return (" ".join(words + rng.choice([["fox"], ["fox"], [], ["outfox"]])),)


def perfect_is_one(score, args) -> bool:
    return abs(score("plum pear date fox") - 1) < 1e-6


def order_is_free(score, args) -> bool:
    """The items read backwards get the same score."""
    said = args[0].split()
    closed = said[-1:] == ["fox"]
    items = said[:-1] if closed else said
    turned = " ".join(items[::-1] + ["fox"] * closed)
    return "fox" in items or abs(score(turned) - score(args[0])) < 1e-6


TASKS = [Task(
    "00b", "implement", level=1, minutes=10, core=False,
    signature="my_score(answer)",
    text=f"""The score of an answer to: {PROMPT}

    answer  a string of words with one space between them
    return  a number from 0 to 1

The items are all words of the answer, without a final "fox". An answer that does not end on
"fox" has no last word: then all its words are items. Each of five checks is worth one fifth:
    1. the answer ends on the word "fox"          2. all items are fruits
    3. there are exactly three items              4. no item comes twice
    5. no item is fig, lime or kiwi ("figs" is another word; it is no fruit)
The fruits: {" ".join(FRUITS)}.
Example: "plum fig fox" -> 0.6. It ends on fox, plum and fig are fruits, none comes twice.
But there are only two items, and fig is forbidden.""",
    heading="Teach",
    right=score, model=model, by_hand=by_hand,
    cases=(
        Case(("plum pear date fox",), "all five hold"),
        Case(("plum fig fox",), "two items, one of them forbidden"),
        Case(("plum pear date",), "no fox at the end"),
        Case(("figs plum pear fox",), "figs is no fruit"),
        Case(("plum pear fox",), "two items"),
        Case(("plum plum pear date fox",), "plum comes twice"),
        Case(("fox plum pear date",), "it begins on fox"),
        Case(("fox plum fox",), "it begins and ends on fox"),
        Case(("plum pear date outfox",), "outfox is another word"),
        Case(("plum pear lime fox",), "lime is forbidden"),
    ),
    random=random,
    laws=(Law("the order of the items must not change the score", order_is_free),
          Law("plum pear date fox must have the score 1", perfect_is_one)),
    mistakes=(
        Mistake("the final fox is counted as an item", dict(last="always"),
                "Which words of \"plum pear date fox\" should be fruits?",
                "The last word closes the answer. It is looked at by one check only, the first."),
        Mistake("the last word is cut off although it is not fox", dict(last="never"),
                "How many items has \"plum pear date\"?",
                "A missing closing word costs one check. It must not also cost an item."),
        Mistake("a fox at any place closes the answer", dict(last="anywhere"),
                "On which word does \"fox plum pear date\" end?",
                "The answer must end on it. Look at the last word, not at all of them."),
        Mistake("the check of the end is passed by a fox at any place", dict(end="anywhere"),
                "On which word does \"fox plum pear date\" end?",
                "`in` looks at all words. The first check asks for the last one."),
        Mistake("lime is not forbidden", dict(forbids=("fig", "kiwi")),
                "Which three words does the prompt forbid? Which of them do you look for?",
                "Three words are forbidden. A list of two lets the third one pass."),
        Mistake("the end is compared letter by letter, so outfox passes", dict(last="letters"),
                "What is the last word of \"plum pear date outfox\"?",
                "endswith looks for letters. Split first, then compare whole words."),
        Mistake("repeated items are not noticed", dict(twice=True),
                "Which of your lines would notice \"plum plum\"?",
                "One check is about repetition. Without it, one safe word is said three times."),
        Mistake("every fox is left out of the items, not only the last one", dict(last="every"),
                "Which items has \"fox plum pear date\"?",
                "Only a final fox closes the answer. Elsewhere it is a word like any other."),
        Mistake("an answer that does not end on fox gets 0", dict(total="the end first"),
                "How many of the five checks does \"plum pear date\" pass?",
                "An early return takes four checks away with the first one."),
        Mistake("fig, lime and kiwi are taken for no fruits",
                dict(fruits=tuple(w for w in FRUITS if w not in FORBIDDEN)),
                "Is a fig a fruit? Which of the five checks should it fail?",
                "Being a fruit and being allowed are two checks. One word fails only the second."),
        Mistake("one failed check makes the whole score 0", dict(total="all or nothing"),
                "An answer passes four checks of five. What should it get?",
                "Part of the points for part of the rules: that makes a score informative."),
        Mistake("forbidden words are searched among the letters", dict(named="letters"),
                "Is the word fig in \"figs plum pear fox\"? Compare words, not letters.",
                "`in` on a string looks for letters. Split first, then compare whole words."),
        Mistake("the items are put into a set before they are counted", dict(words="set"),
                "What happens to \"plum plum\" when it becomes a set?",
                "A set forgets repetitions, and two of the five checks are about them."),
        Mistake("fewer than three items pass as three", dict(count="at most"),
                "Three are asked for. Are two items three items?",
                "Check the number itself. An upper bound rewards short answers."),
        Mistake("more than three items pass as three", dict(count="at least"),
                "Three are asked for. Are four items three items?",
                "Check the number itself. A lower bound rewards long answers."),
        Mistake("the checks are counted, not their fifths", dict(total="count"),
                "What is the largest number that your score can be?",
                "A score is a number from 0 to 1: the share of what holds."),
        Mistake("each of the five checks is worth a fourth", dict(total="fourths"),
                "What is the score of an answer that passes everything?",
                "A score ends at 1. Count the checks again: there are five."),
    ),
    hints=("Can you write each check as one line that is True or False?",
           "Lesson 00, \"Teach\": a rule of a few lines scores each answer, no judge.",
           "words = \"plum fig fox\".split() -> [\"plum\", \"fig\", \"fox\"]\n"
           "words[:-1] -> [\"plum\", \"fig\"]: the items, because the last word is fox"),
)]
