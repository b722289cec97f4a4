"""What an objective is: settings, facts and methods of one class; and an objective of your own."""
import json
import shlex
import shutil
import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch
from made import FORMS, Form, batch_of, killed_in_step, nano, one_error, push, with_logps

from nanouft import objectives, train
from nanouft.objective import Objective
from nanouft.objectives import OBJECTIVES, find
from nanouft.objectives.dpo import Pairs
from nanouft.own import OF_RUN, OF_SAMPLES
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import UserError
from nanouft.pushes import parse_methods
from nanouft.run.folder import read_lines

HEAD = "from nanouft.objective import Objective\nfrom nanouft.objectives.dpo import Pairs\n\n\n"
MINE = HEAD + '''class Mine(Pairs):
    lr = 1e-4
    about = "mine is not yours"
    aim: float = 1.0            # nats

    def each(self, i_w, i_l, batch):
        return (self.beta * self.aim - (i_w - i_l)).relu() ** 2
'''
RUN = ("--objective mine.py --aim 2 --init start --rows 32 --batch-size 8 --steps 4 --plain "
       "--save-every 2 --threads 1 --device cpu --out ")


@pytest.fixture
def here(belongings, tmp_path, monkeypatch):
    """A folder with mine.py and an initial model."""
    shutil.copytree(belongings / "start", tmp_path / "start")
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


# ---- the contract --------------------------------------------------------------------------------
@pytest.mark.parametrize("form", [f for f in FORMS if f.told == ""], ids=str)
def test_what_an_objective_says_that_it_reads_is_what_its_loss_reads(form):
    """reference, data, scorer, measures_demos and coupled, by changing each number. (The reference
    of distillation is its teacher.)"""
    o, roles = form.objective, with_logps(form).seqs

    def pushed(change=None, rows: int | None = None) -> torch.Tensor:
        """The loss and its push on the first rows, after a change before credit."""
        batch = with_logps(form)
        if change:
            change(batch)
        if o.on_policy and "answer" in batch.seqs:
            batch, _ = o.credit(batch)
        loss, grads = push(form, batch)
        return torch.cat([loss[None][:rows is None], *(g[:rows].flatten() for g in grads.values())])

    def reference(batch) -> None:
        for s in batch.seqs.values():
            if s.ref_logp is not None:
                s.ref_logp = 1.5 * s.ref_logp - 0.3

    def demos(batch) -> None:
        for s in (s for role, s in batch.seqs.items() if role == "demo"):
            s.ref_logp, s.sampled_logp = 1.5 * s.ref_logp - 0.3, 1.5 * s.sampled_logp - 0.3

    def column(name: str):
        return lambda batch: batch.per_row.update(
            {name: 0.9 - 0.7 * batch.per_row[name]} if name in batch.per_row else {})

    def others(scale: float):
        return lambda batch: [s.logp[2:].mul_(scale) for s in batch.seqs.values()]
    whole, first = pushed(), pushed(rows=2)
    reads = {name: not torch.equal(pushed(change), whole)
             for name, change in (("reference", reference), ("demo", demos),
                                  *((x, column(x)) for x in ("score", "label", "reward")))}
    reads["coupled"] = any(not torch.equal(pushed(others(x), rows=2), first) for x in (0.1, 3))
    assert reads == {
        "reference": o.reference or form.name == "distill",
        "demo": "demo" in roles and o.measures_demos,
        "score": "scores" in o.kinds(), "label": "labels" in o.kinds(),
        # pairs that are made of the rewards have none any more
        "reward": o.on_policy and o.scorer != "none" and "answer" in roles,
        "coupled": o.coupled}, "left what the loss reads, right what the class says: change a fact"


def test_a_file_whose_class_has_another_name_is_one_line(monkeypatch):
    """As is a file that is no method."""
    monkeypatch.setattr(objectives, "NAMES", ["mine"])
    monkeypatch.setattr(objectives, "import_module", lambda name: sys)
    with pytest.raises(UserError, match="mine.py: no class is named after the file"):
        OBJECTIVES["mine"]


def test_every_method_is_one_level_below_objective():
    assert all(cls.__bases__[0] in (Objective, Pairs) for cls in OBJECTIVES.values())


