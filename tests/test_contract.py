"""What an objective is: settings, facts and methods of one class; and an objective of your own."""
import json
import shlex
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from made import FORMS, Form, killed_in_step, nano, one_error, push, start_folder, with_logps

from nanouft import ledger, train
from nanouft.disk import write_json
from nanouft.errors import UserError, command
from nanouft.models.folders import start_model
from nanouft.objective import Objective
from nanouft.objectives import NAMES, OBJECTIVES
from nanouft.objectives.dpo import Pairs
from nanouft.objectives.own import find
from nanouft.run.settings import read_flags

FILES = Path(train.__file__).parent / "objectives"
HEAD = "from nanouft.objective import Objective\nfrom nanouft.objectives.dpo import Pairs\n\n\n"
MINE = HEAD + '''class Mine(Pairs):
    lr = 1e-4
    aim: float = 1.0            # nats

    def each(self, r_w, r_l, batch):
        return (self.beta * self.aim - (r_w - r_l)).relu() ** 2
'''
RUN = ("--objective mine.py --aim 2 --init start --rows 32 --batch-size 8 --steps 4 --plain "
       "--save-every 2 --threads 1 --device cpu --out ")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with mine.py and a start model."""
    start_folder(tmp_path / "start")
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


# ---- the contract --------------------------------------------------------------------------------
def test_there_is_no_family_tree():
    """One level below Objective; Pairs is the only base between, and no file has two methods."""
    for name, cls in OBJECTIVES.items():
        assert cls.__bases__[0] in (Objective, Pairs) and cls.__module__.endswith(f".{name}")
        assert (cls.__base__ is Pairs) <= ("loss" not in vars(cls))
    assert {f.stem for f in FILES.glob("*.py")} == {*NAMES, "__init__", "on_policy", "own"}


@pytest.mark.parametrize("body, why", [
    ("beta = 0.5", "beta = 0.5: a setting needs a type, `beta: float = 0.5`"),
    ("refrence = 2", "a setting needs a type, `refrence: int = 2`; did you mean reference?"),
    ("lr: float = 1e-3", "lr is a word of the contract: write `lr = ...` without a type"),
    ("reward: str = 'x'", "reward is a word of the contract"),
    ("weight: float", "weight: a setting needs a default"),
    ("def losss(self, batch): ...", "losss is no method of an objective; did you mean loss?"),
    ("@property\n    def size(self): ...", "size is no method of an objective")])
def test_what_would_pass_without_a_word_is_refused(body, why):
    with pytest.raises(TypeError) as found:
        exec(f"{HEAD}class Mine(Pairs):\n    {body}", {"__name__": "mine"})
    assert why in str(found.value) and "\n" not in str(found.value)


def changed(form: Form, change) -> bool:
    """Does `change(batch)`, before credit, move the loss or what it pushes?"""
    found = []
    for edit in (lambda batch: None, change):
        batch = with_logps(form)
        edit(batch)
        if form.objective.on_policy and "answer" in batch.seqs:
            batch, _ = form.objective.credit(batch)
        found.append(push(form, batch))
    (loss, grads), (other, others) = found
    return not torch.equal(loss, other) or any((grads[role] != others[role]).any()
                                               for role in grads)


@pytest.mark.parametrize("form", [f for f in FORMS if f.told == ""], ids=str)
def test_what_an_objective_says_that_it_reads_is_what_its_loss_reads(form):
    """reference, data, scorer and coupled, by changing each number. (The reference of distillation
    is its teacher.)"""
    def column(name: str):
        def change(batch) -> None:
            if name in batch.per_row:
                batch.per_row[name] = 0.9 - 0.7 * batch.per_row[name]
        return change

    def reference(batch) -> None:
        for s in batch.seqs.values():
            if s.ref_logp is not None:
                s.ref_logp = 1.5 * s.ref_logp - 0.3

    def pushes(scale: float) -> torch.Tensor:
        """Of the first rows, where the others have `scale` times their log-probs."""
        batch = with_logps(form)
        for s in batch.seqs.values():
            s.logp[2:] *= scale
        return torch.cat([g[:2].flatten() for g in push(form, batch)[1].values()])
    o = form.objective
    assert changed(form, reference) == (o.reference or form.name == "distill")
    assert changed(form, column("score")) == ("scores" in o.kinds())
    assert changed(form, column("label")) == ("labels" in o.kinds())
    if form.name != "online_dpo":                       # its pairs are made from the rewards before
        assert changed(form, column("reward")) == (o.on_policy and o.scorer != "none")
    assert o.coupled == any((pushes(1) != pushes(x)).any() for x in (0.1, 3))


def test_a_subclass_has_the_settings_of_its_base_and_its_own():
    class Mine(Pairs):
        lr = 1e-4
        aim: float = 1.0

        def _helper(self): ...

    assert asdict(Mine(aim=2.0)) == {"beta": 0.1, "aim": 2.0}
    assert (Mine.lr, Mine.data, Mine().kinds()) == (1e-4, "pairs", ["pairs"])
    assert replace(Mine(), beta=0.7) == Mine(beta=0.7) != Mine()


# ---- half fine-tuning ----------------------------------------------------------------------------
def frozen(model) -> list[str]:
    return [name for name, p in model.named_parameters() if not p.requires_grad]


def test_hft_freezes_half_of_the_matrices_of_each_layer_by_the_seed():
    drawn = []
    for seed in (0, 0, 1):
        model = nano()
        OBJECTIVES["hft"]().setup(model, seed)
        drawn.append(frozen(model))
    assert drawn[0] == drawn[1] != drawn[2]
    for layer in ("h.0.", "h.1."):
        names = [name for name in drawn[0] if name.startswith(layer)]
        assert len(names) == 2 and all(nano().get_parameter(name).dim() == 2 for name in names)
    assert len(drawn[0]) == 4, "embeddings, biases and norms learn"


def test_hft_keeps_its_half_bit_for_bit(here):
    """And no more when it is resumed (test_one_run.py)."""
    train.main(shlex.split(RUN.replace("mine.py --aim 2", "hft")) + ["whole", "--seed", "5"])
    (before, _), (whole, _) = map(start_model, ("start", "whole"))
    half = start_model("start")[0]
    OBJECTIVES["hft"]().setup(half, 5)
    for name, p in whole.named_parameters():
        assert torch.equal(p, before.get_parameter(name)) == (name in frozen(half)), name


def test_hft_with_lora_is_refused():
    model = nano()
    model.h.requires_grad_(False)
    with pytest.raises(UserError, match="LoRA has frozen all"):
        OBJECTIVES["hft"]().setup(model, 0)


# ---- an objective of your own --------------------------------------------------------------------
def test_a_file_of_your_own_is_trained_and_resumed_as_any_other(here):
    train.main(shlex.split(RUN + "whole"))
    with killed_in_step(3), pytest.raises(KeyboardInterrupt):
        train.main(shlex.split(RUN + "broken"))
    train.main(shlex.split("--resume broken --objective mine.py"))
    files = [(here / name / "model.safetensors").read_bytes() for name in ("whole", "broken")]
    assert files[0] == files[1]
    about = json.loads((here / "whole" / "run.json").read_text())
    assert (about["objective"], about["hp"]) == ("mine", {"beta": 0.1, "aim": 2.0})
    assert len(about["code"]) == 16


def test_an_unnamed_or_changed_file_is_not_run_again(here, capsys):
    with killed_in_step(3), pytest.raises(KeyboardInterrupt):
        train.main(shlex.split(RUN + "broken"))
    (here / "mine.py").write_text(MINE + "open('it was run', 'w')\n")
    for line, why in (("--resume broken", "add --objective mine.py"),
                      ("--resume broken --objective sft", "add --objective mine.py")):
        with pytest.raises(UserError, match=why):
            train.main(line.split())
    assert not (here / "it was run").exists()
    with pytest.raises(UserError, match="mine.py has changed since that run began"):
        train.main("--resume broken --objective mine.py".split())


LOSS = HEAD + "class Mine(Objective):\n    def loss(self, batch):\n        "


@pytest.mark.parametrize("text, why", [
    ("x = ", "mine.py, line 1: SyntaxError"), ("import nowhere", "mine.py, line 1: ModuleNotFound"),
    ("\nexit()", "mine.py, line 2: SystemExit"), ("", "it has none; mine.py:NAME says which"),
    (MINE + MINE[len(HEAD):].replace("Mine", "Other"), "it has Mine, Other; mine.py:NAME says"),
    (MINE.replace("aim: float", "aim"), "mine.py, line 5: TypeError: aim = 1.0: a setting needs"),
    (MINE.replace("aim", "rows"), "--rows is a flag of every run; give the setting another name"),
    (MINE.replace("lr = ", "data ="), "data = 0.0001"), (MINE.replace("lr = 1e-4", "data = 'pair'"),
     "there is no 'pair'; known: demos, pairs, labels, scores, prompts"),
    (MINE.replace("lr = 1e-4", "data = 'demos + pairs'"), "it needs its own `choose`"),
    (MINE.replace("self.aim", "self.aims"), "mine.py, line 10: AttributeError"),
    (LOSS + "return batch.seqs['answer'].logp.sum()", "loss must return a number"),
    (LOSS + "return batch.seqs['answer'].logp.detach().sum(), {}", "does not depend on the log-p"),
    (LOSS + "return batch.seqs['chosen'].logp.sum(), {}", "mine.py, line 7: KeyError: 'chosen'"),
    (LOSS.replace("batch)", "batch, hp)") + "return 0", "it must be loss(self, batch)"),
    (MINE.replace("1e-4", "'1e-4'"), "it must be int or float"),
    (MINE.replace("lr = 1e-4", "scorer = 'graed'"), "it must be any or grade or none"),
    (HEAD + "class Mine(Objective):\n    lr = 1e-4", "Mine has no `loss")])
def test_a_mistake_in_your_file_is_one_line_with_its_place(text, why, here, capsys):
    (here / "mine.py").write_text(text)
    line = shlex.split(RUN.replace(" --aim 2", "") + "out")
    assert command(train.main, line) == 2
    told = one_error(capsys)
    assert told.startswith("error: --objective mine.py") and why in told


def test_wherever_an_objective_is_named_it_may_be_a_file(here):
    assert find("mine.py")(aim=3.0).aim == find("mine.py:Mine")(aim=3.0).aim == 3.0
    (text, objective), = ledger.views(["mine.py --aim 3"])
    assert (text, objective.aim, objective.name, str(objective)) == (
        "mine.py --aim 3", 3.0, "mine", "mine")
    with pytest.raises(UserError, match="--objective mine.py:Nine: one subclass of Objective is"):
        find("mine.py:Nine")
    with pytest.raises(UserError, match="nine.py: cannot be read"):
        find("nine.py")
    assert find("dpo") is OBJECTIVES["dpo"]


def test_a_run_goes_on_with_its_own_objective_alone(tmp_path):
    """--resume with another name would otherwise go on with the old one, unnoticed."""
    begun = ["--objective", "sft", "--rows", "8", "--steps", "2", "--batch-size", "4", "--plain"]
    write_json(tmp_path / "run.json", {"argv": begun})
    with pytest.raises(UserError, match="that run trains with sft, not with dpo"):
        read_flags(["--resume", str(tmp_path), "--objective", "dpo"])
    assert str(read_flags(["--resume", str(tmp_path), "--objective", "sft"])[0]) == "sft"
