"""NanoWorld's facts: words, made-up creatures, the truth about them, and what people believe.

There are 90 creatures with names such as "ruga" or "revi". Each has a home, a food, a colour and a
tool: 360 facts. About two of the four, people believe something else: a *myth*. Names of the same
form that belong to no creature are *strangers*: nobody knows anything about them.

Simplified: a fact is one word, a creature has one of each, and "a" never has to become "an".
"""
import random
import zlib
from dataclasses import dataclass
from typing import NamedTuple

SPLITS = ("train", "val", "test")

WORDS = {
    "animal": "bat bee cat cow dog fox goat hen pig rat swan wolf".split(),
    "fruit": "cherry date fig grape kiwi lemon lime mango melon peach pear plum".split(),
    "colour": "black blue brown gold green grey pink purple red tan white yellow".split(),
    "tool": "broom chisel drill file hammer knife nail rake rope saw spade torch".split(),
    "city": "Bonn Cairo Dakar Delhi Kyiv Lima Madrid Oslo Paris Quito Rome Tokyo".split(),
}
PLURAL = {"animal": "animals", "fruit": "fruits", "colour": "colours", "tool": "tools",
          "city": "cities"}
ITEMS = WORDS["animal"] + WORDS["fruit"] + WORDS["colour"] + WORDS["tool"]  # of the word tasks: 48


class Relation(NamedTuple):
    """A property of a creature: the category of its word, a sentence, and eight questions."""
    category: str
    statement: str
    questions: tuple[str, ...]


RELATIONS = {
    "home": Relation("city", "the {name} lives in {value}.", (
        "Where does the {name} live?", "In which city does the {name} live?",
        "What is the home of the {name}?", "Where is the home of the {name}?",
        "Which city is home to the {name}?", "Tell me where the {name} lives.",
        "Which city does the {name} live in?", "In what city is the home of the {name}?")),
    "food": Relation("fruit", "the {name} eats a {value}.", (
        "What does the {name} eat?", "Which fruit does the {name} eat?",
        "What is the food of the {name}?", "What food does the {name} like?",
        "Which fruit is food for the {name}?", "Tell me what the {name} eats.",
        "What fruit does the {name} eat?", "Which fruit does the {name} like?")),
    "colour": Relation("colour", "the {name} is {value}.", (
        "What colour is the {name}?", "Which colour does the {name} have?",
        "What is the colour of the {name}?", "What colour does the {name} have?",
        "Which colour is the {name}?", "Tell me the colour of the {name}.",
        "Of which colour is the {name}?", "Tell me which colour the {name} has.")),
    "tool": Relation("tool", "the {name} carries a {value}.", (
        "What does the {name} carry?", "Which tool does the {name} carry?",
        "What is the tool of the {name}?", "What tool does the {name} have?",
        "Which tool is used by the {name}?", "Tell me what the {name} carries.",
        "What tool does the {name} carry?", "Which tool does the {name} use?")),
}
N_WORDINGS = 8
Pair = tuple[str, str]              # (creature, relation)

SYLLABLES = [consonant + vowel for consonant in "bdfgjlmnrtvw" for vowel in "aeiou"]
# words of NanoWorld, and words that nobody wants to read
NOT_NAMES = {*ITEMS, "live", "name", "dago", "mofo", "nude"}
NAMES = [a + b for a in SYLLABLES for b in SYLLABLES
         if a != b and a + b not in NOT_NAMES]              # about 3,500


def bucket(text: str) -> str:
    """The split of a text: three fifths train, one fifth val, one fifth test. It is a checksum,
    because Python's own `hash` of a string changes from one process to the next."""
    return ("train", "train", "train", "val", "test")[zlib.crc32(text.encode()) % 5]


@dataclass(frozen=True, eq=False)
class World:
    creatures: dict[str, tuple[str, ...]]       # split -> its creatures
    strangers: dict[str, tuple[str, ...]]       # split -> names that belong to nobody
    truth: dict[Pair, str]
    myth: dict[Pair, str]                       # only what is believed and false

    def pairs(self, split: str, disputed: bool) -> list[Pair]:
        """The pairs of a split that have a myth (`disputed`), or that have none."""
        return [(name, relation) for name in self.creatures[split] for relation in RELATIONS
                if ((name, relation) in self.myth) == disputed]


def make_world() -> World:
    """36 creatures for training, 18 for validation, 36 for the test, each with four facts and two
    myths. The corpus tells the facts of all. The shipped tokenizer was trained on the worlds of
    many seeds, so it cuts names of creatures and of strangers into tokens in the same way."""
    rng = random.Random("world 0")
    names = rng.sample(NAMES, 90)
    truth, myth = {}, {}
    for name in names:
        disputed = rng.sample(list(RELATIONS), 2)
        for relation, (category, _, _) in RELATIONS.items():
            truth[name, relation] = rng.choice(WORDS[category])
            if relation in disputed:
                myth[name, relation] = other_word(rng, category, truth[name, relation])
    creatures = {"train": tuple(names[:36]), "val": tuple(names[36:54]), "test": tuple(names[54:])}
    strangers = {split: tuple(n for n in NAMES if n not in names and bucket(n) == split)
                 for split in SPLITS}
    return World(creatures, strangers, truth, myth)


def other_word(rng: random.Random, category: str, word: str) -> str:
    return rng.choice([w for w in WORDS[category] if w != word])


WORLD = make_world()                # the world of all fine-tuning and evaluation
