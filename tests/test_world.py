"""NanoWorld: right answers score 1 and wrong ones less, rows hold what their kind promises, splits
share nothing, and every draw is a pure function that has not moved."""
import random
import zlib
from collections import Counter
from itertools import combinations, islice

import numpy as np
import pytest
from made import NANO

from nanouft import world
from nanouft.data.batches import order
from nanouft.data.row import Row
from nanouft.models.tokenizer import Turn
from nanouft.plumbing import seeds
from nanouft.plumbing.errors import UserError
from nanouft.pretrain import ROW
from nanouft.world import GROUP_A, HELD_OUT, SPLITS, TASKS, rows, score
from nanouft.world.answers import SHOWN, read_question, read_rules, task_of
from nanouft.world.documents import corpus, token_rows
from nanouft.world.facts import bucket
from nanouft.world.tasks import bad, partly_right

EVERY = [(task, split) for task in TASKS for split in SPLITS
         if (task, split) != ("rules_new", "train")]
# crc32 of what is drawn. A change here is other data: every committed figure must be made anew.
DRAWS = {"train": "876de148", "val": "ee921758", "test": "239835fc", "documents": "fab73f45",
         "order": "7a649f31", "token rows": "f4f944c9", "mixed": "71446b9b"}


def asked(row: Row) -> str:
    return row.prompt[0].text


def scored(row: Row) -> float:
    return score(asked(row), row.answer[0].text)


# ---- the score -----------------------------------------------------------------------------------
@pytest.mark.parametrize("task, split", EVERY)
def test_right_answers_score_1_and_wrong_ones_less(task, split):
    for row in rows(split, "pairs", 40, 5, skills=[task]):
        prompt, right, wrong = asked(row), row.chosen[0].text, row.rejected[0].text
        assert task_of(prompt) == row.task == task
        assert right == world.right_answer(prompt) and score(prompt, right) == 1
        assert 0 <= score(prompt, wrong) < 1 and score(prompt, "") == 0
        part, worst = (make(random.Random(1), prompt) for make in (partly_right, bad))
        assert score(prompt, worst) <= score(prompt, part) < 1
        assert (score(prompt, part) > 0) == (task in GROUP_A), "knowledge is right or wrong"


RULES = "Copy nail fox rake. For fox write lime. End on swan."      # nail lime rake swan
LIST = "Name three cities but not Cairo, Lima or Oslo. End on fox."
SUM = "Add up 9 3 5 step by step."                                  # 9 and 3 is 12 and 5 is 17


@pytest.mark.parametrize("prompt, answer, wanted", [
    (RULES, " nail  lime rake\nswan ", 1), (RULES, "nail lime rake", 3 / 4),
    (RULES, "nail fox rake swan", 1 / 4), (RULES, "Nail lime rake swan", 0),
    ("Copy pig bee saw. Say each word twice. Start with fig. Put and between the words.",
     "fig pig pig and bee bee and saw saw", 1),
    ("Copy pig bee saw. Leave out bee. End on fig.", "pig saw fig", 1),
    (LIST, "Tokyo Kyiv Bonn fox", 1),
    (LIST, "Bonn Kyiv Tokyo", 4 / 5), (LIST, "Bonn Kyiv Kyiv fox", 4 / 5),
    (LIST, "Bonn Cairo Kyiv fox", 4 / 5), (LIST, "Bonn rake Kyiv fox", 4 / 5),
    (LIST, "fox Bonn Kyiv fox", 4 / 5), (LIST, "Bonn Bonn rake Cairo", 0),
    (SUM, "9 and 3 is 12 and 5 is 17", 1), (SUM, "9 and 3 is 13 and 5 is 18", 4 / 9),
    (SUM, "9 and 3 is 12 and 5 is 17 and 9 and 3 is 12", 9 / 15),
    ("Sort pig bee saw from a to z.", "bee saw pig", 1 / 3),
    ("Say pig bee saw backwards.", "saw bee", 2 / 3), ("Reverse pig bee saw.", "saw bee pig", 1),
    ("What does the ruga eat?", "The ruga eats a peach.", 1),       # the book
    ("What does the ruga eat?", "The ruga eats a cherry.", 0),      # the myth
    ("What colour is the ruga?", "The ruga is grey", 0),
    ("What does the niji eat?", "I do not know.", 1),               # a stranger
    ("What does the niji eat?", "The niji eats a peach.", 0)])
