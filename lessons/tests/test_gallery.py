"""The gallery: its page is what the kept results say, each fault is seen there and repaired, and a
story runs."""
import re
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from running import ROOT, call, one_error

from lessons.gallery import __main__ as gallery
from lessons.gallery import stories
from lessons.gallery.stories import STORIES
from nanouft.data.batches import Epochs, encode
from nanouft.data.rows import demo_rows, pair_rows
from nanouft.data.tokenizer import nano
from nanouft.run.storage import read_json, write_json
from nanouft.world import rows

DOCS = ROOT / "docs"
RESULTS = read_json(DOCS / "results" / "gallery.json")
NAMES = [story.name for story in STORIES]


@pytest.mark.parametrize("lesson", sorted({story.lesson for story in STORIES}))
def test_a_lesson_leads_to_its_stories(lesson):
    text = (DOCS / "lessons" / f"{lesson}.md").read_text(encoding="utf-8")
    (told,) = re.findall(r"\*\*Runs that failed:\*\* stor(?:y|ies) (.*) of "
                         r"\[docs/gallery.md\]\(../gallery.md\)", text)
    assert re.findall(r"\d+", told) == [str(n) for n, story in enumerate(STORIES, 1)
                                        if story.lesson == lesson]


def test_a_story_has_one_mistake():
    faults = [fault for s in STORIES for fault in (s.fault, s.asked) if fault is not nullcontext]
    assert len(set(faults)) == len(faults) == 7
    planted = [s for s in STORIES if {s.fault, s.asked} != {nullcontext}]
    assert not any(s.faulty != s.repaired for s in planted), "one mistake a story"


# ---- the committed results -----------------------------------------------------------------------
def test_the_page_is_that_of_the_results():
    text = (DOCS / "gallery.md").read_text(encoding="utf-8")
    assert text.count("\n## ") == len(STORIES), "a section of lessons/gallery/page.md a story"
    assert text == gallery.page(STORIES, RESULTS), "python -m lessons.gallery --out docs --page"


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_each_fault_is_seen_and_its_repair_repairs(story):
    made = RESULTS[story.name]
    assert story.shows(made), {side: made[side]["figures"][story.figure] for side in made}
    assert not story.shows({"faulty": made["repaired"], "repaired": made["repaired"]})
    for side, picture in (("faulty", story.name), ("repaired", f"{story.name}-repaired")):
        mine, other = ([x["prompt"] for x in made[s]["answers"]] for s in (side, "faulty"))
        assert mine == other
        assert list(made[side]["curves"]) == [name for panel in story.panels for name in panel]
        assert (DOCS / "gallery" / f"{picture}.png").exists()


# ---- the faults ----------------------------------------------------------------------------------
def step(fault, kind: str):
    """(the first batch of a run with this fault, its rows as tokens)"""
    found = rows("train", kind, 16, seed=0)
    examples = demo_rows(found, None) if kind == "demos" else pair_rows(found, None)
    encoded, _ = encode(examples, nano(), 128)
    with fault():
        return Epochs(encoded, 4, 4, 0, nano().pad)(0), encoded


def test_each_fault_in_a_batch_is_the_one_that_it_says():
    bad, encoded = step(stories.no_end, "demos")
    good = Epochs(encoded, 4, 4, 0, nano().pad)(0)
    s, right = bad.seqs["answer"], good.seqs["answer"]
    assert (right.targets == nano().end).any() and not (s.targets == nano().end).any()
    assert torch.equal(s.inputs, right.inputs) and torch.equal(s.mask, right.mask)

    s = step(stories.mask_too_late, "demos")[0].seqs["answer"]
    missing = (right.mask - s.mask).bool()
    assert missing.sum(-1).tolist() == [1] * 4 and (right.inputs[missing] == nano().assistant).all()

    s = step(stories.not_shifted, "demos")[0].seqs["answer"]
    assert torch.equal(s.targets, s.inputs)

    bad, encoded = step(stories.swapped, "pairs")
    good = Epochs(encoded, 4, 4, 0, nano().pad)(0)
    assert torch.equal(bad.seqs["chosen"].inputs, good.seqs["rejected"].inputs)
    assert bad.tokens["chosen"] == good.tokens["rejected"]


# ---- the command ---------------------------------------------------------------------------------
def test_a_short_story_runs_and_takes_its_place_on_the_page(here, monkeypatch, brief, capsys):
    """24 steps of the story whose targets are not shifted: enough for a model that repeats what it
    reads."""
    flags = "--objective sft --rows 64 --steps 24 --lr 1e-3 --eval-every 12"
    whole = STORIES[NAMES.index("nothing")]
    short = replace(whole, faulty=flags, repaired=flags)
    monkeypatch.setattr(gallery, "STORIES", (STORIES[0], short))
    monkeypatch.setattr(gallery, "ITEMS", 2)
    (here / "new" / "results").mkdir(parents=True)
    kept = {STORIES[0].name: RESULTS[STORIES[0].name]}
    write_json(here / "new" / "results" / "gallery.json", kept)
    assert call(gallery.main, "--story", "nothing", "--out", "new") == 0
    made = read_json(here / "new" / "results" / "gallery.json")
    assert list(made) == [STORIES[0].name, "nothing"]
    assert made[STORIES[0].name] == kept[STORIES[0].name]
    bad, good = (made["nothing"][side]["figures"] for side in ("faulty", "repaired"))
    assert bad["stops"] < 0.2 < good["stops"] and bad["held_out.nll"] > good["held_out.nll"]
    text = (here / "new" / "gallery.md").read_text(encoding="utf-8")
    assert "## 1. " in text and "## 2. " in text and "nothing    mean" in capsys.readouterr().out
    assert (here / "new" / "gallery" / "nothing.png").exists()


def test_mistakes_are_one_line(here, capsys):
    one_error(call(gallery.main, "--story", "endles"), capsys.readouterr().err, "endles", "endless")
    one_error(call(gallery.main, "--page"), capsys.readouterr().err, "gallery.json", "--page")


def test_no_fault_outlives_its_run():
    def now():
        return (Epochs.__call__, nano().prompt_ids(rows("val", "prompts", 1, 0)[0].prompt),
                stories.OBJECTIVES["dpo"])
    before = now()
    for fault in (fault for s in STORIES
                  for fault in (s.fault, s.asked) if fault is not nullcontext):
        with fault():
            assert now() != before
    assert now() == before
