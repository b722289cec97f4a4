"""lessons/evidence: an interval is right, a verdict is that of kept scores and of the plan that was
made for them, and docs/results says what the command prints."""
import csv
import io
import math
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from lessons.evidence import __main__ as command
from lessons.evidence import judge, plan, table, verdicts
from lessons.evidence.by_task import dominant_task, mean_without, rests_on_dominant_task
from lessons.evidence.plan import SKILLS, UNIT
from nanouft import train
from nanouft.compare import runs, stats
from nanouft.compare.scoring import EvalSpec, measure
from nanouft.plumbing.errors import UserError
from nanouft.run.flags import as_flags

PLANNED = sorted(plan.PLANNED, key=plan.number)


# ---- the interval --------------------------------------------------------------------------------
def test_seeds_that_agree_leave_the_interval_to_the_prompts():
    """By hand: of the prompts' 0, 0, 1, 1 two ask for one fact; with three groups the sums around
    the mean are -1, .5 and .5."""
    gap = np.repeat([[0.0, 0.0, 1.0, 1.0]], 5, axis=0)
    assert stats.moments([gap], [np.array([7, 7, 1, 2])]) == pytest.approx(
        (0.5, 1.5 / 16 * 3 / 2, math.inf))


@pytest.mark.parametrize("seed_sd, prompt_sd, rest_sd, stop", [
    (0.02, 0.0, 0.3, 1), (0.02, 0.1, 0.3, 1), (0.005, 0.2, 0.3, 1), (0.05, 0.1, 0.1, 1),
    (0.0, 0.0, 0.3, 1), (0.0, 0.05, 0.3, 1), (0.0, 0.1, 0.3, 1), (0.02, 0.1, 0.3, 0.5)])
def test_the_interval_covers_the_truth_in_simulation(seed_sd, prompt_sd, rest_sd, stop,
                                                     monkeypatch):
    """Five seeds, three families of 100 prompts of which two ask for one fact, true difference 1:
    95 %, give or take chance, and the mean scatters as much as its own variance says, also over
    answers that stop. Where all seeds are alike, it covers also in the third of the draws whose
    seeds agree most: the variance over seeds says too little there, but the interval is never
    narrower than prompts or answers make it."""
    rng, draws, fact, exact = np.random.default_rng(0), [], np.arange(100) // 2, stats.student
    monkeypatch.setattr(stats, "student", lambda p, n: exact(p, float(f"{min(n, 1e4):.2g}")))
    for _ in range(300):
        seeds = 1 + rng.normal(0, seed_sd, (5, 1))
        gaps = [(seeds + rng.normal(0, prompt_sd, 50)[fact] + rng.normal(0, rest_sd, (5, 100))) / 3
                for _ in range(3)]
        if stop < 1:
            share = stop + rng.normal(0, 0.2, (5, 1, 1))            # of each seed
            gaps = [judge.mean_where(gap[:, None], rng.random((5, 1, 100)) < share)[:, 0]
                    for gap in gaps]
        mean, variance, freedom = stats.moments(gaps, [fact] * 3)
        inside = abs(mean - 1) <= stats.half_width(variance, freedom)
        draws.append((sum(gap.mean(1) for gap in gaps).var(), inside, mean, variance))
    _, inside, means, variances = zip(*sorted(draws))
    if seed_sd:
        assert 0.91 <= np.mean(inside) <= 0.98
        assert np.var(means) == pytest.approx(np.mean(variances), rel=0.25)
    else:
        assert np.mean(inside[:100]) >= 0.91


def test_the_mean_of_two_runs_and_its_interval_by_hand():
    """Variances 1 and 3 add up to 4, and of a mean of two count a quarter. Welch's degrees of
    freedom are 4 * 4 / (1 / 4 + 9 / 8)."""
    assert table.mean_of([(1.0, 1.0, 4.0), (2.0, 3.0, 8.0)]) == pytest.approx(
        (1.5, 1.0, 16 / 1.375))


