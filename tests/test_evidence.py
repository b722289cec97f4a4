"""lessons/evidence: docs/claims.md says what the command prints, and the interval is right."""
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from lessons.evidence import cells, estimates, judge, reads, stats, verdicts, write
from lessons.evidence.claim import command
from lessons.evidence.claims import CLAIMS
from nanouft import models, world
from nanouft.errors import UserError

PAGE = write.PAGE.read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## ([CR]\w+)\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S))


# ---- the page ------------------------------------------------------------------------------------
def test_the_table_of_the_page_is_that_of_the_command():
    assert write.TABLE.search(PAGE)[0] == write.table(judge.page_lines())


def test_every_claim_of_the_table_has_a_section():
    linked = set(re.findall(r"\]\(#([cr]\d\w*)\)", PAGE))
    assert linked == {name.lower() for name in SECTIONS} and len(linked) >= 9


RUN = [name for name in CLAIMS if judge.was_run(name)]
LINES = {name: judge.lines(name) for name in judge.NAMES}


def line_of(question: str) -> judge.Line:
    line, = [x for lines in LINES.values() for x in lines if x.question.startswith(question)]
    return line


def points(question: str) -> str:
    """ "4.3 and 4.3": the sizes of a difference on both bases."""
    line = line_of(question)
    return " and ".join(f"{abs(100 * finding.mean):.1f}" for finding in line.findings)


def percent(name: str, row: str, what: str) -> str:
    """ "24.6 and 19.0": the share of lists that stop, or the score, on both bases."""
    kept, claim = judge.packed(name), CLAIMS[name]
    numbers = [kept[what][judge.place(kept, claim, row, base), base].mean()
               for base in range(len(claim.bases))]
    scale = 100 / judge.UNIT if what == "scores" else 100
    return " and ".join(f"{scale * x:.1f}" for x in numbers)


def figures(question: str) -> str:
    return line_of(question).figures


def moves(case: str) -> str:
    """ "+2.8 ± 1.5": by how much SFT says more than the policy does where it stands."""
    line = line_of(f"Move by move, SFT overestimates its policy ({case} updates")
    return re.search(r"SFT - alone (\S+ ± \S+),", line.figures)[1]


PROSE = [   # claim, a sentence of its section with {}, where the figure comes from
    ("C1c", "is {} points ahead of IFT with detached weights",
     lambda: points("40 % wrong: IFT with detached weights is not inferior")),
    ("C1d", "only {} % of the lists stop", lambda: percent("C1d", "released here", "stops")),
    ("C1d", "validation chose {} % stop", lambda: percent("C1d", "released", "stops")),
    ("C3b", "followed by UNA by {} points",
     lambda: points("No right answer to copy: UFT is better than SFT, then UNA")),
    ("C3b", "is still {} points ahead of UFT",
     lambda: points("No right answer to copy: UFT is better than SFT on A and the best of B")),
    ("C4", "its lead over SFT is {} points larger", lambda: points("PoFT's lead over SFT")),
    ("C4", "is {} points ahead of PoFT on all rows",
     lambda: points("40 % wrong: PoFT is better than SFT on the likeliest")),
    ("C4", "better than SFT, with {}.", lambda: figures("40 % wrong, filtered rows")),
    ("C6", "UNA with scores is {} points ahead of DPO", lambda: points("From the same scored")),
    ("C6", "right or not UNA loses {} points",
     lambda: points("UNA with scores is better than UNA with labels, right")),
    ("C6", "(RFT) reaches {} %", lambda: percent("C6", "RFT", "scores")),
    ("C6", "against UNA's {}", lambda: percent("C6", "UNA", "scores")),
    ("C5", "the estimate lies {} points above", lambda: moves("detour habit, 0")),
    ("C5", "off by {} points before the first update", lambda: moves("from scratch, 0")),
    ("C5", "and {} points after the fifth", lambda: moves("detour habit, 5")),
    ("C7", "SFT's estimate is {} points too high", lambda: points("Step by step, SFT overest")),
    ("C7", "lies {} points nearer with lam .2",
     lambda: points("Step by step, the blend (lam .2)")),
    ("C7", "and {} with lam 1", lambda: points("Step by step, the blend (lam 1)")),
    ("R1", "as released is {} points behind", lambda: points("A real model: IFT as released")),
    ("R1", "on our own bases, it is {} behind",
     lambda: points("A real model: IFT with detached")),
    ("R1s", "SFT's answers {} % end by themselves", lambda: percent("R1s", "SFT", "ended")),
    ("R1s", "of IFT's {} % as released", lambda: percent("R1s", "released", "ended")),
    ("R1s", "and {} % detached", lambda: percent("R1s", "detached", "ended")),
    ("R4", "lies {} points from SFT on all",
     lambda: figures("A real model, 40 % wrong: SFT on the likeliest")),
    ("R4", "PoFT's distance to it is {}.",
     lambda: figures("A real model, 40 % wrong: PoFT is better than SFT on the likeliest")),
    ("C8", "lies {} points from SFT", lambda: figures("DFT learns a new behaviour")),
    ("C8", "is {}, so that", lambda: figures("DFT learns rules in new combinations")),
]


