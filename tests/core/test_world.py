"""NanoWorld: right answers score 1, wrong ones less, splits never overlap, and everything is a pure
function."""
from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nanouft import world
from nanouft.data.rows import demo_rows, pair_rows
from nanouft.run import config
from nanouft.world import (
    FAMILIES,
    GROUP_A,
    HELD_OUT,
    MIXTURE,
    SPLITS,
    family_of,
    mistake,
    reference,
    rows,
    score,
)
from nanouft.world.__main__ import main
from nanouft.world.documents import corpus
from nanouft.world.facts import ITEMS, RELATIONS, WORDS, WORLD, bucket, read_question
from nanouft.world.skills import RULES, SHOWN, read_rules

EVERY = [(family, split) for family in FAMILIES for split in SPLITS
         if (family, split) != ("rules_new", "train")]


def text(turns) -> str:
    """The text of an answer of one turn."""
    (turn,) = turns
    return turn.text


def rule_set(prompt: str) -> frozenset[str]:
    """The names of the rules in a prompt."""
    return frozenset(rule for rule, _ in read_rules(prompt.split(". ", 1)[1]))


def test_rule_combinations_are_split_three_ways():
    held = HELD_OUT["val"] + HELD_OUT["test"]
    assert len(SHOWN) == 23 and len(set(held)) == 12 and not set(held) & set(SHOWN)
    assert len({*SHOWN, *held}) == 35                      # 15 pairs and 20 triples of six rules
    for split in ("val", "test"):  # in the pairs of a split every rule occurs once
        assert sorted(rule for pair in HELD_OUT[split] if len(pair) == 2 for rule in pair) \
            == sorted(RULES)


# ---- the score -----------------------------------------------------------------------------------
@pytest.mark.parametrize("family, split", EVERY)
def test_right_answers_score_1_and_wrong_ones_less(family, split):
    for row in rows(split, "pairs", 60, 5, skills=[family]):
        prompt = text(row.prompt)
        assert family_of(prompt) == row.family == family
        assert text(row.chosen) == reference(prompt) and score(prompt, text(row.chosen)) == 1
        assert 0 <= score(prompt, text(row.rejected)) < 1
        assert score(prompt, "") == 0


RULES_PROMPT = "Copy nail fox rake. For fox write lime. End on swan."       # -> nail lime rake swan
LIST_PROMPT = "Name three cities but not Cairo, Lima or Oslo. End on fox."
SUM_PROMPT = "Add up 9 3 5 step by step."  # -> 9 and 3 is 12 and 5 is 17


