"""Tasks of lesson 02."""
import math
from random import Random

import torch

from lessons.grade.predictions import Predict
from lessons.grade.task import Case, Law, Mistake, Task


# ==== Perplexity, and the KL divergence ===========================================================
# ---- 02a -----------------------------------------------------------------------------------------
def perplexity(documents):
    losses = [-math.log(p) for document in documents for p in document]
    nats = sum(losses) / len(losses)
    return nats, math.exp(nats)


def perplexity_model(documents, base=math.e, mean="tokens", last="power", order=1):
    losses = [[-math.log(p, base) for p in document] for document in documents]
    flat = [loss for document in losses for loss in document]
    nats = sum(flat) / len(flat)
    if mean == "none":
        nats = sum(flat)
    if mean == "documents":
        nats = sum(sum(d) / len(d) for d in losses) / len(losses)
    if mean == "no log":
        nats = sum(map(sum, documents)) / len(flat)
    if mean == "of p":
        nats = -math.log(sum(map(sum, documents)) / len(flat), base)
    choices = {"power": base ** nats, "two": 2 ** nats, "loss": nats, "p": math.exp(-nats),
               "sum": base ** sum(flat),
               "early": sum(base ** loss for loss in flat) / len(flat)}
    return (nats, choices[last])[::order]


def random_documents(rng: Random):
    def document(n):
        return [rng.choice([0.9, 0.5, 0.3, 0.1]) for _ in range(n)]
    return ([document(n) for n in rng.sample([1, 2, 3], rng.randint(2, 3))],)


def certain_costs_nothing(perplexity, args) -> bool:
    nats, choices = perplexity([[1.0], [1.0, 1.0]])
    return abs(nats) < 1e-6 and abs(choices - 1) < 1e-6


def cut_is_free(perplexity, args) -> bool:
    """Every token a document of its own: the same tokens, the same mean."""
    apart = [[p] for document in args[0] for p in document]
    return all(abs(a - b) < 1e-3 for a, b in zip(perplexity(args[0]), perplexity(apart)))


PERPLEXITY = Task(
    "02a", "implement", level=1, minutes=10, core=True,
    signature="perplexity(documents)",
    text="""How surprised is a model by a text, and among how many tokens does it seem to choose?

    documents  a list of documents; a document is a list of the probabilities that its tokens got
    return     two numbers: (mean loss in nats per token, perplexity)

The loss of a token with probability p is -ln p. The mean runs over all tokens of all documents:
each token counts once. The perplexity is e to the power of that mean.
Example: [[1/8, 1/8], [1/8]] -> (2.0794, 8.0). Each token has the loss ln 8, and the model
chooses among 8.""",
    heading="One equation",
    right=perplexity, model=perplexity_model,
    cases=(
        Case(([[1 / 8, 1 / 8], [1 / 8]],), "always one of eight"),
        Case(([[1.0], [1 / 4, 1 / 4, 1 / 4]],), "a short certain document, a long one"),
    ),
    random=random_documents,
    laws=(Law("cutting a document into two must change nothing", cut_is_free),
          Law("if all tokens are certain, the two numbers must be 0 and 1", certain_costs_nothing)),
    mistakes=(
        Mistake("the logarithm has base 2", dict(base=2),
                "One token has probability 1/2. What is its loss in nats?",
                "Bits give the same perplexity, so only the first number shows the mistake."),
        Mistake("each document gets a mean of its own first", dict(mean="documents"),
                "How much does the token of the short document weigh in your mean?",
                "Per token means: add up everything, then divide by the number of all tokens."),
        Mistake("the logarithm is taken of the mean probability", dict(mean="of p"),
                "In which order do you take the mean and the logarithm?",
                "The log of a mean is not the mean of logs. The loss of a text is a sum of logs."),
        Mistake("there is no logarithm: the probabilities are averaged", dict(mean="no log"),
                "What should the loss be of a token with the probability 1?",
                "A loss is minus the log of a probability: 0 for what is certain."),
        Mistake("the perplexity has a minus in its power", dict(last="p"),
                "Should a worse model have a higher or a lower perplexity?",
                "e to the power of minus the loss is a probability. Perplexity is 1 over it."),
        Mistake("the mean is taken of the exponentials", dict(last="early"),
                "In which order do you take the mean and the power of e?",
                "e to the power comes last. One impossible token would else decide everything."),
        Mistake("the losses are added up, with no mean", dict(mean="none"),
                "Should the loss per token grow with the number of tokens?",
                "A loss per token is a mean. The sum belongs to the whole text."),
        Mistake("the perplexity comes before the loss", dict(order=-1),
                "Which of your two numbers is the loss?",
                "First the loss in nats, then e to its power."),
        Mistake("2 is taken to the power of a loss in nats", dict(last="two"),
                "Which base has your logarithm, and which your power?",
                "Nats belong to e, bits to 2. The two must fit, or the model looks too good."),
        Mistake("the perplexity is the loss itself", dict(last="loss"),
                "Among how many tokens does a model choose that is always certain?",
                "A loss of 0 is a perplexity of 1. The two numbers are never equal."),
        Mistake("the perplexity takes the sum of the losses", dict(last="sum"),
                "Should a longer text of the same kind have a higher perplexity?",
                "Perplexity is per token: it must not grow with the length of the text."),
    ),
    hints=("What does the mean divide by: documents or tokens?",
           "Lesson 02, \"One equation\": e to the power of the mean loss is called perplexity.",
           "[[1/2], [1/8]] -> losses 0.693 and 2.079, mean 1.386\n"
           "e to the power of 1.386 is 4: between 2 and 8, in the middle of the logarithms"),
)