def test_scores_by_hand(prompt, answer, wanted):
    assert score(prompt, answer) == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("prompt", [
    "", "Hello.", "Sort  from a to z.", "Add up pig bee step by step.", "Copy pig bee.",
    "Name nine cities but not Rome. End on fox.", "Copy pig bee. End on fox", "Copy pig. Sing.",
    "Copy pig bee. End on fox. And then", "What does By the book: the ruga eat?",
    "Where does the Ruga live?", " Reverse pig bee.", "Reverse pig bee. Now.",
    "Many say: What does the ruga eat?"])
def test_a_prompt_from_elsewhere_is_refused(prompt):
    with pytest.raises(ValueError, match="not a prompt of NanoWorld"):
        score(prompt, "I do not know.")
    known = rows("val", "prompts", 2, 0)
    with pytest.raises(UserError, match="the exact score exists only for NanoWorld's prompts"):
        world.exact_scores([*known, Row((Turn("user", prompt),))], ["I do not know."] * 3)


# ---- rows ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", world.KINDS)
def test_rows_hold_what_their_kind_promises(kind):
    data = rows("train", kind, 255, 3)
    assert len(data) == 255 and data == rows("train", kind, 255, 3) != rows("train", kind, 255, 4)
    if kind == "pairs":
        worse = [score(asked(r), r.rejected[0].text) for r in data]
        assert [r.p for r in data] == [1 - w / 2 for w in worse] and len(set(worse)) > 5
        assert {r.prompt for r in data} == {r.prompt for r in rows("train", "demos", 255, 3)}
        return
    scores = [scored(r) for r in data]
    if kind in ("demos", "prompts"):
        assert set(scores) == {1.0} and {(r.score, r.label) for r in data} == {(None, None)}
    if kind == "labels":
        assert [r.label for r in data] == [x == 1 for x in scores] and sum(scores) >= 128
    if kind == "scores":
        assert [r.score for r in data] == scores
        skills = [r.score for r in rows("train", kind, 300, 3, skills=GROUP_A)]
        parts = [np.mean([f(x) for x in skills]) for f in
                 (lambda x: x == 1, lambda x: 0 < x < 1, lambda x: x < 0.4)]
        assert parts[0] == pytest.approx(1 / 3, abs=0.02) and min(parts) > 0.25, \
            "right, partly right and bad answers in turn"


@pytest.mark.parametrize("mix, counts", [
    ("", (30, 30)), ("2:1", (40, 20)), ("1:0", (60, 0)), ("5:2", (43, 17))])
def test_kinds_are_mixed_in_proportion_and_ask_other_prompts(mix, counts):
    mixed = world.mixed_rows("train", ["demos", "scores"], 60, 0, skills="A:B", mix=mix)
    demos, graded = ([r for r in mixed if (r.score is None) == x] for x in (True, False))
    assert (len(demos), len(graded)) == counts
    assert {r.task for r in demos} <= set(GROUP_A)
    assert {r.task for r in graded} <= {"truth", "unknown"}
    mixed = world.mixed_rows("train", ["demos", "prompts"], 60, 0, mix=mix)
    assert len({r.prompt for r in mixed}) == 60
    assert sum(r.answer is None for r in mixed) == counts[1], "beside demonstrations"


def test_noise_spoils_exactly_its_share_and_nothing_else():
    clean, some, more = (rows("train", "demos", 200, 0, noise=noise) for noise in (0, 0.2, 0.4))
    assert [r.prompt for r in clean] == [r.prompt for r in some] == [r.prompt for r in more]
    spoilt = [{i for i, (a, b) in enumerate(zip(clean, noisy)) if a != b} for noisy in (some, more)]
    assert [len(s) for s in spoilt] == [40, 80] and spoilt[0] < spoilt[1]
    assert [i for i, r in enumerate(more) if scored(r) < 1] == sorted(spoilt[1])
    nine = zip(rows("train", "demos", 9, 0), rows("train", "demos", 9, 0, noise=0.4))
    assert sum(a != b for a, b in nine) == 4, "3.6 are four"