@pytest.mark.parametrize("claim, sentence, figure", PROSE, ids=[x[1] for x in PROSE])
def test_a_figure_in_prose_is_that_of_the_command(claim, sentence, figure):
    assert sentence.format(figure()) in " ".join(SECTIONS[claim].split())


def test_no_other_figure_stands_in_the_sections():
    """A decimal in a section is one of PROSE, or of the few that are settings or said in C1."""
    assert {points("IFT as released is better than SFT")} == {"4.3 and 4.3"}        # "4.3 points"
    told = {claim: {"4.3"} if claim == "C1" else set() for claim in SECTIONS}
    for claim, _, figure in PROSE:
        told[claim] |= set(re.findall(r"\d+\.\d", figure()))
    for claim in SECTIONS:
        assert set(re.findall(r"\d+\.\d", SECTIONS[claim])) == told[claim], claim


def test_the_lake_is_told_as_it_was_measured():
    orders = [figures for _, _, figures in reads.order_lines()]
    farther = sum(float(re.search(r"IFT - DPO (\S+) ± (\S+),", x)[1]) < 0 for x in orders)
    told = f"farther from the optimal policy than IFT in {farther} of {len(orders)} settings"
    assert told in PAGE


def test_the_sentence_on_one_correction_for_all():
    questions, decided, stay = judge.as_one_family()
    assert (f"If the {questions} questions of C1 to C6 shared one correction, {stay} of their "
            f"{decided} decided verdicts would stay") in PAGE


def test_the_page_is_short_and_its_picture_small():
    words = [word for word in PAGE.split() if any(map(str.isalpha, word))]
    assert len(words) <= 1800
    assert write.PAGE.with_suffix(".png").stat().st_size < 80_000
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


@pytest.mark.parametrize("seed_sd, prompt_sd, rest_sd", [(0.02, 0.0, 0.3), (0.02, 0.1, 0.3),
                                                         (0.005, 0.2, 0.3), (0.05, 0.1, 0.1)])
def test_the_interval_covers_the_truth_in_simulation(seed_sd, prompt_sd, rest_sd):
    """Five seeds, nine families of 100 prompts, true difference 0: 95 %, give or take chance."""
    rng, inside, draws = np.random.default_rng(0), 0, 300
    grid = np.array([4, 5, 6, 8, 10, 14, 20, 30, 60, 200, 1e4])
    students = [stats.student(0.025, freedom) for freedom in grid]
    for _ in range(draws):
        seeds = rng.normal(0, seed_sd, (5, 1))
        gaps = [(seeds + rng.normal(0, prompt_sd, 100) + rng.normal(0, rest_sd, (5, 100))) / 9
                for _ in range(9)]
        mean, variance, freedom = stats.moments(gaps, [np.arange(100)] * 9)
        inside += abs(mean) <= np.interp(freedom, grid, students) * math.sqrt(variance)
    assert 0.91 <= inside / draws <= 0.98


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


@pytest.mark.parametrize("name, rows", [("C1", ("released", "SFT")), ("C4", ("PoFT", "SFT")),
                                        ("C6", ("UNA", "DPO"))])
def test_swapped_rows_turn_a_verdict(name, rows):
    kept = judge.packed(name)
    before = [line.verdict for line in judge.judged(name, kept)]
    one, other = (judge.place(kept, CLAIMS[name], row, 0) for row in rows)
    kept["scores"] = kept["scores"].copy()
    kept["scores"][[one, other]] = kept["scores"][[other, one]]
    assert [line.verdict for line in judge.judged(name, kept)] != before


def test_a_command_tells_all_that_its_scores_depend_on():
    text = command(CLAIMS["C6"], "UNA, cut", 0)
    assert text.count("<- --objective sft --rows 30") == 3 and "--good 0.5" in text


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
                     ended=(rng.random((6, 60)) < (0.5 if worse else 1)).astype(np.uint8),
                     kl=rng.random(50))


def test_cells_become_verdicts_and_swapped_rows_others(made_up):
    for name in ("R1", "R1s"):
        cells.pack(name)
    assert judge.lines("R1")[0].verdict == "does not hold"
    assert {line.verdict for line in judge.lines("R1s")} == {"holds"}
    for name, what in (("R1", "scores"), ("R1s", "ended")):
        kept, before = judge.packed(name), [line.verdict for line in judge.lines(name)]
        kept[what] = kept[what][[1, 0, 2]]
        assert [line.verdict for line in judge.judged(name, kept)] != before
    assert "stops" in judge.row_lines("R1")[0]


