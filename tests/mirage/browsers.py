# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What connects to the viewer: the messages of a browser without one, and a real one that is driven from outside."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec
import viser
import zstandard
from websockets.sync.client import connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
# WebGL on a processor; Chromium refuses its own software rendering unless told so.
OPTIONS = ("--headless=new", "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
           "--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-port=0")  # fmt: skip


class Messages:
    """Connects to a viewer as its page does, and collects what the server sends.

    Args:
        url: of the page.
    """

    def __init__(self, url: str) -> None:
        self._socket = connect(url.replace("http", "ws"), subprotocols=[f"viser-v{viser.__version__}"], max_size=None)
        self.all: list[dict[str, Any]] = []
        self._since = 0

    def send(self, kind: str, **fields: Any) -> None:
        self._socket.send(msgspec.msgpack.encode({"type": kind, **fields}))

    def send_camera(self, position: tuple[float, float, float], fov: float = 1.0) -> None:
        """Say where the browser's camera is; it looks along +z. The first one completes the connection."""
        x, y, z = position
        self.send(
            "ViewerCameraMessage", wxyz=(1.0, 0.0, 0.0, 0.0), position=position, fov=fov, near=0.01, far=100.0,
            image_height=480, image_width=640, look_at=(x, y, z + 1), up_direction=(0.0, -1.0, 0.0),
        )  # fmt: skip

    def wait_for(self, what: Callable[[dict[str, Any]], bool], seconds: float = 5) -> dict[str, Any]:
        """Receive until a message fits that came after :meth:`forget`, and return it."""
        until, seen = time.monotonic() + seconds, self._since
        while True:
            for message in self.all[seen:]:
                if what(message):
                    return message
            seen = len(self.all)
            self._receive(until - time.monotonic())

    def forget(self) -> None:
        """Wait for a moment of silence; what came before is not looked at by :meth:`wait_for`."""
        try:
            while True:
                self._receive(0.3)
        except TimeoutError:
            self._since = len(self.all)

    @property
    def new(self) -> list[dict[str, Any]]:
        """What came after :meth:`forget`."""
        return self.all[self._since :]

    def _receive(self, seconds: float) -> None:
        raw = self._socket.recv(timeout=max(seconds, 0))
        assert isinstance(raw, bytes)
        compressed = int.from_bytes(raw[8:16], "little")
        start = 16 + compressed + -(16 + compressed) % 8
        content = msgspec.msgpack.decode(zstandard.ZstdDecompressor().decompress(raw[16 : 16 + compressed]))
        parts = []
        for length in content["binaryBufferLengths"]:
            parts.append(raw[start : start + length])
            start += length + -length % 8
        self.all += [_insert(message, parts) for message in content["messages"]]

    def close(self) -> None:
        self._socket.close()


def _insert(value: Any, parts: list[bytes]) -> Any:
    if isinstance(value, dict):
        if "__binary_index" in value:
            return parts[value["__binary_index"]]
        return {name: _insert(item, parts) for name, item in value.items()}
    return [_insert(item, parts) for item in value] if isinstance(value, list) else value


def find_browser() -> str | None:
    """The program of a Chromium: of the environment variable BROWSER_BINARY, else one on PATH."""
    return os.environ.get("BROWSER_BINARY") or next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """A Chromium without a window, driven by its DevTools protocol.

    Args:
        program: path of Chromium.
        folder: for its profile.
        size: (width, height) of the page in pixels.
    """

    def __init__(self, program: str, folder: Path, size: tuple[int, int] = (1280, 800)) -> None:
        self._process = subprocess.Popen(
            [program, *OPTIONS, f"--user-data-dir={folder}", "--window-size={},{}".format(*size), "about:blank"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env=os.environ | {"LC_ALL": "en_US.UTF-8"},  # of the locale C, some make a language that is none
        )  # fmt: skip
        self.errors: list[str] = []
        self._count = 0
        try:
            port = self._wait_for_port(folder / "DevToolsActivePort")
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json") as answer:
                pages = [target for target in json.load(answer) if target["type"] == "page"]
            self._socket = connect(pages[0]["webSocketDebuggerUrl"], max_size=None)
            self._call("Runtime.enable")
            width, height = size
            self._call(
                "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
            )
        except BaseException:
            self._process.kill()
            raise

    def _wait_for_port(self, file: Path) -> str:
        until = time.monotonic() + 30
        while not (file.exists() and "\n" in file.read_text()):
            assert self._process.poll() is None, "the browser ended"
            assert time.monotonic() < until, "the browser does not start"
            time.sleep(0.05)
        return file.read_text().split()[0]

    def _call(self, method: str, **options: Any) -> dict[str, Any]:
        self._count += 1
        self._socket.send(json.dumps({"id": self._count, "method": method, "params": options}))
        while True:
            answer = json.loads(self._socket.recv(timeout=60))
            if answer.get("method") == "Runtime.exceptionThrown":
                details = answer["params"]["exceptionDetails"]
                self.errors.append(str(details.get("exception", {}).get("description", details))[:500])
            if answer.get("id") == self._count:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result

    def open(self, url: str) -> None:
        self._call("Page.enable")
        self._call("Page.navigate", url=url)
        until = time.monotonic() + 30
        while not self.evaluate(f"location.href.startsWith({json.dumps(url)}) && document.readyState === 'complete'"):
            assert time.monotonic() < until, f"the browser does not open {url}"
            time.sleep(0.1)

    def evaluate(self, expression: str) -> Any:
        return self._call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def text(self) -> str:
        """What the page says."""
        return str(self.evaluate("document.body.innerText"))

    def screenshot(self) -> bytes:
        """The page as PNG."""
        return base64.b64decode(self._call("Page.captureScreenshot", format="png")["data"])

    def press(self, key: str) -> None:
        """Press and release a letter."""
        code = {"key": key, "code": f"Key{key.upper()}", "windowsVirtualKeyCode": ord(key.upper())}
        self._call("Input.dispatchKeyEvent", type="keyDown", text=key, **code)
        self._call("Input.dispatchKeyEvent", type="keyUp", **code)

    def drag(self, start: tuple[int, int], end: tuple[int, int]) -> None:
        """Drag with the left button."""
        button = {"button": "left", "clickCount": 1}
        for kind, (x, y) in (("mousePressed", start), ("mouseMoved", end), ("mouseReleased", end)):
            self._call("Input.dispatchMouseEvent", type=kind, x=x, y=y, buttons=1, **button)

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait(10)
