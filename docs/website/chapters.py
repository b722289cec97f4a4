"""The four pages in one folder, with links to each other.

    python docs/website/chapters.py         # out/playground, frozen_lake, choose, gallery

Open out/playground/index.html. A page shows links to the chapters that lie beside it; so each one
gets its place first. It takes about a minute, nearly all of it for the lake.
"""
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = {"playground": ["-m", "nanouft.playground"], "frozen_lake": ["-m", "frozen_lake"],
            "choose": ["-m", "lab.page"], "gallery": ["docs/website/gallery.py"]}


def main() -> int:
    if not find_spec("markdown"):
        print('without the gallery: it needs markdown (python -m pip install -e ".[docs]")')
        del COMMANDS["gallery"]
    for name in COMMANDS:
        place = ROOT / "out" / name / "index.html"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    for command in COMMANDS.values():
        print("python", *command, flush=True)
        done = subprocess.run([sys.executable, *command], cwd=ROOT)
        if done.returncode:
            return done.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
