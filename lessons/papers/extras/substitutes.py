"""The old name of recipe_data.py, until version 7."""
import sys

from lessons.papers.extras.recipe_data import command, hit, main  # noqa: F401

if __name__ == "__main__":
    sys.exit(command(main))
