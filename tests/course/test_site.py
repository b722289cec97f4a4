"""The site of `python -m lessons pages`: pages of lessons, links, and which outputs are kept.

A lesson of one cell is run here, and none of the course's."""
import re
import sys

import pytest

from lessons.behind.lesson_list import LESSONS, ROOT
from lessons.behind.website import pages

REPOSITORY = "https://code.example/nanouft"
SMALL = """# %% [markdown]
# # 00 · Six times seven
# A product, $6 \\cdot 7$; `nanouft/gpt.py`, `frozen_lake/none.py`; [02](LATER).
#
# *25 minutes; needs nothing.*

# %%
from course import ROOT, Path, ask, tell
guess = ask("How much is it?", "0 to 100")
print(6 * 7, "in all", Path("lessons").resolve() == ROOT / "lessons")
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of a whole site, of which Sphinx has nothing to say. Of its lessons one is run,
    whose file is another here."""
    for needed in pages.NEEDS:
        pytest.importorskip(needed, reason=f'no {needed} here: pip install -e ".[pages]"')
    folder = tmp_path_factory.mktemp("site")
    small = folder / LESSONS[0].name
    small.write_text(SMALL.replace("LATER", LESSONS[2].name), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(pages, "LESSONS", [small, *LESSONS[1:]])
        patch.setattr(pages, "lesson_files", lambda numbers: [small])
        assert pages.main(["00", "--repository", REPOSITORY]) == 0
    sys.modules.pop("ipykernel", None)      # by which nanouft knows a notebook; MyST-NB imports it
    return folder / "out" / "pages"


def test_a_page_of_a_lesson_has_its_neighbours_its_notebook_and_formulas_without_a_program(site):
    for k, lesson in enumerate(LESSONS[1:], 1):
        text = (site / "lessons" / f"{lesson.stem}.html").read_text(encoding="utf-8")
        assert "$" not in re.sub(r"<(pre|script).*?</\1>", "", text, flags=re.S), lesson
        assert f"<title>{lesson.name[:2]} · " in text
        near = {*LESSONS[k - 1:k + 2]} - {lesson}
        assert all(text.count(f'href="{x.stem}.html"') >= 2 for x in near), lesson
        assert f'href="{lesson.stem}.ipynb"' in text


def test_what_a_lesson_prints_is_folded_and_its_links_lead_to_pages_and_into_the_repository(site):
    text = (site / "lessons" / f"{LESSONS[0].stem}.html").read_text(encoding="utf-8")
    fold, = re.findall(r"<details.*?</details>", text, re.S)
    assert "What it prints" in fold and "42 in all True\n" in fold and "chdir" not in text
    assert "How much is it?\n" in fold, "and nobody is asked"
    assert re.search(r"<math .*<mn>6</mn><mo>.*</mo><mn>7</mn>.*</math>", text)
    assert f'href="{REPOSITORY}/blob/HEAD/nanouft/gpt.py"' in text
    assert ">frozen_lake/none.py<" in text and f'href="{LESSONS[2].stem}.html"' in text


def test_every_link_leads_somewhere_and_no_page_asks_anything_of_the_network(site):
    """A notebook is written beside the pages of the lessons that run."""
    read = {file.resolve(): file.read_text(encoding="utf-8") for file in site.rglob("*.html")}
    for file, html in read.items():
        assert not re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="(?:https?:)?//', html), file
        for link in re.findall(r'\s(?:href|src)="(?!https?:|data:)([^"]+)"',
                               re.sub(r"<script.*?</script>", "", html, flags=re.S)):
            path, _, anchor = re.sub(r"\?v=\w+", "", link).partition("#")
            there = (file.parent / path).resolve() if path else file
            assert there.exists() or there.suffix == ".ipynb", f"{file}: {link}"
            assert not anchor or re.search(rf'\sid="{re.escape(anchor)}"', read[there]), link
    texts = [x.relative_to(pages.ROOT) for x in (ROOT / "lessons" / "papers").rglob("*.md")]
    assert texts and all((site / x.with_suffix(".html")).exists() for x in texts)


@pytest.mark.parametrize("file", ["nanouft/assets/base/model.safetensors", "frozen_lake/lake.py",
                                  "lessons/behind/keys/parts.py"])
def test_no_output_is_taken_over_once_anything_that_lessons_read_has_changed(file, tmp_path,
                                                                             monkeypatch):
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).write_text("+", encoding="utf-8")
    before = pages.hash_of_code()
    (tmp_path / file).write_text("-", encoding="utf-8")
    assert pages.hash_of_code() != before
