"""The papers of lessons/papers: right programs equal plain Python and obey their laws, wrong ones
are refused and named."""
import math
from dataclasses import replace
from functools import cache
from random import Random

import pytest
import torch

from lessons.classroom import paper, paper_judge
from lessons.classroom.judge import assess
from lessons.classroom.paper_judge import Paper, judge_class, law_broken
from lessons.classroom.paper_list import PAGES, PAPERS
from lessons.classroom.paper_runs import Case, demonstrated, move, tiny_model
from nanouft.objectives.from_file import find

SLIPS = [(name, k) for name, facts in PAPERS.items() for k in range(len(facts.mistakes))]
CASE = Case("plain", 4, 2, 1)
subject_of = cache(lambda name: Paper(PAPERS[name]))        # it keeps what its slips give


@pytest.fixture
def few(monkeypatch):
    """One batch whole, one in two micro-batches, one in three."""
    monkeypatch.setattr(paper_judge, "BATCHES", 3)


@pytest.mark.parametrize("name", PAPERS)
def test_the_right_program_is_right_and_obeys_its_law(name):
    facts = PAPERS[name]
    assert judge_class(facts, str(facts.key), "5") == ("", f"The law: {facts.law.words}. It holds.")


@pytest.mark.parametrize("name, k", SLIPS)
def test_a_slip_is_refused_and_named(name, k, few):
    subject = subject_of(name)
    mistake = subject.mistakes[k]
    told = assess(subject, subject.with_mistakes((mistake,)), "2").told
    assert told.startswith("    Right in ") and told.endswith(mistake[2]), told


@pytest.mark.parametrize("name, settings", [
    ("psft", {"renew": 1000}), ("luffy", {"samples": 2}), ("srft", {"sft": 0.5, "samples": 2}),
    ("anchored", {"lam": 0.5})])
def test_a_law_can_be_broken(name, settings):
    """By the right program with other settings than the law's."""
    facts = PAPERS[name]
    law = facts.law if facts.law.like else replace(facts.law, score=lambda rows, texts: [
        Random(text).random() for text in texts])
    broken = replace(facts, law=replace(law, settings=settings))
    assert law_broken(broken, find(str(facts.key)))


# ---- the right programs in plain Python ----------------------------------------------------------
def distributions(model, s) -> list[list[float]]:
    """The probabilities of all tokens where an answer has one, row after row."""
    logits = model(s.inputs)[s.mask > 0].double()
    exps = [[math.exp(x) for x in row] for row in logits.tolist()]
    return [[x / total for x in row] for row in exps for total in [sum(row)]]


def plain(name: str, o, s, now, old) -> float:
    """From lists of probabilities by the model now, and by the one before it moved."""
    targets = s.targets[s.mask > 0].tolist()
    p, q = ([each[t] for each, t in zip(some, targets)] for some in (now, old))
    if name == "psft":
        each = [-min(a / b, 1 + o.eps) for a, b in zip(p, q)]
    elif name == "eaft":
        each = []
        for x, some in zip(p, now):
            few = sorted(some)[-o.top:]
            few = [y / sum(few) for y in few]
            each.append(sum(y * math.log(y) for y in few) / math.log(o.top) * math.log(x))
    elif name == "anchored":
        kl = [sum(b * math.log(b / a) for a, b in zip(x, y)) for x, y in zip(now, old)]
        each = [-a * math.log(a) + o.lam * k for a, k in zip(p, kl)]
    else:
        each, begin = [], 0
        for many in s.mask.sum(-1).int().tolist():
            mine = [math.log(a / b) for a, b in zip(p[begin:begin + many], q[begin:begin + many])]
            weight = min(o.cap, math.exp(o.temp * sum(mine) / many))
            each += [-weight * math.log(a) for a in p[begin:begin + many]]
            begin += many
    return sum(each) / len(each)


@pytest.mark.parametrize("name, settings", [
    ("psft", {}), ("psft", {"eps": 0.05}), ("iw_sft", {}), ("iw_sft", {"temp": 2.0, "cap": 1.1}),
    ("eaft", {}), ("eaft", {"top": 4}), ("anchored", {}), ("anchored", {"lam": 3.0})], ids=str)
