"""The site of `python -m lessons pages`: links, navigation, accessibility.

Lessons are not run here: every cell prints one line. The page of all losses has two methods."""
import re
from html import unescape
from html.parser import HTMLParser

import pytest
from browser import opened

from frozen_lake import record as lake
from frozen_lake.lake import make_lake
from lessons.behind.lesson_list import LESSONS, number_of
from lessons.behind.website import layout as website
from lessons.behind.website import pages
from lessons.course import Question, switches
from nanouft.objectives import OBJECTIVES
from nanouft.playground.record import WEB, record

REPOSITORY = "https://code.example/nanouft"
SHOWN = ["index.html", "playground/index.html", "lake/index.html", "lessons/index.html",
         "lessons/02_which_tokens_count.html", "lessons/03_language_as_a_walk.html",
         "docs/README.html", "docs/data.html", "docs/results/README.html",
         "lessons/papers/psft.html"]
AFTER = {"lake/index.html": ["#bet button"],                # and after a bet, with charts and map
         "playground/index.html": ["[data-bet=left]", "#map-ift text >> nth=1"]}


class Page(HTMLParser):
    """Links, anchors, names and values of meta, and the text of the title."""

    def __init__(self, html: str):
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = {""}
        self.meta: dict[str, str] = {}
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        told = dict(attrs)
        self.anchors.add(told.get("id") or "")
        self.links += [told[x] for x in ("href", "src") if told.get(x)]
        if tag == "meta":
            self.meta[told.get("name") or told.get("property") or ""] = told.get("content") or ""


