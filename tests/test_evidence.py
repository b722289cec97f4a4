"""lessons/evidence: docs/claims.md says what the command prints, and the interval is right."""
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lessons.evidence import (
    cells,
    estimates,
    families,
    judge,
    papers,
    reads,
    searches,
    stats,
    verdicts,
    write,
)
from lessons.evidence.__main__ import main
from lessons.evidence.claims import CLAIMS
from lessons.evidence.judge import UNIT
from nanouft.errors import UserError

PAGE, README = (file.read_text(encoding="utf-8") for file in (write.PAGE, write.README))
PROSE = re.sub(r"^\|.*\n", "", PAGE, flags=re.M)                # without its tables
SECTIONS = dict(re.findall(r"^## ([CR]\w+)\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S))
RUN = [name for name in CLAIMS if judge.was_run(name)]
LINES = {name: judge.lines(name) for name in judge.NAMES}


# ---- the page ------------------------------------------------------------------------------------
def test_the_tables_of_the_pages_are_those_of_the_command():
    assert write.between("papers").search(README)[0] == write.by_paper()
    assert write.between("table").search(PAGE)[0] == write.table()


def test_all_questions_of_a_claim_stand_in_the_table():
    """But those that ask one family of the question before them, and Frozen Lake's by setting."""
    told = {f"{line.claim} {line.question}" for line in judge.page_lines()}
    assert told >= {f"{name} {question}" for name in RUN for question in CLAIMS[name].questions
                    if not question.startswith("...")}
    assert told >= {f"C7 {question}" for question in estimates.QUESTIONS}


def test_every_claim_of_the_table_has_a_section():
    linked = set(re.findall(r"\]\(#([cr]\d\w*)\)", PAGE))
    assert linked == {name.lower() for name in SECTIONS} and len(linked) >= 9


@pytest.mark.parametrize("name", SECTIONS)
def test_every_decimal_of_a_section_is_one_that_the_command_prints(name, capsys):
    """`python -m lessons.evidence NAME`; R1's section tells R1s too, and C4's tells C4b."""
    for claim in (claim for claim in judge.NAMES if write.section(claim) == name.lower()):
        main([claim])
    printed = re.findall(r"\d+\.\d+", capsys.readouterr().out)
    assert set(re.findall(r"\d+\.\d+", SECTIONS[name])) <= set(printed)


def line_of(name: str, asked: str) -> judge.Line:
    """The question of a claim with this formula, or its rows; of C5 and C7 by its words."""
    if name not in CLAIMS:
        return next(line for line in LINES[name] if asked in line.question)
    return next(line for line, formula in zip(LINES[name], CLAIMS[name].questions.values())
                if f": {formula}".endswith(f": {asked}"))


def means(name: str, asked: str) -> str:
    """ "4.3 and 4.3": the sizes of a difference on each base."""
    return " and ".join(f"{abs(100 * x.mean):.1f}" for x in line_of(name, asked).findings)


def figures(name: str, asked: str) -> str:
    """ "-4.3 ± 1.6 and -4.3 ± 1.7"; of Frozen Lake's moves the first difference."""
    told = line_of(name, asked).figures
    return told if name != "C5" else re.search(r"SFT - alone (\S+ ± \S+),", told)[1]


def share(name: str, row: str, what: str = "ended") -> str:
    """ "95.1 and 95.4": how many answers of a row stop, or (`what`) its score in one family."""
    kept, claim = judge.packed(name), CLAIMS[name]
    x = kept[what] if what in kept else kept["scores"][..., claim.families.index(what), :] / UNIT
    return " and ".join(f"{100 * x[judge.place(kept, claim, row, base), base].mean():.1f}"
                        for base in range(len(claim.bases)))


BOUND = {   # section: {a sentence of it with {}: what its figure is, claim, question or row}
    "C1": {
        "SFT followed by DPO is {} points ahead of IFT with detached weights":
        (means, "C1c", "detached - SFT -> DPO"),
        "only {} % of them stop": (share, "C1d", "released here", "stops")},
    "C3": {
        "KTO in the second stage loses {} points": (means, "C12", "A - A -> KTO"),
        "and UNA {}, most of them": (means, "C12", "A - A -> UNA"),
        "it lies {} points behind the chain with UNA": (means, "C12", "UFT - A -> UNA"),
        "the one with KTO {} is undecided": (figures, "C12", "UFT - A -> KTO"),
        "of reversed words it scores {},": (share, "C12", "UFT", "reverse"),
        "and SFT on A alone {}.": (share, "C12", "A", "reverse"),
        "SFT on A and on the best answer to each prompt of B is {} points ahead of UFT":
        (means, "C3b", "UFT - A and best B")},
    "C4": {
        "its lead over SFT is {} points larger": (means, "C4", "PoFT - SFT - PoFT 0 % + SFT 0 %"),
        "is {} points ahead of PoFT on all rows": (means, "C4", "PoFT - SFT, filtered"),
        "better than SFT, with {}.": (figures, "C4b", "PoFT, filtered - SFT, filtered"),
        "told .4 it is {} points ahead of PoFT": (means, "C11", "filter .4 - PoFT"),
        "told .8 it is {} ahead": (means, "C11", "filter .8 - PoFT"),
        "which is {} points more than PoFT": (means, "C11", "aligned model - PoFT")},
    "C5": {
        "SFT's estimate is {} points too high": (figures, "C5", "(detour habit, 5 updates)"),
        "off by {} points before the first update": (figures, "C5", "(from scratch, 0 updates)")},
    "C6": {
        "UNA with scores is {} points ahead of DPO": (means, "C6", "UNA - DPO"),
        "right or not UNA loses {} points": (means, "C6", "UNA - UNA, right"),
        "UNA's lead over it is {}.": (figures, "C10", "UNA - RFT")},
    "C7": {
        "SFT's estimate is {} points too high": (means, "C7", "SFT overestimates"),
        "lies {} points nearer with lam .2": (means, "C7", "(lam .2)"),
        "and {} with lam 1": (means, "C7", "(lam 1)")},
    "C8": {
        "by {} points. In new": (figures, "C8", "as good, score in unknown: DFT - SFT"),
        "the difference is {}, so that":
        (figures, "C8", "as good, score in rules_new: DFT - SFT")},
    "C9": {
        "SFT stops in {} % of them": (share, "C9", "SFT 48"),
        "detached IFT in {} %": (share, "C9", "detached 48"),
        "it is {} points behind": (means, "C9", "not inferior: detached 48 - SFT 48")},
    "R1": {
        "IFT as released is {} points behind": (means, "R1", "released - SFT"),
        "is {} points behind at .4": (means, "R1", "detached - SFT"),
        "there {} is undecided": (figures, "R5", "detached, 96 - SFT, 96"),
        "of SFT's answers {} % stop": (share, "R1", "SFT"),
        "of detached IFT's {} % at the same rate": (share, "R5", "detached, 96"),
        "as released {} %": (share, "R1", "released"),
        "both stop, in {} and": (share, "R6", "SFT, 256"),
        "and {} % of their answers": (share, "R6", "detached, 256")},
    "R4": {
        "PoFT leads SFT as well, by {}.": (figures, "R4", "PoFT - SFT"),
        "differs from SFT on all by {} points": (figures, "R4", "SFT, filtered - SFT"),
        "PoFT from this filter by {}.": (figures, "R4", "PoFT - SFT, filtered")},
}


@pytest.mark.parametrize("section", BOUND)
def test_a_figure_in_prose_is_that_of_its_question(section):
    told = " ".join(SECTIONS[section].split())
    for sentence, (of, *where) in BOUND[section].items():
        assert sentence.format(of(*where)) in told


def test_a_sentence_of_a_paper_is_asked_by_questions_that_exist():
    """By name and version of the paper, and each question is of a claim about that paper."""
    found = write.all_lines()
    for sentence in papers.SENTENCES:
        assert re.fullmatch(r"\d{4}\.\d{5}v\d", sentence.version) and sentence.doubt
        for key in sentence.questions.values():
            assert found[key].claim in papers.CLAIMS_OF[sentence.paper], key
            assert found[key].whose == ("the paper's" if key in sentence.asked.values() else "ours")
    assert sorted(sum(papers.CLAIMS_OF.values(), ())) == sorted(judge.NAMES)


def test_a_doubt_is_told_of_a_question_that_exists():
    for claim in CLAIMS.values():
        assert set(claim.doubts) <= {"", *claim.questions.values()}
    assert [*searches.doubts("C1", "SFT -> DPO", 1).values()] == ["SFT -> DPO", "SFT"]


def test_the_lake_is_told_as_it_was_measured():
    orders = [line.figures for line in reads.order_lines()]
    farther = sum(float(re.search(r"IFT - DPO (\S+) ± (\S+),", x)[1]) < 0 for x in orders)
    told = f"farther from the optimal policy than IFT in {farther} of {len(orders)} settings"
    assert told in PAGE


def test_the_page_is_short_and_its_picture_small():
    words = [word for word in PROSE.split() if any(map(str.isalpha, word))]
    assert len(words) <= 1800
    assert write.PAGE.with_suffix(".png").stat().st_size < 90_000
    assert sum(file.stat().st_size for file in verdicts.RESULTS.iterdir()) <= 750_000


# ---- the interval --------------------------------------------------------------------------------
def test_by_hand_seeds_only_and_prompts_only():
    """All prompts agree: of the seeds' .1, .2, .3 the variance is .01 / 3. All seeds agree: of the
    prompts' 0, 0, 1, 1 two ask for one fact; with three groups the sums around the mean are -1, .5
    and .5, so 1.5 / 16 * 3 / 2."""
    gap = np.repeat([[0.1], [0.2], [0.3]], 4, axis=1)
    assert stats.moments([gap], [np.arange(4)]) == pytest.approx((0.2, 0.01 / 3, 2))
    gap = np.repeat([[0.0, 0.0, 1.0, 1.0]], 5, axis=0)
    assert stats.moments([gap], [np.array([7, 7, 1, 2])]) == pytest.approx(
        (0.5, 1.5 / 16 * 3 / 2, math.inf))


def student_grid() -> tuple[np.ndarray, list[float]]:
    """(degrees of freedom, Student's t of a 95 % interval), to be read between."""
    grid = np.array([4, 5, 6, 8, 10, 14, 20, 30, 60, 200, 1e4])
    return grid, [stats.student(0.025, freedom) for freedom in grid]


@pytest.mark.parametrize("seed_sd, prompt_sd, rest_sd", [
    (0.02, 0.0, 0.3), (0.02, 0.1, 0.3), (0.005, 0.2, 0.3), (0.05, 0.1, 0.1),
    (0.0, 0.0, 0.3), (0.0, 0.05, 0.3), (0.0, 0.1, 0.3)])
def test_the_interval_covers_the_truth_in_simulation(seed_sd, prompt_sd, rest_sd):
    """Five seeds, nine families of 100 prompts, true difference 0: 95 %, give or take chance. Where
    all seeds are alike, also in the third of the draws whose seeds agree most: the variance over
    seeds says too little there, but the interval is never narrower than prompts or answers make
    it."""
    rng, draws = np.random.default_rng(0), []
    grid, students = student_grid()
    for _ in range(300):
        seeds = rng.normal(0, seed_sd, (5, 1))
        gaps = [(seeds + rng.normal(0, prompt_sd, 100) + rng.normal(0, rest_sd, (5, 100))) / 9
                for _ in range(9)]
        mean, variance, freedom = stats.moments(gaps, [np.arange(100)] * 9)
        inside = abs(mean) <= np.interp(freedom, grid, students) * math.sqrt(variance)
        draws.append((sum(gap.mean(1) for gap in gaps).var(), inside))
    inside = [x for _, x in sorted(draws)]
    if seed_sd:
        assert 0.91 <= np.mean(inside) <= 0.98
    else:
        assert np.mean(inside[:100]) >= 0.91


def test_the_mean_over_answers_that_stop_and_its_interval():
    """The mean of a family is a ratio: the sum over answers that count, divided by their number.
    Over 500 simulated experiments it scatters as much as its own variance says, within a tenth."""
    rng, means, variances = np.random.default_rng(0), [], []
    for _ in range(500):
        share = rng.uniform(0.2, 0.9, (1, 1, 80)) + rng.normal(0, 0.1, (5, 1, 1))
        counts = rng.random((5, 1, 80)) < share             # answers that stop have other scores
        gap = share + rng.normal(0, 0.1, (5, 1, 1)) + rng.normal(0, 0.3, (5, 1, 80))
        same = judge.mean_where(gap, counts)
        ratio = (gap * counts).sum() / counts.sum()
        mean, variance, _ = stats.moments([same[:, 0]], [np.arange(80)])
        assert mean == pytest.approx(ratio)
        means.append(mean)
        variances.append(variance)
    assert np.var(means) == pytest.approx(np.mean(variances), rel=0.2)


# ---- families ------------------------------------------------------------------------------------
def made_of(effects: dict[str, float], parts=None) -> families.Asked:
    """Five seeds and 100 prompts of each family, with these differences."""
    rng = np.random.default_rng(1)
    gaps = {name: effect + rng.normal(0, 0.2, (5, 100)) for name, effect in effects.items()}
    return families.Asked(gaps, dict.fromkeys(gaps, np.arange(100)), parts or (tuple(gaps),),
                          "better")


def test_a_planted_family_is_found_and_no_other():
    alone = made_of({"a": 0.0, "b": 0.3, "c": 0.0, "d": 0.0})
    assert families.largest(alone) == "b" and abs(families.without(alone, "b")) < 0.02
    assert families.is_carried(alone, "holds") and not families.is_carried(alone, "undecided")
    below = alone._replace(gaps={name: -gap for name, gap in alone.gaps.items()})
    assert families.largest(below) == "b" and families.is_carried(below, "does not hold")
    assert not families.is_carried(made_of(dict.fromkeys("abcd", 0.1)), "holds")
    assert not families.is_carried(made_of({"a": 0.1, "b": 0.3, "c": 0.2, "d": 0.2}), "holds")


def test_a_family_that_goes_leaves_its_share_to_its_part():
    parts = (("a", "b", "c"), ("d", "e"), ("f",))
    assert families.weights(parts)["a"] == pytest.approx(1 / 9)
    assert families.others(parts, "d") == pytest.approx(
        {"a": 1 / 9, "b": 1 / 9, "c": 1 / 9, "e": 1 / 3, "f": 1 / 3})
    assert families.others(parts, "f") == pytest.approx(
        {"a": 1 / 6, "b": 1 / 6, "c": 1 / 6, "d": 1 / 4, "e": 1 / 4})
    asked = made_of(dict(zip("abcdef", (0, 0, 0, 0.4, 0.1, 0.1))), parts)
    means = {name: gap.mean() for name, gap in asked.gaps.items()}
    assert families.without(asked, "d") == pytest.approx(
        (sum(means[x] for x in "abc") / 3 + means["e"] + means["f"]) / 3)


def redrawn(asked: families.Asked, effect: float, rng: np.random.Generator) -> families.Asked:
    """Seeds and groups of prompts drawn again, with replacement, with this effect in every family.
    Each drawn group is a draw of its own."""
    n = len(next(iter(asked.gaps.values())))
    seeds = rng.integers(0, n, n)
    gaps, groups = {}, {}
    for family, gap in asked.gaps.items():
        members = [np.flatnonzero(asked.groups[family] == number)
                   for number in np.unique(asked.groups[family])]
        drawn = [members[i] for i in rng.integers(0, len(members), len(members))]
        gaps[family] = (gap - gap.mean() + effect)[seeds][:, np.concatenate(drawn)]
        groups[family] = np.repeat(np.arange(len(drawn)), list(map(len, drawn)))
    return asked._replace(gaps=gaps, groups=groups)


def alarms(asked: families.Asked, half_widths: float, draws: int) -> tuple[int, int]:
    """(decided, called carried) of trials in which all families have the same effect, so many half
    widths on either side of each limit of the test: `draws` trials for each. Every "carried by" is
    false there."""
    rng = np.random.default_rng(0)
    _, variance, freedom = families.moments(asked)
    away, decided, said = half_widths * stats.half_width(variance, freedom), 0, 0
    effects = [limit + side * away for limit in stats.LIMITS[asked.test] for side in (-1, 1)]
    for effect in effects * draws:
        again = redrawn(asked, effect, rng)
        mean, variance, freedom = families.moments(again)
        verdict = stats.verdict(mean, stats.half_width(variance, freedom), asked.test)
        decided += verdict != "undecided"
        said += families.is_carried(again, verdict)
    return decided, said


def test_carried_is_seldom_said_where_all_families_gain_alike(monkeypatch):
    """The kept scores of four questions of all three tests, drawn again with one effect in all
    families, on either side of each limit."""
    grid, students = student_grid()
    strict = {looks: [stats.student(0.025 / looks, x) for x in grid] for looks in (5, 9)}
    tables = {0.025: students} | {0.025 / looks: x for looks, x in strict.items()}
    monkeypatch.setattr(stats, "student",
                        lambda p, freedom: np.interp(freedom, grid, tables[p]))
    found = np.array([alarms(judge.asked_by_base(name)[0][question], 1.2, draws=10)
                      for name, question in (("C1", 0), ("C1", 1), ("C2", 1), ("C3", 0))])
    assert (found[:, 0] > 5).all()                          # of each question some are decided
    assert found[:, 1].sum() <= 0.06 * found[:, 0].sum()


@pytest.mark.parametrize("p, freedom, value", [(0.025, 1, 12.706), (0.025, 4, 2.776),
                                               (0.005, 10, 3.169), (0.025, 1e9, 1.960)])
def test_students_t_is_that_of_the_tables(p, freedom, value):
    assert stats.student(p, freedom) == pytest.approx(value, abs=2e-3)


@pytest.mark.parametrize("mean, half, test, verdict", [
    (0.03, 0.01, "better", "holds"), (-0.03, 0.01, "better", "does not hold"),
    (0.01, 0.01, "better", "undecided"), (-0.015, 0.004, "not inferior", "holds"),
    (-0.03, 0.005, "not inferior", "does not hold"), (0.0, 0.01, "as good", "holds"),
    (0.03, 0.005, "as good", "does not hold"), (0.0, 0.03, "as good", "undecided")])
def test_verdicts(mean, half, test, verdict):
    assert stats.verdict(mean, half, test) == verdict


def test_holm_stops_at_the_first_doubt():
    """With 4 degrees of freedom one look needs 2.78 standard errors, two looks need 3.50."""
    clear, fair, weak = ((errors * 0.01, 0.0001, 4.0, "better") for errors in (9, 3.3, 3))
    assert stats.holm([clear, fair]) == ["holds", "holds"]
    assert stats.holm([weak, clear, fair]) == ["undecided", "holds", "undecided"]


# ---- the rows ------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", RUN)
def test_every_command_of_an_entry_was_run(name):
    kept, claim = judge.packed(name), CLAIMS[name]
    for base in range(len(claim.bases)):
        found = {judge.place(kept, claim, row, base) for row in claim.rows}
        assert len(found) == len(claim.rows) == len(kept["commands"])
    assert kept["scores"].shape[1:] == (len(claim.bases), len(claim.seeds), len(claim.families),
                                        claim.items)
    assert list(kept["seeds"]) == list(claim.seeds)


def test_a_command_that_was_never_run_is_one_line(monkeypatch):
    claim = CLAIMS["C2"]
    monkeypatch.setitem(claim.rows, "SFT", "--objective sft --lr 6.4e-5 --batch-size 8")
    with pytest.raises(UserError, match="never run: --objective sft --lr 6.4e-5"):
        judge.judged("C2")


# ---- claims on a real model: from made-up cells to verdicts --------------------------------------
@pytest.fixture
def made_up(tmp_path, monkeypatch):
    """Cells of R1 and R1s in which IFT as released scores less and half of its answers stop."""
    monkeypatch.setattr(cells, "OUT", tmp_path)
    for module in (cells, verdicts):
        monkeypatch.setattr(module, "RESULTS", tmp_path)
    (tmp_path / "cells").mkdir()
    rng, claim = np.random.default_rng(0), CLAIMS["R1"]
    for row in claim.rows:
        for seed in claim.seeds:
            worse = row == "released"
            np.savez(cells.cell_file("R1", row, "smollm2", seed),
                     scores=rng.integers(0, 140 if worse else 200, (6, 60)).astype(np.uint8),
                     ended=(rng.random((6, 60)) < (0.5 if worse else 1)).astype(np.uint8))


def test_cells_become_verdicts(made_up):
    """Those that are kept, and those that have just been trained again."""
    for name in ("R1", "R1s"):
        cells.pack(name)
    assert judge.lines("R1")[0].verdict == "does not hold"
    trained = judge.packed("R1")
    trained["scores"] = trained["scores"][[1, 0, 2]]
    assert judge.judged("R1", trained)[0].verdict != "does not hold"
    assert {line.verdict for line in judge.lines("R1s")} == {"holds"}
    assert "stops" in judge.row_lines("R1")[0]


def test_another_model_than_that_of_the_results_is_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(cells.REAL, "smollm2", str(tmp_path))
    with pytest.raises(UserError, match="the real model is missing"):
        cells.real_base()
    (tmp_path / "model.safetensors").write_bytes(b"other weights")
    with pytest.raises(UserError, match="other weights than those of the results"):
        cells.real_base()


# ---- the command ---------------------------------------------------------------------------------
ROOT = Path(__file__).parents[1]


def run(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "lessons.evidence", *words], cwd=ROOT,
                          capture_output=True, text=True)


def test_the_command_prints_every_verdict_without_torch():
    out = run().stdout
    plain = " ".join(out.split())
    for lines in LINES.values():
        for line in lines:
            told = f"{line.question} ({line.whose}) {line.verdict} {line.figures} "
            assert " ".join(told.split()) in plain
    assert max(map(len, out.splitlines())) <= 100
    code = "import sys; from lessons.evidence import judge; judge.page_lines(); " \
           "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_mistakes_are_one_line():
    for words, told in ((("C99",), "unknown claim 'C99'"), (("--train",), "--train needs a claim")):
        found = run(*words)
        assert found.returncode == 2 and told in found.stderr and found.stderr.count("\n") == 1


def test_a_cell_trained_again_has_the_kept_scores(tmp_path, monkeypatch):
    """The cheapest one, SFT on 30 rows: all 900 scores. --train compares any other."""
    monkeypatch.setattr(cells, "OUT", tmp_path)
    (tmp_path / "cells").mkdir()
    file, claim = cells.cell_file("C6", "start", "base", 300), CLAIMS["C6"]
    cells.score(file, cells.made(claim, "start", "base", 300), claim, "base")
    kept = judge.packed("C6")
    assert np.array_equal(np.load(file)["scores"],
                          kept["scores"][judge.place(kept, claim, "start", 0), 0, 0])
