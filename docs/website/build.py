"""The project as a site of plain files, which needs no network: out/site/index.html.

    python -m pip install -e ".[docs]"      # once: mkdocs, its theme, and what reads docstrings
    python docs/website/build.py            # or: mkdocs build --strict; to see it while you write:
                                            # mkdocs serve

Three pages are added if they were made before:

    python -m nanouft.playground                            # the page with the model
    python -m frozen_lake --study docs/results/C5.json      # the page of the lake
    python -m lab.page                                      # the chooser

SITE_URL=https://... says where the site will stand: then shared links get a picture.
mkdocs.yml names the pages. mkdocs knows the files of docs/ only. It calls the functions `on_...`
below. They add README, CONTRIBUTING, CHANGELOG, the exercises, and a page for each source file, and
they change links that leave docs/ so that they lead to these pages.
"""
import ast
import os
import posixpath
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urljoin

sys.path.insert(0, str(Path(__file__).parent))
import gallery
from plain import escaped, put_formulas_back, take_formulas_out, with_empty_lines

ROOT = Path(__file__).resolve().parents[2]
# Pages outside docs/
OUTSIDE = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "lessons/exercises/README.md")
# Page of the site -> the file that it comes from, if that file has been made
OPTIONAL = {
    "map.md": "docs/map.md",
    **{f"results/claims/C{n}.md": f"docs/results/claims/C{n}.md" for n in (1, 2, 3, 4)},
    "playground/index.html": "out/playground/index.html",
    "choose/index.html": "out/choose/index.html",
    "gallery/index.html": "docs/gallery.md",
    "frozen_lake/index.html": "out/frozen_lake/index.html"}
SOURCES = ("nanouft/**/*.py", "frozen_lake/**/*.py", "lab/*.py", "lessons/[0-9]*.py",
           "lessons/extras/*.py", "examples/*.py")


# ---- which page of the site shows which file of the project --------------------------------------
def sources() -> list[Path]:
    """Source files that get a page, from the root of the project."""
    return sorted(f.relative_to(ROOT) for pattern in SOURCES for f in ROOT.glob(pattern))


def page_of(file: str) -> str:
    """nanouft/gpt.py -> code/nanouft/gpt.md; docs/lake.md -> lake.md; a folder of code -> its
    index."""
    made = {origin: page for page, origin in OPTIONAL.items()}
    if file in made or file in OUTSIDE:
        return made.get(file, file)
    if file.startswith("docs/"):
        return file.removeprefix("docs/")
    name = file.removesuffix("/__init__.py").removesuffix(".py")
    return f"code/{name}/index.md" if is_folder(file) else f"code/{name}.md"


def is_folder(file: str) -> bool:
    return file.endswith("/__init__.py") or (ROOT / file).is_dir()


def file_of(page: str) -> str:
    """The file of the project that a page was made from."""
    return OPTIONAL.get(page, page if page in OUTSIDE else "docs/" + page)


def site_link(target: str, page: str, files) -> str:
    """A relative link in the file of `page` -> the link to the page that shows its target."""
    path, hash_, anchor = target.partition("#")
    file = posixpath.normpath(posixpath.join(posixpath.dirname(file_of(page)), path))
    own = f"{posixpath.basename(file)}/index.html"      # the page that a folder makes, if it exists
    shown = own if own in OPTIONAL and files.get_file_from_path(own) else page_of(file)
    is_listed = (ROOT / file).is_dir() and any(ROOT.glob(f"{file}/*.py"))
    if is_listed and not files.get_file_from_path(shown):       # its part of the list of files
        shown, hash_, anchor = "code/index.md", "#", file.replace("/", "")
    if not path or not (ROOT / file).exists() or not files.get_file_from_path(shown):
        return target
    return posixpath.relpath(shown, posixpath.dirname(page) or ".") + hash_ + anchor


# ---- pages that are made -------------------------------------------------------------------------
def first_line(file: Path) -> str:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return (ast.get_docstring(tree) or "").partition("\n")[0]


def code_block(code: str) -> str:
    """As Markdown: its fence is longer than any that the code itself has."""
    fence = "~~~" + "~" * max(map(len, re.findall("~+", code)), default=0)
    return f"{fence}python\n{code}{fence}\n"


def code_page(file: Path) -> str:
    """What a module offers, from its docstrings, and then the whole file. A lesson or an example is
    only shown."""
    code = (ROOT / file).read_text(encoding="utf-8")
    if file.parts[0] in ("lessons", "examples"):
        return f"---\nsearch: {{exclude: true}}\n---\n# `{file.as_posix()}`\n{code_block(code)}"
    module = ".".join(file.with_suffix("").parts).removesuffix(".__init__")
    return (f"---\nsearch: {{boost: 0.0005}}\n---\n# `{file.as_posix()}`\n::: {module}\n\n"
            f"## The whole file {{ #the-whole-file data-search-exclude }}\n{code_block(code)}")


def code_index() -> str:
    """One table a folder: the files, each with the first line of its docstring."""
    lines = ["# API", "What each file is for. Its page has its docstrings and the whole file."]
    folder = None
    for file in sorted(sources(), key=lambda f: (f.parts[0] != "nanouft", f.parent, f.name)):
        if file.parent != folder:
            folder = file.parent
            lines += ["", f"## {folder.as_posix()}", "| file | |", "|---|---|"]
        page = page_of(file.as_posix()).removeprefix("code/")
        lines.append(f"| [`{file.name}`]({page}) | {escaped(first_line(file))} |")
    return "\n".join(lines)


