"""The gallery's page and its pictures, made of the results alone.

    write_text(file, page(STORIES, results))            # Markdown, as GitHub and the site show it
    pictures(story, results[story.name], folder)        # NAME.png: the faulty run; NAME-repaired.png: both runs
"""
import re
from pathlib import Path

from lab.gallery_stories import Story
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

# ---- the page --------------------------------------------------------------------------------------------------------
def page(stories: tuple[Story, ...], results: dict) -> str:
    """The template: its head, and the sections of the stories that have results."""
    head, *sections = read_template("gallery.md")[0].split("\n## ")
    made = [section(text, story, results[story.name]) for text, story in zip(sections, stories)
            if story.name in results]
    return "\n## ".join([head, *made]).rstrip() + "\n"


def section(text: str, story: Story, made: dict) -> str:
    """A section with the figures of both runs in their places; "40 %" as everywhere here."""
    bad, good = (made[side]["figures"] for side in ("faulty", "repaired"))
    told = ", ".join(f"{code(x['says'])} ({x['score']:.2f})" for x in made["repaired"]["answers"])
    faulty = [f"![{named(seen(story))} of the faulty run](gallery/{story.name}.png)", "", *answers(made["faulty"])]
    repaired = [f"![{named(story.panels)} of both runs](gallery/{story.name}-repaired.png)",
                f"The repaired model answers {told}. At the end, faulty and repaired: {compared(story, bad, good)}."]
    filled = text.format(bad=bad, good=good, faulty="\n".join(faulty), repaired="\n".join(repaired), again=again(story))
    return re.sub(r"(?<=\d)%", " %", filled)


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


def compared(story: Story, bad: dict, good: dict) -> str:
    """The figure in which the fault is seen, the curves' ends, and the mean score."""
    names = dict.fromkeys([story.figure, *(name for panel in story.panels for name in panel), "mean"])
    return "; ".join(f"{LABELS[name]} {format_figure(name, bad)} and {format_figure(name, good)}" for name in names)


def format_figure(name: str, figures: dict) -> str:
    return f"{figures[name]:.3g} {UNITS[name]}" if name in NATS else f"{100 * figures[name]:.0f} %"


def again(story: Story) -> str:
    """What makes both runs again."""
    flags = ", ".join(f"{side} `{run.every_flag}`" for side, run in story.runs.items())
    start = f", both after `{story.faulty.after.every_flag}`" if story.faulty.after else ""
    how = (f'the mistake "{story.faulty.planted}" is planted by lab/gallery_faults.py' if story.faulty.planted
           else f"flags of `train`: {flags}{start}")
    return f"Both runs again: `python -m lab.gallery --story {story.name}` ({how})."


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
