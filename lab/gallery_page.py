"""The gallery's page and its pictures, made of the results alone.

    write_text(file, page(STORIES, results))            # Markdown, as GitHub and the site show it
    pictures(story, results[story.name], folder)        # NAME.png: the faulty run; NAME-repaired.png: both runs
"""
import re
from pathlib import Path

from lab.gallery_stories import Run, Story
from lab.words import markdown_table, read_template
from nanouft.look import plots
from nanouft.shell.text import visible

Panels = tuple[tuple[str, ...], ...]        # curves that share a panel

LABELS = {"loss": "training loss", "held_out.nll": "held-out loss", "accuracy": "training pairs won",
          "held_out.accuracy": "held-out pairs won", "held_out.logp_chosen": "log-prob of chosen, held out",
          "reward": "reward", "score": "exact score", "mean": "score, mean of nine families",
          "stops": "answers that stop", "unknown": "score of `unknown`", "fact": "score of `fact`"}
UNITS = {"loss": "nats", "held_out.nll": "nats a token", "held_out.logp_chosen": "nats an answer"}
NATS = ("loss", "held_out.nll", "held_out.logp_chosen")         # figures that are no shares
LONGEST = 110                                                   # letters of an answer on the page
BEFORE = "out/gallery-sft"                                      # where the commands put the run that others start from



# ---- the page --------------------------------------------------------------------------------------------------------
def page(stories: tuple[Story, ...], results: dict) -> str:
    """The stories that have results, in their order, numbered as in the whole gallery."""
    made = [(n, story) for n, story in enumerate(stories, 1) if story.name in results]
    index = markdown_table(["", "what is seen", ""], [
        [n, f"[{story.title}](#{anchor(n, story)})", f"`--story {story.name}`"] for n, story in made])
    sections = [line for n, story in made for line in section(n, story, results[story.name])]
    return "\n".join([*read_template("gallery.md"), *index, *sections]) + "\n"


def anchor(n: int, story: Story) -> str:
    """The name of a story's heading, as GitHub and mkdocs make it."""
    return re.sub(r"[^\w -]", "", f"{n}. {story.title}".lower()).replace(" ", "-")


def filled(text: str, made: dict) -> str:
    """A text with the figures of both runs in their places; "40 %" as everywhere here."""
    bad, good = (made[side]["figures"] for side in ("faulty", "repaired"))
    return re.sub(r"(?<=\d)%", " %", text.format(bad=bad, good=good))


def section(n: int, story: Story, made: dict) -> list[str]:
    letters = [f"- **({letter})** {choice}" for letter, choice in zip("abc", story.choices)]
    return ["", f"## {n}. {story.title}", story.seen, "",
            f"![{named(seen(story))} of the faulty run](gallery/{story.name}.png)", "",
            *answers(made["faulty"]), "", "What went wrong?", *letters, "",
            "<details><summary>Cause and repair</summary>", "",
            f"**({'abc'[story.right]})** {filled(story.cause, made)}", "",
            f"**Repair.** {filled(story.repair, made)} Lesson: [{story.lesson}](lessons/{story.lesson}.md).", "",
            f"![{named(story.panels)} of the faulty and of the repaired run](gallery/{story.name}-repaired.png)", "",
            *answers(made["repaired"]), "", *compared(story, made), "",
            "```bash", *commands(story), "```", "", "</details>"]


def seen(story: Story) -> Panels:
    """The panels with the curves that the author had."""
    return tuple(tuple(name for name in panel if name not in story.unseen) for panel in story.panels)


def named(panels: Panels) -> str:
    """Curves in words: "Training loss and held-out loss"."""
    *most, last = [LABELS[name] for panel in panels for name in panel]
    words = f"{', '.join(most)} and {last}" if most else last
    return words[0].upper() + words[1:]


def answers(run: dict) -> list[str]:
    return markdown_table(["question", "answer", "score", "stops"], [
        [x["prompt"], code(x["says"]), f"{x['score']:.2f}", "yes" if x["stops"] else "no"] for x in run["answers"]])


def code(text: str) -> str:
    """An answer as code in a table: in one line, not too long; a bar would end the cell."""
    words = " ".join(visible(text).split()).replace("`", "'")
    short = words if len(words) <= LONGEST else words[:LONGEST] + " ..."
    return f"`{short}`".replace("|", r"\|") if short else "(nothing)"


def compared(story: Story, made: dict) -> list[str]:
    """The table of figures: the one in which the fault is seen, the curves' ends, and the mean score."""
    bad, good = (made[side]["figures"] for side in ("faulty", "repaired"))
    names = dict.fromkeys([story.figure, *(name for panel in story.panels for name in panel), "mean"])
    return markdown_table(["at the end (training curves: mean of the last quarter)", "faulty", "repaired"], [
        [LABELS[name], format_figure(name, bad), format_figure(name, good)] for name in names])


def format_figure(name: str, figures: dict) -> str:
    return f"{figures[name]:.3g} {UNITS[name]}" if name in NATS else f"{100 * figures[name]:.0f} %"


def commands(story: Story) -> list[str]:
    """What makes both runs again: commands of train, or that of the story if no flag makes the mistake."""
    if fault := story.faulty.planted:
        return [f'# both runs; the mistake "{fault}" is planted by lab/gallery_faults.py',
                f"python -m lab.gallery --story {story.name}"]
    before = story.faulty.after
    first = [f"# before both, if there is no {BEFORE} yet", f"{command(before)} --out {BEFORE}"] if before else []
    return first + [line for side, run in story.runs.items() for line in (f"# {side}", command(run))]


def command(run: Run) -> str:
    return f"python -m nanouft.train {run.every_flag}" + (f" --init {BEFORE}" if run.after else "")


# ---- the pictures ----------------------------------------------------------------------------------------------------
def pictures(story: Story, made: dict, folder: Path) -> None:
    """What the author saw, and the same with the repaired run in front of it."""
    faulty, repaired = (made[side]["curves"] for side in ("faulty", "repaired"))
    draw(seen(story), [("", faulty, "-")], folder / f"{story.name}.png")
    both = [("faulty", faulty, ":"), ("repaired", repaired, "-")]
    draw(story.panels, both, folder / f"{story.name}-repaired.png", dashed=story.unseen)


def draw(panels: Panels, runs: list[tuple[str, dict, str]], file: Path, dashed: tuple[str, ...] = ()) -> None:
    """One panel beside the other; runs: (label, curves, style of line). A dashed curve may lie upon another one."""
    fig, axes = plots.plt.subplots(1, len(panels), figsize=(5.2 * len(panels) + 0.8, 3.4), squeeze=False)
    for ax, panel in zip(axes[0], panels):
        for label, curves, style in runs:
            for name, color in zip(panel, plots.LINES):
                words = f"{LABELS[name]}, {label}" if label else LABELS[name]
                ax.plot(*zip(*curves[name]), "--" if style == "-" and name in dashed else style, color=color, lw=2.2,
                        label=words, marker="o" if name.startswith("held_out") else "", ms=4)
        ax.set(xlabel="step", ylabel=UNITS[panel[0]].split()[0] if panel[0] in NATS else "")
        if panel[0] not in NATS:
            ax.set_ylim(-0.03, 1.03)
        ax.margins(y=0.15)
        ax.legend(frameon=False, fontsize=10, labelspacing=0.2, borderaxespad=0.1)
    plots.save(fig, file)
