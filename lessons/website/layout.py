"""What joins the pages that `python -m lessons pages` writes to one site.

Every page gets the same navigation and a description; the pages of docs/, README and
CONTRIBUTING are made of their Markdown by markdown-it-py, and so is the front page, of front.md. A
link to a file of the project leads to its page, if the site has one, else into the repository, and
without a repository it is plain text. No page asks anything of the network.
"""
import re
import shutil
from dataclasses import dataclass
from html import escape, unescape
from pathlib import Path
from typing import Any

from nanouft.pictures import colours
from nanouft.pictures.colours import write_page

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
FOLD = HERE / "fold"
SECTIONS = {"playground": "All losses", "lake": "Frozen Lake", "lessons": "Lessons",
            "docs/results": "Results", "docs": "Docs"}
DRAWN = ("playground", "lake")  # by a script
PAGES = {                       # a file or folder of the project: its page
    "docs": "docs/index.html", "lessons": "lessons/index.html",
    "frozen_lake": "lake/index.html", "nanouft/playground": "playground/index.html",
    "README.md": "docs/readme.html", "CONTRIBUTING.md": "docs/contributing.html",
    "docs/README.md": "docs/index.html", "lessons/website/front.md": "index.html",
    "docs/results": "docs/results/index.html", "docs/results/README.md": "docs/results/index.html"}