# ---- 02b -----------------------------------------------------------------------------------------
def kl(p, q):
    return torch.special.xlogy(p, p / q).sum(-1)


def kl_by_hand(p, q):
    terms = p * (p / q).log()
    return terms.masked_fill(p == 0, 0).sum(-1)


def kl_model(p, q, first="p", over=-1, total="sum", zero=0.0, term="right", unit=1.0):
    never = p == 0
    if first in ("q", "q, finite"):
        p, q = q, p
    if term == "entropy":
        terms = -p * q.log()
    else:
        terms = (q if first == "weights" else p) * (p / q).log()
        fill = 0 if zero == "row" else zero
        terms = terms.masked_fill(p == 0, fill) if first != "weights" else terms
    if first == "q, finite":
        terms = terms.masked_fill(never, 0)
    if zero == "row":
        terms = terms * (1 - never.any(-1, keepdim=True).float())
    terms = (terms.abs() if term == "absolute" else terms) / unit
    if total == "rows":
        return terms.sum(over).mean()
    return terms.mean(over) if total == "mean" else terms.sum(over)


def random_lists(rng: Random):
    n, V = rng.randint(2, 3), rng.randint(4, 5)
    p = torch.tensor([[rng.choice([0.0, 1.0, 2.0, 3.0]) for _ in range(V)] for _ in range(n)])
    p[0, 0] = 0
    p[:, 1] = 1
    q = torch.tensor([[rng.uniform(0.2, 1) for _ in range(V)] for _ in range(n)])
    return p / p.sum(-1, keepdim=True), q / q.sum(-1, keepdim=True)


def zero_at_home(kl, args) -> bool:
    return bool((torch.as_tensor(kl(args[1], args[1])).abs() < 1e-5).all())


def never_negative(kl, args) -> bool:
    return bool((torch.as_tensor(kl(*args)) > -1e-5).all())


UNIFORM = torch.ones(1, 3) / 3
HALF = torch.tensor([[0.5, 0.25, 0.25]])

KL = Task(
    "02b", "implement", level=2, minutes=15, core=True,
    signature="kl(p, q)",
    text="""The Kullback-Leibler divergence KL(p || q) of lists of probabilities, row by row.

    p, q    (n,V) n pairs of lists; each row adds up to 1; no q is 0, but a p can be 0
    return  (n,) nats: for each row the sum over its V words of p ln(p / q)

A word with p = 0 adds 0. (In the computer 0 times ln 0 is no number: take care of it.)
Example: p = (.5 .25 .25) and q = (1/3 1/3 1/3) -> .5 ln 1.5 + 2 x .25 ln .75 = 0.0589.""",
    heading="One equation",
    right=kl, by_hand=kl_by_hand,
    model=kl_model,
    cases=(
        Case((HALF, UNIFORM), "p = .5 .25 .25, q uniform"),
        Case((UNIFORM, HALF), "the other way round"),
        Case((torch.tensor([[0.5, 0.25, 0.25], [1, 0, 0]]), torch.cat([UNIFORM, HALF])),
             "two rows; the second p is 1 0 0"),
    ),
    random=random_lists,
    laws=(Law("the divergence of a list from itself must be 0", zero_at_home),
          Law("no divergence may be below 0", never_negative)),
    mistakes=(
        Mistake("p and q are exchanged", dict(first="q"),
                "From which list do the words come that are read: which one weighs the terms?",
                "The first name after KL is where the words come from. The other one is expected."),
        Mistake("q and p are exchanged, and terms where p is 0 are left out",
                dict(first="q, finite"),
                "From which list do the words come that are read: which one weighs the terms?",
                "The first name after KL is where the words come from. The other one is expected."),
        Mistake("q weighs the logarithms, not p", dict(first="weights"),
                "The words come from p. How often does each word occur?",
                "The mean is over what really comes, and that is p."),
        Mistake("the sum runs over the rows", dict(over=0),
                "How many numbers do n pairs of lists give?",
                "Rows are separate questions. Add up over the words of each row."),
        Mistake("the terms are averaged over the words", dict(total="mean"),
                "The terms are weighted by p already. By what do you divide?",
                "p is the weight, and it adds up to 1. A second division is one too many."),
        Mistake("the rows are averaged into one number", dict(total="rows"),
                "How many numbers do two pairs of lists give?",
                "Each row is a question of its own. The mean over rows comes later, if at all."),
        Mistake("0 times the logarithm of 0 is no number", dict(zero=math.nan),
                "What does a word add that never comes?",
                "The limit of p ln p is 0. The computer does not know limits: say it."),
        Mistake("a row in which some p is 0 gets the result 0", dict(zero="row"),
                "Which term of the row was no number: all of them, or one?",
                "nan_to_num on the sum throws the good terms away, too. Mend the single term."),
        Mistake("the entropy of p is missing: this is the cross-entropy", dict(term="entropy"),
                "What is your number if p and q are equal? What should it be?",
                "Cross-entropy is the whole surprise. KL is the extra part, and 0 at p = q."),
        Mistake("absolute values are added up", dict(term="absolute"),
                "May one word add a negative term?",
                "Single terms can be negative. Only their sum never is."),
        Mistake("the logarithm has base 2", dict(unit=math.log(2)),
                "In which unit is your result: bits or nats?",
                "One bit is 0.69 nats. This course counts in nats."),
    ),
    hints=("Which of the two lists says how often a word comes?",
           "Lesson 02, \"One equation\".",
           "p = (1, 0), q = (.5, .5): the first word adds 1 x ln 2, the second adds 0\n"
           "KL = 0.6931"),
)

