"""docs/cheat_sheet.md and .pdf: every method on a line, made from the registry and the heads of its
files.

    python -m lessons.cheat_sheet       # writes both; a test says when that is needed

The equations stand once, in the head of each method's file, in lines such as
    L = -log sigmoid( beta (r_w - r_l) )            (Eq. 7)
    --form down     L = ...                         a form of its own, with this setting
    lo = A - log(1 - exp(A))                           a name that the equation uses
    e_i: the embedding of prompt i                  one that is explained in words
lessons/tests/test_cheat_sheet.py computes each equation and compares it with the loss of the code.
"""
import re
import sys
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

from lessons.cheat_sheet.draw import draw
from nanouft import objectives, pretrain, reward
from nanouft.objective import Objective
from nanouft.objectives import OBJECTIVES
from nanouft.run import config
from nanouft.run.flags import needs
from nanouft.run.storage import write_text

FAMILIES = ("Demonstrations", "Pairs", "Labels and scores", "The model's samples")
BEFORE = "Before fine-tuning"
NAME = r"[^\W\d][\w']*"
LOSS = re.compile(r" {4,}(?:--(\S+ \w+) +)?L = (.+?)(?:  +(.+))?")
FORMULA = re.compile(rf" {{4,}}({NAME}) = (.+?)(?:  +.+)?")
WORDS = re.compile(rf" {{4,}}({NAME}(?:, {NAME})*(?:\(y\))?): (.+)")
LETTERS = {"sigmoid": "σ", "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "eps": "ε",
           "lam": "λ", "mu": "μ", "rho": "ρ", "tau": "τ", "sum": "Σ"}
# When is a method worth a try? Its settings, too, where they are forms of their own.
WHEN = {
    "sft": "you have good answers; the baseline of every other method",
    "ift": "IFT (detached weights): both ideas, and no word is pushed down",
    "ift --variant released": "IFT as released: to repeat the published code",
    "ift --variant algorithm1": "the paper's algorithm as printed",
    "ift --variant eq21": "the paper's Eq. 21",
    "ift --variant eq21_mean1": "the same on SFT's scale",
    "poft": "some demonstrations are wrong; a better model is there",
    "dft": "the model should not learn what it finds absurd",
    "neftune": "the model learns the exact wording of few demonstrations",
    "tofu": "the answers should stay diverse",
    "sftmix": "some demonstrations are much easier than others",
    "dpo": "you have pairs; the usual first try",
    "orpo": "SFT and preferences in one stage, without a reference",
    "robust_dpo": "some pairs are labelled the wrong way round",
    "ipo": "DPO's margin grows too far; this one has a goal",
    "hinge": "pairs that are won by enough should be left alone",
    "apo": "the chosen answers are better than the model's own",
    "apo --form down": "what the model says already is better than both",
    "nca": "the chosen answer must not become less likely",
    "sppo": "each answer should move by a fixed number of nats",
    "slic": "no reference; the chosen answer is held on to",
    "slic --form trl": "as in TRL, with a mean over tokens",
    "simpo": "no reference; the lengths of answers differ",
    "cpo": "no reference; the chosen answers are worth imitating",
    "asft": "no reference; one stage, each answer judged by itself",
    "tpo": "you have a third answer, better than the pair",
    "tpo_l": "as tpo, and the lengths of answers differ",
    "tis_dpo": "bad answers are wrong in few of their tokens",
    "gdpo": "you know how sure each preference is",
    "ada_dpo": "some pairs are close, others far apart",
    "rpo": "related prompts have answers worth comparing, too",
    "rpo --form diagonal": "the same without embeddings",
    "una": "each answer has a score from 0 to 1",
    "una --loss bce": "an answer that is far off should learn fast",
    "uft": "una, and demonstrations as answers of score 1, in one stage",
    "kto": "each answer has a thumb up or down",
    "reinforce": "you have a reward; the simplest method",
    "rloo": "a reward, and several answers to each prompt",
    "grpo": "as rloo; several steps on the same answers",
    "ppo": "a critic should say which tokens earned the reward",
    "online_dpo": "the reward can rank answers, not grade them",
    "online_una": "the reward is a grade from 0 to 1",
    "distill": "you have a better model with the same tokenizer",
    "pretrain": "you have plain text, and no model yet",
    "reward": "a method asks for a reward, and you have pairs",
}


@dataclass
class CheatSheet:
    out: str = "docs"               # the folder of cheat_sheet.md and cheat_sheet.pdf


@dataclass
class Line:
    """One line of the sheet: a method, or another form of one."""
    name: str                   # as on the command line: "apo", "apo --form down"
    loss: str                   # after "L = "
    formulas: dict[str, str]    # what the loss uses: {"lo": "A - log(1 - e^A)"}
    words: dict[str, str]       # the same, explained in words
    equation: str = ""          # its number in the paper
    family: str = ""
    file: str = ""              # from the root
    paper: str = ""             # arXiv number
    needs: list[str] = field(default_factory=list)
    above: list[str] = field(default_factory=list)      # what its first form has told

    @property
    def when(self) -> str:
        return WHEN.get(self.name, "")

    @property
    def told(self) -> list[str]:
        """The equation as it is printed: the loss, then what its names mean."""
        formulas = [f"{name} = {text}" for name, text in {"L": self.loss, **self.formulas}.items()]
        words = [f"{name}: {text}" for name, text in self.words.items()]
        return [*map(printed, formulas), *map(greek, words)]

    @property
    def new(self) -> list[str]:
        """The same without what the line of its first form says."""
        return [x for x in self.told if x not in self.above]


# ---- read ----------------------------------------------------------------------------------------
def found(pattern: re.Pattern, text: str | None) -> list[tuple]:
    return [m.groups() for line in (text or "").split("\n") if (m := pattern.fullmatch(line))]


