"""python -m nanouft lists the commands; python -m nanouft NAME ... runs one of them."""
import sys

from nanouft import __version__
from nanouft.plumbing.entry import command, run_program
from nanouft.plumbing.errors import UserError, one_of
from nanouft.plumbing.printing import if_in_checkout, say

MENU = {                # what most people need, and what each leaves behind
    "nanouft.train": "a trained model, curves and scores: out/METHOD",
    "nanouft.compare": "which loss is better? A verdict: out/compare",
    "nanouft.sample": "a chat with models, or a sheet to vote on: --blind",
    "nanouft.data": "what a run would train on of your rows; no file",
    "nanouft.evaluate": "scores of models, or votes, with intervals; no file",
    "nanouft.simple": "one file to read, with eight methods; no file",
}
MORE = {                # what `--help all` lists too
    "nanouft.playground": "a web page where two methods learn: out/playground",
    "frozen_lake": "a web page, what SFT and IFT estimate: out/frozen_lake",
    "nanouft.pushes": "how a method pushes each token: out/pushes.png",
    "nanouft.reward": "a reward model, from pairs: out/reward",
    "nanouft.pretrain": "a base model, pretrained on NanoWorld: out/base",
    "nanouft.trainer": "a model trained on several GPUs: --output_dir",
}
COMMANDS = MENU | MORE


def main(argv: list[str] | None = None) -> int:
    name, *rest = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if name in ("-h", "--help"):
        everything = rest == ["all"]
        say("What each command writes; add --help to a command for more:\n")
        for module, leaves in (COMMANDS if everything else MENU).items():
            say(f"  python -m {module:<22}{leaves}")
        say("\nBegin with: python -m nanouft.train --objective ift\n"
            "All methods: python -m nanouft.train --objective list")
        if not everything:
            say(f"{len(MORE)} more commands: python -m nanouft --help all")
        say("`nanouft train` is short for python -m nanouft.train, and so are the others.\n"
            "In the folder of the repository: python -m lessons")
        return 0
    if name == "--version":
        say(f"nanouft {__version__}")
        return 0
    if name == "lessons":
        away = "the lessons are not installed; clone nanouft's repository, and in its folder "
        raise UserError(("lessons: " if if_in_checkout("lessons/__main__.py") else away)
                        + "type python -m lessons")
    modules = {module.removeprefix("nanouft."): module for module in COMMANDS}
    run_program(modules[one_of("command", name, modules)], rest)
    return 0


def console() -> int:
    """The command `nanouft`."""
    return command(main)


if __name__ == "__main__":
    sys.exit(console())
