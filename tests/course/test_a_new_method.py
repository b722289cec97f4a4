"""A method more is added by the steps of CONTRIBUTING.md alone, in a copy of the checkout."""
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
METHOD = '''"""DiscoPOP: DPO's logistic loss, replaced by an exponential one where a pair is won.

    python -m nanouft.train --objective discopop
    Lu et al. 2024, arXiv:2406.08414 (the log-ratio modulated loss)

A language model proposed this loss, and it was kept because it did well. From dpo.py `each`
differs: the loss of a pair moves from a to e as the margin h grows.
    L = (1 - g) a + g e
    g = sigmoid(beta h / temperature)
    a = -log sigmoid(beta h)
    e = exp(-beta h)
    h = r_w - r_l
Trap: exp(-beta h) overflows for a pair that is lost by far, where g is 0, and 0 times infinity is
no number; so g e is computed as one exponential. Left out: nothing.
"""
import torch
import torch.nn.functional as F

from nanouft.objectives.dpo import Pairs


class DiscoPOP(Pairs):
    temperature: float = 0.05       # how sharply the margin moves the loss from one to the other

    def each(self, i_w, i_l, batch):
        h = i_w - i_l
        logistic = -F.logsigmoid(h)
        gate = torch.sigmoid(h / self.temperature)
        gated_exponential = torch.exp(F.logsigmoid(h / self.temperature) - h)
        return (1 - gate) * logistic + gated_exponential
'''
STEPS = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Add a method\n")[2]
STEPS = STEPS.partition("\n## ")[0]
# The copy is tested by the files that read all methods; no other can notice a method more.
TESTS = [file.relative_to(ROOT).as_posix() for file in sorted(ROOT.glob("tests/**/test_*.py"))
         if re.search("import.* (OBJECTIVES|FORMS)", file.read_text(encoding="utf-8"))]


def names_of_all_method_tests() -> list[str]:
    """Tests that go through all methods at once, so that `-k NAME` does not find them."""
    out = []
    for file in TESTS:
        _, *parts = (ROOT / file).read_text(encoding="utf-8").split("\ndef test_")
        for name, _, body in (part.partition("\n\n\n")[0].partition("(") for part in parts):
            if re.search(r"\b(OBJECTIVES|FORMS)\b(?!\[)", body):
                out.append(f"{file}::test_{name}")
    return out


def commands() -> list[list[str]]:
    """The commands of the steps, in their order and with the name of the method."""
    lines = "".join(re.findall(r"```bash\n(.*?)```", STEPS, re.S)).splitlines()
    return [["discopop" if word == "NAME" else word for word in shlex.split(line, comments=True)]
            for line in lines if line.strip()]


def insert(file: Path, more: str, before: str) -> None:
    """Write this before the one place in a file."""
    text = file.read_text(encoding="utf-8")
    assert text.count(before) == 1
    file.write_text(text.replace(before, more + before), encoding="utf-8")


@pytest.mark.slow
def test_the_steps_of_contributing_add_a_method_and_every_test_is_green(tmp_path):
    there = tmp_path / "nanouft"
    unread = shutil.ignore_patterns(".*", "out", "__pycache__", "*.egg-info", "build", "dist", "my")
    shutil.copytree(ROOT, there, ignore=unread)
    (there / "nanouft" / "objectives" / "discopop.py").write_text(METHOD, encoding="utf-8")
    registry = there / "nanouft" / "objectives" / "__init__.py"
    insert(registry, '    "discopop": "DiscoPOP",\n', before='    "reinforce": ')
    ranges = there / "tests" / "test_ranges.py"
    insert(ranges, "discopop ", before="dpo una uft poft kto")
    insert(ranges, "discopop ", before='rpo",\n    "mu >=0')
    before = (there / "tests" / "values.json").read_text(encoding="utf-8").splitlines()
    for line in [*commands(), ["python", "-m", "pytest", *names_of_all_method_tests()]]:
        assert line[0] == "python"
        if line[1:] == ["-m", "pytest", "-k", "discopop"]:
            line += TESTS
        if "tests/course/test_docs.py" in line:
            line += ["-k", "not runs"]    # one trains a model, of docs/python.md; ten run commands
        done = subprocess.run([sys.executable, *line[1:]], cwd=there, capture_output=True,
                              text=True, env=os.environ | {"PYTHONPATH": str(there)})
        assert done.returncode == 0, f"{shlex.join(line)}\n{done.stdout}\n{done.stderr}"
    after = (there / "tests" / "values.json").read_text(encoding="utf-8").splitlines()
    assert [line for line in after if "discopop" not in line] == before
    assert sum("discopop" in line for line in after) == 2
