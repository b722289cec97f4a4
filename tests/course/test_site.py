"""The site of `python -m lessons pages`: links, navigation, accessibility, and what is kept.

Lessons are not run here: every cell prints one line and draws a dot. The page of all losses
has two methods."""
import json
import re
from html import unescape
from pathlib import Path

import pytest
from browser import axe_violations, check_accessible, opened

from lessons.behind.lesson_list import LESSONS, NUMBERS, number_of
from lessons.behind.website import lesson_page, pages
from lessons.course import Question, switches
from nanouft.objectives import OBJECTIVES
from nanouft.playground.record import record

REPOSITORY = "https://code.example/nanouft"
DOT = ("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAsTj2FAAAAABJRU5ErkJg"
       "gg==\n")
SHOWN = {                                   # pages of each kind, and what is pressed there
    "index.html": [], "lessons/README.html": [], "lessons/03_language_as_a_walk.html": [],
    "docs/results/README.html": [], "lessons/papers/luffy.html": [],
    "lake/index.html": ["#bet button"],                     # after a bet come charts and map
    "playground/index.html": ["[data-bet=left]", "#map-ift text >> nth=1"]}


def links(html: str) -> list[str]:
    html = re.sub(r"<script.*?</script>", "", html, flags=re.S)
    return re.findall(r'\s(?:href|src)="([^"]+)"', html)


