"""Markdown as GitHub reads it, for mkdocs: lists and tables without an empty line before them, and
formulas."""
import re

FORMULA = re.compile(r"^```math\n(?P<block>.*?)^```$|\$`(?P<inline>.+?)`\$", re.M | re.S)
LONG = 40               # letters of a formula that may not fit in a line of a telephone
LIST = re.compile(r"[-*] |1\. ")


def with_empty_lines(text: str) -> str:
    """An empty line before each list and table, and after each block of code: GitHub needs none,
    mkdocs does."""
    lines, fence, block = [], "", "text"
    for line in text.split("\n"):
        mark = re.match(r"\s*(```+|~~~+)", line)
        if mark and (not fence or mark[1].startswith(fence)):
            fence, block = ("" if fence else mark[1]), "code"
        elif not fence:
            if block == "code" and line.strip() and not line.startswith(" "):
                lines.append("")
                block = "text"
            kind = "list" if LIST.match(line) else "table" if line.startswith("|") else ""
            if kind and kind != block and lines and lines[-1].strip():
                lines.append("")
            if kind == "table":                     # a | inside code needs no \\ here
                line = re.sub(r"`[^`]*`", lambda code: code[0].replace(r"\|", "|"), line)
            block = kind or (block if line.strip() else "text")
        lines.append(line)
    return "\n".join(lines)


def escaped(line: str) -> str:
    """A line of a docstring, without emphasis, links and tags outside of `code`."""
    parts = line.split("`")
    parts[::2] = [re.sub(r"(?<!^)([*_\[])", r"\\\1", part).replace("<", "&lt;")
                  for part in parts[::2]]
    return "`".join(parts)


def take_formulas_out(text: str) -> tuple[str, list[str]]:
    """The text with a mark in place of each formula, and the formulas as MathML, which browsers
    show by themselves."""
    from latex2mathml.converter import convert
    formulas = []

    def mark(found: re.Match) -> str:
        latex = found["block"] or found["inline"]
        latex = latex.replace(r"\arg", r"\mathrm{arg}").replace(r"\mathbb E", "𝔼")
        formula = convert(latex, display="block" if found["block"] else "inline")
        kind = "formula" if found["block"] else "formula long" if len(latex) > LONG else ""
        formulas.append(f'<span class="{kind}">{formula}</span>' if kind else formula)
        return f"\ue000{len(formulas) - 1}\ue001"
    return FORMULA.sub(mark, text), formulas


def put_formulas_back(html: str, formulas: list[str]) -> str:
    return re.sub("\ue000(\\d+)\ue001", lambda found: formulas[int(found[1])], html)
