# SPDX-License-Identifier: Apache-2.0
"""Look at a page in headless Chromium: is everything there, at every width, without an error?

    view = browser.look(Path("build/lab/report.html"), width=390, png=Path("phone.png"))
    view.problems                              # sentences, empty when all is well

Chromium is an optional extra (Debian: apt-get install chromium); ``find`` returns None without it.
It is driven through the DevTools protocol over a pipe, so nothing else is needed.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SECONDS = 60
"""Longest wait for an answer."""

PROBE = """JSON.stringify({
  overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  wide: [...document.querySelectorAll('body *')].filter(e => !e.closest('.scroll, pre, svg') &&
    e.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
    .map(e => e.tagName + (e.id ? '#' + e.id : '')).slice(0, 5),
  figures: [...document.querySelectorAll('figure')].map(f => {
    const s = f.querySelector('svg, img');
    const b = s ? s.getBoundingClientRect() : {width: 0, height: 0};
    return [f.id, b.width, b.height, s && s.tagName === 'IMG' ? s.naturalWidth
      : s ? s.querySelectorAll('path, use').length : 0]; }),
  anchors: [...document.querySelectorAll('nav a')].map(a => a.getAttribute('href'))
    .filter(h => !document.querySelector(h)),
  external: performance.getEntriesByType('resource').map(e => e.name)
    .filter(n => !n.startsWith('data:')),
  height: document.documentElement.scrollHeight })"""


class BrowserError(RuntimeError):
    """The browser itself did not do what was asked."""


@dataclass
class View:
    """What a page looks like at a width. figures: id, width, height, parts drawn; log: errors and
    warnings of the console; the rest as in PROBE."""

    width: int
    figures: list[list] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    overflow: int = 0
    wide: list[str] = field(default_factory=list)
    anchors: list[str] = field(default_factory=list)
    external: list[str] = field(default_factory=list)
    height: int = 0

    @property
    def problems(self) -> list[str]:
        """Everything that is wrong, as sentences."""
        at = f"at {self.width} px"
        found = [f"console {at}: {line}" for line in self.log]
        if self.overflow > 0:
            found.append(f"the page is {self.overflow} px too wide {at} ({', '.join(self.wide)})")
        found += [f"figure {name or '?'} is empty {at}" for name, width, height, parts
                  in self.figures if width < 50 or height < 50 or not parts]
        found += [f"the contents point at {a}, which does not exist" for a in self.anchors]
        return found + [f"the page loads {name}" for name in self.external]


def find() -> str | None:
    """Path of a Chromium, None without one."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Pipe:
    """The DevTools protocol: JSON messages that end with a zero byte."""

    def __init__(self, send: int, receive: int):
        self.send_fd, self.receive_fd = send, receive
        self.number = 0
        self.buffer = b""
        self.events: list[dict] = []

    def call(self, method: str, session: str | None = None, **params) -> dict:
        """Result of a command; events that arrive meanwhile are kept."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        os.write(self.send_fd, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.read()
            if answer.get("id") != self.number:
                self.events.append(answer)
            elif "error" in answer:
                raise BrowserError(f"{method}: {answer['error'].get('message')}")
            else:
                return answer["result"]

    def wait(self, event: str) -> None:
        """Wait for an event that has not been taken yet."""
        while not any(e.get("method") == event for e in self.events):
            self.events.append(self.read())

    def read(self) -> dict:
        """The next message."""
        deadline = time.monotonic() + SECONDS
        while b"\0" not in self.buffer:
            if time.monotonic() > deadline:
                raise BrowserError(f"Chromium did not answer within {SECONDS} s")
            try:
                data = os.read(self.receive_fd, 1 << 20)
            except BlockingIOError:
                time.sleep(0.01)
                continue
            if not data:
                raise BrowserError("Chromium ended")
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(line)


@contextmanager
def running() -> Iterator[Pipe]:
    """A headless Chromium with a profile of its own."""
    program = find()
    if program is None:
        raise BrowserError("no Chromium on PATH: apt-get install chromium")
    to_read, to_write = os.pipe()
    from_read, from_write = os.pipe()
    os.set_blocking(from_read, False)
    with tempfile.TemporaryDirectory(prefix="page-", ignore_cleanup_errors=True) as profile:
        # Chromium reads commands from descriptor 3 and writes answers to 4.
        shell = f'exec "$0" "$@" 3<&{to_read} 4>&{from_write}'
        process = subprocess.Popen(
            ["bash", "-c", shell, program, "--headless", "--remote-debugging-pipe", "--no-sandbox",
             "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions",
             f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(to_read, from_write), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(to_read)
        os.close(from_write)
        try:
            yield Pipe(to_write, from_read)
        finally:
            os.close(to_write)
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            os.close(from_read)


def look(page: Path, width: int = 1280, height: int = 900, dark: bool = False,
         png: Path | None = None) -> View:
    """Load a page at a width in CSS pixels; png: where a picture of the whole page goes."""
    with running() as pipe:
        target = pipe.call("Target.createTarget", url="about:blank")["targetId"]
        session = pipe.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

        def ask(method: str, **params) -> dict:
            return pipe.call(method, session, **params)

        for domain in ("Page", "Runtime", "Log"):
            ask(f"{domain}.enable")
        ask("Emulation.setDeviceMetricsOverride", width=width, height=height,
            deviceScaleFactor=1, mobile=width < 800)
        ask("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
        pipe.events.clear()
        ask("Page.navigate", url=page.resolve().as_uri())
        pipe.wait("Page.loadEventFired")
        found = json.loads(ask("Runtime.evaluate", expression=PROBE)["result"]["value"])
        view = View(width, **found)
        if png:
            clip = {"x": 0, "y": 0, "width": width, "height": view.height, "scale": 1}
            shot = ask("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
            png.write_bytes(base64.b64decode(shot["data"]))
        view.log = [line for event in pipe.events for line in console(event)]
        return view


def console(event: dict) -> list[str]:
    """Errors and warnings in an event."""
    params = event.get("params", {})
    if event.get("method") == "Runtime.exceptionThrown":
        return [params["exceptionDetails"]["text"]]
    if event.get("method") == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
        return [" ".join(str(a.get("value", a.get("description"))) for a in params["args"])]
    if event.get("method") == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
        return [f"{params['entry']['text']} {params['entry'].get('url', '')}".strip()]
    return []