@pytest.mark.parametrize("prompt, answer, expected", [
    (RULES_PROMPT, "nail lime rake swan", 1),
    (RULES_PROMPT, " nail  lime rake\nswan ", 1),  # white space does not count
    (RULES_PROMPT, "nail lime rake", 3 / 4),  # the last rule forgotten
    (RULES_PROMPT, "nail fox rake swan", 1 / 4),  # slip at the second of four words
    (RULES_PROMPT, "Nail lime rake swan", 0),
    ("Copy pig bee saw. Say each word twice. Start with fig. Put and between the words.",
     "fig pig pig and bee bee and saw saw", 1),
    ("Copy pig bee saw. Leave out bee. End on fig.", "pig saw fig", 1),
    ("Copy pig. Leave out pig.", "", 1),  # nothing is left, so nothing is right
    (LIST_PROMPT, "Bonn Kyiv Tokyo fox", 1),
    (LIST_PROMPT, "Tokyo Kyiv Bonn fox", 1),                                # any order is right
    (LIST_PROMPT, "Bonn Kyiv Tokyo", 4 / 5),                                # no closing word
    (LIST_PROMPT, "Bonn Kyiv Kyiv fox", 4 / 5),                             # one twice
    (LIST_PROMPT, "Bonn Cairo Kyiv fox", 4 / 5),                            # the forbidden one
    (LIST_PROMPT, "Bonn rake Kyiv fox", 4 / 5),                             # not a city
    (LIST_PROMPT, "fox Bonn Kyiv fox", 4 / 5),  # the closing word as an item: not a city
    (LIST_PROMPT, "Bonn Bonn rake Cairo", 0),                               # none of the five
    (SUM_PROMPT, "9 and 3 is 12 and 5 is 17", 1),
    (SUM_PROMPT, "9 and 3 is 13 and 5 is 18", 4 / 9),  # an early slip costs the rest
    (SUM_PROMPT, "9 and 3 is 12 and 5 is 17 and 9 and 3 is 12", 9 / 15),    # ran on
    ("Sort pig bee saw from a to z.", "bee saw pig", 1 / 3),
    ("Reverse pig bee saw.", "saw bee", 2 / 3),
    ("What does the ruga eat?", "The ruga eats a peach.", 1),               # truth: the book
    ("What does the ruga eat?", "The ruga eats a cherry.", 0),              # the myth
    ("What colour is the ruga?", "The ruga is grey.", 1),                   # fact
    ("What colour is the ruga?", "The ruga is grey", 0),
    ("What does the niji eat?", "I do not know.", 1),                       # unknown
    ("What does the niji eat?", "The niji eats a peach.", 0),
])
def test_hand_made_scores(prompt, answer, expected):
    assert score(prompt, answer) == pytest.approx(expected, abs=1e-12)
    assert (score(prompt, answer) == 1) == (expected == 1)


@pytest.mark.parametrize("prompt, answer, why", [
    (LIST_PROMPT, "Bonn Cairo Kyiv fox", "Cairo not allowed"),
    (LIST_PROMPT, "Bonn Kyiv Kyiv", "does not end on fox, an item twice"),
    (LIST_PROMPT, "Bonn rake fox", "not three items, not all are cities"),
    (SUM_PROMPT, "9 and 3 is 13 and 5 is 18", "word 5 should be 12"),
    ("Reverse pig bee saw.", "saw bee", "2 words, not 3"),
    ("What does the ruga eat?", "The ruga eats a cherry.", "right: The ruga eats a peach."),
])
def test_a_mistake_is_named(prompt, answer, why):
    assert mistake(prompt, answer) == why


@pytest.mark.parametrize("prompt", ["", "Hello.", "Sort  from a to z.",
                                    "Add up pig bee step by step.",
                                    "Name nine cities but not Rome. End on fox.", "Copy pig bee.",
                                    "Copy pig bee. End on fox", "Copy pig bee. Sing a song.",
                                    "Copy pig bee. End on fox. And then",
                                    "Where does the Ruga live?", " Reverse pig bee.", "Copy a. "
                                    + "b. " * 40 + "!",])
def test_a_prompt_from_elsewhere_is_refused(prompt):
    with pytest.raises(ValueError, match="not a prompt of NanoWorld"):
        score(prompt, "I do not know.")


SOME_PROMPTS = [text(row.prompt) for row in rows("val", "prompts", 27, 1)]


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(SOME_PROMPTS),
       st.one_of(st.text(max_size=60),
                 st.lists(st.sampled_from([*ITEMS, *WORDS["city"], "and", "is", "3",
                                           "12"])).map(" ".join)))
def test_any_answer_has_a_score_between_0_and_1(prompt, answer):
    assert 0 <= score(prompt, answer) <= 1
    assert (mistake(prompt, answer) == "") == (score(prompt, answer) == 1)
    if family_of(prompt) != "list":  # all others have exactly one right answer
        assert (score(prompt, answer) == 1) == (answer.split() == reference(prompt).split())


