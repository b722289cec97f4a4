"""What a student hands in, in a style that is not the key's: mine.py, which grows from lesson to
lesson (one_program/), and the classes of two papers (programs/)."""
from pathlib import Path

HERE = Path(__file__).parent
STAGES = {file.stem[-2:]: file.read_text("utf-8")                   # by lesson: what it has added
          for file in sorted(HERE.glob("one_program/after_*.txt"))}
FILES = {"mine.py": "from nanouft.simple import *\n" + "".join(STAGES.values())} | {
    file.name: file.read_text("utf-8") for file in sorted(HERE.glob("programs/*.py"))}