# ---- half fine-tuning ----------------------------------------------------------------------------
@pytest.mark.parametrize("matrices, halves", [(4, [2, 2, 2, 2]), (7, [3, 4, 3, 4])])
def test_hft_freezes_half_of_the_matrices_of_each_layer_by_the_seed(matrices, halves):
    """Of an odd number down and up in turn: four matrices in each layer as in GPT-2, seven as in
    Llama. Embeddings, biases and norms learn."""
    drawn = []
    for seed in (0, 0, 1):
        model = torch.nn.Module()
        model.h = torch.nn.ModuleList(torch.nn.ModuleList(
            [*(torch.nn.Linear(2, 2) for _ in range(matrices)), torch.nn.LayerNorm(2)])
            for _ in halves)
        model.wte = torch.nn.Embedding(2, 2)
        OBJECTIVES["hft"]().setup(model, seed)
        drawn.append([name for name, p in model.named_parameters() if not p.requires_grad])
    assert drawn[0] == drawn[1] != drawn[2]
    of_layers = [[name for name in drawn[0] if name.startswith(f"h.{i}.")] for i in range(4)]
    assert [*map(len, of_layers)] == halves and sum(of_layers, []) == drawn[0]
    assert all(model.get_parameter(name).dim() == 2 for name in drawn[0])
    with pytest.raises(UserError, match="frozen already, by LoRA or by hft with another seed"):
        OBJECTIVES["hft"]().setup(model, 0)


# ---- an objective of your own --------------------------------------------------------------------
def test_a_run_of_a_file_of_your_own_goes_on_with_this_file_alone(here, capsys):
    """To the same bytes: test_loop.py. It must be named: test_folders.py."""
    with killed_in_step(3), pytest.raises(KeyboardInterrupt):
        train.main(shlex.split(RUN + "broken"))
    assert "mine is not yours" in capsys.readouterr().out, "what is to be said of it first"
    text, resume = (here / "mine.py").read_text(), "--resume broken --objective mine.py".split()
    (here / "mine.py").write_text(text + "\n")
    with pytest.raises(UserError, match="its method changed since that run began"):
        train.main(resume)
    (here / "mine.py").write_text(text)
    train.main(resume)
    about = json.loads((here / "broken" / "run.json").read_text())
    assert (about["objective"], about["hp"]) == ("mine", {"beta": 0.1, "aim": 2.0})


ON_POLICY = HEAD + """class Mine(Objective):
    data = "prompts"

    def loss(self, batch):
        return batch.seqs["answer"].logp.sum(), {}

    def credit(self, batch):
        """
LOSS = HEAD + "class Mine(Objective):\n    def loss(self, batch):\n        "


def ranged(setting: str) -> str:
    return ("from typing import Annotated\nfrom nanouft.objective import AnyNumber, Share\n"
            + MINE.replace("aim: float", f"{setting}\n    aim: Share"))


MISTAKES = [(text, "", why) for text, why in [
    ("x = ", "mine.py, line 1: SyntaxError"), ("\nexit()", "mine.py, line 2: SystemExit"),
    ("", "found none; choose one with mine.py:NAME"),
    (MINE + MINE[len(HEAD):].replace("Mine", "Other"), "found Mine, Other; choose one with"),
    (MINE.replace("aim: float", "aim"), "mine.py, line 5: TypeError: aim is not part"),
    (MINE.replace("aim", "rows"), "--rows is a flag of every run; give the setting another name"),
    (MINE.replace("self.aim", "self.aims"), "mine.py, line 11: AttributeError"),
    (HEAD + "class Mine(Objective):\n    lr = 1e-4", "Mine has no `loss"),
    *((MINE.replace("(self.beta * self.aim - (i_w - i_l)).relu() ** 2", result),
       "mine.py: each must return a loss for each pair, a tensor of shape (8,)")
      for result in ("(i_w[:, None] - i_l)", "None", "(i_w - i_l).mean()", "(i_l - i_w, 3)")),
    (ranged("beta: Annotated[float, '>0'] = 1"), "beta: '>0' is no range"),
    *((MINE.replace("lr = 1e-4", fact), why) for fact, why in (
        ("data = ['pairs']", "one of demos, pairs, labels, scores, prompts"),
        ("data = 'pair'", "one of demos, pairs, labels, scores, prompts"),
        ("data = 'demos + pairs'", "need your own `choose`"),
        ("scorer = 'graed'", "scorer = 'graed': it must be one of any, grade, none"),
        ("demo = 'all'", "demo = 'all': it must be one of own, any"),
        ("lr = '1'", "number above 0"), ("lr = 0", "number above 0"), ("lr = 1e999", "above 0"))),
    *((f"{HEAD}class Mine(Pairs):\n    {body}\n", why) for body, why in (   # else without a word
        ("beta = 0.5", ": is a setting of Pairs, and lacks its type: `beta: float = "),
        ("refrence = 2", "refrence is not part of an objective; did you mean reference?"),
        ("weight: float", "weight: a setting needs a default"),
        ("def loss(self, batch, hp): ...", "(self, batch, hp): it must be loss(self, batch)"),
        ("def check(): ...", "check(): it must be check("),
        ("def losss(self, batch): ...", "objective; did you mean loss?"))),
    *((f"{LOSS}x = batch.seqs['answer'].logp\n        return {out}", why) for out, why in (
        ("x.sum()", "loss must return a real number"),
        ("x.sum() * 1j, {}", "loss must return a real number"),
        ("x.detach().sum(), {}", "depends on the log-p"),
        ("x.sum(1), {}", "of metrics, not (tensor(["),
        ("x.sum(), {'lr': 9.0}", "name 'lr' is reserved"),
        ("x.sum(), {'now': 'good'}", "shape (), not good"),
        ("x.sum(), {'nats': x}", "'nats' must be a number or a tensor of shape (), not tensor("))),
    (LOSS + "import torch\n        torch.set_grad_enabled(False)\n        "
     "return batch.seqs['answer'].logp.sum(), {}", "depends on the log-probs"),
    (LOSS + "return self._part(batch)\n    def _part(self, batch):\n        return batch.all, {}",
     "mine.py, line 9: AttributeError"),                # where it fails, not who called
    *((ON_POLICY + end, why) for end, why in (
        ("return batch, {'all': batch.per_row['reward']}", "the metric 'all'"),
        ("batch.per_row['a'] = batch.per_row['reward'][:, None]\n        return batch, {}",
         "per_row['a'] must have shape ("),
        ("return batch", "credit must return a batch and a dictionary"),
        ("return batch, {'kl_exact': 1.0}", "name 'kl_exact' is reserved")))]]
