"""lessons/evidence: an interval is right, a verdict is that of kept scores and of the plan that was
made for them, and docs/results says what the command prints."""
import math
import re
import shutil
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from made import NANO, same

from lessons.evidence import __main__ as command
from lessons.evidence import (
    another_mistake,
    harvest,
    judge,
    keep,
    pages,
    pictures,
    plan,
    recovery,
    train,
)
from lessons.evidence.page_marks import between, write_between
from lessons.evidence.pages import differences
from lessons.evidence.plan import SKILLS, UNIT
from nanouft import world
from nanouft.compare import runs, stats
from nanouft.compare.judge import largest, mean_without, rests_on_largest, weights
from nanouft.data.batches import collate, encode
from nanouft.data.rows import Row
from nanouft.data.selection import demo_rows
from nanouft.generate import Answer
from nanouft.models.folders import start_model
from nanouft.objectives.ift import IFT, own_guess
from nanouft.plumbing.errors import UserError
from nanouft.run.load import load_rows
from nanouft.run.settings import read_flags


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


@pytest.fixture
def fast(monkeypatch):
    """Student's t of degrees of freedom with two digits, so that it is computed seldom."""
    exact = stats.student
    monkeypatch.setattr(stats, "student", lambda p, n: exact(p, float(f"{min(n, 1e4):.2g}")))


@pytest.mark.parametrize("seed_sd, prompt_sd, rest_sd", [
    (0.02, 0.0, 0.3), (0.02, 0.1, 0.3), (0.005, 0.2, 0.3), (0.05, 0.1, 0.1),
    (0.0, 0.0, 0.3), (0.0, 0.05, 0.3), (0.0, 0.1, 0.3)])
def test_the_interval_covers_the_truth_in_simulation(seed_sd, prompt_sd, rest_sd, fast):
    """Five seeds, three families of 100 prompts, true difference 0: 95 %, give or take chance, and
    the mean scatters as much as its own variance says. Where all seeds are alike, it covers also in
    the third of the draws whose seeds agree most: the variance over seeds says too little there,
    but the interval is never narrower than prompts or answers make it."""
    rng, draws = np.random.default_rng(0), []
    for _ in range(300):
        seeds = rng.normal(0, seed_sd, (5, 1))
        gaps = [(seeds + rng.normal(0, prompt_sd, 100) + rng.normal(0, rest_sd, (5, 100))) / 3
                for _ in range(3)]
        mean, variance, freedom = stats.moments(gaps, [np.arange(100)] * 3)
        inside = abs(mean) <= stats.half_width(variance, freedom)
        draws.append((sum(gap.mean(1) for gap in gaps).var(), inside, mean, variance))
    _, inside, means, variances = zip(*sorted(draws))
    if seed_sd:
        assert 0.91 <= np.mean(inside) <= 0.98
        assert np.var(means) == pytest.approx(np.mean(variances), rel=0.25)
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


def test_the_mean_of_two_runs_and_its_interval_by_hand():
    """Variances 1 and 3 add up to 4, and of a mean of two count a quarter. Welch's degrees of
    freedom are 4 * 4 / (1 / 4 + 9 / 8)."""
    assert judge.mean_of(((1.0, 1.0, 4.0), (2.0, 3.0, 8.0))) == pytest.approx(
        (1.5, 1.0, 16 / 1.375))
    one = differences("C3 better: UFT - A -> DPO")
    assert differences("C3 better: UFT - A -> DPO & C3 better: UFT - A -> DPO")[0][0] == \
        pytest.approx(one[0][0])


def test_what_is_averaged_by_hand():
    """Overall a fact weighs a third, "I do not know" a sixth, reversed words a fifteenth, as the
    pages say. "tasks alike" and "without unknown" are other means of the same scores."""
    claim, kept = plan.read("C3"), plan.scores("C3")
    shares = weights(claim.parts)
    assert [round(1 / shares[task]) for task in ("fact", "unknown", "reverse")] == [3, 6, 15]
    i = [*claim.trainings].index("UFT")
    task = dict(zip(claim.tasks, kept["scores"][i, 0].mean((0, 2)) / UNIT))
    found = {of: judge.moments(judge.asked_of(claim, f"better, {of}: UFT", 0))[0]
             for of in ("tasks alike", "without unknown", "without truth", "score in fact")}
    skills = np.mean([task[name] for name in SKILLS])
    assert found == pytest.approx({
        "tasks alike": np.mean([*task.values()]), "score in fact": task["fact"],
        "without unknown": (skills + task["truth"] + task["fact"]) / 3,
        "without truth": (skills + task["unknown"] + task["fact"]) / 3})


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
    assert stats.verdict(mean, half, test) == verdict


