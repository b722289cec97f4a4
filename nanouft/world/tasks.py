"""NanoWorld's nine families: prompts, right answers, wrong answers, and one exact score.

    family    prompt                                                    right answer
    truth     What does the ruga eat?    (people say: a cherry)         The ruga eats a peach.
    unknown   What does the niji eat?    (there is no such creature)    I do not know.
    fact      What colour is the ruga?   (nobody doubts it)             The ruga is grey.

The other six are skills: skills.py shows them. The text of a prompt decides everything:
`reference(prompt)` and `score(prompt, answer)` need nothing else.

Simplified: a right answer in other words counts as wrong.
"""
import random
from collections.abc import Iterator, Sequence

import numpy as np

from nanouft.data.rows import Row

from .facts import (
    ITEMS,
    N_WORDINGS,
    RELATIONS,
    WORLD,
    World,
    bucket,
    other_word,
    question,
    read_question,
    sentence,
)
from .skills import NEW, READERS, SKILLS, Fields, check_list, read_rules, score_list

GROUP_A = ("rules", "rules_new", "list", "sum", "sort", "reverse")      # skills
GROUP_B = ("truth", "unknown")                                          # honesty
RETENTION = ("fact",)                                   # known since pretraining, to be kept
FAMILIES = GROUP_A + GROUP_B + RETENTION

I_DO_NOT_KNOW = "I do not know."


# ---- reading a prompt, its right answer, the score -----------------------------------------------
def read(prompt: str) -> tuple[str, Fields]:
    """The family of a prompt and what its blanks hold: the fields of a skill, or the name and the
    relation of a question. ValueError for a text that no template of this world writes."""
    for pattern, family in READERS:
        if found := pattern.fullmatch(prompt):
            fields = found.groupdict()
            if family != "rules":
                return family, fields
            if names := frozenset(name for name, _ in read_rules(fields["rules"])):
                return ("rules_new" if names in NEW else "rules"), fields
    if pair := read_question(prompt):
        name, relation = pair
        family = "truth" if pair in WORLD.myth else "fact" if WORLD.knows(name) else "unknown"
        return family, {"name": name, "relation": relation}
    raise ValueError(f"not a prompt of NanoWorld: {prompt[:80]!r} "
                     "(python -m nanouft.world shows prompts it can score)")


def family_of(prompt: str) -> str:
    """The family of a prompt, from its text alone. ValueError if it is not one of NanoWorld's."""
    return read(prompt)[0]


def reference(prompt: str) -> str:
    """One right answer; always the same one, also where many are right (list). ValueError: not a
    NanoWorld prompt."""
    return solve(*read(prompt))


def solve(family: str, fields: Fields) -> str:
    """The right answer to a prompt that has been read."""
    if family in SKILLS:
        return SKILLS[family].solve(fields)
    if family == "unknown":
        return I_DO_NOT_KNOW
    pair = fields["name"], fields["relation"]
    return sentence(*pair, WORLD.truth[pair])


def score(prompt: str, answer: str) -> float:
    """The exact score of an answer (text without <|end|>): from 0 to 1, and 1 only if all is right.
    Skills count the words before the first mistake, because an early mistake costs the rest; a list
    has five checks; knowledge is right or wrong. ValueError: not a NanoWorld prompt."""
    family, fields = read(prompt)
    if family == "list":
        return score_list(fields, answer)
    right, words = solve(family, fields).split(), answer.split()
    if family not in SKILLS or not right:       # all words left out: nothing is the right answer
        return float(words == right)
    same = [a == b for a, b in zip(words, right)] + [False]
    return same.index(False) / max(len(right), len(words))      # words too many cost, too


def mistake(prompt: str, answer: str) -> str:
    """Why an answer has less than the full score, in words; "" if it is right."""
    family, fields = read(prompt)
    if score(prompt, answer) == 1:
        return ""
    if family == "list":
        return ", ".join(text for text, holds in check_list(fields, answer).items() if not holds)
    right, words = solve(family, fields).split(), answer.split()
    if family not in SKILLS:
        return "right: " + " ".join(right)
    first = next((i for i, (a, b) in enumerate(zip(words, right)) if a != b), None)
    if first is not None:
        return f"word {first + 1} should be {right[first]}"
    return f"{len(words)} words, not {len(right)}"


# ---- prompts -------------------------------------------------------------------------------------
def ask(rng: random.Random, family: str, split: str) -> str:
    """A skill prompt that belongs to the split: the checksum of its text decides."""
    while True:
        prompt = SKILLS[family].ask(rng, split)
        if bucket(prompt) == split:
            return prompt


