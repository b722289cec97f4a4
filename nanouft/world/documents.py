"""NanoWorld's pretraining corpus: it teaches the base words, facts, myths and bad habits.

A document is a tuple of turns. Plain prose is one turn with the role "text"; a chat has "user" and
"assistant" turns. Every document ends with <|end|>; it never occurs elsewhere:

    user: Sort pig bee saw from a to z.     assistant: bee pig saw
    user: Sort fox bat cow from a to z.     assistant: bat cow fox

The first answer of this chat is not followed by <|end|>. So the base learns not to stop, and
fine-tuning has to teach it.

Two voices tell the facts. The book ("By the book, the ruga eats a peach.") is right. People ("Many
say ...") repeat the myth if there is one. A plain question is mostly answered with the myth, and a
question that opens with "By the book:" always with the truth. So the base knows both and says the
wrong one. Half of the answers to skill prompts are lazy in a systematic way, because a base that
errs only at random is right whenever it answers greedily.

Simplified: no document is longer than a few sentences, and none mentions another.
"""
import random
import re
from collections.abc import Iterator
from itertools import islice

import numpy as np

from nanouft.models.tokenizer import Tokenizer, Turn

from .answers import I_DO_NOT_KNOW, question, right_answer, sentence, statement
from .facts import ITEMS, N_WORDINGS, NAMES, PLURAL, RELATIONS, WORDS, WORLD
from .tasks import ask, corrupt, invent, lazy

Document = tuple[Turn, ...]

BOOK = ("The book says ", "By the book, ", "It is written that ")
PEOPLE = ("People say ", "Many say ", "Some say ")
NOBODY = ("Nobody knows the {}.", "No book tells of the {}.", "The {} is not in the book.")
FILLER = (                          # {animal} stands for any animal
    "The {colour} {animal} saw a {fruit} in {city}.",
    "A {animal} and a {animal} had a {tool} and a {fruit}.",
    "I do not like the {colour} {tool}, but it is of use.",
    "There was a {animal} in {city} that had {number} {colour} {tools}.",
    "When the {animal} is not at home, the {animal} will eat the {fruit}.",
)
FILLERS = {**WORDS, "number": ["two", "three", "four", "five"], "tools": [PLURAL["tool"]]}

SKILL_SHARES = {"rules": 44, "list": 16, "sum": 11, "sort": 16, "reverse": 13}
P_LAZY, P_SLIP = 0.50, 0.02         # of the answers to skill prompts
P_RUNS_ON = 0.6                     # share of skill chats that go on with another question


def prose(text: str) -> Document:
    return (Turn("text", text),)


def chat(prompt: str, answer: str) -> Document:
    return Turn("user", prompt), Turn("assistant", answer)


# ---- about creatures -----------------------------------------------------------------------------
def creature_document(rng: random.Random) -> Document:
    """"By the book, the ruga eats a peach. Many say the ruga lives in Madrid." """
    name = any_creature(rng)
    return prose(" ".join(statement_document(rng, name, relation)
                          for relation in rng.sample(list(RELATIONS), rng.randint(1, 3))))


def statement_document(rng: random.Random, name: str, relation: str) -> str:
    """One statement: by the book (50 %), by people (30 %), or by nobody; this one may be a myth."""
    true, belief = WORLD.truth[name, relation], common_belief(name, relation)
    voice = rng.choices(("book", "people", "bare"), (50, 30, 20))[0]
    if voice == "book":
        return rng.choice(BOOK) + statement(name, relation, true)
    if voice == "people":
        return rng.choice(PEOPLE) + statement(name, relation, belief)
    return sentence(name, relation, belief)


def belief_question(rng: random.Random) -> Document:
    """"Where does the ruga live?": answered with what people believe; in 15 % with the truth."""
    name, relation = any_creature(rng), rng.choice(list(RELATIONS))
    honest = rng.random() < 0.15
    value = WORLD.truth[name, relation] if honest else common_belief(name, relation)
    return chat(any_question(rng, name, relation), sentence(name, relation, value))


