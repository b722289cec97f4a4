"""README and docs: every link leads somewhere, every command has the flags that it names, each
equation is that of its method's head, and the code of docs/python.md and docs/recipes.md runs."""
import importlib
import json
import re
import shlex
from pathlib import Path

import pytest

from lessons.__main__ import PROGRAMS
from lessons.behind.lesson_list import NUMBERS, lesson_head
from nanouft import __version__, world
from nanouft.objectives import OBJECTIVES
from nanouft.playground.docstrings import LETTERS, SHARED, equations, method_docstring
from nanouft.run.evaluation import METRICS

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")),
         *sorted((ROOT / "lessons" / "papers").rglob("*.md")), ROOT / "lessons" / "README.md"]
COMMAND = re.compile(r"python -m ((?:nanouft|frozen_lake|lessons)[\w.]*)([^`\n|;&)]*)")


def commands(page: Path) -> list[tuple[str, list[str]]]:
    """(module, its words) of every command on a page."""
    text = page.read_text(encoding="utf-8")
    found = [(module.rstrip("."), shlex.split(words.split(" #")[0]))
             for module, words in COMMAND.findall(text)]
    return [(PROGRAMS[words[0]][0], words[1:]) if module == "lessons" and words
            else (module, words) for module, words in found]


def anchors(page: Path) -> set[str]:
    """Those of its headings, as the web pages of repositories make them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file_and_its_heading(page):
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"(?<!\")\]\(([^)#\s]+)[^)]*\)", text)
    missing = [x for x in links if "://" not in x and not (page.parent / x).exists()]
    assert not missing
    for file, anchor in re.findall(r"\]\(([^)#\s:]*)#([\w-]+)\)", text):
        assert anchor in anchors(page.parent / file if file else page), f"{file}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_line_of_a_table_has_a_cell_for_each_column(page):
    """A | within a cell, also within code, is written \\|."""
    for table in re.findall(r"(?:^\|.*\n)+", page.read_text(encoding="utf-8"), re.M):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1, table


def as_code(lines: list[str]) -> str:
    return "<br>".join(f"`{line}`" for line in lines)


def test_the_page_of_methods_has_every_method_and_the_equations_of_its_head():
    """A row for each method and for each further form; a form says what is new in it. Below are the
    letters that all heads share."""
    expected = {f"`{name}`": text for name, text in LETTERS.items()}
    expected |= {f"`{name}`": f"`{text}`" for name, text in SHARED.items()}
    for name, method in OBJECTIVES.items():
        first, *forms = equations(name, method_docstring(method))
        expected[name] = as_code(first.equation_lines())
        for form in forms:
            new = [line for line in form.equation_lines() if line not in first.equation_lines()]
            expected[form.name] = as_code(new)
    page = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    tables, letters = page.split("## How hard one step pushes")[0].split("## Letters")
    found, name = dict(re.findall(r"^\| (`.+?`) \| (.+) \|$", letters, re.M)), ""
    for first, loss in re.findall(r"^\| (.*?`.+?) \| (.+?) \|.*\|.*\|$", tables, re.M):
        link = re.match(r"\[`(\w+)`\]\(\.\./nanouft/objectives/\1\.py\)", first)
        name = link[1] if link else name
        found[name if link else f"{name} {first.strip('`')}"] = loss
    for key, loss in expected.items():
        assert found.get(key) == loss, f"docs/methods.md, {key}: the cell behind it is {loss}"
    assert found.keys() == expected.keys(), "of a method or a form that is gone"


def test_readme_counts_the_methods_and_the_table_of_lessons_names_each():
    readme, table = ((ROOT / name).read_text(encoding="utf-8")
                     for name in ("README.md", "lessons/README.md"))
    assert f"**{len(OBJECTIVES)} ways" in readme
    for file in NUMBERS.values():
        title = lesson_head(file)[0].replace(" · ", " ")
        assert f"| [{title}]({file.name}) |" in table


def test_the_code_of_readme_is_that_of_simple():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = re.search(r"```python\n(.*?)```", readme, re.S)
    code = (ROOT / "nanouft" / "simple.py").read_text(encoding="utf-8")
    assert all(function.strip() in code for function in shown[1].split("\n\n\n"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_has_the_flags_that_a_page_names(page, capsys, tmp_path, monkeypatch):
    """A file of one's own holds what docs/python.md shows."""
    blocks = (ROOT / "docs" / "python.md").read_text(encoding="utf-8").split("```python\n")
    mine = next(block for block in blocks if "class Mine" in block).split("```")[0]
    monkeypatch.chdir(tmp_path)
    for module, words in commands(page):
        flags = {word.split("=")[0] for word in words if word.startswith("--")}
        named = words[words.index("--objective") + 1:][:1] if "--objective" in words else []
        if named in (["NAME"], ["list"]):
            named = []
        if named and named[0].endswith(".py"):
            (tmp_path / named[0]).write_text(mine, encoding="utf-8")
        missing = flags - set(flags_of(module, named, capsys)) if flags else None
        assert not missing, f"{module} {' '.join(words)}"


