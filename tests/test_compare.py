"""nanouft.compare: equal arms are not decided, planted leads are; nothing stale is judged; a
comparison that was stopped, killed or run twice has the figures of one that was not."""
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from made import write_jsonl
from safetensors.torch import load_file

from nanouft import train
from nanouft.compare import __main__ as compare
from nanouft.compare import arms, code, comparison, parts, processes, runs, stats, verdicts
from nanouft.compare.looks import looks
from nanouft.compare.processes import missing
from nanouft.data.rows import read
from nanouft.gpt import BASE
from nanouft.plumbing.errors import UserError

ROOT = Path(__file__).parents[1]
MINE = """import torch.nn.functional as F
from nanouft.objectives.dpo import Pairs
from helper import SCALE

class Mine(Pairs):
    lr = 3e-5
    gamma: float = 1.0

    def each(self, i_w, i_l, batch):
        return -F.logsigmoid(SCALE * (i_w - self.gamma * i_l))
"""
SLOW = """
import os, time
from pathlib import Path
from types import ModuleType
from nanouft.objectives.sft import SFT

class Slow(SFT):
    def loss(self, batch):
        Path(os.environ.get("PIDS", "."), str(os.getpid())).touch()
        time.sleep(float(os.environ.get("SECONDS", 0)))
        return super().loss(batch)
"""
PAIRS = [{"prompt": f"Say {x} {y}.", "chosen": f"{x} {y}", "rejected": f"{y}"}
         for x in "fig pig bee oak nut elm".split() for y in "ant owl fox hen cat dog".split()]
SMALL = ("--skills list --rows 32 --steps 2 --batch-size 8 --items 10 --tries 1 --seeds 2 "
         "--workers 2 --device cpu")
RUNS = Path("out/compare/runs")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    Path("mine.py").write_text(MINE)
    Path("helper.py").write_text("SCALE = 1\n")
    Path("slow.py").write_text(SLOW)
    write_jsonl(Path("pairs.jsonl"), PAIRS)
    yield
    sys.modules.pop("helper", None)


def call(line: str) -> int:
    return compare.main(shlex.split(line))


def trained() -> dict[str, int]:
    return {x.name: (x / runs.MADE).stat().st_mtime_ns for x in RUNS.iterdir()
            if (x / runs.MADE).exists()}


def planned(line: str) -> comparison.Comparison:
    return comparison.plan(comparison.read_words(shlex.split(line)))


def make_here(jobs, workers, bar, drop=False) -> None:
    """carry_out for tests that are not about processes: several times cheaper."""
    for job in missing(jobs):
        runs.do(job, time.time())


@pytest.fixture
def in_process(monkeypatch):
    monkeypatch.setattr(compare, "carry_out", make_here)


# ---- nothing stale -------------------------------------------------------------------------------
def test_what_is_there_is_not_trained_again_and_what_has_changed_is(capsys):
    """A copy of DPO makes DPO's weights. A changed file makes its own runs anew, a helper that it
    imports too, and no other."""
    assert call(f"dpo mine.py {SMALL}") == 0
    assert "mine.py - dpo" in capsys.readouterr().out
    dpo, mine = (next(RUNS.glob(f"{x}*seed_1-*/model.safetensors")) for x in ("dpo", "mine"))
    assert dpo.read_bytes() == mine.read_bytes()
    before = trained()
    folder = planned(f"dpo mine.py {SMALL}").place
    plan = str(folder / "plan.ini")
    assert call(plan) == 0 and trained() == before
    for file, text in (("helper.py", "SCALE = -1\n"), ("mine.py", f"{MINE}# more")):
        sys.modules.pop("helper", None)
        Path(file).write_text(text)
        assert call(plan) == 0
        changed = {name for name, when in trained().items() if before.get(name) != when}
        assert len(changed) == 2 and all(x.startswith("mine.py") for x in changed)
        before = trained()
    assert "prefers-color-scheme" in (folder / "picture.svg").read_text()
    assert dpo.read_bytes() != next(
        x for x in RUNS.glob("mine*seed_1-*/model.safetensors")).read_bytes()


def test_a_helper_has_the_name_by_which_it_was_imported(monkeypatch):
    """A link that leads elsewhere is another helper, and a folder may be called as one likes."""
    place = Path("my-packages")
    place.mkdir()
    shutil.move("helper.py", place / "real.py")
    (place / "helper.py").symlink_to("real.py")
    monkeypatch.setitem(sys.modules, "helper", ModuleType("helper"))
    sys.modules["helper"].__file__ = str(place / "helper.py")
    assert "my-packages/helper.py" in code.own_code()


