"""Claim C8: cells, the rule, and the committed page."""
import json
import re
from dataclasses import replace

import pytest
from running import ROOT

from lab import thinking
from lab.thinking import AGGREGATIONS, BASE, SEEDS, TASKS, Job, Task
from nanouft import world
from nanouft.run.storage import Lines, read_json

RESULTS = ROOT / "docs" / "results"
TINY = replace(BASE, demos=32, epochs=1, steps=2, prompts=2, samples=4, asked=6, asked_after=3)


def cell(seed: int, think: int, right_think: int, right_at_once: int, after: int) -> dict:
    """Ten prompts with eight answers each; `think` of the eight think, `after` of them later."""
    def counted(*numbers: int) -> dict:
        names = ("think", "right_think", "right_at_once")
        return {name: [n] * 10 for name, n in zip(names, numbers)}
    later = {how: counted(after, 0, 0) for how in AGGREGATIONS}
    return {"seed": seed, "samples": 8, "start": counted(think, right_think, right_at_once),
            **later}


def test_the_advantage_of_a_cell():
    one = cell(0, think=2, right_think=1, right_at_once=3, after=4)
    assert thinking.rights(one) == (1 / 2, 3 / 6) and thinking.advantage(one) == 0
    assert thinking.share(one, "start") == 1 / 4 and thinking.change(one, "grpo") == 1 / 4
    assert thinking.mean_right(one, "start") == 4 / 8
    # an easy prompt that seldom thinks, a hard one that often does: in one pot thinking looks bad
    one["start"] = {"think": [1, 7], "right_think": [1, 2], "right_at_once": [6, 0]}
    assert thinking.advantage(one) < -0.3 and thinking.advantage_within(one) > 0.2
    one["start"]["think"][0], one["start"]["right_think"][0] = 0, 0
    assert thinking.advantage_within(one) == pytest.approx(2 / 7), "a prompt with one kind is out"


def test_the_rule():
    """`moved` has the sign of each seed's own advantage."""
    pays = dict(think=2, right_think=2, right_at_once=3)
    costs = dict(think=2, right_think=0, right_at_once=3)
    for start, after, word in ((pays, (7, 8), "holds"), (costs, (1, 0), "holds"),
                               (pays, (1, 0), "does not hold"), (costs, (8, 7), "does not hold"),
                               (pays, (0, 8), "undecided")):
        cells = [cell(n, after=after[n % 2], **start) for n in range(4)]
        found = thinking.summary("x", cells)
        assert {found["moved"][how][2] for how in AGGREGATIONS} == {word}
    mixed = [cell(0, after=8, **pays), cell(1, after=1, **costs)]
    assert thinking.summary("x", mixed)["runs_as_said"] == {how: 2 for how in AGGREGATIONS}


def test_the_reward_reads_the_last_word_alone():
    rows = world.rows("train", "prompts", 6, 0, skills=("sum",))
    whole = [world.reference(row.prompt[-1].text) for row in rows]
    at_once = [thinking.last(text) for text in whole]
    assert thinking.right(rows, whole).tolist() == thinking.right(rows, at_once).tolist() == [1] * 6
    assert thinking.thinks(whole).all() and not thinking.thinks([*at_once, ""]).any()
    assert not thinking.right(rows, ["", "x", "and", *[text + " 0" for text in whole[3:]]]).any()


def test_demonstrations():
    """A share writes steps; careless steps are the same words in another order."""
    for task in (Task("sort"), Task("sort", careless=True)):
        rows = thinking.demonstrations(task, BASE, 3)
        texts = [row.answer[-1].text for row in rows]
        wanted = [world.reference(row.prompt[-1].text) for row in rows]
        think = thinking.thinks(texts)
        assert len(rows) == BASE.demos and 0.25 < think.mean() < 0.35
        pairs = [(text, right) for text, right, it in zip(texts, wanted, think) if it]
        assert all(sorted(text.split()) == sorted(right.split()) for text, right in pairs)
        assert all(text == right for text, right in pairs) != task.careless
        assert all(text == thinking.last(right)
                   for text, right, it in zip(texts, wanted, think) if not it)


def test_a_short_study_resumes(tmp_path, monkeypatch, capsys, inline):
    def run() -> dict:
        return thinking.study(tmp_path, ["sort", "reverse"], (0, 1), 1, TINY)
    monkeypatch.setitem(TASKS, "sort", Task("sort"))
    data = run()
    rows = Lines(tmp_path / "C8.jsonl").read()
    assert len(rows) == 4 and data["runs"] == 8 and data["verdict"] in capsys.readouterr().out
    assert all(len(r["start"]["think"]) == 6 and len(r["grpo"]["curve"]) == 2 for r in rows)
    text = (tmp_path / "C8.jsonl").read_text().splitlines()
    (tmp_path / "C8.jsonl").write_text("\n".join(text[:3]) + '\n{"key": "cut sho')
    calls, honest = [], thinking.run_cell
    monkeypatch.setattr(thinking, "run_cell", lambda job: calls.append(job) or honest(job))
    assert run() == data and len(calls) == 1, "one cell is missing and comes out the same"
    assert json.loads(json.dumps(data)) == read_json(tmp_path / "C8.json")
    assert (tmp_path / "C8.png").stat().st_size > 10_000


def test_a_key_names_all_that_a_cell_depends_on():
    jobs = [Job("sort", 0), Job("sort", 1), Job("sum", 0), Job("sort", 0, replace(BASE, steps=1))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(TASKS, "sort", Task("sort"))
        assert len({job.key for job in jobs}) == 4


def test_the_committed_page_is_what_its_cells_say():
    done = {c["key"]: c for c in Lines(RESULTS / "C8.jsonl").read()}
    cells = {task: [done[Job(task, seed).key] for seed in SEEDS] for task in TASKS}
    data, text = thinking.report(cells)
    assert json.loads(json.dumps(data)) == read_json(RESULTS / "C8.json")
    assert (RESULTS / "C8.md").read_text(encoding="utf-8") == text


def test_readme_and_claims_show_the_numbers_of_c8():
    """Every "n of m" and every size that they name, and that the large ones are few starts."""
    data = read_json(RESULTS / "C8.json")
    *small, large = data["by_size"]
    all_runs = (data["runs_as_said"], data["runs"])
    known = {all_runs, (large["as_said"], large["runs"]),
             tuple(sum(x[name] for x in small) for name in ("as_said", "runs"))}
    account = (ROOT / "docs" / "claims.md").read_text(encoding="utf-8")
    section = " ".join(account.split("\n## C8")[1].split("\n## ")[0].split())
    lines = [line for text in ((ROOT / "README.md").read_text(encoding="utf-8"), account)
             for line in text.splitlines() if line.startswith("| C8 |")]
    assert len(lines) == 2
    for text in (*lines, section):
        told = {(int(n), int(m)) for n, m in re.findall(r"(\d+) of (\d+)", text)}
        assert all_runs in told and told <= known, text
        sizes = re.findall(r"(?:beyond|above) (\d+) points", text)
        assert {int(x) for x in sizes} <= {round(100 * large["from"])}, text
    assert all(f"**{data['verdict']}**" in line for line in lines)
    few, one = large["starts"]["sort, careless steps"], large["starts"]["sum"]
    words = ("none", "one", "two", "three", "four", "five", "six")
    assert f"only {words[few + one]} start models: {words[few]} of this task" in section
    assert f"{words[one]} of the sums" in section and sum(large["starts"].values()) == few + one
