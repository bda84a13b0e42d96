"""A headless Chromium, driven over its debugging pipe: no driver, no package."""

import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe")
PATIENCE_S = 40.0


@dataclass
class Browser:
    """The pipe to a browser, and its tabs by session."""

    to: int
    back: int
    tabs: dict[str, "Tab"] = field(default_factory=dict)
    _rest: bytes = b""
    _number: int = 0

    def tab(self) -> "Tab":
        """A new tab."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        tab = Tab(self, session, target)
        self.tabs[tab.session] = tab
        for domain in ("Page", "Runtime", "Log", "Network"):
            tab.call(f"{domain}.enable")
        return tab

    def call(self, method: str, session: str = "", **params: Any) -> dict[str, Any]:
        """Ask the browser for something, and return what it says."""
        self._number += 1
        asked = {"id": self._number, "method": method, "params": params}
        os.write(self.to, json.dumps(asked | ({"sessionId": session} if session else {})).encode() + b"\0")
        while True:
            said = self._read()
            if said.get("id") == self._number:
                assert "error" not in said, said
                return said["result"]
            if said.get("sessionId") in self.tabs:
                self.tabs[said["sessionId"]].note(said)

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            assert select.select([self.back], [], [], 3 * PATIENCE_S)[0], "the browser says nothing"
            chunk = os.read(self.back, 65536)
            assert chunk, "the browser is gone"
            self._rest += chunk
        line, _, self._rest = self._rest.partition(b"\0")
        return json.loads(line)


@dataclass
class Tab:
    """One tab; `errors` are what scripts, loads and policies complained of, `loaded` the bytes that came."""

    browser: Browser
    session: str
    target: str
    errors: list[str] = field(default_factory=list)
    loaded: int = 0

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Ask the browser for something of this tab."""
        return self.browser.call(method, self.session, **params)

    def open(self, url: str) -> None:
        """Go to a page, and wait until it is there."""
        self.call("Page.navigate", url=url)
        self.wait_for("document.readyState === 'complete' && location.href !== 'about:blank'")

    def run(self, script: str) -> Any:
        """Return the value of an expression of the page; promises are awaited."""
        done = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, userGesture=True)
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    def wait_for(self, script: str) -> None:
        """Return once an expression holds."""
        deadline = time.monotonic() + PATIENCE_S
        while not self._holds(script):
            assert time.monotonic() < deadline, f"not so: {script}; the page: {self.run('document.body?.innerText')}"
            time.sleep(0.05)

    def _holds(self, script: str) -> bool:
        """Whether an expression holds; between two pages nothing does."""
        try:
            return bool(self.run(script))
        except AssertionError:
            return False

    def press(self, key: str) -> None:
        """Press a key."""
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, text=key)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def look_like(self, *, width: int, height: int, dark: bool = False) -> None:
        """Take on the size of a screen, and a colour scheme."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=scheme)

    def close(self) -> None:
        """Close it."""
        del self.browser.tabs[self.session]
        self.browser.call("Target.closeTarget", targetId=self.target)

    def note(self, said: dict[str, Any]) -> None:
        """Take note of something that the browser tells unasked."""
        params = said.get("params", {})
        match said.get("method"):
            case "Runtime.exceptionThrown":
                self.errors.append(json.dumps(params["exceptionDetails"]))
            case "Log.entryAdded" if params["entry"]["level"] == "error":
                self.errors.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
            case "Runtime.consoleAPICalled" if params["type"] in ("error", "assert"):
                self.errors.append(json.dumps(params["args"]))
            case "Network.loadingFinished":
                self.loaded += round(params["encodedDataLength"])


@contextmanager
def browser(*flags: str) -> Iterator[Browser]:
    """A fresh browser without a tab."""
    (heard, to), (back, told) = os.pipe(), os.pipe()
    folder = tempfile.mkdtemp(prefix="chai-chromium-")
    line = f'exec "$@" 3<&{heard} 4>&{told}'
    command = ["bash", "-c", line, "-", str(CHROMIUM), *FLAGS, f"--user-data-dir={folder}", *flags, "about:blank"]
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, pass_fds=(heard, told), stdout=quiet, stderr=quiet)
    os.close(heard)
    os.close(told)
    try:
        yield Browser(to=to, back=back)
    finally:
        process.kill()
        process.wait()
        os.close(to)
        os.close(back)
        shutil.rmtree(Path(folder), ignore_errors=True)


@contextmanager
def tab(*flags: str) -> Iterator[Tab]:
    """A fresh browser with one tab."""
    with browser(*flags) as started:
        yield started.tab()
