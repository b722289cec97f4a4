"""The check beside programs that somebody else might write: right ones in an unusual style are
accepted, wrong ones are refused, and most of these are named, never by a wrong name."""
from dataclasses import replace
from pathlib import Path

import pytest
from programs.right import HEAD as RIGHT_HEAD
from programs.right import RIGHT
from programs.wrong import HEAD, WRONG

from lessons.classroom.exercise import Exercise, exercises, judge_file
from lessons.classroom.judge import judge
from lessons.classroom.mistakes import alone_and_in_pairs, with_mistakes

KNOWN = exercises()


def judged(name: str, source: str, folder: Path) -> str:
    file = folder / f"ex{name[:2]}.py"
    file.write_text(source)
    return judge_file(KNOWN[name], file)


@pytest.mark.parametrize("name, program", RIGHT)
def test_a_right_program_in_another_style_is_right(name, program, tmp_path):
    assert judged(name, RIGHT_HEAD + program, tmp_path) == ""


def named(words: list[str], said: str, sentences: list[str]) -> bool:
    """Are its mistakes named? A sentence about another one fails the test."""
    told = [sentence for sentence in sentences if sentence in said]
    for sentence in told:
        assert any(word in sentence for word in words), f"it has another mistake: {sentence}"
    return bool(told) and all(any(word in sentence for sentence in told) for word in words)


def test_wrong_programs_are_refused_and_most_are_named(tmp_path, capsys):
    """Nobody wrote a sentence for one of these programs (tests/programs/wrong.py)."""
    found = {1: [], 2: []}                              # by the number of mistakes
    for name, words, program in WRONG:
        said = judged(name, HEAD + program, tmp_path)
        assert said, f"accepted: {program}"
        sentences = [sentence for *_, sentence in KNOWN[name].mistakes]
        found[len(words)].append(named(words, said, sentences))
    for count, each in found.items():
        with capsys.disabled():
            print(f"\nwrong programs with {count} mistake{'s' * (count > 1)}: {sum(each)} of "
                  f"{len(each)} named, all refused", end="")
        assert sum(each) > len(each) / 2


def sentences_of(mistakes) -> set[str]:
    return {sentence for *_, sentence in mistakes}


def does_the_same(exercise: Exercise, mistakes, program) -> bool:
    """Do these mistakes give in every draw what the program gives?"""
    other = with_mistakes(exercise.right, *mistakes)
    return other is not None and not judge(replace(exercise, right=program, mistakes=[]), other, 0)


@pytest.mark.slow
def test_two_mistakes_of_a_key_are_named():
    """Some of the pairs that go together in each key: by the sentences of both, or of others that
    do the same in every call."""
    tried = 0
    for exercise in KNOWN.values():
        pairs = [x for x in alone_and_in_pairs(exercise.right, exercise.mistakes) if len(x) == 2]
        for pair in pairs[::max(1, len(pairs) // 3)]:
            program = with_mistakes(exercise.right, *pair)
            if program and (said := judge(exercise, program, seed=0)):
                tried += 1
                told = [mistake for mistake in exercise.mistakes if mistake[2] in said]
                assert sentences_of(pair) == sentences_of(told) or any(
                    does_the_same(exercise, some, program)
                    for some in alone_and_in_pairs(exercise.right, told)
                    if sentences_of(some) == sentences_of(told)), said
    assert tried > 10
