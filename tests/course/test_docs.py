"""Every page: its links lead somewhere, its commands have the flags that it names, its code runs,
and what it says of the code is what the code says."""
import importlib
import io
import json
import re
from collections.abc import Collection, Iterator
from contextlib import redirect_stdout, suppress
from functools import cache
from pathlib import Path

import pytest

import nanouft
from lessons.__main__ import PROGRAMS
from lessons.behind.lesson_list import NUMBERS, lesson_head
from nanouft import world
from nanouft.objectives import OBJECTIVES
from nanouft.playground.docstrings import LETTERS, SHARED, Line, equations, method_docstring
from nanouft.run.evaluation import METRICS

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")),
         *sorted((ROOT / "lessons" / "papers").rglob("*.md")), ROOT / "lessons" / "README.md"]
COMMAND = re.compile(r"(?:python3?|\{python\}) -m "
                     r"((?:nanouft|frozen_lake|lessons|tests)\b[\w.]*)([^`\n|;&)]*)")
GPU = ROOT / "tests" / "bench" / "one_gpu.ipynb"


def read(file: Path | str) -> str:
    return (ROOT / file).read_text(encoding="utf-8")


def blocks(page: str) -> list[str]:
    """The Python code of a page."""
    return re.findall(r"```python\n(.*?)```", read(page), re.S)


# ---- links and tables ----------------------------------------------------------------------------
def anchors(page: Path) -> set[str]:
    """Those of its headings, as the web pages of repositories make them."""
    titles = re.findall(r"^#+ (.+)$", read(page), re.M)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file_and_its_heading_and_every_row_has_all_cells(page):
    """A | within a cell, also within code, is written \\|."""
    text = read(page)
    links = re.findall(r"(?<!\")\]\(([^)#\s]+)[^)]*\)", text)
    assert not [x for x in links if "://" not in x and not (page.parent / x).exists()]
    for file, anchor in re.findall(r"\]\(([^)#\s:]*)#([\w-]+)\)", text):
        assert anchor in anchors(page.parent / file if file else page), f"{file}#{anchor}"
    for table in re.findall(r"(?:^\|.*\n)+", text, re.M):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1, table


# ---- commands ------------------------------------------------------------------------------------
def texts() -> dict[Path, str]:
    """Every text of the project, and the notebook's code."""
    files = [f for name in ("*.md", "docs/**/*.md", "lessons/**/*.md", "nanouft/**/*.py",
                            "frozen_lake/**/*.py", "lessons/**/*.py", "tests/**/*.py")
             for f in sorted(ROOT.glob(name))]
    cells = ["".join(cell["source"]) for cell in json.loads(read(GPU))["cells"]]
    return {f: read(f) for f in files} | {GPU: "\n".join(cells)}


def test_every_command_that_is_named_exists():
    gone = []
    for file, text in texts().items():
        for module, words in COMMAND.findall(text) if file.name != "CHANGELOG.md" else ():
            path = ROOT / module.strip(".").replace(".", "/")
            of_course = re.match(r" ([a-z]\w+)", words) if module == "lessons" else None
            if not (path.with_suffix(".py").exists() or (path / "__main__.py").exists()) or (
                    of_course and of_course[1] not in PROGRAMS):
                gone.append((file.name, module, words))
    assert gone == []


@cache
def help_of(module: str, method: str) -> str:
    """All flags of a program; of `train` those of a method, too."""
    with suppress(ModuleNotFoundError):
        module = importlib.import_module(f"{module}.__main__").__name__
    main, told = importlib.import_module(module).main, io.StringIO()
    with pytest.raises(SystemExit), redirect_stdout(told):
        main([*(["--objective", method] if method else []), "--help", "all"])
    return told.getvalue()


