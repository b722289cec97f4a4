"""The site of `python -m lessons.pages`: links, navigation, share cards, accessibility.

Lessons are not run here; the page of all losses has three methods, and the lake its own page."""
import json
import re
from html.parser import HTMLParser

import pytest
from browser import opened

from frozen_lake import record as lake
from frozen_lake.lake import make_lake
from lessons import pages, website
from lessons.table import LESSONS
from nanouft.playground.record import WEB, record

URL, REPOSITORY = "https://nanouft.example/site", "https://code.example/nanouft"
SHOWN = ["index.html", "playground/index.html", "lake/index.html", "lessons/index.html",
         "lessons/02_which_tokens_count.html", "lessons/04_models_own_guess.html",
         "docs/index.html", "docs/results/index.html", "docs/results/uft.html",
         "docs/methods.html", "docs/readme.html"]


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
            if not outside and not (there.is_file() and (
                    not anchor or anchor in read[there].anchors)):
                out.append(f"{file.name}: {link}")
    return out


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of a site with all its sections; no lesson is run."""
    jupytext, *_ = map(pytest.importorskip, ("jupytext", "nbconvert", "latex2mathml",
                                             "markdown_it", "mdit_py_plugins"))
    whole = website.Site(tmp_path_factory.mktemp("site"), REPOSITORY, URL)
    few = record(("sft", "ift", "dpo"))
    whole.write_drawn({"playground": (WEB, few),
                       "lake": (lake.WEB, lake.page_data(make_lake("twoway5")))})
    (whole.out / "lessons").mkdir()
    for file in LESSONS:
        pages.write_notebook(file, whole.out / "lessons", REPOSITORY)
        whole.write(f"lessons/{file.stem}.html",
                    pages.page_of(jupytext.read(file), file, LESSONS, whole))
    pages.write_index(whole)
    whole.write_texts()
    return whole.out


# ---- lessons -------------------------------------------------------------------------------------
@pytest.mark.parametrize("k", range(len(LESSONS)), ids=lambda k: LESSONS[k].stem)
def test_the_page_of_a_lesson_is_one_file_without_a_network(k, site):
    """It has a title, the lessons before and after, and formulas that need no program."""
    text = (site / "lessons" / f"{LESSONS[k].stem}.html").read_text(encoding="utf-8")
    asked = re.findall(r"<script|<link(?! rel=\"icon\" href=\"data:)|@import|url\(|"
                       r"src=\"(?!data:)", text)
    assert not asked and "$" not in re.sub(r"<pre>.*?</pre>", "", text, flags=re.S)
    assert f"<title>{LESSONS[k].name[:2]} · " in text and "prefers-color-scheme: dark" in text
    near = [x.stem + ".html" for x in (*LESSONS[:k][-1:], *LESSONS[k + 1:][:1])]
    assert all(text.count(f'<a href="{x}">') >= 2 for x in (*near, "index.html"))


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.stem)
def test_a_page_and_a_notebook_fold_what_happens_with_the_switch(lesson, site):
    notebook = json.loads((site / "lessons" / f"{lesson.stem}.ipynb").read_text(encoding="utf-8"))
    cells = [(x["cell_type"], "".join(x["source"])) for x in notebook["cells"]]
    kind, text = next(x for x in cells if "## Change one thing" in x[1])
    inside = re.search(r"<details><summary>After your run</summary>\n\n(.*?)</details>",
                       text, re.S)
    assert kind == "markdown" and inside
    page = (site / "lessons" / f"{lesson.stem}.html").read_text(encoding="utf-8")
    folded = re.findall(r"<details>\s*<summary>After your run</summary>\s*<p>.*?</p>\s*"
                        r"</details>", page, re.S)
    assert len(folded) == 1 and page.count("After your run") == 1
    assert "<details open" not in page and "details-content" in page      # the rule for print


# ---- links ---------------------------------------------------------------------------------------
def test_every_link_of_the_site_leads_somewhere(site):
    assert not dead(site)


def test_a_link_to_a_file_without_a_page_leads_into_the_repository_or_is_text(tmp_path):
    """And so does one to a section that was not made."""
    source = website.ROOT / "docs" / "python.md"
    text = ('<a href="../nanouft/gpt.py">a</a> <a href="lake.md#x">b</a> '
            '<a href="../frozen_lake">c</a>')
    at_home = website.Site(tmp_path).relinked(text, source, "docs/python.html")
    assert at_home == '<a >a</a> <a href="../docs/lake.html#x">b</a> <a >c</a>'
    (tmp_path / "lake").mkdir()
    (tmp_path / "lake" / "index.html").touch()
    public = website.Site(tmp_path, REPOSITORY).relinked(text, source, "docs/python.html")
    assert re.findall('href="(.*?)"', public) == [
        f"{REPOSITORY}/blob/HEAD/nanouft/gpt.py", "../docs/lake.html#x", "../lake/index.html"]


def test_a_site_of_the_docs_alone_has_no_dead_link(tmp_path):
    """Without the recorded pages the navigation does not name them."""
    pytest.importorskip("mdit_py_plugins")
    alone = website.Site(tmp_path)
    pages.write_index(alone)
    alone.write_texts()
    assert not dead(tmp_path)
    assert "Frozen Lake</a></nav>" not in (tmp_path / "index.html").read_text(encoding="utf-8")


# ---- what all pages share ------------------------------------------------------------------------
def test_every_page_has_the_navigation_a_description_and_a_share_card(site):
    """And a title of its own; the picture of the card has a whole address, and is there."""
    titles = set()
    for file in site.rglob("*.html"):
        html = file.read_text(encoding="utf-8")
        page, here = Page(html), file.relative_to(site).as_posix()
        nav = re.search(r'<nav aria-label="Site">(.*?)</nav>', html)[1]
        assert re.findall(r">([^<]+)</a>", nav) == ["nanouft", *website.SECTIONS.values()], here
        assert nav.count("aria-current") == 1, here
        about = page.meta["description"]
        assert about and about == page.meta["og:description"] and page.meta["og:title"], here
        picture = page.meta["og:image"]
        assert picture.startswith(URL + "/"), here
        assert (site / picture.removeprefix(URL + "/")).is_file(), here
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
        page.evaluate("document.querySelectorAll('details').forEach((x) => { x.open = true; })")
        assert not axe(page), (here, width)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (here, width)
        assert not [x for x in asked if not x.startswith(site.resolve().as_uri())], here
        if here == "lake/index.html":                       # and after a bet, with the charts
            page.click("#bet button")
            assert not axe(page), width
        if here == "playground/index.html":                 # and after a bet, with the map
            page.click("[data-bet=left]")
            page.select_option("#right", "ift")
            page.evaluate("document.querySelectorAll('details').forEach((x) => { x.open = true; })")
            assert not axe(page), width
        page.close()


def test_axe_finds_what_is_wrong(site, browser):
    page, _ = opened(browser, site / "index.html")
    page.evaluate("""document.querySelector("main").innerHTML +=
        "<img src='docs/lake.png'><p style='color: #999; background: #fff'>pale</p><select>" """)
    assert {x.split()[0] for x in axe(page)} >= {"image-alt", "color-contrast", "select-name"}


def test_text_stands_in_the_middle_and_long_code_scrolls_in_itself(site, browser):
    page, _ = opened(browser, site / "lessons" / "04_models_own_guess.html")
    for what in ("h1", "main p", ".highlight"):
        box = page.locator(what).first.bounding_box()
        right = page.evaluate("document.documentElement.clientWidth") - box["x"] - box["width"]
        assert abs(box["x"] - right) < 2, what
    page, _ = opened(browser, site / "lessons" / "04_models_own_guess.html", width=390)
    wide = page.locator("pre").evaluate_all("(all) => all.filter((x) => x.scrollWidth > "
                                            "x.clientWidth + 1).map((x) => x.tabIndex)")
    assert wide and set(wide) == {0}


def test_from_page_to_page_by_keyboard_alone(site, browser):
    """The navigation comes first, and Enter follows each of its links."""
    page, _ = opened(browser, site / "docs" / "lake.html")
    for k, folder in enumerate(website.SECTIONS):
        for _ in range(k + 2):
            page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.wait_for_url(f"**/{folder}/index.html")
        assert page.locator(".site [aria-current=page]").count() == 1


def test_a_long_page_begins_with_its_headings(site):
    html = (site / "docs" / "results" / "uft.html").read_text(encoding="utf-8")
    contents = html.partition('<nav aria-label="On this page">')[2].partition("</nav>")[0]
    told = re.findall(r'<a href="#([^"]+)">', contents)
    assert told == re.findall(r'<h2 id="([^"]+)">', html) and len(told) > website.SHORT


def test_a_printed_page_has_no_navigation(site, browser):
    page, _ = opened(browser, site / "docs" / "results" / "index.html")
    page.emulate_media(media="print")
    assert not page.locator(".site").is_visible() and page.locator("h1").is_visible()