def test_what_is_averaged_by_hand():
    """Overall a fact weighs a third, "I do not know" a sixth, a skill a fifteenth, as the pages
    say. A task that goes leaves its share to its part, and a part of one task goes with it."""
    claim, kept = plan.read("C3"), plan.scores("C3")
    i = [*claim.trainings].index("UFT")
    task = dict(zip(claim.tasks, kept["scores"][i, 0].mean((0, 2)) / UNIT))
    skills, honesty = (np.mean([task[name] for name in x]) for x in (SKILLS, plan.HONESTY))
    by_hand = {
        "": (skills + honesty + task["fact"]) / 3, "tasks alike": np.mean([*task.values()]),
        "score in fact": task["fact"],
        "without unknown": (skills + task["truth"] + task["fact"]) / 3,
        "without truth": (skills + task["unknown"] + task["fact"]) / 3,
        "without fact": (skills + honesty) / 2}
    whole, *asked = (judge.asked_of(claim, f"better, {of}: UFT", 0) for of in by_hand)
    means = [judge.mean_and_variance(x)[0] for x in (whole, *asked)]
    assert means == pytest.approx([*by_hand.values()])
    for gone in ("unknown", "truth", "fact"):
        assert mean_without(whole, gone) == pytest.approx(by_hand[f"without {gone}"])


@pytest.mark.parametrize("p, freedom, value", [(0.025, 1, 12.706), (0.025, 4, 2.776),
                                               (0.005, 10, 3.169), (0.025, 1e9, 1.960)])
def test_students_t_is_that_of_the_tables(p, freedom, value):
    assert stats.student(p, freedom) == pytest.approx(value, abs=2e-3)


# ---- the verdict ---------------------------------------------------------------------------------
@pytest.mark.parametrize("mean, half, test, verdict", [
    (0.03, 0.01, "better", "holds"), (-0.03, 0.01, "better", "does not hold"),
    (0.01, 0.01, "better", "undecided"), (-0.015, 0.004, "not inferior", "holds"),
    (-0.03, 0.005, "not inferior", "does not hold"), (0.0, 0.01, "as good", "holds"),
    (0.03, 0.005, "as good", "does not hold"), (0.0, 0.03, "as good", "undecided")])
def test_verdicts(mean, half, test, verdict):
    assert verdicts.verdict(mean, half, verdicts.LIMITS[test]) == verdict


def test_holm_stops_at_the_first_doubt():
    """With 4 degrees of freedom one look needs 2.78 standard errors, two looks need 3.50."""
    clear, fair, weak = (((errors * 0.01, 0.0001, 4.0), (0.0,)) for errors in (9, 3.3, 3))
    for asked, said in (([clear, fair], ["holds", "holds"]),
                        ([weak, clear, fair], ["undecided", "holds", "undecided"])):
        assert verdicts.decide(asked) == said


def made_of(**effects: float) -> judge.Difference:
    """Five seeds and 100 prompts of each family, with these differences."""
    rng = np.random.default_rng(1)
    gaps = {name: effect + rng.normal(0, 0.2, (5, 100)) for name, effect in effects.items()}
    return judge.Difference(gaps, dict.fromkeys(gaps, np.arange(100)), (tuple(gaps),))


def test_a_planted_family_is_found_and_no_other():
    alone = made_of(a=0.0, b=0.3, c=0.0, d=0.0)
    below = alone._replace(gaps={name: -gap for name, gap in alone.gaps.items()})
    margin = alone._replace(limits=(-0.02,))            # half of a mean says nothing of a margin
    for asked, rests in (
            (alone, True), (below, True), (margin, False),
            (made_of(a=0.1, b=0.3, c=0.2, d=0.2), False),
            (made_of(a=0.0, b=0.018, c=0.0, d=0.008), False),           # one of four, by chance
            (made_of(a=0.1, b=0.1, c=0.1, d=0.1), False)):
        assert rests_on_dominant_task(asked) == rests
    weak = made_of(a=0.0, b=0.03, c=0.0, d=0.0)
    assert [x.rests for x in verdicts.findings_of([alone, weak])] == [True, False], "undecided"
    assert dominant_task(alone) == dominant_task(below) == "b"
    assert abs(mean_without(alone, "b")) < 0.02


# ---- the plan ------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", PLANNED)
def test_scores_have_the_size_of_their_plan(name):
    run, kept = plan.read(name), plan.scores(name)
    first, last = map(int, run.run["seeds"].split(" to "))
    assert kept["scores"].shape == (len(run.trainings), len(run.models), last - first + 1,
                                    len(run.tasks), int(run.run.get("items", 100)))
    assert not {*run.made} & {*run.trainings}


