"""The page: four scenes on one small lake. What IFT copies beside SFT, whether SFT overestimates,
DPO's loser, the verdict.

    python -m frozen_lake       # writes it beside the pictures: out/frozen_lake/index.html

It is one file: open it with any browser, without a network. What a student learns is computed in
the page itself (web/lake.js; tests/lake/test_lake_page.py compares it with torch), so it works on
any map. The study on networks gives its verdict, if there is one.
web/ holds the parts: lake.js and ways.js compute, state.js remembers, draw.js draws, each scene has
a file, main.js joins them. The same objectives on sentences: python -m nanouft.playground.
Simplified: the page's students walk on ice that is not slippery.
"""
from pathlib import Path

from frozen_lake.lake import Lake
from nanouft.errors import UserError
from nanouft.run import pages
from nanouft.run.storage import read_json, write_text

WEB = Path(__file__).parent / "web"
SCRIPTS = ("lake", "ways", "state", "draw", "scene_ghost", "scene_estimate", "scene_loser",
           "scene_end", "main")
METHODS = {  # what the letters mean, the paper, the lesson
    "sft": ("supervised fine-tuning: imitate demonstrations", "2203.02155", "03"),
    "ift": ("intuitive fine-tuning: imitate, each state mixed with the student's own guess",
            "2405.11870", "05L"),
    "dpo": ("direct preference optimization: widen the gap between a better and a worse answer",
            "2305.18290", "07"),
    "orpo": ("odds ratio preference optimization: imitate the better answer and prefer it",
             "2403.07691", "08"),
}
SLIPPERY = "The command walked on slippery ice, this page does not."
STUDY = "python -m lab.lake_study"  # the command that fills the last scene


def read_study(file: Path) -> dict:
    """The results of the study over many maps (C5.json). UserError for a file that holds none."""
    study = read_json(file)
    try:
        verdicts(study)
    except (KeyError, TypeError, IndexError):
        raise UserError(f"--study {file}: holds no results of {STUDY}") from None
    return study


def verdicts(study: dict | None) -> dict | None:
    """The study over many maps as the last scene shows it."""
    return study and {"seeds": study["seeds"], "verdict": study["verdict"],
                      "counts": study["verdicts"], "settings": len(study["settings"])}


def explained(folder: Path) -> str:
    """The four methods in the list of words, with links from the folder of the page."""
    lines = []
    for name, (about, paper, number) in METHODS.items():
        links, lesson = f'<a href="https://arxiv.org/abs/{paper}">paper</a>', pages.doc(
            folder, f"lessons/{number}.md")
        if lesson:
            links += f', <a href="{pages.html(lesson)}">lesson {number}</a>'
        lines.append(f"<dt>{name.upper()}</dt><dd>{about} ({links}).</dd>")
    return "\n".join(lines)


def content(hp: dict, lake: Lake, study: dict | None, folder: Path) -> dict:
    """Everything that the scripts read as DATA; its strings are ready for HTML.
    hp: lam, gamma, beta, lr, steps."""
    shown = {name: hp[name] for name in ("lam", "gamma", "beta", "lr", "steps")}
    data = {"rows": lake.rows, "note": SLIPPERY * lake.slippery, "hp": shown | {"lamOdds": 1.0},
            "study": verdicts(study), "command": STUDY,
            "claims": pages.doc(folder, "claims.md"),
            "table": pages.doc(folder, "results/C5.md"),
            "words": pages.doc(folder, "results/C7.md")}
    return pages.each_string(data, pages.html)


def web(name: str) -> str:
    return (WEB / name).read_text(encoding="utf-8")


def fill(data: dict, folder: Path) -> str:
    """The text of the page."""
    scripts = "\n".join(web(f"{name}.js") for name in SCRIPTS)
    return pages.fill(web("page.html"), {
        "/*DATA*/": pages.script_json(data), "/*SCRIPTS*/": scripts,
        "/*METHODS*/": explained(folder), "/*PAGE_CSS*/": web("page.css"),
        **pages.shared(folder, "frozen_lake")})


def write(folder: Path, data: dict) -> Path:
    """index.html in folder. data: what results.json holds; read are its map, hp and study."""
    file, shown = Path(folder) / "index.html", data["map"]
    lake = Lake(shown["name"], tuple(shown["rows"]), shown["slippery"])
    file.parent.mkdir(parents=True, exist_ok=True)
    made = content(data["hp"], lake, data.get("study"), file.parent)
    write_text(file, fill(made, file.parent))
    return file
