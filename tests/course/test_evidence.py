"""lessons/evidence: an interval is right, a verdict is that of kept scores and of the plan that was
made for them, and docs/results says what the command prints."""
import csv
import io
import itertools
import re
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
@pytest.mark.parametrize("seed_sd, prompt_sd, rest_sd, stop", [
    (0.02, 0.1, 0.3, 1), (0.005, 0.2, 0.3, 1), (0.05, 0.1, 0.1, 1), (0.02, 0.1, 0.3, 0.5),
    (0.0, 0.0, 0.3, 1), (0.0, 0.1, 0.3, 1)])
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
        "without fact": (skills + honesty) / 2}
    whole, *asked = (judge.asked_of(claim, f"better, {of}: UFT", 0) for of in by_hand)
    assert [mean_without(x, "") for x in (whole, *asked)] == pytest.approx([*by_hand.values()])
    for gone in ("unknown", "fact"):
        assert mean_without(whole, gone) == pytest.approx(by_hand[f"without {gone}"])


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


# ---- the plan ------------------------------------------------------------------------------------
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
    for test in {re.split("[,:]", formula)[0] for formula in run.questions}:
        with monkeypatch.context() as patch:
            patch.setitem(plan.LIMITS, test, (0.01,))              # its margin
            assert plan.hashes(run)["questions"] != kept["questions"]


@pytest.mark.parametrize("part, old, new, told", [
    ("trainings", "--lr 2.5e-4", "--lr 1e-4", "trainings"),
    ("questions", "as good, score in rules_new", "better, score in rules_new", "questions")])
def test_a_plan_that_changed_after_its_scores_is_not_judged(part, old, new, told, monkeypatch):
    run = plan.read("C8")
    changed = {key.replace(old, new): text.replace(old, new)
               for key, text in getattr(run, part).items()}
    assert changed != getattr(run, part)
    monkeypatch.setattr(plan, "read", lambda name: replace(run, **{part: changed}))
    with pytest.raises(UserError, match=f"questions/C8.ini: its {told} .* restore them"):
        plan.scores.__wrapped__("C8")


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
BESIDE = re.compile(rf"{INTERVAL.pattern}(?:(?:,| and| \|) {INTERVAL.pattern})*")   # N1's and N2's
WITHOUT = re.compile(r"(\**)([+-]\d+\.\d)\**")     # the largest task; bold: the verdict rests on it
PAPERS = plan.HERE / "questions" / "papers.cfg"     # its doubts have figures, too
PAGES = [*sorted(command.PAGES.glob("*.md")), PAPERS]
HANGS = table.COLUMNS[-1]                           # "undecided without one seed of"
Figures = tuple[tuple[float, float], ...]           # (mean, half) on N1 and N2, or on SmolLM2


@cache
def kept_rows() -> list[dict[str, str]]:
    with table.TABLE.open(encoding="utf-8", newline="") as file:
        return [*csv.DictReader(file)]


def numbers(text: str, sign: int = 1) -> Figures:
    return tuple((sign * float(mean), float(half)) for mean, half in INTERVAL.findall(text))


@cache
def rows_told() -> dict[tuple, list[dict[str, str]]]:
    """{(run or "", verdict, figures, those without the largest task or ()): its rows}. A page may
    turn a difference round. The verdicts of C5 are sentences, with several figures."""
    out: dict[tuple, list[dict[str, str]]] = {}
    for row, sign in itertools.product(kept_rows(), (1, -1)):
        task = row["rests on"]
        left = tuple((mean, task != "" and (" on N" not in task or f" on {model}" in task))
                     for (mean, _), model in zip(numbers(row["without its largest task"], sign),
                                                 ("N1", "N2")))
        figures = numbers(row["difference"], sign)
        for run, shown, without in itertools.product(
                ("", *row["run"].split(" & ")),
                [(x,) for x in figures] if row["run"] == "C5" else [figures], ((), left)):
            out.setdefault((run, row["verdict"], shown, without), []).append(row)
    return out


@cache
def lines_of(*pages: Path) -> list[str]:
    """With plain signs and spaces."""
    texts = [page.read_text(encoding="utf-8").replace("\u00a0", " ").replace("−", "-")
             for page in pages]
    return [line for page, text in zip(pages, texts)
            for line in (text.replace("\n    ", " ") if page == PAPERS else text).splitlines()]


def test_the_table_is_what_the_kept_scores_give():
    """`python -m lessons.evidence --table` writes it."""
    assert [[*row] for row in csv.reader(io.StringIO(table.TABLE.read_text("utf-8")))] == (
        table.rows())


