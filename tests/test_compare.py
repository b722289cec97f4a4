"""nanouft.compare: equal arms are not decided, planted leads are; what is there is not trained
again, and what has changed is."""
import shlex
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from made import write_jsonl

from nanouft.compare import __main__ as compare
from nanouft.compare import arms, comparison, parts, runs
from nanouft.compare.judge import findings_of
from nanouft.data.rows import read
from nanouft.plumbing.errors import UserError

MINE = """import torch.nn.functional as F
from nanouft.objectives.dpo import Pairs

class Mine(Pairs):
    lr = 3e-5
    gamma: float = 1.0

    def each(self, i_w, i_l, batch):
        return -F.logsigmoid(i_w - self.gamma * i_l)
"""
PAIRS = [{"prompt": f"Say {x} {y}.", "chosen": f"{x} {y}", "rejected": f"{y}"}
         for x in "fig pig bee oak nut elm".split() for y in "ant owl fox hen cat dog".split()]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(MINE)
    write_jsonl(Path("pairs.jsonl"), PAIRS)


def call(line: str) -> int:
    return compare.main(shlex.split(line))


SMALL = ("--skills list --rows 32 --steps 2 --batch-size 8 --items 10 --seeds 2 --workers 1 "
         "--device cpu")


def test_what_is_there_is_not_trained_again_and_a_changed_file_is(capsys):
    """Only the runs of the file that changed; a copy of DPO makes DPO's weights."""
    assert call(f"dpo mine.py --tries 1 {SMALL}") == 0
    assert "mine.py - dpo" in (told := capsys.readouterr().out) and "undecided" in told
    before = {x.name: x.stat().st_mtime_ns for x in Path("out/compare/runs").iterdir()}
    dpo, mine = (next(Path("out/compare/runs").glob(f"{x}*seed_1*/model.safetensors")).read_bytes()
                 for x in ("dpo", "mine"))
    assert dpo == mine and len(before) == 5
    assert call("out/compare/dpo-mine_py/plan.ini") == 0
    assert {x.name: x.stat().st_mtime_ns for x in Path("out/compare/runs").iterdir()} == before
    Path("mine.py").write_text(MINE.replace("gamma: float = 1.0", "gamma: float = 0.5"))
    assert call("out/compare/dpo-mine_py/plan.ini") == 0
    new = {x.name for x in Path("out/compare/runs").iterdir()} - {*before}
    assert len(new) == 2 and all(x.startswith("mine.py") for x in new)
    folder = Path("out/compare/dpo-mine_py")
    assert "prefers-color-scheme" in (folder / "picture.svg").read_text()
    assert "python -m nanouft.train --objective mine.py" in (folder / "report.md").read_text()


def test_a_chain_starts_from_the_model_of_its_seed():
    c = comparison.plan(shlex.split(f"sft sft+dpo --tries 1 {SMALL}"))
    compare.train_all(c)
    sft, chain = c.arms
    for seed in c.seeds:
        assert c.job(chain, seed).init == str(c.job(sft, seed).folder)
    assert len(c.every) == 2


def test_own_rows_have_three_parts_and_share_no_question():
    c = comparison.plan(shlex.split("sft dpo --data pairs.jsonl --tries 1 --seeds 2 --steps 1 "
                                 "--workers 1 --device cpu"))
    questions = [{r.prompt for r in read([str(c.parts[x])])[0]} for x in ("train", "val", "test")]
    assert sum(map(len, questions)) == len(set.union(*questions)) == len(PAIRS)
    assert [*map(len, questions)] == [24, 4, 8]
    compare.train_all(c)
    results, questions = compare.judge(c)
    assert results[0].measure == "prefers" and [*results[0].others] == ["nll"]
    assert results[1].scores["rows"].shape == (2, 8)


@pytest.mark.parametrize("words, told", [
    ("sft", "name two methods"), ("sft dpoo", "did you mean dpo"), ("sft sft", "named twice"),
    ("sft 'dpo --seed 1'", "--seeds N outside"), ("sft 'dpo --bta 1'", "did you mean --beta"),
    ("sft none.py", "no such file"), ("sft dpo --seeds 1", "--seeds 1: must be at least 2"),
    ("sft dpo --data few.jsonl", "at least 30 are needed"), ("sft dpo --by nll", "need --data"),
    ("x.ini sft", "a plan names its methods"), ("sft '+dpo'", "begins with no method")])
def test_a_mistake_is_one_line_before_anything_is_trained(words, told):
    write_jsonl(Path("few.jsonl"), PAIRS[:9])
    with pytest.raises(UserError, match=told):
        call(words)
    assert not Path("out/compare/runs").exists()


def some(gain: float, seeds: int, tasks: int, rng: np.random.Generator) -> list[SimpleNamespace]:
    """Scores of three arms; the second leads the others by `gain`."""
    hard = rng.uniform(0.1, 0.9, (tasks, 40))
    return [SimpleNamespace(scores={str(t): np.clip(hard[t] + more + rng.normal(
        0, 0.03, (seeds, 1)) + rng.normal(0, 0.1, (seeds, 40)), -1, 2) for t in range(tasks)})
        for more in (0, gain, 0)]


@pytest.mark.parametrize("seeds, tasks", [(5, 9), (3, 1)])
def test_equal_arms_are_seldom_decided_and_a_planted_lead_is(seeds, tasks):
    rng = np.random.default_rng(0)
    groups = {str(t): np.arange(40) for t in range(tasks)}

    def verdicts(gain: float) -> list[str]:
        a, b, c = some(gain, seeds, tasks, rng)
        asked = compare.ask_pairs([(b, a), (c, a), (c, b)], groups, 1, None)
        return [x.verdict for x in findings_of(asked)]
    wrong = sum({*verdicts(0)} != {"undecided"} for _ in range(200))
    assert wrong <= 17              # 5 % are 10; more than 17 come by chance once in 70
    lead = verdicts(0.4)
    assert lead == ["holds", "undecided", "does not hold"]


def test_the_words_of_an_arm():
    arm = arms.read_arm("sft --lr 1e-4 + mine.py --gamma 1e+0")
    assert arm.stages == (("sft", "--lr", "1e-4"), ("mine.py", "--gamma", "1e+0"))
    assert [x.name for x in arm.chain] == ["sft --lr 1e-4", arm.name]


def test_rows_keep_their_part_where_others_come():
    first = parts.cut(["pairs.jsonl"], Path("a"))["test"].read_text().splitlines()
    write_jsonl(Path("more.jsonl"), PAIRS + [{**PAIRS[0], "prompt": "New?"}])
    again = parts.cut(["more.jsonl"], Path("a"))["test"].read_text().splitlines()
    assert len({*first} & {*again}) >= len(first) - 1


def test_a_run_that_diverges_is_a_try_that_fails():
    job = runs.Job(Path("x"), ("--objective", "sft"), runs.Asked(), try_out=True)
    Path("x").mkdir()
    Path("x/diverged").write_text("NaN")
    assert job.done and not job._replace(try_out=False).done
    assert runs.values(Path("x"), runs.Asked()) is None
