"""What the old name lessons.bench says."""
import sys

from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import UserError


def main(argv: list[str] | None = None) -> int:
    raise UserError("the bench beside TRL is a tool of tests/ now; type: python -m tests.bench")


if __name__ == "__main__":
    sys.exit(command(main))
