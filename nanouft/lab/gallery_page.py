"""The gallery's page and its pictures, made of the results alone.

    write_text(file, page(STORIES, results))            # Markdown, as GitHub and the site show it
    pictures(story, results[story.name], folder)        # NAME.png: the faulty run; NAME-repaired.png: both runs
"""
import re
from pathlib import Path

from nanouft.lab.gallery_stories import Run, Story
from nanouft.look import plots
from nanouft.shell.text import visible

LABELS = {"loss": "training loss", "held_out.nll": "held-out loss", "accuracy": "training pairs won",
          "held_out.accuracy": "held-out pairs won", "held_out.logp_chosen": "log-prob of chosen, held out",
          "reward": "reward", "score": "exact score", "mean": "score, mean of nine families",
          "stops": "answers that stop", "unknown": "score of `unknown`", "fact": "score of `fact`"}
UNITS = {"loss": "nats", "held_out.nll": "nats a token", "held_out.logp_chosen": "nats an answer"}
NATS = ("loss", "held_out.nll", "held_out.logp_chosen")         # figures that are no shares
LONGEST = 110                                                   # letters of an answer on the page

HEAD = """# What went wrong?
Twelve short training runs in NanoWorld. Each has one mistake. You see what its author saw: a curve or two, and three
answers of the trained model. Choose a cause before you open "Cause and repair".

One command makes a story again, in seconds to two minutes on one thread, and writes it to `out/gallery/gallery.md`:
`python -m nanouft.lab.gallery --story endless`. Without `--story` all twelve are made. Answers are greedy, to prompts
of the validation split: 30 of each of the nine families. Shown is the first of a family at which the repaired model
scores higher, where there is one. The score is exact and lies from 0 to 1. All numbers come from
`docs/results/gallery.json`. There is one run each, with one seed: it shows a mechanism, not how large an effect is.
"""


# ---- the page --------------------------------------------------------------------------------------------------------
def page(stories: tuple[Story, ...], results: dict) -> str:
    """The stories that have results, in their order, numbered as in the whole gallery."""
    parts = [HEAD, "| | what is seen | |", "|---|---|---|"]
    made = [(n, story) for n, story in enumerate(stories, 1) if story.name in results]
    parts += [f"| {n} | [{story.title}](#{anchor(n, story)}) | `--story {story.name}` |" for n, story in made]
    return "\n".join(parts + [text for n, story in made for text in section(n, story, results[story.name])]) + "\n"


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
            f"![{named(story)} of the faulty run](gallery/{story.name}.png)", "",
            *answers(made["faulty"]), "", "What went wrong?", *letters, "",
            "<details><summary>Cause and repair</summary>", "",
            f"**({'abc'[story.right]})** {filled(story.cause, made)}", "",
            f"**Repair.** {filled(story.repair, made)} Lesson: [{story.lesson}](lessons/{story.lesson}.md).", "",
            f"![{named(story)} of the faulty and of the repaired run](gallery/{story.name}-repaired.png)", "",
            *answers(made["repaired"]), "", *compared(story, made), "",
            "```bash", *commands("faulty", story.faulty), *commands("repaired", story.repaired), "```", "",
            "</details>"]


def named(story: Story) -> str:
    """The curves of a story in words: "Training loss and held-out loss"."""
    words = " and ".join(LABELS[name] for panel in story.panels for name in panel)
    return words[0].upper() + words[1:]


def answers(run: dict) -> list[str]:
    rows = [f"| {x['prompt']} | {code(x['says'])} | {x['score']:.2f} | {'yes' if x['stops'] else 'no'} |"
            for x in run["answers"]]
    return ["| question | answer | score | stops |", "|---|---|---|---|", *rows]


def code(text: str) -> str:
    """An answer as code in a table: in one line, not too long; a bar would end the cell."""
    words = " ".join(visible(text).split()).replace("`", "'")
    short = words if len(words) <= LONGEST else words[:LONGEST] + " ..."
    return f"`{short}`".replace("|", r"\|") if short else "(nothing)"


def compared(story: Story, made: dict) -> list[str]:
    """The table of figures: the one in which the fault is seen, the curves' ends, and the mean score."""
    bad, good = (made[side]["figures"] for side in ("faulty", "repaired"))
    names = dict.fromkeys([story.figure, *(name for panel in story.panels for name in panel), "mean"])
    rows = [f"| {LABELS[name]} | {shown(name, bad)} | {shown(name, good)} |" for name in names]
    return ["| at the end (training: last quarter) | faulty | repaired |", "|---|---|---|", *rows]


def shown(name: str, figures: dict) -> str:
    return f"{figures[name]:.3g} {UNITS[name]}" if name in NATS else f"{100 * figures[name]:.0f} %"


def commands(side: str, run: Run) -> list[str]:
    """The commands of a run and of what it starts from, with what no flag can say as a remark."""
    first = commands("before it", run.after) if run.after else []
    fault = "".join(f', with a mistake planted by lab/gallery_faults.py: "{name}"' for name in (run.fault, run.asked)
                    if name)
    start = f" --init out/{run.after.argv[1]}" if run.after else ""         # where that run writes by itself
    return [*first, f"# {side}{fault}", f"python -m nanouft.train {run.flags}{start}"]


# ---- the pictures ----------------------------------------------------------------------------------------------------
def pictures(story: Story, made: dict, folder: Path) -> None:
    """What the author saw, and the same with the repaired run in front of it."""
    faulty, repaired = (made[side]["curves"] for side in ("faulty", "repaired"))
    draw(story, [("", faulty, "-", 1.0)], folder / f"{story.name}.png")
    draw(story, [("faulty", faulty, ":", 0.6), ("repaired", repaired, "-", 1.0)], folder / f"{story.name}-repaired.png")


def draw(story: Story, runs: list[tuple], file: Path) -> None:
    """One panel beside the other; runs: (label, curves, style of line, how strong)."""
    panels = story.panels
    fig, axes = plots.plt.subplots(1, len(panels), figsize=(5.2 * len(panels) + 0.8, 3.4), squeeze=False)
    for ax, panel in zip(axes[0], panels):
        for label, curves, style, strong in runs:
            for name, color in zip(panel, plots.LINES):
                words = f"{LABELS[name]}, {label}" if label else LABELS[name]
                ax.plot(*zip(*curves[name]), style, color=color, alpha=strong, lw=2.2, label=words,
                        marker="o" if name.startswith("held_out") else "", ms=4)
        ax.set(xlabel="step", ylabel=UNITS[panel[0]].split()[0] if panel[0] in NATS else "")
        if panel[0] not in NATS:
            ax.set_ylim(-0.03, 1.03)
        ax.margins(y=0.15)
        ax.legend(frameon=False, fontsize=10)
    plots.save(fig, file)