def flags_of(module: str, objective: list[str], capsys) -> list[str]:
    """All flags that `--help` of a command shows."""
    try:
        main = importlib.import_module(f"{module}.__main__").main
    except ModuleNotFoundError:
        main = importlib.import_module(module).main
    with pytest.raises(SystemExit):
        main([*(["--objective", *objective] if objective else []), "--help", "all"])
    return re.findall(r"--[\w-]+", capsys.readouterr().out)


def test_the_code_of_the_page_on_python_runs(tmp_path, monkeypatch):
    pytest.importorskip("transformers")
    text = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    code = "\n".join(re.findall(r"```python\n(.*?)```", text, re.S))
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "docs/python.md", "exec"), {})
    assert (tmp_path / "out" / "own_loop" / "model.safetensors").exists()


def test_the_code_of_the_recipes_keeps_right_responses(tmp_path, monkeypatch):
    """best.py with docs/data.md's verifier: the base knows these facts, and cannot say "?"."""
    verifier, code = (next(block for block in re.findall(
        r"```python\n(.*?)```", (ROOT / "docs" / page).read_text(encoding="utf-8"), re.S)
        if word in block) for page, word in (("data.md", "def right"), ("recipes.md", "N = 8")))
    asked = [row.prompt[0].text for row in world.rows("val", "prompts", 12, 0, skills=("fact",))]
    final = {prompt: world.right_answer(prompt).split()[-1] for prompt in asked} | {"Say it.": "?"}
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.py").write_text(verifier, encoding="utf-8")
    (tmp_path / "questions.jsonl").write_text("\n".join(json.dumps(
        {"prompt": prompt, "final": word}) for prompt, word in final.items()), encoding="utf-8")
    exec(compile(code.replace("out/sft", "base"), "docs/recipes.md", "exec"), {})
    kept = [json.loads(line) for line in (tmp_path / "best.jsonl").open(encoding="utf-8")]
    assert {row["prompt"]: row["response"].split()[-1] for row in kept} == {
        prompt: word for prompt, word in final.items() if word != "?"}


def test_the_short_path_has_the_lines_that_it_names():
    """Within a tenth, so that no small change makes a page wrong."""
    page = (ROOT / "docs" / "README.md").read_text(encoding="utf-8").split("## The short path")[1]
    steps = re.findall(r"\]\(([^)]+\.py)\) \| (\d+) \|", page)
    found = {file: len((ROOT / "docs" / file).read_text(encoding="utf-8").splitlines())
             for file, _ in steps}
    assert len(steps) == 4 and found == {
        file: pytest.approx(int(lines), rel=0.1) for file, lines in steps}


def test_every_held_out_figure_of_a_run_is_explained():
    """Under the name that it has in eval.json."""
    page = (ROOT / "docs" / "runs.md").read_text(encoding="utf-8")
    assert not [name for name in METRICS if f"(`{name}`)" not in page]


def test_citation_has_the_version_its_day_and_the_address_of_the_project():
    """The day that CHANGELOG.md gives; the address of pyproject, which README's `git clone`
    repeats, or none, as long as the project has none."""
    def found(pattern: str, name: str) -> list:
        return re.findall(pattern, (ROOT / name).read_text(encoding="utf-8"), re.M)
    released = found(r"^## ([\w.]+) \((\d{4}-\d\d-\d\d)\)$", "CHANGELOG.md")
    assert dict(found(r"^(version|date-released): (\S+)$", "CITATION.cff")) == {
        "version": __version__, "date-released": dict(released)[__version__]}
    assert released[0][0] == __version__
    assert (found(r"^repository-code: (\S+)$", "CITATION.cff")
            == found(r'^Repository = "(.+)"$', "pyproject.toml")
            == found(r"git clone (\S+)", "README.md"))