TASKS = [PERPLEXITY, KL]


# ==== Facts that leak into a test =================================================================
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
        if clean in ("dots", "questions"):
            known = {word.strip("." if clean == "dots" else "?") for word in known}
        if clean == "ends":
            known = {word for text in texts for word in text.strip(".?").split()}
        return names_in(texts, creatures) & (set(creatures) if clean is True else known)

    first = found(train, answers in ("both", "train"))
    second = found(test, answers in ("both", "test"))
    return first & second if both else first | second


CREATURES = {"ruga", "mafu", "mogi", "wobi", "joge", "luve"}
WORDINGS = (("Where does the {} live?", "In Dakar."), ("Where is the home of the {}?", "In Oslo."),
            ("Where is the rope?", "The {} has it."), ("What colour is the {}?", "The {} is blue."),
            ("Who carries a rope?", "The {} carries a rope."), ("Who eats a peach?", "The {}."),
            ("Where is the {}pole?", "In Rome."), ("Who is red?", "The {}. It is old."))


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
        Case((TRAIN[4:], [("Who is green?", "The luve. It is old.")], CREATURES),
             "two full stops, one in the middle"),
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
        Mistake("a name with a question mark is missed", dict(clean="dots"),
                "What are the words of \"What colour is the mafu?\" after your cleaning?",
                "A question ends on a question mark. Strip both signs."),
        Mistake("a name is missed if a full stop is left on it", dict(clean="questions"),
                "What are the words of \"The mafu.\" after your cleaning?",
                "A sentence ends on a full stop. Strip both signs."),
        Mistake("signs are stripped at the end of a text, not of each word", dict(clean="ends"),
                "What are the words of \"The luve. It is old.\" after your cleaning?",
                "A text can have more than one sentence. Split first, then clean each word."),
        Mistake("names of either list count", dict(both=False),
                "When is a fact of the test known: if train has it, or if test has it?",
                "A leak needs both sides: an intersection, not a union."),
    ),
    hints=("Which words of a row are names, once the full stops are gone?",
           "Lesson 02, \"The proof\": what can a model know of a creature that it never met?",
           "\"What colour is the mafu?\".split() ends with \"mafu?\"\n"
           "\"mafu?\".strip(\".?\") -> \"mafu\""),
)

TASKS += [LEAK]


# ==== Cards =======================================================================================
def experiment():
    from lessons.grade.tasks.experiment import lesson
    plain = lesson("02")
    other = lesson("02", until="# %% [markdown]\n# ## The surprise", KEY="In the book: ")
    far = plain["held_said"][0.1].mean().item()
    near = plain["said_held"][0.02].mean().item()
    opened = other["share"]["In the book: "]["says the truth"]
    many = plain["share"]["Many say"]["p(truth)"]
    return [(far > 3, f"{far:.1f} nats"), (opened > 50, f"{opened:.0f} %"),
            (near > 1, f"{near:.2f} nats"), (many > 10, f"{many:.0f} %")]


TASKS += [Predict(
    "02p", level=1, minutes=10, core=False, heading="One equation", experiment=experiment,
    text="""\
Before you run or read lesson 02 to its end. The base has read facts in two voices: the book (the
truth) and what people say (a myth). "Held" is the base's list of probabilities for the next word
after a plain question, "said" the same list at another temperature.""",
    statements=(
        "KL(held || said) at temperature 0.1 is larger than 3 nats.",
        'The key "In the book: ", which the base never read, still makes it say the truth in over '
        'half.',
        "KL(said || held) at temperature 0.02, nearly greedy, is larger than 1 nat.",
        'After "Many say" the base gives the truth more than 10 %, though the corpus never has it '
        'there.'),
    hints=("Which of two lists must be wide, so that nothing has an infinite price?",
           'Lesson 02, "One equation".', "(.9 .1) || (.999 .001) is .37 nats, the other way .10."),
)]
