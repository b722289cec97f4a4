"""A headless Chromium for the tests of pages, spoken to over a pipe (DevTools protocol): no driver.

    with Browser(folder) as b:                  # an empty folder, for the browser's profile
        b.open(page, width=390, dark=True)
        b.click("#play")
        b.js("document.title")
    python tests/browser.py out/playground/index.html docs/playground.png 1080 700 "#play"

The browser is looked for under its usual names, or where NANOUFT_BROWSER points; without one the
test is skipped and says so. Pages come from files, no port is opened. `errors` are exceptions and
console errors of the page, `requests` what it asked of the network.
"""
import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

NAMES = (os.environ.get("NANOUFT_BROWSER", ""), "chromium", "chromium-browser", "google-chrome",
         "google-chrome-stable", "chrome")
FLAGS = ("--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run "
         "--hide-scrollbars --disable-background-networking --disable-component-update "
         "--remote-debugging-pipe").split()


class Browser:
    def __init__(self, folder: Path, seconds: float = 120):
        self.program = next(filter(None, map(shutil.which, filter(None, NAMES))), None)
        if self.program is None:
            pytest.skip("no Chromium here (NANOUFT_BROWSER can name one): the page is NOT opened")
        self.folder, self.seconds = folder, seconds
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.number, self.buffer, self.session = 0, b"", ""

    def __enter__(self) -> "Browser":
        answers, commands = os.pipe(), os.pipe()                # each (read end, write end)
        # The browser reads commands at 3 and writes answers at 4; out of the way before.
        theirs = [fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (commands[0], answers[1])]

        def pipes() -> None:
            os.dup2(theirs[0], 3)
            os.dup2(theirs[1], 4)
        self.process = subprocess.Popen(
            [self.program, *FLAGS, f"--user-data-dir={self.folder}"], preexec_fn=pipes,
            close_fds=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        for fd in (commands[0], answers[1], *theirs):
            os.close(fd)
        self.read, self.write = answers[0], commands[1]
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")
        return self

    def __exit__(self, *_: Any) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.read)
        os.close(self.write)

    # ---- the protocol: JSON, each message closed by a zero byte ----------------------------------
    def send(self, method: str, **params: Any) -> dict:
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        message |= {"sessionId": self.session} if self.session else {}
        left = json.dumps(message).encode() + b"\0"
        while left:
            left = left[os.write(self.write, left):]
        while True:
            answer = self.receive()
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]

    def receive(self) -> dict:
        end = time.time() + self.seconds
        while b"\0" not in self.buffer:
            if not select.select([self.read], [], [], max(0, end - time.time()))[0]:
                raise TimeoutError(f"the browser did not answer within {self.seconds} s")
            if not (piece := os.read(self.read, 1 << 20)):
                raise RuntimeError("the browser ended")
            self.buffer += piece
        raw, self.buffer = self.buffer.split(b"\0", 1)
        message = json.loads(raw)
        self.note(message.get("method", ""), message.get("params", {}))
        return message

    def note(self, event: str, params: dict) -> None:
        if event == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description", details["text"]))
        elif event == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
            self.errors.append(str([x.get("value") for x in params["args"]]))
        elif event == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.errors.append(params["entry"]["text"])
        elif event == "Network.requestWillBeSent":
            url = params["request"]["url"]
            if not url.startswith(("file:", "data:", "blob:")):
                self.requests.append(url)

    # ---- what a visitor does and sees ------------------------------------------------------------
    def open(self, page: Path, width: int = 1280, height: int = 800, dark: bool = False,
             calm: bool = True) -> None:
        """`calm`: the visitor asks for reduced motion."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=1, mobile=False)
        self.send("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce" if calm else "no-preference"}])
        self.send("Page.navigate", url="about:blank")
        self.send("Page.navigate", url=page.resolve().as_uri())
        self.wait("location.protocol === 'file:' && document.readyState === 'complete'")

    def js(self, expression: str) -> Any:
        """The value of an expression in the page."""
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True,
                           awaitPromise=True)
        if details := answer.get("exceptionDetails"):
            raise RuntimeError(details.get("exception", {}).get("description", details["text"]))
        return answer["result"].get("value")

    def wait(self, condition: str) -> None:
        end = time.time() + self.seconds
        while not self.js(f"!!({condition})"):                # an element comes back as {}
            if time.time() > end:
                raise TimeoutError(condition)
            time.sleep(0.02)

    def text(self, selector: str) -> str:
        return self.js(f"document.querySelector({json.dumps(selector)}).innerText")

    def click(self, selector: str) -> None:
        """A press of the left button in the middle of an element."""
        x, y = self.js(f"""(() => {{ const e = document.querySelector({json.dumps(selector)});
            e.scrollIntoView({{block: "center"}});
            const r = e.getBoundingClientRect();
            return [r.x + r.width / 2, r.y + r.height / 2]; }})()""")
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def choose(self, selector: str, value: str) -> None:
        """Another value of a select or a slider, with the events of a visitor."""
        self.js(f"""(() => {{ const e = document.querySelector({json.dumps(selector)});
            e.value = {json.dumps(value)};
            e.dispatchEvent(new Event("input", {{bubbles: true}}));
            e.dispatchEvent(new Event("change", {{bubbles: true}})); }})()""")

    def picture(self, file: Path) -> None:
        """What is seen, as a PNG with a palette."""
        seen = base64.b64decode(self.send("Page.captureScreenshot")["data"])
        image = Image.open(BytesIO(seen)).convert("RGB")
        image.quantize(256, Image.Quantize.MAXCOVERAGE).save(file, "png", optimize=True)


if __name__ == "__main__":              # a picture of a page, after these presses, when at rest
    page, picture, wide, high, *presses = sys.argv[1:]
    folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)    # the browser still writes
    with folder as profile, Browser(Path(profile)) as browser:
        browser.open(Path(page), int(wide), int(high))
        for selector in presses:
            browser.click(selector)
        browser.js("scrollTo(0, 0)")
        browser.wait("!document.querySelector('[aria-busy=true]')")
        browser.picture(Path(picture))
