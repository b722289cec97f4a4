"""What a class may hand in for exercise 12b."""
import json

from lessons.behind.tasks.task import tasks
from programs.right import HEAD
from programs.right import RIGHT as IN_OTHER_STYLES

RIGHT = f"import torch\n{tasks()['12b'].source}"
OTHERWISE = HEAD + IN_OTHER_STYLES["12b"]
WRONG = "def grpo_push(logp, old, ref, A, eps, beta):\n    "
HOSTILE = {     # by which nobody gets a point, and nobody else loses one
    "judge": "import sys\nfor name in [x for x in sys.modules if x.startswith('lessons.')]:\n"
             "    for what in ('Judge', 'verdict', 'compared', 'differ', 'new_mark'):\n"
             "        setattr(sys.modules[name], what, lambda *x, **how: '')\n"
             + WRONG + "return 0.0",
    "forged": "import os\nfor fd in range(1, 30):\n    try:\n        os.write(fd, b'right\\n')\n"
              "    except OSError:\n        pass\nos._exit(0)",
    "objects": "import torch\nclass Any(torch.Tensor):\n    __eq__ = lambda *x: True\n"
               + WRONG + "return torch.zeros(()).as_subclass(Any)",
    "surrogate": WRONG + "raise ValueError('\\ud800')",
    "deep": WRONG + "return " + "-" * 2500 + "1",
    "server": "import os\n" + WRONG + "os.kill(os.getppid(), 9)",
    "large": "import torch\n" + WRONG + "return torch.zeros(10**6)",
    "key": "from lessons.behind.keys.ex12 import grpo_push",
    "forged end": "import os\nfor fd in range(3, 30):\n    try:\n        os.write(fd, b'[{}, "
                  "\"end\", \"\"]\\n')\n    except OSError:\n        pass\n" + WRONG + "return 0"}
ENDS = {        # and the words that are told
    "loop": (WRONG + "while True: pass", "line 2: while True: pass"),
    "loop at import": ("while True: pass\n" + WRONG + "pass", "stops when it is loaded: TooLong"),
    "sleep": ("import time\n" + WRONG + "time.sleep(999)", "seconds on the clock"),
    "memory": ("import torch\n" + WRONG + "return torch.zeros(2**40)", "allocate memory"),
    "exit": ("import os\n" + WRONG + "os._exit(3)", "it exited (exit code 3)")}
FLOOD = ("import os\n" + WRONG + "while True:\n        for fd in range(3, 30):\n            try:\n"
         "                os.write(fd, b'[{}, \"%s\", \"12b\"]\\n')\n            except OSError:\n"
         "                pass\n")
ENDS["begun for ever"] = FLOOD % "begin", "cannot be read (ValueError)"
ENDS["results for ever"] = FLOOD % "", "cannot be read (ValueError)"
SPY = """
import os, socket
from pathlib import Path
HIDDEN = "lessons/behind/keys", "tests", ".git"
TRIES = [lambda: [len([*Path("ROOT", x).glob("*")]) for x in HIDDEN],
         lambda: [os.path.exists(x) for x in ("ROOT/pyproject.toml", "/etc/passwd", "/home")],
         lambda: [x for x in Path("/proc").glob("*/environ") if b"A_TOKEN" in x.read_bytes()],
         lambda: os.listdir("CLASS"),
         lambda: Path("ROOT/lessons/behind/keys/new").write_text(""), lambda: os.mkdir("/new"),
         lambda: Path("CLASS/spy/ex12.py").write_text(""), lambda: os.kill(-1, 9),
         lambda: socket.create_connection(("1.1.1.1", 53), 2)]
def grpo_push(logp, old, ref, A, eps, beta):
    said = []
    for what in TRIES:
        try:
            said.append(what())
        except OSError as error:
            said.append(error.strerror)
    raise ValueError(said)
"""
SEEN = [[0, 0, 0], [False] * 3, [], ["spy"], *["Read-only file system"] * 3, "No such process",
        "Network is unreachable"]
HALF = "def half(x, n):\n    return "
CELLS = [       # of notebooks with the same function
    ["%time\n" + HALF + "(x\n            % n)"],
    ["%time\nONE: float = 1.0", "THIRD = float(1) / 3\ntorch.where?", "loss = train()",
     HALF + "(x\n            % n) * ONE + NINE - 27 * THIRD", "NINE = 9\n!ls"],
    ["files = !ls\nif files:\n    %cd ..\n" + HALF + "x % n"],
    ["X = 1", "from __future__ import annotations\nhalf = lambda x, n: list([x % n])[0]"],
    ["def f(x=lesson): 1", "table = {1: lambda x, n: x % n}\n" + HALF + "table[1](x, n)"],
    ["import math, google.colab\nclass A(Lesson): 1\nLOG = math.log(1)\n" + HALF + "x % n + LOG"],
    ["try:\n    import math as m\nexcept ImportError:\n    m = None\n" + HALF + "m.fmod(x, n)"]]


def notebook(*cells: str) -> str:
    made = [{"cell_type": "markdown", "source": ["def grpo_push(: is text here"]}]
    made += [{"cell_type": "code", "source": cell.splitlines(keepends=True)} for cell in cells]
    return json.dumps({"cells": made, "nbformat": 4, "metadata": {}})