@pytest.mark.parametrize("name", PLANNED)
def test_whatever_scores_or_verdicts_depend_on_is_in_a_hash_and_no_words_are(name, monkeypatch):
    run = plan.read(name)
    kept, words = plan.hashes(run), ("asks", "expected", "scores of")
    for part in ("run", "made", "trainings", "questions", "premises"):
        old = getattr(run, part)
        for key in {*old} - {*words}:
            judged = part in ("questions", "premises")
            new = {x: old[x] for x in old if x != key} if judged else old | {key: f"{old[key]} 2"}
            what = "questions" if judged or key == "mean of" else "trainings"
            assert plan.hashes(replace(run, **{part: new}))[what] != kept[what], key
    turned = replace(run, trainings=dict(reversed(run.trainings.items())))
    assert plan.hashes(turned)["trainings"] != kept["trainings"]    # scores lie in their order
    told = replace(run, run=run.run | {"asks": "", "expected": ""}, doubts={}, edges={},
                   afterwards={}, questions=dict.fromkeys(run.questions, ""),
                   premises=dict.fromkeys(run.premises, ""))
    assert plan.hashes(told) == kept
    for test in {formula.split(":")[0].split(",")[0] for formula in run.questions}:
        with monkeypatch.context() as patch:
            patch.setitem(plan.LIMITS, test, (0.01,))              # its margin
            assert plan.hashes(run)["questions"] != kept["questions"]


def forget() -> None:
    plan.read.cache_clear()
    plan.scores.cache_clear()


@pytest.fixture
def own_plan(tmp_path, monkeypatch):
    """A change of C8's plan, in a copy: new text in place of the old one."""
    for folder in ("questions", "results"):
        (tmp_path / folder).mkdir()
        for file in (plan.HERE / folder).glob("C8.*"):
            shutil.copy(file, tmp_path / folder)
    monkeypatch.setattr(plan, "HERE", tmp_path)
    monkeypatch.setattr(plan, "NAMES", ["C8"])
    monkeypatch.setattr(judge, "RUNS", ["C8"])

    def change(old: str, new: str) -> None:
        file = tmp_path / "questions" / "C8.ini"
        text = file.read_text(encoding="utf-8")
        assert old in text
        file.write_text(text.replace(old, new), encoding="utf-8")
        forget()
    yield change
    forget()


@pytest.mark.parametrize("old, new, told", [
    ("--lr 2.5e-4", "--lr 1e-4", "trainings"), ("prompts = 4", "prompts = 5", "trainings"),
    ("as good, score in rules_new", "better, score in rules_new", "questions"),
    ("DFT - SFT = DFT learns rules", "SFT - DFT = DFT learns rules", "questions")])
def test_a_plan_that_changed_after_its_scores_is_not_judged(old, new, told, own_plan):
    own_plan(old, new)
    with pytest.raises(UserError, match=f"questions/C8.ini: its {told} .* restore them"):
        judge.judged("C8")


# ---- its trainings -------------------------------------------------------------------------------
def test_a_cell_trained_again_has_the_kept_scores(tmp_path):
    """The cheapest one, SFT on 30 rows: all 900 scores."""
    run, folder = plan.read("C6"), str(tmp_path / "start")
    train.main([*run.trainings["start"].split(), "--seed", "300", "--init", "base",
                *as_flags(runs.ONLY_TRAIN), "--device", "cpu", "--dtype", "fp32", "--out", folder])
    found = measure(EvalSpec("", "test", int(run.run["prompts"]), 100, run.tasks), folder)["score"]
    assert np.array_equal(np.rint(UNIT * np.array([found[task] for task in run.tasks])),
                          plan.scores("C6")["scores"][0, 0, 0])


# ---- the table and the pages ---------------------------------------------------------------------
MARKS = {"✓": "holds", "✗": "does not hold", "?": "undecided", "unplanned": ""}
INTERVAL = re.compile(r"([+-]?\d+\.\d+) ± (\d+\.\d+)")
INTERVALS = re.compile(rf"[ |]*{INTERVAL.pattern}(?:, {INTERVAL.pattern})*[ |]*")
BESIDE = re.compile(r"(?:,| and| \|) ")             # stands between N1's and N2's
WITHOUT = re.compile(r"(\**)([+-]\d+\.\d)\**")     # the largest task; bold: the verdict rests on it
RUN = re.compile(r"\b[CR]\d+[a-z]?\b")
PAPERS = plan.HERE / "questions" / "papers.cfg"     # its doubts have figures, too
PAGES = [*sorted(command.PAGES.glob("*.md")), PAPERS]
Row = dict[str, str]                                # of the table
Figure = tuple[float, float]                        # mean, half


