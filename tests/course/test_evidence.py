"""lessons/evidence: an interval is right, a verdict is that of kept scores and of the plan that was
made for them, and docs/results says what the command prints."""
import json
import math
import re
import shutil
import time
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
    plan,
    recovery,
    train,
)
from lessons.evidence.page_marks import between
from lessons.evidence.plan import SKILLS, UNIT
from nanouft import world
from nanouft.compare import runs, stats
from nanouft.compare.judge import largest, mean_without, rests_on_largest
from nanouft.data.batches import collate, encode
from nanouft.data.selection import demo_rows
from nanouft.generate import Answer
from nanouft.models.folders import start_model
from nanouft.objectives.ift import IFT, own_guess
from nanouft.plumbing.errors import UserError
from nanouft.run.config import read_flags
from nanouft.run.load import load_rows


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
    assert [judge.moments(x)[0] for x in (whole, *asked)] == pytest.approx([*by_hand.values()])
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
    assert stats.verdict(mean, half, test) == verdict


def test_holm_stops_at_the_first_doubt():
    """With 4 degrees of freedom one look needs 2.78 standard errors, two looks need 3.50."""
    clear, fair, weak = ((errors * 0.01, 0.0001, 4.0, "better") for errors in (9, 3.3, 3))
    for asked, verdicts in (([clear, fair], ["holds", "holds"]),
                            ([weak, clear, fair], ["undecided", "holds", "undecided"])):
        assert [said for _, said in stats.decide(asked)] == verdicts


def test_a_page_lists_its_verdicts_that_hang_on_one_seed():
    for file in {*pages.TEXTS.glob("*.md")} - {pages.TEXTS / "README.md"}:      # it names the pages
        text = file.read_text(encoding="utf-8")
        assert bool(pages.fragile(text)) == ("{fragile}" in text), file.name


def made_of(**effects: float) -> judge.Difference:
    """Five seeds and 100 prompts of each family, with these differences."""
    rng = np.random.default_rng(1)
    gaps = {name: effect + rng.normal(0, 0.2, (5, 100)) for name, effect in effects.items()}
    return judge.Difference(gaps, dict.fromkeys(gaps, np.arange(100)), (tuple(gaps),), "better")


def test_a_planted_family_is_found_and_no_other():
    alone = made_of(a=0.0, b=0.3, c=0.0, d=0.0)
    below = alone._replace(gaps={name: -gap for name, gap in alone.gaps.items()})
    margin = alone._replace(test="not inferior")        # half of a mean says nothing of a margin
    for asked, verdict, rests in (
            (alone, "holds", True), (below, "does not hold", True), (alone, "undecided", False),
            (margin, "holds", False), (made_of(a=0.1, b=0.3, c=0.2, d=0.2), "holds", False),
            (made_of(a=0.0, b=0.018, c=0.0, d=0.008), "holds", False),  # one of four, by chance
            (made_of(a=0.1, b=0.1, c=0.1, d=0.1), "holds", False)):
        assert rests_on_largest(asked, verdict) == rests
    assert largest(alone) == largest(below) == "b" and abs(mean_without(alone, "b")) < 0.02


# ---- the plan ------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", plan.NAMES)
def test_what_a_plan_makes(name):
    """Kept scores are of this plan, and have its size. Each command makes a folder of its own,
    after what it reads; else one model would be read as another. No training has the name of
    something that is made; else it would be that, and never be trained."""
    run = plan.read(name)
    assert plan.scores(name)["scores"].shape == (
        len(run.trainings), len(run.models), len(run.seeds()), len(run.tasks),
        train.asked_of(run).items)
    assert not {*run.made} & {*run.trainings}
    made: dict = {}
    for (training, *_), job in train.jobs_of(run, 0).items():
        for x in runs.with_needs(job):
            assert not x.config or made.setdefault(x.folder, x.config) == x.config
            needed = {word.removesuffix(".jsonl").rpartition("/")[0] if word.endswith(".jsonl")
                      else word for word in x.config if word.startswith(str(train.OUT))}
            assert needed == {str(y.folder) for y in x.needs if x.config}
        assert "--" not in run.trainings[training] or job.program == "nanouft.train:main"
    typed = train.commands(name, 0)
    assert len({*typed}) == len(typed) == len(made)


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
    ("as good, score in rules_new", "as good, skills in rules", "unknown mean"),
    ("as good, score in rules_new", "as good, score in lst", "unknown task 'lst'"),
    ("as good, score in rules_new", "as god, score in rules_new", "unknown test 'as god'"),
    ("as good, score in rules_new", "as good, recovers", "unknown mean of a question 'recovers'"),
    ("prompts = 4", "prompts = 4\nalso = recover", "unknown measure 'recover'"),
    ("DFT - SFT = DFT learns rules", "DFT - SFFT = DFT learns rules", "unknown training 'SFFT'"),
    ("[edges]", "[edge]", "unknown section 'edge'"),
    ("[edges]", "[edges]\nSFFT = lowest", "unknown training in .edges. 'SFFT'"),
    ("prompts = 4", "prompts = 4\nitms = 5", "unknown setting 'itms'"),
    ("seeds = 800 to 804", "seeds = two", "seeds are such as"),
    ("prompts = 4\n", "", "has no prompts")])
