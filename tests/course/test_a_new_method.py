"""A method more is added as CONTRIBUTING.md says, in a copy of the checkout."""
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nanouft.objectives import OBJECTIVES

ROOT = Path(__file__).parents[2]
METHOD = '''"""Focal DPO: DPO whose pairs weigh less the more surely they are won already.

    python -m nanouft.train --objective focal_dpo
    After the focal loss of Lin et al. 2017, arXiv:1708.02002

From dpo.py `each` differs: a constant weight falls from 1 to 0 as the pair is won.
    L = -sg((1 - q)^focus) log q
    q = sigmoid(beta (r_w - r_l))
At focus 0 this is DPO. Left out: the weight's own gradient, which the focal loss has.
"""
import torch
import torch.nn.functional as F

from nanouft.objective import AtLeast0
from nanouft.objectives.dpo import Pairs


class FocalDPO(Pairs):
    focus: AtLeast0 = 2.0           # how fast a pair that is won loses its weight; 0 is DPO

    def each(self, i_w, i_l, batch):
        h = i_w - i_l
        lost = torch.sigmoid(-h).detach()
        return -lost ** self.focus * F.logsigmoid(h)
'''


def texts(folder: Path) -> dict[str, str]:
    """{file: its text} of all that the command may write."""
    return {file.relative_to(folder).as_posix(): file.read_text(encoding="utf-8")
            for kind in ("md", "py", "json") for file in folder.rglob(f"*.{kind}")}


@pytest.mark.slow
def test_a_file_a_row_and_a_command_add_a_method_and_every_test_is_green(tmp_path):
    """The command says what the row is to have, and then names the file that it has changed."""
    there = tmp_path / "nanouft"
    unread = shutil.ignore_patterns(".*", "out", "__pycache__", "*.egg-info", "build", "dist", "my")
    shutil.copytree(ROOT, there, ignore=unread)
    (there / "nanouft" / "objectives" / "focal_dpo.py").write_text(METHOD, encoding="utf-8")
    steps = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Add a method\n")[2]
    line, = re.findall(r"```bash\n *python (.*NAME)\n", steps)

    def recorded() -> subprocess.CompletedProcess:
        words = line.replace("NAME", "focal_dpo").split()
        return subprocess.run([sys.executable, *words], cwd=there, capture_output=True, text=True,
                              env=os.environ | {"PYTHONPATH": str(there)})
    done = recorded()
    cell, = re.findall(r"^E .*focal_dpo: the cell behind it is (`.*`)$", done.stdout, re.M)
    assert done.returncode == 1
    page, readme = there / "docs" / "methods.md", there / "README.md"
    row = f"| [`focal_dpo`](../nanouft/objectives/focal_dpo.py) | {cell} | Less. | pairs |"
    page.write_text(re.sub(r"(?=\| \[`gdpo`)", lambda _: f"{row}\n", page.read_text("utf-8")),
                    encoding="utf-8")
    count = len(OBJECTIVES)
    readme.write_text(readme.read_text("utf-8").replace(f"**{count} ways", f"**{count + 1} ways"),
                      encoding="utf-8")
    before, done = texts(there), recorded()
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    after = texts(there)
    assert [name for name, text in before.items() if after[name] != text] == ["tests/values.json"]
    assert {*re.findall(r"[\w/]+\.\w+", done.stdout)} == {"tests/values.json"}
    old, new = (text["tests/values.json"].splitlines() for text in (before, after))
    assert [line for line in new if "focal_dpo" not in line] == old
    assert sum("focal_dpo" in line for line in new) == 3        # its defaults, ranges and figures