def test_the_table_has_every_interval_of_the_pages():
    """Those that stand beside each other are of two models together, or of one."""
    kept = {figures for _, _, figures, _ in rows_told()} | {
        numbers(row["without its largest task"], sign) for row in kept_rows() for sign in (1, -1)}

    def known(figures: Figures) -> bool:
        return not figures or any(figures[:n] in kept and known(figures[n:]) for n in (2, 1))
    told = [numbers(match[0]) for line in lines_of(*PAGES) for match in BESIDE.finditer(line)]
    assert sum(map(len, told)) >= 150 and [figures for figures in told if not known(figures)] == []


def verdicts_of(line: str) -> Iterator[tuple[str, Figures, tuple]]:
    """(verdict, figures, those without the largest task) of each mark behind the figures of a line.
    Our models and SmolLM2 may have a mark each, "✗; ?". What is left without the largest task is
    bold if the verdict rests on this task."""
    figures: Figures = ()
    cells = line.split(" | ")
    for cell, behind in zip(cells, [*cells[1:], ""]):
        marks = cell.strip(" |").split("; ")
        if figures and {*marks} <= {*MARKS}:
            each = [figures] if len(marks) == 1 else [figures[:2], figures[2:]]
            without = [behind] if len(marks) == 1 else [*behind.split("; "), ""]
            for mark, shown, text in zip(marks, each, without):
                left = WITHOUT.findall(text) if re.fullmatch(r"[^±(]*", text) else ()
                yield MARKS[mark], shown, tuple((float(mean), bold != "") for bold, mean in left)
        if cell.strip() != "–":
            figures = figures + numbers(cell) if INTERVALS.fullmatch(cell) else ()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_table_of_a_page_has_the_verdicts_of_the_scores(page):
    """And the page lists those of them that hang on one seed."""
    shown = []
    for line in lines_of(page):
        named = {*re.findall(r"\b[CR]\d+[a-z]?\b", line)} or {""}
        for told in verdicts_of(line):
            rows = [row for run in named for row in rows_told().get((run, *told), ())]
            assert rows, (line, told)
            shown += rows if len(rows) == 1 else []
    listed = re.findall(r"^  - (.) (.*) \((\w+): (N1 .*|N2 .*|SmolLM2 .*)\)$",
                        "\n".join(lines_of(page)), re.M)
    hang = {(row["run"], row["question"], row["verdict"], row[HANGS])
            for row in kept_rows() if row[HANGS]}
    assert {(run, words, MARKS[mark], seeds) for mark, words, run, seeds in listed} <= hang
    assert {row["question"] for row in shown if row[HANGS]} <= {words for _, words, *_ in listed}


def test_the_first_page_has_the_verdicts_of_the_scores():
    """ "✗ -4.3, -4.3": its table has no intervals, as those of the other pages have."""
    assert sum(len([*verdicts_of(line)]) for line in lines_of(*PAGES)) >= 70
    means = {(verdict, *(mean for mean, _ in figures)) for _, verdict, figures, _ in rows_told()}
    told = re.findall(r"(?<=\| )([✓✗?]) ([+-]\d+\.\d)(?:, ([+-]\d+\.\d))?(?= \|)",
                      "\n".join(lines_of(command.PAGES / "README.md")))
    assert len(told) >= 20
    for mark, *figures in told:
        assert (MARKS[mark], *(float(x) for x in figures if x)) in means


def test_the_command_prints_every_pair_of_figures_of_a_page():
    """Of N1 and N2, without signs: a difference, one without its largest task, or what a training
    scores. Two pairs are a paper's, and the versions of AlpacaEval."""
    printed = {tuple(re.findall(r"[+-](\d+\.\d)(?!\d)", row[part])) for row in kept_rows()
               for part in ("difference", "without its largest task")}
    for name in PLANNED:
        rows = [re.findall(r"(?<= )\d+\.\d(?= |$)", line)
                for line in command.score_lines(name) if re.search(r" N[12]  ", line)]
        for on_n1, on_n2 in zip(rows[::2], rows[1::2]):
            printed |= {*zip(on_n1, on_n2)}
    pair = re.compile(r"(?<![\d.])[+-]?(\d+\.\d)(?:,| and) [+-]?(\d+\.\d)(?![\d.]| ±)")
    told = {match.groups() for line in lines_of(*PAGES)
            for match in pair.finditer(re.sub(r" ± \d+\.\d+", " ±", line))}
    assert len(told) > 50
    assert told - printed == {("3.8", "22.2"), ("1.0", "2.0")}


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
    out = printed("C4")
    assert all(" ".join(flags.split()) in out for flags in plan.read("C4").trainings.values())
