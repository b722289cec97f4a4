"""What went wrong? Fifteen short training runs, each with one mistake: curves, answers, and the
cause one click away.

    python -m lessons.gallery --story endless       # one story again: a minute or two on one thread
    python -m lessons.gallery --out docs            # all of them, the page of the project
    python -m lessons.gallery --out docs --page     # ... from the results that are there

A story trains a faulty and a repaired model (stories.py). What they gave stands in
results/gallery.json; page and pictures are made of that file and of page.md.
"""
import io
import re
import sys
import tempfile
import time
from contextlib import nullcontext, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lessons.gallery.stories import STORIES, Fault, Panels, Story
from nanouft import train
from nanouft.errors import UserError, visible
from nanouft.eval import plots, scores
from nanouft.models.load import start_model
from nanouft.run import config, devices
from nanouft.run.storage import Lines, checksum, made_once, read_json, write_json, write_text
from nanouft.run.words import choose

ITEMS, EVERY = 30, 12   # validation prompts a family; steps between two points of a held-out curve
POINTS = 24             # of a training curve
SIDES = ("faulty", "repaired")
HERE = Path(__file__).parent
LABELS = {"loss": "training loss", "held_out.nll": "held-out loss",
          "accuracy": "training pairs won", "held_out.accuracy": "held-out pairs won",
          "held_out.logp_chosen": "log-prob of chosen, held out", "reward": "reward",
          "score": "exact score", "ties": "groups that tie", "length": "length of the answers",
          "ends": "answers that end"}
# else shares
UNITS = {"loss": "nats", "held_out.nll": "nats a token", "held_out.logp_chosen": "nats an answer",
         "length": "tokens"}
LONGEST = 110                                                   # letters of an answer on the page