def test_tries_of_older_code_choose_no_rate(in_process, monkeypatch):
    def edit_before_the_seeds(jobs, workers, bar, drop=False):
        if drop:
            Path("helper.py").write_text("SCALE = 2\n")
            sys.modules.pop("helper", None)
        make_here(jobs, workers, bar)
    monkeypatch.setattr(compare, "carry_out", edit_before_the_seeds)
    with pytest.raises(UserError, match="mine.*, seed 100: what it reads has changed"):
        compare.train_all(planned(f"dpo mine.py {SMALL.replace('--tries 1', '--tries 2')}"))


def test_what_training_says_of_a_loss_of_ones_own_is_a_note(in_process, capsys):
    Path("mean.py").write_text("""from nanouft.objectives.sft import SFT

class Mean(SFT):
    lr = 1e-4

    def loss(self, batch):
        return super().loss(batch)[0] * batch.n / len(batch.seqs["answer"].inputs), {}
""")
    call(f"sft mean.py {SMALL}")
    assert capsys.readouterr().out.count("two halves") == 1


def test_a_run_knows_nanoufts_own_files_that_it_has_imported():
    c = planned(f"sft dpo {SMALL}")
    compare.train_all(c)
    sft, dpo = (c.job(arm, 0) for arm in c.arms)
    name = "nanouft:objectives/dpo.py"
    record = json.loads((dpo.folder / runs.MADE).read_text())
    assert name in record["files"] and name not in runs.made(sft.folder)["files"]
    assert {"nanouft:loop.py", "nanouft:gpt.py"} <= {*record["files"]}
    assert runs.is_done(dpo)
    record["files"][name] = "another"           # as if the file were another now
    (dpo.folder / runs.MADE).write_text(json.dumps(record))
    assert not runs.is_done(dpo) and runs.is_done(sft) and missing([sft, dpo]) == [dpo]


def test_code_that_changes_while_it_runs_is_not_believed():
    import helper
    began = time.time()
    assert code.hashes(began, began)[Path(helper.__file__).name]
    time.sleep(0.1)
    Path("helper.py").write_text("SCALE = 2\n")
    with pytest.raises(UserError, match=r"helper\.py: was changed"):
        code.hashes(began, began)


def test_precision_device_start_model_and_rows_are_in_a_runs_name(tmp_path):
    start = tmp_path / "start"
    start.mkdir()
    for file in BASE.iterdir():
        (start / file.name).write_bytes(file.read_bytes())

    def name(more: str) -> str:
        c = planned(f"sft dpo {SMALL} {more}")
        c.rates = dict.fromkeys(c.every, 0.0001)
        assert {(x.device, x.dtype) for x in c.paces.values()} == {
            ("cpu", "bf16" if "bf16" in more else "fp32")}
        return c.job(c.arms[0], 0).folder.name
    names = [name(x) for x in ("", "--dtype fp32", "--dtype bf16", "--rows 33", "--init start")]
    assert names[0] == names[1] and len({*names}) == 4
    file = start / "tokenizer.json"
    file.write_bytes(file.read_bytes() + b" ")
    assert name("--init start") not in names


def test_a_chain_starts_from_the_model_of_its_seed_and_is_stale_with_it(in_process):
    c = planned(f"slow.py slow.py+dpo {SMALL}")
    compare.train_all(c)
    first, chain = c.arms
    assert len(c.every) == 2
    for seed in c.seeds:
        assert c.job(chain, seed).init == str(c.job(first, seed).folder)
    job = c.job(chain, 0)
    file = c.job(first, 0).folder / runs.MADE
    file.write_text(file.read_text().replace('"left": "', '"left": "0'))
    assert not runs.is_done(job) and runs.is_done(c.job(chain, 1))


# ---- stopped, killed, twice ----------------------------------------------------------------------
def start(words: str, seconds: float, pids: Path) -> subprocess.Popen:
    pids.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-m", "nanouft.compare", *shlex.split(words)], stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, start_new_session=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PIDS": str(pids), "SECONDS": str(seconds)})


