"""Text as people write it, for the Markdown that mkdocs reads: `spaced`; and the docstrings of the code: `Plain`."""
import re

LIST = re.compile(r"[-*] |1\. ")


def spaced(text: str) -> str:
    """An empty line before each list and table that follows a line of text: GitHub needs none, mkdocs does."""
    lines, fence, block = [], "", "text"
    for line in text.split("\n"):
        mark = re.match(r"\s*(```+|~~~+)", line)
        if mark and (not fence or mark[1].startswith(fence)):
            fence = "" if fence else mark[1]
        elif not fence:
            kind = "list" if LIST.match(line) else "table" if line.startswith("|") else ""
            if kind and kind != block and lines and lines[-1].strip():
                lines.append("")
            block = kind or (block if line.strip() else "text")
        lines.append(line)
    return "\n".join(lines)
