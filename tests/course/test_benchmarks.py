"""tests.bench: each line of --gpu, tried without a GPU, says ok, and LOOK where numbers are not
the CPU's; and README has the figures of the page of benchmarks."""
import json
import os
import re
from functools import partial
from pathlib import Path

import pytest
import torch
from made import NANO, tiny

from nanouft import train
from nanouft.batch import Batch
from nanouft.gpt import MLP
from nanouft.loop import Device
from nanouft.objectives import OBJECTIVES
from tests.bench import __main__, beside_trl, first_hour
from tests.bench import gpu_against_cpu as gpu
from tests.bench.beside_trl import Subject

CPU = Device("cpu", "bf16")
ROOT = Path(__file__).parents[2]


def small():
    return tiny(vocab_size=NANO.n_vocab, n_layer=1), NANO


@pytest.mark.parametrize("name", gpu.TRIED)
def test_every_method_is_as_on_the_cpu(name):
    fine, told = gpu.same_as_cpu(name, CPU, small, rows=8)
    assert fine and "off by 0e+00 in fp32" in told, told


def test_steps_that_are_compared_have_a_gradient():
    """Once the answers of a model without NanoWorld's skills all scored 0, and GRPO was compared
    where its gradient is 0: a LOOK on an H100, and on a CPU if weights change by a millionth."""
    batches = gpu.batches_of("grpo", small, 3, 8)
    assert (gpu.learner("grpo", CPU, batches, small)[1](3)[:, 1] > 0.1).all()


def test_no_figure_in_fp32_is_made_in_tf32(monkeypatch):
    """On a card the choice of bf16 also chooses TF32, and that of fp32 ends it."""
    chosen, made = ["bf16"], []
    monkeypatch.setattr(gpu, "choose_device", lambda *it: chosen.append(it[1]) or Device(*it))
    monkeypatch.setattr(gpu, "learner", lambda name, device, *told: (
        made.append((device.dtype, chosen[-1])), lambda k: torch.zeros(k, 2)))
    for check in (gpu.accumulate, partial(gpu.same_as_cpu, "sft")):
        check(CPU, small)
    assert made == 4 * [("fp32", "fp32")] + [("bf16", "bf16")]


def broken(self, x, old=MLP.forward):
    torch._dynamo.graph_break()
    return old(self, x)


def off_in_bf16(name, device, *more, old=gpu.learner):
    model, go = old(name, device, *more)
    return model, lambda k: go(k) * (1.2 if device.dtype == "bf16" else 1)


@pytest.mark.parametrize("check, owner, name, fault", [
    (lambda: gpu.same_as_cpu("sft", CPU, small, rows=4), gpu, "choose_device",
     lambda where, dtype: Device(where, "bf16")),                       # its fp32 is none
    (lambda: gpu.same_as_cpu("sft", CPU, small, rows=4), gpu, "learner", off_in_bf16),
    (lambda: gpu.scaler(CPU, small), torch.amp.GradScaler, "step",      # an overflow is learnt from
     lambda self, optimizer: optimizer.step()),
    (lambda: gpu.accumulate(CPU, small), Batch, "micro_batches",        # one is left out
     lambda self, old=Batch.micro_batches: old(self)[:3]),
    (lambda: gpu.resume(Device(), half=2), train.checkpoint, "load_step",       # it begins again,
     lambda *told: 0),                                                  # with the same losses
    pytest.param(lambda: gpu.compiled(Device(), small, "eager"), MLP, "forward", broken,
                 marks=pytest.mark.slow)],
    ids=["fp32", "bf16", "scaler", "accumulate", "resume", "compile"])
def test_a_check_is_ok_and_with_a_fault_it_is_a_look(check, owner, name, fault, monkeypatch):
    fine, told = check()
    assert fine, told
    monkeypatch.setattr(owner, name, fault)
    fine, told = check()
    assert not fine, told


def test_a_check_that_raises_ends_nothing(monkeypatch, capsys):
    """And a LOOK is seen in the exit code."""
    def no_compiler(*told):
        raise RuntimeError("Failed to find\na C compiler")
    for check in ("same_as_cpu", "accumulate", "scaler", "compiled"):
        monkeypatch.setattr(gpu, check, lambda *told, **more: (True, "as expected"))
    monkeypatch.setattr(gpu, "resume", no_compiler)
    assert gpu.main("cpu", "some/folder") == 1
    lines = capsys.readouterr().out.splitlines()
    look, = (line for line in lines if line.startswith("LOOK"))
    assert look.split() == "LOOK resume RuntimeError: Failed to find a C compiler".split()
    assert len(lines) == 1 + len(gpu.checks_of(CPU, "some/folder")) and "compile" in lines[-1]