def test_a_plan_that_changed_after_its_scores_or_is_mistyped_is_not_judged(old, new, told,
                                                                           own_plan):
    own_plan(old, new)
    with pytest.raises(UserError, match=f"questions/C8.ini: .*{told}"):
        judge.judged("C8")


def test_scores_are_kept_by_a_later_version_for_the_questions_that_they_were_made_for(
        own_plan, monkeypatch, capsys):
    """Words may be mended. A figure that is typed on a page says of its scores no more than the
    version, and questions are not sealed after their scores. All is refused before days of training
    begin, and what changed in these days before it is kept."""
    def refused(told: str, words: str = "--train C8 --keep") -> None:
        with pytest.raises(UserError, match=told):
            command.main(words.split())
    own_plan("Does DFT learn", "Is it so that DFT learns")
    scores = plan.scores("C8")
    monkeypatch.setattr(train, "train", None)
    monkeypatch.setattr(command, "__version__", str(scores["version"]))
    refused("C8.npz.xz was kept by this version, .* raise nanouft")
    monkeypatch.setattr(command, "__version__", "99.0.0")
    own_plan("as good, score in rules_new", "better, score in rules_new")
    refused("its questions .* in a plan with seeds of its own")
    with pytest.raises(UserError, match="its questions"):
        plan.keep("C8", {}, "99.0.0")
    own_plan("seeds = 800 to 804", "seeds = 900 to 904")
    refused("C8 --keep", "--train C8")
    monkeypatch.setattr(train, "train", lambda *_: {x: scores[x]
                                                    for x in ("scores", "ended", "groups")})
    command.main(["--train", "C8", "--keep"])
    assert "Judged from these trainings" in capsys.readouterr().out
    forget()
    assert np.array_equal(plan.scores("C8")["scores"], scores["scores"])
    plan.file_of("C8").unlink()
    forget()
    refused("C8 has no scores yet: .* --train C8 --keep", "C8")


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
        monkeypatch.setattr(recovery, "generate", lambda model, prompts, **how: begun.extend(
            prompts) or [Answer(NANO.encode(f" {' '.join(x)}"), ended) for x in answers])
        assert recovery.recovers(None, NANO, rows, 44).mean() == share
    for asked, row, words in zip(begun, rows, right):
        *prompt, forced = NANO.decode(asked).split()
        assert prompt == NANO.decode(NANO.prompt_ids(row.prompt)).split()
        assert forced != words[0] and forced in [word.rstrip(".") for word in words[1:]]
        assert len(words) == 2 or forced not in words[:2]


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
def test_a_cell_trained_again_has_the_kept_scores(tmp_path, monkeypatch):
    """The cheapest one, SFT on 30 rows: all 900 scores. --train compares any other."""
    monkeypatch.setattr(train, "OUT", tmp_path)
    run = plan.read("C6")
    job = train.job_of(run, "start", 0, 300)
    for part in runs.parts_of(job):
        runs.do(part, time.time())
    assert np.array_equal(train.kept_as(run, runs.values(job), "scores"),
                          plan.scores("C6")["scores"][0, 0, 0])
    assert np.array_equal(train.groups_of(plan.read("C17")), plan.scores("C17")["groups"])


OWN = """[run]
asks = Does one more step help?
models = base
seeds = 0 to 1
prompts = 4
tasks = list sum
items = 10

[made]
right = keep --rows 8 --passed

[trainings]
base =
one = --objective sft --rows 8 --steps 1
two = --objective mine.py --rows 8 --steps 2
after = --objective dpo --rows 8 --steps 1 <- one
kept = --objective sft --data {right}/demos.jsonl --steps 1

[questions]
better: two - one = Two steps are better than one
"""


