"""A headless Chromium, driven by its DevTools protocol over a pipe: what the tests of the pages look through."""

import contextlib
import json
import os
import select
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PATIENCE_S = 300  # far more than any machine needs
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
)
KEYS = {"Tab": 9, "Enter": 13}


class Browser:
    """One tab of a running Chromium."""

    def __init__(self, reading: int, writing: int):
        self._reading, self._writing = reading, writing
        self._received, self._count, self._session = b"", 0, None
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Page.setLifecycleEventsEnabled", enabled=True)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Return the answer to one command of the protocol; what the browser reports meanwhile goes to ``events``."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._writing, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._count:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            self.events.append(answer)

    def open(self, page: Path) -> None:
        """Load a page from disk; ``events`` then holds what happened on the way, and nothing from before."""
        self._load("about:blank")
        self.events.clear()
        self._load(page.resolve().as_uri())

    def run(self, script: str) -> Any:
        """Return the value of a JavaScript expression."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def width(self, pixels: int) -> None:
        """Look at the page through a window, or on a phone, of this width."""
        look = {"height": 900, "deviceScaleFactor": 1, "mobile": pixels < 600}
        self.call("Emulation.setDeviceMetricsOverride", width=pixels, **look)

    def scheme(self, name: str) -> None:
        """Prefer ``light`` or ``dark``."""
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def press(self, key: str) -> None:
        """Press a key and let it go."""
        about = {"key": key, "code": key, "windowsVirtualKeyCode": KEYS[key]}
        text = {"text": "\r"} if key == "Enter" else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", **about, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **about)

    def faults(self, levels: tuple[str, ...] = ("error", "warning", "assert")) -> list[str]:
        """Return what the console complains of, and requests that failed or left this machine."""
        found = []
        for event in self.events:
            about = event.get("params", {})
            match event.get("method"):
                case "Runtime.exceptionThrown":
                    found.append(str(about["exceptionDetails"]))
                case "Log.entryAdded" if about["entry"]["level"] in levels:
                    found.append(about["entry"]["text"])
                case "Runtime.consoleAPICalled" if about["type"] in levels:
                    found.append(str(about["args"]))
                case "Network.loadingFailed":
                    found.append(f"{about['requestId']}: {about['errorText']}")
                case "Network.requestWillBeSent" if not about["request"]["url"].startswith(("file:", "data:")):
                    found.append(about["request"]["url"])
        return found

    def _load(self, address: str) -> None:
        """Go to a page and wait until that very page has loaded: one from before may still be about to say so."""
        loaded = {"loaderId": self.call("Page.navigate", url=address)["loaderId"], "name": "load"}
        while not any(
            event.get("method") == "Page.lifecycleEvent" and loaded.items() <= event["params"].items()
            for event in self.events
        ):
            self.events.append(self._receive())

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._received:
            ready, _, _ = select.select([self._reading], [], [], PATIENCE_S)
            assert ready, f"Chromium says nothing for {PATIENCE_S} s"
            part = os.read(self._reading, 1 << 20)
            assert part, "Chromium ended"
            self._received += part
        message, _, self._received = self._received.partition(b"\0")
        return json.loads(message)


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """Run a Chromium of its own for as long as the block lasts."""
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = ["chromium", *FLAGS, f"--user-data-dir={profile}", "--remote-debugging-pipe", "about:blank"]
        # Chromium reads commands from descriptor 3 and answers to 4.
        process = subprocess.Popen(
            ["bash", "-c", f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}', "bash", *command],
            pass_fds=(theirs_in, theirs_out),
            env=os.environ | {"HOME": profile},
            stderr=subprocess.DEVNULL,
        )
        for end in (theirs_in, theirs_out):
            os.close(end)
        try:
            yield Browser(ours_in, ours_out)
        finally:
            process.terminate()
            process.wait(timeout=PATIENCE_S)
            for end in (ours_in, ours_out):
                os.close(end)