def dead(folder: Path) -> list[str]:
    """Links between the pages of a site that lead nowhere."""
    read = {file.resolve(): file.read_text(encoding="utf-8") for file in folder.rglob("*.html")}
    out = []
    for file, html in read.items():
        for link in links(html):
            path, _, anchor = re.sub(r"\?v=\w+", "", link).partition("#")
            there = (file.parent / path).resolve() if path else file
            outside = re.match(r"https?:|data:", link)
            if not outside and not (there.exists() and (
                    not anchor or re.search(rf'\sid="{re.escape(anchor)}"', read[there]))):
                out.append(f"{file.name}: {link}")
    return out


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of a whole site, of which Sphinx has nothing to say."""
    for needed in pages.NEEDS:
        pytest.importorskip(needed, reason=f'no {needed} here: pip install -e ".[pages]"')
    folder = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        few = record(("ift", "dpo"), (2.5e-4,))
        lesson_page.keep(pages.cache_file("playground", *map(Path, pages.EXTRAS)), json.dumps(few))
        patch.setattr(pages, "run", executed)
        patch.setattr(pages, "SMOLLM2", folder)         # nothing runs, so lesson 17 needs no model
        assert pages.main(["--repository", REPOSITORY]) == 0
    return folder / "out" / "pages"


def executed(lesson: Path) -> str:
    """The notebook of a lesson as if every cell had printed one line and drawn a dot."""
    import jupytext
    import nbformat
    notebook = jupytext.read(lesson)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [nbformat.v4.new_output("stream", text="Result: b, DPO.\n"),
                            nbformat.v4.new_output("display_data", {"image/png": DOT})]
    return nbformat.writes(notebook)


# ---- the command, and what it keeps --------------------------------------------------------------
def test_a_lesson_is_run_once_and_its_page_stays(site, tmp_path, monkeypatch, capsys):
    ran = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pages, "run", lambda lesson: ran.append(lesson.stem) or executed(lesson))
    monkeypatch.setattr(pages, "build", lambda source, out, repository: 0)
    monkeypatch.setattr(pages, "SMOLLM2", tmp_path / "smollm2")     # without which 17 cannot run
    for number in ("02", "03", "02", "17"):
        assert pages.main([number]) == 0
    assert ran == [NUMBERS["02"].stem, NUMBERS["03"].stem]
    assert sorted(x.stem for x in (tmp_path / "out/source/lessons").glob("0*.md")) == ran
    *_, last = capsys.readouterr().out.splitlines()
    assert last == f"page: {pages.OUT / 'index.html'}"


def test_a_lesson_is_run_again_when_anything_that_it_reads_has_changed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(lesson_page, "ROOT", tmp_path)
    (tmp_path / "lesson.py").touch()
    files = ("nanouft/gpt.py", "nanouft/assets/base/model.safetensors", "frozen_lake/lake.py",
             "lessons/course.py", "lessons/draw.py", "lessons/behind/lesson_list.py",
             "lessons/behind/keys/ex04.py", "lessons/behind/tasks/simple_parts.py",
             "lessons/evidence/results/methods.csv", "lesson.py")
    names = set()
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("another", encoding="utf-8")
        lesson_page.hash_of_code.cache_clear()
        names.add(lesson_page.cache_file("lesson", tmp_path / "lesson.py").name)
    lesson_page.hash_of_code.cache_clear()
    assert len(names) == len(files)


def test_the_kernel_that_runs_a_lesson_prints_nothing_of_its_own(site, tmp_path, capfd):
    file = tmp_path / "lesson.py"
    file.write_text("# %%\nprint(6 * 7)\n", encoding="utf-8")
    cell, = json.loads(lesson_page.run(file))["cells"]
    assert cell["outputs"][0]["text"] == ["42\n"] and capfd.readouterr() == ("", "")


# ---- lessons -------------------------------------------------------------------------------------
@pytest.mark.parametrize("k", range(len(LESSONS)), ids=lambda k: LESSONS[k].stem)
def test_the_page_of_a_lesson(k, site):
    """A title, the lessons before and after, its notebook, and formulas that need no program. What
    follows an output is folded with it, or is a heading; no text is lost."""
    text = (site / "lessons" / f"{LESSONS[k].stem}.html").read_text(encoding="utf-8")
    assert "$" not in re.sub(r"<(pre|script).*?</\1>", "", text, flags=re.S)
    assert f"<title>{number_of(LESSONS[k])} · " in text
    near = [x.stem + ".html" for x in (*LESSONS[:k][-1:], *LESSONS[k + 1:][:1])]
    assert all(text.count(f'href="{x}"') >= 2 for x in near)
    assert f'href="{LESSONS[k].stem}.ipynb"' in text
    folds = re.findall(r"<details>.*?</details>\s*(?:</section>\s*)*", text, re.S)
    printed = [x for x in folds if "<summary>The picture" in x]
    assert printed and not [x for x in printed if x + "<p>" in text]
    assert text.count("Result: b, DPO.") == len(printed)
    titles = [title for cell in json.loads(executed(LESSONS[k]))["cells"]
              if cell["cell_type"] == "markdown"
              for title in re.findall(r"^## (.+)$", "".join(cell["source"]), re.M)]
    assert list(map(unescape, re.findall(r"<h2>(.*?)<(?:a |/h2)", text))) == titles
    told = [x for x in titles if x.startswith("What happened")]
    assert len(re.findall("<h2>What happened", "".join(printed))) == len(told)


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.stem)
def test_both_guesses_of_a_lesson_can_be_clicked(lesson, site):
    """A button for each letter, or a field with the limits that the question names."""
    page = (site / "lessons" / f"{lesson.stem}.html").read_text(encoding="utf-8")
    forms = re.findall(r'<form class="guess" data-name="([^"]+)">(.*?)</form>', page, re.S)
    questions = [Question(lesson), Question(lesson, switches(lesson)[0])]
    assert [name for name, _ in forms] == [x.file.stem for x in questions]
    for (name, controls), question in zip(forms, questions):
        limits = re.findall(r'min="(.*?)" max="(.*?)"', controls)
        assert re.findall(r'value="(\w)"', controls) == list(question.choices), name
        numbers = [] if question.choices else [(question.low, question.high)]
        assert [tuple(map(float, x)) for x in limits] == numbers, name


# ---- links ---------------------------------------------------------------------------------------
def test_a_link_to_a_file_without_a_page_leads_into_the_repository_or_to_the_file(site, tmp_path):
    """And so does one to a lesson and a page that were not made."""
    names = ["nanouft/gpt.py", "frozen_lake", "lessons", f"lessons/{LESSONS[1].name}"]
    text = "# a\n\n" + " ".join(f"[b]({x})" for x in names)
    (tmp_path / "index.md").write_text(text, encoding="utf-8")

    def made(repository: str) -> list[str]:
        pages.build(tmp_path, tmp_path / "out", repository)
        html = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
        return re.findall(r'href="([^"]*)"><span class="xref myst', html)
    assert [(tmp_path / "out" / x).resolve() for x in made("")] == [pages.ROOT / x for x in names]
    assert made(REPOSITORY) == [f"{REPOSITORY}/blob/HEAD/{x}" for x in names]


def test_every_link_of_the_site_leads_somewhere_and_what_is_due_has_a_page(site):
    assert not dead(site)
    texts = [x.relative_to(pages.ROOT) for x in (pages.HERE / "papers").rglob("*.md")]
    assert len(texts) == 9 and all((site / x.with_suffix(".html")).exists() for x in texts)


# ---- what all pages share ------------------------------------------------------------------------
def test_every_page_has_the_drawn_pages_a_description_and_a_title_of_its_own(site):
    files, titles = [*site.rglob("*.html")], set()
    for file in files:
        html, up = file.read_text(encoding="utf-8"), "../" * len(file.relative_to(site).parents[1:])
        assert {f"{up}{x}/index.html" for x in ("lake", "playground")} <= {*links(html)}, file
        told = re.findall(r'<meta (?:name="|property="og:)descr\w+"\s+content="(.+?)"', html, re.S)
        assert file.stem == "search" or (len(told) == 2 and told[0] == told[1]
                                         and '<meta property="og:title" content="' in html), file
        titles.add(re.search("<title>(.*?)</title>", html, re.S)[1])
        assert not re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="(?:https?:)?//', html), file
    assert len(titles) == len(files)


# ---- in a browser --------------------------------------------------------------------------------
@pytest.mark.parametrize("here", SHOWN)
def test_everybody_can_read_and_work_a_page(here, site, browser):
    check_accessible(browser, site / here, *SHOWN[here])


def test_a_guess_is_kept_and_stands_on_the_fold_with_the_answer(site, browser):
    """By click and by keyboard, letters and numbers; a number outside the limits is not kept, and
    the guess of another lesson is not shown."""
    page, faults = opened(browser, site / "lessons" / f"{LESSONS[0].stem}.html")

    def notes() -> set[str]:
        return set(page.locator(".yours").all_inner_texts())
    assert notes() == {"No guess yet"}
    page.locator("form.guess label").nth(1).click()
    page.keyboard.press("ArrowDown")
    page.locator("[type=number]").fill("60")
    page.reload()
    assert notes() == {"Your guess: c", "Your guess: 60"}
    assert page.locator("form.guess :checked").input_value() == "c"
    page.locator("[type=number]").fill("600")
    page.keyboard.press("Enter")
    assert notes() == {"Your guess: c", "Your guess: 60"}
    page.goto((site / "lessons" / f"{LESSONS[2].stem}.html").as_uri())
    assert notes() == {"No guess yet"} and not [x for x in faults if not x.startswith("file:")]
    assert not axe_violations(page)


def test_axe_finds_what_is_wrong(site, browser):
    page, _ = opened(browser, site / "index.html")
    page.evaluate("""document.querySelector("article").innerHTML +=
        "<img src='_images/lake.png'><p style='color: #999; background: #fff'>pale</p><select>" """)
    assert {x.split()[0] for x in axe_violations(page)} >= {
        "image-alt", "color-contrast", "select-name"}


def test_the_navigation_by_keyboard_alone(site, browser):
    """The skip link comes first, then the search, which finds a lesson; then the drawn pages, which
    are as dark as the switch of the others says. On a phone the drawer opens for whom is in it."""
    page, faults = opened(browser, site / "docs" / "data.html")

    def focused(key: str = "Tab") -> str:
        page.keyboard.press(key)
        return page.evaluate("document.activeElement.ariaLabel || document.activeElement.innerText")
    assert [focused() for _ in range(3)] == ["Skip to content", "nanouft", "Search"]
    page.keyboard.type("exposure bias")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search.html?q=exposure*")
    page.locator("#search-results a", has_text="03 ·").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/03_language_as_a_walk.html*")
    page.locator(".theme-toggle:visible").focus()
    while page.evaluate("localStorage.theme") != "dark":
        page.keyboard.press("Enter")
    page.goto((site / "lake" / "index.html").as_uri())
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"
    assert page.locator(".site [aria-current=page]").inner_text() == "Frozen Lake"
    assert not [x for x in faults if x.startswith("http")]
    page, _ = opened(browser, site / "docs" / "data.html", width=390)
    while focused() != "Search":
        pass
    drawer = "document.querySelector('.sidebar-drawer').getBoundingClientRect().x == 0"
    page.wait_for_function(drawer)


def test_the_front_page_has_the_commands_of_readme_and_the_number_of_methods(site):
    html = (site / "index.html").read_text(encoding="utf-8")
    title, first = (re.search(rf"<{tag}.*?>(.*?)</{tag}>", html, re.S)[1] for tag in ("h1", "pre"))
    assert str(len(OBJECTIVES)) in title
    readme = (pages.ROOT / "README.md").read_text(encoding="utf-8")
    commands = re.search(r"```bash\n(.*?)```", readme, re.S)[1]
    assert unescape(re.sub("<.*?>", "", first)).split() == commands.split()
