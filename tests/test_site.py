"""The site of the docs: every page has its place, no link is dead, nothing is asked of the network.

    python -m pip install -e ".[docs]"
    NANOUFT_AXE=node_modules/axe-core/axe.min.js python -m pytest tests/test_site.py     # a minute
"""
import re
import subprocess
import sys
import time
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

import pytest
from house import ROOT

BUILD = ROOT / "docs" / "website" / "build.py"
SETTINGS = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
NAMED = set(re.findall(r"^ +- (?:[^:\n]+: )?(\S+\.(?:md|html))$", SETTINGS, re.M))
# formulas, long tables, questions
TYPICAL = ("index.html", "lessons/07.html", "claims.html", "gallery/index.html")
LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}


@pytest.fixture(scope="module")
def builder():
    """docs/website/build.py; the functions that need no mkdocs."""
    from importlib.util import module_from_spec, spec_from_file_location
    spec = spec_from_file_location("build", BUILD)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    if missing := [name for name in ("mkdocs", "material", "mkdocstrings", "latex2mathml")
                   if not find_spec(name)]:
        pytest.skip(f'{", ".join(missing)} not installed, the site is not built (pip install -e '
                    '".[docs]")')
    out = tmp_path_factory.mktemp("site")
    got = subprocess.run([sys.executable, BUILD, "--out", out], capture_output=True, text=True,
                         timeout=300)
    assert got.returncode == 0, got.stdout + got.stderr
    return out


@pytest.fixture(scope="module")
def file(site) -> Path:
    return site / "index.html"


class Page(HTMLParser):
    """Names that links may lead to, links, and what the page loads."""

    def __init__(self, file: Path):
        super().__init__()
        self.names, self.links, self.loads = set(), [], []
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.names |= {attrs[key] for key in ("id", "name") if attrs.get(key)}
        if tag == "a" and attrs.get("href"):
            self.links.append(attrs["href"])
        if attrs.get(LOADED.get(tag)):
            self.loads.append(attrs[LOADED[tag]])


@pytest.fixture(scope="module")
def pages(site) -> dict[Path, Page]:
    return {f: Page(f) for f in sorted(site.rglob("*.html")) if f.name != "404.html"}


# ---- without mkdocs ------------------------------------------------------------------------------
def test_the_navigation_names_every_page_of_docs_and_no_other(builder):
    docs = {f.relative_to(ROOT / "docs").as_posix() for f in (ROOT / "docs").rglob("*.md")}
    assert len(docs) > 50 and docs <= NAMED, f"mkdocs.yml does not name {sorted(docs - NAMED)}"
    gone = [page for page in NAMED if page not in builder.OPTIONAL
            and not (ROOT / builder.file_of(page)).exists()]
    assert not gone, f"mkdocs.yml names pages that are not there: {gone}"


def test_markdown_is_read_as_on_github(builder):
    assert builder.with_empty_lines("Can:\n- a\n  b\n- c") == "Can:\n\n- a\n  b\n- c"
    assert builder.with_empty_lines("```\nx\n- y\n```\nText\n| `a\\|b` |") \
        == "```\nx\n- y\n```\n\nText\n\n| `a|b` |"


def test_the_picture_of_a_shared_link_has_a_whole_address(builder):
    page = SimpleNamespace(src_uri="choose/index.html", url="choose/index.html",
                           content_string='<meta property="og:image" content="../map.png">')
    nothing = SimpleNamespace(get_file_from_path=lambda path: None)
    assert 'content="https://x.org/map.png"' in builder.own_page(page, nothing, "https://x.org/")


def test_without_mkdocs_one_line_says_how_to_get_it():
    code = ("import sys, runpy; sys.modules['mkdocs'] = None; sys.argv = ['x']; "
            f"runpy.run_path({str(BUILD)!r}, None, '__main__')")
    got = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert got.returncode == 2 and got.stderr.count("\n") == 1 and "nanouft[docs]" in got.stderr, \
        got.stderr


# ---- the files of the site -----------------------------------------------------------------------
def test_no_link_is_dead(site, pages):
    dead = []
    for file, page in pages.items():
        for link in page.links + page.loads:
            parts = urlsplit(link)
            there = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            # #row=dpo is a page's own state
            anchor = "" if "=" in parts.fragment else unquote(parts.fragment)
            if parts.scheme or link == "#":
                continue
            known = pages[there].names if there in pages else [anchor]
            if not there.is_file() or anchor and anchor not in known:
                dead.append(f"{file.relative_to(site)}: {link}")
    assert len(pages) > 150 and not dead, "\n".join(dead[:20])


def test_nothing_is_asked_of_the_network(site, pages):
    asked = [f"{f.name}: {load}" for f, page in pages.items() for load in page.loads
             if urlsplit(load).netloc]
    for style in site.rglob("*.css"):
        asked += re.findall(r"(?:url\(|@import )[\"']?(?:https?:)?//[^)\"']*",
                            style.read_text(encoding="utf-8"))
    assert not asked, asked


def test_no_markdown_is_left_in_the_pages(pages):
    for file in pages:
        text = file.read_text(encoding="utf-8")
        formulas = "".join(re.findall(r"<math.*?</math>", text, re.S))
        assert not re.search(r"\\[a-z]", formulas) and "\ue000" not in text, \
            f"{file}: a command of LaTeX is not known"
        words = re.sub(r"<(pre|code|script|style).*?</\1>", "", text, flags=re.S)
        left = re.findall(r"\]\([\w./#-]+\)|\$`|\n\|[-|]+\|", words)
        assert not left, f"{file}: {left[:3]}"


# ---- in a browser, from files --------------------------------------------------------------------
@pytest.mark.parametrize("name", [*TYPICAL, "code/nanouft/gpt.html"])
@pytest.mark.parametrize("dark", [False, True])
def test_no_page_is_wider_than_the_screen_and_axe_finds_nothing(b, site, name, dark):
    for width in (320, 390, 768, 1280, 1400):
        b.open(site / name, width=width, dark=dark)
        assert b.js("document.documentElement.scrollWidth") <= width, width
        ground = b.js("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", ground)[:3])) < 300) == dark, \
            f"{ground} is not what was asked for"
    b.js("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    time.sleep(0.5)  # the theme adds its buttons after the page is there
    assert not (found := b.axe()), found


def test_the_gallery_asks_before_it_tells(b, site):
    b.open(site / "gallery" / "index.html")
    shown = "[...document.querySelectorAll('.answer')].filter((e) => e.offsetHeight).length"
    stories = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8").count("\n## ")
    assert b.js("document.querySelectorAll('.story').length") == stories and not b.js(shown)
    b.click("#endless .choice summary")
    b.wait("document.querySelector('#told').textContent")
    assert b.js(shown) == 1 and b.heard() == "No. It was (b). First guesses: 0 of 1 right."


def test_the_search_finds_a_method_by_keyboard(b, site):
    b.open(site / "index.html")
    b.key("f")
    b.wait("document.activeElement.name === 'query'")
    for letter in "orpo":
        b.key(letter)
    b.wait("document.querySelectorAll('.md-search-result__link').length > 1")
    assert "ORPO" in b.js("document.querySelector('.md-search-result__item').innerText")
    b.key("Enter")
    b.wait("document.readyState === 'complete' && !location.pathname.endsWith('/index.html')")
    assert "ORPO" in b.js("document.querySelector('article').innerText")
