"""The site's settings, as Sphinx reads them; the texts are those that pages.py puts in one folder.

furo has the search, the contents, light and dark. No page asks anything of the network. What furo
leaves open is here: links to files without a page, descriptions, what scrolls by the keyboard.
"""
import os
import re
from html import escape
from pathlib import Path

from docutils import nodes
from sphinx.addnodes import pending_xref

from lessons.behind.lesson_list import LESSONS
from nanouft.pictures.colours import INK, PAGE, PANEL, SOFT, UP

ROOT = Path(__file__).resolve().parents[3]
PAGES = {"nanouft/playground": "playground/index.html", "frozen_lake": "lake/index.html",
         "lessons": "lessons/README.html", "docs/results": "docs/results/README.html"}
PAGES |= {f"lessons/{x.name}": f"lessons/{x.stem}.html" for x in LESSONS}
COLOURS = {"background-primary": PAGE, "background-secondary": PANEL, "foreground-primary": INK,
           "foreground-secondary": SOFT, "foreground-muted": SOFT, "brand-primary": UP,
           "brand-content": UP, "brand-visited": UP, "code-background": PANEL}
DRAWN = {"playground": "All losses, two at a time", "lake": "Frozen Lake"}

project = author = html_title = "nanouft"
extensions = ["myst_parser", "sphinx_copybutton"]
myst_enable_extensions, myst_heading_anchors = ["html_image"], 4
html_theme, pygments_dark_style = "furo", "github-dark"
html_theme_options = {f"{side}_css_variables": {
    f"color-{name}": getattr(look, side) for name, look in COLOURS.items()}
    for side in ("light", "dark")}
html_static_path = ["static"]
html_css_files, html_js_files = ["site.css"], [("guess.js", {"defer": "defer"})]
html_copy_source = html_use_index = html_show_copyright = smartquotes = False


def address(app, file: str) -> str:
    """Where a file or folder of the project is, seen from the page that is read."""
    here = Path(app.env.docname).parent
    page = PAGES.get(file, "")
    source = Path(app.srcdir, page).with_suffix(".md")
    if page and (source.exists() or Path(app.outdir, page).exists()):
        return Path(os.path.relpath(page, here)).as_posix()
    if app.config.repository:
        return f"{app.config.repository}/blob/HEAD/{file}"
    return Path(os.path.relpath(ROOT / file, Path(app.outdir, here))).as_posix()


def link_files(app, doctree) -> None:
    """Links to what is no text of the site."""
    here = Path(app.env.docname).parent
    for node in list(doctree.findall(pending_xref)):
        file = Path(os.path.normpath(here / node["reftarget"])).as_posix()
        if not node.get("refdomain") and (ROOT / file).exists():
            link = nodes.reference("", "", *node.children, refuri=address(app, file))
            node.replace_self(link)


def complete(app, name, template, context, doctree) -> None:
    """A page's description is its first paragraph; what scrolls is reached by the keyboard, and the
    contents have the drawn pages, too."""
    if doctree:                                     # the page of search has none
        texts = (x for x in doctree.findall(nodes.paragraph) if isinstance(x.parent, nodes.section))
        title = doctree.next_node(nodes.title)
        about = escape(" ".join(next(texts, title).astext().split()))
        context["metatags"] += f"""<meta name="description" content="{about}">
<meta property="og:title" content="{escape(title.astext())}">
<meta property="og:description" content="{about}">"""
        scrolls = r'<(?=pre>|p><img|div class="table-wrapper)(\w+)'
        context["body"] = re.sub(scrolls, r'<\1 tabindex="0"', context["body"])
    link = '<li class="toctree-l1"><a href="{}" class="reference">{}</a></li>'.format
    drawn = [link(context["pathto"](f"{folder}/index.html", 1), title)
             for folder, title in DRAWN.items() if Path(app.outdir, folder).exists()]
    tree = context["furo_navigation_tree"].replace('role="heading"', 'role="heading" aria-level=2')
    context["furo_navigation_tree"] = f"<ul>{''.join(drawn)}</ul>{tree}"


def setup(app) -> None:
    app.add_config_value("repository", "", "env")
    app.connect("doctree-read", link_files)
    app.connect("html-page-context", complete, priority=900)        # after furo
