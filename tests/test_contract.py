"""A method in a file of your own: how it is found and read, and what is told of it."""
import json
import shlex
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
from made import FORMS, Form, batch_of, killed_in_step, nano
from own_method import LOSS, MINE, ON_POLICY, RUN

from nanouft import objectives, train
from nanouft.objective import Objective
from nanouft.objectives import OBJECTIVES, find
from nanouft.own import OF_RUN, OF_SAMPLES
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import UserError
from nanouft.pushes import parse_methods
from nanouft.run.folder import read_lines


@pytest.fixture
def mine(here):
    """mine.py in the folder of a person; its mistakes are in recorded/mistakes/losses.txt."""
    (here / "mine.py").write_text(MINE, encoding="utf-8")
    return here / "mine.py"


def trained(out: str, flags: str = "") -> int:
    return command(train.main, shlex.split(f"{RUN} --out {out} {flags}"))


# ---- how it is found and read --------------------------------------------------------------------
def test_wherever_an_objective_is_named_it_may_be_a_file(mine):
    assert find("mine.py:Mine")(aim=3.0).aim == 3.0 and find("dpo") is OBJECTIVES["dpo"]
    (text, objective), = parse_methods(["mine.py --aim 3"])
    assert (text, objective.aim, str(objective)) == ("mine.py --aim 3", 3.0, "mine")
    mine.with_name("my ä.py").write_text(MINE)
    assert [str(x) for _, x in parse_methods(["my ä.py", "'my ä.py' --aim 3"])] == ["my ä"] * 2
    with pytest.raises(UserError, match="mine.py:Nine: expected one Objective subclass"):
        find("mine.py:Nine")


def test_a_class_of_the_registry_is_named_after_its_file(monkeypatch):
    monkeypatch.setattr(objectives, "NAMES", ["mine"])
    monkeypatch.setattr(objectives, "import_module", lambda name: sys)
    with pytest.raises(UserError, match="mine.py: no class is named after the file"):
        OBJECTIVES["mine"]


@pytest.mark.parametrize("encoding, head, why", [
    ("utf-16", "", "mine.py: is UTF-16"), ("cp1252", "", "Windows-1252"),
    ("cp1252", "# coding: cp1252\n", ""), ("utf-8-sig", "", "")])
def test_a_file_of_an_editor_of_windows_is_read_or_its_encoding_is_named(encoding, head, why, mine):
    mine.write_bytes((head + MINE).replace("nats", "für").encode(encoding))
    with pytest.raises(UserError, match=why) if why else nullcontext():
        find("mine.py")


def test_a_run_of_a_file_of_your_own_goes_on_with_this_file_alone(mine, capsys):
    """To the same bytes: test_interrupted.py. It must be named: test_folders.py."""
    with killed_in_step(3), pytest.raises(KeyboardInterrupt):
        train.main(shlex.split(RUN + "--aim 2 --out broken"))
    assert "mine is not yours" in capsys.readouterr().out, "what is to be said of it first"
    resume = "--resume broken --objective mine.py".split()
    mine.write_text(MINE + "\n")
    with pytest.raises(UserError, match="its method changed since that run began"):
        train.main(resume)
    mine.write_text(MINE)
    train.main(resume)
    about = json.loads((mine.parent / "broken" / "run.json").read_text())
    assert (about["objective"], about["hp"]) == ("mine", {"beta": 0.1, "aim": 2.0})


# ---- a loss that micro-batches would change ------------------------------------------------------
def first_step(objective: Objective, form: Form, capsys) -> tuple[float, bool]:
    """(the loss, is it said that halves of a step learn something else)"""
    batch = batch_of(form)
    objective.forward(nano(3), batch)
    loss, _ = objective.loss(batch)
    return loss.item(), "over two half batches" in capsys.readouterr().out


@pytest.mark.parametrize("form", [form for form in FORMS if not form.told], ids=str)
def test_a_method_in_a_file_of_your_own_is_the_same_and_nothing_is_told(form, here, capsys):
    """It adds up, also over what only the whole step has."""
    cls = OBJECTIVES[form.name]
    text = Path(sys.modules[cls.__module__].__file__).read_text(encoding="utf-8")
    (here / f"my_{form.name}.py").write_text(text.replace('"ties"', '"tied"'), encoding="utf-8")
    copied = find(f"my_{form.name}.py:{cls.__name__}")(**vars(form.objective))
    loss, told = first_step(copied, form, capsys)
    assert not told and loss == first_step(form.objective, form, capsys)[0]