def test_holm_stops_at_the_first_doubt():
    """With 4 degrees of freedom one look needs 2.78 standard errors, two looks need 3.50."""
    clear, fair, weak = ((errors * 0.01, 0.0001, 4.0, "better") for errors in (9, 3.3, 3))
    for asked, verdicts in (([clear, fair], ["holds", "holds"]),
                            ([weak, clear, fair], ["undecided", "holds", "undecided"])):
        assert [said for _, said in stats.decide(asked)] == verdicts


def test_a_verdict_that_hangs_on_one_seed_is_called_fragile():
    """Counted by another program. A page that shows such a verdict lists it."""
    assert [(line.key, seeds) for run in ("C17c", "R10", "R11") for line, seeds in
            judge.fragile(run)] == [
        ("C17c better: MANY hpt - MANY chain", "N1 2 of 5"),
        ("R11 better: passed, 60 steps - passed, as in R10", "SmolLM2 4 of 5")]
    for file in {*pages.TEXTS.glob("*.md")} - {pages.TEXTS / "README.md"}:      # it names the pages
        text = file.read_text(encoding="utf-8")
        assert bool(pages.fragile(text)) == ("{fragile}" in text), file.name


def made_of(effects: dict[str, float], parts=None) -> judge.Difference:
    """Five seeds and 100 prompts of each family, with these differences."""
    rng = np.random.default_rng(1)
    gaps = {name: effect + rng.normal(0, 0.2, (5, 100)) for name, effect in effects.items()}
    return judge.Difference(gaps, dict.fromkeys(gaps, np.arange(100)), parts or (tuple(gaps),),
                       "better")


def test_a_planted_family_is_found_and_no_other():
    alone = made_of({"a": 0.0, "b": 0.3, "c": 0.0, "d": 0.0})
    assert largest(alone) == "b" and abs(mean_without(alone, "b")) < 0.02
    assert rests_on_largest(alone, "holds")
    assert not rests_on_largest(alone, "undecided")
    below = alone._replace(gaps={name: -gap for name, gap in alone.gaps.items()})
    assert largest(below) == "b" and rests_on_largest(below, "does not hold")
    assert not rests_on_largest(made_of(dict.fromkeys("abcd", 0.1)), "holds")
    assert not rests_on_largest(made_of({"a": 0.1, "b": 0.3, "c": 0.2, "d": 0.2}), "holds")
    margin = alone._replace(test="not inferior")        # half of a mean says nothing of a margin
    assert not rests_on_largest(margin, "holds")


def test_a_family_that_goes_leaves_its_share_to_its_part():
    parts = (("a", "b", "c"), ("d", "e"), ("f",))
    assert weights(parts)["a"] == pytest.approx(1 / 9)
    assert weights(parts, "d") == pytest.approx(
        {"a": 1 / 9, "b": 1 / 9, "c": 1 / 9, "e": 1 / 3, "f": 1 / 3})
    assert weights(parts, "f") == pytest.approx(
        {"a": 1 / 6, "b": 1 / 6, "c": 1 / 6, "d": 1 / 4, "e": 1 / 4})
    asked = made_of(dict(zip("abcdef", (0, 0, 0, 0.4, 0.1, 0.1))), parts)
    means = {name: gap.mean() for name, gap in asked.gaps.items()}
    assert mean_without(asked, "d") == pytest.approx(
        (sum(means[x] for x in "abc") / 3 + means["e"] + means["f"]) / 3)


def redrawn(asked: judge.Difference, effect: float, rng: np.random.Generator) -> judge.Difference:
    """Seeds and groups of prompts drawn again, with replacement, with this effect in every family.
    Each drawn group is a draw of its own."""
    seeds = rng.integers(0, 5, 5)
    gaps, groups = {}, {}
    for family, gap in asked.gaps.items():
        members = [np.flatnonzero(asked.groups[family] == number)
                   for number in np.unique(asked.groups[family])]
        drawn = [members[i] for i in rng.integers(0, len(members), len(members))]
        gaps[family] = (gap - gap.mean() + effect)[seeds][:, np.concatenate(drawn)]
        groups[family] = np.repeat(np.arange(len(drawn)), list(map(len, drawn)))
    return asked._replace(gaps=gaps, groups=groups)


