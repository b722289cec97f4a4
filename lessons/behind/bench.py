"""What the old name lessons.bench says: the bench is a tool of tests/."""
import shlex
import sys

from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import UserError


def main(argv: list[str] | None = None) -> int:
    words = shlex.join(["python", "-m", "tests.bench", *(sys.argv[1:] if argv is None else argv)])
    raise UserError(f"the bench beside TRL is a tool of tests/ now; type: {words}")


if __name__ == "__main__":
    sys.exit(command(main))