def test_a_plan_of_ones_own_is_trained_kept_beside_it_and_judged(tmp_path, monkeypatch, capsys):
    """And what it left is not taken for the runs of another plan, whatever that reads or asks."""
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text("from nanouft.objectives.sft import SFT\n\n\nclass Mine(SFT):\n"
                               "    pass\n")
    Path("plans").mkdir()
    name = "plans/my.ini"
    Path(name).write_text(OWN)
    forget()
    with pytest.raises(UserError, match=f"{name} has no scores yet: .*--train {name}"):
        command.main([name])
    command.main(["--train", name, "--keep", "--workers", "2"])
    assert f"{name}: 9 scored, 0 were there" in capsys.readouterr().out
    command.main(["--train", name, "--keep"])
    assert f"{name}: 0 scored, 9 were there" in capsys.readouterr().out
    assert all(Path(x.split()[-1]).is_dir() for x in train.commands(name, 0))
    assert {x.name for x in Path("plans").iterdir()} == {"my.ini", "my.npz.xz"}
    command.main([name])
    line, = judge.lines(name)
    assert line.figures in capsys.readouterr().out
    assert plan.scores(name)["scores"].shape == (5, 1, 2, 2, 10)
    for old, new, anew in (
            ("sft --rows 8 --steps 1", "sft --rows 8 --steps 2", 4),    # and what starts from it
            ("keep --rows 8", "keep --rows 9", 2),                      # and what reads it
            ("prompts = 4", "prompts = 5", 10), ("items = 10", "items = 9", 10),
            ("prompts = 4", "prompts = 4\nlongest = 20", 10), ("list sum", "sum list", 10),
            ("prompts = 4", "prompts = 4\nsplit = val", 10)):
        Path(name).write_text(OWN.replace(old, new))
        forget()
        every = train.jobs_of(plan.read(name), 0).values()
        assert sum(not runs.is_done(job) for job in every) == anew, new
    forget()


def test_all_trainings_of_a_condition_read_the_same_demonstrations_and_questions():
    """Of FEW in C17: those of GRPO ask what those of CHORD ask, SFT imitates the same."""
    asked, shown, run = {}, {}, plan.read("C17")
    for name in run.trainings:
        if name.startswith("FEW") and "passed" not in name:
            cfg = read_flags([*run.flags(name, 0)[0].split(), "--seed", "5"])
            objective = cfg.objective()
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


@pytest.mark.parametrize("words, scores, better", [
    ("sum", (1.0, 0.5, 0.0), ["0.5"]), ("sum --good 0.5", (1.0, 0.5, 0.0), ["0.5"]),
    ("sum --partly", (1.0, 0.5, 0.0), []), ("sum --partly", (0.5, 0.0), ["0.5"]),
    ("sum --partly", (0.0,), []), ("fact --partly", (1.0, 0.5, 0.0), ["0.5"])])
def test_an_answer_that_does_not_stop_is_never_chosen_or_demonstrated(words, scores, better,
                                                                      tmp_path, monkeypatch):
    """And no question is one that is trained on. A file without rows is empty."""
    def answers(cfg, rows):
        trained = world.rows("train", "demos", 1, 0, skills=words.split()[:1])
        assert not {row.prompt for row in rows} & {row.prompt for row in trained}
        return {0: [harvest.Sample(str(x), x, stops=x < 1, usable=True) for x in scores]}
    monkeypatch.setattr(harvest, "sample_answers", answers)
    assert harvest.main(f"--prompts 1 --out {tmp_path}/out --skills {words}".split()) == 0
    found = {file.stem: [json.loads(line) for line in file.read_text().splitlines()]
             for file in (tmp_path / "out").iterdir()}
    assert [x["chosen"] for x in found.get("pairs", [])] == better
    assert [x["response"] for x in found.get("demos", [])] == better
    assert [x["response"] for x in found.get("labels", []) if x["label"]] == better
    assert len(found["balanced"]) == 2 * len(better)


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
        answer, runs = pages.found()[file.stem]
        assert text.split("\n\n")[1].startswith(f"**{answer}**"), file.name
        assert " ".join(answer.split()) in out and {*runs} <= {*judge.RUNS}
    out = printed("all")
    for line in sum(map(judge.lines, judge.RUNS), []):
        told = f"{line.question} ({line.whose}) {line.verdict} {line.figures} "
        assert " ".join(told.split()) in out
    for name in judge.RUNS:
        out = printed(name)
        assert not re.search(r"{(wide|broad|pair|size)", out)
        for flags in plan.read(name).trainings.values():
            assert " ".join(flags.split()) in out


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
