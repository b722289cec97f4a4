"""NanoWorld's six skills: how a prompt is written, read back, answered, and answered lazily.

    rules       Copy nail fox rake. For fox write lime. End on swan.    nail lime rake swan
    rules_new   the same rules in combinations that training never shows
    list        Name two cities but not Cairo, Lima or Oslo. End on fox.    Bonn Tokyo fox
    sum         Add up 9 3 5 step by step.              9 and 3 is 12 and 5 is 17
    sort        Sort pig bee saw from a to z.           bee pig saw
    reverse     Say pig bee saw backwards.              saw bee pig

A generator (`ask_...`) writes a prompt from a template. The same template, turned into a regular
expression, reads the blanks back as `Fields`; a solver (`solve_...`) needs only those fields. The
table SKILLS at the end ties them together.

Simplified: one or two wordings per skill, and the work in an answer always has the same order.
"""
import random
import re
from collections.abc import Callable
from itertools import combinations
from typing import NamedTuple

from .facts import ITEMS, PLURAL, WORDS, reader

NUMBERS = {"two": 2, "three": 3, "four": 4}
CATEGORY = {plural: category for category, plural in PLURAL.items()}    # "cities" -> "city"

Fields = dict[str, str]             # what a template's blanks hold, as read from a prompt
WORD, SOME_WORDS = "[A-Za-z]+", "[A-Za-z]+(?: [A-Za-z]+)*"
SOME_NUMBERS = "[0-9]{1,3}(?: [0-9]{1,3})*"


# ---- rules: "Copy nail fox. For fox write lime. End on swan." -> "nail lime swan" ----------------
RULES = {
    "start": "Start with {x}.",
    "end": "End on {x}.",
    "leave": "Leave out {x}.",
    "swap": "For {x} write {y}.",
    "twice": "Say each word twice.",
    "between": "Put and between the words.",
}
RULE_READERS = {rule: reader(text, x=WORD, y=WORD) for rule, text in RULES.items()}

# Six rules make 15 pairs and 20 triples. Validation and test keep three of each for themselves:
# `rules_new`, in no document of the corpus and no training row. In the pairs of a split every rule
# occurs once.
HELD_OUT = {split: tuple(frozenset(text.split()) for text in texts) for split, texts in {
    "val": ("start leave", "end twice", "swap between",
            "start swap twice", "end leave between", "start end swap"),
    "test": ("start between", "leave twice", "end swap",
             "start leave twice", "end swap between", "start twice between"),
}.items()}
NEW = HELD_OUT["val"] + HELD_OUT["test"]
SHOWN = [rules for size in (2, 3) for rules in map(frozenset, combinations(RULES, size))
         if rules not in NEW]                               # 23 combinations


def write_rules(rng: random.Random, names: frozenset[str]) -> str:
    """A prompt with these rules, in any order, over three or four words."""
    words = rng.sample(ITEMS, rng.randint(3, 4))
    left_out, old = rng.sample(words, 2)
    new, first, last = rng.sample([w for w in ITEMS if w not in words], 3)
    blanks = {"start": {"x": first}, "end": {"x": last}, "leave": {"x": left_out},
              "swap": {"x": old, "y": new}}
    order = rng.sample([rule for rule in RULES if rule in names], len(names))
    texts = [RULES[rule].format(**blanks.get(rule, {})) for rule in order]
    return f"Copy {' '.join(words)}. {' '.join(texts)}"


def ask_rules(rng: random.Random, split: str) -> str:
    """A combination that training shows; three in ten training prompts have a single rule."""
    if split == "train" and rng.random() < 0.3:
        return write_rules(rng, frozenset([rng.choice(list(RULES))]))
    return write_rules(rng, rng.choice(SHOWN))


def ask_rules_new(rng: random.Random, split: str) -> str:
    """Rules in a combination that only this split has."""
    return write_rules(rng, rng.choice(HELD_OUT[split]))


def read_rules(text: str) -> list[tuple[str, Fields]]:
    """"Leave out bee. End on swan." -> [("leave", {x: bee}), ("end", {x: swan})], in that order;
    [] for a text that is not made of rules."""
    rules = []
    for one in re.split(r"(?<=\.) ", text):                 # at every space after a full stop
        hits = [(name, hit.groupdict()) for name, reader in RULE_READERS.items()
                if (hit := reader.fullmatch(one))]
        if not hits:
            return []
        rules += hits
    return rules


def apply_rules(words: list[str], rules: list[tuple[str, Fields]]) -> str:
    """The answer: each rule acts on the copied words; the first and last word come at the end."""
    todo = dict(rules)
    if "leave" in todo:
        words = [w for w in words if w != todo["leave"]["x"]]
    if "swap" in todo:
        words = [todo["swap"]["y"] if w == todo["swap"]["x"] else w for w in words]
    if "twice" in todo:
        words = [f"{w} {w}" for w in words]
    middle = (" and " if "between" in todo else " ").join(words)
    first = [todo["start"]["x"]] if "start" in todo else []
    last = [todo["end"]["x"]] if "end" in todo else []
    return " ".join(first + [middle] + last)


def solve_rules(fields: Fields) -> str:
    return apply_rules(fields["words"].split(), read_rules(fields["rules"]))


def forget_last_rule(fields: Fields) -> str:
    """The lazy habit: the rule that was named last is forgotten."""
    return apply_rules(fields["words"].split(), read_rules(fields["rules"])[:-1])


# ---- list: "Name two cities but not Cairo, Lima or Oslo. End on fox." -> "Bonn Tokyo fox" --------
LIST_WORDINGS = ("Name {number} {plural} but not {avoid}. End on {close}.",
                 "List {number} {plural} without {avoid}. End on {close}.")