STEP = "s = batch.seqs['answer']\n        x, R = s.sum(s.logp), batch.per_row.get('reward', 0)"


@pytest.mark.parametrize("form, told, loss", [
    *(("sft", True, loss) for loss in (
        "x.mean()", "s.logp.mean()", "s.logp.mean(1).sum() / batch.n", "x.sum() / len(x)",
        "x.sum() / s.mask.sum()", "(x - x.mean()).square().sum() / batch.n", "x.min()",
        "(x / x.std()).exp().sum() / batch.n", "(x.softmax(0) * x).sum()", "x.logsumexp(0)",
        "x.sum() / batch.n / s.mask.shape[1]")),
    ("grpo", True, "(x * (R - R.mean())).mean()"), ("reinforce", True, "(x * R).mean()"),
    ("sft", False, "x.sum() / batch.n"), ("grpo", False, "(x * R).sum() / batch.n"),
    ("sft", False, "x.sum() / batch.full_step.seqs['answer'].not_padding.sum()"),
    ("sft", False, "(x * __import__('torch').rand(len(x))).sum() / batch.n"),
    ("sft", False, "x.view(batch.n, 1).sum() / batch.n")])
def test_a_loss_that_micro_batches_would_change_is_told(form, told, loss, mine, capsys):
    """Such as a mean over the rows at hand, over padding too, or a statistic of the batch."""
    text = (LOSS if form == "sft" else ON_POLICY.partition("return")[0]) + STEP
    mine.write_text(f"{text}\n        return {loss}, {{}}")
    assert first_step(find("mine.py")(), Form(form), capsys)[1] == told


@pytest.mark.parametrize("thing", [
    "open('losses.txt', 'a')", "(x for x in 'ab')", "__import__('threading').Lock()", "None"])
def test_a_loss_of_your_own_may_hold_what_cannot_be_copied(thing, mine, capsys):
    """Then it trains without that look."""
    mine.write_text(LOSS + "return -batch.seqs['answer'].logp.mean(), {}")
    objective = find("mine.py")()
    objective._thing = eval(thing)
    assert first_step(objective, Form("sft"), capsys)[1] == (thing == "None")


# ---- metrics -------------------------------------------------------------------------------------
@pytest.mark.parametrize("metric, times", [("x", 1), ("x.detach()", 0), ("x.item()", 0)])
def test_a_metric_that_still_has_its_gradient_is_told_once(metric, times, mine, capsys):
    """The log keeps metrics until it is written, and each would keep the graph of its step."""
    mine.write_text(LOSS + "x = batch.seqs['answer'].logp.sum() / batch.n\n"
                    f"        return -x, {{'mine': {metric}}}")
    objective, batch = find("mine.py")(), batch_of(Form("sft"))
    objective.forward(nano(3), batch)
    for _ in range(2):
        objective.loss(batch)
    told = capsys.readouterr().out
    assert told.count("the metric 'mine' keeps the gradient's whole graph") == times, told


def test_a_metric_that_is_not_finite_is_null_and_ends_no_run(mine, capsys):
    """As a mean over the long rows of a step without one."""
    mine.write_text(LOSS + "odd = float('nan') if batch.seed % 2 else 1\n"
                    "        return -batch.seqs['answer'].logp.sum() / batch.n, {'odd': odd}")
    assert trained("odd") == 0
    assert [x["odd"] for x in read_lines(Path("odd/metrics.jsonl"))] == [1, None, 1, None]
    assert capsys.readouterr().out.count("odd is nan at step 2") == 1


def test_the_names_of_metrics_that_are_refused_are_those_that_a_run_logs(mine):
    """Others would overwrite them, or be overwritten, in silence."""
    mine.write_text(ON_POLICY + "return batch, {}")
    for out, names, flags in (
            ("of_samples", OF_RUN | OF_SAMPLES, "--max-new 4 --items 0 --rows 4 --batch-size 2"),
            ("of_demos", OF_RUN | {"nll"}, "--objective sft --eval-every 1 --items 0")):
        assert trained(out, f"{flags} --steps 1") == 0
        logged = {name for x in read_lines(Path(out, "metrics.jsonl")) for name in x}
        assert logged <= names and (OF_SAMPLES - {"ties"}).isdisjoint(names - logged), \
            "ties needs several answers to a prompt"