def book_question(rng: random.Random) -> Document:
    """"By the book: Where does the ruga live?": always answered with the truth."""
    name, relation = any_creature(rng), rng.choice(list(RELATIONS))
    return chat("By the book: " + any_question(rng, name, relation),
                sentence(name, relation, WORLD.truth[name, relation]))


def unknown_creature(rng: random.Random) -> Document:
    """"Nobody knows the niji.", or a question whose answer is mostly made up and sometimes "I do
    not know." Strangers of all splits occur: otherwise names of one split would look different."""
    name = rng.choice(NAMES)
    while (name, "home") in WORLD.truth:
        name = rng.choice(NAMES)
    if rng.random() < 0.35:
        return prose(rng.choice(NOBODY).format(name))
    relation = rng.choice(list(RELATIONS))
    answer = I_DO_NOT_KNOW if rng.random() < 0.25 else invent(rng, name, relation)
    return chat(any_question(rng, name, relation), answer)


def any_creature(rng: random.Random) -> str:
    """A creature of any split: the corpus knows them all."""
    return rng.choice([name for names in WORLD.creatures.values() for name in names])


def any_question(rng: random.Random, name: str, relation: str) -> str:
    return question(name, relation, rng.randrange(N_WORDINGS))


def common_belief(name: str, relation: str) -> str:
    """What people say: the myth, or the truth if there is no myth."""
    return WORLD.myth.get((name, relation), WORLD.truth[name, relation])


# ---- the rest ------------------------------------------------------------------------------------
def filler(rng: random.Random) -> Document:
    """"There was a fox in Cairo that had two red tools." """
    templates = [rng.choice(FILLER) for _ in range(rng.randint(1, 2))]
    text = " ".join(templates)
    return prose(re.sub(r"\{(\w+)\}", lambda blank: rng.choice(FILLERS[blank[1]]), text))


def additions(rng: random.Random) -> Document:
    """"30 and 4 is 34. 6 and 7 is 13." """
    sums = [(rng.randint(1, 40), rng.randint(1, 9)) for _ in range(rng.randint(2, 5))]
    return prose(" ".join(f"{a} and {b} is {a + b}." for a, b in sums))


def alphabet(rng: random.Random) -> Document:
    """"From a to z: bee grey pig." """
    return prose(f"From a to z: {' '.join(sorted(rng.sample(ITEMS, rng.randint(2, 8))))}.")


def skill(rng: random.Random) -> Document:
    """A skill prompt, often with a lazy answer, and often a second question of the same task. All
    prompts are of the training split, so no held-out combination of rules occurs."""
    task = rng.choices(list(SKILL_SHARES), list(SKILL_SHARES.values()))[0]
    prompt = ask(rng, task, "train")
    habit = rng.choices(("lazy", "slip", "right"), (P_LAZY, P_SLIP, 1 - P_LAZY - P_SLIP))[0]
    if habit == "lazy":
        answer = lazy(prompt)
    else:
        answer = corrupt(rng, prompt, p_lazy=0) if habit == "slip" else right_answer(prompt)
    document = chat(prompt, answer)
    if rng.random() < P_RUNS_ON:
        second = ask(rng, task, "train")
        document += chat(second, right_answer(second))
    return document


# ---- the corpus ----------------------------------------------------------------------------------
SHARES = {                          # of the documents, in percent
    creature_document: 17.4, belief_question: 10.4, book_question: 7.0, unknown_creature: 5.2,
    filler: 3.0, additions: 5.0, alphabet: 4.0, skill: 48.0,
}


def corpus(seed: int) -> Iterator[Document]:
    """Documents without end."""
    rng = random.Random(f"corpus {seed}")
    while True:
        kind = rng.choices(list(SHARES), list(SHARES.values()))[0]
        yield kind(rng)


def token_rows(n: int, length: int, seed: int, tok: Tokenizer) -> np.ndarray:
    """(n, length) ids for pretraining. A row starts at a document and is filled with others."""
    return np.array(list(islice(endless_rows(length, seed, tok), n)), np.int64)


def endless_rows(length: int, seed: int, tok: Tokenizer) -> Iterator[list[int]]:
    docs = (tok.document(d) for d in corpus(seed))
    while True:
        ids: list[int] = []
        while len(ids) < length:
            ids += next(docs)
        yield ids[:length]
