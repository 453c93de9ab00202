"""A run with a page, as a user starts it, and a browser that looks at it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

import edge_tsm.demo

START_S = 60
# One of each kind that a page might stumble over: markup, length, another script, direction, space.
LABELS = (
    "swipe left",
    "Moving something towards something else so that they collide and both of them fall down",
    "<img src=x onerror='window.hacked=1'>",
    "swipe down",
    "zoom in",
    "\u202egnp.live\u202c",
    "顺时针旋转手掌并停留很长时间",
    "</script><script>window.hacked=1</script>",
    "nothing\tat\nall",
)


def chromium() -> str:
    """Return the path of a Chromium, or skip the test."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    pytest.skip("no Chromium: apt-get install chromium")


def labeled_bundle(folder: Path) -> Path:
    """Copy the demo bundle with `LABELS` in the place of its own."""
    copied = Path(shutil.copytree(edge_tsm.demo.bundle(), folder / "labeled.bundle"))
    card = copied / "card.json"
    card.write_text(json.dumps({**json.loads(card.read_text()), "labels": LABELS}))
    return copied


class PageRun:
    """`edge-tsm run --config` with a page at `url`, which may be started again at the same port."""

    def __init__(self, config: Path, port: int, *options: str) -> None:
        self.url = f"http://127.0.0.1:{port}/"
        self._command = [sys.executable, "-m", "edge_tsm", "run", "--config", str(config)]
        self._command += ["--page", f"127.0.0.1:{port}", *options]
        self._folder = config.parent
        self.start()

    def start(self) -> None:
        """Start it; returns when the page is served."""
        self._process = subprocess.Popen(
            self._command,
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        killer = threading.Timer(START_S, self._process.kill)
        killer.start()
        lines = list(_until(self._process, "page at"))
        killer.cancel()
        if "page at" not in lines[-1]:
            raise AssertionError("".join(lines))
        # The pipe is read on, or the run would block when it is full.
        self._reader = threading.Thread(target=lambda: list(_until(self._process, None)))
        self._reader.start()

    def stop(self) -> None:
        """End it as systemd does."""
        self._process.terminate()
        self._process.wait(START_S)
        self._reader.join(START_S)
        if self._process.stderr:
            self._process.stderr.close()

    def get(self, path: str) -> Any:
        """Return what the API answers."""
        with urlopen(f"{self.url}api/v1/{path}", timeout=10) as answer:
            return json.load(answer)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """Return what the API answers to a body."""
        head = {"Content-Type": "application/json"}
        request = Request(f"{self.url}api/v1/{path}", json.dumps(body).encode(), head)
        with urlopen(request, timeout=10) as answer:
            return json.load(answer)


def _until(process: subprocess.Popen[str], words: str | None) -> Iterator[str]:
    yield ""
    for line in process.stderr or ():
        yield line
        if words and words in line:
            return


@contextmanager
def page_run(config: Path, port: int, *options: str) -> Iterator[PageRun]:
    """A run that is ended with the block."""
    run = PageRun(config, port, *options)
    try:
        yield run
    finally:
        run.stop()
