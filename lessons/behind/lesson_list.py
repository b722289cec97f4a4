"""Which lessons there are. The table of lessons/README.md names them, too.

SUBJECTS has the lessons in their order: a lesson keeps its number, whatever its place.
A copy beside them, such as lessons/04_my_copy.py, can be run but is not counted as one. All else is
read from the first lines of each lesson.
"""
import ast
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
SUBJECTS = {                    # in the order in which the lessons are taken
    "Basics": "00_whole_game 01_a_model_that_talks 02_which_tokens_count 13_without_forgetting",
    "IFT": "03_language_as_a_walk 04_models_own_guess 06_what_follows_weighs",
    "Preferences": "07_pairs_in_place_of_a_reward",
    "UNA, UFT, KTO, PoFT": "09_one_number_for_an_answer 10_which_demonstration_is_wrong",
    "Judging results": "14_would_you_publish_this",
    "Rewards": "11_searching_with_a_reward 11b_best_of_n_then_sft 12_learning_from_a_score "
               "12b_old_answers 16_does_it_think 18_examples_and_rewards",
    "A model of your own": "17_a_real_model 19_one_model_all_stages"}
LESSONS = [HERE / f"{name}.py" for name in " ".join(SUBJECTS.values()).split()]


def number_of(lesson: Path) -> str:
    """lessons/04_models_own_guess.py -> "04"; one lesson is "12b"."""
    return lesson.stem.partition("_")[0]


NUMBERS = {number_of(file): file for file in LESSONS}


def lesson_of(exercise: str) -> str:
    """12 of 12a, and 12b of 12b and 12c. "" of a part of mine.py or a paper, which have none."""
    before = [number for number in NUMBERS if number <= exercise]
    return max(before) if exercise[0].isdigit() else ""


def exercises_of(lesson: Path, file: ast.Module) -> list[ast.FunctionDef]:
    """The functions of a lesson's exercises. Lessons 12 and 12b share ex12.py."""
    found = []
    for function in [x for x in file.body if isinstance(x, ast.FunctionDef)]:
        name = (ast.get_docstring(function) or number_of(lesson))[:3]
        if lesson_of(name) == number_of(lesson):
            found.append(function)
    return found


def lesson_head(file: Path) -> tuple[str, str, str]:
    """("04 · The model's own guess", the lines in italics, what it is about) of a lesson."""
    lines = file.read_text(encoding="utf-8").splitlines()[1:12]
    text = "\n".join(line.removeprefix("#").strip() for line in lines)
    first, italics = text.split("\n\n")[:2]
    title, *about = first.splitlines()
    return title.removeprefix("# "), " ".join(italics.strip("*").split()), " ".join(about)
