"""Windows and macOS as far as Linux can play them: Python and all that it starts, in that room.

    python tests/other_systems -m pytest -n 2 tests/test_folders.py
    python tests/other_systems -m nanouft.train --objective ift
"""
import os
import subprocess
import sys

if __name__ == "__main__":
    path = os.pathsep.join([os.path.dirname(os.path.abspath(__file__)),
                            os.environ.get("PYTHONPATH", "")])      # sitecustomize.py is found
    sys.exit(subprocess.call([sys.executable, *sys.argv[1:]], env=os.environ | {
        "PYTHONPATH": path, "PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"}))
