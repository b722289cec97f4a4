"""A real headless browser for the tests, without a driver: Chromium spoken to over a pipe (DevTools
protocol).

    with Browser(folder) as b:                      folder: an empty one, for the browser's profile
        b.open(page, width=380, dark=True); b.key("ArrowRight"); b.js("document.title")
    python tests/tools/browser.py out/playground/index.html docs/playground.png "#teach"
                                    # what is seen, after these presses

The browser is looked for under its usual names, or where NANOUFT_BROWSER points. Pages come from
files; no port is opened. Errors of a page (exceptions, console.error, what could not be loaded)
gather in `errors`.
"""
from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome",
         "microsoft-edge")
KEYS = {" ": (" ", "Space", 32), "ArrowLeft": ("", "ArrowLeft", 37), "ArrowUp": ("", "ArrowUp", 38),
        "ArrowRight": ("", "ArrowRight", 39), "ArrowDown": ("", "ArrowDown", 40),
        "Tab": ("", "Tab", 9),
        "Enter": ("\r", "Enter", 13), "Backspace": ("", "Backspace", 8),
        "End": ("", "End", 35)}                       # what is typed, code, number


def find() -> str | None:
    """The program, or None. (Commands go through inherited file descriptors: not on Windows.)"""
    if os.name != "posix":
        return None
    return next(
        filter(None, map(shutil.which, filter(None, (os.environ.get("NANOUFT_BROWSER"), *NAMES)))),
        None)


def node(code: str, seconds: float = 60):
    """The value of the variable `out` after this JavaScript, run by node."""
    if not (program := shutil.which("node")):
        pytest.skip("node is not installed, the page's functions are not tried")
    done = subprocess.run([program, "-"],
                          input=f"let out; {code}; console.log(JSON.stringify(out));",
                          capture_output=True, text=True, encoding="utf-8", timeout=seconds)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