# ---- one run -------------------------------------------------------------------------------------
def trained(flags: str, keep: Path, start: str = "base", fault: Fault = nullcontext) -> str:
    """The folder of a run's model, trained once in `keep`."""
    argv = [x.replace("stories.py", f"{HERE.as_posix()}/stories.py") for x in flags.split()]
    argv += ["--eval-every", str(EVERY)] * ("--eval-every" not in argv)
    argv += ["--init", start, "--seed", "0", "--threads", "1", "--device", "cpu", "--items", "0",
             "--save-every", "0", "--plain"]

    def make(place: Path) -> None:
        with fault(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            train.main([*argv, "--out", str(place)])
    return str(made_once(keep / checksum(repr((flags, start, id(fault))))[:16], make))


def told(story: Story, side: str, keep: Path) -> dict:
    """Train and ask: {"figures": ..., "curves": ..., "answers": all of the families that the story
    asks}."""
    start = trained(story.after, keep, fault=story.shown) if story.after else "base"
    if side == "faulty":
        folder, asked = trained(story.faulty, keep, start, story.fault), story.asked
    else:
        folder, asked = trained(story.repaired, keep, start), nullcontext
    model, tok = start_model(folder)
    with asked():
        found, items = scores.families(model, tok, devices.pick("cpu", "fp32", 1), "val", ITEMS)
    log = Lines(Path(folder) / "metrics.jsonl").read()
    curves = {name: points(log, name) for panel in story.panels for name in panel}
    answers = {family: [{"prompt": x.prompt, "says": x.answer, "score": four_digits(x.score),
                         "stops": x.ended} for x in items if x.family == family]
               for family in story.families}
    figures = {family: four_digits(r["score"]) for family, r in found.items()}
    figures |= {"mean": four_digits(scores.mean_score(found)),
                "stops": four_digits(float(np.mean([x.ended for x in items])))}
    return {"figures": figures | {name: end(name, line) for name, line in curves.items()},
            "curves": curves, "answers": answers}


def three_answers(made: dict) -> dict:
    """Both runs with one answer a family: to the first prompt at which the repaired one scores
    higher, or the first."""
    both = {family: list(zip(made["faulty"]["answers"][family],
                             made["repaired"]["answers"][family]))
            for family in made["faulty"]["answers"]}
    shown = [next((two for two in pairs if two[0]["score"] < two[1]["score"]), pairs[0])
             for pairs in both.values()]
    return {side: made[side] | {"answers": [two[n] for two in shown]}
            for n, side in enumerate(SIDES)}


def points(log: list[dict], name: str) -> list[list[float]]:
    """[[step, value]] of a figure of the rows held out, such as "held_out.nll"; of a training
    figure, a point is the mean of the steps up to it."""
    if name.startswith("held_out."):
        name = name.removeprefix("held_out.")
        return [[line["step"], four_digits(line["held_out"][name])]
                for line in log if line.get("held_out")]
    values = [line[name] for line in log if "grad_norm" in line]
    parts = np.array_split(np.arange(len(values)), min(POINTS, len(values)))
    return [[int(part[-1]) + 1, four_digits(np.mean([values[i] for i in part]))] for part in parts]


def end(name: str, line: list[list[float]]) -> float:
    """Where a curve ends: its last point, or of a training figure, which is noisy, the mean of its
    last quarter."""
    last = line[-1:] if name.startswith("held_out.") else line[-max(1, len(line) // 4):]
    return four_digits(float(np.mean([value for _, value in last])))


def four_digits(x: float) -> float:
    """Enough for a page."""
    return float(f"{x:.4g}")


# ---- the page ------------------------------------------------------------------------------------
def page(stories: tuple[Story, ...], results: dict) -> str:
    """The template: its head, and the sections of the stories that have results."""
    head, *sections = (HERE / "page.md").read_text(encoding="utf-8").split("\n## ")
    made = [section(text, story, results[story.name]) for text, story in zip(sections, stories)
            if story.name in results]
    return "\n## ".join([head, *made]).rstrip() + "\n"


def section(text: str, story: Story, made: dict) -> str:
    """A section with the figures of both runs in their places; "40 %" as everywhere here."""
    bad, good = (made[side]["figures"] for side in SIDES)
    told = ", ".join(f"{code(x['says'])} ({x['score']:.2f})" for x in made["repaired"]["answers"])
    faulty = [f"![{named(story.seen)} of the faulty run](gallery/{story.name}.png)", "",
              *answers(made["faulty"])]
    repaired = [f"![{named(story.panels)} of both runs](gallery/{story.name}-repaired.png)",
                f"The repaired model answers {told}."]
    again = f"Both runs again: `python -m lessons.gallery --story {story.name}`."
    filled = text.format(bad=bad, good=good, faulty="\n".join(faulty), repaired="\n".join(repaired),
                         again=again)
    return re.sub(r"(?<=\d)%", " %", filled)


def named(panels: Panels) -> str:
    """Curves in words: "Training loss and held-out loss"."""
    *most, last = [LABELS[name] for panel in panels for name in panel]
    words = f"{', '.join(most)} and {last}" if most else last
    return words[0].upper() + words[1:]


def answers(run: dict) -> list[str]:
    """The lines of a table."""
    rows = [f"| {x['prompt']} | {code(x['says'])} | {x['score']:.2f} | "
            f"{'yes' if x['stops'] else 'no'} |" for x in run["answers"]]
    return ["| question | answer | score | stops |", "|---|---|---|---|", *rows]


def code(text: str) -> str:
    """An answer as code in a table: in one line, not too long; a bar would end the cell."""
    words = " ".join(visible(text).split()).replace("`", "'")
    short = words if len(words) <= LONGEST else words[:LONGEST] + " ..."
    return f"`{short}`".replace("|", r"\|") if short else "(nothing)"


# ---- the pictures --------------------------------------------------------------------------------
def pictures(story: Story, made: dict, folder: Path) -> None:
    """What the author saw, and the same with the repaired run in front of it."""
    faulty, repaired = (made[side]["curves"] for side in SIDES)
    draw(story.seen, [("", faulty, "-")], folder / f"{story.name}.png")
    both = [("faulty", faulty, ":"), ("repaired", repaired, "-")]
    draw(story.panels, both, folder / f"{story.name}-repaired.png", dashed=story.unseen)


def draw(panels: Panels, runs: list[tuple[str, dict, str]], file: Path,
         dashed: tuple[str, ...] = ()) -> None:
    """One panel beside the other; runs: (label, curves, style of line). A dashed curve may lie upon
    another one."""
    fig, axes = plots.plt.subplots(1, len(panels), figsize=(5.2 * len(panels) + 0.8, 3.4),
                                   squeeze=False)
    for ax, panel in zip(axes[0], panels):
        for label, curves, style in runs:
            for name, color in zip(panel, plots.LINES):
                words = f"{LABELS[name]}, {label}" if label else LABELS[name]
                ax.plot(*zip(*curves[name]), "--" if style == "-" and name in dashed else style,
                        color=color, lw=2.2, label=words,
                        marker="o" if name.startswith("held_out") else "", ms=4)
        ax.set(xlabel="step", ylabel=UNITS.get(panel[0], ""))
        if panel[0] not in UNITS:
            ax.set_ylim(-0.03, 1.03)
        ax.margins(y=0.15)
        ax.legend(frameon=False, fontsize=10, labelspacing=0.2, borderaxespad=0.1)
    plots.save(fig, file)


# ---- the command ---------------------------------------------------------------------------------
@dataclass
class Gallery:
    story: str | None = None        # only this one, such as endless [all]
    out: str = "out/gallery"        # folder of page, pictures and results
    page: bool = False              # page and pictures from the results that are there; no training


def main(argv=None) -> int:
    cfg, _ = config.parse(Gallery, argv, "python -m lessons.gallery", __doc__)
    stories = {story.name: story for story in STORIES}
    wanted = [choose("story", cfg.story, stories)] if cfg.story else list(stories)
    out = Path(cfg.out)
    file = out / "results" / "gallery.json"
    done = read_json(file) if file.exists() else {}
    if cfg.page and (missing := [name for name in wanted if name not in done]):
        raise UserError(f"{file}: has no story {missing[0]}; without --page it is made")
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="nanouft-gallery-") as keep:
        for story in (stories[name] for name in wanted):
            began = time.process_time()
            if not cfg.page:
                made = {side: told(story, side, Path(keep)) for side in SIDES}
                done[story.name] = three_answers(made)
                write_json(file, {name: done[name] for name in stories if name in done})
            pictures(story, done[story.name], out / "gallery")
            write_text(out / "gallery.md", page(STORIES, done))
            print(line(story, done[story.name], time.process_time() - began), flush=True)
    print(f"written: {out / 'gallery.md'}")
    return 0


def line(story: Story, made: dict, seconds: float) -> str:
    bad, good = (made[side]["figures"][story.figure] for side in SIDES)
    seen = "" if story.shows(made) else f"   NOT SEEN: a change of {story.gap:+g} was expected"
    return (f"{story.name:<10} {story.figure} {bad:.3g}, repaired {good:.3g}   ({seconds:.0f} "
            f"s){seen}")


if __name__ == "__main__":
    sys.exit(config.run(main))
