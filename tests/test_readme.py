"""README and docs against the house: links, commands, files and numbers."""
import importlib.util
import re
from pathlib import Path

import pytest
from house import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCS = {f.name: f.read_text(encoding="utf-8") for f in sorted((ROOT / "docs").glob("*.md"))}
TEACHING = ROOT / "docs" / "teaching"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")),
         *sorted(TEACHING.glob("*.md"))]
PROSE = [*PAGES, *sorted((ROOT / "lessons").glob("*.py"))]


def anchors(page: Path) -> set[str]:
    """The #names of the headings of a page, as GitHub makes them."""
    heads = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda f: f.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!http)([^)]+)\)", page.read_text(encoding="utf-8")):
        path, _, anchor = target.partition("#")
        there = page.parent / path if path else page
        assert there.exists(), f"{page.name} links to {target}, which is not there"
        assert not anchor or anchor in anchors(there), \
            f"{page.name} links to {target}: no such heading"


def test_every_lesson_is_in_the_table():
    for file in sorted((ROOT / "lessons").glob("[0-9]*.py")):
        number, question = re.search(r"^# # (\w+) · (.*)$", file.read_text(encoding="utf-8"),
                                     re.M).groups()
        shown = re.search(rf"\[{number}\]\(docs/lessons/{number}.md\)\**\ \| (.*) \| (\d+) \|",
                          README)
        assert shown and shown[1] == question.replace("*", ""), f"README's row of lesson {number}"
        assert f"about {shown[2]} minutes" in " ".join(
            file.read_text(encoding="utf-8").replace("\n#", " ").split())


def test_the_four_answers_are_those_of_lesson_00():
    shown = README.split("```text\n")[1].split("```")[0]
    lesson = (ROOT / "docs" / "lessons" / "00.md").read_text(encoding="utf-8")
    assert shown.count("\n") == 5 and shown in lesson


@pytest.mark.parametrize("file", PROSE, ids=lambda f: f.name)
def test_commands_exist(file):
    for name in set(re.findall(r"python -m ((?:nanouft|frozen_lake)[\w.]*)",
                               file.read_text(encoding="utf-8"))):
        assert importlib.util.find_spec(name), f"{file.name} names {name}, which cannot be run"


def test_the_code_of_the_page_on_python_runs(here, capsys):
    code = "\n".join(re.findall(r"```python\n(.*?)```", DOCS["python.md"], re.S))
    exec(compile(code, "docs/python.md", "exec"), {})
    out = capsys.readouterr().out
    losses = [float(x) for x in re.findall(r"^\d (\S+)$", out, re.M)]
    assert len(losses) == 10 and "bee pig saw<|end|>" in out


def test_students_install_the_torch_of_the_constraints():
    wanted = re.search(r"^torch==\S+", (ROOT / "constraints.txt").read_text("utf-8"), re.M)[0]
    assert f"install {wanted} " in (TEACHING / "evening_before.md").read_text("utf-8")