def code_nav() -> list:
    """The pages of the code for mkdocs' navigation: {folder: [pages and folders]}."""
    top = ["code/index.md"]
    places = {"": top}
    for file in sorted(sources(), key=lambda f: f.parts[0] != "nanouft"):
        folder = file.parent.as_posix()
        for parent in reversed([file.parent, *file.parent.parents][:-1]):
            name = parent.as_posix()
            if name not in places:
                places[name] = []
                above = parent.parent.as_posix()
                places["" if above == "." else above].append({parent.name: places[name]})
        title = {} if file.name == "__init__.py" else file.name
        page = page_of(file.as_posix())
        places[folder].append({title: page} if title else page)
    return top


# ---- what mkdocs calls ---------------------------------------------------------------------------
def filled_nav(entry, made: set[str]):
    """An entry of the navigation without the optional pages that are not there, and with those of
    the code."""
    if isinstance(entry, list):
        return [kept for one in entry if (kept := filled_nav(one, made)) is not None]
    if isinstance(entry, dict):
        ((title, below),) = entry.items()
        below = filled_nav(below, made)
        return None if below is None else {title: below}
    if entry == "code/":
        return code_nav()
    return None if entry in OPTIONAL and entry not in made else entry


def on_config(config):
    made = {page for page, file in OPTIONAL.items() if (ROOT / file).exists()}
    config.nav = filled_nav(config.nav, made)
    from pymdownx.slugs import slugify
    config.mdx_configs["toc"]["slugify"] = slugify(case="lower")    # anchors as GitHub makes them
    return config


def on_files(files, config):
    from mkdocs.structure.files import File
    def add(page: str, text: str) -> None:
        files.append(File.generated(config, page, content=text))
    for name in OUTSIDE:
        add(name, (ROOT / name).read_text(encoding="utf-8"))
    add("code/index.md", code_index())
    for file in sources():
        add(page_of(file.as_posix()), code_page(file))
    for page, file in OPTIONAL.items():
        if file.startswith("out/") and (ROOT / file).exists():
            add(page, (ROOT / file).read_text(encoding="utf-8"))
    stories = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")
    add("gallery/index.html", gallery.page(stories))
    for file in [f for f in files if f.src_uri.endswith(".html")]:
        files.remove(file)
        add(file.src_uri, own_page(file, files, config.site_url))
    return files


def own_page(file, files, site: str) -> str:
    """An interactive page; its links to files of the project lead to pages of the site. The picture
    of a shared link has a whole address, because whoever shows it does not know this page's."""
    def moved(found: re.Match) -> str:
        path, hash_, anchor = site_link(found[2], file.src_uri, files).partition("#")
        place = posixpath.join(posixpath.dirname(file.src_uri), path)
        page = files.get_file_from_path(posixpath.normpath(place))
        return found[1] + page.url_relative_to(file) + hash_ + anchor if page else found[0]

    link = r"""(["'(])([\w./-]+\.(?:md|py|png)(?:#[\w-]*)?)(?=["')])"""
    text = re.sub(link, moved, file.content_string)
    chapters = [page for page in OPTIONAL if page.endswith(".html")]
    for page in [page for page in chapters if not files.get_file_from_path(page)]:      # no link
        text = re.sub(rf'<a href="../{page}">(.*?)</a>', r"<span>\1</span>", text)
    return re.sub(r'(?<=og:image" content=")[^"]+',
                  lambda m: urljoin(site + file.url, m[0]) if site else m[0], text)


def on_page_markdown(markdown, page, config, files):
    """Links led to pages, the heading first, and Markdown as GitHub reads it."""
    name = page.file.src_uri
    if name.startswith("code/"):
        return markdown
    # Tables are not searched. Other pages come before those of code: a word in a heading, such as a
    # function's name, counts 1,000 times as much as one in a text.
    boost = {"boost": 0.5 if name == "LOG.md" else 3}
    page.meta["search"] = {"exclude": True} if name.startswith("results/") else boost
    if heading := re.search(r"^# .*\n", markdown, re.M):
        markdown = heading[0] + "\n" + markdown.replace(heading[0], "", 1)
    markdown = re.sub(r"(\]\()([^)\s:]+)(?=\))",
                      lambda m: m[1] + site_link(m[2], name, files), markdown)
    markdown, page.formulas = take_formulas_out(markdown)
    return with_empty_lines(markdown.replace("<details>", "<details markdown>"))


def on_page_content(html, page, config, files):
    html = re.sub(r"<th[^>]*></th>", "<td></td>", html)        # a heading that says nothing is none
    return put_formulas_back(html, getattr(page, "formulas", []))


def main(argv=None) -> int:
    from nanouft.errors import UserError
    from nanouft.run import config
    from nanouft.run.words import optional
    parser = config.Parser(prog="python docs/website/build.py", description=__doc__)
    parser.add_argument("--out", default=str(ROOT / "out" / "site"),
                        help="folder of the site [out/site]")
    out = Path(parser.parse_args(argv).out).resolve()
    for name in ("mkdocs", "material", "mkdocstrings", "latex2mathml"):
        optional(name, "the site", extra="docs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", out]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"})
    if done.returncode:
        raise UserError("mkdocs has stopped; the lines above say where")
    print(out / "index.html")
    return 0


if __name__ == "__main__":
    from nanouft.run import config
    sys.exit(config.run(main))