class Browser:
    def __init__(self, folder: Path, program: str | None = None, seconds: float = 60):
        self.program, self.folder, self.seconds = program or find(), folder, seconds
        self.errors: list[str] = []
        self.n, self.buffer, self.session = 0, b"", None

    def __enter__(self) -> Browser:
        import fcntl
        ours, theirs = os.pipe(), os.pipe()  # (read, write): answers to us; commands to the browser
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (theirs[0], ours[1])]

        def pipes():  # the browser reads commands at 3 and answers at 4
            os.dup2(high[0], 3), os.dup2(high[1], 4)
        self.process = subprocess.Popen([self.program, "--headless", "--no-sandbox",
                                         "--disable-gpu", "--disable-dev-shm-usage",
                                         "--no-first-run", "--hide-scrollbars",
                                         "--disable-background-networking",
                                         "--disable-component-update",
                                         f"--user-data-dir={self.folder}",
                                         "--remote-debugging-pipe"], preexec_fn=pipes,
                                        close_fds=False, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for fd in (theirs[0], ours[1], *high):
            os.close(fd)
        self.read, self.write = ours[0], theirs[1]
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.send("Target.attachToTarget", targetId=target,
                                 flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.send(f"{domain}.enable")
        return self

    def __exit__(self, *_) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.read), os.close(self.write)

    # ---- the protocol: JSON, each message closed by a zero byte ----------------------------------
    def send(self, method: str, **params) -> dict:
        self.n += 1
        message = {"id": self.n, "method": method, "params": params}
        message |= {"sessionId": self.session} if self.session else {}
        os.write(self.write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive()
            if answer.get("id") == self.n:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]

    def receive(self) -> dict:
        end = time.time() + self.seconds
        while b"\0" not in self.buffer:
            if not select.select([self.read], [], [], max(0, end - time.time()))[0]:
                raise TimeoutError(f"{self.program} did not answer within {self.seconds} s")
            if not (piece := os.read(self.read, 1 << 20)):
                raise RuntimeError(f"{self.program} ended")
            self.buffer += piece
        raw, self.buffer = self.buffer.split(b"\0", 1)
        message = json.loads(raw)
        self.note(message.get("method"), message.get("params", {}))
        return message

    def note(self, event: str | None, params: dict) -> None:
        if event == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description", details["text"]))
        elif event == "Runtime.consoleAPICalled" and params[
                "type"] in ("error", "warning", "assert"):
            self.errors.append(str([a.get("value", a.get("description")) for a in params["args"]]))
        elif event == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.errors.append(params["entry"]["text"])

    # ---- what a visitor does and sees ------------------------------------------------------------
    def look(self, width: int = 1280, height: int = 800, dark: bool = False, calm: bool = True,
             touch: bool = False) -> None:
        """The screen and its owner's wishes, also while a page is open."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=1, mobile=touch)
        self.send("Emulation.setTouchEmulationEnabled", enabled=touch)
        self.send("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce" if calm else "no-preference"}])

    def open(self, page: Path, fragment: str = "", **how) -> None:
        self.look(**how)
        self.send("Page.navigate", url="about:blank")       # or a new fragment would only scroll
        self.send("Page.navigate", url=page.resolve().as_uri() + fragment)
        self.wait("location.protocol === 'file:' && document.readyState === 'complete'")

    def js(self, expression: str):
        """The value of an expression in the page."""
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True,
                           awaitPromise=True)
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise RuntimeError(details.get("exception", {}).get("description", details["text"]))
        return answer["result"].get("value")

    def wait(self, condition: str) -> None:
        end = time.time() + self.seconds
        while not self.js(condition):
            if time.time() > end:
                raise TimeoutError(condition)
            time.sleep(0.02)

    def key(self, key: str) -> None:
        text, code, number = KEYS.get(key, (key, "Key" + key.upper(), ord(key.upper()[0])))
        for kind in ("keyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=key, code=code,
                      windowsVirtualKeyCode=number,
                      **({"text": text} if text and kind == "keyDown" else {}))

    def text(self, selector: str) -> str:
        return self.js(f"document.querySelector({json.dumps(selector)}).innerText")

    def focus(self) -> str:
        """What has the focus; it must never fall to the body."""
        return self.js("(({ dataset, id, tagName }) => dataset.key || id || "
                       "tagName)(document.activeElement)")

    def tab_to(self, key: str) -> None:
        """The Tab key until this element has the focus."""
        for _ in range(80):
            if self.focus() == key:
                return
            self.key("Tab")
        raise AssertionError(f"{key} cannot be reached with Tab")

    def middle(self, selector: str) -> tuple[float, float]:
        """Where an element is, once it has been scrolled into sight."""
        return tuple(self.js(f"""(() => {{ const e = document.querySelector({json.dumps(selector)});
            e.scrollIntoView({{block: "center"}});
            const r = e.getBoundingClientRect();
            return [r.x + r.width / 2, r.y + r.height / 2]; }})()"""))

    def click(self, selector: str) -> None:
        """A press of the left button in the middle of an element."""
        self.drag([self.middle(selector)])

    def drag(self, places: list[tuple[float, float]]) -> None:
        """The left button goes down at the first place, passes the others, and is let go at the
        last."""
        for kind, (x, y) in zip(["mousePressed", *["mouseMoved"] * (len(places) - 1)], places):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1,
                      clickCount=1)
        x, y = places[-1]
        self.send("Input.dispatchMouseEvent", type="mouseReleased", x=x, y=y, button="left",
                  clickCount=1)

    def finger(self, places: list[tuple[float, float]]) -> None:
        """One finger goes down at the first place, passes the others, and is lifted."""
        for kind, (x, y) in zip(["touchStart", *["touchMove"] * (len(places) - 1)], places):
            self.send("Input.dispatchTouchEvent", type=kind, touchPoints=[{"x": x, "y": y}])
        self.send("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def tap(self, selector: str) -> None:
        self.finger([self.middle(selector)])

    def tree(self) -> list[tuple[str, str]]:
        """(role, name) of everything that a screen reader finds on the page, in its order."""
        nodes = self.send("Accessibility.getFullAXTree")["nodes"]
        return [(n["role"]["value"], n.get("name", {}).get("value", "")) for n in nodes
                if not n["ignored"]]

    def heard(self) -> str:
        """What the page announced last: the text of its live region, as the accessibility tree has
        it."""
        nodes = {n["nodeId"]: n for n in self.send("Accessibility.getFullAXTree")["nodes"]}
        region = next(n for n in nodes.values() if n.get("role", {}).get("value") == "status")
        return " ".join(nodes[child]["name"]["value"] for child in region["childIds"]
                        if "name" in nodes[child])

    def axe(self) -> list[str]:
        """What axe-core (env NANOUFT_AXE: its axe.min.js) finds wrong: rule and first place.
        Without it: skip."""
        if not (script := os.environ.get("NANOUFT_AXE")):
            pytest.skip("NANOUFT_AXE does not name axe.min.js, axe-core does not look at the page")
        self.js(Path(script).read_text(encoding="utf-8") + "; 0")
        return self.js("""axe.run({preload: false}).then((found) => found.violations.map((v) =>
            `${v.id}: ${v.nodes[0].html.slice(0, 160)} `
            + v.nodes[0].failureSummary.slice(0, 160)))""")

    def picture(self, file: Path) -> None:
        """What is seen."""
        file.write_bytes(base64.b64decode(self.send("Page.captureScreenshot")["data"]))


if __name__ == "__main__":
    page, picture, *presses = sys.argv[1:]
    folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)    # the browser still writes
    with folder as profile, Browser(Path(profile), seconds=600) as browser:
        browser.open(Path(page), width=1080, height=940)
        for press in [*presses, None]:  # each when what came before it is done
            browser.wait("!document.querySelector('[aria-busy=true]')")
            if press:
                browser.click(press)
        browser.js("scrollTo(0, 0)")
        browser.picture(Path(picture))