def shared() -> tuple[dict[str, str], dict[str, str]]:
    """The letters that all equations share: as formulas, and in words."""
    return dict(found(FORMULA, objectives.__doc__)), dict(found(WORDS, objectives.__doc__))


def equations(name: str, text: str | None) -> list[Line]:
    """The forms of a method in the head of its file; the default is the first."""
    formulas = {x: told for x, told in found(FORMULA, text) if x not in shared()[0]}
    words = dict(found(WORDS, text))
    told_of = {each: names for names in words for each in names.split(", ")}
    lines = []
    for setting, loss, told in found(LOSS, text):
        parts = used(loss, dict.fromkeys(told_of, "") | formulas)
        number = re.search(r"\((Eq\. .*)\)", told or "")
        lines.append(Line(f"{name} --{setting}" if lines else name, loss,
                          {x: formulas[x] for x in parts if x in formulas},
                          {told_of[x]: words[told_of[x]] for x in parts if x in told_of},
                          number[1] if number else "", above=lines[0].told if lines else []))
    return lines


def used(formula: str, known: dict[str, str]) -> list[str]:
    """Names of `known` in a formula, and in the formulas of these, in that order."""
    out: list[str] = []
    for name in re.findall(NAME, formula):
        whole = [name, re.sub("_[wl]$", "", name), re.sub("_k$", "_t", name)]     # u_w: u of w
        for here in (x for x in whole if x in known and x not in out):
            out.append(here)
            out += [x for x in used(known[here], known) if x not in out]
    return out


def family(name: str) -> str:
    """What an objective learns from, with its default settings."""
    objective = OBJECTIVES[name]
    kinds = objective.kinds(objective.hp())
    if kinds == ["demos"]:
        return "Demonstrations"
    return {"pairs": "Pairs", "prompts": "The model's samples"}.get(kinds[0], "Labels and scores")


def method(name: str) -> list[Line]:
    """The lines of a method."""
    objective = OBJECTIVES[name]
    lines = equations(name, import_module(f"nanouft.objectives.{name}").__doc__)
    data, models = needs(objective, objective.hp())
    return [described(line, objective, family(name), f"nanouft/objectives/{name}.py",
                      [*data, *models]) for line in lines]


def described(line: Line, objective: Objective, kind: str, file: str, wants: list[str]) -> Line:
    arxiv = re.search(r"arXiv:(\d{4}\.\d{5}(?:v\d)?)", objective.paper)
    line.family, line.file, line.needs = kind, file, wants
    line.paper = arxiv[1] if arxiv else ""
    return line


def lines() -> list[Line]:
    """All lines of the sheet, in its order."""
    out = [line for kind in FAMILIES for name in OBJECTIVES if family(name) == kind
           for line in method(name)]
    text, = equations("pretrain", pretrain.__doc__)
    pairs, = equations("reward", reward.__doc__)
    return [*out, described(text, pretrain.NEXT_TOKEN, BEFORE, "nanouft/pretrain.py",
                            ["text"]),
            described(pairs, reward.BRADLEY_TERRY, BEFORE, "nanouft/reward.py", ["pairs"])]


# ---- write ---------------------------------------------------------------------------------------
def greek(text: str) -> str:
    """beta -> β, also in a name: lam_D -> λ_D. The name of a flag stays."""
    for word, letter in LETTERS.items():
        text = re.sub(rf"(?<![^\W_])(?<!--){word}(?![^\W_])", letter, text)
    return text


def printed(formula: str) -> str:
    """A formula of a file's head as the sheet has it: "sigmoid(-beta r_w)" -> "σ(−β r_w)"."""
    formula = re.sub(r"(?<!\de)-", "−", greek(formula)).replace("^2", "²").replace(">=", "≥")
    return formula.replace("( ", "(").replace(" )", ")")


def row(line: Line) -> list[str]:
    """A row of the page: name, loss, when, needs, paper."""
    name = f"[`{line.name}`](../{line.file})"
    loss = "<br>".join(f"`{x}`" for x in line.new)
    if not line.needs:
        return [f"`{line.name}`", loss, line.when, "", line.equation]
    paper = f"[{line.paper}](https://arxiv.org/abs/{line.paper})" if line.paper else "–"
    return [name, loss, line.when, "; ".join(line.needs),
            paper + (f", {line.equation}" if line.equation else "")]


def in_table(cells: list[str]) -> str:
    return "|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|"


def letters() -> list[str]:
    """What the letters mean that all equations share."""
    formulas, words = shared()
    return [*(f"{greek(name)}: {greek(text)}" for name, text in words.items()),
            *(f"{name} = {printed(text)}" for name, text in formulas.items())]


def page() -> str:
    titles = ["method", "loss", "take it when", "needs", "arXiv"]
    told = {title: "\n".join([in_table(titles), "|---" * len(titles) + "|",
                              *(in_table(row(x)) for x in lines() if x.family == title)])
            for title in (*FAMILIES, BEFORE)}
    bullets = "\n".join(re.sub("^([^:]+)", r"- `\1`", x) for x in letters())
    text = Path(__file__).with_name("page.md").read_text(encoding="utf-8")
    return text.format(letters=bullets, **told)


def main(argv=None) -> int:
    cfg, _ = config.parse(CheatSheet, argv, "python -m lessons.cheat_sheet", __doc__)
    folder = Path(cfg.out)
    write_text(folder / "cheat_sheet.md", page())
    draw(lines(), letters(), folder / "cheat_sheet.pdf")
    print(f"{folder}/cheat_sheet.md, cheat_sheet.pdf: {len(OBJECTIVES)} methods")
    return 0


if __name__ == "__main__":
    sys.exit(config.run(main))
