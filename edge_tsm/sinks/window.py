"""A window with the pictures and the answers, by OpenCV."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from edge_tsm.datatypes import Frame, Prediction
from edge_tsm.errors import SinkError
from edge_tsm.sinks import SinkContext
from edge_tsm.sinks.overlay import Overlay

PROBE_S = 30.0
LARGEST_PX = (1280, 720)
_QUIT = (ord("q"), 27)  # 27: Esc
_PROBE = "import cv2; cv2.namedWindow('edge-tsm'); cv2.waitKey(1)"


class DisplayWindow:
    """One window per source, with its id as the title; q, Esc or closing it calls `on_close`, once.

    Everything of the window happens in the thread that delivers: the toolkits want that.
    """

    def __init__(self, on_close: Callable[[], object] = lambda: None) -> None:
        self._on_close = on_close
        self._answers: dict[str, tuple[Prediction, Overlay]] = {}
        self._open: set[str] = set()
        self._is_closed = False

    def frame(self, frame: Frame, source: str) -> None:
        """Show one picture with the newest answer of its source."""
        # Qt complains on stderr about fonts that it lacks, once for every widget.
        os.environ.setdefault("QT_LOGGING_RULES", "*.warning=false")
        import cv2

        if self._is_closed:
            return
        image = frame.image.copy()
        if source in self._answers:
            prediction, overlay = self._answers[source]
            overlay.draw(image, prediction)
        if source not in self._open:
            self._make(cv2, source, frame)
        elif self._was_closed(cv2, source):
            self._quit()
            return
        cv2.imshow(source, image)

    def write(self, prediction: Prediction, source: str) -> None:
        """Show this answer from now on."""
        self._answers[source] = (prediction, Overlay())

    def close(self) -> None:
        """Close the windows."""
        import cv2

        if self._open:
            cv2.destroyAllWindows()
            cv2.waitKey(1)  # some toolkits close only when they are given time

    def _make(self, cv2: Any, source: str, frame: Frame) -> None:
        """Open a window in the picture's size, or in the largest that fits a small display."""
        cv2.namedWindow(source, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
        height, width = frame.image.shape[:2]
        scale = min(1.0, LARGEST_PX[0] / width, LARGEST_PX[1] / height)
        cv2.resizeWindow(source, round(width * scale), round(height * scale))
        self._open.add(source)

    def _was_closed(self, cv2: Any, source: str) -> bool:
        """Return whether someone closed the window or pressed a key for it."""
        if cv2.waitKey(1) & 0xFF in _QUIT:
            return True
        return bool(cv2.getWindowProperty(source, cv2.WND_PROP_VISIBLE) < 1)

    def _quit(self) -> None:
        self._is_closed = True
        self.close()
        self._on_close()


def check_window() -> None:
    """Refuse early where no window can be shown.

    A process of its own opens one: without a display, the toolkit would end this one.

    Raises:
        SinkError: OpenCV has no windows, or there is no display.
    """
    if not has_windows():
        raise SinkError(
            "this OpenCV shows no windows (headless): pip uninstall opencv-python-headless, then "
            "pip install opencv-python; or use --save"
        )
    if sys.platform == "linux" and not any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY"))):
        raise SinkError("no display to show a window on (DISPLAY is not set); use --save")
    try:
        code = subprocess.run(
            [sys.executable, "-c", _PROBE], capture_output=True, timeout=PROBE_S, check=False
        ).returncode
    except subprocess.TimeoutExpired:
        code = -1
    if code != 0:
        display = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
        raise SinkError(f"no window opens on display {display}; log in there, or use --save")


def has_windows() -> bool:
    """Return whether OpenCV was built with a window toolkit."""
    import cv2

    lines = cv2.getBuildInformation().splitlines()
    return not any(line.split()[:2] == ["GUI:", "NONE"] for line in lines)


def open_window(_value: str, context: SinkContext) -> DisplayWindow:
    """Open the sink `window`.

    Raises:
        SinkError: see `check_window`.
    """
    check_window()
    return DisplayWindow(context.on_close)
