"""What the pages of `python -m lessons pages` share: their navigation, and where a link leads.

nbconvert writes each page from a notebook, by the template fold/index.html.j2. A text such as
front.md or docs/data.md is a notebook with one cell. A link to a file of the project leads to its
page, if it has one, else into the repository, and without a repository to the file on this disk.
No page asks anything of the network.
"""
import os
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nanouft.pictures import colours
from nanouft.plumbing.files import read_text, write_text

ROOT = Path(__file__).resolve().parents[3]
FOLD = Path(__file__).with_name("fold")
PAGES = {"nanouft/playground": "playground/index.html", "frozen_lake": "lake/index.html",
         "lessons": "lessons/index.html"}
TEXTS = ("README.md", "CONTRIBUTING.md", "docs/**/*.md", "lessons/README.md", "lessons/p*/*.md")
DOCS = [x.relative_to(ROOT).as_posix() for where in TEXTS for x in sorted(ROOT.glob(where))]
SECTIONS = {"index.html": "nanouft", "playground/index.html": "All losses",
            "lake/index.html": "Frozen Lake", "lessons/index.html": "Lessons",
            "docs/results/README.html": "Results", "docs/README.html": "Docs"}


@dataclass
class Site:
    out: Path                                       # its folder
    lessons: list[Path] = field(default_factory=list)       # those that get a page
    repository: str = ""                            # address of the project's repository

    def address(self, file: str, here: str) -> str:
        """Where a file or folder of the project lies, seen from the page `here`."""
        page = PAGES.get(file, re.sub(r"\.(py|md)$", ".html", file))
        folder = (self.out / here).parent
        if file in DOCS or ROOT / file in self.lessons or (self.out / page).is_file():
            return Path(os.path.relpath(self.out / page, folder)).as_posix()
        if self.repository:
            return f"{self.repository}/blob/HEAD/{file}"
        return Path(os.path.relpath(ROOT / file, folder.resolve())).as_posix()

    def navigation(self, here: str) -> str:
        """The links at the head of the page `here`; a page that a script draws may be missing."""
        out = []
        for page, title in SECTIONS.items():
            if page.startswith(("playground", "lake")) and not (self.out / page).parent.is_dir():
                continue
            near = Path(page).parent == Path(re.sub("/p.*/", "/", here)).parent
            now = f' aria-current="{"page" if page == here else "true"}"' if near else ""
            out.append(f'<a href="{"../" * here.count("/")}{page}"{now}>{title}</a>')
        return f'<header class="site"><nav aria-label="Site">{" ".join(out)}</nav></header>\n'

    def write_drawn(self, drawn: dict[str, tuple[Path, Any]]) -> None:
        """Pages that a script draws: {folder of the site: (folder with page.html, its data)}."""
        for folder in drawn:                        # first all, so that each links the others
            (self.out / folder).mkdir(parents=True, exist_ok=True)
        style = f"<style>\n{read_text(FOLD / 'site.css')}</style>\n"
        for folder, (web, data) in drawn.items():
            navigation = self.navigation(f"{folder}/index.html")
            colours.write_page(web, data, self.out / folder, style, navigation)

    def write(self, here: str, notebook, title: str, about: str, near: str = "") -> None:
        """The page of a notebook; `near` are links above and below it."""
        from nbconvert import HTMLExporter
        exporter = HTMLExporter(extra_template_basedirs=[str(FOLD.parent)], template_name=FOLD.name,
                                exclude_input_prompt=True, exclude_output_prompt=True)
        html, _ = exporter.from_notebook_node(notebook, resources={
            "title": title, "about": about, "near": near, "colours": colours.css(),
            "navigation": self.navigation(here)})
        (self.out / here).parent.mkdir(parents=True, exist_ok=True)
        write_text(self.out / here, scrolling(html))

    def write_text(self, here: str, text: str) -> None:
        """The page of a Markdown text that begins with its title and with what it is about."""
        from nbformat.v4 import new_markdown_cell, new_notebook
        title, about = re.match(r"(?:<!--.*-->\n)?# (.*?)\n+(.*?)(?:\n\n|\Z)", text, re.S).groups()
        plain = [re.sub(r"<!--.*?-->|[*`]|\[([^]]*)\]\([^)]*\)", r"\1", x)
                 for x in (title, title if about.startswith("|") else about)]
        self.write(here, new_notebook(cells=[new_markdown_cell(text)]), *plain)

    def write_file(self, file: str, text: str, here: str = "") -> None:
        """The page of a Markdown file of the project; the pictures that it shows come along."""
        here = here or file.replace(".md", ".html")

        def link(found: re.Match) -> str:
            there = os.path.normpath(Path(file).parent / found[2])
            if there.endswith((".png", ".svg")):
                (self.out / there).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / there, self.out / there)
            return found[1] + self.address(Path(there).as_posix(), here)
        self.write_text(here, re.sub(r'(\]\(|src=")(?!\w+:|#)([^)#"]+)', link, text))


def scrolling(html: str) -> str:
    """Code, tables and pictures of lessons that are too wide scroll in themselves, and by the
    keyboard too. A heading has the anchor that the web pages of repositories give it."""
    html = re.sub(r'(?<=<h\d id=")[^"]+|(?<=class="anchor-link" href="#)[^"]+',
                  lambda found: re.sub(r"&\w+;|[^\w-]", "", found[0].lower()), html)
    html = html.replace("<pre", '<pre tabindex="0"')
    html = html.replace('<div class="output_png', '<div tabindex="0" class="output_png')
    return re.sub(r"<table>.*?</table>", r'<div class="wide" tabindex="0">\g<0></div>', html,
                  flags=re.S)