START = "<!-- quick start -->"   # in front.md: the place of README's commands
SHORT = 3                       # a page with more headings than this begins with a list of them
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{title}</title>
<meta name="description" content="{about}">
<meta property="og:title" content="{title}">
<meta property="og:description" content="{about}">
{head}<style>
:root {{ color-scheme: light dark;
{style}</style>
</head>
<body>
{navigation}<main>{body}</main>
</body>
</html>
"""

@dataclass
class Site:
    out: Path                   # its folder
    repository: str = ""        # address of the project's repository

    # ---- links -----------------------------------------------------------------------------------
    def place(self, file: str) -> str:
        """Where the page of a file of the project lies: "docs/lake.md" -> "docs/lake.html"; ""
        where there is none."""
        found = PAGES.get(file) or re.sub(r"^(docs/[\w/]+)\.md$|^(lessons/\d\d\w*)\.py$",
                                          lambda m: f"{m[1] or m[2]}.html", file)
        is_page = found.endswith(".html") or re.fullmatch(r"docs/[\w/]+\.(png|svg)", found)
        always = found.startswith("docs/") or found in ("index.html", "lessons/index.html")
        return found if is_page and (always or (self.out / found).exists()) else ""

    def target(self, link: str, source: Path, here: str) -> str:
        """Where a link in a file of the project leads from the page `here`; "" if nowhere."""
        if re.match(r"[a-z]+:|#|//", link):
            return link
        path, mark, anchor = link.partition("#")
        file = (source.parent / path).resolve().relative_to(ROOT).as_posix()
        if place := self.place(file):
            return f"{up(here)}{place}{mark}{anchor}"
        return f"{self.repository}/blob/HEAD/{file}{mark}{anchor}" if self.repository else ""

    def relink(self, html: str, source: Path, here: str) -> str:
        def link(found: re.Match) -> str:
            target = self.target(unescape(found[2]), source, here)
            return f'{found[1]}="{escape(target)}"' if target else ""
        return re.sub(r'\b(href|src)="([^"]*)"', link, html)

    # ---- what all pages share --------------------------------------------------------------------
    def navigation(self, here: str) -> str:
        """The links at the head of the page `here`: the front page, then every section."""
        links = [("index.html", "nanouft")] + [
            (f"{folder}/index.html", title) for folder, title in SECTIONS.items()
            if folder not in DRAWN or (self.out / folder).exists()]
        section = section_of(here)
        out = []
        for place, title in links:
            inside = ' aria-current="true"' if section and place == f"{section}/index.html" else ""
            now = ' aria-current="page"' if place == here else inside
            out.append(f'<a href="{up(here)}{place}"{now}>{title}</a>')
        return f'<header class="site"><nav aria-label="Site">{" ".join(out)}</nav></header>\n'

    def page(self, here: str, title: str, about: str, body: str) -> str:
        """A page of text with everything that belongs to it."""
        style = colours.css() + "}\n" + read(FOLD / "page.css")
        return PAGE.format(title=escape(title), about=escape(about), style=style, head=head(),
                           navigation=self.navigation(here), body=scrolling(body))

    def write(self, here: str, html: str) -> None:
        file = self.out / here
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(html, encoding="utf-8")

    # ---- pages -----------------------------------------------------------------------------------
    def write_drawn(self, drawn: dict[str, tuple[Path, Any]]) -> None:
        """Pages that a script draws: {folder of the site: (folder with page.html, its data)}."""
        for folder in drawn:                            # first all, so that each links the others
            (self.out / folder).mkdir(parents=True, exist_ok=True)
        for folder, (web, data) in drawn.items():
            navigation = self.navigation(f"{folder}/index.html")
            write_page(web, data, self.out / folder, head(), navigation)

    def write_texts(self) -> None:
        """Front page, docs, README and CONTRIBUTING, with their pictures."""
        (self.out / "docs" / "results").mkdir(parents=True, exist_ok=True)
        for picture in [*(ROOT / "docs").rglob("*.png"), *(ROOT / "docs").rglob("*.svg")]:
            shutil.copy(picture, self.out / picture.relative_to(ROOT))
        for source in [HERE / "front.md", ROOT / "README.md", ROOT / "CONTRIBUTING.md",
                       *(ROOT / "docs").rglob("*.md")]:
            here = self.place(source.relative_to(ROOT).as_posix())
            title, about, body = from_markdown(read(source).replace(START, quick_start()))
            if section := section_of(here):
                title = f"{title} · {SECTIONS[section]}"
            self.write(here, self.page(here, title, about, self.relink(body, source, here)))


def section_of(here: str) -> str:
    """docs/results/uft.html -> "docs/results"; "" for the front page."""
    return max((x for x in SECTIONS if here.startswith(f"{x}/")), key=len, default="")


def quick_start() -> str:
    """README's commands and what they print, as Markdown."""
    return re.search(r"^## Quick start\n(.*?)(?=^<details>|^## )", read(ROOT / "README.md"),
                     re.S | re.M)[1]


def head() -> str:
    """The navigation's style."""
    return f"<style>\n{read(FOLD / 'site.css')}</style>\n"


def up(here: str) -> str:
    """From the page `here` to the site's folder."""
    return "../" * here.count("/")


def read(file: Path) -> str:
    return file.read_text(encoding="utf-8")


def from_markdown(text: str) -> tuple[str, str, str]:
    """(title, the first sentence of the first paragraph, HTML); headings have GitHub's anchors."""
    from markdown_it import MarkdownIt
    from mdit_py_plugins.anchors import anchors_plugin
    reader = MarkdownIt("commonmark", {"html": True, "highlight": highlight}).enable("table")
    tokens = reader.use(anchors_plugin, max_level=4).parse(text)
    said = {kind: plain(tokens[k + 1]) for k in reversed(range(len(tokens)))
            if (kind := tokens[k].type) in ("heading_open", "paragraph_open")}
    about = re.split(r"(?<=[.?!:]) ", said.get("paragraph_open", said["heading_open"]))[0]
    html = reader.renderer.render(tokens, reader.options, {})
    return said["heading_open"], about, with_contents(html)


def with_contents(html: str) -> str:
    """A page with many headings begins with a list of them."""
    found = re.findall(r'<h2 id="([^"]+)">(.*?)</h2>', html, re.S)
    links = " ".join(f'<a href="#{anchor}">{bare(title)}</a>' for anchor, title in found)
    if len(found) <= SHORT:
        return html
    return html.replace("</h1>", f'</h1>\n<nav aria-label="On this page">{links}</nav>', 1)


def bare(html: str) -> str:
    """The words of a heading, without its tags and the mark that links to itself."""
    return re.sub(r'<a class="anchor-link".*?</a>|</?(?!math|m\w+)[^>]*>', "", html)


def plain(inline) -> str:
    """The words of a piece of Markdown, without its marks."""
    blank = {"softbreak": " "}
    return "".join(x.content if x.type in ("text", "code_inline") else blank.get(x.type, "")
                   for x in inline.children)


def highlight(code: str, language: str, _) -> str:
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import get_lexer_by_name
    return highlight(code, get_lexer_by_name(language or "text"), HtmlFormatter(nowrap=True))


def scrolling(html: str) -> str:
    """Code, tables and pictures of lessons that are too wide scroll in themselves, and by the
    keyboard too. The empty corner of a table is no heading."""
    html = html.replace("<pre", '<pre tabindex="0"').replace("<th></th>", "<td></td>")
    html = html.replace('<div class="output_png', '<div tabindex="0" class="output_png')
    html = re.sub(r"<table(?=[ >])", '<div class="wide" tabindex="0"><table', html)
    return html.replace("</table>", "</table></div>")
