"""For the lecturer: the plan of ten weeks names what is there, and answers are right."""
import math
import re
import statistics
from pathlib import Path
from random import Random

import pytest

from lessons.classroom import arena, exam, quiz
from lessons.lesson_list import NUMBERS
from lessons.tasks import call, child, parts
from lessons.tasks.task import tasks
from nanouft.plumbing.errors import UserError

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "teaching.md").read_text(encoding="utf-8")
NUMBER = re.compile(r"[-+]?\d+\.?\d*")
EXERCISE = re.compile(r"\b\d\d[a-z]\b")
LESSON = re.compile(r"\b\d\db?\b")


def part_of(heading: str) -> str:
    """The text below a heading of docs/teaching.md."""
    return PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def weeks() -> list[list[str]]:
    """The cells of each line of the plan: week, lessons, exercises, parts, minutes, hours."""
    lines = re.findall(r"^\| (\d+ \|.*) \|$", part_of("Ten weeks"), re.M)
    return [[cell.strip() for cell in line.split("|")] for line in lines]


# ---- the plan ------------------------------------------------------------------------------------
def test_the_ten_weeks_hold_every_lesson_and_every_part_of_the_own_program_once():
    """And name an exercise in the week of its lesson."""
    lessons = [re.findall(LESSON, week[1]) for week in weeks()]
    assert len(lessons) == 10
    assert sorted(sum(lessons, [])) == [*NUMBERS]
    named = [name for week in weeks() for name in re.findall(r"`(\w+)`", week[3])]
    assert sorted(named) == sorted(parts.PARTS)
    for week, here in zip(weeks(), lessons):
        assert {name[:2] for name in EXERCISE.findall(week[2])} <= {*here}


def test_the_losses_of_ours_that_the_page_enters_in_the_arena_may_be_entered():
    named = re.findall(r"lessons arena (\S+/\S+\.py) --task (\w+)", PAGE)
    assert named
    for file, task in named:
        arena.check_entry(ROOT / file)
        assert task in arena.TASKS


def test_the_limits_of_an_exercise_are_those_of_the_check():
    grading = part_of("Grading")
    for limit, value in (("computing", f"{call.SECONDS} seconds"),
                         ("processes and threads", f"{child.PROCESSES}"),
                         ("memory", f"{child.GIGABYTES} GB"),
                         ("each file", f"{child.BYTES // 2**20} MB")):
        assert f"| {limit} | {value} |" in grading


def test_every_exercise_that_the_page_names_exists():
    assert {*EXERCISE.findall(PAGE)} <= {*tasks()}


def test_the_self_test_s_program_prints_its_answer(capsys):
    code = part_of("What students must know").split("```python\n")[1].split("```")[0]
    exec(compile(code, "docs/teaching.md", "exec"), {})
    assert f"\n5. {capsys.readouterr().out.strip()}. " in PAGE


# ---- the exam ------------------------------------------------------------------------------------
def numbers(text: str) -> list[float]:
    return [float(x) for x in NUMBER.findall(text.split("(lesson")[0])]


def questions(seed: int) -> list[tuple[str, str]]:
    """(question, answer) of each, without its number."""
    asked, right = exam.exam(seed)
    split = re.compile(r"^\d+\. (.+)$", re.M)
    pairs = [*zip(split.findall(asked), split.findall(right), strict=True)]
    assert len(pairs) == 8
    return pairs


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z))


