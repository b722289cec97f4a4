"""What an installation without this checkout has: the source archive, the wheel, and messages that
name nothing else."""
import ast
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib import import_module
from pathlib import Path

import pytest

from nanouft.__main__ import COMMANDS
from nanouft.objectives import OBJECTIVES
from nanouft.run.flags import comments

ROOT = Path(__file__).parents[2]
BUILD = """
from setuptools.build_meta import build_sdist, build_wheel
print({}({!r}))"""
# what only a checkout has: its pages, its lessons, its extras
OF_THE_CHECKOUT = re.compile(r"docs/\w+\.md|README|CONTRIBUTING|lessons[/.]\w|install.* -e ")


def build(what: str, source: Path, into: Path) -> Path:
    """Call this function of the build backend in `source`; returns the file that it writes."""
    done = subprocess.run([sys.executable, "-c", BUILD.format(what, str(into))], cwd=source,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return into / done.stdout.split()[-1]


def test_the_source_archive_has_every_file_and_makes_the_wheel(tmp_path):
    pytest.importorskip("setuptools", minversion="77")
    if not (ROOT / ".git").exists() or not shutil.which("git"):
        pytest.skip("no checkout of git")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True,
                            check=True).stdout.split("\0")
    files = {name for name in listed if (ROOT / name).is_file() and not name.startswith(".")}
    for name in files:
        (tmp_path / "copy" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / "copy" / name)
    sdist = build("build_sdist", tmp_path / "copy", tmp_path)
    with tarfile.open(sdist) as archive:
        top = archive.getnames()[0].split("/")[0]
        packed = {name.removeprefix(f"{top}/") for name in archive.getnames()}
        archive.extractall(tmp_path, filter="data")
    assert not files - packed

    with zipfile.ZipFile(build("build_wheel", tmp_path / top, tmp_path)) as wheel:
        installed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert installed == {name for name in files if name.startswith(("nanouft/", "frozen_lake/"))}


def messages(tree: ast.AST) -> list[str]:
    """The strings of a file that are no docstrings."""
    docstrings = [node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)]
    return [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)
            and isinstance(node.value, str) and node not in docstrings]


def asked(tree: ast.AST) -> list[str]:
    """The files that are named only where they lie: by `if_in_checkout`."""
    return [node.args[0].value for node in ast.walk(tree) if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name) and node.func.id == "if_in_checkout"]


def test_every_message_and_the_help_of_every_method_send_to_nothing_of_the_checkout():
    found = [x for one in OBJECTIVES.values() for x in comments(one).values()
             if OF_THE_CHECKOUT.search(x)]
    for file in [*(ROOT / "nanouft").rglob("*.py"), *(ROOT / "frozen_lake").rglob("*.py")]:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        assert all((ROOT / name).is_file() for name in asked(tree)), file
        found += [(file.name, text) for text in messages(tree)
                  if OF_THE_CHECKOUT.search(text) and text not in asked(tree)
                  and text != "README.md"]              # the model card of a run folder
    assert not found


@pytest.mark.parametrize("module", COMMANDS)
def test_no_help_sends_to_what_only_a_checkout_has(module, capsys):
    if module in ("nanouft.compare", "nanouft.data", "nanouft.playground", "frozen_lake"):
        module += ".__main__"
    with pytest.raises(SystemExit):
        import_module(module).main(["--help", *(["all"] if module == "nanouft.train" else [])])
    told = capsys.readouterr().out
    assert "--" in told and not OF_THE_CHECKOUT.search(told)