MISTAKES += [   # a number declared anew keeps its range; a `check` without super loses none
    (ranged("beta: float = 0.2"), "--beta 0", "--beta 0.0: must be above 0"),
    (ranged("beta: float | None = None"), "--beta -1", "--beta -1.0: must be above 0"),
    (ranged("def check(self): pass"), "--beta 0", "--beta 0.0: must be above 0"),
    (ranged("beta: AnyNumber = 0.2"), "--beta -1 --aim 2",
     "--aim 2.0: must be at least 0 and at most 1")]


@pytest.mark.parametrize("text, flags, why", MISTAKES, ids=range(len(MISTAKES)))
def test_a_mistake_in_your_file_is_one_line_with_its_place(text, flags, why, here, capsys):
    (here / "mine.py").write_text(text)
    assert command(train.main, shlex.split(RUN.replace("--aim 2", flags) + "out")) == 2
    told = one_error(capsys)
    assert why in told and (flags or told.startswith("error: --objective mine.py"))


@pytest.mark.parametrize("encoding, head, why", [
    ("utf-16", "", "mine.py: is UTF-16"), ("cp1252", "", "Windows-1252"),
    ("cp1252", "# coding: cp1252\n", ""), ("utf-8-sig", "", "")])
def test_a_file_of_an_editor_of_windows_is_read_or_its_encoding_is_named(encoding, head, why, here,
                                                                          capsys):
    """As an objective, and as a reward."""
    text = MINE + "def ü(completions):\n    return [1.0 for _ in completions]\n"
    (here / "mine.py").write_bytes((head + text).replace("nats", "für").encode(encoding))
    sampled = "--objective rloo --init start --rows 4 --batch-size 2 --steps 1 --plain --reward "
    for run, line in (("a", RUN), ("b", sampled + "mine.py:ü --max-new 4 --device cpu --out ")):
        assert command(train.main, [*line.split(), run]) == (2 if why else 0)
        assert not why or why in one_error(capsys)


def first_step(objective: Objective, form: Form, capsys) -> tuple:
    """(the loss, is it said that halves of a step learn something else)"""
    batch = batch_of(form)
    objective.forward(nano(3), batch)
    loss, _ = objective.loss(batch)
    return loss.item(), "over two half batches" in capsys.readouterr().out


@pytest.mark.parametrize("form", FORMS, ids=str)
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
def test_a_loss_that_micro_batches_would_change_is_told(form, told, loss, here, capsys):
    """Such as a mean over the rows at hand, over padding too, or a statistic of the batch."""
    text = (LOSS if form == "sft" else ON_POLICY.partition("return")[0]) + STEP
    (here / "mine.py").write_text(f"{text}\n        return {loss}, {{}}")
    assert first_step(find("mine.py")(), Form(form), capsys)[1] == told