def test_the_ratio_is_of_all_steps_together_on_the_same_rows_in_their_order(monkeypatch):
    """A median of steps had paired our short step with TRL's mixed one. The first one warms up."""
    subject, seconds = Subject("base", rows=4, turns=2), iter([0, 10, 11, 14, 15, 17, 21])
    monkeypatch.setattr(beside_trl, "steps", lambda model, objective, source, *_: source)
    source = beside_trl.our_steps("dpo", subject, CPU)
    assert [source.data[i].row.prompt for i in source.order.ravel()] == [
        row.prompt for row in subject.choose("pairs")] and source.order.shape == (3, 4)
    monkeypatch.setattr(beside_trl, "trl_steps", lambda *told: [told[-1]() for _ in range(3)])
    monkeypatch.setattr(beside_trl, "our_steps", lambda *_: iter(range(3)))
    monkeypatch.setattr(beside_trl.time, "process_time", lambda: next(seconds))
    assert beside_trl.against_trl("dpo", subject, "bf16").startswith("1.00 (")  # 3 + 2 over 1 + 4


def test_a_system_without_a_load_tells_its_cores(monkeypatch):
    """Such as Windows."""
    monkeypatch.setattr(__main__, "version", str)       # TRL need not be there
    assert re.search(r", load \d+ on \d+ cores", __main__.machine())
    monkeypatch.delattr(os, "getloadavg")
    assert re.search(r"one thread, \d+ cores", __main__.machine())


def test_the_first_hour_goes_on_and_its_file_becomes_tables(tmp_path, monkeypatch, capsys):
    """Its real commands, but two, only as far as their flags: one of these fails the first time."""
    from nanouft.compare.plan import parse_command
    from nanouft.run.config import read_flags
    lines = first_hour.lines_of("cuda", "hub:owner/name", 2)
    assert {*OBJECTIVES} <= {what.partition(",")[0] for what in lines}
    for line in lines.values():
        module, *words = line.split()
        if module == "nanouft.train":
            read_flags(words, "")
        elif module == "nanouft.compare":
            parse_command(words, "")
    right = [True, False]
    monkeypatch.setattr(first_hour, "lines_of", lambda *told: {
        "one": "nanouft.train --device cpu --objective sft --steps 1 --rows 8 --items 0 --plain",
        "two": "nanouft.data --help" if right[-1] else "nanouft.data --wrong"})
    file = str(tmp_path / "hour.json")
    words = ["--device", "cpu", "--out", file]
    assert first_hour.main(words) == 1
    right.pop()
    assert first_hour.main(words) == 0
    assert first_hour.main(["--show", file]) == 0
    said = capsys.readouterr().out
    assert said.count("ok    one") == 1 and "LOOK  two" in said
    assert re.search(r"\| one \| \d+ \| \d+ \|  \| [\d.]+, [\d.]+ \| ran \|", said), said


def test_the_notebook_of_the_first_hour_runs_its_script():
    book = json.loads((ROOT / "tests/bench/first_hour.ipynb").read_text(encoding="utf-8"))
    code = "".join(line for cell in book["cells"] if cell["cell_type"] == "code"
                   for line in cell["source"])
    assert f"!python -m {first_hour.__name__}" in code


def test_the_notebook_of_the_first_hour_runs_twice_in_one_kernel(tmp_path, monkeypatch):
    """As its third step asks after a break."""
    pytest.importorskip("IPython")
    from IPython.core.inputtransformer2 import TransformerManager
    book = json.loads((ROOT / "tests/bench/first_hour.ipynb").read_text(encoding="utf-8"))
    cell = TransformerManager().transform_cell("".join(book["cells"][1]["source"]))

    class Kernel:
        def system(self, line):
            if line.startswith("unzip"):
                Path("nanouft/tests/bench").mkdir(parents=True)
                Path("nanouft/nanouft").mkdir()
                Path("nanouft/tests/bench/first_hour.py").touch()

        def run_line_magic(self, name, words):
            if name == "cd":
                os.chdir(words)
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        exec(cell, {"get_ipython": Kernel})
        assert Path.cwd() == tmp_path / "nanouft"
