"""What every break switch prints: made by running it, and kept in the notes docs/teaching/07.md.

    python -m lessons.render 07         # ... if the lesson's code or the list of switches changed

The notes name the switches, each in a line of its own: **`BREAK = "end"`**, or two lines of the
lesson at once: **`TEACH = 20; SEED = 2`**. Below each stand the lines that it prints and that the
lesson as shipped does not print. Nobody writes them by hand: a key tells whether they are current.
"""
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from lessons.grade.folder import ROOT, environment
from nanouft.errors import UserError
from nanouft.run.storage import checksum

NOTES = ROOT / "docs" / "teaching"
SECONDS = 1200                          # for one run, on a busy machine
BLOCK = re.compile(r"<!-- switches (\w+) -->\n(.*?)<!-- end -->", re.S)


def notes(lesson: Path) -> Path:
    return NOTES / f"{lesson.stem.split('_')[0]}.md"


def key(code: str, body: str) -> str:
    return checksum(code + body)[:12]


def is_current(lesson: Path, code: str) -> bool:
    """code: that of the lesson, without comments."""
    found = BLOCK.search(notes(lesson).read_text(encoding="utf-8"))
    return found is not None and found[1] == key(code, found[2])


def update(lesson: Path, code: str, shipped: str) -> None:
    """Run every switch that the notes name, and write what it prints. shipped: the lesson's page,
    with the output as shipped."""
    file = notes(lesson)
    text = file.read_text(encoding="utf-8")
    found = BLOCK.search(text)
    if not found:
        raise UserError(f"{file}: has no list of switches, <!-- switches 0 --> ... <!-- end -->")
    body = ""
    for switch in re.findall(r"^\*\*`(.+)`\*\*$", found[2], re.M):
        print(f"{lesson.name}: {switch}", flush=True)
        lines = other_lines(printed(lesson, switch), shipped)
        lines = lines or ["(no line changes; look at the picture)"]
        body += f"**`{switch}`**\n```text\n{chr(10).join(lines)}\n```\n"
    block = f"<!-- switches {key(code, body)} -->\n{body}<!-- end -->"
    file.write_text(text.replace(found[0], block), encoding="utf-8", newline="\n")


def with_switch(source: str, switch: str) -> str:
    """The lesson after a student has changed these lines."""
    for line in switch.split("; "):
        name = line.split(" = ")[0]
        found = rf"^{re.escape(name)} = [^#\n]*"
        source, n = re.subn(found, lambda _: f"{line}  ", source, flags=re.M)
        if n != 1:
            raise UserError(f"{switch}: the lesson has {n} lines {name} = ...")
    return source


def printed(lesson: Path, switch: str) -> list[str]:
    """What the lesson prints with a switch, in an empty folder, without a guess."""
    with tempfile.TemporaryDirectory(prefix="nanouft-switch-") as place:
        file = Path(place, lesson.name)
        source = lesson.read_text(encoding="utf-8")
        file.write_text(with_switch(source, switch), encoding="utf-8")
        done = subprocess.run([sys.executable, str(file)], cwd=place, env=environment(),
                              stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8",
                              timeout=SECONDS)
    if "Traceback" in done.stderr:
        raise UserError(f"{lesson.name}, {switch}: {done.stderr.strip().splitlines()[-1]}")
    return done.stdout.splitlines()


def other_lines(lines: list[str], shipped: str) -> list[str]:
    """The lines that are not in the text as shipped. A heading above them, a line without digits,
    is kept; where the picture is saved does not matter."""
    known = {line.strip() for line in shipped.splitlines()}
    lines = [line for line in lines if not line.startswith("picture:")]
    new = [line.strip() not in known for line in lines]
    kept = [line for line, here, below in zip(lines, new, [*new[1:], False])
            if line.strip() and (here or below and not re.search(r"\d", line))]
    return [re.sub(r" \(line \d+\)", "", line).rstrip() for line in kept]
