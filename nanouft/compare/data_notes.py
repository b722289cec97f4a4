"""What is known of your rows before anything is trained: does a training read what is tested, and
which rows can a method not use? The notes name your own files and lines.

    leaks(test_rows, train_rows, "out/sft")     # ["17 of 17 held-out prompts are also trained on"]
    with_own_files("... train.jsonl, line 2", where)        # "... my.jsonl, line 8"
    each_note_once({"sft": ["a"], "dpo": ["a", "b"]})       # ["a", "dpo: b"]
"""
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from nanouft.data.holdout import leak, question_keys
from nanouft.data.rows import Row
from nanouft.plumbing.printing import places
from nanouft.run.folder import trained_question_keys


def leaks(tested_rows: list[Row], trained_rows: list[Row], init: str) -> list[str]:
    """Does a training, or the run that made the initial model, read what is tested?"""
    tested = {*question_keys(tested_rows)}
    texts = []
    if text := leak(tested, trained_question_keys(init)):
        texts.append(f"{text}, by the run that made {init}, so the scores are not of new "
                     "prompts; give --init the model before it, and compare chains such as sft+dpo")
    if text := leak(tested, question_keys(trained_rows)):
        texts.append(f"{text}, in rows of another group")
    return texts


def with_own_files(text: str, where: dict[str, str]) -> str:
    """It names your file and lines in place of those of a part."""
    def own(found: re.Match) -> str:
        lines = [f"{Path(found[1]).name}, line {n}" for n in re.findall(r"\d+", found[2])]
        return places(where.get(line, line) for line in lines)
    return re.sub(r"([^\s()]*\b(?:train|val)\.jsonl), lines? (\d+(?:(?:, | and )\d+)*)", own, text)


def each_note_once(notes_of: Mapping[str, Iterable[str]]) -> list[str]:
    """Of methods; with their names, if a note is not of all."""
    names: dict[str, list[str]] = {}
    for name, texts in notes_of.items():
        for text in texts:
            names.setdefault(text, []).append(name)
    return [text if len(of) == len(notes_of) else f"{', '.join(of)}: {text}"
            for text, of in names.items()]
