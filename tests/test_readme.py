"""README and docs against the house: links, commands, files and numbers."""
import importlib.util
import json
import re
from pathlib import Path

import pytest
from house import FIRST_PATH, ROOT, lines

from lab import methods
from nanouft.objectives import OBJECTIVES

README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCS = {f.name: f.read_text(encoding="utf-8") for f in sorted((ROOT / "docs").glob("*.md"))}
ACCOUNT = DOCS["claims.md"]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
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
        assert not anchor or anchor in anchors(there), f"{page.name} links to {target}: no such heading"


def test_the_reading_order_tells_the_lines():
    for file in FIRST_PATH:
        name = file.relative_to(ROOT / "nanouft").as_posix()
        assert f"| [{name}](nanouft/{name}) | {lines(file)} |" in README, f"{name} has {lines(file)} lines"


def test_every_lesson_is_in_the_table():
    for file in sorted((ROOT / "lessons").glob("[0-9]*.py")):
        number, question = re.search(r"^# # (\w+) · (.*)$", file.read_text(encoding="utf-8"), re.M).groups()
        shown = re.search(rf"\[{number}\]\(docs/lessons/{number}.md\)\**\ \| (.*) \| (\d+) \|", README)
        assert shown and shown[1] == question.replace("*", ""), f"README's row of lesson {number}"
        assert f"about {shown[2]} minutes" in " ".join(file.read_text(encoding="utf-8").replace("\n#", " ").split())


@pytest.mark.parametrize("file", PROSE, ids=lambda f: f.name)
def test_commands_exist(file):
    for name in set(re.findall(r"python -m ((?:nanouft|frozen_lake)[\w.]*)", file.read_text(encoding="utf-8"))):
        assert importlib.util.find_spec(name), f"{file.name} names {name}, which cannot be run"


def test_the_map_names_every_room():
    shown = README[README.index("## The code"):README.index("## Limits")]
    shown = shown[shown.index("```"):shown.rindex("```")]
    rooms = [f for f in (ROOT / "nanouft").iterdir() if not f.name.startswith("_") and f.name != "assets"]
    there = {f.name + "/" * f.is_dir() for f in rooms}
    missing = [name for name in there if not re.search(rf"(?<![\w/]){re.escape(name)}", shown)]
    assert not missing, f"the map leaves out {missing}"
    for name in re.findall(r"\b[\w.]+(?:\.py|/)", shown):
        assert list(ROOT.rglob(name.rstrip("/"))), f"the map names {name}, which is not there"


def test_the_numbers_of_the_lake():
    """The sentence of docs/lake.md on twoway5, counted again."""
    from frozen_lake.demos import ghosts, gold, loser, moves_of_loser
    from frozen_lake.lake import make_lake
    lake = make_lake("twoway5")
    told = ghosts(lake, gold(lake))
    moves = moves_of_loser(lake, gold(lake), loser(lake))
    text = " ".join(DOCS["lake.md"].split())
    assert (f"can stand in {len(told)} places, and the move copied onto them is optimal in "
            f"{sum(g.right for g in told)}") in text
    assert (f"{len(moves)} moves: {moves.count('shared')} cancel in DPO, {moves.count('optimal')} are optimal in their "
            f"own cell and pushed down all the same, {moves.count('wrong')} are wrong") in text


def test_the_table_of_methods_is_that_of_the_registry():
    assert methods.page() == DOCS["methods.md"], "run python -m lab.methods"
    for title in methods.FAMILIES:
        names = ", ".join(f"`{name}`" for name in OBJECTIVES if methods.family(name) == title)
        assert f"- **{title}**: {names}\n" in README, f"README's line of {title}"


def test_the_code_of_the_page_on_python_runs(here, capsys):
    """Every block of docs/python.md, one after the other, in an empty folder."""
    code = "\n".join(re.findall(r"```python\n(.*?)```", DOCS["python.md"], re.S))
    exec(compile(code, "docs/python.md", "exec"), {})
    out = capsys.readouterr().out
    losses = [float(x) for x in re.findall(r"^\d (\S+)$", out, re.M)]
    assert len(losses) == 10 and "bee pig saw<|end|>" in out


CLAIMS = ("C1", "C2", "C3", "C4")


def effects(contrast: dict) -> str:
    return " and ".join(f"{100 * b['mean']:+.1f} ± {100 * b['half']:.1f}" for b in contrast["bases"].values())


@pytest.mark.parametrize("text", [README, ACCOUNT], ids=["README", "claims.md"])
def test_the_verdicts_are_those_of_the_finished_cells(text):
    """Every row of a table that shows effects on two bases is a contrast of docs/results, with its verdict."""
    studies = json.loads((ROOT / "docs/results/claims/results.json").read_text(encoding="utf-8"))["claims"]
    known = {(effects(c), c["test"]): (name, c["verdict"]) for name in CLAIMS for c in studies[name]["contrasts"]}
    words = {"not inferior": "non-inferiority", "equivalent": "equivalence"}
    shown = set()
    for line in text.splitlines():
        if line.startswith("|") and (both := re.search(r"[-+]\d+\.\d ± \d+\.\d and [-+]\d+\.\d ± \d+\.\d", line)):
            test = next((t for word, t in words.items() if word in line), "superiority")
            assert (both[0], test) in known, f"{both[0]}: no contrast of docs/results/claims has these effects"
            name, verdict = known[both[0], test]
            assert f"**{verdict}**" in line, f"{both[0]}: {verdict}, says docs/results/claims/{name}.md"
            shown.add(name)
    assert shown == set(CLAIMS)


@pytest.mark.parametrize("name", CLAIMS)
def test_the_account_of_a_claim_shows_numbers_of_its_table(name):
    part = ACCOUNT.split(f"\n## {name}")[1].split("\n## ")[0].split("**Mechanism.**")[0]
    table = (ROOT / "docs" / "results" / "claims" / f"{name}.md").read_text(encoding="utf-8")
    number = r"(?<![\d.])[-+]?\d+\.\d ± \d+\.\d(?![\d.])"                 # never a part of another number
    missing = set(re.findall(number, part)) - set(re.findall(number, table))
    assert not missing, f"docs/claims.md says {missing}, which docs/results/claims/{name}.md does not"