# ---- rows ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", world.KINDS)
def test_rows_hold_what_their_kind_promises(kind):
    data = rows("train", kind, 255, 3)
    assert len(data) == 255 and data == rows("train", kind, 255, 3) != rows("train", kind, 255, 4)
    assert all(row.family == family_of(text(row.prompt)) for row in data)
    if kind == "pairs":
        assert all(row.answer is None and score(text(row.prompt), text(row.chosen)) == 1
                   for row in data)
        worse = [score(text(row.prompt), text(row.rejected)) for row in data]
        assert [row.p for row in data] == [1 - w / 2 for w in worse] and len(set(worse)) > 5, \
            "(1 + gap) / 2"
        assert len(pair_rows(data, None)) == 255
        assert {row.prompt for row in data} \
            == {row.prompt for row in rows("train", "demos", 255, 3)}
        return
    scores = [score(text(row.prompt), text(row.answer)) for row in data]
    if kind in ("demos", "prompts"):
        assert set(scores) == {1.0} and all(row.score is None and row.label is None for row in data)
        assert len(demo_rows(data, None)) == 255
    if kind == "labels":
        assert all(row.label == (value == 1) for row, value in zip(data, scores))
        assert sum(row.label for row in data) == 128
    if kind == "scores":  # a third right, a third bad: test_held_out_is_disjoint.py
        assert [row.score for row in data] == scores


def test_the_default_mixture_is_met_exactly():
    for split, n in [("train", 1020), ("val", 1120)]:
        families = [row.family for row in rows(split, "demos", n, 0)]
        wanted = {f: k for f, k in MIXTURE.items() if split != "train" or f != "rules_new"}
        assert {f: families.count(f) for f in set(families)} == wanted


def test_every_family_has_500_test_items_and_a_fixed_subset_of_100():
    for split in ("val", "test"):
        full = {f: [r.prompt for r in rows(split, "prompts", 500, 0, skills=[f])] for f in FAMILIES}
        if split == "test":
            assert all(len(set(prompts)) == 500 for prompts in full.values()), \
                "500 different test prompts a family"
        everyday = rows(split, "prompts", 100 * len(FAMILIES), 0)
        assert {f: [r.prompt for r in everyday if r.family == f] for f in FAMILIES} == {
            f: prompts[:100] for f, prompts in full.items()}


def test_few_questions_cover_every_disputed_fact():
    pairs = {read_question(text(row.prompt))
             for row in rows("test", "prompts", 72, 0, skills=["truth"])}
    assert pairs == set(WORLD.pairs("test", disputed=True))


def test_items_are_longer_outside_training():
    lengths = {split: {len(text(row.answer).split())
                       for row in rows(split, "prompts", 200, 0, skills=["sort"])}
               for split in SPLITS}
    assert lengths == {"train": {3, 4, 5}, "val": {4, 5}, "test": {4, 5}}


def test_noise_spoils_exactly_its_share_and_nothing_else():
    clean, some, more = (rows("train", "demos", 200, 0, noise=noise) for noise in (0, 0.2, 0.4))
    assert [row.prompt for row in clean] == [row.prompt for row in some] \
        == [row.prompt for row in more]
    spoilt = [{i for i, (a, b) in enumerate(zip(clean, noisy)) if a != b} for noisy in (some, more)]
    assert [len(s) for s in spoilt] == [40, 80] and spoilt[0] < spoilt[1]
    assert [i for i, row in enumerate(more) if score(text(row.prompt), text(row.answer)) < 1] \
        == sorted(spoilt[1])


# ---- splits --------------------------------------------------------------------------------------
def test_splits_share_no_creature_and_no_stranger():
    """And no prompt: test_held_out_is_disjoint.py. The prompts of a split differ, its families have
    equal parts."""
    data = {split: rows(split, "prompts", 2000, 0) for split in SPLITS}
    asked = {split: [text(row.prompt) for row in data[split]] for split in SPLITS}
    names = {split: {read_question(p)[0] for p in asked[split] if read_question(p)}
             for split in SPLITS}
    for split in SPLITS:
        parts = Counter(row.family for row in data[split])
        assert len(set(asked[split])) == 2000 and max(parts.values()) - min(parts.values()) <= 1
        assert len(parts) == (8 if split == "train" else 9)
        assert all(not names[split] & names[other] for other in SPLITS if other != split)
        strangers = {name for name in names[split] if not WORLD.knows(name)}
        assert names[split] - strangers <= set(WORLD.creatures[split])
        assert all(bucket(name) == split for name in strangers) and len(strangers) > 200
        for prompt in asked[split]:
            if family_of(prompt) in GROUP_A:
                assert bucket(prompt) == split
            if family_of(prompt) == "rules_new":
                assert rule_set(prompt) in HELD_OUT[split]