@cache
def kept_rows() -> list[Row]:
    with table.TABLE.open(encoding="utf-8", newline="") as file:
        return [*csv.DictReader(file)]


def numbers(text: str, sign: int = 1) -> tuple[Figure, ...]:
    return tuple((sign * float(mean), float(half)) for mean, half in INTERVAL.findall(text))


@cache
def differences() -> dict[tuple[Figure, ...], list[tuple[Row, int]]]:
    """{the figures of N1 and N2, or of SmolLM2: (row, sign)}. A page may turn a difference round.
    The verdicts of C5 are sentences, with several figures."""
    out: dict[tuple[Figure, ...], list[tuple[Row, int]]] = {}
    for row in kept_rows():
        for part in ("difference", "without its largest task"):
            for sign in (1, -1):
                figures = numbers(row[part], sign)
                for group in [(x,) for x in figures] if row["run"] == "C5" else [figures]:
                    out.setdefault(group, []).append((row, sign))
    return out


def lines_of(page: Path) -> list[str]:
    """With plain signs and spaces."""
    text = page.read_text(encoding="utf-8").replace("\u00a0", " ").replace("−", "-")
    return (text.replace("\n    ", " ") if page == PAPERS else text).splitlines()


def beside_each_other(line: str) -> list[tuple[Figure, ...]]:
    """The intervals of a line, in groups that stand beside each other."""
    out: list[tuple[Figure, ...]] = []
    end = -1
    for match in INTERVAL.finditer(line):
        if out and BESIDE.fullmatch(line[end:match.start()]):
            out[-1] += numbers(match[0])
        else:
            out.append(numbers(match[0]))
        end = match.end()
    return out


def known(figures: tuple[Figure, ...]) -> bool:
    """Does the table have them, of two models together or of one?"""
    return not figures or any(figures[:n] in differences() and known(figures[n:]) for n in (2, 1))


def test_the_table_is_what_the_kept_scores_give():
    """`python -m lessons.evidence --table` writes it."""
    assert [[*row] for row in csv.reader(io.StringIO(table.TABLE.read_text("utf-8")))] == (
        table.rows())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_table_has_every_interval_of_a_page(page):
    for line in lines_of(page):
        for figures in beside_each_other(line):
            assert known(figures), f"{figures}: {line}"


def verdicts_of(page: Path) -> Iterator[tuple[str, str, tuple[Figure, ...], str]]:
    """(line, mark, figures, those without the largest task) of each mark of a table that stands
    behind its figures. Our models and SmolLM2 may have a mark each, "✗; ?"."""
    for line in lines_of(page):
        figures: tuple[Figure, ...] = ()
        cells = line.split(" | ")
        for cell, behind in zip(cells, [*cells[1:], ""]):
            marks = cell.strip(" |").split("; ")
            if figures and {*marks} <= {*MARKS}:
                each = [figures] if len(marks) == 1 else [figures[:2], figures[2:]]
                without = [behind] if len(marks) == 1 else [*behind.split("; "), ""]
                yield from ((line, *x) for x in zip(marks, each, without))
            if cell.strip() != "–":
                figures = figures + numbers(cell) if INTERVALS.fullmatch(cell) else ()


def rows_told(line: str, mark: str, figures: tuple[Figure, ...], without: str) -> list[Row]:
    """The rows that a line may tell: of a run that it names, if it names one, with its verdict, its
    figures and those without the largest task, which are bold if the verdict rests on this task."""
    runs = RUN.findall(line)
    told = [(float(mean), bold != "") for bold, mean in
            (WITHOUT.findall(without) if re.fullmatch(r"[^±(]*", without) else [])]
    out = []
    for row, sign in differences().get(figures, []):
        task = row["rests on"]
        left = [(mean, task != "" and (" on N" not in task or f" on {model}" in task))
                for (mean, _), model in zip(numbers(row["without its largest task"], sign),
                                            ("N1", "N2"))]
        of_the_line = not runs or {*row["run"].split(" & ")} & {*runs}
        if row["verdict"] == MARKS[mark] and of_the_line and (not told or told == left):
            out.append(row)
    return out


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_table_of_a_page_has_the_verdicts_of_the_scores(page):
    """And the page lists those of them that hang on one seed."""
    shown = []
    for told in verdicts_of(page):
        assert (rows := rows_told(*told)), told
        shown += rows if len(rows) == 1 else []
    listed = re.findall(r"^  - (.) (.*) \((\w+): (N1 .*|N2 .*|SmolLM2 .*)\)$",
                        "\n".join(lines_of(page)), re.M)
    hang = {(row["run"], row["question"], row["verdict"], row[table.COLUMNS[-1]])
            for row in kept_rows() if row[table.COLUMNS[-1]]}
    assert {(run, words, MARKS[mark], seeds) for mark, words, run, seeds in listed} <= hang
    missing = {row["question"] for row in shown if row[table.COLUMNS[-1]]} - {x[1] for x in listed}
    assert not missing


