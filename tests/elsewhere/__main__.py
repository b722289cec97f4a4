"""Windows and macOS as far as Linux can play them: what these words of python do in that room.

    python tests/elsewhere -m pytest -n 2 tests/test_folders.py
    python tests/elsewhere -m nanouft.train --objective ift

Programs that they start are in it, too: Python imports sitecustomize.py, which makes the room, from
the first folder of PYTHONPATH."""
import os
import subprocess
import sys
from pathlib import Path

if __name__ == "__main__":
    room = Path(__file__).resolve().parent
    sys.exit(subprocess.call([sys.executable, *sys.argv[1:]], env=os.environ | {
        "PYTHONPATH": os.pathsep.join([str(room), os.environ.get("PYTHONPATH", "")]),
        "PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"}))
