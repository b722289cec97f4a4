"""lessons/evidence: an interval is right, a verdict is that of kept scores and of the plan that was
made for them, and docs/results says what the command prints."""
import math
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made import NANO

from lessons.evidence import __main__ as command
from lessons.evidence import error_recovery, judge, keep, pages, plan, verdicts
from lessons.evidence.page_marks import between
from lessons.evidence.plan import SKILLS, UNIT
from nanouft import train, world
from nanouft.compare import runs, stats
from nanouft.compare.by_task import dominant_task, mean_without, rests_on_dominant_task
from nanouft.compare.scoring import EvalSpec, measure
from nanouft.generate import Answer
from nanouft.plumbing.errors import UserError
from nanouft.run.flags import as_flags


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
    assert judge.mean_of(((1.0, 1.0, 4.0), (2.0, 3.0, 8.0))) == pytest.approx(
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


def test_a_page_lists_its_verdicts_that_hang_on_one_seed():
    for file in {*pages.TEXTS.glob("*.md")} - {pages.TEXTS / "README.md"}:      # it names the pages
        text = file.read_text(encoding="utf-8")
        assert bool(pages.fragile(text)) == ("{fragile}" in text), file.name


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
@pytest.mark.parametrize("name", plan.NAMES)
def test_the_commit_of_a_run_has_its_plan_and_its_scores_the_size_of_the_plan(
        name, tmp_path, monkeypatch):
    """So what is printed trains what is judged."""
    run, kept = plan.read(name), plan.scores(name)
    assert kept["scores"].shape == (len(run.trainings), len(run.models), len(run.seeds),
                                    len(run.tasks), int(run.run.get("items", 100)))
    assert not {*run.made} & {*run.trainings}
    tree, *_, train_it = plan.commands(name)
    assert train_it == f"python -m lessons.evidence --train {name}"
    if git("rev-parse", "--is-shallow-repository") != "false\n":
        pytest.skip("needs a full clone")
    (tmp_path / "questions").mkdir()
    (tmp_path / f"questions/{name}.ini").write_text(git(
        "show", f"{tree.split()[4]}:lessons/evidence/questions/{name}.ini"), encoding="utf-8")
    monkeypatch.setattr(plan, "HERE", tmp_path)
    assert plan.hashes(plan.read.__wrapped__(name)) == plan.hashes(run)


def git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=Path(__file__).parent, capture_output=True,
                          encoding="utf-8").stdout


@pytest.mark.parametrize("name", plan.NAMES)
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


@pytest.mark.parametrize("formula, told", [
    ("as good, skils: DFT - SFT", "unknown mean of a question 'skils'"),
    ("as good, skills in rules: DFT - SFT", "unknown mean"),
    ("as good, score in lst: DFT - SFT", "unknown task 'lst'"),
    ("as god, score in rules: DFT - SFT", "unknown test 'as god'"),
    ("as good, recovers: DFT - SFT", "unknown mean of a question 'recovers'"),
    ("as good: DFT - SFFT", "unknown training 'SFFT'")])
def test_a_difference_that_a_page_mistypes_is_refused(formula, told):
    with pytest.raises(UserError, match=told):
        plan.parse_question(plan.read("C8"), formula)


# ---- recovery (R12) ------------------------------------------------------------------------------
def test_who_goes_on_with_the_rest_of_the_right_answer_has_recovered(monkeypatch):
    """After a later word in the place of the first, and stops there; of all nine tasks."""
    rows = world.rows("val", "prompts", 90, 3)
    right = [world.right_answer(row.prompt[0].text).split() for row in rows]
    rest = [words[1:] for words in right]
    for answers, ended, share in (
            (rest, True, 1), (rest, False, 0), (right, True, 0),    # the missed word after all
            ([words[2:] for words in right], True, 0),
            ([[*words, "pig"] for words in rest], True, 0)):
        begun: list[list[int]] = []
        monkeypatch.setattr(error_recovery, "generate", lambda model, prompts, **how: begun.extend(
            prompts) or [Answer(NANO.encode(f" {' '.join(x)}"), ended) for x in answers])
        assert error_recovery.recovers(None, NANO, rows, 44).mean() == share
    for asked, row, words in zip(begun, rows, right):
        *prompt, forced = NANO.decode(asked).split()
        assert prompt == NANO.decode(NANO.prompt_ids(row.prompt)).split()
        assert forced != words[0] and forced in [word.rstrip(".") for word in words[1:]]
        assert len(words) == 2 or forced not in words[:2]


# ---- its trainings -------------------------------------------------------------------------------
def test_rows_that_are_kept_stay_in_their_order():
    rows = world.rows("train", "demos", 12, 0, noise=0.4)
    kept = keep.likeliest(rows, "base", 0.55)
    assert len(kept) == 7 and kept == [row for row in rows if row in kept]
    clean = world.rows("train", "demos", 12, 0)
    assert keep.right_demos(rows) == [row for row in rows if row in clean]