def dead(folder) -> list[str]:
    """Links between the pages of a site that lead nowhere."""
    read = {file.resolve(): Page(file.read_text(encoding="utf-8"))
            for file in folder.rglob("*.html")}
    out = []
    for file, page in read.items():
        for link in page.links:
            path, _, anchor = link.partition("#")
            there = (file.parent / path).resolve() if path else file
            outside = re.match(r"https?:|data:", link)
            if not outside and not (there.exists() and (
                    not anchor or anchor in read[there].anchors)):
                out.append(f"{file.name}: {link}")
    return out


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of a site with all its sections."""
    for needed in ("jupytext", "nbconvert", "latex2mathml"):
        pytest.importorskip(needed, reason=f'no {needed} here: pip install -e ".[pages]"')
    whole = website.Site(tmp_path_factory.mktemp("site"), LESSONS, REPOSITORY)
    few = record(("ift", "dpo"), (2.5e-4,))
    whole.write_drawn({"playground": (WEB, few),
                       "lake": (lake.WEB, lake.page_data(make_lake("twoway5")))})
    (whole.out / "lessons").mkdir()
    for file in LESSONS:
        pages.write_notebook(file, whole.out / "lessons", REPOSITORY)
        pages.write_lesson(executed(file), file, whole)
    pages.write_texts(whole)
    return whole.out


def executed(lesson):
    """The notebook of a lesson as if every cell had printed one line."""
    import jupytext
    from nbformat.v4 import new_output
    notebook = jupytext.read(lesson)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [new_output("stream", name="stdout", text="What happened: b, DPO.\n")]
    return notebook


# ---- the command ---------------------------------------------------------------------------------
def test_the_command_ends_with_the_page_to_open(site, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pages, "run", executed)
    pages.main(["02"])
    first, *_, last = capsys.readouterr().out.splitlines()
    page = last.removeprefix("page: ")
    assert first.startswith("Running 1 lesson,") and (tmp_path / page).is_file() and page != last


def test_the_kernel_that_runs_a_lesson_prints_nothing_of_its_own(site, tmp_path, monkeypatch,
                                                                  capfd):
    monkeypatch.setenv("PYTHONPATH", "")                # run() sets it
    file = tmp_path / "lesson.py"
    file.write_text("# %%\nprint(6 * 7)\n", encoding="utf-8")
    assert pages.run(file).cells[0].outputs[0].text == "42\n"
    assert capfd.readouterr() == ("", "")


# ---- lessons -------------------------------------------------------------------------------------
@pytest.mark.parametrize("k", range(len(LESSONS)), ids=lambda k: LESSONS[k].stem)
def test_the_page_of_a_lesson(k, site):
    """One file without a network: a title, the lessons before and after, and formulas that need no
    program. What follows an output is folded with it, or is a heading; no text is lost."""
    text = (site / "lessons" / f"{LESSONS[k].stem}.html").read_text(encoding="utf-8")
    asked = re.findall(r"<script (?=.)|<link(?! href=\"data:,\" rel=\"icon\")|@import|url\(|"
                       r"src=\"(?!data:)", text)
    assert not asked and text.count("<script>") == 1
    assert "$" not in re.sub(r"<(pre|script).*?</\1>", "", text, flags=re.S)
    assert f"<title>{number_of(LESSONS[k])} · " in text and "prefers-color-scheme: dark" in text
    near = [x.stem + ".html" for x in (*LESSONS[:k][-1:], *LESSONS[k + 1:][:1])]
    assert all(text.count(f'<a href="{x}">') >= 2 for x in (*near, "index.html"))
    below = re.findall(r'</details>\s*</div>\s*<div class="cell [^>]*text_cell[^>]*>(?:\s*<div'
                       r'[^>]*>)+\s*(<h2 id="[^"]+"|</div>|.{40})', text, re.S)
    assert below and not [x for x in below if x != "</div>" and not x.startswith("<h2")]
    assert '<h2 id="what-happened"' not in below
    titles = [title for cell in executed(LESSONS[k]).cells if cell.cell_type == "markdown"
              for title in re.findall(r"^## (.+)$", cell.source, re.M)]
    assert list(map(unescape, re.findall(r'<h2 id="[^"]+">(.*?)<a ', text))) == titles


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.stem)
def test_both_guesses_of_a_lesson_can_be_clicked(lesson, site):
    """A button for each letter, or a field with the limits that the question names."""
    page = (site / "lessons" / f"{lesson.stem}.html").read_text(encoding="utf-8")
    forms = re.findall(r'<form class="guess" data-name="([^"]+)">(.*?)</form>', page, re.S)
    questions = [Question(lesson), Question(lesson, switches(lesson)[0])]
    assert [name for name, _ in forms] == [x.file.stem for x in questions]
    for (name, controls), question in zip(forms, questions):
        limits = re.findall(r'max="(.*?)" min="(.*?)"', controls)
        assert re.findall(r'value="(\w)"', controls) == list(question.choices), name
        numbers = [] if question.choices else [(question.high, question.low)]
        assert [tuple(map(float, x)) for x in limits] == numbers, name


def test_a_result_ends_where_the_next_heading_begins():
    for told, rest in (("It fell.\n\nWhy?\n\n", "## Next\nNow"), ("", "## Next\nNow"),
                       ("## What happened\nIt fell.\n\n", "## Change one thing\nNow"),
                       ("It fell.", "")):
        assert pages.result_and_rest(told + rest) == (told, rest)


# ---- links ---------------------------------------------------------------------------------------
def test_a_link_to_a_file_without_a_page_leads_into_the_repository_or_to_the_file(tmp_path):
    """And so does one to a section that was not made."""
    names = ["nanouft/gpt.py", "frozen_lake", "docs/results", f"lessons/{LESSONS[1].name}"]

    def links(repository: str) -> list[str]:
        site = website.Site(tmp_path, LESSONS[1:2], repository)
        return [site.address(name, "lessons/index.html") for name in names]
    files = [website.ROOT / name for name in names[:3]]
    assert [(tmp_path / "lessons" / x).resolve() for x in links("")[:3]] == files
    (tmp_path / "lake").mkdir()
    (tmp_path / "lake" / "index.html").touch()
    assert links(REPOSITORY) == [f"{REPOSITORY}/blob/HEAD/nanouft/gpt.py", "../lake/index.html",
                                 f"{REPOSITORY}/blob/HEAD/docs/results", f"{LESSONS[1].stem}.html"]


def test_a_text_leads_to_the_files_that_it_names():
    """A lesson has its title there; what is no file stays as it is."""
    site = website.Site(pages.OUT, LESSONS[:2])
    text = f"`lessons/{LESSONS[1].name}`, `nanouft/gpt.py`, `a/b`"
    assert pages.with_links(text, "lessons/index.html", site) == (
        f"[{pages.title(LESSONS[1])}]({LESSONS[1].stem}.html), "
        "[`nanouft/gpt.py`](../../../nanouft/gpt.py), `a/b`")


def test_every_link_of_the_site_leads_somewhere(site, tmp_path):
    """Also without drawn pages, whom the navigation then does not name, and without lessons."""
    pages.write_texts(website.Site(tmp_path))
    assert not dead(site) and not dead(tmp_path)
    assert "Frozen Lake</a>" not in (tmp_path / "index.html").read_text(encoding="utf-8")


# ---- what all pages share ------------------------------------------------------------------------
def test_every_page_has_the_navigation_a_description_and_a_title_of_its_own(site):
    titles = set()
    for file in site.rglob("*.html"):
        html = file.read_text(encoding="utf-8")
        page, here = Page(html), file.relative_to(site).as_posix()
        nav = re.search(r'<nav aria-label="Site">(.*?)</nav>', html)[1]
        assert re.findall(r">([^<]+)</a>", nav) == [*website.SECTIONS.values()], here
        assert nav.count("aria-current") == 1, here
        about = page.meta["description"]
        assert about and about == page.meta["og:description"] and page.meta["og:title"], here
        titles.add(re.search("<title>(.*?)</title>", html, re.S)[1])
    assert len(titles) == len([*site.rglob("*.html")])


# ---- in a browser --------------------------------------------------------------------------------
def axe(page) -> list[str]:
    """What axe-core finds on a page: "color-contrast (serious): <p ...>"."""
    sync_playwright = pytest.importorskip("axe_playwright_python.sync_playwright",
                                          reason="no axe-core here: accessibility is NOT tested")
    found = sync_playwright.Axe().run(page).response["violations"]
    return [f"{x['id']} ({x['impact']}): {x['nodes'][0]['html'][:200]}" for x in found]


@pytest.mark.parametrize("here", SHOWN)
def test_a_page_can_be_read_by_everybody(here, site, browser):
    """axe-core finds nothing, nothing scrolls sideways but code and tables in themselves, and no
    page asks for anything but pictures that lie beside it."""
    for width, dark in ((1280, False), (390, True)):
        page, asked = opened(browser, site / here, width=width, dark=dark)
        for press in (None, *AFTER.get(here, ())):
            if press:
                page.click(press)
            page.evaluate("document.querySelectorAll('details').forEach((x) => { x.open = true; })")
            assert not axe(page), (width, press)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), width
        assert not [x for x in asked if not x.startswith(site.resolve().as_uri())]
        page.close()


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
    assert notes() == {"No guess yet"} and not axe(page)
    assert not [x for x in faults if not x.startswith("file:")]


def test_axe_finds_what_is_wrong(site, browser):
    page, _ = opened(browser, site / "index.html")
    page.evaluate("""document.querySelector("main").innerHTML +=
        "<img src='docs/lake.png'><p style='color: #999; background: #fff'>pale</p><select>" """)
    assert {x.split()[0] for x in axe(page)} >= {"image-alt", "color-contrast", "select-name"}


def test_from_page_to_page_by_keyboard_alone(site, browser):
    """The navigation comes first, and Enter follows each of its links."""
    page, _ = opened(browser, site / "lessons" / f"{LESSONS[2].stem}.html")
    for k, there in enumerate(website.SECTIONS):
        for _ in range(k + 1):
            page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.wait_for_url(f"**/{there}")
        assert page.locator(".site [aria-current=page]").count() == 1


def test_the_front_page_has_the_commands_of_readme_and_the_number_of_methods(site):
    html = (site / "index.html").read_text(encoding="utf-8")
    title, first = (re.search(rf"<{tag}.*?>(.*?)</{tag}>", html, re.S)[1] for tag in ("h1", "pre"))
    assert str(len(OBJECTIVES)) in title
    readme = (website.ROOT / "README.md").read_text(encoding="utf-8")
    commands = re.search(r"```bash\n(.*?)```", readme, re.S)[1]
    assert unescape(re.sub("<.*?>", "", first)).split() == commands.split()