@pytest.mark.parametrize("thing", [
    "open('losses.txt', 'a')", "(x for x in 'ab')", "__import__('threading').Lock()", "None"])
def test_a_loss_of_your_own_may_hold_what_cannot_be_copied(thing, here, capsys):
    """Then it trains without that look."""
    (here / "mine.py").write_text(LOSS + "return -batch.seqs['answer'].logp.mean(), {}")
    objective = find("mine.py")()
    objective._thing = eval(thing)
    assert first_step(objective, Form("sft"), capsys)[1] == (thing == "None")


def test_a_metric_that_still_has_its_gradient_is_told_once(here, capsys):
    """The log keeps metrics until it is written, and each would keep the graph of its step."""
    for metric, times in (("x", 1), ("x.detach()", 0), ("x.item()", 0)):
        (here / "mine.py").write_text(LOSS + "x = batch.seqs['answer'].logp.sum() / batch.n\n"
                                      f"        return -x, {{'mine': {metric}}}")
        assert command(train.main, [*RUN.replace(" --aim 2", "").split(), metric]) == 0
        told = capsys.readouterr().out
        assert told.count("the metric 'mine' keeps the gradient's whole graph") == times, told


def test_a_metric_that_is_not_finite_is_null_and_ends_no_run(here, capsys):
    """As a mean over the long rows of a step without one. A gradient ends it."""
    line = [*RUN.replace(" --aim 2", "").split(), "out"]
    (here / "mine.py").write_text(
        LOSS + "odd = float('nan') if batch.seed % 2 else 1\n"
        "        return -batch.seqs['answer'].logp.sum() / batch.n, {'odd': odd}")
    assert command(train.main, line) == 0
    assert [x["odd"] for x in read_lines(here / "out/metrics.jsonl")] == [1, None, 1, None]
    assert capsys.readouterr().out.count("odd is nan at step 2") == 1
    (here / "mine.py").write_text(LOSS + "x = batch.seqs['answer'].logp.sum()\n"
                                  "        return (x - x.detach()).abs().sqrt(), {}")
    assert command(train.main, [*line[:-1], "other"]) == 2
    assert "the run diverged: grad_norm is nan at step 1; lower --lr" in one_error(capsys)


def test_the_names_of_metrics_that_are_refused_are_those_that_a_run_logs(here):
    """Others would overwrite them, or be overwritten, in silence."""
    (here / "mine.py").write_text(ON_POLICY + "return batch, {}")
    run = "--init start --rows 32 --batch-size 8 --steps 1 --threads 1 --device cpu --items 0 --out"
    for line, names in (("--objective mine.py --max-new 4", OF_RUN | OF_SAMPLES),
                        ("--objective sft --eval-every 1", OF_RUN | {"nll"})):
        out = here / str(len(names))
        assert command(train.main, shlex.split(f"{line} {run} {out}")) == 0
        logged = {name for x in read_lines(out / "metrics.jsonl") for name in x}
        assert logged <= names and (OF_SAMPLES - {"ties"}).isdisjoint(names - logged), \
            "ties needs several answers to a prompt"


def test_wherever_an_objective_is_named_it_may_be_a_file(here):
    assert find("mine.py:Mine")(aim=3.0).aim == 3.0 and find("dpo") is OBJECTIVES["dpo"]
    (text, objective), = parse_methods(["mine.py --aim 3"])
    assert (text, objective.aim, str(objective)) == ("mine.py --aim 3", 3.0, "mine")
    (here / "my ä.py").write_text(MINE)
    assert [str(x) for _, x in parse_methods(["my ä.py", "'my ä.py' --aim 3"])] == ["my ä"] * 2
    with pytest.raises(UserError, match="mine.py:Nine: expected one Objective subclass"):
        find("mine.py:Nine")


def test_from_python_a_method_of_your_own_is_a_plain_import(monkeypatch):
    """It chooses its rows, although nothing of the registry is imported."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "nanouft"]:
        monkeypatch.delitem(sys.modules, name)
    anew = import_module("nanouft.objective")
    rows, _ = import_module("nanouft.data.rows").read_dataset([{"prompt": "Hi", "response": "Ho"}])
    mine = type("Mine", (anew.Objective,), {"data": "demos"})
    assert [*mine().choose(rows)[0].roles] == ["answer"]
    assert anew.Objective is not Objective and "nanouft.objectives.dpo" not in sys.modules
