"""Lesson 02: facts that leak into a test."""
from random import Random

from lessons.grade.task import Case, Law, Mistake, Task


def names_in(texts, creatures) -> set[str]:
    return {word.strip(".?") for text in texts for word in text.split()} & set(creatures)


def leak(train, test, creatures):
    """Names that stand in a question or in an answer of both lists."""
    (seen, asked) = ([text for row in rows for text in row] for rows in (train, test))
    return names_in(seen, creatures) & names_in(asked, creatures)


def leak_model(train, test, creatures, look="names", answers="both", both=True, clean=True):
    if look == "letters":
        known, asked = (str(rows) for rows in (train, test))
        return {name for name in creatures if name in known and name in asked}
    if look == "texts":
        equal = {question for question, _ in train} & {question for question, _ in test}
        return names_in(equal, creatures)

    def found(rows, read_answers):
        rows = [row for row in rows if look != "wording" or row[0].startswith("Where")]
        texts = [text for row in rows for text in (row if read_answers else row[:1])]
        if look == "words":
            return {word.strip(".?") for text in texts for word in text.split()}
        known = {word for text in texts for word in text.split()}
        return names_in(texts, creatures) & (set(creatures) if clean else known)

    first = found(train, answers in ("both", "train"))
    second = found(test, answers in ("both", "test"))
    return first & second if both else first | second


CREATURES = {"ruga", "mafu", "mogi", "wobi", "joge", "luve"}
WORDINGS = (("Where does the {} live?", "In Dakar."), ("Where is the home of the {}?", "In Oslo."),
            ("Where is the rope?", "The {} has it."), ("What colour is the {}?", "The {} is blue."),
            ("Who carries a rope?", "The {} carries a rope."), ("Who eats a peach?", "The {}."),
            ("Where is the {}pole?", "In Rome."))


def random_rows(rng: Random):
    def rows():
        return [tuple(text.format(name) for text in rng.choice(WORDINGS))
                for name in rng.choices(sorted(CREATURES), k=6)]
    return rows(), rows(), CREATURES


def sides_are_equal(leak, args) -> bool:
    train, test, creatures = args
    return set(leak(train, test, creatures)) == set(leak(test, train, creatures))


ASKED = ("Where does the ruga live?", "The ruga lives in Dakar.")
AGAIN = ("Where is the home of the ruga?", "In Dakar.")
TRAIN = [ASKED, ("Who eats a peach?", "The mafu eats a peach."), ("What is the wobi?", "Blue."),
         ("Who carries a rope?", "The mogi carries a rope."), ("Who has a saw?", "The luve.")]
TEST = [("By the book: What does the ruga eat?", "The ruga eats a peach."),
        ("What colour is the mafu?", "Blue."), ("Who lives in Oslo?", "The mogi lives in Oslo."),
        ("Where does the joge live?", "The joge lives in Cairo."), ("Who is red?", "The wobi.")]
NEARLY = [("What is a mafupole?", "A pole of a mafu.")], [("What is a mafupole?", "A pole.")]

LEAK = Task(
    "02c", "implement", level=2, minutes=15, core=False,
    signature="leak(train, test, creatures)",
    text="""Which creatures does training tell something about, although the test asks for them?

    train, test  lists of rows; a row is a pair of texts (question, answer)
    creatures    the set of all names of creatures, such as {"ruga", "mafu", "mogi"}
    return       those names that stand in train AND in test: a set, or a list in any order

A name can stand in the question or in the answer, in any sentence. The texts have spaces
between the words, and a name can have a "." or a "?" right after it. Other words do not matter,
also if they begin with a name.
Example: train [("Who eats a peach?", "The mafu.")],
test [("What colour is the mafu?", "Blue.")] -> {"mafu"}.""",
    heading="The proof",
    right=leak, model=leak_model,
    cases=(
        Case(([ASKED], [ASKED], CREATURES), "one row, in both lists"),
        Case(([ASKED], [AGAIN], CREATURES), "another question about the same creature"),
        Case((TRAIN[1:2], TEST[1:2], CREATURES), "the example, with a longer answer"),
        Case((*NEARLY, CREATURES), "a word that begins with a name"),
        Case((TRAIN, TEST, CREATURES), "five rows each"),
    ),
    random=random_rows, as_set=True,
    laws=(Law("exchanging train and test must change nothing", sides_are_equal),),
    mistakes=(
        Mistake("only equal questions count", dict(look="texts"),
                "Two questions with other words ask for one creature. Is that a leak?",
                "A test is spoiled by the fact, not by the wording."),
        Mistake("only questions with one wording are looked at", dict(look="wording"),
                "In how many ways can one ask for a creature?",
                "Look for the name itself. Wordings are too many to list."),
        Mistake("every word that stands in both lists counts", dict(look="words"),
                "Is \"The\" a creature?",
                "Common words stand in every text. Keep the names only."),
        Mistake("names are searched among the letters", dict(look="letters"),
                "Is a mafupole a mafu?",
                "`in` on a text looks for letters. Split into words first."),
        Mistake("names in the answers of both lists are overlooked", dict(answers="none"),
                "Where does the name stand in \"Who eats a peach? The mafu.\"?",
                "A row teaches by its answer, too."),
        Mistake("names in the answers of train are overlooked", dict(answers="test"),
                "What does the model learn from the answers of train?",
                "The answer is the part that is trained on: look there first."),
        Mistake("names in the answers of test are overlooked", dict(answers="train"),
                "Whom is a test row about, if its question has no name?",
                "If the name is the answer of a test row, training must not have given it."),
        Mistake("a name with a full stop or a question mark is missed", dict(clean=False),
                "What are the words of \"The mafu.\" after a split at spaces?",
                "\"mafu.\" is not \"mafu\". Clean the words before you compare."),
        Mistake("names of either list count", dict(both=False),
                "When is a fact of the test known: if train has it, or if test has it?",
                "A leak needs both sides: an intersection, not a union."),
    ),
    hints=("Which words of a row are names, once the full stops are gone?",
           "Lesson 02, \"The proof\": what can a model know of a creature that it never met?",
           "\"What colour is the mafu?\".split() ends with \"mafu?\"\n"
           "\"mafu?\".strip(\".?\") -> \"mafu\""),
)

TASKS = [LEAK]