@pytest.mark.parametrize("page", [*PAGES, GPU], ids=lambda page: page.name)
def test_every_command_has_the_flags_that_a_page_names(page, tmp_path, monkeypatch):
    """A file of one's own holds what docs/python.md shows."""
    mine = next(block for block in blocks("docs/python.md") if "class Mine" in block)
    monkeypatch.chdir(tmp_path)
    for module, words in COMMAND.findall(texts()[page]):
        module, words = module.rstrip("."), re.sub(r"\".*?\"| #.*", "", words)
        if module == "lessons" and words.strip():
            module = PROGRAMS[words.split()[0]][0]
        method = "".join(re.findall(r"--objective (\w+\.py|[a-z]\w+)", words))
        if method.endswith(".py"):
            Path(method).write_text(mine, encoding="utf-8")
        for flag in re.findall(r"(?<=\s)--[\w-]+", words):
            assert flag in re.findall(r"--[\w-]+", help_of(module, method.replace("list", ""))), (
                f"{module} {words}")


# ---- what the code says --------------------------------------------------------------------------
def bound() -> Iterator[tuple[str, str]]:
    """(file, a text that it has, as the code says it)."""
    yield "README.md", f"**{len(OBJECTIVES)} ways"
    for function in blocks("README.md")[0].split("\n\n\n"):
        yield "nanouft/simple.py", function.strip()
    for file in NUMBERS.values():
        title = lesson_head(file)[0].replace(" · ", " ")
        yield "lessons/README.md", f"| [{title}]({file.name}) |"
    for name in METRICS:                                # of eval.json
        yield "docs/runs.md", f"(`{name}`)"
    for name, text in LETTERS.items():
        yield "docs/methods.md", f"| `{name}` | {text} |"
    for name, text in SHARED.items():
        yield "docs/methods.md", f"| `{name}` | `{text}` |"
    index = nanouft.__doc__.partition("What to")[2]     # "loop.py, steps": a file and what is in it
    for file, name in re.findall(r"([\w/]+\.py)(?:, (?!its)(\w+))?", index):
        yield f"nanouft/{file}", name


def test_what_a_page_says_is_what_the_code_says():
    assert [(file, text) for file, text in bound() if text not in read(file)] == []


def as_code(form: Line, known: Collection[str] = ()) -> str:
    """The lines of an equation as a cell of a table, but for those that are known."""
    return "<br>".join(f"`{line}`" for line in form.equation_lines() if line not in known)


def test_the_page_of_methods_has_the_equations_of_every_head():
    """A row for each method, and one for each further form, which says what is new in it."""
    page, rows = read("docs/methods.md"), 0
    for name, method in OBJECTIVES.items():
        first, *forms = equations(name, method_docstring(method))
        cells = {rf"\[`{name}`\]\(\.\./nanouft/objectives/{name}\.py\)[^|]*": as_code(first)}
        cells |= {f"`{form.name.removeprefix(f'{name} ')}` ": as_code(form, first.equation_lines())
                  for form in forms}
        block = r".*\n".join(rf"\| {cell}\| {re.escape(loss)} \|" for cell, loss in cells.items())
        assert re.search(block, page), f"docs/methods.md, {name}: the cell behind it is " + (
            ", and in the row below ".join(cells.values()))
        rows += len(cells)
    assert len(re.findall(r"^\| (?:\[`|`--)", page, re.M)) == rows, "one is gone"


def test_no_text_names_the_place_where_it_was_written_or_a_registry():
    """nanouft is installed from its checkout; nobody holds its name in a registry."""
    words = re.compile(r"/work/|\.\./shared|/opt/env|/root/|pip install nanouft")
    assert [f for f, text in texts().items() if words.search(text)] == [Path(__file__)]


# ---- code ----------------------------------------------------------------------------------------
def test_the_code_of_the_page_on_python_runs(tmp_path, monkeypatch):
    pytest.importorskip("transformers")
    monkeypatch.chdir(tmp_path)
    exec(compile("\n".join(blocks("docs/python.md")), "docs/python.md", "exec"), {})
    assert (tmp_path / "out" / "own_loop" / "model.safetensors").exists()


def test_the_code_of_the_recipes_keeps_right_responses(tmp_path, monkeypatch):
    """best.py with docs/data.md's verifier: the base knows these facts, and cannot say "?"."""
    verifier, code = (next(block for block in blocks(page) if word in block)
                      for page, word in (("docs/data.md", "def right"),
                                         ("docs/recipes.md", "N = 8")))
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
