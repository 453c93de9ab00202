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

    def __call__(self, done: int, total: int) -> None:
        """Redraw at most ten times a second."""
        now = time.monotonic()
        if not sys.stderr.isatty() or now - self._started < PATIENCE_S:
            return
        if now - self._drawn >= REDRAW_S:
            write_control(sys.stderr, "\r")
            sys.stderr.write(f"{self._what} {done}/{total} ({done / total:4.0%})")
            write_control(sys.stderr, "\033[K")
            sys.stderr.flush()
            self._drawn, self._shown = now, True

    def clear(self) -> None:
        """Remove the line."""
        if self._shown:
            write_control(sys.stderr, "\r\033[K")
            sys.stderr.flush()