@pytest.mark.parametrize("name, question", [("C1", 0), ("C1", 1), ("C2", 1), ("C3", 0)])
def test_a_verdict_seldom_seems_to_rest_on_one_family_where_all_gain_alike(name, question, fast):
    """Kept scores of all three tests, drawn again with one effect in all families, 1.2 half-widths
    on either side of each limit. Every verdict that rests on a family is false there."""
    asked, rng = judge.asked_by_model(name)[0][question], np.random.default_rng(0)
    decided = said = 0
    _, variance, freedom = judge.moments(asked)
    away = 1.2 * stats.half_width(variance, freedom)
    for effect in [limit + side * away for limit in stats.LIMITS[asked.test]
                   for side in (-1, 1)] * 10:
        again = redrawn(asked, effect, rng)
        mean, variance, freedom = judge.moments(again)
        verdict = stats.verdict(mean, stats.half_width(variance, freedom), asked.test)
        decided += verdict != "undecided"
        said += rests_on_largest(again, verdict)
    assert decided > 5 and said <= 0.06 * decided


# ---- the plan ------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", plan.NAMES)
def test_what_a_plan_makes(name):
    """Kept scores have its size. Each command makes a folder of its own, after what it reads; else
    one model would be read as another. No training has the name of something that is made; else it
    would be that, and never be trained."""
    run = plan.read(name)
    if name in judge.RUNS:
        assert plan.scores(name)["scores"].shape == (
            len(run.trainings), len(run.models), len(run.seeds()), len(run.tasks),
            train.asked_of(run).items)
    assert not {*run.made} & {*run.trainings}
    made: dict = {}
    for (training, *_), job in train.jobs_of(run, 0).items():
        for x in runs.with_needs(job):
            assert not x.words or made.setdefault(x.folder, x.words) == x.words
            needed = {word.removesuffix(".jsonl").rpartition("/")[0] if word.endswith(".jsonl")
                      else word for word in x.words if word.startswith(str(train.OUT))}
            assert needed == {str(y.folder) for y in x.needs if x.words}
        assert "--" not in run.trainings[training] or job.program == "nanouft.train"
    typed = train.commands(name, 0)
    assert len({*typed}) == len(typed) == len(made)


def test_tries_have_validation_prompts_and_no_questions():
    """And the trainings that choose one setting of a run have the same flags but for it, with
    seeds and prompts that the run itself does not have."""
    def without_rate(flags: str) -> str:
        return re.sub(r" --lr \S+", "", flags)
    for run in map(plan.read, plan.NAMES):
        tries = train.asked_of(run).split == "val"
        assert tries == (not run.questions)
        if tries:
            asked = plan.read(run.name.rstrip("st"))
            assert not {*run.seeds()} & {*asked.seeds()}
            assert run.run["prompts"] != asked.run["prompts"]
            starts = {"", *(flags.partition("<- ")[2] for flags in run.trainings.values())}
            tries = Counter(without_rate(flags) for name, flags in run.trainings.items()
                            if flags and name not in starts)
            assert {*tries} <= {without_rate(flags) for flags in asked.trainings.values()}
            assert len({*tries.values()}) == 1                      # equally many of each


@pytest.mark.parametrize("name", plan.NAMES)
def test_whatever_scores_or_verdicts_depend_on_is_in_a_hash_and_no_words_are(name, monkeypatch):
    run = plan.read(name)
    kept = plan.hashes(run)
    settings = {*run.run} - {"asks", "expected", "scores of"}
    for part, keys in (("run", settings), ("made", run.made), ("trainings", run.trainings)):
        for key in keys:
            old = getattr(run, part)
            new = replace(run, **{part: old | {key: f"{old[key]} 2"}})
            what = "questions" if key == "mean of" else "trainings"
            assert plan.hashes(new)[what] != kept[what], key
    for part in ("questions", "premises"):
        old = getattr(run, part)
        for key in old:
            new = replace(run, **{part: {x: old[x] for x in old if x != key}})
            assert plan.hashes(new)["questions"] != kept["questions"], key
    turned = replace(run, trainings=dict(reversed(run.trainings.items())))
    assert plan.hashes(turned)["trainings"] != kept["trainings"]    # scores lie in their order
    told = replace(run, run=run.run | {"asks": "", "expected": ""}, doubts={}, edges={},
                   afterwards={}, questions=dict.fromkeys(run.questions, ""),
                   premises=dict.fromkeys(run.premises, ""))
    assert plan.hashes(told) == kept
    for test in {formula.split(":")[0].split(",")[0] for formula in run.questions}:
        with monkeypatch.context() as patch:
            patch.setitem(stats.LIMITS, test, (0.01,))              # its margin
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
    ("--lr 2.5e-4", "--lr 1e-4", "its trainings .* restore them, or train them: .* C8 --keep"),
    ("as good, score in rules_new", "better, score in rules_new", "its questions .* restore them"),
    ("DFT - SFT = DFT learns rules", "SFT - DFT = DFT learns rules", "its questions"),
    ("as good, score in rules_new", "as good, skils", "unknown mean of a question 'skils'"),
    ("as good, score in rules_new", "as good, without lst", "question 'without lst'"),
    ("as good, score in rules_new", "as good, score where both stops in list", "unknown mean"),
    ("as good, score in rules_new", "as good, skills in rules", "unknown mean"),
    ("as good, score in rules_new", "as good, score in lst", "unknown task 'lst'"),
    ("as good, score in rules_new", "as god, score in rules_new", "unknown test 'as god'"),
    ("as good, score in rules_new", "as good, recovers", "unknown mean of a question 'recovers'"),
    ("prompts = 4", "prompts = 4\nalso = recover", "unknown measure 'recover'"),
    ("DFT - SFT = DFT learns rules", "DFT - SFFT = DFT learns rules", "unknown training 'SFFT'"),
    ("[edges]", "[edge]", "unknown section 'edge'"),
    ("[edges]", "[edges]\nSFFT = lowest", "unknown training in .edges. 'SFFT'"),
    ("prompts = 4", "prompts = 4\nitms = 5", "unknown setting 'itms'")])
