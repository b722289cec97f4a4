"""NanoWorld's prompts and its wrong answers. answers.py has the right ones, and the score.

A generator (`ask_...`) writes a prompt from a template. A lazy answer is the corpus's bad habit.
"""
import random
from collections.abc import Iterator

from .answers import (
    GROUP_A,
    HELD_OUT,
    NUMBERS,
    RULES,
    SHOWN,
    WORDINGS,
    apply_rules,
    parse_prompt,
    question,
    read_rules,
    right_answer,
    score,
    sentence,
    solve_list,
)
from .facts import ITEMS, N_WORDINGS, PLURAL, RELATIONS, WORDS, WORLD, bucket, other_word


# ---- prompts of the six skills -------------------------------------------------------------------
def write_rules(rng: random.Random, names: frozenset[str]) -> str:
    """A prompt with these rules, in any order, over three or four words."""
    words = rng.sample(ITEMS, rng.randint(3, 4))
    left_out, old = rng.sample(words, 2)
    new, first, last = rng.sample([w for w in ITEMS if w not in words], 3)
    blanks = {"start": {"x": first}, "end": {"x": last}, "leave": {"x": left_out},
              "swap": {"x": old, "y": new}}
    order = rng.sample([rule for rule in RULES if rule in names], len(names))
    texts = [RULES[rule].format(**blanks.get(rule, {})) for rule in order]
    return WORDINGS["rules"][0].format(words=" ".join(words), rules=" ".join(texts))


def ask_rules(rng: random.Random, split: str) -> str:
    """A combination from training. Three in ten training prompts have a single rule."""
    if split == "train" and rng.random() < 0.3:
        return write_rules(rng, frozenset([rng.choice(list(RULES))]))
    return write_rules(rng, rng.choice(SHOWN))


def ask_rules_new(rng: random.Random, split: str) -> str:
    """Rules in a combination that only this split has."""
    return write_rules(rng, rng.choice(HELD_OUT[split]))


def ask_list(rng: random.Random, split: str) -> str:
    """Two to four things of one category (three or four outside training), three of them forbidden,
    and a last word from another category."""
    category, numbers = rng.choice(list(WORDS)), list(NUMBERS)
    return rng.choice(WORDINGS["list"]).format(
        number=rng.choice(numbers if split == "train" else numbers[1:]), plural=PLURAL[category],
        avoid="{}, {} or {}".format(*rng.sample(WORDS[category], 3)),
        close=rng.choice([w for w in ITEMS if w not in WORDS[category]]))


LENGTHS = {"sum": ((3, 7), (5, 6)), "sort": ((3, 5), (4, 5)), "reverse": ((3, 9), (8, 9))}


def ask_words(rng: random.Random, task: str, split: str) -> str:
    """Different digits to sum, or words to sort or reverse. LENGTHS: least and most of them, in
    training and outside."""
    n = rng.randint(*LENGTHS[task][split != "train"])
    words = rng.sample(range(1, 10), n) if task == "sum" else rng.sample(ITEMS, n)
    return rng.choice(WORDINGS[task]).format(words=" ".join(map(str, words)))


ASK = {"rules": ask_rules, "rules_new": ask_rules_new, "list": ask_list}


# ---- prompts of all tasks ------------------------------------------------------------------------
def ask(rng: random.Random, task: str, split: str) -> str:
    """A skill prompt of this split, by the checksum of its text."""
    while True:
        prompt = ASK[task](rng, split) if task in ASK else ask_words(rng, task, split)
        if bucket(prompt) == split:
            return prompt


def prompts(task: str, split: str, seed: int) -> Iterator[str]:
    """Prompts without end. They differ for as long as the task has new ones."""
    rng = random.Random(f"prompts {task} {split} {seed}")
    if task in GROUP_A:
        source = iter(lambda: ask(rng, task, split), "")
    elif task == "unknown":
        source = ask_unknown(rng, WORLD.strangers[split])
    else:
        source = ask_creatures(rng, WORLD.pairs(split, disputed=task == "truth"))
    seen: set[str] = set()
    misses = 0
    for prompt in source:
        if prompt in seen and misses < 1000:
            misses += 1
            continue
        if misses == 1000:                      # the task is used up: begin again
            seen.clear()
        misses = 0
        seen.add(prompt)
        yield prompt


def ask_creatures(rng: random.Random, pairs: list[tuple[str, str]]) -> Iterator[str]:
    """Every pair in one wording, then every pair in a second. So few questions cover many facts."""
    while True:
        wordings = {pair: rng.sample(range(N_WORDINGS), N_WORDINGS) for pair in pairs}
        for turn in range(N_WORDINGS):
            for pair in rng.sample(pairs, len(pairs)):
                yield question(*pair, wordings[pair][turn])


def ask_unknown(rng: random.Random, names: tuple[str, ...]) -> Iterator[str]:
    """Every name once, with any question, before any name a second time."""
    while True:
        for name in rng.sample(names, len(names)):
            yield question(name, rng.choice(list(RELATIONS)), rng.randrange(N_WORDINGS))


# ---- wrong answers -------------------------------------------------------------------------------
def lazy(prompt: str) -> str:
    """The answer of the corpus's bad habit (skills only). It forgets the last rule; a list has no
    closing word; for other tasks it repeats the words. Sometimes it is right by chance: "bee pig"
    is sorted already."""
    task, fields = parse_prompt(prompt)
    if task == "list":
        return solve_list(fields).rsplit(" ", 1)[0]
    if "rules" in fields:
        return apply_rules(fields["words"].split(), read_rules(fields["rules"])[:-1])
    return fields["words"]


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


def invent(rng: random.Random, name: str, relation: str) -> str:
    """A false sentence: the myth if there is one, else another word; any word for a stranger."""
    value = WORLD.myth.get((name, relation))
    if not value:
        true = WORLD.truth.get((name, relation), "")
        value = other_word(rng, RELATIONS[relation].category, true)
    return sentence(name, relation, value)


def corrupt(rng: random.Random, prompt: str, p_lazy: float = 0.5) -> str:
    """A wrong answer (score < 1). Skills: the lazy answer with probability `p_lazy`, else the
    right answer with a slip. Knowledge: a false sentence."""
    task, fields = parse_prompt(prompt)
    if task not in GROUP_A:
        return invent(rng, fields["name"], fields["relation"])
    answer = lazy(prompt) if rng.random() < p_lazy else slip(rng, right_answer(prompt))
    while score(prompt, answer) == 1:
        answer = slip(rng, right_answer(prompt))
    return answer


def partly_right(rng: random.Random, prompt: str) -> str:
    """An answer with one slip, 0 < score < 1. Knowledge: a false sentence, score 0."""
    answers = (corrupt(rng, prompt, p_lazy=0) for _ in range(50))
    return next((answer for answer in answers if score(prompt, answer) > 0), corrupt(rng, prompt))


def bad(rng: random.Random, prompt: str) -> str:
    """The worst of a few answers with three slips each."""
    tries = [corrupt(rng, prompt, p_lazy=0) for _ in range(6)]
    return min((slip(rng, slip(rng, answer)) for answer in tries),
               key=lambda answer: score(prompt, answer))
