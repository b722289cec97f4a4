"""docs/methods.md: every objective in one table, made from the registry and the first line of its
file.

    python -m lab.methods           # writes docs/methods.md; a test says when that is needed
"""
import re
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from lab.words import markdown_table, read_template
from nanouft.objectives import OBJECTIVES
from nanouft.run import config
from nanouft.run.flags import needs
from nanouft.run.storage import write_text

FAMILIES = ("Demonstrations", "Pairs", "Labels and scores", "The model's samples")


@dataclass
class Methods:
    out: str = "docs/methods.md"    # the file to write


def family(name: str) -> str:
    """What an objective learns from, with its default settings."""
    objective = OBJECTIVES[name]
    kinds = objective.kinds(objective.hp())
    if kinds == ["demos"]:
        return "Demonstrations"
    return {"pairs": "Pairs", "prompts": "The model's samples"}.get(kinds[0], "Labels and scores")


def row(name: str) -> list[str]:
    """A row of the table: name, what it does, paper, what it needs."""
    objective = OBJECTIVES[name]
    text = import_module(f"nanouft.objectives.{name}").__doc__.split("\n\n")[0]
    about = " ".join(text.split(": ", 1)[-1].split())
    arxiv = re.search(r"arXiv:(\d{4}\.\d{5}(?:v\d)?)", objective.paper)
    paper = f"[{arxiv[1]}](https://arxiv.org/abs/{arxiv[1]})" if arxiv else "–"
    data, models = needs(objective, objective.hp())
    return [f"[`{name}`](../nanouft/objectives/{name}.py)", about, paper,
            "; ".join([*data, *models])]


def page() -> str:
    tables = {title: markdown_table(["method", "in one line", "arXiv", "needs"],
                                    [row(name) for name in OBJECTIVES if family(name) == title])
              for title in FAMILIES}
    told = {title: "\n".join(lines) for title, lines in tables.items()}
    return read_template("methods.md")[0].format(**told)


def main(argv=None) -> int:
    cfg, _ = config.parse(Methods, argv, "python -m lab.methods", __doc__)
    write_text(Path(cfg.out), page())
    print(f"{cfg.out}: {len(OBJECTIVES)} methods")
    return 0


if __name__ == "__main__":
    sys.exit(config.run(main))