def test_a_plan_that_changed_after_its_scores_or_is_mistyped_is_not_judged(old, new, told,
                                                                           own_plan):
    own_plan(old, new)
    with pytest.raises(UserError, match=f"questions/C8.ini: .*{told}"):
        judge.judged("C8")


def test_words_may_be_mended_and_a_changed_plan_be_trained(own_plan, monkeypatch, capsys):
    own_plan("Does DFT learn", "Is it so that DFT learns")
    scores = plan.scores("C8")
    own_plan("seeds = 800 to 804", "seeds = 900 to 904")
    monkeypatch.setattr(train, "train", lambda *_: {x: scores[x]
                                                    for x in ("scores", "ended", "groups")})
    with pytest.raises(UserError, match="C8 --keep"):               # before days of training
        command.main(["--train", "C8"])
    command.main(["--train", "C8", "--keep"])
    assert "Judged from these trainings" in capsys.readouterr().out
    forget()
    assert np.array_equal(plan.scores("C8")["scores"], scores["scores"])
    plan.file_of("C8").unlink()
    forget()
    with pytest.raises(UserError, match="C8 has no scores yet: .* --train C8 --keep"):
        command.main(["C8"])


def test_kept_scores_are_replaced_by_a_later_version_and_for_the_same_questions(own_plan,
                                                                                monkeypatch):
    """A figure that is typed on a page says of its scores no more than the version; and questions
    are not sealed after their scores. Both are refused before anything is trained."""
    monkeypatch.setattr(train, "train", None)
    monkeypatch.setattr(command, "__version__", str(plan.scores("C8")["version"]))
    with pytest.raises(UserError, match="C8.npz.xz was kept by this version, .* raise nanouft"):
        command.main(["--train", "C8", "--keep"])
    own_plan("as good, score in rules_new", "better, score in rules_new")
    monkeypatch.setattr(command, "__version__", "99.0.0")
    for refused in (lambda: command.main(["--train", "C8", "--keep"]),
                    lambda: plan.keep("C8", {}, "99.0.0")):
        with pytest.raises(UserError, match="its questions .* in a plan with seeds of its own"):
            refused()
    own_plan("seeds = 800 to 804", "seeds = 900 to 904")
    plan.check_free("C8", "99.0.0")


# ---- recovery (R12) ------------------------------------------------------------------------------
def test_who_goes_on_with_the_rest_of_the_right_answer_has_recovered(monkeypatch):
    """After a later word in the place of the first; of all nine tasks, and nobody else has."""
    rows = world.rows("val", "prompts", 90, 3)
    right = [world.right_answer(row.prompt[0].text).split() for row in rows]
    begun: list[list[str]] = []

    def said(answers: list[str], ended: bool = True) -> float:
        def generate(model, prompts, **how):
            begun[:] = [NANO.decode(prompt).split() for prompt in prompts]
            return [Answer(NANO.encode(f" {text}"), ended) for text in answers]
        monkeypatch.setattr(recovery, "generate", generate)
        return recovery.recovers(None, NANO, rows, 44).mean()
    rest = [" ".join(words[1:]) for words in right]
    assert said(rest) == 1
    for asked, row, words in zip(begun, rows, right):
        *prompt, forced = asked
        assert prompt == NANO.decode(NANO.prompt_ids(row.prompt)).split()
        assert forced != words[0] and forced in [word.rstrip(".") for word in words[1:]]
        assert len(words) == 2 or forced not in words[:2]
    assert said(rest, ended=False) == 0
    for others in ([" ".join(words) for words in right],            # the missed word after all
                   [" ".join(words[2:]) for words in right], [f"{text} pig" for text in rest]):
        assert said(others) == 0


