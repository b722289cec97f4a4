"""How fast is the page with the model, and does it keep memory? Wants Chromium or Chrome.

    python -m nanouft.playground
    python docs/website/measure.py --minutes 10        # first paint, 16 steps beside torch, frames,
                                                       # heap after play
"""
import argparse
import json
import random
import re
import sys
import tempfile
import time
from pathlib import Path

import torch
import torch.nn.functional as F

from nanouft.models.load import start_model

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "tools"))
from browser import Browser

PAGE = Path(__file__).resolve().parents[2] / "out" / "playground" / "index.html"
READY = ("!document.querySelector('[aria-busy=true]') "
         "&& document.querySelector('#verdict').textContent")
COUNT = """frames = []; counting = true;
    (function frame(now) {
        frames.push(now); if (counting) requestAnimationFrame(frame);
    })(performance.now())"""


class Watched(Browser):
    """A browser that also reaches the thread of the page in which the model lives."""
    worker = None

    def note(self, event, params):
        super().note(event, params)
        if event == "Target.attachedToTarget" and params["targetInfo"]["type"] == "worker":
            self.worker = params["sessionId"]

    def heap(self) -> float:
        """Megabytes of page and worker, after a garbage collection: objects and arrays of
        numbers."""
        page, found = self.session, 0
        for session in (page, self.worker):
            self.session = session
            self.send("HeapProfiler.collectGarbage")
            usage = self.send("Runtime.getHeapUsage")
            found += usage["usedSize"] + usage.get("backingStorageSize", 0)
        self.session = page
        return found / 1e6


def sixteen_steps(b: Browser) -> tuple[float, list[float], list[float]]:
    """SFT: seconds of the 16 steps, and the milliseconds between two frames while it trains."""
    b.js("steps = []; worker.addEventListener('message', "
         "({data}) => data.did === 'step' && steps.push(data.seconds))")
    b.js(COUNT)
    b.click("#train")
    b.wait("steps.length === 16")
    frames = b.js("counting = false, frames")
    b.wait(READY)
    return sum(b.js("steps")), [after - before for before, after in zip(frames, frames[1:])]


def in_torch(data: dict) -> float:
    """Seconds of the same 16 steps on one thread: 8 answers a step, AdamW, clipping."""
    model = start_model("base")[0]
    optimizer = torch.optim.AdamW(model.parameters(), lr=2.5e-4, betas=(0.9, 0.95), weight_decay=0)
    began = time.perf_counter()
    for step in range(16):
        rows = data["demos"][8 * step:8 * step + 8]
        ids = [row["prompt"] + row["answer"] for row in rows]
        longest = max(map(len, ids))
        x = torch.tensor([row + [0] * (longest - len(row)) for row in ids])
        paid = torch.tensor([[len(row["prompt"]) <= t < len(one) for t in range(1, longest)]
                             for row, one in zip(rows, ids)])
        F.cross_entropy(model(x[:, :-1])[paid], x[:, 1:][paid]).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return time.perf_counter() - began


PATIENCE = 20                           # seconds that the reader watches a training run
BUTTONS = ["#train", "#one", "#one", "#reset", "#other", "#stories a",
           *(f"#families [data-key='choose:{name}']"
             for name in ("sft", "ift", "dpo", "kto", "rloo"))]


def play(b: Browser, minutes: float) -> int:
    """Presses what a reader presses, at random; how many presses?"""
    rng, end, presses = random.Random(0), time.time() + 60 * minutes, 0
    while time.time() < end:
        b.js(f"document.querySelector({json.dumps(rng.choice(BUTTONS))}).click()")
        patience = time.time() + PATIENCE
        while not b.js(READY):
            if time.time() > patience:
                b.js("if (running) document.querySelector('#train').click()")           # Stop
                patience = end + 3600
            time.sleep(0.1)
        presses += 1
    return presses


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    minutes = parser.parse_args().minutes
    torch.set_num_threads(1)
    data = json.loads(re.search(r"^const DATA = (.*);$", PAGE.read_text(encoding="utf-8"), re.M)[1])
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile, \
            Watched(Path(profile), seconds=1200) as b:
        b.send("Target.setAutoAttach", autoAttach=True, waitForDebuggerOnStart=False, flatten=True)
        b.open(PAGE, calm=False)
        b.wait(READY)
        paint = b.js("performance.getEntriesByType('paint')"
                     ".find((x) => x.name === 'first-contentful-paint').startTime")
        print(f"first contentful paint {paint:.0f} ms")
        seconds, gaps = sixteen_steps(b)
        theirs = in_torch(data)
        print(f"16 steps of SFT: {seconds:.1f} s, torch {theirs:.1f} s on one thread: "
              f"{seconds / theirs:.1f} times")
        print(f"frames while it trains: {1000 * len(gaps) / sum(gaps):.0f} a second, "
              f"longest pause {max(gaps):.0f} ms")
        before = b.heap()
        presses = play(b, minutes)
        b.js("document.querySelector('#reset').click()")
        b.wait(READY)
        print(f"heap of page and worker: {before:.1f} MB before, {b.heap():.1f} MB after "
              f"{minutes:g} minutes of play ({presses} presses); errors: {b.errors or 'none'}")


if __name__ == "__main__":
    main()
