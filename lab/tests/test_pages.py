"""The pages say what to do first, in sentences that one can read: words, figures and lengths of
docs/map.md, docs/claims.md and docs/papers.md. The pages' numbers: test_evidence.py.

    python lab/tests/test_pages.py      # prints the measures of these pages, or of the files named
"""
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [page for page in ("map", "claims", "papers") if (ROOT / f"docs/{page}.md").exists()]
MARKER = "**What to do.**"              # what one should do stands behind it
BEFORE, FIRST, FIGURES, LONGEST = 10, 60, 6, 30


def words(text: str) -> list[str]:
    return [word for word in text.split() if re.search(r"\w", word)]


def paragraphs(page: str) -> list[str]:
    """Prose: no tables, headings, pictures, commands and code; a link is its text, a list item a
    paragraph."""
    page = re.sub(r"```.*?```|<!--.*?-->", "", page, flags=re.S)
    lines = ["" if re.match(r"\s*(\||#|!\[|<)", line) else line for line in page.splitlines()]
    text = re.sub(r"\n(?=- |\d+\. )", "\n\n", "\n".join(lines))
    text = re.sub(r"!?\[([^]]*)\]\([^)]*\)", r"\1", re.sub(r"`[^`]*`", "code", text))
    return [" ".join(part.split()) for part in re.split(r"\n\s*\n", text) if words(part)]


def measures(page: str) -> dict[str, float]:
    """words_before: the marker; first: words of what to do; figures: in 100 words of prose (C3b and
    4M are names); longest: words of the longest sentence."""
    prose = paragraphs(page)
    sentences = [s for part in prose for s in re.split(r"(?<=[.!?])[\"')*]*\s+", part)]
    figures = re.findall(r"(?<![\w.,])[-+±]?\.?\d[\d,.]*(?![\w])", " ".join(prose))
    where = page.find(MARKER)
    first = paragraphs(page[where + len(MARKER):]) if where >= 0 else [""]
    return {"words_before": len(words(page[:where])) if where >= 0 else float("inf"),
            "first": len(words(first[0])),
            "figures": 100 * len(figures) / len(words(" ".join(prose))),
            "longest": max(len(words(s)) for s in sentences)}


@pytest.mark.parametrize("page", PAGES)
def test_a_page_says_what_to_do_first_and_in_short_sentences(page):
    found = measures((ROOT / f"docs/{page}.md").read_text(encoding="utf-8"))
    assert found["words_before"] <= BEFORE and found["first"] <= FIRST, found
    assert found["figures"] <= FIGURES and found["longest"] <= LONGEST, found


def test_the_measures_by_hand():
    page = ("# A title\n\n**What to do.** Write two.\n\n## Why\nIt is 5 [29, 40] `x 7`; C3 too. "
            "Or [so](a/9.md)?\n\n| 1 | 2 |\n")
    assert measures(page) == {"words_before": 2, "first": 2, "figures": 100 * 3 / 15, "longest": 8}


if __name__ == "__main__":
    for name in sys.argv[1:] or [str(ROOT / f"docs/{page}.md") for page in PAGES]:
        text = Path(name).read_text(encoding="utf-8")
        print(name, {key: round(value, 1) for key, value in measures(text).items()})
        for part in paragraphs(text):
            for s in re.split(r"(?<=[.!?])[\"')*]*\s+", part):
                if len(words(s)) > LONGEST:
                    print(f"  {len(words(s))} words: {s}")
