"""python -m nanouft: which commands there are."""
import sys

from nanouft.errors import command, say

COMMANDS = {
    "nanouft.train": "train a model with any of the methods, on NanoWorld or your rows",
    "nanouft.sample": "talk to a model, or let several answer the same question",
    "nanouft.evaluate": "score models: NanoWorld's exact scores; loss and preferences on your rows",
    "nanouft.ledger": "how hard a method pushes each token of an answer, and which way",
    "nanouft.reward": "learn a reward model from pairs",
    "nanouft.pretrain": "make a base of your own text, or NanoWorld's base again",
    "nanouft.simple": "seven methods and their loop on one page",
    "nanouft.playground": "a page on which any two methods learn",
    "frozen_lake": "a table in place of a model: what SFT and IFT estimate",
}


def main(argv: list[str] | None = None) -> int:
    say("Each command explains itself with --help:\n")
    for name, does in COMMANDS.items():
        say(f"  python -m {name:<20}{does}")
    say("\nBegin with: python -m nanouft.train --objective ift")
    return 0


if __name__ == "__main__":
    sys.exit(command(main))
