"""The site's settings, as Sphinx reads them; the texts are those that pages.py puts in one folder.

furo has the search, the contents, light and dark. MyST-NB reads a lesson by jupytext, runs it, and
keeps its outputs until code of the project changes. Formulas are MathML, and no page asks anything
of the network.
"""
import os
from pathlib import Path

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.addnodes import pending_xref

ROOT = Path(__file__).resolve().parents[3]

project = author = html_title = "nanouft"
extensions = ["myst_nb", "sphinx_copybutton"]
myst_enable_extensions, myst_heading_anchors = ["html_image", "dollarmath"], 4
myst_dmath_double_inline = True                     # $$...$$ within a paragraph
nb_custom_formats = {".py": ["jupytext.reads", {"fmt": "py:percent"}]}
nb_execution_mode, nb_execution_timeout = "cache", 600
nb_output_stderr = "remove"                         # progress bars
nb_code_prompt_show, nb_code_prompt_hide = "What it prints", "What it prints"
html_theme, html_math_renderer = "furo", "mathml"
html_copy_source = html_use_index = html_show_copyright = smartquotes = False


def link_files(app, doctree) -> None:
    """A link to a file or folder without a page leads into the repository, or to the file."""
    here = Path(app.env.docname).parent
    for node in list(doctree.findall(pending_xref)):
        file = Path(os.path.normpath(here / node["reftarget"])).as_posix()
        if not node.get("refdomain") and (ROOT / file).exists():
            from_page = os.path.relpath(ROOT / file, Path(app.outdir, here))
            repository = app.config.repository
            address = f"{repository}/blob/HEAD/{file}" if repository else Path(from_page).as_posix()
            node.replace_self(nodes.reference("", "", *node.children, refuri=address))


def write_formula(translator, node) -> None:
    """A formula as MathML, which every browser sets without a program."""
    display = "block" if isinstance(node, nodes.math_block) else "inline"
    text = node.astext().replace(r"\log", r"\log\,")     # TeX sets this space by itself
    translator.body.append(convert(text, display=display))
    raise nodes.SkipNode


def setup(app) -> None:
    app.add_config_value("repository", "", "env")
    app.add_html_math_renderer("mathml", (write_formula, None), (write_formula, None))
    app.connect("doctree-read", link_files)
