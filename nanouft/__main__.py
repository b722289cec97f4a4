"""python -m nanouft lists the commands; python -m nanouft NAME ... runs one of them."""
import sys

from nanouft.plumbing.entry import command, run_program
from nanouft.plumbing.errors import UserError, one_of
from nanouft.plumbing.printing import say

COMMANDS = {
    "nanouft.data": "shows what a run would read of your rows",
    "nanouft.train": "trains a model with any method",
    "nanouft.trainer": "does that on several GPUs, by transformers' Trainer",
    "nanouft.sample": "talks with a model, or asks several at once",
    "nanouft.evaluate": "scores models on NanoWorld or on your rows",
    "nanouft.compare": "which method is better? Several seeds, one verdict",
    "nanouft.pushes": "shows how a method pushes each token of an answer",
    "nanouft.reward": "trains a reward model on pairs of answers",
    "nanouft.pretrain": "pretrains a base on NanoWorld",
    "nanouft.simple": "trains with eight methods, on one page of code",
    "nanouft.flat": "trains on your rows, in one plain loop to read",
    "nanouft.playground": "writes a page on which any two methods learn",
    "frozen_lake": "shows what SFT and IFT estimate, exactly",
}


def main(argv: list[str] | None = None) -> int:
    name, *rest = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if name in ("-h", "--help"):
        say("Each command explains itself with --help:\n")
        for module, does in COMMANDS.items():
            say(f"  python -m {module:<20}{does}")
        say("\nBegin with: python -m nanouft.train --objective ift\n"
            "`nanouft train` is short for python -m nanouft.train, and so are the others.")
        return 0
    if name == "lessons":
        raise UserError("the lessons are not installed: they are in nanouft's repository; in its "
                        "folder, type python -m lessons")
    modules = {module.removeprefix("nanouft."): module for module in COMMANDS}
    run_program(modules[one_of("command", name, modules)], rest)
    return 0


def console() -> int:
    """The command `nanouft`."""
    return command(main)


if __name__ == "__main__":
    sys.exit(console())