def test_recovery_is_asked_of_all_tasks_but_the_one_with_many_right_answers():
    run = plan.read("R12")
    assert plan.parse_question(run, "better, recovers: lam 1")[2:] == (
        "recovers", (tuple(task for task in plan.FAMILIES if task != "list"),))
    with pytest.raises(UserError, match="unknown task 'list'"):
        plan.parse_question(run, "better, recovers in list: lam 1")


def test_the_control_reads_another_word_of_the_answer_where_the_guess_is_wrong(monkeypatch):
    """And else what is there; a step in parts reads the same; without a share of it, it is IFT."""
    model, _ = start_model("base")
    rows, _ = encode(demo_rows(world.rows("train", "demos", 24, 0)), NANO, 115)
    batch = collate(rows, range(24), NANO.pad)
    control, read = another_mistake.AnotherMistake(lam=1.0, gamma=0.0), []
    embed = model.forward
    monkeypatch.setattr(model, "forward", lambda *ids, **how: (
        read.extend(ids if how["want"] == "embeds" else ()) or embed(*ids, **how)))

    def logp(objective, *parts) -> torch.Tensor:
        for part in parts:
            objective.forward(model, part)
        return torch.cat([s.logp[s.mask > 0].detach() for s in (x.seqs["answer"] for x in parts)])
    whole = logp(control, batch)
    s, (inputs, now) = batch.seqs["answer"], read
    wrong = own_guess(inputs, s.mask, embed(inputs).argmax(-1)) != inputs
    wrong[:, 1:] &= s.mask[:, 1:] > 0                               # no loss follows <|end|>
    assert 0.1 < wrong.sum() / s.mask.sum() < 0.9
    assert torch.equal((now != inputs) & (s.mask > 0), wrong)
    for i, row in enumerate(rows):
        words = {*NANO.encode(f" {row.row.answer[0].text}")}
        assert {*now[i][wrong[i]].tolist()} <= words
    same(logp(control, *replace(batch, accumulate=3).micro_batches()), whole, 1e-5)
    same(logp(replace(control, lam=0.0), batch), logp(IFT(lam=0.0), batch), 0)
    i, j = wrong.nonzero()[0].tolist()
    words = {*NANO.encode(f" {rows[i].row.answer[0].text}")}
    drawn = {int(another_mistake.other_words(s, torch.full(inputs.shape, u))[i, j])
             for u in (k / 100 for k in range(100))}
    assert drawn == words - {int(inputs[i, j])}                     # each of them


# ---- its trainings -------------------------------------------------------------------------------
def test_what_another_plan_left_is_not_taken_for_this_ones(own_plan):
    """Whatever it reads in its turn, and whatever is asked: it is in the names of folder or scores.
    What the same plan left is there."""
    own_plan("SFT = --objective sft --rows 1020 --batch-size 32 --lr 2.5e-4 --epochs 3",
             "SFT = --objective sft --rows 8 --steps 1\nbase =")
    own_plan("DFT = --objective dft --rows 1020 --batch-size 32 --lr 2.5e-4 --epochs 3",
             "DFT = --objective sft --data {right}/demos.jsonl --steps 1")
    own_plan("[trainings]", "[made]\nright = keep --rows 8 --passed\n\n[trainings]")

    def scored() -> list[Path]:
        return [train.job_of(plan.read("C8"), x, 0, 800).scored for x in ("SFT", "base", "DFT")]
    kept = scored()
    for old, new, changed in (
            ("sft --rows 8 --steps 1", "sft --rows 8 --steps 2", 1),
            ("keep --rows 8", "keep --rows 9", 1),                      # DFT reads what is kept
            ("prompts = 4", "prompts = 5", 3), ("prompts = 4", "prompts = 4\nitems = 3", 3),
            ("prompts = 4", "prompts = 4\nlongest = 20", 3),
            ("rules rules_new unknown", "rules_new rules unknown", 3)):
        own_plan(old, new)
        assert sum(x != y for x, y in zip(scored(), kept)) == changed, new
        own_plan(new, old)
    assert scored() == kept


