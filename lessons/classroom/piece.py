"""A longer piece of work, one for each block of the course: what is right of yours?

    python -m lessons piece                     # the pieces, and where their pages are
    python -m lessons piece silent              # what is given: here the logs of five runs
    python -m lessons piece silent silent.py    # your functions, and what comes out with them

A page in lessons/pieces has the task, what to hand in, and a rubric. The functions of your file are
judged as exercises are, so a common mistake is named. If all are right, the figures follow that
your text is about. The exit code is 0 if all are right. The rubric's other points are not given by
a program.
"""
import argparse
import json
import sys
from pathlib import Path

from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import one_of
from nanouft.plumbing.files import read_text
from nanouft.plumbing.printing import say


def show_runs(file: Path) -> None:
    """The logs of runs, in columns and as a picture."""
    from lessons import draw
    from lessons.course import OUT, short_path
    runs = json.loads(file.read_text(encoding="utf-8"))
    fig, panels = draw.panels(2, 3)
    for k, (run, ax) in enumerate(zip(runs, panels.flat)):
        log = run["log"]
        top = max(x["gradient"] for x in log)
        draw.lines(ax, [x["step"] for x in log], {
            "loss": [x["loss"] for x in log], "gradient": [x["gradient"] for x in log]},
            f"run {k}, {run['method']}", "step", legend=k == 0, ylim=(0, 1.1 * max(top, 1)))
        say(f"run {k}, {run['method']}\n{'step':>6}{'loss':>8}{'gradient':>10}{'score':>7}"
            f"{'stops':>7}  an answer")
        for x in run["log"]:
            scores = "".join(f"{x.get(name, ''):>7}" for name in ("score", "stops"))
            say(f"{x['step']:6}{x['loss']:8.3f}{x['gradient']:10.2f}{scores}  "
                f"{x.get('answer', '')}".rstrip())
        say("")
    picture = OUT.parent / "pieces" / f"{file.stem}.png"
    picture.parent.mkdir(parents=True, exist_ok=True)
    fig.savefig(picture, dpi=72)
    say(f"picture: {short_path(picture)}")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m lessons piece", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", help="the piece, such as ift [lists them]")
    parser.add_argument("file", nargs="?", type=Path, metavar="ift.py", help="your file")
    cfg = parser.parse_args(argv)
    # Here, so that --help does not wait for torch.
    import torch

    from lessons.classroom.calling import function_in
    from lessons.classroom.exercise import PIECES, pieces, show_pages
    from lessons.classroom.judge import judge, state
    if cfg.name:
        one_of("piece", cfg.name, [page.stem for page in sorted(PIECES.glob("*.md"))])
    if cfg.file is None:
        if (logs := PIECES / f"{cfg.name}.json").exists():
            show_runs(logs)
        show_pages("piece", PIECES)
        return 0
    read_text(cfg.file)
    torch.set_num_threads(1)
    sys.path.insert(0, str(cfg.file.resolve().parent))          # it may import its neighbour
    asked = {x: one for x, one in pieces().items() if x.startswith(f"piece {cfg.name}:")}
    yours = {one.name: function_in(cfg.file, one.name) for one in asked.values()}
    found = {x: yours[one.name][1] or judge(one, yours[one.name][0]) for x, one in asked.items()}
    missing = [x for x, one in asked.items()
               if found[x] == f"{cfg.file.name} has no function {one.name}."]
    for x, wrong in found.items():
        if x not in missing:                    # a name of the silent bugs would tell too much
            label, function = x.partition(": ")[2], asked[x].name
            of = "" if function == label else f" ({function})"
            say(f"{label + of:<26}{state(wrong)}", *filter(None, [wrong]), sep="\n")
    right = len(found) - sum(map(bool, found.values()))
    say(f"{right} of {len(found)} right.",
        *filter(None, [len(missing) and f"{len(missing)} not in the file yet."]))
    if right == len(found):
        module = sys.modules[next(iter(asked.values())).right.__module__]
        functions = {name: function for name, (function, _) in yours.items()}
        say("", *getattr(module, "outcome", lambda **_: [])(**functions), sep="\n")
    return int(right < len(found))


if __name__ == "__main__":
    sys.exit(command(main))
