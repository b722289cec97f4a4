"""docs/gallery.md as a page that asks before it tells: pick a cause, then cause and repair open.

    python docs/website/gallery.py          # out/gallery/index.html; the site makes it by itself

A choice is a <details>, and CSS shows the answer once one is open. This works without JavaScript,
and if a browser is too old for it, the answer is simply there. gallery.html has the style, and
counts the first guesses.
"""
import re
import struct
import sys
from pathlib import Path

from plain import with_empty_lines

from nanouft.run import pages

HERE = Path(__file__).parent
PARTS = re.compile(r"(?P<title>[^\n]+)\n(?P<seen>.*?)\n\*\*Choose\.\*\* (?P<choices>.*?)\n\n"
                   r"<details>.*?</summary>\n+\*\*\((?P<right>\w)\)\*\*(?P<answer>.*?)</details>",
                   re.S)


OUT = HERE.parents[1] / "out" / "gallery"       # beside the other chapters


def page(text: str, docs: str = "") -> str:
    """The Markdown of the gallery as a page in HTML. `docs`: how its links get to docs/."""
    head, *sections = text.split("\n## ")
    title, _, about = head.partition("\n")
    lead, numbers = about.strip().split("\n\n")
    lead = lead.replace('before you open "Cause and repair"', "and the answer opens")
    meaning = f"<details><summary>What the numbers mean</summary>{html(numbers)}</details>"
    heading = f"<h1>{title.removeprefix('# ')}</h1>"
    stories = "\n".join([heading, html(lead), meaning, *map(story, sections)])
    whole = pages.fill((HERE / "gallery.html").read_text(encoding="utf-8"),
                       {"<!--STORIES-->": stories, **pages.shared(OUT, "gallery")})
    return re.sub(r"""\b(href|src|content)="(?=gallery/|\w+\.md|lessons/)""", rf'\1="{docs}', whole)


def story(section: str) -> str:
    """What was seen, three causes to choose from, and the answer."""
    found = PARTS.match(section)
    name = re.search(r"gallery/(\w+)\.png", section)[1]
    causes = re.findall(r"\((\w)\) (.*?)(?= \(\w\) |$)", found["choices"], re.S)
    picks = "\n".join(choice(name, letter, cause, found["right"]) for letter, cause in causes)
    return f"""<section class="card story" id="{name}" aria-labelledby="h-{name}">
<h2 id="h-{name}">{found['title']}</h2>
{html(found['seen'])}
<h3>What went wrong?</h3>
{picks}
<div class="answer"><h3>Cause and repair</h3>{html(found['answer'])}</div>
</section>"""


def choice(name: str, letter: str, cause: str, right: str) -> str:
    verdict = "Yes, that was it." if letter == right else f"No. It was ({right})."
    kind = "choice right" if letter == right else "choice"
    return (f'<details class="{kind}" name="{name}"><summary>({letter}) {html(cause, "")}</summary>'
            f"<p>{verdict}</p></details>")


def html(text: str, around: str = "p") -> str:
    """Markdown as HTML; without `around`, words that stand inside a line."""
    from markdown import markdown
    made = markdown(with_empty_lines(text), extensions=["tables"])
    scrolled = '<div class="scroll" tabindex="0" role="group" aria-label="answers">'
    made = made.replace("<table>", f"{scrolled}<table>")
    made = made.replace("</table>", "</table></div>")
    made = re.sub(r'src="(gallery/\w+\.png)"',
                  lambda found: f"{found[0]} {size(HERE.parent / found[1])}", made)
    return made if around else made.removeprefix("<p>").removesuffix("</p>")


def size(picture: Path) -> str:
    """So that a picture has its room before it is there: width and height stand in bytes 16 to 24
    of a PNG."""
    width, height = struct.unpack(">II", picture.read_bytes()[16:24])
    return f'width="{width}" height="{height}" loading="lazy"'


def main() -> int:
    root = HERE.parents[1]
    file = OUT / "index.html"
    file.parent.mkdir(parents=True, exist_ok=True)
    text = (root / "docs" / "gallery.md").read_text(encoding="utf-8")
    file.write_text(page(text, "../../docs/"), encoding="utf-8")
    print(f"open {file}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
