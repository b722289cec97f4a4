"""Held out is held out: what a figure is measured on was never trained on; and draws that must
differ do.

    python -m pytest tests/core/test_held_out_is_disjoint.py        a few seconds
"""
import random
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from tiny import CPU, NANO, TINY, nano, say, tiny

from lab.vocabulary import nano_words
from nanouft import pretrain, reward, world
from nanouft.data.batches import Encoded, Tokens, encode
from nanouft.data.rows import Row, Turn, each_prompt, holdout, pair_rows, prompt_rows
from nanouft.objectives import OBJECTIVES
from nanouft.pretrain import Pretrain
from nanouft.rewards import harvest
from nanouft.rewards.scorer import reward_hash
from nanouft.run import choose_rows
from nanouft.run.runs import fingerprint
from nanouft.run.setup import rewarded_prompts
from nanouft.sampling import Rollouts, answer_rows
from nanouft.world.documents import corpus
from nanouft.world.tasks import prompts


# ---- rows ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", world.KINDS)
def test_no_prompt_of_nanoworld_stands_in_two_splits(kind):
    train, val, test = ({r.prompt for seed in (0, 1) for r in world.rows(split, kind, 900, seed)}
                        for split in ("train", "val", "test"))
    assert not train & val and not train & test and not val & test


def test_prompts_that_differ_in_white_space_only_stay_on_one_side():
    texts = [space.format(f"question {i}") for i in range(40)
             for space in ("{}", " {}", "{}\n", "\t{} ")]
    train, held = holdout([Row(say("user", t)) for t in texts], share=0.25)
    mine, theirs = ({r.prompt[0].text.strip() for r in side} for side in (train, held))
    assert held and not mine & theirs, "LAW: no question is trained on and held out"
    assert len(train) + len(held) == len(texts)


def test_of_equal_prompts_the_first_row_counts():
    rows = [Row(say("user", x), extra={"gold": str(i)}) for i, x in enumerate("aba")]
    assert each_prompt(rows) == rows[:2]
    assert prompt_rows(rows, None)[0].extra == {"gold": "0"}


@pytest.mark.parametrize("family", ["truth", "fact"])
def test_a_family_that_is_used_up_begins_again(family):
    """Validation has 288 prompts of these: each comes once before any comes a second time, in every
    round."""
    drawn = list(islice(prompts(family, "val", 0), 3 * 288))
    rounds = [set(drawn[i:i + 288]) for i in range(0, len(drawn), 288)]
    assert [len(r) for r in rounds] == [288] * 3 and rounds[0] == rounds[1] == rounds[2]


def test_the_vocabulary_counts_the_words_of_every_world():
    none, one, two = (nano_words(worlds, documents=3) for worlds in (0, 1, 2))
    for number, count in ((1, one - none), (2, two - one)):
        said = [turn.text for document in corpus(number, 3, world.make_world(number))
                for turn in document]
        assert "".join(sorted("".join(" " + text for text in said))) \
            == "".join(sorted("".join(count.elements())))


def test_the_world_gives_good_partly_good_and_bad_answers_in_turn():
    """Of 300 scored answers to Group A 100 are right and 100 bad: una and uft learn from both."""
    rng, groups = random.Random(0), ([], [], [])
    for i, row in enumerate(world.rows("train", "prompts", 300, 0, skills=world.GROUP_A)):
        groups[i % 3].append(world.row("scores", i, rng, row.prompt[0].text, row.family, "").score)
    right, partly, bad = groups
    assert set(right) == {1.0}
    assert 0.3 < np.mean(partly) < 0.8 and all(0 < x < 1 for x in partly)
    assert np.mean(bad) < np.mean(partly) / 2, "LAW: the third of three answers is bad"


def test_a_grade_of_a_half_is_not_good(monkeypatch):
    rows = [Row(say("user", str(i)), answer=(Turn("assistant", "x"),)) for i in range(3)]
    monkeypatch.setattr(choose_rows, "by_reward", lambda *args: np.array([0.0, 0.5, 0.75]))
    assert [r.label for r in choose_rows.graded(rows, ["labels"], "my.py:right", "cpu")] \
        == [False, False, True]


# ---- pairs of a reward model ---------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["corruptions", "samples"])
def test_a_reward_model_is_judged_on_pairs_it_was_not_trained_on(kind, monkeypatch):
    def pairs_of(model, tok, split, n, seed, families):
        return world.rows(split, "pairs", n, seed, skills=families)
    monkeypatch.setattr(reward, "sampled_pairs", pairs_of)
    train, held = reward.find_pairs(reward.Reward(rows=900, pairs=kind), CPU)
    assert len(train) == 900 and len(held) == 400
    assert not {r.prompt for r in train} & {r.prompt for r in held}, "LAW: no prompt is in both"


# ---- texts of a base -----------------------------------------------------------------------------
def text_ids(batch) -> torch.Tensor:
    """(B,T+1) ids of a step of pretraining."""
    s = batch.seqs["text"]
    return torch.cat([s.inputs, s.targets[:, -1:]], 1)