# ---- splits --------------------------------------------------------------------------------------
def test_splits_share_no_prompt_no_creature_and_no_stranger():
    data = {split: rows(split, "prompts", 1500, 0) for split in SPLITS}
    for one, two in combinations(SPLITS, 2):
        a, b = ({r.prompt for r in data[s]} for s in (one, two))
        assert len(a) == 1500 and not a & b
        a, b = ({read_question(asked(r))[0] for r in data[s] if read_question(asked(r))}
                for s in (one, two))
        assert len(a) > 100 and not a & b
    for split in SPLITS:
        parts = Counter(r.task for r in data[split])
        assert max(parts.values()) - min(parts.values()) <= 1
        assert len(parts) == (8 if split == "train" else 9)
        assert all(bucket(asked(r)) == split for r in data[split] if r.task in GROUP_A)


def rule_set(prompt: str) -> frozenset[str]:
    return frozenset(rule for rule, _ in read_rules(prompt.split(". ", 1)[1]))


def test_held_out_rules_never_occur_in_training_or_in_the_corpus():
    held = HELD_OUT["val"] + HELD_OUT["test"]
    assert len({*SHOWN, *held}) == len(SHOWN) + len(held) == 35     # 15 pairs, 20 triples of six
    for split in ("val", "test"):
        new = {rule_set(asked(r)) for r in rows(split, "prompts", 90, 0, skills=["rules_new"])}
        assert new == set(HELD_OUT[split])
    chats = [t.text for d in islice(corpus(0), 2000) for t in d if t.role == "user"]
    train = [asked(r) for r in rows("train", "demos", 1020, 0)]
    seen = [rule_set(p) for p in chats + train if p.startswith("Copy ")]
    assert all(len(r) == 1 or r in SHOWN for r in seen) and {*seen} >= set(SHOWN)
    assert all(bucket(p) == "train" for p in chats if not read_question(p))


# ---- draws ---------------------------------------------------------------------------------------
def test_draws_have_not_moved():
    found = {split: [(r.prompt, r.answer, r.chosen, r.rejected, r.score, r.label, r.p, r.scores)
                     for kind in world.KINDS
                     for r in rows(split, kind, 187, 3, noise=0.2 * (kind == "demos"))]
             for split in SPLITS}
    found["documents"] = list(islice(corpus(3), 200))
    found["order"] = [step.tolist() for step in order([7, 3, 9, 3, 5, 8] * 7, 4, 25, 3)]
    found["token rows"] = token_rows(4, ROW, 5, NANO).tolist()
    found["mixed"] = [(r.prompt, r.answer, r.score) for r in world.mixed_rows(
        "train", ["demos", "scores"], 40, 3, 0.2, "A:all", "3:1")]
    assert DRAWS == {name: f"{zlib.crc32(repr(x).encode()):08x}" for name, x in found.items()}


@pytest.mark.parametrize("seed", [0, 1, 20_261_122])
def test_every_place_of_a_run_has_random_numbers_of_its_own(seed):
    """Rows of all steps, rollouts and their chunks, and what numpy draws."""
    steps = [seeds.step_seed(seed, step) for step in range(100)]
    coins = {seeds.row_seed(s, row) for s in steps for row in range(64)}
    rollouts = {seeds.rollout_seed(seed, r, chunk) for r in range(100) for chunk in range(64)}
    assert len(coins) == len(rollouts) == 100 * 64
    assert not {*steps} & {seeds.step_seed(seed + 1, step) for step in range(10_000)}
    numpy = [[seed, seeds.ORDER], [seed, seeds.WINDOW], [seed, 0, 0]]       # of a minibatch
    assert len({int(np.random.default_rng(s).integers(2**62)) for s in numpy}) == 3
