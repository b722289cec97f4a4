"""The release: its version, what is in the source archive, and the wheel that it makes."""
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from nanouft import __version__

ROOT = Path(__file__).parents[2]
BUILD = """
from setuptools.build_meta import build_sdist, build_wheel
print({}({!r}))"""


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


def test_a_citation_has_the_version_its_day_and_the_address_of_the_project():
    """The day that CHANGELOG.md gives; the address of pyproject, which README's `git clone`
    repeats, or none, as long as the project has none."""
    def found(pattern: str, name: str) -> list:
        return re.findall(pattern, (ROOT / name).read_text(encoding="utf-8"), re.M)
    (version, day), *_ = found(r"^## ([\w.]+) \((\d{4}-\d\d-\d\d)\)$", "CHANGELOG.md")
    assert dict(found(r"^(version|date-released): (\S+)$", "CITATION.cff")) == {
        "version": version, "date-released": day}
    assert version == __version__
    assert (found(r"^repository-code: (\S+)$", "CITATION.cff")
            == found(r'^Repository = "(.+)"$', "pyproject.toml")
            == found(r"git clone (\S+)", "README.md"))