def test_the_held_out_end_of_a_text_is_never_drawn():
    """A text of 2,000 different tokens: the last 20th is held out, all else is drawn sooner or
    later."""
    gpt, ids = replace(TINY, n_ctx=16), np.arange(2000)
    cfg = Pretrain(corpus=["my.txt"], tokens=512)
    source, held = pretrain.source_of(cfg, gpt, None, 400, ids)
    drawn = {int(x) for step in range(400) for x in text_ids(source(step)).flatten()}
    assert drawn == set(range(1900)), "LAW: training reads the whole text but its held-out end"
    assert set(held.flatten().tolist()) <= set(range(1900, 2000)) and held.shape == (5, 17)


def test_held_out_documents_are_no_training_documents():
    cfg = Pretrain(tokens=2048)
    source, held = pretrain.source_of(cfg, replace(TINY, n_ctx=512), NANO, 20, None)
    rows, starts = [], []
    for batch in map(source, range(20)):
        rows += [tuple(row) for row in text_ids(batch).tolist()]
        starts.append(batch.seqs["text"].extra["pos"][:, 0].tolist())
    assert not set(rows) & {tuple(row) for row in held.tolist()} and len(held) == 64 \
        and len(set(rows)) == 320
    assert not any(map(any, starts[:15])), "rows begin at position 0"
    late = np.array(starts[15:])                                    # (steps, rows)
    assert not late[:, 0::2].any() and late[:, 1::2].std() > 50, \
        "in the last 30 % every other one stands anywhere"
    assert late.max() <= 512 - 128


# ---- the key of a run ----------------------------------------------------------------------------
def test_the_fingerprint_knows_weights_tokens_masks_and_grades():
    def made(ids=(1, 2, 3), mask=(0, 1, 1), **known) -> list[Encoded]:
        return [Encoded({"answer": Tokens(np.array(ids), np.array(mask))}, Row(**known))]
    model = tiny()
    keys = [fingerprint(model, rows) for rows in (made(), made(ids=(1, 2, 4)), made(mask=(0, 0, 1)),
                                                  made(score=0.5), made(label=1.0), made(p=0.5),
                                                  made() + made())]
    assert len({*keys, fingerprint(tiny(1), made())}) == 8, \
        "LAW: another run has another fingerprint"
    assert keys[0] == fingerprint(tiny(), made())


def test_the_mark_of_a_reward_knows_function_weights_and_fields(tmp_path):
    def mine(text: str, name: str = "right", **extra) -> str:
        (tmp_path / "my.py").write_text(text)
        return reward_hash(f"{tmp_path / 'my.py'}:{name}", [Row(say("user", "a"), extra=extra)])
    marks = [mine("x = 1"), mine("x = 2"), mine("x = 1", name="left"), mine("x = 1", gold="2"),
             mine("x = 1", gold="3")]
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "model.safetensors").write_text(folder)
        marks.append(reward_hash(str(tmp_path / folder), []))
    assert len({*marks, reward_hash("exact", [])}) == 8 and reward_hash("exact", []) == "" \
        and mine("x = 1") == marks[0]


# ---- draws ---------------------------------------------------------------------------------------
def test_held_out_answers_are_greedy():
    rows = world.rows("val", "prompts", 18, 0)
    prompts, _ = encode(prompt_rows(rows, None), NANO, TINY.n_ctx - 12)
    kept = [r for r in rows if any(e.row.roles["prompt"][0] == r.prompt for e in prompts)]
    o, model, said = OBJECTIVES["rloo"], nano(), []
    made = Rollouts(prompts, o, o.hp(), model, model, NANO,
                    lambda asked, texts: said.extend(texts) or np.ones(len(texts)),
                    rows=4, steps=4, max_new=8)
    found = rewarded_prompts(made, prompts)
    assert set(found["families"].values()) == {1.0}, "a mean of every family, not a sum"
    assert said == [NANO.decode(a.ids).strip() for a in answer_rows(model, NANO, kept, max_new=8)]


def test_every_chunk_of_a_harvest_has_random_numbers_of_its_own():
    rows = world.rows("train", "demos", 4, 0)
    cfg = harvest.Harvest(samples=4, max_new=6)

    def chunk(number: int, seed: int = 0) -> list[list[str]]:
        lines = harvest.one_chunk(nano(), NANO, rows, replace(cfg, seed=seed), mine, number)
        return [line["answers"] for line in lines]

    def mine(prompts, answers, *more):
        return np.zeros(len(answers))
    assert chunk(0) == chunk(0) and chunk(0) != chunk(1) != chunk(1, seed=1)
    flat = [text for texts in chunk(0) for text in texts]
    assert len(set(flat)) > 8, "LAW: samples of one prompt differ, too"


def test_an_answer_that_does_not_end_is_never_good():
    s = harvest.Sampled(say("user", "a"), ["x", "y", "z"], [1.0, 1.0, 0.0], [False, True, True],
                        [True] * 3)
    for good in (0.5, None):
        assert [r["label"] for r in harvest.labels(s, good)] == [False, True, False]


def test_a_pair_of_equal_answers_is_no_pair():
    same = Row(say("user", "a"), chosen=(Turn("assistant", "x"),),
               rejected=(Turn("assistant", "x"),))
    other = replace(same, rejected=(Turn("assistant", "y"),))
    assert len(pair_rows([same, other], None)) == 1
