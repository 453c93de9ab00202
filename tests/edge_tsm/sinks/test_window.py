"""A real window on a virtual display, and clear words where there can be none."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_tsm.errors import SinkError
from edge_tsm.sinks.window import check_window, has_windows

pytestmark = pytest.mark.timeout(100)

# Windows live in one thread, and a toolkit that fails ends its process: each test has its own.
SHOW = """
import pathlib, subprocess, sys, threading
import numpy as np
from edge_tsm.datatypes import Frame
from edge_tsm.sinks.dispatcher import Dispatcher, Route
from edge_tsm.sinks.window import DisplayWindow, check_window
from tests.helpers.answers import started

check_window()
closed = threading.Event()
y, x = np.mgrid[:360, :480]
picture = np.stack([x / 2, y / 2, 60 + 0 * x], axis=2).astype(np.uint8)
dispatcher = Dispatcher([Route("window", DisplayWindow(closed.set), essential=True)])
key = len(sys.argv) > 2 and sys.argv[2]
for i in range(2000):
    dispatcher.frame(Frame(picture, i, i / 25), "front door")
    if i == 0:
        dispatcher.write(started(), "front door")
    if i == 20 and key:
        find = ["xdotool", "search", "--sync", "--name", "front door"]
        subprocess.run([*find, "key", key], check=True)
    if closed.wait(0.01) or (i == 60 and not key):
        break
if not key:
    shot = subprocess.run(["xwd", "-root"], capture_output=True, check=True).stdout
    pathlib.Path(sys.argv[1]).write_bytes(shot)
dispatcher.close()
print("closed" if closed.is_set() else "open", dispatcher.counts()["window"].failed)
"""


@pytest.fixture
def display() -> Iterator[dict[str, str]]:
    """The environment of a virtual display."""
    pytest.importorskip("cv2")
    if not has_windows() or not shutil.which("Xvfb") or not shutil.which("xwd"):
        pytest.skip("needs Xvfb, xwd and an OpenCV with windows")
    read, write = os.pipe()
    command = ["Xvfb", "-displayfd", str(write), "-screen", "0", "800x600x24"]
    with subprocess.Popen(command, pass_fds=[write], stderr=subprocess.DEVNULL) as server:
        os.close(write)
        with os.fdopen(read) as stream:
            number = stream.readline().strip()
        yield {**os.environ, "DISPLAY": f":{number}"}
        server.terminate()


def show(display: dict[str, str], *arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, "-c", SHOW, *map(str, arguments)],
        env=display,
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_window_shows_pictures_and_answers(display: dict[str, str], tmp_path: Path) -> None:
    assert show(display, tmp_path / "shot.xwd") == "open 0"
    assert (tmp_path / "shot.xwd").stat().st_size > 800 * 600 * 3
    keep = os.environ.get("EDGE_TSM_TEST_SHOT")
    if keep:
        shutil.copy(tmp_path / "shot.xwd", keep)


@pytest.mark.skipif(not shutil.which("xdotool"), reason="pressing a key needs xdotool")
@pytest.mark.parametrize("key", ["q", "Escape"])
def test_a_key_ends_the_show(key: str, display: dict[str, str], tmp_path: Path) -> None:
    assert show(display, tmp_path / "shot.xwd", key) == "closed 0"


def test_a_display_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    if not has_windows():
        pytest.skip("this OpenCV has no windows at all")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("DISPLAY", ":987")
    with pytest.raises(SinkError, match="no window opens on display :987"):
        check_window()
    monkeypatch.delenv("DISPLAY")
    with pytest.raises(SinkError, match="DISPLAY is not set"):
        check_window()


def test_a_headless_opencv_says_so() -> None:
    if has_windows():
        pytest.skip("this OpenCV has windows")
    with pytest.raises(SinkError, match="pip uninstall opencv-python-headless"):
        check_window()