def test_a_planted_sign_on_stopping_turns_a_verdict(made_up, monkeypatch):
    cells.pack("R1s")
    question = next(iter(CLAIMS["R1s"].questions))
    monkeypatch.setitem(CLAIMS["R1s"].questions, question, "better, stops: released - SFT")
    assert judge.lines("R1s")[0].verdict == "does not hold"


def test_another_model_than_that_of_the_results_is_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(cells.REAL, "smollm2", str(tmp_path))
    with pytest.raises(UserError, match="the real model is missing"):
        cells.real_base()
    (tmp_path / "model.safetensors").write_bytes(b"other weights")
    with pytest.raises(UserError, match="other weights than those of the results"):
        cells.real_base()


# ---- C7 ------------------------------------------------------------------------------------------
def test_swapped_estimates_and_a_planted_sign_turn_verdicts(monkeypatch):
    before = [line.verdict for line in estimates.lines()]
    kept = dict(estimates.packed())
    kept["chance"] = kept["chance"][..., [2, 1, 0]]
    assert [line.verdict for line in estimates.lines(kept)] != before
    bias = estimates.bias
    monkeypatch.setattr(estimates, "bias", lambda *x: -bias(*x))
    assert [line.verdict for line in estimates.lines()] != before


@pytest.mark.parametrize("family, asked, said, right", [
    ("sum", "9 3 5", "9 and 3 is", "12"), ("sum", "9 3 5", "9 and 3 is 13 and 5 is", "18"),
    ("sum", "9 3 5", "9 and 3 is pig and 5 is", ""), ("sum", "9 3 5", "", "9"),
    ("sum", "9 3", "9 and 3 is 12", estimates.END), ("sum", "9 3 5", "9 and", "3"),
    ("sort", "pig bee saw", "", "bee"), ("sort", "pig bee saw", "pig", "bee"),
    ("sort", "pig bee saw", "pig fox bee", "saw"), ("reverse", "pig bee saw", "saw pig", "bee"),
    ("reverse", "pig bee saw", "saw bee pig", estimates.END)])
def test_the_right_word_after_any_words(family, asked, said, right):
    assert estimates.next_word(family, asked.split(), said.split()) == right


def test_steps_are_judged_after_the_own_words():
    def steps(said: str, ended: bool) -> list[bool]:
        return estimates.right_steps("sort", ["pig", "bee", "saw"], said.split(), ended, 4)
    assert steps("bee pig saw", True) == [True] * 4
    assert steps("pig bee saw", True) == [False, True, True, True]      # after pig, bee is right
    assert steps("bee", True) == [True, False]                          # it stops too early
    assert steps("bee pig saw fox fox", True) == [True, True, True, False]
    assert steps("bee pig", False) == [True, True]                      # cut off: no end to judge


def test_a_demonstration_is_right_after_its_own_words():
    for row in world.rows("test", "prompts", 30, 0, skills=estimates.STEPWISE):
        family, fields = world.answers.read(row.prompt[0].text)
        said = row.answer[0].text.split()
        assert all(estimates.right_steps(family, fields["words"].split(), said, True, 99))


def test_the_chances_of_words_are_those_of_their_tokens():
    """Their product is the chance of the whole answer, by a forward that knows no words."""
    model, tok = models.start_model("base")
    row = world.rows("test", "prompts", 3, 1, skills=estimates.STEPWISE)[2]
    chances, = estimates.word_chances(model, tok, [row])
    prompt, answer = tok.prompt_ids(row.prompt), tok.encode(" " + row.answer[0].text)
    ids = torch.tensor([[*prompt, *answer, tok.end]])
    logp = model(ids[:, :-1]).log_softmax(-1).gather(-1, ids[:, 1:, None])[0, len(prompt) - 1:, 0]
    assert chances.shape == (3, len(row.answer[0].text.split()) + 1)
    assert chances[0].prod() == pytest.approx(logp.sum().exp().item(), rel=1e-4)
    assert chances[0, -1] == pytest.approx(logp[-1].exp().item(), rel=1e-4)


# ---- the command ---------------------------------------------------------------------------------
ROOT = Path(__file__).parents[1]


def run(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "lessons.evidence", *words], cwd=ROOT,
                          capture_output=True, text=True)


def test_the_command_prints_every_verdict_without_torch():
    out = run().stdout
    for lines in LINES.values():
        for line in lines:
            assert f"{line.question:78} {line.verdict:14} {line.figures}" in out
    code = "import sys; from lessons.evidence import judge; judge.page_lines(); " \
           "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_mistakes_are_one_line():
    for words, told in ((("C9",), "unknown claim 'C9'"), (("--train",), "--train needs a claim")):
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
