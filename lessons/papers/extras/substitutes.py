"""The old name of ingredient_substitution.py, until version 7."""
import sys

from lessons.papers.extras.ingredient_substitution import command, hit, main  # noqa: F401

if __name__ == "__main__":
    sys.exit(command(main))