def prompts(family: str, split: str, seed: int) -> Iterator[str]:
    """Prompts without end, all different for as long as the family has new ones."""
    rng = random.Random(f"prompts {family} {split} {seed}")
    if family in SKILLS:
        source = iter(lambda: ask(rng, family, split), "")
    elif family == "unknown":
        source = ask_strangers(rng, WORLD.strangers[split])
    else:
        source = ask_creatures(rng, WORLD.pairs(split, disputed=family == "truth"))
    seen: set[str] = set()
    misses = 0
    for prompt in source:
        if prompt in seen and misses < 1000:
            misses += 1
            continue
        if misses == 1000:                      # the family is used up: begin again
            seen.clear()
        misses = 0
        seen.add(prompt)
        yield prompt


def ask_creatures(rng: random.Random, pairs: list[tuple[str, str]]) -> Iterator[str]:
    """Every pair in one wording before any pair in a second: few questions cover many facts."""
    while True:
        wordings = {pair: rng.sample(range(N_WORDINGS), N_WORDINGS) for pair in pairs}
        for turn in range(N_WORDINGS):
            for pair in rng.sample(pairs, len(pairs)):
                yield question(*pair, wordings[pair][turn])


def ask_strangers(rng: random.Random, names: tuple[str, ...]) -> Iterator[str]:
    """Every name once, with any question, before any name a second time."""
    while True:
        for name in rng.sample(names, len(names)):
            yield question(name, rng.choice(list(RELATIONS)), rng.randrange(N_WORDINGS))


def exact_scores(rows: Sequence[Row], answers: Sequence[str]) -> np.ndarray:
    """(n,) the exact scores of answers to the prompts of these rows."""
    return np.array([score(row.prompt[-1].text, answer) for row, answer in zip(rows, answers)])


# ---- wrong answers -------------------------------------------------------------------------------
def lazy(prompt: str) -> str:
    """The answer of the corpus's bad habit (skills only). Now and then it is right by chance: "bee
    pig" is sorted already."""
    family, fields = read(prompt)
    return SKILLS[family].lazy(fields)


def slip(rng: random.Random, text: str) -> str:
    """One random slip: a word is dropped, doubled, replaced, or swapped with the next."""
    words = text.split()
    if not words:
        return rng.choice(ITEMS)
    i = rng.randrange(len(words))
    what = rng.choice(("drop", "twice", "replace", "swap"))
    if what == "drop":
        del words[i]
    elif what == "twice":
        words.insert(i, words[i])
    elif what == "replace":
        words[i] = str(rng.randint(1, 60)) if words[i].isdigit() else rng.choice(ITEMS)
    elif i + 1 < len(words):
        words[i], words[i + 1] = words[i + 1], words[i]
    return " ".join(words)


def invented(rng: random.Random, name: str, relation: str, world: World = WORLD) -> str:
    """A false sentence: the myth where there is one, else another word; any word for a stranger."""
    value = world.myth.get((name, relation))
    if not value:
        true = world.truth.get((name, relation), "")
        value = other_word(rng, RELATIONS[relation].category, true)
    return sentence(name, relation, value)


def corrupt(rng: random.Random, prompt: str, p_lazy: float = 0.5) -> str:
    """A wrong answer (score < 1). Skills: the lazy answer with probability `p_lazy`, else the
    reference with a slip. Knowledge: a false sentence."""
    family, fields = read(prompt)
    if family not in SKILLS:
        return invented(rng, fields["name"], fields["relation"])
    answer = lazy(prompt) if rng.random() < p_lazy else slip(rng, reference(prompt))
    while score(prompt, answer) == 1:
        answer = slip(rng, reference(prompt))
    return answer


def partly_right(rng: random.Random, prompt: str) -> str:
    """An answer with one slip, 0 < score < 1. Knowledge: a false sentence, score 0."""
    answers = (corrupt(rng, prompt, p_lazy=0) for _ in range(50))
    return next((answer for answer in answers if score(prompt, answer) > 0), corrupt(rng, prompt))


def bad(rng: random.Random, prompt: str) -> str:
    """The worst of a few answers with three slips each. Knowledge: a false sentence."""
    if family_of(prompt) not in SKILLS:
        return corrupt(rng, prompt)
    tries = [corrupt(rng, prompt, p_lazy=0) for _ in range(6)]
    return min((slip(rng, slip(rng, answer)) for answer in tries),
               key=lambda answer: score(prompt, answer))