def test_the_tables_of_the_pages_are_read():
    """Else the tests above look at nothing."""
    assert sum(len([*verdicts_of(page)]) for page in PAGES) >= 70
    assert sum(len(figures) for page in PAGES for line in lines_of(page)
               for figures in beside_each_other(line)) >= 150


def test_the_first_page_has_the_verdicts_of_the_scores():
    """ "✗ -4.3, -4.3": its table has no intervals."""
    means = {(row["verdict"], *(mean for mean, _ in figures))
             for figures, rows in differences().items() for row, _ in rows}
    told = re.findall(r"(?<=\| )([✓✗?]) ([+-]\d+\.\d)(?:, ([+-]\d+\.\d))?(?= \|)",
                      "\n".join(lines_of(command.PAGES / "README.md")))
    assert len(told) >= 20
    for mark, *figures in told:
        assert (MARKS[mark], *(float(x) for x in figures if x)) in means


@cache
def printed_pairs() -> set[tuple[str, ...]]:
    """What the command prints of N1 and of N2, without signs: a difference, one without its largest
    task, and what a training scores, in all tasks and in each."""
    differences = [row[part] for row in kept_rows()
                   for part in ("difference", "without its largest task")]
    out = {tuple(re.findall(r"[+-](\d+\.\d)(?!\d)", text)) for text in differences}
    for name in PLANNED:
        lines = [line for line in command.score_lines(name) if re.search(r" N[12]  ", line)]
        rows = [re.findall(r"(?<= )\d+\.\d(?= |$)", line) for line in lines]
        for on_n1, on_n2 in zip(rows[::2], rows[1::2]):
            out |= {*zip(on_n1, on_n2)}
    return out


def test_the_command_prints_every_pair_of_figures_of_a_page():
    """Of two that are no differences of ours, but a paper's and the versions of AlpacaEval."""
    pair = re.compile(r"(?<![\d.])[+-]?(\d+\.\d)(?:,| and) [+-]?(\d+\.\d)(?![\d.]| ±)")
    told = {match.groups() for page in PAGES for line in lines_of(page)
            for match in pair.finditer(re.sub(r" ± \d+\.\d+", " ±", line))}
    assert len(told) > 50
    assert told - printed_pairs() == {("3.8", "22.2"), ("1.0", "2.0")}


# ---- the command ---------------------------------------------------------------------------------
def test_the_command_prints_what_was_found_every_verdict_and_the_flags_of_a_run(capsys):
    """Its answers are those of the pages."""
    def printed(*words: str) -> str:
        command.main([*words])
        return " ".join(capsys.readouterr().out.split())
    out = printed()
    for file in command.PAGES.glob("*.md"):
        assert " ".join(file.read_text("utf-8").split("**")[1].split()) in out, file.name
    out = printed("all")
    for line in sum(map(judge.verdict_lines, judge.RUNS), []):
        told = f"{line.question} ({line.whose}) {line.verdict} {line.figures} "
        assert " ".join(told.split()) in out
    for name in judge.RUNS:
        out = printed(name)
        for flags in plan.read(name).trainings.values():
            assert " ".join(flags.split()) in out


def test_an_unknown_run_is_one_line():
    with pytest.raises(UserError, match="unknown run 'C99'"):
        command.main(["C99"])


def test_a_sentence_of_a_paper_is_asked_by_questions_that_exist():
    found = {line.key: line for name in judge.RUNS for line in judge.verdict_lines(name)}
    found |= {line.key: line for line in judge.frozen("lake", "C5")}
    for sentence in plan.PAPERS:
        assert sentence.doubt
        for key in sentence.asked + sentence.also:
            assert found[key].whose == ("the paper's" if key in sentence.asked else "ours")