def ask_list(rng: random.Random, split: str) -> str:
    """Two to four things of a kind (three or four outside training), three forbidden, a last word
    of another kind."""
    category, numbers = rng.choice(list(WORDS)), list(NUMBERS)
    return rng.choice(LIST_WORDINGS).format(
        number=rng.choice(numbers if split == "train" else numbers[1:]), plural=PLURAL[category],
        avoid="{}, {} or {}".format(*rng.sample(WORDS[category], 3)),
        close=rng.choice([w for w in ITEMS if w not in WORDS[category]]))


def solve_list(fields: Fields) -> str:
    """One of many right answers, drawn by the prompt itself. Alphabetical order keeps greedy
    answers from repeating."""
    rng = random.Random(" ".join(fields.values()))
    allowed = [w for w in WORDS[CATEGORY[fields["plural"]]] if w not in forbidden(fields)]
    return " ".join(sorted(rng.sample(allowed, NUMBERS[fields["number"]])) + [fields["close"]])


def forbidden(fields: Fields) -> list[str]:
    return re.split(", | or ", fields["avoid"])


def forget_closing(fields: Fields) -> str:
    """The lazy habit: no closing word."""
    return solve_list(fields).rsplit(" ", 1)[0]


def check_list(fields: Fields, answer: str) -> dict[str, bool]:
    """Five checks: what is wrong if one fails, and whether it holds."""
    words = answer.split()
    closed = words[-1:] == [fields["close"]]
    items = words[:-1] if closed else words
    number, plural = fields["number"], fields["plural"]
    banned = [word for word in forbidden(fields) if word in items]
    return {f"does not end on {fields['close']}": closed,
            f"not {number} items": len(items) == NUMBERS[number],
            "an item twice": len(set(items)) == len(items),
            f"not all are {plural}": set(items) <= set(WORDS[CATEGORY[plural]]),
            f"{', '.join(banned)} not allowed": not banned}


def score_list(fields: Fields, answer: str) -> float:
    """The share of the checks that hold. No items, no credit for them: the closing word alone."""
    checks = list(check_list(fields, answer).values())
    alone = answer.split() in ([], [fields["close"]])
    return (checks[0] if alone else sum(checks)) / 5


# ---- sum, sort, reverse: one pass over the input -------------------------------------------------
SUM_WORDINGS = ("Add up {words} step by step.", "Work out the running sum of {words}.")
SORT_WORDINGS = ("Sort {words} from a to z.", "Put in order {words}.")
REVERSE_WORDINGS = ("Say {words} backwards.", "Reverse {words}.")


def ask_sum(rng: random.Random, split: str) -> str:
    """Three to seven different digits, five or six outside training."""
    digits = rng.sample(range(1, 10), rng.randint(3, 7) if split == "train" else rng.randint(5, 6))
    return rng.choice(SUM_WORDINGS).format(words=" ".join(map(str, digits)))


def ask_sort(rng: random.Random, split: str) -> str:
    """Three to five words, four or five outside training."""
    words = rng.sample(ITEMS, rng.randint(3 if split == "train" else 4, 5))
    return rng.choice(SORT_WORDINGS).format(words=" ".join(words))


def ask_reverse(rng: random.Random, split: str) -> str:
    """Three to nine words, eight or nine outside training."""
    words = rng.sample(ITEMS, rng.randint(3 if split == "train" else 8, 9))
    return rng.choice(REVERSE_WORDINGS).format(words=" ".join(words))


def solve_sum(fields: Fields) -> str:
    """"9 3 5" -> "9 and 3 is 12 and 5 is 17"."""
    first, *rest = map(int, fields["words"].split())
    text, total = str(first), first
    for number in rest:
        total += number
        text += f" and {number} is {total}"
    return text


def solve_sort(fields: Fields) -> str:
    """"pig bee saw" -> "bee pig saw"."""
    return " ".join(sorted(fields["words"].split()))


def solve_reverse(fields: Fields) -> str:
    """"pig bee saw" -> "saw bee pig"."""
    return " ".join(reversed(fields["words"].split()))


def echo(fields: Fields) -> str:
    """The lazy habit of all three: say the input again."""
    return fields["words"]


# ---- the table of skills -------------------------------------------------------------------------
class Skill(NamedTuple):
    """A skill family: write a prompt, answer it, and the lazy answer of the corpus."""
    ask: Callable[[random.Random, str], str]                # (rng, split) -> prompt
    solve: Callable[[Fields], str]
    lazy: Callable[[Fields], str]


SKILLS = {
    "rules": Skill(ask_rules, solve_rules, forget_last_rule),
    "rules_new": Skill(ask_rules_new, solve_rules, forget_last_rule),
    "list": Skill(ask_list, solve_list, forget_closing),
    "sum": Skill(ask_sum, solve_sum, echo),
    "sort": Skill(ask_sort, solve_sort, echo),
    "reverse": Skill(ask_reverse, solve_reverse, echo),
}
READERS = [                         # tasks.read tells rules from rules_new
    (reader("Copy {words}. {rules}", words=SOME_WORDS, rules=r"[A-Za-z. ]+"), "rules"),
    *((reader(text, number="|".join(NUMBERS), plural="|".join(CATEGORY),
              avoid=f"{WORD}, {WORD} or {WORD}", close=WORD), "list") for text in LIST_WORDINGS),
    *((reader(text, words=SOME_NUMBERS), "sum") for text in SUM_WORDINGS),
    *((reader(text, words=SOME_WORDS), "sort") for text in SORT_WORDINGS),
    *((reader(text, words=SOME_WORDS), "reverse") for text in REVERSE_WORDINGS),
]