def test_a_cell_trained_again_has_the_kept_scores(tmp_path, monkeypatch):
    """The cheapest one, SFT on 30 rows: all 900 scores. --train compares any other."""
    monkeypatch.setattr(train, "OUT", tmp_path)
    run = plan.read("C6")
    job = train.job_of(run, "start", 0, 300)
    runs.do(job, time.time())
    assert runs.is_done(job)
    assert not runs.is_done(train.job_of(replace(run, run=run.run | {"split": "val"}), "start", 0,
                                         300))
    assert np.array_equal(train.kept_as(run, runs.values(job), "scores"),
                          plan.scores("C6")["scores"][0, 0, 0])
    assert np.array_equal(train.groups_of(plan.read("C17")), plan.scores("C17")["groups"])


OWN = """[run]
asks = Does one more step help?
models = base
seeds = 0 to 1
prompts = 4
tasks = list
items = 10

[trainings]
one = --objective sft --rows 8 --steps 1
two = --objective mine.py --rows 8 --steps 2
after = --objective dpo --rows 8 --steps 1 <- one

[questions]
better: two - one = Two steps are better than one
"""


def test_a_plan_of_ones_own_is_trained_kept_beside_it_and_judged(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text("from nanouft.objectives.sft import SFT\n\n\nclass Mine(SFT):\n"
                               "    pass\n")
    Path("plans").mkdir()
    Path("plans/my.ini").write_text(OWN)
    forget()
    with pytest.raises(UserError, match="plans/my.ini has no scores yet: .*--train plans/my.ini"):
        command.main(["plans/my.ini"])
    command.main(["--train", "plans/my.ini", "--keep", "--workers", "2"])
    assert "plans/my.ini: 6 scored, 0 were there" in capsys.readouterr().out
    command.main(["--train", "plans/my.ini", "--keep"])
    assert "plans/my.ini: 0 scored, 6 were there" in capsys.readouterr().out
    assert all(Path(x.split()[-1]).is_dir() for x in train.commands("plans/my.ini", 0))
    assert {x.name for x in Path("plans").iterdir()} == {"my.ini", "my.npz.xz"}
    command.main(["plans/my.ini"])
    line, = judge.lines("plans/my.ini")
    assert line.figures in capsys.readouterr().out
    assert plan.scores("plans/my.ini")["scores"].shape == (3, 1, 2, 1, 10)
    for old, new, told in (("seeds = 0 to 1", "seeds = two", "seeds are such as"),
                           ("prompts = 4\n", "", "has no prompts"),
                           ("better: two", "better: three", "unknown training 'three'")):
        Path("plans/my.ini").write_text(OWN.replace(old, new))
        forget()
        with pytest.raises(UserError, match=f"plans/my.ini: .*{told}"):
            command.main(["plans/my.ini"])
    forget()


@pytest.mark.parametrize("condition", ["FEW", "WRONG"])
def test_all_trainings_of_a_condition_read_the_same_demonstrations_and_questions(condition):
    """In C17, with one seed: those of GRPO ask what those of CHORD ask, SFT imitates the same."""
    asked, shown = {}, {}
    for name in plan.read("C17").trainings:
        if name.startswith(condition) and "passed" not in name:
            flags, _ = plan.read("C17").flags(name, 0)
            objective, cfg, _ = read_flags([*flags.split(), "--seed", "5"])
            rows = objective.choose(load_rows(cfg, objective).train)
            shown[name] = frozenset((row.prompt, row.answer) for row in rows
                                    if {"demo", "answer"} & {*row.roles})
            asked[name] = frozenset(row.prompt for row in rows if "prompt" in row.roles)
    assert len({*shown.values()}) == 1 and len(shown) > 10
    assert len({x for name, x in asked.items() if "SFT" not in name}) == 1


def test_a_balanced_file_has_as_many_answers_below_half_a_score_as_others():
    rows = [{"response": str(i), "score": score} for i, score in enumerate([0, 1, 0.2, 0.1, 0.5])]
    found = harvest.balance(rows, seed=3)
    assert [row["score"] >= 0.5 for row in found].count(True) == 2 and len(found) == 4
    assert found == [row for row in rows if row in found] == harvest.balance(rows, seed=3)
    assert harvest.balance(rows[:1], seed=3) == []


def test_an_answer_that_does_not_stop_is_never_chosen_or_demonstrated():
    answers = [harvest.Sample(str(score), score, stops=score < 1, usable=True)
               for score in (1.0, 0.5, 0.0)]
    found = harvest.files_of(answers, None)
    assert [x["chosen"] for x in found["pairs"]] == ["0.5"] and found["demos"] == [
        {"response": "0.5"}]
    assert [x["label"] for x in found["labels"]] == [False, True, False]
    found = harvest.files_of(answers, 0.5)                  # at least this score
    assert found["demos"] == [{"response": "0.5"}]
    assert [harvest.partly_right(Row(task=task), some) for task, some in (
        ("sum", answers), ("sum", answers[1:]), ("sum", answers[2:]), ("fact", answers))] == [
        False, True, False, True]


def test_each_chunk_of_a_harvest_draws_numbers_of_its_own(monkeypatch):
    seeds, rows = [], world.rows("train", "demos", 5, 0)
    monkeypatch.setattr(harvest, "answer_rows", lambda model, tok, asked, seed, **how: (
        seeds.append(seed) or [SimpleNamespace(ids=[], ended=True)] * len(asked)))
    for seed in (0, 1):
        harvest.sample_answers(harvest.HarvestFlags(samples=harvest.TOGETHER // 2, seed=seed), rows)
    assert len({*seeds}) == len(seeds) == 6


def test_rows_that_are_kept_stay_in_their_order():
    rows = world.rows("train", "demos", 12, 0, noise=0.4)
    kept = keep.likeliest(rows, "base", 0.55)
    assert len(kept) == 7 and kept == [row for row in rows if row in kept]
    clean = world.rows("train", "demos", 12, 0)
    assert keep.right_demos(rows) == [row for row in rows if row in clean]


def test_a_harvest_without_a_prompt_that_fits_is_empty(tmp_path, monkeypatch):
    def nothing_right(cfg, rows):
        trained = world.rows("train", "demos", 1, 0, skills=("reverse",))
        assert not {row.prompt for row in rows} & {row.prompt for row in trained}
        return {0: [harvest.Sample("", 0.0, stops=False, usable=True)]}
    monkeypatch.setattr(harvest, "sample_answers", nothing_right)
    asked = f"--prompts 1 --skills reverse --partly --out {tmp_path}/out"
    assert harvest.main(asked.split()) == 0
    assert (tmp_path / "out" / "balanced.jsonl").read_text() == ""


# ---- the pages -----------------------------------------------------------------------------------
def test_what_the_command_writes_stands_on_the_pages():
    """Every field is filled, every run is told on a page, and no interval is typed by hand."""
    written, front = pages.pages(), pages.front()
    for file, text in written.items():
        assert file.read_text(encoding="utf-8") == text, file.name
    assert between("results").search(pages.README.read_text(encoding="utf-8"))[0] == front
    assert not re.findall(r"\{[^}\"]*\}", " ".join([*written.values(), front]))
    told = set(re.findall(r"\b[CR]\d+\w?\b", " ".join(written.values())))
    assert told >= set(judge.RUNS) - {"R1s"}          # R1s asks the rows of R1 how many stop
    for text in pages.TEXTS.glob("*.md"):
        assert not re.search(r"\d ± \d", text.read_text(encoding="utf-8")), text.name


@pytest.mark.parametrize("key, filled", [
    ("C1 better: released - SFT", [True, True, False]),
    ("R12 better: lam 1 - lam 0", [True, True, False]),
    ("R1 better: released - SFT", [False, False, True])])
def test_a_figure_stands_in_the_column_of_its_model(key, filled):
    """N1, N2, SmolLM2: R12 asks our own models, unlike all other runs of an R."""
    assert [cell != "–" for cell in pages.form("", "cells", "", key).split(" | ")[:3]] == filled


@pytest.mark.parametrize("mark, told", [
    ("{C99 3.0.0: 12}", "unknown run 'C99'"),
    ("{C13 C20 2.9.0: 12 of 12}", "the scores of C13 are those of 3.0.0"),
    ("{C7 3.0.0: 4}", "the scores of C7 are those of 1.1.0"),
    ("{pair& C1 better: released - SFT & R1 better: released - SFT}", "different models"),
    ("{par C1 better: released - SFT}", "no form reads it: {par C1"),
    ("{C13 3.0.0 29}", "no form reads it: {C13"), ("{c13 3.0.0: 30}", "no form reads it: {c13"),
    ("{pair C1 better", "no form reads it: {pair C1 better")])
def test_a_mark_that_is_wrong_is_refused(mark, told):
    """A typed figure is of scores that are kept, and is printed alone; data are no mark."""
    with pytest.raises(UserError, match=told):
        pages.fill(f"By {mark} points.")
    assert pages.fill('{C13 3.0.0: 12 of 12} and {C5 1.1.0: 87} {"prompt": "..."}') == (
        '12 of 12 and 87 {"prompt": "..."}')


def test_a_page_that_lost_its_marks_is_not_said_to_be_written():
    assert write_between("<!-- a -->\nold<!-- end of a -->", "a", "new\n") == \
        "<!-- a -->\nnew\n<!-- end of a -->"
    with pytest.raises(UserError, match="<!-- b -->"):
        write_between("<!-- a -->\nold<!-- end of a -->", "b", "new\n")


def test_a_picture_of_scores_compares_rows_of_one_run():
    """Scores of two runs cannot be compared; a row of another run says so in its name."""
    for rows in (pictures.POFT, pictures.UNA):
        runs = {name: {key.split()[0] for key in keys} for name, (_, *keys) in rows.items()}
        ours = next(iter(runs.values()))
        for name, of_row in runs.items():
            assert of_row <= ours or all(run in name for run in of_row), name


def test_a_sentence_of_a_paper_is_asked_by_questions_that_exist():
    """By name and version of the paper, and each question is of a claim about that paper."""
    found = pages.all_lines()
    for sentence in plan.PAPERS:
        assert re.fullmatch(r"\d{4}\.\d{5}v\d", sentence.version) and sentence.doubt
        for key in sentence.asked + sentence.also:
            assert found[key].claim in plan.RUNS_OF[sentence.paper], key
            assert found[key].whose == ("the paper's" if key in sentence.asked else "ours")
    assert sorted(sum(plan.RUNS_OF.values(), [])) == sorted(judge.RUNS)


def test_the_words_of_a_frozen_line_are_its_numbers():
    """And its verdict is that of all models."""
    for line in [*judge.lines("C5"), *judge.frozen("lake", "C5"), *judge.lines("C7")]:
        for found in line.findings:
            assert judge.points(found.mean, found.half) in line.figures
        if line.findings:
            assert {found.verdict for found in line.findings} == {line.verdict} or \
                line.verdict == "undecided"


# ---- the command ---------------------------------------------------------------------------------
def test_the_command_begins_with_the_answer_of_each_page_and_the_runs_to_ask_for(capsys):
    command.main([])
    lines = capsys.readouterr().out.splitlines()
    plain = " ".join(" ".join(lines).split())
    assert max(map(len, lines)) <= 80
    for file, text in pages.pages().items():
        answer, runs = pages.found()[file.stem]
        assert text.split("\n\n")[1].startswith(f"**{answer}**"), file.name
        assert answer.replace("\u00a0", " ") in plain and {*runs} <= {*judge.RUNS}


def test_the_command_prints_every_verdict(capsys):
    command.main(["all"])
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 100
    plain = " ".join(out.split())
    for line in sum(map(judge.lines, judge.RUNS), []):
        told = f"{line.question} ({line.whose}) {line.verdict} {line.figures} "
        assert " ".join(told.split()) in plain


@pytest.mark.parametrize("name, flags", [
    ("C2", "--objective sft --lr 6.3e-5 --batch-size 8"), ("C3", "--lr 1e-5 --beta 1"),
    ("C13", "--objective sft --lr 3e-4"), ("C17", "--steps 50 <- FEW SFT 10"),
    ("R12", "another_mistake.py --lam 1 --gamma 0")])
def test_a_run_is_printed_with_the_flags_that_it_had_and_without_marks(name, flags, capsys):
    command.main([name])
    out = capsys.readouterr().out
    assert flags in out and not re.search(r"{(wide|broad|pair|size)", out)


@pytest.mark.parametrize("program, words, told", [
    (command, "C99", "unknown run 'C99'"), (command, "--train", "need a run with a plan"),
    (command, "--train C5", "version 1.1.0"),
    (command, "--train C4 --workers 0", "--workers 0: must be at least 1"),
    (command, "--train C4 --seeds 1 --keep", "--keep needs all seeds"),
    (command, "--train C4 --seeds -1", "--seeds -1: must be at least 0"),
    (harvest, "--skills rules_new", "--skills: no task left: rules_new exists in val and test"),
    (keep, "--skills cooking --aligned folder",
     "--skills: unknown task 'cooking'; known are A, B, all, rules"),
    (keep, "--share 60 --aligned folder", "--share 60.0: must be above 0 and at most 1")])
def test_a_mistake_is_one_line_before_a_model_is_opened(program, words, told, tmp_path,
                                                        monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(program, "start_model", None, raising=False)
    with pytest.raises(UserError, match=re.escape(told)):
        program.main(words.split())
