"""A method more is added as CONTRIBUTING.md says, in a copy of the checkout."""
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from made import HELD

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


@pytest.mark.slow
def test_a_file_a_row_and_a_command_add_a_method_and_a_wrong_one_is_refused(tmp_path):
    """The command says what the row is to have, and where the gradient is not that of the equation.
    Once both are mended, it has changed nothing but what is recorded, by lines of the method."""
    there = tmp_path / "nanouft"
    unread = shutil.ignore_patterns(".*", "out", "__pycache__", "*.egg-info", "build", "dist", "my")
    shutil.copytree(ROOT, there, ignore=unread)
    method = there / "nanouft" / "objectives" / "focal_dpo.py"
    steps = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Add a method\n")[2]
    line, = re.findall(r"```bash\n *python (.*NAME.*)\n", steps)

    def recorded(text: str) -> subprocess.CompletedProcess:
        method.write_text(text, encoding="utf-8")
        return subprocess.run([sys.executable, *shlex.split(line.replace("NAME", "focal_dpo"))],
                              cwd=there, capture_output=True, text=True,
                              env=os.environ | {"PYTHONPATH": str(there)})

    def texts() -> dict[str, list[str]]:
        return {file.relative_to(there).as_posix(): file.read_text("utf-8").splitlines()
                for kind in ("md", "py", "txt", "json") for file in there.rglob(f"*.{kind}")
                if ".pytest_cache" not in file.parts}
    before, done = texts(), recorded(METHOD.replace(".detach()", ""))
    cell, = re.findall(r"^E .*focal_dpo: the cell behind it is (`.*`)$", done.stdout, re.M)
    assert done.returncode == 1 and "off by" in done.stdout and HELD[True] in done.stdout
    page, readme = there / "docs" / "methods.md", there / "README.md"
    row = f"| [`focal_dpo`](../nanouft/objectives/focal_dpo.py) | {cell} | Less. | pairs |"
    page.write_text(re.sub(r"(?=\| \[`gdpo`)", lambda _: f"{row}\n", page.read_text("utf-8")),
                    encoding="utf-8")
    count = len(OBJECTIVES)
    readme.write_text(readme.read_text("utf-8").replace(f"**{count} ways", f"**{count + 1} ways"),
                      encoding="utf-8")
    done = recorded(METHOD)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    mine = {"README.md", "docs/methods.md", "nanouft/objectives/focal_dpo.py"}
    changed = {name: lines for name, lines in texts().items() if before.get(name) != lines}
    assert changed.keys() == mine | {f"tests/recorded/{x}.txt" for x in
                                     ("settings", "figures", "rows")}
    for name in changed.keys() - mine:
        assert changed[name][:len(before[name]) + 1] == [*before[name], "$ focal_dpo"]