def test_a_right_program_is_that_of_plain_python(name, settings):
    objective, model = find(str(PAPERS[name].key))(**settings), tiny_model(CASE)
    batch = demonstrated(objective, model, CASE, None)(0)
    s = batch.seqs["answer"]
    assert (s.mask.sum(-1) != s.mask.sum(-1)[0]).any()          # there is padding
    objective.forward(model, batch)                             # PSFT's first old policy
    old = distributions(model, s)
    move(model, CASE, 0)
    total = 0.0
    for part in batch.micro_batches():
        objective.forward(model, part)
        total += objective.loss(part)[0].item()
    assert total == pytest.approx(plain(name, objective, s, distributions(model, s), old), rel=1e-4)


def test_psft_renews_its_old_policy_every_so_many_steps_and_not_for_held_out_rows():
    objective, model = find(str(PAPERS["psft"].key))(renew=2), tiny_model(CASE)
    batch = demonstrated(objective, model, CASE, None)(0)
    ratios = []
    for k in range(4):
        move(model, CASE, k)
        with torch.no_grad():
            objective.forward(model, batch)                     # held-out rows
        for part in batch.micro_batches():
            objective.forward(model, part)
            s = part.seqs["answer"]
        ratios.append(s.sum((s.logp - s.extra["old_logp"]).abs()).sum().item() > 1e-4)
    assert ratios == [False, True, False, True]


OTHERS = {                              # right programs in another style
    "luffy": """
from nanouft import Objective
class Mine(Objective):
    data = "demos + prompts"
    samples: int = 4
    gamma: float = 0.1
    def credit(self, batch):
        row, K = batch.per_row, self.samples
        own, demo = row["reward"].clone(), row["demo_reward"].clone()
        for i in range(0, batch.n, K):
            group = [*row["reward"][i:i + K]]
            if row["demo"][i] == 1:
                group.append(row["demo_reward"][i])
            own[i:i + K] -= sum(group) / len(group)
            demo[i] -= sum(group) / len(group)
        row["own"], row["shown"] = own, demo
        return batch, {}
    def loss(self, batch):
        s, d, row = batch.seqs["answer"], batch.seqs["demo"], batch.per_row
        rho, p = (s.logp - s.sampled_logp).exp(), d.logp.exp()
        gain = (s.mask * rho).sum(1) @ row["own"]
        gain = gain + (d.mask * p / (p + self.gamma)).sum(1) @ row["shown"]
        return -gain / sum(batch.tokens.values()), {}
"""}


@pytest.mark.parametrize("name", OTHERS)
def test_a_right_program_in_another_style_is_right(name, tmp_path):
    (tmp_path / "mine.py").write_text(OTHERS[name])
    told, law = judge_class(PAPERS[name], str(tmp_path / "mine.py"), "8")
    assert told == "" and law.endswith("It holds.")


# ---- the command ---------------------------------------------------------------------------------
def test_the_command_lists_papers_and_each_has_a_page(capsys):
    assert paper.main([]) == 0
    out = capsys.readouterr().out
    for name in PAPERS:
        page = (PAGES / f"{name}.md").read_text(encoding="utf-8")
        assert f"{name} " in out and f"lessons paper {name} {name}.py" in page and "arXiv" in page
        for setting in PAPERS[name].settings(Random(0)):
            assert f"    {setting}: " in page, setting


def test_the_command_says_right_or_wrong(tmp_path, few, capsys):
    source = PAPERS["iw_sft"].key.read_text(encoding="utf-8")
    mine = tmp_path / "mine.py"
    mine.write_text(source)
    assert paper.main(["iw_sft", str(mine), "--seed", "3"]) == 0
    assert "iw_sft: right\n" in (out := capsys.readouterr().out) and "It holds." in out
    mine.write_text(source.replace(".detach()", ""))
    assert paper.main(["iw_sft", str(mine), "--seed", "3"]) == 1
    assert "Gradient flows through the weights" in capsys.readouterr().out
    mine.write_text(source.replace("s.ref_logp", "s.nothing"))
    assert paper.main(["iw_sft", str(mine)]) == 1
    assert "line 18: AttributeError" in capsys.readouterr().out
    mine.write_text(source.replace("    temp: float = 1.0", "    heat: float = 1.0"))
    assert paper.main(["iw_sft", str(mine)]) == 1
    assert "it has no setting temp" in capsys.readouterr().out
    assert paper.main(["luffy", str(PAPERS["psft"].key)]) == 1
    assert "no setting samples" in capsys.readouterr().out