def test_a_cell_trained_again_has_the_kept_scores(tmp_path):
    """The cheapest one, SFT on 30 rows: all 900 scores."""
    run, folder = plan.read("C6"), str(tmp_path / "start")
    train.main([*run.trainings["start"].split(), "--seed", "300", "--init", "base",
                *as_flags(runs.ONLY_TRAIN), "--device", "cpu", "--dtype", "fp32", "--out", folder])
    found = measure(EvalSpec("", "test", int(run.run["prompts"]), 100, run.tasks), folder)["score"]
    assert np.array_equal(np.rint(UNIT * np.array([found[task] for task in run.tasks])),
                          plan.scores("C6")["scores"][0, 0, 0])


# ---- the pages -----------------------------------------------------------------------------------
def test_what_the_command_writes_stands_on_the_pages():
    """Every field is filled, every run is told on a page, and no interval is typed by hand."""
    written, front = pages.pages(), pages.readme_results()
    for file, text in written.items():
        assert file.read_text(encoding="utf-8") == text, file.name
    assert between("results").search(pages.README.read_text(encoding="utf-8"))[0] == front
    assert not re.findall(r"\{[^}\"]*\}", " ".join([*written.values(), front]))
    told = set(re.findall(r"\b[CR]\d+\w?\b", " ".join(written.values())))
    assert told >= set(judge.RUNS) - {"R1s"}          # R1s asks the rows of R1 how many stop
    for text in pages.TEXTS.glob("*.md"):
        assert not re.search(r"\d ± \d", text.read_text(encoding="utf-8")), text.name


@pytest.mark.parametrize("mark, told", [
    ("{C99 3.0.0: 12}", "unknown run 'C99'"),
    ("{C13 C20 2.9.0: 12 of 12}", "the scores of C13 are those of 3.0.0"),
    ("{C7 3.0.0: 4}", "the scores of C7 are those of 1.1.0"),
    ("{pair& C1 better: released - SFT & R1 better: released - SFT}", "different models"),
    ("{par C1 better: released - SFT}", "no form reads it: {par C1"),
    ("{C13 3.0.0 29}", "no form reads it: {C13"),
    ("{pair C1 better", "no form reads it: {pair C1 better")])
def test_a_mark_that_is_wrong_is_refused(mark, told):
    """A typed figure is of scores that are kept, and is printed alone; data are no mark."""
    with pytest.raises(UserError, match=told):
        pages.fill(f"By {mark} points.")
    assert pages.fill('{C13 3.0.0: 12 of 12} and {C5 1.1.0: 87} {"prompt": "..."}') == (
        '12 of 12 and 87 {"prompt": "..."}')


def test_a_sentence_of_a_paper_is_asked_by_questions_that_exist():
    """By name and version of the paper, and each question is of a claim about that paper."""
    found = pages.all_lines()
    for sentence in plan.PAPERS:
        assert re.fullmatch(r"\d{4}\.\d{5}v\d", sentence.version) and sentence.doubt
        for key in sentence.asked + sentence.also:
            assert found[key].claim in plan.RUNS_OF[sentence.paper], key
            assert found[key].whose == ("the paper's" if key in sentence.asked else "ours")
    assert sorted(sum(plan.RUNS_OF.values(), [])) == sorted(judge.RUNS)


# ---- the command ---------------------------------------------------------------------------------
def test_the_command_prints_what_was_found_every_verdict_and_the_flags_of_a_run(capsys):
    """Its answers are those of the pages; and no mark is left."""
    def printed(*words: str) -> str:
        command.main([*words])
        return " ".join(capsys.readouterr().out.split())
    out = printed()
    for file, text in pages.pages().items():
        answer, runs = pages.answers_of_pages()[file.stem]
        assert text.split("\n\n")[1].startswith(f"**{answer}**"), file.name
        assert " ".join(answer.split()) in out and {*runs} <= {*judge.RUNS}
    out = printed("all")
    for line in sum(map(judge.verdict_lines, judge.RUNS), []):
        told = f"{line.question} ({line.whose}) {line.verdict} {line.figures} "
        assert " ".join(told.split()) in out
    for name in judge.RUNS:
        out = printed(name)
        assert not re.search(r"{(wide|broad|pair|size)", out)
        for flags in plan.read(name).trainings.values():
            assert " ".join(flags.split()) in out


@pytest.mark.parametrize("program, words, told", [
    (command, "C99", "unknown run 'C99'"), (command, "--commands", "needs a run"),
    (command, "--commands all", "unknown run 'all'"), (error_recovery, "", "name a model"),
    (keep, "--skills rules_new --passed",
     "--skills: no task left: rules_new exists in val and test"),
    (keep, "--skills cooking --aligned folder",
     "--skills: unknown task 'cooking'; known are A, B, all, rules"),
    (keep, "--share 60 --aligned folder", "--share 60.0: must be above 0 and at most 1")])
def test_a_mistake_is_one_line_before_a_model_is_opened(program, words, told, tmp_path,
                                                        monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(program, "start_model", None, raising=False)
    with pytest.raises(UserError, match=re.escape(told)):
        program.main(words.split())