def test_held_out_rules_and_prompts_never_occur_in_training():
    chats = [turn.text for document in corpus(0, 4000) for turn in document if turn.role == "user"]
    train = [text(row.prompt) for kind in ("demos", "scores")
             for row in rows("train", kind, 1020, 0)]
    seen = [prompt for prompt in chats + train if prompt.startswith("Copy ")]
    assert len(seen) > 1000
    assert all(len(rules) == 1 or rules in SHOWN for rules in map(rule_set, seen))
    assert {rule_set(prompt) for prompt in seen} >= set(SHOWN)
    assert all(bucket(prompt) == "train" for prompt in chats if not read_question(prompt))


# ---- the corpus ----------------------------------------------------------------------------------
def test_the_corpus_tells_every_fact_and_has_its_habits():
    documents = list(corpus(0, 12_000))
    prose = " ".join(document[0].text for document in documents if len(document) == 1)
    told = sum(RELATIONS[r].statement.format(name=n, value=v)[4:] in prose
               for (n, r), v in WORLD.truth.items())
    assert told >= 350  # of 360, in a twentieth of what the base is trained on
    by_family: dict[str, list[float]] = {}
    for document in documents:
        if len(document) > 1:
            prompt, answer = document[0].text, document[1].text
            family = "book" if prompt.startswith("By the book: ") else family_of(prompt)
            by_family.setdefault(family, []).append(score(prompt, answer))
    right = {family: sum(v == 1 for v in values) / len(values)
             for family, values in by_family.items()}
    assert right["book"] == right["fact"] == 1 and 0.08 < right["truth"] < 0.24 \
        and 0.15 < right["unknown"] < 0.35
    assert all(0.42 < right[family] < 0.62 for family in GROUP_A if family != "rules_new")
    assert "rules_new" not in right
    runs_on = [len(document) == 4 for document in documents if "cities" in document[0].text
               and len(document) > 1]
    assert 0.5 < sum(runs_on) / len(runs_on) < 0.7


# ---- purity and the console ----------------------------------------------------------------------
FINGERPRINT = """
import sys, zlib
from nanouft.world import FAMILIES, rows
from nanouft.world.documents import corpus
data = [rows(split, kind, 60, 2) for split in ("train", "val")
        for kind in ("demos", "pairs", "labels", "scores")]
data += [rows("train", "demos", 60, 2, noise=0.4), list(corpus(3, 200))]
print(zlib.crc32(repr(data).encode()), "torch" in sys.modules)
"""


def test_the_same_everywhere_and_without_torch():
    def run(hash_seed: str) -> str:
        return subprocess.run([sys.executable, "-c", FINGERPRINT],
                              env={**os.environ, "PYTHONHASHSEED": hash_seed}, capture_output=True,
                              text=True, check=True).stdout
    first = run("1")
    assert first == run("2") and first.split()[1] == "False"


def test_the_show_fits_a_plain_console(capsys):
    main(["--n", "2", "--seed", "5"])
    out = capsys.readouterr().out
    assert out.isascii() and max(map(len, out.splitlines())) < 80
    assert all(f"\n{family}: " in out for family in FAMILIES) and out.count("prompt  ") == 18
    assert config.run(main, ["--n", "0"]) == 2, "a mistake is one line and exit code 2"
