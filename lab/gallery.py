"""What went wrong? Twelve short training runs, each with one mistake: curves, answers, and the cause one click away.

    python -m lab.gallery --story endless           # one story again: at most a minute or two on one thread
    python -m lab.gallery                           # all of them -> out/gallery/gallery.md
    python -m lab.gallery --out docs                # the page of the project
    python -m lab.gallery --out docs --page         # ... from the results that are there: nothing is trained

A story trains a faulty and a repaired model (gallery_stories.py; the mistakes are in gallery_faults.py). What they
gave stands in results/gallery.json: curves, figures and three answers of each. Tables, pictures and the results in
causes and repairs are made of that file; typed in the stories are settings (a learning rate, how many rows are wrong)
and what is read off a curve. Stories that are made again replace theirs, the others stay.
"""
import contextlib
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lab.cell import quiet, train_into
from lab.gallery_faults import FAULTS
from lab.gallery_page import page, pictures
from lab.gallery_stories import STORIES, Run, Story
from lab.runner import scratch
from lab.snapshot import four_digits, held_curve, mean_curve
from nanouft.look import scores
from nanouft.look.scores import Item
from nanouft.models.load import start_model
from nanouft.shell import config, devices
from nanouft.shell.errors import UserError
from nanouft.shell.files import Lines, checksum, made_once, write_json, write_text
from nanouft.shell.text import choose, read_json
from nanouft.world.tasks import GROUP_A, I_DO_NOT_KNOW

ITEMS = 30              # validation prompts a family


def planted(fault: str) -> contextlib.AbstractContextManager:
    return FAULTS[fault]() if fault else contextlib.nullcontext()


# ---- one run ---------------------------------------------------------------------------------------------------------
def trained(run: Run, keep: Path) -> Path:
    """The folder of a run's model, trained once in `keep`, and what it starts from before it."""
    start = trained(run.after, keep) if run.after else "base"

    def make(place: Path) -> None:
        with planted(run.fault):
            train_into(place, [*run.argv, "--plain"], str(start), 0)
    return made_once(keep / checksum(repr((run.flags, run.after, run.fault)))[:16], make)


def told(run: Run, story: Story, keep: Path) -> dict:
    """Train and ask: {"figures": ..., "curves": ..., "answers": all of the families that the story asks}."""
    with quiet():
        folder = trained(run, keep)
    model, tok = start_model(str(folder))
    with planted(run.asked):
        found, items = scores.families(model, tok, devices.pick("cpu", "fp32", 1), "val", ITEMS)
    log = Lines(folder / "metrics.jsonl").read()
    curves = {name: points(log, name) for panel in story.panels for name in panel}
    answers = {family: [{"prompt": x.prompt, "says": x.answer, "score": four_digits(x.score), "stops": x.ended}
                        for x in items if x.family == family] for family in story.families}
    ends = {name: end(name, line) for name, line in curves.items()}
    return {"figures": figures(found, items) | ends, "curves": curves, "answers": answers}


def three_answers(made: dict) -> dict:
    """Both runs with one answer a family: to the first prompt at which the repaired one scores higher, or the first."""
    both = {family: list(zip(made["faulty"]["answers"][family], made["repaired"]["answers"][family]))
            for family in made["faulty"]["answers"]}
    shown = [next((two for two in pairs if two[0]["score"] < two[1]["score"]), pairs[0]) for pairs in both.values()]
    return {side: made[side] | {"answers": [two[n] for two in shown]} for n, side in enumerate(("faulty", "repaired"))}


def points(log: list[dict], name: str) -> list[list[float]]:
    """[[step, value]] of a training figure (24 means), or of one of the rows held out: "held_out.nll"."""
    if name.startswith("held_out."):
        return held_curve(log, name.removeprefix("held_out."))
    return mean_curve([line[name] for line in log if "grad_norm" in line])


def end(name: str, line: list[list[float]]) -> float:
    """Where a curve ends: its last point, or of a training figure, which is noisy, the mean of its last quarter."""
    last = line[-1:] if name.startswith("held_out.") else line[-max(1, len(line) // 4):]
    return four_digits(float(np.mean([value for _, value in last])))


def figures(found: dict, items: list[Item]) -> dict[str, float]:
    """Shares, but for `length`: the score of each family, their mean, and how the answers look."""
    known = [x for x in items if x.family != "unknown"]
    shares = {f: r["score"] for f, r in found.items()} | {
        "mean": scores.mean_score(found), "skills": float(np.mean([found[f]["score"] for f in GROUP_A])),
        "stops": float(np.mean([x.ended for x in items])), "length": float(np.mean([x.length for x in items])),
        "refuses": float(np.mean([x.answer == I_DO_NOT_KNOW for x in known]))}
    return {name: four_digits(x) for name, x in shares.items()}


# ---- the command -----------------------------------------------------------------------------------------------------
@dataclass
class Gallery:
    story: str | None = None        # only this one, such as endless [all]
    out: str = "out/gallery"        # folder of page, pictures and results
    page: bool = False              # train nothing: make page and pictures from the results that are there


def main(argv=None) -> int:
    cfg, _ = config.parse(Gallery, argv, "python -m lab.gallery", __doc__)
    stories = {story.name: story for story in STORIES}
    wanted = [choose("story", cfg.story, stories)] if cfg.story else list(stories)
    out = Path(cfg.out)
    file = out / "results" / "gallery.json"
    done = read_json(file) if file.exists() else {}
    if cfg.page and (missing := [name for name in wanted if name not in done]):
        raise UserError(f"{file}: has no story {missing[0]}; without --page it is made")
    file.parent.mkdir(parents=True, exist_ok=True)
    with scratch("nanouft-gallery-") as keep:
        for story in (stories[name] for name in wanted):
            began = time.process_time()
            if not cfg.page:
                done[story.name] = three_answers({side: told(run, story, keep) for side, run in story.runs.items()})
                write_json(file, {name: done[name] for name in stories if name in done})
            pictures(story, done[story.name], out / "gallery")
            write_text(out / "gallery.md", page(STORIES, done))
            print(line(story, done[story.name], time.process_time() - began), flush=True)
    print(f"written: {out / 'gallery.md'}")
    return 0


def line(story: Story, made: dict, seconds: float) -> str:
    bad, good = (made[side]["figures"][story.figure] for side in ("faulty", "repaired"))
    seen = "" if story.shows(made) else f"   NOT SEEN: a change of {story.gap:+g} was expected"
    return f"{story.name:<10} {story.figure} {bad:.3g}, repaired {good:.3g}   ({seconds:.0f} s){seen}"


if __name__ == "__main__":
    sys.exit(config.run(main))
