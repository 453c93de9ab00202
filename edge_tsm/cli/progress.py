"""One line on a terminal's stderr for work that takes longer than a second."""

from __future__ import annotations

import sys
import time

from edge_tsm.system.printable import printable, write_control

PATIENCE_S = 1.0
REDRAW_S = 0.1


class Progress:
    """Call it with (done, total); silent on a pipe, and for the first second."""

    def __init__(self, what: str) -> None:
        self._what = printable(what)
        self._started = self._drawn = time.monotonic()
        self._shown = False
        self._first: tuple[float, int] | None = None  # when, and what was done then

    def __call__(self, done: int, total: int) -> None:
        """Redraw at most ten times a second."""
        self._draw(f"{done}/{total} ({done / total:4.0%})", done, total)

    def share(self, done: int, total: int) -> None:
        """Redraw without the numbers, which mean nothing to a person."""
        self._draw(f"{done / total:4.0%}", done, total)

    def _left(self, done: int, total: int, now: float) -> str:
        """Return the time left at the pace so far; what an earlier run did does not count."""
        self._first = self._first or (now, done)
        began, first = self._first
        if done <= first or now - began < PATIENCE_S:
            return ""
        left_s = round((now - began) * (total - done) / (done - first))
        minutes = f"{left_s // 3600}:{left_s // 60 % 60:02}" if left_s >= 3600 else left_s // 60
        return f", {minutes}:{left_s % 60:02} left"

    def _draw(self, text: str, done: int, total: int) -> None:
        now = time.monotonic()
        left = self._left(done, total, now)
        if not sys.stderr.isatty() or now - self._started < PATIENCE_S:
            return
        if now - self._drawn >= REDRAW_S:
            write_control(sys.stderr, "\r")
            sys.stderr.write(f"{self._what} {text}{left}")
            write_control(sys.stderr, "\033[K")
            sys.stderr.flush()
            self._drawn, self._shown = now, True

    def clear(self) -> None:
        """Remove the line."""
        if self._shown:
            write_control(sys.stderr, "\r\033[K")
            sys.stderr.flush()