@pytest.mark.parametrize("seed", range(20))
def test_the_answers_to_the_exam_are_those_of_a_pocket_calculator(seed):
    ift, dpo, una, poft, group, critic, seeds, _ = questions(seed)
    a, b, c, gamma = numbers(ift[0].replace("three", "").replace("mean 1", ""))
    v = [a + gamma * b + gamma ** 2 * c, b + gamma * c, c]
    L = (v[0] * a + v[1] * b) / sum(v)
    slope = (gamma ** 2 * (a - L) + gamma * (b - L) + (c - L) + v[2]) / sum(v)
    assert numbers(ift[1])[:4] == pytest.approx([*(3 * x / sum(v) for x in v), -slope], abs=6e-4)

    w, l, w_now, l_now, beta = numbers(dpo[0])
    h = beta * ((w_now - w) - (l_now - l))
    push = beta * sigmoid(-h)
    assert numbers(dpo[1])[:4] == pytest.approx([h, -math.log(sigmoid(h)), push, -push], abs=6e-4)

    score, nats, beta = numbers(una[0])
    own = sigmoid(beta * nats * (-1 if "less likely" in una[0] else 1))
    assert numbers(una[1])[:2] == pytest.approx(
        [(own - score) ** 2, 2 * beta * (score - own) * own * (1 - own)], abs=6e-5)
    ends, = re.findall(r"= ([-\d.]+) nats", una[1])
    assert sigmoid(beta * float(ends)) == pytest.approx(score, abs=1e-3)

    mine, aligned = numbers(poft[0])[:2], numbers(poft[0])[2:]
    trust = [sigmoid(y - x) for x, y in zip(mine, aligned)]
    loss = -statistics.mean(math.log(1 - x) for x in trust)
    assert numbers(poft[1])[:3] == pytest.approx([*trust, loss], abs=6e-4)

    R = numbers(group[0])
    centred = [x - statistics.mean(R) for x in R]
    wanted = [4 / 3 * x for x in centred] + [x / statistics.stdev(R) for x in centred]
    assert numbers(group[1])[:8] == pytest.approx(wanted, abs=2e-3)

    *V, score, lam, _, _ = numbers(critic[0])
    delta = [V[1] - V[0], V[2] - V[1], score - V[2]]
    some = [delta[0] + lam * (delta[1] + lam * delta[2]), delta[1] + lam * delta[2], delta[2]]
    assert numbers(critic[1]) == pytest.approx([*some, *(score - x for x in V)], abs=6e-4)

    d = numbers(seeds[0])[:5]
    mean, half = statistics.mean(d), 2.776 * statistics.stdev(d) / math.sqrt(5)
    assert numbers(seeds[1].replace("±", ""))[:2] == pytest.approx([mean, half], abs=6e-3)
    word = "holds" if mean > half else "does not hold" if mean < -half else "undecided"
    assert f": {word}. " in seeds[1]


def test_another_seed_draws_another_exam_and_the_questions_hold_no_answer(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exam.main(["--seed", "3"])
    asked, right = exam.exam(3)
    assert (exam.OUT / "questions.md").read_text(encoding="utf-8") == asked
    assert (exam.OUT / "answers.md").read_text(encoding="utf-8") == right
    assert asked != exam.exam(4)[0] and not [x for _, x in questions(3) if x in asked]


# ---- the quiz ------------------------------------------------------------------------------------
@pytest.mark.parametrize("seed", range(10))
def test_the_answers_to_the_quiz_are_those_of_a_pocket_calculator(seed):
    """Of the questions that the exam does not have."""
    rng = Random(seed)
    push, look, means, slopes, path, old = (ask(rng) for ask in quiz.QUESTIONS[:6])
    tokens, beta = numbers(push[0])
    assert numbers(push[1])[:2] == pytest.approx([tokens * beta / 2, -tokens * beta / 2], abs=6e-4)

    weights = [math.exp(x) for x in numbers(look[0])[:3]]
    assert numbers(look[1]) == pytest.approx([*(x / sum(weights) for x in weights), 0], abs=6e-4)

    n, x, m, y = numbers(means[0])
    assert numbers(means[1]) == pytest.approx([(n * x + m * y) / (n + m), (x + y) / 2], abs=6e-4)

    p = numbers(slopes[0])
    assert sum(p) == pytest.approx(1)
    assert numbers(slopes[1]) == pytest.approx([p[0] * (1 - p[0]), -p[0] * p[1], -p[0] * p[2]],
                                               abs=6e-3)
    chances = numbers(path[0])
    assert numbers(path[1]) == pytest.approx([math.prod(chances), statistics.mean(chances)],
                                             abs=6e-4)
    nats, A = numbers(old[0])[:2]
    rho = math.exp(nats if "more likely" in old[0] else -nats)
    stopped = rho > 1.2 if A > 0 else rho < 0.8
    assert numbers(old[1])[:2] == pytest.approx([rho, 0 if stopped else rho * A], abs=6e-4)


@pytest.mark.parametrize("seed", range(5))
def test_a_quiz_asks_about_three_earlier_lessons(seed, capsys):
    """The same seed draws the same ones; the questions do not hold the answers."""
    for lesson in ("03", "09", "17"):
        asked = quiz.quiz(lesson, seed)
        assert len(asked) == 3 and all(quiz.lesson_of(both) < lesson for both in asked)
        assert asked == quiz.quiz(lesson, seed) != quiz.quiz(lesson, seed + 1)
        quiz.main([lesson, "--seed", str(seed)])
        said = capsys.readouterr().out
        assert all(question in said and right not in said for question, right in asked)
        quiz.main([lesson, "--seed", str(seed), "--answers"])
        assert all(right in capsys.readouterr().out for _, right in asked[:1])


def test_a_quiz_before_the_third_lesson_is_refused():
    with pytest.raises(UserError, match="lesson 03"):
        quiz.main(["02"])
    with pytest.raises(UserError, match="--seed"):
        quiz.main(["09", "--answers"])


