"""python -m nanouft: what can be run. `nanouft train ...` means `python -m nanouft.train ...`."""
import importlib
import sys
from collections.abc import Callable

from nanouft.errors import UserError, say
from nanouft.run.config import run
from nanouft.run.words import choose

COMMANDS = {
    "simple": "SFT, IFT, DPO or GRPO as one plain loop: the first file to read",
    "train": "fine-tune with any objective: --objective ift (the main job), --objective list",
    "evaluate": "exact scores of a model; held-out figures on your data",
    "sample": "answers side by side, chat",
    "ledger": "how hard each objective pushes each token",
    "playground": "a page: the base learns in the browser, with every objective",
    "reward": "a reward model from pairs, and how often it is right",
    "rewards.harvest": "answers of a model, scored, as data: pairs, labels, scores, right answers",
    "rewards.judge": "judge answers yourself, y or n; labels and pairs to train on",
    "eval.rows": "how your files are read: counts, lengths, which tokens are trained on",
    "pretrain": "make a base: NanoWorld's, or one on your text",
    "world": "examples of NanoWorld with scores",
}


def main(argv=None) -> int:
    if words := sys.argv[1:] if argv is None else argv:
        raise UserError(f"python -m nanouft lists the commands and takes no {words[0]!r}; "
                        "write a command with a dot: python -m nanouft.train")
    say("nanouft has these commands; each explains itself with --help:")
    for name, text in COMMANDS.items():
        say(f"  python -m nanouft.{name:<17} {text}")
    return 0


def console() -> int:
    """The script `nanouft`: its first word is the command."""
    name, argv = (sys.argv[1:2] or [""])[0], sys.argv[2:]
    if name in ("", "-h", "--help"):
        return run(main, [])
    sys.argv = [f"nanouft {name}", *argv]               # for messages of the command
    return run(lambda _: main_of(choose("command", name, COMMANDS))(argv))


def main_of(name: str) -> Callable:
    """The `main` of a command; a package has it in its __main__.py."""
    module = importlib.import_module(f"nanouft.{name}")
    if not hasattr(module, "main"):
        module = importlib.import_module(f"nanouft.{name}.__main__")
    return module.main


if __name__ == "__main__":
    sys.exit(run(main))
