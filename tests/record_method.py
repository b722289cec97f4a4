"""Record a method and test it. Prints what it has changed.

    python tests/record_method.py NAME  # a new method; or an old one, after a change that is meant
    python tests/record_method.py       # what the record lacks, or has of a method that is gone
"""
import subprocess
import sys
from pathlib import Path

from nanouft.objectives import OBJECTIVES
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import locate_errors, one_of
from nanouft.plumbing.printing import say

ROOT = Path(__file__).parents[1]


def main(argv: list[str] | None = None) -> int:
    names = sys.argv[1:] if argv is None else argv
    for name in names:
        file = ROOT / "nanouft" / "objectives" / f"{one_of('method', name, [*OBJECTIVES])}.py"
        with locate_errors(str(file), "method"):
            OBJECTIVES[name]
    from test_values import FILE, record  # here, because it reads all methods
    say("This takes a minute or two.")
    run("pytest", "--tb=short", "tests/course/test_docs.py", "-k", "methods")   # its row is there
    before, written = FILE.read_text(encoding="utf-8"), record(names)
    try:
        run("pytest", "--tb=short", "tests", "-k", " or ".join([*names, "every_method"]))
    except SystemExit:
        FILE.write_text(before, encoding="utf-8")
        raise
    if written:
        say("tests/values.json:", ", ".join(dict.fromkeys(written)))
    run("pytest", "--tb=short", "tests/course/test_docs.py", "tests/course/test_structure.py")
    say(f"{', '.join(names) or 'the record'}: all tests pass")
    return 0


def run(*words: str) -> None:
    """Runs `python -m ...`. If it fails, what it printed is shown, and nothing more is done."""
    done = subprocess.run([sys.executable, "-m", *words], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        say(done.stdout, done.stderr, "Mend that, and run the command again.", sep="\n")
        sys.exit(1)


if __name__ == "__main__":
    sys.exit(command(main))
