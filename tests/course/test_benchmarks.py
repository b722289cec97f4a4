"""tests.bench: both programs read the same rows, and their times are compared."""
import json
import os
import re
from pathlib import Path

import pytest

from nanouft import train
from nanouft.device import Device
from tests.bench import __main__, beside_trl
from tests.bench.beside_trl import Subject

CPU = Device("cpu", "bf16")


def test_the_ratio_is_of_all_steps_together_on_the_same_rows_in_their_order(monkeypatch):
    """A median of steps had paired our short step with TRL's mixed one. The first one warms up."""
    subject, seconds = Subject("base", rows=4, turns=2), iter([0, 10, 11, 14, 15, 17, 21])
    monkeypatch.setattr(beside_trl, "steps", lambda model, objective, source, *_, **how: source)
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


def test_the_notebook_for_a_gpu_runs_programs_with_flags_that_they_have(capsys):
    """Three cells, which may run again: nothing in them depends on the folder they start in."""
    file = Path(__file__).parents[1] / "bench" / "one_gpu.ipynb"
    cells = ["".join(x["source"]) for x in json.loads(file.read_text())["cells"]
             if x["cell_type"] == "code"]
    commands = re.findall(r"^!{python} -m (nanouft\S+|tests\S+) (.*)$", "\n".join(cells), re.M)
    assert len(cells) == 3 and len(commands) == 3 and "%cd" not in "".join(cells)
    for module, words in commands:
        program = __main__ if module == "tests.bench" else train
        with pytest.raises(SystemExit):
            program.main(["--help", "all"] if program is train else ["--help"])
        told = capsys.readouterr().out
        assert {*re.findall(r"--[a-z-]+", words)} <= {*re.findall(r"--[a-z-]+", told)}