def wait_for(what, seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until
        time.sleep(0.1)


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.slow
def test_after_any_kill_the_same_command_goes_on_to_the_same_figures(tmp_path, monkeypatch):
    words = f"sft slow.py {SMALL}"
    for number, whom in ((signal.SIGINT, "parent"), (signal.SIGTERM, "parent"),
                         (signal.SIGKILL, "parent"), (signal.SIGKILL, "worker")):
        pids = tmp_path / f"{number}-{whom}"
        process = start(words, 60, pids)
        wait_for(lambda: pids.exists() and any(pids.iterdir()) or process.poll() is not None)
        workers = [int(x.name) for x in pids.iterdir()]
        os.kill(process.pid if whom == "parent" else workers[0], number)
        said, _ = process.communicate(timeout=120)
        assert process.returncode == (-number if (number, whom) == (signal.SIGKILL, "parent")
                                      else 2 if whom == "worker" else 130)
        assert whom == "parent" or "slow.py, rate" in said and "nanouft.train" in said
        assert "resource_tracker" not in said
        wait_for(lambda: not any(map(lives, workers)), 30)
    process = start(words, 0, tmp_path / "last")
    assert process.wait(300) == 0
    assert not [*Path("out").rglob("*.partial")]
    there = tmp_path / "there"
    there.mkdir()
    monkeypatch.chdir(there)
    (there / "slow.py").write_text(SLOW)
    twice = [start(words, 0, tmp_path / "twice") for _ in range(2)]         # at once in one folder
    assert [x.wait(300) for x in twice] == [0, 0]
    for file in ("scores.csv", "picture.svg", "plan.ini"):
        one, other = (x / planned(words).place / file for x in (tmp_path, there))
        assert one.read_text() == other.read_text()
    runs_of = {x.name for x in (there / RUNS).iterdir()}
    assert runs_of == {x.name for x in (tmp_path / RUNS).iterdir()}


def test_a_second_comparison_in_a_folder_waits_for_the_first(capsys):
    entered: list[bool] = []

    def second() -> None:
        with processes.alone_in(Path("x")):
            entered.append(True)
    with processes.alone_in(Path("x")):
        thread = threading.Thread(target=second)
        thread.start()
        wait_for(lambda: "another comparison works there" in capsys.readouterr().out)
        assert not entered
    thread.join(30)
    assert entered


def test_of_runs_that_train_other_models_first_one_goes_at_a_time():
    first, second = (runs.Job(Path(x), alone=True) for x in "ab")
    plain, chain = runs.Job(Path("c")), runs.Job(Path("d"), needs=(first,))
    assert processes.ready([first, second, plain, chain], []) == [first, plain]
    assert processes.ready([second, plain], [first]) == [plain]
    assert processes.ready([second, chain], [plain]) == [second, chain]


@pytest.mark.parametrize("line, told", [
    ("raise ValueError('no')", r"bad\.py.*line 7: ValueError: no"),
    ("import os; os._exit(3)", r"bad\.py.*exit code 3"),
    ("return super().loss(batch)[0] * float('nan'), {}", r"bad\.py.*diverged at each rate")])
def test_an_arm_that_fails_ends_in_one_line_and_what_is_done_is_kept(line, told):
    Path("bad.py").write_text("from nanouft.objectives.sft import SFT\n\n\nclass Bad(SFT):\n"
                              f"    lr = 1e-4\n    def loss(self, batch):\n        {line}\n")
    with pytest.raises(UserError, match=told) as e:
        call(f"sft mine.py bad.py {SMALL.replace('--tries 1', '--tries 2')} --workers 1")
    assert "python -m nanouft.train --objective bad.py" in str(e.value)
    assert "\n" not in str(e.value) and any(x.startswith("mine.py") for x in trained())
    assert not [*Path("out").rglob("*.partial")]


# ---- your rows -----------------------------------------------------------------------------------
def test_own_rows_have_four_parts_and_each_seed_draws_its_training_rows(in_process):
    c = planned("sft dpo --data pairs.jsonl --tries 1 --seeds 2 --steps 1 --workers 1 --device cpu")
    questions = [{r.prompt for r in read([str(c.parts[x])])[0]} for x in parts.DOES]
    assert sum(map(len, questions)) == len(set.union(*questions)) == len(PAIRS)
    assert [*map(len, questions)] == [20, 4, 6, 6]
    compare.train_all(c)
    drawn = [[r.prompt for r in read([str(parts.redrawn(c.parts["train"], seed))])[0]]
             for seed in c.seeds]
    assert drawn[0] != drawn[1] and all(len(x) == 20 and {*x} < questions[0] for x in drawn)
    results, asked = verdicts.verdicts(c)
    assert results[0].measure == "prefers" and [*results[0].others] == ["nll"]
    assert results[1].scores["rows"].shape == (2, 6) and results[1].redrawn
    assert asked[0].interval()[1] > stats.half_width(*verdicts.moments(
        asked[0].asked()._replace(redrawn=False))[1:])


@pytest.mark.parametrize("rows, arms, more, measure", [
    ([{"prompt": x["prompt"], "response": x["chosen"]} for x in PAIRS], "sft dft", "", "nll"),
    ([{"prompt": x["prompt"], "response": x[side], "label": side == "chosen"} for x in PAIRS
      for side in ("chosen", "rejected")], "kto sft", "", "auc"),
    (PAIRS, "sft grpo", "--reward r.py:length --max-new 8", "reward")])
def test_what_judges_rows_of_each_kind(rows, arms, more, measure, in_process):
    write_jsonl(Path("rows.jsonl"), rows)
    Path("r.py").write_text("def length(completions, **more):\n"
                            "    return [len(x) / 10 for x in completions]\n")
    c = planned(f"{arms} --data rows.jsonl --tries 1 --seeds 2 --steps 1 --device cpu {more}")
    compare.train_all(c)
    results, (question,) = verdicts.verdicts(c)
    assert results[0].measure == measure and question.margin > 0
    n = len({r["prompt"] for r in rows})
    assert len({*results[0].groups["rows"]}) == sum(
        1 for _ in read([str(c.parts["test"])])[0]) / (len(rows) / n)


def test_rows_keep_their_part_where_others_come():
    first = parts.cut(["pairs.jsonl"], Path("a"))["test"].read_text().splitlines()
    write_jsonl(Path("more.jsonl"), PAIRS + [{**PAIRS[0], "prompt": "New?"}])
    again = parts.cut(["more.jsonl"], Path("a"))["test"].read_text().splitlines()
    assert len({*first} & {*again}) >= len(first) - 1


# ---- rates ---------------------------------------------------------------------------------------
def test_a_best_rate_at_the_edge_gives_every_arm_one_more_try(monkeypatch):
    c = planned(f"sft dpo {SMALL} --tries 3")
    sft, dpo = c.arms
    scores = {sft: lambda x: -abs(x - 0.9), dpo: lambda x: x}      # of rates 1/3, 1, 3
    c.paces = {stage: pace._replace(rate=1.0) for stage, pace in c.paces.items()}
    tried = []

    def values(job):
        arm = dpo if "dpo" in job.words else sft
        return {"score": {"list": np.array([scores[arm](float(
            job.words[job.words.index("--lr") + 1]))])}}
    monkeypatch.setattr(compare, "carry_out", lambda jobs, *more, **how: tried.append(len(jobs)))
    monkeypatch.setattr(runs, "values", values)
    monkeypatch.setattr(runs, "is_done", lambda job: True)
    compare.train_all(c)
    assert tried == [6, 2, 5]
    assert {arm: sorted(x) for arm, x in c.tried.items()} == {
        sft: pytest.approx([1 / 9, 1 / 3, 1, 3]), dpo: pytest.approx([1 / 3, 1, 3, 9])}
    assert c.rate(sft) == 1 and c.rate(dpo) == pytest.approx(9)


# ---- verdicts ------------------------------------------------------------------------------------
def question(gains: tuple[float, float], seeds: int, tasks: int, rng: np.random.Generator,
             luck: float = 0.0, shares: bool = False, of: int = 1) -> verdicts.Question:
    """Scores of two arms as own rows (one task) or NanoWorld have them. luck: how much a file of
    rows, and each draw of it, moves an arm, and what each arm makes of each question. shares: 0 or
    1 for each question."""
    hard = rng.uniform(0.1, 0.9, (tasks, 40))

    def arm(gain: float) -> verdicts.Result:
        moved = rng.normal(0, luck) + rng.normal(0, luck, (seeds, 1)) + rng.normal(
            0, 0.03, (seeds, 1)) + rng.normal(0, 0.2, 40) * (luck > 0)
        found = [of_task + gain + moved for of_task in hard]
        scores = {str(t): (rng.random(x.shape) < x).astype(float) if shares else
                  x + rng.normal(0, 0.1, x.shape) for t, x in enumerate(found)}
        return verdicts.Result("", scores, dict.fromkeys(scores, np.arange(40)), "score", {},
                               redrawn=luck > 0)
    return verdicts.Question(arm(gains[0]), arm(gains[1]), of, 0.02)


@pytest.mark.parametrize("seeds, tasks, luck, shares", [
    (5, 9, 0, False), (3, 1, 0, False), (3, 1, 0.1, False), (5, 1, 0.1, False),
    (2, 1, 0.4, False), (2, 1, 0.4, True), (5, 1, 0.4, True)])
def test_equal_arms_are_seldom_called_different_and_a_planted_lead_is_seen(seeds, tasks, luck,
                                                                           shares):
    rng = np.random.default_rng(0)
    wrong = sum(question((0, 0), seeds, tasks, rng, luck, shares).verdict in ("better", "worse")
                for _ in range(300))
    assert wrong <= 24              # 5 % are 15; more than 24 come by chance once in 70
    lead = 0.9 if luck < 0.4 else 40
    assert shares or question((lead, 0), seeds, tasks, rng, luck).verdict == "better"
    assert shares or question((0, lead), seeds, tasks, rng, luck).verdict == "worse"


def test_six_questions_share_the_five_per_cent():
    rng = np.random.default_rng(1)
    wrong = sum(any(question((0, 0), 5, 9, rng, of=6).verdict in ("better", "worse")
                    for _ in range(6)) for _ in range(200))
    assert wrong <= 17


@pytest.mark.parametrize("mean, half, word", [
    (0.01, 0.005, "level"), (0.01, 0.02, "undecided"), (0.03, 0.02, "better"),
    (-0.03, 0.02, "worse"), (0, 0.019, "level"), (0.0, 0.03, "undecided"),
    (0.015, 0.01, "better")])
def test_the_interval_that_is_printed_decides(mean, half, word):
    assert verdicts.word(mean, half, 0.02) == word


def test_redrawn_rows_widen_an_interval_by_the_luck_of_the_file():
    """By hand: three seeds 0, 1, 2 on questions that are all alike. Variance of a seed 1; of the
    mean 1/3, and of the file 4/3 more."""
    gap = np.repeat(np.array([[0.0], [1.0], [2.0]]), 4, 1)
    alone, shared = (stats.moments([gap], [np.arange(4)], x) for x in (False, True))
    assert alone == pytest.approx((1, 1 / 3, 2)) and shared == pytest.approx((1, 5 / 3, 2))
    gap = np.arange(12.0).reshape(1, 12) + np.array([[0.0], [1e-3], [2e-3]])       # they agree
    alone, shared = (stats.moments([gap], [np.arange(12)], x)[2] for x in (False, True))
    assert alone > 100 and shared == 2


def test_questions_that_never_differ_are_not_called_level_where_they_are_few():
    """Agresti and Min by hand: 1.96 / (n + 2)."""
    def asked(n: int) -> verdicts.Question:
        same = verdicts.Result("", {"rows": np.ones((3, n))}, {"rows": np.arange(n)}, "prefers", {})
        return verdicts.Question(same, same, 1, 0.02)
    assert asked(6).interval() == (0, pytest.approx(1.96 / 8, abs=1e-4))
    assert (asked(6).verdict, asked(200).verdict) == ("undecided", "level")


def test_a_lead_hangs_on_one_seed_only_from_five_seeds_on():
    gap = np.array([-0.02, 0.2, 0.21, 0.19, 0.2])[:, None] + np.zeros((5, 30))

    def asked(seeds: int) -> verdicts.Question:
        made = [verdicts.Result("", {"rows": x[:seeds]}, {"rows": np.arange(30)}, "score", {})
                for x in (gap, 0 * gap)]
        return verdicts.Question(*made, 1, 0.02)
    assert asked(5).verdict == "better" and asked(5).hangs_on()
    assert asked(4).hangs_on() == []


def test_the_same_method_under_two_names_trains_with_other_seeds(in_process):
    assert call(f"a=sft b=sft {SMALL}") == 0
    c = planned(f"a=sft b=sft {SMALL}")
    c.rates = {arm._replace(label=""): c.paces[arm.stages[0]].rate for arm in c.arms}
    one, two = (load_file(c.job(arm, 0).folder / "model.safetensors") for arm in c.arms)
    assert any(not np.array_equal(one[name], two[name]) for name in one)
    found = verdicts.verdicts(c)[1][0]
    assert {found.a.name, found.b.name} == {"a", "b"} and found.interval()[1] > 0


def test_looks_are_counted_and_confirming_is_done_once(in_process):
    def earlier(line: str) -> int:
        c = planned(line)
        compare.train_all(c)
        return len(looks(c))
    words = f"sft dpo {SMALL}"
    assert [earlier(words), earlier(words)] == [0, 0]           # the same look
    assert earlier(words.replace("--seeds 2", "--seeds 3")) == 1
    assert earlier(f"sft mine.py {SMALL}") == 2
    assert earlier(words) == 0                                  # it was the first
    confirmed = planned(f"{words} --confirm")
    assert not {*confirmed.seeds} & {*range(comparison.TRY)}
    assert confirmed.asked("test").seed != planned(words).asked("test").seed
    assert earlier(f"{words} --confirm") == 0
    before = trained()
    for again in (words.replace("--seeds 2", "--seeds 3"), f"{words} --items 11",
                  f"dpo sft {SMALL} --items 12"):
        with pytest.raises(UserError, match="has judged"):
            earlier(f"{again} --confirm")
    assert trained() == before                                  # refused before it trains


# ---- what it prints and leaves -------------------------------------------------------------------
def test_a_plan_repeats_the_command_elsewhere(tmp_path, monkeypatch, capsys):
    """To the same figures, from the plan, the file and the rows alone. Each command of the report
    makes the weights that were judged."""
    words = "sft mine.py sft+mine.py --data pairs.jsonl --tries 1 --seeds 2 --steps 1 --device cpu"
    assert call(words) == 0
    first = planned(words).place.resolve()
    assert "--steps 2" in (told := capsys.readouterr().out) and "sft+mine.py - sft" in told
    there = tmp_path / "there"
    there.mkdir()
    for file in ("mine.py", "helper.py", "pairs.jsonl"):
        (there / file).write_bytes(Path(file).read_bytes())
    (there / "my.ini").write_bytes((first / "plan.ini").read_bytes())
    monkeypatch.chdir(there)
    monkeypatch.setattr(compare, "carry_out", make_here)
    assert call("my.ini") == 0
    again = there / "out/compare" / first.name
    for file in ("scores.csv", "picture.svg", "plan.ini"):
        assert (again / file).read_text() == (first / file).read_text()
    typed = [line for line in (again / "report.md").read_text().splitlines()
             if "nanouft.train" in line]
    assert len(typed) == 6
    for line in typed:
        train.main(shlex.split(line)[3:])
        name = line.rpartition("/")[2]
        assert (Path("out/typed") / name / "model.safetensors").read_bytes() == (
            RUNS / name / "model.safetensors").read_bytes()


def test_the_words_of_an_arm():
    arm = arms.read_arm("x=sft --lr=1e-4 + mine.py --gamma 1e+0")
    assert arm.stages == (("sft", "--lr=1e-4"), ("mine.py", "--gamma", "1e+0"))
    assert [x.name for x in arm.chain] == ["sft --lr=1e-4", "x"]
    assert arms.read_arm("sft --lr=1e-4").label == ""


@pytest.mark.parametrize("words, told", [
    ("", "name two methods"), ("sft", "name two methods"), ("sft dpoo", "did you mean dpo"),
    ("sft sft", "named twice"), ("sft 'dpo --seed 1'", "--seeds N outside"),
    ("sft 'dpo --bta 1'", "did you mean --beta"), ("sft 'dpo --dtype=bf16'", "--dtype outside"),
    ("sft none.py", "No such file"), ("sft dpo --seeds 1", "--seeds 1: must be at least 2"),
    ("sft dpo --by nll", "need --data"), ("sft dpo --data few.jsonl", "at least 30 are needed"),
    ("sft dpo --data pairs.jsonl --reward r.py:f", "No such file"),
    ("x.ini sft", "a plan names its methods"), ("sft '+dpo'", "begins with no method"),
    ("x.ini", "cannot be read"), ("pairs.ini", "no plan"), ("sft dpo --out full", "full: .*empty")])
def test_a_mistake_is_one_line_before_anything_is_trained(words, told):
    write_jsonl(Path("few.jsonl"), PAIRS[:9])
    Path("pairs.ini").write_text("sft dpo")
    Path("full").mkdir()
    Path("full/mine.txt").touch()
    with pytest.raises((UserError, OSError), match=told):
        call(words)
    assert not RUNS.exists()
