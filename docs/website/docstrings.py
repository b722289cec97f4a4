"""Docstrings are plain text; mkdocs reads Markdown. A comment beside a setting is its docstring."""
import re

import griffe
from plain import escaped, with_empty_lines

LONG = 60               # characters of a value that are shown


def as_markdown(text: str) -> str:
    """Indented lines (formulas, commands, tables) stay as they are; all else is text, without
    emphasis."""
    lines, code = [], False
    for line in text.split("\n"):
        indented, listed = line.startswith("    "), bool(lines) and block_is_list(lines)
        if indented and not listed and not code:
            lines.append("")
        if code and line and not indented:
            lines.append("")
        code = (indented and not listed) or (code and not line)
        lines.append(line if code else escaped(line))
    return with_empty_lines("\n".join(lines))


def block_is_list(lines: list[str]) -> bool:
    """Does the last line belong to a list?"""
    for line in reversed(lines):
        if not line.strip():
            return False
        if re.match(r"([-*]|\d+\.) ", line):
            return True
    return False


class Plain(griffe.Extension):
    def on_object(self, *, obj: griffe.Object, **_) -> None:
        if obj.docstring:
            obj.docstring.value = as_markdown(obj.docstring.value)
        elif obj.is_attribute and (comment := beside(obj)):
            obj.docstring = griffe.Docstring(escaped(comment), parent=obj)
        elif obj.is_attribute:
            obj.public = False                          # it has no description
        if obj.is_attribute and len(str(obj.value)) > LONG:
            obj.value = "..."


def beside(attribute: griffe.Attribute) -> str:
    """The comment at the end of an assignment, with the lines of comment below it."""
    lines = attribute.lines_collection[attribute.filepath]
    comment = re.search(r"\s#\s+(.*)$", lines[attribute.endlineno - 1])
    if not comment:
        return ""
    words = [comment[1]]
    for line in lines[attribute.endlineno:]:
        if not (more := re.match(r"\s{12,}#\s+(.*)$", line)):
            break
        words.append(more[1])
    return " ".join(words)
